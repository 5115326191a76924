/* test_points.c: the points of a sweep, and what is refused before anything is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "runs.h"
#include "sweep/points.h"

TestSuite(points, .init = enter_folder, .fini = leave_folder);

/* ---- axes ---- */

/* The values of one axis, joined by spaces; "refused". */
static char *axis(const char *text) {
    char **values = NULL, *joined = calloc(1, 4096);
    size_t count = 0;
    bool good = axis_values("temperature", text, &values, &count);
    for (size_t i = 0; i < count; i++) {
        snprintf(joined + strlen(joined), 4096 - strlen(joined), "%s%s", i ? " " : "", values[i]);
        free(values[i]);
    }
    free(values);
    if (!good) strcpy(joined, "refused");
    return joined;
}

static void expect_axis(const char *text, const char *wanted) {
    char *got = axis(text);
    cr_expect_str_eq(got, wanted, "%s: %s", text, got);
    free(got);
}

Test(points, ranges_are_decimal) {
    expect_axis("0:1:0.1", "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1");
    expect_axis("0:1.6:0.2", "0 0.2 0.4 0.6 0.8 1 1.2 1.4 1.6");
    expect_axis("1:0:-0.25", "1 0.75 0.5 0.25 0");
    expect_axis("-1:1:0.5", "-1 -0.5 0 0.5 1");
    expect_axis("0.5:0.5:1", "0.5");
    expect_axis("0:1:0.3", "0 0.3 0.6 0.9"); /* the stop is not on the way */
    expect_axis("1:2:3", "1");
    expect_axis("10:100:45", "10 55 100");
    expect_axis("0.001:0.003:0.001", "0.001 0.002 0.003");
    expect_axis("00.50:1.00:.25", "0.5 0.75 1");
    expect_axis("0.999999999:1:0.000000001", "0.999999999 1");
    expect_axis("+1:+3:+1", "1 2 3");
}

Test(points, lists_hold_values_and_ranges) {
    expect_axis("0.5,0.8,0.9", "0.5 0.8 0.9");
    expect_axis("0,0.2:0.6:0.2,1,2:1:-0.5", "0 0.2 0.4 0.6 1 2 1.5 1");
    expect_axis("1e-3", "1e-3"); /* single values are the setting's own business */
    expect_axis("true,false", "true false");
}

Test(points, axes_that_are_no_lists) {
    const char *const bad[] = {"",
                               ",",
                               "1,",
                               ",1",
                               "1,,2",
                               "1:2",
                               "1:2:",
                               ":2:1",
                               "1::1",
                               "1:2:3:4",
                               "a:b:c",
                               "1:2:x",
                               "1:2:0",
                               "1:2:-1",
                               "2:1:1",
                               "1:2:1e-1",
                               "0:1:0.0000000001",
                               ".:1:1",
                               "-:1:1",
                               "-9000000000:9000000000:0.000000001",
                               "99999999999999999999:1:-1",
                               "0:1:0.000001",
                               "1 :2:1",
                               "nan:1:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect_axis(bad[i], "refused");
}

/* ---- lists of points ---- */

static const char *grid_words[4], *setting_words[8];

static struct point_args args_new(void) {
    return (struct point_args){
        .samples = 4, .max_points = 4096, .grids = {grid_words, 0}, .sampling = {.settings = {setting_words, 0}}};
}

static void add_grid(struct point_args *args, const char *text) {
    grid_words[args->grids.count++] = text;
}

static void add_setting(struct point_args *args, const char *text) {
    setting_words[args->sampling.settings.count++] = text;
}

static struct point_list make(const struct point_args *args) {
    struct point_list list;
    cr_assert_eq(point_list_make(&list, args, NULL), EXIT_DONE);
    return list;
}

Test(points, the_last_axis_runs_fastest) {
    struct point_args args = args_new();
    add_grid(&args, "  temperature=0.2:0.6:0.2\ttop-p=0.5,1 ");
    add_grid(&args, "independent=true,false top_k=7");
    struct point_list list = make(&args);
    const char *const names[] = {"temperature=0.2 top_p=0.5", "temperature=0.2 top_p=1",   "temperature=0.4 top_p=0.5",
                                 "temperature=0.4 top_p=1",   "temperature=0.6 top_p=0.5", "temperature=0.6 top_p=1",
                                 "independent=true top_k=7",  "independent=false top_k=7"};
    cr_assert_eq(list.count, 8);
    for (size_t i = 0; i < 8; i++) {
        cr_expect_str_eq(list.items[i].name, names[i]);
        cr_expect_eq(list.items[i].samples, 4);
    }
    cr_expect_eq(list.items[2].sampling.temperature, 0.4F);
    cr_expect_eq(list.items[2].sampling.top_p, 0.5F);
    cr_expect(list.items[6].sampling.independent && !list.items[7].sampling.independent);
    cr_expect_eq(list.items[7].sampling.top_k, 7);
    cr_expect_eq(list.items[0].source.field[SAMPLING_temperature], SOURCE_FLAG);
    cr_expect_eq(list.items[0].source.field[SAMPLING_top_k], SOURCE_DEFAULT);
    point_list_free(&list);
}

Test(points, keys_say_what_differs_from_the_defaults) {
    struct point_args args = args_new();
    add_setting(&args, "plain: temperature=1,top_p=1");
    add_setting(&args, "temperature=0.30,order=vllm");
    add_setting(&args, "seed=18446744073709551615,independent=true,max_tokens=5");
    add_setting(&args, "top_k=40,min_p=0.05,ignore_eos=true");
    struct point_list list = make(&args);
    cr_assert_eq(list.count, 4);
    cr_expect_str_eq(list.items[0].key, "{}");
    cr_expect_str_eq(list.items[0].name, "plain");
    cr_expect_str_eq(list.items[1].key, "{\"temperature\":0.3,\"order\":\"vllm\"}");
    cr_expect_str_eq(list.items[1].name, "temperature=0.30,order=vllm");
    cr_expect_str_eq(list.items[2].key, "{\"seed\":18446744073709551615,\"max_tokens\":5,\"independent\":true}");
    cr_expect_str_eq(list.items[3].key, "{\"top_k\":40,\"min_p\":0.05,\"ignore_eos\":true}");
    point_list_free(&list);
}

/* The same setting by grid, by name, by flag, in other spellings. */
Test(points, equal_settings_are_one_point) {
    struct point_args args = args_new();
    args.sampling.field[SAMPLING_top_p] = "0.90";
    add_grid(&args, "temperature=0.8,0.80,.8,8e-1 top_k=0");
    add_grid(&args, "temperature=0.7:0.9:0.1 top_p=0.9");
    add_setting(&args, "again: temperature=0.800,top_p=.9");
    add_setting(&args, "temperature=-0");
    add_setting(&args, "zero: temperature=0");
    struct point_list list = make(&args);
    const char *const names[] = {"temperature=0.8 top_k=0", "temperature=0.7 top_p=0.9", "temperature=0.9 top_p=0.9",
                                 "temperature=-0"};
    cr_assert_eq(list.count, 4, "%zu points", list.count);
    for (size_t i = 0; i < 4; i++) cr_expect_str_eq(list.items[i].name, names[i]);
    cr_expect_str_eq(list.items[0].key, "{\"temperature\":0.8,\"top_p\":0.9}");
    cr_expect_str_eq(list.items[3].key, "{\"temperature\":0,\"top_p\":0.9}");
    point_list_free(&list);
}

Test(points, lists_are_part_of_the_key) {
    struct point_args args = args_new();
    static const char *stops[] = {"\n", "END"}, *bias[] = {"7=-inf,9=1.5"}, *ids[] = {"13"};
    struct point_list plain = make(&args);
    args.sampling.stop = (struct text_list){stops, 2};
    args.sampling.logit_bias = (struct text_list){bias, 1};
    args.sampling.stop_token_ids = (struct text_list){ids, 1};
    struct point_list list = make(&args);
    cr_expect_str_eq(plain.items[0].key, "{}");
    cr_expect_str_eq(list.items[0].key, "{\"logit_bias\":[{\"id\":7,\"bias\":\"-inf\"},{\"id\":9,\"bias\":1.5}],"
                                        "\"stop\":[\"\\n\",\"END\"],\"stop_token_ids\":[13]}");
    point_list_free(&plain);
    point_list_free(&list);
}

/* The table of issue and documentation, written out once more. */
Test(points, presets_are_the_middle_of_their_ranges) {
    static const struct {
        const char *name;
        double temperature[2], top_p[2];
    } table[] = {{"facts", {0, 0.2}, {0.1, 0.3}},         {"formal", {0.2, 0.4}, {0.2, 0.5}},
                 {"creative", {0.7, 1}, {0.8, 1}},        {"casual", {0.5, 0.7}, {0.6, 0.8}},
                 {"brainstorming", {0.8, 1.2}, {0.9, 1}}, {"marketing", {0.6, 0.8}, {0.7, 0.9}},
                 {"coding", {0.1, 0.3}, {0.1, 0.3}},      {"summaries", {0.3, 0.5}, {0.3, 0.6}},
                 {"products", {0.5, 0.7}, {0.6, 0.8}}};
    struct point_args args = args_new();
    args.presets = true;
    struct point_list list = make(&args);
    char middle[32], shown[32];
    cr_assert_eq(list.count, 8, "%zu", list.count); /* casual conversation and product descriptions are one point */
    for (size_t i = 0; i < list.count; i++) {
        const tempera_sampling *s = &list.items[i].sampling;
        cr_expect_str_eq(list.items[i].name, table[i].name);
        snprintf(middle, sizeof middle, "%.4f %.4f", (table[i].temperature[0] + table[i].temperature[1]) / 2,
                 (table[i].top_p[0] + table[i].top_p[1]) / 2);
        snprintf(shown, sizeof shown, "%.4f %.4f", (double)s->temperature, (double)s->top_p);
        cr_expect_str_eq(shown, middle);
        cr_expect_eq(list.items[i].source.field[SAMPLING_top_p], SOURCE_PRESET);
    }
    cr_expect_str_eq(list.items[2].key, "{\"temperature\":0.85,\"top_p\":0.9}");
    point_list_free(&list);
}

Test(points, flags_alone_are_one_point) {
    struct point_args args = args_new();
    args.sampling.field[SAMPLING_temperature] = "0.5";
    struct point_list list = make(&args);
    cr_assert_eq(list.count, 1);
    cr_expect_str_eq(list.items[0].name, "temperature=0.5");
    point_list_free(&list);
}

/* ---- bad input: one line, and no file ---- */

#define REFUSED_RUN(status, part, ...)                                                                                 \
    do {                                                                                                               \
        SWEEP_REFUSED(status, part, "run", "-q", "-o", "none.db", __VA_ARGS__);                                        \
        cr_expect(!is_there("none.db"), "a file was left");                                                            \
    } while (0)

Test(points, bad_grids_are_refused) {
    REFUSED_RUN(2, "no axis is called \"temprature\" (did you mean temperature?)", "-p", "x", "--grid", "temprature=1");
    REFUSED_RUN(2, "no axis is called", "-p", "x", "--grid", "n=1,2");
    REFUSED_RUN(2, "grid is empty", "-p", "x", "--grid", "");
    REFUSED_RUN(2, "grid is empty", "-p", "x", "--grid", "  ");
    REFUSED_RUN(2, "empty value", "-p", "x", "--grid", "temperature=");
    REFUSED_RUN(2, "expected name=values", "-p", "x", "--grid", "temperature");
    REFUSED_RUN(2, "named twice", "-p", "x", "--grid", "top_p=1 top-p=0.5");
    REFUSED_RUN(2, "leads away from its stop", "-p", "x", "--grid", "temperature=0:1:-0.1");
    REFUSED_RUN(2, "the step of \"0:1:0\" is 0", "-p", "x", "--grid", "temperature=0:1:0");
    REFUSED_RUN(2, "top_p", "-p", "x", "--grid", "top_p=0.5:1.5:0.5");
    REFUSED_RUN(2, "temperature", "-p", "x", "--grid", "temperature=warm");
    REFUSED_RUN(2, "more than 100000 values", "-p", "x", "--grid", "seed=0:1000000:1");
    REFUSED_RUN(2, "no setting is called", "-p", "x", "--setting", "a: temprature=1");
    REFUSED_RUN(2, "name in \": top_k=1\" is empty", "-p", "x", "--setting", ": top_k=1");
    REFUSED_RUN(2, "n is not part of a point", "-p", "x", "--setting", "n=4");
    REFUSED_RUN(2, "contradict", "-p", "x", "--coupled", "--independent");
    REFUSED_RUN(2, "--shard", "-p", "x", "--shard", "3/2");
    REFUSED_RUN(2, "no preset is called \"creativ\" (did you mean creative?)", "-p", "x", "--preset", "creativ");
}

Test(points, too_many_points_are_counted_first) {
    REFUSED_RUN(2, "10201 points are more than --max-points 4096; nothing was started", "-p", "x", "--grid",
                "temperature=0:1:0.01 top_p=0:1:0.01");
    REFUSED_RUN(2, "1000000000000 points", "-p", "x", "--grid", "temperature=1:10000:1 top_k=1:10000:1 seed=1:10000:1");
    REFUSED_RUN(2, "7 points are more than --max-points 6", "-p", "x", "--max-points", "6", "--grid", "top_k=1,2,3",
                "--grid", "seed=1,2", "--setting", "top_k=5", "--setting", "top_k=6");
}

Test(points, bad_prompts_are_refused) {
    char text[4096] = "short\n\n";
    REFUSED_RUN(2, "no prompts", "--grid", "top_k=1");
    REFUSED_RUN(1, "missing.txt", "--prompts", "missing.txt");
    write_text("empty.txt", "\n\n\r\n");
    REFUSED_RUN(1, "empty.txt: holds no prompt", "--prompts", "empty.txt");
    for (int i = 0; i < 600; i++) strcat(text, "cat ");
    strcat(text, "\nfine\n");
    for (int i = 0; i < 300; i++) strcat(text, "dog ");
    write_text("long.txt", text);
    REFUSED_RUN(1, "2 prompts leave no room for a token in the context of 256: line 3, line 5", "--prompts",
                "long.txt");
    write_text("nul.txt", "a\xFF\n");
    REFUSED_RUN(1, "nul.txt: line 1: not UTF-8", "--prompts", "nul.txt");
    write_text("bad.jsonl", "{\"prompt\":\"a\"}\nplain\n");
    REFUSED_RUN(1, "bad.jsonl: line 2: not a JSON object", "--prompts", "bad.jsonl");
    write_text("bad.jsonl", "{\"prompt\":\"a\"}\n{\"text\":\"a\"}\n");
    REFUSED_RUN(1, "bad.jsonl: line 2: no \"prompt\"", "--prompts", "bad.jsonl");
    write_text("bad.jsonl", "{\"prompt\":\"a\",\"choices\":[1]}\n");
    REFUSED_RUN(1, "line 1: \"choices\" is neither", "--prompts", "bad.jsonl");
    write_text("bad.jsonl", "{\"prompt\":\"a\",\"id\":\"x\"}\n{\"prompt\":\"b\",\"id\":\"x\"}\n");
    REFUSED_RUN(1, "two prompts have the id \"x\"", "--prompts", "bad.jsonl");
    write_text("bad.jsonl", "{\"prompt\":\"a\\u0000b\"}\n");
    REFUSED_RUN(1, "line 1: \\u0000", "--prompts", "bad.jsonl");
    REFUSED_RUN(1, "missing/none.db", "-p", "x", "-o", "missing/none.db");
}

Test(points, verify_that_cannot_be_run_is_refused) {
    REFUSED_RUN(2, "--verify: \"/no/such/program\" cannot be run", "-p", "x", "--verify", "/no/such/program");
}

/* ---- databases that are not this sweep's ---- */

/* `sweep run` into the file is refused and leaves what it holds. */
static void unchanged_after(const char *part, const char *path, bool is_sweep, const char *const *more) {
    size_t before, after;
    const char *words[32] = {"sweep", "run", "-q", "--no-stats", "--max-tokens", "2", "--samples", "1", "-o", path};
    size_t count = 10;
    char *was = read_file_text(path, &before);
    copy_file(path, "before.db");
    while (*more) words[count++] = *more++;
    struct cli run = cli_run(&(struct cli_way){0}, words);
    cr_expect_eq(run.status, 1, "%s: %d", part, run.status);
    cr_expect(cli_one_line(run.err), "%s: %s", part, run.err);
    cr_expect(strstr(run.err, part), "%s: %s", part, run.err);
    cli_free(&run);
    char *is = read_file_text(path, &after);
    if (is_sweep)
        cr_expect(same_databases(path, "before.db"), "%s: the database was changed", part);
    else
        cr_expect(before == after && memcmp(was, is, before) == 0, "%s: the file was changed", part);
    free(was);
    free(is);
}

#define UNCHANGED_AFTER(part, path, is_sweep, ...)                                                                     \
    unchanged_after(part, path, is_sweep, (const char *const[]){__VA_ARGS__, NULL})

Test(points, files_that_are_no_sweeps_are_left_alone) {
    write_text("text.db",
               "These are notes, not a database, and long enough to be taken for one: they go on for more than "
               "the hundred bytes that such a file begins with.\n");
    UNCHANGED_AFTER("text.db: not a database", "text.db", false, "-p", "x");
    write_text("tiny.db", "note\n");
    UNCHANGED_AFTER("tiny.db: not a database", "tiny.db", false, "-p", "x");
    db_execute(
        "other.db",
        "PRAGMA journal_mode = WAL; CREATE TABLE samples(prompt, point, sample); INSERT INTO samples VALUES(1, 2, 3)");
    UNCHANGED_AFTER("other.db: a database of another program", "other.db", false, "-p", "x");
    db_execute("newer.db", "CREATE TABLE t(a); PRAGMA application_id = 0x746d7072; PRAGMA user_version = 99");
    UNCHANGED_AFTER("newer.db: its schema is version 99", "newer.db", false, "-p", "x");
    SWEEP_REFUSED(1, "not a file", "run", "-p", "x", "-o", ".");
    SWEEP_REFUSED(1, "other.db: a database of another program", "diff", "other.db", "other.db");
    SWEEP_REFUSED(1, "none.db: No such file", "diff", "other.db", "none.db");
}

static void copy_demo(const char *to, const char *config_change) {
    static const char *const files[] = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json"};
    char from[4096], path[4096], command[64];
    snprintf(command, sizeof command, "mkdir %s", to);
    cr_assert_eq(system(command), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(from, sizeof from, TEMPERA_DEMO_MODEL "/%s", files[i]);
        snprintf(path, sizeof path, "%s/%s", to, files[i]);
        if (is_there(from)) copy_file(from, path);
    }
    if (!config_change) return;
    size_t length;
    snprintf(path, sizeof path, "%s/config.json", to);
    char *text = read_file_text(path, &length), *at = strstr(text, config_change);
    cr_assert(at, "%s", config_change);
    at[strlen(config_change) - 1] = '6'; /* 1e-05 becomes 1e-06 */
    write_text(path, text);
    free(text);
}

/* Whatever it is called; and one that differs in its last byte is another. */
Test(points, a_gguf_file_is_a_model) {
    const char *data = getenv("TEMPERA_TEST_DATA");
    char from[4096];
    snprintf(from, sizeof from, "%s/weights-stories260K/stories260K.gguf", data ? data : TEMPERA_TEST_DATA_DEFAULT);
    if (!is_there(from)) cr_skip_test("no test data: stories260K.gguf");
    copy_file(from, "a.gguf");
    copy_file(from, "b.gguf");
    copy_file(from, "c.gguf");
    FILE *file = fopen("c.gguf", "r+b");
    cr_assert(file && fseek(file, -1, SEEK_END) == 0);
    int last = fgetc(file);
    cr_assert(fseek(file, -1, SEEK_END) == 0 && fputc(last ^ 1, file) != EOF && fclose(file) == 0);
    SWEEP("run", "-q", "--no-stats", "--max-tokens", "2", "--samples", "1", "-o", "g.db", "-p", "Once", "-m", "a.gguf");
    SWEEP("run", "-q", "--no-stats", "--max-tokens", "2", "--samples", "2", "-o", "g.db", "-p", "Once", "-m", "b.gguf");
    cr_expect_eq(db_number("g.db", "SELECT count(*) FROM samples"), 2);
    UNCHANGED_AFTER("g.db holds samples of the model with hash", "g.db", true, "-p", "Once", "-m", "c.gguf");
}

Test(points, a_sweep_of_something_else_is_refused) {
    copy_demo("same", NULL);
    copy_demo("other", "\"layer_norm_epsilon\": 1e-05");
    write_text("p.txt", "one\ntwo\n");
    write_text("q.txt", "one\nthree\n");
    SWEEP("run", "-q", "--no-stats", "--max-tokens", "2", "--samples", "1", "-o", "a.db", "--prompts", "p.txt");
    UNCHANGED_AFTER("a.db holds samples of the model with hash", "a.db", true, "--prompts", "p.txt", "-m", "other");
    UNCHANGED_AFTER("a.db holds samples of the prompts with hash", "a.db", true, "--prompts", "q.txt");
    UNCHANGED_AFTER("a.db holds samples of the instruction set", "a.db", true, "--prompts", "p.txt", "--instructions",
                    "portable");
    UNCHANGED_AFTER("a.db holds samples of a context of 256; this run's is 100", "a.db", true, "--prompts", "p.txt",
                    "--context", "100");
    /* The same model from another folder is the same model. */
    SWEEP("run", "-q", "--no-stats", "--max-tokens", "2", "--samples", "2", "-o", "a.db", "--prompts", "p.txt", "-m",
          "same");
    cr_expect_eq(db_number("a.db", "SELECT count(*) FROM samples"), 4);
    /* Names that SQLite takes for something else are files as any other. */
    SWEEP("run", "-q", "--no-stats", "--max-tokens", "2", "--samples", "1", "-o", ":memory:", "-p", "x");
    SWEEP("run", "-q", "--no-stats", "--max-tokens", "2", "--samples", "1", "-o", "file:a?b#c%20.db", "-p", "x");
    cr_expect(is_there(":memory:") && is_there("file:a?b#c%20.db"));
    cr_expect(same_databases(":memory:", "file:a?b#c%20.db"));
    SWEEP("merge", "-q", "file:a?b#c%20.db", "-o", "merged.db");
    cr_expect(same_databases(":memory:", "merged.db"));
}
