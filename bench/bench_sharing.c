/* bench_sharing.c: what rows that settings share save, in row-steps and in time, and what shared noise saves in samples.
 *
 *     bench_sharing [--model DIR | --random SHAPE] [--device NAME] [--dtype NAME] [--threads N] [--rows N]
 *                   [--branches N] [--samples N] [--repeat N] [--heat F] [--only steps|time|variance] [--clock wall|cpu]
 *
 * The grid is the design's: 8 temperatures (0.2 … 1.6) × 8 top_p (0.3 … 1.0), 16 and 64 tokens, end-of-text ignored.
 *   steps     row-steps of a request of `samples` samples per setting, against one row for each sample.
 *   time      the same, shared and unshared in turn, from a prompt of one token, so that no run is measured by its
 *             prompts; and what the shared run would take if each of its steps cost what an unshared step of as many rows
 *             costs: the rest is the price of drawing for many branches of few rows.
 *   variance  of the difference between neighbouring settings over 160 samples, with independent and with common noise;
 *             mean of `repeat` seeds.
 * `--heat F` multiplies the temperatures: random weights give flat distributions, which F = 0.1 sharpens.
 * `--clock cpu` counts processor time: with one thread the ratios hold on a busy machine. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tempera/tempera.h"
#include "timing.h"

enum { GRID = 64, PAIR_SAMPLES = 160, MOST_TOKENS = 64, MOST_REPEATS = 64 };

struct bench {
    const char *folder, *shape, *only;
    tempera_engine_options options;
    int32_t samples, repeat;
    float heat;
    tempera_model *model;
    int32_t *prompt;
    size_t prompt_count;
};

static clockid_t bench_clock = CLOCK_MONOTONIC;

static double now(void) {
    return clock_seconds(bench_clock);
}

static void set_grid(const struct bench *b, tempera_sampling *grid, int32_t tokens, int32_t n) {
    for (int s = 0; s < GRID; s++) {
        grid[s] = tempera_sampling_default();
        grid[s].temperature = b->heat * (0.2f + 0.2f * (float)(s % 8));
        grid[s].top_p = 0.3f + 0.1f * (float)(s / 8);
        grid[s].max_tokens = tokens;
        grid[s].n = n;
        grid[s].logprobs = 1;
        grid[s].ignore_eos = true;
    }
}

static tempera_engine *open_engine(const struct bench *b, bool unshared) {
    tempera_engine *engine;
    tempera_engine_options options = b->options;
    options.unshared = unshared;
    MUST(tempera_engine_open(b->model, &options, &engine, err));
    return engine;
}

static void submit(const struct bench *b, tempera_engine *engine, size_t prompt_count, const tempera_sampling *settings,
                   size_t count, void (*on_sample)(const tempera_sample *), void *user) {
    tempera_request request = {.prompt = b->prompt,
                               .prompt_count = prompt_count,
                               .settings = settings,
                               .setting_count = count,
                               .user = user,
                               .on_sample = on_sample};
    MUST(tempera_submit(engine, &request, NULL, err));
}

/* ---- steps --------------------------------------------------------------------------------------------------------- */

static void bench_steps(const struct bench *b) {
    tempera_sampling grid[GRID];
    for (int32_t tokens = 16; tokens <= MOST_TOKENS; tokens *= 4) {
        tempera_engine *engine = open_engine(b, false);
        tempera_stats stats;
        double start = now();
        set_grid(b, grid, tokens, b->samples);
        submit(b, engine, b->prompt_count, grid, GRID, NULL, NULL);
        MUST(tempera_run(engine, err));
        double seconds = now() - start;
        tempera_stats_get(engine, &stats);
        printf("%d settings x %d samples x %d tokens: %.2f times fewer row-steps (%llu for %llu tokens), %.1f rows a "
               "step, "
               "%llu recomputed, %llu preemptions, %d pages at most, %.2f s\n",
               GRID, b->samples, tokens, (double)stats.generated_tokens / (double)stats.row_steps,
               (unsigned long long)stats.row_steps, (unsigned long long)stats.generated_tokens,
               (double)stats.row_steps / (double)stats.steps, (unsigned long long)stats.recomputed_tokens,
               (unsigned long long)stats.preemptions, stats.pages_peak, seconds);
        tempera_engine_close(engine);
    }
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

/* Seconds of a run by the number of rows in a step. */
struct profile {
    double total, seconds[GRID + 1];
    uint64_t steps[GRID + 1], row_steps;
};

static struct profile run_steps(const struct bench *b, tempera_engine *engine, const tempera_sampling *settings,
                                size_t count) {
    struct profile p = {0};
    tempera_stats before, after;
    submit(b, engine, 1, settings, count, NULL, NULL);
    tempera_stats_get(engine, &before);
    double start = now(), last = start;
    for (bool active = true; active;) {
        MUST(tempera_step(engine, &active, err));
        tempera_stats_get(engine, &after);
        double time = now();
        uint64_t rows = after.row_steps - before.row_steps;
        p.row_steps += rows;
        p.steps[rows <= GRID ? rows : GRID]++;
        p.seconds[rows <= GRID ? rows : GRID] += time - last;
        last = time;
        before = after;
    }
    p.total = last - start;
    return p;
}

/* Seconds that a step of 1 … GRID rows takes, one branch each: measured at powers of two, straight lines between. */
static void measure_steps(const struct bench *b, tempera_engine *unshared, double cost[GRID + 1]) {
    enum { STEPS = 8 };
    tempera_sampling grid[GRID];
    double taken[MOST_REPEATS];
    int32_t last = 0;
    cost[0] = 0;
    for (int32_t rows = 1; rows <= GRID; rows *= 2) {
        for (int32_t r = 0; r < b->repeat; r++) {
            set_grid(b, grid, STEPS, 1);
            struct profile p = run_steps(b, unshared, grid + (GRID - rows), (size_t)rows); /* the hottest ones */
            taken[r] = p.seconds[rows] / (double)p.steps[rows];
        }
        cost[rows] = median(taken, (size_t)b->repeat);
        for (int32_t i = last + 1; i < rows; i++) {
            cost[i] = cost[last] + (cost[rows] - cost[last]) * (double)(i - last) / (double)(rows - last);
        }
        last = rows;
    }
}

static void bench_time(const struct bench *b) {
    tempera_sampling grid[GRID];
    double cost[GRID + 1], taken[2][MOST_REPEATS];
    tempera_engine *engine[2] = {open_engine(b, false), open_engine(b, true)};
    measure_steps(b, engine[1], cost);
    printf("a step of unshared rows, ms a row:");
    for (int32_t rows = 1; rows <= GRID; rows *= 2) printf("  %d: %.3f", rows, cost[rows] * 1e3 / rows);
    printf("\n");
    for (int32_t tokens = 16; tokens <= MOST_TOKENS; tokens *= 4) {
        struct profile p[2];
        double floor = 0;
        set_grid(b, grid, tokens, b->samples);
        for (int32_t r = 0; r < b->repeat; r++) {
            for (int way = 0; way < 2; way++) {
                p[way] = run_steps(b, engine[way], grid, GRID);
                taken[way][r] = p[way].total;
            }
        }
        for (int32_t rows = 1; rows <= GRID; rows++) floor += cost[rows] * (double)p[0].steps[rows];
        double shared = median(taken[0], (size_t)b->repeat), unshared = median(taken[1], (size_t)b->repeat);
        printf("%d settings x %d samples x %d tokens: row-steps %llu, unshared %llu: %.2f times fewer; %.3f s, "
               "unshared %.3f s: %.2f "
               "times less; its steps with one branch a row %.3f s: %.2f times less\n",
               GRID, b->samples, tokens, (unsigned long long)p[0].row_steps, (unsigned long long)p[1].row_steps,
               (double)p[1].row_steps / (double)p[0].row_steps, shared, unshared, unshared / shared, floor,
               unshared / floor);
    }
    tempera_engine_close(engine[0]);
    tempera_engine_close(engine[1]);
}

/* ---- variance ------------------------------------------------------------------------------------------------------ */

enum { MEAN_LOGPROB, DISTINCT_1, METRICS };

struct pair_run {
    double value[2][PAIR_SAMPLES][METRICS];
};

static void on_pair_sample(const tempera_sample *sample) {
    struct pair_run *run = sample->user;
    double *value = run->value[sample->setting_index][sample->sample_index];
    size_t distinct = 0;
    value[MEAN_LOGPROB] = 0;
    for (size_t i = 0; i < sample->token_count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++) seen |= sample->tokens[j] == sample->tokens[i];
        distinct += !seen;
        value[MEAN_LOGPROB] += (double)sample->stats[i].logprob / (double)sample->token_count;
    }
    value[DISTINCT_1] = (double)distinct / (double)sample->token_count;
}

/* Variance over the samples of the difference between the pair's settings. */
static double pair_variance(const struct pair_run *run, int metric) {
    double sum = 0, squares = 0, mean;
    for (int i = 0; i < PAIR_SAMPLES; i++) sum += run->value[1][i][metric] - run->value[0][i][metric];
    mean = sum / PAIR_SAMPLES;
    for (int i = 0; i < PAIR_SAMPLES; i++) {
        double d = run->value[1][i][metric] - run->value[0][i][metric] - mean;
        squares += d * d;
    }
    return squares / (PAIR_SAMPLES - 1);
}

static void run_pair(const struct bench *b, tempera_engine *engine, tempera_sampling pair[2], int32_t tokens,
                     bool independent, uint64_t seed, struct pair_run *run) {
    for (int s = 0; s < 2; s++) {
        pair[s].max_tokens = tokens;
        pair[s].n = PAIR_SAMPLES;
        pair[s].logprobs = 0;
        pair[s].ignore_eos = true;
        pair[s].independent = independent;
        pair[s].seed = seed;
    }
    submit(b, engine, b->prompt_count, pair, 2, on_pair_sample, run);
    MUST(tempera_run(engine, err));
}

static void bench_pair(const struct bench *b, tempera_engine *engine, const char *name, tempera_sampling pair[2]) {
    static const char *const metrics[] = {"mean log-probability", "distinct-1"};
    for (int32_t tokens = 16; tokens <= MOST_TOKENS; tokens *= 4) {
        static struct pair_run run;
        double variance[2][METRICS] = {{0}}; /* with common noise, independent */
        for (int32_t seed = 0; seed < b->repeat; seed++) {
            for (int way = 0; way < 2; way++) {
                run_pair(b, engine, pair, tokens, way == 1, (uint64_t)seed, &run);
                for (int m = 0; m < METRICS; m++) variance[way][m] += pair_variance(&run, m) / b->repeat;
            }
        }
        for (int m = 0; m < METRICS; m++) {
            printf("%s, %d tokens, %s: variance of the difference %.3g, independent %.3g: %.2f times smaller\n", name,
                   tokens, metrics[m], variance[0][m], variance[1][m], variance[1][m] / variance[0][m]);
        }
    }
}

static void bench_variance(const struct bench *b) {
    tempera_engine *engine = open_engine(b, false);
    tempera_sampling pair[2] = {tempera_sampling_default(), tempera_sampling_default()};
    pair[0].temperature = 0.8f;
    pair[1].temperature = 0.9f;
    bench_pair(b, engine, "temperature 0.8 and 0.9", pair);
    pair[0] = pair[1] = tempera_sampling_default();
    pair[0].top_p = 0.9f;
    pair[1].top_p = 0.95f;
    bench_pair(b, engine, "top_p 0.9 and 0.95", pair);
    tempera_engine_close(engine);
}

/* ---- main ---------------------------------------------------------------------------------------------------------- */

static void open_model(struct bench *b) {
    static const char text[] = "Once upon a time";
    if (b->folder) {
        MUST(tempera_model_open(b->folder, &b->model, err));
        MUST(tempera_encode(b->model, text, strlen(text), TEMPERA_ENCODE_SPECIAL, &b->prompt, &b->prompt_count, err));
        return;
    }
    static int32_t id = 100; /* random weights have no tokenizer */
    MUST(tempera_model_random(b->shape, 0, &b->model, err));
    b->prompt = &id;
    b->prompt_count = 1;
}

static int32_t number(const char *text) {
    long value = strtol(text, NULL, 10);
    if (value >= 1 && value <= 1048576) return (int32_t)value;
    fprintf(stderr, "bench_sharing: \"%s\" is no number from 1 to 1048576\n", text);
    exit(2);
}

int main(int argc, char **argv) {
    struct bench b = {.options = tempera_engine_options_default(), .samples = 1, .repeat = 3, .heat = 1};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--model") == 0) b.folder = value;
        if (strcmp(argv[i], "--random") == 0) b.shape = value;
        if (strcmp(argv[i], "--device") == 0) b.options.device = value;
        if (strcmp(argv[i], "--dtype") == 0) b.options.dtype = value;
        if (strcmp(argv[i], "--threads") == 0) b.options.threads = number(value);
        if (strcmp(argv[i], "--rows") == 0) b.options.max_rows = number(value);
        if (strcmp(argv[i], "--branches") == 0) b.options.max_branches = number(value);
        if (strcmp(argv[i], "--samples") == 0) b.samples = number(value);
        if (strcmp(argv[i], "--repeat") == 0) b.repeat = number(value);
        if (strcmp(argv[i], "--heat") == 0) b.heat = strtof(value, NULL);
        if (strcmp(argv[i], "--only") == 0) b.only = value;
        if (strcmp(argv[i], "--clock") == 0 && strcmp(value, "cpu") == 0) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    }
    if (!b.folder == !b.shape || b.repeat > MOST_REPEATS) {
        fprintf(stderr, "bench_sharing: --model DIR or --random SHAPE is needed, and at most %d repeats\n",
                MOST_REPEATS);
        return 2;
    }
    open_model(&b);
    if (!b.only || strcmp(b.only, "steps") == 0) bench_steps(&b);
    if (!b.only || strcmp(b.only, "time") == 0) bench_time(&b);
    if (!b.only || strcmp(b.only, "variance") == 0) bench_variance(&b);
    if (b.folder) tempera_free(b.prompt);
    tempera_model_close(b.model);
    return 0;
}
