/* cpu_simd.h: one small vector vocabulary, three meanings. A file that includes it has chosen CPU_AVX512, CPU_AVX2 or
 * CPU_PORTABLE; everything written with `vec` below then compiles for that instruction set.
 *
 *   vec    VEC floats            veci   VEC int32           vmask  VEC truth values
 *
 * Rules that the determinism of the backend rests on: vec_fma is one rounding on AVX-512 and AVX2, two on portable
 * (never left to the compiler); reductions are trees of fixed shape; min and max return b when either is NaN. */
#ifndef CPU_SIMD_H
#define CPU_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/num.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#define CPU_INLINE static inline __attribute__((always_inline))
/* Loops over accumulators must vanish, or the accumulators live in memory. Clang unrolls early enough only in full. */
#if defined(__clang__)
#define CPU_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CPU_UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(CPU_AVX512)
/* ---- AVX-512 F, BW, DQ, VL -------------------------------------------------------------------------------------- */
#include <immintrin.h>
#if !defined(__OPTIMIZE__) /* then some intrinsics are macros, and their casts ours */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

enum { VEC = 16 };
typedef __m512 vec;
typedef __m512i veci;
typedef __mmask16 vmask;

CPU_INLINE vec vec_set1(float x) {
    return _mm512_set1_ps(x);
}
CPU_INLINE vec vec_load(const float *p) {
    return _mm512_loadu_ps(p);
}
CPU_INLINE void vec_store(float *p, vec a) {
    _mm512_storeu_ps(p, a);
}
CPU_INLINE vmask vec_first(int n) {
    return (vmask)((1u << n) - 1u);
}
/* The first n lanes (0 ≤ n ≤ VEC); lanes beyond are zero and their memory is not touched. */
CPU_INLINE vec vec_load_n(const float *p, int n) {
    return _mm512_maskz_loadu_ps(vec_first(n), p);
}
CPU_INLINE void vec_store_n(float *p, vec a, int n) {
    _mm512_mask_storeu_ps(p, vec_first(n), a);
}
CPU_INLINE void vec_stream(float *p, vec a) {
    _mm512_stream_ps(p, a);
}
CPU_INLINE vec vec_add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
CPU_INLINE vec vec_sub(vec a, vec b) {
    return _mm512_sub_ps(a, b);
}
CPU_INLINE vec vec_mul(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}
CPU_INLINE vec vec_div(vec a, vec b) {
    return _mm512_div_ps(a, b);
}
CPU_INLINE vec vec_fma(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
CPU_INLINE vec vec_min(vec a, vec b) {
    return _mm512_min_ps(a, b);
}
CPU_INLINE vec vec_max(vec a, vec b) {
    return _mm512_max_ps(a, b);
}
CPU_INLINE vec vec_abs(vec a) {
    return _mm512_abs_ps(a);
}
CPU_INLINE vmask vec_less(vec a, vec b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
/* m ? a : b */
CPU_INLINE vec vec_select(vmask m, vec a, vec b) {
    return _mm512_mask_blend_ps(m, b, a);
}
CPU_INLINE vec vec_round(vec a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n for an integral n. */
CPU_INLINE vec vec_scale2(vec a, vec n) {
    return _mm512_scalef_ps(a, n);
}
CPU_INLINE vec vec_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
/* VEC pairs of bf16: the even elements, the odd ones. */
CPU_INLINE vec vec_load_bf16_even(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
CPU_INLINE vec vec_load_bf16_odd(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0xffff0000u)));
}
CPU_INLINE vec vec_load_bf16(const uint16_t *p) {
    veci wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
#if defined(CPU_DOTS)
/* VEC lanes c + (a1 b1, then + a0 b0) of pairs of bf16: sums rounded to nearest even, subnormals read and written as zero,
 * whatever the rounding mode (Intel's reference, VDPBF16PS). */
CPU_INLINE vec vec_dot_bf16(vec a, vec b, vec c) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}
/* VEC pairs of bf16: 2 · VEC floats in order, rounded to nearest even, subnormals to zero. */
CPU_INLINE vec vec_pair_bf16(vec low, vec high) {
    return (vec)_mm512_cvtne2ps_pbh(high, low);
}
#endif
CPU_INLINE void vec_store_f16(uint16_t *p, vec a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/* Bits in the low half of each lane, rounded to nearest even; NaN stays NaN (as float_to_bf16). */
CPU_INLINE veci vec_bf16_bits(vec a) {
    veci u = _mm512_castps_si512(a);
    veci odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    veci rounded = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    veci quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    vmask nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    return _mm512_srli_epi32(_mm512_mask_blend_epi32(nan, rounded, quiet), 16);
}
CPU_INLINE void vec_store_bf16(uint16_t *p, vec a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(vec_bf16_bits(a)));
}
/* VEC pairs. */
CPU_INLINE void vec_store_bf16_pairs(uint16_t *p, vec even, vec odd) {
    _mm512_storeu_si512(p, _mm512_or_si512(vec_bf16_bits(even), _mm512_slli_epi32(vec_bf16_bits(odd), 16)));
}

#elif defined(CPU_AVX2)
/* ---- AVX2, FMA, F16C --------------------------------------------------------------------------------------------- */
#include <immintrin.h>

enum { VEC = 8 };
typedef __m256 vec;
typedef __m256i veci;
typedef __m256 vmask;

CPU_INLINE vec vec_set1(float x) {
    return _mm256_set1_ps(x);
}
CPU_INLINE vec vec_load(const float *p) {
    return _mm256_loadu_ps(p);
}
CPU_INLINE void vec_store(float *p, vec a) {
    _mm256_storeu_ps(p, a);
}
CPU_INLINE vmask vec_first(int n) {
    veci lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
}
CPU_INLINE vec vec_load_n(const float *p, int n) {
    return _mm256_maskload_ps(p, _mm256_castps_si256(vec_first(n)));
}
CPU_INLINE void vec_store_n(float *p, vec a, int n) {
    _mm256_maskstore_ps(p, _mm256_castps_si256(vec_first(n)), a);
}
CPU_INLINE void vec_stream(float *p, vec a) {
    _mm256_stream_ps(p, a);
}
CPU_INLINE vec vec_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
CPU_INLINE vec vec_sub(vec a, vec b) {
    return _mm256_sub_ps(a, b);
}
CPU_INLINE vec vec_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
CPU_INLINE vec vec_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}
CPU_INLINE vec vec_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
CPU_INLINE vec vec_min(vec a, vec b) {
    return _mm256_min_ps(a, b);
}
CPU_INLINE vec vec_max(vec a, vec b) {
    return _mm256_max_ps(a, b);
}
CPU_INLINE vec vec_abs(vec a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
CPU_INLINE vmask vec_less(vec a, vec b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
CPU_INLINE vec vec_select(vmask m, vec a, vec b) {
    return _mm256_blendv_ps(b, a, m);
}
CPU_INLINE vec vec_round(vec a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* 2^n for |n| ≤ 126. */
CPU_INLINE vec vec_power2(veci n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
CPU_INLINE vec vec_scale2(vec a, vec n) {
    veci i = _mm256_cvtps_epi32(n);
    veci half = _mm256_srai_epi32(i, 1);
    return _mm256_mul_ps(_mm256_mul_ps(a, vec_power2(half)), vec_power2(_mm256_sub_epi32(i, half)));
}
CPU_INLINE vec vec_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
CPU_INLINE vec vec_load_bf16_even(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)p), 16));
}
CPU_INLINE vec vec_load_bf16_odd(const uint16_t *p) {
    veci high = _mm256_set1_epi32((int)0xffff0000u);
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const __m256i *)p), high));
}
CPU_INLINE vec vec_load_bf16(const uint16_t *p) {
    veci wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
CPU_INLINE void vec_store_f16(uint16_t *p, vec a) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
CPU_INLINE veci vec_bf16_bits(vec a) {
    veci u = _mm256_castps_si256(a);
    veci odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    veci rounded = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    vec quiet = _mm256_or_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x400000)));
    vec bits = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), quiet, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_castps_si256(bits), 16);
}
CPU_INLINE void vec_store_bf16(uint16_t *p, vec a) {
    veci high = vec_bf16_bits(a);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)));
}
CPU_INLINE void vec_store_bf16_pairs(uint16_t *p, vec even, vec odd) {
    _mm256_storeu_si256((__m256i *)p, _mm256_or_si256(vec_bf16_bits(even), _mm256_slli_epi32(vec_bf16_bits(odd), 16)));
}

#else
/* ---- portable: the compiler's vectors of four ------------------------------------------------------------------- */
enum { VEC = 4 };
typedef float vec __attribute__((vector_size(16)));
typedef int32_t veci __attribute__((vector_size(16)));
typedef uint32_t vecu __attribute__((vector_size(16)));
typedef uint16_t vech __attribute__((vector_size(8)));
typedef veci vmask;

CPU_INLINE vec vec_set1(float x) {
    return (vec){x, x, x, x};
}
CPU_INLINE veci veci_set1(int32_t x) {
    return (veci){x, x, x, x};
}
CPU_INLINE vec vec_load(const float *p) {
    vec a;
    memcpy(&a, p, sizeof a);
    return a;
}
CPU_INLINE void vec_store(float *p, vec a) {
    memcpy(p, &a, sizeof a);
}
CPU_INLINE vmask vec_first(int n) {
    return (veci){0, 1, 2, 3} < veci_set1(n);
}
CPU_INLINE vec vec_load_n(const float *p, int n) {
    vec a = vec_set1(0.0f);
    for (int i = 0; i < n; i++) a[i] = p[i];
    return a;
}
CPU_INLINE void vec_store_n(float *p, vec a, int n) {
    for (int i = 0; i < n; i++) p[i] = a[i];
}
CPU_INLINE void vec_stream(float *p, vec a) {
    vec_store(p, a);
}
CPU_INLINE vec vec_add(vec a, vec b) {
    return a + b;
}
CPU_INLINE vec vec_sub(vec a, vec b) {
    return a - b;
}
CPU_INLINE vec vec_mul(vec a, vec b) {
    return a * b;
}
CPU_INLINE vec vec_div(vec a, vec b) {
    return a / b;
}
CPU_INLINE vec vec_fma(vec a, vec b, vec c) {
    return vec_add(vec_mul(a, b), c);
}
CPU_INLINE vec vec_select(vmask m, vec a, vec b) {
    return (vec)((m & (veci)a) | (~m & (veci)b));
}
CPU_INLINE vmask vec_less(vec a, vec b) {
    return a < b;
}
CPU_INLINE vec vec_min(vec a, vec b) {
    return vec_select(a < b, a, b);
}
CPU_INLINE vec vec_max(vec a, vec b) {
    return vec_select(a > b, a, b);
}
CPU_INLINE vec vec_abs(vec a) {
    return (vec)((veci)a & veci_set1(0x7fffffff));
}
/* Nearest integer, |a| < 2^22, by the adder's own rounding. */
CPU_INLINE vec vec_round(vec a) {
    vec magic = vec_set1(0x1.8p23f);
    return vec_sub(vec_add(a, magic), magic);
}
CPU_INLINE vec vec_power2(veci n) {
    return (vec)((n + 127) << 23);
}
CPU_INLINE vec vec_scale2(vec a, vec n) {
    veci i = (veci)vec_add(n, vec_set1(0x1.8p23f)) - veci_set1(0x4b400000); /* n as an integer */
    veci half = i >> 1;
    return a * vec_power2(half) * vec_power2(i - half);
}
CPU_INLINE veci vec_load_u16(const uint16_t *p) {
    vech h;
    memcpy(&h, p, sizeof h);
    return __builtin_convertvector(h, veci);
}
CPU_INLINE vec vec_load_f16(const uint16_t *p) {
    veci h = vec_load_u16(p);
    veci sign = (veci)((vecu)(h & 0x8000) << 16);
    veci magnitude = h & 0x7fff;
    vec finite = (vec)(magnitude << 13) * vec_set1(0x1p112f); /* exact, subnormals included */
    veci special = (magnitude << 13) | 0x7f800000;
    return (vec)((veci)vec_select(magnitude >= 0x7c00, (vec)special, finite) | sign);
}
/* Pairs are stored low element first; a big-endian port would swap these two. */
CPU_INLINE vec vec_load_bf16_even(const uint16_t *p) {
    vecu raw;
    memcpy(&raw, p, sizeof raw);
    return (vec)(raw << 16);
}
CPU_INLINE vec vec_load_bf16_odd(const uint16_t *p) {
    vecu raw;
    memcpy(&raw, p, sizeof raw);
    return (vec)(raw & 0xffff0000u);
}
CPU_INLINE vec vec_load_bf16(const uint16_t *p) {
    return (vec)((vecu)vec_load_u16(p) << 16);
}
CPU_INLINE void vec_store_f16(uint16_t *p, vec a) {
    for (int i = 0; i < VEC; i++) p[i] = float_to_f16(a[i]);
}
CPU_INLINE void vec_store_bf16(uint16_t *p, vec a) {
    for (int i = 0; i < VEC; i++) p[i] = float_to_bf16(a[i]);
}
CPU_INLINE void vec_store_bf16_pairs(uint16_t *p, vec even, vec odd) {
    for (int i = 0; i < VEC; i++) {
        p[2 * i] = float_to_bf16(even[i]);
        p[2 * i + 1] = float_to_bf16(odd[i]);
    }
}
#endif

/* ---- shared ------------------------------------------------------------------------------------------------------ */

enum { PANEL_VECS = 16 / VEC }; /* vectors in 16 floats */

CPU_INLINE vec vec_zero(void) {
    return vec_set1(0.0f);
}
/* min(max(n, 0), VEC): how many lanes of a vector lie before an end that is n lanes away. */
CPU_INLINE int vec_lanes(int64_t n) {
    return n <= 0 ? 0 : n >= VEC ? VEC : (int)n;
}
/* Across lanes: lane i and lane i + VEC/2 are joined, then i and i + VEC/4, …: the same tree whatever the data. */
#if defined(CPU_AVX512) || defined(CPU_AVX2)
CPU_INLINE __m128 vec_halve(__m256 a, const bool sum) {
    __m128 low = _mm256_castps256_ps128(a), high = _mm256_extractf128_ps(a, 1);
    return sum ? _mm_add_ps(low, high) : _mm_max_ps(low, high);
}
CPU_INLINE float vec_across(vec a, const bool sum) {
#if defined(CPU_AVX512)
    __m256 low = _mm512_castps512_ps256(a), high = _mm512_extractf32x8_ps(a, 1);
    __m128 four = vec_halve(sum ? _mm256_add_ps(low, high) : _mm256_max_ps(low, high), sum);
#else
    __m128 four = vec_halve(a, sum);
#endif
    __m128 upper = _mm_movehl_ps(four, four);
    __m128 two = sum ? _mm_add_ps(four, upper) : _mm_max_ps(four, upper);
    upper = _mm_shuffle_ps(two, two, 1);
    return _mm_cvtss_f32(sum ? _mm_add_ss(two, upper) : _mm_max_ss(two, upper));
}
#else
CPU_INLINE float vec_across(vec a, const bool sum) {
    float x = sum ? a[0] + a[2] : a[0] > a[2] ? a[0] : a[2];
    float y = sum ? a[1] + a[3] : a[1] > a[3] ? a[1] : a[3];
    return sum ? x + y : x > y ? x : y;
}
#endif
CPU_INLINE float vec_sum(vec a) {
    return vec_across(a, true);
}
CPU_INLINE float vec_largest(vec a) {
    return vec_across(a, false);
}

#endif
