/* fuzz_safetensors.c: a file image from memory, and the same bytes as a shard index. An image that is
 * accepted must tile its data: every view inside it, and together all of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "load/safetensors.h"
#include "load/tensor_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition) abort();
}

static void check_set(const struct tensor_set *set, const uint8_t *data, size_t size) {
    size_t total = 0;
    for (size_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor_view *v = tensor_set_at(set, i), *same;
        require(v->data >= data + 8 && v->data <= data + size && v->bytes <= (size_t)(data + size - v->data));
        require(tensor_set_find(set, v->name) == v);
        require(v->rank >= 0 && v->rank <= TENSOR_MAX_RANK && (int)v->dtype < DTYPE_COUNT);
        if (tensor_set_get(set, v->name, v->rank, v->shape, &same, NULL) == TEMPERA_OK) require(same == v);
        total += v->bytes;
    }
    uint64_t header = 0;
    memcpy(&header, data, 8);
    require(total == size - 8 - header);
}

static void try_image(const uint8_t *data, size_t size) {
    struct tensor_set *set;
    tempera_error err;
    tempera_status status = tensor_set_parse(&set, data, size, "fuzz", &err);
    require((set != NULL) == (status == TEMPERA_OK));
    if (set) check_set(set, data, size);
    tensor_set_free(set);
}

/* Header bytes are given a correct length, so that the fuzzer need not guess it. */
static void try_header(const uint8_t *data, size_t size) {
    if (size < 1) return;
    size_t payload = data[0]; /* the first byte chooses how much data follows the header */
    size_t header = size - 1, total = 8 + header + payload;
    uint8_t *image = calloc(1, total);
    require(image != NULL);
    uint64_t length = header;
    memcpy(image, &length, 8);
    memcpy(image + 8, data + 1, header);
    try_image(image, total);
    free(image);
}

static void try_index(const uint8_t *data, size_t size) {
    struct tensor_index index = {0};
    struct arena arena = {0};
    tempera_error err;
    if (tensor_index_read(&index, &arena, (const char *)data, size, "fuzz", &err) == TEMPERA_OK) {
        require(index.by_name.count == index.count && index.by_file.count == index.shard_count);
        for (size_t i = 0; i < index.count; i++) require(index.entries[i].shard < index.shard_count);
        for (size_t i = 0; i < index.shard_count; i++) {
            const char *file = index.shards[i];
            require(file[0] && !strchr(file, '/') && strcmp(file, "..") != 0);
        }
    }
    tensor_index_free(&index);
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mem_stats before = mem_stats_get();
    try_image(data, size);
    try_header(data, size);
    try_index(data, size);
    require(mem_stats_get().live == before.live);
    return 0;
}
