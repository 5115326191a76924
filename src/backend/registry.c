/* registry.c: the backends by name. The cpu is built in, the others are modules. */
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "backend/module.h"

static const char *const MODULES[] = {"cuda", "simt"};
enum { MODULE_COUNT = sizeof MODULES / sizeof MODULES[0] };

const struct backend_ops *backend_find(const char *name, tempera_error *err) {
    if (strcmp(name, "cpu") == 0) return &cpu_backend_ops;
    for (int i = 0; i < MODULE_COUNT; i++)
        if (strcmp(name, MODULES[i]) == 0) return module_load(name, err);
    fail(err, TEMPERA_INVALID_ARGUMENT, "device \"%s\" is unknown; known are auto, cpu, cuda, simt", name);
    return NULL;
}

static tempera_status open_named(struct backend **backend, const char *name, const struct backend_options *options,
                                 tempera_error *err) {
    const struct backend_ops *ops = backend_find(name, err);
    if (!ops) return strcmp(name, "cuda") == 0 || strcmp(name, "simt") == 0 ? TEMPERA_DEVICE : TEMPERA_INVALID_ARGUMENT;
    return ops->open(backend, options, err);
}

static tempera_status open_auto(struct backend **backend, const struct backend_options *options, char *note,
                                tempera_error *err) {
    tempera_error reason = {.message = "no NVIDIA driver was found"};
    if (options->quantised)
        fail(&reason, TEMPERA_UNSUPPORTED, "the CUDA backend has no quantised weights");
    else if (!options->instructions && module_has_driver() &&
             open_named(backend, "cuda", options, &reason) == TEMPERA_OK)
        return TEMPERA_OK;
    if (note) snprintf(note, BACKEND_NOTE_BYTES, "using the CPU: %.140s", reason.message);
    return open_named(backend, "cpu", options, err);
}

tempera_status backend_open(struct backend **backend, const char *name, const struct backend_options *options,
                            char *note, tempera_error *err) {
    if (note) note[0] = '\0';
    return !name || strcmp(name, "auto") == 0 ? open_auto(backend, options, note, err)
                                              : open_named(backend, name, options, err);
}
