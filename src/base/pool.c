/* pool.c: the parallel loop.
 *
 * One word, `left`, is the whole hand-over: it holds the number of parts not yet taken, and a thread takes a
 * part by decrementing it with compare-and-swap. A thread that won a part knows that pool_run cannot return
 * before that part is done, so the plain fields of the loop are stable while it reads them; a late thread
 * that wins nothing reads nothing. Hence no generation numbers and no barrier at which idle threads would
 * have to show up. */
#include "base/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    POOL_MAX_THREADS = 1024,
    POOL_STOP = -1,       /* value of `left` that ends the workers */
    POOL_SPIN_NS = 80000, /* longer than the serial gaps of a decode step, shorter than a time slice */
    CACHE_LINE = 64
};

/* The words that different threads write are kept on lines of their own. */
struct pool {
    atomic_int left; /* parts not yet taken, or POOL_STOP */
    char pad0[CACHE_LINE - sizeof(atomic_int)];
    atomic_int pending; /* parts not yet finished */
    char pad1[CACHE_LINE - sizeof(atomic_int)];
    atomic_int sleepers;       /* workers asleep, or about to be, on `left` */
    atomic_bool caller_asleep; /* pool_run is asleep, or about to be, on `pending` */
    char pad2[CACHE_LINE - sizeof(atomic_int) - sizeof(atomic_bool)];
    pool_body *body; /* the loop: written by pool_run before `left` is */
    void *arg;
    int parts;
    int threads;
    int started; /* workers that run */
    long spin_ns;
    pthread_t workers[];
};

_Static_assert(sizeof(atomic_int) == sizeof(int), "futex words are plain ints");

/* Sleeps while *word == expected, until woken; may return early. The word is re-read by the kernel under its
 * lock, so a change between our check and the sleep is not missed. */
static void futex_sleep(atomic_int *word, int expected) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(atomic_int *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static inline void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static long elapsed_ns(const struct timespec *start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)(now.tv_sec - start->tv_sec) * 1000000000L + (now.tv_nsec - start->tv_nsec);
}

/* Spins until *word differs from `value` or the budget is spent; true when it differs. */
static bool spin_while(atomic_int *word, int value, long budget_ns) {
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(word, memory_order_relaxed) != value) return true;
            cpu_pause();
        }
    } while (elapsed_ns(&start) < budget_ns);
    return atomic_load_explicit(word, memory_order_relaxed) != value;
}

/* Takes and runs parts until none is left; returns how many this thread ran. */
static int run_parts(struct pool *p) {
    int ran = 0;
    int left = atomic_load_explicit(&p->left, memory_order_relaxed);
    while (left > 0) {
        if (!atomic_compare_exchange_weak_explicit(&p->left, &left, left - 1, memory_order_acquire,
                                                   memory_order_relaxed))
            continue;
        p->body(p->arg, p->parts - left, p->parts);
        ran++;
        left = atomic_load_explicit(&p->left, memory_order_relaxed);
    }
    return ran;
}

/* The order of the sequentially consistent pair (write own word, then read the other's) is what makes it
 * impossible that both the sleeper misses the work and the waker misses the sleeper. */
static void wait_for_work(struct pool *p) {
    if (spin_while(&p->left, 0, p->spin_ns)) return;
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->left) == 0) futex_sleep(&p->left, 0);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void *worker_main(void *arg) {
    struct pool *p = arg;
    for (;;) {
        wait_for_work(p);
        if (atomic_load_explicit(&p->left, memory_order_relaxed) == POOL_STOP) return NULL;
        int ran = run_parts(p);
        if (ran > 0 && atomic_fetch_sub(&p->pending, ran) == ran && atomic_load(&p->caller_asleep))
            futex_wake(&p->pending, 1);
    }
}

/* Waits until `pending` is 0: at first by spinning, because the others are about to finish too. */
static void wait_for_others(struct pool *p) {
    int pending = atomic_load_explicit(&p->pending, memory_order_acquire);
    while (pending != 0 && spin_while(&p->pending, pending, p->spin_ns))
        pending = atomic_load_explicit(&p->pending, memory_order_acquire);
    if (pending == 0) return;
    atomic_store(&p->caller_asleep, true);
    while ((pending = atomic_load(&p->pending)) != 0) futex_sleep(&p->pending, pending);
    atomic_store_explicit(&p->caller_asleep, false, memory_order_relaxed);
}

void pool_run(struct pool *p, pool_body *body, void *arg, int parts) {
    if (p->threads == 1 || parts <= 1) {
        for (int part = 0; part < parts; part++) body(arg, part, parts);
        return;
    }
    p->body = body;
    p->arg = arg;
    p->parts = parts;
    atomic_store_explicit(&p->pending, parts, memory_order_relaxed);
    atomic_store(&p->left, parts); /* publishes the four writes above */
    int sleepers = atomic_load(&p->sleepers);
    if (sleepers > 0) futex_wake(&p->left, sleepers < parts - 1 ? sleepers : parts - 1);
    int ran = run_parts(p);
    if (ran == 0 || atomic_fetch_sub_explicit(&p->pending, ran, memory_order_acq_rel) != ran) wait_for_others(p);
}

static void stop_workers(struct pool *p) {
    atomic_store(&p->left, POOL_STOP);
    futex_wake(&p->left, INT_MAX);
    for (int i = 0; i < p->started; i++) pthread_join(p->workers[i], NULL);
}

tempera_status pool_create(struct pool **pool, int threads, tempera_error *err) {
    *pool = NULL;
    if (threads < 1 || threads > POOL_MAX_THREADS)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "threads: expected 1 to %d, found %d", POOL_MAX_THREADS, threads);
    size_t bytes = sizeof(struct pool) + (size_t)threads * sizeof(pthread_t);
    struct pool *p = mem_array(1, bytes);
    if (!p) return fail_memory(err, bytes, "the thread pool");
    p->threads = threads;
    /* With more threads than processors a spinning thread holds up the one it waits for. */
    p->spin_ns = threads <= pool_available_processors() ? POOL_SPIN_NS : 0;

    sigset_t all, before; /* signals belong to the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = 0;
    while (code == 0 && p->started < threads - 1) {
        code = pthread_create(&p->workers[p->started], NULL, worker_main, p);
        if (code == 0) p->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        fail(err, TEMPERA_OUT_OF_MEMORY, "thread %d of %d could not be started (error %d)", p->started + 2, threads,
             code);
        pool_free(p);
        return TEMPERA_OUT_OF_MEMORY;
    }
    *pool = p;
    return TEMPERA_OK;
}

void pool_free(struct pool *p) {
    if (!p) return;
    stop_workers(p);
    mem_free(p);
}

int pool_threads(const struct pool *p) {
    return p->threads;
}
