/* bytelevel.c: GPT-2's byte alphabet, computed rather than tabled: it has three printable ranges. */
#include "text/bytelevel.h"

#include <stdbool.h>

#include "text/unicode.h"

static bool is_printable(uint32_t byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

uint32_t bytelevel_char(unsigned char byte) {
    if (is_printable(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;         /* 00 … 20 → U+0100 … U+0120 */
    if (byte <= 0xA0) return 0x121u + byte - 0x7Fu; /* 7F … A0 → U+0121 … U+0142 */
    return 0x143;                                   /* AD */
}

int bytelevel_byte(uint32_t c) {
    if (c < 0x100) return is_printable(c) ? (int)c : -1;
    if (c <= 0x120) return (int)(c - 0x100u);
    if (c <= 0x142) return (int)(c - 0x121u + 0x7Fu);
    return c == 0x143 ? 0xAD : -1;
}

tempera_status bytelevel_spell(struct buf *out, const char *text, size_t length, tempera_error *err) {
    for (size_t at = 0; at < length;) {
        uint32_t c;
        size_t bytes = char_get(text + at, &c);
        char stray = (char)(c - 0xDC00u);
        const char *from = char_is_escape(c) ? &stray : text + at;
        size_t count = char_is_escape(c) ? 1 : bytes;
        TRY(buf_reserve(out, 2 * CHAR_MAX_BYTES, err));
        for (size_t i = 0; i < count; i++)
            out->length += char_put(out->data + out->length, bytelevel_char((unsigned char)from[i]));
        at += bytes;
    }
    if (out->data) out->data[out->length] = 0;
    return TEMPERA_OK;
}

size_t bytelevel_bytes(char *out, const char *text, size_t length) {
    size_t written = 0;
    for (size_t at = 0; at < length;) {
        uint32_t c;
        at += char_get(text + at, &c);
        int byte = bytelevel_byte(c);
        if (byte < 0) return SIZE_MAX;
        out[written++] = (char)byte;
    }
    return written;
}
