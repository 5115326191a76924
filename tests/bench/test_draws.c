/* test_draws.c: the draw alone: tempera_measure_draw and `tempera bench sampler`. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tempera/tempera.h"
#include "tests/sweep/runs.h"

TestSuite(draws, .init = enter_folder, .fini = leave_folder, .timeout = 120);

enum { REPETITIONS = 9 };

/* The fastest of some draws from one row of rising logits, none of which is far above the others. */
static double fastest(int32_t vocab_size) {
    float *logits = calloc((size_t)vocab_size, sizeof *logits);
    for (int32_t i = 0; i < vocab_size; i++) logits[i] = (float)i / (float)vocab_size;
    tempera_engine_options options = tempera_engine_options_default();
    tempera_sampling sampling = tempera_sampling_default();
    tempera_plan used = {.threads = -1, .kv = 7};
    tempera_error err;
    double seconds[REPETITIONS] = {0}, best = INFINITY;
    sampling.top_p = 0.9f;
    options.device = "cpu";
    options.threads = 1;
    const tempera_draws draws = {logits, 1, vocab_size, &sampling, REPETITIONS};
    cr_assert_eq(tempera_measure_draw(&options, &draws, seconds, &used, &err), TEMPERA_OK, "%s", err.message);
    for (int i = 0; i < REPETITIONS; i++) {
        cr_expect_gt(seconds[i], 0);
        best = fmin(best, seconds[i]);
    }
    cr_expect_str_eq(used.device, "cpu");
    cr_expect_str_neq(used.instructions, "");
    cr_expect_eq(used.threads, 1);
    cr_expect_eq(used.kv, 0);
    free(logits);
    return best;
}

Test(draws, time_grows_with_the_vocabulary) {
    double small = fastest(1000), large = fastest(1000000);
    cr_expect_gt(large, 20 * small, "%g s for 1,000 tokens, %g s for 1,000,000", small, large);
}

Test(draws, refused) {
    const float logits[4] = {0, 1, 2, 3};
    tempera_engine_options options = tempera_engine_options_default();
    tempera_sampling sampling = tempera_sampling_default();
    tempera_error err;
    double seconds[1];
    const tempera_draws good = {logits, 2, 2, &sampling, 1};
    options.device = "cpu";
    cr_expect_eq(tempera_measure_draw(&options, &good, seconds, NULL, NULL), TEMPERA_OK);
    const tempera_draws bad[] = {{NULL, 2, 2, &sampling, 1},   {logits, 2, 2, NULL, 1},
                                 {logits, 0, 2, &sampling, 1}, {logits, 65537, 2, &sampling, 1},
                                 {logits, 2, 0, &sampling, 1}, {logits, 2, 2, &sampling, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(tempera_measure_draw(&options, &bad[i], seconds, NULL, &err), TEMPERA_INVALID_ARGUMENT, "%zu", i);
    cr_expect_eq(tempera_measure_draw(NULL, &good, seconds, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    cr_expect_eq(tempera_measure_draw(&options, &good, NULL, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    sampling.top_p = 2;
    cr_expect_eq(tempera_measure_draw(&options, &good, seconds, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    cr_expect(strstr(err.message, "top_p"), "%s", err.message);
    sampling = tempera_sampling_default();
    sampling.n = 1 << 20;
    cr_expect_eq(tempera_measure_draw(&options, &good, seconds, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    sampling.n = 1;
    options.device = "abacus";
    cr_expect_neq(tempera_measure_draw(&options, &good, seconds, NULL, &err), TEMPERA_OK);
}

#define SAMPLER "bench", "sampler", "-q", "--device", "cpu", "-r", "3"

Test(draws, rows_of_every_combination) {
    struct cli run = cli(NULL, SAMPLER, "-V", "100,3000", "-b", "1,18", "--setting", "greedy", "--setting",
                         "temperature=0.8,n=4", "--json", "--out", "s.db", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *rows = cli_json(run.out, -1);
    cr_assert_eq(cJSON_GetArraySize(rows), 16, "%s", run.out);
    for (int i = 0; i < 16; i++) {
        const cJSON *row = cJSON_GetArrayItem(rows, i);
        bool greedy = i % 2 == 0;
        int batch = i / 2 % 2 ? 18 : 1, vocab = i < 8 ? 100 : 3000;
        cr_expect_str_eq(cli_string(row, "logits"), i / 4 % 2 ? "flat" : "peaked");
        cr_expect_str_eq(cli_string(row, "setting"), greedy ? "greedy" : "temperature=0.8,n=4");
        cr_expect_eq(cli_number(row, "batch"), batch);
        cr_expect_eq(cli_number(row, "vocab_size"), vocab);
        cr_expect_float_eq(cli_number(row, "per_token"), cli_number(row, "microseconds") / batch / (greedy ? 1 : 4),
                           2e-3);
        cr_expect_geq(cli_number(row, "p90"), cli_number(row, "microseconds"));
        cr_expect_geq(cli_number(row, "microseconds"), cli_number(row, "min"));
        cr_expect_str_eq(cli_string(row, "device"), "cpu");
        cr_expect_str_neq(cli_string(row, "build"), "");
    }
    cJSON_Delete(rows);
    cli_free(&run);
    cr_expect_eq(db_number("s.db", "SELECT count(*) FROM sampler WHERE microseconds > 0"), 16);
}

static void usage(const char *words, struct cli run) {
    cr_expect_eq(run.status, 2, "%s: status %d", words, run.status);
    cr_expect(cli_one_line(run.err) && strstr(run.err, words), "%s: %s", words, run.err);
    cli_free(&run);
}

Test(draws, wrong_flags) {
    usage("--batch", cli(NULL, SAMPLER, "-b", "0", NULL));
    usage("--vocab", cli(NULL, SAMPLER, "--vocab", "x", NULL));
    usage("topp", cli(NULL, SAMPLER, "--setting", "topp=1", NULL));
    usage("rows * n", cli(NULL, SAMPLER, "-b", "64", "-V", "10", "--setting", "n=100000", NULL));
    usage("--logits", cli(NULL, SAMPLER, "--logits", "round", NULL));
    usage("--format sqlite needs --out", cli(NULL, SAMPLER, "--format", "sqlite", NULL));
    usage("did you mean sampler?", cli(NULL, "bench", "samplr", NULL));
}
