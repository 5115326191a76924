/* serve.c: `tempera bench serve-like`: requests that arrive over time, and how long each waits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "output.h"
#include "setup.h"
#include "sweep/prompts.h"
#include "trace.h"

struct serve_args {
    struct setup_args setup;
    const char *trace, *prompts, *rate, *seed, *slo_ttft, *slo_tpot;
    int32_t requests, prompt_tokens, output_tokens, rows;
};

static const struct arg arrival_args[] = {
    {.name = "trace",
     .kind = ARG_TEXT,
     .offset = offsetof(struct serve_args, trace),
     .meta = "FILE",
     .text = "a line for each request: SECONDS PROMPT_TOKENS OUTPUT_TOKENS, or JSON; see below"},
    {.name = "rate",
     .kind = ARG_TEXT,
     .offset = offsetof(struct serve_args, rate),
     .meta = "R",
     .text = "instead: this many requests per second in the mean, as a Poisson process"},
    {.name = "requests",
     .kind = ARG_INT,
     .offset = offsetof(struct serve_args, requests),
     .meta = "N",
     .text = "with --rate: how many",
     .initial = "64",
     .low = 1,
     .high = 1 << 20},
    {.name = "seed",
     .kind = ARG_TEXT,
     .offset = offsetof(struct serve_args, seed),
     .meta = "N",
     .text = "with --rate: another seed gives other gaps",
     .initial = "0"},
    {.name = "prompts",
     .kind = ARG_TEXT,
     .offset = offsetof(struct serve_args, prompts),
     .meta = "FILE",
     .text = "with --rate: its lines (or the \"prompt\" of each line of JSON) are the prompts, in turn"},
    {.name = "prompt-tokens",
     .kind = ARG_INT,
     .offset = offsetof(struct serve_args, prompt_tokens),
     .meta = "N",
     .text = "with --rate and no --prompts: random ids, this many",
     .initial = "64",
     .low = 1,
     .high = 1 << 24},
    {.name = "output-tokens",
     .kind = ARG_INT,
     .offset = offsetof(struct serve_args, output_tokens),
     .meta = "N",
     .text = "with --rate: tokens to generate for each",
     .initial = "64",
     .low = 1,
     .high = 1 << 24},
};

static const struct arg goal_args[] = {
    {.name = "slo-ttft",
     .kind = ARG_TEXT,
     .offset = offsetof(struct serve_args, slo_ttft),
     .meta = "MS",
     .text = "a request counts for goodput when its first token came within this"},
    {.name = "slo-tpot",
     .kind = ARG_TEXT,
     .offset = offsetof(struct serve_args, slo_tpot),
     .meta = "MS",
     .text = "and when its tokens after the first took at most this each"},
    {.name = "rows",
     .kind = ARG_INT,
     .offset = offsetof(struct serve_args, rows),
     .meta = "N",
     .text = "requests computed at once; more wait",
     .initial = "64",
     .low = 1,
     .high = 65536},
};

static const char notes[] =
    "Requests are submitted when their time has come, between two steps of one engine; every one generates exactly its "
    "tokens (the end-of-text token does not end it). Prompts that share a beginning share its computation, as in every "
    "other command; reused_tokens tells how many tokens that were.\n"
    "A line of a trace is SECONDS PROMPT_TOKENS OUTPUT_TOKENS, separated by blanks or commas, for a prompt of random "
    "ids; or {\"seconds\": 0.5, \"prompt\": \"a text\", \"output_tokens\": 64} (or \"prompt_tokens\" in the place of "
    "\"prompt\"). Seconds are from the start and never fall. Empty lines and lines that begin with # are left out.\n"
    "ttft: from a request's time to its first token: encoding the prompt, waiting and computing it are in it. tpot: "
    "(time of the last token - time of the first) / (tokens - 1). itl: every gap between two tokens of a request. e2e: "
    "from a request's time to its end. goodput: completed requests per second that met both --slo-ttft and --slo-tpot "
    "(those that were given), over the time from the start to the last end.\n"
    "JSON rows: test, requests, completed, seconds, offered_per_second, requests_per_second, "
    "output_tokens_per_second, tokens_per_second (prompts included), goodput, slo_ttft, slo_tpot (seconds), slo_share, "
    "ttft_…, tpot_…, itl_…, e2e_… (mean, p50, p90, p95, p99; seconds), prompt_tokens, output_tokens, reused_tokens, "
    "preemptions, rows, and those of tempera bench about model, device and ceilings. The database's table is serve.";

static const char examples[] =
    "  tempera bench serve-like --rate 20 --requests 200 --slo-ttft 200 --slo-tpot 20\n"
    "  tempera bench serve-like --model ~/models/gpt2 --rate 4 --prompts questions.txt --output-tokens 128 "
    "--sampler temperature=0.8,top_p=0.95\n"
    "  tempera bench serve-like --random gpt2 --dtype bf16 --trace arrivals.txt --json\n";

/* ---- what is measured ---- */

struct served {
    struct serving *serving;
    const struct arrival *arrival;
    struct prompt ids; /* of a prompt without a text */
    double first, last;
    int32_t tokens;
    bool completed;
};

struct serving {
    struct setup *setup;
    struct served *requests; /* [trace.count] */
    struct trace trace;
    size_t submitted;
    double start, end; /* of the last request that ended */
    struct samples itl;
};

static void on_token(const tempera_token_event *event) {
    struct served *request = event->user;
    double now = seconds_now() - request->serving->start;
    if (request->tokens == 0)
        request->first = now;
    else
        samples_add(&request->serving->itl, now - request->last);
    request->last = now;
    request->tokens++;
}

static void on_sample(const tempera_sample *sample) {
    struct served *request = sample->user;
    request->completed = sample->finish == TEMPERA_FINISH_LENGTH;
    request->serving->end = seconds_now() - request->serving->start;
}

/* A text is encoded here: that is part of the wait. */
static int submit(struct serving *serving, struct served *request) {
    tempera_error err;
    tempera_sampling sampling = serving->setup->sampling;
    struct prompt ids = request->ids;
    int status = EXIT_DONE;
    if (request->arrival->text) {
        struct text text = {request->arrival->text, strlen(request->arrival->text)};
        status = encode_text(serving->setup->session.model, &text, false, false, &ids);
    }
    sampling.n = 1;
    sampling.ignore_eos = true;
    sampling.max_tokens = request->arrival->output_tokens;
    tempera_request r = {.prompt = ids.ids,
                         .prompt_count = ids.count,
                         .settings = &sampling,
                         .setting_count = 1,
                         .user = request,
                         .on_token = on_token,
                         .on_sample = on_sample};
    if (!status && tempera_submit(serving->setup->session.engine, &r, NULL, &err) != TEMPERA_OK)
        status = complain_error(&err);
    if (request->arrival->text) free(ids.ids);
    serving->submitted += !status;
    return status;
}

/* ---- replaying ---- */

/* Until the next arrival, at most a tenth of a second: Ctrl-C is looked for in between. */
static void wait_until(double seconds) {
    double left = seconds < 0.1 ? seconds : 0.1;
    struct timespec pause = {.tv_nsec = (long)(left * 1e9)};
    if (left > 0) nanosleep(&pause, NULL);
}

static int replay(struct serving *serving) {
    tempera_error err;
    bool active = false;
    serving->start = seconds_now();
    while (active || serving->submitted < serving->trace.count) {
        double now = seconds_now() - serving->start;
        while (serving->submitted < serving->trace.count && serving->trace.items[serving->submitted].seconds <= now) {
            int status = submit(serving, &serving->requests[serving->submitted]);
            if (status) return status;
            active = true;
        }
        progress_show("%.1f s: %zu of %zu requests have come", now, serving->submitted, serving->trace.count);
        if (interrupted()) return EXIT_INTERRUPTED;
        if (!active)
            wait_until(serving->trace.items[serving->submitted].seconds - now);
        else if (tempera_step(serving->setup->session.engine, &active, &err) != TEMPERA_OK)
            return complain_error(&err);
    }
    return interrupted() ? EXIT_INTERRUPTED : EXIT_DONE;
}

/* ---- the row ---- */

struct goals {
    double ttft, tpot; /* seconds; INFINITY: none */
};

static double tpot_of(const struct served *request) {
    return request->tokens > 1 ? (request->last - request->first) / (request->tokens - 1) : (double)NAN;
}

static bool met(const struct served *request, const struct goals *goals) {
    if (!request->completed || request->first - request->arrival->seconds > goals->ttft) return false;
    return request->tokens < 2 || tpot_of(request) <= goals->tpot;
}

struct sums {
    struct samples ttft, tpot, e2e;
    size_t completed, met;
    uint64_t output_tokens;
};

static void sum_up(struct sums *sums, const struct serving *serving, const struct goals *goals) {
    for (size_t i = 0; i < serving->submitted; i++) {
        const struct served *request = &serving->requests[i];
        sums->output_tokens += (uint64_t)request->tokens;
        sums->met += met(request, goals);
        if (request->tokens) samples_add(&sums->ttft, request->first - request->arrival->seconds);
        if (!request->completed) continue;
        sums->completed++;
        samples_add(&sums->e2e, request->last - request->arrival->seconds);
        if (request->tokens > 1) samples_add(&sums->tpot, tpot_of(request));
    }
}

static void latency(struct row *row, const char *name, const struct samples *samples) {
    const struct spread spread = spread_of(samples->items, samples->count);
    row_latency(row, name, &spread);
}

static void add_row(struct rows *rows, const struct serve_args *args, const struct serving *serving,
                    const struct goals *goals) {
    struct sums sums = {0};
    tempera_stats stats;
    struct row *row = rows_add(rows);
    sum_up(&sums, serving, goals);
    tempera_stats_get(serving->setup->session.engine, &stats);
    const double seconds = serving->end, last = serving->trace.items[serving->trace.count - 1].seconds;
    const double prompt_tokens = (double)(stats.prompt_tokens + stats.reused_tokens);
    row_text(row, "test", "serve-like");
    row_text(row, "arrivals", args->trace ? args->trace : "poisson");
    row_int(row, "requests", (int64_t)serving->submitted);
    row_int(row, "completed", (int64_t)sums.completed);
    row_real(row, "seconds", seconds, 6);
    row_real(row, "offered_per_second", (double)serving->trace.count / last, 4);
    row_real(row, "requests_per_second", (double)sums.completed / seconds, 4);
    row_real(row, "output_tokens_per_second", (double)sums.output_tokens / seconds, 3);
    row_real(row, "tokens_per_second", ((double)sums.output_tokens + prompt_tokens) / seconds, 3);
    row_real(row, "goodput", (double)sums.met / seconds, 4);
    row_real(row, "slo_ttft", goals->ttft, 6);
    row_real(row, "slo_tpot", goals->tpot, 6);
    row_real(row, "slo_share", (double)sums.met / (double)serving->submitted, 4);
    latency(row, "ttft", &sums.ttft);
    latency(row, "tpot", &sums.tpot);
    latency(row, "itl", &serving->itl);
    latency(row, "e2e", &sums.e2e);
    row_int(row, "prompt_tokens", (int64_t)stats.prompt_tokens);
    row_int(row, "output_tokens", (int64_t)sums.output_tokens);
    row_int(row, "reused_tokens", (int64_t)stats.reused_tokens);
    row_int(row, "preemptions", (int64_t)stats.preemptions);
    row_int(row, "rows", serving->setup->session.plan.max_rows);
    setup_figures(row, serving->setup);
    samples_free(&sums.ttft);
    samples_free(&sums.tpot);
    samples_free(&sums.e2e);
}

static const struct column rate_columns[] = {
    {.title = "arrivals", .name = "arrivals"},
    {.title = "requests", .name = "requests"},
    {.title = "completed", .name = "completed"},
    {.title = "seconds", .name = "seconds"},
    {.title = "offered/s", .name = "offered_per_second"},
    {.title = "completed/s", .name = "requests_per_second"},
    {.title = "output tok/s", .name = "output_tokens_per_second"},
    {.title = "goodput/s", .name = "goodput"},
    {.title = "in goals %", .name = "slo_share", .scale = 100},
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
    {.title = "p99", .name = "itl_p99", .scale = 1e3},
    {.title = "e2e p50", .name = "e2e_p50", .scale = 1e3},
    {.title = "p99", .name = "e2e_p99", .scale = 1e3},
};

static int print_served(const struct serve_args *args, const struct serving *serving, const struct goals *goals,
                        struct rows_view *view) {
    struct rows rows = {0};
    struct strbuf above = {0};
    if (serving->submitted == 0) return EXIT_DONE;
    add_row(&rows, args, serving, goals);
    setup_describe(&above, serving->setup);
    view->above = above.data;
    int status = rows_print(&rows, view);
    strbuf_free(&above);
    rows_free(&rows);
    return status;
}

/* ---- the run ---- */

/* "" and NULL are not given: then `value` stays. */
static bool read_positive(const char *text, const char *flag, double *value) {
    char *end;
    if (!text) return true;
    double number = strtod(text, &end);
    if (end == text || *end || !(number > 0) || !isfinite(number)) {
        complain(EXIT_USAGE, "%s: expected a number above 0, got \"%s\"", flag, text);
        return false;
    }
    *value = number;
    return true;
}

static int poisson_trace(const struct serve_args *args, double rate, struct trace *trace) {
    struct sweep_prompts prompts = {0};
    const struct text_list files = {(const char **)(uintptr_t)&args->prompts, args->prompts ? 1 : 0}, none = {0};
    uint64_t seed = 0;
    if (args->seed && !parse_uint64(args->seed, &seed))
        return complain(EXIT_USAGE, "--seed: expected a whole number, 0 to 2^64-1, got \"%s\"", args->seed);
    int status = sweep_prompts_read(&prompts, &files, &none);
    if (!status) trace_poisson(trace, (size_t)args->requests, rate, seed);
    for (size_t i = 0; i < trace->count; i++) {
        struct arrival *arrival = &trace->items[i];
        const struct sweep_prompt *prompt = prompts.count ? &prompts.items[i % prompts.count] : NULL;
        arrival->output_tokens = args->output_tokens;
        arrival->prompt_tokens = prompt ? 0 : args->prompt_tokens;
        if (prompt) arrival->text = xdup(prompt->text, strlen(prompt->text));
        if (prompt) arrival->line = prompt->line;
    }
    sweep_prompts_free(&prompts);
    return status;
}

static int read_arrivals(const struct serve_args *args, struct trace *trace, struct goals *goals) {
    double rate = 0, ttft = INFINITY, tpot = INFINITY;
    if (!read_positive(args->rate, "--rate", &rate) || !read_positive(args->slo_ttft, "--slo-ttft", &ttft) ||
        !read_positive(args->slo_tpot, "--slo-tpot", &tpot))
        return EXIT_USAGE;
    *goals = (struct goals){1e-3 * ttft, 1e-3 * tpot};
    if (!args->trace == !args->rate) return complain(EXIT_USAGE, "bench serve-like: needs --trace FILE or --rate R");
    if (args->trace && args->prompts)
        return complain(EXIT_USAGE, "bench serve-like: --trace has prompts of its own; --prompts goes with --rate");
    return args->trace ? trace_read(trace, args->trace) : poisson_trace(args, rate, trace);
}

/* Makes random prompts, and finds how long the longest request gets; texts are encoded for their length only. */
static int prepare(const struct serve_args *args, struct serving *serving, int32_t context, int32_t *longest) {
    const struct session *session = &serving->setup->session;
    const char *file = args->trace ? args->trace : args->prompts ? args->prompts : "--prompt-tokens";
    if (strcmp(file, "-") == 0) file = "standard input";
    *longest = 2;
    for (size_t i = 0; i < serving->trace.count; i++) {
        const struct arrival *arrival = &serving->trace.items[i];
        struct served *request = &serving->requests[i];
        struct prompt encoded = {.count = (size_t)arrival->prompt_tokens};
        struct text text = {arrival->text, arrival->text ? strlen(arrival->text) : 0};
        *request = (struct served){.serving = serving, .arrival = arrival};
        int status = arrival->text ? encode_text(session->model, &text, false, false, &encoded) : EXIT_DONE;
        free(encoded.ids);
        if (status) return status;
        if (encoded.count == 0) return complain(EXIT_FAILED, "%s:%zu: the prompt has no tokens", file, arrival->line);
        if (encoded.count + (size_t)arrival->output_tokens > (size_t)context)
            return complain(EXIT_FAILED, "%s:%zu: %zu prompt and %d output tokens do not fit a context of %d", file,
                            arrival->line, encoded.count, arrival->output_tokens, context);
        int32_t length = (int32_t)encoded.count + arrival->output_tokens;
        if (length > *longest) *longest = length;
        if (arrival->text) continue;
        request->ids.count = encoded.count;
        request->ids.ids = xarray(encoded.count, sizeof *request->ids.ids);
        random_ids(request->ids.ids, encoded.count, i, session->info.vocab_size);
    }
    return EXIT_DONE;
}

static int start_engine(const struct serve_args *args, struct serving *serving) {
    struct session *session = &serving->setup->session;
    tempera_engine_options options = session_options(&args->setup.common);
    int32_t longest, given = options.context;
    int32_t context = given > 0 && given < session->info.context ? given : session->info.context;
    int status = prepare(args, serving, context, &longest);
    options.max_rows = args->rows;
    if (options.max_branches < args->rows) options.max_branches = args->rows;
    if (given == 0) options.context = longest;
    if (!status) progress_show("loading %s", session->info.folder);
    return status ? status : session_start(session, &options);
}

/* What was served before Ctrl-C is printed too. */
static int serve(const struct serve_args *args, struct serving *serving, const struct goals *goals,
                 struct rows_view *view) {
    int status = setup_open(serving->setup, &args->setup);
    serving->requests = xarray(serving->trace.count, sizeof *serving->requests);
    if (!status) status = start_engine(args, serving);
    if (!status) status = setup_ceilings(serving->setup);
    if (!status) status = replay(serving);
    progress_clear();
    if (status && status != EXIT_INTERRUPTED) return status;
    int printed = print_served(args, serving, goals, view);
    return status ? status : printed;
}

static int serve_run(void *user) {
    struct serve_args *args = user;
    struct setup setup = {0};
    struct serving serving = {.setup = &setup};
    struct goals goals;
    struct rows_view view = {
        .format = setup_format(&args->setup),
        .out = args->setup.rows.out,
        .table = "serve",
        .columns = {rate_columns, latency_columns},
        .counts = {sizeof rate_columns / sizeof *rate_columns, sizeof latency_columns / sizeof *latency_columns}};
    progress_allow(!args->setup.common.quiet);
    int status = read_arrivals(args, &serving.trace, &goals);
    if (!status) status = rows_check(&view);
    if (!status) status = serve(args, &serving, &goals, &view);
    setup_close(&setup);
    for (size_t i = 0; i < serving.trace.count && serving.requests; i++) free(serving.requests[i].ids.ids);
    free(serving.requests);
    samples_free(&serving.itl);
    trace_free(&serving.trace);
    return status;
}

int bench_serve(int argc, char **argv) {
    struct serve_args args = {
        .setup = SETUP_DEFAULTS, .requests = 64, .prompt_tokens = 64, .output_tokens = 64, .rows = 64};
    const struct arg_command command = {
        .name = "bench serve-like",
        .summary = "requests that arrive over time: how long each waits, and how many are served well",
        .synopsis = "[--model DIR | --random SHAPE] (--trace FILE | --rate R) [flags]",
        .notes = notes,
        .examples = examples,
        .groups = {{"Arrivals", arrival_args, sizeof arrival_args / sizeof *arrival_args, &args},
                   {"Goals and limits", goal_args, sizeof goal_args / sizeof *goal_args, &args},
                   {"What and how", setup_model_args, 2, &args.setup},
                   {"Rows", rows_args, ROWS_ARGS, &args.setup.rows},
                   COMMON_GROUPS(&args.setup.common)}};
    return args_run(&command, argc, argv, serve_run, &args);
}
