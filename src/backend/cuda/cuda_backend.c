/* cuda_backend.c: the table of ops, and the ops that only manage: open and close, buffers, copies to and from the host. */
#include <stdio.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/mem.h"

#ifdef TEMPERA_SIMT
#define BACKEND_NAME "simt"
#else
#define BACKEND_NAME "cuda"
#endif

_Static_assert((int)ELEMENT_F32 == (int)WEIGHT_F32 && (int)ELEMENT_F16 == (int)WEIGHT_F16 &&
                   (int)ELEMENT_BF16 == (int)WEIGHT_BF16,
               "kernels.h and backend.h number the element types alike");
_Static_assert((int)KERNEL_NONE == (int)ACT_NONE && (int)KERNEL_GELU_ERF == (int)ACT_GELU_ERF &&
                   (int)KERNEL_GELU_TANH == (int)ACT_GELU_TANH && (int)KERNEL_SILU == (int)ACT_SILU &&
                   (int)KERNEL_RELU == (int)ACT_RELU && (int)KERNEL_LAYER_NORM == (int)NORM_LAYER &&
                   (int)KERNEL_RMS_NORM == (int)NORM_RMS,
               "kernels.h and backend.h number activations and norms alike");

/* ---- errors ------------------------------------------------------------------------------------------------------ */

tempera_status cuda_check(struct cuda_backend *b, cudaError_t error, const char *what, tempera_error *err) {
    if (error == cudaSuccess && !b->failed) return TEMPERA_OK;
    if (error == cudaSuccess) return fail(err, TEMPERA_DEVICE, "%s: the device failed earlier", what);
    cudaGetLastError(); /* what is not sticky ends here */
    if (error == cudaErrorMemoryAllocation)
        return fail(err, TEMPERA_OUT_OF_MEMORY, "%s: the device is out of memory", what);
    b->failed = true;
    return fail(err, TEMPERA_DEVICE, "%s: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

enum { LEAST_CAPABILITY = 80, LEAST_DRIVER = 12040 };

/* Why there is no usable device, or TEMPERA_OK. */
static tempera_status check_device(int *count, tempera_error *err) {
    int driver = 0;
    cudaError_t error = cudaDriverGetVersion(&driver);
    if (error != cudaSuccess || driver == 0)
        return fail(err, TEMPERA_DEVICE, "device " BACKEND_NAME ": no NVIDIA driver was found");
    if (driver < LEAST_DRIVER)
        return fail(err, TEMPERA_DEVICE,
                    "device " BACKEND_NAME
                    ": the driver supports CUDA %d.%d; at least %d.%d is needed: update the driver",
                    driver / 1000, driver % 1000 / 10, LEAST_DRIVER / 1000, LEAST_DRIVER % 1000 / 10);
    error = cudaGetDeviceCount(count);
    if (error == cudaSuccess && *count > 0) return TEMPERA_OK;
    cudaGetLastError();
    return fail(err, TEMPERA_DEVICE, "device " BACKEND_NAME ": %s",
                error == cudaSuccess || error == cudaErrorNoDevice ? "no GPU was found" : cudaGetErrorString(error));
}

static tempera_status describe(struct cuda_backend *b, tempera_error *err) {
    struct cudaDeviceProp properties;
    CUDA_TRY(b, cudaGetDeviceProperties(&properties, 0), "reading the device's properties");
    int capability = properties.major * 10 + properties.minor;
    snprintf(b->device, sizeof b->device, "%.*s", (int)sizeof b->device - 1, properties.name);
    snprintf(b->architecture, sizeof b->architecture, "sm_%d", capability);
    b->processors = properties.multiProcessorCount;
    b->capability = capability;
    if (capability >= LEAST_CAPABILITY) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED,
                "device " BACKEND_NAME ": %s has compute capability %d.%d; at least %d.%d is needed", b->device,
                properties.major, properties.minor, LEAST_CAPABILITY / 10, LEAST_CAPABILITY % 10);
}

static tempera_status create_stream(struct cuda_backend *b, tempera_error *err) {
    CUDA_TRY(b, cudaSetDevice(0), "device " BACKEND_NAME);
    TRY(describe(b, err));
    CUDA_TRY(b, cudaStreamCreateWithFlags(&b->stream, cudaStreamNonBlocking), "creating a stream");
    for (int i = 0; i < CUDA_STEPS; i++)
        CUDA_TRY(b, cudaEventCreateWithFlags(&b->in_flight[i].done, cudaEventDisableTiming), "creating an event");
    CUDA_TRY(b, cudaEventCreateWithFlags(&b->copies_taken, cudaEventDisableTiming), "creating an event");
    kernels_overlap_launches(b->capability >= 90);
    return TEMPERA_OK;
}

static void cuda_close(struct backend *backend) {
    if (!backend) return;
    struct cuda_backend *b = cuda_backend_of(backend);
    if (b->stream) cudaStreamSynchronize(b->stream); /* a step may be in flight; its error has no reader any more */
    cuda_release(b);
    cuda_pack_free(b->pack);
    for (int i = 0; i < CUDA_STEPS; i++)
        if (b->in_flight[i].done) cudaEventDestroy(b->in_flight[i].done);
    if (b->copies_taken) cudaEventDestroy(b->copies_taken);
    if (b->stream) cudaStreamDestroy(b->stream);
    mem_free(b);
}

static tempera_status cuda_open(struct backend **backend, const struct backend_options *options, tempera_error *err) {
    int count = 0;
    *backend = NULL;
    TRY(check_device(&count, err));
    struct cuda_backend *b = mem_array(1, sizeof *b);
    if (!b) return fail_memory(err, sizeof *b, "the " BACKEND_NAME " backend");
    b->base.ops = &cuda_backend_ops;
    b->fast = options && options->fast;
    tempera_status status = create_stream(b, err);
    if (status != TEMPERA_OK) {
        cuda_close(&b->base);
        return status;
    }
    *backend = &b->base;
    return TEMPERA_OK;
}

static void cuda_info(const struct backend *backend, struct backend_info *info) {
    const struct cuda_backend *b = (const struct cuda_backend *)backend;
    *info = (struct backend_info){
        .name = BACKEND_NAME, .threads = 1, .page_tokens = KV_PAGE_TOKENS, .run_ahead = true, .makes_random = true};
    snprintf(info->device, sizeof info->device, "%s", b->device);
    snprintf(info->instructions, sizeof info->instructions, "%s", b->architecture);
    if (cudaMemGetInfo(&info->memory_free, &info->memory_total) != cudaSuccess)
        info->memory_free = info->memory_total = 0;
}

/* ---- buffers ------------------------------------------------------------------------------------------------------ */

static void *cuda_alloc(struct backend *backend, size_t bytes) {
    struct cuda_backend *b = cuda_backend_of(backend);
    void *buffer = NULL;
    if (b->failed) return NULL;
    if (cuda_check(b, cudaMalloc(&buffer, bytes ? bytes : 1), "cudaMalloc", NULL) != TEMPERA_OK) return NULL;
    if (cuda_check(b, cudaMemsetAsync(buffer, 0, bytes ? bytes : 1, b->stream), "cudaMemset", NULL) == TEMPERA_OK)
        return buffer;
    cudaFree(buffer);
    return NULL;
}

static void cuda_free(struct backend *backend, void *buffer, size_t bytes) {
    struct cuda_backend *b = cuda_backend_of(backend);
    (void)bytes;
    if (!buffer) return;
    cudaStreamSynchronize(b->stream);
    cudaFree(buffer);
}

static tempera_status cuda_upload(struct backend *backend, void *to, const void *from, size_t bytes,
                                  tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    if (bytes == 0) return TEMPERA_OK;
    CUDA_TRY(b, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, b->stream), "copying to the device");
    return cuda_check(b, cudaStreamSynchronize(b->stream), "copying to the device", err);
}

static tempera_status cuda_download(struct backend *backend, void *to, const void *from, size_t bytes,
                                    tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    if (bytes == 0) return TEMPERA_OK;
    CUDA_TRY(b, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, b->stream), "copying from the device");
    return cuda_check(b, cudaStreamSynchronize(b->stream), "copying from the device", err);
}

const struct backend_ops cuda_backend_ops = {
    .name = BACKEND_NAME,
    .open = cuda_open,
    .close = cuda_close,
    .info = cuda_info,
    .sizes = cuda_sizes,
    .prepare = cuda_prepare,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .operand_bytes = cuda_operand_bytes,
    .linear_bytes = cuda_linear_bytes,
    .linear_pack = cuda_linear_pack,
    .step_begin = cuda_step_begin,
    .step_end = cuda_step_end,
    .step_wait = cuda_step_wait,
    .embed = cuda_embed,
    .norm = cuda_norm,
    .linear = cuda_linear,
    .gate = cuda_gate,
    .rope_store = cuda_rope_store,
    .attention = cuda_attention,
    .logits = cuda_logits,
    .draw = cuda_draw_op,
    .copy_pages = cuda_copy_pages,
    .measure = cuda_measure,
};

/* The module's one symbol: the backend, when the caller was built from the same sources. */
__attribute__((visibility("default"))) const struct backend_ops *tempera_backend_module(const char *build);

const struct backend_ops *tempera_backend_module(const char *build) {
    return strcmp(build, BACKEND_BUILD) == 0 ? &cuda_backend_ops : NULL;
}
