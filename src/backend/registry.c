/* registry.c: the backends that this build has. */
#include <string.h>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"

static const struct backend_ops *const BACKENDS[] = {&cpu_backend_ops};
enum { BACKEND_COUNT = sizeof BACKENDS / sizeof BACKENDS[0] };

const struct backend_ops *backend_find(const char *name) {
    if (strcmp(name, "auto") == 0) return BACKENDS[0];
    for (int i = 0; i < BACKEND_COUNT; i++)
        if (strcmp(name, BACKENDS[i]->name) == 0) return BACKENDS[i];
    return NULL;
}

const char *backend_names(void) {
    return "cpu";
}
