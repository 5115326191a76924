/* mem.c: the heap with counters and failure injection, and slabs straight from the system. */
#include "base/mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/num.h"

enum { SLAB_PAGE = 4096, HUGE_PAGE = 2 << 20 };

static atomic_size_t calls;
static atomic_size_t live;
static atomic_size_t slab_bytes;
static atomic_long budget = -1; /* allocations that may still succeed; -1 = no limit */

/* Counts one call and tells whether it may go on: no object can be larger than PTRDIFF_MAX, and failure
 * injection. */
static bool admit(size_t bytes) {
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    if (bytes > PTRDIFF_MAX) return false;
    long left = atomic_load_explicit(&budget, memory_order_relaxed);
    while (left > 0 && !atomic_compare_exchange_weak(&budget, &left, left - 1)) {
    }
    return left != 0;
}

static void *counted(void *ptr) {
    if (ptr) atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return ptr;
}

void *mem_alloc(size_t bytes) {
    return admit(bytes) ? counted(malloc(bytes ? bytes : 1)) : NULL;
}

void *mem_array(size_t count, size_t size) {
    size_t bytes;
    if (!size_mul(count, size, &bytes)) bytes = SIZE_MAX;
    if (!admit(bytes)) return NULL;
    return counted(calloc(1, bytes ? bytes : 1));
}

void *mem_realloc(void *ptr, size_t bytes) {
    if (!ptr) return mem_alloc(bytes);
    return admit(bytes) ? realloc(ptr, bytes ? bytes : 1) : NULL;
}

void mem_free(void *ptr) {
    if (!ptr) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(ptr);
}

char *mem_strndup(const char *text, size_t length) {
    size_t bytes;
    if (!size_add(length, 1, &bytes)) return NULL;
    char *copy = mem_alloc(bytes);
    if (!copy) return NULL;
    if (length) memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

static void *map_anonymous(size_t bytes) {
    void *ptr = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return ptr == MAP_FAILED ? NULL : ptr;
}

/* The system grants huge pages only to aligned 2 MiB ranges: map a little more and give the ragged ends back.
 */
static void *map_huge(size_t bytes) {
    size_t padded = bytes + HUGE_PAGE;
    unsigned char *base = map_anonymous(padded);
    if (!base) return NULL;
    size_t head = (HUGE_PAGE - (uintptr_t)base % HUGE_PAGE) % HUGE_PAGE;
    if (head) munmap(base, head);
    munmap(base + head + bytes, padded - head - bytes); /* never empty: head < HUGE_PAGE */
    (void)madvise(base + head, bytes, MADV_HUGEPAGE);   /* advice: a kernel without huge pages refuses it */
    return base + head;
}

/* The mapping's size for a slab of at most PTRDIFF_MAX bytes. */
static size_t slab_size(size_t bytes) {
    return round_up(bytes ? bytes : 1, SLAB_PAGE);
}

void *mem_slab(size_t bytes) {
    if (!admit(bytes)) return NULL;
    size_t size = slab_size(bytes);
    void *ptr = counted(size >= HUGE_PAGE ? map_huge(size) : map_anonymous(size));
    if (ptr) atomic_fetch_add_explicit(&slab_bytes, bytes, memory_order_relaxed);
    return ptr;
}

bool mem_slab_commit(void *ptr, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
    if (madvise(ptr, slab_size(bytes), MADV_POPULATE_WRITE) == 0) return true;
    if (errno != EINVAL) return false; /* EINVAL: a kernel before 5.14 */
#endif
    volatile char *byte = ptr;
    for (size_t i = 0; i < bytes; i += SLAB_PAGE) byte[i] = 0;
    return true;
}

void mem_slab_free(void *ptr, size_t bytes) {
    if (!ptr) return;
    munmap(ptr, slab_size(bytes));
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&slab_bytes, bytes, memory_order_relaxed);
}

struct mem_stats mem_stats_get(void) {
    return (struct mem_stats){
        .calls = atomic_load_explicit(&calls, memory_order_relaxed),
        .live = atomic_load_explicit(&live, memory_order_relaxed),
        .slab_bytes = atomic_load_explicit(&slab_bytes, memory_order_relaxed),
    };
}

void mem_fail_after(long n) {
    atomic_store(&budget, n < 0 ? -1 : n);
}
