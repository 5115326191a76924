/* test_marginals.c: first tokens come as often as the exact distribution says. The exact one is computed here from the
 * model's logits, in double precision, as the public papers describe the filters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tempera/tempera.h"

enum { SETTINGS = 20, SAMPLES = 100000, VOCABULARY = 1024 };

/* temperature, top_k, top_p, min_p, typical_p */
static const struct {
    double temperature;
    int32_t top_k;
    double top_p, min_p, typical_p;
} table[SETTINGS] = {
    {1, 0, 1, 0, 1},           {0.5, 0, 1, 0, 1},        {2, 0, 1, 0, 1},           {4, 0, 1, 0, 1},
    {1, 1, 1, 0, 1},           {1, 5, 1, 0, 1},          {1.5, 40, 1, 0, 1},        {1, 0, 0.5, 0, 1},
    {1, 0, 0.9, 0, 1},         {1.8, 0, 0.95, 0, 1},     {1, 0, 1, 0.02, 1},        {2, 0, 1, 0.05, 1},
    {3, 0, 1, 0.3, 1},         {1, 0, 1, 0, 0.5},        {2, 0, 1, 0, 0.9},         {1.3, 50, 0.9, 0, 1},
    {1.3, 100, 0.97, 0.01, 1}, {2.5, 200, 1, 0.02, 0.8}, {1.7, 0, 0.8, 0.05, 0.95}, {0.8, 10, 0.99, 0.001, 0.99},
};

/* ---- the exact distribution ---- */

struct candidate {
    int32_t token;
    double p, key;
};

static int by_key(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token); /* ties: lower ids first */
}

static void renormalise(struct candidate *c, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += c[i].p;
    for (size_t i = 0; i < count; i++) c[i].p /= sum;
}

/* The fewest of the first whose mass reaches `mass`. */
static size_t reach(const struct candidate *c, size_t count, double mass) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        if ((sum += c[i].p) >= mass) return i + 1;
    return count;
}

/* Fills p[VOCABULARY]; returns how many tokens are left. */
static size_t exact(const float *logits, size_t setting, double *p) {
    static struct candidate c[VOCABULARY];
    size_t count = VOCABULARY;
    double largest = -INFINITY, entropy = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, (double)logits[i]);
    for (size_t i = 0; i < count; i++) {
        double score = ((double)logits[i] - largest) / (double)(float)table[setting].temperature;
        c[i] = (struct candidate){(int32_t)i, exp(score), -score};
    }
    qsort(c, count, sizeof *c, by_key);
    if (table[setting].top_k > 0 && (size_t)table[setting].top_k < count) count = (size_t)table[setting].top_k;
    renormalise(c, count);
    if (table[setting].top_p < 1) count = reach(c, count, (double)(float)table[setting].top_p);
    renormalise(c, count);
    while (c[count - 1].p < (double)(float)table[setting].min_p * c[0].p) count--; /* Nguyen et al. 2024 */
    renormalise(c, count);
    if (table[setting].typical_p < 1) { /* Meister et al. 2023: nearest to the entropy first */
        for (size_t i = 0; i < count; i++) entropy -= c[i].p * log(c[i].p);
        for (size_t i = 0; i < count; i++) c[i].key = fabs(-log(c[i].p) - entropy);
        qsort(c, count, sizeof *c, by_key);
        count = reach(c, count, (double)(float)table[setting].typical_p);
        renormalise(c, count);
    }
    for (size_t i = 0; i < VOCABULARY; i++) p[i] = 0;
    for (size_t i = 0; i < count; i++) p[c[i].token] = c[i].p;
    return count;
}

/* ---- the test ---- */

/* The 1 - 1e-4 quantile of chi-square (Wilson & Hilferty 1931). */
static double quantile(double freedom) {
    const double z = 3.719016; /* of the normal distribution */
    double t = 1 - 2 / (9 * freedom) + z * sqrt(2 / (9 * freedom));
    return freedom * t * t * t;
}

/* Cells with fewer than 5 expected are one, as usual. */
static void expect_fit(const int32_t *seen, const double *p, size_t setting) {
    double sum = 0, rest_seen = 0, rest_expected = 0, cells = 0;
    int32_t drawn = 0;
    for (size_t i = 0; i < VOCABULARY; i++) drawn += seen[i];
    cr_assert_eq(drawn, SAMPLES);
    for (size_t i = 0; i < VOCABULARY; i++) {
        double expected = p[i] * SAMPLES;
        cr_assert(p[i] > 0 || seen[i] == 0, "setting %zu: token %zu was filtered out and drawn", setting, i);
        if (expected < 5) {
            rest_seen += seen[i];
            rest_expected += expected;
            continue;
        }
        sum += (seen[i] - expected) * (seen[i] - expected) / expected;
        cells++;
    }
    if (rest_expected >= 5) {
        sum += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
        cells++;
    }
    if (cells < 2) return; /* one token: it was the only one seen */
    cr_expect(sum < quantile(cells - 1), "setting %zu: chi-square %.1f with %.0f degrees of freedom; at 1e-4: %.1f",
              setting, sum, cells - 1, quantile(cells - 1));
}

static int32_t drawn_tokens[SETTINGS][VOCABULARY];

static void count_token(const tempera_sample *sample) {
    cr_assert_eq(sample->token_count, 1);
    drawn_tokens[sample->setting_index][sample->tokens[0]]++;
}

static void fill(tempera_sampling *settings, bool independent) {
    for (size_t i = 0; i < SETTINGS; i++) {
        settings[i] = tempera_sampling_default();
        settings[i].temperature = (float)table[i].temperature;
        settings[i].top_k = table[i].top_k;
        settings[i].top_p = (float)table[i].top_p;
        settings[i].min_p = (float)table[i].min_p;
        settings[i].typical_p = (float)table[i].typical_p;
        settings[i].independent = independent;
        settings[i].seed = 2026;
        settings[i].max_tokens = 1;
        settings[i].n = SAMPLES;
    }
}

/* 20 settings, 100,000 samples each, as one request of a sweep. A right sampler fails one of the 20 with probability
 * 0.2%; the seed is fixed. */
Test(marginals, first_tokens_come_as_often_as_they_should) {
    static float logits[VOCABULARY];
    static double p[VOCABULARY];
    static const char prompt[] = "Lily saw a";
    tempera_model *model;
    tempera_engine *engine;
    tempera_model_info info;
    tempera_error err;
    tempera_sampling settings[SETTINGS];
    int32_t *ids, token;
    float logprob, final[SETTINGS];
    tempera_token_stat stats[SETTINGS];
    size_t count, most = 0;
    cr_assert_eq(tempera_model_open(TEMPERA_DEMO_MODEL, &model, &err), TEMPERA_OK, "%s", err.message);
    tempera_model_info_get(model, &info);
    cr_assert_eq(info.vocab_size, VOCABULARY);
    tempera_engine_options options = tempera_engine_options_default();
    options.device = "cpu";
    cr_assert_eq(tempera_engine_open(model, &options, &engine, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tempera_encode(model, prompt, strlen(prompt), 0, &ids, &count, &err), TEMPERA_OK);
    cr_assert_eq(tempera_logits(engine, ids, count, logits, &err), TEMPERA_OK);
    fill(settings, false);
    cr_assert_eq(tempera_next(engine, ids, count, settings, SETTINGS, 1, &token, &logprob, final, stats, &err),
                 TEMPERA_OK);
    const tempera_request request = {.prompt = ids,
                                     .prompt_count = count,
                                     .settings = settings,
                                     .setting_count = SETTINGS,
                                     .on_sample = count_token};
    cr_assert_eq(tempera_submit(engine, &request, NULL, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tempera_run(engine, &err), TEMPERA_OK, "%s", err.message);
    for (size_t i = 0; i < SETTINGS; i++) {
        size_t kept = exact(logits, i, p);
        if (kept > most) most = kept;
        cr_expect_eq(kept, (size_t)stats[i].kept, "setting %zu: %zu tokens, not %d", i, kept, (int)stats[i].kept);
        expect_fit(drawn_tokens[i], p, i);
    }
    cr_expect_eq(most, VOCABULARY);
    tempera_free(ids);
    tempera_engine_close(engine);
    tempera_model_close(model);
}
