/* cpu_backend.c: the table of ops, and the ops that only manage: open and close, buffers, the step's frame. */
#include <stdio.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_quant.h"
#include "base/mem.h"

static void cpu_close(struct backend *backend) {
    if (!backend) return;
    struct cpu_backend *b = cpu_backend_of(backend);
    cpu_release(b);
    pool_free(b->pool);
    mem_free(b);
}

static tempera_status cpu_open(struct backend **backend, const struct backend_options *options, tempera_error *err) {
    *backend = NULL;
    const char *name = options ? options->instructions : NULL;
    const struct cpu_kernels *kernels = cpu_kernels_find(name);
    if (!kernels)
        return fail(err, TEMPERA_UNSUPPORTED,
                    "instructions '%s': unknown, or not in this processor (avx512bf16, avx512, avx2, portable)", name);
    struct cpu_backend *b = mem_array(1, sizeof *b);
    if (!b) return fail_memory(err, sizeof *b, "the cpu backend");
    b->base.ops = &cpu_backend_ops;
    b->kernels = kernels;
    b->quant = cpu_quant_find(kernels);
    b->threads = options && options->threads > 0 ? options->threads : pool_available_processors();
    cpu_device_name(b->device, sizeof b->device);
    tempera_status status = pool_create(&b->pool, b->threads, err);
    if (status != TEMPERA_OK) {
        mem_free(b);
        return status;
    }
    *backend = &b->base;
    return TEMPERA_OK;
}

static void cpu_info(const struct backend *backend, struct backend_info *info) {
    const struct cpu_backend *b = (const struct cpu_backend *)backend;
    *info = (struct backend_info){
        .name = "cpu", .threads = b->threads, .page_tokens = PAGE_TOKENS, .host_memory = true, .quantised = true};
    snprintf(info->device, sizeof info->device, "%s", b->device);
    snprintf(info->instructions, sizeof info->instructions, "%s", b->kernels->name);
}

static void cpu_sizes(const struct backend *backend, const struct backend_limits *limits, struct backend_sizes *sizes) {
    sizes->kv_page = cpu_kv_page_bytes(limits);
    sizes->workspace = cpu_workspace_bytes((const struct cpu_backend *)backend, limits);
}

static void *cpu_alloc(struct backend *backend, size_t bytes) {
    (void)backend;
    return mem_slab(bytes);
}

static void cpu_free(struct backend *backend, void *buffer, size_t bytes) {
    (void)backend;
    mem_slab_free(buffer, bytes);
}

static tempera_status cpu_copy(struct backend *backend, void *to, const void *from, size_t bytes, tempera_error *err) {
    (void)backend, (void)err;
    if (bytes) memcpy(to, from, bytes);
    return TEMPERA_OK;
}

static size_t cpu_operand_bytes(const struct backend *backend, enum weight_type type, int32_t K) {
    (void)backend, (void)type;
    return (size_t)K * sizeof(float);
}

static tempera_status cpu_step_begin(struct backend *backend, const struct batch_view *view, bool *replay,
                                     tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    const struct backend_limits *l = &b->limits;
    *replay = false;
    if (!b->workspace || b->view || b->ended)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "step_begin: before prepare, or a step is not done with");
    if (view->T > l->max_tokens || view->S > l->max_tokens || view->R > l->max_logits || view->B > l->max_branches)
        return fail(err, TEMPERA_INVALID_ARGUMENT,
                    "step of %d tokens, %d sequences, %d logits rows, %d branches; prepared for %d, %d, %d, %d",
                    (int)view->T, (int)view->S, (int)view->R, (int)view->B, (int)l->max_tokens, (int)l->max_tokens,
                    (int)l->max_logits, (int)l->max_branches);
    b->view = view;
    b->drawn_count = 0;
    return TEMPERA_OK;
}

/* Ops run when they are called, so all is done by now. */
static tempera_status cpu_step_end(struct backend *backend, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    if (!b->view) return fail(err, TEMPERA_INVALID_ARGUMENT, "step_end: outside a step");
    b->view = NULL;
    b->ended = true;
    return TEMPERA_OK;
}

static tempera_status cpu_step_wait(struct backend *backend, struct draw_result *results, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    if (!b->ended) return fail(err, TEMPERA_INVALID_ARGUMENT, "step_wait: no step to wait for");
    b->ended = false;
    if (results && b->drawn_count) memcpy(results, b->drawn, (size_t)b->drawn_count * sizeof *results);
    return TEMPERA_OK;
}

static tempera_status cpu_draw(struct backend *backend, const float *logits, int32_t V, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    if (!b->view) return fail(err, TEMPERA_INVALID_ARGUMENT, "draw: outside a step");
    TRY(cpu_sampler_draw(b->sampler, b->pool, b->view, logits, V, b->drawn, err));
    b->drawn_count = b->view->B;
    return TEMPERA_OK;
}

const struct backend_ops cpu_backend_ops = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .info = cpu_info,
    .sizes = cpu_sizes,
    .prepare = cpu_prepare,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .operand_bytes = cpu_operand_bytes,
    .linear_bytes = cpu_linear_bytes,
    .linear_pack = cpu_linear_pack,
    .step_begin = cpu_step_begin,
    .step_end = cpu_step_end,
    .step_wait = cpu_step_wait,
    .embed = cpu_embed,
    .norm = cpu_norm,
    .linear = cpu_linear,
    .gate = cpu_gate,
    .rope_store = cpu_rope_store,
    .attention = cpu_attention,
    .logits = cpu_logits,
    .draw = cpu_draw,
    .copy_pages = cpu_copy_pages,
    .measure = cpu_measure,
};
