/* arch.h: what tells one family of models from another, as data. A family is one row of the table in arch.c;
 * everything else in src/model is written once. Private to src/model. */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include "model/model.h"

/* When a linear layer has a bias. */
enum bias_rule {
    BIAS_NEVER,
    BIAS_ALWAYS,
    BIAS_OPTIONAL,  /* when layer 0 of the files has it, then in all layers; a model trained without it needs none */
    BIAS_ATTENTION, /* by the field attention_bias */
    BIAS_MLP,       /* by the field mlp_bias */
};

/* How q, k and v lie in the files. */
enum qkv_layout {
    QKV_SPLIT, /* three tensors */
    QKV_ROWS,  /* one: all q heads, all k heads, all v heads */
    QKV_HEADS, /* one: for each head its q, k and v (GPT-NeoX) */
};

/* Which layers attend to a sliding window. */
enum window_rule {
    WINDOW_NONE,
    WINDOW_ALL,      /* every layer */
    WINDOW_SWITCHED, /* use_sliding_window, then layer_types, else layers from max_window_layers on */
    WINDOW_PATTERN,  /* layer_types, else every n-th layer is full */
};

enum qk_norm_rule { QK_NORM_NEVER, QK_NORM_ALWAYS, QK_NORM_BY_CONFIG };

enum { ARCH_MAX_NAMES = 3 };

/* Tensor names are given without ".weight" and ".bias"; NULL = the family has no such tensor. A file may
 * leave out `prefix` everywhere (it was saved from the base model). */
struct arch {
    const char *family;                        /* model_type of config.json, and how messages call it */
    const char *architectures[ARCH_MAX_NAMES]; /* accepted in config.json */
    const char *prefix;                        /* of all names but the head's: "model." */
    const char *layer;                         /* then the layer number and a dot: "layers." */
    const char *head[ARCH_MAX_NAMES];          /* any of these, never prefixed */
    const char *embed, *positions, *final_norm;

    /* inside a layer */
    const char *attention_norm, *mlp_norm;           /* before the blocks; mlp_norm NULL: both read attention_norm */
    const char *attention_post_norm, *mlp_post_norm; /* on a block's output, before it joins the residual stream */
    const char *qkv[3], *attention_out;
    const char *q_norm, *k_norm;
    const char *up[2], *down; /* up: gate and up, or one fused tensor, or the plain first layer */
    const char *elsewhere[3]; /* whole names, outside the layers, of tensors that are no weights and read elsewhere */
    const char *ignored[3];   /* buffers without ".weight" that old files carry: masks, rotary tables */

    enum qkv_layout qkv_layout;
    bool qk_woven;   /* QKV_SPLIT: rows of q and k are woven (struct source) */
    bool transposed; /* linear weights lie as [in, out] */
    bool gated;      /* activation(gate) * up */
    enum bias_rule qkv_bias, attention_out_bias, mlp_bias, head_bias;
    bool attention_bias_default; /* attention_bias when config.json does not say */

    enum norm_kind norm;
    bool norm_plus_one; /* the files hold w of (1 + w) */
    double norm_eps;    /* when config.json does not say; so for all defaults below */
    enum qk_norm_rule qk_norm;

    const char *activation;
    bool gelu_is_tanh;      /* "gelu" in config.json means the tanh form (Gemma) */
    bool parallel_residual; /* attention and MLP read the same stream; with two norms use_parallel_residual
                               decides */
    bool tied;
    bool embed_scaled;     /* embeddings are multiplied by sqrt(D) */
    bool attn_softcapped;  /* attn_logit_softcapping counts */
    bool final_softcapped; /* final_logit_softcapping counts */
    double attn_softcap, final_softcap;
    double query_scale;     /* > 0: scores are scaled by query_pre_attn_scalar^-1/2, not Dh^-1/2 */
    bool attn_scale_fields; /* scale_attn_weights and scale_attn_by_inverse_layer_idx count (GPT-2) */

    int32_t kv_heads;   /* 0 = as many as heads */
    int32_t head_width; /* 0 = D / H */
    int32_t ff_factor;  /* F = factor * D; 0 = intermediate_size is needed */

    bool rotary;             /* false: learned positions */
    bool rotary_interleaved; /* pairs (2i, 2i+1) */
    double rope_theta, rope_partial;
    double rope_original_context; /* longrope's original_max_position_embeddings */
    double rope_local_theta;      /* > 0: sliding layers have rotary parameters of their own */

    enum window_rule window;
    int32_t sliding_window;
    int32_t sliding_pattern; /* WINDOW_PATTERN: layers n-1, 2n-1, … are full */
    int32_t max_window_layers;
};

/* The row for config.json's model_type; refuses unknown ones (the message lists the known), architectures of
 * other kinds, quantised and mixture-of-experts models. `name` starts messages. */
tempera_status arch_find(const struct arch **arch, const struct model_config *config, const char *name,
                         tempera_error *err);
/* i-th row, NULL past the end; for tests and messages. */
const struct arch *arch_at(size_t i);

/* The numbers of the forward pass; every field is checked. `name` starts messages. */
tempera_status hparams_resolve(struct hparams *hp, const struct arch *arch, const struct model_config *config,
                               const char *name, tempera_error *err);

#endif
