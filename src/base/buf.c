/* buf.c: growable bytes. One spare byte is always kept for the terminator. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

void buf_free(struct buf *b) {
    mem_free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b) {
    b->length = 0;
    if (b->data) b->data[0] = 0;
}

tempera_status buf_reserve(struct buf *b, size_t extra, tempera_error *err) {
    if (b->length > b->max || extra > b->max - b->length)
        return fail(err, TEMPERA_TOO_LONG, "a buffer would grow past its maximum of %zu bytes", b->max);
    size_t need;
    if (!size_add(b->length + extra, 1, &need)) return fail_memory(err, SIZE_MAX, "a buffer");
    if (need <= b->capacity) return TEMPERA_OK;
    size_t capacity = b->capacity ? b->capacity : 64;
    while (capacity < need) capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    if (b->max < SIZE_MAX && capacity > b->max + 1) capacity = b->max + 1; /* still >= need */
    char *data = mem_realloc(b->data, capacity);
    if (!data) return fail_memory(err, capacity, "a buffer");
    data[b->length] = 0;
    b->data = data;
    b->capacity = capacity;
    return TEMPERA_OK;
}

tempera_status buf_append(struct buf *b, const void *bytes, size_t length, tempera_error *err) {
    TRY(buf_reserve(b, length, err));
    if (length) memcpy(b->data + b->length, bytes, length);
    b->length += length;
    b->data[b->length] = 0;
    return TEMPERA_OK;
}

tempera_status buf_append_text(struct buf *b, const char *text, tempera_error *err) {
    return buf_append(b, text, strlen(text), err);
}

tempera_status buf_printf(struct buf *b, tempera_error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) return fail(err, TEMPERA_INVALID_ARGUMENT, "a text could not be formatted");
    TRY(buf_reserve(b, (size_t)n, err));
    va_start(args, format);
    vsnprintf(b->data + b->length, (size_t)n + 1, format, args);
    va_end(args);
    b->length += (size_t)n;
    return TEMPERA_OK;
}

char *buf_take(struct buf *b, size_t *length) {
    char *data = b->data ? b->data : mem_strndup("", 0);
    if (length) *length = b->length;
    *b = (struct buf){.max = b->max};
    return data;
}
