/* encode.c: from text to ids. */
#include <string.h>

#include "base/mem.h"
#include "text/ids.h"
#include "text/tokenizer_internal.h"
#include "text/unicode.h"
#include "text/word_cache.h"

enum { TEXT_MAX = 1 << 30 };

/* One call of tokenizer_encode. */
struct encoder {
    const struct tokenizer *tokenizer;
    struct ids *ids;
    bool ignore_special;
    bool escaped; /* the working text has escapes */
    struct word_cache cache;
    struct regex_run regex;
    struct normalizer_run normalizer;
    struct pretokenizer_run pretokenizer;
    struct bpe_run bpe;
    struct buf unescaped; /* a piece with its escapes turned back */
};

static tempera_status encode_word(struct encoder *e, const char *word, size_t length, tempera_error *err) {
    const struct bpe *bpe = &e->tokenizer->bpe;
    if (!e->cache.slots || length > WORD_BYTES_MAX) return bpe_encode(bpe, &e->bpe, word, length, e->ids, err);
    uint32_t hash = (uint32_t)map_hash(word, length);
    const struct word_slot *known = word_cache_find(&e->cache, hash, word, length);
    if (known) {
        TRY(ids_reserve(e->ids, known->count, err));
        for (size_t i = 0; i < known->count; i++) e->ids->data[e->ids->count + i] = e->ids->data[known->first + i];
        e->ids->count += known->count;
        return TEMPERA_OK;
    }
    size_t first = e->ids->count;
    TRY(bpe_encode(bpe, &e->bpe, word, length, e->ids, err));
    word_cache_put(&e->cache, hash, word, length, e->ids, first);
    return TEMPERA_OK;
}

/* pretokenizer_sink */
static tempera_status encode_piece(void *arg, struct text_piece piece, tempera_error *err) {
    struct encoder *e = arg;
    const struct bpe *bpe = &e->tokenizer->bpe;
    if (e->escaped && bpe->raw) {
        buf_clear(&e->unescaped);
        TRY(buf_reserve(&e->unescaped, piece.length, err));
        piece.length = text_unescape(e->unescaped.data, piece.text, piece.length);
        piece.text = e->unescaped.data;
    }
    while (piece.length > 0) {
        size_t length = bpe_independent(bpe, piece.text, piece.length);
        TRY(encode_word(e, piece.text, length, err));
        piece.text += length;
        piece.length -= length;
    }
    return TEMPERA_OK;
}

/* Splits at the tokens of one trie and hands the text between them to `next`. */
typedef tempera_status text_handler(struct encoder *e, const char *text, size_t length, bool first, tempera_error *err);

static tempera_status split_at_tokens(struct encoder *e, const struct added_trie *trie, const char *text, size_t length,
                                      bool first, text_handler *next, tempera_error *err) {
    struct added_walk walk = {.trie = trie,
                              .vocab = &e->tokenizer->vocab,
                              .text = text,
                              .length = length,
                              .ignore_special = e->ignore_special};
    int32_t id;
    do {
        size_t before, end;
        added_next(&walk, &id, &before, &end);
        if (end > before) TRY(next(e, text + before, end - before, first && before == 0, err));
        if (id >= 0) TRY(ids_append(e->ids, id, err));
    } while (id >= 0);
    return TEMPERA_OK;
}

static tempera_status encode_normal(struct encoder *e, const char *text, size_t length, bool first,
                                    tempera_error *err) {
    return pretokenizer_apply(&e->tokenizer->pretokenizer, &e->pretokenizer, (struct text_piece){text, length, first},
                              err);
}

static tempera_status encode_plain(struct encoder *e, const char *text, size_t length, bool first, tempera_error *err) {
    bool moved;
    TRY(normalizer_apply(&e->tokenizer->normalizer, &e->normalizer, text, length, &text, &length, &moved, err));
    return split_at_tokens(e, &e->tokenizer->normalized_tokens, text, length, first && !moved, encode_normal, err);
}

static tempera_status encode_text(struct encoder *e, const char *text, size_t length, tempera_error *err) {
    e->regex = regex_run_start(length);
    e->normalizer.regex = &e->regex;
    e->pretokenizer.regex = &e->regex;
    e->pretokenizer.raw = e->tokenizer->bpe.raw;
    e->pretokenizer.sink = encode_piece;
    e->pretokenizer.arg = e;
    e->unescaped.max = SIZE_MAX;
    e->cache = word_cache_create(length);
    return split_at_tokens(e, &e->tokenizer->plain_tokens, text, length, true, encode_plain, err);
}

static void encoder_free(struct encoder *e) {
    word_cache_free(&e->cache);
    regex_run_free(&e->regex);
    normalizer_run_free(&e->normalizer);
    pretokenizer_run_free(&e->tokenizer->pretokenizer, &e->pretokenizer);
    bpe_run_free(&e->bpe);
    buf_free(&e->unescaped);
}

static tempera_status append_all(struct ids *ids, const struct ids *more, tempera_error *err) {
    TRY(ids_reserve(ids, more->count, err));
    for (size_t i = 0; i < more->count; i++) ids->data[ids->count++] = more->data[i];
    return TEMPERA_OK;
}

tempera_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags,
                                struct ids *ids, tempera_error *err) {
    if (length > TEXT_MAX)
        return fail(err, TEMPERA_TOO_LONG, "a text of %zu bytes, at most %d are encoded", length, TEXT_MAX);
    tempera_status status = TEMPERA_OK;
    size_t before = ids->count;
    struct encoder e = {.tokenizer = tokenizer, .ids = ids, .ignore_special = (flags & ENCODE_PLAIN_TEXT) != 0};
    struct buf escaped = {.max = SIZE_MAX};
    if (flags & ENCODE_SPECIAL) TRY_GOTO(append_all(ids, &tokenizer->post.before, err));
    if (text_valid_prefix(text, length) < length) {
        TRY_GOTO(text_escape(&escaped, text, length, err));
        text = escaped.data;
        length = escaped.length;
        e.escaped = true;
    }
    TRY_GOTO(encode_text(&e, text, length, err));
    if (flags & ENCODE_SPECIAL) TRY_GOTO(append_all(ids, &tokenizer->post.after, err));
cleanup:
    encoder_free(&e);
    buf_free(&escaped);
    if (status != TEMPERA_OK) ids->count = before;
    return status;
}
