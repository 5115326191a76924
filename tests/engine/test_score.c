/* test_score.c: teacher forcing through the public API, on every device: the figures are those of draws on that device. */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/mem.h"
#include "base/num.h"
#include "support.h"
#include "tempera/tempera.h"

enum { TOP = 8, SETTINGS = 30, MAX_BRANCHES = 40, MANY = 3000 };

struct session {
    tempera_model *model;
    tempera_engine *engine;
    int32_t V;
};

static struct session session_open(int32_t max_rows) {
    struct session s = {0};
    TEST_NEEDS_DEVICE();
    tempera_engine_options o = tempera_engine_options_default();
    tempera_model_info info;
    tempera_error err = {0};
    o.device = test_device();
    o.max_rows = max_rows;
    o.max_branches = MAX_BRANCHES;
    o.threads = 2;
    cr_assert_eq(tempera_model_open(test_demo_model(), &s.model, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tempera_engine_open(s.model, &o, &s.engine, &err), TEMPERA_OK, "%s", err.message);
    tempera_model_info_get(s.model, &info);
    s.V = info.vocab_size;
    return s;
}

static void session_close(struct session *s) {
    tempera_engine_close(s->engine);
    tempera_model_close(s->model);
}

/* A list with all kinds of settings. */
static void fill_settings(tempera_sampling *settings, size_t count) {
    static const char *const orders[] = {"default", "hf", "vllm", "llama.cpp", "top_p,temperature,top_k", "none"};
    static const tempera_logit_bias bias = {7, 2.0f};
    for (size_t i = 0; i < count; i++) {
        tempera_sampling *s = &settings[i];
        *s = tempera_sampling_default();
        s->temperature = 0.25f * (float)(i % 7);
        s->top_p = i % 3 ? 1.0f - 0.07f * (float)(i % 11) : 1.0f;
        if (i % 4 == 0) s->top_k = 1 + (int32_t)(i * 13 % 90);
        if (i % 5 == 0) s->min_p = 0.01f * (float)(i % 20);
        if (i % 6 == 5) s->typical_p = 0.8f;
        if (i % 7 == 3) s->repetition_penalty = 1.3f;
        if (i % 13 == 4) s->logit_bias = &bias, s->logit_bias_count = 1;
        cr_assert_eq(tempera_order_parse(orders[i % 6], &s->order, NULL), TEMPERA_OK);
    }
}

static bool same_bits(float a, float b) {
    return float_bits(a) == float_bits(b);
}

/* Text that the model finds likely in places: each token is one of the best TOP, and what draws said of it is kept. */
static void score_as_drawn(int32_t max_rows, int32_t count) {
    struct session s = session_open(max_rows);
    tempera_sampling settings[SETTINGS];
    int32_t ids[64] = {5};
    static tempera_token_stat drawn[64][SETTINGS], scored[SETTINGS * 64];
    static float final[64][SETTINGS], raw[64];
    tempera_error err = {0};
    fill_settings(settings, SETTINGS);
    for (int32_t i = 1; i < count; i++) {
        int32_t token[TOP], pick = i * 5 % TOP;
        float logprob[TOP], final_logprob[SETTINGS * TOP];
        cr_assert_eq(tempera_next(s.engine, ids, (size_t)i, settings, SETTINGS, TOP, token, logprob, final_logprob,
                                  drawn[i], &err),
                     TEMPERA_OK, "%s", err.message);
        ids[i] = token[pick];
        raw[i] = logprob[pick];
        for (int k = 0; k < SETTINGS; k++) final[i][k] = final_logprob[k * TOP + pick];
    }
    cr_assert_eq(tempera_score(s.engine, ids, (size_t)count, settings, SETTINGS, scored, &err), TEMPERA_OK, "%s",
                 err.message);
    for (int k = 0; k < SETTINGS; k++) {
        const tempera_token_stat *first = &scored[k * count];
        cr_assert(isnan(first->logprob) && isnan(first->final_logprob) && isnan(first->entropy) &&
                  isnan(first->final_entropy) && isnan(first->kept_mass));
        for (int32_t i = 1; i < count; i++) {
            const tempera_token_stat *got = &scored[k * count + i], *want = &drawn[i][k];
            cr_assert(same_bits(got->logprob, raw[i]) && same_bits(got->final_logprob, final[i][k]) &&
                          same_bits(got->entropy, want->entropy) && same_bits(got->kept_mass, want->kept_mass) &&
                          got->kept == want->kept,
                      "setting %d, token %d: %g %g %g %g %d; drawn %g %g %g %g %d", k, i, (double)got->logprob,
                      (double)got->final_logprob, (double)got->entropy, (double)got->kept_mass, got->kept,
                      (double)raw[i], (double) final[i][k], (double)want->entropy, (double)want->kept_mass, want->kept);
            cr_assert(isnan(want->final_entropy), "no draw gives it");
            cr_assert_geq(got->final_entropy, 0.0f);
            if (got->kept == 1) cr_assert_lt(got->final_entropy, 1e-6f);
        }
    }
    session_close(&s);
}

Test(score, figures_are_those_of_draws) {
    score_as_drawn(64, test_device_is_emulated() ? 8 : 40);
}
Test(score, chunks_do_not_show) {
    score_as_drawn(1, 35); /* 16 logits rows a step */
}

/* The divergence from a setting without filters, which the figures of one token already tell: KL(top_k 1 ‖ plain) is that
 * token's -log p; and what no distribution may lack. */
Test(score, divergences) {
    struct session s = session_open(64);
    tempera_sampling settings[4];
    int32_t ids[20];
    enum { COUNT = 20, PAIRS = 5 };
    const tempera_setting_pair pairs[PAIRS] = {{1, 0}, {0, 1}, {2, 2}, {2, 0}, {3, 0}};
    static tempera_token_stat stats[4 * COUNT];
    float divergence[PAIRS * COUNT];
    tempera_error err = {0};
    for (int i = 0; i < 4; i++) settings[i] = tempera_sampling_default();
    settings[1].temperature = 0.0f;
    settings[2].top_p = 0.7f;
    settings[3].typical_p = 0.6f;
    ids[0] = 5;
    for (int i = 1; i < COUNT; i++) { /* greedy */
        float logprob;
        cr_assert_eq(tempera_next(s.engine, ids, (size_t)i, NULL, 0, 1, &ids[i], &logprob, NULL, NULL, &err), 0);
    }
    cr_assert_eq(tempera_score_pairs(s.engine, ids, COUNT, settings, 4, pairs, PAIRS, stats, divergence, &err),
                 TEMPERA_OK, "%s", err.message);
    for (int p = 0; p < PAIRS; p++) cr_assert(isnan(divergence[p * COUNT]));
    for (int i = 1; i < COUNT; i++) {
        const double filtered = -log((double)stats[2 * COUNT + i].kept_mass);
        cr_assert_float_eq(divergence[i], -stats[i].logprob, 1e-5, "%g %g", (double)divergence[i],
                           (double)stats[i].logprob);
        cr_assert_eq(divergence[COUNT + i], INFINITY);
        cr_assert_eq(divergence[2 * COUNT + i], 0.0f);
        cr_assert_float_eq((double)divergence[3 * COUNT + i], filtered, 1e-5, "%g %g",
                           (double)divergence[3 * COUNT + i], filtered);
        cr_assert_float_eq((double)divergence[4 * COUNT + i], -log((double)stats[3 * COUNT + i].kept_mass), 1e-5);
        cr_assert_eq(stats[COUNT + i].final_entropy, 0.0f);
        cr_assert_float_eq(stats[i].final_entropy, stats[i].entropy, 3e-6);
    }
    session_close(&s);
}

/* More settings than branches; each is what it is alone. */
Test(score, many_settings) {
    struct session s = session_open(64);
    int32_t ids[6] = {5, 80, 300, 300, 12, 900};
    tempera_sampling *settings = calloc(MANY, sizeof *settings);
    tempera_token_stat *stats = calloc((size_t)MANY * 6, sizeof *stats), one[6];
    tempera_error err = {0};
    fill_settings(settings, MANY);
    cr_assert_eq(tempera_score(s.engine, ids, 6, settings, MANY, stats, &err), TEMPERA_OK, "%s", err.message);
    for (size_t i = 0; i < MANY; i += 97) {
        cr_assert_eq(tempera_score(s.engine, ids, 6, settings + i, 1, one, &err), TEMPERA_OK, "%s", err.message);
        cr_assert_arr_eq(one + 1, stats + i * 6 + 1, sizeof one - sizeof *one, "setting %zu", i);
    }
    free(settings);
    free(stats);
    session_close(&s);
}

Test(score, refusals) {
    struct session s = session_open(64);
    int32_t ids[2] = {5, 80};
    tempera_sampling settings[2] = {tempera_sampling_default(), tempera_sampling_default()};
    tempera_setting_pair pair = {0, 2};
    tempera_token_stat stats[4];
    float divergence[2];
    tempera_error err = {0};
    cr_assert_eq(tempera_score_pairs(s.engine, ids, 2, settings, 2, &pair, 1, stats, divergence, &err),
                 TEMPERA_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(err.message, "there are 2"), "%s", err.message);
    pair = (tempera_setting_pair){-1, 0};
    cr_assert_eq(tempera_score_pairs(s.engine, ids, 2, settings, 2, &pair, 1, stats, divergence, &err),
                 TEMPERA_INVALID_ARGUMENT);
    cr_assert_eq(tempera_score_pairs(s.engine, ids, 2, settings, 2, &pair, 1, stats, NULL, &err),
                 TEMPERA_INVALID_ARGUMENT);
    cr_assert_eq(tempera_score(s.engine, ids, 2, settings, 0, stats, &err), TEMPERA_INVALID_ARGUMENT);
    cr_assert_eq(tempera_score(s.engine, ids, 2, settings, 65537, stats, &err), TEMPERA_INVALID_ARGUMENT);
    session_close(&s);
}

/* ---- cancelling ----------------------------------------------------------------------------------------------- */

static tempera_engine *volatile to_cancel;
static void on_alarm(int number) {
    (void)number;
    tempera_cancel(to_cancel, 0);
}

/* From a signal handler, while a call runs that takes many times longer. */
Test(score, is_cancelled) {
    struct session s = session_open(1);
    int32_t ids[200];
    tempera_sampling *settings = calloc(MANY, sizeof *settings);
    tempera_token_stat *stats = calloc((size_t)MANY * 200, sizeof *stats);
    tempera_error err = {0};
    const struct itimerval soon = {.it_value = {.tv_usec = 20000}};
    for (int i = 0; i < 200; i++) ids[i] = (i * 37) % s.V;
    for (int i = 0; i < MANY; i++) {
        settings[i] = tempera_sampling_default();
        settings[i].typical_p = 0.5f; /* a draw for each token */
    }
    stats[199].kept = -1;
    to_cancel = s.engine;
    signal(SIGALRM, on_alarm);
    cr_assert_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    cr_assert_eq(tempera_score(s.engine, ids, 200, settings, MANY, stats, &err), TEMPERA_CANCELLED);
    cr_assert_not_null(strstr(err.message, "cancelled"), "%s", err.message);
    cr_assert_eq(stats[199].kept, -1, "it went on to the end");
    cr_assert_eq(tempera_score(s.engine, ids, 20, settings, 3, stats, &err), TEMPERA_OK, "%s", err.message);
    free(settings);
    free(stats);
    session_close(&s);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

Test(score, allocation_failures) {
    struct session s = session_open(64);
    if (test_device_is_emulated()) cr_skip_test("a module has allocations of its own");
    int32_t ids[4] = {5, 80, 300, 12};
    tempera_sampling settings[SETTINGS];
    const tempera_setting_pair pairs[2] = {{1, 0}, {5, 2}};
    tempera_token_stat stats[SETTINGS * 4];
    float divergence[2 * 4];
    size_t live = mem_stats_get().live;
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    long n = 0;
    fill_settings(settings, SETTINGS);
    for (; status != TEMPERA_OK; n++) {
        tempera_error err = {0};
        mem_fail_after(n);
        status = tempera_score_pairs(s.engine, ids, 4, settings, SETTINGS, pairs, 2, stats, divergence, &err);
        mem_fail_after(-1);
        if (status != TEMPERA_OK) cr_assert_eq(status, TEMPERA_OUT_OF_MEMORY, "allocation %ld: %s", n, err.message);
        cr_assert_eq(mem_stats_get().live, live, "allocation %ld leaks", n);
        cr_assert_lt(n, 1000);
    }
    cr_assert_gt(n, 4);
    session_close(&s);
}
