/* test_config.c: both spellings of config.json give one answer; wrong values are named. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "load/config.h"
#include "support.h"

static tempera_status parse(struct model_config *c, const char *text, tempera_error *err) {
    struct mem_stats before = mem_stats_get();
    tempera_status status = config_parse(c, text, strlen(text), "config.json", err);
    cr_assert_eq(mem_stats_get().live, before.live, "leak");
    return status;
}

static struct model_config good(const char *text) {
    struct model_config c;
    tempera_error err;
    cr_assert_eq(parse(&c, text, &err), TEMPERA_OK, "%s: %s", text, err.message);
    return c;
}

Test(config, nothing_but_a_type) {
    struct model_config c = good("{\"model_type\":\"llama\",\"unknown\":{\"a\":[1]}}");
    cr_assert_str_eq(c.model_type, "llama");
    cr_assert_str_eq(c.architecture, "");
    cr_assert_str_eq(c.dtype, "");
    cr_assert_str_eq(c.activation, "");
    cr_assert(c.vocab_size == 0 && c.width == 0 && c.layers == 0 && c.heads == 0 && c.kv_heads == 0 &&
              c.head_width == 0 && c.ff_width == 0 && c.context == 0 && c.norm_eps == 0);
    cr_assert(c.tied == CONFIG_ABSENT && c.attention_bias == CONFIG_ABSENT && c.mlp_bias == CONFIG_ABSENT &&
              c.parallel_residual == CONFIG_ABSENT && c.qk_norm == CONFIG_ABSENT &&
              c.scale_attn_weights == CONFIG_ABSENT && c.scale_attn_by_layer == CONFIG_ABSENT &&
              c.use_sliding_window == CONFIG_ABSENT && c.max_window_layers == CONFIG_ABSENT && c.bos == CONFIG_ABSENT);
    cr_assert(c.rope.theta == 0 && c.rope.scaling == ROPE_SCALING_NONE && c.rope.truncate == CONFIG_ABSENT);
    cr_assert(c.rope_local.theta == 0 && c.rope_local.truncate == CONFIG_ABSENT);
    cr_assert(c.eos_count == 0 && c.layer_types == 0 && !c.quantized && !c.moe);
    cr_assert(!c.kv_heads_null && !c.sliding_window_null && !c.attn_softcap_null && !c.final_softcap_null);
}

Test(config, gpt2_names) {
    struct model_config c =
        good("{\"model_type\":\"gpt2\",\"architectures\":[\"GPT2LMHeadModel\",\"X\"],\"n_embd\":768,\"n_"
             "layer\":12,"
             "\"n_head\":12,\"n_positions\":1024,\"n_ctx\":512,\"n_inner\":null,\"vocab_size\":50257,"
             "\"layer_norm_epsilon\":1e-5,\"activation_function\":\"gelu_new\",\"scale_attn_weights\":true,"
             "\"scale_attn_by_inverse_layer_idx\":false,\"bos_token_id\":50256,\"eos_token_id\":50256}");
    cr_assert_str_eq(c.architecture, "GPT2LMHeadModel");
    cr_assert(c.width == 768 && c.layers == 12 && c.heads == 12 && c.context == 1024 && c.ff_width == 0);
    cr_assert(c.norm_eps == 1e-5 && c.scale_attn_weights == 1 && c.scale_attn_by_layer == 0);
    cr_assert_str_eq(c.activation, "gelu_new");
    cr_assert(c.bos == 50256 && c.eos_count == 1 && c.eos[0] == 50256);
}

Test(config, null_is_told_from_missing_where_it_matters) {
    struct model_config c =
        good("{\"model_type\":\"gemma2\",\"attn_logit_softcapping\":null,\"final_logit_softcapping\":30.0,"
             "\"sliding_window\":null,\"num_key_value_heads\":null,\"head_dim\":null}");
    cr_assert(c.attn_softcap_null && c.attn_softcap == 0);
    cr_assert(!c.final_softcap_null && c.final_softcap == 30.0);
    cr_assert(c.sliding_window_null && c.sliding_window == 0 && c.kv_heads_null);
}

Test(config, activation_and_dtype) {
    struct model_config c =
        good("{\"model_type\":\"g\",\"hidden_act\":\"gelu\",\"hidden_activation\":\"gelu_pytorch_tanh\","
             "\"torch_dtype\":\"bfloat16\"}");
    cr_assert_str_eq(c.activation, "gelu_pytorch_tanh");
    cr_assert_str_eq(c.dtype, "bfloat16");
    c = good("{\"model_type\":\"g\",\"hidden_act\":\"gelu\",\"hidden_activation\":null,\"dtype\":\"torch."
             "float16\"}");
    cr_assert_str_eq(c.activation, "gelu");
    cr_assert_str_eq(c.dtype, "float16");
    cr_assert_str_eq(good("{\"model_type\":\"g\",\"torch_dtype\":\"auto\"}").dtype, "");
}

Test(config, eos) {
    struct model_config c =
        good("{\"model_type\":\"g\",\"eos_token_id\":[128001,128008,128009],\"bos_token_id\":null}");
    cr_assert(c.eos_count == 3 && c.eos[0] == 128001 && c.eos[2] == 128009 && c.bos == CONFIG_ABSENT);
    cr_assert_eq(good("{\"model_type\":\"g\",\"eos_token_id\":null}").eos_count, 0);
    cr_assert_eq(good("{\"model_type\":\"g\",\"eos_token_id\":[]}").eos_count, 0);
    cr_assert_eq(good("{\"model_type\":\"g\",\"eos_token_id\":0}").eos_count, 1);
}

Test(config, rope_in_both_spellings) {
    static const char *const pairs[][2] = {
        {"{\"model_type\":\"m\",\"rope_theta\":500000,\"rope_scaling\":null}",
         "{\"model_type\":\"m\",\"rope_parameters\":{\"rope_theta\":500000,\"rope_type\":\"default\"}}"},
        {"{\"model_type\":\"m\",\"rope_theta\":1e4,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}",
         "{\"model_type\":\"m\",\"rope_parameters\":{\"rope_theta\":1e4,\"rope_type\":\"linear\",\"factor\":"
         "2}}"},
        {"{\"model_type\":\"m\",\"rope_theta\":1e4,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}",
         "{\"model_type\":\"m\",\"rope_theta\":1e4,\"rope_parameters\":{\"rope_type\":\"dynamic\",\"factor\":"
         "2}}"},
        {"{\"model_type\":\"m\",\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
         "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}}",
         "{\"model_type\":\"m\",\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\",\"factor\":"
         "8,"
         "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}}"},
        {"{\"model_type\":\"m\",\"rope_theta\":1e4,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_"
         "fast\":32,"
         "\"truncate\":false,\"mscale\":0.707,\"mscale_all_dim\":0.707}}",
         "{\"model_type\":\"m\",\"rope_parameters\":{\"rope_theta\":1e4,\"rope_type\":\"yarn\",\"factor\":4,"
         "\"beta_fast\":32,\"truncate\":false,\"mscale\":0.707,\"mscale_all_dim\":0.707}}"},
        {"{\"model_type\":\"m\",\"rope_theta\":1e4,\"original_max_position_embeddings\":4096,"
         "\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,1.5],\"long_factor\":[2,3]}}",
         "{\"model_type\":\"m\",\"original_max_position_embeddings\":4096,\"rope_parameters\":{\"rope_"
         "theta\":1e4,"
         "\"original_max_position_embeddings\":1,\"rope_type\":\"longrope\",\"short_factor\":[1,1.5],"
         "\"long_factor\":[2,3]}}"},
        {"{\"model_type\":\"m\",\"rotary_emb_base\":10000,\"rotary_pct\":0.25}",
         "{\"model_type\":\"m\",\"rope_parameters\":{\"rope_theta\":10000,\"partial_rotary_factor\":0.25}}"},
        {"{\"model_type\":\"m\",\"rope_theta\":10000,\"partial_rotary_factor\":0.5}",
         "{\"model_type\":\"m\",\"rope_parameters\":{\"rope_theta\":10000,\"partial_rotary_factor\":0.5,"
         "\"mrope_section\":[1,2],\"type\":\"mrope\",\"rope_type\":\"default\"}}"},
        {"{\"model_type\":\"m\",\"rope_theta\":1e6,\"rope_local_base_freq\":1e4,"
         "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}}",
         "{\"model_type\":\"m\",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e6,\"rope_type\":"
         "\"linear\","
         "\"factor\":8},\"sliding_attention\":{\"rope_theta\":1e4,\"rope_type\":\"default\"}}}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        static struct model_config c[2]; /* static: zeroed padding, so that memcmp may compare */
        for (int k = 0; k < 2; k++) c[k] = good(pairs[i][k]);
        cr_assert_eq(memcmp(&c[0].rope, &c[1].rope, sizeof c[0].rope), 0, "pair %zu", i);
        cr_assert_eq(memcmp(&c[0].rope_local, &c[1].rope_local, sizeof c[0].rope), 0, "pair %zu", i);
        cr_assert_gt(c[0].rope.theta, 0);
    }
    struct model_config c = good(pairs[5][0]);
    cr_assert(c.rope.scaling == ROPE_SCALING_LONGROPE && c.rope.factors == 2 && c.rope.short_factor[1] == 1.5 &&
              c.rope.long_factor[1] == 3 && c.rope.original_context == 4096);
    c = good(pairs[8][0]);
    cr_assert(c.rope.theta == 1e6 && c.rope.factor == 8 && c.rope_local.theta == 1e4 &&
              c.rope_local.scaling == ROPE_SCALING_NONE);
    c = good(pairs[4][1]);
    cr_assert(c.rope.scaling == ROPE_SCALING_YARN && c.rope.truncate == 0 && c.rope.mscale == 0.707);
}

Test(config, rope_corners) {
    struct model_config c = good("{\"model_type\":\"m\",\"rope_scaling\":{},\"rope_parameters\":{\"rope_theta\":7}}");
    cr_assert_eq(c.rope.theta, 7);
    c = good("{\"model_type\":\"m\",\"rope_theta\":9,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2},"
             "\"rope_parameters\":{\"rope_theta\":7}}"); /* as in transformers: rope_scaling replaces the other */
    cr_assert(c.rope.theta == 9 && c.rope.factor == 2);
    c = good("{\"model_type\":\"m\",\"rope_theta\":5,\"rope_parameters\":{\"full_attention\":{},"
             "\"sliding_attention\":{}}}");
    cr_assert(c.rope.theta == 5 && c.rope_local.theta == 5);
    c = good("{\"model_type\":\"phi3\",\"rope_scaling\":{\"type\":\"yarn\",\"short_factor\":[1],\"long_"
             "factor\":[2]}}");
    cr_assert_eq(c.rope.scaling, ROPE_SCALING_LONGROPE);
}

Test(config, layer_types) {
    struct model_config c = good("{\"model_type\":\"m\",\"num_hidden_layers\":3,\"layer_types\":[\"full_attention\","
                                 "\"sliding_attention\",\"full_attention\"],\"sliding_window\":128,"
                                 "\"use_sliding_window\":false,\"max_window_layers\":0,\"sliding_window_pattern\":6}");
    cr_assert(c.layer_types == 3 && !c.layer_sliding[0] && c.layer_sliding[1] && !c.layer_sliding[2]);
    cr_assert(c.sliding_window == 128 && c.use_sliding_window == 0 && c.max_window_layers == 0 &&
              c.sliding_pattern == 6);
}

Test(config, wrapper) {
    struct model_config c =
        good("{\"model_type\":\"gemma3\",\"architectures\":[\"Gemma3ForConditionalGeneration\"],"
             "\"eos_token_id\":[1,106],\"torch_dtype\":\"bfloat16\",\"tie_word_embeddings\":false,\"vocab_"
             "size\":5,"
             "\"text_config\":{\"model_type\":\"gemma3_text\",\"hidden_size\":2560,\"num_hidden_layers\":34,"
             "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"}},\"vision_config\":{\"hidden_size\":"
             "1152}}");
    cr_assert_str_eq(c.model_type, "gemma3_text");
    cr_assert_str_eq(c.architecture, "Gemma3ForConditionalGeneration");
    cr_assert_str_eq(c.dtype, "bfloat16");
    cr_assert(c.width == 2560 && c.layers == 34 && c.eos_count == 2 && c.tied == 0 && c.vocab_size == 0);
    c = good("{\"model_type\":\"outer\",\"hidden_size\":8,\"text_config\":{\"model_type\":\"inner\"}}");
    cr_assert_str_eq(c.model_type, "outer");
    c = good("{\"model_type\":\"outer\",\"eos_token_id\":[1,2,3],\"tie_word_embeddings\":true,"
             "\"text_config\":{\"model_type\":\"inner\",\"eos_token_id\":7,\"tie_word_embeddings\":false}}");
    cr_assert(c.eos_count == 1 && c.eos[0] == 7 && c.tied == 0); /* what the inner one says wins */
}

Test(config, marks) {
    cr_assert(good("{\"model_type\":\"m\",\"quantization_config\":{\"bits\":4}}").quantized);
    cr_assert(good("{\"model_type\":\"m\",\"num_local_experts\":8}").moe);
    cr_assert(good("{\"model_type\":\"m\",\"num_experts\":60}").moe);
    cr_assert_not(good("{\"model_type\":\"m\",\"num_experts\":1,\"quantization_config\":null}").moe);
}

Test(config, refused_and_named) {
    static const struct {
        const char *text;
        tempera_status status;
        const char *message;
    } cases[] = {
        {"", TEMPERA_FORMAT, "config.json: byte 0: expected a value, found the end"},
        {"[]", TEMPERA_FORMAT, "config.json: expected a JSON object"},
        {"{}", TEMPERA_FORMAT, "config.json: model_type is missing"},
        {"{\"model_type\":7}", TEMPERA_FORMAT, "config.json: model_type: expected a string, found 7"},
        {"{\"model_type\":\"m\",\"model_type\":\"n\"}", TEMPERA_FORMAT,
         "config.json: byte 19: key \"model_type\" appears twice"},
        {"{\"model_type\":\"m\",\"vocab_size\":0}", TEMPERA_FORMAT,
         "config.json: vocab_size: expected an integer from 1 to 4194304, found 0"},
        {"{\"model_type\":\"m\",\"vocab_size\":4194305}", TEMPERA_FORMAT,
         "config.json: vocab_size: expected an integer from 1 to 4194304, found 4194305"},
        {"{\"model_type\":\"m\",\"hidden_size\":\"64\"}", TEMPERA_FORMAT,
         "config.json: hidden_size: expected an integer from 1 to 1048576, found the string \"64\""},
        {"{\"model_type\":\"m\",\"n_embd\":1.5}", TEMPERA_FORMAT,
         "config.json: n_embd: expected an integer from 1 to 1048576, found 1.5"},
        {"{\"model_type\":\"m\",\"num_hidden_layers\":1025}", TEMPERA_FORMAT,
         "config.json: num_hidden_layers: expected an integer from 1 to 1024, found 1025"},
        {"{\"model_type\":\"m\",\"rms_norm_eps\":0}", TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"rms_norm_eps\":1e999}", TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"tie_word_embeddings\":1}", TEMPERA_FORMAT,
         "config.json: tie_word_embeddings: expected true or false, found 1"},
        {"{\"model_type\":\"m\",\"hidden_act\":\"a name that is longer than any activation\"}", TEMPERA_FORMAT,
         "config.json: hidden_act: expected a string of at most 31 bytes, found 41"},
        {"{\"model_type\":\"m\",\"architectures\":\"LlamaForCausalLM\"}", TEMPERA_FORMAT,
         "config.json: architectures: expected a list of class names"},
        {"{\"model_type\":\"m\",\"architectures\":[1]}", TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"eos_token_id\":\"</s>\"}", TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"eos_token_id\":-1}", TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"eos_token_id\":[1,null]}", TEMPERA_FORMAT,
         "config.json: eos_token_id: expected an integer from 0 to 2147483647, found null"},
        {"{\"model_type\":\"m\",\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", TEMPERA_UNSUPPORTED,
         "config.json: eos_token_id: more than 16 ids"},
        {"{\"model_type\":\"m\",\"rope_theta\":-1}", TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"rope_scaling\":[]}", TEMPERA_FORMAT, "config.json: rope_scaling: expected an object"},
        {"{\"model_type\":\"m\",\"rope_scaling\":{\"factor\":2}}", TEMPERA_FORMAT,
         "config.json: rope_scaling: rope_type: expected a name beside factor, found none"},
        {"{\"model_type\":\"m\",\"rope_scaling\":{\"type\":\"mrope\"}}", TEMPERA_UNSUPPORTED,
         "config.json: rope_scaling: rope_type \"mrope\" is not supported"},
        {"{\"model_type\":\"m\",\"rope_scaling\":{\"type\":\"linear\"}}", TEMPERA_FORMAT,
         "config.json: rope_scaling: rope_type \"linear\" needs factor"},
        {"{\"model_type\":\"m\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2}}", TEMPERA_FORMAT,
         "config.json: rope_scaling: rope_type \"llama3\" needs low_freq_factor"},
        {"{\"model_type\":\"m\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2,\"low_freq_factor\":"
         "4,"
         "\"high_freq_factor\":4,\"original_max_position_embeddings\":8}}",
         TEMPERA_FORMAT,
         "config.json: rope_scaling: rope_type \"llama3\" needs high_freq_factor above low_freq_factor"},
        {"{\"model_type\":\"m\",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1]}}", TEMPERA_FORMAT,
         "config.json: rope_scaling: long_factor: expected a list of numbers"},
        {"{\"model_type\":\"m\",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1],\"long_factor\":[1,2]}"
         "}",
         TEMPERA_FORMAT,
         "config.json: rope_scaling: expected short_factor and long_factor of one length, found 1 and 2"},
        {"{\"model_type\":\"m\",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[0],\"long_factor\":[1]}}",
         TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"rope_parameters\":{\"full_attention\":5}}", TEMPERA_FORMAT,
         "config.json: rope_parameters: full_attention: expected an object"},
        {"{\"model_type\":\"m\",\"rope_parameters\":{\"sliding_attention\":{\"rope_type\":\"default\"}}}",
         TEMPERA_FORMAT, "config.json: rope_parameters: sliding_attention: rope_theta is missing"},
        {"{\"model_type\":\"m\",\"layer_types\":\"full_attention\"}", TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"layer_types\":[1]}", TEMPERA_FORMAT, NULL},
        {"{\"model_type\":\"m\",\"layer_types\":[\"full_attention\",\"linear_attention\"]}", TEMPERA_UNSUPPORTED,
         "config.json: layer_types: \"linear_attention\" is not supported"},
        {"{\"model_type\":\"m\",\"n_layer\":2,\"layer_types\":[\"full_attention\"]}", TEMPERA_FORMAT,
         "config.json: layer_types: expected one entry per layer (2), found 1"},
        {"{\"model_type\":\"o\",\"text_config\":{\"hidden_size\":4}}", TEMPERA_FORMAT,
         "config.json: text_config: model_type is missing"},
        {"{\"text_config\":{\"model_type\":\"i\",\"rope_scaling\":{\"type\":\"x\"}}}", TEMPERA_UNSUPPORTED,
         "config.json: text_config: rope_scaling: rope_type \"x\" is not supported"},
        {"{\"model_type\":\"m\",\"num_experts\":-1}", TEMPERA_FORMAT, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model_config c;
        tempera_error err = {0};
        cr_expect_eq(parse(&c, cases[i].text, &err), cases[i].status, "%s: %s", cases[i].text, err.message);
        if (cases[i].message) cr_expect_str_eq(err.message, cases[i].message);
        cr_expect_eq(strncmp(err.message, "config.json: ", 13), 0, "%s", err.message);
        cr_expect_eq(parse(&c, cases[i].text, NULL), cases[i].status);
    }
}

Test(config, long_lists_are_bounded) {
    char text[60000];
    int n = snprintf(text, sizeof text, "{\"model_type\":\"m\",\"layer_types\":[");
    for (int i = 0; i <= CONFIG_MAX_LAYERS; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s\"full_attention\"", i ? "," : "");
    snprintf(text + n, sizeof text - (size_t)n, "]}");
    struct model_config c;
    cr_assert_eq(parse(&c, text, NULL), TEMPERA_FORMAT);
    n = snprintf(text, sizeof text, "{\"model_type\":\"m\",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1");
    for (int i = 0; i < ROPE_MAX_FACTORS; i++) n += snprintf(text + n, sizeof text - (size_t)n, ",1");
    snprintf(text + n, sizeof text - (size_t)n, "]}}");
    cr_assert_eq(parse(&c, text, NULL), TEMPERA_UNSUPPORTED);
}

Test(config, generation) {
    struct generation_config g;
    static const char text[] = "{\"bos_token_id\":1,\"eos_token_id\":[2,3],\"do_sample\":true,"
                               "\"temperature\":0.6,\"top_k\":20,\"top_p\":0.95,"
                               "\"min_p\":0.01,\"typical_p\":1,\"repetition_penalty\":1.05,\"no_repeat_ngram_"
                               "size\":3,\"max_new_tokens\":2048,"
                               "\"min_new_tokens\":0,\"transformers_version\":\"4.51.0\",\"max_length\":20}";
    tempera_error err;
    cr_assert_eq(generation_config_parse(&g, text, strlen(text), "g", &err), TEMPERA_OK, "%s", err.message);
    cr_assert(g.bos == 1 && g.eos_count == 2 && g.eos[1] == 3 && g.do_sample == 1);
    cr_assert(g.has_temperature && g.temperature == 0.6 && g.has_top_k && g.top_k == 20 && g.has_top_p &&
              g.top_p == 0.95 && g.has_min_p && g.min_p == 0.01 && g.has_typical_p && g.typical_p == 1);
    cr_assert(g.has_repetition_penalty && g.repetition_penalty == 1.05 && g.has_no_repeat_ngram &&
              g.no_repeat_ngram == 3 && g.has_max_new_tokens && g.max_new_tokens == 2048 && g.has_min_new_tokens &&
              g.min_new_tokens == 0);
    cr_assert_eq(generation_config_parse(&g, "{\"temperature\":null,\"top_k\":-1}", 31, "g", &err), TEMPERA_OK);
    cr_assert(!g.has_temperature && g.has_top_k && g.top_k == 0 && g.do_sample == CONFIG_ABSENT &&
              g.bos == CONFIG_ABSENT && g.eos_count == 0);
    cr_assert_eq(generation_config_parse(&g, "{\"temperature\":-1}", 18, "g", &err), TEMPERA_FORMAT);
    cr_assert_str_eq(err.message, "g: temperature: expected a number from 0 to 1e+06, found -1");
    cr_assert_eq(generation_config_parse(&g, "{\"top_p\":1.5}", 13, "g", &err), TEMPERA_FORMAT);
    cr_assert_eq(generation_config_parse(&g, "3", 1, "g", &err), TEMPERA_FORMAT);
}

Test(config, files) {
    char *folder = test_folder_create();
    struct model_config c;
    struct generation_config g;
    tempera_error err;
    cr_assert_eq(config_open(&c, folder, &err), TEMPERA_IO);
    cr_assert(strstr(err.message, "config.json: cannot open"));
    cr_assert_eq(generation_config_open(&g, folder, &err), TEMPERA_OK);
    cr_assert(g.do_sample == CONFIG_ABSENT && g.bos == CONFIG_ABSENT && !g.has_temperature);
    mem_free(test_write(folder, "config.json", "{\"model_type\":\"m\"}", 18));
    mem_free(test_write(folder, "generation_config.json", "{\"top_k\":5}", 11));
    cr_assert_eq(config_open(&c, folder, &err), TEMPERA_OK);
    cr_assert_eq(generation_config_open(&g, folder, &err), TEMPERA_OK);
    cr_assert(g.has_top_k && g.top_k == 5);
    size_t large = (1 << 20) + 1;
    char *spaces = mem_alloc(large);
    memset(spaces, ' ', large);
    mem_free(test_write(folder, "config.json", spaces, large));
    mem_free(spaces);
    cr_assert_eq(config_open(&c, folder, &err), TEMPERA_TOO_LONG);
    test_folder_remove(folder);
}

Test(config, out_of_memory_at_every_point) {
    char *folder = test_folder_create();
    static const char text[] = "{\"model_type\":\"m\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}";
    mem_free(test_write(folder, "config.json", text, strlen(text)));
    struct mem_stats before = mem_stats_get();
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    for (long n = 0; status == TEMPERA_OUT_OF_MEMORY; n++) {
        struct model_config c;
        mem_fail_after(n);
        status = config_open(&c, folder, NULL);
        mem_fail_after(-1);
        cr_assert_eq(mem_stats_get().live, before.live);
    }
    cr_assert_eq(status, TEMPERA_OK);
    test_folder_remove(folder);
}

/* Fixtures: our own model folders, where config.v4.json is config.json as transformers 4 wrote it. */

static tempera_status read_file(struct model_config *c, const char *folder, const char *name, tempera_error *err) {
    char *path = path_join(folder, name);
    char *text = NULL;
    size_t length;
    tempera_status status = file_read(path, 1 << 20, &text, &length, err);
    if (status == TEMPERA_OK) status = config_parse(c, text, length, path, err);
    mem_free(text);
    mem_free(path);
    return status;
}

static void compare_rope(const struct rope_config *a, const struct rope_config *b, const char *folder) {
    cr_expect(a->theta == b->theta && a->scaling == b->scaling && a->factor == b->factor, "%s", folder);
    cr_expect(a->low_freq_factor == b->low_freq_factor && a->high_freq_factor == b->high_freq_factor, "%s", folder);
    cr_expect(a->original_context == b->original_context && a->attention_factor == b->attention_factor, "%s", folder);
    cr_expect(a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow && a->factors == b->factors, "%s", folder);
    cr_expect_eq(memcmp(a->short_factor, b->short_factor, sizeof a->short_factor), 0, "%s", folder);
    cr_expect_eq(memcmp(a->long_factor, b->long_factor, sizeof a->long_factor), 0, "%s", folder);
}

static void check_fixture(const char *folder) {
    static struct model_config v5, v4;
    tempera_error err;
    cr_assert_eq(read_file(&v5, folder, "config.json", &err), TEMPERA_OK, "%s", err.message);
    cr_expect(v5.layers > 0 && v5.width > 0 && v5.heads > 0 && v5.vocab_size > 0 && v5.norm_eps > 0, "%s", folder);
    cr_expect(v5.dtype[0] || strstr(folder, "legacy"), "%s", folder);
    if (read_file(&v4, folder, "config.v4.json", &err) != TEMPERA_OK) {
        cr_expect_eq(err.status, TEMPERA_IO, "%s", err.message); /* not every fixture has one */
        return;
    }
    cr_expect_str_eq(v4.model_type, v5.model_type);
    cr_expect_str_eq(v4.architecture, v5.architecture);
    cr_expect_str_eq(v4.dtype, v5.dtype);
    if (strcmp(v4.activation, "gelu") != 0) /* gemma's old files say so and mean gelu_pytorch_tanh: model/arch.c */
        cr_expect_str_eq(v4.activation, v5.activation);
    cr_expect(v4.width == v5.width && v4.layers == v5.layers && v4.heads == v5.heads && v4.context == v5.context &&
                  v4.ff_width == v5.ff_width && v4.vocab_size == v5.vocab_size && v4.norm_eps == v5.norm_eps,
              "%s", folder);
    cr_expect(v4.sliding_window == v5.sliding_window && v4.query_scale == v5.query_scale &&
                  v4.attn_softcap == v5.attn_softcap && v4.final_softcap == v5.final_softcap,
              "%s", folder);
    compare_rope(&v4.rope, &v5.rope, folder);
    if (v4.rope_local.theta > 0) compare_rope(&v4.rope_local, &v5.rope_local, folder);
}

Test(config, fixtures) {
    char *parent = test_source() ? path_join(test_source(), "model/fixtures") : NULL;
    DIR *dir = parent ? opendir(parent) : NULL;
    if (!dir) {
        mem_free(parent);
        cr_skip_test("no model fixtures");
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        char *folder = path_join(parent, entry->d_name);
        check_fixture(folder);
        mem_free(folder);
    }
    closedir(dir);
    mem_free(parent);
}

Test(config, models) {
    TEST_NEEDS_MODELS("trained models");
    char *folder = path_join(test_models(), "stories260k");
    struct model_config c;
    struct generation_config g;
    tempera_error err;
    cr_assert_eq(config_open(&c, folder, &err), TEMPERA_OK, "%s", err.message);
    cr_assert(c.width == 64 && c.layers == 5 && c.heads == 8 && c.kv_heads == 4 && c.ff_width == 172 && c.tied == 1 &&
              c.rope.theta == 1e4);
    cr_assert_eq(generation_config_open(&g, folder, &err), TEMPERA_OK);
    cr_assert(g.eos_count == 1 && g.eos[0] == 2 && g.bos == 1);
    mem_free(folder);
}
