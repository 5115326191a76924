// test_simt_runtime.cpp: the emulated runtime keeps CUDA's promises about time, memory, graphs and errors, and shows the
// mistakes that it is there to show.
#include <criterion/criterion.h>
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "simt_runtime.h"

#ifdef SIMT_SANITIZE
#include <sanitizer/asan_interface.h>
#endif

namespace {

enum { COUNT = 1000 };
constexpr size_t BYTES = COUNT * sizeof(int32_t);

// A stream, device buffers and pinned ones; everything is given back at the end.
struct Fixture {
    cudaStream_t stream = nullptr, other = nullptr;
    cudaEvent_t event = nullptr;
    int32_t *device = nullptr, *second = nullptr, *pinned = nullptr, *result = nullptr;

    Fixture() {
        ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        ok(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
        ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
        ok(cudaMalloc((void **)&device, BYTES));
        ok(cudaMalloc((void **)&second, BYTES));
        ok(cudaMallocHost((void **)&pinned, BYTES));
        ok(cudaHostAlloc((void **)&result, BYTES, cudaHostAllocDefault));
    }
    ~Fixture() {
        cudaFree(device), cudaFree(second), cudaFreeHost(pinned), cudaFreeHost(result);
        cudaEventDestroy(event);
        cudaStreamDestroy(stream), cudaStreamDestroy(other);
        cr_expect_eq(simt_live_objects(), 0u);
        cr_expect_eq(simt_memory_used(), 0u);
    }
    static void ok(cudaError_t error) {
        cr_assert_eq(error, cudaSuccess, "%s: %s", cudaGetErrorName(error), simt_last_error());
    }

    void fill(int32_t *host, int32_t value) {
        for (int i = 0; i < COUNT; i++) host[i] = value + i;
    }
    bool holds(const int32_t *host, int32_t value) {
        for (int i = 0; i < COUNT; i++)
            if (host[i] != value + i) return false;
        return true;
    }
};

// Whether the buffer holds the numbers from value on, by a blocking copy.
bool device_holds(Fixture &f, const int32_t *device, int32_t value) {
    std::vector<int32_t> host(COUNT);
    f.ok(cudaMemcpyAsync(host.data(), device, BYTES, cudaMemcpyDeviceToHost, f.stream));
    return f.holds(host.data(), value);
}

} // namespace

Test(simt_runtime, device_memory_starts_as_nonsense_and_has_its_exact_size) {
    Fixture f;
    std::vector<int32_t> host(COUNT);
    f.ok(cudaMemcpyAsync(host.data(), f.device, BYTES, cudaMemcpyDeviceToHost, f.stream));
    for (int32_t word : host) cr_assert_eq(word, -1);
    cr_assert_eq((uintptr_t)f.device % 256, 0u);
    size_t free_bytes = 0, total = 0;
    f.ok(cudaMemGetInfo(&free_bytes, &total));
    cr_assert_eq(total - free_bytes, 2 * BYTES);
#ifdef SIMT_SANITIZE
    cr_assert(__asan_address_is_poisoned(f.device), "the host must not read device memory");
    cr_assert(__asan_address_is_poisoned((char *)f.device + BYTES - 1));
    cr_assert_not(__asan_address_is_poisoned(f.pinned));
#endif
}

Test(simt_runtime, pinned_memory_is_read_when_the_copy_runs) {
    Fixture f;
    f.fill(f.pinned, 10);
    f.ok(cudaMemcpyAsync(f.device, f.pinned, BYTES, cudaMemcpyHostToDevice, f.stream));
    f.fill(f.pinned, 20); // the mistake: reused before the stream was waited for
    cr_assert(device_holds(f, f.device, 20));
}

Test(simt_runtime, pageable_memory_is_read_at_the_call) {
    Fixture f;
    std::vector<int32_t> host(COUNT);
    f.fill(host.data(), 10);
    f.ok(cudaMemcpyAsync(f.device, host.data(), BYTES, cudaMemcpyHostToDevice, f.stream));
    f.fill(host.data(), 20);
    cr_assert(device_holds(f, f.device, 10));
}

Test(simt_runtime, nothing_arrives_before_the_stream_is_waited_for) {
    Fixture f;
    f.fill(f.pinned, 10);
    memset(f.result, 0, BYTES);
    f.ok(cudaMemcpyAsync(f.device, f.pinned, BYTES, cudaMemcpyHostToDevice, f.stream));
    f.ok(cudaMemcpyAsync(f.result, f.device, BYTES, cudaMemcpyDeviceToHost, f.stream));
    cr_assert_not(f.holds(f.result, 10));
    f.ok(cudaStreamSynchronize(f.stream));
    cr_assert(f.holds(f.result, 10));
}

Test(simt_runtime, streams_run_in_any_order_unless_an_event_orders_them) {
    bool before = false, after = false;
    for (int round = 0; round < 64; round++) {
        Fixture f;
        f.fill(f.pinned, 10);
        f.ok(cudaMemsetAsync(f.second, 0, BYTES, f.other));
        f.ok(cudaStreamSynchronize(f.other));
        f.ok(cudaMemcpyAsync(f.second, f.pinned, BYTES, cudaMemcpyHostToDevice, f.stream));
        f.ok(cudaMemcpyAsync(f.result, f.second, BYTES, cudaMemcpyDeviceToHost, f.other)); // no event
        f.ok(cudaDeviceSynchronize());
        (f.holds(f.result, 10) ? after : before) = true;

        f.fill(f.pinned, 30);
        f.ok(cudaMemcpyAsync(f.second, f.pinned, BYTES, cudaMemcpyHostToDevice, f.stream));
        f.ok(cudaEventRecord(f.event, f.stream));
        f.ok(cudaStreamWaitEvent(f.other, f.event, 0));
        f.ok(cudaMemcpyAsync(f.result, f.second, BYTES, cudaMemcpyDeviceToHost, f.other));
        f.ok(cudaStreamSynchronize(f.other));
        cr_assert(f.holds(f.result, 30));
    }
    cr_assert(before && after, "both orders must occur without an event");
}

Test(simt_runtime, a_record_counts_from_its_call) {
    Fixture f;
    f.fill(f.pinned, 10);
    f.ok(cudaEventRecord(f.event, f.stream));
    f.ok(cudaMemcpyAsync(f.device, f.pinned, BYTES, cudaMemcpyHostToDevice, f.stream));
    f.ok(cudaEventSynchronize(f.event)); // not the copy
    f.fill(f.pinned, 20);
    f.ok(cudaEventRecord(f.event, f.stream));
    f.ok(cudaEventSynchronize(f.event));
    cr_assert(device_holds(f, f.device, 20));
}

Test(simt_runtime, polling_comes_to_an_end) {
    Fixture f;
    f.ok(cudaMemsetAsync(f.device, 0, BYTES, f.stream));
    f.ok(cudaEventRecord(f.event, f.stream));
    cr_assert_eq(cudaEventQuery(f.event), cudaErrorNotReady);
    int polls = 0;
    while (cudaEventQuery(f.event) == cudaErrorNotReady) cr_assert_lt(++polls, 100);
    f.ok(cudaStreamQuery(f.stream));
}

Test(simt_runtime, events_measure_time) {
    Fixture f;
    cudaEvent_t begin, end;
    float ms = -1;
    f.ok(cudaEventCreate(&begin)), f.ok(cudaEventCreate(&end));
    f.ok(cudaEventRecord(begin, f.stream));
    f.ok(cudaMemsetAsync(f.device, 0, BYTES, f.stream));
    f.ok(cudaEventRecord(end, f.stream));
    cr_assert_eq(cudaEventElapsedTime(&ms, begin, end), cudaErrorNotReady);
    f.ok(cudaEventSynchronize(end));
    f.ok(cudaEventElapsedTime(&ms, begin, end));
    cr_assert(ms >= 0 && ms < 1000);
    cr_assert_eq(cudaEventElapsedTime(&ms, begin, f.event), cudaErrorInvalidResourceHandle);
    f.ok(cudaEventDestroy(begin)), f.ok(cudaEventDestroy(end));
}

Test(simt_runtime, the_null_stream_and_blocking_streams_take_turns) {
    for (int round = 0; round < 16; round++) {
        Fixture f;
        cudaStream_t blocking;
        f.ok(cudaStreamCreate(&blocking));
        f.fill(f.pinned, 10);
        f.ok(cudaMemcpyAsync(f.device, f.pinned, BYTES, cudaMemcpyHostToDevice, blocking));
        f.ok(cudaMemcpy(f.second, f.device, BYTES, cudaMemcpyDeviceToDevice));
        f.ok(cudaMemcpyAsync(f.result, f.second, BYTES, cudaMemcpyDeviceToHost, blocking));
        f.ok(cudaStreamSynchronize(blocking));
        cr_assert(f.holds(f.result, 10));
        f.ok(cudaStreamDestroy(blocking));
    }
}

Test(simt_runtime, copies_are_checked) {
    Fixture f;
    std::vector<int32_t> host(COUNT + 1);
    struct {
        void *to;
        const void *from;
        size_t bytes;
        cudaMemcpyKind kind;
    } wrong[] = {
        {f.device, host.data(), BYTES + 1, cudaMemcpyHostToDevice},
        {f.device + 1, host.data(), BYTES, cudaMemcpyHostToDevice},
        {host.data(), f.device, BYTES + 4, cudaMemcpyDeviceToHost},
        {f.device, host.data(), BYTES, cudaMemcpyDeviceToDevice},
        {host.data(), f.device, BYTES, cudaMemcpyHostToDevice},
        {f.device, f.second, BYTES, cudaMemcpyHostToDevice},
        {f.pinned + 1, f.device, BYTES, cudaMemcpyDeviceToHost},
        {f.device, nullptr, BYTES, cudaMemcpyHostToDevice},
    };
    for (auto &copy : wrong) {
        cr_expect_eq(cudaMemcpyAsync(copy.to, copy.from, copy.bytes, copy.kind, f.stream), cudaErrorInvalidValue,
                     "case %d", (int)(&copy - wrong));
        cr_expect_eq(cudaGetLastError(), cudaErrorInvalidValue);
        cr_expect_eq(cudaGetLastError(), cudaSuccess);
    }
    cr_expect_eq(cudaMemsetAsync(f.device, 0, BYTES + 1, f.stream), cudaErrorInvalidValue);
    cr_expect_eq(cudaMemsetAsync(host.data(), 0, 4, f.stream), cudaErrorInvalidValue);
    cr_expect_eq(cudaFree(f.device + 1), cudaErrorInvalidValue);
    cr_expect_eq(cudaFree(f.pinned), cudaErrorInvalidValue);
    f.ok(cudaMemcpyAsync(f.device, host.data(), 0, cudaMemcpyHostToDevice, f.stream));
}

Test(simt_runtime, handles_are_checked) {
    Fixture f;
    cudaStream_t stream;
    f.ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    f.ok(cudaStreamDestroy(stream));
    cr_expect_eq(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
    cr_expect_eq(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
    cr_expect_eq(cudaMemsetAsync(f.device, 0, 4, stream), cudaErrorInvalidResourceHandle);
    cudaEvent_t event;
    f.ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    f.ok(cudaEventDestroy(event));
    cr_expect_eq(cudaEventRecord(event, f.stream), cudaErrorInvalidResourceHandle);
}

Test(simt_runtime, memory_is_limited) {
    setenv("TEMPERA_SIMT_MEMORY", "100000", 1);
    void *p = nullptr, *q = nullptr;
    cr_assert_eq(cudaMalloc(&p, 60000), cudaSuccess);
    cr_assert_eq(cudaMalloc(&q, 60000), cudaErrorMemoryAllocation);
    cr_assert_null(q);
    cr_assert_eq(cudaMalloc(&q, 40000), cudaSuccess);
    cr_assert_eq(cudaFree(p), cudaSuccess);
    cr_assert_eq(cudaFree(q), cudaSuccess);
    cr_assert_eq(cudaMalloc(&p, SIZE_MAX), cudaErrorMemoryAllocation);
}

Test(simt_runtime, the_device_is_what_the_environment_says) {
    setenv("TEMPERA_SIMT_CAPABILITY", "7.5", 1);
    setenv("TEMPERA_SIMT_PROCESSORS", "17", 1);
    struct cudaDeviceProp properties;
    int count = 0, value = 0;
    cr_assert_eq(cudaGetDeviceCount(&count), cudaSuccess);
    cr_assert_eq(count, 1);
    cr_assert_eq(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
    cr_assert(properties.major == 7 && properties.minor == 5 && properties.multiProcessorCount == 17);
    cr_assert_eq(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), cudaSuccess);
    cr_assert_eq(value, 64 * 1024);
    cr_assert_eq(cudaSetDevice(1), cudaErrorInvalidDevice);
}

Test(simt_runtime, no_device) {
    setenv("TEMPERA_SIMT_DEVICES", "0", 1);
    int count = 7;
    void *p;
    cr_assert_eq(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    cr_assert_eq(count, 0);
    cr_assert_eq(cudaMalloc(&p, 4), cudaErrorNoDevice);
}

Test(simt_runtime, old_driver) {
    setenv("TEMPERA_SIMT_DRIVER", "12020", 1);
    int count = 7, version = 0;
    cr_assert_eq(cudaDriverGetVersion(&version), cudaSuccess);
    cr_assert_eq(version, 12020);
    cr_assert_eq(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
}

// ---- graphs ----

Test(simt_runtime, a_graph_replays_what_was_captured) {
    Fixture f;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    size_t nodes = 0;
    cudaStreamCaptureStatus status;
    f.ok(cudaStreamBeginCapture(f.stream, cudaStreamCaptureModeThreadLocal));
    f.ok(cudaMemcpyAsync(f.device, f.pinned, BYTES, cudaMemcpyHostToDevice, f.stream));
    f.ok(cudaMemcpyAsync(f.result, f.device, BYTES, cudaMemcpyDeviceToHost, f.stream));
    f.ok(cudaStreamIsCapturing(f.stream, &status));
    cr_assert_eq(status, cudaStreamCaptureStatusActive);
    f.ok(cudaStreamEndCapture(f.stream, &graph));
    f.ok(cudaGraphGetNodes(graph, nullptr, &nodes));
    cr_assert_eq(nodes, 2u);
    f.ok(cudaGraphInstantiate(&exec, graph, 0));
    f.ok(cudaGraphDestroy(graph));
    f.ok(cudaStreamSynchronize(f.stream));
    cr_assert_eq(f.result[0], -1, "captured work does not run");
    for (int32_t round = 0; round < 3; round++) {
        f.fill(f.pinned, 100 * round);
        f.ok(cudaGraphLaunch(exec, f.stream));
        f.ok(cudaStreamSynchronize(f.stream));
        cr_assert(f.holds(f.result, 100 * round));
    }
    f.ok(cudaGraphExecDestroy(exec));
}

Test(simt_runtime, capture_forbids_waiting) {
    Fixture f;
    std::vector<int32_t> host(COUNT);
    void *p = nullptr;
    for (int which = 0; which < 9; which++) {
        cudaGraph_t graph = nullptr;
        cudaError_t error = cudaSuccess;
        f.ok(cudaStreamBeginCapture(f.stream, cudaStreamCaptureModeThreadLocal));
        f.ok(cudaMemsetAsync(f.device, 0, BYTES, f.stream));
        switch (which) {
        case 0: error = cudaStreamSynchronize(f.stream); break;
        case 1: error = cudaDeviceSynchronize(); break;
        case 2: error = cudaMalloc(&p, 4); break;
        case 3: error = cudaMemcpy(f.device, f.second, BYTES, cudaMemcpyDeviceToDevice); break;
        case 4: error = cudaMemsetAsync(f.device, 0, BYTES, nullptr); break;
        case 5: error = cudaMemcpyAsync(f.device, host.data(), BYTES, cudaMemcpyHostToDevice, f.stream); break;
        case 6: error = cudaMemcpyAsync(host.data(), f.device, BYTES, cudaMemcpyDeviceToHost, f.stream); break;
        case 7: error = cudaStreamQuery(f.stream); break;
        case 8:
            f.ok(cudaEventRecord(f.event, f.stream));
            error = cudaStreamWaitEvent(f.other, f.event, 0);
            break;
        }
        cr_expect_neq(error, cudaSuccess, "case %d", which);
        cr_expect_eq(cudaStreamEndCapture(f.stream, &graph), cudaErrorStreamCaptureInvalidated, "case %d", which);
        cr_expect_null(graph);
    }
    f.ok(cudaMemsetAsync(f.device, 0, BYTES, f.stream)); // the stream is usable again
    f.ok(cudaStreamSynchronize(f.stream));
}

// ---- faults ----

Test(simt_runtime, the_chosen_call_fails_once) {
    Fixture f;
    void *p = nullptr;
    uint64_t before = simt_calls();
    simt_fail_call(2, false);
    f.ok(cudaMemsetAsync(f.device, 0, BYTES, f.stream));
    cr_assert_eq(cudaMalloc(&p, 4), cudaErrorMemoryAllocation);
    cr_assert_null(p);
    f.ok(cudaMalloc(&p, 4));
    cr_assert_eq(simt_calls() - before, 3u);
    simt_fail_call(1, false);
    cr_assert_eq(cudaFree(p), cudaErrorUnknown);
    cr_assert_eq(simt_memory_used(), 2 * BYTES, "what fails to be freed is freed all the same");
}

Test(simt_runtime, a_lost_device_stays_lost) {
    {
        Fixture f;
        f.ok(cudaMemsetAsync(f.device, 0, BYTES, f.stream));
        simt_fail_call(1, true);
        cr_assert_eq(cudaStreamSynchronize(f.stream), cudaErrorIllegalAddress);
        cr_assert_eq(cudaGetLastError(), cudaErrorIllegalAddress);
        cr_assert_eq(cudaGetLastError(), cudaErrorIllegalAddress);
        cr_assert_eq(cudaMemsetAsync(f.device, 0, BYTES, f.stream), cudaErrorIllegalAddress);
    }
    simt_revive();
    cr_assert_eq(cudaGetLastError(), cudaSuccess);
}

Test(simt_runtime, a_failed_operation_shows_at_the_next_wait) {
    {
        Fixture f;
        f.fill(f.pinned, 10);
        f.ok(simt::enqueue_launch(nullptr, dim3(1), dim3(32), 0, f.stream, [] { return cudaErrorLaunchFailure; }));
        f.ok(cudaMemcpyAsync(f.device, f.pinned, BYTES, cudaMemcpyHostToDevice, f.stream));
        cr_assert_eq(cudaStreamSynchronize(f.stream), cudaErrorLaunchFailure);
        cr_assert_eq(cudaStreamSynchronize(f.stream), cudaErrorLaunchFailure);
    }
    simt_revive();
}

Test(simt_runtime, launches_are_checked) {
    Fixture f;
    auto nothing = [] { return cudaSuccess; };
    static const char kernel = 0;
    struct {
        dim3 grid, block;
        size_t shared;
        cudaError_t error;
    } cases[] = {
        {dim3(1), dim3(1024), 48 << 10, cudaSuccess},
        {dim3(1), dim3(1025), 0, cudaErrorInvalidConfiguration},
        {dim3(0), dim3(32), 0, cudaErrorInvalidConfiguration},
        {dim3(1, 65536), dim3(32), 0, cudaErrorInvalidConfiguration},
        {dim3(0x80000000u), dim3(32), 0, cudaErrorInvalidConfiguration},
        {dim3(1), dim3(0), 0, cudaErrorInvalidConfiguration},
        {dim3(1), dim3(32), (48 << 10) + 1, cudaErrorInvalidValue},
    };
    for (auto &c : cases)
        cr_expect_eq(simt::enqueue_launch(&kernel, c.grid, c.block, c.shared, f.stream, nothing), c.error, "case %d",
                     (int)(&c - cases));
    cr_expect_eq(cudaFuncSetAttribute(&kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (163 << 10) + 1),
                 cudaErrorInvalidValue);
    f.ok(cudaFuncSetAttribute(&kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 163 << 10));
    f.ok(simt::enqueue_launch(&kernel, dim3(1), dim3(32), 163 << 10, f.stream, nothing));
    f.ok(cudaStreamSynchronize(f.stream));
}

Test(simt_runtime, eager_streams_run_at_once) {
    setenv("TEMPERA_SIMT_STREAMS", "eager", 1);
    Fixture f;
    f.fill(f.pinned, 10);
    f.ok(cudaMemcpyAsync(f.device, f.pinned, BYTES, cudaMemcpyHostToDevice, f.stream));
    f.ok(cudaMemcpyAsync(f.result, f.device, BYTES, cudaMemcpyDeviceToHost, f.stream));
    cr_assert(f.holds(f.result, 10));
}

// ---- cuBLASLt ----

// out [T, N] = in [T, K] · weight [N, K] transposed, as the backend asks for it: everything row-major, which is column-major
// of the transposes.
Test(simt_runtime, cublaslt_multiplies) {
    enum { T = 5, N = 7, K = 33 };
    Fixture f;
    std::vector<__nv_bfloat16> in(T * K), weight(N * K);
    std::vector<float> out(T * N, 0.5f);
    for (int i = 0; i < T * K; i++) in[i] = __float2bfloat16_rn((float)((i * 37) % 19 - 9) / 8);
    for (int i = 0; i < N * K; i++) weight[i] = __float2bfloat16_rn((float)((i * 53) % 23 - 11) / 16);
    void *d_in, *d_weight, *d_out;
    f.ok(cudaMalloc(&d_in, in.size() * 2)), f.ok(cudaMalloc(&d_weight, weight.size() * 2));
    f.ok(cudaMalloc(&d_out, out.size() * 4));
    f.ok(cudaMemcpyAsync(d_in, in.data(), in.size() * 2, cudaMemcpyHostToDevice, f.stream));
    f.ok(cudaMemcpyAsync(d_weight, weight.data(), weight.size() * 2, cudaMemcpyHostToDevice, f.stream));

    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found[4];
    int count = 0;
    cublasOperation_t transpose = CUBLAS_OP_T;
    cr_assert_eq(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof transpose),
                 CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(cublasLtMatrixLayoutCreate(&a, CUDA_R_16BF, K, N, K), CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(cublasLtMatrixLayoutCreate(&b, CUDA_R_16BF, K, T, K), CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(cublasLtMatrixLayoutCreate(&c, CUDA_R_32F, N, T, N), CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(cublasLtMatmulAlgoGetHeuristic(handle, product, a, b, c, c, preference, 4, found, &count),
                 CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(count, 2);
    for (int algorithm = 0; algorithm < count; algorithm++) {
        float alpha = 2, beta = 4;
        out.assign(T * N, 0.5f);
        f.ok(cudaMemcpyAsync(d_out, out.data(), out.size() * 4, cudaMemcpyHostToDevice, f.stream));
        cr_assert_eq(cublasLtMatmul(handle, product, &alpha, d_weight, a, d_in, b, &beta, d_out, c, d_out, c,
                                    &found[algorithm].algo, nullptr, 0, f.stream),
                     CUBLAS_STATUS_SUCCESS);
        alpha = beta = 0; // read at the call
        f.ok(cudaMemcpyAsync(out.data(), d_out, out.size() * 4, cudaMemcpyDeviceToHost, f.stream));
        for (int t = 0; t < T; t++)
            for (int n = 0; n < N; n++) {
                double sum = 0; // all products and sums of these small fractions are exact in fp32 as well
                for (int k = 0; k < K; k++)
                    sum += (double)__bfloat162float(in[t * K + k]) * (double)__bfloat162float(weight[n * K + k]);
                cr_assert_eq((double)out[t * N + n], 2 * sum + 2);
            }
    }
    float one = 1;
    cr_assert_eq(cublasLtMatmul(handle, product, &one, d_weight, a, (char *)d_in + 2, b, &one, d_out, c, d_out, c,
                                nullptr, nullptr, 0, f.stream),
                 CUBLAS_STATUS_INVALID_VALUE, "past the end of its buffer");
    cublasLtMatmulPreferenceDestroy(preference);
    cublasLtMatrixLayoutDestroy(a), cublasLtMatrixLayoutDestroy(b), cublasLtMatrixLayoutDestroy(c);
    cublasLtMatmulDescDestroy(product);
    cublasLtDestroy(handle);
    cudaFree(d_in), cudaFree(d_weight), cudaFree(d_out);
}
