/* cmd_generate.c: continues prompts; one request per prompt, all settings and samples in it. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "figures.h"
#include "generate_result.h"
#include "input.h"
#include "output.h"
#include "sampling_args.h"

struct generate_args {
    struct common_args common;
    struct prompt_args prompt;
    struct sampling_args sampling;
    const char *format;
    int stream; /* -1 not given */
    int32_t batch;
};

static const struct arg generate_output_args[] = {
    {.name = "format",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct generate_args, format),
     .meta = "FORMAT",
     .text = "text; jsonl: one JSON object per sample and line; json: an array of them",
     .initial = "text",
     .choices = "text|jsonl|json"},
    {.name = "stream",
     .kind = ARG_SWITCH,
     .offset = offsetof(struct generate_args, stream),
     .text = "print the text as it is made",
     .initial = "on when one sample goes to a terminal"},
    {.name = "batch",
     .kind = ARG_INT,
     .offset = offsetof(struct generate_args, batch),
     .meta = "N",
     .text = "distinct sequences computed at once; no result depends on it",
     .initial = "64",
     .low = 1,
     .high = 65536},
};

static const char notes[] =
    "Each prompt is one request with all settings and samples; requests are computed together. An empty prompt "
    "starts from the begin-of-text token. Standard input is read without its last newline when no prompt is "
    "given. Prompts are numbered in this order: --prompt, words without a flag, --prompt-file, --prompts, "
    "--prompt-ids.\n"
    "JSON fields: prompt_index, setting_index, sample_index (from first_sample on), seed, text, token_ids, "
    "finish_reason (stop, "
    "length, eos, error, cancelled), prompt_tokens, completion_tokens, logprobs, settings and settings_source "
    "(flag, generation_config.json, default), model, device, instructions, dtype, fast (when asked for), build. --json "
    "is --format "
    "jsonl. Results come in the order of prompt, setting and sample.\n"
    "Text that is not UTF-8 has U+FFFD in its place, and text_bytes has all bytes in base64. Seeds are written "
    "with all 64 bits; --seed random picks one below 2^53, which every JSON reader keeps exactly. The seed, the "
    "sample index and the settings give the same sample again, whatever else is computed beside it.";

static const char examples[] =
    "  tempera generate -p \"Once upon a time\" --temperature 0.8 --top-p 0.95 --seed 7\n"
    "  tempera generate -p \"Once\" --setting temperature=0.3 --setting temperature=1.2,top_k=40 --n 4 --json\n"
    "  tempera generate --prompts prompts.jsonl --model ~/models/gpt2 --format jsonl > out.jsonl\n"
    "  echo \"The little dog\" | tempera generate --stop . --max-tokens 50\n";

static enum result_format format_of(const struct generate_args *args) {
    if (strcmp(args->format, "json") == 0) return RESULT_JSON;
    return args->common.json || strcmp(args->format, "jsonl") == 0 ? RESULT_JSONL : RESULT_TEXT;
}

/* ---- callbacks ---- */

struct generation {
    struct results results;
    struct session *session;
    const struct prompt_list *prompts;
    struct request_user *users; /* [prompts->count] */
    size_t submitted, ended;    /* requests */
    bool stream;
    size_t streamed; /* bytes of the only sample that are printed */
};

struct request_user {
    struct generation *generation;
    size_t prompt;
    size_t left; /* samples that are not finished */
};

static void stop_when_output_failed(struct generation *generation) {
    if (output_failed()) tempera_cancel(generation->session->engine, 0);
}

static void on_token(const tempera_token_event *event) {
    struct generation *generation = ((struct request_user *)event->user)->generation;
    if (event->text_length == 0) return;
    results_stream(&generation->results, event->text, event->text_length);
    generation->streamed += event->text_length;
    stop_when_output_failed(generation);
}

/* The rest of a streamed sample: what was held back, and the last newline. */
static void finish_stream(struct generation *generation, const tempera_sample *sample) {
    size_t done = generation->streamed;
    if (sample->text_length > done)
        results_stream(&generation->results, sample->text + done, sample->text_length - done);
    if (sample->text_length == 0 || sample->text[sample->text_length - 1] != '\n')
        results_stream(&generation->results, "\n", 1);
    if (sample->finish == TEMPERA_FINISH_ERROR) {
        generation->results.errors = 1;
        snprintf(generation->results.first_error, sizeof generation->results.first_error, "%s", sample->error);
    }
    generation->results.finished = 1;
}

static void on_sample(const tempera_sample *sample) {
    struct request_user *user = sample->user;
    if (user->generation->stream)
        finish_stream(user->generation, sample);
    else
        results_add(&user->generation->results, user->prompt, sample);
    user->generation->ended += --user->left == 0;
    stop_when_output_failed(user->generation);
}

/* ---- the run ---- */

static int decide_stream(struct generation *generation, const struct generate_args *args) {
    bool one = generation->results.total == 1 && generation->results.format == RESULT_TEXT &&
               generation->session->info.tokenizer_size > 0;
    if (args->stream == 1 && !one)
        return complain(EXIT_USAGE, "--stream shows the text of one sample; this is %zu in format %s",
                        generation->results.total, args->common.json ? "jsonl" : args->format);
    generation->stream = one && (args->stream == 1 || (args->stream < 0 && generation->results.terminal));
    return EXIT_DONE;
}

/* With --echo the stream begins with the prompt, as the finished text does. */
static int stream_prompt(struct generation *generation, const struct prompt *prompt) {
    char *text;
    size_t length;
    tempera_error err;
    if (!generation->stream || !generation->results.settings->items[0].echo) return EXIT_DONE;
    if (tempera_decode(generation->session->model, prompt->ids, prompt->count, 0, &text, &length, &err) != TEMPERA_OK)
        return complain_error(&err);
    results_stream(&generation->results, text, length);
    generation->streamed = length;
    tempera_free(text);
    return EXIT_DONE;
}

/* Found before anything is printed; the rest of what makes a prompt unfit, the library says when it is submitted. */
static int check_lengths(const struct generation *generation) {
    size_t context = (size_t)generation->session->plan.context;
    for (size_t i = 0; i < generation->prompts->count; i++)
        if (generation->prompts->items[i].count > context)
            return complain(EXIT_FAILED, "prompt %zu has %zu tokens, the context %zu", i,
                            generation->prompts->items[i].count, context);
    return EXIT_DONE;
}

static int submit_next(struct generation *generation) {
    tempera_error err;
    size_t i = generation->submitted;
    struct request_user *user = &generation->users[i];
    const struct setting_list *settings = generation->results.settings;
    *user = (struct request_user){generation, i, generation->results.per_prompt};
    tempera_request request = {.prompt = generation->prompts->items[i].ids,
                               .prompt_count = generation->prompts->items[i].count,
                               .settings = settings->items,
                               .setting_count = settings->count,
                               .user = user,
                               .on_token = generation->stream ? on_token : NULL,
                               .on_sample = on_sample};
    if (tempera_submit(generation->session->engine, &request, NULL, &err) != TEMPERA_OK) {
        if (generation->prompts->count == 1) return complain_error(&err);
        int status = err.status == TEMPERA_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
        return complain(status, "prompt %zu: %s", i, err.message);
    }
    generation->submitted++;
    return EXIT_DONE;
}

/* Keeps enough requests queued; an engine takes only so many at a time. */
static int feed(void *user, bool *more) {
    enum { QUEUED = 16384 };
    struct generation *generation = user;
    bool stop = interrupted() || output_failed();
    while (!stop && generation->submitted < generation->prompts->count &&
           generation->submitted - generation->ended < QUEUED) {
        int status = submit_next(generation);
        if (status) return status;
    }
    *more = !stop && generation->submitted < generation->prompts->count;
    if (!generation->stream && generation->results.finished < generation->results.total)
        progress_show("%zu of %zu samples", generation->results.finished, generation->results.total);
    return EXIT_DONE;
}

static void print_figures(const struct generation *generation, const struct run_figures *figures, bool more) {
    const struct setting_list *settings = generation->results.settings;
    char seed[32];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)settings->items[0].seed);
    for (size_t i = 1; i < settings->count; i++)
        if (settings->items[i].seed != settings->items[0].seed) snprintf(seed, sizeof seed, "by setting");
    figures_print(generation->session, figures, seed, more);
}

static int drive(struct generation *generation, const struct generate_args *args) {
    struct results *results = &generation->results;
    struct run_figures figures;
    int status = engine_drive(generation->session->engine, &figures, feed, generation);
    if (!generation->stream) results_end(results);
    if (status) return status;
    if (!args->common.quiet && !output_failed()) print_figures(generation, &figures, args->common.stats);
    if (interrupted()) return EXIT_INTERRUPTED;
    if (results->errors)
        return complain(EXIT_FAILED, "%zu of %zu samples ended with an error: %s", results->errors, results->total,
                        results->first_error);
    return EXIT_DONE;
}

static int start_engine(struct session *session, const struct generate_args *args, size_t samples) {
    tempera_engine_options options = session_options(&args->common);
    options.max_rows = samples < (size_t)args->batch ? (int32_t)samples : args->batch;
    if (samples < (size_t)options.max_branches) options.max_branches = (int32_t)samples;
    if (options.max_branches < options.max_rows) options.max_branches = options.max_rows;
    return session_start(session, &options);
}

static int run(const struct generate_args *args, struct prompt_list *prompts, struct session *session,
               struct setting_list *settings) {
    struct generation generation = {.session = session, .prompts = prompts};
    struct results *results = &generation.results;
    *results = (struct results){.session = session,
                                .settings = settings,
                                .setting_names = &args->sampling.settings,
                                .format = format_of(args),
                                .terminal = terminal_is(stdout)};
    int status = results_begin(results, prompts->count);
    if (!status) status = decide_stream(&generation, args);
    if (!status) status = start_engine(session, args, results->total);
    if (!status) status = check_lengths(&generation);
    if (!status) {
        bool more;
        generation.users = xarray(prompts->count, sizeof *generation.users);
        status = feed(&generation, &more); /* unfit prompts are refused before anything is printed */
    }
    if (!status) status = stream_prompt(&generation, &prompts->items[0]);
    if (!status) status = drive(&generation, args);
    free(generation.users);
    results_free(results);
    return status;
}

static int generate_run(void *user) {
    struct generate_args *args = user;
    struct prompt_list prompts = {0};
    struct setting_list settings = {0};
    struct session session = {0};
    progress_allow(!args->common.quiet);
    int status = prompt_list_read(&prompts, &args->prompt);
    if (!status) status = session_open(&session, &args->common);
    if (!status) status = setting_list_make(&settings, &args->sampling, session.model);
    if (!status) status = prompt_list_encode(&prompts, &args->prompt, session.model);
    if (!status) status = run(args, &prompts, &session, &settings);
    session_close(&session);
    setting_list_free(&settings);
    prompt_list_free(&prompts);
    return status;
}

int cmd_generate(int argc, char **argv) {
    struct generate_args args = {.common = common_defaults, .format = "text", .stream = -1, .batch = 64};
    const struct arg_command command = {
        .name = "generate",
        .summary = "continue prompts",
        .synopsis = "[--model DIR] [--prompt TEXT]... [flags]",
        .notes = notes,
        .examples = examples,
        .positional = &args.prompt.words,
        .groups = {{"Prompts", prompt_args, sizeof prompt_args / sizeof *prompt_args, &args.prompt},
                   SAMPLING_FILTER_GROUPS(&args.sampling),
                   SAMPLING_GENERATE_GROUPS(&args.sampling),
                   {"Results", generate_output_args, sizeof generate_output_args / sizeof *generate_output_args, &args},
                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, generate_run, &args);
}
