/* layout.h: one slab cut into arrays. The same code counts the bytes (base NULL) and later hands out the addresses, so
 * that a plan cannot differ from the allocation. */
#ifndef ENGINE_LAYOUT_H
#define ENGINE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/num.h"

struct layout {
    char *base;    /* NULL: only count */
    size_t used;   /* bytes handed out so far */
    bool overflow; /* the sizes do not fit size_t */
};

/* The next array of count elements, 64-byte aligned; NULL while counting. */
static inline void *layout_array(struct layout *layout, size_t count, size_t size) {
    size_t bytes, end;
    if (!size_mul(count, size, &bytes) || !size_add(bytes, 63, &bytes) ||
        !size_add(layout->used, bytes & ~(size_t)63, &end)) {
        layout->overflow = true;
        return NULL;
    }
    char *address = layout->base ? layout->base + layout->used : NULL;
    layout->used = end;
    return address;
}

#endif
