/* weights.c: what all backends need to know about weights: element types, and what pieces may be. */
#include "backend/backend.h"

size_t weight_type_size(enum weight_type type) {
    return type == WEIGHT_F32 ? 4 : 2;
}

size_t weight_row_bytes(enum weight_type type, size_t K) {
    if (type < WEIGHT_TYPE_COUNT) return K * weight_type_size(type);
    return K / SOURCE_BLOCK * (type == WEIGHT_Q8 ? SOURCE_BLOCK_Q8 : SOURCE_BLOCK_Q4);
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
        if (p->type >= WEIGHT_TYPE_COUNT && (p->type != weight->type || p->transposed || weight->K % SOURCE_BLOCK))
            return fail(err, TEMPERA_INVALID_ARGUMENT,
                        "weight piece %d: blocks of %s, %d inputs, cannot be packed as %s", (int)i,
                        weight_type_name(p->type), (int)weight->K, weight_type_name(weight->type));
        rows += p->group * p->groups;
    }
    if (rows != (size_t)weight->N)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "weight pieces: expected %d rows, found %zu", (int)weight->N, rows);
    return TEMPERA_OK;
}
