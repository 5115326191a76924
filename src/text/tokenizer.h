/* tokenizer.h: text to token ids and back, as a Hugging Face tokenizer.json (or vocab.json + merges.txt), or the vocabulary
 * in a GGUF file, describes it.
 *
 * Runs byte-level BPE (GPT-2, Llama 3, Qwen …) and SentencePiece-style BPE with byte fallback (Llama 1/2, Mistral,
 * Gemma, Phi 3): normalizer → added tokens → pre-tokenizer → BPE → post-processor, and the decoder chain backwards.
 * Anything else in the file (WordPiece, Unigram, an unknown normalizer …) is refused by name. A tokenizer is immutable
 * once open: any number of threads may use it. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct tokenizer;
struct gguf;

/* Opens folder/tokenizer.json (with tokenizer_config.json and special_tokens_map.json for what they alone know: BOS and
 * EOS, further added tokens, and add_bos_token/add_eos_token where the class is Llama's or Gemma's), or else
 * vocab.json|encoder.json + merges.txt|vocab.bpe (with added_tokens.json; GPT-2's expression). TEMPERA_IO when the folder
 * has none of them, TEMPERA_UNSUPPORTED for what is refused by name, TEMPERA_FORMAT for a file that contradicts itself. */
tempera_status tokenizer_open(struct tokenizer **tokenizer, const char *folder, tempera_error *err);
/* tokenizer.json from memory; for tests and fuzzing. */
tempera_status tokenizer_parse(struct tokenizer **tokenizer, const char *json, size_t length, const char *name,
                               tempera_error *err);
/* The vocabulary inside a GGUF file, by tokenizer.ggml.model: "gpt2" (byte-level BPE with merges, cut as tokenizer.ggml.pre
 * says) or "llama" (SentencePiece's BPE with scores); others, and names of `pre` that are not known, are refused by name.
 * *tokenizer is NULL, and that is OK, when the file has no such key or says "none". */
tempera_status tokenizer_open_gguf(struct tokenizer **tokenizer, const char *path, tempera_error *err);
/* The same of a file that is open. */
tempera_status tokenizer_of_gguf(struct tokenizer **tokenizer, const struct gguf *gguf, tempera_error *err);
void tokenizer_free(struct tokenizer *tokenizer);

/* One more than the largest id. */
int32_t tokenizer_vocab_size(const struct tokenizer *tokenizer);

/* Growable list of ids. Zero-initialise; free with ids_free. */
struct ids {
    int32_t *data;
    size_t count, capacity;
};
void ids_free(struct ids *ids);

enum {
    ENCODE_SPECIAL = 1,    /* add what the post-processor adds (BOS …) */
    ENCODE_PLAIN_TEXT = 2, /* do not recognise special added tokens in the text (untrusted text) */
};
/* Appends the ids of text[0, length). Bytes that are not UTF-8 are kept where the model has byte tokens (byte-level BPE,
 * byte fallback), else they become the unknown token, or nothing where the model has none, as Hugging Face does with
 * characters. Appends nothing when it fails: out of memory, or TEMPERA_TOO_LONG for a text over 1 GiB and for a hostile
 * file, whose normalizer grows text beyond 64 times or whose expression takes more than some 64 steps per byte. */
tempera_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags,
                                struct ids *ids, tempera_error *err);

/* The vocabulary's spelling of an id ("Ġthe", "▁the", "<0x0A>"), borrowed, for display; NULL for an unknown id. */
const char *tokenizer_piece(const struct tokenizer *tokenizer, int32_t id, size_t *length);
/* The id of that exact spelling, or -1. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *piece, size_t length);
bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id);
/* Ids named by tokenizer_config.json / special_tokens_map.json; -1 when not named. */
int32_t tokenizer_bos(const struct tokenizer *tokenizer);
int32_t tokenizer_eos(const struct tokenizer *tokenizer);

/* Appends the bytes that `ids` stand for. Decoding what was encoded gives the input bytes back, wherever the tokenizer
 * kept them. Special tokens are left out unless keep_special. Ids out of range are skipped. */
tempera_status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool keep_special,
                                struct buf *out, tempera_error *err);

/* Streaming: the concatenation of all detok_push outputs and the detok_flush output equals tokenizer_decode of all ids,
 * and every output but the last ends at a character boundary. Plain data, no memory of its own; copying it forks the
 * stream. */
struct detok {
    const struct tokenizer *tokenizer; /* borrowed */
    uint8_t pending[4];                /* an unfinished UTF-8 character */
    uint8_t pending_count;
    bool keep_special;
    bool started;     /* an id was decoded: some decoders treat the first differently */
    uint8_t stripped; /* leading spaces taken off so far */
};
void detok_init(struct detok *detok, const struct tokenizer *tokenizer, bool keep_special);
/* Writes at most tokenizer_detok_bound() bytes to out and returns how many. */
size_t detok_push(struct detok *detok, int32_t id, char *out);
size_t detok_flush(struct detok *detok, char *out);
size_t tokenizer_detok_bound(const struct tokenizer *tokenizer);

#endif
