/* tokenizer_internal.h: what a tokenizer consists of, for the files that open, run and query it. */
#ifndef TEXT_TOKENIZER_INTERNAL_H
#define TEXT_TOKENIZER_INTERNAL_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/postprocessor.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

struct tokenizer {
    struct vocab vocab;
    struct added_trie plain_tokens;      /* looked for in the text as it is */
    struct normalizer normalizer;        /* then each stretch between them is normalised … */
    struct added_trie normalized_tokens; /* … and these are looked for in it */
    struct pretokenizer pretokenizer;
    struct bpe bpe;
    struct postprocessor post;
    struct decoder decoder;
    int32_t bos, eos; /* -1 when not named */
};

enum { TOKENIZER_FILE_MAX = 256 << 20 };

/* An empty tokenizer to fill; NULL when out of memory. */
struct tokenizer *tokenizer_create(void);
/* After vocabulary, merges, added tokens and all components are set: builds what is derived from them. */
tempera_status tokenizer_finish(struct tokenizer *t, const char *name, tempera_error *err);

/* Fills a tokenizer from the text of a tokenizer.json; all but tokenizer_finish. */
tempera_status tokenizer_read_json(struct tokenizer *t, const char *json, size_t length, const char *name,
                                   tempera_error *err);
/* The model's pieces and merges, from slices of JSON text. */
tempera_status model_read_json(struct tokenizer *t, const char *json, size_t length, const char *name,
                               tempera_error *err);
/* Reads {"piece": id, …} into the vocabulary. */
tempera_status model_read_vocab(struct vocab *vocab, const char *json, size_t length, const char *name,
                                tempera_error *err);
/* Adds the tokens of a JSON list [{"id": 5, "content": "<s>", "special": true, …}, …]. */
tempera_status added_read_json(struct vocab *vocab, const cJSON *list, const char *name, tempera_error *err);
/* Fills a tokenizer from vocab.json|encoder.json and merges.txt|vocab.bpe. */
tempera_status tokenizer_read_gpt2(struct tokenizer *t, const char *folder, tempera_error *err);
/* Fills a tokenizer from the keys of a GGUF file that has tokenizer.ggml.model; all but tokenizer_finish. */
tempera_status tokenizer_read_gguf(struct tokenizer *t, const struct gguf *gguf, tempera_error *err);
/* What tokenizer_config.json and special_tokens_map.json add, where the folder has them. */
tempera_status tokenizer_read_config(struct tokenizer *t, const char *folder, tempera_error *err);

#endif
