#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr */
#endif
#include "backend/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/status.h"

enum { PATH_BYTES = 4096 };

/* Cuts a file's path down to its folder. */
static bool keep_folder(char path[PATH_BYTES]) {
    char *slash = strrchr(path, '/');
    if (slash) *slash = '\0';
    return slash != NULL;
}

/* The folder of the library that this code is in, as the loader knows it. */
static bool library_folder(char folder[PATH_BYTES]) {
    Dl_info info;
    static const char anchor = 0;
    if (!dladdr(&anchor, &info) || !info.dli_fname) return false;
    return snprintf(folder, PATH_BYTES, "%s", info.dli_fname) < PATH_BYTES && keep_folder(folder);
}

/* That of the program, whatever it was called by. */
static bool program_folder(char folder[PATH_BYTES]) {
    ssize_t length = readlink("/proc/self/exe", folder, PATH_BYTES - 1);
    if (length <= 0) return false;
    folder[length] = '\0';
    return keep_folder(folder);
}

/* Opens the module in one folder. False: it is not there; otherwise *module, or NULL and why it does not load. */
static bool open_in(const char *folder, const char *up, const char *name, void **module, tempera_error *err) {
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s%s/libtempera-%s.so", folder, up, name);
    if (access(path, R_OK) != 0) return false;
    *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*module) fail(err, TEMPERA_DEVICE, "device %s: %s", name, dlerror());
    return true;
}

/* The first of the places that has the module. */
static void *open_module(const char *name, tempera_error *err) {
    char folder[PATH_BYTES];
    void *module;
    if (library_folder(folder) &&
        (open_in(folder, "", name, &module, err) || open_in(folder, "/..", name, &module, err)))
        return module;
    if (program_folder(folder) &&
        (open_in(folder, "", name, &module, err) || open_in(folder, "/..", name, &module, err)))
        return module;
    snprintf(folder, sizeof folder, "libtempera-%s.so", name);
    module = dlopen(folder, RTLD_NOW | RTLD_LOCAL);
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
