/* test_int_list.c: lists and ranges of whole numbers on the command line. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "strbuf.h"

static void expect_numbers(const char *text, const int32_t *expected, size_t count) {
    struct int_list list = {0};
    struct strbuf why = {0};
    cr_expect(int_list_parse(&list, text, 0, 1 << 24, &why), "%s", text);
    cr_expect(list.count == count && memcmp(list.items, expected, count * sizeof *expected) == 0, "%s: %zu numbers",
              text, list.count);
    cr_expect_eq(why.length, 0);
    free(list.items);
    strbuf_free(&why);
}
#define EXPECT(text, ...)                                                                                              \
    do {                                                                                                               \
        static const int32_t expected[] = {__VA_ARGS__};                                                               \
        expect_numbers(text, expected, sizeof expected / sizeof *expected);                                            \
    } while (0)

Test(int_list, numbers_and_ranges) {
    EXPECT("7", 7);
    EXPECT("1,2,16", 1, 2, 16);
    EXPECT("3-6", 3, 4, 5, 6);
    EXPECT("3:6", 3, 4, 5, 6);
    EXPECT("128:512:128", 128, 256, 384, 512);
    EXPECT("128-512+128", 128, 256, 384, 512);
    EXPECT("0-10+4", 0, 4, 8);
    EXPECT("1-64*2", 1, 2, 4, 8, 16, 32, 64);
    EXPECT("1:100*3", 1, 3, 9, 27, 81);
    EXPECT("5-5", 5);
    EXPECT("0,1-4*2,9", 0, 1, 2, 4, 9);
    EXPECT("16777215-16777216", 16777215, 16777216);
}

/* `about` begins what was expected instead; "" when a number is wrong. */
static void expect_refused(const char *text, const char *about) {
    struct int_list list = {0};
    struct strbuf why = {0};
    cr_expect_not(int_list_parse(&list, text, 1, 65536, &why), "%s", text);
    cr_expect(strstr(why.data ? why.data : "", about), "%s: %s", text, why.data ? why.data : "");
    cr_expect(*about || why.length == 0, "%s: %s", text, why.data ? why.data : "");
    free(list.items);
    strbuf_free(&why);
}

Test(int_list, refused) {
    static const char *const words[] = {
        "",    "0",    "65537", "1,,2", "1,",    "-1",   "1-",      "1-x",
        "1 2", "1-2/", "1-2*",  "1-2+", "1:2:x", "1-+2", "1-2+1*2", "99999999999999999999"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) expect_refused(words[i], "");
    expect_refused("8-2", "last number is not below its first");
    expect_refused("512:128:128", "last number is not below its first");
    expect_refused("1-8+0", "step of 1 or more");
    expect_refused("1-8*1", "factor of 2 or more");
    expect_refused("1-8*0", "factor of 2 or more");
    expect_refused("1-65536", "at most 4096 numbers");
}
