/* cpu_row_kernels.h: what works on one row of floats: epilogue of a linear layer, norms, gated activation. */
#ifndef CPU_ROW_KERNELS_H
#define CPU_ROW_KERNELS_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_math.h"

static void row_finish(float *out, const float *c, int64_t first, int64_t n, const struct cpu_epilogue *e) {
    for (int64_t i = 0; i < n; i += VEC) {
        int lanes = vec_lanes(n - i);
        vec y = vec_load(c + i);
        if (e->bias) y = vec_add(y, vec_load_n(e->bias + first + i, lanes));
        y = vec_activate(e->activation, y);
        if (e->scale != 1.0f) y = vec_mul(y, vec_set1(e->scale));
        if (e->softcap > 0.0f) y = vec_softcap(y, e->softcap);
        if (e->accumulate) y = vec_add(vec_load_n(out + i, lanes), y);
        vec_store_n(out + i, y, lanes);
    }
}

/* Sum over x of (x - centre)^p, p = 1 or 2: element i goes to lane i % 4·VEC of four accumulators, which are added as
 * (0 + 1) + (2 + 3), then across lanes. */
CPU_INLINE float row_sum(const float *x, int64_t D, float centre, const bool square) {
    vec acc[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    const vec c = vec_set1(centre);
    for (int64_t i = 0; i < D; i += 4 * VEC) {
        for (int a = 0; a < 4; a++) {
            int lanes = vec_lanes(D - i - a * VEC);
            if (lanes == 0) break;
            vec v = vec_load_n(x + i + a * VEC, lanes);
            if (square) {
                v = vec_sub(v, c);
                v = vec_select(vec_first(lanes), v, vec_zero());
                acc[a] = vec_fma(v, v, acc[a]);
            } else {
                acc[a] = vec_add(acc[a], v);
            }
        }
    }
    return vec_sum(vec_add(vec_add(acc[0], acc[1]), vec_add(acc[2], acc[3])));
}

/* out = (x - mean) / sqrt(variance + eps) * weight + bias. RMS: mean 0. out may be x. */
CPU_INLINE void row_normalise(float *out, const float *x, const float *weight, const float *bias, enum norm_kind kind,
                              float eps, int64_t D) {
    float mean = kind == NORM_LAYER ? row_sum(x, D, 0.0f, false) / (float)D : 0.0f;
    float variance = row_sum(x, D, mean, true) / (float)D;
    const vec centre = vec_set1(mean), scale = vec_set1(1.0f / sqrtf(variance + eps));
    for (int64_t i = 0; i < D; i += VEC) {
        int lanes = vec_lanes(D - i);
        vec y = vec_mul(vec_sub(vec_load_n(x + i, lanes), centre), scale);
        if (weight) y = vec_mul(y, vec_load_n(weight + i, lanes));
        if (bias) y = vec_add(y, vec_load_n(bias + i, lanes));
        vec_store_n(out + i, y, lanes);
    }
}

static void row_norm(float *out, float *residual, const float *add, const float *weight, const float *bias,
                     enum norm_kind kind, float eps, int64_t D) {
    if (add)
        for (int64_t i = 0; i < D; i += VEC) {
            int lanes = vec_lanes(D - i);
            vec_store_n(residual + i, vec_add(vec_load_n(residual + i, lanes), vec_load_n(add + i, lanes)), lanes);
        }
    row_normalise(out, residual, weight, bias, kind, eps, D);
}

static void row_gate(float *out, const float *in, enum activation activation, int64_t F) {
    for (int64_t i = 0; i < F; i += VEC) {
        int lanes = vec_lanes(F - i);
        vec y = vec_activate(activation, vec_load_n(in + i, lanes));
        vec_store_n(out + i, vec_mul(y, vec_load_n(in + F + i, lanes)), lanes);
    }
}

#endif
