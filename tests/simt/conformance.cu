// conformance.cu: the kernels of conformance.h. Each thread writes what it got, word after word; the tests know the
// rest.
#include "conformance.h"

#include "kernels/device.cuh"

namespace {

enum { THREADS = CONFORMANCE_THREADS };

DEV void put64(uint32_t *to, uint64_t value) {
    to[0] = (uint32_t)value;
    to[1] = (uint32_t)(value >> 32);
}

DEV uint64_t double_bits(double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

template <typename T> DEV uint32_t bits16(T x) {
    uint16_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

__global__ void __launch_bounds__(THREADS) shuffles(const conformance_args a) {
    dev::pdl_begin();
    const int t = (int)threadIdx.x, lane = t % 32;
    const uint32_t x = a.in[t];
    uint32_t *out = a.out + t * SHUFFLE_WORDS;
    for (int i = 0; i < 5; i++) out[i] = dev::shfl_xor(x, 1 << i);
    for (int i = 0; i < 3; i++) out[5 + i] = dev::shfl_up(x, i * 7);
    for (int i = 0; i < 3; i++) out[8 + i] = dev::shfl_down(x, i * 7);
    out[11] = dev::shfl(x, 5);
    out[12] = dev::shfl(x, 37);               // the lane is taken modulo 32
    out[13] = dev::shfl(x, (lane * 11) % 32); // every lane asks another one
    out[14] = dev::bits(dev::shfl_xor((float)x, 3));
    put64(out + 15, dev::shfl_xor((unsigned long long)x << 20 | 1, 9));
    put64(out + 17, double_bits(dev::shfl_down((double)x, 4)));
    out[19] = (uint32_t)dev::shfl_up((int)x, 1);
    out[20] = bits16(dev::shfl_xor(dev::from_float<dev::f16>((float)(x % 1000)), 2));
    out[21] = bits16(dev::shfl_xor(dev::from_float<dev::bf16>((float)(x % 1000)), 2));
    put64(out + 22, (uint64_t)dev::shfl((long long)x - 1, 31));
}

template <typename T> DEV T sum_by_shuffles(T value) {
    for (int mask = 16; mask > 0; mask >>= 1) value += dev::shfl_xor(value, mask);
    return value;
}

template <typename T> DEV T max_by_shuffles(T value) {
    for (int mask = 16; mask > 0; mask >>= 1) {
        T other = dev::shfl_xor(value, mask);
        value = other > value ? other : value;
    }
    return value;
}

// Floats of any size and sign, with some infinities and NaN.
__global__ void __launch_bounds__(THREADS) meetings(const conformance_args a) {
    dev::pdl_begin();
    const int t = (int)threadIdx.x;
    const uint32_t x = a.in[t];
    const float f = (float)(int)x * 0.37f, any = dev::from_bits(x);
    const double d = (double)(int)x * 0.37;
    const dev::f16 h = dev::from_float<dev::f16>((float)(int)(x % 2001) - 1000.0f);
    uint32_t *out = a.out + t * MEETING_WORDS;
    out[0] = dev::ballot(x & 1);
    out[1] = dev::match_any(x & 3);
    out[2] = dev::bits(dev::warp_sum(f));
    out[3] = dev::bits(sum_by_shuffles(f));
    put64(out + 4, double_bits(dev::warp_sum(d)));
    put64(out + 6, double_bits(sum_by_shuffles(d)));
    out[8] = dev::warp_sum(x);
    out[9] = (uint32_t)dev::warp_sum((int)x);
    put64(out + 10, dev::warp_sum((unsigned long long)x << 30));
    out[12] = dev::bits(dev::warp_max(any));
    out[13] = dev::bits(max_by_shuffles(any));
    out[14] = dev::warp_max(x);
    out[15] = (uint32_t)dev::warp_max((int)x);
    put64(out + 16, (uint64_t)dev::warp_max((long long)(int)x * 256));
    put64(out + 18, dev::warp_max((unsigned long long)x << 8));
    out[20] = bits16(dev::warp_sum(h));
    out[21] = bits16(sum_by_shuffles(h));
    out[22] = bits16(dev::warp_max(h));
    out[23] = dev::bits((float)dev::warp_max(d));
}

// The places of the fragments, element by element, as device.cuh has them.
template <typename T> __global__ void __launch_bounds__(32) mma16(const conformance_args a) {
    dev::pdl_begin();
    const int lane = (int)threadIdx.x, g = lane / 4, t = lane % 4;
    const float *A = reinterpret_cast<const float *>(a.in), *B = A + 16 * 16, *C = B + 16 * 8;
    float *D = reinterpret_cast<float *>(a.out);
    uint32_t x[4], y[2];
    for (int i = 0; i < 4; i++) {
        const float *from = A + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
        x[i] = dev::pack2<T>(from[0], from[1]);
    }
    for (int i = 0; i < 2; i++) {
        const float *from = B + (2 * t + i * 8) * 8 + g;
        y[i] = dev::pack2<T>(from[0], from[8]);
    }
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = C[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    dev::mma16<T>(d, x, y);
    for (int i = 0; i < 4; i++) D[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
}

__global__ void __launch_bounds__(32) mma8_tf32(const conformance_args a) {
    dev::pdl_begin();
    const int lane = (int)threadIdx.x, g = lane / 4, t = lane % 4;
    const float *A = reinterpret_cast<const float *>(a.in), *B = A + 16 * 8, *C = B + 8 * 8;
    float *D = reinterpret_cast<float *>(a.out);
    uint32_t x[4], y[2];
    for (int i = 0; i < 4; i++) x[i] = dev::bits(A[(g + i % 2 * 8) * 8 + t + i / 2 * 4]);
    for (int i = 0; i < 2; i++) y[i] = dev::bits(B[(t + i * 4) * 8 + g]);
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = C[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    dev::mma8_tf32(d, x, y);
    for (int i = 0; i < 4; i++) D[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
}

__global__ void __launch_bounds__(THREADS) scalars(const conformance_args a) {
    dev::pdl_begin();
    const int t = (int)threadIdx.x;
    const uint32_t u = a.in[t];
    const float x = dev::from_bits(u), y = dev::from_bits(a.in[(t + 1) % THREADS]),
                z = dev::from_bits(a.in[(t + 2) % THREADS]);
    uint32_t *out = a.out + t * SCALAR_WORDS;
    out[0] = dev::bits(dev::mul(x, y));
    out[1] = dev::bits(dev::add(x, y));
    out[2] = dev::bits(dev::sub(x, y));
    out[3] = dev::bits(dev::div(x, y));
    out[4] = dev::bits(dev::fma(x, y, z));
    out[5] = dev::bits(dev::sqrt(x));
    out[6] = dev::bits(dev::exp2_fast(x));
    out[7] = dev::bits(dev::to_tf32(x));
    out[8] = dev::pack2<dev::f16>(x, y);
    out[9] = dev::pack2<dev::bf16>(x, y);
    out[10] = (uint32_t)dev::popc(u) | (uint32_t)dev::clz(u) << 8 | (uint32_t)dev::ffs(u) << 16;
    put64(out + 11, dev::mulhi64((uint64_t)u << 32 | 0x9E3779B9u, (uint64_t)u * 0x9E3779B97F4A7C15u));
    out[13] = dev::bits(dev::to_float(dev::from_float<dev::f16>(x)));
    out[14] = dev::bits(dev::to_float(dev::from_float<dev::bf16>(x)));
    out[15] = (uint32_t)dev::clz(0) | (uint32_t)dev::ffs(0) << 8;
}

__global__ void __launch_bounds__(64) indices(const conformance_args a) {
    dev::pdl_begin();
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    a.out[block * blockDim.x + threadIdx.x] = blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z + 1000 * threadIdx.x +
                                              100000 * gridDim.x * gridDim.y * gridDim.z;
}

__global__ void __launch_bounds__(THREADS) memory(const conformance_args a) {
    dev::pdl_begin();
    SHARED(dev::word4, tile, [THREADS]);
    SHARED_DYN(dev::word2, halves);
    const int t = (int)threadIdx.x, other = THREADS - 1 - t;
    dev::copy_async16(&tile[t], a.in + t * 4, t % 2 == 0);
    dev::copy_async_commit();
    dev::copy_async_wait<0>();
    dev::block_sync();
    dev::word4 v = dev::ld128(&tile[other]);
    dev::st64(&halves[2 * other], {{v.w[0], v.w[1]}});
    dev::st64(&halves[2 * other + 1], {{v.w[2], v.w[3]}});
    dev::block_sync();
    const dev::word2 low = dev::ld64(&halves[2 * t]), high = dev::ld64(&halves[2 * t + 1]);
    const dev::word4 first = dev::ld128_stream(a.in + t * 4);
    const dev::word2 second = dev::ld64_stream(a.in + t * 4);
    const uint32_t same = first.w[0] == second.w[0] && first.w[1] == second.w[1] ? 0 : 1;
    dev::st128(a.out + t * 4, {{low.w[0], low.w[1], high.w[0], high.w[1] + same}});
}

__global__ void __launch_bounds__(THREADS) last_block(const conformance_args a) {
    dev::pdl_begin();
    if (threadIdx.x == 0) a.out[1 + blockIdx.x] = 1;
    const bool last = dev::last_block(a.counter, gridDim.x);
    SHARED(uint32_t, seen, [THREADS]);
    seen[threadIdx.x] = last;
    dev::block_sync();
    if (threadIdx.x != 0 || !last) return;
    uint32_t blocks = 0, threads = 0;
    for (unsigned b = 0; b < gridDim.x; b++) blocks += a.out[1 + b];
    for (int t = 0; t < THREADS; t++) threads += seen[t];
    a.out[0] = blocks * 1000 + threads;
}

__global__ void __launch_bounds__(THREADS) atomics(const conformance_args a) {
    dev::pdl_begin();
    const uint32_t t = threadIdx.x, all = blockIdx.x * blockDim.x + t;
    SHARED(uint32_t, bins, [4]);
    if (t < 4) bins[t] = 0;
    dev::block_sync();
    dev::atomic_add(&bins[t % 4], 1u);
    dev::block_sync();
    if (t == 0) dev::atomic_add(&a.out[0], bins[0] + bins[1] + bins[2] + bins[3]);
    dev::atomic_add(reinterpret_cast<int32_t *>(&a.out[1]), -(int32_t)t);
    dev::atomic_add(reinterpret_cast<uint64_t *>(&a.out[2]), (uint64_t)1 << 31);
    dev::atomic_max(&a.out[4], all * 7 % 1000);
    dev::atomic_max(reinterpret_cast<uint64_t *>(&a.out[6]), (uint64_t)all << 33);
    dev::atomic_or(&a.out[8], 1u << t % 32);
    dev::fence();
    for (uint32_t old = dev::atomic_or(&a.out[9], 0u), seen; (seen = dev::atomic_cas(&a.out[9], old, old + 2)) != old;)
        old = seen;
}

} // namespace

cudaError_t conformance_shuffles(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(shuffles, dim3(1), dim3(THREADS), 0, stream, args);
}
cudaError_t conformance_meetings(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(meetings, dim3(1), dim3(THREADS), 0, stream, args);
}
cudaError_t conformance_mma_bf16(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(mma16<dev::bf16>, dim3(1), dim3(32), 0, stream, args);
}
cudaError_t conformance_mma_f16(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(mma16<dev::f16>, dim3(1), dim3(32), 0, stream, args);
}
cudaError_t conformance_mma_tf32(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(mma8_tf32, dim3(1), dim3(32), 0, stream, args);
}
cudaError_t conformance_scalars(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(scalars, dim3(1), dim3(THREADS), 0, stream, args);
}
cudaError_t conformance_indices(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(indices, dim3(3, 2, 2), dim3(64), 0, stream, args);
}
cudaError_t conformance_memory(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(memory, dim3(1), dim3(THREADS), THREADS * 16, stream, args);
}
cudaError_t conformance_last_block(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(last_block, dim3(5), dim3(THREADS), 0, stream, args);
}
cudaError_t conformance_atomics(const conformance_args &args, cudaStream_t stream) {
    return LAUNCH(atomics, dim3(5), dim3(THREADS), 0, stream, args);
}
