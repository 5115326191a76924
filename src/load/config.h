/* config.h: what config.json and generation_config.json say, in one neutral spelling.
 *
 * Values are as written; what a missing field means depends on the family and is decided by model/arch.c. Both spellings
 * in the wild are read: transformers 4 (torch_dtype, rope_theta, rope_scaling {type|rope_type}) and 5 (dtype,
 * rope_parameters, possibly nested per layer type), and the older GPT-2 / GPT-NeoX names (n_embd, rotary_pct …). */
#ifndef LOAD_CONFIG_H
#define LOAD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { CONFIG_MAX_LAYERS = 1024, CONFIG_MAX_EOS = 16, CONFIG_ABSENT = -1, ROPE_MAX_FACTORS = 256 };

enum rope_scaling {
    ROPE_SCALING_NONE,
    ROPE_SCALING_LINEAR,
    ROPE_SCALING_LLAMA3,
    ROPE_SCALING_YARN,
    ROPE_SCALING_DYNAMIC,
    ROPE_SCALING_LONGROPE
};

/* One set of rotary parameters (Su et al., arXiv 2104.09864; scaled forms as in transformers' modeling_rope_utils). */
struct rope_config {
    double theta;   /* 0 = absent */
    double partial; /* fraction of the head that is rotated; 0 = absent */
    enum rope_scaling scaling;
    double factor;                            /* linear, llama3, yarn, dynamic; 0 = absent */
    double low_freq_factor, high_freq_factor; /* llama3 */
    double original_context;                  /* original_max_position_embeddings; 0 = absent */
    double beta_fast, beta_slow;              /* yarn; 0 = absent (32, 1) */
    double attention_factor;                  /* yarn, longrope; 0 = absent */
    double mscale, mscale_all_dim;            /* yarn; 0 = absent */
    int truncate;                             /* yarn; CONFIG_ABSENT, 0 or 1 */
    int32_t factors; /* longrope: entries of both lists below, half the rotated width; 0 = absent */
    double short_factor[ROPE_MAX_FACTORS], long_factor[ROPE_MAX_FACTORS]; /* [factors] */
};

/* Integers: 0 = absent unless said otherwise. Switches: CONFIG_ABSENT, 0 or 1. Doubles: 0 = absent. */
struct model_config {
    char model_type[64];     /* "llama" … ; never empty after config_parse */
    char architecture[64];   /* architectures[0], "" when absent */
    char dtype[16];          /* "float32", "bfloat16", "float16", or "" */
    int32_t vocab_size;      /* V, 1 … 4,194,304 */
    int32_t width;           /* D: hidden_size | n_embd */
    int32_t layers;          /* L: num_hidden_layers | n_layer, <= CONFIG_MAX_LAYERS */
    int32_t heads;           /* H: num_attention_heads | n_head */
    int32_t kv_heads;        /* Hkv: num_key_value_heads */
    int32_t head_width;      /* Dh: head_dim */
    int32_t ff_width;        /* F: intermediate_size | n_inner */
    int32_t context;         /* max_position_embeddings | n_positions | n_ctx */
    double norm_eps;         /* layer_norm_epsilon | layer_norm_eps | rms_norm_eps | norm_eps */
    char activation[32];     /* hidden_act | hidden_activation | activation_function, "" when absent; hidden_activation
                                (gemma) wins over hidden_act when both are there */
    struct rope_config rope; /* global (full attention) layers */
    struct rope_config rope_local; /* sliding layers where they differ (rope_local_base_freq, nested rope_parameters);
                                      theta 0 = same as rope */
    int tied;                      /* tie_word_embeddings */
    int attention_bias, mlp_bias;
    int parallel_residual;                    /* use_parallel_residual */
    int qk_norm;                              /* qk_layernorm */
    int scale_attn_weights;                   /* gpt2 */
    int scale_attn_by_layer;                  /* scale_attn_by_inverse_layer_idx, gpt2 */
    int use_sliding_window;                   /* qwen2 */
    int32_t sliding_window;                   /* tokens; 0 = none or null */
    int32_t max_window_layers;                /* qwen2; CONFIG_ABSENT when absent */
    int32_t layer_types;                      /* number of entries of layer_types, 0 when absent */
    uint8_t layer_sliding[CONFIG_MAX_LAYERS]; /* [layer_types] 1 = "sliding_attention", 0 = "full_attention" */
    int32_t sliding_pattern;                  /* sliding_window_pattern, 0 = absent */
    double attn_softcap;                      /* attn_logit_softcapping */
    double final_softcap;                     /* final_logit_softcapping */
    double query_scale;                       /* query_pre_attn_scalar */
    double logit_scale, embedding_multiplier, residual_multiplier, attention_multiplier,
        logits_scaling;                                                             /* granite, cohere */
    int32_t eos[CONFIG_MAX_EOS], eos_count;                                         /* eos_token_id: number or list */
    int32_t bos;                                                                    /* CONFIG_ABSENT when absent */
    bool kv_heads_null, sliding_window_null, attn_softcap_null, final_softcap_null; /* the key is there and says null:
                                 "off" (or "as heads"), where a missing key may stand for a family's default */
    bool quantized;                                                                 /* quantization_config is present */
    bool moe; /* num_experts | num_local_experts | n_routed_experts > 1 */
};

/* generation_config.json. `has_*` tells which fields the file sets; eos/bos as above. */
struct generation_config {
    int32_t eos[CONFIG_MAX_EOS], eos_count, bos;
    int do_sample; /* CONFIG_ABSENT, 0, 1: 0 means greedy whatever temperature says */
    bool has_temperature, has_top_k, has_top_p, has_min_p, has_typical_p, has_repetition_penalty, has_no_repeat_ngram,
        has_max_new_tokens, has_min_new_tokens;
    double temperature, top_p, min_p, typical_p, repetition_penalty;
    int32_t top_k, no_repeat_ngram, max_new_tokens, min_new_tokens;
};

/* Reads folder/config.json. Of a multimodal wrapper (no width of its own, but a text_config) the inner object is read;
 * architecture, dtype, eos, bos and tied come from the outer one where the inner has none. Unknown fields are ignored (there are hundreds); a known field of the wrong type or range
 * fails and is named. */
tempera_status config_open(struct model_config *config, const char *folder, tempera_error *err);
tempera_status config_parse(struct model_config *config, const char *text, size_t length, const char *name,
                            tempera_error *err);
/* Reads folder/generation_config.json; a missing file gives an all-absent struct and OK. */
tempera_status generation_config_open(struct generation_config *config, const char *folder, tempera_error *err);
tempera_status generation_config_parse(struct generation_config *config, const char *text, size_t length,
                                       const char *name, tempera_error *err);

#endif
