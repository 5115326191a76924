/* bytelevel.h: GPT-2's alphabet, which spells every byte as one printable character. */
#ifndef TEXT_BYTELEVEL_H
#define TEXT_BYTELEVEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

/* The character for a byte: itself where it is printable Latin-1, else U+0100 and up in order. */
uint32_t bytelevel_char(unsigned char byte);
/* The byte of a character, or -1. */
int bytelevel_byte(uint32_t c);

/* Appends the spelling of working text (its escapes count as the bytes they stand for). */
tempera_status bytelevel_spell(struct buf *out, const char *text, size_t length, tempera_error *err);
/* Writes the bytes that `text` spells to out[length]; returns how many, or SIZE_MAX when a character is not of the
 * alphabet. */
size_t bytelevel_bytes(char *out, const char *text, size_t length);

#endif
