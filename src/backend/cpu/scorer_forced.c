/* scorer_forced.c: settings that edit scores or keep the middle of the rank: the stages of a draw, with its statistics. */
#include "backend/cpu/scorer_internal.h"
#include "backend/draw_log.h"
#include "base/num.h"

static struct mass sum_moments(const struct scores *s, float best, float unit, const struct sampler_kernels *kernels,
                               struct mass *blocks) {
    struct mass sum = {0};
    if (best == -INFINITY) return sum;
    sampler_kernels_for(kernels, best)->block_moments(s, best, s, best, unit, blocks);
    for (size_t b = 0; b < ceil_div((size_t)s->n, SCAN_BLOCK); b++) sum = mass_add(sum, blocks[b]);
    return sum;
}

void forced_final(struct final *f, const struct sampler_kernels *kernels, struct scratch *scratch, struct mass *blocks,
                  const struct scored_row *row, const struct branch_params *params) {
    struct branch_draw draw = row->draw;
    draw.params = params;
    f->params = params;
    chain_start(&f->chain, kernels, scratch, row->logits, row->V, row->info);
    chain_run(&f->chain, &draw, row->V);
    chain_settle(&f->chain);
    f->best = chain_best(&f->chain);
    f->s = f->chain.s;
    if (params->temperature == 0.0f && f->best > -INFINITY) { /* one token is kept */
        int32_t at = kernels->find(&f->s, f->best);
        f->winner = f->best;
        f->winner_id = id_at(&f->s, at);
        f->s = (struct scores){&f->winner, &f->winner_id, 1, 1.0f};
    }
    f->mass = sum_moments(&f->s, f->best, moment_unit(row->V), kernels, blocks);
}

void forced_score(struct final *f, const struct scored_row *row, size_t setting) {
    struct branch_draw draw = row->draw;
    struct draw_result result = {.token = draw.forced};
    draw.params = f->params;
    draw_statistics(&result, &f->chain, &draw, row->logits, row->info);
    struct score_stat stat = {.logprob = result.logprob,
                              .final_logprob = result.final_logprob,
                              .entropy = result.entropy,
                              .kept_mass = result.kept_mass,
                              .kept = result.kept};
    if (f->mass.total > 0 && f->params->temperature > 0.0f)
        stat.final_entropy =
            (float)fmax(mean_distance(&f->mass, moment_unit(row->V)) + draw_log_mass(f->mass.total), 0.0);
    row->stat[setting * ROWS_AT_ONCE] = stat;
}

/* log Z; of a single token exactly 0, as for greedy. */
static double log_total(const struct final *f) {
    return f->params->temperature == 0.0f ? 0.0 : draw_log_mass(f->mass.total);
}

/* The distance of a candidate, INFINITY where it did not survive. */
static float distance_at(const struct final *f, int32_t i) {
    float score = score_at(&f->s, i);
    return score == -INFINITY ? INFINITY : draw_distance(f->best, score);
}

float forced_divergence(const struct final *of, const struct final *against) {
    if (of->best == -INFINITY) return NAN;
    if (against->best == -INFINITY) return INFINITY;
    double sum = 0.0;
    for (int32_t i = 0, j = 0; i < of->s.n; i++) {
        float d = distance_at(of, i);
        if (draw_weight(d) == 0) continue;                                        /* never drawn */
        while (j < against->s.n && id_at(&against->s, j) < id_at(&of->s, i)) j++; /* ids ascend in both */
        if (j == against->s.n || id_at(&against->s, j) != id_at(&of->s, i)) return INFINITY;
        float other = distance_at(against, j);
        if (other == INFINITY) return INFINITY;
        sum += (double)draw_weight(d) * ((double)other - (double)d);
    }
    return divergence_of(sum / (double)of->mass.total + log_total(against) - log_total(of));
}
