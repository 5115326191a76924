/* scorer_rank.c: a radix sort of one row, stable, so that equal scores stay in the order of ids. */
#include "backend/cpu/scorer_internal.h"

enum { SHORT_ROW = 8192 }; /* below, clearing large histograms costs more than a pass */

/* Sorted ascending: the larger score first. */
static uint32_t falling_key(float score) {
    return ~draw_key(score);
}

/* From counts of digits to the places where their elements begin. */
static void accumulate(uint32_t *count, uint32_t digits) {
    uint32_t before = 0;
    for (uint32_t digit = 0; digit < digits; digit++) {
        uint32_t here = count[digit];
        count[digit] = before;
        before += here;
    }
}

/* Counts the digits of all passes; returns how many tokens are above -inf. */
static int32_t count_digits(uint32_t *count, const float *z, int32_t V, int bits, int passes) {
    const uint32_t mask = (1u << bits) - 1;
    int32_t n = 0;
    memset(count, 0, ((size_t)passes << bits) * sizeof *count);
    for (int32_t i = 0; i < V; i++) {
        if (z[i] == -INFINITY) continue;
        uint32_t key = falling_key(z[i]);
        for (int pass = 0; pass < passes; pass++) count[((uint32_t)pass << bits) + ((key >> (pass * bits)) & mask)]++;
        n++;
    }
    for (int pass = 0; pass < passes; pass++) accumulate(count + ((size_t)pass << bits), mask + 1);
    return n;
}

static void sort_digits(struct rank *rank, const float *z, int32_t V, int bits, int passes) {
    const uint32_t mask = (1u << bits) - 1;
    uint64_t *from = rank->work[0], *to = rank->work[1];
    uint32_t *count = rank->count;
    rank->n = count_digits(count, z, V, bits, passes);
    for (int32_t i = 0; i < V; i++) { /* the first pass reads the row */
        if (z[i] == -INFINITY) continue;
        uint32_t key = falling_key(z[i]);
        from[count[key & mask]++] = (uint64_t)key << 32 | (uint32_t)i;
    }
    for (int pass = 1; pass < passes - 1; pass++) {
        count += mask + 1;
        for (int32_t i = 0; i < rank->n; i++) to[count[(from[i] >> (32 + pass * bits)) & mask]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    count += mask + 1;
    for (int32_t i = 0; i < rank->n; i++) { /* the last one takes keys and ids apart */
        uint32_t at = count[from[i] >> (32 + (passes - 1) * bits)]++;
        rank->z[at] = draw_unkey(~(uint32_t)(from[i] >> 32));
        rank->id[at] = (int32_t)(uint32_t)from[i];
    }
}

void rank_sort(struct rank *rank, const float *z, int32_t V) {
    if (V < SHORT_ROW) {
        sort_digits(rank, z, V, 8, 4);
    } else {
        sort_digits(rank, z, V, 11, 3);
    }
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
