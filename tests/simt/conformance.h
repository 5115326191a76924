// conformance.h: kernels that show what every function of kernels/device.cuh gives for known arguments. The
// launchers need no emulation: the same file runs on a GPU.
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

enum { CONFORMANCE_THREADS = 96, SHUFFLE_WORDS = 24, MEETING_WORDS = 24, SCALAR_WORDS = 16 };

struct conformance_args {
    const uint32_t *in;
    uint32_t *out;
    uint32_t *counter; // [1] 0
};

// in [96]; out [96, SHUFFLE_WORDS]
cudaError_t conformance_shuffles(const conformance_args &args, cudaStream_t stream);
// in [96] random bits, of which in & 3 is matched; out [96, MEETING_WORDS]
cudaError_t conformance_meetings(const conformance_args &args, cudaStream_t stream);
// in: a [16, K] and b [K, 8] and c [16, 8] as floats that the type holds; out [16, 8]. K = 16, 16, 8
cudaError_t conformance_mma_bf16(const conformance_args &args, cudaStream_t stream);
cudaError_t conformance_mma_f16(const conformance_args &args, cudaStream_t stream);
cudaError_t conformance_mma_tf32(const conformance_args &args, cudaStream_t stream);
// in [96] floats; out [96, SCALAR_WORDS]
cudaError_t conformance_scalars(const conformance_args &args, cudaStream_t stream);
// grid 3 x 2 x 2 of 64 threads; out [12, 64] x + 10 y + 100 z + 1000 thread + 100000 blocks
cudaError_t conformance_indices(const conformance_args &args, cudaStream_t stream);
// in [96 * 4]; out [96 * 4]: copied through shared memory, in 16- and 8-byte pieces, every second thread's part zeroed
cudaError_t conformance_memory(const conformance_args &args, cudaStream_t stream);
// grid of 5; out [0] the number of blocks that came last, out [1 + b] 1
cudaError_t conformance_last_block(const conformance_args &args, cudaStream_t stream);
// out [10] zeros: what eight kinds of atomics leave behind, of 5 blocks
cudaError_t conformance_atomics(const conformance_args &args, cudaStream_t stream);

#endif
