/* arch.c: the table of families. The facts are those of the classes of the same name in Hugging Face
 * transformers. */
#include "model/arch.h"

#include <string.h>

#include "base/buf.h"

/* Names that most families share. */
#define MODEL_NAMES                                                                                                    \
    .prefix = "model.", .layer = "layers.", .head = {"lm_head"}, .embed = "embed_tokens",                              \
    .attention_norm = "input_layernorm", .ignored = {"self_attn.rotary_emb.inv_freq"}
#define SPLIT_QKV .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}
#define SPLIT_UP  .up = {"mlp.gate_proj", "mlp.up_proj"}

/* The block of Llama and its descendants: RMS norms, a gated MLP, rotary positions over the whole head. */
#define GATED_BLOCK                                                                                                    \
    MODEL_NAMES, .final_norm = "norm", .attention_out = "self_attn.o_proj", .down = "mlp.down_proj", .norm = NORM_RMS, \
                 .gated = true, .rotary = true, .rope_partial = 1

#define LLAMA_BLOCK                                                                                                    \
    GATED_BLOCK, SPLIT_QKV, SPLIT_UP, .mlp_norm = "post_attention_layernorm", .norm_eps = 1e-6, .activation = "silu",  \
                                      .rope_theta = 10000

#define GEMMA_BLOCK                                                                                                    \
    GATED_BLOCK, SPLIT_QKV, SPLIT_UP, .norm_plus_one = true, .norm_eps = 1e-6, .activation = "gelu_pytorch_tanh",      \
                                      .tied = true, .embed_scaled = true, .head_width = 256,                           \
                                      .qkv_bias = BIAS_ATTENTION, .attention_out_bias = BIAS_ATTENTION

/* Gemma 2 and 3 norm the blocks' outputs too, and reuse Llama's name of the MLP's norm for one of those. */
#define GEMMA_FOUR_NORMS                                                                                               \
    .mlp_norm = "pre_feedforward_layernorm", .attention_post_norm = "post_attention_layernorm",                        \
    .mlp_post_norm = "post_feedforward_layernorm", .kv_heads = 4, .query_scale = 256, .window = WINDOW_PATTERN,        \
    .sliding_window = 4096

static const struct arch rows[] = {
    {
        .family = "gpt2",
        .architectures = {"GPT2LMHeadModel", "GPT2Model"},
        .prefix = "transformer.",
        .layer = "h.",
        .head = {"lm_head"},
        .embed = "wte",
        .positions = "wpe",
        .final_norm = "ln_f",
        .attention_norm = "ln_1",
        .mlp_norm = "ln_2",
        .qkv = {"attn.c_attn"},
        .attention_out = "attn.c_proj",
        .up = {"mlp.c_fc"},
        .down = "mlp.c_proj",
        .ignored = {"attn.bias", "attn.masked_bias"},
        .qkv_layout = QKV_ROWS,
        .transposed = true,
        .qkv_bias = BIAS_OPTIONAL,
        .attention_out_bias = BIAS_ALWAYS,
        .mlp_bias = BIAS_ALWAYS,
        .norm = NORM_LAYER,
        .norm_eps = 1e-5,
        .activation = "gelu_new",
        .tied = true,
        .attn_scale_fields = true,
        .ff_factor = 4,
    },
    {
        .family = "gpt_neox",
        .architectures = {"GPTNeoXForCausalLM", "GPTNeoXModel"},
        .prefix = "gpt_neox.",
        .layer = "layers.",
        .head = {"embed_out", "lm_head"},
        .embed = "embed_in",
        .final_norm = "final_layer_norm",
        .attention_norm = "input_layernorm",
        .mlp_norm = "post_attention_layernorm",
        .qkv = {"attention.query_key_value"},
        .attention_out = "attention.dense",
        .up = {"mlp.dense_h_to_4h"},
        .down = "mlp.dense_4h_to_h",
        .ignored = {"attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq"},
        .qkv_layout = QKV_HEADS,
        .qkv_bias = BIAS_ATTENTION,
        .attention_out_bias = BIAS_ATTENTION,
        .attention_bias_default = true,
        .mlp_bias = BIAS_ALWAYS,
        .norm = NORM_LAYER,
        .norm_eps = 1e-5,
        .activation = "gelu",
        .parallel_residual = true,
        .rotary = true,
        .rope_theta = 10000,
        .rope_partial = 0.25,
    },
    {
        .family = "llama",
        .architectures = {"LlamaForCausalLM", "LlamaModel"},
        LLAMA_BLOCK,
        .qkv_bias = BIAS_ATTENTION,
        .attention_out_bias = BIAS_ATTENTION,
        .mlp_bias = BIAS_MLP,
    },
    {
        .family = "mistral",
        .architectures = {"MistralForCausalLM", "MistralModel"},
        LLAMA_BLOCK,
        .kv_heads = 8,
        .window = WINDOW_ALL,
        .sliding_window = 4096,
    },
    {
        .family = "qwen2",
        .architectures = {"Qwen2ForCausalLM", "Qwen2Model"},
        LLAMA_BLOCK,
        .qkv_bias = BIAS_ALWAYS,
        .kv_heads = 32,
        .window = WINDOW_SWITCHED,
        .sliding_window = 4096,
        .max_window_layers = 28,
    },
    {
        .family = "qwen3",
        .architectures = {"Qwen3ForCausalLM", "Qwen3Model"},
        LLAMA_BLOCK,
        .qkv_bias = BIAS_ATTENTION,
        .attention_out_bias = BIAS_ATTENTION,
        .q_norm = "self_attn.q_norm",
        .k_norm = "self_attn.k_norm",
        .qk_norm = QK_NORM_ALWAYS,
        .kv_heads = 32,
        .head_width = 128,
        .window = WINDOW_SWITCHED,
        .sliding_window = 4096,
        .max_window_layers = 28,
    },
    {
        .family = "phi",
        .architectures = {"PhiForCausalLM", "PhiModel"},
        MODEL_NAMES,
        SPLIT_QKV,
        .final_norm = "final_layernorm",
        .attention_out = "self_attn.dense",
        .q_norm = "self_attn.q_layernorm",
        .k_norm = "self_attn.k_layernorm",
        .qk_norm = QK_NORM_BY_CONFIG,
        .up = {"mlp.fc1"},
        .down = "mlp.fc2",
        .qkv_bias = BIAS_ALWAYS,
        .attention_out_bias = BIAS_ALWAYS,
        .mlp_bias = BIAS_ALWAYS,
        .head_bias = BIAS_ALWAYS,
        .norm = NORM_LAYER,
        .norm_eps = 1e-5,
        .activation = "gelu_new",
        .parallel_residual = true,
        .rotary = true,
        .rope_theta = 10000,
        .rope_partial = 0.5,
    },
    {
        .family = "phi3",
        .architectures = {"Phi3ForCausalLM", "Phi3Model"},
        GATED_BLOCK,
        .mlp_norm = "post_attention_layernorm",
        .qkv = {"self_attn.qkv_proj"},
        .qkv_layout = QKV_ROWS,
        .up = {"mlp.gate_up_proj"},
        .norm_eps = 1e-5,
        .activation = "silu",
        .rope_theta = 10000,
        .rope_original_context = 4096,
        .window = WINDOW_ALL,
    },
    {
        .family = "gemma",
        .architectures = {"GemmaForCausalLM", "GemmaModel"},
        GEMMA_BLOCK,
        .mlp_norm = "post_attention_layernorm",
        .gelu_is_tanh = true,
        .kv_heads = 16,
        .rope_theta = 10000,
    },
    {
        .family = "gemma2",
        .architectures = {"Gemma2ForCausalLM", "Gemma2Model"},
        GEMMA_BLOCK,
        GEMMA_FOUR_NORMS,
        .attn_softcapped = true,
        .attn_softcap = 50,
        .final_softcapped = true,
        .final_softcap = 30,
        .rope_theta = 10000,
        .sliding_pattern = 2,
    },
    {
        .family = "gemma3_text",
        .architectures = {"Gemma3ForCausalLM", "Gemma3TextModel"},
        GEMMA_BLOCK,
        GEMMA_FOUR_NORMS,
        .q_norm = "self_attn.q_norm",
        .k_norm = "self_attn.k_norm",
        .qk_norm = QK_NORM_ALWAYS,
        .final_softcapped = true,
        .rope_theta = 1000000,
        .rope_local_theta = 10000,
        .sliding_pattern = 6,
    },
};

enum { ROWS = sizeof rows / sizeof rows[0] };

const struct arch *arch_at(size_t i) {
    return i < ROWS ? &rows[i] : NULL;
}

static tempera_status refuse_type(const char *model_type, const char *name, tempera_error *err) {
    struct buf known = {.max = 256};
    for (size_t i = 0; i < ROWS; i++)
        if (buf_printf(&known, NULL, i ? ", %s" : "%s", rows[i].family) != TEMPERA_OK) break;
    tempera_status status = fail(err, TEMPERA_UNSUPPORTED, "%s: model_type: \"%s\" is not supported (supported are %s)",
                                 name, model_type, known.data ? known.data : "others");
    buf_free(&known);
    return status;
}

static bool accepts_architecture(const struct arch *arch, const char *architecture) {
    if (!architecture[0]) return true; /* config.json does not say */
    for (int i = 0; i < ARCH_MAX_NAMES && arch->architectures[i]; i++)
        if (strcmp(arch->architectures[i], architecture) == 0) return true;
    return false;
}

tempera_status arch_find(const struct arch **arch, const struct model_config *config, const char *name,
                         tempera_error *err) {
    if (config->quantized)
        return fail(err, TEMPERA_UNSUPPORTED,
                    "%s: quantization_config: quantised weights are not supported, only F32, F16 and BF16", name);
    size_t row = 0;
    while (row < ROWS && strcmp(rows[row].family, config->model_type) != 0) row++;
    if (row == ROWS) return refuse_type(config->model_type, name, err);
    if (config->moe) return fail(err, TEMPERA_UNSUPPORTED, "%s: mixture-of-experts models are not supported", name);
    if (!accepts_architecture(&rows[row], config->architecture))
        return fail(err, TEMPERA_UNSUPPORTED,
                    "%s: architectures: \"%s\" is not supported, only \"%s\" for model_type \"%s\"", name,
                    config->architecture, rows[row].architectures[0], config->model_type);
    *arch = &rows[row];
    return TEMPERA_OK;
}
