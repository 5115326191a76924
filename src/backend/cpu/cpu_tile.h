/* cpu_tile.h: the register tile, the one multiply loop of the backend. R rows × P panels of accumulators stay in
 * registers while k ascends; every accumulator is one chain of fused multiply-adds, so its bits do not depend on R or P.
 *
 * R and P are compile-time constants after inlining. P is chosen so that the accumulators fill the registers (32 of
 * AVX-512, 16 otherwise) and a single row still has several chains in flight to cover the adder's latency. */
#ifndef CPU_TILE_H
#define CPU_TILE_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_simd.h"
#include "backend/cpu/cpu_transpose.h"

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

/* Accumulators: [R][P * PANEL_VECS] of them are used, and live in registers once everything is inlined and unrolled. */
typedef vec tile_acc[TILE_ROWS][QUAD * PANEL_VECS];

/* From and to c, whose rows are ldc floats apart. */
CPU_INLINE void acc_load(const int R, const int P, tile_acc acc, const float *c, int64_t ldc, bool fresh) {
    CPU_UNROLL for (int r = 0; r < R; r++) CPU_UNROLL for (int v = 0; v < P * PANEL_VECS; v++) acc[r][v] =
        fresh ? vec_zero() : vec_load(c + r * ldc + v * VEC);
}
CPU_INLINE void acc_store(const int R, const int P, tile_acc acc, float *c, int64_t ldc) {
    CPU_UNROLL for (int r = 0; r < R; r++) CPU_UNROLL for (int v = 0; v < P * PANEL_VECS; v++)
        vec_store(c + r * ldc + v * VEC, acc[r][v]);
}

/* What a tile multiplies: panels of a weight type by floats, or, where the set has bf16 dot products, BF16 panels by
 * pairs of bf16 inputs. */
enum tile_kind { TILE_F32 = WEIGHT_F32, TILE_F16 = WEIGHT_F16, TILE_BF16 = WEIGHT_BF16, TILE_DOTS };

CPU_INLINE vec tile_multiply(const enum tile_kind kind, vec x, vec w, vec acc) {
#if defined(CPU_DOTS)
    if (kind == TILE_DOTS) return vec_dot_bf16(x, w, acc);
#endif
    (void)kind;
    return vec_fma(x, w, acc);
}
/* acc[r][v] += x[r * step] * w[v]: one k, or of TILE_DOTS a pair. */
CPU_INLINE void acc_step(const enum tile_kind kind, const int R, const int P, tile_acc acc, const float *x,
                         const int step, const vec *w) {
    CPU_UNROLL for (int r = 0; r < R; r++) {
        const vec factor = vec_set1(x[r * step]);
        CPU_UNROLL for (int v = 0; v < P * PANEL_VECS; v++) acc[r][v] = tile_multiply(kind, factor, w[v], acc[r][v]);
    }
}
CPU_INLINE void acc_add(const int R, const int P, tile_acc acc, const float *x, const int step, const vec *w) {
    acc_step(TILE_F32, R, P, acc, x, step, w);
}

/* w = the P panels' weights for one k at byte `at`; `odd` picks the second of a BF16 pair. */
CPU_INLINE void tile_load(const enum tile_kind kind, const bool odd, const int P, vec *w, const char *const *panel,
                          ptrdiff_t at) {
    CPU_UNROLL for (int p = 0; p < P; p++) CPU_UNROLL for (int v = 0; v < PANEL_VECS; v++) {
        const void *line = panel[p] + at;
        vec *to = &w[p * PANEL_VECS + v];
        if (kind == TILE_F32 || kind == TILE_DOTS)
            *to = vec_load((const float *)line + v * VEC);
        else if (kind == TILE_F16)
            *to = vec_load_f16((const uint16_t *)line + v * VEC);
        else if (odd)
            *to = vec_load_bf16_odd((const uint16_t *)line + v * 2 * VEC);
        else
            *to = vec_load_bf16_even((const uint16_t *)line + v * 2 * VEC);
    }
}

/* Fetches AHEAD of byte `at` of P neighbouring panels of `bytes`; past their end, in the P panels that come next. */
CPU_INLINE void tile_ahead(const int P, const char *const *panel, ptrdiff_t at, ptrdiff_t bytes) {
    ptrdiff_t to = at + AHEAD < bytes ? at + AHEAD : at + AHEAD + (P - 1) * bytes;
    CPU_UNROLL for (int p = 0; p < P; p++) __builtin_prefetch(panel[p] + to, 0, 3);
}

/* P panels in one pass over K. `kind` and `stream` are constants after inlining; next and step are for blocks. */
CPU_INLINE void tile_pass(const enum tile_kind kind, const bool stream, const int R, const int P, float *c,
                          const float *x, const char *const *panel, int64_t K, bool fresh, const char *const *next,
                          ptrdiff_t step) {
    tile_acc acc;
    vec w[QUAD * PANEL_VECS];
    acc_load(R, P, acc, c, QUAD_WIDTH, fresh);
    if (kind == TILE_DOTS) K = (K + 1) / 2;       /* pairs: then as F32 */
    const int inputs = kind == TILE_BF16 ? 2 : 1; /* inputs that lie together */
    const ptrdiff_t line = kind == TILE_F16 ? PANEL * 2 : PANEL * 4;
    const ptrdiff_t whole = K / inputs * line, bytes = (K + inputs - 1) / inputs * line;
    ptrdiff_t fetch = 0;
    for (ptrdiff_t at = 0; at < whole; at += line, x += inputs * R, fetch += step) {
        if (stream)
            tile_ahead(P, panel, at, bytes);
        else
            CPU_UNROLL for (int p = 0; p < P; p++) __builtin_prefetch(next[p] + fetch, 0, 2);
        tile_load(kind, false, P, w, panel, at);
        acc_step(kind, R, P, acc, x, 1, w);
        if (inputs == 1) continue;
        tile_load(kind, true, P, w, panel, at);
        acc_add(R, P, acc, x + R, 1, w);
    }
    if (whole < bytes) { /* an odd last input of BF16 */
        tile_load(kind, false, P, w, panel, whole);
        acc_add(R, P, acc, x, 1, w);
    }
    acc_store(R, P, acc, c, QUAD_WIDTH);
}

#define TILE_STREAM_DEFINE(kind, R)                                                                                    \
    static void tile_stream_##kind##_##R(float *c, const float *x, const void *const panels[QUAD], int64_t K) {        \
        const int P = TILE_PANELS(R);                                                                                  \
        for (int q = 0; q < QUAD; q += P) {                                                                            \
            const char *panel[QUAD];                                                                                   \
            CPU_UNROLL for (int p = 0; p < P; p++) panel[p] = panels[q + p];                                           \
            tile_pass(TILE_##kind, true, R, P, c + q * PANEL, x, panel, K, true, panel, 0);                            \
        }                                                                                                              \
    }

#define TILE_BLOCK_DEFINE(kind, R)                                                                                     \
    static void tile_block_##kind##_##R(float *c, const float *x, const void *const panels[QUAD], int64_t K,           \
                                        bool fresh, const struct cpu_fetch *fetch) {                                   \
        const int P = TILE_PANELS(R);                                                                                  \
        for (int q = 0; q < QUAD; q += P) {                                                                            \
            const char *panel[QUAD], *next[QUAD];                                                                      \
            CPU_UNROLL for (int p = 0; p < P; p++) panel[p] = panels[q + p], next[p] = fetch->next[q + p];             \
            tile_pass(TILE_##kind, false, R, P, c + q * PANEL, x, panel, K, fresh, next, fetch->step);                 \
        }                                                                                                              \
    }

/* ---- one of each for every height -------------------------------------------------------------------------------- */

/* X(type, R) for every tile height of this instruction set. */
#if defined(CPU_AVX512)
#define TILE_MAP(X, type)                                                                                              \
    X(type, 1)                                                                                                         \
    X(type, 2)                                                                                                         \
    X(type, 3)                                                                                                         \
    X(type, 4)                                                                                                         \
    X(type, 5) X(type, 6) X(type, 7) X(type, 8) X(type, 9) X(type, 10) X(type, 11) X(type, 12) X(type, 13) X(type, 14)
#elif defined(CPU_AVX2)
#define TILE_MAP(X, type) X(type, 1) X(type, 2) X(type, 3) X(type, 4) X(type, 5) X(type, 6)
#else
#define TILE_MAP(X, type) X(type, 1) X(type, 2) X(type, 3)
#endif

#if defined(CPU_DOTS)
#define TILE_OF_BF16 DOTS
#else
#define TILE_OF_BF16 BF16
#endif
TILE_MAP(TILE_STREAM_DEFINE, F32)
TILE_MAP(TILE_STREAM_DEFINE, F16)
TILE_MAP(TILE_STREAM_DEFINE, TILE_OF_BF16)
TILE_MAP(TILE_BLOCK_DEFINE, F32)
TILE_MAP(TILE_BLOCK_DEFINE, F16)
TILE_MAP(TILE_BLOCK_DEFINE, BF16)
#if defined(CPU_DOTS)
TILE_MAP(TILE_BLOCK_DEFINE, DOTS)
#endif

#define TILE_STREAM_ENTRY(kind, R) [R] = tile_stream_##kind##_##R,
#define TILE_BLOCK_ENTRY(kind, R)  [R] = tile_block_##kind##_##R,
/* A table by weight type and rows: X is one of the two above, `bf16` TILE_OF_BF16 for layers, BF16 where inputs are not
 * rounded. */
#define TILE_TABLE(X, bf16)                                                                                            \
    {                                                                                                                  \
        {TILE_MAP(X, F32)}, {TILE_MAP(X, F16)}, {                                                                      \
            TILE_MAP(X, bf16)                                                                                          \
        }                                                                                                              \
    }

#if defined(CPU_DOTS)
/* to [ceil(K/2)][R] pairs = in [R, K] rounded to bf16 (nearest even, subnormals to zero); an odd K gets a zero. */
static void tile_pack_pairs(float *to, const float *in, int32_t R, int64_t K) {
    enum { PAIRS = 64 };
    float pairs[TILE_ROWS][PAIRS];
    for (int64_t k = 0; k < K; k += 2 * PAIRS, to += (ptrdiff_t)PAIRS * R) {
        const int64_t n = K - k < 2 * PAIRS ? K - k : 2 * PAIRS;
        for (int32_t r = 0; r < R; r++)
            for (int64_t i = 0; i < n; i += 2 * VEC) {
                const float *x = in + r * K + k + i;
                vec_store(pairs[r] + i / 2,
                          vec_pair_bf16(vec_load_n(x, vec_lanes(n - i)), vec_load_n(x + VEC, vec_lanes(n - i - VEC))));
            }
        transpose_tile(to, pairs[0], PAIRS, R, (n + 1) / 2);
    }
}
#endif

static void tile_widen(float *to, const void *panel, enum weight_type type, int64_t K) {
    const uint16_t *from = panel;
    if (type == WEIGHT_F16) {
        for (int64_t i = 0; i < K * PANEL; i += VEC) vec_store(to + i, vec_load_f16(from + i));
        return;
    }
    for (int64_t k = 0; k < K; k += 2) {
        for (int v = 0; v < PANEL_VECS; v++) {
            const uint16_t *pairs = from + k * PANEL + v * 2 * VEC;
            vec_store(to + k * PANEL + v * VEC, vec_load_bf16_even(pairs));
            if (k + 1 < K) vec_store(to + (k + 1) * PANEL + v * VEC, vec_load_bf16_odd(pairs));
        }
    }
}

#endif
