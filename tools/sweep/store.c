/* store.c: the database of a sweep over SQLite. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

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

static char *column_text(sqlite3_stmt *statement, int index) {
    const char *text = (const char *)sqlite3_column_text(statement, index);
    return text ? xdup(text, (size_t)sqlite3_column_bytes(statement, index)) : NULL;
}

/* One number of a query without parameters; false after complaining. */
static bool query_number(struct store *store, const char *sql, int64_t *value) {
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
    if (!query_number(store, "SELECT count(*) FROM sqlite_schema", &tables) ||
        !query_number(store, "PRAGMA application_id", &application) ||
        !query_number(store, "PRAGMA user_version", &version))
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
static bool is_empty(struct store *store) {
    int64_t tables = 0;
    return !store->db || (query_number(store, "SELECT count(*) FROM sqlite_schema", &tables) && tables == 0);
}

/* ---- manifest ---- */

/* *value NULL: there is none. */
static int read_manifest(struct store *store, const char *key, char **value) {
    sqlite3_stmt *statement;
    *value = NULL;
    if (is_empty(store)) return EXIT_DONE;
    int status = store_prepare(store, &statement, "SELECT value FROM manifest WHERE key = ?");
    if (status) return status;
    store_bind_text(statement, 1, key);
    int row = store_next_row(store, statement);
    if (row > 0) *value = column_text(statement, 0);
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

char *store_manifest(struct store *store, const char *key) {
    char *value;
    read_manifest(store, key, &value);
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
    int status = read_manifest(store, key, &there);
    if (status) return status;
    if (!there)
        status = store_manifest_set(store, key, value);
    else if (strcmp(there, value) != 0)
        status = complain(EXIT_FAILED, "%s holds samples of %s %s; this run's is %s: give another --out", store->path,
                          what, there, value);
    free(there);
    return status;
}

/* ---- prompts ---- */

static char *json_array_text(char *const *items, size_t count) {
    struct json j = {0};
    if (count == 0) return NULL;
    json_array(&j, NULL);
    for (size_t i = 0; i < count; i++) json_text(&j, NULL, items[i]);
    json_end(&j);
    return j.out.data;
}

static int add_prompt(struct store *store, int64_t index, const struct sweep_prompt *prompt) {
    sqlite3_stmt *statement;
    struct strbuf tokens = {0};
    int status = store_prepare(store, &statement, "INSERT INTO prompts VALUES(?, ?, ?, ?, ?, ?, ?, ?)");
    if (status) return status;
    char *references = json_array_text(prompt->references, prompt->reference_count);
    char *choices = json_array_text(prompt->choices, prompt->choice_count);
    tokens_blob_write(&tokens, prompt->tokens.ids, prompt->tokens.count);
    sqlite3_bind_int64(statement, 1, index);
    store_bind_text(statement, 2, prompt->id);
    store_bind_text(statement, 3, prompt->text);
    sqlite3_bind_blob64(statement, 4, tokens.data ? tokens.data : "", tokens.length, SQLITE_STATIC);
    store_bind_text(statement, 5, references);
    store_bind_text(statement, 6, choices);
    store_bind_text(statement, 7, prompt->answer);
    store_bind_text(statement, 8, prompt->test);
    status = store_finish(store, statement);
    strbuf_free(&tokens);
    free(references);
    free(choices);
    return status;
}

int store_add_prompts(struct store *store, const struct sweep_prompts *prompts) {
    int status = EXIT_DONE;
    for (size_t i = 0; i < prompts->count && !status; i++) status = add_prompt(store, (int64_t)i, &prompts->items[i]);
    return status;
}

/* A JSON array of strings, as json_array_text wrote it. */
static bool read_array(const char *text, char ***items, size_t *count) {
    cJSON *array = text ? cJSON_Parse(text) : NULL;
    bool good = !text || cJSON_IsArray(array);
    const cJSON *item;
    cJSON_ArrayForEach(item, array) {
        if (!cJSON_IsString(item)) {
            good = false;
            break;
        }
        *items = xgrow(*items, *count + 1, sizeof **items);
        (*items)[(*count)++] = xdup(item->valuestring, strlen(item->valuestring));
    }
    cJSON_Delete(array);
    return good;
}

static bool read_prompt(sqlite3_stmt *row, struct sweep_prompt *prompt) {
    size_t bytes = (size_t)sqlite3_column_bytes(row, 3);
    *prompt = (struct sweep_prompt){.id = column_text(row, 1), .text = column_text(row, 2)};
    prompt->tokens.count = bytes / 4;
    prompt->tokens.ids = xarray(prompt->tokens.count + 1, sizeof *prompt->tokens.ids);
    tokens_blob_read(prompt->tokens.ids, sqlite3_column_blob(row, 3), prompt->tokens.count);
    prompt->answer = column_text(row, 6);
    prompt->test = column_text(row, 7);
    return prompt->id && prompt->text && bytes % 4 == 0 &&
           read_array((const char *)sqlite3_column_text(row, 4), &prompt->references, &prompt->reference_count) &&
           read_array((const char *)sqlite3_column_text(row, 5), &prompt->choices, &prompt->choice_count);
}

int store_load_prompts(struct store *store, struct sweep_prompts *prompts) {
    sqlite3_stmt *statement;
    int row, status;
    *prompts = (struct sweep_prompts){0};
    if (is_empty(store)) return EXIT_DONE;
    status =
        store_prepare(store, &statement,
                      "SELECT prompt, id, text, tokens, reference, choices, answer, test FROM prompts ORDER BY prompt");
    if (status) return status;
    while (!status && (row = store_next_row(store, statement)) != 0) {
        if (row < 0) {
            status = EXIT_FAILED;
            break;
        }
        prompts->items = xgrow(prompts->items, prompts->count + 1, sizeof *prompts->items);
        bool good = read_prompt(statement, &prompts->items[prompts->count++]);
        if (!good || sqlite3_column_int64(statement, 0) != (int64_t)prompts->count - 1)
            status = complain(EXIT_FAILED, "%s: prompt %zu is damaged", store->path, prompts->count - 1);
    }
    sqlite3_finalize(statement);
    return status;
}

/* ---- points ---- */

static int find_point(struct store *store, const char *key, int64_t *point) {
    sqlite3_stmt *statement;
    *point = -1;
    int status = store_prepare(store, &statement, "SELECT point FROM points WHERE key = ?");
    if (status) return status;
    store_bind_text(statement, 1, key);
    int row = store_next_row(store, statement);
    if (row > 0) *point = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

static void bind_field(sqlite3_stmt *statement, int index, const tempera_sampling *sampling,
                       const struct field_info *field) {
    if (field->kind == FIELD_FLOAT) {
        sqlite3_bind_double(statement, index, field_number(sampling, field));
    } else if (field->kind == FIELD_SEED) {
        struct strbuf text = {0};
        field_show(&text, sampling, field);
        sqlite3_bind_text(statement, index, text.data, -1, SQLITE_TRANSIENT);
        strbuf_free(&text);
    } else {
        sqlite3_bind_int64(statement, index, (int64_t)field_number(sampling, field));
    }
}

void store_point_columns(struct strbuf *b) {
    strbuf_text(b, "name, key, sources, samples");
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i])) strbuf_printf(b, ", %s", field_info[i].name);
    strbuf_text(b, ", sampling_order, independent");
}

static bool name_is_taken(struct store *store, const char *name) {
    sqlite3_stmt *statement;
    if (store_prepare(store, &statement, "SELECT 1 FROM points WHERE name = ?")) return false;
    store_bind_text(statement, 1, name);
    bool taken = store_next_row(store, statement) > 0;
    sqlite3_finalize(statement);
    return taken;
}

/* Commands that differ in what their points share give them the same names: "NAME (2)" is the second. Owned. */
static char *free_name(struct store *store, const char *name) {
    struct strbuf tried = {0};
    strbuf_text(&tried, name);
    for (int k = 2; name_is_taken(store, tried.data); k++) {
        strbuf_clear(&tried);
        strbuf_printf(&tried, "%s (%d)", name, k);
    }
    return tried.data;
}

static int insert_point(struct store *store, const struct sweep_point *point) {
    sqlite3_stmt *statement;
    struct strbuf sql = {0};
    char order[160];
    strbuf_text(&sql, "INSERT INTO points(");
    store_point_columns(&sql);
    strbuf_text(&sql, ", point) VALUES(");
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i])) strbuf_text(&sql, "?, ");
    strbuf_text(&sql, "?, ?, ?, ?, ?, ?, (SELECT ifnull(max(point) + 1, 0) FROM points))");
    int status = store_prepare(store, &statement, sql.data);
    strbuf_free(&sql);
    if (status) return status;
    struct json sources = {0};
    json_object(&sources, NULL);
    setting_source_json(&sources, &point->source);
    json_end(&sources);
    char *name = free_name(store, point->name);
    store_bind_text(statement, 1, name);
    store_bind_text(statement, 2, point->key);
    store_bind_text(statement, 3, sources.out.data);
    sqlite3_bind_int64(statement, 4, 0); /* store_add_points raises it */
    int at = 5;
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i])) bind_field(statement, at++, &point->sampling, &field_info[i]);
    tempera_order_format(&point->sampling.order, order, sizeof order);
    store_bind_text(statement, at++, order);
    sqlite3_bind_int(statement, at, point->sampling.independent);
    status = store_finish(store, statement);
    strbuf_free(&sources.out);
    free(name);
    return status;
}

static int raise_samples(struct store *store, int64_t point, int32_t samples) {
    sqlite3_stmt *statement;
    int status = store_prepare(store, &statement, "UPDATE points SET samples = max(samples, ?) WHERE point = ?");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, samples);
    sqlite3_bind_int64(statement, 2, point);
    return store_finish(store, statement);
}

int store_add_points(struct store *store, const struct point_list *list, int32_t *point) {
    for (size_t i = 0; i < list->count; i++) {
        int64_t found;
        int status = find_point(store, list->items[i].key, &found);
        if (!status && found < 0) {
            status = insert_point(store, &list->items[i]);
            if (!status) status = find_point(store, list->items[i].key, &found);
        }
        if (!status) status = raise_samples(store, found, list->items[i].samples);
        if (status) return status;
        point[i] = (int32_t)found;
    }
    return EXIT_DONE;
}

/* The scalars of a stored setting. False when a value is not one of its field's. */
static bool read_sampling(sqlite3_stmt *row, int first, tempera_sampling *sampling) {
    int at = first;
    *sampling = tempera_sampling_default();
    for (size_t i = 0; i < SAMPLING_FIELDS; i++) {
        if (!field_is_identity(&field_info[i])) continue;
        const char *text = field_info[i].kind == FIELD_BOOL ? sqlite3_column_int(row, at) ? "true" : "false"
                                                            : (const char *)sqlite3_column_text(row, at);
        at++;
        if (!text || tempera_sampling_set(sampling, field_info[i].name, text, NULL) != TEMPERA_OK) return false;
    }
    const char *order = (const char *)sqlite3_column_text(row, at);
    if (!order || tempera_order_parse(order, &sampling->order, NULL) != TEMPERA_OK) return false;
    sampling->independent = sqlite3_column_int(row, at + 1) != 0;
    return true;
}

int store_load_points(struct store *store, struct stored_points *points) {
    sqlite3_stmt *statement;
    struct strbuf sql = {0};
    int row, status;
    *points = (struct stored_points){0};
    if (is_empty(store)) return EXIT_DONE;
    strbuf_text(&sql, "SELECT point, ");
    store_point_columns(&sql);
    strbuf_text(&sql, " FROM points ORDER BY point");
    status = store_prepare(store, &statement, sql.data);
    strbuf_free(&sql);
    if (status) return status;
    while (!status && (row = store_next_row(store, statement)) != 0) {
        if (row < 0) {
            status = EXIT_FAILED;
            break;
        }
        points->items = xgrow(points->items, points->count + 1, sizeof *points->items);
        struct stored_point *p = &points->items[points->count++];
        *p = (struct stored_point){.point = sqlite3_column_int(statement, 0),
                                   .name = column_text(statement, 1),
                                   .key = column_text(statement, 2),
                                   .samples = sqlite3_column_int(statement, 4)};
        if (!p->name || !p->key || p->point < 0 || p->samples < 0 || !read_sampling(statement, 5, &p->sampling))
            status = complain(EXIT_FAILED, "%s: point %d is damaged", store->path, (int)p->point);
    }
    sqlite3_finalize(statement);
    return status;
}

void stored_points_free(struct stored_points *points) {
    for (size_t i = 0; i < points->count; i++) {
        free(points->items[i].name);
        free(points->items[i].key);
    }
    free(points->items);
    *points = (struct stored_points){0};
}

/* ---- samples ---- */

int store_add_sample(struct store *store, const struct sample_record *record, const void *stats, size_t stats_size) {
    struct strbuf tokens = {0};
    int status = EXIT_DONE;
    if (!store->insert)
        status = store_prepare(store, &store->insert,
                               "INSERT INTO samples(prompt, point, sample, tokens, text, finish, error, stats, fork)"
                               " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)");
    if (status) return status;
    sqlite3_stmt *insert = store->insert;
    tokens_blob_write(&tokens, record->tokens, record->token_count);
    sqlite3_bind_int64(insert, 1, record->prompt);
    sqlite3_bind_int64(insert, 2, record->point);
    sqlite3_bind_int64(insert, 3, record->sample);
    sqlite3_bind_blob64(insert, 4, tokens.data ? tokens.data : "", tokens.length, SQLITE_STATIC);
    sqlite3_bind_blob64(insert, 5, record->text_length ? record->text : "", record->text_length, SQLITE_STATIC);
    store_bind_text(insert, 6, tempera_finish_name(record->finish));
    store_bind_text(insert, 7, record->error && record->error[0] ? record->error : NULL);
    sqlite3_bind_blob64(insert, 8, stats_size ? stats : "", stats_size, SQLITE_STATIC);
    if (record->fork == FORK_UNKNOWN)
        sqlite3_bind_null(insert, 9);
    else
        sqlite3_bind_int64(insert, 9, record->fork);
    if (sqlite3_step(insert) != SQLITE_DONE) status = store_fail(store);
    sqlite3_reset(insert);
    sqlite3_clear_bindings(insert);
    strbuf_free(&tokens);
    return status;
}

static bool finish_of(const char *name, tempera_finish *finish) {
    for (int f = TEMPERA_FINISH_LENGTH; name && f <= TEMPERA_FINISH_ERROR; f++)
        if (strcmp(name, tempera_finish_name((tempera_finish)f)) == 0) {
            *finish = (tempera_finish)f;
            return true;
        }
    return false;
}

static const char *keep_bytes(struct sample_set *set, const void *bytes, size_t length) {
    char *copy = sample_set_keep(set, length + 1);
    if (length) memcpy(copy, bytes, length);
    copy[length] = 0;
    return copy;
}

/* Columns: point, sample, tokens, text, finish, error, stats, fork, verdict. */
static bool read_sample(sqlite3_stmt *row, struct sample_set *set, struct sample_record *record, int32_t vocab_size) {
    size_t bytes = (size_t)sqlite3_column_bytes(row, 2);
    record->point = sqlite3_column_int(row, 0);
    record->sample = sqlite3_column_int(row, 1);
    record->token_count = bytes / 4;
    int32_t *tokens = sample_set_keep(set, bytes);
    tokens_blob_read(tokens, sqlite3_column_blob(row, 2), record->token_count);
    record->tokens = tokens;
    record->text_length = (size_t)sqlite3_column_bytes(row, 3);
    record->text = keep_bytes(set, sqlite3_column_blob(row, 3), record->text_length);
    const char *error = (const char *)sqlite3_column_text(row, 5);
    record->error = error ? keep_bytes(set, error, strlen(error)) : "";
    int64_t fork = sqlite3_column_int64(row, 7);
    bool fork_known = sqlite3_column_type(row, 7) != SQLITE_NULL;
    record->fork = fork_known ? (int32_t)fork : FORK_UNKNOWN;
    record->verdict = sqlite3_column_type(row, 8) == SQLITE_NULL ? -1 : sqlite3_column_int(row, 8) != 0;
    for (size_t i = 0; i < record->token_count; i++)
        if (tokens[i] < 0 || tokens[i] >= vocab_size) return false;
    if (fork_known && (fork < 0 || (size_t)fork > record->token_count)) return false;
    return bytes % 4 == 0 && record->point >= 0 && record->sample >= 0 &&
           finish_of((const char *)sqlite3_column_text(row, 4), &record->finish) &&
           stats_blob_read(set, record, sqlite3_column_blob(row, 6), (size_t)sqlite3_column_bytes(row, 6));
}

static int vocabulary(struct store *store, int32_t *size) {
    char *text;
    int64_t value = 0;
    int status = read_manifest(store, "vocab_size", &text);
    if (status) return status;
    bool good = text && parse_int(text, 1, INT32_MAX, &value);
    free(text);
    *size = (int32_t)value;
    return good ? EXIT_DONE : complain(EXIT_FAILED, "%s: its manifest has no vocab_size", store->path);
}

int store_load_samples(struct store *store, int32_t prompt, struct sample_set *set) {
    sqlite3_stmt *statement;
    int32_t vocab_size;
    int row;
    *set = (struct sample_set){0};
    if (is_empty(store)) return EXIT_DONE;
    int status = vocabulary(store, &vocab_size);
    if (!status)
        status = store_prepare(store, &statement,
                               "SELECT point, sample, tokens, text, finish, error, stats, fork, verdict FROM samples"
                               " WHERE prompt = ? ORDER BY point, sample");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, prompt);
    while (!status && (row = store_next_row(store, statement)) != 0) {
        if (row < 0) {
            status = EXIT_FAILED;
            break;
        }
        if ((set->count & (set->count + 1)) == 0)
            set->items = xgrow(set->items, 2 * set->count + 1, sizeof *set->items);
        struct sample_record *record = &set->items[set->count++];
        *record = (struct sample_record){.prompt = prompt};
        if (!read_sample(statement, set, record, vocab_size))
            status = complain(EXIT_FAILED, "%s: sample %d of prompt %d and point %d is damaged", store->path,
                              (int)record->sample, (int)prompt, (int)record->point);
    }
    sqlite3_finalize(statement);
    return status;
}

int store_count_samples(struct store *store, int64_t *count) {
    *count = 0;
    if (is_empty(store)) return EXIT_DONE;
    return query_number(store, "SELECT count(*) FROM samples", count) ? EXIT_DONE : EXIT_FAILED;
}

int store_each_key(struct store *store, int32_t prompt, void (*body)(void *user, int32_t point, int32_t sample),
                   void *user) {
    sqlite3_stmt *statement;
    int row;
    int status =
        store_prepare(store, &statement, "SELECT point, sample FROM samples WHERE prompt = ? ORDER BY point, sample");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, prompt);
    while ((row = store_next_row(store, statement)) > 0)
        body(user, sqlite3_column_int(statement, 0), sqlite3_column_int(statement, 1));
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

int store_each_tokens(struct store *store, int32_t prompt, void (*body)(void *user, const struct sample_record *record),
                      void *user) {
    sqlite3_stmt *statement;
    int32_t *tokens = NULL;
    int row;
    int status = store_prepare(
        store, &statement, "SELECT point, sample, tokens, fork FROM samples WHERE prompt = ? ORDER BY point, sample");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, prompt);
    while ((row = store_next_row(store, statement)) > 0) {
        size_t count = (size_t)sqlite3_column_bytes(statement, 2) / 4;
        tokens = xgrow(tokens, count + 1, sizeof *tokens);
        tokens_blob_read(tokens, sqlite3_column_blob(statement, 2), count);
        const struct sample_record record = {
            .prompt = prompt,
            .point = sqlite3_column_int(statement, 0),
            .sample = sqlite3_column_int(statement, 1),
            .tokens = tokens,
            .token_count = count,
            .fork = sqlite3_column_type(statement, 3) == SQLITE_NULL ? FORK_UNKNOWN : sqlite3_column_int(statement, 3)};
        body(user, &record);
    }
    free(tokens);
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

static void bind_key(sqlite3_stmt *statement, int first, const struct sample_record *record) {
    sqlite3_bind_int64(statement, first, record->prompt);
    sqlite3_bind_int64(statement, first + 1, record->point);
    sqlite3_bind_int64(statement, first + 2, record->sample);
}

int store_set_fork(struct store *store, const struct sample_record *record) {
    sqlite3_stmt *statement;
    int status =
        store_prepare(store, &statement, "UPDATE samples SET fork = ? WHERE prompt = ? AND point = ? AND sample = ?");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, record->fork);
    bind_key(statement, 2, record);
    return store_finish(store, statement);
}

int store_set_verdict(struct store *store, const struct sample_record *record, const char *output, size_t length) {
    sqlite3_stmt *statement;
    int status = store_prepare(
        store, &statement, "UPDATE samples SET verdict = ?, output = ? WHERE prompt = ? AND point = ? AND sample = ?");
    if (status) return status;
    if (record->verdict < 0)
        sqlite3_bind_null(statement, 1);
    else
        sqlite3_bind_int(statement, 1, record->verdict);
    sqlite3_bind_blob64(statement, 2, length ? output : "", length, SQLITE_STATIC);
    bind_key(statement, 3, record);
    return store_finish(store, statement);
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
    if (is_empty(store)) return EXIT_DONE;
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
