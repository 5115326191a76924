/* sweep_score.c: `tempera sweep score`: what given texts are under many settings, without sampling: one pass of the model
 * over a text serves all settings. */
#include "sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "points.h"
#include "prompts.h"

struct score_args {
    struct common_args common;
    struct point_args points;
    struct text_list lists, texts;
    const char *against, *format;
    bool pairs, tokens;
};

static const struct arg text_flags[] = {
    {.name = "text",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, texts),
     .meta = "TEXT",
     .text = "a text; repeat it for several"},
    {.name = "texts",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, lists),
     .meta = "FILE",
     .text =
         "each line is a text, or, when the first line is a JSON object, each line is one: \"prompt\" is the text, or, "
         "where there are \"reference\"s, what comes before each of them and is not scored itself"},
};

static const struct arg point_flags[] = {
    {.name = "grid",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, points) + offsetof(struct point_args, grids),
     .meta = "AXES",
     .text = "\"temperature=0:1.6:0.2 top_p=0.5,0.9,1\": all combinations; repeat it for several grids"},
    {.name = "setting",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, points) + offsetof(struct point_args, sampling) +
               offsetof(struct sampling_args, settings),
     .meta = "NAME: K=V,...",
     .text = "one more point; repeat it"},
    {.name = "presets",
     .kind = ARG_FLAG,
     .offset = offsetof(struct score_args, points) + offsetof(struct point_args, presets),
     .text = "the presets by kind of content as points (see tempera presets)"},
    {.name = "order",
     .kind = ARG_TEXT,
     .offset = offsetof(struct score_args, points) + offsetof(struct point_args, sampling) +
               offsetof(struct sampling_args, order),
     .meta = "ORDER",
     .text = "steps of the sampling chain (see tempera generate --help)"},
    {.name = "max-points",
     .kind = ARG_INT,
     .offset = offsetof(struct score_args, points) + offsetof(struct point_args, max_points),
     .meta = "N",
     .text = "refuse more points than this",
     .initial = "4096",
     .low = 1,
     .high = 65000},
};

static const struct arg result_flags[] = {
    {.name = "against",
     .kind = ARG_TEXT,
     .offset = offsetof(struct score_args, against),
     .meta = "POINT",
     .text = "the name of the point that kl is measured from",
     .initial = "the unfiltered model"},
    {.name = "pairs",
     .kind = ARG_FLAG,
     .offset = offsetof(struct score_args, pairs),
     .text = "kl of every point from every other (at most 512 points)"},
    {.name = "tokens",
     .kind = ARG_FLAG,
     .offset = offsetof(struct score_args, tokens),
     .text = "every token under every point too (json)"},
    {.name = "format",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct score_args, format),
     .meta = "FORMAT",
     .text = "how the results are written",
     .initial = "table",
     .choices = "table|csv|json"},
};

static const char notes[] =
    "For every point, means over the tokens of all texts: logprob (of the unfiltered model), removed (share of tokens "
    "that "
    "the filters exclude), final_logprob (of the others, under the distribution they would be drawn from), kept "
    "(tokens that "
    "survive), kept_mass (their unfiltered probability), entropy (of the unfiltered model), final_entropy (of the "
    "distribution drawn from) and kl (of the point from --against, nats, over the tokens where it is finite; "
    "kl_infinite is "
    "the share of the others, where --against excludes a token that the point allows).\n"
    "Points that only set temperature, top_k, top_p and min_p cost next to nothing; others cost a draw for each token.";

static const char examples[] = "  tempera sweep score --text \"Once upon a time there was a dog.\" --grid "
                               "\"temperature=0.2:1.6:0.2 top_p=0.5:1:0.05\"\n"
                               "  tempera sweep score --texts human.txt --setting \"a: top_p=0.9\" --setting \"b: "
                               "min_p=0.1\" --pairs --format json\n";

/* ---- texts ---- */

struct item {
    size_t prompt;    /* in the list of prompts */
    size_t reference; /* SIZE_MAX: the prompt itself */
    struct prompt ids;
    size_t first; /* index of the first token that is scored */
};

struct items {
    struct item *items;
    size_t count, tokens; /* tokens that are scored */
};

static int add_item(struct items *items, const struct sweep_prompts *prompts, size_t prompt, size_t reference,
                    const struct session *session) {
    const struct sweep_prompt *p = &prompts->items[prompt];
    struct strbuf all = {0};
    items->items = xgrow(items->items, items->count + 1, sizeof *items->items);
    struct item *item = &items->items[items->count++];
    *item = (struct item){.prompt = prompt, .reference = reference, .first = 1};
    strbuf_text(&all, p->text);
    if (reference != SIZE_MAX) strbuf_text(&all, p->references[reference]);
    strbuf_add(&all, "", 0);
    const struct text text = {all.data, all.length};
    int status = encode_text(session->model, &text, false, false, &item->ids);
    if (!status && reference != SIZE_MAX) {
        struct prompt before = {0};
        const struct text context = {p->text, strlen(p->text)};
        status = encode_text(session->model, &context, false, false, &before);
        /* Tokens that the two spellings share are context; one that spans the border is scored. */
        while (!status && item->first < before.count && item->first < item->ids.count &&
               before.ids[item->first] == item->ids.ids[item->first])
            item->first++;
        free(before.ids);
    }
    strbuf_free(&all);
    if (!status && item->ids.count > (size_t)session->plan.context)
        status = complain(EXIT_FAILED, "text \"%s\" has %zu tokens, the context %d", p->id, item->ids.count,
                          (int)session->plan.context);
    if (!status && item->ids.count > item->first) items->tokens += item->ids.count - item->first;
    return status;
}

static int make_items(struct items *items, const struct sweep_prompts *prompts, const struct session *session) {
    int status = EXIT_DONE;
    for (size_t i = 0; i < prompts->count && !status; i++) {
        size_t references = prompts->items[i].reference_count;
        if (references == 0) status = add_item(items, prompts, i, SIZE_MAX, session);
        for (size_t k = 0; k < references && !status; k++) status = add_item(items, prompts, i, k, session);
    }
    if (!status && items->tokens == 0)
        status = complain(EXIT_FAILED, "the texts have no token that another one comes before: nothing can be scored");
    return status;
}

static void free_items(struct items *items) {
    for (size_t i = 0; i < items->count; i++) free(items->items[i].ids.ids);
    free(items->items);
}

/* ---- scores ---- */

/* Sums over the tokens of all texts. */
struct sums {
    double logprob, final_logprob, entropy, final_entropy, kept, kept_mass, kl;
    size_t count, removed, infinite;
};

struct scoring {
    const struct session *session;
    const struct score_args *args;
    const struct point_list *points;
    const struct items *items;
    size_t against;      /* index of a point, SIZE_MAX: the unfiltered model */
    struct sums *sums;   /* [points] */
    double *pair_sum;    /* [points, points] KL(row || column), with --pairs */
    size_t *pair_finite; /* [points, points] */
    struct json tokens;  /* "texts": [...], with --tokens */
};

/* Texts are scored for so many points at a time that the statistics take a bounded memory. */
static const size_t block_stats = (size_t)1 << 22, block_pairs = (size_t)1 << 26;

struct block {
    size_t first, count;                /* points */
    tempera_sampling *settings;         /* [count + 1]: the last one is --against */
    struct tempera_setting_pair *pairs; /* [pair_count] */
    size_t pair_count;
    tempera_token_stat *stats; /* [count + 1, tokens] */
    float *divergence;         /* [pair_count, tokens] */
};

static void make_block(const struct scoring *scoring, struct block *block, size_t first, size_t tokens) {
    size_t points = scoring->points->count, most = block_stats / tokens;
    size_t count = points - first < most ? points - first : most > 0 ? most : 1;
    bool pairs = scoring->args->pairs;
    *block = (struct block){.first = first, .count = count, .pair_count = pairs ? count * count : count};
    block->settings = xarray(count + 1, sizeof *block->settings);
    block->pairs = xarray(block->pair_count, sizeof *block->pairs);
    block->stats = xarray((count + 1) * tokens, sizeof *block->stats);
    block->divergence = xarray(block->pair_count * tokens, sizeof *block->divergence);
    for (size_t i = 0; i < count; i++) block->settings[i] = scoring->points->items[first + i].sampling;
    block->settings[count] =
        scoring->against == SIZE_MAX ? tempera_sampling_default() : scoring->points->items[scoring->against].sampling;
    for (size_t i = 0; i < block->pair_count; i++) {
        block->pairs[i] = pairs ? (tempera_setting_pair){(int32_t)(i / count), (int32_t)(i % count)}
                                : (tempera_setting_pair){(int32_t)i, (int32_t)count};
    }
}

static void free_block(struct block *block) {
    free(block->settings);
    free(block->pairs);
    free(block->stats);
    free(block->divergence);
}

static void add_token(struct sums *sums, const tempera_token_stat *stat) {
    sums->count++;
    sums->logprob += (double)stat->logprob;
    sums->entropy += (double)stat->entropy;
    sums->final_entropy += (double)stat->final_entropy;
    sums->kept += stat->kept;
    sums->kept_mass += (double)stat->kept_mass;
    if (isinf(stat->final_logprob))
        sums->removed++;
    else
        sums->final_logprob += (double)stat->final_logprob;
}

static void add_divergence(struct scoring *scoring, const struct block *block, size_t pair, float value) {
    if (scoring->args->pairs) { /* one block holds all points */
        if (!isfinite(value)) return;
        scoring->pair_sum[pair] += (double)value;
        scoring->pair_finite[pair]++;
    } else if (isfinite(value)) {
        scoring->sums[block->first + pair].kl += (double)value;
    } else {
        scoring->sums[block->first + pair].infinite++;
    }
}

static void add_block(struct scoring *scoring, const struct block *block, const struct item *item) {
    size_t tokens = item->ids.count;
    for (size_t s = 0; s < block->count; s++)
        for (size_t i = item->first; i < tokens; i++)
            add_token(&scoring->sums[block->first + s], &block->stats[s * tokens + i]);
    for (size_t p = 0; p < block->pair_count; p++)
        for (size_t i = item->first; i < tokens; i++)
            add_divergence(scoring, block, p, block->divergence[p * tokens + i]);
}

/* A text's tokens, each with what every point makes of it. */
static void tokens_json(struct scoring *scoring, const struct block *block, const struct item *item) {
    struct json *j = &scoring->tokens;
    size_t tokens = item->ids.count;
    json_array(j, NULL);
    for (size_t i = item->first; i < tokens; i++) {
        size_t length;
        const char *piece = token_piece(scoring->session->model, item->ids.ids[i], &length);
        json_object(j, NULL);
        json_int(j, "id", item->ids.ids[i]);
        json_bytes(j, "piece", piece, length);
        json_float(j, "logprob", block->stats[i].logprob);
        json_float(j, "entropy", block->stats[i].entropy);
        json_array(j, "points");
        for (size_t s = 0; s < block->count; s++) {
            const tempera_token_stat *stat = &block->stats[s * tokens + i];
            json_object(j, NULL);
            json_float(j, "final_logprob", stat->final_logprob);
            json_int(j, "kept", stat->kept);
            json_float(j, "kept_mass", stat->kept_mass);
            json_float(j, "final_entropy", stat->final_entropy);
            if (!scoring->args->pairs) json_float(j, "kl", block->divergence[s * tokens + i]);
            json_end(j);
        }
        json_end(j);
        json_end(j);
    }
    json_end(j);
}

/* --pairs and --tokens want all points in one block. */
static int check_size(const struct scoring *scoring, size_t tokens) {
    size_t points = scoring->points->count;
    const struct score_args *args = scoring->args;
    bool pairs_fit = !args->pairs || points * points <= block_pairs / tokens;
    bool tokens_fit = !args->tokens || points <= block_stats / tokens;
    if (pairs_fit && tokens_fit) return EXIT_DONE;
    return complain(EXIT_USAGE, "%zu points and a text of %zu tokens are too much for %s", points, tokens,
                    pairs_fit ? "--tokens" : "--pairs");
}

static int score_item(struct scoring *scoring, const struct item *item) {
    tempera_error err;
    if (item->ids.count <= item->first) return EXIT_DONE;
    int status = check_size(scoring, item->ids.count);
    for (size_t first = 0; first < scoring->points->count && !status;) {
        struct block block;
        make_block(scoring, &block, first, item->ids.count);
        if (tempera_score_pairs(scoring->session->engine, item->ids.ids, item->ids.count, block.settings,
                                block.count + 1, block.pairs, block.pair_count, block.stats, block.divergence,
                                &err) != TEMPERA_OK)
            status = interrupted() ? EXIT_INTERRUPTED : complain_error(&err);
        if (!status) add_block(scoring, &block, item);
        if (!status && scoring->args->tokens) tokens_json(scoring, &block, item);
        first += block.count;
        free_block(&block);
    }
    return status;
}

/* ---- results ---- */

/* A line of results: NaN where there is nothing to take a mean of. */
enum { COLUMNS = 10 };
static const char *const column_names[COLUMNS] = {"logprob", "final_logprob", "removed", "kept",        "kept_mass",
                                                  "entropy", "final_entropy", "kl",      "kl_infinite", "tokens"};

static void point_columns(const struct sums *s, bool pairs, double *column) {
    double n = (double)s->count, kept = n - (double)s->removed, finite = n - (double)s->infinite;
    column[0] = s->logprob / n;
    column[1] = kept > 0 ? s->final_logprob / kept : NAN;
    column[2] = (double)s->removed / n;
    column[3] = s->kept / n;
    column[4] = s->kept_mass / n;
    column[5] = s->entropy / n;
    column[6] = s->final_entropy / n;
    column[7] = pairs || finite <= 0 ? NAN : s->kl / finite;
    column[8] = pairs ? NAN : (double)s->infinite / n;
    column[9] = n;
}

static void print_json(const struct scoring *scoring) {
    struct json j = {0};
    size_t points = scoring->points->count;
    json_object(&j, NULL);
    session_json(&j, scoring->session);
    json_text(&j, "against",
              scoring->against == SIZE_MAX ? "the unfiltered model" : scoring->points->items[scoring->against].name);
    json_array(&j, "points");
    for (size_t i = 0; i < points; i++) {
        double column[COLUMNS];
        point_columns(&scoring->sums[i], scoring->args->pairs, column);
        json_object(&j, NULL);
        json_text(&j, "name", scoring->points->items[i].name);
        settings_json(&j, &scoring->points->items[i].sampling, &scoring->points->items[i].source);
        for (size_t c = 0; c < COLUMNS; c++) json_double(&j, column_names[c], column[c]);
        json_end(&j);
    }
    json_end(&j);
    if (scoring->args->pairs) {
        json_array(&j, "kl"); /* kl[a][b] of a from b: null where none of the tokens has a finite one */
        for (size_t a = 0; a < points; a++) {
            json_array(&j, NULL);
            for (size_t b = 0; b < points; b++) {
                size_t at = a * points + b;
                size_t finite = scoring->pair_finite[at];
                json_double(&j, NULL, finite ? scoring->pair_sum[at] / (double)finite : NAN);
            }
            json_end(&j);
        }
        json_end(&j);
    }
    if (scoring->args->tokens) {
        strbuf_text(&j.out, ",\"texts\":");
        strbuf_add(&j.out, scoring->tokens.out.data, scoring->tokens.out.length);
    }
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

static void print_lines(const struct scoring *scoring, bool csv) {
    struct strbuf b = {0};
    size_t width = 7;
    for (size_t i = 0; i < scoring->points->count && !csv; i++) {
        const char *name = scoring->points->items[i].name;
        size_t columns = show_columns(name, strlen(name));
        if (columns > width) width = columns < 40 ? columns : 40;
    }
    if (csv)
        strbuf_text(&b, "setting");
    else
        show_cell(&b, "setting", width);
    for (size_t c = 0; c < COLUMNS; c++) strbuf_printf(&b, csv ? ",%s" : "  %13s", column_names[c]);
    strbuf_char(&b, '\n');
    for (size_t i = 0; i < scoring->points->count; i++) {
        double column[COLUMNS];
        const char *name = scoring->points->items[i].name;
        point_columns(&scoring->sums[i], scoring->args->pairs, column);
        if (csv) {
            strbuf_char(&b, '"');
            for (const char *c = name; *c; c++) strbuf_printf(&b, *c == '"' ? "\"\"" : "%c", *c);
            strbuf_char(&b, '"');
        } else {
            show_cell(&b, name, width);
        }
        for (size_t c = 0; c < COLUMNS; c++) {
            if (isnan(column[c]))
                strbuf_printf(&b, csv ? "," : "  %13s", "-");
            else
                strbuf_printf(&b, csv ? ",%.9g" : "  %13.5g", column[c]);
        }
        strbuf_char(&b, '\n');
    }
    output_buf(&b);
    strbuf_free(&b);
}

static void print_pairs(const struct scoring *scoring) {
    struct strbuf b = {0};
    size_t points = scoring->points->count;
    strbuf_text(&b, "\nkl of the row from the column, nats\n");
    for (size_t a = 0; a < points; a++) {
        for (size_t c = 0; c < points; c++) {
            size_t at = a * points + c, finite = scoring->pair_finite[at];
            if (finite)
                strbuf_printf(&b, "%9.4f", scoring->pair_sum[at] / (double)finite);
            else
                strbuf_printf(&b, "%9s", "inf");
        }
        strbuf_printf(&b, "  %s\n", scoring->points->items[a].name);
    }
    output_buf(&b);
    strbuf_free(&b);
}

/* ---- the command ---- */

static int find_against(struct scoring *scoring, const char *name) {
    scoring->against = SIZE_MAX;
    if (!name) return EXIT_DONE;
    for (size_t i = 0; i < scoring->points->count; i++)
        if (strcmp(scoring->points->items[i].name, name) == 0) scoring->against = i;
    if (scoring->against != SIZE_MAX) return EXIT_DONE;
    return complain(EXIT_USAGE, "--against: no point is called \"%s\"", name);
}

static int score_all(struct scoring *scoring) {
    size_t points = scoring->points->count;
    int status = EXIT_DONE;
    scoring->sums = xarray(points, sizeof *scoring->sums);
    if (scoring->args->pairs) {
        scoring->pair_sum = xarray(points * points, sizeof *scoring->pair_sum);
        scoring->pair_finite = xarray(points * points, sizeof *scoring->pair_finite);
    }
    json_array(&scoring->tokens, NULL);
    for (size_t i = 0; i < scoring->items->count && !status; i++) {
        if (scoring->items->count > 1) progress_show("%zu of %zu texts", i, scoring->items->count);
        status = score_item(scoring, &scoring->items->items[i]);
    }
    json_end(&scoring->tokens);
    progress_clear();
    return status;
}

static void print_all(const struct scoring *scoring) {
    const struct score_args *args = scoring->args;
    if (args->common.json || strcmp(args->format, "json") == 0) {
        print_json(scoring);
        return;
    }
    print_lines(scoring, strcmp(args->format, "csv") == 0);
    if (args->pairs && strcmp(args->format, "table") == 0) print_pairs(scoring);
}

static int run_with(const struct score_args *args, struct session *session, struct sweep_prompts *prompts,
                    struct point_list *points) {
    enum { PAIRS_POINTS = 512 };
    struct items items = {0};
    struct scoring scoring = {.session = session, .args = args, .points = points, .items = &items};
    if (args->pairs && points->count > PAIRS_POINTS)
        return complain(EXIT_USAGE, "--pairs takes at most %d points, got %zu", PAIRS_POINTS, points->count);
    int status = find_against(&scoring, args->against);
    if (!status) status = make_items(&items, prompts, session);
    if (!status) status = score_all(&scoring);
    if (!status) print_all(&scoring);
    free_items(&items);
    free(scoring.sums);
    free(scoring.pair_sum);
    free(scoring.pair_finite);
    strbuf_free(&scoring.tokens.out);
    return status;
}

static int run(void *user) {
    struct score_args *args = user;
    struct sweep_prompts prompts = {0};
    struct point_list points = {0};
    struct session session = {0};
    progress_allow(!args->common.quiet);
    bool json = args->common.json || strcmp(args->format, "json") == 0;
    if (args->tokens && !json) return complain(EXIT_USAGE, "--tokens needs --format json");
    int status = sweep_prompts_read(&prompts, &args->lists, &args->texts);
    if (!status && prompts.count == 0)
        status = complain(EXIT_USAGE, "sweep score: no texts: give --text TEXT or --texts FILE");
    if (!status) status = session_open(&session, &args->common);
    if (!status) status = point_list_make(&points, &args->points, session.model);
    if (!status) {
        tempera_engine_options options = session_options(&args->common);
        options.max_rows = 1;
        status = session_start(&session, &options);
    }
    if (!status) status = run_with(args, &session, &prompts, &points);
    session_close(&session);
    point_list_free(&points);
    sweep_prompts_free(&prompts);
    return status;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

int sweep_score(int argc, char **argv) {
    struct score_args args = {
        .common = common_defaults, .points = {.samples = 1, .max_points = 4096}, .format = "table"};
    const struct arg_command command = {.name = "sweep score",
                                        .summary = "given texts under many settings, exactly, without sampling",
                                        .synopsis = "--text TEXT|--texts FILE --grid AXES [flags]",
                                        .notes = notes,
                                        .examples = examples,
                                        .groups = {{"Texts", text_flags, COUNT(text_flags), &args},
                                                   {"Points", point_flags, COUNT(point_flags), &args},
                                                   {"Sampling, of points that do not say otherwise",
                                                    sampling_field_args, SAMPLING_FILTERS, &args.points.sampling},
                                                   {"Results", result_flags, COUNT(result_flags), &args},
                                                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, run, &args);
}
