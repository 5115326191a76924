/* answers.h: what a completion answers, and whether that is right.
 *
 * Texts are compared after SQuAD's normalisation (Rajpurkar et al. 2016): lower case, ASCII punctuation dropped, the
 * words a, an and the dropped, white space squeezed to single spaces. Lower case is ASCII's: other letters stay as
 * they are, and count as letters beside an article; U+0080 … U+00BF, general (U+2000 …) and CJK (U+3000 …) punctuation
 * do not. Where that leaves nothing of the answer or of a choice, or makes two choices equal (choices A, B, C; +, -),
 * articles stay, and where that is not enough punctuation too: the first of the three that tells them apart serves all
 * texts of the prompt.
 *
 * Of a completion only the first line that is not blank counts. Without choices that line is the answer. With choices
 * it is the longest choice that the line begins with, where a letter or digit of ASCII does not go on with another ("B
 * is" but not "Because" begins with B). A sample has no answer when there is no such choice, or nothing is left of the
 * line. */
#ifndef SWEEP_ANSWERS_H
#define SWEEP_ANSWERS_H

#include <stdbool.h>

#include "strbuf.h"
#include "sweep/ngrams.h"
#include "sweep/prompts.h"

enum answer_form { ANSWER_SQUAD, ANSWER_ARTICLES /* kept */, ANSWER_PUNCTUATION /* kept, and articles */ };

struct answers {
    enum answer_form form;
    struct ngram_table table; /* normalised texts */
    int32_t right;            /* the answer's number; NGRAM_NONE when the prompt has none */
    bool has_choices;
    bool *is_choice; /* [choice_limit] by number */
    size_t choice_limit;
    struct strbuf line, scratch;
};

/* The prompt is not needed afterwards. */
void answers_open(struct answers *answers, const struct sweep_prompt *prompt);
void answers_close(struct answers *answers);

/* A number that equal answers share and others do not; NGRAM_NONE when the completion has none. */
int32_t answer_of(struct answers *answers, const char *text, size_t length);

/* Adds the normalised form of a clean text (words.h). */
void answer_normalise(struct strbuf *out, const char *text, size_t length, enum answer_form form);

/* The most frequent of numbers[count], of equally frequent ones that which comes first; NGRAM_NONE ones do not vote.
 * NGRAM_NONE when none does. `largest` is the largest number. */
int32_t answer_majority(const int32_t *numbers, size_t count, size_t largest);

#endif
