/* sampler_stats.c: log-probabilities. Masses are integers, so they do not depend on how they were summed; logarithms are
 * double, and the distance of a single token enters as it is, so far tails keep their precision. */
#include "backend/cpu/sampler_internal.h"
#include "backend/draw_log.h"

static void row_top(struct row_info *info, const struct sampler_kernels *kernels, struct scratch *scratch,
                    const struct scores *s) {
    info->top_count = best_ranks(kernels, scratch, s, info->block_max, info->wanted_top);
    for (int32_t i = 0; i < info->top_count; i++) {
        uint64_t rank = scratch->entry[i].rank;
        float score = draw_unkey((uint32_t)(rank >> 32));
        info->top_token[i] = (int32_t) ~(uint32_t)rank;
        info->top_logprob[i] = (float)draw_log_probability(info->scan.max, score, info->log_total);
    }
}

void row_statistics(struct row_info *info, const struct sampler_kernels *kernels, struct scratch *scratch,
                    const struct scores *s) {
    float best = info->scan.max;
    info->mass = (struct mass){0};
    info->log_total = 0.0;
    info->entropy = 0.0f;
    if (best > -INFINITY) {
        sampler_kernels_for(kernels, best)->moments(s, best, &info->mass);
        info->log_total = draw_log_mass(info->mass.total);
        info->entropy = draw_entropy(info->mass.high, info->mass.low, info->mass.total);
    }
    row_top(info, kernels, scratch, s);
}

/* All of an unedited row is left, unless a low temperature sent huge scores to -inf. */
static bool is_whole(const struct chain *c, const float *row) {
    if (c->s.z != row || c->last > RANK_LEAST) return false;
    return c->s.scale <= 1.0f || c->kernels->find(&c->s, -INFINITY) < 0;
}

/* The score of a token among the survivors, -inf when it is not one. */
static float survivor_score(const struct chain *c, int32_t token) {
    const struct scores *s = &c->s;
    int32_t at = s->id ? scores_find(s, token) : token;
    if (at < 0 || draw_rank(score_at(chain_order(c), at), token) < c->last) return -INFINITY;
    return score_at(s, at);
}

/* What survived: its mass by the final scores, and measured in the unfiltered distribution. */
static void sampled_statistics(struct draw_result *out, struct chain *c, const float *row,
                               const struct row_info *info) {
    float best = chain_best(c), row_best = info->scan.max;
    uint64_t total;
    if (is_whole(c, row)) {
        out->kept = info->scan.finite;
        out->kept_mass = 1.0f;
        total = chain_mass(c).total;
    } else {
        const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, best > row_best ? best : row_best);
        struct survey kept = kernels->survey(chain_order(c), c->last, &c->s, best, row, row_best);
        out->kept = kept.kept;
        out->kept_mass = (float)((double)kept.row_weight / (double)info->mass.total);
        total = kept.weight;
    }
    out->final_logprob = (float)draw_log_probability(best, survivor_score(c, out->token), draw_log_mass(total));
}

static void greedy_statistics(struct draw_result *out, struct chain *c, const float *row, const struct row_info *info) {
    int32_t winner = id_at(&c->s, c->kernels->find(&c->s, chain_best(c)));
    double logprob = draw_log_probability(info->scan.max, draw_clean(row[winner]), info->log_total);
    out->kept = 1;
    out->kept_mass = (float)exp(logprob);
    out->final_logprob = out->token == winner ? 0.0f : -INFINITY;
}

void draw_statistics(struct draw_result *out, struct chain *c, const struct branch_draw *branch, const float *row,
                     const struct row_info *info) {
    const struct branch_params *p = branch->params;
    out->entropy = info->entropy;
    out->top_count = p->logprobs < info->top_count ? p->logprobs : info->top_count;
    for (int32_t i = 0; i < out->top_count; i++) {
        out->top_token[i] = info->top_token[i];
        out->top_logprob[i] = info->top_logprob[i];
    }
    out->logprob = out->final_logprob = -INFINITY;
    if (out->token >= 0)
        out->logprob = (float)draw_log_probability(info->scan.max, draw_clean(row[out->token]), info->log_total);
    if (chain_best(c) == -INFINITY) return;
    if (p->temperature == 0.0f) {
        greedy_statistics(out, c, row, info);
    } else {
        sampled_statistics(out, c, row, info);
    }
}
