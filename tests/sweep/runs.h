/* runs.h: sweeps as a user runs them, in an empty folder of the test's own, and what their databases hold. */
#ifndef TESTS_SWEEP_RUNS_H
#define TESTS_SWEEP_RUNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "tests/cli/cli.h"

/* For TestSuite: the current folder becomes a new one, which is removed at the end. No launcher's variables are left. */
void enter_folder(void);
void leave_folder(void);

/* "tempera sweep WORDS…" ends with exit status 0. */
#define SWEEP(...) sweep_expect(0, "", NULL, "sweep", __VA_ARGS__, NULL)
/* It ends with this status and one line on standard error that holds `part`. */
#define SWEEP_REFUSED(status, part, ...) sweep_expect(status, part, NULL, "sweep", __VA_ARGS__, NULL)
void sweep_expect(int status, const char *part, const char *input, const char *first, ...) __attribute__((sentinel));

/* `tempera sweep diff` finds them identical. */
bool same_databases(const char *a, const char *b);

/* A process that runs beside the test: argv[0] is looked up in PATH, NULL words end; "tempera" is the built program. Its
 * output goes to the file `log` ("" = nowhere). file_limit: no file may grow beyond that many bytes, 0 = as it is. */
pid_t launch(const char *const *argv, const char *log, size_t file_limit);
/* Its exit status, or 128 + the signal that ended it. usage may be NULL. */
int wait_for(pid_t child, struct rusage *usage);
int launch_and_wait(const char *const *argv, const char *log, size_t file_limit);
bool in_path(const char *program);

void write_text(const char *path, const char *text);
char *read_file_text(const char *path, size_t *length); /* NULL when it cannot be read; owned by the caller */
void copy_file(const char *from, const char *to);
bool is_there(const char *path);
void pause_seconds(double seconds);
void wait_for_file(const char *path, const char *or_path); /* until one of them is there; a minute at most */

/* By SQL, around the program's own code. */
void db_execute(const char *path, const char *sql);
int64_t db_number(const char *path, const char *sql);

/* The folder of a trained model, NULL when it is not here (TEMPERA_TEST_MODELS, else beside the checkout). */
const char *find_model(const char *name);

#endif
