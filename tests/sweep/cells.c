/* cells.c: cells for the tests of metrics. */
#include "cells.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "input.h"
#include "strbuf.h"

cJSON *read_fixture(const char *name) {
    struct strbuf path = {0};
    struct text text;
    strbuf_printf(&path, "%s/sweep/fixtures/%s", TEMPERA_TEST_DIR, name);
    cr_assert_eq(read_text(path.data, &text), 0);
    cJSON *json = cJSON_ParseWithLength(text.bytes, text.length);
    cr_assert_not_null(json, "%s is not JSON", path.data);
    strbuf_free(&path);
    return json;
}

struct cell *cell_new(size_t count) {
    struct cell *cell = xarray(1, sizeof *cell);
    struct sample_record *samples = xarray(count, sizeof *samples);
    for (size_t s = 0; s < count; s++)
        samples[s] = (struct sample_record){.error = "", .sample = (int32_t)s, .fork = FORK_UNKNOWN, .verdict = -1};
    *cell = (struct cell){samples, count, xarray(1, sizeof *cell->prompt), 50257};
    return cell;
}

struct sample_record *cell_sample(struct cell *cell, size_t sample) {
    return (struct sample_record *)&cell->samples[sample];
}

struct sweep_prompt *cell_prompt(struct cell *cell) {
    return (struct sweep_prompt *)cell->prompt;
}

void sample_set_tokens(struct sample_record *sample, const int32_t *tokens, size_t count) {
    int32_t *copy = xarray(count, sizeof *copy);
    if (count) memcpy(copy, tokens, count * sizeof *copy);
    sample->tokens = copy;
    sample->token_count = count;
    sample->logprob = xarray(count, sizeof(float));
    sample->final_logprob = xarray(count, sizeof(float));
    sample->entropy = xarray(count, sizeof(float));
    sample->kept_mass = xarray(count, sizeof(float));
    sample->kept = xarray(count, sizeof(int32_t));
    sample->greedy = xarray(count, 1);
}

void sample_set_text(struct sample_record *sample, const char *text) {
    sample->text = text;
    sample->text_length = strlen(text);
}

uint32_t next_random(uint64_t *state) { /* Knuth's MMIX generator, its upper half */
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* ---- JSON ---- */

static size_t size_of(const cJSON *array) {
    return (size_t)cJSON_GetArraySize(array);
}

static char **texts(const cJSON *array, size_t *count) {
    char **list = xarray(size_of(array), sizeof *list);
    *count = 0;
    for (const cJSON *i = array ? array->child : NULL; i; i = i->next)
        list[(*count)++] = xdup(i->valuestring, strlen(i->valuestring));
    return list;
}

/* The numbers of a member, 0 where it is absent. */
static double *numbers(const cJSON *json, const char *name, size_t count) {
    double *list = xarray(count, sizeof *list);
    const cJSON *array = cJSON_GetObjectItem(json, name);
    size_t n = 0;
    for (const cJSON *i = array ? array->child : NULL; i; i = i->next) list[n++] = i->valuedouble;
    cr_assert(n == 0 || n == count);
    return list;
}

static float *floats(const cJSON *json, const char *name, size_t count) {
    double *list = numbers(json, name, count);
    float *copy = xarray(count, sizeof *copy);
    for (size_t i = 0; i < count; i++) copy[i] = (float)list[i];
    return copy;
}

static void read_sample_text(struct sample_record *sample, const cJSON *json) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(json, "text"));
    const char *hex = cJSON_GetStringValue(cJSON_GetObjectItem(json, "hex"));
    if (text) sample_set_text(sample, xdup(text, strlen(text)));
    if (!hex) return;
    char *bytes = xalloc(strlen(hex) / 2 + 1);
    for (size_t i = 0; i < strlen(hex) / 2; i++) {
        unsigned byte;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (char)byte;
    }
    sample->text = bytes;
    sample->text_length = strlen(hex) / 2;
}

static void read_sample(struct sample_record *sample, const cJSON *json) {
    size_t n = size_of(cJSON_GetObjectItem(json, "tokens"));
    double *tokens = numbers(json, "tokens", n), *kept = numbers(json, "kept", n), *greedy = numbers(json, "greedy", n);
    int32_t *tokens_int = xarray(n, sizeof *tokens_int), *kept_int = xarray(n, sizeof *kept_int);
    uint8_t *greedy_int = xarray(n, sizeof *greedy_int);
    for (size_t i = 0; i < n; i++) {
        tokens_int[i] = (int32_t)tokens[i];
        kept_int[i] = (int32_t)kept[i];
        greedy_int[i] = (uint8_t)greedy[i];
    }
    sample->tokens = tokens_int;
    sample->token_count = n;
    sample->kept = kept_int;
    sample->greedy = greedy_int;
    sample->logprob = floats(json, "logprob", n);
    sample->final_logprob = floats(json, "final_logprob", n);
    sample->entropy = floats(json, "entropy", n);
    sample->kept_mass = floats(json, "kept_mass", n);
    read_sample_text(sample, json);
    const char *finish = cJSON_GetStringValue(cJSON_GetObjectItem(json, "finish"));
    for (int f = 0; finish && f <= TEMPERA_FINISH_ERROR; f++)
        if (strcmp(finish, tempera_finish_name((tempera_finish)f)) == 0) sample->finish = (tempera_finish)f;
    const cJSON *verdict = cJSON_GetObjectItem(json, "verdict");
    if (verdict) sample->verdict = verdict->valueint;
}

struct cell *cell_from_json(const cJSON *json) {
    const cJSON *samples = cJSON_GetObjectItem(json, "samples");
    struct cell *cell = cell_new(size_of(samples));
    struct sweep_prompt *prompt = cell_prompt(cell);
    const cJSON *vocab = cJSON_GetObjectItem(json, "vocab");
    const char *answer = cJSON_GetStringValue(cJSON_GetObjectItem(json, "answer"));
    if (vocab) cell->vocab_size = vocab->valueint;
    if (answer) prompt->answer = xdup(answer, strlen(answer));
    prompt->references = texts(cJSON_GetObjectItem(json, "references"), &prompt->reference_count);
    prompt->choices = texts(cJSON_GetObjectItem(json, "choices"), &prompt->choice_count);
    size_t s = 0;
    for (const cJSON *i = samples->child; i; i = i->next) read_sample(cell_sample(cell, s++), i);
    return cell;
}
