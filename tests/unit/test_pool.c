/* test_pool.c: every part runs once, whatever the numbers of threads and parts; quotas are read. (Races:
 * tests/tsan.) */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "support.h"

enum { MAX_PARTS = 500 };

struct tally {
    atomic_int runs[MAX_PARTS];
    atomic_int wrong;
    int parts;
};

static void count_part(void *arg, int part, int parts) {
    struct tally *t = arg;
    if (parts != t->parts || part < 0 || part >= parts)
        atomic_fetch_add(&t->wrong, 1);
    else
        atomic_fetch_add(&t->runs[part], 1);
}

Test(pool, every_part_runs_once, .timeout = 60) {
    static const int parts[] = {0, 1, 2, 3, 7, 64, MAX_PARTS};
    for (int threads = 1; threads <= 9; threads += 2) {
        struct pool *pool;
        cr_assert_eq(pool_create(&pool, threads, NULL), TEMPERA_OK);
        cr_assert_eq(pool_threads(pool), threads);
        for (int round = 0; round < 50; round++)
            for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
                struct tally t = {.parts = parts[i]};
                pool_run(pool, count_part, &t, parts[i]);
                cr_assert_eq(t.wrong, 0);
                for (int k = 0; k < MAX_PARTS; k++) cr_assert_eq(t.runs[k], k < parts[i], "part %d", k);
            }
        pool_free(pool);
    }
}

static void add_square(void *arg, int part, int parts) {
    (void)parts;
    ((long *)arg)[part] += (long)part * part; /* plain writes: pool_run must publish them */
}

Test(pool, results_are_visible_and_workers_wake_from_sleep, .timeout = 60) {
    struct pool *pool;
    cr_assert_eq(pool_create(&pool, 4, NULL), TEMPERA_OK);
    long sums[40] = {0};
    for (int round = 1; round <= 20; round++) {
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* longer than workers spin */
        pool_run(pool, add_square, sums, 40);
        for (int k = 0; k < 40; k++) cr_assert_eq(sums[k], (long)round * k * k);
    }
    pool_free(pool);
}

static void uneven(void *arg, int part, int parts) {
    (void)parts;
    if (part == 0) nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    atomic_fetch_add((atomic_int *)arg, 1);
}

Test(pool, waits_for_a_slow_part, .timeout = 60) {
    struct pool *pool;
    cr_assert_eq(pool_create(&pool, 3, NULL), TEMPERA_OK);
    for (int round = 0; round < 20; round++) {
        atomic_int done = 0;
        pool_run(pool, uneven, &done, 5);
        cr_assert_eq(done, 5);
    }
    pool_free(pool);
}

static void nothing(void *arg, int part, int parts) {
    (void)arg;
    (void)part;
    (void)parts;
}

Test(pool, a_loop_allocates_nothing) {
    struct pool *pool;
    cr_assert_eq(pool_create(&pool, 2, NULL), TEMPERA_OK);
    size_t calls = mem_stats_get().calls;
    for (int i = 0; i < 100; i++) pool_run(pool, nothing, NULL, 8);
    cr_assert_eq(mem_stats_get().calls, calls);
    pool_free(pool);
}

Test(pool, create_and_free_without_work, .timeout = 60) {
    for (int i = 0; i < 200; i++) {
        struct pool *pool;
        cr_assert_eq(pool_create(&pool, 1 + i % 6, NULL), TEMPERA_OK);
        pool_free(pool);
    }
    pool_free(NULL);
}

Test(pool, bad_arguments_and_memory) {
    struct pool *pool;
    tempera_error err;
    cr_assert_eq(pool_create(&pool, 0, &err), TEMPERA_INVALID_ARGUMENT);
    cr_assert_null(pool);
    cr_assert_eq(pool_create(&pool, 1 << 20, &err), TEMPERA_INVALID_ARGUMENT);
    mem_fail_after(0);
    tempera_status status = pool_create(&pool, 2, &err);
    mem_fail_after(-1);
    cr_assert_eq(status, TEMPERA_OUT_OF_MEMORY);
    cr_assert_geq(pool_available_processors(), 1);
}

static char *folder;

static void setup(void) {
    folder = test_folder_create();
    cr_assert_not_null(folder);
}

static void teardown(void) {
    test_folder_remove(folder);
}

TestSuite(quota, .init = setup, .fini = teardown);

static void put(const char *name, const char *text) {
    char *path = test_write(folder, name, text, strlen(text));
    cr_assert_not_null(path);
    mem_free(path);
}

static int quota(const char *proc) {
    char *path = test_write(folder, "proc", proc, strlen(proc));
    int count = pool_quota_processors(path, folder);
    mem_free(path);
    return count;
}

static void subfolder(const char *name) {
    char *path = path_join(folder, name);
    cr_assert_eq(mkdir(path, 0700), 0);
    mem_free(path);
}

Test(quota, version_2) {
    cr_assert_eq(quota("0::/\n"), 0);
    put("cpu.max", "max 100000\n");
    cr_assert_eq(quota("0::/\n"), 0);
    put("cpu.max", "150000 100000\n");
    cr_assert_eq(quota("0::/\n"), 2);
    cr_assert_eq(quota("0::/not/visible/here\n"), 2); /* a limit above binds below */
    subfolder("job");
    put("job/cpu.max", "100000 100000\n");
    cr_assert_eq(quota("0::/job\n"), 1);
    put("job/cpu.max", "400000 100000\n");
    cr_assert_eq(quota("0::/job/deeper\n"), 2);
    cr_assert_eq(quota("0::/../job\n"), 0);
}

Test(quota, version_1) {
    subfolder("cpu");
    put("cpu/cpu.cfs_quota_us", "-1\n");
    put("cpu/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(quota("3:memory:/x\n2:cpu,cpuacct:/docker/abc\n"), 0);
    put("cpu/cpu.cfs_quota_us", "300000\n");
    cr_assert_eq(quota("3:memory:/x\n2:cpu,cpuacct:/docker/abc\n"), 3);
    cr_assert_eq(quota("2:cpuset:/\n"), 0);
}

Test(quota, nonsense) {
    static const char *const texts[] = {"", "\n", ":", "::", "0::", "x", "0::/\n0::/\n", "9:cpu", "0::relative/path"};
    put("cpu.max", "99999999999999999999 1");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) cr_assert_eq(quota(texts[i]), 0, "%s", texts[i]);
    put("cpu.max", "5 0");
    cr_assert_eq(quota("0::/"), 0);
    cr_assert_eq(pool_quota_processors("/does/not/exist", folder), 0);
}
