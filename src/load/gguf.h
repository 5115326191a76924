/* gguf.h: one GGUF file, memory-mapped: its metadata and its tensors.
 *
 * Format (github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3, little-endian: magic "GGUF", version,
 * numbers of tensors and of keys; the keys with their values; for each tensor its name, extents (fastest first), type and
 * offset; then, aligned, the data. Enforced: every length and count is checked against the bytes that are left before
 * anything is allocated for it, so that memory follows the size of the file; keys and tensor names are distinct; values
 * have a type that the format defines, arrays nest at most GGUF_MAX_DEPTH deep; general.alignment is a power of two; a
 * tensor has at most four extents, none of them zero, whole blocks in a row, an aligned offset, and its bytes lie inside
 * the file and over no other tensor. The contents of tensors are not looked at. */
#ifndef LOAD_GGUF_H
#define LOAD_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "load/safetensors.h"

enum {
    GGUF_MAX_KEYS = 1 << 16, /* bounds the table that a hostile file can ask for; real files have tens */
    GGUF_MAX_KEY = 65535,    /* bytes of a key, the format's own limit */
    GGUF_MAX_NAME = 255,     /* bytes of a tensor's name; ggml's own limit is 63 */
    GGUF_MAX_DEPTH = 4,      /* arrays in arrays */
    GGUF_MAX_RANK = 4
};

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

struct gguf;

/* Maps a regular file. TEMPERA_UNSUPPORTED, by name, for other versions, for big-endian files, for older formats of ggml
 * and for tensor types other than F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K; TEMPERA_FORMAT for what contradicts the
 * format. */
tempera_status gguf_open(struct gguf **gguf, const char *path, tempera_error *err);
/* The same from bytes that outlive it; for tests and fuzzing. */
tempera_status gguf_parse(struct gguf **gguf, const void *bytes, size_t size, const char *name, tempera_error *err);
void gguf_free(struct gguf *gguf);

/* Everything below is borrowed from the file and valid until gguf_free. */

const char *gguf_name(const struct gguf *gguf); /* its path, which starts every message */
/* Shapes as in safetensors, slowest extent first. */
const struct tensor_set *gguf_tensors(const struct gguf *gguf);

/* A string of the file: no terminator, any bytes. */
struct gguf_text {
    const char *text; /* [length] */
    size_t length;
};
bool gguf_text_is(struct gguf_text text, const char *word);

size_t gguf_key_count(const struct gguf *gguf);
struct gguf_text gguf_key_at(const struct gguf *gguf, size_t index); /* in file order */
bool gguf_has(const struct gguf *gguf, const char *key);

/* Getters: a missing key leaves *value as it is and returns OK; a value of another type or out of [min, max] fails with
 * TEMPERA_FORMAT and is named. gguf_integer takes every integer type, gguf_number those and both floating types, finite. */
tempera_status gguf_integer(const struct gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *value,
                            tempera_error *err);
tempera_status gguf_number(const struct gguf *gguf, const char *key, double min, double max, double *value,
                           tempera_error *err);
tempera_status gguf_bool(const struct gguf *gguf, const char *key, bool *value, tempera_error *err);
tempera_status gguf_string(const struct gguf *gguf, const char *key, struct gguf_text *value, tempera_error *err);

/* An array of strings or numbers; zero-initialise: that is the empty one. */
struct gguf_array {
    enum gguf_type type; /* of its elements */
    size_t count;
    const unsigned char *data; /* the elements as they lie */
};
/* With elements of this type. */
tempera_status gguf_array(const struct gguf *gguf, const char *key, enum gguf_type type, struct gguf_array *value,
                          tempera_error *err);
/* Takes the first string off an array of strings that is not empty. */
struct gguf_text gguf_array_take(struct gguf_array *array);
float gguf_array_f32(const struct gguf_array *array, size_t index);
int32_t gguf_array_i32(const struct gguf_array *array, size_t index);

#endif
