/* inference.c: intervals, tests, corrections. */
#include "sweep/inference.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "strbuf.h"

enum {
    LANES = 16, /* resamples that are summed side by side */
    BLOCKS = BOOTSTRAP_RESAMPLES / LANES,
    WORD = 64,             /* sign flips in a word */
    KEPT_WORDS = 64,       /* words of each permutation that are kept */
    KEPT_BYTES = 64 << 20, /* of all tables of resamples */
    KEPT_UNITS = 4096,     /* no table is kept for more */
    BUCKETS = 512,         /* of a histogram */
    KEY_LOW = 0x73776565,  /* the key spells "sweepci" */
    KEY_HIGH = 0x70636900,
    STREAM_RESAMPLES = 1,
    STREAM_FLIPS = 2
};
_Static_assert(BOOTSTRAP_RESAMPLES % LANES == 0, "whole blocks of resamples");

static const double TIE = 1e-11; /* relative: what rounding may do to two sums that are equal */
static const double Z_95 = 1.959963984540054;

/* ---- random numbers ---- */

struct count_table {
    size_t units;
    uint8_t *counts; /* [BLOCKS][units][LANES] */
};

struct resamples {
    pthread_mutex_t lock;
    struct count_table *tables;
    size_t table_count, table_bytes;
    uint64_t *flips[KEPT_WORDS]; /* [PERMUTATIONS] each, NULL until asked for */
};

struct resamples *resamples_new(void) {
    struct resamples *resamples = xarray(1, sizeof *resamples);
    pthread_mutex_init(&resamples->lock, NULL);
    return resamples;
}

void resamples_free(struct resamples *resamples) {
    if (!resamples) return;
    for (size_t i = 0; i < resamples->table_count; i++) free(resamples->tables[i].counts);
    for (size_t i = 0; i < KEPT_WORDS; i++) free(resamples->flips[i]);
    free(resamples->tables);
    pthread_mutex_destroy(&resamples->lock);
    free(resamples);
}

/* How often each unit is in LANES resamples, counts[units][LANES]. A draw is a 32-bit word scaled to the units: its
 * bias is below units / 2^32. No unit is drawn more than 255 times: the chance is below 1 / 256!. */
static void draw_block(size_t units, size_t block, uint8_t *counts) {
    memset(counts, 0, units * LANES);
    for (size_t lane = 0; lane < LANES; lane++) {
        uint32_t resample = (uint32_t)(block * LANES + lane);
        for (size_t i = 0; i < units; i += 4) {
            struct philox_words words =
                philox4x32(KEY_LOW, KEY_HIGH, (uint32_t)(i / 4), resample, (uint32_t)(i / 4 >> 32), STREAM_RESAMPLES);
            for (size_t k = 0; k < 4 && i + k < units; k++)
                counts[(size_t)((uint64_t)words.w[k] * units >> 32) * LANES + lane]++;
        }
    }
}

/* The whole table of a number of units; NULL when it is too large to be kept. */
static const uint8_t *kept_counts(struct resamples *resamples, size_t units) {
    const uint8_t *found = NULL;
    size_t bytes = units * BOOTSTRAP_RESAMPLES;
    if (units > KEPT_UNITS) return NULL;
    pthread_mutex_lock(&resamples->lock);
    for (size_t i = 0; i < resamples->table_count && !found; i++)
        if (resamples->tables[i].units == units) found = resamples->tables[i].counts;
    if (!found && resamples->table_bytes + bytes <= KEPT_BYTES) {
        uint8_t *counts = xalloc(bytes);
        for (size_t block = 0; block < BLOCKS; block++) draw_block(units, block, counts + block * units * LANES);
        resamples->tables = xgrow(resamples->tables, resamples->table_count + 1, sizeof *resamples->tables);
        resamples->tables[resamples->table_count++] = (struct count_table){units, counts};
        resamples->table_bytes += bytes;
        found = counts;
    }
    pthread_mutex_unlock(&resamples->lock);
    return found;
}

static void draw_flips(size_t word, uint64_t *flips) {
    for (size_t i = 0; i < PERMUTATIONS; i += 2) {
        struct philox_words words = philox4x32(KEY_LOW, KEY_HIGH, (uint32_t)(i / 2), (uint32_t)word, 0, STREAM_FLIPS);
        flips[i] = (uint64_t)words.w[1] << 32 | words.w[0];
        flips[i + 1] = (uint64_t)words.w[3] << 32 | words.w[2];
    }
}

/* Flips of units [64 word, 64 word + 64) in every permutation; from `scratch` when they are not kept. */
static const uint64_t *flip_word(struct resamples *resamples, size_t word, uint64_t *scratch) {
    if (word >= KEPT_WORDS) {
        draw_flips(word, scratch);
        return scratch;
    }
    pthread_mutex_lock(&resamples->lock);
    if (!resamples->flips[word]) {
        resamples->flips[word] = xalloc(PERMUTATIONS * sizeof **resamples->flips);
        draw_flips(word, resamples->flips[word]);
    }
    pthread_mutex_unlock(&resamples->lock);
    return resamples->flips[word];
}

/* ---- the normal distribution ---- */

static double normal_cdf(double z) {
    return 0.5 * erfc(-z * M_SQRT1_2);
}

/* Abramowitz & Stegun 26.2.23, then Halley's steps to full precision; 0 < p < 1. */
static double normal_quantile(double p) {
    double t = sqrt(-2 * log(p < 0.5 ? p : 1 - p));
    double z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    if (p < 0.5) z = -z;
    for (int step = 0; step < 3; step++) {
        double u = (normal_cdf(z) - p) * sqrt(2 * M_PI) * exp(z * z / 2);
        z -= u / (1 + z * u / 2);
    }
    return z;
}

/* ---- order statistics ---- */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Values sorted into buckets of equal width, so that single ranks are found without sorting all. */
struct histogram {
    const double *values; /* [BOOTSTRAP_RESAMPLES], finite */
    double low, scale;
    uint16_t bucket[BOOTSTRAP_RESAMPLES];
    size_t count[BUCKETS];
    double *scratch; /* [BOOTSTRAP_RESAMPLES] */
};

static void histogram_fill(struct histogram *h, const double *values) {
    double low = values[0], high = values[0];
    for (size_t i = 1; i < BOOTSTRAP_RESAMPLES; i++) {
        if (values[i] < low) low = values[i];
        if (values[i] > high) high = values[i];
    }
    h->values = values;
    h->low = low;
    h->scale = high > low ? (BUCKETS - 1) / (high - low) : 0;
    if (!isfinite(h->scale)) h->scale = 0;
    memset(h->count, 0, sizeof h->count);
    for (size_t i = 0; i < BOOTSTRAP_RESAMPLES; i++)
        h->count[h->bucket[i] = (uint16_t)((values[i] - low) * h->scale)]++;
}

/* The value of a rank, from 0. */
static double histogram_rank(const struct histogram *h, size_t rank) {
    size_t bucket = 0, before = 0, held = 0;
    while (before + h->count[bucket] <= rank) before += h->count[bucket++];
    for (size_t i = 0; i < BOOTSTRAP_RESAMPLES; i++)
        if (h->bucket[i] == bucket) h->scratch[held++] = h->values[i];
    qsort(h->scratch, held, sizeof *h->scratch, compare_doubles);
    return h->scratch[rank - before];
}

/* Linear interpolation between ranks, as numpy.percentile. */
static double histogram_quantile(const struct histogram *h, double share) {
    double at = share * (BOOTSTRAP_RESAMPLES - 1);
    if (!(at > 0)) at = 0;
    if (at > BOOTSTRAP_RESAMPLES - 1) at = BOOTSTRAP_RESAMPLES - 1;
    size_t rank = (size_t)at;
    double part = at - (double)rank, value = histogram_rank(h, rank);
    if (part == 0) return value;
    double next = histogram_rank(h, rank + 1);
    return value + part * (next - value);
}

/* ---- the bootstrap ---- */

/* One variable without its NaNs. */
struct column {
    double *values; /* [units] */
    struct estimate *out;
    double largest;      /* absolute value */
    double acceleration; /* Efron 1987, from the jackknife, which for a mean are the deviations themselves */
    bool resample;       /* it varies, and is finite */
};

static void column_moments(struct column *c) {
    struct estimate *e = c->out;
    double sum = 0, squares = 0, cubes = 0;
    bool varies = false;
    for (size_t i = 0; i < e->units; i++) {
        sum += c->values[i];
        varies |= c->values[i] != c->values[0];
        c->largest = fmax(c->largest, fabs(c->values[i]));
    }
    e->mean = e->units ? sum / (double)e->units : (double)NAN;
    e->low = e->high = e->stderror = (double)NAN;
    if (e->units < 2) return;
    if (!varies) {
        e->low = e->high = e->mean = c->values[0];
        e->stderror = isfinite(e->mean) ? 0 : (double)NAN;
        return;
    }
    for (size_t i = 0; i < e->units; i++) {
        double d = c->values[i] - e->mean;
        squares += d * d;
        cubes += d * d * d;
    }
    e->stderror = sqrt(squares / (double)(e->units - 1) / (double)e->units);
    c->resample = isfinite(e->stderror) && squares > 0;
    if (c->resample) c->acceleration = cubes / (6 * squares * sqrt(squares));
}

/* sums[LANES] of the values, each as often as its unit was drawn. Lanes are independent of each other: however the loop
 * is vectorised, the sums are the same. */
static void weigh(const double *restrict weights, const double *restrict values, size_t units, double *restrict sums) {
    double s[LANES] = {0};
    for (size_t i = 0; i < units; i++)
        for (size_t lane = 0; lane < LANES; lane++) s[lane] += weights[i * LANES + lane] * values[i];
    memcpy(sums, s, sizeof s);
}

static void interval(struct column *c, const double *means, struct histogram *h) {
    struct estimate *e = c->out;
    double tie = TIE * c->largest, below = 0;
    for (size_t i = 0; i < BOOTSTRAP_RESAMPLES; i++)
        below += means[i] < e->mean - tie ? 1 : means[i] > e->mean + tie ? 0 : 0.5;
    double share = below / BOOTSTRAP_RESAMPLES, least = 0.5 / BOOTSTRAP_RESAMPLES;
    double z0 = normal_quantile(fmin(fmax(share, least), 1 - least));
    double low = z0 - Z_95, high = z0 + Z_95;
    histogram_fill(h, means);
    e->low = histogram_quantile(h, normal_cdf(z0 + low / (1 - c->acceleration * low)));
    e->high = histogram_quantile(h, normal_cdf(z0 + high / (1 - c->acceleration * high)));
}

/* Columns that have the same number of units. */
static void resample_columns(struct resamples *resamples, struct column *const *columns, size_t count) {
    size_t units = columns[0]->out->units;
    const uint8_t *kept = kept_counts(resamples, units);
    uint8_t *drawn = kept ? NULL : xarray(units, LANES);
    double *weights = xarray(units, LANES * sizeof *weights);
    double *means = xarray(count, BOOTSTRAP_RESAMPLES * sizeof *means);
    struct histogram *h = xalloc(sizeof *h);
    h->scratch = xarray(BOOTSTRAP_RESAMPLES, sizeof *h->scratch);
    for (size_t block = 0; block < BLOCKS; block++) {
        const uint8_t *counts = kept ? kept + block * units * LANES : drawn;
        if (!kept) draw_block(units, block, drawn);
        for (size_t i = 0; i < units * LANES; i++) weights[i] = counts[i];
        for (size_t c = 0; c < count; c++)
            weigh(weights, columns[c]->values, units, means + c * BOOTSTRAP_RESAMPLES + block * LANES);
    }
    for (size_t i = 0; i < count * BOOTSTRAP_RESAMPLES; i++) means[i] /= (double)units;
    for (size_t c = 0; c < count; c++) interval(columns[c], means + c * BOOTSTRAP_RESAMPLES, h);
    free(h->scratch);
    free(h);
    free(means);
    free(weights);
    free(drawn);
}

void estimate_means(struct resamples *resamples, const double *values, size_t count, size_t columns, size_t stride,
                    struct estimate *out) {
    struct column *all = xarray(columns, sizeof *all), **equal = xarray(columns, sizeof(struct column *));
    double *compact = xarray(count * columns, sizeof *compact);
    for (size_t c = 0; c < columns; c++) {
        all[c] = (struct column){.values = compact + c * count, .out = &out[c]};
        out[c] = (struct estimate){0};
        for (size_t i = 0; i < count; i++)
            if (!isnan(values[i * stride + c])) all[c].values[out[c].units++] = values[i * stride + c];
        column_moments(&all[c]);
    }
    for (size_t c = 0; c < columns; c++) {
        size_t found = 0;
        for (size_t k = c; k < columns; k++)
            if (all[k].resample && out[k].units == out[c].units && all[c].resample) equal[found++] = &all[k];
        if (found) resample_columns(resamples, equal, found);
        for (size_t k = 0; k < found; k++) equal[k]->resample = false;
    }
    free(compact);
    free((void *)equal);
    free(all);
}

struct estimate estimate_mean(struct resamples *resamples, const double *values, size_t count) {
    struct estimate out;
    estimate_means(resamples, values, count, 1, 1, &out);
    return out;
}

/* ---- paired differences ---- */

/* The share of all 2^count sign patterns with a sum as far from 0, a flip at a time in the order of the Gray code. By
 * symmetry the last sign may stay. */
static double exact_flips(const double *d, size_t count, double observed, double tie) {
    double sign[EXACT_FLIPS], sum = 0;
    size_t hits = 0, patterns = (size_t)1 << (count - 1);
    for (size_t i = 0; i < count; i++) {
        sign[i] = 1;
        sum += d[i];
    }
    for (size_t i = 1;; i++) {
        hits += fabs(sum) >= observed - tie;
        if (i == patterns) break;
        size_t flipped = 0;
        while (!(i >> flipped & 1)) flipped++;
        sign[flipped] = -sign[flipped];
        sum += 2 * sign[flipped] * d[flipped];
    }
    return (double)hits / (double)patterns;
}

/* Signed sums of 8 differences for each of their 256 patterns. */
static void sum_patterns(const double *d, double *table) {
    table[0] = 0;
    for (size_t i = 0; i < 8; i++) table[0] -= d[i];
    for (size_t i = 0; i < 8; i++)
        for (size_t pattern = 0; pattern < (size_t)1 << i; pattern++)
            table[pattern | (size_t)1 << i] = table[pattern] + 2 * d[i];
}

/* The differences of one comparison that are not 0: those stay 0 under any flip. */
struct flip_test {
    double *d; /* [held] */
    size_t held;
    double observed, tie;
    double *sums; /* [PERMUTATIONS], where flips are drawn */
    double p;
};

/* The sum of the differences of one word in every permutation. */
static void add_word(struct flip_test *test, size_t word, const uint64_t *flips) {
    double table[WORD / 8][256], part[WORD] = {0};
    size_t left = test->held - word * WORD, held = left < WORD ? left : WORD, bytes = (held + 7) / 8;
    memcpy(part, test->d + word * WORD, held * sizeof *part);
    for (size_t b = 0; b < bytes; b++) sum_patterns(part + 8 * b, table[b]);
    for (size_t i = 0; i < PERMUTATIONS; i++)
        for (size_t b = 0; b < bytes; b++) test->sums[i] += table[b][flips[i] >> 8 * b & 255];
}

/* The tests that have sums, together: each word of flips is drawn once. */
static void random_flips(struct resamples *resamples, struct flip_test *tests, size_t count) {
    size_t most = 0;
    for (size_t c = 0; c < count; c++)
        if (tests[c].sums && tests[c].held > most) most = tests[c].held;
    uint64_t *scratch = most > (size_t)KEPT_WORDS * WORD ? xarray(PERMUTATIONS, sizeof *scratch) : NULL;
    for (size_t word = 0; word * WORD < most; word++) {
        const uint64_t *flips = flip_word(resamples, word, scratch);
        for (size_t c = 0; c < count; c++)
            if (tests[c].sums && word * WORD < tests[c].held) add_word(&tests[c], word, flips);
    }
    free(scratch);
    for (size_t c = 0; c < count; c++) {
        size_t hits = 0;
        if (!tests[c].sums) continue;
        for (size_t i = 0; i < PERMUTATIONS; i++) hits += fabs(tests[c].sums[i]) >= tests[c].observed - tests[c].tie;
        tests[c].p = (double)(hits + 1) / (PERMUTATIONS + 1);
    }
}

/* Ready with its p-value, or with sums for random_flips. */
static void flip_test_start(struct flip_test *test, const double *differences, size_t units) {
    double sum = 0, size = 0;
    size_t count = 0;
    *test = (struct flip_test){.d = xarray(units, sizeof *test->d), .p = (double)NAN};
    for (size_t i = 0; i < units; i++) {
        if (isnan(differences[i])) continue;
        sum += differences[i];
        size += fabs(differences[i]);
        count++;
        if (differences[i] != 0) test->d[test->held++] = differences[i];
    }
    if (count < 2 || !isfinite(size)) return;
    test->observed = fabs(sum);
    test->tie = TIE * size;
    if (test->held > EXACT_FLIPS)
        test->sums = xarray(PERMUTATIONS, sizeof *test->sums);
    else
        test->p = test->held ? exact_flips(test->d, test->held, test->observed, test->tie) : 1;
}

/* Pearson's, over the units that have both; NaN when one does not vary. */
static double correlation(const double *a, const double *b, size_t count, size_t stride) {
    double mean_a = 0, mean_b = 0, squares_a = 0, squares_b = 0, product = 0;
    double low_a = INFINITY, high_a = -INFINITY, low_b = INFINITY, high_b = -INFINITY;
    size_t held = 0;
    for (size_t i = 0; i < count; i++) {
        double x = a[i * stride], y = b[i * stride];
        if (isnan(x) || isnan(y)) continue;
        held++;
        mean_a += x;
        mean_b += y;
        low_a = fmin(low_a, x);
        high_a = fmax(high_a, x);
        low_b = fmin(low_b, y);
        high_b = fmax(high_b, y);
    }
    if (!(high_a > low_a) || !(high_b > low_b)) return (double)NAN;
    mean_a /= (double)held;
    mean_b /= (double)held;
    for (size_t i = 0; i < count; i++) {
        double x = a[i * stride] - mean_a, y = b[i * stride] - mean_b;
        if (isnan(x) || isnan(y)) continue;
        squares_a += x * x;
        squares_b += y * y;
        product += x * y;
    }
    double r = product / sqrt(squares_a) / sqrt(squares_b);
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

void differences_paired(struct resamples *resamples, const double *const *a, size_t columns, const double *b,
                        size_t count, size_t stride, struct difference *out) {
    struct flip_test *tests = xarray(columns, sizeof *tests);
    struct estimate *estimates = xarray(columns, sizeof *estimates);
    double *d = xarray(count * columns, sizeof *d), *one = xarray(count, sizeof *one);
    for (size_t c = 0; c < columns; c++) {
        for (size_t i = 0; i < count; i++) d[i * columns + c] = one[i] = a[c][i * stride] - b[i * stride];
        flip_test_start(&tests[c], one, count);
    }
    random_flips(resamples, tests, columns);
    estimate_means(resamples, d, count, columns, columns, estimates);
    for (size_t c = 0; c < columns; c++) {
        out[c] = (struct difference){estimates[c], tests[c].p, tests[c].p, correlation(a[c], b, count, stride)};
        free(tests[c].sums);
        free(tests[c].d);
    }
    free(one);
    free(d);
    free(estimates);
    free(tests);
}

struct difference difference_paired(struct resamples *resamples, const double *a, const double *b, size_t count) {
    struct difference out;
    differences_paired(resamples, &a, 1, b, count, 1, &out);
    return out;
}

/* ---- several comparisons ---- */

struct ranked {
    double p;
    size_t index;
};

static int compare_ranked(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The p-values that are not NaN, ascending; adjusted becomes NaN everywhere. */
static struct ranked *rank_values(const double *p, size_t count, double *adjusted, size_t *held) {
    struct ranked *ranked = xarray(count, sizeof *ranked);
    *held = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(p[i])) ranked[(*held)++] = (struct ranked){p[i], i};
    for (size_t i = 0; i < count; i++) adjusted[i] = (double)NAN;
    if (*held) qsort(ranked, *held, sizeof *ranked, compare_ranked);
    return ranked;
}

void adjust_holm(const double *p, size_t count, double *adjusted) {
    size_t held;
    struct ranked *ranked = rank_values(p, count, adjusted, &held);
    double least = 0;
    for (size_t i = 0; i < held; i++) {
        least = fmax(least, fmin(1, ranked[i].p * (double)(held - i)));
        adjusted[ranked[i].index] = least;
    }
    free(ranked);
}

void adjust_bh(const double *p, size_t count, double *adjusted) {
    size_t held;
    struct ranked *ranked = rank_values(p, count, adjusted, &held);
    double most = 1;
    for (size_t i = held; i-- > 0;) {
        most = fmin(most, ranked[i].p * (double)held / (double)(i + 1));
        adjusted[ranked[i].index] = most;
    }
    free(ranked);
}

/* ---- best of several ---- */

/* The product form of the estimator's authors: no binomial coefficient overflows. */
double pass_at_k(int64_t n, int64_t c, int64_t k) {
    double fail = 1;
    if (k < 1 || n < k) return (double)NAN;
    if (n - c < k) return 1;
    for (int64_t i = n - c + 1; i <= n; i++) fail *= 1 - (double)k / (double)i;
    return 1 - fail;
}

double expected_best(const double *scores, size_t count, size_t budget) {
    double *sorted = xarray(count, sizeof *sorted);
    double mean = 0, none_better = 1;
    size_t held = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(scores[i])) sorted[held++] = scores[i];
    if (held) qsort(sorted, held, sizeof *sorted, compare_doubles);
    /* From the top: the chance that a score is the best that was drawn is that of no better one, C(i + 1, b) / C(n, b),
     * less that of none as good, C(i, b) / C(n, b). */
    for (size_t i = held; budget && budget <= held && i >= budget; i--) {
        double none_as_good = none_better * (double)(i - budget) / (double)i;
        mean += sorted[i - 1] * (none_better - none_as_good);
        none_better = none_as_good;
    }
    free(sorted);
    return budget && budget <= held ? mean : (double)NAN;
}
