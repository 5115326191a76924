/* sweep_verify.c: tempera sweep verify: a command's verdict on every sample of a database. */
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "sweep/store_internal.h"
#include "sweep/sweep.h"
#include "sweep/verify.h"

struct verify_command_args {
    struct common_args common;
    struct text_list databases;
    struct verify_options verify;
    bool again;
};

static const struct arg verify_command_table[] = {
    {.name = "jobs",
     .letter = 'j',
     .kind = ARG_INT,
     .offset = offsetof(struct verify_command_args, verify) + offsetof(struct verify_options, jobs),
     .meta = "N",
     .text = "short for --verify-jobs",
     .initial = "0",
     .low = 0,
     .high = 1024},
    {.name = "again",
     .kind = ARG_FLAG,
     .offset = offsetof(struct verify_command_args, again),
     .text = "forget all verdicts first, those of another command too"},
};

static const char notes[] =
    "The command is run by /bin/sh in the current folder, several at a time, for every sample that has no verdict; "
    "verdicts and what it printed (up to 64 KiB) are stored, and sweep stats then shows verified and pass@k by them. "
    "After "
    "Ctrl-C the same command goes on. Variables and files exist only for what the prompt has (answer, test).\n"
    "Exit status 126 or 127 is the shell's word for a command that cannot be run, and stops everything; if they are "
    "ordinary for yours, give \"CMD || exit 1\". The commands run with your rights: code that a model wrote is best "
    "run in "
    "a sandbox (bwrap, a container).";

static const char examples[] = "  tempera sweep verify runs.db --verify 'grep -qi \"$TEMPERA_ANSWER\"'\n"
                               "  tempera sweep verify runs.db --verify 'cat $TEMPERA_PROMPT_FILE - $TEMPERA_TEST_FILE "
                               "| timeout 5 python3 -' -j 8\n";

/* The verdicts in a database are those of one command. */
static int claim(struct store *store, const struct verify_command_args *args) {
    char *there = store_manifest(store, "verify");
    int status = EXIT_DONE;
    if (there && strcmp(there, args->verify.command) != 0 && !args->again)
        status = complain(EXIT_FAILED, "%s: its verdicts are those of \"%s\"; --again replaces them", store_path(store),
                          there);
    free(there);
    return status;
}

/* One sample, whose verdict is dropped: whether the command runs is known before old verdicts are. */
static int rehearse(struct store *store, const struct sweep_prompts *prompts, const struct verify_options *options) {
    struct verify_options alone = *options;
    int status = EXIT_DONE;
    alone.counts = NULL;
    for (size_t i = 0; i < prompts->count && !status; i++) {
        struct sample_set set = {0};
        int32_t verdict;
        status = store_load_samples(store, (int32_t)i, &set);
        bool found = !status && set.count;
        if (found) status = verify_samples(&prompts->items[i], set.items, 1, &alone, &verdict, NULL);
        sample_set_free(&set);
        if (found) break;
    }
    return status;
}

static int prepare(struct store *store, const struct sweep_prompts *prompts, const struct verify_command_args *args) {
    int status = claim(store, args);
    if (!status && args->again) status = rehearse(store, prompts, &args->verify);
    if (!status) status = store_begin(store);
    if (!status && args->again) status = store_execute(store, "UPDATE samples SET verdict = NULL, output = NULL");
    if (!status) status = store_manifest_set(store, "verify", args->verify.command);
    if (!status) status = store_commit(store);
    if (status) store_rollback(store);
    return status;
}

static void report(const struct verify_command_args *args, const struct verify_counts *counts) {
    struct json j = {0};
    if (args->common.json) {
        json_object(&j, NULL);
        json_int(&j, "verified", counts->run);
        json_int(&j, "passed", counts->passed);
        json_int(&j, "timed_out", counts->timed_out);
        json_end(&j);
        strbuf_char(&j.out, '\n');
    } else if (!args->common.quiet) {
        strbuf_printf(&j.out, "%lld samples verified: %lld passed", (long long)counts->run, (long long)counts->passed);
        if (counts->run) strbuf_printf(&j.out, " (%.1f%%)", 100 * (double)counts->passed / (double)counts->run);
        if (counts->timed_out) strbuf_printf(&j.out, ", %lld ran out of time", (long long)counts->timed_out);
        strbuf_char(&j.out, '\n');
    }
    output_buf(&j.out);
    strbuf_free(&j.out);
}

static int verify_run(void *user) {
    struct verify_command_args *args = user;
    struct verify_counts counts = {0};
    struct store *store = NULL;
    struct sweep_prompts prompts = {0};
    if (args->databases.count != 1)
        return complain(EXIT_USAGE, "sweep verify: needs one database, got %zu", args->databases.count);
    if (!args->verify.command) return complain(EXIT_USAGE, "sweep verify: needs --verify CMD");
    args->verify.counts = &counts;
    progress_allow(!args->common.quiet);
    interrupt_catch();
    int status = verify_check(&args->verify);
    if (!status) status = store_open(&store, args->databases.items[0], STORE_WRITE);
    if (!status) status = store_load_prompts(store, &prompts);
    if (!status) status = prepare(store, &prompts, args);
    for (size_t i = 0; i < prompts.count && !status; i++)
        status = verify_prompt(store, (int32_t)i, &prompts.items[i], &args->verify);
    if (!status || status == EXIT_INTERRUPTED) report(args, &counts);
    sweep_prompts_free(&prompts);
    store_close(store);
    return status;
}

int sweep_verify(int argc, char **argv) {
    struct verify_command_args args = {.common = common_defaults, .verify = verify_defaults};
    const struct arg_command command = {.name = "sweep verify",
                                        .summary = "a command's verdict on every sample",
                                        .synopsis = "DATABASE --verify CMD [flags]",
                                        .notes = notes,
                                        .examples = examples,
                                        .positional = &args.databases,
                                        .groups = {{"Verification", verify_args, VERIFY_ARGS, &args.verify},
                                                   {"This run", verify_command_table,
                                                    sizeof verify_command_table / sizeof *verify_command_table, &args},
                                                   OUTPUT_GROUP(&args.common)}};
    return args_run(&command, argc, argv, verify_run, &args);
}
