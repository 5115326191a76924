/* main.c: the program `tempera`: finds the subcommand. */
#include <signal.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "output.h"

static const struct command commands[] = {
    {"generate", cmd_generate, "continue prompts, under one setting or many"},
    {"tokenize", cmd_tokenize, "pieces and ids of a text, and back"},
    {"score", cmd_score, "log-probability of a text, perplexity, ranking of choices"},
    {"probs", cmd_probs, "the next token's distribution, raw and after each filter"},
    {"sweep", cmd_sweep, "compare settings: samples in a database, figures with intervals, a report page"},
    {"presets", cmd_presets, "recommended settings by kind of content"},
    {"bench", cmd_bench, "prefill and decode speed, as shares of what the device can do"},
    {"info", cmd_info, "a model's shape, its memory plan, the devices"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void usage(struct strbuf *b) {
    strbuf_text(b, "tempera: a transformer runtime that compares sampling settings\n\n"
                   "Usage: tempera COMMAND [flags]\n"
                   "       tempera help COMMAND\n"
                   "       tempera --version\n\n"
                   "Commands:\n");
    for (size_t i = 0; i < COMMANDS; i++) strbuf_printf(b, "  %-10s %s\n", commands[i].name, commands[i].summary);
    strbuf_text(b,
                "\nExamples:\n"
                "  tempera generate --prompt \"Once upon a time\"\n"
                "  tempera generate -p \"Once upon a time\" --setting temperature=0.2 --setting temperature=1 --n 3\n"
                "  tempera probs -p \"Once upon a\" --top-p 0.9\n"
                "  tempera sweep run -p \"Once upon a time\" --grid \"temperature=0.2:1.4:0.2 top_p=0.5,0.9,1\"\n"
                "\nExit status: 0 done, 1 failed, 2 wrong usage, 130 after Ctrl-C.\n");
}

static int print_usage(int status) {
    struct strbuf text = {0};
    usage(&text);
    if (status == EXIT_DONE)
        output_buf(&text);
    else
        fputs(text.data, stderr);
    strbuf_free(&text);
    return status;
}

static int print_version(void) {
    struct strbuf text = {0};
    strbuf_printf(&text, "tempera %s\n", tempera_build()); /* begins with the version */
    output_buf(&text);
    strbuf_free(&text);
    return EXIT_DONE;
}

static const struct command *find_command(const char *name) {
    return command_find(name, commands, COMMANDS, "", "");
}

static int help(const char *name) {
    char flag[] = "--help";
    char *argv[] = {flag};
    const struct command *command = find_command(name);
    return command ? command->run(1, argv) : EXIT_USAGE;
}

static int run(int argc, char **argv) {
    if (argc < 2) return print_usage(EXIT_USAGE);
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return print_usage(EXIT_DONE);
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) return print_version();
    if (strcmp(name, "help") == 0) return argc > 2 ? help(argv[2]) : print_usage(EXIT_DONE);
    if (name[0] == '-') return complain(EXIT_USAGE, "expected a command before %s (see tempera --help)", name);
    const struct command *command = find_command(name);
    return command ? command->run(argc - 2, argv + 2) : EXIT_USAGE;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, reported like a full disk */
    return output_finish(run(argc, argv));
}
