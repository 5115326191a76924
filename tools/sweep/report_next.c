/* report_next.c: exact next-token distributions after a prompt, for the steps of all settings' chains. */
#include <stdlib.h>
#include <string.h>

#include "sweep/report.h"

static size_t find_chain(struct report_chains *chains, const char *key) {
    for (size_t i = 0; i < chains->count; i++)
        if (strcmp(chains->keys[i], key) == 0) return i;
    return SIZE_MAX;
}

static size_t add_chain(struct report_chains *chains, const struct strbuf *key, const struct strbuf *heading,
                        const tempera_sampling *sampling) {
    size_t found = find_chain(chains, key->data);
    if (found != SIZE_MAX) return found;
    found = chains->count++;
    chains->settings = xgrow(chains->settings, chains->count, sizeof *chains->settings);
    chains->headings = xgrow((void *)chains->headings, chains->count, sizeof *chains->headings);
    chains->keys = xgrow((void *)chains->keys, chains->count, sizeof *chains->keys);
    chains->settings[found] = *sampling;
    chains->headings[found] = xdup(heading->data, heading->length);
    chains->keys[found] = xdup(key->data, key->length);
    return found;
}

/* The setting as the first token after a prompt sees it: a schedule is at its start, and nothing was generated that
 * penalties could count. tempera_next takes all tokens for generated ones. */
static tempera_sampling at_first_token(const tempera_sampling *sampling) {
    tempera_sampling first = *sampling;
    first.temperature_end = first.top_p_end = -1;
    first.top_p_distinct = 0;
    if (!first.order.penalize_prompt) first.frequency_penalty = first.presence_penalty = 0;
    return first;
}

void report_chains_make(struct report_chains *chains, const struct stored_points *points) {
    *chains = (struct report_chains){.count = 0};
    chains->of_point = xarray(points->count, TEMPERA_STAGE_COUNT * sizeof *chains->of_point);
    chains->lengths = xarray(points->count, sizeof *chains->lengths);
    for (size_t p = 0; p < points->count; p++) {
        const tempera_sampling sampling = at_first_token(&points->items[p].sampling);
        struct filter_chain chain = filter_chain_make(&sampling);
        struct strbuf key = {0};
        strbuf_printf(&key, "%d%d", sampling.order.keep_ties, sampling.order.penalize_prompt);
        /* By entropy: the heading of its step has no value. */
        if (sampling.dynatemp_range > 0)
            strbuf_printf(&key, " %a %a %a", (double)sampling.temperature, (double)sampling.dynatemp_range,
                          (double)sampling.dynatemp_exponent);
        for (size_t s = 0; s < chain.count; s++) {
            struct strbuf heading = {0};
            filter_chain_heading(&heading, &chain, s);
            strbuf_printf(&key, "|%s", heading.data);
            chains->of_point[p * TEMPERA_STAGE_COUNT + s] = add_chain(chains, &key, &heading, &chain.settings[s]);
            strbuf_free(&heading);
        }
        chains->lengths[p] = chain.count;
        strbuf_free(&key);
    }
}

void report_chains_free(struct report_chains *chains) {
    for (size_t i = 0; i < chains->count; i++) {
        free(chains->headings[i]);
        free(chains->keys[i]);
    }
    free(chains->settings);
    free((void *)chains->headings);
    free((void *)chains->keys);
    free(chains->of_point);
    free(chains->lengths);
}

int report_next(struct page *page, const struct report_chains *chains, const struct sweep_prompt *prompt, size_t index,
                tempera_engine *engine, int32_t top, struct token_set *tokens) {
    struct strbuf block = {0}, name = {0};
    struct plane plane;
    tempera_error err;
    /* Without any step that acts, one pass-through setting still brings the entropy. */
    tempera_sampling plain = tempera_sampling_default();
    const tempera_sampling *settings = chains->count ? chains->settings : &plain;
    size_t count = chains->count ? chains->count : 1, n = (size_t)top;
    int32_t *token = xarray(n, sizeof *token);
    float *raw = xarray(n, sizeof *raw), *final = xarray(count * n, sizeof *final);
    tempera_token_stat *stats = xarray(count, sizeof *stats);
    bool good = tempera_next(engine, prompt->tokens.ids, prompt->tokens.count, settings, count, top, token, raw, final,
                             stats, &err) == TEMPERA_OK &&
                plane_make(&plane, engine, prompt->tokens.ids, prompt->tokens.count, &err) == TEMPERA_OK;
    if (good) {
        for (size_t i = 0; i < n; i++) {
            tokens->used[token[i]] = true;
            block_u32(&block, (uint32_t)token[i]);
        }
        for (size_t i = 0; i < n; i++) block_f32(&block, raw[i]);
        block_f32(&block, stats[0].entropy);
        for (size_t c = 0; c < chains->count; c++) block_u32(&block, (uint32_t)stats[c].kept);
        for (size_t c = 0; c < chains->count; c++) block_f32(&block, stats[c].kept_mass);
        for (size_t i = 0; i < chains->count * n; i++) block_f32(&block, final[i]);
        for (size_t i = 0; i < PLANE_POINTS; i++) block_f32(&block, plane.logprob[i]);
        for (size_t i = 0; i < PLANE_POINTS; i++) block_u32(&block, (uint32_t)plane.kept[i]);
        strbuf_printf(&name, "next-%zu", index);
        page_block(page, name.data, block.data, block.length);
    }
    strbuf_free(&block);
    strbuf_free(&name);
    free(token);
    free(raw);
    free(final);
    free(stats);
    return good ? EXIT_DONE : complain_error(&err);
}
