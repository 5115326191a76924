/* arena.c: blocks that double in size up to 1 MiB; a larger request gets a block of its own. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

enum { ARENA_ALIGN = 16, ARENA_FIRST = 4096, ARENA_LARGEST = 1 << 20 };

struct arena_block {
    struct arena_block *next;
    size_t used, capacity;
    alignas(ARENA_ALIGN) unsigned char data[];
};

/* A zeroed block with room for `bytes`, made the head; a dedicated block goes behind the head, whose rest
 * stays in use. */
static struct arena_block *add_block(struct arena *a, size_t bytes) {
    size_t capacity = a->head ? a->head->capacity * 2 : ARENA_FIRST;
    if (capacity > ARENA_LARGEST) capacity = ARENA_LARGEST;
    if (capacity < bytes) capacity = bytes;
    size_t total;
    if (!size_add(capacity, sizeof(struct arena_block), &total)) return NULL;
    struct arena_block *block = mem_array(1, total);
    if (!block) return NULL;
    block->capacity = capacity;
    if (a->head && bytes > ARENA_LARGEST / 4) {
        block->next = a->head->next;
        a->head->next = block;
    } else {
        block->next = a->head;
        a->head = block;
    }
    return block;
}

void *arena_alloc(struct arena *a, size_t bytes) {
    if (bytes > SIZE_MAX - ARENA_ALIGN) return NULL;
    bytes = round_up(bytes ? bytes : 1, ARENA_ALIGN);
    struct arena_block *block = a->head;
    if (!block || block->capacity - block->used < bytes) block = add_block(a, bytes);
    if (!block) return NULL;
    void *ptr = block->data + block->used;
    block->used += bytes;
    a->used += bytes;
    return ptr;
}

void *arena_array(struct arena *a, size_t count, size_t size) {
    size_t bytes;
    return size_mul(count, size, &bytes) ? arena_alloc(a, bytes) : NULL;
}

char *arena_strndup(struct arena *a, const char *text, size_t length) {
    size_t bytes;
    if (!size_add(length, 1, &bytes)) return NULL;
    char *copy = arena_alloc(a, bytes);
    if (copy && length) memcpy(copy, text, length);
    return copy;
}

void arena_free(struct arena *a) {
    for (struct arena_block *block = a->head, *next; block; block = next) {
        next = block->next;
        mem_free(block);
    }
    *a = (struct arena){0};
}
