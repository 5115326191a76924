/* The rules in kvcache.h, one test each, and a long random run against the self-check. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/kvcache.h"

enum { PAGES = 8, PAGE_TOKENS = 4 };

static struct kvcache cache_open(void **slab, bool reuse) {
    struct kvcache kv;
    struct layout count = {0};
    kvcache_init(&kv, &count, PAGES, PAGE_TOKENS, reuse);
    *slab = mem_array(1, count.used + 64);
    struct layout layout = {.base = (char *)(((uintptr_t)*slab + 63) & ~(uintptr_t)63)};
    kvcache_init(&kv, &layout, PAGES, PAGE_TOKENS, reuse);
    cr_assert_eq(layout.used, count.used);
    return kv;
}

static const int32_t one[] = {1, 2, 3, 4}, two[] = {5, 6, 7, 8};

Test(kvcache, every_page_can_be_taken_once) {
    void *slab;
    struct kvcache kv = cache_open(&slab, true);
    bool seen[PAGES] = {false};
    for (int i = 0; i < PAGES; i++) {
        int32_t p = kvcache_take(&kv);
        cr_assert(p >= 0 && p < PAGES && !seen[p]);
        seen[p] = true;
    }
    cr_assert_eq(kvcache_take(&kv), KV_NONE);
    cr_assert(kvcache_check(&kv));
    mem_free(slab);
}

Test(kvcache, a_registered_page_is_found_only_under_its_parent_and_tokens) {
    void *slab;
    struct kvcache kv = cache_open(&slab, true);
    int32_t a = kvcache_take(&kv), b = kvcache_take(&kv);
    uint64_t first = kvcache_register(&kv, a, 0, one);
    uint64_t second = kvcache_register(&kv, b, first, two);
    cr_assert_neq(first, second);
    cr_assert_eq(kvcache_find(&kv, 0, two), KV_NONE);
    cr_assert_eq(kvcache_find(&kv, first, one), KV_NONE);
    cr_assert_eq(kvcache_find(&kv, 0, one), a);
    cr_assert_eq(kvcache_find(&kv, first, two), b);
    cr_assert_eq(kv.page[a].refs, 2);
    cr_assert(kvcache_check(&kv));
    mem_free(slab);
}

Test(kvcache, a_twin_gets_the_first_ones_identity) {
    void *slab;
    struct kvcache kv = cache_open(&slab, true);
    int32_t a = kvcache_take(&kv), b = kvcache_take(&kv);
    cr_assert_eq(kvcache_register(&kv, a, 0, one), kvcache_register(&kv, b, 0, one));
    kvcache_release(&kv, b);
    cr_assert_eq(kv.free_count, PAGES - 1, "the twin was never findable, so it is free again");
    cr_assert(kvcache_check(&kv));
    mem_free(slab);
}

Test(kvcache, released_pages_stay_findable_until_the_oldest_is_needed) {
    void *slab;
    struct kvcache kv = cache_open(&slab, true);
    int32_t a = kvcache_take(&kv), b = kvcache_take(&kv);
    uint64_t first = kvcache_register(&kv, a, 0, one);
    kvcache_register(&kv, b, first, two);
    kvcache_release(&kv, b);
    kvcache_release(&kv, a);
    cr_assert_eq(kvcache_available(&kv), PAGES);
    for (int i = 0; i < PAGES - 1; i++) kvcache_take(&kv);
    cr_assert_eq(kvcache_find(&kv, first, two), KV_NONE, "the page released first was reused first");
    cr_assert_eq(kvcache_find(&kv, 0, one), a);
    cr_assert(kvcache_check(&kv));
    mem_free(slab);
}

Test(kvcache, without_reuse_nothing_is_found) {
    void *slab;
    struct kvcache kv = cache_open(&slab, false);
    int32_t a = kvcache_take(&kv);
    cr_assert_eq(kvcache_register(&kv, a, 0, one), 0);
    kvcache_release(&kv, a);
    cr_assert_eq(kvcache_find(&kv, 0, one), KV_NONE);
    cr_assert_eq(kv.free_count, PAGES);
    mem_free(slab);
}

Test(kvcache, random_use_keeps_the_rules) {
    void *slab;
    struct kvcache kv = cache_open(&slab, true);
    int32_t held[64];
    int count = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        struct philox_words r = philox4x32(1, 2, i, 0, 0, 0);
        int32_t tokens[PAGE_TOKENS] = {(int32_t)(r.w[1] % 3), 0, 0, 0};
        uint64_t parent = r.w[2] % 3;
        int32_t page = KV_NONE;
        if (r.w[0] % 3 == 0 && count > 0) {
            int at = (int)(r.w[3] % (uint32_t)count);
            kvcache_release(&kv, held[at]);
            held[at] = held[--count];
        } else if (r.w[0] % 3 == 1) {
            page = kvcache_find(&kv, parent, tokens);
        } else {
            page = kvcache_take(&kv);
            if (page != KV_NONE && r.w[3] % 2) kvcache_register(&kv, page, parent, tokens);
        }
        if (page != KV_NONE && count == 64) {
            kvcache_release(&kv, page);
        } else if (page != KV_NONE) {
            held[count++] = page;
        }
        cr_assert(kvcache_check(&kv), "after %u operations", i);
    }
    mem_free(slab);
}
