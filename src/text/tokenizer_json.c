/* tokenizer_json.c: reading tokenizer.json.
 *
 * The vocabulary and the merges are most of the file, so they are read token by token (model_json.c); the other parts are
 * small and become cJSON trees for the components' own readers. */
#include <string.h>

#include "text/json_slices.h"
#include "text/tokenizer_internal.h"

enum part { VERSION, ADDED_TOKENS, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, MODEL, PARTS };

static const char *const part_names[PARTS] = {"version",        "added_tokens", "normalizer", "pre_tokenizer",
                                              "post_processor", "decoder",      "model"};

static tempera_status read_version(const cJSON *item, const char *name, tempera_error *err) {
    if (!item || (cJSON_IsString(item) && strcmp(item->valuestring, "1.0") == 0)) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED, "%s: version: only \"1.0\" is supported", name);
}

static tempera_status read_added_token(struct vocab *vocab, const cJSON *item, const char *name, tempera_error *err) {
    struct added_token token = {0};
    int64_t id = -1;
    const char *content = NULL;
    TRY(json_string(item, "content", &content, name, err));
    if (!content) return fail(err, TEMPERA_FORMAT, "%s: added_tokens: content is missing", name);
    token.content = content;
    token.length = strlen(content);
    TRY(json_integer(item, "id", 0, VOCAB_MAX_ID, &id, name, err));
    if (id < 0) return fail(err, TEMPERA_FORMAT, "%s: added token \"%.60s\": id is missing", name, content);
    token.id = (int32_t)id;
    TRY(json_bool(item, "special", &token.special, name, err));
    token.normalized = !token.special;
    TRY(json_bool(item, "normalized", &token.normalized, name, err));
    TRY(json_bool(item, "lstrip", &token.lstrip, name, err));
    TRY(json_bool(item, "rstrip", &token.rstrip, name, err));
    TRY(json_bool(item, "single_word", &token.single_word, name, err));
    return vocab_add_token(vocab, &token, name, err);
}

tempera_status added_read_json(struct vocab *vocab, const cJSON *list, const char *name, tempera_error *err) {
    const cJSON *item;
    if (list && !cJSON_IsArray(list) && !cJSON_IsNull(list))
        return fail(err, TEMPERA_FORMAT, "%s: added_tokens: expected a list", name);
    cJSON_ArrayForEach(item, list) TRY(read_added_token(vocab, item, name, err));
    return TEMPERA_OK;
}

static tempera_status read_part(struct tokenizer *t, enum part part, const cJSON *item, const char *name,
                                tempera_error *err) {
    switch (part) {
    case VERSION: return read_version(item, name, err);
    case ADDED_TOKENS: return added_read_json(&t->vocab, item, name, err);
    case NORMALIZER: return normalizer_read(&t->normalizer, item, name, err);
    case PRE_TOKENIZER: return pretokenizer_read(&t->pretokenizer, item, name, err);
    case POST_PROCESSOR: return postprocessor_read(&t->post, item, &t->vocab, name, err);
    case DECODER: return decoder_read(&t->decoder, item, name, err);
    case MODEL:
    case PARTS: break;
    }
    return TEMPERA_OK;
}

/* Parses the slice, if there is one, and reads it. */
static tempera_status read_slice(struct tokenizer *t, enum part part, const struct json_slice *slice, const char *name,
                                 tempera_error *err) {
    cJSON *item = NULL;
    if (slice->text) TRY(json_parse(&item, slice->text, slice->length, true, name, err));
    tempera_status status = read_part(t, part, item, name, err);
    cJSON_Delete(item);
    return status;
}

tempera_status tokenizer_read_json(struct tokenizer *t, const char *json, size_t length, const char *name,
                                   tempera_error *err) {
    struct json_slice slices[PARTS];
    TRY(json_slices(json, length, name, part_names, slices, PARTS, false, err));
    if (slices[MODEL].kind != JSON_OBJECT) return fail(err, TEMPERA_FORMAT, "%s: model is missing", name);
    TRY(read_slice(t, VERSION, &slices[VERSION], name, err));
    TRY(model_read_json(t, slices[MODEL].text, slices[MODEL].length, name, err));
    for (enum part part = ADDED_TOKENS; part < MODEL; part++) TRY(read_slice(t, part, &slices[part], name, err));
    return TEMPERA_OK;
}
