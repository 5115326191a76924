/* safetensors.h: memory-mapped weights from one model.safetensors or from the shards of model.safetensors.index.json.
 *
 * Format rules enforced (github.com/huggingface/safetensors): 8-byte little-endian header length <= 100,000,000; the
 * header is a strict JSON object without duplicate keys, possibly padded with spaces; dtype known; shape of non-negative
 * integers, product checked for overflow; offsets ordered, no holes, no overlap, first at 0, last at the end of the
 * file; byte length equals shape times element size. The contents of tensors are not looked at. */
#ifndef LOAD_SAFETENSORS_H
#define LOAD_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* X(name, bytes per element) */
/* clang-format off */
#define DTYPE_MAP(X)                                                                                          \
    X(F64, 8) X(F32, 4) X(F16, 2) X(BF16, 2) X(I64, 8) X(I32, 4) X(I16, 2) X(I8, 1) X(U64, 8) X(U32, 4)       \
    X(U16, 2) X(U8, 1) X(BOOL, 1) X(F8_E4M3, 1) X(F8_E5M2, 1)
/* X(name, elements of a block, bytes of a block): rows of quantised blocks */
#define DTYPE_BLOCK_MAP(X) X(Q4_0, 32, 18) X(Q8_0, 32, 34) X(Q4_K, 256, 144) X(Q6_K, 256, 210)
/* clang-format on */

enum dtype {
#define DTYPE_ENUM(name, size) DTYPE_##name,
    DTYPE_MAP(DTYPE_ENUM)
#undef DTYPE_ENUM
        DTYPE_COUNT, /* of safetensors; those below are in GGUF files only (gguf.h) */
#define DTYPE_BLOCK_ENUM(name, elements, bytes) DTYPE_##name,
    DTYPE_BLOCK_MAP(DTYPE_BLOCK_ENUM)
#undef DTYPE_BLOCK_ENUM
        DTYPE_END
};
const char *dtype_name(enum dtype dtype);
size_t dtype_size(enum dtype dtype); /* 0 for block types */
/* Whether a row is blocks of several elements (blocks.h), and how many elements and bytes such a block has; 1 and
 * dtype_size for the others. */
bool dtype_is_block(enum dtype dtype);
size_t dtype_block_elements(enum dtype dtype);
size_t dtype_block_bytes(enum dtype dtype);

enum { TENSOR_MAX_RANK = 8 };

struct tensor_view {
    const char *name; /* borrowed from the set */
    const char *file; /* path of the file that holds it, borrowed from the set */
    enum dtype dtype;
    int rank;
    size_t shape[TENSOR_MAX_RANK]; /* row-major, slowest first */
    const unsigned char *data;     /* bytes bytes, not necessarily aligned; valid until tensor_set_free */
    size_t bytes;
};

struct tensor_set;

/* Opens folder/model.safetensors, or the shards that folder/model.safetensors.index.json lists (names must stay inside
 * the folder; every tensor must be in the shard the index says, in no other, and none may be extra). */
tempera_status tensor_set_open(struct tensor_set **set, const char *folder, tempera_error *err);
/* One file at any path. */
tempera_status tensor_set_open_file(struct tensor_set **set, const char *path, tempera_error *err);
/* Checks a header and its tiling from memory: `bytes` is the whole file. For fuzzing and tests; views point into it. */
tempera_status tensor_set_parse(struct tensor_set **set, const void *bytes, size_t size, const char *name,
                                tempera_error *err);
void tensor_set_free(struct tensor_set *set);

size_t tensor_set_count(const struct tensor_set *set);
const struct tensor_view *tensor_set_at(const struct tensor_set *set, size_t index);       /* in file order */
const struct tensor_view *tensor_set_find(const struct tensor_set *set, const char *name); /* NULL when absent */
/* The tensor with exactly this shape and a floating dtype: F32, F16, BF16, and of matrices blocks of quantised numbers; the
 * error prints expected and found. */
tempera_status tensor_set_get(const struct tensor_set *set, const char *name, int rank, const size_t *shape,
                              const struct tensor_view **view, tempera_error *err);
/* Whether its bytes lie in a file that we have mapped, so that file_pages_fetch and _release may be used on them. */
bool tensor_set_is_mapped(const struct tensor_set *set, const struct tensor_view *view);
/* After a tensor's bytes were copied away: drops them from our resident set. */
void tensor_set_forget(const struct tensor_set *set, const struct tensor_view *view);
/* The same of whole files, with what lies between tensors and around those that share pages with others. */
void tensor_set_forget_all(const struct tensor_set *set);

#endif
