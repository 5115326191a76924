// norm.cu: layer and rms norm of rows, with the residual addition before it and the rounding to an operand after it.
//
//     x = residual (+ add, written back)             [T, D], one rounding
//     out = (x - mean) / sqrt(mean((x - mean)²) + eps) * weight + bias      rms: mean = 0
//
// A row of at most 512 elements belongs to one warp (four rows a block), a wider one to a block of D / 512 warps. A thread owns
// groups of four consecutive elements, `threads` groups apart, and keeps them in registers through both passes (mean, then
// centred squares). A row alone is all latency, so weight and bias are fetched before the kernels in front are done. Rows of
// more than 8192 elements: a block of 32 warps reads the row again for each pass.
// Shared memory: the warps' sums, twice.
// Determinism: threads and the order of addition follow from D alone.
#include "kernels/device.cuh"
#include "kernels/elements.cuh"
#include "kernels/kernels.h"
#include "kernels/reduce.cuh"

namespace {

enum { WARP_ROW = 512, WARP_ROWS = 4, BLOCK_ROW = 8192, MAX_WARPS = 32 };

// GROUPS: of four elements that a thread has at a time. WIDE: they are not the whole row.
template <int GROUPS, bool WIDE, bool ALIGNED, typename Out>
__global__ void __launch_bounds__(WIDE ? 1024 : 512) norm(norm_args a) {
    dev::pdl_release();
    SHARED(float, sums, [2][MAX_WARPS]);
    const int32_t D = a.D;
    const bool warp_row = D <= WARP_ROW;
    const int32_t threads = warp_row ? 32 : (int32_t)blockDim.x, thread = (int32_t)threadIdx.x % threads;
    const int32_t row = warp_row ? (int32_t)(blockIdx.x * WARP_ROWS + threadIdx.x / 32) : (int32_t)blockIdx.x;
    const int32_t tile = threads * GROUPS * 4;
    float weight[GROUPS][4], bias[GROUPS][4];
    if (!WIDE)
        for (int g = 0; g < GROUPS; g++) {
            if (a.weight) dev::load_floats<ALIGNED>(weight[g], a.weight, (g * threads + thread) * 4, D);
            if (a.bias) dev::load_floats<ALIGNED>(bias[g], a.bias, (g * threads + thread) * 4, D);
        }
    dev::pdl_wait();
    if (row >= a.T) return; // a whole warp, or no warp of the block
    const int32_t from = a.rows ? a.rows[row] : row;
    if (from < 0) return; // the whole row's threads
    float *residual = a.residual + (int64_t)from * D;
    const float *add = a.add ? a.add + (int64_t)from * D : nullptr;

    float x[GROUPS][4], sum[4] = {0, 0, 0, 0};
    for (int32_t first = 0; first < D; first += tile) {
        for (int g = 0; g < GROUPS; g++)
            dev::load_floats<ALIGNED>(x[g], residual, first + (g * threads + thread) * 4, D);
        if (add) {
            float y[GROUPS][4];
            for (int g = 0; g < GROUPS; g++)
                dev::load_floats<ALIGNED>(y[g], add, first + (g * threads + thread) * 4, D);
            for (int g = 0; g < GROUPS; g++) {
                for (int i = 0; i < 4; i++) x[g][i] = dev::add(x[g][i], y[g][i]);
                dev::store_row<ALIGNED>(residual, x[g], first + (g * threads + thread) * 4, D);
            }
        }
        for (int g = 0; g < GROUPS; g++)
            for (int i = 0; i < 4; i++) sum[i] = dev::add(sum[i], x[g][i]);
    }
    float mean = 0;
    if (a.kind == KERNEL_LAYER_NORM) {
        const float all = dev::add(dev::add(sum[0], sum[1]), dev::add(sum[2], sum[3]));
        mean = dev::div(warp_row ? dev::lanes_sum<32>(all) : dev::block_sum(all, sums[0]), (float)D);
    }

    float square[4] = {0, 0, 0, 0};
    for (int32_t first = 0; first < D; first += tile)
        for (int g = 0; g < GROUPS; g++) {
            const int32_t d = first + (g * threads + thread) * 4;
            if (WIDE) dev::load_floats<ALIGNED>(x[g], residual, d, D);
            for (int i = 0; i < 4; i++) {
                const float centred = d + i < D ? dev::sub(x[g][i], mean) : 0.0f;
                square[i] = dev::fma(centred, centred, square[i]);
            }
        }
    const float all = dev::add(dev::add(square[0], square[1]), dev::add(square[2], square[3]));
    const float total = warp_row ? dev::lanes_sum<32>(all) : dev::block_sum(all, sums[1]);
    const float scale = dev::div(1.0f, dev::sqrt(dev::add(dev::div(total, (float)D), a.eps)));

    const int32_t stride = dev::row_stride<Out>(D);
    Out *out = static_cast<Out *>(a.out) + (int64_t)row * stride;
    for (int32_t first = 0; first < stride; first += tile)
        for (int g = 0; g < GROUPS; g++) {
            const int32_t d = first + (g * threads + thread) * 4;
            if (WIDE) dev::load_floats<ALIGNED>(x[g], residual, d, D);
            if (WIDE && a.weight) dev::load_floats<ALIGNED>(weight[g], a.weight, d, D);
            if (WIDE && a.bias) dev::load_floats<ALIGNED>(bias[g], a.bias, d, D);
            for (int i = 0; i < 4; i++) {
                x[g][i] = dev::mul(dev::sub(x[g][i], mean), scale);
                if (a.weight) x[g][i] = dev::mul(x[g][i], weight[g][i]);
                if (a.bias) x[g][i] = dev::add(x[g][i], bias[g][i]);
            }
            dev::store_row<ALIGNED>(out, x[g], d, D);
        }
}

template <int GROUPS, bool WIDE, bool ALIGNED>
cudaError_t launch(const norm_args &a, dim3 grid, dim3 block, cudaStream_t stream) {
    switch (a.out_element) {
    case ELEMENT_F32: return LAUNCH((norm<GROUPS, WIDE, ALIGNED, float>), grid, block, 0, stream, a);
    case ELEMENT_F16: return LAUNCH((norm<GROUPS, WIDE, ALIGNED, dev::f16>), grid, block, 0, stream, a);
    case ELEMENT_BF16: return LAUNCH((norm<GROUPS, WIDE, ALIGNED, dev::bf16>), grid, block, 0, stream, a);
    }
    return cudaErrorInvalidValue;
}

template <int GROUPS, bool WIDE>
cudaError_t launch(const norm_args &a, uint32_t blocks, uint32_t threads, cudaStream_t stream) {
    return a.D % 4 == 0 ? launch<GROUPS, WIDE, true>(a, dim3(blocks), dim3(threads), stream)
                        : launch<GROUPS, WIDE, false>(a, dim3(blocks), dim3(threads), stream);
}

} // namespace

extern "C" cudaError_t norm_launch(const norm_args *args, cudaStream_t stream) {
    const uint32_t T = (uint32_t)args->T, D = (uint32_t)args->D;
    const uint32_t blocks = (T + WARP_ROWS - 1) / WARP_ROWS, warps = (D + 511) / 512;
    if (D <= 128) return launch<1, false>(*args, blocks, 32 * WARP_ROWS, stream);
    if (D <= WARP_ROW) return launch<4, false>(*args, blocks, 32 * WARP_ROWS, stream);
    if (D <= BLOCK_ROW) return launch<4, false>(*args, T, 32 * warps, stream);
    return launch<2, true>(*args, T, 32 * MAX_WARPS, stream);
}
