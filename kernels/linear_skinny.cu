// linear_skinny.cu: linear layers of few rows (T <= 64), at the rate at which memory gives the weights.
//
//     out [T, N] = epilogue(in [T, K] · weight [N, K]ᵀ)                                     contract G of linear.cuh
//
// The weights are the 8-wide operand of the tensor cores, the T rows the 16-row one (MT tiles of 16; rows from T on are
// zero registers and are never loaded). A warp owns NT tiles of 8 outputs (gated: the gate's and the up part's) and one
// segment of K. It streams the weights from global memory straight into fragments, DEPTH blocks in flight, and reads the
// input, which all warps share, through L1, AHEAD blocks ahead. A block of at most 8 warps holds all segments of its tiles,
// so that they are added in order there.
// With the norm in front fused (T <= 4), every block norms the rows for itself, into shared memory, while its first weights
// are on their way: warps take 512 elements of a row each, as the warps of norm.cu do, and add their sums in the same order.
// With rotary position and the KV store fused (T <= 16), a warp's two tiles are of one head and hold the partners of rotation
// (d, d + rotary / 2), or neighbours where nothing is rotated; the lane that has both rotates them and stores q to qkv, k and
// v (as they are to qkv) to their pages.
// Shared memory: the warps' sums; the normed rows, 32 bytes (16-bit elements) or 64 bytes apart so that rows fall into
// different banks. Weights are asked for before the kernels in front of this one are done.
// Determinism: contract G; tiles to a block change nothing. The fused norm has the bits of norm.cu.
#include "kernels/elements.cuh"
#include "kernels/kv_page.cuh"
#include "kernels/linear.cuh"
#include "kernels/reduce.cuh"

namespace {

enum { WARPS = 8, NORM_PART = 512, NORM_PARTS = 16, NORM_BYTES = 36 << 10, PAD = 16 };

struct skinny_args {
    linear_args a;
    norm_args norm;       // of a kernel with NORM
    rope_store_args rope; // of a kernel with ROPE
    int32_t segments, segment_blocks, blocks;
    int32_t tiles;  // of 8 * NT outputs (gated: of 8)
    bool unaligned; // F32 with K % 4: rows start anywhere
};

// What a lane reads of the input: rows g, g + 8, … and k = 4t … of each block.
template <typename T> struct input_rows {
    const T *first; // row g, block 0, k = 4t
    int64_t stride;
    int32_t rows; // that exist from row g on
    int32_t k, K; // F32: the lane's k in block 0
    bool unaligned;

    DEV linear::quad<T> load(int32_t row, int32_t block) const {
        linear::quad<T> q = {};
        if (row >= rows) return q;
        const T *p = first + row * stride + block * 16;
        if constexpr (sizeof(T) == 4) {
            const int32_t at = k + block * 16;
            if (unaligned) return linear::load_quad_ragged(p - at, at, K);
            if (at >= K) return q;
        }
        return linear::load_quad(p);
    }
};

template <typename T, int MT, int NT, bool DEEP> struct stream {
    // Blocks in flight, of the weights and of the input: as many as registers are left for.
    static constexpr bool F32 = sizeof(T) == 4;
    static constexpr int DEPTH = F32       ? (MT == 1 && NT == 1   ? 16
                                              : MT == 1 || NT == 1 ? 8
                                                                   : 4)
                                 : DEEP    ? 21
                                 : MT == 1 ? (NT == 1 ? 24 : 9)
                                 : NT == 1 ? (MT == 2 ? 20 : 16)
                                           : 12;
    static constexpr int AHEAD = F32 ? (MT == 4 ? 1 : 2) : MT == 1 ? (NT == 1 ? 4 : 3) : 2;
    const T *weight[NT]; // row of the lane, the segment's block 0, k = 4t
    input_rows<T> in;    // likewise
    int32_t count;       // blocks of the segment
    linear::quad<T> b[DEPTH][NT], low[AHEAD][MT], high[AHEAD][MT];
    float sum[MT][NT][4];

    DEV void load_weight(int slot, int32_t block) {
#pragma unroll
        for (int n = 0; n < NT; n++) b[slot][n] = linear::load_quad_stream(weight[n] + block * 16);
    }
    DEV void load_input(int slot, int32_t block) {
#pragma unroll
        for (int m = 0; m < MT; m++) {
            low[slot][m] = in.load(16 * m, block);
            high[slot][m] = in.load(16 * m + 8, block);
        }
    }
    DEV void multiply(int i) {
        linear::tile_b<T> tile[NT];
#pragma unroll
        for (int n = 0; n < NT; n++) tile[n] = linear::make_b<T>(b[i][n]);
#pragma unroll
        for (int m = 0; m < MT; m++) {
            const linear::tile_a<T> rows = linear::make_a<T>(low[i % AHEAD][m], high[i % AHEAD][m]);
#pragma unroll
            for (int n = 0; n < NT; n++) linear::multiply<T>(sum[m][n], rows, tile[n]);
        }
    }
    DEV void start_weights() {
#pragma unroll
        for (int i = 0; i < DEPTH; i++)
            if (i < count) load_weight(i, i);
    }
    DEV void run() {
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
            if (i < count) load_input(i, i);
        int32_t block = 0;
        for (; block + 2 * DEPTH <= count; block += DEPTH) { // every load is within the segment
#pragma unroll
            for (int i = 0; i < DEPTH; i++) {
                multiply(i);
                load_weight(i, block + i + DEPTH);
                load_input(i % AHEAD, block + i + AHEAD);
            }
        }
        for (; block < count; block += DEPTH) {
#pragma unroll
            for (int i = 0; i < DEPTH; i++) {
                if (block + i >= count) break;
                multiply(i);
                if (block + i + DEPTH < count) load_weight(i, block + i + DEPTH);
                if (block + i + AHEAD < count) load_input(i % AHEAD, block + i + AHEAD);
            }
        }
    }
};

// The norm of norm.cu for a.T rows of the residual: to [T, stride] in shared memory. sums: [2][T * parts].
template <typename T>
DEV void norm_rows(T *to, int32_t stride, const norm_args &a, float (*sums)[LINEAR_NORM_MAX * NORM_PARTS]) {
    const int32_t D = a.D, parts = (D + NORM_PART - 1) / NORM_PART, warps = (int32_t)blockDim.x / 32;
    const int32_t warp = (int32_t)threadIdx.x / 32, lane = (int32_t)threadIdx.x % 32;
    // Element of group i of this lane, were it the part's warp in norm.cu's block.
    auto element = [&](int32_t part, int i) { return ((i * parts + part) * 32 + lane) * 4; };
    auto add_up = [&](const float *partial) {
        float sum = partial[0];
        for (int32_t p = 1; p < parts; p++) sum += partial[p];
        return sum;
    };
    auto keep = [&](float *partial, const float v[4]) {
        const float sum = dev::lanes_sum<32>(dev::add(dev::add(v[0], v[1]), dev::add(v[2], v[3])));
        if (lane == 0) *partial = sum;
    };
    auto mean = [&](int32_t row) {
        return a.kind == KERNEL_LAYER_NORM ? dev::div(add_up(sums[0] + row * parts), (float)D) : 0.0f;
    };
    if (a.kind == KERNEL_LAYER_NORM) {
#pragma unroll 1
        for (int32_t i = warp; i < a.T * parts; i += warps) {
            const float *residual = a.residual + (int64_t)(i / parts) * D;
            float x[4][4], sum[4] = {0, 0, 0, 0};
            for (int j = 0; j < 4; j++) dev::load_floats<true>(x[j], residual, element(i % parts, j), D);
            for (int j = 0; j < 4; j++)
                for (int e = 0; e < 4; e++) sum[e] = dev::add(sum[e], x[j][e]);
            keep(&sums[0][i], sum);
        }
        dev::block_sync();
    }
#pragma unroll 1
    for (int32_t i = warp; i < a.T * parts; i += warps) {
        const float *residual = a.residual + (int64_t)(i / parts) * D, middle = mean(i / parts);
        float x[4][4], square[4] = {0, 0, 0, 0};
        for (int j = 0; j < 4; j++) dev::load_floats<true>(x[j], residual, element(i % parts, j), D);
        for (int j = 0; j < 4; j++)
            for (int e = 0; e < 4; e++) {
                const float centred = element(i % parts, j) + e < D ? dev::sub(x[j][e], middle) : 0.0f;
                square[e] = dev::fma(centred, centred, square[e]);
            }
        keep(&sums[1][i], square);
    }
    dev::block_sync();
#pragma unroll 1
    for (int32_t i = warp; i < a.T * parts; i += warps) {
        const int32_t row = i / parts;
        const float *residual = a.residual + (int64_t)row * D, middle = mean(row);
        const float variance = dev::div(add_up(sums[1] + row * parts), (float)D);
        const float scale = dev::div(1.0f, dev::sqrt(dev::add(variance, a.eps)));
        for (int j = 0; j < 4; j++) {
            const int32_t d = element(i % parts, j);
            float x[4], w[4];
            dev::load_floats<true>(x, residual, d, D);
            for (int e = 0; e < 4; e++) x[e] = dev::mul(dev::sub(x[e], middle), scale);
            if (a.weight) {
                dev::load_floats<true>(w, a.weight, d, D);
                for (int e = 0; e < 4; e++) x[e] = dev::mul(x[e], w[e]);
            }
            if (a.bias) {
                dev::load_floats<true>(w, a.bias, d, D);
                for (int e = 0; e < 4; e++) x[e] = dev::add(x[e], w[e]);
            }
            dev::store_row<true>(to + row * stride, x, d, D);
        }
    }
    dev::block_sync();
}

// Constants that are needed later than the weights.
DEV void prefetch_floats(const float *p, int32_t count) {
    if (!p) return;
    for (int32_t i = (int32_t)threadIdx.x * 32; i < count; i += (int32_t)blockDim.x * 32) dev::prefetch(p + i);
}

// Columns of a head that tile `pair` of it holds: eight from *low and eight from *high on.
DEV void pair_columns(const rope_store_args &r, int32_t head, int32_t pair, int32_t *low, int32_t *high) {
    const int32_t half = r.rotary / 2;
    const bool partners = r.table && !r.interleaved && head < r.H + r.Hkv;
    *low = 16 * pair;
    *high = *low + 8;
    if (partners && pair < half / 8) {
        *low = 8 * pair;
        *high = *low + half;
    }
}

// Rotates elements d, d + 1 (low) and e, e + 1 (high) of a head, as rope_store.cu does. angles [rotary / 2, 2].
DEV void rotate(const rope_store_args &r, const float *angles, int32_t d, int32_t e, float low[2], float high[2]) {
    auto turn = [](float *first, float *second, float c, float s) {
        const float a = *first, b = *second;
        *first = dev::sub(dev::mul(a, c), dev::mul(b, s));
        *second = dev::add(dev::mul(b, c), dev::mul(a, s));
    };
    if (r.interleaved) {
        if (d < r.rotary) turn(&low[0], &low[1], angles[d], angles[d + 1]);
        if (e < r.rotary) turn(&high[0], &high[1], angles[e], angles[e + 1]);
    } else if (d < r.rotary / 2) {
        for (int i = 0; i < 2; i++) turn(&low[i], &high[i], angles[2 * (d + i)], angles[2 * (d + i) + 1]);
    }
}

DEV void store2(float *to, const float v[2]) {
    dev::st64(to, {{dev::bits(v[0]), dev::bits(v[1])}});
}
template <typename T> DEV void store2(T *to, const float v[2]) {
    *reinterpret_cast<uint32_t *>(to) = dev::pack2<T>(v[0], v[1]);
}

// The outputs d, d + 1 (low) and e, e + 1 (high) of a head: q rotated to qkv; k and v as they are, and to the pages.
template <typename T>
DEV void store_head(const skinny_args &s, int32_t row, int32_t head, int32_t d, int32_t e, float low[2],
                    float high[2]) {
    const rope_store_args &r = s.rope;
    const int32_t position = r.step.position[row], slot = r.step.slot[row], W = kv_width(r.Dh);
    float *qkv = r.qkv + (int64_t)row * s.a.N + head * r.Dh;
    if (head >= r.H) {
        store2(qkv + d, low);
        store2(qkv + e, high);
    }
    if (r.table && position >= 0 && head < r.H + r.Hkv)
        rotate(r, r.table + (int64_t)position * r.rotary, d, e, low, high);
    if (head < r.H) {
        store2(qkv + d, low);
        store2(qkv + e, high);
    } else if (position >= 0 && head < r.H + r.Hkv) {
        T *key = static_cast<T *>(r.k) + dev::key_row(slot, head - r.H, r.Hkv, W);
        store2(key + d, low);
        store2(key + e, high);
    } else if (slot >= 0 && head >= r.H + r.Hkv) {
        T *value = static_cast<T *>(r.v) + dev::value_column(slot, head - r.H - r.Hkv, r.Hkv, W);
        for (int i = 0; i < 2; i++) {
            value[(int64_t)(d + i) * KV_PAGE_TOKENS] = dev::from_float<T>(low[i]);
            value[(int64_t)(e + i) * KV_PAGE_TOKENS] = dev::from_float<T>(high[i]);
        }
    }
}

template <typename T, int MT, int NT, bool NORM, bool ROPE>
__global__ void __launch_bounds__(WARPS * 32, MT == 1 && sizeof(T) == 2 && !ROPE ? 2 : 1) skinny(skinny_args s) {
    dev::pdl_release();
    SHARED(float, sums, [WARPS][MT * NT * 4][32]);
    const linear_args &a = s.a;
    const int32_t warp = (int32_t)threadIdx.x / 32, lane = (int32_t)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int32_t tile = (int32_t)(blockIdx.x * (blockDim.x / 32)) / s.segments + warp / s.segments;
    const int32_t segment = warp % s.segments, first = segment * s.segment_blocks;
    const int32_t stride = s.blocks * 16, left = s.blocks - first;

    // The tiles' first columns; gated: both tiles are of the same outputs.
    int32_t column[NT], head = 0;
    for (int n = 0; n < NT; n++) column[n] = a.gated ? tile * 8 : (tile * NT + n) * 8;
    if constexpr (ROPE) {
        const int32_t pairs = s.rope.Dh / 16;
        head = tile / pairs;
        pair_columns(s.rope, head, tile % pairs, &column[0], &column[1]);
        for (int n = 0; n < NT; n++) column[n] += head * s.rope.Dh;
    }
    stream<T, MT, NT, ROPE> w = {};
    w.count = tile >= s.tiles || column[0] >= a.N ? 0 : left < s.segment_blocks ? left : s.segment_blocks;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        // Columns beyond N take the last row's weights; their sums are not looked at.
        int32_t row = column[n] + g;
        row = row < a.N ? row : a.N - 1;
        if (a.gated && n > 0) row += a.N;
        w.weight[n] = static_cast<const T *>(a.weight) + (int64_t)row * stride + first * 16 + 4 * t;
    }
    w.start_weights();
    if (a.bias && w.count > 0 && segment == 0 && lane < NT)
        dev::prefetch(a.bias + (lane == 0 ? column[0] : column[NT - 1] + (a.gated ? a.N : 0)));
    if constexpr (NORM) {
        prefetch_floats(s.norm.weight, a.K);
        prefetch_floats(s.norm.bias, a.K);
    }
    dev::pdl_wait();

    if constexpr (ROPE) {
        const int32_t position = lane < a.T ? s.rope.step.position[lane] : -1;
        if (s.rope.table && position >= 0)
            dev::prefetch(s.rope.table + (int64_t)position * s.rope.rotary + 2 * (column[0] - head * s.rope.Dh));
    }
    w.in.k = first * 16 + 4 * t;
    w.in.K = a.K;
    w.in.rows = a.T - g;
    w.in.unaligned = s.unaligned;
    if constexpr (NORM) {
        SHARED(float, partial, [2][LINEAR_NORM_MAX * NORM_PARTS]);
        SHARED_DYN(T, normed);
        norm_rows(normed, stride + PAD, s.norm, partial);
        w.in.stride = stride + PAD;
        w.in.first = normed + g * w.in.stride + w.in.k;
    } else {
        w.in.stride = sizeof(T) == 4 ? a.K : stride;
        w.in.first = static_cast<const T *>(a.in) + g * w.in.stride + w.in.k;
    }
    w.run();

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[warp][(m * NT + n) * 4 + i][lane] = w.sum[m][n][i];
    dev::block_sync();

    // The tile's warps share its 8-row pieces: segments are added left to right, and the sums stored.
    if (tile >= s.tiles) return;
    const bool both = ROPE || a.gated; // a piece is of both tiles
    const int32_t base = warp - segment, tiles = both ? 1 : NT;
#pragma unroll 1
    for (int32_t piece = segment; piece < MT * 2 * tiles; piece += s.segments) {
        const int32_t m = piece / (2 * tiles), n = piece / 2 % tiles, half = piece % 2, row = m * 16 + 8 * half + g;
        const int32_t at = (m * NT + n) * 4 + 2 * half, up_at = (m * NT + NT - 1) * 4 + 2 * half;
        float sum[2], up[2];
        for (int i = 0; i < 2; i++) {
            sum[i] = sums[base][at + i][lane];
            up[i] = sums[base][up_at + i][lane];
        }
        for (int32_t other = base + 1; other < base + s.segments; other++)
            for (int i = 0; i < 2; i++) {
                sum[i] = dev::add(sum[i], sums[other][at + i][lane]);
                up[i] = dev::add(up[i], sums[other][up_at + i][lane]);
            }
        if (row >= a.T) continue;
        if constexpr (ROPE) {
            const int32_t low = column[0] + 2 * t, high = column[1] + 2 * t, start = head * s.rope.Dh;
            for (int i = 0; i < 2; i++) {
                sum[i] = linear::finish(a, sum[i], 0, low + i);
                up[i] = linear::finish(a, up[i], 0, high + i);
            }
            store_head<T>(s, row, head, low - start, high - start, sum, up);
        } else {
            linear::store<2>(a, row, (n == 0 ? column[0] : column[NT - 1]) + 2 * t, sum, up);
        }
    }
}

// Blocks small enough that every multiprocessor has some, as long as they hold whole tiles; larger ones where each of them
// norms the rows.
template <typename T, int MT, int NT, bool NORM, bool ROPE>
cudaError_t launch(const linear_args *args, const norm_args *norm, const rope_store_args *rope, cudaStream_t stream) {
    enum { BLOCKS = NORM ? 128 : 256 };
    skinny_args s = {};
    s.a = *args;
    s.segments = linear_segments(weight_rows(*args), args->K);
    s.segment_blocks = segment_blocks(weight_rows(*args), args->K);
    s.blocks = linear_blocks(args->K);
    const int32_t width = args->gated ? 8 : 8 * NT;
    s.tiles = (written_columns(*args) + width - 1) / width;
    s.unaligned = args->element == ELEMENT_F32 && args->K % 4 != 0;
    size_t shared = 0;
    if (NORM) {
        s.norm = *norm;
        s.norm.T = args->T;
        shared = (size_t)args->T * (size_t)(s.blocks * 16 + PAD) * sizeof(T);
    }
    if (ROPE) s.rope = *rope;
    int32_t tiles = WARPS / s.segments;
    while (tiles > 1 && (s.tiles + tiles - 1) / tiles < BLOCKS) tiles /= 2;
    const dim3 grid((unsigned)((s.tiles + tiles - 1) / tiles)), block((unsigned)(tiles * s.segments * 32));
    return LAUNCH((skinny<T, MT, NT, NORM, ROPE>), grid, block, shared, stream, s);
}

template <typename T, int MT, int NT> cudaError_t launch_plain(const linear_args *args, cudaStream_t stream) {
    return launch<T, MT, NT, false, false>(args, nullptr, nullptr, stream);
}

// Two tiles to a warp when the input's fragments would cost more than the weights, and there are warps enough.
template <typename T> cudaError_t launch_rows(const linear_args *args, cudaStream_t stream) {
    const bool pairs = args->gated || (args->T > 32 && args->N >= 8 * 2048);
    if (args->T <= 16) return pairs ? launch_plain<T, 1, 2>(args, stream) : launch_plain<T, 1, 1>(args, stream);
    if (args->T <= 32) return pairs ? launch_plain<T, 2, 2>(args, stream) : launch_plain<T, 2, 1>(args, stream);
    return pairs ? launch_plain<T, 4, 2>(args, stream) : launch_plain<T, 4, 1>(args, stream);
}

template <typename T>
cudaError_t launch_fused(const linear_args *args, const norm_args *norm, const rope_store_args *rope,
                         cudaStream_t stream) {
    if (rope)
        return norm ? launch<T, 1, 2, true, true>(args, norm, rope, stream)
                    : launch<T, 1, 2, false, true>(args, norm, rope, stream);
    if (!norm) return launch_rows<T>(args, stream);
    return args->gated ? launch<T, 1, 2, true, false>(args, norm, rope, stream)
                       : launch<T, 1, 1, true, false>(args, norm, rope, stream);
}

} // namespace

extern "C" int32_t linear_segments(int32_t N, int32_t K) {
    enum { TILES = 512, LEAST = 128, MOST = 8 }; // warps that keep memory busy; k of a segment
    const int32_t tiles = (N + 7) / 8;
    int32_t segments = 1;
    while (segments < MOST && tiles * segments < TILES && K / (2 * segments) >= LEAST) segments *= 2;
    return segments;
}

extern "C" cudaError_t linear_skinny_launch(const struct linear_args *args, cudaStream_t stream) {
    if (args->T > LINEAR_SKINNY_MAX) return cudaErrorInvalidValue;
    switch (args->element) {
    case ELEMENT_F16: return launch_rows<dev::f16>(args, stream);
    case ELEMENT_BF16: return launch_rows<dev::bf16>(args, stream);
    default: return launch_rows<float>(args, stream);
    }
}

extern "C" bool linear_norm_fits(const struct linear_args *args, const struct norm_args *norm) {
    const size_t element = args->element == ELEMENT_F32 ? 4 : 2;
    return args->T <= LINEAR_NORM_MAX && !norm->add && !norm->rows && norm->D == args->K && norm->D % 4 == 0 &&
           norm->D <= NORM_PART * NORM_PARTS && norm->out_element == args->element &&
           (size_t)args->T * (size_t)(operand_stride(args->K) + PAD) * element <= NORM_BYTES;
}

// Partners of rotation must lie in two tiles of their own, or in one; head norms take whole heads.
extern "C" bool linear_rope_fits(const struct linear_args *args, const struct rope_store_args *rope) {
    const bool normed = rope->q_norm || rope->k_norm || rope->q_norm_bias || rope->k_norm_bias;
    const bool partners = !rope->table || (rope->interleaved ? rope->rotary % 2 == 0 : rope->rotary % 16 == 0);
    return args->T <= LINEAR_ROPE_MAX && !normed && partners && rope->Dh % 16 == 0 && !args->gated &&
           !args->accumulate && args->out == rope->qkv && args->out_element == ELEMENT_F32 &&
           args->out_stride == args->N && args->N == (rope->H + 2 * rope->Hkv) * rope->Dh &&
           args->element == rope->element;
}

extern "C" cudaError_t linear_fused_launch(const struct linear_args *args, const struct norm_args *norm,
                                           const struct rope_store_args *rope, cudaStream_t stream) {
    if ((norm && !linear_norm_fits(args, norm)) || (rope && !linear_rope_fits(args, rope)) ||
        args->T > LINEAR_SKINNY_MAX)
        return cudaErrorInvalidValue;
    switch (args->element) {
    case ELEMENT_F16: return launch_fused<dev::f16>(args, norm, rope, stream);
    case ELEMENT_BF16: return launch_fused<dev::bf16>(args, norm, rope, stream);
    default: return launch_fused<float>(args, norm, rope, stream);
    }
}
