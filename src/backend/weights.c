/* weights.c: names and sizes of the element types that weights are stored in. */
#include "backend/backend.h"

static const struct {
    const char *name;
    size_t size;
} TYPES[WEIGHT_TYPE_COUNT] = {
    [WEIGHT_F32] = {"f32", 4},
    [WEIGHT_F16] = {"f16", 2},
    [WEIGHT_BF16] = {"bf16", 2},
};

size_t weight_type_size(enum weight_type type) {
    return TYPES[type].size;
}

const char *weight_type_name(enum weight_type type) {
    return TYPES[type].name;
}
