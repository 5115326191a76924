/* test_cli_bench.c: the rows of bench. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "cli.h"

#define SHORT "bench", "-q", "-r", "2", "-w", "0", "-p", "16", "-n", "8", "--batch", "1,4"

Test(cli_bench, json_rows) {
    static const char *const tests[] = {"pp16", "tg8", "tg8@b4", "tg8@d20", "tg8@d20@b4"};
    struct cli run = cli(NULL, SHORT, "--depth", "0,20", "--format", "json", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *rows = cli_json(run.out, -1);
    cr_assert_eq(cJSON_GetArraySize(rows), 5, "%s", run.out);
    for (int i = 0; i < 5; i++) {
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
    }
    cJSON_Delete(rows);
    cli_free(&run);
}

Test(cli_bench, other_formats) {
    struct cli csv = cli(NULL, SHORT, "--sampler", "temperature=0.8,top_p=0.95", "--format", "csv", NULL);
    cr_assert_eq(csv.status, 0, "%s", csv.err);
    cr_expect_eq(strncmp(csv.out, "test,unit,tokens_per_second,", 28), 0);
    cr_expect_eq(cli_lines(csv.out), 4);
    cr_expect(strstr(csv.out, "\"temperature=0.8,top_p=0.95\""), "%s", csv.out);
    cli_free(&csv);
    struct cli markdown = cli(NULL, SHORT, "--format", "markdown", NULL);
    cr_expect(strstr(markdown.out, "| pp16 | tok/s |"), "%s", markdown.out);
    cli_free(&markdown);
    struct cli table = cli(NULL, SHORT, NULL);
    cr_expect(strstr(table.out, "measured ceilings"), "%s", table.out);
    cr_expect(strstr(table.out, "sampler greedy"), "%s", table.out);
    cli_free(&table);
}

Test(cli_bench, tokenizer_and_startup) {
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
