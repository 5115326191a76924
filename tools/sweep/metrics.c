/* metrics.c: the table of metrics, and all of them for one cell. */
#include "sweep/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sweep/answers.h"
#include "sweep/diversity.h"
#include "sweep/inference.h"
#include "sweep/overlap.h"

const struct metric_info metric_info[METRIC_COUNT] = {
#define METRIC_INFO(name, better, text) {#name, METRIC_##better, text},
    SWEEP_METRICS(METRIC_INFO)
#undef METRIC_INFO
};

enum metric metric_find(const char *name) {
    for (int m = 0; m < METRIC_COUNT; m++) {
        const char *a = metric_info[m].name, *b = name;
        while (*a && (*a == *b || (*a == '_' && *b == '@'))) a++, b++;
        if (!*a && !*b) return (enum metric)m;
    }
    return METRIC_COUNT;
}

/* Whether any of the metrics first ... last is wanted. */
static bool wanted(const struct metric_mask *mask, enum metric first, enum metric last) {
    if (!mask) return true;
    for (int m = (int)first; m <= (int)last; m++)
        if (mask->wanted[m]) return true;
    return false;
}

static double share(size_t part, size_t whole) {
    return whole ? (double)part / (double)whole : NAN;
}

/* ---- tokens ---- */

static double sum_floats(const float *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)values[i];
    return sum;
}

static void measure_tokens(const struct cell *cell, double *value) {
    double logprob = 0, final_logprob = 0, entropy = 0, kept_mass = 0, kept = 0;
    size_t tokens = 0, greedy = 0, with_tokens = 0;
    for (size_t s = 0; s < cell->count; s++) {
        const struct sample_record *sample = &cell->samples[s];
        size_t n = sample->token_count;
        tokens += n;
        with_tokens += n > 0;
        logprob += sum_floats(sample->logprob, n);
        final_logprob += sum_floats(sample->final_logprob, n);
        entropy += sum_floats(sample->entropy, n);
        kept_mass += sum_floats(sample->kept_mass, n);
        for (size_t i = 0; i < n; i++) {
            kept += sample->kept[i];
            greedy += sample->greedy[i];
        }
    }
    value[METRIC_length] = (double)tokens / (double)cell->count;
    if (tokens == 0) return;
    double all = (double)tokens;
    value[METRIC_logprob] = logprob / all;
    value[METRIC_perplexity] = exp(-logprob / all);
    value[METRIC_log_likelihood] = logprob / (double)with_tokens;
    value[METRIC_final_logprob] = final_logprob / all;
    value[METRIC_entropy] = entropy / all;
    value[METRIC_kept] = kept / all;
    value[METRIC_kept_mass] = kept_mass / all;
    value[METRIC_greedy_agreement] = (double)greedy / all;
}

static void measure_finish(const struct cell *cell, double *value) {
    size_t eos = 0, stop = 0, length = 0, error = 0;
    for (size_t s = 0; s < cell->count; s++) {
        eos += cell->samples[s].finish == TEMPERA_FINISH_EOS;
        stop += cell->samples[s].finish == TEMPERA_FINISH_STOP;
        length += cell->samples[s].finish == TEMPERA_FINISH_LENGTH;
        error += cell->samples[s].finish == TEMPERA_FINISH_ERROR;
    }
    value[METRIC_finish_eos] = share(eos, cell->count);
    value[METRIC_finish_stop] = share(stop, cell->count);
    value[METRIC_finish_length] = share(length, cell->count);
    value[METRIC_finish_error] = share(error, cell->count);
}

/* ---- diversity ---- */

static void measure_diversity(const struct cell *cell, const struct metric_mask *mask, double *value) {
    bool self_bleu = wanted(mask, METRIC_self_bleu, METRIC_self_bleu);
    if (self_bleu || wanted(mask, METRIC_distinct_1, METRIC_seq_rep_4)) {
        struct diversity diversity;
        diversity_measure(&diversity, cell->samples, cell->count, cell->vocab_size, self_bleu);
        for (int n = 0; n < DIVERSITY_ORDERS; n++) {
            value[METRIC_distinct_1 + n] = diversity.distinct[n];
            value[METRIC_distinct_1_norm + n] = diversity.distinct_norm[n];
            value[METRIC_seq_rep_1 + n] = diversity.repeated[n];
        }
        value[METRIC_self_bleu] = diversity.self_bleu;
    }
    if (wanted(mask, METRIC_unique_ratio, METRIC_collision_entropy)) {
        struct uniqueness uniqueness;
        uniqueness_measure(&uniqueness, cell->samples, cell->count);
        value[METRIC_unique_ratio] = uniqueness.ratio;
        value[METRIC_collision_entropy] = uniqueness.collision_entropy;
    }
    size_t loops = 0;
    for (size_t s = 0; s < cell->count; s++)
        loops += ends_in_loop(cell->samples[s].tokens, cell->samples[s].token_count);
    value[METRIC_loop_rate] = share(loops, cell->count);
    if (wanted(mask, METRIC_compression_ratio, METRIC_compression_ratio))
        value[METRIC_compression_ratio] = compression_ratio(cell->samples, cell->count);
}

/* ---- answers ---- */

/* The sample that the model finds most likely by its mean log-probability; the first of equals, and when none has a
 * number for it. */
static size_t most_likely(const struct cell *cell) {
    size_t best = 0;
    double highest = -INFINITY;
    for (size_t s = 0; s < cell->count; s++) {
        size_t n = cell->samples[s].token_count;
        double mean = n ? sum_floats(cell->samples[s].logprob, n) / (double)n : -INFINITY;
        if (!(mean > highest)) continue;
        highest = mean;
        best = s;
    }
    return best;
}

static void set_pass(double *value, size_t samples, size_t right) {
    for (int i = 0; i <= METRIC_pass_64 - METRIC_pass_1; i++)
        value[METRIC_pass_1 + i] = pass_at_k((int64_t)samples, (int64_t)right, (int64_t)1 << i);
}

static void measure_answers(const struct cell *cell, double *value) {
    struct answers answers;
    int32_t *given = xarray(cell->count, sizeof *given);
    size_t right = 0;
    answers_open(&answers, cell->prompt);
    for (size_t s = 0; s < cell->count; s++) {
        given[s] = answer_of(&answers, cell->samples[s].text, cell->samples[s].text_length);
        right += given[s] == answers.right;
    }
    value[METRIC_exact_match] = share(right, cell->count);
    value[METRIC_majority_vote] = answer_majority(given, cell->count, answers.table.count) == answers.right;
    value[METRIC_best_of_n] = given[most_likely(cell)] == answers.right;
    set_pass(value, cell->count, right);
    answers_close(&answers);
    free(given);
}

/* After measure_answers, whose pass@k the verdicts replace when they are complete. */
static void measure_verdicts(const struct cell *cell, double *value) {
    size_t verified = 0, passed = 0;
    for (size_t s = 0; s < cell->count; s++) {
        verified += cell->samples[s].verdict >= 0;
        passed += cell->samples[s].verdict > 0;
    }
    value[METRIC_verified] = share(passed, verified);
    if (verified == cell->count) set_pass(value, cell->count, passed);
}

int sample_is_right(const struct sample_record *sample, const struct sweep_prompt *prompt) {
    if (!prompt->answer) return -1;
    struct answers answers;
    answers_open(&answers, prompt);
    int right = answer_of(&answers, sample->text, sample->text_length) == answers.right;
    answers_close(&answers);
    return right;
}

/* ---- references ---- */

static void measure_overlap(const struct cell *cell, const struct metric_mask *mask, double *value) {
    char *const *references = cell->prompt->references;
    size_t count = cell->prompt->reference_count;
    if (wanted(mask, METRIC_bleu, METRIC_bleu))
        value[METRIC_bleu] = overlap_bleu(cell->samples, cell->count, references, count);
    if (wanted(mask, METRIC_chrf, METRIC_chrf))
        value[METRIC_chrf] = overlap_chrf(cell->samples, cell->count, references, count);
    if (wanted(mask, METRIC_rouge_l, METRIC_rouge_l))
        value[METRIC_rouge_l] = overlap_rouge_l(cell->samples, cell->count, references, count);
}

void metrics_cell(const struct cell *cell, const struct metric_mask *mask, double *value) {
    for (int m = 0; m < METRIC_COUNT; m++) value[m] = NAN;
    if (cell->count == 0) return;
    measure_tokens(cell, value);
    measure_finish(cell, value);
    measure_diversity(cell, mask, value);
    if (cell->prompt->answer && wanted(mask, METRIC_exact_match, METRIC_pass_64)) measure_answers(cell, value);
    measure_verdicts(cell, value);
    if (cell->prompt->reference_count) measure_overlap(cell, mask, value);
    for (int m = 0; m < METRIC_COUNT; m++)
        if (mask && !mask->wanted[m]) value[m] = NAN;
}
