/* report.h: the parts of `sweep report`: which columns the page holds and how they are coded. The format is in
 * sweep_report.c. */
#ifndef SWEEP_REPORT_H
#define SWEEP_REPORT_H

#include "filter_chain.h"
#include "page.h"
#include "summary.h"

/* Tokens whose spelling the page needs, and the spellings that were asked for so far. */
struct token_set {
    const tempera_model *model; /* NULL: no spellings */
    bool *used;                 /* [size] */
    char **text;                /* [size] NULL until asked for, or without one */
    size_t *length;             /* [size] */
    int32_t size;
};
void token_set_make(struct token_set *tokens, const tempera_model *model, int32_t size);
void token_set_free(struct token_set *tokens);

/* ---- report_texts.c ---- */

/* The samples of a prompt, at most `limit` of each point, as the block "texts-PROMPT"; marks their tokens. *shown gets
 * how many. With a model, a text is left out that the spellings of its tokens give. */
void report_texts(struct page *page, const struct summary *summary, size_t prompt, const struct sample_set *set,
                  size_t limit, struct token_set *tokens, size_t *shown);
/* The block "pieces"; needs a model. */
void report_pieces(struct page *page, struct token_set *tokens);

/* ---- report_next.c ---- */

/* The different chains of all points' settings, each step once. */
struct report_chains {
    tempera_sampling *settings; /* [count] */
    char **headings;            /* [count] */
    char **keys;                /* [count] the steps so far and the rules: equal keys, equal distributions */
    size_t count;
    size_t *of_point; /* [points * TEMPERA_STAGE_COUNT] */
    size_t *lengths;  /* [points] */
};
void report_chains_make(struct report_chains *chains, const struct stored_points *points);
void report_chains_free(struct report_chains *chains);
/* The block "next-PROMPT" of a prompt; marks its tokens. 0 or the exit status. */
int report_next(struct page *page, const struct report_chains *chains, const struct sweep_prompt *prompt, size_t index,
                tempera_engine *engine, int32_t top, struct token_set *tokens);

#endif
