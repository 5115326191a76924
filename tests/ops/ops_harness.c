/* ops_harness.c: see ops_harness.h. */
#include "ops_harness.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

const struct ops_target OPS_TARGETS[] = {{"cpu", "avx512bf16"}, {"cpu", "avx512"}, {"cpu", "avx2"},
                                         {"cpu", "portable"},   {"simt", NULL},    {"cuda", NULL}};
const int OPS_TARGET_COUNT = sizeof OPS_TARGETS / sizeof OPS_TARGETS[0];

bool ops_tensor(const struct ops_target *target) {
    return strcmp(target->backend, "cpu") != 0;
}

struct arithmetic ops_products(const struct ops *o, enum weight_type type) {
    struct arithmetic a = reference_arithmetic(o->tensor, type);
    if (type == WEIGHT_BF16 && strcmp(o->info.instructions, "avx512bf16") == 0) a.element = WEIGHT_BF16;
    return a;
}

enum weight_type ops_packed_types(const struct ops_target *target) {
    return ops_tensor(target) ? WEIGHT_TYPE_COUNT : WEIGHT_PACKED_COUNT;
}

enum weight_type ops_page_type(enum weight_type weights) {
    return weights < WEIGHT_TYPE_COUNT ? weights : WEIGHT_F16;
}

bool ops_open(struct ops *o, const struct ops_target *target, int threads, const struct backend_limits *limits) {
    *o = (struct ops){.call = backend_find(target->backend, NULL), .tensor = ops_tensor(target)};
    if (!o->call) return false;
    struct backend_options options = {.threads = threads, .instructions = target->instructions};
    tempera_error error = {0};
    tempera_status status = o->call->open(&o->backend, &options, &error);
    if (status == TEMPERA_UNSUPPORTED || status == TEMPERA_DEVICE) return false;
    cr_assert_eq(status, TEMPERA_OK, "open %s: %s", target->backend, error.message);
    o->call->info(o->backend, &o->info);
    if (limits) OPS_CALL(o->call->prepare(o->backend, limits, err));
    return true;
}

void ops_drop(struct ops *o, int keep) {
    while (o->buffers > keep) {
        o->buffers--;
        o->call->free(o->backend, o->buffer[o->buffers].data, o->buffer[o->buffers].bytes);
    }
}

void ops_close(struct ops *o) {
    ops_drop(o, 0);
    o->call->close(o->backend);
}

struct backend_limits ops_limits(int32_t D, int32_t max_tokens) {
    return (struct backend_limits){.L = 1,
                                   .D = D,
                                   .H = 1,
                                   .Hkv = 1,
                                   .Dh = 8,
                                   .F = D,
                                   .V = 16,
                                   .context = 16,
                                   .max_tokens = max_tokens,
                                   .max_logits = max_tokens,
                                   .max_branches = 1,
                                   .pages = 1};
}

static void *take_buffer(struct ops *o, size_t bytes) {
    cr_assert_lt(o->buffers, (int)(sizeof o->buffer / sizeof o->buffer[0]));
    void *data = o->call->alloc(o->backend, bytes);
    cr_assert_not_null(data);
    o->buffer[o->buffers].data = data;
    o->buffer[o->buffers++].bytes = bytes;
    return data;
}

float *ops_put(struct ops *o, const float *host, size_t count) {
    if (!host) return NULL;
    float *data = take_buffer(o, count * sizeof *data);
    OPS_CALL(o->call->upload(o->backend, data, host, count * sizeof *data, err));
    return data;
}

float *ops_new(struct ops *o, size_t count, float fill) {
    float *host = malloc(count * sizeof *host);
    for (size_t i = 0; i < count; i++) host[i] = fill;
    float *data = ops_put(o, host, count);
    free(host);
    return data;
}

void ops_get(struct ops *o, float *host, const float *device, size_t count) {
    OPS_CALL(o->call->download(o->backend, host, device, count * sizeof *host, err));
}

/* One element of a type from or to a float, at any address. */
static void write_element(unsigned char *to, enum weight_type type, float x) {
    uint16_t half = type == WEIGHT_F16 ? float_to_f16(x) : float_to_bf16(x);
    memcpy(to, type == WEIGHT_F32 ? (const void *)&x : (const void *)&half, weight_type_size(type));
}

static float read_element(const unsigned char *from, enum weight_type type) {
    float x;
    uint16_t half;
    if (type == WEIGHT_F32) return memcpy(&x, from, sizeof x), x;
    memcpy(&half, from, sizeof half);
    return type == WEIGHT_F16 ? f16_to_float(half) : bf16_to_float(half);
}

void *ops_put_operand(struct ops *o, enum weight_type type, const float *rows, int32_t T, int32_t K) {
    const size_t row = o->call->operand_bytes(o->backend, type, K), bytes = (size_t)T * row;
    const enum weight_type element = o->tensor ? type : WEIGHT_F32;
    unsigned char *host = calloc(1, bytes);
    for (int32_t t = 0; t < T; t++)
        for (int32_t k = 0; k < K; k++)
            write_element(host + (size_t)t * row + (size_t)k * weight_type_size(element), element,
                          rows[(size_t)t * (size_t)K + (size_t)k]);
    void *data = take_buffer(o, bytes);
    OPS_CALL(o->call->upload(o->backend, data, host, bytes, err));
    free(host);
    return data;
}

void *ops_new_operand(struct ops *o, enum weight_type type, int32_t T, int32_t K) {
    const size_t bytes = (size_t)T * o->call->operand_bytes(o->backend, type, K);
    unsigned char *host = malloc(bytes);
    memset(host, 0xff, bytes); /* NaN in every type */
    void *data = take_buffer(o, bytes);
    OPS_CALL(o->call->upload(o->backend, data, host, bytes, err));
    free(host);
    return data;
}

void ops_get_operand(struct ops *o, float *rows, const void *operand, enum weight_type type, int32_t T, int32_t K) {
    const size_t row = o->call->operand_bytes(o->backend, type, K), bytes = (size_t)T * row;
    const enum weight_type element = o->tensor ? type : WEIGHT_F32;
    unsigned char *host = malloc(bytes);
    OPS_CALL(o->call->download(o->backend, host, operand, bytes, err));
    for (int32_t t = 0; t < T; t++) {
        const unsigned char *from = host + (size_t)t * row;
        for (int32_t k = 0; k < K; k++)
            rows[(size_t)t * (size_t)K + (size_t)k] =
                read_element(from + (size_t)k * weight_type_size(element), element);
        for (size_t i = (size_t)K * weight_type_size(element); i < row; i++)
            cr_assert_eq(from[i], 0, "an operand of %d elements on %s: beyond them it is not zero", (int)K,
                         o->info.name);
    }
    free(host);
}

struct linear_weight ops_weight_new(struct ops *o, enum weight_type type, int32_t N, int32_t K) {
    return (struct linear_weight){
        .data = take_buffer(o, o->call->linear_bytes(o->backend, type, N, K)), .type = type, .N = N, .K = K};
}

struct linear_weight ops_weight(struct ops *o, enum weight_type type, int32_t N, int32_t K, const float *rows,
                                const float *bias) {
    struct linear_weight w = ops_weight_new(o, type, N, K);
    struct weight_piece piece = {.data = rows,
                                 .type = WEIGHT_F32,
                                 .source_rows = (size_t)N,
                                 .group = (size_t)N,
                                 .groups = 1,
                                 .stride = (size_t)N};
    OPS_CALL(o->call->linear_pack(o->backend, &w, &piece, 1, err));
    w.bias = ops_put(o, bias, (size_t)N);
    return w;
}

void ops_begin(struct ops *o, const struct batch_view *view) {
    bool replay;
    OPS_CALL(o->call->step_begin(o->backend, view, &replay, err));
    cr_assert_not(replay, "ops were called without a draw: nothing can have been recorded");
}

void ops_end(struct ops *o) {
    OPS_CALL(o->call->step_end(o->backend, err));
    OPS_CALL(o->call->step_wait(o->backend, NULL, err));
}

static uint32_t next_word(struct ops_random *r) {
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(r->state >> 32);
}

float ops_uniform(struct ops_random *r) {
    return (float)(int32_t)next_word(r) * 0x1p-31f;
}

float ops_normal(struct ops_random *r) {
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += ops_uniform(r);
    return sum * 0.7071f;
}

int32_t ops_below(struct ops_random *r, int32_t n) {
    return (int32_t)(next_word(r) % (uint32_t)n);
}

float *ops_normals(struct ops_random *r, size_t count, float scale) {
    float *x = malloc((count ? count : 1) * sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = ops_normal(r) * scale;
    return x;
}

void ops_check(double got, double value, double bound, const char *what, const struct ops *o, int64_t i) {
    if (fabs(got - value) <= bound) return;
    cr_assert(false, "%s on %s %s, element %lld: got %.9g, expected %.9g ± %.2g", what, o->info.name,
              o->info.instructions, (long long)i, got, value, bound);
}

void ops_same(const float *a, const float *b, size_t n, const char *what, const struct ops *o) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0)
            cr_assert(false, "%s on %s %s: bits differ at %zu: %.9g and %.9g", what, o->info.name, o->info.instructions,
                      i, (double)a[i], (double)b[i]);
}
