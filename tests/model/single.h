/* single.h: one sequence through a network by hand, in whatever chunks a test likes; what the engine does, in small. */
#ifndef TESTS_MODEL_SINGLE_H
#define TESTS_MODEL_SINGLE_H

#include "model/model.h"

struct single {
    struct backend *backend;
    struct network *network;
    struct network_plan plan;
    int32_t V, page_tokens, length; /* length: positions computed so far */
    int32_t *page;                  /* [plan.limits.pages] of the sequence, in reverse on purpose */
    int32_t *scratch;               /* [3, context] token indices, positions, slots of one step */
};

/* Opens the device under test (support.h; instructions, of the cpu alone, NULL: the best) and a network of this context
 * on it. Close it after a failure too. */
tempera_status single_open(struct single *s, const struct model *model, const char *instructions, enum weight_type type,
                           int32_t context, tempera_error *err);
void single_close(struct single *s);

/* Starts another sequence. */
void single_reset(struct single *s);
/* Appends tokens in steps of at most `chunk`; logits [count, V]. */
tempera_status single_run(struct single *s, const int32_t *token, int32_t count, int32_t chunk, float *logits,
                          tempera_error *err);

/* out [V] = log_softmax(logits [V]), in double precision. */
void log_softmax(double *out, const float *logits, int32_t V);

#endif
