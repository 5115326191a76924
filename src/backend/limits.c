/* limits.c: what no backend can be prepared for. */
#include "backend/backend.h"

tempera_status backend_limits_check(const struct backend_limits *l, tempera_error *err) {
    const struct {
        const char *name;
        int32_t value;
    } fields[] = {{"L", l->L},
                  {"D", l->D},
                  {"H", l->H},
                  {"Hkv", l->Hkv},
                  {"Dh", l->Dh},
                  {"F", l->F},
                  {"V", l->V},
                  {"context", l->context},
                  {"max_tokens", l->max_tokens},
                  {"max_logits", l->max_logits},
                  {"max_branches", l->max_branches},
                  {"pages", l->pages}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].value < 1)
            return fail(err, TEMPERA_INVALID_ARGUMENT, "limit %s: expected at least 1, found %d", fields[i].name,
                        (int)fields[i].value);
    if (l->H % l->Hkv != 0)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%d query heads are not a multiple of %d key/value heads", (int)l->H,
                    (int)l->Hkv);
    return TEMPERA_OK;
}
