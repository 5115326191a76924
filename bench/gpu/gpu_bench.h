// gpu_bench.h: what the GPU benchmarks share: failing on a CUDA error, timing by events with a cold L2, and results as
// rows of one Markdown table, with the same rows as JSON lines for bench/gpu.sh.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

// One line and exit status 1: a benchmark has nothing to clean up, and its caller goes on with the next one.
#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        cudaError_t check_error = (call);                                                                              \
        if (check_error != cudaSuccess) {                                                                              \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(check_error));            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

namespace gpu {

// ---- results ----

inline FILE *json_lines;  // of --json FILE, or NULL
inline bool tiny;         // --tiny: every case once and small, to see that it runs
inline std::string table; // the name of the current one

// Starts a table; `note` explains its rows.
inline void begin(const char *name, const char *note) {
    table = name;
    printf("\n### %s\n\n%s\n\n| what | value | unit | remark |\n|---|---:|---|---|\n", name, note);
}

template <typename... Args> std::string text(const char *format, Args... args) {
    char buffer[256];
    snprintf(buffer, sizeof buffer, format, args...);
    return buffer;
}

// One row. Names and remarks are plain ASCII without quotes or bars.
inline void result(const std::string &what, double value, const char *unit, const std::string &remark = "") {
    printf("| %s | %.4g | %s | %s |\n", what.c_str(), value, unit, remark.c_str());
    fflush(stdout);
    if (!json_lines) return;
    // JSON has no NaN and no infinity.
    const std::string number = value - value == 0 ? text("%.6g", value) : "null";
    fprintf(json_lines, "{\"table\": \"%s\", \"what\": \"%s\", \"value\": %s, \"unit\": \"%s\", \"remark\": \"%s\"}\n",
            table.c_str(), what.c_str(), number.c_str(), unit, remark.c_str());
    fflush(json_lines);
}

// ---- the device ----

struct Device {
    int sms, capability; // 90 = sm_90
    size_t l2, shared_per_block;
    std::string name;
};

// Opens the device and the JSON file; says in one line and exits 1 when there is none. Words that are no flags are left
// in argv[1 …].
inline Device open(int *argc, char **argv) {
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--json") == 0 && i + 1 < *argc) {
            json_lines = fopen(argv[++i], "a");
            if (!json_lines) perror(argv[i]), exit(1);
        } else if (strcmp(argv[i], "--tiny") == 0) {
            tiny = true;
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
        fprintf(stderr, "no GPU: %s\n", error == cudaSuccess ? "no device" : cudaGetErrorString(error));
        exit(1);
    }
    cudaDeviceProp p;
    CHECK(cudaGetDeviceProperties(&p, 0));
    return {p.multiProcessorCount, p.major * 10 + p.minor, (size_t)p.l2CacheSize, p.sharedMemPerBlockOptin, p.name};
}

template <typename T> T *device_new(size_t count) {
    void *p;
    CHECK(cudaMalloc(&p, count * sizeof(T)));
    CHECK(cudaMemset(p, 0, count * sizeof(T)));
    return static_cast<T *>(p);
}

template <typename T> T *device_copy(const std::vector<T> &host) {
    T *p = device_new<T>(host.size());
    CHECK(cudaMemcpy(p, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    return p;
}

// Random numbers of either sign with exponents spread evenly over -spread … spread - 1, repeated from a block of 2^20.
template <typename T> void fill(T *to, size_t count, uint64_t seed, int spread) {
    std::vector<T> block(std::min(count, (size_t)1 << 20));
    for (T &x : block) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const uint32_t word = (uint32_t)(seed >> 32);
        const float value =
            ldexpf(1.0f + (float)(word & 0xFFFF) / 65536.0f, (int)(word >> 16 & 255) % (2 * spread) - spread);
        x = (T)(word >> 31 ? value : -value);
    }
    CHECK(cudaMemcpy(to, block.data(), block.size() * sizeof(T), cudaMemcpyHostToDevice));
    for (size_t at = block.size(); at < count; at += block.size())
        CHECK(cudaMemcpy(to + at, to, std::min(block.size(), count - at) * sizeof(T), cudaMemcpyDeviceToDevice));
}

// ---- timing ----

// Microseconds of `work`, by events on a stream: the median of `runs`. With flush, memory of twice the L2 is written
// before each run, so that what it reads comes from DRAM.
inline double time_us(cudaStream_t stream, const std::function<void()> &work, int runs = 15, bool flush = false) {
    static void *junk;
    static size_t junk_bytes;
    if (flush && !junk) {
        int l2;
        CHECK(cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, 0));
        junk_bytes = 2 * (size_t)l2;
        CHECK(cudaMalloc(&junk, junk_bytes));
    }
    cudaEvent_t start, stop;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    std::vector<float> taken;
    if (tiny) runs = 1;
    for (int run = tiny ? 0 : -2; run < runs; run++) { // two to warm up
        if (flush) CHECK(cudaMemsetAsync(junk, run & 1, junk_bytes, stream));
        CHECK(cudaEventRecord(start, stream));
        work();
        CHECK(cudaEventRecord(stop, stream));
        CHECK(cudaEventSynchronize(stop));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, start, stop));
        if (run >= 0) taken.push_back(ms * 1e3f);
    }
    CHECK(cudaGetLastError());
    CHECK(cudaEventDestroy(start));
    CHECK(cudaEventDestroy(stop));
    std::sort(taken.begin(), taken.end());
    return taken[taken.size() / 2];
}

// Microseconds of one of `count` calls of work(i) that are captured into a graph, so that no launch from the host is in
// the time. The calls depend on each other as a stream's do.
inline double time_graph_us(cudaStream_t stream, int count, const std::function<void(int)> &work, int runs = 11,
                            bool flush = false) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    if (tiny) count = 1;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < count; i++) work(i);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    double us = time_us(
        stream, [&] { CHECK(cudaGraphLaunch(exec, stream)); }, runs, flush);
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    return us / count;
}

} // namespace gpu
