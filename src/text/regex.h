/* regex.h: the expressions of tokenizer.json, which are Oniguruma's (Ruby syntax), run by PCRE2.
 *
 * What the two spell or mean differently (\s \w \h \b, flags, properties) is translated; what has no translation is
 * refused by name. A hostile expression cannot hang: every step of a search is paid by the distance that it moves, from a
 * budget that is proportional to the text. */
#ifndef TEXT_REGEX_H
#define TEXT_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

struct regex;

/* `name` starts every message. A trusted expression, one of our own, is not watched, which makes it twice as fast. The
 * result is immutable: any thread may search with it. */
tempera_status regex_compile(struct regex **regex, const char *pattern, bool trusted, const char *name,
                             tempera_error *err);
void regex_free(struct regex *regex);

/* What one thread needs to search; usable with every regex. Free with regex_run_free. */
struct regex_run {
    struct regex_memory *memory; /* allocated by the first search */
    size_t budget;               /* what is left to pay steps from */
    size_t position;             /* in the text, at the last step */
};
/* For searches through a text of that length. */
struct regex_run regex_run_start(size_t length);
void regex_run_free(struct regex_run *run);

/* Walks the matches of working text as Oniguruma's find_iter does: an empty match right after a match is passed over. */
struct regex_walk {
    const char *text;
    size_t length;
    size_t next;       /* where to search from; length + 1 = finished */
    size_t last_match; /* end of the last match; SIZE_MAX = none yet */
};
struct regex_walk regex_walk_start(const char *text, size_t length);
/* *found is false when there are no more. TEMPERA_TOO_LONG when the expression needs too many steps. */
tempera_status regex_next(const struct regex *regex, struct regex_run *run, struct regex_walk *walk, bool *found,
                          size_t *start, size_t *end, tempera_error *err);

/* Translation alone, for regex.c and its tests. */
tempera_status regex_translate(struct buf *out, const char *pattern, const char *name, tempera_error *err);
/* Whether PCRE2 accepts this (translated) expression. */
bool regex_is_valid(const char *pattern);

#endif
