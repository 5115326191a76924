// simt_device.h: the C++ compiler's half of kernels/device.cuh. Every name there has its twin here, of the same
// meaning; what a thread cannot do alone is in simt_emu.cpp. Functions that can make a thread wait or fail carry the
// caller's place in the source as two last arguments that kernels do not write.
#ifndef SIMT_DEVICE_H
#define SIMT_DEVICE_H

#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simt_emu.h"

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __launch_bounds__
#undef __grid_constant__
#undef __forceinline__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __grid_constant__
#define __forceinline__ inline

#if defined(__SANITIZE_THREAD__)
#define SIMT_INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIMT_INSTRUMENTED 1
#endif
#endif

#ifdef SIMT_INSTRUMENTED
#define threadIdx (simt::called_thread_index())
#define blockIdx  (simt::called_block_index())
#define blockDim  (simt::called_block_size())
#define gridDim   (simt::called_grid_size())
#else
#define threadIdx (simt::thread_index())
#define blockIdx  (simt::block_index())
#define blockDim  (simt::block_size())
#define gridDim   (simt::grid_size())
#endif

// Kernels copy bytes to and from the 16-bit types, whose members are not public here.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wclass-memaccess"
#endif

#define SIMT_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// The array has the alignment that its type has, and no more: see shared_memory().
#define SHARED(type, name, ...)                                                                                        \
    struct name##_in_shared {                                                                                          \
        type value __VA_ARGS__;                                                                                        \
    };                                                                                                                 \
    static simt::SharedSite name##_site;                                                                               \
    auto &name =                                                                                                       \
        static_cast<name##_in_shared *>(simt::shared_memory(name##_site, sizeof(name##_in_shared::value),              \
                                                            alignof(name##_in_shared), #name, __FILE__, __LINE__))     \
            ->value
#define SHARED_DYN(type, name) type *name = static_cast<type *>(simt::shared_dynamic())

#define LAUNCH(kernel, grid, block, shared_bytes, stream, args)                                                        \
    dev::launch(kernel, grid, block, shared_bytes, stream, args, #kernel)

#define DEV      inline __attribute__((unused))
#define DEV_SM90 0

namespace dev {

inline bool overlap_launches = false;

template <typename Args>
cudaError_t launch(void (*kernel)(Args), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   const std::remove_const_t<Args> &args, const char *name = "without a name") {
    static_assert(std::is_trivially_copyable<Args>::value, "a kernel takes one plain struct");
    if (shared_bytes > 48 * 1024) {
        cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
        if (error != cudaSuccess) return error;
    }
    struct Call {
        void (*kernel)(Args);
        std::remove_const_t<Args> args;
    };
    return simt::enqueue_launch(reinterpret_cast<const void *>(kernel), grid, block, shared_bytes, stream,
                                [call = Call{kernel, args}, grid, block, shared_bytes, name] {
                                    simt::Launch launch;
                                    launch.kernel = name;
                                    launch.grid = grid;
                                    launch.block = block;
                                    launch.shared_bytes = shared_bytes;
                                    launch.args = &call;
                                    launch.args_bytes = sizeof call;
                                    launch.call = [](const void *p) {
                                        const Call *c = static_cast<const Call *>(p);
                                        c->kernel(c->args);
                                    };
                                    return simt::run(launch);
                                });
}

DEV void pdl_release() {}
DEV void pdl_wait() {}
DEV void pdl_begin() {}

// ---- barriers, warps ----

DEV void block_sync(SIMT_HERE) {
    simt::block_sync({file, line});
}
DEV void warp_sync(SIMT_HERE) {
    simt::warp_sync({file, line});
}
DEV void named_sync(int id, int threads, SIMT_HERE) {
    simt::named_sync(id, threads, {file, line});
}

template <typename T> DEV T simt_shuffle(simt::Shuffle kind, T value, int operand, const char *file, int line) {
    static_assert(std::is_same<T, int>::value || std::is_same<T, unsigned>::value || std::is_same<T, long>::value ||
                      std::is_same<T, unsigned long>::value || std::is_same<T, long long>::value ||
                      std::is_same<T, unsigned long long>::value || std::is_same<T, float>::value ||
                      std::is_same<T, double>::value || std::is_same<T, __half>::value ||
                      std::is_same<T, __nv_bfloat16>::value || std::is_same<T, __half2>::value ||
                      std::is_same<T, __nv_bfloat162>::value,
                  "the types that CUDA shuffles");
    std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t> word = 0;
    memcpy(&word, &value, sizeof value);
    if constexpr (sizeof(T) == 8)
        word = simt::shuffle64(kind, word, operand, {file, line});
    else
        word = simt::shuffle32(kind, word, operand, {file, line});
    memcpy(&value, &word, sizeof value);
    return value;
}
template <typename T> DEV T shfl(T value, int lane, SIMT_HERE) {
    return simt_shuffle(simt::Shuffle::index, value, lane, file, line);
}
template <typename T> DEV T shfl_xor(T value, int mask, SIMT_HERE) {
    return simt_shuffle(simt::Shuffle::exclusive_or, value, mask, file, line);
}
template <typename T> DEV T shfl_up(T value, int delta, SIMT_HERE) {
    return simt_shuffle(simt::Shuffle::up, value, delta, file, line);
}
template <typename T> DEV T shfl_down(T value, int delta, SIMT_HERE) {
    return simt_shuffle(simt::Shuffle::down, value, delta, file, line);
}
DEV uint32_t ballot(bool predicate, SIMT_HERE) {
    return simt::ballot(predicate, {file, line});
}
DEV uint32_t match_any(uint32_t value, SIMT_HERE) {
    return simt::match_any(value, {file, line});
}

// One meeting of the lanes instead of five; the additions and their order are those of the butterfly.
template <typename T> DEV T warp_sum(T value, SIMT_HERE) {
    if constexpr (std::is_same<T, __half>::value || std::is_same<T, __nv_bfloat16>::value) {
        for (int mask = 16; mask > 0; mask >>= 1) value += shfl_xor(value, mask, file, line);
        return value;
    } else if constexpr (std::is_integral<T>::value && sizeof(T) == 8) { // long and long long alike
        return (T)simt::warp_sum((uint64_t)value, {file, line});
    } else {
        return simt::warp_sum(value, {file, line});
    }
}
template <typename T> DEV T warp_max(T value, SIMT_HERE) {
    if constexpr (std::is_same<T, __half>::value || std::is_same<T, __nv_bfloat16>::value) {
        for (int mask = 16; mask > 0; mask >>= 1) {
            T other = shfl_xor(value, mask, file, line);
            value = other > value ? other : value;
        }
        return value;
    } else if constexpr (std::is_integral<T>::value && sizeof(T) == 8) {
        typedef std::conditional_t<std::is_signed<T>::value, int64_t, uint64_t> word;
        return (T)simt::warp_max((word)value, {file, line});
    } else {
        return simt::warp_max(value, {file, line});
    }
}

// ---- arithmetic: the build allows no contraction ----

DEV float mul(float a, float b) {
    return a * b;
}
DEV float add(float a, float b) {
    return a + b;
}
DEV float sub(float a, float b) {
    return a - b;
}
DEV float div(float a, float b) {
    return a / b;
}
DEV float fma(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}
DEV float sqrt(float a) {
    return __builtin_sqrtf(a);
}
DEV uint32_t bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
DEV float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
// Subnormal arguments and results are zero, as the hardware has them.
DEV float exp2_fast(float x) {
    float y = ::exp2f(x);
    return y < 1.17549435e-38f ? 0.0f : y;
}
DEV int popc(uint32_t x) {
    return __builtin_popcount(x);
}
DEV int clz(uint32_t x) {
    return x ? __builtin_clz(x) : 32;
}
DEV int ffs(uint32_t x) {
    return __builtin_ffs((int)x);
}
DEV uint64_t mulhi64(uint64_t a, uint64_t b) {
    return (uint64_t)((unsigned __int128)a * b >> 64);
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
template <typename T> DEV T from_float(float x);
template <> DEV float from_float<float>(float x) {
    return x;
}
template <> DEV f16 from_float<f16>(float x) {
    return __float2half_rn(x);
}
template <> DEV bf16 from_float<bf16>(float x) {
    return __float2bfloat16_rn(x);
}

template <typename T> DEV uint32_t pack2(float low, float high) {
    static_assert(sizeof(T) == 2, "f16 or bf16");
    T pair[2] = {from_float<T>(low), from_float<T>(high)};
    uint32_t u;
    memcpy(&u, pair, sizeof u);
    return u;
}

// ---- memory ----

struct alignas(16) word4 {
    uint32_t w[4];
};
struct alignas(8) word2 {
    uint32_t w[2];
};

DEV void simt_check_aligned(const void *p, size_t alignment, const char *file, int line) {
    if (reinterpret_cast<uintptr_t>(p) % alignment) simt::misaligned(p, alignment, {file, line});
}
DEV word4 ld128(const void *p, SIMT_HERE) {
    simt_check_aligned(p, 16, file, line);
    return *static_cast<const word4 *>(p);
}
DEV word2 ld64(const void *p, SIMT_HERE) {
    simt_check_aligned(p, 8, file, line);
    return *static_cast<const word2 *>(p);
}
DEV void st128(void *p, word4 v, SIMT_HERE) {
    simt_check_aligned(p, 16, file, line);
    *static_cast<word4 *>(p) = v;
}
DEV void st64(void *p, word2 v, SIMT_HERE) {
    simt_check_aligned(p, 8, file, line);
    *static_cast<word2 *>(p) = v;
}
DEV word4 ld128_stream(const void *p, SIMT_HERE) {
    if (simt::in_shared(p)) simt::not_global(p, {file, line});
    return ld128(p, file, line);
}
DEV word2 ld64_stream(const void *p, SIMT_HERE) {
    if (simt::in_shared(p)) simt::not_global(p, {file, line});
    return ld64(p, file, line);
}
DEV void prefetch(const void *) {}

DEV void copy_async16(void *shared, const void *global, bool valid = true, SIMT_HERE) {
    simt::copy_async16(shared, global, valid, {file, line});
}
DEV void copy_async_commit() {
    simt::copy_async_commit();
}
template <int N> DEV void copy_async_wait() {
    static_assert(N >= 0, "groups that may stay open");
    simt::copy_async_wait(N);
}

DEV uint32_t atomic_add(uint32_t *p, uint32_t value, SIMT_HERE) {
    return simt::atomic_add(p, value, {file, line});
}
DEV int32_t atomic_add(int32_t *p, int32_t value, SIMT_HERE) {
    return (int32_t)simt::atomic_add(reinterpret_cast<uint32_t *>(p), (uint32_t)value, {file, line});
}
DEV uint64_t atomic_add(uint64_t *p, uint64_t value, SIMT_HERE) {
    return simt::atomic_add(p, value, {file, line});
}
DEV uint32_t atomic_max(uint32_t *p, uint32_t value, SIMT_HERE) {
    return simt::atomic_max(p, value, {file, line});
}
DEV uint64_t atomic_max(uint64_t *p, uint64_t value, SIMT_HERE) {
    return simt::atomic_max(p, value, {file, line});
}
DEV uint32_t atomic_or(uint32_t *p, uint32_t value, SIMT_HERE) {
    return simt::atomic_or(p, value, {file, line});
}
DEV uint32_t atomic_cas(uint32_t *p, uint32_t expected, uint32_t value, SIMT_HERE) {
    return simt::atomic_cas(p, expected, value, {file, line});
}
DEV void fence() {
    simt::fence();
}
DEV bool last_block(uint32_t *counter, uint32_t count, SIMT_HERE) {
    return simt::last_block(counter, count, {file, line});
}

// ---- tensor cores ----

template <typename T> DEV void mma16(float d[4], const uint32_t a[4], const uint32_t b[2], SIMT_HERE) {
    static_assert(std::is_same<T, f16>::value || std::is_same<T, bf16>::value, "16-bit floats");
    if constexpr (std::is_same<T, f16>::value)
        simt::mma16_f16(d, a, b, {file, line});
    else
        simt::mma16_bf16(d, a, b, {file, line});
}
DEV void mma8_tf32(float d[4], const uint32_t a[4], const uint32_t b[2], SIMT_HERE) {
    simt::mma8_tf32(d, a, b, {file, line});
}
DEV float to_tf32(float x) {
    uint32_t u = bits(x);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return from_bits(0x7FFFFFFFu);
    return from_bits((u + 0x1000u) & ~0x1FFFu);
}

} // namespace dev

#endif
