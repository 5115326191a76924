/* test_tokenizer_data.c: real tokenizers against the results of other programs (see shared/data/README.md), and round
 * trips of real and hostile texts. Skipped where the data folder is absent. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "load/json.h"
#include "support.h"
#include "text_support.h"

/* --- files --- */

static char *data_path(const char *name) {
    return path_join(test_data(), name);
}

static struct tokenizer *open_data(const char *name) {
    char *path = data_path(name);
    struct tokenizer *t;
    tempera_error err = {0};
    cr_assert_eq(tokenizer_open(&t, path, &err), TEMPERA_OK, "%s", err.message);
    mem_free(path);
    return t;
}

static char *read_data(const char *name, size_t *length) {
    char *path = data_path(name), *text;
    tempera_error err = {0};
    cr_assert_eq(file_read(path, 1 << 26, &text, length, &err), TEMPERA_OK, "%s", err.message);
    mem_free(path);
    return text;
}

static cJSON *parse_data(const char *name) {
    size_t length;
    char *text = read_data(name, &length);
    cJSON *root = cJSON_ParseWithLength(text, length);
    cr_assert_not_null(root, "%s", name);
    mem_free(text);
    return root;
}

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = json_get(object, key);
    cr_assert(cJSON_IsString(item), "%s", key);
    return item->valuestring;
}

/* --- comparing --- */

static struct ids list_ids(const cJSON *list) {
    struct ids ids = {0};
    const cJSON *item;
    ids.capacity = (size_t)cJSON_GetArraySize(list);
    ids.data = mem_array(ids.capacity, sizeof *ids.data);
    cJSON_ArrayForEach(item, list) ids.data[ids.count++] = (int32_t)item->valuedouble;
    return ids;
}

static void expect_ids(const struct tokenizer *t, const char *text, size_t length, unsigned flags,
                       const struct ids *expected, const char *what) {
    struct ids ids = {0};
    cr_assert_eq(tokenizer_encode(t, text, length, flags, &ids, NULL), TEMPERA_OK);
    bool same = ids.count == expected->count &&
                (ids.count == 0 || memcmp(ids.data, expected->data, ids.count * sizeof *ids.data) == 0);
    cr_expect(same, "%s: \"%.200s\"", what, text);
    ids_free(&ids);
}

static void expect_list(const struct tokenizer *t, const char *text, const cJSON *list, const char *what) {
    struct ids expected = list_ids(list);
    expect_ids(t, text, strlen(text), ENCODE_SPECIAL, &expected, what);
    ids_free(&expected);
}

static void expect_text(const struct tokenizer *t, const cJSON *list, bool keep_special, const char *text,
                        const char *what) {
    struct ids ids = list_ids(list);
    struct buf out = {.max = 1 << 24};
    cr_assert_eq(buf_reserve(&out, 1, NULL), TEMPERA_OK);
    cr_assert_eq(tokenizer_decode(t, ids.data, ids.count, keep_special, &out, NULL), TEMPERA_OK);
    cr_expect_str_eq(out.data, text, "%s: expected \"%s\", found \"%s\"", what, text, out.data);
    expect_stream(t, ids.data, ids.count, keep_special);
    ids_free(&ids);
    buf_free(&out);
}

/* --- swift-transformers --- */

#define SWIFT "tokenizer-vectors/swift-transformers/"

static const char *find_input(const cJSON *inputs, const char *id) {
    const cJSON *item;
    cJSON_ArrayForEach(item, inputs) if (strcmp(text_of(item, "id"), id) == 0) return text_of(item, "text");
    cr_assert(false, "no input %s", id);
    return NULL;
}

static void check_multilingual(const char *folder, const char *baseline) {
    struct tokenizer *t = open_data(folder);
    cJSON *inputs = parse_data(SWIFT "MultilingualConformance/inputs.json"), *root = parse_data(baseline);
    const cJSON *entry, *entries = json_get(root, "entries");
    int count = 0;
    cJSON_ArrayForEach(entry, entries) {
        const cJSON *ids = json_get(entry, "input_ids");
        const char *id = text_of(entry, "id");
        expect_list(t, find_input(inputs, id), ids, id);
        expect_text(t, ids, true, text_of(entry, "decoded_with_special"), id);
        expect_text(t, ids, false, text_of(entry, "decoded_skip_special"), id);
        count++;
    }
    cr_expect_eq(count, 83);
    cJSON_Delete(inputs);
    cJSON_Delete(root);
    tokenizer_free(t);
}

Test(data, multilingual) {
    TEST_NEEDS_DATA("multilingual tokenizer vectors");
    check_multilingual("hf-tokenizers/gpt2", SWIFT "MultilingualConformance/baselines/gpt2_multilingual.json");
    check_multilingual("gpt2-bpe", SWIFT "MultilingualConformance/baselines/gpt2_multilingual.json");
    check_multilingual("hf-tokenizers/llama-1", SWIFT "MultilingualConformance/baselines/tinyllama_multilingual.json");
    check_multilingual("hf-tokenizers/llama-2", SWIFT "MultilingualConformance/baselines/tinyllama_multilingual.json");
    check_multilingual("hf-tokenizers/roberta-base",
                       SWIFT "MultilingualConformance/baselines/roberta_base_multilingual.json");
}

static void check_baseline(const char *folder, const char *baseline) {
    struct tokenizer *t = open_data(folder);
    cJSON *root = parse_data(baseline);
    const cJSON *entry, *entries = json_get(root, "entries");
    cJSON_ArrayForEach(entry, entries) {
        const cJSON *ids = json_get(entry, "input_ids");
        expect_text(t, ids, true, text_of(entry, "decoded_with_special"), entry->string);
        expect_text(t, ids, false, text_of(entry, "decoded_skip_special"), entry->string);
        expect_list(t, text_of(entry, "decoded_skip_special"), ids, entry->string);
    }
    cJSON_Delete(root);
    tokenizer_free(t);
}

Test(data, baselines) {
    TEST_NEEDS_DATA("tokenizer baselines");
    check_baseline("hf-tokenizers/gpt2", SWIFT "MultilingualConformance/baselines/openai-community__gpt2.json");
    check_baseline("hf-tokenizers/llama-1",
                   SWIFT "MultilingualConformance/baselines/TinyLlama__TinyLlama-1.1B-Chat-v1.0.json");
}

static void check_sample(const char *folder, const char *name) {
    struct tokenizer *t = open_data(folder);
    cJSON *root = parse_data(name);
    expect_list(t, text_of(root, "text"), json_get(root, "token_ids"), name);
    expect_text(t, json_get(root, "token_ids"), true, text_of(root, "decoded_text"), name);
    cJSON_Delete(root);
    tokenizer_free(t);
}

Test(data, encoded_samples) {
    TEST_NEEDS_DATA("encoded samples");
    check_sample("hf-tokenizers/gpt2", SWIFT "gpt2_encoded_tokens.json");
    check_sample("hf-tokenizers/falcon", SWIFT "falcon_encoded.json");
    check_sample("hf-tokenizers/llama-1", SWIFT "llama_encoded.json");
}

Test(data, edge_cases) {
    static const char *const models[][2] = {{"distilgpt2", "hf-tokenizers/gpt2"},
                                            {"coreml-projects/Llama-2-7b-chat-coreml", "hf-tokenizers/llama-1"},
                                            {"tiiuae/falcon-7b", "hf-tokenizers/falcon"},
                                            {"openai/whisper-large-v2", "hf-tokenizers/whisper-tiny"}};
    TEST_NEEDS_DATA("tokenizer_tests.json");
    cJSON *root = parse_data(SWIFT "tokenizer_tests.json");
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct tokenizer *t = open_data(models[i][1]);
        const cJSON *entry, *entries = json_get(root, models[i][0]);
        cr_expect_geq(cJSON_GetArraySize(entries), 18);
        cJSON_ArrayForEach(entry, entries)
            expect_list(t, text_of(entry, "input"), json_get(json_get(entry, "encoded"), "input_ids"), models[i][0]);
        tokenizer_free(t);
    }
    cJSON_Delete(root);
}

/* --- tiktoken --- */

static struct ids parse_ids(const char *text, const char *end) {
    struct ids ids = {.capacity = (size_t)(end - text) / 2 + 1};
    ids.data = mem_array(ids.capacity, sizeof *ids.data);
    while (text < end) {
        char *after;
        long id = strtol(text, &after, 10);
        if (after == text || after > end) {
            text++;
            continue;
        }
        ids.data[ids.count++] = (int32_t)id;
        text = after;
    }
    return ids;
}

/* "EncodingName: r50k_base\nSample: TEXT\nEncoded: [1, 2]\n\n", again and again. */
Test(data, tiktoken) {
    TEST_NEEDS_DATA("tiktoken plans");
    static const char name[] = "EncodingName: ", sample[] = "\nSample: ", encoded[] = "\nEncoded: [";
    size_t length;
    int count = 0;
    char *plans = read_data("tokenizer-vectors/tiktoken/TestPlans.txt", &length);
    struct tokenizer *t = open_data("gpt2-bpe");
    for (char *at = plans; (at = strstr(at, name));) {
        bool ours = strncmp(at + sizeof name - 1, "r50k_base\n", 10) == 0;
        char *text = strstr(at, sample) + sizeof sample - 1;
        char *list = strstr(text - 1, encoded);
        struct ids expected = parse_ids(list + sizeof encoded - 1, strchr(list, ']'));
        size_t bytes = list > text ? (size_t)(list - text) : 0;
        if (ours) expect_ids(t, text, bytes, 0, &expected, "tiktoken");
        count += ours;
        ids_free(&expected);
        at = list;
    }
    cr_expect_eq(count, 64);
    tokenizer_free(t);
    mem_free(plans);
}

/* --- llama.cpp --- */

/* NAME.inp: texts between lines that say __ggml_vocab_test__; NAME.out: a line of ids for each. */
static int check_llamacpp(struct tokenizer *t, const char *vocab, unsigned flags, bool comes_back) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char inp[256], out[256];
    size_t length;
    int count = 0;
    snprintf(inp, sizeof inp, "llamacpp-vocab/%s.gguf.inp", vocab);
    snprintf(out, sizeof out, "llamacpp-vocab/%s.gguf.out", vocab);
    char *texts = read_data(inp, &length), *lists = read_data(out, &length), *list = lists;
    for (char *text = texts; text;) {
        char *end = strstr(text, separator), *line = strchr(list, '\n');
        size_t bytes = end ? (size_t)(end - text) : strlen(text);
        struct ids expected = parse_ids(list, line ? line : list + strlen(list));
        expect_ids(t, text, bytes, flags, &expected, vocab);
        if (comes_back) expect_round_trip(t, text, bytes);
        ids_free(&expected);
        count++;
        text = end ? end + sizeof separator - 1 : NULL;
        list = line ? line + 1 : list + strlen(list);
    }
    mem_free(texts);
    mem_free(lists);
    tokenizer_free(t);
    return count;
}

Test(data, llamacpp) {
    static const char *const cases[][2] = {{"gpt2", "gpt-2"},       {"llama-1", "llama-spm"},  {"llama-2", "llama-spm"},
                                           {"phi-3-mini", "phi-3"}, {"phi-3-vision", "phi-3"}, {"falcon", "falcon"}};
    TEST_NEEDS_DATA("llama.cpp vocabularies");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[64], vocab[64];
        snprintf(folder, sizeof folder, "hf-tokenizers/%s", cases[i][0]);
        snprintf(vocab, sizeof vocab, "ggml-vocab-%s", cases[i][1]);
        cr_expect_eq(check_llamacpp(open_data(folder), vocab, 0, true), 47); /* 46 and an empty one */
        snprintf(vocab, sizeof vocab, "newer-2026/ggml-vocab-%s", cases[i][1]);
        cr_expect_eq(check_llamacpp(open_data(folder), vocab, 0, true), 47);
    }
    check_llamacpp(open_data("hf-tokenizers/phi-2"), "history/ggml-vocab-phi-2", 0, true);
    check_llamacpp(open_data("hf-tokenizers/roberta-base"), "ggml-vocab-roberta-bpe", 0, true);
    check_llamacpp(open_data("gpt2-bpe"), "ggml-vocab-gpt-2", 0, true);
}

/* --- vocabularies in GGUF files --- */

static struct tokenizer *open_gguf(const char *vocab) {
    char name[256];
    struct tokenizer *t;
    tempera_error err = {0};
    snprintf(name, sizeof name, "llamacpp-vocab/%s.gguf", vocab);
    char *path = data_path(name);
    cr_assert_eq(tokenizer_open_gguf(&t, path, &err), TEMPERA_OK, "%s", err.message);
    mem_free(path);
    return t;
}

/* All that have ids beside them; llama.cpp gives those for text without special tokens. */
Test(data, gguf_vocabularies) {
    static const char *const cases[] = {"gpt-2", "llama-spm",    "phi-3",  "falcon",   "deepseek-coder",
                                        "mpt",   "deepseek-llm", "refact", "starcoder"};
    TEST_NEEDS_DATA("llama.cpp vocabularies");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char vocab[64], newer[64];
        snprintf(vocab, sizeof vocab, "ggml-vocab-%s", cases[i]);
        snprintf(newer, sizeof newer, "newer-2026/ggml-vocab-%s", cases[i]);
        cr_expect_eq(check_llamacpp(open_gguf(vocab), vocab, ENCODE_PLAIN_TEXT, true), 47);
        cr_expect_eq(check_llamacpp(open_gguf(vocab), newer, ENCODE_PLAIN_TEXT, true), 47);
    }
}

static void expect_same(const struct tokenizer *a, const struct tokenizer *b, const char *text, size_t length,
                        const char *what) {
    struct ids ids = {0};
    cr_assert_eq(tokenizer_encode(a, text, length, ENCODE_PLAIN_TEXT, &ids, NULL), TEMPERA_OK);
    expect_ids(b, text, length, ENCODE_PLAIN_TEXT, &ids, what);
    ids_free(&ids);
}

/* Scores or merges from GGUF against the model's own tokenizer.json, over real and hostile texts. */
Test(data, gguf_agrees_with_tokenizer_json) {
    static const char *const pairs[][2] = {
        {"gpt2", "gpt-2"}, {"llama-1", "llama-spm"}, {"phi-3-mini", "phi-3"}, {"falcon", "falcon"}};
    static const char *const corpora[] = {"corpora/tinyshakespeare/input.txt", "corpora/wikitext-2/test.txt"};
    TEST_NEEDS_DATA("llama.cpp vocabularies");
    cJSON *naughty = parse_data("naughty-strings/blns.json");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char folder[64], vocab[64];
        snprintf(folder, sizeof folder, "hf-tokenizers/%s", pairs[i][0]);
        snprintf(vocab, sizeof vocab, "ggml-vocab-%s", pairs[i][1]);
        struct tokenizer *json = open_data(folder), *gguf = open_gguf(vocab);
        const cJSON *item;
        cJSON_ArrayForEach(item, naughty) expect_same(json, gguf, item->valuestring, strlen(item->valuestring), vocab);
        for (size_t k = 0; k < sizeof corpora / sizeof *corpora; k++) {
            size_t length;
            char *text = read_data(corpora[k], &length);
            expect_same(json, gguf, text, length, vocab);
            mem_free(text);
        }
        tokenizer_free(json);
        tokenizer_free(gguf);
    }
    cJSON_Delete(naughty);
}

/* --- what comes back --- */

static const char *const lossless[] = {"gpt2-bpe",
                                       "hf-tokenizers/gpt2",
                                       "hf-tokenizers/phi-2",
                                       "hf-tokenizers/phi-3-mini",
                                       "hf-tokenizers/llama-1",
                                       "hf-tokenizers/roberta-base",
                                       "hf-tokenizers/whisper-tiny"};
enum { LOSSLESS = sizeof lossless / sizeof *lossless };

Test(data, naughty_strings_come_back) {
    TEST_NEEDS_DATA("naughty strings");
    cJSON *root = parse_data("naughty-strings/blns.json");
    for (size_t i = 0; i < LOSSLESS; i++) {
        struct tokenizer *t = open_data(lossless[i]);
        const cJSON *item;
        cJSON_ArrayForEach(item, root) expect_round_trip(t, item->valuestring, strlen(item->valuestring));
        tokenizer_free(t);
    }
    cJSON_Delete(root);
}

Test(data, books_come_back) {
    TEST_NEEDS_DATA("tinyshakespeare");
    size_t length;
    char *text = read_data("corpora/tinyshakespeare/input.txt", &length);
    for (size_t i = 0; i < LOSSLESS; i++) {
        struct tokenizer *t = open_data(lossless[i]);
        expect_round_trip(t, text, length);
        tokenizer_free(t);
    }
    mem_free(text);
}

Test(data, random_bytes_come_back) {
    TEST_NEEDS_DATA("round trips of random bytes");
    enum { LENGTH = 1 << 16 };
    unsigned char *bytes = mem_alloc(LENGTH);
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < LENGTH; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        bytes[i] = (unsigned char)(state >> 32);
    }
    for (size_t i = 0; i < LOSSLESS; i++) {
        struct tokenizer *t = open_data(lossless[i]);
        expect_round_trip(t, bytes, LENGTH);
        for (size_t at = 0; at < LENGTH; at += 97) expect_round_trip(t, bytes + at, at % 31);
        tokenizer_free(t);
    }
    mem_free(bytes);
}

/* --- the rest --- */

Test(data, the_two_layouts_agree) {
    TEST_NEEDS_DATA("encoder.json and vocab.bpe");
    struct tokenizer *a = open_data("hf-tokenizers/gpt2"), *b = open_data("gpt2-bpe");
    cr_assert_eq(tokenizer_vocab_size(a), tokenizer_vocab_size(b));
    for (int32_t id = 0; id < tokenizer_vocab_size(a); id++) {
        cr_assert_str_eq(tokenizer_piece(a, id, NULL), tokenizer_piece(b, id, NULL));
        cr_assert_eq(tokenizer_is_special(a, id), tokenizer_is_special(b, id));
    }
    size_t length;
    char *text = read_data("corpora/wikitext-2/test.txt", &length);
    struct ids ids = {0};
    cr_assert_eq(tokenizer_encode(a, text, length, 0, &ids, NULL), TEMPERA_OK);
    expect_ids(b, text, length, 0, &ids, "wikitext-2");
    ids_free(&ids);
    mem_free(text);
    tokenizer_free(a);
    tokenizer_free(b);
}

Test(data, other_kinds_are_refused_by_name) {
    TEST_NEEDS_DATA("Unigram tokenizers");
    static const char *const folders[] = {"hf-tokenizers/t5-small", "hf-tokenizers/marian-nmt"};
    for (size_t i = 0; i < 2; i++) {
        char *path = data_path(folders[i]);
        struct tokenizer *t;
        tempera_error err = {0};
        cr_expect_eq(tokenizer_open(&t, path, &err), TEMPERA_UNSUPPORTED);
        cr_expect(strstr(err.message, "tokenizer.json: model type \"Unigram\" is not supported (BPE is)"), "%s",
                  err.message);
        mem_free(path);
    }
}

Test(data, names_of_bos_and_eos) {
    TEST_NEEDS_DATA("tokenizer_config.json");
    static const struct {
        const char *folder;
        int32_t bos, eos;
    } cases[] = {{"hf-tokenizers/llama-2", 1, 2},        {"hf-tokenizers/phi-2", 50256, 50256},
                 {"hf-tokenizers/phi-3-mini", 1, 32000}, {"hf-tokenizers/clip", 49406, 49407},
                 {"hf-tokenizers/roberta-base", -1, -1}, {"gpt2-bpe", 50256, 50256}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tokenizer *t = open_data(cases[i].folder);
        cr_expect_eq(tokenizer_bos(t), cases[i].bos, "%s", cases[i].folder);
        cr_expect_eq(tokenizer_eos(t), cases[i].eos, "%s", cases[i].folder);
        tokenizer_free(t);
    }
}
