/* sweep_run.c: `tempera sweep run`: samples of every prompt under every setting, into a database. */
#include "sweep.h"

#include <stdio.h>
#include <string.h>

#include "merge.h"
#include "output.h"
#include "setup.h"
#include "stats.h"

struct run_args {
    struct sweep_args sweep;
    const char *shard;
    bool no_stats;
};

static const struct arg run_flags[] = {
    {.name = "shard",
     .kind = ARG_TEXT,
     .offset = offsetof(struct run_args, shard),
     .meta = "I/N",
     .text =
         "make the I-th of N parts only, I from 1 (see tempera sweep merge); without it, the rank that mpirun or srun "
         "gave, whose last process merges all parts into --out",
     .initial = "1/1"},
    {.name = "no-stats",
     .kind = ARG_FLAG,
     .offset = offsetof(struct run_args, no_stats),
     .text = "do not compute the closing table (tempera sweep stats does)"},
};

static const char notes[] =
    "One prompt with all its points and samples is one request: the prompt is computed once, and samples share a row "
    "for as "
    "long as they agree. What has finished is written in transactions: after a kill, a full disk or Ctrl-C the same "
    "command "
    "goes on, and ends with the same database as an uninterrupted run. The database remembers the model, the prompts, "
    "the "
    "device and its instruction set, on which the samples depend, and refuses others.\n"
    "Seeds, samples and settings have the meaning of tempera generate: sample K of a point is what generate makes with "
    "--first-sample K and the point's settings.";

static const char examples[] =
    "  tempera sweep run -p \"Once upon a time\" --grid \"temperature=0.2:1.4:0.2 top_p=0.5,0.9,1\" --samples 16 -o "
    "runs.db\n"
    "  tempera sweep run --prompts questions.jsonl --presets --setting \"plain: temperature=1\" --max-tokens 64\n"
    "  tempera sweep stats runs.db; tempera sweep report runs.db -o report.html\n";

static int print_table(struct store *store, const struct sweep_args *args) {
    const struct stats_view view = stats_view_default();
    const struct metric_mask mask = stats_mask(&view);
    struct summary summary;
    double start = seconds_now();
    int status = summary_make(&summary, store, args->common.json ? NULL : &mask);
    if (!status && args->common.json)
        stats_print_json(&summary, &view, store_path(store));
    else if (!status)
        stats_print_summary(&summary, &view);
    if (!status && !args->common.quiet && args->common.stats)
        fprintf(stderr, "tempera: the table took %.2f s\n", seconds_now() - start);
    summary_free(&summary);
    return status;
}

static int make_samples(struct sweep *sweep, const struct sweep_args *args, struct shard shard) {
    const struct run_goal goal = {
        .prompts = &sweep->prompts, .points = &sweep->points, .number = sweep->number, .shard = shard};
    int status = runner_run(&sweep->runner, &goal);
    if (status && status != EXIT_INTERRUPTED) return status;
    int concluded = sweep_conclude(sweep, args);
    return status ? status : concluded;
}

static int run_with(struct sweep *sweep, const struct run_args *args, const struct shard *shard, bool part) {
    struct store *store = NULL;
    const struct sweep_args *given = &args->sweep;
    int status = part ? part_open(&store, given->out, shard) : store_open(&store, given->out, STORE_CREATE);
    if (status) return status;
    status = sweep_prepare(sweep, given, store);
    if (!status) status = make_samples(sweep, given, *shard);
    if (!status && !part && !args->no_stats && !output_failed()) status = print_table(store, given);
    return status;
}

static int run(void *user) {
    const struct run_args *args = user;
    struct sweep sweep = {0};
    struct shard shard = shard_from_environment();
    bool part = !args->shard && shard.count > 1;
    if (args->shard && !shard_parse(args->shard, &shard))
        return complain(EXIT_USAGE, "--shard: expected I/N with I from 1 to N, got \"%s\"", args->shard);
    int status = sweep_open(&sweep, &args->sweep);
    if (!status) status = run_with(&sweep, args, &shard, part);
    sweep_close(&sweep);
    return !status && part ? part_finish(args->sweep.out, &shard, args->sweep.common.quiet) : status;
}

int sweep_run(int argc, char **argv) {
    struct run_args args = {.sweep = sweep_args_defaults};
    args.sweep.argc = argc;
    args.sweep.argv = argv;
    args.sweep.name = "run";
    args.sweep.verify = verify_defaults;
    const struct arg_command command = {.name = "sweep run",
                                        .summary = "samples of prompts under many settings, into a database",
                                        .synopsis = "--prompts FILE --grid AXES [-o runs.db] [flags]",
                                        .notes = notes,
                                        .examples = examples,
                                        .groups = {SWEEP_GROUPS(&args.sweep),
                                                   {"Run", run_flags, sizeof run_flags / sizeof *run_flags, &args},
                                                   COMMON_GROUPS(&args.sweep.common)}};
    return args_run(&command, argc, argv, run, &args);
}
