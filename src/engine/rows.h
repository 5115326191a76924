/* rows.h: rows and branches.
 *
 * A row is a distinct token prefix with its KV pages; the model runs once per row and step. A branch is one sample (a
 * setting, a seed, a sample index) riding on a row: all branches of a row have chosen the same tokens so far. After a
 * draw the branches of a row are grouped by the token they drew: the largest group stays on the row (ties: the group
 * with the lowest branch), every other group moves to a fork of it.
 *
 * A fork that finds all slots taken waits, and while nobody else needs its pages it is parked: it keeps them, so that
 * nothing has to be computed again when its turn comes.
 *
 * Rows and branches live in fixed arrays; indices are stable while in use. */
#ifndef ENGINE_ROWS_H
#define ENGINE_ROWS_H

#include "backend/backend.h"
#include "engine/kvcache.h"
#include "engine/request.h"
#include "engine/stop.h"
#include "text/tokenizer.h"

enum { NO_INDEX = -1 };

struct branch {
    struct request *request;
    int32_t setting, sample;
    int32_t next;                /* on its row, in ascending order of the samples; or in the free list */
    struct branch_params params; /* of the last draw that was submitted, or of the next one that is being built */
    struct detok detok;
    struct stop_scan stop;
    int32_t stats;     /* slot of request->stats, or NO_INDEX */
    size_t text_bytes; /* handed to on_token so far */
    bool cut;          /* a stop string matched: the text is the first text_bytes bytes */
    uint32_t nan_rows;
    int32_t distinct; /* different tokens generated so far; counted when the setting asks for it (adapt.h) */
};

enum row_state { ROW_FREE, ROW_WAITING, ROW_ACTIVE };

struct row {
    enum row_state state;
    struct request *request;
    uint64_t order;   /* creation order: who is served first, who is preempted last */
    int32_t *tokens;  /* [context + 1] prompt, then what the branches chose */
    int32_t length;   /* tokens known */
    int32_t computed; /* tokens whose K and V are in pages; < length while active */
    int32_t seen;     /* tokens ever computed, here or before a fork: more is recomputation */
    int32_t *pages;   /* [page_count] of max ceil(context / page_tokens) */
    int32_t page_count;
    int32_t registered; /* leading pages known to the prefix cache */
    uint64_t chain;     /* uid of the last of them */
    int32_t first_branch, last_branch, branch_count;
    int32_t next, prev;     /* in the list of waiting rows (ascending order), or the free list (next) */
    int32_t older, younger; /* among parked rows: waiting rows that hold pages */
};

struct rows {
    struct kvcache kv;
    int32_t context, page_tokens, max_rows, max_branches;
    struct row *row;       /* [max_branches + 1]: every branch may end on a row of its own */
    struct branch *branch; /* [max_branches] */
    int32_t free_row, free_branch, free_branches;
    int32_t *active; /* [active_count] <= max_rows, ascending order */
    int32_t active_count;
    int32_t waiting_first, waiting_last;
    int32_t parked_youngest;
    uint64_t next_order;
    uint64_t forks, preemptions, reused_tokens;
    /* page copies of the forks of one step */
    int32_t *copy_from, *copy_to, *copy_tokens; /* [max_branches] */
    int32_t copy_count;
};

struct rows_limits {
    int32_t context, max_rows, max_branches, pages, page_tokens;
    bool reuse;
};
void rows_init(struct rows *rows, struct layout *layout, const struct rows_limits *limits);

/* ---- branches on rows ---- */
int32_t rows_take_branch(struct rows *rows); /* NO_INDEX when all are in use */
void rows_free_branch(struct rows *rows, int32_t branch);
void rows_add_branch(struct rows *rows, int32_t row, int32_t branch); /* at the end of the row's list */

/* ---- life of a row ---- */
/* A waiting row holding `tokens`; it joins the end of the waiting list. There is always room for one per branch. */
int32_t rows_create(struct rows *rows, struct request *request, const int32_t *tokens, int32_t count);
/* Waiting → active: finds cached pages of its prefix, and takes the pages of younger parked rows if it must. False when
 * max_rows are active, or when the pages for its tokens and one more page for every active row are not to be had. A lone
 * row is always let in. The row must be the first that waits. */
bool rows_activate(struct rows *rows, int32_t row);
/* Takes the pages of the youngest parked row, which stay findable. False: no row is parked. */
bool rows_reclaim(struct rows *rows);
/* Active → waiting: gives all pages back; they stay findable. */
void rows_preempt(struct rows *rows, int32_t row);
/* Gives a row without branches back. */
void rows_destroy(struct rows *rows, int32_t row);
/* How many pages the row lacks for `count` more computed tokens. */
int32_t rows_missing_pages(const struct rows *rows, int32_t row, int32_t count);
/* Makes room for `count` more computed tokens. False when no page is left. */
bool rows_reserve(struct rows *rows, int32_t row, int32_t count);
/* After a step: `count` more tokens are computed; full pages become findable. */
void rows_advance(struct rows *rows, int32_t row, int32_t count);

/* Appends `token` to the row. */
void rows_push(struct rows *rows, int32_t row, int32_t token);
/* A fork of a fully computed row (computed == length): shares full pages, schedules a copy of the partial one, has no
 * branches yet. It is active when a slot and a page are there; else it waits, parked when pages are to spare. */
int32_t rows_fork(struct rows *rows, int32_t row);

bool rows_check(const struct rows *rows); /* invariants over all rows, branches and pages; for tests */

#endif
