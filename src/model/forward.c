/* forward.c: the one forward pass, for every family and every backend. Follow a token from the bottom up:
 * forward() looks its embedding up, takes it through the layers and asks for the logits; a layer is
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

/* The norm that makes a block's input h from the residual stream x, with what is pending added to x first. */
static struct norm_params input_norm(struct pass *p, const float *weight, const float *bias) {
    const struct hparams *hp = &p->n->hp;
    const struct activations *a = &p->n->activations;
    struct norm_params norm = {.out = a->h,
                               .out_operand = true,
                               .residual = a->x,
                               .add = p->pending,
                               .weight = weight,
                               .bias = bias,
                               .kind = hp->norm,
                               .eps = hp->norm_eps,
                               .T = p->T,
                               .D = hp->D};
    p->pending = NULL;
    return norm;
}

/* x += weight · in; with a norm of the block's output in between, the sum waits for the next norm of x. */
static tempera_status join(struct pass *p, const void *in, const struct linear_weight *weight, const float *post_norm,
                           tempera_error *err) {
    const struct hparams *hp = &p->n->hp;
    const struct activations *a = &p->n->activations;
    struct linear_params linear = {.out = post_norm ? a->out : a->x,
                                   .in = in,
                                   .in_operand = true,
                                   .weight = weight,
                                   .accumulate = !post_norm,
                                   .T = p->T,
                                   .out_stride = weight->N};
    TRY(p->ops->linear(p->backend, &linear, err));
    if (!post_norm) return TEMPERA_OK;
    struct norm_params norm = {.out = a->delta,
                               .residual = a->out,
                               .weight = post_norm,
                               .kind = hp->norm,
                               .eps = hp->norm_eps,
                               .T = p->T,
                               .D = hp->D};
    p->pending = a->delta;
    return p->ops->norm(p->backend, &norm, err);
}

/* heads = attention over the pages of each sequence, for the input h that `norm` makes (NULL: that is there). */
static tempera_status attend(struct pass *p, int32_t layer, const struct norm_params *norm, tempera_error *err) {
    const struct hparams *hp = &p->n->hp;
    const struct activations *a = &p->n->activations;
    const struct weights *w = &p->n->weights;
    const struct layer_weights *l = &w->layer[layer];

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
    struct linear_params qkv = {.out = a->qkv,
                                .in = a->h,
                                .in_operand = true,
                                .weight = &l->qkv,
                                .norm = norm,
                                .rope = &rope,
                                .T = p->T,
                                .out_stride = l->qkv.N};
    TRY(p->ops->linear(p->backend, &qkv, err));

    struct attention_params attention = {
        .out = a->heads,
        .out_operand = true,
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

/* The inside of the MLP, for the input h as above; its output waits in `gated` for the last linear layer. */
static tempera_status expand(struct pass *p, const struct layer_weights *l, const struct norm_params *norm,
                             tempera_error *err) {
    const struct hparams *hp = &p->n->hp;
    const struct activations *a = &p->n->activations;
    struct linear_params up = {.out = a->gated,
                               .out_operand = true,
                               .in = a->h,
                               .in_operand = true,
                               .weight = &l->up,
                               .activation = hp->activation,
                               .gate_scratch = a->up,
                               .norm = norm,
                               .T = p->T,
                               .out_stride = hp->F};
    return p->ops->linear(p->backend, &up, err);
}

/* x += attention(norm(x)), then x += mlp(norm(x)). */
static tempera_status sequential_layer(struct pass *p, int32_t index, tempera_error *err) {
    const struct activations *a = &p->n->activations;
    const struct layer_weights *l = &p->n->weights.layer[index];
    struct norm_params norm = input_norm(p, l->attention_norm, l->attention_norm_bias);
    TRY(attend(p, index, &norm, err));
    TRY(join(p, a->heads, &l->attention_out, l->attention_post_norm, err));
    norm = input_norm(p, l->mlp_norm, l->mlp_norm_bias);
    TRY(expand(p, l, &norm, err));
    return join(p, a->gated, &l->down, l->mlp_post_norm, err);
}

/* x += attention(norm(x)) + mlp(norm(x)): both norms see the same x, or there is one and h serves both. */
static tempera_status parallel_layer(struct pass *p, int32_t index, tempera_error *err) {
    const struct activations *a = &p->n->activations;
    const struct layer_weights *l = &p->n->weights.layer[index];
    struct norm_params norm = input_norm(p, l->attention_norm, l->attention_norm_bias);
    if (l->mlp_norm) {
        TRY(attend(p, index, &norm, err));
        norm = input_norm(p, l->mlp_norm, l->mlp_norm_bias);
        TRY(p->ops->norm(p->backend, &norm, err));
    } else {
        TRY(p->ops->norm(p->backend, &norm, err));
        TRY(attend(p, index, NULL, err));
    }
    TRY(join(p, a->heads, &l->attention_out, l->attention_post_norm, err));
    TRY(expand(p, l, NULL, err));
    return join(p, a->gated, &l->down, l->mlp_post_norm, err);
}

static tempera_status logits(struct pass *p, tempera_error *err) {
    const struct hparams *hp = &p->n->hp;
    const struct activations *a = &p->n->activations;
    const struct weights *w = &p->n->weights;
    /* Only a norm can add what is pending; this one's output is not needed. */
    if (p->pending) {
        struct norm_params norm = input_norm(p, w->final_norm, w->final_norm_bias);
        TRY(p->ops->norm(p->backend, &norm, err));
    }
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
    for (int32_t i = 0; i < n->hp.L; i++)
        TRY(n->hp.parallel_residual ? parallel_layer(&p, i, err) : sequential_layer(&p, i, err));
    return view->R > 0 ? logits(&p, err) : TEMPERA_OK;
}
