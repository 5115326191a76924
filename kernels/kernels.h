/* kernels.h: the C boundary of the CUDA kernels: one parameter struct and one launcher each. A launcher only launches, on
 * the given stream, and may be captured into a graph; it reads no device memory and keeps nothing. Pointers are device
 * pointers unless said otherwise, 16-byte aligned unless said otherwise. Shape letters are those of backend/backend.h.
 *
 * STEP TABLES. Everything that changes from step to step lies in device arrays (struct step_tables), so that a captured
 * graph serves every step of its size. T, S, R, B of a launch may be larger than the step's: padding entries are marked, do
 * nothing, and what their rows of a buffer hold is never looked at.
 *
 * ELEMENTS. Weights, operands (inputs of linear layers) and KV pages are of one element type, that of the weights; the
 * residual stream, qkv, norms' statistics, sums and logits are fp32. F32 products on the tensor cores are three TF32 ones.
 *
 * KV PAGES of one layer: 64 tokens each; K [P][Hkv][64][W] and V transposed, [P][Hkv][W][64], W = kv_width(Dh); elements
 * d >= Dh are zero and stay so. Memory is zero when allocated.
 *
 * DETERMINISM. No result depends on T, S, R, B, on the index of a token, sequence, row or branch, on pages taken, or on the
 * grid. Linear layers: contract G (linear.cuh). Attention: contract A (attention.cuh). Sampling: backend/cpu/sampler.h. */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define KERNELS_INLINE static __host__ __device__ inline
#else
#define KERNELS_INLINE static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum element { ELEMENT_F32, ELEMENT_F16, ELEMENT_BF16 }; /* = enum weight_type */
enum kernel_activation { KERNEL_NONE, KERNEL_GELU_ERF, KERNEL_GELU_TANH, KERNEL_SILU, KERNEL_RELU }; /* = activation */
enum kernel_norm { KERNEL_LAYER_NORM, KERNEL_RMS_NORM };                                             /* = norm_kind */

enum { KV_PAGE_TOKENS = 64 };

/* The head width that pages are laid out for: the next of 16, 32, 48, 64, 80, 96, 128, 256; 0: wider than any. */
KERNELS_INLINE int32_t kv_width(int32_t Dh) {
    static const int32_t widths[] = {16, 32, 48, 64, 80, 96, 128, 256};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        if (Dh <= widths[i]) return widths[i];
    return 0;
}

/* Elements from one row of a [N, K] weight or a [T, K] operand to the next: K up to a multiple of 16; what is beyond K is
 * zero in weights and in operands. */
KERNELS_INLINE int32_t operand_stride(int32_t K) {
    return (K + 15) / 16 * 16;
}

struct step_tables {
    const int32_t *token;       /* [T] id; below 0: the token of draw -1 - token of the step before (`drawn`) */
    const int32_t *position;    /* [T] absolute; -1: padding */
    const int32_t *slot;        /* [T] page * 64 + offset; -1: padding */
    const int32_t *query_start; /* [S + 1] tokens of sequence s; padding sequences have none */
    const int32_t *page_start;  /* [S + 1] into page */
    const int32_t *page;        /* pages of each sequence, in position order */
    const int32_t *logit_token; /* [R] token of each logits row; -1: padding */
    const int32_t *drawn;       /* [max_branches] tokens drawn by the step before; -1 where none survived */
};

/* Whether kernels may start while their predecessor drains (compute capability 9.0 and later; launch.cu). Process-wide. */
void kernels_overlap_launches(bool on);

/* ---- embed.cu ---------------------------------------------------------------------------------------------------- */

/* out [T, D] = scale * table[token] (+ positions[position]); the product is rounded before the addition. */
struct embed_args {
    float *out;
    const void *table;     /* [V, stride(D)] elements */
    const void *positions; /* [context, stride(D)] elements, or NULL */
    enum element element;
    float scale;
    int32_t T, D, V; /* a token outside [0, V) (a draw of which nothing survived) embeds as zeros */
    struct step_tables step;
};
cudaError_t embed_launch(const struct embed_args *args, cudaStream_t stream);

/* ---- norm.cu ----------------------------------------------------------------------------------------------------- */

/* As struct norm_params; out [T, stride(D) or D] of the out element: F32 has stride D, others the operand stride (with zeros
 * beyond D). With rows given, row r of out is the norm of row rows[r] of residual (R rows; -1: padding). */
struct norm_args {
    void *out;
    enum element out_element;
    float *residual;     /* [T, D] */
    const float *add;    /* [T, D] or NULL */
    const float *weight; /* [D] or NULL */
    const float *bias;   /* [D] or NULL */
    const int32_t *rows; /* [T] or NULL */
    enum kernel_norm kind;
    float eps;
    int32_t T, D;
};
cudaError_t norm_launch(const struct norm_args *args, cudaStream_t stream);

/* ---- gate.cu ----------------------------------------------------------------------------------------------------- */

/* out [T, stride(F)] = activation(in[:, 0:F]) * in[:, F:2F]; F32 has stride F. */
struct gate_args {
    void *out;
    enum element out_element;
    const float *in; /* [T, 2F] */
    enum kernel_activation activation;
    int32_t T, F;
};
cudaError_t gate_launch(const struct gate_args *args, cudaStream_t stream);

/* out [T, stride(K)] = in [T, K] as an operand (16-bit elements only), zeros beyond K. */
struct operand_args {
    void *out;
    enum element out_element;
    const float *in;
    int32_t T, K;
};
cudaError_t operand_launch(const struct operand_args *args, cudaStream_t stream);

/* ---- rope_store.cu ----------------------------------------------------------------------------------------------- */

/* As struct rope_store_params: q and k of qkv [T, (H + 2 Hkv) Dh] are normed (when norms are given) and rotated; q is
 * written back in place, k and v go to their slots. */
struct rope_store_args {
    float *qkv;
    const float *table; /* [context, rotary / 2, 2] or NULL */
    int32_t rotary;
    bool interleaved;
    const float *q_norm, *k_norm, *q_norm_bias, *k_norm_bias; /* [Dh] or NULL */
    enum kernel_norm norm;
    float norm_eps;
    void *k, *v; /* the layer's pages */
    enum element element;
    int32_t T, H, Hkv, Dh;
    struct step_tables step;
};
cudaError_t rope_store_launch(const struct rope_store_args *args, cudaStream_t stream);

/* Copies whole pages in all layers. */
struct copy_pages_args {
    void *kv;                 /* [L][2][P] pages */
    size_t page_bytes;        /* of K or of V of one layer, a multiple of 16 */
    const int32_t *from, *to; /* [count] */
    int32_t count, L, P;
};
cudaError_t copy_pages_launch(const struct copy_pages_args *args, cudaStream_t stream);

/* ---- linear_*.cu ------------------------------------------------------------------------------------------------- */

/* out [T, N] = activation(in · weightᵀ * scale + bias), capped; gated: weight has 2 N rows, gate then up, and
 * out = activation(gate sum + bias) * (up sum + bias). */
struct linear_args {
    void *out; /* F32: [T, out_stride]; other elements: an operand [T, stride(N)] whose zeros beyond N are written */
    enum element out_element;
    int32_t out_stride; /* elements, F32 only */
    const void *in;     /* [T, stride(K)] of the weight's element (F32: [T, K], K need not be a multiple of 16) */
    const void *weight; /* [N or 2 N, stride(K)] */
    const float *bias;  /* [N or 2 N] or NULL */
    enum element element;
    enum kernel_activation activation;
    bool accumulate; /* out += (F32 only) */
    bool gated;
    float scale;   /* 1 = none */
    float softcap; /* c tanh(x / c); 0 = none */
    int32_t T, N, K;
};
enum { LINEAR_SKINNY_MAX = 64 };
/* T <= LINEAR_SKINNY_MAX: reads the weights once at the rate of memory. */
cudaError_t linear_skinny_launch(const struct linear_args *args, cudaStream_t stream);
/* What may be done in the same launch as a product of few rows, with the bits of norm_launch, the product and
 * rope_store_launch in a row. The norm's output is not written and args->in not read (nothing may be added to the residual);
 * out is the rope's qkv. T is args->T. Either may be NULL; `fits` says for which both are possible. */
enum { LINEAR_NORM_MAX = 4, LINEAR_ROPE_MAX = 16 };
bool linear_norm_fits(const struct linear_args *args, const struct norm_args *norm);
bool linear_rope_fits(const struct linear_args *args, const struct rope_store_args *rope);
cudaError_t linear_fused_launch(const struct linear_args *args, const struct norm_args *norm,
                                const struct rope_store_args *rope, cudaStream_t stream);
/* Any T: tiles. Bit-equal to the skinny kernel. */
cudaError_t linear_tile_launch(const struct linear_args *args, cudaStream_t stream);
/* Segments of K that are summed one by one (contract G): a function of the weight's shape alone. */
int32_t linear_segments(int32_t N, int32_t K);

/* out = epilogue(sums [T, N or 2 N]) for sums that a library computed; fields as above, in is the sums (fp32). */
cudaError_t linear_epilogue_launch(const struct linear_args *args, cudaStream_t stream);

/* Adds to *differences the number of words in which a and b differ. */
struct linear_compare_args {
    const uint32_t *a, *b; /* [words] */
    size_t words;
    uint32_t *differences;
};
cudaError_t linear_compare_launch(const struct linear_compare_args *args, cudaStream_t stream);

/* ---- pack.cu, random.cu ------------------------------------------------------------------------------------------ */

/* Rows of a weight, converted (round to nearest even) and padded with zeros to the operand stride. */
struct pack_args {
    void *to; /* [rows, stride(K)] */
    enum element to_element, from_element;
    const void *from; /* [rows, K]; transposed: [K, rows] */
    bool transposed;
    size_t rows;
    int32_t K;
};
cudaError_t pack_launch(const struct pack_args *args, cudaStream_t stream);

/* The same rows, but of a source tensor [source_rows, K] (transposed: [K, source_rows]) that exists nowhere: its element i is
 * table[pick(stream, i)] (base/scatter.h). `groups` runs of `group` consecutive source rows, run g from first + g * stride. */
struct random_args {
    void *to; /* [groups * group, stride(K)] */
    enum element element;
    const void *table; /* [PICK_TABLE] of the same element */
    uint64_t stream;
    bool transposed;
    size_t source_rows, first, group, groups, stride;
    int32_t K;
};
cudaError_t random_launch(const struct random_args *args, cudaStream_t stream);

/* ---- attention_*.cu ---------------------------------------------------------------------------------------------- */

enum { ATTENTION_CHUNK = 256 }; /* keys of one chunk state of contract A, at absolute multiples */

/* A run of queries of one sequence for one block of the prefill kernel. */
struct query_block {
    int32_t sequence; /* -1: padding */
    int32_t first;    /* index of the first query in [0, T) */
    int32_t count;    /* at most attention_query_tokens() */
};

struct attention_args {
    void *out;                /* operand [T, stride(H Dh)]; F32: [T, H Dh] */
    enum element out_element; /* F32 or that of the pages */
    const float *qkv;         /* [T, (H + 2 Hkv) Dh], q part used */
    const void *k, *v;        /* the layer's pages */
    enum element element;     /* of the pages */
    float scale, softcap;
    int32_t window; /* attends to positions > position - window; 0 = all */
    int32_t H, Hkv, Dh;
    int32_t T;
    /* decode: sequences with exactly one query */
    const int32_t *decode; /* [decode_count] sequences; -1: padding */
    int32_t decode_count;
    int32_t chunks;     /* no decode sequence has more chunks (of ATTENTION_CHUNK keys) */
    float *states;      /* attention_state_bytes(...) */
    uint32_t *counters; /* [decode_count * Hkv * ceil(H / Hkv / 16)], zero before and after */
    /* prefill: all other sequences, in blocks */
    const struct query_block *block; /* [block_count] */
    int32_t block_count;
    struct step_tables step;
};
/* Query tokens of a block of the prefill kernel. */
int32_t attention_query_tokens(enum element element, int32_t H, int32_t Hkv, int32_t Dh);
size_t attention_state_bytes(int32_t decode_count, int32_t chunks, int32_t H, int32_t Hkv, int32_t Dh);
cudaError_t attention_decode_launch(const struct attention_args *args, cudaStream_t stream);
cudaError_t attention_prefill_launch(const struct attention_args *args, cudaStream_t stream);

/* ---- measure.cu -------------------------------------------------------------------------------------------------- */

/* Reads memory once; a whole number of 32 KiB. */
struct read_args {
    const uint32_t *memory; /* [words] */
    size_t words;
    uint32_t *out; /* [blocks] */
    int32_t blocks;
};
cudaError_t read_launch(const struct read_args *args, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
