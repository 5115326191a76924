/* step.c: one step of the engine, in reading order: cancel, admit, schedule, submit, settle. */
#include <string.h>

#include "base/status.h"
#include "engine/adapt.h"
#include "engine/engine.h"

/* ---- cancel ---------------------------------------------------------------------------------------------------- */

static bool is_cancelled(const struct engine *e, const struct request *request, bool all) {
    return all || atomic_load_explicit(&e->slot[request->slot].cancelled, memory_order_relaxed) == request->id;
}

/* Ends the cancelled branches of a row; a row that lost all of them goes. */
static void cancel_row(struct engine *e, int32_t row) {
    struct row *r = &e->rows.row[row];
    int32_t b = r->first_branch;
    r->first_branch = r->last_branch = NO_INDEX;
    r->branch_count = 0;
    while (b != NO_INDEX) {
        int32_t next = e->rows.branch[b].next;
        engine_finish(e, row, b, NO_INDEX, TEMPERA_FINISH_CANCELLED, "");
        b = next;
    }
    rows_destroy(&e->rows, row);
}

static void apply_cancels(struct engine *e) {
    if (!atomic_exchange(&e->cancel_any, false)) return;
    bool all = atomic_exchange(&e->cancel_all, false);
    for (int32_t row = 0; row <= e->rows.max_branches; row++) {
        const struct row *r = &e->rows.row[row];
        if (r->state != ROW_FREE && is_cancelled(e, r->request, all)) cancel_row(e, row);
    }
    struct request **link = &e->queue_first;
    e->queue_last = NULL;
    while (*link) {
        struct request *request = *link;
        if (is_cancelled(e, request, all)) {
            *link = request->next;
            engine_drop_unstarted(e, request);
        } else {
            e->queue_last = request;
            link = &request->next;
        }
    }
}

/* ---- admit ----------------------------------------------------------------------------------------------------- */

static void start_sample(struct engine *e, struct request *request, int32_t row) {
    int32_t s, sample;
    request_take_sample(request, &s, &sample);
    const struct setting *setting = &request->settings[s];
    int32_t b = rows_take_branch(&e->rows);
    struct branch *branch = &e->rows.branch[b];
    *branch = (struct branch){.request = request,
                              .setting = s,
                              .sample = sample,
                              .params = setting->params,
                              .detok = request->detok,
                              .stats = setting->sampling.logprobs < 0 ? NO_INDEX : stat_pool_take(&request->stats)};
    branch->params.sample = sample;
    if (setting->max_tokens > 0) {
        rows_add_branch(&e->rows, row, b);
    } else {
        engine_finish(e, row, b, NO_INDEX, TEMPERA_FINISH_LENGTH, "");
    }
}

/* How many samples of the request's wave can start together now: the rest of it, or, of a wave too large for that, as
 * many as there are branches for but no fewer than half of all. 0: they wait for branches. */
static int32_t startable(const struct engine *e, const struct request *request) {
    int32_t left = request_wave_left(request), half = (e->rows.max_branches + 1) / 2;
    if (e->unshared) left = left > 0;
    if (e->rows.free_branches < (left < half ? left : half)) return 0;
    return left < e->rows.free_branches ? left : e->rows.free_branches;
}

/* All samples of the oldest request are started. */
static void leave_queue(struct engine *e) {
    e->queue_first = e->queue_first->next;
    if (!e->queue_first) e->queue_last = NULL;
}

/* Starts as many waves of the oldest request as there are branches for, all on one row. */
static void start_samples(struct engine *e) {
    struct request *request = e->queue_first;
    int32_t row = rows_create(&e->rows, request, request->prompt, request->prompt_count);
    int64_t left = request->samples - request->started;
    do {
        int32_t count = startable(e, request);
        left -= count;
        if (left == 0) leave_queue(e);
        while (count-- > 0) start_sample(e, request, row); /* the last sample may end the request at once */
    } while (left > 0 && !e->unshared && startable(e, request) > 0);
    if (e->rows.row[row].branch_count == 0) rows_destroy(&e->rows, row); /* no sample wanted a token */
}

bool engine_can_start(const struct engine *e) {
    return e->queue_first && e->rows.active_count < e->rows.max_rows && startable(e, e->queue_first) > 0;
}

static void admit(struct engine *e) {
    for (;;) {
        if (e->rows.waiting_first != NO_INDEX) {
            if (!rows_activate(&e->rows, e->rows.waiting_first)) return;
            continue;
        }
        if (!engine_can_start(e)) return;
        start_samples(e);
    }
}

/* ---- schedule -------------------------------------------------------------------------------------------------- */

/* Pages for `count` more tokens of the row, taken from parked and then from younger rows if it must be. False: the row
 * itself had to go. */
static bool make_room(struct engine *e, int32_t row, int32_t count) {
    while (!rows_reserve(&e->rows, row, count)) {
        if (rows_reclaim(&e->rows)) continue;
        int32_t youngest = e->rows.active[e->rows.active_count - 1];
        rows_preempt(&e->rows, youngest);
        if (youngest == row) return false;
    }
    return true;
}

void engine_add_draws(struct engine *e, struct batch *batch, int32_t row, int32_t token, int32_t history) {
    const struct row *r = &e->rows.row[row];
    int32_t logits_row = batch_want_logits(batch, token);
    batch->sequence_draw[batch->view.S - 1] = batch->view.B;
    for (int32_t b = r->first_branch; b != NO_INDEX; b = e->rows.branch[b].next) {
        struct branch *branch = &e->rows.branch[b];
        adapt_params(&branch->params, &r->request->settings[branch->setting].sampling,
                     history - r->request->prompt_count, branch->distinct);
        batch_add_draw(batch, &(struct branch_draw){.params = &branch->params,
                                                    .row = logits_row,
                                                    .forced = NO_INDEX,
                                                    .history = r->tokens,
                                                    .history_count = history,
                                                    .prompt_count = r->request->prompt_count,
                                                    .feedback = history > r->length});
    }
}

/* Builds a batch: every row that needs one token gets it, rows that need more share the step's prompt tokens, oldest
 * first. */
static void schedule(struct engine *e, struct batch *batch) {
    int32_t budget = e->plan.max_step_tokens;
    batch_clear(batch);
    for (int32_t i = 0; i < e->rows.active_count; i++) {
        int32_t row = e->rows.active[i];
        const struct row *r = &e->rows.row[row];
        int32_t pending = r->length - r->computed;
        int32_t chunk = pending == 1 || pending < budget ? pending : budget;
        if (chunk == 0) continue;
        if (!make_room(e, row, chunk)) break; /* it was the youngest: no row comes after it */
        if (pending > 1) {
            budget -= chunk;
            batch->prefill += chunk;
        }
        int32_t first = batch_add_row(batch, &e->rows, row, chunk);
        if (chunk == pending) engine_add_draws(e, batch, row, first + chunk - 1, r->length);
    }
}

static void count_tokens(struct engine *e, const struct batch *batch) {
    for (int32_t s = 0; s < batch->view.S; s++) {
        const struct row *r = &e->rows.row[batch->sequence_row[s]];
        for (int32_t t = r->computed; t < r->computed + batch_count(batch, s); t++) {
            if (t < r->seen) {
                e->stats.recomputed_tokens++;
            } else if (t < r->request->prompt_count) {
                e->stats.prompt_tokens++;
            }
        }
    }
}

/* ---- settle ---------------------------------------------------------------------------------------------------- */

static uint32_t table_home(const struct engine *e, int32_t token) {
    return ((uint32_t)token * 0x9E3779B9u) & (e->group_table_size - 1);
}

static void add_to_group(struct engine *e, int32_t token, int32_t branch) {
    uint32_t i = table_home(e, token);
    while (e->group_table[i] != NO_INDEX && e->group[e->group_table[i]].token != token) {
        i = (i + 1) & (e->group_table_size - 1);
    }
    if (e->group_table[i] == NO_INDEX) {
        e->group_table[i] = e->group_count;
        e->group[e->group_count++] = (struct group){.token = token, .slot = i};
    }
    struct group *group = &e->group[e->group_table[i]];
    if (group->count++ == 0) {
        group->first = branch;
    } else {
        e->rows.branch[group->last].next = branch;
    }
    group->last = branch;
    e->rows.branch[branch].next = NO_INDEX;
}

static void clear_groups(struct engine *e) {
    for (int32_t g = 0; g < e->group_count; g++) e->group_table[e->group[g].slot] = NO_INDEX;
    e->group_count = 0;
}

static void give_group(struct engine *e, int32_t row, const struct group *group) {
    struct row *r = &e->rows.row[row];
    r->first_branch = group->first;
    r->last_branch = group->last;
    r->branch_count = group->count;
    rows_push(&e->rows, row, group->token);
}

/* The written rule of who stays: the largest group, ties to the one with the lowest branch. */
static int32_t staying_group(const struct engine *e) {
    int32_t stay = 0;
    for (int32_t g = 1; g < e->group_count; g++) {
        if (e->group[g].count > e->group[stay].count) stay = g;
    }
    return stay;
}

/* Hands every branch of the row its token; branches that go on are grouped by it, and all groups but one fork. */
static void settle_row(struct engine *e, int32_t row, const struct draw_result *result) {
    struct row *r = &e->rows.row[row];
    int32_t b = r->first_branch;
    e->stats.row_steps++;
    e->stats.generated_tokens += (uint64_t)r->branch_count;
    r->first_branch = r->last_branch = NO_INDEX;
    r->branch_count = 0;
    for (; b != NO_INDEX; result++) {
        int32_t next = e->rows.branch[b].next;
        if (engine_take_token(e, row, b, result)) add_to_group(e, result->token, b);
        b = next;
    }
    if (e->group_count == 0) {
        rows_destroy(&e->rows, row);
        return;
    }
    int32_t stay = staying_group(e);
    for (int32_t g = 0; g < e->group_count; g++) {
        if (g != stay) give_group(e, rows_fork(&e->rows, row), &e->group[g]);
    }
    give_group(e, row, &e->group[stay]);
    clear_groups(e);
}

static tempera_status copy_forked_pages(struct engine *e, tempera_error *err) {
    struct rows *rows = &e->rows;
    int32_t count = rows->copy_count;
    rows->copy_count = 0;
    if (count == 0) return TEMPERA_OK;
    return e->backend->ops->copy_pages(e->backend, rows->copy_from, rows->copy_to, rows->copy_tokens, count, err);
}

/* What a step that was waited for changes: rows get longer, branches get their tokens. */
static tempera_status settle(struct engine *e, struct batch *batch, tempera_error *err) {
    for (int32_t s = 0; s < batch->view.S; s++) {
        if (batch_is_live(batch, &e->rows, s)) {
            rows_advance(&e->rows, batch->sequence_row[s], batch_count(batch, s));
        } else {
            batch->sequence_draw[s] = NO_INDEX;
        }
    }
    for (int32_t s = 0; s < batch->view.S; s++) {
        int32_t first_draw = batch->sequence_draw[s];
        if (first_draw != NO_INDEX) settle_row(e, batch->sequence_row[s], batch->result + first_draw);
    }
    return copy_forked_pages(e, err);
}

/* ---- the step -------------------------------------------------------------------------------------------------- */

/* The batch to build next: nothing in flight is in it. */
static struct batch *free_batch(struct engine *e) {
    return &e->batch[e->in_flight == 0 ? e->oldest : !e->oldest];
}

static tempera_status start(struct engine *e, tempera_error *err) {
    struct batch *batch = free_batch(e);
    admit(e);
    schedule(e, batch);
    if (batch->view.S == 0) return TEMPERA_OK;
    count_tokens(e, batch);
    return engine_send(e, batch, err);
}

static tempera_status start_ahead(struct engine *e, tempera_error *err) {
    struct batch *next = free_batch(e);
    engine_build_ahead(e, &e->batch[e->oldest], next);
    return next->view.S > 0 ? engine_send(e, next, err) : TEMPERA_OK;
}

/* Waits for the oldest step and settles it. */
static tempera_status land(struct engine *e, tempera_error *err) {
    struct batch *batch = &e->batch[e->oldest];
    TRY(engine_wait(e, err));
    if (e->stats.first_token_seconds == 0 && e->first_submit != 0 && batch->view.B > 0) {
        e->stats.first_token_seconds = e->landed - e->first_submit;
    }
    return settle(e, batch, err);
}

tempera_status engine_step(struct engine *e, bool *active, tempera_error *err) {
    apply_cancels(e);
    if (e->in_flight == 0) TRY(start(e, err));
    *active = e->in_flight > 0;
    if (!*active) return TEMPERA_OK;
    tempera_status ahead = e->run_ahead ? start_ahead(e, err) : TEMPERA_OK;
    TRY(land(e, ahead == TEMPERA_OK ? err : NULL)); /* its tokens are there, whatever became of the next step */
    if (e->in_flight > 0 && batch_is_void(&e->batch[e->oldest], &e->rows)) TRY(land(e, err));
    *active = !engine_idle(e);
    return ahead;
}
