/* sample.h: the C boundary of the sampling kernels. What a draw means is backend/cpu/sampler.h; equal logits give the same
 * tokens, flags, counts and integer sums here. Logarithms are left to the host.
 *
 * A JOB is a branch, or a logits row whose statistics are wanted. Three launches:
 *   scan   maxima of 64 ids each, NaN, fed back tokens
 *   draw   one block a job, over a short list of candidates in shared memory; what a short list cannot decide goes to
 *   rest   the same steps over all ids in a row of scratch, few blocks
 * All of it depends on device memory only, so one captured graph serves every step with as many rows and branches. */
#ifndef KERNELS_SAMPLE_H
#define KERNELS_SAMPLE_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SAMPLE_TOP_MAX = 32,             /* = DRAW_TOP_MAX */
    SAMPLE_STAGES = 7,               /* = TEMPERA_STAGE_COUNT */
    SAMPLE_MAX_VOCABULARY = 1 << 22, /* the integer sums stay below 2^64 */
    SAMPLE_BLOCK = 64,               /* ids of one maximum */
    SAMPLE_WARP_IDS = 512,           /* ids of one NaN flag */
    SAMPLE_ROW_UNREAD = -2           /* row_top: no branch reads the row */
};

enum sample_stage { /* = tempera_stage */
                    SAMPLE_PENALTIES,
                    SAMPLE_BIAS,
                    SAMPLE_TEMPERATURE,
                    SAMPLE_TOP_K,
                    SAMPLE_TOP_P,
                    SAMPLE_MIN_P,
                    SAMPLE_TYPICAL_P
};

enum sample_option {
    SAMPLE_GREEDY = 1,
    SAMPLE_STATISTICS = 2,
    SAMPLE_KEEP_TIES = 4,
    SAMPLE_FEEDBACK = 8, /* the last token of the history is fed[job] */
    SAMPLE_EDITS = 16,   /* some token's score is edited by one of the following */
    SAMPLE_NGRAMS = 32,
    SAMPLE_REPETITION = 64,
    SAMPLE_FREQUENCY = 128,
    SAMPLE_DYNATEMP = 256 /* the temperature is one by entropy */
};

enum sample_flag { SAMPLE_NAN = 1, SAMPLE_EMPTY = 2 }; /* = draw_flag */

struct sample_bias { /* = tempera_logit_bias */
    int32_t token;
    float bias;
};

struct sample_branch {
    const int32_t *history;         /* tokens [history_first, position) of the sequence */
    const struct sample_bias *bias; /* [bias_count] ascending tokens */
    const int32_t *suppress;        /* [suppress_count] */
    uint64_t seed;
    int32_t row;    /* -1: padding */
    int32_t forced; /* token, or -1 */
    uint32_t options;
    int32_t position, sample;
    int32_t history_first, repetition_first, frequency_first; /* tokens that count are from here on */
    int32_t bias_count, suppress_count;                       /* 0 when they do not apply */
    int32_t ngram;
    int32_t fed_draw, fed_token; /* with FEEDBACK: the draw of the step before; below 0: fed_token itself */
    int32_t top_k;
    float inv_temperature, top_p, min_p_distance, typical_p;
    float dynatemp_least, dynatemp_spread, dynatemp_exponent;
    float repetition_penalty, frequency_penalty, presence_penalty;
    uint8_t stage_count, stage[SAMPLE_STAGES]; /* those that do something, in order; greedy: only edits */
};

struct sample_result {
    int32_t token;
    uint32_t flags; /* enum sample_flag */
};

/* Of one branch with STATISTICS. kept 0: no score above -inf, and nothing else is filled but token_logit. */
struct sample_statistics {
    uint64_t kept_mass;            /* of the survivors, in the row's measure */
    uint64_t final_mass;           /* of the survivors, in the final one */
    float final_best, token_score; /* final scores; token_score is -inf for a token that did not survive */
    float token_logit;             /* clean logit of the token */
    int32_t kept;
    int32_t greedy_token; /* GREEDY: the winner */
    float greedy_logit;
};

/* Of one row whose row_top is 0 or more. */
struct sample_row {
    uint64_t total, high, low; /* sums of weights and for their mean distance */
    float best;                /* -inf: no token */
    int32_t top_count;         /* min(row_top, tokens above -inf) */
    int32_t top_token[SAMPLE_TOP_MAX];
    float top_score[SAMPLE_TOP_MAX];
};

struct sample_args {
    const float *logits;    /* [R, V] */
    int32_t R, B, V;        /* of the launch */
    const int32_t *row_top; /* [R] the most logprobs that a branch of the row wants, -1: none, or ROW_UNREAD */
    const struct sample_branch *branch;   /* [B] */
    int32_t *tokens;                      /* [B] in: of the step before; out: -1 where none survives */
    struct sample_result *result;         /* [B] */
    struct sample_statistics *statistics; /* [B] */
    struct sample_row *row;               /* [R] */
    uint32_t *block_max;                  /* [R, ceil(V / SAMPLE_BLOCK)] keys */
    uint32_t *nan;                        /* [R, ceil(V / SAMPLE_WARP_IDS)] */
    int32_t *fed;                         /* [B] */
    int32_t *rest;                        /* [R + B] jobs for the last kernel */
    uint32_t *rest_count;
    float *scratch; /* [scratch_rows, V] */
    uint32_t *mark; /* [scratch_rows, V] zero before and after */
    int32_t scratch_rows;
};
cudaError_t sample_launch(const struct sample_args *args, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
