/* cpu_measure.c: the ceilings that reports compare with. */
#include <string.h>
#include <time.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_quant.h"
#include "base/mem.h"

enum { READ_BYTES = 512 << 20, READ_PASSES = 6, READ_PIECES = 64, FMA_PASSES = 6, FMA_ROUNDS = 1 << 20, BLOCK = 512 };

struct measure_job {
    const struct cpu_kernels *kernels;
    struct cpu_multiply_add multiply_add;
    float *buffer; /* [count] */
    size_t count;
    volatile double sink; /* keeps the work from being optimised away; its value is of no interest */
};

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static size_t piece_start(const struct measure_job *job, int part, int parts) {
    return job->count / BLOCK * (size_t)part / (size_t)parts * BLOCK;
}

static void fill_part(void *arg, int part, int parts) {
    struct measure_job *job = arg;
    size_t start = piece_start(job, part, parts), end = piece_start(job, part + 1, parts);
    for (size_t i = start; i < end; i++) job->buffer[i] = 1.0f;
}

static void read_part(void *arg, int part, int parts) {
    struct measure_job *job = arg;
    size_t start = piece_start(job, part, parts), end = piece_start(job, part + 1, parts);
    if (job->kernels->read_memory(job->buffer + start, end - start) < 0) job->sink = 1;
}

static void multiply_add_part(void *arg, int part, int parts) {
    struct measure_job *job = arg;
    (void)part, (void)parts;
    if (job->multiply_add.run(FMA_ROUNDS) < 0) job->sink = 1;
}

/* What products with the weights are made of; before prepare, with F32 ones. */
static struct cpu_multiply_add multiply_add_of(const struct cpu_backend *b) {
    const enum weight_type type = b->workspace ? b->limits.type : WEIGHT_F32;
    if (cpu_is_quantised(type)) return b->quant->multiply_add;
    return type == WEIGHT_BF16 && b->kernels->pack_pairs ? b->kernels->pairs : b->kernels->fp32;
}

static double best_seconds(struct cpu_backend *b, pool_body *body, struct measure_job *job, int parts, int passes) {
    double best = 0;
    for (int i = 0; i < passes; i++) {
        double start = seconds_now();
        pool_run(b->pool, body, job, parts);
        double taken = seconds_now() - start;
        if (i == 0 || taken < best) best = taken;
    }
    return best > 0 ? best : 1e-9;
}

tempera_status cpu_measure(struct backend *backend, double *read_bytes_per_second, double *flops, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    struct measure_job job = {.kernels = b->kernels,
                              .multiply_add = multiply_add_of(b),
                              .buffer = mem_slab(READ_BYTES),
                              .count = READ_BYTES / sizeof(float)};
    if (!job.buffer) return fail_memory(err, READ_BYTES, "the bandwidth measurement");
    pool_run(b->pool, fill_part, &job, b->threads * READ_PIECES);
    *read_bytes_per_second = READ_BYTES / best_seconds(b, read_part, &job, b->threads * READ_PIECES, READ_PASSES);
    mem_slab_free(job.buffer, READ_BYTES);
    *flops = b->threads * (double)FMA_ROUNDS * job.multiply_add.operations /
             best_seconds(b, multiply_add_part, &job, b->threads, FMA_PASSES);
    return TEMPERA_OK;
}
