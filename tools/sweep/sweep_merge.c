/* sweep_merge.c: `tempera sweep merge`: the databases of shards into one. */
#include "sweep.h"

#include <stdio.h>

#include "args.h"
#include "common.h"
#include "merge.h"

struct merge_args {
    struct text_list inputs;
    const char *out;
    bool quiet;
};

static const struct arg merge_flags[] = {
    {.name = "out",
     .letter = 'o',
     .kind = ARG_TEXT,
     .offset = offsetof(struct merge_args, out),
     .meta = "FILE",
     .text = "the database to merge into; it may exist"},
    {.name = "quiet",
     .letter = 'q',
     .kind = ARG_FLAG,
     .offset = offsetof(struct merge_args, quiet),
     .text = "no notes on standard error"},
};

static const char notes[] =
    "Samples are functions of their keys, so parts that different machines made fit together without coordination. "
    "Databases of different models, prompts, devices or instruction sets are refused, and so are two different samples "
    "under one key. Each database is merged whole or not at all; a new output appears when all are.";

static const char examples[] = "  tempera sweep merge a.db b.db -o all.db\n";

static int run(void *user) {
    const struct merge_args *args = user;
    int64_t samples = 0;
    if (!args->out || !*args->out) return complain(EXIT_USAGE, "sweep merge: give --out FILE");
    if (args->inputs.count == 0) return complain(EXIT_USAGE, "sweep merge: give the databases to merge");
    int status = merge_files(args->out, args->inputs.items, args->inputs.count, &samples);
    if (!status && !args->quiet) fprintf(stderr, "tempera: %s holds %lld samples\n", args->out, (long long)samples);
    return status;
}

int sweep_merge(int argc, char **argv) {
    struct merge_args args = {0};
    const struct arg_command command = {
        .name = "sweep merge",
        .summary = "databases of one sweep's parts into one",
        .synopsis = "PART.db... -o ALL.db",
        .notes = notes,
        .examples = examples,
        .positional = &args.inputs,
        .groups = {{"Output", merge_flags, sizeof merge_flags / sizeof *merge_flags, &args}}};
    return args_run(&command, argc, argv, run, &args);
}
