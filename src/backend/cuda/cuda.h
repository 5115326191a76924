/* cuda.h: the CUDA backend's own declarations. The same sources make two modules: libtempera-cuda.so, and with the
 * emulated runtime libtempera-simt.so.
 *
 * One stream carries everything, so that what is submitted later sees all that was submitted before: pages may be given
 * to another sequence while a step that wrote to them is still running. Nothing is allocated and nothing waits between
 * prepare and close, but in step_wait, upload and download.
 *
 * A decode step (one token for each sequence, logits of all) is padded to a size class and recorded once as a CUDA graph;
 * later ones of its class only copy new step tables and launch it. */
#ifndef BACKEND_CUDA_CUDA_H
#define BACKEND_CUDA_CUDA_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "backend/backend.h"
#include "kernels/kernels.h"

enum {
    CUDA_STEPS = 2,          /* steps in flight */
    CUDA_GRAPHS = 64,        /* recorded size classes */
    CUDA_ATTENTION_ROWS = 16 /* query heads of one KV head that a decode block serves */
};

/* Device bytes that weights go through when they are packed. */
#ifdef TEMPERA_SIMT
enum { CUDA_PACK_BYTES = 1 << 16 }; /* so that the tests' small matrices take several turns */
#else
enum { CUDA_PACK_BYTES = 8 << 20 };
#endif

struct cuda_linear; /* cuda_linear.c: cuBLASLt, the verdicts of the bit probe */
struct cuda_draw;   /* cuda_draw.c: the sampler's buffers */
struct cuda_pack;   /* cuda_pack.c: staging of weights */

/* The step tables in one block of memory: offsets from its start. Filled on the host (pinned), copied as a whole. */
struct cuda_tables {
    size_t token, position, slot, query_start, page_start, page, logit_token, decode, block, bytes;
};

/* One submitted step. */
struct cuda_step {
    unsigned char *tables; /* pinned host copy of the step tables */
    cudaEvent_t done;
    int32_t B; /* draws whose results will be there */
};

struct cuda_graph {
    int32_t rows, branches, chunks; /* the size class; rows 0: free */
    cudaGraphExec_t exec;
};

struct cuda_backend {
    struct backend base;
    char device[96], architecture[16]; /* "NVIDIA H100 80GB HBM3", "sm_90" */
    int32_t capability, processors;    /* 90; SMs */
    bool fast;
    cudaStream_t stream;
    bool failed; /* a sticky error: every later call says so */

    /* prepare */
    bool prepared;
    struct backend_limits limits;
    void *kv;             /* [L][2][P] pages: K, then V transposed (kernels.h) */
    size_t kv_page_bytes; /* of K or of V of one layer */
    void *memory;         /* owns every device pointer below */
    unsigned char *tables;
    struct cuda_tables layout;
    void *operand; /* [max(max_tokens, max_logits), stride(max K)]: linear inputs given as fp32, normed logits rows */
    float *states; /* attention: chunk states of at most `splits` pairs of a decode sequence and a chunk */
    int32_t splits, page_capacity;
    uint32_t *counters;
    int32_t *copies;          /* [2 max_branches] page copies: from, to */
    int32_t *copies_host;     /* pinned, the same */
    cudaEvent_t copies_taken; /* copies_host may be written again */
    struct cuda_linear *linear;
    struct cuda_draw *draw;
    struct cuda_pack *pack; /* NULL before the first weight */

    /* the step between step_begin and step_end */
    const struct batch_view *view; /* NULL: none */
    struct step_tables step;       /* device pointers into tables, and draw's tokens */
    bool padded;                   /* launch sizes are those of a size class */
    int32_t T, R, B;               /* launch sizes: the step's own, or its size class */
    int32_t decode_count, block_count, chunks;
    struct cuda_graph *recording; /* the ops go into this graph */
    struct cuda_graph *replaying; /* step_end launches this one */
    bool drawn;

    struct cuda_step in_flight[CUDA_STEPS];
    uint32_t submitted, waited; /* counts of steps */
    struct cuda_graph graph[CUDA_GRAPHS];
};

extern const struct backend_ops cuda_backend_ops;

/* The rows to launch for an op that the caller wants for T tokens. */
static inline int32_t cuda_rows(const struct cuda_backend *b, int32_t T) {
    return b->padded ? b->T : T;
}

static inline struct cuda_backend *cuda_backend_of(struct backend *backend) {
    return (struct cuda_backend *)backend;
}

/* TEMPERA_OK, or a TEMPERA_DEVICE error "what: CUDA's words"; marks the backend as failed when the error is sticky. */
tempera_status cuda_check(struct cuda_backend *b, cudaError_t error, const char *what, tempera_error *err);
#define CUDA_TRY(b, expr, what) TRY(cuda_check(b, expr, what, err))

/* cuda_linear.c. create may take half a second for the bit probe; workspace_bytes are part of the plan and lie at
 * `workspace` (device, 256-byte aligned), for max_tokens rows. */
size_t cuda_linear_workspace(const struct cuda_backend *b, const struct backend_limits *limits);
tempera_status cuda_linear_create(struct cuda_backend *b, const struct backend_limits *limits, void *workspace,
                                  tempera_error *err);
void cuda_linear_free(struct cuda_linear *linear);
/* Launches one product; args->T is the launch size. Captures into graphs. */
tempera_status cuda_multiply(struct cuda_backend *b, const struct linear_args *args, tempera_error *err);
tempera_status cuda_linear(struct backend *backend, const struct linear_params *p, tempera_error *err);

/* cuda_pack.c. linear_pack returns before the copies are done, but has read the pieces. */
size_t cuda_linear_bytes(const struct backend *backend, enum weight_type type, int32_t N, int32_t K);
tempera_status cuda_linear_pack(struct backend *backend, const struct linear_weight *weight,
                                const struct weight_piece *pieces, int32_t count, tempera_error *err);
void cuda_pack_free(struct cuda_pack *pack);

/* cuda_draw.c. The sampler's device buffers lie at `workspace`, its pinned ones are its own. */
size_t cuda_draw_workspace(const struct cuda_backend *b, const struct backend_limits *limits);
tempera_status cuda_draw_create(struct cuda_backend *b, const struct backend_limits *limits, void *workspace,
                                tempera_error *err);
void cuda_draw_free(struct cuda_draw *draw);
const int32_t *cuda_draw_tokens(const struct cuda_draw *draw); /* device [max_branches]: step_tables.drawn */
/* Checks the branches, writes them to the staging of step `slot` (0 or 1), padded to `branches`, and enqueues its copy. */
tempera_status cuda_draw_stage(struct cuda_backend *b, const struct batch_view *view, int32_t slot, int32_t branches,
                               tempera_error *err);
/* Enqueues the kernels for b->B branches over logits [b->R, V]; captures into graphs. */
tempera_status cuda_draw_launch(struct cuda_backend *b, const float *logits, int32_t V, tempera_error *err);
/* Enqueues the copy of B results to the host, for step `slot`; then, once that is done, hands them out. */
tempera_status cuda_draw_fetch(struct cuda_backend *b, int32_t slot, int32_t B, tempera_error *err);
void cuda_draw_results(const struct cuda_backend *b, int32_t slot, int32_t B, struct draw_result *results);

/* cuda_step.c */
tempera_status cuda_prepare(struct backend *backend, const struct backend_limits *limits, tempera_error *err);
void cuda_release(struct cuda_backend *b);
void cuda_sizes(const struct backend *backend, const struct backend_limits *limits, struct backend_sizes *sizes);
tempera_status cuda_step_begin(struct backend *backend, const struct batch_view *view, bool *replay,
                               tempera_error *err);
tempera_status cuda_step_end(struct backend *backend, tempera_error *err);
tempera_status cuda_step_wait(struct backend *backend, struct draw_result *results, tempera_error *err);

/* cuda_ops.c */
size_t cuda_operand_bytes(const struct backend *backend, enum weight_type type, int32_t K);
tempera_status cuda_embed(struct backend *backend, float *out, const struct linear_weight *table,
                          const struct linear_weight *positions, float scale, tempera_error *err);
tempera_status cuda_norm(struct backend *backend, const struct norm_params *p, tempera_error *err);
tempera_status cuda_gate(struct backend *backend, const struct gate_params *p, tempera_error *err);
/* What rope_store launches, after its checks. */
tempera_status cuda_rope_args(struct cuda_backend *b, const struct rope_store_params *p, struct rope_store_args *args,
                              tempera_error *err);
tempera_status cuda_rope_store(struct backend *backend, const struct rope_store_params *p, tempera_error *err);
tempera_status cuda_attention(struct backend *backend, const struct attention_params *p, tempera_error *err);
tempera_status cuda_logits(struct backend *backend, const struct logits_params *p, tempera_error *err);
tempera_status cuda_draw_op(struct backend *backend, const float *logits, int32_t V, tempera_error *err);
tempera_status cuda_copy_pages(struct backend *backend, const int32_t *from, const int32_t *to, const int32_t *tokens,
                               int32_t count, tempera_error *err);

/* cuda_measure.c */
tempera_status cuda_measure(struct backend *backend, double *read_bytes_per_second, double *flops, tempera_error *err);

#endif
