/* cpu_avx512bf16.c: as cpu_avx512.c, for processors with avx512bf16 and avx512vnni too: BF16 weights are multiplied by
 * inputs rounded to bf16, two at a time. */
#if defined(__x86_64__)
#include <immintrin.h> /* before the pragma: the headers declare each intrinsic's own target */
#include <math.h>
#include <string.h>

#include "backend/backend.h"
#include "base/num.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                                          \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c"))),                 \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")
#endif

#define CPU_AVX512  1
#define CPU_DOTS    1
#define CPU_NAME    "avx512bf16"
#define CPU_TABLE   cpu_kernels_avx512bf16
#define QUANT_TABLE cpu_quant_vnni /* cpu_vnni.c's */
#include "backend/cpu/cpu_variant.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cpu_avx512bf16_is_empty_here;
#endif
