/* sampler_portable.c: the sampler's loops in plain C, straight from draw_math.h: what the fast tables are compared to, and
 * what runs where there are none. */
#include "backend/cpu/sampler_internal.h"

static void scan(const float *z, int32_t n, float *block_max, struct scan *out) {
    *out = (struct scan){.max = -INFINITY};
    for (int32_t start = 0; start < n; start += SCAN_BLOCK) {
        float max = scan_part(z + start, n - start < SCAN_BLOCK ? n - start : SCAN_BLOCK, out);
        if (block_max) block_max[start / SCAN_BLOCK] = max;
        if (max > out->max) out->max = max;
    }
}

static void clean(float *out, const float *z, int32_t n, float scale) {
    for (int32_t i = 0; i < n; i++) out[i] = draw_clean(z[i] * scale);
}

static int32_t find(const struct scores *s, float value) {
    for (int32_t i = 0; i < s->n; i++)
        if (score_at(s, i) == value) return i;
    return -1;
}

static void mass(const struct scores *s, float best, struct mass *out) {
    uint64_t total = 0;
    for (int32_t i = 0; i < s->n; i++) total += draw_weight(draw_distance(best, score_at(s, i)));
    *out = (struct mass){.total = total};
}

static void moments(const struct scores *s, float best, struct mass *out) {
    struct mass sum = {.total = 0};
    for (int32_t i = 0; i < s->n; i++) {
        float d = draw_distance(best, score_at(s, i));
        uint64_t w = draw_weight(d);
        if (w == 0) continue;
        sum.total += w;
        sum.high += (w >> 16) * draw_fixed(d);
        sum.low += (w & 0xFFFFu) * draw_fixed(d);
    }
    *out = sum;
}

static void block_moments(const struct scores *weigh, float best, const struct scores *measure, float measure_best,
                          float unit, struct mass *blocks) {
    for (int32_t i = 0; i < weigh->n; i++) {
        struct mass *sum = &blocks[i / SCAN_BLOCK];
        if (i % SCAN_BLOCK == 0) *sum = (struct mass){.total = 0};
        uint64_t w = draw_weight(draw_distance(best, score_at(weigh, i)));
        if (w == 0) continue;
        uint32_t steps = distance_steps(draw_distance(measure_best, score_at(measure, i)), unit);
        sum->total += w;
        sum->high += (w >> 16) * steps;
        sum->low += (w & 0xFFFFu) * steps;
    }
}

static void weights(const struct scores *s, float best, uint64_t *weight) {
    for (int32_t i = 0; i < s->n; i++) weight[i] = draw_weight(draw_distance(best, score_at(s, i)));
}

static void typicality(float *out, const struct scores *s, float best, float mean) {
    for (int32_t i = 0; i < s->n; i++) out[i] = draw_typicality(draw_distance(best, score_at(s, i)), mean);
}

static void histogram(const struct scores *order, const struct scores *weigh, float best, uint64_t *histogram) {
    memset(histogram, 0, DIGIT_COUNT * sizeof *histogram);
    for (int32_t i = 0; i < order->n; i++) {
        uint64_t w = weigh ? draw_weight(draw_distance(best, score_at(weigh, i))) : 1;
        histogram[draw_key(score_at(order, i)) >> DIGIT_SHIFT] += w;
    }
}

static int32_t collect(const struct scores *order, float low, float high, int32_t *index) {
    int32_t count = 0;
    for (int32_t i = 0; i < order->n; i++) {
        float score = score_at(order, i);
        if (score >= low && score <= high) index[count++] = i;
    }
    return count;
}

static struct split split(const struct scores *order, const struct scores *weigh, float best, float low, float high,
                          int32_t *index) {
    struct split out = {0};
    for (int32_t i = 0; i < order->n; i++) {
        float score = score_at(order, i);
        if (score > high) {
            out.weight += weigh ? draw_weight(draw_distance(best, score_at(weigh, i))) : 1;
            out.above++;
        } else if (score >= low) {
            index[out.within++] = i;
        }
    }
    return out;
}

static uint64_t entries(struct entry *out, const struct scores *order, const struct scores *weigh, float best,
                        const int32_t *index, int32_t n) {
    uint64_t total = 0;
    for (int32_t j = 0; j < n; j++) {
        int32_t i = index ? index[j] : j;
        uint64_t weight = weigh ? draw_weight(draw_distance(best, score_at(weigh, i))) : 1;
        out[j] = (struct entry){draw_rank(score_at(order, i), id_at(order, i)), weight};
        total += weight;
    }
    return total;
}

static int32_t keep(const struct scores *order, const struct scores *s, uint64_t last, float *z, int32_t *id) {
    int32_t count = 0;
    for (int32_t i = 0; i < s->n; i++) {
        if (draw_rank(score_at(order, i), id_at(s, i)) < last) continue;
        z[count] = score_at(s, i);
        id[count] = id_at(s, i);
        count++;
    }
    return count;
}

static struct survey survey(const struct scores *order, uint64_t last, const struct scores *s, float best,
                            const float *row, float row_best) {
    struct survey out = {0};
    for (int32_t i = 0; i < s->n; i++) {
        int32_t id = id_at(s, i);
        if (draw_rank(score_at(order, i), id) < last || score_at(s, i) == -INFINITY) continue;
        out.kept++;
        out.weight += draw_weight(draw_distance(best, score_at(s, i)));
        out.row_weight += draw_weight(draw_distance(row_best, draw_clean(row[id])));
    }
    return out;
}

static int32_t race(const struct scores *order, uint64_t last, const struct scores *s, float best,
                    const struct noise *noise) {
    struct race_leader leader = race_start();
    struct philox_words words = {{0}};
    uint32_t block = UINT32_MAX; /* no id's */
    for (int32_t i = 0; i < s->n; i++) {
        int32_t id = id_at(s, i);
        if (draw_rank(score_at(order, i), id) < last) continue;
        if ((uint32_t)id >> 2 != block) {
            block = (uint32_t)id >> 2;
            words = draw_words(noise->seed, noise->position, noise->sample, block);
        }
        float d = draw_distance(best, score_at(s, i));
        if (race_measure(d * DRAW_LOG2E, words.w[id & 3]) <= leader.limit) race_enter(&leader, d, words.w[id & 3], id);
    }
    return leader.id;
}

const struct sampler_kernels sampler_portable = {
    .name = "portable",
    .scan = scan,
    .clean = clean,
    .find = find,
    .mass = mass,
    .moments = moments,
    .block_moments = block_moments,
    .weights = weights,
    .typicality = typicality,
    .histogram = histogram,
    .collect = collect,
    .split = split,
    .entries = entries,
    .keep = keep,
    .survey = survey,
    .race = race,
};
