/* gguf_convert.h: a folder's model as a GGUF file, as llama.cpp's converter would write it: names, transpositions, the order
 * of rows and the added ones are worked out here, apart from the reader. */
#ifndef TESTS_MODEL_GGUF_CONVERT_H
#define TESTS_MODEL_GGUF_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "gguf_write.h"
#include "load/safetensors.h"

/* What to write instead; zero-initialise. */
struct conversion {
    uint32_t type;                       /* of matrices whose rows are whole blocks of it (W_T_…); others are F32 */
    bool decoded;                        /* F32 of the numbers that blocks of that type decode to */
    const char *architecture;            /* general.architecture and prefix of the keys, NULL: the family's */
    const char *drop, *rename;           /* a tensor of the GGUF file that is left out, or gets this name */
    void (*more)(struct gguf_writer *w); /* further keys and tensors, the last ones */
};

/* file.gguf in a new folder; ends the test when it cannot. The path lies in the folder's memory: free with
 * gguf_conversion_remove. */
struct gguf_file {
    char *folder, *path;
};
struct gguf_file gguf_convert(const char *folder, const struct conversion *conversion);
void gguf_file_remove(struct gguf_file *file);

/* blocks [n / block] of the values [n], for the four block types, by simple rounding. */
void encode_blocks(unsigned char *blocks, uint32_t type, const float *values, size_t n);
enum dtype dtype_of(uint32_t type);

#endif
