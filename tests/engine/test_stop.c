/* Stop strings, whatever the piece boundaries. */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/stop.h"

/* Feeds text in pieces of `step` bytes; returns what came out, with "|" where a stop string matched. */
static const char *feed(const char *const *stop, size_t count, const char *text, size_t step) {
    static char out[512];
    struct stop_scan scan = {0};
    size_t used = 0, length = strlen(text);
    bool matched = false;
    for (size_t i = 0; i < length && !matched; i += step) {
        size_t n = length - i < step ? length - i : step;
        used += stop_push(&scan, stop, count, text + i, n, out + used, &matched);
    }
    if (matched) {
        out[used++] = '|';
    } else {
        used += stop_flush(&scan, out + used);
    }
    out[used] = '\0';
    return out;
}

static void expect(const char *const *stop, size_t count, const char *text, const char *want) {
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        cr_assert_str_eq(feed(stop, count, text, step), want, "in pieces of %zu", step);
    }
}

Test(stop, text_without_a_match_comes_out_whole) {
    const char *const stop[] = {"END"};
    expect(stop, 1, "an ENd and E EN", "an ENd and E EN");
    expect(NULL, 0, "anything", "anything");
}

Test(stop, text_ends_before_the_match) {
    const char *const stop[] = {"END"};
    expect(stop, 1, "the END of it", "the |");
    expect(stop, 1, "END", "|");
}

Test(stop, overlapping_starts) {
    const char *const stop[] = {"aab"};
    expect(stop, 1, "aaaab", "aa|");
    const char *const repeated[] = {"abab"};
    expect(repeated, 1, "abaabab!", "aba|");
}

Test(stop, the_match_that_is_complete_first_wins_the_longest_of_them) {
    const char *const stop[] = {"abcd", "bc", "abc"};
    expect(stop, 3, "xabcd", "x|");
    const char *const other[] = {"abcdef", "cd"};
    expect(other, 2, "xabcdef", "xab|");
}

Test(stop, a_copied_scan_goes_its_own_way) {
    const char *const stop[] = {"stop"};
    char out[64];
    bool matched;
    struct stop_scan a = {0};
    cr_assert_eq(stop_push(&a, stop, 1, "go st", 5, out, &matched), 3);
    struct stop_scan b = a;
    stop_push(&a, stop, 1, "op", 2, out, &matched);
    cr_assert(matched);
    size_t n = stop_push(&b, stop, 1, "art", 3, out, &matched);
    cr_assert_not(matched);
    cr_assert_eq(n, 5);
    cr_assert_eq(memcmp(out, "start", 5), 0);
}

Test(stop, nothing_new_keeps_what_is_held) {
    const char *const stop[] = {"ab"};
    char out[64];
    bool matched;
    struct stop_scan s = {0};
    cr_assert_eq(stop_push(&s, stop, 1, "a", 1, out, &matched), 0);
    cr_assert_eq(stop_push(&s, stop, 1, "", 0, out, &matched), 0);
    stop_push(&s, stop, 1, "b", 1, out, &matched);
    cr_assert(matched);
}
