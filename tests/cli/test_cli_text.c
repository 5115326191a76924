/* test_cli_text.c: tokenize, score, probs and info. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli.h"
#include "support.h"

static void expect_done(const struct cli *run) {
    cr_assert_eq(run->status, 0, "status %d: %s", run->status, run->err);
}

static cJSON *only(const struct cli *run) {
    expect_done(run);
    cJSON *object = cli_json(run->out, -1);
    cr_assert_not_null(object, "not JSON: %s", run->out);
    return object;
}

/* ---- tokenize ---- */

Test(cli_tokenize, rows_ids_and_count_agree) {
    struct cli rows = cli(NULL, "tokenize", "Once upon a time", NULL),
               ids = cli(NULL, "tokenize", "-i", "Once upon a time", NULL),
               count = cli(NULL, "tokenize", "-c", "Once upon a time", NULL),
               json = cli("Once upon a time", "tokenize", "--json", NULL);
    cJSON *o = only(&json);
    char expected[32];
    snprintf(expected, sizeof expected, "%zu\n", cli_lines(rows.out));
    cr_expect_str_eq(count.out, expected);
    cr_expect_eq(cli_number(o, "count"), (double)cli_lines(rows.out));
    cr_expect_eq(atoi(ids.out), atoi(rows.out));
    cr_expect_eq(cli_number(o, "tokens.0.id"), atoi(ids.out));
    cr_expect_null(strstr(ids.out, "  "));
    cr_expect_null(strstr(ids.out, " \n"));
    cr_expect(strchr(rows.out, '\t'));
    cJSON_Delete(o);
    cli_free(&rows);
    cli_free(&ids);
    cli_free(&count);
    cli_free(&json);
}

Test(cli_tokenize, decode_undoes_encode) {
    static const char text[] = "Some text,\n\twith 12 lines\n\n and \xC3\xA9t\xC3\xA9 \xF0\x9F\x98\x80, \xFF bytes.\n";
    struct cli_way way = {.input = text};
    const char *const encode[] = {"tokenize", "--ids", "--no-special", NULL};
    const char *const decode[] = {"tokenize", "--decode", NULL};
    struct cli ids = cli_run(&way, encode);
    expect_done(&ids);
    cr_expect_eq(cli_lines(ids.out), 1);
    way.input = ids.out;
    struct cli back = cli_run(&way, decode);
    expect_done(&back);
    cr_expect_str_eq(back.out, text);
    cli_free(&ids);
    cli_free(&back);
}

Test(cli_tokenize, lines_and_files) {
    char *folder = test_folder_create();
    char *file = test_write(folder, "a.txt", "one\ntwo words\n\nfour", 19);
    struct cli lines = cli(NULL, "tokenize", "--ids", "--lines", "--file", file, NULL),
               whole = cli(NULL, "tokenize", "--ids", "--file", file, NULL),
               two = cli(NULL, "tokenize", "--count", "--file", file, "--file", file, "word", NULL),
               missing = cli(NULL, "tokenize", "--file", "/nonexistent/a.txt", NULL);
    expect_done(&lines);
    cr_expect_eq(cli_lines(lines.out), 4);
    cr_expect_eq(cli_lines(whole.out), 1);
    cr_expect_eq(cli_lines(two.out), 3);
    cr_expect_eq(missing.status, 1);
    cr_expect(cli_one_line(missing.err));
    cr_expect(strstr(missing.err, "/nonexistent/a.txt"));
    cli_free(&lines);
    cli_free(&whole);
    cli_free(&two);
    cli_free(&missing);
    mem_free(file);
    test_folder_remove(folder);
}

Test(cli_tokenize, bad_ids_leave_no_output) {
    struct cli run = cli("1 2\n3 99999999\n", "tokenize", "--decode", "--lines", NULL);
    cr_expect_neq(run.status, 0);
    cr_expect_eq(run.out_length, 0);
    cr_expect(cli_one_line(run.err), "%s", run.err);
    cli_free(&run);
}

Test(cli_tokenize, colours_only_on_a_terminal) {
    if (!cli_has_terminals()) cr_skip_test("no pseudo-terminals here");
    const char *const words[] = {"tokenize", "Once upon a time", NULL};
    setenv("TERM", "xterm-256color", 1);
    unsetenv("NO_COLOR");
    struct cli shown = cli_run(&(struct cli_way){.terminal = true}, words), piped = cli(NULL, words[0], words[1], NULL);
    cr_expect(strstr(shown.out, "\x1b["), "%s", shown.out);
    cr_expect_null(strstr(piped.out, "\x1b["));
    cli_free(&shown);
    setenv("NO_COLOR", "1", 1);
    shown = cli_run(&(struct cli_way){.terminal = true}, words);
    cr_expect_null(strstr(shown.out, "\x1b["));
    cli_free(&shown);
    cli_free(&piped);
}

/* ---- score ---- */

Test(cli_score, totals_are_sums) {
    struct cli run = cli(NULL, "score", "--json", "Once upon a time there was a girl.", NULL);
    cJSON *o = only(&run);
    const cJSON *tokens = cli_get(o, "tokens"), *token;
    double total = 0;
    int count = 0;
    cr_expect(cJSON_IsNull(cli_get(o, "tokens.0.logprob")));
    cJSON_ArrayForEach(token, tokens) {
        if (!cJSON_IsNumber(cli_get(token, "logprob"))) continue;
        total += cli_number(token, "logprob");
        count++;
    }
    cr_expect_eq(cli_number(o, "count"), count);
    cr_expect_eq(count, cJSON_GetArraySize(tokens) - 1);
    cr_expect_float_eq(cli_number(o, "total_logprob"), total, 1e-3);
    cr_expect_float_eq(cli_number(o, "perplexity"), exp(-total / count), 1e-2);
    cJSON_Delete(o);
    cli_free(&run);
}

Test(cli_score, agrees_with_generate) {
    struct cli made = cli(NULL, "generate", "-q", "--json", "--prompt-ids", "5 6 7", "--max-tokens", "6",
                          "--ignore-eos", "--logprobs", "0", NULL);
    cJSON *o = cli_json(made.out, 0);
    char ids[256] = "5 6 7";
    for (int i = 0; i < 6; i++) {
        char path[32];
        snprintf(path, sizeof path, "token_ids.%d", i);
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), " %d", (int)cli_number(o, path));
    }
    struct cli run = cli(NULL, "score", "--json", "--ids", ids, NULL);
    cJSON *s = only(&run);
    for (int i = 0; i < 6; i++) {
        char made_path[48], path[48];
        snprintf(made_path, sizeof made_path, "logprobs.%d.logprob", i);
        snprintf(path, sizeof path, "tokens.%d.logprob", i + 3);
        cr_expect_eq(cli_number(o, made_path), cli_number(s, path), "token %d", i);
    }
    cJSON_Delete(o);
    cJSON_Delete(s);
    cli_free(&made);
    cli_free(&run);
}

Test(cli_score, settings_add_final_probabilities) {
    struct cli run =
        cli(NULL, "score", "--json", "Once upon a time", "--setting", "top_k=1", "--setting", "temperature=0.5", NULL);
    cJSON *o = only(&run);
    cr_expect_eq(cJSON_GetArraySize(cli_get(o, "settings")), 2);
    cr_expect_eq(cli_number(o, "tokens.1.settings.0.kept"), 1);
    cr_expect_geq(cli_number(o, "tokens.1.settings.1.kept"), 2);
    cr_expect_eq(cli_number(o, "settings.0.settings.top_k"), 1);
    cJSON_Delete(o);
    cli_free(&run);
}

/* `count` ids, 1 … 100 over and over. */
static char *long_ids(int count) {
    char *ids = calloc((size_t)count, 5);
    for (int i = 0; i < count; i++) snprintf(ids + strlen(ids), 5, "%d ", 1 + i % 100);
    return ids;
}

Test(cli_score, longer_than_the_context) {
    char *ids = long_ids(600);
    struct cli refused = cli(NULL, "score", "--context", "256", "--ids", ids, NULL);
    cr_expect_eq(refused.status, 1);
    cr_expect(cli_one_line(refused.err));
    cr_expect(strstr(refused.err, "600"), "%s", refused.err);
    cr_expect(strstr(refused.err, "256"), "%s", refused.err);
    cr_expect_eq(refused.out_length, 0);
    struct cli windows = cli(NULL, "score", "--context", "256", "--stride", "64", "--json", "--ids", ids, NULL);
    cJSON *o = only(&windows);
    cr_expect_eq(cli_number(o, "count"), 599);
    cr_expect_eq(cJSON_GetArraySize(cli_get(o, "tokens")), 600);
    cr_expect_eq(cli_number(o, "windows"), 7); /* 256, then 64 more each: ceil((600 - 256) / 64) + 1 */
    struct cli too_far = cli(NULL, "score", "--context", "256", "--stride", "256", "--ids", ids, NULL);
    cr_expect_eq(too_far.status, 2);
    cJSON_Delete(o);
    cli_free(&refused);
    cli_free(&windows);
    cli_free(&too_far);
    free(ids);
}

Test(cli_score, a_window_scores_as_the_same_tokens_do_alone) {
    char *ids = long_ids(100);
    struct cli whole = cli(NULL, "score", "--context", "64", "--stride", "32", "--json", "--ids", ids, NULL);
    const char *second = ids;
    for (int i = 0; i < 32; i++) second = strchr(second, ' ') + 1; /* the second window begins at token 32 */
    struct cli alone = cli(NULL, "score", "--context", "64", "--json", "--ids", "33 34", NULL);
    cJSON *w = only(&whole), *a;
    cli_free(&alone);
    char part[64 * 5] = "";
    for (int i = 0; i < 64; i++) snprintf(part + strlen(part), 5, "%d ", 33 + i);
    cr_expect_eq(strncmp(part, second, strlen(part)), 0);
    alone = cli(NULL, "score", "--context", "64", "--json", "--ids", part, NULL);
    a = only(&alone);
    cr_expect_eq(cli_number(w, "tokens.80.logprob"), cli_number(a, "tokens.48.logprob"));
    cJSON_Delete(w);
    cJSON_Delete(a);
    cli_free(&whole);
    cli_free(&alone);
    free(ids);
}

/* The text is scored with both types of weights; the ratio is of the two perplexities. */
Test(cli_score, tells_what_a_type_of_weights_loses) {
    const char *story =
        "Once upon a time, there was a little boy named Tom. He lived in a small house near the woods. One "
        "day, Tom was flying a red kite in the park. Then the wind took it, and Tom was sad.";
    struct cli plain = cli(NULL, "score", "--json", "--summary", "--dtype", "f32", story, NULL),
               small = cli(NULL, "score", "--json", "--summary", "--dtype", "q4", "--against", "f32", story, NULL),
               same = cli(NULL, "score", "--json", "--summary", "--dtype", "f32", "--against", "f32", story, NULL),
               text = cli(NULL, "score", "--summary", "--dtype", "q4", "--against", "f32", story, NULL);
    cJSON *f32 = only(&plain), *q4 = only(&small), *none = only(&same);
    double ratio = cli_number(q4, "against.perplexity_ratio");
    cr_expect_str_eq(cli_string(q4, "dtype"), "q4");
    cr_expect_str_eq(cli_string(q4, "against.dtype"), "f32");
    cr_expect_float_eq(cli_number(q4, "against.perplexity"), cli_number(f32, "perplexity"), 1e-12);
    cr_expect_neq(cli_number(q4, "perplexity"), cli_number(f32, "perplexity"), "q4 loses nothing at all?");
    cr_expect_float_eq(ratio, cli_number(q4, "perplexity") / cli_number(q4, "against.perplexity"), 1e-9);
    cr_expect(cli_number(q4, "against.low") <= ratio && ratio <= cli_number(q4, "against.high"));
    cr_expect_eq(cli_number(none, "against.perplexity_ratio"), 1.0);
    cr_expect_eq(cli_number(none, "against.low"), 1.0);
    cr_expect(strstr(text.out, "q4 against f32: perplexity "), "%s", text.out);
    cJSON_Delete(f32);
    cJSON_Delete(q4);
    cJSON_Delete(none);
    cli_free(&plain);
    cli_free(&small);
    cli_free(&same);
    cli_free(&text);
    struct cli refused = cli(NULL, "score", "--against", "f32", "Once", "--choices", "a|b", NULL);
    cr_expect_eq(refused.status, 2);
    cr_expect(cli_one_line(refused.err), "%s", refused.err);
    cli_free(&refused);
}

Test(cli_score, choices_are_ranked) {
    struct cli run =
        cli(NULL, "score", "--json", "Once upon a", "--choices", " time| xyzzy", "--choice", " fi|sh", NULL);
    cJSON *o = only(&run);
    double sum = 0;
    const cJSON *choice;
    cr_expect_eq(cJSON_GetArraySize(cli_get(o, "choices")), 3);
    cr_expect_eq(cli_number(o, "choices.0.rank"), 1);
    cr_expect_str_eq(cli_string(o, "choices.2.text"), " fi|sh");
    cJSON_ArrayForEach(choice, cli_get(o, "choices")) sum += cli_number(choice, "probability");
    cr_expect_float_eq(sum, 1, 1e-9);
    cJSON_Delete(o);
    cli_free(&run);
    run = cli(NULL, "score", "Once upon a", "--choices", " time| xyzzy", NULL);
    expect_done(&run);
    cr_expect(strstr(run.out, "\" time\""), "%s", run.out);
    cli_free(&run);
}

Test(cli_score, nothing_to_score) {
    struct cli run = cli("", "score", NULL);
    cr_expect_eq(run.status, 1);
    cr_expect(cli_one_line(run.err), "%s", run.err);
    cli_free(&run);
    run = cli(NULL, "score", "--json", "--ids", "5", NULL);
    cJSON *o = only(&run);
    cr_expect_eq(cli_number(o, "count"), 0);
    cr_expect(cJSON_IsNull(cli_get(o, "perplexity")));
    cJSON_Delete(o);
    cli_free(&run);
}

/* ---- probs ---- */

Test(cli_probs, stages_follow_the_order) {
    struct cli run = cli(NULL, "probs", "--json", "-p", "Once upon a", "--top-k", "20", "--temperature", "0.7",
                         "--top-p", "0.9", "--order", "llama.cpp", "--top", "5", NULL);
    cJSON *o = only(&run);
    cr_expect_eq(cJSON_GetArraySize(cli_get(o, "tokens")), 5);
    cr_expect_eq(cJSON_GetArraySize(cli_get(o, "stages")), 3);
    cr_expect_str_eq(cli_string(o, "stages.0.stage"), "top_k");
    cr_expect_str_eq(cli_string(o, "stages.1.stage"), "top_p");
    cr_expect_str_eq(cli_string(o, "stages.2.stage"), "temperature");
    cr_expect_eq(cli_number(o, "stages.0.kept"), 20);
    cr_expect_leq(cli_number(o, "stages.1.kept"), 20);
    cr_expect_geq(cli_number(o, "tokens.0.logprob"), cli_number(o, "tokens.1.logprob"));
    cr_expect_eq(cli_number(o, "tokens.0.final_logprob"), cli_number(o, "stages.2.final_logprob.0"));
    cJSON_Delete(o);
    cli_free(&run);
}

Test(cli_probs, agrees_with_score_and_sums_up) {
    struct cli run =
        cli(NULL, "probs", "--json", "--prompt-ids", "5 6 7", "--top", "3", "--top-k", "3", "--temperature", "1", NULL);
    cJSON *o = only(&run);
    double kept = 0, raw = 0;
    for (int i = 0; i < 3; i++) {
        char path[48];
        snprintf(path, sizeof path, "tokens.%d.final_logprob", i);
        kept += exp(cli_number(o, path));
        snprintf(path, sizeof path, "tokens.%d.logprob", i);
        raw += exp(cli_number(o, path));
    }
    cr_expect_float_eq(kept, 1, 1e-5);
    cr_expect_float_eq(raw, cli_number(o, "stages.0.kept_mass"), 1e-5);
    char ids[32];
    snprintf(ids, sizeof ids, "5 6 7 %d", (int)cli_number(o, "tokens.1.id"));
    struct cli score = cli(NULL, "score", "--json", "--ids", ids, NULL);
    cJSON *s = only(&score);
    cr_expect_eq(cli_number(s, "tokens.3.logprob"), cli_number(o, "tokens.1.logprob"));
    cJSON_Delete(o);
    cJSON_Delete(s);
    cli_free(&run);
    cli_free(&score);
}

Test(cli_probs, table) {
    struct cli run = cli(NULL, "probs", "Once upon a", "--top-k", "40", "--top", "4", NULL);
    expect_done(&run);
    cr_expect_eq(cli_lines(run.out), 1 + 4 + 3);
    cr_expect(strstr(run.out, "top_k 40"), "%s", run.out);
    cr_expect(strstr(run.out, "tokens left"));
    cli_free(&run);
    /* steps without one value: no number in the heading, and a column even where they start from "off" */
    run = cli(NULL, "probs", "Once upon a", "--temperature", "1", "--dynatemp-range", "0.5", "--top-p-distinct", "0.3",
              "--top", "4", NULL);
    expect_done(&run);
    cr_expect(strstr(run.out, "  temperature     top_p\n"), "%s", run.out);
    cli_free(&run);
}

/* ---- info ---- */

Test(cli_info, describes_and_plans) {
    struct cli text = cli(NULL, "info", NULL),
               run = cli(NULL, "info", "--json", "--context", "128", "--batch", "3", NULL);
    expect_done(&text);
    static const char *const words[] = {"parameters", "vocabulary", "context", "Memory plan",
                                        "total",      "Devices",    "cpu"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) cr_expect(strstr(text.out, words[i]), "%s", words[i]);
    cJSON *o = only(&run);
    static const char *const parts[] = {"plan.weights", "plan.kv", "plan.activations", "plan.workspace", "plan.host"};
    double sum = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) sum += cli_number(o, parts[i]);
    cr_expect_eq(cli_number(o, "plan.total"), sum);
    cr_expect_eq(cli_number(o, "plan.context"), 128);
    cr_expect_eq(cli_number(o, "plan.max_rows"), 3);
    cr_expect_gt(cli_number(o, "model.parameters"), 1000);
    cr_expect(cJSON_IsTrue(cli_get(o, "devices.0.available")));
    cJSON_Delete(o);
    cli_free(&text);
    cli_free(&run);
}

static const char story[] =
    "Once upon a time, there was a boy named Ben. Ben lived in a white house with a big garden. "
    "He liked to help his friends and to bake cakes.";

/* The text's figures are those of score --against, to the digit. */
Test(cli_info, tells_what_quantised_weights_lose) {
    struct cli run = cli(NULL, "info", "--json", "--dtype", "q4", "--text", story, NULL),
               score = cli(NULL, "score", "--json", "--summary", "--dtype", "q4", "--against", "f32", story, NULL),
               text = cli(NULL, "info", "--dtype", "q4", "--text", story, NULL),
               eight = cli(NULL, "info", "--json", "--dtype", "q8", NULL), plain = cli(NULL, "info", "--json", NULL),
               half = cli(NULL, "info", "--json", "--dtype", "f16", NULL);
    cJSON *o = only(&run), *s = only(&score), *e = only(&eight), *p = only(&plain), *h = only(&half);
    expect_done(&text);
    static const char *const figures[] = {"perplexity",  "against.perplexity", "against.perplexity_ratio",
                                          "against.low", "against.high",       "count"};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char path[64];
        snprintf(path, sizeof path, "loss.text.%s", figures[i]);
        cr_expect_eq(cli_number(o, path), cli_number(s, figures[i]), "%s", path);
    }
    double weights = 0, matrices = 0;
    const cJSON *kind;
    cJSON_ArrayForEach(kind, cli_get(o, "loss.matrices")) {
        const double relative = cli_number(kind, "relative_rms_error");
        const bool inside = strcmp(cli_string(kind, "dtype"), "q4") == 0;
        cr_expect(relative > (inside ? 0.05 : 0.003) && relative < (inside ? 0.12 : 0.01), "%s: %g",
                  cli_string(kind, "kind"), relative);
        cr_expect(fabs(cli_number(kind, "signal_to_noise_db") + 20 * log10(relative)) < 1e-9);
        weights += cli_number(kind, "weights");
        matrices += cli_number(kind, "matrices");
    }
    cr_expect_eq(cli_number(o, "loss.all.weights"), weights);
    cr_expect_eq(cli_number(o, "loss.all.matrices"), matrices);
    cr_expect_eq(matrices, 2 + 4 * cli_number(o, "model.layers")); /* a tied gpt2 */
    cr_expect(cli_number(e, "loss.all.relative_rms_error") < 0.01 && !cli_get(e, "loss.text"));
    cr_expect(!cli_get(p, "loss") && !cli_get(h, "loss"), "nothing without a quantised type");
    cr_expect(strstr(text.out, "embedding, head   q8") && strstr(text.out, "feed-forward out  q4"), "%s", text.out);
    cr_expect(strstr(text.out, "  q4 against f32: perplexity "), "%s", text.out);
    cJSON_Delete(o), cJSON_Delete(s), cJSON_Delete(e), cJSON_Delete(p), cJSON_Delete(h);
    cli_free(&run), cli_free(&score), cli_free(&text), cli_free(&eight), cli_free(&plain), cli_free(&half);
}

Test(cli_info, refuses_texts_it_cannot_use) {
    static const struct {
        const char *flag, *value, *dtype, *words;
        int status;
    } cases[] = {{"--text", "a", "f32", "q8 or q4", 2},
                 {"--against", "f32", "q4", "needs a text", 2},
                 {"--file", "/nonexistent", "q4", "No such file", 1},
                 {"--ids", "1 x", "q4", "--ids", 2},
                 {"--ids", "1 999999", "q4", "999999", 2},
                 {"--text", "", "q4", "nothing to score", 1},
                 {"--device", "simt", "q4", "simt", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cli run = cli(NULL, "info", "--dtype", cases[i].dtype, cases[i].flag, cases[i].value, NULL);
        cr_expect_eq(run.status, cases[i].status, "case %zu: %d", i, run.status);
        cr_expect(cli_one_line(run.err) && strstr(run.err, cases[i].words), "%s", run.err);
        cr_expect_eq(run.out_length, 0);
        cli_free(&run);
    }
    struct cli two = cli(NULL, "info", "--dtype", "q4", "--text", "a", "--ids", "1", NULL);
    cr_expect(two.status == 2 && strstr(two.err, "info: one text at a time"), "%s", two.err);
    cli_free(&two);
}

/* The folder's model as another program wrote it into one file. */
Test(cli_info, gguf) {
    TEST_NEEDS_MODELS("stories260k");
    TEST_NEEDS_DATA("stories260K.gguf");
    char *file = path_join(test_data(), "weights-stories260K/stories260K.gguf");
    char *folder = path_join(test_models(), "stories260k");
    struct cli run = cli(NULL, "info", file, "--json", NULL), text = cli(NULL, "info", file, NULL);
    cJSON *o = only(&run);
    cr_expect_str_eq(cli_string(o, "model.tensor_types"), "48 F32");
    cr_expect_str_eq(cli_string(o, "model.weight_type"), "f32");
    cr_expect_eq(cli_number(o, "model.tokenizer_size"), 512);
    cr_expect_eq(cli_number(o, "model.eos"), 2);
    cr_expect(strstr(text.out, "tensors: 48 F32"), "%s", text.out);
    const char *const models[] = {file, folder};
    struct cli made[2];
    for (int i = 0; i < 2; i++) {
        made[i] = cli(NULL, "generate", "-q", "--model", models[i], "-p", "Once upon a time", "--setting",
                      "temperature=0", "--setting", "temperature=1.5", "--max-tokens", "60", NULL);
        expect_done(&made[i]);
    }
    cr_expect(strstr(made[0].out, ", there was a little girl named Lily."), "%s", made[0].out);
    cr_expect_str_eq(made[0].out, made[1].out);
    cJSON_Delete(o);
    cli_free(&run);
    cli_free(&text);
    for (int i = 0; i < 2; i++) cli_free(&made[i]);
    mem_free(file);
    mem_free(folder);
}

Test(cli_info, other_models) {
    TEST_NEEDS_MODELS("stories260k");
    char *folder = mem_alloc(strlen(test_models()) + 32);
    sprintf(folder, "%s/stories260k", test_models());
    struct cli run = cli(NULL, "info", folder, "--json", NULL);
    cJSON *o = only(&run);
    cr_expect_eq(cli_number(o, "model.parameters"), 260032);
    cr_expect_str_eq(cli_string(o, "model.family"), "llama");
    struct cli made = cli(NULL, "generate", "-q", "--model", folder, "-p", "Once upon a time", "--temperature", "0",
                          "--max-tokens", "12", NULL);
    expect_done(&made);
    cr_expect_eq(strncmp(made.out, ", there was a little girl named Lily.", 20), 0, "%s", made.out);
    cJSON_Delete(o);
    cli_free(&run);
    cli_free(&made);
    mem_free(folder);
}
