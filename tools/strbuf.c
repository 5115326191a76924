/* strbuf.c: growable byte strings. */
#include "strbuf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *memory) {
    if (memory) return memory;
    fputs("tempera: out of memory\n", stderr);
    exit(1);
}

void *xalloc(size_t bytes) {
    return need(malloc(bytes ? bytes : 1));
}

void *xarray(size_t count, size_t size) {
    return need(calloc(count ? count : 1, size));
}

void *xgrow(void *memory, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return need(NULL);
    size_t bytes = count * size;
    return need(realloc(memory, bytes ? bytes : 1));
}

char *xdup(const char *text, size_t length) {
    char *copy = xalloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

/* Room for `extra` bytes and the terminator. */
static void reserve(struct strbuf *b, size_t extra) {
    if (extra >= SIZE_MAX / 2 - b->length) need(NULL);
    size_t wanted = b->length + extra + 1;
    if (wanted <= b->capacity) return;
    size_t capacity = b->capacity ? b->capacity * 2 : 64;
    b->capacity = capacity < wanted ? wanted : capacity;
    b->data = xgrow(b->data, b->capacity, 1);
}

void strbuf_add(struct strbuf *b, const void *bytes, size_t length) {
    reserve(b, length);
    if (length) memcpy(b->data + b->length, bytes, length);
    b->length += length;
    b->data[b->length] = 0;
}

void strbuf_text(struct strbuf *b, const char *text) {
    strbuf_add(b, text, strlen(text));
}

void strbuf_char(struct strbuf *b, char c) {
    strbuf_add(b, &c, 1);
}

void strbuf_pad(struct strbuf *b, char c, size_t count) {
    reserve(b, count);
    memset(b->data + b->length, c, count);
    b->length += count;
    b->data[b->length] = 0;
}

void strbuf_printf(struct strbuf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length > 0) {
        reserve(b, (size_t)length);
        vsnprintf(b->data + b->length, (size_t)length + 1, format, again);
        b->length += (size_t)length;
    }
    va_end(again);
}

void strbuf_clear(struct strbuf *b) {
    b->length = 0;
    if (b->data) b->data[0] = 0;
}

void strbuf_free(struct strbuf *b) {
    free(b->data);
    *b = (struct strbuf){0};
}
