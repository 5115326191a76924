// simt_cublas.cpp: the part of cuBLASLt that the backend uses, on the CPU: D = alpha op(A) op(B) + beta C for f32, f16 and
// bf16, sums in fp32, without an epilogue, on copies of A and B that are widened to fp32. As with the real library there are
// algorithms that add in the order of the tensor cores and others: the heuristic gives OpenBLAS' product first, then, for
// 16-bit elements, one chain of mma16 steps (as simt_emu.cpp does them) over ascending k. Neither splits K.
#include <cblas.h>
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "simt_race.h"
#include "simt_runtime.h"

extern "C" void openblas_set_num_threads(int threads);

struct cublasLtContext {
    int unused;
};

namespace {

struct Description { // of a product
    cublasComputeType_t compute;
    cudaDataType_t scale;
    cublasOperation_t transa = CUBLAS_OP_N, transb = CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    cublasLtPointerMode_t pointers = CUBLASLT_POINTER_MODE_HOST;
};

struct Layout { // of a matrix
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld;
    cublasLtOrder_t order = CUBLASLT_ORDER_COL;
    int32_t batch = 1;
    int64_t batch_stride = 0;

    size_t element() const { return type == CUDA_R_32F ? 4 : 2; }
    size_t index(uint64_t row, uint64_t col) const {
        return order == CUBLASLT_ORDER_COL ? col * (uint64_t)ld + row : row * (uint64_t)ld + col;
    }
    // Elements from the first to the last one, of all matrices of the batch.
    size_t extent() const { return index(rows - 1, cols - 1) + 1 + (size_t)(batch - 1) * (size_t)batch_stride; }
    bool valid() const {
        return rows > 0 && cols > 0 && ld >= (int64_t)(order == CUBLASLT_ORDER_COL ? rows : cols) && batch >= 1;
    }
};

struct Preference {
    size_t workspace = 0;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
};

Description *description(cublasLtMatmulDesc_t handle) {
    return reinterpret_cast<Description *>(handle);
}
Layout *layout(cublasLtMatrixLayout_t handle) {
    return reinterpret_cast<Layout *>(handle);
}
Preference *preference(cublasLtMatmulPreference_t handle) {
    return reinterpret_cast<Preference *>(handle);
}

bool known_type(cudaDataType_t type) {
    return type == CUDA_R_32F || type == CUDA_R_16F || type == CUDA_R_16BF;
}

cublasStatus_t enter(const char *name, cublasStatus_t injected) {
    return simt::count_call(name, cudaErrorUnknown) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : injected;
}

template <typename T> cublasStatus_t set_value(T *to, const void *from, size_t bytes) {
    if (!from || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, from, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

float load(const void *base, cudaDataType_t type, size_t i) {
    switch (type) {
    case CUDA_R_16F: return __half2float(static_cast<const __half *>(base)[i]);
    case CUDA_R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16 *>(base)[i]);
    default: return static_cast<const float *>(base)[i];
    }
}

void store(void *base, cudaDataType_t type, size_t i, float value) {
    switch (type) {
    case CUDA_R_16F: static_cast<__half *>(base)[i] = __float2half_rn(value); break;
    case CUDA_R_16BF: static_cast<__nv_bfloat16 *>(base)[i] = __float2bfloat16_rn(value); break;
    default: static_cast<float *>(base)[i] = value;
    }
}

// Toward zero.
float cut(double x) {
    float y = (float)x;
    return std::fabs((double)y) > std::fabs(x) && std::fabs(x) < 0x1p128 ? std::nextafterf(y, 0) : y;
}

// The sum of k products as a chain of mma16 steps: 16 products (even ones first) and the accumulator, cut to fp32.
float chain(const float *x, const float *y, size_t k) {
    float sum = 0;
    for (size_t first = 0; first < k; first += 16) {
        const size_t end = std::min(k, first + 16);
        double exact = (double)sum;
        for (size_t odd = 0; odd < 2; odd++)
            for (size_t i = first + odd; i < end; i += 2) exact += (double)x[i] * (double)y[i];
        sum = cut(exact);
    }
    return sum;
}

struct Product {
    Layout a, b, c, d;
    bool transa, transb;
    size_t m, n, k;
    float alpha, beta;
    const void *A, *B, *C;
    void *D;
    bool chains;

    void run() const {
        for (int32_t i = 0; i < d.batch; i++) run_one((size_t)i);
    }

  private:
    // op(X) as [count, k] in fp32; by_columns: x's columns are the rows of the result.
    std::vector<float> widen(const Layout &x, const void *data, bool by_columns, size_t count, size_t first) const {
        std::vector<float> out(count * k);
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < k; j++)
                out[i * k + j] = load(data, x.type, first + (by_columns ? x.index(j, i) : x.index(i, j)));
        return out;
    }

    void run_one(size_t batch) const {
        std::vector<float> left = widen(a, A, transa, m, batch * (size_t)a.batch_stride);
        std::vector<float> right = widen(b, B, !transb, n, batch * (size_t)b.batch_stride);
        std::vector<float> sum(m * n);
        if (chains)
            for (size_t col = 0; col < n; col++)
                for (size_t row = 0; row < m; row++) sum[col * m + row] = chain(&left[row * k], &right[col * k], k);
        else
            cblas_sgemm(CblasColMajor, CblasTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.0f, left.data(), (int)k,
                        right.data(), (int)k, 0.0f, sum.data(), (int)m);
        size_t c_first = batch * (size_t)c.batch_stride, d_first = batch * (size_t)d.batch_stride;
        for (size_t col = 0; col < n; col++)
            for (size_t row = 0; row < m; row++) {
                size_t to = d_first + d.index(row, col);
                float value = alpha * sum[col * m + row];
                if (beta != 0) value += beta * load(C, c.type, c_first + c.index(row, col));
                store(D, d.type, to, value);
                simt::race_written(static_cast<unsigned char *>(D) + to * d.element(), d.element());
            }
    }
};

cublasStatus_t shape(const Description &p, Product *product) {
    const Layout &a = product->a, &b = product->b, &c = product->c, &d = product->d;
    bool types = known_type(a.type) && a.type == b.type && known_type(d.type) && c.type == d.type;
    bool compute = p.compute == CUBLAS_COMPUTE_32F || p.compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
                   p.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if (!types || !compute || p.scale != CUDA_R_32F || p.epilogue != CUBLASLT_EPILOGUE_DEFAULT ||
        p.pointers != CUBLASLT_POINTER_MODE_HOST)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!a.valid() || !b.valid() || !c.valid() || !d.valid()) return CUBLAS_STATUS_INVALID_VALUE;
    product->transa = p.transa != CUBLAS_OP_N;
    product->transb = p.transb != CUBLAS_OP_N;
    product->m = product->transa ? a.cols : a.rows;
    product->k = product->transa ? a.rows : a.cols;
    product->n = product->transb ? b.rows : b.cols;
    size_t b_k = product->transb ? b.cols : b.rows;
    bool fits = b_k == product->k && d.rows == product->m && d.cols == product->n && c.rows == d.rows &&
                c.cols == d.cols && a.batch == d.batch && b.batch == d.batch && c.batch == d.batch;
    return fits ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

enum { ALGORITHM_PLAIN = 1, ALGORITHM_CHAINS = 2 };

// Algorithms for a product: those up to this one.
uint64_t last_algorithm(const Layout &a) {
    return a.type == CUDA_R_32F ? ALGORITHM_PLAIN : ALGORITHM_CHAINS;
}

} // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t *lightHandle) {
    *lightHandle = nullptr;
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_NOT_INITIALIZED)) return status;
    openblas_set_num_threads(1);
    *lightHandle = new cublasLtContext();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t lightHandle) {
    delete lightHandle;
    return enter(__func__, CUBLAS_STATUS_INTERNAL_ERROR);
}

size_t cublasLtGetVersion(void) {
    return (size_t)CUBLAS_VERSION;
}

const char *cublasLtGetStatusName(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "unknown cuBLAS status";
    }
}

const char *cublasLtGetStatusString(cublasStatus_t status) {
    return cublasLtGetStatusName(status);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmulDesc, cublasComputeType_t computeType,
                                        cudaDataType_t scaleType) {
    *matmulDesc = nullptr;
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_ALLOC_FAILED)) return status;
    *matmulDesc = reinterpret_cast<cublasLtMatmulDesc_t>(new Description{computeType, scaleType});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc) {
    delete description(matmulDesc);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc, cublasLtMatmulDescAttributes_t attr,
                                              const void *buf, size_t sizeInBytes) {
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_INTERNAL_ERROR)) return status;
    Description *p = description(matmulDesc);
    switch (attr) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set_value(&p->transa, buf, sizeInBytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set_value(&p->transb, buf, sizeInBytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set_value(&p->epilogue, buf, sizeInBytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: return set_value(&p->pointers, buf, sizeInBytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matLayout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
    *matLayout = nullptr;
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_ALLOC_FAILED)) return status;
    *matLayout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, cols, ld});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout) {
    delete layout(matLayout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t matLayout, cublasLtMatrixLayoutAttribute_t attr,
                                                const void *buf, size_t sizeInBytes) {
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_INTERNAL_ERROR)) return status;
    Layout *x = layout(matLayout);
    switch (attr) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE: return set_value(&x->type, buf, sizeInBytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return set_value(&x->order, buf, sizeInBytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return set_value(&x->rows, buf, sizeInBytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return set_value(&x->cols, buf, sizeInBytes);
    case CUBLASLT_MATRIX_LAYOUT_LD: return set_value(&x->ld, buf, sizeInBytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set_value(&x->batch, buf, sizeInBytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set_value(&x->batch_stride, buf, sizeInBytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref) {
    *pref = nullptr;
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_ALLOC_FAILED)) return status;
    *pref = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference());
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref) {
    delete preference(pref);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                                    cublasLtMatmulPreferenceAttributes_t attr, const void *buf,
                                                    size_t sizeInBytes) {
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_INTERNAL_ERROR)) return status;
    switch (attr) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return set_value(&preference(pref)->workspace, buf, sizeInBytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return set_value(&preference(pref)->reductions, buf, sizeInBytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: {
        uint32_t alignment;
        return set_value(&alignment, buf, sizeInBytes);
    }
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t operationDesc,
                                              cublasLtMatrixLayout_t Adesc, cublasLtMatrixLayout_t Bdesc,
                                              cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc,
                                              cublasLtMatmulPreference_t pref, int requestedAlgoCount,
                                              cublasLtMatmulHeuristicResult_t heuristicResultsArray[],
                                              int *returnAlgoCount) {
    (void)pref;
    *returnAlgoCount = 0;
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_INTERNAL_ERROR)) return status;
    if (!lightHandle || requestedAlgoCount < 1) return CUBLAS_STATUS_INVALID_VALUE;
    Product product = {*layout(Adesc), *layout(Bdesc), *layout(Cdesc), *layout(Ddesc)};
    if (cublasStatus_t status = shape(*description(operationDesc), &product)) return status;
    for (uint64_t id = ALGORITHM_PLAIN; *returnAlgoCount < requestedAlgoCount && id <= last_algorithm(product.a);
         id++) {
        cublasLtMatmulHeuristicResult_t *result = &heuristicResultsArray[(*returnAlgoCount)++];
        *result = {};
        result->algo.data[0] = id;
        result->state = CUBLAS_STATUS_SUCCESS;
        result->wavesCount = 1;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attr, void *buf,
                                                    size_t sizeInBytes, size_t *sizeWritten) {
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_INTERNAL_ERROR)) return status;
    uint32_t value;
    switch (attr) {
    case CUBLASLT_ALGO_CONFIG_ID: value = (uint32_t)algo->data[0]; break;
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM: value = 1; break;
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME: value = CUBLASLT_REDUCTION_SCHEME_NONE; break;
    case CUBLASLT_ALGO_CONFIG_TILE_ID: value = CUBLASLT_MATMUL_TILE_128x128; break;
    case CUBLASLT_ALGO_CONFIG_STAGES_ID: value = CUBLASLT_MATMUL_STAGES_UNDEFINED; break;
    case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:
    case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION: value = 0; break;
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (sizeWritten) *sizeWritten = sizeof value;
    if (!buf || sizeInBytes != sizeof value) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(buf, &value, sizeof value);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t Adesc, const void *B, cublasLtMatrixLayout_t Bdesc,
                              const void *beta, const void *C, cublasLtMatrixLayout_t Cdesc, void *D,
                              cublasLtMatrixLayout_t Ddesc, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspaceSizeInBytes, cudaStream_t stream) {
    (void)workspace, (void)workspaceSizeInBytes;
    if (cublasStatus_t status = enter(__func__, CUBLAS_STATUS_EXECUTION_FAILED)) return status;
    if (!lightHandle || !alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
    auto product = std::make_shared<Product>(Product{*layout(Adesc), *layout(Bdesc), *layout(Cdesc), *layout(Ddesc)});
    if (cublasStatus_t status = shape(*description(computeDesc), product.get())) return status;
    uint64_t algorithm = algo ? algo->data[0] : (uint64_t)ALGORITHM_PLAIN;
    if (algorithm < ALGORITHM_PLAIN || algorithm > last_algorithm(product->a)) return CUBLAS_STATUS_INVALID_VALUE;
    product->chains = algorithm == ALGORITHM_CHAINS;
    product->alpha = *static_cast<const float *>(alpha);
    product->beta = *static_cast<const float *>(beta);
    product->A = A, product->B = B, product->C = C, product->D = D;
    const struct {
        const void *p;
        const Layout &x;
        bool used;
    } matrices[] = {
        {A, product->a, true}, {B, product->b, true}, {C, product->c, product->beta != 0}, {D, product->d, true}};
    for (auto &matrix : matrices)
        if (matrix.used && !simt::is_device_memory(matrix.p, matrix.x.extent() * matrix.x.element())) {
            simt::explain("cublasLtMatmul: matrix %c is not inside one device allocation", "ABCD"[&matrix - matrices]);
            return CUBLAS_STATUS_INVALID_VALUE;
        }
    cudaError_t error = simt::enqueue(stream, [product] {
        product->run();
        return cudaSuccess;
    });
    return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
