/* ops_reference.h: the ops in double precision, from their definitions, with a bound on what a target may differ.
 *
 * Each function gives the value and, in `bound`, the largest error that a correct implementation can make whatever its
 * order of summation. In fp32: u = 2^-24 is one rounding, a dot product of n terms is within (n + 2) u Σ|a b| (Higham
 * 3.1), and functions pass errors on through their derivative. What tensor cores do instead is said once, in struct
 * arithmetic. Nothing here is tuned to an implementation. */
#ifndef TESTS_OPS_REFERENCE_H
#define TESTS_OPS_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"

#define REFERENCE_U 0x1p-24

struct reference_value {
    double value, bound;
};

/* How a target multiplies for weights (and KV pages) of one type: the numeric contract that tests hold it to.
 *
 * fp32 (the cpu): inputs as they are; every product and sum rounded to fp32. The cpu's avx512bf16, BF16 linear layers:
 * inputs rounded to bf16, products exact. Tensor cores, 16-bit types: inputs, too,
 * are rounded to the type first. Products are exact; sums are chains of steps of 16 products, each adding at most 2^-22
 * of the absolute sum (cores truncate, and align to the largest term). Tensor cores, F32: a = hi + lo in TF32 (11 bits
 * each), three products hi hi, hi lo, lo hi. What is left out of a, of b and lo lo are 2^-22 of |a b| each; sums are
 * chains of steps of 8 products, three times as many. */
struct arithmetic {
    enum weight_type type;
    bool tensor;
    enum weight_type element; /* operands and KV pages are kept in it */
};
struct arithmetic reference_arithmetic(bool tensor, enum weight_type type);
/* One rounding to an element type: |x - stored(x)| <= unit |x|, above its subnormals. */
double reference_unit(enum weight_type type);
/* x as an operand: the value is what it was before the rounding, the bound grows by that. */
struct reference_value reference_operand(struct arithmetic a, struct reference_value x);
/* Error of a dot product of K terms, as a factor of Σ|a b|, inputs and weights being what the products see. */
double reference_dot_error(struct arithmetic a, int32_t K);

/* The double of a stored element of `x` after conversion to `type`. */
double reference_stored(enum weight_type type, float x);

double reference_activation(enum activation activation, double x);
/* activation(x ± bound), computed in fp32. */
struct reference_value reference_activate(enum activation activation, struct reference_value x);

/* Σ in[k] weight[k] + bias, of the inputs and weights as they are stored. */
struct reference_value reference_dot(struct arithmetic a, const float *in, const float *weight, int32_t K,
                                     const float *bias);
struct reference_value reference_softcap(struct reference_value x, double cap);

/* out [D], bound [D]. */
void reference_norm(double *out, double *bound, const double *x, const float *weight, const float *bias,
                    enum norm_kind kind, float eps, int32_t D);

/* In place. */
void reference_rotate(double *head, const float *table, int32_t rotary, bool interleaved);

/* One query over keys [count, Dh] and values [count, Dh], which the target rounds to its element type itself;
 * query_error and key_error bound the absolute error of every element of its own q and k before that. out [Dh], bound
 * [Dh]. */
void reference_attention(struct arithmetic a, double *out, double *bound, const double *q, double query_error,
                         const double *keys, double key_error, const float *values, int32_t count, int32_t Dh,
                         double scale, double softcap);

#endif
