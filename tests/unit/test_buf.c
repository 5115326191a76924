/* test_buf.c: growth, the mandatory maximum, and memory running out. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

Test(buf, grows_and_stays_terminated) {
    struct buf b = {.max = 100000};
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(buf_append(&b, "abc", 3, NULL), TEMPERA_OK);
        cr_assert_eq(b.data[b.length], 0);
    }
    cr_assert_eq(b.length, 3000u);
    cr_assert_eq(buf_append_text(&b, "tail", NULL), TEMPERA_OK);
    cr_assert_str_eq(b.data + 3000, "tail");
    buf_clear(&b);
    cr_assert_str_eq(b.data, "");
    cr_assert_eq(b.length, 0u);
    cr_assert_gt(b.capacity, 3000u);
    buf_free(&b);
    cr_assert(b.data == NULL && b.capacity == 0 && b.max == 100000);
}

Test(buf, the_maximum_is_exact) {
    struct buf b = {.max = 10};
    tempera_error err;
    cr_assert_eq(buf_append(&b, "0123456789", 10, &err), TEMPERA_OK);
    cr_assert_leq(b.capacity, 11u);
    cr_assert_eq(buf_append(&b, "", 0, &err), TEMPERA_OK);
    cr_assert_eq(buf_append(&b, "x", 1, &err), TEMPERA_TOO_LONG);
    cr_assert_not_null(strstr(err.message, "10 bytes"));
    cr_assert_eq(buf_printf(&b, &err, "%d", 5), TEMPERA_TOO_LONG);
    cr_assert_str_eq(b.data, "0123456789");
    buf_free(&b);
    struct buf none = {0};
    cr_assert_eq(buf_append(&none, "x", 1, NULL), TEMPERA_TOO_LONG);
    cr_assert_eq(buf_append(&none, NULL, 0, NULL), TEMPERA_OK);
    cr_assert_str_eq(none.data, "");
    buf_free(&none);
}

Test(buf, huge_requests_do_not_wrap) {
    struct buf b = {.max = SIZE_MAX};
    cr_assert_eq(buf_append_text(&b, "x", NULL), TEMPERA_OK);
    cr_assert_eq(buf_reserve(&b, SIZE_MAX - 1, NULL), TEMPERA_OUT_OF_MEMORY);
    cr_assert_eq(buf_reserve(&b, SIZE_MAX, NULL), TEMPERA_TOO_LONG);
    cr_assert_eq(buf_reserve(&b, SIZE_MAX / 2 + 10, NULL), TEMPERA_OUT_OF_MEMORY);
    cr_assert_str_eq(b.data, "x");
    buf_free(&b);
}

Test(buf, printf_appends) {
    struct buf b = {.max = 1000};
    cr_assert_eq(buf_printf(&b, NULL, "%s=%d", "n", 42), TEMPERA_OK);
    cr_assert_eq(buf_printf(&b, NULL, "%300d;", 1), TEMPERA_OK);
    cr_assert_eq(b.length, 4u + 301u);
    cr_assert_eq(memcmp(b.data, "n=42   ", 7), 0);
    buf_free(&b);
}

Test(buf, take_moves_out) {
    struct buf b = {.max = 50};
    size_t length = 99;
    char *empty = buf_take(&b, &length);
    cr_assert_str_eq(empty, "");
    cr_assert_eq(length, 0u);
    mem_free(empty);
    cr_assert_eq(buf_append_text(&b, "text", NULL), TEMPERA_OK);
    char *text = buf_take(&b, &length);
    cr_assert_str_eq(text, "text");
    cr_assert_eq(length, 4u);
    cr_assert(b.data == NULL && b.length == 0 && b.capacity == 0 && b.max == 50);
    mem_free(text);
}

Test(buf, out_of_memory_keeps_the_contents) {
    struct buf b = {.max = 10000};
    tempera_error err;
    cr_assert_eq(buf_append_text(&b, "kept", NULL), TEMPERA_OK);
    mem_fail_after(0);
    cr_assert_eq(buf_reserve(&b, 5000, &err), TEMPERA_OUT_OF_MEMORY);
    mem_fail_after(-1);
    cr_assert_str_eq(b.data, "kept");
    buf_free(&b);
}
