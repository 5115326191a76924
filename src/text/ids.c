/* ids.c: the growable list of ids. */
#include "text/ids.h"
#include "base/mem.h"
#include "base/num.h"

void ids_free(struct ids *ids) {
    mem_free(ids->data);
    *ids = (struct ids){0};
}

tempera_status ids_reserve(struct ids *ids, size_t extra, tempera_error *err) {
    if (ids->capacity - ids->count >= extra) return TEMPERA_OK;
    size_t capacity, bytes;
    if (!size_add(ids->count, extra, &capacity) || !size_add(capacity, ids->capacity / 2 + 16, &capacity) ||
        !size_mul(capacity, sizeof *ids->data, &bytes))
        return fail_memory(err, SIZE_MAX, "token ids");
    int32_t *data = mem_realloc(ids->data, bytes);
    if (!data) return fail_memory(err, bytes, "token ids");
    ids->data = data;
    ids->capacity = capacity;
    return TEMPERA_OK;
}

tempera_status ids_append(struct ids *ids, int32_t id, tempera_error *err) {
    if (ids->count == ids->capacity) TRY(ids_reserve(ids, 1, err));
    ids->data[ids->count++] = id;
    return TEMPERA_OK;
}
