/* summary.h: the figures of a whole database, from its samples alone: every metric of every setting, with intervals,
 * and differences between settings. What run prints at its end, stats, report and best read.
 *
 * UNITS. Intervals and tests are over prompts. A database of one prompt says nothing of others; there the units are
 * the sample indices, whose noise the settings share, and a unit's value is
 * - for means over samples (log_likelihood, length, finish_*, seq_rep_n, loop_rate, exact_match, pass_1, verified,
 *   bleu, chrf, rouge_l) that of the sample alone;
 * - for means over tokens and for perplexity the linearised one, R + n_i / mean(n) (r_i - R), where R is the cell's
 *   value and r_i that of sample i with n_i tokens: its mean is R, its spread that of a ratio (Cochran 1977, chapter
 *   6);
 * - for what only several samples have (distinct_n, self_bleu, unique_ratio, compression_ratio, pass_2 ...) NaN: such
 *   a metric has a mean, the cell's value, but no interval and no p. */
#ifndef SWEEP_SUMMARY_H
#define SWEEP_SUMMARY_H

#include "inference.h"
#include "metrics.h"
#include "store.h"

struct summary {
    struct stored_points points;
    struct sweep_prompts prompts;
    int32_t vocab_size;
    size_t units; /* prompts, or the sample indices of the only prompt */
    bool units_are_samples;
    double *cell;               /* [points.count][prompts.count][METRIC_COUNT] */
    double *unit;               /* [points.count][units][METRIC_COUNT]; with several prompts it is `cell` */
    struct estimate *estimate;  /* [points.count][METRIC_COUNT]: the mean over prompts, its interval over units */
    int64_t *samples;           /* [points.count] that are there */
    bool present[METRIC_COUNT]; /* some cell has it */
    struct resamples *resamples;
};

/* Reads all samples, a prompt at a time, and uses every processor; the figures do not depend on how many there are.
 * mask NULL = all metrics. summary_free is needed either way. */
int summary_make(struct summary *summary, struct store *store, const struct metric_mask *mask);
void summary_free(struct summary *summary);

static inline const double *summary_cell(const struct summary *s, size_t point, size_t prompt) {
    return s->cell + (point * s->prompts.count + prompt) * METRIC_COUNT;
}

/* Each point against `baseline` (an index), point - baseline, by one metric, p-values adjusted over the points:
 * out[points.count]; the baseline's own is NaN. holm: Holm, else Benjamini-Hochberg. */
void summary_compare(const struct summary *summary, enum metric metric, size_t baseline, bool holm,
                     struct difference *out);

/* The index of the best point by a metric, of those that have it; SIZE_MAX when none has. For metrics that are neither
 * way better, the largest. */
size_t summary_best(const struct summary *summary, enum metric metric);

/* The index of a point by its name, its number or its setting ("temperature=0.8,top_p=0.9"); SIZE_MAX after
 * complaining. */
size_t summary_find_point(const struct summary *summary, const char *text);

#endif
