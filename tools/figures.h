/* figures.h: drives an engine and says how fast it was. */
#ifndef TOOLS_FIGURES_H
#define TOOLS_FIGURES_H

#include "common.h"

/* What tempera_stats does not tell: decode-only steps apart from those that also computed prompts. */
struct run_figures {
    uint64_t decode_steps, decode_tokens;
};

/* Steps until nothing is left, or Ctrl-C has cancelled everything. `feed` is called before each step: it may submit
 * requests, sets *more while it has others to submit later, and returns 0 or the exit status. */
int engine_drive(tempera_engine *engine, struct run_figures *figures, int (*feed)(void *user, bool *more), void *user);

/* The line "tempera: 5 prompt + 128 generated tokens; …" on stderr; with `more`, the figures of --stats below it.
 * `seed` is what to print for it, NULL where nothing was drawn. */
void figures_print(const struct session *session, const struct run_figures *figures, const char *seed, bool more);

/* Weights that one token is multiplied with in the layers, and in the head. */
double layer_parameters(const struct session *session);
double head_parameters(const struct session *session);

#endif
