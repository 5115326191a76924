/* pool.h: a fixed pool of threads that runs one parallel loop at a time. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/status.h"

struct pool;

/* `threads` >= 1 counts the caller: pool_run uses threads-1 workers and the calling thread. Workers spin briefly between
 * loops (a decode step starts hundreds of loops) and then sleep. */
tempera_status pool_create(struct pool **pool, int threads, tempera_error *err);
void pool_free(struct pool *pool); /* joins the workers; NULL is fine */
int pool_threads(const struct pool *pool);

/* Runs body(arg, part, parts) for part = 0 … parts-1 and returns when all are done; parts may be larger than the number
 * of threads, parts are taken in ascending order by whichever thread is free. Allocates nothing. Not reentrant; one
 * calling thread at a time. The body must not depend on which thread runs it. */
typedef void pool_body(void *arg, int part, int parts);
void pool_run(struct pool *pool, pool_body *body, void *arg, int parts);

/* Processors this process may use (affinity and cgroup quota respected), at least 1. */
int pool_available_processors(void);
/* The cgroup's share of that, from a file like /proc/self/cgroup and the cgroup mount; 0 = no quota. Apart for tests. */
int pool_quota_processors(const char *proc_cgroup, const char *root);

#endif
