/* processors.c: how many processors this process may really use. A container's limit is a cgroup quota that
 * sysconf(_SC_NPROCESSORS_ONLN) does not know; a pool larger than the quota is throttled in the middle of its
 * loops. */
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT_S */
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"

enum { CGROUP_FILE_MAX = 64 << 10, CPU_SET_WORDS = 16 /* 16 * 1024 processors */ };

static int affinity_processors(void) {
    cpu_set_t sets[CPU_SET_WORDS];
    memset(sets, 0, sizeof sets);
    if (sched_getaffinity(0, sizeof sets, sets) == 0) return CPU_COUNT_S(sizeof sets, sets);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT_MAX ? (int)online : 1;
}

/* Text of folder/name, owned by the caller; NULL when there is none. */
static char *read_small(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    char *text = NULL;
    size_t length;
    if (path) (void)file_read(path, CGROUP_FILE_MAX, &text, &length, NULL);
    mem_free(path);
    return text;
}

/* ceil(quota / period), 0 when either is not a positive number: cgroup v1 writes -1 for "no limit", v2 "max".
 */
static int quota_processors(const char *quota, const char *period) {
    long long q = quota ? strtoll(quota, NULL, 10) : 0;
    long long p = period ? strtoll(period, NULL, 10) : 0;
    if (q <= 0 || p <= 0 || q / p >= INT_MAX) return 0;
    return (int)(q / p + (q % p != 0));
}

/* The quota that one cgroup folder sets, in either version's files. */
static int folder_processors(const char *folder) {
    char *max = read_small(folder, "cpu.max"); /* v2: "QUOTA PERIOD" */
    const char *period = max ? strchr(max, ' ') : NULL;
    int count = quota_processors(max, period);
    mem_free(max);
    char *quota_us = read_small(folder, "cpu.cfs_quota_us"); /* v1 */
    char *period_us = read_small(folder, "cpu.cfs_period_us");
    int count_v1 = quota_processors(quota_us, period_us);
    mem_free(quota_us);
    mem_free(period_us);
    return count ? count : count_v1;
}

static int smaller_quota(int a, int b) {
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

/* The tightest quota on the way from root/path up to root: a limit binds all folders below it, and inside a
 * container only the root may be visible while `path` is the host's. Cuts `path` as it climbs. */
static int chain_processors(const char *root, char *path) {
    int count = 0;
    for (;;) {
        char *folder = path_join(root, path[0] == '/' ? path + 1 : path);
        if (!folder) return count;
        count = smaller_quota(count, folder_processors(folder));
        mem_free(folder);
        char *slash = strrchr(path, '/');
        if (!slash) return count;
        if (slash == path && path[1] == 0) return count;
        slash[slash == path ? 1 : 0] = 0;
    }
}

/* One line "ID:CONTROLLERS:PATH": v2 has no controllers, v1 mounts them at root/CONTROLLERS (or its link
 * root/cpu). */
static int line_processors(char *line, const char *root) {
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) return 0;
    *controllers++ = 0;
    *path++ = 0;
    if (strstr(path, "..")) return 0; /* outside our cgroup namespace */
    if (controllers[0] == 0) return chain_processors(root, path);
    if (strcmp(controllers, "cpu") != 0 && strncmp(controllers, "cpu,", 4) != 0 && !strstr(controllers, ",cpu"))
        return 0;
    char *mount = path_join(root, "cpu");
    int count = mount ? chain_processors(mount, path) : 0;
    mem_free(mount);
    return count;
}

int pool_quota_processors(const char *proc_cgroup, const char *root) {
    char *text = NULL;
    size_t length;
    if (file_read(proc_cgroup, CGROUP_FILE_MAX, &text, &length, NULL) != TEMPERA_OK) return 0;
    int count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        count = smaller_quota(count, line_processors(line, root));
    mem_free(text);
    return count;
}

int pool_available_processors(void) {
    int count = affinity_processors();
    int quota = pool_quota_processors("/proc/self/cgroup", "/sys/fs/cgroup");
    count = smaller_quota(count, quota);
    return count < 1 ? 1 : count;
}
