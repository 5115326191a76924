/* kvcache.h: which KV pages are in use, by how many rows, and which may be found again.
 *
 * Host bookkeeping only; the keys and values live in the backend. Rules:
 *  1. A page is free, held (refs > 0) or cached (refs = 0, still findable). Every page is exactly one of these.
 *  2. Whoever takes a page releases it once. Sharing a page takes it again.
 *  3. Only a page whose every slot is computed is registered, and it is not written after that.
 *  4. A registered page is identified by (parent's uid, its tokens), so equal uid means equal whole prefix. A look-up
 *     compares tokens; a hash alone never decides.
 *  5. Free pages go first, then cached pages, least recently released first. Held pages are never taken away.
 * One thread. Nothing allocates after kvcache_init. */
#ifndef ENGINE_KVCACHE_H
#define ENGINE_KVCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/layout.h"

enum { KV_NONE = -1 };

struct kv_page {
    uint64_t uid;    /* identity once registered, 0 before */
    uint64_t parent; /* uid of the page before it, 0 for the first */
    int32_t refs;
    int32_t next, prev; /* free list (next), or the list of cached pages by age */
    int32_t chain;      /* next page in its hash bucket */
};

struct kvcache {
    int32_t pages, page_tokens;
    struct kv_page *page;  /* [pages] */
    int32_t *tokens;       /* [pages, page_tokens] of registered pages */
    int32_t *bucket;       /* [bucket_count] first page of each hash chain */
    uint32_t bucket_count; /* power of two */
    int32_t free_head, free_count;
    int32_t cached_oldest, cached_newest, cached_count;
    int32_t used, used_peak; /* held pages */
    uint64_t next_uid;
    bool reuse; /* false: nothing is registered */
};

/* Takes its arrays from the layout (which may be only counting). */
void kvcache_init(struct kvcache *kv, struct layout *layout, int32_t pages, int32_t page_tokens, bool reuse);

int32_t kvcache_available(const struct kvcache *kv); /* free + cached */
int32_t kvcache_take(struct kvcache *kv);            /* a page with refs 1, or KV_NONE */
void kvcache_share(struct kvcache *kv, int32_t page);
void kvcache_release(struct kvcache *kv, int32_t page);

/* The registered page with these page_tokens tokens after `parent`, taken (refs + 1), or KV_NONE. */
int32_t kvcache_find(struct kvcache *kv, uint64_t parent, const int32_t *tokens);
/* Registers a full page; returns its uid, or that of the equal page that was there first. 0 when reuse is off. */
uint64_t kvcache_register(struct kvcache *kv, int32_t page, uint64_t parent, const int32_t *tokens);

/* Checks rules 1, 4 and 5 over all pages; for tests. */
bool kvcache_check(const struct kvcache *kv);

#endif
