/* json.h: strict JSON text (RFC 8259) over cJSON, and typed getters whose errors name the path.
 *
 * cJSON is lenient (numbers, control characters, UTF-8, trailing bytes) and its look-ups are linear and by default
 * case-insensitive; so text passes a strict check first, and getters are case-sensitive. A vocabulary is iterated once,
 * never looked up by key. */
#ifndef LOAD_JSON_H
#define LOAD_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { JSON_MAX_DEPTH = 128 };

/* Checks that text[0, length) is exactly one RFC 8259 value in valid UTF-8, nested at most JSON_MAX_DEPTH deep, with no
 * lone surrogate escapes and (unique_keys) no object that repeats a key. The error gives the byte offset. */
tempera_status json_check(const char *text, size_t length, bool unique_keys, const char *name, tempera_error *err);

/* json_check, then parse. *root is owned by the caller (cJSON_Delete). `name` (a path) starts every message. Refused
 * although valid, with TEMPERA_UNSUPPORTED: the escape \u0000 (cJSON's strings end there, so a key or token would be cut
 * silently) and numbers of more than 63 characters; with TEMPERA_TOO_LONG: more than 8 Mi values, which bounds the tree
 * to some 100 bytes each. */
tempera_status json_parse(cJSON **root, const char *text, size_t length, bool unique_keys, const char *name,
                          tempera_error *err);
/* Reads and parses a file of at most `max` bytes; repeated keys are refused. */
tempera_status json_open(cJSON **root, const char *path, size_t max, tempera_error *err);

/* Routes cJSON's memory through mem.h, once. json_parse does it; call it before building trees with cJSON alone. */
void json_init(void);

/* Getters: `at` is the path printed in errors ("config.json: rope_scaling"). A missing or null key leaves *value as it
 * is and returns OK. A value of another type or out of [min, max] fails with TEMPERA_FORMAT. json_integer refuses
 * fractions and whatever lies beyond ±2^53, json_number what is not finite. */
const cJSON *json_get(const cJSON *object, const char *key); /* case-sensitive; NULL when absent or JSON null */
tempera_status json_integer(const cJSON *object, const char *key, int64_t min, int64_t max, int64_t *value,
                            const char *at, tempera_error *err);
tempera_status json_number(const cJSON *object, const char *key, double min, double max, double *value, const char *at,
                           tempera_error *err);
tempera_status json_bool(const cJSON *object, const char *key, bool *value, const char *at, tempera_error *err);
/* *value is borrowed from the tree. */
tempera_status json_string(const cJSON *object, const char *key, const char **value, const char *at,
                           tempera_error *err);
/* The same for an item at hand (of a list, say), which must not be null; `key` only names it. */
tempera_status json_item_integer(const cJSON *item, const char *key, int64_t min, int64_t max, int64_t *value,
                                 const char *at, tempera_error *err);
tempera_status json_item_number(const cJSON *item, const char *key, double min, double max, double *value,
                                const char *at, tempera_error *err);

#endif
