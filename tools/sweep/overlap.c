/* overlap.c: BLEU, chrF and ROUGE-L of texts. */
#include "sweep/overlap.h"

#include <stdlib.h>
#include <string.h>

#include "sweep/bleu.h"
#include "sweep/ngrams.h"
#include "sweep/words.h"

/* A growing list of symbols; its memory serves one text after another. */
struct symbols {
    int32_t *items;
    size_t count, capacity;
};

static void symbols_add(struct symbols *symbols, int32_t symbol) {
    if (symbols->count == symbols->capacity) {
        symbols->capacity = symbols->capacity ? symbols->capacity * 2 : 64;
        symbols->items = xgrow(symbols->items, symbols->capacity, sizeof *symbols->items);
    }
    symbols->items[symbols->count++] = symbol;
}

/* The words of a clean text, already split, by their numbers; `add` numbers new words, else they are NGRAM_NONE. */
static void read_words(struct symbols *symbols, struct ngram_table *words, const struct strbuf *text, bool add) {
    size_t at = 0, length;
    const char *word;
    symbols->count = 0;
    while (text_word(text->data, text->length, &at, &word, &length))
        symbols_add(symbols, add ? ngram_add_bytes(words, word, length) : ngram_find_bytes(words, word, length));
}

static void read_characters(struct symbols *symbols, const struct strbuf *text) {
    symbols->count = 0;
    for (size_t i = 0, n; i < text->length; i += n) {
        n = text_space(text->data + i, text->length - i);
        if (n == 0) symbols_add(symbols, text_character(text->data + i, text->length - i, &n));
    }
}

/* ---- clipped n-gram matches ---- */

/* The n-grams of all orders of one or more references, and how often one of them has each. */
struct profile {
    struct ngram_table table;
    size_t order;
    int32_t *limit, *used; /* [capacity] by number; `used` is zero between calls */
    size_t capacity;
    struct symbols numbers; /* of the text that is being looked at: its n-grams, NGRAM_NONE ones left out */
};

enum { ORDERS_MAX = 6 };

static void profile_free(struct profile *profile) {
    ngram_free(&profile->table);
    free(profile->limit);
    free(profile->used);
    free(profile->numbers.items);
}

static void profile_grow(struct profile *profile) {
    size_t wanted = profile->table.count + 1, old = profile->capacity;
    if (wanted <= old) return;
    profile->capacity = wanted < old * 2 ? old * 2 : wanted;
    profile->limit = xgrow(profile->limit, profile->capacity, sizeof *profile->limit);
    profile->used = xgrow(profile->used, profile->capacity, sizeof *profile->used);
    memset(profile->limit + old, 0, (profile->capacity - old) * sizeof *profile->limit);
    memset(profile->used + old, 0, (profile->capacity - old) * sizeof *profile->used);
}

static void forget_used(struct profile *profile) {
    for (size_t i = 0; i < profile->numbers.count; i++) profile->used[profile->numbers.items[i]] = 0;
}

static void profile_add(struct profile *profile, const struct symbols *text) {
    profile->numbers.count = 0;
    for (size_t i = 0; i < text->count; i++) {
        int32_t number = NGRAM_ROOT;
        for (size_t n = 0; n < profile->order && i + n < text->count; n++) {
            number = ngram_add(&profile->table, number, text->items[i + n]);
            symbols_add(&profile->numbers, number);
        }
    }
    profile_grow(profile);
    for (size_t i = 0; i < profile->numbers.count; i++) {
        int32_t number = profile->numbers.items[i];
        if (++profile->used[number] > profile->limit[number]) profile->limit[number] = profile->used[number];
    }
    forget_used(profile);
}

/* matches[order]: n-grams of the text that the profile has too, each as often as both have it. Where an n-gram is not
 * in the profile, no longer one that begins with it is. */
static void profile_match(struct profile *profile, const struct symbols *text, size_t *matches) {
    memset(matches, 0, profile->order * sizeof *matches);
    profile->numbers.count = 0;
    for (size_t i = 0; i < text->count; i++) {
        int32_t number = NGRAM_ROOT;
        for (size_t n = 0; n < profile->order && i + n < text->count; n++) {
            number = ngram_find(&profile->table, number, text->items[i + n]);
            if (number == NGRAM_NONE) break;
            symbols_add(&profile->numbers, number);
            matches[n] += ++profile->used[number] <= profile->limit[number];
        }
    }
    forget_used(profile);
}

/* ---- BLEU ---- */

static void read_13a(struct strbuf *scratch, const char *bytes, size_t length) {
    strbuf_clear(scratch);
    text_clean(scratch, bytes, length);
    text_split_13a(scratch);
}

static size_t closest_length(size_t length, const size_t *lengths, size_t count) {
    size_t best = lengths[0];
    for (size_t r = 1; r < count; r++) {
        size_t far = lengths[r] > length ? lengths[r] - length : length - lengths[r];
        size_t best_far = best > length ? best - length : length - best;
        if (far < best_far || (far == best_far && lengths[r] < best)) best = lengths[r];
    }
    return best;
}

double overlap_bleu(const struct sample_record *samples, size_t count, char *const *references,
                    size_t reference_count) {
    struct ngram_table words = {0};
    struct profile profile = {.order = BLEU_ORDERS};
    struct symbols text = {0};
    struct strbuf scratch = {0};
    size_t *lengths = xarray(reference_count, sizeof *lengths);
    for (size_t r = 0; r < reference_count; r++) {
        read_13a(&scratch, references[r], strlen(references[r]));
        read_words(&text, &words, &scratch, true);
        profile_add(&profile, &text);
        lengths[r] = text.count;
    }
    double sum = 0;
    for (size_t s = 0; s < count; s++) {
        struct bleu_counts bleu;
        read_13a(&scratch, samples[s].text, samples[s].text_length);
        read_words(&text, &words, &scratch, false);
        profile_match(&profile, &text, bleu.correct);
        bleu.length = text.count;
        bleu.reference_length = closest_length(text.count, lengths, reference_count);
        sum += bleu_score(&bleu);
    }
    profile_free(&profile);
    ngram_free(&words);
    free(text.items);
    free(lengths);
    strbuf_free(&scratch);
    return sum / (double)count;
}

/* ---- chrF ---- */

enum { CHRF_ORDERS = 6, CHRF_BETA = 2 };
_Static_assert((int)CHRF_ORDERS <= (int)ORDERS_MAX && (int)BLEU_ORDERS <= (int)ORDERS_MAX,
               "matches[ORDERS_MAX] holds both");

static double chrf_score(const size_t *matches, size_t length, size_t reference_length) {
    double precision = 0, recall = 0;
    int orders = 0;
    for (size_t n = 1; n <= CHRF_ORDERS; n++) {
        size_t have = ngram_places(length, n), wanted = ngram_places(reference_length, n);
        if (have == 0 || wanted == 0) break;
        precision += (double)matches[n - 1] / (double)have;
        recall += (double)matches[n - 1] / (double)wanted;
        orders++;
    }
    if (orders == 0 || precision + recall == 0) return 0;
    precision /= orders;
    recall /= orders;
    double weight = CHRF_BETA * CHRF_BETA;
    return 100 * (1 + weight) * precision * recall / (weight * precision + recall);
}

/* The score of each sample against one reference, kept in best[count] where it is larger. */
static void chrf_reference(const struct sample_record *samples, size_t count, const char *reference, double *best) {
    struct profile profile = {.order = CHRF_ORDERS};
    struct symbols text = {0};
    struct strbuf scratch = {0};
    text_clean(&scratch, reference, strlen(reference));
    read_characters(&text, &scratch);
    profile_add(&profile, &text);
    size_t reference_length = text.count, matches[ORDERS_MAX];
    for (size_t s = 0; s < count; s++) {
        strbuf_clear(&scratch);
        text_clean(&scratch, samples[s].text, samples[s].text_length);
        read_characters(&text, &scratch);
        profile_match(&profile, &text, matches);
        double score = chrf_score(matches, text.count, reference_length);
        if (score > best[s]) best[s] = score;
    }
    profile_free(&profile);
    free(text.items);
    strbuf_free(&scratch);
}

static double mean(const double *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

double overlap_chrf(const struct sample_record *samples, size_t count, char *const *references,
                    size_t reference_count) {
    double *best = xarray(count, sizeof *best);
    for (size_t r = 0; r < reference_count; r++) chrf_reference(samples, count, references[r], best);
    double score = mean(best, count);
    free(best);
    return score;
}

/* ---- ROUGE-L ---- */

static void read_rouge(struct strbuf *scratch, const char *bytes, size_t length) {
    strbuf_clear(scratch);
    text_clean(scratch, bytes, length);
    text_split_rouge(scratch);
}

/* Longest common subsequence by rows: row[j] is that of the texts up to here and the first j of b (row[b->count + 1],
 * rewritten). */
static size_t common_subsequence(const struct symbols *a, const struct symbols *b, size_t *row) {
    memset(row, 0, (b->count + 1) * sizeof *row);
    for (size_t i = 0; i < a->count; i++) {
        size_t diagonal = 0;
        for (size_t j = 0; j < b->count; j++) {
            size_t above = row[j + 1], longer = above > row[j] ? above : row[j];
            row[j + 1] = a->items[i] == b->items[j] ? diagonal + 1 : longer;
            diagonal = above;
        }
    }
    return row[b->count];
}

static double rouge_score(size_t common, size_t length, size_t reference_length) {
    if (common == 0) return 0;
    double precision = (double)common / (double)length, recall = (double)common / (double)reference_length;
    return 2 * precision * recall / (precision + recall);
}

static void rouge_reference(const struct sample_record *samples, size_t count, const char *reference, double *best) {
    struct ngram_table words = {0};
    struct symbols wanted = {0}, text = {0};
    struct strbuf scratch = {0};
    read_rouge(&scratch, reference, strlen(reference));
    read_words(&wanted, &words, &scratch, true);
    size_t *row = xarray(wanted.count + 1, sizeof *row);
    for (size_t s = 0; s < count; s++) {
        read_rouge(&scratch, samples[s].text, samples[s].text_length);
        read_words(&text, &words, &scratch, false);
        double score = rouge_score(common_subsequence(&text, &wanted, row), text.count, wanted.count);
        if (score > best[s]) best[s] = score;
    }
    ngram_free(&words);
    free(wanted.items);
    free(text.items);
    free(row);
    strbuf_free(&scratch);
}

double overlap_rouge_l(const struct sample_record *samples, size_t count, char *const *references,
                       size_t reference_count) {
    double *best = xarray(count, sizeof *best);
    for (size_t r = 0; r < reference_count; r++) rouge_reference(samples, count, references[r], best);
    double score = mean(best, count);
    free(best);
    return score;
}
