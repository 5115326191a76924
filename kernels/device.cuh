// device.cuh: the only header that kernels include. With nvcc it is CUDA; with a C++ compiler the very same kernels run on
// the CPU, on the emulation whose header simt_device.h that build finds on its include path. Everything that is not plain
// C++ is a macro or a dev:: function of this page: no kernel writes <<<>>>, __shared__, PTX or __CUDA_ARCH__ itself.
//
// Rules for kernels (the emulation and its race checker enforce most of them)
//   - A kernel takes one POD struct by value, is in an anonymous namespace, and starts with dev::pdl_begin().
//   - Shared memory through SHARED and SHARED_DYN. blockDim.x is a multiple of 32, blockDim.y = z = 1.
//   - Warp functions take full warps (the mask is always all lanes) at one place in the code; no thread returns before the
//     last barrier or warp function of its block, except a whole warp when no block barrier follows.
//   - Data passes between lanes through shared memory only with dev::warp_sync() in between; a shuffle orders no memory.
//   - 16-byte accesses through dev::ld128 and friends; no type punning but by them, dev::bits and memcpy.
//   - Sums of floats have one fixed order. Only integers are added by atomics.
//   - fp32 products that must not contract are written dev::mul, add, sub, fma, div (round to nearest even).
#pragma once

#include <stdint.h>

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// A static and a dynamic array in shared memory. SHARED(float, sums, [32]); SHARED_DYN(float, tile);
#define SHARED(type, name, ...) __shared__ type name __VA_ARGS__
#define SHARED_DYN(type, name)                                                                                         \
    extern __shared__ __align__(16) unsigned char dev_shared_dynamic[];                                                \
    type *name = reinterpret_cast<type *>(dev_shared_dynamic)

// Launches kernel(args) and is a cudaError_t. More than 48 KiB of dynamic shared memory is asked for here.
//     LAUNCH((norm<float, 256>), grid, block, shared_bytes, stream, args)
#define LAUNCH(kernel, grid, block, shared_bytes, stream, args)                                                        \
    dev::launch(kernel, grid, block, shared_bytes, stream, args)

#define DEV __device__ __forceinline__

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define DEV_SM90 1
#else
#define DEV_SM90 0
#endif

namespace dev {

// Host: whether kernels may start while their predecessor drains (programmatic dependent launch; set once by the backend
// for compute capability 9.0 and later).
inline bool overlap_launches = false;

template <typename Args>
cudaError_t launch(void (*kernel)(Args), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   const Args &args) {
    if (shared_bytes > 48 * 1024) {
        cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
        if (error != cudaSuccess) return error;
    }
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = overlap_launches ? 1 : 0;
    return cudaLaunchKernelEx(&config, kernel, args);
}

// First statement of every kernel: lets the next kernel's blocks in, then waits until everything before this kernel is
// done and visible. Only constants (weights) may be read before pdl_wait().
DEV void pdl_release() {
#if DEV_SM90
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
DEV void pdl_wait() {
#if DEV_SM90
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
DEV void pdl_begin() {
    pdl_release();
    pdl_wait();
}

// ---- barriers, warps ----

DEV void block_sync() {
    __syncthreads();
}
DEV void warp_sync() {
    __syncwarp();
}
// One of several barriers of a block: `threads` (a multiple of 32) meet at barrier id 1 … 15.
DEV void named_sync(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

template <typename T> DEV T shfl(T value, int lane) {
    return __shfl_sync(0xFFFFFFFFu, value, lane);
}
template <typename T> DEV T shfl_xor(T value, int mask) {
    return __shfl_xor_sync(0xFFFFFFFFu, value, mask);
}
template <typename T> DEV T shfl_up(T value, int delta) {
    return __shfl_up_sync(0xFFFFFFFFu, value, delta);
}
template <typename T> DEV T shfl_down(T value, int delta) {
    return __shfl_down_sync(0xFFFFFFFFu, value, delta);
}
DEV uint32_t ballot(bool predicate) {
    return __ballot_sync(0xFFFFFFFFu, predicate);
}
DEV uint32_t match_any(uint32_t value) {
    return __match_any_sync(0xFFFFFFFFu, value);
}

// Butterflies: every lane gets the result; the order of additions is lane ^ 16, 8, 4, 2, 1.
template <typename T> DEV T warp_sum(T value) {
    for (int mask = 16; mask > 0; mask >>= 1) value += shfl_xor(value, mask);
    return value;
}
template <typename T> DEV T warp_max(T value) {
    for (int mask = 16; mask > 0; mask >>= 1) {
        T other = shfl_xor(value, mask);
        value = other > value ? other : value;
    }
    return value;
}

// ---- arithmetic ----

DEV float mul(float a, float b) {
    return __fmul_rn(a, b);
}
DEV float add(float a, float b) {
    return __fadd_rn(a, b);
}
DEV float sub(float a, float b) {
    return __fsub_rn(a, b);
}
DEV float div(float a, float b) {
    return __fdiv_rn(a, b);
}
DEV float fma(float a, float b, float c) {
    return __fmaf_rn(a, b, c);
}
DEV float sqrt(float a) {
    return __fsqrt_rn(a);
}
// 2^x by the special function unit, within 2 ulp; exp2(-inf) = 0.
DEV float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEV uint32_t bits(float x) {
    return __float_as_uint(x);
}
DEV float from_bits(uint32_t u) {
    return __uint_as_float(u);
}
DEV int popc(uint32_t x) {
    return __popc(x);
}
DEV int clz(uint32_t x) {
    return __clz(x);
}
DEV int ffs(uint32_t x) {
    return __ffs(x);
}
DEV uint64_t mulhi64(uint64_t a, uint64_t b) {
    return __umul64hi(a, b);
}

// ---- 16-bit floats ----

typedef __half f16;
typedef __nv_bfloat16 bf16;
DEV float to_float(float x) {
    return x;
}
DEV float to_float(f16 x) {
    return __half2float(x);
}
DEV float to_float(bf16 x) {
    return __bfloat162float(x);
}
template <typename T> DEV T from_float(float x); // round to nearest even
template <> DEV float from_float<float>(float x) {
    return x;
}
template <> DEV f16 from_float<f16>(float x) {
    return __float2half_rn(x);
}
template <> DEV bf16 from_float<bf16>(float x) {
    return __float2bfloat16_rn(x);
}

// Two 16-bit floats as the 32-bit register that the tensor cores take: `low` in the lower half.
template <typename T> DEV uint32_t pack2(float low, float high);
template <> DEV uint32_t pack2<f16>(float low, float high) {
    __half2 h = __floats2half2_rn(low, high);
    uint32_t u;
    memcpy(&u, &h, sizeof u);
    return u;
}
template <> DEV uint32_t pack2<bf16>(float low, float high) {
    __nv_bfloat162 h = __floats2bfloat162_rn(low, high);
    uint32_t u;
    memcpy(&u, &h, sizeof u);
    return u;
}

// ---- memory ----

struct alignas(16) word4 {
    uint32_t w[4];
};
struct alignas(8) word2 {
    uint32_t w[2];
};
// 16 and 8 bytes at an address of that alignment, global or shared.
DEV word4 ld128(const void *p) {
    uint4 v = *static_cast<const uint4 *>(p);
    return {{v.x, v.y, v.z, v.w}};
}
DEV word2 ld64(const void *p) {
    uint2 v = *static_cast<const uint2 *>(p);
    return {{v.x, v.y}};
}
DEV void st128(void *p, word4 v) {
    *static_cast<uint4 *>(p) = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]);
}
DEV void st64(void *p, word2 v) {
    *static_cast<uint2 *>(p) = make_uint2(v.w[0], v.w[1]);
}
// Global memory that is read once (weights, old keys and values): kept out of L1, first to leave L2.
DEV word4 ld128_stream(const void *p) {
    word4 v;
    asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
                 : "l"(p));
    return v;
}
DEV word2 ld64_stream(const void *p) {
    word2 v;
    asm volatile("ld.global.L1::no_allocate.L2::128B.v2.u32 {%0, %1}, [%2];" : "=r"(v.w[0]), "=r"(v.w[1]) : "l"(p));
    return v;
}
// Asks for the cache line at p, which is wanted soon.
DEV void prefetch(const void *p) {
    asm volatile("prefetch.global.L1 [%0];" ::"l"(p));
}

// Copies 16 bytes from global to shared memory in the background: commit closes a group, wait<N> waits until at most N
// groups of this thread are open; a barrier must follow before other threads read. valid = false stores zeros.
DEV void copy_async16(void *shared, const void *global, bool valid = true) {
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes) : "memory");
}
DEV void copy_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N> DEV void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

DEV uint32_t atomic_add(uint32_t *p, uint32_t value) {
    return atomicAdd(p, value);
}
DEV int32_t atomic_add(int32_t *p, int32_t value) {
    return atomicAdd(p, value);
}
DEV uint64_t atomic_add(uint64_t *p, uint64_t value) {
    return atomicAdd(reinterpret_cast<unsigned long long *>(p), (unsigned long long)value);
}
DEV uint32_t atomic_max(uint32_t *p, uint32_t value) {
    return atomicMax(p, value);
}
DEV uint64_t atomic_max(uint64_t *p, uint64_t value) {
    return atomicMax(reinterpret_cast<unsigned long long *>(p), (unsigned long long)value);
}
DEV uint32_t atomic_or(uint32_t *p, uint32_t value) {
    return atomicOr(p, value);
}
DEV uint32_t atomic_cas(uint32_t *p, uint32_t expected, uint32_t value) {
    return atomicCAS(p, expected, value);
}
// Orders this thread's writes before what it does next, for every thread of the device.
DEV void fence() {
    __threadfence();
}
// "I am the last of `count` blocks": called by every thread of a block after its writes; true in all threads of the block
// that comes last, which then sees the others' writes. Leaves *counter at 0. Holds two block barriers.
DEV bool last_block(uint32_t *counter, uint32_t count) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(counter, 1u) == count - 1;
        if (last) *counter = 0;
    }
    __syncthreads();
    if (last) __threadfence();
    return last;
}

// ---- tensor cores ----
//
// One warp computes d [16, 8] += a [16, K] · b [K, 8]. With lane = 4 g + t:
//   K = 16, 16-bit elements   a.0 rows g    k 2t, 2t+1     b.0 k 2t, 2t+1       column g
//                             a.1 rows g+8  k 2t, 2t+1     b.1 k 2t+8, 2t+9     column g
//                             a.2 rows g    k 2t+8, 2t+9
//                             a.3 rows g+8  k 2t+8, 2t+9
//   K = 8, tf32 (fp32 bits)   a.0 row g k t; a.1 row g+8 k t; a.2 row g k t+4; a.3 row g+8 k t+4; b.0 k t; b.1 k t+4
//   d                         d.0, d.1 row g columns 2t, 2t+1; d.2, d.3 row g+8 columns 2t, 2t+1
// The sum over one K block is exact up to a last truncation, so the order of k inside a block is free (a and b alike).
template <typename T> DEV void mma16(float d[4], const uint32_t a[4], const uint32_t b[2]);
template <> DEV void mma16<bf16>(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <> DEV void mma16<f16>(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEV void mma8_tf32(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// The nearest fp32 whose mantissa has 10 bits (ties away from zero): what a tf32 operand holds exactly.
DEV float to_tf32(float x) {
    uint32_t y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return __uint_as_float(y);
}

} // namespace dev

#else // the emulation gives all of the above, with the same names and meaning
#include "simt_device.h"
#endif
