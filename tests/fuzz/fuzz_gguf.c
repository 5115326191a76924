/* fuzz_gguf.c: a GGUF file from memory. Of one that is accepted every tensor lies inside it and over no other; then its keys
 * become a config and a list of parameters, and its vocabulary a tokenizer, or both are refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "load/blocks.h"
#include "load/gguf_config.h"
#include "model/gguf_arch.h"
#include "model/weights.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition) abort();
}

static volatile char last_byte;

/* Reads the last block, so that one outside is noticed. */
static void read_last(const struct tensor_view *v) {
    const size_t elements = dtype_block_elements(v->dtype), bytes = dtype_block_bytes(v->dtype);
    float out[256];
    if (dtype_is_block(v->dtype)) blocks_decode(out, v->dtype, v->data + v->bytes - bytes, elements);
}

static void check_tensors(const struct tensor_set *set, const uint8_t *data, size_t size) {
    const unsigned char *end = data;
    for (size_t i = 0; i < tensor_set_count(set); i++) { /* in the order of their places */
        const struct tensor_view *v = tensor_set_at(set, i);
        size_t bytes = dtype_block_bytes(v->dtype);
        require(v->rank >= 0 && v->rank <= GGUF_MAX_RANK && v->bytes > 0);
        require(v->data >= end && v->bytes <= (size_t)(data + size - v->data));
        for (int k = 0; k < v->rank; k++) bytes *= v->shape[k];
        require(bytes / dtype_block_elements(v->dtype) == v->bytes);
        require(tensor_set_find(set, v->name) == v);
        read_last(v);
        end = v->data + v->bytes;
    }
}

static void ask_keys(const struct gguf *g) {
    for (size_t i = 0; i < gguf_key_count(g); i++) {
        struct gguf_text key = gguf_key_at(g, i), text = {0};
        struct gguf_array array = {0};
        char name[64];
        int64_t integer;
        double number;
        bool yes;
        if (key.length >= sizeof name || memchr(key.text, 0, key.length)) continue;
        memcpy(name, key.text, key.length);
        name[key.length] = 0;
        require(gguf_has(g, name));
        gguf_integer(g, name, -100, 100, &integer, NULL);
        gguf_number(g, name, -100, 100, &number, NULL);
        gguf_bool(g, name, &yes, NULL);
        gguf_string(g, name, &text, NULL);
        if (gguf_array(g, name, GGUF_STRING, &array, NULL) == TEMPERA_OK)
            while (array.count > 0) text = gguf_array_take(&array);
        if (text.length > 0) last_byte = text.text[text.length - 1]; /* read, so that one outside is noticed */
    }
}

/* As model_open does. */
static void describe(const struct gguf *g) {
    struct model_config *config = mem_array(1, sizeof *config);
    struct hparams *hp = mem_array(1, sizeof *hp);
    struct parameter_list list = {0};
    const struct arch *family;
    struct arch row;
    require(config && hp);
    if (gguf_config(config, g, NULL) == TEMPERA_OK && arch_find(&family, config, "fuzz", NULL) == TEMPERA_OK) {
        gguf_arch(&row, family, gguf_tensors(g));
        if (hparams_resolve(hp, &row, config, "fuzz", NULL) == TEMPERA_OK && hp->L <= 8)
            parameters_list(&list, &row, config, hp, gguf_tensors(g), NULL);
    }
    gguf_vocabulary_config(config, g, NULL);
    parameters_free(&list);
    mem_free(config);
    mem_free(hp);
}

static void tokenize(const struct gguf *g) {
    static const char text[] = "Hello  \xF0\x9F\x98\x80 1234 ab<s>\n\xFF";
    struct tokenizer *t;
    struct ids ids = {0};
    struct buf out = {.max = 1 << 20};
    tempera_error err;
    if (tokenizer_of_gguf(&t, g, &err) != TEMPERA_OK || !t) return;
    if (tokenizer_encode(t, text, sizeof text - 1, ENCODE_SPECIAL, &ids, &err) == TEMPERA_OK) {
        for (size_t i = 0; i < ids.count; i++) require(ids.data[i] >= 0 && ids.data[i] < tokenizer_vocab_size(t));
        tokenizer_decode(t, ids.data, ids.count, true, &out, &err);
    }
    ids_free(&ids);
    buf_free(&out);
    tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mem_stats before = mem_stats_get();
    struct gguf *g;
    tempera_error err;
    tempera_status status = gguf_parse(&g, data, size, "fuzz", &err);
    require((g != NULL) == (status == TEMPERA_OK));
    if (g) {
        check_tensors(gguf_tensors(g), data, size);
        ask_keys(g);
        describe(g);
        tokenize(g);
    }
    gguf_free(g);
    require(mem_stats_get().live == before.live);
    return 0;
}
