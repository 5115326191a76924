/* added.h: finding added tokens in text: the leftmost, of those the longest, as Hugging Face's matcher does. */
#ifndef TEXT_ADDED_H
#define TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/vocab.h"

/* A trie over the bytes of the patterns. */
struct added_trie {
    struct added_node *nodes; /* node 0 is the root */
    size_t count, capacity;
    uint32_t roots[256]; /* child of the root, 0 = none */
};

/* The patterns of all tokens whose `normalized` is that. An empty pattern is never found. */
tempera_status added_trie_build(struct added_trie *trie, const struct vocab *vocab, bool normalized,
                                tempera_error *err);
void added_trie_free(struct added_trie *trie);

/* Walks a text, token by token. */
struct added_walk {
    const struct added_trie *trie;
    const struct vocab *vocab;
    const char *text;
    size_t length;
    bool ignore_special; /* special tokens in the text are not tokens */
    size_t search;       /* where to look from */
    size_t done;         /* end of what was handed out */
};
/* Hands out the next token's id in *id (-1: no more) and the text before it, [*before, *before_end); the token covers the
 * text up to walk->done. After the last one, the text before it is what is left. */
void added_next(struct added_walk *walk, int32_t *id, size_t *before, size_t *before_end);

#endif
