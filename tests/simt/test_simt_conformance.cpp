// test_simt_conformance.cpp: what the functions of kernels/device.cuh give on the emulation, in every order, against
// plain loops on the host. Compiled without TEMPERA_SIMT and linked with nvcc's conformance.o and libcudart, it asks
// a GPU.
#include <criterion/criterion.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "conformance.h"
#ifdef TEMPERA_SIMT
#include "simt_emu.h"
#include "simt_race.h"
#endif

namespace {

const char *const orders[] = {"warpfwd",    "fwd",        "rev",     "warprev", "warprand:1",
                              "warprand:2", "warprand:3", "chaos:1", "chaos:2", "chaos:3"};

enum { THREADS = CONFORMANCE_THREADS };

typedef cudaError_t (*Launcher)(const conformance_args &args, cudaStream_t stream);
typedef std::vector<uint32_t> Words;

Words run(Launcher launch, const Words &in, size_t outputs, const char *order, uint32_t fill = 0) {
    conformance_args args = {};
    uint32_t *device_in;
    Words out(outputs, fill);
#ifdef TEMPERA_SIMT
    cr_assert(simt::set_order(order));
#endif
    cr_assert_eq(cudaMalloc((void **)&device_in, in.size() * 4), cudaSuccess);
    cr_assert_eq(cudaMalloc((void **)&args.out, outputs * 4), cudaSuccess);
    cr_assert_eq(cudaMalloc((void **)&args.counter, 4), cudaSuccess);
    cr_assert_eq(cudaMemcpy(device_in, in.data(), in.size() * 4, cudaMemcpyHostToDevice), cudaSuccess);
    cr_assert_eq(cudaMemcpy(args.out, out.data(), outputs * 4, cudaMemcpyHostToDevice), cudaSuccess);
    cr_assert_eq(cudaMemset(args.counter, 0, 4), cudaSuccess);
    args.in = device_in;
    cr_assert_eq(launch(args, nullptr), cudaSuccess);
    const cudaError_t error = cudaDeviceSynchronize();
    cr_assert_eq(error, cudaSuccess, "order %s: %s", order, cudaGetErrorString(error));
    cr_assert_eq(cudaMemcpy(out.data(), args.out, outputs * 4, cudaMemcpyDeviceToHost), cudaSuccess);
    cudaFree(device_in), cudaFree(args.out), cudaFree(args.counter);
#ifdef SIMT_RACE
    cr_expect_eq(simt_race_take(), 0u, "a false alarm");
#endif
    return out;
}

uint64_t random_state = 1;

uint32_t random_word() {
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

uint32_t bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

uint64_t double_bits(double x) {
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}

uint64_t word64(const uint32_t *at) {
    return at[0] | (uint64_t)at[1] << 32;
}

// Nearest 16-bit floats of small integers, which both types hold or round to even.
uint32_t bf16_bits(float x) {
    uint32_t u = bits(x);
    return (u + 0x7FFF + (u >> 16 & 1)) >> 16;
}

uint32_t f16_bits(float x) { // normal results only
    if (x == 0) return bits(x) >> 16;
    uint32_t u = bits(x), exponent = (u >> 23 & 255) - 127 + 15, mantissa = u & 0x7FFFFF;
    uint32_t h = exponent << 10 | mantissa >> 13, rest = mantissa & 0x1FFF;
    if (rest > 0x1000 || (rest == 0x1000 && (h & 1))) h++;
    return h | (u >> 16 & 0x8000);
}

} // namespace

Test(simt_conformance, shuffles) {
    Words in(THREADS);
    for (uint32_t &x : in) x = random_word() % (1 << 22);
    for (const char *order : orders) {
        Words out = run(conformance_shuffles, in, THREADS * SHUFFLE_WORDS, order);
        for (int t = 0; t < THREADS; t++) {
            const int lane = t % 32;
            const uint32_t *warp = &in[t - lane], *got = &out[t * SHUFFLE_WORDS];
            Words want;
            for (int i = 0; i < 5; i++) want.push_back(warp[lane ^ (1 << i)]);
            for (int i = 0; i < 3; i++) want.push_back(warp[lane >= i * 7 ? lane - i * 7 : lane]);
            for (int i = 0; i < 3; i++) want.push_back(warp[lane + i * 7 < 32 ? lane + i * 7 : lane]);
            want.insert(want.end(), {warp[5], warp[5], warp[lane * 11 % 32], bits((float)warp[lane ^ 3])});
            const uint64_t wide = (uint64_t)warp[lane ^ 9] << 20 | 1;
            const uint64_t fraction = double_bits((double)warp[lane + 4 < 32 ? lane + 4 : lane]);
            want.insert(want.end(),
                        {(uint32_t)wide, (uint32_t)(wide >> 32), (uint32_t)fraction, (uint32_t)(fraction >> 32)});
            want.push_back(warp[lane >= 1 ? lane - 1 : lane]);
            want.push_back(f16_bits((float)(warp[lane ^ 2] % 1000)));
            want.push_back(bf16_bits((float)(warp[lane ^ 2] % 1000)));
            const uint64_t last = (uint64_t)((int64_t)warp[31] - 1);
            want.insert(want.end(), {(uint32_t)last, (uint32_t)(last >> 32)});
            for (int i = 0; i < SHUFFLE_WORDS; i++)
                cr_expect_eq(got[i], want[i], "order %s, thread %d, word %d: %x, not %x", order, t, i, got[i], want[i]);
        }
    }
}

namespace {

// What lane 0 … 31 hold after the butterfly.
template <typename T, typename Operation> std::vector<T> butterfly(std::vector<T> values, Operation operation) {
    for (int mask = 16; mask > 0; mask /= 2) {
        std::vector<T> next(32);
        for (int lane = 0; lane < 32; lane++) next[lane] = operation(values[lane], values[lane ^ mask]);
        values = next;
    }
    return values;
}

template <typename T> std::vector<T> sums(const std::vector<T> &values) {
    return butterfly(values, [](T a, T b) { return (T)(a + b); });
}

template <typename T> std::vector<T> maxima(const std::vector<T> &values) {
    return butterfly(values, [](T a, T b) { return b > a ? b : a; });
}

} // namespace

Test(simt_conformance, meetings) {
    Words in(THREADS);
    for (uint32_t &x : in) x = random_word();
    for (int i = 0; i < 20; i++) in[random_word() % THREADS] |= 0x7F800000; // infinities and NaN, in two warps at least
    for (const char *order : orders) {
        Words out = run(conformance_meetings, in, THREADS * MEETING_WORDS, order);
        for (int warp = 0; warp < THREADS / 32; warp++) {
            std::vector<float> f, any;
            std::vector<double> d;
            std::vector<uint32_t> u;
            std::vector<int32_t> s;
            std::vector<uint64_t> u30, u8;
            std::vector<int64_t> s8;
            uint32_t ballot = 0, match[4] = {};
            for (int lane = 0; lane < 32; lane++) {
                const uint32_t x = in[warp * 32 + lane];
                f.push_back((float)(int32_t)x * 0.37f);
                d.push_back((float)(int32_t)x == 0 ? 0 : (double)(int32_t)x * 0.37);
                any.push_back(from_bits(x));
                u.push_back(x);
                s.push_back((int32_t)x);
                u30.push_back((uint64_t)x << 30);
                u8.push_back((uint64_t)x << 8);
                s8.push_back((int64_t)(int32_t)x * 256);
                ballot |= (x & 1) << lane;
                match[x & 3] |= 1u << lane;
            }
            const auto sum_f = sums(f);
            const auto sum_d = sums(d), max_d = maxima(d);
            const auto sum_u = sums(u), max_u = maxima(u);
            const auto max_s = maxima(s);
            const auto sum_u30 = sums(u30), max_u8 = maxima(u8);
            const auto max_s8 = maxima(s8);
            const auto max_any = maxima(any);
            for (int lane = 0; lane < 32; lane++) {
                const uint32_t *got = &out[(warp * 32 + lane) * MEETING_WORDS];
                cr_expect_eq(got[0], ballot);
                cr_expect_eq(got[1], match[in[warp * 32 + lane] & 3]);
                cr_expect_eq(got[2], bits(sum_f[lane]));
                cr_expect_eq(got[3], bits(sum_f[lane]));
                cr_expect_eq(word64(got + 4), double_bits(sum_d[lane]));
                cr_expect_eq(word64(got + 6), double_bits(sum_d[lane]));
                cr_expect_eq(got[8], sum_u[lane]);
                cr_expect_eq(got[9], sum_u[lane]);
                cr_expect_eq(word64(got + 10), sum_u30[lane]);
                cr_expect_eq(got[12], bits(max_any[lane]));
                cr_expect_eq(got[13], bits(max_any[lane]));
                cr_expect_eq(got[14], max_u[lane]);
                cr_expect_eq(got[15], (uint32_t)max_s[lane]);
                cr_expect_eq(word64(got + 16), (uint64_t)max_s8[lane]);
                cr_expect_eq(word64(got + 18), max_u8[lane]);
                cr_expect_eq(got[20], got[21]);
                cr_expect_eq(got[23], bits((float)max_d[lane]));
            }
        }
    }
}

// ---- tensor cores ----

namespace {

struct Tile { // a [16, K], b [K, 8], c [16, 8]
    int K;
    std::vector<float> a, b, c;
    explicit Tile(int k) : K(k), a(16 * k), b(k * 8), c(16 * 8) {}
    Words words() const {
        Words w;
        for (const std::vector<float> *part : {&a, &b, &c})
            for (float x : *part) w.push_back(bits(x));
        return w;
    }
    long double exact(int row, int column) const { // 64 bits of mantissa
        long double sum = c[row * 8 + column];
        for (int k = 0; k < K; k++) sum += (long double)a[row * K + k] * b[k * 8 + column];
        return sum;
    }
};

float cut(long double x) {
    float y = (float)x;
    if (std::fabs((long double)y) > std::fabs(x) && std::fabs(x) < 0x1p128L) y = std::nextafter(y, 0.0f);
    return y;
}

// A number of `bits` binary digits times a power of two between 2^low and 2^high.
float random_float(int mantissa, int low, int high) {
    const int32_t digits = (int32_t)(random_word() >> (32 - mantissa)) * (random_word() & 1 ? 1 : -1);
    return std::ldexp((float)digits, low + (int)(random_word() % (uint32_t)(high - low + 1)) - mantissa);
}

struct Kind {
    const char *name;
    Launcher launch;
    int K, mantissa;
};

const Kind kinds[] = {
    {"bf16", conformance_mma_bf16, 16, 8}, {"f16", conformance_mma_f16, 16, 11}, {"tf32", conformance_mma_tf32, 8, 11}};

} // namespace

Test(simt_conformance, mma_is_exact_and_cut) {
    for (const Kind &kind : kinds) {
        int cut_tiles = 0;
        for (int round = 0; round < 40; round++) {
            Tile tile(kind.K);
            for (float &x : tile.a) x = random_float(kind.mantissa, -3, 2);
            for (float &x : tile.b) x = random_float(kind.mantissa, -3, 2);
            for (float &x : tile.c) x = random_float(24, -4, 4);
            Words out = run(kind.launch, tile.words(), 16 * 8, orders[round % 10]);
            for (int row = 0; row < 16; row++)
                for (int column = 0; column < 8; column++) {
                    const long double exact = tile.exact(row, column);
                    const float got = from_bits(out[row * 8 + column]);
                    cr_expect_eq(bits(got), bits(cut(exact)), "%s [%d, %d]: %a, not %La", kind.name, row, column, got,
                                 exact);
                    if (got != (float)exact) cut_tiles++;
                }
        }
        cr_expect_gt(cut_tiles, 1000, "%s: %d of 5120 results are not the nearest", kind.name, cut_tiles);
    }
}

// One element of a and one of b: only their product may show, and only in its row and column.
Test(simt_conformance, mma_places) {
    for (const Kind &kind : kinds)
        for (int k = 0; k < kind.K; k++) {
            Tile tile(kind.K);
            const int row = (k * 5 + 3) % 16, column = (k * 3 + 1) % 8;
            tile.a[row * kind.K + k] = 3;
            tile.b[k * 8 + column] = 5;
            Words out = run(kind.launch, tile.words(), 16 * 8, "warpfwd");
            for (int i = 0; i < 16 * 8; i++)
                cr_expect_eq(from_bits(out[i]), i == row * 8 + column ? 15.0f : 0.0f, "%s, k %d, element %d", kind.name,
                             k, i);
        }
}

Test(simt_conformance, mma_at_the_ends_of_the_range) {
    for (const Kind &kind : kinds) {
        Tile tile(kind.K);
        const float large = kind.launch == conformance_mma_f16 ? 0x1p15f : 0x1p100f;
        auto set = [&](int row, float a, float b, float c) { // b is in column `row`
            tile.a[row * kind.K] = a;
            tile.b[row] = b;
            tile.c[row * 8 + row] = c;
        };
        set(0, 1, 1, 0x1p-24f + 0x1p-40f);     // below half a last place: 1
        set(1, -1, 1, -0x1.8p-24f);            // more than half a last place: still -1
        set(2, large, large, 0x1.FFFFFEp127f); // too large
        set(3, INFINITY, 1, 1);
        set(4, INFINITY, 0, 1);
        set(5, 1, NAN, 1);
        set(6, 0, 0, 0x1.8p-140f);             // a subnormal accumulator stays
        set(7, -0x1p-14f, 0x1p-14f, 0x1p-28f); // zero by cancellation
        Words out = run(kind.launch, tile.words(), 16 * 8, "warpfwd");
        auto got = [&](int row) { return from_bits(out[row * 8 + row]); };
        cr_expect_eq(got(0), 1.0f);
        cr_expect_eq(got(1), -1.0f);
        cr_expect_eq(got(2), kind.launch == conformance_mma_f16 ? 0x1.FFFFFEp127f : INFINITY);
        cr_expect_eq(got(3), INFINITY);
        cr_expect(std::isnan(got(4)) && std::isnan(got(5)), "%s", kind.name);
        cr_expect_eq(got(6), 0x1.8p-140f);
        cr_expect_eq(bits(got(7)), 0u);
    }
    Tile tile(16); // subnormal f16 operands, and results below fp32's normal range
    tile.a[0] = 0x1p-24f;
    tile.b[0] = 0x1.8p-14f;
    Words out = run(conformance_mma_f16, tile.words(), 16 * 8, "warpfwd");
    cr_expect_eq(from_bits(out[0]), 0x1.8p-38f);
    tile.a[0] = 0x1.FEp-75f;
    tile.b[0] = -0x1p-75f;
    out = run(conformance_mma_bf16, tile.words(), 16 * 8, "warpfwd");
    cr_expect_eq(from_bits(out[0]), cut(-0x1.FEp-150L), "%a", from_bits(out[0]));
    tile.a[0] = 0x1.FEp-70f;
    tile.b[0] = -0x1p-73f;
    out = run(conformance_mma_bf16, tile.words(), 16 * 8, "warpfwd");
    cr_expect_eq(from_bits(out[0]), cut(-0x1.FEp-143L), "%a", from_bits(out[0]));
}

// The last 13 bits of a tf32 operand do not count.
Test(simt_conformance, tf32_operands_are_cut) {
    Tile tile(8);
    tile.a[0] = 1 + 0x1p-11f + 0x1p-20f;
    tile.b[0] = 1;
    Words out = run(conformance_mma_tf32, tile.words(), 16 * 8, "warpfwd");
    cr_expect_eq(from_bits(out[0]), 1.0f);
}

// ---- what a thread does alone ----

Test(simt_conformance, scalars) {
    Words in(THREADS);
    for (uint32_t &x : in) x = bits(random_float(24, -20, 8));
    const float some[] = {0,      -0.0f,   INFINITY, -INFINITY, NAN,    0x1p-140f, -0x1p-127f, 0x1.FFFFFEp127f,
                          127.9f, -125.9f, -126.0f,  -150.0f,   128.0f, 65519.0f,  65520.0f,   1.00048828125f};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) in[3 * i] = bits(some[i]);
    Words out = run(conformance_scalars, in, THREADS * SCALAR_WORDS, "warpfwd");
    auto same = [](uint32_t got, float want) {
        return got == bits(want) || (std::isnan(from_bits(got)) && std::isnan(want));
    };
    for (int t = 0; t < THREADS; t++) {
        const uint32_t u = in[t], *got = &out[t * SCALAR_WORDS];
        const volatile float x = from_bits(u), y = from_bits(in[(t + 1) % THREADS]),
                             z = from_bits(in[(t + 2) % THREADS]);
        cr_expect(same(got[0], (float)((double)x * y)), "mul %a %a", x, y); // exact in double
        cr_expect(same(got[1], x + y) && same(got[2], x - y), "add %a %a", x, y);
        cr_expect(same(got[3], (float)((double)x / y)), "div %a %a", x,
                  y); // twice rounded is once rounded for division
        cr_expect(same(got[4], std::fma((float)x, (float)y, (float)z)), "fma %a %a %a", x, y, z);
        cr_expect(same(got[5], (float)std::sqrt((double)x)), "sqrt %a", x);
        const double power = std::exp2((double)x);
        const float exp2 = from_bits(got[6]);
        if (std::isnan(x))
            cr_expect(std::isnan(exp2));
        else if (power < 0x1p-126)
            cr_expect_eq(exp2, 0.0f, "exp2 %a: %a", x, exp2);
        else if (power >= 0x1p128)
            cr_expect_eq(exp2, INFINITY);
        else
            cr_expect(std::fabs(exp2 - power) <= std::ldexp(power, -22), "exp2 %a: %a", x, exp2);
        if (std::isnan(x)) {
            cr_expect(std::isnan(from_bits(got[7])) && std::isnan(from_bits(got[13])) &&
                      std::isnan(from_bits(got[14])));
        } else {
            // Ties away from zero: to the nearest multiple of 2^13 of the bits, half upwards in magnitude.
            cr_expect_eq(got[7],
                         std::isinf(x) ? u : (u & 0x80000000u) | ((u & 0x7FFFFFFFu) + 0x1000u) / 0x2000u * 0x2000u);
            cr_expect_eq(got[14] >> 16, bf16_bits(x));
            cr_expect_eq(got[9] & 0xFFFF, bf16_bits(x));
            const float magnitude = std::fabs((float)x);
            if (magnitude == 0 || (magnitude >= 0x1p-14f && magnitude < 65520)) {
                cr_expect_eq(got[8] & 0xFFFF, f16_bits(x), "f16 %a", x);
            } else if (magnitude >= 65520) {
                cr_expect_eq(got[8] & 0x7FFF, 0x7C00);
            }
        }
        int ones = 0, zeros = 0, first = 0;
        for (int i = 31; i >= 0; i--) {
            ones += u >> i & 1;
            if (u >> i & 1) first = i + 1;
        }
        while (zeros < 32 && !(u << zeros >> 31)) zeros++;
        cr_expect_eq(got[10], (uint32_t)(ones | zeros << 8 | first << 16));
        // 64 x 64 bits by halves
        const uint64_t p = (uint64_t)u << 32 | 0x9E3779B9u, q = (uint64_t)u * 0x9E3779B97F4A7C15u;
        const uint64_t ph = p >> 32, pl = p & 0xFFFFFFFF, qh = q >> 32, ql = q & 0xFFFFFFFF;
        const uint64_t middle = (pl * ql >> 32) + (ph * ql & 0xFFFFFFFF) + (pl * qh & 0xFFFFFFFF);
        cr_expect_eq(word64(got + 11), ph * qh + (ph * ql >> 32) + (pl * qh >> 32) + (middle >> 32));
        cr_expect_eq(got[15], 32u);
    }
}

// ---- blocks ----

Test(simt_conformance, indices) {
    for (const char *order : orders) {
        Words out = run(conformance_indices, Words(1), 12 * 64, order);
        for (uint32_t b = 0; b < 12; b++)
            for (uint32_t t = 0; t < 64; t++)
                cr_expect_eq(out[b * 64 + t], b % 3 + 10 * (b / 3 % 2) + 100 * (b / 6) + 1000 * t + 100000 * 12);
    }
}

Test(simt_conformance, memory) {
    Words in(THREADS * 4);
    for (uint32_t &x : in) x = random_word();
    for (const char *order : orders)
        for (bool late : {true, false}) {
#ifdef TEMPERA_SIMT
            simt::set_late_copies(late);
#else
            if (!late) continue;
#endif
            Words out = run(conformance_memory, in, THREADS * 4, order);
            for (int i = 0; i < THREADS * 4; i++)
                cr_expect_eq(out[i], i / 4 % 2 ? 0 : in[i], "order %s, word %d", order, i);
        }
}

Test(simt_conformance, last_block) {
    for (const char *order : orders) {
        Words out = run(conformance_last_block, Words(1), 6, order);
        cr_expect_eq(out[0], 5 * 1000 + THREADS, "order %s: %u", order, out[0]);
    }
}

Test(simt_conformance, atomics) {
    const uint32_t all = 5 * THREADS;
    uint32_t largest = 0;
    for (uint32_t i = 0; i < all; i++) largest = std::max(largest, i * 7 % 1000);
    for (const char *order : orders) {
        Words out = run(conformance_atomics, Words(1), 10, order);
        cr_expect_eq(out[0], all);
        cr_expect_eq((int32_t)out[1], -(int32_t)(5 * THREADS * (THREADS - 1) / 2));
        cr_expect_eq(word64(&out[2]), (uint64_t)all << 31);
        cr_expect_eq(out[4], largest);
        cr_expect_eq(word64(&out[6]), (uint64_t)(all - 1) << 33);
        cr_expect_eq(out[8], 0xFFFFFFFFu);
        cr_expect_eq(out[9], 2 * all);
    }
}
