/* bind.c: the list of a model's parameters, and the tensors of its files that make them up. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/weights.h"

struct binder {
    const struct arch *arch;
    const struct model_config *config;
    const struct hparams *hp;
    const struct tensor_set *set; /* NULL: random weights */
    struct parameter_list *list;
    struct map used; /* names of the tensors that were taken */
};

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Where a name stands: outside the layers, or in one of them. */
enum { OUTSIDE = -1 };

static char *spell(struct binder *b, const char *prefix, int32_t layer, const char *base, const char *suffix) {
    char text[256], number[16] = "";
    if (layer != OUTSIDE) snprintf(number, sizeof number, "%d.", layer);
    int length =
        snprintf(text, sizeof text, "%s%s%s%s%s", prefix, layer == OUTSIDE ? "" : b->arch->layer, number, base, suffix);
    return arena_strndup(&b->list->names, text, (size_t)length);
}

/* The spelling that the files use: with the prefix of the base model, or without; when neither is there,
 * with. The head has no prefix, but in some families two names. NULL: out of memory. */
static char *find_name(struct binder *b, int32_t layer, const char *base, const char *suffix) {
    bool head = base == b->arch->head[0];
    char *first = spell(b, head ? "" : b->arch->prefix, layer, base, suffix);
    if (!first || !b->set || tensor_set_find(b->set, first)) return first;
    const char *other = head ? b->arch->head[1] : base;
    char *second = other ? spell(b, "", layer, other, suffix) : first;
    return second && tensor_set_find(b->set, second) ? second : first;
}

/* ---- one parameter ----------------------------------------------------------------------------------------------- */

static struct parameter *add_parameter(struct parameter_list *list) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct parameter *items = mem_realloc(list->items, capacity * sizeof *items);
        if (!items) return NULL;
        list->items = items;
        list->capacity = capacity;
    }
    return &list->items[list->count++];
}

/* Finds the tensor of one source, checks its shape and notes that it is taken. */
static tempera_status bind_source(struct binder *b, const struct parameter *p, struct source *source, const char *base,
                                  const char *suffix, tempera_error *err) {
    source->name = find_name(b, p->layer, base, suffix);
    if (!source->name) return fail_memory(err, 0, "tensor names");
    if (!b->set) return TEMPERA_OK;
    size_t shape[2] = {source->rows, source->cols};
    if (p->transposed) shape[0] = source->cols, shape[1] = source->rows;
    TRY(tensor_set_get(b->set, source->name, p->matrix ? 2 : 1, shape, &source->view, err));
    if (!map_put(&b->used, source->view->name, strlen(source->view->name), 0, NULL))
        return fail_memory(err, 0, "tensor names");
    return TEMPERA_OK;
}

/* A vector that is a tensor of its own: a norm's weight or bias. */
static tempera_status add_vector(struct binder *b, int32_t layer, size_t target, const char *base, const char *suffix,
                                 int32_t N, float add, float mean, tempera_error *err) {
    struct parameter *p = add_parameter(b->list);
    if (!p) return fail_memory(err, 0, "the list of parameters");
    *p = (struct parameter){.layer = layer,
                            .target = target,
                            .N = N,
                            .K = 1,
                            .add = add,
                            .mean = mean,
                            .deviation = 0.05f,
                            .sources = 1,
                            .runs = 1};
    p->source[0] = (struct source){.rows = (size_t)N, .cols = 1};
    p->run[0] = (struct run){.group = (size_t)N, .groups = 1};
    return bind_source(b, p, &p->source[0], base, suffix, err);
}

/* `target` is the weight's pointer, and the bias's pointer comes right after it in both structs. base NULL:
 * no norm. */
static tempera_status add_norm(struct binder *b, int32_t layer, size_t target, const char *base, int32_t N,
                               tempera_error *err) {
    if (!base) return TEMPERA_OK;
    float add = b->arch->norm_plus_one ? 1 : 0;
    TRY(add_vector(b, layer, target, base, ".weight", N, add, 1 - add, err));
    if (b->arch->norm != NORM_LAYER) return TEMPERA_OK;
    return add_vector(b, layer, target + sizeof(const float *), base, ".bias", N, 0, 0, err);
}

/* ---- linear layers ----------------------------------------------------------------------------------------------- */

/* A linear layer's tensors (the names without suffix) and how its N output rows are taken from them. */
struct linear_shape {
    int32_t N, K;
    bool transposed;
    int32_t sources, runs;
    const char *base[PARAMETER_PARTS];
    size_t rows[PARAMETER_PARTS], woven[PARAMETER_PARTS];
    struct run run[PARAMETER_PARTS];
};

static struct linear_shape one_tensor(const char *base, int32_t N, int32_t K) {
    struct linear_shape s = {.N = N, .K = K, .sources = 1, .runs = 1, .base = {base}, .rows = {(size_t)N}};
    s.run[0] = (struct run){.group = (size_t)N, .groups = 1};
    return s;
}

/* Several tensors with the same input, one below the other. */
static struct linear_shape stacked(const char *const *base, const int32_t *rows, int32_t count, int32_t K) {
    struct linear_shape s = {.K = K, .sources = count, .runs = count};
    for (int32_t i = 0; i < count; i++) {
        s.N += rows[i];
        s.base[i] = base[i];
        s.rows[i] = (size_t)rows[i];
        s.run[i] = (struct run){.source = i, .group = (size_t)rows[i], .groups = 1};
    }
    return s;
}

static struct linear_shape qkv_shape(const struct arch *arch, const struct hparams *hp) {
    int32_t q = hp->H * hp->Dh, kv = hp->Hkv * hp->Dh;
    if (arch->qkv_layout == QKV_SPLIT) {
        struct linear_shape split = stacked(arch->qkv, (int32_t[]){q, kv, kv}, 3, hp->D);
        if (arch->qk_woven) split.woven[0] = split.woven[1] = (size_t)hp->Dh;
        return split;
    }
    struct linear_shape s = one_tensor(arch->qkv[0], q + 2 * kv, hp->D);
    if (arch->qkv_layout == QKV_ROWS) return s;
    s.runs = 3; /* of each head, the q rows; then the k rows, then the v rows */
    size_t Dh = (size_t)hp->Dh;
    for (int32_t i = 0; i < 3; i++)
        s.run[i] = (struct run){.first = (size_t)i * Dh, .group = Dh, .groups = (size_t)hp->H, .stride = 3 * Dh};
    return s;
}

static struct linear_shape up_shape(const struct arch *arch, const struct hparams *hp) {
    if (arch->up[1]) return stacked(arch->up, (int32_t[]){hp->F, hp->F}, 2, hp->D);
    return one_tensor(arch->up[0], hp->gated ? 2 * hp->F : hp->F, hp->D);
}

static tempera_status has_bias(bool *has, struct binder *b, const char *base, enum bias_rule rule, tempera_error *err) {
    *has = rule == BIAS_ALWAYS;
    if (rule == BIAS_ATTENTION)
        *has = b->config->attention_bias == CONFIG_ABSENT ? b->arch->attention_bias_default : b->config->attention_bias;
    if (rule == BIAS_MLP) *has = b->config->mlp_bias == 1;
    if (rule == BIAS_OPTIONAL) {
        const char *name = find_name(b, 0, base, ".bias");
        if (!name) return fail_memory(err, 0, "tensor names");
        *has = !b->set || tensor_set_find(b->set, name);
    }
    return TEMPERA_OK;
}

/* The matrix, or the vector of biases whose rows are taken from the files in the same way. */
static tempera_status add_linear_part(struct binder *b, int32_t layer, size_t target, const struct linear_shape *s,
                                      bool matrix, tempera_error *err) {
    struct parameter *p = add_parameter(b->list);
    if (!p) return fail_memory(err, 0, "the list of parameters");
    *p = (struct parameter){.layer = layer,
                            .target = target,
                            .matrix = matrix,
                            .N = s->N,
                            .K = matrix ? s->K : 1,
                            .transposed = matrix && s->transposed,
                            .sources = s->sources,
                            .runs = s->runs};
    p->deviation = matrix ? 1 / sqrtf((float)s->K) : 0.02f;
    for (int32_t i = 0; i < s->runs; i++) p->run[i] = s->run[i];
    for (int32_t i = 0; i < s->sources; i++) {
        p->source[i] = (struct source){.rows = s->rows[i], .cols = (size_t)p->K, .woven = s->woven[i]};
        TRY(bind_source(b, p, &p->source[i], s->base[i], matrix ? ".weight" : ".bias", err));
    }
    return TEMPERA_OK;
}

static tempera_status add_bias(struct binder *b, int32_t layer, size_t target, const struct linear_shape *s,
                               enum bias_rule rule, tempera_error *err) {
    bool has;
    TRY(has_bias(&has, b, s->base[0], rule, err));
    if (!has) return TEMPERA_OK;
    return add_linear_part(b, layer, target + offsetof(struct linear_weight, bias), s, false, err);
}

static tempera_status add_linear(struct binder *b, int32_t layer, size_t target, struct linear_shape s,
                                 enum bias_rule rule, tempera_error *err) {
    s.transposed = layer != OUTSIDE && b->arch->transposed;
    TRY(add_linear_part(b, layer, target, &s, true, err));
    return add_bias(b, layer, target, &s, rule, err);
}

/* ---- the whole model --------------------------------------------------------------------------------------------- */

#define LAYER(member) offsetof(struct layer_weights, member)

static tempera_status add_layer(struct binder *b, int32_t layer, tempera_error *err) {
    const struct arch *arch = b->arch;
    const struct hparams *hp = b->hp;
    bool qk_norm = arch->qk_norm == QK_NORM_ALWAYS || (arch->qk_norm == QK_NORM_BY_CONFIG && b->config->qk_norm == 1);

    TRY(add_norm(b, layer, LAYER(attention_norm), arch->attention_norm, hp->D, err));
    TRY(add_linear(b, layer, LAYER(qkv), qkv_shape(arch, hp), arch->qkv_bias, err));
    TRY(add_norm(b, layer, LAYER(q_norm), qk_norm ? arch->q_norm : NULL, hp->Dh, err));
    TRY(add_norm(b, layer, LAYER(k_norm), qk_norm ? arch->k_norm : NULL, hp->Dh, err));
    struct linear_shape out = one_tensor(arch->attention_out, hp->D, hp->H * hp->Dh);
    TRY(add_linear(b, layer, LAYER(attention_out), out, arch->attention_out_bias, err));
    TRY(add_norm(b, layer, LAYER(attention_post_norm), arch->attention_post_norm, hp->D, err));

    TRY(add_norm(b, layer, LAYER(mlp_norm), arch->mlp_norm, hp->D, err));
    TRY(add_linear(b, layer, LAYER(up), up_shape(arch, hp), arch->mlp_bias, err));
    struct linear_shape down = one_tensor(arch->down, hp->D, hp->F);
    TRY(add_linear(b, layer, LAYER(down), down, arch->mlp_bias, err));
    return add_norm(b, layer, LAYER(mlp_post_norm), arch->mlp_post_norm, hp->D, err);
}

#define MODEL(member) offsetof(struct weights, member)

static tempera_status add_model(struct binder *b, tempera_error *err) {
    const struct arch *arch = b->arch;
    const struct hparams *hp = b->hp;
    TRY(add_linear(b, OUTSIDE, MODEL(embed), one_tensor(arch->embed, hp->V, hp->D), BIAS_NEVER, err));
    if (!arch->rotary) {
        struct linear_shape positions = one_tensor(arch->positions, hp->context, hp->D);
        TRY(add_linear(b, OUTSIDE, MODEL(positions), positions, BIAS_NEVER, err));
    }
    for (int32_t layer = 0; layer < hp->L; layer++) TRY(add_layer(b, layer, err));
    TRY(add_norm(b, OUTSIDE, MODEL(final_norm), arch->final_norm, hp->D, err));
    struct linear_shape head = one_tensor(arch->head[0], hp->V, hp->D);
    if (hp->tied) return add_bias(b, OUTSIDE, MODEL(head), &head, arch->head_bias, err);
    return add_linear(b, OUTSIDE, MODEL(head), head, arch->head_bias, err);
}

/* ---- tensors that nobody asked for ------------------------------------------------------------------------------- */

static const char *skip_prefix(const char *name, const char *prefix) {
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : name;
}

/* Old files carry causal masks and rotary tables along, and some a second copy of a tied head. */
static bool is_ignorable(const struct binder *b, const char *name) {
    for (int i = 0; i < ARCH_MAX_NAMES && b->arch->elsewhere[i]; i++)
        if (strcmp(name, b->arch->elsewhere[i]) == 0) return true;
    for (int i = 0; b->hp->tied && i < ARCH_MAX_NAMES && b->arch->head[i]; i++)
        if (strcmp(skip_prefix(name, b->arch->head[i]), ".weight") == 0) return true;
    const char *rest = skip_prefix(name, b->arch->prefix);
    const char *number = skip_prefix(rest, b->arch->layer);
    size_t digits = strspn(number, "0123456789");
    if (number == rest || digits == 0 || number[digits] != '.') return false;
    for (int i = 0; i < ARCH_MAX_NAMES && b->arch->ignored[i]; i++)
        if (strcmp(number + digits + 1, b->arch->ignored[i]) == 0) return true;
    return false;
}

static tempera_status refuse_unknown(const struct binder *b, tempera_error *err) {
    for (size_t i = 0; b->set && i < tensor_set_count(b->set); i++) {
        const struct tensor_view *view = tensor_set_at(b->set, i);
        if (map_get(&b->used, view->name, strlen(view->name)) || is_ignorable(b, view->name)) continue;
        return fail(err, TEMPERA_FORMAT, "%s: tensor \"%s\" is not part of a %s model with %d layers%s", view->file,
                    view->name, b->arch->family, b->hp->L, b->hp->tied ? " and tied embeddings" : "");
    }
    return TEMPERA_OK;
}

/* Of the weights of the layers' matrices: the type of blocks that more than half are of, if that is Q8_0 or Q4_0. */
static enum weight_type find_blocks(const struct parameter_list *list) {
    size_t all = 0, q8 = 0, q4 = 0;
    for (size_t i = 0; i < list->count; i++)
        for (int32_t s = 0; list->items[i].matrix && list->items[i].layer >= 0 && s < list->items[i].sources; s++) {
            const struct source *source = &list->items[i].source[s];
            const size_t weights = source->rows * source->cols;
            all += weights;
            if (source->view && source->view->dtype == DTYPE_Q8_0) q8 += weights;
            if (source->view && source->view->dtype == DTYPE_Q4_0) q4 += weights;
        }
    return q8 > all / 2 ? WEIGHT_Q8 : q4 > all / 2 ? WEIGHT_Q4 : WEIGHT_PACKED_COUNT;
}

tempera_status parameters_list(struct parameter_list *list, const struct arch *arch, const struct model_config *config,
                               const struct hparams *hp, const struct tensor_set *set, tempera_error *err) {
    struct binder b = {.arch = arch, .config = config, .hp = hp, .set = set, .list = list};
    *list = (struct parameter_list){0};
    if (!map_init(&b.used, set ? tensor_set_count(set) : 0)) return fail_memory(err, 0, "tensor names");
    tempera_status status;
    TRY_GOTO(add_model(&b, err));
    TRY_GOTO(refuse_unknown(&b, err));
    list->blocks = find_blocks(list);
cleanup:
    map_free(&b.used);
    if (status != TEMPERA_OK) parameters_free(list);
    return status;
}

void parameters_free(struct parameter_list *list) {
    mem_free(list->items);
    arena_free(&list->names);
    *list = (struct parameter_list){0};
}
