/* sampler_internal.h: what the files of the sampler share. The meaning of each step is in sampler.h. */
#ifndef BACKEND_CPU_SAMPLER_INTERNAL_H
#define BACKEND_CPU_SAMPLER_INTERNAL_H

#include "backend/cpu/sampler.h"
#include "base/draw_math.h"

enum {
    SCAN_BLOCK = 64, /* scores whose maximum is kept, to find the best k without reading all */
    DIGIT_BITS = 11, /* of the key: the first step of a selection */
    DIGIT_SHIFT = 32 - DIGIT_BITS,
    DIGIT_COUNT = 1 << DIGIT_BITS,
    SHORTLIST_USEFUL = 16, /* the fewest tokens that are worth a shortlist */
    SHORTLIST_LEAST = 256, /* how many it is made to have, when the row is long enough */
    SHORTLIST_MAX = 2048,
    GUESS_LEAST = 8192, /* how many candidates make a sample of them worth its time */
    PACK_SLACK = 16     /* what collect and keep may write beyond what they return */
};

/* Candidates: n scores, score i being fl(z[i] * scale) + 0. z holds clean scores (no NaN, no -0). id NULL: candidate i is
 * token i; otherwise ids ascend. */
struct scores {
    const float *z;    /* [n] */
    const int32_t *id; /* [n] or NULL */
    int32_t n;
    float scale;
};

static inline float score_at(const struct scores *s, int32_t i) {
    return s->z[i] * s->scale + 0.0f;
}
static inline int32_t id_at(const struct scores *s, int32_t i) {
    return s->id ? s->id[i] : i;
}

/* The place of a token in a list, -1 when it is not there. */
static inline int32_t scores_find(const struct scores *s, int32_t id) {
    int32_t low = 0, high = s->n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (s->id[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < s->n && s->id[low] == id ? low : -1;
}

enum scan_flag { SCAN_NAN = 1, SCAN_NEGATIVE_ZERO = 2 };
struct scan {
    float max; /* NaN left out; -inf when nothing is above it; never -0 */
    uint32_t flags;
    int32_t finite; /* scores above -inf, +inf included */
};

/* Adds what is special about z[0, n) to *out and returns its largest value. */
static inline float scan_part(const float *z, int32_t n, struct scan *out) {
    float max = -INFINITY;
    for (int32_t i = 0; i < n; i++) {
        if (isnan(z[i])) out->flags |= SCAN_NAN;
        if (draw_bits(z[i]) == 0x80000000u) out->flags |= SCAN_NEGATIVE_ZERO;
        out->finite += z[i] > -INFINITY;
        if (z[i] > max) max = z[i];
    }
    return max + 0.0f;
}

struct mass {
    uint64_t total;     /* sum of weights */
    uint64_t high, low; /* for draw_mean_distance */
};

/* Where the weight is 0, steps do not matter. */
static inline uint32_t distance_steps(float d, float unit) {
    float steps = d * unit + 0.5f;
    return steps < 0x1p31f ? (uint32_t)(int32_t)steps : 0;
}

/* The least rank of a candidate that is not banned. */
#define RANK_LEAST ((uint64_t)(DRAW_KEY_BANNED + 1) << 32)

struct entry { /* one candidate of a selection */
    uint64_t rank, weight;
};

struct split {       /* of candidates by a range of scores */
    uint64_t weight; /* of those above */
    int32_t above, within;
};

struct survey { /* of the candidates that are kept */
    int32_t kept;
    uint64_t weight, row_weight;
};

struct noise {
    uint64_t seed;
    int32_t position, sample;
};

/* The loops over whole rows, one table for each instruction set; all tables give the same bits. In every entry of the
 * fast tables `best` must be finite: sampler_kernels_for picks the portable table for a row whose best is +inf. */
struct sampler_kernels {
    const char *name;
    /* Any floats, NaN included. block_max [ceil(n / SCAN_BLOCK)]: as scan.max, for each block; NULL = not wanted. */
    void (*scan)(const float *z, int32_t n, float *block_max, struct scan *out);
    /* out[i] = draw_clean(z[i] * scale); out may be z. */
    void (*clean)(float *out, const float *z, int32_t n, float scale);
    /* The lowest index with score == value, or -1. */
    int32_t (*find)(const struct scores *s, float value);
    void (*mass)(const struct scores *s, float best, struct mass *out);    /* total only */
    void (*moments)(const struct scores *s, float best, struct mass *out); /* all three */
    /* The same with distances in steps of 1 / unit (distance_steps), for each SCAN_BLOCK candidates: blocks
     * [ceil(n / SCAN_BLOCK)]. Distances are those of measure's scores, which has weigh's n, from measure_best; where a
     * distance passes 2^31 steps its product is anything unless the weight is 0. */
    void (*block_moments)(const struct scores *weigh, float best, const struct scores *measure, float measure_best,
                          float unit, struct mass *blocks);
    void (*weights)(const struct scores *s, float best, uint64_t *weight); /* [s->n] */
    /* out[i] = draw_typicality(distance of score i, mean) */
    void (*typicality)(float *out, const struct scores *s, float best, float mean);
    /* histogram[DIGIT_COUNT]: for each key digit of order's scores the sum of the weights of weigh's scores, or the count
     * when weigh is NULL. Both have the same n. Cleared here. */
    void (*histogram)(const struct scores *order, const struct scores *weigh, float best, uint64_t *histogram);
    /* Indices i, ascending, with low <= score of order <= high; returns their number. */
    int32_t (*collect)(const struct scores *order, float low, float high, int32_t *index);
    /* Who is above `high`, as weigh's weights or numbers when weigh is NULL, and the indices of those in [low, high]. */
    struct split (*split)(const struct scores *order, const struct scores *weigh, float best, float low, float high,
                          int32_t *index);
    /* The candidates index[0, n), or 0 … n-1 when index is NULL, as entries: order's ranks, weigh's weights or 1 when weigh
     * is NULL. Returns the sum of the weights. */
    uint64_t (*entries)(struct entry *out, const struct scores *order, const struct scores *weigh, float best,
                        const int32_t *index, int32_t n);
    /* Keeps, in ascending order, score and id of each candidate of s whose rank by order's score is at least `last`;
     * returns their number. order and s have the same n and ids; the outputs may be s's own arrays. */
    int32_t (*keep)(const struct scores *order, const struct scores *s, uint64_t last, float *z, int32_t *id);
    /* The candidates above -inf whose rank by order's score is at least `last`: their number, their weights, and their
     * weights by the row's logits below row_best. */
    struct survey (*survey)(const struct scores *order, uint64_t last, const struct scores *s, float best,
                            const float *row, float row_best);
    /* The winner's id among the candidates whose rank by order's score is at least `last`; some score of theirs must be
     * above -inf. */
    int32_t (*race)(const struct scores *order, uint64_t last, const struct scores *s, float best,
                    const struct noise *noise);
};

extern const struct sampler_kernels sampler_portable;
#if defined(__x86_64__)
extern const struct sampler_kernels sampler_avx2, sampler_avx512;
#endif

static inline const struct sampler_kernels *sampler_kernels_for(const struct sampler_kernels *k, float best) {
    return best < INFINITY ? k : &sampler_portable;
}

/* The exponential race: a bound that spares most candidates the exact score. With t = d log2(e), a score is at most
 * 2^(40 - t) / v, since e >= v; and L(x) = bits(x) 2^-23 - 127 <= log2(x) for positive x. So a candidate with
 * t + L(v) > 40 - L(best score so far) cannot win. The word's upper 31 bits stand for v, being below (v 2^31). The slack
 * of 0.001 is far above all roundings. */
static const float RACE_BIAS = 127.0f + 31.0f;
static inline float race_log2(float x) {
    return (float)draw_bits(x) * 0x1p-23f;
}
/* What race_measure may be at most for a candidate that can still win; before any score: t < 40 and v <= 1. */
static inline float race_limit(float best_score) {
    return 40.001f + RACE_BIAS - (best_score > 0.0f ? race_log2(best_score) - 127.0f : 0.0f);
}
static inline float race_measure(float t, uint32_t word) {
    return t + race_log2((float)(int32_t)(word >> 1));
}

struct race_leader {
    float score, limit;
    int32_t id;
};
static inline struct race_leader race_start(void) {
    return (struct race_leader){-1.0f, race_limit(-1.0f), -1};
}
/* Candidates come in ascending id order, so `>` leaves ties to the lowest id. */
static inline void race_enter(struct race_leader *leader, float d, uint32_t word, int32_t id) {
    uint64_t weight = draw_weight(d);
    if (weight == 0) return;
    float score = draw_race_score(weight, word);
    if (!(score > leader->score)) return;
    leader->score = score;
    leader->limit = race_limit(score);
    leader->id = id;
}

/* ---- buffers -------------------------------------------------------------------------------------------------- */

/* The best of a row, which most cuts never leave: all tokens whose logit is at least `bound`. */
struct shortlist {
    float *z;    /* [SHORTLIST_MAX] clean */
    int32_t *id; /* [SHORTLIST_MAX] ascending */
    int32_t n;   /* 0: there is none */
    float bound;
};

/* What one part of the pool works in; V is the vocabulary. */
struct scratch {
    float *dense;               /* [V] the row with edits */
    float *list;                /* [V + PACK_SLACK] survivors' scores */
    int32_t *list_id;           /* [V + PACK_SLACK] and ids */
    float *order;               /* [V] typicality */
    int32_t *index;             /* [V + PACK_SLACK] */
    int32_t *count;             /* [V] zero between uses */
    struct entry *entry;        /* [V] */
    float *block_max;           /* [ceil(V / SCAN_BLOCK)] */
    uint64_t *histogram;        /* [DIGIT_COUNT] */
    struct shortlist shortlist; /* of an edited row, in list and list_id */
};

enum { SEVERAL = -1 };

/* What all branches of a logits row share. */
struct row_info {
    struct scan scan;
    float *block_max; /* [ceil(V / SCAN_BLOCK)] */
    struct shortlist shortlist;
    bool wants_shortlist;
    int32_t only;       /* the branch that alone reads the row, or SEVERAL */
    int32_t wanted_top; /* -1: no statistics, and nothing below is filled */
    struct mass mass;
    double log_total; /* log(sum of exp(-d)) */
    float entropy;
    int32_t top_count;
    int32_t top_token[DRAW_TOP_MAX];
    float top_logprob[DRAW_TOP_MAX];
};

/* A top_p cut whose place nobody has needed yet: it keeps the shortest prefix by rank of the chain's `order` whose
 * weight below `best` reaches `target`, of `total`. The weight of scores of at least `bound` is `head`. */
struct open_cut {
    uint64_t target; /* 0: there is none */
    uint64_t total, head;
    float bound, best;
    bool keep_ties;
};

/* The scores of one branch on their way through the stages. */
struct chain {
    const struct sampler_kernels *kernels;
    struct scratch *scratch;
    struct scores s;
    /* A cut that is left to those who read s: of its candidates only those are kept whose rank by order's score is at
     * least `last`. RANK_LEAST: there is none, and order means nothing. */
    struct scores order;
    uint64_t last;
    struct open_cut open;              /* comes before `last` is set */
    const float *block_max;            /* of s.z when s is a whole row, else NULL */
    const struct shortlist *shortlist; /* of s.z when s is a whole row, else NULL */
    const struct mass *row_mass; /* of s.z at scale 1 when that is known and s is a whole unedited row, else NULL */
    float best;                  /* largest score that is kept, when best_known */
    bool best_known;
};

/* ---- steps ---------------------------------------------------------------------------------------------------- */

/* sampler.c: what a sampler works with and in, for scorer.c */
const struct sampler_kernels *sampler_kernels_of(const struct cpu_sampler *sampler);
struct scratch *sampler_scratch(struct cpu_sampler *sampler, int part);
struct row_info *sampler_row(struct cpu_sampler *sampler, int32_t row);

/* sampler_chain.c */
void chain_start(struct chain *c, const struct sampler_kernels *kernels, struct scratch *scratch, const float *row,
                 int32_t V, const struct row_info *info);
/* Suppression, then the stages; greedy: the edits only. */
void chain_run(struct chain *c, const struct branch_draw *branch, int32_t V);
float chain_best(struct chain *c);
/* Of s, whatever cut was left: the total only, and all of it. Some score must be above -inf. */
struct mass chain_mass(struct chain *c);
struct mass chain_moments(struct chain *c);
/* What the ranks of the cut that was left are by. */
static inline const struct scores *chain_order(const struct chain *c) {
    return c->last > RANK_LEAST ? &c->order : &c->s;
}

/* sampler_penalties.c: the stages that touch few tokens. */
void chain_suppress(struct chain *c, const struct branch_draw *branch);
void chain_penalties(struct chain *c, const struct branch_draw *branch, int32_t V);
void chain_bias(struct chain *c, const struct branch_params *p);
/* The place of a token's score, NULL when it did not survive. */
float *chain_edit(struct chain *c, int32_t id);

/* sampler_filters.c */
void row_shortlist(struct row_info *info, const struct sampler_kernels *kernels, struct scratch *scratch,
                   const struct scores *s);
/* Finds the place of an open cut. Before that only chain_race may be asked about survivors. */
void chain_decide(struct chain *c);
/* Makes the cut that was left, so that s are the survivors. */
void chain_settle(struct chain *c);
/* The winner's id among the survivors. The best of them must be above -inf. */
int32_t chain_race(struct chain *c, const struct noise *noise);
void chain_top_k(struct chain *c, int32_t k, bool keep_ties);
void chain_top_p(struct chain *c, float p, bool keep_ties);
void chain_min_p(struct chain *c, float distance);
void chain_typical_p(struct chain *c, float p, bool keep_ties);
/* The k best of a whole row as ranks, best first, in entry[0 … ]; returns min(k, n). */
int32_t best_ranks(const struct sampler_kernels *kernels, struct scratch *scratch, const struct scores *s,
                   const float *block_max, int32_t k);

/* sampler_stats.c */
void row_statistics(struct row_info *info, const struct sampler_kernels *kernels, struct scratch *scratch,
                    const struct scores *s);
void draw_statistics(struct draw_result *out, struct chain *c, const struct branch_draw *branch, const float *row,
                     const struct row_info *info);

#endif
