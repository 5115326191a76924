// planted_bugs.h: small kernels with one mistake each, and who finds it. The tests of the emulation and of its race
// checker run the whole table.
#ifndef PLANTED_BUGS_H
#define PLANTED_BUGS_H

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

enum { BUG_WORDS = 1024 };

struct bug_args {
    const int32_t *in;   // [BUG_WORDS] 1, 2, 3, …
    int32_t *out;        // [BUG_WORDS] not written
    uint32_t *zeros;     // [BUG_WORDS]
    const int32_t *host; // [1] on the host
};

// Who finds a mistake.
enum {
    BY_DEFAULT = 1, // the plain build in the order warpfwd: the launch fails (text), or values are wrong (no text)
    BY_ORDERS = 2,  // the same in one of the other orders
    BY_ASAN = 4,    // the address and undefined-behaviour sanitizers end the process
    BY_RACE = 8,    // the race build reports
};

struct PlantedBug {
    const char *name;
    cudaError_t (*launch)(const bug_args &args, cudaStream_t stream);
    int outputs; // of args.out that a correct kernel would write
    int32_t (*wanted)(int i);
    unsigned found;
    const char *text; // of the failed launch
};

extern const PlantedBug planted_bugs[]; // ended by one without a name
// Correct kernels that look like mistakes; `found` is 0.
extern const PlantedBug planted_correct[];

#endif
