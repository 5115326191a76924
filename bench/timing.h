/* timing.h: what the small benchmarks share: a clock, a median, and giving up. */
#ifndef BENCH_TIMING_H
#define BENCH_TIMING_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tempera/status.h"

static inline double clock_seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the values; of an even number the upper one. */
static inline double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, compare_doubles);
    return values[count / 2];
}

/* One line on stderr and exit 1 unless the call, which gets `err`, succeeds. */
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        tempera_error error_ = {0}, *err = &error_;                                                                    \
        if ((call) != TEMPERA_OK) {                                                                                    \
            fprintf(stderr, "%s: %s\n", __FILE__, err->message);                                                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
