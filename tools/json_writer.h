/* json_writer.h: writes JSON values, one after another, into a string. Numbers keep all their digits: 64-bit integers
 * are written as they are, floats with the fewest digits that read back to the same float, NaN and infinities as null.
 * `key` is NULL inside arrays and for the outermost value. */
#ifndef TOOLS_JSON_WRITER_H
#define TOOLS_JSON_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "strbuf.h"

enum { JSON_DEPTH = 16 };

struct json {
    struct strbuf out;
    int depth;
    char close[JSON_DEPTH];      /* '}' or ']' of each open value */
    bool filled[JSON_DEPTH + 1]; /* something was written at this depth */
};

void json_object(struct json *j, const char *key); /* ends with json_end */
void json_array(struct json *j, const char *key);
void json_end(struct json *j);
void json_text(struct json *j, const char *key, const char *text);
/* Bytes that are not UTF-8 become U+FFFD, and "KEY_bytes" follows with all bytes in base64 (objects only). */
void json_bytes(struct json *j, const char *key, const char *bytes, size_t length);
void json_int(struct json *j, const char *key, int64_t value);
void json_uint(struct json *j, const char *key, uint64_t value);
void json_float(struct json *j, const char *key, float value);
void json_double(struct json *j, const char *key, double value);
void json_fixed(struct json *j, const char *key, double value, int digits); /* for measured figures */
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);

/* The fewest digits that read back to the same float. */
void strbuf_float(struct strbuf *b, float value);

#endif
