/* scorer.c: buffers, which way each setting goes, and the loop over rows. */
#include "backend/cpu/scorer_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "backend/draw_check.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/pool.h"

enum {
    QUICK_LEAST = 8, /* settings for which a sort of the row costs less than their draws */
    ALIGNMENT = 64
};

/* What one thread works in: for each of two settings (of a pair) a scratch of the sampler, and the rest once. */
struct scorer_part {
    struct quick_work quick;
    struct final final[2]; /* the second: against */
    struct mass *blocks;
    struct score_stat *stat; /* [settings, ROWS_AT_ONCE] */
    float *divergence;       /* [pairs, ROWS_AT_ONCE] */
};

struct scorer {
    struct cpu_sampler *sampler; /* scratch 2 i and 2 i + 1, and row 2 i, are of part i */
    struct pool *pool;
    struct score_settings settings;
    int32_t V;
    int parts;
    struct quick_list quick;
    size_t *forced; /* [forced_count] settings that take a draw */
    size_t forced_count;
    size_t *forced_pair; /* [forced_pair_count] with such a setting, or all */
    size_t forced_pair_count;
    bool wants_shortlist;
    struct scorer_part *part; /* [parts] */
    size_t bytes;             /* of the slab that holds this struct and all buffers */
};

/* ---- buffers -------------------------------------------------------------------------------------------------- */

/* Hands out pieces of a slab; with base NULL it only adds up. Counts are within SCORE_MAX_…, a sampler's vocabulary and
 * the pool's threads: nothing overflows. */
struct carver {
    char *base;
    size_t used;
};
static void *carve(struct carver *carver, size_t count, size_t size) {
    size_t at = carver->used;
    carver->used += round_up(count * size, ALIGNMENT);
    return carver->base ? carver->base + at : NULL;
}

static void carve_ladder(struct carver *carver, struct ladder *ladder, size_t V) {
    size_t blocks = ceil_div(V, SCAN_BLOCK);
    ladder->block = carve(carver, blocks + 1, sizeof *ladder->block);
    ladder->upto = carve(carver, V, sizeof *ladder->upto);
    ladder->filled = carve(carver, blocks, sizeof *ladder->filled);
}

static void carve_part(struct carver *carver, struct scorer_part *part, const struct scorer *s) {
    size_t V = (size_t)s->V, count = s->settings.count, pairs = s->settings.pair_count;
    struct rank *rank = &part->quick.rank;
    rank->z = carve(carver, V, sizeof *rank->z);
    rank->id = carve(carver, V, sizeof *rank->id);
    for (int i = 0; i < 2; i++) rank->work[i] = carve(carver, V, sizeof *rank->work[i]);
    rank->count = carve(carver, RANK_COUNTS, sizeof *rank->count);
    carve_ladder(carver, &part->quick.raw, V);
    carve_ladder(carver, &part->quick.tempered, V);
    part->quick.cross = carve(carver, ceil_div(V, SCAN_BLOCK) + 1, sizeof *part->quick.cross);
    part->quick.standing = carve(carver, pairs > 0 ? count : 0, sizeof *part->quick.standing);
    part->blocks = carve(carver, ceil_div(V, SCAN_BLOCK), sizeof *part->blocks);
    part->stat = carve(carver, count * ROWS_AT_ONCE, sizeof *part->stat);
    part->divergence = carve(carver, pairs * ROWS_AT_ONCE, sizeof *part->divergence);
}

/* Lays everything out; *s is what lies at the start of the slab. Returns the size. */
static size_t lay_out(struct scorer *s, char *base) {
    struct carver carver = {base, 0};
    size_t count = s->settings.count, pairs = s->settings.pair_count;
    carve(&carver, 1, sizeof *s);
    struct scorer_part *part = carve(&carver, (size_t)s->parts, sizeof *part);
    s->quick.quick = carve(&carver, count, sizeof *s->quick.quick);
    s->quick.group = carve(&carver, count, sizeof *s->quick.group);
    s->quick.pair = carve(&carver, pairs, sizeof *s->quick.pair);
    s->forced = carve(&carver, count, sizeof *s->forced);
    s->forced_pair = carve(&carver, pairs, sizeof *s->forced_pair);
    struct scorer_part unused;
    for (int i = 0; i < s->parts; i++) carve_part(&carver, base ? &part[i] : &unused, s);
    s->part = part;
    return carver.used;
}

/* ---- which way each setting goes ------------------------------------------------------------------------------ */

static int compare_quick(const void *a, const void *b) {
    const struct quick *x = a, *y = b;
    float x_scale = quick_scale(x->params), y_scale = quick_scale(y->params);
    if (x_scale != y_scale) return x_scale < y_scale ? -1 : 1;
    return (x->setting > y->setting) - (x->setting < y->setting);
}

static void group_quick(struct quick_list *list) {
    qsort(list->quick, list->count, sizeof *list->quick, compare_quick);
    for (size_t q = 0; q < list->count; q++) {
        float scale = quick_scale(list->quick[q].params);
        if (list->group_count == 0 || list->group[list->group_count - 1].scale != scale)
            list->group[list->group_count++] = (struct quick_group){scale, q, q};
        list->group[list->group_count - 1].end = q + 1;
        list->quick[q].group = list->group_count - 1;
    }
}

/* A pair on its way into order. */
static uint64_t pair_key(const struct quick_list *list, const struct quick_pair *pair) {
    return (uint64_t)list->quick[pair->of].group << 32 | list->quick[pair->against].group;
}

/* By the groups of both: a heap sort, because the order needs the list. */
static void sift_down(const struct quick_list *list, struct quick_pair *heap, size_t count, size_t at) {
    struct quick_pair moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && pair_key(list, &heap[child + 1]) > pair_key(list, &heap[child])) child++;
        if (pair_key(list, &heap[child]) <= pair_key(list, &moving)) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}
static void sort_pairs(struct quick_list *list) {
    for (size_t i = list->pair_count / 2; i-- > 0;) sift_down(list, list->pair, list->pair_count, i);
    for (size_t left = list->pair_count; left-- > 1;) {
        struct quick_pair largest = list->pair[0];
        list->pair[0] = list->pair[left];
        list->pair[left] = largest;
        sift_down(list, list->pair, left, 0);
    }
}

static void route_pairs(struct scorer *s, const size_t *quick_index) {
    for (size_t i = 0; i < s->settings.pair_count; i++) {
        const struct score_pair *pair = &s->settings.pairs[i];
        size_t of = quick_index[pair->of], against = quick_index[pair->against];
        if (of == SIZE_MAX || against == SIZE_MAX) {
            s->forced_pair[s->forced_pair_count++] = i;
        } else {
            s->quick.pair[s->quick.pair_count++] = (struct quick_pair){i, of, against};
        }
    }
    sort_pairs(&s->quick);
}

static bool is_quick(const struct score_settings *settings, size_t setting) {
    return quick_takes(&settings->params[setting]) && !(settings->changes && settings->changes[setting]);
}

static bool has_filters(const struct branch_params *p) {
    return p->temperature > 0.0f && (p->top_k > 0 || p->top_p < 1.0f || p->min_p > 0.0f);
}

/* Settings that only cut go the quick way when there are enough of them, or pairs, which are cheap there. A pair's
 * divergence then comes the same way whatever else is in the list, and the statistics are the same either way. */
static tempera_status route(struct scorer *s, tempera_error *err) {
    const struct score_settings *settings = &s->settings;
    size_t cuts = 0;
    size_t *quick_index = mem_array(settings->count, sizeof *quick_index);
    if (!quick_index) return fail_memory(err, settings->count * sizeof *quick_index, "settings");
    for (size_t i = 0; i < settings->count; i++) cuts += is_quick(settings, i);
    bool quick = cuts >= QUICK_LEAST || settings->pair_count > 0;
    for (size_t i = 0; i < settings->count; i++) {
        const struct branch_params *p = &settings->params[i];
        quick_index[i] = SIZE_MAX;
        if (quick && is_quick(settings, i)) {
            s->quick.quick[s->quick.count++] = quick_of(p, i);
        } else {
            s->forced[s->forced_count++] = i;
            s->wants_shortlist |= is_quick(settings, i) && has_filters(p);
        }
    }
    group_quick(&s->quick);
    for (size_t q = 0; q < s->quick.count; q++) quick_index[s->quick.quick[q].setting] = q;
    route_pairs(s, quick_index);
    mem_free(quick_index);
    return TEMPERA_OK;
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static tempera_status check(const struct score_settings *settings, tempera_error *err) {
    if (settings->count < 1 || settings->count > SCORE_MAX_SETTINGS)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%zu settings; 1 to %d are scored at once", settings->count,
                    SCORE_MAX_SETTINGS);
    if (settings->pair_count > SCORE_MAX_PAIRS)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%zu pairs of settings; at most %d are compared at once",
                    settings->pair_count, SCORE_MAX_PAIRS);
    for (size_t i = 0; i < settings->count; i++)
        if (!draw_params_are_sound(&settings->params[i]))
            return fail(err, TEMPERA_INVALID_ARGUMENT, "setting %zu: malformed", i);
    for (size_t i = 0; i < settings->pair_count; i++) {
        const struct score_pair *pair = &settings->pairs[i];
        if (pair->of < 0 || (size_t)pair->of >= settings->count || pair->against < 0 ||
            (size_t)pair->against >= settings->count)
            return fail(err, TEMPERA_INVALID_ARGUMENT, "pair %zu is of settings %d and %d; there are %zu", i,
                        (int)pair->of, (int)pair->against, settings->count);
    }
    return TEMPERA_OK;
}

tempera_status scorer_create(struct scorer **scorer, int32_t V, const struct score_settings *settings, int threads,
                             tempera_error *err) {
    *scorer = NULL;
    TRY(check(settings, err));
    if (V < 1 || V > CPU_SAMPLER_MAX_VOCABULARY || threads < 1)
        return fail(err, TEMPERA_UNSUPPORTED, "scoring: a vocabulary of %d tokens, %d threads", (int)V, threads);
    struct scorer size = {.settings = *settings, .V = V, .parts = threads};
    size.bytes = lay_out(&size, NULL);
    struct scorer *s = mem_slab(size.bytes);
    if (!s) return fail_memory(err, size.bytes, "scoring");
    *s = size;
    lay_out(s, (char *)s);
    tempera_status status;
    TRY_GOTO(cpu_sampler_create(&s->sampler, V, 2 * threads, 2 * threads, 2 * threads, err));
    TRY_GOTO(pool_create(&s->pool, threads, err));
    TRY_GOTO(route(s, err));
    *scorer = s;
    s = NULL;
cleanup:
    scorer_free(s);
    return status;
}

void scorer_free(struct scorer *s) {
    if (!s) return;
    pool_free(s->pool);
    cpu_sampler_free(s->sampler);
    mem_slab_free(s, s->bytes);
}

bool scorer_use(struct scorer *s, const char *instructions) {
    return cpu_sampler_use(s->sampler, instructions);
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

struct scorer_job {
    struct scorer *scorer;
    const struct score_rows *rows;
    const struct score_sink *sink;
    atomic_int next; /* row to take */
};

/* What all settings of a row share; the row, clean, is in *z, which may be the scratch's. */
static void prepare_row(const struct scorer *s, const float *logits, struct row_info *info, struct scratch *scratch,
                        const float **z) {
    const struct sampler_kernels *kernels = sampler_kernels_of(s->sampler);
    struct scores row = {logits, NULL, s->V, 1.0f};
    kernels->scan(logits, s->V, info->block_max, &info->scan);
    if (info->scan.flags != 0) {
        kernels->clean(scratch->dense, logits, s->V, 1.0f);
        row.z = scratch->dense;
    }
    info->shortlist.n = 0;
    info->wanted_top = 0;
    if (s->wants_shortlist) row_shortlist(info, kernels, scratch, &row);
    row_statistics(info, kernels, scratch, &row);
    *z = row.z;
}

static struct final *final_of(const struct scorer_job *job, int part, int which, const struct scored_row *row,
                              size_t setting) {
    struct scorer *s = job->scorer;
    struct final *final = &s->part[part].final[which];
    const struct branch_params *params = &s->settings.params[setting];
    if (final->setting == setting) return final;
    if (s->settings.changes && s->settings.changes[setting]) {
        job->rows->change(job->rows->user, setting, row->draw.history_count, &final->changed);
        params = &final->changed;
    }
    forced_final(final, sampler_kernels_of(s->sampler), sampler_scratch(s->sampler, 2 * part + which),
                 s->part[part].blocks, row, params);
    final->setting = setting;
    return final;
}

static bool is_cancelled(const struct scorer_job *job) {
    return job->rows->cancel && atomic_load_explicit(job->rows->cancel, memory_order_relaxed);
}

/* Leaves its figures at [… + column] of the part's. */
static void score_row(const struct scorer_job *job, int part, int32_t r, int32_t column) {
    struct scorer *s = job->scorer;
    struct scorer_part *own = &s->part[part];
    const struct score_rows *rows = job->rows;
    struct row_info *info = sampler_row(s->sampler, 2 * part);
    int32_t position = rows->first + r;
    const struct scored_row row = {
        .logits = rows->logits + (size_t)r * (size_t)s->V,
        .V = s->V,
        .draw = {.forced = rows->token[position], .history = rows->token, .history_count = position},
        .info = info,
        .stat = own->stat + column,
        .divergence = own->divergence + column};
    const float *z;
    prepare_row(s, row.logits, info, sampler_scratch(s->sampler, 2 * part), &z);
    if (s->quick.count > 0) quick_score(&s->quick, &own->quick, sampler_kernels_of(s->sampler), &row, z);
    own->final[0].setting = own->final[1].setting = SIZE_MAX; /* of another row */
    for (size_t i = 0; i < s->forced_count && !is_cancelled(job); i++) {
        size_t setting = s->forced[i];
        forced_score(final_of(job, part, 0, &row, setting), &row, setting);
    }
    for (size_t i = 0; i < s->forced_pair_count && !is_cancelled(job); i++) {
        size_t pair = s->forced_pair[i];
        const struct final *of = final_of(job, part, 0, &row, (size_t)s->settings.pairs[pair].of);
        const struct final *against = final_of(job, part, 1, &row, (size_t)s->settings.pairs[pair].against);
        row.divergence[pair * ROWS_AT_ONCE] = forced_divergence(of, against);
    }
}

static void score_rows(void *arg, int part, int parts) {
    (void)parts;
    struct scorer_job *job = arg;
    const struct scorer_part *own = &job->scorer->part[part];
    const struct score_settings *settings = &job->scorer->settings;
    const struct score_sink *sink = job->sink;
    for (int32_t r; (r = atomic_fetch_add(&job->next, ROWS_AT_ONCE)) < job->rows->R;) {
        int32_t count = job->rows->R - r < ROWS_AT_ONCE ? job->rows->R - r : ROWS_AT_ONCE;
        for (int32_t i = 0; i < count && !is_cancelled(job); i++) score_row(job, part, r + i, i);
        if (is_cancelled(job)) return;
        for (size_t i = 0; i < settings->count; i++) sink->stat(sink->user, i, r, count, own->stat + i * ROWS_AT_ONCE);
        for (size_t i = 0; i < settings->pair_count; i++)
            sink->divergence(sink->user, i, r, count, own->divergence + i * ROWS_AT_ONCE);
    }
}

void scorer_run(struct scorer *s, const struct score_rows *rows, const struct score_sink *sink) {
    struct scorer_job job = {.scorer = s, .rows = rows, .sink = sink};
    atomic_store(&job.next, 0);
    pool_run(s->pool, score_rows, &job, s->parts);
}
