/* sweep_report.c: `tempera sweep report`: a database as one page to look at.
 *
 * WHAT THE PAGE HOLDS (page.h says how), written here, in report_texts.c and in report_next.c, read by the scripts in
 * page/.
 * JSON "data":
 *   title; manifest: [[key, value], ...]; runs: {seconds, samples, generated_tokens, row_steps, prompt_tokens, build,
 *   command}; samples, vocab_size, units, units_are_samples; note: what was left out, or ""; seeds: [text, ...]
 *   fields: [{name, values: [text, ...]}]: those in which the settings differ, values ascending
 *   points: [{name, number (the store's), samples, values: [index into its field's values], chain: [index into
 *   next.chains]}]; from here on a setting is its place in this list
 *   prompts: [{id, text, shown}]: shown is how many samples the page holds
 *   metrics: [{name, better: "more", "less" or "none", text}]: those that some cell has
 *   estimates: for each metric {mean, low, high}, each an array by setting (null: none)
 *   baseline: a setting; pieces: whether tokens have spellings, else pieces_why
 *   next: {available, why, prompts (the first so many), top, chains: [heading], plane: {temperature, top_p}}
 * Blocks, little-endian columns one after another:
 *   cells-METRIC: f64 [setting][prompt]; units-METRIC, where the units are samples: f64 [setting][unit]
 *   texts-PROMPT: u32 nodes, samples, tokens (of all samples);
 *       of the trie's nodes, parents first: u32 distance to the parent (0: none), i32 token;
 *       of the samples, by setting, then index: i32 setting, i32 sample, i32 end (node of the last token, -1: none), u32
 *       token count, i32 fork, u32 bytes of text (2^32 - 1: what its first `shown` tokens spell), u32 shown;
 *       u16 [nodes] code of the model's log-probability, i16 [tokens] what the final one's code is more;
 *       u8 finish, u8 verdict, u8 right (1, 0, 255: not known) of the samples; the texts.
 *       A code is -log p in steps of 1/1024 nat.
 *   pieces: u32 count; u32 id, u32 bytes, u8 special; the spellings
 *   next-PROMPT: i32 token[top]; f32 raw[top], entropy; i32 kept[chains]; f32 mass[chains], final[chains][top],
 *       log-probability of the plane's points [400]; i32 tokens kept there [400] */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_writer.h"
#include "output.h"
#include "sweep/hash.h"
#include "sweep/report.h"
#include "sweep/store_internal.h"
#include "sweep/sweep.h"

enum {
    NEXT_TOP = 16,
    TEXT_BUDGET = 24 << 20 /* tokens of all samples; some 5 bytes of the page each */
};

struct report_args {
    struct common_args common;
    struct text_list databases;
    const char *out, *baseline;
    int32_t texts, next_prompts;
    bool no_model;
};

static const struct arg report_flags[] = {
    {.name = "out",
     .letter = 'o',
     .kind = ARG_TEXT,
     .offset = offsetof(struct report_args, out),
     .meta = "FILE",
     .text = "the page; - = standard output",
     .initial = "report.html"},
    {.name = "baseline",
     .kind = ARG_TEXT,
     .offset = offsetof(struct report_args, baseline),
     .meta = "POINT",
     .text = "the setting that others are compared with at first: its name, its number or its fields",
     .initial = "the first"},
    {.name = "texts",
     .kind = ARG_INT,
     .offset = offsetof(struct report_args, texts),
     .meta = "N",
     .text = "at most N samples of each setting and prompt can be read in the page; 0 = as many as 24 million tokens "
             "allow (a page of some 120 MB)",
     .initial = "0",
     .low = 0,
     .high = INT32_MAX},
    {.name = "next-prompts",
     .kind = ARG_INT,
     .offset = offsetof(struct report_args, next_prompts),
     .meta = "N",
     .text = "show the next token's distribution for the first N prompts",
     .initial = "16",
     .low = 0,
     .high = INT32_MAX},
    {.name = "no-model",
     .kind = ARG_FLAG,
     .offset = offsetof(struct report_args, no_model),
     .text = "do not open the model: no distributions, and texts without their tokens"},
};

static const char notes[] =
    "One file that opens offline in a browser: the best setting, heat maps over any two fields, the trade-off between "
    "two metrics, every setting with intervals, paired differences, the texts side by side, the tree of continuations, "
    "the next token's distribution before and after each filter.\n"
    "The model is the one that the samples were made with, where it still is, unless --model says where. Without it "
    "the page says what is missing. --threads and --device are for the next token's distributions.";

static const char examples[] = "  tempera sweep report runs.db -o report.html\n"
                               "  tempera sweep report runs.db --texts 4 --baseline \"temperature=1\"\n";

struct report {
    const struct report_args *args;
    struct store *store;
    struct summary summary;
    struct run_record runs;
    struct session session;
    struct page page;
    struct token_set tokens;
    struct report_chains chains;
    size_t baseline, texts_limit, next_prompts;
    size_t *shown; /* [prompts] */
    char *build, *command;
    int32_t next_top;
    struct strbuf why; /* the model is not open; empty when it is */
};

/* ---- the model ---- */

/* Opens what the manifest names: not being able to is no failure. */
static void open_stored_model(struct report *r) {
    tempera_error err;
    char *folder = store_manifest(r->store, "model");
    if (!folder)
        strbuf_text(&r->why, "The database does not say where its model is; --model DIR does.");
    else if (tempera_model_open(folder, &r->session.model, &err) != TEMPERA_OK)
        strbuf_printf(&r->why, "The model was not there when this page was made: %s. --model DIR says where it is.",
                      err.message);
    free(folder);
}

/* Whether the open model is the one of the samples; says so in `why`. */
static int check_model(struct report *r) {
    char hash[HASH_TEXT];
    tempera_model_info_get(r->session.model, &r->session.info);
    char *wanted = store_manifest(r->store, "model_hash");
    int status = hash_model(r->session.info.folder, hash);
    if (!status && wanted && strcmp(wanted, hash) != 0)
        strbuf_printf(&r->why, "%s is not the model that the samples were made with.", r->session.info.folder);
    else if (!status && r->session.info.vocab_size != r->summary.vocab_size)
        strbuf_printf(&r->why, "%s has a vocabulary of %d, the samples one of %d.", r->session.info.folder,
                      r->session.info.vocab_size, r->summary.vocab_size);
    free(wanted);
    return status;
}

/* Leaves the model open, or `why` set. The weights' type is that of the samples unless a flag says otherwise. */
static int open_model(struct report *r) {
    const struct common_args *common = &r->args->common;
    int status = EXIT_DONE;
    if (r->args->no_model)
        strbuf_text(&r->why, "This page was made without the model (--no-model).");
    else if (common->model)
        status = session_open(&r->session, common);
    else
        open_stored_model(r);
    if (!status && !r->why.length) status = check_model(r);
    if (status || !r->why.length) return status;
    if (common->model) return complain(EXIT_USAGE, "%s", r->why.data);
    session_close(&r->session);
    return EXIT_DONE;
}

static int start_engine(struct report *r) {
    tempera_engine_options options = session_options(&r->args->common);
    char *dtype = strcmp(options.dtype, "auto") == 0 ? store_manifest(r->store, "dtype") : NULL;
    if (dtype) options.dtype = dtype;
    options.max_rows = 1;
    options.max_branches = 32;
    int status = session_start(&r->session, &options);
    free(dtype);
    return status;
}

/* ---- texts and distributions ---- */

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Samples of each setting and prompt that the page holds: all, as far as the budget goes. */
static size_t texts_limit(const struct report *r) {
    size_t most = 1;
    int64_t tokens = r->runs.generated_tokens;
    if (r->args->texts > 0) return (size_t)r->args->texts;
    for (size_t i = 0; i < r->summary.points.count; i++)
        if ((size_t)r->summary.points.items[i].samples > most) most = (size_t)r->summary.points.items[i].samples;
    if (tokens <= TEXT_BUDGET) return most;
    size_t fit = (size_t)((double)most * TEXT_BUDGET / (double)tokens);
    return fit > 0 ? fit : 1;
}

static int write_texts(struct report *r) {
    size_t prompts = r->summary.prompts.count;
    int status = EXIT_DONE;
    for (size_t p = 0; p < prompts && !status; p++) {
        struct sample_set set = {0};
        progress_show("texts of prompt %zu of %zu", p + 1, prompts);
        status = store_load_samples(r->store, (int32_t)p, &set);
        if (!status) report_texts(&r->page, &r->summary, p, &set, r->texts_limit, &r->tokens, &r->shown[p]);
        sample_set_free(&set);
    }
    progress_clear();
    return status;
}

static int write_next(struct report *r) {
    if (r->why.length || r->args->next_prompts == 0) return EXIT_DONE;
    int status = start_engine(r);
    size_t wanted = least((size_t)r->args->next_prompts, r->summary.prompts.count);
    r->next_top = r->session.info.vocab_size < NEXT_TOP ? r->session.info.vocab_size : NEXT_TOP;
    for (size_t p = 0; p < wanted && !status; p++) {
        progress_show("next token of prompt %zu of %zu", p + 1, wanted);
        if (interrupted()) status = EXIT_INTERRUPTED;
        if (!status)
            status = report_next(&r->page, &r->chains, &r->summary.prompts.items[p], p, r->session.engine, r->next_top,
                                 &r->tokens);
    }
    progress_clear();
    r->next_prompts = wanted;
    return status;
}

/* ---- metrics ---- */

static void write_columns(struct report *r) {
    const struct summary *s = &r->summary;
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        struct strbuf block = {0}, name = {0};
        if (!s->present[m]) continue;
        for (size_t p = 0; p < s->points.count; p++)
            for (size_t q = 0; q < s->prompts.count; q++) block_f64(&block, summary_cell(s, p, q)[m]);
        strbuf_printf(&name, "cells-%s", metric_info[m].name);
        page_block(&r->page, name.data, block.data, block.length);
        if (s->units_are_samples) {
            strbuf_clear(&name);
            strbuf_clear(&block);
            for (size_t i = 0; i < s->points.count * s->units; i++) block_f64(&block, s->unit[i * METRIC_COUNT + m]);
            strbuf_printf(&name, "units-%s", metric_info[m].name);
            page_block(&r->page, name.data, block.data ? block.data : "", block.length);
        }
        strbuf_free(&block);
        strbuf_free(&name);
    }
}

static void metrics_json(struct json *j, const struct summary *s) {
    static const char *const better[] = {[METRIC_NONE] = "none", [METRIC_MORE] = "more", [METRIC_LESS] = "less"};
    json_array(j, "metrics");
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        if (!s->present[m]) continue;
        json_object(j, NULL);
        json_text(j, "name", metric_info[m].name);
        json_text(j, "better", better[metric_info[m].better]);
        json_text(j, "text", metric_info[m].text);
        json_end(j);
    }
    json_end(j);
}

static void estimates_json(struct json *j, const struct summary *s) {
    json_array(j, "estimates");
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        if (!s->present[m]) continue;
        json_object(j, NULL);
        json_array(j, "mean");
        for (size_t p = 0; p < s->points.count; p++) json_double(j, NULL, s->estimate[p * METRIC_COUNT + m].mean);
        json_end(j);
        json_array(j, "low");
        for (size_t p = 0; p < s->points.count; p++) json_double(j, NULL, s->estimate[p * METRIC_COUNT + m].low);
        json_end(j);
        json_array(j, "high");
        for (size_t p = 0; p < s->points.count; p++) json_double(j, NULL, s->estimate[p * METRIC_COUNT + m].high);
        json_end(j);
        json_end(j);
    }
    json_end(j);
}

/* ---- fields ---- */

/* A field's value of each point, as a text and as a number to order it by. */
struct field_value {
    char text[160];
    double order;
};

static const char *const field_names[] = {
#define REPORT_FIELD_NAME(kind, name, def, min, max, text) #name,
    TEMPERA_SAMPLING_FIELDS(REPORT_FIELD_NAME)
#undef REPORT_FIELD_NAME
        "order",
    "independent"};
enum { FIELD_ORDER = SAMPLING_FIELDS, FIELD_INDEPENDENT, REPORT_FIELDS };

#define VALUE_FLOAT(name)                                                                                              \
    {                                                                                                                  \
        struct strbuf number = {0};                                                                                    \
        strbuf_float(&number, s->name);                                                                                \
        snprintf(value.text, sizeof value.text, "%s", number.data);                                                    \
        value.order = (double)s->name;                                                                                 \
        strbuf_free(&number);                                                                                          \
    }
#define VALUE_INT(name)                                                                                                \
    {                                                                                                                  \
        snprintf(value.text, sizeof value.text, "%lld", (long long)s->name);                                           \
        value.order = (double)s->name;                                                                                 \
    }
#define VALUE_SEED(name)                                                                                               \
    {                                                                                                                  \
        snprintf(value.text, sizeof value.text, "%llu", (unsigned long long)s->name);                                  \
        value.order = (double)s->name;                                                                                 \
    }
#define VALUE_BOOL(name)                                                                                               \
    {                                                                                                                  \
        snprintf(value.text, sizeof value.text, "%s", s->name ? "true" : "false");                                     \
        value.order = s->name;                                                                                         \
    }
static struct field_value field_value(const tempera_sampling *s, size_t field) {
    struct field_value value = {.order = 0};
    switch (field) {
#define REPORT_FIELD_CASE(kind, name, def, min, max, text)                                                             \
    case SAMPLING_##name: VALUE_##kind(name) break;
        TEMPERA_SAMPLING_FIELDS(REPORT_FIELD_CASE)
#undef REPORT_FIELD_CASE
    case FIELD_ORDER: tempera_order_format(&s->order, value.text, sizeof value.text); break;
    case FIELD_INDEPENDENT: VALUE_BOOL(independent) break;
    default: break;
    }
    return value;
}

static int compare_values(const void *a, const void *b) {
    const struct field_value *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return strcmp(x->text, y->text);
}

/* Its distinct values, ascending; one when the points do not differ. */
static size_t distinct_values(const struct stored_points *points, size_t field, struct field_value *values) {
    size_t held = 0;
    for (size_t p = 0; p < points->count; p++) values[p] = field_value(&points->items[p].sampling, field);
    qsort(values, points->count, sizeof *values, compare_values);
    for (size_t p = 0; p < points->count; p++)
        if (!held || compare_values(&values[held - 1], &values[p]) != 0) values[held++] = values[p];
    return held;
}

/* Fields that say what was asked for, not how tokens are drawn. */
static bool is_axis(size_t field) {
    return field != SAMPLING_n && field != SAMPLING_first_sample && field != SAMPLING_logprobs &&
           field != SAMPLING_echo;
}

/* "fields", and in place[points][REPORT_FIELDS] each point's index into the values; SIZE_MAX: it does not vary. */
static void fields_json(struct json *j, const struct stored_points *points, size_t *place) {
    struct field_value *values = xarray(points->count, sizeof *values);
    json_array(j, "fields");
    for (size_t f = 0; f < REPORT_FIELDS; f++) {
        size_t count = is_axis(f) ? distinct_values(points, f, values) : 1;
        for (size_t p = 0; p < points->count; p++) {
            struct field_value own = field_value(&points->items[p].sampling, f), *found = NULL;
            if (count > 1) found = bsearch(&own, values, count, sizeof *values, compare_values);
            place[p * REPORT_FIELDS + f] = found ? (size_t)(found - values) : SIZE_MAX;
        }
        if (count <= 1) continue;
        json_object(j, NULL);
        json_text(j, "name", field_names[f]);
        json_array(j, "values");
        for (size_t i = 0; i < count; i++) json_text(j, NULL, values[i].text);
        json_end(j);
        json_end(j);
    }
    json_end(j);
    json_array(j, "seeds");
    size_t seeds = distinct_values(points, SAMPLING_seed, values);
    for (size_t i = 0; i < seeds; i++) json_text(j, NULL, values[i].text);
    json_end(j);
    free(values);
}

static void points_json(struct json *j, const struct report *r, const size_t *place) {
    json_array(j, "points");
    for (size_t p = 0; p < r->summary.points.count; p++) {
        const struct stored_point *point = &r->summary.points.items[p];
        json_object(j, NULL);
        json_text(j, "name", point->name);
        json_int(j, "number", point->point);
        json_int(j, "samples", r->summary.samples[p]);
        json_array(j, "values");
        for (size_t f = 0; f < REPORT_FIELDS; f++)
            if (place[p * REPORT_FIELDS + f] != SIZE_MAX) json_uint(j, NULL, place[p * REPORT_FIELDS + f]);
        json_end(j);
        json_array(j, "chain");
        for (size_t c = 0; c < r->chains.lengths[p]; c++)
            json_uint(j, NULL, r->chains.of_point[p * TEMPERA_STAGE_COUNT + c]);
        json_end(j);
        json_end(j);
    }
    json_end(j);
}

/* ---- the data ---- */

static void manifest_json(struct json *j, struct store *store) {
    static const char *const keys[] = {"model",  "family",       "parameters",  "device",     "device_name",
                                       "dtype",  "instructions", "fast",        "vocab_size", "context",
                                       "verify", "model_hash",   "prompts_hash"};
    json_array(j, "manifest");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *value = store_manifest(store, keys[i]);
        if (value) {
            json_array(j, NULL);
            json_text(j, NULL, keys[i]);
            json_text(j, NULL, value);
            json_end(j);
        }
        free(value);
    }
    json_end(j);
}

static void runs_json(struct json *j, const struct report *r) {
    json_object(j, "runs");
    json_double(j, "seconds", r->runs.seconds);
    json_int(j, "samples", r->runs.samples);
    json_int(j, "generated_tokens", r->runs.generated_tokens);
    json_int(j, "row_steps", r->runs.row_steps);
    json_int(j, "prompt_tokens", r->runs.prompt_tokens);
    json_text(j, "build", r->build ? r->build : "");
    json_text(j, "command", r->command ? r->command : "");
    json_end(j);
}

static void prompts_json(struct json *j, const struct report *r) {
    json_array(j, "prompts");
    for (size_t p = 0; p < r->summary.prompts.count; p++) {
        const struct sweep_prompt *prompt = &r->summary.prompts.items[p];
        json_object(j, NULL);
        json_text(j, "id", prompt->id);
        json_text(j, "text", prompt->text);
        json_uint(j, "shown", r->shown[p]);
        json_end(j);
    }
    json_end(j);
}

static void next_json(struct json *j, const struct report *r) {
    json_object(j, "next");
    json_bool(j, "available", r->next_prompts > 0);
    json_text(j, "why",
              r->why.length     ? r->why.data
              : r->next_prompts ? ""
                                : "No prompt was asked for (--next-prompts 0).");
    json_uint(j, "prompts", r->next_prompts);
    json_int(j, "top", r->next_top);
    json_array(j, "chains");
    for (size_t c = 0; c < r->chains.count; c++) json_text(j, NULL, r->chains.headings[c]);
    json_end(j);
    plane_axes_json(j);
    json_end(j);
}

/* What the page leaves out. */
static void note_json(struct json *j, const struct report *r, int64_t samples) {
    struct strbuf note = {0};
    size_t shown = 0;
    for (size_t p = 0; p < r->summary.prompts.count; p++) shown += r->shown[p];
    if ((int64_t)shown < samples)
        strbuf_printf(&note,
                      "All figures are over all samples; the texts and the tree hold the first %zu samples of each "
                      "setting and prompt, %zu of %lld.",
                      r->texts_limit, shown, (long long)samples);
    json_text(j, "note", note.data ? note.data : "");
    strbuf_free(&note);
}

static void write_data(struct report *r) {
    struct json j = {0};
    const struct summary *s = &r->summary;
    size_t *place = xarray(s->points.count * REPORT_FIELDS, sizeof *place);
    const char *slash = strrchr(store_path(r->store), '/');
    int64_t samples = 0;
    for (size_t p = 0; p < s->points.count; p++) samples += s->samples[p];
    json_object(&j, NULL);
    json_text(&j, "title", slash ? slash + 1 : store_path(r->store));
    manifest_json(&j, r->store);
    runs_json(&j, r);
    json_int(&j, "samples", samples);
    json_int(&j, "vocab_size", s->vocab_size);
    json_uint(&j, "units", s->units);
    json_bool(&j, "units_are_samples", s->units_are_samples);
    note_json(&j, r, samples);
    fields_json(&j, &s->points, place);
    points_json(&j, r, place);
    prompts_json(&j, r);
    metrics_json(&j, s);
    estimates_json(&j, s);
    json_uint(&j, "baseline", r->baseline);
    json_bool(&j, "pieces", r->tokens.model != NULL);
    json_text(&j, "pieces_why", r->why.length ? r->why.data : "");
    next_json(&j, r);
    json_end(&j);
    page_json(&r->page, &j);
    strbuf_free(&j.out);
    free(place);
}

/* ---- the command ---- */

/* Build and command line of the latest run; NULL without runs. */
static int load_latest_run(struct report *r) {
    sqlite3_stmt *statement;
    int status = store_prepare(r->store, &statement, "SELECT build, command FROM runs ORDER BY run DESC LIMIT 1");
    if (status) return status;
    int row = store_next_row(r->store, statement);
    if (row > 0) {
        const char *build = (const char *)sqlite3_column_text(statement, 0);
        const char *command = (const char *)sqlite3_column_text(statement, 1);
        r->build = xdup(build ? build : "", build ? strlen(build) : 0);
        r->command = xdup(command ? command : "", command ? strlen(command) : 0);
    }
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int check_database(struct report *r) {
    int64_t samples = 0;
    for (size_t p = 0; p < r->summary.points.count; p++) samples += r->summary.samples[p];
    if (samples == 0) return complain(EXIT_FAILED, "%s holds no samples yet", store_path(r->store));
    r->baseline = 0;
    if (r->args->baseline) r->baseline = summary_find_point(&r->summary, r->args->baseline);
    return r->baseline == SIZE_MAX ? EXIT_USAGE : EXIT_DONE;
}

static int load(struct report *r) {
    const char *path = r->args->databases.items[0];
    int status = store_open(&r->store, path, STORE_READ);
    if (!status) {
        progress_show("figures of %s", path);
        status = summary_make(&r->summary, r->store, NULL);
        progress_clear();
    }
    if (!status) status = check_database(r);
    if (!status) status = store_load_runs(r->store, &r->runs);
    if (!status) status = load_latest_run(r);
    if (!status) status = open_model(r);
    return status;
}

static int write_page(struct report *r) {
    int status = page_open(&r->page, r->args->out, PAGE_REPORT);
    if (status) return status;
    r->texts_limit = texts_limit(r);
    r->shown = xarray(r->summary.prompts.count, sizeof *r->shown);
    token_set_make(&r->tokens, r->session.model, r->summary.vocab_size);
    report_chains_make(&r->chains, &r->summary.points);
    status = write_texts(r);
    if (!status) status = write_next(r);
    if (!status) {
        if (r->tokens.model) report_pieces(&r->page, &r->tokens);
        write_columns(r);
        write_data(r);
    }
    int closed = page_close(&r->page, status == EXIT_DONE);
    if (!status && !closed && !r->args->common.quiet && strcmp(r->args->out, "-") != 0)
        fprintf(stderr, "%s: %.1f MB\n", r->args->out, (double)r->page.written / 1e6);
    report_chains_free(&r->chains);
    token_set_free(&r->tokens);
    free(r->shown);
    return status ? status : closed;
}

static int run(void *user) {
    const struct report_args *args = user;
    struct report *r = xarray(1, sizeof *r);
    int status;
    r->args = args;
    progress_allow(!args->common.quiet);
    if (args->databases.count != 1)
        status = complain(EXIT_USAGE, "sweep report: give one database, got %zu", args->databases.count);
    else if (!*args->out)
        status = complain(EXIT_USAGE, "sweep report: --out: the name of the file is empty");
    else
        status = load(r);
    if (!status) status = write_page(r);
    session_close(&r->session);
    summary_free(&r->summary);
    store_close(r->store);
    strbuf_free(&r->why);
    free(r->build);
    free(r->command);
    free(r);
    return status;
}

int sweep_report(int argc, char **argv) {
    struct report_args args = {.common = common_defaults, .out = "report.html", .next_prompts = 16};
    const struct arg_command command = {
        .name = "sweep report",
        .summary = "a database as one page to look at",
        .synopsis = "RUNS.db [-o report.html] [flags]",
        .notes = notes,
        .examples = examples,
        .positional = &args.databases,
        .groups = {{"Report", report_flags, sizeof report_flags / sizeof *report_flags, &args},
                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, run, &args);
}
