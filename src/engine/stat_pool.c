#include "engine/stat_pool.h"

#include <string.h>

#include "base/num.h"
#include "base/status.h"

tempera_status stat_pool_init(struct stat_pool *pool, struct arena *arena, int32_t slots, int32_t tokens, int32_t top,
                              tempera_error *err) {
    size_t stats, tops;
    *pool = (struct stat_pool){.free_count = slots, .tokens = tokens, .top = top};
    if (!size_mul((size_t)slots, (size_t)tokens, &stats) || !size_mul(stats, (size_t)top, &tops)) {
        return fail_memory(err, SIZE_MAX, "token statistics");
    }
    pool->stat = arena_array(arena, stats, sizeof *pool->stat);
    pool->top_token = arena_array(arena, tops, sizeof *pool->top_token);
    pool->top_logprob = arena_array(arena, tops, sizeof *pool->top_logprob);
    pool->free = arena_array(arena, (size_t)slots, sizeof *pool->free);
    if (!pool->stat || !pool->top_token || !pool->top_logprob || !pool->free) {
        return fail_memory(err, stats * sizeof *pool->stat, "token statistics");
    }
    for (int32_t i = 0; i < slots; i++) pool->free[i] = slots - 1 - i;
    return TEMPERA_OK;
}

int32_t stat_pool_take(struct stat_pool *pool) {
    return pool->free[--pool->free_count];
}

void stat_pool_give(struct stat_pool *pool, int32_t slot) {
    pool->free[pool->free_count++] = slot;
}

static size_t place(const struct stat_pool *pool, int32_t slot, int32_t index) {
    return (size_t)slot * (size_t)pool->tokens + (size_t)index;
}

const tempera_token_stat *stat_pool_record(struct stat_pool *pool, int32_t slot, int32_t index,
                                           const struct draw_result *result) {
    tempera_token_stat *stat = &pool->stat[place(pool, slot, index)];
    int32_t *top_token = pool->top_token + place(pool, slot, index) * (size_t)pool->top;
    float *top_logprob = pool->top_logprob + place(pool, slot, index) * (size_t)pool->top;
    *stat = (tempera_token_stat){.logprob = result->logprob,
                                 .final_logprob = result->final_logprob,
                                 .entropy = result->entropy,
                                 .kept_mass = result->kept_mass,
                                 .kept = result->kept,
                                 .top_count = result->top_count,
                                 .top_token = top_token,
                                 .top_logprob = top_logprob};
    memcpy(top_token, result->top_token, (size_t)result->top_count * sizeof *top_token);
    memcpy(top_logprob, result->top_logprob, (size_t)result->top_count * sizeof *top_logprob);
    return stat;
}

const tempera_token_stat *stat_pool_get(const struct stat_pool *pool, int32_t slot) {
    return &pool->stat[place(pool, slot, 0)];
}
