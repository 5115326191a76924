/* draw_math.h: the arithmetic of sampling. Freestanding: the CPU and the CUDA kernels compile this very text, and all of
 * it is integer or single IEEE operations in one fixed order, so equal scores give equal results everywhere. The draw's
 * meaning (which step uses what) is in backend/cpu/sampler.h.
 *
 * Nothing may be contracted into a multiply-add unless DRAW_FMA says so: the build has -ffp-contract=off, and device code
 * uses the rounding intrinsics below. Denormals are kept (no flush to zero). */
#ifndef BASE_DRAW_MATH_H
#define BASE_DRAW_MATH_H

#include <stdint.h>

#include "base/philox.h"

#define DRAW_INLINE PHILOX_INLINE

#ifdef __CUDA_ARCH__
#define DRAW_MUL(a, b)    __fmul_rn(a, b)
#define DRAW_ADD(a, b)    __fadd_rn(a, b)
#define DRAW_SUB(a, b)    __fsub_rn(a, b)
#define DRAW_DIV(a, b)    __fdiv_rn(a, b)
#define DRAW_FMA(a, b, c) __fmaf_rn(a, b, c)
#define DRAW_BITS(x)      __float_as_uint(x)
#define DRAW_FLOAT(u)     __uint_as_float(u)
#else
#include <math.h>
#include <string.h>
#define DRAW_MUL(a, b)    ((a) * (b))
#define DRAW_ADD(a, b)    ((a) + (b))
#define DRAW_SUB(a, b)    ((a) - (b))
#define DRAW_DIV(a, b)    ((a) / (b))
#define DRAW_FMA(a, b, c) fmaf(a, b, c)
#define DRAW_BITS(x)      draw_bits(x)
#define DRAW_FLOAT(u)     draw_float(u)
DRAW_INLINE uint32_t draw_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
DRAW_INLINE float draw_float(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
#endif

/* ---- scores and their order ----------------------------------------------------------------------------------- */

#define DRAW_NEGATIVE_INFINITY DRAW_FLOAT(0xFF800000u)

/* A logit as a score: NaN becomes -inf, -0 becomes +0. */
DRAW_INLINE float draw_clean(float x) {
    return x != x ? DRAW_NEGATIVE_INFINITY : DRAW_ADD(x, 0.0f);
}

/* Monotone u32 key of a clean score: flip all bits of negatives, set the sign bit of the rest.
 * -inf has DRAW_KEY_BANNED, +inf DRAW_KEY_INFINITY; no clean score lies outside. */
#define DRAW_KEY_BANNED   0x007FFFFFu
#define DRAW_KEY_INFINITY 0xFF800000u
DRAW_INLINE uint32_t draw_key(float score) {
    uint32_t u = DRAW_BITS(score);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}
DRAW_INLINE float draw_unkey(uint32_t key) {
    return DRAW_FLOAT(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

/* The total order (score descending, id ascending) as one number, larger first. Ranks of one row are distinct. */
DRAW_INLINE uint64_t draw_rank(float score, int32_t id) {
    return (uint64_t)draw_key(score) << 32 | (uint32_t) ~(uint32_t)id;
}

/* ---- weights -------------------------------------------------------------------------------------------------- */

/* How far below the best: 0 when equal (inf - inf would be NaN), +inf below an infinite best. */
DRAW_INLINE float draw_distance(float best, float score) {
    return score == best ? 0.0f : DRAW_SUB(best, score);
}

/* 2^g for g in (0, 1]: minimax polynomial of degree 5, relative error 7.5e-8; stays in (1, 2). */
#define DRAW_LOG2E           1.44269504f
#define DRAW_EXP2_C0         0.9999999251f
#define DRAW_EXP2_C1         0.6931530732f
#define DRAW_EXP2_C2         0.2401536170f
#define DRAW_EXP2_C3         0.0558263181f
#define DRAW_EXP2_C4         0.0089893401f
#define DRAW_EXP2_C5         0.0018775767f
#define DRAW_WEIGHT_MAX_LOG2 40 /* draw_weight(0) is just below 2^40 */

DRAW_INLINE float draw_exp2(float g) {
    float q = DRAW_FMA(DRAW_EXP2_C5, g, DRAW_EXP2_C4);
    q = DRAW_FMA(q, g, DRAW_EXP2_C3);
    q = DRAW_FMA(q, g, DRAW_EXP2_C2);
    q = DRAW_FMA(q, g, DRAW_EXP2_C1);
    return DRAW_FMA(q, g, DRAW_EXP2_C0);
}

/* 2^40 exp(-d), cut to an integer; d >= 0 or +inf. With t = d log2(e) = n + f: 2^-t = 2^(1-f) / 2^(n+1), the mantissa in
 * 30 fraction bits. Relative error below 1.0e-6 plus the cut; 0 from t = 40 on (exp(-27.7)). 2^22 weights sum below
 * 2^62. */
DRAW_INLINE uint64_t draw_weight(float d) {
    float t = DRAW_MUL(d, DRAW_LOG2E);
    if (!(t < 40.0f)) return 0;
    uint32_t n = (uint32_t)t;
    float g = DRAW_SUB(1.0f, DRAW_SUB(t, (float)n)); /* in (0, 1] */
    uint32_t mantissa = (uint32_t)DRAW_MUL(draw_exp2(g), 0x1p30f);
    return ((uint64_t)mantissa << 10) >> (n + 1);
}

/* The product's upper 64 bits. */
DRAW_INLINE uint64_t draw_mulhi(uint64_t a, uint64_t b) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    uint64_t cross = a0 * b1 + (uint32_t)middle;
    return a1 * b1 + (middle >> 32) + (cross >> 32);
}

/* floor(p 2^64) for 0 <= p < 1; exact, a float has 24 bits. */
DRAW_INLINE uint64_t draw_fraction(float p) {
    return (uint64_t)DRAW_MUL(p, 0x1p64f);
}

/* The mass that a cut must reach: max(1, floor(total p)). */
DRAW_INLINE uint64_t draw_target(uint64_t total, uint64_t fraction) {
    uint64_t target = draw_mulhi(total, fraction);
    return target > 0 ? target : 1;
}

/* The mean of d under the weights, for typical_p and the entropy. A token adds
 *     high += (w >> 16) * D    low += (w & 65535) * D    with D = draw_fixed(d), only when w > 0.
 * w D stays below 2^40 2^19 / e because x exp(-x) <= 1/e, hence high < 2^41.6 and low < 2^40 a token, and 2^22 tokens fit
 * 64 bits. Cutting d to 2^-19 costs at most 1.9e-6. Both products are exact, so contraction would change nothing. */
DRAW_INLINE uint32_t draw_fixed(float d) {
    return (uint32_t)DRAW_MUL(d, 0x1p19f);
}
DRAW_INLINE double draw_mean_distance(uint64_t high, uint64_t low, uint64_t total) {
    return ((double)high * 65536.0 + (double)low) / ((double)total * 524288.0);
}

/* How untypical a token is: |d - mean|. Ranked ascending, so its score is the negative (never -0). */
DRAW_INLINE float draw_typicality(float d, float mean) {
    float t = DRAW_SUB(d, mean);
    return DRAW_SUB(0.0f, t < 0.0f ? -t : t);
}

/* ---- logarithm and power -------------------------------------------------------------------------------------- */

/* log1p(m) = m + m^2 P(m) on [-1/4, 1/2]: minimax in relative error, 6.5e-8 with these rounded coefficients
 * (Remez exchange, low orders rounded first and the rest solved again). */
#define DRAW_LOG_C0 -0x1.000014p-1f
#define DRAW_LOG_C1 0x1.5557f0p-2f
#define DRAW_LOG_C2 -0x1.ffe50ep-3f
#define DRAW_LOG_C3 0x1.98652cp-3f
#define DRAW_LOG_C4 -0x1.56701ap-3f
#define DRAW_LOG_C5 0x1.393c0ep-3f
#define DRAW_LOG_C6 -0x1.13921cp-3f
#define DRAW_LOG_C7 0x1.126c04p-4f
#define DRAW_LN2    0x1.62e430p-1f
DRAW_INLINE float draw_log1p(float m) {
    float p = DRAW_FMA(DRAW_LOG_C7, m, DRAW_LOG_C6);
    p = DRAW_FMA(p, m, DRAW_LOG_C5);
    p = DRAW_FMA(p, m, DRAW_LOG_C4);
    p = DRAW_FMA(p, m, DRAW_LOG_C3);
    p = DRAW_FMA(p, m, DRAW_LOG_C2);
    p = DRAW_FMA(p, m, DRAW_LOG_C1);
    p = DRAW_FMA(p, m, DRAW_LOG_C0);
    return DRAW_FMA(p, DRAW_MUL(m, m), m);
}

/* ln x of a normal x > 0. x = 2^k (1 + m) with 1 + m in [3/4, 3/2), so ln x = k ln 2 + log1p(m). Relative error below
 * 2e-7, near 1 too: k is 0 there. */
DRAW_INLINE float draw_log(float x) {
    uint32_t u = DRAW_BITS(x);
    int32_t k = (int32_t)((u + 0x00C00000u) >> 23) - 128; /* 3/4 is 0x3F400000 = 0x40000000 - 0x00C00000 */
    float m = DRAW_SUB(DRAW_FLOAT(u - ((uint32_t)k << 23)), 1.0f);
    return DRAW_FMA((float)k, DRAW_LN2, draw_log1p(m));
}

/* x^e for e > 0 and x in [0, 1]; below it is 0, above it is 1. exp(e ln x) by draw_exp2 as in draw_weight, 0 below
 * 2^-126. Relative error below 1e-6 where the power is above 0.01, below 1.5e-5 anywhere. */
DRAW_INLINE float draw_power(float x, float e) {
    if (x >= 1.0f) return 1.0f;
    if (!(x > 0.0f)) return 0.0f;
    if (e == 1.0f) return x;
    float t = DRAW_MUL(DRAW_MUL(e, -draw_log(x)), DRAW_LOG2E);
    if (!(t < 126.0f)) return 0.0f;
    uint32_t n = (uint32_t)t;
    float g = DRAW_SUB(1.0f, DRAW_SUB(t, (float)n)); /* in (0, 1] */
    return DRAW_MUL(draw_exp2(g), DRAW_FLOAT((126u - n) << 23));
}

/* What dynatemp multiplies the scores with: 1 / T, T = least + spread (H / log count)^exponent. H = E[d] + log Z by the
 * sums of the weights of the `count` tokens that are left, as above; Z is in units of the best token's weight. One token
 * has no entropy to measure, and none at all no sums: 1. */
DRAW_INLINE float draw_dynatemp(uint64_t high, uint64_t low, uint64_t total, uint32_t count, float least, float spread,
                                float exponent) {
    if (count < 2) return 1.0f;
    float mean = (float)draw_mean_distance(high, low, total);
    float entropy = DRAW_ADD(mean, draw_log(DRAW_MUL((float)total, 0x1p-40f)));
    float share = draw_power(DRAW_DIV(entropy, draw_log((float)count)), exponent);
    return DRAW_DIV(1.0f, DRAW_ADD(least, DRAW_MUL(spread, share)));
}

/* ---- the exponential race ------------------------------------------------------------------------------------- */

/* Purposes keep the streams of other consumers apart; the draw of a token has 0. */
#define DRAW_PURPOSE_TOKEN 0u

/* One Philox call serves the four ids 4 block … 4 block + 3. */
DRAW_INLINE struct philox_words draw_words(uint64_t seed, int32_t position, int32_t sample, uint32_t block) {
    return philox4x32((uint32_t)seed, (uint32_t)(seed >> 32), block, (uint32_t)position, (uint32_t)sample,
                      DRAW_PURPOSE_TOKEN);
}
DRAW_INLINE uint32_t draw_word(uint64_t seed, int32_t position, int32_t sample, int32_t id) {
    return draw_words(seed, position, sample, (uint32_t)id >> 2).w[id & 3];
}

/* v = (x + 1/2) 2^-32 rounded once to fp32: both halves of x are exact, their sum rounds, the scaling is exact.
 * Never 0; 1 for the 128 largest words. */
DRAW_INLINE float draw_variate(uint32_t x) {
    float high = DRAW_MUL((float)(x >> 16), 65536.0f);
    float low = DRAW_ADD((float)(x & 0xFFFFu), 0.5f);
    return DRAW_MUL(DRAW_ADD(high, low), 0x1p-32f);
}

/* e = -log1p(-v) for 0 < v < 1: exponentially distributed when v is uniform. 1 - v = 2^-k (1 + m) with 1 + m in
 * [3/4, 3/2), so e = k ln 2 - log1p(m). For v <= 1/4 k is 0 and m = -v exactly: small e, which are the winners, keep v's
 * full precision, as -log of a uniform would not. Relative error below 1.6e-7 (tests/sampler/test_draw_math.c). */
DRAW_INLINE float draw_exponential(float v) {
    uint32_t u = DRAW_BITS(DRAW_SUB(1.0f, v));
    uint32_t k = (0x3F400000u + 0x7FFFFFu - u) >> 23; /* 3/4 is 0x3F400000 */
    float scale = DRAW_FLOAT((127u + k) << 23);       /* 2^k */
    float m = DRAW_SUB(DRAW_SUB(scale, 1.0f), DRAW_MUL(v, scale));
    return DRAW_FMA((float)k, DRAW_LN2, -draw_log1p(m));
}

/* Larger wins. Positive and finite; the words that round to v = 1 (e would be infinite) score 0, worst of all.
 *
 * Bias of 32-bit words, n equal weights: the least word of n is shared by a second token with probability about n 2^-32,
 * and then the lower id wins. Token i of n wins with probability (1/n) (1 + (n/2 - i) 2^-32) to first order, so at
 * n = 2^18 no probability is off by more than 2^-15 = 3.1e-5 of itself, at 2^20 tokens 1.2e-4. Tokens less likely than
 * 2^-32 are distorted, which no sample can show. */
DRAW_INLINE float draw_race_score(uint64_t weight, uint32_t word) {
    float v = draw_variate(word);
    if (v >= 1.0f) return 0.0f;
    return DRAW_DIV((float)weight, draw_exponential(v));
}

#endif
