#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "backend/cuda/cuda_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/scatter.h"

/* ---- the library's functions -------------------------------------------------------------------------------------- */

/* Everything that is called, so that the library (some 500 MB on disk) is loaded only when it is needed. */
#define LIBRARY_CALLS(X)                                                                                               \
    X(Create)                                                                                                          \
    X(Destroy)                                                                                                         \
    X(GetVersion)                                                                                                      \
    X(MatmulDescCreate)                                                                                                \
    X(MatmulDescDestroy)                                                                                               \
    X(MatmulDescSetAttribute)                                                                                          \
    X(MatrixLayoutCreate)                                                                                              \
    X(MatrixLayoutDestroy)                                                                                             \
    X(MatrixLayoutSetAttribute)                                                                                        \
    X(MatmulPreferenceCreate)                                                                                          \
    X(MatmulPreferenceDestroy)                                                                                         \
    X(MatmulPreferenceSetAttribute)                                                                                    \
    X(MatmulAlgoGetHeuristic)                                                                                          \
    X(MatmulAlgoConfigGetAttribute)                                                                                    \
    X(Matmul)

struct calls {
#define X(name) __typeof__(cublasLt##name) *name;
    LIBRARY_CALLS(X)
#undef X
};

#ifdef TEMPERA_SIMT
/* The emulated library is linked in. Its time says nothing, and every run makes the same calls in the same order. */
static const bool real_time = false;

static bool load_calls(struct calls *calls) {
#define X(name) calls->name = cublasLt##name;
    LIBRARY_CALLS(X)
#undef X
    return true;
}
#else
#define STRING_OF(x) #x
#define STRING(x)    STRING_OF(x)
#define LIBRARY_FILE "libcublasLt.so." STRING(CUBLAS_VER_MAJOR)

static const bool real_time = true;

/* The library stays for the process's life. */
static bool load_calls(struct calls *calls) {
    void *file = dlopen(LIBRARY_FILE, RTLD_NOW | RTLD_LOCAL), *symbol;
    if (!file) file = dlopen("/usr/local/cuda/lib64/" LIBRARY_FILE, RTLD_NOW | RTLD_LOCAL);
    if (!file) return false;
#define X(name)                                                                                                        \
    symbol = dlsym(file, "cublasLt" #name);                                                                            \
    if (!symbol) return false;                                                                                         \
    memcpy(&calls->name, &symbol, sizeof symbol); /* POSIX lets an object pointer hold a function */
    LIBRARY_CALLS(X)
#undef X
    return true;
}
#endif

/* ---- state -------------------------------------------------------------------------------------------------------- */

enum {
    CLASSES = 3,       /* of T: up to 128, up to 512, more */
    CLASS_TESTS = 3,   /* numbers of rows that a class is tried with */
    CLASS_MOST = 2048, /* rows of a test at most */
    SHAPES = 8,        /* of one model */
    CANDIDATES = 8,    /* of the heuristic, for one class */
    TIMED_RUNS = 3,    /* of which the fastest counts */
    REMEMBERED = 256,  /* shapes in the file */
    LINE_BYTES = 1024,
    PATH_MOST = 640
};
static const int32_t class_rows[CLASSES][CLASS_TESTS] = {{65, 100, 128}, {129, 256, 512}, {513, 1000, CLASS_MOST}};

/* What is known about one shape of weight. */
struct verdict {
    enum element element;
    int32_t rows, K;   /* of the weight */
    bool fast;         /* found without the comparison */
    int32_t tried;     /* rows of the largest test */
    bool use[CLASSES]; /* algorithm is set */
    cublasLtMatmulAlgo_t algorithm[CLASSES];
};

struct matrices {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t weight, in, out;
};

struct cuda_library {
    struct cuda_backend *b;
    bool fast;
    struct calls calls;
    cublasLtHandle_t handle; /* NULL: not loaded */
    struct matrices m[3];    /* by enum element; F32 unused */
    struct verdict verdict[SHAPES];
    int32_t verdicts;
    /* With all verdicts remembered, the library is loaded while the weights are. One of another version than they were
     * found with is not used, and its file goes, so that the next start finds them again. */
    pthread_t loader;
    bool loading;
    size_t version;       /* that is expected; 0: any */
    char file[PATH_MOST]; /* what they were remembered in */
};

static int class_of(int32_t T) {
    return T <= class_rows[0][CLASS_TESTS - 1] ? 0 : T <= class_rows[1][CLASS_TESTS - 1] ? 1 : 2;
}

static const struct verdict *find_verdict(const struct cuda_library *l, enum element element, int32_t rows, int32_t K) {
    for (int32_t i = 0; i < l->verdicts; i++) {
        const struct verdict *v = &l->verdict[i];
        if (v->element == element && v->rows == rows && v->K == K) return v;
    }
    return NULL;
}

bool cuda_library_serves(const struct cuda_library *l, enum element element, int32_t rows, int32_t K, int32_t T) {
    if (!l || T <= LINEAR_SKINNY_MAX) return false;
    const struct verdict *v = find_verdict(l, element, rows, K);
    return v && v->use[class_of(T)];
}

bool cuda_library_segmented(const struct cuda_library *l, int32_t rows, int32_t K) {
    return !l->fast && linear_segments(rows, K) > 1;
}

/* ---- loading ------------------------------------------------------------------------------------------------------ */

static bool create_matrices(const struct calls *c, struct matrices *m, cudaDataType_t type) {
    const cublasOperation_t transposed = CUBLAS_OP_T;
    return !c->MatmulDescCreate(&m->product, CUBLAS_COMPUTE_32F, CUDA_R_32F) &&
           !c->MatmulDescSetAttribute(m->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) &&
           !c->MatrixLayoutCreate(&m->weight, type, 16, 16, 16) && !c->MatrixLayoutCreate(&m->in, type, 16, 16, 16) &&
           !c->MatrixLayoutCreate(&m->out, CUDA_R_32F, 16, 16, 16);
}

static void unload(struct cuda_library *l) {
    const struct calls *c = &l->calls;
    for (int i = 0; i < 3; i++) {
        struct matrices *m = &l->m[i];
        if (m->product) c->MatmulDescDestroy(m->product);
        if (m->weight) c->MatrixLayoutDestroy(m->weight);
        if (m->in) c->MatrixLayoutDestroy(m->in);
        if (m->out) c->MatrixLayoutDestroy(m->out);
        *m = (struct matrices){0};
    }
    if (l->handle) c->Destroy(l->handle);
    l->handle = NULL;
}

static void *load(void *argument) {
    struct cuda_library *l = argument;
    if (cudaSetDevice(0) != cudaSuccess || !load_calls(&l->calls)) return NULL;
    if (l->calls.Create(&l->handle) || !create_matrices(&l->calls, &l->m[ELEMENT_F16], CUDA_R_16F) ||
        !create_matrices(&l->calls, &l->m[ELEMENT_BF16], CUDA_R_16BF)) {
        unload(l);
    } else if (l->version && l->version != l->calls.GetVersion()) {
        unload(l);
        remove(l->file);
    }
    return NULL;
}

static void finish_loading(struct cuda_library *l) {
    if (l->loading) pthread_join(l->loader, NULL);
    l->loading = false;
}

/* ---- one product -------------------------------------------------------------------------------------------------- */

/* Column-major, as the library has it: out [rows, T] = weight [K, rows]ᵀ · in [K, T]. */
static cublasStatus_t set_shape(const struct calls *c, const struct matrices *m, int32_t rows, int32_t T, int32_t K,
                                int32_t operand, int32_t stride) {
    const struct {
        cublasLtMatrixLayout_t layout;
        uint64_t rows, columns;
        int64_t stride;
    } shapes[] = {{m->weight, (uint64_t)K, (uint64_t)rows, operand},
                  {m->in, (uint64_t)K, (uint64_t)T, operand},
                  {m->out, (uint64_t)rows, (uint64_t)T, stride}};
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && !status; i++) {
        status = c->MatrixLayoutSetAttribute(shapes[i].layout, CUBLASLT_MATRIX_LAYOUT_ROWS, &shapes[i].rows,
                                             sizeof shapes[i].rows);
        if (!status)
            status = c->MatrixLayoutSetAttribute(shapes[i].layout, CUBLASLT_MATRIX_LAYOUT_COLS, &shapes[i].columns,
                                                 sizeof shapes[i].columns);
        if (!status)
            status = c->MatrixLayoutSetAttribute(shapes[i].layout, CUBLASLT_MATRIX_LAYOUT_LD, &shapes[i].stride,
                                                 sizeof shapes[i].stride);
    }
    return status;
}

/* The elements of K in one call: a segment of contract G, or all. */
static int32_t call_inputs(const struct cuda_library *l, int32_t rows, int32_t K) {
    const int32_t operand = operand_stride(K), segments = l->fast ? 1 : linear_segments(rows, K);
    return (operand / 16 + segments - 1) / segments * 16;
}

/* One call for each segment: the first one sets the sums (or adds to them), the others add to them. */
static cublasStatus_t run(struct cuda_library *l, float *sums, int32_t stride, bool accumulate,
                          const struct linear_args *args, const cublasLtMatmulAlgo_t *algorithm) {
    const int32_t rows = args->gated ? 2 * args->N : args->N, operand = operand_stride(args->K);
    const int32_t inputs = call_inputs(l, rows, args->K);
    const struct matrices *m = &l->m[args->element];
    const float one = 1;
    for (int32_t k = 0; k < operand; k += inputs) {
        const int32_t count = operand - k < inputs ? operand - k : inputs;
        const float beta = k > 0 || accumulate ? 1 : 0;
        cublasStatus_t status = set_shape(&l->calls, m, rows, args->T, count, operand, stride);
        if (!status)
            status = l->calls.Matmul(l->handle, m->product, &one, (const char *)args->weight + (size_t)k * 2, m->weight,
                                     (const char *)args->in + (size_t)k * 2, m->in, &beta, sums, m->out, sums, m->out,
                                     algorithm, NULL, 0, l->b->stream);
        if (status) return status;
    }
    return CUBLAS_STATUS_SUCCESS;
}

static bool refused(cublasStatus_t status) {
    return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
           status == CUBLAS_STATUS_ARCH_MISMATCH;
}

tempera_status cuda_library_multiply(struct cuda_library *l, float *sums, int32_t stride, bool accumulate,
                                     const struct linear_args *args, bool *done, tempera_error *err) {
    const int32_t rows = args->gated ? 2 * args->N : args->N;
    *done = false;
    finish_loading(l);
    if (!l->handle || !cuda_library_serves(l, args->element, rows, args->K, args->T)) return TEMPERA_OK;
    const struct verdict *v = find_verdict(l, args->element, rows, args->K);
    cublasStatus_t status = run(l, sums, stride, accumulate, args, &v->algorithm[class_of(args->T)]);
    if (refused(status)) return TEMPERA_OK;
    *done = true;
    if (status == CUBLAS_STATUS_SUCCESS) return TEMPERA_OK;
    TRY(cuda_check(l->b, cudaGetLastError(), "a linear layer", err));
    return fail(err, TEMPERA_DEVICE, "a linear layer: cuBLASLt failed (status %d)", (int)status);
}

/* ---- the probe ---------------------------------------------------------------------------------------------------- */

#ifdef TEMPERA_SIMT
static const double PROBE_WORK = 0x1p24; /* multiply-adds of one product at most: emulated ones are slow */
#else
static const double PROBE_WORK = 0x1p50;
#endif

/* What a shape is tried on, in borrowed device memory. */
struct probe {
    struct linear_args args; /* in, weight, shape; T changes */
    float *ours, *theirs;
    uint32_t *differences;
    cudaEvent_t start, end;
};

static unsigned char *take(unsigned char **at, size_t bytes) {
    unsigned char *start = *at;
    *at += round_up(bytes, 256);
    return start;
}

/* Numbers of 8 significant bits, both signs, and exponents spread over 16 binary orders. */
static void fill_table(uint16_t table[PICK_TABLE], enum element element) {
    for (uint32_t i = 0; i < PICK_TABLE; i++) {
        const uint64_t word = scatter(i);
        const float mantissa = 1.0f + (float)(word & 127) / 128.0f, sign = word & 128 ? -1.0f : 1.0f;
        const float x = sign * mantissa * bits_float((127 - 8 + (uint32_t)(word >> 8) % 16) << 23);
        table[i] = element == ELEMENT_F16 ? float_to_f16(x) : float_to_bf16(x);
    }
}

static tempera_status fill_operand(struct cuda_backend *b, void *to, const uint16_t *table, enum element element,
                                   int32_t rows, int32_t K, uint64_t stream, tempera_error *err) {
    const struct random_args args = {.to = to,
                                     .element = element,
                                     .table = table,
                                     .stream = stream,
                                     .source_rows = (size_t)rows,
                                     .group = (size_t)rows,
                                     .groups = 1,
                                     .stride = (size_t)rows,
                                     .K = K};
    return cuda_check(b, random_launch(&args, b->stream), "the linear layers' probe", err);
}

/* Lays the probe out in `bytes` of memory and fills it, for as many rows as fit; args.T 0: too few to be of use. */
static tempera_status begin_probe(struct cuda_backend *b, struct probe *p, const struct verdict *v, int32_t most,
                                  unsigned char *memory, size_t bytes, tempera_error *err) {
    const size_t stride = (size_t)operand_stride(v->K) * 2, rows = (size_t)v->rows;
    uint16_t table[PICK_TABLE];
    unsigned char *at = memory;
    p->args.T = 0;
    size_t fixed, row = stride + 2 * rows * sizeof(float);
    if (!size_mul(rows, stride, &fixed) || !size_add(fixed, sizeof table + 5 * 256, &fixed) || fixed >= bytes)
        return TEMPERA_OK;
    const size_t fit = (bytes - fixed) / row;
    const int32_t T = fit < (size_t)most ? (int32_t)fit : most;
    if (T <= LINEAR_SKINNY_MAX) return TEMPERA_OK;
    uint16_t *on_device = (uint16_t *)(void *)take(&at, sizeof table);
    p->differences = (uint32_t *)(void *)take(&at, sizeof *p->differences);
    void *weight = take(&at, rows * stride), *in = take(&at, (size_t)T * stride);
    p->ours = (float *)(void *)take(&at, (size_t)T * rows * sizeof(float));
    p->theirs = (float *)(void *)take(&at, (size_t)T * rows * sizeof(float));
    p->args = (struct linear_args){.out = p->ours,
                                   .out_element = ELEMENT_F32,
                                   .out_stride = v->rows,
                                   .in = in,
                                   .weight = weight,
                                   .element = v->element,
                                   .scale = 1,
                                   .T = T,
                                   .N = v->rows,
                                   .K = v->K};
    fill_table(table, v->element);
    TRY(b->base.ops->upload(&b->base, on_device, table, sizeof table, err));
    TRY(fill_operand(b, weight, on_device, v->element, v->rows, v->K, 1, err));
    return fill_operand(b, in, on_device, v->element, T, v->K, 2, err);
}

/* Whether `theirs` are `ours`. */
static tempera_status compare(struct cuda_backend *b, const struct probe *p, bool *same, tempera_error *err) {
    const struct linear_compare_args args = {.a = (const uint32_t *)p->ours,
                                             .b = (const uint32_t *)p->theirs,
                                             .words = (size_t)p->args.T * (size_t)p->args.N,
                                             .differences = p->differences};
    uint32_t differences = 0;
    CUDA_TRY(b, cudaMemsetAsync(p->differences, 0, sizeof differences, b->stream), "the linear layers' probe");
    CUDA_TRY(b, linear_compare_launch(&args, b->stream), "the linear layers' probe");
    TRY(b->base.ops->download(&b->base, &differences, p->differences, sizeof differences, err));
    *same = differences == 0;
    return TEMPERA_OK;
}

/* Whether the algorithm gives our bits for this T; and when its sums are added to themselves, twice them. */
static tempera_status same_bits(struct cuda_library *l, const struct probe *p, const cublasLtMatmulAlgo_t *algorithm,
                                bool *same, tempera_error *err) {
    struct cuda_backend *b = l->b;
    const size_t bytes = (size_t)p->args.T * (size_t)p->args.N * sizeof(float);
    struct linear_args halve = p->args;
    halve.in = halve.out = p->theirs;
    halve.scale = 0.5f;
    *same = false;
    CUDA_TRY(b, cudaMemsetAsync(p->theirs, 0xFF, bytes, b->stream), "the linear layers' probe");
    if (run(l, p->theirs, p->args.N, false, &p->args, algorithm)) return TEMPERA_OK;
    TRY(compare(b, p, same, err));
    if (!*same || cuda_library_segmented(l, p->args.N, p->args.K)) return TEMPERA_OK;
    *same = false;
    if (run(l, p->theirs, p->args.N, true, &p->args, algorithm)) return TEMPERA_OK;
    CUDA_TRY(b, linear_epilogue_launch(&halve, b->stream), "the linear layers' probe");
    return compare(b, p, same, err);
}

/* Milliseconds of one product: ours, when there is no algorithm. A negative number when it fails. */
static tempera_status time_run(struct cuda_library *l, const struct probe *p, const cublasLtMatmulAlgo_t *algorithm,
                               float *best, tempera_error *err) {
    struct cuda_backend *b = l->b;
    *best = -1;
    for (int i = 0; i < TIMED_RUNS; i++) {
        float ms;
        CUDA_TRY(b, cudaEventRecord(p->start, b->stream), "the linear layers' probe");
        if (!algorithm) CUDA_TRY(b, linear_tile_launch(&p->args, b->stream), "the linear layers' probe");
        if (algorithm && run(l, p->theirs, p->args.N, false, &p->args, algorithm)) return TEMPERA_OK;
        CUDA_TRY(b, cudaEventRecord(p->end, b->stream), "the linear layers' probe");
        CUDA_TRY(b, cudaEventSynchronize(p->end), "the linear layers' probe");
        CUDA_TRY(b, cudaEventElapsedTime(&ms, p->start, p->end), "the linear layers' probe");
        if (*best < 0 || ms < *best) *best = ms;
    }
    return TEMPERA_OK;
}

/* The heuristic's candidates for p->args, without split-K and workspace. */
static int find_candidates(struct cuda_library *l, const struct probe *p,
                           cublasLtMatmulHeuristicResult_t found[CANDIDATES]) {
    const struct calls *c = &l->calls;
    const struct matrices *m = &l->m[p->args.element];
    const size_t workspace = 0;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE, operands = 16, sums = p->args.N % 4 == 0 ? 16 : 4;
    const int32_t K = call_inputs(l, p->args.N, p->args.K), operand = operand_stride(p->args.K);
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } wishes[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
                  {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &operands, sizeof operands},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &operands, sizeof operands},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &sums, sizeof sums},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &sums, sizeof sums}};
    cublasLtMatmulPreference_t preference;
    int count = 0, kept = 0;
    if (c->MatmulPreferenceCreate(&preference)) return 0;
    cublasStatus_t status = set_shape(c, m, p->args.N, p->args.T, K, operand, p->args.N);
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0] && !status; i++)
        status = c->MatmulPreferenceSetAttribute(preference, wishes[i].name, wishes[i].value, wishes[i].bytes);
    if (!status)
        status = c->MatmulAlgoGetHeuristic(l->handle, m->product, m->weight, m->in, m->out, m->out, preference,
                                           CANDIDATES, found, &count);
    c->MatmulPreferenceDestroy(preference);
    for (int i = 0; i < count && !status; i++) {
        int32_t splits = 0;
        size_t written;
        if (found[i].state || c->MatmulAlgoConfigGetAttribute(&found[i].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &splits,
                                                              sizeof splits, &written))
            continue;
        if (splits <= 1) found[kept++] = found[i];
    }
    return status ? 0 : kept;
}

/* The class's fastest candidate that passes every test, when it is faster than our kernel. */
static tempera_status probe_class(struct cuda_library *l, struct probe *p, struct verdict *v, int class, int32_t most,
                                  tempera_error *err) {
    cublasLtMatmulHeuristicResult_t found[CANDIDATES];
    bool passed[CANDIDATES];
    struct cuda_backend *b = l->b;
    p->args.T = class_rows[class][CLASS_TESTS - 1] < most ? class_rows[class][CLASS_TESTS - 1] : most;
    const bool small = (double)p->args.T * p->args.N * p->args.K <= PROBE_WORK;
    const int count = small || l->fast ? find_candidates(l, p, found) : 0;
    for (int i = 0; i < count; i++) passed[i] = true;
    for (int test = 0; count > 0 && test < CLASS_TESTS && !l->fast; test++) {
        const int32_t T = class_rows[class][test];
        p->args.T = T < most ? T : most;
        CUDA_TRY(b, linear_tile_launch(&p->args, b->stream), "the linear layers' probe");
        for (int i = 0; i < count; i++)
            if (passed[i]) TRY(same_bits(l, p, &found[i].algo, &passed[i], err));
    }
    float best = 0;
    if (count > 0 && real_time) TRY(time_run(l, p, NULL, &best, err));
    for (int i = 0; i < count; i++) {
        float ms = -1;
        if (!passed[i] || (v->use[class] && !real_time)) continue;
        if (real_time) TRY(time_run(l, p, &found[i].algo, &ms, err));
        if (real_time && (ms < 0 || ms >= best)) continue;
        best = ms;
        v->use[class] = true;
        v->algorithm[class] = found[i].algo;
    }
    return TEMPERA_OK;
}

static tempera_status probe_shape(struct cuda_library *l, struct probe *p, struct verdict *v, unsigned char *memory,
                                  size_t bytes, tempera_error *err) {
    TRY(begin_probe(l->b, p, v, v->tried, memory, bytes, err));
    const int32_t most = p->args.T;
    v->tried = most;
    for (int class = 0; class < CLASSES && class_rows[class][0] <= most; class ++)
        TRY(probe_class(l, p, v, class, most, err));
    return TEMPERA_OK;
}

/* ---- verdicts that are remembered --------------------------------------------------------------------------------- */

/* The file: a line that says what its verdicts hold for, one with the version of the library that they were found with
 * (which is known only once it is loaded), then a line for each shape:
 *     element rows K fast tried, three algorithms as hexadecimal digits or "-", checksum of the line up to here
 * A file that is not like this is as good as none, and so is a line. */
struct memory_file {
    char folder[512], path[PATH_MOST], heading[LINE_BYTES];
    size_t version; /* of the library; 0: there is no file */
};

static uint64_t checksum(const char *text, size_t length) { /* FNV-1a */
    uint64_t sum = 0xCBF29CE484222325u;
    for (size_t i = 0; i < length; i++) sum = (sum ^ (unsigned char)text[i]) * 0x100000001B3u;
    return sum;
}

/* False when there is nowhere to keep a file. */
static bool locate(struct memory_file *file, const struct cuda_library *l) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int driver = 0, length;
    if (cache && cache[0] == '/') {
        length = snprintf(file->folder, sizeof file->folder, "%s/tempera", cache);
    } else if (home && home[0] == '/') {
        length = snprintf(file->folder, sizeof file->folder, "%s/.cache/tempera", home);
    } else {
        return false;
    }
    if (length >= (int)sizeof file->folder || cudaDriverGetVersion(&driver) != cudaSuccess) return false;
    snprintf(file->heading, sizeof file->heading, "tempera linear 2, %s, toolkit %d, driver %d, %s, %s", BACKEND_BUILD,
             CUDART_VERSION, driver, l->b->architecture, l->b->device);
    snprintf(file->path, sizeof file->path, "%s/linear-%016llx", file->folder,
             (unsigned long long)checksum(file->heading, strlen(file->heading)));
    return true;
}

static size_t write_algorithm(char *to, const struct verdict *v, int class) {
    if (!v->use[class]) {
        memcpy(to, "-", 2);
        return 1;
    }
    unsigned char bytes[sizeof v->algorithm[class]];
    memcpy(bytes, &v->algorithm[class], sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(to + 2 * i, 3, "%02x", bytes[i]);
    return 2 * sizeof bytes;
}

static void write_line(char line[LINE_BYTES], const struct verdict *v) {
    size_t at = (size_t)snprintf(line, LINE_BYTES, "%d %d %d %d %d", (int)v->element, v->rows, v->K, v->fast, v->tried);
    for (int class = 0; class < CLASSES; class ++) {
        line[at++] = ' ';
        at += write_algorithm(line + at, v, class);
    }
    snprintf(line + at, LINE_BYTES - at, " %016llx\n", (unsigned long long)checksum(line, at));
}

static bool read_algorithm(const char *text, struct verdict *v, int class) {
    unsigned char bytes[sizeof v->algorithm[class]];
    v->use[class] = strcmp(text, "-") != 0;
    if (!v->use[class]) return true;
    if (strlen(text) != 2 * sizeof bytes) return false;
    for (size_t i = 0; i < sizeof bytes; i++) {
        unsigned value;
        if (sscanf(text + 2 * i, "%2x", &value) != 1) return false;
        bytes[i] = (unsigned char)value;
    }
    memcpy(&v->algorithm[class], bytes, sizeof bytes);
    return true;
}

static bool read_line(const char *line, size_t length, struct verdict *v) {
    char text[LINE_BYTES], algorithm[CLASSES][2 * sizeof v->algorithm[0] + 1];
    unsigned long long sum;
    int element, fast, end = 0;
    if (length >= sizeof text) return false;
    memcpy(text, line, length);
    text[length] = 0;
    _Static_assert(sizeof v->algorithm[0] == 64 && CLASSES == 3, "the widths below");
    if (sscanf(text, "%d %d %d %d %d %128s %128s %128s%n %llx", &element, &v->rows, &v->K, &fast, &v->tried,
               algorithm[0], algorithm[1], algorithm[2], &end, &sum) != 9)
        return false;
    if (checksum(text, (size_t)end) != sum || (element != ELEMENT_F16 && element != ELEMENT_BF16)) return false;
    v->element = (enum element)element;
    v->fast = fast == 1;
    for (int class = 0; class < CLASSES; class ++)
        if (!read_algorithm(algorithm[class], v, class)) return false;
    return true;
}

/* What the file holds; 0 verdicts when it is missing or of no use. The caller frees. */
static struct verdict *read_file(struct memory_file *file, int32_t *count) {
    char *text = NULL;
    size_t length = 0;
    *count = 0;
    file->version = 0;
    struct verdict *v = mem_array(REMEMBERED, sizeof *v);
    if (!v || file_read(file->path, (size_t)REMEMBERED * LINE_BYTES, &text, &length, NULL) != TEMPERA_OK) return v;
    const size_t heading = strlen(file->heading);
    const char *line = text, *end;
    if (length > heading && memcmp(text, file->heading, heading) == 0 &&
        sscanf(text + heading, "\nlibrary %zu", &file->version) == 1 && file->version > 0)
        for (line += heading + 1; *count < REMEMBERED && (end = strchr(line, '\n')) != NULL; line = end + 1)
            if (read_line(line, (size_t)(end - line), &v[*count])) ++*count;
    mem_free(text);
    return v;
}

/* Written beside and moved into place, so that a reader sees all of a file. Failing is fine: it is only speed. */
static void write_file(const struct memory_file *file, const struct verdict *v, int32_t count) {
    char beside[sizeof file->path + 32], line[LINE_BYTES];
    for (const char *p = strchr(file->folder + 1, '/');; p = strchr(p + 1, '/')) {
        char part[sizeof file->folder];
        const size_t length = p ? (size_t)(p - file->folder) : strlen(file->folder);
        memcpy(part, file->folder, length);
        part[length] = 0;
        mkdir(part, 0700);
        if (!p) break;
    }
    snprintf(beside, sizeof beside, "%s.%ld", file->path, (long)getpid());
    FILE *out = fopen(beside, "w");
    if (!out) return;
    bool written = fprintf(out, "%s\nlibrary %zu\n", file->heading, file->version) > 0;
    for (int32_t i = 0; i < count && written; i++) {
        write_line(line, &v[i]);
        written = fputs(line, out) >= 0;
    }
    if (fclose(out) != 0 || !written || rename(beside, file->path) != 0) remove(beside);
}

/* ---- create and free ---------------------------------------------------------------------------------------------- */

static void add_shape(struct cuda_library *l, enum element element, int32_t rows, int32_t K, int32_t most) {
    const int32_t tried = most < CLASS_MOST ? most : CLASS_MOST;
    if (find_verdict(l, element, rows, K)) return;
    l->verdict[l->verdicts++] =
        (struct verdict){.element = element, .rows = rows, .K = K, .fast = l->fast, .tried = tried};
}

/* Whether a gated model it is, the limits do not say: both forms of the MLP's first layer are tried. */
static void add_shapes(struct cuda_library *l, const struct backend_limits *limits) {
    const enum element e = (enum element)limits->type;
    add_shape(l, e, (limits->H + 2 * limits->Hkv) * limits->Dh, limits->D, limits->max_tokens);
    add_shape(l, e, limits->D, limits->H * limits->Dh, limits->max_tokens);
    add_shape(l, e, 2 * limits->F, limits->D, limits->max_tokens);
    add_shape(l, e, limits->F, limits->D, limits->max_tokens);
    add_shape(l, e, limits->D, limits->F, limits->max_tokens);
    add_shape(l, e, limits->V, limits->D, limits->max_logits);
}

/* Takes over what is remembered; true when nothing is missing. */
static bool recall(struct cuda_library *l, const struct verdict *known, int32_t count, bool recalled[SHAPES]) {
    bool all = true;
    for (int32_t i = 0; i < l->verdicts; i++) {
        struct verdict *v = &l->verdict[i];
        recalled[i] = v->tried <= LINEAR_SKINNY_MAX;
        for (int32_t j = 0; j < count && !recalled[i]; j++) {
            const struct verdict *k = &known[j];
            recalled[i] = k->element == v->element && k->rows == v->rows && k->K == v->K && k->fast == v->fast &&
                          k->tried >= v->tried;
            if (recalled[i]) *v = *k;
        }
        all = all && recalled[i];
    }
    return all;
}

static tempera_status probe_shapes(struct cuda_library *l, const struct backend_limits *limits,
                                   const bool recalled[SHAPES], tempera_error *err) {
    struct cuda_backend *b = l->b;
    struct probe p = {0};
    const size_t bytes = 2 * (size_t)limits->L * (size_t)limits->pages * b->kv_page_bytes;
    tempera_status status;
    TRY_GOTO(cuda_check(b, cudaEventCreate(&p.start), "the linear layers' probe", err));
    TRY_GOTO(cuda_check(b, cudaEventCreate(&p.end), "the linear layers' probe", err));
    for (int32_t i = 0; i < l->verdicts; i++)
        if (!recalled[i]) TRY_GOTO(probe_shape(l, &p, &l->verdict[i], b->kv, bytes, err));
    TRY_GOTO(cuda_check(b, cudaMemsetAsync(b->kv, 0, bytes, b->stream), "the linear layers' probe", err));
cleanup:
    if (p.start) cudaEventDestroy(p.start);
    if (p.end) cudaEventDestroy(p.end);
    return status;
}

/* New verdicts replace what the file said about their shapes. */
static void remember(const struct cuda_library *l, const struct memory_file *file, struct verdict *known,
                     int32_t count) {
    int32_t kept = 0;
    for (int32_t j = 0; j < count; j++) {
        bool ours = false;
        for (int32_t i = 0; i < l->verdicts; i++)
            ours = ours || (known[j].element == l->verdict[i].element && known[j].rows == l->verdict[i].rows &&
                            known[j].K == l->verdict[i].K && known[j].fast == l->verdict[i].fast);
        if (!ours) known[kept++] = known[j];
    }
    if (kept + l->verdicts > REMEMBERED) kept = 0;
    memcpy(known + kept, l->verdict, (size_t)l->verdicts * sizeof *known);
    write_file(file, known, kept + l->verdicts);
}

static bool any_use(const struct cuda_library *l) {
    for (int32_t i = 0; i < l->verdicts; i++)
        for (int class = 0; class < CLASSES; class ++)
            if (l->verdict[i].use[class]) return true;
    return false;
}

tempera_status cuda_library_create(struct cuda_library **library, struct cuda_backend *b,
                                   const struct backend_limits *limits, tempera_error *err) {
    struct memory_file file = {.version = 0};
    bool recalled[SHAPES] = {false};
    int32_t count = 0;
    struct verdict *known = NULL;
    tempera_status status = TEMPERA_OK;
    *library = NULL;
    struct cuda_library *l = mem_array(1, sizeof *l);
    if (!l) return fail_memory(err, sizeof *l, "linear layers");
    l->b = b;
    l->fast = b->fast;
    add_shapes(l, limits);
    const bool located = locate(&file, l);
    if (located) known = read_file(&file, &count);
    if (recall(l, known, count, recalled)) {
        l->version = file.version;
        if (located) memcpy(l->file, file.path, sizeof l->file);
        if (any_use(l)) l->loading = real_time && pthread_create(&l->loader, NULL, load, l) == 0;
        if (any_use(l) && !l->loading) load(l);
    } else {
        load(l);
        if (l->handle) {
            if (file.version != l->calls.GetVersion()) { /* what another version gave is no verdict on this one */
                count = l->verdicts = 0;
                add_shapes(l, limits);
                recall(l, known, count, recalled);
            }
            file.version = l->calls.GetVersion();
            TRY_GOTO(probe_shapes(l, limits, recalled, err));
            if (known) remember(l, &file, known, count);
        }
    }
    if (any_use(l)) {
        *library = l;
        l = NULL;
    }
cleanup:
    mem_free(known);
    cuda_library_free(l);
    return status;
}

void cuda_library_free(struct cuda_library *l) {
    if (!l) return;
    finish_loading(l);
    unload(l);
    mem_free(l);
}
