/* split.c: the five behaviours as one machine that holds at most one piece. */
#include "text/split.h"

static tempera_status release(struct split *s, tempera_error *err) {
    if (!s->held) return TEMPERA_OK;
    s->held = false;
    return s->emit(s->arg, s->start, s->end, err);
}

/* Whether the new span belongs to the piece that is held. */
static bool joins(const struct split *s, bool match) {
    if (!s->held) return false;
    switch (s->behavior) {
    case SPLIT_CONTIGUOUS: return match == s->held_match;
    case SPLIT_MERGED_WITH_PREVIOUS: return match && !s->held_match;
    case SPLIT_MERGED_WITH_NEXT: return !match && s->held_match;
    case SPLIT_REMOVED:
    case SPLIT_ISOLATED: break;
    }
    return false;
}

tempera_status split_span(struct split *s, size_t start, size_t end, bool match, tempera_error *err) {
    if (s->behavior == SPLIT_ISOLATED) return s->emit(s->arg, start, end, err);
    if (s->behavior == SPLIT_REMOVED) return match ? TEMPERA_OK : s->emit(s->arg, start, end, err);
    if (joins(s, match)) {
        s->end = end;
    } else {
        TRY(release(s, err));
        s->held = true;
        s->start = start;
        s->end = end;
    }
    s->held_match = match;
    return TEMPERA_OK;
}

tempera_status split_finish(struct split *s, tempera_error *err) {
    return release(s, err);
}
