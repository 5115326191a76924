/* run_ahead.c: two steps in flight, and what the second may be.
 *
 * While a step is computed, the host would be idle, and the device while the host settles it. So the next step is
 * submitted first, with the tokens that the device will have drawn by then (FEEDBACK). That needs a next step which
 * does not depend on them: each row has one branch, whose parameters do not (adapt.h), and has all its known tokens in
 * flight, so it gets one more; nothing could be admitted; and there are pages without preempting anyone. Otherwise the
 * step in flight is waited for, and the next one is built from what is known then.
 *
 * What does depend on the tokens is whether a sample ends. By length is known ahead: such rows are left out. By a stop
 * rule is not: then the row is gone when its entry in the next step comes back, and batch_is_live says so. Its pages
 * may be in other hands by then, which is safe: those write them in later steps. */
#include "engine/adapt.h"
#include "engine/engine.h"

/* ---- sending and waiting --------------------------------------------------------------------------------------- */

tempera_status engine_send(struct engine *e, struct batch *batch, tempera_error *err) {
    batch->submitted = engine_clock();
    TRY(network_submit(e->network, &batch->view, err));
    e->in_flight++;
    return TEMPERA_OK;
}

/* A step's time starts when it is submitted, or when the step before it was done. */
static void count_time(struct engine *e, const struct batch *batch) {
    double start = batch->submitted > e->landed ? batch->submitted : e->landed;
    double prefill = (double)batch->prefill / (double)batch->view.T;
    e->landed = engine_clock();
    if (batch_is_void(batch, &e->rows)) return;
    e->stats.steps++;
    e->stats.prefill_seconds += (e->landed - start) * prefill;
    e->stats.decode_seconds += (e->landed - start) * (1 - prefill);
}

tempera_status engine_wait(struct engine *e, tempera_error *err) {
    const struct batch *batch = &e->batch[e->oldest];
    e->in_flight--;
    if (e->run_ahead) e->oldest = !e->oldest;
    TRY(network_wait(e->network, batch->result, err));
    count_time(e, batch);
    return TEMPERA_OK;
}

tempera_status engine_forward(struct engine *e, int32_t prefill_tokens, tempera_error *err) {
    e->oldest = 0;
    e->batch[0].prefill = prefill_tokens;
    TRY(engine_send(e, &e->batch[0], err));
    return engine_wait(e, err);
}

/* ---- the step after the one in flight -------------------------------------------------------------------------- */

static bool could_admit(const struct engine *e) {
    return e->rows.waiting_first != NO_INDEX || engine_can_start(e);
}

/* Whether the row's one branch ends with the token that is being drawn. */
static bool ends_by_length(const struct engine *e, const struct row *r) {
    const struct branch *branch = &e->rows.branch[r->first_branch];
    int32_t generated = r->length - r->request->prompt_count + 1;
    return generated >= r->request->settings[branch->setting].max_tokens;
}

/* Computed tokens that the row lacks after the step in flight and the one after it. */
static int32_t tokens_ahead(const struct row *r) {
    return r->length + 1 - r->computed;
}

/* Whether the parameters of the row's one branch can be told before its token is. */
static bool knows_params(const struct engine *e, const struct row *r) {
    return !adapt_needs_tokens(&r->request->settings[e->rows.branch[r->first_branch].setting].sampling);
}

static bool can_tell(const struct engine *e, const struct batch *flying) {
    int32_t rows = 0, pages = 0;
    if (could_admit(e)) return false;
    for (int32_t s = 0; s < flying->view.S; s++) {
        int32_t row = flying->sequence_row[s];
        const struct row *r = &e->rows.row[row];
        if (!batch_is_live(flying, &e->rows, s)) continue;
        if (flying->sequence_draw[s] == NO_INDEX || r->branch_count != 1) return false;
        rows++;
        if (ends_by_length(e, r)) continue;
        if (!knows_params(e, r)) return false;
        pages += rows_missing_pages(&e->rows, row, tokens_ahead(r));
    }
    return rows == e->rows.active_count && pages <= kvcache_available(&e->rows.kv);
}

void engine_build_ahead(struct engine *e, const struct batch *flying, struct batch *next) {
    batch_clear(next);
    if (!can_tell(e, flying)) return;
    for (int32_t s = 0; s < flying->view.S; s++) {
        int32_t row = flying->sequence_row[s];
        const struct row *r = &e->rows.row[row];
        if (!batch_is_live(flying, &e->rows, s) || ends_by_length(e, r)) continue;
        rows_reserve(&e->rows, row, tokens_ahead(r));
        int32_t token = batch_add_fed_row(next, &e->rows, row, flying->sequence_draw[s]);
        engine_add_draws(e, next, row, token, r->length + 1);
    }
}
