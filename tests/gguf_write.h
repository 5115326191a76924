/* gguf_write.h: GGUF files written for tests, right and wrong ones. Written from the format's description, apart from the
 * reader. */
#ifndef TESTS_GGUF_WRITE_H
#define TESTS_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Numbers of the format. */
enum { W_U8, W_I8, W_U16, W_I16, W_U32, W_I32, W_F32, W_BOOL, W_STRING, W_ARRAY, W_U64, W_I64, W_F64 };
enum { W_T_F32 = 0, W_T_F16 = 1, W_T_Q4_0 = 2, W_T_Q8_0 = 8, W_T_Q4_K = 12, W_T_Q6_K = 14, W_T_BF16 = 30 };

/* Zero-initialise and set what differs: zeros stand for version 3 and an alignment of 32. */
struct gguf_writer {
    uint32_t version;
    size_t alignment;
    uint64_t keys, tensors;
    struct buf values, descriptions, data;
};

/* Little-endian bytes at the end of a buffer; a text comes with its length before it. */
void write_bytes(struct buf *b, uint64_t value, size_t bytes);
void write_text(struct buf *b, const char *text);

void write_key(struct gguf_writer *w, const char *key, uint32_t type); /* its value is for the caller to append */
void write_u32(struct gguf_writer *w, const char *key, uint32_t value);
void write_f32(struct gguf_writer *w, const char *key, float value);
void write_bool(struct gguf_writer *w, const char *key, bool value);
void write_string(struct gguf_writer *w, const char *key, const char *value);
void write_strings(struct gguf_writer *w, const char *key, const char *const *values, size_t count);
/* Elements of four bytes. */
void write_array(struct gguf_writer *w, const char *key, uint32_t type, const void *values, size_t count);
/* extents [rank], fastest first. */
void write_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t rank, const uint64_t *extents,
                  const void *data, size_t bytes);
/* The whole file, appended; frees the writer. */
void write_finish(struct gguf_writer *w, struct buf *file);

#endif
