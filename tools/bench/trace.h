/* trace.h: requests over time: from a file, or as a Poisson process. */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include "input.h"

struct arrival {
    double seconds;        /* after the start; not before the one in front of it */
    char *text;            /* the prompt, owned and terminated; NULL: prompt_tokens random ids */
    int32_t prompt_tokens; /* 0 with a text */
    int32_t output_tokens; /* at least 1 */
    size_t line;           /* in the file, from 1; 0: from none */
};

struct trace {
    struct arrival *items; /* [count] */
    size_t count;
};

/* A line for each request: SECONDS PROMPT_TOKENS OUTPUT_TOKENS, separated by blanks or commas; or a JSON object with
 * "seconds", "output_tokens" and either "prompt_tokens" or "prompt", the text. Empty lines and those that begin with #
 * are left out. "-" is standard input. 0 or the exit status after one line that names file and line. */
int trace_read(struct trace *trace, const char *path);

/* `count` arrivals, `rate` per second in the mean: independent exponential gaps, a function of the seed; no prompts. */
void trace_poisson(struct trace *trace, size_t count, double rate, uint64_t seed);

void trace_free(struct trace *trace);

#endif
