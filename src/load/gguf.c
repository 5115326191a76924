/* gguf.c: reading the header of a GGUF file, front to back, once. */
#include "load/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "load/tensor_header.h"

enum {
    SHOWN = 100,     /* bytes of a key or name that a message shows */
    MIN_VALUE = 13,  /* bytes of the shortest key with its value: 8 for the length, none, 4 for the type, 1 */
    MIN_TENSOR = 24, /* bytes of the shortest description of a tensor */
    MAX_ALIGN = 1 << 20,
    DEFAULT_ALIGN = 32
};

struct value {
    struct gguf_text key;
    enum gguf_type type;
    struct gguf_array array;   /* GGUF_ARRAY */
    const unsigned char *data; /* the value; of a string what follows its length */
    size_t length;             /* GGUF_STRING */
};

struct gguf {
    char *name;
    struct value *values; /* [count] */
    size_t count, capacity;
    struct map by_key; /* key → index into values */
    struct tensor_set *tensors;
};

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* The file while it is read. */
struct reading {
    struct gguf *gguf;
    const unsigned char *bytes; /* [size] */
    size_t size, at;
    const char *file;   /* in the arena; starts every message */
    struct arena names; /* of file and tensors */
    struct tensor_list list;
    struct map by_name; /* tensor names, to find those that come twice */
    struct file_map map;
    size_t alignment;
};

static uint64_t load_bytes(const unsigned char *p, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) value |= (uint64_t)p[i] << 8 * i;
    return value;
}

static size_t left(const struct reading *r) {
    return r->size - r->at;
}

static tempera_status fail_end(const struct reading *r, const char *what, tempera_error *err) {
    return fail(err, TEMPERA_FORMAT, "%s: byte %zu: the file ends inside %s", r->file, r->at, what);
}

static tempera_status take(struct reading *r, size_t bytes, uint64_t *value, const char *what, tempera_error *err) {
    *value = 0;
    if (left(r) < bytes) return fail_end(r, what, err);
    *value = load_bytes(r->bytes + r->at, bytes);
    r->at += bytes;
    return TEMPERA_OK;
}

static tempera_status take_text(struct reading *r, size_t max, struct gguf_text *text, const char *what,
                                tempera_error *err) {
    uint64_t length;
    TRY(take(r, 8, &length, what, err));
    if (length > left(r))
        return fail(err, TEMPERA_FORMAT, "%s: byte %zu: %s of %llu bytes, the file has %zu more", r->file, r->at, what,
                    (unsigned long long)length, left(r));
    if (length > max)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: byte %zu: %s of %llu bytes, at most %zu are read", r->file, r->at,
                    what, (unsigned long long)length, max);
    *text = (struct gguf_text){(const char *)r->bytes + r->at, (size_t)length};
    r->at += (size_t)length;
    return TEMPERA_OK;
}

static int shown(struct gguf_text text) {
    return (int)(text.length < SHOWN ? text.length : SHOWN);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    size_t size; /* 0: strings and arrays */
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"uint8", 1},      [GGUF_I8] = {"int8", 1},     [GGUF_U16] = {"uint16", 2},  [GGUF_I16] = {"int16", 2},
    [GGUF_U32] = {"uint32", 4},    [GGUF_I32] = {"int32", 4},   [GGUF_F32] = {"float32", 4}, [GGUF_BOOL] = {"bool", 1},
    [GGUF_STRING] = {"string", 0}, [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"uint64", 8},  [GGUF_I64] = {"int64", 8},
    [GGUF_F64] = {"float64", 8},
};

static tempera_status take_type(struct reading *r, struct gguf_text key, enum gguf_type *type, tempera_error *err) {
    uint64_t number;
    TRY(take(r, 4, &number, "a value's type", err));
    if (number >= GGUF_TYPE_COUNT)
        return fail(err, TEMPERA_FORMAT, "%s: \"%.*s\": value type %llu is not defined", r->file, shown(key), key.text,
                    (unsigned long long)number);
    *type = (enum gguf_type)number;
    return TEMPERA_OK;
}

static tempera_status check_bools(const struct reading *r, struct gguf_text key, const unsigned char *data,
                                  size_t count, tempera_error *err) {
    for (size_t i = 0; i < count; i++)
        if (data[i] > 1)
            return fail(err, TEMPERA_FORMAT, "%s: \"%.*s\": expected a bool of 0 or 1, found %u", r->file, shown(key),
                        key.text, (unsigned)data[i]);
    return TEMPERA_OK;
}

/* Elements of fixed size: checked against what is left by division, which cannot overflow. */
static tempera_status skip_fixed(struct reading *r, struct gguf_text key, enum gguf_type type, uint64_t count,
                                 tempera_error *err) {
    if (count > left(r) / types[type].size)
        return fail(err, TEMPERA_FORMAT, "%s: \"%.*s\": %llu elements of %s, the file has %zu bytes more", r->file,
                    shown(key), key.text, (unsigned long long)count, types[type].name, left(r));
    if (type == GGUF_BOOL) TRY(check_bools(r, key, r->bytes + r->at, (size_t)count, err));
    r->at += (size_t)count * types[type].size;
    return TEMPERA_OK;
}

/* Every element of an array takes bytes of the file, so a hostile count ends with the file. */
static tempera_status skip_array(struct reading *r, struct gguf_text key, int depth, struct gguf_array *array,
                                 tempera_error *err) {
    uint64_t count;
    if (depth > GGUF_MAX_DEPTH)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: \"%.*s\": arrays nested more than %d deep", r->file, shown(key),
                    key.text, GGUF_MAX_DEPTH);
    TRY(take_type(r, key, &array->type, err));
    TRY(take(r, 8, &count, "an array's length", err));
    if (count > left(r))
        return fail(err, TEMPERA_FORMAT, "%s: \"%.*s\": an array of %llu elements, the file has %zu bytes more",
                    r->file, shown(key), key.text, (unsigned long long)count, left(r));
    array->count = (size_t)count;
    array->data = r->bytes + r->at;
    if (types[array->type].size > 0) return skip_fixed(r, key, array->type, count, err);
    for (uint64_t i = 0; i < count; i++) {
        struct gguf_text text;
        struct gguf_array inner;
        TRY(array->type == GGUF_STRING ? take_text(r, SIZE_MAX, &text, "a string", err)
                                       : skip_array(r, key, depth + 1, &inner, err));
    }
    return TEMPERA_OK;
}

static tempera_status take_value(struct reading *r, struct value *v, tempera_error *err) {
    TRY(take_type(r, v->key, &v->type, err));
    if (v->type == GGUF_ARRAY) return skip_array(r, v->key, 1, &v->array, err);
    if (v->type != GGUF_STRING) {
        v->data = r->bytes + r->at;
        return skip_fixed(r, v->key, v->type, 1, err);
    }
    struct gguf_text text;
    TRY(take_text(r, SIZE_MAX, &text, "a string", err));
    v->data = (const unsigned char *)text.text;
    v->length = text.length;
    return TEMPERA_OK;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* Room for one more item in an array that doubles. */
static tempera_status grow(void **items, size_t *capacity, size_t count, size_t size, tempera_error *err) {
    if (count < *capacity) return TEMPERA_OK;
    size_t bigger = *capacity ? *capacity * 2 : 32;
    void *moved = mem_realloc(*items, bigger * size);
    if (!moved) return fail_memory(err, bigger * size, "the tables of a GGUF file");
    *items = moved;
    *capacity = bigger;
    return TEMPERA_OK;
}

/* Notes a name; a second one like it is refused. */
static tempera_status note(struct reading *r, struct map *names, struct gguf_text text, size_t index, const char *what,
                           tempera_error *err) {
    bool existing;
    if (!map_put(names, text.text, text.length, (uint32_t)index, &existing))
        return fail_memory(err, text.length, "the tables of a GGUF file");
    if (!existing) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: the %s \"%.*s\" appears twice", r->file, what, shown(text), text.text);
}

static tempera_status read_values(struct reading *r, uint64_t count, tempera_error *err) {
    struct gguf *g = r->gguf;
    if (count > left(r) / MIN_VALUE)
        return fail(err, TEMPERA_FORMAT, "%s: %llu keys in a file of %zu bytes", r->file, (unsigned long long)count,
                    r->size);
    if (count > GGUF_MAX_KEYS)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: %llu keys, at most %d are read", r->file, (unsigned long long)count,
                    GGUF_MAX_KEYS);
    for (uint64_t i = 0; i < count; i++) {
        struct value v = {0};
        TRY(take_text(r, GGUF_MAX_KEY, &v.key, "a key", err));
        TRY(note(r, &g->by_key, v.key, g->count, "key", err));
        TRY(take_value(r, &v, err));
        TRY(grow((void **)&g->values, &g->capacity, g->count, sizeof *g->values, err));
        g->values[g->count++] = v;
    }
    return TEMPERA_OK;
}

static tempera_status read_alignment(struct reading *r, tempera_error *err) {
    int64_t alignment = DEFAULT_ALIGN;
    TRY(gguf_integer(r->gguf, "general.alignment", 1, MAX_ALIGN, &alignment, err));
    if ((alignment & (alignment - 1)) != 0)
        return fail(err, TEMPERA_FORMAT, "%s: general.alignment: expected a power of two, found %lld", r->file,
                    (long long)alignment);
    r->alignment = (size_t)alignment;
    return TEMPERA_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* The number of a type in the file, ours, and the names of those that are not read. */
static const struct {
    const char *name;
    enum dtype dtype; /* DTYPE_END: not read */
} tensor_types[] = {
    [0] = {"F32", DTYPE_F32},     [1] = {"F16", DTYPE_F16},      [2] = {"Q4_0", DTYPE_Q4_0},
    [3] = {"Q4_1", DTYPE_END},    [6] = {"Q5_0", DTYPE_END},     [7] = {"Q5_1", DTYPE_END},
    [8] = {"Q8_0", DTYPE_Q8_0},   [9] = {"Q8_1", DTYPE_END},     [10] = {"Q2_K", DTYPE_END},
    [11] = {"Q3_K", DTYPE_END},   [12] = {"Q4_K", DTYPE_Q4_K},   [13] = {"Q5_K", DTYPE_END},
    [14] = {"Q6_K", DTYPE_Q6_K},  [15] = {"Q8_K", DTYPE_END},    [16] = {"IQ2_XXS", DTYPE_END},
    [17] = {"IQ2_XS", DTYPE_END}, [18] = {"IQ3_XXS", DTYPE_END}, [19] = {"IQ1_S", DTYPE_END},
    [20] = {"IQ4_NL", DTYPE_END}, [21] = {"IQ3_S", DTYPE_END},   [22] = {"IQ2_S", DTYPE_END},
    [23] = {"IQ4_XS", DTYPE_END}, [24] = {"I8", DTYPE_END},      [25] = {"I16", DTYPE_END},
    [26] = {"I32", DTYPE_END},    [27] = {"I64", DTYPE_END},     [28] = {"F64", DTYPE_END},
    [29] = {"IQ1_M", DTYPE_END},  [30] = {"BF16", DTYPE_BF16},   [34] = {"TQ1_0", DTYPE_END},
    [35] = {"TQ2_0", DTYPE_END},  [39] = {"MXFP4", DTYPE_END},
};

enum { TENSOR_TYPES = sizeof tensor_types / sizeof tensor_types[0] };

static tempera_status fail_tensor(const struct reading *r, const struct tensor_view *v, tempera_status status,
                                  const char *what, tempera_error *err) {
    return fail(err, status, "%s: tensor \"%.*s\": %s", r->file, SHOWN, v->name, what);
}

static tempera_status read_name(struct reading *r, struct tensor_view *v, tempera_error *err) {
    struct gguf_text name;
    TRY(take_text(r, GGUF_MAX_NAME, &name, "a tensor's name", err));
    if (name.length == 0 || memchr(name.text, 0, name.length))
        return fail(err, TEMPERA_FORMAT, "%s: byte %zu: a tensor's name is empty or has a zero byte", r->file, r->at);
    v->name = arena_strndup(&r->names, name.text, name.length);
    if (!v->name) return fail_memory(err, name.length, "a tensor's name");
    return note(r, &r->by_name, (struct gguf_text){v->name, name.length}, r->list.count, "tensor", err);
}

static tempera_status read_extents(struct reading *r, struct tensor_view *v, tempera_error *err) {
    uint64_t rank, extent;
    TRY(take(r, 4, &rank, "a tensor's extents", err));
    if (rank > GGUF_MAX_RANK)
        return fail(err, TEMPERA_FORMAT, "%s: tensor \"%.*s\": %llu dimensions, at most %d are possible", r->file,
                    SHOWN, v->name, (unsigned long long)rank, GGUF_MAX_RANK);
    v->rank = (int)rank;
    for (int i = v->rank; i-- > 0;) {
        TRY(take(r, 8, &extent, "a tensor's extents", err));
        if (extent == 0 || extent > SIZE_MAX) return fail_tensor(r, v, TEMPERA_FORMAT, "an extent of zero", err);
        v->shape[i] = (size_t)extent;
    }
    return TEMPERA_OK;
}

static tempera_status read_tensor_type(struct reading *r, struct tensor_view *v, tempera_error *err) {
    uint64_t number;
    TRY(take(r, 4, &number, "a tensor's type", err));
    const char *name = number < TENSOR_TYPES ? tensor_types[number].name : NULL;
    if (!name)
        return fail(err, TEMPERA_FORMAT, "%s: tensor \"%.*s\": type %llu is not known", r->file, SHOWN, v->name,
                    (unsigned long long)number);
    v->dtype = tensor_types[number].dtype;
    if (v->dtype != DTYPE_END) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED,
                "%s: tensor \"%.*s\": type %s is not supported (F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K are)",
                r->file, SHOWN, v->name, name);
}

/* The bytes of the tensor: its rows are whole blocks. */
static tempera_status count_bytes(const struct reading *r, struct tensor_view *v, tempera_error *err) {
    const size_t elements = dtype_block_elements(v->dtype), row = v->rank ? v->shape[v->rank - 1] : 1;
    if (row % elements != 0)
        return fail(err, TEMPERA_FORMAT,
                    "%s: tensor \"%.*s\": rows of %zu elements are not whole blocks of %s, %zu each", r->file, SHOWN,
                    v->name, row, dtype_name(v->dtype), elements);
    v->bytes = dtype_block_bytes(v->dtype);
    bool fits = size_mul(v->bytes, row / elements, &v->bytes);
    for (int i = 0; i + 1 < v->rank; i++) fits = fits && size_mul(v->bytes, v->shape[i], &v->bytes);
    return fits ? TEMPERA_OK : fail_tensor(r, v, TEMPERA_FORMAT, "the product of its extents overflows", err);
}

/* Leaves the offset in *offset: where the data begin is known once all tensors are read. */
static tempera_status read_tensor(struct reading *r, struct tensor_view *v, uint64_t *offset, tempera_error *err) {
    TRY(read_name(r, v, err));
    TRY(read_extents(r, v, err));
    TRY(read_tensor_type(r, v, err));
    TRY(count_bytes(r, v, err));
    TRY(take(r, 8, offset, "a tensor's offset", err));
    if (*offset % r->alignment == 0) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: tensor \"%.*s\": offset %llu is not aligned to %zu bytes", r->file, SHOWN,
                v->name, (unsigned long long)*offset, r->alignment);
}

static tempera_status place(const struct reading *r, struct tensor_view *v, size_t begin, uint64_t offset,
                            tempera_error *err) {
    const size_t size = r->size - begin;
    if (offset > size || v->bytes > size - offset)
        return fail(err, TEMPERA_FORMAT,
                    "%s: tensor \"%.*s\": %zu bytes at %llu do not lie in the file's %zu bytes of data", r->file, SHOWN,
                    v->name, v->bytes, (unsigned long long)offset, size);
    v->data = r->bytes + begin + offset;
    return TEMPERA_OK;
}

static int compare_place(const void *a, const void *b) {
    const struct tensor_view *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data;
}

/* Sorts them by place, the order in which they are best read. */
static tempera_status check_overlap(struct reading *r, tempera_error *err) {
    struct tensor_view *items = r->list.items;
    if (r->list.count > 0) qsort(items, r->list.count, sizeof *items, compare_place);
    for (size_t i = 1; i < r->list.count; i++)
        if (items[i - 1].data + items[i - 1].bytes > items[i].data)
            return fail(err, TEMPERA_FORMAT, "%s: the tensors \"%.*s\" and \"%.*s\" overlap", r->file, SHOWN,
                        items[i - 1].name, SHOWN, items[i].name);
    return TEMPERA_OK;
}

static tempera_status read_descriptions(struct reading *r, uint64_t count, uint64_t **offsets, size_t *capacity,
                                        tempera_error *err) {
    for (uint64_t i = 0; i < count; i++) {
        struct tensor_view v = {.file = r->file};
        TRY(grow((void **)&r->list.items, &r->list.capacity, r->list.count, sizeof *r->list.items, err));
        TRY(grow((void **)offsets, capacity, r->list.count, sizeof **offsets, err));
        TRY(read_tensor(r, &v, &(*offsets)[r->list.count], err));
        r->list.items[r->list.count++] = v;
    }
    if (count == 0) return TEMPERA_OK; /* then the padding may be missing too */
    size_t begin;
    if (!size_add(r->at, r->alignment - 1, &begin) || begin / r->alignment * r->alignment > r->size)
        return fail_end(r, "the padding before the data", err);
    begin = begin / r->alignment * r->alignment;
    for (size_t i = 0; i < r->list.count; i++) TRY(place(r, &r->list.items[i], begin, (*offsets)[i], err));
    return check_overlap(r, err);
}

static tempera_status read_tensors(struct reading *r, uint64_t count, tempera_error *err) {
    uint64_t *offsets = NULL;
    size_t capacity = 0;
    if (count > left(r) / MIN_TENSOR)
        return fail(err, TEMPERA_FORMAT, "%s: %llu tensors in a file of %zu bytes", r->file, (unsigned long long)count,
                    r->size);
    if (count > TENSOR_MAX_COUNT)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: more than %d tensors", r->file, TENSOR_MAX_COUNT);
    tempera_status status = read_descriptions(r, count, &offsets, &capacity, err);
    mem_free(offsets);
    return status;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* Older formats wrote their magic as a number, so that it lies backwards. */
static const char *older_format(const unsigned char *bytes) {
    static const char *const names[] = {"ggml", "ggmf", "ggjt", "ggla"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes[0] == names[i][3] && bytes[1] == names[i][2] && bytes[2] == names[i][1] && bytes[3] == names[i][0])
            return names[i];
    return NULL;
}

static tempera_status check_magic(struct reading *r, tempera_error *err) {
    const char *older = left(r) >= 4 ? older_format(r->bytes) : NULL;
    if (older)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: ggml's format \"%s\", which came before GGUF, is not supported",
                    r->file, older);
    if (left(r) < 4 || memcmp(r->bytes, "GGUF", 4) != 0)
        return fail(err, TEMPERA_FORMAT, "%s: not a GGUF file: it does not begin with \"GGUF\"", r->file);
    r->at = 4;
    return TEMPERA_OK;
}

static tempera_status check_version(struct reading *r, tempera_error *err) {
    uint64_t version;
    TRY(take(r, 4, &version, "the version", err));
    if (version == 2 || version == 3) return TEMPERA_OK;
    if (version != 0 && (version & 0xFFFF) == 0)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: a big-endian GGUF file is not supported", r->file);
    return fail(err, TEMPERA_UNSUPPORTED, "%s: GGUF version %llu is not supported (2 and 3 are)", r->file,
                (unsigned long long)version);
}

static tempera_status read_file(struct reading *r, tempera_error *err) {
    uint64_t tensors, keys;
    TRY(check_magic(r, err));
    TRY(check_version(r, err));
    TRY(take(r, 8, &tensors, "the header", err));
    TRY(take(r, 8, &keys, "the header", err));
    TRY(read_values(r, keys, err));
    TRY(read_alignment(r, err));
    return read_tensors(r, tensors, err);
}

/* Takes the mapping over, whatever happens; an empty one stands for bytes of the caller's. */
static tempera_status open_bytes(struct gguf **out, struct file_map map, const unsigned char *bytes, size_t size,
                                 const char *name, tempera_error *err) {
    tempera_status status = TEMPERA_OK;
    struct reading r = {.bytes = bytes, .size = size, .map = map};
    r.gguf = mem_array(1, sizeof *r.gguf);
    r.file = arena_strndup(&r.names, name, strlen(name));
    if (r.gguf) r.gguf->name = mem_strndup(name, strlen(name));
    if (!r.gguf || !r.file || !r.gguf->name || !map_init(&r.gguf->by_key, 0) || !map_init(&r.by_name, 0)) {
        status = fail_memory(err, sizeof *r.gguf, "a GGUF file");
        goto cleanup;
    }
    TRY_GOTO(read_file(&r, err));
    TRY_GOTO(tensor_set_take(&r.gguf->tensors, &r.list, &r.names, &r.map, r.file, err));
    *out = r.gguf;
    r.gguf = NULL;
cleanup:
    gguf_free(r.gguf);
    map_free(&r.by_name);
    mem_free(r.list.items);
    arena_free(&r.names);
    file_map_close(&r.map);
    return status;
}

tempera_status gguf_parse(struct gguf **gguf, const void *bytes, size_t size, const char *name, tempera_error *err) {
    *gguf = NULL;
    return open_bytes(gguf, (struct file_map){0}, bytes, size, name, err);
}

tempera_status gguf_open(struct gguf **gguf, const char *path, tempera_error *err) {
    struct file_map map;
    *gguf = NULL;
    TRY(file_map_open(&map, path, err));
    return open_bytes(gguf, map, map.data, map.size, path, err);
}

void gguf_free(struct gguf *gguf) {
    if (!gguf) return;
    tensor_set_free(gguf->tensors);
    map_free(&gguf->by_key);
    mem_free(gguf->values);
    mem_free(gguf->name);
    mem_free(gguf);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

const char *gguf_name(const struct gguf *gguf) {
    return gguf->name;
}

const struct tensor_set *gguf_tensors(const struct gguf *gguf) {
    return gguf->tensors;
}

bool gguf_text_is(struct gguf_text text, const char *word) {
    return text.length == strlen(word) && memcmp(text.text, word, text.length) == 0;
}

size_t gguf_key_count(const struct gguf *gguf) {
    return gguf->count;
}

struct gguf_text gguf_key_at(const struct gguf *gguf, size_t index) {
    return gguf->values[index].key;
}

static const struct value *find(const struct gguf *gguf, const char *key) {
    const uint32_t *index = map_get(&gguf->by_key, key, strlen(key));
    return index ? &gguf->values[*index] : NULL;
}

bool gguf_has(const struct gguf *gguf, const char *key) {
    return find(gguf, key) != NULL;
}

static tempera_status fail_type(const struct gguf *gguf, const char *key, const char *expected, const struct value *v,
                                tempera_error *err) {
    return fail(err, TEMPERA_FORMAT, "%s: %s: expected %s, found a value of type %s", gguf->name, key, expected,
                types[v->type].name);
}

/* False: no integer, or one beyond int64_t. */
static bool integer_of(const struct value *v, int64_t *value) {
    const bool is_signed = v->type == GGUF_I8 || v->type == GGUF_I16 || v->type == GGUF_I32 || v->type == GGUF_I64;
    const bool is_unsigned = v->type == GGUF_U8 || v->type == GGUF_U16 || v->type == GGUF_U32 || v->type == GGUF_U64;
    if (!is_signed && !is_unsigned) return false;
    const size_t bits = 8 * types[v->type].size;
    uint64_t raw = load_bytes(v->data, types[v->type].size);
    if (is_unsigned && raw > INT64_MAX) return false;
    if (is_signed && bits < 64 && raw >> (bits - 1)) raw |= UINT64_MAX << bits;
    memcpy(value, &raw, sizeof raw);
    return true;
}

tempera_status gguf_integer(const struct gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *value,
                            tempera_error *err) {
    const struct value *v = find(gguf, key);
    int64_t number;
    if (!v) return TEMPERA_OK;
    if (!integer_of(v, &number)) return fail_type(gguf, key, "an integer", v, err);
    if (number < min || number > max)
        return fail(err, TEMPERA_FORMAT, "%s: %s: expected %lld to %lld, found %lld", gguf->name, key, (long long)min,
                    (long long)max, (long long)number);
    *value = number;
    return TEMPERA_OK;
}

static bool number_of(const struct value *v, double *value) {
    int64_t number;
    if (v->type == GGUF_F32) {
        *value = (double)bits_float((uint32_t)load_bytes(v->data, 4));
        return true;
    }
    if (v->type == GGUF_F64) {
        uint64_t bits = load_bytes(v->data, 8);
        memcpy(value, &bits, sizeof bits);
        return true;
    }
    if (!integer_of(v, &number)) return false;
    *value = (double)number;
    return true;
}

tempera_status gguf_number(const struct gguf *gguf, const char *key, double min, double max, double *value,
                           tempera_error *err) {
    const struct value *v = find(gguf, key);
    double number;
    if (!v) return TEMPERA_OK;
    if (!number_of(v, &number)) return fail_type(gguf, key, "a number", v, err);
    if (!isfinite(number) || number < min || number > max)
        return fail(err, TEMPERA_FORMAT, "%s: %s: expected %.17g to %.17g, found %.17g", gguf->name, key, min, max,
                    number);
    *value = number;
    return TEMPERA_OK;
}

tempera_status gguf_bool(const struct gguf *gguf, const char *key, bool *value, tempera_error *err) {
    const struct value *v = find(gguf, key);
    if (!v) return TEMPERA_OK;
    if (v->type != GGUF_BOOL) return fail_type(gguf, key, "a bool", v, err);
    *value = *v->data != 0;
    return TEMPERA_OK;
}

tempera_status gguf_string(const struct gguf *gguf, const char *key, struct gguf_text *value, tempera_error *err) {
    const struct value *v = find(gguf, key);
    if (!v) return TEMPERA_OK;
    if (v->type != GGUF_STRING) return fail_type(gguf, key, "a string", v, err);
    *value = (struct gguf_text){(const char *)v->data, v->length};
    return TEMPERA_OK;
}

tempera_status gguf_array(const struct gguf *gguf, const char *key, enum gguf_type type, struct gguf_array *value,
                          tempera_error *err) {
    const struct value *v = find(gguf, key);
    if (!v) return TEMPERA_OK;
    if (v->type != GGUF_ARRAY) return fail_type(gguf, key, "an array", v, err);
    if (v->array.type != type)
        return fail(err, TEMPERA_FORMAT, "%s: %s: expected an array of %s, found one of %s", gguf->name, key,
                    types[type].name, types[v->array.type].name);
    *value = v->array;
    return TEMPERA_OK;
}

struct gguf_text gguf_array_take(struct gguf_array *array) {
    size_t length = (size_t)load_bytes(array->data, 8);
    struct gguf_text text = {(const char *)array->data + 8, length};
    array->data += 8 + length;
    array->count--;
    return text;
}

float gguf_array_f32(const struct gguf_array *array, size_t index) {
    return bits_float((uint32_t)load_bytes(array->data + 4 * index, 4));
}

int32_t gguf_array_i32(const struct gguf_array *array, size_t index) {
    int32_t value;
    uint32_t bits = (uint32_t)load_bytes(array->data + 4 * index, 4);
    memcpy(&value, &bits, sizeof bits);
    return value;
}
