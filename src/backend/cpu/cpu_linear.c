/* cpu_linear.c: out = epilogue(in · weightᵀ), split over outputs and token blocks.
 *
 * Up to one tile of rows (decode) the panels are read once from memory while all accumulators stay in registers. More
 * rows are computed in blocks of LINEAR_ROWS tokens × LINEAR_QUADS quads, LINEAR_K inputs at a time: the sums rest in
 * scratch memory between K blocks, which is exact, and 16-bit panels are widened once per block. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_plan.h"
#include "backend/cpu/cpu_quant.h"
#include "backend/cpu/cpu_transpose.h"
#include "base/num.h"

struct multiply_job {
    struct cpu_backend *b;
    float *out; /* [T, out_stride] */
    int64_t out_stride;
    const float *in;     /* [T, K] */
    const float *packed; /* tiles of rows, each [width][rows of the tile] */
    bool pairs;          /* of inputs are one word of a row: kernels->pack_pairs */
    int64_t width;       /* words of a row: K, or pairs */
    int32_t T;
    const struct linear_weight *weight;
    const struct cpu_epilogue *e;
    int32_t tiles, quads;
    int32_t blocks, groups; /* token blocks, quad groups */
};

/* The first row of a tile: T rows in `tiles` tiles whose heights differ by one at most. */
static int32_t tile_row(const struct multiply_job *job, int32_t tile) {
    return (int32_t)cpu_part_start(job->T, tile, job->tiles);
}

static void pack_rows_part(void *arg, int part, int parts) {
    const struct multiply_job *job = arg;
    const int64_t K = job->weight->K;
    int64_t end = cpu_part_start(job->tiles, part + 1, parts);
    for (int64_t tile = cpu_part_start(job->tiles, part, parts); tile < end; tile++) {
        int32_t row = tile_row(job, (int32_t)tile), R = tile_row(job, (int32_t)tile + 1) - row;
        float *to = job->b->packed + row * job->width;
        if (job->pairs)
            job->b->kernels->pack_pairs(to, job->in + row * K, R, K);
        else
            transpose_tile(to, job->in + row * K, K, R, K);
    }
}

/* The four panels of a quad from input k on; a place beyond the last panel repeats it, and its sums are dropped. */
static void quad_panels(const struct multiply_job *job, int32_t quad, int64_t k, const void *panels[QUAD]) {
    const struct linear_weight *w = job->weight;
    int32_t last = (w->N - 1) / PANEL;
    for (int32_t i = 0; i < QUAD; i++) {
        int32_t panel = quad * QUAD + i < last ? quad * QUAD + i : last;
        panels[i] = (const unsigned char *)w->data + (size_t)panel * cpu_panel_bytes(w->type, w->K) +
                    (size_t)k * PANEL * weight_type_size(w->type);
    }
}

/* Sums c [rows, 64] of a quad to the output rows. */
static void finish_rows(const struct multiply_job *job, const float *c, int32_t quad, int32_t row, int32_t rows) {
    int64_t first = (int64_t)quad * QUAD_WIDTH, n = job->weight->N - first;
    if (n > QUAD_WIDTH) n = QUAD_WIDTH;
    for (int32_t r = 0; r < rows; r++)
        job->b->kernels->finish(job->out + (row + r) * job->out_stride + first, c + (int64_t)r * QUAD_WIDTH, first, n,
                                job->e);
}

/* All T rows are one tile. */
static void stream_part(void *arg, int part, int parts) {
    const struct multiply_job *job = arg;
    const struct linear_weight *w = job->weight;
    float c[TILE_ROWS_MAX * QUAD_WIDTH];
    int32_t end = (int32_t)cpu_part_start(job->quads, part + 1, parts);
    for (int32_t quad = (int32_t)cpu_part_start(job->quads, part, parts); quad < end; quad++) {
        const void *panels[QUAD];
        quad_panels(job, quad, 0, panels);
        job->b->kernels->stream[w->type][job->T](c, job->packed, panels, w->K);
        finish_rows(job, c, quad, 0, job->T);
    }
}

/* Where a part stands in its sequence of blocks: pairs of quads; in them K blocks; in these the quads of the pair. */
struct cursor {
    int32_t quad, end; /* the first quad of the pair; the part's end */
    int32_t i;         /* quad + i is the current one */
    int64_t k;
};

static bool cursor_advance(struct cursor *at, int64_t K) {
    int32_t count = at->end - at->quad < LINEAR_QUADS ? at->end - at->quad : LINEAR_QUADS;
    if (++at->i < count) return true;
    at->i = 0;
    if ((at->k += LINEAR_K) < K) return true;
    at->k = 0;
    at->quad += count;
    return at->quad < at->end;
}

/* Above how many tiles a block's 16-bit panels are widened once for all: BF16 costs little to widen on the way. */
static int32_t most_direct_tiles(const struct multiply_job *job) {
    const enum weight_type type = job->weight->type;
    return type == WEIGHT_F32 || job->pairs ? INT32_MAX : type == WEIGHT_BF16 ? 8 : 2;
}

/* The tiles [tile, tile_end) of one block. c [rows, 64] starts at the first tile's row; `wide` [4][K][16] is room for
 * widened panels. Each tile fetches its share of the block that comes next. */
static void multiply_block(const struct multiply_job *job, float *c, float *wide, struct cursor at, int32_t tile,
                           int32_t tile_end) {
    const struct cpu_kernels *kernels = job->b->kernels;
    const struct linear_weight *w = job->weight;
    const int64_t count = w->K - at.k < LINEAR_K ? w->K - at.k : LINEAR_K, word = job->pairs ? at.k / 2 : at.k;
    enum weight_type type = w->type;
    const void *panels[QUAD], *next[QUAD];
    quad_panels(job, at.quad + at.i, at.k, panels);
    if (tile_end - tile > most_direct_tiles(job)) {
        for (int i = 0; i < QUAD; i++) {
            kernels->widen(wide + i * count * PANEL, panels[i], type, count);
            panels[i] = wide + i * count * PANEL;
        }
        type = WEIGHT_F32;
    }
    struct cursor then = at;
    const bool more = cursor_advance(&then, w->K);
    quad_panels(job, more ? then.quad + then.i : at.quad + at.i, more ? then.k : at.k, next);
    const int64_t steps = type == WEIGHT_BF16 ? (count + 1) / 2 : count; /* of the kernel's loop */
    const size_t bytes = (size_t)count * PANEL * weight_type_size(w->type);
    struct cpu_fetch fetch = {.step = more ? (ptrdiff_t)ceil_div(bytes, (size_t)(steps * (tile_end - tile))) : 0};
    for (int i = 0; i < QUAD; i++) fetch.next[i] = next[i];
    for (; tile < tile_end; tile++) {
        int32_t row = tile_row(job, tile), R = tile_row(job, tile + 1) - row;
        kernels->block[type][R](c, job->packed + row * job->width + word * R, panels, count, at.k == 0, &fetch);
        c += (int64_t)R * QUAD_WIDTH;
        for (int i = 0; i < QUAD; i++) fetch.next[i] += fetch.step * steps;
    }
}

static void blocks_part(void *arg, int part, int parts) {
    const struct multiply_job *job = arg;
    (void)parts;
    int32_t block = part / job->groups, group = part % job->groups;
    int32_t tile = (int32_t)cpu_part_start(job->tiles, block, job->blocks);
    int32_t tile_end = (int32_t)cpu_part_start(job->tiles, block + 1, job->blocks);
    int32_t row = tile_row(job, tile), rows = tile_row(job, tile_end) - row;
    struct cursor at = {.quad = (int32_t)cpu_part_start(job->quads, group, job->groups),
                        .end = (int32_t)cpu_part_start(job->quads, group + 1, job->groups)};
    struct cpu_scratch *taken;
    float *c = cpu_scratch_take(job->b, &taken);
    float *wide = c + (int64_t)LINEAR_ROWS * LINEAR_QUADS * QUAD_WIDTH;
    bool more = at.quad < at.end;
    while (more) {
        float *sums = c + (int64_t)at.i * rows * QUAD_WIDTH;
        multiply_block(job, sums, wide, at, tile, tile_end);
        if (at.k + LINEAR_K >= job->weight->K) finish_rows(job, sums, at.quad + at.i, row, rows);
        more = cursor_advance(&at, job->weight->K);
    }
    cpu_scratch_give(taken);
}

/* Parts of a decode step's layer: about 128 KiB of weights each, so that two threads finish together even when one of
 * them is held up for a while. */
static int stream_parts(const struct multiply_job *job) {
    const struct linear_weight *w = job->weight;
    int64_t bytes = (int64_t)cpu_panel_bytes(w->type, w->K) * QUAD;
    return cpu_parts(job->b, job->quads, bytes / 4);
}

tempera_status cpu_multiply(struct cpu_backend *b, float *out, int64_t out_stride, const float *in, int32_t T,
                            const struct linear_weight *weight, const struct cpu_epilogue *e, tempera_error *err) {
    int32_t rows = b->limits.max_tokens > b->limits.max_logits ? b->limits.max_tokens : b->limits.max_logits;
    if (!b->workspace || T > rows || weight->K > b->max_inputs)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "linear layer: %d rows of %d inputs, prepared for %d of %d", (int)T,
                    (int)weight->K, (int)rows, (int)b->max_inputs);
    if (T == 0) return TEMPERA_OK;
    if (cpu_is_quantised(weight->type)) {
        cpu_quant_multiply(b, out, out_stride, in, T, weight, e);
        return TEMPERA_OK;
    }
    const bool pairs = weight->type == WEIGHT_BF16 && b->kernels->pack_pairs;
    const bool in_place = T == 1 && !pairs;
    struct multiply_job job = {.b = b,
                               .out = out,
                               .out_stride = out_stride,
                               .in = in,
                               .packed = in_place ? in : b->packed,
                               .pairs = pairs,
                               .width = pairs ? (weight->K + 1) / 2 : weight->K,
                               .T = T,
                               .weight = weight,
                               .e = e};
    job.tiles = (int32_t)ceil_div((size_t)T, (size_t)b->kernels->tile_rows);
    job.quads = (int32_t)ceil_div((size_t)weight->N, QUAD_WIDTH);
    if (!in_place)
        pool_run(b->pool, pack_rows_part, &job, cpu_parts(b, job.tiles, (int64_t)b->kernels->tile_rows * weight->K));
    if (job.tiles == 1) {
        pool_run(b->pool, stream_part, &job, stream_parts(&job));
        return TEMPERA_OK;
    }
    int32_t block_tiles = LINEAR_ROWS / b->kernels->tile_rows;
    job.blocks = (int32_t)ceil_div((size_t)job.tiles, (size_t)block_tiles);
    int parts = cpu_parts(b, job.quads, (int64_t)T * weight->K * 4);
    job.groups = parts < 2 * b->threads ? parts : 2 * b->threads; /* long runs: a part's first block is not fetched */
    pool_run(b->pool, blocks_part, &job, job.blocks * job.groups);
    return TEMPERA_OK;
}

/* out [T, F] = activation(gate) * up, with gate and up side by side in scratch. */
static tempera_status multiply_gated(struct cpu_backend *b, const struct linear_params *p, tempera_error *err) {
    struct cpu_epilogue e = {.bias = p->weight->bias, .scale = 1.0f};
    struct gate_params gate = {
        .out = p->out, .in = p->gate_scratch, .activation = p->activation, .T = p->T, .F = p->weight->N / 2};
    TRY(cpu_multiply(b, p->gate_scratch, p->weight->N, p->in, p->T, p->weight, &e, err));
    return cpu_gate(&b->base, &gate, err);
}

tempera_status cpu_linear(struct backend *backend, const struct linear_params *p, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    struct cpu_epilogue e = {
        .bias = p->weight->bias, .activation = p->activation, .accumulate = p->accumulate, .scale = 1.0f};
    if (p->norm) TRY(cpu_norm(backend, p->norm, err));
    if (p->gate_scratch) {
        TRY(multiply_gated(b, p, err));
    } else {
        TRY(cpu_multiply(b, p->out, p->out_stride, p->in, p->T, p->weight, &e, err));
    }
    return p->rope ? cpu_rope_store(backend, p->rope, err) : TEMPERA_OK;
}

struct gather_job {
    struct cpu_backend *b;
    const struct logits_params *p;
};

static void gather_part(void *arg, int part, int parts) {
    const struct gather_job *job = arg;
    const struct logits_params *p = job->p;
    const struct batch_view *view = job->b->view;
    int64_t end = cpu_part_start(view->R, part + 1, parts);
    for (int64_t row = cpu_part_start(view->R, part, parts); row < end; row++) {
        float *to = job->b->normed + row * p->D;
        memcpy(to, p->in + (int64_t)view->logit_token[row] * p->D, (size_t)p->D * sizeof(float));
        job->b->kernels->norm(to, to, NULL, p->norm_weight, p->norm_bias, p->norm, p->norm_eps, p->D);
    }
}

tempera_status cpu_logits(struct backend *backend, const struct logits_params *p, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    if (!b->view || b->view->R > b->limits.max_logits || p->D > b->limits.D)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "logits: outside a step, or more rows than prepared for");
    struct gather_job job = {.b = b, .p = p};
    pool_run(b->pool, gather_part, &job, cpu_parts(b, b->view->R, (int64_t)p->D * 4));
    struct cpu_epilogue e = {.bias = p->head->bias, .scale = p->scale, .softcap = p->softcap};
    return cpu_multiply(b, p->logits, p->head->N, b->normed, b->view->R, p->head, &e, err);
}
