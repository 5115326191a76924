/* setup.c: opens what a sweep works with. */
#include "setup.h"

#include <stdlib.h>
#include <string.h>

#include "output.h"

/* ---- flags ---- */

const struct sweep_args sweep_args_defaults = {.common = {.device = "auto", .dtype = "auto"},
                                               .points = {.samples = 8, .max_points = 4096},
                                               .out = "runs.db",
                                               .batch = 64};

const struct arg sweep_prompt_args[SWEEP_PROMPT_ARGS] = {
    {.name = "prompts",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sweep_args, prompt_files),
     .meta = "FILE",
     .text =
         "each line is a prompt, or, when the first line is a JSON object, each line is one: \"prompt\", and \"id\", "
         "\"reference\", \"choices\", \"answer\", \"test\" where there are"},
    {.name = "prompt",
     .letter = 'p',
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sweep_args, prompts),
     .meta = "TEXT",
     .text = "a prompt; repeat it for several"},
};

const struct arg sweep_point_args[SWEEP_POINT_ARGS] = {
    {.name = "grid",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, grids),
     .meta = "AXES",
     .text = "\"temperature=0:1.6:0.2 top_p=0.5,0.9,1\": all combinations of start:stop:step ranges and lists, of any "
             "field above; repeat it for several grids"},
    {.name = "setting",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, sampling) +
               offsetof(struct sampling_args, settings),
     .meta = "NAME: K=V,...",
     .text = "one more point, \"careful: temperature=0.2,top_p=0.1\"; the name may be left out; repeat it"},
    {.name = "presets",
     .kind = ARG_FLAG,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, presets),
     .text = "the presets by kind of content as points (see tempera presets)"},
    {.name = "samples",
     .kind = ARG_INT,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, samples),
     .meta = "N",
     .text = "samples for each prompt and point",
     .initial = "8",
     .low = 1,
     .high = 1048576},
    {.name = "coupled",
     .kind = ARG_FLAG,
     .offset = offsetof(struct sweep_args, coupled),
     .text =
         "points share their noise (the default): samples of equal index differ by the setting and not by luck, and "
         "share their computation for as long as they agree"},
    {.name = "independent",
     .kind = ARG_FLAG,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, independent),
     .text = "points draw with noise of their own"},
    {.name = "max-points",
     .kind = ARG_INT,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, max_points),
     .meta = "N",
     .text = "refuse more points than this",
     .initial = "4096",
     .low = 1,
     .high = INT32_MAX},
};

const struct arg sweep_list_args[SWEEP_LIST_ARGS] = {
    {.name = "logit-bias",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, sampling) +
               offsetof(struct sampling_args, logit_bias),
     .meta = "ID=B,...",
     .text = "adds B to a token's score; -inf bans the token"},
    {.name = "order",
     .kind = ARG_TEXT,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, sampling) +
               offsetof(struct sampling_args, order),
     .meta = "ORDER",
     .text = "steps of the sampling chain (see tempera generate --help)"},
    {.name = "preset",
     .kind = ARG_TEXT,
     .offset = offsetof(struct sweep_args, points) + offsetof(struct point_args, sampling) +
               offsetof(struct sampling_args, preset),
     .meta = "NAME",
     .text = "where the points start from"},
};

const struct arg sweep_store_args[SWEEP_STORE_ARGS] = {
    {.name = "out",
     .letter = 'o',
     .kind = ARG_TEXT,
     .offset = offsetof(struct sweep_args, out),
     .meta = "FILE",
     .text = "the database (SQLite); one that is there is gone on with: what it lacks is made, other points are added",
     .initial = "runs.db"},
    {.name = "batch",
     .kind = ARG_INT,
     .offset = offsetof(struct sweep_args, batch),
     .meta = "N",
     .text = "distinct sequences computed at once; no result depends on it",
     .initial = "64",
     .low = 1,
     .high = 65536},
    {.name = "no-share",
     .kind = ARG_FLAG,
     .offset = offsetof(struct sweep_args, no_share),
     .text = "compute every sample on a row of its own: the same samples, to see what sharing saves"},
};

/* ---- the database ---- */

static int claim_all(struct store *store, const struct sweep_args *args, const struct session *session,
                     const struct sweep_prompts *prompts, const char *model_hash) {
    char number[16];
    const tempera_plan *plan = &session->plan;
    snprintf(number, sizeof number, "%d", (int)session->info.vocab_size);
    int status = store_claim(store, "model_hash", model_hash, "the model with hash");
    if (!status) status = store_claim(store, "prompts_hash", prompts->hash, "the prompts with hash");
    if (!status) status = store_claim(store, "device", plan->device, "the device");
    if (!status) status = store_claim(store, "instructions", plan->instructions, "the instruction set");
    if (!status) status = store_claim(store, "dtype", plan->dtype, "the dtype");
    if (!status) status = store_claim(store, "fast", plan->fast ? "1" : "0", "the mode --fast");
    if (!status) status = store_claim(store, "vocab_size", number, "a vocabulary of");
    snprintf(number, sizeof number, "%d", (int)plan->context);
    if (!status) status = store_claim(store, "context", number, "a context of");
    if (!status && args->verify.command) status = store_claim(store, "verify", args->verify.command, "the command");
    return status;
}

/* What is good to know and nothing depends on. */
static int describe(struct store *store, const struct session *session) {
    char *there = store_manifest(store, "model");
    int status = EXIT_DONE;
    if (!there) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)session->info.parameters);
        status = store_manifest_set(store, "model", session->info.folder);
        if (!status) status = store_manifest_set(store, "family", session->info.family);
        if (!status) status = store_manifest_set(store, "parameters", number);
        if (!status) status = store_manifest_set(store, "device_name", session->plan.device_name);
    }
    free(there);
    return status;
}

static int prepare_store(struct store *store, const struct sweep_args *args, const struct session *session,
                         const struct sweep_prompts *prompts, const struct point_list *points, int32_t *number) {
    char model_hash[HASH_TEXT];
    int status = hash_model(session->info.folder, model_hash);
    if (!status) status = store_begin(store);
    char *there = status ? NULL : store_manifest(store, "prompts_hash");
    if (!status) status = claim_all(store, args, session, prompts, model_hash);
    if (!status) status = describe(store, session);
    if (!status && !there) status = store_add_prompts(store, prompts);
    if (!status) status = store_add_points(store, points, number);
    if (!status) status = store_commit(store);
    if (status) store_rollback(store);
    free(there);
    return status;
}

/* ---- the closing words ---- */

static void show_duration(struct strbuf *b, double seconds) {
    if (seconds < 60)
        strbuf_printf(b, "%.1f s", seconds);
    else
        strbuf_printf(b, "%d min %02d s", (int)(seconds / 60), (int)seconds % 60);
}

static void print_figures(const struct runner *runner, int64_t there) {
    const struct run_figures_total *total = &runner->total;
    struct strbuf line = {0};
    strbuf_printf(&line, "%lld samples made", (long long)total->samples);
    if (there > total->samples) strbuf_printf(&line, ", %lld in the database", (long long)there);
    strbuf_printf(&line, "; %lld tokens in ", (long long)total->generated_tokens);
    show_duration(&line, total->seconds);
    if (total->seconds > 0) strbuf_printf(&line, " (%.0f tok/s)", (double)total->generated_tokens / total->seconds);
    if (total->row_steps > 0) {
        strbuf_printf(&line, "; %lld row-steps, %.2f times fewer than one row a sample", (long long)total->row_steps,
                      (double)total->generated_tokens / (double)total->row_steps);
        if (total->generated_tokens > total->row_steps && total->unshared_seconds > total->seconds) {
            strbuf_text(&line, "; about ");
            show_duration(&line, total->unshared_seconds - total->seconds);
            strbuf_text(&line, " saved (see with --no-share)");
        }
    }
    fprintf(stderr, "tempera: %s\n", line.data);
    strbuf_free(&line);
}

static void add_word(struct strbuf *b, const char *word) {
    bool plain =
        word[0] && word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%")] == 0;
    if (b->length) strbuf_char(b, ' ');
    if (plain) {
        strbuf_text(b, word);
        return;
    }
    strbuf_char(b, '\'');
    for (const char *c = word; *c; c++) strbuf_printf(b, *c == '\'' ? "'\\''" : "%c", *c);
    strbuf_char(b, '\'');
}

static int record_run(struct store *store, const struct sweep_args *args, const struct runner *runner) {
    struct strbuf command = {0};
    strbuf_printf(&command, "tempera sweep %s", args->name);
    for (int i = 0; i < args->argc; i++) add_word(&command, args->argv[i]);
    const struct run_figures_total *total = &runner->total;
    const struct run_record record = {.build = tempera_build(),
                                      .command = command.data,
                                      .seconds = total->seconds,
                                      .samples = total->samples,
                                      .generated_tokens = total->generated_tokens,
                                      .row_steps = total->row_steps,
                                      .prompt_tokens = total->prompt_tokens};
    int status = store_begin(store);
    if (!status) status = store_add_run(store, &record);
    if (!status) status = store_commit(store);
    if (status) store_rollback(store);
    strbuf_free(&command);
    return status;
}

/* ---- open and close ---- */

static int start_engine(struct session *session, const struct sweep_args *args, const struct point_list *points) {
    enum { BRANCHES = 1024 };
    tempera_engine_options options = session_options(&args->common);
    size_t branches = points->count > BRANCHES ? points->count : BRANCHES;
    if (branches > 65536) branches = 65536;
    options.max_rows = args->batch;
    options.max_branches = (int32_t)branches > options.max_rows ? (int32_t)branches : options.max_rows;
    options.unshared = args->no_share;
    return session_start(session, &options);
}

int sweep_open(struct sweep *sweep, const struct sweep_args *args) {
    progress_allow(!args->common.quiet);
    if (args->coupled && args->points.independent)
        return complain(EXIT_USAGE, "--coupled and --independent contradict each other");
    int status = sweep_prompts_read(&sweep->prompts, &args->prompt_files, &args->prompts);
    if (!status && sweep->prompts.count == 0)
        status = complain(EXIT_USAGE, "sweep %s: no prompts: give --prompts FILE or --prompt TEXT", args->name);
    if (!status && args->verify.command) status = verify_check(&args->verify);
    if (!status) status = session_open(&sweep->session, &args->common);
    if (!status) status = point_list_make(&sweep->points, &args->points, sweep->session.model);
    if (!status) status = start_engine(&sweep->session, args, &sweep->points);
    if (!status) status = sweep_prompts_encode(&sweep->prompts, sweep->session.model, sweep->session.plan.context);
    return status;
}

int sweep_prepare(struct sweep *sweep, const struct sweep_args *args, struct store *store) {
    sweep->store = store;
    sweep->number = xarray(sweep->points.count, sizeof *sweep->number);
    sweep->runner = (struct runner){.session = &sweep->session,
                                    .store = store,
                                    .verify = args->verify.command ? &args->verify : NULL,
                                    .rows = sweep->session.plan.max_rows,
                                    .quiet = args->common.quiet};
    return prepare_store(store, args, &sweep->session, &sweep->prompts, &sweep->points, sweep->number);
}

int sweep_conclude(struct sweep *sweep, const struct sweep_args *args) {
    int64_t there = 0;
    int status = sweep->runner.total.samples > 0 ? record_run(sweep->store, args, &sweep->runner) : EXIT_DONE;
    if (!status) status = store_count_samples(sweep->store, &there);
    if (!args->common.quiet) print_figures(&sweep->runner, there);
    if (!status && sweep->runner.total.errors)
        status = complain(EXIT_FAILED, "%lld samples ended with an error (see finish and error in the table samples)",
                          (long long)sweep->runner.total.errors);
    return status;
}

void sweep_close(struct sweep *sweep) {
    session_close(&sweep->session);
    store_close(sweep->store);
    point_list_free(&sweep->points);
    sweep_prompts_free(&sweep->prompts);
    free(sweep->number);
    *sweep = (struct sweep){0};
}
