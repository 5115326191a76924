/* regex_translate.c: from Oniguruma's Ruby syntax, which Hugging Face tokenizers are written in, to PCRE2's.
 *
 * The two agree on most of the language. Rewritten here: \s \w \h \v \b and their complements (Oniguruma goes by Unicode
 * properties, PCRE2 by older definitions), \uHHHH, the m flag (there: dot matches all), {,n}, names of scripts.
 * Refused: what PCRE2 lacks (set operations, absent groups) or reads differently (possessive intervals, PCRE verbs). */
#include <string.h>

#include "text/regex.h"

/* Bodies of sets: \w within a set, and by itself, where Oniguruma also takes the Latin-1 digits and fractions ²³¹¼½¾. */
#define WORD_SET   "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORD_ALONE WORD_SET "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define AT_WORD    "(?=[" WORD_ALONE "])"
#define NOT_WORD   "(?![" WORD_ALONE "])"
#define AFTER_WORD "(?<=[" WORD_ALONE "])"
#define AFTER_NONE "(?<![" WORD_ALONE "])"

struct translation {
    struct buf *out;
    const char *pattern; /* the whole, for messages */
    const char *at;
    const char *name;
    tempera_error *err;
};

static tempera_status put(struct translation *t, const char *text) {
    return buf_append_text(t->out, text, t->err);
}

/* Copies `count` characters of the pattern. */
static tempera_status copy(struct translation *t, size_t count) {
    tempera_status status = buf_append(t->out, t->at, count, t->err);
    t->at += count;
    return status;
}

static tempera_status refuse(const struct translation *t, const char *what) {
    return fail(t->err, TEMPERA_UNSUPPORTED, "%s: expression \"%.200s\": %s at byte %zu is not supported", t->name,
                t->pattern, what, (size_t)(t->at - t->pattern));
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* \p{Name}, \P{Name}, \p{^Name}: PCRE2 takes a bare script name for script extensions, Oniguruma for the script. */
static tempera_status property(struct translation *t) {
    const char *name = t->at + 3;
    if (t->at[2] != '{') return refuse(t, "a property without braces");
    bool inverted = *name == '^';
    name += inverted;
    size_t length = strcspn(name, "}");
    char probe[64];
    if (name[length] != '}' || length + sizeof "\\p{sc:}" > sizeof probe) return refuse(t, "a property");
    if ((t->at[1] == 'P') != inverted)
        TRY(put(t, "\\P{"));
    else
        TRY(put(t, "\\p{"));
    if (length > 2) {
        memcpy(probe, "\\p{sc:", 6);
        memcpy(probe + 6, name, length + 1); /* with its brace */
        probe[6 + length + 1] = 0;
        if (regex_is_valid(probe)) TRY(put(t, "sc:"));
    }
    t->at = name;
    return copy(t, length + 1);
}

/* \uHHHH */
static tempera_status unicode_escape(struct translation *t) {
    for (int i = 2; i < 6; i++)
        if (!strchr("0123456789abcdefABCDEF", t->at[i]) || t->at[i] == 0) return refuse(t, "\\u");
    TRY(put(t, "\\x{"));
    t->at += 2;
    TRY(copy(t, 4));
    return put(t, "}");
}

/* Replaces the two characters of an escape. */
static tempera_status replace_escape(struct translation *t, const char *text) {
    t->at += 2;
    return put(t, text);
}

static tempera_status escape_in_set(struct translation *t) {
    switch (t->at[1]) {
    case 's': return replace_escape(t, "\\p{White_Space}");
    case 'S': return replace_escape(t, "\\P{White_Space}");
    case 'w': return replace_escape(t, WORD_SET);
    case 'h': return replace_escape(t, "0-9A-Fa-f");
    case 'v': return replace_escape(t, "\\x{b}");
    case 'u': return unicode_escape(t);
    case 'p':
    case 'P': return property(t);
    }
    if (strchr("dDnrtfaexb", t->at[1])) return copy(t, 2);
    if ((t->at[1] | 0x20) >= 'a' && (t->at[1] | 0x20) <= 'z') return refuse(t, "an escape in a set");
    return copy(t, 2);
}

/* [:name:] inside a set, by properties. */
static tempera_status posix_class(struct translation *t) {
    static const char *const names[][2] = {
        {"[:alpha:]", "\\p{Alphabetic}"}, {"[:digit:]", "\\p{Nd}"},        {"[:space:]", "\\p{White_Space}"},
        {"[:upper:]", "\\p{Uppercase}"},  {"[:lower:]", "\\p{Lowercase}"}, {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
        {"[:word:]", WORD_SET},           {"[:xdigit:]", "0-9A-Fa-f"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i][0]);
        if (strncmp(t->at, names[i][0], length) != 0) continue;
        t->at += length;
        return put(t, names[i][1]);
    }
    return refuse(t, "a POSIX bracket");
}

static tempera_status set(struct translation *t) {
    TRY(copy(t, t->at[1] == '^' ? 2 : 1));
    if (*t->at == ']') return refuse(t, "an empty set");
    while (*t->at != ']') {
        if (*t->at == 0) return refuse(t, "a set without an end");
        if (*t->at == '\\' && t->at[1])
            TRY(escape_in_set(t));
        else if (*t->at == '[' && t->at[1] == ':')
            TRY(posix_class(t));
        else if (*t->at == '[')
            return refuse(t, "a set inside a set");
        else if (*t->at == '&' && t->at[1] == '&')
            return refuse(t, "an intersection of sets");
        else
            TRY(copy(t, 1));
    }
    return copy(t, 1);
}

static tempera_status escape(struct translation *t) {
    switch (t->at[1]) {
    case 's': return replace_escape(t, "\\p{White_Space}");
    case 'S': return replace_escape(t, "\\P{White_Space}");
    case 'w': return replace_escape(t, "[" WORD_ALONE "]");
    case 'W': return replace_escape(t, "[^" WORD_ALONE "]");
    case 'h': return replace_escape(t, "[0-9A-Fa-f]");
    case 'H': return replace_escape(t, "[^0-9A-Fa-f]");
    case 'v': return replace_escape(t, "\\x{b}");
    case 'b': return replace_escape(t, "(?:" AFTER_WORD NOT_WORD "|" AFTER_NONE AT_WORD ")");
    case 'B': return replace_escape(t, "(?:" AFTER_WORD AT_WORD "|" AFTER_NONE NOT_WORD ")");
    case 'u': return unicode_escape(t);
    case 'p':
    case 'P': return property(t);
    }
    if (is_digit(t->at[1])) return refuse(t, "a back reference"); /* and their cost escapes the match limit */
    if (strchr("dDnrtfaexRXAZzGK", t->at[1])) return copy(t, 2);
    if ((t->at[1] | 0x20) >= 'a' && (t->at[1] | 0x20) <= 'z') return refuse(t, "an escape");
    return copy(t, 2);
}

/* The flags of (?imx-imx: or (?imx-imx). Ruby's m is PCRE's s. */
static tempera_status flags(struct translation *t) {
    TRY(copy(t, 2));
    while (*t->at && strchr("imx-", *t->at)) {
        if (*t->at == 'm') {
            TRY(put(t, "s"));
            t->at++;
        } else {
            TRY(copy(t, 1));
        }
    }
    if (*t->at != ':' && *t->at != ')') return refuse(t, "a kind of group");
    return copy(t, 1);
}

static tempera_status group(struct translation *t) {
    if (t->at[1] == '*') return refuse(t, "(*");
    if (t->at[1] != '?') return copy(t, 1);
    char kind = t->at[2];
    if (kind == 0) return refuse(t, "(?");
    if (strchr(":=!>", kind)) return copy(t, 3);
    if (kind == '<') return copy(t, t->at[3] == '=' || t->at[3] == '!' ? 4 : 3);
    if (kind != '#') return flags(t);
    size_t length = strcspn(t->at, ")"); /* a comment */
    if (t->at[length] == 0) return refuse(t, "a comment without an end");
    t->at += length + 1;
    return TEMPERA_OK;
}

/* An interval {n}, {n,}, {n,m}, {,m}; anything else after a brace is literal in both. */
static tempera_status interval(struct translation *t) {
    const char *end = t->at + 1;
    while (is_digit(*end)) end++;
    bool open_low = end == t->at + 1;
    bool fixed = *end != ',';
    if (!fixed)
        for (end++; is_digit(*end);) end++;
    if (*end != '}' || (open_low && (fixed || end == t->at + 2))) return copy(t, 1);
    if (end[1] == '+') return refuse(t, "a plus after an interval"); /* possessive there, a repeat here */
    if (end[1] == '?' && fixed) return refuse(t, "a question mark after a fixed interval");
    if (open_low) {
        TRY(put(t, "{0"));
        t->at++;
    }
    return copy(t, (size_t)(end - t->at) + 1);
}

tempera_status regex_translate(struct buf *out, const char *pattern, const char *name, tempera_error *err) {
    struct translation t = {.out = out, .pattern = pattern, .at = pattern, .name = name, .err = err};
    while (*t.at) {
        if (*t.at == '\\' && t.at[1])
            TRY(escape(&t));
        else if (*t.at == '[')
            TRY(set(&t));
        else if (*t.at == '(')
            TRY(group(&t));
        else if (*t.at == '{')
            TRY(interval(&t));
        else
            TRY(copy(&t, 1));
    }
    return TEMPERA_OK;
}
