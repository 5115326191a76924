/* gguf_write.c: GGUF files written for tests. */
#include "gguf_write.h"

#include <string.h>

enum { FILE_MAX = 1 << 28 };

void write_bytes(struct buf *b, uint64_t value, size_t bytes) {
    b->max = FILE_MAX;
    for (size_t i = 0; i < bytes; i++) {
        char byte = (char)(value >> 8 * i & 0xFF);
        buf_append(b, &byte, 1, NULL);
    }
}

void write_text(struct buf *b, const char *text) {
    write_bytes(b, strlen(text), 8);
    buf_append_text(b, text, NULL);
}

void write_key(struct gguf_writer *w, const char *key, uint32_t type) {
    write_text(&w->values, key);
    write_bytes(&w->values, type, 4);
    w->keys++;
}

void write_u32(struct gguf_writer *w, const char *key, uint32_t value) {
    write_key(w, key, W_U32);
    write_bytes(&w->values, value, 4);
}

void write_f32(struct gguf_writer *w, const char *key, float value) {
    write_key(w, key, W_F32);
    buf_append(&w->values, &value, sizeof value, NULL);
}

void write_bool(struct gguf_writer *w, const char *key, bool value) {
    write_key(w, key, W_BOOL);
    write_bytes(&w->values, value, 1);
}

void write_string(struct gguf_writer *w, const char *key, const char *value) {
    write_key(w, key, W_STRING);
    write_text(&w->values, value);
}

static void write_array_head(struct gguf_writer *w, const char *key, uint32_t type, size_t count) {
    write_key(w, key, W_ARRAY);
    write_bytes(&w->values, type, 4);
    write_bytes(&w->values, count, 8);
}

void write_strings(struct gguf_writer *w, const char *key, const char *const *values, size_t count) {
    write_array_head(w, key, W_STRING, count);
    for (size_t i = 0; i < count; i++) write_text(&w->values, values[i]);
}

void write_array(struct gguf_writer *w, const char *key, uint32_t type, const void *values, size_t count) {
    write_array_head(w, key, type, count);
    buf_append(&w->values, values, 4 * count, NULL);
}

static void pad(struct buf *b, size_t alignment) {
    b->max = FILE_MAX;
    while (b->length % alignment != 0) write_bytes(b, 0, 1);
}

static size_t alignment_of(const struct gguf_writer *w) {
    return w->alignment ? w->alignment : 32;
}

void write_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t rank, const uint64_t *extents,
                  const void *data, size_t bytes) {
    pad(&w->data, alignment_of(w));
    write_text(&w->descriptions, name);
    write_bytes(&w->descriptions, rank, 4);
    for (uint32_t i = 0; i < rank; i++) write_bytes(&w->descriptions, extents[i], 8);
    write_bytes(&w->descriptions, type, 4);
    write_bytes(&w->descriptions, w->data.length, 8);
    buf_append(&w->data, data, bytes, NULL);
    w->tensors++;
}

void write_finish(struct gguf_writer *w, struct buf *file) {
    file->max = FILE_MAX;
    buf_append_text(file, "GGUF", NULL);
    write_bytes(file, w->version ? w->version : 3, 4);
    write_bytes(file, w->tensors, 8);
    write_bytes(file, w->keys, 8);
    buf_append(file, w->values.data, w->values.length, NULL);
    buf_append(file, w->descriptions.data, w->descriptions.length, NULL);
    if (w->tensors > 0) pad(file, alignment_of(w));
    buf_append(file, w->data.data, w->data.length, NULL);
    buf_free(&w->values);
    buf_free(&w->descriptions);
    buf_free(&w->data);
    *w = (struct gguf_writer){0};
}
