/* prompts.h: the prompts of a sweep, with what their answers are measured by. */
#ifndef SWEEP_PROMPTS_H
#define SWEEP_PROMPTS_H

#include "common.h"
#include "hash.h"
#include "input.h"

/* All text is owned and terminated; it holds no NUL. */
struct sweep_prompt {
    char *id; /* unique in the list: the file's "id", else the number of its line, from 1; of several
                 files or with --prompt, its place among all */
    char *text;
    char **references; /* [reference_count] texts that a good completion resembles */
    size_t reference_count;
    char **choices; /* [choice_count] the answers that are possible */
    size_t choice_count;
    char *answer;         /* the right one; NULL when none was given */
    char *test;           /* what --verify gets as its second file; NULL when none was given */
    size_t line;          /* in its file, from 1; 0 from a flag */
    struct prompt tokens; /* empty until sweep_prompts_encode */
};

struct sweep_prompts {
    struct sweep_prompt *items;
    size_t count;
    char hash[HASH_TEXT]; /* of everything above but `line` and `tokens` */
};

/* Reads a file, "-" = standard input: each line is a prompt (empty lines are left out), or, when the first of them is a
 * JSON object, each line is one: "prompt" (a string, required), "id" (string or number), "reference" (string or array
 * of strings), "choices" (array of strings), "answer" (string or number), "test" (string). Other members are ignored.
 * Then the texts of single flags; none at all is an empty list. 0 or the exit status after one line that names file and line. */
int sweep_prompts_read(struct sweep_prompts *prompts, const struct text_list *files, const struct text_list *texts);
/* Fills tokens; an empty prompt is the begin-of-text token. Refused, with all their lines: prompts that leave no room
 * for one token in `context`. */
int sweep_prompts_encode(struct sweep_prompts *prompts, const tempera_model *model, int32_t context);
void sweep_prompts_free(struct sweep_prompts *prompts);

#endif
