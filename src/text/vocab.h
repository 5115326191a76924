/* vocab.h: ids and their spellings, and the added tokens on top of the model's pieces. */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/status.h"

enum { VOCAB_MAX_ID = 4194304 - 1 };

struct vocab_entry {
    const char *piece; /* [length], terminated; NULL: a gap in the ids */
    const char *bytes; /* [bytes_length]: what the id decodes to; may be `piece` itself */
    const char *first; /* [first_length]: the same at the start of a text, where a decoder tells the two apart */
    uint32_t length, bytes_length, first_length;
    bool in_model; /* BPE produces it */
    bool special;
};

/* An added token, as in tokenizer.json. */
struct added_token {
    const char *content; /* [length], in the arena */
    const char *pattern; /* [pattern_length]: what is looked for: the content, normalised when `normalized` */
    size_t length, pattern_length;
    int32_t id;
    bool special, normalized, lstrip, rstrip, single_word;
};

struct vocab {
    struct vocab_entry *entries; /* [size] */
    int32_t size, capacity;
    struct map model;          /* piece → id */
    struct map added_ids;      /* content → index in added; for contents of added tokens */
    struct added_token *added; /* [added_count] */
    size_t added_count, added_capacity;
    struct arena arena; /* spellings and decoded bytes */
};

void vocab_free(struct vocab *vocab);
/* Before the first piece: room for about so many, which spares the table its growing. */
tempera_status vocab_reserve(struct vocab *vocab, size_t pieces, tempera_error *err);
/* Adds a piece of the model; the piece lives in the vocabulary's arena. `name` starts the messages. */
tempera_status vocab_add_piece(struct vocab *vocab, const char *piece, size_t length, int32_t id, const char *name,
                               tempera_error *err);
/* Adds or updates an added token: its id is the model's when the model has that piece, else token->id, which must be
 * free. Content is copied; an empty one is ignored. */
tempera_status vocab_add_token(struct vocab *vocab, const struct added_token *token, const char *name,
                               tempera_error *err);
/* The id of a piece of the model, or -1. */
int32_t vocab_find_piece(const struct vocab *vocab, const char *piece, size_t length);
/* The id of an added token or else of a piece, or -1. */
int32_t vocab_find(const struct vocab *vocab, const char *piece, size_t length);
bool vocab_has_token(const struct vocab *vocab, const char *content, size_t length);
/* NULL for an id that nothing has. */
const struct vocab_entry *vocab_entry(const struct vocab *vocab, int32_t id);

#endif
