/* test_file.c: reading and mapping, and what is not a file. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "support.h"

static char *folder;

static void setup(void) {
    folder = test_folder_create();
    cr_assert_not_null(folder);
}

static void teardown(void) {
    test_folder_remove(folder);
}

TestSuite(file, .init = setup, .fini = teardown);

Test(file, join) {
    static const struct {
        const char *folder, *name, *path;
    } cases[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}, {"a", "", "a/"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *path = path_join(cases[i].folder, cases[i].name);
        cr_assert_str_eq(path, cases[i].path);
        mem_free(path);
    }
    mem_fail_after(0);
    cr_assert_null(path_join("a", "b"));
    mem_fail_after(-1);
}

Test(file, read_and_map_agree) {
    char bytes[10000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 31);
    char *path = test_write(folder, "data", bytes, sizeof bytes);
    char *text;
    size_t length;
    cr_assert_eq(file_read(path, sizeof bytes, &text, &length, NULL), TEMPERA_OK);
    cr_assert_eq(length, sizeof bytes);
    cr_assert_eq(memcmp(text, bytes, length), 0);
    cr_assert_eq(text[length], 0);
    mem_free(text);
    struct file_map map;
    cr_assert_eq(file_map_open(&map, path, NULL), TEMPERA_OK);
    cr_assert_eq(map.size, sizeof bytes);
    cr_assert_eq(memcmp(map.data, bytes, map.size), 0);
    file_map_forget(&map, 0, map.size);
    file_map_forget(&map, 5000, 5000);
    file_map_forget(&map, 20000, 5);
    file_map_forget(&map, 9999, SIZE_MAX);
    cr_assert_eq(memcmp(map.data, bytes, map.size), 0); /* forgetting only drops a cache */
    file_map_close(&map);
    cr_assert_null(map.data);
    file_map_close(&map);
    mem_free(path);
}

Test(file, empty) {
    char *path = test_write(folder, "empty", "", 0);
    char *text;
    size_t length;
    cr_assert_eq(file_read(path, 0, &text, &length, NULL), TEMPERA_OK);
    cr_assert_str_eq(text, "");
    mem_free(text);
    struct file_map map;
    cr_assert_eq(file_map_open(&map, path, NULL), TEMPERA_OK);
    cr_assert(map.data == NULL && map.size == 0);
    file_map_close(&map);
    mem_free(path);
}

Test(file, the_maximum) {
    char *path = test_write(folder, "five", "12345", 5);
    char *text;
    size_t length;
    tempera_error err;
    cr_assert_eq(file_read(path, 5, &text, &length, &err), TEMPERA_OK);
    mem_free(text);
    cr_assert_eq(file_read(path, 4, &text, &length, &err), TEMPERA_TOO_LONG);
    cr_assert_null(text);
    cr_assert_not_null(strstr(err.message, path));
    mem_free(path);
}

Test(file, proc_files_claim_to_be_empty) {
    char *text;
    size_t length;
    cr_assert_eq(file_read("/proc/self/status", 1 << 20, &text, &length, NULL), TEMPERA_OK);
    cr_assert_gt(length, 0u);
    mem_free(text);
    tempera_error err;
    cr_assert_eq(file_read("/proc/self/status", 3, &text, &length, &err), TEMPERA_TOO_LONG);
}

static void expect_io(const char *path, const char *reason) {
    tempera_error err;
    char *text;
    size_t length;
    struct file_map map;
    cr_assert_eq(file_read(path, 100, &text, &length, &err), TEMPERA_IO);
    cr_assert(strstr(err.message, path) && strstr(err.message, reason), "%s", err.message);
    cr_assert_eq(file_map_open(&map, path, &err), TEMPERA_IO);
    cr_assert(strstr(err.message, path) && strstr(err.message, reason), "%s", err.message);
    cr_assert_null(map.data);
}

Test(file, what_is_no_regular_file) {
    char *missing = path_join(folder, "missing");
    expect_io(missing, "No such file");
    expect_io(folder, "folder");
    expect_io("/dev/zero", "device");
    char *fifo = path_join(folder, "fifo");
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    expect_io(fifo, "pipe"); /* and it does not wait for a writer */
    cr_assert(folder_exists(folder) && !file_exists(folder));
    cr_assert(!file_exists(missing) && !folder_exists(missing) && !file_exists(fifo));
    char *path = test_write(folder, "x", "x", 1);
    cr_assert(file_exists(path) && !folder_exists(path));
    char *through = path_join(path, "below");
    expect_io(through, "Not a directory");
    mem_free(missing);
    mem_free(fifo);
    mem_free(path);
    mem_free(through);
}

/* Kilobytes of mapped files in our resident set. */
static long resident_file_kb(void) {
    char *text;
    size_t length;
    cr_assert_eq(file_read("/proc/self/status", 1 << 20, &text, &length, NULL), TEMPERA_OK);
    const char *line = strstr(text, "RssFile:");
    cr_assert_not_null(line);
    long kb = strtol(line + strlen("RssFile:"), NULL, 10);
    mem_free(text);
    return kb;
}

Test(file, pages_come_and_go_in_one_call) {
    enum { SIZE = (8 << 20) + 5 };
    char *bytes = malloc(SIZE);
    for (int i = 0; i < SIZE; i++) bytes[i] = (char)(i * 7 + i / 4096);
    char *path = test_write(folder, "large", bytes, SIZE);
    struct file_map map;
    cr_assert_eq(file_map_open(&map, path, NULL), TEMPERA_OK);
    long before = resident_file_kb();
    file_pages_fetch(map.data + 3, SIZE - 3);
    for (int i = 0; i < SIZE; i += 4096)
        cr_assert_eq((char)map.data[i], bytes[i]); /* where the kernel lacks the call */
    cr_assert_geq(resident_file_kb() - before, 8000);
    file_pages_release(map.data + 3, SIZE - 3);
    cr_assert_leq(resident_file_kb() - before, 1000);
    cr_assert(memcmp(map.data, bytes, SIZE) == 0); /* they come back */
    file_pages_fetch(map.data, 0);
    file_pages_release(map.data, 0);
    file_map_close(&map);
    mem_free(path);
    free(bytes);
}

Test(file, out_of_memory) {
    char *path = test_write(folder, "y", "yyyy", 4);
    char *text;
    size_t length;
    mem_fail_after(0);
    tempera_status status = file_read(path, 100, &text, &length, NULL);
    mem_fail_after(-1);
    cr_assert_eq(status, TEMPERA_OUT_OF_MEMORY);
    mem_free(path);
}
