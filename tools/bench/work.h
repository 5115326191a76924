/* work.h: what a test must read and compute, counted from the model's shapes, against what the device can do. */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include "plan.h"

/* Of one decode step of all sequences, the mean over the test's steps; of the whole of a prompt.
 * Weights: every one once per step; a prompt takes a step for each max_step_tokens. Keys and values: those of every
 * token that is attended to, once per step and sequence (a sliding window is not counted as shorter). flops: two for
 * every weight of a layer and token and for the head where logits are wanted, four for every key and head's element. */
struct work {
    double weight_bytes, kv_bytes, flops;
};
struct work work_of(const struct session *session, const struct speed_test *test);

/* Shares of the ceilings at `rate` tokens per second (of all sequences). */
struct work_share {
    double bandwidth, compute;
    double roofline;   /* the larger of the two: the least time that the ceilings allow, over the time taken */
    const char *bound; /* "bandwidth" or "compute": which it was */
};
struct work_share work_share(const struct setup *setup, const struct speed_test *test, const struct work *work,
                             double rate);
/* How often the work is done in a second at this rate. */
double work_per_second(const struct speed_test *test, double rate);

#endif
