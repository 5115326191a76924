/* unicode.h: characters of the working text.
 *
 * All components between the caller's bytes and the vocabulary work on UTF-8 in which every input byte that is not
 * UTF-8 stands as an escape: the three bytes of the lone surrogate U+DC00 + byte, which no UTF-8 text can contain. So
 * expressions and normal forms see one ordinary character per stray byte, and the byte comes out again at the end. */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

enum { CHAR_MAX_BYTES = 4, ESCAPE_FIRST = 0xDC80, ESCAPE_LAST = 0xDCFF };

/* Bytes of the character that starts with `lead`, in working text. */
static inline size_t char_bytes(unsigned char lead) {
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}
/* Decodes the character at s, which must be whole; returns its bytes. */
static inline size_t char_get(const char *s, uint32_t *c) {
    const unsigned char *u = (const unsigned char *)s;
    size_t bytes = char_bytes(u[0]);
    if (bytes == 1)
        *c = u[0];
    else if (bytes == 2)
        *c = (uint32_t)(u[0] & 0x1F) << 6 | (u[1] & 0x3Fu);
    else if (bytes == 3)
        *c = (uint32_t)(u[0] & 0x0F) << 12 | (uint32_t)(u[1] & 0x3F) << 6 | (u[2] & 0x3Fu);
    else
        *c = (uint32_t)(u[0] & 0x07) << 18 | (uint32_t)(u[1] & 0x3F) << 12 | (uint32_t)(u[2] & 0x3F) << 6 |
             (u[3] & 0x3Fu);
    return bytes;
}
/* Start of the character that ends at text[end), end > 0. */
size_t char_before(const char *text, size_t end);
/* Encodes c; returns its bytes. */
size_t char_put(char out[CHAR_MAX_BYTES], uint32_t c);
/* The only character of a text: false when the text is empty or holds several. */
bool char_single(const char *text, size_t length, uint32_t *c);

static inline bool char_is_escape(uint32_t c) {
    return c >= ESCAPE_FIRST && c <= ESCAPE_LAST;
}
bool char_is_space(uint32_t c);       /* White_Space */
bool char_is_numeric(uint32_t c);     /* Nd, Nl, No */
bool char_is_punctuation(uint32_t c); /* P*, and the ASCII symbols that C calls punctuation */
bool char_is_word(uint32_t c);        /* \w of UTS 18: Alphabetic, M, Nd, Pc, Join_Control */
bool char_is_mark(uint32_t c);        /* Mn, Mc, Me */
/* Full lower case of one character, without context: at most two characters. Returns how many. */
size_t char_lower(uint32_t c, uint32_t lower[2]);

/* Length of the longest prefix that is UTF-8. */
size_t text_valid_prefix(const char *text, size_t length);
/* Appends the working text of the caller's bytes. */
tempera_status text_escape(struct buf *out, const char *text, size_t length, tempera_error *err);
/* Turns escapes back into bytes; out holds `length` bytes or is `text` itself. Returns the bytes written. */
size_t text_unescape(char *out, const char *text, size_t length);
/* Bytes at the end of text that begin a UTF-8 character but do not finish it: 0 … 3. */
size_t text_unfinished(const char *text, size_t length);

/* End of the white space that begins the text; start of the white space that ends it. */
size_t text_spaces_at_start(const char *text, size_t length);
size_t text_spaces_at_end(const char *text, size_t length);

enum normal_form { NORMAL_NFC, NORMAL_NFD, NORMAL_NFKC, NORMAL_NFKD };
/* Appends the text in that form. Linear in the length, whatever the marks (unlike utf8proc's own ordering). */
tempera_status text_normal_form(struct buf *out, const char *text, size_t length, enum normal_form form,
                                tempera_error *err);

#endif
