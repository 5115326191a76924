/* scorer_rank.c: radix sorts of one row, stable, so that equal scores stay in the order of ids. A long row is sorted by
 * its distances as 22-bit integers, two passes whose digits spread evenly, and then by insertion, which finds little to
 * do. Rows that this does not suit, and short ones, are sorted by the bits of their scores. */
#include "backend/cpu/scorer_internal.h"

enum {
    SHORT_ROW = 8192, /* below, clearing large histograms costs more than a pass */
    STEP_BITS = 11,   /* of a digit of distances */
    STEP_DIGITS = 1 << STEP_BITS,
    SAMPLE_EVERY = 16
};

/* ---- by bits -------------------------------------------------------------------------------------------------- */

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

/* ---- by distances --------------------------------------------------------------------------------------------- */

struct steps { /* score to integer: (best - score) factor, cut to both ends */
    float best, factor;
};

/* From some of the scores; what lies outside falls on an end. False: they do not lie between finite ones. */
static bool sample_steps(struct steps *steps, const float *z, int32_t V) {
    float best = -INFINITY, least = INFINITY;
    for (int32_t i = 0; i < V; i += SAMPLE_EVERY) {
        if (z[i] == -INFINITY) continue;
        best = z[i] > best ? z[i] : best;
        least = z[i] < least ? z[i] : least;
    }
    *steps = (struct steps){best, (float)(STEP_DIGITS * STEP_DIGITS - 1) / (best - least)};
    return best - least > 0.0f && best - least < INFINITY && steps->factor < INFINITY;
}

static void fill_steps(uint32_t *step, const struct steps *steps, const float *z, int32_t V) {
    const float most = (float)(STEP_DIGITS * STEP_DIGITS - 1);
    for (int32_t i = 0; i < V; i++) {
        float x = (steps->best - z[i]) * steps->factor;
        x = x > 0.0f ? x : 0.0f;
        step[i] = (uint32_t)(int32_t)(x < most ? x : most);
    }
}

/* Equal scores are in order already and stay so. False: it takes more moves than there are tokens. */
static bool sort_by_insertion(struct rank *rank) {
    float *z = rank->z;
    int32_t moves = 0;
    for (int32_t i = 1; i < rank->n; i++) {
        if (z[i - 1] >= z[i]) continue;
        float moving = z[i];
        int32_t id = rank->id[i], at = i;
        for (; at > 0 && z[at - 1] < moving; at--) {
            z[at] = z[at - 1];
            rank->id[at] = rank->id[at - 1];
        }
        z[at] = moving;
        rank->id[at] = id;
        moves += i - at;
        if (moves > rank->n) return false;
    }
    return true;
}

static bool sort_steps(struct rank *rank, const float *z, int32_t V) {
    const uint32_t mask = STEP_DIGITS - 1;
    uint64_t *sorted = rank->work[0];
    uint32_t *step = (uint32_t *)(void *)rank->work[1], *low = rank->count, *high = low + STEP_DIGITS;
    struct steps steps;
    if (!sample_steps(&steps, z, V)) return false;
    fill_steps(step, &steps, z, V);
    memset(low, 0, (size_t)2 * STEP_DIGITS * sizeof *low);
    rank->n = 0;
    for (int32_t i = 0; i < V; i++) {
        if (z[i] == -INFINITY) continue;
        low[step[i] & mask]++;
        high[step[i] >> STEP_BITS]++;
        rank->n++;
    }
    accumulate(low, STEP_DIGITS);
    accumulate(high, STEP_DIGITS);
    for (int32_t i = 0; i < V; i++)
        if (z[i] > -INFINITY) sorted[low[step[i] & mask]++] = (uint64_t)step[i] << 32 | (uint32_t)i;
    for (int32_t i = 0; i < rank->n; i++) {
        uint32_t at = high[sorted[i] >> (32 + STEP_BITS)]++;
        rank->id[at] = (int32_t)(uint32_t)sorted[i];
        rank->z[at] = z[rank->id[at]];
    }
    return sort_by_insertion(rank);
}

void rank_sort(struct rank *rank, const float *z, int32_t V) {
    if (V < SHORT_ROW) {
        sort_digits(rank, z, V, 8, 4);
    } else if (!sort_steps(rank, z, V)) {
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
