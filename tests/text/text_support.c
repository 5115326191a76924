/* text_support.c: see the header. */
#include "text_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/bytelevel.h"
#include "text/unicode.h"

/* --- tokenizers --- */

static void add(struct buf *json, const char *text) {
    cr_assert_eq(buf_append_text(json, text, NULL), TEMPERA_OK);
}

/* Quoted, with the escapes that JSON demands. */
static void add_string(struct buf *json, const char *text, size_t length) {
    add(json, "\"");
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\' || c < 0x20)
            cr_assert_eq(buf_printf(json, NULL, "\\u%04x", c), TEMPERA_OK);
        else
            cr_assert_eq(buf_append(json, text + i, 1, NULL), TEMPERA_OK);
    }
    add(json, "\"");
}

/* Replaces ' by ". */
static void add_part(struct buf *json, const char *part) {
    for (const char *c = part ? part : "null"; *c; c++)
        cr_assert_eq(buf_append(json, *c == '\'' ? "\"" : c, 1, NULL), TEMPERA_OK);
}

static void add_piece(struct buf *json, int *id, const char *text, size_t length) {
    if (*id > 0) add(json, ",");
    add_string(json, text, length);
    cr_assert_eq(buf_printf(json, NULL, ":%d", (*id)++), TEMPERA_OK);
}

static void add_alphabet(struct buf *json, int *id, const struct spec *spec) {
    static const char *const named[] = {"<unk>", "<s>", "</s>"};
    for (int b = 0; b < 256 && spec->byte_alphabet; b++) {
        char text[CHAR_MAX_BYTES];
        add_piece(json, id, text, char_put(text, bytelevel_char((unsigned char)b)));
    }
    for (size_t i = 0; i < 3 && spec->byte_tokens; i++) add_piece(json, id, named[i], strlen(named[i]));
    for (unsigned b = 0; b < 256 && spec->byte_tokens; b++) {
        char text[16];
        add_piece(json, id, text, (size_t)snprintf(text, sizeof text, "<0x%02X>", b));
    }
}

/* Calls for each member of "a|b|c". */
static void for_each_member(const char *list, void (*call)(void *arg, const char *text, size_t length), void *arg) {
    while (list && *list) {
        size_t length = strcspn(list, "|");
        call(arg, list, length);
        list += length + (list[length] == '|');
    }
}

struct listing {
    struct buf *json;
    int count;
};

static void list_piece(void *arg, const char *text, size_t length) {
    struct listing *listing = arg;
    add_piece(listing->json, &listing->count, text, length);
}

static void list_joined(void *arg, const char *text, size_t length) {
    struct listing *listing = arg;
    char joined[256];
    size_t n = 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ') joined[n++] = text[i];
    add_piece(listing->json, &listing->count, joined, n);
}

static void list_merge(void *arg, const char *text, size_t length) {
    struct listing *listing = arg;
    if (listing->count++ > 0) add(listing->json, ",");
    add_string(listing->json, text, length);
}

void spec_json(struct buf *json, const struct spec *spec) {
    *json = (struct buf){.max = 1 << 24};
    add_part(json, "{'version':'1.0','truncation':null,'padding':null,'added_tokens':[");
    add_part(json, spec->added ? spec->added : "");
    add_part(json, "],'normalizer':");
    add_part(json, spec->normalizer);
    add_part(json, ",'pre_tokenizer':");
    add_part(json, spec->pre_tokenizer);
    add_part(json, ",'post_processor':");
    add_part(json, spec->post_processor);
    add_part(json, ",'decoder':");
    add_part(json, spec->decoder);
    add_part(json, ",'model':{'type':'BPE',");
    add_part(json, spec->model ? spec->model : "");
    add_part(json, spec->model ? ",'vocab':{" : "'vocab':{");
    struct listing pieces = {.json = json}, merges = {.json = json};
    add_alphabet(json, &pieces.count, spec);
    for_each_member(spec->pieces, list_piece, &pieces);
    for_each_member(spec->merges, list_joined, &pieces);
    add_part(json, "},'merges':[");
    for_each_member(spec->merges, list_merge, &merges);
    add_part(json, "]}}");
}

tempera_status spec_status(const struct spec *spec, tempera_error *err) {
    struct buf json;
    struct tokenizer *t;
    *err = (tempera_error){0};
    spec_json(&json, spec);
    tempera_status status = tokenizer_parse(&t, json.data, json.length, "test/tokenizer.json", err);
    cr_expect_eq(t == NULL, status != TEMPERA_OK);
    tokenizer_free(t);
    buf_free(&json);
    return status;
}

struct tokenizer *spec_open(const struct spec *spec) {
    struct buf json;
    struct tokenizer *t;
    tempera_error err = {0};
    spec_json(&json, spec);
    tempera_status status = tokenizer_parse(&t, json.data, json.length, "test/tokenizer.json", &err);
    cr_assert_eq(status, TEMPERA_OK, "%s", err.message);
    buf_free(&json);
    return t;
}

tempera_status parse_status(const char *json, tempera_error *err) {
    struct buf text = {.max = 1 << 24};
    struct tokenizer *t;
    *err = (tempera_error){0};
    add_part(&text, json);
    tempera_status status = tokenizer_parse(&t, text.data, text.length, "test/tokenizer.json", err);
    tokenizer_free(t);
    buf_free(&text);
    return status;
}

/* --- comparing --- */

static void join_pieces(struct buf *out, const struct tokenizer *t, const struct ids *ids) {
    for (size_t i = 0; i < ids->count; i++) {
        size_t length;
        const char *piece = tokenizer_piece(t, ids->data[i], &length);
        if (i > 0) add(out, "|");
        cr_assert_eq(buf_append(out, piece, length, NULL), TEMPERA_OK);
    }
}

void expect_pieces(const struct tokenizer *t, const char *text, unsigned flags, const char *pieces) {
    struct ids ids = {0};
    struct buf found = {.max = 1 << 24};
    tempera_error err = {0};
    cr_assert_eq(tokenizer_encode(t, text, strlen(text), flags, &ids, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(buf_reserve(&found, 1, NULL), TEMPERA_OK);
    join_pieces(&found, t, &ids);
    cr_expect_str_eq(found.data, pieces, "\"%s\": expected %s, found %s", text, pieces, found.data);
    ids_free(&ids);
    buf_free(&found);
}

struct finding {
    const struct tokenizer *tokenizer;
    int32_t ids[64];
    size_t count;
};

static void find_piece(void *arg, const char *text, size_t length) {
    struct finding *finding = arg;
    finding->ids[finding->count] = tokenizer_find(finding->tokenizer, text, length);
    cr_assert_geq(finding->ids[finding->count++], 0, "no piece %.*s", (int)length, text);
}

void expect_decoded(const struct tokenizer *t, const char *pieces, bool keep_special, const char *text) {
    struct finding finding = {.tokenizer = t};
    struct buf out = {.max = 1 << 24};
    for_each_member(pieces, find_piece, &finding);
    cr_assert_eq(buf_reserve(&out, 1, NULL), TEMPERA_OK);
    cr_assert_eq(tokenizer_decode(t, finding.ids, finding.count, keep_special, &out, NULL), TEMPERA_OK);
    cr_expect_str_eq(out.data, text, "%s: expected \"%s\", found \"%s\"", pieces, text, out.data);
    expect_stream(t, finding.ids, finding.count, keep_special);
    buf_free(&out);
}

/* Whether text[at] is inside a character that starts before it. */
static bool is_inside_character(const struct buf *text, size_t at) {
    for (size_t back = 1; back < CHAR_MAX_BYTES && back <= at; back++)
        if (utf8_sequence((const unsigned char *)text->data + at - back, text->length - at + back) > back) return true;
    return false;
}

void expect_stream(const struct tokenizer *t, const int32_t *ids, size_t count, bool keep_special) {
    struct buf whole = {.max = 1 << 28};
    struct detok detok;
    char *chunk = mem_alloc(tokenizer_detok_bound(t));
    size_t done = 0;
    cr_assert_eq(tokenizer_decode(t, ids, count, keep_special, &whole, NULL), TEMPERA_OK);
    detok_init(&detok, t, keep_special);
    for (size_t i = 0; i <= count; i++) {
        size_t length = i < count ? detok_push(&detok, ids[i], chunk) : detok_flush(&detok, chunk);
        cr_assert_leq(length, tokenizer_detok_bound(t));
        cr_assert_leq(length, whole.length - done);
        if (length > 0) cr_assert_eq(memcmp(chunk, whole.data + done, length), 0);
        done += length;
        cr_expect(i == count || !is_inside_character(&whole, done), "a chunk ends inside a character");
    }
    cr_expect_eq(done, whole.length);
    mem_free(chunk);
    buf_free(&whole);
}

void expect_round_trip(const struct tokenizer *t, const void *bytes, size_t length) {
    struct ids ids = {0};
    struct buf out = {.max = 1 << 28};
    tempera_error err = {0};
    cr_assert_eq(tokenizer_encode(t, bytes, length, 0, &ids, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tokenizer_decode(t, ids.data, ids.count, true, &out, &err), TEMPERA_OK, "%s", err.message);
    cr_expect(out.length == length && (length == 0 || memcmp(out.data, bytes, length) == 0),
              "%zu bytes came back as %zu: \"%.100s\"", length, out.length, (const char *)bytes);
    expect_stream(t, ids.data, ids.count, true);
    ids_free(&ids);
    buf_free(&out);
}
