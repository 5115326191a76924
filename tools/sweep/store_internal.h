/* store_internal.h: the database under a store, for what compares or joins whole databases. */
#ifndef SWEEP_STORE_INTERNAL_H
#define SWEEP_STORE_INTERNAL_H

#include <sqlite3.h>

#include "store.h"

struct store {
    sqlite3 *db; /* NULL: the file does not exist yet */
    char *path;
    enum store_mode mode;
    int lock;             /* descriptor that holds the writer's lock, -1 = none */
    bool writing;         /* in a transaction */
    bool wal;             /* this process put it into WAL mode */
    sqlite3_stmt *insert; /* of samples, prepared once */
};

/* SQLite's last message, with the file's name; EXIT_FAILED. */
int store_fail(struct store *store);
int store_prepare(struct store *store, sqlite3_stmt **statement, const char *sql);
int store_finish(struct store *store, sqlite3_stmt *statement); /* runs what gives no rows, and ends it */
int store_execute(struct store *store, const char *sql);
int store_next_row(struct store *store, sqlite3_stmt *statement); /* 1 a row, 0 the end, -1 after complaining */
void store_bind_text(sqlite3_stmt *statement, int index, const char *text); /* NULL is SQL's NULL; borrowed */
/* The path as SQLite's URI, which no name is special in (":memory:"), with a query such as "?mode=ro". */
void store_uri(struct strbuf *b, const char *path, const char *query);
/* Columns of the table points but `point`, separated by commas. */
void store_point_columns(struct strbuf *b);

/* A column as text of its own, NULL for SQL's NULL. */
char *store_column_text(sqlite3_stmt *statement, int index);
/* One number of a query without parameters; false after complaining. */
bool store_query_number(struct store *store, const char *sql, int64_t *value);
bool store_is_empty(struct store *store); /* nothing was written yet */
/* store_manifest that tells a failure from an absent key: *value is NULL when there is none. */
int store_read_manifest(struct store *store, const char *key, char **value);

#endif
