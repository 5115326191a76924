/* cmd_bench.c: which speed tests to run, on an engine sized for all of them. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "output.h"
#include "sampling_args.h"
#include "speed.h"

struct bench_args {
    struct common_args common;
    struct int_list prefill, decode, depth, batch;
    int32_t repetitions, warmup;
    const char *random, *sampler, *tokenizer, *format;
    bool startup;
};

static const struct arg bench_test_args[] = {
    {.name = "prefill",
     .letter = 'p',
     .kind = ARG_INTS,
     .offset = offsetof(struct bench_args, prefill),
     .meta = "N,...",
     .text = "tokens of the prompts to compute; 0 = no such test",
     .initial = "512",
     .low = 0,
     .high = 1 << 24},
    {.name = "decode",
     .letter = 'n',
     .kind = ARG_INTS,
     .offset = offsetof(struct bench_args, decode),
     .meta = "N,...",
     .text = "tokens to generate per sequence; 0 = no such test",
     .initial = "128",
     .low = 0,
     .high = 1 << 24},
    {.name = "batch",
     .letter = 'b',
     .kind = ARG_INTS,
     .offset = offsetof(struct bench_args, batch),
     .meta = "N,...",
     .text = "sequences to generate at once, each with a prompt of its own",
     .initial = "1,16",
     .low = 1,
     .high = 65536},
    {.name = "depth",
     .letter = 'd',
     .kind = ARG_INTS,
     .offset = offsetof(struct bench_args, depth),
     .meta = "N,...",
     .text = "tokens before the first generated one",
     .initial = "0",
     .low = 0,
     .high = 1 << 24},
    {.name = "sampler",
     .kind = ARG_TEXT,
     .offset = offsetof(struct bench_args, sampler),
     .meta = "K=V,...",
     .text = "how tokens are drawn: \"temperature=0.8,top_p=0.95\"; the model's recommendation is not used",
     .initial = "greedy"},
    {.name = "tokenizer",
     .kind = ARG_TEXT,
     .offset = offsetof(struct bench_args, tokenizer),
     .meta = "FILE",
     .text = "also time encoding and decoding this text"},
    {.name = "startup",
     .kind = ARG_FLAG,
     .offset = offsetof(struct bench_args, startup),
     .text = "also time starting the program to its first token"},
    {.name = "random",
     .kind = ARG_TEXT,
     .offset = offsetof(struct bench_args, random),
     .meta = "SHAPE",
     .text = "random weights in the place of --model: gpt2, gpt2-medium, gpt2-large, gpt2-xl, llama-1b, llama-8b, "
             "qwen2-0.5b"},
};

static const struct arg bench_how_args[] = {
    {.name = "repetitions",
     .letter = 'r',
     .kind = ARG_INT,
     .offset = offsetof(struct bench_args, repetitions),
     .meta = "N",
     .text = "timed runs of each test",
     .initial = "5",
     .low = 1,
     .high = 10000},
    {.name = "warmup",
     .letter = 'w',
     .kind = ARG_INT,
     .offset = offsetof(struct bench_args, warmup),
     .meta = "N",
     .text = "runs before them that are not counted",
     .initial = "1",
     .low = 0,
     .high = 10000},
    {.name = "format",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct bench_args, format),
     .meta = "FORMAT",
     .text = "how the rows are printed; --json is --format json",
     .initial = "table",
     .choices = "table|markdown|csv|json"},
};

static const char notes[] =
    "Tests: ppN computes a prompt of N random token ids and draws one token; tgN generates N tokens after the "
    "first; @bB does so for B different prompts at once, @dD after D tokens. Tokens per second count all "
    "sequences. Sampling, stop rules and detokenising are always part of the time.\n"
    "The ceilings, bandwidth of a streaming read and fp32 operations per second, are measured in the same run, "
    "before and after the tests (the better of the two counts). share_of_roofline is the least time that they "
    "allow over the time taken: a decode step reads every weight once and the keys and values of its context, and "
    "does two operations per weight and sequence; \"of bandwidth\" or \"of compute\" says which ceiling was the "
    "lower. A model that fits in a cache can pass 100% of bandwidth.\n"
    "JSON rows: test, unit, tokens_per_second (the mean), mean, median, stddev, min, max, samples, "
    "share_of_roofline, roofline, sampler, device, instructions, dtype, threads, build, and the measured "
    "ceilings.";

static const char examples[] =
    "  tempera bench\n"
    "  tempera bench --random gpt2 --dtype bf16 --batch 1,4,16,64 --sampler temperature=0.8,top_p=0.95\n"
    "  tempera bench --model ~/models/gpt2 -p 128,512 -n 64 --depth 0,512 --format csv > bench.csv\n";

/* ---- the tests ---- */

struct plan {
    struct speed_test *tests;
    size_t count;
};

static void add_test(struct plan *plan, struct speed_test test) {
    plan->tests = xgrow(plan->tests, plan->count + 1, sizeof *plan->tests);
    plan->tests[plan->count++] = test;
}

static void add_default(struct int_list *list, const int32_t *values, size_t count) {
    if (list->items) return;
    list->items = xarray(count, sizeof *list->items);
    memcpy(list->items, values, count * sizeof *values);
    list->count = count;
}

/* Defaults are cut to what a short context holds; the tests' names tell. Values that were given are not changed. */
static void fill_defaults(struct bench_args *args, int32_t context) {
    static const int32_t batch[] = {1, 16}, depth = 0;
    int32_t prefill = context > 512 ? 512 : context - 1;
    int32_t decode = context > 140 ? 128 : context - 12;
    if (decode < 1) decode = context > 8 ? context - 6 : 1;
    add_default(&args->prefill, &prefill, 1);
    add_default(&args->decode, &decode, 1);
    add_default(&args->batch, batch, 2);
    add_default(&args->depth, &depth, 1);
}

static void list_tests(struct plan *plan, const struct bench_args *args) {
    for (size_t i = 0; i < args->prefill.count; i++)
        if (args->prefill.items[i]) add_test(plan, (struct speed_test){SPEED_PREFILL, args->prefill.items[i], 1, 0});
    for (size_t d = 0; d < args->depth.count; d++)
        for (size_t b = 0; b < args->batch.count; b++)
            for (size_t n = 0; n < args->decode.count; n++)
                if (args->decode.items[n])
                    add_test(plan, (struct speed_test){SPEED_DECODE, args->decode.items[n], args->batch.items[b],
                                                       args->depth.items[d]});
}

/* ---- the engine ---- */

/* Context, rows and pages for the largest test; pages so that none is preempted. */
static int size_engine(const struct bench_args *args, struct session *session, const struct plan *plan,
                       tempera_engine_options *options) {
    tempera_error err;
    int32_t longest = 2, limit = session->info.context;
    *options = session_options(&args->common);
    options->no_prefix_reuse = true;
    options->max_rows = 1;
    for (size_t i = 0; i < plan->count; i++) {
        int32_t length = speed_length(&plan->tests[i], options->max_step_tokens);
        if (length > limit)
            return complain(EXIT_USAGE, "bench: a test needs %d tokens, the model's context has %d", length, limit);
        if (length > longest) longest = length;
        if (plan->tests[i].batch > options->max_rows) options->max_rows = plan->tests[i].batch;
    }
    if (options->context == 0) options->context = longest;
    if (options->context < longest)
        return complain(EXIT_USAGE, "--context: the tests need %d tokens, got %d", longest, options->context);
    if (options->max_branches < options->max_rows) options->max_branches = options->max_rows;
    if (options->kv_bytes) return EXIT_DONE;

    tempera_plan first;
    if (tempera_plan_make(session->model, options, &first, &err) != TEMPERA_OK) return complain_error(&err);
    size_t per_row = ((size_t)longest + (size_t)first.page_tokens - 1) / (size_t)first.page_tokens + 1;
    size_t pages = per_row * (size_t)options->max_rows;
    if (pages > (size_t)first.pages) options->kv_bytes = pages * (first.kv / (size_t)first.pages);
    return EXIT_DONE;
}

static int open_model(const struct bench_args *args, struct session *session) {
    tempera_error err;
    if (!args->random) return session_open(session, &args->common);
    if (args->common.model) return complain(EXIT_USAGE, "bench: --random and --model exclude each other");
    progress_show("making random weights");
    if (tempera_model_random(args->random, 1, &session->model, &err) != TEMPERA_OK) return complain_error(&err);
    tempera_model_info_get(session->model, &session->info);
    return EXIT_DONE;
}

/* ---- the run ---- */

static int make_sampler(const struct bench_args *args, tempera_sampling *sampling) {
    tempera_error err;
    *sampling = tempera_sampling_default();
    if (!args->sampler || strcmp(args->sampler, "greedy") == 0)
        sampling->temperature = 0;
    else if (!setting_overlay(sampling, NULL, args->sampler, "--sampler"))
        return EXIT_USAGE;
    if (tempera_sampling_check(sampling, 0, &err) != TEMPERA_OK) return complain_error(&err);
    return EXIT_DONE;
}

static enum speed_format format_of(const struct bench_args *args) {
    if (args->common.json || strcmp(args->format, "json") == 0) return SPEED_JSON;
    if (strcmp(args->format, "csv") == 0) return SPEED_CSV;
    return strcmp(args->format, "markdown") == 0 ? SPEED_MARKDOWN : SPEED_TABLE;
}

/* Called before and after the tests: the better of the two is the ceiling, so that something else that was busy for a
 * moment does not lower it. */
static int measure_ceilings(struct speed_setup *setup) {
    tempera_error err;
    double read, flops;
    progress_show("measuring the device's ceilings");
    if (tempera_measure(setup->session->engine, &read, &flops, &err) != TEMPERA_OK) return complain_error(&err);
    if (read > setup->read_bytes_per_second) setup->read_bytes_per_second = read;
    if (flops > setup->flops) setup->flops = flops;
    return EXIT_DONE;
}

/* Rows that were finished are printed after Ctrl-C too. */
static int run_tests(const struct bench_args *args, struct speed_setup *setup, const struct plan *plan,
                     const struct text *tokenizer_text) {
    struct speed_row *rows = xarray(plan->count + 3, sizeof *rows);
    size_t count = 0;
    int status = measure_ceilings(setup);
    for (size_t i = 0; i < plan->count && !status; i++) {
        status = speed_run(setup, &plan->tests[i], &rows[i]);
        count += !status;
    }
    if (!status && args->tokenizer) {
        status = speed_tokenizer(setup, tokenizer_text, rows + count);
        count += status ? 0 : 2;
    }
    if (!status && args->startup) {
        status = speed_startup(setup, &args->common, &rows[count]);
        count += !status;
    }
    if (!status) status = measure_ceilings(setup);
    for (size_t i = 0; i < count; i++) speed_share(setup, &rows[i]);
    progress_clear();
    if (!status || status == EXIT_INTERRUPTED) speed_print(setup, rows, count, format_of(args));
    for (size_t i = 0; i < plan->count + 3; i++) free(rows[i].samples);
    free(rows);
    return status;
}

static int run(struct bench_args *args, struct session *session, struct plan *plan, const struct text *tokenizer_text) {
    struct speed_setup setup = {.session = session, .repetitions = args->repetitions, .warmup = args->warmup};
    tempera_engine_options options;
    int status = make_sampler(args, &setup.sampling);
    if (!status) status = open_model(args, session);
    if (status) return status;
    if (args->tokenizer && session->info.tokenizer_size == 0)
        return complain(EXIT_FAILED, "--tokenizer: %s has no tokenizer", session->info.folder);
    int32_t context = args->common.context;
    fill_defaults(args, context > 0 && context < session->info.context ? context : session->info.context);
    list_tests(plan, args);
    status = size_engine(args, session, plan, &options);
    progress_show("loading %s", session->info.folder);
    if (!status) status = session_start(session, &options);
    return status ? status : run_tests(args, &setup, plan, tokenizer_text);
}

static int bench_run(void *user) {
    struct bench_args *args = user;
    struct session session = {0};
    struct plan plan = {0};
    struct text text = {0};
    progress_allow(!args->common.quiet);
    if (args->startup && args->random) return complain(EXIT_USAGE, "--startup needs a model folder, not --random");
    int status = args->tokenizer ? read_text(args->tokenizer, &text) : EXIT_DONE;
    if (!status) status = run(args, &session, &plan, &text);
    session_close(&session);
    free(plan.tests);
    free(text.bytes);
    return status;
}

int cmd_bench(int argc, char **argv) {
    struct bench_args args = {.common = common_defaults, .repetitions = 5, .warmup = 1, .format = "table"};
    const struct arg_command command = {
        .name = "bench",
        .summary = "prefill and decode speed, as shares of what the device can do",
        .synopsis = "[--model DIR | --random SHAPE] [flags]",
        .notes = notes,
        .examples = examples,
        .groups = {{"Tests", bench_test_args, sizeof bench_test_args / sizeof *bench_test_args, &args},
                   {"Runs", bench_how_args, sizeof bench_how_args / sizeof *bench_how_args, &args},
                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, bench_run, &args);
}
