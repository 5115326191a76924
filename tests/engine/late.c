#include "tests/engine/late.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"

enum { DEVICES = 8, POISON = 0x7ffffff };

int64_t late_overlaps, late_draws, late_fail_linear, late_fail_wait;

enum op { OP_EMBED, OP_NORM, OP_LINEAR, OP_GATE, OP_ROPE, OP_ATTENTION, OP_LOGITS, OP_DRAW };

/* One written-down call, with what its parameters point to. */
struct call {
    enum op op;
    union {
        struct {
            float *out;
            const struct linear_weight *table, *positions;
            float scale;
        } embed;
        struct linear_params linear;
        struct gate_params gate;
        struct attention_params attention;
        struct logits_params logits;
        struct {
            const float *logits;
            int32_t V;
        } draw;
    };
    struct norm_params norm; /* of the call, or of its linear layer */
    struct rope_store_params rope;
};

/* A step with copies of everything that the engine may change once it is submitted. */
struct late_step {
    struct batch_view view;
    int32_t *token; /* owns all integers of the view */
    struct branch_draw *draw;
    struct branch_params *params;
    int32_t **history;
    struct call *call;
    int32_t calls;
    struct draw_result *result;
    tempera_status status;
    tempera_error error;
};

struct device {
    struct backend *backend; /* the cpu's, with our ops; NULL: free */
    bool early;
    struct late_step step[2];
    int64_t begun, ended, run, waited; /* counts of steps */
    int32_t *fed;                      /* [fed_count] tokens of the step that ran last */
    int32_t fed_count;
};
static struct device devices[DEVICES];

static struct device *device_of(const struct backend *backend) {
    for (int i = 0; i < DEVICES; i++)
        if (devices[i].backend == backend) return &devices[i];
    cr_assert_fail("not a late device");
    return NULL;
}

static void *copy(const void *from, size_t bytes) {
    void *to = malloc(bytes ? bytes : 1);
    if (bytes) memcpy(to, from, bytes);
    return to;
}

static int32_t *take(int32_t **at, const int32_t *from, int32_t count) {
    int32_t *to = *at;
    if (count > 0) memcpy(to, from, (size_t)count * sizeof *to);
    *at += count;
    return to;
}

/* ---- writing a step down ----------------------------------------------------------------------------------------- */

static void copy_view(struct late_step *step, const struct batch_view *v) {
    int32_t pages = v->page_start[v->S];
    int32_t *at = malloc((size_t)(3 * v->T + 2 * (v->S + 1) + pages + v->R) * sizeof *at);
    step->view = *v;
    step->view.token = step->token = take(&at, v->token, v->T);
    step->view.position = take(&at, v->position, v->T);
    step->view.slot = take(&at, v->slot, v->T);
    step->view.query_start = take(&at, v->query_start, v->S + 1);
    step->view.page_start = take(&at, v->page_start, v->S + 1);
    step->view.page = take(&at, v->page, pages);
    step->view.logit_token = take(&at, v->logit_token, v->R);
}

static void copy_draws(struct late_step *step, const struct batch_view *v) {
    step->view.branch = step->draw = copy(v->branch, (size_t)v->B * sizeof *v->branch);
    step->params = malloc((size_t)v->B * sizeof *step->params + 1);
    step->history = malloc((size_t)v->B * sizeof *step->history + 1);
    for (int32_t b = 0; b < v->B; b++) {
        const struct branch_draw *d = &v->branch[b];
        struct branch_params *p = &step->params[b];
        *p = *d->params;
        p->bias = copy(p->bias, (size_t)p->bias_count * sizeof *p->bias);
        p->suppress = copy(p->suppress, (size_t)p->suppress_count * sizeof *p->suppress);
        step->history[b] = copy(d->history, (size_t)d->history_count * sizeof *d->history);
        if (d->feedback) step->history[b][d->history_count - 1] = POISON;
        step->draw[b].params = p;
        step->draw[b].history = step->history[b];
    }
}

static void free_step(struct late_step *step) {
    for (int32_t b = 0; b < step->view.B; b++) {
        free((void *)(uintptr_t)step->params[b].bias);
        free((void *)(uintptr_t)step->params[b].suppress);
        free(step->history[b]);
    }
    free(step->token), free(step->draw), free(step->params), free(step->history), free(step->call), free(step->result);
    *step = (struct late_step){0};
}

static struct call *write_down(struct backend *backend, enum op op) {
    struct device *d = device_of(backend);
    struct late_step *step = &d->step[(d->begun - 1) % 2];
    step->call = realloc(step->call, (size_t)(step->calls + 1) * sizeof *step->call);
    step->call[step->calls] = (struct call){.op = op};
    return &step->call[step->calls++];
}

/* ---- running it -------------------------------------------------------------------------------------------------- */

static tempera_status run_call(struct backend *b, struct call *c, tempera_error *err) {
    switch (c->op) {
    case OP_EMBED: return cpu_embed(b, c->embed.out, c->embed.table, c->embed.positions, c->embed.scale, err);
    case OP_NORM: return cpu_norm(b, &c->norm, err);
    case OP_LINEAR:
        if (c->linear.norm) c->linear.norm = &c->norm;
        if (c->linear.rope) c->linear.rope = &c->rope;
        return cpu_linear(b, &c->linear, err);
    case OP_GATE: return cpu_gate(b, &c->gate, err);
    case OP_ROPE: return cpu_rope_store(b, &c->rope, err);
    case OP_ATTENTION: return cpu_attention(b, &c->attention, err);
    case OP_LOGITS: return cpu_logits(b, &c->logits, err);
    default: return cpu_backend_ops.draw(b, c->draw.logits, c->draw.V, err);
    }
}

static tempera_status run_calls(struct device *d, struct late_step *step, tempera_error *err) {
    bool replay;
    TRY(cpu_backend_ops.step_begin(d->backend, &step->view, &replay, err));
    tempera_status status = TEMPERA_OK;
    for (int32_t i = 0; i < step->calls && status == TEMPERA_OK; i++)
        status = run_call(d->backend, &step->call[i], err);
    cpu_backend_ops.step_end(d->backend, NULL);
    cpu_backend_ops.step_wait(d->backend, step->result, NULL);
    return status;
}

/* Tokens and histories get what the step before drew. */
static void feed(const struct device *d, struct late_step *step) {
    const struct batch_view *v = &step->view;
    bool *fed = calloc((size_t)v->T + 1, sizeof *fed);
    for (int32_t t = 0; t < v->T; t++) {
        if (v->token[t] >= 0) continue;
        int32_t draw = -1 - v->token[t];
        cr_assert_lt(draw, d->fed_count, "a token is fed back that nobody drew");
        step->token[t] = d->fed[draw] < 0 ? 0 : d->fed[draw]; /* nothing survived: any token will do */
        fed[t] = true;
    }
    for (int32_t b = 0; b < v->B; b++) {
        int32_t t = v->logit_token[step->draw[b].row];
        cr_assert_eq(step->draw[b].feedback, fed[t]);
        cr_assert_eq(step->draw[b].history_count, v->position[t] + 1);
        if (fed[t]) step->history[b][step->draw[b].history_count - 1] = step->token[t];
    }
    free(fed);
}

static void run_next(struct device *d) {
    struct late_step *step = &d->step[d->run++ % 2];
    feed(d, step);
    step->result = calloc((size_t)step->view.B + 1, sizeof *step->result);
    step->status = run_calls(d, step, &step->error);
    d->fed_count = step->view.B;
    d->fed = realloc(d->fed, ((size_t)d->fed_count + 1) * sizeof *d->fed);
    for (int32_t b = 0; b < d->fed_count; b++) d->fed[b] = step->result[b].token;
}

static void run_all(struct device *d) {
    while (d->run < d->ended) run_next(d);
}

/* ---- the ops ----------------------------------------------------------------------------------------------------- */

static tempera_status late_step_begin(struct backend *backend, const struct batch_view *view, bool *replay,
                                      tempera_error *err) {
    struct device *d = device_of(backend);
    *replay = false;
    if (d->begun != d->ended || d->begun - d->waited == 2)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "step_begin: two steps are in flight");
    late_overlaps += d->begun > d->waited;
    late_draws += view->B;
    struct late_step *step = &d->step[d->begun++ % 2];
    copy_view(step, view);
    copy_draws(step, view);
    return TEMPERA_OK;
}

static tempera_status late_step_end(struct backend *backend, tempera_error *err) {
    struct device *d = device_of(backend);
    (void)err;
    cr_assert_eq(d->ended + 1, d->begun);
    d->ended++;
    if (d->early) run_all(d);
    return TEMPERA_OK;
}

static tempera_status late_step_wait(struct backend *backend, struct draw_result *results, tempera_error *err) {
    struct device *d = device_of(backend);
    cr_assert_lt(d->waited, d->ended, "nothing to wait for");
    struct late_step *step = &d->step[d->waited % 2];
    if (d->run == d->waited) run_next(d);
    d->waited++;
    tempera_status status = step->status;
    if (status != TEMPERA_OK && err) *err = step->error;
    if (status == TEMPERA_OK && late_fail_wait > 0 && --late_fail_wait == 0)
        status = fail(err, TEMPERA_DEVICE, "a wait that was meant to fail");
    if (status == TEMPERA_OK && results && step->view.B > 0)
        memcpy(results, step->result, (size_t)step->view.B * sizeof *results);
    free_step(step);
    return status;
}

static tempera_status late_embed(struct backend *backend, float *out, const struct linear_weight *table,
                                 const struct linear_weight *positions, float scale, tempera_error *err) {
    (void)err;
    struct call *c = write_down(backend, OP_EMBED);
    c->embed.out = out, c->embed.table = table, c->embed.positions = positions, c->embed.scale = scale;
    return TEMPERA_OK;
}

static tempera_status late_norm(struct backend *backend, const struct norm_params *p, tempera_error *err) {
    (void)err;
    write_down(backend, OP_NORM)->norm = *p;
    return TEMPERA_OK;
}

static tempera_status late_linear(struct backend *backend, const struct linear_params *p, tempera_error *err) {
    if (late_fail_linear > 0 && --late_fail_linear == 0)
        return fail(err, TEMPERA_DEVICE, "a linear layer that was meant to fail");
    struct call *c = write_down(backend, OP_LINEAR);
    c->linear = *p;
    if (p->norm) c->norm = *p->norm;
    if (p->rope) c->rope = *p->rope;
    return TEMPERA_OK;
}

static tempera_status late_gate(struct backend *backend, const struct gate_params *p, tempera_error *err) {
    (void)err;
    write_down(backend, OP_GATE)->gate = *p;
    return TEMPERA_OK;
}

static tempera_status late_rope(struct backend *backend, const struct rope_store_params *p, tempera_error *err) {
    (void)err;
    write_down(backend, OP_ROPE)->rope = *p;
    return TEMPERA_OK;
}

static tempera_status late_attention(struct backend *backend, const struct attention_params *p, tempera_error *err) {
    (void)err;
    write_down(backend, OP_ATTENTION)->attention = *p;
    return TEMPERA_OK;
}

static tempera_status late_logits(struct backend *backend, const struct logits_params *p, tempera_error *err) {
    (void)err;
    write_down(backend, OP_LOGITS)->logits = *p;
    return TEMPERA_OK;
}

static tempera_status late_draw(struct backend *backend, const float *logits, int32_t V, tempera_error *err) {
    (void)err;
    struct call *c = write_down(backend, OP_DRAW);
    c->draw.logits = logits, c->draw.V = V;
    return TEMPERA_OK;
}

static tempera_status late_copy_pages(struct backend *backend, const int32_t *from, const int32_t *to,
                                      const int32_t *tokens, int32_t count, tempera_error *err) {
    run_all(device_of(backend)); /* in the order of the stream */
    return cpu_copy_pages(backend, from, to, tokens, count, err);
}

static tempera_status late_transfer(struct backend *backend, void *to, const void *from, size_t bytes,
                                    tempera_error *err) {
    run_all(device_of(backend));
    return cpu_backend_ops.upload(backend, to, from, bytes, err);
}

static void late_info(const struct backend *backend, struct backend_info *info) {
    cpu_backend_ops.info(backend, info);
    info->run_ahead = true;
}

static void late_close(struct backend *backend) {
    if (!backend) return;
    struct device *d = device_of(backend);
    cr_expect_eq(d->waited, d->begun, "a device was closed under a step in flight");
    for (int i = 0; i < 2; i++) free_step(&d->step[i]);
    free(d->fed);
    *d = (struct device){0};
    cpu_backend_ops.close(backend);
}

static struct backend_ops late_ops(void) {
    struct backend_ops ops = cpu_backend_ops;
    ops.close = late_close;
    ops.info = late_info;
    ops.upload = late_transfer;
    ops.download = late_transfer;
    ops.step_begin = late_step_begin;
    ops.step_end = late_step_end;
    ops.step_wait = late_step_wait;
    ops.embed = late_embed;
    ops.norm = late_norm;
    ops.linear = late_linear;
    ops.gate = late_gate;
    ops.rope_store = late_rope;
    ops.attention = late_attention;
    ops.logits = late_logits;
    ops.draw = late_draw;
    ops.copy_pages = late_copy_pages;
    return ops;
}

tempera_status __real_backend_open(struct backend **backend, const char *name, const struct backend_options *options,
                                   char *note, tempera_error *err);
tempera_status __wrap_backend_open(struct backend **backend, const char *name, const struct backend_options *options,
                                   char *note, tempera_error *err);

tempera_status __wrap_backend_open(struct backend **backend, const char *name, const struct backend_options *options,
                                   char *note, tempera_error *err) {
    static struct backend_ops ops;
    bool early = name && strcmp(name, "early") == 0;
    if (!early && (!name || strcmp(name, "late") != 0)) return __real_backend_open(backend, name, options, note, err);
    TRY(__real_backend_open(backend, "cpu", options, note, err));
    ops = late_ops();
    (*backend)->ops = &ops;
    *device_of(NULL) = (struct device){.backend = *backend, .early = early};
    return TEMPERA_OK;
}
