#include "cases.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* SplitMix64. */
uint64_t random_bits(struct random *r) {
    uint64_t x = r->state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
double random_uniform(struct random *r) {
    return ((double)(random_bits(r) >> 11) + 0.5) * 0x1p-53;
}
double random_normal(struct random *r) {
    double radius = sqrt(-2.0 * log(random_uniform(r)));
    return radius * cos(6.283185307179586 * random_uniform(r));
}
int32_t random_below(struct random *r, int32_t n) {
    return (int32_t)(random_bits(r) % (uint64_t)n);
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

static void sprinkle(struct random *r, float *row, int32_t V, float value, double share) {
    for (int32_t i = 0; i < V; i++)
        if (random_uniform(r) < share) row[i] = value;
}

static void normal_row(struct random *r, float *row, int32_t V, double width, double centre) {
    for (int32_t i = 0; i < V; i++) row[i] = (float)(centre + width * random_normal(r));
}

static void peaked_row(struct random *r, float *row, int32_t V) {
    normal_row(r, row, V, 2.2, -4.0);
    int32_t peaks = 1 + random_below(r, 40);
    for (int32_t i = 0; i < peaks; i++) {
        int32_t peak = random_below(r, V);
        row[peak] = (float)(12.0 - 2.0 * log(1.0 + i) + 0.5 * random_normal(r));
    }
}

static void tied_row(struct random *r, float *row, int32_t V) {
    double step = pow(2.0, random_below(r, 5) - 3);
    for (int32_t i = 0; i < V; i++) row[i] = (float)(step * floor(2.0 * random_normal(r) / step));
}

static void huge_row(struct random *r, float *row, int32_t V) {
    for (int32_t i = 0; i < V; i++) {
        double mantissa = random_uniform(r) * 2.0 - 1.0;
        row[i] = (float)mantissa * powf(10.0f, (float)random_below(r, 38));
    }
    if (random_below(r, 2)) row[random_below(r, V)] = FLT_MAX;
    if (random_below(r, 2)) row[random_below(r, V)] = -FLT_MAX;
}

static void tiny_row(struct random *r, float *row, int32_t V) {
    static const float values[] = {0.0f, -0.0f, FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MIN, -FLT_MIN, 1e-20f};
    for (int32_t i = 0; i < V; i++) row[i] = values[random_below(r, sizeof values / sizeof values[0])];
}

void case_row(struct random *r, enum row_kind kind, float *row, int32_t V) {
    static const double widths[] = {0.1, 1.0, 3.0, 10.0};
    double width = widths[random_below(r, 4)]; /* one call a statement: compilers order arguments as they like */
    normal_row(r, row, V, width, 10.0 * random_normal(r));
    switch (kind) {
    case ROW_NORMAL: break;
    case ROW_PEAKED: peaked_row(r, row, V); break;
    case ROW_TIED: tied_row(r, row, V); break;
    case ROW_EQUAL:
        for (int32_t i = 0; i < V; i++) row[i] = row[0];
        break;
    case ROW_HALF_BANNED: sprinkle(r, row, V, -INFINITY, 0.5); break;
    case ROW_NAN: sprinkle(r, row, V, random_below(r, 2) ? NAN : -NAN, 0.1); break;
    case ROW_INFINITE:
        sprinkle(r, row, V, -INFINITY, 0.2);
        sprinkle(r, row, V, INFINITY, 0.05);
        break;
    case ROW_SINGLE:
        for (int32_t i = 0, left = random_below(r, V); i < V; i++)
            if (i != left) row[i] = -INFINITY;
        break;
    case ROW_NOTHING:
        for (int32_t i = 0; i < V; i++) row[i] = random_below(r, 2) ? NAN : -INFINITY;
        break;
    case ROW_HUGE: huge_row(r, row, V); break;
    case ROW_TINY: tiny_row(r, row, V); break;
    case ROW_KINDS: break;
    }
}

/* ---- settings ------------------------------------------------------------------------------------------------- */

static void order_of(tempera_order *order, const uint8_t *stages, uint8_t count) {
    memset(order, 0, sizeof *order);
    memcpy(order->stage, stages, count);
    order->count = count;
}

static void random_order(struct random *r, tempera_order *order) {
    static const uint8_t plain[] = {0, 1, 2, 3, 4, 5, 6};
    uint8_t stages[TEMPERA_STAGE_COUNT];
    memcpy(stages, plain, sizeof stages);
    for (int32_t i = TEMPERA_STAGE_COUNT - 1; i > 0; i--) {
        int32_t j = random_below(r, i + 1);
        uint8_t swap = stages[i];
        stages[i] = stages[j];
        stages[j] = swap;
    }
    order_of(order, stages, (uint8_t)random_below(r, TEMPERA_STAGE_COUNT + 1));
    order->keep_ties = random_below(r, 2);
    order->penalize_prompt = random_below(r, 2);
}

static float pick(struct random *r, const float *values, int32_t n) {
    return values[random_below(r, n)];
}
#define PICK(r, ...)                                                                                                   \
    pick(r, (const float[]){__VA_ARGS__}, (int32_t)(sizeof((const float[]){__VA_ARGS__}) / sizeof(float)))

static void random_history(struct random *r, struct sampler_case *c, int32_t V) {
    int32_t range = V < 12 ? V : 12; /* few distinct tokens, so that n-grams repeat */
    int32_t count = random_below(r, CASE_HISTORY + 1);
    for (int32_t i = 0; i < count; i++) c->history[i] = random_below(r, range);
    c->draw.history = c->history;
    c->draw.history_count = count;
    c->draw.prompt_count = random_below(r, count + 1);
}

static void random_lists(struct random *r, struct sampler_case *c, int32_t V) {
    int32_t count = random_below(r, 2) ? random_below(r, V < CASE_LIST ? V : CASE_LIST) : 0;
    int32_t token = random_below(r, V / (CASE_LIST + 1) + 1);
    for (int32_t i = 0; i < count; i++) {
        c->bias[i].token = token;
        c->bias[i].bias = PICK(r, -INFINITY, -100.0f, -1.5f, 0.0f, 0.25f, 5.0f, 100.0f);
        token += 1 + random_below(r, V / (CASE_LIST + 1) + 1);
        if (token >= V) {
            count = i + 1;
            break;
        }
    }
    c->params.bias = c->bias;
    c->params.bias_count = count;
    c->params.suppress_count = random_below(r, 4);
    for (int32_t i = 0; i < c->params.suppress_count; i++) c->suppress[i] = random_below(r, V);
    c->params.suppress = c->suppress;
    c->params.min_tokens = random_below(r, 2) ? random_below(r, CASE_HISTORY) : 0;
}

void case_plain(struct sampler_case *c, float temperature) {
    static const uint8_t stages[] = {TEMPERA_STAGE_PENALTIES, TEMPERA_STAGE_BIAS,  TEMPERA_STAGE_TEMPERATURE,
                                     TEMPERA_STAGE_TOP_K,     TEMPERA_STAGE_TOP_P, TEMPERA_STAGE_MIN_P,
                                     TEMPERA_STAGE_TYPICAL_P};
    memset(c, 0, sizeof *c);
    c->params.temperature = temperature;
    c->params.inv_temperature = temperature > 0 ? 1.0f / temperature : 0.0f;
    c->params.top_p = c->params.typical_p = c->params.repetition_penalty = 1.0f;
    c->params.logprobs = -1;
    order_of(&c->params.order, stages, sizeof stages);
    c->draw = (struct branch_draw){.params = &c->params, .forced = -1, .history = c->history};
}

static void random_preset(struct random *r, tempera_order *order) {
    static const uint8_t presets[4][TEMPERA_STAGE_COUNT] = {
        {0, 1, 2, 3, 4, 5, 6}, {1, 0, 2, 3, 4, 5, 6}, {1, 0, 2, 5, 3, 4, 6}, {1, 0, 3, 6, 4, 5, 2}};
    int32_t which = random_below(r, 4);
    order_of(order, presets[which], TEMPERA_STAGE_COUNT);
    order->keep_ties = which == 1 || which == 2;
    order->penalize_prompt = which == 3;
}

/* Around the temperature that is set; a greedy branch has it too, and must not care. */
static void random_dynatemp(struct random *r, struct branch_params *p) {
    float range = PICK(r, 1e-3f, 0.1f, 0.5f, 1.0f, 3.0f, 1000.0f);
    p->dynatemp_least = p->temperature - range > 0.0001f ? p->temperature - range : 0.0001f;
    p->dynatemp_spread = p->temperature + range - p->dynatemp_least;
    p->dynatemp_exponent = PICK(r, 0.01f, 0.5f, 1.0f, 1.0f, 1.7f, 7.5f, 100.0f);
}

void case_settings(struct random *r, struct sampler_case *c, int32_t V) {
    case_plain(c, PICK(r, 0.0f, 0.0001f, 0.3f, 0.7f, 0.7f, 1.0f, 1.0f, 1.3f, 3.0f, 1000.0f));
    struct branch_params *p = &c->params;
    if (random_below(r, 2)) {
        random_preset(r, &p->order);
    } else {
        random_order(r, &p->order);
    }
    if (random_below(r, 2)) {
        int32_t k[] = {1, 2, 5, 40, V / 2 + 1, V, V == INT32_MAX ? V : V + 5, 1 + random_below(r, V)};
        p->top_k = k[random_below(r, 8)];
    }
    if (random_below(r, 2))
        p->top_p = PICK(r, 0.0f, 1e-6f, 0.1f, 0.5f, 0.9f, 0.95f, 0.999f, 0.99999994f, (float)random_uniform(r));
    if (random_below(r, 2)) {
        p->min_p = PICK(r, 1e-30f, 0.001f, 0.05f, 0.5f, 1.0f, (float)random_uniform(r));
        p->min_p_distance = (float)-log((double)p->min_p) + 0.0f;
    }
    if (random_below(r, 3) == 0) p->typical_p = PICK(r, 0.0f, 0.2f, 0.5f, 0.9f, 0.99f, (float)random_uniform(r));
    if (random_below(r, 2)) p->repetition_penalty = PICK(r, 0.01f, 0.8f, 1.1f, 1.3f, 100.0f);
    if (random_below(r, 3) == 0) p->frequency_penalty = PICK(r, -100.0f, -0.5f, 0.1f, 0.7f, 100.0f);
    if (random_below(r, 3) == 0) p->presence_penalty = PICK(r, -2.0f, 0.4f, 1.0f);
    if (random_below(r, 2)) p->penalty_window = 1 + random_below(r, 70);
    if (random_below(r, 4) == 0) p->no_repeat_ngram = 1 + random_below(r, 4);
    if (random_below(r, 3) == 0) random_dynatemp(r, p);
    p->seed = random_bits(r);
    p->sample = random_below(r, 1000);
    random_history(r, c, V);
    random_lists(r, c, V);
}
