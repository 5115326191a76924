/* variant.c: copies of fixture folders with something changed. */
#include "variant.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "load/safetensors.h"
#include "support.h"

char *fixture_folder(const char *name) {
    char *folder = test_fixtures() ? path_join(test_fixtures(), name) : NULL;
    cr_assert(folder && folder_exists(folder), "no fixture %s", name);
    return folder;
}

static void write_config(const char *to, const char *from, const struct variant *v) {
    char *path = path_join(from, v->config ? v->config : "config.json"), *text;
    size_t length;
    tempera_error err;
    cr_assert(file_read(path, 1 << 20, &text, &length, &err) == TEMPERA_OK, "%s", err.message);
    struct buf out = {.max = 1 << 20};
    const char *at = v->config_from ? strstr(text, v->config_from) : NULL;
    cr_assert(at || !v->config_from, "config.json has no %s", v->config_from);
    buf_append(&out, text, at ? (size_t)(at - text) : length, NULL);
    if (at) {
        buf_append_text(&out, v->config_to, NULL);
        buf_append_text(&out, at + strlen(v->config_from), NULL);
    }
    mem_free(test_write(to, "config.json", out.data, out.length));
    buf_free(&out);
    mem_free(text);
    mem_free(path);
}

static const struct tensor_edit *edit_of(const struct variant *v, const char *name) {
    for (size_t i = 0; i < v->edits; i++)
        if (!v->edit[i].add && strcmp(v->edit[i].name, name) == 0) return &v->edit[i];
    return NULL;
}

static const char *stripped(const struct variant *v, const char *name) {
    size_t length = v->strip ? strlen(v->strip) : 0;
    return length && strncmp(name, v->strip, length) == 0 ? name + length : name;
}

static void append_entry(struct buf *header, size_t start, size_t bytes, const char *name, const char *dtype,
                         const char *shape) {
    buf_printf(header, NULL, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", start ? "," : "{",
               name, dtype, shape, start, start + bytes);
}

static void append_tensor(struct buf *header, struct buf *data, const struct tensor_view *view,
                          const struct variant *v) {
    static const struct tensor_edit none;
    const struct tensor_edit *edit = edit_of(v, view->name);
    if (!edit) edit = &none;
    if (edit->drop) return;
    struct buf shape = {.max = 256};
    buf_append_text(&shape, edit->shape ? edit->shape : "", NULL);
    for (int i = 0; !edit->shape && i < view->rank; i++) buf_printf(&shape, NULL, i ? ",%zu" : "%zu", view->shape[i]);
    append_entry(header, data->length, view->bytes, edit->rename ? edit->rename : stripped(v, view->name),
                 edit->dtype ? edit->dtype : dtype_name(view->dtype), shape.data ? shape.data : "");
    buf_append(data, view->data, view->bytes, NULL);
    buf_free(&shape);
}

static void append_vector(struct buf *header, struct buf *data, const struct tensor_edit *edit) {
    static const float zeros[2];
    const float *values = edit->values ? edit->values : zeros;
    size_t count = edit->values ? edit->count : 2;
    char shape[32];
    snprintf(shape, sizeof shape, "%zu", count);
    append_entry(header, data->length, count * sizeof *values, edit->name, "F32", shape);
    buf_append(data, values, count * sizeof *values, NULL);
}

static void write_tensors(const char *to, const char *from, const struct variant *v) {
    struct tensor_set *set;
    tempera_error err;
    cr_assert(tensor_set_open(&set, from, &err) == TEMPERA_OK, "%s", err.message);
    struct buf header = {.max = 1 << 20}, data = {.max = 1 << 24}, file = {.max = 1 << 25};
    for (size_t i = 0; i < tensor_set_count(set); i++) append_tensor(&header, &data, tensor_set_at(set, i), v);
    for (size_t i = 0; i < v->edits; i++) {
        if (!v->edit[i].add) continue;
        append_vector(&header, &data, &v->edit[i]);
    }
    buf_append_text(&header, "}", NULL);
    uint64_t length = header.length; /* little-endian, as this machine */
    buf_append(&file, &length, sizeof length, NULL);
    buf_append(&file, header.data, header.length, NULL);
    buf_append(&file, data.data, data.length, NULL);
    mem_free(test_write(to, "model.safetensors", file.data, file.length));
    buf_free(&file);
    buf_free(&data);
    buf_free(&header);
    tensor_set_free(set);
}

char *variant_folder(const char *folder, const struct variant *variant) {
    char *to = test_folder_create();
    cr_assert(to);
    write_config(to, folder, variant);
    write_tensors(to, folder, variant);
    return to;
}

char *variant_fixture(const char *name, const struct variant *variant) {
    char *from = fixture_folder(name), *to = variant_folder(from, variant);
    mem_free(from);
    return to;
}
