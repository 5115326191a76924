// probes.cu: what the device itself can do, for the decisions that the kernels rest on. CUDA only: it launches and speaks
// PTX directly, and includes of the kernels' headers only the arithmetic of a draw.
//
//     gpu_probes [--json FILE] [read] [launch] [mma] [draw]        default: all
//
//   read     bandwidth of a streaming read against bytes in flight per SM, by 8- and 16-byte loads, cache hints, cp.async
//            rings and bulk copies (sm_90)
//   launch   what one kernel costs after another: stream, graph, programmatic dependent launch, cluster, grid barrier
//   mma      latency of dependent tensor-core products, and their rate from registers
//   draw     weights per second, integer atomics in shared memory, Philox calls
#include "gpu_bench.h"

#include "base/draw_math.h"

#include <cuda_bf16.h>

namespace {

gpu::Device device;
cudaStream_t stream;

__device__ __forceinline__ uint32_t shared_address(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}

// ---- read ----------------------------------------------------------------------------------------------------------

enum Load { LDG64, LDG128, LDG128_NO_ALLOCATE, LDG128_EVICT_FIRST };
enum { READ_THREADS = 256 };

template <Load LOAD> __device__ __forceinline__ uint32_t load(const char *p, uint64_t policy) {
    uint32_t a, b, c = 0, d = 0;
    if (LOAD == LDG64) {
        asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "l"(p));
    } else if (LOAD == LDG128) {
        asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "l"(p));
    } else if (LOAD == LDG128_NO_ALLOCATE) {
        asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(a), "=r"(b), "=r"(c), "=r"(d)
                     : "l"(p));
    } else {
        asm volatile("ld.global.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                     : "=r"(a), "=r"(b), "=r"(c), "=r"(d)
                     : "l"(p), "l"(policy));
    }
    return a ^ b ^ c ^ d;
}

// UNROLL independent loads of a thread are in flight.
template <Load LOAD, int UNROLL>
__global__ void __launch_bounds__(READ_THREADS) read_loads(const char *memory, size_t bytes, uint32_t *out) {
    constexpr size_t WIDTH = LOAD == LDG64 ? 8 : 16, TILE = WIDTH * READ_THREADS * UNROLL;
    uint64_t policy = 0;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    uint32_t sum = 0;
    for (size_t tile = blockIdx.x * TILE; tile < bytes; tile += gridDim.x * TILE) {
        uint32_t part[UNROLL];
#pragma unroll
        for (int i = 0; i < UNROLL; i++)
            part[i] = load<LOAD>(memory + tile + (i * READ_THREADS + threadIdx.x) * WIDTH, policy);
#pragma unroll
        for (int i = 0; i < UNROLL; i++) sum ^= part[i];
    }
    if (sum == 0x9E3779B9u) out[0] = sum; // never, but the compiler cannot know
}

// A ring of STAGES copies of 16 bytes for each thread; no thread reads another's.
template <int STAGES>
__global__ void __launch_bounds__(READ_THREADS) read_ring(const char *memory, size_t bytes, uint32_t *out) {
    constexpr size_t TILE = READ_THREADS * 16;
    __shared__ uint4 ring[STAGES][READ_THREADS];
    const size_t step = gridDim.x * TILE;
    size_t next = blockIdx.x * TILE + threadIdx.x * 16;
    auto issue = [&](int stage) {
        if (next < bytes)
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(&ring[stage][threadIdx.x])),
                         "l"(memory + next)
                         : "memory");
        asm volatile("cp.async.commit_group;" ::: "memory");
        next += step;
    };
    for (int s = 0; s < STAGES - 1; s++) issue(s);
    uint32_t sum = 0;
    int stage = 0;
    for (size_t at = blockIdx.x * TILE + threadIdx.x * 16; at < bytes; at += step) {
        issue((stage + STAGES - 1) % STAGES);
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 1) : "memory");
        const uint4 v = ring[stage][threadIdx.x];
        sum ^= v.x ^ v.y ^ v.z ^ v.w;
        stage = (stage + 1) % STAGES;
    }
    if (sum == 0x9E3779B9u) out[0] = sum;
}

// A ring of bulk copies of `chunk` bytes for each block; thread 0 issues, all read. sm_90.
enum { BULK_STAGES = 4 };
__global__ void __launch_bounds__(READ_THREADS) read_bulk(const char *memory, size_t bytes, int chunk, uint32_t *out) {
#if __CUDA_ARCH__ >= 900
    extern __shared__ __align__(128) unsigned char bulk_ring[];
    __shared__ __align__(8) uint64_t full[BULK_STAGES];
    if (threadIdx.x == 0) {
        for (int s = 0; s < BULK_STAGES; s++)
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&full[s])) : "memory");
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    const size_t step = (size_t)gridDim.x * chunk, first = (size_t)blockIdx.x * chunk;
    auto issue = [&](int stage, size_t at) {
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&full[stage])),
                     "r"(chunk)
                     : "memory");
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                         shared_address(bulk_ring + stage * chunk)),
                     "l"(memory + at), "r"(chunk), "r"(shared_address(&full[stage]))
                     : "memory");
    };
    if (threadIdx.x == 0)
        for (int s = 0; s < BULK_STAGES; s++)
            if (first + s * step < bytes) issue(s, first + s * step);
    uint32_t sum = 0, parity = 0;
    int stage = 0;
    for (size_t at = first; at < bytes; at += step) {
        uint32_t done = 0;
        while (!done)
            asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                         : "=r"(done)
                         : "r"(shared_address(&full[stage])), "r"(parity)
                         : "memory");
        for (int i = threadIdx.x * 16; i < chunk; i += READ_THREADS * 16) {
            const uint4 v = *reinterpret_cast<const uint4 *>(bulk_ring + stage * chunk + i);
            sum ^= v.x ^ v.y ^ v.z ^ v.w;
        }
        __syncthreads(); // all have read: the stage may be filled again
        if (threadIdx.x == 0 && at + BULK_STAGES * step < bytes) issue(stage, at + BULK_STAGES * step);
        if (++stage == BULK_STAGES) stage = 0, parity ^= 1;
    }
    if (sum == 0x9E3779B9u) out[0] = sum;
#else
    if (bytes == 0) out[0] = (uint32_t)chunk;
#endif
}

struct ReadCase {
    const char *name;
    void (*kernel)(const char *, size_t, uint32_t *);
    int bytes_per_thread;
};

void probe_read() {
    const size_t bytes = (size_t)1 << 30;
    char *memory = gpu::device_new<char>(bytes);
    uint32_t *out = gpu::device_new<uint32_t>(1);
    gpu::begin("read", "One pass over 1 GiB, more than any L2. In flight: bytes of all resident blocks of an SM.");
    const ReadCase cases[] = {
        {"LDG.64 x4", read_loads<LDG64, 4>, 32},
        {"LDG.64 x8", read_loads<LDG64, 8>, 64},
        {"LDG.128 x1", read_loads<LDG128, 1>, 16},
        {"LDG.128 x2", read_loads<LDG128, 2>, 32},
        {"LDG.128 x4", read_loads<LDG128, 4>, 64},
        {"LDG.128 x8", read_loads<LDG128, 8>, 128},
        {"LDG.128 no_allocate x4", read_loads<LDG128_NO_ALLOCATE, 4>, 64},
        {"LDG.128 no_allocate x8", read_loads<LDG128_NO_ALLOCATE, 8>, 128},
        {"LDG.128 evict_first x4", read_loads<LDG128_EVICT_FIRST, 4>, 64},
        {"LDG.128 evict_first x8", read_loads<LDG128_EVICT_FIRST, 8>, 128},
        {"cp.async ring x4", read_ring<4>, 48},
        {"cp.async ring x8", read_ring<8>, 112},
    };
    double best = 0;
    std::string best_name;
    auto note = [&](const std::string &name, double us, int in_flight) {
        const double rate = (double)bytes / us * 1e-3;
        gpu::result(name, rate, "GB/s", gpu::text("%d KiB in flight per SM", in_flight / 1024));
        if (rate > best) best = rate, best_name = name;
    };
    for (const ReadCase &c : cases) {
        int resident = 0;
        CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, reinterpret_cast<const void *>(c.kernel),
                                                            READ_THREADS, 0));
        for (int blocks = 1; blocks <= resident; blocks *= 2) {
            const double us = gpu::time_us(
                stream, [&] { c.kernel<<<device.sms * blocks, READ_THREADS, 0, stream>>>(memory, bytes, out); }, 5);
            note(gpu::text("%s, %d blocks", c.name, blocks), us, blocks * READ_THREADS * c.bytes_per_thread);
        }
    }
    if (device.capability >= 90)
        for (int chunk = 2048; chunk <= 16384; chunk *= 2)
            for (int blocks = 1; blocks <= 4; blocks *= 2) {
                const int shared = BULK_STAGES * chunk;
                if ((size_t)shared * blocks > 200 * 1024) continue;
                CHECK(cudaFuncSetAttribute(reinterpret_cast<const void *>(read_bulk),
                                           cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
                const double us = gpu::time_us(
                    stream,
                    [&] {
                        read_bulk<<<device.sms * blocks, READ_THREADS, shared, stream>>>(memory, bytes, chunk, out);
                    },
                    5);
                note(gpu::text("bulk copies of %d, %d blocks", chunk, blocks), us, blocks * shared);
            }
    gpu::result("best", best, "GB/s", best_name);
    CHECK(cudaFree(memory));
    CHECK(cudaFree(out));
}

// ---- launch ----------------------------------------------------------------------------------------------------------

// Writes, so that one kernel depends on the one before.
__global__ void chain_plain(uint32_t *counter) {
    if (threadIdx.x == 0) counter[blockIdx.x]++;
}

__global__ void chain_overlapped(uint32_t *counter) {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    if (threadIdx.x == 0) counter[blockIdx.x]++;
}

// All blocks meet `rounds` times; needs them all resident.
__global__ void grid_barrier(volatile uint32_t *arrived, int rounds) {
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            atomicAdd(const_cast<uint32_t *>(arrived), 1u);
            while (*arrived < (uint32_t)round * gridDim.x) __nanosleep(20);
            __threadfence();
        }
        __syncthreads();
    }
}

void launch(void (*kernel)(uint32_t *), int blocks, int threads, uint32_t *counter, int cluster, bool overlapped) {
    cudaLaunchAttribute attributes[2];
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)blocks);
    config.blockDim = dim3((unsigned)threads);
    config.stream = stream;
    config.attrs = attributes;
    if (cluster > 1) {
        attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
        attributes[config.numAttrs].val.clusterDim.x = (unsigned)cluster;
        attributes[config.numAttrs].val.clusterDim.y = 1;
        attributes[config.numAttrs++].val.clusterDim.z = 1;
    }
    if (overlapped) {
        attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
    CHECK(cudaLaunchKernelEx(&config, kernel, counter));
}

void probe_launch() {
    enum { COUNT = 500 };
    uint32_t *counter = gpu::device_new<uint32_t>(4096);
    gpu::begin("launch", "Microseconds of one of 500 kernels that follow each other and do next to nothing.");
    const int grids[] = {1, device.sms, device.sms * 4 / 8 * 8};
    for (int blocks : grids) {
        const std::string grid = gpu::text("%d blocks of 256", blocks);
        const double alone = gpu::time_us(stream,
                                          [&] {
                                              for (int i = 0; i < COUNT; i++)
                                                  launch(chain_plain, blocks, 256, counter, 1, false);
                                          }) /
                             COUNT;
        gpu::result("stream, " + grid, alone, "us");
        const double graph =
            gpu::time_graph_us(stream, COUNT, [&](int) { launch(chain_plain, blocks, 256, counter, 1, false); });
        gpu::result("graph, " + grid, graph, "us");
        if (device.capability >= 90) {
            const double overlapped = gpu::time_graph_us(
                stream, COUNT, [&](int) { launch(chain_overlapped, blocks, 256, counter, 1, true); });
            gpu::result("graph, dependent launch, " + grid, overlapped, "us",
                        gpu::text("saves %.2f us", graph - overlapped));
        }
    }
    if (device.capability >= 90)
        for (int cluster = 2; cluster <= 8; cluster *= 2) {
            const int blocks = device.sms / cluster * cluster;
            const double us = gpu::time_graph_us(
                stream, COUNT, [&](int) { launch(chain_plain, blocks, 256, counter, cluster, false); });
            gpu::result(gpu::text("graph, clusters of %d, %d blocks", cluster, blocks), us, "us");
        }
    enum { ROUNDS = 1000 };
    int rounds = ROUNDS;
    void *args[] = {&counter, &rounds};
    const double barrier =
        gpu::time_us(stream,
                     [&] {
                         CHECK(cudaMemsetAsync(counter, 0, sizeof *counter, stream));
                         CHECK(cudaLaunchCooperativeKernel(reinterpret_cast<const void *>(grid_barrier),
                                                           dim3((unsigned)device.sms), dim3(256), args, 0, stream));
                     }) /
        ROUNDS;
    gpu::result("grid barrier, one block per SM", barrier, "us");
    CHECK(cudaFree(counter));
}

// ---- mma -------------------------------------------------------------------------------------------------------------

enum Product { BF16_K16, F16_K16, TF32_K8 };

template <Product PRODUCT>
__device__ __forceinline__ void multiply(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    if (PRODUCT == BF16_K16)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else if (PRODUCT == F16_K16)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// A warp runs CHAINS independent chains of `length` products; clocks[0] is block 0's time.
template <Product PRODUCT, int CHAINS> __global__ void products(int length, float *out, long long *clocks) {
    float d[CHAINS][4] = {};
    const uint32_t a[4] = {threadIdx.x, threadIdx.x + 1, 0, 0}, b[2] = {threadIdx.x, 0};
    const long long start = clock64();
    for (int i = 0; i < length; i++)
#pragma unroll
        for (int c = 0; c < CHAINS; c++) multiply<PRODUCT>(d[c], a, b);
    const long long taken = clock64() - start;
    float sum = 0;
    for (int c = 0; c < CHAINS; c++) sum += d[c][0] + d[c][1] + d[c][2] + d[c][3];
    if (sum == 12345.0f) out[0] = sum;
    if (blockIdx.x == 0 && threadIdx.x == 0) clocks[0] = taken;
}

template <Product PRODUCT> void probe_product(const char *name, int k) {
    enum { LENGTH = 4096, CHAINS = 8, WARPS = 8 };
    float *out = gpu::device_new<float>(1);
    long long *clocks = gpu::device_new<long long>(1), taken;
    products<PRODUCT, 1><<<1, 32, 0, stream>>>(LENGTH, out, clocks);
    products<PRODUCT, 1><<<1, 32, 0, stream>>>(LENGTH, out, clocks);
    CHECK(cudaMemcpyAsync(&taken, clocks, sizeof taken, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    gpu::result(gpu::text("%s, dependent", name), (double)taken / LENGTH, "clocks",
                gpu::text("latency of one m16n8k%d", k));
    const double us = gpu::time_us(
        stream, [&] { products<PRODUCT, CHAINS><<<device.sms, 32 * WARPS, 0, stream>>>(LENGTH, out, clocks); }, 5);
    const double flop = 2.0 * 16 * 8 * k * LENGTH * CHAINS * WARPS * device.sms;
    gpu::result(gpu::text("%s, rate", name), flop / us * 1e-6, "TFLOP/s",
                gpu::text("from registers, %d warps of %d chains per SM; probe_cublas has the ceiling", (int)WARPS,
                          (int)CHAINS));
    CHECK(cudaFree(out));
    CHECK(cudaFree(clocks));
}

void probe_mma() {
    gpu::begin("mma", "mma.sync of one warp in a chain, and of all SMs from registers.");
    probe_product<BF16_K16>("bf16 m16n8k16", 16);
    probe_product<F16_K16>("f16 m16n8k16", 16);
    probe_product<TF32_K8>("tf32 m16n8k8", 8);
}

// ---- draw ------------------------------------------------------------------------------------------------------------

enum { DRAW_THREADS = 256, DRAW_ROUNDS = 256 };

__global__ void __launch_bounds__(DRAW_THREADS) weights(float step, unsigned long long *out) {
    uint64_t sum = 0;
    float d = (float)threadIdx.x * step;
    for (int i = 0; i < DRAW_ROUNDS; i++) {
        sum += draw_weight(d);
        d = DRAW_ADD(d, step);
    }
    if (sum == 1) out[0] = sum;
}

// draw_weight over fp32 scores in memory, 16 bytes at a time: what a mass pass of a sampler does.
__global__ void __launch_bounds__(DRAW_THREADS) mass(const float4 *scores, size_t count, unsigned long long *out) {
    uint64_t sum = 0;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (size_t)gridDim.x * blockDim.x) {
        const float4 v = scores[i];
        sum += draw_weight(draw_distance(20.0f, v.x)) + draw_weight(draw_distance(20.0f, v.y)) +
               draw_weight(draw_distance(20.0f, v.z)) + draw_weight(draw_distance(20.0f, v.w));
    }
    for (int mask = 16; mask > 0; mask >>= 1) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, mask);
    if (threadIdx.x % 32 == 0) atomicAdd(out, (unsigned long long)sum);
}

__global__ void __launch_bounds__(DRAW_THREADS) noise(uint32_t *out) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < DRAW_ROUNDS; i++) {
        // Ten rounds as of base/philox.h, written out: the header's own interface belongs to the draw.
        uint32_t x0 = threadIdx.x, x1 = blockIdx.x, x2 = i, x3 = sum, k0 = 1, k1 = 2;
#pragma unroll
        for (int r = 0; r < 10; r++) {
            const uint32_t h0 = __umulhi(0xD2511F53u, x0), l0 = 0xD2511F53u * x0;
            const uint32_t h1 = __umulhi(0xCD9E8D57u, x2), l1 = 0xCD9E8D57u * x2;
            x0 = h1 ^ x1 ^ k0, x1 = l1, x2 = h0 ^ x3 ^ k1, x3 = l0;
            k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        }
        sum ^= x0 ^ x1 ^ x2 ^ x3;
    }
    if (sum == 1) out[0] = sum;
}

// Every thread adds to one of BINS integers of its block, spread evenly (1: all to the same).
template <typename T> __global__ void __launch_bounds__(DRAW_THREADS) histogram(int bins, uint32_t *out) {
    __shared__ T bin[4096];
    for (int i = (int)threadIdx.x; i < bins; i += DRAW_THREADS) bin[i] = 0;
    __syncthreads();
    uint32_t at = threadIdx.x * 2654435761u;
    for (int i = 0; i < DRAW_ROUNDS; i++) {
        at = at * 1664525u + 1013904223u;
        atomicAdd(&bin[(at >> 16) % (uint32_t)bins], (T)(at & 0xFFFF));
    }
    __syncthreads();
    if (bin[0] == (T)1) out[0] = (uint32_t)bin[0];
}

void probe_draw() {
    gpu::begin("draw", "The sampler's arithmetic. Rates are of the whole device.");
    unsigned long long *out = gpu::device_new<unsigned long long>(1);
    const int blocks = device.sms * 8;
    const double elements = (double)blocks * DRAW_THREADS * DRAW_ROUNDS;
    double us = gpu::time_us(stream, [&] { weights<<<blocks, DRAW_THREADS, 0, stream>>>(0.01f, out); });
    gpu::result("draw_weight from registers", elements / us * 1e-3, "G/s",
                gpu::text("at V = 128k and 512 rows: %.1f us", 512 * 128256 / (elements / us)));
    us = gpu::time_us(stream, [&] { noise<<<blocks, DRAW_THREADS, 0, stream>>>(reinterpret_cast<uint32_t *>(out)); });
    gpu::result("Philox4x32-10 calls", elements / us * 1e-3, "G/s");
    for (int rows : {1, 64, 512}) {
        const size_t count = (size_t)rows * 128256;
        float *scores = gpu::device_new<float>(count);
        us = gpu::time_us(
            stream,
            [&] { mass<<<blocks, DRAW_THREADS, 0, stream>>>(reinterpret_cast<float4 *>(scores), count / 4, out); }, 15,
            true);
        gpu::result(gpu::text("mass of %d rows of 128256, L2 cold", rows), us, "us",
                    gpu::text("%.0f GB/s", (double)count * 4 / us * 1e-3));
        us = gpu::time_us(stream, [&] {
            mass<<<blocks, DRAW_THREADS, 0, stream>>>(reinterpret_cast<float4 *>(scores), count / 4, out);
        });
        gpu::result(gpu::text("mass of %d rows of 128256, again", rows), us, "us",
                    gpu::text("%.0f GB/s", (double)count * 4 / us * 1e-3));
        CHECK(cudaFree(scores));
    }
    for (int bins : {1, 8, 32, 256, 2048}) {
        us = gpu::time_us(stream, [&] {
            histogram<uint32_t><<<blocks, DRAW_THREADS, 0, stream>>>(bins, reinterpret_cast<uint32_t *>(out));
        });
        gpu::result(gpu::text("shared atomics u32, %d bins", bins), elements / us * 1e-3, "G/s");
        us = gpu::time_us(stream, [&] {
            histogram<unsigned long long><<<blocks, DRAW_THREADS, 0, stream>>>(bins, reinterpret_cast<uint32_t *>(out));
        });
        gpu::result(gpu::text("shared atomics u64, %d bins", bins), elements / us * 1e-3, "G/s");
    }
    CHECK(cudaFree(out));
}

struct Probe {
    const char *name;
    void (*run)();
};
const Probe probes[] = {{"read", probe_read}, {"launch", probe_launch}, {"mma", probe_mma}, {"draw", probe_draw}};

} // namespace

int main(int argc, char **argv) {
    device = gpu::open(&argc, argv);
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (const Probe &p : probes) known |= strcmp(p.name, argv[i]) == 0;
        if (!known) return fprintf(stderr, "gpu_probes: no probe \"%s\"\n", argv[i]), 2;
    }
    for (const Probe &p : probes) {
        bool wanted = argc == 1;
        for (int i = 1; i < argc; i++) wanted |= strcmp(p.name, argv[i]) == 0;
        if (wanted) p.run();
    }
    CHECK(cudaDeviceSynchronize());
    return 0;
}
