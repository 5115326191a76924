/* setup.h: what the subcommands that make samples share: flags, model, prompts, points, engine, database. */
#ifndef SWEEP_SETUP_H
#define SWEEP_SETUP_H

#include "runner.h"

struct sweep_args {
    struct common_args common;
    struct point_args points;
    struct text_list prompt_files, prompts;
    struct verify_options verify;
    const char *out;
    int32_t batch;
    bool coupled, no_share;
    int argc; /* the words after "tempera sweep", for the record */
    char **argv;
    const char *name; /* "run" */
};
extern const struct sweep_args sweep_args_defaults;

enum { SWEEP_PROMPT_ARGS = 2, SWEEP_POINT_ARGS = 7, SWEEP_LIST_ARGS = 3, SWEEP_STORE_ARGS = 3 };
extern const struct arg sweep_prompt_args[SWEEP_PROMPT_ARGS], sweep_point_args[SWEEP_POINT_ARGS],
    sweep_list_args[SWEEP_LIST_ARGS], sweep_store_args[SWEEP_STORE_ARGS];

/* The groups of both commands; base: struct sweep_args. */
#define SWEEP_GROUPS(args)                                                                                             \
    {"Prompts", sweep_prompt_args, SWEEP_PROMPT_ARGS, args}, {"Points", sweep_point_args, SWEEP_POINT_ARGS, args},     \
        {"Sampling, of points that do not say otherwise", sampling_field_args, SAMPLING_FILTERS,                       \
         &(args)->points.sampling},                                                                                    \
        {"Sampling, lists", sweep_list_args, SWEEP_LIST_ARGS, args},                                                   \
        {"Noise", sampling_field_args + SAMPLING_seed, 1, &(args)->points.sampling},                                   \
        {"Length", sampling_field_args + SAMPLING_max_tokens, SAMPLING_logprobs - SAMPLING_max_tokens,                 \
         &(args)->points.sampling},                                                                                    \
        {"Stopping", sampling_stop_args, 2, &(args)->points.sampling},                                                 \
        {"Database", sweep_store_args, SWEEP_STORE_ARGS, args}, {                                                      \
        "Verification", verify_args, VERIFY_ARGS, &(args)->verify                                                      \
    }

/* All of it, opened; zero-initialise. */
struct sweep {
    struct session session;
    struct sweep_prompts prompts;
    struct point_list points;
    struct store *store;
    int32_t *number; /* [points.count] numbers of the points in the store */
    struct runner runner;
};

/* Reads prompts and points and starts the engine: everything that can be refused is, before anything is written. 0 or the
 * exit status; sweep_close is needed either way. */
int sweep_open(struct sweep *sweep, const struct sweep_args *args);
/* Takes the open database: claims it for this model, these prompts …, and adds prompts and points. */
int sweep_prepare(struct sweep *sweep, const struct sweep_args *args, struct store *store);
/* Records the run in the table runs and says what was made and saved, on stderr. */
int sweep_conclude(struct sweep *sweep, const struct sweep_args *args);
void sweep_close(struct sweep *sweep);

#endif
