/* word_cache.h: remembers the ids of short pieces within one call, because text repeats its words. */
#ifndef TEXT_WORD_CACHE_H
#define TEXT_WORD_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/tokenizer.h"

enum { WORD_BYTES_MAX = 22 };

/* 32 bytes, so two share a cache line and are looked at together. The ids are not copied: they are where the call put
 * them when it met the word first. */
struct word_slot {
    uint32_t hash;
    uint32_t first;        /* index in the call's ids */
    uint8_t length, count; /* length 0 = empty */
    char word[WORD_BYTES_MAX];
};

struct word_cache {
    struct word_slot *slots; /* [mask + 1], in pairs; NULL = off */
    size_t mask;
};

/* A cache for a text of that length; short texts get none. Without memory it is simply off. */
struct word_cache word_cache_create(size_t length);
void word_cache_free(struct word_cache *cache);
/* NULL when unknown. */
const struct word_slot *word_cache_find(const struct word_cache *cache, uint32_t hash, const char *word, size_t length);
/* Remembers that the word's ids are the last of `ids`, from index `first`. */
void word_cache_put(struct word_cache *cache, uint32_t hash, const char *word, size_t length, const struct ids *ids,
                    size_t first);

#endif
