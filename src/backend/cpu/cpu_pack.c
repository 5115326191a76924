/* cpu_pack.c: weights into panels or quantised blocks, once, when a model is loaded. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_quant.h"
#include "base/file.h"
#include "base/num.h"

size_t cpu_panel_bytes(enum weight_type type, int32_t K) {
    size_t inputs = type == WEIGHT_BF16 ? round_up((size_t)K, 2) : (size_t)K;
    return inputs * PANEL * weight_type_size(type);
}

size_t cpu_linear_bytes(const struct backend *backend, enum weight_type type, int32_t N, int32_t K) {
    (void)backend;
    if (cpu_is_quantised(type)) return cpu_quant_bytes(type, N, K);
    return ceil_div((size_t)N, PANEL) * cpu_panel_bytes(type, K);
}

struct pack_job {
    struct cpu_backend *b;
    const struct linear_weight *weight;
    const struct weight_piece *pieces;
    int32_t count;
    int64_t width;   /* outputs of a column: a panel, or a block of quantised outputs */
    int64_t columns; /* of the matrix */
    size_t bytes;    /* of a column */
    atomic_bool refused;
};

/* A part packs groups of 128 outputs, 64 inputs at a time: even, and whole groups of quantised inputs. */
enum { PACK_OUTPUTS = 128, PACK_INPUTS = 64 };

/* Bytes of a mapped file that a thread brings in at a time: enough for the call not to count. Of a larger piece than
 * PACK_KEEP it lets them go before the next: of smaller ones the loader does when all is packed, in one call that makes
 * the other threads wait once. */
enum { PACK_WINDOW = 2 << 20, PACK_KEEP = 12 << 20 };

/* ---- where outputs come from --------------------------------------------------------------------------------------- */

/* From the start of one source row to that of the next. */
static size_t lane_bytes(const struct pack_job *job, const struct weight_piece *p) {
    return weight_row_bytes(p->type, p->transposed ? 1 : (size_t)job->weight->K);
}

/* The lane of output row n, and in *left how many rows follow each other from there on in its piece, *bytes apart. */
static struct cpu_lane lane_of(const struct pack_job *job, size_t n, size_t *left, size_t *bytes) {
    for (int32_t i = 0; i < job->count; i++) {
        const struct weight_piece *p = &job->pieces[i];
        size_t rows = p->group * p->groups;
        if (n >= rows) {
            n -= rows;
            continue;
        }
        size_t row = p->first + n / p->group * p->stride + n % p->group;
        *left = p->group - n % p->group;
        *bytes = lane_bytes(job, p);
        return (struct cpu_lane){.data = (const unsigned char *)p->data + row * lane_bytes(job, p),
                                 .type = p->type,
                                 .step = p->transposed ? p->source_rows : 1};
    }
    *left = SIZE_MAX; /* beyond N: zeros */
    *bytes = 0;
    return (struct cpu_lane){0};
}

/* lanes [count] of output rows n … n + count - 1. */
static void find_lanes(struct cpu_lane *lanes, const struct pack_job *job, size_t n, size_t count) {
    for (size_t i = 0, left, bytes; i < count;) {
        struct cpu_lane lane = lane_of(job, n + i, &left, &bytes);
        for (; i < count && left > 0; i++, left--) {
            lanes[i] = lane;
            if (lane.data) lane.data += bytes;
        }
    }
}

/* ---- pages of mapped files ----------------------------------------------------------------------------------------- */

/* What a part has brought in of a mapped file last. */
struct window {
    const unsigned char *first, *end;
    bool release;
};

static struct window window_open(const struct pack_job *job) {
    const struct weight_piece *p = job->pieces;
    const size_t bytes = p->source_rows * weight_row_bytes(p->type, (size_t)job->weight->K);
    return (struct window){.release = bytes > PACK_KEEP};
}

static void window_close(struct window *w) {
    if (w->release) file_pages_release(w->first, (size_t)(w->end - w->first));
}

/* Makes bytes [from, end) present, and more after them up to `limit`; lets go what lies before `from`. */
static void window_move(struct window *w, const unsigned char *from, const unsigned char *end,
                        const unsigned char *limit) {
    if (from >= w->first && end <= w->end) return;
    window_close(w);
    size_t bytes = (size_t)(end - from);
    if (bytes < PACK_WINDOW) bytes = (size_t)(limit - from) < PACK_WINDOW ? (size_t)(limit - from) : PACK_WINDOW;
    file_pages_fetch(from, bytes);
    w->first = from;
    w->end = from + bytes;
}

/* ---- packing ------------------------------------------------------------------------------------------------------- */

static bool pack_column(const struct pack_job *job, int64_t column, const struct cpu_lane *lanes, int64_t k,
                        int64_t count) {
    const struct linear_weight *w = job->weight;
    unsigned char *to = (unsigned char *)w->data + (size_t)column * job->bytes;
    if (cpu_is_quantised(job->pieces->type)) return cpu_quant_take(to, w->type, lanes, k, count);
    if (cpu_is_quantised(w->type)) return job->b->quant->pack(to, w->type, lanes, k, count);
    job->b->kernels->pack(to, w->type, lanes, k, count);
    return true;
}

/* Inputs k … end - 1 of columns first … first + count - 1, count · width at most PACK_OUTPUTS. */
static bool pack_group(const struct pack_job *job, int64_t first, int64_t count, int64_t k, int64_t end) {
    struct cpu_lane lanes[PACK_OUTPUTS];
    bool good = true;
    find_lanes(lanes, job, (size_t)(first * job->width), (size_t)(count * job->width));
    for (; k < end; k += PACK_INPUTS)
        for (int64_t i = 0; i < count; i++)
            good &=
                pack_column(job, first + i, lanes + i * job->width, k, end - k < PACK_INPUTS ? end - k : PACK_INPUTS);
    return good;
}

/* Rows that lie in the file one after the other: a part takes some of the outputs. */
static void pack_outputs(void *arg, int part, int parts) {
    struct pack_job *job = arg;
    const int64_t step = PACK_OUTPUTS / job->width, end = cpu_part_start(job->columns, part + 1, parts);
    const struct weight_piece *p = job->pieces;
    const size_t row = weight_row_bytes(p->type, (size_t)job->weight->K);
    const bool mapped = job->count == 1 && p->mapped && p->groups == 1;
    struct window window = window_open(job);
    bool good = true;
    for (int64_t first = cpu_part_start(job->columns, part, parts); first < end; first += step) {
        int64_t count = end - first < step ? end - first : step;
        if (mapped) {
            const unsigned char *data = (const unsigned char *)p->data + p->first * row;
            size_t n = (size_t)(first * job->width), m = (size_t)((first + count) * job->width);
            size_t limit = (size_t)(end * job->width), N = (size_t)job->weight->N;
            window_move(&window, data + n * row, data + (m < N ? m : N) * row, data + (limit < N ? limit : N) * row);
        }
        good &= pack_group(job, first, count, 0, job->weight->K);
    }
    window_close(&window);
    if (!good) atomic_store_explicit(&job->refused, true, memory_order_relaxed);
}

/* Transposed: a part takes some of the inputs, so that it too reads bytes that follow each other. */
static void pack_inputs(void *arg, int part, int parts) {
    struct pack_job *job = arg;
    const int64_t K = job->weight->K, blocks = (int64_t)ceil_div((size_t)K, PACK_INPUTS);
    const int64_t step = PACK_OUTPUTS / job->width, last = cpu_part_start(blocks, part + 1, parts);
    const struct weight_piece *p = job->pieces;
    const size_t line = p->source_rows * weight_type_size(p->type);
    struct window window = window_open(job);
    bool good = true;
    for (int64_t block = cpu_part_start(blocks, part, parts); block < last; block++) {
        const int64_t k = block * PACK_INPUTS, end = k + PACK_INPUTS < K ? k + PACK_INPUTS : K;
        const int64_t limit = last * PACK_INPUTS < K ? last * PACK_INPUTS : K;
        const unsigned char *data = p->data;
        if (job->count == 1 && p->mapped)
            window_move(&window, data + (size_t)k * line, data + (size_t)end * line, data + (size_t)limit * line);
        for (int64_t first = 0; first < job->columns; first += step)
            good &= pack_group(job, first, job->columns - first < step ? job->columns - first : step, k, end);
    }
    window_close(&window);
    if (!good) atomic_store_explicit(&job->refused, true, memory_order_relaxed);
}

static bool all_transposed(const struct weight_piece *pieces, int32_t count) {
    for (int32_t i = 0; i < count; i++)
        if (!pieces[i].transposed) return false;
    return true;
}

static tempera_status pack_together(struct backend *backend, const struct linear_weight *weight,
                                    const struct weight_piece *pieces, int32_t count, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    for (int32_t i = 1; i < count; i++)
        if (cpu_is_quantised(pieces[i].type) != cpu_is_quantised(pieces->type))
            return fail(err, TEMPERA_INVALID_ARGUMENT, "weight pieces: some are blocks, others are not");
    struct pack_job job = {.b = b, .weight = weight, .pieces = pieces, .count = count};
    job.width = cpu_is_quantised(weight->type) ? QUANT_WIDTH : PANEL;
    job.columns = (int64_t)ceil_div((size_t)weight->N, (size_t)job.width);
    job.bytes = cpu_linear_bytes(backend, weight->type, (int32_t)job.width, weight->K);
    atomic_init(&job.refused, false);
    if (all_transposed(pieces, count)) {
        const int64_t blocks = (int64_t)ceil_div((size_t)weight->K, PACK_INPUTS);
        pool_run(b->pool, pack_inputs, &job, cpu_parts(b, blocks, (int64_t)PACK_INPUTS * weight->N));
    } else {
        pool_run(b->pool, pack_outputs, &job, cpu_parts(b, job.columns, job.width * weight->K));
    }
    if (atomic_load(&job.refused))
        return fail(err, TEMPERA_UNSUPPORTED, "weights that are not finite, or too large, cannot be quantised to %s",
                    weight_type_name(weight->type));
    return TEMPERA_OK;
}

/* Whether every piece but the last ends where a matrix may be cut. */
static bool are_whole(const struct weight_piece *pieces, int32_t count) {
    for (int32_t i = 0; i + 1 < count; i++)
        if (pieces[i].group * pieces[i].groups % PACK_ROWS != 0) return false;
    return true;
}

/* One piece after the other where they allow it, so that each reads its file from start to end. */
tempera_status cpu_linear_pack(struct backend *backend, const struct linear_weight *weight,
                               const struct weight_piece *pieces, int32_t count, tempera_error *err) {
    TRY(weight_pieces_check(weight, pieces, count, err));
    if (!are_whole(pieces, count)) return pack_together(backend, weight, pieces, count, err);
    int32_t n = 0;
    for (int32_t i = 0; i < count; i++) {
        struct linear_weight part = *weight;
        part.data = (unsigned char *)weight->data + cpu_linear_bytes(backend, weight->type, n, weight->K);
        part.N = (int32_t)(pieces[i].group * pieces[i].groups); /* together N: they are checked */
        if (part.N > 0) TRY(pack_together(backend, &part, &pieces[i], 1, err));
        n += part.N;
    }
    return TEMPERA_OK;
}
