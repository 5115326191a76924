/* ops_harness.h: opens every backend that can run here and moves arrays to and from it. The tests talk to struct
 * backend_ops only. */
#ifndef TESTS_OPS_HARNESS_H
#define TESTS_OPS_HARNESS_H

#include <stdbool.h>

#include "backend/backend.h"
#include "ops_reference.h"

/* A backend under test: the name for backend_find, and instructions. */
struct ops_target {
    const char *backend, *instructions;
};
extern const struct ops_target OPS_TARGETS[];
extern const int OPS_TARGET_COUNT;

/* Whether it multiplies on tensor cores (real or emulated): struct arithmetic says what follows. */
bool ops_tensor(const struct ops_target *target);
/* How many types packed matrices have: the cpu's may be quantised. */
enum weight_type ops_packed_types(const struct ops_target *target);
/* What KV pages are kept in, for weights of a type: in the same, and in F16 for quantised ones. */
enum weight_type ops_page_type(enum weight_type weights);

/* An open backend with everything that was allocated on it. All functions end the test when they fail. */
struct ops {
    struct backend *backend;
    const struct backend_ops *call;
    struct backend_info info;
    bool tensor;
    struct {
        void *data;
        size_t bytes;
    } buffer[256];
    int buffers;
};

/* False when this machine or build lacks the target. */
bool ops_open(struct ops *o, const struct ops_target *target, int threads, const struct backend_limits *limits);
void ops_close(struct ops *o);

/* How its linear layers multiply by weights of `type`; a.element is what inputs are rounded to. */
struct arithmetic ops_products(const struct ops *o, enum weight_type type);

/* Limits that all sizes of the tests fit in, for F32 weights. */
struct backend_limits ops_limits(int32_t D, int32_t max_tokens);

float *ops_put(struct ops *o, const float *host, size_t count); /* NULL stays NULL */
float *ops_new(struct ops *o, size_t count, float fill);
/* Gives back all buffers but the first `keep`. */
void ops_drop(struct ops *o, int keep);
void ops_get(struct ops *o, float *host, const float *device, size_t count);

/* Operands for weights of `type`: [T, K] elements, each row operand_bytes long. put rounds to nearest even, new is all
 * NaN, get checks that what is beyond K is zero. */
void *ops_put_operand(struct ops *o, enum weight_type type, const float *rows, int32_t T, int32_t K);
void *ops_new_operand(struct ops *o, enum weight_type type, int32_t T, int32_t K);
void ops_get_operand(struct ops *o, float *rows, const void *operand, enum weight_type type, int32_t T, int32_t K);

/* A packed [N, K] matrix from rows, converted to type. bias NULL: none. */
struct linear_weight ops_weight(struct ops *o, enum weight_type type, int32_t N, int32_t K, const float *rows,
                                const float *bias);
/* An empty packed matrix, then its rows. */
struct linear_weight ops_weight_new(struct ops *o, enum weight_type type, int32_t N, int32_t K);

/* A step with T tokens and nothing else in its view. */
void ops_begin(struct ops *o, const struct batch_view *view);
void ops_end(struct ops *o);

/* Reproducible numbers: uniform in [-1, 1), roughly normal, and an integer in [0, n). */
struct ops_random {
    uint64_t state;
};
float ops_uniform(struct ops_random *r);
float ops_normal(struct ops_random *r);
int32_t ops_below(struct ops_random *r, int32_t n);
float *ops_normals(struct ops_random *r, size_t count, float scale); /* the caller frees */

/* Fails the test unless |got - value| ≤ bound (and not NaN); `what` and i name the place. */
void ops_check(double got, double value, double bound, const char *what, const struct ops *o, int64_t i);
/* Bitwise comparison of n floats. */
void ops_same(const float *a, const float *b, size_t n, const char *what, const struct ops *o);

#define OPS_CALL(expr)                                                                                                 \
    do {                                                                                                               \
        tempera_error err_ = {0};                                                                                      \
        tempera_error *err = &err_;                                                                                    \
        if ((expr) != TEMPERA_OK) cr_assert(false, "%s: %s", #expr, err_.message);                                     \
    } while (0)

#endif
