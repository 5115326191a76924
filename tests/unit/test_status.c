/* test_status.c: messages stay one clean line whatever is printed into them. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/status.h"
#include "base/utf8.h"

Test(status, every_status_has_a_text) {
    for (int s = 0; s < TEMPERA_STATUS_COUNT; s++) cr_assert_gt(strlen(tempera_status_text((tempera_status)s)), 0u);
    cr_assert_str_eq(tempera_status_text(TEMPERA_STATUS_COUNT), "unknown status");
    cr_assert_str_eq(tempera_status_text((tempera_status)-1), "unknown status");
}

Test(status, fail_fills_and_returns) {
    tempera_error err = {0};
    cr_assert_eq(fail(&err, TEMPERA_FORMAT, "%s: field %d", "a.json", 7), TEMPERA_FORMAT);
    cr_assert_eq(err.status, TEMPERA_FORMAT);
    cr_assert_str_eq(err.message, "a.json: field 7");
    cr_assert_eq(fail(NULL, TEMPERA_IO, "nobody listens"), TEMPERA_IO);
    cr_assert_eq(fail_memory(&err, 12, "a thing"), TEMPERA_OUT_OF_MEMORY);
    cr_assert_str_eq(err.message, "out of memory (12 bytes for a thing)");
}

Test(status, control_bytes_are_replaced) {
    tempera_error err;
    fail(&err, TEMPERA_IO, "%s",
         "a\tb\nc\x1b[31m\x7f d\xc2\x9b"
         "e");
    cr_assert_str_eq(err.message, "a?b?c?[31m? d??e");
}

Test(status, malformed_utf8_is_replaced_and_good_kept) {
    tempera_error err;
    fail(&err, TEMPERA_IO, "%s",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 \xff \xc0\x80 \xed\xa0\x80 \xe2\x82");
    cr_assert_str_eq(err.message, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 ? ?? ??? ??");
}

Test(status, long_message_is_cut_at_a_character) {
    for (size_t shift = 0; shift < 4; shift++) {
        char text[1024] = "xxx";
        size_t length = shift;
        while (length < 700) {
            memcpy(text + length, "\xf0\x9f\x98\x80", 5);
            length += 4;
        }
        tempera_error err;
        fail(&err, TEMPERA_IO, "%s", text);
        size_t got = strlen(err.message);
        cr_assert(got < sizeof err.message && got > sizeof err.message - 6);
        cr_assert_eq((got - shift) % 4, 0u);
        cr_assert_null(strchr(err.message, '?'));
    }
}

Test(status, a_message_may_quote_itself) {
    tempera_error err;
    fail(&err, TEMPERA_FORMAT, "inner");
    fail(&err, TEMPERA_IO, "outer: %s", err.message);
    cr_assert_str_eq(err.message, "outer: inner");
}

Test(status, context_goes_in_front) {
    tempera_error err;
    fail(&err, TEMPERA_UNSUPPORTED, "dtype F4");
    cr_assert_eq(fail_context(&err, TEMPERA_FORMAT, "file %d", 3), TEMPERA_UNSUPPORTED);
    cr_assert_str_eq(err.message, "file 3: dtype F4");
    cr_assert_eq(fail_context(NULL, TEMPERA_FORMAT, "x"), TEMPERA_FORMAT);
    tempera_error empty = {0};
    cr_assert_eq(fail_context(&empty, TEMPERA_FORMAT, "x"), TEMPERA_FORMAT); /* never turns a failure into OK */
}

static tempera_status twice(tempera_status first, int *reached) {
    TRY(first);
    tempera_status status;
    TRY_GOTO(TEMPERA_OK);
    *reached = 1;
    TRY_GOTO(TEMPERA_IO);
    *reached = 2;
cleanup:
    return status;
}

Test(status, try_forwards) {
    int reached = 0;
    cr_assert_eq(twice(TEMPERA_FORMAT, &reached), TEMPERA_FORMAT);
    cr_assert_eq(reached, 0);
    cr_assert_eq(twice(TEMPERA_OK, &reached), TEMPERA_IO);
    cr_assert_eq(reached, 1);
}

Test(utf8, sequences) {
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"a", 1},
        {"\x7f", 1},
        {"\xc2\x80", 2},
        {"\xdf\xbf", 2},
        {"\xe0\xa0\x80", 3},
        {"\xed\x9f\xbf", 3},
        {"\xee\x80\x80", 3},
        {"\xf0\x90\x80\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\x80", 0},
        {"\xc1\xbf", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xed\xa0\x80", 0},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
        {"\xe2\x82", 0},
        {"\xe2\x28\xa1", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(utf8_sequence((const unsigned char *)cases[i].bytes, strlen(cases[i].bytes)), cases[i].length,
                     "case %zu", i);
}
