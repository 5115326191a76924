/* postprocessor.c: templates for a single text. Pairs of texts are never encoded, so their half is not read. */
#include "text/postprocessor.h"

#include <string.h>

#include "base/mem.h"
#include "text/pipeline.h"

enum { ADDED_MAX = 1024 }; /* ids before and after, together */

struct reading {
    struct postprocessor *post;
    const struct vocab *vocab;
};

void postprocessor_free(struct postprocessor *post) {
    ids_free(&post->before);
    ids_free(&post->after);
}

static tempera_status check_id(const struct reading *r, const cJSON *item, int32_t *id, const char *at,
                               tempera_error *err) {
    double number = cJSON_IsNumber(item) ? item->valuedouble : -1;
    *id = number >= 0 && number <= VOCAB_MAX_ID ? (int32_t)number : -1;
    if (*id == number && vocab_entry(r->vocab, *id)) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: %.17g is not an id of the vocabulary", at, number);
}

static tempera_status append_ids(const struct reading *r, struct ids *ids, const cJSON *list, const char *at,
                                 tempera_error *err) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        int32_t id;
        TRY(check_id(r, item, &id, at, err));
        TRY(ids_append(ids, id, err));
        if (ids->count > ADDED_MAX) return fail(err, TEMPERA_UNSUPPORTED, "%s: more than %d ids", at, ADDED_MAX);
    }
    return TEMPERA_OK;
}

/* Processors run in order, so a later one's ids lie outside: `before` goes in front of what is there, `after` behind. */
static tempera_status wrap(struct postprocessor *post, const struct ids *before, const struct ids *after,
                           const char *at, tempera_error *err) {
    if (post->before.count + post->after.count + before->count + after->count > ADDED_MAX)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: more than %d ids", at, ADDED_MAX);
    TRY(ids_reserve(&post->before, before->count, err));
    TRY(ids_reserve(&post->after, after->count, err));
    if (before->count) {
        memmove(post->before.data + before->count, post->before.data, post->before.count * sizeof *before->data);
        memcpy(post->before.data, before->data, before->count * sizeof *before->data);
        post->before.count += before->count;
    }
    for (size_t i = 0; i < after->count; i++) post->after.data[post->after.count++] = after->data[i];
    return TEMPERA_OK;
}

/* --- TemplateProcessing --- */

/* The ids of a special token that the template names. */
static tempera_status named_ids(const struct reading *r, struct ids *ids, const cJSON *piece, const cJSON *tokens,
                                const char *at, tempera_error *err) {
    const char *name = NULL;
    TRY(json_string(piece, "id", &name, at, err));
    const cJSON *token = name ? json_get(tokens, name) : NULL;
    const cJSON *list = json_get(token, "ids");
    if (!cJSON_IsArray(list))
        return fail(err, TEMPERA_FORMAT, "%s: the template names \"%.60s\", which special_tokens does not have", at,
                    name ? name : "");
    return append_ids(r, ids, list, at, err);
}

static tempera_status read_template_pieces(const struct reading *r, const cJSON *item, struct ids *before,
                                           struct ids *after, const char *at, tempera_error *err) {
    const cJSON *tokens = json_get(item, "special_tokens"), *piece, *single = json_get(item, "single");
    int texts = 0;
    cJSON_ArrayForEach(piece, single) {
        const cJSON *special = json_get(piece, "SpecialToken"), *sequence = json_get(piece, "Sequence");
        if (!special == !sequence)
            return fail(err, TEMPERA_FORMAT, "%s: single: expected SpecialToken or Sequence", at);
        if (special)
            TRY(named_ids(r, texts ? after : before, special, tokens, at, err));
        else
            texts++;
    }
    if (texts == 1) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED, "%s: single: the text is in the template %d times, once is supported", at,
                texts);
}

static tempera_status read_template(struct reading *r, const cJSON *item, const char *at, tempera_error *err) {
    struct ids before = {0}, after = {0};
    tempera_status status = read_template_pieces(r, item, &before, &after, at, err);
    if (status == TEMPERA_OK) status = wrap(r->post, &before, &after, at, err);
    ids_free(&before);
    ids_free(&after);
    return status;
}

/* --- RobertaProcessing, BertProcessing --- */

/* ["<s>", 0] */
static tempera_status read_named_id(const struct reading *r, const cJSON *item, const char *key, int32_t *id,
                                    const char *at, tempera_error *err) {
    const cJSON *pair = json_get(item, key);
    if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2)
        return fail(err, TEMPERA_FORMAT, "%s: %s: expected a name and an id", at, key);
    return check_id(r, cJSON_GetArrayItem(pair, 1), id, at, err);
}

static tempera_status read_cls_sep(struct reading *r, const cJSON *item, const char *at, tempera_error *err) {
    int32_t cls, sep;
    TRY(read_named_id(r, item, "cls", &cls, at, err));
    TRY(read_named_id(r, item, "sep", &sep, at, err));
    return wrap(r->post, &(struct ids){.data = &cls, .count = 1}, &(struct ids){.data = &sep, .count = 1}, at, err);
}

static tempera_status read_step(void *arg, const cJSON *item, const char *type, const char *at, tempera_error *err) {
    if (strcmp(type, "ByteLevel") == 0) return TEMPERA_OK; /* trims offsets, which are not kept */
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(arg, item, at, err);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return read_cls_sep(arg, item, at, err);
    return fail_type(at, type, err);
}

tempera_status postprocessor_read(struct postprocessor *post, const cJSON *item, const struct vocab *vocab,
                                  const char *name, tempera_error *err) {
    struct reading reading = {.post = post, .vocab = vocab};
    return pipeline_read(item, name, "post_processor", "processors", read_step, &reading, err);
}
