// attention.cuh: contract A, and the arithmetic that the decode and the prefill kernel share.
//
//     out[query] = Σ softmax(score(query, key)) value[key]     over the keys at positions ≤ the query's, inside its window
//     score = scale q·k, or c tanh(scale q·k / c); in units of log2 from here on
//
// CONTRACT A. Keys are cut at absolute positions into tiles of 64 (a page) and chunks of ATTENTION_CHUNK. The state of a chunk
// is a fresh online softmax (m, l, o: largest score, sum of weights, unnormalised result, fp32) over its tiles ascending:
//     m' = max(m, tile's max)      a = 2^(m - m')      p = 2^(score - m')      l = l a + Σ p      o = o a + P V
// A query's result is the left fold of its chunk states ascending from an empty state (m = -inf, l = 0, o = 0) by
//     m' = max(m1, m2)      a = 2^(m1 - m')      b = 2^(m2 - m')      l = fma(l1, a, l2 b)      o = fma(o1, a, o2 b)
// and in the end o (1 / l) + 0: a masked tile may turn -0 into 0. Masked keys score -inf. Beyond that, a tile or chunk that is
// masked as a whole changes no bit (the guard of base()), so kernels skip those that are out of sight, or do not, as they
// like. Where a computation runs (which lane, warp, block or kernel, after how many others) is free; each number's own chain
// of operations is not:
//     q·k    from zero, dims ascending in blocks of 16 (F32: 8), one matrix product step each
//     P V    o a, then the tile's keys ascending in blocks of 16 (F32: 8), one step each; P rounded to the pages' element
//     Σ p    of the unrounded p: lane t of four adds its keys ascending, p(2i) + p(2i+1) first; in the chunk's end the four
//            lanes' l are added: t ^ 1, then t ^ 2
// A row's numbers depend on no other row, so decode and prefill agree in every bit. A key whose value is not finite may
// spoil the queries before it that share its tile (0 · inf); values beyond the last query are taken as zero, as the page may
// hold anything there.
//
// A MATRIX TILE is 16 query rows × 64 keys, by one warp. Operands go from memory to registers by 16 bytes a lane, because the
// order of k inside a matrix step is free: of a BLOCK of 32 (F32: 16) dims, or keys, lane t of four takes 8 (4) neighbours,
// of which the first half feeds the first step and the rest the second. For the scores to come out as operands of P V in the
// very lanes that load those keys' values, column 2t + i of score tile j of a block stands for the block's key 8t + 2j + i
// (F32: 4t + 2j + i). K is stored [64 keys][W], V [W][64 keys], elements.
//
// F32: an operand is hi + lo of two TF32; each step adds lo·hi, hi·lo and hi·hi from zero, then one rounded addition.
#pragma once

#include "kernels/activation.cuh"
#include "kernels/device.cuh"
#include "kernels/elements.cuh"
#include "kernels/kernels.h"

namespace attention {

enum { TILE = KV_PAGE_TOKENS, CHUNK_TILES = ATTENTION_CHUNK / TILE, ROWS = 16, SCORE_TILES = TILE / 8 };

template <typename T, int W> struct shape {
    static constexpr int ELEMENTS = 16 / (int)sizeof(T);       // of one access of a lane
    static constexpr int BLOCK = 4 * ELEMENTS;                 // dims or keys of one access of four lanes
    static constexpr int DIM_BLOCKS = (W + BLOCK - 1) / BLOCK; // of a key; the last may be half a block
    static constexpr bool HALF_LAST = W % BLOCK != 0;
    static constexpr int KEY_BLOCKS = TILE / BLOCK; // of a tile
    static constexpr int BLOCK_TILES = BLOCK / 8;   // score tiles of a block of keys
    static constexpr int DIM_TILES = W / 8;         // of the result
};

// The lane's place in a matrix tile: rows g and g + 8, and t of four.
struct place {
    int lane, g, t;
};
DEV place place_of(int thread) {
    return {thread % 32, thread % 32 / 4, thread % 4};
}

// What a lane holds of an operand of 16 rows: 16 bytes of row g and of row g + 8.
struct fragment {
    dev::word4 upper, lower;
};

DEV void split(uint32_t x, uint32_t &high, uint32_t &low) {
    const float h = dev::to_tf32(dev::from_bits(x));
    high = dev::bits(h);
    low = dev::bits(dev::to_tf32(dev::sub(dev::from_bits(x), h)));
}

// One step: d += a b.
template <typename T> DEV void step(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (sizeof(T) == 2) {
        dev::mma16<T>(d, a, b);
    } else {
        uint32_t a_high[4], a_low[4], b_high[2], b_low[2];
#pragma unroll
        for (int i = 0; i < 4; i++) split(a[i], a_high[i], a_low[i]);
#pragma unroll
        for (int i = 0; i < 2; i++) split(b[i], b_high[i], b_low[i]);
        float sum[4] = {0, 0, 0, 0};
        dev::mma8_tf32(sum, a_low, b_high);
        dev::mma8_tf32(sum, a_high, b_low);
        dev::mma8_tf32(sum, a_high, b_high);
#pragma unroll
        for (int i = 0; i < 4; i++) d[i] = dev::add(d[i], sum[i]);
    }
}

// d [16, 8] += a b over one block; HALF: only its first step.
template <typename T, bool HALF = false> DEV void multiply(float (&d)[4], const fragment &a, const dev::word4 &b) {
    step<T>(d, {a.upper.w[0], a.lower.w[0], a.upper.w[1], a.lower.w[1]}, {b.w[0], b.w[1]});
    if constexpr (!HALF) step<T>(d, {a.upper.w[2], a.lower.w[2], a.upper.w[3], a.lower.w[3]}, {b.w[2], b.w[3]});
}
// The same for block i of a key's dims.
template <typename T, int W> DEV void multiply_dims(float (&d)[4], const fragment &q, const dev::word4 &k, int i) {
    typedef shape<T, W> S;
    if (S::HALF_LAST && i == S::DIM_BLOCKS - 1)
        multiply<T, true>(d, q, k);
    else
        multiply<T>(d, q, k);
}

// ---- queries ----

// The lane's dims of block i of one row of queries, fp32 [Dh], rounded to the element; zeros beyond Dh. NULL: no such row.
template <typename T, int W> DEV dev::word4 load_query(const float *q, int i, int t, int32_t Dh) {
    typedef shape<T, W> S;
    dev::word4 word = {{0, 0, 0, 0}};
    if (!q) return word;
    if (S::HALF_LAST && i == S::DIM_BLOCKS - 1) {
        float x[4];
        const int32_t d = i * S::BLOCK + t * 4;
        if (Dh % 4 == 0)
            dev::load_floats<true>(x, q, d, Dh);
        else
            dev::load_floats<false>(x, q, d, Dh);
        if constexpr (sizeof(T) == 2) {
            word.w[0] = dev::pack2<T>(x[0], x[1]);
            word.w[1] = dev::pack2<T>(x[2], x[3]);
        }
        return word;
    }
    float x[S::ELEMENTS];
    const int32_t d = i * S::BLOCK + t * S::ELEMENTS;
    if (Dh % 4 == 0)
        dev::load_floats<true>(x, q, d, Dh);
    else
        dev::load_floats<false>(x, q, d, Dh);
#pragma unroll
    for (int w = 0; w < 4; w++) {
        if constexpr (sizeof(T) == 2)
            word.w[w] = dev::pack2<T>(x[2 * w], x[2 * w + 1]);
        else
            word.w[w] = dev::bits(x[w]);
    }
    return word;
}

// The key of a tile that column g of score tile j stands for.
template <typename T, int W> DEV int key_of(int j, int g) {
    typedef shape<T, W> S;
    return j / S::BLOCK_TILES * S::BLOCK + g / 2 * S::ELEMENTS + j % S::BLOCK_TILES * 2 + g % 2;
}

// Zeros from element `count` on.
template <typename T> DEV dev::word4 keep_keys(dev::word4 word, int32_t count) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if constexpr (sizeof(T) == 2)
            word.w[i] &= count > 2 * i + 1 ? 0xFFFFFFFFu : count > 2 * i ? 0xFFFFu : 0u;
        else
            word.w[i] &= count > i ? 0xFFFFFFFFu : 0u;
    }
    return word;
}

// ---- scores and weights ----

struct score_params {
    float scale; // with a cap: before it; else times log2 e
    float cap;   // 0 = none
};
#define ATTENTION_LOG2E 0x1.715476p0f
static inline score_params score_params_of(const attention_args &a) {
    return {a.softcap > 0 ? a.scale : a.scale * ATTENTION_LOG2E, a.softcap > 0 ? a.softcap : 0.0f};
}

// Positions that the lane's rows see; last = -1: none.
struct visible_keys {
    int32_t first[2], last[2];
};
DEV int32_t first_visible(int32_t position, int32_t window) {
    return window > 0 && position >= window ? position - window + 1 : 0;
}

// q·k of the tile at position `tile_start` becomes scores; masked: some key may be out of sight of some row.
template <typename T, int W>
DEV void finish_scores(float (&s)[SCORE_TILES][4], const score_params &p, const visible_keys &visible,
                       int32_t tile_start, int t, bool masked) {
    typedef shape<T, W> S;
    if (p.cap > 0) {
        // One tile of scores at a time goes round: the code of 32 caps at once would be long and need many registers.
#pragma unroll 1
        for (int n = 0; n < SCORE_TILES; n++) {
            float x[4];
#pragma unroll
            for (int i = 0; i < 4; i++) x[i] = dev::mul(softcap(dev::mul(s[0][i], p.scale), p.cap), ATTENTION_LOG2E);
#pragma unroll
            for (int j = 0; j < SCORE_TILES; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) s[j][i] = j + 1 < SCORE_TILES ? s[j + 1][i] : x[i];
        }
    } else {
#pragma unroll
        for (int j = 0; j < SCORE_TILES; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) s[j][i] = dev::mul(s[j][i], p.scale);
    }
    if (!masked) return;
#pragma unroll
    for (int j = 0; j < SCORE_TILES; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int32_t key =
                tile_start + j / S::BLOCK_TILES * S::BLOCK + t * S::ELEMENTS + j % S::BLOCK_TILES * 2 + i % 2;
            if (key < visible.first[i / 2] || key > visible.last[i / 2]) s[j][i] = -INFINITY;
        }
}

// The largest score of each of the lane's rows, the same in all four lanes.
DEV void row_max(float (&m)[2], const float (&s)[SCORE_TILES][4]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        m[r] = fmaxf(s[0][2 * r], s[0][2 * r + 1]);
#pragma unroll
        for (int j = 1; j < SCORE_TILES; j++) m[r] = fmaxf(m[r], fmaxf(s[j][2 * r], s[j][2 * r + 1]));
        m[r] = fmaxf(m[r], dev::shfl_xor(m[r], 1));
        m[r] = fmaxf(m[r], dev::shfl_xor(m[r], 2));
    }
}

// What is subtracted from scores: m, and 0 as long as nothing was seen, so that -inf - m is -inf.
DEV float base(float m) {
    return m == -INFINITY ? 0.0f : m;
}
// By how much l and o shrink when m rises.
DEV float shrink(float before, float after) {
    return dev::exp2_fast(dev::sub(before, base(after)));
}

// Scores become weights; sum: of this lane's.
DEV void weights(float (&s)[SCORE_TILES][4], const float (&m)[2], float (&sum)[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const float b = base(m[r]);
        sum[r] = 0;
#pragma unroll
        for (int j = 0; j < SCORE_TILES; j++) {
            s[j][2 * r] = dev::exp2_fast(dev::sub(s[j][2 * r], b));
            s[j][2 * r + 1] = dev::exp2_fast(dev::sub(s[j][2 * r + 1], b));
            sum[r] = dev::add(sum[r], dev::add(s[j][2 * r], s[j][2 * r + 1]));
        }
    }
}

// The weights of one block of keys as an operand.
template <typename T, int W> DEV fragment weights_of_block(const float (&s)[SCORE_TILES][4], int block) {
    typedef shape<T, W> S;
    fragment p;
#pragma unroll
    for (int w = 0; w < 4; w++) {
        if constexpr (sizeof(T) == 2) {
            const float(&x)[4] = s[block * S::BLOCK_TILES + w];
            p.upper.w[w] = dev::pack2<T>(x[0], x[1]);
            p.lower.w[w] = dev::pack2<T>(x[2], x[3]);
        } else {
            const float(&x)[4] = s[block * S::BLOCK_TILES + w / 2];
            p.upper.w[w] = dev::bits(x[w % 2]);
            p.lower.w[w] = dev::bits(x[2 + w % 2]);
        }
    }
    return p;
}

// ---- states ----

// m and l of the lane's two rows.
struct row_state {
    float m[2], l[2];
};
DEV row_state empty_rows() {
    return {{-INFINITY, -INFINITY}, {0, 0}};
}
// The sum of a chunk's l over four lanes.
DEV void finish_chunk(row_state &s) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        s.l[r] = dev::add(s.l[r], dev::shfl_xor(s.l[r], 1));
        s.l[r] = dev::add(s.l[r], dev::shfl_xor(s.l[r], 2));
    }
}
// m and l of the fold of two states; a and b are the factors for their o.
DEV void fold_rows(row_state &x, const row_state &y, float (&a)[2], float (&b)[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const float m = fmaxf(x.m[r], y.m[r]);
        a[r] = shrink(x.m[r], m);
        b[r] = shrink(y.m[r], m);
        x.m[r] = m;
        x.l[r] = dev::fma(x.l[r], a[r], dev::mul(y.l[r], b[r]));
    }
}
DEV void fold_tile(float (&x)[4], const float (&y)[4], const float (&a)[2], const float (&b)[2]) {
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = dev::fma(x[i], a[i / 2], dev::mul(y[i], b[i / 2]));
}
DEV void scale_tile(float (&o)[4], const float (&a)[2]) {
#pragma unroll
    for (int i = 0; i < 4; i++) o[i] = dev::mul(o[i], a[i / 2]);
}

// ---- results ----

// Where the lane's rows of the result go; token -1: nowhere.
struct query_rows {
    int32_t token[2], head[2];
};

// o / l of result tile n (dims 8 n …) of the lane's rows.
template <typename T>
DEV void store_tile(const attention_args &a, const query_rows &rows, const place &at, int n, const float (&o)[4],
                    const float (&l)[2]) {
    const int32_t d = n * 8 + at.t * 2, Dh = a.Dh;
    const bool fp32 = a.out_element == ELEMENT_F32;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        if (rows.token[r] < 0 || d >= Dh) continue;
        const float inverse = dev::div(1.0f, l[r]);
        const float x = dev::fma(o[2 * r], inverse, 0.0f), y = dev::fma(o[2 * r + 1], inverse, 0.0f);
        const int32_t stride = fp32 ? a.H * Dh : operand_stride(a.H * Dh);
        const int64_t i = (int64_t)rows.token[r] * stride + rows.head[r] * Dh + d;
        if (sizeof(T) == 4 || fp32) {
            float *out = static_cast<float *>(a.out) + i;
            out[0] = x;
            if (d + 1 < Dh) out[1] = y;
        } else if constexpr (sizeof(T) == 2) {
            if (Dh % 2 == 0) {
                static_cast<uint32_t *>(a.out)[i / 2] = dev::pack2<T>(x, y);
            } else {
                T *out = static_cast<T *>(a.out) + i;
                out[0] = dev::from_float<T>(x);
                if (d + 1 < Dh) out[1] = dev::from_float<T>(y);
            }
        }
    }
}
// The zeros of an operand's row beyond H Dh, by the lanes that hold the last head.
template <typename T> DEV void store_padding(const attention_args &a, const query_rows &rows, const place &at) {
    if (a.out_element == ELEMENT_F32) return;
    const int32_t width = a.H * a.Dh, stride = operand_stride(width);
    for (int r = 0; r < 2; r++) {
        if (rows.token[r] < 0 || rows.head[r] != a.H - 1) continue;
        T *out = static_cast<T *>(a.out) + (int64_t)rows.token[r] * stride;
        for (int32_t d = width + at.t; d < stride; d += 4) out[d] = dev::from_float<T>(0.0f);
    }
}

// ---- launchers ----

// call(T(), integral constant W) for the element and the width of the pages: 24 instantiations of a kernel.
template <int WIDTH> struct width { static constexpr int value = WIDTH; };
template <typename T, typename Call> cudaError_t for_width(int32_t W, const Call &call) {
    switch (W) {
    case 16: return call(T(), width<16>());
    case 32: return call(T(), width<32>());
    case 48: return call(T(), width<48>());
    case 64: return call(T(), width<64>());
    case 80: return call(T(), width<80>());
    case 96: return call(T(), width<96>());
    case 128: return call(T(), width<128>());
    case 256: return call(T(), width<256>());
    }
    return cudaErrorInvalidValue;
}
template <typename Call> cudaError_t for_pages(enum element element, int32_t Dh, const Call &call) {
    switch (element) {
    case ELEMENT_F32: return for_width<float>(kv_width(Dh), call);
    case ELEMENT_F16: return for_width<dev::f16>(kv_width(Dh), call);
    case ELEMENT_BF16: return for_width<dev::bf16>(kv_width(Dh), call);
    }
    return cudaErrorInvalidValue;
}

} // namespace attention
