#include "engine/rows.h"

#include <string.h>

static int32_t pages_for(const struct rows *rows, int32_t tokens) {
    return (int32_t)ceil_div((size_t)tokens, (size_t)rows->page_tokens);
}

void rows_init(struct rows *rows, struct layout *layout, const struct rows_limits *limits) {
    size_t row_count = (size_t)limits->max_branches + 1;
    size_t branch_count = (size_t)limits->max_branches;
    size_t row_tokens = (size_t)limits->context + 1;
    size_t row_pages = ceil_div((size_t)limits->context, (size_t)limits->page_tokens);
    *rows = (struct rows){
        .context = limits->context,
        .page_tokens = limits->page_tokens,
        .max_rows = limits->max_rows,
        .max_branches = limits->max_branches,
        .row = layout_array(layout, row_count, sizeof *rows->row),
        .branch = layout_array(layout, branch_count, sizeof *rows->branch),
        .active = layout_array(layout, (size_t)limits->max_rows, sizeof *rows->active),
        .copy_from = layout_array(layout, branch_count, sizeof *rows->copy_from),
        .copy_to = layout_array(layout, branch_count, sizeof *rows->copy_to),
        .copy_tokens = layout_array(layout, branch_count, sizeof *rows->copy_tokens),
        .free_branches = limits->max_branches,
        .waiting_first = NO_INDEX,
        .waiting_last = NO_INDEX,
        .parked_youngest = NO_INDEX,
    };
    kvcache_init(&rows->kv, layout, limits->pages, limits->page_tokens, limits->reuse);
    int32_t *tokens = layout_array(layout, row_count * row_tokens, sizeof *tokens);
    int32_t *pages = layout_array(layout, row_count * row_pages, sizeof *pages);
    if (!layout->base) return;
    for (size_t r = 0; r < row_count; r++) {
        rows->row[r].tokens = tokens + r * row_tokens;
        rows->row[r].pages = pages + r * row_pages;
        rows->row[r].next = r + 1 < row_count ? (int32_t)r + 1 : NO_INDEX;
    }
    for (size_t b = 0; b < branch_count; b++) {
        rows->branch[b].next = b + 1 < branch_count ? (int32_t)b + 1 : NO_INDEX;
    }
}

/* ---- branches on rows ---- */

int32_t rows_take_branch(struct rows *rows) {
    int32_t b = rows->free_branch;
    if (b == NO_INDEX) return NO_INDEX;
    rows->free_branch = rows->branch[b].next;
    rows->free_branches--;
    return b;
}

void rows_free_branch(struct rows *rows, int32_t branch) {
    rows->branch[branch].request = NULL;
    rows->branch[branch].next = rows->free_branch;
    rows->free_branch = branch;
    rows->free_branches++;
}

void rows_add_branch(struct rows *rows, int32_t row, int32_t branch) {
    struct row *r = &rows->row[row];
    rows->branch[branch].next = NO_INDEX;
    if (r->last_branch == NO_INDEX) {
        r->first_branch = branch;
    } else {
        rows->branch[r->last_branch].next = branch;
    }
    r->last_branch = branch;
    r->branch_count++;
}

/* ---- the waiting list, ascending by order ---- */

static void waiting_insert(struct rows *rows, int32_t row, int32_t after) {
    struct row *r = &rows->row[row];
    r->prev = after;
    r->next = after == NO_INDEX ? rows->waiting_first : rows->row[after].next;
    if (r->prev == NO_INDEX) {
        rows->waiting_first = row;
    } else {
        rows->row[r->prev].next = row;
    }
    if (r->next == NO_INDEX) {
        rows->waiting_last = row;
    } else {
        rows->row[r->next].prev = row;
    }
    r->state = ROW_WAITING;
}

/* A new row is younger than all that wait. */
static void waiting_append(struct rows *rows, int32_t row) {
    waiting_insert(rows, row, rows->waiting_last);
}

/* A row that was active is older than all, or nearly all, that wait. */
static void waiting_return(struct rows *rows, int32_t row) {
    int32_t after = NO_INDEX, next = rows->waiting_first;
    while (next != NO_INDEX && rows->row[next].order < rows->row[row].order) {
        after = next;
        next = rows->row[next].next;
    }
    waiting_insert(rows, row, after);
}

static void waiting_remove(struct rows *rows, int32_t row) {
    struct row *r = &rows->row[row];
    if (r->prev == NO_INDEX) {
        rows->waiting_first = r->next;
    } else {
        rows->row[r->prev].next = r->next;
    }
    if (r->next == NO_INDEX) {
        rows->waiting_last = r->prev;
    } else {
        rows->row[r->next].prev = r->prev;
    }
}

/* ---- the parked rows, ascending by order ---- */

static void park(struct rows *rows, int32_t row) {
    struct row *r = &rows->row[row];
    r->older = rows->parked_youngest;
    r->younger = NO_INDEX;
    if (r->older != NO_INDEX) rows->row[r->older].younger = row;
    rows->parked_youngest = row;
}

static void unpark(struct rows *rows, int32_t row) {
    const struct row *r = &rows->row[row];
    if (r->older != NO_INDEX) rows->row[r->older].younger = r->younger;
    if (r->younger != NO_INDEX) {
        rows->row[r->younger].older = r->older;
    } else {
        rows->parked_youngest = r->older;
    }
}

static bool is_parked(const struct row *r) {
    return r->state == ROW_WAITING && r->page_count > 0;
}

/* ---- the active rows, ascending by order ---- */

static void active_insert(struct rows *rows, int32_t row) {
    int32_t at = rows->active_count++;
    while (at > 0 && rows->row[rows->active[at - 1]].order > rows->row[row].order) {
        rows->active[at] = rows->active[at - 1];
        at--;
    }
    rows->active[at] = row;
    rows->row[row].state = ROW_ACTIVE;
}

static void active_remove(struct rows *rows, int32_t row) {
    int32_t at = 0;
    while (rows->active[at] != row) at++;
    rows->active_count--;
    memmove(rows->active + at, rows->active + at + 1, (size_t)(rows->active_count - at) * sizeof *rows->active);
}

/* ---- pages ---- */

/* Deepest page first, so that among cached pages a prefix outlives what builds on it. */
static void release_pages(struct rows *rows, struct row *r) {
    while (r->page_count > 0) kvcache_release(&rows->kv, r->pages[--r->page_count]);
    r->computed = 0;
    r->registered = 0;
    r->chain = 0;
}

/* Takes the cached pages of the row's prefix; at least the last token stays to be computed. */
static void take_prefix(struct rows *rows, struct row *r) {
    int32_t limit = (r->length - 1) / rows->page_tokens;
    while (r->page_count < limit) {
        int32_t page = kvcache_find(&rows->kv, r->chain, r->tokens + r->page_count * rows->page_tokens);
        if (page == KV_NONE) break;
        r->pages[r->page_count++] = page;
        r->chain = rows->kv.page[page].uid;
    }
    r->registered = r->page_count;
    r->computed = r->page_count * rows->page_tokens;
}

int32_t rows_missing_pages(const struct rows *rows, int32_t row, int32_t count) {
    const struct row *r = &rows->row[row];
    int32_t need = pages_for(rows, r->computed + count);
    return need > r->page_count ? need - r->page_count : 0;
}

bool rows_reserve(struct rows *rows, int32_t row, int32_t count) {
    struct row *r = &rows->row[row];
    for (int32_t missing = rows_missing_pages(rows, row, count); missing > 0; missing--) {
        int32_t page = kvcache_take(&rows->kv);
        if (page == KV_NONE) return false;
        r->pages[r->page_count++] = page;
    }
    return true;
}

void rows_advance(struct rows *rows, int32_t row, int32_t count) {
    struct row *r = &rows->row[row];
    r->computed += count;
    if (r->computed > r->seen) r->seen = r->computed;
    for (; rows->kv.reuse && (r->registered + 1) * rows->page_tokens <= r->computed; r->registered++) {
        r->chain = kvcache_register(&rows->kv, r->pages[r->registered], r->chain,
                                    r->tokens + r->registered * rows->page_tokens);
    }
}

/* ---- life of a row ---- */

static int32_t take_row(struct rows *rows) {
    int32_t row = rows->free_row;
    struct row *r = &rows->row[row];
    rows->free_row = r->next;
    r->order = rows->next_order++;
    r->length = r->computed = r->seen = 0;
    r->page_count = r->registered = r->branch_count = 0;
    r->chain = 0;
    r->first_branch = r->last_branch = NO_INDEX;
    return row;
}

int32_t rows_create(struct rows *rows, struct request *request, const int32_t *tokens, int32_t count) {
    int32_t row = take_row(rows);
    struct row *r = &rows->row[row];
    r->request = request;
    r->length = count;
    memcpy(r->tokens, tokens, (size_t)count * sizeof *tokens);
    waiting_append(rows, row);
    return row;
}

bool rows_activate(struct rows *rows, int32_t row) {
    struct row *r = &rows->row[row];
    if (rows->active_count >= rows->max_rows) return false;
    bool parked = is_parked(r);
    if (parked) {
        unpark(rows, row); /* else it would reclaim its own pages */
    } else {
        take_prefix(rows, r);
    }
    int32_t need = pages_for(rows, r->length) - r->page_count + rows->active_count;
    bool room = rows->active_count == 0 || need <= kvcache_available(&rows->kv);
    while (!room && rows_reclaim(rows)) room = need <= kvcache_available(&rows->kv);
    if (!room) {
        if (parked) {
            park(rows, row);
        } else {
            release_pages(rows, r);
        }
        return false;
    }
    if (r->computed > r->seen) {
        rows->reused_tokens += (uint64_t)(r->computed - r->seen);
        r->seen = r->computed;
    }
    waiting_remove(rows, row);
    active_insert(rows, row);
    return true;
}

bool rows_reclaim(struct rows *rows) {
    int32_t row = rows->parked_youngest;
    if (row == NO_INDEX) return false;
    unpark(rows, row);
    release_pages(rows, &rows->row[row]);
    return true;
}

void rows_preempt(struct rows *rows, int32_t row) {
    active_remove(rows, row);
    release_pages(rows, &rows->row[row]);
    waiting_return(rows, row);
    rows->preemptions++;
}

void rows_destroy(struct rows *rows, int32_t row) {
    struct row *r = &rows->row[row];
    if (is_parked(r)) unpark(rows, row);
    if (r->state == ROW_WAITING) waiting_remove(rows, row);
    if (r->state == ROW_ACTIVE) active_remove(rows, row);
    release_pages(rows, r);
    r->state = ROW_FREE;
    r->next = rows->free_row;
    rows->free_row = row;
}

void rows_push(struct rows *rows, int32_t row, int32_t token) {
    struct row *r = &rows->row[row];
    r->tokens[r->length++] = token;
}

/* Gives the fork the parent's pages: full ones shared, the partial one copied. False: no page for the copy. */
static bool share_pages(struct rows *rows, struct row *fork, const struct row *parent) {
    int32_t full = parent->computed / rows->page_tokens;
    int32_t partial = parent->computed % rows->page_tokens;
    int32_t copy = KV_NONE;
    if (partial > 0) {
        copy = kvcache_take(&rows->kv);
        if (copy == KV_NONE) return false;
    }
    for (int32_t p = 0; p < full; p++) {
        kvcache_share(&rows->kv, parent->pages[p]);
        fork->pages[fork->page_count++] = parent->pages[p];
    }
    if (partial > 0) {
        fork->pages[fork->page_count++] = copy;
        rows->copy_from[rows->copy_count] = parent->pages[full];
        rows->copy_to[rows->copy_count] = copy;
        rows->copy_tokens[rows->copy_count++] = partial;
    }
    fork->computed = parent->computed;
    fork->registered = parent->registered;
    fork->chain = parent->chain;
    return true;
}

int32_t rows_fork(struct rows *rows, int32_t row) {
    const struct row *parent = &rows->row[row];
    int32_t fork = take_row(rows);
    struct row *f = &rows->row[fork];
    f->request = parent->request;
    f->length = parent->length;
    f->seen = parent->seen;
    memcpy(f->tokens, parent->tokens, (size_t)parent->length * sizeof *f->tokens);
    bool slot = rows->active_count < rows->max_rows;
    bool spare = kvcache_available(&rows->kv) > rows->active_count; /* an active row may soon want one more */
    bool shared = (slot || spare) && share_pages(rows, f, parent);
    if (slot && shared) {
        active_insert(rows, fork);
    } else {
        waiting_append(rows, fork);
        if (shared) park(rows, fork);
    }
    rows->forks++;
    return fork;
}

/* ---- self-check ---- */

static bool row_check(const struct rows *rows, const struct row *r) {
    if (r->length < 1 || r->length > rows->context + 1 || r->computed > r->length) return false;
    if (r->page_count < pages_for(rows, r->computed) || r->registered > r->page_count) return false;
    if (is_parked(r) && r->computed + 1 != r->length) return false;
    int32_t count = 0, last = NO_INDEX;
    for (int32_t b = r->first_branch; b != NO_INDEX; b = rows->branch[b].next) {
        if (rows->branch[b].request != r->request) return false;
        last = b;
        count++;
    }
    return count == r->branch_count && last == r->last_branch;
}

bool rows_check(const struct rows *rows) {
    int32_t branches = 0, active = 0, parked = 0;
    int64_t references = 0, held = 0;
    for (int32_t i = 0; i <= rows->max_branches; i++) {
        const struct row *r = &rows->row[i];
        if (r->state == ROW_FREE) continue;
        if (!row_check(rows, r)) return false;
        branches += r->branch_count;
        active += r->state == ROW_ACTIVE;
        parked += is_parked(r);
        references += r->page_count;
    }
    for (int32_t p = 0; p < rows->kv.pages; p++) held += rows->kv.page[p].refs;
    for (int32_t i = 1; i < rows->active_count; i++) {
        if (rows->row[rows->active[i - 1]].order >= rows->row[rows->active[i]].order) return false;
    }
    for (int32_t i = rows->parked_youngest; i != NO_INDEX; i = rows->row[i].older, parked--) {
        int32_t older = rows->row[i].older;
        if (!is_parked(&rows->row[i])) return false;
        if (older != NO_INDEX && rows->row[older].order >= rows->row[i].order) return false;
    }
    return parked == 0 && kvcache_check(&rows->kv) && references == held && active == rows->active_count &&
           branches == rows->max_branches - rows->free_branches;
}
