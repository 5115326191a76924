/* startup.h: how long this program takes from its start to its first token. */
#ifndef BENCH_STARTUP_H
#define BENCH_STARTUP_H

#include "common.h"

/* Runs this program's `generate` for one token and waits for its first byte of output. 0 or the exit status. */
int startup_once(const char *folder, const struct common_args *args, double *seconds);

#endif
