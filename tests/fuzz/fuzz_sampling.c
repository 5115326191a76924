/* fuzz_sampling.c: settings from any text, then a draw on any row.
 * Input: lines "NAME VALUE", an empty line, then bytes: four of control, and the row's floats as they are.
 * What set and check accept must draw without complaint, on every instruction set alike. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/sampler.h"
#include "engine/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINE_MAX_BYTES = 300, V_MAX = 700, HISTORY = 40 };

static void require(int condition) {
    if (!condition) abort();
}

/* A line's setting; a refused value must leave everything as it was and say so in one line. */
static void set_line(tempera_sampling *s, char *line) {
    char *space = strchr(line, ' ');
    if (!space) return;
    *space = 0;
    tempera_sampling before = *s;
    tempera_error err = {TEMPERA_OK, ""};
    if (tempera_sampling_set(s, line, space + 1, &err) == TEMPERA_OK) {
        require(tempera_sampling_check(s, 0, NULL) == TEMPERA_OK);
    } else {
        require(err.status == TEMPERA_INVALID_ARGUMENT && err.message[0] && !strchr(err.message, '\n'));
        require(memcmp(&before, s, sizeof before) == 0);
    }
}

/* Applies the lines; returns where the bytes after the empty line start. */
static size_t set_all(tempera_sampling *s, const uint8_t *data, size_t size) {
    char line[LINE_MAX_BYTES + 1];
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at : size - at;
        if (length == 0) return at + 1;
        if (length <= LINE_MAX_BYTES) {
            memcpy(line, data + at, length);
            line[length] = 0;
            set_line(s, line);
        }
        at += length + 1;
    }
    return size;
}

static void check_order_round_trip(const tempera_order *order) {
    char text[160];
    tempera_order again;
    require(tempera_order_format(order, text, sizeof text) < sizeof text);
    require(tempera_order_parse(text, &again, NULL) == TEMPERA_OK);
    require(again.count == order->count && memcmp(again.stage, order->stage, order->count) == 0);
    require(again.keep_ties == order->keep_ties && again.penalize_prompt == order->penalize_prompt);
}

static void check_result(const struct draw_result *r, const struct branch_params *p, int32_t V) {
    require(r->token >= -1 && r->token < V);
    require((r->token == -1) == !!(r->flags & DRAW_EMPTY));
    if (p->logprobs < 0) return;
    require(r->kept >= 0 && r->kept <= V && (r->kept == 0) == (r->token == -1));
    require(r->kept_mass >= 0.0f && r->kept_mass <= 1.00001f);
    require(r->entropy >= 0.0f && r->entropy <= logf((float)V) + 1e-4f);
    require(r->logprob <= 1e-5f && r->final_logprob <= 1e-5f);
    if (r->token >= 0) require(r->final_logprob > -INFINITY);
    for (int32_t i = 0; i < r->top_count; i++)
        require(r->top_token[i] >= 0 && r->top_token[i] < V && (i == 0 || r->top_logprob[i] <= r->top_logprob[i - 1]));
}

static void draw(const tempera_sampling *s, const uint8_t control[4], const float *row, int32_t V) {
    static const char *const instructions[] = {"portable", "avx2", "avx512"};
    static struct cpu_sampler *sampler;
    if (!sampler) require(cpu_sampler_create(&sampler, V_MAX, 1, 1, 1, NULL) == TEMPERA_OK);
    int32_t history[HISTORY], suppress[2] = {0, control[3]};
    for (int32_t i = 0; i < HISTORY; i++) history[i] = (i * (control[0] % 7 + 1)) % (control[1] + 1);
    struct branch_params params;
    require(branch_params_build(&params, s, control[2], NULL, suppress, 2, NULL) == TEMPERA_OK);
    struct branch_draw branch = {.params = &params,
                                 .row = 0,
                                 .forced = -1,
                                 .history = history,
                                 .history_count = control[0] % (HISTORY + 1),
                                 .prompt_count = control[0] % (HISTORY + 1) / 2};
    struct batch_view view = {.R = 1, .B = 1, .branch = &branch};
    struct draw_result first, result;
    for (int i = 0; i < 3; i++) {
        if (!cpu_sampler_use(sampler, instructions[i])) continue;
        require(cpu_sampler_draw(sampler, NULL, &view, row, V, &result, NULL) == TEMPERA_OK);
        if (i == 0) first = result;
        require(memcmp(&first, &result, sizeof first) == 0);
        check_result(&result, &params, V);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    float row[V_MAX];
    tempera_sampling s = tempera_sampling_default();
    size_t at = set_all(&s, data, size);
    check_order_round_trip(&s.order);
    if (size < at + 4 + sizeof row[0]) return 0;
    size_t count = (size - at - 4) / sizeof row[0];
    if (count > V_MAX) count = V_MAX;
    memcpy(row, data + at + 4, count * sizeof row[0]);
    draw(&s, data + at, row, (int32_t)count);
    return 0;
}
