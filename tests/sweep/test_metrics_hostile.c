/* test_metrics_hostile.c: cells that nobody would wish for: empty, huge, full of bytes that are no text. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "cells.h"
#include "strbuf.h"
#include "sweep/answers.h"
#include "sweep/ngrams.h"

static char *references[] = {"a reference, with words", ""};

/* References, choices and an answer: every metric has something to do. */
static void ask(struct cell *cell) {
    static char blue[] = "blue", red[] = "red";
    static char *choices[] = {blue, red};
    struct sweep_prompt *prompt = cell_prompt(cell);
    prompt->references = references;
    prompt->reference_count = 2;
    prompt->choices = choices;
    prompt->choice_count = 2;
    prompt->answer = blue;
}

static double value[METRIC_COUNT];

/* Whether every value is a number that its metric may have, or NaN. */
static void measure(const struct cell *cell) {
    metrics_cell(cell, NULL, value);
    for (int m = METRIC_distinct_1; m < METRIC_COUNT; m++)
        cr_expect(isnan(value[m]) || (value[m] >= 0 && isfinite(value[m])), "%s: %g", metric_info[m].name, value[m]);
}

Test(metrics_hostile, nothing) {
    struct cell *cell = cell_new(0);
    ask(cell);
    measure(cell);
    for (int m = 0; m < METRIC_COUNT; m++) cr_expect(isnan(value[m]));
}

Test(metrics_hostile, samples_without_anything) {
    struct cell *cell = cell_new(3); /* every array is NULL */
    ask(cell);
    measure(cell);
    cr_expect_eq(value[METRIC_length], 0);
    cr_expect_eq(value[METRIC_unique_ratio], 1. / 3);
    cr_expect_eq(value[METRIC_self_bleu], 0);
    cr_expect_eq(value[METRIC_exact_match], 0);
    cr_expect_eq(value[METRIC_bleu], 0);
    cr_expect(isnan(value[METRIC_logprob]));
    cr_expect(isnan(value[METRIC_distinct_1]));
    cr_expect(isnan(value[METRIC_compression_ratio]));
    cr_expect_eq(sample_is_right(&cell->samples[0], cell->prompt), 0);
}

Test(metrics_hostile, figures_that_are_no_numbers) {
    struct cell *cell = cell_new(2);
    ask(cell);
    for (size_t s = 0; s < 2; s++) sample_set_tokens(cell_sample(cell, s), (int32_t[]){INT32_MIN, -1, INT32_MAX}, 3);
    cell->vocab_size = INT32_MIN;
    ((float *)cell->samples[0].logprob)[1] = -INFINITY;
    ((float *)cell->samples[1].entropy)[0] = NAN;
    for (size_t i = 0; i < 3; i++) ((int32_t *)cell->samples[1].kept)[i] = INT32_MAX;
    measure(cell);
    cr_expect_eq(value[METRIC_logprob], -INFINITY);
    cr_expect_eq(value[METRIC_perplexity], INFINITY);
    cr_expect(isnan(value[METRIC_entropy]));
    cr_expect_eq(value[METRIC_kept], INT32_MAX / 2.);
    cr_expect_eq(value[METRIC_distinct_1], 0.5);
    cr_expect(isnan(value[METRIC_distinct_1_norm]));
    cr_expect_eq(value[METRIC_best_of_n], 0);
    ((float *)cell->samples[1].logprob)[0] = NAN; /* neither has a mean that is a number */
    sample_set_text(cell_sample(cell, 0), "blue");
    measure(cell);
    cr_expect_eq(value[METRIC_best_of_n], 1);
}

/* NUL is a character like others; a byte that is no UTF-8 is U+FFFD. */
Test(metrics_hostile, bytes_that_are_no_text) {
    struct cell *cell = cell_new(1);
    static char reference[] = "x \xEF\xBF\xBD\xEF\xBF\xBD z";
    char *list[] = {reference};
    cell_prompt(cell)->references = list;
    cell_prompt(cell)->reference_count = 1;
    cell_prompt(cell)->answer = list[0];
    sample_set_text(cell_sample(cell, 0), "x \xFF\xC3 z");
    measure(cell);
    cr_expect_float_eq(value[METRIC_bleu], 100, 1e-9);
    cr_expect_float_eq(value[METRIC_chrf], 100, 1e-9);
    cr_expect_eq(value[METRIC_exact_match], 1);
    cell_sample(cell, 0)->text = "x\0y z";
    cell_sample(cell, 0)->text_length = 5;
    measure(cell);
    cr_expect_eq(value[METRIC_exact_match], 0);
    cr_expect_eq(value[METRIC_rouge_l], 0.8); /* x, y, z against x, z: P = 2/3, R = 1 */
}

Test(metrics_hostile, random_bytes) {
    uint64_t state = 5;
    for (int round = 0; round < 3000; round++) {
        struct cell *cell = cell_new(1 + (size_t)round % 3);
        struct strbuf text[4] = {{0}};
        for (size_t t = 0; t < 4; t++) {
            static const char rich[] = "a1 .,-&;<>\n\xC2\xA0\xE2\x80\xA8\xE3\x80\x80\xF0\x9F\xFF\xC4\xB0theANblue";
            size_t n = next_random(&state) % 30;
            strbuf_text(&text[t], "");
            for (size_t i = 0; i < n; i++) strbuf_char(&text[t], rich[next_random(&state) % (sizeof rich - (t == 3))]);
        }
        char *reference[] = {text[3].data};
        cell_prompt(cell)->references = reference;
        cell_prompt(cell)->reference_count = 1;
        cell_prompt(cell)->answer = text[3].data;
        cell_prompt(cell)->choices = reference;
        cell_prompt(cell)->choice_count = (size_t)round % 2;
        for (size_t s = 0; s < cell->count; s++) {
            cell_sample(cell, s)->text = text[s].data; /* ends where its memory ends, for the sanitizers */
            cell_sample(cell, s)->text_length = text[s].length;
        }
        measure(cell);
        cr_expect(value[METRIC_bleu] <= 100 + 1e-9 && value[METRIC_chrf] <= 100 + 1e-9);
        cr_expect_leq(value[METRIC_rouge_l], 1);
        for (size_t t = 0; t < 4; t++) strbuf_free(&text[t]);
    }
}

/* ---- size ---- */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Samples of one token each, all equal, all different, or of a hundred kinds; texts and an answer too. */
static double time_cell(size_t count, size_t kinds) {
    struct cell *cell = cell_new(count);
    int32_t *tokens = xarray(count, sizeof *tokens);
    ask(cell);
    for (size_t s = 0; s < count; s++) {
        struct sample_record *sample = cell_sample(cell, s);
        if (s == 0)
            sample_set_tokens(sample, tokens, 1);
        else
            *sample = cell->samples[0]; /* its figures serve all */
        tokens[s] = (int32_t)(s % kinds);
        sample->tokens = &tokens[s];
        sample_set_text(sample, s % kinds ? "red" : "blue");
    }
    double begin = seconds();
    measure(cell);
    double took = seconds() - begin;
    cr_expect_float_eq(value[METRIC_unique_ratio], (double)kinds / (double)count, 1e-12);
    cr_expect_float_eq(value[METRIC_exact_match], 1. / (double)kinds, 1e-12);
    cr_expect_float_eq(value[METRIC_distinct_1], (double)kinds / (double)count, 1e-12);
    cr_expect_float_eq(value[METRIC_self_bleu], kinds == count ? 0 : 100, 1e-9);
    return took;
}

/* A step that is quadratic in the samples would take 64 times as long for 8 times as many. */
Test(metrics_hostile, many_samples_take_linear_time, .timeout = 120) {
    size_t kinds[] = {1, 100, 0};
    for (int k = 0; k < 3; k++) {
        double few = INFINITY;
        for (int i = 0; i < 3; i++) few = fmin(few, time_cell(50000, kinds[k] ? kinds[k] : 50000));
        double many = time_cell(400000, kinds[k] ? kinds[k] : 400000);
        cr_expect_lt(many, 32 * few, "%zu kinds: %.3f s for 50000 samples, %.3f s for 400000", kinds[k], few, many);
    }
}

/* One sample as long as a huge context, its text as long as a book. */
Test(metrics_hostile, a_long_sample, .timeout = 120) {
    enum { TOKENS = 1 << 20 };
    struct cell *cell = cell_new(2);
    ask(cell);
    int32_t *tokens = xarray(TOKENS, sizeof *tokens);
    struct strbuf text = {0};
    for (size_t i = 0; i < TOKENS; i++) strbuf_text(&text, i % 2 ? "., " : "\xE4\xB8\xAD<");
    for (size_t s = 0; s < 2; s++) {
        sample_set_tokens(cell_sample(cell, s), tokens, TOKENS);
        sample_set_text(cell_sample(cell, s), text.data);
    }
    measure(cell);
    cr_expect_eq(value[METRIC_distinct_1], 1. / (2. * TOKENS));
    cr_expect_eq(value[METRIC_seq_rep_4], 1 - 1. / (TOKENS - 3));
    cr_expect_eq(value[METRIC_loop_rate], 1);
    cr_expect_float_eq(value[METRIC_self_bleu], 100, 1e-9);
}

/* Many long choices that share their beginnings. */
Test(metrics_hostile, many_choices) {
    enum { CHOICES = 2000 };
    struct cell *cell = cell_new(1);
    char **choices = xarray(CHOICES, sizeof *choices);
    struct strbuf text = {0};
    for (size_t i = 0; i < CHOICES; i++) {
        strbuf_text(&text, i ? " z" : "z");
        choices[i] = xdup(text.data, text.length);
    }
    cell_prompt(cell)->choices = choices;
    cell_prompt(cell)->choice_count = CHOICES;
    cell_prompt(cell)->answer = choices[CHOICES - 1];
    strbuf_text(&text, "y");
    sample_set_text(cell_sample(cell, 0), text.data);
    measure(cell);
    cr_expect_eq(value[METRIC_exact_match], 0);
    cell_prompt(cell)->answer = choices[CHOICES - 2]; /* the last one's z goes on with y */
    measure(cell);
    cr_expect_eq(value[METRIC_exact_match], 1);
}

/* ---- the table of n-grams ---- */

Test(metrics_hostile, numbers_are_exact) {
    enum { PAIRS = 200000 };
    struct ngram_table table = {0};
    uint64_t state = 6;
    for (int round = 0; round < 2; round++) {
        cr_expect_eq(ngram_find(&table, 0, 0), NGRAM_NONE);
        for (int32_t i = 0; i < PAIRS; i++) cr_assert_eq(ngram_add(&table, i / 2, i % 2 ? INT32_MIN : -i), i + 1);
        cr_expect_eq(table.count, PAIRS);
        for (int i = 0; i < 100000; i++) {
            int32_t k = (int32_t)(next_random(&state) % PAIRS);
            cr_assert_eq(ngram_add(&table, k / 2, k % 2 ? INT32_MIN : -k), k + 1);
            cr_assert_eq(ngram_find(&table, k / 2, k % 2 ? INT32_MIN : -k), k + 1);
            cr_assert_eq(ngram_find(&table, k / 2, 5), NGRAM_NONE);
        }
        ngram_clear(&table);
    }
    ngram_free(&table);
}
