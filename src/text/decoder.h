/* decoder.h: the "decoder" of tokenizer.json.
 *
 * Streaming needs every id to decode by itself, so the chain is run once per id when the tokenizer is opened, and its
 * result kept as bytes. What is left for decoding time is one rule about the start of the text. Chains that need more
 * (a Replace after Fuse, a Strip at the end …) are refused by name. Byte tokens give bytes, never U+FFFD. */
#ifndef TEXT_DECODER_H
#define TEXT_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "load/json.h"
#include "text/vocab.h"

struct decoder {
    struct decoder_step *steps; /* Sequences are flattened */
    size_t count;
    bool fused;         /* while reading: what follows would see the whole text */
    bool join_by_space; /* no decoder at all: Hugging Face puts spaces between the pieces */
    bool first_differs; /* Metaspace: the first id decodes to entry->first */
    uint8_t strip;      /* at most so many … */
    char strip_byte;    /* … of this byte are taken off the start of the whole text */
    size_t longest;     /* bytes of the longest id, whichever form */
};

/* Reads the item ("decoder", may be NULL or null); `name` is the file, for messages. */
tempera_status decoder_read(struct decoder *decoder, const cJSON *item, const char *name, tempera_error *err);
/* GPT-2's: ByteLevel. */
tempera_status decoder_gpt2(struct decoder *decoder, tempera_error *err);
/* Fills bytes and first of every entry. */
tempera_status decoder_compile(struct decoder *decoder, struct vocab *vocab, const char *name, tempera_error *err);
void decoder_free(struct decoder *decoder);

#endif
