/* inference.h: how sure a number is. Units are what was drawn independently: prompts, or samples where there is one
 * prompt only. Deterministic: the resamples come from Philox with a fixed key, the same for every setting, so that
 * differences between settings are resampled together. Values that are NaN are left out with their unit. */
#ifndef SWEEP_INFERENCE_H
#define SWEEP_INFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BOOTSTRAP_RESAMPLES = 2000, PERMUTATIONS = 20000, EXACT_FLIPS = 14 };

/* The random numbers of all estimates: made when first asked for, kept (up to a few MiB for each number of units) and
 * shared by all threads. Equal for every object. */
struct resamples;
struct resamples *resamples_new(void);
void resamples_free(struct resamples *resamples); /* NULL is fine */

struct estimate {
    double mean;      /* NaN without units */
    double low, high; /* 95% interval; NaN with fewer than 2 units */
    double stderror;  /* of the mean, from the units' spread; NaN with fewer than 2 */
    size_t units;
};

/* Mean with a BCa bootstrap interval (Efron 1987; quantiles interpolated as scipy.stats.bootstrap does it); both ends
 * are the mean where all values are equal. It is too short for few units: of a normal variable's mean it holds the true
 * one in 84% of cases with 5 units, 90% with 10, 94% with 30 (measured). Any thread. */
struct estimate estimate_mean(struct resamples *resamples, const double *values, size_t count);
/* The same for many: value i of column c is values[i * stride + c]; out[columns]. Much faster than one by one. */
void estimate_means(struct resamples *resamples, const double *values, size_t count, size_t columns, size_t stride,
                    struct estimate *out);

struct difference {
    struct estimate estimate; /* of a - b, over units that have both */
    double p;           /* two-sided, by the paired sign-flip test: exact where at most EXACT_FLIPS differences are
                                 not 0, else by PERMUTATIONS random flips, (hits + 1) / (draws + 1) (Phipson & Smyth
                                 2010); NaN with fewer than 2 units */
    double adjusted;    /* for all comparisons that were made together: p until set by adjust_* */
    double correlation; /* of a and b over the units: what pairing gains; NaN when one does not vary */
};
struct difference difference_paired(struct resamples *resamples, const double *a, const double *b, size_t count);
/* The same for many against one: value i of column c is a[c][i * stride], of b b[i * stride]; out[columns]. */
void differences_paired(struct resamples *resamples, const double *const *a, size_t columns, const double *b,
                        size_t count, size_t stride, struct difference *out);

/* p-values adjusted for count comparisons, NaN ones left out: Holm (1979) controls the chance of any false finding,
 * Benjamini & Hochberg (1995) the share of false ones. adjusted[count] may be p. */
void adjust_holm(const double *p, size_t count, double *adjusted);
void adjust_bh(const double *p, size_t count, double *adjusted);

/* 1 - C(n - c, k) / C(n, k): the chance that k of n samples, c of them right, hold a right one (Chen et al. 2021). NaN
 * when n < k or k < 1. */
double pass_at_k(int64_t n, int64_t c, int64_t k);

/* Expected best of `budget` settings tried, from the scores of all: the mean of the maximum of `budget` draws without
 * replacement (Dodge et al. 2019 draw with it, which Tang et al. 2020 show to be biased): what a sampler reaches when
 * that many of its settings were tuned. NaN scores are left out; NaN when budget is 0 or more than what is left. */
double expected_best(const double *scores, size_t count, size_t budget);

#endif
