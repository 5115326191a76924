/* test_arena.c: alignment, zeroing, large and failing requests. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

Test(arena, blocks_are_zeroed_aligned_and_apart) {
    struct arena a = {0};
    struct mem_stats before = mem_stats_get();
    unsigned char *last = NULL;
    size_t used = 0;
    for (size_t size = 0; size < 3000; size += 7) {
        unsigned char *p = arena_alloc(&a, size);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % 16, 0u);
        cr_assert_neq(p, last);
        for (size_t i = 0; i < size; i++) cr_assert_eq(p[i], 0);
        memset(p, 0xAA, size); /* an overlap with a later block would be seen there */
        cr_assert_geq(a.used, used + size);
        used = a.used;
        last = p;
    }
    cr_assert_lt(mem_stats_get().live - before.live, 40u);
    arena_free(&a);
    cr_assert_eq(mem_stats_get().live, before.live);
    cr_assert(a.head == NULL && a.used == 0);
    arena_free(&a);
}

Test(arena, a_large_request_keeps_the_open_block) {
    struct arena a = {0};
    char *small = arena_alloc(&a, 16);
    char *large = arena_alloc(&a, 3 << 20);
    char *next = arena_alloc(&a, 16);
    cr_assert_eq(next, small + 16);
    large[(3 << 20) - 1] = 1;
    arena_free(&a);
}

Test(arena, many_small_requests_are_few_blocks) {
    struct arena a = {0};
    size_t before = mem_stats_get().calls;
    for (int i = 0; i < 200000; i++) cr_assert_not_null(arena_alloc(&a, 24));
    cr_assert_lt(mem_stats_get().calls - before, 25u);
    arena_free(&a);
}

Test(arena, text_and_arrays) {
    struct arena a = {0};
    cr_assert_str_eq(arena_strndup(&a, "abcdef", 4), "abcd");
    cr_assert_str_eq(arena_strndup(&a, NULL, 0), "");
    uint32_t *words = arena_array(&a, 10, sizeof *words);
    cr_assert_eq(words[9], 0u);
    cr_assert_null(arena_array(&a, SIZE_MAX / 2, 4));
    cr_assert_null(arena_alloc(&a, SIZE_MAX));
    cr_assert_null(arena_alloc(&a, SIZE_MAX - 40));
    cr_assert_null(arena_strndup(&a, "x", SIZE_MAX));
    arena_free(&a);
}

Test(arena, out_of_memory) {
    struct arena a = {0};
    cr_assert_not_null(arena_alloc(&a, 16));
    mem_fail_after(0);
    cr_assert_null(arena_alloc(&a, 1 << 20));
    cr_assert_not_null(arena_alloc(&a, 16)); /* what is there is still handed out */
    mem_fail_after(-1);
    arena_free(&a);
}
