// operand.cu: fp32 rows rounded to the 16-bit operand of a linear layer.
//
//     out [T, stride(K)] = in [T, K], round to nearest even, zeros beyond K
//
// A thread owns eight consecutive elements of a row, 16 bytes of the operand; a block owns up to 256 such groups of one row.
// No shared memory, no sums.
#include "kernels/device.cuh"
#include "kernels/elements.cuh"
#include "kernels/kernels.h"

namespace {

enum { GROUP = 8, THREADS = 256 };

template <bool ALIGNED, typename Out> __global__ void __launch_bounds__(THREADS) operand(operand_args a) {
    dev::pdl_begin();
    const int32_t K = a.K, stride = operand_stride(K);
    const int32_t parts = (stride + (int32_t)blockDim.x * GROUP - 1) / ((int32_t)blockDim.x * GROUP);
    const int32_t row = (int32_t)blockIdx.x / parts;
    const int32_t k = ((int32_t)blockIdx.x % parts * (int32_t)blockDim.x + (int32_t)threadIdx.x) * GROUP;
    float x[GROUP];
    dev::load_floats<ALIGNED>(x, a.in + (int64_t)row * K, k, K);
    dev::store_row<ALIGNED>(static_cast<Out *>(a.out) + (int64_t)row * stride, x, k, K);
}

template <bool ALIGNED> cudaError_t launch(const operand_args &a, dim3 grid, dim3 block, cudaStream_t stream) {
    switch (a.out_element) {
    case ELEMENT_F16: return LAUNCH((operand<ALIGNED, dev::f16>), grid, block, 0, stream, a);
    case ELEMENT_BF16: return LAUNCH((operand<ALIGNED, dev::bf16>), grid, block, 0, stream, a);
    case ELEMENT_F32: break; // fp32 rows are operands as they are
    }
    return cudaErrorInvalidValue;
}

} // namespace

extern "C" cudaError_t operand_launch(const operand_args *args, cudaStream_t stream) {
    const uint32_t groups = (uint32_t)operand_stride(args->K) / GROUP;
    const uint32_t threads = groups < THREADS ? (groups + 31) / 32 * 32 : THREADS;
    const dim3 grid((uint32_t)args->T * ((groups + threads - 1) / threads)), block(threads);
    return args->K % 4 == 0 ? launch<true>(*args, grid, block, stream) : launch<false>(*args, grid, block, stream);
}
