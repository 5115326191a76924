/* model.h: from a folder to logits. A `model` is what the files say (no device); a `network` is that model on
 * a backend with every buffer allocated, running the one forward pass. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "backend/backend.h"
#include "load/config.h"

/* ---- model: files, checked --------------------------------------------------------------------------------------- */

/* The numbers of the forward pass, resolved from config.json and the family's row (arch.h). Shape letters of
 * backend.h. */
struct hparams {
    const char *family; /* "gpt2" …, static */
    int32_t V, D, L, H, Hkv, Dh, F;
    int32_t context; /* max_position_embeddings, or what yarn extends it to */
    enum norm_kind norm;
    float norm_eps;
    enum activation activation;
    bool gated;             /* activation(gate) * up */
    bool parallel_residual; /* attention and MLP read the same residual stream */
    bool tied;
    float embed_scale;                 /* 1, or sqrt(D) for Gemma */
    float attn_scale;                  /* of q·k, before any per-layer factor */
    bool attn_scale_by_layer;          /* divided by layer + 1 */
    float attn_softcap, logit_softcap; /* 0 = none */
    float logit_scale;                 /* 1 = none */
    int32_t rotary;                    /* rotated leading elements of each head; 0 = learned positions */
    bool rotary_interleaved;
    int32_t window[CONFIG_MAX_LAYERS];     /* [L] sliding window of each layer; 0 = all */
    uint8_t rope_local[CONFIG_MAX_LAYERS]; /* [L] 1 = uses the local rope table */
    struct rope_config rope, rope_local_config;
};

struct model;

/* Opens config.json, generation_config.json and the safetensors of a folder, or a GGUF file; checks that every tensor the
 * family needs is there with its shape, and none that it does not know. A GGUF file without tensors opens as a vocabulary:
 * of its numbers only V, context and the special ids are set, and no network can be made of it. */
tempera_status model_open(struct model **model, const char *path, tempera_error *err);
/* Shapes of tempera_model_random; weights are drawn when a network is made (normal, scaled so that
 * activations stay bounded), a pure function of seed and tensor name. */
tempera_status model_random(struct model **model, const char *shape, uint64_t seed, tempera_error *err);
void model_free(struct model *model);

/* TEMPERA_UNSUPPORTED for a vocabulary; whatever makes a plan asks first. */
tempera_status model_need_weights(const struct model *model, tempera_error *err);
const struct hparams *model_hparams(const struct model *model);
const struct model_config *model_config(const struct model *model);
const struct generation_config *model_generation_config(const struct model *model);
enum weight_type model_weight_type(const struct model *model); /* of most matrix bytes; quantised blocks are BF16 */
/* The same on a backend with quantised weights: Q8, Q4 where the layers are mostly Q8_0, Q4_0 in the file, whose scales
 * and integers are then kept as they are (weights.h: packed_type). */
enum weight_type model_block_type(const struct model *model);
const char *model_tensor_types(const struct model *model); /* "49 F32, 168 Q4_K": tensors of the files; "" for random */
int64_t model_parameters(const struct model *model);
int64_t model_file_bytes(const struct model *model);

/* ---- plan: every size before anything is allocated --------------------------------------------------------------- */

struct network_plan {
    struct backend_limits limits; /* effective */
    enum weight_type weight_type;
    size_t weights;      /* bytes of packed weights, biases, norms, rope tables */
    size_t kv;           /* pages * layers * kv_page */
    size_t activations;  /* forward buffers and logits [max_logits, V] */
    size_t workspace;    /* backend's own */
    size_t step_weights; /* of the weights, what one decode step reads: all but tables that are only looked up */
};
/* limits: max_tokens, max_logits, max_branches, pages and context are given, the rest is filled from the
 * model. */
tempera_status network_plan_make(struct network_plan *plan, const struct model *model, const struct backend *backend,
                                 enum weight_type type, const struct backend_limits *limits, tempera_error *err);

/* ---- what packing loses ------------------------------------------------------------------------------------------ */

/* A model's matrices by what they do; in the order of tempera_matrix. */
enum matrix_kind {
    MATRIX_EMBEDDING,
    MATRIX_POSITIONS,
    MATRIX_QKV,
    MATRIX_ATTENTION_OUT,
    MATRIX_UP,
    MATRIX_DOWN,
    MATRIX_HEAD,
    MATRIX_KINDS
};

/* Over all matrices of a kind; zeros when there are none. */
struct packing_loss {
    enum weight_type type; /* as packed */
    int64_t matrices, weights;
    double squares; /* Σ w² of the files' weights w */
    double errors;  /* Σ (packed w - w)² */
};

/* Packs every matrix as a network of that type would, one at a time, and compares it with the files' in double precision:
 * memory for the largest one packed, and for some rows. The backend is fresh: it is prepared here, and is good only to be
 * closed then. The sums are the same for any number of threads. */
tempera_status model_packing_loss(struct packing_loss losses[MATRIX_KINDS], const struct model *model,
                                  struct backend *backend, enum weight_type type, tempera_error *err);

/* ---- network: on a device ---------------------------------------------------------------------------------------- */

struct network;

/* Allocates what the plan says (backend->prepare included) and packs the weights. The backend must outlive
 * the network; the model need not once this returns. */
tempera_status network_create(struct network **network, const struct model *model, struct backend *backend,
                              const struct network_plan *plan, tempera_error *err);
void network_free(struct network *network);

/* Submits one step: forward, logits (when R > 0), draws (when B > 0). Allocates nothing. Token ids must be below V,
 * positions below the plan's context: the caller has checked them. Where the backend runs ahead, a second step may be
 * submitted before the first is waited for. After a failure nothing was submitted, and the next step may be tried. */
tempera_status network_submit(struct network *network, const struct batch_view *view, tempera_error *err);
/* Waits for the oldest submitted step; results [view->B], or NULL. */
tempera_status network_wait(struct network *network, struct draw_result *results, tempera_error *err);
/* Both. */
tempera_status network_step(struct network *network, const struct batch_view *view, struct draw_result *results,
                            tempera_error *err);
/* The logits of row r (below R) of the step submitted last, which has been waited for; [V] floats. */
tempera_status network_read_logits(struct network *network, int32_t r, float *logits, tempera_error *err);
/* The logits of its first R rows, [R, V]: where they lie, if the host can read them there, until the next step; else
 * copied to `buffer` [R, V]. */
tempera_status network_host_logits(struct network *network, int32_t R, float *buffer, const float **logits,
                                   tempera_error *err);
bool network_shares_memory(const struct network *network); /* then no buffer is needed */

#endif
