/* rows.h: rows of named figures, in every format: what a bench command measured is written down once. */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdint.h>

#include "args.h"
#include "spread.h"
#include "strbuf.h"

enum figure_kind { FIGURE_TEXT, FIGURE_INT, FIGURE_REAL, FIGURE_REALS };

struct figure {
    const char *name; /* borrowed: a literal */
    enum figure_kind kind;
    char *text; /* owned */
    int64_t integer;
    double real;   /* NaN: there is none */
    double *reals; /* [count], owned */
    size_t count;
    int digits; /* after the point, where figures are written for machines */
};

struct row {
    struct figure *figures;
    size_t count;
};

/* Rows of one command have the same names in the same order. */
struct rows {
    struct row *items;
    size_t count;
};
struct row *rows_add(struct rows *rows); /* valid until the next call */
void rows_free(struct rows *rows);

void row_text(struct row *row, const char *name, const char *text);
void row_int(struct row *row, const char *name, int64_t value);
void row_real(struct row *row, const char *name, double value, int digits);
void row_reals(struct row *row, const char *name, const double *values, size_t count, int digits);
/* NAME_mean, NAME_p50, NAME_p90, NAME_p95, NAME_p99, in seconds; `name` is one of "ttft", "tpot", "itl", "e2e". */
void row_latency(struct row *row, const char *name, const struct spread *spread);
const struct figure *row_find(const struct row *row, const char *name); /* NULL when there is none */

/* A column of the tables that people read: a figure times `scale`, or what `show` writes. */
struct column {
    const char *title, *name;
    double scale; /* 0 = 1 */
    void (*show)(struct strbuf *b, const struct row *row);
};

/* How rows leave the program. `out` is a database that rows are added to, NULL = none. */
struct rows_view {
    const char *format; /* one of ROWS_FORMATS */
    const char *out;
    const char *table;               /* its name in the database */
    const struct column *columns[2]; /* [count] of one or two tables for people */
    size_t counts[2];
    const char *above, *below; /* lines around the tables; may be NULL */
};
#define ROWS_FORMATS "table|markdown|csv|json|sqlite"

/* The flags of a command that prints rows. */
struct rows_args {
    const char *format, *out;
};
enum { ROWS_ARGS = 2 };
extern const struct arg rows_args[ROWS_ARGS];

/* Complains, before anything is measured, when the format and the database do not go together or the file cannot be
 * one. 0 or the exit status. */
int rows_check(const struct rows_view *view);
/* Prints rows, and adds them to the database. 0 or the exit status. */
int rows_print(const struct rows *rows, const struct rows_view *view);

/* Four digits that count, and a point: "1615", "68.04", "0.0123"; "-" for NaN. */
void show_figure(struct strbuf *b, double value);

#endif
