/* sampler_chain.c: the scores of one branch, from its logits row through the stages of its order. The row itself is never
 * written: the first edit copies it, and a filter that keeps few tokens turns it into a list of survivors. One that keeps
 * many is left as a rank to those who read the scores: a race over the row is faster than one over a long list. */
#include <float.h>

#include "backend/cpu/sampler_internal.h"

void chain_start(struct chain *c, const struct sampler_kernels *kernels, struct scratch *scratch, const float *row,
                 int32_t V, const struct row_info *info) {
    *c = (struct chain){
        .kernels = kernels,
        .scratch = scratch,
        .s = {row, NULL, V, 1.0f},
        .last = RANK_LEAST,
        .block_max = info->block_max,
        .shortlist = info->shortlist.n > 0 ? &info->shortlist : NULL,
        .row_mass = info->wanted_top >= 0 ? &info->mass : NULL,
        .best = info->scan.max,
        .best_known = true,
    };
    if (info->scan.flags == 0) return;
    kernels->clean(scratch->dense, row, V, 1.0f);
    c->s.z = scratch->dense;
}

float chain_best(struct chain *c) {
    if (!c->best_known) {
        struct scan result;
        float *blocks = c->s.id ? NULL : c->scratch->block_max;
        c->kernels->scan(c->s.z, c->s.n, blocks, &result);
        c->best = result.max * c->s.scale + 0.0f; /* scaling is monotone */
        c->best_known = true;
        c->block_max = blocks;
    }
    return c->best;
}

struct mass chain_mass(struct chain *c) {
    struct mass mass;
    float best = chain_best(c);
    if (c->row_mass && c->s.scale == 1.0f) return *c->row_mass;
    sampler_kernels_for(c->kernels, best)->mass(&c->s, best, &mass);
    return mass;
}

struct mass chain_moments(struct chain *c) {
    struct mass mass;
    float best = chain_best(c);
    if (c->row_mass && c->s.scale == 1.0f) return *c->row_mass;
    sampler_kernels_for(c->kernels, best)->moments(&c->s, best, &mass);
    return mass;
}

float *chain_edit(struct chain *c, int32_t id) {
    struct scores *s = &c->s;
    chain_settle(c);
    float *own = s->id ? c->scratch->list : c->scratch->dense;
    if (s->z != own || s->scale != 1.0f) {
        c->kernels->clean(own, s->z, s->n, s->scale);
        s->z = own;
        s->scale = 1.0f;
    }
    c->best_known = false;
    c->block_max = NULL;
    c->shortlist = NULL;
    c->row_mass = NULL;
    if (!s->id) return (uint32_t)id < (uint32_t)s->n ? &own[id] : NULL;
    int32_t at = scores_find(s, id);
    return at < 0 ? NULL : &own[at];
}

static float dynatemp(struct chain *c, const struct branch_params *p) {
    chain_settle(c);
    float best = chain_best(c);
    if (best == -INFINITY) return 1.0f;
    struct mass mass = chain_moments(c);
    int32_t count = c->kernels->collect(&c->s, -FLT_MAX, INFINITY, c->scratch->index);
    return draw_dynatemp(mass.high, mass.low, mass.total, (uint32_t)count, p->dynatemp_least, p->dynatemp_spread,
                         p->dynatemp_exponent);
}

static void chain_temperature(struct chain *c, const struct branch_params *p) {
    chain_best(c);
    c->s.scale = p->dynatemp_spread > 0.0f ? dynatemp(c, p) : p->inv_temperature;
    c->best = c->best * c->s.scale + 0.0f;
}

static void run_filter(struct chain *c, enum tempera_stage stage, const struct branch_params *p) {
    if (chain_best(c) == -INFINITY) return; /* nobody to choose from */
    bool ties = p->order.keep_ties;
    if (stage == TEMPERA_STAGE_TOP_K && p->top_k > 0) chain_top_k(c, p->top_k, ties);
    if (stage == TEMPERA_STAGE_TOP_P && p->top_p < 1.0f) chain_top_p(c, p->top_p, ties);
    if (stage == TEMPERA_STAGE_MIN_P && p->min_p > 0.0f) chain_min_p(c, p->min_p_distance);
    if (stage == TEMPERA_STAGE_TYPICAL_P && p->typical_p < 1.0f) chain_typical_p(c, p->typical_p, ties);
}

void chain_run(struct chain *c, const struct branch_draw *branch, int32_t V) {
    const struct branch_params *p = branch->params;
    bool greedy = p->temperature == 0.0f;
    chain_suppress(c, branch);
    for (int i = 0; i < p->order.count; i++) {
        enum tempera_stage stage = (enum tempera_stage)p->order.stage[i];
        if (stage == TEMPERA_STAGE_PENALTIES) {
            chain_penalties(c, branch, V);
        } else if (stage == TEMPERA_STAGE_BIAS) {
            chain_bias(c, p);
        } else if (greedy) {
            continue;
        } else if (stage == TEMPERA_STAGE_TEMPERATURE) {
            chain_temperature(c, p);
        } else {
            run_filter(c, stage, p);
        }
    }
}
