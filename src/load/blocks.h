/* blocks.h: quantised blocks of GGUF files as numbers.
 *
 * The formulas are ggml's (ggml-common.h, ggml-quants.c); h is a binary16 number, all products and sums are single ones in
 * float, in this order, so that every implementation gives the same bits:
 *   Q8_0  32 elements: h d, 32 int8 q                         x = d q
 *   Q4_0  32 elements: h d, 16 bytes: element i in the low half of byte i, element 16 + i in its high half
 *                                                             x = d (q - 8)
 *   Q4_K  256 elements: h d, h dmin, 8 pairs (scale, min) of 6 bits in 12 bytes, 128 bytes of which each 32 hold two
 *         groups of 32, the first in the low halves            x = (d scale) q - (dmin min)
 *   Q6_K  256 elements: 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 int8 scales, h d
 *                                                             x = (d scale) (q - 32) */
#ifndef LOAD_BLOCKS_H
#define LOAD_BLOCKS_H

#include <stddef.h>

#include "load/safetensors.h"

/* out [elements] from whole blocks of a block type; `blocks` may be unaligned. */
void blocks_decode(float *out, enum dtype dtype, const unsigned char *blocks, size_t elements);

#endif
