/* test_serve.c: requests over time: traces, Poisson arrivals, and what `tempera bench serve-like` says of them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/trace.h"
#include "tests/sweep/runs.h"

TestSuite(serve, .init = enter_folder, .fini = leave_folder, .timeout = 120);

/* ---- traces ---- */

Test(serve, a_trace_in_both_forms) {
    struct trace trace = {0};
    write_text("trace", "# seconds prompt output\n"
                        "0 12 3\n"
                        "\n"
                        "  0.25,\t7 , 1\r\n"
                        "{\"seconds\": 0.25, \"prompt\": \"Once \\u00fc\", \"output_tokens\": 64, \"user\": \"x\"}\n"
                        "{\"seconds\": 1e1, \"prompt_tokens\": 16777216, \"output_tokens\": 2}");
    cr_assert_eq(trace_read(&trace, "trace"), 0);
    cr_assert_eq(trace.count, 4);
    const struct arrival *a = trace.items;
    cr_expect(a[0].seconds == 0 && a[0].prompt_tokens == 12 && a[0].output_tokens == 3 && a[0].line == 2);
    cr_expect(a[1].seconds == 0.25 && a[1].prompt_tokens == 7 && a[1].output_tokens == 1 && a[1].line == 4);
    cr_expect_str_eq(a[2].text, "Once \xC3\xBC");
    cr_expect(a[2].prompt_tokens == 0 && a[2].output_tokens == 64 && a[2].line == 5);
    cr_expect(a[3].seconds == 10 && a[3].prompt_tokens == 16777216 && !a[3].text);
    trace_free(&trace);
}

#define SERVE "bench", "serve-like", "-q", "--device", "cpu"

static void refused(int status, const char *words, struct cli run) {
    cr_expect_eq(run.status, status, "%s: status %d", words, run.status);
    cr_expect(cli_one_line(run.err) && strstr(run.err, words), "%s: %s", words, run.err);
    cr_expect_str_eq(run.out, "");
    cli_free(&run);
}

Test(serve, wrong_lines_are_named) {
    static const struct {
        const char *line, *words;
    } wrong[] = {
        {"1 2", "SECONDS PROMPT_TOKENS OUTPUT_TOKENS"},
        {"one 2 3", "SECONDS PROMPT_TOKENS OUTPUT_TOKENS"},
        {"1 2 3 4", "nothing after them"},
        {"1 2x 3", "SECONDS PROMPT_TOKENS OUTPUT_TOKENS"},
        {"-1 2 3", "seconds: expected"},
        {"nan 2 3", "seconds: expected"},
        {"0.5 2 3", "seconds: earlier"},
        {"1 0 3", "prompt_tokens: expected"},
        {"1 2.5 3", "prompt_tokens: expected"},
        {"1 2 0", "output_tokens: expected"},
        {"1 2 1e10", "output_tokens: expected"},
        {"1 200 100", "200 prompt and 100 output tokens do not fit a context of 256"},
        {"{\"seconds\": 1, \"output_tokens\": 1}", "prompt_tokens: expected"},
        {"{\"seconds\": 1, \"prompt_tokens\": 1}", "output_tokens: expected"},
        {"{\"prompt\": \"x\", \"output_tokens\": 1}", "seconds: expected"},
        {"{\"seconds\": 1, \"prompt\": 7, \"output_tokens\": 1}", "prompt: expected a text"},
        {"{\"seconds\": 1, \"prompt\": \"x\", \"prompt_tokens\": 1, \"output_tokens\": 1}", "exclude each other"},
        {"{\"seconds\": 1, \"prompt\": \"\", \"output_tokens\": 1}", "the prompt has no tokens"},
        {"{\"seconds\": 1", "not a JSON object"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256], place[64];
        snprintf(text, sizeof text, "# begins well\n1 2 3\n%s\n9 9 9\n", wrong[i].line);
        write_text("trace", text);
        snprintf(place, sizeof place, "trace:3: ");
        struct cli run = cli(NULL, SERVE, "--trace", "trace", NULL);
        cr_expect(strstr(run.err, place), "%s: %s", wrong[i].line, run.err);
        refused(1, wrong[i].words, run);
    }
    refused(1, "standard input:2: ", cli("0 1 1\n0 1\n", SERVE, "--trace", "-", NULL));
    refused(1, "holds no request", cli("# nothing\n", SERVE, "--trace", "-", NULL));
}

Test(serve, what_is_missing_or_wrong) {
    write_text("prompts", "One day\n");
    refused(2, "--trace FILE or --rate R", cli(NULL, SERVE, NULL));
    refused(2, "--trace FILE or --rate R", cli(NULL, SERVE, "--rate", "1", "--trace", "x", NULL));
    refused(2, "--prompts", cli(NULL, SERVE, "--trace", "x", "--prompts", "prompts", NULL));
    refused(2, "--rate: expected a number above 0", cli(NULL, SERVE, "--rate", "0", NULL));
    refused(2, "--slo-tpot: expected", cli(NULL, SERVE, "--rate", "1", "--slo-tpot", "fast", NULL));
    refused(2, "--seed", cli(NULL, SERVE, "--rate", "1", "--seed", "-1", NULL));
    refused(2, "--rows", cli(NULL, SERVE, "--rate", "1", "--rows", "0", NULL));
    refused(1, "/nonexistent", cli(NULL, SERVE, "--trace", "/nonexistent", NULL));
    refused(1, "no tokenizer", cli(NULL, SERVE, "--random", "gpt2", "--rate", "1", "--prompts", "prompts", NULL));
}

/* ---- Poisson ---- */

Test(serve, poisson_gaps_are_exponential) {
    enum { COUNT = 40000 };
    const double rate = 8;
    struct trace trace = {0}, again = {0}, other = {0};
    trace_poisson(&trace, COUNT, rate, 5);
    trace_poisson(&again, COUNT, rate, 5);
    trace_poisson(&other, COUNT, rate, 6);
    double sum = 0, squares = 0;
    size_t longer = 0, same = 0;
    for (size_t i = 0; i < COUNT; i++) {
        double gap = trace.items[i].seconds - (i ? trace.items[i - 1].seconds : 0);
        cr_assert_gt(gap, 0);
        cr_assert_eq(trace.items[i].seconds, again.items[i].seconds);
        same += trace.items[i].seconds == other.items[i].seconds;
        sum += gap;
        squares += gap * gap;
        longer += gap > 1 / rate;
    }
    /* Within five standard errors: mean 1/rate, second moment 2/rate² (variance 20/rate⁴), e⁻¹ of them above it. */
    cr_expect_float_eq(sum / COUNT * rate, 1, 5 / sqrt(COUNT));
    cr_expect_float_eq(squares / COUNT * rate * rate, 2, 5 * sqrt(20.0 / COUNT));
    const double share = exp(-1);
    cr_expect_float_eq((double)longer / COUNT, share, 5 * sqrt(share * (1 - share) / COUNT));
    cr_expect_eq(same, 0);
    trace_free(&trace);
    trace_free(&again);
    trace_free(&other);
}

/* ---- the command ---- */

Test(serve, replays_a_trace) {
    write_text("trace", "0 5 3\n0 9 1\n{\"seconds\": 0.3, \"prompt\": \"Once upon a time\", \"output_tokens\": 4}\n");
    struct cli run = cli(NULL, SERVE, "--trace", "trace", "--json", "--out", "serve.db", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *rows = cli_json(run.out, -1);
    const cJSON *row = cJSON_GetArrayItem(rows, 0);
    cr_expect_str_eq(cli_string(row, "test"), "serve-like");
    cr_expect_eq(cli_number(row, "requests"), 3);
    cr_expect_eq(cli_number(row, "completed"), 3);
    cr_expect_eq(cli_number(row, "output_tokens"), 8);
    cr_expect_geq(cli_number(row, "prompt_tokens") + cli_number(row, "reused_tokens"), 5 + 9 + 4);
    double seconds = cli_number(row, "seconds");
    cr_expect_geq(seconds, 0.3); /* the last one does not come earlier */
    cr_expect_float_eq(cli_number(row, "requests_per_second"), 3 / seconds, 1e-3);
    cr_expect_float_eq(cli_number(row, "goodput"), 3 / seconds, 1e-3); /* without goals all are good */
    cr_expect_float_eq(cli_number(row, "output_tokens_per_second"), 8 / seconds, 1e-2);
    cr_expect(cJSON_IsNull(cli_get(row, "slo_ttft")));
    static const char *const names[] = {"ttft", "tpot", "itl", "e2e"};
    for (int i = 0; i < 4; i++) {
        char low[16], high[16];
        snprintf(low, sizeof low, "%s_p50", names[i]);
        snprintf(high, sizeof high, "%s_p99", names[i]);
        cr_expect_gt(cli_number(row, low), 0, "%s", low);
        cr_expect_geq(cli_number(row, high), cli_number(row, low), "%s", high);
    }
    cr_expect_geq(cli_number(row, "e2e_mean"), cli_number(row, "ttft_mean"));
    cJSON_Delete(rows);
    cli_free(&run);
    cr_expect_eq(db_number("serve.db", "SELECT count(*) FROM serve WHERE completed = 3"), 1);
}

/* Nothing is as fast as a nanosecond, nothing as slow as a thousand seconds. */
Test(serve, goodput_counts_what_met_the_goals) {
    static const struct {
        const char *ttft, *tpot;
        bool good;
    } goals[] = {{"1e6", "1e6", true}, {"1e-6", "1e6", false}, {"1e6", "1e-6", false}};
    write_text("prompts", "Once upon a time\nOne day\n");
    for (size_t i = 0; i < 3; i++) {
        struct cli run = cli(NULL, SERVE, "--rate", "2000", "--requests", "12", "--output-tokens", "5", "--prompts",
                             "prompts", "--slo-ttft", goals[i].ttft, "--slo-tpot", goals[i].tpot, "--json", NULL);
        cr_assert_eq(run.status, 0, "%s", run.err);
        cJSON *rows = cli_json(run.out, -1);
        cr_expect_eq(cli_number(rows, "0.completed"), 12);
        cr_expect_eq(cli_number(rows, "0.output_tokens"), 60);
        cr_expect_eq(cli_number(rows, "0.slo_share"), goals[i].good ? 1 : 0);
        cr_expect_float_eq(cli_number(rows, "0.goodput"), goals[i].good ? cli_number(rows, "0.requests_per_second") : 0,
                           1e-6);
        cJSON_Delete(rows);
        cli_free(&run);
    }
}
