// planted_races.h: kernels with one mistake each, and correct ones that look suspicious, for the test of the race checker.
#ifndef PLANTED_RACES_H
#define PLANTED_RACES_H

#include <cuda_runtime_api.h>

#include <cstdint>

struct planted_args {
    int32_t *in;       // device, 4096 words, written
    int32_t *out;      // device, 4096 words, written
    int32_t *fresh;    // device, 4096 words, never written
    uint32_t *counter; // device, zero
    int32_t *host;     // 4096 words of host memory
};

struct planted_case {
    const char *name; // the line with the mistake ends with "// planted: name"
    cudaError_t (*launch)(const planted_args &args, cudaStream_t stream);
    const char *report; // what the report says; NULL: a correct kernel
};

extern const planted_case planted_cases[];
extern const int planted_case_count;
extern const char *const planted_source; // the file

#endif
