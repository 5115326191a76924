/* tensor_header.c: reads header and index straight from the token stream, so that memory follows the number
 * of tensors and not what a hostile text puts between them. */
#include "load/tensor_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "load/json_reader.h"

enum { NAME_SHOWN = 160 }; /* bytes of a tensor's name that a message shows */

/* One header while it is read. */
struct header {
    struct json_reader reader;
    struct arena *arena;
    const char *file;
    const unsigned char *data; /* [data_size] */
    size_t data_size;
};

/* Room for one more item in an array that doubles. */
static tempera_status grow(void **items, size_t *capacity, size_t count, size_t size, tempera_error *err) {
    if (count < *capacity) return TEMPERA_OK;
    size_t bigger = *capacity ? *capacity * 2 : 64;
    void *moved = mem_realloc(*items, bigger * size);
    if (!moved) return fail_memory(err, bigger * size, "the tensor table");
    *items = moved;
    *capacity = bigger;
    return TEMPERA_OK;
}

static tempera_status fail_tensor(const struct header *h, const struct tensor_view *v, tempera_status status,
                                  const char *what, tempera_error *err) {
    return fail(err, status, "%s: tensor \"%.*s\": %s", h->file, NAME_SHOWN, v->name, what);
}

/* A key or string as terminated text; one with U+0000 in it would be cut. */
static tempera_status take_text(struct json_reader *r, struct arena *arena, const struct json_token *t,
                                const char **text, size_t *length, tempera_error *err) {
    if (t->nul) return json_fail(r, t, "a name without \\u0000", err);
    *text = json_text(arena, t, length);
    return *text ? TEMPERA_OK : fail_memory(err, t->length + 1, "a name");
}

static tempera_status read_dtype(struct header *h, struct tensor_view *v, tempera_error *err) {
    struct json_token t;
    TRY(json_next_kind(&h->reader, JSON_STRING, "a dtype in double quotes", &t, err));
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (!json_is(&t, dtype_name((enum dtype)i))) continue;
        v->dtype = (enum dtype)i;
        return TEMPERA_OK;
    }
    return fail(err, TEMPERA_UNSUPPORTED, "%s: tensor \"%.*s\": dtype \"%.*s\" is not known", h->file, NAME_SHOWN,
                v->name, (int)(t.length < 32 ? t.length : 32), t.text);
}

static tempera_status read_shape(struct header *h, struct tensor_view *v, tempera_error *err) {
    struct json_token t;
    TRY(json_next_kind(&h->reader, JSON_ARRAY, "a shape in brackets", &t, err));
    for (;;) {
        TRY(json_next(&h->reader, &t, err));
        if (t.kind == JSON_ARRAY_END) return TEMPERA_OK;
        uint64_t extent;
        if (!json_digits(&t, SIZE_MAX, &extent)) return json_fail(&h->reader, &t, "a non-negative integer", err);
        if (v->rank == TENSOR_MAX_RANK)
            return fail(err, TEMPERA_UNSUPPORTED, "%s: tensor \"%.*s\": more than %d dimensions", h->file, NAME_SHOWN,
                        v->name, TENSOR_MAX_RANK);
        v->shape[v->rank++] = (size_t)extent;
    }
}

/* "[BEGIN, END]" relative to the data; both within it. */
static tempera_status read_offsets(struct header *h, struct tensor_view *v, tempera_error *err) {
    uint64_t offset[2];
    struct json_token t;
    TRY(json_next_kind(&h->reader, JSON_ARRAY, "data_offsets in brackets", &t, err));
    for (int i = 0; i < 2; i++) {
        TRY(json_next(&h->reader, &t, err));
        if (!json_digits(&t, UINT64_MAX, &offset[i])) return json_fail(&h->reader, &t, "a byte offset", err);
    }
    TRY(json_next_kind(&h->reader, JSON_ARRAY_END, "two byte offsets", &t, err));
    if (offset[0] > offset[1] || offset[1] > h->data_size)
        return fail(err, TEMPERA_FORMAT,
                    "%s: tensor \"%.*s\": data_offsets [%llu, %llu] do not lie in the file's %zu bytes of data",
                    h->file, NAME_SHOWN, v->name, (unsigned long long)offset[0], (unsigned long long)offset[1],
                    h->data_size);
    v->data = h->data + offset[0];
    v->bytes = (size_t)(offset[1] - offset[0]);
    return TEMPERA_OK;
}

static tempera_status check_bytes(const struct header *h, const struct tensor_view *v, tempera_error *err) {
    size_t bytes = dtype_size(v->dtype);
    for (int i = 0; i < v->rank; i++)
        if (!size_mul(bytes, v->shape[i], &bytes))
            return fail_tensor(h, v, TEMPERA_FORMAT, "the product of its shape overflows", err);
    if (bytes == v->bytes) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT,
                "%s: tensor \"%.*s\": its shape and dtype need %zu bytes, its data_offsets give %zu", h->file,
                NAME_SHOWN, v->name, bytes, v->bytes);
}

/* The value of one header entry; v->name is set. */
static tempera_status read_entry(struct header *h, struct tensor_view *v, tempera_error *err) {
    static const struct {
        const char *key;
        tempera_status (*read)(struct header *, struct tensor_view *, tempera_error *);
    } fields[] = {{"dtype", read_dtype}, {"shape", read_shape}, {"data_offsets", read_offsets}};
    enum { FIELDS = sizeof fields / sizeof fields[0] };
    bool seen[FIELDS] = {false};
    struct json_token t;
    TRY(json_next_kind(&h->reader, JSON_OBJECT, "an object that describes a tensor", &t, err));
    for (;;) {
        TRY(json_next(&h->reader, &t, err));
        if (t.kind == JSON_OBJECT_END) break;
        size_t i = 0;
        while (i < FIELDS && !json_is(&t, fields[i].key)) i++;
        if (i == FIELDS) return json_fail(&h->reader, &t, "dtype, shape or data_offsets, and no other key", err);
        if (seen[i]) return json_fail(&h->reader, &t, "no key to appear twice", err);
        seen[i] = true;
        TRY(fields[i].read(h, v, err));
    }
    for (size_t i = 0; i < FIELDS; i++)
        if (!seen[i])
            return fail(err, TEMPERA_FORMAT, "%s: tensor \"%.*s\": %s is missing", h->file, NAME_SHOWN, v->name,
                        fields[i].key);
    return check_bytes(h, v, err);
}

/* __metadata__: free text for people, but it must be what the format says: strings under distinct keys. */
static tempera_status read_metadata(struct header *h, tempera_error *err) {
    struct map keys = {0};
    struct json_token t;
    tempera_status status;
    TRY_GOTO(json_next_kind(&h->reader, JSON_OBJECT, "an object of strings", &t, err));
    for (;;) {
        TRY_GOTO(json_next(&h->reader, &t, err));
        if (t.kind == JSON_OBJECT_END) break;
        size_t length = 0;
        const char *key = json_text(h->arena, &t, &length);
        bool existing = false;
        if (!key || !map_put(&keys, key, length, 0, &existing))
            status = fail_memory(err, t.length, "the metadata");
        else if (existing)
            status = json_fail(&h->reader, &t, "no key to appear twice", err);
        else if (keys.count > TENSOR_MAX_METADATA)
            status = json_fail(&h->reader, &t, "fewer entries in __metadata__", err);
        else
            status = json_next_kind(&h->reader, JSON_STRING, "a string", &t, err);
        if (status != TEMPERA_OK) goto cleanup;
    }
cleanup:
    map_free(&keys);
    return status;
}

static tempera_status read_entries(struct header *h, struct tensor_list *list, tempera_error *err) {
    struct json_token t;
    bool metadata = false;
    TRY(json_next_kind(&h->reader, JSON_OBJECT, "an object", &t, err));
    for (;;) {
        TRY(json_next(&h->reader, &t, err));
        if (t.kind == JSON_OBJECT_END) break;
        if (json_is(&t, "__metadata__")) {
            if (metadata) return json_fail(&h->reader, &t, "no key to appear twice", err);
            metadata = true;
            TRY(read_metadata(h, err));
            continue;
        }
        if (list->count == TENSOR_MAX_COUNT)
            return fail(err, TEMPERA_UNSUPPORTED, "%s: more than %d tensors", h->file, TENSOR_MAX_COUNT);
        TRY(grow((void **)&list->items, &list->capacity, list->count, sizeof *list->items, err));
        struct tensor_view v = {.file = h->file};
        TRY(take_text(&h->reader, h->arena, &t, &v.name, NULL, err));
        TRY(read_entry(h, &v, err));
        list->items[list->count++] = v;
    }
    return json_next_kind(&h->reader, JSON_END, "the end", &t, err);
}

/* By place in the file; tensors of no bytes may share a place, so the name decides between them. */
static int compare_place(const void *a, const void *b) {
    const struct tensor_view *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* items[0, count) must cover the data from its first byte to its last, without a hole or an overlap. */
static tempera_status check_tiling(const struct header *h, struct tensor_view *items, size_t count,
                                   tempera_error *err) {
    if (count > 0) qsort(items, count, sizeof *items, compare_place);
    size_t end = 0;
    for (size_t i = 0; i < count; i++) {
        size_t begin = (size_t)(items[i].data - h->data);
        if (begin != end)
            return fail(err, TEMPERA_FORMAT, "%s: tensor \"%.*s\" begins at data byte %zu, expected %zu (%s)", h->file,
                        NAME_SHOWN, items[i].name, begin, end, begin < end ? "overlap" : "hole");
        end += items[i].bytes;
    }
    if (end == h->data_size) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: %zu bytes of data, but the tensors end at %zu", h->file, h->data_size, end);
}

/* Names are compared after the whole header is read, because the list may grow until then. */
static tempera_status check_names(const struct header *h, const struct tensor_view *items, size_t count,
                                  tempera_error *err) {
    struct map names;
    if (!map_init(&names, count)) return fail_memory(err, count * sizeof(struct map_slot), "the tensor names");
    tempera_status status = TEMPERA_OK;
    for (size_t i = 0; i < count && status == TEMPERA_OK; i++) {
        bool existing;
        if (!map_put(&names, items[i].name, strlen(items[i].name), 0, &existing))
            status = fail_memory(err, count * sizeof(struct map_slot), "the tensor names");
        else if (existing)
            status = fail_tensor(h, &items[i], TEMPERA_FORMAT, "appears twice", err);
    }
    map_free(&names);
    return status;
}

tempera_status tensor_header_read(struct tensor_list *list, struct arena *arena, const unsigned char *bytes,
                                  size_t size, const char *file, tempera_error *err) {
    if (size < 8) return fail(err, TEMPERA_FORMAT, "%s: expected a safetensors file, found only %zu bytes", file, size);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > TENSOR_HEADER_MAX || length > size - 8)
        return fail(err, TEMPERA_FORMAT,
                    "%s: not a safetensors file, or cut short: its header claims %llu bytes, the file has %zu", file,
                    (unsigned long long)length, size);
    if (length == 0 || bytes[8] != '{')
        return fail(err, TEMPERA_FORMAT, "%s: a safetensors header must begin with '{'", file);
    struct header h = {
        .reader = json_reader_start((const char *)bytes + 8, (size_t)length, file),
        .arena = arena,
        .file = file,
        .data = bytes + 8 + length,
        .data_size = size - 8 - (size_t)length,
    };
    size_t first = list->count;
    TRY(read_entries(&h, list, err));
    struct tensor_view *items = list->items ? list->items + first : NULL;
    TRY(check_names(&h, items, list->count - first, err));
    return check_tiling(&h, items, list->count - first, err);
}

/* A plain file name: nothing that could lead out of the folder. */
static bool stays_inside(const char *name) {
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static tempera_status find_shard(struct tensor_index *index, struct json_reader *r, struct arena *arena,
                                 const struct json_token *t, uint32_t *shard, tempera_error *err) {
    if (!t->escaped) { /* all but the first mention of a shard take no memory */
        const uint32_t *known = map_get(&index->by_file, t->text, t->length);
        if (known) {
            *shard = *known;
            return TEMPERA_OK;
        }
    }
    const char *file;
    size_t length;
    TRY(take_text(r, arena, t, &file, &length, err));
    if (!stays_inside(file)) return json_fail(r, t, "the name of a file in the index's own folder", err);
    bool existing;
    if (!map_put(&index->by_file, file, length, (uint32_t)index->shard_count, &existing))
        return fail_memory(err, length, "the shard names");
    *shard = *map_get(&index->by_file, file, length);
    if (existing) return TEMPERA_OK;
    if (index->shard_count == TENSOR_MAX_SHARDS)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: more than %d shards", r->name, TENSOR_MAX_SHARDS);
    TRY(grow((void **)&index->shards, &index->shard_capacity, index->shard_count, sizeof *index->shards, err));
    index->shards[index->shard_count++] = file;
    return TEMPERA_OK;
}

static tempera_status read_weight_map(struct tensor_index *index, struct json_reader *r, struct arena *arena,
                                      tempera_error *err) {
    struct json_token t;
    TRY(json_next_kind(r, JSON_OBJECT, "an object of shard names", &t, err));
    for (;;) {
        TRY(json_next(r, &t, err));
        if (t.kind == JSON_OBJECT_END) return TEMPERA_OK;
        if (index->count == TENSOR_MAX_COUNT)
            return fail(err, TEMPERA_UNSUPPORTED, "%s: more than %d tensors", r->name, TENSOR_MAX_COUNT);
        TRY(grow((void **)&index->entries, &index->capacity, index->count, sizeof *index->entries, err));
        struct index_entry entry = {0};
        size_t length;
        TRY(take_text(r, arena, &t, &entry.name, &length, err));
        bool existing;
        if (!map_put(&index->by_name, entry.name, length, (uint32_t)index->count, &existing))
            return fail_memory(err, length, "the tensor names");
        if (existing) return json_fail(r, &t, "no tensor to appear twice", err);
        TRY(json_next_kind(r, JSON_STRING, "the name of a shard", &t, err));
        TRY(find_shard(index, r, arena, &t, &entry.shard, err));
        index->entries[index->count++] = entry;
    }
}

tempera_status tensor_index_read(struct tensor_index *index, struct arena *arena, const char *text, size_t length,
                                 const char *file, tempera_error *err) {
    struct json_reader r = json_reader_start(text, length, file);
    struct json_token t;
    bool seen = false;
    TRY(json_next_kind(&r, JSON_OBJECT, "an object", &t, err));
    for (;;) {
        TRY(json_next(&r, &t, err));
        if (t.kind == JSON_OBJECT_END) break;
        if (json_is(&t, "weight_map")) {
            if (seen) return json_fail(&r, &t, "no key to appear twice", err);
            seen = true;
            TRY(read_weight_map(index, &r, arena, err));
        } else { /* metadata: total_size is wrong in many published indexes and nothing needs it */
            TRY(json_next(&r, &t, err));
            TRY(json_skip(&r, &t, err));
        }
    }
    TRY(json_next_kind(&r, JSON_END, "the end", &t, err));
    if (!seen) return fail(err, TEMPERA_FORMAT, "%s: weight_map is missing", file);
    return TEMPERA_OK;
}

void tensor_index_free(struct tensor_index *index) {
    mem_free(index->entries);
    mem_free(index->shards);
    map_free(&index->by_name);
    map_free(&index->by_file);
    *index = (struct tensor_index){0};
}
