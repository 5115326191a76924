/* loading.h: one parameter at a time from its tensors to a device: what filling a network's weights (weights.c) and looking
 * at what packing loses (packing_loss.c) share. Private to the two. */
#ifndef MODEL_LOADING_H
#define MODEL_LOADING_H

#include "model/weights.h"

struct loader {
    const struct weights *weights;
    const struct tensor_set *set;
    const struct random_weights *random;
    struct backend *backend;
    bool makes_random; /* the backend makes random matrices itself */
    char *drawn;       /* room for the random tensors of one parameter; NULL with files */
    float *vector;     /* room for one vector */
    float *decoded;    /* room for DECODED_BYTES, or PACK_ROWS rows, of a matrix whose rows are brought together here */
};

/* Where a parameter comes from. */
struct sources {
    struct weight_piece tensor[PARAMETER_PARTS]; /* rows of all pieces unset */
    struct random_source random[PARAMETER_PARTS];
    union random_table table;
};

/* The largest rooms that one parameter of the list needs, in bytes. */
void loader_sizes(const struct loader *l, const struct parameter_list *list, size_t *drawn, size_t *vector,
                  size_t *decoded);

/* Where a parameter's linear_weight or pointer is; what is written there. */
void *parameter_target(const struct weights *weights, const struct parameter *p);
void parameter_place(struct weights *weights, const struct parameter *p, void *data, enum weight_type type);

/* Packs or uploads a parameter that has its place, and lets go of its files' pages. */
tempera_status load_parameter(const struct loader *l, const struct parameter *p, tempera_error *err);

/* Each source as host memory, mapped or drawn now, or as what the backend makes it of. */
void fetch_sources(const struct loader *l, const struct parameter *p, bool as_blocks, struct sources *sources);
void forget_sources(const struct loader *l, const struct parameter *p);

/* Where output row n of a parameter comes from. */
struct row_place {
    int32_t source;
    size_t row;
};
struct row_place row_place_of(const struct parameter *p, size_t n);
/* Output row n of tensors in files that are not transposed, in float or as the blocks that it is; returns its bytes. */
size_t bring_row(void *out, const struct parameter *p, size_t n, bool as_blocks);
/* Element i of a tensor of type F32, F16 or BF16. */
float weight_element(const void *data, enum weight_type type, size_t i);

#endif
