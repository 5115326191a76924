#include "engine/batch.h"

#include <string.h>

void batch_init(struct batch *batch, struct layout *layout, const struct batch_limits *limits) {
    size_t tokens = (size_t)limits->max_tokens, rows = (size_t)limits->max_rows;
    size_t branches = (size_t)limits->max_branches;
    *batch = (struct batch){
        .token = layout_array(layout, tokens, sizeof *batch->token),
        .position = layout_array(layout, tokens, sizeof *batch->position),
        .slot = layout_array(layout, tokens, sizeof *batch->slot),
        .query_start = layout_array(layout, rows + 1, sizeof *batch->query_start),
        .page_start = layout_array(layout, rows + 1, sizeof *batch->page_start),
        .page = layout_array(layout, rows * (size_t)limits->row_pages, sizeof *batch->page),
        .logit_token = layout_array(layout, (size_t)limits->max_logits, sizeof *batch->logit_token),
        .draw = layout_array(layout, branches, sizeof *batch->draw),
        .result = layout_array(layout, branches, sizeof *batch->result),
        .sequence_row = layout_array(layout, rows, sizeof *batch->sequence_row),
        .sequence_draw = layout_array(layout, rows, sizeof *batch->sequence_draw),
    };
    batch->view = (struct batch_view){
        .token = batch->token,
        .position = batch->position,
        .slot = batch->slot,
        .query_start = batch->query_start,
        .page_start = batch->page_start,
        .page = batch->page,
        .logit_token = batch->logit_token,
        .branch = batch->draw,
    };
}

void batch_clear(struct batch *batch) {
    batch->view.T = batch->view.S = batch->view.R = batch->view.B = 0;
    batch->query_start[0] = batch->page_start[0] = 0;
}

int32_t batch_add_row(struct batch *batch, const struct rows *rows, int32_t row, int32_t count) {
    struct batch_view *view = &batch->view;
    const struct row *r = &rows->row[row];
    int32_t first = view->T;
    for (int32_t i = 0; i < count; i++) {
        int32_t position = r->computed + i;
        batch->token[first + i] = r->tokens[position];
        batch->position[first + i] = position;
        batch->slot[first + i] =
            r->pages[position / rows->page_tokens] * rows->page_tokens + position % rows->page_tokens;
    }
    memcpy(batch->page + batch->page_start[view->S], r->pages, (size_t)r->page_count * sizeof *r->pages);
    batch->sequence_row[view->S] = row;
    batch->sequence_draw[view->S] = NO_INDEX;
    view->S++;
    view->T += count;
    batch->query_start[view->S] = view->T;
    batch->page_start[view->S] = batch->page_start[view->S - 1] + r->page_count;
    return first;
}

int32_t batch_want_logits(struct batch *batch, int32_t token) {
    batch->logit_token[batch->view.R] = token;
    return batch->view.R++;
}

int32_t batch_add_draw(struct batch *batch, const struct branch_draw *draw) {
    batch->draw[batch->view.B] = *draw;
    return batch->view.B++;
}
