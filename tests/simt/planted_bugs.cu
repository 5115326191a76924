// planted_bugs.cu: the kernels of planted_bugs.h. They are wrong on purpose, each in the way its name says.
#include "planted_bugs.h"

#include "kernels/device.cuh"

namespace {

enum { BLOCK = 128 };

#define KERNEL(name) __global__ void __launch_bounds__(BLOCK) name(const bug_args a)

// ---- missing barriers ----

KERNEL(raw_across_warps) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    s[t] = a.in[t];
    a.out[t] = s[(t + 32) % BLOCK];
}

KERNEL(broadcast_by_first) {
    SHARED(int32_t, s, );
    if (threadIdx.x == 0) s = a.in[0];
    a.out[threadIdx.x] = s;
}

KERNEL(broadcast_by_last) {
    SHARED(int32_t, s, );
    if (threadIdx.x == BLOCK - 1) s = a.in[0];
    a.out[threadIdx.x] = s;
}

KERNEL(war_in_loop) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    int32_t value = a.in[t];
    for (int i = 0; i < 4; i++) { // passes every value on to the next thread
        s[t] = value;
        dev::block_sync();
        value = s[(t + 1) % BLOCK];
    }
    a.out[t] = value;
}

DEV int32_t sum_of_block(int32_t value, int32_t *partials) {
    value = dev::warp_sum(value);
    if (threadIdx.x % 32 == 0) partials[threadIdx.x / 32] = value;
    dev::block_sync();
    int32_t sum = 0;
    for (int w = 0; w < BLOCK / 32; w++) sum += partials[w];
    return sum;
}

KERNEL(second_reduction) {
    SHARED(int32_t, partials, [BLOCK / 32]);
    const int32_t first = sum_of_block(1, partials);
    const int32_t second = sum_of_block(2, partials);
    a.out[threadIdx.x] = first * 1000 + second;
}

KERNEL(missing_warp_sync) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    s[t] = a.in[t];
    a.out[t] = s[t ^ 1];
}

KERNEL(shuffle_orders_memory) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    s[t] = a.in[t];
    dev::shfl_xor(t, 1);
    a.out[t] = s[t ^ 1];
}

KERNEL(lost_update) {
    a.zeros[0] = a.zeros[0] + 1;
    if (threadIdx.x == 0) a.out[0] = 1;
}

KERNEL(same_value_by_all) {
    a.out[0] = 7;
}

KERNEL(block_reads_block) {
    if (threadIdx.x != 0) return;
    if (blockIdx.x == 0) a.out[0] = 5;
    if (blockIdx.x == 1) a.out[1] = a.out[0];
}

KERNEL(named_barrier_of_the_wrong_half) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    s[t] = a.in[t];
    dev::named_sync(1 + t / (BLOCK / 2), BLOCK / 2); // each half for itself
    a.out[t] = s[(t + BLOCK / 2) % BLOCK];
}

// ---- addresses ----

KERNEL(static_shared_read_behind) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    s[t] = a.in[t];
    dev::block_sync();
    a.out[t] = s[t + 1];
}

KERNEL(static_shared_write_behind) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    s[t + 1] = a.in[t];
    dev::block_sync();
    a.out[t] = s[t + (t == 0)];
}

KERNEL(dynamic_shared_read_behind) {
    SHARED_DYN(int32_t, s);
    const int t = (int)threadIdx.x;
    s[t] = a.in[t];
    dev::block_sync();
    a.out[t] = s[t + 1];
}

KERNEL(dynamic_shared_write_behind) {
    SHARED_DYN(int32_t, s);
    const int t = (int)threadIdx.x;
    s[t + 1] = a.in[t];
    dev::block_sync();
    a.out[t] = s[t + (t == 0)];
}

KERNEL(global_read_behind) {
    a.out[threadIdx.x] = a.in[BUG_WORDS - BLOCK + 1 + threadIdx.x] == -12345 ? 2 : 1;
}

KERNEL(global_write_behind) {
    a.out[BUG_WORDS - BLOCK + 1 + threadIdx.x] = 1;
    a.out[threadIdx.x] = 1;
}

KERNEL(global_read_before) {
    a.out[threadIdx.x] = a.in[(int)threadIdx.x - 1] == -12345 ? 2 : 1;
}

KERNEL(reads_host_memory) {
    a.out[threadIdx.x] = *a.host;
}

KERNEL(misaligned_load) {
    const dev::word4 v = dev::ld128(a.in + threadIdx.x);
    a.out[threadIdx.x] = (int32_t)v.w[0];
}

KERNEL(misaligned_shared) { // an array of floats has a float's alignment
    SHARED(float, s, [BLOCK * 4]);
    dev::st128(s + threadIdx.x * 4, {{0, 0, 0, 0}});
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(misaligned_atomic) {
    dev::atomic_add(reinterpret_cast<uint64_t *>(a.zeros + 1), (uint64_t)1);
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(streams_shared_memory) {
    SHARED(dev::word4, s, [BLOCK]);
    s[threadIdx.x] = {{0, 0, 0, 0}};
    a.out[threadIdx.x] = (int32_t)dev::ld128_stream(&s[threadIdx.x]).w[0];
}

KERNEL(atomic_behind) {
    dev::atomic_add(a.zeros + BUG_WORDS + threadIdx.x / BLOCK, 0u);
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(too_much_static_shared) {
    SHARED(int32_t, s, [48 * 256 + 1]);
    s[threadIdx.x] = 0;
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(static_beside_dynamic_shared) {
    SHARED(int32_t, s, [BLOCK]);
    s[threadIdx.x] = 0;
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

// ---- barriers that not all reach ----

KERNEL(barrier_after_exits) {
    a.out[threadIdx.x] = a.in[threadIdx.x];
    if (threadIdx.x % 32 == 5) return;
    dev::block_sync();
}

KERNEL(barrier_after_exit_of_a_warp) {
    a.out[threadIdx.x] = a.in[threadIdx.x];
    if (threadIdx.x < 32) return;
    dev::block_sync();
}

KERNEL(barrier_in_two_branches) {
    if (threadIdx.x < 64) {
        dev::block_sync();
        a.out[threadIdx.x] = a.in[threadIdx.x];
    } else {
        dev::block_sync();
        a.out[threadIdx.x] = a.in[threadIdx.x];
    }
}

KERNEL(different_trip_counts) {
    for (unsigned i = 0; i <= threadIdx.x / 64; i++) dev::block_sync();
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(block_barrier_meets_warp_sync) {
    if (threadIdx.x % 32 < 16)
        dev::block_sync();
    else
        dev::warp_sync();
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(named_barrier_of_half_warps) {
    if (threadIdx.x % 32 < 16) dev::named_sync(1, BLOCK / 2);
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(named_barrier_waits_for_too_many) {
    if (threadIdx.x < 64) dev::named_sync(1, 96);
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(named_barrier_of_two_counts) {
    dev::named_sync(1, threadIdx.x < 32 ? 64 : 96);
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

// ---- warp functions that not all reach ----

KERNEL(shuffle_after_exit) {
    const int t = (int)threadIdx.x;
    a.out[t] = a.in[t];
    if (t == 7) return;
    a.out[t] = a.in[t] + 0 * dev::shfl_xor(t, 1);
}

KERNEL(shuffle_in_branch) {
    const int t = (int)threadIdx.x;
    int32_t value = a.in[t];
    if (t % 32 < 16) value += 0 * dev::shfl_xor(t, 1);
    a.out[t] = value;
}

KERNEL(shuffle_at_two_sites) {
    const int t = (int)threadIdx.x;
    int32_t value;
    if (t % 2)
        value = dev::shfl(t, 0);
    else
        value = dev::shfl(t, 1);
    a.out[t] = a.in[t] + 0 * value;
}

KERNEL(ballot_meets_shuffle) {
    const int t = (int)threadIdx.x;
    const int32_t value = t % 32 < 8 ? (int32_t)dev::ballot(true) : dev::shfl(t, 0);
    a.out[t] = a.in[t] + 0 * value;
}

KERNEL(shuffle_by_too_many) {
    const int t = (int)threadIdx.x;
    a.out[t] = a.in[t] + 0 * dev::shfl_down(t, 32);
}

KERNEL(endless_warp_loop) {
    while (dev::ballot(true)) continue;
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(endless_spin) { // nobody sets it
    while (dev::atomic_add(a.zeros, 0u) == 0) continue;
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

// ---- memory that has no value ----

KERNEL(unwritten_shared) {
    SHARED(int32_t, s, [BLOCK]);
    if (threadIdx.x != 9) s[threadIdx.x] = a.in[threadIdx.x];
    dev::block_sync();
    a.out[threadIdx.x] = s[threadIdx.x];
}

KERNEL(histogram_not_zeroed) {
    SHARED(uint32_t, bins, [8]);
    dev::atomic_add(&bins[threadIdx.x % 8], 1u);
    dev::block_sync();
    if (threadIdx.x < 8) a.out[threadIdx.x] = (int32_t)bins[threadIdx.x];
}

KERNEL(unwritten_global) {
    a.out[threadIdx.x] += a.in[threadIdx.x];
}

KERNEL(counter_not_zeroed) {
    if (dev::last_block(reinterpret_cast<uint32_t *>(a.out) + 1, gridDim.x) && threadIdx.x == 0) a.out[0] = 1;
}

// ---- asynchronous copies ----

KERNEL(missing_copy_wait) {
    SHARED(dev::word4, s, [BLOCK / 4]);
    const int t = (int)threadIdx.x;
    if (t < BLOCK / 4) dev::copy_async16(&s[t], a.in + t * 4);
    dev::copy_async_commit();
    dev::block_sync();
    a.out[t] = (int32_t)s[t / 4].w[t % 4];
    dev::copy_async_wait<0>();
}

KERNEL(copy_wait_for_one_too_few) {
    SHARED(dev::word4, s, [BLOCK / 4]);
    const int t = (int)threadIdx.x;
    if (t < BLOCK / 4) dev::copy_async16(&s[t], a.in + t * 4);
    dev::copy_async_commit();
    dev::copy_async_wait<1>();
    dev::block_sync();
    a.out[t] = (int32_t)s[t / 4].w[t % 4];
    dev::copy_async_wait<0>();
}

KERNEL(missing_barrier_after_copy_wait) {
    SHARED(dev::word4, s, [BLOCK / 4]);
    const int t = (int)threadIdx.x;
    if (t >= BLOCK * 3 / 4) dev::copy_async16(&s[t - BLOCK * 3 / 4], a.in + (t - BLOCK * 3 / 4) * 4);
    dev::copy_async_commit();
    dev::copy_async_wait<0>();
    a.out[t] = (int32_t)s[t / 4].w[t % 4];
}

KERNEL(copy_not_waited_for) {
    SHARED(dev::word4, s, [BLOCK]);
    dev::copy_async16(&s[threadIdx.x], a.in);
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(copy_behind_the_array) {
    SHARED(dev::word4, s, [BLOCK / 4]);
    const int t = (int)threadIdx.x;
    if (t < BLOCK / 4) dev::copy_async16(&s[t + 1], a.in + t * 4);
    dev::copy_async_commit();
    dev::copy_async_wait<0>();
    a.out[t] = a.in[t];
}

KERNEL(copy_misaligned) {
    SHARED(dev::word4, s, [BLOCK]);
    dev::copy_async16(&s[threadIdx.x], a.in + threadIdx.x);
    dev::copy_async_commit();
    dev::copy_async_wait<0>();
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(copy_reads_behind) {
    SHARED(dev::word4, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    dev::copy_async16(&s[t], a.in + BUG_WORDS - (BLOCK - 1) * 4 + t * 4);
    dev::copy_async_commit();
    dev::copy_async_wait<0>();
    a.out[t] = a.in[t];
}

// ---- plain C++ ----

KERNEL(shift_by_width) {
    const unsigned by = (unsigned)a.in[31]; // 32
    a.out[threadIdx.x] = (int32_t)(a.in[threadIdx.x] + 0 * (1 << by));
}

// ---- correct ----

KERNEL(neighbours_in_a_word) {
    SHARED(uint16_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    s[t] = (uint16_t)a.in[t];
    dev::block_sync();
    uint16_t *halves = reinterpret_cast<uint16_t *>(a.out);
    halves[t] = s[t];
}

KERNEL(warp_sync_orders_memory) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x;
    for (int i = 0; i < 3; i++) {
        s[t] = a.in[t] + i;
        dev::warp_sync();
        a.out[t] = s[t ^ 1];
        dev::warp_sync();
    }
}

KERNEL(named_barriers_order_memory) {
    SHARED(int32_t, s, [BLOCK]);
    const int t = (int)threadIdx.x, half = t / (BLOCK / 2), first = half * (BLOCK / 2);
    s[t] = a.in[t];
    dev::named_sync(1 + half, BLOCK / 2);
    a.out[t] = s[first + (t - first + 32) % (BLOCK / 2)];
}

KERNEL(producers_and_consumers) { // meet at one named barrier from two places
    SHARED(int32_t, s, [BLOCK / 2]);
    const int t = (int)threadIdx.x;
    if (t < BLOCK / 2) {
        s[t] = a.in[t];
        dev::named_sync(3, BLOCK);
        a.out[t] = 0;
    } else {
        dev::named_sync(3, BLOCK);
        a.out[t] = s[BLOCK - 1 - t];
    }
}

KERNEL(a_warp_leaves_early) {
    if (threadIdx.x >= 96) {
        a.out[threadIdx.x] = 32;
        return;
    }
    a.out[threadIdx.x] = dev::popc(dev::ballot(true));
}

KERNEL(waits_for_a_flag) { // of a later warp of the block, in all orders
    if (threadIdx.x == BLOCK - 1) dev::atomic_add(a.zeros, 1u);
    if (threadIdx.x == 0)
        while (dev::atomic_add(a.zeros, 0u) == 0) continue;
    a.out[threadIdx.x] = a.in[threadIdx.x];
}

KERNEL(double_buffered_copies) {
    SHARED(dev::word4, s, [2][BLOCK]);
    const int t = (int)threadIdx.x;
    int32_t sum = 0;
    dev::copy_async16(&s[0][t], a.in, true);
    dev::copy_async_commit();
    for (int i = 0; i < 4; i++) {
        if (i + 1 < 4) dev::copy_async16(&s[(i + 1) % 2][t], a.in + (i + 1) * 4, i + 1 < 3);
        dev::copy_async_commit();
        dev::copy_async_wait<1>();
        dev::block_sync();
        sum += (int32_t)s[i % 2][(t + 40) % BLOCK].w[0];
        dev::block_sync();
    }
    a.out[t] = sum; // in[0] + in[4] + in[8] + zeros
}

KERNEL(last_block_sums) {
    if (threadIdx.x == 0) a.out[1 + blockIdx.x] = (int32_t)blockIdx.x + 1;
    if (!dev::last_block(a.zeros, gridDim.x)) return;
    int32_t sum = 0;
    for (unsigned b = 0; b < gridDim.x; b++) sum += a.out[1 + b];
    if (threadIdx.x == 0) a.out[0] = sum;
}

int32_t constant_1(int) {
    return 1;
}
int32_t constant_7(int) {
    return 7;
}
int32_t constant_5(int) {
    return 5;
}
int32_t same(int i) {
    return i + 1;
}
int32_t next_warp(int i) {
    return (i + 32) % BLOCK + 1;
}
int32_t other_half(int i) {
    return (i + BLOCK / 2) % BLOCK + 1;
}
int32_t next_but_four(int i) {
    return (i + 4) % BLOCK + 1;
}
int32_t two_sums(int) {
    return BLOCK * 1000 + 2 * BLOCK;
}
int32_t neighbour(int i) {
    return (i ^ 1) + 1;
}
int32_t following(int i) {
    return i + 2;
}
int32_t previous(int i) {
    return i == 0 ? 1 : i;
}
int32_t sixteen(int) {
    return BLOCK / 8;
}
int32_t two_halves(int i) {
    return (int32_t)((uint32_t)(2 * i + 2) << 16 | (uint32_t)(2 * i + 1));
}
int32_t neighbour_plus_2(int i) {
    return (i ^ 1) + 3;
}
int32_t within_half(int i) {
    const int first = i / (BLOCK / 2) * (BLOCK / 2);
    return first + (i - first + 32) % (BLOCK / 2) + 1;
}
int32_t mirrored(int i) {
    return i < BLOCK / 2 ? 0 : BLOCK - i;
}
int32_t thirty_two(int) {
    return 32;
}
int32_t three_copies(int) {
    return 1 + 5 + 9;
}
int32_t four_blocks(int i) {
    return i == 0 ? 10 : i;
}

#define BLOCKS(count, bytes, kernel)                                                                                   \
#kernel, [](const bug_args &a, cudaStream_t s) { return LAUNCH(kernel, dim3(count), dim3(BLOCK), bytes, s, a); }
#define ONE(kernel) BLOCKS(1, 0, kernel)

} // namespace

const PlantedBug planted_bugs[] = {
    {ONE(raw_across_warps), BLOCK, next_warp, BY_DEFAULT | BY_ORDERS | BY_RACE, nullptr},
    {ONE(broadcast_by_first), BLOCK, constant_1, BY_ORDERS | BY_RACE, nullptr},
    {ONE(broadcast_by_last), BLOCK, constant_1, BY_DEFAULT | BY_ORDERS | BY_RACE, nullptr},
    {ONE(war_in_loop), BLOCK, next_but_four, BY_DEFAULT | BY_ORDERS | BY_RACE, nullptr},
    {ONE(second_reduction), BLOCK, two_sums, BY_DEFAULT | BY_ORDERS | BY_RACE, nullptr},
    {ONE(missing_warp_sync), BLOCK, neighbour, BY_DEFAULT | BY_ORDERS | BY_RACE, nullptr},
    {ONE(shuffle_orders_memory), BLOCK, neighbour, BY_RACE, nullptr},
    {ONE(lost_update), 1, constant_1, BY_RACE, nullptr},
    {ONE(same_value_by_all), 1, constant_7, BY_RACE, nullptr},
    {BLOCKS(2, 0, block_reads_block), 2, constant_5, BY_ORDERS | BY_RACE, nullptr},
    {ONE(named_barrier_of_the_wrong_half), BLOCK, other_half, BY_DEFAULT | BY_ORDERS | BY_RACE, nullptr},

    {ONE(static_shared_read_behind), BLOCK, following, BY_DEFAULT | BY_ASAN | BY_RACE, nullptr},
    {ONE(static_shared_write_behind), BLOCK, previous, BY_DEFAULT | BY_ASAN | BY_RACE,
     "behind the end of 's' of 512 bytes"},
    {BLOCKS(1, BLOCK * 4, dynamic_shared_read_behind), BLOCK, following, BY_DEFAULT | BY_ASAN | BY_RACE, nullptr},
    {BLOCKS(1, BLOCK * 4, dynamic_shared_write_behind), BLOCK, previous, BY_DEFAULT | BY_ASAN | BY_RACE,
     "behind the end of 'dynamic shared memory' of 512 bytes"},
    {ONE(global_read_behind), BLOCK, constant_1, BY_ASAN | BY_RACE, nullptr},
    {ONE(global_write_behind), BLOCK, constant_1, BY_ASAN | BY_RACE, nullptr},
    {ONE(global_read_before), BLOCK, constant_1, BY_ASAN | BY_RACE, nullptr},
    {ONE(reads_host_memory), BLOCK, constant_7, BY_RACE, nullptr},
    {ONE(misaligned_load), BLOCK, same, BY_DEFAULT, "is not a multiple of 16"},
    {ONE(misaligned_shared), BLOCK, same, BY_DEFAULT, "is not a multiple of 16"},
    {ONE(misaligned_atomic), BLOCK, same, BY_DEFAULT, "is not a multiple of 8"},
    {ONE(streams_shared_memory), BLOCK, same, BY_DEFAULT, "is shared memory, and global memory is needed"},
    {ONE(atomic_behind), BLOCK, same, BY_RACE, nullptr},
    {ONE(too_much_static_shared), BLOCK, same, BY_DEFAULT, "49156 bytes of static shared memory"},
    {BLOCKS(1, 48 * 1024, static_beside_dynamic_shared), BLOCK, same, BY_DEFAULT, "more than 49152 together"},
    {BLOCKS(1, 163 * 1024, static_beside_dynamic_shared), BLOCK, same, BY_DEFAULT, "more than 166912 together"},

    {ONE(barrier_after_exits), BLOCK, same, BY_DEFAULT, "others of its block wait for it in block_sync"},
    {ONE(barrier_after_exit_of_a_warp), BLOCK, same, BY_DEFAULT, "threads have exited"},
    {ONE(barrier_in_two_branches), BLOCK, same, BY_DEFAULT,
     "other threads of the block are in the one at planted_bugs.cu"},
    {ONE(different_trip_counts), BLOCK, same, BY_DEFAULT, "block_sync by a block of which threads have exited"},
    {ONE(block_barrier_meets_warp_sync), BLOCK, same, BY_DEFAULT, "nobody can run"},
    {ONE(named_barrier_of_half_warps), BLOCK, same, BY_DEFAULT, "of warp 0 only the lanes 0000ffff are there"},
    {ONE(named_barrier_waits_for_too_many), BLOCK, same, BY_DEFAULT, "nobody can run"},
    {ONE(named_barrier_of_two_counts), BLOCK, same, BY_DEFAULT,
     "named barrier 1 for 96 threads, and others wait there for 64"},

    {ONE(shuffle_after_exit), BLOCK, same, BY_DEFAULT, "others of its warp wait for it in shfl_xor"},
    {ONE(shuffle_in_branch), BLOCK, same, BY_DEFAULT, "others of its warp wait for it in shfl_xor"},
    {ONE(shuffle_at_two_sites), BLOCK, same, BY_DEFAULT, "other threads of the warp are in shfl at planted_bugs.cu"},
    {ONE(ballot_meets_shuffle), BLOCK, same, BY_DEFAULT, "other threads of the warp are in ballot at planted_bugs.cu"},
    {ONE(shuffle_by_too_many), BLOCK, same, BY_DEFAULT, "a shuffle by 32 lanes"},
    {ONE(endless_warp_loop), BLOCK, same, BY_DEFAULT, "an endless loop?"},
    {ONE(endless_spin), BLOCK, same, BY_DEFAULT, "an endless loop?"},

    {ONE(unwritten_shared), BLOCK, same, BY_DEFAULT | BY_RACE, nullptr},
    {ONE(histogram_not_zeroed), 8, sixteen, BY_DEFAULT | BY_RACE, nullptr},
    {ONE(unwritten_global), BLOCK, same, BY_DEFAULT | BY_RACE, nullptr},
    {ONE(counter_not_zeroed), 1, constant_1, BY_DEFAULT | BY_RACE, "the counter is 4294967295, and there are 1 blocks"},

    {ONE(missing_copy_wait), BLOCK, same, BY_DEFAULT | BY_ASAN | BY_RACE, nullptr},
    {ONE(copy_wait_for_one_too_few), BLOCK, same, BY_DEFAULT | BY_ASAN | BY_RACE, nullptr},
    {ONE(missing_barrier_after_copy_wait), BLOCK, same, BY_DEFAULT | BY_RACE, nullptr},
    {ONE(copy_not_waited_for), BLOCK, same, BY_DEFAULT, "1 asynchronous copies that it did not wait for"},
    {ONE(copy_behind_the_array), BLOCK, same, BY_DEFAULT, "which is no shared memory of the block's"},
    {ONE(copy_misaligned), BLOCK, same, BY_DEFAULT, "is not a multiple of 16"},
    {ONE(copy_reads_behind), BLOCK, same, BY_RACE, nullptr},

    {ONE(shift_by_width), BLOCK, same, BY_ASAN, nullptr},
    {nullptr, nullptr, 0, nullptr, 0, nullptr},
};

const PlantedBug planted_correct[] = {
    {ONE(neighbours_in_a_word), BLOCK / 2, two_halves, 0, nullptr},
    {ONE(warp_sync_orders_memory), BLOCK, neighbour_plus_2, 0, nullptr},
    {ONE(named_barriers_order_memory), BLOCK, within_half, 0, nullptr},
    {ONE(producers_and_consumers), BLOCK, mirrored, 0, nullptr},
    {ONE(a_warp_leaves_early), BLOCK, thirty_two, 0, nullptr},
    {ONE(waits_for_a_flag), BLOCK, same, 0, nullptr},
    {ONE(double_buffered_copies), BLOCK, three_copies, 0, nullptr},
    {BLOCKS(4, 0, last_block_sums), 5, four_blocks, 0, nullptr},
    {nullptr, nullptr, 0, nullptr, 0, nullptr},
};
