/* rope.h: rotary position tables (Su et al., arXiv 2104.09864) and their scaled forms, in double precision.
 * Private to src/model. */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include <stdint.h>

#include "load/config.h"

/* inv_freq [rotary/2]: the angle per position of each pair, rounded to float as in the published models
 * (their inv_freq tensors are float32, and so are ours to the last bit but one); *attention_factor multiplies
 * cos and sin. `rope` has its defaults filled in (hparams_resolve). `context` matters to longrope only: a
 * network whose context goes beyond the original one uses the long factors for every position, others the
 * short ones. */
void rope_frequencies(double *inv_freq, double *attention_factor, const struct rope_config *rope, int32_t rotary,
                      int32_t context);

/* table [count, rotary/2, 2]: cos and sin for positions first … first+count-1. */
void rope_table(float *table, const double *inv_freq, double attention_factor, int32_t rotary, int32_t first,
                int32_t count);

#endif
