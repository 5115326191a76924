/* fair.h: samplers compared at equal tuning budget. A sampler whose grid has more settings finds a better best one by luck
 * and effort alone; so compare the expected best of N settings tried, for equal N. */
#ifndef SWEEP_FAIR_H
#define SWEEP_FAIR_H

#include "summary.h"

/* The settings that use the same filters and penalties, whatever their values and temperatures. */
struct sampler_group {
    char *name;    /* "top_p", "top_k+min_p", "temperature" where nothing but the temperature is set; owned */
    size_t *point; /* [count] indices into the summary's points */
    size_t count;
    struct estimate *best; /* [count] best[n - 1]: expected best of n of its settings, by expected_best of inference.h,
                              with the percentile bootstrap interval over prompts (NaN with fewer than 2) */
};
struct fair_curves {
    struct sampler_group *groups;
    size_t count;
    size_t budget; /* settings of the smallest group: up to there all can be compared */
    /* of the group with the most at that budget against each: difference of the curves, resampled together; NaN bounds
     * with fewer than 2 prompts; its own is 0 */
    size_t leader;
    struct estimate *difference; /* [count] leader - group */
};

/* `less`: smaller values are better. Settings without the metric are left out. fair_free is needed. */
void fair_make(struct fair_curves *curves, const struct summary *summary, enum metric metric, bool less);
void fair_free(struct fair_curves *curves);

#endif
