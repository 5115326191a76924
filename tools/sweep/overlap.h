/* overlap.h: how much the texts of a cell resemble its references: the mean over the samples of sentence scores, equal
 * to those of the public packages. Bytes that are not UTF-8 count as U+FFFD each. With several references BLEU clips
 * by all of them together; chrF and ROUGE-L are those of the best one. BLEU and chrF are linear in the texts (chrF
 * once for each reference), ROUGE-L takes words * words of the reference. count and reference_count > 0. */
#ifndef SWEEP_OVERLAP_H
#define SWEEP_OVERLAP_H

#include "sweep/record.h"

/* BLEU-4 (Papineni et al. 2002), 0 … 100: sacrebleu's sentence_bleu (Post 2018) with its defaults: tokeniser 13a, case
 * kept, exponential smoothing, effective order. */
double overlap_bleu(const struct sample_record *samples, size_t count, char *const *references, size_t reference_count);

/* chrF2 (Popovic 2015), 0 … 100: sacrebleu's sentence_chrf with its defaults: precision and recall of character n-grams
 * of the orders 1 … 6, white space left out, each averaged over the orders that both texts have; F with beta 2. */
double overlap_chrf(const struct sample_record *samples, size_t count, char *const *references, size_t reference_count);

/* ROUGE-L (Lin 2004), 0 … 1: rouge-score's rougeL F1 without a stemmer: longest common subsequence of words. */
double overlap_rouge_l(const struct sample_record *samples, size_t count, char *const *references,
                       size_t reference_count);

#endif
