/* verify.h: a command's verdict on samples: exit status 0 passed, anything else failed.
 *
 * WHAT THE COMMAND SEES. /bin/sh -c COMMAND in the current folder, in a process group of its own, with no descriptors
 * but 0, 1 and 2. Standard input is the sample's text. The environment has, besides the caller's,
 *   TEMPERA_PROMPT, TEMPERA_ANSWER, TEMPERA_TEST: the prompt's text, answer and test; each only where there is one of
 *       at most VERIFY_INLINE bytes
 *   TEMPERA_PROMPT_FILE, TEMPERA_ANSWER_FILE, TEMPERA_TEST_FILE: files that hold the same, of any length
 *   TEMPERA_SAMPLE_FILE: a file that holds the sample's text
 *   TEMPERA_PROMPT_ID
 * The files are in a temporary folder ($TMPDIR, else /tmp) that is removed afterwards.
 *
 * WHAT IT MAY DO. Its output, standard error too, is kept up to VERIFY_OUTPUT bytes. When the time is up the group
 * gets SIGTERM, and SIGKILL VERIFY_GRACE seconds later; whatever of the group outlives the command gets SIGKILL. Exit
 * status 126 or 127 is the shell's word for a command that cannot be run and stops everything; a command for which
 * they are ordinary is given as "COMMAND || exit 1". */
#ifndef SWEEP_VERIFY_H
#define SWEEP_VERIFY_H

#include "store.h"

enum { VERIFY_INLINE = 32 << 10, VERIFY_OUTPUT = 64 << 10 };
#define VERIFY_GRACE 0.5

struct verify_counts {
    int64_t run, passed, timed_out;
};

struct verify_options {
    const char *command;          /* for /bin/sh -c; NULL = none */
    double timeout;               /* seconds a sample */
    int32_t jobs;                 /* at once; 0 = every processor */
    struct verify_counts *counts; /* added to; NULL = nobody asks */
};
extern const struct verify_options verify_defaults;
enum { VERIFY_ARGS = 3 };
extern const struct arg verify_args[VERIFY_ARGS]; /* --verify, --timeout, --verify-jobs; base: struct verify_options */

/* Whether the command can be run at all; called before anything is started. 0 or the exit status. */
int verify_check(const struct verify_options *options);

/* Runs the command on the samples of a prompt that have no verdict, and stores verdicts and outputs in transactions of
 * its own, all that has finished every few seconds. 0 or the exit status: a command that cannot be run stops
 * everything, with nothing half-written; so does Ctrl-C (interrupted()), once what had finished is written. */
int verify_prompt(struct store *store, int32_t index, const struct sweep_prompt *prompt,
                  const struct verify_options *options);

/* The same for given samples, all of them and without a store: verdict[count], output[count] owned by the caller
 * (NULL: the output is dropped). */
struct verify_output {
    char *bytes; /* owned; NULL when there was none */
    size_t length;
};
int verify_samples(const struct sweep_prompt *prompt, const struct sample_record *samples, size_t count,
                   const struct verify_options *options, int32_t *verdict, struct verify_output *output);

#endif
