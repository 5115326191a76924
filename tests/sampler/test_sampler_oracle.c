/* The draw against the oracle: kept sets, tokens, statistics, on every instruction set.
 *
 * Exemptions, counted and bounded: (1) a cut whose double mass lies within ORACLE_MASS_ERROR of its target, or a typical_p
 * edge with another token within ORACLE_TYPICAL_ERROR, may fall on either side by the definition of the integer masses;
 * when top_p alone decides, the set is then checked to lie between those of p minus and plus the error, otherwise the row is
 * skipped; (2) the token is not compared when the race's two best scores are within 1e-5. The exact behaviour at such
 * points has tests of its own in test_sampler_edges.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "oracle.h"

struct tally {
    long rows, ambiguous, bracketed, skipped, close_races, dynatemp;
};

static int32_t differences(const bool *a, const bool *b, int32_t V) {
    int32_t n = 0;
    for (int32_t i = 0; i < V; i++) n += a[i] != b[i];
    return n;
}

static bool within(const bool *inner, const bool *outer, int32_t V) {
    for (int32_t i = 0; i < V; i++)
        if (inner[i] && !outer[i]) return false;
    return true;
}

static bool top_p_alone_decides(const struct branch_params *p) {
    enum tempera_stage last = TEMPERA_STAGE_COUNT;
    for (int i = 0; i < p->order.count; i++) {
        enum tempera_stage stage = (enum tempera_stage)p->order.stage[i];
        bool acts = (stage == TEMPERA_STAGE_TOP_K && p->top_k > 0) || (stage == TEMPERA_STAGE_TOP_P && p->top_p < 1) ||
                    (stage == TEMPERA_STAGE_MIN_P && p->min_p > 0) ||
                    (stage == TEMPERA_STAGE_TYPICAL_P && p->typical_p < 1);
        if (acts) last = stage;
    }
    return last == TEMPERA_STAGE_TOP_P && p->typical_p >= 1;
}

static bool bracketed(struct oracle *o, const struct branch_draw *branch, const float *row, int32_t V,
                      const bool *kept) {
    if (o->ambiguous != 1 || !top_p_alone_decides(branch->params)) return false;
    o->lean = -2.0 * ORACLE_MASS_ERROR;
    oracle_draw(o, branch, row, V);
    bool low = within(o->survives, kept, V);
    o->lean = 2.0 * ORACLE_MASS_ERROR;
    oracle_draw(o, branch, row, V);
    bool high = within(kept, o->survives, V);
    o->lean = 0.0;
    cr_assert(low && high, "an ambiguous top_p left its bracket");
    return true;
}

static void describe(const struct branch_params *p, char *text, size_t size) {
    int n = snprintf(
        text, size,
        "T %g (%g + %g h^%g) k %d p %g min_p %g typ %g rep %g freq %g pres %g window %d ngram %d ties %d order",
        (double)p->temperature, (double)p->dynatemp_least, (double)p->dynatemp_spread, (double)p->dynatemp_exponent,
        p->top_k, (double)p->top_p, (double)p->min_p, (double)p->typical_p, (double)p->repetition_penalty,
        (double)p->frequency_penalty, (double)p->presence_penalty, p->penalty_window, p->no_repeat_ngram,
        p->order.keep_ties);
    for (int i = 0; i < p->order.count; i++) n += snprintf(text + n, size - (size_t)n, " %d", p->order.stage[i]);
}

/* Within 1e-5, and what a float can hold. */
static bool near(double expected, float got) {
    return (float)expected == got || fabs(expected - (double)got) <= 1e-5 + 6e-8 * fabs(expected);
}

static void check_statistics(const struct draw_result *got, const struct oracle *o, const char *what) {
    cr_assert(near(o->entropy, got->entropy), "entropy %g, expected %g: %s", (double)got->entropy, o->entropy, what);
    if (got->token < 0) return;
    double raw = o->raw_logprob[got->token], final = log(o->probability[got->token]);
    cr_assert(near(raw, got->logprob), "logprob %.9g, expected %.9g: %s", (double)got->logprob, raw, what);
    cr_assert(near(o->kept_mass, got->kept_mass), "kept_mass %g, expected %g: %s", (double)got->kept_mass, o->kept_mass,
              what);
    if (final > -600.0) /* exp did not underflow */
        cr_assert(near(final, got->final_logprob), "final_logprob %.9g, expected %.9g: %s", (double)got->final_logprob,
                  final, what);
}

static void check_top(const struct draw_result *got, const struct oracle *o, const char *what) {
    for (int32_t i = 0; i < got->top_count; i++) {
        int32_t token = got->top_token[i], better = 0;
        for (int32_t t = 0; t < o->V; t++)
            better += o->logits[t] > o->logits[token] || (o->logits[t] == o->logits[token] && t < token);
        cr_assert_eq(better, i, "top %d is the token of rank %d: %s", i, better, what);
        cr_assert(near(o->raw_logprob[token], got->top_logprob[i]), "top_logprob %d: %s", i, what);
    }
}

static void check_case(struct cpu_sampler *sampler, struct stages *stages, struct oracle *o, struct sampler_case *c,
                       const float *row, int32_t V, bool *kept, struct tally *tally) {
    char what[512];
    describe(&c->params, what, sizeof what);
    c->params.logprobs = 5;
    struct draw_result got = draw_one(sampler, &c->draw, row, V);
    o->dynatemp = dynatemp_scale(stages, &c->draw, row, V);
    oracle_draw(o, &c->draw, row, V);
    survivors(stages, &c->draw, row, V, kept);
    tally->rows++;
    cr_assert_eq(got.top_count, V < 5 ? V : 5);
    cr_assert_eq(!!(got.flags & DRAW_NAN), o->nan, "NaN flag: %s", what);
    if (o->ambiguous) {
        tally->ambiguous++;
        if (bracketed(o, &c->draw, row, V, kept)) {
            tally->bracketed++;
        } else {
            tally->skipped++;
        }
        return;
    }
    cr_assert_not(o->dynatemp_wrong, "dynatemp multiplies by %.9g: %s", o->dynatemp, what);
    tally->dynatemp += o->dynatemp != 0 && o->kept > 1;
    int32_t wrong = differences(kept, o->survives, V);
    cr_assert_eq(wrong, 0, "%d of %d tokens wrongly kept or cut (%d, expected %d): %s", wrong, V, got.kept, o->kept,
                 what);
    cr_assert_eq(got.kept, o->kept, "kept %d, expected %d: %s", got.kept, o->kept, what);
    cr_assert_eq(!!(got.flags & DRAW_EMPTY), o->kept == 0, "empty flag: %s", what);
    if (o->lead > 1.0 + 1e-5) {
        cr_assert_eq(got.token, o->token, "token %d, expected %d: %s", got.token, o->token, what);
    } else {
        tally->close_races++;
    }
    check_statistics(&got, o, what);
    check_top(&got, o, what);
}

static void check_rows(int32_t V, int32_t rows, uint64_t seed, int which, struct tally *tally) {
    if (!instructions_usable(which)) return;
    struct random r = {seed};
    struct cpu_sampler *sampler = new_sampler(V, 1, 1, 1);
    cpu_sampler_use(sampler, instructions[which]);
    struct stages *stages = new_stages(which, V);
    struct oracle *o = oracle_create(V);
    float *row = calloc((size_t)V, sizeof *row);
    bool *kept = calloc((size_t)V, sizeof *kept);
    for (int32_t i = 0; i < rows; i++) {
        struct sampler_case c;
        case_row(&r, (enum row_kind)(i % ROW_KINDS), row, V);
        case_settings(&r, &c, V);
        check_case(sampler, stages, o, &c, row, V, kept, tally);
    }
    free(row);
    free(kept);
    oracle_free(o);
    free_stages(stages);
    cpu_sampler_free(sampler);
}

/* Among many tokens more cuts are close: neighbours differ by less than the error. */
static void finish(const char *name, const struct tally *t, int32_t V) {
    fprintf(stderr,
            "%s: %ld rows, %ld with dynatemp, %ld ambiguous (%ld bracketed, %ld skipped), %ld races too close\n", name,
            t->rows, t->dynatemp, t->ambiguous, t->bracketed, t->skipped, t->close_races);
    cr_assert_lt(t->skipped, t->rows / (V < 2000 ? 20 : 6) + 1, "too many exemptions");
    cr_assert_lt(t->close_races, t->rows / 1000 + 2, "too many exemptions");
}

/* Other rows on every instruction set: there are more rows then, and equality of the sets has its own test. */
static void check_all(const char *name, int32_t V, int32_t rows, uint64_t seed) {
    struct tally tally = {0};
    for (int which = 0; which < INSTRUCTIONS; which++)
        check_rows(V, rows, seed + 1000 * (uint64_t)which, which, &tally);
    finish(name, &tally, V);
}

Test(sampler_oracle, vocabulary_1) {
    check_all("V = 1", 1, 500, 11);
}
Test(sampler_oracle, vocabulary_2) {
    check_all("V = 2", 2, 2000, 12);
}
Test(sampler_oracle, vocabulary_7) {
    check_all("V = 7", 7, 3000, 13);
}
Test(sampler_oracle, vocabulary_64) {
    check_all("V = 64", 64, 3000, 14);
}
Test(sampler_oracle, vocabulary_257) {
    check_all("V = 257", 257, 4000, 15);
}
Test(sampler_oracle, vocabulary_1111) {
    check_all("V = 1111", 1111, 1500, 16);
}
Test(sampler_oracle, vocabulary_3000) {
    check_all("V = 3000", 3000, 1500, 19);
}
Test(sampler_oracle, vocabulary_50257) {
    check_all("V = 50257", 50257, 44, 17);
}
Test(sampler_oracle, vocabulary_128256) {
    check_all("V = 128256", 128256, 22, 18);
}
