// linear_tile.cu: linear layers of many rows, by tiles in shared memory.
//
//     out [T, N] = epilogue(in [T, K] · weight [N, K]ᵀ)                                     contract G of linear.cuh
//
// A block owns BM rows of the input and BN rows of the weight (gated: in turn WN / 2 of the gate's and the WN / 2 of the up
// part's that belong to them), so BM x BN or BM x BN / 2 outputs; a warp WM x WN of them, in 16 x 8 tiles. It walks along K
// in stages of 128 bytes of each row (64 16-bit elements or 32 F32), which never cross a segment's end. Blocks that run at
// the same time cover a few row tiles of the input and share weights in the L2 cache.
// Shared memory: STAGES rings of [BM + BN] rows of 128 bytes, filled by asynchronous copies STAGES - 1 ahead; the 16-byte
// chunks of a row are permuted by its number so that a fragment's loads fall into different banks. At the end the sums take
// the ring's place [BM, BN + 8], and are finished and stored by rows.
// Determinism: contract G, hence bit-equal to linear_skinny.cu.
#include "kernels/linear.cuh"

namespace {

enum { STAGES = 3, ROW_BYTES = 128, GROUP = 8, SUMS_PAD = 8 };

struct tile_args {
    linear_args a;
    int32_t segments, segment_blocks, blocks;
    int32_t row_tiles, column_tiles;
    bool unaligned; // F32 with K % 4: rows of the input start anywhere
};

// Where chunk c (of 16 bytes) of row r lies. A fragment's load takes 32 bytes of four rows (16-bit elements), or 64 bytes of
// two rows (F32) at a time.
template <typename T> DEV int32_t chunk_at(int32_t r, int32_t c) {
    return r * ROW_BYTES + (c ^ (sizeof(T) == 4 ? (r & 1) << 2 : (r & 3) << 1)) * 16;
}

// A segment's walk in stages.
struct cursor {
    int32_t segment, block, end; // blocks [block, end) of the segment are left

    DEV void start(const tile_args &s, int32_t which) {
        segment = which;
        block = which * s.segment_blocks;
        end = block + s.segment_blocks < s.blocks ? block + s.segment_blocks : s.blocks;
    }
    DEV bool done(const tile_args &s) const { return segment >= s.segments; }
    // To the next stage; true when a segment has ended.
    DEV bool next(const tile_args &s, int32_t blocks) {
        block += blocks;
        if (block < end) return false;
        start(s, segment + 1);
        return true;
    }
};

// Blocks that a multiprocessor should hold: two where the sums leave registers for them.
template <typename T, int BM, bool SEGMENTS> constexpr int resident() {
    return BM == 128 && (SEGMENTS || sizeof(T) == 4) ? 1 : 2;
}

template <typename T, int BM, int BN, int WM, int WN, bool SEGMENTS>
__global__ void __launch_bounds__((BM / WM) * (BN / WN) * 32, (resident<T, BM, SEGMENTS>())) tile(tile_args s) {
    dev::pdl_begin();
    constexpr int THREADS = (BM / WM) * (BN / WN) * 32, MT = WM / 16, NT = WN / 8;
    constexpr int BLOCKS = ROW_BYTES / 16 / (int)sizeof(T); // k16 blocks of a stage
    constexpr int CHUNKS = 8, PASS = THREADS / CHUNKS;      // rows copied at once
    constexpr int STAGE_BYTES = (BM + BN) * ROW_BYTES, PITCH = BN + SUMS_PAD;
    static_assert(BM * PITCH * 4 <= STAGES * STAGE_BYTES, "the sums fit into the ring");
    SHARED_DYN(unsigned char, ring);
    const linear_args &a = s.a;
    const int32_t thread = (int32_t)threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;

    // Tiles are dealt in groups of GROUP row tiles, down the rows first.
    const int32_t index = (int32_t)blockIdx.x, group = index / (GROUP * s.column_tiles);
    const int32_t group_rows = s.row_tiles - group * GROUP < GROUP ? s.row_tiles - group * GROUP : GROUP;
    const int32_t in_group = index - group * GROUP * s.column_tiles;
    const int32_t row0 = (group * GROUP + in_group % group_rows) * BM, column_tile = in_group / group_rows;
    const int32_t columns = a.gated ? BN / 2 : BN, n0 = column_tile * columns;

    // ---- copies ----
    const int32_t stride = s.blocks * 16, in_stride = sizeof(T) == 4 ? a.K : stride;
    const int32_t copy_row = thread / CHUNKS, chunk = thread % CHUNKS;
    const int32_t chunk_k = chunk * (16 / (int)sizeof(T));
    const T *in = static_cast<const T *>(a.in) + (int64_t)(row0 + copy_row) * in_stride + chunk_k;
    const T *weight = static_cast<const T *>(a.weight) + chunk_k;

    auto copy = [&](const cursor &at, int slot) {
        unsigned char *to = ring + slot * STAGE_BYTES;
        const int32_t k = at.block * 16 + chunk_k;
        if (at.done(s) || k >= at.end * 16) return; // nobody reads what lies beyond the segment
#pragma unroll
        for (int i = 0; i < BM / PASS; i++) {
            const int32_t r = copy_row + i * PASS, rows = a.T - row0;
            const T *from = in + (int64_t)(i * PASS) * in_stride + at.block * 16;
            unsigned char *place = to + chunk_at<T>(r, chunk);
            if constexpr (sizeof(T) == 4) {
                if (s.unaligned) {
                    linear::quad<float> q = {};
                    if (r < rows) q = linear::load_quad_ragged(from - k, k, a.K);
                    dev::st128(place, q);
                    continue;
                }
            }
            const bool valid = r < rows && (sizeof(T) != 4 || k < a.K);
            dev::copy_async16(place, valid ? (const void *)from : a.in, valid);
        }
#pragma unroll
        for (int i = 0; i < BN / PASS; i++) {
            const int32_t r = copy_row + i * PASS;
            int32_t n = n0 + r, part = 0;
            if (a.gated) {
                n = n0 + r / WN * (WN / 2) + r % (WN / 2);
                part = r % WN >= WN / 2 ? a.N : 0;
            }
            const bool valid = n < a.N;
            const T *from = weight + (int64_t)(valid ? n + part : 0) * stride + at.block * 16;
            dev::copy_async16(to + BM * ROW_BYTES + chunk_at<T>(r, chunk), from, valid);
        }
    };

    // ---- products ----
    const int32_t warp_row = warp / (BN / WN) * WM, warp_column = warp % (BN / WN) * WN;
    const int32_t row_tiles = (a.T - row0 - warp_row + 15) / 16; // beyond them there are no rows
    float acc[MT][NT][4] = {}, total[SEGMENTS ? MT : 1][NT][4] = {};

    auto multiply = [&](const unsigned char *from, int kb) {
        const int32_t c = sizeof(T) == 4 ? 4 * kb + t : 2 * kb + t / 2, inside = sizeof(T) == 4 ? 0 : t % 2 * 8;
        auto load = [&](int32_t r) {
            return linear::load_quad(reinterpret_cast<const T *>(from + chunk_at<T>(r, c) + inside));
        };
        linear::tile_b<T> b[NT];
#pragma unroll
        for (int n = 0; n < NT; n++) b[n] = linear::make_b<T>(load(BM + warp_column + 8 * n + g));
#pragma unroll
        for (int m = 0; m < MT; m++) {
            if (m >= row_tiles) break;
            const int32_t r = warp_row + 16 * m + g;
            const linear::tile_a<T> rows = linear::make_a<T>(load(r), load(r + 8));
#pragma unroll
            for (int n = 0; n < NT; n++) linear::multiply<T>(acc[m][n], rows, b[n]);
        }
    };

    // ---- the walk ----
    cursor ahead, now;
    ahead.start(s, 0);
    now.start(s, 0);
    for (int i = 0; i < STAGES - 1; i++) {
        copy(ahead, i);
        dev::copy_async_commit();
        if (!ahead.done(s)) ahead.next(s, BLOCKS);
    }
    for (int slot = 0; !now.done(s); slot = slot + 1 == STAGES ? 0 : slot + 1) {
        dev::copy_async_wait<STAGES - 2>();
        dev::block_sync();
        copy(ahead, slot == 0 ? STAGES - 1 : slot - 1);
        dev::copy_async_commit();
        if (!ahead.done(s)) ahead.next(s, BLOCKS);
        const int32_t blocks = now.end - now.block;
#pragma unroll
        for (int kb = 0; kb < BLOCKS; kb++)
            if (kb < blocks) multiply(ring + slot * STAGE_BYTES, kb);
        const int32_t segment = now.segment;
        if (now.next(s, BLOCKS) && SEGMENTS) {
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int n = 0; n < NT; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        total[m][n][i] = segment == 0 ? acc[m][n][i] : dev::add(total[m][n][i], acc[m][n][i]);
                        acc[m][n][i] = 0;
                    }
        }
    }

    // ---- the epilogue ----
    dev::copy_async_wait<0>();
    dev::block_sync();
    float *sums = reinterpret_cast<float *>(ring);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float *v = SEGMENTS ? total[m][n] : acc[m][n];
                float *to = sums + (warp_row + 16 * m + g + 8 * half) * PITCH + warp_column + 8 * n + 2 * t;
                dev::st64(to, {{dev::bits(v[2 * half]), dev::bits(v[2 * half + 1])}});
            }
    dev::block_sync();
    const int32_t quads = columns / 4, written = written_columns(a);
#pragma unroll 1
    for (int32_t i = thread; i < BM * quads; i += THREADS) {
        const int32_t r = i / quads, c = i % quads * 4;
        if (row0 + r >= a.T || n0 + c >= written) continue;
        const float *from = sums + r * PITCH + (a.gated ? c / (WN / 2) * WN + c % (WN / 2) : c);
        linear::store<4>(a, row0 + r, n0 + c, from, from + WN / 2);
    }
}

template <typename T, int BM, int BN, int WM, int WN> cudaError_t launch(const linear_args *args, cudaStream_t stream) {
    constexpr int threads = (BM / WM) * (BN / WN) * 32;
    constexpr size_t shared = (size_t)STAGES * (BM + BN) * ROW_BYTES;
    tile_args s = {};
    s.a = *args;
    s.segments = linear_segments(weight_rows(*args), args->K);
    s.segment_blocks = segment_blocks(weight_rows(*args), args->K);
    s.blocks = linear_blocks(args->K);
    const int32_t columns = args->gated ? BN / 2 : BN;
    s.row_tiles = (args->T + BM - 1) / BM;
    s.column_tiles = (written_columns(*args) + columns - 1) / columns;
    s.unaligned = args->element == ELEMENT_F32 && args->K % 4 != 0;
    const dim3 grid((unsigned)(s.row_tiles * s.column_tiles)), block(threads);
    return s.segments > 1 ? LAUNCH((tile<T, BM, BN, WM, WN, true>), grid, block, shared, stream, s)
                          : LAUNCH((tile<T, BM, BN, WM, WN, false>), grid, block, shared, stream, s);
}

// Large tiles when they are enough for every multiprocessor.
template <typename T> cudaError_t launch_size(const linear_args *args, cudaStream_t stream) {
    enum { BLOCKS = 128 };
    const int64_t large = (int64_t)((args->T + 127) / 128) * ((weight_rows(*args) + 127) / 128);
    return large >= BLOCKS ? launch<T, 128, 128, 64, 32>(args, stream) : launch<T, 64, 64, 32, 32>(args, stream);
}

} // namespace

extern "C" cudaError_t linear_tile_launch(const struct linear_args *args, cudaStream_t stream) {
    switch (args->element) {
    case ELEMENT_F16: return launch_size<dev::f16>(args, stream);
    case ELEMENT_BF16: return launch_size<dev::bf16>(args, stream);
    default: return launch_size<float>(args, stream);
    }
}
