/* tokenizer_files.c: the files beside tokenizer.json, and the older layout without it. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer_internal.h"

enum { CONFIG_FILE_MAX = 64 << 20 };

/* --- optional JSON files --- */

/* *root is NULL when the folder has no such file. */
static tempera_status open_optional(cJSON **root, const char *folder, const char *name, tempera_error *err) {
    *root = NULL;
    char *path = path_join(folder, name);
    if (!path) return fail_memory(err, strlen(folder), "a path");
    tempera_status status = file_exists(path) ? json_open(root, path, CONFIG_FILE_MAX, err) : TEMPERA_OK;
    mem_free(path);
    return status;
}

/* The token that an entry names: "<s>" or {"content": "<s>", …}; NULL when it names none. */
static const char *token_name(const cJSON *object, const char *key) {
    const cJSON *item = json_get(object, key);
    if (cJSON_IsObject(item)) item = json_get(item, "content");
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static void set_id(const struct tokenizer *t, int32_t *id, const cJSON *object, const char *key) {
    const char *name = token_name(object, key);
    if (name && *id < 0) *id = vocab_find(&t->vocab, name, strlen(name));
}

/* --- tokenizer_config.json --- */

/* Tokens that only tokenizer_config.json has: {"5": {"content": …}, …}. Where it contradicts tokenizer.json, that file
 * holds. */
static tempera_status read_added_decoder(struct tokenizer *t, const cJSON *config, const char *name,
                                         tempera_error *err) {
    const cJSON *item, *decoder = json_get(config, "added_tokens_decoder");
    cJSON_ArrayForEach(item, decoder) {
        const char *content = token_name(decoder, item->string);
        char *end;
        long id = strtol(item->string, &end, 10);
        if (!content || *end || vocab_has_token(&t->vocab, content, strlen(content))) continue;
        bool in_model = vocab_find_piece(&t->vocab, content, strlen(content)) >= 0;
        if (id < 0 || id > VOCAB_MAX_ID || (!in_model && vocab_entry(&t->vocab, (int32_t)id))) continue;
        struct added_token token = {.content = content, .length = strlen(content), .id = (int32_t)id};
        TRY(json_bool(item, "special", &token.special, name, err));
        token.normalized = !token.special;
        TRY(json_bool(item, "normalized", &token.normalized, name, err));
        TRY(json_bool(item, "lstrip", &token.lstrip, name, err));
        TRY(json_bool(item, "rstrip", &token.rstrip, name, err));
        TRY(json_bool(item, "single_word", &token.single_word, name, err));
        TRY(vocab_add_token(&t->vocab, &token, name, err));
    }
    return TEMPERA_OK;
}

/* Classes for which Hugging Face builds the post-processor anew from these two settings. */
static bool class_adds_tokens(const cJSON *config) {
    static const char *const classes[] = {"Llama", "CodeLlama", "Gemma"};
    const cJSON *item = json_get(config, "tokenizer_class");
    for (size_t i = 0; cJSON_IsString(item) && i < sizeof classes / sizeof *classes; i++)
        if (strncmp(item->valuestring, classes[i], strlen(classes[i])) == 0) return true;
    return false;
}

static tempera_status read_add_settings(struct tokenizer *t, const cJSON *config, const char *name,
                                        tempera_error *err) {
    bool bos = true, eos = false;
    if (!class_adds_tokens(config) || (!json_get(config, "add_bos_token") && !json_get(config, "add_eos_token")))
        return TEMPERA_OK;
    TRY(json_bool(config, "add_bos_token", &bos, name, err));
    TRY(json_bool(config, "add_eos_token", &eos, name, err));
    t->post.before.count = t->post.after.count = 0;
    if (bos && t->bos >= 0) TRY(ids_append(&t->post.before, t->bos, err));
    if (eos && t->eos >= 0) TRY(ids_append(&t->post.after, t->eos, err));
    return TEMPERA_OK;
}

static tempera_status read_config(struct tokenizer *t, const cJSON *config, const cJSON *map, const char *folder,
                                  tempera_error *err) {
    TRY(read_added_decoder(t, config, folder, err));
    set_id(t, &t->bos, config, "bos_token");
    set_id(t, &t->bos, map, "bos_token");
    set_id(t, &t->eos, config, "eos_token");
    set_id(t, &t->eos, map, "eos_token");
    return read_add_settings(t, config, folder, err);
}

tempera_status tokenizer_read_config(struct tokenizer *t, const char *folder, tempera_error *err) {
    cJSON *config = NULL, *map = NULL;
    tempera_status status = TEMPERA_OK;
    TRY_GOTO(open_optional(&config, folder, "tokenizer_config.json", err));
    TRY_GOTO(open_optional(&map, folder, "special_tokens_map.json", err));
    status = read_config(t, config, map, folder, err);
cleanup:
    cJSON_Delete(config);
    cJSON_Delete(map);
    return status;
}

/* --- vocab.json and merges.txt --- */

/* The first of two names that the folder has; *path is owned by the caller, NULL when it has neither. */
static tempera_status find_file(char **path, const char *folder, const char *name, const char *older,
                                tempera_error *err) {
    *path = path_join(folder, name);
    if (*path && file_exists(*path)) return TEMPERA_OK;
    mem_free(*path);
    *path = path_join(folder, older);
    if (!*path) return fail_memory(err, strlen(folder), "a path");
    if (file_exists(*path)) return TEMPERA_OK;
    mem_free(*path);
    *path = NULL;
    return TEMPERA_OK;
}

static tempera_status read_vocab_file(struct tokenizer *t, const char *path, tempera_error *err) {
    char *json;
    size_t length;
    TRY(file_read(path, TOKENIZER_FILE_MAX, &json, &length, err));
    tempera_status status = model_read_vocab(&t->vocab, json, length, path, err);
    mem_free(json);
    return status;
}

static tempera_status add_merge_line(struct tokenizer *t, const char *line, size_t length, const char *path,
                                     tempera_error *err) {
    static const char version[] = "#version";
    if (length > 0 && line[length - 1] == '\r') length--;
    if (length == 0 || (length >= sizeof version - 1 && memcmp(line, version, sizeof version - 1) == 0))
        return TEMPERA_OK;
    const char *space = memchr(line, ' ', length);
    size_t left = space ? (size_t)(space - line) : 0;
    if (!space || memchr(space + 1, ' ', length - left - 1))
        return fail(err, TEMPERA_FORMAT, "%s: merge %u: \"%.*s\": expected two pieces with a space between", path,
                    t->bpe.merge_count, (int)(length < 60 ? length : 60), line);
    return bpe_add_merge(&t->bpe, line, left, space + 1, length - left - 1, path, err);
}

static tempera_status read_merges_file(struct tokenizer *t, const char *path, tempera_error *err) {
    char *text;
    size_t length;
    TRY(file_read(path, TOKENIZER_FILE_MAX, &text, &length, err));
    tempera_status status = bpe_start(&t->bpe, &t->vocab, NULL, NULL, err);
    for (size_t at = 0; at < length && status == TEMPERA_OK;) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t line = end ? (size_t)(end - text) - at : length - at;
        status = add_merge_line(t, text + at, line, path, err);
        at += line + 1;
    }
    mem_free(text);
    return status;
}

/* GPT-2's own tokenizer and its direct descendants; others with the same files (CLIP, Qwen 2 …) split differently. */
static tempera_status check_class(const cJSON *config, const char *folder, tempera_error *err) {
    static const char *const classes[] = {"GPT2", "GPTNeo", "CodeGen", "PreTrainedTokenizerFast"};
    const cJSON *item = json_get(config, "tokenizer_class");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (!cJSON_IsString(item) || strncmp(item->valuestring, classes[i], strlen(classes[i])) == 0) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED, "%s: tokenizer_class \"%.60s\" without a tokenizer.json is not supported",
                folder, item->valuestring);
}

/* A special token that the vocabulary has, or that added_tokens.json gave an id. */
static tempera_status add_special(struct tokenizer *t, const char *content, const char *folder, tempera_error *err) {
    if (!content) return TEMPERA_OK;
    struct added_token token = {.content = content, .length = strlen(content), .special = true};
    token.id = vocab_find(&t->vocab, content, token.length);
    return token.id < 0 ? TEMPERA_OK : vocab_add_token(&t->vocab, &token, folder, err);
}

/* {"<pad>": 50257, …} */
static tempera_status read_added_ids(struct tokenizer *t, const cJSON *added, const char *folder, tempera_error *err) {
    const cJSON *item;
    cJSON_ArrayForEach(item, added) {
        int64_t id = -1;
        TRY(json_integer(added, item->string, 0, VOCAB_MAX_ID, &id, folder, err));
        struct added_token token = {.content = item->string, .length = strlen(item->string), .id = (int32_t)id};
        TRY(vocab_add_token(&t->vocab, &token, folder, err));
    }
    return TEMPERA_OK;
}

static tempera_status read_gpt2_parts(struct tokenizer *t, const cJSON *config, const cJSON *map, const cJSON *added,
                                      const char *folder, tempera_error *err) {
    static const char end_of_text[] = "<|endoftext|>";
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    bool add_prefix_space = false;
    TRY(check_class(config, folder, err));
    TRY(json_bool(config, "add_prefix_space", &add_prefix_space, folder, err));
    TRY(pretokenizer_gpt2(&t->pretokenizer, add_prefix_space, err));
    TRY(decoder_gpt2(&t->decoder, err));
    TRY(read_added_ids(t, added, folder, err));
    TRY(add_special(t, end_of_text, folder, err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        TRY(add_special(t, token_name(config, keys[i]), folder, err));
        TRY(add_special(t, token_name(map, keys[i]), folder, err));
    }
    set_id(t, &t->bos, config, "bos_token");
    set_id(t, &t->bos, map, "bos_token");
    set_id(t, &t->eos, config, "eos_token");
    set_id(t, &t->eos, map, "eos_token");
    int32_t id = vocab_find(&t->vocab, end_of_text, sizeof end_of_text - 1);
    if (t->bos < 0) t->bos = id; /* GPT-2's default for both */
    if (t->eos < 0) t->eos = id;
    return TEMPERA_OK;
}

static tempera_status read_gpt2_config(struct tokenizer *t, const char *folder, tempera_error *err) {
    cJSON *config = NULL, *map = NULL, *added = NULL;
    tempera_status status = TEMPERA_OK;
    TRY_GOTO(open_optional(&config, folder, "tokenizer_config.json", err));
    TRY_GOTO(open_optional(&map, folder, "special_tokens_map.json", err));
    TRY_GOTO(open_optional(&added, folder, "added_tokens.json", err));
    status = read_gpt2_parts(t, config, map, added, folder, err);
cleanup:
    cJSON_Delete(config);
    cJSON_Delete(map);
    cJSON_Delete(added);
    return status;
}

tempera_status tokenizer_read_gpt2(struct tokenizer *t, const char *folder, tempera_error *err) {
    char *vocab = NULL, *merges = NULL;
    tempera_status status = TEMPERA_OK;
    TRY_GOTO(find_file(&vocab, folder, "vocab.json", "encoder.json", err));
    TRY_GOTO(find_file(&merges, folder, "merges.txt", "vocab.bpe", err));
    if (!vocab || !merges) {
        status = fail(err, TEMPERA_IO, "%s: no tokenizer.json, and no vocab.json with merges.txt", folder);
        goto cleanup;
    }
    TRY_GOTO(read_vocab_file(t, vocab, err));
    TRY_GOTO(read_merges_file(t, merges, err));
    status = read_gpt2_config(t, folder, err);
cleanup:
    mem_free(vocab);
    mem_free(merges);
    return status;
}
