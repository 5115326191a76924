// probe_cublas.cu: does cuBLASLt give the bits of one chain of tensor-core products, and what does insisting on it cost?
//
//     gpu_probe_cublas [--json FILE] [--quick]
//
// The reference is contract G's sum: one fp32 accumulator, m16n8k16 products over ascending k, by the plainest kernel there
// is (a warp owns 16 tokens x 8 outputs and reads its operands from global memory). For each weight shape, type and count
// of tokens all algorithms are tried that the heuristic offers without a workspace, a reduction scheme or split-K; each is
// compared bit by bit and timed, and so is the fastest one of those that the heuristic offers when it is free to choose.
// Random operands have exponents spread over 2^-8 ... 2^8, so that an order of summation shows.
#include "gpu_blas.h"

namespace {

constexpr size_t MOST = (size_t)8192 * 8192; // elements of the largest operand, weight or output

gpu::Device device;
cudaStream_t stream;

// ---- the chain -------------------------------------------------------------------------------------------------------

template <typename T> __device__ __forceinline__ void multiply(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    if (std::is_same<T, __half>::value)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// out [T, N] = in [T, K] . weight [N, K] transposed; K a multiple of 16, N of 8. Block: 4 warps, four n8 tiles.
template <typename T> __global__ void chain(const T *in, const T *weight, float *out, int tokens, int N, int K) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int column = (blockIdx.x * 4 + threadIdx.x / 32) * 8, row = blockIdx.y * 16;
    if (column >= N) return;
    const uint32_t *w = reinterpret_cast<const uint32_t *>(weight + (size_t)(column + g) * K);
    const bool low = row + g < tokens, high = row + g + 8 < tokens;
    const uint32_t *x0 = reinterpret_cast<const uint32_t *>(in + (size_t)(low ? row + g : 0) * K);
    const uint32_t *x1 = reinterpret_cast<const uint32_t *>(in + (size_t)(high ? row + g + 8 : 0) * K);
    float d[4] = {0, 0, 0, 0};
    for (int k = 0; k < K; k += 16) {
        const uint32_t a[4] = {low ? x0[k / 2 + t] : 0, high ? x1[k / 2 + t] : 0, low ? x0[k / 2 + t + 4] : 0,
                               high ? x1[k / 2 + t + 4] : 0};
        const uint32_t b[2] = {w[k / 2 + t], w[k / 2 + t + 4]};
        multiply<T>(d, a, b);
    }
    if (low) {
        out[(size_t)(row + g) * N + column + 2 * t] = d[0];
        out[(size_t)(row + g) * N + column + 2 * t + 1] = d[1];
    }
    if (high) {
        out[(size_t)(row + g + 8) * N + column + 2 * t] = d[2];
        out[(size_t)(row + g + 8) * N + column + 2 * t + 1] = d[3];
    }
}

__global__ void count_differences(const uint32_t *a, const uint32_t *b, size_t count, unsigned long long *out) {
    unsigned long long differ = 0;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (size_t)gridDim.x * blockDim.x)
        differ += a[i] != b[i];
    if (differ) atomicAdd(out, differ);
}

size_t differences(const float *a, const float *b, size_t count) {
    static unsigned long long *out = gpu::device_new<unsigned long long>(1);
    unsigned long long differ;
    CHECK(cudaMemsetAsync(out, 0, sizeof *out, stream));
    count_differences<<<256, 256, 0, stream>>>(reinterpret_cast<const uint32_t *>(a),
                                               reinterpret_cast<const uint32_t *>(b), count, out);
    CHECK(cudaMemcpyAsync(&differ, out, sizeof differ, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    return differ;
}

// Operands of the largest shape, and outputs.
template <typename T> struct Buffers {
    T *in, *weight;
    float *reference, *out;
};

template <typename T> Buffers<T> make_buffers(float *reference, float *out) {
    const Buffers<T> m = {gpu::device_new<T>(MOST), gpu::device_new<T>(MOST), reference, out};
    gpu::fill(m.in, MOST, 1, 8);
    gpu::fill(m.weight, MOST, 2, 8);
    return m;
}

template <typename T> void probe_shape(const Buffers<T> &m, int tokens, int N, int K) {
    const dim3 grid((unsigned)(N / 8 + 3) / 4, (unsigned)(tokens + 15) / 16);
    chain<T><<<grid, 128, 0, stream>>>(m.in, m.weight, m.reference, tokens, N, K);
    CHECK(cudaStreamSynchronize(stream));
    const gpu::Product<T> product(m.in, m.weight, m.out, tokens, N, K);
    const size_t count = (size_t)tokens * N;
    int equal = 0, tried = 0, split = 0;
    double best_equal = 1e30;
    size_t least = count; // differing elements of the closest one that differs
    const int runs = (double)tokens * N * K > 1e11 ? 3 : 7;
    for (const auto &found : product.algorithms(false)) {
        if (gpu::config(found.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) > 1) {
            split++;
            continue;
        }
        CHECK(cudaMemsetAsync(m.out, 0xFF, count * sizeof(float), stream));
        if (!product.run(found.algo, stream)) continue;
        tried++;
        const size_t differ = differences(m.reference, m.out, count);
        if (differ == 0) {
            equal++;
            best_equal = std::min(best_equal, gpu::time_us(
                                                  stream, [&] { product.run(found.algo, stream); }, runs));
        } else {
            least = std::min(least, differ);
        }
    }
    const double best_free = gpu::fastest_us(product, stream, 8, runs);
    const std::string name = gpu::text("%s [%d, %d] T=%d", gpu::Type<T>::name, N, K, tokens);
    gpu::result(
        name + ", equal", tried ? 100.0 * equal / tried : 0, "%",
        gpu::text("%d of %d algorithms (%d more split K)", equal, tried, split) +
            (equal < tried ? gpu::text("; closest other: %.3g%% of elements differ", 100.0 * least / count) : ""));
    if (equal)
        gpu::result(name + ", loss", 100 * (best_equal / best_free - 1), "%",
                    gpu::text("%.1f us against %.1f us, %.0f TFLOP/s", best_equal, best_free,
                              2.0 * tokens * N * K / best_equal * 1e-6));
}

} // namespace

int main(int argc, char **argv) {
    device = gpu::open(&argc, argv);
    const bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    gpu::blas_open();
    float *reference = gpu::device_new<float>(MOST), *out = gpu::device_new<float>(MOST);
    const auto bf16 = make_buffers<__nv_bfloat16>(reference, out);
    const auto f16 = make_buffers<__half>(reference, out);

    gpu::begin("cublas bits",
               "Shares of cuBLASLt algorithms without split-K that give the bits of one ascending mma chain, and what "
               "the fastest of them loses against a free choice.");
    const int shapes[][2] = {{768, 768},   {2304, 768},  {768, 3072},  {1600, 6400},
                             {4096, 4096}, {6144, 4096}, {4096, 14336}};
    const int tokens[] = {1, 2, 8, 16, 17, 33, 64, 65, 100, 128, 256, 1000, 2048, 4096};
    for (const auto &shape : shapes)
        for (int T : tokens) {
            if (quick && T != 1 && T != 17 && T != 128 && T != 2048) continue;
            probe_shape(bf16, T, shape[0], shape[1]);
            if (T == 17 || T == 128 || T == 2048) probe_shape(f16, T, shape[0], shape[1]);
        }
    gpu::begin("cublas ceiling", "The fastest square product.");
    gpu::result("bf16 8192^3", gpu::ceiling_flops(stream, bf16.in, bf16.weight, out) * 1e-12, "TFLOP/s");
    gpu::result("f16 8192^3", gpu::ceiling_flops(stream, f16.in, f16.weight, out) * 1e-12, "TFLOP/s");
    return 0;
}
