// activation.cuh: what is applied to a finished sum: activations and the soft cap, in fp32.
//
// Every operation is written out with its rounding, so that all kernels that end with an activation give the same bits. The
// forms and polynomials are those of backend/cpu/cpu_math.h; largest relative errors in units of 2^-24: silu 3, gelu_erf
// 7.5, gelu_tanh 5 on [-1, 1] and 19 at -3 (there exp magnifies the rounding of its argument), tanh 2.4. NaN stays NaN.
#pragma once

#include "kernels/device.cuh"
#include "kernels/kernels.h"

namespace dev {

// e^x; 0 below -87.33 (the smallest normal number), infinity above 88.73.
DEV float exp(float x) {
    const float low = -0x1.5d589ep6f, high = 0x1.63p6f, shift = 0x1.8p23f;
    float y = x < low ? low : x > high ? high : x;
    float m = fma(y, 0x1.715476p0f, shift); // its low bits are n, the integer nearest to y / ln 2
    float n = sub(m, shift);
    float r = fma(n, -0x1.62e4p-1f, y); // ln 2 in two parts, the first of 14 bits: exact products
    r = fma(n, -0x1.7f7d1cp-20f, r);
    float p = 1.9875691500e-4f;
    p = fma(p, r, 1.3981999507e-3f);
    p = fma(p, r, 8.3334519073e-3f);
    p = fma(p, r, 4.1665795894e-2f);
    p = fma(p, r, 1.6666665459e-1f);
    p = fma(p, r, 5.0000001201e-1f);
    p = add(fma(mul(r, r), p, r), 1.0f);
    // 2^n in two factors, as n may be 128. m's low bits are n + 2^22.
    uint32_t k = bits(m) & 0x7FFFFFu, half = k >> 1;
    const uint32_t bias = 127u - (1u << 21);
    float e = mul(mul(p, from_bits((half + bias) << 23)), from_bits((k - half + bias) << 23));
    return x < low ? 0.0f : e;
}

// An odd polynomial near zero, 1 - 2 / (e^2x + 1) beyond.
DEV float tanh(float x) {
    float a = x < 0.0f ? -x : x;
    if (a < 0.625f) {
        float s = mul(x, x);
        float p = -5.70498872745e-3f;
        p = fma(p, s, 2.06390887954e-2f);
        p = fma(p, s, -5.37397155531e-2f);
        p = fma(p, s, 1.33314422036e-1f);
        p = fma(p, s, -3.33332819422e-1f);
        return fma(mul(p, s), x, x);
    }
    float y = sub(1.0f, div(2.0f, add(exp(add(a, a)), 1.0f)));
    return x < 0.0f ? -y : y;
}

// x / (1 + e^-x)
DEV float silu(float x) {
    return div(x, add(1.0f, exp(-x)));
}

// x / 2 (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3): the second form loses nothing for x < 0.
DEV float gelu_tanh(float x) {
    float u = mul(mul(x, -1.5957691216057308f), fma(mul(x, x), 0.044715f, 1.0f));
    return div(x, add(1.0f, exp(u)));
}

// x Φ(x). Φ(-a) = e^(-a²/2) t g(t), t = 1 / (1 + 0.3 a), g by Chebyshev interpolation on a <= 14.5 (4e-9 relative); the
// rounding error of a² is put back, so the tail keeps its relative precision.
DEV float gelu_erf(float x) {
    float a = x < 0.0f ? -x : x;
    a = a > 14.5f ? 14.5f : a;
    float t = div(1.0f, fma(a, 0.3f, 1.0f));
    float g = -2.095602424e-02f;
    g = fma(g, t, 1.142574529e-01f);
    g = fma(g, t, -2.325244073e-01f);
    g = fma(g, t, 1.975505846e-01f);
    g = fma(g, t, -8.421348152e-02f);
    g = fma(g, t, 9.871138235e-02f);
    g = fma(g, t, 7.751790107e-02f);
    g = fma(g, t, 1.104184111e-01f);
    g = fma(g, t, 1.195504315e-01f);
    g = fma(g, t, 1.196877477e-01f);
    float square = mul(a, a), rest = fma(a, a, -square);
    float e = exp(mul(square, -0.5f));
    e = fma(mul(rest, -0.5f), e, e);
    float below = mul(mul(e, t), g); // Φ(-a)
    return mul(x, x < 0.0f ? below : sub(1.0f, below));
}

} // namespace dev

template <enum kernel_activation ACTIVATION> DEV float activate(float x) {
    if constexpr (ACTIVATION == KERNEL_GELU_ERF) return dev::gelu_erf(x);
    if constexpr (ACTIVATION == KERNEL_GELU_TANH) return dev::gelu_tanh(x);
    if constexpr (ACTIVATION == KERNEL_SILU) return dev::silu(x);
    if constexpr (ACTIVATION == KERNEL_RELU) return x <= 0.0f ? 0.0f : x;
    return x;
}

// The same by a value that is the same in the whole block.
DEV float activate(enum kernel_activation activation, float x) {
    switch (activation) {
    case KERNEL_GELU_ERF: return activate<KERNEL_GELU_ERF>(x);
    case KERNEL_GELU_TANH: return activate<KERNEL_GELU_TANH>(x);
    case KERNEL_SILU: return activate<KERNEL_SILU>(x);
    case KERNEL_RELU: return activate<KERNEL_RELU>(x);
    default: return x;
    }
}

// c tanh(x / c)
DEV float softcap(float x, float cap) {
    return dev::mul(dev::tanh(dev::div(x, cap)), cap);
}
