/* test_rope.c: rotary tables against formulas written down again, independently, in double precision. */
#include <criterion/criterion.h>
#include <math.h>

#include "model/rope.h"

enum { R = 16 }; /* rotated elements */

static const double pi = 3.14159265358979323846;

static struct rope_config plain(double theta) {
    return (struct rope_config){
        .theta = theta, .partial = 1, .beta_fast = 32, .beta_slow = 1, .truncate = CONFIG_ABSENT};
}

static void expect(const struct rope_config *rope, int32_t context, const double *expected, double factor,
                   const char *what) {
    double found[R / 2], attention_factor;
    rope_frequencies(found, &attention_factor, rope, R, context);
    for (int i = 0; i < R / 2; i++) {
        cr_expect(fabs(found[i] / expected[i] - 1) < 1e-7, "%s: pair %d: expected %.9g, found %.9g", what, i,
                  expected[i], found[i]);
        cr_expect(found[i] == (double)(float)found[i], "%s: frequencies are floats, as in the published models", what);
    }
    cr_expect(fabs(attention_factor - factor) < 1e-12, "%s: expected factor %.9g, found %.9g", what, factor,
              attention_factor);
}

/* theta^(-2i/R) by repeated square roots and products instead of pow. */
static void base_frequencies(double *f) { /* theta 65536: R/2 = 8 pairs, each 65536^(-1/8) = 1/4 of the one before */
    for (int i = 0; i < R / 2; i++) f[i] = ldexp(1, -2 * i);
}

Test(rope, plain_and_linear) {
    double f[R / 2];
    base_frequencies(f);
    struct rope_config rope = plain(65536);
    expect(&rope, 100, f, 1, "plain");
    rope.scaling = ROPE_SCALING_DYNAMIC;
    rope.factor = 4;
    expect(&rope, 100, f, 1, "dynamic");
    rope.scaling = ROPE_SCALING_LINEAR;
    for (int i = 0; i < R / 2; i++) f[i] /= 4;
    expect(&rope, 100, f, 1, "linear");
}

Test(rope, llama3) {
    double f[R / 2];
    base_frequencies(f);
    struct rope_config rope = plain(65536);
    rope.scaling = ROPE_SCALING_LLAMA3;
    rope.factor = 8;
    rope.low_freq_factor = 1;
    rope.high_freq_factor = 4;
    rope.original_context = 512;
    int bands[3] = {0};
    for (int i = 0; i < R / 2; i++) {
        double turns = 512 * f[i] / (2 * pi); /* within the original context */
        double kept = turns >= 4 ? 1 : turns <= 1 ? 0 : (turns - 1) / 3;
        bands[kept == 1 ? 0 : kept == 0 ? 1 : 2]++;
        f[i] *= kept + (1 - kept) / 8;
    }
    cr_expect(bands[0] && bands[1] && bands[2], "all three bands are tried");
    expect(&rope, 100, f, 1, "llama3");
}

static double yarn_edge(double turns, double original, double theta) {
    return R * log(original / (turns * 2 * pi)) / (2 * log(theta));
}

Test(rope, yarn) {
    double f[R / 2], expected[R / 2];
    base_frequencies(f);
    struct rope_config rope = plain(65536);
    rope.scaling = ROPE_SCALING_YARN;
    rope.factor = 4;
    rope.original_context = 4096;
    for (int truncate = 0; truncate < 2; truncate++) {
        double low = yarn_edge(32, 4096, 65536), high = yarn_edge(1, 4096, 65536); /* 2.17 … 4.67 */
        if (truncate) low = 2, high = 5;
        for (int i = 0; i < R / 2; i++) {
            double slowed = i <= low ? 0 : i >= high ? 1 : (i - low) / (high - low);
            expected[i] = f[i] * (1 - slowed) + f[i] / 4 * slowed;
        }
        rope.truncate = truncate ? CONFIG_ABSENT : 0;
        expect(&rope, 100, expected, 0.1 * log(4) + 1, truncate ? "yarn" : "yarn, truncate false");
    }
    rope.mscale = 2;
    rope.mscale_all_dim = 0.5;
    expect(&rope, 100, expected, (0.2 * log(4) + 1) / (0.05 * log(4) + 1), "yarn with mscale");
    rope.attention_factor = 1.25;
    expect(&rope, 100, expected, 1.25, "yarn with attention_factor");
}

Test(rope, longrope_goes_by_the_context_of_the_network) {
    double f[R / 2], expected[R / 2];
    base_frequencies(f);
    struct rope_config rope = plain(65536);
    rope.scaling = ROPE_SCALING_LONGROPE;
    rope.factor = 32;
    rope.original_context = 4096;
    rope.factors = R / 2;
    for (int i = 0; i < R / 2; i++) {
        rope.short_factor[i] = 1 + 0.1 * i;
        rope.long_factor[i] = 2 + i;
    }
    for (int i = 0; i < R / 2; i++) expected[i] = f[i] / (1 + 0.1 * i);
    expect(&rope, 4096, expected, sqrt(1 + log(32) / log(4096)), "short");
    for (int i = 0; i < R / 2; i++) expected[i] = f[i] / (2 + i);
    expect(&rope, 4097, expected, sqrt(1 + log(32) / log(4096)), "long");
}

Test(rope, table_holds_cos_and_sin_of_every_position) {
    struct rope_config rope = plain(10000);
    double f[R / 2], factor;
    float table[5 * R];
    rope_frequencies(f, &factor, &rope, R, 100);
    rope_table(table, f, 1.5, R, 70000, 5);
    for (int t = 0; t < 5; t++)
        for (int i = 0; i < R / 2; i++) {
            double angle = (70000 + t) * f[i];
            cr_expect(table[t * R + 2 * i] == (float)(1.5 * cos(angle)));
            cr_expect(table[t * R + 2 * i + 1] == (float)(1.5 * sin(angle)));
        }
}
