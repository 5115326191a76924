/* arena.h: bump allocator for load-time data that lives and dies together. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

/* Zero-initialise. Memory from the arena is valid until arena_free. One thread at a time. */
struct arena {
    struct arena_block *head;
    size_t used; /* bytes handed out */
};

void *arena_alloc(struct arena *a, size_t bytes);              /* zeroed, 16-byte aligned; NULL when out of memory */
void *arena_array(struct arena *a, size_t count, size_t size); /* overflow-checked */
char *arena_strndup(struct arena *a, const char *text, size_t length); /* with terminator */
void arena_free(struct arena *a);

#endif
