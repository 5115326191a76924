/* sampler_penalties.c: the stages that touch few tokens: suppression, repetition, bias. */
#include "backend/cpu/sampler_internal.h"
#include "backend/draw_check.h"

static void ban(struct chain *c, int32_t id) {
    float *score = chain_edit(c, id);
    if (score) *score = -INFINITY;
}

void chain_suppress(struct chain *c, const struct branch_draw *branch) {
    const struct branch_params *p = branch->params;
    if (branch->history_count - branch->prompt_count >= p->min_tokens) return;
    for (int32_t i = 0; i < p->suppress_count; i++) ban(c, p->suppress[i]);
}

void chain_bias(struct chain *c, const struct branch_params *p) {
    for (int32_t i = 0; i < p->bias_count; i++) {
        float *score = chain_edit(c, p->bias[i].token);
        if (!score) continue;
        /* inf - inf would be NaN: a ban wins */
        *score = p->bias[i].bias == -INFINITY ? -INFINITY : draw_clean(*score + p->bias[i].bias);
    }
}

/* Bans every token that followed an earlier occurrence of the last n - 1 tokens, by Knuth-Morris-Pratt: a prompt of one
 * repeated token costs no more than any other. fail[i] is the length of the longest proper border of the first i + 1
 * tokens of the pattern. */
static void ban_repeats(struct chain *c, const int32_t *history, int32_t count, int32_t n) {
    int32_t fail[DRAW_NGRAM_MAX];
    int32_t length = n - 1;
    const int32_t *pattern = history + count - length;
    for (int32_t i = 1, matched = fail[0] = 0; i < length; i++) {
        while (matched > 0 && pattern[i] != pattern[matched]) matched = fail[matched - 1];
        matched += pattern[i] == pattern[matched];
        fail[i] = matched;
    }
    for (int32_t i = 0, matched = 0; i + 1 < count; i++) {
        if (matched == length && length > 0) matched = fail[matched - 1];
        while (matched > 0 && history[i] != pattern[matched]) matched = fail[matched - 1];
        if (length > 0) matched += history[i] == pattern[matched];
        if (matched == length) ban(c, history[i + 1]);
    }
    if (length == 0 && count > 0) ban(c, history[0]); /* the empty pattern also ends before the first token */
}

/* The distinct tokens of a list in scratch->index, their counts in scratch->count; returns how many. Tokens that are not
 * of the vocabulary are left out. */
static int32_t count_tokens(struct scratch *scratch, const int32_t *tokens, int32_t n, int32_t V) {
    int32_t distinct = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t token = tokens[i];
        if ((uint32_t)token >= (uint32_t)V) continue;
        if (scratch->count[token]++ == 0) scratch->index[distinct++] = token;
    }
    return distinct;
}

/* The latest `window` tokens of [first, count); 0 = all. */
static int32_t window_start(int32_t first, int32_t count, int32_t window) {
    return window > 0 && count - first > window ? count - window : first;
}

static void penalize_repetition(struct chain *c, const struct branch_draw *branch, int32_t V) {
    const struct branch_params *p = branch->params;
    struct scratch *scratch = c->scratch;
    chain_settle(c); /* it works in the same index */
    int32_t start = window_start(0, branch->history_count, p->penalty_window);
    int32_t distinct = count_tokens(scratch, branch->history + start, branch->history_count - start, V);
    for (int32_t i = 0; i < distinct; i++) {
        int32_t token = scratch->index[i];
        scratch->count[token] = 0;
        float *score = chain_edit(c, token);
        if (!score) continue;
        *score = draw_clean(*score > 0.0f ? *score / p->repetition_penalty : *score * p->repetition_penalty);
    }
}

static void penalize_frequency(struct chain *c, const struct branch_draw *branch, int32_t V) {
    const struct branch_params *p = branch->params;
    struct scratch *scratch = c->scratch;
    chain_settle(c); /* it works in the same index */
    int32_t first = p->order.penalize_prompt ? 0 : branch->prompt_count;
    int32_t start = window_start(first, branch->history_count, p->penalty_window);
    int32_t distinct = count_tokens(scratch, branch->history + start, branch->history_count - start, V);
    for (int32_t i = 0; i < distinct; i++) {
        int32_t token = scratch->index[i];
        float times = (float)scratch->count[token];
        scratch->count[token] = 0;
        float *score = chain_edit(c, token);
        if (!score) continue;
        float lowered = *score - p->frequency_penalty * times;
        *score = draw_clean(lowered - p->presence_penalty);
    }
}

void chain_penalties(struct chain *c, const struct branch_draw *branch, int32_t V) {
    const struct branch_params *p = branch->params;
    int32_t n = p->no_repeat_ngram;
    if (n > 0 && branch->history_count >= n) ban_repeats(c, branch->history, branch->history_count, n);
    if (branch->history_count == 0) return;
    if (p->repetition_penalty != 1.0f) penalize_repetition(c, branch, V);
    if (p->frequency_penalty != 0.0f || p->presence_penalty != 0.0f) penalize_frequency(c, branch, V);
}
