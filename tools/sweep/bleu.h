/* bleu.h: sentence BLEU-4 (Papineni et al. 2002) from its counts, as sacrebleu computes it with exponential smoothing
 * (Chen & Cherry 2014, method 3) and effective order. */
#ifndef SWEEP_BLEU_H
#define SWEEP_BLEU_H

#include <stddef.h>

enum { BLEU_ORDERS = 4 };

struct bleu_counts {
    size_t correct[BLEU_ORDERS]; /* n-grams of the text, each at most as often as in the reference that has it most */
    size_t length;               /* of the text, words; it has length - n + 1 n-grams */
    size_t reference_length;     /* the closest to `length`, the shorter of two as close */
};

/* 0 … 100. Orders that the text is too short for are left out; the k-th order without a match counts as 1 / 2^k match;
 * a text without any match gets 0. */
double bleu_score(const struct bleu_counts *counts);

#endif
