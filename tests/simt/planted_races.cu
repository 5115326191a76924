// planted_races.cu: kernels with one mistake each, and correct ones that look suspicious. The race checker must name the
// line of the mistake, and must keep quiet about the correct ones. Blocks have 128 threads.
#include "planted_races.h"

#include "kernels/device.cuh"

const char *const planted_source = __FILE__;

namespace {

enum { THREADS = 128, WORDS = 4096 };

__device__ int thread() {
    return (int)threadIdx.x;
}

// ---- barriers ----

__global__ void read_after_write(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    tile[thread()] = a.in[thread()];
    a.out[thread()] = tile[(thread() + 32) % THREADS]; // planted: read_after_write
}

__global__ void broadcast_by_first(planted_args a) {
    SHARED(int32_t, value, [1]);
    if (thread() == 0) value[0] = a.in[0];
    a.out[thread()] = value[0]; // planted: broadcast_by_first
}

__global__ void broadcast_by_last(planted_args a) {
    SHARED(int32_t, value, [1]);
    if (thread() == THREADS - 1) value[0] = a.in[0]; // planted: broadcast_by_last
    a.out[thread()] = value[0];
}

__global__ void write_after_read(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) {
        tile[thread()] = a.in[i * THREADS + thread()]; // planted: write_after_read
        dev::block_sync();
        sum += tile[THREADS - 1 - thread()];
    }
    a.out[thread()] = sum;
}

// A block sum whose shared words are written again by its second call, without a barrier that waits for the readers.
__device__ int32_t block_sum(int32_t value, int32_t *parts) {
    value = dev::warp_sum(value);
    if (thread() % 32 == 0) parts[thread() / 32] = value; // planted: second_reduction
    dev::block_sync();
    return parts[0] + parts[1] + parts[2] + parts[3];
}

__global__ void second_reduction(planted_args a) {
    SHARED(int32_t, parts, [4]);
    int32_t first = block_sum(a.in[thread()], parts);
    a.out[thread()] = first + block_sum(a.in[THREADS + thread()], parts);
}

// ---- inside a warp ----

__global__ void missing_warp_sync(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    tile[thread()] = a.in[thread()];
    a.out[thread()] = tile[thread() ^ 1]; // planted: missing_warp_sync
}

__global__ void shuffle_orders_memory(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    tile[thread()] = a.in[thread()];
    int32_t other = dev::shfl_xor(thread(), 1);
    a.out[thread()] = tile[other]; // planted: shuffle_orders_memory
}

// ---- device memory ----

__global__ void lost_update(planted_args a) {
    a.out[0] = a.out[0] + 1; // planted: lost_update
}

__global__ void same_value(planted_args a) {
    a.out[0] = 7; // planted: same_value
}

__global__ void between_blocks(planted_args a) {
    if (blockIdx.x == 0) a.out[thread()] = a.in[thread()];
    if (blockIdx.x == 1) a.out[THREADS + thread()] = a.out[thread()]; // planted: between_blocks
}

__global__ void counter_without_fence(planted_args a) {
    SHARED(int32_t, last, [1]);
    a.out[blockIdx.x * THREADS + (unsigned)thread()] = a.in[thread()];
    dev::block_sync();
    if (thread() == 0) last[0] = dev::atomic_add(a.counter, 1u) == gridDim.x - 1;
    dev::block_sync();
    if (!last[0]) return;
    int32_t sum = 0;
    for (int b = 0; b < (int)gridDim.x; b++) sum += a.out[b * THREADS + thread()]; // planted: counter_without_fence
    a.out[(int)gridDim.x * THREADS + thread()] = sum;
}

__global__ void plain_and_atomic(planted_args a) {
    if (thread() < 64)
        dev::atomic_add(&a.out[0], 1);
    else
        a.in[thread()] = a.out[0]; // planted: plain_and_atomic
}

// ---- bounds ----

__global__ void static_shared_end(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    tile[thread()] = a.in[thread()];
    dev::block_sync();
    a.out[thread()] = tile[thread() + 1]; // planted: static_shared_end
}

__global__ void dynamic_shared_end(planted_args a) {
    SHARED_DYN(int32_t, tile);
    tile[thread()] = a.in[thread()];
    dev::block_sync();
    a.out[thread()] = tile[thread() + 1]; // planted: dynamic_shared_end
}

__global__ void read_past_end(planted_args a) {
    a.out[thread()] = a.in[WORDS - THREADS + 1 + thread()]; // planted: read_past_end
}

__global__ void write_past_end(planted_args a) {
    a.out[WORDS - THREADS + 1 + thread()] = thread(); // planted: write_past_end
}

__global__ void host_pointer(planted_args a) {
    a.out[thread()] = a.host[thread()]; // planted: host_pointer
}

__global__ void misaligned(planted_args a) {
    char *p = reinterpret_cast<char *>(a.in) + 4 * thread() + 2;
    a.out[thread()] = *reinterpret_cast<int32_t *>(p); // planted: misaligned
}

// ---- memory that was never written ----

__global__ void unwritten_shared(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    if (thread() < THREADS - 1) tile[thread()] = a.in[thread()];
    dev::block_sync();
    a.out[thread()] = tile[thread()]; // planted: unwritten_shared
}

__global__ void unwritten_histogram(planted_args a) {
    SHARED(uint32_t, bins, [THREADS]);
    if (thread() < 64) bins[thread()] = 0;
    dev::block_sync();
    dev::atomic_add(&bins[(unsigned)a.in[thread()] % THREADS], 1u); // planted: unwritten_histogram
    dev::block_sync();
    if (thread() < 64) a.out[thread()] = (int32_t)bins[thread()];
}

__global__ void unwritten_device(planted_args a) {
    a.out[thread()] = a.fresh[thread()]; // planted: unwritten_device
}

__global__ void missing_wait(planted_args a) {
    SHARED_DYN(int32_t, tile);
    dev::copy_async16(tile + 4 * thread(), a.in + 4 * thread());
    dev::copy_async_commit();
    dev::block_sync();
    a.out[thread()] = tile[4 * thread()]; // planted: missing_wait
    dev::copy_async_wait<0>();
}

// Two groups are open, and the wait leaves the one that is read.
__global__ void wait_for_too_few(planted_args a) {
    SHARED_DYN(int32_t, tile);
    for (int i = 0; i < 2; i++) {
        dev::copy_async16(tile + 4 * (i * THREADS + thread()), a.in + 4 * (i * THREADS + thread()));
        dev::copy_async_commit();
    }
    dev::copy_async_wait<1>();
    dev::block_sync();
    a.out[thread()] = tile[4 * (THREADS + thread())]; // planted: wait_for_too_few
    dev::copy_async_wait<0>();
}

// The copies of other threads are waited for by them, and no barrier tells.
__global__ void wait_without_barrier(planted_args a) {
    SHARED_DYN(int32_t, tile);
    dev::copy_async16(tile + 4 * thread(), a.in + 4 * thread());
    dev::copy_async_commit();
    dev::copy_async_wait<0>();
    a.out[thread()] = tile[4 * (thread() ^ 64)]; // planted: wait_without_barrier
}

// A named barrier of the first two warps orders nothing for the third.
__global__ void named_barrier_of_others(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    tile[thread()] = a.in[thread()];
    if (thread() < 64)
        dev::named_sync(1, 64);
    else
        dev::named_sync(2, 64);
    a.out[thread()] = tile[THREADS - 1 - thread()]; // planted: named_barrier_of_others
}

// ---- correct ----

__global__ void tile_with_barriers(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) {
        tile[thread()] = a.in[i * THREADS + thread()];
        dev::block_sync();
        sum += tile[THREADS - 1 - thread()];
        dev::block_sync();
    }
    a.out[blockIdx.x * THREADS + (unsigned)thread()] = sum;
}

__global__ void warp_exchange(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    tile[thread()] = a.in[thread()];
    dev::warp_sync();
    int32_t other = tile[thread() ^ 1];
    dev::warp_sync();
    tile[thread() ^ 2] = other;
    dev::warp_sync();
    a.out[thread()] = tile[thread()];
}

__global__ void halves_of_words(planted_args a) {
    uint16_t *halves = reinterpret_cast<uint16_t *>(a.out);
    SHARED(uint16_t, tile, [THREADS]);
    tile[thread()] = (uint16_t)thread();
    halves[thread()] = tile[thread()];
}

__global__ void named_barriers(planted_args a) {
    SHARED(int32_t, tile, [THREADS]);
    tile[thread()] = a.in[thread()];
    int half = thread() / 64;
    dev::named_sync(1 + half, 64);
    a.out[thread()] = tile[half * 64 + 63 - thread() % 64];
}

__global__ void double_buffer(planted_args a) {
    SHARED_DYN(int32_t, tile);
    int32_t sum = 0;
    dev::copy_async16(tile + 4 * thread(), a.in + 4 * thread());
    dev::copy_async_commit();
    for (int i = 0; i < 4; i++) {
        int next = i + 1;
        if (next < 4)
            dev::copy_async16(tile + 4 * (next % 2 * THREADS + thread()), a.in + 4 * (next * THREADS + thread()));
        dev::copy_async_commit();
        dev::copy_async_wait<1>();
        dev::block_sync();
        sum += tile[4 * (i % 2 * THREADS + (thread() ^ 64))];
        dev::block_sync();
    }
    dev::copy_async_wait<0>();
    a.out[thread()] = sum;
}

__global__ void histogram(planted_args a) {
    SHARED(uint32_t, bins, [THREADS]);
    bins[thread()] = 0;
    dev::block_sync();
    dev::atomic_add(&bins[(unsigned)a.in[thread()] % THREADS], 1u);
    dev::block_sync();
    dev::atomic_add(&a.out[thread()], (int32_t)bins[thread()]);
}

__global__ void last_block_sums(planted_args a) {
    a.out[blockIdx.x * THREADS + (unsigned)thread()] = a.in[thread()];
    if (!dev::last_block(a.counter, gridDim.x)) return;
    int32_t sum = 0;
    for (int b = 0; b < (int)gridDim.x; b++) sum += a.out[b * THREADS + thread()];
    a.out[thread()] = sum;
}

template <void (*kernel)(planted_args), int blocks, int shared_words>
cudaError_t launch(const planted_args &args, cudaStream_t stream) {
    return LAUNCH(kernel, dim3(blocks), dim3(THREADS), shared_words * sizeof(int32_t), stream, args);
}

const char RACES[] = "races with", UNWRITTEN[] = "never written", OUTSIDE[] = "not the device's",
           PENDING[] = "before its wait";

} // namespace

#define CASE(name, blocks, shared_words, report)                                                                       \
    { #name, launch < name, blocks, shared_words>, report }

const planted_case planted_cases[] = {
    CASE(read_after_write, 1, 0, RACES),
    CASE(broadcast_by_first, 1, 0, RACES),
    CASE(broadcast_by_last, 1, 0, RACES),
    CASE(write_after_read, 1, 0, RACES),
    CASE(second_reduction, 1, 0, RACES),
    CASE(missing_warp_sync, 1, 0, RACES),
    CASE(shuffle_orders_memory, 1, 0, RACES),
    CASE(lost_update, 1, 0, RACES),
    CASE(same_value, 1, 0, RACES),
    CASE(between_blocks, 2, 0, RACES),
    CASE(counter_without_fence, 3, 0, RACES),
    CASE(plain_and_atomic, 1, 0, RACES),
    CASE(static_shared_end, 1, 0, OUTSIDE),
    CASE(dynamic_shared_end, 1, THREADS, OUTSIDE),
    CASE(read_past_end, 1, 0, OUTSIDE),
    CASE(write_past_end, 1, 0, OUTSIDE),
    CASE(host_pointer, 1, 0, OUTSIDE),
    CASE(misaligned, 1, 0, "misaligned"),
    CASE(unwritten_shared, 1, 0, UNWRITTEN),
    CASE(unwritten_histogram, 1, 0, UNWRITTEN),
    CASE(unwritten_device, 1, 0, UNWRITTEN),
    CASE(missing_wait, 1, 4 * THREADS, PENDING),
    CASE(wait_for_too_few, 1, 8 * THREADS, PENDING),
    CASE(wait_without_barrier, 1, 4 * THREADS, RACES),
    CASE(named_barrier_of_others, 1, 0, RACES),
    CASE(tile_with_barriers, 3, 0, nullptr),
    CASE(warp_exchange, 1, 0, nullptr),
    CASE(halves_of_words, 1, 0, nullptr),
    CASE(named_barriers, 1, 0, nullptr),
    CASE(double_buffer, 1, 8 * THREADS, nullptr),
    CASE(histogram, 3, 0, nullptr),
    CASE(last_block_sums, 3, 0, nullptr),
};
const int planted_case_count = sizeof planted_cases / sizeof planted_cases[0];
