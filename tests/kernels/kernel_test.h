// kernel_test.h: what the tests of single kernels share: random numbers, elements as bytes, device memory. Runs on the
// emulation, and built with the real runtime on a GPU.
#pragma once

#include <criterion/criterion.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" {
#include "base/num.h"
}
#include "base/scatter.h"
#include "kernels/kernels.h"
#ifdef TEMPERA_SIMT
#include "simt_emu.h"
#endif

namespace {

const element ELEMENTS[] = {ELEMENT_F32, ELEMENT_F16, ELEMENT_BF16};

struct Random {
    uint64_t state;
    uint64_t next() { return scatter(state += 0x9E3779B97F4A7C15u); }
    uint32_t word() { return (uint32_t)(next() >> 32); }
    double uniform() { return ((double)(next() >> 11) + 0.5) * 0x1p-53; } // (0, 1)
    float normal() {
        const double radius = std::sqrt(-2 * std::log(uniform()));
        return (float)(radius * std::cos(6.283185307179586 * uniform()));
    }
    // Both signs, 24 significant bits, exponents over `orders` binary orders around 1.
    float number(int orders) {
        float mantissa = 1.0f + (float)(word() & 0x7FFFFF) * 0x1p-23f;
        int exponent = (int)(word() % (uint32_t)orders) - orders / 2;
        return std::ldexp(word() & 1 ? -mantissa : mantissa, exponent);
    }
};

inline size_t size_of(element e) {
    return e == ELEMENT_F32 ? 4 : 2;
}

inline float rounded(element e, float x) {
    if (e == ELEMENT_F16) return f16_to_float(float_to_f16(x));
    return e == ELEMENT_BF16 ? bf16_to_float(float_to_bf16(x)) : x;
}

// Element i of an array of elements.
inline void put(std::vector<uint8_t> &bytes, element e, size_t i, float x) {
    if (e == ELEMENT_F32) {
        memcpy(&bytes[4 * i], &x, 4);
    } else {
        const uint16_t h = e == ELEMENT_F16 ? float_to_f16(x) : float_to_bf16(x);
        memcpy(&bytes[2 * i], &h, 2);
    }
}
inline float get(const uint8_t *bytes, element e, size_t i) {
    uint16_t h;
    float x;
    if (e == ELEMENT_F32) {
        memcpy(&x, bytes + 4 * i, 4);
        return x;
    }
    memcpy(&h, bytes + 2 * i, 2);
    return e == ELEMENT_F16 ? f16_to_float(h) : bf16_to_float(h);
}

inline const char *last_error() {
#ifdef TEMPERA_SIMT
    return simt_last_error();
#else
    return "";
#endif
}
inline void ok(cudaError_t error) {
    cr_assert_eq(error, cudaSuccess, "%s: %s", cudaGetErrorString(error), last_error());
}

// Device memory of exactly `bytes`.
struct Device {
    void *data = nullptr;
    size_t bytes;
    explicit Device(size_t size) : bytes(size) { ok(cudaMalloc(&data, std::max<size_t>(bytes, 16))); } // not written
    Device(const void *from, size_t size) : Device(size) { ok(cudaMemcpy(data, from, bytes, cudaMemcpyHostToDevice)); }
    template <typename T> explicit Device(const std::vector<T> &from) : Device(from.data(), from.size() * sizeof(T)) {}
    ~Device() { cudaFree(data); }
    Device(const Device &) = delete;
    template <typename T = uint8_t> std::vector<T> read() const {
        std::vector<T> to(bytes / sizeof(T));
        ok(cudaMemcpy(to.data(), data, bytes, cudaMemcpyDeviceToHost));
        return to;
    }
    template <typename T> T *as() const { return static_cast<T *>(data); }
};

struct Stream {
    cudaStream_t stream = nullptr;
    Stream() { ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
    ~Stream() { cudaStreamDestroy(stream); }
};

} // namespace
