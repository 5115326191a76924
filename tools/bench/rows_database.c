/* rows_database.c: rows in a SQLite database. */
#include "rows_database.h"

#include <math.h>
#include <sqlite3.h>
#include <string.h>

#include "common.h"
#include "json_writer.h"

static int database_fail(sqlite3 *db, const char *path) {
    return complain(EXIT_FAILED, "--out %s: %s", path, sqlite3_errmsg(db));
}

/* "./" in front: no name is special to SQLite. */
static int open_database(sqlite3 **db, const char *path) {
    struct strbuf name = {0};
    if (!*path) return complain(EXIT_USAGE, "--out: the name of the file is empty");
    strbuf_printf(&name, "%s%s", path[0] == '/' ? "" : "./", path);
    int code = sqlite3_open_v2(name.data, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    strbuf_free(&name);
    sqlite3_busy_timeout(*db, 5000);
    return code == SQLITE_OK ? EXIT_DONE : database_fail(*db, path);
}

int rows_database_check(const char *path) {
    sqlite3 *db = NULL;
    int status = open_database(&db, path);
    /* Takes the right to write, and reads the first page. */
    if (!status && sqlite3_exec(db, "BEGIN IMMEDIATE; SELECT * FROM sqlite_schema; ROLLBACK", NULL, NULL, NULL))
        status = database_fail(db, path);
    sqlite3_close(db);
    return status;
}

static const char *type_of(const struct figure *figure) {
    static const char *const types[] = {
        [FIGURE_TEXT] = "TEXT", [FIGURE_INT] = "INTEGER", [FIGURE_REAL] = "REAL", [FIGURE_REALS] = "TEXT"};
    return types[figure->kind];
}

static bool has_column(sqlite3 *db, const char *table, const char *name) {
    return sqlite3_table_column_metadata(db, NULL, table, name, NULL, NULL, NULL, NULL, NULL) == SQLITE_OK;
}

/* Names of figures are ours: letters, digits and underscores. */
static bool make_table(sqlite3 *db, const char *table, const struct row *row) {
    struct strbuf sql = {0};
    strbuf_printf(&sql, "CREATE TABLE IF NOT EXISTS \"%s\" (time TEXT NOT NULL)", table);
    bool good = sqlite3_exec(db, sql.data, NULL, NULL, NULL) == SQLITE_OK;
    for (size_t i = 0; i < row->count && good; i++) {
        const struct figure *figure = &row->figures[i];
        if (has_column(db, table, figure->name)) continue;
        strbuf_clear(&sql);
        strbuf_printf(&sql, "ALTER TABLE \"%s\" ADD COLUMN \"%s\" %s", table, figure->name, type_of(figure));
        good = sqlite3_exec(db, sql.data, NULL, NULL, NULL) == SQLITE_OK;
    }
    strbuf_free(&sql);
    return good;
}

static void bind_figure(sqlite3_stmt *insert, int index, const struct figure *figure) {
    struct json j = {0};
    switch (figure->kind) {
    case FIGURE_TEXT: sqlite3_bind_text(insert, index, figure->text, -1, SQLITE_STATIC); break;
    case FIGURE_INT: sqlite3_bind_int64(insert, index, figure->integer); break;
    case FIGURE_REAL: sqlite3_bind_double(insert, index, figure->real); break; /* NaN is NULL */
    case FIGURE_REALS:
        json_array(&j, NULL);
        for (size_t i = 0; i < figure->count; i++) json_fixed(&j, NULL, figure->reals[i], figure->digits);
        json_end(&j);
        sqlite3_bind_text(insert, index, j.out.data, (int)j.out.length, SQLITE_TRANSIENT);
        strbuf_free(&j.out);
        break;
    }
}

static bool add_row(sqlite3 *db, const char *table, const struct row *row) {
    struct strbuf sql = {0};
    sqlite3_stmt *insert = NULL;
    strbuf_printf(&sql, "INSERT INTO \"%s\" (time", table);
    for (size_t i = 0; i < row->count; i++) strbuf_printf(&sql, ", \"%s\"", row->figures[i].name);
    strbuf_text(&sql, ") VALUES(strftime('%Y-%m-%dT%H:%M:%SZ', 'now')");
    for (size_t i = 0; i < row->count; i++) strbuf_text(&sql, ", ?");
    strbuf_char(&sql, ')');
    bool good = sqlite3_prepare_v2(db, sql.data, -1, &insert, NULL) == SQLITE_OK;
    for (size_t i = 0; i < row->count && good; i++) bind_figure(insert, (int)i + 1, &row->figures[i]);
    good = good && sqlite3_step(insert) == SQLITE_DONE;
    sqlite3_finalize(insert);
    strbuf_free(&sql);
    return good;
}

int rows_database_add(const char *path, const char *table, const struct rows *rows) {
    sqlite3 *db = NULL;
    int status = open_database(&db, path);
    if (!status) {
        bool good = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
        good = good && make_table(db, table, &rows->items[0]);
        for (size_t i = 0; i < rows->count && good; i++) good = add_row(db, table, &rows->items[i]);
        good = good && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
        if (!good) status = database_fail(db, path); /* closing rolls back */
    }
    sqlite3_close(db);
    return status;
}
