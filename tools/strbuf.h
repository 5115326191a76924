/* strbuf.h: a growable byte string, and allocation that ends the program when memory runs out (a program may, the
 * library may not). */
#ifndef TOOLS_STRBUF_H
#define TOOLS_STRBUF_H

#include <stddef.h>

/* Never NULL; "out of memory" on stderr and exit 1 otherwise. */
void *xalloc(size_t bytes);
void *xarray(size_t count, size_t size); /* zero-filled, checks count * size */
void *xgrow(void *memory, size_t count, size_t size);
char *xdup(const char *text, size_t length); /* adds a terminator */

/* Zero-initialise. `data` is NULL until something was added, then always terminated. */
struct strbuf {
    char *data;
    size_t length, capacity;
};

void strbuf_add(struct strbuf *b, const void *bytes, size_t length);
void strbuf_text(struct strbuf *b, const char *text);
void strbuf_char(struct strbuf *b, char c);
void strbuf_pad(struct strbuf *b, char c, size_t count);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void strbuf_printf(struct strbuf *b, const char *format, ...);
void strbuf_clear(struct strbuf *b); /* keeps the memory */
void strbuf_free(struct strbuf *b);

#endif
