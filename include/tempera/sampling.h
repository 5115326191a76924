/* sampling.h: every sampling setting, once.
 *
 * The scalar settings are one table, TEMPERA_SAMPLING_FIELDS; the struct, the range check, command-line flags, JSON
 * fields and report columns are generated from it. Names are OpenAI's or Hugging Face's wherever they have one. */
#ifndef TEMPERA_SAMPLING_H
#define TEMPERA_SAMPLING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tempera/status.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* X(kind, name, default, min, max, text). Kinds: FLOAT (float), INT (int32_t), SEED (uint64_t), BOOL (bool). */
/* clang-format off */
#define TEMPERA_SAMPLING_FIELDS(X)                                                                            \
    X(FLOAT, temperature, 1.0, 0.0, 1000.0, "divides the scores; 0 = greedy (else at least 0.0001)")          \
    X(INT, top_k, 0, 0, INT32_MAX, "keep the k best tokens; 0 = off")                                         \
    X(FLOAT, top_p, 1.0, 0.0, 1.0, "keep the fewest best tokens whose mass reaches p; 1 = off")               \
    X(FLOAT, min_p, 0.0, 0.0, 1.0, "keep tokens at least min_p times as likely as the best; 0 = off")         \
    X(FLOAT, typical_p, 1.0, 0.0, 1.0, "locally typical sampling: keep that mass; 1 = off")                   \
    X(FLOAT, repetition_penalty, 1.0, 0.01, 100.0, "divides positive, multiplies negative scores of seen tokens; 1 = off") \
    X(FLOAT, frequency_penalty, 0.0, -100.0, 100.0, "subtracts this for each time a token was generated")     \
    X(FLOAT, presence_penalty, 0.0, -100.0, 100.0, "subtracts this once a token was generated")               \
    X(INT, penalty_window, 0, 0, INT32_MAX, "penalties look at this many latest tokens; 0 = all")             \
    X(INT, no_repeat_ngram, 0, 0, 1024, "no n tokens in a row appear twice; 0 = off")                         \
    X(FLOAT, temperature_end, -1.0, -1.0, 1000.0, "temperature moves there over schedule_tokens; -1 = it stays") \
    X(FLOAT, top_p_end, -1.0, -1.0, 1.0, "top_p moves there over schedule_tokens; -1 = it stays")             \
    X(INT, schedule_tokens, 0, 0, INT32_MAX, "generated tokens that the moves take; 0 = max_tokens")          \
    X(FLOAT, schedule_power, 1.0, 0.01, 100.0, "when they move: 1 = evenly, above late, below early")         \
    X(FLOAT, top_p_distinct, 0.0, 0.0, 1.0, "lowers top_p by this share while generated tokens differ; 0 = off") \
    X(FLOAT, dynatemp_range, 0.0, 0.0, 1000.0, "temperature by entropy, this far down and up; 0 = off")       \
    X(FLOAT, dynatemp_exponent, 1.0, 0.01, 100.0, "of the entropy's share of its maximum")                    \
    X(SEED, seed, 0, 0, UINT64_MAX, "key of the noise; equal seeds give equal samples")                       \
    X(INT, n, 1, 1, 1048576, "samples per setting")                                                           \
    X(INT, first_sample, 0, 0, 1048575, "index of the first of the n samples")                                \
    X(INT, max_tokens, 128, 0, INT32_MAX, "stop after this many generated tokens")                            \
    X(INT, min_tokens, 0, 0, INT32_MAX, "no end-of-text or stop token before this many generated tokens")     \
    X(BOOL, ignore_eos, false, false, true, "go on after the end-of-text token")                              \
    X(INT, logprobs, -1, -1, 32, "log-probabilities: -1 = none, 0 = the chosen token's, N = and the N best")  \
    X(BOOL, echo, false, false, true, "put the prompt in front of the text")
/* clang-format on */

/* What changes from token to token. With t tokens generated before a draw, of which `distinct` are different:
 *   x       = min(1, t / N)^schedule_power, N = schedule_tokens, or max_tokens (at least 1) where that is 0
 *   T       = temperature + (temperature_end - temperature) x      top_p moves likewise
 *   top_p'  = top_p (1 - top_p_distinct distinct / t), unchanged for t = 0
 *   T'      = Tmin + (Tmax - Tmin) (H / Hmax)^dynatemp_exponent, Tmin = max(0.0001, T - dynatemp_range), Tmax = T +
 *             dynatemp_range, H the entropy of the tokens that are left when the step `temperature` comes, Hmax that of as
 *             many equally likely ones; a single token is left as it is
 * The first draw (t = 0) has the start's values, every draw from t = N on exactly the end's; so one with max_tokens 1 sees
 * only the start. A temperature between 0 and 0.0001 on the way counts as 0.0001; 0 is greedy, which a schedule reaches
 * at t = N and leaves at t = 1, and which dynatemp_range does not change. tempera_score and tempera_next, which have no
 * prompt, count all tokens before the one they look at. dynatemp_range and dynatemp_exponent are llama.cpp's
 * (llama_sampler_init_temp_ext), where the least temperature is 0. */

/* Steps of a sampling chain, in the default order (Hugging Face transformers' for those it has). */
/* clang-format off */
#define TEMPERA_STAGE_MAP(X)                                                                                  \
    X(PENALTIES, "penalties") X(BIAS, "bias") X(TEMPERATURE, "temperature") X(TOP_K, "top_k") X(TOP_P, "top_p") \
    X(MIN_P, "min_p") X(TYPICAL_P, "typical_p")
/* clang-format on */

typedef enum tempera_stage {
#define TEMPERA_STAGE_ENUM(name, text) TEMPERA_STAGE_##name,
    TEMPERA_STAGE_MAP(TEMPERA_STAGE_ENUM)
#undef TEMPERA_STAGE_ENUM
        TEMPERA_STAGE_COUNT
} tempera_stage;

/* The order of the chain and the two rules that engines differ in. A stage that is left out is not applied. Filters see
 * what the stages before them left: a filter before `temperature` weighs tokens at temperature 1.
 * Presets: "default"; "hf" (bias first, ties at a cut all kept); "vllm" (bias first, min_p before top_k, ties kept);
 * "llama.cpp" (bias first, top_k, typical_p, top_p, min_p, temperature last; penalties count the prompt too). */
typedef struct tempera_order {
    uint8_t stage[TEMPERA_STAGE_COUNT]; /* count entries, each tempera_stage at most once */
    uint8_t count;
    bool keep_ties;       /* a cut keeps all tokens that tie with the last kept one; else lowest ids first */
    bool penalize_prompt; /* frequency and presence count the prompt too (repetition always does) */
} tempera_order;

typedef struct tempera_logit_bias {
    int32_t token;
    float bias; /* added to the score; -INFINITY bans the token; NaN and +INFINITY are refused */
} tempera_logit_bias;

/* One setting. Plain data; lists are borrowed until the call they are passed to returns. */
typedef struct tempera_sampling {
#define TEMPERA_FIELD_FLOAT(name)                      float name;
#define TEMPERA_FIELD_INT(name)                        int32_t name;
#define TEMPERA_FIELD_SEED(name)                       uint64_t name;
#define TEMPERA_FIELD_BOOL(name)                       bool name;
#define TEMPERA_FIELD(kind, name, def, min, max, text) TEMPERA_FIELD_##kind(name)
    TEMPERA_SAMPLING_FIELDS(TEMPERA_FIELD)
#undef TEMPERA_FIELD
    tempera_order order;
    bool independent; /* hash the setting into the noise key; false: settings share noise (common random numbers) */
    const tempera_logit_bias *logit_bias; /* [logit_bias_count], tokens distinct */
    size_t logit_bias_count;              /* at most 65,536 */
    const char *const *stop;              /* [stop_count] UTF-8 strings, 1 … 256 bytes; text ends before the match */
    size_t stop_count;                    /* at most 16 */
    const int32_t *stop_token_ids;        /* [stop_token_count]; the token is not part of the text */
    size_t stop_token_count;              /* at most 64 */
} tempera_sampling;

/* The defaults of the table, order "default", no lists. */
tempera_sampling tempera_sampling_default(void);

/* A preset by name, or a comma-separated list of stages ("penalties,top_k,temperature"; "none" = no stage). The rules are
 * those of "default" unless the list also names "keep_ties" or "penalize_prompt". */
tempera_status tempera_order_parse(const char *text, tempera_order *order, tempera_error *err);
/* The preset's name when it is one, else the list; writes at most size bytes, returns the full length as snprintf. */
size_t tempera_order_format(const tempera_order *order, char *text, size_t size);

/* Checks every range and list; token ids against vocab_size when it is > 0. The error names the field and its range. */
tempera_status tempera_sampling_check(const tempera_sampling *sampling, int32_t vocab_size, tempera_error *err);

/* Sets one scalar field ("order" and "independent" too) from text, as flags and grids do: decimal numbers, true or false.
 * TEMPERA_INVALID_ARGUMENT, and no change, when the name is unknown or the value is malformed or out of range. */
tempera_status tempera_sampling_set(tempera_sampling *sampling, const char *name, const char *value,
                                    tempera_error *err);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
