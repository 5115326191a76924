/* rope.c: the formulas are those of transformers' modeling_rope_utils: linear (Chen et al., arXiv
 * 2306.15595), yarn (Peng et al., arXiv 2309.00071), llama3 (the Llama 3.1 release) and longrope (Ding et
 * al., arXiv 2402.13753). `dynamic` changes nothing within the model's context, and tempera never leaves it.
 */
#include "model/rope.h"

#include <math.h>
#include <stddef.h>

static const double pi = 3.14159265358979323846;

/* Low frequencies are slowed down by the factor, high ones kept, those between blended by wavelength. */
static double llama3_frequency(double f, const struct rope_config *rope) {
    double wavelength = 2 * pi / f;
    if (wavelength > rope->original_context / rope->low_freq_factor) return f / rope->factor;
    if (wavelength < rope->original_context / rope->high_freq_factor) return f;
    double kept = (rope->original_context / wavelength - rope->low_freq_factor) /
                  (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - kept) * f / rope->factor + kept * f;
}

/* The pair (a real number) that makes `turns` full turns within the original context. */
static double yarn_pair(double turns, const struct rope_config *rope, int32_t rotary) {
    return rotary * log(rope->original_context / (turns * 2 * pi)) / (2 * log(rope->theta));
}

/* As llama3, but blended linearly over the index of the pair. */
static double yarn_frequency(double f, int32_t pair, const struct rope_config *rope, int32_t rotary) {
    double low = yarn_pair(rope->beta_fast, rope, rotary), high = yarn_pair(rope->beta_slow, rope, rotary);
    if (rope->truncate != 0) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, rotary - 1);
    if (low == high) high += 0.001;
    double slowed = fmin(fmax((pair - low) / (high - low), 0), 1);
    return f / rope->factor * slowed + f * (1 - slowed);
}

static double yarn_magnitude(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double attention_factor_of(const struct rope_config *rope) {
    bool yarn = rope->scaling == ROPE_SCALING_YARN;
    if (!yarn && rope->scaling != ROPE_SCALING_LONGROPE) return 1;
    if (rope->attention_factor > 0) return rope->attention_factor;
    if (!yarn) return rope->factor <= 1 ? 1 : sqrt(1 + log(rope->factor) / log(rope->original_context));
    if (rope->mscale > 0 && rope->mscale_all_dim > 0)
        return yarn_magnitude(rope->factor, rope->mscale) / yarn_magnitude(rope->factor, rope->mscale_all_dim);
    return yarn_magnitude(rope->factor, 1);
}

void rope_frequencies(double *inv_freq, double *attention_factor, const struct rope_config *rope, int32_t rotary,
                      int32_t context) {
    const double *factors = context > rope->original_context ? rope->long_factor : rope->short_factor;
    for (int32_t i = 0; i < rotary / 2; i++) {
        double f = pow(rope->theta, -2.0 * i / rotary);
        switch (rope->scaling) {
        case ROPE_SCALING_NONE:
        case ROPE_SCALING_DYNAMIC: break;
        case ROPE_SCALING_LINEAR: f /= rope->factor; break;
        case ROPE_SCALING_LLAMA3: f = llama3_frequency(f, rope); break;
        case ROPE_SCALING_YARN: f = yarn_frequency(f, i, rope, rotary); break;
        case ROPE_SCALING_LONGROPE: f /= factors[i]; break;
        }
        inv_freq[i] = (float)f;
    }
    *attention_factor = attention_factor_of(rope);
}

void rope_table(float *table, const double *inv_freq, double attention_factor, int32_t rotary, int32_t first,
                int32_t count) {
    for (int32_t position = first; position < first + count; position++)
        for (int32_t i = 0; i < rotary / 2; i++) {
            double angle = position * inv_freq[i];
            *table++ = (float)(cos(angle) * attention_factor);
            *table++ = (float)(sin(angle) * attention_factor);
        }
}
