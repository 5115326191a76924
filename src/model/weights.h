/* weights.h: the parameters of a model as one list (which tensors make up each, and how), and the same
 * parameters packed on a device. The list is made once, when a model is opened; checking, counting, planning,
 * packing and random weights all walk it. Private to src/model. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "base/arena.h"
#include "base/scatter.h"
#include "load/safetensors.h"
#include "model/arch.h"

/* ---- packed, on a device ----------------------------------------------------------------------------------------- */

/* Vectors are NULL where the family has none. */
struct layer_weights {
    const float *attention_norm, *attention_norm_bias;        /* [D] */
    const float *mlp_norm, *mlp_norm_bias;                    /* [D]; NULL: the MLP reads what attention read */
    const float *attention_post_norm, *mlp_post_norm;         /* [D] */
    const float *q_norm, *q_norm_bias, *k_norm, *k_norm_bias; /* [Dh] */
    struct linear_weight qkv;                                 /* [(H + 2 Hkv) Dh, D]: q heads, k heads, v heads */
    struct linear_weight attention_out;                       /* [D, H Dh] */
    struct linear_weight up;                                  /* [F, D]; gated: [2F, D], gate rows then up rows */
    struct linear_weight down;                                /* [D, F] */
};

struct weights {
    struct linear_weight embed;                /* [V, D] */
    struct linear_weight positions;            /* [context, D], data NULL with rotary positions */
    struct linear_weight head;                 /* [V, D]; tied: data is embed's */
    const float *final_norm, *final_norm_bias; /* [D] */
    float *rope, *rope_local;                  /* [context, rotary/2, 2]; equal when all layers use one table */
    struct layer_weights *layer;               /* [L], host, owned */
};

/* ---- the list ---------------------------------------------------------------------------------------------------- */

/* A tensor that (a part of) a parameter is taken from. */
struct source {
    const char *name;               /* in the model's arena */
    const struct tensor_view *view; /* NULL: random weights */
    size_t rows, cols;              /* [rows, cols]; cols is 1 for vectors */
    size_t woven; /* > 0: of each so many rows, the file has the first of the first half, the first of the
                                       second half, the second of the first half, and so on (llama in GGUF, where rotary
                                       pairs are neighbours); else they lie in order */
};

/* Runs of source rows, as in struct weight_piece. */
struct run {
    int32_t source;
    size_t first, group, groups, stride;
};

enum { PARAMETER_PARTS = 3 };

struct parameter {
    int32_t layer;         /* -1: outside the layers */
    size_t target;         /* offset in struct layer_weights or struct weights: of the linear_weight, or of the
                        vector's pointer */
    bool matrix;           /* false: a vector, kept in float */
    int32_t N, K;          /* K is 1 for vectors */
    bool transposed;       /* the tensors lie as [cols, rows] */
    float add;             /* to every element of a vector: 1 for norms stored as w of (1 + w) */
    float mean, deviation; /* of random weights */
    int32_t sources, runs;
    struct source source[PARAMETER_PARTS];
    struct run run[PARAMETER_PARTS]; /* in order, together N rows */
};

struct parameter_list {
    struct parameter *items; /* [count], owned */
    size_t count, capacity;
    struct arena names;
    enum weight_type blocks; /* WEIGHT_Q8, WEIGHT_Q4: most weights of the layers are Q8_0, Q4_0 in the file; else
                              * WEIGHT_PACKED_COUNT */
};

/* Lists the parameters of the model and, when `set` is given, finds and checks each of their tensors; a
 * tensor of the set that belongs to none of them and is no known buffer is refused. `set` NULL: random
 * weights. */
tempera_status parameters_list(struct parameter_list *list, const struct arch *arch, const struct model_config *config,
                               const struct hparams *hp, const struct tensor_set *set, tempera_error *err);
void parameters_free(struct parameter_list *list);

/* ---- packing ----------------------------------------------------------------------------------------------------- */

/* Of a tensor that parameters_list has accepted. Blocks of quantised numbers count as BF16: that is what they are packed
 * as unless another type is asked for, or the backend keeps them (packed_type). Its rounding (at most 2^-9 of a weight)
 * lies below their own. */
enum weight_type weight_type_of(const struct tensor_view *view);

/* Random weights of one model: a pure function of seed and tensor name. */
struct random_weights {
    uint64_t seed;
    enum weight_type type; /* of the matrices; vectors are drawn in float */
};
/* Weights are picked from a table of normally distributed values, already scaled and in the matrix's type: many times
 * as fast as making each one, and a benchmark waits for hundreds of millions (base/scatter.h). */
union random_table {
    float f32[PICK_TABLE];
    uint16_t half[PICK_TABLE];
};
void random_table(union random_table *table, enum weight_type type, const struct parameter *parameter);
uint64_t random_stream(const struct source *source, uint64_t seed);
/* Fills out [rows, cols] in the given type. */
void random_fill(void *out, enum weight_type type, const struct source *source, const struct parameter *parameter,
                 uint64_t seed);

/* The type that a matrix is packed in when the weights are to be of `type`: with Q4, what lies outside the layers (the
 * embedding, positions and the head) is kept in Q8. When `type` is that of the file's own blocks, all is kept as it is
 * there: Q8_0, in layers Q4_0, and single numbers in their type; blocks of other types become Q8. */
enum weight_type packed_type(const struct parameter_list *list, const struct parameter *p, enum weight_type type);

/* Where each parameter lies in one region of device memory. base NULL: only counts. The vectors' and
 * matrices' pointers in *weights (whose layer array exists) are set when base is given. False: the bytes do
 * not fit size_t. */
bool weights_layout(struct weights *weights, const struct parameter_list *list, const struct hparams *hp,
                    const struct backend *backend, enum weight_type type, int32_t context, char *base, size_t *bytes);

/* Packs and uploads everything into the region that weights_layout has cut. Tensors leave the resident set as
 * they are done. */
tempera_status weights_load(const struct weights *weights, const struct parameter_list *list, const struct hparams *hp,
                            const struct tensor_set *set, const struct random_weights *random, struct backend *backend,
                            int32_t context, tempera_error *err);

/* As model_packing_loss (model.h). `random` is looked at when `set` is NULL. */
tempera_status weights_packing_loss(struct packing_loss losses[MATRIX_KINDS], const struct parameter_list *list,
                                    const struct tensor_set *set, const struct random_weights *random,
                                    struct backend *backend, enum weight_type type, tempera_error *err);

#endif
