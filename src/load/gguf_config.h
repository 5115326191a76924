/* gguf_config.h: what a GGUF file says of its model, in the spelling of config.h. */
#ifndef LOAD_GGUF_CONFIG_H
#define LOAD_GGUF_CONFIG_H

#include "load/config.h"
#include "load/gguf.h"

/* Fills in the config of the family that general.architecture names: llama, gpt2, gptneox, qwen2, qwen3, phi2, phi3, gemma,
 * gemma2 and gemma3; others are refused by name. What the file leaves out gets the value that llama.cpp takes for it,
 * where that differs from what transformers takes for a missing field of config.json. Factors of rotary frequencies, which
 * GGUF keeps as tensors (rope_freqs, rope_factors_long, rope_factors_short), become longrope's. */
tempera_status gguf_config(struct model_config *config, const struct gguf *gguf, tempera_error *err);

/* Of a file without tensors: only the number of tokens, the context and the special ids, and the architecture whatever it
 * is. */
tempera_status gguf_vocabulary_config(struct model_config *config, const struct gguf *gguf, tempera_error *err);

#endif
