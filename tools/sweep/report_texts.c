/* report_texts.c: samples as a trie of tokens, and the spellings of the tokens. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sweep/report.h"

enum { STEPS = 1024, CODE_MOST = 32767 }; /* a code is -log p in steps of 1/1024 nat, up to 32 nats */
static const uint32_t TEXT_FROM_TOKENS = UINT32_MAX;

void token_set_make(struct token_set *tokens, const tempera_model *model, int32_t size) {
    size_t n = (size_t)size;
    *tokens = (struct token_set){model, xarray(n, sizeof *tokens->used), xarray(n, sizeof *tokens->text),
                                 xarray(n, sizeof *tokens->length), size};
}

void token_set_free(struct token_set *tokens) {
    for (int32_t id = 0; id < tokens->size; id++) tempera_free(tokens->text[id]);
    free(tokens->used);
    free((void *)tokens->text);
    free(tokens->length);
}

/* "" where there is none. */
static const char *spelling(struct token_set *tokens, int32_t id, size_t *length) {
    if (!tokens->text[id]) tokens->text[id] = token_text(tokens->model, id, &tokens->length[id]);
    *length = tokens->text[id] ? tokens->length[id] : 0;
    return tokens->text[id] ? tokens->text[id] : "";
}

static uint16_t code(float logprob) {
    double steps = -(double)logprob * STEPS;
    if (!(steps < CODE_MOST)) return CODE_MOST; /* NaN too */
    return steps > 0 ? (uint16_t)(steps + 0.5) : 0;
}

/* A sample with the index of its point, and what the trie says of it. */
struct leaf {
    const struct sample_record *record;
    int32_t point;
    int64_t end; /* node of its last token, -1 for none */
};

static int compare_tokens(const void *a, const void *b) {
    const struct sample_record *x = ((const struct leaf *)a)->record, *y = ((const struct leaf *)b)->record;
    size_t shorter = x->token_count < y->token_count ? x->token_count : y->token_count;
    for (size_t i = 0; i < shorter; i++)
        if (x->tokens[i] != y->tokens[i]) return x->tokens[i] < y->tokens[i] ? -1 : 1;
    if (x->token_count != y->token_count) return x->token_count < y->token_count ? -1 : 1;
    /* Equal ones in the order of their keys, so that equal databases give equal pages. */
    if (x->point != y->point) return x->point < y->point ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

static int compare_keys(const void *a, const void *b) {
    const struct leaf *x = a, *y = b;
    if (x->point != y->point) return x->point < y->point ? -1 : 1;
    return (x->record->sample > y->record->sample) - (x->record->sample < y->record->sample);
}

/* Samples that the page shows: the first `limit` of each point. */
static size_t choose(const struct summary *summary, const struct sample_set *set, size_t limit, struct leaf *leaves) {
    size_t count = 0;
    for (size_t p = 0; p < summary->points.count; p++) {
        size_t first, have = sample_set_point(set, summary->points.items[p].point, &first);
        for (size_t i = 0; i < have && i < limit; i++)
            leaves[count++] = (struct leaf){&set->items[first + i], (int32_t)p, -1};
    }
    return count;
}

struct trie {
    struct strbuf back, token, raw; /* columns of the nodes: distance to the parent (0: none), token, code */
    size_t count;
};

/* Nodes in the order of a walk in depth: every node comes after its parent. */
static void build_trie(struct trie *trie, struct leaf *leaves, size_t count) {
    size_t longest = 0;
    qsort(leaves, count, sizeof *leaves, compare_tokens);
    for (size_t i = 0; i < count; i++)
        if (leaves[i].record->token_count > longest) longest = leaves[i].record->token_count;
    size_t *path = xarray(longest + 1, sizeof *path);
    for (size_t i = 0; i < count; i++) {
        const struct sample_record *r = leaves[i].record, *before = i ? leaves[i - 1].record : NULL;
        size_t depth = 0;
        while (before && depth < r->token_count && depth < before->token_count &&
               r->tokens[depth] == before->tokens[depth])
            depth++;
        for (; depth < r->token_count; depth++) {
            block_u32(&trie->back, depth ? (uint32_t)(trie->count - path[depth - 1]) : 0);
            block_u32(&trie->token, (uint32_t)r->tokens[depth]);
            block_u16(&trie->raw, code(r->logprob[depth]));
            path[depth] = trie->count++;
        }
        if (r->token_count) leaves[i].end = (int64_t)path[r->token_count - 1];
    }
    free(path);
}

/* Whether the text is what the first *shown tokens spell. */
static bool spelled(const struct sample_record *r, struct token_set *tokens, uint32_t *shown) {
    size_t at = 0, i = 0;
    bool equal = true;
    for (; equal && i < r->token_count && at < r->text_length; i++) {
        size_t length;
        const char *text = spelling(tokens, r->tokens[i], &length);
        equal = length <= r->text_length - at && memcmp(text, r->text + at, length) == 0;
        if (equal) at += length;
    }
    equal = equal && at == r->text_length;
    *shown = equal ? (uint32_t)i : (uint32_t)r->token_count;
    return equal;
}

static uint8_t verdict_code(int verdict) {
    return verdict < 0 ? 255 : (uint8_t)verdict;
}

/* The columns of the samples, by point, then sample. */
static void put_samples(struct strbuf *out, const struct leaf *leaves, size_t count, const struct sweep_prompt *prompt,
                        const struct trie *trie, struct token_set *tokens) {
    struct strbuf shown = {0}, lift = {0}, text = {0}, lengths = {0};
    for (size_t i = 0; i < count; i++) {
        const struct sample_record *r = leaves[i].record;
        uint32_t spelled_tokens = (uint32_t)r->token_count;
        bool leave = tokens->model && spelled(r, tokens, &spelled_tokens);
        block_u32(&shown, spelled_tokens);
        block_u32(&lengths, leave ? TEXT_FROM_TOKENS : (uint32_t)r->text_length);
        if (!leave) strbuf_add(&text, r->text, r->text_length);
        for (size_t k = 0; k < r->token_count; k++)
            block_u16(&lift, (uint16_t)(code(r->final_logprob[k]) - code(r->logprob[k])));
    }
    for (size_t i = 0; i < count; i++) block_u32(out, (uint32_t)leaves[i].point);
    for (size_t i = 0; i < count; i++) block_u32(out, (uint32_t)leaves[i].record->sample);
    for (size_t i = 0; i < count; i++) block_u32(out, (uint32_t)leaves[i].end);
    for (size_t i = 0; i < count; i++) block_u32(out, (uint32_t)leaves[i].record->token_count);
    for (size_t i = 0; i < count; i++) block_u32(out, (uint32_t)leaves[i].record->fork);
    strbuf_add(out, lengths.data, lengths.length);
    strbuf_add(out, shown.data, shown.length);
    strbuf_add(out, trie->raw.data, trie->raw.length);
    strbuf_add(out, lift.data, lift.length);
    for (size_t i = 0; i < count; i++) block_u8(out, (uint8_t)leaves[i].record->finish);
    for (size_t i = 0; i < count; i++) block_u8(out, verdict_code(leaves[i].record->verdict));
    for (size_t i = 0; i < count; i++) block_u8(out, verdict_code(sample_is_right(leaves[i].record, prompt)));
    strbuf_add(out, text.data, text.length);
    strbuf_free(&shown);
    strbuf_free(&lift);
    strbuf_free(&text);
    strbuf_free(&lengths);
}

void report_texts(struct page *page, const struct summary *summary, size_t prompt, const struct sample_set *set,
                  size_t limit, struct token_set *tokens, size_t *shown) {
    struct leaf *leaves = xarray(set->count, sizeof *leaves);
    struct trie trie = {.count = 0};
    struct strbuf block = {0}, name = {0};
    size_t token_count = 0, count = choose(summary, set, limit, leaves);
    *shown = count;
    if (count) {
        build_trie(&trie, leaves, count);
        qsort(leaves, count, sizeof *leaves, compare_keys);
        for (size_t i = 0; i < count; i++) {
            token_count += leaves[i].record->token_count;
            for (size_t k = 0; k < leaves[i].record->token_count; k++) tokens->used[leaves[i].record->tokens[k]] = true;
        }
        block_u32(&block, (uint32_t)trie.count);
        block_u32(&block, (uint32_t)count);
        block_u32(&block, (uint32_t)token_count);
        strbuf_add(&block, trie.back.data, trie.back.length);
        strbuf_add(&block, trie.token.data, trie.token.length);
        put_samples(&block, leaves, count, &summary->prompts.items[prompt], &trie, tokens);
        strbuf_printf(&name, "texts-%zu", prompt);
        page_block(page, name.data, block.data, block.length);
    }
    strbuf_free(&trie.back);
    strbuf_free(&trie.token);
    strbuf_free(&trie.raw);
    strbuf_free(&block);
    strbuf_free(&name);
    free(leaves);
}

void report_pieces(struct page *page, struct token_set *tokens) {
    struct strbuf ids = {0}, lengths = {0}, special = {0}, text = {0}, block = {0};
    uint32_t count = 0;
    for (int32_t id = 0; id < tokens->size; id++) {
        if (!tokens->used[id]) continue;
        size_t length;
        const char *piece = spelling(tokens, id, &length);
        count++;
        block_u32(&ids, (uint32_t)id);
        block_u32(&lengths, (uint32_t)length);
        block_u8(&special, tempera_is_special(tokens->model, id));
        strbuf_add(&text, piece, length);
    }
    block_u32(&block, count);
    strbuf_add(&block, ids.data, ids.length);
    strbuf_add(&block, lengths.data, lengths.length);
    strbuf_add(&block, special.data, special.length);
    strbuf_add(&block, text.data, text.length);
    page_block(page, "pieces", block.data, block.length);
    strbuf_free(&ids);
    strbuf_free(&lengths);
    strbuf_free(&special);
    strbuf_free(&text);
    strbuf_free(&block);
}
