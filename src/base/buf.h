/* buf.h: a growable byte buffer with a mandatory maximum. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>

#include "base/status.h"

/* Zero-initialise with {.max = N}; data is always followed by a 0 byte once anything was appended. */
struct buf {
    char *data; /* length bytes + terminator, owned */
    size_t length;
    size_t capacity;
    size_t max; /* an append that would pass it fails with TEMPERA_TOO_LONG */
};

void buf_free(struct buf *b);  /* releases and zeroes all but max */
void buf_clear(struct buf *b); /* keeps the memory */
tempera_status buf_reserve(struct buf *b, size_t extra, tempera_error *err);
tempera_status buf_append(struct buf *b, const void *bytes, size_t length, tempera_error *err);
tempera_status buf_append_text(struct buf *b, const char *text, tempera_error *err);
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
tempera_status
buf_printf(struct buf *b, tempera_error *err, const char *format, ...);
/* Moves the bytes out; the caller frees them with mem_free. Never NULL on an empty buffer unless memory ran out. */
char *buf_take(struct buf *b, size_t *length);

#endif
