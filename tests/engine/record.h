/* record.h: runs requests on an engine and keeps, for every sample, its tokens, a hash of its statistics and one of
 * every logits row it was drawn from. Two runs that promise equal samples must give equal records. */
#ifndef TESTS_RECORD_H
#define TESTS_RECORD_H

#include <stdint.h>

#include "engine/engine.h"

enum { RECORD_TOKENS = 96 };

struct record {
    int32_t tokens[RECORD_TOKENS];
    int32_t count;
    uint64_t
        logits; /* hash over the bits of all logits rows, in order; 0: an engine that runs ahead has overwritten them */
    uint64_t stats; /* hash over the bits of all token statistics */
    char text[1024];
    tempera_finish finish;
    bool done;
};

struct job {
    const int32_t *prompt;
    size_t prompt_count;
    const tempera_sampling *settings;
    size_t setting_count;
    struct record *record; /* [sum of n over the settings], setting-major; NULL: a stranger nobody looks at */
};

/* A model folder opened for tests; the tokenizer may be NULL. */
struct test_model {
    struct model *model;
    struct tokenizer *tokenizer;
    int32_t eos[CONFIG_MAX_EOS], eos_count;
};
void test_model_open(struct test_model *m, const char *folder);
void test_model_close(struct test_model *m);

/* ahead: where the device runs ahead, let it. */
struct engine *test_engine_open(const struct test_model *m, const tempera_engine_options *options, bool ahead);

/* Submits a job, which must stay where it is until it is done. Returns its id. */
uint64_t submit_job(struct engine *engine, const struct job *job);
/* One step, then the engine's invariants. False: all is done, and nothing leaked. A failed step fills *err. */
bool step_jobs(struct engine *engine, tempera_error *err);
/* Submits all jobs and steps until idle. */
void run_jobs(struct engine *engine, const struct job *jobs, size_t count);

/* Asserts equality; `what` starts the message. */
void expect_equal(const struct record *a, const struct record *b, size_t count, const char *what);

#endif
