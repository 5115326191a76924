/* tokenizer.c: opening a tokenizer and asking it about its vocabulary. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "load/gguf.h"
#include "text/tokenizer_internal.h"

struct tokenizer *tokenizer_create(void) {
    struct tokenizer *t = mem_array(1, sizeof *t);
    if (t) t->bos = t->eos = -1;
    return t;
}

void tokenizer_free(struct tokenizer *tokenizer) {
    if (!tokenizer) return;
    added_trie_free(&tokenizer->plain_tokens);
    added_trie_free(&tokenizer->normalized_tokens);
    normalizer_free(&tokenizer->normalizer);
    pretokenizer_free(&tokenizer->pretokenizer);
    bpe_free(&tokenizer->bpe);
    postprocessor_free(&tokenizer->post);
    decoder_free(&tokenizer->decoder);
    vocab_free(&tokenizer->vocab);
    mem_free(tokenizer);
}

/* A token that is to be found in normalised text is looked for in its normalised form. */
static tempera_status set_pattern(struct tokenizer *t, struct normalizer_run *run, struct added_token *token,
                                  tempera_error *err) {
    bool moved;
    token->pattern = token->content;
    token->pattern_length = token->length;
    if (!token->normalized) return TEMPERA_OK;
    const char *text;
    size_t length;
    TRY(normalizer_apply(&t->normalizer, run, token->content, token->length, &text, &length, &moved, err));
    if (length == token->length && memcmp(text, token->content, length) == 0) return TEMPERA_OK;
    token->pattern_length = length;
    token->pattern = arena_strndup(&t->vocab.arena, text, length);
    return token->pattern ? TEMPERA_OK : fail_memory(err, length, "added tokens");
}

static tempera_status set_patterns(struct tokenizer *t, tempera_error *err) {
    struct regex_run regex = regex_run_start(t->vocab.arena.used);
    struct normalizer_run run = {.regex = &regex};
    tempera_status status = TEMPERA_OK;
    for (size_t i = 0; i < t->vocab.added_count; i++) TRY_GOTO(set_pattern(t, &run, &t->vocab.added[i], err));
cleanup:
    normalizer_run_free(&run);
    regex_run_free(&regex);
    return status;
}

tempera_status tokenizer_finish(struct tokenizer *t, const char *name, tempera_error *err) {
    bpe_finish(&t->bpe);
    t->bpe.raw = t->bpe.has_all_bytes && t->pretokenizer.last_is_byte_level;
    tempera_status status = set_patterns(t, err);
    if (status == TEMPERA_OK) status = added_trie_build(&t->plain_tokens, &t->vocab, false, err);
    if (status == TEMPERA_OK) status = added_trie_build(&t->normalized_tokens, &t->vocab, true, err);
    if (status != TEMPERA_OK) return fail_context(err, status, "%s: added_tokens", name);
    return decoder_compile(&t->decoder, &t->vocab, name, err);
}

tempera_status tokenizer_parse(struct tokenizer **tokenizer, const char *json, size_t length, const char *name,
                               tempera_error *err) {
    *tokenizer = NULL;
    struct tokenizer *t = tokenizer_create();
    if (!t) return fail_memory(err, sizeof *t, "a tokenizer");
    tempera_status status = tokenizer_read_json(t, json, length, name, err);
    if (status == TEMPERA_OK) status = tokenizer_finish(t, name, err);
    if (status != TEMPERA_OK) {
        tokenizer_free(t);
        return status;
    }
    *tokenizer = t;
    return TEMPERA_OK;
}

static tempera_status read_json_file(struct tokenizer *t, const char *path, tempera_error *err) {
    char *json;
    size_t length;
    TRY(file_read(path, TOKENIZER_FILE_MAX, &json, &length, err));
    tempera_status status = tokenizer_read_json(t, json, length, path, err);
    mem_free(json);
    return status;
}

tempera_status tokenizer_open(struct tokenizer **tokenizer, const char *folder, tempera_error *err) {
    *tokenizer = NULL;
    tempera_status status = TEMPERA_OK;
    char *path = path_join(folder, "tokenizer.json");
    struct tokenizer *t = tokenizer_create();
    if (!path || !t) {
        status = fail_memory(err, sizeof *t, "a tokenizer");
        goto cleanup;
    }
    if (file_exists(path))
        TRY_GOTO(read_json_file(t, path, err));
    else
        TRY_GOTO(tokenizer_read_gpt2(t, folder, err));
    TRY_GOTO(tokenizer_read_config(t, folder, err));
    TRY_GOTO(tokenizer_finish(t, folder, err));
    *tokenizer = t;
    t = NULL;
cleanup:
    tokenizer_free(t);
    mem_free(path);
    return status;
}

tempera_status tokenizer_of_gguf(struct tokenizer **tokenizer, const struct gguf *gguf, tempera_error *err) {
    *tokenizer = NULL;
    struct gguf_text model = {0};
    TRY(gguf_string(gguf, "tokenizer.ggml.model", &model, err));
    if (model.length == 0 || gguf_text_is(model, "none") || gguf_text_is(model, "no_vocab")) return TEMPERA_OK;
    struct tokenizer *t = tokenizer_create();
    if (!t) return fail_memory(err, sizeof *t, "a tokenizer");
    tempera_status status = tokenizer_read_gguf(t, gguf, err);
    if (status == TEMPERA_OK) status = tokenizer_finish(t, gguf_name(gguf), err);
    if (status != TEMPERA_OK) {
        tokenizer_free(t);
        return status;
    }
    *tokenizer = t;
    return TEMPERA_OK;
}

tempera_status tokenizer_open_gguf(struct tokenizer **tokenizer, const char *path, tempera_error *err) {
    *tokenizer = NULL;
    struct gguf *gguf;
    TRY(gguf_open(&gguf, path, err));
    tempera_status status = tokenizer_of_gguf(tokenizer, gguf, err);
    gguf_free(gguf);
    return status;
}

int32_t tokenizer_vocab_size(const struct tokenizer *tokenizer) {
    return tokenizer->vocab.size;
}

const char *tokenizer_piece(const struct tokenizer *tokenizer, int32_t id, size_t *length) {
    const struct vocab_entry *entry = vocab_entry(&tokenizer->vocab, id);
    if (length) *length = entry ? entry->length : 0;
    return entry ? entry->piece : NULL;
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *piece, size_t length) {
    return vocab_find(&tokenizer->vocab, piece, length);
}

bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id) {
    const struct vocab_entry *entry = vocab_entry(&tokenizer->vocab, id);
    return entry && entry->special;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer) {
    return tokenizer->bos;
}

int32_t tokenizer_eos(const struct tokenizer *tokenizer) {
    return tokenizer->eos;
}
