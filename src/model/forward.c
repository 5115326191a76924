/* forward.c: the one forward pass, for every family and every backend. Follow a token from the bottom up:
 * forward() looks its embedding up, takes it through the layers and asks for the logits; layer() is
 * attention, then the MLP. What a family lacks is a NULL weight, what it does its own way is a number in
 * hparams. */
#include "model/internal.h"

struct pass {
    const struct network *n;
    struct backend *backend;
    const struct backend_ops *ops;
    int32_t T;
    const float *pending; /* [T, D] a block's output that the next norm adds to the residual stream; NULL = none */
};

static tempera_status linear(struct pass *p, float *out, const float *in, const struct linear_weight *weight,
                             enum activation activation, bool accumulate, tempera_error *err) {
    struct linear_params params = {.out = out,
                                   .in = in,
                                   .weight = weight,
                                   .activation = activation,
                                   .accumulate = accumulate,
                                   .T = p->T,
                                   .out_stride = weight->N};
    return p->ops->linear(p->backend, &params, err);
}

/* out = norm(residual), with what is pending added to the residual stream first. */
static tempera_status norm(struct pass *p, float *out, float *residual, const float *weight, const float *bias,
                           tempera_error *err) {
    const struct hparams *hp = &p->n->hp;
    struct norm_params params = {.out = out,
                                 .residual = residual,
                                 .weight = weight,
                                 .bias = bias,
                                 .kind = hp->norm,
                                 .eps = hp->norm_eps,
                                 .T = p->T,
                                 .D = hp->D};
    if (residual == p->n->activations.x) {
        params.add = p->pending;
        p->pending = NULL;
    }
    return p->ops->norm(p->backend, &params, err);
}

/* x += weight · in; with a norm of the block's output in between, the sum waits for the next norm of x. */
static tempera_status join(struct pass *p, const float *in, const struct linear_weight *weight, const float *post_norm,
                           tempera_error *err) {
    const struct activations *a = &p->n->activations;
    if (!post_norm) return linear(p, a->x, in, weight, ACT_NONE, true, err);
    TRY(linear(p, a->out, in, weight, ACT_NONE, false, err));
    TRY(norm(p, a->delta, a->out, post_norm, NULL, err));
    p->pending = a->delta;
    return TEMPERA_OK;
}

/* heads = attention over the pages of each sequence, for the normed input h. */
static tempera_status attend(struct pass *p, int32_t layer, tempera_error *err) {
    const struct hparams *hp = &p->n->hp;
    const struct activations *a = &p->n->activations;
    const struct weights *w = &p->n->weights;
    const struct layer_weights *l = &w->layer[layer];

    TRY(linear(p, a->qkv, a->h, &l->qkv, ACT_NONE, false, err));

    struct rope_store_params rope = {
        .qkv = a->qkv,
        .table = hp->rope_local[layer] ? w->rope_local : w->rope,
        .rotary = hp->rotary,
        .interleaved = hp->rotary_interleaved,
        .q_norm = l->q_norm,
        .q_norm_bias = l->q_norm_bias,
        .k_norm = l->k_norm,
        .k_norm_bias = l->k_norm_bias,
        .norm = hp->norm,
        .norm_eps = hp->norm_eps,
        .layer = layer,
        .T = p->T,
        .H = hp->H,
        .Hkv = hp->Hkv,
        .Dh = hp->Dh,
    };
    TRY(p->ops->rope_store(p->backend, &rope, err));

    struct attention_params attention = {
        .out = a->heads,
        .qkv = a->qkv,
        .scale = hp->attn_scale_by_layer ? hp->attn_scale / (float)(layer + 1) : hp->attn_scale,
        .softcap = hp->attn_softcap,
        .window = hp->window[layer],
        .layer = layer,
        .T = p->T,
        .H = hp->H,
        .Hkv = hp->Hkv,
        .Dh = hp->Dh,
    };
    return p->ops->attention(p->backend, &attention, err);
}

/* The inside of the MLP, for the normed input h; its output waits in `gated` for the last linear layer. */
static tempera_status expand(struct pass *p, const struct layer_weights *l, tempera_error *err) {
    const struct hparams *hp = &p->n->hp;
    const struct activations *a = &p->n->activations;
    TRY(linear(p, a->up, a->h, &l->up, hp->gated ? ACT_NONE : hp->activation, false, err));
    if (!hp->gated) return TEMPERA_OK; /* gated is up */
    struct gate_params gate = {.out = a->gated, .in = a->up, .activation = hp->activation, .T = p->T, .F = hp->F};
    return p->ops->gate(p->backend, &gate, err);
}

/* Sequential: x += attention(norm(x)), then x += mlp(norm(x)). Parallel: both norms see the same x, or h
 * serves both. */
static tempera_status layer(struct pass *p, int32_t index, tempera_error *err) {
    const struct activations *a = &p->n->activations;
    const struct layer_weights *l = &p->n->weights.layer[index];
    const bool parallel = p->n->hp.parallel_residual;

    TRY(norm(p, a->h, a->x, l->attention_norm, l->attention_norm_bias, err));
    TRY(attend(p, index, err));
    if (!parallel) TRY(join(p, a->heads, &l->attention_out, l->attention_post_norm, err));
    if (l->mlp_norm) TRY(norm(p, a->h, a->x, l->mlp_norm, l->mlp_norm_bias, err));
    if (parallel) TRY(join(p, a->heads, &l->attention_out, l->attention_post_norm, err));
    TRY(expand(p, l, err));
    return join(p, a->gated, &l->down, l->mlp_post_norm, err);
}

static tempera_status logits(struct pass *p, tempera_error *err) {
    const struct hparams *hp = &p->n->hp;
    const struct activations *a = &p->n->activations;
    const struct weights *w = &p->n->weights;
    /* Only a norm can add what is pending; this one's output is not needed. */
    if (p->pending) TRY(norm(p, a->h, a->x, w->final_norm, w->final_norm_bias, err));
    struct logits_params params = {.logits = a->logits,
                                   .in = a->x,
                                   .norm_weight = w->final_norm,
                                   .norm_bias = w->final_norm_bias,
                                   .norm = hp->norm,
                                   .norm_eps = hp->norm_eps,
                                   .head = &w->head,
                                   .scale = hp->logit_scale,
                                   .softcap = hp->logit_softcap,
                                   .D = hp->D};
    return p->ops->logits(p->backend, &params, err);
}

tempera_status forward(struct network *n, const struct batch_view *view, tempera_error *err) {
    struct pass p = {.n = n, .backend = n->backend, .ops = n->backend->ops, .T = view->T};
    const struct weights *w = &n->weights;
    const struct linear_weight *positions = w->positions.data ? &w->positions : NULL;

    TRY(p.ops->embed(p.backend, n->activations.x, &w->embed, positions, n->hp.embed_scale, err));
    for (int32_t i = 0; i < n->hp.L; i++) TRY(layer(&p, i, err));
    return view->R > 0 ? logits(&p, err) : TEMPERA_OK;
}
