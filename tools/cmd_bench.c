/* cmd_bench.c: `tempera bench`. */
#include "bench/bench.h"
#include "commands.h"

int cmd_bench(int argc, char **argv) {
    return bench_speed(argc, argv);
}
