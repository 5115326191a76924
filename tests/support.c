/* support.c: where test data lies, and scratch folders. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/file.h"
#include "base/mem.h"

#ifndef TEMPERA_TEST_DATA_DEFAULT
#define TEMPERA_TEST_DATA_DEFAULT ""
#endif
#ifndef TEMPERA_TEST_MODELS_DEFAULT
#define TEMPERA_TEST_MODELS_DEFAULT ""
#endif
#ifndef TEMPERA_TEST_DIR
#define TEMPERA_TEST_DIR ""
#endif

static const char *find_folder(const char *variable, const char *otherwise) {
    const char *path = getenv(variable);
    if (!path || !path[0]) path = otherwise;
    return folder_exists(path) ? path : NULL;
}

const char *test_data(void) {
    return find_folder("TEMPERA_TEST_DATA", TEMPERA_TEST_DATA_DEFAULT);
}

const char *test_models(void) {
    return find_folder("TEMPERA_TEST_MODELS", TEMPERA_TEST_MODELS_DEFAULT);
}

const char *test_source(void) {
    return find_folder("TEMPERA_TEST_SOURCE", TEMPERA_TEST_DIR);
}

/* A folder beside or below test_source(); `path` is the caller's own static memory, so that no test sees an
 * allocation. */
enum { SOURCE_PATH = 1024 };
static const char *source_folder(char path[SOURCE_PATH], const char *name) {
    if (!test_source() || snprintf(path, SOURCE_PATH, "%s/%s", test_source(), name) >= SOURCE_PATH) return NULL;
    return folder_exists(path) ? path : NULL;
}

const char *test_demo_model(void) {
    static char path[SOURCE_PATH];
    return source_folder(path, "../tools/demo/model");
}

const char *test_fixtures(void) {
    static char path[SOURCE_PATH];
    return source_folder(path, "model/fixtures");
}

const char *test_device(void) {
    const char *name = getenv("TEMPERA_TEST_DEVICE");
    return name && name[0] ? name : "cpu";
}

bool test_device_is_emulated(void) {
    return strcmp(test_device(), "simt") == 0;
}

bool test_device_opens(void) {
    struct backend *backend;
    tempera_error err = {0};
    if (backend_open(&backend, test_device(), NULL, NULL, &err) != TEMPERA_OK) {
        fprintf(stderr, "skipped: device %s: %s\n", test_device(), err.message);
        return false;
    }
    backend->ops->close(backend);
    return true;
}

static bool skip(const char *folder, const char *variable, const char *what) {
    if (folder) return false;
    fprintf(stderr, "skipped: %s (set %s)\n", what, variable);
    return true;
}

bool test_skip_without_data(const char *what) {
    return skip(test_data(), "TEMPERA_TEST_DATA", what);
}

bool test_skip_without_models(const char *what) {
    return skip(test_models(), "TEMPERA_TEST_MODELS", what);
}

char *test_folder_create(void) {
    const char *parent = getenv("TMPDIR");
    char *path = path_join(parent && parent[0] ? parent : "/tmp", "tempera-test-XXXXXX");
    if (path && mkdtemp(path)) return path;
    mem_free(path);
    return NULL;
}

/* Removes the folder after the files and the folders (down to `depth`) in it; links are removed, not
 * followed. */
static void remove_tree(const char *folder, int depth) {
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *path = path_join(folder, entry->d_name);
        if (path && unlink(path) != 0 && depth > 0) remove_tree(path, depth - 1);
        mem_free(path);
    }
    if (dir) closedir(dir);
    rmdir(folder);
}

void test_folder_remove(char *folder) {
    if (!folder) return;
    remove_tree(folder, 1);
    mem_free(folder);
}

char *test_write(const char *folder, const char *name, const void *bytes, size_t length) {
    char *path = path_join(folder, name);
    FILE *file = path ? fopen(path, "wb") : NULL;
    bool good = file && fwrite(bytes, 1, length, file) == length;
    if (file && fclose(file) != 0) good = false;
    if (good) return path;
    mem_free(path);
    return NULL;
}
