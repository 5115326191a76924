/* score.c: teacher forcing. One row, no request: the tokens are given, draws only report what they would have been. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "engine/adapt.h"
#include "engine/engine.h"
#include "engine/settings.h"

/* Settings in the form draws take, for as long as a scoring call runs. */
struct forcing {
    struct arena arena;
    const tempera_sampling *settings; /* [count] */
    struct branch_params *params;     /* [count] */
    size_t count;
    /* NULL unless some setting changes with the tokens */
    struct branch_params *drawn; /* [max_branches] one for each draw of a step */
    int32_t *distinct;           /* [ids + 1] different tokens among the first */
};

static tempera_status forcing_create(struct forcing *f, const struct engine *e, const tempera_sampling *settings,
                                     size_t count, int32_t logprobs, tempera_error *err) {
    *f = (struct forcing){.settings = settings, .count = settings ? count : 1};
    count = f->count;
    if (!settings) {
        tempera_sampling *plain = arena_array(&f->arena, 1, sizeof *plain);
        if (!plain) return fail_memory(err, sizeof *plain, "settings");
        *plain = tempera_sampling_default();
        f->settings = settings = plain;
    }
    f->params = arena_array(&f->arena, count, sizeof *f->params);
    if (!f->params) return fail_memory(err, count * sizeof *f->params, "settings");
    for (size_t s = 0; s < count; s++) {
        TRY(tempera_sampling_check(&settings[s], e->V, err));
        tempera_logit_bias *bias = arena_array(&f->arena, settings[s].logit_bias_count + 1, sizeof *bias);
        if (!bias) return fail_memory(err, settings[s].logit_bias_count * sizeof *bias, "logit biases");
        settings_sort_bias(bias, &settings[s]);
        TRY(branch_params_build(&f->params[s], &settings[s], 0, bias, NULL, 0, err));
        f->params[s].logprobs = logprobs;
    }
    return TEMPERA_OK;
}

/* Prepares for settings that change with the tokens, all of which count as generated. */
static tempera_status forcing_follow(struct forcing *f, const struct engine *e, const int32_t *ids, size_t count,
                                     tempera_error *err) {
    bool changes = false, needs_tokens = false;
    for (size_t s = 0; s < f->count; s++) {
        changes |= adapt_changes(&f->settings[s]);
        needs_tokens |= adapt_needs_tokens(&f->settings[s]);
    }
    if (!changes) return TEMPERA_OK;
    f->drawn = arena_array(&f->arena, (size_t)e->plan.max_branches, sizeof *f->drawn);
    f->distinct = arena_array(&f->arena, count + 1, sizeof *f->distinct);
    if (!f->drawn || !f->distinct) return fail_memory(err, count * sizeof *f->distinct, "settings that change");
    for (size_t i = 0; i < count && needs_tokens; i++)
        f->distinct[i + 1] = f->distinct[i] + adapt_is_new(ids, (int32_t)i, ids[i]);
    return TEMPERA_OK;
}

static tempera_status check_ids(const struct engine *e, const int32_t *ids, size_t count, tempera_error *err) {
    if (!engine_idle(e)) {
        return fail(err, TEMPERA_INVALID_ARGUMENT, "scoring needs an idle engine; requests are pending");
    }
    if (!ids || count == 0) return fail(err, TEMPERA_INVALID_ARGUMENT, "there are no tokens to score");
    if (count > (size_t)e->plan.context) {
        return fail(err, TEMPERA_TOO_LONG, "%zu tokens do not fit the context of %d", count, e->plan.context);
    }
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= e->V) {
            return fail(err, TEMPERA_INVALID_ARGUMENT, "token %zu is %d; the vocabulary is 0 to %d", i, ids[i],
                        e->V - 1);
        }
    }
    return TEMPERA_OK;
}

/* A lone active row over ids. reuse: cached pages may stand for its first tokens. */
static int32_t open_row(struct engine *e, const int32_t *ids, int32_t count, bool reuse) {
    bool cache = e->rows.kv.reuse;
    e->rows.kv.reuse = cache && reuse;
    int32_t row = rows_create(&e->rows, NULL, ids, count);
    rows_activate(&e->rows, row); /* an idle engine always has room for one */
    e->rows.kv.reuse = cache;
    return row;
}

static void add_forced(struct engine *e, int32_t row, int32_t logits_row, int32_t history, const struct forcing *f,
                       size_t setting, int32_t forced) {
    const struct branch_params *p = &f->params[setting];
    if (f->drawn) {
        struct branch_params *own = &f->drawn[e->batch[0].view.B];
        *own = *p;
        adapt_params(own, &f->settings[setting], history, f->distinct[history]);
        p = own;
    }
    batch_add_draw(&e->batch[0], &(struct branch_draw){.params = p,
                                                       .row = logits_row,
                                                       .forced = forced,
                                                       .history = e->rows.row[row].tokens,
                                                       .history_count = history,
                                                       .prompt_count = 0});
}

static void copy_stat(tempera_token_stat *stat, const struct draw_result *result) {
    *stat = (tempera_token_stat){.logprob = result->logprob,
                                 .final_logprob = result->final_logprob,
                                 .entropy = result->entropy,
                                 .kept_mass = result->kept_mass,
                                 .kept = result->kept};
}

/* ---- score ----------------------------------------------------------------------------------------------------- */

static tempera_status score_chunk(struct engine *e, int32_t row, int32_t chunk, const struct forcing *f, size_t count,
                                  tempera_token_stat *stats, tempera_error *err) {
    struct row *r = &e->rows.row[row];
    int32_t start = r->computed;
    batch_clear(&e->batch[0]);
    rows_reserve(&e->rows, row, chunk);
    int32_t first = batch_add_row(&e->batch[0], &e->rows, row, chunk);
    for (int32_t i = 0; i < chunk && start + i + 1 < r->length; i++) {
        int32_t logits_row = batch_want_logits(&e->batch[0], first + i);
        for (size_t s = 0; s < f->count; s++) {
            add_forced(e, row, logits_row, start + i + 1, f, s, r->tokens[start + i + 1]);
        }
    }
    TRY(engine_forward(e, chunk, err));
    rows_advance(&e->rows, row, chunk);
    e->stats.prompt_tokens += (uint64_t)chunk;
    for (int32_t i = 0; i < e->batch[0].view.R; i++) {
        for (size_t s = 0; s < f->count; s++) {
            copy_stat(&stats[s * count + (size_t)(start + i + 1)], &e->batch[0].result[(size_t)i * f->count + s]);
        }
    }
    return TEMPERA_OK;
}

tempera_status engine_score(struct engine *e, const int32_t *ids, size_t count, const tempera_sampling *settings,
                            size_t setting_count, tempera_token_stat *stats, tempera_error *err) {
    struct forcing f;
    TRY(check_ids(e, ids, count, err));
    if (settings && (setting_count == 0 || setting_count > (size_t)e->plan.max_branches)) {
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%zu settings; the engine scores 1 to %d at once", setting_count,
                    e->plan.max_branches);
    }
    int32_t row = NO_INDEX;
    tempera_status status = forcing_create(&f, e, settings, setting_count, 0, err);
    if (status == TEMPERA_OK) status = forcing_follow(&f, e, ids, count, err);
    if (status != TEMPERA_OK) goto cleanup;
    int32_t most = e->plan.max_branches / (int32_t)f.count;
    if (most > e->plan.max_logits) most = e->plan.max_logits;
    if (most > e->plan.max_step_tokens) most = e->plan.max_step_tokens;
    for (size_t s = 0; s < f.count; s++) {
        stats[s * count] = (tempera_token_stat){.logprob = NAN, .final_logprob = NAN, .entropy = NAN, .kept_mass = NAN};
    }
    row = open_row(e, ids, (int32_t)count, false);
    while (e->rows.row[row].computed < (int32_t)count) {
        int32_t left = (int32_t)count - e->rows.row[row].computed;
        TRY_GOTO(score_chunk(e, row, left < most ? left : most, &f, count, stats, err));
    }

cleanup:
    if (row != NO_INDEX) rows_destroy(&e->rows, row);
    arena_free(&f.arena);
    return status;
}

/* ---- next ------------------------------------------------------------------------------------------------------ */

/* Computes all tokens of the row but the last, without logits. */
static tempera_status prefill(struct engine *e, int32_t row, tempera_error *err) {
    const struct row *r = &e->rows.row[row];
    while (r->computed < r->length - 1) {
        int32_t left = r->length - 1 - r->computed;
        int32_t chunk = left < e->plan.max_step_tokens ? left : e->plan.max_step_tokens;
        batch_clear(&e->batch[0]);
        rows_reserve(&e->rows, row, chunk);
        batch_add_row(&e->batch[0], &e->rows, row, chunk);
        TRY(engine_forward(e, chunk, err));
        rows_advance(&e->rows, row, chunk);
        e->stats.prompt_tokens += (uint64_t)chunk;
    }
    return TEMPERA_OK;
}

/* Starts a batch that computes the row's last token (again, if need be: the same bits) with its logits as row 0. */
static void begin_last(struct engine *e, int32_t row) {
    batch_clear(&e->batch[0]);
    rows_reserve(&e->rows, row, 1);
    batch_want_logits(&e->batch[0], batch_add_row(&e->batch[0], &e->rows, row, 1));
}

/* Final log-probabilities of the top tokens under every setting: one forced draw for each pair. */
static tempera_status force_top(struct engine *e, int32_t row, const struct forcing *f, int32_t top,
                                const int32_t *token, float *final_logprob, tempera_token_stat *stats,
                                tempera_error *err) {
    size_t pairs = f->count * (size_t)top, most = (size_t)e->plan.max_branches;
    for (size_t done = 0; done < pairs;) {
        size_t block = pairs - done < most ? pairs - done : most;
        begin_last(e, row);
        for (size_t i = done; i < done + block; i++) {
            add_forced(e, row, 0, e->rows.row[row].length, f, i / (size_t)top, token[i % (size_t)top]);
        }
        TRY(engine_forward(e, 1, err));
        for (size_t i = 0; i < block; i++) {
            const struct draw_result *result = &e->batch[0].result[i];
            final_logprob[done + i] = result->final_logprob;
            if ((done + i) % (size_t)top == 0 && stats) copy_stat(&stats[(done + i) / (size_t)top], result);
        }
        done += block;
    }
    return TEMPERA_OK;
}

tempera_status engine_next(struct engine *e, const int32_t *ids, size_t count, const tempera_sampling *settings,
                           size_t setting_count, int32_t top, int32_t *token, float *logprob, float *final_logprob,
                           tempera_token_stat *stats, tempera_error *err) {
    struct forcing plain = {.count = 0}, f = {.count = 0};
    int32_t row = NO_INDEX;
    tempera_status status;
    TRY(check_ids(e, ids, count, err));
    if (top < 1 || top > DRAW_TOP_MAX || top > e->V) {
        return fail(err, TEMPERA_INVALID_ARGUMENT, "top is %d; it must be 1 to %d", top,
                    e->V < DRAW_TOP_MAX ? e->V : DRAW_TOP_MAX);
    }
    TRY_GOTO(forcing_create(&plain, e, NULL, 1, top, err));
    TRY_GOTO(forcing_create(&f, e, settings, setting_count, 0, err));
    TRY_GOTO(forcing_follow(&f, e, ids, count, err));
    row = open_row(e, ids, (int32_t)count, true);
    TRY_GOTO(prefill(e, row, err));
    begin_last(e, row);
    add_forced(e, row, 0, (int32_t)count, &plain, 0, NO_INDEX);
    TRY_GOTO(engine_forward(e, 1, err));
    memcpy(token, e->batch[0].result[0].top_token, (size_t)top * sizeof *token);
    memcpy(logprob, e->batch[0].result[0].top_logprob, (size_t)top * sizeof *logprob);
    if (settings && setting_count > 0) status = force_top(e, row, &f, top, token, final_logprob, stats, err);

cleanup:
    if (row != NO_INDEX) rows_destroy(&e->rows, row);
    arena_free(&plain.arena);
    arena_free(&f.arena);
    return status;
}

tempera_status engine_logits(struct engine *e, const int32_t *ids, size_t count, float *logits, tempera_error *err) {
    tempera_status status;
    TRY(check_ids(e, ids, count, err));
    int32_t row = open_row(e, ids, (int32_t)count, true);
    TRY_GOTO(prefill(e, row, err));
    begin_last(e, row);
    TRY_GOTO(engine_forward(e, 1, err));
    status = network_read_logits(e->network, 0, logits, err);

cleanup:
    rows_destroy(&e->rows, row);
    return status;
}
