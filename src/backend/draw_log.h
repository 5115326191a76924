/* draw_log.h: from the integer sums of a draw to log-probabilities, in double; the same on every backend. */
#ifndef BACKEND_DRAW_LOG_H
#define BACKEND_DRAW_LOG_H

#include <math.h>

#include "base/draw_math.h"

/* Logarithm of a sum of weights, in units of the best token's. */
static inline double draw_log_mass(uint64_t total) {
    return log((double)total) - DRAW_WEIGHT_MAX_LOG2 * 0.693147180559945309417;
}

/* Natural logarithm of exp(-(best - score)) / Z. Z is made of rounded weights and may fall a hair under 1 for a lone
 * token; a probability does not pass 1 for that. */
static inline double draw_log_probability(double best, double score, double log_total) {
    if (score == -INFINITY) return -INFINITY;
    return fmin((score == best ? 0.0 : score - best) - log_total, 0.0);
}

/* H = E[d] + log Z */
static inline float draw_entropy(uint64_t high, uint64_t low, uint64_t total) {
    double entropy = draw_mean_distance(high, low, total) + draw_log_mass(total);
    return (float)(entropy > 0.0 ? entropy : 0.0);
}

#endif
