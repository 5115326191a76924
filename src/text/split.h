/* split.h: what becomes of the matches of a pattern when text is cut by it. */
#ifndef TEXT_SPLIT_H
#define TEXT_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum split_behavior {
    SPLIT_REMOVED,              /* matches are dropped */
    SPLIT_ISOLATED,             /* each match is a piece */
    SPLIT_MERGED_WITH_PREVIOUS, /* a match ends the piece before it */
    SPLIT_MERGED_WITH_NEXT,     /* a match begins the piece after it */
    SPLIT_CONTIGUOUS            /* neighbouring matches are one piece */
};

typedef tempera_status split_emit(void *arg, size_t start, size_t end, tempera_error *err);

/* Takes the spans of a text in order, matches and what is between them, and emits the pieces. */
struct split {
    enum split_behavior behavior;
    split_emit *emit;
    void *arg;
    bool held, held_match; /* a piece whose end is not known yet, and what its last span was */
    size_t start, end;
};
tempera_status split_span(struct split *split, size_t start, size_t end, bool match, tempera_error *err);
tempera_status split_finish(struct split *split, tempera_error *err);

#endif
