/* test_best.c: the budget of `sweep best`, what it finds, and samplers at equal tuning budget. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "cli/cli.h"
#include "sweep/fair.h"
#include "sweep/halving.h"

/* ---- the plan ---- */

static void check_plan(size_t points, size_t blocks, double budget) {
    struct halving_round rounds[HALVING_ROUNDS];
    size_t count = halving_plan(points, blocks, budget, rounds);
    if (count == 0) {
        /* One block for all points, doubled for each half: what the least plan costs. */
        cr_assert_lt(budget * (double)blocks, ceil(log2((double)points)) + 1, "%zu points, %zu blocks, %g refused",
                     points, blocks, budget);
        return;
    }
    cr_assert_eq(rounds[0].points, points);
    cr_assert_leq((double)halving_cost(rounds, count), budget * (double)points * (double)blocks + 1e-6);
    for (size_t r = 1; r < count; r++) {
        cr_assert_eq(rounds[r].points, (rounds[r - 1].points + 1) / 2);
        cr_assert_geq(rounds[r].blocks, rounds[r - 1].blocks);
    }
    cr_assert(rounds[count - 1].points <= 2 || rounds[count - 1].blocks == blocks);
}

Test(best, plans_stay_in_their_budget) {
    for (size_t points = 1; points < 400; points += points < 20 ? 1 : 37)
        for (size_t blocks = 1; blocks < 3000; blocks = blocks * 3 + 1)
            for (double budget = 0.01; budget <= 1; budget *= 1.7) check_plan(points, blocks, budget);
}

Test(best, whole_budget_is_a_full_comparison) {
    struct halving_round rounds[HALVING_ROUNDS];
    cr_assert_eq(halving_plan(5, 40, 1, rounds), 1);
    cr_assert_eq(rounds[0].blocks, 40);
    cr_assert_eq(halving_plan(0, 40, 1, rounds), 0);
    cr_assert_eq(halving_plan(5, 0, 1, rounds), 0);
}

/* ---- what it finds ---- */

static uint64_t random_state = 1;
static double uniform(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(random_state >> 11) + 0.5) * 0x1p-53;
}
static double normal(void) {
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

enum { POINTS = 64, BLOCKS = 400 };
static double outcome[POINTS][BLOCKS];

static double mean_of(const double *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

/* A smooth surface over two axes with prompts of different difficulty, as sweeps have. */
static void fill_outcomes(void) {
    double best_x = 8 * uniform(), best_y = 8 * uniform();
    for (int b = 0; b < BLOCKS; b++) {
        double difficulty = normal();
        for (int p = 0; p < POINTS; p++) {
            double x = p / 8 - best_x, y = p % 8 - best_y;
            outcome[p][b] = -0.02 * (x * x + y * y) + difficulty + 0.5 * normal();
        }
    }
}

static int race(double budget) {
    struct halving_round rounds[HALVING_ROUNDS];
    int alive[POINTS];
    size_t count = halving_plan(POINTS, BLOCKS, budget, rounds);
    cr_assert_gt(count, 0);
    for (int p = 0; p < POINTS; p++) alive[p] = p;
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < rounds[r].points; i++) /* selection sort, best first */
            for (size_t k = i + 1; k < rounds[r].points; k++)
                if (mean_of(outcome[alive[k]], rounds[r].blocks) > mean_of(outcome[alive[i]], rounds[r].blocks)) {
                    int swap = alive[i];
                    alive[i] = alive[k];
                    alive[k] = swap;
                }
    return alive[0];
}

/* Whether the full comparison would call `found` worse than its winner: its paired interval excludes 0. */
static bool is_clearly_worse(int found) {
    int winner = 0;
    double squares = 0;
    for (int p = 1; p < POINTS; p++)
        if (mean_of(outcome[p], BLOCKS) > mean_of(outcome[winner], BLOCKS)) winner = p;
    double difference = mean_of(outcome[winner], BLOCKS) - mean_of(outcome[found], BLOCKS);
    for (int b = 0; b < BLOCKS; b++) {
        double d = outcome[winner][b] - outcome[found][b] - difference;
        squares += d * d;
    }
    return difference > 1.96 * sqrt(squares / BLOCKS / (BLOCKS - 1));
}

Test(best, finds_the_winner_with_a_fifth_of_the_samples) {
    enum { TRIALS = 200 };
    int worse = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        fill_outcomes();
        worse += is_clearly_worse(race(0.2));
    }
    printf("clearly worse than the full comparison's winner: %d of %d\n", worse, TRIALS);
    cr_assert_leq(worse, TRIALS / 20);
}

/* ---- fair comparison ---- */

/* The mean of the maximum over all subsets of n, by enumeration. */
static double best_of_subsets(const double *scores, unsigned count, unsigned n) {
    double sum = 0, subsets = 0;
    for (unsigned set = 0; set < 1u << count; set++) {
        double best = -INFINITY;
        unsigned size = 0;
        for (unsigned i = 0; i < count; i++)
            if (set >> i & 1) {
                size++;
                if (scores[i] > best) best = scores[i];
            }
        if (size != n) continue;
        sum += best;
        subsets++;
    }
    return sum / subsets;
}

Test(best, fair_curves_are_expectations_over_subsets) {
    enum { PROMPTS = 6, SETTINGS = 8 };
    struct summary summary = {0};
    struct fair_curves curves;
    double mean[SETTINGS];
    summary.points.count = SETTINGS;
    summary.points.items = calloc(SETTINGS, sizeof *summary.points.items);
    summary.prompts.count = PROMPTS;
    summary.cell = calloc((size_t)SETTINGS * PROMPTS * METRIC_COUNT, sizeof *summary.cell);
    summary.estimate = calloc((size_t)SETTINGS * METRIC_COUNT, sizeof *summary.estimate);
    for (size_t i = 0; i < SETTINGS; i++) {
        tempera_sampling *s = &summary.points.items[i].sampling;
        *s = tempera_sampling_default();
        s->temperature = 0.5f + (float)i;
        if (i >= 5) s->min_p = 0.1f; /* the second sampler has three settings */
        mean[i] = 0;
        for (size_t p = 0; p < PROMPTS; p++) {
            double value = uniform();
            summary.cell[(i * PROMPTS + p) * METRIC_COUNT + METRIC_bleu] = value;
            mean[i] += value / PROMPTS;
        }
        summary.estimate[i * METRIC_COUNT + METRIC_bleu].mean = mean[i];
    }
    fair_make(&curves, &summary, METRIC_bleu, false);
    cr_assert_eq(curves.count, 2);
    cr_assert_str_eq(curves.groups[0].name, "temperature");
    cr_assert_str_eq(curves.groups[1].name, "min_p");
    cr_assert_eq(curves.budget, 3);
    for (unsigned n = 1; n <= 5; n++) {
        const struct estimate *e = &curves.groups[0].best[n - 1];
        cr_assert_float_eq(e->mean, best_of_subsets(mean, 5, n), 1e-12);
        cr_assert(e->low <= e->mean && e->mean <= e->high);
    }
    for (unsigned n = 1; n <= 3; n++)
        cr_assert_float_eq(curves.groups[1].best[n - 1].mean, best_of_subsets(mean + 5, 3, n), 1e-12);
    size_t other = !curves.leader;
    cr_assert_float_eq(curves.difference[other].mean,
                       curves.groups[curves.leader].best[2].mean - curves.groups[other].best[2].mean, 1e-12);
    cr_assert_geq(curves.difference[other].mean, 0);
    fair_free(&curves);
    fair_make(&curves, &summary, METRIC_bleu, true); /* less is better: the expected least */
    for (size_t i = 0; i < SETTINGS; i++) mean[i] = -mean[i];
    cr_assert_float_eq(curves.groups[0].best[1].mean, -best_of_subsets(mean, 5, 2), 1e-12);
    fair_free(&curves);
    free(summary.points.items);
    free(summary.cell);
    free(summary.estimate);
}

/* ---- the command ---- */

static char folder[] = "/tmp/tempera-best-XXXXXX";
static char best_db[64], full_db[64], prompts[64];

static void make_folder(void) {
    cr_assert(mkdtemp(folder));
    snprintf(best_db, sizeof best_db, "%s/best.db", folder);
    snprintf(full_db, sizeof full_db, "%s/full.db", folder);
    snprintf(prompts, sizeof prompts, "%s/prompts.txt", folder);
    FILE *file = fopen(prompts, "w");
    for (int i = 0; i < 12; i++) fprintf(file, "Once upon a time, number %d\n", i);
    fclose(file);
}
static void remove_folder(void) {
    unlink(best_db);
    unlink(full_db);
    unlink(prompts);
    rmdir(folder);
}

TestSuite(best_command, .init = make_folder, .fini = remove_folder, .timeout = 120);

static struct cli sweep(const char *command, const char *db, const char *flag, const char *value) {
    return cli(NULL, "sweep", command, "--prompts", prompts, "--grid", "temperature=0.2:1.6:0.2 top_p=0.5,1",
               "--samples", "4", "--max-tokens", "12", "--json", "-o", db, flag, value, NULL);
}

Test(best_command, makes_a_part_of_the_full_sweep) {
    struct cli best = cli(NULL, "sweep", "best", "--metric", "distinct_2", "--prompts", prompts, "--grid",
                          "temperature=0.2:1.6:0.2 top_p=0.5,1", "--samples", "4", "--max-tokens", "12", "--json", "-o",
                          best_db, "--budget", "25%", NULL);
    cr_assert_eq(best.status, 0, "%s", best.err);
    cJSON *found = cli_json(best.out, -1);
    cr_assert_eq(cli_number(found, "full_samples"), 16 * 12 * 4);
    cr_assert_leq(cli_number(found, "samples"), 0.25 * 16 * 12 * 4);
    struct cli count = cli(NULL, "sweep", "stats", best_db, "--metric", "distinct_2", "--json", NULL);
    cr_assert_eq(count.status, 0, "%s", count.err);
    /* The full sweep makes what is missing, and the same as without the search. */
    struct cli rest = sweep("run", best_db, "--batch", "64"), full = sweep("run", full_db, "--batch", "64");
    cr_assert_eq(rest.status, 0, "%s", rest.err);
    cr_assert_eq(full.status, 0, "%s", full.err);
    struct cli diff = cli(NULL, "sweep", "diff", best_db, full_db, NULL);
    cr_assert_eq(diff.status, 0, "%s", diff.out);
    cJSON_Delete(found);
    cli_free(&best);
    cli_free(&count);
    cli_free(&rest);
    cli_free(&full);
    cli_free(&diff);
}

Test(best_command, refuses_in_one_line) {
    static const char *const flags[][4] = {{"--metric", "distinct_9"},
                                           {"--metric", "logprob"},
                                           {"--metric", "distinct_2", "--budget", "0%"},
                                           {"--metric", "distinct_2", "--budget", "1%"},
                                           {"--metric", "pass@8", "--budget", "20%"},
                                           {"--samples", "4"}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        struct cli run =
            cli(NULL, "sweep", "best", "--prompts", prompts, "--grid", "temperature=0.2:1.6:0.2", "--samples", "4",
                "--max-tokens", "4", "-q", "-o", best_db, flags[i][0], flags[i][1], flags[i][2], flags[i][3], NULL);
        cr_assert_eq(run.status, 2, "%s %s: %s", flags[i][0], flags[i][1], run.err);
        cr_assert(cli_one_line(run.err), "%s", run.err);
        cr_assert_neq(access(best_db, F_OK), 0, "nothing is written");
        cli_free(&run);
    }
}
