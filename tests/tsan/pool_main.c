/* pool_main.c: the thread pool (and the other shared state of base) under ThreadSanitizer. A plain main,
 * because Criterion does not start under TSan. Returns 0 when all sums are right; TSan makes it 66 when there
 * was a race. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/pool.h"

enum { PARTS = 64, LOOPS = 3000 };

struct work {
    long sums[PARTS];  /* plain: only pool_run orders these accesses */
    const long *input; /* written by the caller between loops */
};

static void add_input(void *arg, int part, int parts) {
    struct work *w = arg;
    w->sums[part] += *w->input + part * parts;
}

static int check_pool(int threads, int parts) {
    struct pool *pool;
    if (pool_create(&pool, threads, NULL) != TEMPERA_OK) return 1;
    long input = 0, expected = 0;
    struct work w = {.input = &input};
    for (int i = 0; i < LOOPS; i++) {
        input = i;
        if (i % 500 == 0) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* let the workers fall asleep */
        pool_run(pool, add_input, &w, parts);
        expected += i;
    }
    int wrong = 0;
    for (int k = 0; k < parts; k++) wrong += w.sums[k] != expected + (long)LOOPS * k * parts;
    pool_free(pool);
    if (wrong) fprintf(stderr, "%d threads, %d parts: %d sums are wrong\n", threads, parts, wrong);
    return wrong != 0;
}

static void *allocate(void *arg) {
    for (int i = 0; i < 2000; i++) {
        void *p = mem_realloc(mem_alloc(10), 20);
        *(unsigned long *)arg += (unsigned long)map_hash(&i, sizeof i) & 1;
        mem_free(p);
    }
    return NULL;
}

/* Allocation counters and the hash's first seeding, from four threads at once. */
static int check_shared_state(void) {
    size_t live = mem_stats_get().live;
    pthread_t threads[4];
    unsigned long sums[4] = {0};
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, allocate, &sums[i]) != 0) return 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 1; i < 4; i++)
        if (sums[i] != sums[0]) return 1;
    return mem_stats_get().live != live;
}

int main(void) {
    int wrong = check_shared_state();
    static const int threads[] = {1, 2, 3, 8};
    static const int parts[] = {1, 2, 7, PARTS};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++)
        for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) wrong |= check_pool(threads[i], parts[k]);
    return wrong;
}
