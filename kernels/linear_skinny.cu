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
// Shared memory: the warps' sums; the normed rows, 32 bytes (16-bit elements) or 64 bytes apart so that rows fall into
// different banks. Weights are asked for before the kernels in front of this one are done.
// Determinism: contract G; tiles to a block change nothing. The fused norm has the bits of norm.cu.
#include "kernels/elements.cuh"
#include "kernels/linear.cuh"
#include "kernels/reduce.cuh"

namespace {

enum { WARPS = 8, NORM_PART = 512, NORM_PARTS = 16, NORM_BYTES = 36 << 10, PAD = 16 };

struct skinny_args {
    linear_args a;
    norm_args norm; // of a kernel with NORM
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

template <typename T, int MT, int NT> struct stream {
    // Blocks in flight, of the weights and of the input: as many as registers are left for.
    static constexpr bool F32 = sizeof(T) == 4;
    static constexpr int DEPTH = F32       ? (MT == 1 && NT == 1   ? 16
                                              : MT == 1 || NT == 1 ? 8
                                                                   : 4)
                                 : MT == 1 ? (NT == 1 ? 28 : 12)
                                 : NT == 1 ? (MT == 2 ? 20 : 16)
                                           : 12;
    static constexpr int AHEAD = F32 ? (MT == 4 ? 1 : 2) : MT == 1 ? 4 : 2;
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

template <typename T, int MT, int NT, bool NORM> __global__ void __launch_bounds__(WARPS * 32, 1) skinny(skinny_args s) {
    dev::pdl_release();
    SHARED(float, sums, [WARPS][MT * NT * 4][32]);
    const linear_args &a = s.a;
    const int32_t warp = (int32_t)threadIdx.x / 32, lane = (int32_t)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int32_t tile = (int32_t)(blockIdx.x * (blockDim.x / 32)) / s.segments + warp / s.segments;
    const int32_t segment = warp % s.segments, first = segment * s.segment_blocks;
    const int32_t n0 = tile * 8 * (a.gated ? 1 : NT); // gated: both tiles are of the same outputs
    const int32_t stride = s.blocks * 16, left = s.blocks - first;

    stream<T, MT, NT> w = {};
    w.count = tile >= s.tiles || n0 >= a.N ? 0 : left < s.segment_blocks ? left : s.segment_blocks;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        // Columns beyond N take the last row's weights; their sums are not looked at.
        int32_t row = n0 + g + (a.gated ? 0 : 8 * n);
        row = row < a.N ? row : a.N - 1;
        if (a.gated && n > 0) row += a.N;
        w.weight[n] = static_cast<const T *>(a.weight) + (int64_t)row * stride + first * 16 + 4 * t;
    }
    w.start_weights();
    if (a.bias && w.count > 0 && segment == 0 && lane < NT)
        dev::prefetch(a.bias + n0 + (a.gated ? lane * a.N : lane * 8));
    if constexpr (NORM) {
        prefetch_floats(s.norm.weight, a.K);
        prefetch_floats(s.norm.bias, a.K);
    }
    dev::pdl_wait();

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
    const int32_t base = warp - segment, tiles = a.gated ? 1 : NT;
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
        if (row < a.T) linear::store<2>(a, row, n0 + 8 * n + 2 * t, sum, up);
    }
}

// Blocks small enough that every multiprocessor has some, as long as they hold whole tiles; larger ones where each of them
// norms the rows.
template <typename T, int MT, int NT, bool NORM>
cudaError_t launch(const linear_args *args, const norm_args *norm, cudaStream_t stream) {
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
    int32_t tiles = WARPS / s.segments;
    while (tiles > 1 && (s.tiles + tiles - 1) / tiles < BLOCKS) tiles /= 2;
    const dim3 grid((unsigned)((s.tiles + tiles - 1) / tiles)), block((unsigned)(tiles * s.segments * 32));
    return LAUNCH((skinny<T, MT, NT, NORM>), grid, block, shared, stream, s);
}

// Two tiles to a warp when the input's fragments would cost more than the weights, and there are warps enough.
template <typename T> cudaError_t launch_rows(const linear_args *args, cudaStream_t stream) {
    const bool pairs = args->gated || (args->T > 32 && args->N >= 8 * 2048);
    if (args->T <= 16)
        return pairs ? launch<T, 1, 2, false>(args, nullptr, stream) : launch<T, 1, 1, false>(args, nullptr, stream);
    if (args->T <= 32)
        return pairs ? launch<T, 2, 2, false>(args, nullptr, stream) : launch<T, 2, 1, false>(args, nullptr, stream);
    return pairs ? launch<T, 4, 2, false>(args, nullptr, stream) : launch<T, 4, 1, false>(args, nullptr, stream);
}

template <typename T> cudaError_t launch_norm(const linear_args *args, const norm_args *norm, cudaStream_t stream) {
    return args->gated ? launch<T, 1, 2, true>(args, norm, stream) : launch<T, 1, 1, true>(args, norm, stream);
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

extern "C" cudaError_t linear_norm_launch(const struct linear_args *args, const struct norm_args *norm,
                                          cudaStream_t stream) {
    if (!linear_norm_fits(args, norm)) return cudaErrorInvalidValue;
    switch (args->element) {
    case ELEMENT_F16: return launch_norm<dev::f16>(args, norm, stream);
    case ELEMENT_BF16: return launch_norm<dev::bf16>(args, norm, stream);
    default: return launch_norm<float>(args, norm, stream);
    }
}
