/* sweep_best.c: `tempera sweep best`: the best point by successive halving, and samplers at equal tuning budget. */
#include "sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scatter.h"
#include "fair.h"
#include "halving.h"
#include "output.h"
#include "setup.h"
#include "summary.h"

struct best_args {
    struct sweep_args sweep;
    const char *metric, *budget, *fair;
    bool maximize, minimize;
};

static const struct arg best_flags[] = {
    {.name = "metric",
     .kind = ARG_TEXT,
     .offset = offsetof(struct best_args, metric),
     .meta = "NAME",
     .text = "what is best: pass@4, verified, bleu, distinct_2 ... (see tempera sweep stats --list-metrics)"},
    {.name = "maximize",
     .kind = ARG_FLAG,
     .offset = offsetof(struct best_args, maximize),
     .text = "more is better; needed for metrics that are neither way better in themselves"},
    {.name = "minimize", .kind = ARG_FLAG, .offset = offsetof(struct best_args, minimize), .text = "less is better"},
    {.name = "budget",
     .kind = ARG_TEXT,
     .offset = offsetof(struct best_args, budget),
     .meta = "PERCENT",
     .text = "samples to make at most, as a share of the full comparison",
     .initial = "20%"},
    {.name = "fair",
     .kind = ARG_TEXT,
     .offset = offsetof(struct best_args, fair),
     .meta = "FILE",
     .text = "make nothing: compare the samplers of this database by the expected best of N of their settings, for "
             "equal N"},
};

static const char notes[] = "Successive halving: every point gets a few samples of a few prompts, in an order drawn by "
                            "the seed; the better half gets "
                            "twice as much, and so on (Jamieson & Talwalkar 2016). Samples are those of tempera sweep "
                            "run with the same flags and "
                            "stay in --out: sweep run completes them. The winner's interval is over prompts and not "
                            "corrected for its having been "
                            "chosen.\n"
                            "--fair: settings that use the same filters and penalties, whatever their values and "
                            "temperatures, are one sampler. A "
                            "sampler with more settings on the grid finds a better best by effort alone; the curves "
                            "compare the expected best of N "
                            "settings (Tang et al. 2020), and the difference at the largest N "
                            "that all have, resampled over "
                            "prompts together.";

static const char examples[] = "  tempera sweep best --metric pass@4 --budget 20% --prompts tasks.jsonl --grid "
                               "\"temperature=0.2:1.4:0.2 top_p=0.5:1:0.1\" "
                               "--samples 8 --verify ./check\n"
                               "  tempera sweep best --fair runs.db --metric distinct_2\n";

/* 1: more is better, -1: less; 0 after complaining. */
static int direction(const struct best_args *args, enum metric metric) {
    if (args->maximize && args->minimize) {
        complain(EXIT_USAGE, "--maximize and --minimize contradict each other");
        return 0;
    }
    if (args->maximize || args->minimize) return args->maximize ? 1 : -1;
    if (metric_info[metric].better == METRIC_NONE) {
        complain(EXIT_USAGE, "--metric %s is neither way better in itself: give --maximize or --minimize",
                 metric_info[metric].name);
        return 0;
    }
    return metric_info[metric].better == METRIC_MORE ? 1 : -1;
}

static bool parse_share(const char *text, double *share) {
    char *end;
    double value = strtod(text, &end);
    bool percent = *end == '%';
    if (end == text || end[percent] != 0) return false;
    *share = percent ? value / 100 : value;
    return *share > 0 && *share <= 1;
}

/* ---- the race ---- */

struct race {
    struct sweep *sweep;
    enum metric metric;
    int sign;
    int32_t block;  /* samples of one block: of one prompt, as many as the metric needs */
    size_t *prompt; /* [prompts] the order in which they come */
    size_t *alive;  /* [count] indices of points, best first after a round */
    size_t count;
    size_t blocks; /* of each */
    double *score; /* [points] larger is better; NaN unknown */
    struct summary summary;
};

/* pass_k needs k samples of a prompt, what compares samples with each other two. */
static int32_t block_samples(enum metric metric) {
    switch (metric) {
    case METRIC_pass_2:
    case METRIC_self_bleu:
    case METRIC_unique_ratio:
    case METRIC_collision_entropy:
    case METRIC_majority_vote:
    case METRIC_best_of_n: return 2;
    case METRIC_pass_4: return 4;
    case METRIC_pass_8: return 8;
    case METRIC_pass_16: return 16;
    case METRIC_pass_32: return 32;
    case METRIC_pass_64: return 64;
    default: return 1;
    }
}

/* By sorting keys of a fixed generator: the file's order may be one of difficulty. */
struct shuffled {
    uint64_t key;
    size_t prompt;
};
static int compare_shuffled(const void *a, const void *b) {
    const struct shuffled *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->prompt > y->prompt) - (x->prompt < y->prompt);
}

static void shuffle_prompts(struct race *race, uint64_t seed) {
    size_t count = race->sweep->prompts.count;
    struct shuffled *order = xarray(count, sizeof *order);
    race->prompt = xarray(count, sizeof *race->prompt);
    for (size_t i = 0; i < count; i++) {
        uint64_t z = (seed + 1) * 0x9E3779B97F4A7C15u + (uint64_t)i * 0xD1342543DE82EF95u;
        order[i] = (struct shuffled){scatter(z), i};
    }
    qsort(order, count, sizeof *order, compare_shuffled);
    for (size_t i = 0; i < count; i++) race->prompt[i] = order[i].prompt;
    free(order);
}

static int compare_indices(const void *a, const void *b) {
    const size_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Samples [0, samples) of the living points for prompts [first, end) of the order. */
static int make_range(struct race *race, size_t first, size_t end, int32_t samples) {
    struct sweep *sweep = race->sweep;
    if (first == end || samples == 0) return EXIT_DONE;
    struct point_list points = {.items = xarray(race->count, sizeof *points.items), .count = race->count};
    int32_t *number = xarray(race->count, sizeof *number), *wanted = xarray(race->count, sizeof *wanted);
    size_t *prompt = xarray(end - first, sizeof *prompt), *alive = xarray(race->count, sizeof *alive);
    memcpy(alive, race->alive, race->count * sizeof *alive);
    qsort(alive, race->count, sizeof *alive, compare_indices); /* neighbours share rows */
    for (size_t i = 0; i < race->count; i++) {
        points.items[i] = sweep->points.items[alive[i]];
        number[i] = sweep->number[alive[i]];
        wanted[i] = samples;
    }
    memcpy(prompt, race->prompt + first, (end - first) * sizeof *prompt);
    qsort(prompt, end - first, sizeof *prompt, compare_indices);
    const struct run_goal goal = {.prompts = &sweep->prompts,
                                  .prompt = prompt,
                                  .prompt_count = end - first,
                                  .points = &points,
                                  .number = number,
                                  .samples = wanted,
                                  .shard = {0, 1}};
    int status = runner_run(&sweep->runner, &goal);
    free(points.items);
    free(number);
    free(wanted);
    free(prompt);
    free(alive);
    return status;
}

static int make_blocks(struct race *race) {
    size_t prompts = race->sweep->prompts.count;
    int32_t whole = (int32_t)(race->blocks / prompts) * race->block;
    size_t more = race->blocks % prompts;
    int status = make_range(race, 0, more, whole + race->block);
    return status ? status : make_range(race, more, prompts, whole);
}

/* Where a point of this sweep is in the summary. */
static size_t summary_place(const struct race *race, size_t point) {
    int32_t number = race->sweep->number[point];
    for (size_t i = 0; i < race->summary.points.count; i++)
        if (race->summary.points.items[i].point == number) return i;
    return SIZE_MAX;
}

/* The metric on the prompts of this round, which all living points have: values[prompts], NaN where there is none. */
static void point_values(const struct race *race, size_t point, double *values) {
    size_t prompts = race->sweep->prompts.count, place = summary_place(race, point);
    size_t used = race->blocks < prompts ? race->blocks : prompts;
    for (size_t i = 0; i < prompts; i++)
        values[i] =
            i < used && place != SIZE_MAX ? summary_cell(&race->summary, place, race->prompt[i])[race->metric] : NAN;
}

static double mean_of(const double *values, size_t count) {
    double sum = 0, n = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i])) continue;
        sum += values[i];
        n++;
    }
    return n > 0 ? sum / n : NAN;
}

static int score_points(struct race *race) {
    struct metric_mask mask = {{0}};
    mask.wanted[race->metric] = true;
    summary_free(&race->summary);
    int status = summary_make(&race->summary, race->sweep->store, &mask);
    double *values = xarray(race->sweep->prompts.count, sizeof *values);
    for (size_t i = 0; i < race->count && !status; i++) {
        point_values(race, race->alive[i], values);
        race->score[race->alive[i]] = race->sign * mean_of(values, race->sweep->prompts.count);
    }
    free(values);
    return status;
}

/* Best first, the unknown last; ties to the lower index. Counts are small: insertion keeps them stable. */
static void rank_points(struct race *race) {
    for (size_t i = 1; i < race->count; i++) {
        size_t point = race->alive[i], k = i;
        double score = race->score[point];
        while (k > 0 &&
               (score > race->score[race->alive[k - 1]] || (isnan(race->score[race->alive[k - 1]]) && !isnan(score)))) {
            race->alive[k] = race->alive[k - 1];
            k--;
        }
        race->alive[k] = point;
    }
}

static int run_rounds(struct race *race, const struct halving_round *rounds, size_t count, bool quiet) {
    for (size_t r = 0; r < count; r++) {
        race->count = rounds[r].points;
        race->blocks = rounds[r].blocks;
        int status = make_blocks(race);
        if (!status) status = score_points(race);
        if (status) return status;
        rank_points(race);
        if (isnan(race->score[race->alive[0]]))
            return complain(EXIT_FAILED, "no point has the metric %s: does it need answers, references or --verify?",
                            metric_info[race->metric].name);
        if (!quiet)
            fprintf(stderr, "tempera: round %zu of %zu: %zu points, %zu samples each; best so far %s, %s %.4g\n", r + 1,
                    count, race->count, race->blocks * (size_t)race->block,
                    race->sweep->points.items[race->alive[0]].name, metric_info[race->metric].name,
                    race->sign * race->score[race->alive[0]]);
    }
    return EXIT_DONE;
}

/* ---- what is said of it ---- */

struct verdict {
    struct estimate winner;
    struct difference margin; /* winner - second, in the metric's own sign */
    bool has_second;
    double spent, full; /* samples */
};

static struct verdict judge(const struct race *race, double spent, double full) {
    size_t prompts = race->sweep->prompts.count;
    double *first = xarray(prompts, sizeof *first), *second = xarray(prompts, sizeof *second);
    struct resamples *resamples = resamples_new();
    struct verdict verdict = {.has_second = race->count > 1, .spent = spent, .full = full};
    point_values(race, race->alive[0], first);
    verdict.winner = estimate_mean(resamples, first, prompts);
    if (verdict.has_second) {
        point_values(race, race->alive[1], second);
        verdict.margin = difference_paired(resamples, first, second, prompts);
    }
    resamples_free(resamples);
    free(first);
    free(second);
    return verdict;
}

static void estimate_json(struct json *j, const char *key, const struct estimate *estimate) {
    json_object(j, key);
    json_double(j, "mean", estimate->mean);
    json_double(j, "low", estimate->low);
    json_double(j, "high", estimate->high);
    json_uint(j, "units", estimate->units);
    json_end(j);
}

static void print_json(const struct race *race, const struct verdict *verdict) {
    struct json j = {0};
    const struct sweep_point *points = race->sweep->points.items;
    json_object(&j, NULL);
    json_text(&j, "metric", metric_info[race->metric].name);
    json_text(&j, "winner", points[race->alive[0]].name);
    estimate_json(&j, "value", &verdict->winner);
    if (verdict->has_second) {
        json_text(&j, "second", points[race->alive[1]].name);
        estimate_json(&j, "difference", &verdict->margin.estimate);
        json_double(&j, "p", verdict->margin.p);
    }
    json_double(&j, "samples", verdict->spent);
    json_double(&j, "full_samples", verdict->full);
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

static void add_interval(struct strbuf *b, const struct estimate *estimate) {
    strbuf_printf(b, "%.4g", estimate->mean);
    if (!isnan(estimate->low)) strbuf_printf(b, " (95%% %.4g to %.4g)", estimate->low, estimate->high);
}

static void print_text(const struct race *race, const struct verdict *verdict) {
    struct strbuf b = {0};
    const struct sweep_point *points = race->sweep->points.items;
    const struct run_figures_total *total = &race->sweep->runner.total;
    strbuf_printf(&b, "best      %s\n%-9s ", points[race->alive[0]].name, metric_info[race->metric].name);
    add_interval(&b, &verdict->winner);
    strbuf_printf(&b, " over %zu prompts\n", verdict->winner.units);
    if (verdict->has_second) {
        strbuf_printf(&b, "second    %s: ", points[race->alive[1]].name);
        add_interval(&b, &verdict->margin.estimate);
        strbuf_text(&b, " behind");
        if (!isnan(verdict->margin.p)) strbuf_printf(&b, ", p = %.3g", verdict->margin.p);
        strbuf_char(&b, '\n');
    }
    strbuf_printf(&b, "cost      %.0f samples of the %.0f of a full sweep (%.1f%%)", verdict->spent, verdict->full,
                  100 * verdict->spent / verdict->full);
    if (total->samples > 0 && total->seconds > 0)
        strbuf_printf(&b, "; at this run's pace a full sweep takes about %.0f s instead of %.0f s",
                      total->seconds * verdict->full / (double)total->samples, total->seconds);
    strbuf_char(&b, '\n');
    output_buf(&b);
    strbuf_free(&b);
}

/* ---- the command ---- */

static int race_budget(const struct race *race, const struct best_args *args, struct halving_round *rounds,
                       size_t *count) {
    double share;
    const struct sweep *sweep = race->sweep;
    int32_t samples = args->sweep.points.samples;
    if (!parse_share(args->budget, &share))
        return complain(EXIT_USAGE, "--budget: expected a share up to 100%%, such as 20%%, got \"%s\"", args->budget);
    if (samples < race->block)
        return complain(EXIT_USAGE, "--metric %s needs --samples %d or more", metric_info[race->metric].name,
                        (int)race->block);
    size_t blocks = sweep->prompts.count * (size_t)(samples / race->block);
    *count = halving_plan(sweep->points.count, blocks, share, rounds);
    if (*count > 0) return EXIT_DONE;
    double least = 100.0 * (1 + (ceil(log2((double)sweep->points.count)) - 1) / 2) / (double)blocks;
    return complain(EXIT_USAGE,
                    "--budget %s is less than one round for %zu points with %d samples of %zu prompts: about %.1f%% "
                    "would do, or more prompts or samples",
                    args->budget, sweep->points.count, (int)samples, sweep->prompts.count, least < 100 ? least : 100);
}

static int race_run(struct race *race, const struct best_args *args) {
    struct halving_round rounds[HALVING_ROUNDS];
    struct sweep *sweep = race->sweep;
    size_t count = 0;
    struct store *store = NULL;
    int status = race_budget(race, args, rounds, &count);
    if (!status) status = store_open(&store, args->sweep.out, STORE_CREATE);
    if (!status) status = sweep_prepare(sweep, &args->sweep, store);
    if (status) return status;
    race->alive = xarray(sweep->points.count, sizeof *race->alive);
    race->score = xarray(sweep->points.count, sizeof *race->score);
    for (size_t i = 0; i < sweep->points.count; i++) race->alive[i] = i;
    shuffle_prompts(race, sweep->points.base.items[0].seed);
    status = run_rounds(race, rounds, count, args->sweep.common.quiet);
    if (status && status != EXIT_INTERRUPTED) return status;
    int concluded = sweep_conclude(sweep, &args->sweep);
    if (status || concluded) return status ? status : concluded;
    double full = (double)sweep->points.count * (double)sweep->prompts.count * args->sweep.points.samples;
    struct verdict verdict = judge(race, (double)halving_cost(rounds, count) * race->block, full);
    if (args->sweep.common.json)
        print_json(race, &verdict);
    else
        print_text(race, &verdict);
    return EXIT_DONE;
}

static int search(const struct best_args *args, enum metric metric, int sign) {
    struct sweep sweep = {0};
    struct race race = {.sweep = &sweep, .metric = metric, .sign = sign, .block = block_samples(metric)};
    int status = sweep_open(&sweep, &args->sweep);
    if (!status) status = race_run(&race, args);
    summary_free(&race.summary);
    free(race.prompt);
    free(race.alive);
    free(race.score);
    sweep_close(&sweep);
    return status;
}

static void fair_json(const struct fair_curves *curves, enum metric metric) {
    struct json j = {0};
    json_object(&j, NULL);
    json_text(&j, "metric", metric_info[metric].name);
    json_uint(&j, "budget", curves->budget);
    json_text(&j, "leader", curves->groups[curves->leader].name);
    json_array(&j, "samplers");
    for (size_t g = 0; g < curves->count; g++) {
        json_object(&j, NULL);
        json_text(&j, "name", curves->groups[g].name);
        json_uint(&j, "settings", curves->groups[g].count);
        json_array(&j, "expected_best");
        for (size_t n = 0; n < curves->groups[g].count; n++) estimate_json(&j, NULL, &curves->groups[g].best[n]);
        json_end(&j);
        estimate_json(&j, "leader_minus_this", &curves->difference[g]);
        json_end(&j);
    }
    json_end(&j);
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

static void fair_text(const struct fair_curves *curves, enum metric metric) {
    struct strbuf b = {0}, cell = {0};
    size_t most = 0, width = 26;
    strbuf_printf(&b, "expected best %s of N settings\n%6s", metric_info[metric].name, "N");
    for (size_t g = 0; g < curves->count; g++) {
        strbuf_text(&b, "  ");
        show_cell(&b, curves->groups[g].name, width);
        if (curves->groups[g].count > most) most = curves->groups[g].count;
    }
    strbuf_char(&b, '\n');
    for (size_t n = 1; n <= most; n = n < 8 ? n + 1 : n + n / 4) {
        strbuf_printf(&b, "%6zu", n);
        for (size_t g = 0; g < curves->count; g++) {
            strbuf_clear(&cell);
            if (n <= curves->groups[g].count) {
                const struct estimate *e = &curves->groups[g].best[n - 1];
                strbuf_printf(&cell, "%.4g", e->mean);
                if (!isnan(e->low)) strbuf_printf(&cell, " (%.3g to %.3g)", e->low, e->high);
            }
            strbuf_text(&b, "  ");
            show_cell(&b, cell.data ? cell.data : "", width);
        }
        strbuf_char(&b, '\n');
    }
    for (size_t g = 0; g < curves->count; g++) {
        if (g == curves->leader) continue;
        strbuf_printf(&b, "at N = %zu: %s - %s = ", curves->budget, curves->groups[curves->leader].name,
                      curves->groups[g].name);
        add_interval(&b, &curves->difference[g]);
        strbuf_char(&b, '\n');
    }
    output_buf(&b);
    strbuf_free(&b);
    strbuf_free(&cell);
}

static int compare_fairly(const struct best_args *args, enum metric metric, int sign) {
    struct summary summary = {0};
    struct fair_curves curves = {0};
    struct metric_mask mask = {{0}};
    struct store *store;
    mask.wanted[metric] = true;
    int status = store_open(&store, args->fair, STORE_READ);
    if (status) return status;
    status = summary_make(&summary, store, &mask);
    if (!status) fair_make(&curves, &summary, metric, sign < 0);
    if (!status && curves.count == 0)
        status = complain(EXIT_FAILED, "%s: no point has the metric %s", args->fair, metric_info[metric].name);
    if (!status && args->sweep.common.json)
        fair_json(&curves, metric);
    else if (!status)
        fair_text(&curves, metric);
    fair_free(&curves);
    summary_free(&summary);
    store_close(store);
    return status;
}

static int run(void *user) {
    const struct best_args *args = user;
    if (!args->metric) return complain(EXIT_USAGE, "sweep best: give --metric NAME");
    enum metric metric = metric_find(args->metric);
    if (metric == METRIC_COUNT)
        return complain(EXIT_USAGE, "--metric: no metric is called \"%s\" (see tempera sweep stats --list-metrics)",
                        args->metric);
    int sign = direction(args, metric);
    if (sign == 0) return EXIT_USAGE;
    return args->fair ? compare_fairly(args, metric, sign) : search(args, metric, sign);
}

int sweep_best(int argc, char **argv) {
    struct best_args args = {.sweep = sweep_args_defaults, .budget = "20%"};
    args.sweep.argc = argc;
    args.sweep.argv = argv;
    args.sweep.name = "best";
    args.sweep.verify = verify_defaults;
    const struct arg_command command = {
        .name = "sweep best",
        .summary = "the best setting for a part of the cost; samplers at equal tuning budget",
        .synopsis = "--metric NAME [--budget 20%] --prompts FILE --grid AXES [flags] | --fair runs.db --metric NAME",
        .notes = notes,
        .examples = examples,
        .groups = {{"Search", best_flags, sizeof best_flags / sizeof *best_flags, &args},
                   SWEEP_GROUPS(&args.sweep),
                   COMMON_GROUPS(&args.sweep.common)}};
    return args_run(&command, argc, argv, run, &args);
}
