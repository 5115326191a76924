/* cuda_linear.c: linear layers: which kernel, or the library, does a product.
 *
 *   T <= 64             the skinny kernel
 *   more                the library where it serves (cuda_library.h), else the tile kernel
 *
 * All three give the same bits, but for the library in the fast mode. */
#include "backend/cuda/cuda_library.h"
#include "base/mem.h"
#include "base/num.h"

struct cuda_linear {
    struct cuda_library *library; /* NULL: none */
    float *sums;                  /* what the library computes before an epilogue */
    size_t sums_bytes;
};

/* ---- memory ------------------------------------------------------------------------------------------------------- */

enum { SUMS_BYTES = 64 << 20 }; /* at most; longer products are done in slices of rows */

static size_t widest_layer(const struct backend_limits *l) {
    const size_t up = 2 * (size_t)l->F, qkv = ((size_t)l->H + 2 * (size_t)l->Hkv) * (size_t)l->Dh;
    const size_t widest = up > qkv ? up : qkv;
    return widest > (size_t)l->V ? widest : (size_t)l->V;
}

static int32_t most_rows(const struct backend_limits *l) {
    return l->max_tokens > l->max_logits ? l->max_tokens : l->max_logits;
}

size_t cuda_linear_workspace(const struct cuda_backend *b, const struct backend_limits *limits) {
    (void)b;
    if (limits->type == WEIGHT_F32 || most_rows(limits) <= LINEAR_SKINNY_MAX) return 0;
    const size_t bytes = (size_t)most_rows(limits) * widest_layer(limits) * sizeof(float);
    return bytes < SUMS_BYTES ? bytes : SUMS_BYTES;
}

tempera_status cuda_linear_create(struct cuda_backend *b, const struct backend_limits *limits, void *workspace,
                                  tempera_error *err) {
    struct cuda_linear *linear = mem_array(1, sizeof *linear);
    if (!linear) return fail_memory(err, sizeof *linear, "linear layers");
    b->linear = linear;
    linear->sums = workspace;
    linear->sums_bytes = cuda_linear_workspace(b, limits);
    return linear->sums_bytes > 0 ? cuda_library_create(&linear->library, b, limits, err) : TEMPERA_OK;
}

void cuda_linear_free(struct cuda_linear *linear) {
    if (!linear) return;
    cuda_library_free(linear->library);
    mem_free(linear);
}

/* ---- one product -------------------------------------------------------------------------------------------------- */

/* Whether the sums are the outputs. */
static bool plain(const struct linear_args *a) {
    return a->out_element == ELEMENT_F32 && !a->gated && !a->bias && a->activation == KERNEL_NONE && a->scale == 1 &&
           a->softcap == 0;
}

/* Rows [first, first + count) of a product. */
static struct linear_args slice(const struct linear_args *args, int32_t first, int32_t count) {
    struct linear_args part = *args;
    const size_t element = args->element == ELEMENT_F32 ? 4 : 2, out = args->out_element == ELEMENT_F32 ? 4 : 2;
    const int32_t out_stride = args->out_element == ELEMENT_F32 ? args->out_stride : operand_stride(args->N);
    const int32_t in_stride = args->element == ELEMENT_F32 ? args->K : operand_stride(args->K);
    part.in = (const char *)args->in + (size_t)first * (size_t)in_stride * element;
    part.out = (char *)args->out + (size_t)first * (size_t)out_stride * out;
    part.T = count;
    return part;
}

/* Into sums, a slice of rows at a time, then through the epilogue. */
static tempera_status multiply_slices(struct cuda_backend *b, const struct linear_args *args, int32_t rows,
                                      int32_t slice_rows, bool *done, tempera_error *err) {
    struct cuda_linear *l = b->linear;
    for (int32_t first = 0; first < args->T; first += slice_rows) {
        const int32_t left = args->T - first;
        struct linear_args part = slice(args, first, left < slice_rows ? left : slice_rows);
        TRY(cuda_library_multiply(l->library, l->sums, rows, false, &part, done, err));
        if (!*done) { /* refused: what is left is ours */
            part = slice(args, first, left);
            *done = true;
            return cuda_check(b, linear_tile_launch(&part, b->stream), "a linear layer", err);
        }
        part.in = l->sums;
        CUDA_TRY(b, linear_epilogue_launch(&part, b->stream), "a linear layer");
    }
    return TEMPERA_OK;
}

/* *done = false: not the library's. */
static tempera_status multiply_library(struct cuda_backend *b, const struct linear_args *args, bool *done,
                                       tempera_error *err) {
    struct cuda_linear *l = b->linear;
    const int32_t rows = args->gated ? 2 * args->N : args->N;
    *done = false;
    if (!l->library) return TEMPERA_OK;
    if (plain(args) && !(args->accumulate && cuda_library_segmented(l->library, rows, args->K))) {
        if (!cuda_library_serves(l->library, args->element, rows, args->K, args->T)) return TEMPERA_OK;
        return cuda_library_multiply(l->library, args->out, args->out_stride, args->accumulate, args, done, err);
    }
    const size_t fit = l->sums_bytes / ((size_t)rows * sizeof(float));
    if (fit <= LINEAR_SKINNY_MAX) return TEMPERA_OK;
    const int32_t slices = (int32_t)ceil_div((size_t)args->T, fit);
    const int32_t slice_rows = (int32_t)ceil_div((size_t)args->T, (size_t)slices);
    if (!cuda_library_serves(l->library, args->element, rows, args->K, slice_rows)) return TEMPERA_OK;
    return multiply_slices(b, args, rows, slice_rows, done, err);
}

tempera_status cuda_multiply(struct cuda_backend *b, const struct linear_args *args, tempera_error *err) {
    if (args->T <= LINEAR_SKINNY_MAX)
        return cuda_check(b, linear_skinny_launch(args, b->stream), "a linear layer", err);
    bool done;
    TRY(multiply_library(b, args, &done, err));
    return done ? TEMPERA_OK : cuda_check(b, linear_tile_launch(args, b->stream), "a linear layer", err);
}

/* ---- the op ------------------------------------------------------------------------------------------------------- */

/* The input in the weight's element type: as it is, or rounded into b->operand. */
static tempera_status round_input(struct cuda_backend *b, struct linear_args *args, tempera_error *err) {
    const struct backend_limits *l = &b->limits;
    const struct operand_args operand = {
        .out = b->operand, .out_element = args->element, .in = args->in, .T = args->T, .K = args->K};
    if (args->K > l->D && args->K > l->F && args->K > l->H * l->Dh)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "linear: %d inputs; prepared for D %d, F %d, %d heads of %d",
                    args->K, l->D, l->F, l->H, l->Dh);
    args->in = b->operand;
    return cuda_check(b, operand_launch(&operand, b->stream), "a linear layer's input", err);
}

static tempera_status check_linear(const struct cuda_backend *b, const struct linear_params *p, tempera_error *err) {
    if (!b->view) return fail(err, TEMPERA_INVALID_ARGUMENT, "linear: outside a step");
    if (p->T > b->limits.max_tokens)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "linear: %d tokens; prepared for %d", p->T, b->limits.max_tokens);
    if (p->accumulate && p->out_operand)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "linear: an operand cannot be added to");
    return TEMPERA_OK;
}

static struct norm_args norm_args_of(const struct cuda_backend *b, const struct norm_params *n) {
    return (struct norm_args){.out_element = n->out_operand ? (enum element)b->limits.type : ELEMENT_F32,
                              .residual = n->residual,
                              .add = n->add,
                              .weight = n->weight,
                              .bias = n->bias,
                              .kind = (enum kernel_norm)n->kind,
                              .eps = n->eps,
                              .D = n->D};
}

/* The norm, the product, rotary position and the KV store: one launch for as many of them as a kernel can. */
static tempera_status multiply(struct cuda_backend *b, const struct linear_params *p, struct linear_args *args,
                               tempera_error *err) {
    struct norm_args norm = {0};
    struct rope_store_args rope = {0};
    if (p->norm) norm = norm_args_of(b, p->norm);
    if (p->rope) TRY(cuda_rope_args(b, p->rope, &rope, err));
    const bool fused_norm = p->norm && linear_norm_fits(args, &norm);
    const bool rounded = p->in_operand || fused_norm || args->element == ELEMENT_F32;
    const bool fused_rope = p->rope && rounded && linear_rope_fits(args, &rope);
    if (p->norm && !fused_norm) TRY(cuda_norm(&b->base, p->norm, err));
    if (!rounded) TRY(round_input(b, args, err));
    if (fused_norm || fused_rope) {
        CUDA_TRY(b, linear_fused_launch(args, fused_norm ? &norm : NULL, fused_rope ? &rope : NULL, b->stream),
                 "a linear layer");
    } else {
        TRY(cuda_multiply(b, args, err));
    }
    return p->rope && !fused_rope ? cuda_rope_store(&b->base, p->rope, err) : TEMPERA_OK;
}

tempera_status cuda_linear(struct backend *backend, const struct linear_params *p, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    const struct linear_weight *w = p->weight;
    const bool gated = p->gate_scratch != NULL;
    struct linear_args args = {.out = p->out,
                               .out_element = p->out_operand ? (enum element)w->type : ELEMENT_F32,
                               .out_stride = p->out_stride,
                               .in = p->in,
                               .weight = w->data,
                               .bias = w->bias,
                               .element = (enum element)w->type,
                               .activation = (enum kernel_activation)p->activation,
                               .accumulate = p->accumulate,
                               .gated = gated,
                               .scale = 1,
                               .T = cuda_rows(b, p->T),
                               .N = gated ? w->N / 2 : w->N,
                               .K = w->K};
    TRY(check_linear(b, p, err));
    if (args.T == 0) return TEMPERA_OK;
    if (p->out_operand) args.out_stride = args.N; /* F32 operands are plain rows */
    return multiply(b, p, &args, err);
}
