/* unicode.c: character classes and the escape of bytes that are not UTF-8. */
#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

size_t char_before(const char *text, size_t end) {
    size_t start = end - 1;
    while (start > 0 && ((unsigned char)text[start] & 0xC0) == 0x80) start--;
    return start;
}

size_t char_put(char out[CHAR_MAX_BYTES], uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t bytes = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = bytes - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[bytes] | c);
    return bytes;
}

bool char_single(const char *text, size_t length, uint32_t *c) {
    return length > 0 && length <= CHAR_MAX_BYTES && char_bytes((unsigned char)text[0]) == length &&
           char_get(text, c) == length;
}

bool char_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c) {
    return utf8proc_category((utf8proc_int32_t)c);
}

bool char_is_numeric(uint32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

/* Punctuation that is younger than the table by which tokenizers were trained (Hugging Face's is of 2014). */
static bool is_late_punctuation(uint32_t c) {
    static const struct {
        uint32_t first, last;
    } late[] = {
        {0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},     {0xC84, 0xC84},
        {0x1B7D, 0x1B7E},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},   {0x10EAD, 0x10EAD}, {0x10F55, 0x10F59},
        {0x10F86, 0x10F89}, {0x1144B, 0x1144F}, {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C},
        {0x116B9, 0x116B9}, {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
        {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71},
        {0x11EF7, 0x11EF8}, {0x11F43, 0x11F4F}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16E97, 0x16E9A},
        {0x16FE2, 0x16FE2}, {0x1E95E, 0x1E95F},
    };
    for (size_t i = 0; i < sizeof late / sizeof *late && c >= late[i].first; i++)
        if (c <= late[i].last) return true;
    return false;
}

bool char_is_punctuation(uint32_t c) {
    if (c < 0x80) return (c > ' ' && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') || (c > 'z' && c < 0x7F);
    utf8proc_category_t k = category(c);
    if (k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO) return !is_late_punctuation(c);
    return c == 0x166D || c == 0x111C9; /* punctuation then, not any more */
}

bool char_is_mark(uint32_t c) {
    utf8proc_category_t k = c < 0x300 ? UTF8PROC_CATEGORY_CN : category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

/* The symbols (So) that are Alphabetic: circled, squared and negative letters. All other alphabetic characters are
 * letters, letter numbers or marks. */
static bool is_alphabetic_symbol(uint32_t c) {
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

bool char_is_word(uint32_t c) {
    if (c < 0x80) return (c >= '0' && c <= '9') || c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return true;
    default: return is_alphabetic_symbol(c) || c == 0x200C || c == 0x200D;
    }
}

size_t char_lower(uint32_t c, uint32_t lower[2]) {
    lower[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    if (c != 0x130) return 1;
    lower[0] = 'i'; /* the one lower case that is longer: a dotted capital I keeps its dot */
    lower[1] = 0x307;
    return 2;
}

size_t text_valid_prefix(const char *text, size_t length) {
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < length) {
        uint64_t eight = 0x80;
        if (length - i >= 8) memcpy(&eight, s + i, 8);
        if ((eight & UINT64_C(0x8080808080808080)) == 0) {
            i += 8;
            continue;
        }
        size_t bytes = utf8_sequence(s + i, length - i);
        if (bytes == 0) break;
        i += bytes;
    }
    return i;
}

tempera_status text_escape(struct buf *out, const char *text, size_t length, tempera_error *err) {
    size_t at = 0;
    while (at < length) {
        size_t valid = text_valid_prefix(text + at, length - at);
        TRY(buf_append(out, text + at, valid, err));
        at += valid;
        if (at == length) break;
        char escape[CHAR_MAX_BYTES];
        size_t bytes = char_put(escape, 0xDC00u + (unsigned char)text[at]);
        TRY(buf_append(out, escape, bytes, err));
        at++;
    }
    return TEMPERA_OK;
}

size_t text_unescape(char *out, const char *text, size_t length) {
    size_t written = 0;
    for (size_t at = 0; at < length;) {
        uint32_t c;
        size_t bytes = char_get(text + at, &c);
        if (char_is_escape(c))
            out[written++] = (char)(c - 0xDC00u);
        else
            for (size_t i = 0; i < bytes; i++) out[written++] = text[at + i];
        at += bytes;
    }
    return written;
}

size_t text_unfinished(const char *text, size_t length) {
    for (size_t back = 1; back < CHAR_MAX_BYTES && back <= length; back++) {
        const unsigned char *s = (const unsigned char *)text + length - back;
        if ((s[0] & 0xC0) == 0x80) continue;
        if (s[0] < 0xC2 || s[0] > 0xF4 || char_bytes(s[0]) <= back) return 0;
        unsigned char whole[CHAR_MAX_BYTES] = {s[0], 0x80, 0x80, 0x80};
        if (s[0] == 0xE0) whole[1] = 0xA0; /* the first second bytes that RFC 3629 allows */
        if (s[0] == 0xF0) whole[1] = 0x90;
        memcpy(whole, s, back);
        return utf8_sequence(whole, CHAR_MAX_BYTES) ? back : 0;
    }
    return 0;
}

size_t text_spaces_at_start(const char *text, size_t length) {
    size_t at = 0;
    while (at < length) {
        uint32_t c;
        size_t bytes = char_get(text + at, &c);
        if (!char_is_space(c)) break;
        at += bytes;
    }
    return at;
}

size_t text_spaces_at_end(const char *text, size_t length) {
    while (length > 0) {
        uint32_t c;
        size_t start = char_before(text, length);
        char_get(text + start, &c);
        if (!char_is_space(c)) break;
        length = start;
    }
    return length;
}
