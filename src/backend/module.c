#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr */
#endif
#include "backend/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

enum { PATH_BYTES = 4096 };

/* The folder of the program or library that this code is in; false when the system does not say. */
static bool own_folder(char folder[PATH_BYTES]) {
    Dl_info info;
    static const char anchor = 0;
    if (!dladdr(&anchor, &info) || !info.dli_fname) return false;
    const char *slash = strrchr(info.dli_fname, '/');
    int length = slash ? (int)(slash - info.dli_fname) : 1;
    return snprintf(folder, PATH_BYTES, "%.*s", length, slash ? info.dli_fname : ".") < PATH_BYTES;
}

/* The first of the places that has the module. The reason why it does not load is kept from a place that has it. */
static void *open_module(const char *name, tempera_error *err) {
    static const char *const places[] = {"", "/.."};
    char folder[PATH_BYTES], path[PATH_BYTES + 64];
    if (own_folder(folder)) {
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            snprintf(path, sizeof path, "%s%s/libtempera-%s.so", folder, places[i], name);
            FILE *file = fopen(path, "rb");
            if (!file) continue;
            fclose(file);
            void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (!module) fail(err, TEMPERA_DEVICE, "device %s: %s", name, dlerror());
            return module;
        }
    }
    snprintf(path, sizeof path, "libtempera-%s.so", name);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) fail(err, TEMPERA_DEVICE, "device %s: the module libtempera-%s.so is not installed", name, name);
    return module;
}

const struct backend_ops *module_load(const char *name, tempera_error *err) {
    typedef const struct backend_ops *entry(const char *build);
    void *module = open_module(name, err);
    if (!module) return NULL;
    void *symbol = dlsym(module, "tempera_backend_module");
    entry *get;
    memcpy(&get, &symbol, sizeof get); /* POSIX lets an object pointer hold a function */
    const struct backend_ops *ops = symbol ? get(BACKEND_BUILD) : NULL;
    if (ops) return ops; /* the handle is kept: modules stay for the process's life */
    dlclose(module);
    fail(err, TEMPERA_DEVICE, "device %s: libtempera-%s.so was built from other sources than this library", name, name);
    return NULL;
}

bool module_has_driver(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver) dlclose(driver);
    return driver != NULL;
}
