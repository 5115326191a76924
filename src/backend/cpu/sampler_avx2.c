/* sampler_avx2.c: the sampler's loops on 256-bit vectors. The loops are in sampler_simd.h; this file says what a vector
 * is. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "backend/cpu/sampler_internal.h"

#define SIMD __attribute__((target("avx2,fma,bmi2")))
#define OP   static inline __attribute__((always_inline, target("avx2,fma,bmi2")))

enum { WIDTH = 8 };
typedef __m256 vf;  /* WIDTH floats */
typedef __m256i vi; /* WIDTH int32, or WIDTH / 2 uint64 */
typedef __m256 vm;  /* a condition for each of WIDTH: all bits or none */

/* first_lanes + 8 - n: a mask of the first n lanes. */
static const int32_t first_lanes[2 * WIDTH] = {-1, -1, -1, -1, -1, -1, -1, -1};
OP __m256i part_mask(int32_t n) {
    return _mm256_loadu_si256((const __m256i *)(first_lanes + WIDTH - n));
}

OP vf vf_set(float x) {
    return _mm256_set1_ps(x);
}
OP vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}
OP vf vf_load_part(const float *p, int32_t n, float rest) {
    __m256i mask = part_mask(n);
    return _mm256_blendv_ps(_mm256_set1_ps(rest), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
OP void vf_store(float *p, vf x) {
    _mm256_storeu_ps(p, x);
}
OP void vf_store_part(float *p, vf x, int32_t n) {
    _mm256_maskstore_ps(p, part_mask(n), x);
}
OP vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
OP vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
OP vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
OP vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
/* b when either is NaN */
OP vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
OP vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
OP float vf_largest(vf x) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
OP vf vf_abs(vf x) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
OP vf vf_choose(vm m, vf yes, vf no) {
    return _mm256_blendv_ps(no, yes, m);
}
OP vm vf_equal(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
OP vm vf_greater(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}
OP vm vf_at_least(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_GE_OQ);
}
OP vm vf_is_nan(vf a) {
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}
/* NaN, -0, -inf */
OP vm vf_special(vf a) {
    __m256i zero = _mm256_cmpeq_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(INT32_MIN));
    return _mm256_or_ps(_mm256_castsi256_ps(zero), _mm256_cmp_ps(a, _mm256_set1_ps(-INFINITY), _CMP_NGT_UQ));
}
OP vi vf_bits(vf x) {
    return _mm256_castps_si256(x);
}
OP vi vf_truncate(vf x) {
    return _mm256_cvttps_epi32(x);
}

OP vm vm_and(vm a, vm b) {
    return _mm256_and_ps(a, b);
}
OP vm vm_or(vm a, vm b) {
    return _mm256_or_ps(a, b);
}
OP uint32_t vm_bits(vm m) {
    return (uint32_t)_mm256_movemask_ps(m);
}

OP vi vi_set(int32_t x) {
    return _mm256_set1_epi32(x);
}
OP vi vi_set64(uint64_t x) {
    return _mm256_set1_epi64x((long long)x);
}
OP vi vi_load(const void *p) {
    return _mm256_loadu_si256(p);
}
OP vi vi_load_part(const void *p, int32_t n) {
    return _mm256_maskload_epi32(p, part_mask(n));
}
OP void vi_store(void *p, vi x) {
    _mm256_storeu_si256(p, x);
}
OP vi vi_ascending(void) {
    return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}
OP vi vi_add(vi a, vi b) {
    return _mm256_add_epi32(a, b);
}
OP vi vi_add64(vi a, vi b) {
    return _mm256_add_epi64(a, b);
}
OP vi vi_and(vi a, vi b) {
    return _mm256_and_si256(a, b);
}
OP vi vi_xor(vi a, vi b) {
    return _mm256_xor_si256(a, b);
}
OP vi vi_xor3(vi a, vi b, vi c) {
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
}
OP vi vi_sign(vi a) {
    return _mm256_srai_epi32(a, 31);
}
OP vi vi_right(vi a, int bits) {
    return _mm256_srli_epi32(a, bits);
}
OP vi vi_right64(vi a, int bits) {
    return _mm256_srli_epi64(a, bits);
}
OP vi vi_left64(vi a, int bits) {
    return _mm256_slli_epi64(a, bits);
}
OP vi vi_right64_each(vi a, vi bits) {
    return _mm256_srlv_epi64(a, bits);
}
/* lower halves of uint64 lanes */
OP vi vi_product(vi a, vi b) {
    return _mm256_mul_epu32(a, b);
}
/* upper halves, moved down */
OP vi vi_high(vi a) {
    return _mm256_srli_epi64(a, 32);
}
/* not a > b */
OP vm vi_at_most(vi a, vi b) {
    return _mm256_castsi256_ps(_mm256_xor_si256(_mm256_cmpgt_epi32(a, b), _mm256_set1_epi32(-1)));
}
OP vf vi_float(vi a) {
    return _mm256_cvtepi32_ps(a);
}
/* lower halves of both, interleaved */
OP vi vi_pair(vi even, vi odd) {
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}
OP vi vi_unpack_low(vi a, vi b) {
    return _mm256_unpacklo_epi64(a, b);
}
OP vi vi_unpack_high(vi a, vi b) {
    return _mm256_unpackhi_epi64(a, b);
}
OP uint64_t vi_sum64(vi a) {
    __m128i sum = _mm_add_epi64(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum)));
}
OP vi vi_gather(const void *base, vi index) {
    return _mm256_i32gather_epi32(base, index, 4);
}
OP vf vf_gather(const float *base, vi index) {
    return _mm256_i32gather_ps(base, index, 4);
}

/* The chosen lanes first, in their order: bits of the mask to bytes, and those select from 7 … 0. */
OP vi packing(vm m) {
    uint64_t bytes = _pdep_u64(vm_bits(m), 0x0101010101010101u) * 0xFF;
    uint64_t lanes = _pext_u64(0x0706050403020100u, bytes);
    return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)lanes));
}
/* Writes the chosen lanes one after the other; up to WIDTH lanes may be written. */
OP void vf_pack(float *p, vm m, vf x) {
    _mm256_storeu_ps(p, _mm256_permutevar8x32_ps(x, packing(m)));
}
OP void vi_pack(int32_t *p, vm m, vi x) {
    vi_store(p, _mm256_permutevar8x32_epi32(x, packing(m)));
}

/* Which Philox block lies in which uint64 lane, so that unpacking gives words in the order of ids. */
static const uint8_t lane_of_block[WIDTH / 2] = {0, 2, 1, 3};
OP vi blocks_ascending(void) {
    return _mm256_setr_epi64x(0, 2, 1, 3);
}

#define KERNELS      sampler_avx2
#define KERNELS_NAME "avx2"
#include "backend/cpu/sampler_simd.h"
#endif
