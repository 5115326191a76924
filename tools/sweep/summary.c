/* summary.c: the figures of a database. */
#include "sweep/summary.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- every processor ---- */

struct crew {
    void (*body)(void *user, size_t index);
    void *user;
    size_t count;
    atomic_size_t next;
};

static void *crew_member(void *argument) {
    struct crew *crew = argument;
    for (size_t i; (i = atomic_fetch_add(&crew->next, 1)) < crew->count;) crew->body(crew->user, i);
    return NULL;
}

/* body(user, i) for each i below count, in no order; this thread works too, so that none need start. */
static void in_parallel(size_t count, void (*body)(void *user, size_t index), void *user) {
    enum { MOST = 64 };
    pthread_t threads[MOST];
    struct crew crew = {.body = body, .user = user, .count = count};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = processors > 1 ? (size_t)processors - 1 : 0, started = 0;
    if (wanted > MOST) wanted = MOST;
    while (started < wanted && started + 1 < count && pthread_create(&threads[started], NULL, crew_member, &crew) == 0)
        started++;
    crew_member(&crew);
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
}

/* ---- values ---- */

enum unit_kind { OF_CELL, OF_SAMPLE, OF_TOKENS };

/* What the samples of the only prompt give of a metric; see summary.h. */
static enum unit_kind unit_kind(enum metric metric) {
    switch (metric) {
    case METRIC_log_likelihood:
    case METRIC_length:
    case METRIC_finish_eos:
    case METRIC_finish_stop:
    case METRIC_finish_length:
    case METRIC_finish_error:
    case METRIC_seq_rep_1:
    case METRIC_seq_rep_2:
    case METRIC_seq_rep_3:
    case METRIC_seq_rep_4:
    case METRIC_loop_rate:
    case METRIC_exact_match:
    case METRIC_pass_1:
    case METRIC_verified:
    case METRIC_bleu:
    case METRIC_chrf:
    case METRIC_rouge_l: return OF_SAMPLE;
    case METRIC_logprob:
    case METRIC_perplexity:
    case METRIC_final_logprob:
    case METRIC_entropy:
    case METRIC_kept:
    case METRIC_kept_mass:
    case METRIC_greedy_agreement: return OF_TOKENS;
    default: return OF_CELL;
    }
}

static double *cell_of(const struct summary *s, size_t point, size_t prompt) {
    return s->cell + (point * s->prompts.count + prompt) * METRIC_COUNT;
}

static double *unit_of(const struct summary *s, size_t point, size_t unit) {
    return s->unit + (point * s->units + unit) * METRIC_COUNT;
}

static void fill_nan(double *values, size_t count) {
    for (size_t i = 0; i < count; i++) values[i] = (double)NAN;
}

/* One prompt's samples. */
struct prompt_work {
    struct summary *summary;
    const struct sample_set *set;
    const struct metric_mask *mask;
    size_t prompt;
    struct metric_mask alone; /* for cells of one sample */
    size_t *point, *unit;     /* [set->count], indices; only where the units are samples */
    double *mean_length;      /* [points.count]; the same */
    bool *verified;           /* [points.count]: every sample has a verdict; the same */
};

static struct cell cell_make(const struct prompt_work *work, size_t first, size_t count) {
    return (struct cell){.samples = work->set->items + first,
                         .count = count,
                         .prompt = &work->summary->prompts.items[work->prompt],
                         .vocab_size = work->summary->vocab_size};
}

static void measure_cell(void *user, size_t point) {
    struct prompt_work *work = user;
    size_t first, count = sample_set_point(work->set, work->summary->points.items[point].point, &first);
    double *value = cell_of(work->summary, point, work->prompt);
    struct cell cell = cell_make(work, first, count);
    work->summary->samples[point] += (int64_t)count;
    if (count) metrics_cell(&cell, work->mask, value);
}

static void measure_sample(void *user, size_t index) {
    struct prompt_work *work = user;
    const struct sample_record *sample = &work->set->items[index];
    size_t point = work->point[index];
    if (point == SIZE_MAX) return;
    const double *whole = cell_of(work->summary, point, 0);
    double *value = unit_of(work->summary, point, work->unit[index]), logprob = 0;
    double weight = work->mean_length[point] > 0 ? (double)sample->token_count / work->mean_length[point] : 0;
    struct cell cell = cell_make(work, index, 1);
    metrics_cell(&cell, &work->alone, value);
    if (weight > 0) logprob = value[METRIC_logprob] + log(whole[METRIC_perplexity]); /* less the cell's */
    double right = value[METRIC_exact_match];
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        enum unit_kind kind = unit_kind((enum metric)m);
        bool wanted = !work->mask || work->mask->wanted[m];
        if (kind == OF_CELL || !wanted)
            value[m] = (double)NAN;
        else if (m == METRIC_pass_1) /* of what the cell's is */
            value[m] = work->verified[point] ? (double)(sample->verdict > 0) : right;
        else if (m == METRIC_perplexity)
            value[m] = whole[m] * (1 - weight * logprob);
        else if (kind == OF_TOKENS) /* a sample without tokens weighs nothing */
            value[m] = whole[m] + (weight > 0 ? weight * (value[m] - whole[m]) : 0);
    }
}

static int compare_int32(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The distinct sample indices of a set, ascending. */
static int32_t *sample_indices(const struct sample_set *set, size_t *count) {
    int32_t *indices = xarray(set->count, sizeof *indices);
    *count = 0;
    for (size_t i = 0; i < set->count; i++) indices[i] = set->items[i].sample;
    if (set->count) qsort(indices, set->count, sizeof *indices, compare_int32);
    for (size_t i = 0; i < set->count; i++)
        if (i == 0 || indices[i] != indices[i - 1]) indices[(*count)++] = indices[i];
    return indices;
}

/* Units of the only prompt, after its cells. */
static void measure_samples(struct prompt_work *work) {
    struct summary *s = work->summary;
    int32_t *indices = sample_indices(work->set, &s->units);
    s->unit = xarray(s->points.count * s->units, METRIC_COUNT * sizeof *s->unit);
    fill_nan(s->unit, s->points.count * s->units * METRIC_COUNT);
    work->point = xarray(work->set->count, sizeof *work->point);
    work->unit = xarray(work->set->count, sizeof *work->unit);
    work->mean_length = xarray(s->points.count, sizeof *work->mean_length);
    work->verified = xarray(s->points.count, sizeof *work->verified);
    for (size_t i = 0; i < work->set->count; i++) work->point[i] = SIZE_MAX; /* samples of no point are none's */
    for (size_t p = 0; p < s->points.count; p++) {
        size_t first, count = sample_set_point(work->set, s->points.items[p].point, &first), tokens = 0;
        work->verified[p] = true;
        for (size_t i = first; i < first + count; i++) {
            const int32_t *found =
                bsearch(&work->set->items[i].sample, indices, s->units, sizeof *indices, compare_int32);
            work->point[i] = p;
            work->unit[i] = (size_t)(found - indices);
            tokens += work->set->items[i].token_count;
            work->verified[p] &= work->set->items[i].verdict >= 0;
        }
        if (count) work->mean_length[p] = (double)tokens / (double)count;
    }
    for (size_t m = 0; m < METRIC_COUNT; m++)
        work->alone.wanted[m] = unit_kind((enum metric)m) != OF_CELL && (!work->mask || work->mask->wanted[m]);
    work->alone.wanted[METRIC_logprob] |= work->alone.wanted[METRIC_perplexity];
    work->alone.wanted[METRIC_exact_match] |= work->alone.wanted[METRIC_pass_1];
    in_parallel(work->set->count, measure_sample, work);
    free(work->verified);
    free(work->mean_length);
    free(work->unit);
    free(work->point);
    free(indices);
}

static int measure_prompt(struct summary *s, struct store *store, const struct metric_mask *mask, size_t prompt) {
    struct sample_set set = {0};
    struct prompt_work work = {.summary = s, .set = &set, .mask = mask, .prompt = prompt};
    int status = store_load_samples(store, (int32_t)prompt, &set);
    if (!status) {
        in_parallel(s->points.count, measure_cell, &work);
        if (s->units_are_samples) measure_samples(&work);
    }
    sample_set_free(&set);
    return status;
}

/* ---- estimates ---- */

static void estimate_point(void *user, size_t point) {
    struct summary *s = user;
    struct estimate *out = s->estimate + point * METRIC_COUNT;
    estimate_means(s->resamples, s->unit + point * s->units * METRIC_COUNT, s->units, METRIC_COUNT, METRIC_COUNT, out);
    for (size_t m = 0; m < METRIC_COUNT && s->units_are_samples; m++)
        if (unit_kind((enum metric)m) == OF_CELL) {
            out[m].mean = cell_of(s, point, 0)[m];
            out[m].units = isnan(out[m].mean) ? 0 : (size_t)s->samples[point];
        }
}

static int load(struct summary *s, struct store *store) {
    int64_t value = 0;
    int status = store_load_points(store, &s->points);
    if (!status) status = store_load_prompts(store, &s->prompts);
    if (status) return status;
    char *vocab_size = store_manifest(store, "vocab_size");
    if (!vocab_size || !parse_int(vocab_size, 1, INT32_MAX, &value))
        status = complain(EXIT_FAILED, "%s: its manifest has no vocab_size", store_path(store));
    s->vocab_size = (int32_t)value;
    free(vocab_size);
    return status;
}

int summary_make(struct summary *s, struct store *store, const struct metric_mask *mask) {
    *s = (struct summary){.resamples = resamples_new()};
    int status = load(s, store);
    if (status) return status;
    size_t points = s->points.count, cells = points * s->prompts.count;
    s->units_are_samples = s->prompts.count == 1;
    s->cell = xarray(cells, METRIC_COUNT * sizeof *s->cell);
    s->samples = xarray(points, sizeof *s->samples);
    s->estimate = xarray(points, METRIC_COUNT * sizeof *s->estimate);
    fill_nan(s->cell, cells * METRIC_COUNT);
    for (size_t prompt = 0; prompt < s->prompts.count && !status; prompt++) {
        if (interrupted()) return EXIT_INTERRUPTED;
        status = measure_prompt(s, store, mask, prompt);
    }
    if (status) return status;
    if (!s->units_are_samples) {
        s->unit = s->cell;
        s->units = s->prompts.count;
    }
    for (size_t i = 0; i < cells * METRIC_COUNT; i++)
        if (!isnan(s->cell[i])) s->present[i % METRIC_COUNT] = true;
    in_parallel(points, estimate_point, s);
    return EXIT_DONE;
}

void summary_free(struct summary *s) {
    if (s->unit != s->cell) free(s->unit);
    free(s->cell);
    free(s->estimate);
    free(s->samples);
    stored_points_free(&s->points);
    sweep_prompts_free(&s->prompts);
    resamples_free(s->resamples);
    *s = (struct summary){0};
}

/* ---- comparisons ---- */

enum { TOGETHER = 32 }; /* points that share a pass over the random numbers */

struct comparison {
    const struct summary *summary;
    enum metric metric;
    size_t baseline;
    struct difference *out;
};

static size_t other_point(const struct comparison *c, size_t index) {
    return index + (index >= c->baseline);
}

/* The baseline is not among the points that are compared. */
static void compare_points(void *user, size_t part) {
    const struct comparison *c = user;
    const struct summary *s = c->summary;
    const double *a[TOGETHER] = {NULL};
    struct difference found[TOGETHER];
    size_t first = part * TOGETHER, count = s->points.count - 1 - first, row = s->units * METRIC_COUNT;
    if (count > TOGETHER) count = TOGETHER;
    for (size_t i = 0; i < count; i++) a[i] = s->unit + other_point(c, first + i) * row + c->metric;
    differences_paired(s->resamples, a, count, s->unit + c->baseline * row + c->metric, s->units, METRIC_COUNT, found);
    for (size_t i = 0; i < count; i++) c->out[other_point(c, first + i)] = found[i];
}

void summary_compare(const struct summary *s, enum metric metric, size_t baseline, bool holm, struct difference *out) {
    struct comparison comparison = {s, metric, baseline, out};
    double *p = xarray(s->points.count, sizeof *p);
    const double nan = (double)NAN;
    in_parallel((s->points.count + TOGETHER - 2) / TOGETHER, compare_points, &comparison);
    out[baseline] = (struct difference){{nan, nan, nan, nan, 0}, nan, nan, nan};
    for (size_t i = 0; i < s->points.count; i++) {
        p[i] = out[i].p;
        if (s->units_are_samples && unit_kind(metric) == OF_CELL && i != baseline)
            out[i].estimate.mean = cell_of(s, i, 0)[metric] - cell_of(s, baseline, 0)[metric];
    }
    if (holm)
        adjust_holm(p, s->points.count, p);
    else
        adjust_bh(p, s->points.count, p);
    for (size_t i = 0; i < s->points.count; i++) out[i].adjusted = p[i];
    free(p);
}

size_t summary_best(const struct summary *s, enum metric metric) {
    double sign = metric_info[metric].better == METRIC_LESS ? -1 : 1, best = -INFINITY;
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < s->points.count; i++) {
        double mean = s->estimate[i * METRIC_COUNT + metric].mean;
        if (isnan(mean) || (found != SIZE_MAX && !(sign * mean > best))) continue;
        best = sign * mean;
        found = i;
    }
    return found;
}

/* ---- finding a point ---- */

/* Whether laying the setting over the point changes nothing. */
static bool agrees(const tempera_sampling *point, const char *text) {
    tempera_sampling over = *point;
    char before[160], after[160];
    if (!setting_overlay(&over, NULL, text, "the setting")) return false;
#define SUMMARY_FIELD_DIFFERS(kind, name, def, min, max, help)                                                         \
    if (point->name != over.name) return false;
    TEMPERA_SAMPLING_FIELDS(SUMMARY_FIELD_DIFFERS)
#undef SUMMARY_FIELD_DIFFERS
    tempera_order_format(&point->order, before, sizeof before);
    tempera_order_format(&over.order, after, sizeof after);
    return strcmp(before, after) == 0 && point->independent == over.independent;
}

enum match { BY_NAME, BY_NUMBER, BY_SETTING, MATCHES };

static bool matches(const struct stored_point *point, const char *text, enum match match) {
    int64_t number;
    switch (match) {
    case BY_NAME: return strcmp(point->name, text) == 0;
    case BY_NUMBER: return parse_int(text, 0, INT32_MAX, &number) && point->point == number;
    case BY_SETTING: return strchr(text, '=') && agrees(&point->sampling, text);
    case MATCHES: break;
    }
    return false;
}

size_t summary_find_point(const struct summary *s, const char *text) {
    tempera_sampling scratch = tempera_sampling_default();
    size_t found = SIZE_MAX, count = 0;
    for (int match = BY_NAME; match < MATCHES && count == 0; match++) {
        if (match == BY_SETTING && strchr(text, '=') && !setting_overlay(&scratch, NULL, text, "the setting"))
            return SIZE_MAX; /* once, not for each point */
        for (size_t i = s->points.count; i-- > 0;)
            if (matches(&s->points.items[i], text, (enum match)match)) {
                found = i;
                count++;
            }
    }
    if (count == 1) return found;
    if (count > 1)
        complain(EXIT_USAGE, "\"%s\" fits %zu settings: give the number of one", text, count);
    else
        complain(EXIT_USAGE, "no setting has the name, the number or the values \"%s\"", text);
    return SIZE_MAX;
}
