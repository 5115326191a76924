/* sweep_stats.c: tempera sweep stats: the figures of a database. */
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "sweep/stats.h"
#include "sweep/sweep.h"

struct stats_args {
    struct common_args common;
    struct text_list databases, metrics;
    const char *sort, *baseline, *format;
    bool holm, bh, by_prompt, csv, list;
    int32_t rows;
};

static const struct arg stats_args_table[] = {
    {.name = "metric",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct stats_args, metrics),
     .meta = "NAME,...",
     .text = "show these; repeat it for more",
     .initial = "tables: the usual ones that fit; JSON, CSV: all"},
    {.name = "list-metrics",
     .kind = ARG_FLAG,
     .offset = offsetof(struct stats_args, list),
     .text = "print every metric and what it is"},
    {.name = "sort",
     .kind = ARG_TEXT,
     .offset = offsetof(struct stats_args, sort),
     .meta = "NAME",
     .text = "the settings that are best by this metric first (the largest, where neither way is better)",
     .initial = "the order of the sweep"},
    {.name = "baseline",
     .kind = ARG_TEXT,
     .offset = offsetof(struct stats_args, baseline),
     .meta = "SETTING",
     .text =
         "compare each setting with this one, by its name, its number or its values: \"temperature=0.8,top_p=0.9\""},
    {.name = "holm",
     .kind = ARG_FLAG,
     .offset = offsetof(struct stats_args, holm),
     .text = "p-values adjusted by Holm: the chance of any false finding (the default)"},
    {.name = "bh",
     .kind = ARG_FLAG,
     .offset = offsetof(struct stats_args, bh),
     .text = "by Benjamini and Hochberg: the share of false findings"},
    {.name = "by-prompt",
     .kind = ARG_FLAG,
     .offset = offsetof(struct stats_args, by_prompt),
     .text = "each prompt's figures too (tables), or instead (CSV)"},
    {.name = "top",
     .letter = 'n',
     .kind = ARG_INT,
     .offset = offsetof(struct stats_args, rows),
     .meta = "N",
     .text = "tables: the first N settings; 0 = all",
     .initial = "0",
     .low = 0,
     .high = INT32_MAX},
    {.name = "format",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct stats_args, format),
     .meta = "FORMAT",
     .text = "how to print; --json and --csv are short for it",
     .initial = "table",
     .choices = "table|json|csv"},
    {.name = "csv",
     .kind = ARG_FLAG,
     .offset = offsetof(struct stats_args, csv),
     .text = "comma-separated values: a row for each setting and metric"},
};

static const char notes[] =
    "A figure is a mean over prompts; its 95% interval comes from 2000 bootstrap resamples of the prompts (BCa). With "
    "one "
    "prompt it is over the samples, and says nothing of other prompts. Differences to a baseline are taken prompt by "
    "prompt, so that what the settings share (the prompt, the noise) cancels; r is the correlation that does it, gain "
    "how "
    "many times as many prompts would give the same certainty without it. p: sign-flip test, exact up to 14 prompts "
    "that "
    "differ, else by 20000 draws. No figure depends on how many processors compute it.\n"
    "--json: units (prompts or samples), prompts (ids), metrics, and points, each with point, name, samples, settings "
    "and "
    "metrics; of each metric mean, low, high, stderror, units, by_prompt in the order of prompts, and with --baseline "
    "difference. null: there is no such figure.";

static const char examples[] = "  tempera sweep stats runs.db\n"
                               "  tempera sweep stats runs.db --sort exact_match --baseline temperature=1\n"
                               "  tempera sweep stats runs.db --metric distinct_2,self_bleu --by-prompt\n"
                               "  tempera sweep stats runs.db --csv > figures.csv\n";

static int list_metrics(void) {
    static const char *const better[] = {[METRIC_NONE] = "", [METRIC_MORE] = "more", [METRIC_LESS] = "less"};
    struct strbuf out = {0};
    strbuf_printf(&out, "%-18s  %-6s  %s\n", "metric", "better", "what it is");
    for (int m = 0; m < METRIC_COUNT; m++)
        strbuf_printf(&out, "%-18s  %-6s  %s\n", metric_info[m].name, better[metric_info[m].better],
                      metric_info[m].text);
    output_buf(&out);
    strbuf_free(&out);
    return EXIT_DONE;
}

/* False after complaining. */
static bool find_metric(const char *flag, const char *name, enum metric *metric) {
    const char *names[METRIC_COUNT];
    *metric = metric_find(name);
    if (*metric != METRIC_COUNT) return true;
    for (int m = 0; m < METRIC_COUNT; m++) names[m] = metric_info[m].name;
    const char *near = nearest_name(name, names, METRIC_COUNT);
    if (near)
        complain(EXIT_USAGE, "%s: no metric is called \"%s\" (did you mean %s?)", flag, name, near);
    else
        complain(EXIT_USAGE, "%s: no metric is called \"%s\" (see --list-metrics)", flag, name);
    return false;
}

/* Appends the metrics of "a,b,c"; a repetition changes nothing. */
static bool add_metrics(struct stats_view *view, const char *list) {
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        char *name = xdup(at, length);
        enum metric metric;
        bool good = find_metric("--metric", name, &metric), there = false;
        free(name);
        if (!good) return false;
        for (size_t i = 0; i < view->metric_count; i++) there |= view->metrics[i] == metric;
        if (!there) view->metrics[view->metric_count++] = metric;
        at += length;
        if (!*at) return true;
    }
}

static int make_view(const struct stats_args *args, struct stats_view *view) {
    *view = stats_view_default();
    for (size_t i = 0; i < args->metrics.count; i++)
        if (!add_metrics(view, args->metrics.items[i])) return EXIT_USAGE;
    if (args->sort && !find_metric("--sort", args->sort, &view->sort)) return EXIT_USAGE;
    if (args->holm && args->bh)
        return complain(EXIT_USAGE, "sweep stats: --holm and --bh are two corrections; give one");
    view->holm = !args->bh;
    view->by_prompt = args->by_prompt;
    view->rows = (size_t)args->rows;
    return EXIT_DONE;
}

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV };

static int find_format(const struct stats_args *args, enum format *format) {
    bool json = args->common.json || strcmp(args->format, "json") == 0;
    bool csv = args->csv || strcmp(args->format, "csv") == 0;
    if (json && csv) return complain(EXIT_USAGE, "sweep stats: JSON or CSV, not both");
    *format = json ? FORMAT_JSON : csv ? FORMAT_CSV : FORMAT_TABLE;
    return EXIT_DONE;
}

static int print_figures(const struct stats_args *args, struct stats_view *view, enum format format,
                         const struct summary *summary, const char *path) {
    int64_t samples = 0;
    for (size_t i = 0; i < summary->points.count; i++) samples += summary->samples[i];
    if (samples == 0) return complain(EXIT_FAILED, "%s: holds no samples yet", path);
    if (args->baseline) {
        view->baseline = summary_find_point(summary, args->baseline);
        if (view->baseline == SIZE_MAX) return EXIT_USAGE;
    }
    switch (format) {
    case FORMAT_TABLE: stats_print_summary(summary, view); break;
    case FORMAT_JSON: stats_print_json(summary, view, path); break;
    case FORMAT_CSV: stats_print_csv(summary, view); break;
    }
    return EXIT_DONE;
}

static int stats_run(void *user) {
    const struct stats_args *args = user;
    struct stats_view view;
    struct store *store = NULL;
    struct summary summary = {0};
    enum format format = FORMAT_TABLE;
    if (args->list) return list_metrics();
    if (args->databases.count != 1)
        return complain(EXIT_USAGE, "sweep stats: needs one database, got %zu", args->databases.count);
    int status = make_view(args, &view);
    if (!status) status = find_format(args, &format);
    if (!status) status = store_open(&store, args->databases.items[0], STORE_READ);
    if (!status) {
        struct metric_mask mask = stats_mask(&view);
        bool all = format != FORMAT_TABLE && view.metric_count == 0;
        status = summary_make(&summary, store, all ? NULL : &mask);
    }
    if (!status) status = print_figures(args, &view, format, &summary, args->databases.items[0]);
    summary_free(&summary);
    store_close(store);
    return status;
}

int sweep_stats(int argc, char **argv) {
    struct stats_args args = {.common = common_defaults, .format = "table"};
    const struct arg_command command = {
        .name = "sweep stats",
        .summary = "every metric of every setting, with intervals, and differences between settings",
        .synopsis = "DATABASE [flags]",
        .notes = notes,
        .examples = examples,
        .positional = &args.databases,
        .groups = {{"Figures", stats_args_table, sizeof stats_args_table / sizeof *stats_args_table, &args},
                   OUTPUT_GROUP(&args.common)}};
    return args_run(&command, argc, argv, stats_run, &args);
}
