/* safetensors.c: a set of mapped files and one table of their tensors. */
#include "load/safetensors.h"

#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "load/tensor_header.h"

static const char SINGLE_FILE[] = "model.safetensors";
static const char INDEX_FILE[] = "model.safetensors.index.json";

struct tensor_file {
    struct file_map map; /* empty for bytes that the caller owns */
    const char *path;    /* in the arena; the very pointer that the views carry */
};

struct tensor_set {
    struct arena arena; /* paths and names */
    struct arena names; /* those that another reader has made */
    struct tensor_list list;
    struct map by_name; /* tensor name -> index into the list */
    struct tensor_file *files;
    size_t file_count;
    const char *name; /* what the caller opened, for messages; in the arena */
};

const char *dtype_name(enum dtype dtype) {
    static const char *const names[] = {
#define DTYPE_NAME(name, size) #name,
        DTYPE_MAP(DTYPE_NAME)
#undef DTYPE_NAME
            "?",
#define DTYPE_BLOCK_NAME(name, elements, bytes) #name,
        DTYPE_BLOCK_MAP(DTYPE_BLOCK_NAME)
#undef DTYPE_BLOCK_NAME
    };
    return (unsigned)dtype < DTYPE_END ? names[dtype] : "?";
}

size_t dtype_size(enum dtype dtype) {
    static const unsigned char sizes[] = {
#define DTYPE_SIZE(name, size) size,
        DTYPE_MAP(DTYPE_SIZE)
#undef DTYPE_SIZE
    };
    return (unsigned)dtype < DTYPE_COUNT ? sizes[dtype] : 0;
}

static const struct {
    unsigned short elements, bytes;
} blocks[] = {
#define DTYPE_BLOCK(name, elements, bytes) {elements, bytes},
    DTYPE_BLOCK_MAP(DTYPE_BLOCK)
#undef DTYPE_BLOCK
};

bool dtype_is_block(enum dtype dtype) {
    return dtype > DTYPE_COUNT && dtype < DTYPE_END;
}

size_t dtype_block_elements(enum dtype dtype) {
    return dtype_is_block(dtype) ? blocks[dtype - DTYPE_COUNT - 1].elements : 1;
}

size_t dtype_block_bytes(enum dtype dtype) {
    return dtype_is_block(dtype) ? blocks[dtype - DTYPE_COUNT - 1].bytes : dtype_size(dtype);
}

/* An empty set with room for `files` files. */
static tempera_status set_create(struct tensor_set **out, const char *name, size_t files, tempera_error *err) {
    struct tensor_set *set = mem_array(1, sizeof *set);
    if (!set) return fail_memory(err, sizeof *set, "a tensor set");
    set->files = mem_array(files, sizeof *set->files);
    set->name = arena_strndup(&set->arena, name, strlen(name));
    if (!set->files || !set->name) {
        tensor_set_free(set);
        return fail_memory(err, files * sizeof *set->files, "a tensor set");
    }
    *out = set;
    return TEMPERA_OK;
}

void tensor_set_free(struct tensor_set *set) {
    if (!set) return;
    for (size_t i = 0; i < set->file_count; i++) file_map_close(&set->files[i].map);
    mem_free(set->files);
    mem_free(set->list.items);
    map_free(&set->by_name);
    arena_free(&set->arena);
    arena_free(&set->names);
    mem_free(set);
}

/* Maps one more file of the set and reads its header. */
static tempera_status add_file(struct tensor_set *set, const char *path, tempera_error *err) {
    struct tensor_file *file = &set->files[set->file_count];
    file->path = arena_strndup(&set->arena, path, strlen(path));
    if (!file->path) return fail_memory(err, strlen(path), "a path");
    TRY(file_map_open(&file->map, path, err));
    set->file_count++;
    return tensor_header_read(&set->list, &set->arena, file->map.data, file->map.size, file->path, err);
}

/* The look-up table, once all tensors are there. */
static tempera_status index_names(struct tensor_set *set, tempera_error *err) {
    if (!map_init(&set->by_name, set->list.count)) return fail_memory(err, set->list.count, "the tensor names");
    for (size_t i = 0; i < set->list.count; i++) {
        const char *name = set->list.items[i].name;
        if (!map_put(&set->by_name, name, strlen(name), (uint32_t)i, NULL))
            return fail_memory(err, set->list.count, "the tensor names");
    }
    return TEMPERA_OK;
}

/* Hands the finished set over, or frees it when something went wrong. */
static tempera_status finish(struct tensor_set *set, struct tensor_set **out, tempera_status status,
                             tempera_error *err) {
    if (status == TEMPERA_OK) status = index_names(set, err);
    if (status == TEMPERA_OK)
        *out = set;
    else
        tensor_set_free(set);
    return status;
}

tempera_status tensor_set_open_file(struct tensor_set **out, const char *path, tempera_error *err) {
    *out = NULL;
    struct tensor_set *set;
    TRY(set_create(&set, path, 1, err));
    return finish(set, out, add_file(set, path, err), err);
}

tempera_status tensor_set_parse(struct tensor_set **out, const void *bytes, size_t size, const char *name,
                                tempera_error *err) {
    *out = NULL;
    struct tensor_set *set;
    TRY(set_create(&set, name, 1, err));
    return finish(set, out, tensor_header_read(&set->list, &set->arena, bytes, size, set->name, err), err);
}

tempera_status tensor_set_take(struct tensor_set **out, struct tensor_list *list, struct arena *names,
                               struct file_map *map, const char *name, tempera_error *err) {
    *out = NULL;
    struct tensor_set *set;
    TRY(set_create(&set, name, 1, err));
    set->files[set->file_count++] = (struct tensor_file){.map = *map, .path = name};
    set->list = *list;
    set->names = *names;
    *map = (struct file_map){0};
    *list = (struct tensor_list){0};
    *names = (struct arena){0};
    return finish(set, out, TEMPERA_OK, err);
}

/* Tensors list.items[first …] were just read from `shard`: each must be where the index says. */
static tempera_status check_shard(const struct tensor_set *set, struct tensor_index *index, size_t first, size_t shard,
                                  tempera_error *err) {
    for (size_t i = first; i < set->list.count; i++) {
        const struct tensor_view *v = &set->list.items[i];
        const uint32_t *at = map_get(&index->by_name, v->name, strlen(v->name));
        if (!at) return fail(err, TEMPERA_FORMAT, "%s: tensor \"%.160s\" is not in %s", v->file, v->name, INDEX_FILE);
        struct index_entry *entry = &index->entries[*at];
        if (entry->shard != shard)
            return fail(err, TEMPERA_FORMAT, "%s: tensor \"%.160s\" should be in %.80s, says %s", v->file, v->name,
                        index->shards[entry->shard], INDEX_FILE);
        entry->found = true;
    }
    return TEMPERA_OK;
}

static tempera_status add_shards(struct tensor_set *set, const char *folder, struct tensor_index *index,
                                 tempera_error *err) {
    for (size_t i = 0; i < index->shard_count; i++) {
        size_t first = set->list.count;
        char *path = path_join(folder, index->shards[i]);
        if (!path) return fail_memory(err, strlen(folder), "a path");
        tempera_status status = add_file(set, path, err);
        mem_free(path);
        TRY(status);
        TRY(check_shard(set, index, first, i, err));
    }
    for (size_t i = 0; i < index->count; i++) {
        const struct index_entry *entry = &index->entries[i];
        if (!entry->found)
            return fail(err, TEMPERA_FORMAT, "%s: tensor \"%.160s\" is missing from shard %.80s", set->name,
                        entry->name, index->shards[entry->shard]);
    }
    return TEMPERA_OK;
}

static tempera_status open_shards(struct tensor_set **out, const char *folder, const char *index_path,
                                  tempera_error *err) {
    struct file_map text = {0};
    struct tensor_index index = {0};
    struct arena arena = {0};
    struct tensor_set *set = NULL;
    tempera_status status;
    TRY_GOTO(file_map_open(&text, index_path, err));
    if (text.size > TENSOR_HEADER_MAX) {
        status = fail(err, TEMPERA_TOO_LONG, "%s: %zu bytes, at most %d are accepted", index_path, text.size,
                      TENSOR_HEADER_MAX);
        goto cleanup;
    }
    TRY_GOTO(tensor_index_read(&index, &arena, (const char *)text.data, text.size, index_path, err));
    TRY_GOTO(set_create(&set, folder, index.shard_count, err));
    status = finish(set, out, add_shards(set, folder, &index, err), err);
cleanup:
    tensor_index_free(&index);
    arena_free(&arena);
    file_map_close(&text);
    return status;
}

tempera_status tensor_set_open(struct tensor_set **out, const char *folder, tempera_error *err) {
    *out = NULL;
    if (!folder_exists(folder)) return fail(err, TEMPERA_IO, "%s: expected a model folder, found none", folder);
    char *single = path_join(folder, SINGLE_FILE);
    char *index = path_join(folder, INDEX_FILE);
    tempera_status status;
    if (!single || !index)
        status = fail_memory(err, strlen(folder), "a path");
    else if (file_exists(single))
        status = tensor_set_open_file(out, single, err);
    else if (file_exists(index))
        status = open_shards(out, folder, index, err);
    else
        status = fail(err, TEMPERA_IO, "%s: expected %s or %s, found neither", folder, SINGLE_FILE, INDEX_FILE);
    mem_free(single);
    mem_free(index);
    return status;
}

size_t tensor_set_count(const struct tensor_set *set) {
    return set->list.count;
}

const struct tensor_view *tensor_set_at(const struct tensor_set *set, size_t index) {
    return index < set->list.count ? &set->list.items[index] : NULL;
}

const struct tensor_view *tensor_set_find(const struct tensor_set *set, const char *name) {
    const uint32_t *at = map_get(&set->by_name, name, strlen(name));
    return at ? &set->list.items[*at] : NULL;
}

/* "[2, 3]", cut when it does not fit; the text lives in the buffer. */
static const char *shape_text(struct buf *b, int rank, const size_t *shape) {
    if (buf_append_text(b, "[", NULL) != TEMPERA_OK) return "[?]";
    for (int i = 0; i < rank; i++)
        if (buf_printf(b, NULL, i ? ", %zu" : "%zu", shape[i]) != TEMPERA_OK) return "[?]";
    return buf_append_text(b, "]", NULL) == TEMPERA_OK ? b->data : "[?]";
}

tempera_status tensor_set_get(const struct tensor_set *set, const char *name, int rank, const size_t *shape,
                              const struct tensor_view **view, tempera_error *err) {
    *view = NULL;
    const struct tensor_view *v = tensor_set_find(set, name);
    bool floating = v && (v->dtype == DTYPE_F32 || v->dtype == DTYPE_F16 || v->dtype == DTYPE_BF16 ||
                          (rank == 2 && dtype_is_block(v->dtype)));
    if (floating && v->rank == rank && (rank == 0 || memcmp(v->shape, shape, (size_t)rank * sizeof *shape) == 0)) {
        *view = v;
        return TEMPERA_OK;
    }
    struct buf expected = {.max = 256}, found = {.max = 256};
    if (!v)
        fail(err, TEMPERA_FORMAT, "%s: tensor \"%s\" is missing (expected shape %s)", set->name, name,
             shape_text(&expected, rank, shape));
    else
        fail(err, TEMPERA_FORMAT, "%s: tensor \"%s\": expected shape %s of F32, F16 or BF16, found %s of %s", v->file,
             name, shape_text(&expected, rank, shape), shape_text(&found, v->rank, v->shape), dtype_name(v->dtype));
    buf_free(&expected);
    buf_free(&found);
    return TEMPERA_FORMAT;
}

/* NULL: bytes that the caller owns. */
static const struct file_map *map_of(const struct tensor_set *set, const struct tensor_view *view) {
    for (size_t i = 0; i < set->file_count; i++)
        if (set->files[i].path == view->file && set->files[i].map.data) return &set->files[i].map;
    return NULL;
}

bool tensor_set_is_mapped(const struct tensor_set *set, const struct tensor_view *view) {
    return map_of(set, view) != NULL;
}

void tensor_set_forget(const struct tensor_set *set, const struct tensor_view *view) {
    const struct file_map *map = map_of(set, view);
    if (map) file_map_forget(map, (size_t)(view->data - map->data), view->bytes);
}

void tensor_set_forget_all(const struct tensor_set *set) {
    for (size_t i = 0; i < set->file_count; i++) file_map_forget(&set->files[i].map, 0, set->files[i].map.size);
}
