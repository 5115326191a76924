/* json_reader.c: the grammar of RFC 8259 as a state machine; nesting is a flag per level, not recursion. */
#include "load/json_reader.h"

#include <string.h>

#include "base/num.h"
#include "base/utf8.h"

enum { /* what the grammar allows next */
       WANT_VALUE,
       WANT_VALUE_OR_END, /* after '[' */
       WANT_KEY,          /* after ',' in an object */
       WANT_KEY_OR_END,   /* after '{' */
       WANT_COMMA_OR_END, /* after a value inside an object or array */
       WANT_NOTHING       /* after the one value */
};

struct json_reader json_reader_start(const char *text, size_t length, const char *name) {
    return (struct json_reader){.text = text, .length = length, .name = name, .state = WANT_VALUE};
}

static tempera_status fail_at(const struct json_reader *r, size_t at, const char *what, tempera_error *err) {
    return fail(err, TEMPERA_FORMAT, "%s: byte %zu: %s", r->name, at, what);
}

/* "expected WHAT, found …" at the current byte. */
static tempera_status fail_expected(const struct json_reader *r, const char *what, tempera_error *err) {
    if (r->at >= r->length)
        return fail(err, TEMPERA_FORMAT, "%s: byte %zu: expected %s, found the end", r->name, r->at, what);
    unsigned char c = (unsigned char)r->text[r->at];
    if (c > 0x20 && c < 0x7F)
        return fail(err, TEMPERA_FORMAT, "%s: byte %zu: expected %s, found '%c'", r->name, r->at, what, c);
    return fail(err, TEMPERA_FORMAT, "%s: byte %zu: expected %s, found byte 0x%02X", r->name, r->at, what, c);
}

tempera_status json_fail(const struct json_reader *r, const struct json_token *token, const char *what,
                         tempera_error *err) {
    size_t at = token->text ? (size_t)(token->text - r->text) : r->at;
    return fail(err, TEMPERA_FORMAT, "%s: byte %zu: expected %s", r->name, at, what);
}

static bool peek(const struct json_reader *r, char c) {
    return r->at < r->length && r->text[r->at] == c;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void skip_space(struct json_reader *r) {
    while (peek(r, ' ') || peek(r, '\n') || peek(r, '\r') || peek(r, '\t')) r->at++;
}

static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The four digits after "\u" at s[0, left); -1 when there are none. */
static int32_t hex4(const char *s, size_t left) {
    if (left < 4) return -1;
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(s[i]);
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static bool is_surrogate(int32_t unit, int32_t first) {
    return unit >= first && unit < first + 0x400;
}

/* Resolves the escape at s[0, left), s[0] being the backslash: its code point in *point; returns the bytes it
 * takes, 0 when it is malformed or a lone surrogate. */
static size_t resolve_escape(const char *s, size_t left, uint32_t *point) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (left < 2 || s[1] == 0) return 0;
    const char *simple = strchr(from, s[1]);
    if (simple) {
        *point = (unsigned char)to[simple - from];
        return 2;
    }
    if (s[1] != 'u') return 0;
    int32_t unit = hex4(s + 2, left - 2);
    if (unit < 0 || is_surrogate(unit, 0xDC00)) return 0;
    *point = (uint32_t)unit;
    if (!is_surrogate(unit, 0xD800)) return 6;
    if (left < 12 || s[6] != '\\' || s[7] != 'u') return 0;
    int32_t low = hex4(s + 8, left - 8);
    if (!is_surrogate(low, 0xDC00)) return 0;
    *point = 0x10000u + (((uint32_t)unit - 0xD800u) << 10) + ((uint32_t)low - 0xDC00u);
    return 12;
}

/* ASCII that stands for itself inside a string. */
static bool is_plain(unsigned char c) {
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static tempera_status read_string(struct json_reader *r, struct json_token *t, tempera_error *err) {
    size_t first = ++r->at;
    while (r->at < r->length) {
        size_t at = r->at;
        while (at < r->length && is_plain((unsigned char)r->text[at])) at++;
        r->at = at;
        if (at == r->length) break;
        unsigned char c = (unsigned char)r->text[at];
        if (c == '"') {
            t->text = r->text + first;
            t->length = r->at++ - first;
            return TEMPERA_OK;
        }
        if (c == '\\') {
            uint32_t point = 0;
            size_t taken = resolve_escape(r->text + r->at, r->length - r->at, &point);
            if (taken == 0) return fail_at(r, r->at, "malformed escape, or half of a surrogate pair", err);
            t->escaped = true;
            if (point == 0) t->nul = true;
            r->at += taken;
        } else if (c < 0x20) {
            return fail_at(r, r->at, "control character inside a string", err);
        } else {
            size_t taken = utf8_sequence((const unsigned char *)r->text + r->at, r->length - r->at);
            if (taken == 0) return fail_at(r, r->at, "malformed UTF-8", err);
            r->at += taken;
        }
    }
    return fail_at(r, first - 1, "string without an end", err);
}

static tempera_status skip_digits(struct json_reader *r, tempera_error *err) {
    if (r->at >= r->length || !is_digit(r->text[r->at])) return fail_expected(r, "a digit", err);
    while (r->at < r->length && is_digit(r->text[r->at])) r->at++;
    return TEMPERA_OK;
}

static tempera_status read_number(struct json_reader *r, struct json_token *t, tempera_error *err) {
    size_t first = r->at;
    if (peek(r, '-')) r->at++;
    if (peek(r, '0'))
        r->at++; /* no digit may follow a leading zero: the next token fails then */
    else
        TRY(skip_digits(r, err));
    if (peek(r, '.')) {
        r->at++;
        TRY(skip_digits(r, err));
    }
    if (peek(r, 'e') || peek(r, 'E')) {
        r->at++;
        if (peek(r, '+') || peek(r, '-')) r->at++;
        TRY(skip_digits(r, err));
    }
    t->kind = JSON_NUMBER;
    t->text = r->text + first;
    t->length = r->at - first;
    return TEMPERA_OK;
}

static tempera_status read_word(struct json_reader *r, const char *word, enum json_kind kind, struct json_token *t,
                                tempera_error *err) {
    size_t length = strlen(word);
    if (r->length - r->at < length || memcmp(r->text + r->at, word, length) != 0)
        return fail_expected(r, "a value", err);
    t->kind = kind;
    t->text = r->text + r->at;
    t->length = length;
    r->at += length;
    return TEMPERA_OK;
}

static tempera_status open_level(struct json_reader *r, bool object, struct json_token *t, tempera_error *err) {
    if (r->depth == JSON_MAX_DEPTH)
        return fail(err, TEMPERA_FORMAT, "%s: byte %zu: nested more than %d deep", r->name, r->at, JSON_MAX_DEPTH);
    r->in_object[++r->depth] = object;
    r->state = object ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    t->kind = object ? JSON_OBJECT : JSON_ARRAY;
    t->text = r->text + r->at++;
    t->length = 1;
    return TEMPERA_OK;
}

static void after_value(struct json_reader *r) {
    r->state = r->depth > 0 ? WANT_COMMA_OR_END : WANT_NOTHING;
}

static void close_level(struct json_reader *r, struct json_token *t) {
    t->kind = r->in_object[r->depth--] ? JSON_OBJECT_END : JSON_ARRAY_END;
    t->text = r->text + r->at++;
    t->length = 1;
    after_value(r);
}

static tempera_status read_value(struct json_reader *r, struct json_token *t, tempera_error *err) {
    char c = r->at < r->length ? r->text[r->at] : 0;
    if (c == '{' || c == '[') return open_level(r, c == '{', t, err);
    if (c == '"') {
        t->kind = JSON_STRING;
        TRY(read_string(r, t, err));
    } else if (c == '-' || is_digit(c)) {
        TRY(read_number(r, t, err));
    } else if (c == 't') {
        TRY(read_word(r, "true", JSON_TRUE, t, err));
    } else if (c == 'f') {
        TRY(read_word(r, "false", JSON_FALSE, t, err));
    } else if (c == 'n') {
        TRY(read_word(r, "null", JSON_NULL, t, err));
    } else {
        return fail_expected(r, "a value", err);
    }
    after_value(r);
    return TEMPERA_OK;
}

static tempera_status read_key(struct json_reader *r, struct json_token *t, tempera_error *err) {
    if (!peek(r, '"')) return fail_expected(r, "a key in double quotes", err);
    t->kind = JSON_KEY;
    TRY(read_string(r, t, err));
    skip_space(r);
    if (!peek(r, ':')) return fail_expected(r, "':'", err);
    r->at++;
    r->state = WANT_VALUE;
    return TEMPERA_OK;
}

tempera_status json_next(struct json_reader *r, struct json_token *t, tempera_error *err) {
    *t = (struct json_token){0};
    skip_space(r);
    if (r->state == WANT_NOTHING) return r->at == r->length ? TEMPERA_OK : fail_expected(r, "the end", err);
    bool object = r->in_object[r->depth];
    if (r->state == WANT_COMMA_OR_END) {
        if (peek(r, object ? '}' : ']')) {
            close_level(r, t);
            return TEMPERA_OK;
        }
        if (!peek(r, ',')) return fail_expected(r, object ? "',' or '}'" : "',' or ']'", err);
        r->at++;
        skip_space(r);
        r->state = object ? WANT_KEY : WANT_VALUE;
    } else if ((r->state == WANT_KEY_OR_END && peek(r, '}')) || (r->state == WANT_VALUE_OR_END && peek(r, ']'))) {
        close_level(r, t);
        return TEMPERA_OK;
    }
    if (r->state == WANT_KEY || r->state == WANT_KEY_OR_END) return read_key(r, t, err);
    return read_value(r, t, err);
}

tempera_status json_next_kind(struct json_reader *r, enum json_kind kind, const char *what, struct json_token *t,
                              tempera_error *err) {
    TRY(json_next(r, t, err));
    return t->kind == kind ? TEMPERA_OK : json_fail(r, t, what, err);
}

/* Just past the end of a string of checked text, whose first quote is before `at`. */
static size_t string_end(const char *text, size_t at) {
    while (text[at] != '"') at += text[at] == '\\' ? 2 : 1;
    return at + 1;
}

void json_skip_checked(struct json_reader *r, const struct json_token *token) {
    if (token->kind != JSON_OBJECT && token->kind != JSON_ARRAY) return;
    const char *text = r->text;
    size_t at = r->at;
    for (int depth = 1; depth > 0;) {
        const char c = text[at++];
        if (c == '"')
            at = string_end(text, at);
        else if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
    }
    r->at = at;
    r->depth--;
    after_value(r);
}

tempera_status json_skip(struct json_reader *r, const struct json_token *token, tempera_error *err) {
    if (token->kind != JSON_OBJECT && token->kind != JSON_ARRAY) return TEMPERA_OK;
    int outside = r->depth - 1;
    struct json_token t;
    while (r->depth > outside) TRY(json_next(r, &t, err));
    return TEMPERA_OK;
}

/* Writes the UTF-8 form of a code point; returns its length. */
static size_t put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80u | (c & 0x3Fu));
    out[0] = (char)(lead[length] | c);
    return length;
}

char *json_text(struct arena *arena, const struct json_token *t, size_t *length) {
    char *out = arena_alloc(arena, t->length + 1); /* an escape is never shorter than what it stands for */
    if (!out) return NULL;
    size_t n = 0;
    for (size_t i = 0; i < t->length;) {
        if (t->text[i] != '\\') {
            out[n++] = t->text[i++];
        } else {
            uint32_t point = 0;
            i += resolve_escape(t->text + i, t->length - i, &point);
            n += put_utf8(out + n, point);
        }
    }
    out[n] = 0;
    if (length) *length = n;
    return out;
}

bool json_is(const struct json_token *t, const char *text) {
    return t->length == strlen(text) && memcmp(t->text, text, t->length) == 0;
}

bool json_digits(const struct json_token *t, uint64_t max, uint64_t *value) {
    if (t->kind != JSON_NUMBER) return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < t->length; i++) {
        if (!is_digit(t->text[i])) return false;
        uint64_t digit = (uint64_t)(t->text[i] - '0');
        if (sum > (UINT64_MAX - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return sum <= max;
}
