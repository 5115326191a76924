/* test_arch.c: what config.json means for each family, and what is refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "model/arch.h"

/* hp is static because of its size; Criterion runs each test in a process of its own. */
static struct hparams hp;

static tempera_status resolve(const char *json, tempera_error *err) {
    static struct model_config config;
    const struct arch *arch;
    TRY(config_parse(&config, json, strlen(json), "config.json", err));
    TRY(arch_find(&arch, &config, "config.json", err));
    return hparams_resolve(&hp, arch, &config, "config.json", err);
}

static void accept(const char *json) {
    tempera_error err = {0};
    cr_assert(resolve(json, &err) == TEMPERA_OK, "%s", err.message);
}

static void refuse(const char *json, tempera_status status, const char *message) {
    tempera_error err = {0};
    cr_expect(resolve(json, &err) == status, "found status %d for %s", (int)err.status, json);
    cr_expect(strcmp(err.message, message) == 0, "expected: %s\n   found: %s", message, err.message);
}

#define WIDTHS "\"vocab_size\": 97, \"hidden_size\": 64, \"num_hidden_layers\": 4, \"num_attention_heads\": 8, "
#define SIZES  WIDTHS "\"intermediate_size\": 100, \"max_position_embeddings\": 8192"

/* ---- the table --------------------------------------------------------------------------------------------------- */

Test(arch, rows_are_complete) {
    size_t count = 0;
    for (const struct arch *a; (a = arch_at(count)); count++) {
        cr_expect(a->family && a->architectures[0] && a->prefix && a->layer && a->head[0] && a->embed && a->final_norm);
        cr_expect(a->attention_norm && a->qkv[0] && a->attention_out && a->up[0] && a->down && a->activation,
                  "%s: a name is missing", a->family);
        cr_expect((a->qkv_layout == QKV_SPLIT) == (a->qkv[1] != NULL), "%s: qkv", a->family);
        cr_expect(a->mlp_norm || a->parallel_residual, "%s: sequential blocks need two norms", a->family);
        cr_expect(a->rotary == !a->positions, "%s: positions", a->family);
        cr_expect(!a->rotary || (a->rope_theta > 0 && a->rope_partial > 0), "%s: rotary", a->family);
        cr_expect(!a->up[1] || a->gated, "%s: gate and up", a->family);
        cr_expect(!a->attention_post_norm || a->norm == NORM_RMS, "%s: there is no room for its bias", a->family);
        cr_expect(a->norm_eps > 0);
    }
    cr_expect(count == 11);
}

/* ---- families with everything left out that may be --------------------------------------------------------------- */

Test(arch, gpt2_defaults) {
    accept("{\"model_type\": \"gpt2\", \"vocab_size\": 50257, \"n_embd\": 768, \"n_layer\": 12, \"n_head\": 12, "
           "\"n_positions\": 1024}");
    cr_expect(strcmp(hp.family, "gpt2") == 0);
    cr_expect(hp.F == 3072 && hp.Dh == 64 && hp.Hkv == 12 && hp.context == 1024 && hp.rotary == 0);
    cr_expect(hp.norm == NORM_LAYER && hp.norm_eps == 1e-5f && hp.activation == ACT_GELU_TANH && !hp.gated);
    cr_expect(hp.tied && !hp.parallel_residual && hp.embed_scale == 1 && hp.logit_scale == 1);
    cr_expect(hp.attn_scale == 0.125f && !hp.attn_scale_by_layer && hp.attn_softcap == 0 && hp.logit_softcap == 0);
}

Test(arch, gpt2_attention_scale) {
    accept("{\"model_type\": \"gpt2\", \"n_positions\": 1024, " WIDTHS
           "\"scale_attn_weights\": false, \"scale_attn_by_inverse_layer_idx\": true}");
    cr_expect(hp.attn_scale == 1 && hp.attn_scale_by_layer && hp.F == 256);
}

Test(arch, gpt_neox_defaults) {
    accept("{\"model_type\": \"gpt_neox\", " SIZES "}");
    cr_expect(hp.parallel_residual && !hp.tied && hp.activation == ACT_GELU_ERF && hp.norm_eps == 1e-5f);
    cr_expect(hp.rotary == 2 && hp.rope.theta == 10000 && !hp.rotary_interleaved);
    accept("{\"model_type\": \"gpt_neox\", \"use_parallel_residual\": false, \"rotary_pct\": 1.0, " SIZES "}");
    cr_expect(!hp.parallel_residual && hp.rotary == 8);
}

Test(arch, llama_defaults) {
    accept("{\"model_type\": \"llama\", \"use_parallel_residual\": true, \"sliding_window\": 16, " SIZES "}");
    cr_expect(hp.Hkv == 8 && hp.Dh == 8 && hp.norm == NORM_RMS && hp.norm_eps == 1e-6f && hp.gated);
    cr_expect(hp.activation == ACT_SILU && !hp.tied && hp.rotary == 8 && hp.rope.scaling == ROPE_SCALING_NONE);
    cr_expect(hp.window[0] == 0 && !hp.parallel_residual, "fields that the family does not have count for nothing");
}

Test(arch, mistral_window) {
    accept("{\"model_type\": \"mistral\", " SIZES "}");
    cr_expect(hp.window[0] == 4096 && hp.window[3] == 4096 && hp.Hkv == 8);
    accept("{\"model_type\": \"mistral\", \"sliding_window\": null, \"num_key_value_heads\": 2, " SIZES "}");
    cr_expect(hp.window[0] == 0 && hp.Hkv == 2);
    accept("{\"model_type\": \"mistral\", \"sliding_window\": 8192, " SIZES "}");
    cr_expect(hp.window[0] == 0, "a window as long as the context is none");
}

Test(arch, qwen_windows) {
    accept("{\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, \"sliding_window\": 64, " SIZES "}");
    cr_expect(hp.window[0] == 0 && hp.window[3] == 0, "off unless use_sliding_window says so");
    accept("{\"model_type\": \"qwen2\", \"num_key_value_heads\": null, \"use_sliding_window\": true, "
           "\"sliding_window\": 64, "
           "\"max_window_layers\": 2, " SIZES "}");
    cr_expect(hp.window[1] == 0 && hp.window[2] == 64 && hp.Hkv == 8);
    accept(
        "{\"model_type\": \"qwen3\", \"num_key_value_heads\": 2, \"use_sliding_window\": true, \"sliding_window\": 64, "
        "\"layer_types\": [\"sliding_attention\", \"full_attention\", \"full_attention\", "
        "\"sliding_attention\"], " SIZES "}");
    cr_expect(hp.window[0] == 64 && hp.window[1] == 0 && hp.window[2] == 0 && hp.window[3] == 64 && hp.Dh == 128);
}

Test(arch, phi_defaults) {
    accept("{\"model_type\": \"phi\", " SIZES "}");
    cr_expect(hp.parallel_residual && hp.rotary == 4 && hp.activation == ACT_GELU_TANH && hp.norm == NORM_LAYER &&
              !hp.gated);
    accept("{\"model_type\": \"phi\", \"use_parallel_residual\": false, " SIZES "}");
    cr_expect(hp.parallel_residual, "with one norm there is no other way");
}

Test(arch, phi3_defaults) {
    accept("{\"model_type\": \"phi3\", " SIZES "}");
    cr_expect(hp.norm_eps == 1e-5f && hp.rotary == 8 && hp.window[0] == 0 && hp.gated);
}

Test(arch, gemma_defaults) {
    accept("{\"model_type\": \"gemma\", \"hidden_act\": \"gelu\", \"num_key_value_heads\": 1, " SIZES "}");
    cr_expect(hp.activation == ACT_GELU_TANH && hp.Dh == 256 && hp.tied && hp.embed_scale == 8);
    cr_expect(hp.attn_scale == 1 / 16.0f && hp.logit_softcap == 0 && hp.window[0] == 0);
}

Test(arch, gemma2_defaults) {
    accept("{\"model_type\": \"gemma2\", \"head_dim\": 16, " SIZES "}");
    cr_expect(hp.attn_softcap == 50 && hp.logit_softcap == 30 && hp.attn_scale == 1 / 16.0f && hp.Hkv == 4);
    cr_expect(hp.window[0] == 4096 && hp.window[1] == 0 && hp.window[2] == 4096 && hp.window[3] == 0);
    cr_expect(hp.rope_local[0] == 0);
    accept("{\"model_type\": \"gemma2\", \"attn_logit_softcapping\": null, \"final_logit_softcapping\": null, "
           "\"query_pre_attn_scalar\": 64, " SIZES "}");
    cr_expect(hp.attn_softcap == 0 && hp.logit_softcap == 0 && hp.attn_scale == 0.125f);
}

Test(arch, gemma3_layers) {
    accept("{\"model_type\": \"gemma3_text\", \"sliding_window_pattern\": 2, \"rope_scaling\": {\"rope_type\": "
           "\"linear\", "
           "\"factor\": 8.0}, " SIZES "}");
    cr_expect(hp.attn_softcap == 0 && hp.window[0] == 4096 && hp.window[1] == 0);
    cr_expect(hp.rope_local[0] == 1 && hp.rope_local[1] == 0);
    cr_expect(hp.rope.theta == 1e6 && hp.rope.factor == 8 && hp.rope_local_config.theta == 1e4);
    cr_expect(hp.rope_local_config.scaling == ROPE_SCALING_NONE);
}

Test(arch, yarn_extends_the_context) {
    accept("{\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, "
           "\"original_max_position_embeddings\": 8192}, " SIZES "}");
    cr_expect(hp.context == 32768 && hp.rope.beta_fast == 32 && hp.rope.beta_slow == 1);
    accept("{\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}, " SIZES "}");
    cr_expect(hp.context == 8192, "linear files already say what they were extended to");
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

Test(arch, refusals) {
    refuse("{\"model_type\": \"mamba\"}", TEMPERA_UNSUPPORTED,
           "config.json: model_type: \"mamba\" is not supported (supported are gpt2, gpt_neox, llama, mistral, qwen2, "
           "qwen3, "
           "phi, phi3, gemma, gemma2, gemma3_text)");
    refuse("{\"model_type\": \"llama\", \"architectures\": [\"LlamaForSequenceClassification\"], " SIZES "}",
           TEMPERA_UNSUPPORTED,
           "config.json: architectures: \"LlamaForSequenceClassification\" is not supported, only \"LlamaForCausalLM\" "
           "for "
           "model_type \"llama\"");
    refuse("{\"model_type\": \"llama\", \"quantization_config\": {\"bits\": 4}, " SIZES "}", TEMPERA_UNSUPPORTED,
           "config.json: quantization_config: quantised weights are not supported, only F32, F16 and BF16");
    refuse("{\"model_type\": \"qwen2\", \"num_experts\": 8, " SIZES "}", TEMPERA_UNSUPPORTED,
           "config.json: mixture-of-experts models are not supported");
    refuse("{\"model_type\": \"llama\", \"hidden_act\": \"quick_gelu\", " SIZES "}", TEMPERA_UNSUPPORTED,
           "config.json: activation \"quick_gelu\" is not supported");
}

Test(arch, inconsistent_sizes) {
    refuse("{\"model_type\": \"llama\", \"hidden_size\": 64}", TEMPERA_FORMAT, "config.json: vocab_size is missing");
    refuse("{\"model_type\": \"llama\", " WIDTHS "\"max_position_embeddings\": 64}", TEMPERA_FORMAT,
           "config.json: intermediate_size is missing");
    refuse("{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 64, \"num_hidden_layers\": 1, "
           "\"num_attention_heads\": 7, \"intermediate_size\": 9, \"max_position_embeddings\": 9}",
           TEMPERA_FORMAT, "config.json: num_attention_heads: expected a divisor of hidden_size (64), found 7");
    refuse("{\"model_type\": \"llama\", \"num_key_value_heads\": 3, " SIZES "}", TEMPERA_FORMAT,
           "config.json: num_key_value_heads: expected a divisor of num_attention_heads (8), found 3");
    refuse("{\"model_type\": \"llama\", \"partial_rotary_factor\": 0.4, " SIZES "}", TEMPERA_FORMAT,
           "config.json: partial_rotary_factor: expected an even number of rotated elements in [2, 8] (the head "
           "width), found "
           "0.40000000000000002 of it");
    refuse("{\"model_type\": \"phi3\", \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1], "
           "\"long_factor\": "
           "[1, 2]}, " SIZES "}",
           TEMPERA_FORMAT,
           "config.json: short_factor and long_factor: expected 4 factors each (half of the rotated width), found 2");
}

Test(arch, sizes_that_overflow) {
    tempera_error err;
    cr_expect(
        resolve("{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 1048576, \"num_hidden_layers\": 1, "
                "\"num_attention_heads\": 65536, \"head_dim\": 65536, \"intermediate_size\": 9, "
                "\"max_position_embeddings\": 9}",
                &err) == TEMPERA_UNSUPPORTED);
    cr_expect(resolve("{\"model_type\": \"llama\", \"max_position_embeddings\": 1000000000, " WIDTHS
                      "\"intermediate_size\": 9}",
                      &err) == TEMPERA_UNSUPPORTED);
}
