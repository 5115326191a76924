/* Draw frequencies and independence: chi-square over a million draws for each case, seeds fixed. A statistic is turned
 * into a normal deviate (Wilson and Hilferty) and must stay within 4: one false alarm in 30,000 fresh seeds. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "harness.h"
#include "oracle.h"

enum { DRAWS = 1000000, BATCH = 1000 };

/* How many standard deviations the counts are from their probabilities. Cells that are too small for the approximation
 * are one cell. */
static double deviation(const long *count, const double *probability, int32_t n, long total) {
    double chi = 0.0, rest = 0.0, freedom = -1.0;
    long rest_count = 0;
    for (int32_t i = 0; i < n; i++) {
        double expected = probability[i] * (double)total;
        if (expected < 10.0) {
            rest += expected;
            rest_count += count[i];
            continue;
        }
        chi += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
        freedom += 1.0;
    }
    if (rest >= 10.0) {
        chi += ((double)rest_count - rest) * ((double)rest_count - rest) / rest;
        freedom += 1.0;
    }
    return (cbrt(chi / freedom) - (1.0 - 2.0 / (9.0 * freedom))) / sqrt(2.0 / (9.0 * freedom));
}

/* DRAWS tokens: successive positions, and at each some samples. */
static void draw_many(struct sampler_case *c, const float *row, int32_t V, int32_t samples, int32_t *tokens) {
    static struct branch_params params[BATCH];
    static struct branch_draw branches[BATCH];
    static struct draw_result results[BATCH];
    struct cpu_sampler *sampler = new_sampler(V, BATCH, 1, 1);
    for (int32_t i = 0; i < DRAWS; i += BATCH) {
        for (int32_t b = 0; b < BATCH; b++) {
            params[b] = c->params;
            params[b].sample = (i + b) % samples;
            branches[b] = c->draw;
            branches[b].params = &params[b];
            branches[b].history = c->history; /* never read: no penalties */
            branches[b].history_count = branches[b].prompt_count = (i + b) / samples;
        }
        draw_all(sampler, NULL, branches, BATCH, row, 1, V, results);
        for (int32_t b = 0; b < BATCH; b++) tokens[i + b] = results[b].token;
    }
    cpu_sampler_free(sampler);
}

static void check_frequencies(struct sampler_case *c, const float *row, int32_t V, const char *name) {
    int32_t *tokens = malloc(DRAWS * sizeof *tokens);
    long *count = calloc((size_t)V, sizeof *count);
    struct oracle *o = oracle_create(V);
    oracle_draw(o, &c->draw, row, V);
    draw_many(c, row, V, 7, tokens);
    for (int32_t i = 0; i < DRAWS; i++) {
        cr_assert(o->survives[tokens[i]], "%s: drew token %d, which did not survive", name, tokens[i]);
        count[tokens[i]]++;
    }
    double z = deviation(count, o->probability, V, DRAWS);
    cr_assert(fabs(z) < 4.0, "%s: %g standard deviations", name, z);
    oracle_free(o);
    free(count);
    free(tokens);
}

Test(sampler_noise, uniform_4) {
    struct sampler_case c;
    float row[4] = {0};
    case_plain(&c, 1.0f);
    check_frequencies(&c, row, 4, "uniform 4");
}

Test(sampler_noise, uniform_257) {
    struct sampler_case c;
    float row[257] = {0};
    case_plain(&c, 1.0f);
    c.params.seed = 0xFFFFFFFFFFFFFFFFu;
    check_frequencies(&c, row, 257, "uniform 257");
}

Test(sampler_noise, geometric) {
    struct sampler_case c;
    float row[40];
    for (int i = 0; i < 40; i++) row[i] = -0.5f * (float)i;
    case_plain(&c, 1.0f);
    c.params.seed = 1;
    check_frequencies(&c, row, 40, "geometric");
}

Test(sampler_noise, one_likely_token) {
    struct sampler_case c;
    float row[20] = {0};
    row[11] = 8.0f; /* 99.4% */
    case_plain(&c, 1.0f);
    c.params.seed = 2;
    check_frequencies(&c, row, 20, "one likely token");
}

Test(sampler_noise, zipf_tempered) {
    struct sampler_case c;
    float row[300];
    for (int i = 0; i < 300; i++) row[(i * 7) % 300] = -logf(1.0f + (float)i);
    case_plain(&c, 0.7f);
    c.params.seed = 3;
    check_frequencies(&c, row, 300, "zipf");
}

Test(sampler_noise, filtered) {
    struct sampler_case c;
    struct random r = {4};
    float row[150];
    case_row(&r, ROW_NORMAL, row, 150);
    case_plain(&c, 1.3f);
    c.params.seed = 4;
    c.params.top_k = 60;
    c.params.top_p = 0.9f;
    c.params.min_p = 0.01f;
    c.params.min_p_distance = -logf(0.01f);
    check_frequencies(&c, row, 150, "filtered");
}

/* ---- independence --------------------------------------------------------------------------------------------- */

/* Chi-square of the table of pairs (tokens[i], tokens[i + lag]) under independence and uniformity. */
static void check_pairs(const int32_t *tokens, int32_t V, int32_t lag, const char *name) {
    long count[256] = {0};
    double probability[256];
    for (int32_t i = 0; i < V * V; i++) probability[i] = 1.0 / (V * V);
    for (int32_t i = 0; i + lag < DRAWS; i++) count[tokens[i] * V + tokens[i + lag]]++;
    double z = deviation(count, probability, V * V, DRAWS - lag);
    cr_assert(fabs(z) < 4.0, "%s at lag %d: %g standard deviations", name, lag, z);
}

Test(sampler_noise, positions_are_independent) {
    struct sampler_case c;
    float row[16] = {0};
    int32_t *tokens = malloc(DRAWS * sizeof *tokens);
    case_plain(&c, 1.0f);
    draw_many(&c, row, 16, 1, tokens);
    check_pairs(tokens, 16, 1, "positions");
    check_pairs(tokens, 16, 2, "positions");
    check_pairs(tokens, 16, 256, "positions");
    free(tokens);
}

Test(sampler_noise, samples_are_independent) {
    struct sampler_case c;
    float row[16] = {0};
    int32_t *tokens = malloc(DRAWS * sizeof *tokens);
    case_plain(&c, 1.0f);
    c.params.seed = 77;
    draw_many(&c, row, 16, 1000, tokens);
    check_pairs(tokens, 16, 1, "samples");
    check_pairs(tokens, 16, 1000, "positions of a sample");
    free(tokens);
}

Test(sampler_noise, seeds_are_independent) {
    enum { V = 16 };
    struct cpu_sampler *sampler = new_sampler(V, 1, 1, 1);
    int32_t *tokens = malloc(DRAWS * sizeof *tokens);
    struct sampler_case c;
    float row[V] = {0};
    case_plain(&c, 1.0f);
    for (int32_t i = 0; i < DRAWS; i++) {
        c.params.seed = (uint64_t)i;
        tokens[i] = draw_one(sampler, &c.draw, row, V).token;
    }
    check_pairs(tokens, V, 1, "seeds");
    free(tokens);
    cpu_sampler_free(sampler);
}

/* The variates of two ids of one draw: joint distribution over 16 x 16 cells of equal chance. */
static void check_ids(int32_t a, int32_t b) {
    long count[256] = {0};
    double probability[256];
    for (int i = 0; i < 256; i++) probability[i] = 1.0 / 256.0;
    for (int32_t position = 0; position < DRAWS; position++)
        count[(draw_word(9, position, 0, a) >> 28) * 16 + (draw_word(9, position, 0, b) >> 28)]++;
    double z = deviation(count, probability, 256, DRAWS);
    cr_assert(fabs(z) < 4.0, "ids %d and %d: %g standard deviations", a, b, z);
}

Test(sampler_noise, ids_are_independent) {
    check_ids(0, 1);
    check_ids(1, 3);
    check_ids(3, 4);
    check_ids(0, 4);
    check_ids(100, 50100);
}

/* The exponential variates themselves: mean, variance, tail. */
Test(sampler_noise, exponential_moments) {
    double sum = 0.0, squares = 0.0;
    long beyond = 0;
    for (int32_t i = 0; i < DRAWS; i++) {
        double e = (double)draw_exponential(draw_variate(draw_word(10, i, 0, 0)));
        cr_assert_float_eq(e, oracle_exponential(10, i, 0, 0), 2e-7 * e);
        sum += e;
        squares += e * e;
        beyond += e > 5.0;
    }
    cr_assert_float_eq(sum / DRAWS, 1.0, 4e-3);
    cr_assert_float_eq(squares / DRAWS, 2.0, 2e-2);
    cr_assert_float_eq((double)beyond / DRAWS, exp(-5.0), 4.0 * sqrt(exp(-5.0) / DRAWS));
}
