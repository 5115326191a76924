/* cpu_probe.h: the processor's ceilings: a streaming read, and independent multiply-adds in registers (those of bytes are
 * in cpu_quant_kernel.h). */
#ifndef CPU_PROBE_H
#define CPU_PROBE_H

#include "backend/cpu/cpu_simd.h"

enum { PROBE_CHAINS = 12, PROBE_FLOPS = PROBE_CHAINS * VEC * 2, PROBE_PAIR_FLOPS = 2 * PROBE_FLOPS };

/* Eight streams inside each block of 512 floats, as a linear layer reads its panels. */
static double probe_read(const float *p, size_t count) {
    enum { STREAMS = 8, BLOCK = 512 };
    vec acc[STREAMS];
    CPU_UNROLL for (int s = 0; s < STREAMS; s++) acc[s] = vec_zero();
    for (size_t i = 0; i + BLOCK <= count; i += BLOCK) {
        for (int j = 0; j < BLOCK; j += STREAMS * VEC) {
            CPU_UNROLL for (int s = 0; s < STREAMS; s++) {
                __builtin_prefetch(p + i + j + s * VEC + 1024);
                acc[s] = vec_add(acc[s], vec_load(p + i + j + s * VEC));
            }
        }
    }
    double sum = 0;
    CPU_UNROLL for (int s = 0; s < STREAMS; s++) sum += (double)vec_sum(acc[s]);
    return sum;
}

static double probe_multiply_add(int64_t rounds) {
    vec acc[PROBE_CHAINS];
    CPU_UNROLL for (int c = 0; c < PROBE_CHAINS; c++) acc[c] = vec_set1((float)c);
    const vec a = vec_set1(0.999999f), b = vec_set1(1e-6f);
    for (int64_t i = 0; i < rounds; i++)
        CPU_UNROLL for (int c = 0; c < PROBE_CHAINS; c++) acc[c] = vec_fma(acc[c], a, b);
    double sum = 0;
    CPU_UNROLL for (int c = 0; c < PROBE_CHAINS; c++) sum += (double)vec_sum(acc[c]);
    return sum;
}

#if defined(CPU_DOTS)
static double probe_pairs(int64_t rounds) {
    vec acc[PROBE_CHAINS];
    CPU_UNROLL for (int c = 0; c < PROBE_CHAINS; c++) acc[c] = vec_set1((float)c);
    const vec a = vec_pair_bf16(vec_set1(1), vec_set1(1)), b = vec_pair_bf16(vec_set1(1e-6f), vec_set1(1e-6f));
    for (int64_t i = 0; i < rounds; i++)
        CPU_UNROLL for (int c = 0; c < PROBE_CHAINS; c++) acc[c] = vec_dot_bf16(a, b, acc[c]);
    double sum = 0;
    CPU_UNROLL for (int c = 0; c < PROBE_CHAINS; c++) sum += (double)vec_sum(acc[c]);
    return sum;
}
#endif

#endif
