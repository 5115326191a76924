// pack.cu: weights as files have them, to the rows that linear layers read.
//
//     to [rows, stride(K)] = from [rows, K], or its transpose from [K, rows]; round to nearest even, zeros beyond K
//
// Plain: a thread owns eight consecutive elements of a row. Transposed: a block turns a tile of 32 rows by 32 inputs in shared
// memory, so that both sides are read and written along their rows. Runs once, when a model is loaded; no sums.
// Shared memory: [32][33] floats (which hold every element type exactly).
#include "kernels/device.cuh"
#include "kernels/elements.cuh"
#include "kernels/kernels.h"

namespace {

enum { THREADS = 256, GROUP = 8, TILE = 32 };

// GROUP elements from k on; 0 beyond K.
template <bool ALIGNED, typename From> DEV void load(float (&x)[GROUP], const From *row, int32_t k, int32_t K) {
    constexpr int COUNT = dev::elements16<From>::COUNT;
    if (ALIGNED) {
        for (int i = 0; i < GROUP; i += COUNT) {
            const dev::elements16<From> e =
                k < K ? dev::unpack16<From>(dev::ld128_stream(row + k + i)) : dev::elements16<From>{};
            for (int j = 0; j < COUNT; j++) x[i + j] = e.x[j];
        }
    } else {
        for (int i = 0; i < GROUP; i++) x[i] = k + i < K ? dev::to_float(row[k + i]) : 0.0f;
    }
}

DEV void store(float *row, const float (&x)[GROUP]) {
    for (int i = 0; i < GROUP; i += 4)
        dev::st128(row + i, {{dev::bits(x[i]), dev::bits(x[i + 1]), dev::bits(x[i + 2]), dev::bits(x[i + 3])}});
}
template <typename To> DEV void store(To *row, const float (&x)[GROUP]) {
    dev::st128(row, {{dev::pack2<To>(x[0], x[1]), dev::pack2<To>(x[2], x[3]), dev::pack2<To>(x[4], x[5]),
                      dev::pack2<To>(x[6], x[7])}});
}

// ALIGNED: K is a multiple of GROUP.
template <typename To, typename From, bool ALIGNED> __global__ void __launch_bounds__(THREADS) pack(pack_args a) {
    dev::pdl_begin();
    const int32_t stride = operand_stride(a.K), groups = stride / GROUP;
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, row = i / (size_t)groups;
    const int32_t k = (int32_t)(i % (size_t)groups) * GROUP;
    if (row >= a.rows) return;
    float x[GROUP];
    load<ALIGNED>(x, static_cast<const From *>(a.from) + row * (size_t)a.K, k, a.K);
    store(static_cast<To *>(a.to) + row * (size_t)stride + k, x);
}

template <typename To, typename From> __global__ void __launch_bounds__(THREADS) pack_transposed(pack_args a) {
    dev::pdl_begin();
    SHARED(float, tile, [TILE][TILE + 1]); // [k][row]
    const int32_t stride = operand_stride(a.K), tiles = (stride + TILE - 1) / TILE;
    const int32_t lane = (int32_t)threadIdx.x % TILE, line = (int32_t)threadIdx.x / TILE;
    const int32_t first_k = (int32_t)(blockIdx.x % (uint32_t)tiles) * TILE;
    const size_t first_row = (size_t)(blockIdx.x / (uint32_t)tiles) * TILE;
    for (int32_t i = line; i < TILE; i += THREADS / TILE) {
        const bool inside = first_k + i < a.K && first_row + (size_t)lane < a.rows;
        const size_t at = (size_t)(first_k + i) * a.rows + first_row + (size_t)lane;
        tile[i][lane] = inside ? dev::to_float(static_cast<const From *>(a.from)[at]) : 0.0f;
    }
    dev::block_sync();
    for (int32_t i = line; i < TILE; i += THREADS / TILE) {
        if (first_row + (size_t)i >= a.rows || first_k + lane >= stride) continue;
        To *row = static_cast<To *>(a.to) + (first_row + (size_t)i) * (size_t)stride;
        row[first_k + lane] = dev::from_float<To>(tile[lane][i]);
    }
}

template <typename To, typename From> cudaError_t launch(const pack_args &a, cudaStream_t stream) {
    const size_t stride = (size_t)operand_stride(a.K);
    const size_t blocks = a.transposed ? (a.rows + TILE - 1) / TILE * ((stride + TILE - 1) / TILE)
                                       : (a.rows * (stride / GROUP) + THREADS - 1) / THREADS;
    if (blocks > INT32_MAX) return cudaErrorInvalidValue;
    const dim3 grid((uint32_t)blocks), block(THREADS);
    if (a.transposed) return LAUNCH((pack_transposed<To, From>), grid, block, 0, stream, a);
    return a.K % GROUP == 0 ? LAUNCH((pack<To, From, true>), grid, block, 0, stream, a)
                            : LAUNCH((pack<To, From, false>), grid, block, 0, stream, a);
}

template <typename To> cudaError_t launch(const pack_args &a, cudaStream_t stream) {
    switch (a.from_element) {
    case ELEMENT_F32: return launch<To, float>(a, stream);
    case ELEMENT_F16: return launch<To, dev::f16>(a, stream);
    case ELEMENT_BF16: return launch<To, dev::bf16>(a, stream);
    }
    return cudaErrorInvalidValue;
}

} // namespace

extern "C" cudaError_t pack_launch(const pack_args *args, cudaStream_t stream) {
    switch (args->to_element) {
    case ELEMENT_F32: return launch<float>(*args, stream);
    case ELEMENT_F16: return launch<dev::f16>(*args, stream);
    case ELEMENT_BF16: return launch<dev::bf16>(*args, stream);
    }
    return cudaErrorInvalidValue;
}
