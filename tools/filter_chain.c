/* filter_chain.c: sampling chains step by step, and the plane of temperature and top-p. */
#include "filter_chain.h"

#include <stdlib.h>
#include <string.h>

static bool stage_acts(const tempera_sampling *s, tempera_stage stage) {
    switch (stage) {
    case TEMPERA_STAGE_PENALTIES:
        return s->repetition_penalty != 1 || s->frequency_penalty != 0 || s->presence_penalty != 0 ||
               s->no_repeat_ngram > 0;
    case TEMPERA_STAGE_BIAS: return s->logit_bias_count > 0;
    case TEMPERA_STAGE_TEMPERATURE: return s->temperature != 1 || s->temperature_end >= 0 || s->dynatemp_range > 0;
    case TEMPERA_STAGE_TOP_K: return s->top_k > 0;
    case TEMPERA_STAGE_TOP_P: return s->top_p < 1 || s->top_p_end >= 0 || s->top_p_distinct > 0;
    case TEMPERA_STAGE_MIN_P: return s->min_p > 0;
    case TEMPERA_STAGE_TYPICAL_P: return s->typical_p < 1;
    case TEMPERA_STAGE_COUNT: break;
    }
    return false;
}

struct filter_chain filter_chain_make(const tempera_sampling *sampling) {
#define STAGE_NAME(name, text) text,
    static const char *const names[] = {TEMPERA_STAGE_MAP(STAGE_NAME)};
#undef STAGE_NAME
    struct filter_chain chain = {.count = 0};
    for (uint8_t i = 0; i < sampling->order.count; i++) {
        tempera_stage stage = (tempera_stage)sampling->order.stage[i];
        if (!stage_acts(sampling, stage)) continue;
        chain.settings[chain.count] = *sampling;
        chain.settings[chain.count].order.count = (uint8_t)(i + 1);
        chain.names[chain.count++] = names[stage];
    }
    return chain;
}

static void add_value(struct strbuf *b, const char *name, double value, double off) {
    if (value == off) return;
    strbuf_printf(b, " %s ", name);
    strbuf_float(b, (float)value);
}

/* Whether a step has no one value: it depends on the text so far, or on the scores. */
static bool stage_changes(const char *name, const tempera_sampling *s) {
    if (strcmp(name, "temperature") == 0) return s->temperature_end >= 0 || s->dynatemp_range > 0;
    return strcmp(name, "top_p") == 0 && (s->top_p_end >= 0 || s->top_p_distinct > 0);
}

void filter_chain_heading(struct strbuf *b, const struct filter_chain *chain, size_t i) {
    const tempera_sampling *s = &chain->settings[i];
    const char *name = chain->names[i];
    strbuf_text(b, name);
    if (stage_changes(name, s)) return;
#define STAGE_VALUE(field)                                                                                             \
    if (strcmp(name, #field) == 0) {                                                                                   \
        strbuf_char(b, ' ');                                                                                           \
        strbuf_float(b, (float)s->field);                                                                              \
    }
    STAGE_VALUE(temperature)
    STAGE_VALUE(top_k)
    STAGE_VALUE(top_p)
    STAGE_VALUE(min_p)
    STAGE_VALUE(typical_p)
#undef STAGE_VALUE
    if (strcmp(name, "penalties") != 0) return;
    add_value(b, "repetition", (double)s->repetition_penalty, 1);
    add_value(b, "frequency", (double)s->frequency_penalty, 0);
    add_value(b, "presence", (double)s->presence_penalty, 0);
    add_value(b, "no_repeat_ngram", s->no_repeat_ngram, 0);
    add_value(b, "window", s->penalty_window, 0);
}

/* ---- the plane ---- */

float plane_temperature(size_t i) {
    return (float)((double)(i + 1) / 10);
}

float plane_top_p(size_t i) {
    return (float)((double)(i + 1) / 20);
}

tempera_status plane_make(struct plane *plane, tempera_engine *engine, const int32_t *ids, size_t count,
                          tempera_error *err) {
    tempera_sampling *settings = xarray(PLANE_POINTS, sizeof *settings);
    tempera_token_stat *stats = xarray(PLANE_POINTS, sizeof *stats);
    int32_t token;
    float raw;
    for (size_t i = 0; i < PLANE_POINTS; i++) {
        settings[i] = tempera_sampling_default();
        settings[i].temperature = plane_temperature(i / PLANE_SIDE);
        settings[i].top_p = plane_top_p(i % PLANE_SIDE);
    }
    /* No filter changes which token is the most likely one. */
    tempera_status status =
        tempera_next(engine, ids, count, settings, PLANE_POINTS, 1, &token, &raw, plane->logprob, stats, err);
    if (status == TEMPERA_OK)
        for (size_t i = 0; i < PLANE_POINTS; i++) plane->kept[i] = stats[i].kept;
    free(settings);
    free(stats);
    return status;
}

void plane_axes_json(struct json *j) {
    json_object(j, "plane");
    json_array(j, "temperature");
    for (size_t i = 0; i < PLANE_SIDE; i++) json_float(j, NULL, plane_temperature(i));
    json_end(j);
    json_array(j, "top_p");
    for (size_t i = 0; i < PLANE_SIDE; i++) json_float(j, NULL, plane_top_p(i));
    json_end(j);
    json_end(j);
}
