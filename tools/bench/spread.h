/* spread.h: what a list of measurements says: mean, median, spread, percentiles. */
#ifndef BENCH_SPREAD_H
#define BENCH_SPREAD_H

#include <stddef.h>

/* Zero-initialise; freed by samples_free. */
struct samples {
    double *items;
    size_t count, capacity;
};
void samples_add(struct samples *samples, double value);
void samples_free(struct samples *samples);

/* All NaN where nothing was measured. stddev is that of a sample (divisor count - 1), 0 for one value. */
struct spread {
    size_t count;
    double mean, stddev, min, max;
    double p50, p90, p95, p99; /* p50 is the median */
};
struct spread spread_of(const double *values, size_t count);

/* The value below which `share` (0 … 1) of the sorted values lie, linear between the two nearest (the default of R and
 * numpy: position share * (count - 1)). count at least 1. */
double percentile(const double *sorted, size_t count, double share);

#endif
