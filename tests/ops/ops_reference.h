/* ops_reference.h: the ops in double precision, from their definitions, with a bound on what fp32 may differ.
 *
 * Each function gives the value and, in `bound`, the largest error that a correct fp32 implementation can make whatever
 * its order of summation: u = 2^-24 is one rounding, a dot product of n terms is within (n + 2) u Σ|a b| (Higham 3.1),
 * and functions pass errors on through their derivative. Nothing here is tuned to an implementation. */
#ifndef TESTS_OPS_REFERENCE_H
#define TESTS_OPS_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"

#define REFERENCE_U 0x1p-24

struct reference_value {
    double value, bound;
};

/* The double of a stored element of `x` after conversion to `type`. */
double reference_stored(enum weight_type type, float x);

double reference_activation(enum activation activation, double x);
/* activation(x ± bound), computed in fp32. */
struct reference_value reference_activate(enum activation activation, struct reference_value x);

/* Σ in[k] stored(weight[k]) + bias. */
struct reference_value reference_dot(const float *in, const float *weight, enum weight_type type, int32_t K,
                                     const float *bias);
struct reference_value reference_softcap(struct reference_value x, double cap);

/* out [D], bound [D]. */
void reference_norm(double *out, double *bound, const double *x, const float *weight, const float *bias,
                    enum norm_kind kind, float eps, int32_t D);

/* In place. */
void reference_rotate(double *head, const float *table, int32_t rotary, bool interleaved);

/* One query over keys [count, Dh] and values [count, Dh]; query_error and key_error bound the absolute error of every
 * element of the implementation's own q and k. out [Dh], bound [Dh]. */
void reference_attention(double *out, double *bound, const double *q, double query_error, const double *keys,
                         double key_error, const float *values, int32_t count, int32_t Dh, double scale,
                         double softcap);

#endif
