#include "engine/kvcache.h"

#include <string.h>

#include "base/map.h"

void kvcache_init(struct kvcache *kv, struct layout *layout, int32_t pages, int32_t page_tokens, bool reuse) {
    uint32_t buckets = 1;
    while (buckets < (uint32_t)pages) buckets *= 2;
    *kv = (struct kvcache){
        .pages = pages,
        .page_tokens = page_tokens,
        .page = layout_array(layout, (size_t)pages, sizeof *kv->page),
        .tokens = layout_array(layout, (size_t)pages * (size_t)page_tokens, sizeof *kv->tokens),
        .bucket = layout_array(layout, buckets, sizeof *kv->bucket),
        .bucket_count = buckets,
        .free_head = KV_NONE,
        .cached_oldest = KV_NONE,
        .cached_newest = KV_NONE,
        .next_uid = 1,
        .reuse = reuse,
    };
    if (!layout->base) return;
    for (uint32_t i = 0; i < buckets; i++) kv->bucket[i] = KV_NONE;
    for (int32_t p = pages - 1; p >= 0; p--) {
        kv->page[p].next = kv->free_head;
        kv->free_head = p;
    }
    kv->free_count = pages;
}

int32_t kvcache_available(const struct kvcache *kv) {
    return kv->free_count + kv->cached_count;
}

static int32_t *page_tokens(const struct kvcache *kv, int32_t page) {
    return kv->tokens + (size_t)page * (size_t)kv->page_tokens;
}

static uint32_t bucket_of(const struct kvcache *kv, uint64_t parent, const int32_t *tokens) {
    uint64_t h = map_hash(tokens, (size_t)kv->page_tokens * sizeof *tokens);
    h = (h ^ parent) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32) & (kv->bucket_count - 1);
}

/* ---- the list of cached pages, by age ---- */

static void cached_append(struct kvcache *kv, int32_t page) {
    struct kv_page *p = &kv->page[page];
    p->next = KV_NONE;
    p->prev = kv->cached_newest;
    if (kv->cached_newest == KV_NONE) {
        kv->cached_oldest = page;
    } else {
        kv->page[kv->cached_newest].next = page;
    }
    kv->cached_newest = page;
    kv->cached_count++;
}

static void cached_remove(struct kvcache *kv, int32_t page) {
    struct kv_page *p = &kv->page[page];
    if (p->prev == KV_NONE) {
        kv->cached_oldest = p->next;
    } else {
        kv->page[p->prev].next = p->next;
    }
    if (p->next == KV_NONE) {
        kv->cached_newest = p->prev;
    } else {
        kv->page[p->next].prev = p->prev;
    }
    kv->cached_count--;
}

static void unregister(struct kvcache *kv, int32_t page) {
    struct kv_page *p = &kv->page[page];
    int32_t *link = &kv->bucket[bucket_of(kv, p->parent, page_tokens(kv, page))];
    while (*link != page) link = &kv->page[*link].chain;
    *link = p->chain;
    p->uid = 0;
}

/* ---- taking and releasing ---- */

int32_t kvcache_take(struct kvcache *kv) {
    int32_t page = kv->free_head;
    if (page != KV_NONE) {
        kv->free_head = kv->page[page].next;
        kv->free_count--;
    } else {
        page = kv->cached_oldest;
        if (page == KV_NONE) return KV_NONE;
        cached_remove(kv, page);
        unregister(kv, page);
    }
    kv->page[page].refs = 1;
    if (++kv->used > kv->used_peak) kv->used_peak = kv->used;
    return page;
}

void kvcache_share(struct kvcache *kv, int32_t page) {
    struct kv_page *p = &kv->page[page];
    if (p->refs++ > 0) return;
    cached_remove(kv, page);
    if (++kv->used > kv->used_peak) kv->used_peak = kv->used;
}

void kvcache_release(struct kvcache *kv, int32_t page) {
    struct kv_page *p = &kv->page[page];
    if (--p->refs > 0) return;
    kv->used--;
    if (p->uid) {
        cached_append(kv, page);
        return;
    }
    p->next = kv->free_head;
    kv->free_head = page;
    kv->free_count++;
}

/* ---- finding again ---- */

static int32_t lookup(const struct kvcache *kv, uint64_t parent, const int32_t *tokens) {
    size_t bytes = (size_t)kv->page_tokens * sizeof *tokens;
    int32_t page = kv->bucket[bucket_of(kv, parent, tokens)];
    while (page != KV_NONE && (kv->page[page].parent != parent || memcmp(page_tokens(kv, page), tokens, bytes) != 0)) {
        page = kv->page[page].chain;
    }
    return page;
}

int32_t kvcache_find(struct kvcache *kv, uint64_t parent, const int32_t *tokens) {
    if (!kv->reuse) return KV_NONE;
    int32_t page = lookup(kv, parent, tokens);
    if (page != KV_NONE) kvcache_share(kv, page);
    return page;
}

uint64_t kvcache_register(struct kvcache *kv, int32_t page, uint64_t parent, const int32_t *tokens) {
    if (!kv->reuse) return 0;
    int32_t twin = lookup(kv, parent, tokens);
    if (twin != KV_NONE) return kv->page[twin].uid;
    struct kv_page *p = &kv->page[page];
    memcpy(page_tokens(kv, page), tokens, (size_t)kv->page_tokens * sizeof *tokens);
    p->uid = kv->next_uid++;
    p->parent = parent;
    int32_t *head = &kv->bucket[bucket_of(kv, parent, tokens)];
    p->chain = *head;
    *head = page;
    return p->uid;
}

/* ---- self-check ---- */

bool kvcache_check(const struct kvcache *kv) {
    int32_t held = 0, unheld_registered = 0, unheld_plain = 0, findable = 0, registered = 0;
    for (int32_t p = 0; p < kv->pages; p++) {
        const struct kv_page *page = &kv->page[p];
        if (page->refs < 0) return false;
        held += page->refs > 0;
        registered += page->uid != 0;
        unheld_registered += page->refs == 0 && page->uid != 0;
        unheld_plain += page->refs == 0 && page->uid == 0;
        if (page->uid && lookup(kv, page->parent, page_tokens(kv, p)) != p) return false;
    }
    for (uint32_t b = 0; b < kv->bucket_count; b++) {
        for (int32_t p = kv->bucket[b]; p != KV_NONE; p = kv->page[p].chain) findable++;
    }
    int32_t cached = 0, free_pages = 0;
    for (int32_t p = kv->cached_oldest; p != KV_NONE && cached <= kv->pages; p = kv->page[p].next) cached++;
    for (int32_t p = kv->free_head; p != KV_NONE && free_pages <= kv->pages; p = kv->page[p].next) free_pages++;
    return held == kv->used && findable == registered && cached == kv->cached_count && cached == unheld_registered &&
           free_pages == kv->free_count && free_pages == unheld_plain;
}
