/* sampler_filters.c: top_k, top_p, min_p, typical_p. Every cut is one number: the rank of the last candidate kept.
 *
 * Finding it is one selection for all filters: among candidates with distinct ranks and integer weights, the shortest
 * prefix by descending rank whose weight reaches a target. The first step is a histogram over the leading key bits of the
 * whole list; the candidates of the one digit where the target falls become entries, and each further step splits those
 * by their highest differing bits. Nothing is sorted but the last few. */
#include "backend/cpu/sampler_internal.h"

enum {
    DIRECT_MAX = 512, /* candidates that become entries without a histogram */
    SORT_MAX = 24,
    STEP_BITS = 8
};

/* What a cut keeps: `amount` candidates, or the fraction amount / 2^64 of the total weight. */
struct goal {
    bool by_mass;
    uint64_t amount;
};

static uint64_t goal_target(const struct goal *goal, uint64_t total) {
    return goal->by_mass ? draw_target(total, goal->amount) : goal->amount;
}

/* ---- selection among entries ---------------------------------------------------------------------------------- */

static void sort_entries(struct entry *entry, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        struct entry moving = entry[i];
        int32_t at = i;
        for (; at > 0 && entry[at - 1].rank < moving.rank; at--) entry[at] = entry[at - 1];
        entry[at] = moving;
    }
}

/* How far to shift so that the highest bit in which the ranks differ is the top bit of an 8-bit digit. */
static int differing_shift(const struct entry *entry, int32_t n) {
    uint64_t all = UINT64_MAX, any = 0;
    for (int32_t i = 0; i < n; i++) {
        all &= entry[i].rank;
        any |= entry[i].rank;
    }
    int top = 63 - __builtin_clzll((all ^ any) | 1);
    return top >= STEP_BITS ? top - STEP_BITS + 1 : 0;
}

/* Rank of the last entry of the shortest prefix whose weight reaches target; target <= the sum of the weights, ranks
 * distinct, n > 0. Reorders the entries. */
static uint64_t select_entry(struct entry *entry, int32_t n, uint64_t target) {
    while (n > SORT_MAX) {
        uint64_t sum[1 << STEP_BITS] = {0};
        int shift = differing_shift(entry, n);
        uint32_t mask = (1u << STEP_BITS) - 1;
        for (int32_t i = 0; i < n; i++) sum[(entry[i].rank >> shift) & mask] += entry[i].weight;
        uint32_t digit = mask;
        for (; digit > 0 && sum[digit] < target; digit--) target -= sum[digit];
        int32_t left = 0;
        for (int32_t i = 0; i < n; i++)
            if (((entry[i].rank >> shift) & mask) == digit) entry[left++] = entry[i];
        n = left;
    }
    sort_entries(entry, n);
    int32_t i = 0;
    for (; i + 1 < n && entry[i].weight < target; i++) target -= entry[i].weight;
    return entry[i].rank;
}

/* ---- selection among candidates ------------------------------------------------------------------------------- */

/* The score at one end of a digit. No score has the key of -0, which would compare equal to +0 in the next digit. */
static float digit_bound(uint32_t key) {
    if (key == draw_key(-0.0f)) key--;
    if (key < DRAW_KEY_BANNED) key = DRAW_KEY_BANNED;
    if (key > DRAW_KEY_INFINITY) key = DRAW_KEY_INFINITY;
    return draw_unkey(key);
}

/* Rank of the last candidate that the goal keeps. A count goal must be at most order->n. */
static uint64_t last_kept(const struct sampler_kernels *kernels, struct scratch *scratch, const struct scores *order,
                          const struct scores *weigh, float best, const struct goal *goal) {
    if (order->n <= DIRECT_MAX) {
        uint64_t total = kernels->entries(scratch->entry, order, weigh, best, NULL, order->n);
        return select_entry(scratch->entry, order->n, goal_target(goal, total));
    }
    uint64_t *sum = scratch->histogram, total = 0;
    kernels->histogram(order, weigh, best, sum);
    for (int32_t i = 0; i < DIGIT_COUNT; i++) total += sum[i];
    uint64_t target = goal_target(goal, total);
    uint32_t digit = DIGIT_COUNT - 1;
    for (; digit > 0 && sum[digit] < target; digit--) target -= sum[digit];
    float low = digit_bound(digit << DIGIT_SHIFT);
    float high = digit_bound(digit << DIGIT_SHIFT | ((1u << DIGIT_SHIFT) - 1));
    int32_t n = kernels->collect(order, low, high, scratch->index);
    kernels->entries(scratch->entry, order, weigh, best, scratch->index, n);
    return select_entry(scratch->entry, n, target);
}

/* ---- cuts ----------------------------------------------------------------------------------------------------- */

/* Leaves the candidates whose rank by order's score is at least `last`; banned tokens never stay. */
static void cut(struct chain *c, const struct scores *order, uint64_t last) {
    struct scratch *scratch = c->scratch;
    uint64_t least = (uint64_t)(DRAW_KEY_BANNED + 1) << 32;
    if (last < least) last = least;
    int32_t n = c->kernels->keep(order, &c->s, last, scratch->list, scratch->list_id);
    c->s = (struct scores){scratch->list, scratch->list_id, n, 1.0f};
    c->block_max = NULL;
    c->shortlist = NULL;
}

/* With ties, the cut goes down to the highest id of the last score. */
static uint64_t with_ties(uint64_t last, bool keep_ties) {
    return keep_ties ? last >> 32 << 32 : last;
}

/* A lower bound of the k-th best rank of a whole row: the k-th best of the blocks' maxima. When k is small against the
 * number of blocks, few candidates besides the k best are above it. 0 when it would not pay. */
static uint64_t blocks_bound(const struct sampler_kernels *kernels, struct scratch *scratch, const struct scores *s,
                             const float *block_max, int32_t k) {
    int32_t blocks = (int32_t)(((int64_t)s->n + SCAN_BLOCK - 1) / SCAN_BLOCK);
    if (!block_max || k > blocks / 2) return 0;
    struct scores maxima = {block_max, NULL, blocks, s->scale};
    kernels->entries(scratch->entry, &maxima, NULL, 0.0f, NULL, blocks);
    return with_ties(select_entry(scratch->entry, blocks, (uint64_t)k), true);
}

/* ---- the shortlist -------------------------------------------------------------------------------------------- */

void row_shortlist(struct row_info *info, const struct sampler_kernels *kernels, struct scratch *scratch,
                   const struct scores *s) {
    struct shortlist *list = &info->shortlist;
    list->n = 0;
    int32_t least = s->n / SCAN_BLOCK / 2; /* half the blocks' maxima: a bound that few others reach */
    if (least > SHORTLIST_LEAST) least = SHORTLIST_LEAST;
    if (least < SHORTLIST_USEFUL) return;
    uint64_t last = blocks_bound(kernels, scratch, s, info->block_max, least);
    if (last >> 32 <= DRAW_KEY_BANNED) return;
    int32_t n = kernels->keep(s, s, last, scratch->list, scratch->list_id);
    if (n > SHORTLIST_MAX) return; /* many ties */
    memcpy(list->z, scratch->list, (size_t)n * sizeof *list->z);
    memcpy(list->id, scratch->list_id, (size_t)n * sizeof *list->id);
    list->n = n;
    list->bound = draw_unkey((uint32_t)(last >> 32));
}

/* Makes the cut within the shortlist when that is all it can touch: tokens outside have at most the score of the bound
 * (scaling may round them up to it). False: nothing was done. */
static bool cut_shortlist(struct chain *c, uint64_t last) {
    const struct shortlist *list = c->shortlist;
    if ((uint32_t)(last >> 32) <= draw_key(list->bound * c->s.scale + 0.0f)) return false;
    c->s.z = list->z;
    c->s.id = list->id;
    c->s.n = list->n;
    cut(c, &c->s, last);
    return true;
}

/* A top_k or top_p cut decided by the shortlist alone. `total`: of the weights of all candidates, when by mass. */
static bool cut_by_shortlist(struct chain *c, const struct goal *goal, uint64_t total, bool keep_ties) {
    if (!c->shortlist) return false;
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, c->best);
    struct scores list = {c->shortlist->z, c->shortlist->id, c->shortlist->n, c->s.scale};
    uint64_t target = goal_target(goal, total);
    const struct scores *weigh = goal->by_mass ? &list : NULL;
    uint64_t weight = kernels->entries(c->scratch->entry, &list, weigh, c->best, NULL, list.n);
    if (weight < target) return false;
    return cut_shortlist(c, with_ties(select_entry(c->scratch->entry, list.n, target), keep_ties));
}

/* ---- the filters ---------------------------------------------------------------------------------------------- */

void chain_top_k(struct chain *c, int32_t k, bool keep_ties) {
    if (k >= c->s.n) return;
    struct goal goal = {false, (uint64_t)k};
    if (cut_by_shortlist(c, &goal, 0, keep_ties)) return;
    uint64_t bound = blocks_bound(c->kernels, c->scratch, &c->s, c->block_max, k);
    if (bound > 0) cut(c, &c->s, bound);
    if (k >= c->s.n) return; /* fewer than k are not banned */
    uint64_t last = last_kept(c->kernels, c->scratch, &c->s, NULL, c->best, &goal);
    cut(c, &c->s, with_ties(last, keep_ties));
}

void chain_top_p(struct chain *c, float p, bool keep_ties) {
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, c->best);
    struct goal goal = {true, draw_fraction(p)};
    if (c->shortlist) {
        struct mass mass;
        kernels->mass(&c->s, c->best, &mass);
        if (cut_by_shortlist(c, &goal, mass.total, keep_ties)) return;
    }
    uint64_t last = last_kept(kernels, c->scratch, &c->s, &c->s, c->best, &goal);
    cut(c, &c->s, with_ties(last, keep_ties));
}

/* d <= distance is monotone in the score, so it is a bound on the key, found by bisection. */
void chain_min_p(struct chain *c, float distance) {
    uint32_t low = DRAW_KEY_BANNED, high = draw_key(c->best); /* low is out, high is in */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (draw_distance(c->best, draw_unkey(middle) + 0.0f) <= distance) {
            high = middle;
        } else {
            low = middle;
        }
    }
    uint64_t last = (uint64_t)high << 32;
    if (c->shortlist && cut_shortlist(c, last)) return;
    cut(c, &c->s, last);
}

void chain_typical_p(struct chain *c, float p, bool keep_ties) {
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, c->best);
    struct mass mass;
    kernels->moments(&c->s, c->best, &mass);
    float mean = (float)draw_mean_distance(mass.high, mass.low, mass.total);
    kernels->typicality(c->scratch->order, &c->s, c->best, mean);
    struct scores order = {c->scratch->order, c->s.id, c->s.n, 1.0f};
    struct goal goal = {true, draw_fraction(p)};
    uint64_t last = last_kept(kernels, c->scratch, &order, &c->s, c->best, &goal);
    cut(c, &order, with_ties(last, keep_ties));
    c->best_known = false; /* the likeliest token may be untypical */
}

int32_t best_ranks(const struct sampler_kernels *kernels, struct scratch *scratch, const struct scores *s,
                   const float *block_max, int32_t k) {
    if (k > s->n) k = s->n;
    if (k == 0) return 0;
    uint64_t last = blocks_bound(kernels, scratch, s, block_max, k);
    struct goal goal = {false, (uint64_t)k};
    if (last == 0) last = last_kept(kernels, scratch, s, NULL, 0.0f, &goal);
    int32_t n = kernels->keep(s, s, last, scratch->list, scratch->list_id);
    struct scores list = {scratch->list, scratch->list_id, n, 1.0f};
    if (n > k) { /* more than k reach the blocks' bound */
        last = last_kept(kernels, scratch, &list, NULL, 0.0f, &goal);
        list.n = kernels->keep(&list, &list, last, scratch->list, scratch->list_id);
    }
    kernels->entries(scratch->entry, &list, NULL, 0.0f, NULL, list.n);
    sort_entries(scratch->entry, list.n);
    return list.n;
}
