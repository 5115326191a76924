/* run.h: speed tests on an engine, timed with everything that generating text does: sampling, stop rules,
 * detokenising. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "input.h"
#include "plan.h"

/* Of every repetition: `rates`, tokens per second over all sequences. Of every sequence of every repetition, in
 * seconds: `ttft` from submission (all of a repetition are submitted together) to its first token; and of decode tests,
 * in the timed part, which begins when every sequence has its first token: `tpot`, its mean time per token, and `itl`,
 * every single gap between two of its tokens. */
struct measured {
    struct samples rates, ttft, tpot, itl;
};
void measured_free(struct measured *measured);

/* Counts runs, so that no two have the same prompts: an engine that keeps prompts for later must not find any. */
struct runner {
    const struct setup *setup;
    uint64_t runs;
};

/* One repetition, added to `measured` (NULL: a warm-up). 0 or the exit status. */
int run_once(struct runner *runner, const struct speed_test *test, struct measured *measured);

/* One repetition of the tokenizer on a text of `count` ids, at least a fifth of a second: passes per second. */
int run_tokenizer(const struct setup *setup, const struct text *text, const struct prompt *ids, bool encode,
                  double *rate);

#endif
