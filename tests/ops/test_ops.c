/* test_ops.c: linear layers, packing, embedding, norms, activations, logits, on every backend that can run here. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "ops_cases.h"
#include "ops_harness.h"
#include "ops_reference.h"

#define FOR_TARGETS(target)                                                                                            \
    for (const struct ops_target *target = OPS_TARGETS; target < OPS_TARGETS + OPS_TARGET_COUNT; target++)

static const struct batch_view EMPTY_VIEW = {0};

/* ---- linear ------------------------------------------------------------------------------------------------------ */

/* Host copies of one layer's operands. */
struct layer {
    int32_t T, N, K;
    float *in, *rows, *bias; /* [T, K], [N, K], [N] */
};

static struct layer layer_new(int32_t T, int32_t N, int32_t K) {
    struct ops_random r = {(uint64_t)(T * 1000003 + N * 1009 + K)};
    return (struct layer){T,
                          N,
                          K,
                          ops_normals(&r, (size_t)T * (size_t)K, 1),
                          ops_normals(&r, (size_t)N * (size_t)K, 0.3f),
                          ops_normals(&r, (size_t)N, 1)};
}
static void layer_free(struct layer *l) {
    free(l->in), free(l->rows), free(l->bias);
}

/* Runs the op; out [T, stride] is the caller's to free. Everything outside [T, N] must come back as it was (7). */
static float *run_linear(struct ops *o, const struct layer *l, const struct linear_weight *w, int32_t T,
                         const float *in, enum activation activation, bool accumulate) {
    const size_t stride = (size_t)l->N + 5, count = (size_t)T * stride;
    struct linear_params p = {.out = ops_new(o, count, 7),
                              .in = ops_put(o, in, (size_t)T * (size_t)l->K),
                              .weight = w,
                              .activation = activation,
                              .accumulate = accumulate,
                              .T = T,
                              .out_stride = (int32_t)stride};
    ops_begin(o, &EMPTY_VIEW);
    OPS_CALL(o->call->linear(o->backend, &p, err));
    ops_end(o);
    float *out = malloc(count * sizeof *out);
    ops_get(o, out, p.out, count);
    for (size_t i = 0; i < count; i++)
        if (i % stride >= (size_t)l->N) cr_assert_eq(out[i], 7.0f, "wrote beyond N");
    return out;
}

/* What out [t, n] must be before it is stored or added. */
static struct reference_value linear_value(const struct ops *o, const struct layer *l, enum weight_type type, int32_t t,
                                           int32_t n, enum activation activation) {
    struct arithmetic a = ops_products(o, type);
    return reference_activate(activation, reference_dot(a, l->in + (size_t)t * (size_t)l->K,
                                                        l->rows + (size_t)n * (size_t)l->K, l->K, l->bias + n));
}

static void check_linear(const struct ops *o, const struct layer *l, enum weight_type type, const float *out,
                         enum activation activation, bool accumulate) {
    for (int32_t t = 0; t < l->T; t++)
        for (int32_t n = 0; n < l->N; n++) {
            struct reference_value v = linear_value(o, l, type, t, n, activation);
            if (accumulate) v.value += 7, v.bound += REFERENCE_U * (7 + fabs(v.value));
            ops_check((double)out[(size_t)t * ((size_t)l->N + 5) + (size_t)n], v.value, v.bound, "linear", o,
                      (int64_t)t * l->N + n);
        }
}

/* The same product with operands on both sides: the input's rounding is done beforehand, the output's by the op. */
static void check_linear_operands(struct ops *o, const struct layer *l, const struct linear_weight *w,
                                  enum activation activation) {
    struct linear_params p = {.out = ops_new_operand(o, w->type, l->T, l->N),
                              .out_operand = true,
                              .in = ops_put_operand(o, w->type, l->in, l->T, l->K),
                              .in_operand = true,
                              .weight = w,
                              .activation = activation,
                              .T = l->T,
                              .out_stride = l->N};
    ops_begin(o, &EMPTY_VIEW);
    OPS_CALL(o->call->linear(o->backend, &p, err));
    ops_end(o);
    float *out = malloc((size_t)l->T * (size_t)l->N * sizeof *out);
    ops_get_operand(o, out, p.out, w->type, l->T, l->N);
    for (int32_t t = 0; t < l->T; t++)
        for (int32_t n = 0; n < l->N; n++) {
            struct reference_value v = reference_operand(reference_arithmetic(o->tensor, w->type),
                                                         linear_value(o, l, w->type, t, n, activation));
            ops_check((double)out[(size_t)t * (size_t)l->N + (size_t)n], v.value, v.bound, "linear, operands", o,
                      (int64_t)t * l->N + n);
        }
    free(out);
}

Test(ops_linear, is_accurate) {
    struct backend_limits limits = ops_limits(3072, 530);
    FOR_TARGETS(target)
    for (int c = 0; c < LINEAR_CASE_COUNT; c++)
        for (enum weight_type type = WEIGHT_F32; type < WEIGHT_TYPE_COUNT; type++) {
            struct ops o;
            limits.type = type;
            if (!ops_open(&o, target, 2, &limits)) break;
            struct layer l = layer_new(LINEAR_CASES[c].T, LINEAR_CASES[c].N, LINEAR_CASES[c].K);
            struct linear_weight w = ops_weight(&o, type, l.N, l.K, l.rows, l.bias);
            enum activation activation = (enum activation)((c + (int)type) % 5);
            float *out = run_linear(&o, &l, &w, l.T, l.in, activation, c % 2);
            check_linear(&o, &l, type, out, activation, c % 2);
            check_linear_operands(&o, &l, &w, activation);
            free(out);
            layer_free(&l);
            ops_close(&o);
        }
}

/* ---- what a linear layer does before and after its product -------------------------------------------------------- */

/* Fused or not, the bits are those of the separate ops: norm → linear → rope is tested in test_attention_ops.c. */
static void check_fused(const struct ops_target *target, enum weight_type type, int32_t T, int32_t D, int32_t F) {
    struct backend_limits limits = ops_limits(D, T);
    limits.F = F;
    limits.type = type;
    struct ops o;
    if (!ops_open(&o, target, 2, &limits)) return;
    struct ops_random r = {(uint64_t)(T * 31 + D)};
    const size_t width = (size_t)T * (size_t)D, inside = (size_t)T * (size_t)F;
    float *x = ops_normals(&r, width, 2), *delta = ops_normals(&r, width, 1), *scale = ops_normals(&r, (size_t)D, 1);
    float *rows = ops_normals(&r, 2 * (size_t)F * (size_t)D, 0.3f), *bias = ops_normals(&r, 2 * (size_t)F, 1);
    float *out[2], *sum[2];
    struct linear_weight w = ops_weight(&o, type, 2 * F, D, rows, bias);
    const int keep = o.buffers;
    for (int fused = 0; fused < 2; fused++) {
        out[fused] = malloc(inside * sizeof **out), sum[fused] = malloc(width * sizeof **sum);
        struct norm_params norm = {.out = ops_new_operand(&o, type, T, D),
                                   .out_operand = true,
                                   .residual = ops_put(&o, x, width),
                                   .add = ops_put(&o, delta, width),
                                   .weight = ops_put(&o, scale, (size_t)D),
                                   .kind = NORM_RMS,
                                   .eps = 1e-5f,
                                   .T = T,
                                   .D = D};
        float *scratch = ops_new(&o, 2 * inside, NAN);
        struct linear_params up = {.out = fused ? ops_new_operand(&o, type, T, F) : scratch,
                                   .out_operand = fused,
                                   .in = norm.out,
                                   .in_operand = true,
                                   .weight = &w,
                                   .activation = fused ? ACT_SILU : ACT_NONE,
                                   .gate_scratch = fused ? scratch : NULL,
                                   .norm = fused ? &norm : NULL,
                                   .T = T,
                                   .out_stride = fused ? F : 2 * F};
        struct gate_params gate = {.out = fused ? NULL : ops_new_operand(&o, type, T, F),
                                   .out_operand = true,
                                   .in = scratch,
                                   .activation = ACT_SILU,
                                   .T = T,
                                   .F = F};
        ops_begin(&o, &EMPTY_VIEW);
        if (!fused) OPS_CALL(o.call->norm(o.backend, &norm, err));
        OPS_CALL(o.call->linear(o.backend, &up, err));
        if (!fused) OPS_CALL(o.call->gate(o.backend, &gate, err));
        ops_end(&o);
        ops_get_operand(&o, out[fused], fused ? up.out : gate.out, type, T, F);
        ops_get(&o, sum[fused], norm.residual, width);
        ops_drop(&o, keep);
    }
    ops_same(out[0], out[1], inside, "norm, product and gate in one op", &o);
    ops_same(sum[0], sum[1], width, "the residual stream", &o);
    for (int i = 0; i < 2; i++) free(out[i]), free(sum[i]);
    free(x), free(delta), free(scale), free(rows), free(bias);
    ops_close(&o);
}

Test(ops_linear, fused_is_the_same) {
    static const struct { int32_t T, D, F; } SHAPES[] = {{1, 64, 172}, {3, 33, 50}, {17, 257, 65}, {65, 48, 96}};
    FOR_TARGETS(target)
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        for (int type = 0; type < (int)ops_packed_types(target); type++)
            check_fused(target, (enum weight_type)type, SHAPES[i].T, SHAPES[i].D, SHAPES[i].F);
}

/* ---- purity ------------------------------------------------------------------------------------------------------ */

/* A row alone, in any batch, beside rows of NaN, on 1, 2 or 3 threads: the same bits. */
static void check_purity(const struct ops_target *target, int32_t N, int32_t K, enum weight_type type) {
    static const int32_t BATCHES[] = {1, 2, 3, 6, 7, 14, 15, 16, 17, 33, 64, 512};
    enum { COUNT = sizeof BATCHES / sizeof BATCHES[0], MOST = 512 };
    struct backend_limits limits = ops_limits(K, MOST);
    limits.type = type;
    struct layer l = layer_new(MOST, N, K);
    float *first = NULL;
    for (int threads = 1; threads <= (ops_tensor(target) ? 1 : 3); threads++) {
        struct ops o;
        if (!ops_open(&o, target, threads, &limits)) break;
        struct linear_weight w = ops_weight(&o, type, N, K, l.rows, l.bias);
        for (int b = 0; b < COUNT; b++) {
            const int32_t T = BATCHES[b], row = T * 2 / 3; /* the row that counts; the others are poison */
            float *in = malloc((size_t)T * (size_t)K * sizeof *in);
            for (size_t i = 0; i < (size_t)T * (size_t)K; i++) in[i] = i % 3 == 0 ? NAN : l.in[i];
            memcpy(in + (size_t)row * (size_t)K, l.in, (size_t)K * sizeof *in);
            float *out = run_linear(&o, &l, &w, T, in, ACT_GELU_TANH, false);
            float *got = out + (size_t)row * ((size_t)N + 5);
            if (!first) {
                first = malloc((size_t)N * sizeof *first);
                memcpy(first, got, (size_t)N * sizeof *first);
            }
            ops_same(got, first, (size_t)N, "a row of a batch", &o);
            free(out);
            free(in);
        }
        ops_close(&o);
    }
    free(first);
    layer_free(&l);
}

Test(ops_linear, rows_are_pure) {
    static const struct { int32_t N, K; } SHAPES[] = {{3, 1}, {257, 33}, {130, 801}, {1600, 65}};
    FOR_TARGETS(target)
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        for (enum weight_type type = WEIGHT_F32; type < ops_packed_types(target); type++)
            check_purity(target, SHAPES[i].N, SHAPES[i].K, type);
}

Test(ops_linear, takes_a_whole_vocabulary) {
    const int32_t N = 50257, K = 24;
    struct backend_limits limits = ops_limits(K, 16);
    limits.type = WEIGHT_F16;
    FOR_TARGETS(target) {
        struct ops o;
        if (!ops_open(&o, target, 2, &limits)) continue;
        struct layer l = layer_new(2, N, K);
        struct linear_weight w = ops_weight(&o, WEIGHT_F16, N, K, l.rows, l.bias);
        float *out = run_linear(&o, &l, &w, 2, l.in, ACT_NONE, false);
        check_linear(&o, &l, WEIGHT_F16, out, ACT_NONE, false);
        free(out);
        layer_free(&l);
        ops_close(&o);
    }
}

/* ---- packing ----------------------------------------------------------------------------------------------------- */

/* The matrix that a packed weight stands for, read back exactly by multiplying with unit vectors. */
static void read_back(struct ops *o, const struct linear_weight *w, float *rows /* [N, K] */) {
    struct layer l = {.N = w->N, .K = w->K};
    for (int32_t k = 0; k < w->K; k++) {
        float *unit = calloc((size_t)w->K, sizeof *unit);
        unit[k] = 1;
        float *out = run_linear(o, &l, w, 1, unit, ACT_NONE, false);
        for (int32_t n = 0; n < w->N; n++) rows[(size_t)n * (size_t)w->K + (size_t)k] = out[n];
        free(unit);
        free(out);
        ops_drop(o, 1);
    }
}

/* Source tensors hold small integers that F16 and BF16 represent: value(tensor, row, k). */
static float source_value(int tensor, size_t row, size_t k) {
    return (float)((int)((row * 31 + k * 7 + (size_t)tensor * 11) % 251) - 125);
}

/* A source tensor in any type and order, one byte off alignment; the caller frees *block. */
static const void *source_tensor(int tensor, enum weight_type type, bool transposed, size_t rows, size_t K,
                                 void **block) {
    size_t size = weight_type_size(type);
    unsigned char *data = malloc(rows * K * size + 1);
    *block = data;
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < K; k++) {
            unsigned char *to = data + 1 + (transposed ? k * rows + row : row * K + k) * size;
            float x = source_value(tensor, row, k);
            uint16_t half = type == WEIGHT_F16 ? float_to_f16(x) : float_to_bf16(x);
            memcpy(to, type == WEIGHT_F32 ? (const void *)&x : (const void *)&half, size);
        }
    return data + 1;
}

static void check_pieces(struct ops *o, enum weight_type type, enum weight_type source, bool transposed, size_t K) {
    /* Three sources: the first two heads of 5 rows out of 15 each, a plain slice, a single row. */
    struct weight_piece pieces[] = {
        {.source_rows = 33, .first = 3, .group = 5, .groups = 2, .stride = 15},
        {.source_rows = 40, .first = 1, .group = 37, .groups = 1, .stride = 37},
        {.source_rows = 1, .first = 0, .group = 1, .groups = 1, .stride = 1},
    };
    void *blocks[3];
    for (int i = 0; i < 3; i++) {
        pieces[i].type = i == 1 ? WEIGHT_F32 : source;
        pieces[i].transposed = transposed != (i == 2);
        pieces[i].data = source_tensor(i, pieces[i].type, pieces[i].transposed, pieces[i].source_rows, K, &blocks[i]);
    }
    const int32_t N = 10 + 37 + 1;
    struct linear_weight w = ops_weight_new(o, type, N, (int32_t)K);
    OPS_CALL(o->call->linear_pack(o->backend, &w, pieces, 3, err));
    float *rows = malloc((size_t)N * K * sizeof *rows);
    read_back(o, &w, rows);
    size_t n = 0;
    for (int i = 0; i < 3; i++)
        for (size_t g = 0; g < pieces[i].groups; g++)
            for (size_t j = 0; j < pieces[i].group; j++, n++)
                for (size_t k = 0; k < K; k++)
                    cr_assert_eq(rows[n * K + k], source_value(i, pieces[i].first + g * pieces[i].stride + j, k),
                                 "%s: row %zu, input %zu", o->info.instructions, n, k);
    free(rows);
    for (int i = 0; i < 3; i++) free(blocks[i]);
}

Test(ops_pack, gathers_pieces_of_every_layout) {
    static const size_t INPUTS[] = {1, 2, 33, 130};
    struct backend_limits limits = ops_limits(130, 4);
    FOR_TARGETS(target)
    for (int type = 0; type < WEIGHT_TYPE_COUNT; type++)
        for (int source = 0; source < WEIGHT_TYPE_COUNT; source++)
            for (int i = 0; i < 8; i++) {
                struct ops o;
                limits.type = (enum weight_type)type;
                if (!ops_open(&o, target, 2, &limits)) continue;
                check_pieces(&o, (enum weight_type)type, (enum weight_type)source, i & 1, INPUTS[i / 2]);
                ops_close(&o);
            }
}

/* Conversion is to nearest even, by num.h's own rules, and a transposed matrix packs like its transpose. */
Test(ops_pack, rounds_to_nearest_even) {
    enum { N = 40, K = 66 };
    struct backend_limits limits = ops_limits(K, 4);
    float rows[N * K], turned[K * N], back[N * K];
    struct ops_random r = {5};
    for (int i = 0; i < N * K; i++) {
        uint32_t bits = (uint32_t)ops_below(&r, 1 << 16) << 16 | (uint32_t)ops_below(&r, 1 << 16);
        rows[i] = i % 4 ? ops_normal(&r) * powf(2, (float)ops_below(&r, 40) - 28) : bits_float(bits & 0xbfffffffu);
        if (i % 7 == 0) rows[i] = bits_float(float_bits(rows[i]) & 0xffff0000u);
        if (i % 7 == 1)
            rows[i] = bits_float((float_bits(rows[i]) & 0xffff0000u) | 0x8000u); /* halfway between two bf16 */
        turned[i % K * N + i / K] = rows[i];
    }
    FOR_TARGETS(target) for (int i = 0; i < 6; i++) {
        struct ops o;
        enum weight_type type = limits.type = (enum weight_type)(i / 2);
        if (!ops_open(&o, target, 1, &limits)) continue;
        const double apart = o.tensor && type == WEIGHT_F32 ? 0x1p-22 : 0; /* what three TF32 products leave out */
        const bool dots = !o.tensor && ops_products(&o, type).element == WEIGHT_BF16;
        struct weight_piece piece = {
            .data = i % 2 ? turned : rows, .transposed = i % 2, .source_rows = N, .group = N, .groups = 1, .stride = N};
        struct linear_weight w = ops_weight_new(&o, type, N, K);
        OPS_CALL(o.call->linear_pack(o.backend, &w, &piece, 1, err));
        read_back(&o, &w, back);
        for (int j = 0; j < N * K; j++) {
            float stored = (float)reference_stored(type, rows[j]);
            if (isinf(stored)) continue;                       /* its row is NaN when read back: inf · 0 */
            if (dots && fabsf(stored) < 0x1p-126f) stored = 0; /* the products that read it back do that */
            bool spoiled = false;
            for (int k = 0; k < K; k++) spoiled |= !isfinite(reference_stored(type, rows[j / K * K + k]));
            if (spoiled) continue;
            if (apart > 0) {
                ops_check((double)back[j], (double)stored, apart * fabs((double)stored) + 0x1p-126, "packed", &o, j);
            } else {
                cr_assert_eq(back[j], stored, "%s %s %d", o.info.instructions, weight_type_name(type), j);
            }
        }
        ops_close(&o);
    }
}

Test(ops_pack, refuses_pieces_that_do_not_fit) {
    struct backend_limits limits = ops_limits(8, 4);
    float rows[8 * 8] = {0};
    FOR_TARGETS(target) {
        struct ops o;
        if (!ops_open(&o, target, 1, &limits)) continue;
        struct linear_weight w = ops_weight_new(&o, WEIGHT_F32, 8, 8);
        struct weight_piece piece = {.data = rows, .source_rows = 8, .group = 7, .groups = 1, .stride = 7};
        tempera_error error;
        cr_expect_eq(o.call->linear_pack(o.backend, &w, &piece, 1, &error), TEMPERA_INVALID_ARGUMENT);
        piece = (struct weight_piece){.data = rows, .source_rows = 8, .first = 1, .group = 8, .groups = 1, .stride = 8};
        cr_expect_eq(o.call->linear_pack(o.backend, &w, &piece, 1, &error), TEMPERA_INVALID_ARGUMENT);
        ops_close(&o);
    }
}

/* Pieces that end where a matrix may be cut give the bytes of the whole. */
static void check_whole_pieces(struct ops *o, enum weight_type type, const float *rows, int32_t N, int32_t K) {
    const size_t bytes = o->call->linear_bytes(o->backend, type, N, K), cut = 2 * PACK_ROWS, all = (size_t)N;
    struct linear_weight whole = ops_weight(o, type, N, K, rows, NULL), parts = ops_weight_new(o, type, N, K);
    struct weight_piece pieces[3] = {{.group = cut, .groups = 1}, {.groups = 0}, {.group = all - cut, .groups = 1}};
    pieces[2].first = cut;
    for (int i = 0; i < 3; i++) pieces[i].data = rows, pieces[i].source_rows = all;
    OPS_CALL(o->call->linear_pack(o->backend, &parts, pieces, 3, err));
    char *a = malloc(bytes), *b = malloc(bytes);
    OPS_CALL(o->call->download(o->backend, a, whole.data, bytes, err));
    OPS_CALL(o->call->download(o->backend, b, parts.data, bytes, err));
    cr_expect(memcmp(a, b, bytes) == 0, "%s %s", o->info.instructions, weight_type_name(type));
    free(a);
    free(b);
}

/* PACK_ROWS at a time gives the bytes of the whole. */
static void check_parts(struct ops *o, enum weight_type type, const float *rows, int32_t N, int32_t K) {
    const size_t bytes = o->call->linear_bytes(o->backend, type, N, K);
    struct linear_weight whole = ops_weight(o, type, N, K, rows, NULL), parts = ops_weight_new(o, type, N, K);
    for (int32_t n = 0; n < N; n += PACK_ROWS) {
        struct linear_weight part = parts;
        part.data = (char *)parts.data + o->call->linear_bytes(o->backend, type, n, K);
        part.N = N - n < PACK_ROWS ? N - n : PACK_ROWS;
        const size_t count = (size_t)part.N;
        struct weight_piece piece = {
            .data = rows + (size_t)n * (size_t)K, .source_rows = count, .group = count, .groups = 1};
        OPS_CALL(o->call->linear_pack(o->backend, &part, &piece, 1, err));
    }
    char *a = malloc(bytes), *b = malloc(bytes);
    OPS_CALL(o->call->download(o->backend, a, whole.data, bytes, err));
    OPS_CALL(o->call->download(o->backend, b, parts.data, bytes, err));
    cr_expect(memcmp(a, b, bytes) == 0, "%s %s", o->info.instructions, weight_type_name(type));
    free(a);
    free(b);
}

Test(ops_pack, in_parts) {
    enum { N = 2 * PACK_ROWS + 5, K = 37 };
    struct ops_random r = {5};
    float *rows = ops_normals(&r, N * K, 1);
    struct backend_limits limits = ops_limits(64, 64);
    FOR_TARGETS(target) {
        for (int type = 0; type < (int)ops_packed_types(target); type++) {
            struct ops o;
            limits.type = (enum weight_type)type;
            if (!ops_open(&o, target, 1, &limits)) continue;
            check_parts(&o, limits.type, rows, N, K);
            check_whole_pieces(&o, limits.type, rows, N, K);
            ops_close(&o);
        }
    }
    free(rows);
}

/* ---- embedding --------------------------------------------------------------------------------------------------- */

static void check_embed(const struct ops_target *target, enum weight_type type, int32_t V, int32_t D, int32_t T,
                        bool positions) {
    struct backend_limits limits = ops_limits(D, T);
    limits.V = V, limits.context = 64, limits.type = type;
    struct ops o;
    if (!ops_open(&o, target, 2, &limits)) return;
    struct ops_random r = {(uint64_t)V};
    float *table = ops_normals(&r, (size_t)V * (size_t)D, 1), *place = ops_normals(&r, 64 * (size_t)D, 1);
    struct linear_weight w = ops_weight(&o, type, V, D, table, NULL), p = ops_weight(&o, type, 64, D, place, NULL);
    int32_t token[64], position[64];
    for (int32_t t = 0; t < T; t++) token[t] = t == 0 ? V - 1 : ops_below(&r, V), position[t] = ops_below(&r, 64);
    struct batch_view view = {.T = T, .token = token, .position = position};
    float *out = ops_new(&o, (size_t)T * (size_t)D, NAN), *host = malloc((size_t)T * (size_t)D * sizeof *host);
    ops_begin(&o, &view);
    OPS_CALL(o.call->embed(o.backend, out, &w, positions ? &p : NULL, 3.5f, err));
    ops_end(&o);
    ops_get(&o, host, out, (size_t)T * (size_t)D);
    for (int32_t t = 0; t < T; t++)
        for (int32_t d = 0; d < D; d++) {
            float x = 3.5f * (float)reference_stored(type, table[(size_t)token[t] * (size_t)D + (size_t)d]);
            if (positions) x += (float)reference_stored(type, place[(size_t)position[t] * (size_t)D + (size_t)d]);
            ops_same(&host[t * D + d], &x, 1, "embedding", &o);
        }
    free(host), free(table), free(place);
    ops_close(&o);
}

Test(ops_embed, reads_rows_of_the_packed_table) {
    static const int32_t VOCABULARIES[] = {1, 3, 257, 5000}, WIDTHS[] = {1, 17, 300, 257}, TOKENS[] = {1, 3, 33, 64};
    FOR_TARGETS(target)
    for (int type = 0; type < WEIGHT_TYPE_COUNT; type++)
        for (int i = 0; i < 4; i++)
            check_embed(target, (enum weight_type)type, VOCABULARIES[i], WIDTHS[i], TOKENS[i], (i + type) % 2);
}

/* ---- norm -------------------------------------------------------------------------------------------------------- */

/* `type`: of the operand that the norm gives; F32: also plain rows. */
static void check_norm(const struct ops_target *target, int32_t T, int32_t D, enum norm_kind kind, int variant,
                       enum weight_type type) {
    struct backend_limits limits = ops_limits(D, T);
    limits.type = type;
    struct ops o;
    if (!ops_open(&o, target, 2, &limits)) return;
    struct ops_random r = {(uint64_t)(T * 7919 + D)};
    size_t count = (size_t)T * (size_t)D;
    float *x = ops_normals(&r, count, 2), *add = ops_normals(&r, count, 1), *w = ops_normals(&r, (size_t)D, 1);
    float *bias = ops_normals(&r, (size_t)D, 1), *out = malloc(count * sizeof *out), *sum = malloc(count * sizeof *sum);
    if (variant == 2) /* a large common offset: a one-pass variance would lose everything */
        for (size_t i = 0; i < count; i++) x[i] += 1000;
    const bool operand = (variant + (int)type) % 2 || type != WEIGHT_F32;
    struct norm_params p = {.out = operand ? ops_new_operand(&o, type, T, D) : ops_new(&o, count, NAN),
                            .out_operand = operand,
                            .residual = ops_put(&o, x, count),
                            .add = variant == 1 ? ops_put(&o, add, count) : NULL,
                            .weight = variant ? ops_put(&o, w, (size_t)D) : NULL,
                            .bias = variant == 1 ? ops_put(&o, bias, (size_t)D) : NULL,
                            .kind = kind,
                            .eps = 1e-5f,
                            .T = T,
                            .D = D};
    ops_begin(&o, &EMPTY_VIEW);
    OPS_CALL(o.call->norm(o.backend, &p, err));
    ops_end(&o);
    if (operand) {
        ops_get_operand(&o, out, p.out, type, T, D);
    } else {
        ops_get(&o, out, p.out, count);
    }
    ops_get(&o, sum, p.residual, count);
    const struct arithmetic a = reference_arithmetic(o.tensor, operand ? type : WEIGHT_F32);
    double *row = malloc((size_t)D * sizeof *row), *value = malloc((size_t)D * sizeof *value);
    double *bound = malloc((size_t)D * sizeof *bound);
    for (int32_t t = 0; t < T; t++) {
        for (int32_t d = 0; d < D; d++) {
            float s = x[t * D + d] + (variant == 1 ? add[t * D + d] : 0);
            ops_same(&sum[t * D + d], &s, 1, "residual", &o);
            row[d] = (double)s;
        }
        reference_norm(value, bound, row, variant ? w : NULL, variant == 1 ? bias : NULL, kind, 1e-5f, D);
        for (int32_t d = 0; d < D; d++) {
            struct reference_value v = reference_operand(a, (struct reference_value){value[d], bound[d]});
            ops_check((double)out[t * D + d], v.value, v.bound, "norm", &o, t * D + d);
        }
    }
    free(x), free(add), free(w), free(bias), free(out), free(sum), free(row), free(value), free(bound);
    ops_close(&o);
}

Test(ops_norm, is_accurate) {
    FOR_TARGETS(target)
    for (int c = 0; c < NORM_CASE_COUNT; c++)
        for (int variant = 0; variant < 3; variant++)
            for (int type = 0; type < WEIGHT_TYPE_COUNT; type++) {
                check_norm(target, NORM_CASES[c].T, NORM_CASES[c].D, NORM_LAYER, variant, (enum weight_type)type);
                check_norm(target, NORM_CASES[c].T, NORM_CASES[c].D, NORM_RMS, variant, (enum weight_type)type);
            }
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

/* gate with a second factor of one sweeps an activation; its result as plain rows (F32) or as an operand. */
static void check_activation(const struct ops_target *target, enum activation activation, double low, double high,
                             enum weight_type type) {
    enum { F = 4099, T = 5 };
    struct backend_limits limits = ops_limits(F, T);
    limits.type = type;
    struct ops o;
    if (!ops_open(&o, target, 2, &limits)) return;
    float *in = malloc(T * 2 * F * sizeof *in), *out = malloc(T * F * sizeof *out);
    for (int i = 0; i < T * 2 * F; i++) in[i] = 1;
    for (int i = 0; i < T * F; i++) in[i / F * 2 * F + i % F] = (float)(low + (high - low) * i / (T * F - 1));
    const bool operand = type != WEIGHT_F32;
    const struct arithmetic a = reference_arithmetic(o.tensor, type);
    struct gate_params p = {.out = operand ? ops_new_operand(&o, type, T, F) : ops_new(&o, T * F, NAN),
                            .out_operand = operand,
                            .in = ops_put(&o, in, T * 2 * F),
                            .activation = activation,
                            .T = T,
                            .F = F};
    ops_begin(&o, &EMPTY_VIEW);
    OPS_CALL(o.call->gate(o.backend, &p, err));
    ops_end(&o);
    if (operand) {
        ops_get_operand(&o, out, p.out, type, T, F);
    } else {
        ops_get(&o, out, p.out, T * F);
    }
    for (int i = 0; i < T * F; i++) {
        double x = (double)in[i / F * 2 * F + i % F];
        struct reference_value v = reference_operand(a, reference_activate(activation, (struct reference_value){x, 0}));
        ops_check((double)out[i], v.value, v.bound, "activation", &o, i);
        if (fabs(x) < 3 && !operand) /* the promise: about 1e-6 relative where exp does not magnify */
            ops_check((double)out[i], v.value, 2e-6 * fabs(v.value), "activation within 2e-6", &o, i);
    }
    free(in), free(out);
    ops_close(&o);
}

Test(ops_activation, is_accurate) {
    FOR_TARGETS(target)
    for (int a = ACT_NONE; a <= ACT_RELU; a++)
        for (int type = 0; type < WEIGHT_TYPE_COUNT; type++) {
            check_activation(target, (enum activation)a, -8, 8, (enum weight_type)type);
            check_activation(target, (enum activation)a, -200, 200, (enum weight_type)type);
            check_activation(target, (enum activation)a, -1e-3, 1e-3, (enum weight_type)type);
            check_activation(target, (enum activation)a, -1e-30, 1e-30, (enum weight_type)type);
        }
}

Test(ops_activation, keeps_nan_and_saturates) {
    static const float IN[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0, 1};
    enum { F = sizeof IN / sizeof IN[0] };
    struct backend_limits limits = ops_limits(F, 1);
    FOR_TARGETS(target) for (int a = ACT_GELU_ERF; a <= ACT_RELU; a++) {
        struct ops o;
        if (!ops_open(&o, target, 1, &limits)) break;
        float in[2 * F], out[F];
        for (int i = 0; i < F; i++) in[i] = IN[i], in[F + i] = 1;
        struct gate_params p = {
            .out = ops_new(&o, F, 0), .in = ops_put(&o, in, 2 * F), .activation = (enum activation)a, .T = 1, .F = F};
        ops_begin(&o, &EMPTY_VIEW);
        OPS_CALL(o.call->gate(o.backend, &p, err));
        ops_end(&o);
        ops_get(&o, out, p.out, F);
        cr_expect(isnan(out[0]), "%s, activation %d", o.info.instructions, a);
        cr_expect(out[1] == INFINITY && out[3] == 3e38f, "%s, activation %d: %g %g", o.info.instructions, a,
                  (double)out[1], (double)out[3]);
        cr_expect(out[4] == 0 && out[5] == 0 && out[6] > 0.7f);
        ops_close(&o);
    }
}

/* ---- logits ------------------------------------------------------------------------------------------------------ */

static void check_logits(const struct ops_target *target, int32_t T, int32_t V, int32_t D, enum weight_type type,
                         float scale, float softcap) {
    struct backend_limits limits = ops_limits(D, T);
    limits.V = V, limits.type = type;
    struct ops o;
    if (!ops_open(&o, target, 2, &limits)) return;
    const struct arithmetic a = ops_products(&o, type), in = {type, o.tensor, WEIGHT_F32};
    struct ops_random r = {(uint64_t)V};
    float *x = ops_normals(&r, (size_t)T * (size_t)D, 1), *w = ops_normals(&r, (size_t)D, 1);
    float *rows = ops_normals(&r, (size_t)V * (size_t)D, 1);
    int32_t logit_token[64], R = 0;
    for (int32_t t = 0; t < T; t++)
        if (t % 3 != 1)
            logit_token[R++] = t;
        else
            for (int32_t d = 0; d < D; d++) x[t * D + d] = NAN; /* a row that nobody asked for */
    struct batch_view view = {.T = T, .R = R, .logit_token = logit_token};
    struct linear_weight head = ops_weight(&o, type, V, D, rows, NULL);
    struct logits_params p = {.logits = ops_new(&o, (size_t)R * (size_t)V, NAN),
                              .in = ops_put(&o, x, (size_t)T * (size_t)D),
                              .norm_weight = ops_put(&o, w, (size_t)D),
                              .norm = NORM_RMS,
                              .norm_eps = 1e-6f,
                              .head = &head,
                              .scale = scale,
                              .softcap = softcap,
                              .D = D};
    ops_begin(&o, &view);
    OPS_CALL(o.call->logits(o.backend, &p, err));
    ops_end(&o);
    float *got = malloc((size_t)R * (size_t)V * sizeof *got), *normed = malloc((size_t)D * sizeof *normed);
    double *row = malloc((size_t)D * sizeof *row), *value = malloc((size_t)D * sizeof *value),
           *bound = malloc((size_t)D * sizeof *bound);
    ops_get(&o, got, p.logits, (size_t)R * (size_t)V);
    for (int32_t i = 0; i < R; i++) {
        for (int32_t d = 0; d < D; d++) row[d] = (double)x[logit_token[i] * D + d];
        reference_norm(value, bound, row, w, NULL, NORM_RMS, 1e-6f, D);
        for (int32_t d = 0; d < D; d++) normed[d] = (float)value[d];
        for (int32_t n = 0; n < V; n++) {
            /* The rounding of a normed element to an operand may fall to either side: it counts as an error. */
            struct reference_value v = reference_dot(in, normed, rows + (size_t)n * (size_t)D, D, NULL);
            for (int32_t d = 0; d < D; d++) {
                struct reference_value element = reference_operand(a, (struct reference_value){value[d], bound[d]});
                v.bound += (element.bound + REFERENCE_U * fabs(value[d])) *
                           fabs((double)rows[(size_t)n * (size_t)D + (size_t)d]) * 1.01;
            }
            v.value *= (double)scale, v.bound = v.bound * fabs((double)scale) + REFERENCE_U * fabs(v.value);
            v = reference_softcap(v, (double)softcap);
            ops_check((double)got[(size_t)i * (size_t)V + (size_t)n], v.value, v.bound, "logits", &o, n);
        }
    }
    free(x), free(w), free(rows), free(got), free(normed), free(row), free(value), free(bound);
    ops_close(&o);
}

Test(ops_logits, gathers_norms_scales_and_caps) {
    FOR_TARGETS(target)
    for (int type = 0; type < WEIGHT_TYPE_COUNT; type++) {
        check_logits(target, 1, 1, 16, (enum weight_type)type, 1, 0);
        check_logits(target, 5, 257, 65, (enum weight_type)type, 0.25f, 0);
        check_logits(target, 33, 300, 48, (enum weight_type)type, 1, 30);
    }
}

/* ---- the frame --------------------------------------------------------------------------------------------------- */

Test(ops_frame, refuses_what_was_not_prepared_for) {
    struct backend_limits limits = ops_limits(8, 4);
    FOR_TARGETS(target) {
        struct ops o;
        if (!ops_open(&o, target, 1, &limits)) continue;
        tempera_error error;
        struct batch_view view = {.T = 5};
        bool replay;
        cr_expect_neq(o.call->step_begin(o.backend, &view, &replay, &error), TEMPERA_OK);
        cr_expect_neq(o.call->prepare(o.backend, &limits, &error), TEMPERA_OK, "prepared twice");
        float rows[16] = {0};
        struct linear_weight w = ops_weight(&o, WEIGHT_F32, 1, 16, rows, NULL);
        struct linear_params p = {
            .out = ops_new(&o, 4, 0), .in = ops_new(&o, 16, 0), .weight = &w, .T = 1, .out_stride = 1};
        cr_expect_neq(o.call->linear(o.backend, &p, &error), TEMPERA_OK, "16 inputs, prepared for 8");
        ops_close(&o);
    }
    struct backend *backend = NULL;
    struct backend_options options = {.instructions = "mmx"};
    tempera_error error;
    cr_expect_eq(backend_find("cpu", NULL)->open(&backend, &options, &error), TEMPERA_UNSUPPORTED);
    cr_expect_null(backend_find("abacus", NULL));
}

/* P6: after prepare, no op allocates. */
Test(ops_frame, linear_layers_allocate_nothing) {
    enum { N = 300, K = 801, MOST = 520 };
    static const int32_t BATCHES[] = {1, 5, 14, 15, 64, MOST};
    struct backend_limits limits = ops_limits(K, MOST);
    FOR_TARGETS(target) for (int type = 0; type < WEIGHT_TYPE_COUNT; type++) {
        struct ops o;
        limits.type = (enum weight_type)type;
        if (!ops_open(&o, target, 2, &limits)) break;
        struct layer l = layer_new(MOST, N, K);
        struct linear_weight w = ops_weight(&o, (enum weight_type)type, N, K, l.rows, l.bias);
        struct linear_params p = {.out = ops_new(&o, (size_t)MOST * N, 0),
                                  .in = ops_put(&o, l.in, (size_t)MOST * K),
                                  .weight = &w,
                                  .out_stride = N};
        size_t calls = mem_stats_get().calls;
        ops_begin(&o, &EMPTY_VIEW);
        for (size_t i = 0; i < sizeof BATCHES / sizeof BATCHES[0]; i++) {
            p.T = BATCHES[i];
            OPS_CALL(o.call->linear(o.backend, &p, err));
        }
        ops_end(&o);
        cr_expect_eq(mem_stats_get().calls, calls);
        layer_free(&l);
        ops_close(&o);
    }
}

Test(ops_frame, measures_plausible_ceilings) {
    struct ops o;
    struct ops_target target = {"cpu", NULL};
    cr_assert(ops_open(&o, &target, 2, NULL));
    double bytes, flops;
    OPS_CALL(o.call->measure(o.backend, &bytes, &flops, err));
    cr_expect(bytes > 1e8 && bytes < 1e13 && flops > 1e7 && flops < 1e14, "%g %g", bytes, flops);
    ops_close(&o);
}
