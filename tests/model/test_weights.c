/* test_weights.c: which tensors a folder must have, may have and must not have, and what the messages say. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/internal.h"
#include "support.h"
#include "variant.h"

#define EDITS(...)                                                                                                     \
    .edit = (const struct tensor_edit[]){__VA_ARGS__},                                                                 \
    .edits = sizeof((const struct tensor_edit[]){__VA_ARGS__}) / sizeof(struct tensor_edit)

static struct model *accept(const char *fixture, const struct variant *variant) {
    struct model *model = NULL;
    tempera_error err = {0};
    char *folder = variant_fixture(fixture, variant);
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s", err.message);
    test_folder_remove(folder);
    return model;
}

/* The message must be exactly "FOLDER/FILE: TEXT". */
static void refuse_folder(const char *folder, const char *file, const char *text) {
    struct model *model = NULL;
    tempera_error err = {0};
    char expected[700];
    snprintf(expected, sizeof expected, "%s%s: %s", folder, file, text);
    cr_expect(model_open(&model, folder, &err) == TEMPERA_FORMAT && model == NULL, "status %d", (int)err.status);
    cr_expect(strcmp(err.message, expected) == 0, "expected: %s\n   found: %s", expected, err.message);
}

static void refuse(const char *fixture, const struct variant *variant, const char *file, const char *text) {
    char *folder = variant_fixture(fixture, variant);
    refuse_folder(folder, file, text);
    test_folder_remove(folder);
}

#define FILE_NAME "/model.safetensors"

Test(weights, missing) {
    refuse("llama", &(struct variant){EDITS({.name = "model.layers.1.mlp.up_proj.weight", .drop = true})}, FILE_NAME,
           "tensor \"model.layers.1.mlp.up_proj.weight\" is missing (expected shape [70, 36])");
    refuse("gpt_neox",
           &(struct variant){EDITS({.name = "gpt_neox.layers.0.attention.query_key_value.bias", .drop = true})},
           FILE_NAME, "tensor \"gpt_neox.layers.0.attention.query_key_value.bias\" is missing (expected shape [144])");
    refuse("gpt2", &(struct variant){EDITS({.name = "transformer.h.1.attn.c_attn.bias", .drop = true})}, FILE_NAME,
           "tensor \"transformer.h.1.attn.c_attn.bias\" is missing (expected shape [108])");
    refuse("qwen2",
           &(struct variant){.config_from = "\"tie_word_embeddings\": true",
                             .config_to = "\"tie_word_embeddings\": false"},
           FILE_NAME, "tensor \"lm_head.weight\" is missing (expected shape [97, 32])");
}

Test(weights, unknown) {
    refuse("llama", &(struct variant){EDITS({.name = "model.layers.0.self_attn.q_norm.weight", .add = true})},
           FILE_NAME, "tensor \"model.layers.0.self_attn.q_norm.weight\" is not part of a llama model with 2 layers");
    refuse(
        "qwen2", &(struct variant){EDITS({.name = "model.layers.2.mlp.up_proj.weight", .add = true})}, FILE_NAME,
        "tensor \"model.layers.2.mlp.up_proj.weight\" is not part of a qwen2 model with 2 layers and tied embeddings");
    refuse("llama", &(struct variant){EDITS({.name = "model.layers.x.self_attn.rotary_emb.inv_freq", .add = true})},
           FILE_NAME,
           "tensor \"model.layers.x.self_attn.rotary_emb.inv_freq\" is not part of a llama model with 2 layers");
    refuse(
        "llama_bias", &(struct variant){.config_from = "\"mlp_bias\": true", .config_to = "\"mlp_bias\": false"},
        FILE_NAME,
        "tensor \"model.layers.0.mlp.down_proj.bias\" is not part of a llama model with 2 layers and tied embeddings");
}

Test(weights, shape_and_type) {
    refuse("llama", &(struct variant){EDITS({.name = "model.layers.0.mlp.down_proj.weight", .shape = "70, 36"})},
           FILE_NAME,
           "tensor \"model.layers.0.mlp.down_proj.weight\": expected shape [36, 70] of F32, F16 or BF16, found [70, "
           "36] of F32");
    refuse("gpt2", &(struct variant){EDITS({.name = "transformer.h.1.mlp.c_fc.weight", .shape = "144, 36"})}, FILE_NAME,
           "tensor \"transformer.h.1.mlp.c_fc.weight\": expected shape [36, 144] of F32, F16 or BF16, found [144, 36] "
           "of F32");
    refuse("llama", &(struct variant){EDITS({.name = "model.norm.weight", .dtype = "I32"})}, FILE_NAME,
           "tensor \"model.norm.weight\": expected shape [36] of F32, F16 or BF16, found [36] of I32");
}

/* A shard's own name is in the message. */
Test(weights, sharded) {
    struct model *model;
    tempera_error err = {0};
    char *folder = fixture_folder("llama_sharded");
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s", err.message);
    const char *file = NULL;
    for (size_t i = 0; i < tensor_set_count(model->set); i++)
        if (strcmp(tensor_set_at(model->set, i)->name, "model.layers.1.mlp.down_proj.weight") == 0)
            file = tensor_set_at(model->set, i)->file;
    struct model_config config = model->config;
    struct hparams hp = model->hp;
    struct parameter_list list;
    config.layers = hp.L = 2;
    hp.F++;
    tempera_status status = parameters_list(&list, model->arch, &config, &hp, model->set, &err);
    cr_expect(status == TEMPERA_FORMAT && list.items == NULL && strstr(err.message, "-of-00003.safetensors: tensor"),
              "%s", err.message);
    cr_expect(file && strstr(file, "-of-00003.safetensors"));
    model_free(model);
    mem_free(folder);
}

Test(weights, both_spellings_and_old_buffers) {
    struct model *model = accept("llama", &(struct variant){0});
    int64_t parameters = model_parameters(model), bytes = model_file_bytes(model);
    cr_expect(bytes == 4 * parameters && model_weight_type(model) == WEIGHT_F32);
    model_free(model);

    model = accept("llama", &(struct variant){.strip = "model."});
    cr_expect(model_parameters(model) == parameters);
    model_free(model);

    model = accept("llama",
                   &(struct variant){EDITS({.name = "model.layers.1.self_attn.rotary_emb.inv_freq", .add = true})});
    cr_expect(model_parameters(model) == parameters && model_file_bytes(model) == bytes + 8);
    model_free(model);

    model = accept("qwen2", &(struct variant){EDITS({.name = "lm_head.weight", .add = true})});
    cr_expect(model_hparams(model)->tied);
    model_free(model);

    model = accept("gpt_neox", &(struct variant){EDITS({.name = "embed_out.weight", .rename = "lm_head.weight"})});
    model_free(model);

    model = accept("gpt2", &(struct variant){EDITS({.name = "transformer.h.0.attn.c_attn.bias", .drop = true},
                                                   {.name = "transformer.h.1.attn.c_attn.bias", .drop = true})});
    model_free(model);
}

Test(weights, type_of_most_bytes) {
    char *folder = fixture_folder("llama_bf16");
    struct model *model;
    tempera_error err;
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s", err.message);
    cr_expect(model_weight_type(model) == WEIGHT_BF16);
    cr_expect(model_file_bytes(model) == 2 * model_parameters(model));
    model_free(model);
    mem_free(folder);
}

Test(weights, folders_that_are_none) {
    char *folder = test_folder_create();
    struct model *model = NULL;
    tempera_error err = {0};
    cr_expect(model_open(&model, folder, &err) == TEMPERA_IO && strstr(err.message, "config.json"), "%s", err.message);
    cr_expect(model_open(&model, "/nonexistent", &err) == TEMPERA_IO && model == NULL);
    test_folder_remove(folder);
}

/* Whichever allocation fails, model_open says so and leaks nothing. */
Test(weights, out_of_memory) {
    char *folder = fixture_folder("qwen2");
    struct model *model = NULL;
    tempera_error err = {0};
    model_open(&model, folder, &err); /* once, so that lazily made things exist */
    model_free(model);
    const size_t live = mem_stats_get().live;
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    long n = 0;
    for (; status == TEMPERA_OUT_OF_MEMORY && n < 100000; n++) {
        model = NULL;
        mem_fail_after(n);
        status = model_open(&model, folder, &err);
        mem_fail_after(-1);
        if (status == TEMPERA_OK) model_free(model);
        cr_assert(mem_stats_get().live == live, "allocation %ld: %zu blocks leaked", n, mem_stats_get().live - live);
    }
    cr_expect(status == TEMPERA_OK && n > 10, "allocation %ld: %s", n, err.message);
    mem_free(folder);
}
