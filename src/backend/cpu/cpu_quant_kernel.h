/* cpu_quant_kernel.h: one instruction set's kernels of quantised linear layers (cpu_quant.h says what they compute).
 *
 * A tile keeps R rows × 32 outputs of integer sums and as many fp32 sums in registers, in several passes over the outputs
 * where there are too few; R and the vectors of a pass are constants after inlining. */
#ifndef CPU_QUANT_KERNEL_H
#define CPU_QUANT_KERNEL_H

#include "backend/cpu/cpu_pack_kernel.h"
#include "backend/cpu/cpu_quant.h"

/* ---- integers: VEC of int32, or 4 · VEC bytes ---------------------------------------------------------------------- */

/* Every target has: sums start at `start` (-zero Σ a); quant_dot adds the four products of bytes of each lane;
 * quant_integers takes floats that are integers. */
#if defined(CPU_AVX512)
enum { QUANT_ROWS = 6 };
#define QUANT_VECS(R) 2

CPU_INLINE veci quant_set1(int32_t x) {
    return _mm512_set1_epi32(x);
}
CPU_INLINE veci quant_load(const void *p) {
    return _mm512_loadu_si512(p);
}
CPU_INLINE void quant_store(void *p, veci a) {
    _mm512_storeu_si512(p, a);
}
CPU_INLINE veci quant_integers(vec a) {
    return _mm512_cvtps_epi32(a);
}
CPU_INLINE veci quant_join(veci low, veci high, const unsigned shift) {
    return _mm512_or_si512(low, _mm512_slli_epi32(high, shift));
}
CPU_INLINE veci quant_low(veci w) {
    return _mm512_and_si512(w, _mm512_set1_epi8(15));
}
CPU_INLINE veci quant_high(veci w) {
    return _mm512_and_si512(_mm512_srli_epi32(w, 4), _mm512_set1_epi8(15));
}
CPU_INLINE vec quant_float(veci a) {
    return _mm512_cvtepi32_ps(a);
}
/* The larger bits of |x|: above those of any number where x is not finite. */
CPU_INLINE veci quant_larger(veci bits, vec x) {
    return _mm512_max_epi32(bits, _mm512_castps_si512(vec_abs(x)));
}
CPU_INLINE int32_t quant_most(veci bits) {
    return _mm512_reduce_max_epi32(bits);
}
/* to [VEC] = integral values of -127 … 127. */
CPU_INLINE void quant_narrow(int8_t *to, vec a) {
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtepi32_epi8(quant_integers(a)));
}
CPU_INLINE int32_t quant_start(enum weight_type type, int32_t start) {
    (void)type;
    return start;
}
CPU_INLINE veci quant_dot(enum weight_type type, veci sum, veci w, veci a) {
    (void)type;
#if defined(CPU_VNNI)
    return _mm512_dpbusd_epi32(sum, w, a);
#else
    veci even =
        _mm512_madd_epi16(_mm512_and_si512(w, _mm512_set1_epi16(255)), _mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8));
    veci odd = _mm512_madd_epi16(_mm512_srli_epi16(w, 8), _mm512_srai_epi16(a, 8));
    return _mm512_add_epi32(sum, _mm512_add_epi32(even, odd));
#endif
}

#elif defined(CPU_AVX2)
enum { QUANT_ROWS = 4 };
#define QUANT_VECS(R) ((R) == 1 ? 4 : (R) == 2 ? 2 : 1)

CPU_INLINE veci quant_set1(int32_t x) {
    return _mm256_set1_epi32(x);
}
CPU_INLINE veci quant_load(const void *p) {
    return _mm256_loadu_si256(p);
}
CPU_INLINE void quant_store(void *p, veci a) {
    _mm256_storeu_si256(p, a);
}
CPU_INLINE veci quant_integers(vec a) {
    return _mm256_cvtps_epi32(a);
}
CPU_INLINE veci quant_join(veci low, veci high, const unsigned shift) {
    return _mm256_or_si256(low, _mm256_slli_epi32(high, (int)shift));
}
CPU_INLINE veci quant_low(veci w) {
    return _mm256_and_si256(w, _mm256_set1_epi8(15));
}
CPU_INLINE veci quant_high(veci w) {
    return _mm256_and_si256(_mm256_srli_epi32(w, 4), _mm256_set1_epi8(15));
}
CPU_INLINE vec quant_float(veci a) {
    return _mm256_cvtepi32_ps(a);
}
CPU_INLINE veci quant_larger(veci bits, vec x) {
    return _mm256_max_epi32(bits, _mm256_castps_si256(vec_abs(x)));
}
CPU_INLINE int32_t quant_most(veci bits) {
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    __m128i two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 1)));
}
CPU_INLINE void quant_narrow(int8_t *to, vec a) {
    veci wide = quant_integers(a);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64((__m128i *)(void *)to, _mm_packs_epi16(words, words));
}
/* Two products of unsigned bytes above 128 do not fit 16 bits, so Q8 is multiplied signed: |a| · (q with a's sign). */
CPU_INLINE int32_t quant_start(enum weight_type type, int32_t start) {
    return type == WEIGHT_Q8 ? 0 : start;
}
CPU_INLINE veci quant_dot(enum weight_type type, veci sum, veci w, veci a) {
    veci pairs;
    if (type == WEIGHT_Q8) {
        veci q = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(q, a));
    } else {
        pairs = _mm256_maddubs_epi16(w, a);
    }
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#else
enum { QUANT_ROWS = 2 };
#define QUANT_VECS(R) ((R) == 1 ? 2 : 1)

CPU_INLINE veci quant_set1(int32_t x) {
    return veci_set1(x);
}
CPU_INLINE veci quant_load(const void *p) {
    veci a;
    memcpy(&a, p, sizeof a);
    return a;
}
CPU_INLINE void quant_store(void *p, veci a) {
    memcpy(p, &a, sizeof a);
}
CPU_INLINE veci quant_integers(vec a) {
    return __builtin_convertvector(a, veci);
}
CPU_INLINE veci quant_join(veci low, veci high, const unsigned shift) {
    return low | (veci)((vecu)high << shift);
}
CPU_INLINE veci quant_low(veci w) {
    return w & 0x0f0f0f0f;
}
CPU_INLINE veci quant_high(veci w) {
    return (w >> 4) & 0x0f0f0f0f;
}
CPU_INLINE vec quant_float(veci a) {
    return __builtin_convertvector(a, vec);
}
CPU_INLINE veci quant_larger(veci bits, vec x) {
    veci a = (veci)vec_abs(x), larger = a > bits;
    return (larger & a) | (~larger & bits);
}
CPU_INLINE int32_t quant_most(veci bits) {
    int32_t most = 0;
    for (int i = 0; i < VEC; i++) most = bits[i] > most ? bits[i] : most;
    return most;
}
CPU_INLINE void quant_narrow(int8_t *to, vec a) {
    for (int i = 0; i < VEC; i++) to[i] = (int8_t)a[i];
}
CPU_INLINE int32_t quant_start(enum weight_type type, int32_t start) {
    (void)type;
    return start;
}
/* Lanes hold bytes in the order of memory; a big-endian port would turn both. */
CPU_INLINE veci quant_dot(enum weight_type type, veci sum, veci w, veci a) {
    (void)type;
    CPU_UNROLL for (int i = 0; i < 4; i++) sum +=
        (veci)((vecu)w >> 8 * i & 255) * ((veci)((vecu)a << (24 - 8 * i)) >> 24);
    return sum;
}
#endif

/* ---- the tile ------------------------------------------------------------------------------------------------------ */

/* AHEAD: bytes between a read from memory and its fetch. All fetches go into L2: into L1, too many requests would wait for
 * memory there. */
enum { QUANT_VECTORS = QUANT_WIDTH / VEC, QUANT_AHEAD = 2048 };

CPU_INLINE int32_t quant_word(const unsigned char *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}
/* The scale e of row r of a tile's group. */
CPU_INLINE float quant_scale(const unsigned char *inputs, int r) {
    float e;
    memcpy(&e, inputs + r * 4, sizeof e);
    return e;
}

/* sum[r][v] += w[v] · inputs 4j … 4j+3 of row r. */
CPU_INLINE void quant_step(const enum weight_type type, const int R, const int V, veci sum[][QUANT_VECTORS],
                           const veci *w, const unsigned char *a, const int j) {
    CPU_UNROLL for (int r = 0; r < R; r++) {
        const veci four = quant_set1(quant_word(a + (j * R + r) * 4));
        CPU_UNROLL for (int v = 0; v < V; v++) sum[r][v] = quant_dot(type, sum[r][v], w[v], four);
    }
}

/* sum[r][v] = Σ q a over one group; `lines` are at the pass's first output. */
CPU_INLINE void quant_group(const enum weight_type type, const bool stream, const int R, const int V,
                            veci sum[][QUANT_VECTORS], const unsigned char *lines, const unsigned char *inputs) {
    const unsigned char *a = inputs + R * 8;
    const int count = type == WEIGHT_Q8 ? 8 : 4;
    veci w[QUANT_VECTORS], high[QUANT_VECTORS];
    CPU_UNROLL for (int r = 0; r < R; r++) CPU_UNROLL for (int v = 0; v < V; v++) sum[r][v] =
        quant_set1(quant_start(type, quant_word(inputs + (R + r) * 4)));
    CPU_UNROLL for (int j = 0; j < count; j++) {
        if (stream) {
            __builtin_prefetch(lines + j * QUANT_LINE + QUANT_AHEAD, 0, 2);
            __builtin_prefetch(lines + j * QUANT_LINE + QUANT_AHEAD + 64, 0, 2);
        }
        CPU_UNROLL for (int v = 0; v < V; v++) w[v] = quant_load(lines + j * QUANT_LINE + v * VEC * 4);
        if (type == WEIGHT_Q8) {
            quant_step(type, R, V, sum, w, a, j);
            continue;
        }
        CPU_UNROLL for (int v = 0; v < V; v++) high[v] = quant_high(w[v]), w[v] = quant_low(w[v]);
        quant_step(type, R, V, sum, w, a, 2 * j);
        quant_step(type, R, V, sum, high, a, 2 * j + 1);
    }
}

/* V vectors of outputs from vector `first` on, in one pass over the groups. Either streams, fetching ahead of itself, or
 * fetches `share` bytes from `next` on at each group. */
CPU_INLINE void quant_pass(const enum weight_type type, const bool stream, const int R, const int V, const int first,
                           float *c, const unsigned char *inputs, const unsigned char *blocks, int64_t groups,
                           const unsigned char *next, ptrdiff_t share) {
    const ptrdiff_t block = type == WEIGHT_Q8 ? QUANT_BLOCK_Q8 : QUANT_BLOCK_Q4;
    vec acc[QUANT_ROWS][QUANT_VECTORS];
    CPU_UNROLL for (int r = 0; r < R; r++) CPU_UNROLL for (int v = 0; v < V; v++) acc[r][v] = vec_zero();
    for (int64_t g = 0; g < groups; g++, inputs += R * QUANT_INPUT, blocks += block) {
        veci sum[QUANT_ROWS][QUANT_VECTORS];
        vec d[QUANT_VECTORS];
        if (!stream) {
            for (const unsigned char *end = next + share; next < end; next += 64) __builtin_prefetch(next, 0, 2);
        }
        quant_group(type, stream, R, V, sum, blocks + QUANT_SCALES + first * VEC * 4, inputs);
        CPU_UNROLL for (int v = 0; v < V; v++) d[v] =
            vec_load_f16((const uint16_t *)(const void *)blocks + (first + v) * VEC);
        CPU_UNROLL for (int r = 0; r < R; r++) CPU_UNROLL for (int v = 0; v < V; v++) acc[r][v] =
            vec_add(acc[r][v], vec_mul(quant_float(sum[r][v]), vec_mul(d[v], vec_set1(quant_scale(inputs, r)))));
    }
    CPU_UNROLL for (int r = 0; r < R; r++) CPU_UNROLL for (int v = 0; v < V; v++)
        vec_store(c + r * QUANT_WIDTH + (first + v) * VEC, acc[r][v]);
}

#define QUANT_TILE_DEFINE(type, R)                                                                                     \
    static void quant_tile_##type##_##R(float *c, const unsigned char *inputs, const unsigned char *blocks,            \
                                        int64_t groups, const unsigned char *next, ptrdiff_t share) {                  \
        for (int first = 0; first < QUANT_VECTORS; first += QUANT_VECS(R))                                             \
            if (next)                                                                                                  \
                quant_pass(WEIGHT_##type, false, R, QUANT_VECS(R), first, c, inputs, blocks, groups, next, share);     \
            else                                                                                                       \
                quant_pass(WEIGHT_##type, true, R, QUANT_VECS(R), first, c, inputs, blocks, groups, NULL, 0);          \
    }

/* X(type, R) for every tile height of this instruction set. */
#if defined(CPU_AVX512)
#define QUANT_MAP(X, type) X(type, 1) X(type, 2) X(type, 3) X(type, 4) X(type, 5) X(type, 6)
#elif defined(CPU_AVX2)
#define QUANT_MAP(X, type) X(type, 1) X(type, 2) X(type, 3) X(type, 4)
#else
#define QUANT_MAP(X, type) X(type, 1) X(type, 2)
#endif
QUANT_MAP(QUANT_TILE_DEFINE, Q8)
QUANT_MAP(QUANT_TILE_DEFINE, Q4)
#define QUANT_TILE_ENTRY(type, R) [R] = quant_tile_##type##_##R,

/* ---- inputs -------------------------------------------------------------------------------------------------------- */

/* The largest |x| of a group; NaN where any x is not finite. */
CPU_INLINE float quant_largest(const float x[QUANT_GROUP]) {
    veci bits = quant_set1(0);
    CPU_UNROLL for (int i = 0; i < QUANT_GROUP; i += VEC) bits = quant_larger(bits, vec_load(x + i));
    const int32_t most = quant_most(bits);
    return most < 0x7f800000 ? bits_float((uint32_t)most) : NAN;
}

/* to [8][rows][4] at this row = x · inverse, rounded; returns their sum. */
CPU_INLINE int32_t quant_round(unsigned char *to, int32_t rows, const float x[QUANT_GROUP], float inverse) {
    int8_t a[QUANT_GROUP];
    vec sum = vec_zero(); /* integers below 2^24: exact */
    CPU_UNROLL for (int i = 0; i < QUANT_GROUP; i += VEC) {
        vec rounded = vec_round(vec_mul(vec_load(x + i), vec_set1(inverse)));
        quant_narrow(a + i, rounded);
        sum = vec_add(sum, rounded);
    }
    for (int j = 0; j < 8; j++) memcpy(to + (ptrdiff_t)j * rows * 4, a + 4 * j, 4);
    return (int32_t)vec_sum(sum);
}

static void quant_quantise(unsigned char *tile, int32_t rows, int32_t row, const float *in, int64_t K, int32_t zero) {
    for (int64_t k = 0; k < K; k += QUANT_GROUP, tile += (ptrdiff_t)rows * QUANT_INPUT) {
        float part[QUANT_GROUP] = {0};
        const float *x = in + k;
        if (K - k < QUANT_GROUP) x = memcpy(part, x, (size_t)(K - k) * sizeof *x);
        float largest = quant_largest(x), e = largest / 127.0f;
        /* NaN is neither: then the integers are zero, and the scale stays NaN. */
        float inverse = largest >= 0x1p-100f ? 127.0f / largest : 0.0f;
        if (largest < 0x1p-100f) e = 0.0f;
        if (inverse == 0.0f) x = memset(part, 0, sizeof part);
        int32_t start = -zero * quant_round(tile + (ptrdiff_t)(2 * rows + row) * 4, rows, x, inverse);
        memcpy(tile + (ptrdiff_t)row * 4, &e, sizeof e);
        memcpy(tile + (ptrdiff_t)(rows + row) * 4, &start, sizeof start);
    }
}

/* ---- packing ------------------------------------------------------------------------------------------------------- */

/* columns [count][16] = inputs from k on of 16 lanes; count a multiple of 4, at most 64, zeros beyond K's `present`. */
CPU_INLINE void quant_gather(float columns[][PANEL], const struct cpu_lane *lanes, int64_t k, int64_t present,
                             int64_t count) {
    if (pack_contiguous(lanes)) {
        pack_columns(columns, lanes, k, present);
        for (int64_t i = present; i < count; i++) memset(columns[i], 0, sizeof columns[i]);
        return;
    }
    float rows[PANEL][PACK_K];
    pack_gather(rows, lanes, k, present);
    for (int64_t i = 0; i < count; i += 4)
        for (int lane = 0; lane < PANEL; lane += 4) transpose_4x4(&columns[i][lane], PANEL, &rows[lane][i], PACK_K);
}

/* What is known of VEC groups before their scale: the value of largest size, and NaN where one is not finite. */
struct quant_extent {
    vec extreme, spoiled;
};
CPU_INLINE struct quant_extent quant_extent_of(const float *x) {
    struct quant_extent e = {vec_zero(), vec_zero()};
    for (int i = 0; i < QUANT_GROUP; i++) {
        vec v = vec_load(x + i * PANEL);
        e.extreme = vec_select(vec_less(vec_abs(e.extreme), vec_abs(v)), v, e.extreme);
        e.spoiled = vec_add(e.spoiled, vec_mul(v, vec_zero()));
    }
    return e;
}

CPU_INLINE vec quant_integer(vec x, vec inverse, float low, float high) {
    return vec_round(vec_min(vec_max(vec_mul(x, inverse), vec_set1(low)), vec_set1(high)));
}

/* Of the roundings with `extreme` at -9 … -6, the one whose least-squares scale leaves the least: that scale. With
 * s = Σ x q and t = Σ q², the scale is s / t and leaves Σ x² - s² / t. */
CPU_INLINE vec quant_search(const float *x, vec extreme) {
    enum { CANDIDATES = 8 };
    const vec one = vec_set1(1.0f);
    const vmask present = vec_less(vec_set1(0x1p-100f), vec_abs(extreme));
    const vec over = vec_div(one, vec_select(present, extreme, one));
    vec best = vec_zero(), scale = vec_zero();
    for (int candidate = 0; candidate < CANDIDATES; candidate++) {
        vec inverse = vec_mul(over, vec_set1(-9.0f + 3.0f * (float)candidate / (CANDIDATES - 1)));
        vec s = vec_zero(), t = vec_zero();
        for (int i = 0; i < QUANT_GROUP; i++) {
            vec v = vec_load(x + i * PANEL), q = quant_integer(v, inverse, -8, 7);
            s = vec_add(s, vec_mul(v, q));
            t = vec_add(t, vec_mul(q, q));
        }
        vec least = vec_div(s, t), gain = vec_mul(s, least);
        vmask better = vec_less(best, gain);
        best = vec_select(better, gain, best);
        scale = vec_select(better, least, scale);
    }
    return vec_select(present, scale, vec_zero());
}

/* VEC words of four bytes, which are integers below 256 in rows 0, 1, 2 and 3. */
CPU_INLINE veci quant_words(float bytes[][PANEL], int v) {
    veci word = quant_integers(vec_load(&bytes[0][v]));
    CPU_UNROLL for (int i = 1; i < 4; i++) word =
        quant_join(word, quant_integers(vec_load(&bytes[i][v])), 8 * (unsigned)i);
    return word;
}

/* `bytes` [32][16] of half a block's outputs to its lines. */
CPU_INLINE void quant_write(unsigned char *lines, enum weight_type type, float bytes[][PANEL]) {
    for (int v = 0; v < PANEL; v += VEC) {
        unsigned char *to = lines + v * 4;
        if (type == WEIGHT_Q8)
            for (int j = 0; j < 8; j++, to += QUANT_LINE) quant_store(to, quant_words(&bytes[4 * j], v));
        else
            for (int j = 0; j < 4; j++, to += QUANT_LINE)
                quant_store(to, quant_join(quant_words(&bytes[8 * j], v), quant_words(&bytes[8 * j + 4], v), 4));
    }
}

/* One group of 16 lanes, x [32][16], into half a block. */
CPU_INLINE bool quant_pack_half(unsigned char *block, int half, enum weight_type type, const float *x) {
    const float low = type == WEIGHT_Q8 ? -127 : -8, high = type == WEIGHT_Q8 ? 127 : 7;
    const vec zero = vec_set1((float)cpu_quant_zero(type));
    float bytes[QUANT_GROUP][PANEL], spoiled[PANEL];
    uint16_t scales[PANEL];
    for (int v = 0; v < PANEL; v += VEC) {
        struct quant_extent e = quant_extent_of(x + v);
        vec d = type == WEIGHT_Q8 ? vec_div(vec_abs(e.extreme), vec_set1(127)) : quant_search(x + v, e.extreme);
        vec_store_f16(scales + v, d);
        d = vec_load_f16(scales + v);
        vmask present = vec_less(vec_zero(), vec_abs(d));
        vec inverse = vec_div(vec_set1(1), vec_select(present, d, vec_set1(1)));
        inverse = vec_select(present, inverse, vec_zero());
        vec_store(spoiled + v, vec_add(e.spoiled, vec_mul(d, vec_zero())));
        for (int i = 0; i < QUANT_GROUP; i++)
            vec_store(&bytes[i][v], vec_add(quant_integer(vec_load(x + v + i * PANEL), inverse, low, high), zero));
    }
    bool good = true;
    for (int lane = 0; lane < PANEL; lane++) good &= spoiled[lane] == 0;
    if (!good) return false;
    memcpy(block + half * PANEL * 2, scales, sizeof scales);
    quant_write(block + QUANT_SCALES + half * PANEL * 4, type, bytes);
    return true;
}

static bool quant_pack(unsigned char *blocks, enum weight_type type, const struct cpu_lane lanes[QUANT_WIDTH],
                       int64_t k, int64_t count) {
    float columns[PACK_K][PANEL];
    const int64_t padded = (int64_t)round_up((size_t)count, QUANT_GROUP);
    bool good = true;
    blocks += (size_t)(k / QUANT_GROUP) * cpu_quant_block(type);
    for (int half = 0; half < QUANT_WIDTH / PANEL; half++) {
        quant_gather(columns, lanes + half * PANEL, k, count, padded);
        for (int64_t g = 0; g < padded / QUANT_GROUP; g++)
            good &= quant_pack_half(blocks + (size_t)g * cpu_quant_block(type), half, type, columns[g * QUANT_GROUP]);
    }
    return good;
}

/* ---- the ceiling --------------------------------------------------------------------------------------------------- */

enum { QUANT_CHAINS = 12, QUANT_OPERATIONS = QUANT_CHAINS * VEC * 4 * 2 };

/* The bytes are loaded again for every product, as a tile does, so that nothing of it is done once for all. */
static double quant_multiply_add(int64_t rounds) {
    unsigned char bytes[VEC * 4];
    veci sum[QUANT_CHAINS];
    memset(bytes, 1, sizeof bytes);
    CPU_UNROLL for (int c = 0; c < QUANT_CHAINS; c++) sum[c] = quant_set1(c);
    const veci a = quant_set1(0x01ff01ff);
    for (int64_t i = 0; i < rounds; i++) CPU_UNROLL for (int c = 0; c < QUANT_CHAINS; c++) {
            __asm__ volatile("" : : "r"(bytes) : "memory");
            sum[c] = quant_dot(WEIGHT_Q8, sum[c], quant_load(bytes), a);
        }
    double total = 0;
    CPU_UNROLL for (int c = 0; c < QUANT_CHAINS; c++) total += (double)vec_sum(quant_float(sum[c]));
    return total;
}

/* ---- the table ----------------------------------------------------------------------------------------------------- */

const struct cpu_quant_kernels QUANT_TABLE = {
    .name = QUANT_NAME,
    .multiply_add = {quant_multiply_add, QUANT_OPERATIONS},
    .tile_rows = QUANT_ROWS,
    .tile = {{QUANT_MAP(QUANT_TILE_ENTRY, Q8)}, {QUANT_MAP(QUANT_TILE_ENTRY, Q4)}},
    .quantise = quant_quantise,
    .pack = quant_pack,
};

#endif
