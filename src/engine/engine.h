/* engine.h: continuous batching of requests over rows and branches.
 *
 * submit → queue → branches on a row → [schedule → forward → draw → group by (row, token) → fork or finish] → sample
 *
 * Samples start in waves: all settings' sample k, then their sample k + 1 …, because settings share the noise of equal
 * sample index. A wave starts whole, and as many waves start together, on one row, as there are branches for, but only
 * once no row waits: then the device has less to do than it could, and nothing is gained by starting earlier. So sharing
 * does not depend on max_rows; rows that find no slot wait with their pages (rows.h).
 *
 * Where the backend runs ahead, the next step is submitted before the last one's tokens are known, whenever it needs
 * nothing of them but to be fed back (run_ahead.c). A sample that turns out to have ended leaves an entry in it that
 * nobody looks at.
 *
 * Memory is one slab, sized by engine_plan before anything is allocated; a step allocates nothing. One thread at a
 * time, except engine_cancel. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdatomic.h>

#include "engine/batch.h"
#include "model/model.h"

enum { MAX_PENDING_REQUESTS = 65536 };

/* Pending requests. `cancelled` is written by any thread, the rest by the engine's. An id is generation << 16 |
 * slot. */
struct request_slot {
    _Atomic uint64_t cancelled; /* the id to cancel */
    struct request *request;    /* owned; NULL = free */
    uint64_t generation;
    int32_t next; /* free list */
};

/* Branches of one row that drew the same token. */
struct group {
    int32_t token, count, first, last;
    uint32_t slot; /* in group_table */
};

struct engine {
    /* borrowed */
    const struct tokenizer *tokenizer; /* NULL: no text in events, no stop strings */
    /* owned */
    struct backend *backend;
    struct network *network;
    struct rows rows;
    bool run_ahead;        /* of the backend */
    struct batch batch[2]; /* steps being built or in flight; without run_ahead only the first is there */
    int32_t oldest;        /* batch[oldest] is the step to wait for next */
    int32_t in_flight;     /* steps submitted and not waited for: 0 or 1, during a call 2 */
    double landed;         /* clock of the last wait */
    void *slab;            /* slab_bytes: everything host-side */
    size_t slab_bytes;

    tempera_plan plan;
    bool unshared;
    int32_t V;
    int32_t eos[CONFIG_MAX_EOS], eos_count;

    struct request *queue_first, *queue_last; /* requests with samples not yet admitted */
    struct request_slot *slot;                /* [MAX_PENDING_REQUESTS] */
    int32_t free_slot, pending;
    atomic_bool cancel_all, cancel_any;

    /* scratch of the grouping; the table is all NO_INDEX between rows */
    struct group *group; /* [max_branches] in order of their first branch */
    int32_t group_count;
    int32_t *group_table; /* [group_table_size] token → group, open addressing, a power of two */
    uint32_t group_table_size;

    struct buf text;     /* the finished sample's text */
    char *piece, *delta; /* one token's text; the same with what a stop scan held back */

    tempera_stats stats;
    double first_submit; /* clock of the first submit since reset, 0 = none */
};

/* ---- plan and life ---- */
/* Fills a plan from options without opening anything but the backend's description. */
tempera_status engine_plan(tempera_plan *plan, const struct model *model, const struct tokenizer *tokenizer,
                           const tempera_engine_options *options, tempera_error *err);
/* As tempera_weight_errors. */
tempera_status engine_weight_errors(tempera_weight_error errors[TEMPERA_MATRIX_KINDS], const struct model *model,
                                    const tempera_engine_options *options, tempera_error *err);
tempera_status engine_open(struct engine **engine, const struct model *model, const struct tokenizer *tokenizer,
                           const int32_t *eos, int32_t eos_count, const tempera_engine_options *options,
                           tempera_error *err);
void engine_close(struct engine *engine);

/* ---- requests ---- */
tempera_status engine_submit(struct engine *engine, const tempera_request *request, uint64_t *id, tempera_error *err);
tempera_status engine_step(struct engine *engine, bool *active, tempera_error *err);
void engine_cancel(struct engine *engine, uint64_t id);
bool engine_idle(const struct engine *engine);

/* ---- teacher forcing (score.c); the engine must be idle ---- */
tempera_status engine_score(struct engine *engine, const int32_t *ids, size_t count, const tempera_sampling *settings,
                            size_t setting_count, const tempera_setting_pair *pairs, size_t pair_count,
                            tempera_token_stat *stats, float *divergence, tempera_error *err);
tempera_status engine_next(struct engine *engine, const int32_t *ids, size_t count, const tempera_sampling *settings,
                           size_t setting_count, int32_t top, int32_t *token, float *logprob, float *final_logprob,
                           tempera_token_stat *stats, tempera_error *err);
tempera_status engine_logits(struct engine *engine, const int32_t *ids, size_t count, float *logits,
                             tempera_error *err);

/* ---- between the files of this folder ---- */
/* Submits a batch as the youngest step in flight; waits for the oldest one, and counts its time. */
tempera_status engine_send(struct engine *engine, struct batch *batch, tempera_error *err);
tempera_status engine_wait(struct engine *engine, tempera_error *err);
/* Both, for the batch that was built in batch[0] while nothing is in flight. */
tempera_status engine_forward(struct engine *engine, int32_t prefill_tokens, tempera_error *err);
/* Whether samples could be started now, if no row is waiting. */
bool engine_can_start(const struct engine *engine);
/* Builds, in `next`, the step after the one in `flying`, which is in flight. Empty: there is nothing in it, or it
 * cannot be told yet (run_ahead.c). */
void engine_build_ahead(struct engine *engine, const struct batch *flying, struct batch *next);
/* Adds one draw for every branch of the row, from the logits of view token `token`, and sets the branches' parameters for
 * it: steps that were submitted have their copies. history: how many tokens the sequence has when it is drawn; all of them
 * but perhaps the last are known. */
void engine_add_draws(struct engine *engine, struct batch *batch, int32_t row, int32_t token, int32_t history);
/* Takes the token a branch drew: statistics, text, stop rules, on_token. True when the branch goes on; else it was
 * finished (engine_finish) and freed. The row is computed to its length and does not hold the token yet. */
bool engine_take_token(struct engine *engine, int32_t row, int32_t branch, const struct draw_result *result);
/* Ends a branch that has left its row's list: calls on_sample and frees it. The sample's tokens are the row's, and
 * `token` after them unless it is NO_INDEX. */
void engine_finish(struct engine *engine, int32_t row, int32_t branch, int32_t token, tempera_finish finish,
                   const char *error);
/* Ends the samples of a request that were never started, as cancelled. */
void engine_drop_unstarted(struct engine *engine, struct request *request);
double engine_clock(void); /* seconds, monotonic */

#endif
