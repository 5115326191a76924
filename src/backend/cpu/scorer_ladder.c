/* scorer_ladder.c: sums of weights along the order of a row. One pass of vectors gives the sums of blocks; inside a block
 * they are made when somebody asks, once. */
#include "backend/cpu/scorer_internal.h"
#include "base/num.h"

static const float NO_WEIGHT = 28.0f; /* a distance whose weight is 0, as draw_weight says */

static float score_of(const struct ladder *l, int32_t place) {
    return l->rank->z[place] * l->scale + 0.0f;
}

/* The first place in [low, high) whose score is at most `bound`; high when there is none. */
static int32_t first_at_most(const struct ladder *l, float bound, int32_t low, int32_t high) {
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (score_of(l, middle) <= bound) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}
static int32_t first_below(const struct ladder *l, float score, int32_t low, int32_t high) {
    return first_at_most(l, nextafterf(score, -INFINITY), low, high);
}

/* As chain_min_p: distances grow along the places. */
static int32_t within(const struct ladder *l, float distance) {
    int32_t low = 1, high = l->alive; /* the best has distance 0 */
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (draw_distance(l->best, score_of(l, middle)) <= distance) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void ladder_build(struct ladder *l, const struct sampler_kernels *kernels, const struct rank *rank, float scale,
                  float unit) {
    l->rank = rank;
    l->scale = scale;
    l->unit = unit;
    l->alive = rank->n;
    l->best = rank->n > 0 ? score_of(l, 0) : -INFINITY;
    if (rank->n > 0 && score_of(l, rank->n - 1) == -INFINITY) l->alive = first_at_most(l, -INFINITY, 0, rank->n);
    l->kernels = sampler_kernels_for(kernels, l->best);
    for (int i = 0; i < MEMO_SIZE; i++) l->memo[i].count = -1;
    if (l->alive == 0) return;
    struct scores s = ladder_scores(l);
    s.n = within(l, NO_WEIGHT); /* the rest adds nothing */
    size_t blocks = ceil_div((size_t)rank->n, SCAN_BLOCK), heavy = ceil_div((size_t)s.n, SCAN_BLOCK);
    memset(l->filled, 0, blocks * sizeof *l->filled);
    l->block[0] = (struct mass){0};
    l->kernels->block_moments(&s, l->best, &s, l->best, unit, l->block + 1);
    for (size_t b = 1; b <= heavy; b++) l->block[b] = mass_add(l->block[b], l->block[b - 1]);
    for (size_t b = heavy + 1; b <= blocks; b++) l->block[b] = l->block[heavy];
}

static void fill(struct ladder *l, int32_t block) {
    if (l->filled[block]) return;
    l->filled[block] = true;
    uint64_t weight[SCAN_BLOCK];
    int32_t start = block * SCAN_BLOCK, left = l->rank->n - start;
    struct scores s = {l->rank->z + start, NULL, left < SCAN_BLOCK ? left : SCAN_BLOCK, l->scale};
    l->kernels->weights(&s, l->best, weight);
    struct mass sum = l->block[block];
    for (int32_t i = 0; i < s.n; i++) {
        uint32_t fixed = distance_steps(draw_distance(l->best, score_at(&s, i)), l->unit);
        sum.total += weight[i];
        sum.high += (weight[i] >> 16) * fixed;
        sum.low += (weight[i] & 0xFFFFu) * fixed;
        l->upto[start + i] = sum;
    }
}

struct mass ladder_sum(struct ladder *l, int32_t count) {
    if (count % SCAN_BLOCK == 0) return l->block[count / SCAN_BLOCK];
    if (count == l->rank->n) return l->block[count / SCAN_BLOCK + 1];
    fill(l, count / SCAN_BLOCK);
    return l->upto[count - 1];
}

/* The least count whose weights reach a target, which must not be above the sum of all. */
static int32_t reach(struct ladder *l, uint64_t target) {
    int32_t low = 0, high = (l->rank->n - 1) / SCAN_BLOCK; /* the block it falls into */
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (l->block[middle + 1].total < target) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    fill(l, low);
    int32_t place = low * SCAN_BLOCK, size = SCAN_BLOCK;
    while (size > 1) { /* the answer is in [place, place + size) */
        size /= 2;
        if (place + size < l->rank->n && l->upto[place + size - 1].total < target) place += size;
    }
    return place + 1;
}

static int32_t with_ties(const struct ladder *l, int32_t count, int32_t most) {
    if (score_of(l, count) != score_of(l, count - 1)) return count;
    return first_below(l, score_of(l, count - 1), count, most);
}

/* The entry of a cut, empty when another was there. */
static struct memo *recall(struct ladder *l, float parameter, int32_t count) {
    uint32_t hash = (draw_bits(parameter) ^ (uint32_t)count * 0x9E3779B9u) * 0x85EBCA6Bu;
    struct memo *memo = &l->memo[hash >> 25];
    if (memo->count != count || memo->parameter != parameter) *memo = (struct memo){parameter, -1, 0};
    return memo;
}

static int32_t cut_top_p(struct ladder *l, float p, int32_t count) {
    struct memo *memo = recall(l, p, count);
    if (memo->count < 0)
        *memo = (struct memo){p, count, reach(l, draw_target(ladder_sum(l, count).total, draw_fraction(p)))};
    return memo->left;
}

/* The distances are those of all places, whoever has survived. */
static int32_t cut_min_p(struct ladder *l, float distance, int32_t count) {
    struct memo *memo = recall(l, distance, 0);
    if (memo->count < 0) *memo = (struct memo){distance, 0, within(l, distance)};
    return memo->left < count ? memo->left : count;
}

int32_t ladder_cut(struct ladder *l, enum tempera_stage stage, const struct branch_params *p, int32_t count) {
    if (count == 0) return 0;
    if (stage == TEMPERA_STAGE_MIN_P) return cut_min_p(l, p->min_p_distance, count);
    int32_t left = stage == TEMPERA_STAGE_TOP_P ? cut_top_p(l, p->top_p, count) : p->top_k;
    if (left >= count) return count;
    return p->order.keep_ties ? with_ties(l, left, count) : left;
}

int32_t ladder_infinite(const struct ladder *l) {
    return first_below(l, INFINITY, 0, l->rank->n);
}

/* The take-th smallest of ids [begin, end). */
static int32_t select_id(const struct rank *rank, int32_t begin, int32_t end, int32_t take) {
    int32_t low = 0, high = CPU_SAMPLER_MAX_VOCABULARY;
    while (low < high) {
        int32_t middle = low + (high - low) / 2, count = 0;
        for (int32_t i = begin; i < end; i++) count += rank->id[i] <= middle;
        if (count < take) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct survivors ladder_survivors(const struct ladder *l, int32_t within_places, int32_t count) {
    const struct survivors plain = {count, count, 0};
    if (count == 0 || count >= within_places || score_of(l, count) != score_of(l, count - 1)) return plain;
    float score = score_of(l, count - 1);
    int32_t begin = first_at_most(l, score, 0, count), end = first_below(l, score, count, within_places);
    if (l->rank->z[begin] == l->rank->z[end - 1]) return plain; /* one score of the row, too: ids ascend */
    return (struct survivors){begin, end, select_id(l->rank, begin, end, count - begin)};
}
