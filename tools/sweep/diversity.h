/* diversity.h: how much the samples of a cell repeat themselves and each other. Over token ids, the closing stop or eos
 * token included, but for compression. Time and memory are linear in the tokens. */
#ifndef SWEEP_DIVERSITY_H
#define SWEEP_DIVERSITY_H

#include <stdbool.h>

#include "sweep/record.h"

enum { DIVERSITY_ORDERS = 4 };

/* [n-1] is of n-grams. NaN where no sample has one. */
struct diversity {
    double distinct[DIVERSITY_ORDERS];      /* distinct n-grams / n-grams over all samples (Li et al. 2016) */
    double distinct_norm[DIVERSITY_ORDERS]; /* diversity_expected of the same */
    double repeated[DIVERSITY_ORDERS];      /* 1 - distinct / n-grams of a sample, the mean over the samples that have
                                               n-grams (seq-rep-n, Welleck et al. 2020) */
    double self_bleu;                       /* NaN when not wanted or with fewer than 2 samples */
};

/* Self-BLEU (Zhu et al. 2018): the mean over the samples of each one's sentence BLEU-4 with all others as references,
 * as sacrebleu computes it of the ids joined by spaces (no tokeniser, exponential smoothing, effective order; bleu.h).
 * Exact and linear: of each n-gram's counts in the samples the largest, whose it is, and the largest of the others
 * suffice. A sample without tokens has BLEU 0. */
void diversity_measure(struct diversity *diversity, const struct sample_record *samples, size_t count,
                       int32_t vocab_size, bool self_bleu);

/* Expectation-adjusted distinct (Liu et al. 2022): distinct / (V (1 - ((V - 1) / V)^total)), the share of the distinct
 * n-grams that `total` uniform draws from all V = vocab_size^n would be expected to show. NaN when total or V is 0. */
double diversity_expected(double distinct, double total, double vocab_size, int n);

/* A sample ends in a loop when its last tokens repeat with a period of at most LOOP_PERIOD tokens, at least
 * LOOP_REPEATS times, over at least LOOP_TOKENS tokens, or LOOP_SHORT_TOKENS where those are half of the sample ("a
 * phrase repeated at least three times at the end", after Holtzman et al. 2020). One that ended with its eos token
 * ended in none. */
enum { LOOP_PERIOD = 32, LOOP_REPEATS = 3, LOOP_TOKENS = 16, LOOP_SHORT_TOKENS = 8 };
bool ends_in_loop(const int32_t *tokens, size_t count);

/* Samples are equal when their token ids are. */
struct uniqueness {
    double ratio;             /* distinct samples / samples */
    double collision_entropy; /* -ln of the sum of (c / count)^2 over distinct samples, each seen c times: the plug-in
                                 estimate of the Renyi entropy of order 2, nats */
};
/* NaN with fewer than 2 samples. */
void uniqueness_measure(struct uniqueness *uniqueness, const struct sample_record *samples, size_t count);

/* Bytes of all texts, in order, joined by newlines / bytes of the same as a zlib stream of level 9 (Shaib et al. 2024,
 * with zlib's header for gzip's). NaN where all texts are empty. */
double compression_ratio(const struct sample_record *samples, size_t count);

#endif
