/* json.c: strict check, cJSON tree, typed getters. */
#include "load/json.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "load/json_reader.h"

enum {
    CJSON_NUMBER_MAX = 63,     /* cJSON 1.7 copies a number to a 64-byte buffer and splits a longer one */
    JSON_MAX_VALUES = 8 << 20, /* bounds the tree (about 100 bytes each) whatever the file's size */
    JSON_INTEGER_BITS = 53
};

/* The keys of every open object; decoded ones live in the arena, plain ones are slices of the text. */
struct key_check {
    struct map open[JSON_MAX_DEPTH + 1]; /* [depth] */
    struct arena arena;
};

/* What json_parse wants to know before it hands the text to cJSON. */
struct text_facts {
    size_t values;
    size_t longest_number;
    bool nul;
};

static tempera_status check_key(struct key_check *keys, const struct json_reader *r, const struct json_token *t,
                                tempera_error *err) {
    const char *key = t->text;
    size_t length = t->length;
    if (t->escaped) key = json_text(&keys->arena, t, &length);
    bool existing = false;
    if (!key || !map_put(&keys->open[r->depth], key, length, 0, &existing))
        return fail_memory(err, length, "the keys of an object");
    if (!existing) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: byte %zu: key \"%.*s\" appears twice", r->name, (size_t)(t->text - r->text),
                (int)(t->length < 100 ? t->length : 100), t->text);
}

static void note_facts(struct text_facts *facts, const struct json_token *t) {
    if (t->kind != JSON_KEY && t->kind != JSON_OBJECT_END && t->kind != JSON_ARRAY_END) facts->values++;
    if (t->kind == JSON_NUMBER && t->length > facts->longest_number) facts->longest_number = t->length;
    if (t->nul) facts->nul = true;
}

/* Reads the whole text; `keys` is NULL when repeated keys do not matter. */
static tempera_status check(const char *text, size_t length, const char *name, struct key_check *keys,
                            struct text_facts *facts, tempera_error *err) {
    struct json_reader r = json_reader_start(text, length, name);
    struct json_token t;
    do {
        TRY(json_next(&r, &t, err));
        if (keys && t.kind == JSON_KEY) TRY(check_key(keys, &r, &t, err));
        if (keys && t.kind == JSON_OBJECT_END) map_free(&keys->open[r.depth + 1]);
        note_facts(facts, &t);
    } while (t.kind != JSON_END);
    return TEMPERA_OK;
}

static tempera_status check_text(const char *text, size_t length, bool unique_keys, const char *name,
                                 struct text_facts *facts, tempera_error *err) {
    *facts = (struct text_facts){0};
    if (!unique_keys) return check(text, length, name, NULL, facts, err);
    struct key_check keys = {0};
    tempera_status status = check(text, length, name, &keys, facts, err);
    for (int i = 0; i <= JSON_MAX_DEPTH; i++) map_free(&keys.open[i]);
    arena_free(&keys.arena);
    return status;
}

tempera_status json_check(const char *text, size_t length, bool unique_keys, const char *name, tempera_error *err) {
    struct text_facts facts;
    return check_text(text, length, unique_keys, name, &facts, err);
}

static void init_hooks(void) {
    cJSON_Hooks hooks = {.malloc_fn = mem_alloc, .free_fn = mem_free};
    cJSON_InitHooks(&hooks);
}

void json_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_hooks);
}

tempera_status json_parse(cJSON **root, const char *text, size_t length, bool unique_keys, const char *name,
                          tempera_error *err) {
    *root = NULL;
    json_init();
    struct text_facts facts;
    TRY(check_text(text, length, unique_keys, name, &facts, err));
    if (facts.nul)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: a string contains \\u0000, which would cut it short", name);
    if (facts.longest_number > CJSON_NUMBER_MAX)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: a number of %zu characters, at most %d are read", name,
                    facts.longest_number, CJSON_NUMBER_MAX);
    if (facts.values > JSON_MAX_VALUES)
        return fail(err, TEMPERA_TOO_LONG, "%s: %zu JSON values, at most %d are read", name, facts.values,
                    JSON_MAX_VALUES);
    *root = cJSON_ParseWithLengthOpts(text, length, NULL, 0);
    if (*root) return TEMPERA_OK; /* the text is valid, so only memory can have failed */
    return fail(err, TEMPERA_OUT_OF_MEMORY, "%s: out of memory (%zu JSON values)", name, facts.values);
}

tempera_status json_open(cJSON **root, const char *path, size_t max, tempera_error *err) {
    *root = NULL;
    char *text;
    size_t length;
    TRY(file_read(path, max, &text, &length, err));
    tempera_status status = json_parse(root, text, length, true, path, err);
    mem_free(text);
    return status;
}

const cJSON *json_get(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

/* "found …" for an item of the wrong type or value. */
static const char *describe(const cJSON *item, char *out, size_t size) {
    if (cJSON_IsNumber(item))
        snprintf(out, size, "%.17g", item->valuedouble);
    else if (cJSON_IsString(item))
        snprintf(out, size, "the string \"%.40s\"", item->valuestring);
    else
        snprintf(out, size, "%s",
                 cJSON_IsTrue(item)     ? "true"
                 : cJSON_IsFalse(item)  ? "false"
                 : cJSON_IsNull(item)   ? "null"
                 : cJSON_IsArray(item)  ? "a list"
                 : cJSON_IsObject(item) ? "an object"
                                        : "nothing");
    return out;
}

static tempera_status fail_type(const cJSON *item, const char *key, const char *at, const char *expected,
                                tempera_error *err) {
    char found[64];
    return fail(err, TEMPERA_FORMAT, "%s: %s: expected %s, found %s", at, key, expected,
                describe(item, found, sizeof found));
}

/* An integer of an item that may stand in a list; `key` names it in the message. */
tempera_status json_item_integer(const cJSON *item, const char *key, int64_t min, int64_t max, int64_t *value,
                                 const char *at, tempera_error *err) {
    const double limit = (double)(INT64_C(1) << JSON_INTEGER_BITS); /* beyond it doubles skip integers */
    double number = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (number >= -limit && number <= limit && number == floor(number)) {
        int64_t integer = (int64_t)number;
        if (integer >= min && integer <= max) {
            *value = integer;
            return TEMPERA_OK;
        }
    }
    char expected[96];
    snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)min, (long long)max);
    return fail_type(item, key, at, expected, err);
}

tempera_status json_integer(const cJSON *object, const char *key, int64_t min, int64_t max, int64_t *value,
                            const char *at, tempera_error *err) {
    const cJSON *item = json_get(object, key);
    return item ? json_item_integer(item, key, min, max, value, at, err) : TEMPERA_OK;
}

tempera_status json_item_number(const cJSON *item, const char *key, double min, double max, double *value,
                                const char *at, tempera_error *err) {
    double number = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (isfinite(number) && number >= min && number <= max) {
        *value = number;
        return TEMPERA_OK;
    }
    char expected[96];
    snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
    return fail_type(item, key, at, expected, err);
}

tempera_status json_number(const cJSON *object, const char *key, double min, double max, double *value, const char *at,
                           tempera_error *err) {
    const cJSON *item = json_get(object, key);
    return item ? json_item_number(item, key, min, max, value, at, err) : TEMPERA_OK;
}

tempera_status json_bool(const cJSON *object, const char *key, bool *value, const char *at, tempera_error *err) {
    const cJSON *item = json_get(object, key);
    if (!item) return TEMPERA_OK;
    if (!cJSON_IsBool(item)) return fail_type(item, key, at, "true or false", err);
    *value = cJSON_IsTrue(item);
    return TEMPERA_OK;
}

tempera_status json_string(const cJSON *object, const char *key, const char **value, const char *at,
                           tempera_error *err) {
    const cJSON *item = json_get(object, key);
    if (!item) return TEMPERA_OK;
    if (!cJSON_IsString(item)) return fail_type(item, key, at, "a string", err);
    *value = item->valuestring;
    return TEMPERA_OK;
}
