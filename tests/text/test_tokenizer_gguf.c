/* test_tokenizer_gguf.c: small vocabularies in GGUF files: what their keys mean, what is refused. Real ones are in
 * test_tokenizer_data.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf_write.h"
#include "load/gguf.h"
#include "text/bytelevel.h"
#include "text/unicode.h"
#include "text_support.h"

#define MARK "\xE2\x96\x81"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, UNUSED = 5, BYTE = 6, MOST = 700 };

/* A vocabulary in the making. */
struct vocabulary {
    const char *token[MOST];
    float score[MOST];
    int32_t type[MOST];
    size_t count;
    char *text[MOST]; /* those that were allocated */
    size_t texts;
};

static void add(struct vocabulary *v, const char *token, int32_t type, float score) {
    v->token[v->count] = token;
    v->type[v->count] = type;
    v->score[v->count++] = score;
}

static void add_copy(struct vocabulary *v, const char *text, size_t length, int32_t type, float score) {
    char *copy = v->text[v->texts++] = mem_strndup(text, length);
    add(v, copy, type, score);
}

static void forget(struct vocabulary *v) {
    for (size_t i = 0; i < v->texts; i++) mem_free(v->text[i]);
    *v = (struct vocabulary){0};
}

static void write_lists(struct gguf_writer *w, const struct vocabulary *v) {
    write_strings(w, "tokenizer.ggml.tokens", v->token, v->count);
    write_array(w, "tokenizer.ggml.scores", W_F32, v->score, v->count);
    write_array(w, "tokenizer.ggml.token_type", W_I32, v->type, v->count);
}

static tempera_status open_status(struct gguf_writer *w, struct tokenizer **t, tempera_error *err) {
    struct buf file = {0};
    struct gguf *g;
    write_finish(w, &file);
    cr_assert_eq(gguf_parse(&g, file.data, file.length, "m", err), TEMPERA_OK, "%s", err->message);
    tempera_status status = tokenizer_of_gguf(t, g, err);
    gguf_free(g); /* the tokenizer must not need it */
    buf_free(&file);
    return status;
}

static struct tokenizer *open_writer(struct gguf_writer *w) {
    struct tokenizer *t;
    tempera_error err = {0};
    cr_assert_eq(open_status(w, &t, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_not_null(t);
    return t;
}

static void refuse(struct gguf_writer *w, tempera_status status, const char *text) {
    struct tokenizer *t;
    tempera_error err = {0};
    size_t live = mem_stats_get().live;
    write_u32(w, "end", 0);
    cr_expect_eq(open_status(w, &t, &err), status, "expected \"%s\", found \"%s\"", text, err.message);
    cr_expect(strstr(err.message, text), "expected \"%s\", found \"%s\"", text, err.message);
    cr_expect_null(t);
    cr_expect_leq(mem_stats_get().live, live);
    tokenizer_free(t);
}

/* ---- SentencePiece ----------------------------------------------------------------------------------------------- */

/* "<unk> <s> </s>", the bytes, then pieces. */
static void add_base(struct vocabulary *v) {
    add(v, "<unk>", UNKNOWN, 0);
    add(v, "<s>", CONTROL, 0);
    add(v, "</s>", CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        add_copy(v, text, (size_t)snprintf(text, sizeof text, "<0x%02X>", b), BYTE, 0);
    }
}

static void write_pieces(struct gguf_writer *w) {
    static const struct {
        const char *piece;
        float score;
    } pieces[] = {{MARK, -20}, {"a", -21}, {"b", -22},      {"c", -23},      {"ab", -3},
                  {"bc", -2},  {"aa", -5}, {MARK "a", -6},  {MARK "ab", -7}, {"abc", -8},
                  {"cc", -5},  {"é", -24}, {MARK MARK, -4}, {"aaa", -9},     {"ca", -5}};
    struct vocabulary v = {0};
    add_base(&v);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) add(&v, pieces[i].piece, NORMAL, pieces[i].score);
    add(&v, "<user>", USER, 0);
    write_string(w, "tokenizer.ggml.model", "llama");
    write_lists(w, &v);
    forget(&v);
}

Test(gguf, sentencepiece) {
    struct gguf_writer w = {0};
    write_pieces(&w);
    struct tokenizer *t = open_writer(&w);
    expect_pieces(t, "abc", 0, MARK "a|bc");  /* bc before ab: the better score */
    expect_pieces(t, "caa", 0, MARK "|ca|a"); /* equal scores: the leftmost */
    expect_pieces(t, "ccaa", 0, MARK "|cc|aa");
    expect_pieces(t, "aaaa", 0, MARK "|aa|aa"); /* ▁a is worse than aa; pairs from the left */
    expect_pieces(t, "ab", 0, MARK "ab");
    expect_pieces(t, " b", 0, MARK MARK "|b");
    expect_pieces(t, "\xC3\xA9\xC3\xBC", 0, MARK "|é|<0xC3>|<0xBC>");
    expect_pieces(t, "b", ENCODE_SPECIAL, "<s>|" MARK "|b");
    expect_pieces(t, "b<user>b", 0, MARK "|b|<user>|" MARK "|b");
    expect_pieces(t, "b</s>", 0, MARK "|b|</s>");
    expect_pieces(t, "b<user>", ENCODE_PLAIN_TEXT, MARK "|b|<user>"); /* not special */
    expect_decoded(t, MARK "ab|" MARK "|b", false, "ab b");
    expect_decoded(t, "<s>|" MARK "|b", false, "b");
    expect_round_trip(t, "ab \xC3\xBC b\n", 8);
    cr_expect(tokenizer_bos(t) == 1 && tokenizer_eos(t) == 2 && tokenizer_is_special(t, 0));
    cr_expect(!tokenizer_is_special(t, tokenizer_find(t, "<user>", 6)));
    tokenizer_free(t);
}

Test(gguf, sentencepiece_settings) {
    struct gguf_writer w = {0};
    write_pieces(&w);
    write_bool(&w, "tokenizer.ggml.add_space_prefix", false);
    write_bool(&w, "tokenizer.ggml.add_bos_token", false);
    write_bool(&w, "tokenizer.ggml.add_eos_token", true);
    write_u32(&w, "tokenizer.ggml.eos_token_id", 1);
    write_u32(&w, "tokenizer.ggml.bos_token_id", UINT32_MAX);
    struct tokenizer *t = open_writer(&w);
    expect_pieces(t, "ab", ENCODE_SPECIAL, "ab|<s>");
    expect_decoded(t, MARK "ab", false, " ab");
    cr_expect(tokenizer_bos(t) == 1 && tokenizer_eos(t) == 1);
    tokenizer_free(t);
}

/* Phi 3's added tokens take the white space after them. */
Test(gguf, phi3) {
    for (int phi = 0; phi < 2; phi++) {
        struct gguf_writer w = {0};
        write_string(&w, "general.name", phi ? "Phi-3 mini" : "other");
        write_pieces(&w);
        struct tokenizer *t = open_writer(&w);
        expect_pieces(t, "<user>  b", 0, phi ? "<user>|" MARK "|b" : "<user>|" MARK MARK "|" MARK "|b");
        tokenizer_free(t);
    }
}

/* ---- byte-level -------------------------------------------------------------------------------------------------- */

static void write_byte_level(struct gguf_writer *w, const char *pre, const char *const *merges, size_t count) {
    struct vocabulary v = {0};
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        add_copy(&v, text, char_put(text, bytelevel_char((unsigned char)b)), NORMAL, 0);
    }
    for (size_t i = 0; i < count; i++) {
        char joined[64];
        const char *space = strchr(merges[i], ' ');
        int length = snprintf(joined, sizeof joined, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
        add_copy(&v, joined, (size_t)length, NORMAL, 0);
    }
    add(&v, "<end>", CONTROL, 0);
    add(&v, "  ", USER, 0);
    write_string(w, "tokenizer.ggml.model", "gpt2");
    if (pre) write_string(w, "tokenizer.ggml.pre", pre);
    write_lists(w, &v);
    write_strings(w, "tokenizer.ggml.merges", merges, count);
    write_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)(256 + count));
    forget(&v);
}

static const char *const merges[] = {"1 2", "12 3", "a b", "\xC4\xA0 a", "\xC4\xA0 1", "3 4", "' S"};
enum { MERGES = sizeof merges / sizeof *merges };

Test(gguf, byte_level) {
    struct gguf_writer w = {0};
    write_byte_level(&w, "gpt-2", merges, MERGES);
    struct tokenizer *t = open_writer(&w);
    expect_pieces(t, "ab 1234", ENCODE_SPECIAL, "ab|\xC4\xA0|123|4");
    expect_pieces(t, "a  b<end>", 0, "a|  |b|<end>");
    expect_round_trip(t, "ab \xFF\xC3\xBC\n", 7);
    tokenizer_free(t);
}

/* What the names cut differently. */
Test(gguf, names_of_pre_tokenizers) {
    static const struct {
        const char *pre, *text, *pieces;
    } cases[] = {
        {"gpt-2", "1234'S", "123|4|'|S"},
        {"starcoder", "1234'S", "1|2|3|4|'|S"},
        {"llama-bpe", "1234'S", "<end>|123|4|'S"},
        {"dbrx", "1234'S", "123|4|'S"},
        {"qwen2", "1234'S", "1|2|3|4|'S"},
        {"falcon", "1234'S", "123|4|'|S"},
        {"default", " 1234'S", "\xC4\xA0|123|4|'|S"},
        {"deepseek-v3", "1234'S", "123|4|'S"},
        {"qwen2", "e\xCC\x81", "\xC3\x83|\xC2\xA9"},
        {"stablelm2", "e\xCC\x81", "e|\xC3\x8C|\xC4\xA3"},
        {"gpt-4o", "aB", "a|B"},
        {"tekken", "1234", "<end>|1|2|3|4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gguf_writer w = {0};
        write_byte_level(&w, cases[i].pre, merges, MERGES);
        struct tokenizer *t = open_writer(&w);
        expect_pieces(t, cases[i].text, ENCODE_SPECIAL, cases[i].pieces);
        tokenizer_free(t);
    }
}

/* Without the key only where the architecture leaves no choice. */
Test(gguf, no_name) {
    struct gguf_writer w = {0};
    write_string(&w, "general.architecture", "gptneox");
    write_byte_level(&w, NULL, merges, MERGES);
    struct tokenizer *t = open_writer(&w);
    expect_pieces(t, "1234'S", 0, "123|4|'|S");
    tokenizer_free(t);
    write_string(&w, "general.architecture", "llama");
    write_byte_level(&w, NULL, merges, MERGES);
    refuse(&w, TEMPERA_UNSUPPORTED, "tokenizer.ggml.pre is missing");
}

/* ---- refused ----------------------------------------------------------------------------------------------------- */

Test(gguf, no_vocabulary) {
    static const char *const none[] = {NULL, "none", "no_vocab"};
    for (size_t i = 0; i < 3; i++) {
        struct gguf_writer w = {0};
        struct tokenizer *t;
        tempera_error err = {0};
        if (none[i]) write_string(&w, "tokenizer.ggml.model", none[i]);
        cr_expect_eq(open_status(&w, &t, &err), TEMPERA_OK, "%s", err.message);
        cr_expect_null(t);
    }
}

static void write_words(struct gguf_writer *w, const char *model, const char *first, const char *second, float score,
                        int32_t type) {
    const char *const words[] = {"<unk>", first, second};
    const float scores[] = {0, score, -1};
    const int32_t types[] = {UNKNOWN, NORMAL, type};
    write_string(w, "tokenizer.ggml.model", model);
    write_strings(w, "tokenizer.ggml.tokens", words, 3);
    write_array(w, "tokenizer.ggml.scores", W_F32, scores, 3);
    write_array(w, "tokenizer.ggml.token_type", W_I32, types, 3);
}

Test(gguf, refused) {
    struct gguf_writer w = {0};
    static const char *const odd[] = {"bert", "t5", "rwkv"};
    static const char *const one[] = {"a"};
    static const float scores[] = {0, 0};
    char expected[100], longest[300];
    for (size_t i = 0; i < 3; i++) {
        write_words(&w, odd[i], "a", "b", 0, NORMAL);
        snprintf(expected, sizeof expected, "tokenizer.ggml.model: \"%s\" is not supported (gpt2 and llama are)",
                 odd[i]);
        refuse(&w, TEMPERA_UNSUPPORTED, expected);
    }
    write_words(&w, "llama", "a", "a", 0, NORMAL);
    refuse(&w, TEMPERA_FORMAT, "the piece \"a\" appears twice");
    write_words(&w, "llama", "a", "a", 0, USER);
    refuse(&w, TEMPERA_FORMAT, "the token \"a\" appears twice");
    write_words(&w, "llama", "a", "b", 0, 9);
    refuse(&w, TEMPERA_FORMAT, "token 2 has type 9");
    write_words(&w, "llama", "a", "b", NAN, NORMAL);
    refuse(&w, TEMPERA_FORMAT, "tokenizer.ggml.scores: token 1 has nan");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    write_words(&w, "llama", longest, "b", 0, NORMAL);
    refuse(&w, TEMPERA_UNSUPPORTED, "token 1 has 299 bytes, at most 256 are read");
    write_words(&w, "llama", "a", "b", 0, NORMAL);
    write_u32(&w, "tokenizer.ggml.bos_token_id", 3);
    refuse(&w, TEMPERA_FORMAT, "tokenizer.ggml.bos_token_id: 3 is not below the number of tokens (3)");
    write_words(&w, "gpt2", "a", "b", 0, NORMAL);
    write_string(&w, "tokenizer.ggml.pre", "gpt-2");
    refuse(&w, TEMPERA_FORMAT, "tokenizer.ggml.merges is missing");
    write_words(&w, "gpt2", "a", "b", 0, NORMAL);
    write_string(&w, "tokenizer.ggml.pre", "gpt-2");
    write_strings(&w, "tokenizer.ggml.merges", one, 1);
    refuse(&w, TEMPERA_FORMAT, "\"a\": expected two pieces with a space between");
    write_words(&w, "gpt2", "a", "b", 0, NORMAL);
    write_string(&w, "tokenizer.ggml.pre", "kimi-k2");
    refuse(&w, TEMPERA_UNSUPPORTED, "tokenizer.ggml.pre: \"kimi-k2\" is not supported");
    write_string(&w, "tokenizer.ggml.model", "llama");
    refuse(&w, TEMPERA_FORMAT, "tokenizer.ggml.tokens is missing");
    write_string(&w, "tokenizer.ggml.model", "llama");
    write_strings(&w, "tokenizer.ggml.tokens", one, 1);
    refuse(&w, TEMPERA_FORMAT, "tokenizer.ggml.scores: expected 1, one for each token, found 0");
    write_string(&w, "tokenizer.ggml.model", "llama");
    write_strings(&w, "tokenizer.ggml.tokens", one, 1);
    write_array(&w, "tokenizer.ggml.scores", W_F32, scores, 1);
    write_array(&w, "tokenizer.ggml.token_type", W_I32, scores, 2);
    refuse(&w, TEMPERA_FORMAT, "tokenizer.ggml.token_type: expected 1, one for each token, found 2");
    write_byte_level(&w, "gpt-2", merges, MERGES);
    write_bool(&w, "tokenizer.ggml.add_eos_token", true);
    refuse(&w, TEMPERA_FORMAT, "tokenizer.ggml.add_eos_token: the file does not say which token that is");
}

Test(gguf, every_failing_allocation) {
    struct gguf_writer w = {0};
    struct buf file = {0};
    struct gguf *g;
    write_pieces(&w);
    write_finish(&w, &file);
    cr_assert_eq(gguf_parse(&g, file.data, file.length, "m", NULL), TEMPERA_OK);
    struct tokenizer *t;
    cr_assert_eq(tokenizer_of_gguf(&t, g, NULL), TEMPERA_OK);
    tokenizer_free(t);
    size_t live = mem_stats_get().live;
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    long n = 0;
    for (; n < 3000 && status != TEMPERA_OK; n++) {
        tempera_error err = {0};
        mem_fail_after(n);
        status = tokenizer_of_gguf(&t, g, &err);
        mem_fail_after(-1);
        cr_expect(status == TEMPERA_OK || status == TEMPERA_OUT_OF_MEMORY, "%ld: %s", n, err.message);
        tokenizer_free(t);
        cr_expect_eq(mem_stats_get().live, live, "allocation %ld", n);
    }
    cr_expect(n > 20 && status == TEMPERA_OK);
    gguf_free(g);
    buf_free(&file);
}
