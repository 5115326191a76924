/* cpu_transpose.h: rows of floats turned, with the compiler's own vectors (every processor we know has four lanes). Only
 * moves: the floats may be any 32 bits. */
#ifndef CPU_TRANSPOSE_H
#define CPU_TRANSPOSE_H

#include <stdint.h>
#include <string.h>

typedef float quad_float __attribute__((vector_size(16)));

static inline quad_float quad_load(const float *p) {
    quad_float a;
    memcpy(&a, p, sizeof a);
    return a;
}
static inline void quad_store(float *p, quad_float a) {
    memcpy(p, &a, sizeof a);
}

#if defined(__clang__) || __GNUC__ >= 12
#define QUAD_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define QUAD_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (int32_t __attribute__((vector_size(16)))){i, j, k, l})
#endif

/* to[i][j] = from[j][i]; strides in floats. */
static inline void transpose_4x4(float *to, int64_t to_stride, const float *from, int64_t from_stride) {
    quad_float a = quad_load(from), b = quad_load(from + from_stride);
    quad_float c = quad_load(from + 2 * from_stride), d = quad_load(from + 3 * from_stride);
    quad_float ab = QUAD_SHUFFLE(a, b, 0, 4, 1, 5), cd = QUAD_SHUFFLE(c, d, 0, 4, 1, 5); /* a0 b0 a1 b1 */
    quad_float ef = QUAD_SHUFFLE(a, b, 2, 6, 3, 7), gh = QUAD_SHUFFLE(c, d, 2, 6, 3, 7);
    quad_store(to, QUAD_SHUFFLE(ab, cd, 0, 1, 4, 5));
    quad_store(to + to_stride, QUAD_SHUFFLE(ab, cd, 2, 3, 6, 7));
    quad_store(to + 2 * to_stride, QUAD_SHUFFLE(ef, gh, 0, 1, 4, 5));
    quad_store(to + 3 * to_stride, QUAD_SHUFFLE(ef, gh, 2, 3, 6, 7));
}

/* to [K, R] = `from` [R, K] (row stride from_stride) turned: four by four, and the last four rows again where R is not a
 * multiple of four. */
static inline void transpose_tile(float *to, const float *from, int64_t from_stride, int32_t R, int64_t K) {
    const int64_t whole = R < 4 ? 0 : K / 4 * 4;
    for (int64_t k = 0; k < whole; k += 4)
        for (int32_t r = 0; r < R; r += 4) {
            int32_t at = r + 4 <= R ? r : R - 4;
            transpose_4x4(to + k * R + at, R, from + at * from_stride + k, from_stride);
        }
    for (int64_t k = whole; k < K; k++)
        for (int32_t r = 0; r < R; r++) memcpy(to + k * R + r, from + r * from_stride + k, sizeof *to);
}

#endif
