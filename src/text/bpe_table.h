/* bpe_table.h: looking a pair up, shared by the two halves of bpe. */
#ifndef TEXT_BPE_TABLE_H
#define TEXT_BPE_TABLE_H

#include "text/bpe.h"

#define BPE_NO_PAIR UINT64_MAX

static inline uint64_t bpe_pair(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}
static inline size_t bpe_merge_slot(const struct bpe *bpe, uint64_t pair) {
    uint64_t mixed = (pair ^ pair >> 29) * bpe->seed;
    return (size_t)(mixed >> bpe->merge_shift);
}
/* NULL when the two do not merge. */
static inline const struct bpe_merge *bpe_find_merge(const struct bpe *bpe, int32_t left, int32_t right) {
    uint64_t pair = bpe_pair(left, right);
    for (size_t i = bpe_merge_slot(bpe, pair);; i = (i + 1) & (bpe->merge_slots - 1)) {
        if (bpe->merges[i].pair == pair) return &bpe->merges[i];
        if (bpe->merges[i].pair == BPE_NO_PAIR) return NULL;
    }
}

#endif
