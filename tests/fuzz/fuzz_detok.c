/* fuzz_detok.c: any ids, pushed into streams of four kinds of decoder, forked where the input says so, against decoding
 * them at once. The first byte chooses; then two bytes an id, little-endian. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KINDS = 4, IDS_MAX = 4096 };

static void require(int condition) {
    if (!condition) abort();
}

/* 256 byte tokens, a few pieces that end or begin inside characters' spellings, and a special token. */
static struct tokenizer *create(const char *decoder) {
    struct buf json = {.max = 1 << 16};
    struct tokenizer *t;
    tempera_error err = {0};
    buf_printf(&json, NULL,
               "{\"decoder\":%s,\"added_tokens\":[{\"id\":300,\"content\":\"<s>\",\"special\":true}],\"model\":"
               "{\"merges\":[],\"vocab\":{",
               decoder);
    for (unsigned b = 0; b < 256; b++) buf_printf(&json, NULL, "\"<0x%02X>\":%u,", b, b);
    buf_append_text(&json,
                    "\"\xE2\x96\x81\":256,\"\xE2\x96\x81the\":257,\" \":258,\"\xC3\xA9\":259,\"\xC3\xA2\xC4\xA2\":260,"
                    "\"\xC4\xA0x\":261,\"\xF0\x9F\x98\x80\":262,\"\":263,\"  \":264}}}",
                    NULL);
    require(tokenizer_parse(&t, json.data, json.length, "fuzz", &err) == TEMPERA_OK);
    buf_free(&json);
    return t;
}

static const struct tokenizer *kind(unsigned which) {
    static const char *const decoders[KINDS] = {
        "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},"
        "\"content\":"
        "\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":2}]}",
        "{\"type\":\"ByteLevel\"}",
        "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_"
        "scheme\":"
        "\"always\"},{\"type\":\"ByteFallback\"}]}",
        "null",
    };
    static struct tokenizer *tokenizers[KINDS];
    if (!tokenizers[which]) tokenizers[which] = create(decoders[which]);
    return tokenizers[which];
}

/* Whether text[at] is inside a character that starts before it. */
static bool is_inside_character(const struct buf *text, size_t at) {
    for (size_t back = 1; back < CHAR_MAX_BYTES && back <= at; back++)
        if (utf8_sequence((const unsigned char *)text->data + at - back, text->length - at + back) > back) return true;
    return false;
}

static size_t push(struct detok *detok, int32_t id, size_t done, const struct buf *whole) {
    char chunk[64];
    require(tokenizer_detok_bound(detok->tokenizer) <= sizeof chunk);
    struct detok fork = *detok;
    size_t length = detok_push(detok, id, chunk);
    require(length <= whole->length - done && (length == 0 || memcmp(chunk, whole->data + done, length) == 0));
    require(!is_inside_character(whole, done + length));
    char again[64];
    require(detok_push(&fork, id, again) == length && memcmp(chunk, again, length) == 0);
    return done + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    const struct tokenizer *t = kind(data[0] % KINDS);
    bool keep_special = data[0] & 0x80;
    int32_t ids[IDS_MAX];
    size_t count = 0, done = 0;
    for (size_t i = 1; i + 1 < size && count < IDS_MAX; i += 2) ids[count++] = (int16_t)(data[i] | data[i + 1] << 8);
    struct buf whole = {.max = SIZE_MAX};
    require(tokenizer_decode(t, ids, count, keep_special, &whole, NULL) == TEMPERA_OK);
    struct detok detok;
    detok_init(&detok, t, keep_special);
    for (size_t i = 0; i < count; i++) done = push(&detok, ids[i], done, &whole);
    char rest[64];
    size_t length = detok_flush(&detok, rest);
    require(length < CHAR_MAX_BYTES && done + length == whole.length);
    require(length == 0 || memcmp(rest, whole.data + done, length) == 0);
    buf_free(&whole);
    return 0;
}
