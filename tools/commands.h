/* commands.h: the subcommands. Each gets the words after its name and returns the exit status. */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include <stddef.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};
/* The one of that name; NULL after a complaint that begins with `context` and ends with the nearest name, or with
 * "see tempera WORDS--help". */
const struct command *command_find(const char *name, const struct command *commands, size_t count, const char *context,
                                   const char *words);

int cmd_generate(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_score(int argc, char **argv);
int cmd_probs(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_presets(int argc, char **argv);
int cmd_sweep(int argc, char **argv);

#endif
