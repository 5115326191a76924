/* draw_score.h: what many settings say of the same tokens, computed on the host from logits rows of any backend. A row
 * is sorted once, and every setting that only cuts it is then a few look-ups in sums along that order (backend/cpu/
 * scorer_ladder.c); the settings that do more each take one forced draw. Every figure is the bits that a forced draw of
 * the token gives (backend/cpu/sampler.h); final_entropy and divergences, which no draw gives, are exact up to the
 * integer weights: within 1e-6 and float's rounding. None of them depends on the other settings of the list. */
#ifndef BACKEND_DRAW_SCORE_H
#define BACKEND_DRAW_SCORE_H

#include <stdatomic.h>

#include "backend/backend.h"

enum { SCORE_MAX_SETTINGS = 65536, SCORE_MAX_PAIRS = 1 << 20 };

/* As in draw_result, and the entropy of the distribution that the token is drawn from, nats; 0 when no token is left. */
struct score_stat {
    float logprob, final_logprob, entropy, final_entropy, kept_mass;
    int32_t kept;
};

/* Two settings of a list. */
struct score_pair {
    int32_t of, against;
};

struct score_settings {
    const struct branch_params *params; /* [count] */
    const bool *changes;                /* [count] whether its params are others for each token; NULL: none's are */
    size_t count;                       /* 1 … SCORE_MAX_SETTINGS */
    const struct score_pair *pairs;     /* [pair_count] */
    size_t pair_count;                  /* at most SCORE_MAX_PAIRS */
};

/* Row r tells of token[first + r], which comes after token[0, first + r): all of them count as generated. */
struct score_rows {
    const float *logits; /* [R, V] */
    int32_t R;
    const int32_t *token;
    int32_t first;
    void *user;
    /* Sets the params of a setting that changes for token[position]. From several threads at a time. */
    void (*change)(void *user, size_t setting, int32_t position, struct branch_params *params);
    const atomic_bool *cancel; /* once it is true, run returns soon, with some figures not handed on; may be NULL */
};

/* Where the figures go: `count` rows from `row` on of one setting, or of one pair, at a time. Each row of each comes once;
 * several threads call. The divergence of a pair is KL(of ‖ against) in nats: INFINITY when `against` has
 * excluded a token that `of` can draw, NaN when nothing survived `of`. */
struct score_sink {
    void *user;
    void (*stat)(void *user, size_t setting, int32_t row, int32_t count, const struct score_stat *stat);
    void (*divergence)(void *user, size_t pair, int32_t row, int32_t count, const float *divergence);
};

struct scorer;

/* For rows of V logits, on `threads` threads of its own. The settings are borrowed until free. Takes some 200 bytes for
 * each thread and token of the vocabulary, 280 for each thread and setting, 60 for each thread and pair; run allocates
 * nothing. Fails when a setting is malformed, a pair names one that is not there, or memory is short. */
tempera_status scorer_create(struct scorer **scorer, int32_t V, const struct score_settings *settings, int threads,
                             tempera_error *err);
void scorer_free(struct scorer *scorer); /* NULL is fine */
/* Tokens and logits are the caller's to check. */
void scorer_run(struct scorer *scorer, const struct score_rows *rows, const struct score_sink *sink);

#endif
