/* bench_sampler.c: microseconds per draw on one thread, for vocabularies x settings x instruction sets.
 *     bench_sampler [INSTRUCTIONS]      avx512, avx2 or portable; default: all that this processor has
 * Rows: `peaked` is shaped like a language model's (a few likely tokens over a wide tail; top_p 0.95 keeps tens),
 * `flat` is standard normal noise (top_p 0.95 keeps most tokens: the worst case of a cut). Each figure is the median
 * over successive positions of this thread's processor time (other programs may take turns), logits in cache as after a
 * head; the last one is a draw's share when 64 samples ride on one row. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cpu/sampler.h"
#include "engine/settings.h"
#include "timing.h"

enum { HISTORY = 512, REPEATS = 200, BRANCHES = 64 };

static double now_us(void) {
    return clock_seconds(CLOCK_THREAD_CPUTIME_ID) * 1e6;
}

static uint64_t random_state = 1;
static double uniform(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(random_state >> 11) + 0.5) * 0x1p-53;
}
static double normal(void) {
    double radius = sqrt(-2.0 * log(uniform()));
    return radius * cos(6.283185307179586 * uniform());
}

static void fill_row(float *row, int32_t V, bool peaked) {
    for (int32_t i = 0; i < V; i++) row[i] = (float)(peaked ? 2.2 * normal() - 4.0 : normal());
    for (int32_t i = 0; peaked && i < 200; i++)
        row[(int32_t)(uniform() * V)] = (float)(14.0 - 1.5 * log(1.0 + i) + 0.5 * normal());
}

struct setting {
    const char *name, *fields[8]; /* name, value, name, value … */
};

static const struct setting settings[] = {
    {"greedy", {"temperature", "0"}},
    {"temperature 0.8", {"temperature", "0.8"}},
    {"top_k 50", {"top_k", "50"}},
    {"top_p 0.95", {"top_p", "0.95"}},
    {"top_k 50, top_p 0.9", {"top_k", "50", "top_p", "0.9", "temperature", "0.8"}},
    {"top_k 1000, top_p 0.9", {"top_k", "1000", "top_p", "0.9", "temperature", "0.8"}},
    {"min_p 0.05", {"min_p", "0.05"}},
    {"typical_p 0.9", {"typical_p", "0.9"}},
    {"dynatemp_range 0.5", {"temperature", "0.8", "dynatemp_range", "0.5"}},
    {"llama.cpp order", {"order", "llama.cpp", "top_k", "40", "top_p", "0.95", "min_p", "0.05"}},
    {"penalties", {"repetition_penalty", "1.1", "frequency_penalty", "0.2", "top_k", "50"}},
    {"logprobs 0", {"temperature", "0.8", "logprobs", "0"}},
    {"logprobs 5, top_p 0.95", {"top_p", "0.95", "logprobs", "5"}},
};

static tempera_status prepare(const struct setting *setting, struct branch_params *params, tempera_error *err) {
    tempera_sampling s = tempera_sampling_default();
    for (int i = 0; i < 8 && setting->fields[i]; i += 2)
        TRY(tempera_sampling_set(&s, setting->fields[i], setting->fields[i + 1], err));
    return branch_params_build(params, &s, 0, NULL, NULL, 0, err);
}

/* Microseconds of processor time per draw with `branches` samples of a setting on one row. */
static tempera_status measure(struct cpu_sampler *sampler, const float *row, int32_t V, const struct branch_params *p,
                              int32_t branches, double *median, struct draw_result *results, tempera_error *err) {
    static int32_t history[HISTORY + REPEATS];
    static double times[REPEATS];
    static struct branch_params params[BRANCHES];
    static struct branch_draw draws[BRANCHES];
    struct batch_view view = {.R = 1, .B = branches, .branch = draws};
    for (int i = 0; i < HISTORY + REPEATS; i++) history[i] = (i * 37) % (V < 300 ? V : 300);
    for (int32_t b = 0; b < branches; b++) {
        params[b] = *p;
        params[b].sample = b;
        draws[b] =
            (struct branch_draw){.params = &params[b], .forced = -1, .history = history, .prompt_count = HISTORY / 2};
    }
    for (int i = 0; i < REPEATS; i++) {
        for (int32_t b = 0; b < branches; b++) draws[b].history_count = HISTORY + i;
        double start = now_us();
        TRY(cpu_sampler_draw(sampler, NULL, &view, row, V, results, err));
        times[i] = (now_us() - start) / branches;
    }
    qsort(times, REPEATS, sizeof times[0], compare_doubles);
    *median = times[REPEATS / 2];
    return TEMPERA_OK;
}

/* One line of the table. */
static tempera_status measure_setting(struct cpu_sampler *sampler, const float *row, int32_t V,
                                      const struct setting *setting, const char *wanted, tempera_error *err) {
    static const char *const instructions[] = {"avx512", "avx2", "portable"};
    static struct draw_result results[BRANCHES];
    struct branch_params params;
    double median;
    const char *used = NULL;
    TRY(prepare(setting, &params, err));
    for (int k = 0; k < 3; k++) {
        if (wanted && strcmp(wanted, instructions[k]) != 0) continue;
        if (!cpu_sampler_use(sampler, instructions[k])) continue;
        if (!used) used = instructions[k];
        TRY(measure(sampler, row, V, &params, 1, &median, results, err));
        printf("  %s %7.1f", instructions[k], median);
    }
    if (!used) return fail(err, TEMPERA_INVALID_ARGUMENT, "\"%s\": not here", wanted);
    cpu_sampler_use(sampler, used);
    TRY(measure(sampler, row, V, &params, BRANCHES, &median, results, err));
    params.logprobs = 0;
    double unused;
    TRY(measure(sampler, row, V, &params, 1, &unused, results, err));
    printf("  64 on a row %7.1f  kept %d\n", median, results[0].kept);
    return TEMPERA_OK;
}

static tempera_status run(int32_t V, const char *wanted, tempera_error *err) {
    static const char *const kinds[] = {"flat", "peaked"};
    struct cpu_sampler *sampler;
    float *row = malloc((size_t)V * sizeof *row);
    if (!row) return fail_memory(err, (size_t)V * sizeof *row, "a row");
    tempera_status status = cpu_sampler_create(&sampler, V, BRANCHES, 1, 1, err);
    for (int peaked = 0; peaked < 2; peaked++) {
        fill_row(row, V, peaked);
        for (size_t i = 0; i < sizeof settings / sizeof settings[0] && status == TEMPERA_OK; i++) {
            printf("%7d  %-6s  %-22s", V, kinds[peaked], settings[i].name);
            status = measure_setting(sampler, row, V, &settings[i], wanted, err);
        }
    }
    cpu_sampler_free(sampler);
    free(row);
    return status;
}

int main(int argc, char **argv) {
    static const int32_t vocabularies[] = {32000, 50257, 128256, 262144};
    tempera_error err = {TEMPERA_OK, ""};
    printf("microseconds per draw, median of %d, one thread\n", REPEATS);
    for (size_t i = 0; i < sizeof vocabularies / sizeof vocabularies[0]; i++) {
        if (run(vocabularies[i], argc > 1 ? argv[1] : NULL, &err) == TEMPERA_OK) continue;
        fprintf(stderr, "bench_sampler: %s\n", err.message);
        return 1;
    }
    return 0;
}
