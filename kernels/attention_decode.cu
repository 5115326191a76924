// attention_decode.cu: attention of sequences with one query, split at absolute positions (contract A of attention.cuh).
//
// A block of four warps owns (decode sequence, KV head, 16 of the query heads that share it, chunk of 256 keys). Warp w
// computes the scores of the chunk's tile w; weights go through shared memory, and then warp w owns the result's dims tiles
// w, w + 4, … over all of the chunk's keys. K and V come straight from global memory, 12 … 16 words of 16 bytes a lane in
// flight (narrow heads and F32: 8); the first values are on their way while the softmax runs.
// The chunk's state goes to args.states [pair][chunk] as [dims / 8][lane] o of the lane's fragment and [lane] (m, m, l, l);
// rows that are no query's are never written or read. The last block of a pair (sequence, KV head, heads) to finish folds all
// states ascending; a pair with one chunk needs none.
// Shared memory: the chunk's weights as operands (8 KiB; F32: 16 KiB), each tile's row maxima and sums (2 KiB);
// F32 and W >= 128: the queries, as operands (W / 32 KiB; F32: W / 16 KiB).
// Determinism: the number of chunks and blocks decides who computes and nothing else.
#include "kernels/attention.cuh"
#include "kernels/device.cuh"
#include "kernels/kernels.h"

namespace {

using namespace attention;

enum { WARPS = CHUNK_TILES };

struct decode_params {
    attention_args a;
    score_params score;
    int32_t head_blocks; // blocks of 16 query heads of one KV head
};

template <typename T, int W> struct decode_shape : shape<T, W> {
    typedef shape<T, W> S;
    // Words of 16 bytes in flight, a lane's: keys of ROUND_TILES score tiles, values of ROUND_PAGES tiles of keys.
    enum { IN_FLIGHT = sizeof(T) == 2 ? 16 : 8 };
    static constexpr int rounds(int words, int most) {
        return most > 1 && words * most > IN_FLIGHT ? rounds(words, most / 2) : most;
    }
    static constexpr int ROUND_TILES = rounds(S::DIM_BLOCKS, SCORE_TILES);
    static constexpr int KEY_WORDS = ROUND_TILES * S::DIM_BLOCKS;
    static constexpr int OWN_TILES = (S::DIM_TILES + WARPS - 1) / WARPS; // dims tiles of a warp
    static constexpr int PAGE_WORDS = S::KEY_BLOCKS * OWN_TILES;
    static constexpr int ROUND_PAGES = rounds(PAGE_WORDS, CHUNK_TILES);
    static constexpr int VALUE_WORDS = ROUND_PAGES * PAGE_WORDS;
    // Queries are shared by the warps, where a copy in each one's registers would be too much.
    static constexpr bool QUERY_SHARED = sizeof(T) == 4 || W >= 128;
    static constexpr int STATE = (S::DIM_TILES + 1) * 32 * 4;                     // floats
    static constexpr int FOLD_STATES = OWN_TILES > 4 ? 2 : OWN_TILES > 1 ? 4 : 8; // read at a time
    static constexpr int BLOCKS_PER_PROCESSOR = sizeof(T) == 2 && W <= 32 ? 3 : 2;
};

// What a block works on.
struct decode_item {
    int32_t pair, chunk;            // chunk: counted from the first that is visible
    int32_t chunks;                 // of this sequence
    int32_t token, position, first; // of the query; the first position it sees
    int32_t start;                  // the chunk's first position
    const int32_t *page;            // the chunk's
    int32_t first_tile, last_tile;  // of the chunk, with visible keys: 0 … 3
    int32_t kv_head, head, heads;   // the block's query heads
};

DEV bool find_item(const decode_params &p, decode_item &item) {
    const attention_args &a = p.a;
    const int32_t group = a.H / a.Hkv;
    item.chunk = (int32_t)blockIdx.x % a.chunks;
    item.pair = (int32_t)blockIdx.x / a.chunks;
    const int32_t head_block = item.pair % p.head_blocks;
    item.kv_head = item.pair / p.head_blocks % a.Hkv;
    item.head = item.kv_head * group + head_block * ROWS;
    item.heads = group - head_block * ROWS < ROWS ? group - head_block * ROWS : ROWS;
    const int32_t sequence = a.decode[item.pair / p.head_blocks / a.Hkv];
    if (sequence < 0) return false;
    item.token = a.step.query_start[sequence];
    item.position = a.step.position[item.token];
    item.first = first_visible(item.position, a.window);
    const int32_t first_chunk = item.first / ATTENTION_CHUNK;
    item.chunks = item.position / ATTENTION_CHUNK - first_chunk + 1;
    if (item.chunk >= item.chunks) return false;
    item.start = (first_chunk + item.chunk) * ATTENTION_CHUNK;
    item.page = a.step.page + a.step.page_start[sequence] + item.start / TILE;
    item.first_tile = item.first > item.start ? (item.first - item.start) / TILE : 0;
    item.last_tile = item.position - item.start >= ATTENTION_CHUNK ? WARPS - 1 : (item.position - item.start) / TILE;
    return true;
}

template <typename T, int W>
DEV void write_result(const decode_params &p, const decode_item &item, const place &at, int warp, const row_state &rows,
                      const float (&o)[decode_shape<T, W>::OWN_TILES][4]) {
    typedef decode_shape<T, W> S;
    query_rows to;
    for (int r = 0; r < 2; r++) {
        to.token[r] = at.g + 8 * r < item.heads ? item.token : -1;
        to.head[r] = item.head + at.g + 8 * r;
    }
#pragma unroll
    for (int n = 0; n < S::OWN_TILES; n++) store_tile<T>(p.a, to, at, warp + n * WARPS, o[n], rows.l);
    if (warp == 0) store_padding<T>(p.a, to, at);
}

// o and rows of the chunk's state.
template <typename T, int W>
DEV void compute_chunk(const decode_params &p, const decode_item &item, const place &at, int warp, row_state &rows,
                       float (&o)[decode_shape<T, W>::OWN_TILES][4]) {
    typedef decode_shape<T, W> S;
    SHARED(dev::word4, weight, [CHUNK_TILES * S::KEY_BLOCKS][2][32]);
    SHARED(float, tile_max, [CHUNK_TILES][2][32]);
    SHARED(float, tile_sum, [CHUNK_TILES][2][32]);
    SHARED(dev::word4, query, [S::QUERY_SHARED ? S::DIM_BLOCKS : 1][2][32]);
    const attention_args &a = p.a;
    const bool own_tile = warp >= item.first_tile && warp <= item.last_tile;
    const int32_t lane_page = at.lane >= item.first_tile && at.lane <= item.last_tile ? item.page[at.lane] : 0;
    auto page_start = [&](const void *pages, int tile) {
        return static_cast<const T *>(pages) +
               ((int64_t)dev::shfl(lane_page, tile) * a.Hkv + item.kv_head) * (TILE * W);
    };

    // Value word w of a round: block of keys w / OWN_TILES, counted over the round's tiles; own dims tile w % OWN_TILES.
    const T *values[S::ROUND_PAGES];
    auto wanted = [&](int tile, int n) {
        return tile >= item.first_tile && tile <= item.last_tile && warp + n * WARPS < S::DIM_TILES;
    };
    auto find_values = [&](int first_tile) {
#pragma unroll
        for (int i = 0; i < S::ROUND_PAGES; i++)
            values[i] = page_start(a.v, first_tile + i) + (warp * 8 + at.g) * TILE + at.t * S::ELEMENTS;
    };
    auto load_value = [&](int first_tile, int w) {
        const int i = w / S::PAGE_WORDS, n = w % S::OWN_TILES, block = w / S::OWN_TILES % S::KEY_BLOCKS;
        dev::word4 word = {{0, 0, 0, 0}};
        if (wanted(first_tile + i, n)) word = dev::ld128_stream(values[i] + n * WARPS * 8 * TILE + block * S::BLOCK);
        return word;
    };
    dev::word4 value[S::VALUE_WORDS];
    find_values(0);

    // Key word w of a round: score tile w / DIM_BLOCKS of the round, block of dims w % DIM_BLOCKS.
    const T *keys = page_start(a.k, warp) + key_of<T, W>(0, at.g) * W;
    auto load_key = [&](int first_tile, int w) {
        const int i = w % S::DIM_BLOCKS;
        const T *from = keys + key_of<T, W>(first_tile + w / S::DIM_BLOCKS, 0) * W + i * S::BLOCK;
        if (S::HALF_LAST && i == S::DIM_BLOCKS - 1) {
            const dev::word2 half = dev::ld64_stream(from + at.t * 4);
            return dev::word4{{half.w[0], half.w[1], 0, 0}};
        }
        return dev::ld128_stream(from + at.t * S::ELEMENTS);
    };
    dev::word4 key[S::KEY_WORDS];
    if (own_tile)
#pragma unroll
        for (int w = 0; w < S::KEY_WORDS; w++) key[w] = load_key(0, w);

    fragment q[S::QUERY_SHARED ? 1 : S::DIM_BLOCKS];
    const float *row = a.qkv + (int64_t)item.token * (a.H + 2 * a.Hkv) * a.Dh + (item.head + at.g) * a.Dh;
    auto load_row = [&](int i, int half) {
        return load_query<T, W>(at.g + 8 * half < item.heads ? row + 8 * half * a.Dh : nullptr, i, at.t, a.Dh);
    };
    if constexpr (S::QUERY_SHARED) {
        for (int i = warp; i < 2 * S::DIM_BLOCKS; i += WARPS) query[i / 2][i % 2][at.lane] = load_row(i / 2, i % 2);
        dev::block_sync();
    } else {
#pragma unroll
        for (int i = 0; i < S::DIM_BLOCKS; i++) q[i] = {load_row(i, 0), load_row(i, 1)};
    }
    auto multiply_key = [&](float(&d)[4], int w) {
        const int i = w % S::DIM_BLOCKS;
        if constexpr (S::QUERY_SHARED)
            multiply_dims<T, W>(d, {query[i][0][at.lane], query[i][1][at.lane]}, key[w], i);
        else
            multiply_dims<T, W>(d, q[i], key[w], i);
    };

    float s[SCORE_TILES][4];
    if (own_tile) {
#pragma unroll
        for (int j = 0; j < SCORE_TILES; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) s[j][i] = 0;
        // Each round works on s[0 …] and then turns s by its tiles, so that the loop need not be unrolled.
        auto turn = [&] {
            float x[SCORE_TILES][4];
            memcpy(x, s, sizeof x);
#pragma unroll
            for (int j = 0; j < SCORE_TILES; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) s[j][i] = x[(j + S::ROUND_TILES) % SCORE_TILES][i];
        };
#pragma unroll 1
        for (int tile = S::ROUND_TILES; tile < SCORE_TILES; tile += S::ROUND_TILES) {
            if (S::QUERY_SHARED) dev::warp_sync(); // or the compiler holds all queries in registers
#pragma unroll
            for (int w = 0; w < S::KEY_WORDS; w++) {
                multiply_key(s[w / S::DIM_BLOCKS], w);
                key[w] = load_key(tile, w);
            }
            turn();
        }
#pragma unroll
        for (int w = 0; w < S::KEY_WORDS || w < S::VALUE_WORDS; w++) {
            if (w < S::KEY_WORDS) multiply_key(s[w / S::DIM_BLOCKS], w);
            if (w < S::VALUE_WORDS) value[w] = load_value(0, w);
        }
        turn();
        const int32_t start = item.start + warp * TILE;
        const visible_keys visible = {{item.first, item.first}, {item.position, item.position}};
        finish_scores<T, W>(s, p.score, visible, start, at.t, item.first > start || item.position < start + TILE - 1);
        float m[2];
        row_max(m, s);
        for (int r = 0; r < 2; r++) tile_max[warp][r][at.lane] = m[r];
    } else {
#pragma unroll
        for (int w = 0; w < S::VALUE_WORDS; w++) value[w] = load_value(0, w);
        for (int r = 0; r < 2; r++) {
            tile_max[warp][r][at.lane] = -INFINITY;
            tile_sum[warp][r][at.lane] = 0;
        }
    }
    dev::block_sync();

    if (own_tile) {
        float m[2], sum[2];
        for (int r = 0; r < 2; r++) {
            m[r] = tile_max[0][r][at.lane];
            for (int i = 1; i <= warp; i++) m[r] = fmaxf(m[r], tile_max[i][r][at.lane]);
        }
        weights(s, m, sum);
        for (int r = 0; r < 2; r++) tile_sum[warp][r][at.lane] = sum[r];
#pragma unroll
        for (int b = 0; b < S::KEY_BLOCKS; b++) {
            const fragment f = weights_of_block<T, W>(s, b);
            weight[warp * S::KEY_BLOCKS + b][0][at.lane] = f.upper;
            weight[warp * S::KEY_BLOCKS + b][1][at.lane] = f.lower;
        }
    }
    dev::block_sync();

    rows = empty_rows();
#pragma unroll
    for (int n = 0; n < S::OWN_TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) o[n][i] = 0;
#pragma unroll 1
    for (int first_tile = 0; first_tile < CHUNK_TILES; first_tile += S::ROUND_PAGES) {
        const bool more = first_tile + S::ROUND_PAGES < CHUNK_TILES;
        if (more) find_values(first_tile + S::ROUND_PAGES);
        fragment f = {};
#pragma unroll
        for (int w = 0; w < S::VALUE_WORDS; w++) {
            const int tile = first_tile + w / S::PAGE_WORDS, block = w / S::OWN_TILES % S::KEY_BLOCKS,
                      n = w % S::OWN_TILES;
            if (w % S::PAGE_WORDS == 0) {
                float factor[2];
                for (int r = 0; r < 2; r++) {
                    const float m = fmaxf(rows.m[r], tile_max[tile][r][at.lane]);
                    factor[r] = shrink(rows.m[r], m);
                    rows.m[r] = m;
                    rows.l[r] = dev::fma(rows.l[r], factor[r], tile_sum[tile][r][at.lane]);
                }
#pragma unroll
                for (int i = 0; i < S::OWN_TILES; i++) scale_tile(o[i], factor);
            }
            if (n == 0 && wanted(tile, 0)) {
                f.upper = weight[tile * S::KEY_BLOCKS + block][0][at.lane];
                f.lower = weight[tile * S::KEY_BLOCKS + block][1][at.lane];
            }
            if (wanted(tile, n)) {
                dev::word4 word = value[w];
                if (tile == item.last_tile)
                    word = keep_keys<T>(word, item.position + 1 -
                                                  (item.start + tile * TILE + block * S::BLOCK + at.t * S::ELEMENTS));
                multiply<T>(o[n], f, word);
            }
            if (more) value[w] = load_value(first_tile + S::ROUND_PAGES, w);
        }
    }
    finish_chunk(rows);
}

template <typename T, int W>
__global__ void __launch_bounds__(WARPS * 32, decode_shape<T, W>::BLOCKS_PER_PROCESSOR) decode(decode_params p) {
    typedef decode_shape<T, W> S;
    dev::pdl_begin();
    const attention_args &a = p.a;
    decode_item item;
    if (!find_item(p, item)) return; // the whole block
    const int warp = (int)threadIdx.x / 32;
    const place at = place_of((int)threadIdx.x);
    row_state rows, total = empty_rows();
    float o[S::OWN_TILES][4], sum[S::OWN_TILES][4], before[2], after[2];
    compute_chunk<T, W>(p, item, at, warp, rows, o);
#pragma unroll
    for (int n = 0; n < S::OWN_TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) sum[n][i] = 0;
    if (item.chunks == 1) {
        fold_rows(total, rows, before, after);
#pragma unroll
        for (int n = 0; n < S::OWN_TILES; n++) fold_tile(sum[n], o[n], before, after);
        write_result<T, W>(p, item, at, warp, total, sum);
        return;
    }

    float *states = a.states + (int64_t)item.pair * a.chunks * S::STATE + at.lane * 4;
    float *own = states + (int64_t)item.chunk * S::STATE;
    if (at.g < item.heads) {
#pragma unroll
        for (int n = 0; n < S::OWN_TILES; n++)
            if (warp + n * WARPS < S::DIM_TILES)
                dev::st128(own + (warp + n * WARPS) * 128,
                           {{dev::bits(o[n][0]), dev::bits(o[n][1]), dev::bits(o[n][2]), dev::bits(o[n][3])}});
        if (warp == 0)
            dev::st128(own + S::DIM_TILES * 128,
                       {{dev::bits(rows.m[0]), dev::bits(rows.m[1]), dev::bits(rows.l[0]), dev::bits(rows.l[1])}});
    }
    if (!dev::last_block(a.counters + item.pair, (uint32_t)item.chunks)) return;
    if (at.g < item.heads) {
        for (int32_t c = 0; c < item.chunks; c += S::FOLD_STATES) {
            dev::word4 head[S::FOLD_STATES], body[S::FOLD_STATES][S::OWN_TILES];
#pragma unroll
            for (int i = 0; i < S::FOLD_STATES; i++) {
                if (c + i >= item.chunks) continue;
                const float *state = states + (int64_t)(c + i) * S::STATE;
                head[i] = dev::ld128(state + S::DIM_TILES * 128);
#pragma unroll
                for (int n = 0; n < S::OWN_TILES; n++)
                    if (warp + n * WARPS < S::DIM_TILES) body[i][n] = dev::ld128(state + (warp + n * WARPS) * 128);
            }
#pragma unroll
            for (int i = 0; i < S::FOLD_STATES; i++) {
                if (c + i >= item.chunks) continue;
                for (int r = 0; r < 2; r++) {
                    rows.m[r] = dev::from_bits(head[i].w[r]);
                    rows.l[r] = dev::from_bits(head[i].w[2 + r]);
                }
                fold_rows(total, rows, before, after);
#pragma unroll
                for (int n = 0; n < S::OWN_TILES; n++) {
                    if (warp + n * WARPS >= S::DIM_TILES) continue;
                    for (int k = 0; k < 4; k++) o[n][k] = dev::from_bits(body[i][n].w[k]);
                    fold_tile(sum[n], o[n], before, after);
                }
            }
        }
    }
    write_result<T, W>(p, item, at, warp, total, sum);
}

int32_t head_blocks(int32_t H, int32_t Hkv) {
    return (H / Hkv + ROWS - 1) / ROWS;
}

} // namespace

extern "C" size_t attention_state_bytes(int32_t decode_count, int32_t chunks, int32_t H, int32_t Hkv, int32_t Dh) {
    const size_t state = ((size_t)kv_width(Dh) / 8 + 1) * 32 * 4 * sizeof(float);
    return (size_t)decode_count * (size_t)chunks * (size_t)Hkv * (size_t)head_blocks(H, Hkv) * state;
}

extern "C" cudaError_t attention_decode_launch(const attention_args *args, cudaStream_t stream) {
    const decode_params params = {*args, score_params_of(*args), head_blocks(args->H, args->Hkv)};
    const int64_t blocks = (int64_t)args->decode_count * args->Hkv * params.head_blocks * args->chunks;
    if (blocks == 0) return cudaSuccess;
    if (blocks > INT32_MAX) return cudaErrorInvalidValue;
    return for_pages(args->element, args->Dh, [&](auto element, auto W) {
        return LAUNCH((decode<decltype(element), decltype(W)::value>), dim3((uint32_t)blocks), dim3(WARPS * 32), 0,
                      stream, params);
    });
}
