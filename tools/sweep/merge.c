/* merge.c: joins databases by SQL over an attached one. */
#include "merge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "forks.h"
#include "store_internal.h"

/* ---- one into another ---- */

/* Checks `path` as every database is checked. */
static int check_part(const char *path) {
    struct store *part;
    int status = store_open(&part, path, STORE_READ);
    if (!status) status = store_check(part);
    store_close(part);
    return status;
}

/* For reading only: a transaction of the store does not wait for the part's writers, nor make them wait. */
static int attach(struct store *store, const char *path) {
    sqlite3_stmt *statement;
    struct strbuf uri = {0};
    int status = store_prepare(store, &statement, "ATTACH DATABASE ? AS part");
    if (status) return status;
    store_uri(&uri, path, "?mode=ro");
    store_bind_text(statement, 1, uri.data);
    status = store_finish(store, statement);
    strbuf_free(&uri);
    return status;
}

/* What both manifests have must be equal, but model and device_name, which are names only; what one lacks it gets. */
static int merge_manifest(struct store *store, const char *path) {
    sqlite3_stmt *statement;
    int row, status = store_prepare(store, &statement,
                                    "SELECT p.key, p.value, m.value FROM part.manifest p JOIN main.manifest m"
                                    " ON m.key = p.key WHERE p.key NOT IN ('model', 'device_name')"
                                    " AND p.value <> m.value");
    if (status) return status;
    if ((row = store_next_row(store, statement)) > 0)
        status =
            complain(EXIT_FAILED, "%s and %s are not of one sweep: their %s is %s and %s", path, store->path,
                     (const char *)sqlite3_column_text(statement, 0), (const char *)sqlite3_column_text(statement, 1),
                     (const char *)sqlite3_column_text(statement, 2));
    sqlite3_finalize(statement);
    if (row < 0) return EXIT_FAILED;
    if (status) return status;
    return store_execute(store, "INSERT OR IGNORE INTO main.manifest SELECT * FROM part.manifest;"
                                "INSERT OR IGNORE INTO main.prompts SELECT * FROM part.prompts");
}

static int merge_points(struct store *store) {
    struct strbuf sql = {0};
    /* New points in the part's order, after those that are there. */
    strbuf_text(&sql, "INSERT INTO main.points(point, ");
    store_point_columns(&sql);
    strbuf_text(&sql,
                ") SELECT (SELECT ifnull(max(point) + 1, 0) FROM main.points) + row_number() OVER (ORDER BY point)"
                " - 1, ");
    store_point_columns(&sql);
    strbuf_text(&sql,
                " FROM part.points WHERE key NOT IN (SELECT key FROM main.points);"
                "UPDATE main.points SET samples = max(samples, (SELECT p.samples FROM part.points p"
                " WHERE p.key = main.points.key)) WHERE key IN (SELECT key FROM part.points);"
                "CREATE TEMP TABLE IF NOT EXISTS place(old INTEGER PRIMARY KEY, new INTEGER);"
                "DELETE FROM place;"
                "INSERT INTO place SELECT p.point, m.point FROM part.points p JOIN main.points m ON m.key = p.key");
    int status = store_execute(store, sql.data);
    strbuf_free(&sql);
    return status;
}

static int refuse_conflicts(struct store *store, const char *path) {
    sqlite3_stmt *statement;
    int status =
        store_prepare(store, &statement,
                      "SELECT s.prompt, s.point, s.sample FROM part.samples s JOIN place ON place.old = s.point"
                      " JOIN main.samples m ON m.prompt = s.prompt AND m.point = place.new AND m.sample = s.sample"
                      " WHERE (m.tokens, m.text, m.finish, m.error, m.stats) IS NOT"
                      " (s.tokens, s.text, s.finish, s.error, s.stats) LIMIT 1");
    if (status) return status;
    int row = store_next_row(store, statement);
    if (row > 0)
        status = complain(EXIT_FAILED,
                          "%s and %s have different samples under one key: prompt %lld, point %lld, sample %lld", path,
                          store->path, (long long)sqlite3_column_int64(statement, 0),
                          (long long)sqlite3_column_int64(statement, 1), (long long)sqlite3_column_int64(statement, 2));
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : status;
}

static const char merge_samples[] =
    "INSERT OR IGNORE INTO main.samples SELECT s.prompt, place.new, s.sample, s.tokens, s.text, s.finish, s.error, "
    "s.stats,"
    " NULL, s.verdict, s.output FROM part.samples s JOIN place ON place.old = s.point;"
    "UPDATE main.samples SET verdict = s.verdict, output = s.output FROM part.samples s JOIN place ON place.old = "
    "s.point"
    " WHERE main.samples.verdict IS NULL AND s.verdict IS NOT NULL AND main.samples.prompt = s.prompt"
    " AND main.samples.point = place.new AND main.samples.sample = s.sample;"
    "INSERT INTO main.runs(started, build, command, seconds, samples, generated_tokens, row_steps, prompt_tokens)"
    " SELECT started, build, command, seconds, samples, generated_tokens, row_steps, prompt_tokens FROM part.runs"
    " EXCEPT SELECT started, build, command, seconds, samples, generated_tokens, row_steps, prompt_tokens FROM "
    "main.runs";

/* Of the prompts that the part has samples of. */
static int update_part_forks(struct store *store) {
    sqlite3_stmt *statement;
    int32_t *prompts = NULL;
    size_t count = 0;
    int row, status = store_prepare(store, &statement, "SELECT DISTINCT prompt FROM part.samples");
    if (status) return status;
    while ((row = store_next_row(store, statement)) > 0) {
        if ((count & (count + 1)) == 0) prompts = xgrow(prompts, 2 * count + 1, sizeof *prompts);
        prompts[count++] = sqlite3_column_int(statement, 0);
    }
    sqlite3_finalize(statement);
    if (row < 0) status = EXIT_FAILED;
    for (size_t i = 0; i < count && !status; i++) status = forks_update(store, prompts[i]);
    free(prompts);
    return status;
}

static int merge_attached(struct store *store, const char *path) {
    int status = store_begin(store);
    if (!status) status = merge_manifest(store, path);
    if (!status) status = merge_points(store);
    if (!status) status = refuse_conflicts(store, path);
    if (!status) status = store_execute(store, merge_samples);
    if (!status) status = update_part_forks(store);
    if (!status) status = store_commit(store);
    if (status) store_rollback(store);
    return status;
}

int merge_into(struct store *store, const char *path) {
    int status = check_part(path);
    if (!status) status = attach(store, path); /* not possible inside a transaction */
    if (status) return status;
    status = merge_attached(store, path);
    int detached = store_execute(store, "DETACH DATABASE part");
    return status ? status : detached;
}

/* A new database grows under another name, so that a failure leaves none. */
int merge_files(const char *out, const char *const *paths, size_t count, int64_t *samples) {
    struct strbuf path = {0};
    struct store *store = NULL;
    bool fresh = access(out, F_OK) != 0;
    strbuf_printf(&path, "%s%s", out, fresh ? ".new" : "");
    if (fresh) unlink(path.data); /* what a killed merge left */
    int status = store_open(&store, path.data, STORE_CREATE);
    if (!status) status = store_begin(store); /* creates the schema */
    if (!status) status = store_commit(store);
    for (size_t i = 0; i < count && !status; i++) status = merge_into(store, paths[i]);
    if (!status) status = store_count_samples(store, samples);
    bool opened = store != NULL;
    store_close(store);
    if (fresh && status && opened) unlink(path.data);
    if (fresh && !status && rename(path.data, out) != 0) status = complain(EXIT_FAILED, "%s: %s", out, strerror(errno));
    strbuf_free(&path);
    return status;
}

/* ---- the parts of a launcher's processes ---- */

static char *part_path(const char *out, const struct shard *shard, int32_t index, const char *end) {
    struct strbuf path = {0};
    strbuf_printf(&path, "%s.part-%d-of-%d%s", out, (int)index + 1, (int)shard->count, end);
    return path.data;
}

/* A part that is being made has another name than one that is complete. */
int part_open(struct store **store, const char *out, const struct shard *shard) {
    char *partial = part_path(out, shard, shard->index, ".partial"), *whole = part_path(out, shard, shard->index, "");
    bool fresh = access(partial, F_OK) != 0 && rename(whole, partial) != 0;
    int status = store_open(store, partial, STORE_CREATE);
    if (!status && fresh && access(out, F_OK) == 0) { /* what is merged already need not be made again */
        status = store_begin(*store);
        if (!status) status = store_commit(*store);
        if (!status) status = merge_into(*store, out);
    }
    free(partial);
    free(whole);
    return status;
}

static int merge_parts(const char *out, const struct shard *shard, bool quiet) {
    size_t count = (size_t)shard->count;
    char **paths = xarray(count, sizeof *paths);
    bool all = true;
    int64_t samples = 0;
    int status = EXIT_DONE;
    for (size_t i = 0; i < count; i++) {
        paths[i] = part_path(out, shard, (int32_t)i, "");
        all = all && access(paths[i], F_OK) == 0;
    }
    if (all) {
        status = merge_files(out, (const char *const *)paths, count, &samples);
        for (size_t i = 0; i < count && !status; i++)
            if (unlink(paths[i]) != 0) status = complain(EXIT_FAILED, "%s: %s", paths[i], strerror(errno));
        if (!status && !quiet)
            fprintf(stderr, "tempera: %zu parts merged into %s, which holds %lld samples\n", count, out,
                    (long long)samples);
    }
    for (size_t i = 0; i < count; i++) free(paths[i]);
    free(paths);
    return status;
}

/* Each process names its part complete and then looks whether all are, one at a time: so the last one sees that they are,
 * and those before it that they are not. */
int part_finish(const char *out, const struct shard *shard, bool quiet) {
    struct strbuf path = {0};
    strbuf_printf(&path, "%s.merging", out);
    int status = EXIT_DONE;
    int lock = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) status = complain(EXIT_FAILED, "%s: %s", path.data, strerror(errno));
    if (!status) {
        char *partial = part_path(out, shard, shard->index, ".partial"),
             *whole = part_path(out, shard, shard->index, "");
        if (rename(partial, whole) != 0)
            status = complain(EXIT_FAILED, "%s: %s", partial, strerror(errno));
        else
            status = merge_parts(out, shard, quiet);
        if (!status && access(whole, F_OK) != 0) unlink(path.data); /* merged */
        free(partial);
        free(whole);
    }
    if (lock >= 0) close(lock);
    strbuf_free(&path);
    return status;
}
