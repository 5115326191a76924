/* map.h: open-addressing hash map from byte strings to uint32. Keys are borrowed: they must outlive the map. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    const char *key; /* NULL = empty */
    uint32_t length;
    uint32_t hash;
    uint32_t value;
};

struct map {
    struct map_slot *slots; /* capacity entries, a power of two, load <= 1/2 */
    size_t capacity;
    size_t count;
};

bool map_init(struct map *m, size_t expected); /* false: out of memory */
void map_free(struct map *m);
/* Inserts when absent. Returns false when out of memory; *existing (may be NULL) tells whether the key was there, in
 * which case the old value stays. */
bool map_put(struct map *m, const char *key, size_t length, uint32_t value, bool *existing);
/* The value's address (valid until the next map_put) or NULL. */
const uint32_t *map_get(const struct map *m, const char *key, size_t length);
/* 64-bit hash of bytes, seeded per process so that hostile keys cannot be prepared. */
uint64_t map_hash(const void *bytes, size_t length);

#endif
