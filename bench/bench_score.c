/* bench_score.c: time to score a text under one setting and under a thousand (10 temperatures x 100 filters).
 *     bench_score [MODEL] [TOKENS] [THREADS]
 * MODEL is a folder or the shape of a random model, "gpt2" unless given; 512 tokens. The kinds take turns: the plain
 * model, one setting with filters, the thousand, and the thousand with the divergence of each from the first. Medians,
 * of the clock and of processor time (which other programs disturb less; threads that wait for each other spin in it). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tempera/tempera.h"
#include "timing.h"

enum { TEMPERATURES = 10, FILTERS = 100, SETTINGS = TEMPERATURES * FILTERS, REPEATS = 7, KINDS = 4 };

static double now_ms(clockid_t clock) {
    return clock_seconds(clock) * 1e3;
}

/* Temperatures 0.2 … 2.0; filters: 10 of top_p x 10 of top_k or min_p. */
static void make_grid(tempera_sampling *settings) {
    static const int32_t top_k[] = {0, 10, 40, 200, 1000};
    static const float min_p[] = {0.01f, 0.02f, 0.05f, 0.1f, 0.2f};
    for (int i = 0; i < SETTINGS; i++) {
        int filter = i % FILTERS;
        settings[i] = tempera_sampling_default();
        settings[i].temperature = 0.2f * (float)(1 + i / FILTERS);
        settings[i].top_p = filter / 10 == 9 ? 1.0f : 0.5f + 0.05f * (float)(filter / 10);
        if (filter % 10 < 5) settings[i].top_k = top_k[filter % 10];
        if (filter % 10 >= 5) settings[i].min_p = min_p[filter % 10 - 5];
    }
}

struct text {
    tempera_engine *engine;
    int32_t *ids;
    size_t count;
    tempera_sampling *settings;  /* [SETTINGS] */
    tempera_setting_pair *pairs; /* [SETTINGS] */
    tempera_token_stat *stats;   /* [SETTINGS, count] */
    float *divergence;           /* [SETTINGS, count] */
};

static const char *const kinds[KINDS] = {"plain", "1 setting", "1000 settings", "1000 and pairs"};

static tempera_status score(const struct text *t, int kind, double *wall, double *cpu, tempera_error *err) {
    const size_t settings = kind < 2 ? 1 : SETTINGS, pairs = kind == 3 ? SETTINGS : 0;
    *wall = now_ms(CLOCK_MONOTONIC);
    *cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    tempera_status status = tempera_score_pairs(t->engine, t->ids, t->count, kind == 0 ? NULL : t->settings, settings,
                                                t->pairs, pairs, t->stats, t->divergence, err);
    *wall = now_ms(CLOCK_MONOTONIC) - *wall;
    *cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID) - *cpu;
    return status;
}

static tempera_status measure(const struct text *t, const char *model, tempera_error *err) {
    double wall[KINDS][REPEATS], cpu[KINDS][REPEATS], unused;
    for (int kind = 0; kind < KINDS; kind++) { /* pages get their memory */
        tempera_status status = score(t, kind, &unused, &unused, err);
        if (status != TEMPERA_OK) return status;
    }
    for (int i = 0; i < REPEATS; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            tempera_status status = score(t, kind, &wall[kind][i], &cpu[kind][i], err);
            if (status != TEMPERA_OK) return status;
        }
    printf("%s, %zu tokens; milliseconds by the clock and of processor time, over those of 1 setting\n", model,
           t->count);
    const double one = median(wall[1], REPEATS), one_cpu = median(cpu[1], REPEATS);
    for (int kind = 0; kind < KINDS; kind++) {
        double ms = median(wall[kind], REPEATS), cpu_ms = median(cpu[kind], REPEATS);
        printf("  %-14s %9.2f %9.2f   %5.2f x %5.2f x\n", kinds[kind], ms, cpu_ms, ms / one, cpu_ms / one_cpu);
    }
    return TEMPERA_OK;
}

static tempera_status run(const char *name, size_t count, int32_t threads, tempera_error *err) {
    tempera_model *model = NULL;
    tempera_model_info info;
    struct text t = {.count = count};
    tempera_engine_options options = tempera_engine_options_default();
    tempera_status status =
        strchr(name, '/') ? tempera_model_open(name, &model, err) : tempera_model_random(name, 1, &model, err);
    if (status != TEMPERA_OK) return status;
    tempera_model_info_get(model, &info);
    if (t.count > (size_t)info.context) t.count = (size_t)info.context;
    options.threads = threads;
    options.device = "cpu";
    status = tempera_engine_open(model, &options, &t.engine, err);
    t.ids = malloc(t.count * sizeof *t.ids);
    t.settings = malloc(SETTINGS * sizeof *t.settings);
    t.pairs = calloc(SETTINGS, sizeof *t.pairs);
    t.stats = malloc(SETTINGS * t.count * sizeof *t.stats);
    t.divergence = malloc(SETTINGS * t.count * sizeof *t.divergence);
    if (status == TEMPERA_OK && t.ids && t.settings && t.pairs && t.stats && t.divergence) {
        for (size_t i = 0; i < t.count; i++) t.ids[i] = (int32_t)((i * 7919 + 13) % (size_t)info.vocab_size);
        for (int32_t i = 0; i < SETTINGS; i++) t.pairs[i].of = i;
        make_grid(t.settings);
        status = measure(&t, name, err);
    }
    free(t.ids);
    free(t.settings);
    free(t.pairs);
    free(t.stats);
    free(t.divergence);
    tempera_engine_close(t.engine);
    tempera_model_close(model);
    return status;
}

int main(int argc, char **argv) {
    tempera_error err = {TEMPERA_OUT_OF_MEMORY, "out of memory"};
    size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 512;
    int32_t threads = argc > 3 ? (int32_t)strtol(argv[3], NULL, 10) : 0;
    if (run(argc > 1 ? argv[1] : "gpt2", count, threads, &err) == TEMPERA_OK) return 0;
    fprintf(stderr, "bench_score: %s\n", err.message);
    return 1;
}
