// simt_runtime.h: what the emulated CUDA runtime (simt_cudart.cpp) shows to the emulated cuBLASLt and to tests. Programs
// under test see only the toolkit's own functions.
//
// TIME. A stream is a queue of operations. Nothing runs when it is enqueued; a call that waits (a synchronise, a blocking
// copy, a free) runs operations of randomly picked streams, one at a time and obeying events, until what it waits for is
// done. A missing wait or event therefore shows as wrong data. TEMPERA_SIMT_STREAMS=eager runs each operation at once.
//
// MEMORY. Device memory is host memory of the exact size, aligned to 256 bytes, and starts as 0xFF bytes (NaN as a float,
// -1 as an integer). With the address sanitizer it stays poisoned while host code runs.
//
// Environment, read at the first call:
//   TEMPERA_SIMT_STREAMS     late (default) or eager
//   TEMPERA_SIMT_SEED        of the order of streams (default 1)
//   TEMPERA_SIMT_FAIL        n: the n-th call fails once; sticky:n: the device is lost from the n-th call on
//   TEMPERA_SIMT_MEMORY      bytes of the device (default 1 GiB)
//   TEMPERA_SIMT_DEVICES     number of devices (default 1)
//   TEMPERA_SIMT_CAPABILITY  compute capability (default 8.0)
//   TEMPERA_SIMT_PROCESSORS  multiprocessors (default 4)
//   TEMPERA_SIMT_DRIVER      CUDA version of the driver (default: that of the headers; 0: no driver)
//   TEMPERA_SIMT_CALLS       a file that gets the name of every call, one a line
#ifndef SIMT_RUNTIME_H
#define SIMT_RUNTIME_H

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace simt {

// One queued piece of work. It runs with all device memory open; an error other than cudaSuccess is sticky.
using Operation = std::function<cudaError_t()>;

// Checks what a launch may ask for, and enqueues; `work` runs the grid. kernel is the function's address, for what
// cudaFuncSetAttribute said about it.
cudaError_t enqueue_launch(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                           Operation work);
// The same for library work that is not a kernel. Does not count as a call.
cudaError_t enqueue(cudaStream_t stream, Operation work);

// Counts a call of the program under test; the error it has to return at once, if any: an injected one (`injected` for
// a fault that passes) or the sticky one.
cudaError_t count_call(const char *name, cudaError_t injected);

// Bytes of shared memory that a block may ask for, static and dynamic together.
size_t shared_memory_limit();

// Whether [p, p + bytes) lies inside one device allocation.
bool is_device_memory(const void *p, size_t bytes);

// Keeps the reason of an error, in words, for simt_last_error().
void explain(const char *format, ...) __attribute__((format(printf, 1, 2)));

} // namespace simt

// For tests, also through dlsym on the module.
extern "C" {
uint64_t simt_calls(void); // calls so far that could have failed
// The call number `call` from now on (1 = the next) fails: once, or with the device lost when sticky. 0: none.
void simt_fail_call(uint64_t call, bool sticky);
// A sticky error is forgotten, as by a new process.
void simt_revive(void);
// Allocations, streams, events and graphs that were not given back.
size_t simt_live_objects(void);
size_t simt_memory_used(void);
const char *simt_last_error(void);
}

#endif
