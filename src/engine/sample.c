/* sample.c: what happens to one sample: it takes a token, it ends. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "engine/adapt.h"
#include "engine/engine.h"

/* ---- taking a token -------------------------------------------------------------------------------------------- */

/* Which rule the token ends the sample by, if any: eos ids come first in end_tokens. */
static bool is_end_token(const struct setting *setting, int32_t token, tempera_finish *finish) {
    for (int32_t i = 0; i < setting->end_count; i++) {
        if (setting->end_tokens[i] != token) continue;
        *finish = i < setting->eos_count ? TEMPERA_FINISH_EOS : TEMPERA_FINISH_STOP;
        return true;
    }
    return false;
}

/* Adds the token's text to e->delta. True: a stop string is complete. */
static bool add_text(struct engine *e, struct branch *branch, const struct setting *setting, int32_t token,
                     int32_t generated, size_t *delta) {
    bool matched = false;
    size_t length = detok_push(&branch->detok, token, e->piece);
    size_t stop_count = generated >= setting->sampling.min_tokens ? setting->sampling.stop_count : 0;
    *delta +=
        stop_push(&branch->stop, setting->sampling.stop, stop_count, e->piece, length, e->delta + *delta, &matched);
    return matched;
}

/* The sample's text ends here: what was held back is text after all. */
static void flush_text(struct engine *e, struct branch *branch, size_t *delta) {
    bool matched;
    size_t length = detok_flush(&branch->detok, e->piece);
    *delta += stop_push(&branch->stop, NULL, 0, e->piece, length, e->delta + *delta, &matched);
    *delta += stop_flush(&branch->stop, e->delta + *delta);
}

static void send_token(struct engine *e, struct branch *branch, int32_t token, size_t delta,
                       const tempera_token_stat *stat) {
    const struct request *request = branch->request;
    branch->text_bytes += delta;
    if (!request->on_token) return;
    request->on_token(&(tempera_token_event){.user = request->user,
                                             .request = request->id,
                                             .setting_index = branch->setting,
                                             .sample_index = branch->sample,
                                             .token = token,
                                             .text = e->delta,
                                             .text_length = delta,
                                             .stat = stat});
}

bool engine_take_token(struct engine *e, int32_t row, int32_t branch_index, const struct draw_result *result) {
    struct branch *branch = &e->rows.branch[branch_index];
    const struct row *r = &e->rows.row[row];
    const struct setting *setting = &branch->request->settings[branch->setting];
    int32_t generated = r->length - branch->request->prompt_count + 1;
    branch->nan_rows += (result->flags & DRAW_NAN) != 0;
    if (result->flags & DRAW_EMPTY) {
        engine_finish(e, row, branch_index, NO_INDEX, TEMPERA_FINISH_ERROR, "no token survives the filters");
        return false;
    }
    int32_t token = result->token;
    if (adapt_needs_tokens(&setting->sampling))
        branch->distinct += adapt_is_new(r->tokens + branch->request->prompt_count, generated - 1, token);
    const tempera_token_stat *stat = NULL;
    if (branch->stats != NO_INDEX) {
        stat = stat_pool_record(&branch->request->stats, branch->stats, generated - 1, result);
    }
    tempera_finish finish = TEMPERA_FINISH_LENGTH;
    size_t delta = 0;
    bool ended = is_end_token(setting, token, &finish);
    bool needs_text = e->tokenizer && (branch->request->on_token || setting->sampling.stop_count > 0);
    if (needs_text && !ended && add_text(e, branch, setting, token, generated, &delta)) {
        ended = true;
        finish = TEMPERA_FINISH_STOP;
        branch->cut = true;
    }
    ended |= generated >= setting->max_tokens;
    if (needs_text && ended && !branch->cut) flush_text(e, branch, &delta);
    send_token(e, branch, token, delta, stat);
    if (ended) engine_finish(e, row, branch_index, token, finish, "");
    return !ended;
}

/* ---- ending ---------------------------------------------------------------------------------------------------- */

/* What a finished sample was, whether it ever had a branch or not. */
struct ending {
    int32_t setting, sample;
    const int32_t *tokens; /* [prompt_count + token_count] prompt and completion */
    int32_t token_count;
    const tempera_token_stat *stats; /* [token_count], or NULL */
    size_t text_limit;               /* the completion's text ends here at the latest */
    uint32_t nan_rows;
    tempera_finish finish;
    const char *error;
};

static tempera_status append_text(struct engine *e, struct detok *detok, const int32_t *tokens, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        size_t length = detok_push(detok, tokens[i], e->piece);
        TRY(buf_append(&e->text, e->piece, length, NULL));
    }
    size_t length = detok_flush(detok, e->piece);
    return buf_append(&e->text, e->piece, length, NULL);
}

/* The sample's text in e->text: decoded again from the tokens, so that no sample stores its text while it grows. */
static tempera_status decode_text(struct engine *e, const struct request *request, const struct ending *ending) {
    const struct setting *setting = &request->settings[ending->setting];
    buf_clear(&e->text);
    if (!e->tokenizer) return TEMPERA_OK;
    if (setting->sampling.echo) {
        struct detok prompt;
        detok_init(&prompt, e->tokenizer, false);
        TRY(append_text(e, &prompt, ending->tokens, request->prompt_count));
    }
    size_t start = e->text.length;
    const int32_t *completion = ending->tokens + request->prompt_count;
    int32_t count = ending->token_count;
    tempera_finish ignored;
    if (count > 0 && is_end_token(setting, completion[count - 1], &ignored)) count--;
    struct detok detok = request->detok;
    TRY(append_text(e, &detok, completion, count));
    if (e->text.length - start > ending->text_limit) e->text.length = start + ending->text_limit;
    if (e->text.data) e->text.data[e->text.length] = '\0';
    return TEMPERA_OK;
}

static void report(struct engine *e, const struct request *request, const struct ending *ending) {
    if (!request->on_sample) return;
    bool whole = decode_text(e, request, ending) == TEMPERA_OK;
    request->on_sample(&(tempera_sample){.user = request->user,
                                         .request = request->id,
                                         .setting_index = ending->setting,
                                         .sample_index = ending->sample,
                                         .sampling = &request->settings[ending->setting].sampling,
                                         .text = e->text.data ? e->text.data : "",
                                         .text_length = e->text.length,
                                         .tokens = ending->tokens + request->prompt_count,
                                         .token_count = (size_t)ending->token_count,
                                         .prompt_count = (size_t)request->prompt_count,
                                         .stats = ending->stats,
                                         .finish = whole ? ending->finish : TEMPERA_FINISH_ERROR,
                                         .error = whole ? ending->error : "out of memory for the text",
                                         .nan_rows = ending->nan_rows});
}

static void count_finished(struct engine *e, struct request *request) {
    if (++request->finished < request->samples) return;
    struct request_slot *slot = &e->slot[request->slot];
    slot->request = NULL;
    slot->next = e->free_slot;
    e->free_slot = request->slot;
    e->pending--;
    request_free(request);
}

void engine_finish(struct engine *e, int32_t row, int32_t branch_index, int32_t token, tempera_finish finish,
                   const char *error) {
    struct branch *branch = &e->rows.branch[branch_index];
    struct row *r = &e->rows.row[row];
    struct request *request = branch->request;
    int32_t count = r->length - request->prompt_count;
    if (token != NO_INDEX) r->tokens[r->length] = token; /* room for one more is kept; rows_push overwrites it */
    struct ending ending = {.setting = branch->setting,
                            .sample = branch->sample,
                            .tokens = r->tokens,
                            .token_count = count + (token != NO_INDEX),
                            .stats = branch->stats == NO_INDEX ? NULL : stat_pool_get(&request->stats, branch->stats),
                            .text_limit = branch->cut ? branch->text_bytes : SIZE_MAX,
                            .nan_rows = branch->nan_rows,
                            .finish = finish,
                            .error = error};
    report(e, request, &ending);
    if (branch->stats != NO_INDEX) stat_pool_give(&request->stats, branch->stats);
    rows_free_branch(&e->rows, branch_index);
    count_finished(e, request);
}

void engine_drop_unstarted(struct engine *e, struct request *request) {
    int64_t count = request->samples - request->started;
    for (int64_t i = 0; i < count; i++) { /* the last count_finished may free the request: count, do not ask it */
        struct ending ending = {
            .tokens = request->prompt, .text_limit = SIZE_MAX, .finish = TEMPERA_FINISH_CANCELLED, .error = ""};
        request_take_sample(request, &ending.setting, &ending.sample);
        report(e, request, &ending);
        count_finished(e, request);
    }
}
