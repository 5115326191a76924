/* test_inference.c: intervals, tests and corrections against scipy, statsmodels and the published estimators (fixtures
 * by make_inference_fixtures.py), and what they promise: coverage, and the same numbers however they are asked for. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <criterion/criterion.h>

#include "sweep/inference.h"

static cJSON *fixtures;
static struct resamples *resamples;

static void setup(void) {
    FILE *file = fopen(TEMPERA_TEST_DIR "/sweep/fixtures/inference.json", "rb");
    cr_assert(file);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    char *text = calloc(size + 1, 1);
    rewind(file);
    cr_assert_eq(fread(text, 1, size, file), size);
    fclose(file);
    fixtures = cJSON_Parse(text);
    cr_assert(fixtures);
    free(text);
    resamples = resamples_new();
}

static void teardown(void) {
    cJSON_Delete(fixtures);
    resamples_free(resamples);
}

TestSuite(inference, .init = setup, .fini = teardown);

static const cJSON *member(const cJSON *object, const char *name) {
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, name);
    cr_assert(found, "%s", name);
    return found;
}

static double number(const cJSON *object, const char *name) {
    return member(object, name)->valuedouble;
}

static double *numbers(const cJSON *object, const char *name, size_t *count) {
    const cJSON *list = member(object, name), *item;
    double *values = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *values);
    *count = 0;
    cJSON_ArrayForEach(item, list) values[(*count)++] = item->valuedouble;
    return values;
}

static void near(double got, double wanted, double relative, const char *what) {
    cr_assert(fabs(got - wanted) <= relative * fmax(1, fabs(wanted)), "%s: %.17g, not %.17g", what, got, wanted);
}

/* ---- against scipy ---- */

Test(inference, intervals_are_scipys) {
    const cJSON *item;
    cJSON_ArrayForEach(item, member(fixtures, "bootstrap")) {
        size_t count;
        double *values = numbers(item, "values", &count);
        struct estimate e = estimate_mean(resamples, values, count);
        cr_assert_eq(e.units, count);
        near(e.mean, number(item, "mean"), 1e-13, "mean");
        near(e.stderror, number(item, "stderror"), 1e-12, "standard error");
        near(e.low, number(item, "low"), 1e-10, "low");
        near(e.high, number(item, "high"), 1e-10, "high");
        free(values);
    }
}

Test(inference, flips_are_scipys) {
    const cJSON *item;
    cJSON_ArrayForEach(item, member(fixtures, "pairs")) {
        size_t count;
        double *a = numbers(item, "a", &count), *b = numbers(item, "b", &count);
        struct difference d = difference_paired(resamples, a, b, count);
        near(d.p, number(item, "p"), 1e-13, "p");
        near(d.adjusted, d.p, 0, "not adjusted yet");
        near(d.correlation, number(item, "correlation"), 1e-12, "correlation");
        struct difference back = difference_paired(resamples, b, a, count);
        near(back.p, d.p, 1e-13, "p of b - a");
        near(back.estimate.mean, -d.estimate.mean, 1e-13, "b - a");
        free(a);
        free(b);
    }
}

/* The drawn p is the exact one but for the binomial error of its draws. */
Test(inference, random_flips_approach_the_exact_p) {
    size_t count;
    const cJSON *item = member(fixtures, "sampled");
    double *a = numbers(item, "a", &count), *b = numbers(item, "b", &count), exact = number(item, "p");
    struct difference d = difference_paired(resamples, a, b, count);
    double error = sqrt(exact * (1 - exact) / PERMUTATIONS);
    cr_assert(count > EXACT_FLIPS);
    cr_assert(fabs(d.p - exact) < 4 * error, "%g, exactly %g", d.p, exact);
    cr_assert(d.p != exact, "drawn");
    free(a);
    free(b);
}

Test(inference, corrections_are_statsmodels_and_scipys) {
    const cJSON *item;
    cJSON_ArrayForEach(item, member(fixtures, "adjust")) {
        size_t count;
        double *p = numbers(item, "p", &count), *holm = numbers(item, "holm", &count),
               *bh = numbers(item, "bh", &count);
        double *got = calloc(count, sizeof *got);
        adjust_holm(p, count, got);
        for (size_t i = 0; i < count; i++) near(got[i], holm[i], 1e-14, "Holm");
        adjust_bh(p, count, got);
        for (size_t i = 0; i < count; i++) near(got[i], bh[i], 1e-14, "Benjamini-Hochberg");
        adjust_bh(p, count, p);
        for (size_t i = 0; i < count; i++) near(p[i], bh[i], 1e-14, "in place");
        free(got);
        free(p);
        free(holm);
        free(bh);
    }
}

Test(inference, corrections_leave_nan_out) {
    const double p[] = {0.01, NAN, 0.04, NAN, 0.03};
    double got[5];
    adjust_holm(p, 5, got);
    near(got[0], 0.03, 1e-15, "first of three");
    near(got[4], 0.06, 1e-15, "second of three");
    near(got[2], 0.06, 1e-15, "third of three");
    cr_assert(isnan(got[1]) && isnan(got[3]));
    adjust_bh(p, 5, got);
    near(got[0], 0.03, 1e-15, "first of three");
    cr_assert(isnan(got[1]) && isnan(got[3]));
}

Test(inference, pass_at_k_is_the_published_one) {
    const cJSON *item;
    cJSON_ArrayForEach(item, member(fixtures, "pass_at_k")) {
        double got = pass_at_k((int64_t)number(item, "n"), (int64_t)number(item, "c"), (int64_t)number(item, "k"));
        near(got, number(item, "value"), 1e-12, "pass@k");
    }
    cr_assert(isnan(pass_at_k(3, 1, 4)));
    cr_assert(isnan(pass_at_k(3, 1, 0)));
}

Test(inference, expected_best_is_the_mean_over_all_subsets) {
    size_t count;
    const cJSON *set = member(fixtures, "expected_best"), *item;
    double *scores = numbers(set, "scores", &count);
    scores = realloc(scores, (count + 1) * sizeof *scores);
    scores[count] = NAN;
    cJSON_ArrayForEach(item, member(set, "cases"))
        near(expected_best(scores, count + 1, (size_t)number(item, "budget")), number(item, "value"), 1e-13, "best");
    cr_assert(isnan(expected_best(scores, count + 1, count + 1)));
    cr_assert(isnan(expected_best(scores, count + 1, 0)));
    free(scores);
}

/* ---- what cannot be told ---- */

Test(inference, few_and_equal_units) {
    const double none[] = {NAN, NAN}, one[] = {NAN, 3}, same[] = {0.1, 0.1, NAN, 0.1}, wild[] = {1, INFINITY, 2};
    struct estimate e = estimate_mean(resamples, none, 2);
    cr_assert(e.units == 0 && isnan(e.mean) && isnan(e.low) && isnan(e.high) && isnan(e.stderror));
    e = estimate_mean(resamples, one, 2);
    cr_assert(e.units == 1 && e.mean == 3 && isnan(e.low) && isnan(e.high) && isnan(e.stderror));
    e = estimate_mean(resamples, same, 4);
    cr_assert(e.units == 3 && e.mean == 0.1 && e.low == 0.1 && e.high == 0.1 && e.stderror == 0);
    e = estimate_mean(resamples, wild, 3);
    cr_assert(e.units == 3 && isnan(e.low) && isnan(e.high) && isnan(e.stderror));
    struct difference d = difference_paired(resamples, one, one, 2);
    cr_assert(d.estimate.units == 1 && d.estimate.mean == 0 && isnan(d.p) && isnan(d.correlation));
    d = difference_paired(resamples, same, same, 4);
    cr_assert(d.estimate.units == 3 && d.p == 1 && isnan(d.correlation));
}

/* ---- the same numbers however they are asked for ---- */

static uint64_t state;

/* Uniform in [0, 1): splitmix64. */
static double uniform(void) {
    uint64_t z = state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static double normal(void) {
    double radius = sqrt(-2 * log(1 - uniform()));
    return radius * cos(2 * M_PI * uniform());
}

static bool same_estimate(const struct estimate *a, const struct estimate *b) {
    return a->units == b->units && memcmp(&a->mean, &b->mean, sizeof a->mean) == 0 && a->low == b->low &&
           a->high == b->high && a->stderror == b->stderror;
}

/* Columns that lack different units, and more units than a table is kept for. */
static void check_together(size_t units) {
    enum { COLUMNS = 5 };
    double *values = calloc(units * COLUMNS, sizeof *values), *column = calloc(units, sizeof *column);
    double *base = calloc(units * COLUMNS, sizeof *base), *pair = calloc(units, sizeof *pair);
    struct estimate many[COLUMNS];
    struct difference differences[COLUMNS];
    const double *starts[COLUMNS];
    struct resamples *other = resamples_new();
    for (size_t i = 0; i < units * COLUMNS; i++) {
        values[i] = i % COLUMNS == 3 ? (double)(uniform() < 0.3) : normal();
        base[i] = i % COLUMNS == 3 ? (double)(uniform() < 0.2) : normal();
        if (i % COLUMNS == 1 && i % 7 == 0) values[i] = NAN;
    }
    for (size_t c = 0; c < COLUMNS; c++) starts[c] = values + c;
    estimate_means(resamples, values, units, COLUMNS, COLUMNS, many);
    differences_paired(resamples, starts, COLUMNS, base, units, COLUMNS, differences);
    for (size_t c = 0; c < COLUMNS; c++) {
        for (size_t i = 0; i < units; i++) {
            column[i] = values[i * COLUMNS + c];
            pair[i] = base[i * COLUMNS];
        }
        struct estimate alone = estimate_mean(other, column, units);
        struct difference difference = difference_paired(other, column, pair, units);
        cr_assert(same_estimate(&alone, &many[c]), "%zu units, column %zu", units, c);
        cr_assert(same_estimate(&difference.estimate, &differences[c].estimate), "%zu units, column %zu", units, c);
        cr_assert_eq(difference.p, differences[c].p);
        cr_assert_eq(difference.correlation, differences[c].correlation);
        cr_assert(alone.low < alone.mean && alone.mean < alone.high);
    }
    resamples_free(other);
    free(values);
    free(column);
    free(base);
    free(pair);
}

Test(inference, many_are_as_one_by_one) {
    state = 7;
    check_together(9);
    check_together(100);
    check_together(5003);
}

/* The bootstrap of many units is the normal interval. */
Test(inference, large_samples_give_the_normal_interval) {
    enum { UNITS = 6000 };
    double *values = calloc(UNITS, sizeof *values);
    state = 11;
    for (size_t i = 0; i < UNITS; i++) values[i] = normal();
    struct estimate e = estimate_mean(resamples, values, UNITS);
    near((e.high - e.low) / (2 * 1.959964 * e.stderror), 1, 0.06, "width");
    near((e.high + e.low - 2 * e.mean) / e.stderror, 0, 0.2, "middle");
    free(values);
}

/* ---- coverage ---- */

/* The share of 95% intervals of 30 units that hold the true mean. */
static double coverage(double (*draw)(void), double mean) {
    enum { UNITS = 30, ROUNDS = 2000 };
    double values[UNITS];
    size_t held = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < UNITS; i++) values[i] = draw();
        struct estimate e = estimate_mean(resamples, values, UNITS);
        held += e.low <= mean && mean <= e.high;
    }
    return (double)held / ROUNDS;
}

static double triangle(void) {
    return uniform() + uniform();
}

/* The share of 8 samples that are right, for a prompt of any difficulty. (The share for one sample each is a binomial,
 * whose coverage no interval can keep near 95% at every probability.) */
static double pass_rate(void) {
    double p = uniform(), passed = 0;
    for (int i = 0; i < 8; i++) passed += uniform() < p;
    return passed / 8;
}

Test(inference, intervals_hold_the_mean_as_often_as_they_say) {
    state = 2024;
    double of_normal = coverage(normal, 0), of_triangle = coverage(triangle, 1), of_rate = coverage(pass_rate, 0.5);
    cr_assert(of_normal >= 0.92 && of_normal <= 0.97, "normal: %g", of_normal);
    cr_assert(of_triangle >= 0.92 && of_triangle <= 0.97, "triangular: %g", of_triangle);
    cr_assert(of_rate >= 0.92 && of_rate <= 0.97, "pass rates: %g", of_rate);
}

/* Without a difference, p below 0.05 comes 5% of the time. */
Test(inference, p_is_uniform_without_a_difference) {
    enum { UNITS = 30, ROUNDS = 2000 };
    double a[UNITS], b[UNITS];
    size_t found = 0;
    state = 5;
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < UNITS; i++) {
            double shared = normal();
            a[i] = shared + normal();
            b[i] = shared + normal();
        }
        found += difference_paired(resamples, a, b, UNITS).p < 0.05;
    }
    double share = (double)found / ROUNDS, error = sqrt(0.05 * 0.95 / ROUNDS);
    cr_assert(fabs(share - 0.05) < 3 * error, "%g", share);
}
