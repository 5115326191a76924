/* words.h: texts as the public metrics see them: whole characters, white space, words. */
#ifndef SWEEP_WORDS_H
#define SWEEP_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "strbuf.h"

/* Adds the text with U+FFFD for every byte that is not part of a well-formed UTF-8 sequence. All functions below take
 * texts that went through this ("clean"). */
void text_clean(struct strbuf *out, const char *bytes, size_t length);

/* The character at text[0, left), left > 0; *length gets its bytes. */
int32_t text_character(const char *text, size_t left, size_t *length);

/* White space as Python's str.split knows it: bytes of the white-space character that text[0, left) begins with, 0
 * when it begins with none or in the middle of a character. */
size_t text_space(const char *text, size_t left);

/* The next run without white space in text[*at, length): moves *at behind it; false when there is none. */
bool text_word(const char *text, size_t length, size_t *at, const char **word, size_t *word_length);

/* Puts spaces where sacrebleu's tokeniser "13a" splits (mteval-v13a.pl of NIST: entities, "<skipped>", hyphens before a
 * line's end, then four regular expressions, each over the whole text); the words are then what text_word finds. */
void text_split_13a(struct strbuf *text);

/* Leaves what rouge-score takes for words: runs of a-z and 0-9 after lower-casing, all else is a space. Of the
 * characters beyond ASCII only U+0130 and U+212A have an ASCII letter in lower case, i and k. */
void text_split_rouge(struct strbuf *text);

#endif
