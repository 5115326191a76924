/* weights.c: what all backends need to know about weights: element types, and what pieces may be. */
#include "backend/backend.h"

size_t weight_type_size(enum weight_type type) {
    return type == WEIGHT_F32 ? 4 : 2;
}

const char *weight_type_name(enum weight_type type) {
    static const char *const names[WEIGHT_PACKED_COUNT] = {"f32", "f16", "bf16", "q8", "q4"};
    return names[type];
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
