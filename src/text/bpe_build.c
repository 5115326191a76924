/* bpe_build.c: the merge table. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/bpe.h"
#include "text/bpe_table.h"
#include "text/bytelevel.h"
#include "text/unicode.h"

static const char mark[] = "\xE2\x96\x81"; /* ▁, SentencePiece's space */

enum { MARK_BYTES = sizeof mark - 1, JOINED_MAX = 1 << 25, MERGE_BITS = 10, MERGE_BITS_MAX = 32 };

static void set_merge(struct bpe *bpe, struct bpe_merge merge) {
    size_t i = bpe_merge_slot(bpe, merge.pair);
    while (bpe->merges[i].pair != merge.pair && bpe->merges[i].pair != BPE_NO_PAIR)
        i = (i + 1) & (bpe->merge_slots - 1);
    bpe->merges[i] = merge; /* said twice, the later rank holds */
}

/* An empty table of 2^bits slots; the old one is freed once its merges have moved. */
static tempera_status resize(struct bpe *bpe, unsigned bits, tempera_error *err) {
    struct bpe old = *bpe;
    size_t slots = (size_t)1 << bits;
    bpe->merges = mem_array(slots, sizeof *bpe->merges);
    if (!bpe->merges) {
        bpe->merges = old.merges;
        return fail_memory(err, slots * sizeof *bpe->merges, "merges");
    }
    memset(bpe->merges, 0xFF, slots * sizeof *bpe->merges); /* BPE_NO_PAIR everywhere */
    bpe->merge_slots = slots;
    bpe->merge_shift = 64 - bits;
    for (size_t i = 0; i < old.merge_slots; i++)
        if (old.merges[i].pair != BPE_NO_PAIR) set_merge(bpe, old.merges[i]);
    mem_free(old.merges);
    return TEMPERA_OK;
}

static tempera_status grow(struct bpe *bpe, tempera_error *err) {
    return resize(bpe, bpe->merge_slots ? 64 - bpe->merge_shift + 1 : MERGE_BITS, err);
}

tempera_status bpe_reserve(struct bpe *bpe, size_t merges, tempera_error *err) {
    unsigned bits = 64 - bpe->merge_shift;
    while (bits < MERGE_BITS_MAX && (size_t)1 << bits < 2 * merges) bits++;
    return bits > 64 - bpe->merge_shift ? resize(bpe, bits, err) : TEMPERA_OK;
}

tempera_status bpe_start(struct bpe *bpe, const struct vocab *vocab, const char *prefix, const char *suffix,
                         tempera_error *err) {
    *bpe = (struct bpe){.vocab = vocab, .unknown = -1, .joined = {.max = JOINED_MAX}};
    bpe->prefix_length = prefix ? strlen(prefix) : 0;
    bpe->suffix_length = suffix ? strlen(suffix) : 0;
    bpe->prefix = mem_strndup(prefix, bpe->prefix_length);
    bpe->suffix = mem_strndup(suffix, bpe->suffix_length);
    bpe->seed = map_hash("merges", 6) | 1;
    if (!bpe->prefix || !bpe->suffix) return fail_memory(err, bpe->prefix_length + bpe->suffix_length, "merges");
    return grow(bpe, err);
}

void bpe_free(struct bpe *bpe) {
    mem_free(bpe->merges);
    mem_free(bpe->prefix);
    mem_free(bpe->suffix);
    buf_free(&bpe->joined);
    *bpe = (struct bpe){0};
}

/* The two joined, without the second's prefix, in bpe->joined. */
static tempera_status join(struct bpe *bpe, const char *left, size_t left_length, const char *right,
                           size_t right_length, tempera_error *err) {
    buf_clear(&bpe->joined);
    TRY(buf_append(&bpe->joined, left, left_length, err));
    return buf_append(&bpe->joined, right + bpe->prefix_length, right_length - bpe->prefix_length, err);
}

static bool has_mark_inside(const char *text, size_t length) {
    while (length >= MARK_BYTES && memcmp(text, mark, MARK_BYTES) == 0) {
        text += MARK_BYTES;
        length -= MARK_BYTES;
    }
    for (size_t i = 0; i + MARK_BYTES <= length; i++)
        if (text[i] == mark[0] && memcmp(text + i, mark, MARK_BYTES) == 0) return true;
    return false;
}

bool bpe_can_merge(struct bpe *bpe, const char *left, size_t left_length, const char *right, size_t right_length) {
    if (left_length == 0 || right_length == 0 || right_length < bpe->prefix_length) return false;
    return vocab_find_piece(bpe->vocab, left, left_length) >= 0 &&
           vocab_find_piece(bpe->vocab, right, right_length) >= 0 &&
           join(bpe, left, left_length, right, right_length, NULL) == TEMPERA_OK &&
           vocab_find_piece(bpe->vocab, bpe->joined.data, bpe->joined.length) >= 0;
}

static tempera_status add_merge(struct bpe *bpe, struct bpe_merge merge, const char *name, tempera_error *err) {
    if (bpe->merge_count == UINT32_MAX / 4) return fail(err, TEMPERA_TOO_LONG, "%s: too many merges", name);
    if (((size_t)bpe->merge_count + 1) * 2 > bpe->merge_slots) TRY(grow(bpe, err));
    set_merge(bpe, merge);
    bpe->merge_count++;
    return TEMPERA_OK;
}

tempera_status bpe_add_merge(struct bpe *bpe, const char *left, size_t left_length, const char *right,
                             size_t right_length, const char *name, tempera_error *err) {
    int32_t a = vocab_find_piece(bpe->vocab, left, left_length);
    int32_t b = vocab_find_piece(bpe->vocab, right, right_length);
    int32_t joined = -1;
    if (a >= 0 && b >= 0 && right_length >= bpe->prefix_length) {
        TRY(join(bpe, left, left_length, right, right_length, err));
        joined = vocab_find_piece(bpe->vocab, bpe->joined.data, bpe->joined.length);
    }
    if (joined < 0)
        return fail(err, TEMPERA_FORMAT, "%s: merge %u: \"%.*s\" and \"%.*s\": %s not in the vocabulary", name,
                    bpe->merge_count, (int)(left_length < 60 ? left_length : 60), left,
                    (int)(right_length < 60 ? right_length : 60), right,
                    a < 0   ? "the first is"
                    : b < 0 ? "the second is"
                            : "the two joined are");
    if (has_mark_inside(bpe->joined.data, bpe->joined.length)) bpe->mark_inside = true;
    return add_merge(bpe, (struct bpe_merge){.pair = bpe_pair(a, b), .rank = bpe->merge_count, .id = joined}, name,
                     err);
}

tempera_status bpe_add_ranked(struct bpe *bpe, const char *piece, size_t length, size_t left, uint32_t rank,
                              const char *name, tempera_error *err) {
    int32_t a = vocab_find_piece(bpe->vocab, piece, left);
    int32_t b = a >= 0 ? vocab_find_piece(bpe->vocab, piece + left, length - left) : -1;
    if (b < 0) return TEMPERA_OK;
    int32_t joined = vocab_find_piece(bpe->vocab, piece, length);
    if (has_mark_inside(piece, length)) bpe->mark_inside = true;
    return add_merge(bpe, (struct bpe_merge){.pair = bpe_pair(a, b), .rank = rank, .id = joined}, name, err);
}

static void find_bytes(struct bpe *bpe) {
    bpe->has_all_bytes = bpe->prefix_length == 0 && bpe->suffix_length == 0;
    bpe->keeps_all = bpe->byte_fallback;
    for (int b = 0; b < 256; b++) {
        char text[8];
        size_t length = char_put(text, bytelevel_char((unsigned char)b));
        bpe->byte_ids[b] = vocab_find_piece(bpe->vocab, text, length);
        if (bpe->byte_ids[b] < 0) bpe->has_all_bytes = false;
        length = (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        bpe->fallback_ids[b] = vocab_find_piece(bpe->vocab, text, length);
        if (bpe->fallback_ids[b] < 0) bpe->keeps_all = false;
    }
    if (bpe->unknown >= 0) bpe->keeps_all = true;
}

void bpe_finish(struct bpe *bpe) {
    find_bytes(bpe);
    bpe->cut_before_mark = !bpe->mark_inside && bpe->keeps_all && !bpe->ignore_merges && bpe->prefix_length == 0 &&
                           bpe->suffix_length == 0 && vocab_find_piece(bpe->vocab, mark, MARK_BYTES) >= 0;
    buf_free(&bpe->joined);
}

/* A ▁ that does not follow another begins a word: no merge can reach across its start. */
size_t bpe_independent(const struct bpe *bpe, const char *text, size_t length) {
    if (!bpe->cut_before_mark || bpe->raw) return length;
    bool after_mark = true;
    for (size_t at = 0; at < length;) {
        bool is_mark = text[at] == mark[0] && length - at >= MARK_BYTES && memcmp(text + at, mark, MARK_BYTES) == 0;
        if (is_mark && !after_mark) return at;
        after_mark = is_mark;
        at += is_mark ? MARK_BYTES : 1;
    }
    return length;
}
