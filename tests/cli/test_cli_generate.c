/* test_cli_generate.c: prompts in, samples out. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli.h"
#include "support.h"
#include "tempera/sampling.h"

static void expect_done(const struct cli *run) {
    cr_assert_eq(run->status, 0, "status %d: %s", run->status, run->err);
}

/* The first line's object. */
static cJSON *first(const struct cli *run) {
    expect_done(run);
    cJSON *object = cli_json(run->out, 0);
    cr_assert_not_null(object, "not JSON: %s", run->out);
    return object;
}

Test(cli_generate, text_and_the_line_of_figures) {
    struct cli run = cli(NULL, "generate", "-p", "Once upon a time", "--max-tokens", "8", "--seed", "3", NULL);
    expect_done(&run);
    cr_expect_gt(run.out_length, 4);
    cr_expect_eq(run.out[run.out_length - 1], '\n');
    cr_expect(cli_one_line(run.err), "%s", run.err);
    cr_expect(strstr(run.err, "8 generated tokens"), "%s", run.err);
    cr_expect(strstr(run.err, "tok/s"));
    cr_expect(strstr(run.err, "seed 3"));
    cr_expect(strstr(run.err, "cpu"));
    cli_free(&run);
    run = cli(NULL, "generate", "-p", "Once upon a time", "--max-tokens", "8", "--quiet", NULL);
    cr_expect_eq(run.err_length, 0, "%s", run.err);
    cli_free(&run);
}

Test(cli_generate, every_way_to_give_a_prompt_is_the_same) {
    char *folder = test_folder_create();
    char *file = test_write(folder, "prompt.txt", "Once upon", 9);
    char *list = test_write(folder, "list.txt", "Once upon\n\n", 11);
    char *json = test_write(folder, "list.jsonl", "{\"prompt\":\"Once \\u0075pon\"}\n", 27);
    struct cli runs[] = {
        cli(NULL, "generate", "-q", "--max-tokens", "6", "--prompt", "Once upon", NULL),
        cli(NULL, "generate", "-q", "--max-tokens", "6", "Once upon", NULL),
        cli("Once upon\n", "generate", "-q", "--max-tokens", "6", NULL),
        cli("Once upon", "generate", "-q", "--max-tokens", "6", "-", NULL),
        cli(NULL, "generate", "-q", "--max-tokens", "6", "--prompt-file", file, NULL),
        cli(NULL, "generate", "-q", "--max-tokens", "6", "--prompts", list, NULL),
        cli(NULL, "generate", "-q", "--max-tokens", "6", "--prompts", json, NULL),
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        expect_done(&runs[i]);
        cr_expect_str_eq(runs[i].out, runs[0].out, "way %zu", i);
        if (i) cli_free(&runs[i]);
    }
    cli_free(&runs[0]);
    mem_free(file);
    mem_free(list);
    mem_free(json);
    test_folder_remove(folder);
}

Test(cli_generate, ids_are_used_as_they_are) {
    struct cli ids = cli(NULL, "tokenize", "--ids", "Once upon a time", NULL);
    expect_done(&ids);
    struct cli a = cli(NULL, "generate", "-q", "--json", "--max-tokens", "6", "--prompt-ids", ids.out, NULL);
    struct cli b = cli(NULL, "generate", "-q", "--json", "--max-tokens", "6", "-p", "Once upon a time", NULL);
    cr_expect_str_eq(a.out, b.out);
    cli_free(&ids);
    cli_free(&a);
    cli_free(&b);
}

Test(cli_generate, json_fields) {
    struct cli run = cli(NULL, "generate", "-q", "-p", "Once upon", "--json", "--max-tokens", "5", "--seed",
                         "18446744073709551615", "--temperature", "0.8", "--logprobs", "3", NULL);
    cJSON *o = first(&run);
    cr_expect_eq(cli_lines(run.out), 1);
    static const char *const zero[] = {"prompt_index", "setting_index", "sample_index"};
    for (size_t i = 0; i < 3; i++) cr_expect_eq(cli_number(o, zero[i]), 0, "%s", zero[i]);
    cr_expect(strstr(run.out, "\"seed\":18446744073709551615"), "the seed lost digits: %s", run.out);
    cr_expect_float_eq(cli_number(o, "settings.temperature"), 0.8, 1e-9);
    cr_expect(strstr(run.out, "\"temperature\":0.8,"), "a float grew digits");
    cr_expect_str_eq(cli_string(o, "settings_source.temperature"), "flag");
    cr_expect_str_eq(cli_string(o, "settings_source.seed"), "flag");
    cr_expect_str_neq(cli_string(o, "settings_source.top_p"), "flag");
    cr_expect_str_eq(cli_string(o, "finish_reason"), "length");
    cr_expect_eq(cli_number(o, "completion_tokens"), 5);
    cr_expect_eq(cJSON_GetArraySize(cli_get(o, "token_ids")), 5);
    cr_expect_geq(cli_number(o, "prompt_tokens"), 1);
    cr_expect_str_neq(cli_string(o, "build"), "");
    cr_expect_str_eq(cli_string(o, "device"), "cpu");
    cr_expect_str_neq(cli_string(o, "text"), "");
    cr_assert_eq(cJSON_GetArraySize(cli_get(o, "logprobs")), 5);
    cr_expect_eq(cli_number(o, "logprobs.2.id"), cli_number(o, "token_ids.2"));
    cr_expect_leq(cli_number(o, "logprobs.2.logprob"), 0);
    cr_expect_leq(cli_number(o, "logprobs.2.final_logprob"), 0);
    cr_expect_eq(cJSON_GetArraySize(cli_get(o, "logprobs.2.top")), 3);
    cr_expect_geq(cli_number(o, "logprobs.2.top.0.logprob"), cli_number(o, "logprobs.2.top.1.logprob"));
    cJSON_Delete(o);
    cli_free(&run);
}

Test(cli_generate, samples_come_in_order) {
    struct cli run = cli(NULL, "generate", "-q", "-p", "Once", "-p", "The dog", "--setting", "temperature=0.3,n=2",
                         "--setting", "temperature=1.2,order=top_k,temperature,top_k=9", "--n", "3", "--max-tokens",
                         "12", "--format", "jsonl", "--batch", "2", NULL);
    int line = 0;
    expect_done(&run);
    cr_assert_eq(cli_lines(run.out), 10);
    for (int prompt = 0; prompt < 2; prompt++)
        for (int setting = 0; setting < 2; setting++)
            for (int sample = 0; sample < (setting ? 3 : 2); sample++) {
                cJSON *o = cli_json(run.out, line++);
                cr_expect_eq(cli_number(o, "prompt_index"), prompt);
                cr_expect_eq(cli_number(o, "setting_index"), setting);
                cr_expect_eq(cli_number(o, "sample_index"), sample);
                cr_expect_str_eq(cli_string(o, "settings.order"), setting ? "top_k,temperature" : "default");
                cr_expect_eq(cli_number(o, "settings.top_k"), setting ? 9 : 0);
                cJSON_Delete(o);
            }
    cli_free(&run);
}

#define APART                                                                                                          \
    "generate", "-q", "-p", "Once", "-p", "The dog", "--setting", "top_k=9", "--max-tokens", "12", "--logprobs", "1"

Test(cli_generate, samples_can_be_made_apart) {
    struct cli whole = cli(NULL, APART, "--n", "5", "--json", NULL);
    struct cli part = cli(NULL, APART, "--n", "2", "--first-sample", "3", "--json", NULL);
    expect_done(&whole);
    expect_done(&part);
    cr_assert_eq(cli_lines(part.out), 4);
    for (int line = 0; line < 4; line++) {
        int prompt = line / 2, sample = 3 + line % 2;
        cJSON *a = cli_json(whole.out, prompt * 5 + sample), *b = cli_json(part.out, line);
        cr_expect_eq(cli_number(b, "prompt_index"), prompt);
        cr_expect_eq(cli_number(b, "sample_index"), sample);
        cr_expect_eq(cli_number(b, "settings.first_sample"), 3);
        cr_expect_str_eq(cli_string(b, "settings_source.first_sample"), "flag");
        cr_expect(cJSON_Compare(cli_get(a, "token_ids"), cli_get(b, "token_ids"), true));
        cr_expect(cJSON_Compare(cli_get(a, "logprobs"), cli_get(b, "logprobs"), true));
        cJSON_Delete(a);
        cJSON_Delete(b);
    }
    cli_free(&whole);
    cli_free(&part);
}

Test(cli_generate, a_sample_made_apart_has_its_number_in_the_header) {
    struct cli whole = cli(NULL, APART, "--n", "5", NULL);
    struct cli part = cli(NULL, APART, "--first-sample", "4", NULL);
    expect_done(&whole);
    expect_done(&part);
    const char *from = strstr(whole.out, "==> prompt 1, sample 4 <==\n");
    const char *to = strstr(part.out, "==> prompt 1, sample 4 <==\n");
    cr_assert(from && to, "%s", part.out);
    cr_expect_str_eq(from, to);
    cli_free(&whole);
    cli_free(&part);
}
#undef APART

Test(cli_generate, json_is_an_array) {
    struct cli run =
        cli(NULL, "generate", "-q", "-p", "Once", "--n", "3", "--max-tokens", "2", "--format", "json", NULL);
    cJSON *all = cli_json(run.out, -1);
    cr_expect_eq(cJSON_GetArraySize(all), 3);
    cJSON_Delete(all);
    cli_free(&run);
}

Test(cli_generate, several_samples_have_headers) {
    struct cli run = cli(NULL, "generate", "-q", "-p", "Once", "-p", "The", "--setting", "top_k=3", "--setting",
                         "top_k=4", "--n", "2", "--max-tokens", "2", NULL);
    expect_done(&run);
    cr_expect(strstr(run.out, "==> prompt 0, setting 0 (top_k=3), sample 0 <==\n"), "%s", run.out);
    cr_expect(strstr(run.out, "==> prompt 1, setting 1 (top_k=4), sample 1 <==\n"), "%s", run.out);
    cli_free(&run);
}

Test(cli_generate, same_command_same_bytes) {
#define WORDS                                                                                                          \
    "generate", "-q", "--json", "-p", "Once upon a time", "-p", "The", "--n", "4", "--seed", "9", "--max-tokens", "30"
    struct cli a = cli(NULL, WORDS, NULL), b = cli(NULL, WORDS, NULL);
    struct cli one = cli(NULL, WORDS, "--threads", "1", NULL), two = cli(NULL, WORDS, "--threads", "2", NULL);
    struct cli narrow = cli(NULL, WORDS, "--batch", "1", NULL);
#undef WORDS
    expect_done(&a);
    cr_expect_str_eq(a.out, b.out);
    cr_expect_str_eq(a.out, one.out);
    cr_expect_str_eq(a.out, two.out);
    cr_expect_str_eq(a.out, narrow.out);
    cli_free(&a);
    cli_free(&b);
    cli_free(&one);
    cli_free(&two);
    cli_free(&narrow);
}

/* One field of printed settings as "name=value". */
static void add_setting(char *text, size_t size, const cJSON *settings, const char *name) {
    const cJSON *value = cli_get(settings, name);
    char number[32]; /* cJSON would print a large seed with an exponent */
    snprintf(number, sizeof number, "%.17g", value->valuedouble);
    size_t used = strlen(text);
    const char *printed = cJSON_IsString(value) ? value->valuestring
                          : cJSON_IsBool(value) ? (cJSON_IsTrue(value) ? "true" : "false")
                                                : number;
    snprintf(text + used, size - used, "%s%s=%s", used ? "," : "", name, printed);
}

Test(cli_generate, printed_settings_replay) {
    static const char *const names[] = {
#define NAME(kind, name, def, min, max, text) #name,
        TEMPERA_SAMPLING_FIELDS(NAME)
#undef NAME
            "order",
        "independent"};
    struct cli run = cli(NULL, "generate", "-q", "--json", "-p", "Once upon a time", "--seed", "random",
                         "--temperature", "0.77", "--top-p", "0.93", "--repetition-penalty", "1.1", "--temperature-end",
                         "0.3", "--top-p-distinct", "0.25", "--dynatemp-range", "0.1", "--order", "llama.cpp", NULL);
    cJSON *o = first(&run);
    char setting[1024] = "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        add_setting(setting, sizeof setting, cli_get(o, "settings"), names[i]);
    struct cli again = cli(NULL, "generate", "-q", "--json", "-p", "Once upon a time", "--setting", setting, NULL);
    cJSON *replay = first(&again);
    cr_expect(cJSON_Compare(cli_get(o, "token_ids"), cli_get(replay, "token_ids"), true), "%s", setting);
    cr_expect(cJSON_Compare(cli_get(o, "settings"), cli_get(replay, "settings"), true), "%s", setting);
    cr_expect_str_eq(cli_string(o, "text"), cli_string(replay, "text"));
    cJSON_Delete(o);
    cJSON_Delete(replay);
    cli_free(&run);
    cli_free(&again);
}

/* Settings that change along the text: each in its heading, and in --setting as flags are. */
Test(cli_generate, changing_settings) {
    static const char *const settings[] = {"temperature=1.5,temperature_end=0.25,schedule_tokens=10,schedule_power=2",
                                           "top_p=0.9,top_p_end=0.5", "top_p_distinct=0.5",
                                           "dynatemp_range=0.5,dynatemp_exponent=2", "temperature=0,temperature_end=1"};
    struct cli run = cli(NULL, "generate", "-q", "-p", "Once upon a time", "--max-tokens", "20", "--setting",
                         settings[0], "--setting", settings[1], "--setting", settings[2], "--setting", settings[3],
                         "--setting", settings[4], NULL);
    expect_done(&run);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        cr_expect(strstr(run.out, settings[i]), "%s: %s", settings[i], run.out);
    cli_free(&run);
    struct cli refused = cli(NULL, "generate", "-p", "x", "--setting", "temperature_end=-0.5", NULL);
    cr_expect_eq(refused.status, 2);
    cr_expect(strstr(refused.err, "temperature_end: expected -1, 0 or a number from 0.0001 to 1000"), "%s",
              refused.err);
    cli_free(&refused);
}

Test(cli_generate, stop_bias_and_echo) {
    struct cli plain = cli(NULL, "generate", "-q", "--json", "-p", "Once upon a time", "--temperature", "0", NULL);
    cJSON *o = first(&plain);
    const char *text = cli_string(o, "text");
    cr_assert_gt(strlen(text), 12);
    char stop[4] = {text[8], text[9], text[10], 0};
    struct cli stopped =
        cli(NULL, "generate", "-q", "--json", "-p", "Once upon a time", "--temperature", "0", "--stop", stop, NULL);
    cJSON *s = first(&stopped);
    cr_expect_str_eq(cli_string(s, "finish_reason"), "stop");
    cr_expect_null(strstr(cli_string(s, "text"), stop));
    cr_expect_eq(strncmp(cli_string(s, "text"), text, strlen(cli_string(s, "text"))), 0);

    char bias[32];
    snprintf(bias, sizeof bias, "%d=-inf", (int)cli_number(o, "token_ids.0"));
    struct cli banned = cli(NULL, "generate", "-q", "--json", "-p", "Once upon a time", "--temperature", "0",
                            "--logit-bias", bias, NULL);
    cJSON *b = first(&banned);
    cr_expect_neq(cli_number(b, "token_ids.0"), cli_number(o, "token_ids.0"));

    struct cli echo =
        cli(NULL, "generate", "-q", "--json", "-p", "Once upon a time", "--temperature", "0", "--echo", NULL);
    cJSON *e = first(&echo);
    cr_expect_eq(strncmp(cli_string(e, "text"), "Once upon a time", 16), 0, "%s", cli_string(e, "text"));
    cr_expect_str_eq(cli_string(e, "text") + 16, text);
    cJSON_Delete(o);
    cJSON_Delete(s);
    cJSON_Delete(b);
    cJSON_Delete(e);
    cli_free(&plain);
    cli_free(&stopped);
    cli_free(&banned);
    cli_free(&echo);
}

Test(cli_generate, bytes_that_are_not_utf8) {
    struct cli_way way = {.input = "a\xFF\xFE\xC3 b\0c", .input_length = 8};
    const char *const words[] = {"generate", "-q", "--json", "--echo", "--max-tokens", "3", NULL};
    struct cli run = cli_run(&way, words);
    cJSON *o = first(&run);
    cr_expect_eq(strncmp(cli_string(o, "text"), "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD b", 12), 0, "%s",
                 cli_string(o, "text"));
    cr_expect_eq(strncmp(cli_string(o, "text_bytes"), "Yf/+wyBi", 8), 0, "%s", cli_string(o, "text_bytes"));
    cJSON_Delete(o);
    cli_free(&run);
    way = (struct cli_way){.input = "\xF0\x9F\x98\x80\x1b[2J"};
    run = cli_run(&way, words);
    cJSON_Delete(first(&run));
    cli_free(&run);
}

Test(cli_generate, an_empty_prompt_starts_from_the_beginning) {
    struct cli run = cli(NULL, "generate", "-q", "--json", "-p", "", "--max-tokens", "3", NULL);
    cJSON *o = first(&run);
    cr_expect_eq(cli_number(o, "prompt_tokens"), 1);
    cJSON_Delete(o);
    cli_free(&run);
}

Test(cli_generate, many_prompts_at_once) {
    enum { PROMPTS = 300 };
    char text[PROMPTS * 8] = "";
    for (int i = 0; i < PROMPTS; i++) snprintf(text + strlen(text), 8, "p%d\n", i);
    struct cli run = cli(text, "generate", "-q", "--json", "--prompts", "-", "--max-tokens", "2", NULL);
    expect_done(&run);
    cr_expect_eq(cli_lines(run.out), PROMPTS);
    cJSON *last = cli_json(run.out, PROMPTS - 1);
    cr_expect_eq(cli_number(last, "prompt_index"), PROMPTS - 1);
    cJSON_Delete(last);
    cli_free(&run);
}

Test(cli_generate, stats_say_more) {
    struct cli run = cli(NULL, "generate", "-p", "Once", "--n", "4", "--max-tokens", "16", "--stats", NULL);
    expect_done(&run);
    cr_expect(strstr(run.err, "% of the measured read bandwidth"), "%s", run.err);
    cr_expect(strstr(run.err, "forks"));
    cr_expect(strstr(run.err, "preemptions"));
    cr_expect(strstr(run.err, "peak"));
    cli_free(&run);
}

Test(cli_generate, streams_on_a_terminal) {
    if (!cli_has_terminals()) cr_skip_test("no pseudo-terminals here");
    struct cli_way way = {.terminal = true};
    const char *const words[] = {"generate", "-q", "-p", "Once upon a time", "--max-tokens", "20", "--seed", "4", NULL};
    struct cli shown = cli_run(&way, words), piped = cli_run(&(struct cli_way){.terminal = false}, words);
    expect_done(&shown);
    char *out = shown.out, *to = out; /* the terminal writes \r\n */
    for (const char *from = out; *from; from++)
        if (*from != '\r') *to++ = *from;
    *to = 0;
    cr_expect_str_eq(shown.out, piped.out);
    cli_free(&shown);
    cli_free(&piped);
}
