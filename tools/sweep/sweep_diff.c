/* sweep_diff.c: `tempera sweep diff`: whether two databases hold the same. */
#include "sweep.h"

#include <string.h>

#include "args.h"
#include "common.h"
#include "output.h"
#include "store_internal.h"

struct diff_args {
    struct text_list inputs;
};

static const char notes[] =
    "Compares everything but the table of runs, which holds times: manifest, prompts, points and every column of every "
    "sample. Exit status 0 when they are identical, 1 when they are not.";

static const char examples[] = "  tempera sweep diff a.db b.db\n";

/* A table and what names a row of it. */
static const struct table {
    const char *name, *key;
} tables[] = {
    {"manifest", "key"},
    {"prompts", "'prompt ' || prompt"},
    {"points", "'point ' || point || ' (' || name || ')'"},
    {"samples", "'prompt ' || prompt || ', point ' || point || ', sample ' || sample"},
};

/* Rows of `from` that are not in `in`: their number, and the first few. */
static int list_rows(struct store *store, const struct table *table, const char *from, const char *in, int64_t *count) {
    enum { SHOWN = 5 };
    sqlite3_stmt *statement;
    struct strbuf sql = {0};
    int row;
    strbuf_printf(&sql, "SELECT %s FROM (SELECT * FROM %s.%s EXCEPT SELECT * FROM %s.%s)", table->key, from,
                  table->name, in, table->name);
    int status = store_prepare(store, &statement, sql.data);
    strbuf_free(&sql);
    if (status) return status;
    *count = 0;
    while ((row = store_next_row(store, statement)) > 0) {
        if (++*count > SHOWN) continue;
        struct strbuf line = {0};
        const char *key = (const char *)sqlite3_column_text(statement, 0);
        strbuf_printf(&line, "  only in the %s: ", strcmp(from, "main") == 0 ? "first" : "second");
        show_safe(&line, key ? key : "?", strlen(key ? key : "?"));
        strbuf_char(&line, '\n');
        output_buf(&line);
        strbuf_free(&line);
    }
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int compare_tables(struct store *store, bool *same) {
    int status = EXIT_DONE;
    *same = true;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && !status; i++) {
        int64_t first, second = 0;
        status = list_rows(store, &tables[i], "main", "part", &first);
        if (!status) status = list_rows(store, &tables[i], "part", "main", &second);
        if (status || (first == 0 && second == 0)) continue;
        struct strbuf line = {0};
        strbuf_printf(&line, "%s: %lld rows only in the first, %lld only in the second\n", tables[i].name,
                      (long long)first, (long long)second);
        output_buf(&line);
        strbuf_free(&line);
        *same = false;
    }
    return status;
}

static int compare(const char *first, const char *second) {
    struct store *a, *b;
    sqlite3_stmt *statement;
    int64_t samples = 0;
    bool same = false;
    int status = store_open(&b, second, STORE_READ); /* as every database is opened */
    if (status) return status;
    status = store_check(b);
    store_close(b);
    if (!status) status = store_open(&a, first, STORE_READ);
    if (status) return status;
    status = store_check(a);
    if (!status) status = store_prepare(a, &statement, "ATTACH DATABASE ? AS part");
    if (!status) {
        struct strbuf uri = {0};
        store_uri(&uri, second, "?mode=ro");
        store_bind_text(statement, 1, uri.data);
        status = store_finish(a, statement);
        strbuf_free(&uri);
    }
    if (!status) status = compare_tables(a, &same);
    if (!status) status = store_count_samples(a, &samples);
    store_close(a);
    if (status || !same) return EXIT_FAILED;
    struct strbuf line = {0};
    strbuf_printf(&line, "identical: %lld samples\n", (long long)samples);
    output_buf(&line);
    strbuf_free(&line);
    return EXIT_DONE;
}

static int run(void *user) {
    const struct diff_args *args = user;
    if (args->inputs.count != 2) return complain(EXIT_USAGE, "sweep diff: give two databases");
    return compare(args->inputs.items[0], args->inputs.items[1]);
}

int sweep_diff(int argc, char **argv) {
    struct diff_args args = {0};
    const struct arg_command command = {.name = "sweep diff",
                                        .summary = "whether two databases hold the same samples",
                                        .synopsis = "A.db B.db",
                                        .notes = notes,
                                        .examples = examples,
                                        .positional = &args.inputs};
    return args_run(&command, argc, argv, run, &args);
}
