/* sampler_select.h: the last candidate that a cut keeps, found without sorting. sampler_select.c says how. */
#ifndef CPU_SAMPLER_SELECT_H
#define CPU_SAMPLER_SELECT_H

#include "backend/cpu/sampler_internal.h"

/* What a cut keeps: a weight of `amount` (candidates, where each weighs 1), or the fraction amount / 2^64 of all. */
struct goal {
    bool by_mass;
    uint64_t amount;
};

static inline uint64_t goal_target(const struct goal *goal, uint64_t total) {
    return goal->by_mass ? draw_target(total, goal->amount) : goal->amount;
}

/* Candidates by order's scores, with weigh's weights below `best`, or 1 each when weigh is NULL. */
struct ballot {
    const struct sampler_kernels *kernels;
    struct scratch *scratch;
    const struct scores *order, *weigh;
    float best;
    const struct shortlist *heavy; /* of weigh's scores when they are a whole row's and order's are others, or NULL */
};
/* What is known of them: the sum of their weights, and the part of it whose scores are at least `bound`. */
struct known {
    uint64_t total, head; /* total 0: nothing is known */
    float bound;
};
struct selection {
    uint64_t last; /* rank of the last candidate that is kept */
    int32_t least; /* at least so many are */
};

static inline uint64_t ballot_entries(const struct ballot *b, const int32_t *index, int32_t n) {
    return b->kernels->entries(b->scratch->entry, b->order, b->weigh, b->best, index, n);
}

/* By descending rank; for few. */
void sort_entries(struct entry *entry, int32_t n);
/* How many candidates have at least this score, judged by one of 64. */
int32_t estimate_kept(const struct scores *s, float least);
/* Rank of the last entry of the shortest prefix by descending rank whose weight reaches target; target <= the sum of the
 * weights, ranks distinct, n > 0. Reorders the entries. */
uint64_t select_entry(struct entry *entry, int32_t n, uint64_t target);
/* The last candidate that the goal keeps. A count goal must be at most order->n. */
struct selection select_last(const struct ballot *b, const struct goal *goal, const struct known *known);

#endif
