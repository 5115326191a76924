/* draw_math.h: every formula against double precision, and the bias of the 32-bit race. */
#include <criterion/criterion.h>
#include <float.h>

#include "base/draw_math.h"
#include "oracle.h"

/* ---- order ---------------------------------------------------------------------------------------------------- */

Test(draw_math, keys_are_monotone_and_invertible) {
    static const float scores[] = {-INFINITY,    -FLT_MAX, -1.5f, -FLT_MIN, -FLT_TRUE_MIN, 0.0f,
                                   FLT_TRUE_MIN, FLT_MIN,  1.0f,  1.5f,     FLT_MAX,       INFINITY};
    for (size_t i = 0; i < sizeof scores / sizeof scores[0]; i++) {
        cr_assert_eq(draw_bits(draw_unkey(draw_key(scores[i]))), draw_bits(scores[i]));
        if (i > 0) cr_assert_lt(draw_key(scores[i - 1]), draw_key(scores[i]));
    }
    cr_assert_eq(draw_key(-INFINITY), DRAW_KEY_BANNED);
    cr_assert_eq(draw_key(INFINITY), DRAW_KEY_INFINITY);
}

Test(draw_math, ranks_put_low_ids_first) {
    cr_assert_gt(draw_rank(1.0f, 3), draw_rank(1.0f, 4));
    cr_assert_gt(draw_rank(1.0f, 400000), draw_rank(0.5f, 0));
    cr_assert_gt(draw_rank(0.0f, 0), draw_rank(0.0f, 4194303));
}

Test(draw_math, clean_removes_nan_and_negative_zero) {
    cr_assert_eq(draw_clean(NAN), -INFINITY);
    cr_assert_eq(draw_clean(-NAN), -INFINITY);
    cr_assert_eq(draw_bits(draw_clean(-0.0f)), 0);
    cr_assert_eq(draw_clean(-FLT_TRUE_MIN), -FLT_TRUE_MIN);
    cr_assert_eq(draw_clean(INFINITY), INFINITY);
}

Test(draw_math, distance_of_infinities) {
    cr_assert_eq(draw_distance(INFINITY, INFINITY), 0.0f);
    cr_assert_eq(draw_distance(INFINITY, FLT_MAX), INFINITY);
    cr_assert_eq(draw_distance(FLT_MAX, -FLT_MAX), INFINITY);
    cr_assert_eq(draw_distance(0.0f, -INFINITY), INFINITY);
}

/* ---- weights -------------------------------------------------------------------------------------------------- */

/* Every 61st float from 2^-31 up to where the weight ends; the polynomial's argument covers all of (0, 1]. */
Test(draw_math, weight_error) {
    double worst = 0.0;
    uint64_t previous = draw_weight(0.0f);
    cr_assert_lt(previous, 1ull << DRAW_WEIGHT_MAX_LOG2);
    cr_assert_gt(previous, (1ull << DRAW_WEIGHT_MAX_LOG2) - (1ull << 17));
    for (uint32_t u = 0x30000000u; u < 0x41E00000u; u += 61) {
        float d = draw_float(u);
        double exact = exp(-(double)d) * 0x1p40;
        double error = fabs((double)draw_weight(d) + 0.5 - exact) - 0.5;
        if (error / exact > worst) worst = error / exact;
        cr_assert_leq(draw_weight(d), previous + previous / 4194304 + 1, "weights fall, up to rounding, at %a",
                      (double)d);
        previous = draw_weight(d);
    }
    cr_assert_lt(worst, 1.0e-6, "worst %g", worst);
}

Test(draw_math, weight_ends_at_t_40) {
    cr_assert_eq(draw_weight(27.8f), 0);
    cr_assert_eq(draw_weight(1e30f), 0);
    cr_assert_eq(draw_weight(INFINITY), 0);
    cr_assert_eq(draw_weight(27.7f), 1);
}

Test(draw_math, mulhi_and_fraction) {
    static const uint64_t values[] = {0, 1, 0xFFFFFFFFu, 0x100000000u, 0x123456789ABCDEF0u, UINT64_MAX};
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 6; j++)
            cr_assert_eq(draw_mulhi(values[i], values[j]),
                         (uint64_t)(((unsigned __int128)values[i] * values[j]) >> 64));
    cr_assert_eq(draw_fraction(0.0f), 0);
    cr_assert_eq(draw_fraction(0.5f), 1ull << 63);
    cr_assert_eq(draw_fraction(nextafterf(1.0f, 0.0f)), UINT64_MAX - ((1ull << 40) - 1));
    cr_assert_eq(draw_fraction(FLT_TRUE_MIN), 0);
    cr_assert_eq(draw_target(1000, draw_fraction(0.5f)), 500);
    cr_assert_eq(draw_target(1001, draw_fraction(0.5f)), 500);
    cr_assert_eq(draw_target(1ull << 40, 0), 1);
}

/* ---- noise ---------------------------------------------------------------------------------------------------- */

Test(draw_math, words_are_philox) {
    uint32_t key[2] = {0, 0}, counter[4] = {0, 0, 0, 0}, words[4];
    oracle_philox(key, counter, words);
    cr_assert(words[0] == 0x6627E8D5u && words[1] == 0xE169C58Du && words[2] == 0xBC57AC4Cu && words[3] == 0x9B00DBD8u);
    for (int32_t id = 0; id < 4; id++) cr_assert_eq(draw_word(0, 0, 0, id), words[id]);
    uint64_t seed = 0x9E3779B97F4A7C15u;
    for (int32_t id = 0; id < 1000; id++) {
        uint32_t k[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, c[4] = {(uint32_t)id / 4, 12345, 678, 0};
        oracle_philox(k, c, words);
        cr_assert_eq(draw_word(seed, 12345, 678, id), words[id % 4]);
    }
}

/* The variate is (x + 1/2) 2^-32 rounded once: double holds it exactly before that. */
Test(draw_math, variate_is_correctly_rounded) {
    for (uint64_t x = 0; x <= UINT32_MAX; x += 9973) {
        float expected = (float)(((double)x + 0.5) * 0x1p-32);
        cr_assert_eq(draw_variate((uint32_t)x), expected, "word %u", (uint32_t)x);
    }
    for (uint32_t x = 0; x < 70000; x++) cr_assert_eq(draw_variate(x), (float)(((double)x + 0.5) * 0x1p-32));
    for (uint32_t x = UINT32_MAX - 70000; x != 0; x++)
        cr_assert_eq(draw_variate(x), (float)(((double)x + 0.5) * 0x1p-32));
    cr_assert_eq(draw_variate(0), 0x1p-33f);
    cr_assert_eq(draw_variate(0xFFFFFF80u), 1.0f);
    cr_assert_lt(draw_variate(0xFFFFFF7Fu), 1.0f);
}

Test(draw_math, exponential_error) {
    double worst = 0.0;
    for (uint32_t u = draw_bits(0x1p-33f); u < draw_bits(1.0f); u += 97) {
        float v = draw_float(u);
        double exact = -log1p(-(double)v);
        double error = fabs((double)draw_exponential(v) / exact - 1.0);
        if (error > worst) worst = error;
    }
    cr_assert_lt(worst, 1.6e-7, "worst %g", worst);
    cr_assert_eq(draw_exponential(0x1p-33f), 0x1p-33f);
    cr_assert_float_eq((double)draw_exponential(nextafterf(1.0f, 0.0f)), 24.0 * log(2.0), 1e-5);
}

/* The race prunes with e >= v, up to rounding (sampler_internal.h). */
Test(draw_math, exponential_is_at_least_the_variate) {
    for (uint32_t u = draw_bits(0x1p-33f); u < draw_bits(1.0f); u += 89)
        cr_assert_geq(draw_exponential(draw_float(u)), draw_float(u) * 0.999999f);
}

Test(draw_math, word_that_rounds_to_one_is_the_worst) {
    for (uint32_t x = 0xFFFFFF80u; x != 0; x++) cr_assert_eq(draw_race_score(1ull << 40, x), 0.0f);
    cr_assert_gt(draw_race_score(1, 0xFFFFFF7Fu), 0.0f);
    cr_assert_lt(draw_race_score(1ull << 40, 0), INFINITY);
}

/* ---- logarithm and power -------------------------------------------------------------------------------------- */

/* Every 97th normal float, and all of the 2^16 on either side of 1 and of 3/4, where k steps. */
static double log_error(float x) {
    double exact = log((double)x), got = (double)draw_log(x);
    return x == 1.0f ? fabs(got) : fabs(got / exact - 1.0);
}
Test(draw_math, log_error) {
    double worst = 0.0;
    for (uint32_t u = draw_bits(FLT_MIN); u < draw_bits(INFINITY); u += 97)
        worst = fmax(worst, log_error(draw_float(u)));
    static const float around[] = {0.75f, 1.0f, 1.5f};
    for (int i = 0; i < 3; i++)
        for (uint32_t u = draw_bits(around[i]) - 65536; u < draw_bits(around[i]) + 65536; u++)
            worst = fmax(worst, log_error(draw_float(u)));
    cr_assert_lt(worst, 2e-7, "worst %g", worst);
    cr_assert_eq(draw_log(1.0f), 0.0f);
    cr_assert_lt(draw_log(nextafterf(1.0f, 0.0f)), 0.0f);
}

Test(draw_math, power_error) {
    static const float exponents[] = {0.01f, 0.3f, 0.5f, 0.99f, 1.0f, 1.01f, 2.0f, 3.7f, 10.0f, 100.0f};
    double large = 0.0, any = 0.0;
    for (size_t e = 0; e < sizeof exponents / sizeof exponents[0]; e++)
        for (uint32_t u = draw_bits(0x1p-60f); u < draw_bits(1.0f); u += 9973) {
            float x = draw_float(u), got = draw_power(x, exponents[e]);
            double exact = pow((double)x, (double)exponents[e]);
            cr_assert(got >= 0.0f && got <= 1.0f, "%a^%a is %a", (double)x, (double)exponents[e], (double)got);
            if (exact < 0x1p-125) continue; /* it may be 0 */
            double error = fabs((double)got / exact - 1.0);
            if (exact > 0.01) large = fmax(large, error);
            any = fmax(any, error);
        }
    cr_assert_lt(large, 1e-6, "worst above 0.01: %g", large);
    cr_assert_lt(any, 1.5e-5, "worst %g", any);
    cr_assert_eq(draw_power(0.0f, 0.01f), 0.0f);
    cr_assert_eq(draw_power(-1e-7f, 2.0f), 0.0f, "rounding may leave an entropy just below 0");
    cr_assert_eq(draw_power(1.0f, 100.0f), 1.0f);
    cr_assert_eq(draw_power(1.0000001f, 0.3f), 1.0f, "or above its maximum");
    cr_assert_eq(draw_power(0.3f, 1.0f), 0.3f);
    cr_assert_eq(draw_power(0.1f, 100.0f), 0.0f, "1e-100");
}

/* ---- bias ----------------------------------------------------------------------------------------------------- */

struct bias {
    double first, last; /* probability times n, minus 1, of the lowest and of the highest id of n equal weights */
};

/* Exact, from the function itself: words in ascending order have falling scores; those with equal scores form a group of
 * g words with c words before it. The lowest id wins with a word of the group when no other has one of the c; the highest
 * id when no other has one of the c + g. Words beyond 2^21 have no part in it: (1 - 2^-11)^n is below 1e-55. */
static struct bias race_bias(double n) {
    uint64_t weight = draw_weight(0.0f);
    double first = 0.0, last = 0.0, M = 0x1p32;
    uint32_t end = 1u << 21, start = 0;
    float score = draw_race_score(weight, 0);
    for (uint32_t x = 1; x < end; x++) {
        float next = draw_race_score(weight, x);
        cr_assert_leq(next, score, "scores fall with the word");
        if (next == score) continue;
        double g = x - start, c = start;
        first += g / M * exp((n - 1.0) * log1p(-c / M));
        last += g / M * exp((n - 1.0) * log1p(-(c + g) / M));
        start = x;
        score = next;
    }
    return (struct bias){first * n - 1.0, last * n - 1.0};
}

Test(draw_math, bias_of_262144_equal_weights) {
    struct bias bias = race_bias(262144.0);
    cr_assert_float_eq(bias.first, 0x1p-15, 1e-7, "first id %g", bias.first);
    cr_assert_float_eq(bias.last, -0x1p-15, 1e-7, "last id %g", bias.last);
    cr_assert(fabs(bias.first) < 1e-4 && fabs(bias.last) < 1e-4);
}

/* A token's chance is its share of the weight down to small shares: P(win) of a token with share p against the rest is
 * P(e < p E / (1 - p)) with E exponential, integrated over the words that can matter. */
Test(draw_math, bias_of_unequal_weights) {
    static const double shares[] = {0.3, 1e-2, 1e-4, 1e-6, 1e-7};
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        double p = shares[i], ratio = p / (1.0 - p), chance = 0.0, sum_step = 0.0;
        /* words in steps that double the grid: exact for small words, a midpoint rule above */
        for (double x = 0; x < 0x1p32; x += sum_step) {
            sum_step = x < 0x1p20 ? 1.0 : 4096.0;
            double v = (x + 0.5 * sum_step) * 0x1p-32;
            if (sum_step == 1.0) v = (double)draw_variate((uint32_t)x);
            double e = sum_step == 1.0 ? (double)draw_exponential((float)v) : -log1p(-v);
            chance += sum_step * 0x1p-32 * exp(-e / ratio);
        }
        cr_assert_float_eq(chance / p, 1.0, 1e-4, "share %g: relative error %g", p, chance / p - 1.0);
    }
}
