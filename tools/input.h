/* input.h: texts and token ids from flags, files and standard input. */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "args.h"
#include "tempera/tempera.h"

struct text {
    char *bytes; /* owned, terminated */
    size_t length;
};

/* A whole file, "-" = standard input. 0 or the exit status after complaining. */
int read_text(const char *path, struct text *text);
/* Calls body for each line without its newline; a last line without one counts, an empty rest does not. */
void each_line(const struct text *text, void (*body)(void *user, const char *line, size_t length), void *user);

struct prompt {
    int32_t *ids; /* owned */
    size_t count;
};

/* Whole numbers >= 0 separated by spaces, commas or newlines. False after complaining; `what` names the flag. */
bool parse_ids(const char *text, const char *what, struct prompt *prompt);

/* Prompts of generate and probs. */
struct prompt_args {
    struct text_list prompts, files, lists, ids;
    struct text_list words; /* positional */
    bool no_special, plain;
};
extern const struct arg prompt_args[6];

struct prompt_source {
    struct text text; /* ids.ids is NULL: to be encoded */
    struct prompt ids;
};
struct prompt_list {
    struct prompt_source *sources;
    struct prompt *items; /* after prompt_list_encode */
    size_t count;
};
/* Reads everything that is asked for (standard input when nothing is and it is not a terminal), before a model is
 * opened. 0 or the exit status. prompt_list_free is needed either way. */
int prompt_list_read(struct prompt_list *list, const struct prompt_args *args);
/* An empty prompt becomes the begin-of-text token (the end-of-text token where there is no other). */
int prompt_list_encode(struct prompt_list *list, const struct prompt_args *args, const tempera_model *model);
void prompt_list_free(struct prompt_list *list);

/* A text that encodes to nothing starts from the token that texts of the training data started from: begin-of-text, or
 * end-of-text where there is no other. 0 or the exit status; `index` is for the message. */
int prompt_fill_empty(struct prompt *prompt, size_t index, const tempera_model *model);

/* Ids of a text by the flags above; 0 or the exit status. */
int encode_text(const tempera_model *model, const struct text *text, bool no_special, bool plain,
                struct prompt *prompt);

#endif
