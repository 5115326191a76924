/* score.c: teacher forcing. One row, no request: the tokens are given, draws only report what they would have been. */
#include <math.h>
#include <string.h>

#include "backend/draw_score.h"
#include "base/mem.h"
#include "base/pool.h"
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
    bool *changes;               /* [count] those that change from token to token; NULL: none does */
    int32_t *distinct;           /* [ids + 1] different tokens among the first; with changes */
    struct branch_params *drawn; /* one for each draw of a step, for those that change; NULL: none does */
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

/* Prepares for settings that change with the tokens, all of which count as generated, in `draws` draws of a step. */
static tempera_status forcing_follow(struct forcing *f, const int32_t *ids, size_t count, size_t draws,
                                     tempera_error *err) {
    bool changes = false, needs_tokens = false;
    for (size_t s = 0; s < f->count; s++) {
        changes |= adapt_changes(&f->settings[s]);
        needs_tokens |= adapt_needs_tokens(&f->settings[s]);
    }
    if (!changes) return TEMPERA_OK;
    f->changes = arena_array(&f->arena, f->count, sizeof *f->changes);
    f->drawn = arena_array(&f->arena, draws + 1, sizeof *f->drawn);
    f->distinct = arena_array(&f->arena, count + 1, sizeof *f->distinct);
    if (!f->changes || !f->drawn || !f->distinct) {
        return fail_memory(err, f->count + draws * sizeof *f->drawn + count * sizeof *f->distinct,
                           "settings that change");
    }
    for (size_t s = 0; s < f->count; s++) f->changes[s] = adapt_changes(&f->settings[s]);
    for (size_t i = 0; i < count && needs_tokens; i++)
        f->distinct[i + 1] = f->distinct[i] + adapt_is_new(ids, (int32_t)i, ids[i]);
    return TEMPERA_OK;
}

/* What a setting is for the token after the first `history`. */
static void forcing_params(const struct forcing *f, size_t setting, int32_t history, struct branch_params *params) {
    *params = f->params[setting];
    adapt_params(params, &f->settings[setting], history, f->distinct[history]);
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
        forcing_params(f, setting, history, own);
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
                                 .final_entropy = NAN,
                                 .kept_mass = result->kept_mass,
                                 .kept = result->kept};
}

/* ---- score ----------------------------------------------------------------------------------------------------- */

/* A scoring call: its outputs, and where in them the rows of the chunk belong. */
struct scoring {
    struct forcing forcing;
    struct score_settings settings;
    struct scorer *scorer;
    float *logits; /* [max_logits, V] where the device's are out of reach, else NULL */
    size_t logits_bytes;
    size_t count, first;       /* tokens; the one that row 0 tells of */
    tempera_token_stat *stats; /* [settings, count] */
    float *divergence;         /* [pairs, count] */
};

static void put_stats(void *user, size_t setting, int32_t row, int32_t count, const struct score_stat *stat) {
    const struct scoring *c = user;
    tempera_token_stat *to = c->stats + setting * c->count + c->first + (size_t)row;
    for (int32_t i = 0; i < count; i++) {
        to[i] = (tempera_token_stat){.logprob = stat[i].logprob,
                                     .final_logprob = stat[i].final_logprob,
                                     .entropy = stat[i].entropy,
                                     .final_entropy = stat[i].final_entropy,
                                     .kept_mass = stat[i].kept_mass,
                                     .kept = stat[i].kept};
    }
}

static void put_divergences(void *user, size_t pair, int32_t row, int32_t count, const float *divergence) {
    const struct scoring *c = user;
    memcpy(c->divergence + pair * c->count + c->first + (size_t)row, divergence, (size_t)count * sizeof *divergence);
}

static void change_params(void *user, size_t setting, int32_t position, struct branch_params *params) {
    const struct scoring *c = user;
    forcing_params(&c->forcing, setting, position, params);
}

/* Nothing predicts the first token. */
static void fill_first(const struct scoring *c) {
    const tempera_token_stat none = {
        .logprob = NAN, .final_logprob = NAN, .entropy = NAN, .final_entropy = NAN, .kept_mass = NAN};
    for (size_t s = 0; s < c->settings.count; s++) c->stats[s * c->count] = none;
    for (size_t p = 0; p < c->settings.pair_count; p++) c->divergence[p * c->count] = NAN;
}

static tempera_status scoring_create(struct scoring *c, struct engine *e, const tempera_sampling *settings,
                                     size_t setting_count, const tempera_setting_pair *pairs, size_t pair_count,
                                     const int32_t *ids, tempera_error *err) {
    TRY(forcing_create(&c->forcing, e, settings, setting_count, 0, err));
    TRY(forcing_follow(&c->forcing, ids, c->count, 0, err));
    struct score_pair *pair = arena_array(&c->forcing.arena, pair_count + 1, sizeof *pair);
    if (!pair) return fail_memory(err, pair_count * sizeof *pair, "pairs of settings");
    for (size_t p = 0; p < pair_count; p++) pair[p] = (struct score_pair){pairs[p].of, pairs[p].against};
    c->settings = (struct score_settings){c->forcing.params, c->forcing.changes, c->forcing.count, pair, pair_count};
    const bool shared = network_shares_memory(e->network);
    TRY(scorer_create(&c->scorer, e->V, &c->settings, shared ? e->plan.threads : pool_available_processors(), err));
    if (shared) return TEMPERA_OK;
    c->logits_bytes = (size_t)e->plan.max_logits * (size_t)e->V * sizeof *c->logits; /* the plan has as many */
    c->logits = mem_slab(c->logits_bytes);
    return c->logits ? TEMPERA_OK : fail_memory(err, c->logits_bytes, "logits");
}

static void scoring_free(struct scoring *c) {
    if (c->logits) mem_slab_free(c->logits, c->logits_bytes);
    scorer_free(c->scorer);
    arena_free(&c->forcing.arena);
}

static tempera_status score_chunk(struct engine *e, int32_t row, int32_t chunk, struct scoring *c, tempera_error *err) {
    const struct row *r = &e->rows.row[row];
    const float *logits;
    c->first = (size_t)r->computed + 1;
    batch_clear(&e->batch[0]);
    rows_reserve(&e->rows, row, chunk);
    int32_t first = batch_add_row(&e->batch[0], &e->rows, row, chunk);
    for (int32_t i = 0; i < chunk && r->computed + i + 1 < r->length; i++) {
        batch_want_logits(&e->batch[0], first + i);
    }
    TRY(engine_forward(e, chunk, err));
    rows_advance(&e->rows, row, chunk);
    e->stats.prompt_tokens += (uint64_t)chunk;
    const struct score_sink sink = {c, put_stats, put_divergences};
    struct score_rows rows = {.R = e->batch[0].view.R,
                              .token = r->tokens,
                              .first = (int32_t)c->first,
                              .user = c,
                              .change = change_params,
                              .cancel = &e->cancel_all};
    TRY(network_host_logits(e->network, rows.R, c->logits, &logits, err));
    rows.logits = logits;
    scorer_run(c->scorer, &rows, &sink);
    return TEMPERA_OK;
}

static tempera_status check_cancelled(struct engine *e, tempera_error *err) {
    if (!atomic_exchange(&e->cancel_all, false)) return TEMPERA_OK;
    return fail(err, TEMPERA_CANCELLED, "scoring was cancelled");
}

tempera_status engine_score(struct engine *e, const int32_t *ids, size_t count, const tempera_sampling *settings,
                            size_t setting_count, const tempera_setting_pair *pairs, size_t pair_count,
                            tempera_token_stat *stats, float *divergence, tempera_error *err) {
    struct scoring c = {.count = count, .stats = stats, .divergence = divergence};
    int32_t row = NO_INDEX;
    tempera_status status;
    TRY(check_ids(e, ids, count, err));
    if (settings && (setting_count < 1 || setting_count > SCORE_MAX_SETTINGS)) {
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%zu settings; 1 to %d are scored at once", setting_count,
                    SCORE_MAX_SETTINGS);
    }
    TRY_GOTO(scoring_create(&c, e, settings, setting_count, pairs, pair_count, ids, err));
    fill_first(&c);
    int32_t most = e->plan.max_logits < e->plan.max_step_tokens ? e->plan.max_logits : e->plan.max_step_tokens;
    TRY_GOTO(check_cancelled(e, err));
    row = open_row(e, ids, (int32_t)count, false);
    while (e->rows.row[row].computed < (int32_t)count) {
        int32_t left = (int32_t)count - e->rows.row[row].computed;
        TRY_GOTO(score_chunk(e, row, left < most ? left : most, &c, err));
        TRY_GOTO(check_cancelled(e, err));
    }

cleanup:
    if (row != NO_INDEX) rows_destroy(&e->rows, row);
    scoring_free(&c);
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
    TRY_GOTO(forcing_follow(&f, ids, count, (size_t)e->plan.max_branches, err));
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
