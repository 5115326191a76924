/* cli.h: runs the built program as a user would. */
#ifndef TESTS_CLI_H
#define TESTS_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

struct cli {
    int status;      /* exit status; 128 + number after a signal */
    char *out, *err; /* terminated; never NULL */
    size_t out_length, err_length;
};

/* Runs "tempera WORDS…" with `input` on standard input (NULL: /dev/null). Ends with NULL. */
struct cli cli(const char *input, const char *first, ...) __attribute__((sentinel));

/* How a run differs from cli()'s. */
struct cli_way {
    const char *input;
    size_t input_length;       /* 0: strlen(input) */
    const char *output;        /* standard output goes to this path */
    bool closed_pipe;          /* standard output is a pipe that nobody reads */
    bool terminal;             /* standard output is a terminal (its \r\n kept) */
    int interrupt_after_bytes; /* SIGINT once that much has been written to standard output */
};
struct cli cli_run(const struct cli_way *way, const char *const *words);
void cli_free(struct cli *run);
/* Whether this system gives pseudo-terminals; a bare container may have none. */
bool cli_has_terminals(void);

/* Lines of text. */
size_t cli_lines(const char *text);
bool cli_one_line(const char *text); /* exactly one, beginning "tempera: " */

/* One line of JSON, or the whole text when line is < 0; NULL when it is not valid. Freed with cJSON_Delete. */
cJSON *cli_json(const char *text, int line);
/* A member by its path, "settings.top_k"; NULL when absent. */
const cJSON *cli_get(const cJSON *object, const char *path);
double cli_number(const cJSON *object, const char *path);      /* NaN when it is no number */
const char *cli_string(const cJSON *object, const char *path); /* "" when it is no string */

#endif
