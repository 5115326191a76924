/* hparams.c: config.json and a family's row, resolved into the numbers of the forward pass. */
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "model/arch.h"

/* Far above any real model; keeps products of two widths, and byte counts of a token's activations, inside
 * int32_t. */
enum { MAX_ROW = 1 << 28, MAX_CONTEXT = 1 << 24 };

static tempera_status need(int32_t value, const char *field, const char *name, tempera_error *err) {
    if (value > 0) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: %s is missing", name, field);
}

static double either(double value, double otherwise) {
    return value > 0 ? value : otherwise;
}

static bool switched(int value, bool otherwise) {
    return value == CONFIG_ABSENT ? otherwise : value != 0;
}

static tempera_status resolve_widths(struct hparams *hp, const struct arch *arch, const struct model_config *c,
                                     const char *name, tempera_error *err) {
    TRY(need(c->vocab_size, "vocab_size", name, err));
    TRY(need(c->width, "hidden_size", name, err));
    TRY(need(c->layers, "num_hidden_layers", name, err));
    TRY(need(c->heads, "num_attention_heads", name, err));
    TRY(need(c->context, "max_position_embeddings", name, err));
    if (c->layers > CONFIG_MAX_LAYERS || c->context > MAX_CONTEXT)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: more than %d layers or a context of more than %d tokens", name,
                    CONFIG_MAX_LAYERS, MAX_CONTEXT);
    hp->V = c->vocab_size;
    hp->D = c->width;
    hp->L = c->layers;
    hp->H = c->heads;
    hp->context = c->context;

    hp->Hkv = c->kv_heads;
    if (hp->Hkv == 0) hp->Hkv = c->kv_heads_null || arch->kv_heads == 0 ? hp->H : arch->kv_heads;
    if (hp->H % hp->Hkv != 0)
        return fail(err, TEMPERA_FORMAT,
                    "%s: num_key_value_heads: expected a divisor of num_attention_heads (%d), found %d", name, hp->H,
                    hp->Hkv);

    hp->Dh = c->head_width ? c->head_width : arch->head_width;
    if (hp->Dh == 0 && hp->D % hp->H != 0)
        return fail(err, TEMPERA_FORMAT, "%s: num_attention_heads: expected a divisor of hidden_size (%d), found %d",
                    name, hp->D, hp->H);
    if (hp->Dh == 0) hp->Dh = hp->D / hp->H;

    hp->F = c->ff_width;
    if (hp->F == 0 && arch->ff_factor) hp->F = arch->ff_factor * hp->D;
    TRY(need(hp->F, "intermediate_size", name, err));

    int64_t qkv = ((int64_t)hp->H + 2 * (int64_t)hp->Hkv) * hp->Dh;
    if (qkv > MAX_ROW || hp->D > MAX_ROW || hp->F > MAX_ROW / 2 || hp->V > MAX_ROW)
        return fail(err, TEMPERA_UNSUPPORTED,
                    "%s: rows of more than %d elements (hidden_size %d, %d heads of %d, "
                    "intermediate_size %d, vocab_size %d)",
                    name, MAX_ROW, hp->D, hp->H, hp->Dh, hp->F, hp->V);
    return TEMPERA_OK;
}

static tempera_status resolve_activation(struct hparams *hp, const struct arch *arch, const struct model_config *c,
                                         const char *name, tempera_error *err) {
    static const struct {
        const char *name;
        enum activation activation;
    } known[] = {
        {"gelu", ACT_GELU_ERF},       {"gelu_new", ACT_GELU_TANH}, {"gelu_pytorch_tanh", ACT_GELU_TANH},
        {"gelu_fast", ACT_GELU_TANH}, {"silu", ACT_SILU},          {"swish", ACT_SILU},
        {"relu", ACT_RELU},
    };
    const char *wanted = c->activation[0] ? c->activation : arch->activation;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, wanted) != 0) continue;
        hp->activation = known[i].activation;
        if (arch->gelu_is_tanh && hp->activation == ACT_GELU_ERF) hp->activation = ACT_GELU_TANH;
        return TEMPERA_OK;
    }
    return fail(err, TEMPERA_UNSUPPORTED, "%s: activation \"%s\" is not supported", name, wanted);
}

static void resolve_attention(struct hparams *hp, const struct arch *arch, const struct model_config *c) {
    double scaled_width = arch->query_scale > 0 ? either(c->query_scale, arch->query_scale) : hp->Dh;
    hp->attn_scale = (float)(1 / sqrt(scaled_width));
    if (arch->attn_scale_fields) {
        if (!switched(c->scale_attn_weights, true)) hp->attn_scale = 1;
        hp->attn_scale_by_layer = switched(c->scale_attn_by_layer, false);
    }
    if (arch->attn_softcapped && !c->attn_softcap_null)
        hp->attn_softcap = (float)either(c->attn_softcap, arch->attn_softcap);
}

static bool layer_slides(const struct arch *arch, const struct model_config *c, int32_t layer) {
    switch (arch->window) {
    case WINDOW_NONE: return false;
    case WINDOW_ALL: return true;
    case WINDOW_SWITCHED: {
        if (!switched(c->use_sliding_window, false)) return false;
        if (c->layer_types) return c->layer_sliding[layer];
        return layer >= (c->max_window_layers == CONFIG_ABSENT ? arch->max_window_layers : c->max_window_layers);
    }
    case WINDOW_PATTERN:
        if (c->layer_types) return c->layer_sliding[layer];
        return (layer + 1) % (c->sliding_pattern ? c->sliding_pattern : arch->sliding_pattern) != 0;
    }
    return false;
}

static tempera_status resolve_layers(struct hparams *hp, const struct arch *arch, const struct model_config *c,
                                     const char *name, tempera_error *err) {
    if (c->layer_types && c->layer_types != hp->L)
        return fail(err, TEMPERA_FORMAT, "%s: layer_types: expected %d entries (num_hidden_layers), found %d", name,
                    hp->L, c->layer_types);
    int32_t window = c->sliding_window;
    if (window == 0 && !c->sliding_window_null) window = arch->sliding_window;
    if (window >= hp->context) window = 0; /* it would cover every position anyway */
    for (int32_t layer = 0; layer < hp->L; layer++) {
        bool slides = layer_slides(arch, c, layer);
        hp->window[layer] = slides ? window : 0;
        hp->rope_local[layer] = slides && arch->rope_local_theta > 0;
    }
    return TEMPERA_OK;
}

/* What transformers assumes for rotary fields that are absent. */
static void default_rope(struct rope_config *rope, double theta, const struct arch *arch, int32_t context) {
    rope->theta = either(rope->theta, theta);
    rope->partial = either(rope->partial, arch->rope_partial);
    if (rope->scaling == ROPE_SCALING_YARN || rope->scaling == ROPE_SCALING_LONGROPE) {
        double original = rope->scaling == ROPE_SCALING_YARN ? context : arch->rope_original_context;
        rope->original_context = either(rope->original_context, original);
        if (rope->original_context > 0) rope->factor = either(rope->factor, context / rope->original_context);
    }
    rope->beta_fast = either(rope->beta_fast, 32);
    rope->beta_slow = either(rope->beta_slow, 1);
}

static tempera_status check_rope(const struct rope_config *rope, int32_t rotary, const char *name, tempera_error *err) {
    if (rope->scaling != ROPE_SCALING_LONGROPE) return TEMPERA_OK;
    if (rope->factors != rotary / 2)
        return fail(err, TEMPERA_FORMAT,
                    "%s: short_factor and long_factor: expected %d factors each (half of the "
                    "rotated width), found %d",
                    name, rotary / 2, rope->factors);
    if (!(rope->original_context > 1))
        return fail(err, TEMPERA_FORMAT, "%s: longrope needs original_max_position_embeddings", name);
    return TEMPERA_OK;
}

static tempera_status resolve_positions(struct hparams *hp, const struct arch *arch, const struct model_config *c,
                                        const char *name, tempera_error *err) {
    if (!arch->rotary) return TEMPERA_OK;
    hp->rotary_interleaved = arch->rotary_interleaved;
    hp->rope = c->rope;
    default_rope(&hp->rope, arch->rope_theta, arch, hp->context);
    hp->rope_local_config = c->rope_local;
    default_rope(&hp->rope_local_config, arch->rope_local_theta, arch, hp->context);

    double rotary = floor(hp->Dh * hp->rope.partial);
    if (rotary < 2 || rotary > hp->Dh || fmod(rotary, 2) != 0)
        return fail(err, TEMPERA_FORMAT,
                    "%s: partial_rotary_factor: expected an even number of rotated elements in [2, %d] "
                    "(the head width), found %.17g of it",
                    name, hp->Dh, hp->rope.partial);
    hp->rotary = (int32_t)rotary;
    TRY(check_rope(&hp->rope, hp->rotary, name, err));
    TRY(check_rope(&hp->rope_local_config, hp->rotary, name, err));

    /* Files that extend a model with yarn keep the old max_position_embeddings beside the factor. */
    double extended = hp->rope.original_context * hp->rope.factor;
    if (hp->rope.scaling == ROPE_SCALING_YARN && extended > hp->context)
        hp->context = (int32_t)fmin(extended, MAX_CONTEXT);
    return TEMPERA_OK;
}

tempera_status hparams_resolve(struct hparams *hp, const struct arch *arch, const struct model_config *c,
                               const char *name, tempera_error *err) {
    *hp = (struct hparams){.family = arch->family, .norm = arch->norm, .gated = arch->gated, .logit_scale = 1};
    TRY(resolve_widths(hp, arch, c, name, err));
    TRY(resolve_activation(hp, arch, c, name, err));
    TRY(resolve_positions(hp, arch, c, name, err));
    TRY(resolve_layers(hp, arch, c, name, err));
    resolve_attention(hp, arch, c);
    hp->norm_eps = (float)either(c->norm_eps, arch->norm_eps);
    hp->tied = switched(c->tied, arch->tied);
    hp->parallel_residual = arch->parallel_residual && (!arch->mlp_norm || switched(c->parallel_residual, true));
    hp->embed_scale = arch->embed_scaled ? sqrtf((float)hp->D) : 1;
    if (arch->final_softcapped && !c->final_softcap_null)
        hp->logit_softcap = (float)either(c->final_softcap, arch->final_softcap);
    return TEMPERA_OK;
}
