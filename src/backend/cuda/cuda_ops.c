/* cuda_ops.c: the ops whose work is one or two kernel launches. */
#include "backend/cuda/cuda.h"

/* A tensor's element in the backend's form of an operand. */
static enum element operand_element(const struct cuda_backend *b, bool operand) {
    return operand ? (enum element)b->limits.type : ELEMENT_F32;
}

size_t cuda_operand_bytes(const struct backend *backend, enum weight_type type, int32_t K) {
    (void)backend;
    return type == WEIGHT_F32 ? (size_t)K * sizeof(float) : (size_t)operand_stride(K) * weight_type_size(type);
}

static tempera_status check_step(const struct cuda_backend *b, const char *op, tempera_error *err) {
    if (b->view) return TEMPERA_OK;
    return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: outside a step", op);
}

static tempera_status check_tokens(const struct cuda_backend *b, const char *op, int32_t T, tempera_error *err) {
    if (T <= b->limits.max_tokens) return TEMPERA_OK;
    return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: %d tokens; prepared for %d", op, T, b->limits.max_tokens);
}

static tempera_status check_heads(const struct cuda_backend *b, const char *op, int32_t layer, int32_t H, int32_t Hkv,
                                  int32_t Dh, tempera_error *err) {
    const struct backend_limits *l = &b->limits;
    if (layer >= 0 && layer < l->L && H == l->H && Hkv == l->Hkv && Dh == l->Dh) return TEMPERA_OK;
    return fail(err, TEMPERA_INVALID_ARGUMENT,
                "%s: layer %d, %d heads, %d key/value heads of width %d; prepared for %d layers, %d, %d, %d", op, layer,
                H, Hkv, Dh, l->L, l->H, l->Hkv, l->Dh);
}

/* The K (half 0) or V (half 1) pages of a layer. */
static void *layer_pages(const struct cuda_backend *b, int32_t layer, size_t half) {
    return (char *)b->kv + ((size_t)layer * 2 + half) * (size_t)b->limits.pages * b->kv_page_bytes;
}

tempera_status cuda_embed(struct backend *backend, float *out, const struct linear_weight *table,
                          const struct linear_weight *positions, float scale, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    TRY(check_step(b, "embed", err));
    const struct embed_args args = {.out = out,
                                    .table = table->data,
                                    .positions = positions ? positions->data : NULL,
                                    .element = (enum element)table->type,
                                    .scale = scale,
                                    .T = b->T,
                                    .D = table->K,
                                    .V = table->N,
                                    .step = b->step};
    if (positions && positions->type != table->type)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "embed: tokens are %s, positions %s", weight_type_name(table->type),
                    weight_type_name(positions->type));
    if (args.T == 0) return TEMPERA_OK;
    return cuda_check(b, embed_launch(&args, b->stream), "embed", err);
}

tempera_status cuda_norm(struct backend *backend, const struct norm_params *p, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    TRY(check_step(b, "norm", err));
    const struct norm_args args = {.out = p->out,
                                   .out_element = operand_element(b, p->out_operand),
                                   .residual = p->residual,
                                   .add = p->add,
                                   .weight = p->weight,
                                   .bias = p->bias,
                                   .kind = (enum kernel_norm)p->kind,
                                   .eps = p->eps,
                                   .T = cuda_rows(b, p->T),
                                   .D = p->D};
    if (args.T == 0) return TEMPERA_OK;
    return cuda_check(b, norm_launch(&args, b->stream), "norm", err);
}

tempera_status cuda_gate(struct backend *backend, const struct gate_params *p, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    TRY(check_step(b, "gate", err));
    const struct gate_args args = {.out = p->out,
                                   .out_element = operand_element(b, p->out_operand),
                                   .in = p->in,
                                   .activation = (enum kernel_activation)p->activation,
                                   .T = cuda_rows(b, p->T),
                                   .F = p->F};
    if (args.T == 0) return TEMPERA_OK;
    return cuda_check(b, gate_launch(&args, b->stream), "gate", err);
}

tempera_status cuda_rope_args(struct cuda_backend *b, const struct rope_store_params *p, struct rope_store_args *args,
                              tempera_error *err) {
    TRY(check_step(b, "rope_store", err));
    TRY(check_tokens(b, "rope_store", p->T, err));
    TRY(check_heads(b, "rope_store", p->layer, p->H, p->Hkv, p->Dh, err));
    *args = (struct rope_store_args){.qkv = p->qkv,
                                     .table = p->table,
                                     .rotary = p->rotary,
                                     .interleaved = p->interleaved,
                                     .q_norm = p->q_norm,
                                     .k_norm = p->k_norm,
                                     .q_norm_bias = p->q_norm_bias,
                                     .k_norm_bias = p->k_norm_bias,
                                     .norm = (enum kernel_norm)p->norm,
                                     .norm_eps = p->norm_eps,
                                     .k = layer_pages(b, p->layer, 0),
                                     .v = layer_pages(b, p->layer, 1),
                                     .element = (enum element)b->limits.type,
                                     .T = cuda_rows(b, p->T),
                                     .H = p->H,
                                     .Hkv = p->Hkv,
                                     .Dh = p->Dh,
                                     .step = b->step};
    return TEMPERA_OK;
}

tempera_status cuda_rope_store(struct backend *backend, const struct rope_store_params *p, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    struct rope_store_args args;
    TRY(cuda_rope_args(b, p, &args, err));
    if (args.T == 0) return TEMPERA_OK;
    return cuda_check(b, rope_store_launch(&args, b->stream), "rope_store", err);
}

tempera_status cuda_attention(struct backend *backend, const struct attention_params *p, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    TRY(check_step(b, "attention", err));
    TRY(check_tokens(b, "attention", p->T, err));
    TRY(check_heads(b, "attention", p->layer, p->H, p->Hkv, p->Dh, err));
    const struct attention_args args = {.out = p->out,
                                        .out_element = operand_element(b, p->out_operand),
                                        .qkv = p->qkv,
                                        .k = layer_pages(b, p->layer, 0),
                                        .v = layer_pages(b, p->layer, 1),
                                        .element = (enum element)b->limits.type,
                                        .scale = p->scale,
                                        .softcap = p->softcap,
                                        .window = p->window,
                                        .H = p->H,
                                        .Hkv = p->Hkv,
                                        .Dh = p->Dh,
                                        .T = cuda_rows(b, p->T),
                                        .decode = (const int32_t *)(b->tables + b->layout.decode),
                                        .decode_count = b->decode_count,
                                        .chunks = b->chunks,
                                        .states = b->states,
                                        .counters = b->counters,
                                        .block = (const struct query_block *)(b->tables + b->layout.block),
                                        .block_count = b->block_count,
                                        .step = b->step};
    if (args.decode_count > 0) CUDA_TRY(b, attention_decode_launch(&args, b->stream), "attention");
    if (args.block_count > 0) CUDA_TRY(b, attention_prefill_launch(&args, b->stream), "attention");
    return TEMPERA_OK;
}

tempera_status cuda_logits(struct backend *backend, const struct logits_params *p, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    TRY(check_step(b, "logits", err));
    const struct norm_args norm = {.out = b->operand,
                                   .out_element = (enum element)p->head->type,
                                   .residual = (float *)(uintptr_t)p->in, /* only read: there is nothing to add */
                                   .weight = p->norm_weight,
                                   .bias = p->norm_bias,
                                   .rows = b->step.logit_token,
                                   .kind = (enum kernel_norm)p->norm,
                                   .eps = p->norm_eps,
                                   .T = b->R,
                                   .D = p->D};
    const struct linear_args head = {.out = p->logits,
                                     .out_element = ELEMENT_F32,
                                     .out_stride = p->head->N,
                                     .in = b->operand,
                                     .weight = p->head->data,
                                     .bias = p->head->bias,
                                     .element = (enum element)p->head->type,
                                     .scale = p->scale,
                                     .softcap = p->softcap,
                                     .T = b->R,
                                     .N = p->head->N,
                                     .K = p->head->K};
    if (b->R == 0) return TEMPERA_OK;
    CUDA_TRY(b, norm_launch(&norm, b->stream), "the final norm");
    return cuda_multiply(b, &head, err);
}

tempera_status cuda_draw_op(struct backend *backend, const float *logits, int32_t V, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    TRY(check_step(b, "draw", err));
    if (b->B == 0) return TEMPERA_OK;
    TRY(cuda_draw_launch(b, logits, V, err));
    b->drawn = true;
    return TEMPERA_OK;
}

tempera_status cuda_copy_pages(struct backend *backend, const int32_t *from, const int32_t *to, const int32_t *tokens,
                               int32_t count, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    (void)tokens; /* whole pages: what lies beyond them is written before it is read */
    if (!b->prepared || b->view) return fail(err, TEMPERA_INVALID_ARGUMENT, "copy_pages: before prepare, or in a step");
    const int32_t most = b->limits.max_branches;
    for (int32_t done = 0, part; done < count; done += part) {
        part = count - done < most ? count - done : most;
        CUDA_TRY(b, cudaEventSynchronize(b->copies_taken), "copying pages");
        for (int32_t i = 0; i < part; i++) {
            b->copies_host[i] = from[done + i];
            b->copies_host[most + i] = to[done + i];
        }
        const size_t bytes = (size_t)part * sizeof(int32_t);
        CUDA_TRY(b, cudaMemcpyAsync(b->copies, b->copies_host, bytes, cudaMemcpyHostToDevice, b->stream),
                 "copying pages");
        CUDA_TRY(b, cudaMemcpyAsync(b->copies + most, b->copies_host + most, bytes, cudaMemcpyHostToDevice, b->stream),
                 "copying pages");
        CUDA_TRY(b, cudaEventRecord(b->copies_taken, b->stream), "copying pages");
        const struct copy_pages_args args = {.kv = b->kv,
                                             .page_bytes = b->kv_page_bytes,
                                             .from = b->copies,
                                             .to = b->copies + most,
                                             .count = part,
                                             .L = b->limits.L,
                                             .P = b->limits.pages};
        CUDA_TRY(b, copy_pages_launch(&args, b->stream), "copying pages");
    }
    return TEMPERA_OK;
}
