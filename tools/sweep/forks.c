#include "forks.h"

#include <stdlib.h>
#include <string.h>

struct leaf {
    int32_t *tokens; /* [count], owned */
    size_t count;
    int32_t point, sample, fork, shared;
};

struct leaves {
    struct leaf *items;
    size_t count;
};

static void add_leaf(void *user, const struct sample_record *record) {
    struct leaves *leaves = user;
    if ((leaves->count & (leaves->count + 1)) == 0) /* doubles at 0, 1, 3, 7 … */
        leaves->items = xgrow(leaves->items, 2 * leaves->count + 1, sizeof *leaves->items);
    int32_t *tokens = xarray(record->token_count + 1, sizeof *tokens);
    if (record->token_count) memcpy(tokens, record->tokens, record->token_count * sizeof *tokens);
    leaves->items[leaves->count++] =
        (struct leaf){tokens, record->token_count, record->point, record->sample, record->fork, 0};
}

static size_t common_prefix(const struct leaf *a, const struct leaf *b) {
    size_t n = a->count < b->count ? a->count : b->count, i = 0;
    while (i < n && a->tokens[i] == b->tokens[i]) i++;
    return i;
}

static int compare_leaves(const void *a, const void *b) {
    const struct leaf *x = a, *y = b;
    size_t i = common_prefix(x, y);
    if (i == x->count || i == y->count) return (x->count > y->count) - (x->count < y->count);
    return (x->tokens[i] > y->tokens[i]) - (x->tokens[i] < y->tokens[i]);
}

int forks_update(struct store *store, int32_t prompt) {
    struct leaves leaves = {0};
    int status = store_each_tokens(store, prompt, add_leaf, &leaves);
    if (leaves.count) qsort(leaves.items, leaves.count, sizeof *leaves.items, compare_leaves);
    /* In sorted order the longest common prefix with any other is one with a neighbour. */
    for (size_t i = 1; i < leaves.count; i++) {
        struct leaf *a = &leaves.items[i - 1], *b = &leaves.items[i];
        int32_t shared = (int32_t)common_prefix(a, b);
        if (shared > a->shared) a->shared = shared;
        if (shared > b->shared) b->shared = shared;
    }
    for (size_t i = 0; i < leaves.count; i++) {
        const struct leaf *leaf = &leaves.items[i];
        const struct sample_record record = {
            .prompt = prompt, .point = leaf->point, .sample = leaf->sample, .fork = leaf->shared};
        if (!status && leaf->fork != leaf->shared) status = store_set_fork(store, &record);
        free(leaf->tokens);
    }
    free(leaves.items);
    return status;
}
