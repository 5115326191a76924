/* test_tokenizer_vectors.c: tests/text/vectors.json: small tokenizers and texts with the ids and the decoded text that
 * Hugging Face's tokenizers gave (make_vectors.py wrote it). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "load/json.h"
#include "support.h"
#include "text_support.h"

static bool same_ids(const struct ids *ids, const cJSON *expected) {
    size_t i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, expected) {
        if (i >= ids->count || ids->data[i] != (int32_t)item->valuedouble) return false;
        i++;
    }
    return i == ids->count;
}

static void print_ids(const struct ids *ids) {
    fprintf(stderr, "found");
    for (size_t i = 0; i < ids->count; i++) fprintf(stderr, " %d", ids->data[i]);
    fprintf(stderr, "\n");
}

static void expect_encoded(const struct tokenizer *t, const char *text, unsigned flags, const cJSON *expected,
                           const char *name) {
    struct ids ids = {0};
    cr_assert_eq(tokenizer_encode(t, text, strlen(text), flags, &ids, NULL), TEMPERA_OK);
    bool same = same_ids(&ids, expected);
    if (!same) print_ids(&ids);
    cr_expect(same, "%s: \"%s\" with flags %u", name, text, flags);
    expect_stream(t, ids.data, ids.count, false);
    ids_free(&ids);
}

static void expect_text(const struct tokenizer *t, const cJSON *list, bool keep_special, const char *expected,
                        const char *name) {
    struct ids ids = {0};
    struct buf out = {.max = 1 << 20};
    const cJSON *item;
    ids.capacity = (size_t)cJSON_GetArraySize(list);
    ids.data = mem_array(ids.capacity, sizeof *ids.data);
    cJSON_ArrayForEach(item, list) ids.data[ids.count++] = (int32_t)item->valuedouble;
    cr_assert_eq(buf_reserve(&out, 1, NULL), TEMPERA_OK);
    cr_assert_eq(tokenizer_decode(t, ids.data, ids.count, keep_special, &out, NULL), TEMPERA_OK);
    cr_expect_str_eq(out.data, expected, "%s: expected \"%s\", found \"%s\"", name, expected, out.data);
    ids_free(&ids);
    buf_free(&out);
}

/* [text, ids, ids without special tokens added or (when it differs) recognised, decoded or null] */
static void check_case(const struct tokenizer *t, const cJSON *item, const char *name) {
    const char *text = cJSON_GetArrayItem(item, 0)->valuestring;
    const cJSON *special = cJSON_GetArrayItem(item, 1), *plain = cJSON_GetArrayItem(item, 2);
    const cJSON *decoded = cJSON_GetArrayItem(item, 3);
    expect_encoded(t, text, ENCODE_SPECIAL, special, name);
    expect_encoded(t, text, ENCODE_PLAIN_TEXT, plain, name);
    if (cJSON_IsString(decoded)) expect_text(t, special, true, decoded->valuestring, name);
}

/* A vocabulary that is named rather than written out is one of those that entries share. */
static void insert_vocabulary(const cJSON *entry, const cJSON *vocabularies) {
    cJSON *model = cJSON_GetObjectItemCaseSensitive(json_get(entry, "tokenizer"), "model");
    const cJSON *vocab = json_get(model, "vocab");
    if (!cJSON_IsString(vocab)) return;
    cJSON *copy = cJSON_Duplicate(json_get(vocabularies, vocab->valuestring), true);
    cr_assert(cJSON_ReplaceItemInObjectCaseSensitive(model, "vocab", copy));
}

static size_t check_tokenizer(const cJSON *entry) {
    const char *name = json_get(entry, "name")->valuestring;
    char *json = cJSON_PrintUnformatted(json_get(entry, "tokenizer"));
    struct tokenizer *t;
    tempera_error err = {0};
    size_t cases = 0;
    cr_assert_eq(tokenizer_parse(&t, json, strlen(json), name, &err), TEMPERA_OK, "%s", err.message);
    const cJSON *item, *list = json_get(entry, "cases");
    cJSON_ArrayForEach(item, list) {
        check_case(t, item, name);
        cases++;
    }
    tokenizer_free(t);
    cJSON_free(json);
    return cases;
}

Test(vectors, fixture) {
    char *path = path_join(test_source(), "text/vectors.json");
    cJSON *root;
    tempera_error err = {0};
    size_t tokenizers = 0, cases = 0;
    cr_assert_eq(json_open(&root, path, 1 << 20, &err), TEMPERA_OK, "%s", err.message);
    const cJSON *entry, *entries = json_get(root, "entries");
    cJSON_ArrayForEach(entry, entries) {
        insert_vocabulary(entry, json_get(root, "vocabularies"));
        cases += check_tokenizer(entry);
        tokenizers++;
    }
    cr_expect_geq(tokenizers, 30);
    cr_expect_geq(cases, 600);
    cJSON_Delete(root);
    mem_free(path);
}
