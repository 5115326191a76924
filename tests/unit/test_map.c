/* test_map.c: the map against the obvious, and the hash's spread. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

enum { MANY = 50000 };

static char keys[MANY][12];

static void fill_keys(void) {
    for (int i = 0; i < MANY; i++) snprintf(keys[i], sizeof keys[i], "k%d", i * 7);
}

Test(map, put_and_get_many) {
    fill_keys();
    struct map m;
    cr_assert(map_init(&m, 10)); /* grows from there */
    for (uint32_t i = 0; i < MANY; i++) {
        bool existing = true;
        cr_assert(map_put(&m, keys[i], strlen(keys[i]), i, &existing));
        cr_assert_not(existing);
    }
    cr_assert_eq(m.count, (size_t)MANY);
    cr_assert_leq(m.count * 2, m.capacity);
    for (uint32_t i = 0; i < MANY; i++) cr_assert_eq(*map_get(&m, keys[i], strlen(keys[i])), i);
    cr_assert_null(map_get(&m, "k1", 2));
    cr_assert_null(map_get(&m, "absent", 6));
    map_free(&m);
    cr_assert_null(map_get(&m, "k7", 2));
}

Test(map, an_old_value_stays) {
    struct map m = {0}; /* a zeroed map works too */
    bool existing;
    cr_assert(map_put(&m, "a", 1, 1, NULL));
    cr_assert(map_put(&m, "a", 1, 2, &existing));
    cr_assert(existing);
    cr_assert_eq(*map_get(&m, "a", 1), 1u);
    cr_assert_eq(m.count, 1u);
    map_free(&m);
}

Test(map, keys_are_bytes) {
    struct map m;
    cr_assert(map_init(&m, 0));
    cr_assert(map_put(&m, "a\0b", 3, 1, NULL));
    cr_assert(map_put(&m, "a\0c", 3, 2, NULL));
    cr_assert(map_put(&m, "a", 1, 3, NULL));
    cr_assert(map_put(&m, NULL, 0, 4, NULL));
    cr_assert_eq(*map_get(&m, "a\0b", 3), 1u);
    cr_assert_eq(*map_get(&m, "a\0c", 3), 2u);
    cr_assert_eq(*map_get(&m, "a", 1), 3u);
    cr_assert_eq(*map_get(&m, "", 0), 4u);
    map_free(&m);
}

Test(map, expected_size_is_enough) {
    fill_keys();
    struct map m;
    cr_assert(map_init(&m, MANY));
    size_t calls = mem_stats_get().calls;
    for (uint32_t i = 0; i < MANY; i++) cr_assert(map_put(&m, keys[i], strlen(keys[i]), i, NULL));
    cr_assert_eq(mem_stats_get().calls, calls);
    map_free(&m);
}

Test(map, out_of_memory_leaves_the_map_whole) {
    fill_keys();
    struct map m;
    mem_fail_after(0);
    cr_assert_not(map_init(&m, 5));
    mem_fail_after(-1);
    cr_assert_not(map_init(&m, SIZE_MAX / 2));
    cr_assert(map_init(&m, 5));
    mem_fail_after(0);
    uint32_t stored = 0;
    while (map_put(&m, keys[stored], strlen(keys[stored]), stored, NULL)) stored++;
    mem_fail_after(-1);
    cr_assert_eq(m.count, stored);
    for (uint32_t i = 0; i < stored; i++) cr_assert_eq(*map_get(&m, keys[i], strlen(keys[i])), i);
    map_free(&m);
}

Test(map, hash_depends_on_every_byte_and_the_length) {
    unsigned char text[70] = {0};
    uint64_t seen[70 * 9];
    int n = 0;
    for (size_t length = 0; length < sizeof text; length++) seen[n++] = map_hash(text, length);
    for (size_t i = 0; i < sizeof text; i++)
        for (int bit = 0; bit < 8; bit++) {
            text[i] ^= (unsigned char)(1 << bit);
            seen[n++] = map_hash(text, sizeof text);
            text[i] ^= (unsigned char)(1 << bit);
        }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) cr_assert_neq(seen[i], seen[k], "hashes %d and %d are equal", i, k);
}

Test(map, hash_bits_are_balanced) {
    int ones[64] = {0};
    enum { SAMPLES = 20000 };
    for (uint32_t i = 0; i < SAMPLES; i++) {
        uint64_t hash = map_hash(&i, sizeof i);
        for (int bit = 0; bit < 64; bit++) ones[bit] += (int)(hash >> bit & 1);
    }
    for (int bit = 0; bit < 64; bit++) /* 10 standard deviations */
        cr_assert(ones[bit] > SAMPLES / 2 - 708 && ones[bit] < SAMPLES / 2 + 708, "bit %d: %d", bit, ones[bit]);
}
