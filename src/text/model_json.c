/* model_json.c: the "model" of tokenizer.json: vocabulary, merges and settings. */
#include <string.h>

#include "base/arena.h"
#include "text/json_slices.h"
#include "text/tokenizer_internal.h"

enum key { TYPE, VOCAB, MERGES, DROPOUT, UNKNOWN, PREFIX, SUFFIX, FUSE, FALLBACK, IGNORE, KEYS };

/* Bytes of JSON for a piece or a merge in the files of large vocabularies, about: tables start with room for that. */
enum { ENTRY_BYTES = 20 };

enum { SPACED_MERGE_MAX = 256 }; /* bytes of a merge with several spaces: each is tried */

static const char *const key_names[KEYS] = {"type",
                                            "vocab",
                                            "merges",
                                            "dropout",
                                            "unk_token",
                                            "continuing_subword_prefix",
                                            "end_of_word_suffix",
                                            "fuse_unk",
                                            "byte_fallback",
                                            "ignore_merges"};

/* A string token's text: the slice itself, or unescaped in the arena. NULL when out of memory. */
static const char *token_text(struct arena *arena, const struct json_token *t, size_t *length) {
    *length = t->length;
    return t->escaped ? json_text(arena, t, length) : t->text;
}

/* --- vocabulary --- */

tempera_status model_read_vocab(struct vocab *vocab, const char *json, size_t length, const char *name,
                                tempera_error *err) {
    struct json_reader r = json_reader_start(json, length, name);
    struct json_token key, value;
    TRY(json_next_kind(&r, JSON_OBJECT, "an object of pieces and ids", &key, err));
    TRY(vocab_reserve(vocab, length / ENTRY_BYTES, err));
    for (;;) {
        TRY(json_next(&r, &key, err));
        if (key.kind == JSON_OBJECT_END) return TEMPERA_OK;
        TRY(json_next(&r, &value, err));
        uint64_t id;
        if (!json_digits(&value, VOCAB_MAX_ID, &id))
            return fail(err, TEMPERA_FORMAT, "%s: vocab: \"%.*s\": expected an id from 0 to %d", name,
                        (int)(key.length < 60 ? key.length : 60), key.text, VOCAB_MAX_ID);
        size_t piece_length;
        const char *piece = token_text(&vocab->arena, &key, &piece_length);
        if (!piece) return fail_memory(err, key.length, "a vocabulary");
        TRY(vocab_add_piece(vocab, piece, piece_length, (int32_t)id, name, err));
    }
}

/* --- merges --- */

struct merge_reading {
    struct bpe *bpe;
    struct json_reader reader;
    struct arena arena; /* unescaped pieces */
    const char *name;
};

static tempera_status fail_merge(const struct merge_reading *m, const char *text, size_t length, tempera_error *err) {
    return fail(err, TEMPERA_FORMAT, "%s: merge %u: \"%.*s\": expected two pieces of the vocabulary that join to one",
                m->name, m->bpe->merge_count, (int)(length < 60 ? length : 60), text);
}

/* "a b". Where pieces have spaces of their own, the one place is taken at which both halves are pieces. */
static tempera_status add_line(struct merge_reading *m, const char *text, size_t length, tempera_error *err) {
    const char *found = NULL, *first = memchr(text, ' ', length), *space;
    size_t spaces = 0, places = 0;
    for (space = first; space; space = memchr(space + 1, ' ', length - (size_t)(space + 1 - text))) spaces++;
    if (spaces == 1) found = first;
    for (space = first; space && spaces > 1 && length <= SPACED_MERGE_MAX;
         space = memchr(space + 1, ' ', length - (size_t)(space + 1 - text))) {
        size_t left = (size_t)(space - text);
        if (!bpe_can_merge(m->bpe, text, left, space + 1, length - left - 1)) continue;
        found = space;
        places++;
    }
    if (!found || places > 1) return fail_merge(m, text, length, err);
    size_t left = (size_t)(found - text);
    return bpe_add_merge(m->bpe, text, left, found + 1, length - left - 1, m->name, err);
}

/* ["a", "b"], its bracket already read. */
static tempera_status add_pair(struct merge_reading *m, tempera_error *err) {
    struct json_token t[2], end;
    const char *text[2];
    size_t length[2];
    for (int i = 0; i < 2; i++) {
        TRY(json_next_kind(&m->reader, JSON_STRING, "a piece", &t[i], err));
        text[i] = token_text(&m->arena, &t[i], &length[i]);
        if (!text[i]) return fail_memory(err, t[i].length, "merges");
    }
    TRY(json_next_kind(&m->reader, JSON_ARRAY_END, "two pieces", &end, err));
    return bpe_add_merge(m->bpe, text[0], length[0], text[1], length[1], m->name, err);
}

static tempera_status add_merge(struct merge_reading *m, const struct json_token *t, tempera_error *err) {
    static const char version[] = "#version";
    if (t->kind == JSON_ARRAY) return add_pair(m, err);
    if (t->kind != JSON_STRING) return json_fail(&m->reader, t, "a merge", err);
    size_t length;
    const char *text = token_text(&m->arena, t, &length);
    if (!text) return fail_memory(err, t->length, "merges");
    if (length >= sizeof version - 1 && memcmp(text, version, sizeof version - 1) == 0) return TEMPERA_OK;
    return add_line(m, text, length, err);
}

static tempera_status read_merges(struct bpe *bpe, const struct json_slice *slice, const char *name,
                                  tempera_error *err) {
    struct merge_reading m = {.bpe = bpe, .name = name};
    tempera_status status = TEMPERA_OK;
    struct json_token t;
    m.reader = json_reader_start(slice->text, slice->length, name);
    TRY_GOTO(json_next_kind(&m.reader, JSON_ARRAY, "a list of merges", &t, err));
    TRY_GOTO(bpe_reserve(bpe, slice->length / ENTRY_BYTES, err));
    for (;;) {
        TRY_GOTO(json_next(&m.reader, &t, err));
        if (t.kind == JSON_ARRAY_END) break;
        TRY_GOTO(add_merge(&m, &t, err));
    }
cleanup:
    arena_free(&m.arena);
    return status;
}

/* --- settings --- */

/* The kind of model, also of old files that do not say it. */
static tempera_status check_type(const struct json_slice *slices, const char *type, const char *name,
                                 tempera_error *err) {
    if (!type && slices[VOCAB].kind == JSON_ARRAY) type = "Unigram";
    if (!type && slices[MERGES].kind != JSON_ARRAY)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: a model without type and merges is not supported (BPE is)", name);
    if (type && strcmp(type, "BPE") != 0)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: model type \"%.60s\" is not supported (BPE is)", name, type);
    if (slices[VOCAB].kind != JSON_OBJECT) return fail(err, TEMPERA_FORMAT, "%s: model: vocab is missing", name);
    if (slices[MERGES].kind != JSON_ARRAY) return fail(err, TEMPERA_FORMAT, "%s: model: merges is missing", name);
    return TEMPERA_OK;
}

static tempera_status read_settings(struct tokenizer *t, const cJSON *const *items, const char *name,
                                    tempera_error *err) {
    struct bpe *bpe = &t->bpe;
    const char *text[KEYS] = {0};
    bool *flags[KEYS] = {[FUSE] = &bpe->fuse_unknown, [FALLBACK] = &bpe->byte_fallback, [IGNORE] = &bpe->ignore_merges};
    for (enum key k = 0; k < KEYS; k++)
        if (cJSON_IsString(items[k])) text[k] = items[k]->valuestring;
    const cJSON *dropout = items[DROPOUT];
    if (dropout && !cJSON_IsNull(dropout) && !(cJSON_IsNumber(dropout) && dropout->valuedouble == 0))
        return fail(err, TEMPERA_UNSUPPORTED, "%s: model: dropout is not supported", name);
    TRY(bpe_start(bpe, &t->vocab, text[PREFIX], text[SUFFIX], err));
    for (enum key k = 0; k < KEYS; k++) {
        if (!flags[k] || !items[k] || cJSON_IsNull(items[k])) continue;
        if (!cJSON_IsBool(items[k]))
            return fail(err, TEMPERA_FORMAT, "%s: model: %s: expected true or false", name, key_names[k]);
        *flags[k] = cJSON_IsTrue(items[k]);
    }
    if (text[UNKNOWN]) /* -1, as none, where byte-level models name one that they do not have */
        bpe->unknown = vocab_find_piece(&t->vocab, text[UNKNOWN], strlen(text[UNKNOWN]));
    return TEMPERA_OK;
}

static tempera_status read_model(struct tokenizer *t, const struct json_slice *slices, const cJSON *const *items,
                                 const char *name, tempera_error *err) {
    TRY(check_type(slices, cJSON_IsString(items[TYPE]) ? items[TYPE]->valuestring : NULL, name, err));
    TRY(model_read_vocab(&t->vocab, slices[VOCAB].text, slices[VOCAB].length, name, err));
    TRY(read_settings(t, items, name, err));
    return read_merges(&t->bpe, &slices[MERGES], name, err);
}

tempera_status model_read_json(struct tokenizer *t, const char *json, size_t length, const char *name,
                               tempera_error *err) {
    struct json_slice slices[KEYS];
    cJSON *items[KEYS] = {0};
    tempera_status status = TEMPERA_OK;
    TRY(json_slices(json, length, name, key_names, slices, KEYS, true, err));
    for (enum key k = 0; k < KEYS; k++)
        if (slices[k].text && k != VOCAB && k != MERGES)
            TRY_GOTO(json_parse(&items[k], slices[k].text, slices[k].length, true, name, err));
    TRY_GOTO(read_model(t, slices, (const cJSON *const *)items, name, err));
cleanup:
    for (enum key k = 0; k < KEYS; k++) cJSON_Delete(items[k]);
    return status;
}
