/* tensor_header.h: the two JSON texts of the safetensors format, apart from files: a file's header and a
 * shard index. Inside load/ only; callers use safetensors.h. */
#ifndef LOAD_TENSOR_HEADER_H
#define LOAD_TENSOR_HEADER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/map.h"
#include "load/safetensors.h"

enum {
    TENSOR_HEADER_MAX = 100000000, /* bytes, the format's own limit; taken for an index too */
    TENSOR_MAX_COUNT = 1 << 20,    /* tensors of a model: bounds the tables that a hostile header can ask for */
    TENSOR_MAX_METADATA = 1 << 16, /* entries of __metadata__ */
    TENSOR_MAX_SHARDS = 4096       /* each is a mapping, of which a process may have some 65,000 */
};

struct tensor_list {
    struct tensor_view *items; /* [count], owned (mem_free) */
    size_t count, capacity;
};

/* Checks the file image bytes[0, size) and appends its tensors to the list in file order, names in the arena.
 * `file` is printed in messages and becomes the views' file: borrowed. On failure the list may hold some of
 * the tensors. */
tempera_status tensor_header_read(struct tensor_list *list, struct arena *arena, const unsigned char *bytes,
                                  size_t size, const char *file, tempera_error *err);

/* A set of the tensors that the reader of another format found in one file. `name` is the file: in the arena `names`, and
 * the very pointer that the views carry. Takes list, names and map over and leaves them zeroed; when it fails because
 * memory ran out before that, they are still the caller's. */
tempera_status tensor_set_take(struct tensor_set **set, struct tensor_list *list, struct arena *names,
                               struct file_map *map, const char *name, tempera_error *err);

struct index_entry {
    const char *name; /* of the tensor */
    uint32_t shard;   /* index into shards */
    bool found;       /* for the reader of the shards; false at first */
};

struct tensor_index {
    struct index_entry *entries; /* [count] in the order of the text, owned */
    size_t count, capacity;
    const char **shards; /* [shard_count] file names without folders, in order of appearance, owned */
    size_t shard_count, shard_capacity;
    struct map by_name; /* tensor name -> entry */
    struct map by_file; /* shard file name -> shard */
};

/* Checks and reads the text of a model.safetensors.index.json; zero-initialise *index. All strings are in the
 * arena. Free it after a failure too. */
tempera_status tensor_index_read(struct tensor_index *index, struct arena *arena, const char *text, size_t length,
                                 const char *file, tempera_error *err);
void tensor_index_free(struct tensor_index *index);

#endif
