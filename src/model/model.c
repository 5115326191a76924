/* model.c: a folder's files, opened and checked. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/internal.h"

/* The type that most bytes of matrices have. */
static enum weight_type main_type(const struct parameter_list *list) {
    size_t bytes[WEIGHT_TYPE_COUNT] = {0};
    for (size_t i = 0; i < list->count; i++)
        for (int32_t s = 0; list->items[i].matrix && s < list->items[i].sources; s++) {
            const struct tensor_view *view = list->items[i].source[s].view;
            bytes[weight_type_of(view)] += view->bytes;
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

static tempera_status open_files(struct model *m, const char *folder, const char *config_path, tempera_error *err) {
    TRY(config_open(&m->config, folder, err));
    TRY(generation_config_open(&m->generation, folder, err));
    TRY(arch_find(&m->arch, &m->config, config_path, err));
    TRY(hparams_resolve(&m->hp, m->arch, &m->config, config_path, err));
    TRY(tensor_set_open(&m->set, folder, err));
    return parameters_list(&m->list, m->arch, &m->config, &m->hp, m->set, err);
}

tempera_status model_open(struct model **model, const char *folder, tempera_error *err) {
    tempera_status status;
    char *config_path = path_join(folder, "config.json");
    struct model *m = mem_array(1, sizeof *m);
    if (!m || !config_path) {
        status = fail_memory(err, sizeof *m, "a model");
        goto cleanup;
    }
    TRY_GOTO(open_files(m, folder, config_path, err));
    m->weight_type = main_type(&m->list);
    model_count(m);
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
    tensor_set_free(model->set);
    mem_free(model);
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

int64_t model_parameters(const struct model *model) {
    return model->parameters;
}

int64_t model_file_bytes(const struct model *model) {
    return model->file_bytes;
}
