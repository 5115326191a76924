// test_linear_kernels.cpp: the linear kernels by themselves: contract G (bits that depend on nothing but the row, the weight
// and its shape), the error bounds of linear.cuh against double precision, and every epilogue. Runs on the emulation, and
// built with the real runtime on a GPU.
#include "kernel_test.h"

namespace {

constexpr uint32_t CANARY = 0x7FC0BEEFu; // a NaN

enum Kernel { SKINNY, TILE, EPILOGUE };

// A weight [rows, K] with a bias, and an input [T, K] with rounded numbers.
struct Layer {
    element e;
    int32_t rows, K, T;
    std::vector<float> weight, in, bias;
    std::vector<uint8_t> weight_bytes;

    int32_t in_stride() const { return e == ELEMENT_F32 ? K : operand_stride(K); }
    Layer(element element, int32_t n, int32_t k, int32_t t, uint64_t seed, int orders = 8)
        : e(element), rows(n), K(k), T(t) {
        Random random = {seed};
        const size_t stride = (size_t)operand_stride(K);
        weight_bytes.resize((size_t)rows * stride * size_of(e));
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < K; c++) {
                weight.push_back(rounded(e, random.number(orders)));
                put(weight_bytes, e, (size_t)r * stride + (size_t)c, weight.back());
            }
        for (int32_t i = 0; i < T * K; i++) in.push_back(rounded(e, random.number(orders)));
        for (int32_t i = 0; i < rows; i++) bias.push_back(random.number(4));
    }
    std::vector<uint8_t> in_bytes(int32_t count) const {
        std::vector<uint8_t> bytes((size_t)count * (size_t)in_stride() * size_of(e));
        for (int32_t r = 0; r < count; r++)
            for (int32_t c = 0; c < K; c++)
                put(bytes, e, (size_t)r * (size_t)in_stride() + (size_t)c, in[(size_t)(r * K + c)]);
        return bytes;
    }
};

// Runs count rows of a layer. args gives the epilogue; out_stride 0 means N. Returns the whole output, in its element type,
// of which one row more than there are was filled with the canary.
std::vector<uint8_t> run(const Layer &layer, Kernel kernel, int32_t count, linear_args args = {},
                         const float *old = nullptr) {
    Stream stream;
    args.element = layer.e;
    args.N = args.gated ? layer.rows / 2 : layer.rows;
    args.K = layer.K;
    args.T = count;
    if (args.scale == 0) args.scale = 1;
    if (args.out_stride == 0) args.out_stride = args.N;
    const int32_t stride = args.out_element == ELEMENT_F32 ? args.out_stride : operand_stride(args.N);
    const size_t out_size = size_of(args.out_element);
    std::vector<uint8_t> out((size_t)(count + 1) * (size_t)stride * out_size);
    for (size_t i = 0; i < out.size(); i += 4) memcpy(&out[i], &CANARY, std::min<size_t>(4, out.size() - i));
    for (int32_t r = 0; r < count && old; r++)
        for (int32_t n = 0; n < args.N; n++) put(out, ELEMENT_F32, (size_t)(r * stride + n), old[r * args.N + n]);
    std::vector<uint8_t> bias_bytes(layer.bias.size() * 4);
    memcpy(bias_bytes.data(), layer.bias.data(), bias_bytes.size());
    Device weight(layer.weight_bytes), in(layer.in_bytes(count)), bias(bias_bytes), to(out);
    args.weight = weight.data;
    args.in = in.data;
    args.out = to.data;
    if (args.bias) args.bias = static_cast<const float *>(bias.data);
    if (kernel == EPILOGUE) {
        linear_args plain = {};
        std::vector<uint8_t> sums = run(layer, TILE, count, plain);
        sums.resize((size_t)count * (size_t)layer.rows * 4);
        Device from(sums);
        args.in = from.data;
        ok(linear_epilogue_launch(&args, stream.stream));
        ok(cudaStreamSynchronize(stream.stream));
        return to.read();
    }
    ok((kernel == SKINNY ? linear_skinny_launch : linear_tile_launch)(&args, stream.stream));
    ok(cudaStreamSynchronize(stream.stream));
    return to.read();
}

// The first `count` rows of `bytes` are those of `want`, and the row after them still holds the canary.
void same_rows(const std::vector<uint8_t> &bytes, const std::vector<uint8_t> &want, size_t row_bytes, int32_t count,
               const char *what, int32_t T) {
    cr_assert(memcmp(bytes.data(), want.data(), row_bytes * (size_t)count) == 0, "%s: other bits at T = %d", what, T);
    for (size_t i = row_bytes * (size_t)count; i + 4 <= bytes.size(); i += 4)
        cr_assert(memcmp(&bytes[i], &CANARY, 4) == 0, "%s: wrote beyond the last of %d rows", what, T);
}

struct Shape {
    int32_t rows, K, segments;
};
const Shape SHAPES[] = {{40, 96, 1}, {21, 72, 1}, {9, 13, 1}, {17, 272, 2}, {12, 540, 4}, {12, 1030, 8}};

} // namespace

Test(linear_kernels, segments_follow_from_the_shape) {
    for (const Shape &s : SHAPES) cr_expect_eq(linear_segments(s.rows, s.K), s.segments);
    const Shape models[] = {{2304, 768, 2}, {768, 768, 4},   {3072, 768, 2},
                            {768, 3072, 8}, {50257, 768, 1}, {4096, 14336, 1}};
    for (const Shape &s : models) cr_expect_eq(linear_segments(s.rows, s.K), s.segments, "%d x %d", s.rows, s.K);
}

// |error| stays within the bound of linear.cuh, for every output.
Test(linear_kernels, close_to_double_precision) {
    for (element e : ELEMENTS)
        for (const Shape &s : SHAPES) {
            const Layer layer(e, s.rows, s.K, 70, 1 + (uint64_t)s.K, 12);
            const std::vector<uint8_t> out = run(layer, TILE, layer.T);
            double worst = 0;
            for (int32_t t = 0; t < layer.T; t++)
                for (int32_t n = 0; n < s.rows; n++) {
                    double sum = 0, size = 0;
                    for (int32_t k = 0; k < s.K; k++) {
                        const double product =
                            (double)layer.in[(size_t)(t * s.K + k)] * layer.weight[(size_t)(n * s.K + k)];
                        sum += product;
                        size += std::fabs(product);
                    }
                    const double blocks = operand_stride(s.K) / 16;
                    const double bound = size * (e == ELEMENT_F32 ? (blocks + 40) * 0x1p-24 : blocks * 0x1p-22);
                    const double error = std::fabs(get(out.data(), ELEMENT_F32, (size_t)(t * s.rows + n)) - sum);
                    cr_assert(error <= bound, "element %d, K %d: error %g, bound %g", e, s.K, error, bound);
                    worst = std::fmax(worst, error / bound);
                }
            cr_log_info("element %d, K %d: %.2f of the bound", e, s.K, worst);
        }
}

// One row's bits are the same in either kernel, for every T.
Test(linear_kernels, bits_do_not_depend_on_the_kernel_or_t) {
    for (element e : ELEMENTS)
        for (const Shape &s : SHAPES) {
            const Layer layer(e, s.rows, s.K, 130, 2 + (uint64_t)s.K, 12);
            const std::vector<uint8_t> want = run(layer, TILE, layer.T);
            const size_t row = (size_t)s.rows * 4;
            const bool every = s.K < 100;
            for (int32_t T = 1; T <= LINEAR_SKINNY_MAX; T += every || T % 16 == 0 || T % 16 == 15 ? 1 : 7)
                same_rows(run(layer, SKINNY, T), want, row, T, "skinny", T);
            for (int32_t T = 1; T < layer.T; T += every ? 3 : 32)
                same_rows(run(layer, TILE, T), want, row, T, "tile", T);
        }
}

// What the other rows hold is nothing to a row: not even NaN and infinity.
Test(linear_kernels, rows_are_strangers) {
    for (element e : ELEMENTS)
        for (const Shape &s : SHAPES) {
            const int32_t T = 70, mine[] = {0, 9, 33, 63, 69};
            Layer layer(e, s.rows, s.K, T, 3 + (uint64_t)s.K);
            const std::vector<uint8_t> want = run(layer, TILE, T);
            const std::vector<float> clean = layer.in;
            for (int32_t t = 0; t < T; t++)
                for (int32_t k = 0; k < s.K; k++) layer.in[(size_t)(t * s.K + k)] = (t + k) % 3 ? NAN : INFINITY;
            for (int32_t t : mine)
                memcpy(&layer.in[(size_t)(t * s.K)], &clean[(size_t)(t * s.K)], (size_t)s.K * sizeof(float));
            const std::vector<uint8_t> tile = run(layer, TILE, T), skinny = run(layer, SKINNY, LINEAR_SKINNY_MAX);
            const size_t row = (size_t)s.rows * 4;
            for (int32_t t : mine) {
                cr_assert(memcmp(&tile[(size_t)t * row], &want[(size_t)t * row], row) == 0, "tile, row %d", t);
                if (t < LINEAR_SKINNY_MAX)
                    cr_assert(memcmp(&skinny[(size_t)t * row], &want[(size_t)t * row], row) == 0, "skinny, row %d", t);
            }
        }
}

// The large tile, with and without segments; and two tiles to a warp in the skinny kernel.
Test(linear_kernels, large_tiles_give_the_same_bits) {
    const struct {
        element e;
        int32_t rows, K, T;
    } cases[] = {{ELEMENT_BF16, 16390, 40, 130}, {ELEMENT_F32, 8200, 17, 130}, {ELEMENT_F16, 2050, 256, 1030}};
    for (const auto &c : cases) {
        const Layer layer(c.e, c.rows, c.K, c.T, 4);
        const std::vector<uint8_t> large = run(layer, TILE, c.T), small = run(layer, SKINNY, 64),
                                   few = run(layer, SKINNY, 3);
        const size_t row = (size_t)c.rows * 4;
        same_rows(small, large, row, 64, "skinny", 64);
        same_rows(few, large, row, 3, "skinny", 3);
        const Layer part(c.e, c.rows, c.K, c.T, 4);
        same_rows(run(part, TILE, 40), large, row, 40, "tile", 40);
    }
}

namespace {

double activation(kernel_activation which, double x) {
    switch (which) {
    case KERNEL_GELU_ERF: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case KERNEL_GELU_TANH: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case KERNEL_SILU: return x / (1 + std::exp(-x));
    case KERNEL_RELU: return x > 0 ? x : 0;
    default: return x;
    }
}

// An epilogue against double precision, starting from sums that the plain tile kernel gave.
void check_epilogue(const Layer &layer, const linear_args &args, const std::vector<uint8_t> &out,
                    const std::vector<float> &old, int32_t T) {
    const std::vector<uint8_t> sums = run(layer, TILE, T);
    const int32_t N = args.gated ? layer.rows / 2 : layer.rows;
    const element o = args.out_element;
    const int32_t stride = o != ELEMENT_F32 ? operand_stride(N) : args.out_stride ? args.out_stride : N;
    const double unit = o == ELEMENT_F16 ? 0x1p-11 : o == ELEMENT_BF16 ? 0x1p-8 : 0x1p-24;
    for (int32_t t = 0; t < T; t++) {
        for (int32_t n = 0; n < N; n++) {
            auto term = [&](int32_t column) {
                const double sum = get(sums.data(), ELEMENT_F32, (size_t)(t * layer.rows + column));
                return sum * args.scale + (args.bias ? layer.bias[(size_t)column] : 0);
            };
            const double x = term(n), up = args.gated ? term(N + n) : 1;
            double v = activation(args.activation, x) * up;
            if (args.softcap != 0) v = args.softcap * std::tanh(v / args.softcap);
            const double before = args.accumulate ? old[(size_t)(t * N + n)] : 0;
            // The sums' own rounding, 19 units of the activation (activation.cuh), the products, the cap and the addition.
            const double sized =
                (std::fabs(x) + std::fabs(get(sums.data(), ELEMENT_F32, (size_t)(t * layer.rows + n)))) * 1.2;
            const double bound = 0x1p-24 * (4 * sized * std::fabs(up) + 24 * std::fabs(v) + 4 * std::fabs(v + before)) +
                                 0x1p-24 * 4 * std::fabs(activation(args.activation, x)) * std::fabs(up) +
                                 unit * std::fabs(v) * 1.01 + (o == ELEMENT_F16 ? 0x1p-25 : 0x1p-126);
            const double got = get(out.data(), o, (size_t)t * (size_t)stride + (size_t)n);
            cr_assert(std::fabs(got - (v + before)) <= bound, "row %d, column %d: %g, expected %g, bound %g", t, n, got,
                      v + before, bound);
        }
        for (int32_t n = N; n < stride; n++) {
            const float beyond = get(out.data(), o, (size_t)t * (size_t)stride + (size_t)n);
            if (o == ELEMENT_F32) {
                cr_assert_eq(float_bits(beyond), CANARY, "row %d, column %d was written", t, n);
            } else {
                cr_assert_eq(float_bits(beyond), 0u, "row %d, column %d is not zero", t, n);
            }
        }
    }
}

} // namespace

Test(linear_kernels, epilogues) {
    int number = 0;
    for (element e : ELEMENTS)
        for (int form = 0; form < 96; form++) {
            linear_args args = {};
            args.activation = (kernel_activation)(form % 5);
            static const float present = 0;
            args.bias = form & 1 ? &present : nullptr; // run() puts the layer's
            args.gated = form & 2;
            args.accumulate = (form & 4) && !(form & 8);
            args.out_element = form & 8 ? e : ELEMENT_F32;
            args.scale = form & 16 ? 0.25f : 1.0f;
            args.softcap = form & 32 ? 3.0f : 0.0f;
            if (args.out_element == ELEMENT_F32 && form & 1) args.out_stride = 50;
            const int32_t N = form % 3 ? 37 : 24; // an operand's columns 37 … 47 are zero
            const int32_t K = form % 7 == 0 ? 512 : 44, T = 67;
            const Layer layer(e, args.gated ? 2 * N : N, K, T, (uint64_t)++number, 3);
            std::vector<float> old;
            Random random = {(uint64_t)number};
            for (int32_t i = 0; i < T * N && args.accumulate; i++) old.push_back(random.number(6));
            const float *before = args.accumulate ? old.data() : nullptr;
            const std::vector<uint8_t> out = run(layer, TILE, T, args, before);
            check_epilogue(layer, args, out, old, T);
            const int32_t stride = args.out_element != ELEMENT_F32 ? operand_stride(N)
                                   : args.out_stride               ? args.out_stride
                                                                   : N;
            const size_t row = (size_t)stride * size_of(args.out_element);
            same_rows(run(layer, EPILOGUE, T, args, before), out, row, T, "epilogue", T);
            for (int32_t count : {1, 16, 21, 64})
                same_rows(run(layer, SKINNY, count, args, before), out, row, count, "skinny", count);
        }
}

namespace {

// Random fp32 numbers on the device.
struct Numbers : Device {
    Numbers(size_t count, int orders, uint64_t seed) : Device(make(count, orders, seed)) {}
    float *floats() const { return static_cast<float *>(data); }
    static std::vector<uint8_t> make(size_t count, int orders, uint64_t seed) {
        Random random = {seed};
        std::vector<uint8_t> bytes(count * 4);
        for (size_t i = 0; i < count; i++) put(bytes, ELEMENT_F32, i, random.number(orders));
        return bytes;
    }
};

norm_args make_norm(element e, const Numbers &residual, const Numbers &factors, void *out, int32_t D, int32_t T,
                    int form) {
    norm_args norm = {};
    norm.out = out;
    norm.out_element = e;
    norm.residual = residual.floats();
    norm.weight = norm.bias = form & 1 ? factors.floats() : nullptr;
    norm.kind = form & 2 ? KERNEL_RMS_NORM : KERNEL_LAYER_NORM;
    norm.eps = 1e-5f;
    norm.T = T;
    norm.D = D;
    return norm;
}

} // namespace

// The fused norm: the bits of the norm kernel and then the skinny one.
Test(linear_kernels, fused_norm_gives_the_same_bits) {
    const struct {
        int32_t rows, D;
        bool gated;
    } cases[] = {{24, 48, false}, {40, 124, true},   {21, 512, false},
                 {30, 768, true}, {17, 1100, false}, {8, 2052, false}};
    Stream stream;
    for (element e : ELEMENTS)
        for (const auto &c : cases)
            for (int form = 0; form < 4; form++) {
                const Layer layer(e, c.rows, c.D, LINEAR_NORM_MAX, (uint64_t)(c.D + form), 3);
                const Numbers residual((size_t)(LINEAR_NORM_MAX * c.D), 9, 9), factors((size_t)c.D, 2, 10);
                Device normed(std::vector<uint8_t>((size_t)(LINEAR_NORM_MAX * operand_stride(c.D)) * 4)),
                    weight(layer.weight_bytes);
                for (int32_t T = 1; T <= LINEAR_NORM_MAX; T++) {
                    const std::vector<uint8_t> nothing((size_t)(T * c.rows) * 4);
                    const norm_args norm = make_norm(e, residual, factors, normed.data, c.D, T, form);
                    Device one(nothing), two(nothing);
                    linear_args args = {};
                    args.out = one.data;
                    args.in = normed.data;
                    args.weight = weight.data;
                    args.element = e;
                    args.gated = c.gated;
                    args.activation = KERNEL_SILU;
                    args.scale = 1;
                    args.T = T;
                    args.N = args.out_stride = c.gated ? c.rows / 2 : c.rows;
                    args.K = c.D;
                    ok(norm_launch(&norm, stream.stream));
                    ok(linear_skinny_launch(&args, stream.stream));
                    args.out = two.data;
                    args.in = nullptr;
                    cr_assert(linear_norm_fits(&args, &norm));
                    ok(linear_fused_launch(&args, &norm, nullptr, stream.stream));
                    ok(cudaStreamSynchronize(stream.stream));
                    cr_assert(one.read() == two.read(), "element %d, D %d, T %d, form %d", e, c.D, T, form);
                }
            }
}

// Rotary position and the KV store in the product's launch: the bits of the kernels one after the other, in qkv and pages.
Test(linear_kernels, fused_rope_gives_the_same_bits) {
    const struct {
        int32_t H, Hkv, Dh, rotary, D;
        bool interleaved, table;
    } cases[] = {{2, 1, 16, 16, 48, false, true},  {2, 2, 32, 16, 64, false, true}, {3, 1, 48, 32, 52, false, true},
                 {2, 1, 64, 64, 260, false, true}, {1, 1, 32, 6, 48, true, true},   {2, 1, 48, 48, 32, true, true},
                 {2, 2, 16, 0, 1024, false, false}};
    const int32_t positions[] = {5, 0, 130, -1, 7, 8, 9, 10, 3, 2, 1, 63, 64, 65, -1, 100};
    const int32_t slots[] = {70, 0, 130, -1, 71, 72, 73, 74, 3, 2, 1, 63, 64, 190, -1, 100};
    const int32_t pages = 3, context = 131;
    Stream stream;
    for (element e : ELEMENTS)
        for (const auto &c : cases)
            for (int32_t T : {1, 4, 9, 16})
                for (int form = 0; form < 2; form++) {
                    const int32_t N = (c.H + 2 * c.Hkv) * c.Dh;
                    const Layer layer(e, N, c.D, T, (uint64_t)(c.D + T), 3);
                    const Numbers residual((size_t)(T * c.D), 5, 11), factors((size_t)c.D, 2, 12),
                        bias((size_t)N, 3, 13);
                    const Numbers table((size_t)(context * (c.rotary + 1)), 3, 14);
                    std::vector<uint8_t> tables(2 * sizeof positions);
                    memcpy(tables.data(), positions, sizeof positions);
                    memcpy(tables.data() + sizeof positions, slots, sizeof slots);
                    const std::vector<uint8_t> empty((size_t)(pages * c.Hkv * KV_PAGE_TOKENS * kv_width(c.Dh)) *
                                                     size_of(e));
                    const std::vector<uint8_t> nothing((size_t)(T * N) * 4);
                    Device step(tables), weight(layer.weight_bytes), in(layer.in_bytes(T)), normed(layer.in_bytes(T));
                    const norm_args norm = make_norm(e, residual, factors, normed.data, c.D, T, 1);
                    const bool fused_norm = form == 1 && T <= LINEAR_NORM_MAX;
                    std::vector<uint8_t> qkv[2], keys[2], values[2];
                    for (int fused = 0; fused < 2; fused++) {
                        Device out(nothing), k(empty), v(empty);
                        rope_store_args rope = {};
                        rope.qkv = static_cast<float *>(out.data);
                        rope.table = c.table ? table.floats() : nullptr;
                        rope.rotary = c.rotary;
                        rope.interleaved = c.interleaved;
                        rope.k = k.data;
                        rope.v = v.data;
                        rope.element = e;
                        rope.T = T, rope.H = c.H, rope.Hkv = c.Hkv, rope.Dh = c.Dh;
                        rope.step.position = static_cast<int32_t *>(step.data);
                        rope.step.slot = rope.step.position + 16;
                        linear_args args = {};
                        args.out = out.data;
                        args.out_stride = args.N = N;
                        args.in = fused_norm ? (fused ? nullptr : normed.data) : in.data;
                        args.weight = weight.data;
                        args.bias = bias.floats();
                        args.element = e;
                        args.scale = 1;
                        args.T = T;
                        args.K = c.D;
                        if (fused) {
                            cr_assert(linear_rope_fits(&args, &rope));
                            ok(linear_fused_launch(&args, fused_norm ? &norm : nullptr, &rope, stream.stream));
                        } else {
                            if (fused_norm) ok(norm_launch(&norm, stream.stream));
                            ok(linear_skinny_launch(&args, stream.stream));
                            ok(rope_store_launch(&rope, stream.stream));
                        }
                        ok(cudaStreamSynchronize(stream.stream));
                        qkv[fused] = out.read(), keys[fused] = k.read(), values[fused] = v.read();
                    }
                    cr_assert(qkv[0] == qkv[1], "qkv: element %d, Dh %d, rotary %d, T %d", e, c.Dh, c.rotary, T);
                    cr_assert(keys[0] == keys[1], "keys: element %d, Dh %d, rotary %d, T %d", e, c.Dh, c.rotary, T);
                    cr_assert(values[0] == values[1], "values: element %d, Dh %d, rotary %d, T %d", e, c.Dh, c.rotary,
                              T);
                }
}

#ifdef TEMPERA_SIMT
// No order of threads or of asynchronous copies shows in the bits.
Test(linear_kernels, orders) {
    for (element e : ELEMENTS) {
        const Layer layer(e, 43, 540, 70, 5);
        simt::set_order("fwd:1");
        const std::vector<uint8_t> want = run(layer, TILE, 70);
        for (const char *order :
             {"fwd:1", "rev:1", "warpfwd:1", "warprev:1", "warprand:1", "warprand:2", "chaos:1", "chaos:2"})
            for (bool late : {true, false}) {
                cr_assert(simt::set_order(order));
                simt::set_late_copies(late);
                same_rows(run(layer, TILE, 70), want, 43 * 4, 70, order, 70);
                same_rows(run(layer, SKINNY, 19), want, 43 * 4, 19, order, 19);
            }
    }
}
#endif

Test(linear_kernels, compare_counts_words) {
    std::vector<uint8_t> a(4 * 10007), b;
    for (size_t i = 0; i < a.size(); i++) a[i] = (uint8_t)(i * 7);
    b = a;
    b[0] ^= 1, b[4 * 5000] ^= 128, b[4 * 10006 + 3] ^= 1;
    Stream stream;
    Device x(a), y(b), count(std::vector<uint8_t>(4));
    const linear_compare_args args = {static_cast<uint32_t *>(x.data), static_cast<uint32_t *>(y.data), 10007,
                                      static_cast<uint32_t *>(count.data)};
    ok(linear_compare_launch(&args, stream.stream));
    ok(cudaStreamSynchronize(stream.stream));
    cr_expect_eq(count.read()[0], 3);
}
