/* sampler.h: the op `draw` on the processor, and what a draw means. draw_math.h holds the arithmetic; every backend
 * computes these integers and IEEE floats exactly, so equal logits give equal tokens.
 *
 * SCORES. A branch starts from its logits row: NaN counts as -inf (and sets DRAW_NAN), -0 as +0. A score of -inf is a
 * banned token: never drawn, never kept, never counted. Then
 *   1. while history_count - prompt_count < min_tokens, the ids of `suppress` get -inf, whatever the order says;
 *   2. the stages of params->order run, each once, in its sequence; one that is left out is not applied.
 * Every result of a stage is rounded to fp32, nothing is contracted, and + 0.0f is added (removes -0).
 *   PENALTIES    no_repeat_ngram = n bans each token that would complete n tokens already in the history in that order
 *                (n = 1: every token of the history). Then, for every distinct token of the latest penalty_window tokens
 *                (0: all) of prompt and output: s > 0 ? s / r : s * r. Then, for every distinct token of the latest
 *                penalty_window tokens of the output alone (of prompt and output when order.penalize_prompt):
 *                (s - frequency * count) - presence. A ban is final.
 *   BIAS         s + bias; -inf bans.
 *   TEMPERATURE  s * inv_temperature; with dynatemp_spread > 0 (llama.cpp's temp-ext) s * (1 / T),
 *                T = dynatemp_least + dynatemp_spread * (H / log n)^dynatemp_exponent, H the entropy of the n tokens that
 *                are left, at the scores as they are (draw_dynatemp); n < 2: s.
 *   filters      below; they see the scores as the stages before them left them.
 * Temperature 0 is a mode, not a stage: the token is the argmax of the scores after PENALTIES and BIAS; TEMPERATURE and
 * the filters do nothing, whether the order names them or not.
 *
 * ORDER AND MASS. Tokens are ranked by (score descending, id ascending). With zmax the largest score of the current
 * survivors, d = zmax - s (fp32; 0 when equal, so +inf scores tie among themselves and the rest is infinitely far), a
 * token's weight is the integer draw_weight(d), 2^40 exp(-d) within 1e-6, 0 from d = 27.73 on. Z = sum of weights.
 *
 * FILTERS. Each looks at the survivors of the one before.
 *   TOP_K      the first k of the rank (0: off).
 *   TOP_P      the shortest prefix of the rank whose weight reaches max(1, floor(Z p)) (p >= 1: off; p = 0: one token).
 *   MIN_P      the tokens with d <= min_p_distance (min_p 0: off).
 *   TYPICAL_P  with E the mean of d under the weights (draw_mean_distance) and t = |d - E|: the shortest prefix of the
 *              rank by (t ascending, id ascending) whose weight reaches max(1, floor(Z typical_p)) (>= 1: off).
 * order.keep_ties extends the cuts of top_k, top_p and typical_p to all tokens whose score (typical_p: t) equals that of
 * the last one kept.
 *
 * DRAW. An exponential race among the survivors of positive weight, relative to the final zmax: token i of position
 * history_count, sample index `sample` has noise word draw_word(seed, position, sample, i), and the largest
 * draw_race_score(weight, word) wins, ties to the lowest id. The noise depends on nothing else: not on rank, row, batch,
 * or settings. When no score is above -inf the result is token -1 with DRAW_EMPTY. A forced token is taken whatever the
 * scores say (no DRAW_EMPTY).
 *
 * STATISTICS, when params->logprobs >= 0. logprob, entropy, top_*: of softmax(logits row), NaN as -inf, computed once for
 * all branches of a row; kept_mass is in the same measure. final_logprob: log of exp(-d) / Z over the survivors; -inf for
 * a forced token that is not one. Greedy: one token is kept, its final_logprob is 0. Sums are integers, logarithms
 * double: errors stay below 1e-5 (and float's rounding). An empty row has logprob -inf and entropy 0. */
#ifndef BACKEND_CPU_SAMPLER_H
#define BACKEND_CPU_SAMPLER_H

#include "backend/backend.h"
#include "base/pool.h"

struct cpu_sampler;

enum { CPU_SAMPLER_MAX_VOCABULARY = 1 << 22 }; /* the integer sums stay below 2^64 */

/* Buffers for rows of V logits, at most max_branches branches and max_logits rows a step, and a pool of `threads`; none
 * is allocated later. */
tempera_status cpu_sampler_create(struct cpu_sampler **sampler, int32_t V, int32_t max_branches, int32_t max_logits,
                                  int threads, tempera_error *err);
void cpu_sampler_free(struct cpu_sampler *sampler); /* NULL is fine */

/* The bytes that create takes. */
size_t cpu_sampler_workspace(int32_t V, int32_t max_branches, int32_t max_logits, int threads);

/* Draws for all branches of the view, spread over the pool. `results` [view->B]. Fails, before anything is drawn, when a
 * branch is malformed (row, forced token, history counts, order) or exceeds what was created for. pool may be NULL. */
tempera_status cpu_sampler_draw(struct cpu_sampler *sampler, struct pool *pool, const struct batch_view *view,
                                const float *logits /* [R, V] */, int32_t V, struct draw_result *results /* [B] */,
                                tempera_error *err);

/* Which instructions to use: "avx512", "avx2", "portable", or NULL for the best this processor has (the state after
 * create). Results are the same. False when the name is unknown or the processor lacks them. */
bool cpu_sampler_use(struct cpu_sampler *sampler, const char *instructions);
const char *cpu_sampler_instructions(const struct cpu_sampler *sampler);

#endif
