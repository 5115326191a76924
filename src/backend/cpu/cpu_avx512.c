/* cpu_avx512.c: the kernels for processors with avx512f, avx512bw, avx512dq, avx512vl, avx2, fma, f16c. The whole file is compiled for them by a target pragma, so
 * nothing here may run before cpu_kernels_find has looked at the processor. */
#if defined(__x86_64__)
#include <immintrin.h> /* before the pragma: the headers declare each intrinsic's own target */
#include <math.h>
#include <string.h>

#include "backend/backend.h"
#include "base/num.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))),              \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

#define CPU_AVX512  1
#define CPU_NAME    "avx512"
#define CPU_TABLE   cpu_kernels_avx512
#define QUANT_NAME  CPU_NAME
#define QUANT_TABLE cpu_quant_avx512
#include "backend/cpu/cpu_variant.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cpu_avx512_is_empty_here;
#endif
