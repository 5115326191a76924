/* test_json.c: the strict check against JSONTestSuite and by hand; parsing; getters. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "load/json.h"
#include "load/json_reader.h"
#include "support.h"

/* The suite's own promise by the first letter of a file name: y must pass, n must not, i may do either. */
static void check_suite_file(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    char *text;
    size_t length;
    cr_assert_eq(file_read(path, 1 << 20, &text, &length, NULL), TEMPERA_OK);
    char *exact = mem_alloc(length); /* without the terminator, so that a sanitizer sees a read past the end */
    memcpy(exact, text, length);
    tempera_error err = {0};
    tempera_status status = json_check(exact, length, false, name, &err);
    if (name[0] == 'y') cr_expect_eq(status, TEMPERA_OK, "%s", err.message);
    if (name[0] == 'n') cr_expect_eq(status, TEMPERA_FORMAT, "%s was accepted", name);
    if (status != TEMPERA_OK) cr_expect_eq(strncmp(err.message, name, strlen(name)), 0, "%s", err.message);
    cJSON *root;
    tempera_status parsed = json_parse(&root, exact, length, false, name, &err);
    if (status == TEMPERA_OK)
        cr_expect(parsed == TEMPERA_OK || parsed == TEMPERA_UNSUPPORTED, "%s: %s", name, err.message);
    else
        cr_expect_eq(parsed, status);
    cJSON_Delete(root);
    mem_free(exact);
    mem_free(text);
    mem_free(path);
}

Test(json, test_suite) {
    TEST_NEEDS_DATA("JSONTestSuite");
    char *folder = path_join(test_data(), "json-test-suite/test_parsing");
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        check_suite_file(folder, entry->d_name);
        count++;
    }
    closedir(dir);
    mem_free(folder);
    cr_assert_geq(count, 318);
}

static tempera_status check_text(const char *text, bool unique_keys, tempera_error *err) {
    return json_check(text, strlen(text), unique_keys, "t", err);
}

Test(json, accepts) {
    static const char *const texts[] = {
        "0",
        "-0",
        "1e5",
        "-12.5E-07",
        " \t\r\n[ ] ",
        "{}",
        "\"\"",
        "[1,{\"a\":[]},null]",
        "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "\"\x7f\"",
        "{\"a\":1,\"b\":{\"a\":2}}",
    };
    tempera_error err;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_expect_eq(check_text(texts[i], true, &err), TEMPERA_OK, "%s: %s", texts[i], err.message);
}

Test(json, refuses_and_says_where) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t: byte 0: expected a value, found the end"},
        {"[1,]", "t: byte 3: expected a value, found ']'"},
        {"[1 2]", "t: byte 3: expected ',' or ']', found '2'"},
        {"{\"a\" 1}", "t: byte 5: expected ':', found '1'"},
        {"{\"a\":1,}", "t: byte 7: expected a key in double quotes, found '}'"},
        {"{1:2}", "t: byte 1: expected a key in double quotes, found '1'"},
        {"{\"a\":1]", "t: byte 6: expected ',' or '}', found ']'"},
        {"[1}", "t: byte 2: expected ',' or ']', found '}'"},
        {"01", "t: byte 1: expected the end, found '1'"},
        {"1.", "t: byte 2: expected a digit, found the end"},
        {"-", "t: byte 1: expected a digit, found the end"},
        {"1e+", "t: byte 3: expected a digit, found the end"},
        {"+1", "t: byte 0: expected a value, found '+'"},
        {"tru", "t: byte 0: expected a value, found 't'"},
        {"nul1", "t: byte 0: expected a value, found 'n'"},
        {"\"abc", "t: byte 0: string without an end"},
        {"\"a\nb\"", "t: byte 2: control character inside a string"},
        {"\"\\x\"", "t: byte 1: malformed escape, or half of a surrogate pair"},
        {"\"\\u12g4\"", "t: byte 1: malformed escape, or half of a surrogate pair"},
        {"\"\\u12", "t: byte 1: malformed escape, or half of a surrogate pair"},
        {"\"\\ud800\"", "t: byte 1: malformed escape, or half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "t: byte 1: malformed escape, or half of a surrogate pair"},
        {"\"\\udc00\"", "t: byte 1: malformed escape, or half of a surrogate pair"},
        {"\"\\ud800\\ud800\"", "t: byte 1: malformed escape, or half of a surrogate pair"},
        {"\"\xff\"", "t: byte 1: malformed UTF-8"},
        {"\"\xed\xa0\x80\"", "t: byte 1: malformed UTF-8"},
        {"\xef\xbb\xbf{}", "t: byte 0: expected a value, found byte 0xEF"},
        {"{} {}", "t: byte 3: expected the end, found '{'"},
        {"[NaN]", "t: byte 1: expected a value, found 'N'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tempera_error err;
        cr_expect_eq(check_text(cases[i].text, false, &err), TEMPERA_FORMAT, "%s", cases[i].text);
        cr_expect_str_eq(err.message, cases[i].message);
        cr_expect_eq(check_text(cases[i].text, false, NULL), TEMPERA_FORMAT);
    }
    tempera_error err;
    cr_expect_eq(json_check("1\0", 2, false, "t", &err), TEMPERA_FORMAT);
}

Test(json, depth_is_limited_without_recursion) {
    char text[2 * JSON_MAX_DEPTH + 4];
    for (int depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        tempera_error err;
        tempera_status expected = depth <= JSON_MAX_DEPTH ? TEMPERA_OK : TEMPERA_FORMAT;
        cr_assert_eq(json_check(text, 2 * (size_t)depth, true, "t", &err), expected);
    }
    size_t many = 10 << 20;
    char *deep = mem_alloc(many);
    memset(deep, '[', many);
    cr_assert_eq(json_check(deep, many, true, "t", NULL), TEMPERA_FORMAT);
    mem_free(deep);
}

Test(json, repeated_keys) {
    static const char *const repeated[] = {
        "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}",     "{\"x\":{\"b\":0,\"c\":0,\"b\":0}}",
        "[{\"\":1,\"\":1}]", "{\"a\":{},\"b\":[],\"a\":0}", "{\"\xc3\xa9\":1,\"\\u00e9\":2}",
    };
    for (size_t i = 0; i < sizeof repeated / sizeof repeated[0]; i++) {
        tempera_error err;
        cr_expect_eq(check_text(repeated[i], true, &err), TEMPERA_FORMAT, "%s", repeated[i]);
        cr_expect(strstr(err.message, "appears twice"), "%s", err.message);
        cr_expect_eq(check_text(repeated[i], false, &err), TEMPERA_OK);
    }
    tempera_error err;
    cr_expect_eq(check_text("[{\"a\":1},{\"a\":{\"a\":{\"a\":1}}},{\"A\":1,\"a\":2}]", true, &err), TEMPERA_OK);
}

Test(json, repeated_keys_among_many_take_linear_time, .timeout = 20) {
    struct buf b = {.max = 1 << 26};
    cr_assert_eq(buf_append_text(&b, "{", NULL), TEMPERA_OK);
    for (int i = 0; i < 300000; i++) cr_assert_eq(buf_printf(&b, NULL, "\"key%d\":0,", i), TEMPERA_OK);
    size_t before_last = b.length;
    cr_assert_eq(buf_append_text(&b, "\"last\":0}", NULL), TEMPERA_OK);
    cr_assert_eq(json_check(b.data, b.length, true, "t", NULL), TEMPERA_OK);
    b.length = before_last;
    cr_assert_eq(buf_append_text(&b, "\"key7\":0}", NULL), TEMPERA_OK);
    cr_assert_eq(json_check(b.data, b.length, true, "t", NULL), TEMPERA_FORMAT);
    buf_free(&b);
}

static cJSON *parse(const char *text) {
    cJSON *root;
    tempera_error err;
    cr_assert_eq(json_parse(&root, text, strlen(text), true, "t", &err), TEMPERA_OK, "%s", err.message);
    return root;
}

Test(json, what_cjson_would_misread_is_refused) {
    cJSON *root;
    tempera_error err;
    static const char nul_value[] = "[\"a\\u0000b\"]", nul_key[] = "{\"a\\u0000b\":1}";
    cr_assert_eq(json_parse(&root, nul_value, strlen(nul_value), true, "t", &err), TEMPERA_UNSUPPORTED);
    cr_assert_eq(json_parse(&root, nul_key, strlen(nul_key), true, "t", &err), TEMPERA_UNSUPPORTED);
    cr_assert_null(root);
    char number[128];
    for (int digits = 62; digits < 67; digits++) {
        snprintf(number, sizeof number, "[0.%0*d, 1]", digits - 2, 1);
        tempera_status expected = digits <= 63 ? TEMPERA_OK : TEMPERA_UNSUPPORTED;
        cr_assert_eq(json_parse(&root, number, strlen(number), true, "t", &err), expected, "%d", digits);
        cJSON_Delete(root);
    }
    root = parse("[\"\\u00e9\\ud83d\\ude00\\n\"]");
    cr_assert_str_eq(root->child->valuestring, "\xc3\xa9\xf0\x9f\x98\x80\n");
    cJSON_Delete(root);
    root = parse(" 7");
    cr_assert_eq(root->valuedouble, 7.0);
    cJSON_Delete(root);
}

Test(json, memory_goes_through_mem_and_may_run_out) {
    static const char text[] = "{\"a\":[1,2,{\"b\":\"text\"}],\"\\u0063\":null}";
    struct mem_stats before = mem_stats_get();
    cJSON *root = parse(text);
    cr_assert_gt(mem_stats_get().live, before.live);
    cJSON_Delete(root);
    cr_assert_eq(mem_stats_get().live, before.live);
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    long n = 0;
    for (; status == TEMPERA_OUT_OF_MEMORY; n++) {
        mem_fail_after(n);
        status = json_parse(&root, text, strlen(text), true, "t", NULL);
        mem_fail_after(-1);
        cr_assert_eq(status == TEMPERA_OK, root != NULL);
        cJSON_Delete(root);
        cr_assert_eq(mem_stats_get().live, before.live);
    }
    cr_assert_eq(status, TEMPERA_OK);
    cr_assert_gt(n, 5);
}

Test(json, open) {
    char *folder = test_folder_create();
    char *path = test_write(folder, "a.json", "{\"a\":1}", 7);
    cJSON *root;
    tempera_error err;
    cr_assert_eq(json_open(&root, path, 7, &err), TEMPERA_OK);
    cJSON_Delete(root);
    cr_assert_eq(json_open(&root, path, 6, &err), TEMPERA_TOO_LONG);
    cr_assert_null(root);
    cr_assert_eq(json_open(&root, folder, 6, &err), TEMPERA_IO);
    mem_free(path);
    path = test_write(folder, "b.json", "{\"a\":1,\"a\":2}", 13);
    cr_assert_eq(json_open(&root, path, 100, &err), TEMPERA_FORMAT);
    cr_assert(strstr(err.message, "b.json"));
    mem_free(path);
    test_folder_remove(folder);
}

Test(json, getters) {
    cJSON *root = parse("{\"i\":42,\"f\":1.5,\"s\":\"text\",\"t\":true,\"n\":null,\"l\":[],\"big\":1e300,\"I\":7,"
                        "\"edge\":9007199254740992,\"over\":9007199254740994,\"inf\":1e999,\"neg\":-3.0}");
    tempera_error err;
    int64_t i = -1;
    cr_assert_eq(json_integer(root, "i", 0, 42, &i, "t", &err), TEMPERA_OK);
    cr_assert_eq(i, 42);
    cr_assert_eq(json_integer(root, "neg", -3, 0, &i, "t", &err), TEMPERA_OK);
    cr_assert_eq(i, -3);
    cr_assert_eq(json_integer(root, "absent", 0, 1, &i, "t", &err), TEMPERA_OK);
    cr_assert_eq(json_integer(root, "n", 0, 1, &i, "t", &err), TEMPERA_OK);
    cr_assert_eq(i, -3);
    cr_assert_eq(json_integer(root, "edge", 0, INT64_MAX, &i, "t", &err), TEMPERA_OK);
    cr_assert_eq(i, INT64_C(9007199254740992));

    static const struct {
        const char *key, *message;
    } bad[] = {
        {"f", "t: f: expected an integer from 0 to 100, found 1.5"},
        {"s", "t: s: expected an integer from 0 to 100, found the string \"text\""},
        {"t", "t: t: expected an integer from 0 to 100, found true"},
        {"l", "t: l: expected an integer from 0 to 100, found a list"},
        {"neg", "t: neg: expected an integer from 0 to 100, found -3"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        cr_assert_eq(json_integer(root, bad[k].key, 0, 100, &i, "t", &err), TEMPERA_FORMAT);
        cr_assert_str_eq(err.message, bad[k].message);
    }
    static const char *const beyond[] = {"big", "over", "inf"};
    for (size_t k = 0; k < 3; k++)
        cr_assert_eq(json_integer(root, beyond[k], INT64_MIN, INT64_MAX, &i, "t", &err), TEMPERA_FORMAT);

    double x = 0;
    cr_assert_eq(json_number(root, "f", 0, 2, &x, "t", &err), TEMPERA_OK);
    cr_assert_eq(x, 1.5);
    cr_assert_eq(json_number(root, "f", 2, 3, &x, "t", &err), TEMPERA_FORMAT);
    cr_assert_str_eq(err.message, "t: f: expected a number from 2 to 3, found 1.5");
    cr_assert_eq(json_number(root, "inf", 0, 1e308, &x, "t", &err), TEMPERA_FORMAT);
    cr_assert_eq(x, 1.5);

    bool flag = false;
    cr_assert_eq(json_bool(root, "t", &flag, "t", &err), TEMPERA_OK);
    cr_assert(flag);
    cr_assert_eq(json_bool(root, "i", &flag, "t", &err), TEMPERA_FORMAT);
    const char *text = NULL;
    cr_assert_eq(json_string(root, "s", &text, "t", &err), TEMPERA_OK);
    cr_assert_str_eq(text, "text");
    cr_assert_eq(json_string(root, "f", &text, "t", &err), TEMPERA_FORMAT);
    cr_assert_null(json_get(root, "S")); /* case matters */
    cr_assert_eq(json_get(root, "I")->valuedouble, 7.0);
    cJSON_Delete(root);
}

Test(json, reader_digits_and_text) {
    static const struct {
        const char *text;
        uint64_t max, value;
        bool good;
    } cases[] = {
        {"0", 0, 0, true},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, true},
        {"18446744073709551616", UINT64_MAX, 0, false},
        {"99999999999999999999999", UINT64_MAX, 0, false},
        {"12", 11, 0, false},
        {"-1", 100, 0, false},
        {"1.0", 100, 0, false},
        {"1e2", 1000, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_reader r = json_reader_start(cases[i].text, strlen(cases[i].text), "t");
        struct json_token t;
        cr_assert_eq(json_next(&r, &t, NULL), TEMPERA_OK);
        uint64_t value = 0;
        cr_assert_eq(json_digits(&t, cases[i].max, &value), cases[i].good, "%s", cases[i].text);
        if (cases[i].good) cr_assert_eq(value, cases[i].value);
    }
    static const char text[] = "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00df\\u20ac\\ud83d\\ude00\"";
    struct json_reader r = json_reader_start(text, strlen(text), "t");
    struct json_token t;
    struct arena arena = {0};
    size_t length;
    cr_assert_eq(json_next(&r, &t, NULL), TEMPERA_OK);
    cr_assert(t.escaped && !t.nul);
    static const char expected[] = "a\"\\/\b\f\n\r\tA\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80";
    cr_assert_str_eq(json_text(&arena, &t, &length), expected);
    cr_assert_eq(length, strlen(expected));
    arena_free(&arena);
}

Test(json, reader_skips_values) {
    static const char text[] = "{\"a\":[1,{\"b\":[]}],\"c\":{},\"d\":5}";
    struct json_reader r = json_reader_start(text, strlen(text), "t");
    struct json_token t;
    tempera_error err;
    cr_assert_eq(json_next_kind(&r, JSON_OBJECT, "an object", &t, &err), TEMPERA_OK);
    for (const char *key = "acd"; *key; key++) {
        cr_assert_eq(json_next_kind(&r, JSON_KEY, "a key", &t, &err), TEMPERA_OK);
        cr_assert_eq(t.text[0], *key);
        cr_assert_eq(json_next(&r, &t, &err), TEMPERA_OK);
        cr_assert_eq(json_skip(&r, &t, &err), TEMPERA_OK);
    }
    cr_assert_eq(json_next_kind(&r, JSON_ARRAY, "a list", &t, &err), TEMPERA_FORMAT);
    cr_assert_str_eq(err.message, "t: byte 30: expected a list");
}

/* Stops where the careful one does, whatever strings hold. */
Test(json, reader_skips_checked_text_alike) {
    static const char text[] = "[ {\"a\\\"]}\": [1, \"\\\\\", {\"[\": \"}\\\\\\\"\"}], \"b\" : {} } , [[[]], \"x\"],"
                               " \"]\", 12, true, {\"\\u005d\\u005D\":\"\\\\\"}]";
    struct json_reader a = json_reader_start(text, sizeof text - 1, "t"), b = a;
    struct json_token x, y;
    cr_assert_eq(json_next_kind(&a, JSON_ARRAY, "a list", &x, NULL), TEMPERA_OK);
    cr_assert_eq(json_next_kind(&b, JSON_ARRAY, "a list", &y, NULL), TEMPERA_OK);
    for (int values = 0;; values++) {
        cr_assert_eq(json_next(&a, &x, NULL), TEMPERA_OK);
        cr_assert_eq(json_next(&b, &y, NULL), TEMPERA_OK);
        cr_assert(x.kind == y.kind && x.text == y.text && x.length == y.length);
        if (x.kind == JSON_ARRAY_END) {
            cr_assert_eq(values, 6);
            break;
        }
        cr_assert_eq(json_skip(&a, &x, NULL), TEMPERA_OK);
        json_skip_checked(&b, &y);
        cr_assert(a.at == b.at && a.state == b.state && a.depth == b.depth, "value %d", values);
    }
}
