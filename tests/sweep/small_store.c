/* small_store.c: databases of a few samples. */
#include "sweep/small_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

static char *printed(const char *format, double number) {
    struct strbuf text = {0};
    strbuf_printf(&text, "%s%.1f", format, number);
    return text.data;
}

static void add_samples(struct store *store, const struct small_shape *shape, const int32_t *number) {
    for (size_t prompt = 0; prompt < shape->prompts; prompt++)
        for (size_t point = 0; point < shape->points; point++)
            for (size_t sample = 0; sample < shape->samples; sample++) {
                struct small_sample *s = xarray(1, sizeof *s);
                struct strbuf blob = {0};
                *s = (struct small_sample){
                    .prompt = (int32_t)prompt, .point = (int32_t)point, .sample = (int32_t)sample};
                shape->sample(s);
                stats_blob_write(&blob, s->stats, s->tokens, s->count);
                const struct sample_record record = {.prompt = s->prompt,
                                                     .point = number[point],
                                                     .sample = s->sample,
                                                     .finish = s->finish,
                                                     .error = "",
                                                     .text = s->text,
                                                     .text_length = strlen(s->text),
                                                     .tokens = s->tokens,
                                                     .token_count = s->count,
                                                     .fork = FORK_UNKNOWN,
                                                     .verdict = -1};
                if (!s->absent) cr_assert_eq(store_add_sample(store, &record, blob.data, blob.length), 0);
                strbuf_free(&blob);
                free(s);
            }
}

void small_store_make(const char *path, const struct small_shape *shape) {
    struct store *store;
    struct sweep_prompts prompts = {.items = xarray(shape->prompts, sizeof *prompts.items), .count = shape->prompts};
    struct point_list points = {.items = xarray(shape->points, sizeof *points.items), .count = shape->points};
    int32_t *number = xarray(shape->points, sizeof *number);
    for (size_t i = 0; i < shape->prompts; i++) {
        prompts.items[i].id = printed("p", (double)i);
        prompts.items[i].text = xdup("Once upon a time", 16);
        if (shape->prompt) shape->prompt(i, &prompts.items[i]);
    }
    for (size_t i = 0; i < shape->points; i++) {
        struct sweep_point *p = &points.items[i];
        p->name = printed("t=", (double)(i + 1) / 10);
        p->key = printed("key ", (double)i);
        p->sampling = tempera_sampling_default();
        p->sampling.temperature = (float)(i + 1) / 10;
        p->sampling.top_p = 0.9f;
        p->samples = (int32_t)shape->samples;
    }
    cr_assert_eq(store_open(&store, path, STORE_CREATE), 0);
    cr_assert_eq(store_begin(store), 0);
    cr_assert_eq(store_manifest_set(store, "vocab_size", "50"), 0);
    cr_assert_eq(store_add_prompts(store, &prompts), 0);
    cr_assert_eq(store_add_points(store, &points, number), 0);
    add_samples(store, shape, number);
    cr_assert_eq(store_commit(store), 0);
    store_close(store);
    sweep_prompts_free(&prompts);
    for (size_t i = 0; i < shape->points; i++) {
        free(points.items[i].name);
        free(points.items[i].key);
    }
    free(points.items);
    free(number);
}

char *small_store_path(void) {
    char folder[] = "/tmp/tempera-test-XXXXXX";
    struct strbuf path = {0};
    cr_assert(mkdtemp(folder));
    strbuf_printf(&path, "%s/runs.db", folder);
    return path.data;
}

void small_store_remove(char *path) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        struct strbuf name = {0};
        strbuf_printf(&name, "%s%s", path, suffixes[i]);
        unlink(name.data);
        strbuf_free(&name);
    }
    *strrchr(path, '/') = 0;
    rmdir(path);
    free(path);
}

/* splitmix64 of the sample's key, so that samples do not depend on the order they are made in. */
static uint64_t mix(uint64_t z) {
    z += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

void small_sample_random(struct small_sample *s) {
    uint64_t key = mix((uint64_t)s->prompt * 1000003 + (uint64_t)s->point * 1009 + (uint64_t)s->sample);
    struct strbuf text = {0};
    s->count = (size_t)(key % SMALL_TOKENS);
    s->finish = key & 64 ? TEMPERA_FINISH_EOS : TEMPERA_FINISH_LENGTH;
    for (size_t i = 0; i < s->count; i++) {
        uint64_t draw = mix(key + i + 1);
        s->tokens[i] = (int32_t)(draw % (uint64_t)(4 + 4 * s->point));
        s->stats[i].logprob = -(float)(draw >> 8 & 1023) / 256;
        s->stats[i].final_logprob = s->stats[i].logprob / 2;
        s->stats[i].entropy = (float)(draw >> 20 & 255) / 64;
        s->stats[i].kept_mass = 1 - (float)(draw >> 30 & 63) / 256;
        s->stats[i].kept = (int32_t)(1 + (draw >> 40) % SMALL_VOCAB);
        strbuf_printf(&text, "%sw%d", i ? " " : "", (int)s->tokens[i]);
    }
    snprintf(s->text, sizeof s->text, "%s", text.data ? text.data : "");
    strbuf_free(&text);
}
