#!/usr/bin/env bash
# check_layers.sh [ROOT]: fails on an #include that breaks the layers, so that
#     text -> tokens -> rows -> batch -> forward -> logits -> draw -> token -> text
# stays the only road. Prints each offence as file:line.
#
# A rule is an extended regular expression of what a folder may include. Beside it:
# - every layer may include tempera/status.h and tempera/sampling.h: the words of errors and settings are the same inside;
# - the engine and api.c may include tempera/tempera.h, whose structs they fill;
# - libraries belong to one layer each: cJSON to load (and tools), PCRE2 and utf8proc to text, CUDA to backend/cuda.
set -u
root=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
cd "$root" || exit 2

public='tempera/(status|sampling)\.h'
rule() { # of a path; sets $allowed
    case $1 in
    src/base/*) allowed='base/' ;;
    src/load/*) allowed='base/|load/|cjson/' ;;
    src/text/*) allowed='base/|load/|text/|pcre2\.h$|utf8proc\.h$' ;;
    src/backend/cuda/*) allowed='base/|backend/(backend\.h$|draw_[a-z]+\.h$|cuda/)|kernels/|cuda|cublas' ;;
    src/backend/cpu/*) allowed='base/|backend/(backend\.h$|draw_[a-z]+\.h$|cpu/)' ;;
    src/backend/*) allowed='base/|backend/' ;;
    src/model/*) allowed='base/|load/|backend/backend\.h$|model/' ;;
    src/engine/*) allowed='base/|text/|model/|backend/(backend|draw_score)\.h$|engine/|tempera/tempera\.h$' ;;
    src/api.c) allowed='base/|engine/|tempera/tempera\.h$' ;;
    kernels/*) allowed='base/(draw_math|philox|scatter)\.h$|kernels/|cuda_(runtime|runtime_api|fp16|bf16)\.h$|simt_device\.h$' ;;
    tools/*) allowed='base/|tempera/|cjson/|sqlite3\.h$|xxhash\.h$|zlib\.h$|(bench|sweep)/[a-z0-9_]+\.h$|[a-z0-9_]+\.h$' ;;
    *) return 1 ;;
    esac
}

# libc's and the kernel's headers, for everyone.
system='(assert|cpuid|ctype|dirent|dlfcn|errno|fcntl|fenv|float|inttypes|limits|locale|math|netdb|poll|pthread|pty|sched|setjmp|signal|spawn|std[a-z]+|string|strings|termios|time|unistd|wchar|[a-z]*intrin|sys/[a-z]+|linux/[a-z_]+|netinet/[a-z]+|arpa/[a-z]+)\.h$'

checked=0
bad=0
while IFS=: read -r file line text; do
    [[ $text =~ [\<\"]([^\>\"]+)[\>\"] ]] || continue
    header=${BASH_REMATCH[1]}
    checked=$((checked + 1))
    if ! rule "$file"; then
        echo "$file:$line: no rule for this folder; add one to tools/check_layers.sh"
        bad=$((bad + 1))
    elif ! [[ $header =~ ^($allowed) || $header =~ ^$public$ || $header =~ ^$system ]]; then
        echo "$file:$line: ${file%/*} must not include $header"
        bad=$((bad + 1))
    fi
done < <(find src kernels tools \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inc' \) -print0 2>/dev/null |
    xargs -0 -r grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' /dev/null)

echo "layers: $checked includes checked, $bad against the rules"
[ "$bad" -eq 0 ]
