/* backend.h: the boundary between the model and a device. One struct of function pointers; cpu, cuda and simt each fill
 * one in, and all can live in one process.
 *
 * Shape letters, here and everywhere:
 *   T tokens in a step    S sequences (rows of the engine) in a step    R rows that want logits    B branches
 *   D model width         H query heads      Hkv key/value heads        Dh head width              F feed-forward width
 *   V vocabulary          L layers           P KV pages                 N, K outputs and inputs of a linear layer
 *
 * Buffers are device pointers (`void *` from alloc); the host may dereference them only where info.host_memory says so. Activations
 * are fp32, rows of consecutive tokens, row-major. An OPERAND is a buffer that only linear layers read: a backend may keep
 * it in its own element type and row stride (operand_bytes), so that it is rounded once, where it is made. Operands of the
 * weights' type only; the cpu backend's are plain fp32 rows.
 *
 * A step is step_begin, ops, step_end, and some time later step_wait. Every op returns a status and may be called only
 * between step_begin and step_end. A device runs ops later than their call; step_end submits them without waiting, and
 * with info.run_ahead a second step may be begun before the first is waited for. Steps run in the order of step_end.
 *
 * Determinism (each is tested): a token's outputs depend on that token's inputs, its own sequence's pages and the
 * weights only. Never on T, S, on its index in the step, on which pages were taken, on the number of threads. */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tempera/sampling.h"

/* ---- one step's batch ----------------------------------------------------------------------------------------- */

/* The numeric form of one branch's settings: what the draw needs and nothing else. Built once at submit; temperature and
 * top_p may be others in the next step. */
struct branch_params {
    float temperature;     /* 0 = greedy */
    float inv_temperature; /* 1.0f / temperature, 0 when greedy */
    int32_t top_k;         /* 0 = off */
    float top_p;           /* >= 1 = off */
    float min_p;           /* 0 = off */
    float min_p_distance;  /* (float)-log(min_p): kept when zmax - z <= this */
    float typical_p;       /* >= 1 = off */
    /* temperature by entropy, least + spread (H / Hmax)^exponent; spread 0 = off */
    float dynatemp_least, dynatemp_spread, dynatemp_exponent;
    float repetition_penalty, frequency_penalty, presence_penalty;
    int32_t penalty_window; /* 0 = all */
    int32_t no_repeat_ngram;
    tempera_order order;
    uint64_t seed;                  /* Philox key; already mixed with the setting when noise is independent */
    int32_t sample;                 /* sample index, a counter word */
    int32_t logprobs;               /* as tempera_sampling.logprobs */
    const tempera_logit_bias *bias; /* [bias_count], host memory, ascending token ids */
    int32_t bias_count;
    const int32_t *suppress; /* [suppress_count] ids that get -inf while fewer than min_tokens are generated */
    int32_t suppress_count;
    int32_t min_tokens;
};

/* One branch in one step. */
struct branch_draw {
    const struct branch_params *params;
    int32_t row;            /* index into the step's logits rows, [0, R) */
    int32_t forced;         /* >= 0: this token is taken whatever the draw says (teacher forcing: scoring) */
    const int32_t *history; /* [history_count] tokens of the sequence so far: prompt, then generated; host memory */
    int32_t history_count;  /* = position of the token being drawn, a counter word of the noise */
    int32_t prompt_count;   /* how many of them are prompt */
    bool feedback;          /* history[history_count - 1] is not known yet: it is the sequence's fed back token */
};

enum { DRAW_TOP_MAX = 32 };
enum draw_flag {
    DRAW_NAN = 1,   /* the row had NaN scores (counted as -inf) */
    DRAW_EMPTY = 2, /* no token survives: token is -1 */
};

/* What one draw gives. Log-probabilities are natural; -INFINITY is possible for final_logprob of a forced token. */
struct draw_result {
    int32_t token;
    uint32_t flags;
    /* the rest is filled when params->logprobs >= 0 */
    float logprob;                   /* of the unfiltered model distribution (temperature 1, no penalties or bias) */
    float final_logprob;             /* of the distribution the token was drawn from (greedy: 0 for the token) */
    float entropy;                   /* of the unfiltered model distribution, nats */
    float kept_mass;                 /* unfiltered probability of the surviving tokens */
    int32_t kept;                    /* surviving tokens */
    int32_t top_count;               /* min(params->logprobs, V) */
    int32_t top_token[DRAW_TOP_MAX]; /* best unfiltered first, ties to the lowest id */
    float top_logprob[DRAW_TOP_MAX];
};

#define FEEDBACK(draw) (-1 - (draw))

/* The step's batch view: built by the engine, host memory, constant until step_end, with all that draws point to; a step
 * that runs later keeps copies. Sequences are consecutive runs of tokens; prefill, chunked prefill and decode differ only
 * in these numbers. */
struct batch_view {
    int32_t T;
    const int32_t *token; /* [T] ids, or FEEDBACK(i): the token that draw i of the step before gives (run_ahead only) */
    const int32_t *position; /* [T] absolute, ascending by one inside a sequence */
    const int32_t *slot;     /* [T] page * page_tokens + offset where this token's K and V go */
    int32_t S;
    const int32_t *query_start; /* [S+1] sequence s owns tokens query_start[s] … query_start[s+1]-1 */
    const int32_t *page_start;  /* [S+1] into page[] */
    const int32_t *page;        /* [page_start[S]] pages of each sequence in position order */
    int32_t R;
    const int32_t *logit_token; /* [R] which tokens want logits, ascending indices into [0, T) */
    int32_t B;
    const struct branch_draw *branch; /* [B] */
};

/* ---- weights -------------------------------------------------------------------------------------------------- */

/* Up to WEIGHT_TYPE_COUNT, types of single elements, which tensors of files, operands and KV pages have too. Beyond, the
 * quantised types, which only packed matrices have: integers of 8 and 4 bits with a scale for every 32 inputs of a row
 * (cpu_quant.h), on backends with info.quantised. */
enum weight_type {
    WEIGHT_F32,
    WEIGHT_F16,
    WEIGHT_BF16,
    WEIGHT_TYPE_COUNT,
    WEIGHT_Q8 = WEIGHT_TYPE_COUNT,
    WEIGHT_Q4,
    WEIGHT_PACKED_COUNT,
};
size_t weight_type_size(enum weight_type type); /* bytes of an element; not of the quantised types */
/* Bytes of K elements that follow each other in a source; of the quantised types in blocks, K a multiple of 32. */
size_t weight_row_bytes(enum weight_type type, size_t K);
const char *weight_type_name(enum weight_type type); /* "f32" … */

/* Random weights that a device can make itself: element i of the tensor is table[pick(stream, i)] (base/scatter.h). */
struct random_source {
    const void *table; /* host, [PICK_TABLE] of the piece's type */
    uint64_t stream;
};

/* A source of a quantised type is rows of blocks of 32 inputs, as GGUF has them: an fp16 scale d, then
 *   WEIGHT_Q8  (Q8_0) 32 int8 q; weights d q
 *   WEIGHT_Q4  (Q4_0) 16 bytes, of byte i input i the low half and input 16 + i the high one; weights d (q - 8)
 * It is packed as that type only, every scale and integer as it is, and never transposed. */
enum { SOURCE_BLOCK = 32, SOURCE_BLOCK_Q8 = 34, SOURCE_BLOCK_Q4 = 18 };

/* Where some output rows of a linear layer come from: `groups` runs of `group` consecutive source rows, run g starting
 * at source row first + g * stride. Covers plain, concatenated (q|k|v), sliced (fused qkv) and per-head interleaved
 * layouts. Source element (n, k) is data[n * K + k], or data[k * source_rows + n] when transposed (GPT-2's Conv1D). */
struct weight_piece {
    const void *data;                   /* host, [source_rows, K] or transposed [K, source_rows]; may be unaligned */
    const struct random_source *random; /* given where info.makes_random: instead of data */
    enum weight_type type;
    size_t source_rows;
    bool transposed;
    bool mapped; /* data lies in a mapped file that nothing else reads now: its pages may go as they are packed */
    size_t first, group, groups, stride;
};

/* A packed [N, K] matrix on the device. */
struct linear_weight {
    void *data;            /* linear_bytes(type, N, K) device bytes, backend's own layout */
    const float *bias;     /* [N] device, or NULL */
    enum weight_type type; /* of the stored elements */
    int32_t N, K;
};

/* A matrix may be packed this many rows (or a multiple) at a time: rows n and on, where n is a multiple of it, lie from
 * linear_bytes(type, n, K) on as a matrix of their own would. */
enum { PACK_ROWS = 64 };

/* Refuses pieces that reach beyond their source or are not N rows together, and blocks that are not to be packed as
 * their own type. */
tempera_status weight_pieces_check(const struct linear_weight *weight, const struct weight_piece *pieces, int32_t count,
                                   tempera_error *err);

/* ---- op parameters -------------------------------------------------------------------------------------------- */

enum activation { ACT_NONE, ACT_GELU_ERF, ACT_GELU_TANH, ACT_SILU, ACT_RELU };
enum norm_kind { NORM_LAYER, NORM_RMS };

struct norm_params {
    void *out; /* [T, D], or an operand */
    bool out_operand;
    float *residual;     /* [T, D] input; when add is given it becomes residual + add first */
    const float *add;    /* [T, D] or NULL */
    const float *weight; /* [D] (the 1+w of Gemma is already added), NULL = 1 */
    const float *bias;   /* [D] or NULL */
    enum norm_kind kind;
    float eps;
    int32_t T, D;
};

/* What may come before and after the product is part of the op, so that a backend can fuse it. */
struct linear_params {
    void *out;      /* [T, N] with row stride out_stride elements, or an operand */
    const void *in; /* [T, K], or an operand */
    bool in_operand, out_operand;
    const struct linear_weight *weight;
    enum activation activation; /* applied to (sum + bias) */
    bool accumulate;            /* out += instead of out = */
    float *gate_scratch; /* given: the weight is [2F, K], gate rows then up rows, and out [T, F] = activation(gate) *
                                 * up; [T, 2F] that the op may use */
    const struct norm_params *norm;       /* given: done first; in is its out, which nothing else reads */
    const struct rope_store_params *rope; /* given: done last; out is its qkv */
    int32_t T, out_stride;
};

struct gate_params {
    void *out; /* [T, F] = activation(in[:, 0:F]) * in[:, F:2F], or an operand */
    bool out_operand;
    const float *in; /* [T, 2F] */
    enum activation activation;
    int32_t T, F;
};

/* Optional per-head norm of q and k, rotary position, then K and V into their pages. */
struct rope_store_params {
    float *qkv;                   /* [T, (H + 2 Hkv) Dh]: q heads, k heads, v heads; q is rotated in place */
    const float *table;           /* [context, rotary/2, 2] cos, sin, attention factor included; NULL = no rotation */
    int32_t rotary;               /* rotated leading elements of each head, even */
    bool interleaved;             /* pairs (2i, 2i+1); false: (i, i + rotary/2) */
    const float *q_norm, *k_norm; /* [Dh] or NULL */
    const float *q_norm_bias, *k_norm_bias; /* [Dh] or NULL */
    enum norm_kind norm;
    float norm_eps;
    int32_t layer, T, H, Hkv, Dh;
};

struct attention_params {
    void *out; /* [T, H Dh], or an operand */
    bool out_operand;
    const float *qkv; /* [T, (H + 2 Hkv) Dh], q part used */
    float scale;      /* of q·k */
    float softcap;    /* c tanh(s/c) on the scaled score; 0 = none */
    int32_t window;   /* attends to positions > position - window; 0 = all */
    int32_t layer, T, H, Hkv, Dh;
};

struct logits_params {
    float *logits;                        /* [R, V] */
    const float *in;                      /* [T, D] residual stream */
    const float *norm_weight, *norm_bias; /* [D] */
    enum norm_kind norm;
    float norm_eps;
    const struct linear_weight *head; /* N = V */
    float scale;                      /* logits are multiplied by this (1 = none) */
    float softcap;                    /* then capped: c tanh(x/c); 0 = none */
    int32_t D;
};

/* ---- the backend ---------------------------------------------------------------------------------------------- */

struct backend_limits {
    /* model */
    int32_t L, D, H, Hkv, Dh, F, V, context;
    /* engine */
    int32_t max_tokens;    /* T of a step at most */
    int32_t max_logits;    /* R at most */
    int32_t max_branches;  /* B at most */
    int32_t pages;         /* P */
    enum weight_type type; /* of the weights; a device keeps operands and KV pages in it (cpu: pages; cpu_kv_type) */
};

/* At least one of everything, and query heads that fall into groups. */
tempera_status backend_limits_check(const struct backend_limits *limits, tempera_error *err);

struct backend_info {
    char name[16];         /* "cpu", "cuda", "simt" */
    char device[96];       /* processor or GPU model name */
    char instructions[32]; /* "avx512bf16", "avx512", "avx2", "portable", "sm_90" …: P1 holds within one */
    int32_t threads;
    int32_t page_tokens;              /* tokens in a KV page */
    bool run_ahead;                   /* two steps may be in flight, and tokens fed back */
    bool makes_random;                /* linear_pack takes pieces with a random source */
    bool quantised;                   /* weights may be of the quantised types */
    bool host_memory;                 /* buffers are the host's: it may read them when no step is in flight */
    size_t memory_free, memory_total; /* bytes of the device's own memory; 0: it has none, or cannot tell */
};

struct backend;

struct backend_options {
    int32_t threads;          /* cpu: 0 = all processors this process may use */
    const char *instructions; /* cpu: NULL = best, or "avx512bf16", "avx512", "avx2", "portable" */
    bool quantised;           /* weights will be of a quantised type: "auto" is a device that has them */
    bool fast;                /* cuda: linear layers may use whatever is fastest; bits may then depend on the batch */
};

/* Sizes that the memory plan asks for before anything is allocated. */
struct backend_sizes {
    size_t kv_page;   /* bytes of one page of one layer, K and V together */
    size_t workspace; /* bytes the backend needs besides weights, KV and activations (samplers, tables) */
};

struct backend_ops {
    const char *name;
    /* Opens the device. *backend is closed by close. */
    tempera_status (*open)(struct backend **backend, const struct backend_options *options, tempera_error *err);
    void (*close)(struct backend *backend);
    void (*info)(const struct backend *backend, struct backend_info *info);

    void (*sizes)(const struct backend *backend, const struct backend_limits *limits, struct backend_sizes *sizes);
    /* Allocates KV pages and workspace for these limits, once. */
    tempera_status (*prepare)(struct backend *backend, const struct backend_limits *limits, tempera_error *err);

    void *(*alloc)(struct backend *backend, size_t bytes); /* zero-filled, 64-byte aligned; NULL: out of memory */
    void (*free)(struct backend *backend, void *buffer, size_t bytes);
    tempera_status (*upload)(struct backend *backend, void *to, const void *from, size_t bytes, tempera_error *err);
    tempera_status (*download)(struct backend *backend, void *to, const void *from, size_t bytes, tempera_error *err);

    /* Bytes of one row of K elements of an operand for weights of this type. */
    size_t (*operand_bytes)(const struct backend *backend, enum weight_type type, int32_t K);
    size_t (*linear_bytes)(const struct backend *backend, enum weight_type type, int32_t N, int32_t K);
    /* Packs pieces, in order, as the N rows of weight->data (allocated by the caller); converts when types differ.
     * TEMPERA_UNSUPPORTED: values that the type cannot hold; of blocks, then, the numbers may still be packed. */
    tempera_status (*linear_pack)(struct backend *backend, const struct linear_weight *weight,
                                  const struct weight_piece *pieces, int32_t count, tempera_error *err);

    /* *replay: the ops of a step like this one (all decode, of the same size class) are recorded; the caller, who would
     * only call the same ops again, goes straight to step_end. */
    tempera_status (*step_begin)(struct backend *backend, const struct batch_view *view, bool *replay,
                                 tempera_error *err);
    tempera_status (*step_end)(struct backend *backend, tempera_error *err);
    /* Waits for the oldest step that was not waited for; results [its B] in the order of view->branch, or NULL. */
    tempera_status (*step_wait)(struct backend *backend, struct draw_result *results, tempera_error *err);

    /* out [T, D] = scale * rows of the packed table [V, D] (+ positions [context, D] packed likewise, or NULL). */
    tempera_status (*embed)(struct backend *backend, float *out, const struct linear_weight *table,
                            const struct linear_weight *positions, float scale, tempera_error *err);
    tempera_status (*norm)(struct backend *backend, const struct norm_params *p, tempera_error *err);
    tempera_status (*linear)(struct backend *backend, const struct linear_params *p, tempera_error *err);
    tempera_status (*gate)(struct backend *backend, const struct gate_params *p, tempera_error *err);
    tempera_status (*rope_store)(struct backend *backend, const struct rope_store_params *p, tempera_error *err);
    tempera_status (*attention)(struct backend *backend, const struct attention_params *p, tempera_error *err);
    /* Final norm and head for the rows view->logit_token. */
    tempera_status (*logits)(struct backend *backend, const struct logits_params *p, tempera_error *err);
    /* One token for every branch of the view, from logits [R, V]. Results come with step_wait. */
    tempera_status (*draw)(struct backend *backend, const float *logits, int32_t V, tempera_error *err);
    /* Copies the first `tokens` tokens of page from[i] to page to[i] in all layers; outside a step. */
    tempera_status (*copy_pages)(struct backend *backend, const int32_t *from, const int32_t *to, const int32_t *tokens,
                                 int32_t count, tempera_error *err);
    /* Measured ceilings, for reports: bytes/s of a streaming read; operations/s of products with weights of the type
     * prepared for (two for a multiply-add). Takes about 0.5 s. */
    tempera_status (*measure)(struct backend *backend, double *read_bytes_per_second, double *flops,
                              tempera_error *err);
};

/* Every backend embeds this first. */
struct backend {
    const struct backend_ops *ops;
};

/* registry.c: the backends by name. A backend in a module is loaded by the first call that names it; NULL: unknown, or its
 * module is not there (the reason in *err, which may be NULL). */
const struct backend_ops *backend_find(const char *name, tempera_error *err);
/* Opens the device of that name. "auto" (or NULL) is cuda where a driver, the module and a usable GPU are found, else cpu
 * (as it is for quantised weights); then *note (when given, 160 bytes) says why in one line, and is empty otherwise. */
enum { BACKEND_NOTE_BYTES = 160 };
tempera_status backend_open(struct backend **backend, const char *name, const struct backend_options *options,
                            char *note, tempera_error *err);

#endif
