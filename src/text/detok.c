/* detok.c: from ids to text, at once and as a stream. Both use the same step, so they cannot disagree. */
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/unicode.h"

size_t tokenizer_detok_bound(const struct tokenizer *tokenizer) {
    return tokenizer->decoder.longest + sizeof((struct detok){0}).pending + 1; /* a space that joins pieces */
}

void detok_init(struct detok *detok, const struct tokenizer *tokenizer, bool keep_special) {
    *detok = (struct detok){.tokenizer = tokenizer, .keep_special = keep_special};
}

/* Writes the id's bytes to out. */
static size_t write_id(struct detok *d, int32_t id, char *out) {
    const struct decoder *decoder = &d->tokenizer->decoder;
    const struct vocab_entry *entry = vocab_entry(&d->tokenizer->vocab, id);
    if (!entry || (entry->special && !d->keep_special)) return 0;
    const char *bytes = d->started ? entry->bytes : entry->first;
    size_t length = d->started ? entry->bytes_length : entry->first_length, written = 0;
    if (d->started && decoder->join_by_space) out[written++] = ' ';
    d->started = true;
    while (length > 0 && d->stripped < decoder->strip && *bytes == decoder->strip_byte) {
        bytes++;
        length--;
        d->stripped++;
    }
    if (length > 0) d->stripped = UINT8_MAX; /* the start of the text is over */
    memcpy(out + written, bytes, length);
    return written + length;
}

size_t detok_push(struct detok *detok, int32_t id, char *out) {
    size_t length = detok->pending_count;
    memcpy(out, detok->pending, length);
    length += write_id(detok, id, out + length);
    size_t unfinished = text_unfinished(out, length);
    length -= unfinished;
    memcpy(detok->pending, out + length, unfinished);
    detok->pending_count = (uint8_t)unfinished;
    return length;
}

size_t detok_flush(struct detok *detok, char *out) {
    size_t length = detok->pending_count;
    memcpy(out, detok->pending, length);
    detok->pending_count = 0;
    return length;
}

tempera_status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool keep_special,
                                struct buf *out, tempera_error *err) {
    struct detok detok;
    detok_init(&detok, tokenizer, keep_special);
    for (size_t i = 0; i < count; i++) {
        const struct vocab_entry *entry = vocab_entry(&tokenizer->vocab, ids[i]);
        if (!entry) continue;
        size_t most = entry->bytes_length > entry->first_length ? entry->bytes_length : entry->first_length;
        TRY(buf_reserve(out, most + 1, err));
        out->length += write_id(&detok, ids[i], out->data + out->length);
        out->data[out->length] = 0;
    }
    return TEMPERA_OK;
}
