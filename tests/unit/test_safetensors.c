/* test_safetensors.c: valid files read right; hostile ones named and refused. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "load/safetensors.h"
#include "load/tensor_header.h"
#include "support.h"

/* A file image: length, header, `data` bytes of counting values. Free with buf_free. */
static struct buf image(const char *header, size_t data) {
    struct buf b = {.max = 1 << 28};
    uint64_t length = strlen(header);
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)(length >> 8 * i);
    cr_assert_eq(buf_append(&b, prefix, 8, NULL), TEMPERA_OK);
    cr_assert_eq(buf_append_text(&b, header, NULL), TEMPERA_OK);
    for (size_t i = 0; i < data; i++) cr_assert_eq(buf_append(&b, &(char){(char)i}, 1, NULL), TEMPERA_OK);
    return b;
}

/* Parses a copy of exactly the right size, so that a sanitizer sees any read past it. */
static tempera_status parse_bytes(const void *bytes, size_t size, tempera_error *err) {
    unsigned char *exact = mem_alloc(size);
    memcpy(exact, bytes, size);
    struct mem_stats before = mem_stats_get();
    struct tensor_set *set;
    tempera_status status = tensor_set_parse(&set, exact, size, "m", err);
    cr_assert_eq(status == TEMPERA_OK, set != NULL);
    tensor_set_free(set);
    cr_assert_eq(mem_stats_get().live, before.live, "leak");
    mem_free(exact);
    return status;
}

static tempera_status parse(const char *header, size_t data, tempera_error *err) {
    struct buf b = image(header, data);
    tempera_status status = parse_bytes(b.data, b.length, err);
    buf_free(&b);
    return status;
}

Test(safetensors, dtypes) {
    cr_assert_str_eq(dtype_name(DTYPE_BF16), "BF16");
    cr_assert_eq(dtype_size(DTYPE_BF16), 2u);
    cr_assert_eq(dtype_size(DTYPE_F64), 8u);
    cr_assert_str_eq(dtype_name(DTYPE_F8_E5M2), "F8_E5M2");
    cr_assert_str_eq(dtype_name(DTYPE_COUNT), "?");
    cr_assert_eq(dtype_size(DTYPE_COUNT), 0u);
}

Test(safetensors, reads_what_is_there) {
    struct buf b = image("{\"__metadata__\":{\"format\":\"pt\",\"a\":\"\"},"
                         "\"second\":{\"dtype\":\"I8\",\"shape\":[2,3],\"data_offsets\":[8,14]},"
                         "\"first\\u0021\":{\"data_offsets\":[0,8],\"shape\":[1,2],\"dtype\":\"F32\"},"
                         "\"none\":{\"dtype\":\"F16\",\"shape\":[4,0],\"data_offsets\":[14,14]},"
                         "\"one\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[14,16]}}   ",
                         16);
    struct tensor_set *set;
    tempera_error err;
    cr_assert_eq(tensor_set_parse(&set, b.data, b.length, "m", &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tensor_set_count(set), 4u);
    static const char *const order[] = {"first!", "second", "none", "one"};
    for (size_t i = 0; i < 4; i++) {
        const struct tensor_view *v = tensor_set_at(set, i);
        cr_assert_str_eq(v->name, order[i]);
        cr_assert_str_eq(v->file, "m");
        cr_assert_eq(tensor_set_find(set, order[i]), v);
    }
    cr_assert_null(tensor_set_at(set, 4));
    cr_assert_null(tensor_set_find(set, "absent"));
    const struct tensor_view *v = tensor_set_find(set, "second");
    cr_assert(v->dtype == DTYPE_I8 && v->rank == 2 && v->shape[0] == 2 && v->shape[1] == 3 && v->bytes == 6);
    for (int i = 0; i < 6; i++) cr_assert_eq(v->data[i], 8 + i);
    v = tensor_set_find(set, "one");
    cr_assert(v->rank == 0 && v->bytes == 2);
    v = tensor_set_find(set, "none");
    cr_assert(v->rank == 2 && v->bytes == 0);
    tensor_set_forget(set, v);
    tensor_set_free(set);
    buf_free(&b);
    tensor_set_free(NULL);
}

Test(safetensors, get_checks_shape_and_type) {
    struct buf b = image("{\"w\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
                         "\"i\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[16,24]},"
                         "\"s\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[24,26]}}",
                         26);
    struct tensor_set *set;
    cr_assert_eq(tensor_set_parse(&set, b.data, b.length, "m", NULL), TEMPERA_OK);
    const struct tensor_view *v;
    tempera_error err;
    cr_assert_eq(tensor_set_get(set, "w", 2, (size_t[]){2, 2}, &v, &err), TEMPERA_OK);
    cr_assert_eq(v, tensor_set_find(set, "w"));
    cr_assert_eq(tensor_set_get(set, "s", 0, NULL, &v, &err), TEMPERA_OK);
    cr_assert_eq(tensor_set_get(set, "w", 2, (size_t[]){2, 3}, &v, &err), TEMPERA_FORMAT);
    cr_assert_null(v);
    cr_assert_str_eq(err.message, "m: tensor \"w\": expected shape [2, 3] of F32, F16 or BF16, found [2, 2] of F32");
    cr_assert_eq(tensor_set_get(set, "w", 1, (size_t[]){4}, &v, &err), TEMPERA_FORMAT);
    cr_assert_eq(tensor_set_get(set, "i", 1, (size_t[]){2}, &v, &err), TEMPERA_FORMAT);
    cr_assert_str_eq(err.message, "m: tensor \"i\": expected shape [2] of F32, F16 or BF16, found [2] of I32");
    cr_assert_eq(tensor_set_get(set, "x", 1, (size_t[]){2}, &v, &err), TEMPERA_FORMAT);
    cr_assert_str_eq(err.message, "m: tensor \"x\" is missing (expected shape [2])");
    tensor_set_free(set);
    buf_free(&b);
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

Test(safetensors, accepts) {
    static const struct {
        const char *header;
        size_t data;
    } cases[] = {
        {"{}", 0},
        {"{}        ", 0},
        {"{\"__metadata__\":{}}", 0},
        {"{\"a\":" T("U8", "[0,99999999999]", "[0,0]") "}", 0},
        {"{\"a\":" T("U8", "[1,1,1,1,1,1,1,1]", "[0,1]") "}", 1},
        {"{\"\":" T("U8", "[1]", "[0,1]") "}", 1},
        {"{\"b\":" T("U8", "[0]", "[0,0]") ",\"a\":" T("U8", "[0]", "[0,0]") ",\"c\":" T("U8", "[1]", "[0,1]") "}", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tempera_error err;
        cr_expect_eq(parse(cases[i].header, cases[i].data, &err), TEMPERA_OK, "%s: %s", cases[i].header, err.message);
    }
}

Test(safetensors, hostile_headers) {
    static const struct {
        const char *header;
        size_t data;
        tempera_status status;
        const char *fragment;
    } cases[] = {
        /* JSON */
        {" {}", 0, TEMPERA_FORMAT, "must begin with '{'"},
        {"[]", 0, TEMPERA_FORMAT, "must begin with '{'"},
        {"{", 0, TEMPERA_FORMAT, "expected a key"},
        {"{}x", 0, TEMPERA_FORMAT, "expected the end"},
        {"{\"a\":}", 0, TEMPERA_FORMAT, "expected a value"},
        {"{\"\xff\":1}", 0, TEMPERA_FORMAT, "malformed UTF-8"},
        {"{\"a\\u0000\":" T("U8", "[1]", "[0,1]") "}", 1, TEMPERA_FORMAT, "without \\u0000"},
        /* the entry */
        {"{\"a\":1}", 0, TEMPERA_FORMAT, "expected an object that describes a tensor"},
        {"{\"a\":null}", 0, TEMPERA_FORMAT, "expected an object"},
        {"{\"a\":[]}", 0, TEMPERA_FORMAT, "expected an object"},
        {"{\"a\":{}}", 0, TEMPERA_FORMAT, "tensor \"a\": dtype is missing"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, TEMPERA_FORMAT, "data_offsets is missing"},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, TEMPERA_FORMAT, "shape is missing"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 1, TEMPERA_FORMAT, "twice"},
        {"{\"a\":{\"extra\":1}}", 1, TEMPERA_FORMAT, "no other key"},
        /* names */
        {"{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 2, TEMPERA_FORMAT,
         "tensor \"a\": appears twice"},
        {"{\"a\":" T("U8", "[1]", "[0,1]") ",\"\\u0061\":" T("U8", "[1]", "[1,2]") "}", 2, TEMPERA_FORMAT,
         "tensor \"a\": appears twice"},
        /* dtype */
        {"{\"a\":" T("F4", "[2]", "[0,1]") "}", 1, TEMPERA_UNSUPPORTED, "tensor \"a\": dtype \"F4\" is not known"},
        {"{\"a\":" T("f32", "[1]", "[0,4]") "}", 4, TEMPERA_UNSUPPORTED, "dtype \"f32\""},
        {"{\"a\":{\"dtype\":1}}", 1, TEMPERA_FORMAT, "expected a dtype"},
        /* shape */
        {"{\"a\":" T("U8", "[-1]", "[0,1]") "}", 1, TEMPERA_FORMAT, "non-negative integer"},
        {"{\"a\":" T("U8", "[1.0]", "[0,1]") "}", 1, TEMPERA_FORMAT, "non-negative integer"},
        {"{\"a\":" T("U8", "[1e0]", "[0,1]") "}", 1, TEMPERA_FORMAT, "non-negative integer"},
        {"{\"a\":" T("U8", "[\"1\"]", "[0,1]") "}", 1, TEMPERA_FORMAT, "non-negative integer"},
        {"{\"a\":" T("U8", "[[1]]", "[0,1]") "}", 1, TEMPERA_FORMAT, "non-negative integer"},
        {"{\"a\":" T("U8", "[null]", "[0,1]") "}", 1, TEMPERA_FORMAT, "non-negative integer"},
        {"{\"a\":" T("U8", "[18446744073709551616]", "[0,1]") "}", 1, TEMPERA_FORMAT, "non-negative integer"},
        {"{\"a\":" T("U8", "1", "[0,1]") "}", 1, TEMPERA_FORMAT, "expected a shape"},
        {"{\"a\":" T("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, TEMPERA_UNSUPPORTED, "more than 8 dimensions"},
        {"{\"a\":" T("F32", "[4611686018427387905]", "[0,4]") "}", 4, TEMPERA_FORMAT, "overflows"},
        {"{\"a\":" T("U8", "[4294967296,4294967296]", "[0,0]") "}", 0, TEMPERA_FORMAT, "overflows"},
        {"{\"a\":" T("U8", "[4294967296,4294967296,0]", "[0,0]") "}", 0, TEMPERA_FORMAT, "overflows"},
        {"{\"a\":" T("F32", "[2]", "[0,4]") "}", 4, TEMPERA_FORMAT, "need 8 bytes, its data_offsets give 4"},
        {"{\"a\":" T("F32", "[]", "[0,0]") "}", 0, TEMPERA_FORMAT, "need 4 bytes"},
        /* offsets */
        {"{\"a\":" T("U8", "[1]", "[0]") "}", 1, TEMPERA_FORMAT, "expected a byte offset"},
        {"{\"a\":" T("U8", "[1]", "[0,1,2]") "}", 1, TEMPERA_FORMAT, "expected two byte offsets"},
        {"{\"a\":" T("U8", "[1]", "[1,0]") "}", 1, TEMPERA_FORMAT, "do not lie"},
        {"{\"a\":" T("U8", "[2]", "[0,2]") "}", 1, TEMPERA_FORMAT, "do not lie in the file's 1 bytes"},
        {"{\"a\":" T("U8", "[1]", "[-1,0]") "}", 1, TEMPERA_FORMAT, "expected a byte offset"},
        {"{\"a\":" T("U8", "[1]", "[18446744073709551615,18446744073709551616]") "}", 1, TEMPERA_FORMAT,
         "expected a byte offset"},
        {"{\"a\":" T("U8", "[1]", "[18446744073709551614,18446744073709551615]") "}", 1, TEMPERA_FORMAT, "do not lie"},
        {"{\"a\":" T("U8", "[1]", "{}") "}", 1, TEMPERA_FORMAT, "expected data_offsets"},
        /* tiling */
        {"{\"a\":" T("U8", "[1]", "[1,2]") "}", 2, TEMPERA_FORMAT, "begins at data byte 1, expected 0 (hole)"},
        {"{\"a\":" T("U8", "[1]", "[0,1]") "}", 2, TEMPERA_FORMAT, "2 bytes of data, but the tensors end at 1"},
        {"{}", 1, TEMPERA_FORMAT, "1 bytes of data"},
        {"{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[1,3]") "}", 3, TEMPERA_FORMAT,
         "tensor \"b\" begins at data byte 1, expected 2 (overlap)"},
        {"{\"a\":" T("U8", "[1]", "[0,1]") ",\"b\":" T("U8", "[1]", "[0,1]") "}", 1, TEMPERA_FORMAT, "overlap"},
        {"{\"a\":" T("U8", "[1]", "[0,1]") ",\"b\":" T("U8", "[1]", "[2,3]") "}", 3, TEMPERA_FORMAT, "hole"},
        {"{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[0]", "[1,1]") "}", 2, TEMPERA_FORMAT, "overlap"},
        {"{\"a\":" T("U8", "[0]", "[1,1]") "}", 1, TEMPERA_FORMAT, "hole"},
        /* metadata */
        {"{\"__metadata__\":[]}", 0, TEMPERA_FORMAT, "expected an object of strings"},
        {"{\"__metadata__\":{\"a\":1}}", 0, TEMPERA_FORMAT, "expected a string"},
        {"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, TEMPERA_FORMAT, "twice"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, TEMPERA_FORMAT, "twice"},
        {"{\"__metadata__\":{\"a\":{}}}", 0, TEMPERA_FORMAT, "expected a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tempera_error err = {0};
        cr_expect_eq(parse(cases[i].header, cases[i].data, &err), cases[i].status, "%s: %s", cases[i].header,
                     err.message);
        cr_expect(strstr(err.message, cases[i].fragment), "%s: %s", cases[i].header, err.message);
        cr_expect_eq(strncmp(err.message, "m: ", 3), 0, "%s", err.message);
        cr_expect_eq(parse(cases[i].header, cases[i].data, NULL), cases[i].status);
    }
}

Test(safetensors, hostile_lengths) {
    static const unsigned char prefixes[][12] = {
        {0},                                                                  /* header of 0 bytes */
        {1, 0, 0, 0, 0, 0, 0, 0, '{', '}'},                                   /* cut inside the JSON */
        {5, 0, 0, 0, 0, 0, 0, 0, '{', '}', ' ', ' '},                         /* one byte beyond the file */
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}', ' ', ' '}, /* length + 8 wraps */
        {0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}', ' ', ' '}, /* length + 8 is 0 */
        {0x01, 0xe1, 0xf5, 0x05, 0, 0, 0, 0, '{', '}', ' ', ' '},             /* 100,000,001 */
        {0, 0, 0, 0, 0, 0, 0, 0x80, '{', '}', ' ', ' '},
    };
    tempera_error err;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        cr_expect_eq(parse_bytes(prefixes[i], 12, &err), TEMPERA_FORMAT, "case %zu", i);
    for (size_t size = 0; size < 8; size++) {
        cr_expect_eq(parse_bytes(prefixes[1], size, &err), TEMPERA_FORMAT);
        cr_expect(strstr(err.message, "expected a safetensors file"));
    }
    size_t size = 8 + (size_t)TENSOR_HEADER_MAX + 1; /* a file long enough for a header beyond the limit */
    unsigned char *large = mem_slab(size);
    memcpy(large, prefixes[5], 12);
    struct tensor_set *set;
    cr_expect_eq(tensor_set_parse(&set, large, size, "m", &err), TEMPERA_FORMAT);
    mem_slab_free(large, size);
}

/* Every prefix of a good file, and every one-byte change of its header, gives a status and nothing worse. */
Test(safetensors, truncation_and_damage) {
    struct buf b = image("{\"a\":" T("F16", "[2,1]", "[0,4]") ",\"b\":" T("I8", "[3]", "[4,7]") "}", 7);
    for (size_t size = 0; size < b.length; size++)
        cr_assert_eq(parse_bytes(b.data, size, NULL), TEMPERA_FORMAT, "cut at %zu", size);
    for (size_t at = 0; at < b.length - 7; at++)
        for (int flip = 1; flip < 256; flip += 6) {
            b.data[at] = (char)(b.data[at] ^ flip);
            (void)parse_bytes(b.data, b.length, NULL);
            b.data[at] = (char)(b.data[at] ^ flip);
        }
    cr_assert_eq(parse_bytes(b.data, b.length, NULL), TEMPERA_OK);
    buf_free(&b);
}

Test(safetensors, many_tensors_take_linear_time, .timeout = 30) {
    struct buf header = {.max = 1 << 28};
    enum { MANY = 100000 };
    cr_assert_eq(buf_append_text(&header, "{", NULL), TEMPERA_OK);
    for (int i = MANY - 1; i >= 0; i--)
        cr_assert_eq(buf_printf(&header, NULL, "\"layer.%d.weight\":" T("U8", "[1]", "[%d,%d]") "%s", i, i, i + 1,
                                i ? "," : "}"),
                     TEMPERA_OK);
    struct buf b = image(header.data, MANY);
    struct tensor_set *set;
    tempera_error err;
    cr_assert_eq(tensor_set_parse(&set, b.data, b.length, "m", &err), TEMPERA_OK, "%s", err.message);
    cr_assert_str_eq(tensor_set_at(set, 77)->name, "layer.77.weight");
    tensor_set_free(set);
    buf_free(&b);
    buf_free(&header);
}

Test(safetensors, tables_are_bounded, .timeout = 60) {
    struct buf header = {.max = 1 << 28};
    cr_assert_eq(buf_append_text(&header, "{", NULL), TEMPERA_OK);
    for (int i = 0; i <= TENSOR_MAX_COUNT; i++)
        cr_assert_eq(buf_printf(&header, NULL, "%s\"%x\":" T("U8", "[0]", "[0,0]"), i ? "," : "", i), TEMPERA_OK);
    cr_assert_eq(buf_append_text(&header, "}", NULL), TEMPERA_OK);
    tempera_error err;
    cr_assert_eq(parse(header.data, 0, &err), TEMPERA_UNSUPPORTED);
    buf_clear(&header);
    cr_assert_eq(buf_append_text(&header, "{\"__metadata__\":{", NULL), TEMPERA_OK);
    for (int i = 0; i <= TENSOR_MAX_METADATA; i++)
        cr_assert_eq(buf_printf(&header, NULL, "%s\"%x\":\"\"", i ? "," : "", i), TEMPERA_OK);
    cr_assert_eq(buf_append_text(&header, "}}", NULL), TEMPERA_OK);
    cr_assert_eq(parse(header.data, 0, &err), TEMPERA_FORMAT);
    buf_free(&header);
}

Test(safetensors, out_of_memory_at_every_point) {
    struct buf b = image("{\"__metadata__\":{\"k\":\"v\"},\"a\":" T("F16", "[2,1]", "[0,4]") "}", 4);
    struct mem_stats before = mem_stats_get();
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    for (long n = 0; status == TEMPERA_OUT_OF_MEMORY; n++) {
        struct tensor_set *set;
        mem_fail_after(n);
        status = tensor_set_parse(&set, b.data, b.length, "m", NULL);
        mem_fail_after(-1);
        tensor_set_free(set);
        cr_assert_eq(mem_stats_get().live, before.live);
    }
    cr_assert_eq(status, TEMPERA_OK);
    buf_free(&b);
}

/* Folders */

static char *folder;

static void setup(void) {
    folder = test_folder_create();
    cr_assert_not_null(folder);
}

static void teardown(void) {
    test_folder_remove(folder);
}

TestSuite(shards, .init = setup, .fini = teardown);

static void put_text(const char *name, const char *text) {
    char *path = test_write(folder, name, text, strlen(text));
    cr_assert_not_null(path);
    mem_free(path);
}

/* A shard with the one-byte tensors whose names are the letters of `names`. */
static void put_shard(const char *file, const char *names) {
    struct buf header = {.max = 10000};
    cr_assert_eq(buf_append_text(&header, "{", NULL), TEMPERA_OK);
    for (int i = 0; names[i]; i++)
        cr_assert_eq(buf_printf(&header, NULL, "%s\"%c\":" T("U8", "[1]", "[%d,%d]"), i ? "," : "", names[i], i, i + 1),
                     TEMPERA_OK);
    cr_assert_eq(buf_append_text(&header, "}", NULL), TEMPERA_OK);
    struct buf b = image(header.data, strlen(names));
    char *path = test_write(folder, file, b.data, b.length);
    cr_assert_not_null(path);
    mem_free(path);
    buf_free(&b);
    buf_free(&header);
}

static const char INDEX[] = "model.safetensors.index.json";

static void expect_open(tempera_status expected, const char *fragment) {
    struct mem_stats before = mem_stats_get();
    struct tensor_set *set;
    tempera_error err = {0};
    cr_expect_eq(tensor_set_open(&set, folder, &err), expected, "%s", err.message);
    cr_expect(strstr(err.message, fragment), "%s", err.message);
    cr_expect_eq(expected == TEMPERA_OK, set != NULL);
    tensor_set_free(set);
    cr_expect_eq(mem_stats_get().live, before.live);
}

Test(shards, nothing_there) {
    expect_open(TEMPERA_IO, "expected model.safetensors or model.safetensors.index.json, found neither");
    struct tensor_set *set;
    tempera_error err;
    cr_assert_eq(tensor_set_open(&set, "/does/not/exist", &err), TEMPERA_IO);
    cr_assert_eq(tensor_set_open_file(&set, "/does/not/exist", &err), TEMPERA_IO);
    cr_assert_null(set);
    char *path = test_write(folder, "empty", "", 0);
    cr_assert_eq(tensor_set_open_file(&set, path, &err), TEMPERA_FORMAT);
    mem_free(path);
}

Test(shards, a_single_file) {
    put_shard("model.safetensors", "xy");
    put_text(INDEX, "not even JSON"); /* the single file wins, as in transformers */
    struct tensor_set *set;
    cr_assert_eq(tensor_set_open(&set, folder, NULL), TEMPERA_OK);
    cr_assert_eq(tensor_set_count(set), 2u);
    const struct tensor_view *y = tensor_set_find(set, "y");
    cr_assert_eq(*y->data, 1);
    cr_assert(strstr(y->file, "/model.safetensors"));
    tensor_set_forget(set, y);
    cr_assert_eq(*y->data, 1);
    tensor_set_free(set);
}

Test(shards, two_shards) {
    put_shard("m-1.safetensors", "ab");
    put_shard("m-2.safetensors", "c");
    put_text(INDEX, "{\"metadata\":{\"total_size\":-5,\"x\":[{}]},\"weight_map\":{\"c\":\"m-2.safetensors\","
                    "\"a\":\"m-1.safetensors\",\"b\":\"m-1.safe\\u0074ensors\"},\"more\":[1,[2]]}");
    struct tensor_set *set;
    tempera_error err;
    cr_assert_eq(tensor_set_open(&set, folder, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tensor_set_count(set), 3u);
    cr_assert(strstr(tensor_set_find(set, "b")->file, "m-1.safetensors"));
    cr_assert(strstr(tensor_set_find(set, "c")->file, "m-2.safetensors"));
    cr_assert_eq(*tensor_set_find(set, "b")->data, 1);
    for (size_t i = 0; i < 3; i++) tensor_set_forget(set, tensor_set_at(set, i));
    cr_assert_eq(*tensor_set_find(set, "b")->data, 1);
    tensor_set_free(set);
}

Test(shards, hostile_indexes) {
    put_shard("s1", "ab");
    put_shard("s2", "c");
    put_shard("same", "ab");
    put_text("junk", "this is no safetensors file");
    char *sub = path_join(folder, "sub");
    cr_assert_eq(mkdir(sub, 0700), 0);
    mem_free(sub);
    put_shard("sub/s", "a");
    static const struct {
        const char *index;
        tempera_status status;
        const char *fragment;
    } cases[] = {
        {"", TEMPERA_FORMAT, "expected a value, found the end"},
        {"[]", TEMPERA_FORMAT, "expected an object"},
        {"{}", TEMPERA_FORMAT, "weight_map is missing"},
        {"{\"metadata\":{\"weight_map\":{}}}", TEMPERA_FORMAT, "weight_map is missing"},
        {"{\"weight_map\":[]}", TEMPERA_FORMAT, "expected an object of shard names"},
        {"{\"weight_map\":{\"a\":1}}", TEMPERA_FORMAT, "expected the name of a shard"},
        {"{\"weight_map\":{\"a\":\"s1\",\"a\":\"s1\"}}", TEMPERA_FORMAT, "twice"},
        {"{\"weight_map\":{},\"weight_map\":{}}", TEMPERA_FORMAT, "twice"},
        {"{\"weight_map\":{}} x", TEMPERA_FORMAT, "expected the end"},
        {"{\"weight_map\":{\"a\":\"../x\"}}", TEMPERA_FORMAT, "in the index's own folder"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", TEMPERA_FORMAT, "in the index's own folder"},
        {"{\"weight_map\":{\"a\":\"sub/s\"}}", TEMPERA_FORMAT, "in the index's own folder"},
        {"{\"weight_map\":{\"a\":\"\\u002e\\u002e\\u002fx\"}}", TEMPERA_FORMAT, "in the index's own folder"},
        {"{\"weight_map\":{\"a\":\"..\"}}", TEMPERA_FORMAT, "in the index's own folder"},
        {"{\"weight_map\":{\"a\":\".\"}}", TEMPERA_FORMAT, "in the index's own folder"},
        {"{\"weight_map\":{\"a\":\"\"}}", TEMPERA_FORMAT, "in the index's own folder"},
        {"{\"weight_map\":{\"a\":\"s1\\u0000\"}}", TEMPERA_FORMAT, "without \\u0000"},
        {"{\"weight_map\":{\"a\":\"gone\"}}", TEMPERA_IO, "gone: cannot open: No such file"},
        {"{\"weight_map\":{\"a\":\"sub\"}}", TEMPERA_IO, "found a folder"},
        {"{\"weight_map\":{\"a\":\"junk\"}}", TEMPERA_FORMAT, "junk: not a safetensors file"},
        {"{\"weight_map\":{\"a\":\"s1\"}}", TEMPERA_FORMAT, "s1: tensor \"b\" is not in model.safetensors.index.json"},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s1\",\"z\":\"s1\"}}", TEMPERA_FORMAT,
         "tensor \"z\" is missing from shard s1"},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s1\",\"c\":\"s1\",\"d\":\"s2\"}}", TEMPERA_FORMAT,
         "s2: tensor \"c\" should be in s1"},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s1\",\"x\":\"same\"}}", TEMPERA_FORMAT,
         "same: tensor \"a\" should be in s1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text(INDEX, cases[i].index);
        expect_open(cases[i].status, cases[i].fragment);
    }
    put_text(INDEX, "{\"weight_map\":{}}");
    expect_open(TEMPERA_OK, "");
}

Test(shards, too_many_shards) {
    struct buf b = {.max = 1 << 24};
    cr_assert_eq(buf_append_text(&b, "{\"weight_map\":{", NULL), TEMPERA_OK);
    for (int i = 0; i <= TENSOR_MAX_SHARDS; i++)
        cr_assert_eq(buf_printf(&b, NULL, "%s\"t%d\":\"s%d\"", i ? "," : "", i, i), TEMPERA_OK);
    cr_assert_eq(buf_append_text(&b, "}}", NULL), TEMPERA_OK);
    put_text(INDEX, b.data);
    buf_free(&b);
    expect_open(TEMPERA_UNSUPPORTED, "more than 4096 shards");
}

Test(shards, out_of_memory_at_every_point) {
    put_shard("s1", "ab");
    put_shard("s2", "c");
    put_text(INDEX, "{\"weight_map\":{\"a\":\"s1\",\"b\":\"s1\",\"c\":\"s2\"}}");
    struct mem_stats before = mem_stats_get();
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    for (long n = 0; status == TEMPERA_OUT_OF_MEMORY; n++) {
        struct tensor_set *set;
        mem_fail_after(n);
        status = tensor_set_open(&set, folder, NULL);
        mem_fail_after(-1);
        tensor_set_free(set);
        cr_assert_eq(mem_stats_get().live, before.live, "after %ld", n);
    }
    cr_assert_eq(status, TEMPERA_OK);
}

/* Files nobody here wrote */

static int open_all(const char *path) {
    DIR *dir = opendir(path);
    cr_assert_not_null(dir);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strstr(entry->d_name, ".safetensors")) continue;
        char *file = path_join(path, entry->d_name);
        struct tensor_set *set;
        tempera_error err;
        cr_expect_eq(tensor_set_open_file(&set, file, &err), TEMPERA_OK, "%s", err.message);
        if (set) cr_expect_geq(tensor_set_count(set), 1u);
        tensor_set_free(set);
        mem_free(file);
        count++;
    }
    closedir(dir);
    return count;
}

Test(safetensors, samples) {
    TEST_NEEDS_DATA("safetensors samples");
    char *hf = path_join(test_data(), "safetensors-samples/hf");
    char *swift = path_join(test_data(), "safetensors-samples/swift-transformers");
    cr_assert_eq(open_all(hf), 10);
    cr_assert_eq(open_all(swift), 4);
    char *path = path_join(swift, "tensor-4d-float32.safetensors");
    struct tensor_set *set;
    const struct tensor_view *v;
    cr_assert_eq(tensor_set_open_file(&set, path, NULL), TEMPERA_OK);
    cr_assert_eq(tensor_set_get(set, "embedding", 4, (size_t[]){2, 3, 1, 3}, &v, NULL), TEMPERA_OK);
    float first[4];
    memcpy(first, v->data, sizeof first);
    cr_assert_eq(first[0], 11.0f);
    cr_assert_eq(first[1], 12.0f);
    tensor_set_free(set);
    mem_free(path);
    mem_free(hf);
    mem_free(swift);
}

Test(safetensors, models) {
    TEST_NEEDS_MODELS("trained models");
    char *path = path_join(test_models(), "stories260k");
    struct tensor_set *set;
    tempera_error err;
    cr_assert_eq(tensor_set_open(&set, path, &err), TEMPERA_OK, "%s", err.message);
    const struct tensor_view *v;
    cr_assert_eq(tensor_set_get(set, "model.embed_tokens.weight", 2, (size_t[]){512, 64}, &v, &err), TEMPERA_OK, "%s",
                 err.message);
    tensor_set_free(set);
    mem_free(path);
}
