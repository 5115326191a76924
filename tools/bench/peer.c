/* peer.c: llama.cpp's benchmark programs. */
#include "peer.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"

enum { WORDS = 96, NUMBERS = 8 };

/* A command line that is being made; numbers get a text of their own. */
struct words {
    const char *items[WORDS]; /* NULL after the last */
    char numbers[NUMBERS][24];
    size_t count, number_count;
};

static void add_word(struct words *words, const char *word) {
    if (words->count + 1 < WORDS) words->items[words->count++] = word;
}

static void add_option(struct words *words, const char *option, int64_t value) {
    char *number = words->numbers[words->number_count++];
    snprintf(number, sizeof words->numbers[0], "%lld", (long long)value);
    add_word(words, option);
    add_word(words, number);
}

/* ---- llama-bench: a prompt or a text of one sequence, without sampling ---- */

static void llama_bench_words(struct words *words, const struct speed_test *test) {
    add_option(words, "-p", test->kind == SPEED_PREFILL ? test->tokens : 0);
    add_option(words, "-n", test->kind == SPEED_DECODE ? test->tokens : 0);
    if (test->depth) add_option(words, "-d", test->depth); /* unknown to versions before 2025 */
    add_option(words, "-r", 1);
    add_word(words, "-o");
    add_word(words, "jsonl");
}

static double number_of(const cJSON *row, const char *name) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(row, name);
    return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

static const char *text_of(const cJSON *row, const char *name) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(row, name);
    return cJSON_IsString(value) ? value->valuestring : "";
}

static bool llama_bench_row(const cJSON *row, const struct speed_test *test, struct peer_answer *answer) {
    const char *tokens = test->kind == SPEED_PREFILL ? "n_prompt" : "n_gen";
    const char *other = test->kind == SPEED_PREFILL ? "n_gen" : "n_prompt";
    if (number_of(row, tokens) != test->tokens || number_of(row, other) != 0) return false;
    if (test->depth && number_of(row, "n_depth") != test->depth) return false;
    answer->rate = number_of(row, "avg_ts");
    answer->threads = (int64_t)fmax(number_of(row, "n_threads"), 0);
    snprintf(answer->model, sizeof answer->model, "%s", text_of(row, "model_type"));
    snprintf(answer->build, sizeof answer->build, "%s", text_of(row, "build_commit"));
    if (*text_of(row, "type_k"))
        snprintf(answer->cache, sizeof answer->cache, "%.14s/%.14s", text_of(row, "type_k"), text_of(row, "type_v"));
    return true;
}

/* ---- llama-batched-bench: several sequences that are as long as each other, without sampling ---- */

static void batched_bench_words(struct words *words, const struct speed_test *test) {
    const int64_t prompt = test->depth > 0 ? test->depth : 1;
    add_option(words, "-npp", prompt);
    add_option(words, "-ntg", test->tokens);
    add_option(words, "-npl", test->batch);
    add_option(words, "-c", (prompt + test->tokens) * test->batch);
    add_word(words, "--output-format");
    add_word(words, "jsonl");
}

static bool batched_bench_row(const cJSON *row, const struct speed_test *test, struct peer_answer *answer) {
    if (number_of(row, "tg") != test->tokens || number_of(row, "pl") != test->batch) return false;
    if (number_of(row, "pp") != (test->depth > 0 ? test->depth : 1)) return false;
    answer->rate = number_of(row, "speed_tg");
    answer->threads = (int64_t)fmax(number_of(row, "n_threads"), 0);
    return true;
}

/* ---- all of them ---- */

static const struct kind {
    const char *name;
    bool batches;
    void (*add_words)(struct words *words, const struct speed_test *test);
    /* Whether a row of its output is of the test; then fills the answer. */
    bool (*read_row)(const cJSON *row, const struct speed_test *test, struct peer_answer *answer);
    const char *differs;
} kinds[] = {
    {"llama-bench", false, llama_bench_words, llama_bench_row,
     "llama-bench times neither sampling nor detokenising, and feeds random tokens back; tempera's times include both, "
     "and its own tokens are fed back"},
    {"llama-batched-bench", true, batched_bench_words, batched_bench_row,
     "llama-batched-bench times neither sampling nor detokenising, and feeds random tokens back; tempera's times "
     "include "
     "both, and its own tokens are fed back"},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *kind_of(const char *name, size_t length) {
    for (size_t i = 0; i < KINDS; i++)
        if (strlen(kinds[i].name) == length && strncmp(kinds[i].name, name, length) == 0) return &kinds[i];
    return NULL;
}

int peer_parse(struct peer *peer, const char *text) {
    const char *equals = strchr(text, '=');
    const struct kind *kind = equals ? kind_of(text, (size_t)(equals - text)) : NULL;
    if (!kind)
        return complain(EXIT_USAGE, "--with: expected llama-bench=PATH or llama-batched-bench=PATH, got \"%s\"", text);
    peer->name = kind->name;
    peer->path = equals + 1;
    if (access(peer->path, X_OK) != 0)
        return complain(EXIT_FAILED, "--with %s: %s: %s", peer->name, peer->path, strerror(errno));
    return EXIT_DONE;
}

bool peer_runs(const struct peer *peer, const struct speed_test *test) {
    return kind_of(peer->name, strlen(peer->name))->batches == (test->batch > 1);
}

const char *peer_differs(const struct peer *peer) {
    return kind_of(peer->name, strlen(peer->name))->differs;
}

/* The first row of the test in an array, or in an object alone. */
static bool find_row(const struct kind *kind, const cJSON *value, const struct speed_test *test,
                     struct peer_answer *answer) {
    const cJSON *item;
    if (cJSON_IsObject(value)) return kind->read_row(value, test, answer);
    cJSON_ArrayForEach(item, value) {
        if (cJSON_IsObject(item) && kind->read_row(item, test, answer)) return true;
    }
    return false;
}

/* All of the output as JSON, or every line that is: other programs write notes between them. */
static bool read_output(const struct kind *kind, const struct strbuf *out, const struct speed_test *test,
                        struct peer_answer *answer) {
    if (!out->length) return false;
    cJSON *whole = cJSON_ParseWithOpts(out->data, NULL, true);
    bool found = find_row(kind, whole, test, answer);
    cJSON_Delete(whole);
    for (const char *line = out->data; !found && *line;) {
        size_t length = strcspn(line, "\n");
        cJSON *row = *line == '{' ? cJSON_ParseWithLength(line, length) : NULL;
        found = find_row(kind, row, test, answer);
        cJSON_Delete(row);
        line += length + (line[length] == '\n');
    }
    return found;
}

static int read_answer(const struct peer *peer, const struct kind *kind, const struct strbuf *out,
                       const struct speed_test *test, struct peer_answer *answer) {
    char name[PLAN_NAME];
    plan_name(name, test);
    if (!read_output(kind, out, test, answer))
        return complain(EXIT_FAILED, "--with %s: no row of %s in its output, which begins \"%.60s\"", peer->name, name,
                        out->length ? out->data : "");
    if (!(answer->rate > 0) || !isfinite(answer->rate))
        return complain(EXIT_FAILED, "--with %s: its row of %s has no rate above 0", peer->name, name);
    if (answer->threads && answer->threads != peer->threads)
        return complain(EXIT_FAILED, "--with %s: ran on %lld threads, not on %d", peer->name,
                        (long long)answer->threads, peer->threads);
    return EXIT_DONE;
}

int peer_run(const struct peer *peer, const struct speed_test *test, struct peer_answer *answer) {
    const struct kind *kind = kind_of(peer->name, strlen(peer->name));
    struct words words = {0};
    struct child child;
    char what[64];
    *answer = (struct peer_answer){0};
    snprintf(what, sizeof what, "--with %s", peer->name);
    add_word(&words, peer->path);
    add_word(&words, "-m");
    add_word(&words, peer->model);
    kind->add_words(&words, test);
    if (peer->threads > 0) add_option(&words, "-t", peer->threads);
    if (peer->cpu) add_option(&words, "-ngl", 0);
    for (size_t i = 0; i < peer->more->count; i++) add_word(&words, peer->more->items[i]);
    int status = child_run(&child, words.items, peer->time_limit, what);
    if (!status) status = read_answer(peer, kind, &child.out, test, answer);
    child_free(&child);
    return status;
}
