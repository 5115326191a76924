/* test_quant_ops.c: quantised linear layers of the cpu backend, against the format and the arithmetic that cpu_quant.h
 * defines, written here once more and in the plainest way. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_quant.h"
#include "base/num.h"
#include "ops_cases.h"
#include "ops_harness.h"

static const struct batch_view EMPTY_VIEW = {0};

/* Every set of kernels, and at the end AVX-512 without VNNI. */
enum { SETS = 4 };
static bool open_set(struct ops *o, int set, int threads, const struct backend_limits *limits) {
    static const struct ops_target targets[SETS] = {
        {"cpu", "portable"}, {"cpu", "avx2"}, {"cpu", "avx512"}, {"cpu", "avx512"}};
    if (!ops_open(o, &targets[set], threads, limits)) return false;
    struct cpu_backend *b = cpu_backend_of(o->backend);
    if (set == 3) b->quant = b->kernels->quant;
    return true;
}

static const enum weight_type TYPES[] = {WEIGHT_Q8, WEIGHT_Q4};

/* ---- the format, read back ----------------------------------------------------------------------------------------- */

/* A packed matrix as numbers: q [N, K], d [N, groups]. */
struct unpacked {
    int32_t N, K, groups;
    int *q;
    float *d;
};

static struct unpacked unpack(const struct linear_weight *w) {
    const int32_t groups = (w->K + 31) / 32;
    struct unpacked u = {w->N, w->K, groups, malloc((size_t)w->N * (size_t)w->K * sizeof *u.q),
                         malloc((size_t)(w->N * groups) * sizeof *u.d)};
    const unsigned char *data = w->data;
    const size_t block = w->type == WEIGHT_Q8 ? 64 + 1024 : 64 + 512;
    for (int32_t n = 0; n < w->N; n++)
        for (int32_t k = 0; k < w->K; k++) {
            const unsigned char *at = data + ((size_t)(n / 32) * (size_t)groups + (size_t)(k / 32)) * block;
            uint16_t scale;
            memcpy(&scale, at + n % 32 * 2, 2);
            u.d[n * groups + k / 32] = f16_to_float(scale);
            const int i = k % 32;
            int q = w->type == WEIGHT_Q8 ? at[64 + i / 4 * 128 + n % 32 * 4 + i % 4] - 128
                                         : at[64 + i / 8 * 128 + n % 32 * 4 + i % 4] >> (i / 4 % 2 * 4) & 15;
            u.q[(size_t)n * (size_t)w->K + (size_t)k] = w->type == WEIGHT_Q8 ? q : q - 8;
        }
    return u;
}
static void unpacked_free(struct unpacked *u) {
    free(u->q), free(u->d);
}

/* Σ (w - d q)² of one group, and what rounding to `steps` steps of the value of largest size would leave. */
static double group_error(const struct unpacked *u, const float *rows, int32_t n, int32_t g, double *simple) {
    const int32_t first = g * 32, end = first + 32 < u->K ? first + 32 : u->K;
    double error = 0, extreme = 0;
    for (int32_t k = first; k < end; k++) {
        const double x = (double)rows[(size_t)n * (size_t)u->K + (size_t)k];
        const double left = x - (double)u->d[n * u->groups + g] * u->q[(size_t)n * (size_t)u->K + (size_t)k];
        error += left * left;
        if (fabs(x) > fabs(extreme)) extreme = x;
    }
    *simple = 0;
    for (int32_t k = first; k < end; k++) {
        const double x = (double)rows[(size_t)n * (size_t)u->K + (size_t)k], d = extreme / -8;
        const double left = d == 0 ? 0 : x - d * fmin(rint(x / d), 7);
        *simple += left * left;
    }
    return error;
}

/* Q8: d is max|w| / 127 to a rounding of fp16, and every weight within half a step. */
static void check_eight_bits(const struct unpacked *u, const float *rows) {
    for (int32_t n = 0; n < u->N; n++)
        for (int32_t k = 0; k < u->K; k++) {
            const float *group = rows + (size_t)n * (size_t)u->K + (size_t)(k / 32 * 32);
            double most = 0, d = (double)u->d[n * u->groups + k / 32];
            for (int32_t i = 0; i < 32 && k / 32 * 32 + i < u->K; i++) most = fmax(most, fabs((double)group[i]));
            cr_assert(fabs(d - most / 127) <= most / 127 * 0x1p-11 + 0x1p-25, "scale %g of %g", d, most);
            const int q = u->q[(size_t)n * (size_t)u->K + (size_t)k];
            cr_assert(abs(q) <= 127);
            cr_assert(fabs((double)rows[(size_t)n * (size_t)u->K + (size_t)k] - d * q) <= d * 0.5001 + 127 * 0x1p-25,
                      "weight %d %d", (int)n, (int)k);
        }
}

Test(quant_ops, packing_keeps_what_the_format_can) {
    enum { N = 70, K = 1000 };
    struct ops_random r = {11};
    float *rows = ops_normals(&r, N * K, 0.05f);
    for (int k = 0; k < 40; k++) rows[3 * K + k] = 0; /* a group of zeros */
    for (int type = 0; type < 2; type++) {
        struct ops o;
        struct backend_limits limits = ops_limits(K, 4);
        cr_assert(open_set(&o, 0, 1, &limits));
        struct linear_weight w = ops_weight(&o, TYPES[type], N, K, rows, NULL);
        struct unpacked u = unpack(&w);
        double power = 0, error = 0, plain = 0;
        for (int32_t n = 0; n < N; n++)
            for (int32_t g = 0; g < u.groups; g++) {
                double simple;
                error += group_error(&u, rows, n, g, &simple);
                plain += simple;
            }
        for (int i = 0; i < N * K; i++) power += (double)rows[i] * (double)rows[i];
        const double relative = sqrt(error / power);
        cr_log_info("%s: relative error %.4f (a scale for the extreme at 8 steps: %.4f)", weight_type_name(w.type),
                    relative, sqrt(plain / power));
        if (TYPES[type] == WEIGHT_Q8) {
            check_eight_bits(&u, rows);
            cr_expect_lt(relative, 0.0056);
        } else {
            cr_expect_lt(relative, 0.97 * sqrt(plain / power));
        }
        unpacked_free(&u);
        ops_close(&o);
    }
    free(rows);
}

/* ---- the product --------------------------------------------------------------------------------------------------- */

/* out [N] of one row: integers exactly, then fp32 as defined; and in `exact` and `bound` the same sum in double. */
static void multiply(float *out, double *exact, double *bound, const struct unpacked *u, const float *in,
                     const float *bias) {
    int *a = malloc((size_t)u->K * sizeof *a);
    float *e = malloc((size_t)u->groups * sizeof *e);
    for (int32_t g = 0; g < u->groups; g++) {
        float most = 0;
        const int32_t end = g * 32 + 32 < u->K ? g * 32 + 32 : u->K;
        for (int32_t k = g * 32; k < end; k++) most = fmaxf(most, fabsf(in[k]));
        const bool none = most < 0x1p-100f;
        e[g] = none ? 0 : most / 127.0f;
        const float inverse = none ? 0 : 127.0f / most;
        for (int32_t k = g * 32; k < end; k++) a[k] = none ? 0 : (int)rintf(in[k] * inverse);
    }
    for (int32_t n = 0; n < u->N; n++) {
        float sum = 0;
        double value = 0, size = 0;
        for (int32_t g = 0; g < u->groups; g++) {
            int64_t whole = 0;
            for (int32_t k = g * 32; k < u->K && k < g * 32 + 32; k++)
                whole += (int64_t)u->q[(size_t)n * (size_t)u->K + (size_t)k] * a[k];
            const float d = u->d[n * u->groups + g], scale = d * e[g], term = (float)whole * scale;
            sum = sum + term;
            value += (double)whole * (double)d * (double)e[g];
            size += fabs((double)whole * (double)d * (double)e[g]);
        }
        out[n] = sum + bias[n];
        exact[n] = value + (double)bias[n];
        bound[n] = (u->groups + 3) * 0x1p-24 * (size + fabs((double)bias[n]) + fabs(value));
    }
    free(a), free(e);
}

static void check_case(struct ops *o, enum weight_type type, const struct linear_case *c) {
    struct ops_random r = {(uint64_t)(c->T * 131 + c->N * 17 + c->K)};
    const size_t inputs = (size_t)c->T * (size_t)c->K, outputs = (size_t)c->T * (size_t)c->N;
    float *in = ops_normals(&r, inputs, 1), *rows = ops_normals(&r, (size_t)c->N * (size_t)c->K, 0.3f);
    float *bias = ops_normals(&r, (size_t)c->N, 1), *got = malloc(outputs * sizeof *got);
    for (size_t i = 0; i < inputs; i += 97) in[i] *= 50; /* outliers, as real activations have them */
    for (int32_t k = 0; k < c->K && k < 32; k++) in[k] *= 0x1p-120f;
    struct linear_weight w = ops_weight(o, type, c->N, c->K, rows, bias);
    struct linear_params p = {
        .out = ops_new(o, outputs, NAN), .in = ops_put(o, in, inputs), .weight = &w, .T = c->T, .out_stride = c->N};
    ops_begin(o, &EMPTY_VIEW);
    OPS_CALL(o->call->linear(o->backend, &p, err));
    ops_end(o);
    ops_get(o, got, p.out, outputs);
    struct unpacked u = unpack(&w);
    float *out = malloc((size_t)c->N * sizeof *out);
    double *exact = malloc((size_t)c->N * sizeof *exact), *bound = malloc((size_t)c->N * sizeof *bound);
    for (int32_t t = 0; t < c->T; t++) {
        multiply(out, exact, bound, &u, in + (size_t)t * (size_t)c->K, bias);
        const float *row = got + (size_t)t * (size_t)c->N;
        ops_same(row, out, (size_t)c->N, weight_type_name(type), o);
        for (int32_t n = 0; n < c->N; n++) ops_check((double)row[n], exact[n], bound[n], "quantised product", o, n);
    }
    unpacked_free(&u);
    free(in), free(rows), free(bias), free(got), free(out), free(exact), free(bound);
}

Test(quant_ops, products_have_the_defined_bits_in_every_instruction_set) {
    struct backend_limits limits = ops_limits(3072, 530);
    for (int set = 0; set < SETS; set++)
        for (int c = 0; c < LINEAR_CASE_COUNT; c++)
            for (int type = 0; type < 2; type++) {
                struct ops o;
                if (!open_set(&o, set, 2, &limits)) continue;
                check_case(&o, TYPES[type], &LINEAR_CASES[c]);
                ops_close(&o);
            }
}

/* Integers at their limits: all weights and inputs of one size, signs alike or opposed. */
Test(quant_ops, no_sum_overflows) {
    enum { N = 33, K = 64 };
    float rows[N * K], in[K], bias[N] = {0}, out[N], got[N];
    double exact[N], bound[N];
    struct backend_limits limits = ops_limits(K, 4);
    for (int i = 0; i < N * K; i++) rows[i] = (i / K + i) % 3 ? -1 : 1;
    for (int i = 0; i < N * K; i++)
        if (i / K < 2) rows[i] = i / K ? -1 : 1;
    for (int sign = -1; sign <= 1; sign += 2)
        for (int set = 0; set < SETS; set++)
            for (int type = 0; type < 2; type++) {
                struct ops o;
                if (!open_set(&o, set, 1, &limits)) continue;
                for (int k = 0; k < K; k++) in[k] = (float)sign;
                struct linear_weight w = ops_weight(&o, TYPES[type], N, K, rows, bias);
                struct linear_params p = {
                    .out = ops_new(&o, N, NAN), .in = ops_put(&o, in, K), .weight = &w, .T = 1, .out_stride = N};
                ops_begin(&o, &EMPTY_VIEW);
                OPS_CALL(o.call->linear(o.backend, &p, err));
                ops_end(&o);
                ops_get(&o, got, p.out, N);
                struct unpacked u = unpack(&w);
                multiply(out, exact, bound, &u, in, bias);
                ops_same(got, out, N, "extremes", &o);
                cr_assert_lt(fabs((double)got[0] - sign * K), 0.02 * K);
                unpacked_free(&u);
                ops_close(&o);
            }
}

/* ---- sources ------------------------------------------------------------------------------------------------------- */

static float source_value(size_t row, size_t k) {
    return (float)((int)((row * 31 + k * 7) % 251) - 125);
}

/* Rows of a source of any type and order, one byte off alignment, against the same rows as plain floats. */
static void check_source(struct ops *o, enum weight_type type, enum weight_type source, bool transposed, size_t K) {
    enum { ROWS = 90, TAKEN = 70 };
    const size_t size = weight_type_size(source);
    unsigned char *data = malloc(ROWS * K * size + 1);
    float *rows = malloc(TAKEN * K * sizeof *rows);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t k = 0; k < K; k++) {
            const float x = source_value(row, k);
            const uint16_t half = source == WEIGHT_F16 ? float_to_f16(x) : float_to_bf16(x);
            memcpy(data + 1 + (transposed ? k * ROWS + row : row * K + k) * size,
                   source == WEIGHT_F32 ? (const void *)&x : (const void *)&half, size);
        }
    struct weight_piece pieces[2] = {/* three runs of 10 rows, each 20 after the one before; then 40 in a row */
                                     {.data = data + 1,
                                      .type = source,
                                      .source_rows = ROWS,
                                      .transposed = transposed,
                                      .first = 5,
                                      .group = 10,
                                      .groups = 3,
                                      .stride = 20},
                                     {.data = data + 1,
                                      .type = source,
                                      .source_rows = ROWS,
                                      .transposed = transposed,
                                      .first = 50,
                                      .group = 40,
                                      .groups = 1,
                                      .stride = 40}};
    for (size_t i = 0; i < TAKEN; i++)
        for (size_t k = 0; k < K; k++) rows[i * K + k] = source_value(i < 30 ? 5 + i / 10 * 20 + i % 10 : 20 + i, k);
    struct linear_weight got = ops_weight_new(o, type, TAKEN, (int32_t)K);
    OPS_CALL(o->call->linear_pack(o->backend, &got, pieces, 2, err));
    struct linear_weight plain = ops_weight(o, type, TAKEN, (int32_t)K, rows, NULL);
    cr_assert(memcmp(got.data, plain.data, o->call->linear_bytes(o->backend, type, TAKEN, (int32_t)K)) == 0,
              "%s from %s%s, %zu inputs", weight_type_name(type), weight_type_name(source),
              transposed ? ", transposed" : "", K);
    free(data), free(rows);
}

Test(quant_ops, sources_of_every_layout_pack_the_same) {
    static const size_t INPUTS[] = {1, 31, 32, 33, 130};
    struct backend_limits limits = ops_limits(130, 4);
    for (int set = 0; set < SETS; set++)
        for (int i = 0; i < 2 * WEIGHT_TYPE_COUNT * 2 * 5; i++) {
            struct ops o;
            if (!open_set(&o, set, 2, &limits)) continue;
            check_source(&o, TYPES[i % 2], (enum weight_type)(i / 2 % 3), i / 6 % 2, INPUTS[i / 12]);
            ops_close(&o);
        }
}

/* Scales of every size, subnormal ones of fp16 too. */
Test(quant_ops, packed_bytes_are_the_same_in_every_instruction_set) {
    enum { N = 100, K = 300 };
    struct ops_random r = {3};
    float *rows = ops_normals(&r, N * K, 1);
    for (int i = 0; i < N * K; i++) rows[i] *= powf(2, (float)(i / 320 % 40 - 28));
    struct backend_limits limits = ops_limits(K, 4);
    for (int type = 0; type < 2; type++) {
        unsigned char *first = NULL;
        for (int set = 0; set < SETS; set++) {
            struct ops o;
            if (!open_set(&o, set, 3, &limits)) continue;
            struct linear_weight w = ops_weight(&o, TYPES[type], N, K, rows, NULL);
            const size_t bytes = o.call->linear_bytes(o.backend, TYPES[type], N, K);
            if (!first) first = memcpy(malloc(bytes), w.data, bytes);
            cr_assert(memcmp(first, w.data, bytes) == 0, "%s %s", weight_type_name(w.type), o.info.instructions);
            ops_close(&o);
        }
        free(first);
    }
    free(rows);
}

Test(quant_ops, embeddings_are_read_exactly) {
    enum { V = 300, D = 77, T = 9 };
    struct ops_random r = {8};
    float *table = ops_normals(&r, V * D, 1), host[T * D];
    struct backend_limits limits = ops_limits(D, T);
    limits.V = V;
    for (int type = 0; type < 2; type++) {
        struct ops o;
        cr_assert(open_set(&o, 0, 2, &limits));
        struct linear_weight w = ops_weight(&o, TYPES[type], V, D, table, NULL);
        int32_t token[T], position[T];
        for (int32_t t = 0; t < T; t++) token[t] = t * 37 % V, position[t] = 2 * t;
        struct batch_view view = {.T = T, .token = token, .position = position};
        float *out = ops_new(&o, T * D, NAN);
        ops_begin(&o, &view);
        OPS_CALL(o.call->embed(o.backend, out, &w, &w, 3.5f, err));
        ops_end(&o);
        ops_get(&o, host, out, T * D);
        struct unpacked u = unpack(&w);
        for (int32_t i = 0; i < T * D; i++) {
            const int32_t a = token[i / D], b = position[i / D], k = i % D;
            float x = 3.5f * (u.d[a * u.groups + k / 32] * (float)u.q[a * D + k]);
            x += u.d[b * u.groups + k / 32] * (float)u.q[b * D + k];
            ops_same(&host[i], &x, 1, "embedding", &o);
        }
        unpacked_free(&u);
        ops_close(&o);
    }
    free(table);
}

/* ---- blocks of files ----------------------------------------------------------------------------------------------- */

enum { BLOCK_ROWS = 150 };

/* Bytes of a block of 32, and what input i of it is. */
static size_t block_size(enum weight_type type) {
    return type == WEIGHT_Q8 ? 34 : 18;
}
static int block_integer(enum weight_type type, const unsigned char *block, int i) {
    if (type == WEIGHT_Q8) return (int8_t)block[2 + i];
    return (i < 16 ? block[2 + i] & 15 : block[2 + i - 16] >> 4) - 8;
}

/* Random blocks with scales of either sign, small ones and zeros too, from byte 1 on. Freed by the caller. */
static unsigned char *random_blocks(enum weight_type type, size_t count) {
    struct ops_random r = {19};
    const size_t size = block_size(type);
    unsigned char *data = malloc(1 + count * size);
    for (size_t i = 0; i < count * size; i++) data[1 + i] = (unsigned char)ops_below(&r, 256);
    for (size_t i = 0; i < count; i++) {
        unsigned char *block = data + 1 + i * size;
        const uint16_t scale = i % 11 ? float_to_f16(ops_normal(&r) * powf(2, (float)ops_below(&r, 30) - 26)) : 0;
        memcpy(block, &scale, 2);
        for (size_t j = 2; type == WEIGHT_Q8 && j < size; j++)
            if (block[j] == 128) block[j] = 129; /* -128 is refused */
    }
    return data;
}

/* Rows 5 … 14, 25 … 34, 45 … 54 and 50 … 89 of the source: every scale and integer is there, bit for bit. */
static void check_blocks(struct ops *o, enum weight_type type, int32_t K) {
    enum { TAKEN = 70 };
    const size_t groups = (size_t)K / 32, size = block_size(type);
    unsigned char *data = random_blocks(type, BLOCK_ROWS * groups);
    struct weight_piece pieces[2] = {{.first = 5, .group = 10, .groups = 3, .stride = 20},
                                     {.first = 50, .group = 40, .groups = 1, .stride = 40}};
    for (int i = 0; i < 2; i++) {
        pieces[i].data = data + 1;
        pieces[i].type = type;
        pieces[i].source_rows = BLOCK_ROWS;
    }
    struct linear_weight w = ops_weight_new(o, type, TAKEN, K);
    OPS_CALL(o->call->linear_pack(o->backend, &w, pieces, 2, err));
    struct unpacked u = unpack(&w);
    float *read = malloc((size_t)K * sizeof *read);
    for (int32_t n = 0; n < TAKEN; n++) {
        const size_t row = n < 30 ? 5 + (size_t)n / 10 * 20 + (size_t)n % 10 : 20 + (size_t)n;
        cpu_quant_read(read, &w, n, 0, K);
        for (int32_t k = 0; k < K; k++) {
            const unsigned char *block = data + 1 + (row * groups + (size_t)k / 32) * size;
            uint16_t scale;
            memcpy(&scale, block, 2);
            const int q = block_integer(type, block, k % 32);
            const float value = f16_to_float(scale) * (float)q;
            cr_assert_eq(u.q[n * K + k], q, "%s row %d input %d", weight_type_name(type), n, k);
            cr_assert(memcmp(&read[k], &value, sizeof value) == 0, "%g for %g", (double)read[k], (double)value);
        }
    }
    free(read), free(data);
    unpacked_free(&u);
}

Test(quant_ops, blocks_of_files_keep_every_bit) {
    struct backend_limits limits = ops_limits(160, 4);
    for (int set = 0; set < SETS; set++)
        for (int i = 0; i < 2 * 3; i++) {
            struct ops o;
            if (!open_set(&o, set, 2, &limits)) continue;
            check_blocks(&o, TYPES[i % 2], (int32_t[]){32, 64, 160}[i / 2]);
            ops_close(&o);
        }
}

/* One scale or integer that cannot be kept; sources that are not such blocks, or not packed as them. */
Test(quant_ops, blocks_that_cannot_be_taken) {
    enum { N = 40, K = 96 };
    struct backend_limits limits = ops_limits(K, 4);
    struct ops o;
    cr_assert(open_set(&o, 0, 2, &limits));
    for (int i = 0; i < 2 * 4; i++) {
        const enum weight_type type = TYPES[i % 2];
        static const uint16_t scales[] = {0x7c00, 0xfc00, 0x7e00};
        unsigned char *data = random_blocks(type, BLOCK_ROWS * K / 32),
                      *last = data + 1 + (N * K / 32 - 1) * block_size(type);
        if (i / 2 < 3)
            memcpy(last, &scales[i / 2], 2);
        else
            last[2 + 15] = 128;
        struct linear_weight w = ops_weight_new(&o, type, N, K);
        struct weight_piece piece = {
            .data = data + 1, .type = type, .source_rows = N, .group = N, .groups = 1, .stride = N};
        tempera_error error = {0};
        const bool fine = i == 7; /* 128 is two halves in Q4 */
        cr_expect_eq(o.call->linear_pack(o.backend, &w, &piece, 1, &error), fine ? TEMPERA_OK : TEMPERA_UNSUPPORTED,
                     "%d", i);
        piece.transposed = true;
        cr_expect_eq(o.call->linear_pack(o.backend, &w, &piece, 1, &error), TEMPERA_INVALID_ARGUMENT);
        piece.transposed = false;
        w.type = type == WEIGHT_Q8 ? WEIGHT_Q4 : WEIGHT_F32;
        cr_expect_eq(o.call->linear_pack(o.backend, &w, &piece, 1, &error), TEMPERA_INVALID_ARGUMENT);
        w.type = type, w.K = K - 1;
        cr_expect_eq(o.call->linear_pack(o.backend, &w, &piece, 1, &error), TEMPERA_INVALID_ARGUMENT);
        struct weight_piece two[2] = {piece, {.data = data, .source_rows = 1, .group = 1, .groups = 1, .stride = 1}};
        two[0].group = N - 1, w.K = K;
        cr_expect_eq(o.call->linear_pack(o.backend, &w, two, 2, &error), TEMPERA_INVALID_ARGUMENT);
        free(data);
    }
    ops_close(&o);
}

/* ---- what cannot be quantised -------------------------------------------------------------------------------------- */

Test(quant_ops, refuses_weights_that_are_not_finite_or_too_large) {
    enum { N = 40, K = 40 };
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e7f, -3e38f};
    struct backend_limits limits = ops_limits(K, 4);
    for (int set = 0; set < SETS; set++)
        for (int i = 0; i < 2 * 5; i++) {
            struct ops o;
            if (!open_set(&o, set, 2, &limits)) continue;
            float rows[N * K] = {0};
            rows[i * 100 + 39] = bad[i / 2];
            struct linear_weight w = ops_weight_new(&o, TYPES[i % 2], N, K);
            struct weight_piece piece = {.data = rows, .source_rows = N, .group = N, .groups = 1, .stride = N};
            tempera_error error = {0};
            cr_expect_eq(o.call->linear_pack(o.backend, &w, &piece, 1, &error), TEMPERA_UNSUPPORTED);
            cr_expect(strstr(error.message, "cannot be quantised"), "%s", error.message);
            ops_close(&o);
        }
}

/* A row with NaN or an infinity gives NaN, as in fp32; the rows beside it do not notice. */
Test(quant_ops, inputs_that_are_not_finite_spoil_their_own_row) {
    enum { N = 33, K = 70, T = 8 };
    struct ops_random r = {2};
    float *rows = ops_normals(&r, N * K, 1), *in = ops_normals(&r, T * K, 1), got[2][T * N];
    struct backend_limits limits = ops_limits(K, T);
    for (int set = 0; set < SETS; set++)
        for (int type = 0; type < 2; type++) {
            struct ops o;
            if (!open_set(&o, set, 1, &limits)) continue;
            struct linear_weight w = ops_weight(&o, TYPES[type], N, K, rows, NULL);
            for (int spoiled = 0; spoiled < 2; spoiled++) {
                float *x = ops_put(&o, in, T * K);
                if (spoiled) x[2 * K + 69] = NAN, x[5 * K] = INFINITY;
                struct linear_params p = {.out = ops_new(&o, T * N, 0), .in = x, .weight = &w, .T = T, .out_stride = N};
                ops_begin(&o, &EMPTY_VIEW);
                OPS_CALL(o.call->linear(o.backend, &p, err));
                ops_end(&o);
                ops_get(&o, got[spoiled], p.out, T * N);
            }
            for (int i = 0; i < T * N; i++) {
                if (i / N == 2 || i / N == 5)
                    cr_assert(isnan(got[1][i]), "row %d", i / N);
                else
                    ops_same(&got[0][i], &got[1][i], 1, "a row beside", &o);
            }
            ops_close(&o);
        }
    free(rows), free(in);
}
