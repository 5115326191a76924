/* weights.c: parameters packed on a device. */
#include "model/weights.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "load/blocks.h"
#include "model/region.h"
#include "model/rope.h"

/* ---- where everything lies --------------------------------------------------------------------------------------- */

static void *target_of(const struct weights *weights, const struct parameter *p) {
    char *base = p->layer < 0 ? (char *)weights : (char *)&weights->layer[p->layer];
    return base + p->target;
}

static void place(struct weights *weights, const struct parameter *p, void *data, enum weight_type type) {
    if (!p->matrix) {
        *(const float **)target_of(weights, p) = data;
        return;
    }
    struct linear_weight *linear = target_of(weights, p);
    linear->data = data;
    linear->type = type;
    linear->N = p->N;
    linear->K = p->K;
}

/* The head's bias, if any, is its own even then. */
static void tie_head(struct weights *weights) {
    const float *bias = weights->head.bias;
    weights->head = weights->embed;
    weights->head.bias = bias;
}

static bool has_local_rope(const struct hparams *hp) {
    return memchr(hp->rope_local, 1, (size_t)hp->L) != NULL;
}

static void layout_rope(struct weights *weights, const struct hparams *hp, int32_t context, struct region *region) {
    if (hp->rotary == 0) return;
    float *global = region_floats(region, (size_t)context, (size_t)hp->rotary);
    float *local = has_local_rope(hp) ? region_floats(region, (size_t)context, (size_t)hp->rotary) : global;
    if (!weights) return;
    weights->rope = global;
    weights->rope_local = local;
}

enum weight_type packed_type(const struct parameter *p, enum weight_type type) {
    return type == WEIGHT_Q4 && p->layer < 0 ? WEIGHT_Q8 : type;
}

bool weights_layout(struct weights *weights, const struct parameter_list *list, const struct hparams *hp,
                    const struct backend *backend, enum weight_type type, int32_t context, char *base, size_t *bytes) {
    struct region region = {.base = base};
    for (size_t i = 0; i < list->count; i++) {
        const struct parameter *p = &list->items[i];
        const enum weight_type packed = packed_type(p, type);
        void *data = p->matrix ? region_take(&region, backend->ops->linear_bytes(backend, packed, p->N, p->K))
                               : region_floats(&region, (size_t)p->N, 1);
        if (base) place(weights, p, data, packed);
    }
    layout_rope(base ? weights : NULL, hp, context, &region);
    if (base && hp->tied) tie_head(weights);
    *bytes = region.used;
    return !region.overflow;
}

/* ---- filling it -------------------------------------------------------------------------------------------------- */

struct loader {
    const struct weights *weights;
    const struct tensor_set *set;
    const struct random_weights *random;
    struct backend *backend;
    bool makes_random; /* the backend makes random matrices itself */
    char *drawn;       /* room for the random tensors of one parameter; NULL with files */
    float *vector;     /* room for one vector */
    float *decoded;    /* room for DECODED_BYTES, or one block of rows, of a matrix that is decoded here */
};

/* Where a parameter comes from. */
struct sources {
    struct weight_piece tensor[PARAMETER_PARTS]; /* rows of all pieces unset */
    struct random_source random[PARAMETER_PARTS];
    union random_table table;
};

enum weight_type weight_type_of(const struct tensor_view *view) {
    if (dtype_is_block(view->dtype) || view->dtype == DTYPE_BF16) return WEIGHT_BF16;
    return view->dtype == DTYPE_F16 ? WEIGHT_F16 : WEIGHT_F32;
}

/* Each source as host memory, mapped or drawn now, or as what the backend makes it of. */
static void fetch_sources(const struct loader *l, const struct parameter *p, struct sources *sources) {
    char *drawn = l->drawn;
    const bool makes = !l->set && l->makes_random && p->matrix;
    if (makes) random_table(&sources->table, l->random->type, p);
    for (int32_t i = 0; i < p->sources; i++) {
        const struct source *s = &p->source[i];
        struct weight_piece *tensor = &sources->tensor[i];
        *tensor = (struct weight_piece){.source_rows = s->rows, .transposed = p->transposed};
        if (s->view) {
            tensor->data = s->view->data;
            tensor->type = weight_type_of(s->view);
            continue;
        }
        tensor->type = p->matrix ? l->random->type : WEIGHT_F32;
        if (makes) {
            sources->random[i] = (struct random_source){&sources->table, random_stream(s, l->random->seed)};
            tensor->random = &sources->random[i];
            continue;
        }
        tensor->data = drawn;
        random_fill(drawn, tensor->type, s, p, l->random->seed);
        drawn += s->rows * s->cols * weight_type_size(tensor->type);
    }
}

static float element(const void *data, enum weight_type type, size_t i) {
    uint16_t half;
    float value;
    if (type == WEIGHT_F32) {
        memcpy(&value, (const char *)data + i * sizeof value, sizeof value);
        return value;
    }
    memcpy(&half, (const char *)data + i * sizeof half, sizeof half);
    return type == WEIGHT_F16 ? f16_to_float(half) : bf16_to_float(half);
}

/* Where the file has this row. */
static size_t woven_row(const struct source *source, size_t row) {
    if (source->woven == 0) return row;
    const size_t half = source->woven / 2, i = row % source->woven;
    return row - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

static tempera_status load_vector(const struct loader *l, const struct parameter *p, const struct weight_piece *source,
                                  tempera_error *err) {
    float *out = l->vector;
    for (int32_t r = 0; r < p->runs; r++) {
        const struct run *run = &p->run[r];
        for (size_t g = 0; g < run->groups; g++)
            for (size_t i = 0; i < run->group; i++) {
                const struct weight_piece *from = &source[run->source];
                size_t row = woven_row(&p->source[run->source], run->first + g * run->stride + i);
                *out++ = element(from->data, from->type, row) + p->add;
            }
    }
    float *to = *(float **)target_of(l->weights, p);
    return l->backend->ops->upload(l->backend, to, l->vector, (size_t)p->N * sizeof *to, err);
}

static tempera_status load_matrix(const struct loader *l, const struct parameter *p, const struct weight_piece *source,
                                  tempera_error *err) {
    struct weight_piece piece[PARAMETER_PARTS];
    for (int32_t r = 0; r < p->runs; r++) {
        const struct run *run = &p->run[r];
        piece[r] = source[run->source];
        piece[r].first = run->first;
        piece[r].group = run->group;
        piece[r].groups = run->groups;
        piece[r].stride = run->stride;
    }
    tempera_error why = {0};
    tempera_status status = l->backend->ops->linear_pack(l->backend, target_of(l->weights, p), piece, p->runs, &why);
    if (status == TEMPERA_OK) return TEMPERA_OK;
    return fail(err, status, "%s: %s", p->source[0].name, why.message);
}

/* A matrix that the backend cannot read as it lies in the file. */
static bool needs_decoding(const struct parameter *p) {
    for (int32_t i = 0; i < p->sources; i++)
        if (p->source[i].woven || (p->source[i].view && dtype_is_block(p->source[i].view->dtype))) return p->matrix;
    return false;
}

/* Where output row n of a parameter comes from. */
struct row_place {
    int32_t source;
    size_t row;
};

static struct row_place place_of(const struct parameter *p, size_t n) {
    const struct run *run = p->run;
    for (; n >= run->group * run->groups; run++) n -= run->group * run->groups;
    const size_t row = run->first + n / run->group * run->stride + n % run->group;
    return (struct row_place){run->source, woven_row(&p->source[run->source], row)};
}

/* Output row n in float; not of a transposed parameter. */
static void decode_row(float *out, const struct parameter *p, const struct weight_piece *from, size_t n) {
    const struct row_place at = place_of(p, n);
    const struct weight_piece *piece = &from[at.source];
    const struct tensor_view *view = p->source[at.source].view;
    const size_t K = (size_t)p->K;
    if (view && dtype_is_block(view->dtype)) {
        const size_t bytes = K / dtype_block_elements(view->dtype) * dtype_block_bytes(view->dtype);
        blocks_decode(out, view->dtype, view->data + at.row * bytes, K);
        return;
    }
    if (piece->type == WEIGHT_F32)
        memcpy(out, (const char *)piece->data + at.row * K * sizeof *out, K * sizeof *out);
    else
        for (size_t k = 0; k < K; k++) out[k] = element(piece->data, piece->type, at.row * K + k);
}

enum { DECODED_BYTES = 4 << 20 };

/* Rows that are decoded at a time: whole blocks of rows, as many as the room has. */
static size_t decoded_rows(int32_t K) {
    const size_t rows = DECODED_BYTES / sizeof(float) / (size_t)K / PACK_ROWS * PACK_ROWS;
    return rows > 0 ? rows : PACK_ROWS;
}

/* Decodes and packs some rows at a time, so that no tensor is ever in memory twice. Blocks that are already what the
 * device keeps would be handed on from here as they lie. */
static tempera_status load_decoded(const struct loader *l, const struct parameter *p, const struct weight_piece *source,
                                   tempera_error *err) {
    const struct backend_ops *ops = l->backend->ops;
    const struct linear_weight *whole = target_of(l->weights, p);
    const size_t N = (size_t)p->N, K = (size_t)p->K, step = decoded_rows(p->K);
    for (size_t n = 0, count; n < N; n += count) {
        count = N - n < step ? N - n : step;
        for (size_t i = 0; i < count; i++) decode_row(l->decoded + i * K, p, source, n + i);
        struct linear_weight part = *whole;
        part.data = (char *)whole->data + ops->linear_bytes(l->backend, whole->type, (int32_t)n, p->K);
        part.N = (int32_t)count;
        struct weight_piece piece = {
            .data = l->decoded, .type = WEIGHT_F32, .source_rows = count, .group = count, .groups = 1};
        TRY(ops->linear_pack(l->backend, &part, &piece, 1, err));
    }
    return TEMPERA_OK;
}

static tempera_status pack_matrix(const struct loader *l, const struct parameter *p, const struct weight_piece *source,
                                  tempera_error *err) {
    return needs_decoding(p) ? load_decoded(l, p, source, err) : load_matrix(l, p, source, err);
}

static void forget_sources(const struct loader *l, const struct parameter *p) {
    for (int32_t i = 0; l->set && i < p->sources; i++) tensor_set_forget(l->set, p->source[i].view);
}

static tempera_status load_parameter(const struct loader *l, const struct parameter *p, tempera_error *err) {
    struct sources sources;
    fetch_sources(l, p, &sources);
    TRY(p->matrix ? pack_matrix(l, p, sources.tensor, err) : load_vector(l, p, sources.tensor, err));
    forget_sources(l, p);
    return TEMPERA_OK;
}

/* One table, made and uploaded a block of positions at a time. */
static tempera_status load_rope_table(float *table, const struct rope_config *rope, const struct hparams *hp,
                                      int32_t context, struct backend *backend, tempera_error *err) {
    enum { BLOCK = 256 };
    tempera_status status = TEMPERA_OK;
    size_t row = (size_t)hp->rotary;
    double *inv_freq = mem_array(row / 2, sizeof *inv_freq);
    float *block = mem_array(BLOCK * row, sizeof *block);
    if (!inv_freq || !block) status = fail_memory(err, BLOCK * row * sizeof *block, "the rotary table");
    double attention_factor;
    if (status == TEMPERA_OK) rope_frequencies(inv_freq, &attention_factor, rope, hp->rotary, context);
    for (int32_t first = 0; status == TEMPERA_OK && first < context; first += BLOCK) {
        int32_t count = context - first < BLOCK ? context - first : BLOCK;
        rope_table(block, inv_freq, attention_factor, hp->rotary, first, count);
        status =
            backend->ops->upload(backend, table + (size_t)first * row, block, (size_t)count * row * sizeof *block, err);
    }
    mem_free(block);
    mem_free(inv_freq);
    return status;
}

static tempera_status load_rope(const struct weights *weights, const struct hparams *hp, int32_t context,
                                struct backend *backend, tempera_error *err) {
    if (!weights->rope) return TEMPERA_OK;
    TRY(load_rope_table(weights->rope, &hp->rope, hp, context, backend, err));
    if (weights->rope_local == weights->rope) return TEMPERA_OK;
    return load_rope_table(weights->rope_local, &hp->rope_local_config, hp, context, backend, err);
}

/* The largest rooms that one parameter needs. */
static void loader_sizes(const struct loader *l, const struct parameter_list *list, size_t *drawn, size_t *vector,
                         size_t *decoded) {
    *drawn = *vector = *decoded = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct parameter *p = &list->items[i];
        size_t elements = (size_t)p->N * (size_t)p->K; /* the sources' together */
        size_t bytes = elements * weight_type_size(p->matrix ? l->random->type : WEIGHT_F32);
        if (bytes > *drawn && !(p->matrix && l->makes_random)) *drawn = bytes;
        if (!p->matrix && bytes > *vector) *vector = bytes;
        size_t room = needs_decoding(p) ? decoded_rows(p->K) * (size_t)p->K * sizeof *l->decoded : 0;
        if (room > *decoded) *decoded = room;
    }
}

tempera_status weights_load(const struct weights *weights, const struct parameter_list *list, const struct hparams *hp,
                            const struct tensor_set *set, const struct random_weights *random, struct backend *backend,
                            int32_t context, tempera_error *err) {
    struct backend_info info;
    backend->ops->info(backend, &info);
    struct loader l = {
        .weights = weights, .set = set, .random = random, .backend = backend, .makes_random = info.makes_random};
    size_t drawn, vector, decoded;
    loader_sizes(&l, list, &drawn, &vector, &decoded);
    tempera_status status = TEMPERA_OK;
    l.vector = mem_alloc(vector);
    l.decoded = mem_alloc(decoded);
    if (!set) l.drawn = mem_slab(drawn);
    if (!l.vector || !l.decoded || (!set && !l.drawn))
        status = fail_memory(err, set ? vector + decoded : drawn, "loading weights");
    for (size_t i = 0; status == TEMPERA_OK && i < list->count; i++) status = load_parameter(&l, &list->items[i], err);
    if (status == TEMPERA_OK) status = load_rope(weights, hp, context, backend, err);
    mem_slab_free(l.drawn, drawn);
    mem_free(l.decoded);
    mem_free(l.vector);
    return status;
}

/* ---- what packing loses ------------------------------------------------------------------------------------------ */

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
static void decode_transposed(float *out, const struct parameter *p, const struct weight_piece *from, size_t n,
                              size_t count) {
    const size_t K = (size_t)p->K;
    struct row_place at[COMPARED_ROWS];
    for (size_t i = 0; i < count; i++) at[i] = place_of(p, n + i);
    for (size_t k = 0; k < K; k++)
        for (size_t i = 0; i < count; i++) {
            const struct weight_piece *piece = &from[at[i].source];
            out[i * K + k] = element(piece->data, piece->type, k * piece->source_rows + at[i].row);
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
                                     enum weight_type type, tempera_error *err) {
    struct parameter p = *listed;
    struct sources sources;
    const size_t N = (size_t)p.N, K = (size_t)p.K;
    fetch_sources(&c->loader, &p, &sources);
    if (p.layer > 0) p.layer = 0;
    place(&c->weights, &p, c->packed, packed_type(&p, type));
    const struct linear_weight *matrix = target_of(&c->weights, &p);
    TRY(pack_matrix(&c->loader, &p, sources.tensor, err));
    for (size_t n = 0, count; n < N; n += count) {
        count = N - n < COMPARED_ROWS ? N - n : COMPARED_ROWS;
        TRY(read_packed(c, matrix, n, count, err));
        if (p.transposed)
            decode_transposed(c->theirs, &p, sources.tensor, n, count);
        else
            for (size_t i = 0; i < count; i++) decode_row(c->theirs + i * K, &p, sources.tensor, n + i);
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
        const size_t bytes = backend->ops->linear_bytes(backend, packed_type(p, type), p->N, p->K);
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
        if (p->matrix) status = compare_matrix(&c, &sums[kind_of(p)], p, type, err);
    }
    comparison_release(&c);
    if (status == TEMPERA_OK) memcpy(losses, sums, sizeof sums);
    return status;
}
