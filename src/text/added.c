/* added.c: the trie of added tokens and the walk over a text. */
#include "text/added.h"

#include "base/mem.h"
#include "text/unicode.h"

enum { PATTERN_MAX = 1024 }; /* bounds the search: bytes looked at per byte of text */

struct added_node {
    uint32_t child, sibling; /* 0 = none */
    int32_t token;           /* index in vocab->added of the pattern that ends here, or -1 */
    unsigned char byte;
};

static tempera_status add_node(struct added_trie *trie, unsigned char byte, uint32_t sibling, uint32_t *node,
                               tempera_error *err) {
    if (trie->count == trie->capacity) {
        size_t capacity = trie->capacity ? trie->capacity * 2 : 64;
        struct added_node *nodes = mem_realloc(trie->nodes, capacity * sizeof *nodes);
        if (!nodes) return fail_memory(err, capacity * sizeof *nodes, "added tokens");
        trie->nodes = nodes;
        trie->capacity = capacity;
    }
    *node = (uint32_t)trie->count++;
    trie->nodes[*node] = (struct added_node){.sibling = sibling, .token = -1, .byte = byte};
    return TEMPERA_OK;
}

static uint32_t find_child(const struct added_trie *trie, uint32_t node, unsigned char byte) {
    if (node == 0) return trie->roots[byte];
    uint32_t child = trie->nodes[node].child;
    while (child && trie->nodes[child].byte != byte) child = trie->nodes[child].sibling;
    return child;
}

static tempera_status add_pattern(struct added_trie *trie, const struct added_token *token, size_t index,
                                  tempera_error *err) {
    uint32_t node = 0;
    for (size_t i = 0; i < token->pattern_length; i++) {
        unsigned char byte = (unsigned char)token->pattern[i];
        uint32_t child = find_child(trie, node, byte);
        if (!child) {
            TRY(add_node(trie, byte, node ? trie->nodes[node].child : 0, &child, err));
            if (node)
                trie->nodes[node].child = child;
            else
                trie->roots[byte] = child;
        }
        node = child;
    }
    if (trie->nodes[node].token < 0) trie->nodes[node].token = (int32_t)index; /* the first of equal patterns */
    return TEMPERA_OK;
}

tempera_status added_trie_build(struct added_trie *trie, const struct vocab *vocab, bool normalized,
                                tempera_error *err) {
    uint32_t root;
    TRY(add_node(trie, 0, 0, &root, err));
    for (size_t i = 0; i < vocab->added_count; i++) {
        const struct added_token *token = &vocab->added[i];
        if (token->normalized != normalized || token->pattern_length == 0) continue;
        if (token->pattern_length > PATTERN_MAX)
            return fail(err, TEMPERA_UNSUPPORTED, "added token \"%.60s\" has %zu bytes, at most %d are read",
                        token->content, token->pattern_length, PATTERN_MAX);
        TRY(add_pattern(trie, token, i, err));
    }
    return TEMPERA_OK;
}

void added_trie_free(struct added_trie *trie) {
    mem_free(trie->nodes);
    *trie = (struct added_trie){0};
}

/* The longest token at text[at]; NULL when there is none. */
static const struct added_token *match_at(const struct added_walk *walk, size_t at) {
    const struct added_token *longest = NULL;
    uint32_t node = walk->trie->roots[(unsigned char)walk->text[at]];
    while (node) {
        int32_t token = walk->trie->nodes[node].token;
        if (token >= 0) longest = &walk->vocab->added[token];
        if (++at == walk->length) break;
        node = find_child(walk->trie, node, (unsigned char)walk->text[at]);
    }
    return longest;
}

static bool is_word_before(const char *text, size_t at) {
    uint32_t c;
    if (at == 0) return false;
    char_get(text + char_before(text, at), &c);
    return char_is_word(c);
}

static bool is_word_at(const char *text, size_t at, size_t length) {
    uint32_t c;
    if (at == length) return false;
    char_get(text + at, &c);
    return char_is_word(c);
}

/* A match that does not count is passed over whole, with what shorter tokens may lie in it. */
static bool counts(const struct added_walk *walk, const struct added_token *token, size_t start, size_t end) {
    if (walk->ignore_special && token->special) return false;
    if (!token->single_word) return true;
    return !is_word_before(walk->text, start) && !is_word_at(walk->text, end, walk->length);
}

void added_next(struct added_walk *walk, int32_t *id, size_t *before, size_t *before_end) {
    const char *text = walk->text;
    *id = -1;
    *before = walk->done;
    *before_end = walk->length;
    size_t at = walk->search;
    for (; at < walk->length; at++) {
        if (!walk->trie->roots[(unsigned char)text[at]]) continue;
        const struct added_token *token = match_at(walk, at);
        if (!token) continue;
        size_t start = at, end = at + token->pattern_length;
        at = end - 1;
        if (!counts(walk, token, start, end)) continue;
        walk->search = end;
        if (token->lstrip) {
            size_t text_end = start > walk->done ? text_spaces_at_end(text + walk->done, start - walk->done) : 0;
            start = walk->done + text_end;
        }
        if (token->rstrip) { /* what the token before it stripped is white space to its end */
            if (end < walk->done) end = walk->done;
            end += text_spaces_at_start(text + end, walk->length - end);
        }
        if (start >= end) continue; /* white space that the token before it stripped */
        *id = token->id;
        *before_end = start > walk->done ? start : walk->done;
        walk->done = end;
        return;
    }
    walk->search = walk->length;
    if (*before > *before_end) *before = *before_end;
    walk->done = walk->length;
}
