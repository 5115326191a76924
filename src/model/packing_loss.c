/* packing_loss.c: how far the weights of a packed type are from those of the files. */
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "model/loading.h"
#include "model/model.h"

/* Looks at one matrix at a time: packed as an engine packs it, and read back by the op that looks tokens up, which gives
 * rows of any packed matrix. */
enum { COMPARED_ROWS = 256 }; /* at a time: enough work for every thread */

struct comparison {
    struct loader loader;
    size_t drawn_bytes;     /* of loader.drawn */
    struct weights weights; /* with one layer's: all parameters are placed in the first */
    char *packed;           /* device, packed_bytes: the matrix */
    size_t packed_bytes;
    float *looked_up;             /* device, [COMPARED_ROWS, K] */
    float *mine, *theirs;         /* [COMPARED_ROWS, K]: as packed, as the files have them */
    size_t room;                  /* bytes of each of the three */
    int32_t token[COMPARED_ROWS]; /* the rows that are read */
};

static enum matrix_kind kind_of(const struct parameter *p) {
    if (p->layer < 0 && p->target == offsetof(struct weights, embed)) return MATRIX_EMBEDDING;
    if (p->layer < 0) return p->target == offsetof(struct weights, head) ? MATRIX_HEAD : MATRIX_POSITIONS;
    if (p->target == offsetof(struct layer_weights, qkv)) return MATRIX_QKV;
    if (p->target == offsetof(struct layer_weights, attention_out)) return MATRIX_ATTENTION_OUT;
    return p->target == offsetof(struct layer_weights, up) ? MATRIX_UP : MATRIX_DOWN;
}

/* Rows of a transposed parameter lie side by side in the file, and are read together. */
static void read_transposed(float *out, const struct parameter *p, const struct weight_piece *from, size_t n,
                            size_t count) {
    const size_t K = (size_t)p->K;
    struct row_place at[COMPARED_ROWS];
    for (size_t i = 0; i < count; i++) at[i] = row_place_of(p, n + i);
    for (size_t k = 0; k < K; k++)
        for (size_t i = 0; i < count; i++) {
            const struct weight_piece *piece = &from[at[i].source];
            out[i * K + k] = weight_element(piece->data, piece->type, k * piece->source_rows + at[i].row);
        }
}

static void read_drawn(float *out, const struct parameter *p, const struct weight_piece *from, size_t n) {
    const struct row_place at = row_place_of(p, n);
    const struct weight_piece *piece = &from[at.source];
    const size_t K = (size_t)p->K;
    for (size_t k = 0; k < K; k++) out[k] = weight_element(piece->data, piece->type, at.row * K + k);
}

/* Rows n … n + count - 1 of the files' weights, or of those drawn. */
static void read_rows(struct comparison *c, const struct parameter *p, const struct sources *sources, size_t n,
                      size_t count) {
    if (p->transposed) {
        read_transposed(c->theirs, p, sources->tensor, n, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        float *to = c->theirs + i * (size_t)p->K;
        if (c->loader.set)
            bring_row(to, p, n + i, false);
        else
            read_drawn(to, p, sources->tensor, n + i);
    }
}

static tempera_status read_packed(struct comparison *c, const struct linear_weight *matrix, size_t n, size_t count,
                                  tempera_error *err) {
    struct backend *backend = c->loader.backend;
    static const int32_t position[COMPARED_ROWS];
    const struct batch_view view = {.T = (int32_t)count, .token = c->token, .position = position};
    bool replay;
    for (size_t i = 0; i < count; i++) c->token[i] = (int32_t)(n + i);
    TRY(backend->ops->step_begin(backend, &view, &replay, err));
    TRY(backend->ops->embed(backend, c->looked_up, matrix, NULL, 1, err));
    TRY(backend->ops->step_end(backend, err));
    TRY(backend->ops->step_wait(backend, NULL, err));
    return backend->ops->download(backend, c->mine, c->looked_up, count * (size_t)matrix->K * sizeof *c->mine, err);
}

/* In double, each of a row's LANES sums over every LANES-th weight, so that the processor adds several at a time. */
static void compare_rows(struct packing_loss *loss, const float *mine, const float *theirs, size_t count, size_t K) {
    enum { LANES = 8 };
    for (size_t i = 0; i < count; i++, mine += K, theirs += K) {
        double squares[LANES] = {0}, errors[LANES] = {0};
        size_t k = 0;
        for (; k + LANES <= K; k += LANES)
            for (size_t lane = 0; lane < LANES; lane++) {
                const double w = (double)theirs[k + lane], error = (double)mine[k + lane] - w;
                squares[lane] += w * w;
                errors[lane] += error * error;
            }
        for (; k < K; k++) {
            const double w = (double)theirs[k], error = (double)mine[k] - w;
            squares[0] += w * w;
            errors[0] += error * error;
        }
        for (size_t lane = 0; lane < LANES; lane++) {
            loss->squares += squares[lane];
            loss->errors += errors[lane];
        }
    }
}

static tempera_status compare_matrix(struct comparison *c, struct packing_loss *loss, const struct parameter *listed,
                                     enum weight_type packed, tempera_error *err) {
    struct parameter p = *listed;
    struct sources sources;
    const size_t N = (size_t)p.N, K = (size_t)p.K;
    if (p.layer > 0) p.layer = 0;
    parameter_place(&c->weights, &p, c->packed, packed);
    const struct linear_weight *matrix = parameter_target(&c->weights, &p);
    TRY(load_parameter(&c->loader, &p, err));
    if (!c->loader.set || p.transposed) fetch_sources(&c->loader, &p, false, &sources);
    for (size_t n = 0, count; n < N; n += count) {
        count = N - n < COMPARED_ROWS ? N - n : COMPARED_ROWS;
        TRY(read_packed(c, matrix, n, count, err));
        read_rows(c, &p, &sources, n, count);
        compare_rows(loss, c->mine, c->theirs, count, K);
    }
    loss->type = matrix->type;
    loss->matrices++;
    loss->weights += (int64_t)(N * K);
    forget_sources(&c->loader, &p);
    return TEMPERA_OK;
}

/* A model of which only this is real: that a step looks up COMPARED_ROWS tokens. */
static const struct backend_limits lookup_limits = {.L = 1,
                                                    .D = 16,
                                                    .H = 1,
                                                    .Hkv = 1,
                                                    .Dh = 16,
                                                    .F = 16,
                                                    .V = 16,
                                                    .context = COMPARED_ROWS,
                                                    .max_tokens = COMPARED_ROWS,
                                                    .max_logits = 1,
                                                    .max_branches = 1,
                                                    .pages = 1};

static tempera_status comparison_prepare(struct comparison *c, const struct parameter_list *list, enum weight_type type,
                                         tempera_error *err) {
    struct backend *backend = c->loader.backend;
    struct backend_limits limits = lookup_limits;
    size_t vector, decoded, width = 0;
    loader_sizes(&c->loader, list, &c->drawn_bytes, &vector, &decoded);
    for (size_t i = 0; i < list->count; i++) {
        const struct parameter *p = &list->items[i];
        if (!p->matrix) continue;
        const size_t bytes = backend->ops->linear_bytes(backend, packed_type(list, p, type), p->N, p->K);
        if (bytes > c->packed_bytes) c->packed_bytes = bytes;
        if ((size_t)p->K > width) width = (size_t)p->K;
    }
    if (!size_mul(width, COMPARED_ROWS * sizeof(float), &c->room)) return fail_memory(err, width, "rows of weights");
    c->weights.layer = mem_array(1, sizeof *c->weights.layer);
    c->loader.decoded = mem_alloc(decoded);
    if (!c->loader.set) c->loader.drawn = mem_slab(c->drawn_bytes);
    c->mine = mem_alloc(c->room);
    c->theirs = mem_alloc(c->room);
    c->packed = backend->ops->alloc(backend, c->packed_bytes);
    c->looked_up = backend->ops->alloc(backend, c->room);
    if (!c->weights.layer || !c->loader.decoded || (!c->loader.set && !c->loader.drawn) || !c->mine || !c->theirs ||
        !c->packed || !c->looked_up)
        return fail_memory(err, c->packed_bytes + c->drawn_bytes + decoded + 3 * c->room, "comparing weights");
    limits.type = type;
    return backend->ops->prepare(backend, &limits, err);
}

static void comparison_release(struct comparison *c) {
    const struct backend_ops *ops = c->loader.backend->ops;
    ops->free(c->loader.backend, c->looked_up, c->room);
    ops->free(c->loader.backend, c->packed, c->packed_bytes);
    mem_slab_free(c->loader.drawn, c->drawn_bytes);
    mem_free(c->theirs);
    mem_free(c->mine);
    mem_free(c->loader.decoded);
    mem_free(c->weights.layer);
}

tempera_status weights_packing_loss(struct packing_loss losses[MATRIX_KINDS], const struct parameter_list *list,
                                    const struct tensor_set *set, const struct random_weights *random,
                                    struct backend *backend, enum weight_type type, tempera_error *err) {
    struct comparison c = {.loader = {.set = set, .random = random, .backend = backend}};
    struct packing_loss sums[MATRIX_KINDS] = {{0}};
    c.loader.weights = &c.weights;
    tempera_status status = comparison_prepare(&c, list, type, err);
    for (size_t i = 0; status == TEMPERA_OK && i < list->count; i++) {
        const struct parameter *p = &list->items[i];
        if (p->matrix) status = compare_matrix(&c, &sums[kind_of(p)], p, packed_type(list, p, type), err);
    }
    comparison_release(&c);
    if (status == TEMPERA_OK) memcpy(losses, sums, sizeof sums);
    return status;
}
