/* json_slices.c: one pass of the pull reader over an object. */
#include "text/json_slices.h"

#include <string.h>

static tempera_status keep_value(struct json_reader *r, const struct json_token *key, const char *const *keys,
                                 struct json_slice *slices, size_t count, bool checked, tempera_error *err) {
    size_t i = 0;
    while (i < count && !json_is(key, keys[i])) i++;
    if (i < count && slices[i].text) return json_fail(r, key, "each key once", err);
    struct json_token t;
    const char *start = r->text + r->at;
    TRY(json_next(r, &t, err));
    enum json_kind kind = t.kind;
    if (checked)
        json_skip_checked(r, &t);
    else
        TRY(json_skip(r, &t, err));
    if (i < count) slices[i] = (struct json_slice){start, (size_t)(r->text + r->at - start), kind};
    return TEMPERA_OK;
}

tempera_status json_slices(const char *json, size_t length, const char *name, const char *const *keys,
                           struct json_slice *slices, size_t count, bool checked, tempera_error *err) {
    for (size_t i = 0; i < count; i++) slices[i] = (struct json_slice){.kind = JSON_NULL};
    struct json_reader r = json_reader_start(json, length, name);
    struct json_token t;
    TRY(json_next_kind(&r, JSON_OBJECT, "an object", &t, err));
    for (;;) {
        TRY(json_next(&r, &t, err));
        if (t.kind == JSON_OBJECT_END) break;
        TRY(keep_value(&r, &t, keys, slices, count, checked, err));
    }
    return json_next_kind(&r, JSON_END, "the end", &t, err);
}
