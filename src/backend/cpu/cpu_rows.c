/* cpu_rows.c: the ops that work on each token apart: embedding, norm, gate. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_quant.h"
#include "base/num.h"

struct embed_job {
    const struct cpu_backend *b;
    float *out; /* [T, D] */
    const struct linear_weight *table, *positions;
    float scale;
};

/* to [count] = inputs k … of row n of a packed matrix. k is even. */
static void read_row(float *to, const struct linear_weight *w, int32_t n, int64_t k, int64_t count) {
    if (cpu_is_quantised(w->type)) {
        cpu_quant_read(to, w, n, k, count);
        return;
    }
    const unsigned char *panel = (const unsigned char *)w->data + (size_t)(n / PANEL) * cpu_panel_bytes(w->type, w->K) +
                                 (size_t)k * PANEL * weight_type_size(w->type);
    const uint16_t *half = (const uint16_t *)(const void *)panel;
    const float *full = (const float *)(const void *)panel;
    const int64_t lane = n % PANEL;
    if (w->type == WEIGHT_F32)
        for (int64_t i = 0; i < count; i++) to[i] = full[i * PANEL + lane];
    else if (w->type == WEIGHT_F16)
        for (int64_t i = 0; i < count; i++) to[i] = f16_to_float(half[i * PANEL + lane]);
    else
        for (int64_t i = 0; i < count; i++) to[i] = bf16_to_float(half[(i / 2 * PANEL + lane) * 2 + i % 2]);
}

static void embed_token(const struct embed_job *job, float *to, int32_t token, int32_t position) {
    enum { STEP = 256 };
    float part[STEP];
    const int64_t D = job->table->K;
    for (int64_t d = 0; d < D; d += STEP) {
        int64_t count = D - d < STEP ? D - d : STEP;
        read_row(to + d, job->table, token, d, count);
        if (job->scale != 1.0f)
            for (int64_t i = 0; i < count; i++) to[d + i] *= job->scale;
        if (!job->positions) continue;
        read_row(part, job->positions, position, d, count);
        for (int64_t i = 0; i < count; i++) to[d + i] += part[i];
    }
}

static void embed_part(void *arg, int part, int parts) {
    const struct embed_job *job = arg;
    const struct batch_view *view = job->b->view;
    const int64_t end = cpu_part_start(view->T, part + 1, parts);
    for (int64_t t = cpu_part_start(view->T, part, parts); t < end; t++)
        embed_token(job, job->out + t * job->table->K, view->token[t], view->position[t]);
}

tempera_status cpu_embed(struct backend *backend, float *out, const struct linear_weight *table,
                         const struct linear_weight *positions, float scale, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    if (!b->view) return fail(err, TEMPERA_INVALID_ARGUMENT, "embed: outside a step");
    struct embed_job job = {.b = b, .out = out, .table = table, .positions = positions, .scale = scale};
    pool_run(b->pool, embed_part, &job, cpu_parts(b, b->view->T, (int64_t)table->K * 16)); /* a cache line an element */
    return TEMPERA_OK;
}

struct norm_job {
    const struct cpu_kernels *kernels;
    const struct norm_params *p;
};

static void norm_part(void *arg, int part, int parts) {
    const struct norm_job *job = arg;
    const struct norm_params *p = job->p;
    const int64_t D = p->D, end = cpu_part_start(p->T, part + 1, parts);
    for (int64_t t = cpu_part_start(p->T, part, parts); t < end; t++)
        job->kernels->norm((float *)p->out + t * D, p->residual + t * D, p->add ? p->add + t * D : NULL, p->weight,
                           p->bias, p->kind, p->eps, D);
}

tempera_status cpu_norm(struct backend *backend, const struct norm_params *p, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    (void)err;
    struct norm_job job = {.kernels = b->kernels, .p = p};
    pool_run(b->pool, norm_part, &job, cpu_parts(b, p->T, p->D));
    return TEMPERA_OK;
}

struct gate_job {
    const struct cpu_kernels *kernels;
    const struct gate_params *p;
};

static void gate_part(void *arg, int part, int parts) {
    const struct gate_job *job = arg;
    const struct gate_params *p = job->p;
    const int64_t end = cpu_part_start(p->T, part + 1, parts);
    for (int64_t t = cpu_part_start(p->T, part, parts); t < end; t++)
        job->kernels->gate((float *)p->out + t * p->F, p->in + t * 2 * p->F, p->activation, p->F);
}

tempera_status cpu_gate(struct backend *backend, const struct gate_params *p, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    (void)err;
    struct gate_job job = {.kernels = b->kernels, .p = p};
    pool_run(b->pool, gate_part, &job, cpu_parts(b, p->T, (int64_t)p->F * 4));
    return TEMPERA_OK;
}
