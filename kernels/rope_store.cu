// rope_store.cu: what happens to q, k and v between their product and attention.
//
//     q, k [heads, Dh] of each token: normed per head (layer or rms), then rotated by the token's position
//         (a, b) -> (a c - b s, b c + a s),  pairs (i, i + rotary/2) or (2i, 2i + 1)
//     q -> back in place (fp32);  k -> K pages [P][Hkv][64][W];  v -> V pages [P][Hkv][W][64], both rounded once
//
// Two kinds of block in one grid. The first `head_blocks` blocks take heads of q and k: LANES neighbouring lanes own one head
// of one token, each lane groups of four elements, LANES groups apart; partners of a rotation meet in shared memory. The
// others take `tile` consecutive tokens of one KV head's v, turn them in shared memory and write along the tokens, which lie
// side by side in a page where a prompt is stored.
// Shared memory: [heads of a block][Dh up to 4] floats, or [tile][Dh + 1] floats.
// Determinism: lanes and the order of a head's sums follow from Dh alone.
#include "kernels/device.cuh"
#include "kernels/elements.cuh"
#include "kernels/kernels.h"
#include "kernels/kv_page.cuh"
#include "kernels/reduce.cuh"

namespace {

enum { THREADS = 256, MAX_TILE = 32 };

struct store_plan {
    struct rope_store_args a;
    int32_t W;           // kv_width(Dh)
    int32_t heads;       // of one token: q and k, or k alone where q stays as it is
    int32_t head_blocks; // blocks of the first kind
    int32_t tile;        // tokens of a block of the second kind, a power of two
};

// Four elements of a K row in its page; x is 0 beyond Dh.
DEV void store_key(float *to, const float (&x)[4]) {
    dev::st128(to, {{dev::bits(x[0]), dev::bits(x[1]), dev::bits(x[2]), dev::bits(x[3])}});
}
template <typename T> DEV void store_key(T *to, const float (&x)[4]) {
    dev::st64(to, {{dev::pack2<T>(x[0], x[1]), dev::pack2<T>(x[2], x[3])}});
}

// The norm of a head whose elements lie in x over LANES lanes.
template <int LANES, int GROUPS, bool ALIGNED>
DEV void norm_head(float (&x)[GROUPS][4], const rope_store_args &a, const float *weight, const float *bias,
                   int32_t lane) {
    const int32_t Dh = a.Dh;
    float mean = 0, square = 0;
    if (a.norm == KERNEL_LAYER_NORM) {
        float sum = 0;
        for (int g = 0; g < GROUPS; g++)
            for (int i = 0; i < 4; i++) sum = dev::add(sum, x[g][i]);
        mean = dev::div(dev::lanes_sum<LANES>(sum), (float)Dh);
    }
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < 4; i++) {
            const float centred = (g * LANES + lane) * 4 + i < Dh ? dev::sub(x[g][i], mean) : 0.0f;
            square = dev::fma(centred, centred, square);
        }
    const float variance = dev::div(dev::lanes_sum<LANES>(square), (float)Dh);
    const float scale = dev::div(1.0f, dev::sqrt(dev::add(variance, a.norm_eps)));
    for (int g = 0; g < GROUPS; g++) {
        const int32_t d = (g * LANES + lane) * 4;
        float w[4], b[4];
        if (weight) dev::load_floats<ALIGNED>(w, weight, d, Dh);
        if (bias) dev::load_floats<ALIGNED>(b, bias, d, Dh);
        for (int i = 0; i < 4; i++) {
            float y = dev::mul(dev::sub(x[g][i], mean), scale);
            if (weight) y = dev::mul(y, w[i]);
            if (bias) y = dev::add(y, b[i]);
            x[g][i] = d + i < Dh ? y : 0.0f;
        }
    }
}

// Rotates the elements x of a head from element d on; the whole head as it was lies in `head`, shared memory. angles
// [rotary / 2, 2]: cos, sin.
template <bool ALIGNED>
DEV void rotate(float (&x)[4], const float *head, const float *angles, int32_t d, int32_t rotary, bool interleaved) {
    const int32_t half = rotary / 2;
    if (ALIGNED && d >= rotary) return;
    if (ALIGNED && interleaved) {
        float angle[4];
        dev::load_floats<true>(angle, angles, d, rotary);
        for (int i = 0; i < 4; i += 2) {
            const float c = angle[i], s = angle[i + 1], even = x[i], odd = x[i + 1];
            x[i] = dev::sub(dev::mul(even, c), dev::mul(odd, s));
            x[i + 1] = dev::add(dev::mul(odd, c), dev::mul(even, s));
        }
    } else if (ALIGNED) {
        const bool second = d >= half;
        const int32_t pair = second ? d - half : d;
        float angle[8], other[4];
        dev::load_floats<true>(angle, angles, 2 * pair, rotary);
        dev::load_floats<true>(other, head, second ? pair : d + half, rotary);
        for (int i = 0; i < 4; i++) {
            const float c = dev::mul(x[i], angle[2 * i]), s = dev::mul(other[i], angle[2 * i + 1]);
            x[i] = second ? dev::add(c, s) : dev::sub(c, s);
        }
    } else {
        for (int i = 0; i < 4; i++) {
            const int32_t e = d + i;
            if (e >= rotary) break;
            const bool second = interleaved ? e % 2 == 1 : e >= half;
            const int32_t pair = interleaved ? e / 2 : second ? e - half : e, step = interleaved ? 1 : half;
            const float other = head[second ? e - step : e + step];
            const float c = dev::mul(x[i], angles[2 * pair]), s = dev::mul(other, angles[2 * pair + 1]);
            x[i] = second ? dev::add(c, s) : dev::sub(c, s);
        }
    }
}

template <int LANES, int GROUPS, bool ALIGNED, typename T> DEV void store_heads(const store_plan &p, float *shared) {
    const rope_store_args &a = p.a;
    const int32_t Dh = a.Dh, width = (a.H + 2 * a.Hkv) * Dh, lane = (int32_t)threadIdx.x % LANES;
    const int32_t in_block = (int32_t)threadIdx.x / LANES, item = (int32_t)blockIdx.x * (THREADS / LANES) + in_block;
    const int32_t t = item / p.heads, h = item % p.heads + (a.H + a.Hkv - p.heads); // q heads, then k heads
    const bool real = t < a.T && a.step.position[t < a.T ? t : 0] >= 0, key = h >= a.H;
    float *head = a.qkv + (int64_t)(real ? t : 0) * width + (int64_t)h * Dh;
    float x[GROUPS][4];
    for (int g = 0; g < GROUPS; g++) dev::load_floats<ALIGNED>(x[g], head, (g * LANES + lane) * 4, real ? Dh : 0);
    const float *weight = key ? a.k_norm : a.q_norm, *bias = key ? a.k_norm_bias : a.q_norm_bias;
    const bool normed = a.q_norm || a.q_norm_bias || a.k_norm || a.k_norm_bias; // sums take whole warps
    if (normed) {
        float y[GROUPS][4];
        for (int g = 0; g < GROUPS; g++)
            for (int i = 0; i < 4; i++) y[g][i] = x[g][i];
        norm_head<LANES, GROUPS, ALIGNED>(y, a, weight, bias, lane);
        if (weight || bias)
            for (int g = 0; g < GROUPS; g++)
                for (int i = 0; i < 4; i++) x[g][i] = y[g][i];
    }
    if (a.table) {
        float *before = shared + in_block * ((Dh + 3) / 4 * 4);
        for (int g = 0; g < GROUPS; g++)
            if ((g * LANES + lane) * 4 < Dh) store_key(before + (g * LANES + lane) * 4, x[g]);
        dev::warp_sync();
        const float *angles = a.table + (int64_t)(real ? a.step.position[t] : 0) * a.rotary;
        for (int g = 0; g < GROUPS; g++)
            rotate<ALIGNED>(x[g], before, angles, (g * LANES + lane) * 4, a.rotary, a.interleaved);
    }
    if (!real) return;
    T *keys = static_cast<T *>(a.k) + (key ? dev::key_row(a.step.slot[t], h - a.H, a.Hkv, p.W) : 0);
    for (int g = 0; g < GROUPS; g++) {
        const int32_t d = (g * LANES + lane) * 4;
        if (!key)
            dev::store_row<ALIGNED>(head, x[g], d, Dh);
        else if (d < Dh)
            store_key(keys + d, x[g]);
    }
}

template <bool ALIGNED, typename T> DEV void store_values(const store_plan &p, float *shared) {
    const rope_store_args &a = p.a;
    const int32_t Dh = a.Dh, width = (a.H + 2 * a.Hkv) * Dh, block = (int32_t)blockIdx.x - p.head_blocks;
    const int32_t h = block % a.Hkv, first = block / a.Hkv * p.tile, groups = (Dh + 3) / 4;
    const int32_t tokens = a.T - first < p.tile ? a.T - first : p.tile;
    for (int32_t i = (int32_t)threadIdx.x; i < tokens * groups; i += THREADS) {
        const int32_t t = i / groups, d = i % groups * 4;
        float x[4];
        dev::load_floats<ALIGNED>(x, a.qkv + (int64_t)(first + t) * width + (int64_t)(a.H + a.Hkv + h) * Dh, d, Dh);
        for (int j = 0; j < 4; j++)
            if (d + j < Dh) shared[t * (Dh + 1) + d + j] = x[j];
    }
    dev::block_sync();
    // THREADS is a multiple of the tile: a thread's token stays the same.
    const int32_t t = (int32_t)threadIdx.x % p.tile, slot = t < tokens ? a.step.slot[first + t] : -1;
    if (slot < 0) return;
    T *column = static_cast<T *>(a.v) + dev::value_column(slot, h, a.Hkv, p.W);
    for (int32_t d = (int32_t)threadIdx.x / p.tile; d < Dh; d += THREADS / p.tile)
        column[(int64_t)d * KV_PAGE_TOKENS] = dev::from_float<T>(shared[t * (Dh + 1) + d]);
}

template <int LANES, int GROUPS, bool ALIGNED, typename T>
__global__ void __launch_bounds__(THREADS) rope_store(store_plan p) {
    dev::pdl_begin();
    SHARED_DYN(float, shared);
    if ((int32_t)blockIdx.x < p.head_blocks)
        store_heads<LANES, GROUPS, ALIGNED, T>(p, shared);
    else
        store_values<ALIGNED, T>(p, shared);
}

template <int LANES, int GROUPS, bool ALIGNED> cudaError_t launch(store_plan p, cudaStream_t stream) {
    const rope_store_args &a = p.a;
    const int32_t in_block = THREADS / LANES, tiles = (a.T + p.tile - 1) / p.tile;
    p.head_blocks = (int32_t)(((int64_t)a.T * p.heads + in_block - 1) / in_block);
    const int32_t head_floats = in_block * ((a.Dh + 3) / 4 * 4), tile_floats = p.tile * (a.Dh + 1);
    const size_t shared = (size_t)(head_floats > tile_floats ? head_floats : tile_floats) * sizeof(float);
    const dim3 grid((uint32_t)(p.head_blocks + tiles * a.Hkv)), block(THREADS);
    switch (a.element) {
    case ELEMENT_F32: return LAUNCH((rope_store<LANES, GROUPS, ALIGNED, float>), grid, block, shared, stream, p);
    case ELEMENT_F16: return LAUNCH((rope_store<LANES, GROUPS, ALIGNED, dev::f16>), grid, block, shared, stream, p);
    case ELEMENT_BF16: return LAUNCH((rope_store<LANES, GROUPS, ALIGNED, dev::bf16>), grid, block, shared, stream, p);
    }
    return cudaErrorInvalidValue;
}

template <bool ALIGNED> cudaError_t launch(const store_plan &p, cudaStream_t stream) {
    if (p.W <= 64) return launch<16, 1, ALIGNED>(p, stream);
    if (p.W <= 128) return launch<32, 1, ALIGNED>(p, stream);
    return launch<32, 2, ALIGNED>(p, stream);
}

} // namespace

extern "C" cudaError_t rope_store_launch(const rope_store_args *args, cudaStream_t stream) {
    store_plan p = {};
    p.a = *args;
    p.W = kv_width(args->Dh);
    if (p.W == 0) return cudaErrorInvalidValue;
    const bool q_changes = args->table || args->q_norm || args->q_norm_bias;
    p.heads = q_changes ? args->H + args->Hkv : args->Hkv;
    for (p.tile = 1; p.tile < MAX_TILE && p.tile < args->T; p.tile *= 2) continue;
    const bool aligned = args->Dh % 4 == 0 && args->rotary % (args->interleaved ? 4 : 8) == 0;
    return aligned ? launch<true>(p, stream) : launch<false>(p, stream);
}
