/* rows_database.h: rows in a SQLite database, which keeps those of earlier runs. */
#ifndef BENCH_ROWS_DATABASE_H
#define BENCH_ROWS_DATABASE_H

#include "rows.h"

/* Whether the file is one, or can be made. 0 or the exit status after complaining. */
int rows_database_check(const char *path);
/* Adds rows to a table, which is made when it is not there: a column for each figure (lists as JSON arrays), and
 * `time`, when they were added (UTC). Columns that a table of an earlier version lacks are added to it. All rows or
 * none. */
int rows_database_add(const char *path, const char *table, const struct rows *rows);

#endif
