/* answers.c: normalisation, choices, the vote. */
#include "sweep/answers.h"

#include <stdlib.h>
#include <string.h>

#include "sweep/words.h"

/* ---- normalisation ---- */

static bool is_punctuation(char c) { /* Python's string.punctuation */
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

static bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Whether the character at text[0, left) belongs to a word; *length gets its bytes. */
static bool is_word_character(const char *text, size_t left, size_t *length) {
    int32_t c = text_character(text, left, length);
    if (c < 0x80) return is_letter_or_digit((char)c) || c == '_';
    return c >= 0xC0 && !(c >= 0x2000 && c <= 0x206F) && !(c >= 0x3000 && c <= 0x303F) && !text_space(text, left);
}

/* Lower case, without punctuation unless it is kept. */
static void make_lower(struct strbuf *text, bool punctuation) {
    size_t kept = 0;
    for (size_t i = 0; i < text->length; i++) {
        char c = text->data[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (punctuation || !is_punctuation(c)) text->data[kept++] = c;
    }
    text->length = kept;
}

static bool is_article(const char *word, size_t length) {
    return (length == 1 && word[0] == 'a') || (length == 2 && memcmp(word, "an", 2) == 0) ||
           (length == 3 && memcmp(word, "the", 3) == 0);
}

/* Each article becomes a space: \b(a|an|the)\b. */
static void blank_articles(struct strbuf *text) {
    size_t kept = 0, i = 0, n;
    while (i < text->length) {
        size_t from = i;
        while (i < text->length && is_word_character(text->data + i, text->length - i, &n)) i += n;
        if (is_article(text->data + from, i - from)) {
            text->data[kept++] = ' ';
            continue;
        }
        if (i == from) i += n;
        memmove(text->data + kept, text->data + from, i - from);
        kept += i - from;
    }
    text->length = kept;
}

static void add_squeezed(struct strbuf *out, const struct strbuf *text) {
    size_t at = 0, length, before = out->length;
    const char *word;
    while (text_word(text->data, text->length, &at, &word, &length)) {
        if (out->length > before) strbuf_char(out, ' ');
        strbuf_add(out, word, length);
    }
}

void answer_normalise(struct strbuf *out, const char *text, size_t length, enum answer_form form) {
    struct strbuf lower = {0};
    strbuf_add(&lower, text, length);
    make_lower(&lower, form == ANSWER_PUNCTUATION);
    if (form == ANSWER_SQUAD) blank_articles(&lower);
    add_squeezed(out, &lower);
    strbuf_free(&lower);
}

/* ---- a prompt's answers ---- */

/* The number of the text in answers->scratch, NGRAM_ROOT when it is empty. Where there are choices a byte is a symbol,
 * so that they are found from their first byte on; else ngram_add_bytes, which is faster. */
static int32_t number_scratch(struct answers *answers) {
    const struct strbuf *text = &answers->scratch;
    int32_t number = NGRAM_ROOT;
    if (text->length == 0) return NGRAM_ROOT;
    if (!answers->has_choices) return ngram_add_bytes(&answers->table, text->data, text->length);
    for (size_t i = 0; i < text->length; i++) number = ngram_add(&answers->table, number, (unsigned char)text->data[i]);
    return number;
}

/* The number of a text's normalised form. */
static int32_t add_text(struct answers *answers, const char *text) {
    struct strbuf clean = {0};
    text_clean(&clean, text, strlen(text));
    strbuf_clear(&answers->scratch);
    answer_normalise(&answers->scratch, clean.data, clean.length, answers->form);
    strbuf_free(&clean);
    return number_scratch(answers);
}

/* Numbers the choices and the answer in one form; whether that form keeps all of them and keeps them apart. */
static bool number_texts(struct answers *answers, const struct sweep_prompt *prompt) {
    bool good = true;
    size_t bytes = 0;
    ngram_clear(&answers->table);
    for (size_t i = 0; i < prompt->choice_count; i++) bytes += strlen(prompt->choices[i]) * 3; /* as U+FFFD */
    free(answers->is_choice);
    answers->choice_limit = bytes + 1;
    answers->is_choice = xarray(answers->choice_limit, sizeof *answers->is_choice);
    const char **text_of = xarray(answers->choice_limit, sizeof *text_of);
    for (size_t i = 0; i < prompt->choice_count; i++) {
        int32_t number = add_text(answers, prompt->choices[i]);
        if (number == NGRAM_ROOT || (text_of[number] && strcmp(text_of[number], prompt->choices[i]) != 0)) good = false;
        text_of[number] = prompt->choices[i];
        answers->is_choice[number] = number != NGRAM_ROOT;
    }
    answers->right = prompt->answer ? add_text(answers, prompt->answer) : NGRAM_NONE;
    free(text_of);
    return good && answers->right != NGRAM_ROOT;
}

void answers_open(struct answers *answers, const struct sweep_prompt *prompt) {
    *answers = (struct answers){.has_choices = prompt->choice_count > 0};
    for (answers->form = ANSWER_SQUAD; !number_texts(answers, prompt) && answers->form < ANSWER_PUNCTUATION;)
        answers->form++;
}

void answers_close(struct answers *answers) {
    ngram_free(&answers->table);
    free(answers->is_choice);
    strbuf_free(&answers->line);
    strbuf_free(&answers->scratch);
}

/* ---- a completion's answer ---- */

/* Leaves the first line that is not blank in answers->line; false when there is none. */
static bool first_line(struct answers *answers, const char *text, size_t length) {
    for (size_t from = 0; from < length;) {
        const char *newline = memchr(text + from, '\n', length - from), *word;
        size_t stop = newline ? (size_t)(newline - text) : length, at = 0, word_length;
        strbuf_clear(&answers->line);
        text_clean(&answers->line, text + from, stop - from);
        if (text_word(answers->line.data, answers->line.length, &at, &word, &word_length)) return true;
        from = stop + 1;
    }
    return false;
}

/* The longest choice that the line begins with. */
static int32_t find_choice(const struct answers *answers, const char *line, size_t length) {
    int32_t number = NGRAM_ROOT, choice = NGRAM_NONE;
    for (size_t i = 0; i < length; i++) {
        number = ngram_find(&answers->table, number, (unsigned char)line[i]);
        if (number == NGRAM_NONE) break;
        bool goes_on = i + 1 < length && is_letter_or_digit(line[i]) && is_letter_or_digit(line[i + 1]);
        if ((size_t)number < answers->choice_limit && answers->is_choice[number] && !goes_on) choice = number;
    }
    return choice;
}

int32_t answer_of(struct answers *answers, const char *text, size_t length) {
    if (!first_line(answers, text, length)) return NGRAM_NONE;
    strbuf_clear(&answers->scratch);
    answer_normalise(&answers->scratch, answers->line.data, answers->line.length, answers->form);
    if (answers->has_choices) return find_choice(answers, answers->scratch.data, answers->scratch.length);
    int32_t number = number_scratch(answers);
    return number == NGRAM_ROOT ? NGRAM_NONE : number;
}

int32_t answer_majority(const int32_t *numbers, size_t count, size_t largest) {
    size_t *votes = xarray(largest + 1, sizeof *votes), most = 0;
    int32_t winner = NGRAM_NONE;
    for (size_t i = 0; i < count; i++)
        if (numbers[i] != NGRAM_NONE) votes[numbers[i]]++;
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == NGRAM_NONE || votes[numbers[i]] <= most) continue;
        most = votes[numbers[i]];
        winner = numbers[i];
    }
    free(votes);
    return winner;
}
