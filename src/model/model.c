/* model.c: a folder's files, or a GGUF file, opened and checked. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "load/gguf_config.h"
#include "model/gguf_arch.h"
#include "model/internal.h"

/* The type that most bytes of matrices have, or would have as numbers. */
static enum weight_type main_type(const struct parameter_list *list) {
    size_t bytes[WEIGHT_TYPE_COUNT] = {0};
    for (size_t i = 0; i < list->count; i++)
        for (int32_t s = 0; list->items[i].matrix && s < list->items[i].sources; s++) {
            const struct tensor_view *view = list->items[i].source[s].view;
            enum weight_type type = weight_type_of(view);
            bytes[type] += list->items[i].source[s].rows * list->items[i].source[s].cols * weight_type_size(type);
        }
    enum weight_type most = WEIGHT_F32;
    for (int type = 0; type < WEIGHT_TYPE_COUNT; type++)
        if (bytes[type] > bytes[most]) most = (enum weight_type)type;
    return most;
}

void model_count(struct model *m) {
    for (size_t i = 0; i < m->list.count; i++)
        for (int32_t s = 0; s < m->list.items[i].sources; s++)
            m->parameters += (int64_t)(m->list.items[i].source[s].rows * m->list.items[i].source[s].cols);
    m->file_bytes = m->parameters * (int64_t)weight_type_size(m->weight_type);
    if (!m->set) return;
    m->file_bytes = 0;
    for (size_t i = 0; i < tensor_set_count(m->set); i++) m->file_bytes += (int64_t)tensor_set_at(m->set, i)->bytes;
}

/* Types in the order of their enum, those that occur. */
static void describe_types(struct model *m) {
    for (int type = 0; type < DTYPE_END; type++) {
        size_t count = 0, used = strlen(m->types);
        for (size_t i = 0; i < tensor_set_count(m->set); i++)
            if (tensor_set_at(m->set, i)->dtype == (enum dtype)type) count++;
        if (count > 0)
            snprintf(m->types + used, sizeof m->types - used, "%s%zu %s", used ? ", " : "", count,
                     dtype_name((enum dtype)type));
    }
}

static tempera_status open_folder(struct model *m, const char *folder, const char *config_path, tempera_error *err) {
    TRY(config_open(&m->config, folder, err));
    TRY(generation_config_open(&m->generation, folder, err));
    TRY(arch_find(&m->arch, &m->config, config_path, err));
    TRY(hparams_resolve(&m->hp, m->arch, &m->config, config_path, err));
    TRY(tensor_set_open(&m->folder, folder, err));
    m->set = m->folder;
    return parameters_list(&m->list, m->arch, &m->config, &m->hp, m->set, err);
}

static tempera_status open_vocabulary(struct model *m, tempera_error *err) {
    m->vocabulary = true;
    TRY(gguf_vocabulary_config(&m->config, m->gguf, err));
    m->hp = (struct hparams){.family = m->config.model_type, .V = m->config.vocab_size, .context = m->config.context};
    return TEMPERA_OK;
}

static tempera_status open_gguf(struct model *m, const char *path, tempera_error *err) {
    const struct arch *family;
    TRY(gguf_open(&m->gguf, path, err));
    m->set = gguf_tensors(m->gguf);
    TRY(generation_config_parse(&m->generation, "{}", 2, path, err));
    if (tensor_set_count(m->set) == 0) return open_vocabulary(m, err);
    TRY(gguf_config(&m->config, m->gguf, err));
    TRY(arch_find(&family, &m->config, path, err));
    gguf_arch(&m->gguf_row, family, m->set);
    m->arch = &m->gguf_row;
    TRY(hparams_resolve(&m->hp, m->arch, &m->config, path, err));
    return parameters_list(&m->list, m->arch, &m->config, &m->hp, m->set, err);
}

tempera_status model_open(struct model **model, const char *path, tempera_error *err) {
    tempera_status status;
    char *config_path = path_join(path, "config.json");
    struct model *m = mem_array(1, sizeof *m);
    if (!m || !config_path) {
        status = fail_memory(err, sizeof *m, "a model");
        goto cleanup;
    }
    TRY_GOTO(file_exists(path) ? open_gguf(m, path, err) : open_folder(m, path, config_path, err));
    m->weight_type = main_type(&m->list);
    model_count(m);
    describe_types(m);
    *model = m;
    m = NULL;
cleanup:
    model_free(m);
    mem_free(config_path);
    return status;
}

void model_free(struct model *model) {
    if (!model) return;
    parameters_free(&model->list);
    tensor_set_free(model->folder);
    gguf_free(model->gguf);
    mem_free(model);
}

tempera_status model_need_weights(const struct model *model, tempera_error *err) {
    if (!model->vocabulary) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED, "%s: a vocabulary without weights: it can tokenize, and nothing else",
                gguf_name(model->gguf));
}

const char *model_tensor_types(const struct model *model) {
    return model->types;
}

const struct hparams *model_hparams(const struct model *model) {
    return &model->hp;
}

const struct model_config *model_config(const struct model *model) {
    return &model->config;
}

const struct generation_config *model_generation_config(const struct model *model) {
    return &model->generation;
}

enum weight_type model_weight_type(const struct model *model) {
    return model->weight_type;
}

enum weight_type model_block_type(const struct model *model) {
    return model->list.blocks < WEIGHT_PACKED_COUNT && !model->vocabulary ? model->list.blocks : model->weight_type;
}

int64_t model_parameters(const struct model *model) {
    return model->parameters;
}

int64_t model_file_bytes(const struct model *model) {
    return model->file_bytes;
}

tempera_status model_packing_loss(struct packing_loss losses[MATRIX_KINDS], const struct model *model,
                                  struct backend *backend, enum weight_type type, tempera_error *err) {
    TRY(model_need_weights(model, err));
    return weights_packing_loss(losses, &model->list, model->set, &model->random, backend, type, err);
}
