/* batch.h: builds the flat batch view of one step from rows. */
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
};

void batch_init(struct batch *batch, struct layout *layout, const struct batch_limits *limits);
void batch_clear(struct batch *batch);
/* Adds the next `count` uncomputed tokens of a row, whose pages are reserved. Returns the view's index of the first. */
int32_t batch_add_row(struct batch *batch, const struct rows *rows, int32_t row, int32_t count);
/* Asks for the logits of view token `token` (ascending calls). Returns its logits row. */
int32_t batch_want_logits(struct batch *batch, int32_t token);
/* Adds a draw; returns its index in result[]. */
int32_t batch_add_draw(struct batch *batch, const struct branch_draw *draw);

#endif
