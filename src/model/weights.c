/* weights.c: parameters packed on a device. */
#include "model/weights.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "load/blocks.h"
#include "model/loading.h"
#include "model/region.h"
#include "model/rope.h"

/* ---- where everything lies --------------------------------------------------------------------------------------- */

void *parameter_target(const struct weights *weights, const struct parameter *p) {
    char *base = p->layer < 0 ? (char *)weights : (char *)&weights->layer[p->layer];
    return base + p->target;
}

void parameter_place(struct weights *weights, const struct parameter *p, void *data, enum weight_type type) {
    if (!p->matrix) {
        *(const float **)parameter_target(weights, p) = data;
        return;
    }
    struct linear_weight *linear = parameter_target(weights, p);
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

/* Whether all tensors of a parameter are of this type. */
static bool all_are(const struct parameter *p, enum dtype dtype) {
    for (int32_t i = 0; i < p->sources; i++)
        if (!p->source[i].view || p->source[i].view->dtype != dtype) return false;
    return true;
}

enum weight_type packed_type(const struct parameter_list *list, const struct parameter *p, enum weight_type type) {
    if (type != list->blocks) return type == WEIGHT_Q4 && p->layer < 0 ? WEIGHT_Q8 : type;
    if (all_are(p, DTYPE_F32)) return WEIGHT_F32;
    if (all_are(p, DTYPE_F16)) return WEIGHT_F16;
    if (all_are(p, DTYPE_BF16)) return WEIGHT_BF16;
    return all_are(p, DTYPE_Q4_0) && p->layer >= 0 ? WEIGHT_Q4 : WEIGHT_Q8;
}

bool weights_layout(struct weights *weights, const struct parameter_list *list, const struct hparams *hp,
                    const struct backend *backend, enum weight_type type, int32_t context, char *base, size_t *bytes) {
    struct region region = {.base = base};
    for (size_t i = 0; i < list->count; i++) {
        const struct parameter *p = &list->items[i];
        const enum weight_type packed = packed_type(list, p, type);
        void *data = p->matrix ? region_take(&region, backend->ops->linear_bytes(backend, packed, p->N, p->K))
                               : region_floats(&region, (size_t)p->N, 1);
        if (base) parameter_place(weights, p, data, packed);
    }
    layout_rope(base ? weights : NULL, hp, context, &region);
    if (base && hp->tied) tie_head(weights);
    *bytes = region.used;
    return !region.overflow;
}

/* ---- filling it -------------------------------------------------------------------------------------------------- */

enum weight_type weight_type_of(const struct tensor_view *view) {
    if (dtype_is_block(view->dtype) || view->dtype == DTYPE_BF16) return WEIGHT_BF16;
    return view->dtype == DTYPE_F16 ? WEIGHT_F16 : WEIGHT_F32;
}

void fetch_sources(const struct loader *l, const struct parameter *p, bool as_blocks, struct sources *sources) {
    char *drawn = l->drawn;
    const bool makes = !l->set && l->makes_random && p->matrix;
    if (makes) random_table(&sources->table, l->random->type, p);
    for (int32_t i = 0; i < p->sources; i++) {
        const struct source *s = &p->source[i];
        struct weight_piece *tensor = &sources->tensor[i];
        *tensor = (struct weight_piece){.source_rows = s->rows, .transposed = p->transposed};
        if (s->view) {
            tensor->data = s->view->data;
            tensor->mapped = tensor_set_is_mapped(l->set, s->view);
            const struct linear_weight *matrix = as_blocks ? parameter_target(l->weights, p) : NULL;
            tensor->type = matrix ? matrix->type : weight_type_of(s->view);
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

float weight_element(const void *data, enum weight_type type, size_t i) {
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
                *out++ = weight_element(from->data, from->type, row) + p->add;
            }
    }
    float *to = *(float **)parameter_target(l->weights, p);
    return l->backend->ops->upload(l->backend, to, l->vector, (size_t)p->N * sizeof *to, err);
}

/* linear_pack, whose message gets the tensor's name. */
static tempera_status pack(const struct loader *l, const struct parameter *p, const struct linear_weight *weight,
                           const struct weight_piece *pieces, int32_t count, tempera_error *err) {
    tempera_error why = {0};
    tempera_status status = l->backend->ops->linear_pack(l->backend, weight, pieces, count, &why);
    if (status == TEMPERA_OK) return TEMPERA_OK;
    return fail(err, status, "%s: %s", p->source[0].name, why.message);
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
    return pack(l, p, parameter_target(l->weights, p), piece, p->runs, err);
}

/* Blocks that the backend packs as they are. */
static bool are_blocks_of(const struct parameter *p, enum weight_type type) {
    return p->matrix &&
           ((type == WEIGHT_Q8 && all_are(p, DTYPE_Q8_0)) || (type == WEIGHT_Q4 && all_are(p, DTYPE_Q4_0)));
}

static bool is_woven(const struct parameter *p) {
    for (int32_t i = 0; i < p->sources; i++)
        if (p->source[i].woven) return true;
    return false;
}

static bool has_blocks(const struct parameter *p) {
    for (int32_t i = 0; i < p->sources; i++)
        if (p->source[i].view && dtype_is_block(p->source[i].view->dtype)) return true;
    return false;
}

struct row_place row_place_of(const struct parameter *p, size_t n) {
    const struct run *run = p->run;
    for (; n >= run->group * run->groups; run++) n -= run->group * run->groups;
    const size_t row = run->first + n / run->group * run->stride + n % run->group;
    return (struct row_place){run->source, woven_row(&p->source[run->source], row)};
}

/* Output row n as it lies in the file, in *bytes. */
static const unsigned char *file_row(const struct parameter *p, size_t n, const struct tensor_view **view,
                                     size_t *bytes) {
    const struct row_place at = row_place_of(p, n);
    const struct source *source = &p->source[at.source];
    *view = source->view;
    *bytes = source->cols / dtype_block_elements((*view)->dtype) * dtype_block_bytes((*view)->dtype);
    return (*view)->data + at.row * *bytes;
}

size_t bring_row(void *out, const struct parameter *p, size_t n, bool as_blocks) {
    const struct tensor_view *view;
    const size_t K = (size_t)p->K;
    size_t bytes;
    const unsigned char *data = file_row(p, n, &view, &bytes);
    float *numbers = out;
    if (as_blocks) {
        memcpy(out, data, bytes);
        return bytes;
    }
    if (dtype_is_block(view->dtype))
        blocks_decode(numbers, view->dtype, data, K);
    else
        for (size_t i = 0; i < K; i++) numbers[i] = weight_element(data, weight_type_of(view), i);
    return K * sizeof *numbers;
}

enum { DECODED_BYTES = 4 << 20 };

/* Rows that are brought together at a time: a multiple of PACK_ROWS, as many as the room has of floats. */
static size_t decoded_rows(int32_t K) {
    const size_t rows = DECODED_BYTES / sizeof(float) / (size_t)K / PACK_ROWS * PACK_ROWS;
    return rows > 0 ? rows : PACK_ROWS;
}

void forget_sources(const struct loader *l, const struct parameter *p) {
    for (int32_t i = 0; l->set && i < p->sources; i++) tensor_set_forget(l->set, p->source[i].view);
}

/* Brings together and packs some rows at a time, so that no tensor is ever in memory twice. */
static tempera_status load_rows(const struct loader *l, const struct parameter *p, bool as_blocks, tempera_error *err) {
    const struct backend_ops *ops = l->backend->ops;
    const struct linear_weight *whole = parameter_target(l->weights, p);
    const size_t N = (size_t)p->N, step = decoded_rows(p->K);
    for (size_t n = 0, count; n < N; n += count) {
        count = N - n < step ? N - n : step;
        unsigned char *row = (unsigned char *)l->decoded;
        for (size_t i = 0; i < count; i++) row += bring_row(row, p, n + i, as_blocks);
        struct linear_weight part = *whole;
        part.data = (char *)whole->data + ops->linear_bytes(l->backend, whole->type, (int32_t)n, p->K);
        part.N = (int32_t)count;
        struct weight_piece piece = {
            .data = l->decoded, .source_rows = count, .group = count, .groups = 1, .stride = count};
        piece.type = as_blocks ? whole->type : WEIGHT_F32;
        TRY(pack(l, p, &part, &piece, 1, err));
        forget_sources(l, p);
    }
    return TEMPERA_OK;
}

/* From the tensors as they lie where the backend can read them so, else row by row. */
static tempera_status load_from(const struct loader *l, const struct parameter *p, bool as_blocks, tempera_error *err) {
    struct sources sources;
    if (p->matrix && (is_woven(p) || (has_blocks(p) && !as_blocks))) return load_rows(l, p, as_blocks, err);
    fetch_sources(l, p, as_blocks, &sources);
    return p->matrix ? load_matrix(l, p, sources.tensor, err) : load_vector(l, p, sources.tensor, err);
}

tempera_status load_parameter(const struct loader *l, const struct parameter *p, tempera_error *err) {
    const struct linear_weight *matrix = p->matrix ? parameter_target(l->weights, p) : NULL;
    const bool as_blocks = matrix && are_blocks_of(p, matrix->type);
    tempera_status status = load_from(l, p, as_blocks, err);
    /* Blocks that the backend does not take for one of their values are numbers like others. */
    if (as_blocks && status == TEMPERA_UNSUPPORTED) status = load_from(l, p, false, err);
    if (status != TEMPERA_OK) return status;
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

void loader_sizes(const struct loader *l, const struct parameter_list *list, size_t *drawn, size_t *vector,
                  size_t *decoded) {
    *drawn = *vector = *decoded = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct parameter *p = &list->items[i];
        size_t elements = (size_t)p->N * (size_t)p->K; /* the sources' together */
        size_t bytes = elements * weight_type_size(p->matrix ? l->random->type : WEIGHT_F32);
        if (bytes > *drawn && !(p->matrix && l->makes_random)) *drawn = bytes;
        if (!p->matrix && bytes > *vector) *vector = bytes;
        const bool rows = p->matrix && (is_woven(p) || has_blocks(p));
        size_t room = rows ? decoded_rows(p->K) * (size_t)p->K * sizeof *l->decoded : 0;
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
    if (set) tensor_set_forget_all(set);
    mem_slab_free(l.drawn, drawn);
    mem_free(l.decoded);
    mem_free(l.vector);
    return status;
}
