/* speed.h: measurements of `bench`. */
#ifndef TOOLS_SPEED_H
#define TOOLS_SPEED_H

#include "common.h"
#include "input.h"

enum speed_kind { SPEED_PREFILL, SPEED_DECODE, SPEED_ENCODE, SPEED_DETOKENIZE, SPEED_STARTUP };

struct speed_test {
    enum speed_kind kind;
    int32_t tokens; /* prompt tokens of a prefill, steps of a decode */
    int32_t batch;  /* sequences at once */
    int32_t depth;  /* tokens before the first decode step */
};

/* The figures of one test, from `count` repetitions: tokens per second, or seconds for SPEED_STARTUP. */
struct speed_row {
    struct speed_test test;
    char name[48];
    double *samples; /* [count], owned */
    size_t count;
    double mean, median, stddev, min, max;
    double bytes_per_second;  /* of text, SPEED_ENCODE and SPEED_DETOKENIZE; else 0 */
    double share_of_roofline; /* NaN where there is none */
    const char *bound;        /* "bandwidth" or "compute": which ceiling it is a share of; "" */
};

struct speed_setup {
    struct session *session;
    tempera_sampling sampling;
    int32_t repetitions, warmup;
    double read_bytes_per_second, flops; /* ceilings */
};

/* Longest sequence that a test needs. */
int32_t speed_length(const struct speed_test *test, int32_t step_tokens);
/* Fills the row; 0 or the exit status. */
int speed_run(const struct speed_setup *setup, const struct speed_test *test, struct speed_row *row);
/* Fills share_of_roofline and bound of a prefill or decode row from the ceilings. */
void speed_share(const struct speed_setup *setup, struct speed_row *row);
/* Speed of the tokenizer on a text: two rows, encode and decode. */
int speed_tokenizer(const struct speed_setup *setup, const struct text *text, struct speed_row rows[2]);
/* Seconds from starting this program to its first token. */
int speed_startup(const struct speed_setup *setup, const struct common_args *args, struct speed_row *row);

enum speed_format { SPEED_TABLE, SPEED_MARKDOWN, SPEED_CSV, SPEED_JSON };
void speed_print(const struct speed_setup *setup, const struct speed_row *rows, size_t count, enum speed_format format);

#endif
