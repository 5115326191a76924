/* test_mem.c: counters, failure injection, slabs. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

Test(mem, counters_follow_blocks) {
    struct mem_stats before = mem_stats_get();
    void *a = mem_alloc(10);
    void *b = mem_array(3, 5);
    a = mem_realloc(a, 1000);
    void *c = mem_realloc(NULL, 4);
    char *d = mem_strndup("hello", 3);
    cr_assert_str_eq(d, "hel");
    struct mem_stats during = mem_stats_get();
    cr_assert_eq(during.calls - before.calls, 5u);
    cr_assert_eq(during.live - before.live, 4u);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    mem_free(NULL);
    cr_assert_eq(mem_stats_get().live, before.live);
}

Test(mem, zero_bytes_give_a_pointer) {
    void *a = mem_alloc(0), *b = mem_array(0, 8), *c = mem_realloc(NULL, 0);
    cr_assert(a && b && c && a != b && b != c);
    a = mem_realloc(a, 0);
    cr_assert_not_null(a);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    char *empty = mem_strndup(NULL, 0);
    cr_assert_str_eq(empty, "");
    mem_free(empty);
}

Test(mem, array_is_zeroed_and_overflow_is_refused) {
    unsigned char *a = mem_array(100, 100);
    for (int i = 0; i < 10000; i++) cr_assert_eq(a[i], 0);
    mem_free(a);
    struct mem_stats before = mem_stats_get();
    cr_assert_null(mem_array(SIZE_MAX / 2, 3));
    cr_assert_null(mem_strndup("x", SIZE_MAX));
    cr_assert_null(mem_slab(SIZE_MAX));
    cr_assert_null(mem_slab(SIZE_MAX - 5000));
    cr_assert_eq(mem_stats_get().live, before.live);
}

Test(mem, injection_fails_the_nth_and_all_after) {
    mem_fail_after(2);
    void *a = mem_alloc(1), *b = mem_array(1, 1);
    cr_assert(a && b);
    cr_assert_null(mem_alloc(1));
    cr_assert_null(mem_realloc(a, 50)); /* a stays valid */
    cr_assert_null(mem_slab(1));
    mem_fail_after(0);
    cr_assert_null(mem_array(1, 1));
    mem_fail_after(-1);
    void *c = mem_alloc(1);
    cr_assert_not_null(c);
    mem_free(a);
    mem_free(b);
    mem_free(c);
}

Test(mem, slabs_are_aligned_zeroed_and_counted) {
    static const size_t sizes[] = {0, 1, 4096, 4097, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 9 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct mem_stats before = mem_stats_get();
        unsigned char *p = mem_slab(sizes[i]);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % 4096, 0u);
        if (sizes[i] >= 2 << 20) cr_assert_eq((uintptr_t)p % (2 << 20), 0u);
        for (size_t k = 0; k < sizes[i]; k += 997) cr_assert_eq(p[k], 0);
        if (sizes[i] > 0) p[sizes[i] - 1] = 1; /* writable to the last byte */
        cr_assert_eq(mem_stats_get().slab_bytes - before.slab_bytes, sizes[i]);
        cr_assert_eq(mem_stats_get().live - before.live, 1u);
        mem_slab_free(p, sizes[i]);
        cr_assert_eq(mem_stats_get().slab_bytes, before.slab_bytes);
        cr_assert_eq(mem_stats_get().live, before.live);
    }
    mem_slab_free(NULL, 5);
}

Test(mem, a_slab_is_not_touched) {
    size_t huge = (size_t)1 << 38; /* 256 GiB of address space */
    void *p = mem_slab(huge);
    if (p) mem_slab_free(p, huge); /* a system that never overcommits may refuse; touching it would kill us */
}
