/* draw_check.h: which branches a draw accepts; the same on every backend. */
#ifndef BACKEND_DRAW_CHECK_H
#define BACKEND_DRAW_CHECK_H

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "backend/backend.h"

enum { DRAW_NGRAM_MAX = 1024 };

static inline bool draw_order_is_sound(const tempera_order *order) {
    if (order->count > TEMPERA_STAGE_COUNT) return false;
    for (int i = 0; i < order->count; i++)
        if (order->stage[i] >= TEMPERA_STAGE_COUNT || memchr(order->stage, order->stage[i], (size_t)i)) return false;
    return true;
}

static inline bool draw_dynatemp_is_sound(const struct branch_params *p) {
    if (p->dynatemp_spread == 0.0f) return true;
    return p->dynatemp_spread > 0.0f && p->dynatemp_spread < INFINITY && p->dynatemp_least > 0.0f &&
           1.0f / p->dynatemp_least < INFINITY && p->dynatemp_exponent > 0.0f && p->dynatemp_exponent < INFINITY;
}

static inline bool draw_params_are_sound(const struct branch_params *p) {
    return draw_order_is_sound(&p->order) && draw_dynatemp_is_sound(p) && p->temperature >= 0.0f &&
           (p->temperature == 0.0f || (p->inv_temperature > 0.0f && p->inv_temperature < INFINITY)) && p->top_k >= 0 &&
           p->top_p >= 0.0f && p->min_p_distance >= 0.0f && p->typical_p >= 0.0f && p->repetition_penalty > 0.0f &&
           p->repetition_penalty < INFINITY && isfinite(p->frequency_penalty) && isfinite(p->presence_penalty) &&
           p->penalty_window >= 0 && p->no_repeat_ngram >= 0 && p->no_repeat_ngram <= DRAW_NGRAM_MAX &&
           p->logprobs <= DRAW_TOP_MAX && (p->bias_count == 0 || p->bias) && (p->suppress_count == 0 || p->suppress);
}

static inline tempera_status draw_check_branch(const struct batch_view *view, int32_t b, int32_t V,
                                               tempera_error *err) {
    const struct branch_draw *d = &view->branch[b];
    if (d->row < 0 || d->row >= view->R)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "branch %" PRId32 ": row %" PRId32 " of %" PRId32, b, d->row,
                    view->R);
    if (d->forced >= V)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "branch %" PRId32 ": forced token %" PRId32 " of %" PRId32, b,
                    d->forced, V);
    if (d->prompt_count < 0 || d->history_count < d->prompt_count || (d->history_count > 0 && !d->history))
        return fail(err, TEMPERA_INVALID_ARGUMENT,
                    "branch %" PRId32 ": history of %" PRId32 " tokens, prompt of %" PRId32, b, d->history_count,
                    d->prompt_count);
    if (!d->params || !draw_params_are_sound(d->params))
        return fail(err, TEMPERA_INVALID_ARGUMENT, "branch %" PRId32 ": malformed settings", b);
    return TEMPERA_OK;
}

/* Whether the view is one that a sampler for `most_V` tokens, `most_rows` and `most_branches` draws. */
static inline tempera_status draw_check_view(const struct batch_view *view, int32_t V, int32_t most_V,
                                             int32_t most_rows, int32_t most_branches, tempera_error *err) {
    if (V < 1 || V > most_V || view->R < 0 || view->R > most_rows || view->B < 0 || view->B > most_branches)
        return fail(err, TEMPERA_INVALID_ARGUMENT,
                    "draw: vocabulary %" PRId32 ", %" PRId32 " rows, %" PRId32
                    " branches do not fit the sampler's %" PRId32 ", %" PRId32 ", %" PRId32,
                    V, view->R, view->B, most_V, most_rows, most_branches);
    for (int32_t b = 0; b < view->B; b++) TRY(draw_check_branch(view, b, V, err));
    return TEMPERA_OK;
}

#endif
