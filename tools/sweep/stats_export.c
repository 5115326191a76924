/* stats_export.c: the figures of a database as JSON and CSV. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_writer.h"
#include "output.h"
#include "sweep/stats.h"

/* Metrics in the order of the view, and what the comparisons of each give. */
struct export {
    const struct summary *summary;
    const struct stats_view *view;
    enum metric metrics[METRIC_COUNT];
    size_t count;
    struct difference *differences; /* [count][points.count]; NULL without a baseline */
};

static struct export export_make(const struct summary *s, const struct stats_view *view) {
    struct export e = {.summary = s, .view = view, .count = view->metric_count};
    for (size_t i = 0; i < e.count; i++) e.metrics[i] = view->metrics[i];
    if (e.count == 0)
        while (e.count < METRIC_COUNT) e.metrics[e.count] = (enum metric)e.count, e.count++;
    if (view->baseline == SIZE_MAX) return e;
    e.differences = xarray(e.count * s->points.count, sizeof *e.differences);
    for (size_t i = 0; i < e.count; i++)
        summary_compare(s, e.metrics[i], view->baseline, view->holm, e.differences + i * s->points.count);
    return e;
}

static const struct difference *difference_of(const struct export *e, size_t metric, size_t point) {
    return &e->differences[metric * e->summary->points.count + point];
}

/* ---- JSON ---- */

static void json_estimate(struct json *j, const struct estimate *e) {
    json_double(j, "mean", e->mean);
    json_double(j, "low", e->low);
    json_double(j, "high", e->high);
    json_double(j, "stderror", e->stderror);
    json_uint(j, "units", e->units);
}

static void json_difference(struct json *j, const struct difference *d) {
    json_object(j, "difference");
    json_estimate(j, &d->estimate);
    json_double(j, "p", d->p);
    json_double(j, "adjusted", d->adjusted);
    json_double(j, "correlation", d->correlation);
    json_end(j);
}

static void json_metric(struct json *j, const struct export *e, size_t metric, size_t point) {
    const struct summary *s = e->summary;
    enum metric m = e->metrics[metric];
    json_object(j, metric_info[m].name);
    json_estimate(j, &s->estimate[point * METRIC_COUNT + m]);
    json_array(j, "by_prompt");
    for (size_t p = 0; p < s->prompts.count; p++) json_double(j, NULL, summary_cell(s, point, p)[m]);
    json_end(j);
    if (e->differences && point != e->view->baseline) json_difference(j, difference_of(e, metric, point));
    json_end(j);
}

static void json_settings(struct json *j, const tempera_sampling *sampling) {
    char order[160];
    json_object(j, "settings");
    for (size_t i = 0; i < SAMPLING_FIELDS; i++) {
        const struct field_info *field = &field_info[i];
        if (!field_is_identity(field)) continue;
        switch (field->kind) {
        case FIELD_FLOAT: json_double(j, field->name, field_number(sampling, field)); break;
        case FIELD_INT: json_int(j, field->name, (int64_t)field_number(sampling, field)); break;
        case FIELD_SEED: json_uint(j, field->name, sampling->seed); break;
        case FIELD_BOOL: json_bool(j, field->name, field_number(sampling, field) != 0); break;
        }
    }
    tempera_order_format(&sampling->order, order, sizeof order);
    json_text(j, "order", order);
    json_bool(j, "independent", sampling->independent);
    json_end(j);
}

static void json_head(struct json *j, const struct export *e, const char *path) {
    static const char *const better[] = {[METRIC_NONE] = "none", [METRIC_MORE] = "more", [METRIC_LESS] = "less"};
    const struct summary *s = e->summary;
    json_text(j, "database", path);
    json_text(j, "units", s->units_are_samples ? "samples" : "prompts");
    json_uint(j, "unit_count", s->units);
    json_int(j, "resamples", BOOTSTRAP_RESAMPLES);
    if (e->differences) {
        json_int(j, "baseline", s->points.items[e->view->baseline].point);
        json_text(j, "correction", e->view->holm ? "holm" : "benjamini-hochberg");
    }
    json_array(j, "prompts");
    for (size_t p = 0; p < s->prompts.count; p++) json_text(j, NULL, s->prompts.items[p].id);
    json_end(j);
    json_array(j, "metrics");
    for (size_t i = 0; i < e->count; i++) {
        const struct metric_info *info = &metric_info[e->metrics[i]];
        json_object(j, NULL);
        json_text(j, "name", info->name);
        json_text(j, "better", better[info->better]);
        json_text(j, "text", info->text);
        json_end(j);
    }
    json_end(j);
}

void stats_print_json(const struct summary *s, const struct stats_view *view, const char *path) {
    struct export e = export_make(s, view);
    size_t *order = stats_order(s, view);
    struct json j = {0};
    json_object(&j, NULL);
    json_head(&j, &e, path);
    json_array(&j, "points");
    for (size_t i = 0; i < s->points.count; i++) {
        const struct stored_point *point = &s->points.items[order[i]];
        json_object(&j, NULL);
        json_int(&j, "point", point->point);
        json_text(&j, "name", point->name);
        json_int(&j, "samples", s->samples[order[i]]);
        json_settings(&j, &point->sampling);
        json_object(&j, "metrics");
        for (size_t m = 0; m < e.count; m++) json_metric(&j, &e, m, order[i]);
        json_end(&j);
        json_end(&j);
        output_buf(&j.out);
    }
    json_end(&j);
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
    free(order);
    free(e.differences);
}

/* ---- CSV: RFC 4180 with \n; empty where there is no number ---- */

static void csv_text(struct strbuf *out, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        strbuf_text(out, text);
        return;
    }
    strbuf_char(out, '"');
    for (const char *c = text; *c; c++) {
        if (*c == '"') strbuf_char(out, '"');
        strbuf_char(out, *c);
    }
    strbuf_char(out, '"');
}

static void csv_number(struct strbuf *out, double value) {
    char text[40] = "";
    strbuf_char(out, ',');
    for (int digits = 6; isfinite(value) && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    strbuf_text(out, text);
}

/* "point,setting,temperature,…": what every row begins with. */
static void csv_point_head(struct strbuf *out) {
    strbuf_text(out, "point,setting,samples");
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i])) strbuf_printf(out, ",%s", field_info[i].name);
    strbuf_text(out, ",order,independent");
}

static void csv_point(struct strbuf *out, const struct summary *s, size_t index) {
    const struct stored_point *point = &s->points.items[index];
    char order[160];
    strbuf_printf(out, "%d,", (int)point->point);
    csv_text(out, point->name);
    strbuf_printf(out, ",%lld", (long long)s->samples[index]);
    for (size_t i = 0; i < SAMPLING_FIELDS; i++) {
        if (!field_is_identity(&field_info[i])) continue;
        strbuf_char(out, ',');
        field_show(out, &point->sampling, &field_info[i]);
    }
    tempera_order_format(&point->sampling.order, order, sizeof order);
    strbuf_char(out, ',');
    csv_text(out, order);
    strbuf_printf(out, ",%s", point->sampling.independent ? "true" : "false");
}

static void csv_estimate(struct strbuf *out, const struct estimate *e) {
    csv_number(out, e->mean);
    csv_number(out, e->low);
    csv_number(out, e->high);
    csv_number(out, e->stderror);
    strbuf_printf(out, ",%zu", e->units);
}

static void csv_rows(struct strbuf *out, const struct export *e, size_t point, const struct strbuf *start) {
    const struct summary *s = e->summary;
    for (size_t i = 0; i < e->count; i++) {
        enum metric m = e->metrics[i];
        if (!s->present[m]) continue;
        strbuf_add(out, start->data, start->length);
        strbuf_printf(out, ",%s", metric_info[m].name);
        csv_estimate(out, &s->estimate[point * METRIC_COUNT + m]);
        if (e->differences) {
            const struct difference *d = difference_of(e, i, point);
            csv_estimate(out, &d->estimate);
            csv_number(out, d->p);
            csv_number(out, d->adjusted);
            csv_number(out, d->correlation);
        }
        strbuf_char(out, '\n');
    }
}

static void csv_prompt_rows(struct strbuf *out, const struct export *e, size_t point, const struct strbuf *start) {
    const struct summary *s = e->summary;
    for (size_t p = 0; p < s->prompts.count; p++)
        for (size_t i = 0; i < e->count; i++) {
            double value = summary_cell(s, point, p)[e->metrics[i]];
            if (isnan(value)) continue;
            strbuf_add(out, start->data, start->length);
            strbuf_char(out, ',');
            csv_text(out, s->prompts.items[p].id);
            strbuf_printf(out, ",%s", metric_info[e->metrics[i]].name);
            csv_number(out, value);
            strbuf_char(out, '\n');
        }
}

void stats_print_csv(const struct summary *s, const struct stats_view *view) {
    struct export e = export_make(s, view);
    size_t *order = stats_order(s, view);
    struct strbuf out = {0}, start = {0};
    csv_point_head(&out);
    if (view->by_prompt)
        strbuf_text(&out, ",prompt,metric,value\n");
    else if (e.differences)
        strbuf_text(&out, ",metric,mean,low,high,stderror,units,difference,difference_low,difference_high,"
                          "difference_stderror,difference_units,p,adjusted,correlation\n");
    else
        strbuf_text(&out, ",metric,mean,low,high,stderror,units\n");
    for (size_t i = 0; i < s->points.count; i++) {
        strbuf_clear(&start);
        csv_point(&start, s, order[i]);
        (view->by_prompt ? csv_prompt_rows : csv_rows)(&out, &e, order[i], &start);
        output_buf(&out);
    }
    strbuf_free(&start);
    strbuf_free(&out);
    free(order);
    free(e.differences);
}
