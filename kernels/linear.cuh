// linear.cuh: contract G, and what the linear kernels share: fragments of the operands, the product of one k16 block, and
// the epilogue.
//
// CONTRACT G. One output is  epilogue(sum over k of in[k] weight[k]).  K is cut into blocks of 16 and the blocks into
// linear_segments(N, K) runs of segment_blocks() blocks (the last one may be shorter); both follow from the weight's shape
// alone. A segment's sum starts at zero and takes its blocks in ascending order:
//   16-bit elements  the tensor cores' fp32 accumulator: sum = mma(block, sum)
//   F32              the block's products as three TF32 ones (below) into a zero accumulator, which is then added to the sum
//                    with one rounding to nearest
// Segments are added left to right in fp32, each with one rounding. So an output's bits depend on its row of the input and
// of the weight, and on N and K: not on T, the tile's shape, the grid or the kernel. On one architecture, that is: the
// tensor cores keep 24 or more fraction bits of a block's sum, and round it toward zero.
//
// Error against exact arithmetic, with A = sum |in[k] weight[k]|:
//   16-bit elements  K/16 * 2^-22 * A
//   F32              (K/16 + 40) * 2^-24 * A: one rounding for each block; 3 * 2^-22 for what the split drops (lo * lo, and
//                    the rounding of either lo); and 28 * 2^-24 for the four groups of four products of the hi * hi part,
//                    each cut to 24 bits. Infinities and numbers that round to one in TF32 (>= 2^128 - 2^116) give NaN.
//
// FRAGMENTS. The order of k inside a block is free, so lane 4 g + t takes four consecutive elements, k = 4t … 4t + 3 of the
// block, of an input row or a weight row: one load of 8 bytes (16-bit) or 16 bytes (F32) that is a fragment as it is.
#pragma once

#include "kernels/activation.cuh"
#include "kernels/device.cuh"
#include "kernels/kernels.h"

// Blocks of 16 in a row of K elements, and in one segment.
KERNELS_INLINE int32_t linear_blocks(int32_t K) {
    return operand_stride(K) / 16;
}
static inline int32_t segment_blocks(int32_t N, int32_t K) {
    const int32_t segments = linear_segments(N, K);
    return (linear_blocks(K) + segments - 1) / segments;
}
// Rows of the weight.
KERNELS_INLINE int32_t weight_rows(const linear_args &a) {
    return a.gated ? 2 * a.N : a.N;
}
// Columns of out that are written: with the zeros of an operand.
KERNELS_INLINE int32_t written_columns(const linear_args &a) {
    return a.out_element == ELEMENT_F32 ? a.N : operand_stride(a.N);
}

namespace linear {

// Four consecutive elements of a row.
template <typename T> struct quad : dev::word2 {};
template <> struct quad<float> : dev::word4 {};

template <typename T> DEV quad<T> load_quad(const T *p) {
    quad<T> q;
    if constexpr (sizeof(T) == 4) {
        const dev::word4 v = dev::ld128(p);
        for (int i = 0; i < 4; i++) q.w[i] = v.w[i];
    } else {
        const dev::word2 v = dev::ld64(p);
        for (int i = 0; i < 2; i++) q.w[i] = v.w[i];
    }
    return q;
}

template <typename T> DEV quad<T> load_quad_stream(const T *p) {
    quad<T> q;
    if constexpr (sizeof(T) == 4) {
        const dev::word4 v = dev::ld128_stream(p);
        for (int i = 0; i < 4; i++) q.w[i] = v.w[i];
    } else {
        const dev::word2 v = dev::ld64_stream(p);
        for (int i = 0; i < 2; i++) q.w[i] = v.w[i];
    }
    return q;
}

// Elements k … k + 3 of an fp32 row of K elements that may start anywhere; zeros beyond K.
DEV quad<float> load_quad_ragged(const float *row, int32_t k, int32_t K) {
    quad<float> q;
    for (int i = 0; i < 4; i++) q.w[i] = k + i < K ? dev::bits(row[k + i]) : 0u;
    return q;
}

// The registers of one block of a 16-row (rows g and g + 8) and of an 8-wide tile. F32: two k8 steps, each number split
// into hi + lo.
template <typename T> struct tile_a { uint32_t w[4]; };
template <> struct tile_a<float> { uint32_t hi[2][4], lo[2][4]; };
template <typename T> struct tile_b { uint32_t w[2]; };
template <> struct tile_b<float> { uint32_t hi[2][2], lo[2][2]; };

DEV void split(uint32_t *hi, uint32_t *lo, uint32_t word) {
    const float x = dev::from_bits(word), high = dev::to_tf32(x);
    *hi = dev::bits(high);
    *lo = dev::bits(dev::to_tf32(dev::sub(x, high)));
}

template <typename T> DEV tile_a<T> make_a(const quad<T> &low, const quad<T> &high) {
    tile_a<T> a;
    if constexpr (sizeof(T) == 4) {
        for (int step = 0; step < 2; step++)
            for (int half = 0; half < 2; half++) {
                split(&a.hi[step][2 * half], &a.lo[step][2 * half], low.w[2 * step + half]);
                split(&a.hi[step][2 * half + 1], &a.lo[step][2 * half + 1], high.w[2 * step + half]);
            }
    } else {
        for (int half = 0; half < 2; half++) {
            a.w[2 * half] = low.w[half];
            a.w[2 * half + 1] = high.w[half];
        }
    }
    return a;
}

template <typename T> DEV tile_b<T> make_b(const quad<T> &q) {
    tile_b<T> b;
    if constexpr (sizeof(T) == 4) {
        for (int step = 0; step < 2; step++)
            for (int half = 0; half < 2; half++) split(&b.hi[step][half], &b.lo[step][half], q.w[2 * step + half]);
    } else {
        for (int half = 0; half < 2; half++) b.w[half] = q.w[half];
    }
    return b;
}

// sum += the block's products. The small products of F32 come first, so that no large one cuts them short.
template <typename T> DEV void multiply(float sum[4], const tile_a<T> &a, const tile_b<T> &b) {
    if constexpr (sizeof(T) == 4) {
        float block[4] = {0, 0, 0, 0};
        for (int step = 0; step < 2; step++) {
            dev::mma8_tf32(block, a.lo[step], b.hi[step]);
            dev::mma8_tf32(block, a.hi[step], b.lo[step]);
        }
        for (int step = 0; step < 2; step++) dev::mma8_tf32(block, a.hi[step], b.hi[step]);
        for (int i = 0; i < 4; i++) sum[i] = dev::add(sum[i], block[i]);
    } else {
        dev::mma16<T>(sum, a.w, b.w);
    }
}

// ---- the epilogue ----

// activation(sum * scale + bias), capped, of column n; gated: of gate column n, times up.
DEV float finish(const linear_args &a, float sum, float up, int32_t n) {
    float v = dev::mul(sum, a.scale);
    if (a.bias) v = dev::add(v, a.bias[n]);
    v = activate(a.activation, v);
    if (a.gated) {
        up = dev::mul(up, a.scale);
        if (a.bias) up = dev::add(up, a.bias[a.N + n]);
        v = dev::mul(v, up);
    }
    return a.softcap != 0 ? softcap(v, a.softcap) : v;
}

template <typename Out, int COUNT> DEV void store_operand(Out *to, const float v[COUNT]) {
    if constexpr (COUNT == 4) {
        dev::st64(to, {{dev::pack2<Out>(v[0], v[1]), dev::pack2<Out>(v[2], v[3])}});
    } else {
        *reinterpret_cast<uint32_t *>(to) = dev::pack2<Out>(v[0], v[1]);
    }
}

// Finishes and stores COUNT (2 or 4) outputs of a row from column n on, a multiple of COUNT. sums that lie beyond N are not
// looked at.
template <int COUNT> DEV void store(const linear_args &a, int32_t row, int32_t n, const float *sum, const float *up) {
    float v[COUNT];
    for (int i = 0; i < COUNT; i++) v[i] = n + i < a.N ? finish(a, sum[i], a.gated ? up[i] : 0.0f, n + i) : 0.0f;
    if (a.out_element != ELEMENT_F32) {
        const int32_t stride = operand_stride(a.N);
        if (n >= stride) return;
        const int64_t at = (int64_t)row * stride + n;
        if (a.out_element == ELEMENT_F16) {
            store_operand<dev::f16, COUNT>(static_cast<dev::f16 *>(a.out) + at, v);
        } else {
            store_operand<dev::bf16, COUNT>(static_cast<dev::bf16 *>(a.out) + at, v);
        }
        return;
    }
    float *out = static_cast<float *>(a.out) + (int64_t)row * a.out_stride + n;
    if (n + COUNT <= a.N && a.out_stride % COUNT == 0) {
        if constexpr (COUNT == 4) {
            if (a.accumulate) {
                const dev::word4 old = dev::ld128(out);
                for (int i = 0; i < 4; i++) v[i] = dev::add(dev::from_bits(old.w[i]), v[i]);
            }
            dev::st128(out, {{dev::bits(v[0]), dev::bits(v[1]), dev::bits(v[2]), dev::bits(v[3])}});
        } else {
            if (a.accumulate) {
                const dev::word2 old = dev::ld64(out);
                for (int i = 0; i < 2; i++) v[i] = dev::add(dev::from_bits(old.w[i]), v[i]);
            }
            dev::st64(out, {{dev::bits(v[0]), dev::bits(v[1])}});
        }
        return;
    }
    for (int i = 0; i < COUNT; i++)
        if (n + i < a.N) out[i] = a.accumulate ? dev::add(out[i], v[i]) : v[i];
}

} // namespace linear
