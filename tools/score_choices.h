/* score_choices.h: ranks continuations of a prompt by their probability. */
#ifndef TOOLS_SCORE_CHOICES_H
#define TOOLS_SCORE_CHOICES_H

#include "common.h"
#include "input.h"

/* Choices as given by "A|B|C" and by single flags. */
struct choice_args {
    struct text_list joined, single;
};

/* At least two choices were given; items are owned by the caller (free each and the array). */
size_t choices_split(const struct choice_args *args, char ***items);

/* Ranks and prints them; the engine is started. 0 or the exit status. */
int choices_rank(const struct session *session, const struct text *prompt, char *const *choices, size_t count,
                 bool no_special, bool plain, bool as_json);

#endif
