/* score_text.h: one text through a model, token by token: where the text comes from, its statistics, and what a type of
 * weights loses on it. */
#ifndef TOOLS_SCORE_TEXT_H
#define TOOLS_SCORE_TEXT_H

#include "common.h"
#include "input.h"
#include "json_writer.h"
#include "sampling_args.h"
#include "sweep/inference.h"

/* ---- the text ---- */

struct score_source {
    struct text_list words, texts, files, ids; /* words: positional */
    int32_t stride;
    bool no_special, plain;
};
extern const struct arg score_source_args[6]; /* all but words */

struct score_input {
    struct text text; /* bytes NULL: ids were given */
    struct prompt ids;
};

size_t score_given(const struct score_source *args); /* texts, of which there may be one */
/* Reads the text: of several none, and standard input when none is given and it is not a terminal. `command` is for
 * complaints. 0 or the exit status; score_input_free is needed either way. */
int score_read(const struct score_source *args, const char *command, struct score_input *input);
/* Its ids, unless they were given. 0 or the exit status; a text without tokens is refused. */
int score_encode(const struct session *session, const struct score_source *args, struct score_input *input);
void score_input_free(struct score_input *input);

/* ---- scoring ---- */

struct scored {
    struct session *session;
    const struct prompt *ids;
    const struct setting_list *settings; /* NULL: the plain model */
    size_t rows;                         /* settings, or 1 */
    size_t windows;                      /* how many it took */
    tempera_token_stat *stats;           /* [rows][ids->count], the caller's */
};

/* Starts an engine for score_all: a step scores as many positions as the plan has rows of logits and branches for. */
int score_start(struct session *session, const struct common_args *common, const char *dtype, size_t settings);
/* Fills in stats: in one pass, or, of a text longer than the context, in windows that move on by `stride` tokens (0: it is
 * refused). 0 or the exit status. */
int score_all(struct scored *scored, int32_t stride);

double perplexity(double logprob, size_t count);                     /* NaN of no tokens */
double perplexity_of(const tempera_token_stat *stats, size_t count); /* of all tokens but the first */

/* ---- what a type of weights loses ---- */

/* What weights of one type lose against those of another, on one text. */
struct loss {
    char dtype[8]; /* of the other */
    double perplexity;
    struct estimate difference; /* log-probability of a token, less the other's; its units are stretches of the text */
};

/* Scores again, with weights of type `against`. The session then runs that engine, and keeps the plan of the first. 0 or
 * the exit status. NaN in *loss: nothing was scored. */
int loss_measure(struct loss *loss, const struct scored *scored, int32_t stride, const struct common_args *common,
                 const char *against);
/* One line; nothing when nothing was scored. `dtype` is the type that loses. */
void loss_print(struct strbuf *out, const struct loss *loss, const char *dtype);
void loss_json(struct json *j, const struct loss *loss); /* the member "against" */

#endif
