/* store.c: the database of a sweep over SQLite. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_internal.h"

enum { APPLICATION_ID = 0x746d7072, SCHEMA_VERSION = 1 };

const char *store_path(const struct store *store) {
    return store->path;
}

/* ---- statements ---- */

int store_fail(struct store *store) {
    int code = sqlite3_errcode(store->db);
    if (code == SQLITE_NOTADB) return complain(EXIT_FAILED, "%s: not a database of tempera sweep", store->path);
    return complain(EXIT_FAILED, "%s: %s", store->path, sqlite3_errmsg(store->db));
}

int store_prepare(struct store *store, sqlite3_stmt **statement, const char *sql) {
    if (sqlite3_prepare_v2(store->db, sql, -1, statement, NULL) == SQLITE_OK) return EXIT_DONE;
    return store_fail(store);
}

/* Runs a statement that gives no rows, and ends it. */
int store_finish(struct store *store, sqlite3_stmt *statement) {
    int code = sqlite3_step(statement);
    int status = code == SQLITE_DONE || code == SQLITE_ROW ? EXIT_DONE : store_fail(store);
    sqlite3_finalize(statement);
    return status;
}

int store_execute(struct store *store, const char *sql) {
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK ? EXIT_DONE : store_fail(store);
}

/* The next row: 1; 0 at the end; -1 after complaining. */
int store_next_row(struct store *store, sqlite3_stmt *statement) {
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) return 1;
    if (code == SQLITE_DONE) return 0;
    store_fail(store);
    return -1;
}

void store_bind_text(sqlite3_stmt *statement, int index, const char *text) {
    if (text)
        sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(statement, index);
}

char *store_column_text(sqlite3_stmt *statement, int index) {
    const char *text = (const char *)sqlite3_column_text(statement, index);
    return text ? xdup(text, (size_t)sqlite3_column_bytes(statement, index)) : NULL;
}

/* One number of a query without parameters; false after complaining. */
bool store_query_number(struct store *store, const char *sql, int64_t *value) {
    sqlite3_stmt *statement;
    if (store_prepare(store, &statement, sql)) return false;
    int row = store_next_row(store, statement);
    *value = row > 0 ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return row >= 0;
}

/* ---- opening ---- */

static const char schema[] =
    "CREATE TABLE manifest(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE prompts(prompt INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, tokens BLOB NOT "
    "NULL,"
    " reference TEXT, choices TEXT, answer TEXT, test TEXT);"
    "CREATE TABLE samples(prompt INTEGER NOT NULL, point INTEGER NOT NULL, sample INTEGER NOT NULL,"
    " tokens BLOB NOT NULL, text BLOB NOT NULL, finish TEXT NOT NULL, error TEXT, stats BLOB NOT NULL, fork INTEGER,"
    " verdict INTEGER, output BLOB, PRIMARY KEY(prompt, point, sample));"
    "CREATE TABLE runs(run INTEGER PRIMARY KEY, started TEXT NOT NULL, build TEXT NOT NULL, command TEXT NOT NULL,"
    " seconds REAL NOT NULL, samples INTEGER NOT NULL, generated_tokens INTEGER NOT NULL, row_steps INTEGER NOT NULL,"
    " prompt_tokens INTEGER NOT NULL);";

static const char *column_type(enum field_kind kind) {
    /* Seeds are unsigned 64-bit numbers, SQLite's integers are signed. */
    return kind == FIELD_FLOAT ? "REAL" : kind == FIELD_SEED ? "TEXT" : "INTEGER";
}

static int create_schema(struct store *store) {
    struct strbuf sql = {0};
    strbuf_printf(&sql,
                  "%sCREATE TABLE points(point INTEGER PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE,"
                  " sources TEXT NOT NULL, samples INTEGER NOT NULL",
                  schema);
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i]))
            strbuf_printf(&sql, ", %s %s NOT NULL", field_info[i].name, column_type(field_info[i].kind));
    strbuf_printf(&sql,
                  ", sampling_order TEXT NOT NULL, independent INTEGER NOT NULL);"
                  "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                  APPLICATION_ID, SCHEMA_VERSION);
    int status = store_execute(store, sql.data);
    strbuf_free(&sql);
    return status;
}

/* The lock is flock's, which SQLite does not use; its descriptor is closed after SQLite's own, whose locks it would
 * take away. */
static int lock_writer(struct store *store) {
    store->lock = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->lock < 0) return complain(EXIT_FAILED, "%s: %s", store->path, strerror(errno));
    if (flock(store->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return EXIT_DONE;
    return complain(EXIT_FAILED, "%s: another process is writing to it", store->path);
}

void store_uri(struct strbuf *b, const char *path, const char *query) {
    strbuf_text(b, *path == '/' ? "file://" : "file:./");
    for (const char *c = path; *c; c++)
        if (*c == '%' || *c == '?' || *c == '#')
            strbuf_printf(b, "%%%02X", (unsigned)(unsigned char)*c);
        else
            strbuf_char(b, *c);
    strbuf_text(b, query);
}

static int open_database(struct store *store) {
    int flags = store->mode == STORE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (store->mode != STORE_READ) {
        int status = lock_writer(store);
        if (status) return status;
    }
    struct strbuf uri = {0};
    store_uri(&uri, store->path, "");
    int code = sqlite3_open_v2(uri.data, &store->db, flags | SQLITE_OPEN_URI, NULL);
    strbuf_free(&uri);
    if (code != SQLITE_OK) return store_fail(store);
    sqlite3_extended_result_codes(store->db, 0);
    sqlite3_busy_timeout(store->db, 10000);
    /* Files come from strangers: no function of the schema is to be trusted. */
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, 1 << 30);
    return EXIT_DONE;
}

/* A lone SQLite file of zero tables is one that was created and never written. */
static int check_schema(struct store *store, bool *empty) {
    int64_t tables, application, version;
    *empty = false;
    if (!store_query_number(store, "SELECT count(*) FROM sqlite_schema", &tables) ||
        !store_query_number(store, "PRAGMA application_id", &application) ||
        !store_query_number(store, "PRAGMA user_version", &version))
        return EXIT_FAILED;
    if (tables == 0 && application == 0 && version == 0) {
        *empty = true;
        return EXIT_DONE;
    }
    if (application != APPLICATION_ID)
        return complain(EXIT_FAILED, "%s: a database of another program, not of tempera sweep", store->path);
    if (version != SCHEMA_VERSION)
        return complain(EXIT_FAILED, "%s: its schema is version %lld; this program reads and writes version %d",
                        store->path, (long long)version, SCHEMA_VERSION);
    return EXIT_DONE;
}

int store_check(struct store *store) {
    sqlite3_stmt *statement;
    int status = store_prepare(store, &statement, "PRAGMA quick_check(1)");
    if (status) return status;
    int row = store_next_row(store, statement);
    const char *answer = row > 0 ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (row < 0)
        status = EXIT_FAILED;
    else if (!answer || strcmp(answer, "ok") != 0)
        status = complain(EXIT_FAILED, "%s: the database is damaged: %s", store->path, answer ? answer : "no answer");
    sqlite3_finalize(statement);
    return status;
}

/* Opens what is there. */
static int open_existing(struct store *store) {
    bool empty;
    int status = open_database(store);
    if (!status) status = check_schema(store, &empty);
    if (!status && empty && store->mode != STORE_CREATE)
        status = complain(EXIT_FAILED, "%s: holds no sweep", store->path);
    if (!status && !empty && store->mode != STORE_READ) status = store_check(store);
    return status;
}

int store_open(struct store **out, const char *path, enum store_mode mode) {
    struct stat info;
    *out = NULL;
    if (!*path) return complain(EXIT_USAGE, "the name of the database is empty");
    bool there = stat(path, &info) == 0;
    if (!there && (errno != ENOENT || mode != STORE_CREATE))
        return complain(EXIT_FAILED, "%s: %s", path, strerror(errno));
    if (there && !S_ISREG(info.st_mode)) return complain(EXIT_FAILED, "%s: not a file", path);
    struct store *store = xarray(1, sizeof *store);
    *store = (struct store){.path = xdup(path, strlen(path)), .mode = mode, .lock = -1};
    int status = there ? open_existing(store) : EXIT_DONE;
    if (status)
        store_close(store);
    else
        *out = store;
    return status;
}

/* A database at rest is one file, which can be read where nothing can be written: readers of one in WAL mode need files
 * beside it, and leave them there. While others have it open it stays as it is. */
static void leave_wal(struct store *store) {
    sqlite3_busy_timeout(store->db, 0);
    sqlite3_exec(store->db, "PRAGMA main.journal_mode = DELETE", NULL, NULL, NULL);
}

void store_close(struct store *store) {
    if (!store) return;
    sqlite3_finalize(store->insert);
    if (store->db) {
        store_rollback(store);
        if (store->wal) leave_wal(store);
        sqlite3_close(store->db);
    }
    if (store->lock >= 0) close(store->lock);
    free(store->path);
    free(store);
}

int store_begin(struct store *store) {
    bool empty;
    int status = EXIT_DONE;
    if (!store->db) status = open_database(store);
    if (!status) status = check_schema(store, &empty);
    if (!status)
        status = store_execute(store, "PRAGMA main.journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE");
    if (status) return status;
    store->wal = store->writing = true;
    return empty ? create_schema(store) : EXIT_DONE;
}

int store_commit(struct store *store) {
    int status = store_execute(store, "COMMIT");
    store->writing = status != EXIT_DONE;
    return status;
}

void store_rollback(struct store *store) {
    if (!store->writing) return;
    sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    store->writing = false;
}

/* True when there is nothing to read yet. */
bool store_is_empty(struct store *store) {
    int64_t tables = 0;
    return !store->db || (store_query_number(store, "SELECT count(*) FROM sqlite_schema", &tables) && tables == 0);
}

/* ---- manifest ---- */

/* *value NULL: there is none. */
int store_read_manifest(struct store *store, const char *key, char **value) {
    sqlite3_stmt *statement;
    *value = NULL;
    if (store_is_empty(store)) return EXIT_DONE;
    int status = store_prepare(store, &statement, "SELECT value FROM manifest WHERE key = ?");
    if (status) return status;
    store_bind_text(statement, 1, key);
    int row = store_next_row(store, statement);
    if (row > 0) *value = store_column_text(statement, 0);
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

char *store_manifest(struct store *store, const char *key) {
    char *value;
    store_read_manifest(store, key, &value);
    return value;
}

int store_manifest_set(struct store *store, const char *key, const char *value) {
    sqlite3_stmt *statement;
    int status = store_prepare(store, &statement, "INSERT OR REPLACE INTO manifest VALUES(?, ?)");
    if (status) return status;
    store_bind_text(statement, 1, key);
    store_bind_text(statement, 2, value);
    return store_finish(store, statement);
}

int store_claim(struct store *store, const char *key, const char *value, const char *what) {
    char *there;
    int status = store_read_manifest(store, key, &there);
    if (status) return status;
    if (!there)
        status = store_manifest_set(store, key, value);
    else if (strcmp(there, value) != 0)
        status = complain(EXIT_FAILED, "%s holds samples of %s %s; this run's is %s: give another --out", store->path,
                          what, there, value);
    free(there);
    return status;
}

/* ---- runs ---- */

int store_add_run(struct store *store, const struct run_record *run) {
    sqlite3_stmt *statement;
    int status =
        store_prepare(store, &statement,
                      "INSERT INTO runs(started, build, command, seconds, samples, generated_tokens, row_steps,"
                      " prompt_tokens) VALUES(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?, ?, ?, ?, ?, ?, ?)");
    if (status) return status;
    store_bind_text(statement, 1, run->build);
    store_bind_text(statement, 2, run->command);
    sqlite3_bind_double(statement, 3, run->seconds);
    sqlite3_bind_int64(statement, 4, run->samples);
    sqlite3_bind_int64(statement, 5, run->generated_tokens);
    sqlite3_bind_int64(statement, 6, run->row_steps);
    sqlite3_bind_int64(statement, 7, run->prompt_tokens);
    return store_finish(store, statement);
}

int store_load_runs(struct store *store, struct run_record *total) {
    sqlite3_stmt *statement;
    *total = (struct run_record){.build = "", .command = ""};
    if (store_is_empty(store)) return EXIT_DONE;
    int status = store_prepare(store, &statement,
                               "SELECT total(seconds), sum(samples), sum(generated_tokens), sum(row_steps),"
                               " sum(prompt_tokens) FROM runs");
    if (status) return status;
    if (store_next_row(store, statement) > 0) {
        total->seconds = sqlite3_column_double(statement, 0);
        total->samples = sqlite3_column_int64(statement, 1);
        total->generated_tokens = sqlite3_column_int64(statement, 2);
        total->row_steps = sqlite3_column_int64(statement, 3);
        total->prompt_tokens = sqlite3_column_int64(statement, 4);
    } else {
        status = EXIT_FAILED;
    }
    sqlite3_finalize(statement);
    return status;
}
