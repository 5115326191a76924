/* settings.h: from tempera_sampling (what people set) to branch_params (what a draw reads). The public functions of
 * tempera/sampling.h live in settings.c too. */
#ifndef ENGINE_SETTINGS_H
#define ENGINE_SETTINGS_H

#include "backend/backend.h"
#include "base/status.h"

/* The least temperature above 0: 1 / temperature stays far from overflow. */
#define SETTINGS_TEMPERATURE_LEAST 0.0001f

/* Copies s->logit_bias to `to` ([s->logit_bias_count], the caller's) in ascending token order, which is the order that
 * branch_params wants. Allocates nothing. */
void settings_sort_bias(tempera_logit_bias *to, const tempera_sampling *s);

/* The numeric form of sample number `sample` of a setting that tempera_sampling_check has accepted. `bias` is the list
 * from settings_sort_bias (NULL when there is none) and `suppress` the ids that must not come before min_tokens (end of
 * text, stop tokens); both are borrowed by *out. When s->independent, the seed is mixed with everything in the setting
 * that shapes a draw (settings_independent_seed). Branches of one setting differ only in out->sample, so a caller may
 * build once and copy. Fails when `sample` or the order is out of range. */
tempera_status branch_params_build(struct branch_params *out, const tempera_sampling *s, int32_t sample,
                                   const tempera_logit_bias *bias, const int32_t *suppress, int32_t suppress_count,
                                   tempera_error *err);

/* Gives *p another temperature, 0 or SETTINGS_TEMPERATURE_LEAST … 1000, with all that depends on it. */
void branch_params_temperature(struct branch_params *p, const tempera_sampling *s, float temperature);

/* N of a schedule (tempera/sampling.h), at least 1. */
int32_t settings_schedule_tokens(const tempera_sampling *s);

/* The noise key of a setting whose noise is independent: a Philox sponge over (seed, canonical bytes of the setting).
 * What cannot change which token a draw picks is left out (n, max_tokens unless a schedule takes it, ignore_eos, logprobs,
 * echo, stop lists), so a longer run continues a shorter one. `bias` ascending, [bias_count]. Fixed for ever: recorded
 * runs are replayed; fields that came later add words only where they are on. */
uint64_t settings_independent_seed(const tempera_sampling *s, const tempera_logit_bias *bias, size_t bias_count);

#endif
