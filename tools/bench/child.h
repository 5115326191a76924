/* child.h: another program, run to its end or to a time limit. */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include "strbuf.h"

/* What it wrote. */
struct child {
    struct strbuf out; /* standard output, at most 16 MiB */
    struct strbuf err; /* the end of standard error, some kilobytes */
};
void child_free(struct child *child);

/* Runs argv[0] (a path; the list ends with NULL) with no input. It and all that it starts are killed after `seconds`,
 * when it writes too much, and on Ctrl-C. 0 when it ended by itself with exit status 0, else the exit status after one
 * line that begins with `what` and says how it ended, with its last line on standard error. */
int child_run(struct child *child, const char *const *argv, double seconds, const char *what);

#endif
