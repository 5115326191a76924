/* bpe.c: from a piece to symbols (one per character or byte), and from symbols to merged ids.
 *
 * The rule is: while any two neighbours merge, merge those of the lowest rank, the leftmost of them first. Short pieces
 * look for the lowest rank again after every merge; long ones keep a heap, so a megabyte of one letter is n log n. */
#include "text/bpe.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "text/bpe_table.h"
#include "text/bytelevel.h"
#include "text/ids.h"
#include "text/unicode.h"

enum { SHORT_PIECE = 40 }; /* symbols */
#define NO_RANK   UINT32_MAX
#define NO_SYMBOL UINT32_MAX

/* Symbols of a long piece as a linked list, and the merges that may be due. */
struct bpe_queue {
    uint32_t *next, *previous; /* [capacity] */
    uint64_t *heap;            /* [2 * capacity]: rank << 32 | left symbol; smallest first; may be out of date */
    size_t heap_count, capacity;
};

static void queue_free(struct bpe_queue *q) {
    if (!q) return;
    mem_free(q->next);
    mem_free(q->previous);
    mem_free(q->heap);
    mem_free(q);
}

void bpe_run_free(struct bpe_run *run) {
    ids_free(&run->symbols);
    queue_free(run->queue);
    buf_free(&run->text);
    run->queue = NULL;
}

/* --- symbols --- */

static tempera_status raw_symbols(const struct bpe *bpe, struct ids *symbols, const char *piece, size_t length,
                                  tempera_error *err) {
    TRY(ids_reserve(symbols, length, err));
    for (size_t i = 0; i < length; i++) symbols->data[i] = bpe->byte_ids[(unsigned char)piece[i]];
    symbols->count = length;
    return TEMPERA_OK;
}

/* One "<0x0A>" per byte, when there is one for each. */
static tempera_status fall_back(const struct bpe *bpe, struct ids *symbols, const char *bytes, size_t length,
                                bool *done, tempera_error *err) {
    *done = false;
    if (!bpe->byte_fallback) return TEMPERA_OK;
    for (size_t i = 0; i < length; i++)
        if (bpe->fallback_ids[(unsigned char)bytes[i]] < 0) return TEMPERA_OK;
    for (size_t i = 0; i < length; i++) TRY(ids_append(symbols, bpe->fallback_ids[(unsigned char)bytes[i]], err));
    *done = true;
    return TEMPERA_OK;
}

/* The character at piece[at] as the vocabulary spells it: with prefix and suffix, an escape as its byte. */
static tempera_status spell_character(const struct bpe *bpe, struct bpe_run *run, const char *piece, size_t length,
                                      size_t at, size_t bytes, tempera_error *err) {
    uint32_t c;
    buf_clear(&run->text);
    if (at > 0) TRY(buf_append(&run->text, bpe->prefix, bpe->prefix_length, err));
    char_get(piece + at, &c);
    char stray = (char)(c - 0xDC00u);
    bool escape = char_is_escape(c);
    TRY(buf_append(&run->text, escape ? &stray : piece + at, escape ? 1 : bytes, err));
    if (at + bytes == length) TRY(buf_append(&run->text, bpe->suffix, bpe->suffix_length, err));
    return TEMPERA_OK;
}

/* As Hugging Face does, an unknown waits for the next known character, and byte tokens may overtake it. */
static tempera_status text_symbols(const struct bpe *bpe, struct bpe_run *run, const char *piece, size_t length,
                                   tempera_error *err) {
    struct ids *symbols = &run->symbols;
    bool waiting = false;
    run->text.max = SIZE_MAX;
    symbols->count = 0;
    for (size_t at = 0; at < length;) {
        size_t bytes = char_bytes((unsigned char)piece[at]);
        TRY(spell_character(bpe, run, piece, length, at, bytes, err));
        at += bytes;
        int32_t id = vocab_find_piece(bpe->vocab, run->text.data, run->text.length);
        if (id >= 0) {
            if (waiting) TRY(ids_append(symbols, bpe->unknown, err));
            waiting = false;
            TRY(ids_append(symbols, id, err));
            continue;
        }
        bool done;
        TRY(fall_back(bpe, symbols, run->text.data, run->text.length, &done, err));
        if (done || bpe->unknown < 0) continue;
        if (waiting && !bpe->fuse_unknown) TRY(ids_append(symbols, bpe->unknown, err));
        waiting = true;
    }
    return waiting ? ids_append(symbols, bpe->unknown, err) : TEMPERA_OK;
}

/* --- merging --- */

/* Returns the number of symbols left. */
static size_t merge_short(const struct bpe *bpe, int32_t *symbols, size_t count) {
    uint32_t ranks[SHORT_PIECE]; /* of symbol i with the next */
    int32_t joined[SHORT_PIECE];
    if (count < 2) return count;
    for (size_t i = 0; i + 1 < count; i++) {
        const struct bpe_merge *m = bpe_find_merge(bpe, symbols[i], symbols[i + 1]);
        ranks[i] = m ? m->rank : NO_RANK;
        joined[i] = m ? m->id : 0;
    }
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (count < 2 || ranks[best] == NO_RANK) return count;
        symbols[best] = joined[best];
        count--;
        for (size_t i = best + 1; i < count; i++) {
            symbols[i] = symbols[i + 1];
            ranks[i - 1] = ranks[i];
            joined[i - 1] = joined[i];
        }
        for (size_t i = best > 0 ? best - 1 : 0; i <= best && i + 1 < count; i++) {
            const struct bpe_merge *m = bpe_find_merge(bpe, symbols[i], symbols[i + 1]);
            ranks[i] = m ? m->rank : NO_RANK;
            joined[i] = m ? m->id : 0;
        }
    }
}

static tempera_status queue_reserve(struct bpe_run *run, size_t count, tempera_error *err) {
    struct bpe_queue *q = run->queue;
    if (q && q->capacity >= count) return TEMPERA_OK;
    if (count >= UINT32_MAX) return fail(err, TEMPERA_TOO_LONG, "a piece of %zu symbols", count);
    queue_free(q);
    q = run->queue = mem_array(1, sizeof *q);
    if (!q) return fail_memory(err, sizeof *q, "merging");
    q->next = mem_array(count, sizeof *q->next);
    q->previous = mem_array(count, sizeof *q->previous);
    q->heap = mem_array(count, 2 * sizeof *q->heap);
    if (!q->next || !q->previous || !q->heap) {
        queue_free(q);
        run->queue = NULL;
        return fail_memory(err, count * 24, "merging");
    }
    q->capacity = count;
    return TEMPERA_OK;
}

static void sift_down(struct bpe_queue *q, size_t i) {
    uint64_t value = q->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->heap_count) break;
        if (child + 1 < q->heap_count && q->heap[child + 1] < q->heap[child]) child++;
        if (q->heap[child] >= value) break;
        q->heap[i] = q->heap[child];
        i = child;
    }
    q->heap[i] = value;
}

static void push(struct bpe_queue *q, uint64_t value) {
    size_t i = q->heap_count++;
    for (; i > 0 && q->heap[(i - 1) / 2] > value; i = (i - 1) / 2) q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = value;
}

static uint64_t pop(struct bpe_queue *q) {
    uint64_t top = q->heap[0];
    q->heap[0] = q->heap[--q->heap_count];
    if (q->heap_count > 0) sift_down(q, 0);
    return top;
}

/* Every merge takes one entry out and puts at most two in, so the heap never passes twice the symbols. */
static void push_merge(const struct bpe *bpe, struct bpe_queue *q, const int32_t *symbols, uint32_t left) {
    if (left == NO_SYMBOL || q->next[left] == NO_SYMBOL) return;
    const struct bpe_merge *m = bpe_find_merge(bpe, symbols[left], symbols[q->next[left]]);
    if (m) push(q, (uint64_t)m->rank << 32 | left);
}

static void queue_fill(const struct bpe *bpe, struct bpe_queue *q, const int32_t *symbols, size_t count) {
    q->heap_count = 0;
    for (size_t i = 0; i < count; i++) {
        q->next[i] = i + 1 < count ? (uint32_t)i + 1 : NO_SYMBOL;
        q->previous[i] = i > 0 ? (uint32_t)i - 1 : NO_SYMBOL;
        if (i + 1 == count) break;
        const struct bpe_merge *m = bpe_find_merge(bpe, symbols[i], symbols[i + 1]);
        if (m) q->heap[q->heap_count++] = (uint64_t)m->rank << 32 | i;
    }
    for (size_t i = q->heap_count / 2; i-- > 0;) sift_down(q, i);
}

/* Merges in place: a symbol that went into its left neighbour is -1 afterwards. */
static void merge_long(const struct bpe *bpe, struct bpe_queue *q, int32_t *symbols, size_t count) {
    queue_fill(bpe, q, symbols, count);
    while (q->heap_count > 0) {
        uint64_t top = pop(q);
        uint32_t left = (uint32_t)top, right = q->next[left];
        if (symbols[left] < 0 || right == NO_SYMBOL) continue;
        const struct bpe_merge *m = bpe_find_merge(bpe, symbols[left], symbols[right]);
        if (!m || m->rank != top >> 32) continue; /* out of date */
        symbols[left] = m->id;
        symbols[right] = -1;
        q->next[left] = q->next[right];
        if (q->next[left] != NO_SYMBOL) q->previous[q->next[left]] = left;
        push_merge(bpe, q, symbols, q->previous[left]);
        push_merge(bpe, q, symbols, left);
    }
}

static size_t squeeze(int32_t *symbols, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (symbols[i] >= 0) symbols[kept++] = symbols[i];
    return kept;
}

static tempera_status merge(const struct bpe *bpe, struct bpe_run *run, tempera_error *err) {
    struct ids *symbols = &run->symbols;
    if (symbols->count <= SHORT_PIECE) {
        symbols->count = merge_short(bpe, symbols->data, symbols->count);
        return TEMPERA_OK;
    }
    TRY(queue_reserve(run, symbols->count, err));
    merge_long(bpe, run->queue, symbols->data, symbols->count);
    symbols->count = squeeze(symbols->data, symbols->count);
    return TEMPERA_OK;
}

/* --- one piece --- */

/* ignore_merges: a piece that is in the vocabulary as it stands is that id. */
static tempera_status find_whole(const struct bpe *bpe, struct bpe_run *run, const char *piece, size_t length,
                                 int32_t *id, tempera_error *err) {
    if (bpe->raw) {
        run->text.max = SIZE_MAX;
        buf_clear(&run->text);
        TRY(buf_reserve(&run->text, 2 * length, err));
        for (size_t i = 0; i < length; i++)
            run->text.length += char_put(run->text.data + run->text.length, bytelevel_char((unsigned char)piece[i]));
        piece = run->text.data;
        length = run->text.length;
    }
    *id = vocab_find_piece(bpe->vocab, piece, length);
    return TEMPERA_OK;
}

tempera_status bpe_encode(const struct bpe *bpe, struct bpe_run *run, const char *piece, size_t length, struct ids *ids,
                          tempera_error *err) {
    int32_t whole = -1;
    if (bpe->ignore_merges) TRY(find_whole(bpe, run, piece, length, &whole, err));
    if (whole >= 0) return ids_append(ids, whole, err);
    if (bpe->raw)
        TRY(raw_symbols(bpe, &run->symbols, piece, length, err));
    else
        TRY(text_symbols(bpe, run, piece, length, err));
    TRY(merge(bpe, run, err));
    TRY(ids_reserve(ids, run->symbols.count, err));
    if (run->symbols.count) memcpy(ids->data + ids->count, run->symbols.data, run->symbols.count * sizeof *ids->data);
    ids->count += run->symbols.count;
    return TEMPERA_OK;
}
