/* internal.h: the structs behind model.h. Private to src/model. */
#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include "load/gguf.h"
#include "model/weights.h"

struct model {
    const struct arch *arch;
    struct model_config config;
    struct generation_config generation;
    struct hparams hp;
    const struct tensor_set *set; /* NULL: random weights */
    struct tensor_set *folder;    /* set, of a folder */
    struct gguf *gguf;            /* what owns set, of a GGUF file */
    struct arch gguf_row;         /* arch, of a GGUF file */
    bool vocabulary;              /* a GGUF file without tensors */
    char types[128];              /* model_tensor_types */
    struct random_weights random;
    struct parameter_list list;
    enum weight_type weight_type;
    int64_t parameters, file_bytes;
};

/* Fills in parameters and file_bytes from the list. */
void model_count(struct model *model);

/* Buffers of the forward pass, for max_tokens tokens; void: operands. */
struct activations {
    float *x;      /* [T, D] residual stream */
    void *h;       /* [T, D] normed input of a block */
    float *out;    /* [T, D] output of a block before its own norm; NULL in families without such norms */
    float *delta;  /* [T, D] that output after its norm, not yet added to x; NULL with out */
    float *qkv;    /* [T, (H + 2 Hkv) Dh] */
    void *heads;   /* [T, H Dh] what attention gives */
    float *up;     /* [T, 2F] before the gate; NULL in families without one */
    void *gated;   /* [T, F] the MLP's inside; it and up share memory with qkv and heads, which are done with by then */
    float *logits; /* [R, V] */
};

/* False: the bytes do not fit size_t. base NULL: only counts. */
bool activations_layout(struct activations *a, const struct model *model, const struct backend *backend,
                        const struct backend_limits *limits, char *base, size_t *bytes);

struct network {
    struct backend *backend;
    struct hparams hp;
    struct network_plan plan;
    struct weights weights;
    struct activations activations;
    void *weight_memory, *activation_memory; /* plan.weights and plan.activations bytes on the device */
    int32_t in_flight;                       /* steps submitted and not waited for */
    bool broken;                             /* the youngest of them failed half-way; it is waited for, not looked at */
};

/* The forward pass of one step: from the view's tokens to logits, between step_begin and step_end
 * (forward.c). */
tempera_status forward(struct network *network, const struct batch_view *view, tempera_error *err);

#endif
