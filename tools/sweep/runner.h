/* runner.h: makes the samples that a database lacks. One prompt with all its settings and samples is one engine request;
 * what finished is written in transactions, so that a killed run loses little and another one goes on where it was. */
#ifndef SWEEP_RUNNER_H
#define SWEEP_RUNNER_H

#include "shard.h"
#include "store.h"
#include "verify.h"

/* What is wanted: samples [0, samples) of each listed point for each listed prompt. */
struct run_goal {
    const struct sweep_prompts *prompts;
    const size_t *prompt; /* [prompt_count] indices into prompts, ascending; NULL = all */
    size_t prompt_count;
    const struct point_list *points;
    const int32_t *number;  /* [points->count] their numbers in the store */
    const int32_t *samples; /* [points->count] how many of each; NULL = as the points say */
    struct shard shard;     /* the part of it that this process makes */
};

struct run_figures_total {
    double seconds;            /* wall time of the engine and the database */
    double statistics_seconds; /* of what was computed of finished prompts: forks, verdicts */
    double
        unshared_seconds; /* estimate of `seconds` with every sample on a row of its own, from a line fitted to how this
                                   run's steps grew with their rows; NaN when the run was too short to tell */
    int64_t samples, errors; /* made by this run */
    int64_t generated_tokens, row_steps, prompt_tokens;
};

struct runner {
    struct session *session; /* with its engine */
    struct store *store;
    const struct verify_options *verify; /* NULL: samples are not verified */
    int32_t rows;                        /* of the engine */
    bool quiet;
    struct run_figures_total total; /* adds up over calls */
};

/* 0, or the exit status: 130 after Ctrl-C, with everything that had finished written. */
int runner_run(struct runner *runner, const struct run_goal *goal);

/* Samples of the goal that the store lacks. */
int runner_missing(struct store *store, const struct run_goal *goal, int64_t *missing);

#endif
