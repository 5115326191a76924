// copy_pages.cu: copies of KV pages, when a sequence forks inside one.
//
//     page to[i] = page from[i], K and V, in every layer      kv [L][2][P] pages
//
// A block copies 16 KiB of one page of one layer's K or V, each thread four times 16 bytes that are all in flight. No shared
// memory.
#include "kernels/device.cuh"
#include "kernels/kernels.h"

namespace {

enum { THREADS = 256, WORDS = 4 }; // words of 16 bytes that a thread copies

__global__ void __launch_bounds__(THREADS) copy_pages(copy_pages_args a) {
    dev::pdl_begin();
    const int64_t words = (int64_t)(a.page_bytes / 16), parts = (words + THREADS * WORDS - 1) / (THREADS * WORDS);
    const int64_t part = (int64_t)blockIdx.x % parts, plane = (int64_t)blockIdx.x / parts % (2 * a.L);
    const int64_t copy = (int64_t)blockIdx.x / parts / (2 * a.L);
    unsigned char *pages = static_cast<unsigned char *>(a.kv) + (size_t)(plane * a.P) * a.page_bytes;
    const unsigned char *from = pages + (size_t)a.from[copy] * a.page_bytes;
    unsigned char *to = pages + (size_t)a.to[copy] * a.page_bytes;
    const int64_t first = part * THREADS * WORDS + threadIdx.x;
    dev::word4 word[WORDS];
    for (int i = 0; i < WORDS; i++)
        if (first + i * THREADS < words) word[i] = dev::ld128(from + (first + i * THREADS) * 16);
    for (int i = 0; i < WORDS; i++)
        if (first + i * THREADS < words) dev::st128(to + (first + i * THREADS) * 16, word[i]);
}

} // namespace

extern "C" cudaError_t copy_pages_launch(const copy_pages_args *args, cudaStream_t stream) {
    const size_t parts = (args->page_bytes / 16 + THREADS * WORDS - 1) / (THREADS * WORDS);
    const size_t blocks = parts * 2 * (size_t)args->L * (size_t)args->count;
    if (blocks > INT32_MAX) return cudaErrorInvalidValue;
    return LAUNCH(copy_pages, dim3((uint32_t)blocks), dim3(THREADS), 0, stream, *args);
}
