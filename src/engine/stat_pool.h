/* stat_pool.h: where the token statistics of a request's running samples are kept: one slot for each that can run at
 * once, used again when it has ended, however many samples there are. */
#ifndef ENGINE_STAT_POOL_H
#define ENGINE_STAT_POOL_H

#include "backend/backend.h"
#include "base/arena.h"
#include "tempera/tempera.h"

struct stat_pool {
    tempera_token_stat *stat; /* [slots, tokens] */
    int32_t *top_token;       /* [slots, tokens, top] */
    float *top_logprob;       /* [slots, tokens, top] */
    int32_t *free;            /* [free_count] of [slots] */
    int32_t free_count, tokens, top;
};

/* All memory comes from the arena, now. */
tempera_status stat_pool_init(struct stat_pool *pool, struct arena *arena, int32_t slots, int32_t tokens, int32_t top,
                              tempera_error *err);
/* A slot; there must be a free one. Whoever takes it gives it back once. */
int32_t stat_pool_take(struct stat_pool *pool);
void stat_pool_give(struct stat_pool *pool, int32_t slot);
/* Keeps what a draw reported of a sample's token `index`. */
const tempera_token_stat *stat_pool_record(struct stat_pool *pool, int32_t slot, int32_t index,
                                           const struct draw_result *result);
/* The slot's statistics, [tokens]. */
const tempera_token_stat *stat_pool_get(const struct stat_pool *pool, int32_t slot);

#endif
