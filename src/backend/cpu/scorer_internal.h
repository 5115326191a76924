/* scorer_internal.h: the order of a row and the sums along it, from which a setting that only cuts is read. */
#ifndef BACKEND_CPU_SCORER_INTERNAL_H
#define BACKEND_CPU_SCORER_INTERNAL_H

#include "backend/cpu/sampler_internal.h"
#include "backend/draw_score.h"

/* ---- the order of a row (scorer_rank.c) ----------------------------------------------------------------------- */

enum { RANK_COUNTS = 3 << 11 };

/* A row's tokens above -inf by (score descending, id ascending); a PLACE is an index into that. */
struct rank {
    int32_t n;
    float *z;          /* [V] */
    int32_t *id;       /* [V] */
    uint64_t *work[2]; /* [V] each */
    uint32_t *count;   /* [RANK_COUNTS] */
};
void rank_sort(struct rank *rank, const float *z /* [V] clean */, int32_t V);
/* The place of a token with that score, which must be above -inf. */
int32_t rank_place(const struct rank *rank, float score, int32_t id);

/* ---- sums along the order (scorer_ladder.c) ------------------------------------------------------------------- */

/* Cuts that were looked up: settings of a grid ask for the same ones again and again. */
enum { MEMO_SIZE = 128 };
struct memo {
    float parameter; /* top_p; min_p's distance */
    int32_t count;   /* of survivors before; 0: whatever their number; -1: an empty entry */
    int32_t left;
};

/* The weights at one temperature. Scores fl(z scale) fall along the places, so that survivors of a cut are the first
 * `count` places; but where rounding made different z equal, the rank of the tempered scores is by id, and only the sums
 * are those of the first places. Sums are exact integers; distances have `unit` steps to 1. */
struct ladder {
    const struct sampler_kernels *kernels;
    const struct rank *rank;
    float scale, best, unit;
    int32_t alive;      /* places above -inf */
    struct mass *block; /* [blocks + 1] of the places before each block of SCAN_BLOCK */
    struct mass *upto;  /* [V] of the places up to and with each, in the blocks that were asked about */
    bool *filled;       /* [blocks] */
    struct memo memo[MEMO_SIZE];
};
void ladder_build(struct ladder *ladder, const struct sampler_kernels *kernels, const struct rank *rank, float scale,
                  float unit);
/* Over the first `count` places. */
struct mass ladder_sum(struct ladder *ladder, int32_t count);
/* One filter that is on, on `count` survivors: how many it leaves. */
int32_t ladder_cut(struct ladder *ladder, enum tempera_stage stage, const struct branch_params *p, int32_t count);

int32_t ladder_infinite(const struct ladder *ladder); /* places of score +inf */

/* Which places survive: the first `full`, and of full … end - 1 those of ids up to last_id. */
struct survivors {
    int32_t full, end, last_id;
};
/* Of `count` survivors by tempered rank among the first `within` places. */
struct survivors ladder_survivors(const struct ladder *ladder, int32_t within, int32_t count);
static inline bool survives(const struct survivors *s, const struct rank *rank, int32_t place) {
    return place < s->full || (place < s->end && rank->id[place] <= s->last_id);
}

static inline struct scores ladder_scores(const struct ladder *ladder) {
    return (struct scores){ladder->rank->z, NULL, ladder->rank->n, ladder->scale};
}
static inline struct mass mass_add(struct mass a, struct mass b) {
    return (struct mass){a.total + b.total, a.high + b.high, a.low + b.low};
}

/* Distances of less than 28 in steps of 1 / unit, rounded; weights are 0 beyond. At this many steps sums over V tokens
 * fit 64 bits, because w d is at most 2^40 / e. */
static inline float moment_unit(int32_t V) {
    return V <= 1 << 19 ? 0x1p22f : 0x1p19f;
}
static inline double mean_distance(const struct mass *mass, float unit) {
    return ((double)mass->high * 65536.0 + (double)mass->low) / ((double)mass->total * (double)unit);
}

/* ---- the row being scored ------------------------------------------------------------------------------------- */

enum { ROWS_AT_ONCE = 8 }; /* whose figures are handed on together: they lie together, far from other settings' */

struct scored_row {
    const float *logits; /* [V] */
    int32_t V;
    struct branch_draw draw;     /* forced; without params */
    const struct row_info *info; /* with statistics */
    struct score_stat *stat;     /* of setting s at [s * ROWS_AT_ONCE] */
    float *divergence;           /* of pair p at [p * ROWS_AT_ONCE] */
};

/* ---- settings that only cut (scorer_quick.c) ------------------------------------------------------------------ */

struct quick {
    size_t setting;
    const struct branch_params *params;
    size_t group;
    uint8_t stage[TEMPERA_STAGE_COUNT]; /* [stages] of its order, those that do something */
    uint8_t stages;
};
struct quick_group { /* settings of one temperature: quick[begin, end) */
    float scale;
    size_t begin, end;
};
struct quick_pair {
    size_t pair, of, against; /* indices of quick */
};
/* What all threads read. */
struct quick_list {
    struct quick *quick;       /* [count] by group */
    struct quick_group *group; /* [group_count] distinct scales */
    struct quick_pair *pair;   /* [pair_count] by the groups of both */
    size_t count, group_count, pair_count;
};

/* One setting's distribution on the row, for divergences. */
struct standing {
    struct survivors support; /* of positive probability */
    int32_t count;            /* of them */
    struct mass mass;
    double log_total, mean;
};
/* What settings with the same survivors share. */
enum { OUTCOMES = 64 };
struct outcome {
    const struct ladder *ladder; /* NULL: an empty entry */
    int32_t within, count;
    bool greedy;
    struct score_stat stat;
    struct standing standing;
};
/* What one thread works in. */
struct quick_work {
    struct rank rank;
    struct ladder raw, tempered;
    double *cross;                    /* [blocks + 1] */
    struct standing *standing;        /* [quick count], when there are pairs */
    struct outcome outcome[OUTCOMES]; /* of one group on the row, by their count */
};

/* The one place where it is decided: the setting leaves the scores as they are but for the temperature, and its filters
 * keep the best tokens of the rank, so that its survivors follow from their number. */
bool quick_takes(const struct branch_params *p);
float quick_scale(const struct branch_params *p);
struct quick quick_of(const struct branch_params *p, size_t setting);
/* All settings and pairs of the list on one row; z [V] is the row, clean. */
void quick_score(const struct quick_list *list, struct quick_work *work, const struct sampler_kernels *kernels,
                 const struct scored_row *row, const float *z);

/* ---- all other settings (scorer_forced.c) --------------------------------------------------------------------- */

/* The final scores of one setting on a row. */
struct final {
    size_t setting; /* SIZE_MAX: of none */
    const struct branch_params *params;
    struct branch_params changed; /* of a setting that changes from token to token */
    struct chain chain;
    struct scores s;
    float best, winner;
    int32_t winner_id;
    struct mass mass;
};
void forced_final(struct final *final, const struct sampler_kernels *kernels, struct scratch *scratch,
                  struct mass *blocks, const struct scored_row *row, const struct branch_params *params);
void forced_score(struct final *final, const struct scored_row *row, size_t setting);
float forced_divergence(const struct final *of, const struct final *against);

/* As cpu_sampler_use (scorer.c). */
bool scorer_use(struct scorer *scorer, const char *instructions);

/* Out of rounding's reach: a divergence is not negative. */
static inline float divergence_of(double value) {
    return (float)(value > 0.0 ? value : 0.0);
}

#endif
