/* test_cli_failures.c: what a program meets in the world: full disks, closed pipes, Ctrl-C, broken models. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "cli.h"
#include "gguf_write.h"
#include "support.h"

static const char *const outputs[][12] = {
    {"--help"},
    {"--version"},
    {"generate", "--help"},
    {"generate", "-q", "-p", "x", "--max-tokens", "2"},
    {"generate", "-q", "-p", "x", "--max-tokens", "2", "--stream"},
    {"generate", "-q", "-p", "x", "--max-tokens", "2", "--json"},
    {"tokenize", "x"},
    {"score", "x y"},
    {"probs", "x"},
    {"info"},
    {"bench", "-q", "-r", "1", "-w", "0", "-p", "4", "-n", "0"},
};
enum { OUTPUTS = sizeof outputs / sizeof *outputs };

static void expect_failed(struct cli run, const char *what, const char *words) {
    cr_expect_eq(run.status, 1, "%s: status %d", what, run.status);
    cr_expect(cli_one_line(run.err), "%s: %s", what, run.err);
    cr_expect(strstr(run.err, words), "%s: %s", what, run.err);
    cli_free(&run);
}

Test(cli_failures, full_disk) {
    struct cli_way way = {.output = "/dev/full"};
    for (size_t i = 0; i < OUTPUTS; i++) expect_failed(cli_run(&way, outputs[i]), outputs[i][0], "No space left");
}

Test(cli_failures, closed_pipe) {
    struct cli_way way = {.closed_pipe = true};
    for (size_t i = 0; i < OUTPUTS; i++) expect_failed(cli_run(&way, outputs[i]), outputs[i][0], "Broken pipe");
}

Test(cli_failures, closed_pipe_ends_a_long_run, .timeout = 120) {
    const char *const words[] = {"generate", "-q", "-p", "Once", "--n", "1000000", "--max-tokens", "3", "--json", NULL};
    expect_failed(cli_run(&(struct cli_way){.closed_pipe = true}, words), "generate", "Broken pipe");
}

Test(cli_failures, ctrl_c_prints_what_there_is, .timeout = 120) {
    const char *const words[] = {"generate",     "-q", "-p",     "Once", "--ignore-eos", "--n", "200000",
                                 "--max-tokens", "3",  "--json", NULL};
    struct cli run = cli_run(&(struct cli_way){.interrupt_after_bytes = 1}, words);
    cr_expect_eq(run.status, 130, "status %d: %s", run.status, run.err);
    size_t lines = cli_lines(run.out);
    cr_expect_geq(lines, 1);
    cr_expect_lt(lines, 200000);
    cJSON *last = cli_json(run.out, (int)lines - 1);
    cr_expect_not_null(last, "the last line is cut");
    cJSON_Delete(last);
    cli_free(&run);
}

Test(cli_failures, ctrl_c_closes_the_array, .timeout = 120) {
    const char *const words[] = {"generate",     "-p", "Once",     "--ignore-eos", "--n", "200000",
                                 "--max-tokens", "3",  "--format", "json",         NULL};
    struct cli run = cli_run(&(struct cli_way){.interrupt_after_bytes = 1}, words);
    cr_expect_eq(run.status, 130);
    cJSON *all = cli_json(run.out, -1);
    cr_expect(cJSON_IsArray(all), "the array is not closed");
    cJSON_Delete(all);
    cli_free(&run);
}

Test(cli_failures, missing_models_and_files) {
    expect_failed(cli(NULL, "generate", "-p", "x", "--model", "/nonexistent", NULL), "generate", "/nonexistent");
    expect_failed(cli(NULL, "info", "/nonexistent", NULL), "info", "/nonexistent");
    expect_failed(cli(NULL, "bench", "--model", "/nonexistent", NULL), "bench", "/nonexistent");
    expect_failed(cli(NULL, "generate", "--prompt-file", "/nonexistent", NULL), "generate", "No such file");
    expect_failed(cli(NULL, "generate", "--prompts", "/", NULL), "generate", "Is a directory");
    char *folder = test_folder_create();
    expect_failed(cli(NULL, "generate", "-p", "x", "--model", folder, NULL), "generate", "config.json");
    char *config = test_write(folder, "config.json", "{\"model_type\":", 14);
    expect_failed(cli(NULL, "generate", "-p", "x", "--model", folder, NULL), "generate", "config.json");
    mem_free(config);
    test_folder_remove(folder);
}

/* A vocabulary without weights tokenizes, and says why it does nothing else. */
Test(cli_failures, vocabulary_only) {
    static const char *const tokens[] = {"<unk>",
                                         "<s>",
                                         "</s>",
                                         "\xE2\x96\x81",
                                         "a",
                                         "b",
                                         "\xE2\x96\x81"
                                         "a",
                                         "ab"};
    static const float scores[] = {0, 0, 0, -5, -6, -7, -2, -1};
    static const int32_t types[] = {2, 3, 3, 1, 1, 1, 1, 1};
    static const char needs[] = "a vocabulary without weights";
    struct gguf_writer w = {0};
    struct buf file = {0};
    char *folder = test_folder_create();
    write_string(&w, "general.architecture", "llama");
    write_u32(&w, "llama.context_length", 4096);
    write_string(&w, "tokenizer.ggml.model", "llama");
    write_strings(&w, "tokenizer.ggml.tokens", tokens, 8);
    write_array(&w, "tokenizer.ggml.scores", W_F32, scores, 8);
    write_array(&w, "tokenizer.ggml.token_type", W_I32, types, 8);
    write_finish(&w, &file);
    char *path = test_write(folder, "vocab.gguf", file.data, file.length);
    struct cli run = cli(NULL, "tokenize", "--model", path, "--ids", "ab a", NULL);
    cr_expect_str_eq(run.out, "1 3 7 6\n", "%s%s", run.out, run.err);
    cli_free(&run);
    expect_failed(cli(NULL, "generate", "-p", "a", "--model", path, NULL), "generate", needs);
    expect_failed(cli(NULL, "info", path, NULL), "info", needs);
    expect_failed(cli(NULL, "score", "--model", path, "ab", NULL), "score", needs);
    expect_failed(cli(NULL, "bench", "--model", path, NULL), "bench", needs);
    mem_free(path);
    path = test_write(folder, "other.gguf", "GGUG", 4);
    expect_failed(cli(NULL, "info", path, NULL), "info", "not a GGUF file");
    mem_free(path);
    buf_free(&file);
    test_folder_remove(folder);
}

Test(cli_failures, bad_prompts_leave_no_output) {
    struct cli run = cli("{\"prompt\":\"a\"}\n{\"text\":\"b\"}\n", "generate", "-q", "--prompts", "-", NULL);
    cr_expect_eq(run.out_length, 0);
    expect_failed(run, "no prompt member", "line 2");
    run = cli("{\"prompt\":\"a\"}\nplain\n", "generate", "-q", "--prompts", "-", NULL);
    expect_failed(run, "not JSON", "line 2");
    run = cli("{\"prompt\":\"a\"}\n{\"prompt\":\"a\"} {\"prompt\":\"b\"}\n", "generate", "-q", "--prompts", "-", NULL);
    expect_failed(run, "two objects", "line 2");
    run = cli("\n\n", "generate", "-q", "--prompts", "-", NULL);
    expect_failed(run, "no prompt", "holds no prompt");
    char text[4096];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    run = cli(text, "generate", "-q", "-p", "fine", "--prompt-file", "-", "--context", "64", NULL);
    cr_expect_eq(run.out_length, 0);
    expect_failed(run, "too long", "64");
}

Test(cli_failures, messages_stay_on_one_safe_line) {
    struct cli run = cli(NULL, "generate", "-p", "x", "--model", "/no\nwhere\x1b[31m", NULL);
    cr_expect_eq(run.status, 1);
    cr_expect(cli_one_line(run.err), "%s", run.err);
    cr_expect_null(strchr(run.err, '\x1b'));
    cli_free(&run);
}
