/* gguf_arch.h: a family's row for the tensors of a GGUF file. Private to src/model. */
#ifndef MODEL_GGUF_ARCH_H
#define MODEL_GGUF_ARCH_H

#include "load/safetensors.h"
#include "model/arch.h"

/* *row is the family's row of arch.h with the names and layouts that llama.cpp's converter gives its tensors: weights
 * never transposed, norms of Gemma with their 1 added, q, k and v of GPT-NeoX one below the other, and the rows of q and k
 * of llama in an order that turns pairs (i, i + half) into neighbours. */
void gguf_arch(struct arch *row, const struct arch *family, const struct tensor_set *set);

#endif
