// embed.cu: rows of the embedding table, and learned positions.
//
//     out [T, D] = scale * table[token] (+ positions[position])      the product is rounded before the addition
//
// A thread owns 16 bytes of a table row (four or eight elements); a block owns up to 256 such groups of one token's row. The
// token is read on the device: it may be one that the step before drew. No shared memory, no sums.
#include "kernels/device.cuh"
#include "kernels/elements.cuh"
#include "kernels/kernels.h"

namespace {

enum { THREADS = 256 };

template <bool ALIGNED, typename T> __global__ void __launch_bounds__(THREADS) embed(embed_args a) {
    dev::pdl_begin();
    constexpr int GROUP = dev::elements16<T>::COUNT;
    const int32_t D = a.D, stride = operand_stride(D);
    const int32_t parts = (stride + (int32_t)blockDim.x * GROUP - 1) / ((int32_t)blockDim.x * GROUP);
    const int32_t t = (int32_t)blockIdx.x / parts;
    const int32_t d = ((int32_t)blockIdx.x % parts * (int32_t)blockDim.x + (int32_t)threadIdx.x) * GROUP;
    const int32_t position = a.step.position[t];
    if (position < 0 || d >= stride) return;
    int32_t token = a.step.token[t];
    if (token < 0) token = a.step.drawn[-1 - token];
    float *out = a.out + (int64_t)t * D;
    if (token < 0 || token >= a.V) {
        const float zeros[GROUP] = {};
        dev::store_row<ALIGNED>(out, zeros, d, D);
        return;
    }
    const dev::word4 row = dev::ld128(static_cast<const T *>(a.table) + (int64_t)token * stride + d);
    dev::elements16<T> place = {};
    if (a.positions)
        place = dev::unpack16<T>(dev::ld128(static_cast<const T *>(a.positions) + (int64_t)position * stride + d));
    dev::elements16<T> e = dev::unpack16<T>(row);
    for (int i = 0; i < GROUP; i++) {
        e.x[i] = dev::mul(e.x[i], a.scale);
        if (a.positions) e.x[i] = dev::add(e.x[i], place.x[i]);
    }
    dev::store_row<ALIGNED>(out, e.x, d, D);
}

template <bool ALIGNED> cudaError_t launch(const embed_args &a, dim3 grid, dim3 block, cudaStream_t stream) {
    switch (a.element) {
    case ELEMENT_F32: return LAUNCH((embed<ALIGNED, float>), grid, block, 0, stream, a);
    case ELEMENT_F16: return LAUNCH((embed<ALIGNED, dev::f16>), grid, block, 0, stream, a);
    case ELEMENT_BF16: return LAUNCH((embed<ALIGNED, dev::bf16>), grid, block, 0, stream, a);
    }
    return cudaErrorInvalidValue;
}

} // namespace

extern "C" cudaError_t embed_launch(const embed_args *args, cudaStream_t stream) {
    const uint32_t groups = (uint32_t)operand_stride(args->D) / (args->element == ELEMENT_F32 ? 4 : 8);
    const uint32_t threads = groups < THREADS ? (groups + 31) / 32 * 32 : THREADS;
    const dim3 grid((uint32_t)args->T * ((groups + threads - 1) / threads)), block(threads);
    return args->D % 4 == 0 ? launch<true>(*args, grid, block, stream) : launch<false>(*args, grid, block, stream);
}
