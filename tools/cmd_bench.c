/* cmd_bench.c: finds the command of `tempera bench`; without one, it is the speed tests. */
#include "bench/bench.h"
#include "commands.h"
#include "common.h"

static const struct command subcommands[] = {
    {"serve-like", bench_serve, NULL}, {"sampler", bench_sampler, NULL}, {"compare", bench_compare, NULL}};

int cmd_bench(int argc, char **argv) {
    if (argc == 0 || argv[0][0] == '-') return bench_speed(argc, argv);
    const struct command *command =
        command_find(argv[0], subcommands, sizeof subcommands / sizeof *subcommands, "bench: ", "bench ");
    return command ? command->run(argc - 1, argv + 1) : EXIT_USAGE;
}
