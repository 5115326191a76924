#include "hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "common.h"
#include "strbuf.h"

struct hash {
    XXH3_state_t *state;
};

struct hash *hash_start(void) {
    struct hash *hash = xalloc(sizeof *hash);
    hash->state = XXH3_createState();
    if (!hash->state) xalloc(SIZE_MAX); /* says so and ends the program */
    XXH3_128bits_reset(hash->state);
    return hash;
}

static void add_length(struct hash *hash, uint64_t length) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> (8 * i));
    XXH3_128bits_update(hash->state, bytes, sizeof bytes);
}

void hash_bytes(struct hash *hash, const void *bytes, size_t length) {
    add_length(hash, length);
    if (length) XXH3_128bits_update(hash->state, bytes, length);
}

void hash_text(struct hash *hash, const char *text) {
    if (text)
        hash_bytes(hash, text, strlen(text));
    else
        add_length(hash, UINT64_MAX);
}

void hash_end(struct hash *hash, char text[HASH_TEXT]) {
    XXH128_hash_t value = XXH3_128bits_digest(hash->state);
    snprintf(text, HASH_TEXT, "%016llx%016llx", (unsigned long long)value.high64, (unsigned long long)value.low64);
    XXH3_freeState(hash->state);
    free(hash);
}

/* ---- a model ---- */

static bool ends_with(const char *name, const char *end) {
    size_t a = strlen(name), b = strlen(end);
    return a >= b && strcmp(name + a - b, end) == 0;
}

/* generation_config.json is not among them: what it recommends is part of each setting. */
static bool is_part_of_model(const char *name) {
    static const char *const names[] = {
        "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.json",  "merges.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return ends_with(name, ".safetensors") || ends_with(name, ".safetensors.index.json");
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int hash_file(struct hash *hash, const char *path) {
    enum { CHUNK = 1 << 20 };
    int file = open(path, O_RDONLY | O_CLOEXEC);
    char *chunk = xalloc(CHUNK);
    ssize_t count = file < 0 ? -1 : 1;
    uint64_t length = 0;
    while (count > 0 && (count = read(file, chunk, CHUNK)) > 0) {
        XXH3_128bits_update(hash->state, chunk, (size_t)count);
        length += (uint64_t)count;
    }
    add_length(hash, length);
    int status = count < 0 ? complain(EXIT_FAILED, "%s: %s", path, strerror(errno)) : EXIT_DONE;
    if (file >= 0) close(file);
    free(chunk);
    return status;
}

static int hash_member(struct hash *hash, const char *folder, const char *name) {
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/%s", folder, name);
    hash_text(hash, name);
    int status = hash_file(hash, path.data);
    strbuf_free(&path);
    return status;
}

/* Of a GGUF file the bytes, whatever it is called. */
static int hash_single(const char *path, char text[HASH_TEXT]) {
    struct hash *hash = hash_start();
    int status = hash_file(hash, path);
    hash_end(hash, text);
    return status;
}

int hash_model(const char *folder, char text[HASH_TEXT]) {
    char **names = NULL;
    size_t count = 0;
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOTDIR) return hash_single(folder, text);
    if (!dir) return complain(EXIT_FAILED, "%s: %s", folder, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (!is_part_of_model(entry->d_name)) continue;
        names = xgrow(names, count + 1, sizeof *names);
        names[count++] = xdup(entry->d_name, strlen(entry->d_name));
    }
    closedir(dir);
    if (count) qsort(names, count, sizeof *names, compare_names);
    struct hash *hash = hash_start();
    int status = EXIT_DONE;
    for (size_t i = 0; i < count; i++) {
        if (!status) status = hash_member(hash, folder, names[i]);
        free(names[i]);
    }
    free(names);
    hash_end(hash, text);
    return status;
}
