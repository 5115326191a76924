/* cpu_pack.c: weights into panels, once, when a model is loaded. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_quant.h"
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

/* Lane of output row n: its piece's source row. */
struct cpu_lane cpu_lane_of(const struct linear_weight *weight, const struct weight_piece *pieces, int32_t count,
                            size_t n) {
    for (int32_t i = 0; i < count; i++) {
        const struct weight_piece *p = &pieces[i];
        size_t rows = p->group * p->groups;
        if (n >= rows) {
            n -= rows;
            continue;
        }
        size_t row = p->first + n / p->group * p->stride + n % p->group, size = weight_type_size(p->type);
        size_t start = p->transposed ? row : row * (size_t)weight->K;
        return (struct cpu_lane){.data = (const unsigned char *)p->data + start * size,
                                 .type = p->type,
                                 .step = p->transposed ? p->source_rows : 1};
    }
    return (struct cpu_lane){0}; /* beyond N */
}

struct pack_job {
    const struct cpu_kernels *kernels;
    const struct linear_weight *weight;
    const struct weight_piece *pieces;
    int32_t count;
};

enum { PACK_PANELS = 8, PACK_INPUTS = 64 };

/* A part packs groups of eight panels, 64 inputs at a time, so that a transposed source is read in runs of 128 outputs. */
static void pack_part(void *arg, int part, int parts) {
    const struct pack_job *job = arg;
    const struct linear_weight *w = job->weight;
    const int64_t panels = (int64_t)ceil_div((size_t)w->N, PANEL);
    const size_t bytes = cpu_panel_bytes(w->type, w->K);
    const int64_t end = cpu_part_start(panels, part + 1, parts);
    for (int64_t first = cpu_part_start(panels, part, parts); first < end; first += PACK_PANELS) {
        int64_t count = end - first < PACK_PANELS ? end - first : PACK_PANELS;
        struct cpu_lane lanes[PACK_PANELS][PANEL];
        for (int64_t i = 0; i < count * PANEL; i++)
            lanes[i / PANEL][i % PANEL] = cpu_lane_of(w, job->pieces, job->count, (size_t)(first * PANEL + i));
        for (int64_t k = 0; k < w->K; k += PACK_INPUTS)
            for (int64_t i = 0; i < count; i++)
                job->kernels->pack((unsigned char *)w->data + (size_t)(first + i) * bytes, w->type, lanes[i], k,
                                   w->K - k < PACK_INPUTS ? w->K - k : PACK_INPUTS);
    }
}

tempera_status cpu_linear_pack(struct backend *backend, const struct linear_weight *weight,
                               const struct weight_piece *pieces, int32_t count, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    TRY(weight_pieces_check(weight, pieces, count, err));
    if (cpu_is_quantised(weight->type)) return cpu_quant_pack(b, weight, pieces, count, err);
    struct pack_job job = {.kernels = b->kernels, .weight = weight, .pieces = pieces, .count = count};
    int64_t panels = (int64_t)ceil_div((size_t)weight->N, PANEL);
    pool_run(b->pool, pack_part, &job, cpu_parts(b, panels, (int64_t)PANEL * weight->K));
    return TEMPERA_OK;
}
