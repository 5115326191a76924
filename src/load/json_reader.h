/* json_reader.h: pull reader for strict JSON text (RFC 8259, valid UTF-8, no lone surrogate escapes).
 *
 * It holds no memory: tokens are slices of the text, so a header of 100 MB costs what its reader keeps of it.
 * json_check drains it; safetensors headers and shard indexes are read through it directly, without a tree.
 *
 *     struct json_reader r = json_reader_start(text, length, path);
 *     struct json_token t;
 *     do TRY(json_next(&r, &t, err)); while (t.kind != JSON_END);
 */
#ifndef LOAD_JSON_READER_H
#define LOAD_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "load/json.h"

enum json_kind {
    JSON_END, /* after the one value, nothing but white space is left */
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    JSON_KEY, /* its colon is taken with it */
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
};

struct json_token {
    enum json_kind kind;
    const char *text; /* [length] as in the file; of keys and strings without the quotes */
    size_t length;
    bool escaped; /* key or string with at least one backslash */
    bool nul;     /* key or string with the escape for U+0000 */
};

struct json_reader {
    const char *text;
    size_t length, at;
    const char *name; /* starts every message */
    int state;
    int depth;                          /* open objects and arrays */
    bool in_object[JSON_MAX_DEPTH + 1]; /* [depth] */
};

/* text and name are borrowed for as long as the reader is used. */
struct json_reader json_reader_start(const char *text, size_t length, const char *name);
/* After a failure the reader must not be used again. */
tempera_status json_next(struct json_reader *r, struct json_token *token, tempera_error *err);
/* The next token, which must be of this kind; the message says `what` was expected. */
tempera_status json_next_kind(struct json_reader *r, enum json_kind kind, const char *what, struct json_token *token,
                              tempera_error *err);
/* `token` was just read and begins a value: reads to the end of that value. */
tempera_status json_skip(struct json_reader *r, const struct json_token *token, tempera_error *err);
/* The same, several times as fast, in a text that a reader has gone through before, to its end without a failure. */
void json_skip_checked(struct json_reader *r, const struct json_token *token);
/* "NAME: byte N: expected WHAT", for a caller that finds the last token out of place. */
tempera_status json_fail(const struct json_reader *r, const struct json_token *token, const char *what,
                         tempera_error *err);

/* Key or string with its escapes resolved, in the arena and terminated; NULL when out of memory. */
char *json_text(struct arena *arena, const struct json_token *token, size_t *length);
/* The token's text is exactly `text` (which is ASCII). Escaped spellings count as different. */
bool json_is(const struct json_token *token, const char *text);
/* A number token that is a plain run of digits, no larger than `max`. */
bool json_digits(const struct json_token *token, uint64_t max, uint64_t *value);

#endif
