/* batch.h: builds the flat batch view of one step from rows, and remembers whose it is until the step is done. */
#ifndef ENGINE_BATCH_H
#define ENGINE_BATCH_H

#include "engine/rows.h"

struct batch_limits {
    int32_t max_tokens, max_rows, max_logits, max_branches, row_pages; /* row_pages: pages of a full context */
};

struct batch {
    struct batch_view view;            /* points at the arrays below */
    int32_t *token, *position, *slot;  /* [max_tokens] */
    int32_t *query_start, *page_start; /* [max_rows + 1] */
    int32_t *page;                     /* [max_rows * row_pages] */
    int32_t *logit_token;              /* [max_logits] */
    struct branch_draw *draw;          /* [max_branches] */
    struct draw_result *result;        /* [max_branches] filled by the step */
    int32_t *sequence_row;             /* [max_rows] which row each sequence is */
    int32_t *sequence_draw;            /* [max_rows] its first draw, or NO_INDEX: no logits in this step */
    int32_t prefill;                   /* how many of the tokens are prefill */
    double submitted;                  /* clock */
};

void batch_init(struct batch *batch, struct layout *layout, const struct batch_limits *limits);
void batch_clear(struct batch *batch);
/* Adds the next `count` uncomputed tokens of a row, whose pages are reserved. Returns the view's index of the first. */
int32_t batch_add_row(struct batch *batch, const struct rows *rows, int32_t row, int32_t count);
/* Adds the token after all that are known of a row, whose page is reserved: the one that draw `draw` of the step before
 * gives. Returns its index. */
int32_t batch_add_fed_row(struct batch *batch, const struct rows *rows, int32_t row, int32_t draw);
/* Asks for the logits of view token `token` (ascending calls). Returns its logits row. */
int32_t batch_want_logits(struct batch *batch, int32_t token);
/* Adds a draw; returns its index in result[]. */
int32_t batch_add_draw(struct batch *batch, const struct branch_draw *draw);

/* Tokens of a sequence. */
int32_t batch_count(const struct batch *batch, int32_t sequence);
/* Whether a sequence's row is still there and computed up to what the step adds to it. It may have gone while the step
 * was in flight; no row is made in such a time. */
bool batch_is_live(const struct batch *batch, const struct rows *rows, int32_t sequence);
bool batch_is_void(const struct batch *batch, const struct rows *rows); /* none is */

#endif
