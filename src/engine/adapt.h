/* adapt.h: settings that change from token to token: a schedule of temperature or top_p, and top_p by how much the text
 * varies (tempera/sampling.h has the formulas). What they are for a draw depends on the setting, on how many tokens were
 * generated before it and on how many of these are distinct, and on nothing else: the host sets a branch's parameters
 * before a step is submitted, and a device sees only numbers. The temperature by entropy (dynatemp) is not here: it
 * depends on the scores, so the sampler does it.
 *
 * The arithmetic is draw_math.h's, without libm, so that a replay elsewhere gives the same bits. */
#ifndef ENGINE_ADAPT_H
#define ENGINE_ADAPT_H

#include "backend/backend.h"

/* Whether a draw depends on which tokens came before, so that it cannot be prepared while the last one is unknown. */
bool adapt_needs_tokens(const tempera_sampling *s);
/* Whether the parameters of a branch change at all. */
bool adapt_changes(const tempera_sampling *s);

/* Sets in *p, which was built from s, what the draw after `generated` tokens wants; `distinct` of them are different (any
 * number when !adapt_needs_tokens). It does not matter which draw *p was set for before. */
void adapt_params(struct branch_params *p, const tempera_sampling *s, int32_t generated, int32_t distinct);

/* Whether `token` is none of tokens[0, count). */
bool adapt_is_new(const int32_t *tokens, int32_t count, int32_t token);

#endif
