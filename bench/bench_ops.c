/* bench_ops.c: a backend's ops at the shapes of a real model, against the ceilings measured in the same run.
 *
 *     bench_ops [--device cpu|cuda|simt] [--type f32|f16|bf16|q8|q4] [--threads N] [--instructions NAME]
 *               [--only linear|step|attention|pack] [--seconds S] [--clock wall|cpu]
 *
 * The cpu runs every type unless one is given; a device keeps pages and operands in one type, bf16 unless another is given.
 * Times are from the host's call to the end of a step, so on a device a single small op is mostly the way there and back:
 * bench/gpu/bench_kernels.cu has the kernels alone.
 * `--clock cpu` counts processor time: with one thread it makes compute-bound figures usable on a busy machine.
 * `step` runs all linear layers of GPT-2 124M with their own weights, as a forward pass would (nothing stays in cache). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/backend.h"
#include "timing.h"

enum { L = 12, D = 768, H = 12, DH = 64, F = 3072, V = 50257, CONTEXT = 1024 };

struct bench {
    struct backend *backend;
    const struct backend_ops *op;
    struct backend_info info;
    double read, flops; /* measured ceilings */
    double seconds;     /* for each measurement */
    enum weight_type first_type, last_type;
};

static clockid_t bench_clock = CLOCK_MONOTONIC;

static double now(void) {
    return clock_seconds(bench_clock);
}

/* Seconds of one run: the median and the fastest of as many runs as fit. */
struct timing {
    double median, best;
};
static struct timing measure(const struct bench *b, void (*run)(void *), void *arg) {
    enum { MOST = 400 };
    double taken[MOST];
    int n = 0;
    run(arg);
    double end = now() + b->seconds;
    do {
        double start = now();
        run(arg);
        taken[n++] = now() - start;
    } while (n < MOST && (now() < end || n < 3));
    qsort(taken, (size_t)n, sizeof *taken, compare_doubles);
    return (struct timing){taken[n / 2], taken[0]};
}

static float *fill(const struct bench *b, size_t count) {
    float *host = malloc(count * sizeof *host), *data = b->op->alloc(b->backend, count * sizeof *host);
    uint32_t x = 1;
    for (size_t i = 0; i < count; i++) host[i] = (float)((x = x * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1.0f;
    MUST(b->op->upload(b->backend, data, host, count * sizeof *host, err));
    free(host);
    return data;
}

static struct linear_weight weight(const struct bench *b, enum weight_type type, int32_t N, int32_t K) {
    size_t count = (size_t)N * (size_t)K;
    float *rows = malloc(count * sizeof *rows);
    uint32_t x = (uint32_t)N;
    for (size_t i = 0; i < count; i++) rows[i] = (float)((x = x * 1664525u + 1013904223u) >> 8) * 0x1p-28f - 0x1p-5f;
    struct linear_weight w = {
        .data = b->op->alloc(b->backend, b->op->linear_bytes(b->backend, type, N, K)), .type = type, .N = N, .K = K};
    struct weight_piece piece = {
        .data = rows, .source_rows = (size_t)N, .group = (size_t)N, .groups = 1, .stride = (size_t)N};
    MUST(b->op->linear_pack(b->backend, &w, &piece, 1, err));
    free(rows);
    return w;
}

static void report(const struct bench *b, const char *name, struct timing t, double bytes, double flop) {
    printf("%-34s %9.3f ms (best %9.3f)  %6.1f GB/s", name, t.median * 1e3, t.best * 1e3, bytes / t.median * 1e-9);
    /* The ceiling for reads is wall time; that for arithmetic is short enough to be undisturbed. */
    if (bench_clock == CLOCK_MONOTONIC) printf(" %4.0f%%", 100 * bytes / t.median / b->read);
    printf("  %7.1f GFLOP/s %4.0f%%\n", flop / t.median * 1e-9, 100 * flop / t.median / b->flops);
    fflush(stdout);
}

/* ---- linear layers: one, and all of a model ------------------------------------------------------------------------ */

struct linear_run {
    const struct bench *b;
    struct linear_weight *weight; /* [count] */
    int count;
    float *in, *out;
    int32_t T;
};

static void run_linears(void *arg) {
    struct linear_run *r = arg;
    static const struct batch_view view = {0};
    bool replay;
    MUST(r->b->op->step_begin(r->b->backend, &view, &replay, err));
    for (int i = 0; i < r->count; i++) {
        struct linear_params p = {
            .out = r->out, .in = r->in, .weight = &r->weight[i], .T = r->T, .out_stride = r->weight[i].N};
        if (r->weight[i].N == V && r->T > 64) p.T = 1; /* a prompt wants the logits of its last token */
        MUST(r->b->op->linear(r->b->backend, &p, err));
    }
    MUST(r->b->op->step_end(r->b->backend, err));
    MUST(r->b->op->step_wait(r->b->backend, NULL, err));
}

static const int32_t BATCHES[] = {1, 2, 4, 8, 16, 32, 64, 512};
enum { BATCH_COUNT = sizeof BATCHES / sizeof BATCHES[0] };

static double weight_bytes(const struct linear_run *r) {
    double bytes = 0;
    for (int i = 0; i < r->count; i++)
        bytes += (double)r->b->op->linear_bytes(r->b->backend, r->weight[i].type, r->weight[i].N, r->weight[i].K);
    return bytes;
}

static double linear_flop(const struct linear_run *r) {
    double flop = 0;
    for (int i = 0; i < r->count; i++)
        flop += 2.0 * r->weight[i].N * r->weight[i].K * (r->weight[i].N == V && r->T > 64 ? 1 : r->T);
    return flop;
}

static void bench_shapes(const struct bench *b, float *in, float *out) {
    static const struct {
        const char *name;
        int32_t N, K;
    } SHAPES[] = {{"qkv", 3 * D, D}, {"proj", D, D}, {"fc", F, D}, {"fc2", D, F}, {"head", V, D}};
    for (enum weight_type type = b->first_type; type <= b->last_type; type++)
        for (size_t s = 0; s < sizeof SHAPES / sizeof SHAPES[0]; s++) {
            struct linear_weight w = weight(b, type, SHAPES[s].N, SHAPES[s].K);
            for (int i = 0; i < BATCH_COUNT; i++) {
                struct linear_run r = {b, &w, 1, in, out, BATCHES[i]};
                char name[64];
                snprintf(name, sizeof name, "%s %s [%d, %d] T=%d (hot)", SHAPES[s].name, weight_type_name(type),
                         (int)w.N, (int)w.K, (int)r.T);
                if (w.N == V && r.T > 64) continue;
                report(b, name, measure(b, run_linears, &r), weight_bytes(&r), linear_flop(&r));
            }
            b->op->free(b->backend, w.data, b->op->linear_bytes(b->backend, type, w.N, w.K));
        }
}

static void bench_step(const struct bench *b, float *in, float *out, enum weight_type type) {
    enum { COUNT = 4 * L + 1 };
    struct linear_weight w[COUNT];
    for (int l = 0; l < L; l++) {
        w[4 * l] = weight(b, type, 3 * D, D);
        w[4 * l + 1] = weight(b, type, D, D);
        w[4 * l + 2] = weight(b, type, F, D);
        w[4 * l + 3] = weight(b, type, D, F);
    }
    w[COUNT - 1] = weight(b, type == WEIGHT_Q4 ? WEIGHT_Q8 : type, V, D); /* as models are packed */
    double single = 0;
    for (int i = 0; i < BATCH_COUNT; i++) {
        struct linear_run r = {b, w, COUNT, in, out, BATCHES[i]};
        struct timing t = measure(b, run_linears, &r);
        char name[64];
        if (i == 0) single = t.median;
        snprintf(name, sizeof name, "124M linears %s T=%d (x%.1f)", weight_type_name(type), (int)r.T,
                 single / t.median * r.T);
        report(b, name, t, weight_bytes(&r), linear_flop(&r));
    }
    for (int i = 0; i < COUNT; i++)
        b->op->free(b->backend, w[i].data, b->op->linear_bytes(b->backend, w[i].type, w[i].N, w[i].K));
}

/* ---- attention ----------------------------------------------------------------------------------------------------- */

struct attention_run {
    const struct bench *b;
    struct batch_view view;
    float *qkv, *out;
    bool store;
};

/* All layers' attention (and the store before it) of one step. */
static void run_attention(void *arg) {
    struct attention_run *r = arg;
    bool replay;
    MUST(r->b->op->step_begin(r->b->backend, &r->view, &replay, err));
    for (int32_t layer = 0; layer < L; layer++) {
        struct rope_store_params s = {.qkv = r->qkv, .layer = layer, .T = r->view.T, .H = H, .Hkv = H, .Dh = DH};
        struct attention_params p = {
            .out = r->out, .qkv = r->qkv, .scale = 0.125f, .layer = layer, .T = r->view.T, .H = H, .Hkv = H, .Dh = DH};
        if (r->store) MUST(r->b->op->rope_store(r->b->backend, &s, err));
        MUST(r->b->op->attention(r->b->backend, &p, err));
    }
    MUST(r->b->op->step_end(r->b->backend, err));
    MUST(r->b->op->step_wait(r->b->backend, NULL, err));
}

/* S sequences with `depth` tokens before the step's `count` each. */
static void bench_attention_case(const struct bench *b, float *qkv, float *out, int32_t S, int32_t depth,
                                 int32_t count) {
    enum { MOST = 2048 };
    static int32_t position[MOST], slot[MOST], token[MOST], query_start[MOST], page_start[MOST], page[MOST * 4];
    const int32_t size = b->info.page_tokens, pages = (depth + count + size - 1) / size;
    for (int32_t s = 0; s < S; s++) {
        for (int32_t i = 0; i < pages; i++) page[s * pages + i] = s * pages + i;
        for (int32_t i = 0; i < count; i++) {
            int32_t at = depth + i;
            position[s * count + i] = at;
            slot[s * count + i] = page[s * pages + at / size] * size + at % size;
        }
        query_start[s + 1] = (s + 1) * count;
        page_start[s + 1] = (s + 1) * pages;
    }
    struct attention_run r = {.b = b,
                              .view = {.T = S * count,
                                       .token = token,
                                       .position = position,
                                       .slot = slot,
                                       .S = S,
                                       .query_start = query_start,
                                       .page_start = page_start,
                                       .page = page},
                              .qkv = qkv,
                              .out = out,
                              .store = true};
    char name[64];
    double keys = (double)S * count * (depth + (count + 1) / 2.0), bytes = 2.0 * L * D * S * (depth + count) * 4.0;
    snprintf(name, sizeof name, "attention S=%d depth=%d T=%d", (int)S, (int)depth, (int)r.view.T);
    report(b, name, measure(b, run_attention, &r), bytes, keys * L * D * 4);
}

static void bench_attention(const struct bench *b, float *qkv, float *out) {
    bench_attention_case(b, qkv, out, 1, 0, 1);
    bench_attention_case(b, qkv, out, 1, 127, 1);
    bench_attention_case(b, qkv, out, 1, 511, 1);
    bench_attention_case(b, qkv, out, 1, 896, 1);
    bench_attention_case(b, qkv, out, 16, 256, 1);
    bench_attention_case(b, qkv, out, 64, 48, 1);
    bench_attention_case(b, qkv, out, 1, 0, 64);
    bench_attention_case(b, qkv, out, 1, 0, 512);
    bench_attention_case(b, qkv, out, 1, 512, 512);
}

/* ---- packing ------------------------------------------------------------------------------------------------------- */

static void bench_pack(const struct bench *b) {
    const size_t count = (size_t)V * D;
    float *rows = malloc(count * sizeof *rows);
    for (size_t i = 0; i < count; i++) rows[i] = (float)(i % 1021);
    for (int i = 0; i < 2 * (b->info.quantised ? WEIGHT_PACKED_COUNT : WEIGHT_TYPE_COUNT); i++) {
        enum weight_type type = (enum weight_type)(i / 2);
        struct linear_weight w = {.type = type, .N = i % 2 ? F : V, .K = i % 2 ? V * D / F : D};
        size_t bytes = b->op->linear_bytes(b->backend, type, w.N, w.K);
        w.data = b->op->alloc(b->backend, bytes);
        struct weight_piece piece = {.data = rows,
                                     .transposed = i % 2,
                                     .source_rows = (size_t)w.N,
                                     .group = (size_t)w.N,
                                     .groups = 1,
                                     .stride = (size_t)w.N};
        double start = now();
        MUST(b->op->linear_pack(b->backend, &w, &piece, 1, err));
        double first = now() - start;
        start = now();
        MUST(b->op->linear_pack(b->backend, &w, &piece, 1, err));
        double again = now() - start;
        printf("pack f32 -> %-4s %-10s %5.0f MB: %6.1f ms first, %6.1f ms again (%.1f GB/s of source)\n",
               weight_type_name(type), i % 2 ? "transposed" : "rows", (double)count * 4e-6, first * 1e3, again * 1e3,
               (double)count * 4e-9 / again);
        b->op->free(b->backend, w.data, bytes);
    }
    free(rows);
}

/* The types to run, from a name or NULL. */
static bool choose_types(struct bench *b, const char *device, const char *type) {
    bool cpu = strcmp(device, "cpu") == 0;
    b->first_type = cpu ? WEIGHT_F32 : WEIGHT_BF16;
    b->last_type = cpu ? WEIGHT_Q4 : WEIGHT_BF16;
    if (!type) return true;
    for (enum weight_type t = WEIGHT_F32; t < (cpu ? WEIGHT_PACKED_COUNT : WEIGHT_TYPE_COUNT); t++)
        if (strcmp(type, weight_type_name(t)) == 0) {
            b->first_type = b->last_type = t;
            return true;
        }
    return false;
}

int main(int argc, char **argv) {
    struct backend_options options = {0};
    const char *only = "", *device = "cpu", *only_type = NULL;
    struct bench b = {.seconds = 1.0};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--device") == 0) device = argv[i + 1];
        if (strcmp(argv[i], "--type") == 0) only_type = argv[i + 1];
        if (strcmp(argv[i], "--threads") == 0) options.threads = atoi(argv[i + 1]);
        if (strcmp(argv[i], "--instructions") == 0) options.instructions = argv[i + 1];
        if (strcmp(argv[i], "--only") == 0) only = argv[i + 1];
        if (strcmp(argv[i], "--clock") == 0 && strcmp(argv[i + 1], "cpu") == 0) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
        if (strcmp(argv[i], "--seconds") == 0) b.seconds = atof(argv[i + 1]);
    }
    tempera_error why = {0};
    b.op = backend_find(device, &why);
    if (!b.op || !choose_types(&b, device, only_type)) {
        fprintf(stderr, "bench_ops: %s\n", b.op ? "--type is f32, f16, bf16, or on the cpu q8 or q4" : why.message);
        return 1;
    }
    MUST(b.op->open(&b.backend, &options, err));
    b.op->info(b.backend, &b.info);
    struct backend_limits limits = {.L = L,
                                    .D = D,
                                    .H = H,
                                    .Hkv = H,
                                    .Dh = DH,
                                    .F = F,
                                    .V = V,
                                    .context = CONTEXT,
                                    .max_tokens = 512,
                                    .max_logits = 64,
                                    .max_branches = 64,
                                    .pages = 64 * 64,
                                    .type = b.last_type};
    limits.pages = 64 * CONTEXT / 4 / b.info.page_tokens;
    MUST(b.op->prepare(b.backend, &limits, err));
    MUST(b.op->measure(b.backend, &b.read, &b.flops, err));
    printf("%s, %s, %d threads: read %.1f GB/s, %s %.0f GFLOP/s\n", b.info.device, b.info.instructions,
           (int)b.info.threads, b.read * 1e-9, weight_type_name(b.last_type), b.flops * 1e-9);
    float *in = fill(&b, 512 * F), *out = fill(&b, 64 * (size_t)V);
    if (!*only || strcmp(only, "pack") == 0) bench_pack(&b);
    if (!*only || strcmp(only, "step") == 0)
        for (enum weight_type type = b.first_type; type <= b.last_type; type++) bench_step(&b, in, out, type);
    if (!*only || strcmp(only, "attention") == 0) bench_attention(&b, in, out);
    if (!*only || strcmp(only, "linear") == 0) bench_shapes(&b, in, out);
    MUST(b.op->measure(b.backend, &b.read, &b.flops, err));
    printf("ceilings again: read %.1f GB/s, %s %.0f GFLOP/s\n", b.read * 1e-9, weight_type_name(b.last_type),
           b.flops * 1e-9);
    b.op->close(b.backend);
    return 0;
}
