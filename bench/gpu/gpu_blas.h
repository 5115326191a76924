// gpu_blas.h: cuBLASLt products as the linear layers have them, for comparisons.
#pragma once

#include "gpu_bench.h"

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define CHECK_BLAS(call)                                                                                               \
    do {                                                                                                               \
        cublasStatus_t check_status = (call);                                                                          \
        if (check_status != CUBLAS_STATUS_SUCCESS) {                                                                   \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cublasLtGetStatusString(check_status));      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

namespace gpu {

enum { ALGORITHMS = 32, FREE_WORKSPACE = 32 << 20 };

inline cublasLtHandle_t handle;
inline void *workspace;

inline void blas_open() {
    CHECK_BLAS(cublasLtCreate(&handle));
    workspace = device_new<char>(FREE_WORKSPACE);
}

template <typename T> struct Type;
template <> struct Type<__nv_bfloat16> {
    static constexpr cudaDataType_t blas = CUDA_R_16BF;
    static constexpr const char *name = "bf16";
};
template <> struct Type<__half> {
    static constexpr cudaDataType_t blas = CUDA_R_16F;
    static constexpr const char *name = "f16";
};

// The product in the library's column-major words: out' [N, T] = weight' [K, N] transposed . in' [K, T].
template <typename T> struct Product {
    const T *in, *weight;
    float *out;
    int tokens, N, K;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;

    Product(const T *in, const T *weight, float *out, int tokens, int N, int K)
        : in(in), weight(weight), out(out), tokens(tokens), N(N), K(K) {
        const cublasOperation_t transposed = CUBLAS_OP_T;
        CHECK_BLAS(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
        CHECK_BLAS(
            cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
        CHECK_BLAS(cublasLtMatrixLayoutCreate(&a, Type<T>::blas, K, N, K));
        CHECK_BLAS(cublasLtMatrixLayoutCreate(&b, Type<T>::blas, K, tokens, K));
        CHECK_BLAS(cublasLtMatrixLayoutCreate(&c, CUDA_R_32F, N, tokens, N));
    }
    ~Product() {
        cublasLtMatrixLayoutDestroy(a);
        cublasLtMatrixLayoutDestroy(b);
        cublasLtMatrixLayoutDestroy(c);
        cublasLtMatmulDescDestroy(operation);
    }
    Product(const Product &) = delete;

    std::vector<cublasLtMatmulHeuristicResult_t> algorithms(bool free) const {
        cublasLtMatmulPreference_t preference;
        const uint64_t bytes = free ? FREE_WORKSPACE : 0;
        CHECK_BLAS(cublasLtMatmulPreferenceCreate(&preference));
        CHECK_BLAS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                                        sizeof bytes));
        if (!free) {
            const uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;
            CHECK_BLAS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                            &none, sizeof none));
        }
        std::vector<cublasLtMatmulHeuristicResult_t> found(ALGORITHMS);
        int count = 0;
        if (cublasLtMatmulAlgoGetHeuristic(handle, operation, a, b, c, c, preference, ALGORITHMS, found.data(),
                                           &count) != CUBLAS_STATUS_SUCCESS)
            count = 0;
        found.resize((size_t)count);
        CHECK_BLAS(cublasLtMatmulPreferenceDestroy(preference));
        return found;
    }

    bool run(const cublasLtMatmulAlgo_t &algorithm, cudaStream_t stream) const {
        const float one = 1, zero = 0;
        return cublasLtMatmul(handle, operation, &one, weight, a, in, b, &zero, out, c, out, c, &algorithm, workspace,
                              FREE_WORKSPACE, stream) == CUBLAS_STATUS_SUCCESS;
    }
};

inline int config(const cublasLtMatmulAlgo_t &algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
    int32_t value = 0;
    size_t written;
    if (cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written) !=
        CUBLAS_STATUS_SUCCESS)
        return -1;
    return value;
}

// The algorithm that is fastest of the first `most` that the heuristic offers when it is free to choose, and its time.
template <typename T>
double fastest_us(const Product<T> &product, cudaStream_t stream, int most, int runs,
                  cublasLtMatmulAlgo_t *algorithm = nullptr) {
    double best = 1e30;
    int tried = 0;
    for (const auto &found : product.algorithms(true)) {
        if (tried == most) break;
        if (!product.run(found.algo, stream)) continue;
        tried++;
        const double us = time_us(
            stream, [&] { product.run(found.algo, stream); }, runs);
        if (us < best && algorithm) *algorithm = found.algo;
        best = std::min(best, us);
    }
    return best;
}

// The rate that shares of the matrix rate are shares of: 8192^3.
template <typename T> double ceiling_flops(cudaStream_t stream, const T *in, const T *weight, float *out) {
    const int SIZE = tiny ? 64 : 8192;
    return 2.0 * SIZE * SIZE * SIZE / fastest_us(Product<T>(in, weight, out, SIZE, SIZE, SIZE), stream, 6, 5) * 1e6;
}

} // namespace gpu
