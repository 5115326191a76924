/* cuda_library.h: cuBLASLt for products of many rows.
 *
 * In the default mode an algorithm is used only where it gave the same bits as our own kernels: for every shape of weight
 * and class of T, the heuristic's candidates without split-K run on random numbers of widely spread exponents, and the
 * fastest of those that match is kept, when it is faster than ours. In the fast mode bits are not compared. The verdicts are
 * remembered in a small file, by build, toolkit, driver, library and GPU, so that they are found once. Without the
 * library, or where nothing matches, our kernels do the work: a verdict changes speed, never bits.
 *
 * F32 is never the library's: ours are three TF32 products, which it cannot match. */
#ifndef BACKEND_CUDA_LIBRARY_H
#define BACKEND_CUDA_LIBRARY_H

#include "backend/cuda/cuda.h"

struct cuda_library;

/* Finds the verdicts for the shapes of a model; NULL in *library when there is nothing to use. The probe works in the KV
 * pages, which hold nothing yet, and leaves them zero. */
tempera_status cuda_library_create(struct cuda_library **library, struct cuda_backend *b,
                                   const struct backend_limits *limits, tempera_error *err);
void cuda_library_free(struct cuda_library *library);
/* Whether T rows times a weight [rows, K] are the library's (library may be NULL). */
bool cuda_library_serves(const struct cuda_library *library, enum element element, int32_t rows, int32_t K, int32_t T);
/* sums [T, stride] (+)= in [T, stride(K)] · weight [rows, K]ᵀ for a product it serves; sums of several segments (contract G)
 * cannot accumulate. *done = false: the library refused, and sums hold nothing of use. */
tempera_status cuda_library_multiply(struct cuda_library *library, float *sums, int32_t stride, bool accumulate,
                                     const struct linear_args *args, bool *done, tempera_error *err);
/* Whether the sums are those of contract G's segments, added one by one. */
bool cuda_library_segmented(const struct cuda_library *library, int32_t rows, int32_t K);

#endif
