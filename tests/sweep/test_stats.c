/* test_stats.c: the figures of small databases against naive code, and how they are printed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "cli/cli.h"
#include "sweep/small_store.h"
#include "sweep/stats.h"

static char *path;

static void setup(void) {
    path = small_store_path();
}

static void teardown(void) {
    small_store_remove(path);
}

TestSuite(stats, .init = setup, .fini = teardown);

static void near(double got, double wanted, const char *what) {
    cr_assert(fabs(got - wanted) <= 1e-12 * fmax(1, fabs(wanted)), "%s: %.17g, not %.17g", what, got, wanted);
}

static void answer_w1(size_t index, struct sweep_prompt *prompt) {
    prompt->answer = xdup(index % 2 ? "w1" : "w2", 2);
    if (index == 0) return;
    prompt->references = xarray(1, sizeof *prompt->references);
    prompt->references[0] = xdup("w1 w2 w3 w0 w1", 14);
    prompt->reference_count = 1;
}

/* Point 2 has nothing of prompt 1; point 1 lacks some samples. */
static void with_holes(struct small_sample *s) {
    small_sample_random(s);
    s->absent = (s->point == 2 && s->prompt == 1) || (s->point == 1 && s->sample == 3);
}

static const struct small_shape several = {
    .prompts = 5, .points = 4, .samples = 6, .prompt = answer_w1, .sample = with_holes};

static void summarise(struct summary *summary, const struct small_shape *shape, const struct metric_mask *mask) {
    struct store *store;
    small_store_make(path, shape);
    cr_assert_eq(store_open(&store, path, STORE_READ), 0);
    cr_assert_eq(summary_make(summary, store, mask), 0);
    store_close(store);
}

/* ---- several prompts ---- */

/* Token means of a cell, from the samples as they were made. */
struct naive {
    double tokens, logprob, entropy, samples, eos;
};

static struct naive naive_cell(const struct small_shape *shape, size_t point, size_t prompt) {
    struct naive n = {0};
    for (size_t k = 0; k < shape->samples; k++) {
        struct small_sample *s = xarray(1, sizeof *s);
        *s = (struct small_sample){.prompt = (int32_t)prompt, .point = (int32_t)point, .sample = (int32_t)k};
        shape->sample(s);
        for (size_t i = 0; i < s->count && !s->absent; i++) {
            n.logprob += (double)s->stats[i].logprob;
            n.entropy += (double)s->stats[i].entropy;
            n.tokens++;
        }
        n.samples += !s->absent;
        n.eos += !s->absent && s->finish == TEMPERA_FINISH_EOS;
        free(s);
    }
    return n;
}

Test(stats, cells_are_those_of_the_samples) {
    struct summary s;
    summarise(&s, &several, NULL);
    cr_assert(s.points.count == 4 && s.prompts.count == 5 && s.units == 5 && !s.units_are_samples);
    cr_assert(s.unit == s.cell && s.vocab_size == SMALL_VOCAB);
    for (size_t point = 0; point < 4; point++) {
        double samples = 0;
        for (size_t prompt = 0; prompt < 5; prompt++) {
            struct naive n = naive_cell(&several, point, prompt);
            const double *cell = summary_cell(&s, point, prompt);
            samples += n.samples;
            if (n.samples == 0) {
                for (size_t m = 0; m < METRIC_COUNT; m++) cr_assert(isnan(cell[m]));
                continue;
            }
            near(cell[METRIC_logprob], n.logprob / n.tokens, "logprob");
            near(cell[METRIC_perplexity], exp(-n.logprob / n.tokens), "perplexity");
            near(cell[METRIC_entropy], n.entropy / n.tokens, "entropy");
            near(cell[METRIC_length], n.tokens / n.samples, "length");
            near(cell[METRIC_finish_eos], n.eos / n.samples, "finish_eos");
        }
        cr_assert_eq((double)s.samples[point], samples);
    }
    cr_assert(isnan(summary_cell(&s, 0, 0)[METRIC_bleu]), "no reference");
    cr_assert(s.present[METRIC_bleu] && s.present[METRIC_exact_match] && !s.present[METRIC_verified]);
    summary_free(&s);
}

/* Every metric of a cell is what metrics_cell gives for its samples: they are the right ones. */
Test(stats, cells_have_their_own_samples) {
    struct summary s;
    struct store *store;
    summarise(&s, &several, NULL);
    cr_assert_eq(store_open(&store, path, STORE_READ), 0);
    for (size_t prompt = 0; prompt < 5; prompt++) {
        struct sample_set set;
        cr_assert_eq(store_load_samples(store, (int32_t)prompt, &set), 0);
        for (size_t point = 0; point < 4; point++) {
            double value[METRIC_COUNT];
            size_t first, count = sample_set_point(&set, s.points.items[point].point, &first);
            const struct cell cell = {set.items + first, count, &s.prompts.items[prompt], SMALL_VOCAB};
            metrics_cell(&cell, NULL, value);
            cr_assert(memcmp(value, summary_cell(&s, point, prompt), sizeof value) == 0 || count == 0);
        }
        sample_set_free(&set);
    }
    store_close(store);
    summary_free(&s);
}

Test(stats, estimates_are_over_the_prompts_that_have_the_metric) {
    struct summary s;
    summarise(&s, &several, NULL);
    for (size_t point = 0; point < 4; point++)
        for (size_t m = 0; m < METRIC_COUNT; m++) {
            double values[5];
            for (size_t prompt = 0; prompt < 5; prompt++) values[prompt] = summary_cell(&s, point, prompt)[m];
            struct estimate wanted = estimate_mean(s.resamples, values, 5);
            cr_assert(memcmp(&wanted, &s.estimate[point * METRIC_COUNT + m], sizeof wanted) == 0, "%s",
                      metric_info[m].name);
        }
    cr_assert_eq(s.estimate[0 * METRIC_COUNT + METRIC_logprob].units, 5);
    cr_assert_eq(s.estimate[2 * METRIC_COUNT + METRIC_logprob].units, 4);
    cr_assert_eq(s.estimate[0 * METRIC_COUNT + METRIC_bleu].units, 4);
    summary_free(&s);
}

Test(stats, a_mask_leaves_the_rest_out) {
    struct summary s;
    struct metric_mask mask = {{false}};
    mask.wanted[METRIC_distinct_2] = true;
    summarise(&s, &several, &mask);
    for (size_t m = 0; m < METRIC_COUNT; m++) cr_assert_eq(s.present[m], m == METRIC_distinct_2);
    summary_free(&s);
}

Test(stats, comparisons_are_paired_and_adjusted) {
    struct summary s;
    struct difference got[4];
    double p[4], holm[4], bh[4];
    summarise(&s, &several, NULL);
    for (size_t point = 0; point < 4; point++) {
        double a[5], b[5];
        for (size_t prompt = 0; prompt < 5; prompt++) {
            a[prompt] = summary_cell(&s, point, prompt)[METRIC_distinct_1];
            b[prompt] = summary_cell(&s, 1, prompt)[METRIC_distinct_1];
        }
        struct difference d = difference_paired(s.resamples, a, b, 5);
        p[point] = point == 1 ? (double)NAN : d.p;
        summary_compare(&s, METRIC_distinct_1, 1, true, got);
        if (point == 1) continue;
        cr_assert_eq(got[point].estimate.mean, d.estimate.mean);
        cr_assert_eq(got[point].estimate.low, d.estimate.low);
        cr_assert_eq(got[point].p, d.p);
        cr_assert_eq(got[point].estimate.units, point == 2 ? 4 : 5);
    }
    adjust_holm(p, 4, holm);
    adjust_bh(p, 4, bh);
    for (size_t point = 0; point < 4; point++)
        if (point != 1) cr_assert_eq(got[point].adjusted, holm[point]);
    cr_assert(isnan(got[1].p) && isnan(got[1].estimate.mean) && isnan(got[1].adjusted));
    summary_compare(&s, METRIC_distinct_1, 1, false, got);
    for (size_t point = 0; point < 4; point++)
        if (point != 1) cr_assert_eq(got[point].adjusted, bh[point]);
    summary_free(&s);
}

Test(stats, the_best_point_obeys_the_direction) {
    struct summary s;
    summarise(&s, &several, NULL);
    const enum metric metrics[] = {METRIC_distinct_1, METRIC_seq_rep_1, METRIC_length};
    for (size_t i = 0; i < 3; i++) {
        size_t best = summary_best(&s, metrics[i]);
        double sign = metric_info[metrics[i]].better == METRIC_LESS ? -1 : 1;
        for (size_t point = 0; point < 4; point++)
            cr_assert(sign * s.estimate[best * METRIC_COUNT + metrics[i]].mean >=
                      sign * s.estimate[point * METRIC_COUNT + metrics[i]].mean);
    }
    cr_assert_eq(metric_info[METRIC_seq_rep_1].better, METRIC_LESS);
    cr_assert_eq(summary_best(&s, METRIC_verified), SIZE_MAX);
    summary_free(&s);
}

Test(stats, points_are_found) {
    struct summary s;
    summarise(&s, &several, NULL);
    cr_assert_eq(summary_find_point(&s, "t=0.3"), 2);
    cr_assert_eq(summary_find_point(&s, "3"), 3);
    cr_assert_eq(summary_find_point(&s, "temperature=0.2"), 1);
    cr_assert_eq(summary_find_point(&s, "top_p=0.9,temperature=0.4"), 3);
    cr_assert_eq(summary_find_point(&s, "top_p=0.9"), SIZE_MAX, "fits all");
    cr_assert_eq(summary_find_point(&s, "temperature=0.9"), SIZE_MAX);
    cr_assert_eq(summary_find_point(&s, "warmth=0.9"), SIZE_MAX);
    cr_assert_eq(summary_find_point(&s, "4"), SIZE_MAX);
    cr_assert_eq(summary_find_point(&s, ""), SIZE_MAX);
    summary_free(&s);
}

/* ---- one prompt: the units are samples ---- */

static const struct small_shape alone = {
    .prompts = 1, .points = 3, .samples = 40, .prompt = answer_w1, .sample = with_holes};

/* Whatever has an interval is a mean of its units, and that mean is the cell's value. */
Test(stats, units_of_one_prompt_average_to_its_figures) {
    struct summary s;
    size_t with_interval = 0, without = 0;
    summarise(&s, &alone, NULL);
    cr_assert(s.units_are_samples && s.units == 40);
    for (size_t point = 0; point < 3; point++)
        for (size_t m = 0; m < METRIC_COUNT; m++) {
            const struct estimate *e = &s.estimate[point * METRIC_COUNT + m];
            double sum = 0, cell = summary_cell(&s, point, 0)[m];
            size_t count = 0;
            for (size_t u = 0; u < s.units; u++) {
                double value = s.unit[(point * s.units + u) * METRIC_COUNT + m];
                if (isnan(value)) continue;
                sum += value;
                count++;
            }
            if (count) near(sum / (double)count, cell, metric_info[m].name);
            if (!isnan(cell)) near(e->mean, cell, metric_info[m].name);
            with_interval += isnan(e->low) ? 0 : 1;
            without += isnan(e->low) && !isnan(cell) ? 1 : 0;
            cr_assert_eq(count > 0, !isnan(e->low), "%s", metric_info[m].name);
        }
    cr_assert(with_interval > 0 && without > 0);
    cr_assert(isnan(s.estimate[METRIC_distinct_2].low) && !isnan(s.estimate[METRIC_distinct_2].mean));
    summary_free(&s);
}

/* The linearised units' spread is that of the figure itself: the jackknife's, in which each sample is left out in
 * turn. */
Test(stats, linearised_units_have_the_jackknifes_spread) {
    struct summary s;
    enum { SAMPLES = 40 };
    double left[2][SAMPLES], mean[2] = {0}, squares[2] = {0}, logprob[SAMPLES], tokens[SAMPLES], sums[2] = {0};
    summarise(&s, &alone, NULL);
    for (size_t k = 0; k < SAMPLES; k++) {
        struct small_sample *sample = xarray(1, sizeof *sample);
        sample->sample = (int32_t)k;
        small_sample_random(sample);
        logprob[k] = 0;
        tokens[k] = (double)sample->count;
        for (size_t i = 0; i < sample->count; i++) logprob[k] += (double)sample->stats[i].logprob;
        sums[0] += logprob[k];
        sums[1] += tokens[k];
        free(sample);
    }
    for (size_t k = 0; k < SAMPLES; k++) {
        left[0][k] = (sums[0] - logprob[k]) / (sums[1] - tokens[k]);
        left[1][k] = exp(-left[0][k]);
        for (size_t i = 0; i < 2; i++) mean[i] += left[i][k] / SAMPLES;
    }
    for (size_t k = 0; k < SAMPLES; k++)
        for (size_t i = 0; i < 2; i++) squares[i] += (left[i][k] - mean[i]) * (left[i][k] - mean[i]);
    double of_logprob = sqrt(squares[0] * (SAMPLES - 1) / SAMPLES);
    double of_perplexity = sqrt(squares[1] * (SAMPLES - 1) / SAMPLES);
    cr_assert(fabs(s.estimate[METRIC_logprob].stderror / of_logprob - 1) < 0.05, "%g %g",
              s.estimate[METRIC_logprob].stderror, of_logprob);
    cr_assert(fabs(s.estimate[METRIC_perplexity].stderror / of_perplexity - 1) < 0.05, "%g %g",
              s.estimate[METRIC_perplexity].stderror, of_perplexity);
    summary_free(&s);
}

Test(stats, verdicts_make_pass_at_k) {
    struct store *store;
    struct summary s;
    struct sample_set set;
    small_store_make(path, &alone);
    cr_assert_eq(store_open(&store, path, STORE_WRITE), 0);
    cr_assert_eq(store_load_samples(store, 0, &set), 0);
    cr_assert_eq(store_begin(store), 0);
    size_t passed = 0;
    for (size_t i = 0; i < set.count; i++) {
        if (set.items[i].point == 2) continue; /* that one is not verified */
        set.items[i].verdict = set.items[i].sample % 4 == 0;
        passed += set.items[i].point == 0 && set.items[i].verdict;
        cr_assert_eq(store_set_verdict(store, &set.items[i], "output", 6), 0);
    }
    cr_assert_eq(store_commit(store), 0);
    cr_assert_eq(summary_make(&s, store, NULL), 0);
    near(s.estimate[METRIC_verified].mean, (double)passed / 40, "verified");
    near(s.estimate[METRIC_pass_1].mean, (double)passed / 40, "pass@1");
    near(s.estimate[METRIC_pass_4].mean, pass_at_k(40, (int64_t)passed, 4), "pass@4");
    cr_assert(!isnan(s.estimate[METRIC_pass_1].low) && isnan(s.estimate[METRIC_pass_4].low));
    const struct estimate *third = &s.estimate[2 * METRIC_COUNT];
    near(third[METRIC_pass_1].mean, third[METRIC_exact_match].mean, "pass@1 of answers");
    cr_assert(isnan(third[METRIC_verified].mean));
    summary_free(&s);
    sample_set_free(&set);
    store_close(store);
}

/* ---- the command ---- */

Test(stats, json_has_every_figure) {
    struct summary s;
    struct difference d[4];
    summarise(&s, &several, NULL);
    summary_compare(&s, METRIC_entropy, 1, true, d);
    struct cli run = cli(NULL, "sweep", "stats", path, "--json", "--baseline", "t=0.2", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *json = cli_json(run.out, -1);
    cr_assert(json);
    cr_assert_str_eq(cli_string(json, "units"), "prompts");
    cr_assert_eq(cli_number(json, "baseline"), 1);
    cr_assert_eq(cJSON_GetArraySize(cli_get(json, "metrics")), METRIC_COUNT);
    const cJSON *points = cli_get(json, "points");
    cr_assert_eq(cJSON_GetArraySize(points), 4);
    for (int i = 0; i < 4; i++) {
        const cJSON *point = cJSON_GetArrayItem(points, i), *metrics = cli_get(point, "metrics");
        cr_assert_eq(cli_number(point, "point"), i);
        cr_assert_eq((float)cli_number(point, "settings.temperature"), (float)(i + 1) / 10);
        cr_assert_eq(cJSON_GetArraySize(metrics), METRIC_COUNT);
        for (size_t m = 0; m < METRIC_COUNT; m++) {
            const struct estimate *e = &s.estimate[(size_t)i * METRIC_COUNT + m];
            const cJSON *metric = cli_get(metrics, metric_info[m].name), *by_prompt = cli_get(metric, "by_prompt");
            cr_assert(metric && cJSON_GetArraySize(by_prompt) == 5);
            double mean = cli_number(metric, "mean"), low = cli_number(metric, "low");
            cr_assert(mean == e->mean || (isnan(mean) && isnan(e->mean)));
            cr_assert(low == e->low || (isnan(low) && isnan(e->low)));
            cr_assert_eq(cli_number(metric, "units"), (double)e->units);
            double cell = summary_cell(&s, (size_t)i, 3)[m];
            const cJSON *item = cJSON_GetArrayItem(by_prompt, 3);
            cr_assert(isnan(cell) ? cJSON_IsNull(item) : item->valuedouble == cell);
        }
        if (i == 1) {
            cr_assert(!cli_get(metrics, "entropy.difference"));
        } else {
            cr_assert_eq(cli_number(metrics, "entropy.difference.mean"), d[i].estimate.mean);
            cr_assert_eq(cli_number(metrics, "entropy.difference.adjusted"), d[i].adjusted);
            cr_assert_eq(cli_number(metrics, "entropy.difference.correlation"), d[i].correlation);
        }
    }
    cJSON_Delete(json);
    cli_free(&run);
    summary_free(&s);
}

static size_t count_char(const char *text, char c, const char *end) {
    size_t count = 0;
    for (; text < end && *text; text++) count += *text == c;
    return count;
}

/* Every line has as many fields as the first. */
static void check_csv(const char *text) {
    const char *end = strchr(text, '\n');
    cr_assert(end);
    size_t commas = count_char(text, ',', end);
    for (const char *line = text; *line; line = end + 1) {
        end = strchr(line, '\n');
        cr_assert(end);
        cr_assert_eq(count_char(line, ',', end), commas, "%.*s", (int)(end - line), line);
    }
}

Test(stats, csv_has_a_row_for_each_setting_and_metric) {
    small_store_make(path, &several);
    struct cli run = cli(NULL, "sweep", "stats", path, "--csv", "--metric", "length,entropy", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    check_csv(run.out);
    cr_assert_eq(cli_lines(run.out), 1 + 4 * 2);
    cli_free(&run);
    run = cli(NULL, "sweep", "stats", path, "--format", "csv", "--metric", "length", "--by-prompt", NULL);
    check_csv(run.out);
    cr_assert_eq(cli_lines(run.out), 1 + 4 * 5 - 1);
    cli_free(&run);
    run = cli(NULL, "sweep", "stats", path, "--csv", "--metric", "length", "--baseline", "0", "--bh", NULL);
    check_csv(run.out);
    cr_assert_eq(cli_lines(run.out), 1 + 4);
    cli_free(&run);
}

Test(stats, the_table_is_sorted_and_fits) {
    struct summary s;
    summarise(&s, &several, NULL);
    struct cli run = cli(NULL, "sweep", "stats", path, "--sort", "distinct_1", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    size_t best = summary_best(&s, METRIC_distinct_1);
    const char *second = strchr(run.out, '\n') + 1;
    cr_assert_eq(strncmp(second, s.points.items[best].name, strlen(s.points.items[best].name)), 0, "%s", run.out);
    for (const char *line = run.out; *line; line = strchr(line, '\n') + 1) {
        size_t bytes = strcspn(line, "\n");
        cr_assert(bytes - count_char(line, '\xC2', line + bytes) <= 80, "%.*s", (int)bytes, line);
    }
    cli_free(&run);
    run = cli(NULL, "sweep", "stats", path, "--metric", "pass@1", "--baseline", "temperature=0.1", NULL);
    cr_assert(strstr(run.out, "pass_1, less that of \"t=0.1\""), "%s", run.out);
    cr_assert(strstr(run.out, "p Holm"));
    cli_free(&run);
    summary_free(&s);
}

/* By hand: two prompts, one sample each, of 2 and 4 tokens. */
static void by_hand(struct small_sample *s) {
    s->count = s->prompt ? 4 : 2;
    s->finish = TEMPERA_FINISH_LENGTH;
    for (size_t i = 0; i < s->count; i++) s->stats[i].logprob = -(float)(s->prompt + 1);
    snprintf(s->text, sizeof s->text, "text");
}

Test(stats, figures_by_hand) {
    const struct small_shape shape = {.prompts = 2, .points = 1, .samples = 1, .sample = by_hand};
    small_store_make(path, &shape);
    struct cli run = cli(NULL, "sweep", "stats", path, "--metric", "length,logprob,distinct_1,seq_rep_1", NULL);
    cr_assert(strstr(run.out, "t=0.1    3.00 \xC2\xB1"
                              "1.00"),
              "%s", run.out);
    cr_assert(strstr(run.out, "-1.50 \xC2\xB1"
                              "0.50"),
              "%s", run.out);
    cr_assert(strstr(run.out, "0.375 \xC2\xB1"
                              "0.125"),
              "%s", run.out); /* 1/2 and 1/4 */
    cr_assert(strstr(run.out, "0.625 \xC2\xB1"
                              "0.125"),
              "%s", run.out);
    cr_assert(strstr(run.out, "over 2 prompts"), "%s", run.out);
    cli_free(&run);
}

static void refused(struct cli run, int status, const char *word) {
    cr_assert_eq(run.status, status, "%s%s", run.out, run.err);
    cr_assert(cli_one_line(run.err), "%s", run.err);
    cr_assert(strstr(run.err, word), "%s", run.err);
    cr_assert_eq(run.out_length, 0);
    cli_free(&run);
}

static void absent(struct small_sample *s) {
    s->absent = true;
}

Test(stats, bad_input_is_one_line) {
    const struct small_shape empty = {.prompts = 1, .points = 1, .samples = 1, .sample = absent};
    small_store_make(path, &empty);
    refused(cli(NULL, "sweep", "stats", path, NULL), 1, "no samples");
    refused(cli(NULL, "sweep", "stats", NULL), 2, "one database");
    refused(cli(NULL, "sweep", "stats", path, path, NULL), 2, "one database");
    refused(cli(NULL, "sweep", "stats", path, "--metric", "distinkt_2", NULL), 2, "did you mean distinct_2");
    refused(cli(NULL, "sweep", "stats", path, "--metric", "", NULL), 2, "no metric");
    refused(cli(NULL, "sweep", "stats", path, "--sort", "beauty", NULL), 2, "no metric");
    refused(cli(NULL, "sweep", "stats", path, "--holm", "--bh", NULL), 2, "--bh");
    refused(cli(NULL, "sweep", "stats", path, "--json", "--csv", NULL), 2, "not both");
    refused(cli(NULL, "sweep", "stats", "/nonexistent/x.db", NULL), 1, "/nonexistent/x.db");
    struct cli run = cli(NULL, "sweep", "stats", "--list-metrics", NULL);
    cr_assert_eq(run.status, 0);
    cr_assert_eq(cli_lines(run.out), 1 + METRIC_COUNT);
    cli_free(&run);
}

Test(stats, a_baseline_that_is_not_there_is_refused) {
    small_store_make(path, &several);
    refused(cli(NULL, "sweep", "stats", path, "--baseline", "hot", NULL), 2, "hot");
    refused(cli(NULL, "sweep", "stats", path, "--baseline", "top_p=0.9", NULL), 2, "fits 4 settings");
}
