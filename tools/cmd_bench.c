/* cmd_bench.c: finds the command of `tempera bench`; without one, it is the speed tests. */
#include <string.h>

#include "args.h"
#include "bench/bench.h"
#include "commands.h"
#include "common.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} subcommands[] = {{"serve-like", bench_serve}, {"sampler", bench_sampler}, {"compare", bench_compare}};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

int cmd_bench(int argc, char **argv) {
    const char *names[SUBCOMMANDS];
    if (argc == 0 || argv[0][0] == '-') return bench_speed(argc, argv);
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        if (strcmp(subcommands[i].name, argv[0]) == 0) return subcommands[i].run(argc - 1, argv + 1);
        names[i] = subcommands[i].name;
    }
    const char *near = nearest_name(argv[0], names, SUBCOMMANDS);
    if (near) return complain(EXIT_USAGE, "bench: unknown command \"%s\" (did you mean %s?)", argv[0], near);
    return complain(EXIT_USAGE, "bench: unknown command \"%s\" (see tempera bench --help)", argv[0]);
}
