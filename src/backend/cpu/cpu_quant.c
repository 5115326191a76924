/* cpu_quant.c: quantised linear layers: packing, and out = epilogue(in · weightᵀ), split over blocks of 32 outputs. */
#include "backend/cpu/cpu_quant.h"

#include <string.h>

#include "base/num.h"

size_t cpu_quant_bytes(enum weight_type type, int32_t N, int32_t K) {
    return ceil_div((size_t)N, QUANT_WIDTH) * cpu_quant_groups(K) * cpu_quant_block(type);
}

size_t cpu_quant_input_bytes(size_t K) {
    return ceil_div(K, QUANT_GROUP) * QUANT_INPUT;
}

/* ---- blocks of files ----------------------------------------------------------------------------------------------- */

static uint32_t four_bytes(const unsigned char *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static void put_four(unsigned char *lines, int line, size_t lane, uint32_t word) {
    memcpy(lines + line * QUANT_LINE + lane * 4, &word, sizeof word);
}

/* The 32 int8 of one lane; false where one is -128. */
static bool take_q8(unsigned char *lines, size_t lane, const unsigned char *q) {
    uint32_t lowest = 0;
    for (int j = 0; j < 8; j++) {
        const uint32_t word = four_bytes(q + 4 * j) ^ 0x80808080u; /* q + 128 in each byte */
        lowest |= (word - 0x01010101u) & ~word & 0x80808080u;      /* not 0 where a byte is 0 */
        put_four(lines, j, lane, word);
    }
    return lowest == 0;
}

/* Of one lane, lines 0 and 1 from the low halves of the 16 bytes, 2 and 3 from the high ones. */
static void take_q4(unsigned char *lines, size_t lane, const unsigned char *q) {
    for (int j = 0; j < 4; j++) {
        const unsigned char *from = q + 8 * (j % 2);
        const int shift = j < 2 ? 0 : 4;
        const uint32_t first = four_bytes(from) >> shift & 0x0f0f0f0fu;
        const uint32_t second = four_bytes(from + 4) >> shift & 0x0f0f0f0fu;
        put_four(lines, j, lane, first | second << 4);
    }
}

/* One block of a lane. */
static bool take_block(unsigned char *block, enum weight_type type, size_t lane, const unsigned char *from) {
    memcpy(block + lane * 2, from, 2);
    const bool finite = (from[1] & 0x7c) != 0x7c;
    if (type == WEIGHT_Q8) return take_q8(block + QUANT_SCALES, lane, from + 2) && finite;
    take_q4(block + QUANT_SCALES, lane, from + 2);
    return finite;
}

bool cpu_quant_take(unsigned char *blocks, enum weight_type type, const struct cpu_lane lanes[QUANT_WIDTH], int64_t k,
                    int64_t count) {
    unsigned char zeros[SOURCE_BLOCK_Q8] = {0}; /* of a lane beyond the matrix: scale 0, and integers of 0 */
    if (type == WEIGHT_Q4) memset(zeros + 2, 0x88, SOURCE_BLOCK_Q4 - 2);
    const size_t bytes = weight_row_bytes(type, SOURCE_BLOCK);
    bool good = true;
    for (size_t g = (size_t)k / QUANT_GROUP; g < (size_t)(k + count) / QUANT_GROUP; g++)
        for (size_t lane = 0; lane < QUANT_WIDTH; lane++)
            good &= take_block(blocks + g * cpu_quant_block(type), type, lane,
                               lanes[lane].data ? lanes[lane].data + g * bytes : zeros);
    return good;
}

void cpu_quant_read(float *to, const struct linear_weight *w, int32_t n, int64_t k, int64_t count) {
    const unsigned char *column =
        (const unsigned char *)w->data + (size_t)(n / QUANT_WIDTH) * cpu_quant_groups(w->K) * cpu_quant_block(w->type);
    const size_t lane = (size_t)(n % QUANT_WIDTH);
    const int zero = cpu_quant_zero(w->type);
    for (int64_t i = k; i < k + count; i++) {
        const unsigned char *block = column + (size_t)(i / QUANT_GROUP) * cpu_quant_block(w->type);
        const size_t at = (size_t)(i % QUANT_GROUP), line = w->type == WEIGHT_Q8 ? at / 4 : at / 8;
        uint16_t scale;
        memcpy(&scale, block + lane * 2, sizeof scale);
        int q = block[QUANT_SCALES + line * QUANT_LINE + lane * 4 + at % 4];
        if (w->type == WEIGHT_Q4) q = at % 8 < 4 ? q & 15 : q >> 4;
        to[i - k] = f16_to_float(scale) * (float)(q - zero);
    }
}

/* ---- multiplying --------------------------------------------------------------------------------------------------- */

struct quant_job {
    struct cpu_backend *b;
    float *out; /* [T, out_stride] */
    int64_t out_stride;
    const float *in; /* [T, K] */
    int32_t T;
    const struct linear_weight *weight;
    const struct cpu_epilogue *e;
    int32_t tiles, columns;
    size_t input_bytes; /* of a row */
};

/* The first row of a tile: T rows in `tiles` tiles whose heights differ by one at most. */
static int32_t tile_row(const struct quant_job *job, int32_t tile) {
    return (int32_t)cpu_part_start(job->T, tile, job->tiles);
}

static unsigned char *tile_inputs(const struct quant_job *job, int32_t tile) {
    return (unsigned char *)job->b->packed + (size_t)tile_row(job, tile) * job->input_bytes;
}

static void quantise_part(void *arg, int part, int parts) {
    const struct quant_job *job = arg;
    const int64_t K = job->weight->K;
    const int32_t end = (int32_t)cpu_part_start(job->tiles, part + 1, parts);
    for (int32_t tile = (int32_t)cpu_part_start(job->tiles, part, parts); tile < end; tile++) {
        int32_t first = tile_row(job, tile), rows = tile_row(job, tile + 1) - first;
        for (int32_t r = 0; r < rows; r++)
            job->b->quant->quantise(tile_inputs(job, tile), rows, r, job->in + (first + r) * K, K,
                                    cpu_quant_zero(job->weight->type));
    }
}

/* Blocks of 32 outputs are read once from memory: by the only tile, which fetches ahead of itself, or by the tiles of the
 * column that the same thread probably had before, each of which fetches its share. */
static void columns_part(void *arg, int part, int parts) {
    const struct quant_job *job = arg;
    const struct linear_weight *w = job->weight;
    const int64_t groups = (int64_t)cpu_quant_groups(w->K), turn = job->b->threads;
    const size_t block = cpu_quant_block(w->type), bytes = (size_t)groups * block;
    float c[QUANT_ROWS_MAX * QUANT_WIDTH];
    const int64_t end = cpu_part_start(job->columns, part + 1, parts);
    for (int64_t column = cpu_part_start(job->columns, part, parts); column < end; column++) {
        const unsigned char *blocks = (const unsigned char *)w->data + (size_t)column * bytes;
        const int64_t first = column * QUANT_WIDTH, n = w->N - first < QUANT_WIDTH ? w->N - first : QUANT_WIDTH;
        const size_t share = column + turn < job->columns ? round_up(ceil_div(block, (size_t)job->tiles), 64) : 0;
        for (int32_t tile = 0; tile < job->tiles; tile++) {
            int32_t row = tile_row(job, tile), rows = tile_row(job, tile + 1) - row;
            const bool stream = job->tiles == 1 || (column < turn && tile == 0);
            const unsigned char *next = blocks + (size_t)turn * bytes + (size_t)(tile * groups) * share;
            job->b->quant->tile[w->type - WEIGHT_Q8][rows](c, tile_inputs(job, tile), blocks, groups,
                                                           stream ? NULL : next, (ptrdiff_t)share);
            for (int32_t r = 0; r < rows; r++)
                job->b->kernels->finish(job->out + (row + r) * job->out_stride + first, c + r * QUANT_WIDTH, first, n,
                                        job->e);
        }
    }
}

void cpu_quant_multiply(struct cpu_backend *b, float *out, int64_t out_stride, const float *in, int32_t T,
                        const struct linear_weight *weight, const struct cpu_epilogue *e) {
    struct quant_job job = {.b = b,
                            .out = out,
                            .out_stride = out_stride,
                            .in = in,
                            .T = T,
                            .weight = weight,
                            .e = e,
                            .tiles = (int32_t)ceil_div((size_t)T, (size_t)b->quant->tile_rows),
                            .columns = (int32_t)ceil_div((size_t)weight->N, QUANT_WIDTH),
                            .input_bytes = cpu_quant_input_bytes((size_t)weight->K)};
    pool_run(b->pool, quantise_part, &job, cpu_parts(b, job.tiles, (int64_t)b->quant->tile_rows * weight->K));
    /* A few rows are a matter of bytes, as in cpu_linear.c; many, of multiply-adds: then every block is a part. */
    int64_t cost = (int64_t)cpu_quant_groups(weight->K) * (int64_t)cpu_quant_block(weight->type) / 4;
    int parts = cpu_parts(b, job.columns, cost * job.tiles);
    pool_run(b->pool, columns_part, &job, job.tiles > 1 && parts > 1 ? job.columns : parts);
}
