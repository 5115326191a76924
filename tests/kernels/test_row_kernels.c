/* test_row_kernels.c: what the tests of the ops cannot see of the kernels that work on rows: padding, gathered rows, fed back
 * tokens, the zeros of operands, where keys and values lie in their pages, every layout of a packed weight, and random
 * weights. Runs on a GPU, or on the emulation. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/num.h"
#include "model/weights.h"
#include "ops/ops_reference.h"

/* ---- a device ---------------------------------------------------------------------------------------------------- */

#define CALL(expr)                                                                                                     \
    do {                                                                                                               \
        tempera_error err_ = {0};                                                                                      \
        tempera_error *err = &err_;                                                                                    \
        if ((expr) != TEMPERA_OK) cr_assert(false, "%s: %s", #expr, err_.message);                                     \
    } while (0)
#define LAUNCHED(expr)                                                                                                 \
    do {                                                                                                               \
        cudaError_t status_ = (expr);                                                                                  \
        cr_assert_eq(status_, cudaSuccess, "%s: %s", #expr, cudaGetErrorString(status_));                              \
    } while (0)

static struct backend *device;
static cudaStream_t stream;
static void *allocated[64];
static int allocations;

static void open_device(void) {
    CALL(cuda_backend_ops.open(&device, NULL, err));
    stream = cuda_backend_of(device)->stream;
}

static void close_device(void) {
    while (allocations > 0) device->ops->free(device, allocated[--allocations], 0);
    device->ops->close(device);
}

/* Gives back what was allocated since there were `keep` buffers. */
static void drop(int keep) {
    while (allocations > keep) device->ops->free(device, allocated[--allocations], 0);
}

static void *put(const void *host, size_t bytes) {
    cr_assert(allocations < (int)(sizeof allocated / sizeof allocated[0]));
    void *buffer = device->ops->alloc(device, bytes);
    cr_assert_not_null(buffer);
    CALL(device->ops->upload(device, buffer, host, bytes, err));
    return allocated[allocations++] = buffer;
}

/* A buffer of bytes 0xA5. */
static void *put_poison(size_t bytes) {
    unsigned char *host = malloc(bytes + 1);
    memset(host, 0xA5, bytes);
    void *buffer = put(host, bytes);
    free(host);
    return buffer;
}

static void *get(const void *buffer, size_t bytes) {
    void *host = malloc(bytes + 1);
    CALL(device->ops->download(device, host, buffer, bytes, err));
    return host;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static uint64_t random_state = 1;
static uint32_t random_word(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}
static int32_t below(int32_t n) {
    return (int32_t)(random_word() % (uint32_t)n);
}
static float number(void) {
    return (float)(int32_t)random_word() * 0x1p-30f;
}
static float *numbers(size_t count) {
    float *x = malloc((count + 1) * sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = number();
    return x;
}

static size_t size_of(enum element element) {
    return weight_type_size((enum weight_type)element);
}
static void set(void *array, enum element element, size_t i, float x) {
    if (element == ELEMENT_F32)
        ((float *)array)[i] = x;
    else
        ((uint16_t *)array)[i] = element == ELEMENT_F16 ? float_to_f16(x) : float_to_bf16(x);
}
static float element_at(const void *array, enum element element, size_t i) {
    if (element == ELEMENT_F32) return ((const float *)array)[i];
    const uint16_t half = ((const uint16_t *)array)[i];
    return element == ELEMENT_F16 ? f16_to_float(half) : bf16_to_float(half);
}
/* [rows, K] as packed elements [rows, stride(K)]. */
static void *packed(const float *x, enum element element, size_t rows, int32_t K) {
    const size_t stride = (size_t)operand_stride(K);
    void *to = calloc(rows * stride, size_of(element));
    for (size_t n = 0; n < rows; n++)
        for (int32_t k = 0; k < K; k++) set(to, element, n * stride + (size_t)k, x[n * (size_t)K + (size_t)k]);
    return to;
}

/* out [T, D or stride(D)] of `element` is the rounding of want [T, D], and zero beyond D. */
static void check_rounded(const void *out, enum element element, const float *want, int32_t T, int32_t D,
                          const char *what) {
    const int32_t stride = element == ELEMENT_F32 ? D : operand_stride(D);
    for (int32_t t = 0; t < T; t++)
        for (int32_t d = 0; d < stride; d++) {
            uint32_t expected[1] = {0};
            if (d < D) set(expected, element, 0, want[(int64_t)t * D + d]);
            cr_assert_eq(memcmp((const char *)out + (size_t)((int64_t)t * stride + d) * size_of(element), expected,
                                size_of(element)),
                         0, "%s: element type %d, T %d, D %d, row %d, element %d", what, (int)element, T, D, t, d);
        }
}

/* ---- embedding --------------------------------------------------------------------------------------------------- */

static void check_embed(enum element element, int32_t D, bool with_positions) {
    enum { V = 11, CONTEXT = 9, T = 6 };
    static const int32_t token[T] = {3, FEEDBACK(1), FEEDBACK(0), 0, V, V - 1}, position[T] = {0, 8, 1, -1, 2, 3};
    static const int32_t drawn[2] = {-1, 7}, want[T] = {3, 7, -1, -2, -1, V - 1}; /* -1: zeros, -2: untouched */
    float *table = numbers((size_t)V * (size_t)D), *place = numbers((size_t)CONTEXT * (size_t)D);
    void *rows = packed(table, element, V, D), *places = packed(place, element, CONTEXT, D);
    const size_t row = (size_t)operand_stride(D) * size_of(element), bytes = (size_t)T * (size_t)D * sizeof(float);
    const struct embed_args args = {.out = put_poison(bytes),
                                    .table = put(rows, V * row),
                                    .positions = with_positions ? put(places, CONTEXT * row) : NULL,
                                    .element = element,
                                    .scale = 0.3f,
                                    .T = T,
                                    .D = D,
                                    .V = V,
                                    .step = {.token = put(token, sizeof token),
                                             .position = put(position, sizeof position),
                                             .drawn = put(drawn, sizeof drawn)}};
    LAUNCHED(embed_launch(&args, stream));
    float *out = get(args.out, bytes);
    for (int32_t t = 0; t < T; t++)
        for (int32_t d = 0; d < D; d++) {
            float x = 0;
            if (want[t] >= 0) {
                x = 0.3f * element_at(rows, element, (size_t)(want[t] * operand_stride(D) + d));
                if (with_positions) x += element_at(places, element, (size_t)(position[t] * operand_stride(D) + d));
            }
            if (want[t] == -2) memset(&x, 0xA5, sizeof x);
            cr_assert_eq(memcmp(&out[t * D + d], &x, sizeof x), 0, "element type %d, D %d, row %d", (int)element, D, t);
        }
    free(table), free(place), free(rows), free(places), free(out);
    drop(0);
}

Test(row_kernels, embed_feeds_back_and_pads, .init = open_device, .fini = close_device) {
    static const int32_t WIDTHS[] = {1, 4, 17, 300, 2100};
    for (int element = 0; element < 3; element++)
        for (int i = 0; i < 5; i++) check_embed((enum element)element, WIDTHS[i], i % 2 == element % 2);
}

/* ---- norm -------------------------------------------------------------------------------------------------------- */

static void check_accurate(const float *out, const float *x, const float *w, const struct norm_args *args) {
    const int32_t D = args->D;
    double *row = malloc((size_t)D * sizeof *row), *want = malloc((size_t)D * sizeof *want);
    double *bound = malloc((size_t)D * sizeof *bound);
    for (int32_t t = 0; t < args->T; t++, out += D, x += D) {
        for (int32_t d = 0; d < D; d++) row[d] = (double)x[d];
        reference_norm(want, bound, row, args->weight ? w : NULL, args->bias ? w : NULL, (enum norm_kind)args->kind,
                       args->eps, D);
        for (int32_t d = 0; d < D; d++)
            cr_assert(fabs((double)out[d] - want[d]) <= bound[d],
                      "norm, D %d, row %d, element %d: %g, expected %g ± %g", D, t, d, (double)out[d], want[d],
                      bound[d]);
    }
    free(row), free(want), free(bound);
}

/* The fp32 norm of all rows, and of it: single rows, gathered rows, operands. */
static void check_norm(int32_t D, enum kernel_norm kind, bool weighted, bool biased) {
    enum { T = 5, R = 4 };
    static const int32_t rows[R] = {4, 0, -1, 3};
    const size_t count = (size_t)T * (size_t)D;
    float *x = numbers(count), *w = numbers((size_t)D), *add = numbers(count);
    struct norm_args args = {.out = put_poison(count * sizeof(float)),
                             .out_element = ELEMENT_F32,
                             .residual = put(x, count * sizeof *x),
                             .add = put(add, count * sizeof *add),
                             .weight = weighted ? put(w, (size_t)D * sizeof *w) : NULL,
                             .bias = biased ? put(w, (size_t)D * sizeof *w) : NULL,
                             .kind = kind,
                             .eps = 1e-5f,
                             .T = T,
                             .D = D};
    LAUNCHED(norm_launch(&args, stream));
    float *want = get(args.out, count * sizeof *want), *sum = get(args.residual, count * sizeof *sum);
    for (size_t i = 0; i < count; i++) cr_assert(sum[i] == x[i] + add[i], "residual, D %d", D);
    check_accurate(want, sum, w, &args);

    args.add = NULL;
    if (D % 4 == 0) { /* so that row 2 is as aligned as a row 0 */
        args.T = 1;
        args.out = put_poison((size_t)D * sizeof(float));
        args.residual += 2 * D;
        LAUNCHED(norm_launch(&args, stream));
        float *alone = get(args.out, (size_t)D * sizeof *alone);
        cr_assert_eq(memcmp(alone, want + 2 * D, (size_t)D * sizeof *alone), 0, "a row alone, D %d", D);
        args.residual -= 2 * D;
        free(alone);
    }

    args.T = R;
    args.rows = put(rows, sizeof rows);
    for (int element = 0; element < 3; element++) {
        args.out_element = (enum element)element;
        const size_t stride = element == ELEMENT_F32 ? (size_t)D : (size_t)operand_stride(D);
        const size_t line = stride * size_of(args.out_element);
        args.out = put_poison(R * line);
        LAUNCHED(norm_launch(&args, stream));
        unsigned char *out = get(args.out, R * line);
        for (size_t r = 0; r < R; r++)
            if (rows[r] >= 0)
                check_rounded(out + r * line, args.out_element, want + (int64_t)rows[r] * D, 1, D, "norm");
            else
                for (size_t i = 0; i < line; i++) cr_assert_eq(out[r * line + i], 0xA5, "padding, D %d", D);
        free(out);
    }
    free(x), free(w), free(add), free(want), free(sum);
    drop(0);
}

Test(row_kernels, norm_gathers_pads_and_rounds, .init = open_device, .fini = close_device) {
    static const int32_t WIDTHS[] = {1, 3, 16, 65, 128, 132, 300, 512, 516, 769, 1600, 4097, 8192, 8193, 16388};
    for (size_t i = 0; i < sizeof WIDTHS / sizeof WIDTHS[0]; i++) {
        check_norm(WIDTHS[i], KERNEL_LAYER_NORM, i % 2 == 0, i % 3 != 1);
        check_norm(WIDTHS[i], KERNEL_RMS_NORM, i % 2 == 1, i % 3 == 0);
    }
}

/* ---- gate, operand ----------------------------------------------------------------------------------------------- */

Test(row_kernels, gate_and_operand_round_and_pad, .init = open_device, .fini = close_device) {
    static const struct {
        int32_t T, F;
    } CASES[] = {{1, 1}, {3, 15}, {2, 16}, {5, 36}, {33, 100}, {2, 3001}, {1, 4100}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const int32_t T = CASES[i].T, F = CASES[i].F;
        const size_t count = (size_t)T * (size_t)F;
        float *in = numbers(2 * count);
        struct gate_args gate = {.out = put_poison(count * sizeof(float)),
                                 .out_element = ELEMENT_F32,
                                 .in = put(in, 2 * count * sizeof *in),
                                 .activation = KERNEL_SILU,
                                 .T = T,
                                 .F = F};
        LAUNCHED(gate_launch(&gate, stream));
        float *want = get(gate.out, count * sizeof *want);
        for (int element = ELEMENT_F16; element <= ELEMENT_BF16; element++) {
            const size_t bytes = (size_t)T * (size_t)operand_stride(F) * size_of((enum element)element);
            gate.out = put_poison(bytes);
            gate.out_element = (enum element)element;
            LAUNCHED(gate_launch(&gate, stream));
            void *out = get(gate.out, bytes);
            check_rounded(out, gate.out_element, want, T, F, "gate");
            free(out);
            const struct operand_args operand = {
                .out = put_poison(bytes), .out_element = gate.out_element, .in = gate.in, .T = T, .K = F};
            LAUNCHED(operand_launch(&operand, stream));
            out = get(operand.out, bytes);
            check_rounded(out, operand.out_element, in, T, F, "operand");
            free(out);
        }
        free(in), free(want);
        drop(0);
    }
}

/* ---- rotary positions and the store ------------------------------------------------------------------------------ */

struct store_case {
    int32_t T, H, Hkv, Dh, rotary;
    bool interleaved, normed;
};
static const struct store_case STORE_CASES[] = {
    {1, 2, 1, 64, 64, false, false}, {33, 3, 1, 128, 128, false, true}, {70, 4, 2, 80, 32, false, false},
    {3, 2, 2, 5, 0, false, false},   {40, 2, 2, 20, 10, true, true},    {9, 1, 1, 256, 64, true, false},
    {2, 3, 3, 1, 0, false, true},    {65, 2, 1, 96, 96, true, true},    {5, 1, 1, 256, 256, false, true},
    {37, 2, 1, 66, 6, false, false}, {4, 5, 1, 48, 16, false, true},
};

/* What a head of q or k becomes, in double. */
static void expected_head(double *head, const float *x, const struct store_case *c, const float *weight,
                          const float *angles) {
    double square = 0;
    for (int32_t d = 0; d < c->Dh; d++) square += (double)x[d] * (double)x[d];
    const double scale = c->normed ? 1 / sqrt(square / c->Dh + 1e-6) : 1;
    for (int32_t d = 0; d < c->Dh; d++) head[d] = c->normed ? (double)x[d] * scale * (double)weight[d] : (double)x[d];
    for (int32_t i = 0; i < c->rotary / 2; i++) {
        const int32_t at = c->interleaved ? 2 * i : i, other = c->interleaved ? 2 * i + 1 : i + c->rotary / 2;
        const double a = head[at], b = head[other], cosine = (double)angles[2 * i], sine = (double)angles[2 * i + 1];
        head[at] = a * cosine - b * sine;
        head[other] = b * cosine + a * sine;
    }
}

/* got is the expected value to fp32's (Dh + 16) roundings of the head's largest, then one rounding to the element. */
static void check_close(float got, double want, double largest, int32_t Dh, enum element element, const char *what,
                        int32_t t) {
    static const double UNIT[] = {0, 0x1p-11, 0x1p-8};
    const double bound = (Dh + 16) * 0x1p-24 * largest + UNIT[element] * fabs(want) + (element ? 0x1p-25 : 0);
    cr_assert(fabs((double)got - want) <= bound, "%s of token %d: %g, expected %g ± %g", what, t, (double)got, want,
              bound);
}

static void check_store(const struct store_case *c, enum element element) {
    enum { PAGES = 4, CONTEXT = 100 };
    const int32_t T = c->T, W = kv_width(c->Dh), Dh = c->Dh, width = (c->H + 2 * c->Hkv) * Dh;
    const size_t page = (size_t)c->Hkv * KV_PAGE_TOKENS * (size_t)W, count = (size_t)T * (size_t)width;
    const size_t pages_bytes = PAGES * page * size_of(element);
    int32_t position[128], slot[128], owner[PAGES * KV_PAGE_TOKENS];
    for (int32_t i = 0; i < PAGES * KV_PAGE_TOKENS; i++) owner[i] = -1;
    /* A run of slots across a page boundary, every seventh token padding, the last third anywhere. */
    for (int32_t t = 0; t < T; t++) {
        slot[t] = t < T * 2 / 3 ? 2 * KV_PAGE_TOKENS - 5 + t : 3 * t % 50;
        position[t] = below(CONTEXT);
        if (t % 7 == 6) slot[t] = position[t] = -1;
        if (slot[t] >= 0) owner[slot[t]] = t;
    }
    float *qkv = numbers(count), *q_norm = numbers((size_t)Dh), *k_norm = numbers((size_t)Dh);
    float *table = numbers(CONTEXT * ((size_t)c->rotary + 1));
    const struct rope_store_args args = {
        .qkv = put(qkv, count * sizeof *qkv),
        .table = c->rotary ? put(table, CONTEXT * (size_t)c->rotary * sizeof *table) : NULL,
        .rotary = c->rotary,
        .interleaved = c->interleaved,
        .q_norm = c->normed ? put(q_norm, (size_t)Dh * sizeof *q_norm) : NULL,
        .k_norm = c->normed ? put(k_norm, (size_t)Dh * sizeof *k_norm) : NULL,
        .norm = KERNEL_RMS_NORM,
        .norm_eps = 1e-6f,
        .k = device->ops->alloc(device, pages_bytes),
        .v = device->ops->alloc(device, pages_bytes),
        .element = element,
        .T = T,
        .H = c->H,
        .Hkv = c->Hkv,
        .Dh = Dh,
        .step = {.position = put(position, (size_t)T * sizeof *position), .slot = put(slot, (size_t)T * sizeof *slot)}};
    allocated[allocations++] = args.k;
    allocated[allocations++] = args.v;
    LAUNCHED(rope_store_launch(&args, stream));
    float *out = get(args.qkv, count * sizeof *out);
    void *k = get(args.k, pages_bytes), *v = get(args.v, pages_bytes);
    double head[256];
    for (int32_t t = 0; t < T; t++)
        for (int32_t h = 0; h < c->H; h++) {
            const float *x = qkv + (int64_t)t * width + h * Dh, *got = out + (int64_t)t * width + h * Dh;
            if (position[t] < 0) {
                cr_assert_eq(memcmp(got, x, (size_t)Dh * sizeof *x), 0, "padding changed");
                continue;
            }
            expected_head(head, x, c, q_norm, table + position[t] * c->rotary);
            double largest = 0;
            for (int32_t d = 0; d < Dh; d++) largest = fmax(largest, fabs(head[d]));
            for (int32_t d = 0; d < Dh; d++) check_close(got[d], head[d], 2 * largest, Dh, ELEMENT_F32, "q", t);
        }
    for (int32_t s = 0; s < PAGES * KV_PAGE_TOKENS; s++)
        for (int32_t h = 0; h < c->Hkv; h++) {
            const size_t at = ((size_t)(s / KV_PAGE_TOKENS) * (size_t)c->Hkv + (size_t)h) * KV_PAGE_TOKENS * (size_t)W;
            const int32_t t = owner[s], offset = s % KV_PAGE_TOKENS;
            const float *x = qkv + (int64_t)(t < 0 ? 0 : t) * width + (c->H + h) * Dh, *values = x + c->Hkv * Dh;
            double largest = 0;
            if (t >= 0) expected_head(head, x, c, k_norm, table + position[t] * c->rotary);
            for (int32_t d = 0; t >= 0 && d < Dh; d++) largest = fmax(largest, fabs(head[d]));
            for (int32_t d = 0; d < W; d++) {
                const float key = element_at(k, element, at + (size_t)(offset * W + d));
                const float value = element_at(v, element, at + (size_t)(d * KV_PAGE_TOKENS + offset));
                if (t < 0 || d >= Dh) {
                    cr_assert(key == 0 && value == 0, "slot %d, element %d: not its own", s, d);
                    continue;
                }
                float stored[1];
                set(stored, element, 0, values[d]);
                cr_assert_eq(value, element_at(stored, element, 0), "v of token %d", t);
                check_close(key, head[d], 2 * largest, Dh, element, "k", t);
            }
        }
    free(qkv), free(q_norm), free(k_norm), free(table), free(out), free(k), free(v);
    drop(0);
}

Test(row_kernels, keys_and_values_lie_in_their_pages, .init = open_device, .fini = close_device) {
    for (size_t i = 0; i < sizeof STORE_CASES / sizeof STORE_CASES[0]; i++)
        for (int element = 0; element < 3; element++) check_store(&STORE_CASES[i], (enum element)element);
}

Test(row_kernels, pages_are_copied_in_all_layers, .init = open_device, .fini = close_device) {
    enum { L = 3, P = 5, COUNT = 2 };
    static const size_t SIZES[] = {16, 4096, 16384, 16384 + 48};
    static const int32_t from[COUNT] = {3, 0}, to[COUNT] = {1, 4};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        const size_t page = SIZES[i], bytes = L * 2 * P * page;
        unsigned char *before = malloc(bytes);
        for (size_t j = 0; j < bytes; j++) before[j] = (unsigned char)random_word();
        const struct copy_pages_args args = {.kv = put(before, bytes),
                                             .page_bytes = page,
                                             .from = put(from, sizeof from),
                                             .to = put(to, sizeof to),
                                             .count = COUNT,
                                             .L = L,
                                             .P = P};
        LAUNCHED(copy_pages_launch(&args, stream));
        unsigned char *after = get(args.kv, bytes);
        for (size_t plane = 0; plane < L * 2; plane++)
            for (int j = 0; j < COUNT; j++)
                memcpy(before + (plane * P + (size_t)to[j]) * page, before + (plane * P + (size_t)from[j]) * page,
                       page);
        cr_assert_eq(memcmp(after, before, bytes), 0, "pages of %zu bytes", page);
        free(before), free(after);
        drop(0);
    }
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* Packs pieces that have data; got [N, stride(K)] is the caller's. */
static void *pack(const struct weight_piece *pieces, int32_t count, enum element element, int32_t N, int32_t K) {
    const size_t bytes = device->ops->linear_bytes(device, (enum weight_type)element, N, K);
    cr_assert_eq(bytes, (size_t)N * (size_t)operand_stride(K) * size_of(element));
    struct linear_weight w = {.data = put_poison(bytes), .type = (enum weight_type)element, .N = N, .K = K};
    CALL(device->ops->linear_pack(device, &w, pieces, count, err));
    return get(w.data, bytes);
}

/* The element that row n, input k of the pieces is, as bits of the weight's element. */
static void expected_element(void *to, enum element element, const struct weight_piece *p, size_t n, size_t k,
                             size_t K) {
    while (n >= p->group * p->groups) n -= p->group * p->groups, p++;
    const size_t row = p->first + n / p->group * p->stride + n % p->group;
    const unsigned char *data = (const unsigned char *)p->data +
                                (p->transposed ? k * p->source_rows + row : row * K + k) * weight_type_size(p->type);
    uint32_t aligned[1] = {0};
    memcpy(aligned, data, weight_type_size(p->type));
    if (p->type == (enum weight_type)element)
        memcpy(to, aligned, size_of(element));
    else
        set(to, element, 0, element_at(aligned, (enum element)p->type, 0));
}

static void check_pack(enum element element, enum weight_type type, bool transposed, int32_t K, int32_t scale) {
    const size_t rows = 30 * (size_t)scale, size = weight_type_size(type);
    /* Three heads of 5 of every 10 rows, then one run of all rows, of an unaligned tensor. */
    struct weight_piece pieces[2] = {
        {.first = 3, .group = 5, .groups = 3, .stride = 9},
        {.first = 1, .group = rows - 2, .groups = 1, .stride = rows - 2},
    };
    unsigned char *data = malloc(rows * (size_t)K * size + 1);
    for (size_t i = 0; i < rows * (size_t)K; i++) {
        /* some halfway between two 16-bit numbers, some subnormal there */
        const float x =
            bits_float((float_bits(number()) & 0xFFFFE000u) | (i % 3 ? 0x1000u : 0)) * (i % 5 ? 1 : 0x1p-20f);
        uint32_t bits[1];
        set(bits, (enum element)type, 0, x);
        memcpy(data + 1 + i * size, bits, size);
    }
    for (int i = 0; i < 2; i++) {
        pieces[i].data = data + 1;
        pieces[i].type = type;
        pieces[i].transposed = transposed;
        pieces[i].source_rows = rows;
    }
    const int32_t N = 15 + (int32_t)rows - 2, stride = operand_stride(K);
    unsigned char *got = pack(pieces, 2, element, N, K);
    for (int32_t n = 0; n < N; n++)
        for (int32_t k = 0; k < stride; k++) {
            uint32_t want[1] = {0};
            if (k < K) expected_element(want, element, pieces, (size_t)n, (size_t)k, (size_t)K);
            cr_assert_eq(memcmp(got + (size_t)(n * stride + k) * size_of(element), want, size_of(element)), 0,
                         "to type %d from %d%s, K %d: row %d, input %d", (int)element, (int)type,
                         transposed ? " transposed" : "", K, n, k);
        }
    free(got), free(data);
    drop(0);
}

/* The last two widths take several of the emulation's chunks of 64 KiB. */
Test(row_kernels, pack_takes_every_layout, .init = open_device, .fini = close_device) {
    static const struct {
        int32_t K, scale;
    } CASES[] = {{1, 1}, {16, 1}, {24, 2}, {33, 2}, {130, 1}, {301, 10}, {608, 5}};
    for (int i = 0; i < 3 * 3 * 2; i++)
        for (size_t j = 0; j < sizeof CASES / sizeof CASES[0]; j++)
            check_pack((enum element)(i % 3), (enum weight_type)(i / 3 % 3), i / 9, CASES[j].K, CASES[j].scale);
}

/* Made on the device or filled on the host: the same bits. */
static void check_random(enum element element, enum weight_type type, bool transposed, int32_t K) {
    const size_t rows = 47;
    const struct source source = {.name = "layer.3.weight", .rows = rows, .cols = (size_t)K};
    const struct parameter parameter = {.mean = 0.25f, .deviation = 0.02f};
    union random_table table;
    random_table(&table, type, &parameter);
    const struct random_source random = {.table = &table, .stream = random_stream(&source, 99)};
    void *host = malloc(rows * (size_t)K * weight_type_size(type));
    random_fill(host, type, &source, &parameter, 99);
    struct weight_piece pieces[2] = {
        {.first = 2, .group = 4, .groups = 3, .stride = 11},
        {.first = 0, .group = rows, .groups = 1, .stride = rows},
    };
    const int32_t N = 12 + (int32_t)rows, stride = operand_stride(K);
    for (int i = 0; i < 2; i++) {
        pieces[i].type = type;
        pieces[i].transposed = transposed;
        pieces[i].source_rows = rows;
        pieces[i].random = &random;
    }
    unsigned char *got = pack(pieces, 2, element, N, K);
    for (int i = 0; i < 2; i++) pieces[i].data = host, pieces[i].random = NULL;
    unsigned char *want = pack(pieces, 2, element, N, K);
    cr_assert_eq(memcmp(got, want, (size_t)N * (size_t)stride * size_of(element)), 0, "type %d from %d%s, K %d",
                 (int)element, (int)type, transposed ? " transposed" : "", K);
    free(got), free(want), free(host);
    drop(0);
}

Test(row_kernels, random_weights_are_those_of_the_host, .init = open_device, .fini = close_device) {
    static const int32_t INPUTS[] = {1, 16, 45, 128};
    for (int i = 0; i < 3 * 3 * 2; i++)
        for (int j = 0; j < 4; j++)
            check_random((enum element)(i % 3), (enum weight_type)(i / 3 % 3), i / 9, INPUTS[j]);
}
