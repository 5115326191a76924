/* cuda_measure.c: ceilings of the device: a streaming read, and the fastest matrix product in the weights' type. */
#include "backend/cuda/cuda.h"
#include "base/num.h"
#include "base/scatter.h"

#ifdef TEMPERA_SIMT /* the emulation shows that it runs, not how fast a device is */
enum { READ_BYTES = 1 << 18, READ_ROUNDS = 2, MATRIX = 128, MATRIX_ROUNDS = 1 };
#else
enum { READ_BYTES = 1 << 30, READ_ROUNDS = 20, MATRIX = 8192, MATRIX_ROUNDS = 20 };
#endif

/* Device memory and events of one measurement. */
struct bench {
    struct cuda_backend *b;
    void *memory;
    cudaEvent_t start, stop;
};

static tempera_status bench_open(struct bench *m, struct cuda_backend *b, size_t bytes, tempera_error *err) {
    *m = (struct bench){.b = b};
    m->memory = b->base.ops->alloc(&b->base, bytes);
    if (!m->memory) return fail_memory(err, bytes, "measuring the device");
    CUDA_TRY(b, cudaEventCreate(&m->start), "measuring the device");
    return cuda_check(b, cudaEventCreate(&m->stop), "measuring the device", err);
}

static void bench_close(struct bench *m) {
    m->b->base.ops->free(&m->b->base, m->memory, 0);
    if (m->start) cudaEventDestroy(m->start);
    if (m->stop) cudaEventDestroy(m->stop);
}

/* Seconds between the two events. */
static tempera_status bench_seconds(struct bench *m, double *seconds, tempera_error *err) {
    struct cuda_backend *b = m->b;
    float milliseconds;
    CUDA_TRY(b, cudaEventSynchronize(m->stop), "measuring the device");
    CUDA_TRY(b, cudaEventElapsedTime(&milliseconds, m->start, m->stop), "measuring the device");
    *seconds = (double)milliseconds > 0 ? (double)milliseconds * 1e-3 : 1e-9;
    return TEMPERA_OK;
}

static tempera_status measure_read(struct cuda_backend *b, struct bench *m, double *rate, tempera_error *err) {
    const int32_t blocks = b->processors * 4;
    TRY(bench_open(m, b, (size_t)READ_BYTES + (size_t)blocks * sizeof(uint32_t), err));
    const struct read_args args = {.memory = m->memory,
                                   .words = READ_BYTES / sizeof(uint32_t),
                                   .out = (uint32_t *)m->memory + READ_BYTES / sizeof(uint32_t),
                                   .blocks = blocks};
    for (int round = 0; round <= READ_ROUNDS; round++) { /* the first warms up */
        if (round == 1) CUDA_TRY(b, cudaEventRecord(m->start, b->stream), "measuring the device");
        CUDA_TRY(b, read_launch(&args, b->stream), "measuring the device");
    }
    CUDA_TRY(b, cudaEventRecord(m->stop, b->stream), "measuring the device");
    double seconds;
    TRY(bench_seconds(m, &seconds, err));
    *rate = (double)READ_BYTES * READ_ROUNDS / seconds;
    return TEMPERA_OK;
}

/* Random values in [-1, 1): a product of zeros draws less power, and runs faster, than any real one. */
static tempera_status fill_random(struct cuda_backend *b, void *to, size_t count, void *table, enum weight_type type,
                                  tempera_error *err) {
    union {
        float f32[PICK_TABLE];
        uint16_t half[PICK_TABLE];
    } host;
    const size_t size = weight_type_size(type);
    for (uint32_t i = 0; i < PICK_TABLE; i++) {
        const float value = (float)(int32_t)(i * 2654435761u) * 0x1p-31f;
        if (type == WEIGHT_F32)
            host.f32[i] = value;
        else
            host.half[i] = type == WEIGHT_F16 ? float_to_f16(value) : float_to_bf16(value);
    }
    TRY(b->base.ops->upload(&b->base, table, &host, PICK_TABLE * size, err));
    const size_t rows = count / MATRIX;
    const struct random_args args = {.to = to,
                                     .element = (enum element)type,
                                     .table = table,
                                     .stream = 1,
                                     .source_rows = rows,
                                     .group = rows,
                                     .groups = 1,
                                     .stride = rows,
                                     .K = MATRIX};
    return cuda_check(b, random_launch(&args, b->stream), "measuring the device", err);
}

static tempera_status measure_product(struct cuda_backend *b, struct bench *m, double *rate, tempera_error *err) {
    const enum weight_type type = b->limits.type;
    const size_t matrix = cuda_operand_bytes(&b->base, type, MATRIX) * MATRIX;
    TRY(bench_open(m, b, 2 * matrix + (size_t)MATRIX * MATRIX * sizeof(float), err));
    char *memory = m->memory;
    const struct linear_args args = {.out = memory + 2 * matrix,
                                     .out_element = ELEMENT_F32,
                                     .out_stride = MATRIX,
                                     .in = memory,
                                     .weight = memory + matrix,
                                     .element = (enum element)type,
                                     .scale = 1,
                                     .T = MATRIX,
                                     .N = MATRIX,
                                     .K = MATRIX};
    /* The table lies where the product goes. */
    TRY(fill_random(b, memory, 2 * matrix / weight_type_size(type), args.out, type, err));
    for (int round = 0; round <= MATRIX_ROUNDS; round++) {
        if (round == 1) CUDA_TRY(b, cudaEventRecord(m->start, b->stream), "measuring the device");
        TRY(cuda_multiply(b, &args, err));
    }
    CUDA_TRY(b, cudaEventRecord(m->stop, b->stream), "measuring the device");
    double seconds;
    TRY(bench_seconds(m, &seconds, err));
    *rate = 2.0 * MATRIX * MATRIX * MATRIX * MATRIX_ROUNDS / seconds;
    return TEMPERA_OK;
}

tempera_status cuda_measure(struct backend *backend, double *read_bytes_per_second, double *flops, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    if (!b->prepared) return fail(err, TEMPERA_INVALID_ARGUMENT, "measure: before prepare");
    struct bench m;
    tempera_status status = measure_read(b, &m, read_bytes_per_second, err);
    bench_close(&m);
    TRY(status);
    const bool fast = b->fast;
    b->fast = true; /* the ceiling is what the fastest algorithm reaches */
    status = measure_product(b, &m, flops, err);
    b->fast = fast;
    bench_close(&m);
    return status;
}
