/* cpu.h: the cpu backend's own declarations.
 *
 * Layouts
 *   linear weight [N, K]  panels of 16 outputs: panel p holds rows 16p … 16p+15 as [K][16] (F32, F16), or [K/2][16][2] for
 *                         BF16, so that one 64-byte load is 16 outputs × 2 inputs. Rows beyond N, and BF16's odd last k,
 *                         are zero. Four panels, 64 outputs, are worked on together: a quad.
 *                         Quantised types: cpu_quant.h.
 *   KV, one layer         [Hkv][page][K: a panel, V: [ceil(Dh / 16)] panels] of cpu_kv_type: in K the panel's outputs are 16
 *                         tokens and its inputs the Dh head dimensions (rounded up to even), in V the outputs are 16 head
 *                         dimensions and the inputs the 16 tokens. Pages of one head that follow each other (as those of a
 *                         prompt do) are one stream for the processor's own prefetching.
 *
 * Determinism: an output of a linear layer is one fp32 accumulator that adds its products in ascending k (with pack_pairs:
 * in ascending pairs), whatever the number of rows computed with it. Attention is written in cpu_attend.h. Work is split
 * over threads by outputs only. */
#ifndef BACKEND_CPU_CPU_H
#define BACKEND_CPU_CPU_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/cpu/sampler.h"
#include "base/num.h"
#include "base/pool.h"

enum {
    PANEL = 16,                /* outputs of a panel */
    QUAD = 4,                  /* panels that one call of a tile kernel reads */
    QUAD_WIDTH = QUAD * PANEL, /* outputs of a quad */
    TILE_ROWS_MAX = 14,        /* most rows of a register tile in any instruction set */
    PAGE_TOKENS = 16,          /* tokens of a KV page: one panel of keys */
    SPAN = QUAD * PAGE_TOKENS, /* tokens that attention scores at once, at absolute multiples */
    CHUNK = 512,               /* tokens of one softmax state, at absolute multiples */
    ATTEND_ROWS = 64,          /* most queries that share one pass over the keys */
};

/* The register tiles: c [R, 64] = (fresh ? 0 : c) + x · panels, with x packed [K, R], or pack_pairs's for BF16 panels of a
 * set that has it.
 *
 * cpu_stream_tile reads four whole panels that follow each other in memory, and fetches ahead of itself; always fresh.
 * cpu_block_tile reads panels that are in cache, from any four places, and meanwhile fetches others: in each of its K
 * steps `step` bytes further into each panel of `next`. A step of 0 fetches nothing, from any readable address. */
struct cpu_fetch {
    const char *next[QUAD];
    ptrdiff_t step;
};
typedef void cpu_stream_tile(float *c, const float *x, const void *const panels[QUAD], int64_t K);
typedef void cpu_block_tile(float *c, const float *x, const void *const panels[QUAD], int64_t K, bool fresh,
                            const struct cpu_fetch *fetch);

/* What happens to a linear layer's sums: out = activation(sum + bias), scaled, capped, added or stored. */
struct cpu_epilogue {
    const float *bias; /* [N] or NULL */
    enum activation activation;
    bool accumulate;
    float scale;   /* 1 = none */
    float softcap; /* 0 = none */
};

/* One run of queries of one sequence over one KV head: `tokens` consecutive tokens × `heads` query heads. Query row r is
 * token r / heads, head r % heads. */
struct cpu_attend {
    float *out;     /* [tokens, out_stride]: at the first token and head */
    const float *q; /* [tokens, q_stride]: at the first token and head */
    const char *k;  /* this layer and KV head in page 0; page i is i * page_stride further */
    const char *v;
    const int32_t *page;   /* [ceil((position + tokens) / 16)] pages of the sequence */
    ptrdiff_t next_head;   /* bytes from k to the keys that will be asked for next, in the same pages; 0: unknown */
    size_t page_stride;    /* bytes from one page's K (or V) to the next page's */
    enum weight_type type; /* of the pages' elements */
    int64_t q_stride, out_stride;
    int32_t tokens, heads, position, Dh, window;
    float scale, softcap;
};

/* Floats of a chunk's state: o [rows, W], m [rows], l [rows], with W the head width in whole panels. */
static inline size_t cpu_attend_state(int32_t rows, int32_t Dh) {
    return (size_t)rows * (round_up((size_t)Dh, PANEL) + 2);
}

/* What keys and values are kept in, for weights of a type: F32 and BF16 in the same, all others in F16, which rounds an
 * eighth of what bf16 does. A store rounds to nearest even, once, so that a prompt and the tokens after it see the same
 * values. F16 saturates at ±65504: one infinite key makes the scores of all queries that see it infinite or NaN, and an
 * infinite value is NaN times a weight that underflowed; a largest number among normal ones is merely a wrong one. */
static inline enum weight_type cpu_kv_type(enum weight_type weights) {
    return weights == WEIGHT_F32 || weights == WEIGHT_BF16 ? weights : WEIGHT_F16;
}

/* Where the KV pages lie, in bytes. */
struct cpu_kv_layout {
    enum weight_type type;
    size_t panel; /* 16 × 16 elements */
    size_t v;     /* from one head's K in a page to its V */
    size_t page;  /* from one page of a head to the next, K and V together */
    size_t head;  /* from one head to the next; those of the next layer follow */
};

/* Where one lane of a panel comes from: element k is data[k * step]; of a quantised type, blocks. NULL data: zeros. */
struct cpu_lane {
    const unsigned char *data;
    enum weight_type type;
    size_t step; /* elements */
};

/* What products are made of, in registers: runs rounds · operations of them (two for a multiply-add). */
struct cpu_multiply_add {
    double (*run)(int64_t rounds);
    double operations;
};

/* Everything that depends on the instruction set. */
struct cpu_kernels {
    const char *name;
    int32_t tile_rows;                                             /* most rows of a register tile */
    cpu_stream_tile *stream[WEIGHT_TYPE_COUNT][TILE_ROWS_MAX + 1]; /* by rows; [0] unused */
    cpu_block_tile *block[WEIGHT_TYPE_COUNT][TILE_ROWS_MAX + 1];
    /* NULL, or what makes the inputs of the BF16 tiles: to [ceil(K/2)][R] words of two bf16 from in [R, K]. */
    void (*pack_pairs)(float *to, const float *in, int32_t R, int64_t K);
    /* to [K][16] = a panel's K inputs, widened. */
    void (*widen)(float *to, const void *panel, enum weight_type type, int64_t K);
    /* out [n] from the sums c [n], n ≤ 64, of outputs first … first + n - 1. */
    void (*finish)(float *out, const float *c, int64_t first, int64_t n, const struct cpu_epilogue *e);
    /* One row. residual [D] += add when given; out [D] = norm(residual). */
    void (*norm)(float *out, float *residual, const float *add, const float *weight, const float *bias,
                 enum norm_kind kind, float eps, int64_t D);
    void (*gate)(float *out, const float *in, enum activation activation, int64_t F);
    /* to = from as KV elements of a 16-bit type; n ≤ 16, and whole vectors of `to` are written. */
    void (*narrow)(uint16_t to[PANEL], const float *from, enum weight_type type, int n);
    void (*attend)(const struct cpu_attend *a, float *scratch);
    /* The same in two steps, so that a long sequence can be spread over threads: the state of one chunk of positions
     * (cpu_attend_state floats), then the fold of chunks 0 … chunks - 1, whose states are `stride` floats apart. */
    void (*attend_chunk)(const struct cpu_attend *a, int32_t chunk, float *state, float *scratch);
    void (*attend_merge)(const struct cpu_attend *a, const float *states, size_t stride, int32_t chunks,
                         float *scratch);
    /* Packs inputs k … k + count - 1 of one panel. count is even unless it ends at K. */
    void (*pack)(void *panel, enum weight_type type, const struct cpu_lane lanes[PANEL], int64_t k, int64_t count);
    double (*read_memory)(const float *p, size_t count); /* sums count floats (a multiple of 512) */
    struct cpu_multiply_add fp32, pairs;                 /* pairs: of bf16, where there is pack_pairs */
    const struct cpu_quant_kernels *quant;               /* cpu_quant.h */
};

extern const struct cpu_kernels cpu_kernels_portable;
#if defined(__x86_64__)
extern const struct cpu_kernels cpu_kernels_avx2;
extern const struct cpu_kernels cpu_kernels_avx512;
extern const struct cpu_kernels cpu_kernels_avx512bf16;
#endif

/* Scratch memory for one running part; parts take any free one, which cannot change a bit of their results. */
struct cpu_scratch {
    atomic_bool taken;
    float *memory;
};

struct cpu_backend {
    struct backend base;
    const struct cpu_kernels *kernels;
    const struct cpu_quant_kernels *quant;
    struct pool *pool;
    int32_t threads;
    char device[96];

    /* prepare */
    struct backend_limits limits;
    int32_t max_inputs; /* K of a linear layer at most */
    char *kv;           /* [L][Hkv][P][K page, V page], elements of cpu_kv_type: cpu_kv_layout */
    size_t kv_bytes;
    float *workspace; /* owns the pointers below */
    size_t workspace_bytes;
    float *packed;               /* [rows, max_inputs] inputs of a linear layer in tiles, or quantised */
    float *normed;               /* [max_logits, D] rows for the head */
    struct cpu_scratch *scratch; /* [threads] */
    float *states;               /* [states_count] chunk states of split attention */
    size_t states_count;
    int32_t *item_start;       /* [max_tokens + 1] attention work of each sequence */
    struct draw_result *drawn; /* [max_branches] */
    struct cpu_sampler *sampler;

    const struct batch_view *view; /* between step_begin and step_end */
    bool ended;                    /* between step_end and step_wait */
    int32_t drawn_count;
};

extern const struct backend_ops cpu_backend_ops;

static inline struct cpu_backend *cpu_backend_of(struct backend *backend) {
    return (struct cpu_backend *)backend;
}

/* cpu_instructions.c: the best kernels that this processor runs, or those named; NULL when it lacks them. */
const struct cpu_kernels *cpu_kernels_find(const char *name);
void cpu_device_name(char *name, size_t capacity);

/* cpu_workspace.c */
struct cpu_kv_layout cpu_kv_layout(const struct backend_limits *limits);
size_t cpu_kv_page_bytes(const struct backend_limits *limits); /* of one page of one layer, all heads */
size_t cpu_workspace_bytes(const struct cpu_backend *b, const struct backend_limits *limits);
tempera_status cpu_prepare(struct backend *backend, const struct backend_limits *limits, tempera_error *err);
void cpu_release(struct cpu_backend *b); /* undoes cpu_prepare */
float *cpu_scratch_take(struct cpu_backend *b, struct cpu_scratch **taken);
void cpu_scratch_give(struct cpu_scratch *taken);
/* How many parts to cut `items` into when one item costs `cost` (in multiply-adds, or floats moved): small loops stay on
 * one thread, large ones get several parts for each. */
int cpu_parts(const struct cpu_backend *b, int64_t items, int64_t cost);
/* The first item of a part; that of part + 1 is its end. */
int64_t cpu_part_start(int64_t items, int part, int parts);

/* cpu_pack.c */
size_t cpu_panel_bytes(enum weight_type type, int32_t K);
size_t cpu_linear_bytes(const struct backend *backend, enum weight_type type, int32_t N, int32_t K);
tempera_status cpu_linear_pack(struct backend *backend, const struct linear_weight *weight,
                               const struct weight_piece *pieces, int32_t count, tempera_error *err);

/* cpu_linear.c: out [T, N] (row stride out_stride) from in [T, K]. Operands are plain fp32 rows, so nothing here looks at
 * the marks of op parameters, and what comes before and after a product are the ops themselves. */
tempera_status cpu_multiply(struct cpu_backend *b, float *out, int64_t out_stride, const float *in, int32_t T,
                            const struct linear_weight *weight, const struct cpu_epilogue *e, tempera_error *err);
tempera_status cpu_linear(struct backend *backend, const struct linear_params *p, tempera_error *err);
tempera_status cpu_logits(struct backend *backend, const struct logits_params *p, tempera_error *err);

/* cpu_rows.c */
tempera_status cpu_embed(struct backend *backend, float *out, const struct linear_weight *table,
                         const struct linear_weight *positions, float scale, tempera_error *err);
tempera_status cpu_norm(struct backend *backend, const struct norm_params *p, tempera_error *err);
tempera_status cpu_gate(struct backend *backend, const struct gate_params *p, tempera_error *err);

/* cpu_attention.c */
tempera_status cpu_rope_store(struct backend *backend, const struct rope_store_params *p, tempera_error *err);
tempera_status cpu_attention(struct backend *backend, const struct attention_params *p, tempera_error *err);
tempera_status cpu_copy_pages(struct backend *backend, const int32_t *from, const int32_t *to, const int32_t *tokens,
                              int32_t count, tempera_error *err);

/* cpu_measure.c */
tempera_status cpu_measure(struct backend *backend, double *read_bytes_per_second, double *flops, tempera_error *err);

#endif
