/* test_gguf.c: the reader of GGUF files: what it takes, and a file for everything that it refuses, among them those that
 * broke other readers (the CVE numbers beside them). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "gguf_write.h"
#include "load/gguf.h"
#include "support.h"

/* ---- support ----------------------------------------------------------------------------------------------------- */

/* Parses a copy that ends where the bytes end, so that a checker of memory sees every step beyond. */
static tempera_status parse(const void *bytes, size_t size, tempera_error *err) {
    char *exact = malloc(size ? size : 1);
    if (size) memcpy(exact, bytes, size);
    struct gguf *g;
    tempera_status status = gguf_parse(&g, exact, size, "m", err);
    cr_expect_eq(g != NULL, status == TEMPERA_OK);
    gguf_free(g);
    free(exact);
    return status;
}

static void refuse(struct buf *file, tempera_status expected, const char *message) {
    tempera_error err = {0};
    size_t live = mem_stats_get().live;
    tempera_status status = parse(file->data, file->length, &err);
    cr_expect_eq(status, expected, "expected \"%s\", found \"%s\"", message, err.message);
    cr_expect(strstr(err.message, message), "expected \"%s\", found \"%s\"", message, err.message);
    cr_expect_eq(mem_stats_get().live, live, "%s: memory is lost", message);
    buf_free(file);
}

static struct buf header(const char *magic, uint32_t version, uint64_t tensors, uint64_t keys) {
    struct buf file = {.max = 1 << 24};
    buf_append_text(&file, magic, NULL);
    write_bytes(&file, version, 4);
    write_bytes(&file, tensors, 8);
    write_bytes(&file, keys, 8);
    return file;
}

static struct gguf *open_writer(struct gguf_writer *w, struct buf *file) {
    struct gguf *g;
    tempera_error err = {0};
    write_finish(w, file);
    cr_assert_eq(gguf_parse(&g, file->data, file->length, "m", &err), TEMPERA_OK, "%s", err.message);
    return g;
}

/* ---- what is read ------------------------------------------------------------------------------------------------ */

static void write_numbers(struct gguf_writer *w) {
    static const struct {
        const char *key;
        uint32_t type, bytes;
        uint64_t bits;
    } numbers[] = {
        {"u8", W_U8, 1, 200},          {"i8", W_I8, 1, 0x80},          {"u16", W_U16, 2, 60000},
        {"i16", W_I16, 2, 0xFFFE},     {"i32", W_I32, 4, 0xFFFFFFFD},  {"u64", W_U64, 8, UINT64_C(1) << 40},
        {"i64", W_I64, 8, UINT64_MAX}, {"huge", W_U64, 8, UINT64_MAX}, {"f64", W_F64, 8, UINT64_C(0x3FF8000000000000)},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        write_key(w, numbers[i].key, numbers[i].type);
        write_bytes(&w->values, numbers[i].bits, numbers[i].bytes);
    }
    write_u32(w, "u32", 4000000000u);
    write_f32(w, "f32", 0.25f);
}

Test(gguf, numbers) {
    static const struct {
        const char *key;
        int64_t value;
    } expected[] = {{"u8", 200},
                    {"i8", -128},
                    {"u16", 60000},
                    {"i16", -2},
                    {"u32", 4000000000},
                    {"i32", -3},
                    {"u64", INT64_C(1) << 40},
                    {"i64", -1}};
    struct gguf_writer w = {.version = 2};
    struct buf file = {0};
    tempera_error err;
    write_numbers(&w);
    struct gguf *g = open_writer(&w, &file);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        int64_t value = 7;
        cr_expect_eq(gguf_integer(g, expected[i].key, INT64_MIN, INT64_MAX, &value, &err), TEMPERA_OK);
        cr_expect_eq(value, expected[i].value, "%s", expected[i].key);
        double number = 7;
        cr_expect_eq(gguf_number(g, expected[i].key, -1e300, 1e300, &number, &err), TEMPERA_OK);
        cr_expect_eq(number, (double)expected[i].value, "%s", expected[i].key);
    }
    double number = 0;
    int64_t value = 7;
    cr_expect_eq(gguf_number(g, "f32", 0, 1, &number, &err), TEMPERA_OK);
    cr_expect_eq(number, 0.25);
    cr_expect_eq(gguf_number(g, "f64", 0, 2, &number, &err), TEMPERA_OK);
    cr_expect_eq(number, 1.5);
    cr_expect_eq(gguf_number(g, "f64", 0, 1, &number, &err), TEMPERA_FORMAT);
    cr_expect_str_eq(err.message, "m: f64: expected 0 to 1, found 1.5");
    cr_expect_eq(gguf_integer(g, "u8", 0, 100, &value, &err), TEMPERA_FORMAT);
    cr_expect_str_eq(err.message, "m: u8: expected 0 to 100, found 200");
    cr_expect_eq(gguf_integer(g, "f32", 0, 100, &value, &err), TEMPERA_FORMAT);
    cr_expect_str_eq(err.message, "m: f32: expected an integer, found a value of type float32");
    cr_expect_eq(gguf_integer(g, "huge", 0, INT64_MAX, &value, &err), TEMPERA_FORMAT);
    cr_expect_eq(gguf_integer(g, "absent", 0, 1, &value, &err), TEMPERA_OK);
    cr_expect_eq(value, 7);
    cr_expect(!gguf_has(g, "absent") && gguf_has(g, "u8"));
    cr_expect_eq(gguf_key_count(g), 11u);
    gguf_free(g);
    buf_free(&file);
}

Test(gguf, texts_and_arrays) {
    static const char *const words[] = {"one", "", "three"};
    static const float floats[] = {1.5f, -2};
    struct gguf_writer w = {0};
    struct buf file = {0};
    tempera_error err;
    write_string(&w, "word", "hello");
    write_bool(&w, "yes", true);
    write_strings(&w, "words", words, 3);
    write_array(&w, "floats", W_F32, floats, 2);
    write_key(&w, "nested", W_ARRAY); /* two arrays: of two strings, of none */
    write_bytes(&w.values, W_ARRAY, 4);
    write_bytes(&w.values, 2, 8);
    write_bytes(&w.values, W_STRING, 4);
    write_bytes(&w.values, 2, 8);
    write_text(&w.values, "a");
    write_text(&w.values, "b");
    write_bytes(&w.values, W_U16, 4);
    write_bytes(&w.values, 0, 8);
    write_u32(&w, "last", 5);
    struct gguf *g = open_writer(&w, &file);
    struct gguf_text text = {0};
    struct gguf_array array = {0};
    bool yes = false;
    int64_t last = 0;
    cr_expect_eq(gguf_string(g, "word", &text, &err), TEMPERA_OK);
    cr_expect(gguf_text_is(text, "hello") && !gguf_text_is(text, "hell") && !gguf_text_is(text, "hello!"));
    cr_expect_eq(gguf_bool(g, "yes", &yes, &err), TEMPERA_OK);
    cr_expect(yes);
    cr_expect_eq(gguf_array(g, "words", GGUF_STRING, &array, &err), TEMPERA_OK);
    for (size_t i = 0; i < 3; i++) cr_expect(gguf_text_is(gguf_array_take(&array), words[i]));
    cr_expect_eq(array.count, 0u);
    cr_expect_eq(gguf_array(g, "floats", GGUF_F32, &array, &err), TEMPERA_OK);
    cr_expect(array.count == 2 && gguf_array_f32(&array, 0) == 1.5f && gguf_array_f32(&array, 1) == -2);
    cr_expect_eq(gguf_array(g, "floats", GGUF_I32, &array, &err), TEMPERA_FORMAT);
    cr_expect_str_eq(err.message, "m: floats: expected an array of int32, found one of float32");
    cr_expect_eq(gguf_array(g, "word", GGUF_I32, &array, &err), TEMPERA_FORMAT);
    cr_expect_eq(gguf_string(g, "yes", &text, &err), TEMPERA_FORMAT);
    cr_expect_eq(gguf_bool(g, "last", &yes, &err), TEMPERA_FORMAT);
    cr_expect_eq(gguf_integer(g, "last", 0, 9, &last, &err), TEMPERA_OK); /* what follows nested arrays is found */
    cr_expect_eq(last, 5);
    gguf_free(g);
    buf_free(&file);
}

Test(gguf, tensors) {
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    static const unsigned char blocks[2 * 34] = {1};
    struct gguf_writer w = {.alignment = 64};
    struct buf file = {0};
    write_u32(&w, "general.alignment", 64);
    write_tensor(&w, "a", W_T_F32, 2, (uint64_t[]){3, 2}, values, sizeof values);
    write_tensor(&w, "b", W_T_Q8_0, 2, (uint64_t[]){32, 2}, blocks, sizeof blocks);
    write_tensor(&w, "c", W_T_F32, 0, NULL, values, sizeof *values);
    struct gguf *g = open_writer(&w, &file);
    const struct tensor_set *set = gguf_tensors(g);
    const struct tensor_view *a = tensor_set_find(set, "a"), *b = tensor_set_find(set, "b"),
                             *c = tensor_set_find(set, "c");
    cr_assert(tensor_set_count(set) == 3 && a && b && c);
    cr_expect(a->rank == 2 && a->shape[0] == 2 && a->shape[1] == 3 && a->dtype == DTYPE_F32);
    cr_expect_eq(memcmp(a->data, values, sizeof values), 0);
    cr_expect(b->dtype == DTYPE_Q8_0 && b->bytes == 68 && b->data[0] == 1 && (b->data - a->data) % 64 == 0);
    cr_expect(c->rank == 0 && c->bytes == 4);
    cr_expect_eq(tensor_set_get(set, "b", 2, (size_t[]){2, 32}, &a, NULL), TEMPERA_OK);
    gguf_free(g);
    buf_free(&file);
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

Test(gguf, refused_beginnings) {
    struct buf file = {.max = 64};
    buf_append_text(&file, "", NULL);
    refuse(&file, TEMPERA_FORMAT, "does not begin with \"GGUF\"");
    buf_append_text(&file, "GGU", NULL);
    refuse(&file, TEMPERA_FORMAT, "does not begin with \"GGUF\"");
    buf_append_text(&file, "GGUF\3", NULL);
    refuse(&file, TEMPERA_FORMAT, "the file ends inside the version");
    file = header("FUGG", 3, 0, 0);
    refuse(&file, TEMPERA_FORMAT, "does not begin with \"GGUF\"");
    file = header("tjgg", 3, 0, 0);
    refuse(&file, TEMPERA_UNSUPPORTED, "\"ggjt\", which came before GGUF");
    for (uint32_t version = 0; version <= 4; version += version == 1 ? 3 : 1) {
        char message[64];
        snprintf(message, sizeof message, "GGUF version %u is not supported", version);
        file = header("GGUF", version, 0, 0);
        refuse(&file, TEMPERA_UNSUPPORTED, message);
    }
    file = header("GGUF", 0x03000000, 0, 0);
    refuse(&file, TEMPERA_UNSUPPORTED, "big-endian");
    file = header("GGUF", 3, 0, 0);
    file.length -= 1;
    refuse(&file, TEMPERA_FORMAT, "the file ends inside the header");
}

/* CVE-2024-21802, CVE-2025-53630, CVE-2026-27940, CVE-2026-33298: counts and sizes whose product or sum overflows, or that
 * exceed the file. */
Test(gguf, refused_counts) {
    struct buf file = header("GGUF", 3, 0, UINT64_MAX);
    refuse(&file, TEMPERA_FORMAT, "18446744073709551615 keys in a file of 24 bytes");
    file = header("GGUF", 3, UINT64_MAX, 0);
    refuse(&file, TEMPERA_FORMAT, "18446744073709551615 tensors in a file of 24 bytes");
    file = header("GGUF", 3, UINT64_MAX / 0x30, 0);
    refuse(&file, TEMPERA_FORMAT, "tensors in a file of");
    file = header("GGUF", 3, 0, 1);
    write_bytes(&file, UINT64_MAX, 8);
    write_bytes(&file, 0, 8);
    refuse(&file, TEMPERA_FORMAT, "a key of 18446744073709551615 bytes, the file has 8 more");
    file = header("GGUF", 3, 0, 1);
    write_text(&file, "k");
    write_bytes(&file, W_STRING, 4);
    write_bytes(&file, UINT64_MAX - 7, 8);
    refuse(&file, TEMPERA_FORMAT, "a string of 18446744073709551608 bytes, the file has 0 more");
    static const struct {
        uint32_t type;
        uint64_t count;
    } arrays[] = {{W_U8, UINT64_MAX},     {W_U64, UINT64_MAX / 8 + 2}, {W_F32, UINT64_C(1) << 62},
                  {W_STRING, UINT64_MAX}, {W_ARRAY, UINT64_MAX},       {W_U16, 9}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        file = header("GGUF", 3, 0, 1);
        write_text(&file, "k");
        write_bytes(&file, W_ARRAY, 4);
        write_bytes(&file, arrays[i].type, 4);
        write_bytes(&file, arrays[i].count, 8);
        write_bytes(&file, 0, 8);
        refuse(&file, TEMPERA_FORMAT, "the file has 8 bytes more");
    }
    file = header("GGUF", 3, 0, 1);
    write_text(&file, "k");
    write_bytes(&file, W_ARRAY, 4);
    write_bytes(&file, W_STRING, 4);
    write_bytes(&file, 8, 8);
    write_bytes(&file, 0, 8);
    refuse(&file, TEMPERA_FORMAT, "the file ends inside a string");
}

Test(gguf, refused_values) {
    struct gguf_writer w = {0};
    struct buf file = {0};
    write_key(&w, "dict1", 13);
    write_bytes(&w.values, 0, 8);
    write_finish(&w, &file);
    refuse(&file, TEMPERA_FORMAT, "\"dict1\": value type 13 is not defined");
    write_key(&w, "list", W_ARRAY);
    write_bytes(&w.values, 99, 4);
    write_bytes(&w.values, 0, 8);
    write_finish(&w, &file);
    refuse(&file, TEMPERA_FORMAT, "\"list\": value type 99 is not defined");
    write_key(&w, "yes", W_BOOL);
    write_bytes(&w.values, 2, 1);
    write_finish(&w, &file);
    refuse(&file, TEMPERA_FORMAT, "\"yes\": expected a bool of 0 or 1, found 2");
    write_u32(&w, "twice", 1);
    write_u32(&w, "twice", 2);
    write_finish(&w, &file);
    refuse(&file, TEMPERA_FORMAT, "the key \"twice\" appears twice");
    write_key(&w, "deep", W_ARRAY);
    for (int i = 0; i < 100; i++) { /* each an array of one array */
        write_bytes(&w.values, W_ARRAY, 4);
        write_bytes(&w.values, 1, 8);
    }
    write_bytes(&w.values, W_U8, 4);
    write_bytes(&w.values, 0, 8);
    write_finish(&w, &file);
    refuse(&file, TEMPERA_UNSUPPORTED, "\"deep\": arrays nested more than 4 deep");
    char *key = malloc(65537);
    memset(key, 'k', 65536);
    key[65536] = 0;
    write_u32(&w, key, 1);
    write_finish(&w, &file);
    refuse(&file, TEMPERA_UNSUPPORTED, "a key of 65536 bytes, at most 65535 are read");
    free(key);
}

Test(gguf, refused_alignment) {
    static const uint32_t bad[] = {0, 3, 48, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gguf_writer w = {0};
        struct buf file = {0};
        write_u32(&w, "general.alignment", bad[i]);
        write_finish(&w, &file);
        refuse(&file, TEMPERA_FORMAT, "general.alignment: expected");
    }
    struct gguf_writer w = {0};
    struct buf file = {0};
    write_string(&w, "general.alignment", "32");
    write_finish(&w, &file);
    refuse(&file, TEMPERA_FORMAT, "general.alignment: expected an integer");
}

/* One tensor described by hand, and so many bytes of data behind. */
struct description {
    const char *name;
    uint32_t rank;
    uint64_t extents[8];
    uint32_t type;
    uint64_t offset;
    size_t data;
    tempera_status status;
    const char *message;
};

static struct buf describe(const struct description *d, size_t count) {
    struct buf file = header("GGUF", 3, count, 0);
    size_t data = 0;
    for (size_t i = 0; i < count; i++) {
        write_text(&file, d[i].name);
        write_bytes(&file, d[i].rank, 4);
        for (uint32_t k = 0; k < d[i].rank && k < 8; k++) write_bytes(&file, d[i].extents[k], 8);
        write_bytes(&file, d[i].type, 4);
        write_bytes(&file, d[i].offset, 8);
        data += d[i].data;
    }
    while (file.length % 32 != 0) write_bytes(&file, 0, 1);
    for (size_t i = 0; i < data; i++) write_bytes(&file, 0, 1);
    return file;
}

Test(gguf, refused_tensors) {
    static const struct description cases[] = {
        {"t", 5, {1, 1, 1, 1, 1}, 0, 0, 4, TEMPERA_FORMAT, "5 dimensions, at most 4"},
        {"t", UINT32_MAX, {1}, 0, 0, 64, TEMPERA_FORMAT, "4294967295 dimensions"},
        {"t", 2, {0, 4}, 0, 0, 4, TEMPERA_FORMAT, "an extent of zero"},
        {"t", 1, {4}, 99, 0, 16, TEMPERA_FORMAT, "type 99 is not known"},
        {"t", 1, {4}, 4, 0, 16, TEMPERA_FORMAT, "type 4 is not known"},
        {"t", 1, {32}, 3, 0, 64, TEMPERA_UNSUPPORTED, "type Q4_1 is not supported (F32, F16, BF16, Q8_0"},
        {"t", 1, {256}, 13, 0, 256, TEMPERA_UNSUPPORTED, "type Q5_K is not supported"},
        {"t", 1, {4}, 26, 0, 64, TEMPERA_UNSUPPORTED, "type I32 is not supported"},
        {"t", 2, {31, 4}, 8, 0, 256, TEMPERA_FORMAT, "rows of 31 elements are not whole blocks of Q8_0, 32 each"},
        {"t", 2, {128, 2}, 12, 0, 256, TEMPERA_FORMAT, "not whole blocks of Q4_K, 256 each"},
        {"t",
         4,
         {UINT64_C(1) << 16, UINT64_C(1) << 16, UINT64_C(1) << 16, UINT64_C(1) << 16},
         0,
         0,
         64,
         TEMPERA_FORMAT,
         "the product of its extents overflows"},
        {"t", 1, {UINT64_C(1) << 62}, 0, 0, 64, TEMPERA_FORMAT, "the product of its extents overflows"},
        {"t", 2, {UINT64_MAX, UINT64_MAX}, 0, 0, 64, TEMPERA_FORMAT, "the product of its extents overflows"},
        {"t", 1, {UINT64_C(1) << 40}, 0, 0, 64, TEMPERA_FORMAT, "do not lie in the file's 64 bytes of data"},
        {"t", 1, {17}, 0, 0, 64, TEMPERA_FORMAT, "68 bytes at 0 do not lie in the file's 64 bytes of data"},
        {"t", 1, {1}, 0, 64, 64, TEMPERA_FORMAT, "4 bytes at 64 do not lie"},
        {"t", 1, {1}, 0, UINT64_MAX - 31, 64, TEMPERA_FORMAT, "do not lie in the file"},
        {"t", 1, {1}, 0, 4, 64, TEMPERA_FORMAT, "offset 4 is not aligned to 32 bytes"},
        {"", 1, {1}, 0, 0, 64, TEMPERA_FORMAT, "name is empty or has a zero byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf file = describe(&cases[i], 1);
        refuse(&file, cases[i].status, cases[i].message);
    }
    struct buf file = describe((struct description[]){{"a", 1, {4}, 0, 0, 0, 0, 0}, {"a", 1, {4}, 0, 32, 64, 0, 0}}, 2);
    refuse(&file, TEMPERA_FORMAT, "the tensor \"a\" appears twice");
    file = describe((struct description[]){{"a", 1, {9}, 0, 0, 0, 0, 0}, {"b", 1, {4}, 0, 32, 64, 0, 0}}, 2);
    refuse(&file, TEMPERA_FORMAT, "the tensors \"a\" and \"b\" overlap");
    file = describe((struct description[]){{"a", 1, {4}, 0, 32, 0, 0, 0}, {"b", 1, {4}, 0, 32, 64, 0, 0}}, 2);
    refuse(&file, TEMPERA_FORMAT, "overlap");
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    file = describe(&(struct description){name, 1, {4}, 0, 0, 64, 0, 0}, 1);
    refuse(&file, TEMPERA_UNSUPPORTED, "a tensor's name of 299 bytes, at most 255 are read");
    file = header("GGUF", 3, 1, 0);
    write_bytes(&file, 3, 8);
    buf_append(&file, "a\0b", 3, NULL);
    for (int i = 0; i < 64; i++) write_bytes(&file, 0, 1);
    refuse(&file, TEMPERA_FORMAT, "has a zero byte");
}

/* ---- every cut, every failing allocation ------------------------------------------------------------------------- */

static void write_sample(struct buf *file) {
    static const char *const words[] = {"a", "bc"};
    static const float values[8] = {0};
    struct gguf_writer w = {0};
    write_string(&w, "general.architecture", "llama");
    write_strings(&w, "words", words, 2);
    write_tensor(&w, "x", W_T_F32, 1, (uint64_t[]){8}, values, sizeof values);
    write_tensor(&w, "y", W_T_F32, 2, (uint64_t[]){4, 2}, values, sizeof values);
    write_finish(&w, file);
}

Test(gguf, every_cut_is_refused) {
    struct buf file = {0};
    write_sample(&file);
    for (size_t size = 0; size < file.length; size++) {
        tempera_error err = {0};
        cr_expect_eq(parse(file.data, size, &err), TEMPERA_FORMAT, "%zu of %zu bytes: %s", size, file.length,
                     err.message);
    }
    cr_expect_eq(parse(file.data, file.length, NULL), TEMPERA_OK);
    buf_free(&file);
}

Test(gguf, every_failing_allocation) {
    struct buf file = {0};
    write_sample(&file);
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    cr_assert_eq(parse(file.data, file.length, NULL), TEMPERA_OK);
    size_t live = mem_stats_get().live;
    long n = 0;
    for (; n < 200 && status != TEMPERA_OK; n++) {
        tempera_error err = {0};
        struct gguf *g;
        mem_fail_after(n);
        status = gguf_parse(&g, file.data, file.length, "m", &err);
        mem_fail_after(-1);
        cr_expect(status == TEMPERA_OK || status == TEMPERA_OUT_OF_MEMORY, "%s", err.message);
        gguf_free(g);
        cr_expect_eq(mem_stats_get().live, live);
    }
    cr_expect(n > 5 && status == TEMPERA_OK);
    buf_free(&file);
}

/* ---- real files -------------------------------------------------------------------------------------------------- */

Test(gguf, real_files) {
    static const struct {
        const char *name;
        tempera_status status;
        const char *message;
    } files[] = {
        {"gguf-variants/ggml-vocab-llama.a.gguf", TEMPERA_FORMAT, "does not begin with \"GGUF\""},
        {"gguf-variants/ggml-vocab-llama.b.gguf", TEMPERA_UNSUPPORTED, "GGUF version 1 is not supported"},
        {"gguf-variants/ggml-vocab-llama.c.gguf", TEMPERA_UNSUPPORTED, "GGUF version 1 is not supported"},
        {"gguf-variants/ggml-vocab-llama.d.gguf", TEMPERA_OK, ""},
        {"gguf-variants/ggml-vocab-llama.e.gguf", TEMPERA_OK, ""},
        {"gguf-variants/not-gguf-ggml-vocab-llama.bin", TEMPERA_UNSUPPORTED, "\"ggjt\", which came before GGUF"},
        {"gguf-variants/not-gguf-ggml-vocab.bin", TEMPERA_UNSUPPORTED, "\"ggjt\", which came before GGUF"},
        {"gguf-variants/test_writer.gguf", TEMPERA_FORMAT, "\"dict1\": value type 13 is not defined"},
        {"llamacpp-vocab/ggml-vocab-baichuan.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-bert-bge.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-deepseek-coder.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-deepseek-llm.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-falcon.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-gpt-2.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-gpt-neox.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-llama-spm.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-mpt.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-phi-3.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-refact.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/ggml-vocab-starcoder.gguf", TEMPERA_OK, ""},
        {"llamacpp-vocab/history/ggml-vocab-dbrx.gguf", TEMPERA_FORMAT, "the key \"general.file_type\" appears twice"},
        {"llamacpp-vocab/history/ggml-vocab-stablelm.gguf", TEMPERA_OK, ""},
        {"weights-stories260K/stories260K.gguf", TEMPERA_OK, ""},
    };
    TEST_NEEDS_DATA("GGUF files");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = path_join(test_data(), files[i].name);
        struct gguf *g;
        tempera_error err = {0};
        cr_expect_eq(gguf_open(&g, path, &err), files[i].status, "%s: %s", files[i].name, err.message);
        cr_expect(strstr(err.message, files[i].message), "%s: %s", files[i].name, err.message);
        if (g) cr_expect_str_eq(gguf_name(g), path);
        gguf_free(g);
        mem_free(path);
    }
    tempera_error err;
    struct gguf *g;
    cr_expect_eq(gguf_open(&g, "/does/not/exist", &err), TEMPERA_IO);
    cr_expect_null(g);
}
