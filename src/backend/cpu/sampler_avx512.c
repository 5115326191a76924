/* sampler_avx512.c: the sampler's loops on 512-bit vectors. The loops are in sampler_simd.h; this file says what a vector
 * is. */
#if defined(__x86_64__)
#include <immintrin.h>
#if !defined(__OPTIMIZE__) /* then some intrinsics are macros, and their casts ours */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

#include "backend/cpu/sampler_internal.h"

#define SIMD __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#define OP   static inline __attribute__((always_inline, target("avx512f,avx512dq,avx512bw,avx512vl")))

enum { WIDTH = 16 };
typedef __m512 vf;    /* WIDTH floats */
typedef __m512i vi;   /* WIDTH int32, or WIDTH / 2 uint64 */
typedef __mmask16 vm; /* a condition for each of WIDTH */

OP vf vf_set(float x) {
    return _mm512_set1_ps(x);
}
OP vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}
OP vf vf_load_part(const float *p, int32_t n, float rest) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(rest), (__mmask16)((1u << n) - 1), p);
}
OP void vf_store(float *p, vf x) {
    _mm512_storeu_ps(p, x);
}
OP void vf_store_part(float *p, vf x, int32_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x);
}
OP vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
OP vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
OP vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
OP vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* b when either is NaN */
OP vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
OP vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
OP float vf_largest(vf x) {
    return _mm512_reduce_max_ps(x);
}
OP vf vf_abs(vf x) {
    return _mm512_abs_ps(x);
}
OP vf vf_choose(vm m, vf yes, vf no) {
    return _mm512_mask_blend_ps(m, no, yes);
}
OP vm vf_equal(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
OP vm vf_greater(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
OP vm vf_at_least(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}
OP vm vf_is_nan(vf a) {
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
/* NaN, -0, -inf */
OP vm vf_special(vf a) {
    return _mm512_fpclass_ps_mask(a, 0x01 | 0x80 | 0x04 | 0x10);
}
OP vi vf_bits(vf x) {
    return _mm512_castps_si512(x);
}
OP vi vf_truncate(vf x) {
    return _mm512_cvttps_epi32(x);
}

OP vm vm_and(vm a, vm b) {
    return a & b;
}
OP vm vm_or(vm a, vm b) {
    return a | b;
}
OP uint32_t vm_bits(vm m) {
    return m;
}

OP vi vi_set(int32_t x) {
    return _mm512_set1_epi32(x);
}
OP vi vi_set64(uint64_t x) {
    return _mm512_set1_epi64((long long)x);
}
OP vi vi_load(const void *p) {
    return _mm512_loadu_si512(p);
}
OP vi vi_load_part(const void *p, int32_t n) {
    return _mm512_maskz_loadu_epi32((__mmask16)((1u << n) - 1), p);
}
OP void vi_store(void *p, vi x) {
    _mm512_storeu_si512(p, x);
}
OP vi vi_ascending(void) {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
OP vi vi_add(vi a, vi b) {
    return _mm512_add_epi32(a, b);
}
OP vi vi_add64(vi a, vi b) {
    return _mm512_add_epi64(a, b);
}
OP vi vi_and(vi a, vi b) {
    return _mm512_and_si512(a, b);
}
OP vi vi_xor(vi a, vi b) {
    return _mm512_xor_si512(a, b);
}
OP vi vi_xor3(vi a, vi b, vi c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}
OP vi vi_sign(vi a) {
    return _mm512_srai_epi32(a, 31);
}
OP vi vi_right(vi a, int bits) {
    return _mm512_srli_epi32(a, (unsigned)bits);
}
OP vi vi_right64(vi a, int bits) {
    return _mm512_srli_epi64(a, (unsigned)bits);
}
OP vi vi_left64(vi a, int bits) {
    return _mm512_slli_epi64(a, (unsigned)bits);
}
OP vi vi_right64_each(vi a, vi bits) {
    return _mm512_srlv_epi64(a, bits);
}
/* lower halves of uint64 lanes */
OP vi vi_product(vi a, vi b) {
    return _mm512_mul_epu32(a, b);
}
/* upper halves, moved down */
OP vi vi_high(vi a) {
    return _mm512_shuffle_epi32(a, (_MM_PERM_ENUM)0xF5);
}
OP vm vi_at_most(vi a, vi b) {
    return _mm512_cmple_epi32_mask(a, b);
}
OP vf vi_float(vi a) {
    return _mm512_cvtepi32_ps(a);
}
/* lower halves of both, interleaved */
OP vi vi_pair(vi even, vi odd) {
    return _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, (_MM_PERM_ENUM)0xA0);
}
OP vi vi_unpack_low(vi a, vi b) {
    return _mm512_unpacklo_epi64(a, b);
}
OP vi vi_unpack_high(vi a, vi b) {
    return _mm512_unpackhi_epi64(a, b);
}
OP uint64_t vi_sum64(vi a) {
    return (uint64_t)_mm512_reduce_add_epi64(a);
}
OP vi vi_gather(const void *base, vi index) {
    return _mm512_i32gather_epi32(index, base, 4);
}
OP vf vf_gather(const float *base, vi index) {
    return _mm512_i32gather_ps(index, base, 4);
}

/* Writes the chosen lanes one after the other; up to WIDTH lanes may be written. */
OP void vf_pack(float *p, vm m, vf x) {
    _mm512_storeu_ps(p, _mm512_maskz_compress_ps(m, x));
}
OP void vi_pack(int32_t *p, vm m, vi x) {
    _mm512_storeu_si512(p, _mm512_maskz_compress_epi32(m, x));
}

/* Which Philox block lies in which uint64 lane, so that unpacking gives words in the order of ids. */
static const uint8_t lane_of_block[WIDTH / 2] = {0, 2, 4, 6, 1, 3, 5, 7};
OP vi blocks_ascending(void) {
    return _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
}

#define KERNELS      sampler_avx512
#define KERNELS_NAME "avx512"
#include "backend/cpu/sampler_simd.h"
#endif
