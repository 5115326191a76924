/* The scorer against what it promises: the bits of forced draws, and entropies and divergences of a naive computation in
 * double. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/cpu/scorer_internal.h"
#include "base/num.h"
#include "harness.h"

#ifdef __SANITIZE_ADDRESS__
enum { EFFORT = 1 };
#else
enum { EFFORT = 2 };
#endif

enum { ROWS = 11, POSITION = 5, SETTINGS = 48, PAIRS = 60 };

/* ---- what is scored ------------------------------------------------------------------------------------------- */

struct trial {
    int32_t V;
    float *logits; /* [ROWS, V] */
    int32_t token[POSITION + ROWS];
    struct sampler_case cases[SETTINGS];
    struct branch_params params[SETTINGS];
    struct score_pair pairs[PAIRS];
    size_t count, pair_count;
    struct score_stat stat[SETTINGS][ROWS];
    float divergence[PAIRS][ROWS];
    bool seen[SETTINGS][ROWS], seen_pair[PAIRS][ROWS];
};

/* Neighbouring floats, few values: a temperature makes some of them equal that were not. */
static void close_row(struct random *r, float *row, int32_t V) {
    uint32_t base = float_bits((float)(random_normal(r) * 4.0));
    int32_t spread = 1 + random_below(r, 40);
    for (int32_t i = 0; i < V; i++) row[i] = bits_float(base + (uint32_t)random_below(r, spread));
}

static void plain_scores(struct branch_params *p) {
    p->repetition_penalty = 1.0f;
    p->frequency_penalty = p->presence_penalty = 0.0f;
    p->no_repeat_ngram = p->bias_count = p->suppress_count = 0;
}

static struct trial *new_trial(struct random *r, int32_t V) {
    struct trial *t = calloc(1, sizeof *t);
    t->V = V;
    t->count = SETTINGS;
    t->pair_count = PAIRS;
    t->logits = malloc(ROWS * (size_t)V * sizeof *t->logits);
    for (int32_t i = 0; i < ROWS; i++) {
        float *row = t->logits + (size_t)i * (size_t)V;
        int32_t kind = random_below(r, ROW_KINDS + 2);
        if (kind < ROW_KINDS) case_row(r, (enum row_kind)kind, row, V);
        if (kind >= ROW_KINDS) close_row(r, row, V);
    }
    for (int32_t i = 0; i < POSITION + ROWS; i++) t->token[i] = random_below(r, V);
    for (int32_t i = POSITION; i < POSITION + ROWS; i++) { /* often one of the best */
        const float *row = t->logits + (size_t)(i - POSITION) * (size_t)V;
        for (int32_t tries = random_below(r, 20); tries > 0; tries--) {
            int32_t other = random_below(r, V);
            if (row[other] > row[t->token[i]]) t->token[i] = other;
        }
    }
    for (size_t s = 0; s < t->count; s++) {
        case_settings(r, &t->cases[s], V);
        t->params[s] = t->cases[s].params;
        t->params[s].logprobs = 0;
        if (random_below(r, 8)) plain_scores(&t->params[s]);
        if (random_below(r, 8)) t->params[s].typical_p = 1.0f;
    }
    for (size_t p = 0; p < t->pair_count; p++) {
        t->pairs[p].of = random_below(r, SETTINGS);
        t->pairs[p].against = random_below(r, SETTINGS);
    }
    return t;
}

static void free_trial(struct trial *t) {
    free(t->logits);
    free(t);
}

static const float *row_of(const struct trial *t, int32_t r) {
    return t->logits + (size_t)r * (size_t)t->V;
}

static struct branch_draw draw_of(const struct trial *t, const struct branch_params *p, int32_t r) {
    return (struct branch_draw){
        .params = p, .row = r, .forced = t->token[POSITION + r], .history = t->token, .history_count = POSITION + r};
}

static void take_stats(void *user, size_t setting, int32_t row, int32_t count, const struct score_stat *stat) {
    struct trial *t = user;
    for (int32_t i = 0; i < count; i++) {
        cr_assert_not(t->seen[setting][row + i]);
        t->seen[setting][row + i] = true;
        t->stat[setting][row + i] = stat[i];
    }
}
static void take_divergences(void *user, size_t pair, int32_t row, int32_t count, const float *value) {
    struct trial *t = user;
    for (int32_t i = 0; i < count; i++) {
        cr_assert_not(t->seen_pair[pair][row + i]);
        t->seen_pair[pair][row + i] = true;
        t->divergence[pair][row + i] = value[i];
    }
}

static void score(struct trial *t, const char *with, int threads) {
    const struct score_settings settings = {
        .params = t->params, .count = t->count, .pairs = t->pairs, .pair_count = t->pair_count};
    const struct score_rows rows = {.logits = t->logits, .R = ROWS, .token = t->token, .first = POSITION};
    const struct score_sink sink = {t, take_stats, take_divergences};
    struct scorer *scorer;
    tempera_error err = {0};
    memset(t->seen, 0, sizeof t->seen);
    memset(t->seen_pair, 0, sizeof t->seen_pair);
    cr_assert_eq(scorer_create(&scorer, t->V, &settings, threads, &err), TEMPERA_OK, "%s", err.message);
    cr_assert(scorer_use(scorer, with));
    scorer_run(scorer, &rows, &sink);
    scorer_free(scorer);
    for (size_t s = 0; s < t->count; s++)
        for (int32_t r = 0; r < ROWS; r++) cr_assert(t->seen[s][r]);
    for (size_t p = 0; p < t->pair_count; p++)
        for (int32_t r = 0; r < ROWS; r++) cr_assert(t->seen_pair[p][r]);
}

static int32_t random_V(struct random *r) {
    static const int32_t special[] = {1, 2, 63, 64, 65, 128, 1000, 8191, 8192, 50257};
    int32_t which = random_below(r, 30);
    if (which < 10) return special[which];
    return 1 + random_below(r, which < 25 ? 600 : 20000);
}

/* ---- the bits of forced draws --------------------------------------------------------------------------------- */

static bool same_bits(float a, float b) {
    return float_bits(a) == float_bits(b);
}

static void expect_draws(const struct trial *t) {
    struct cpu_sampler *sampler = new_sampler(t->V, ROWS, ROWS, 1);
    for (size_t s = 0; s < t->count; s++) {
        struct branch_draw draws[ROWS];
        struct draw_result want[ROWS];
        for (int32_t r = 0; r < ROWS; r++) draws[r] = draw_of(t, &t->params[s], r);
        draw_all(sampler, NULL, draws, ROWS, t->logits, ROWS, t->V, want);
        for (int32_t r = 0; r < ROWS; r++) {
            const struct score_stat *got = &t->stat[s][r];
            const struct draw_result *w = &want[r];
            cr_assert(
                got->kept == w->kept && same_bits(got->kept_mass, w->kept_mass) &&
                    same_bits(got->logprob, w->logprob) && same_bits(got->final_logprob, w->final_logprob) &&
                    same_bits(got->entropy, w->entropy),
                "V %d, setting %zu, row %d: kept %d, %g, logprob %g, final %g, entropy %g; drawn %d, %g, %g, %g, %g",
                t->V, s, r, got->kept, (double)got->kept_mass, (double)got->logprob, (double)got->final_logprob,
                (double)got->entropy, w->kept, (double)w->kept_mass, (double)w->logprob, (double)w->final_logprob,
                (double)w->entropy);
        }
    }
    cpu_sampler_free(sampler);
}

Test(scorer, equals_forced_draws) {
    struct random r = {11};
    for (int i = 0; i < 60 * EFFORT; i++) {
        struct trial *t = new_trial(&r, random_V(&r));
        int which = i % INSTRUCTIONS;
        if (instructions_usable(which)) {
            score(t, instructions[which], 1 + i % 3);
            expect_draws(t);
        }
        free_trial(t);
    }
}

/* No figure depends on the instructions, the threads, or what else is in the list: alone, a setting takes another way. */
Test(scorer, the_list_does_not_matter) {
    struct random r = {12};
    for (int i = 0; i < 8 * EFFORT; i++) {
        struct trial *t = new_trial(&r, random_V(&r)), *one = malloc(sizeof *one);
        score(t, instructions[0], 2);
        for (int which = 1; which < INSTRUCTIONS; which++) {
            if (!instructions_usable(which)) continue;
            *one = *t;
            score(one, instructions[which], 1);
            cr_assert_arr_eq(one->stat, t->stat, sizeof t->stat);
            cr_assert_arr_eq(one->divergence, t->divergence, sizeof t->divergence);
        }
        for (size_t p = 0; p < PAIRS; p++) {
            *one = *t;
            one->count = 2;
            one->pair_count = p % 3 == 0;
            one->params[0] = t->params[t->pairs[p].of];
            one->params[1] = t->params[t->pairs[p].against];
            one->pairs[0] = (struct score_pair){0, 1};
            score(one, NULL, 1);
            cr_assert_arr_eq(one->stat[0], t->stat[t->pairs[p].of], sizeof t->stat[0]);
            cr_assert_arr_eq(one->stat[1], t->stat[t->pairs[p].against], sizeof t->stat[0]);
            if (one->pair_count) cr_assert_arr_eq(one->divergence[0], t->divergence[p], sizeof t->divergence[0]);
        }
        free(one);
        free_trial(t);
    }
}

/* ---- entropies and divergences -------------------------------------------------------------------------------- */

/* Natural logarithms of a setting's probabilities, in double; -inf for what is not drawn. The scores are fp32, as a draw
 * defines them. False: nothing survives. */
static bool log_probabilities(struct stages *stages, const struct trial *t, size_t s, int32_t r, double *logp) {
    const struct branch_params *p = &t->params[s];
    const struct branch_draw draw = draw_of(t, p, r);
    bool *alive = malloc((size_t)t->V), tempered = false;
    double best = -INFINITY, sum = 0.0;
    survivors(stages, &draw, row_of(t, r), t->V, alive);
    for (int i = 0; i < p->order.count; i++) tempered |= p->order.stage[i] == TEMPERA_STAGE_TEMPERATURE;
    float scale = tempered && p->temperature > 0.0f ? p->inv_temperature : 1.0f;
    /* What test_sampler_oracle judges is taken from the code here. */
    if (tempered && p->temperature > 0.0f && p->dynatemp_spread > 0.0f)
        scale = (float)dynatemp_scale(stages, &draw, row_of(t, r), t->V);
    for (int32_t i = 0; i < t->V; i++) {
        float score = row_of(t, r)[i] * scale;
        logp[i] = alive[i] ? (double)score : -INFINITY;
        if (logp[i] > best) best = logp[i];
    }
    free(alive);
    if (best == -INFINITY) return false;
    for (int32_t i = 0; i < t->V; i++) {
        logp[i] = logp[i] == best ? 0.0 : logp[i] - best;
        sum += exp(logp[i]);
    }
    for (int32_t i = 0; i < t->V; i++) logp[i] -= log(sum);
    return true;
}

static double entropy_of(const double *logp, int32_t V) {
    double sum = 0.0;
    for (int32_t i = 0; i < V; i++)
        if (logp[i] > -INFINITY) sum -= exp(logp[i]) * logp[i];
    return sum;
}

/* Over the tokens that can be drawn: those of weight 0 cannot. *size: how many 1e-6 the weights' rounding may move
 * it: 1, and for each difference of distances its share, which is off by 1e-6 of itself and half a unit of 2^-40. */
static double divergence(const double *of, const double *against, int32_t V, double *size) {
    double sum = 0.0, best = -INFINITY, other_best = -INFINITY;
    *size = 1.0;
    for (int32_t i = 0; i < V; i++) {
        best = fmax(best, of[i]);
        other_best = fmax(other_best, against[i]);
    }
    for (int32_t i = 0; i < V; i++) {
        if (of[i] == -INFINITY || draw_weight((float)(best - of[i])) == 0) continue;
        if (against[i] == -INFINITY) return INFINITY;
        sum += exp(of[i]) * (of[i] - against[i]);
        *size += (exp(of[i]) + 0x1p-41 / 1e-6) * fabs((other_best - against[i]) - (best - of[i]));
    }
    return sum;
}

/* Within 1e-6 of `size` and half a step of the float. */
static bool close_to(float got, double want, double size, double *worst) {
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return (double)got == want;
    double error = fabs((double)got - want), step = (double)nextafterf(fabsf(got), INFINITY) - fabs((double)got);
    error = fmax(error - step / 2, 0.0) / size;
    if (error > *worst) *worst = error;
    return error <= 1e-6;
}

static void expect_reference(const struct trial *t, double *worst_entropy, double *worst_divergence) {
    struct stages *stages = new_stages(0, t->V);
    size_t V = (size_t)t->V;
    double *of = malloc(V * sizeof *of), *against = malloc(V * sizeof *against);
    for (int32_t r = 0; r < ROWS; r++) {
        for (size_t s = 0; s < t->count; s++) {
            double want = log_probabilities(stages, t, s, r, of) ? entropy_of(of, t->V) : 0.0;
            cr_assert(close_to(t->stat[s][r].final_entropy, want, 1.0, worst_entropy),
                      "V %d, setting %zu, row %d: final entropy %.9g, in double %.9g", t->V, s, r,
                      (double)t->stat[s][r].final_entropy, want);
        }
        for (size_t p = 0; p < t->pair_count; p++) {
            double want = NAN, size = 1.0;
            if (log_probabilities(stages, t, (size_t)t->pairs[p].of, r, of))
                want = log_probabilities(stages, t, (size_t)t->pairs[p].against, r, against)
                           ? divergence(of, against, t->V, &size)
                           : INFINITY;
            cr_assert(close_to(t->divergence[p][r], want, size, worst_divergence),
                      "V %d, pair %zu (%d, %d), row %d: divergence %.9g, in double %.9g", t->V, p, t->pairs[p].of,
                      t->pairs[p].against, r, (double)t->divergence[p][r], want);
        }
    }
    free(of);
    free(against);
    free_stages(stages);
}

Test(scorer, entropies_and_divergences) {
    struct random r = {13};
    double worst_entropy = 0.0, worst_divergence = 0.0;
    for (int i = 0; i < 20 * EFFORT; i++) {
        struct trial *t = new_trial(&r, random_V(&r));
        for (size_t s = 0; s < t->count; s++) plain_scores(&t->params[s]);
        score(t, NULL, 2);
        expect_reference(t, &worst_entropy, &worst_divergence);
        free_trial(t);
    }
    fprintf(stderr, "beyond float's rounding, entropies are off by %.2g, divergences by %.2g nats\n", worst_entropy,
            worst_divergence);
}

/* ---- refusals ------------------------------------------------------------------------------------------------- */

Test(scorer, refuses_what_is_malformed) {
    struct random r = {14};
    struct trial *t = new_trial(&r, 10);
    struct score_settings settings = {
        .params = t->params, .count = t->count, .pairs = t->pairs, .pair_count = t->pair_count};
    struct scorer *scorer;
    tempera_error err = {0};
    t->pairs[3].against = SETTINGS;
    cr_assert_eq(scorer_create(&scorer, t->V, &settings, 1, &err), TEMPERA_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(err.message, "pair 3"));
    settings.pair_count = 0;
    settings.count = 0;
    cr_assert_eq(scorer_create(&scorer, t->V, &settings, 1, &err), TEMPERA_INVALID_ARGUMENT);
    settings.count = SCORE_MAX_SETTINGS + 1;
    cr_assert_eq(scorer_create(&scorer, t->V, &settings, 1, &err), TEMPERA_INVALID_ARGUMENT);
    settings.count = t->count;
    t->params[7].top_p = NAN;
    cr_assert_eq(scorer_create(&scorer, t->V, &settings, 1, &err), TEMPERA_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(err.message, "setting 7"));
    cr_assert_null(scorer);
    free_trial(t);
}
