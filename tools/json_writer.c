/* json_writer.c: a streaming JSON writer. */
#include "json_writer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* Escaped text between quotes; false when it was not UTF-8. */
static bool quote(struct strbuf *b, const char *bytes, size_t length) {
    const unsigned char *s = (const unsigned char *)bytes;
    bool clean = true;
    strbuf_char(b, '"');
    for (size_t i = 0; i < length;) {
        size_t n = utf8_sequence(s + i, length - i);
        if (n == 0) {
            clean = false;
            strbuf_text(b, "\xEF\xBF\xBD");
            i++;
            continue;
        }
        if (s[i] == '"' || s[i] == '\\') {
            strbuf_char(b, '\\');
            strbuf_char(b, (char)s[i]);
        } else if (s[i] == '\n') {
            strbuf_text(b, "\\n");
        } else if (s[i] < 0x20 || s[i] == 0x7F) {
            strbuf_printf(b, "\\u%04x", s[i]);
        } else {
            strbuf_add(b, s + i, n);
        }
        i += n;
    }
    strbuf_char(b, '"');
    return clean;
}

static void base64(struct strbuf *b, const unsigned char *s, size_t length) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t group = (uint32_t)s[i] << 16;
        if (left > 1) group |= (uint32_t)s[i + 1] << 8;
        if (left > 2) group |= s[i + 2];
        for (size_t k = 0; k < 4; k++) strbuf_char(b, k <= left ? digits[group >> (18 - 6 * k) & 63] : '=');
    }
}

/* What stands before a value: a comma, a key. */
static void begin(struct json *j, const char *key) {
    if (j->filled[j->depth]) strbuf_char(&j->out, ',');
    j->filled[j->depth] = true;
    if (!key) return;
    quote(&j->out, key, strlen(key));
    strbuf_char(&j->out, ':');
}

static void open_value(struct json *j, const char *key, char open, char close) {
    begin(j, key);
    strbuf_char(&j->out, open);
    j->close[j->depth++] = close;
    j->filled[j->depth] = false;
}

void json_object(struct json *j, const char *key) {
    open_value(j, key, '{', '}');
}

void json_array(struct json *j, const char *key) {
    open_value(j, key, '[', ']');
}

void json_end(struct json *j) {
    strbuf_char(&j->out, j->close[--j->depth]);
    if (j->depth == 0) j->filled[0] = false; /* the next outermost value starts afresh */
}

void json_text(struct json *j, const char *key, const char *text) {
    begin(j, key);
    quote(&j->out, text, strlen(text));
}

void json_bytes(struct json *j, const char *key, const char *bytes, size_t length) {
    begin(j, key);
    if (quote(&j->out, bytes, length) || !key) return;
    strbuf_printf(&j->out, ",\"%s_bytes\":\"", key);
    base64(&j->out, (const unsigned char *)bytes, length);
    strbuf_char(&j->out, '"');
}

void json_int(struct json *j, const char *key, int64_t value) {
    begin(j, key);
    strbuf_printf(&j->out, "%" PRId64, value);
}

void json_uint(struct json *j, const char *key, uint64_t value) {
    begin(j, key);
    strbuf_printf(&j->out, "%" PRIu64, value);
}

void strbuf_float(struct strbuf *b, float value) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) { /* 6: the least that writes 40, not 4e+01; zeros are dropped */
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    strbuf_text(b, text);
}

void json_float(struct json *j, const char *key, float value) {
    begin(j, key);
    if (isfinite(value))
        strbuf_float(&j->out, value);
    else
        strbuf_text(&j->out, "null");
}

void json_double(struct json *j, const char *key, double value) {
    char text[40] = "null";
    begin(j, key);
    for (int digits = 6; isfinite(value) && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    strbuf_text(&j->out, text);
}

void json_fixed(struct json *j, const char *key, double value, int digits) {
    begin(j, key);
    if (isfinite(value))
        strbuf_printf(&j->out, "%.*f", digits, value);
    else
        strbuf_text(&j->out, "null");
}

void json_bool(struct json *j, const char *key, bool value) {
    begin(j, key);
    strbuf_text(&j->out, value ? "true" : "false");
}

void json_null(struct json *j, const char *key) {
    begin(j, key);
    strbuf_text(&j->out, "null");
}
