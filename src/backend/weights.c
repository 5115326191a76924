/* weights.c: what all backends need to know about weights: element types, and what pieces may be. */
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

tempera_status weight_pieces_check(const struct linear_weight *weight, const struct weight_piece *pieces, int32_t count,
                                   tempera_error *err) {
    size_t rows = 0;
    for (int32_t i = 0; i < count; i++) {
        const struct weight_piece *p = &pieces[i];
        if (p->groups == 0 || p->group == 0) continue;
        size_t last = p->first + (p->groups - 1) * p->stride + p->group;
        if (last > p->source_rows)
            return fail(err, TEMPERA_INVALID_ARGUMENT, "weight piece %d: takes rows up to %zu of %zu", (int)i, last,
                        p->source_rows);
        rows += p->group * p->groups;
    }
    if (rows != (size_t)weight->N)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "weight pieces: expected %d rows, found %zu", (int)weight->N, rows);
    return TEMPERA_OK;
}
