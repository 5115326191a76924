// measure.cu: the device's read bandwidth, the denominator of every decode figure.
//
//   out[block] = xor of all 32-bit words that the block read: memory [words], streamed once in 16-byte loads.
//   A block takes tiles of 256 threads x 8 loads of 16 bytes, tile index blockIdx.x, + gridDim.x, …; 32 KiB in flight per block.
//   Shared memory: 8 words. The result has one value whatever the order, since xor is associative.
#include "kernels/device.cuh"
#include "kernels/kernels.h"

namespace {

enum { THREADS = 256, LOADS = 8, TILE = THREADS * LOADS * 4 };

__global__ void __launch_bounds__(THREADS) read_stream(const __grid_constant__ struct read_args p) {
    dev::pdl_begin();
    uint32_t sum = 0;
    for (size_t tile = blockIdx.x; tile < p.words / TILE; tile += gridDim.x) {
        const uint32_t *from = p.memory + tile * TILE + threadIdx.x * 4;
        dev::word4 v[LOADS];
#pragma unroll
        for (int i = 0; i < LOADS; i++) v[i] = dev::ld128_stream(from + i * THREADS * 4);
#pragma unroll
        for (int i = 0; i < LOADS; i++) sum ^= v[i].w[0] ^ v[i].w[1] ^ v[i].w[2] ^ v[i].w[3];
    }
    SHARED(uint32_t, part, [THREADS / 32]);
    for (int mask = 16; mask > 0; mask >>= 1) sum ^= dev::shfl_xor(sum, mask);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    dev::block_sync();
    if (threadIdx.x == 0) {
        for (int i = 1; i < THREADS / 32; i++) sum ^= part[i];
        p.out[blockIdx.x] = sum;
    }
}

} // namespace

extern "C" cudaError_t read_launch(const struct read_args *args, cudaStream_t stream) {
    return LAUNCH(read_stream, dim3((unsigned)args->blocks), dim3(THREADS), 0, stream, *args);
}
