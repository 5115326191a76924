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
    batch->prefill = 0;
}

static void add_token(struct batch *batch, const struct rows *rows, const struct row *r, int32_t token,
                      int32_t position) {
    int32_t t = batch->view.T++;
    batch->token[t] = token;
    batch->position[t] = position;
    batch->slot[t] = r->pages[position / rows->page_tokens] * rows->page_tokens + position % rows->page_tokens;
}

/* Makes a sequence of the tokens added since the last one. Returns the first of them. */
static int32_t add_sequence(struct batch *batch, const struct rows *rows, int32_t row) {
    const struct row *r = &rows->row[row];
    int32_t s = batch->view.S++;
    memcpy(batch->page + batch->page_start[s], r->pages, (size_t)r->page_count * sizeof *r->pages);
    batch->sequence_row[s] = row;
    batch->sequence_draw[s] = NO_INDEX;
    batch->query_start[s + 1] = batch->view.T;
    batch->page_start[s + 1] = batch->page_start[s] + r->page_count;
    return batch->query_start[s];
}

int32_t batch_add_row(struct batch *batch, const struct rows *rows, int32_t row, int32_t count) {
    const struct row *r = &rows->row[row];
    for (int32_t p = r->computed; p < r->computed + count; p++) add_token(batch, rows, r, r->tokens[p], p);
    return add_sequence(batch, rows, row);
}

int32_t batch_add_fed_row(struct batch *batch, const struct rows *rows, int32_t row, int32_t draw) {
    const struct row *r = &rows->row[row];
    add_token(batch, rows, r, FEEDBACK(draw), r->length);
    return add_sequence(batch, rows, row);
}

int32_t batch_want_logits(struct batch *batch, int32_t token) {
    batch->logit_token[batch->view.R] = token;
    return batch->view.R++;
}

int32_t batch_add_draw(struct batch *batch, const struct branch_draw *draw) {
    batch->draw[batch->view.B] = *draw;
    return batch->view.B++;
}

int32_t batch_count(const struct batch *batch, int32_t sequence) {
    return batch->query_start[sequence + 1] - batch->query_start[sequence];
}

bool batch_is_live(const struct batch *batch, const struct rows *rows, int32_t sequence) {
    const struct row *r = &rows->row[batch->sequence_row[sequence]];
    return r->state == ROW_ACTIVE && r->computed == batch->position[batch->query_start[sequence]];
}

bool batch_is_void(const struct batch *batch, const struct rows *rows) {
    for (int32_t s = 0; s < batch->view.S; s++) {
        if (batch_is_live(batch, rows, s)) return false;
    }
    return true;
}
