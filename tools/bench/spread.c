/* spread.c: statistics of measurements. */
#include "spread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "strbuf.h"

void samples_add(struct samples *samples, double value) {
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? 2 * samples->capacity : 64;
        samples->items = xgrow(samples->items, samples->capacity, sizeof *samples->items);
    }
    samples->items[samples->count++] = value;
}

void samples_free(struct samples *samples) {
    free(samples->items);
    *samples = (struct samples){0};
}

double percentile(const double *sorted, size_t count, double share) {
    double position = share * (double)(count - 1);
    size_t below = (size_t)position;
    if (below + 1 >= count) return sorted[count - 1];
    return sorted[below] + (position - (double)below) * (sorted[below + 1] - sorted[below]);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread spread_of(const double *values, size_t count) {
    const double none = (double)NAN;
    struct spread s = {count, none, none, none, none, none, none, none, none};
    double sum = 0, squares = 0;
    if (count == 0) return s;
    double *sorted = xarray(count, sizeof *sorted);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    for (size_t i = 0; i < count; i++) sum += sorted[i];
    s.mean = sum / (double)count;
    for (size_t i = 0; i < count; i++) squares += (sorted[i] - s.mean) * (sorted[i] - s.mean);
    s.stddev = count > 1 ? sqrt(squares / (double)(count - 1)) : 0;
    s.min = sorted[0];
    s.max = sorted[count - 1];
    s.p50 = percentile(sorted, count, 0.50);
    s.p90 = percentile(sorted, count, 0.90);
    s.p95 = percentile(sorted, count, 0.95);
    s.p99 = percentile(sorted, count, 0.99);
    free(sorted);
    return s;
}
