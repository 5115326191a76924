/* bleu.c: BLEU's arithmetic. */
#include "sweep/bleu.h"

#include <math.h>

#include "sweep/ngrams.h"

double bleu_score(const struct bleu_counts *counts) {
    size_t matches = 0;
    for (int n = 0; n < BLEU_ORDERS; n++) matches += counts->correct[n];
    if (matches == 0) return 0;
    double logs = 0, smooth = 1, length = (double)counts->length;
    int orders = 0;
    for (; orders < BLEU_ORDERS; orders++) {
        double total = (double)ngram_places(counts->length, (size_t)orders + 1),
               correct = (double)counts->correct[orders];
        if (total == 0) break;
        if (correct == 0) {
            smooth *= 2;
            correct = 1 / smooth;
        }
        logs += log(100 * correct / total);
    }
    double penalty = counts->length < counts->reference_length ? exp(1 - (double)counts->reference_length / length) : 1;
    return penalty * exp(logs / orders);
}
