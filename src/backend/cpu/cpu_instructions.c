/* cpu_instructions.c: what this processor is and can run. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_quant.h"

#if defined(__x86_64__)
/* F16C apart: older compilers do not know its name in __builtin_cpu_supports. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
static bool runs_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}
static bool runs_avx512(void) {
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
static bool runs_avx512bf16(void) {
    return runs_avx512() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}
/* Bf16 dot products do twice the work of fp32 multiply-adds on AMD's processors (measured on Zen 4). On Intel's without
 * AMX they issue at half the rate (measured on Sapphire Rapids): the same work, of inputs that were rounded. A fixed rule,
 * since which set runs decides the bits of a sample. */
static bool prefers_avx512bf16(void) {
    return runs_avx512bf16() && __builtin_cpu_is("amd");
}
#endif
static bool runs_portable(void) {
    return true;
}

/* Best first. */
static const struct {
    const struct cpu_kernels *kernels;
    bool (*runs)(void);    /* when asked for by name */
    bool (*prefers)(void); /* when the best is asked for */
} SETS[] = {
#if defined(__x86_64__)
    {&cpu_kernels_avx512bf16, runs_avx512bf16, prefers_avx512bf16},
    {&cpu_kernels_avx512, runs_avx512, runs_avx512},
    {&cpu_kernels_avx2, runs_avx2, runs_avx2},
#endif
    {&cpu_kernels_portable, runs_portable, runs_portable},
};

const struct cpu_kernels *cpu_kernels_find(const char *name) {
    for (size_t i = 0; i < sizeof SETS / sizeof SETS[0]; i++)
        if (name ? strcmp(name, SETS[i].kernels->name) == 0 && SETS[i].runs() : SETS[i].prefers())
            return SETS[i].kernels;
    return NULL;
}

const struct cpu_quant_kernels *cpu_quant_find(const struct cpu_kernels *kernels) {
#if defined(__x86_64__)
    if (kernels == &cpu_kernels_avx512 && __builtin_cpu_supports("avx512vnni")) return &cpu_quant_vnni;
#endif
    return kernels->quant;
}

void cpu_device_name(char *name, size_t capacity) {
    snprintf(name, capacity, "%s", "unknown processor");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (!value || strncmp(line, "model name", 10) != 0) continue;
        do value++;
        while (isspace((unsigned char)*value));
        value[strcspn(value, "\n")] = 0;
        if (*value) snprintf(name, capacity, "%s", value);
        break;
    }
    fclose(file);
}
