/* test_metrics.c: the metrics of cells against public packages (make_fixtures.py), and what must hold for any cell. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <zlib.h>

#include "cells.h"
#include "strbuf.h"
#include "sweep/diversity.h"
#include "sweep/overlap.h"

static bool near(double got, double wanted, double relative) {
    if (isnan(wanted)) return isnan(got);
    return fabs(got - wanted) <= relative * fabs(wanted) + 1e-12;
}

/* ---- against public packages ---- */

/* Values of compressors differ from version to version; compression_is_zlibs looks at this one's own. */
static bool comparable(const cJSON *fixture, enum metric metric) {
    const cJSON *made_with = cJSON_GetObjectItem(fixture, "made_with");
    return metric != METRIC_compression_ratio ||
           strcmp(cJSON_GetObjectItem(made_with, "zlib")->valuestring, zlibVersion()) == 0;
}

/* All expected values of a cell, measured together and each alone. */
static size_t check_cell(const cJSON *fixture, const cJSON *json, size_t index) {
    struct cell *cell = cell_from_json(json);
    double value[METRIC_COUNT], alone[METRIC_COUNT];
    size_t checked = 0;
    metrics_cell(cell, NULL, value);
    for (const cJSON *e = cJSON_GetObjectItem(json, "expected")->child; e; e = e->next) {
        enum metric m = metric_find(e->string);
        double wanted = cJSON_IsNull(e) ? NAN : e->valuedouble;
        struct metric_mask mask = {{false}};
        cr_assert_neq(m, METRIC_COUNT, "%s", e->string);
        if (!comparable(fixture, m)) continue;
        cr_expect(near(value[m], wanted, 1e-9), "cell %zu: %s is %.17g, not %.17g", index, e->string, value[m], wanted);
        mask.wanted[m] = true;
        metrics_cell(cell, &mask, alone);
        for (int other = 0; other < METRIC_COUNT; other++)
            cr_expect(other == (int)m ? memcmp(&alone[m], &value[m], sizeof *value) == 0 : isnan(alone[other]),
                      "cell %zu: %s alone: %s is %g", index, e->string, metric_info[other].name, alone[other]);
        checked++;
    }
    return checked;
}

/* Cells of one kind, at least `least` values. */
static void check_kind(const char *kind, size_t least) {
    cJSON *fixture = read_fixture("metrics.json");
    size_t checked = 0, index = 0;
    for (const cJSON *c = cJSON_GetObjectItem(fixture, "cells")->child; c; c = c->next, index++)
        if (strcmp(cJSON_GetObjectItem(c, "kind")->valuestring, kind) == 0) checked += check_cell(fixture, c, index);
    cr_expect_geq(checked, least);
    cJSON_Delete(fixture);
}

Test(metrics, tokens_as_nltk_and_sacrebleu) {
    check_kind("tokens", 1500);
}
Test(metrics, figures_as_numpy) {
    check_kind("stats", 400);
}
Test(metrics, texts_as_sacrebleu_and_rouge_score) {
    check_kind("texts", 600);
}
Test(metrics, answers_as_squad) {
    check_kind("answers", 700);
}

Test(metrics, single_samples_are_right_as_in_the_fixture) {
    cJSON *fixture = read_fixture("metrics.json");
    size_t right = 0, wrong = 0;
    for (const cJSON *c = cJSON_GetObjectItem(fixture, "cells")->child; c; c = c->next) {
        struct cell *cell = cell_from_json(c);
        for (size_t s = 0; s < cell->count; s++) {
            const cJSON *list = cJSON_GetObjectItem(c, "right");
            int wanted = list ? cJSON_GetArrayItem(list, (int)s)->valueint : -1;
            cr_expect_eq(sample_is_right(&cell->samples[s], cell->prompt), wanted);
            right += wanted == 1;
            wrong += wanted == 0;
        }
    }
    cr_expect(right > 100 && wrong > 100);
    cJSON_Delete(fixture);
}

Test(metrics, compression_is_zlibs) {
    cJSON *fixture = read_fixture("metrics.json");
    for (const cJSON *c = cJSON_GetObjectItem(fixture, "cells")->child; c; c = c->next) {
        struct cell *cell = cell_from_json(c);
        struct strbuf joined = {0};
        for (size_t s = 0; s < cell->count; s++) {
            if (s > 0) strbuf_char(&joined, '\n');
            strbuf_add(&joined, cell->samples[s].text, cell->samples[s].text_length);
        }
        uLongf size = compressBound((uLong)joined.length);
        Bytef *out = xalloc(size);
        cr_assert_eq(compress2(out, &size, (const Bytef *)joined.data, (uLong)joined.length, 9), Z_OK);
        double got = compression_ratio(cell->samples, cell->count);
        if (joined.length < cell->count)
            cr_expect(isnan(got));
        else
            cr_expect_eq(got, (double)joined.length / (double)size);
    }
    cJSON_Delete(fixture);
}

/* ---- names ---- */

Test(metrics, are_found_by_name) {
    for (int m = 0; m < METRIC_COUNT; m++) {
        cr_expect_eq(metric_find(metric_info[m].name), m);
        cr_expect(metric_info[m].text[0]);
    }
    cr_expect_eq(metric_find("pass@4"), METRIC_pass_4);
    cr_expect_eq(metric_find("pass_64"), METRIC_pass_64);
    cr_expect_eq(metric_find("pass@3"), METRIC_COUNT);
    cr_expect_eq(metric_find("pass@"), METRIC_COUNT);
    cr_expect_eq(metric_find(""), METRIC_COUNT);
    cr_expect_eq(metric_find("length_"), METRIC_COUNT);
}

/* ---- what must hold for any cell ---- */

static const char *const words[] = {"the", "river", "1,234", "a", "castle.", "Paris", "-", "\xC3\xA9t\xC3\xA9"};

/* Samples of 0 … 40 of a few tokens, with texts, figures, references and an answer. */
static struct cell *random_cell(uint64_t *state, size_t count) {
    struct cell *cell = cell_new(count);
    char **references = xarray(2, sizeof *references);
    static char answer[] = "Paris", first[] = "the river, a castle. 1,234", second[] = "Paris";
    references[0] = first;
    references[1] = second;
    cell_prompt(cell)->references = references;
    cell_prompt(cell)->reference_count = 2;
    cell_prompt(cell)->answer = answer;
    for (size_t s = 0; s < count; s++) {
        int32_t tokens[40];
        size_t n = next_random(state) % 41;
        struct strbuf text = {0};
        for (size_t i = 0; i < n; i++) {
            tokens[i] = (int32_t)(next_random(state) % 8);
            strbuf_printf(&text, "%s%s", words[tokens[i]], next_random(state) % 9 ? " " : "\n");
        }
        sample_set_tokens(cell_sample(cell, s), tokens, n);
        for (size_t i = 0; i < n; i++)
            ((float *)cell->samples[s].logprob)[i] = -(float)(next_random(state) % 10000) / 1e3f;
        sample_set_text(cell_sample(cell, s), text.data ? text.data : "");
    }
    return cell;
}

static void shuffle(struct cell *cell, uint64_t *state) {
    struct sample_record *samples = (struct sample_record *)cell->samples;
    for (size_t i = cell->count; i > 1; i--) {
        size_t j = next_random(state) % i;
        struct sample_record kept = samples[i - 1];
        samples[i - 1] = samples[j];
        samples[j] = kept;
    }
}

Test(metrics, do_not_depend_on_the_order_of_samples) {
    uint64_t state = 1;
    for (int round = 0; round < 50; round++) {
        struct cell *cell = random_cell(&state, 1 + next_random(&state) % 20);
        double before[METRIC_COUNT], after[METRIC_COUNT];
        metrics_cell(cell, NULL, before);
        shuffle(cell, &state);
        metrics_cell(cell, NULL, after);
        for (int m = 0; m < METRIC_COUNT; m++)
            if (m != METRIC_compression_ratio && m != METRIC_majority_vote)
                cr_expect(near(after[m], before[m], 1e-12), "%s: %.17g, then %.17g", metric_info[m].name, before[m],
                          after[m]);
    }
}

Test(metrics, do_not_depend_on_what_the_tokens_are_called) {
    uint64_t state = 2;
    for (int round = 0; round < 30; round++) {
        struct cell *cell = random_cell(&state, 8);
        double before[METRIC_COUNT], after[METRIC_COUNT];
        metrics_cell(cell, NULL, before);
        for (size_t s = 0; s < cell->count; s++)
            for (size_t i = 0; i < cell->samples[s].token_count; i++)
                ((int32_t *)cell->samples[s].tokens)[i] = INT32_MAX - 77777 * cell->samples[s].tokens[i];
        metrics_cell(cell, NULL, after);
        cr_expect_eq(memcmp(before, after, sizeof before), 0);
    }
}

Test(metrics, of_each_sample_twice) {
    uint64_t state = 3;
    for (int round = 0; round < 30; round++) {
        struct cell *once = random_cell(&state, 7), *twice = cell_new(14);
        for (size_t s = 0; s < 14; s++) *cell_sample(twice, s) = once->samples[s / 2];
        twice->prompt = once->prompt;
        for (size_t s = 0; s < 14; s++)
            if (twice->samples[s].token_count == 0) sample_set_tokens(cell_sample(twice, s), (int32_t[]){9}, 1);
        for (size_t s = 0; s < 7; s++) *cell_sample(once, s) = twice->samples[2 * s];
        double one[METRIC_COUNT], two[METRIC_COUNT];
        metrics_cell(once, NULL, one);
        metrics_cell(twice, NULL, two);
        cr_expect(near(two[METRIC_self_bleu], 100, 1e-12)); /* each has its twin among the others */
        cr_expect(near(two[METRIC_unique_ratio], one[METRIC_unique_ratio] / 2, 1e-12));
        cr_expect(near(two[METRIC_collision_entropy], one[METRIC_collision_entropy], 1e-12));
        for (int n = 0; n < 4; n++) {
            cr_expect(near(two[METRIC_distinct_1 + n], one[METRIC_distinct_1 + n] / 2, 1e-12));
            cr_expect(near(two[METRIC_seq_rep_1 + n], one[METRIC_seq_rep_1 + n], 1e-12));
        }
        cr_expect(near(two[METRIC_bleu], one[METRIC_bleu], 1e-12));
        cr_expect(near(two[METRIC_pass_1], one[METRIC_pass_1], 1e-12));
    }
}

/* Two ways to the same figure: self-BLEU by the largest counts, and BLEU of texts that spell the ids. */
Test(metrics, self_bleu_is_bleu_against_the_others) {
    uint64_t state = 4;
    struct cell *cell = random_cell(&state, 48);
    char *spelled[48], *others[48];
    double sum = 0, value[METRIC_COUNT];
    for (size_t s = 0; s < 48; s++) {
        struct strbuf text = {0};
        strbuf_text(&text, "");
        for (size_t i = 0; i < cell->samples[s].token_count; i++)
            strbuf_printf(&text, "%d ", cell->samples[s].tokens[i]);
        spelled[s] = text.data;
        sample_set_text(cell_sample(cell, s), spelled[s]);
    }
    for (size_t s = 0; s < 48; s++) {
        size_t count = 0;
        for (size_t o = 0; o < 48; o++)
            if (o != s) others[count++] = spelled[o];
        sum += overlap_bleu(&cell->samples[s], 1, others, count);
    }
    metrics_cell(cell, NULL, value);
    cr_expect(near(value[METRIC_self_bleu], sum / 48, 1e-12));
}

Test(metrics, expected_distinct_at_its_limits) {
    cr_expect(near(diversity_expected(3, 10, 128256, 4), 0.3, 1e-12)); /* nothing is expected to repeat */
    cr_expect(near(diversity_expected(5, 1e9, 5, 1), 1, 1e-12));       /* everything is expected to be there */
    cr_expect_eq(diversity_expected(1, 7, 1, 2), 1);
    cr_expect(near(diversity_expected(2, 2, 2, 1), 2 / 1.5, 1e-12));
    cr_expect(isnan(diversity_expected(0, 0, 5, 1)));
    cr_expect(isnan(diversity_expected(1, 1, 0, 1)));
}

Test(metrics, loops_begin_where_they_are_said_to) {
    int32_t tokens[200];
    for (int32_t i = 0; i < 200; i++) tokens[i] = 1000 + i; /* no repetition */
    cr_expect_not(ends_in_loop(tokens, 200));
    for (size_t i = 0; i < LOOP_TOKENS; i++) tokens[100 - LOOP_TOKENS + i] = (int32_t)(i % 5);
    cr_expect(ends_in_loop(tokens, 100)); /* 16 tokens with period 5 */
    cr_expect_not(ends_in_loop(tokens, 101));
    cr_expect_not(ends_in_loop(tokens, 99));  /* 15 of 99 */
    cr_expect(ends_in_loop(tokens + 70, 29)); /* 15 of 29 */
    cr_expect(ends_in_loop(tokens + 69, 30));
    cr_expect_not(ends_in_loop(tokens + 68, 31));
    for (size_t i = 0; i < LOOP_SHORT_TOKENS; i++) tokens[i] = 7;
    cr_expect(ends_in_loop(tokens, LOOP_SHORT_TOKENS));
    cr_expect_not(ends_in_loop(tokens, LOOP_SHORT_TOKENS - 1));
    for (size_t i = 0; i < 99; i++) tokens[100 + i] = (int32_t)(i % 32);
    cr_expect(ends_in_loop(tokens, 196));
    cr_expect(ends_in_loop(tokens, 199));
    cr_expect_not(ends_in_loop(tokens, 195)); /* 95 tokens with period 32 are not three times */
    for (size_t i = 0; i < 99; i++) tokens[100 + i] = (int32_t)(i % 33);
    cr_expect_not(ends_in_loop(tokens, 199)); /* three times, but the period is too long */
}

/* ---- answers and votes ---- */

static double measure(struct cell *cell, enum metric metric) {
    double value[METRIC_COUNT];
    metrics_cell(cell, NULL, value);
    return value[metric];
}

static struct cell *voting(size_t count, const char *const *texts) {
    struct cell *cell = cell_new(count);
    static char answer[] = "blue";
    cell_prompt(cell)->answer = answer;
    for (size_t s = 0; s < count; s++) sample_set_text(cell_sample(cell, s), texts[s]);
    return cell;
}

Test(metrics, ties_of_votes_go_to_the_first) {
    cr_expect_eq(measure(voting(4, (const char *[]){"blue", "red", "Red.", "the blue"}), METRIC_majority_vote), 1);
    cr_expect_eq(measure(voting(4, (const char *[]){"red", "blue", "Red.", "the blue"}), METRIC_majority_vote), 0);
    cr_expect_eq(measure(voting(4, (const char *[]){"", "  \n", "...", "blue"}), METRIC_majority_vote), 1);
    cr_expect_eq(measure(voting(2, (const char *[]){"", "\n"}), METRIC_majority_vote), 0);
}

Test(metrics, the_best_of_n_is_the_likeliest_by_token) {
    struct cell *cell = voting(3, (const char *[]){"red", "blue", "green"});
    for (size_t s = 0; s < 3; s++) sample_set_tokens(cell_sample(cell, s), (int32_t[]){1, 2, 3}, 3 - s);
    float *first = (float *)cell->samples[0].logprob, *second = (float *)cell->samples[1].logprob;
    float *third = (float *)cell->samples[2].logprob;
    first[0] = first[1] = first[2] = -0.5f;
    second[0] = second[1] = -0.5f;
    third[0] = -0.75f;
    cr_expect_eq(measure(cell, METRIC_best_of_n), 0); /* a tie: the first */
    second[1] = -0.25f;
    cr_expect_eq(measure(cell, METRIC_best_of_n), 1);
    third[0] = -0.125f;
    cr_expect_eq(measure(cell, METRIC_best_of_n), 0);
    cell_prompt(cell)->answer = NULL;
    cr_expect(isnan(measure(cell, METRIC_best_of_n)));
}

/* Letters beyond ASCII stay as they are. */
Test(metrics, lower_case_is_asciis) {
    struct cell *cell = voting(1, (const char *[]){"ZO\xC3\x8B"});
    static char same[] = "zo\xC3\x8B", lower[] = "zo\xC3\xAB";
    cell_prompt(cell)->answer = same;
    cr_expect_eq(measure(cell, METRIC_exact_match), 1);
    cell_prompt(cell)->answer = lower;
    cr_expect_eq(measure(cell, METRIC_exact_match), 0);
}

Test(metrics, verdicts_serve_pass_at_k_when_all_are_there) {
    struct cell *cell = voting(4, (const char *[]){"blue", "red", "red", "red"});
    cr_expect_eq(measure(cell, METRIC_pass_1), 0.25);
    cr_expect(isnan(measure(cell, METRIC_verified)));
    for (size_t s = 0; s < 3; s++) cell_sample(cell, s)->verdict = 1;
    cr_expect_eq(measure(cell, METRIC_pass_1), 0.25);
    cr_expect_eq(measure(cell, METRIC_verified), 1);
    cell_sample(cell, 3)->verdict = 0;
    cr_expect_eq(measure(cell, METRIC_pass_1), 0.75);
    cr_expect_eq(measure(cell, METRIC_pass_2), 1);
    cr_expect(isnan(measure(cell, METRIC_pass_8)));
    cell_prompt(cell)->answer = NULL;
    cr_expect_eq(measure(cell, METRIC_pass_1), 0.75);
}
