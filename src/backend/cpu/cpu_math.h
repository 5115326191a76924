/* cpu_math.h: exp and what is made of it, on vectors. Largest relative errors against double precision, in units of
 * 2^-24 (half an ulp to an ulp), found by sweeping [-88, 88]: exp 1.4, tanh 2.4, silu 3, gelu_erf 7.5 (portable, which
 * cannot see the rounding of a square: 70 in the tail near -12). gelu_tanh 5 on [-1, 1], 19 at -3, 220 at -10, where the
 * result is 10^-25: there exp magnifies the rounding of its argument. */
#ifndef CPU_MATH_H
#define CPU_MATH_H

#include <math.h>

#include "backend/backend.h"
#include "backend/cpu/cpu_simd.h"

/* e^x; 0 below -87.33 (the smallest normal number), infinity above 88.73, NaN for NaN. */
CPU_INLINE vec vec_exp(vec x) {
    const vec low = vec_set1(-0x1.5d589ep6f), high = vec_set1(0x1.63p6f);
    vec y = vec_max(low, vec_min(high, x));
    vec n = vec_round(vec_mul(y, vec_set1(0x1.715476p0f)));
    vec r = vec_fma(n, vec_set1(-0x1.62e4p-1f), y); /* ln 2 in two parts, the first of 14 bits: exact products */
    r = vec_fma(n, vec_set1(-0x1.7f7d1cp-20f), r);
    vec p = vec_set1(1.9875691500e-4f);
    p = vec_fma(p, r, vec_set1(1.3981999507e-3f));
    p = vec_fma(p, r, vec_set1(8.3334519073e-3f));
    p = vec_fma(p, r, vec_set1(4.1665795894e-2f));
    p = vec_fma(p, r, vec_set1(1.6666665459e-1f));
    p = vec_fma(p, r, vec_set1(5.0000001201e-1f));
    p = vec_add(vec_fma(vec_mul(r, r), p, r), vec_set1(1.0f));
    return vec_select(vec_less(x, low), vec_zero(), vec_scale2(p, n));
}

/* An odd polynomial near zero, 1 - 2 / (e^2x + 1) beyond. */
CPU_INLINE vec vec_tanh(vec x) {
    vec a = vec_abs(x), s = vec_mul(x, x);
    vec p = vec_set1(-5.70498872745e-3f);
    p = vec_fma(p, s, vec_set1(2.06390887954e-2f));
    p = vec_fma(p, s, vec_set1(-5.37397155531e-2f));
    p = vec_fma(p, s, vec_set1(1.33314422036e-1f));
    p = vec_fma(p, s, vec_set1(-3.33332819422e-1f));
    vec small = vec_fma(vec_mul(p, s), x, x);
    vec e = vec_exp(vec_add(a, a));
    vec large = vec_sub(vec_set1(1.0f), vec_div(vec_set1(2.0f), vec_add(e, vec_set1(1.0f))));
    large = vec_select(vec_less(x, vec_zero()), vec_sub(vec_zero(), large), large);
    return vec_select(vec_less(a, vec_set1(0.625f)), small, large);
}

/* x / (1 + e^-x) */
CPU_INLINE vec vec_silu(vec x) {
    return vec_div(x, vec_add(vec_set1(1.0f), vec_exp(vec_sub(vec_zero(), x))));
}

/* 0.5 x (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3): the second form loses nothing for x < 0. */
CPU_INLINE vec vec_gelu_tanh(vec x) {
    vec s = vec_mul(x, x);
    vec u = vec_mul(vec_mul(x, vec_set1(-1.5957691216057308f)), vec_fma(s, vec_set1(0.044715f), vec_set1(1.0f)));
    return vec_div(x, vec_add(vec_set1(1.0f), vec_exp(u)));
}

/* x Φ(x). Φ(-a) = e^(-a²/2) t g(t), t = 1 / (1 + 0.3 a), g by Chebyshev interpolation on a ≤ 14.5 (4e-9 relative); the
 * rounding error of a² is put back, so the tail keeps its relative precision. */
CPU_INLINE vec vec_gelu_erf(vec x) {
    vec one = vec_set1(1.0f), a = vec_min(vec_abs(x), vec_set1(14.5f));
    vec t = vec_div(one, vec_fma(a, vec_set1(0.3f), one));
    vec g = vec_set1(-2.095602424e-02f);
    g = vec_fma(g, t, vec_set1(1.142574529e-01f));
    g = vec_fma(g, t, vec_set1(-2.325244073e-01f));
    g = vec_fma(g, t, vec_set1(1.975505846e-01f));
    g = vec_fma(g, t, vec_set1(-8.421348152e-02f));
    g = vec_fma(g, t, vec_set1(9.871138235e-02f));
    g = vec_fma(g, t, vec_set1(7.751790107e-02f));
    g = vec_fma(g, t, vec_set1(1.104184111e-01f));
    g = vec_fma(g, t, vec_set1(1.195504315e-01f));
    g = vec_fma(g, t, vec_set1(1.196877477e-01f));
    vec square = vec_mul(a, a);
    vec rest = vec_fma(a, a, vec_sub(vec_zero(), square));
    vec e = vec_exp(vec_mul(square, vec_set1(-0.5f)));
    e = vec_fma(vec_mul(rest, vec_set1(-0.5f)), e, e);
    vec below = vec_mul(vec_mul(e, t), g); /* Φ(-a) */
    return vec_mul(x, vec_select(vec_less(x, vec_zero()), below, vec_sub(one, below)));
}

CPU_INLINE vec vec_activate(enum activation activation, vec x) {
    switch (activation) {
    case ACT_NONE: return x;
    case ACT_GELU_ERF: return vec_gelu_erf(x);
    case ACT_GELU_TANH: return vec_gelu_tanh(x);
    case ACT_SILU: return vec_silu(x);
    case ACT_RELU: return vec_max(vec_zero(), x);
    }
    return x;
}

/* c tanh(x / c) */
CPU_INLINE vec vec_softcap(vec x, float cap) {
    return vec_mul(vec_tanh(vec_div(x, vec_set1(cap))), vec_set1(cap));
}

#endif
