/* cpu_quant.h: quantised linear layers of the cpu backend.
 *
 * Format. A weight w[n, k] is d · q: an integer q, and a scale d for every row's group of 32 inputs, stored as fp16.
 *   Q8  q = round(w · (1 / d)) in -127 … 127, d = max|w| / 127                                  8.5 bits a weight
 *   Q4  q = round(w · (1 / d)) in -8 … 7; d is the least-squares scale of the best of eight
 *       roundings, with w of largest |w| at 6 … 9 steps                                     4.5 bits a weight
 * Roots of the mean squared error over that of the weights, normal weights: Q8 0.53%, 0.48% with the best of 17 scales;
 * Q4 8.0%, 8.4% with that weight at 8 steps, 7.95% with the best of 41, 7.4% with a minimum for every group, at 5 bits.
 * Inputs beyond K count as zeros. Weights whose scale fp16 cannot hold (values that are not finite, or beyond 8·10⁶ in
 * Q8, 4·10⁵ in Q4) are refused.
 *
 * Blocks of GGUF's Q8_0 and Q4_0 are weights of this format already: their scales and integers are kept as they are.
 *
 * Inputs of a layer are quantised row by row in the same groups of 32: a = round(x · (127 / max|x|)), e = max|x| / 127
 * in fp32. A group whose largest |x| is below 2^-100 counts as zeros; one that holds NaN or an infinity makes the outputs
 * of its row NaN.
 *
 * out = Σ over groups, ascending, of float(Σ q a) · (d · e): the inner sum is an integer and exact, float() of it too, and
 * every product and sum of the outer one is rounded to fp32 on its own. So packed weights, quantised inputs and sums have
 * the same bits in every instruction set, for any number of rows and threads.
 *
 * Layout. Blocks of 32 outputs × 32 inputs, all blocks of 32 outputs in a row by ascending k:
 *   scale [32] fp16, then lines of 32 outputs × 4 bytes.
 *   Q8  line j (of 8): q + 128 of inputs 4j … 4j+3
 *   Q4  line j (of 4): q + 8 of inputs 8j … 8j+3 in the low halves of the bytes, of 8j+4 … 8j+7 in the high ones
 * Bytes are unsigned since vpdpbusd multiplies unsigned by signed ones; a sum then starts at -128 Σ a (-8 Σ a).
 * A tile of R rows of inputs: for every group e [R] fp32, that start [R] int32, then a [8][R][4]. */
#ifndef BACKEND_CPU_CPU_QUANT_H
#define BACKEND_CPU_CPU_QUANT_H

#include "backend/cpu/cpu.h"

enum {
    QUANT_GROUP = 32, /* inputs with one scale */
    QUANT_WIDTH = 32, /* outputs of a block */
    QUANT_ROWS_MAX = 6,
    QUANT_SCALES = QUANT_WIDTH * 2,                /* bytes of a block's scales */
    QUANT_LINE = QUANT_WIDTH * 4,                  /* bytes */
    QUANT_INPUT = 2 * sizeof(float) + QUANT_GROUP, /* bytes of one row's group of inputs */
    QUANT_BLOCK_Q8 = QUANT_SCALES + QUANT_LINE * 8,
    QUANT_BLOCK_Q4 = QUANT_SCALES + QUANT_LINE * 4,
};

static inline bool cpu_is_quantised(enum weight_type type) {
    return type == WEIGHT_Q8 || type == WEIGHT_Q4;
}
static inline size_t cpu_quant_block(enum weight_type type) {
    return type == WEIGHT_Q8 ? QUANT_BLOCK_Q8 : QUANT_BLOCK_Q4;
}
static inline size_t cpu_quant_groups(int32_t K) {
    return ceil_div((size_t)K, QUANT_GROUP);
}
static inline int32_t cpu_quant_zero(enum weight_type type) {
    return type == WEIGHT_Q8 ? 128 : 8;
}

/* c [R, 32] = the sums of one tile with the blocks of 32 outputs, which follow each other. With `next` NULL they come from
 * memory, and are fetched ahead; else they are in cache, and at each group `share` (a multiple of 64) further bytes from
 * `next` on are fetched. */
typedef void cpu_quant_tile(float *c, const unsigned char *inputs, const unsigned char *blocks, int64_t groups,
                            const unsigned char *next, ptrdiff_t share);

struct cpu_quant_kernels {
    const char *name;
    struct cpu_multiply_add multiply_add;        /* of bytes */
    int32_t tile_rows;                           /* most rows of a tile */
    cpu_quant_tile *tile[2][QUANT_ROWS_MAX + 1]; /* Q8, Q4; by rows, [0] unused */
    /* Quantises in [K] as row `row` of a tile of `rows`. */
    void (*quantise)(unsigned char *tile, int32_t rows, int32_t row, const float *in, int64_t K, int32_t zero);
    /* Packs inputs k … k + count - 1 (k a multiple of 32, count at most 64) of 32 outputs into `blocks`, the first of the
     * 32 outputs'. False: fp16 cannot hold a scale. */
    bool (*pack)(unsigned char *blocks, enum weight_type type, const struct cpu_lane lanes[QUANT_WIDTH], int64_t k,
                 int64_t count);
};

extern const struct cpu_quant_kernels cpu_quant_portable;
#if defined(__x86_64__)
extern const struct cpu_quant_kernels cpu_quant_avx2, cpu_quant_avx512, cpu_quant_vnni;
#endif

/* cpu_instructions.c: the best of those that an instruction set's processors may have: "avx512" with VNNI or without. */
const struct cpu_quant_kernels *cpu_quant_find(const struct cpu_kernels *kernels);

/* cpu_quant.c. Bytes of the packed matrix; of a row of quantised inputs. */
size_t cpu_quant_bytes(enum weight_type type, int32_t N, int32_t K);
size_t cpu_quant_input_bytes(size_t K);
/* As pack, from lanes of blocks (backend.h), which lose nothing. False: a scale that is not finite, or a q of -128,
 * which AVX2 cannot multiply with a negative input. */
bool cpu_quant_take(unsigned char *blocks, enum weight_type type, const struct cpu_lane lanes[QUANT_WIDTH], int64_t k,
                    int64_t count);
/* As cpu_multiply (checked already), and one element range of an embedding: to [count] = inputs k … of row n. */
void cpu_quant_multiply(struct cpu_backend *b, float *out, int64_t out_stride, const float *in, int32_t T,
                        const struct linear_weight *weight, const struct cpu_epilogue *e);
void cpu_quant_read(float *to, const struct linear_weight *w, int32_t n, int64_t k, int64_t count);

#endif
