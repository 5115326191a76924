/* compare.c: `tempera bench compare`: another project's benchmark on the same shapes, in one interleaved run. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "output.h"
#include "peer.h"
#include "run.h"
#include "work.h"

struct compare_args {
    struct setup_args setup;
    struct plan_args plan;
    int32_t rounds, warmup, time_limit;
    struct text_list with, with_args;
    const char *with_model;
};

static const struct arg compare_flags[] = {
    {.name = "with",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct compare_args, with),
     .meta = "NAME=PATH",
     .text = "the program to compare with: llama-bench=PATH runs tests of one sequence, llama-batched-bench=PATH those "
             "of a batch; both can be given"},
    {.name = "with-model",
     .kind = ARG_TEXT,
     .offset = offsetof(struct compare_args, with_model),
     .meta = "FILE",
     .text = "its model: the same shape and type of weights as --model or --random"},
    {.name = "with-arg",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct compare_args, with_args),
     .meta = "WORD",
     .text = "add this to its command line: --with-arg=-fa --with-arg=on"},
    {.name = "batch",
     .letter = 'b',
     .kind = ARG_INTS,
     .offset = offsetof(struct compare_args, plan.batch),
     .meta = "N,...",
     .text = "sequences to generate at once; more than 1 needs llama-batched-bench",
     .initial = "1",
     .low = 1,
     .high = 65536},
    {.name = "rounds",
     .letter = 'r',
     .kind = ARG_INT,
     .offset = offsetof(struct compare_args, rounds),
     .meta = "N",
     .text = "pairs of runs of each test",
     .initial = "5",
     .low = 1,
     .high = 1000},
    {.name = "warmup",
     .letter = 'w',
     .kind = ARG_INT,
     .offset = offsetof(struct compare_args, warmup),
     .meta = "N",
     .text = "our runs before each timed one that are not counted; the other program has its own",
     .initial = "1",
     .low = 0,
     .high = 100},
    {.name = "time-limit",
     .kind = ARG_INT,
     .offset = offsetof(struct compare_args, time_limit),
     .meta = "SECONDS",
     .text = "how long one run of the other program may take",
     .initial = "600",
     .low = 1,
     .high = 86400},
};

static const char notes[] =
    "In each round every test is run once by tempera and then once by the other program, on as many threads: what "
    "disturbs the machine disturbs both. A ratio is ours over theirs in one round; its median and extremes over the "
    "rounds are printed, not the ratio of two means. The other program loads its model for every run, which it does "
    "not "
    "count; on a CPU it is told to stay there (-ngl 0).\n"
    "What is not the same: llama-bench and llama-batched-bench time neither sampling nor detokenising; tempera's times "
    "include both (as --sampler says), and stop rules. A random model has no tokenizer and so no detokenising.\n"
    "JSON rows: test, ours, theirs, ratio (the medians), ratio_min, ratio_max, ours_samples, theirs_samples, "
    "ratio_samples, rounds, peer, peer_model, peer_build, peer_cache, differs, and those of tempera bench about model, "
    "device and ceilings. The database's table is compare.";

static const char examples[] =
    "  tempera bench compare --random gpt2 --with llama-bench=llama.cpp/build/bin/llama-bench --with-model "
    "gpt2-f32.gguf\n"
    "  tempera bench compare --model ~/models/gpt2 --dtype bf16 --with llama-bench=llama-bench "
    "--with-model gpt2-bf16.gguf -p 512 -n 128 -d 0,896 -r 9\n"
    "  tempera bench compare --random gpt2 --with llama-batched-bench=llama-batched-bench --with-model gpt2-f32.gguf "
    "-p 0 -n 32 -b 64\n";

/* ---- pairs ---- */

struct pairs {
    struct speed_test test;
    const struct peer *peer;
    struct samples ours, theirs, ratios;
    struct peer_answer answer; /* the latest */
};

static int run_ours(const struct compare_args *args, struct runner *runner, const struct speed_test *test,
                    double *rate) {
    struct measured measured = {0};
    int status = EXIT_DONE;
    for (int32_t i = 0; i < args->warmup && !status; i++) status = run_once(runner, test, NULL);
    if (!status) status = run_once(runner, test, &measured);
    if (!status) *rate = measured.rates.items[0];
    measured_free(&measured);
    return status;
}

static int run_pair(const struct compare_args *args, struct runner *runner, struct pairs *pairs, int32_t round) {
    char name[PLAN_NAME];
    double ours;
    plan_name(name, &pairs->test);
    progress_show("round %d of %d: %s", round + 1, args->rounds, name);
    int status = run_ours(args, runner, &pairs->test, &ours);
    progress_show("round %d of %d: %s, %s", round + 1, args->rounds, name, pairs->peer->name);
    if (!status) status = peer_run(pairs->peer, &pairs->test, &pairs->answer);
    if (status) return status;
    samples_add(&pairs->ours, ours);
    samples_add(&pairs->theirs, pairs->answer.rate);
    samples_add(&pairs->ratios, ours / pairs->answer.rate);
    return EXIT_DONE;
}

/* ---- rows ---- */

static void add_row(struct rows *rows, const struct setup *setup, const struct pairs *pairs) {
    const struct spread ours = spread_of(pairs->ours.items, pairs->ours.count);
    const struct spread theirs = spread_of(pairs->theirs.items, pairs->theirs.count);
    const struct spread ratios = spread_of(pairs->ratios.items, pairs->ratios.count);
    const struct work work = work_of(&setup->session, &pairs->test);
    const struct work_share share = work_share(setup, &pairs->test, &work, ours.p50);
    char name[PLAN_NAME];
    struct row *row = rows_add(rows);
    plan_name(name, &pairs->test);
    row_text(row, "test", name);
    row_text(row, "unit", "tok/s");
    row_real(row, "ours", ours.p50, 3);
    row_real(row, "theirs", theirs.p50, 3);
    row_real(row, "ratio", ratios.p50, 4);
    row_real(row, "ratio_min", ratios.min, 4);
    row_real(row, "ratio_max", ratios.max, 4);
    row_int(row, "rounds", (int64_t)pairs->ratios.count);
    row_reals(row, "ours_samples", pairs->ours.items, pairs->ours.count, 3);
    row_reals(row, "theirs_samples", pairs->theirs.items, pairs->theirs.count, 3);
    row_reals(row, "ratio_samples", pairs->ratios.items, pairs->ratios.count, 4);
    row_real(row, "share_of_roofline", share.roofline, 4);
    row_text(row, "roofline", share.bound);
    row_text(row, "peer", pairs->peer->name);
    row_text(row, "peer_path", pairs->peer->path);
    row_text(row, "peer_model", pairs->peer->model);
    row_text(row, "peer_type", pairs->answer.model);
    row_text(row, "peer_build", pairs->answer.build);
    row_text(row, "peer_cache", pairs->answer.cache);
    row_text(row, "differs", peer_differs(pairs->peer));
    row_int(row, "tokens", pairs->test.tokens);
    row_int(row, "batch", pairs->test.batch);
    row_int(row, "depth", pairs->test.depth);
    setup_figures(row, setup);
}

static void show_share(struct strbuf *b, const struct row *row) {
    strbuf_printf(b, "%.1f%% of %s", 100 * row_find(row, "share_of_roofline")->real, row_find(row, "roofline")->text);
}

static const struct column columns[] = {
    {.title = "test", .name = "test"},
    {.title = "tempera", .name = "ours"},
    {.title = "other", .name = "theirs"},
    {.title = "ratio", .name = "ratio"},
    {.title = "from", .name = "ratio_min"},
    {.title = "to", .name = "ratio_max"},
    {.title = "rounds", .name = "rounds"},
    {.title = "other program", .name = "peer"},
    {.title = "of roofline", .show = show_share},
};

/* What is compared with what: the table says nothing without it. */
static void describe(struct strbuf *below, const struct pairs *pairs, size_t count) {
    const struct peer *told = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct pairs *p = &pairs[i];
        if (p->peer == told || p->ratios.count == 0) continue;
        told = p->peer;
        strbuf_printf(below, "%s: %s", p->peer->name, p->peer->model);
        if (*p->answer.model) strbuf_printf(below, ", %s", p->answer.model);
        if (*p->answer.build) strbuf_printf(below, ", commit %s", p->answer.build);
        if (*p->answer.cache) strbuf_printf(below, ", keys and values %s", p->answer.cache);
        strbuf_printf(below, "\n%s.\n", peer_differs(p->peer));
    }
}

static int print_pairs(const struct compare_args *args, const struct setup *setup, const struct pairs *pairs,
                       size_t count, struct rows_view *view) {
    struct rows rows = {0};
    struct strbuf above = {0}, below = {0};
    for (size_t i = 0; i < count; i++)
        if (pairs[i].ratios.count) add_row(&rows, setup, &pairs[i]);
    setup_describe(&above, setup);
    strbuf_printf(&above, "tokens per second, medians of %d rounds; a ratio is of one round\n", args->rounds);
    describe(&below, pairs, count);
    view->above = above.data;
    view->below = below.data;
    int status = rows_print(&rows, view);
    strbuf_free(&above);
    strbuf_free(&below);
    rows_free(&rows);
    return status;
}

/* ---- the run ---- */

/* Finds who runs each test. */
static int match(const struct plan *plan, const struct peer *peers, size_t peer_count, struct pairs *pairs) {
    for (size_t i = 0; i < plan->count; i++) {
        char name[PLAN_NAME];
        pairs[i].test = plan->tests[i];
        for (size_t k = 0; k < peer_count; k++)
            if (peer_runs(&peers[k], &plan->tests[i])) pairs[i].peer = &peers[k];
        plan_name(name, &plan->tests[i]);
        if (!pairs[i].peer)
            return complain(EXIT_USAGE, "bench compare: %s needs --with %s=PATH", name,
                            plan->tests[i].batch > 1 ? "llama-batched-bench" : "llama-bench");
    }
    return EXIT_DONE;
}

/* Rounds that were finished are printed after Ctrl-C too. */
static int run_rounds(const struct compare_args *args, struct setup *setup, struct pairs *pairs, size_t count,
                      struct rows_view *view) {
    struct runner runner = {.setup = setup};
    int status = setup_ceilings(setup);
    for (int32_t round = 0; round < args->rounds && !status; round++)
        for (size_t i = 0; i < count && !status; i++) status = run_pair(args, &runner, &pairs[i], round);
    if (!status) status = setup_ceilings(setup);
    progress_clear();
    if (status && status != EXIT_INTERRUPTED) return status;
    int printed = print_pairs(args, setup, pairs, count, view);
    return status ? status : printed;
}

static int run_plan(struct compare_args *args, struct setup *setup, struct peer *peers, const struct plan *plan,
                    struct rows_view *view) {
    tempera_engine_options options;
    struct pairs *pairs = xarray(plan->count + 1, sizeof *pairs);
    int status = match(plan, peers, args->with.count, pairs);
    if (!status) status = plan_engine(plan, &setup->session, &args->setup.common, &options);
    if (!status) progress_show("loading %s", setup->session.info.folder);
    if (!status) status = session_start(&setup->session, &options);
    for (size_t k = 0; k < args->with.count; k++) {
        peers[k].threads = setup->session.plan.threads;
        peers[k].cpu = strcmp(setup->session.plan.device, "cpu") == 0;
    }
    if (!status) status = run_rounds(args, setup, pairs, plan->count, view);
    for (size_t i = 0; i < plan->count; i++) {
        samples_free(&pairs[i].ours);
        samples_free(&pairs[i].theirs);
        samples_free(&pairs[i].ratios);
    }
    free(pairs);
    return status;
}

static int read_peers(const struct compare_args *args, struct peer *peers) {
    if (args->with.count == 0) return complain(EXIT_USAGE, "bench compare: needs --with NAME=PATH (see --help)");
    if (!args->with_model) return complain(EXIT_USAGE, "bench compare: needs --with-model FILE");
    for (size_t i = 0; i < args->with.count; i++) {
        int status = peer_parse(&peers[i], args->with.items[i]);
        if (status) return status;
        peers[i].model = args->with_model;
        peers[i].more = &args->with_args;
        peers[i].time_limit = args->time_limit;
    }
    return EXIT_DONE;
}

static int compare_run(void *user) {
    static const int32_t one = 1;
    struct compare_args *args = user;
    struct setup setup = {0};
    struct plan plan = {0};
    struct peer *peers = xarray(args->with.count + 1, sizeof *peers);
    struct rows_view view = {.format = setup_format(&args->setup),
                             .out = args->setup.rows.out,
                             .table = "compare",
                             .columns = {columns},
                             .counts = {sizeof columns / sizeof *columns}};
    progress_allow(!args->setup.common.quiet);
    int_list_default(&args->plan.batch, &one, 1);
    int status = read_peers(args, peers);
    if (!status) status = rows_check(&view);
    if (!status) status = setup_open(&setup, &args->setup);
    if (!status) {
        int32_t context = args->setup.common.context, most = setup.session.info.context;
        plan_make(&plan, &args->plan, context > 0 && context < most ? context : most);
        status = run_plan(args, &setup, peers, &plan, &view);
    }
    setup_close(&setup);
    plan_free(&plan);
    free(peers);
    return status;
}

int bench_compare(int argc, char **argv) {
    struct compare_args args = {.setup = SETUP_DEFAULTS, .rounds = 5, .warmup = 1, .time_limit = 600};
    const struct arg_command command = {
        .name = "bench compare",
        .summary = "another project's benchmark on the same shapes, in one interleaved run",
        .synopsis = "[--model DIR | --random SHAPE] --with NAME=PATH --with-model FILE [flags]",
        .notes = notes,
        .examples = examples,
        .groups = {{"Comparison", compare_flags, sizeof compare_flags / sizeof *compare_flags, &args},
                   {"Tests", plan_args, PLAN_ARGS - 1, &args.plan},
                   {"What and how", setup_model_args, 2, &args.setup},
                   {"Rows", rows_args, ROWS_ARGS, &args.setup.rows},
                   COMMON_GROUPS(&args.setup.common)}};
    return args_run(&command, argc, argv, compare_run, &args);
}
