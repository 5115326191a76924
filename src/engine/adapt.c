#include "engine/adapt.h"

#include "base/draw_math.h"
#include "engine/settings.h"

bool adapt_needs_tokens(const tempera_sampling *s) {
    return s->top_p_distinct > 0.0f;
}

bool adapt_changes(const tempera_sampling *s) {
    return adapt_needs_tokens(s) || s->temperature_end >= 0.0f || s->top_p_end >= 0.0f;
}

/* How far a schedule has come: 0 … 1. */
static float progress(const tempera_sampling *s, int32_t generated) {
    return draw_power((float)generated / (float)settings_schedule_tokens(s), s->schedule_power);
}

/* At the ends it is exactly what they say. */
static float between(float start, float end, float x) {
    return x >= 1.0f ? end : start + (end - start) * x;
}

/* Greedy only at an end that is; on the way from or to it the least temperature that there is. */
static float temperature_at(const tempera_sampling *s, float x, int32_t generated) {
    if (s->temperature_end < 0.0f || s->temperature == s->temperature_end) return s->temperature;
    float temperature = between(s->temperature, s->temperature_end, x);
    bool passing = generated > 0 && generated < settings_schedule_tokens(s);
    return passing && temperature < SETTINGS_TEMPERATURE_LEAST ? SETTINGS_TEMPERATURE_LEAST : temperature;
}

static float top_p_at(const tempera_sampling *s, float x, int32_t generated, int32_t distinct) {
    float top_p = s->top_p_end < 0.0f ? s->top_p : between(s->top_p, s->top_p_end, x);
    if (!adapt_needs_tokens(s) || generated == 0) return top_p;
    return top_p * (1.0f - s->top_p_distinct * ((float)distinct / (float)generated));
}

void adapt_params(struct branch_params *p, const tempera_sampling *s, int32_t generated, int32_t distinct) {
    if (!adapt_changes(s)) return;
    float x = progress(s, generated);
    branch_params_temperature(p, s, temperature_at(s, x, generated));
    p->top_p = top_p_at(s, x, generated, distinct);
}

bool adapt_is_new(const int32_t *tokens, int32_t count, int32_t token) {
    for (int32_t i = 0; i < count; i++)
        if (tokens[i] == token) return false;
    return true;
}
