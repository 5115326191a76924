/* test_run.c: samples of a sweep are those of `tempera generate`, whatever was computed together, when and in how many
 * runs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "runs.h"
#include "sweep/store.h"

TestSuite(run, .init = enter_folder, .fini = leave_folder);

/* 64 points. */
#define GRID    "temperature=0.4,0.8,1.1,1.5 top_p=0.7,0.9,0.97,1 min_p=0,0.03 top_k=0,40"
#define PROMPT  "Once upon a time"
#define SAMPLES "16"
#define TOKENS  "64"

/* ---- against generate ---- */

/* The bytes of base64 that json_writer writes; returns their number. */
static size_t from_base64(const char *text, char *bytes) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0;
    size_t length = 0, have = 0;
    for (; *text && *text != '='; text++) {
        const char *at = strchr(alphabet, *text);
        cr_assert(at);
        bits = bits << 6 | (unsigned)(at - alphabet);
        have += 6;
        if (have < 8) continue;
        have -= 8;
        bytes[length++] = (char)(bits >> have);
    }
    return length;
}

static void expect_sample(const struct sample_record *sample, const cJSON *line, const char *name) {
    const cJSON *ids = cli_get(line, "token_ids");
    const char *text = cli_string(line, "text"), *raw = cli_string(line, "text_bytes");
    size_t length = strlen(text);
    char *bytes = malloc(strlen(raw) + 1);
    if (*raw) {
        length = from_base64(raw, bytes);
        text = bytes;
    }
    cr_assert_eq(cli_number(line, "sample_index"), sample->sample, "%s", name);
    cr_assert_eq((size_t)cJSON_GetArraySize(ids), sample->token_count, "%s, sample %d", name, (int)sample->sample);
    const cJSON *id = ids->child;
    for (size_t i = 0; i < sample->token_count; i++, id = id->next)
        cr_assert_eq(id->valueint, sample->tokens[i], "%s, sample %d: token %zu", name, (int)sample->sample, i);
    cr_assert(length == sample->text_length && memcmp(text, sample->text, length) == 0, "%s, sample %d: \"%s\"", name,
              (int)sample->sample, text);
    cr_assert_str_eq(cli_string(line, "finish_reason"), tempera_finish_name(sample->finish));
    free(bytes);
}

/* "temperature=0.4 top_p=1" as --setting takes it. */
static void as_setting(const char *name, char *setting) {
    for (; *name; name++) *setting++ = *name == ' ' ? ',' : *name;
    *setting = 0;
}

/* Every sample of the database's only prompt is what generate makes with that point's setting alone. */
static void expect_generated(const char *db, const char *model, bool independent, size_t points, size_t samples) {
    struct store *store;
    struct stored_points list;
    struct sample_set set;
    char setting[256];
    size_t different = 0;
    cr_assert_eq(store_open(&store, db, STORE_READ), EXIT_DONE);
    cr_assert_eq(store_load_points(store, &list), EXIT_DONE);
    cr_assert_eq(store_load_samples(store, 0, &set), EXIT_DONE);
    cr_assert_eq(list.count, points);
    cr_assert_eq(set.count, points * samples);
    for (size_t i = 0; i < points; i++) {
        as_setting(list.items[i].name, setting);
        struct cli run = cli(NULL, "generate", "-q", "-m", model, "-p", PROMPT, "--n", SAMPLES, "--max-tokens", TOKENS,
                             "--setting", setting, "--format", "jsonl", independent ? "--independent" : NULL, NULL);
        cr_assert_eq(run.status, 0, "%s: %s", setting, run.err);
        for (size_t k = 0; k < samples; k++) {
            cJSON *line = cli_json(run.out, (int)k);
            expect_sample(&set.items[i * samples + k], line, setting);
            cJSON_Delete(line);
            const struct sample_record *a = &set.items[i * samples + k], *b = &set.items[k];
            different += a->token_count != b->token_count || memcmp(a->tokens, b->tokens, 4 * a->token_count) != 0;
        }
        cli_free(&run);
    }
    cr_expect(different > points * samples / 2, "%zu samples differ from the first point's", different);
    sample_set_free(&set);
    stored_points_free(&list);
    store_close(store);
}

static void expect_identity(const char *model) {
    SWEEP("run", "-q", "--no-stats", "-m", model, "-p", PROMPT, "--grid", GRID, "--samples", SAMPLES, "--max-tokens",
          TOKENS, "-o", "shared.db");
    expect_generated("shared.db", model, false, 64, 16);
    cr_expect(db_number("shared.db", "SELECT generated_tokens > 2 * row_steps FROM runs"), "rows were not shared");
    SWEEP("run", "-q", "--no-stats", "-m", model, "-p", PROMPT, "--grid", GRID, "--samples", SAMPLES, "--max-tokens",
          TOKENS, "--no-share", "-o", "unshared.db");
    cr_expect(same_databases("shared.db", "unshared.db"));
    cr_expect(db_number("unshared.db", "SELECT generated_tokens = row_steps FROM runs"));
    SWEEP("run", "-q", "--no-stats", "-m", model, "-p", PROMPT, "--grid", GRID, "--samples", SAMPLES, "--max-tokens",
          TOKENS, "--independent", "-o", "independent.db");
    expect_generated("independent.db", model, true, 64, 16);
}

Test(run, samples_are_those_of_generate_demo) {
    expect_identity(TEMPERA_DEMO_MODEL);
}

Test(run, samples_are_those_of_generate_stories) {
    const char *model = find_model("stories260k");
    if (!model) cr_skip_test("no test models: stories260k");
    expect_identity(model);
}

/* What the store keeps beside the tokens is what generate prints of them. */
Test(run, figures_are_those_of_generate) {
    struct store *store;
    struct sample_set set;
    SWEEP("run", "-q", "--no-stats", "-p", PROMPT, "--setting", "temperature=0.9,top_p=0.8", "--samples", "4",
          "--max-tokens", "20", "--stop", "the", "-o", "a.db");
    struct cli run = cli(NULL, "generate", "-q", "-p", PROMPT, "--setting", "temperature=0.9,top_p=0.8", "--n", "4",
                         "--max-tokens", "20", "--stop", "the", "--logprobs", "1", "--format", "jsonl", NULL);
    cr_assert_eq(store_open(&store, "a.db", STORE_READ), EXIT_DONE);
    cr_assert_eq(store_load_samples(store, 0, &set), EXIT_DONE);
    cr_assert_eq(set.count, 4);
    for (size_t i = 0; i < 4; i++) {
        cJSON *line = cli_json(run.out, (int)i);
        const struct sample_record *sample = &set.items[i];
        char path[64];
        expect_sample(sample, line, "stop");
        for (size_t k = 0; k < sample->token_count; k++) {
            static const char *const names[] = {"logprob", "final_logprob", "entropy", "kept_mass"};
            const float *const columns[] = {sample->logprob, sample->final_logprob, sample->entropy, sample->kept_mass};
            for (size_t c = 0; c < 4; c++) {
                snprintf(path, sizeof path, "logprobs.%zu.%s", k, names[c]);
                cr_expect_eq((float)cli_number(line, path), columns[c][k], "%s: %g", path, (double)columns[c][k]);
            }
            snprintf(path, sizeof path, "logprobs.%zu.kept", k);
            cr_expect_eq(cli_number(line, path), sample->kept[k], "%s", path);
            snprintf(path, sizeof path, "logprobs.%zu.top.0.id", k);
            cr_expect_eq(cli_number(line, path) == sample->tokens[k], sample->greedy[k], "%s", path);
        }
        cJSON_Delete(line);
    }
    sample_set_free(&set);
    store_close(store);
    cli_free(&run);
}

/* ---- what no result depends on ---- */

#define SMALL(...)                                                                                                     \
    SWEEP("run", "-q", "--no-stats", "--prompts", "p.txt", "--grid", "temperature=0.3,0.8,1.2 top_p=0.6,1",            \
          "--max-tokens", "24", __VA_ARGS__)

static void write_prompts(size_t count) {
    static const char *const lines[] = {"Once upon a time", "The dog",         "",
                                        "Lily and Tom",     "One day, a bird", "She said"};
    char text[1024] = "";
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s %zu\n", lines[i % 6], i);
    write_text("p.txt", text);
}

Test(run, batch_and_threads_change_nothing) {
    write_prompts(3);
    SMALL("--samples", "8", "-o", "a.db");
    SMALL("--samples", "8", "--batch", "7", "--threads", "1", "-o", "b.db");
    SMALL("--samples", "8", "--batch", "1", "--threads", "3", "-o", "c.db");
    cr_expect_eq(db_number("a.db", "SELECT count(*) FROM samples WHERE fork IS NOT NULL"), 3 * 6 * 8);
    cr_expect(same_databases("a.db", "b.db"));
    cr_expect(same_databases("a.db", "c.db"));
}

/* Prompts that are computed beside each other make the samples that each makes alone. */
Test(run, prompts_in_flight_do_not_meet) {
    write_prompts(2);
    SMALL("--samples", "8", "-o", "both.db");
    write_text("q.txt", "The dog 1\n");
    SWEEP("run", "-q", "--no-stats", "--prompts", "q.txt", "--grid", "temperature=0.3,0.8,1.2 top_p=0.6,1",
          "--max-tokens", "24", "--samples", "8", "-o", "one.db");
    cr_expect_eq(db_number("both.db", "SELECT count(*) FROM samples"), 96);
    db_execute("one.db", "ATTACH 'both.db' AS both; CREATE TABLE same AS SELECT count(*) AS n FROM main.samples a JOIN"
                         " both.samples b ON b.prompt = 1 AND a.point = b.point AND a.sample = b.sample AND"
                         " a.tokens = b.tokens AND a.text = b.text AND a.stats = b.stats AND a.fork = b.fork");
    cr_expect_eq(db_number("one.db", "SELECT n FROM same"), 48);
}

Test(run, samples_and_points_can_be_added) {
    write_prompts(3);
    SMALL("--samples", "8", "-o", "at-once.db");
    SMALL("--samples", "4", "-o", "grown.db");
    cr_expect_eq(db_number("grown.db", "SELECT count(*) FROM samples"), 3 * 6 * 4);
    SMALL("--samples", "8", "-o", "grown.db");
    cr_expect(same_databases("at-once.db", "grown.db"));
    SMALL("--samples", "2", "-o", "grown.db"); /* has more already */
    cr_expect(same_databases("at-once.db", "grown.db"));
    cr_expect_eq(db_number("grown.db", "SELECT count(*) FROM runs"), 2);
    /* Another grid's points come after those that are there, those of both are not made again. */
    SMALL("--samples", "8", "-o", "at-once.db", "--grid", "temperature=0.8,2 top_p=1");
    SMALL("--samples", "8", "-o", "grown.db", "--setting", "top_p=1,temperature=0.8", "--setting",
          "hot: temperature=2");
    cr_expect_eq(db_number("grown.db", "SELECT count(*) FROM points"), 7);
    cr_expect_eq(db_number("grown.db", "SELECT count(*) FROM samples"), 3 * 7 * 8);
    cr_expect_eq(db_number("at-once.db", "SELECT count(*) FROM samples"), 3 * 7 * 8);
    /* They are called otherwise, and top_p comes from elsewhere. */
    db_execute("at-once.db", "UPDATE points SET sources = '', name = ''");
    db_execute("grown.db", "UPDATE points SET sources = '', name = ''");
    cr_expect(same_databases("at-once.db", "grown.db"));
}

/* Holes, of samples and of prompts, are filled with what was there. */
Test(run, only_what_is_missing_is_made) {
    write_prompts(3);
    SMALL("--samples", "8", "-o", "whole.db");
    copy_file("whole.db", "holes.db");
    db_execute("holes.db", "DELETE FROM samples WHERE prompt = 1 OR (prompt = 2 AND (point + 3 * sample) % 5 < 2)");
    int64_t left = db_number("holes.db", "SELECT count(*) FROM samples");
    SMALL("--samples", "8", "-o", "holes.db");
    cr_expect(same_databases("whole.db", "holes.db"));
    cr_expect_eq(db_number("holes.db", "SELECT samples FROM runs ORDER BY run DESC LIMIT 1"), 3 * 6 * 8 - left);
}

Test(run, a_difference_is_found) {
    write_prompts(1);
    SMALL("--samples", "2", "-o", "a.db");
    copy_file("a.db", "b.db");
    cr_expect(same_databases("a.db", "b.db"));
    static const char *const changes[] = {"UPDATE samples SET text = x'00' WHERE point = 1 AND sample = 1",
                                          "UPDATE samples SET fork = fork + 1 WHERE point = 0 AND sample = 0",
                                          "UPDATE points SET name = 'x' WHERE point = 2",
                                          "UPDATE manifest SET value = 'x' WHERE key = 'device'",
                                          "UPDATE prompts SET text = 'x'",
                                          "DELETE FROM samples WHERE point = 3"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        copy_file("a.db", "b.db");
        db_execute("b.db", changes[i]);
        struct cli run = cli(NULL, "sweep", "diff", "a.db", "b.db", NULL);
        cr_expect_eq(run.status, 1, "%s", changes[i]);
        cr_expect(strstr(run.out, "only in the first"), "%s: %s", changes[i], run.out);
        cr_expect_str_empty(run.err);
        cli_free(&run);
    }
}

/* ---- memory ---- */

/* All samples of one prompt, which is where a prompt's samples are most: they agree, so that the model costs little. The
 * model and the engine, some 25 MB, are within the limit too. */
Test(run, a_hundred_thousand_samples_take_little_memory) {
#ifdef __SANITIZE_ADDRESS__
    cr_skip_test("the address sanitizer keeps what is freed");
#endif
    const char *const words[] = {
        "tempera",   "sweep",  "run",          "-q",   "-p", PROMPT, "--setting", "greedy: temperature=0",
        "--samples", "100000", "--max-tokens", TOKENS, "-o", "a.db", NULL};
    struct rusage usage;
    cr_assert_eq(wait_for(launch(words, "log", 0), &usage), 0);
    cr_expect_eq(db_number("a.db", "SELECT count(*) FROM samples WHERE fork = 64"), 100000);
    cr_expect(usage.ru_maxrss < 500 * 1024, "%ld KiB", usage.ru_maxrss);
    fprintf(stderr, "100,000 samples of 64 tokens and their statistics: %ld MiB resident\n", usage.ru_maxrss / 1024);
}

/* ---- Ctrl-C ---- */

Test(run, an_interrupted_run_goes_on) {
    write_prompts(40);
    SMALL("--samples", "8", "-o", "whole.db");
    const char *const words[] = {"tempera",
                                 "sweep",
                                 "run",
                                 "--no-stats",
                                 "--prompts",
                                 "p.txt",
                                 "--grid",
                                 "temperature=0.3,0.8,1.2 top_p=0.6,1",
                                 "--max-tokens",
                                 "24",
                                 "--samples",
                                 "8",
                                 "--threads",
                                 "1",
                                 "-o",
                                 "a.db",
                                 NULL};
    pid_t child = launch(words, "log", 0);
    wait_for_file("a.db-wal", "a.db-wal");
    pause_seconds(0.5);
    kill(child, SIGINT);
    cr_expect_eq(wait_for(child, NULL), 130);
    int64_t there = db_number("a.db", "SELECT count(*) FROM samples");
    cr_expect(there < 40 * 6 * 8, "it had ended before");
    fprintf(stderr, "interrupted after %d samples\n", (int)there);
    size_t length;
    char *log = read_file_text("log", &length);
    cr_expect(strstr(log, "samples made"), "%s", log);
    free(log);
    SMALL("--samples", "8", "-o", "a.db");
    cr_expect(same_databases("whole.db", "a.db"));
    cr_expect_eq(db_number("a.db", "SELECT sum(samples) FROM runs"), 40 * 6 * 8);
}
