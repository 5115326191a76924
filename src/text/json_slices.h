/* json_slices.h: picks members of a large JSON object by name without building a tree of it. */
#ifndef TEXT_JSON_SLICES_H
#define TEXT_JSON_SLICES_H

#include <stddef.h>

#include "load/json_reader.h"

struct json_slice {
    const char *text; /* [length], borrowed; NULL when the object has no such member */
    size_t length;
    enum json_kind kind; /* of its first token; JSON_NULL also when there is none */
};

/* Fills slices[i] with the value of keys[i]; other members are checked and skipped. A key that repeats is an error. The
 * text must be one object, and all of it is checked; `checked`: it was before, as part of a larger text. */
tempera_status json_slices(const char *json, size_t length, const char *name, const char *const *keys,
                           struct json_slice *slices, size_t count, bool checked, tempera_error *err);

#endif
