// random.cu: random weights, made where they are used (model/random.c makes the same on the host).
//
//     to (n, k) = table[pick(stream, i)],  i = index of (source row of n, k) in the source tensor;  zeros beyond K
//
// A thread owns eight consecutive elements of a packed row and scatters each element's word for itself: that is some eighty
// integer operations an element and still far above the rate of memory copies from a host. The table stays in the L1 cache.
// No shared memory.
#include "base/scatter.h"
#include "kernels/device.cuh"
#include "kernels/kernels.h"

namespace {

enum { THREADS = 256, GROUP = 8 };

// Bits: an unsigned integer of the element's size.
template <typename Bits> __global__ void __launch_bounds__(THREADS) random_rows(random_args a) {
    dev::pdl_begin();
    const int32_t stride = operand_stride(a.K), groups = stride / GROUP;
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, n = i / (size_t)groups;
    const int32_t k = (int32_t)(i % (size_t)groups) * GROUP;
    if (n >= a.groups * a.group) return;
    const size_t row = a.first + n / a.group * a.stride + n % a.group;
    Bits x[GROUP];
    for (int j = 0; j < GROUP; j++) {
        const size_t input = (size_t)(k + j),
                     at = a.transposed ? input * a.source_rows + row : row * (size_t)a.K + input;
        x[j] = k + j < a.K ? static_cast<const Bits *>(a.table)[pick(a.stream, at)] : (Bits)0;
    }
    Bits *to = static_cast<Bits *>(a.to) + n * (size_t)stride + (size_t)k;
    for (int j = 0; j < GROUP; j += 16 / (int)sizeof(Bits)) {
        dev::word4 word;
        memcpy(&word, x + j, sizeof word);
        dev::st128(to + j, word);
    }
}

} // namespace

extern "C" cudaError_t random_launch(const random_args *args, cudaStream_t stream) {
    const size_t rows = args->groups * args->group, groups = (size_t)operand_stride(args->K) / GROUP;
    const size_t blocks = (rows * groups + THREADS - 1) / THREADS;
    if (blocks > INT32_MAX) return cudaErrorInvalidValue;
    const dim3 grid((uint32_t)blocks), block(THREADS);
    if (args->element == ELEMENT_F32) return LAUNCH(random_rows<uint32_t>, grid, block, 0, stream, *args);
    return LAUNCH(random_rows<uint16_t>, grid, block, 0, stream, *args);
}
