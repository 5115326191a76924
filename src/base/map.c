/* map.c: linear probing at load <= 1/2, and the seeded hash. Iteration order depends on the seed, so nothing
 * that a user can see may come from walking the slots. */
#include "base/map.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/mem.h"

enum { MAP_FIRST = 16 };

/* Four secret words: with every constant of the hash secret, no input can be chosen that zeroes a product. */
static uint64_t secret[4];
static atomic_bool seeded;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed(void) {
    if (getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret) {
        struct timespec now = {0}; /* no entropy source: weaker, still not constant */
        clock_gettime(CLOCK_REALTIME, &now);
        for (int i = 0; i < 4; i++)
            secret[i] ^= ((uint64_t)now.tv_nsec + (uint64_t)(i + 1)) * 0x9E3779B97F4A7C15u ^ (uintptr_t)&now;
    }
    atomic_store_explicit(&seeded, true, memory_order_release);
}

/* Folded 64x64 -> 128 bit product: every bit of both operands reaches the middle of the result. */
static inline uint64_t mix(uint64_t a, uint64_t b) {
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load64(const unsigned char *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t load32(const unsigned char *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

uint64_t map_hash(const void *bytes, size_t length) {
    if (!atomic_load_explicit(&seeded, memory_order_acquire)) pthread_once(&seed_once, seed);
    const unsigned char *p = bytes;
    uint64_t state = secret[0] ^ (uint64_t)length;
    size_t left = length;
    for (; left > 16; left -= 16, p += 16) state = mix(load64(p) ^ secret[1], load64(p + 8) ^ state);
    uint64_t a = 0, b = 0; /* the last 0 … 16 bytes, by two loads that may overlap */
    if (left >= 8) {
        a = load64(p);
        b = load64(p + left - 8);
    } else if (left >= 4) {
        a = load32(p);
        b = load32(p + left - 4);
    } else if (left > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1];
    }
    return mix(secret[3] ^ (uint64_t)length, mix(a ^ secret[2], b ^ state));
}

/* The slot of the key, or the empty slot where it belongs; the table always has an empty slot. */
static struct map_slot *find(const struct map *m, const char *key, size_t length, uint32_t hash) {
    for (size_t i = hash;; i++) {
        struct map_slot *slot = &m->slots[i & (m->capacity - 1)];
        if (!slot->key) return slot;
        if (slot->hash == hash && slot->length == length && memcmp(slot->key, key, length) == 0) return slot;
    }
}

static bool resize(struct map *m, size_t capacity) {
    struct map bigger = {.capacity = capacity, .count = m->count};
    bigger.slots = mem_array(capacity, sizeof *bigger.slots);
    if (!bigger.slots) return false;
    for (size_t i = 0; i < m->capacity; i++) {
        const struct map_slot *old = &m->slots[i];
        if (old->key) *find(&bigger, old->key, old->length, old->hash) = *old;
    }
    mem_free(m->slots);
    *m = bigger;
    return true;
}

bool map_init(struct map *m, size_t expected) {
    *m = (struct map){0};
    if (expected > SIZE_MAX / 4) return false;
    size_t capacity = MAP_FIRST;
    while (capacity < expected * 2) capacity *= 2;
    return resize(m, capacity);
}

void map_free(struct map *m) {
    mem_free(m->slots);
    *m = (struct map){0};
}

bool map_put(struct map *m, const char *key, size_t length, uint32_t value, bool *existing) {
    if (existing) *existing = false;
    if (length > UINT32_MAX) return false;
    if (length == 0) key = ""; /* NULL marks an empty slot */
    uint32_t hash = (uint32_t)map_hash(key, length);
    struct map_slot *slot = m->capacity ? find(m, key, length, hash) : NULL;
    if (slot && slot->key) {
        if (existing) *existing = true;
        return true;
    }
    if ((m->count + 1) * 2 > m->capacity) {
        if (!resize(m, m->capacity ? m->capacity * 2 : MAP_FIRST)) return false;
        slot = find(m, key, length, hash);
    }
    *slot = (struct map_slot){.key = key, .length = (uint32_t)length, .hash = hash, .value = value};
    m->count++;
    return true;
}

const uint32_t *map_get(const struct map *m, const char *key, size_t length) {
    if (m->count == 0) return NULL;
    const struct map_slot *slot = find(m, key, length, (uint32_t)map_hash(key, length));
    return slot->key ? &slot->value : NULL;
}
