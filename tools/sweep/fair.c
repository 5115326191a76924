#include "fair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

enum { RESAMPLES = 1000 };

/* ---- groups ---- */

static char *group_name(const tempera_sampling *sampling) {
    const tempera_sampling plain = tempera_sampling_default();
    struct strbuf name = {0};
    for (size_t i = 0; i < SAMPLING_FILTERS; i++) {
        const struct field_info *field = &field_info[i];
        if (i == SAMPLING_temperature || field_number(sampling, field) == field_number(&plain, field)) continue;
        strbuf_printf(&name, "%s%s", name.length ? "+" : "", field->name);
    }
    if (name.length == 0) strbuf_text(&name, "temperature");
    return name.data;
}

static void add_to_group(struct fair_curves *curves, const struct summary *summary, size_t point) {
    char *name = group_name(&summary->points.items[point].sampling);
    struct sampler_group *group = NULL;
    for (size_t g = 0; g < curves->count && !group; g++)
        if (strcmp(curves->groups[g].name, name) == 0) group = &curves->groups[g];
    if (group) {
        free(name);
    } else {
        curves->groups = xgrow(curves->groups, curves->count + 1, sizeof *curves->groups);
        group = &curves->groups[curves->count++];
        *group = (struct sampler_group){.name = name};
    }
    group->point = xgrow(group->point, group->count + 1, sizeof *group->point);
    group->point[group->count++] = point;
}

/* ---- curves ---- */

struct fairness {
    struct fair_curves *curves;
    const struct summary *summary;
    enum metric metric;
    double sign;
    size_t *prompt; /* [prompts] of this resample */
    double *score;  /* [points] */
};

/* The settings' means over the resampled prompts, larger is better; NaN when none of the prompts has the metric. */
static void score_group(const struct fairness *f, const struct sampler_group *group) {
    for (size_t k = 0; k < group->count; k++) {
        double sum = 0, count = 0;
        for (size_t i = 0; i < f->summary->prompts.count; i++) {
            double value = summary_cell(f->summary, group->point[k], f->prompt[i])[f->metric];
            if (isnan(value)) continue;
            sum += value;
            count++;
        }
        f->score[k] = count > 0 ? f->sign * sum / count : NAN;
    }
}

static int compare_doubles(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Percentile interval of what the resamples gave. */
static void set_interval(struct estimate *estimate, double *values, size_t count, size_t units) {
    estimate->low = estimate->high = estimate->stderror = NAN;
    estimate->units = units;
    if (units < 2 || isnan(estimate->mean)) return;
    double sum = 0, squares = 0;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) values[kept++] = values[i];
    if (kept < 2) return;
    qsort(values, kept, sizeof *values, compare_doubles);
    for (size_t i = 0; i < kept; i++) sum += values[i];
    for (size_t i = 0; i < kept; i++) squares += (values[i] - sum / (double)kept) * (values[i] - sum / (double)kept);
    estimate->stderror = sqrt(squares / (double)(kept - 1));
    estimate->low = values[(size_t)(0.025 * (double)(kept - 1) + 0.5)];
    estimate->high = values[(size_t)(0.975 * (double)(kept - 1) + 0.5)];
}

/* curve[r][g][n]: resample 0 is the data as it is. */
struct curve_store {
    double *value;
    size_t *first; /* [groups] */
    size_t width;
};

static double *curve_at(const struct curve_store *store, size_t resample, size_t group) {
    return store->value + resample * store->width + store->first[group];
}

static void fill_resample(struct fairness *f, const struct curve_store *store, size_t resample) {
    for (size_t g = 0; g < f->curves->count; g++) {
        const struct sampler_group *group = &f->curves->groups[g];
        score_group(f, group);
        for (size_t n = 0; n < group->count; n++)
            curve_at(store, resample, g)[n] = f->sign * expected_best(f->score, group->count, n + 1);
    }
}

static void fill_all(struct fairness *f, const struct curve_store *store) {
    size_t prompts = f->summary->prompts.count;
    uint64_t state = 0;
    for (size_t i = 0; i < prompts; i++) f->prompt[i] = i;
    fill_resample(f, store, 0);
    for (size_t r = 1; r <= RESAMPLES; r++) {
        for (size_t i = 0; i < prompts; i++) f->prompt[i] = (size_t)(random_next(&state) % prompts);
        fill_resample(f, store, r);
    }
}

static void make_estimates(struct fairness *f, const struct curve_store *store) {
    size_t prompts = f->summary->prompts.count;
    double *values = xarray(RESAMPLES, sizeof *values);
    for (size_t g = 0; g < f->curves->count; g++) {
        struct sampler_group *group = &f->curves->groups[g];
        group->best = xarray(group->count, sizeof *group->best);
        for (size_t n = 0; n < group->count; n++) {
            group->best[n].mean = curve_at(store, 0, g)[n];
            for (size_t r = 0; r < RESAMPLES; r++) values[r] = curve_at(store, r + 1, g)[n];
            set_interval(&group->best[n], values, RESAMPLES, prompts);
        }
    }
    free(values);
}

static void compare_groups(struct fairness *f, const struct curve_store *store) {
    struct fair_curves *curves = f->curves;
    double *values = xarray(RESAMPLES, sizeof *values);
    size_t n = curves->budget - 1;
    curves->difference = xarray(curves->count, sizeof *curves->difference);
    for (size_t g = 1; g < curves->count; g++)
        if (f->sign * curves->groups[g].best[n].mean > f->sign * curves->groups[curves->leader].best[n].mean)
            curves->leader = g;
    for (size_t g = 0; g < curves->count; g++) {
        struct estimate *difference = &curves->difference[g];
        difference->mean = curves->groups[curves->leader].best[n].mean - curves->groups[g].best[n].mean;
        for (size_t r = 0; r < RESAMPLES; r++)
            values[r] = curve_at(store, r + 1, curves->leader)[n] - curve_at(store, r + 1, g)[n];
        set_interval(difference, values, RESAMPLES, f->summary->prompts.count);
    }
    free(values);
}

void fair_make(struct fair_curves *curves, const struct summary *summary, enum metric metric, bool less) {
    struct fairness f = {.curves = curves, .summary = summary, .metric = metric, .sign = less ? -1 : 1};
    struct curve_store store = {0};
    *curves = (struct fair_curves){0};
    for (size_t i = 0; i < summary->points.count; i++)
        if (!isnan(summary->estimate[i * METRIC_COUNT + metric].mean)) add_to_group(curves, summary, i);
    if (curves->count == 0) return;
    store.first = xarray(curves->count, sizeof *store.first);
    curves->budget = SIZE_MAX;
    for (size_t g = 0; g < curves->count; g++) {
        store.first[g] = store.width;
        store.width += curves->groups[g].count;
        if (curves->groups[g].count < curves->budget) curves->budget = curves->groups[g].count;
    }
    store.value = xarray((RESAMPLES + 1) * store.width, sizeof *store.value);
    f.prompt = xarray(summary->prompts.count, sizeof *f.prompt);
    f.score = xarray(store.width, sizeof *f.score);
    fill_all(&f, &store);
    make_estimates(&f, &store);
    compare_groups(&f, &store);
    free(store.value);
    free(store.first);
    free(f.prompt);
    free(f.score);
}

void fair_free(struct fair_curves *curves) {
    for (size_t g = 0; g < curves->count; g++) {
        free(curves->groups[g].name);
        free(curves->groups[g].point);
        free(curves->groups[g].best);
    }
    free(curves->groups);
    free(curves->difference);
    *curves = (struct fair_curves){0};
}
