/* stats_table.c: the figures of a database as tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "sweep/stats.h"

/* In the order in which they find room. */
static const enum metric usual[] = {METRIC_pass_1,        METRIC_bleu,      METRIC_logprob, METRIC_distinct_2,
                                    METRIC_seq_rep_4,     METRIC_self_bleu, METRIC_length,  METRIC_perplexity,
                                    METRIC_majority_vote, METRIC_entropy,   METRIC_kept};
enum {
    USUAL = sizeof usual / sizeof *usual,
    NAME_LEAST = 7, /* "setting" */
    NAME_MOST = 32, /* where columns want the room */
    GAP = 2,
    DIGITS = 3,
    FEW_UNITS = 10, /* intervals of so many hold the mean in 90 of 100 cases, not in 95 */
    NUMBER = 48
};

struct stats_view stats_view_default(void) {
    return (struct stats_view){.sort = METRIC_COUNT, .baseline = SIZE_MAX, .holm = true};
}

struct metric_mask stats_mask(const struct stats_view *view) {
    struct metric_mask mask = {{false}};
    for (size_t i = 0; i < view->metric_count; i++) mask.wanted[view->metrics[i]] = true;
    for (size_t i = 0; i < USUAL && view->metric_count == 0; i++) mask.wanted[usual[i]] = true;
    if (view->sort != METRIC_COUNT) mask.wanted[view->sort] = true;
    return mask;
}

/* ---- order ---- */

struct sort_key {
    double value;
    size_t index;
};

static int compare_keys(const void *a, const void *b) {
    const struct sort_key *x = a, *y = b;
    if (isnan(x->value) != isnan(y->value)) return isnan(x->value) ? 1 : -1;
    if (x->value != y->value && !isnan(x->value)) return x->value > y->value ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

size_t *stats_order(const struct summary *s, const struct stats_view *view) {
    size_t *order = xarray(s->points.count, sizeof *order);
    struct sort_key *keys = xarray(s->points.count, sizeof *keys);
    for (size_t i = 0; i < s->points.count; i++) {
        keys[i].index = i;
        if (view->sort == METRIC_COUNT) continue;
        double sign = metric_info[view->sort].better == METRIC_LESS ? -1 : 1;
        keys[i].value = sign * s->estimate[i * METRIC_COUNT + view->sort].mean;
    }
    if (s->points.count) qsort(keys, s->points.count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < s->points.count; i++) order[i] = keys[i].index;
    free(keys);
    return order;
}

/* ---- columns ---- */

struct row {
    const char *name;
    size_t prompt; /* SIZE_MAX: over all prompts */
    size_t point;
};

struct column {
    enum metric metric;
    int decimals;
    size_t best; /* index of a point, SIZE_MAX = none */
    size_t mean_width, spread_width, width;
};

static bool fancy(void) {
    return !terminal_is(stdout) || terminal_utf8();
}

/* `digits` of what is largest. */
static int decimals_for(double most, int digits) {
    int whole = 0;
    for (double power = 1; power <= most && whole < digits; power *= 10) whole++;
    return digits - whole;
}

static const struct estimate *estimate_of(const struct summary *s, size_t point, enum metric metric) {
    return &s->estimate[point * METRIC_COUNT + metric];
}

static double row_value(const struct summary *s, const struct row *row, enum metric metric) {
    if (row->prompt == SIZE_MAX) return estimate_of(s, row->point, metric)->mean;
    return summary_cell(s, row->point, row->prompt)[metric];
}

/* Half of the interval's width; NaN when there is none, and in rows of one prompt. */
static double row_spread(const struct summary *s, const struct row *row, enum metric metric) {
    const struct estimate *e = estimate_of(s, row->point, metric);
    return row->prompt == SIZE_MAX ? (e->high - e->low) / 2 : (double)NAN;
}

/* Numbers of 10^9 and more are written short. */
static size_t format_number(char *text, double value, int decimals) {
    if (isnan(value)) return (size_t)snprintf(text, NUMBER, "-");
    if (fabs(value) >= 1e9) return (size_t)snprintf(text, NUMBER, "%.3g", value);
    return (size_t)snprintf(text, NUMBER, "%.*f", decimals, value);
}

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

/* The best point, where one way is better and not all are as good. */
static size_t single_best(const struct summary *s, enum metric metric) {
    size_t best = metric_info[metric].better == METRIC_NONE ? SIZE_MAX : summary_best(s, metric);
    for (size_t i = 0; i < s->points.count && best != SIZE_MAX; i++) {
        double mean = estimate_of(s, i, metric)->mean;
        if (!isnan(mean) && mean != estimate_of(s, best, metric)->mean) return best;
    }
    return SIZE_MAX;
}

static struct column column_make(const struct summary *s, enum metric metric, const struct row *rows, size_t count) {
    struct column c = {.metric = metric, .best = SIZE_MAX};
    char text[NUMBER];
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        double value = fabs(row_value(s, &rows[i], metric));
        if (value > most) most = value;
    }
    c.decimals = decimals_for(most, DIGITS);
    for (size_t i = 0; i < count; i++) {
        double spread = row_spread(s, &rows[i], metric);
        c.mean_width = largest(c.mean_width, format_number(text, row_value(s, &rows[i], metric), c.decimals));
        if (!isnan(spread)) c.spread_width = largest(c.spread_width, format_number(text, spread, c.decimals));
    }
    c.best = single_best(s, metric);
    c.width = c.mean_width + (c.best != SIZE_MAX); /* its mark */
    if (c.spread_width) c.width += (fancy() ? 2 : 3) + c.spread_width;
    c.width = largest(c.width, strlen(metric_info[metric].name));
    return c;
}

/* "-1.234* ±0.056", flush right. */
static void column_cell(struct strbuf *out, const struct summary *s, const struct column *c, const struct row *row) {
    char mean[NUMBER], spread[NUMBER];
    double half = row_spread(s, row, c->metric);
    size_t used = c->mean_width + (c->best != SIZE_MAX) + (c->spread_width ? (fancy() ? 2 : 3) + c->spread_width : 0);
    format_number(mean, row_value(s, row, c->metric), c->decimals);
    strbuf_pad(out, ' ', GAP + c->width - used);
    strbuf_printf(out, "%*s", (int)c->mean_width, mean);
    if (c->best != SIZE_MAX) strbuf_char(out, row->prompt == SIZE_MAX && row->point == c->best ? '*' : ' ');
    if (!c->spread_width) return;
    if (isnan(half)) {
        strbuf_pad(out, ' ', (fancy() ? 2 : 3) + c->spread_width);
        return;
    }
    format_number(spread, half, c->decimals);
    strbuf_printf(out, "%s%*s", fancy() ? " \xC2\xB1" : " +-", (int)c->spread_width, spread);
}

/* ---- the table ---- */

static void end_line(struct strbuf *out) {
    while (out->length && out->data[out->length - 1] == ' ') out->data[--out->length] = 0;
    strbuf_char(out, '\n');
}

struct layout {
    size_t prompt_width;              /* 0: no such column */
    size_t name_width, samples_width; /* samples: 0 when all points have as many */
    size_t width;
};

static size_t left_width(const struct layout *l) {
    return (l->prompt_width ? l->prompt_width + GAP : 0) + l->name_width +
           (l->samples_width ? l->samples_width + GAP : 0);
}

static struct layout layout_make(const struct summary *s, const struct row *rows, size_t count) {
    struct layout l = {.name_width = NAME_LEAST, .width = terminal_width()};
    size_t most = l.width > 100 ? NAME_MOST + (l.width - 100) / 2 : NAME_MOST;
    for (size_t i = 0; i < count; i++) {
        l.name_width = largest(l.name_width, show_columns(rows[i].name, strlen(rows[i].name)));
        if (rows[i].prompt == SIZE_MAX) continue;
        const char *id = s->prompts.items[rows[i].prompt].id;
        l.prompt_width = largest(l.prompt_width, largest(6, show_columns(id, strlen(id))));
    }
    for (size_t i = 1; i < s->points.count; i++)
        if (s->samples[i] != s->samples[0]) l.samples_width = 7; /* the heading's */
    if (l.name_width > most) l.name_width = most;
    if (l.prompt_width > 16) l.prompt_width = 16;
    return l;
}

static void left_cells(struct strbuf *out, const struct summary *s, const struct layout *l, const struct row *row) {
    struct strbuf name = {0}, id = {0};
    if (l->prompt_width) {
        const char *text = row->prompt == SIZE_MAX ? "all" : s->prompts.items[row->prompt].id;
        show_escaped(&id, text, strlen(text));
        show_cell(out, id.data ? id.data : "", l->prompt_width);
        strbuf_pad(out, ' ', GAP);
    }
    show_escaped(&name, row->name, strlen(row->name));
    show_cell(out, name.data ? name.data : "", l->name_width);
    if (l->samples_width && row->prompt == SIZE_MAX)
        strbuf_printf(out, "%*s%*lld", GAP, "", (int)l->samples_width, (long long)s->samples[row->point]);
    else if (l->samples_width)
        strbuf_pad(out, ' ', GAP + l->samples_width);
    strbuf_free(&name);
    strbuf_free(&id);
}

/* One table of columns that fit side by side. */
static void print_block(const struct summary *s, const struct layout *l, const struct row *rows, size_t row_count,
                        const struct column *columns, size_t count) {
    struct strbuf out = {0};
    if (l->prompt_width) {
        show_cell(&out, "prompt", l->prompt_width);
        strbuf_pad(&out, ' ', GAP);
    }
    show_cell(&out, "setting", l->name_width);
    if (l->samples_width) strbuf_printf(&out, "%*s%*s", GAP, "", (int)l->samples_width, "samples");
    for (size_t c = 0; c < count; c++)
        strbuf_printf(&out, "%*s%*s", GAP, "", (int)columns[c].width, metric_info[columns[c].metric].name);
    end_line(&out);
    for (size_t r = 0; r < row_count; r++) {
        left_cells(&out, s, l, &rows[r]);
        for (size_t c = 0; c < count; c++) column_cell(&out, s, &columns[c], &rows[r]);
        end_line(&out);
    }
    output_buf(&out);
    strbuf_free(&out);
}

/* All points in order, or for each point its prompts and then all. */
static struct row *make_rows(const struct summary *s, const struct stats_view *view, const size_t *order, size_t points,
                             size_t *count) {
    size_t prompts = view->by_prompt ? s->prompts.count : 0;
    struct row *rows = xarray(points, (prompts + 1) * sizeof *rows);
    *count = 0;
    for (size_t i = 0; i < points; i++) {
        const char *name = s->points.items[order[i]].name;
        for (size_t p = 0; p < prompts; p++) rows[(*count)++] = (struct row){name, p, order[i]};
        rows[(*count)++] = (struct row){name, SIZE_MAX, order[i]};
    }
    return rows;
}

/* The usual metrics that are there, as many as fit; returns how many, *left how many more there are. */
static size_t choose_usual(const struct summary *s, const struct layout *l, const struct row *rows, size_t row_count,
                           enum metric *chosen, size_t *left) {
    size_t used = left_width(l), count = 0;
    *left = 0;
    for (size_t i = 0; i < USUAL; i++) {
        if (!s->present[usual[i]]) continue;
        size_t width = GAP + column_make(s, usual[i], rows, row_count).width;
        if (*left || (used + width > l->width && count)) {
            ++*left;
            continue;
        }
        used += width;
        chosen[count++] = usual[i];
    }
    return count;
}

static void print_notes(const struct summary *s, size_t hidden_rows, size_t hidden_columns, bool marked, bool equal) {
    struct strbuf out = {0};
    const char *sign = fancy() ? "\xC2\xB1" : "+-";
    if (hidden_rows) strbuf_printf(&out, "%zu more settings\n", hidden_rows);
    if (equal) strbuf_printf(&out, "%lld samples of each setting\n", (long long)s->samples[0]);
    if (s->units_are_samples)
        strbuf_printf(&out, "%s: half of the 95%% bootstrap interval over the samples of the only prompt\n", sign);
    else
        strbuf_printf(&out, "%s: half of the 95%% bootstrap interval over %zu prompts\n", sign, s->units);
    if (s->units < FEW_UNITS)
        strbuf_printf(&out, "few %s: with 5, an interval holds the true mean in 84%% of cases, not 95%%\n",
                      s->units_are_samples ? "samples" : "prompts");
    if (marked) strbuf_text(&out, "*: the best of its column\n");
    if (hidden_columns)
        strbuf_printf(&out, "%zu more usual metrics do not fit: --metric NAME, --json, --csv show all\n",
                      hidden_columns);
    output_buf(&out);
    strbuf_free(&out);
}

/* ---- differences ---- */

/* How many times as many units would be needed for the same certainty if the two were independent. */
static double pairing_gain(const struct summary *s, size_t point, size_t baseline, enum metric metric,
                           const struct difference *d) {
    double a = estimate_of(s, point, metric)->stderror, b = estimate_of(s, baseline, metric)->stderror;
    double paired = d->estimate.stderror * d->estimate.stderror;
    return paired > 0 ? (a * a + b * b) / paired : (double)NAN;
}

static void number_cell(struct strbuf *out, double value, int decimals, int width) {
    char text[NUMBER];
    format_number(text, value, decimals);
    strbuf_printf(out, "%*s%*s", GAP, "", width, text);
}

static void p_cell(struct strbuf *out, double p) {
    char text[NUMBER] = "-";
    if (!isnan(p)) snprintf(text, sizeof text, p < 0.0001 ? "<0.0001" : "%.4f", p);
    strbuf_printf(out, "  %8s", text);
}

static void gain_cell(struct strbuf *out, double gain) {
    if (gain >= 1000)
        strbuf_printf(out, "  %6s", ">999");
    else
        number_cell(out, gain, 1, 6);
}

static void heading(struct strbuf *out, const struct summary *s, size_t baseline, enum metric metric) {
    const char *name = s->points.items[baseline].name;
    char text[NUMBER];
    double mean = estimate_of(s, baseline, metric)->mean;
    format_number(text, mean, decimals_for(fabs(mean), DIGITS + 1));
    strbuf_printf(out, "\n%s, less that of \"", metric_info[metric].name);
    show_escaped(out, name, strlen(name));
    strbuf_printf(out, "\" (%s)\n", text);
}

static void print_differences(const struct summary *s, const struct stats_view *view, const struct layout *l,
                              const size_t *order, size_t points, enum metric metric) {
    struct strbuf out = {0};
    struct difference *d = xarray(s->points.count, sizeof *d);
    double most = 0;
    summary_compare(s, metric, view->baseline, view->holm, d);
    for (size_t i = 0; i < points; i++)
        if (fabs(d[order[i]].estimate.mean) > most) most = fabs(d[order[i]].estimate.mean);
    int decimals = decimals_for(most, DIGITS + 1);
    heading(&out, s, view->baseline, metric);
    show_cell(&out, "setting", l->name_width);
    strbuf_printf(&out, "  %10s  %10s  %10s  %8s  %8s  %6s  %6s\n", "difference", "low", "high", "p",
                  view->holm ? "p Holm" : "p B-H", "r", "gain");
    for (size_t i = 0; i < points; i++) {
        size_t point = order[i];
        struct strbuf name = {0};
        if (point == view->baseline) continue;
        show_escaped(&name, s->points.items[point].name, strlen(s->points.items[point].name));
        show_cell(&out, name.data ? name.data : "", l->name_width);
        strbuf_free(&name);
        number_cell(&out, d[point].estimate.mean, decimals, 10);
        number_cell(&out, d[point].estimate.low, decimals, 10);
        number_cell(&out, d[point].estimate.high, decimals, 10);
        p_cell(&out, d[point].p);
        p_cell(&out, d[point].adjusted);
        number_cell(&out, d[point].correlation, 3, 6);
        gain_cell(&out, pairing_gain(s, point, view->baseline, metric, &d[point]));
        strbuf_char(&out, '\n');
    }
    free(d);
    output_buf(&out);
    strbuf_free(&out);
}

static void print_difference_notes(const struct stats_view *view) {
    struct strbuf out = {0};
    strbuf_printf(&out,
                  "p: paired sign-flip test; %s: adjusted over the settings of a table; r: correlation with the "
                  "baseline\ngain: how many times as many samples would be needed if the settings were not paired\n",
                  view->holm ? "p Holm" : "p B-H (Benjamini-Hochberg)");
    output_buf(&out);
    strbuf_free(&out);
}

/* ---- all of it ---- */

void stats_print_summary(const struct summary *s, const struct stats_view *view) {
    enum metric chosen[METRIC_COUNT];
    size_t row_count, hidden = 0, count = view->metric_count, points = s->points.count;
    size_t *order = stats_order(s, view);
    bool marked = false;
    if (view->rows && points > view->rows) points = view->rows;
    struct row *rows = make_rows(s, view, order, points, &row_count);
    struct layout l = layout_make(s, rows, row_count);
    if (count)
        memcpy(chosen, view->metrics, count * sizeof *chosen);
    else
        count = choose_usual(s, &l, rows, row_count, chosen, &hidden);
    for (size_t first = 0, next; first < count; first = next) {
        struct column columns[METRIC_COUNT];
        size_t used = left_width(&l);
        for (next = first; next < count; next++) {
            columns[next - first] = column_make(s, chosen[next], rows, row_count);
            used += GAP + columns[next - first].width;
            if (used > l.width && next > first) break;
            marked |= columns[next - first].best != SIZE_MAX;
        }
        if (first) output_write("\n", 1);
        print_block(s, &l, rows, row_count, columns, next - first);
    }
    print_notes(s, s->points.count - points, hidden, marked, l.samples_width == 0);
    for (size_t i = 0; i < count && view->baseline != SIZE_MAX; i++)
        print_differences(s, view, &l, order, points, chosen[i]);
    if (count && view->baseline != SIZE_MAX) print_difference_notes(view);
    free(rows);
    free(order);
}
