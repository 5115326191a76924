/* scatter.h: the words that random weights are picked by. Freestanding: the CPU and the CUDA kernels compile this very
 * text. */
#ifndef BASE_SCATTER_H
#define BASE_SCATTER_H

#include <stddef.h>
#include <stdint.h>

#include "base/philox.h"

/* Random weights are picks from a table of values; five picks to a word, low bits first. */
enum { PICK_BITS = 12, PICK_TABLE = 1 << PICK_BITS, PICKS = 64 / PICK_BITS };

/* The finaliser of splitmix64 (Steele et al., OOPSLA 2014): a bijection that scatters consecutive numbers. */
PHILOX_INLINE uint64_t scatter(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Word w of a stream: holds picks PICKS * w and the four that follow. */
PHILOX_INLINE uint64_t pick_word(uint64_t stream, uint64_t w) {
    return scatter(stream + w * 0x9E3779B97F4A7C15u);
}

/* Pick i of a stream, an index into its table. */
PHILOX_INLINE uint32_t pick(uint64_t stream, uint64_t i) {
    return (uint32_t)(pick_word(stream, i / PICKS) >> (i % PICKS * PICK_BITS)) % PICK_TABLE;
}

#endif
