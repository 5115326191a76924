/* setup.h: what the bench commands share: the model or a random one, the sampler, the ceilings, random prompts. */
#ifndef BENCH_SETUP_H
#define BENCH_SETUP_H

#include "common.h"
#include "rows.h"

struct setup_args {
    struct common_args common;
    struct rows_args rows;
    const char *random, *sampler;
};
#define SETUP_DEFAULTS                                                                                                 \
    { .common = common_defaults, .rows.format = "table" }
extern const struct arg setup_model_args[2]; /* random, sampler */

/* What is measured with, and what the device can do. */
struct setup {
    struct session session;
    tempera_sampling sampling;
    double read_bytes_per_second, flops; /* ceilings; 0 until they are measured */
};

/* Reads --sampler and opens the model; no engine yet. 0 or the exit status; setup_close is needed either way. */
int setup_open(struct setup *setup, const struct setup_args *args);
void setup_close(struct setup *setup);
/* "temperature=0.8,top_p=0.95" or "greedy" (also NULL). 0 or the exit status after complaining. */
int setup_sampler(tempera_sampling *sampling, const char *text, const char *what);

/* Before and after the tests: the better of the two counts, so that something else that was busy for a moment does not
 * lower a ceiling. */
int setup_ceilings(struct setup *setup);

/* The format: --json is --format json. */
const char *setup_format(const struct setup_args *args);
/* The end of every row: sampler, model, device, instructions, dtype, threads, build and the ceilings. */
void setup_figures(struct row *row, const struct setup *setup);
/* Lines for people: model, device, sampler, what the times include, ceilings. */
void setup_describe(struct strbuf *b, const struct setup *setup);

/* Ids of prompt number `prompt`, the same in every run and different for every prompt: splitmix64. */
void random_ids(int32_t *ids, size_t count, uint64_t prompt, int32_t vocab_size);

#endif
