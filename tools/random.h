/* random.h: splitmix64 (Steele et al., OOPSLA 2014): cheap numbers that are the same in every run, for what is made up or
 * resampled. Not the noise of samples, which is Philox's. */
#ifndef TOOLS_RANDOM_H
#define TOOLS_RANDOM_H

#include "base/scatter.h"

/* The next number of a stream; any state begins one. */
static inline uint64_t random_next(uint64_t *state) {
    return scatter(*state += 0x9E3779B97F4A7C15u);
}

/* In (0, 1): 53 bits and a half. */
static inline double random_unit(uint64_t *state) {
    return ((double)(random_next(state) >> 11) + 0.5) * 0x1p-53;
}

#endif
