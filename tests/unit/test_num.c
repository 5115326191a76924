/* test_num.c: every 16-bit float against the compiler's and against arithmetic; checked integers. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/num.h"

/* The value of a binary16 by its definition. */
static double f16_value(uint32_t h) {
    int exponent = (int)(h >> 10 & 31);
    double mantissa = h & 1023;
    double value = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    return h & 0x8000 ? -value : value;
}

static bool f16_is_nan(uint32_t h) {
    return (h & 0x7fff) > 0x7c00;
}

Test(num, every_f16_widens_exactly_and_returns) {
    for (uint32_t h = 0; h < 65536; h++) {
        float x = f16_to_float((uint16_t)h);
        if (f16_is_nan(h)) {
            cr_assert(isnan(x), "%04x", h);
            cr_assert(f16_is_nan(float_to_f16(x)), "%04x", h);
            continue;
        }
        if ((h & 0x7fff) == 0x7c00)
            cr_assert(isinf(x) && !signbit(x) == (h < 0x8000), "%04x", h);
        else
            cr_assert((double)x == f16_value(h) && !signbit(x) == (h < 0x8000), "%04x", h);
        cr_assert_eq(float_to_f16(x), h, "%04x", h);
    }
}

Test(num, every_bf16_returns) {
    for (uint32_t h = 0; h < 65536; h++) {
        float x = bf16_to_float((uint16_t)h);
        cr_assert_eq(float_bits(x), h << 16);
        uint16_t back = float_to_bf16(x);
        if (isnan(x))
            cr_assert(isnan(bf16_to_float(back)), "%04x", h);
        else
            cr_assert_eq(back, h, "%04x", h);
    }
}

/* Halfway points between neighbours, and one float below and above, must go to even, down and up. */
Test(num, rounding_to_f16_at_every_boundary) {
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = f16_to_float((uint16_t)h), high = f16_to_float((uint16_t)(h + 1));
        float middle = (low + high) / 2; /* exact: one more bit than a half has */
        uint32_t even = h & 1 ? h + 1 : h;
        cr_assert_eq(float_to_f16(middle), even, "%04x", h);
        cr_assert_eq(float_to_f16(nextafterf(middle, 0)), h, "%04x", h);
        cr_assert_eq(float_to_f16(nextafterf(middle, INFINITY)), h + 1, "%04x", h);
        cr_assert_eq(float_to_f16(-middle), even | 0x8000, "%04x", h);
    }
    cr_assert_eq(float_to_f16(65519.996f), 0x7bff);
    cr_assert_eq(float_to_f16(65520.0f), 0x7c00);
    cr_assert_eq(float_to_f16(INFINITY), 0x7c00);
    cr_assert_eq(float_to_f16(-1e30f), 0xfc00);
    cr_assert_eq(float_to_f16(0x1p-149f), 0);
    cr_assert_eq(float_to_f16(-0.0f), 0x8000);
}

Test(num, rounding_to_bf16_at_every_boundary) {
    for (uint32_t h = 0; h < 0x7f7f; h++) {
        uint32_t middle = h << 16 | 0x8000u;
        uint32_t even = h & 1 ? h + 1 : h;
        cr_assert_eq(float_to_bf16(bits_float(middle)), even, "%04x", h);
        cr_assert_eq(float_to_bf16(bits_float(middle - 1)), h, "%04x", h);
        cr_assert_eq(float_to_bf16(bits_float(middle + 1)), h + 1, "%04x", h);
    }
    cr_assert_eq(float_to_bf16(3.4028235e38f), 0x7f80); /* rounds up to infinity */
    cr_assert_eq(float_to_bf16(INFINITY), 0x7f80);
    cr_assert(
        isnan(bf16_to_float(float_to_bf16(bits_float(0x7f800001u))))); /* a NaN whose payload is in the low half */
    cr_assert(isnan(bf16_to_float(float_to_bf16(bits_float(0xffffffffu)))));
}

#ifdef __FLT16_MAX__
Test(num, agrees_with_the_compilers_half) {
    uint32_t state = 12345;
    for (int i = 0; i < 2000000; i++) {
        state = state * 1664525u + 1013904223u;
        float x = bits_float(state ^ state >> 15);
        if (isnan(x)) continue;
        _Float16 half = (_Float16)x;
        uint16_t bits;
        memcpy(&bits, &half, sizeof bits);
        cr_assert_eq(float_to_f16(x), bits, "%a", (double)x);
    }
}
#endif

Test(num, checked_integers) {
    size_t out = 0;
    cr_assert(size_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    cr_assert_not(size_mul(SIZE_MAX / 2 + 1, 2, &out));
    cr_assert(size_mul(0, SIZE_MAX, &out) && out == 0);
    cr_assert(size_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    cr_assert_not(size_add(SIZE_MAX, 1, &out));
    cr_assert_eq(ceil_div(0, 7), 0u);
    cr_assert_eq(ceil_div(14, 7), 2u);
    cr_assert_eq(ceil_div(15, 7), 3u);
    cr_assert_eq(ceil_div(SIZE_MAX, 2), SIZE_MAX / 2 + 1);
    cr_assert_eq(round_up(0, 64), 0u);
    cr_assert_eq(round_up(65, 64), 128u);
}
