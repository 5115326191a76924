// simt_emu.h: runs the blocks of a grid on the CPU. Every emulated thread is a fiber (a stack of its own, switched
// by hand); the scheduler decides, in one of several orders, who runs next at each barrier and warp function.
// Kernels see none of this: simt_device.h gives them CUDA's names. The other readers are the emulated runtime (run),
// the race checker (current, preempt), which the emulator tells what happens (simt_race.h), and tests (set_order).
//
// One grid runs at a time, on one operating-system thread; the emulated runtime's lock sees to that.
//
// ERRORS a kernel makes (divergent barriers, an exit that others wait for, misaligned addresses, …) abandon the
// grid: run() returns cudaErrorLaunchFailure and simt_last_error() says which kernel, block and thread, and where
// every thread of the block stands.
//
// ORDERS, of threads and of blocks. All but chaos keep one block resident; chaos keeps four and interleaves them.
//     fwd, rev           round robin over the block's warps; lanes and blocks ascending, descending
//     warpfwd, warprev   the first warp that can run runs as far as it can; all ascending (the default), descending
//     warprand           the same, with warps, lanes and blocks in a random order
//     chaos              any thread that can run is next
// Environment, read at the first launch:
//     TEMPERA_SIMT_ORDER   name[:seed]
//     TEMPERA_SIMT_COPY    late (default: an asynchronous copy happens when it is waited for) or early (at once)
#ifndef SIMT_EMU_H
#define SIMT_EMU_H

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "simt_runtime.h"

namespace simt {

// A place in a kernel's source: where a thread waits.
struct Site {
    const char *file = nullptr;
    int line = 0;
};

// ---- one grid ----

struct Launch {
    const char *kernel = nullptr; // its name, as written at the launch
    dim3 grid, block;
    size_t shared_bytes = 0;            // dynamic shared memory
    void (*call)(const void *args) = 0; // calls the kernel with a copy of *args
    const void *args = nullptr;
    size_t args_bytes = 0;
};

// Runs a grid to its end: cudaSuccess, or cudaErrorLaunchFailure with the reason by simt::explain().
cudaError_t run(const Launch &launch);

// The order from the next launch on: "chaos:7". False: no such order, nothing changes.
bool set_order(const char *name_and_seed);
// Whether asynchronous copies happen late, from the next launch on.
void set_late_copies(bool late);
// How often a warp may meet, at barriers and in warp functions, or take turns, before that is an endless loop (2^24).
void set_pass_limit(uint32_t passes);

// ---- who runs ----

enum { WARP_LANES = 32, MAX_WARPS = 32, MAX_THREADS = WARP_LANES * MAX_WARPS };

struct Thread {
    uint3 index = {0, 0, 0}; // threadIdx
    uint3 block = {0, 0, 0}; // blockIdx
};

extern Thread *current;                    // the thread that runs; none: host code runs
extern const Launch *launch;               // the grid that runs; none: none
extern uint8_t *shared_begin, *shared_end; // shared memory of all resident blocks
inline bool in_shared(const void *p) {
    const uint8_t *address = static_cast<const uint8_t *>(p);
    return address >= shared_begin && address < shared_end;
}

// Abandons the grid (called by a running thread): the text, who and where, and the table of where every thread stands.
[[noreturn]] void fail(Site site, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Another thread of random choice runs first.
void preempt();

// ---- what simt_device.h is made of ----

// One for each SHARED: gets its place in a block's shared memory when a grid first comes there.
struct SharedSite {
    uint64_t launch = 0;
    size_t offset = 0;
};
void *shared_memory(SharedSite &site, size_t bytes, size_t alignment, const char *name, const char *file, int line);
void *shared_dynamic();

// All lanes of the warp come with a context of their own; the last one to come runs complete() for all.
typedef void (*Completer)(void *const contexts[WARP_LANES]);
void warp_collective(Completer complete, void *context, const char *name, Site site);

enum class Shuffle { index, exclusive_or, up, down };
uint32_t shuffle32(Shuffle kind, uint32_t value, int operand, Site site);
uint64_t shuffle64(Shuffle kind, uint64_t value, int operand, Site site);
uint32_t ballot(bool predicate, Site site);
uint32_t match_any(uint32_t value, Site site);
float warp_sum(float value, Site site);
double warp_sum(double value, Site site);
int32_t warp_sum(int32_t value, Site site);
uint32_t warp_sum(uint32_t value, Site site);
uint64_t warp_sum(uint64_t value, Site site);
float warp_max(float value, Site site);
double warp_max(double value, Site site);
int32_t warp_max(int32_t value, Site site);
uint32_t warp_max(uint32_t value, Site site);
int64_t warp_max(int64_t value, Site site);
uint64_t warp_max(uint64_t value, Site site);
void mma16_bf16(float *d, const uint32_t *a, const uint32_t *b, Site site);
void mma16_f16(float *d, const uint32_t *a, const uint32_t *b, Site site);
void mma8_tf32(float *d, const uint32_t *a, const uint32_t *b, Site site);

void block_sync(Site site);
void warp_sync(Site site);
void named_sync(int id, int threads, Site site);
bool last_block(uint32_t *counter, uint32_t count, Site site);

void copy_async16(void *shared, const void *global, bool valid, Site site);
void copy_async_commit();
void copy_async_wait(int groups);

uint32_t atomic_add(uint32_t *p, uint32_t value, Site site);
uint64_t atomic_add(uint64_t *p, uint64_t value, Site site);
uint32_t atomic_max(uint32_t *p, uint32_t value, Site site);
uint64_t atomic_max(uint64_t *p, uint64_t value, Site site);
uint32_t atomic_or(uint32_t *p, uint32_t value, Site site);
uint32_t atomic_cas(uint32_t *p, uint32_t expected, uint32_t value, Site site);
void fence();

[[noreturn]] void misaligned(const void *p, size_t alignment, Site site);
[[noreturn]] void not_global(const void *p, Site site);

// threadIdx and the like. Code that is instrumented for the race checker calls functions, for the values to be no
// memory accesses of the kernel's.
uint3 called_thread_index();
uint3 called_block_index();
dim3 called_block_size();
dim3 called_grid_size();
inline uint3 thread_index() {
    return current->index;
}
inline uint3 block_index() {
    return current->block;
}
inline dim3 block_size() {
    return launch->block;
}
inline dim3 grid_size() {
    return launch->grid;
}

} // namespace simt

#endif
