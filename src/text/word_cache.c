/* word_cache.c: two-way set-associative, the newer word first. */
#include "text/word_cache.h"

#include <string.h>

#include "base/mem.h"

enum { TEXT_MIN = 512, SLOTS_MIN = 64, SLOTS_MAX = 16384, BYTES_PER_SLOT = 16 };

struct word_cache word_cache_create(size_t length) {
    struct word_cache cache = {0};
    if (length < TEXT_MIN) return cache;
    size_t slots = SLOTS_MIN;
    while (slots < SLOTS_MAX && slots < length / BYTES_PER_SLOT) slots *= 2;
    cache.slots = mem_array(slots, sizeof *cache.slots);
    cache.mask = slots - 1;
    return cache;
}

void word_cache_free(struct word_cache *cache) {
    mem_free(cache->slots);
    *cache = (struct word_cache){0};
}

const struct word_slot *word_cache_find(const struct word_cache *cache, uint32_t hash, const char *word,
                                        size_t length) {
    const struct word_slot *slot = &cache->slots[hash & cache->mask & ~(size_t)1];
    for (int way = 0; way < 2; way++, slot++)
        if (slot->hash == hash && slot->length == length && memcmp(slot->word, word, length) == 0) return slot;
    return NULL;
}

void word_cache_put(struct word_cache *cache, uint32_t hash, const char *word, size_t length, const struct ids *ids,
                    size_t first) {
    size_t count = ids->count - first;
    if (count > UINT8_MAX || first > UINT32_MAX) return;
    struct word_slot *slot = &cache->slots[hash & cache->mask & ~(size_t)1];
    slot[1] = slot[0];
    *slot =
        (struct word_slot){.hash = hash, .first = (uint32_t)first, .length = (uint8_t)length, .count = (uint8_t)count};
    memcpy(slot->word, word, length);
}
