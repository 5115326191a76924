/* oracle.h: what a draw is, computed the slow way: sort, add up in double, compare. It follows the semantics in
 * backend/cpu/sampler.h and shares no function with the code (its own Philox included). */
#ifndef TESTS_SAMPLER_ORACLE_H
#define TESTS_SAMPLER_ORACLE_H

#include "backend/backend.h"

/* Relative error that integer masses may have against double ones. A weight is off by at most 1e-6 of itself plus one
 * unit of 2^-40, and so is any sum of weights and any quotient of two sums by twice that. */
#define ORACLE_MASS_ERROR 2e-6
/* Error of the mean distance in typical_p (2^-19 cut, weights) plus fp32 rounding of |d - E|. */
#define ORACLE_TYPICAL_ERROR 1e-5
/* Error of the entropy that dynatemp measures, and, relative, of the power, the sum and the quotient after it. */
#define ORACLE_ENTROPY_ERROR  1e-5
#define ORACLE_DYNATEMP_ERROR 5e-6

struct oracle {
    int32_t V;
    double lean;     /* added to the share of the mass that cuts must reach; 0 unless a caller sets it, to see how
                              far an ambiguous cut can move */
    double dynatemp; /* what the code multiplied the scores with, when dynatemp is on: the oracle judges it, and goes on
                                with it, so that all after it stays exact. 0: the oracle's own */
    /* outcome of oracle_draw */
    bool dynatemp_wrong; /* it is not what its definition allows */
    int32_t token;       /* the race's winner (not the forced token); -1: empty */
    double lead;         /* its score over that of the second, INFINITY when alone */
    bool nan;
    int ambiguous; /* cuts that the allowed error could move; the kept set is then one of several right ones */
    int32_t kept;
    bool *survives;      /* [V] */
    double *probability; /* [V] of the final distribution */
    double *raw_logprob; /* [V] */
    double entropy, kept_mass;
    float *logits;             /* [V] the row, NaN as -inf, without -0 */
    struct oracle_item *items; /* [V] work */
};

struct oracle *oracle_create(int32_t max_V);
void oracle_free(struct oracle *oracle);

void oracle_draw(struct oracle *oracle, const struct branch_draw *branch, const float *row, int32_t V);

/* The noise, from its definition. */
void oracle_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
double oracle_exponential(uint64_t seed, int32_t position, int32_t sample, int32_t id); /* INFINITY when v is 1 */

#endif
