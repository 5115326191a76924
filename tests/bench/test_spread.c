/* test_spread.c: statistics of measurements against numpy's figures and a count by hand. */
#include <criterion/criterion.h>
#include <math.h>

#include "bench/spread.h"

/* What numpy.percentile, .mean() and .std(ddof=1) say of these. */
static const double values[] = {12.5, 3.25, 99.0, 7.75, 7.75, 41.0, 0.5, 18.25, 63.5, 28.0, 5.0};
enum { COUNT = sizeof values / sizeof *values };

static void expect_near(double got, double expected, const char *what) {
    cr_expect(fabs(got - expected) <= 1e-12 * fabs(expected), "%s: expected %.17g, got %.17g", what, expected, got);
}

Test(spread, agrees_with_numpy) {
    const struct spread s = spread_of(values, COUNT);
    cr_expect_eq(s.count, COUNT);
    expect_near(s.mean, 26.045454545454547, "mean");
    expect_near(s.stddev, 30.792007522614167, "stddev");
    expect_near(s.p50, 12.5, "p50");
    expect_near(s.p90, 63.5, "p90");
    expect_near(s.p95, 81.25, "p95");
    expect_near(s.p99, 95.45, "p99");
    cr_expect_eq(s.min, 0.5);
    cr_expect_eq(s.max, 99.0);
}

/* By definition and without sorting: the value with that many below it. */
static double nth(const double *list, size_t count, size_t n) {
    for (size_t i = 0; i < count; i++) {
        size_t below = 0, equal = 0;
        for (size_t k = 0; k < count; k++) {
            below += list[k] < list[i];
            equal += list[k] == list[i];
        }
        if (below <= n && n < below + equal) return list[i];
    }
    return (double)NAN;
}

static double naive(const double *list, size_t count, double share) {
    double position = share * (double)(count - 1), below = floor(position);
    double low = nth(list, count, (size_t)below), high = nth(list, count, (size_t)ceil(position));
    return low * (1 - (position - below)) + high * (position - below);
}

Test(spread, percentiles_of_every_short_list) {
    for (size_t count = 1; count <= COUNT; count++) {
        const struct spread s = spread_of(values, count);
        expect_near(s.p50, naive(values, count, 0.50), "p50");
        expect_near(s.p90, naive(values, count, 0.90), "p90");
        expect_near(s.p95, naive(values, count, 0.95), "p95");
        expect_near(s.p99, naive(values, count, 0.99), "p99");
    }
}

Test(spread, one_value_and_none) {
    const struct spread one = spread_of(values, 1), none = spread_of(values, 0);
    cr_expect_eq(one.stddev, 0);
    cr_expect_eq(one.p99, 12.5);
    cr_expect(isnan(none.mean) && isnan(none.stddev) && isnan(none.p50) && isnan(none.max));
}

Test(spread, samples_grow) {
    struct samples samples = {0};
    for (int i = 0; i < 1000; i++) samples_add(&samples, i);
    cr_expect_eq(samples.count, 1000);
    expect_near(spread_of(samples.items, samples.count).p99, 989.01, "p99 of 0 … 999");
    samples_free(&samples);
    cr_expect_null(samples.items);
}
