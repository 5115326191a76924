/* ops_reference.c: see ops_reference.h. */
#include "ops_reference.h"

#include <math.h>
#include <stdlib.h>

#include "base/num.h"

static const double U = REFERENCE_U;

double reference_stored(enum weight_type type, float x) {
    switch (type) {
    case WEIGHT_F16: return (double)f16_to_float(float_to_f16(x));
    case WEIGHT_BF16: return (double)bf16_to_float(float_to_bf16(x));
    default: return (double)x;
    }
}

struct arithmetic reference_arithmetic(bool tensor, enum weight_type type) {
    return (struct arithmetic){type, tensor, tensor ? type : WEIGHT_F32};
}

double reference_unit(enum weight_type type) {
    return type == WEIGHT_F16 ? 0x1p-11 : type == WEIGHT_BF16 ? 0x1p-8 : 0;
}

/* F16's subnormals are 2^-24 apart; those of the other types do not count. */
struct reference_value reference_operand(struct arithmetic a, struct reference_value x) {
    double tiny = a.element == WEIGHT_F16 ? 0x1p-25 : 0;
    return (struct reference_value){x.value, x.bound + reference_unit(a.element) * (fabs(x.value) + x.bound) + tiny};
}

double reference_dot_error(struct arithmetic a, int32_t K) {
    if (!a.tensor) return (K + 2) * U;
    if (a.type == WEIGHT_F32) return (3 + 3 * ((K + 7) / 8)) * 0x1p-22;
    return (K + 15) / 16 * 0x1p-22;
}

double reference_activation(enum activation activation, double x) {
    switch (activation) {
    case ACT_GELU_ERF: return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case ACT_GELU_TANH: {
        double u = 0.79788456080286535588 * (x + 0.044715 * x * x * x);
        return x / (1 + exp(-2 * u)); /* = x/2 (1 + tanh u), without its cancellation */
    }
    case ACT_SILU: return x / (1 + exp(-x));
    case ACT_RELU: return x > 0 || isnan(x) ? x : 0;
    default: return x;
    }
}

/* The steepest slope of any of them is gelu's 1.13. Evaluation: a handful of roundings of the result (12), and exp
 * magnifies the rounding of its argument a by |a|: a = -x for silu, x²/2 for gelu_erf, and for gelu_tanh up to
 * 1.6 |x| (1 + 0.0447 x²) with four roundings of its own. Results that underflow may be flushed: 2^-126 · |x|. */
struct reference_value reference_activate(enum activation activation, struct reference_value x) {
    double y = reference_activation(activation, x.value), a = fabs(x.value), argument = 0;
    if (activation == ACT_NONE) return x;
    if (activation == ACT_SILU) argument = a;
    if (activation == ACT_GELU_ERF) argument = a * a / 2;
    if (activation == ACT_GELU_TANH) argument = 4 * 1.6 * a * (1 + 0.044715 * a * a);
    if (argument > 360) argument = 360; /* beyond 90, exp is 0 or infinite */
    double bound = 1.13 * x.bound + fabs(y) * U * (12 + argument) + 0x1p-125 * (a + 1);
    return (struct reference_value){y, activation == ACT_RELU ? x.bound : bound};
}

struct reference_value reference_dot(struct arithmetic a, const float *in, const float *weight, int32_t K,
                                     const float *bias) {
    double sum = 0, size = 0, b = bias ? (double)*bias : 0;
    for (int32_t k = 0; k < K; k++) {
        double product = reference_stored(a.element, in[k]) * reference_stored(a.type, weight[k]);
        sum += product;
        size += fabs(product);
    }
    return (struct reference_value){sum + b, reference_dot_error(a, K) * size + 2 * U * (fabs(b) + size)};
}

struct reference_value reference_softcap(struct reference_value x, double cap) {
    if (cap == 0) return x;
    double y = cap * tanh(x.value / cap);
    return (struct reference_value){y, x.bound + 8 * U * fabs(y)};
}

/* The mean is off by (D + 2) u mean|x|; the variance's relative error is (D + 6) u plus what the mean's error adds (its
 * square, far below); the rest is six roundings of the two terms. */
void reference_norm(double *out, double *bound, const double *x, const float *weight, const float *bias,
                    enum norm_kind kind, float eps, int32_t D) {
    double mean = 0, size = 0, square = 0;
    for (int32_t d = 0; d < D; d++) mean += x[d], size += fabs(x[d]);
    mean = kind == NORM_LAYER ? mean / D : 0;
    double mean_bound = kind == NORM_LAYER ? (D + 2) * U * size / D : 0;
    for (int32_t d = 0; d < D; d++) square += (x[d] - mean) * (x[d] - mean);
    double variance = square / D + (double)eps, scale = 1 / sqrt(variance);
    double scale_error = 0.5 * ((D + 6) * U + mean_bound * mean_bound / variance) + 3 * U;
    for (int32_t d = 0; d < D; d++) {
        double w = weight ? (double)weight[d] : 1, b = bias ? (double)bias[d] : 0;
        double normal = (x[d] - mean) * scale;
        out[d] = normal * w + b;
        bound[d] = fabs(w) * (mean_bound * scale + fabs(normal) * (scale_error + 4 * U) + U * fabs(x[d]) * scale) +
                   U * (fabs(b) + fabs(out[d]));
    }
}

void reference_rotate(double *head, const float *table, int32_t rotary, bool interleaved) {
    for (int32_t i = 0; i < rotary / 2; i++) {
        int32_t at = interleaved ? 2 * i : i, other = interleaved ? 2 * i + 1 : i + rotary / 2;
        double a = head[at], b = head[other], c = (double)table[2 * i], s = (double)table[2 * i + 1];
        head[at] = a * c - b * s;
        head[other] = b * c + a * s;
    }
}

/* Each score is off by e = scale (Σ|q k| times a dot product's error, + what the errors of q and k do) and a few
 * roundings; a weight exp(score - max) then by 2e relative (score and maximum), plus the exponential's own and one
 * factor for every rescaling (a span's, at least 16 keys each); a quotient Σ p v / Σ p moves by at most twice that in Σ
 * p |v| / Σ p. Where elements are of 16 bits, q, k, v and the weights p are rounded too; F16 weights below 2^-14 of the
 * largest keep 2^-25. */
void reference_attention(struct arithmetic a, double *out, double *bound, const double *q, double query_error,
                         const double *keys, double key_error, const float *values, int32_t count, int32_t Dh,
                         double scale, double softcap) {
    const double unit = reference_unit(a.element), tiny = a.element == WEIGHT_F16 ? 0x1p-25 : 0;
    double *score = malloc((size_t)count * sizeof *score);
    double most = -INFINITY, error = 0, sum = 0;
    for (int32_t j = 0; j < count; j++) {
        double s = 0, size = 0, other = 0;
        for (int32_t d = 0; d < Dh; d++) {
            double k = keys[(int64_t)j * Dh + d];
            s += q[d] * k;
            size += fabs(q[d] * k);
            other += fabs(q[d]) * key_error + fabs(k) * query_error;
        }
        double e = fabs(scale) * (size * (reference_dot_error(a, Dh) + 2 * U + 2.01 * unit) + other);
        s *= scale;
        if (softcap > 0) e += 8 * U * fabs(s), s = softcap * tanh(s / softcap);
        score[j] = s;
        if (s > most) most = s;
        if (e > error) error = e;
    }
    for (int32_t j = 0; j < count; j++) sum += score[j] = exp(score[j] - most);
    double relative = 2 * error + U * (12 + 88) + 4 * U * (2 + count / 16.0) +
                      (a.tensor ? reference_dot_error(a, count) : 0) + (count + 4) * U + unit;
    for (int32_t d = 0; d < Dh; d++) {
        double o = 0, size = 0, rest = 0;
        for (int32_t j = 0; j < count; j++) {
            double v = (double)values[(int64_t)j * Dh + d];
            o += score[j] * v;
            size += fabs(score[j] * v);
            rest += fabs(v);
        }
        out[d] = o / sum;
        bound[d] = (2 * relative + unit) * size / sum + 2 * tiny * rest / sum + 0x1p-120;
    }
    free(score);
}
