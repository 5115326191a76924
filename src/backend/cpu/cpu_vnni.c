/* cpu_vnni.c: quantised linear layers for processors with avx512vnni beside what cpu_avx512.c asks for. The whole file is
 * compiled for them by a target pragma, so nothing here may run before cpu_quant_find has looked at the processor. */
#if defined(__x86_64__)
#include <immintrin.h> /* before the pragma: the headers declare each intrinsic's own target */
#include <math.h>
#include <string.h>

#include "backend/backend.h"
#include "base/num.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))),   \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
#endif

#define CPU_AVX512  1
#define CPU_VNNI    1
#define QUANT_NAME  "avx512vnni"
#define QUANT_TABLE cpu_quant_vnni
#include "backend/cpu/cpu_quant_kernel.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cpu_vnni_is_empty_here;
#endif
