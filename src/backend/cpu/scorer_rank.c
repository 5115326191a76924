/* scorer_rank.c: a radix sort of one row, stable, so that equal scores stay in the order of ids. */
#include "backend/cpu/scorer_internal.h"

enum { SHORT_ROW = 8192 }; /* below, clearing large histograms costs more than a pass */

void rank_sort(struct rank *rank, const float *z, int32_t V) {
    const int bits = V < SHORT_ROW ? 8 : 11, passes = V < SHORT_ROW ? 4 : 3;
    const uint32_t mask = (1u << bits) - 1;
    uint64_t *from = rank->work[0], *to = rank->work[1];
    memset(rank->count, 0, ((size_t)passes << bits) * sizeof *rank->count);
    int32_t n = 0;
    for (int32_t i = 0; i < V; i++) {
        uint32_t key = ~draw_key(z[i]);
        from[n] = (uint64_t)key << 32 | (uint32_t)i;
        if (key == ~DRAW_KEY_BANNED) continue;
        for (int pass = 0; pass < passes; pass++)
            rank->count[((uint32_t)pass << bits) + ((key >> (pass * bits)) & mask)]++;
        n++;
    }
    for (int pass = 0; pass < passes; pass++) {
        uint32_t *count = rank->count + ((size_t)pass << bits), before = 0;
        for (uint32_t digit = 0; digit <= mask; digit++) {
            uint32_t here = count[digit];
            count[digit] = before;
            before += here;
        }
        const int shift = 32 + pass * bits;
        for (int32_t i = 0; i < n; i++) to[count[(from[i] >> shift) & mask]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    for (int32_t i = 0; i < n; i++) {
        rank->z[i] = draw_unkey(~(uint32_t)(from[i] >> 32));
        rank->id[i] = (int32_t)(uint32_t)from[i];
    }
    rank->n = n;
}

int32_t rank_place(const struct rank *rank, float score, int32_t id) {
    const uint64_t wanted = draw_rank(score, id);
    int32_t low = 0, high = rank->n - 1;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (draw_rank(rank->z[middle], rank->id[middle]) > wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
