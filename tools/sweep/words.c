/* words.c: characters, white space, and the tokenisers of sacrebleu and rouge-score. */
#include "sweep/words.h"

#include <string.h>

#include "base/utf8.h"

void text_clean(struct strbuf *out, const char *bytes, size_t length) {
    size_t from = 0, i = 0;
    if (length == 0) bytes = "";
    while (i < length) {
        size_t n = utf8_sequence((const unsigned char *)bytes + i, length - i);
        if (n == 0) {
            strbuf_add(out, bytes + from, i - from);
            strbuf_text(out, "\xEF\xBF\xBD");
            from = i + 1;
        }
        i += n ? n : 1;
    }
    strbuf_add(out, bytes + from, length - from);
}

int32_t text_character(const char *text, size_t left, size_t *length) {
    const unsigned char *s = (const unsigned char *)text;
    *length = utf8_sequence(s, left);
    switch (*length) {
    case 2: return (s[0] & 0x1F) << 6 | (s[1] & 0x3F);
    case 3: return (s[0] & 0x0F) << 12 | (s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    case 4: return (s[0] & 0x07) << 18 | (s[1] & 0x3F) << 12 | (s[2] & 0x3F) << 6 | (s[3] & 0x3F);
    default: *length = 1; return s[0];
    }
}

size_t text_space(const char *text, size_t left) {
    unsigned char first = (unsigned char)text[0];
    if (first < 0x80) return first == ' ' || (first >= '\t' && first <= '\r') || (first >= 0x1C && first <= 0x1F);
    if (first < 0xC2 || first > 0xE3) return 0; /* in the middle of a character, or no white space begins so */
    size_t length;
    int32_t c = text_character(text, left, &length);
    bool space = c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
                 c == 0x202F || c == 0x205F || c == 0x3000;
    return space ? length : 0;
}

bool text_word(const char *text, size_t length, size_t *at, const char **word, size_t *word_length) {
    size_t i = *at, space;
    while (i < length && (space = text_space(text + i, length - i)) > 0) i += space;
    size_t from = i;
    while (i < length && text_space(text + i, length - i) == 0) i++;
    *at = i;
    *word = text + from;
    *word_length = i - from;
    return i > from;
}

static void cut(struct strbuf *text, size_t length) {
    text->length = length;
    if (text->data) text->data[length] = 0;
}

/* ---- 13a ---- */

/* Every occurrence, from the left; `to` is no longer than `from`. */
static void replace_all(struct strbuf *text, const char *from, const char *to) {
    size_t from_length = strlen(from), to_length = strlen(to), kept = 0, i = 0;
    while (i < text->length) {
        const char *next = memchr(text->data + i, from[0], text->length - i);
        size_t stop = next ? (size_t)(next - text->data) : text->length;
        memmove(text->data + kept, text->data + i, stop - i);
        kept += stop - i;
        i = stop;
        if (i == text->length) break;
        if (text->length - i >= from_length && memcmp(text->data + i, from, from_length) == 0) {
            memcpy(text->data + kept, to, to_length);
            kept += to_length;
            i += from_length;
        } else {
            text->data[kept++] = text->data[i++];
        }
    }
    cut(text, kept);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_point(char c) {
    return c == '.' || c == ',';
}
/* [\{-\~\[-\` -\&\(-\+\:-\@\/]: ASCII's symbols but ' , - and . */
static bool is_symbol(char c) {
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
           (c >= ':' && c <= '@') || c == '/';
}

static void split_symbols(const struct strbuf *in, struct strbuf *out) {
    size_t from = 0;
    for (size_t i = 0; i < in->length; i++) {
        if (!is_symbol(in->data[i])) continue;
        strbuf_add(out, in->data + from, i - from);
        strbuf_char(out, ' ');
        strbuf_char(out, in->data[i]);
        strbuf_char(out, ' ');
        from = i + 1;
    }
    strbuf_add(out, in->data + from, in->length - from);
}

/* One regular expression of two characters, found from the left without overlaps: where pair(a, b), the bytes a, b are
 * written as `before` a `between` b `after`. That characters beyond ASCII have several bytes changes nothing: they
 * match only "not a digit", and spaces go before their first or behind their last byte. */
static void split_pairs(const struct strbuf *in, struct strbuf *out, bool (*pair)(char a, char b), const char *before,
                        const char *between, const char *after) {
    size_t from = 0;
    strbuf_clear(out);
    for (size_t i = 0; i + 1 < in->length; i++) {
        if (!pair(in->data[i], in->data[i + 1])) continue;
        strbuf_add(out, in->data + from, i - from);
        strbuf_text(out, before);
        strbuf_char(out, in->data[i]);
        strbuf_text(out, between);
        strbuf_char(out, in->data[++i]);
        strbuf_text(out, after);
        from = i + 1;
    }
    strbuf_add(out, in->data + from, in->length - from);
}

static bool point_after_other(char a, char b) {
    return !is_digit(a) && is_point(b);
}
static bool point_before_other(char a, char b) {
    return is_point(a) && !is_digit(b);
}
static bool dash_after_digit(char a, char b) {
    return is_digit(a) && b == '-';
}

static void trim_end(struct strbuf *text) {
    size_t at = 0, word_length, end = 0;
    const char *word;
    while (text_word(text->data, text->length, &at, &word, &word_length)) end = at;
    cut(text, end);
}

void text_split_13a(struct strbuf *text) {
    if (text->length == 0) return;
    struct strbuf other = {0};
    trim_end(text); /* BLEU's own step, before the tokeniser */
    replace_all(text, "<skipped>", "");
    replace_all(text, "-\n", "");
    replace_all(text, "\n", " ");
    replace_all(text, "&quot;", "\"");
    replace_all(text, "&amp;", "&");
    replace_all(text, "&lt;", "<");
    replace_all(text, "&gt;", ">");
    strbuf_char(&other, ' ');
    split_symbols(text, &other);
    strbuf_char(&other, ' ');
    split_pairs(&other, text, point_after_other, "", " ", " ");
    split_pairs(text, &other, point_before_other, " ", " ", "");
    split_pairs(&other, text, dash_after_digit, "", " ", " ");
    strbuf_free(&other);
}

/* ---- ROUGE ---- */

enum { CAPITAL_I_WITH_DOT = 0x130, KELVIN_SIGN = 0x212A };

static char rouge_letter(int32_t c) {
    if (c >= 'A' && c <= 'Z') return (char)(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return (char)c;
    return c == KELVIN_SIGN ? 'k' : ' ';
}

void text_split_rouge(struct strbuf *text) {
    size_t kept = 0, n;
    for (size_t i = 0; i < text->length; i += n) {
        int32_t c = text_character(text->data + i, text->length - i, &n);
        if (c == CAPITAL_I_WITH_DOT) text->data[kept++] = 'i'; /* and a combining dot, which is a space */
        text->data[kept++] = rouge_letter(c);
    }
    cut(text, kept);
}
