/* Rows that wait with their pages, and who gets those when they are needed. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "engine/rows.h"

enum { CONTEXT = 32, PAGE_TOKENS = 4, SLOTS = 2, BRANCHES = 8 };

static struct rows rows_open(void **slab, int32_t pages, bool reuse) {
    struct rows rows;
    struct layout count = {0};
    const struct rows_limits limits = {.context = CONTEXT,
                                       .max_rows = SLOTS,
                                       .max_branches = BRANCHES,
                                       .pages = pages,
                                       .page_tokens = PAGE_TOKENS,
                                       .reuse = reuse};
    rows_init(&rows, &count, &limits);
    *slab = mem_array(1, count.used + 64);
    struct layout layout = {.base = (char *)(((uintptr_t)*slab + 63) & ~(uintptr_t)63)};
    rows_init(&rows, &layout, &limits);
    return rows;
}

/* An active row of `count` tokens, all computed. */
static int32_t start(struct rows *rows, int32_t count) {
    static const int32_t tokens[CONTEXT] = {5, 6, 7, 8, 9, 10, 11, 12};
    int32_t row = rows_create(rows, NULL, tokens, count);
    cr_assert(rows_activate(rows, row) && rows_reserve(rows, row, count));
    rows_advance(rows, row, count);
    return row;
}

static int32_t fork_of(struct rows *rows, int32_t row, int32_t token) {
    int32_t fork = rows_fork(rows, row);
    rows_push(rows, fork, token);
    return fork;
}

Test(rows, a_fork_without_a_slot_keeps_its_pages) {
    void *slab;
    struct rows rows = rows_open(&slab, 16, true);
    int32_t a = start(&rows, 6), b = fork_of(&rows, a, 1), c = fork_of(&rows, a, 2), d = fork_of(&rows, a, 3);
    rows_push(&rows, a, 4);
    cr_assert_eq(rows.active_count, SLOTS);
    cr_assert_eq(rows.row[c].state, ROW_WAITING);
    cr_assert_eq(rows.row[d].page_count, 2);
    cr_assert_eq(rows.copy_count, 3, "each fork has a last page of its own");
    cr_assert(rows_check(&rows));
    cr_assert_not(rows_activate(&rows, c), "there is no slot");
    rows_destroy(&rows, b);
    cr_assert(rows_activate(&rows, c));
    cr_assert_eq(rows.row[c].computed, 6, "nothing is computed again");
    cr_assert_eq(rows.row[c].length, 7);
    cr_assert(rows_check(&rows));
    rows_destroy(&rows, d); /* parked */
    rows_destroy(&rows, c);
    rows_destroy(&rows, a);
    cr_assert_eq(rows.kv.used, 0);
    cr_assert(rows_check(&rows));
    mem_free(slab);
}

Test(rows, parked_pages_go_to_active_rows_youngest_first) {
    void *slab;
    struct rows rows = rows_open(&slab, 7, false);
    int32_t a = start(&rows, 6), b = fork_of(&rows, a, 1); /* 3 pages: one shared, two half full */
    int32_t c = fork_of(&rows, a, 2), d = fork_of(&rows, a, 3), f = fork_of(&rows, a, 4);
    rows_push(&rows, a, 5);
    cr_assert(rows.row[c].page_count == 2 && rows.row[d].page_count == 2);
    cr_assert_eq(rows.row[f].page_count, 0, "two pages are left, which the two active rows may want");
    cr_assert(rows_check(&rows));
    cr_assert(rows_reserve(&rows, a, 3) && rows_reserve(&rows, b, 3));
    cr_assert_eq(kvcache_available(&rows.kv), 0);
    cr_assert(rows_reclaim(&rows));
    cr_assert(rows.row[d].page_count == 0 && rows.row[c].page_count == 2);
    cr_assert_eq(rows.row[d].computed, 0);
    cr_assert_eq(kvcache_available(&rows.kv), 1);
    cr_assert(rows_check(&rows));
    cr_assert(rows_reclaim(&rows));
    cr_assert_not(rows_reclaim(&rows));
    cr_assert(rows_check(&rows));
    mem_free(slab);
}

Test(rows, the_first_that_waits_takes_the_pages_of_later_ones) {
    void *slab;
    struct rows rows = rows_open(&slab, 7, false);
    int32_t a = start(&rows, 6), b = fork_of(&rows, a, 1), c = fork_of(&rows, a, 2), d = fork_of(&rows, a, 3);
    rows_push(&rows, a, 4);
    rows_preempt(&rows, b);
    cr_assert_eq(rows.waiting_first, b, "it was there before the forks");
    cr_assert(rows_check(&rows));
    cr_assert(rows_reserve(&rows, a, 3) && rows_reserve(&rows, a, 7));
    cr_assert_eq(kvcache_available(&rows.kv), 1);
    cr_assert(rows_activate(&rows, b), "two pages and one for the active row are wanted");
    cr_assert_eq(rows.row[d].page_count, 0);
    cr_assert_eq(rows.row[c].page_count, 0);
    cr_assert(rows_check(&rows));
    mem_free(slab);
}
