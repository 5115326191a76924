/* test_store.c: what goes into a database comes out of it, what is damaged is noticed, and where samples part. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "cells.h"
#include "runs.h"
#include "sweep/forks.h"
#include "sweep/store.h"

TestSuite(store, .init = enter_folder, .fini = leave_folder);

/* ---- help ---- */

enum { MOST_TOKENS = 16 };

static struct store *opened(const char *path, enum store_mode mode) {
    struct store *store = NULL;
    cr_assert_eq(store_open(&store, path, mode), EXIT_DONE, "%s", path);
    return store;
}

/* A new database, in a transaction, with a vocabulary of 100. */
static struct store *begun(const char *path) {
    struct store *store = opened(path, STORE_CREATE);
    cr_assert_not(is_there(path));
    cr_assert_eq(store_begin(store), EXIT_DONE);
    cr_assert_eq(store_claim(store, "vocab_size", "100", "a vocabulary of"), EXIT_DONE);
    return store;
}

/* Writes a sample whose figures are functions of `base`; tokens < 100. */
static int write_sample(struct store *store, int32_t prompt, int32_t point, int32_t sample, const int32_t *tokens,
                        size_t count, const char *text, size_t length) {
    tempera_token_stat stats[MOST_TOKENS] = {0};
    struct strbuf blob = {0};
    int32_t top[MOST_TOKENS];
    for (size_t i = 0; i < count; i++) {
        top[i] = i % 3 ? tokens[i] : tokens[i] + 1;
        stats[i] = (tempera_token_stat){.logprob = -0.1F * (float)(i + 1),
                                        .final_logprob = i == 1 ? -INFINITY : -0.3F,
                                        .entropy = i == 2 ? NAN : 1.5F,
                                        .kept_mass = 0.1F,
                                        .kept = i == 0 ? INT32_MAX : (int32_t)i,
                                        .top_count = i == 4 ? 0 : 1,
                                        .top_token = &top[i]};
    }
    stats_blob_write(&blob, stats, tokens, count);
    const struct sample_record record = {.prompt = prompt,
                                         .point = point,
                                         .sample = sample,
                                         .finish = count ? TEMPERA_FINISH_EOS : TEMPERA_FINISH_ERROR,
                                         .error = count ? "" : "no token survived",
                                         .text = text,
                                         .text_length = length,
                                         .tokens = tokens,
                                         .token_count = count,
                                         .fork = FORK_UNKNOWN};
    int status = store_add_sample(store, &record, blob.data, blob.length);
    strbuf_free(&blob);
    return status;
}

/* What `body` writes on standard error; owned by the caller. */
static char *complaints(int (*body)(void *user), void *user, int *status) {
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    *status = body(user);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    size_t length = (size_t)lseek(fileno(file), 0, SEEK_END);
    char *text = calloc(length + 1, 1);
    rewind(file);
    cr_assert_eq(fread(text, 1, length, file), length);
    fclose(file);
    return text;
}

static int open_for_writing(void *user) {
    struct store *store;
    int status = store_open(&store, user, STORE_WRITE);
    store_close(store);
    return status;
}

static int load_everything(void *user) {
    struct store *store;
    struct sweep_prompts prompts = {0};
    struct stored_points points = {0};
    struct sample_set set = {0};
    struct run_record runs;
    int status = store_open(&store, user, STORE_READ);
    if (!status) status = store_load_prompts(store, &prompts);
    if (!status) status = store_load_points(store, &points);
    for (size_t i = 0; i < prompts.count && !status; i++) {
        sample_set_free(&set);
        status = store_load_samples(store, (int32_t)i, &set);
    }
    if (!status) status = store_load_runs(store, &runs);
    sample_set_free(&set);
    stored_points_free(&points);
    sweep_prompts_free(&prompts);
    store_close(store);
    return status;
}

static void expect_complaint(int (*body)(void *user), const char *path, const char *part) {
    int status;
    char *text = complaints(body, (void *)(uintptr_t)path, &status);
    cr_expect_eq(status, EXIT_FAILED, "%s: status %d", part, status);
    cr_expect(cli_one_line(text) && strstr(text, part), "expected \"%s\", got \"%s\"", part, text);
    free(text);
}

/* ---- round trip ---- */

static struct point_list make_points(const char **settings, size_t count) {
    struct point_list list;
    const struct point_args args = {.samples = 3, .max_points = 100, .sampling = {.settings = {settings, count}}};
    cr_assert_eq(point_list_make(&list, &args, NULL), EXIT_DONE);
    return list;
}

Test(store, points_come_back_as_they_were) {
    const char *settings[] = {
        "odd \"name\", ü: temperature=0.1,top_p=0.3,min_p=1e-10,typical_p=0.999999,seed=18446744073709551615",
        "seed=9223372036854775808,independent=true,order=llama.cpp,repetition_penalty=1.1",
        "top_k=2147483647,frequency_penalty=-0.7,presence_penalty=33.3,max_tokens=0,ignore_eos=true,min_tokens=3",
        "order=top_k,temperature,keep_ties,temperature=1000", "temperature=0.0001,penalty_window=7,no_repeat_ngram=3"};
    enum { COUNT = sizeof settings / sizeof *settings };
    struct point_list list = make_points(settings, COUNT);
    struct stored_points points;
    int32_t number[COUNT], again[COUNT];
    struct store *store = begun("a.db");
    cr_assert_eq(store_add_points(store, &list, number), EXIT_DONE);
    list.items[1].samples = 9;
    list.items[2].samples = 1;
    cr_assert_eq(store_add_points(store, &list, again), EXIT_DONE); /* found, not added */
    cr_assert_eq(store_commit(store), EXIT_DONE);
    store_close(store);

    store = opened("a.db", STORE_READ);
    cr_assert_eq(store_load_points(store, &points), EXIT_DONE);
    cr_assert_eq(points.count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const struct stored_point *p = &points.items[i];
        cr_expect_eq(p->point, (int32_t)i);
        cr_expect(number[i] == p->point && again[i] == p->point);
        cr_expect_str_eq(p->name, list.items[i].name);
        cr_expect_str_eq(p->key, list.items[i].key);
        cr_expect_eq(p->samples, i == 1 ? 9 : 3);
        const tempera_sampling *a = &p->sampling, *b = &list.items[i].sampling;
#define SAME(kind, field, def, min, max, text)                                                                         \
    if (field_is_identity(&field_info[SAMPLING_##field])) cr_expect_eq(a->field, b->field, "%s of %zu", #field, i);
        TEMPERA_SAMPLING_FIELDS(SAME)
        cr_expect_eq(a->independent, b->independent);
        cr_expect_eq(memcmp(&a->order, &b->order, sizeof a->order), 0, "%zu", i);
    }
    stored_points_free(&points);
    store_close(store);
    point_list_free(&list);
    /* As other programs read it. */
    cr_expect_eq(db_number("a.db", "SELECT count(*) FROM points WHERE temperature = 0.1 AND top_p = 0.3"), 1);
    cr_expect_eq(db_number("a.db", "SELECT count(*) FROM points WHERE seed = '18446744073709551615'"), 1);
    cr_expect_eq(db_number("a.db", "SELECT json_extract(sources, '$.top_k') = 'flag' FROM points WHERE point = 2"), 1);
}

Test(store, prompts_come_back_as_they_were) {
    struct sweep_prompts prompts, loaded;
    const char *paths[] = {"p.jsonl"};
    const struct text_list files = {paths, 1}, none = {NULL, 0};
    write_text(
        "p.jsonl",
        "\xEF\xBB\xBF\n{\"prompt\":\"one\\n\\\"two\\\" "
        "\\u00fc\",\"id\":7,\"reference\":\"r\",\"answer\":0.1,\"other\":[]}\r\n"
        "\n{\"prompt\":\"\",\"choices\":[\"a\",\"\"],\"reference\":[\"x\",\"y\"],\"test\":\"t\\n\",\"answer\":-3}\n"
        "{\"prompt\":\"p\",\"answer\":\"1e3\"}");
    cr_assert_eq(sweep_prompts_read(&prompts, &files, &none), EXIT_DONE);
    cr_assert_eq(prompts.count, 3);
    const int32_t ids[] = {3, INT32_MAX, 0};
    prompts.items[1].tokens = (struct prompt){malloc(sizeof ids), 3};
    memcpy(prompts.items[1].tokens.ids, ids, sizeof ids);
    struct store *store = begun("a.db");
    cr_assert_eq(store_add_prompts(store, &prompts), EXIT_DONE);
    cr_assert_eq(store_commit(store), EXIT_DONE);
    store_close(store);
    store = opened("a.db", STORE_READ);
    cr_assert_eq(store_load_prompts(store, &loaded), EXIT_DONE);
    cr_assert_eq(loaded.count, 3);
    const struct sweep_prompt *p = loaded.items;
    cr_expect(strcmp(p[0].id, "7") == 0 && strcmp(p[1].id, "4") == 0 && strcmp(p[2].id, "5") == 0);
    cr_expect_str_eq(p[0].text, "one\n\"two\" \xC3\xBC");
    cr_expect(p[0].reference_count == 1 && p[0].choice_count == 0 && strcmp(p[0].references[0], "r") == 0);
    cr_expect_str_eq(p[0].answer, "0.1");
    cr_expect_null(p[0].test);
    cr_expect_str_empty(p[1].text);
    cr_expect(p[1].choice_count == 2 && strcmp(p[1].choices[0], "a") == 0 && strcmp(p[1].choices[1], "") == 0);
    cr_expect(p[1].reference_count == 2 && strcmp(p[1].references[1], "y") == 0);
    cr_expect(strcmp(p[1].answer, "-3") == 0 && strcmp(p[1].test, "t\n") == 0);
    cr_expect(p[1].tokens.count == 3 && memcmp(p[1].tokens.ids, ids, sizeof ids) == 0);
    cr_expect_str_eq(p[2].answer, "1e3");
    cr_expect(p[2].tokens.count == 0);
    sweep_prompts_free(&loaded);
    sweep_prompts_free(&prompts);
    store_close(store);
}

static bool same_float(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

Test(store, samples_come_back_as_they_were) {
    static const char odd[] = "nul \0 and \xFF\xC3 and \xF0\x9F\x8E\x89";
    const int32_t tokens[] = {0, 99, 5, 6, 7, 8, 9, 10, 11};
    struct sample_set set;
    struct store *store = begun("a.db");
    cr_assert_eq(write_sample(store, 0, 1, 4, tokens, 9, odd, sizeof odd - 1), EXIT_DONE);
    cr_assert_eq(write_sample(store, 0, 0, 1048575, NULL, 0, NULL, 0), EXIT_DONE);
    cr_assert_eq(write_sample(store, 1, 0, 0, tokens, 1, "x", 1), EXIT_DONE);
    const struct sample_record verdict = {.prompt = 0, .point = 1, .sample = 4, .verdict = 1, .fork = 9};
    cr_assert_eq(store_set_verdict(store, &verdict, odd, sizeof odd - 1), EXIT_DONE);
    cr_assert_eq(store_set_fork(store, &verdict), EXIT_DONE);
    cr_assert_eq(store_commit(store), EXIT_DONE);
    store_close(store);
    store = opened("a.db", STORE_READ);
    cr_assert_eq(store_load_samples(store, 0, &set), EXIT_DONE);
    cr_assert_eq(set.count, 2);
    const struct sample_record *empty = &set.items[0], *full = &set.items[1];
    cr_expect(empty->prompt == 0 && empty->point == 0 && empty->sample == 1048575);
    cr_expect(empty->token_count == 0 && empty->text_length == 0 && empty->finish == TEMPERA_FINISH_ERROR);
    cr_expect_str_eq(empty->error, "no token survived");
    cr_expect(empty->fork == FORK_UNKNOWN && empty->verdict == -1);
    cr_expect(full->point == 1 && full->sample == 4 && full->finish == TEMPERA_FINISH_EOS && !full->error[0]);
    cr_expect(full->text_length == sizeof odd - 1 && memcmp(full->text, odd, sizeof odd - 1) == 0);
    cr_expect(full->token_count == 9 && memcmp(full->tokens, tokens, sizeof tokens) == 0);
    cr_expect(full->fork == 9 && full->verdict == 1);
    for (size_t i = 0; i < 9; i++) {
        cr_expect(same_float(full->logprob[i], -0.1F * (float)(i + 1)));
        cr_expect(same_float(full->final_logprob[i], i == 1 ? -INFINITY : -0.3F));
        cr_expect(i == 2 ? isnan(full->entropy[i]) : same_float(full->entropy[i], 1.5F));
        cr_expect(same_float(full->kept_mass[i], 0.1F));
        cr_expect_eq(full->kept[i], i == 0 ? INT32_MAX : (int32_t)i);
        cr_expect_eq(full->greedy[i], i % 3 != 0 && i != 4, "%zu", i);
    }
    size_t first;
    cr_expect(sample_set_point(&set, 1, &first) == 1 && first == 1);
    cr_expect(sample_set_point(&set, 2, &first) == 0);
    sample_set_free(&set);
    cr_assert_eq(store_load_samples(store, 7, &set), EXIT_DONE);
    cr_expect_eq(set.count, 0);
    sample_set_free(&set);
    store_close(store);
    cr_expect_eq(db_number("a.db", "SELECT hex(output) = hex(text) FROM samples WHERE point = 1"), 1);
    cr_expect_eq(
        db_number("a.db",
                  "SELECT typeof(text) = 'blob' AND length(text) = 0 FROM samples WHERE prompt = 0 AND point = 0"),
        1);
}

/* The blob as the header describes it, byte by byte. */
Test(store, the_blob_is_little_endian_columns) {
    const int32_t tokens[] = {1, 2}, top[] = {2, 2};
    const tempera_token_stat stats[] = {{.logprob = -1,
                                         .final_logprob = -0.5F,
                                         .entropy = 2,
                                         .kept_mass = 0.25F,
                                         .kept = 258,
                                         .top_count = 1,
                                         .top_token = &top[0]},
                                        {.logprob = -2,
                                         .final_logprob = 0,
                                         .entropy = 1,
                                         .kept_mass = 1,
                                         .kept = 1,
                                         .top_count = 1,
                                         .top_token = &top[1]}};
    static const unsigned char wanted[] = {0, 0, 0x80, 0xBF, 0, 0,    0, 0xC0, 0,    0,    0, 0xBF, 0,    0,
                                           0, 0, 0,    0,    0, 0x40, 0, 0,    0x80, 0x3F, 0, 0,    0x80, 0x3E,
                                           0, 0, 0x80, 0x3F, 2, 1,    0, 0,    1,    0,    0, 0,    2};
    struct strbuf blob = {0};
    stats_blob_write(&blob, stats, tokens, 2);
    cr_assert_eq(blob.length, sizeof wanted);
    cr_assert_eq(stats_blob_size(2), sizeof wanted);
    cr_expect_eq(memcmp(blob.data, wanted, sizeof wanted), 0);
    strbuf_free(&blob);
}

Test(store, the_runs_add_up) {
    struct run_record total;
    const struct run_record run = {.build = "b",
                                   .command = "tempera sweep run",
                                   .seconds = 1.5,
                                   .samples = 3,
                                   .generated_tokens = 4,
                                   .row_steps = 2,
                                   .prompt_tokens = 1};
    struct store *store = begun("a.db");
    cr_assert_eq(store_load_runs(store, &total), EXIT_DONE);
    cr_expect(total.samples == 0 && total.seconds == 0);
    cr_assert_eq(store_add_run(store, &run), EXIT_DONE);
    cr_assert_eq(store_add_run(store, &run), EXIT_DONE);
    cr_assert_eq(store_load_runs(store, &total), EXIT_DONE);
    cr_expect(total.seconds == 3 && total.samples == 6 && total.generated_tokens == 8 && total.row_steps == 4 &&
              total.prompt_tokens == 2);
    store_close(store); /* rolls back */
    store = opened("a.db", STORE_CREATE);
    cr_assert_eq(store_load_runs(store, &total), EXIT_DONE);
    cr_expect_eq(total.samples, 0);
    store_close(store);
    expect_complaint(open_for_writing, "a.db", "a.db: holds no sweep");
    expect_complaint(load_everything, "b.db", "b.db: No such file");
}

/* ---- writers and readers ---- */

Test(store, one_writer_and_any_readers) {
    const int32_t token = 3;
    int64_t count;
    struct store *writer = begun("a.db");
    cr_assert_eq(store_commit(writer), EXIT_DONE);
    cr_assert_eq(store_begin(writer), EXIT_DONE);
    cr_assert_eq(write_sample(writer, 0, 0, 0, &token, 1, "x", 1), EXIT_DONE);
    expect_complaint(open_for_writing, "a.db", "a.db: another process is writing to it");
    SWEEP_REFUSED(1, "a.db: another process is writing to it", "run", "-q", "-p", "x", "-o", "a.db");
    SWEEP("diff", "a.db", "a.db");
    struct store *reader = opened("a.db", STORE_READ);
    cr_assert_eq(store_count_samples(reader, &count), EXIT_DONE);
    cr_expect_eq(count, 0);
    cr_assert_eq(store_commit(writer), EXIT_DONE);
    cr_assert_eq(store_count_samples(reader, &count), EXIT_DONE);
    cr_expect_eq(count, 1);
    store_close(reader);
    store_close(writer);
    cr_expect_eq(open_for_writing((void *)(uintptr_t) "a.db"), EXIT_DONE);
}

/* ---- damage ---- */

Test(store, rows_that_contradict_themselves_are_refused) {
    static const struct {
        const char *sql, *part;
    } damage[] = {
        {"UPDATE samples SET tokens = x'010203'", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET tokens = x''", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET tokens = x'64000000' || substr(tokens, 5)", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET tokens = x'FFFFFFFF' || substr(tokens, 5)", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET stats = substr(stats, 2)", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET stats = stats || x'00'", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET stats = 7", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET finish = 'gone'", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET fork = 4", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET fork = -1", "sample 5 of prompt 0 and point 2 is damaged"},
        {"UPDATE samples SET sample = -1", "is damaged"},
        {"DELETE FROM manifest WHERE key = 'vocab_size'", "no vocab_size"},
        {"UPDATE manifest SET value = 'many' WHERE key = 'vocab_size'", "no vocab_size"},
        {"UPDATE points SET temperature = -1", "point 0 is damaged"},
        {"UPDATE points SET temperature = 'warm'", "point 0 is damaged"},
        {"UPDATE points SET seed = '18446744073709551616'", "point 0 is damaged"},
        {"UPDATE points SET sampling_order = 'backwards'", "point 0 is damaged"},
        {"UPDATE points SET samples = -1", "point 0 is damaged"},
        {"UPDATE prompts SET prompt = 3", "prompt 0 is damaged"},
        {"UPDATE prompts SET choices = '{}'", "prompt 0 is damaged"},
        {"UPDATE prompts SET reference = '[1]'", "prompt 0 is damaged"},
        {"UPDATE prompts SET tokens = x'01'", "prompt 0 is damaged"},
        {"DROP TABLE samples", "no such table: samples"},
        {"DROP TABLE points", "no such table: points"},
    };
    const char *settings[] = {"top_k=3"};
    const char *texts[] = {"x"};
    const int32_t tokens[] = {7, 8, 9};
    int32_t number;
    struct sweep_prompts prompts;
    struct point_list list = make_points(settings, 1);
    cr_assert_eq(sweep_prompts_read(&prompts, &(struct text_list){NULL, 0}, &(struct text_list){texts, 1}), EXIT_DONE);
    struct store *store = begun("whole.db");
    cr_assert_eq(store_add_prompts(store, &prompts), EXIT_DONE);
    cr_assert_eq(store_add_points(store, &list, &number), EXIT_DONE);
    cr_assert_eq(write_sample(store, 0, 2, 5, tokens, 3, "abc", 3), EXIT_DONE);
    cr_assert_eq(store_commit(store), EXIT_DONE);
    store_close(store);
    cr_assert_eq(load_everything((void *)(uintptr_t) "whole.db"), EXIT_DONE);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        copy_file("whole.db", "a.db");
        db_execute("a.db", damage[i].sql);
        expect_complaint(load_everything, "a.db", damage[i].part);
    }
    sweep_prompts_free(&prompts);
    point_list_free(&list);
}

/* Every page in turn is overwritten: nothing crashes, and what is said is one line; a database whose pages still fit
 * together is found to differ, never identical. */
Test(store, damaged_pages_are_noticed) {
    enum { PAGE = 4096 };
    size_t length, refused = 0;
    uint64_t state = 5;
    SWEEP("run", "-q", "--no-stats", "-p", "Once", "-p", "Two", "--grid", "temperature=0.5,1 top_p=0.5,1", "--samples",
          "8", "--max-tokens", "24", "-o", "whole.db");
    char *whole = read_file_text("whole.db", &length);
    cr_assert(length % PAGE == 0 && length / PAGE >= 12, "%zu bytes", length);
    for (size_t page = 0; page < length / PAGE; page++) {
        FILE *file = fopen("a.db", "wb");
        char *copy = malloc(length);
        memcpy(copy, whole, length);
        for (size_t i = 0; i < PAGE; i++) copy[page * PAGE + i] = (char)next_random(&state);
        fwrite(copy, 1, length, file);
        fclose(file);
        free(copy);
        struct cli run = cli(NULL, "sweep", "diff", "a.db", "whole.db", NULL);
        cr_expect_eq(run.status, 1, "page %zu: status %d", page, run.status);
        if (run.out_length == 0) {
            refused++;
            cr_expect(cli_one_line(run.err) && strstr(run.err, "a.db: "), "page %zu: %s", page, run.err);
        } else {
            cr_expect(!*run.err && strstr(run.out, "rows only in the first"), "page %zu: %s%s", page, run.out, run.err);
        }
        cli_free(&run);
        int status;
        char *text = complaints(load_everything, (void *)(uintptr_t) "a.db", &status);
        cr_expect(status ? cli_one_line(text) : !*text, "page %zu: %d %s", page, status, text);
        free(text);
        text = complaints(open_for_writing, (void *)(uintptr_t) "a.db", &status);
        cr_expect(status ? cli_one_line(text) : !*text, "page %zu: %d %s", page, status, text);
        free(text);
    }
    cr_expect(refused * 2 > length / PAGE, "%zu of %zu", refused, length / PAGE); /* overflow pages hold bytes only */
    /* Cut short. */
    cr_assert_eq(truncate("whole.db", (off_t)(length / 2)), 0);
    expect_complaint(open_for_writing, "whole.db", "whole.db: ");
    free(whole);
}

/* ---- forks ---- */

struct text_tokens {
    int32_t tokens[MOST_TOKENS];
    size_t count;
};

static int32_t naive_fork(const struct text_tokens *all, size_t count, size_t of) {
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;
        while (n < all[i].count && n < all[of].count && all[i].tokens[n] == all[of].tokens[n]) n++;
        if (i != of && n > longest) longest = n;
    }
    return (int32_t)longest;
}

static void expect_forks(struct store *store, int32_t prompt, const struct text_tokens *all, size_t count,
                         size_t points) {
    struct sample_set set;
    cr_assert_eq(forks_update(store, prompt), EXIT_DONE);
    cr_assert_eq(store_load_samples(store, prompt, &set), EXIT_DONE);
    cr_assert_eq(set.count, count);
    for (size_t i = 0; i < count; i++) {
        size_t which = (size_t)set.items[i].sample * points + (size_t)set.items[i].point;
        cr_expect_eq(set.items[i].fork, naive_fork(all, count, which), "prompt %d, sample %zu", (int)prompt, which);
    }
    sample_set_free(&set);
}

Test(store, forks_are_the_longest_shared_prefixes) {
    enum { TRIES = 300, POINTS = 3, MOST = 40 };
    struct text_tokens all[MOST];
    uint64_t state = 77;
    struct store *store = begun("a.db");
    for (int32_t prompt = 0; prompt < TRIES; prompt++) {
        size_t count = prompt < 3 ? (size_t)prompt : 1 + next_random(&state) % MOST, half = count / 2;
        uint32_t words = 1 + next_random(&state) % 4, most = next_random(&state) % (MOST_TOKENS + 1);
        for (size_t i = 0; i < count; i++) {
            all[i].count = next_random(&state) % (most + 1);
            for (size_t k = 0; k < all[i].count; k++) all[i].tokens[k] = (int32_t)(next_random(&state) % words);
            if (i == half) expect_forks(store, prompt, all, half, POINTS); /* more come later */
            cr_assert_eq(write_sample(store, prompt, (int32_t)(i % POINTS), (int32_t)(i / POINTS), all[i].tokens,
                                      all[i].count, "", 0),
                         EXIT_DONE);
        }
        expect_forks(store, prompt, all, count, POINTS);
    }
    store_close(store);
}
