/* test_bench_speed.c: the rows of bench. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/sweep/runs.h"

#define SHORT "bench", "-q", "-r", "2", "-w", "0", "-p", "16", "-n", "8", "--batch", "1,4"

Test(bench_speed, json_rows) {
    static const char *const tests[] = {"pp16", "pp16@d20", "tg8", "tg8@b4", "tg8@d20", "tg8@d20@b4"};
    struct cli run = cli(NULL, SHORT, "--depth", "0,20", "--format", "json", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *rows = cli_json(run.out, -1);
    cr_assert_eq(cJSON_GetArraySize(rows), 6, "%s", run.out);
    for (int i = 0; i < 6; i++) {
        const cJSON *row = cJSON_GetArrayItem(rows, i);
        cr_expect_str_eq(cli_string(row, "test"), tests[i]);
        cr_expect_gt(cli_number(row, "tokens_per_second"), 0);
        cr_expect_eq(cJSON_GetArraySize(cli_get(row, "samples")), 2);
        double a = cli_number(row, "samples.0"), b = cli_number(row, "samples.1");
        cr_expect_float_eq(cli_number(row, "mean"), (a + b) / 2, 1e-3 * a);
        cr_expect_float_eq(cli_number(row, "min"), fmin(a, b), 1e-3);
        cr_expect_float_eq(cli_number(row, "max"), fmax(a, b), 1e-3);
        cr_expect_gt(cli_number(row, "share_of_roofline"), 0);
        cr_expect_str_neq(cli_string(row, "roofline"), "");
        cr_expect_str_eq(cli_string(row, "sampler"), "greedy");
        cr_expect_gt(cli_number(row, "measured_flops"), 0);
        cr_expect_str_neq(cli_string(row, "build"), "");
        cr_expect_str_neq(cli_string(row, "dtype"), "");
        cr_expect_geq(cli_number(row, "threads"), 1);
        cr_expect_float_eq(cli_number(row, "share_of_roofline"),
                           fmax(cli_number(row, "share_of_bandwidth"), cli_number(row, "share_of_compute")), 1e-9);
    }
    cJSON_Delete(rows);
    cli_free(&run);
}

/* A part of every latency, in the order that its definition gives them. */
static void expect_latency(const cJSON *row, const char *name, bool there) {
    static const char *const parts[] = {"p50", "p90", "p95", "p99"};
    double before = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char path[32];
        snprintf(path, sizeof path, "%s_%s", name, parts[i]);
        const cJSON *figure = cli_get(row, path);
        cr_expect_not_null(figure, "%s", path);
        cr_expect_eq(cJSON_IsNull(figure), !there, "%s", path);
        if (!there) continue;
        cr_expect_geq(cli_number(row, path), before, "%s", path);
        before = cli_number(row, path);
    }
    cr_expect(!there || before > 0, "%s", name);
}

Test(bench_speed, latencies) {
    struct cli run = cli(NULL, SHORT, "--json", NULL);
    cJSON *rows = cli_json(run.out, -1);
    cr_assert_eq(cJSON_GetArraySize(rows), 3, "%s", run.out);
    for (int i = 0; i < 3; i++) {
        const cJSON *row = cJSON_GetArrayItem(rows, i);
        bool decode = i > 0;
        expect_latency(row, "ttft", true);
        expect_latency(row, "tpot", decode);
        expect_latency(row, "itl", decode);
        if (!decode) continue;
        /* The rate's clock runs on after a sequence's last token. */
        cr_expect_leq(cli_number(row, "tpot_mean"), 1.001 * cli_number(row, "batch") / cli_number(row, "min"));
    }
    cJSON_Delete(rows);
    cli_free(&run);
}

/* Of GPT-2's shape, from its definition: 12 layers, width 768, 50,257 tokens, f32. */
Test(bench_speed, work_is_counted_from_the_shape, .timeout = 300) {
    const double layer = 12.0 * 768 * 768 + 13.0 * 768; /* weights of the linear layers, their biases, two norms */
    const double body = 12 * layer + 2 * 768 + 1024.0 * 768, head = 50257.0 * 768;
    const double kv_token = 2.0 * 12 * 768 * 4;
    struct cli run = cli(NULL, "bench", "-q", "--random", "gpt2", "-r", "1", "-w", "0", "-p", "3", "-n", "2", "-b", "2",
                         "-d", "40", "--device", "cpu", "--json", NULL);
    cJSON *rows = cli_json(run.out, -1);
    cr_assert_eq(cJSON_GetArraySize(rows), 2, "%s%s", run.out, run.err);
    cr_expect_float_eq(cli_number(rows, "0.kv_bytes"), 43 * kv_token, 1);
    cr_expect_float_eq(cli_number(rows, "0.flops"), 2 * (3 * body + head) + 4.0 * 12 * 768 * (41 + 42 + 43), 1);
    /* Steps at positions 41 and 42, which attend to 41.5 tokens in the mean, of two sequences. */
    cr_expect_float_eq(cli_number(rows, "1.kv_bytes"), 2 * 41.5 * kv_token, 1);
    cr_expect_float_eq(cli_number(rows, "1.flops"), 2 * (2 * (body + head) + 4.0 * 12 * 768 * 41.5), 1);
    /* Every matrix of a layer and the head; packing pads at most a few percent. */
    double weights = 4 * (12 * 12.0 * 768 * 768 + head);
    cr_expect_geq(cli_number(rows, "1.weight_bytes"), weights);
    cr_expect_leq(cli_number(rows, "1.weight_bytes"), 1.05 * weights);
    cJSON_Delete(rows);
    cli_free(&run);
}

TestSuite(bench_database, .init = enter_folder, .fini = leave_folder);

Test(bench_database, gets_the_rows_of_every_run) {
    for (int i = 0; i < 2; i++) {
        struct cli run = cli(NULL, SHORT, "--format", "sqlite", "--out", "bench.db", NULL);
        cr_assert_eq(run.status, 0, "%s", run.err);
        cr_expect_str_eq(run.out, "");
        cli_free(&run);
    }
    cr_expect_eq(db_number("bench.db", "SELECT count(*) FROM bench"), 6);
    cr_expect_eq(db_number("bench.db", "SELECT count(DISTINCT test) FROM bench"), 3);
    cr_expect_eq(db_number("bench.db", "SELECT count(*) FROM bench WHERE json_array_length(samples) = 2"), 6);
    cr_expect_eq(db_number("bench.db", "SELECT count(*) FROM bench WHERE median > 0 AND threads > 0"), 6);
    cr_expect_eq(db_number("bench.db", "SELECT count(*) FROM bench WHERE itl_p50 IS NULL AND test = 'pp16'"), 2);
    cr_expect_eq(db_number("bench.db", "SELECT count(*) FROM bench WHERE datetime(time) IS NOT NULL"), 6);
}

Test(bench_database, takes_a_table_of_an_earlier_version_and_no_other_file) {
    db_execute("bench.db", "CREATE TABLE bench(test TEXT, time TEXT); INSERT INTO bench VALUES('old', 'then')");
    struct cli run = cli(NULL, SHORT, "--out", "bench.db", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cr_expect(strstr(run.out, "pp16"), "%s", run.out);
    cli_free(&run);
    cr_expect_eq(db_number("bench.db", "SELECT count(*) FROM bench"), 4);
    cr_expect_eq(db_number("bench.db", "SELECT count(*) FROM bench WHERE mean IS NULL AND test = 'old'"), 1);
    write_text("text", "This is no database, and long enough that its header cannot be one: 0123456789 0123456789");
    run = cli(NULL, SHORT, "--out", "text", NULL);
    cr_expect(run.status == 1 && cli_one_line(run.err) && strstr(run.err, "not a database"), "%s", run.err);
    cli_free(&run);
}

static void expect_refused(struct cli run, int status, const char *words) {
    cr_expect_eq(run.status, status, "%s", run.err);
    cr_expect(cli_one_line(run.err), "%s", run.err);
    cr_expect(strstr(run.err, words), "%s", run.err);
    cli_free(&run);
}

Test(bench_speed, refused) {
    expect_refused(cli(NULL, "bench", "--batch", "0", NULL), 2, "1 to 65536");
    expect_refused(cli(NULL, "bench", "-p", "512:128:128", NULL), 2, "last number is not below its first");
    expect_refused(cli(NULL, "bench", "--sampler", "temperatur=1", NULL), 2, "temperatur");
    expect_refused(cli(NULL, "bench", "--format", "sqlite", NULL), 2, "--out");
    expect_refused(cli(NULL, "bench", "--out", "/nonexistent/bench.db", NULL), 1, "/nonexistent/bench.db");
}

Test(bench_speed, other_formats) {
    struct cli csv = cli(NULL, SHORT, "--sampler", "temperature=0.8,top_p=0.95", "--format", "csv", NULL);
    cr_assert_eq(csv.status, 0, "%s", csv.err);
    cr_expect_eq(strncmp(csv.out, "test,unit,tokens_per_second,", 28), 0);
    cr_expect_eq(cli_lines(csv.out), 4);
    cr_expect(strstr(csv.out, "\"temperature=0.8,top_p=0.95\""), "%s", csv.out);
    cli_free(&csv);
    struct cli markdown = cli(NULL, SHORT, "--format", "markdown", NULL);
    cr_expect(strstr(markdown.out, "| pp16 | tok/s |"), "%s", markdown.out);
    cr_expect(strstr(markdown.out, "| itl p50 |"), "%s", markdown.out);
    cli_free(&markdown);
    struct cli table = cli(NULL, SHORT, NULL);
    cr_expect(strstr(table.out, "measured ceilings"), "%s", table.out);
    cr_expect(strstr(table.out, "sampler greedy"), "%s", table.out);
    cli_free(&table);
}

Test(bench_speed, tokenizer_and_startup) {
    struct cli run = cli(NULL, "bench", "-q", "-r", "1", "-w", "0", "-p", "0", "-n", "0", "--startup", "--tokenizer",
                         TEMPERA_DEMO_MODEL "/tokenizer.json", "--json", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *rows = cli_json(run.out, -1);
    cr_assert_eq(cJSON_GetArraySize(rows), 3, "%s", run.out);
    cr_expect_gt(cli_number(rows, "0.megabytes_per_second"), 0);
    cr_expect_gt(cli_number(rows, "1.megabytes_per_second"), 0);
    cr_expect_str_eq(cli_string(rows, "2.test"), "startup");
    cr_expect(cJSON_IsNull(cli_get(rows, "2.tokens_per_second")));
    cr_expect_gt(cli_number(rows, "2.median"), 0);
    cr_expect_str_eq(cli_string(rows, "2.unit"), "s");
    cJSON_Delete(rows);
    cli_free(&run);
}
