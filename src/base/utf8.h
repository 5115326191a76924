/* utf8.h: the one definition of a well-formed UTF-8 sequence (RFC 3629). Header-only. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length (1 … 4) of the well-formed sequence at s[0, left); 0 when it is cut short, overlong, a surrogate,
 * beyond U+10FFFF or left is 0. */
static inline size_t utf8_sequence(const unsigned char *s, size_t left) {
    if (left == 0) return 0;
    unsigned char c = s[0];
    if (c < 0x80) return 1;
    if (c < 0xC2 || c > 0xF4) return 0;
    size_t length = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (left < length) return 0;
    unsigned char low = 0x80, high = 0xBF; /* the second byte's range excludes overlong forms and surrogates */
    if (c == 0xE0) low = 0xA0;
    if (c == 0xED) high = 0x9F;
    if (c == 0xF0) low = 0x90;
    if (c == 0xF4) high = 0x8F;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return length;
}

#endif
