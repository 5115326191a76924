/* blocks.c: decoding quantised blocks. */
#include "load/blocks.h"

#include <stdint.h>
#include <string.h>

#include "base/num.h"

static float half_at(const unsigned char *p) {
    return f16_to_float((uint16_t)(p[0] | p[1] << 8));
}

static void decode_q8_0(float *out, const unsigned char *block) {
    const float d = half_at(block);
    for (int i = 0; i < 32; i++) out[i] = d * (float)(int8_t)block[2 + i];
}

static void decode_q4_0(float *out, const unsigned char *block) {
    const float d = half_at(block);
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)((block[2 + i] & 15) - 8);
        out[16 + i] = d * (float)((block[2 + i] >> 4) - 8);
    }
}

/* The g-th of eight pairs: 0 … 3 in the low 6 bits of bytes g and g + 4, whose high 2 bits are those of 4 … 7. */
static void q4_k_pair(const unsigned char *packed, int g, int *scale, int *min) {
    if (g < 4) {
        *scale = packed[g] & 63;
        *min = packed[g + 4] & 63;
        return;
    }
    *scale = (packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4;
    *min = packed[g + 4] >> 4 | (packed[g] >> 6) << 4;
}

static void decode_q4_k(float *out, const unsigned char *block) {
    const float d = half_at(block), dmin = half_at(block + 2);
    for (int g = 0; g < 8; g++) {
        const unsigned char *q = block + 16 + g / 2 * 32;
        int scale, min;
        q4_k_pair(block + 4, g, &scale, &min);
        const float step = d * (float)scale, least = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            const float product = step * (float)(g % 2 ? q[i] >> 4 : q[i] & 15);
            out[32 * g + i] = product - least;
        }
    }
}

/* Two halves of 128 elements; in each, four groups of 32 share the bytes of the high bits. */
static void decode_q6_k(float *out, const unsigned char *block) {
    const float d = half_at(block + 208);
    for (int g = 0; g < 8; g++) {
        const int half = g / 4, part = g % 4;
        const unsigned char *low = block + 64 * half + part % 2 * 32, *high = block + 128 + 32 * half;
        for (int i = 0; i < 32; i++) {
            const int bits = (part < 2 ? low[i] & 15 : low[i] >> 4) | (high[i] >> 2 * part & 3) << 4;
            const float step = d * (float)(int8_t)block[192 + 2 * g + i / 16];
            out[32 * g + i] = step * (float)(bits - 32);
        }
    }
}

void blocks_decode(float *out, enum dtype dtype, const unsigned char *blocks, size_t elements) {
    const size_t step = dtype_block_elements(dtype), bytes = dtype_block_bytes(dtype);
    for (size_t i = 0; i < elements; i += step, out += step, blocks += bytes) {
        if (dtype == DTYPE_Q8_0) decode_q8_0(out, blocks);
        if (dtype == DTYPE_Q4_0) decode_q4_0(out, blocks);
        if (dtype == DTYPE_Q4_K) decode_q4_k(out, blocks);
        if (dtype == DTYPE_Q6_K) decode_q6_k(out, blocks);
    }
}
