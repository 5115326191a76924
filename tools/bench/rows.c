/* rows.c: rows of named figures, as tables, CSV and JSON. */
#include "rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "json_writer.h"
#include "output.h"
#include "rows_database.h"

const struct arg rows_args[ROWS_ARGS] = {
    {.name = "format",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct rows_args, format),
     .meta = "FORMAT",
     .text = "how the rows are printed; --json is --format json, sqlite prints nothing",
     .initial = "table",
     .choices = ROWS_FORMATS},
    {.name = "out",
     .letter = 'o',
     .kind = ARG_TEXT,
     .offset = offsetof(struct rows_args, out),
     .meta = "FILE",
     .text = "also add the rows, with the time, to this SQLite database"},
};

/* ---- making ---- */

struct row *rows_add(struct rows *rows) {
    rows->items = xgrow(rows->items, rows->count + 1, sizeof *rows->items);
    struct row *row = &rows->items[rows->count++];
    *row = (struct row){0};
    return row;
}

void rows_free(struct rows *rows) {
    for (size_t i = 0; i < rows->count; i++) {
        struct row *row = &rows->items[i];
        for (size_t k = 0; k < row->count; k++) {
            free(row->figures[k].text);
            free(row->figures[k].reals);
        }
        free(row->figures);
    }
    free(rows->items);
    *rows = (struct rows){0};
}

static struct figure *add_figure(struct row *row, const char *name, enum figure_kind kind) {
    row->figures = xgrow(row->figures, row->count + 1, sizeof *row->figures);
    struct figure *figure = &row->figures[row->count++];
    *figure = (struct figure){.name = name, .kind = kind};
    return figure;
}

void row_text(struct row *row, const char *name, const char *text) {
    add_figure(row, name, FIGURE_TEXT)->text = xdup(text, strlen(text));
}

void row_int(struct row *row, const char *name, int64_t value) {
    add_figure(row, name, FIGURE_INT)->integer = value;
}

void row_real(struct row *row, const char *name, double value, int digits) {
    struct figure *figure = add_figure(row, name, FIGURE_REAL);
    figure->real = isfinite(value) ? value : (double)NAN;
    figure->digits = digits;
}

void row_reals(struct row *row, const char *name, const double *values, size_t count, int digits) {
    struct figure *figure = add_figure(row, name, FIGURE_REALS);
    figure->reals = xarray(count + 1, sizeof *figure->reals);
    if (count) memcpy(figure->reals, values, count * sizeof *values);
    figure->count = count;
    figure->digits = digits;
}

void row_latency(struct row *row, const char *name, const struct spread *spread) {
    static const char *const names[][6] = {
        {"ttft", "ttft_mean", "ttft_p50", "ttft_p90", "ttft_p95", "ttft_p99"},
        {"tpot", "tpot_mean", "tpot_p50", "tpot_p90", "tpot_p95", "tpot_p99"},
        {"itl", "itl_mean", "itl_p50", "itl_p90", "itl_p95", "itl_p99"},
        {"e2e", "e2e_mean", "e2e_p50", "e2e_p90", "e2e_p95", "e2e_p99"},
    };
    const double values[] = {spread->mean, spread->p50, spread->p90, spread->p95, spread->p99};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; strcmp(names[i][0], name) == 0 && k < 5; k++) row_real(row, names[i][k + 1], values[k], 9);
}

const struct figure *row_find(const struct row *row, const char *name) {
    for (size_t i = 0; i < row->count; i++)
        if (strcmp(row->figures[i].name, name) == 0) return &row->figures[i];
    return NULL;
}

/* ---- for people ---- */

void show_figure(struct strbuf *b, double value) {
    double size = fabs(value);
    if (isnan(value))
        strbuf_text(b, "-");
    else
        strbuf_printf(b, "%.*f", size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4, value);
}

static void show_cell_of(struct strbuf *b, const struct row *row, const struct column *column) {
    const struct figure *figure = column->name ? row_find(row, column->name) : NULL;
    if (column->show)
        column->show(b, row);
    else if (!figure)
        strbuf_text(b, "-");
    else if (figure->kind == FIGURE_TEXT)
        strbuf_text(b, figure->text);
    else if (figure->kind == FIGURE_INT)
        strbuf_printf(b, "%lld", (long long)figure->integer);
    else
        show_figure(b, figure->real * (column->scale > 0 ? column->scale : 1));
}

/* The first column to the left, others to the right, as wide as their widest cell. */
static void print_table(struct strbuf *out, const struct rows *rows, const struct column *columns, size_t count) {
    size_t *widths = xarray(count, sizeof *widths);
    for (size_t c = 0; c < count; c++) {
        widths[c] = strlen(columns[c].title);
        for (size_t i = 0; i < rows->count; i++) {
            struct strbuf cell = {0};
            show_cell_of(&cell, &rows->items[i], &columns[c]);
            size_t width = cell.data ? show_columns(cell.data, cell.length) : 0;
            if (width > widths[c]) widths[c] = width;
            strbuf_free(&cell);
        }
    }
    for (size_t i = 0; i <= rows->count; i++) {
        for (size_t c = 0; c < count; c++) {
            struct strbuf cell = {0};
            if (i == 0)
                strbuf_text(&cell, columns[c].title);
            else
                show_cell_of(&cell, &rows->items[i - 1], &columns[c]);
            size_t pad = widths[c] - (cell.data ? show_columns(cell.data, cell.length) : 0);
            if (c) strbuf_text(out, "  ");
            if (c) strbuf_pad(out, ' ', pad);
            strbuf_add(out, cell.data ? cell.data : "", cell.length);
            if (c == 0 && count > 1) strbuf_pad(out, ' ', pad);
            strbuf_free(&cell);
        }
        strbuf_char(out, '\n');
    }
    free(widths);
}

static void print_markdown(struct strbuf *out, const struct rows *rows, const struct column *columns, size_t count) {
    for (size_t c = 0; c < count; c++) strbuf_printf(out, "| %s ", columns[c].title);
    strbuf_text(out, "|\n");
    for (size_t c = 0; c < count; c++) strbuf_text(out, c ? "|---:" : "|---");
    strbuf_text(out, "|\n");
    for (size_t i = 0; i < rows->count; i++) {
        for (size_t c = 0; c < count; c++) {
            strbuf_text(out, "| ");
            show_cell_of(out, &rows->items[i], &columns[c]);
            strbuf_char(out, ' ');
        }
        strbuf_text(out, "|\n");
    }
}

/* Lines around the tables; Markdown would run them together, so there they are a list. */
static void print_lines(struct strbuf *out, const char *lines, bool markdown) {
    for (const char *line = lines; line && *line;) {
        size_t length = strcspn(line, "\n");
        if (markdown) strbuf_text(out, "- ");
        strbuf_add(out, line, length);
        strbuf_char(out, '\n');
        line += length + (line[length] == '\n');
    }
}

/* Whether a table says anything beside what its rows are. */
static bool has_figures(const struct rows *rows, const struct column *columns, size_t count) {
    for (size_t i = 0; i < rows->count; i++)
        for (size_t c = 1; c < count; c++) {
            const struct figure *figure = columns[c].name ? row_find(&rows->items[i], columns[c].name) : NULL;
            if (figure && (figure->kind != FIGURE_REAL || !isnan(figure->real))) return true;
        }
    return false;
}

static void print_people(struct strbuf *out, const struct rows *rows, const struct rows_view *view) {
    bool markdown = strcmp(view->format, "markdown") == 0;
    print_lines(out, view->above, markdown);
    for (size_t t = 0; t < 2 && view->columns[t]; t++) {
        if (t && !has_figures(rows, view->columns[t], view->counts[t])) continue;
        if (t || view->above) strbuf_char(out, '\n');
        if (markdown)
            print_markdown(out, rows, view->columns[t], view->counts[t]);
        else
            print_table(out, rows, view->columns[t], view->counts[t]);
    }
    if (view->below) strbuf_char(out, '\n');
    print_lines(out, view->below, markdown);
}

/* ---- for machines ---- */

static void json_figure(struct json *j, const struct figure *figure) {
    switch (figure->kind) {
    case FIGURE_TEXT: json_text(j, figure->name, figure->text); break;
    case FIGURE_INT: json_int(j, figure->name, figure->integer); break;
    case FIGURE_REAL: json_fixed(j, figure->name, figure->real, figure->digits); break;
    case FIGURE_REALS:
        json_array(j, figure->name);
        for (size_t i = 0; i < figure->count; i++) json_fixed(j, NULL, figure->reals[i], figure->digits);
        json_end(j);
        break;
    }
}

/* An array with one row on each line. */
static void print_json(struct strbuf *out, const struct rows *rows) {
    strbuf_text(out, rows->count ? "[\n" : "[]\n");
    for (size_t i = 0; i < rows->count; i++) {
        struct json j = {0};
        json_object(&j, NULL);
        for (size_t k = 0; k < rows->items[i].count; k++) json_figure(&j, &rows->items[i].figures[k]);
        json_end(&j);
        strbuf_add(out, j.out.data, j.out.length);
        strbuf_text(out, i + 1 < rows->count ? ",\n" : "\n]\n");
        strbuf_free(&j.out);
    }
}

/* RFC 4180: a field that holds quotes, commas or newlines is quoted. */
static void csv_text(struct strbuf *out, const char *text) {
    bool quote = text[strcspn(text, "\",\r\n")] != 0;
    if (quote) strbuf_char(out, '"');
    for (const char *c = text; *c; c++) {
        if (*c == '"') strbuf_char(out, '"');
        strbuf_char(out, *c);
    }
    if (quote) strbuf_char(out, '"');
}

static void csv_figure(struct strbuf *out, const struct figure *figure) {
    switch (figure->kind) {
    case FIGURE_TEXT: csv_text(out, figure->text); break;
    case FIGURE_INT: strbuf_printf(out, "%lld", (long long)figure->integer); break;
    case FIGURE_REAL:
        if (!isnan(figure->real)) strbuf_printf(out, "%.*f", figure->digits, figure->real);
        break;
    case FIGURE_REALS:
        for (size_t i = 0; i < figure->count; i++)
            strbuf_printf(out, "%s%.*f", i ? ";" : "", figure->digits, figure->reals[i]);
        break;
    }
}

static void print_csv(struct strbuf *out, const struct rows *rows) {
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->items[i];
        for (size_t k = 0; i == 0 && k < row->count; k++)
            strbuf_printf(out, "%s%s", k ? "," : "", row->figures[k].name);
        if (i == 0) strbuf_char(out, '\n');
        for (size_t k = 0; k < row->count; k++) {
            if (k) strbuf_char(out, ',');
            csv_figure(out, &row->figures[k]);
        }
        strbuf_char(out, '\n');
    }
}

/* ---- both ---- */

int rows_check(const struct rows_view *view) {
    bool database = strcmp(view->format, "sqlite") == 0;
    if (database && !view->out) return complain(EXIT_USAGE, "--format sqlite needs --out FILE");
    return view->out ? rows_database_check(view->out) : EXIT_DONE;
}

int rows_print(const struct rows *rows, const struct rows_view *view) {
    struct strbuf out = {0};
    if (strcmp(view->format, "json") == 0)
        print_json(&out, rows);
    else if (strcmp(view->format, "csv") == 0)
        print_csv(&out, rows);
    else if (strcmp(view->format, "sqlite") != 0)
        print_people(&out, rows, view);
    if (out.length) output_buf(&out);
    strbuf_free(&out);
    return view->out && rows->count ? rows_database_add(view->out, view->table, rows) : EXIT_DONE;
}
