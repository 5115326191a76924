/* plan.h: which speed tests to run, and an engine that is large enough for all of them. */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include "args.h"
#include "setup.h"

enum speed_kind { SPEED_PREFILL, SPEED_DECODE };

struct speed_test {
    enum speed_kind kind;
    int32_t tokens; /* prompt tokens of a prefill, steps of a decode */
    int32_t batch;  /* sequences at once */
    int32_t depth;  /* tokens before them */
};

enum { PLAN_NAME = 56 };
/* "pp512", "tg128@d896@b16". */
void plan_name(char name[PLAN_NAME], const struct speed_test *test);

struct plan_args {
    struct int_list prefill, decode, depth, batch;
};
enum { PLAN_ARGS = 4 };
extern const struct arg plan_args[PLAN_ARGS]; /* the last one is batch */

struct plan {
    struct speed_test *tests; /* [count], owned */
    size_t count;
};
/* Every prefill at every depth, then every decode at every depth and batch. Lists that were not given get defaults, cut
 * to what a short context holds; lists that were given are not changed. */
void plan_make(struct plan *plan, struct plan_args *args, int32_t context);
void plan_free(struct plan *plan);

/* Longest sequence that a test needs, with prompts computed `step_tokens` at a time. */
int32_t plan_length(const struct speed_test *test, int32_t step_tokens);

/* Context, rows and pages for the largest test; pages so that none is preempted. 0 or the exit status. */
int plan_engine(const struct plan *plan, const struct session *session, const struct common_args *common,
                tempera_engine_options *options);

#endif
