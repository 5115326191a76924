/* cmd_sweep.c: finds the subcommand of `tempera sweep`. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "output.h"
#include "sweep/sweep.h"

static const struct command subcommands[] = {
    {"run", sweep_run, "samples of prompts under many settings, into a database"},
    {"stats", sweep_stats, "every figure of every setting, with intervals and paired differences"},
    {"report", sweep_report, "one page to look at it all, offline"},
    {"best", sweep_best, "the best setting for a part of the cost; samplers at equal tuning budget"},
    {"score", sweep_score, "given texts under many settings, exactly, without sampling"},
    {"verify", sweep_verify, "a command's verdict on every sample"},
    {"merge", sweep_merge, "databases of one sweep's parts into one"},
    {"diff", sweep_diff, "whether two databases hold the same"},
};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static int print_usage(int status) {
    struct strbuf text = {0};
    strbuf_text(&text,
                "tempera sweep: compare sampling settings\n\nUsage: tempera sweep COMMAND [flags]\n\nCommands:\n");
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        strbuf_printf(&text, "  %-8s %s\n", subcommands[i].name, subcommands[i].summary);
    strbuf_text(&text,
                "\nExamples:\n"
                "  tempera sweep run -p \"Once upon a time\" --grid \"temperature=0.2:1.4:0.2 top_p=0.5,0.9,1\"\n"
                "  tempera sweep stats runs.db\n"
                "  tempera sweep report runs.db -o report.html\n"
                "\nEach explains itself with --help.\n");
    if (status == EXIT_DONE)
        output_buf(&text);
    else
        fputs(text.data, stderr);
    strbuf_free(&text);
    return status;
}

int cmd_sweep(int argc, char **argv) {
    if (argc == 0) return print_usage(EXIT_USAGE);
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) return print_usage(EXIT_DONE);
    const struct command *command = command_find(argv[0], subcommands, SUBCOMMANDS, "sweep: ", "sweep ");
    return command ? command->run(argc - 1, argv + 1) : EXIT_USAGE;
}
