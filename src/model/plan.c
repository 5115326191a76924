/* plan.c: what a network will need, before anything is allocated. */
#include "base/num.h"
#include "model/internal.h"
#include "model/region.h"

static tempera_status check_limit(int32_t value, int32_t most, const char *what, tempera_error *err) {
    if (value >= 1 && value <= most) return TEMPERA_OK;
    return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected 1 … %d, found %d", what, most, value);
}

static tempera_status check_limits(const struct backend_limits *limits, const struct hparams *hp, tempera_error *err) {
    enum { MOST = 1 << 24 };
    TRY(check_limit(limits->max_tokens, MOST, "tokens of a step", err));
    TRY(check_limit(limits->max_logits, MOST, "rows of logits of a step", err));
    TRY(check_limit(limits->max_branches, MOST, "branches of a step", err));
    TRY(check_limit(limits->pages, INT32_MAX, "KV pages", err));
    if (limits->context >= 1 && limits->context <= hp->context) return TEMPERA_OK;
    return fail(err, TEMPERA_TOO_LONG, "context: expected 1 … %d tokens (the model's), found %d", hp->context,
                limits->context);
}

static void fill_limits(struct backend_limits *limits, const struct hparams *hp, enum weight_type type) {
    limits->L = hp->L;
    limits->D = hp->D;
    limits->H = hp->H;
    limits->Hkv = hp->Hkv;
    limits->Dh = hp->Dh;
    limits->F = hp->F;
    limits->V = hp->V;
    limits->type = type;
}

bool activations_layout(struct activations *a, const struct model *model, const struct backend *backend,
                        const struct backend_limits *limits, char *base, size_t *bytes) {
    const struct hparams *hp = &model->hp;
    const enum weight_type type = limits->type;
    struct region region = {.base = base};
    const size_t T = (size_t)limits->max_tokens, D = (size_t)hp->D;
    const bool post_norms = model->arch->attention_post_norm || model->arch->mlp_post_norm;
    *a = (struct activations){0};
    a->logits = region_floats(&region, (size_t)limits->max_logits, (size_t)hp->V);
    a->x = region_floats(&region, T, D);
    a->h = region_operands(&region, T, hp->D, backend, type);
    if (post_norms) {
        a->out = region_floats(&region, T, D);
        a->delta = region_floats(&region, T, D);
    }
    /* A block's inner buffers: attention's are dead when the MLP starts, so the two lie over each other. */
    struct region mlp = region;
    a->qkv = region_floats(&region, T, (size_t)(hp->H + 2 * hp->Hkv) * (size_t)hp->Dh);
    a->heads = region_operands(&region, T, hp->H * hp->Dh, backend, type);
    if (hp->gated) a->up = region_floats(&mlp, T, 2 * (size_t)hp->F);
    a->gated = region_operands(&mlp, T, hp->F, backend, type);
    *bytes = mlp.used > region.used ? mlp.used : region.used;
    return !region.overflow && !mlp.overflow;
}

/* All matrices but those that are looked up and not multiplied. */
static size_t count_step_bytes(const struct model *model, const struct backend *backend, enum weight_type type) {
    size_t bytes = 0;
    for (size_t i = 0; i < model->list.count; i++) {
        const struct parameter *p = &model->list.items[i];
        bool looked_up = p->layer < 0 && (p->target == offsetof(struct weights, positions) ||
                                          (p->target == offsetof(struct weights, embed) && !model->hp.tied));
        if (p->matrix && !looked_up)
            bytes += backend->ops->linear_bytes(backend, packed_type(&model->list, p, type), p->N, p->K);
    }
    return bytes;
}

tempera_status network_plan_make(struct network_plan *plan, const struct model *model, const struct backend *backend,
                                 enum weight_type type, const struct backend_limits *limits, tempera_error *err) {
    struct network_plan p = {.limits = *limits, .weight_type = type};
    TRY(model_need_weights(model, err));
    TRY(check_limits(limits, &model->hp, err));
    fill_limits(&p.limits, &model->hp, type);

    struct backend_sizes sizes;
    backend->ops->sizes(backend, &p.limits, &sizes);
    p.workspace = sizes.workspace;
    p.step_weights = count_step_bytes(model, backend, type);
    struct activations unused;
    bool fits = weights_layout(NULL, &model->list, &model->hp, backend, type, limits->context, NULL, &p.weights) &&
                activations_layout(&unused, model, backend, &p.limits, NULL, &p.activations) &&
                size_mul((size_t)limits->pages, (size_t)model->hp.L, &p.kv) && size_mul(p.kv, sizes.kv_page, &p.kv);
    size_t total;
    fits = fits && size_add(p.weights, p.kv, &total) && size_add(total, p.activations, &total) &&
           size_add(total, p.workspace, &total);
    if (!fits)
        return fail(err, TEMPERA_OUT_OF_MEMORY,
                    "the memory plan does not fit the address space (%d tokens a step, %d rows of "
                    "logits, %d pages)",
                    limits->max_tokens, limits->max_logits, limits->pages);
    *plan = p;
    return TEMPERA_OK;
}
