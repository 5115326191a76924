/* mem.h: the one door to the heap. Everything in tempera (and cJSON and PCRE2 through their hooks) allocates here, so
 * that a test can count allocations, fail the n-th one, or cap the total. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* As malloc/calloc/realloc/free; NULL on failure, and for a size of zero a unique pointer. mem_array checks count*size
 * for overflow (NULL when it overflows) and zero-fills. Any thread. */
void *mem_alloc(size_t bytes);
void *mem_array(size_t count, size_t size);
void *mem_realloc(void *ptr, size_t bytes);
void mem_free(void *ptr);                           /* NULL is fine */
char *mem_strndup(const char *text, size_t length); /* adds the terminator; NULL on failure */

/* Zero-filled slab for weights, KV pages and activations: aligned to 4096 bytes, backed by huge pages where the system
 * grants them, not touched until used. Free with mem_slab_free and the same size. NULL on failure. */
void *mem_slab(size_t bytes);
/* Makes the slab's memory ours now, so that a plan that fits today does not run out of memory tomorrow. False when the
 * system cannot give it. */
bool mem_slab_commit(void *ptr, size_t bytes);
void mem_slab_free(void *ptr, size_t bytes);

/* Counters and failure injection, for tests and for the memory plan's check. Process-wide, thread-safe.
 * `fail_after`: the n-th allocation from now fails, and all after it (0 = the next one); -1 turns injection off. */
struct mem_stats {
    size_t calls;      /* allocations since start (alloc, array, realloc, slab) */
    size_t live;       /* blocks not yet freed */
    size_t slab_bytes; /* bytes in live slabs */
};
struct mem_stats mem_stats_get(void);
void mem_fail_after(long n);

#endif
