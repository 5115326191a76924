// attention_prefill.cu: attention of runs of queries (contract A of attention.cuh).
//
// A block owns a run of query tokens of one sequence and one KV head: its rows are tokens × the query heads that share the KV
// head (row r: token r / group, head r % group), 16 of them to a warp; W = 256: to two warps that each compute all scores and
// half of the result's dims. Scores, weights and the chunk's o stay in registers, and so does the fold of the chunks before.
// The pages that any of its rows sees pass through shared memory in pieces, K and V of a tile in turn, SLOTS of them in a ring
// that is filled in the background; one block barrier a piece.
// Shared memory: SLOTS pieces, rows of 16-byte words swizzled so that every eight lanes that read together touch all banks;
// F32 and W >= 128: also the queries, as operands. At most 96 KiB.
// Determinism: a row's arithmetic depends on its own sequence only.
#include "kernels/attention.cuh"
#include "kernels/device.cuh"
#include "kernels/kernels.h"

namespace {

using namespace attention;

struct prefill_params {
    attention_args a;
    score_params score;
};

template <typename T, int W> struct prefill_shape : shape<T, W> {
    typedef shape<T, W> S;
    static constexpr int SPLIT = W > 128 ? 2 : 1; // warps that share 16 rows
    static constexpr int WARPS = sizeof(T) == 2 ? 8 : 4;
    static constexpr int BLOCK_ROWS = WARPS / SPLIT * ROWS;
    static constexpr int OWN_TILES = S::DIM_TILES / SPLIT; // dims tiles of a warp
    static constexpr bool QUERY_SHARED = sizeof(T) == 4 || W >= 128;
    // Fully for 16-bit elements; a step of F32 is much code.
    static constexpr int UNROLL_DIMS = QUERY_SHARED ? 2 : S::DIM_BLOCKS, UNROLL_KEYS = 2;
    // Rows in words of 16 bytes: a multiple of 4, and an even multiple is swizzled.
    static constexpr int KEY_WORDS = W * (int)sizeof(T) / 16, KEY_STRIDE = (KEY_WORDS + 3) / 4 * 4;
    static constexpr int VALUE_WORDS = TILE * (int)sizeof(T) / 16;
    static constexpr bool SWIZZLE_KEYS = KEY_STRIDE % 8 == 0;
    static constexpr int PIECE = TILE * KEY_STRIDE > W *VALUE_WORDS ? TILE *KEY_STRIDE : W *VALUE_WORDS; // words
    static constexpr int SLOTS = PIECE <= 1024 ? 4 : PIECE <= 2048 ? 2 : 1;                 // at most 64 KiB
    static constexpr int QUERY = QUERY_SHARED ? WARPS / SPLIT * S::DIM_BLOCKS * 2 * 32 : 0; // words
    static constexpr int BYTES = (SLOTS * PIECE + QUERY) * 16;
    static_assert(BYTES <= 99 * 1024, "what every GPU since 8.6 has");

    static DEV int key_word(int key, int word) {
        return key * KEY_STRIDE + (SWIZZLE_KEYS ? word ^ (key & 1) << 2 : word);
    }
    static DEV int value_word(int dim, int word) { return dim * VALUE_WORDS + (word ^ (dim & 1) << 2); }
    // The same for words 4 i + word (word < 4) of rows that differ by an even number from `row`: base[i % 2] + 4 i + …
    static DEV void key_bases(int (&base)[2], int row, int word) {
        base[0] = key_word(row, word);
        base[1] = key_word(row, word + 4) - 4;
    }
    static DEV void value_bases(int (&base)[2], int row, int word) {
        base[0] = value_word(row, word);
        base[1] = value_word(row, word + 4) - 4;
    }
};

// The tiles of a block, as pieces: K of its first tile, V of it, K of the next …
template <typename T, int W> struct piece_ring {
    typedef prefill_shape<T, W> S;
    dev::word4 *shared; // [SLOTS][PIECE]
    const T *k, *v;     // of the KV head in page 0
    int64_t page_elements;
    const int32_t *page; // of the sequence
    int32_t first_tile, last_tile, last_key;
    int32_t current, next; // pages of the tile whose pieces are being asked for, and of the one after it

    DEV dev::word4 *slot(int32_t piece) const { return shared + piece % S::SLOTS * S::PIECE; }

    DEV void ask(int32_t piece) {
        const int32_t tile = first_tile + piece / 2;
        if (tile > last_tile) return;
        dev::word4 *to = slot(piece);
        if (piece % 2 == 0) {
            current = next;
            next = tile < last_tile ? page[tile + 1] : 0;
            const T *from = k + current * page_elements;
#pragma unroll 1
            for (int i = (int)threadIdx.x; i < TILE * S::KEY_WORDS; i += S::WARPS * 32)
                dev::copy_async16(to + S::key_word(i / S::KEY_WORDS, i % S::KEY_WORDS), from + i * S::ELEMENTS);
        } else {
            const T *from = v + current * page_elements;
            const int32_t keys = last_key - tile * TILE + 1;
#pragma unroll 1
            for (int i = (int)threadIdx.x; i < W * S::VALUE_WORDS; i += S::WARPS * 32)
                dev::copy_async16(to + S::value_word(i / S::VALUE_WORDS, i % S::VALUE_WORDS), from + i * S::ELEMENTS,
                                  i % S::VALUE_WORDS * S::ELEMENTS < keys);
        }
    }
    // Values beyond the last key become zero, each in the thread that copied it.
    DEV void clear_tail(int32_t piece) const {
        const int32_t keys = last_key - (first_tile + piece / 2) * TILE + 1;
        if (piece % 2 == 0 || keys >= TILE || keys % S::ELEMENTS == 0) return;
        for (int i = (int)threadIdx.x; i < W * S::VALUE_WORDS; i += S::WARPS * 32) {
            if (i % S::VALUE_WORDS != keys / S::ELEMENTS) continue;
            dev::word4 *word = slot(piece) + S::value_word(i / S::VALUE_WORDS, i % S::VALUE_WORDS);
            dev::st128(word, keep_keys<T>(dev::ld128(word), keys % S::ELEMENTS));
        }
    }

    DEV void begin() {
        current = 0;
        next = page[first_tile];
        for (int32_t piece = 0; piece < S::SLOTS - 1; piece++) {
            ask(piece);
            dev::copy_async_commit();
        }
    }
    // All threads of the block: the piece is there, and the one before it is no longer needed.
    DEV const dev::word4 *take(int32_t piece) {
        if constexpr (S::SLOTS == 1) {
            dev::block_sync();
            ask(piece);
            dev::copy_async_commit();
            dev::copy_async_wait<0>();
            clear_tail(piece);
            dev::block_sync();
        } else {
            dev::copy_async_wait<S::SLOTS - 2>();
            clear_tail(piece);
            dev::block_sync();
            ask(piece + S::SLOTS - 1);
            dev::copy_async_commit();
        }
        return slot(piece);
    }
};

template <typename T, int W>
__global__ void __launch_bounds__(prefill_shape<T, W>::WARPS * 32, 1) prefill(prefill_params p) {
    typedef prefill_shape<T, W> S;
    dev::pdl_begin();
    SHARED_DYN(dev::word4, shared);
    const attention_args &a = p.a;
    // The last runs have the most keys: they start first.
    const query_block block = a.block[a.block_count - 1 - (int32_t)blockIdx.x];
    const int32_t group = a.H / a.Hkv, kv_head = (int32_t)blockIdx.y, block_row = (int32_t)blockIdx.z * S::BLOCK_ROWS;
    if (block.sequence < 0 || block_row >= block.count * group) return; // the whole block
    const int32_t all_rows = block.count * group - block_row,
                  rows = all_rows < S::BLOCK_ROWS ? all_rows : S::BLOCK_ROWS;
    const int32_t position = a.step.position[block.first]; // of the run's first token
    const int warp = (int)threadIdx.x / 32, row_block = warp / S::SPLIT, own_first = warp % S::SPLIT * S::OWN_TILES;
    const place at = place_of((int)threadIdx.x);

    piece_ring<T, W> ring;
    ring.shared = shared;
    ring.page_elements = (int64_t)a.Hkv * TILE * W;
    ring.k = static_cast<const T *>(a.k) + (int64_t)kv_head * TILE * W;
    ring.v = static_cast<const T *>(a.v) + (int64_t)kv_head * TILE * W;
    ring.page = a.step.page + a.step.page_start[block.sequence];
    ring.last_key = position + (block_row + rows - 1) / group;
    ring.first_tile = first_visible(position + block_row / group, a.window) / TILE;
    ring.last_tile = ring.last_key / TILE;
    ring.begin();

    // This warp's rows, and what they see.
    const int32_t first_row = row_block * ROWS, warp_rows = rows - first_row < ROWS ? rows - first_row : ROWS;
    query_rows to;
    visible_keys visible;
    const float *query[2];
    for (int r = 0; r < 2; r++) {
        const int32_t row = at.g + 8 * r, run_row = block_row + first_row + row;
        const bool used = row < warp_rows;
        const int32_t token = run_row / group;
        to.token[r] = used ? block.first + token : -1;
        to.head[r] = kv_head * group + run_row % group;
        visible.last[r] = used ? position + token : -1;
        visible.first[r] = used ? first_visible(position + token, a.window) : 0;
        query[r] = used ? a.qkv + (int64_t)to.token[r] * (a.H + 2 * a.Hkv) * a.Dh + to.head[r] * a.Dh : nullptr;
    }
    // Of the warp's first and last row: every row sees keys low … high, and none is seen beyond lowest … highest.
    const int32_t first_position = position + (block_row + first_row) / group;
    const int32_t last_position = position + (block_row + first_row + warp_rows - 1) / group;
    const int32_t lowest = first_visible(first_position, a.window), low = first_visible(last_position, a.window);
    const int32_t highest = warp_rows > 0 ? last_position : -1, high = first_position;

    fragment q[S::QUERY_SHARED ? 1 : S::DIM_BLOCKS];
    dev::word4 *query_words = shared + S::SLOTS * S::PIECE + row_block * S::DIM_BLOCKS * 2 * 32 + at.lane;
    if constexpr (S::QUERY_SHARED) {
        for (int i = own_first ? S::DIM_BLOCKS : 0; i < S::DIM_BLOCKS; i++) {
            query_words[i * 64] = load_query<T, W>(query[0], i, at.t, a.Dh);
            query_words[i * 64 + 32] = load_query<T, W>(query[1], i, at.t, a.Dh);
        }
    } else {
#pragma unroll
        for (int i = 0; i < S::DIM_BLOCKS; i++) {
            q[i].upper = load_query<T, W>(query[0], i, at.t, a.Dh);
            q[i].lower = load_query<T, W>(query[1], i, at.t, a.Dh);
        }
    }

    int key_base[2], half_base[2], value_base[2];
    S::key_bases(key_base, key_of<T, W>(0, at.g), at.t);
    S::key_bases(half_base, key_of<T, W>(0, at.g), at.t / 2);
    S::value_bases(value_base, own_first * 8 + at.g, at.t);
    row_state total = empty_rows(), chunk = empty_rows();
    float sum[S::OWN_TILES][4], o[S::OWN_TILES][4];
#pragma unroll
    for (int n = 0; n < S::OWN_TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) sum[n][i] = o[n][i] = 0;
    bool started = false; // a tile of this chunk was seen

    for (int32_t tile = ring.first_tile; tile <= ring.last_tile; tile++) {
        const int32_t start = tile * TILE, piece = (tile - ring.first_tile) * 2;
        const bool seen = start <= highest && start + TILE > lowest;
        fragment weight[S::KEY_BLOCKS];
        const dev::word4 *keys = ring.take(piece);
        if (seen) {
            float s[SCORE_TILES][4];
#pragma unroll
            for (int j = 0; j < SCORE_TILES; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) s[j][i] = 0;
#pragma unroll S::UNROLL_DIMS
            for (int i = 0; i < S::DIM_BLOCKS; i++) {
                fragment qi;
                if constexpr (S::QUERY_SHARED) {
                    qi.upper = dev::ld128(query_words + i * 64);
                    qi.lower = dev::ld128(query_words + i * 64 + 32);
                } else {
                    qi = q[i];
                }
#pragma unroll
                for (int j = 0; j < SCORE_TILES; j++) {
                    const int word_at = key_of<T, W>(j, 0) * S::KEY_STRIDE + i * 4;
                    dev::word4 word;
                    if (S::HALF_LAST && i == S::DIM_BLOCKS - 1) {
                        const dev::word4 *whole = keys + half_base[i % 2] + word_at;
                        const dev::word2 half = dev::ld64(reinterpret_cast<const char *>(whole) + at.t % 2 * 8);
                        word = {{half.w[0], half.w[1], 0, 0}};
                    } else {
                        word = dev::ld128(keys + key_base[i % 2] + word_at);
                    }
                    multiply_dims<T, W>(s[j], qi, word, i);
                }
            }
            finish_scores<T, W>(s, p.score, visible, start, at.t, start + TILE - 1 > high || start < low);
            float m[2], lane_sum[2], factor[2];
            row_max(m, s);
            bool rises = false;
            for (int r = 0; r < 2; r++) {
                m[r] = fmaxf(chunk.m[r], m[r]);
                factor[r] = shrink(chunk.m[r], m[r]);
                rises |= factor[r] != 1.0f;
                chunk.m[r] = m[r];
            }
            weights(s, m, lane_sum);
            for (int r = 0; r < 2; r++) chunk.l[r] = dev::fma(chunk.l[r], factor[r], lane_sum[r]);
            if (dev::ballot(rises))
#pragma unroll
                for (int n = 0; n < S::OWN_TILES; n++) scale_tile(o[n], factor);
#pragma unroll
            for (int b = 0; b < S::KEY_BLOCKS; b++) weight[b] = weights_of_block<T, W>(s, b);
            started = true;
        }
        const dev::word4 *values = ring.take(piece + 1);
        if (seen)
#pragma unroll S::UNROLL_KEYS
            for (int b = 0; b < S::KEY_BLOCKS; b++) {
#pragma unroll
                for (int n = 0; n < S::OWN_TILES; n++)
                    multiply<T>(o[n], weight[0],
                                dev::ld128(values + value_base[b % 2] + n * 8 * S::VALUE_WORDS + b * 4));
#pragma unroll
                for (int i = 1; i < S::KEY_BLOCKS; i++) weight[i - 1] = weight[i];
            }
        if (started && (tile % CHUNK_TILES == CHUNK_TILES - 1 || tile == ring.last_tile)) {
            float before[2], after[2];
            finish_chunk(chunk);
            fold_rows(total, chunk, before, after);
#pragma unroll
            for (int n = 0; n < S::OWN_TILES; n++) {
                fold_tile(sum[n], o[n], before, after);
                for (int i = 0; i < 4; i++) o[n][i] = 0;
            }
            chunk = empty_rows();
            started = false;
        }
    }
#pragma unroll
    for (int n = 0; n < S::OWN_TILES; n++) store_tile<T>(a, to, at, own_first + n, sum[n], total.l);
    if (own_first == 0) store_padding<T>(a, to, at);
}

} // namespace

extern "C" int32_t attention_query_tokens(enum element element, int32_t H, int32_t Hkv, int32_t Dh) {
    int32_t rows = 0;
    for_pages(element, Dh, [&](auto type, auto W) {
        rows = prefill_shape<decltype(type), decltype(W)::value>::BLOCK_ROWS;
        return cudaSuccess;
    });
    const int32_t group = H / Hkv;
    return rows > group ? rows / group : 1;
}

extern "C" cudaError_t attention_prefill_launch(const attention_args *args, cudaStream_t stream) {
    const prefill_params params = {*args, score_params_of(*args)};
    const int32_t tokens = attention_query_tokens(args->element, args->H, args->Hkv, args->Dh);
    const int32_t rows = tokens * (args->H / args->Hkv);
    if (args->block_count == 0) return cudaSuccess;
    return for_pages(args->element, args->Dh, [&](auto element, auto W) {
        typedef prefill_shape<decltype(element), decltype(W)::value> S;
        const dim3 grid((uint32_t)args->block_count, (uint32_t)args->Hkv,
                        (uint32_t)((rows + S::BLOCK_ROWS - 1) / S::BLOCK_ROWS));
        return LAUNCH((prefill<decltype(element), decltype(W)::value>), grid, dim3(S::WARPS * 32), S::BYTES, stream,
                      params);
    });
}
