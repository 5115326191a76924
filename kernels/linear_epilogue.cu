// linear_epilogue.cu: the end of a linear layer whose sums a library computed, and the comparison that tells whether a
// library's sums are ours.
//
//     out [T, N] = epilogue(sums [T, N], or gated [T, 2 N])                                 contract G of linear.cuh
//
// A thread owns four columns of a row. No shared memory. Determinism: every output is computed by one thread, by the code that
// the other linear kernels end with.
#include "kernels/linear.cuh"

namespace {

enum { THREADS = 256 };

DEV void load_sums(float v[4], const float *row, int32_t n, int32_t N, bool aligned) {
    if (aligned && n < N) {
        const dev::word4 word = dev::ld128(row + n);
        for (int i = 0; i < 4; i++) v[i] = dev::from_bits(word.w[i]);
    } else {
        for (int i = 0; i < 4; i++) v[i] = n + i < N ? row[n + i] : 0.0f;
    }
}

__global__ void __launch_bounds__(THREADS) epilogue(linear_args a) {
    dev::pdl_begin();
    const int32_t quads = (written_columns(a) + 3) / 4;
    const int64_t index = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int32_t row = (int32_t)(index / quads), n = (int32_t)(index % quads) * 4;
    if (row >= a.T) return;
    const float *sums = static_cast<const float *>(a.in) + (int64_t)row * weight_rows(a);
    float sum[4], up[4] = {0, 0, 0, 0};
    load_sums(sum, sums, n, a.N, a.N % 4 == 0);
    if (a.gated) load_sums(up, sums + a.N, n, a.N, a.N % 4 == 0);
    linear::store<4>(a, row, n, sum, up);
}

// The number of words that differ is added to *differences.
__global__ void __launch_bounds__(THREADS) compare(linear_compare_args a) {
    dev::pdl_begin();
    uint32_t differences = 0;
    const size_t step = (size_t)gridDim.x * THREADS;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < a.words; i += step) differences += a.a[i] != a.b[i];
    differences = dev::warp_sum(differences);
    if (threadIdx.x % 32 == 0 && differences) dev::atomic_add(a.differences, differences);
}

} // namespace

extern "C" cudaError_t linear_epilogue_launch(const struct linear_args *args, cudaStream_t stream) {
    const int64_t threads = (int64_t)args->T * ((written_columns(*args) + 3) / 4);
    return LAUNCH(epilogue, dim3((unsigned)((threads + THREADS - 1) / THREADS)), dim3(THREADS), 0, stream, *args);
}

extern "C" cudaError_t linear_compare_launch(const struct linear_compare_args *args, cudaStream_t stream) {
    enum { BLOCKS = 512 };
    const size_t blocks = (args->words + THREADS - 1) / THREADS;
    return LAUNCH(compare, dim3((unsigned)(blocks < BLOCKS ? blocks : BLOCKS)), dim3(THREADS), 0, stream, *args);
}
