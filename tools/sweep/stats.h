/* stats.h: how the figures of a database are shown: tables for people, CSV and JSON for programs. */
#ifndef SWEEP_STATS_H
#define SWEEP_STATS_H

#include "sweep/summary.h"

struct stats_view {
    enum metric metrics[METRIC_COUNT]; /* [metric_count] */
    size_t metric_count;               /* 0: in tables the usual ones that are there and fit, else all */
    enum metric sort;                  /* best first; METRIC_COUNT: in the order of the points */
    size_t baseline;                   /* index of the point that the others are compared with; SIZE_MAX: none */
    bool holm;                         /* adjust p by Holm, else by Benjamini-Hochberg */
    bool by_prompt;                    /* tables, CSV: a row for each prompt too */
    size_t rows;                       /* tables: the first of so many points; 0 = all */
};

/* No metric chosen, no order, no baseline. */
struct stats_view stats_view_default(void);
/* What a table with this view needs; of JSON and CSV only when metrics were chosen. */
struct metric_mask stats_mask(const struct stats_view *view);
/* Indices of the points in the order of the view; [points.count], owned by the caller. */
size_t *stats_order(const struct summary *summary, const struct stats_view *view);

/* On standard output. The first is a sweep's closing table, too. */
void stats_print_summary(const struct summary *summary, const struct stats_view *view);
void stats_print_json(const struct summary *summary, const struct stats_view *view, const char *path);
void stats_print_csv(const struct summary *summary, const struct stats_view *view);

#endif
