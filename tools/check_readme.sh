#!/usr/bin/env bash
# check_readme.sh: fails when README's "Follow a token" names a function that is not defined in the file it names, or a
# link leads to a file that is not there.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

checked=0
bad=0
while IFS=: read -r file function; do
    checked=$((checked + 1))
    # A definition: the name at the start of a line or after its type, not a call and not a prototype.
    if ! grep -Eqs "^[a-z][A-Za-z0-9_ *]*[ *]$function\(" "$file"; then
        echo "README.md: $file does not define $function"
        bad=$((bad + 1))
    fi
done < <(grep -oE '`[a-z_/]+\.c:[a-z_]+`' README.md | tr -d '`')
while read -r link; do
    checked=$((checked + 1))
    if [ ! -e "$link" ]; then
        echo "README.md: no file $link"
        bad=$((bad + 1))
    fi
done < <(grep -oE '\]\([a-zA-Z][^):]*\)' README.md | sed 's/^](//; s/)$//; s/#.*//')

echo "readme: $checked names checked, $bad wrong"
[ "$checked" -ge 12 ] && [ "$bad" -eq 0 ]
