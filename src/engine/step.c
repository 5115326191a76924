/* step.c: one step of the engine, in reading order: cancel, admit, schedule, forward, settle. */
#include <string.h>

#include "base/status.h"
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
    int64_t ordinal = request->admitted++;
    int32_t s = request_setting_of(request, ordinal);
    const struct setting *setting = &request->settings[s];
    int32_t b = rows_take_branch(&e->rows);
    struct branch *branch = &e->rows.branch[b];
    *branch = (struct branch){.request = request,
                              .setting = s,
                              .sample = (int32_t)(ordinal - setting->first_sample),
                              .params = setting->params,
                              .detok = request->detok};
    branch->params.sample = branch->sample;
    if (setting->max_tokens > 0) {
        rows_add_branch(&e->rows, row, b);
    } else {
        engine_finish(e, row, b, NO_INDEX, TEMPERA_FINISH_LENGTH, "");
    }
}

/* Starts as many of the oldest request's samples as there are branches for, all on one row. */
static void start_samples(struct engine *e) {
    struct request *request = e->queue_first;
    int64_t count = request->samples - request->admitted;
    if (count > e->rows.free_branches) count = e->rows.free_branches;
    if (e->unshared) count = 1;
    if (request->admitted + count == request->samples) {
        e->queue_first = request->next;
        if (!e->queue_first) e->queue_last = NULL;
    }
    int32_t row = rows_create(&e->rows, request, request->prompt, request->prompt_count);
    while (count-- > 0) start_sample(e, request, row);
    if (e->rows.row[row].branch_count == 0) rows_destroy(&e->rows, row); /* no sample wanted a token */
}

static void admit(struct engine *e) {
    for (;;) {
        if (e->rows.waiting_first != NO_INDEX) {
            if (!rows_activate(&e->rows, e->rows.waiting_first)) return;
            continue;
        }
        if (!e->queue_first || e->rows.free_branches == 0 || e->rows.active_count == e->rows.max_rows) return;
        start_samples(e);
    }
}

/* ---- schedule -------------------------------------------------------------------------------------------------- */

/* Pages for `count` more tokens of the row, taken from younger rows if it must be. False: the row itself had to go. */
static bool make_room(struct engine *e, int32_t row, int32_t count) {
    while (!rows_reserve(&e->rows, row, count)) {
        int32_t youngest = e->rows.active[e->rows.active_count - 1];
        rows_preempt(&e->rows, youngest);
        if (youngest == row) return false;
    }
    return true;
}

static void add_draws(struct engine *e, int32_t sequence, int32_t row, int32_t token) {
    const struct row *r = &e->rows.row[row];
    int32_t logits_row = batch_want_logits(&e->batch, token);
    e->batch.sequence_draw[sequence] = e->batch.view.B;
    for (int32_t b = r->first_branch; b != NO_INDEX; b = e->rows.branch[b].next) {
        batch_add_draw(&e->batch, &(struct branch_draw){.params = &e->rows.branch[b].params,
                                                        .row = logits_row,
                                                        .forced = NO_INDEX,
                                                        .history = r->tokens,
                                                        .history_count = r->length,
                                                        .prompt_count = r->request->prompt_count});
    }
}

/* Builds the batch: every row that needs one token gets it, rows that need more share the step's prompt tokens, oldest
 * first. Returns how many tokens are prefill. */
static int32_t schedule(struct engine *e) {
    int32_t budget = e->plan.max_step_tokens, prefill = 0;
    batch_clear(&e->batch);
    for (int32_t i = 0; i < e->rows.active_count; i++) {
        int32_t row = e->rows.active[i];
        struct row *r = &e->rows.row[row];
        int32_t pending = r->length - r->computed;
        int32_t chunk = pending == 1 || pending < budget ? pending : budget;
        r->chunk = 0;
        if (chunk == 0) continue;
        if (!make_room(e, row, chunk)) break; /* it was the youngest: no row comes after it */
        if (pending > 1) {
            budget -= chunk;
            prefill += chunk;
        }
        r->chunk = chunk;
        int32_t first = batch_add_row(&e->batch, &e->rows, row, chunk);
        if (chunk == pending) add_draws(e, e->batch.view.S - 1, row, first + chunk - 1);
    }
    return prefill;
}

static void count_tokens(struct engine *e) {
    for (int32_t s = 0; s < e->batch.view.S; s++) {
        const struct row *r = &e->rows.row[e->batch.sequence_row[s]];
        for (int32_t t = r->computed; t < r->computed + r->chunk; t++) {
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

/* ---- the step -------------------------------------------------------------------------------------------------- */

tempera_status engine_forward(struct engine *e, int32_t prefill_tokens, tempera_error *err) {
    double start = engine_clock();
    TRY(network_step(e->network, &e->batch.view, e->batch.result, err));
    double seconds = engine_clock() - start;
    double prefill = (double)prefill_tokens / (double)e->batch.view.T;
    e->stats.steps++;
    e->stats.prefill_seconds += seconds * prefill;
    e->stats.decode_seconds += seconds * (1 - prefill);
    return TEMPERA_OK;
}

static tempera_status copy_forked_pages(struct engine *e, tempera_error *err) {
    struct rows *rows = &e->rows;
    int32_t count = rows->copy_count;
    rows->copy_count = 0;
    if (count == 0) return TEMPERA_OK;
    return e->backend->ops->copy_pages(e->backend, rows->copy_from, rows->copy_to, rows->copy_tokens, count, err);
}

tempera_status engine_step(struct engine *e, bool *active, tempera_error *err) {
    apply_cancels(e);
    admit(e);
    int32_t prefill = schedule(e);
    *active = e->batch.view.S > 0;
    if (!*active) return TEMPERA_OK;
    count_tokens(e);
    TRY(engine_forward(e, prefill, err));
    if (e->stats.first_token_seconds == 0 && e->batch.view.B > 0) {
        e->stats.first_token_seconds = engine_clock() - e->first_submit;
    }
    for (int32_t s = 0; s < e->batch.view.S; s++) {
        int32_t row = e->batch.sequence_row[s];
        rows_advance(&e->rows, row, e->rows.row[row].chunk);
    }
    for (int32_t s = 0; s < e->batch.view.S; s++) {
        int32_t first_draw = e->batch.sequence_draw[s];
        if (first_draw != NO_INDEX) settle_row(e, e->batch.sequence_row[s], e->batch.result + first_draw);
    }
    TRY(copy_forked_pages(e, err));
    *active = !engine_idle(e);
    return TEMPERA_OK;
}
