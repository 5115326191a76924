/* measure_draw.c: tempera_measure_draw: a device's draw without a model. */
#include <string.h>
#include <time.h>

#include "backend/backend.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/settings.h"
#include "tempera/tempera.h"

enum { PROMPT = 256, HISTORY = 512, MOST_ROWS = 65536, MOST_DRAWS = 1 << 20, MOST_REPETITIONS = 1 << 20 };

struct measurement {
    const tempera_draws *draws;
    struct backend *backend;
    int32_t branches;
    float *logits; /* the device's, logit_bytes */
    size_t logit_bytes;
    int32_t *history; /* [HISTORY + repetitions] every sequence's */
    tempera_logit_bias *bias;
    struct branch_params *params; /* [branches] */
    struct branch_draw *draw;     /* [branches] */
    struct draw_result *results;  /* [branches] */
    /* Of a step of sequences that have one token each. */
    int32_t *zeros, *places; /* [rows + 1] 0, 0, … and 0, 1, … */
};

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static tempera_status check_range(const char *name, int64_t value, int64_t high, tempera_error *err) {
    if (value >= 1 && value <= high) return TEMPERA_OK;
    return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected 1 to %lld, got %lld", name, (long long)high,
                (long long)value);
}

static tempera_status check(const tempera_engine_options *options, const tempera_draws *d, const double *seconds,
                            tempera_error *err) {
    if (!options || !d || !d->logits || !d->sampling || !seconds)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "options, draws, their logits and sampling, or seconds is NULL");
    TRY(check_range("rows", d->rows, MOST_ROWS, err));
    TRY(check_range("vocab_size", d->vocab_size, INT32_MAX, err));
    TRY(check_range("repetitions", d->repetitions, MOST_REPETITIONS, err));
    TRY(tempera_sampling_check(d->sampling, d->vocab_size, err));
    return check_range("rows * n", (int64_t)d->rows * d->sampling->n, MOST_DRAWS, err);
}

/* ---- what is drawn ----------------------------------------------------------------------------------------------- */

static tempera_status allocate(struct measurement *m, tempera_error *err) {
    const tempera_draws *d = m->draws;
    const size_t rows = (size_t)d->rows, branches = (size_t)m->branches;
    m->history = mem_array(HISTORY + (size_t)d->repetitions, sizeof *m->history);
    m->bias = mem_array(d->sampling->logit_bias_count + 1, sizeof *m->bias);
    m->params = mem_array(branches, sizeof *m->params);
    m->draw = mem_array(branches, sizeof *m->draw);
    m->results = mem_array(branches, sizeof *m->results);
    m->zeros = mem_array(rows + 1, sizeof *m->zeros);
    m->places = mem_array(rows + 1, sizeof *m->places);
    if (m->history && m->bias && m->params && m->draw && m->results && m->zeros && m->places) return TEMPERA_OK;
    return fail_memory(err, branches * (sizeof *m->params + sizeof *m->draw + sizeof *m->results), "the draws");
}

/* The n samples of the setting on each row. */
static tempera_status fill(struct measurement *m, tempera_error *err) {
    const tempera_draws *d = m->draws;
    const tempera_sampling *s = d->sampling;
    const int32_t used = d->vocab_size < 300 ? d->vocab_size : 300; /* different tokens of the history */
    settings_sort_bias(m->bias, s);
    for (int32_t i = 0; i < HISTORY + d->repetitions; i++) m->history[i] = (int32_t)((int64_t)i * 37 % used);
    for (int32_t i = 0; i <= d->rows; i++) m->places[i] = i;
    for (int32_t b = 0; b < m->branches; b++) {
        TRY(branch_params_build(&m->params[b], s, s->first_sample + b % s->n, m->bias, NULL, 0, err));
        m->draw[b] = (struct branch_draw){
            .params = &m->params[b], .row = b / s->n, .forced = -1, .history = m->history, .prompt_count = PROMPT};
    }
    return TEMPERA_OK;
}

/* ---- the device -------------------------------------------------------------------------------------------------- */

/* A model of which only the vocabulary is real. */
static tempera_status prepare(struct measurement *m, tempera_error *err) {
    const tempera_draws *d = m->draws;
    const struct backend_ops *ops = m->backend->ops;
    const struct backend_limits limits = {.L = 1,
                                          .D = 16,
                                          .H = 1,
                                          .Hkv = 1,
                                          .Dh = 16,
                                          .F = 16,
                                          .V = d->vocab_size,
                                          .context = HISTORY + d->repetitions + 1,
                                          .max_tokens = d->rows,
                                          .max_logits = d->rows,
                                          .max_branches = m->branches,
                                          .pages = 1,
                                          .type = WEIGHT_F32};
    size_t count, bytes;
    if (!size_mul((size_t)d->rows, (size_t)d->vocab_size, &count) || !size_mul(count, sizeof(float), &bytes))
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%d rows of %d logits are too many", (int)d->rows,
                    (int)d->vocab_size);
    TRY(ops->prepare(m->backend, &limits, err));
    m->logits = ops->alloc(m->backend, bytes);
    if (!m->logits) return fail_memory(err, bytes, "logits");
    m->logit_bytes = bytes;
    return ops->upload(m->backend, m->logits, d->logits, bytes, err);
}

/* One step that only draws, at the position after `history_count` tokens. */
static tempera_status draw_once(struct measurement *m, int32_t history_count, double *seconds, tempera_error *err) {
    const struct backend_ops *ops = m->backend->ops;
    const struct batch_view view = {.T = m->draws->rows,
                                    .token = m->zeros,
                                    .position = m->zeros,
                                    .slot = m->zeros,
                                    .S = m->draws->rows,
                                    .query_start = m->places,
                                    .page_start = m->zeros,
                                    .page = m->zeros,
                                    .R = m->draws->rows,
                                    .logit_token = m->places,
                                    .B = m->branches,
                                    .branch = m->draw};
    bool replay;
    for (int32_t b = 0; b < m->branches; b++) m->draw[b].history_count = history_count;
    double start = seconds_now();
    TRY(ops->step_begin(m->backend, &view, &replay, err));
    if (!replay) TRY(ops->draw(m->backend, m->logits, m->draws->vocab_size, err));
    TRY(ops->step_end(m->backend, err));
    TRY(ops->step_wait(m->backend, m->results, err));
    *seconds = seconds_now() - start;
    return TEMPERA_OK;
}

/* The first draw is not counted. */
static tempera_status measure(struct measurement *m, double *seconds, tempera_error *err) {
    double unused;
    TRY(draw_once(m, HISTORY, &unused, err));
    for (int32_t i = 0; i < m->draws->repetitions; i++) TRY(draw_once(m, HISTORY + 1 + i, &seconds[i], err));
    return TEMPERA_OK;
}

static void describe(const struct backend *backend, tempera_plan *used) {
    struct backend_info info;
    if (!used) return;
    backend->ops->info(backend, &info);
    *used = (tempera_plan){.threads = info.threads};
    memcpy(used->device, info.name, sizeof used->device);
    memcpy(used->device_name, info.device, sizeof used->device_name);
    memcpy(used->instructions, info.instructions, sizeof used->instructions);
}

static void release(struct measurement *m) {
    if (m->logits) m->backend->ops->free(m->backend, m->logits, m->logit_bytes);
    if (m->backend) m->backend->ops->close(m->backend);
    mem_free(m->history);
    mem_free(m->bias);
    mem_free(m->params);
    mem_free(m->draw);
    mem_free(m->results);
    mem_free(m->zeros);
    mem_free(m->places);
}

tempera_status tempera_measure_draw(const tempera_engine_options *options, const tempera_draws *draws, double *seconds,
                                    tempera_plan *used, tempera_error *err) {
    tempera_status status;
    TRY(check(options, draws, seconds, err));
    const struct backend_options device = {.threads = options->threads, .instructions = options->instructions};
    struct measurement m = {.draws = draws, .branches = draws->rows * draws->sampling->n};
    TRY_GOTO(allocate(&m, err));
    TRY_GOTO(fill(&m, err));
    TRY_GOTO(backend_open(&m.backend, options->device, &device, NULL, err));
    TRY_GOTO(prepare(&m, err));
    TRY_GOTO(measure(&m, seconds, err));
    describe(m.backend, used);

cleanup:
    release(&m);
    return status;
}
