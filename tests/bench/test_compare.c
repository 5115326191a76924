/* test_compare.c: `tempera bench compare` with programs that answer as llama-bench does, and with broken ones. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/sweep/runs.h"

/* Answers any test as llama-bench does: a rate that grows with every run. Its command lines are kept. */
static const char llama_bench[] =
    "#!/bin/sh\n"
    "echo \"$@\" >>bench.log\n"
    "runs=$(wc -l <bench.log)\n"
    "depth=0 threads=0\n"
    "while [ $# -gt 1 ]; do\n"
    "  case $1 in -p) prompt=$2 ;; -n) text=$2 ;; -d) depth=$2 ;; -t) threads=$2 ;; esac\n"
    "  shift 2\n"
    "done\n"
    "echo 'loading …' >&2\n"
    "echo 'a note on standard output'\n"
    "echo \"{\\\"build_commit\\\": \\\"abc123\\\", \\\"model_type\\\": \\\"gpt2 0.1B F32\\\", \\\"n_threads\\\": "
    "$threads,"
    " \\\"type_k\\\": \\\"f16\\\", \\\"type_v\\\": \\\"f16\\\", \\\"n_prompt\\\": $prompt, \\\"n_gen\\\": $text,"
    " \\\"n_depth\\\": $depth, \\\"avg_ts\\\": $((runs * 100)).5}\"\n";

static const char batched_bench[] =
    "#!/bin/sh\n"
    "while [ $# -gt 1 ]; do\n"
    "  case $1 in -npp) prompt=$2 ;; -ntg) text=$2 ;; -npl) rows=$2 ;; esac\n"
    "  shift 2\n"
    "done\n"
    "echo; echo \"{\\\"pp\\\": $prompt, \\\"tg\\\": $text, \\\"pl\\\": $rows, \\\"speed_tg\\\": 50.25}\"\n";

static void write_program(const char *path, const char *text) {
    write_text(path, text);
    cr_assert_eq(chmod(path, 0755), 0);
}

static void enter(void) {
    enter_folder();
    write_program("llama-bench", llama_bench);
    write_program("llama-batched-bench", batched_bench);
}
TestSuite(compare, .init = enter, .fini = leave_folder, .timeout = 120);

#define COMPARE "bench", "compare", "-q", "--with-model", "their.gguf", "-w", "0"
#define WITH    "--with", "llama-bench=./llama-bench"

static double median3(double a, double b, double c) {
    return fmax(fmin(a, b), fmin(fmax(a, b), c));
}

static void expect_ratios(const cJSON *row) {
    double ratios[3];
    for (int i = 0; i < 3; i++) {
        char path[32];
        snprintf(path, sizeof path, "ours_samples.%d", i);
        ratios[i] = cli_number(row, path);
        snprintf(path, sizeof path, "theirs_samples.%d", i);
        ratios[i] /= cli_number(row, path);
        snprintf(path, sizeof path, "ratio_samples.%d", i);
        cr_expect_float_eq(cli_number(row, path), ratios[i], 1e-3 + 1e-3 * ratios[i], "%s", path);
    }
    const double tolerance = 1e-3 + 1e-3 * ratios[0];
    cr_expect_float_eq(cli_number(row, "ratio"), median3(ratios[0], ratios[1], ratios[2]), tolerance);
    cr_expect_float_eq(cli_number(row, "ratio_min"), fmin(ratios[0], fmin(ratios[1], ratios[2])), tolerance);
    cr_expect_float_eq(cli_number(row, "ratio_max"), fmax(ratios[0], fmax(ratios[1], ratios[2])), tolerance);
}

Test(compare, pairs_in_turns) {
    static const char *const tests[] = {"pp16", "tg8"};
    static const double theirs[] = {100.5, 200.5}; /* of the first round: the tests take turns */
    struct cli run = cli(NULL, COMPARE, WITH, "--rounds", "3", "-p", "16", "-n", "8", "-d", "0", "-t", "2", "--device",
                         "cpu", "--json", "--with-arg=-fa", "--with-arg=on", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *rows = cli_json(run.out, -1);
    cr_assert_eq(cJSON_GetArraySize(rows), 2, "%s", run.out);
    for (int i = 0; i < 2; i++) {
        const cJSON *row = cJSON_GetArrayItem(rows, i);
        cr_expect_str_eq(cli_string(row, "test"), tests[i]);
        cr_expect_eq(cli_number(row, "rounds"), 3);
        for (int k = 0; k < 3; k++) {
            char path[32];
            snprintf(path, sizeof path, "theirs_samples.%d", k);
            cr_expect_float_eq(cli_number(row, path), theirs[i] + 200 * k, 1e-3);
        }
        cr_expect_float_eq(cli_number(row, "theirs"), theirs[i] + 200, 1e-3);
        expect_ratios(row);
        cr_expect_str_eq(cli_string(row, "peer"), "llama-bench");
        cr_expect_str_eq(cli_string(row, "peer_model"), "their.gguf");
        cr_expect_str_eq(cli_string(row, "peer_type"), "gpt2 0.1B F32");
        cr_expect_str_eq(cli_string(row, "peer_build"), "abc123");
        cr_expect(strstr(cli_string(row, "differs"), "neither sampling nor detokenising"));
        cr_expect_gt(cli_number(row, "share_of_roofline"), 0);
        cr_expect_eq(cli_number(row, "threads"), 2);
    }
    cJSON_Delete(rows);
    cli_free(&run);
    size_t length;
    char *log = read_file_text("bench.log", &length);
    cr_expect(strstr(log, "-m their.gguf -p 16 -n 0 -r 1 -o jsonl -t 2 -ngl 0 -fa on\n"), "%s", log);
    cr_expect(strstr(log, "-m their.gguf -p 0 -n 8 -r 1 -o jsonl -t 2 -ngl 0 -fa on\n"), "%s", log);
    free(log);
}

Test(compare, depths_and_batches) {
    struct cli run = cli(NULL, COMPARE, WITH, "--with", "llama-batched-bench=./llama-batched-bench", "-r", "1", "-p",
                         "0", "-n", "4", "-d", "7", "-b", "1,3", "--out", "c.db", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cr_expect(strstr(run.out, "tg4@d7 "), "%s", run.out);
    cr_expect(strstr(run.out, "tg4@d7@b3"), "%s", run.out);
    cr_expect(strstr(run.out, "llama-batched-bench times neither sampling"), "%s", run.out);
    cli_free(&run);
    cr_expect_eq(db_number("c.db", "SELECT count(*) FROM compare WHERE ratio > 0"), 2);
    cr_expect_eq(db_number("c.db", "SELECT count(*) FROM compare WHERE theirs = 50.25 AND batch = 3"), 1);
}

static void refused(const char *program, const char *words, int status) {
    write_program("llama-bench", program);
    struct cli run = cli(NULL, COMPARE, WITH, "-r", "1", "-p", "4", "-n", "0", "--time-limit", "1", NULL);
    cr_expect_eq(run.status, status, "%s: status %d", words, run.status);
    cr_expect(cli_one_line(run.err), "%s: %s", words, run.err);
    cr_expect(strstr(run.err, words), "%s: %s", words, run.err);
    cr_expect_str_eq(run.out, "");
    cli_free(&run);
}

#define ROW "{\\\"n_prompt\\\": 4, \\\"n_gen\\\": 0, "

Test(compare, broken_programs_get_one_line) {
    refused("#!/bin/sh\necho notes >&2; echo 'error: failed to load model' >&2; exit 1\n",
            "exit status 1: error: failed to load model", 1);
    refused("#!/bin/sh\nexit 3\n", "exit status 3", 1);
    refused("#!/bin/sh\nkill -11 $$\n", "ended by signal 11", 1);
    refused("#!/nonexistent/interpreter\n", "cannot be run", 1);
    refused("#!/bin/sh\n", "no row of pp4 in its output, which begins \"\"", 1);
    refused("#!/bin/sh\necho '| model | test |'\n", "which begins \"| model | test |", 1);
    refused("#!/bin/sh\necho '[{\"n_prompt\": 5, \"n_gen\": 0, \"avg_ts\": 1}]'\n", "no row of pp4", 1);
    refused("#!/bin/sh\necho '{\"n_prompt\": 4, \"n_gen\": 0, \"avg_'\n", "no row of pp4", 1);
    refused("#!/bin/sh\necho \"" ROW "\\\"avg_ts\\\": 0}\"\n", "no rate above 0", 1);
    refused("#!/bin/sh\necho \"" ROW "\\\"avg_ts\\\": -3}\"\n", "no rate above 0", 1);
    refused("#!/bin/sh\necho \"" ROW "\\\"avg_ts\\\": \\\"fast\\\"}\"\n", "no rate above 0", 1);
    refused("#!/bin/sh\necho \"" ROW "\\\"avg_ts\\\": 1, \\\"n_threads\\\": 77}\"\n", "ran on 77 threads", 1);
    refused("#!/bin/sh\nyes '{'\n", "writes more than 16 MiB", 1);
}

Test(compare, a_program_that_hangs_is_ended) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    refused("#!/bin/sh\nsleep 300 & sleep 300\n", "no end within 1 s (--time-limit)", 1);
    refused("#!/bin/sh\nexec >&- 2>&-\nsleep 300\n", "no end within 1 s (--time-limit)", 1);
    clock_gettime(CLOCK_MONOTONIC, &to);
    cr_expect_lt(to.tv_sec - from.tv_sec, 60);
}

static void usage(struct cli run, int status, const char *words) {
    cr_expect_eq(run.status, status, "%s", run.err);
    cr_expect(cli_one_line(run.err) && strstr(run.err, words), "%s", run.err);
    cli_free(&run);
}

Test(compare, what_is_missing_is_named) {
    usage(cli(NULL, "bench", "compare", NULL), 2, "--with NAME=PATH");
    usage(cli(NULL, "bench", "compare", WITH, NULL), 2, "--with-model");
    usage(cli(NULL, COMPARE, "--with", "vllm=./llama-bench", NULL), 2, "vllm=./llama-bench");
    usage(cli(NULL, COMPARE, "--with", "./llama-bench", NULL), 2, "llama-bench=PATH");
    usage(cli(NULL, COMPARE, "--with", "llama-bench=./nothing", NULL), 1, "./nothing");
    usage(cli(NULL, COMPARE, WITH, "-b", "2", "-n", "4", "-p", "0", NULL), 2,
          "tg4@b2 needs --with llama-batched-bench");
    usage(cli(NULL, "bench", "compar", NULL), 2, "did you mean compare?");
}
