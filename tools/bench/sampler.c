/* sampler.c: `tempera bench sampler`: the draw alone, over vocabularies, batches and settings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "common.h"
#include "output.h"
#include "random.h"
#include "rows.h"
#include "sampling_args.h"
#include "setup.h"

struct sampler_args {
    struct common_args common;
    struct int_list vocab, batch;
    struct text_list settings;
    struct rows_args rows;
    const char *logits;
    int32_t repetitions;
};

static const struct arg draw_args[] = {
    {.name = "vocab",
     .letter = 'V',
     .kind = ARG_INTS,
     .offset = offsetof(struct sampler_args, vocab),
     .meta = "N,...",
     .text = "sizes of the vocabulary",
     .initial = "50257,128256",
     .low = 1,
     .high = 1 << 24},
    {.name = "batch",
     .letter = 'b',
     .kind = ARG_INTS,
     .offset = offsetof(struct sampler_args, batch),
     .meta = "N,...",
     .text = "rows drawn from at once",
     .initial = "1,16,64",
     .low = 1,
     .high = 65536},
    {.name = "setting",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sampler_args, settings),
     .meta = "K=V,...",
     .text =
         "how tokens are drawn, or greedy; may be repeated. Default: greedy, temperature 0.8, top_k 50, top_p 0.95, "
         "top_k 50 with top_p 0.9, min_p 0.05, typical_p 0.9, penalties"},
    {.name = "logits",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct sampler_args, logits),
     .meta = "KIND",
     .text = "peaked: a few likely tokens over a wide tail, as a language model's; flat: normal noise, of which a cut "
             "keeps most tokens; both",
     .initial = "both",
     .choices = "both|peaked|flat"},
    {.name = "repetitions",
     .letter = 'r',
     .kind = ARG_INT,
     .offset = offsetof(struct sampler_args, repetitions),
     .meta = "N",
     .text = "timed draws of each",
     .initial = "50",
     .low = 1,
     .high = 100000},
};

static const char notes[] =
    "No model runs: rows of made-up logits lie where a model would put them, and the device draws a token from each as "
    "in "
    "a step of an engine, at another position each time. Nothing is subtracted. n=64 in a setting draws 64 samples "
    "from "
    "each row. Penalties see 512 tokens.\n"
    "microseconds is the median time of one draw of all rows together; per_token divides it by rows and samples.\n"
    "JSON rows: test, vocab_size, batch, setting, logits, microseconds, per_token, mean, stddev, min, max, p90, p95, "
    "p99 "
    "(microseconds), repetitions, device, instructions, threads, build. The database's table is sampler.";

static const char examples[] =
    "  tempera bench sampler\n"
    "  tempera bench sampler -V 50257 -b 1-64*4 --setting top_p=0.95 --setting temperature=0.8,top_k=40 --threads 1\n";

static const char *const usual_settings[] = {"greedy",
                                             "temperature=0.8",
                                             "top_k=50",
                                             "top_p=0.95",
                                             "temperature=0.8,top_k=50,top_p=0.9",
                                             "min_p=0.05",
                                             "typical_p=0.9",
                                             "repetition_penalty=1.1,frequency_penalty=0.2,top_k=50"};
enum { USUAL = sizeof usual_settings / sizeof *usual_settings };

/* ---- logits ---- */

/* Standard normal numbers by Box and Muller. */
static double normal(uint64_t *state) {
    double radius = sqrt(-2 * log(random_unit(state)));
    return radius * cos(6.283185307179586 * random_unit(state));
}

/* Peaked: a tail of deviation 2.2, and 200 tokens above it whose logits fall with the logarithm of their rank, as in
 * the distributions that language models give: top_p 0.95 keeps some tens of them. */
static void fill_row(float *row, int32_t vocab_size, bool peaked, uint64_t state) {
    for (int32_t i = 0; i < vocab_size; i++) row[i] = (float)(peaked ? 2.2 * normal(&state) - 4 : normal(&state));
    for (int32_t i = 0; peaked && i < 200; i++)
        row[(int32_t)(random_unit(&state) * vocab_size)] = (float)(14 - 1.5 * log(1.0 + i) + 0.5 * normal(&state));
}

/* Rows beyond these are copies: making them would take longer than drawing from them. */
enum { DIFFERENT_ROWS = 16 };

static float *make_logits(int32_t rows, int32_t vocab_size, bool peaked) {
    size_t width = (size_t)vocab_size;
    float *logits = xarray((size_t)rows, width * sizeof *logits); /* width is at most 2^24 */
    for (int32_t r = 0; r < rows; r++) {
        float *row = logits + (size_t)r * width;
        if (r < DIFFERENT_ROWS)
            fill_row(row, vocab_size, peaked, (uint64_t)r << 32);
        else
            memcpy(row, logits + (size_t)(r % DIFFERENT_ROWS) * width, width * sizeof *row);
    }
    return logits;
}

/* ---- one measurement ---- */

static void add_row(struct rows *rows, const tempera_draws *draws, const char *kind, const double *seconds,
                    const tempera_plan *used) {
    double *microseconds = xarray((size_t)draws->repetitions, sizeof *microseconds);
    struct strbuf setting = {0};
    char name[64];
    for (int32_t i = 0; i < draws->repetitions; i++) microseconds[i] = 1e6 * seconds[i];
    const struct spread spread = spread_of(microseconds, (size_t)draws->repetitions);
    struct row *row = rows_add(rows);
    setting_describe(&setting, draws->sampling, SAMPLING_FIELDS);
    snprintf(name, sizeof name, "draw@v%d@b%d", draws->vocab_size, draws->rows);
    row_text(row, "test", name);
    row_int(row, "vocab_size", draws->vocab_size);
    row_int(row, "batch", draws->rows);
    row_text(row, "setting", setting.data);
    row_text(row, "logits", kind);
    row_real(row, "microseconds", spread.p50, 3);
    row_real(row, "per_token", spread.p50 / draws->rows / draws->sampling->n, 3);
    row_real(row, "mean", spread.mean, 3);
    row_real(row, "stddev", spread.stddev, 3);
    row_real(row, "min", spread.min, 3);
    row_real(row, "max", spread.max, 3);
    row_real(row, "p90", spread.p90, 3);
    row_real(row, "p95", spread.p95, 3);
    row_real(row, "p99", spread.p99, 3);
    row_int(row, "repetitions", draws->repetitions);
    row_text(row, "device", used->device);
    row_text(row, "device_name", used->device_name);
    row_text(row, "instructions", used->instructions);
    row_int(row, "threads", used->threads);
    row_text(row, "build", tempera_build());
    strbuf_free(&setting);
    free(microseconds);
}

static int measure(const struct sampler_args *args, const tempera_draws *draws, const char *kind, struct rows *rows) {
    tempera_engine_options options = tempera_engine_options_default();
    tempera_plan used;
    tempera_error err;
    double *seconds = xarray((size_t)draws->repetitions, sizeof *seconds);
    int status = EXIT_DONE;
    options.device = args->common.device;
    options.threads = args->common.threads;
    options.instructions = args->common.instructions;
    progress_show("%d tokens, %d rows", draws->vocab_size, draws->rows);
    if (tempera_measure_draw(&options, draws, seconds, &used, &err) != TEMPERA_OK)
        status = complain_error(&err);
    else
        add_row(rows, draws, kind, seconds, &used);
    free(seconds);
    return status;
}

/* ---- all of them ---- */

struct draw_plan {
    tempera_sampling *settings; /* [count] */
    size_t count;
};

static int read_settings(struct sampler_args *args, struct draw_plan *plan) {
    if (args->settings.count == 0)
        for (size_t i = 0; i < USUAL; i++) text_list_add(&args->settings, usual_settings[i]);
    plan->count = args->settings.count;
    plan->settings = xarray(plan->count, sizeof *plan->settings);
    for (size_t i = 0; i < plan->count; i++) {
        int status = setup_sampler(&plan->settings[i], args->settings.items[i], "--setting");
        if (status) return status;
    }
    return EXIT_DONE;
}

static int measure_rows(const struct sampler_args *args, const struct draw_plan *plan, int32_t vocab_size,
                        int32_t batch, const char *kind, struct rows *rows) {
    float *logits = make_logits(batch, vocab_size, strcmp(kind, "peaked") == 0);
    int status = EXIT_DONE;
    for (size_t i = 0; i < plan->count && !status; i++) {
        const tempera_draws draws = {.logits = logits,
                                     .rows = batch,
                                     .vocab_size = vocab_size,
                                     .sampling = &plan->settings[i],
                                     .repetitions = args->repetitions};
        status = interrupted() ? EXIT_INTERRUPTED : measure(args, &draws, kind, rows);
    }
    free(logits);
    return status;
}

static int measure_all(const struct sampler_args *args, const struct draw_plan *plan, struct rows *rows) {
    static const char *const kinds[] = {"peaked", "flat"};
    int status = EXIT_DONE;
    for (size_t v = 0; v < args->vocab.count; v++)
        for (size_t k = 0; k < 2; k++) {
            if (strcmp(args->logits, "both") != 0 && strcmp(args->logits, kinds[k]) != 0) continue;
            for (size_t b = 0; b < args->batch.count && !status; b++)
                status = measure_rows(args, plan, args->vocab.items[v], args->batch.items[b], kinds[k], rows);
        }
    progress_clear();
    return status;
}

static const struct column columns[] = {
    {.title = "setting", .name = "setting"},
    {.title = "logits", .name = "logits"},
    {.title = "vocabulary", .name = "vocab_size"},
    {.title = "rows", .name = "batch"},
    {.title = "microseconds", .name = "microseconds"},
    {.title = "per token", .name = "per_token"},
    {.title = "min", .name = "min"},
    {.title = "p90", .name = "p90"},
    {.title = "p99", .name = "p99"},
};

static int print_draws(const struct rows *rows, struct rows_view *view) {
    struct strbuf above = {0};
    if (rows->count == 0) return EXIT_DONE;
    const struct row *first = &rows->items[0];
    int64_t threads = row_find(first, "threads")->integer;
    strbuf_printf(&above, "draws alone, medians of %lld; %s %s", (long long)row_find(first, "repetitions")->integer,
                  row_find(first, "device")->text, row_find(first, "instructions")->text);
    if (threads > 0) strbuf_printf(&above, ", %lld thread%s", (long long)threads, threads == 1 ? "" : "s");
    strbuf_char(&above, '\n');
    view->above = above.data;
    int status = rows_print(rows, view);
    strbuf_free(&above);
    return status;
}

/* What was measured before Ctrl-C is printed too. */
static int sampler_run(void *user) {
    static const int32_t vocab[] = {50257, 128256}, batch[] = {1, 16, 64};
    struct sampler_args *args = user;
    struct draw_plan plan = {0};
    struct rows rows = {0};
    struct rows_view view = {.format = args->common.json ? "json" : args->rows.format,
                             .out = args->rows.out,
                             .table = "sampler",
                             .columns = {columns},
                             .counts = {sizeof columns / sizeof *columns}};
    progress_allow(!args->common.quiet);
    int_list_default(&args->vocab, vocab, 2);
    int_list_default(&args->batch, batch, 3);
    int status = read_settings(args, &plan);
    if (!status) status = rows_check(&view);
    interrupt_catch();
    if (!status) status = measure_all(args, &plan, &rows);
    if (!status || status == EXIT_INTERRUPTED) {
        int printed = print_draws(&rows, &view);
        if (!status) status = printed;
    }
    rows_free(&rows);
    free(plan.settings);
    return status;
}

int bench_sampler(int argc, char **argv) {
    struct sampler_args args = {.common = common_defaults, .rows.format = "table", .logits = "both", .repetitions = 50};
    const struct arg_command command = {.name = "bench sampler",
                                        .summary = "the draw alone, over vocabularies, batches and settings",
                                        .synopsis = "[flags]",
                                        .notes = notes,
                                        .examples = examples,
                                        .groups = {{"Draws", draw_args, sizeof draw_args / sizeof *draw_args, &args},
                                                   DEVICE_GROUP(&args.common),
                                                   {"Rows", rows_args, ROWS_ARGS, &args.rows},
                                                   OUTPUT_GROUP(&args.common)}};
    return args_run(&command, argc, argv, sampler_run, &args);
}
