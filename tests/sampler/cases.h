/* cases.h: random logits rows, histories and settings for the sampler's tests, all from a seed. */
#ifndef TESTS_SAMPLER_CASES_H
#define TESTS_SAMPLER_CASES_H

#include "backend/backend.h"

struct random {
    uint64_t state;
};
uint64_t random_bits(struct random *r);
double random_uniform(struct random *r); /* in (0, 1) */
double random_normal(struct random *r);
int32_t random_below(struct random *r, int32_t n); /* 0 … n-1 */

/* Kinds of rows, all with their own traps. */
enum row_kind {
    ROW_NORMAL, /* widths 0.1 … 10 */
    ROW_PEAKED, /* few likely tokens over a wide tail */
    ROW_TIED,   /* few distinct values */
    ROW_EQUAL,
    ROW_HALF_BANNED, /* -inf in places */
    ROW_NAN,         /* NaN in places */
    ROW_INFINITE,    /* some +inf, some -inf */
    ROW_SINGLE,      /* all but one -inf */
    ROW_NOTHING,     /* all -inf or NaN */
    ROW_HUGE,        /* magnitudes up to the largest float */
    ROW_TINY,        /* zeros of both signs and denormals */
    ROW_KINDS
};
void case_row(struct random *r, enum row_kind kind, float *row, int32_t V);

enum { CASE_HISTORY = 64, CASE_LIST = 8 };

/* One branch with all that it points to. */
struct sampler_case {
    struct branch_params params;
    struct branch_draw draw;
    int32_t history[CASE_HISTORY];
    tempera_logit_bias bias[CASE_LIST];
    int32_t suppress[CASE_LIST];
};
/* Random settings: every filter and penalty is off as often as on, values at the ends of their ranges are likely, the order
 * is a preset or a random list of stages. row 0, not forced, no statistics. */
void case_settings(struct random *r, struct sampler_case *c, int32_t V);
/* Everything off, default order, temperature as given. */
void case_plain(struct sampler_case *c, float temperature);

#endif
