/* speed.c: `tempera bench`: prefill and decode, the tokenizer and the start, with their share of the ceilings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "output.h"
#include "run.h"
#include "startup.h"
#include "work.h"

struct speed_args {
    struct setup_args setup;
    struct plan_args plan;
    int32_t repetitions, warmup;
    const char *tokenizer;
    bool startup;
};

static const struct arg more_args[] = {
    {.name = "tokenizer",
     .kind = ARG_TEXT,
     .offset = offsetof(struct speed_args, tokenizer),
     .meta = "FILE",
     .text = "also time encoding and decoding this text"},
    {.name = "startup",
     .kind = ARG_FLAG,
     .offset = offsetof(struct speed_args, startup),
     .text = "also time starting the program to its first token"},
};

static const struct arg how_args[] = {
    {.name = "repetitions",
     .letter = 'r',
     .kind = ARG_INT,
     .offset = offsetof(struct speed_args, repetitions),
     .meta = "N",
     .text = "timed runs of each test",
     .initial = "5",
     .low = 1,
     .high = 10000},
    {.name = "warmup",
     .letter = 'w',
     .kind = ARG_INT,
     .offset = offsetof(struct speed_args, warmup),
     .meta = "N",
     .text = "runs before them that are not counted",
     .initial = "1",
     .low = 0,
     .high = 10000},
};

static const char notes[] =
    "Commands: tempera bench serve-like replays requests that arrive over time, tempera bench sampler times the draw "
    "alone, tempera "
    "bench compare runs llama.cpp's benchmark beside this one. Each explains itself with --help.\n"
    "Tests: ppN computes a prompt of N random token ids and draws one token; tgN generates N tokens after the "
    "first; @dD does so after D tokens that are there already, @bB for B different prompts at once. Tokens per second "
    "count all sequences. Sampling, stop rules and detokenising are always part of the time. (In front of a prompt, "
    "tokens that do not fill a page of keys are computed again, in the time and not in the count: take depths that are "
    "multiples of 64.) Ranges are FIRST-LAST, "
    "FIRST-LAST+STEP and FIRST-LAST*FACTOR (as in llama-bench), or FIRST:LAST:STEP.\n"
    "ttft: from submission to a sequence's first token, all sequences submitted together. tpot: a sequence's mean time "
    "per token after the first ones. itl: the gaps between its tokens, one by one. Seconds in the machine formats; p50 "
    "to p99 over all sequences of all runs.\n"
    "The ceilings, bandwidth of a streaming read and operations per second of the kind that products with the weights "
    "are "
    "made of (fp32, bf16 or 8-bit integers; of q4 too), are measured in the same run, "
    "before and after the tests (the better of the two counts). weight_bytes, kv_bytes and flops are what one decode "
    "step of all sequences, or one prompt, must at least read and compute: every weight once per step, keys and values "
    "of the context once per step and sequence, two operations per weight and token, four per key and head's element. "
    "share_of_bandwidth and share_of_compute put them against the ceilings; share_of_roofline is the larger. A model "
    "that fits in a cache can pass 100% of bandwidth.\n"
    "JSON rows: test, unit, tokens_per_second (the mean), mean, median, stddev, min, max, samples, "
    "share_of_roofline, roofline, tokens, batch, depth, ttft_…, tpot_…, itl_… (mean, p50, p90, p95, p99), "
    "weight_bytes, "
    "kv_bytes, flops, bytes_per_second, flops_per_second, the shares, sampler, device, instructions, dtype, threads, "
    "build, and the measured ceilings. The database's table is bench.";

static const char examples[] =
    "  tempera bench\n"
    "  tempera bench --random gpt2 --dtype bf16 -b 1-64*2 --sampler temperature=0.8,top_p=0.95\n"
    "  tempera bench --model ~/models/gpt2 -p 128-512+128 -n 64 -d 0,512 --format csv --out bench.db\n";

/* ---- one test ---- */

/* A row of the table; what is measured is tokens per second, or seconds. */
struct result {
    char name[PLAN_NAME];
    const char *unit;
    struct speed_test test;
    bool has_work;               /* test is a prefill or decode */
    double megabytes_per_second; /* of text; NaN elsewhere */
    struct measured measured;
};

struct results {
    struct result *items;
    size_t count;
};

static struct result *add_result(struct results *results) {
    results->items = xgrow(results->items, results->count + 1, sizeof *results->items);
    struct result *result = &results->items[results->count++];
    *result = (struct result){.unit = "tok/s", .megabytes_per_second = (double)NAN};
    return result;
}

/* What failed or was interrupted has no row. */
static int keep_if(struct results *results, int status) {
    if (status) measured_free(&results->items[--results->count].measured);
    return status;
}

static void show_run(const char *name, int32_t run, int32_t repetitions) {
    if (run < 0)
        progress_show("%s: warming up", name);
    else
        progress_show("%s: %d of %d", name, run + 1, repetitions);
}

static int measure_test(const struct speed_args *args, struct runner *runner, const struct speed_test *test,
                        struct results *results) {
    struct result *result = add_result(results);
    int status = EXIT_DONE;
    result->test = *test;
    result->has_work = true;
    plan_name(result->name, test);
    for (int32_t i = -args->warmup; i < args->repetitions && !status; i++) {
        show_run(result->name, i, args->repetitions);
        status = run_once(runner, test, i < 0 ? NULL : &result->measured);
    }
    return keep_if(results, status);
}

static int measure_tokenizer(const struct speed_args *args, const struct setup *setup, const struct text *text,
                             const struct prompt *ids, bool encode, struct results *results) {
    struct result *result = add_result(results);
    int status = EXIT_DONE;
    snprintf(result->name, sizeof result->name, encode ? "encode" : "decode-text");
    result->test.tokens = (int32_t)ids->count;
    result->test.batch = 1;
    for (int32_t i = 0; i < args->repetitions && !status; i++) {
        double rate = 0;
        show_run(result->name, i, args->repetitions);
        status = run_tokenizer(setup, text, ids, encode, &rate);
        samples_add(&result->measured.rates, rate * (double)ids->count);
    }
    struct spread spread = spread_of(result->measured.rates.items, result->measured.rates.count);
    result->megabytes_per_second = 1e-6 * spread.mean / (double)ids->count * (double)text->length;
    return keep_if(results, status);
}

static int measure_startup(const struct speed_args *args, const struct setup *setup, struct results *results) {
    struct result *result = add_result(results);
    int status = EXIT_DONE;
    snprintf(result->name, sizeof result->name, "startup");
    result->unit = "s";
    result->test.tokens = result->test.batch = 1;
    for (int32_t i = -args->warmup; i < args->repetitions && !status; i++) {
        double seconds = 0;
        show_run(result->name, i, args->repetitions);
        status = startup_once(setup->session.info.folder, &args->setup.common, &seconds);
        if (i >= 0) samples_add(&result->measured.rates, seconds);
    }
    return keep_if(results, status);
}

/* ---- rows ---- */

static void work_figures(struct row *row, const struct setup *setup, const struct result *result, double rate) {
    const double none = (double)NAN;
    struct work work = {none, none, none};
    struct work_share share = {none, none, none, ""};
    double times = none;
    if (result->has_work) {
        work = work_of(&setup->session, &result->test);
        share = work_share(setup, &result->test, &work, rate);
        times = work_per_second(&result->test, rate);
    }
    row_real(row, "share_of_roofline", share.roofline, 4);
    row_text(row, "roofline", share.bound);
    row_real(row, "share_of_bandwidth", share.bandwidth, 4);
    row_real(row, "share_of_compute", share.compute, 4);
    row_real(row, "weight_bytes", work.weight_bytes, 0);
    row_real(row, "kv_bytes", work.kv_bytes, 0);
    row_real(row, "flops", work.flops, 0);
    row_real(row, "bytes_per_second", (work.weight_bytes + work.kv_bytes) * times, 0);
    row_real(row, "flops_per_second", work.flops * times, 0);
}

static void add_row(struct rows *rows, const struct setup *setup, const struct result *result) {
    const struct measured *measured = &result->measured;
    const struct spread rates = spread_of(measured->rates.items, measured->rates.count);
    const struct spread ttft = spread_of(measured->ttft.items, measured->ttft.count);
    const struct spread tpot = spread_of(measured->tpot.items, measured->tpot.count);
    const struct spread itl = spread_of(measured->itl.items, measured->itl.count);
    struct row *row = rows_add(rows);
    row_text(row, "test", result->name);
    row_text(row, "unit", result->unit);
    row_real(row, "tokens_per_second", strcmp(result->unit, "s") == 0 ? (double)NAN : rates.mean, 3);
    row_real(row, "mean", rates.mean, 6);
    row_real(row, "median", rates.p50, 6);
    row_real(row, "stddev", rates.stddev, 6);
    row_real(row, "min", rates.min, 6);
    row_real(row, "max", rates.max, 6);
    row_reals(row, "samples", measured->rates.items, measured->rates.count, 6);
    work_figures(row, setup, result, rates.mean);
    row_real(row, "megabytes_per_second", result->megabytes_per_second, 3);
    row_int(row, "tokens", result->test.tokens);
    row_int(row, "batch", result->test.batch);
    row_int(row, "depth", result->test.depth);
    row_latency(row, "ttft", &ttft);
    row_latency(row, "tpot", &tpot);
    row_latency(row, "itl", &itl);
    setup_figures(row, setup);
}

static void show_share(struct strbuf *b, const struct row *row) {
    const struct figure *megabytes = row_find(row, "megabytes_per_second");
    const struct figure *share = row_find(row, "share_of_roofline");
    if (!isnan(megabytes->real))
        strbuf_printf(b, "%.2f MB/s", megabytes->real);
    else if (isnan(share->real))
        strbuf_char(b, '-');
    else
        strbuf_printf(b, "%.1f%% of %s", 100 * share->real, row_find(row, "roofline")->text);
}

/* 0: the rates, 1: the latencies. */
static const struct column rate_columns[] = {
    {.title = "test", .name = "test"},     {.title = "unit", .name = "unit"},
    {.title = "mean", .name = "mean"},     {.title = "median", .name = "median"},
    {.title = "stddev", .name = "stddev"}, {.title = "min", .name = "min"},
    {.title = "max", .name = "max"},       {.title = "share of roofline", .show = show_share},
};
static const struct column latency_columns[] = {
    {.title = "milliseconds", .name = "test"},
    {.title = "ttft p50", .name = "ttft_p50", .scale = 1e3},
    {.title = "p90", .name = "ttft_p90", .scale = 1e3},
    {.title = "p99", .name = "ttft_p99", .scale = 1e3},
    {.title = "tpot p50", .name = "tpot_p50", .scale = 1e3},
    {.title = "p90", .name = "tpot_p90", .scale = 1e3},
    {.title = "p99", .name = "tpot_p99", .scale = 1e3},
    {.title = "itl p50", .name = "itl_p50", .scale = 1e3},
    {.title = "p90", .name = "itl_p90", .scale = 1e3},
    {.title = "p95", .name = "itl_p95", .scale = 1e3},
    {.title = "p99", .name = "itl_p99", .scale = 1e3},
};

static int print_results(const struct speed_args *args, const struct setup *setup, const struct results *results,
                         struct rows_view *view) {
    struct rows rows = {0};
    struct strbuf above = {0};
    for (size_t i = 0; i < results->count; i++) add_row(&rows, setup, &results->items[i]);
    setup_describe(&above, setup);
    strbuf_printf(&above, "%d repetitions\n", args->repetitions);
    view->above = above.data;
    int status = rows_print(&rows, view);
    strbuf_free(&above);
    rows_free(&rows);
    return status;
}

/* ---- the run ---- */

static int measure_text(const struct speed_args *args, const struct setup *setup, const struct text *text,
                        struct results *results) {
    struct prompt ids = {0};
    int status = encode_text(setup->session.model, text, true, true, &ids);
    if (!status && (ids.count == 0 || ids.count > INT32_MAX))
        status = complain(EXIT_FAILED, "--tokenizer: the file has %zu tokens", ids.count);
    if (!status) status = measure_tokenizer(args, setup, text, &ids, true, results);
    if (!status) status = measure_tokenizer(args, setup, text, &ids, false, results);
    free(ids.ids);
    return status;
}

/* Rows that were finished are printed after Ctrl-C too. */
static int measure_all(const struct speed_args *args, struct setup *setup, const struct plan *plan,
                       const struct text *text, struct rows_view *view) {
    struct results results = {0};
    struct runner runner = {.setup = setup};
    int status = setup_ceilings(setup);
    for (size_t i = 0; i < plan->count && !status; i++) status = measure_test(args, &runner, &plan->tests[i], &results);
    if (!status && args->tokenizer) status = measure_text(args, setup, text, &results);
    if (!status && args->startup) status = measure_startup(args, setup, &results);
    if (!status) status = setup_ceilings(setup);
    progress_clear();
    if (!status || status == EXIT_INTERRUPTED) {
        int printed = print_results(args, setup, &results, view);
        if (!status) status = printed;
    }
    for (size_t i = 0; i < results.count; i++) measured_free(&results.items[i].measured);
    free(results.items);
    return status;
}

static int run(struct speed_args *args, struct setup *setup, const struct text *text, struct rows_view *view) {
    tempera_engine_options options;
    struct plan plan = {0};
    int status = setup_open(setup, &args->setup);
    if (status) return status;
    const tempera_model_info *info = &setup->session.info;
    if (args->tokenizer && info->tokenizer_size == 0)
        return complain(EXIT_FAILED, "--tokenizer: %s has no tokenizer", info->folder);
    int32_t context = args->setup.common.context;
    plan_make(&plan, &args->plan, context > 0 && context < info->context ? context : info->context);
    status = plan_engine(&plan, &setup->session, &args->setup.common, &options);
    if (!status) progress_show("loading %s", info->folder);
    if (!status) status = session_start(&setup->session, &options);
    if (!status) status = measure_all(args, setup, &plan, text, view);
    plan_free(&plan);
    return status;
}

static int speed_run(void *user) {
    struct speed_args *args = user;
    struct setup setup = {0};
    struct text text = {0};
    struct rows_view view = {
        .format = setup_format(&args->setup),
        .out = args->setup.rows.out,
        .table = "bench",
        .columns = {rate_columns, latency_columns},
        .counts = {sizeof rate_columns / sizeof *rate_columns, sizeof latency_columns / sizeof *latency_columns}};
    progress_allow(!args->setup.common.quiet);
    if (args->startup && args->setup.random)
        return complain(EXIT_USAGE, "--startup needs a model folder, not --random");
    int status = rows_check(&view);
    if (!status && args->tokenizer) status = read_text(args->tokenizer, &text);
    if (!status) status = run(args, &setup, &text, &view);
    setup_close(&setup);
    free(text.bytes);
    return status;
}

int bench_speed(int argc, char **argv) {
    struct speed_args args = {.setup = SETUP_DEFAULTS, .repetitions = 5, .warmup = 1};
    const struct arg_command command = {
        .name = "bench",
        .summary = "prefill and decode speed, as shares of what the device can do",
        .synopsis = "[serve-like | sampler | compare] [--model DIR | --random SHAPE] [flags]",
        .notes = notes,
        .examples = examples,
        .groups = {{"Tests", plan_args, PLAN_ARGS, &args.plan},
                   {"More tests", more_args, sizeof more_args / sizeof *more_args, &args},
                   {"Runs", how_args, sizeof how_args / sizeof *how_args, &args},
                   {"What and how", setup_model_args, 2, &args.setup},
                   {"Rows", rows_args, ROWS_ARGS, &args.setup.rows},
                   COMMON_GROUPS(&args.setup.common)}};
    return args_run(&command, argc, argv, speed_run, &args);
}
