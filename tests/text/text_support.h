/* text_support.h: small tokenizers written inside the tests, and comparing what they do. */
#ifndef TESTS_TEXT_SUPPORT_H
#define TESTS_TEXT_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "text/tokenizer.h"

/* A tokenizer.json in parts. Parts are JSON with ' for "; NULL is null. */
struct spec {
    const char *normalizer, *pre_tokenizer, *post_processor, *decoder;
    const char *added;  /* members of added_tokens */
    const char *model;  /* further members of the model: "'unk_token': '<unk>'" */
    const char *pieces; /* further pieces of the vocabulary, "|" between them */
    const char *merges; /* "a b|ab c": their joined pieces are added to the vocabulary too */
    bool byte_alphabet; /* the vocabulary starts with the 256 characters of the byte alphabet … */
    bool byte_tokens;   /* … or with <unk> <s> </s> and <0x00> … <0xFF> */
};

/* The JSON text of a spec; owned by the caller (buf_free). */
void spec_json(struct buf *json, const struct spec *spec);
/* Its tokenizer; the test fails when it is refused. */
struct tokenizer *spec_open(const struct spec *spec);
/* The status it is refused with (TEMPERA_OK: it is not), and the message. */
tempera_status spec_status(const struct spec *spec, tempera_error *err);
/* tokenizer_parse of JSON with ' for ". */
tempera_status parse_status(const char *json, tempera_error *err);

/* Texts end at their terminator. */
void expect_pieces(const struct tokenizer *t, const char *text, unsigned flags, const char *pieces); /* "He|llo" */
void expect_decoded(const struct tokenizer *t, const char *pieces, bool keep_special, const char *text);
/* Encoding and decoding gives these bytes, and streaming agrees with decoding. */
void expect_round_trip(const struct tokenizer *t, const void *bytes, size_t length);
/* Streaming the ids gives what decoding gives, at character boundaries. */
void expect_stream(const struct tokenizer *t, const int32_t *ids, size_t count, bool keep_special);

#endif
