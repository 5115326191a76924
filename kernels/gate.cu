// gate.cu: the gated activation between a feed-forward layer's two products, where it is not part of the first.
//
//     out [T, stride(F)] = activation(in[:, 0:F]) * in[:, F:2F], zeros beyond F
//
// A thread owns eight consecutive outputs of a row, 16 bytes of a 16-bit operand; a block owns up to 256 such groups of one
// row. No shared memory. Each output is a function of its two inputs.
#include "kernels/activation.cuh"
#include "kernels/device.cuh"
#include "kernels/elements.cuh"
#include "kernels/kernels.h"

namespace {

enum { GROUP = 8, THREADS = 256 };

template <bool ALIGNED, typename Out> __global__ void __launch_bounds__(THREADS) gate(gate_args a) {
    dev::pdl_begin();
    const int32_t F = a.F, stride = dev::row_stride<Out>(F);
    const int32_t parts = (stride + (int32_t)blockDim.x * GROUP - 1) / ((int32_t)blockDim.x * GROUP);
    const int32_t row = (int32_t)blockIdx.x / parts;
    const int32_t f = ((int32_t)blockIdx.x % parts * (int32_t)blockDim.x + (int32_t)threadIdx.x) * GROUP;
    if (f >= stride) return;
    const float *in = a.in + (int64_t)row * 2 * F;
    float x[GROUP], y[GROUP];
    dev::load_floats<ALIGNED>(x, in, f, F);
    dev::load_floats<ALIGNED>(y, in + F, f, F);
    for (int i = 0; i < GROUP; i++) x[i] = dev::mul(activate(a.activation, x[i]), y[i]);
    dev::store_row<ALIGNED>(static_cast<Out *>(a.out) + (int64_t)row * stride, x, f, F);
}

template <bool ALIGNED> cudaError_t launch(const gate_args &a, dim3 grid, dim3 block, cudaStream_t stream) {
    switch (a.out_element) {
    case ELEMENT_F32: return LAUNCH((gate<ALIGNED, float>), grid, block, 0, stream, a);
    case ELEMENT_F16: return LAUNCH((gate<ALIGNED, dev::f16>), grid, block, 0, stream, a);
    case ELEMENT_BF16: return LAUNCH((gate<ALIGNED, dev::bf16>), grid, block, 0, stream, a);
    }
    return cudaErrorInvalidValue;
}

} // namespace

extern "C" cudaError_t gate_launch(const gate_args *args, cudaStream_t stream) {
    const uint32_t groups = (uint32_t)operand_stride(args->F) / GROUP;
    const uint32_t threads = groups < THREADS ? (groups + 31) / 32 * 32 : THREADS;
    const dim3 grid((uint32_t)args->T * ((groups + threads - 1) / threads)), block(threads);
    return args->F % 4 == 0 ? launch<true>(*args, grid, block, stream) : launch<false>(*args, grid, block, stream);
}
