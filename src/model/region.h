/* region.h: one region of device memory cut into parts. The same code counts the bytes (base NULL) and later
 * hands out the addresses, so that a plan cannot differ from the allocation. Private to src/model. */
#ifndef MODEL_REGION_H
#define MODEL_REGION_H

#include "backend/backend.h"
#include "base/num.h"

struct region {
    char *base; /* device memory, or NULL: only count */
    size_t used;
    bool overflow; /* the sizes do not fit size_t */
};

enum { REGION_ALIGN = 64 };

/* The next `bytes` bytes, aligned; NULL while counting. */
static inline void *region_take(struct region *region, size_t bytes) {
    size_t padded, end;
    if (!size_add(bytes, REGION_ALIGN - 1, &padded) ||
        !size_add(region->used, padded / REGION_ALIGN * REGION_ALIGN, &end)) {
        region->overflow = true;
        return NULL;
    }
    char *part = region->base ? region->base + region->used : NULL;
    region->used = end;
    return part;
}

/* The same for count rows of `width` floats. */
static inline float *region_floats(struct region *region, size_t count, size_t width) {
    size_t elements, bytes;
    if (!size_mul(count, width, &elements) || !size_mul(elements, sizeof(float), &bytes)) {
        region->overflow = true;
        return NULL;
    }
    return region_take(region, bytes);
}

/* The same for count operands of K elements. */
static inline void *region_operands(struct region *region, size_t count, int32_t K, const struct backend *backend,
                                    enum weight_type type) {
    size_t bytes;
    if (!size_mul(count, backend->ops->operand_bytes(backend, type, K), &bytes)) {
        region->overflow = true;
        return NULL;
    }
    return region_take(region, bytes);
}

#endif
