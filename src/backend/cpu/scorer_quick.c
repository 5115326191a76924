/* scorer_quick.c: settings whose survivors are the best tokens of the row. Each is a sequence of cuts, looked up in the
 * sums at temperature 1 before its temperature's place in the order, in those at its own temperature after it. */
#include "backend/cpu/scorer_internal.h"
#include "backend/draw_log.h"

static bool has_stage(const struct branch_params *p, enum tempera_stage stage) {
    return memchr(p->order.stage, (int)stage, p->order.count) != NULL;
}

bool quick_takes(const struct branch_params *p) {
    bool plain = p->repetition_penalty == 1.0f && p->frequency_penalty == 0.0f && p->presence_penalty == 0.0f &&
                 p->no_repeat_ngram == 0 && p->bias_count == 0 && p->suppress_count == 0 && p->dynatemp_spread == 0.0f;
    return plain && (p->typical_p >= 1.0f || !has_stage(p, TEMPERA_STAGE_TYPICAL_P));
}

float quick_scale(const struct branch_params *p) {
    return p->temperature > 0.0f && has_stage(p, TEMPERA_STAGE_TEMPERATURE) ? p->inv_temperature : 1.0f;
}

static bool does_something(const struct branch_params *p, enum tempera_stage stage) {
    if (p->temperature == 0.0f) return false;
    switch (stage) {
    case TEMPERA_STAGE_TEMPERATURE: return p->inv_temperature != 1.0f;
    case TEMPERA_STAGE_TOP_K: return p->top_k > 0;
    case TEMPERA_STAGE_TOP_P: return p->top_p < 1.0f;
    case TEMPERA_STAGE_MIN_P: return p->min_p > 0.0f;
    default: return false; /* quick_takes has seen to the others */
    }
}

struct quick quick_of(const struct branch_params *p, size_t setting) {
    struct quick quick = {.setting = setting, .params = p};
    for (int i = 0; i < p->order.count; i++)
        if (does_something(p, (enum tempera_stage)p->order.stage[i])) quick.stage[quick.stages++] = p->order.stage[i];
    return quick;
}

/* ---- one setting ---------------------------------------------------------------------------------------------- */

/* Where a setting's survivors are found: `count` of the first `within` places, by the rank of `ladder`. */
struct cut {
    struct ladder *ladder;
    int32_t within, count;
};

static struct cut run_stages(const struct quick *quick, struct ladder *raw, struct ladder *tempered) {
    const struct branch_params *p = quick->params;
    struct cut cut = {raw, raw->rank->n, raw->rank->n};
    if (p->temperature == 0.0f && cut.count > 1) cut.count = 1; /* the best, of the lowest id: the first place */
    for (int i = 0; i < quick->stages; i++) {
        enum tempera_stage stage = (enum tempera_stage)quick->stage[i];
        if (stage == TEMPERA_STAGE_TEMPERATURE) {
            cut.ladder = tempered;
            cut.within = cut.count;
            if (cut.count > tempered->alive) cut.count = tempered->alive;
        } else {
            cut.count = ladder_cut(cut.ladder, stage, p, cut.count);
        }
    }
    return cut;
}

/* The probability of survivors at temperature 1. */
static float kept_mass(const struct survivors *s, struct ladder *raw) {
    const struct rank *rank = raw->rank;
    uint64_t total = ladder_sum(raw, s->full).total;
    for (int32_t i = s->full; i < s->end; i++)
        if (survives(s, rank, i)) total += draw_weight(draw_distance(raw->best, rank->z[i]));
    return (float)((double)total / (double)ladder_sum(raw, rank->n).total);
}

struct token {     /* the one that is scored */
    int32_t place; /* -1: it has none */
    float logprob;
};

/* The figures of a cut, from the sums. */
static void work_out(struct outcome *out, struct quick_work *work, struct ladder *l, const struct scored_row *row,
                     const struct token *token) {
    const struct rank *rank = &work->rank;
    struct score_stat *stat = &out->stat;
    struct standing *standing = &out->standing;
    *stat = (struct score_stat){.logprob = token->logprob, .final_logprob = -INFINITY, .entropy = row->info->entropy};
    *standing = (struct standing){.count = out->count};
    if (out->count == 0) return;
    struct survivors survivors = ladder_survivors(l, out->within, out->count);
    standing->mass = ladder_sum(l, out->count);
    if (out->greedy) { /* as greedy_statistics has it */
        stat->kept_mass = (float)exp(draw_log_probability(l->best, l->best, row->info->log_total));
    } else {
        standing->log_total = draw_log_mass(standing->mass.total);
        standing->mean = mean_distance(&standing->mass, l->unit);
        stat->kept_mass = kept_mass(&survivors, &work->raw);
        stat->final_entropy = (float)fmax(standing->mean + standing->log_total, 0.0);
    }
    stat->kept = out->count;
    if (token->place >= 0 && survives(&survivors, rank, token->place)) {
        float score = rank->z[token->place] * l->scale + 0.0f;
        stat->final_logprob = (float)draw_log_probability(l->best, score, standing->log_total);
    }
    if (l->best == INFINITY) { /* the rest of the survivors has probability 0 */
        int32_t infinite = ladder_infinite(l);
        if (standing->count > infinite) standing->count = infinite;
        survivors = ladder_survivors(l, out->within, standing->count);
    }
    standing->support = survivors;
}

static const struct outcome *outcome_of(const struct quick *quick, struct quick_work *work, struct ladder *tempered,
                                        const struct scored_row *row, const struct token *token) {
    struct cut cut = run_stages(quick, &work->raw, tempered);
    struct outcome *out = &work->outcome[cut.count % OUTCOMES];
    bool greedy = quick->params->temperature == 0.0f;
    if (out->ladder == cut.ladder && out->within == cut.within && out->count == cut.count && out->greedy == greedy)
        return out;
    out->ladder = cut.ladder;
    out->within = cut.within;
    out->count = cut.count;
    out->greedy = greedy;
    work_out(out, work, cut.ladder, row, token);
    return out;
}

/* ---- pairs ---------------------------------------------------------------------------------------------------- */

static bool includes(const struct survivors *outer, const struct survivors *inner, const struct rank *rank) {
    for (int32_t i = outer->full; i < inner->end; i++)
        if (survives(inner, rank, i) && !survives(outer, rank, i)) return false;
    return true;
}

/* Sums along the places of the weights at one temperature times the distances at another. */
struct cross {
    const struct sampler_kernels *kernels;
    struct scores weigh, measure;
    float best, measure_best;
    double *before; /* of each block */
};

static double cross_at(const struct cross *c, int32_t place) {
    uint64_t weight = draw_weight(draw_distance(c->best, score_at(&c->weigh, place)));
    return weight == 0 ? 0.0 : (double)weight * (double)draw_distance(c->measure_best, score_at(&c->measure, place));
}

/* Whole blocks of the first `count` places, whose distances must be finite. */
static struct cross cross_build(struct quick_work *work, const struct sampler_kernels *kernels, float scale,
                                float measure_scale, int32_t count) {
    const struct rank *rank = &work->rank;
    struct cross c = {.weigh = {rank->z, NULL, count, scale},
                      .measure = {rank->z, NULL, count, measure_scale},
                      .before = work->cross};
    struct mass *block = work->tempered.block; /* nobody needs it any more */
    int32_t blocks = count / SCAN_BLOCK, exponent;
    c.best = score_at(&c.weigh, 0);
    c.measure_best = score_at(&c.measure, 0);
    c.kernels = sampler_kernels_for(sampler_kernels_for(kernels, c.best), c.measure_best);
    c.before[0] = 0.0;
    if (blocks == 0) return c;
    frexpf(draw_distance(c.measure_best, score_at(&c.measure, count - 1)), &exponent);
    float unit = ldexpf(1.0f, exponent > 8 ? 30 - exponent : 22); /* the largest distance has at most 2^30 steps */
    c.kernels->block_moments(&c.weigh, c.best, &c.measure, c.measure_best, unit, block);
    for (int32_t b = 0; b < blocks; b++)
        c.before[b + 1] = c.before[b] + ((double)block[b].high * 65536.0 + (double)block[b].low) / (double)unit;
    return c;
}

static double cross_sum(const struct cross *c, const struct survivors *s, const struct rank *rank) {
    double sum = c->before[s->full / SCAN_BLOCK];
    for (int32_t i = s->full / SCAN_BLOCK * SCAN_BLOCK; i < s->end; i++)
        if (survives(s, rank, i)) sum += cross_at(c, i);
    return sum;
}

/* The pairs whose settings are of the same two groups. A divergence is E[log p - log q] under p = of, with
 * log p = -d - log Z: it takes both Z, the mean of d, and the mean of against's d. */
static void score_pairs(const struct quick_list *list, const struct quick_pair *pair, size_t count,
                        struct quick_work *work, const struct sampler_kernels *kernels, const struct scored_row *row) {
    const float scale = list->group[list->quick[pair->of].group].scale;
    const float measure_scale = list->group[list->quick[pair->against].group].scale;
    int32_t most = -1;
    for (size_t i = 0; i < count; i++) {
        const struct standing *of = &work->standing[pair[i].of], *against = &work->standing[pair[i].against];
        if (of->count == 0 || !includes(&against->support, &of->support, &work->rank)) {
            row->divergence[pair[i].pair * ROWS_AT_ONCE] = of->count == 0 ? NAN : INFINITY;
        } else if (of->support.full > most) {
            most = of->support.full;
        }
    }
    if (most < 0) return;
    struct cross cross = {.kernels = NULL};
    if (scale != measure_scale) cross = cross_build(work, kernels, scale, measure_scale, most);
    for (size_t i = 0; i < count; i++) {
        const struct standing *of = &work->standing[pair[i].of], *against = &work->standing[pair[i].against];
        if (of->count == 0 || !includes(&against->support, &of->support, &work->rank)) continue;
        double farther = 0.0;
        if (cross.kernels && of->mass.total > 0)
            farther = cross_sum(&cross, &of->support, &work->rank) / (double)of->mass.total - of->mean;
        row->divergence[pair[i].pair * ROWS_AT_ONCE] = divergence_of(against->log_total - of->log_total + farther);
    }
}

static bool same_groups(const struct quick_list *list, const struct quick_pair *a, const struct quick_pair *b) {
    return list->quick[a->of].group == list->quick[b->of].group &&
           list->quick[a->against].group == list->quick[b->against].group;
}

/* ---- a row ---------------------------------------------------------------------------------------------------- */

void quick_score(const struct quick_list *list, struct quick_work *work, const struct sampler_kernels *kernels,
                 const struct scored_row *row, const float *z) {
    const float unit = moment_unit(row->V), score = draw_clean(row->logits[row->draw.forced]);
    rank_sort(&work->rank, z, row->V);
    ladder_build(&work->raw, kernels, &work->rank, 1.0f, unit);
    const struct token token = {.place = score > -INFINITY ? rank_place(&work->rank, score, row->draw.forced) : -1,
                                .logprob =
                                    (float)draw_log_probability(row->info->scan.max, score, row->info->log_total)};
    for (size_t g = 0; g < list->group_count; g++) {
        const struct quick_group *group = &list->group[g];
        struct ladder *tempered = group->scale == 1.0f ? &work->raw : &work->tempered;
        if (tempered != &work->raw) ladder_build(tempered, kernels, &work->rank, group->scale, unit);
        for (int i = 0; i < OUTCOMES; i++) work->outcome[i].ladder = NULL;
        for (size_t q = group->begin; q < group->end; q++) {
            const struct quick *quick = &list->quick[q];
            const struct outcome *out = outcome_of(quick, work, tempered, row, &token);
            row->stat[quick->setting * ROWS_AT_ONCE] = out->stat;
            if (list->pair_count > 0) work->standing[q] = out->standing;
        }
    }
    for (size_t i = 0, end; i < list->pair_count; i = end) {
        for (end = i + 1; end < list->pair_count && same_groups(list, &list->pair[i], &list->pair[end]);) end++;
        score_pairs(list, &list->pair[i], end - i, work, kernels, row);
    }
}
