/* vocab.c: the id table. */
#include "text/vocab.h"

#include <string.h>

#include "base/mem.h"

enum {
    PIECE_MAX = 1 << 24, /* bytes of one spelling */
    SHOWN_MAX = 60       /* of them in a message */
};

void vocab_free(struct vocab *vocab) {
    mem_free(vocab->entries);
    mem_free(vocab->added);
    map_free(&vocab->model);
    map_free(&vocab->added_ids);
    arena_free(&vocab->arena);
    *vocab = (struct vocab){0};
}

/* Makes `id` a valid index; ids need not come in order. */
static tempera_status reach(struct vocab *vocab, int32_t id, tempera_error *err) {
    if (id >= vocab->capacity) {
        int32_t capacity = vocab->capacity ? vocab->capacity : 256;
        while (capacity <= id) capacity *= 2;
        struct vocab_entry *entries = mem_array((size_t)capacity, sizeof *entries);
        if (!entries) return fail_memory(err, (size_t)capacity * sizeof *entries, "a vocabulary");
        if (vocab->size) memcpy(entries, vocab->entries, (size_t)vocab->size * sizeof *entries);
        mem_free(vocab->entries);
        vocab->entries = entries;
        vocab->capacity = capacity;
    }
    if (id >= vocab->size) vocab->size = id + 1;
    return TEMPERA_OK;
}

tempera_status vocab_reserve(struct vocab *vocab, size_t pieces, tempera_error *err) {
    if (vocab->model.count > 0) return TEMPERA_OK;
    map_free(&vocab->model);
    return map_init(&vocab->model, pieces) ? TEMPERA_OK : fail_memory(err, pieces, "a vocabulary");
}

static tempera_status set_entry(struct vocab *vocab, const char *piece, size_t length, int32_t id, bool in_model,
                                const char *name, tempera_error *err) {
    int shown = length < SHOWN_MAX ? (int)length : SHOWN_MAX; /* `piece` has no terminator */
    if (id < 0 || id > VOCAB_MAX_ID)
        return fail(err, TEMPERA_FORMAT, "%s: \"%.*s\" has id %d, expected 0 to %d", name, shown, piece, (int)id,
                    VOCAB_MAX_ID);
    if (length > PIECE_MAX)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: a piece of %zu bytes, at most %d are read", name, length, PIECE_MAX);
    const struct vocab_entry *old = vocab_entry(vocab, id);
    if (old)
        return fail(err, TEMPERA_FORMAT, "%s: \"%.60s\" and \"%.*s\" both have id %d", name, old->piece, shown, piece,
                    (int)id);
    TRY(reach(vocab, id, err));
    char *copy = arena_strndup(&vocab->arena, piece, length);
    if (!copy) return fail_memory(err, length, "a vocabulary");
    vocab->entries[id] = (struct vocab_entry){.piece = copy, .length = (uint32_t)length, .in_model = in_model};
    return TEMPERA_OK;
}

tempera_status vocab_add_piece(struct vocab *vocab, const char *piece, size_t length, int32_t id, const char *name,
                               tempera_error *err) {
    TRY(set_entry(vocab, piece, length, id, true, name, err));
    bool existing;
    if (!map_put(&vocab->model, vocab->entries[id].piece, length, (uint32_t)id, &existing))
        return fail_memory(err, length, "a vocabulary");
    if (!existing) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: the piece \"%.60s\" appears twice", name, vocab->entries[id].piece);
}

static tempera_status add_slot(struct vocab *vocab, tempera_error *err) {
    if (vocab->added_count < vocab->added_capacity) return TEMPERA_OK;
    size_t capacity = vocab->added_capacity ? vocab->added_capacity * 2 : 16;
    struct added_token *added = mem_realloc(vocab->added, capacity * sizeof *added);
    if (!added) return fail_memory(err, capacity * sizeof *added, "added tokens");
    vocab->added = added;
    vocab->added_capacity = capacity;
    return TEMPERA_OK;
}

tempera_status vocab_add_token(struct vocab *vocab, const struct added_token *token, const char *name,
                               tempera_error *err) {
    if (token->length == 0) return TEMPERA_OK;
    const uint32_t *known = map_get(&vocab->added_ids, token->content, token->length);
    if (known) { /* said again: the later flags hold, once special is special */
        struct added_token *old = &vocab->added[*known];
        struct added_token merged = *token;
        merged.id = old->id;
        merged.content = old->content;
        merged.special = vocab->entries[old->id].special = old->special || token->special;
        *old = merged;
        return TEMPERA_OK;
    }
    struct added_token added = *token;
    added.id = vocab_find_piece(vocab, token->content, token->length);
    if (added.id < 0) {
        added.id = token->id;
        TRY(set_entry(vocab, token->content, token->length, added.id, false, name, err));
    }
    TRY(add_slot(vocab, err));
    struct vocab_entry *entry = &vocab->entries[added.id];
    entry->special = token->special;
    added.content = entry->piece;
    if (!map_put(&vocab->added_ids, added.content, added.length, (uint32_t)vocab->added_count, NULL))
        return fail_memory(err, added.length, "added tokens");
    vocab->added[vocab->added_count++] = added;
    return TEMPERA_OK;
}

int32_t vocab_find_piece(const struct vocab *vocab, const char *piece, size_t length) {
    const uint32_t *id = map_get(&vocab->model, piece, length);
    return id ? (int32_t)*id : -1;
}

bool vocab_has_token(const struct vocab *vocab, const char *content, size_t length) {
    return map_get(&vocab->added_ids, content, length) != NULL;
}

int32_t vocab_find(const struct vocab *vocab, const char *piece, size_t length) {
    const uint32_t *index = map_get(&vocab->added_ids, piece, length);
    return index ? vocab->added[*index].id : vocab_find_piece(vocab, piece, length);
}

const struct vocab_entry *vocab_entry(const struct vocab *vocab, int32_t id) {
    if (id < 0 || id >= vocab->size || !vocab->entries[id].piece) return NULL;
    return &vocab->entries[id];
}
