/* test_cli_usage.c: help, flags and their errors. */
#include <criterion/criterion.h>
#include <string.h>

#include "cli.h"
#include "tempera/sampling.h"

static const char *const commands[] = {"generate", "tokenize", "score", "probs", "bench", "info"};
enum { COMMANDS = sizeof commands / sizeof *commands };

/* A usage error: 2, one line on stderr that holds `words`, nothing on stdout. */
static void expect_usage(struct cli run, const char *words) {
    cr_expect_eq(run.status, 2, "status %d: %s", run.status, run.err);
    cr_expect(cli_one_line(run.err), "not one line: %s", run.err);
    cr_expect(strstr(run.err, words), "no \"%s\" in: %s", words, run.err);
    cr_expect_eq(run.out_length, 0);
    cli_free(&run);
}

Test(cli_usage, alone_prints_usage_and_fails) {
    struct cli run = cli(NULL, NULL, NULL);
    cr_expect_eq(run.status, 2);
    cr_expect_eq(run.out_length, 0);
    cr_expect(strstr(run.err, "Usage: tempera COMMAND"));
    cli_free(&run);
}

Test(cli_usage, help_and_version) {
    struct cli help = cli(NULL, "--help", NULL), version = cli(NULL, "--version", NULL);
    cr_expect_eq(help.status, 0);
    for (size_t i = 0; i < COMMANDS; i++) cr_expect(strstr(help.out, commands[i]), "%s", commands[i]);
    cr_expect_eq(version.status, 0);
    cr_expect_eq(strncmp(version.out, "tempera 0.", 10), 0, "%s", version.out);
    cr_expect_eq(cli_lines(version.out), 1);
    cli_free(&help);
    cli_free(&version);
}

Test(cli_usage, every_command_explains_itself) {
    for (size_t i = 0; i < COMMANDS; i++) {
        struct cli flag = cli(NULL, commands[i], "--help", NULL), command = cli(NULL, "help", commands[i], NULL);
        cr_expect_eq(flag.status, 0);
        cr_expect_eq(flag.err_length, 0);
        cr_expect_str_eq(flag.out, command.out);
        cr_expect(strstr(flag.out, "Usage: tempera "));
        cr_expect(strstr(flag.out, "--model DIR"));
        cr_expect(strstr(flag.out, "Examples:"));
        for (const char *line = flag.out; *line; line += strcspn(line, "\n") + 1) {
            size_t width = strcspn(line, "\n");
            cr_expect(width <= 120, "%s: a line of %zu columns: %.*s", commands[i], width, (int)width, line);
        }
        cli_free(&flag);
        cli_free(&command);
    }
}

Test(cli_usage, generate_lists_every_sampling_field) {
    struct cli run = cli(NULL, "generate", "--help", NULL);
#define HAS_FLAG(kind, field, def, min, max, text)                                                                     \
    {                                                                                                                  \
        char flag[64] = "--" #field " ";                                                                               \
        for (char *c = flag; *c; c++)                                                                                  \
            if (*c == '_') *c = '-';                                                                                   \
        cr_expect(strstr(run.out, flag), "%s", flag);                                                                  \
    }
    TEMPERA_SAMPLING_FIELDS(HAS_FLAG)
    cli_free(&run);
}

Test(cli_usage, unknown_names_suggest_the_nearest) {
    expect_usage(cli(NULL, "generate", "--temprature", "1", NULL), "did you mean --temperature?");
    expect_usage(cli(NULL, "generate", "--temp", "1", NULL), "did you mean --temperature?");
    expect_usage(cli(NULL, "score", "--tpo-k=3", NULL), "did you mean --top-k?");
    expect_usage(cli(NULL, "generate", "--xyzzyxyzzy", NULL), "unknown flag --xyzzyxyzzy");
    expect_usage(cli(NULL, "generate", "-z", NULL), "unknown flag -z");
    expect_usage(cli(NULL, "genrate", NULL), "did you mean generate?");
    expect_usage(cli(NULL, "frobnicate", NULL), "unknown command");
    expect_usage(cli(NULL, "--model", "x", "generate", NULL), "expected a command");
    expect_usage(cli(NULL, "generate", "-p", "x", "--setting", "top_q=1", NULL), "top_q");
}

Test(cli_usage, values_are_checked) {
    expect_usage(cli(NULL, "generate", "--top-p", "3", NULL), "top_p");
    expect_usage(cli(NULL, "generate", "--temperature=warm", NULL), "temperature");
    expect_usage(cli(NULL, "generate", "--temperature", "nan", NULL), "temperature");
    expect_usage(cli(NULL, "generate", "--n", "0", NULL), "n: ");
    expect_usage(cli(NULL, "generate", "--seed", "-1", NULL), "seed");
    expect_usage(cli(NULL, "generate", "--seed", "18446744073709551616", NULL), "seed");
    expect_usage(cli(NULL, "generate", "--threads", "-1", NULL), "--threads");
    expect_usage(cli(NULL, "generate", "--threads", "2x", NULL), "--threads");
    expect_usage(cli(NULL, "generate", "--threads", NULL), "needs a value");
    expect_usage(cli(NULL, "generate", "--quiet=1", NULL), "takes no value");
    expect_usage(cli(NULL, "generate", "--format", "xml", NULL), "text|jsonl|json");
    expect_usage(cli(NULL, "generate", "--device", "abacus", NULL), "--device");
    expect_usage(cli(NULL, "generate", "--kv-cache", "lots", NULL), "--kv-cache");
    expect_usage(cli(NULL, "generate", "-p", "x", "--order", "top_k,top_k", NULL), "order");
    expect_usage(cli(NULL, "generate", "-p", "x", "--logit-bias", "3", NULL), "--logit-bias");
    expect_usage(cli(NULL, "generate", "-p", "x", "--logit-bias", "3=nan", NULL), "bias");
    expect_usage(cli(NULL, "generate", "-p", "x", "--stop", "", NULL), "stop");
    expect_usage(cli(NULL, "generate", "-p", "x", "--stop-token-ids", "1 x", NULL), "--stop-token-ids");
    expect_usage(cli(NULL, "generate", "-p", "x", "--stop-token-ids", "99999999", NULL), "stop_token_ids");
    expect_usage(cli(NULL, "generate", "--prompt-ids", "1 -2", NULL), "--prompt-ids");
    expect_usage(cli(NULL, "generate", "--prompt-ids", "", NULL), "--prompt-ids");
    expect_usage(cli(NULL, "generate", "-p", "x", "--setting", "temperature", NULL), "--setting");
    expect_usage(cli(NULL, "bench", "--batch", "1,,2", NULL), "--batch");
    expect_usage(cli(NULL, "bench", "--prefill", "100000", NULL), "context");
    expect_usage(cli(NULL, "bench", "extra", NULL), "extra");
    expect_usage(cli(NULL, "bench", "--sampler", "top_p=9", NULL), "top_p");
    expect_usage(cli(NULL, "bench", "--random", "gpt9", NULL), "gpt9");
}

Test(cli_usage, flags_that_contradict_each_other) {
    expect_usage(cli(NULL, "tokenize", "--ids", "--count", "x", NULL), "--ids");
    expect_usage(cli(NULL, "tokenize", "--decode", "--ids", "1", NULL), "--decode");
    expect_usage(cli(NULL, "score", "a", "b", NULL), "one text");
    expect_usage(cli(NULL, "score", "a", "--choices", "b", NULL), "two");
    expect_usage(cli(NULL, "score", "a", "--choices", "b|c", "--top-k", "3", NULL), "--choices");
    expect_usage(cli(NULL, "probs", "-p", "a", "-p", "b", NULL), "one prompt");
    expect_usage(cli(NULL, "generate", "-p", "a", "--n", "2", "--stream", NULL), "--stream");
    expect_usage(cli(NULL, "generate", NULL), "no prompt");
    expect_usage(cli("", "generate", "--top-k", "3", NULL), "no prompt");
}

Test(cli_usage, both_spellings_of_a_flag) {
    struct cli a = cli(NULL, "generate", "-p", "Once", "--top-k", "5", "--max-tokens", "3", "-q", "--json", NULL);
    struct cli b = cli(NULL, "generate", "-pOnce", "--top_k=5", "--max_tokens=3", "--quiet", "--json", NULL);
    cr_expect_eq(a.status, 0, "%s", a.err);
    cr_expect_str_eq(a.out, b.out);
    cli_free(&a);
    cli_free(&b);
}

Test(cli_usage, two_dashes_end_the_flags) {
    struct cli run = cli(NULL, "tokenize", "--count", "--", "--ids", NULL);
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect_eq(cli_lines(run.out), 1);
    cli_free(&run);
}
