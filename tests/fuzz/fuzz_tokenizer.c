/* fuzz_tokenizer.c: a tokenizer.json up to the first 0 byte, then a text. What opens must encode any text to ids of its
 * own vocabulary, and decode them the same way at once and as a stream. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition) abort();
}

static void check_stream(const struct tokenizer *t, const struct ids *ids, bool keep_special, const struct buf *whole) {
    char *chunk = mem_alloc(tokenizer_detok_bound(t));
    struct detok detok;
    size_t done = 0;
    detok_init(&detok, t, keep_special);
    for (size_t i = 0; i <= ids->count; i++) {
        size_t length = i < ids->count ? detok_push(&detok, ids->data[i], chunk) : detok_flush(&detok, chunk);
        require(length <= tokenizer_detok_bound(t) && length <= whole->length - done);
        require(length == 0 || memcmp(chunk, whole->data + done, length) == 0);
        done += length;
    }
    require(done == whole->length);
    mem_free(chunk);
}

static void check_decoding(const struct tokenizer *t, const struct ids *ids, bool keep_special) {
    struct buf whole = {.max = SIZE_MAX};
    require(tokenizer_decode(t, ids->data, ids->count, keep_special, &whole, NULL) == TEMPERA_OK);
    check_stream(t, ids, keep_special, &whole);
    buf_free(&whole);
}

static void check_text(const struct tokenizer *t, const char *text, size_t length, unsigned flags) {
    struct ids ids = {0};
    tempera_error err = {0};
    tempera_status status = tokenizer_encode(t, text, length, flags, &ids, &err);
    require(status == TEMPERA_OK || (status == TEMPERA_TOO_LONG && err.message[0] && ids.count == 0));
    for (size_t i = 0; i < ids.count; i++) {
        size_t piece;
        require(tokenizer_piece(t, ids.data[i], &piece) != NULL);
    }
    check_decoding(t, &ids, true);
    check_decoding(t, &ids, false);
    ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *json = (const char *)data, *end = memchr(json, 0, size);
    size_t length = end ? (size_t)(end - json) : size;
    const char *text = end ? end + 1 : "The cat's 12 ma\xC3\xAF\xFF <s>\n  x";
    size_t text_length = end ? size - length - 1 : strlen(text);
    size_t live = mem_stats_get().live;
    struct tokenizer *t;
    tempera_error err = {0};
    tempera_status status = tokenizer_parse(&t, json, length, "fuzz", &err);
    require((t != NULL) == (status == TEMPERA_OK) && (t || err.message[0]));
    for (unsigned flags = 0; t && flags < 4; flags++) check_text(t, text, text_length, flags);
    tokenizer_free(t);
    require(mem_stats_get().live == live);
    return 0;
}
