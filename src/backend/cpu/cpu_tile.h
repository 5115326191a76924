/* cpu_tile.h: the register tile, the one multiply loop of the backend. R rows × P panels of accumulators stay in
 * registers while k ascends; every accumulator is one chain of fused multiply-adds, so its bits do not depend on R or P.
 *
 * R and P are compile-time constants after inlining. P is chosen so that the accumulators fill the registers (32 of
 * AVX-512, 16 otherwise) and a single row still has several chains in flight to cover the adder's latency. */
#ifndef CPU_TILE_H
#define CPU_TILE_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_simd.h"

#if defined(CPU_AVX512)
enum { TILE_ROWS = 14 };
#define TILE_PANELS(R) ((R) <= 6 ? 4 : 2)
#elif defined(CPU_AVX2)
enum { TILE_ROWS = 6 };
#define TILE_PANELS(R) ((R) == 1 ? 4 : (R) <= 3 ? 2 : 1)
#else
enum { TILE_ROWS = 3 };
#define TILE_PANELS(R) ((R) == 1 ? 2 : 1)
#endif

enum { AHEAD = 2048 }; /* bytes between a panel's read and its prefetch */

/* Accumulators: [R][P * PANEL_VECS] of them are used, and live in registers. ACC_LOAD and ACC_STORE move them from and
 * to c, whose rows are ldc floats apart. */
#define ACC(acc) vec acc[TILE_ROWS][QUAD * PANEL_VECS]

#define ACC_LOAD(R, P, acc, c, ldc, fresh)                                                                             \
    CPU_UNROLL for (int r_ = 0; r_ < (R); r_++) CPU_UNROLL for (int v_ = 0; v_ < (P)*PANEL_VECS; v_++) acc[r_][v_] =   \
        (fresh) ? vec_zero() : vec_load((c) + r_ * (ldc) + v_ * VEC)

#define ACC_STORE(R, P, acc, c, ldc)                                                                                   \
    CPU_UNROLL for (int r_ = 0; r_ < (R); r_++) CPU_UNROLL for (int v_ = 0; v_ < (P)*PANEL_VECS; v_++)                 \
        vec_store((c) + r_ * (ldc) + v_ * VEC, acc[r_][v_])

/* acc[r][v] += x[r * xr] * w[v] for one k. */
#define ACC_ADD(R, P, acc, x, xr, w)                                                                                   \
    CPU_UNROLL for (int r_ = 0; r_ < (R); r_++) {                                                                      \
        vec x_ = vec_set1((x)[r_ * (xr)]);                                                                             \
        CPU_UNROLL for (int v_ = 0; v_ < (P)*PANEL_VECS; v_++) acc[r_][v_] = vec_fma(x_, (w)[v_], acc[r_][v_]);        \
    }

/* How far ahead of byte `at` of a panel to fetch, when four panels of `bytes` follow each other: AHEAD inside the panel,
 * past its end at the panel that the same stream reads next. */
CPU_INLINE ptrdiff_t tile_ahead(ptrdiff_t at, ptrdiff_t bytes) {
    return at + AHEAD < bytes ? AHEAD : AHEAD + (QUAD - 1) * bytes;
}

CPU_INLINE void tile_prefetch(const int P, const char *const *panel, ptrdiff_t at) {
    CPU_UNROLL for (int p = 0; p < P; p++) __builtin_prefetch(panel[p] + at, 0, 3);
}

CPU_INLINE void tile_load_f32(const int P, vec *w, const char *const *panel, ptrdiff_t at) {
    CPU_UNROLL for (int p = 0; p < P; p++) CPU_UNROLL for (int v = 0; v < PANEL_VECS; v++) w[p * PANEL_VECS + v] =
        vec_load((const float *)(const void *)(panel[p] + at) + v * VEC);
}

CPU_INLINE void tile_load_f16(const int P, vec *w, const char *const *panel, ptrdiff_t at) {
    CPU_UNROLL for (int p = 0; p < P; p++) CPU_UNROLL for (int v = 0; v < PANEL_VECS; v++) w[p * PANEL_VECS + v] =
        vec_load_f16((const uint16_t *)(const void *)(panel[p] + at) + v * VEC);
}

CPU_INLINE void tile_load_bf16(const int P, vec *even, vec *odd, const char *const *panel, ptrdiff_t at) {
    CPU_UNROLL for (int p = 0; p < P; p++) CPU_UNROLL for (int v = 0; v < PANEL_VECS; v++)
        vec_load_bf16_pairs((const uint16_t *)(const void *)(panel[p] + at) + v * 2 * VEC, &even[p * PANEL_VECS + v],
                            &odd[p * PANEL_VECS + v]);
}

CPU_INLINE void tile_f32(const int R, const int P, float *c, const float *x, const char *const *panel, int64_t K,
                         bool fresh, bool stream) {
    ACC(acc);
    vec w[QUAD * PANEL_VECS];
    ACC_LOAD(R, P, acc, c, QUAD_WIDTH, fresh);
    const ptrdiff_t bytes = K * PANEL * 4;
    for (ptrdiff_t at = 0; at < bytes; at += PANEL * 4, x += R) {
        if (stream) tile_prefetch(P, panel, at + tile_ahead(at, bytes));
        tile_load_f32(P, w, panel, at);
        ACC_ADD(R, P, acc, x, 1, w);
    }
    ACC_STORE(R, P, acc, c, QUAD_WIDTH);
}

CPU_INLINE void tile_f16(const int R, const int P, float *c, const float *x, const char *const *panel, int64_t K,
                         bool fresh, bool stream) {
    ACC(acc);
    vec w[QUAD * PANEL_VECS];
    ACC_LOAD(R, P, acc, c, QUAD_WIDTH, fresh);
    const ptrdiff_t bytes = K * PANEL * 2;
    for (ptrdiff_t at = 0; at < bytes; at += PANEL * 2, x += R) {
        if (stream) tile_prefetch(P, panel, at + tile_ahead(at, bytes));
        tile_load_f16(P, w, panel, at);
        ACC_ADD(R, P, acc, x, 1, w);
    }
    ACC_STORE(R, P, acc, c, QUAD_WIDTH);
}

CPU_INLINE void tile_bf16(const int R, const int P, float *c, const float *x, const char *const *panel, int64_t K,
                          bool fresh, bool stream) {
    ACC(acc);
    vec even[QUAD * PANEL_VECS], odd[QUAD * PANEL_VECS];
    ACC_LOAD(R, P, acc, c, QUAD_WIDTH, fresh);
    const ptrdiff_t pairs = K / 2 * PANEL * 4, bytes = (K + 1) / 2 * PANEL * 4;
    for (ptrdiff_t at = 0; at < pairs; at += PANEL * 4, x += 2 * R) {
        if (stream) tile_prefetch(P, panel, at + tile_ahead(at, bytes));
        tile_load_bf16(P, even, odd, panel, at);
        ACC_ADD(R, P, acc, x, 1, even);
        ACC_ADD(R, P, acc, x + R, 1, odd);
    }
    if (K % 2) {
        tile_load_bf16(P, even, odd, panel, pairs);
        ACC_ADD(R, P, acc, x, 1, even);
    }
    ACC_STORE(R, P, acc, c, QUAD_WIDTH);
}

/* A quad in passes of P panels. `type` is a constant after inlining. */
CPU_INLINE void tile_quad(const enum weight_type type, const int R, const int P, float *c, const float *x,
                          const void *const panels[QUAD], int64_t K, bool fresh, bool stream) {
    for (int q = 0; q < QUAD; q += P) {
        const char *panel[QUAD];
        for (int p = 0; p < P; p++) panel[p] = panels[q + p];
        float *part = c + q * PANEL;
        if (type == WEIGHT_F32)
            tile_f32(R, P, part, x, panel, K, fresh, stream);
        else if (type == WEIGHT_F16)
            tile_f16(R, P, part, x, panel, K, fresh, stream);
        else
            tile_bf16(R, P, part, x, panel, K, fresh, stream);
    }
}

#define TILE_DEFINE(type, R)                                                                                           \
    static void tile_##type##_##R(float *c, const float *x, const void *const panels[QUAD], int64_t K, bool fresh,     \
                                  bool stream) {                                                                       \
        if (stream)                                                                                                    \
            tile_quad(WEIGHT_##type, R, TILE_PANELS(R), c, x, panels, K, fresh, true);                                 \
        else                                                                                                           \
            tile_quad(WEIGHT_##type, R, TILE_PANELS(R), c, x, panels, K, fresh, false);                                \
    }

/* X(type, R) for every tile height of this instruction set. */
#if defined(CPU_AVX512)
#define TILE_MAP(X, type)                                                                                              \
    X(type, 1)                                                                                                         \
    X(type, 2) X(type, 3) X(type, 4) X(type, 5) X(type, 6) X(type, 7) X(type, 8) X(type, 9) X(type, 10) X(type, 11)    \
        X(type, 12) X(type, 13) X(type, 14)
#elif defined(CPU_AVX2)
#define TILE_MAP(X, type) X(type, 1) X(type, 2) X(type, 3) X(type, 4) X(type, 5) X(type, 6)
#else
#define TILE_MAP(X, type) X(type, 1) X(type, 2) X(type, 3)
#endif

TILE_MAP(TILE_DEFINE, F32)
TILE_MAP(TILE_DEFINE, F16)
TILE_MAP(TILE_DEFINE, BF16)

#define TILE_ENTRY(type, R) [WEIGHT_##type][R] = tile_##type##_##R,
#define TILE_TABLE          TILE_MAP(TILE_ENTRY, F32) TILE_MAP(TILE_ENTRY, F16) TILE_MAP(TILE_ENTRY, BF16)

static void tile_widen(float *to, const void *panel, enum weight_type type, int64_t K) {
    const uint16_t *from = panel;
    if (type == WEIGHT_F16) {
        for (int64_t i = 0; i < K * PANEL; i += VEC) vec_store(to + i, vec_load_f16(from + i));
        return;
    }
    for (int64_t k = 0; k < K; k += 2) {
        for (int v = 0; v < PANEL_VECS; v++) {
            vec even, odd;
            vec_load_bf16_pairs(from + k * PANEL + v * 2 * VEC, &even, &odd);
            vec_store(to + k * PANEL + v * VEC, even);
            if (k + 1 < K) vec_store(to + (k + 1) * PANEL + v * VEC, odd);
        }
    }
}

#endif
