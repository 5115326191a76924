/* cpu_portable.c: the kernels for any processor. */
#define CPU_PORTABLE 1
#define CPU_NAME     "portable"
#define CPU_TABLE    cpu_kernels_portable
#define QUANT_NAME   CPU_NAME
#define QUANT_TABLE  cpu_quant_portable
#include "backend/cpu/cpu_variant.h"
