/* peer.h: other projects' benchmark programs: how each is asked for one of our tests, and what its answer says. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "plan.h"

/* Programs that are known: llama-bench runs tests of one sequence, llama-batched-bench those of several. */
struct peer {
    const char *name; /* borrowed, as `path` and `model` */
    const char *path;
    const char *model;            /* a file of its own kind */
    const struct text_list *more; /* words that are added to its command line */
    double time_limit;            /* seconds that one run may take */
    int32_t threads;
    bool cpu; /* not on a GPU */
};

/* "llama-bench=PATH". 0 or the exit status after complaining: an unknown name, a file that cannot be run. */
int peer_parse(struct peer *peer, const char *text);
/* Whether this program runs such tests. */
bool peer_runs(const struct peer *peer, const struct speed_test *test);

/* What it said of one run. */
struct peer_answer {
    double rate;     /* tokens per second over all sequences */
    char model[96];  /* "gpt2 0.1B F32"; "" when it does not tell, as for all below */
    char build[48];  /* commit */
    char cache[32];  /* types of keys and values */
    int64_t threads; /* 0: it does not tell */
};
/* Runs it once, with its own warm-up. 0 or the exit status after one line that says what went wrong. */
int peer_run(const struct peer *peer, const struct speed_test *test, struct peer_answer *answer);

/* What its times leave out or do differently, in words. */
const char *peer_differs(const struct peer *peer);

#endif
