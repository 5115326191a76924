/* network.c: a model on a backend: allocated as planned, loaded, stepped. */
#include "base/mem.h"
#include "model/internal.h"

static tempera_status allocate(struct network *n, const struct model *model, tempera_error *err) {
    struct backend *backend = n->backend;
    const struct network_plan *plan = &n->plan;
    const int32_t context = plan->limits.context;
    n->weights.layer = mem_array((size_t)model->hp.L, sizeof *n->weights.layer);
    if (!n->weights.layer) return fail_memory(err, 0, "the layers");

    n->weight_memory = backend->ops->alloc(backend, plan->weights);
    if (!n->weight_memory) return fail_memory(err, plan->weights, "weights");
    n->activation_memory = backend->ops->alloc(backend, plan->activations);
    if (!n->activation_memory) return fail_memory(err, plan->activations, "activations");

    size_t weights, activations;
    weights_layout(&n->weights, &model->list, &model->hp, backend, plan->weight_type, context, n->weight_memory,
                   &weights);
    activations_layout(&n->activations, model, &plan->limits, n->activation_memory, &activations);
    if (weights != plan->weights || activations != plan->activations)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "the memory plan was made for another model or backend");
    return backend->ops->prepare(backend, &plan->limits, err);
}

tempera_status network_create(struct network **network, const struct model *model, struct backend *backend,
                              const struct network_plan *plan, tempera_error *err) {
    struct network *n = mem_array(1, sizeof *n);
    if (!n) return fail_memory(err, sizeof *n, "a network");
    n->backend = backend;
    n->hp = model->hp;
    n->plan = *plan;
    tempera_status status;
    TRY_GOTO(allocate(n, model, err));
    TRY_GOTO(weights_load(&n->weights, &model->list, &model->hp, model->set, &model->random, backend,
                          plan->limits.context, err));
    *network = n;
    n = NULL;
cleanup:
    network_free(n);
    return status;
}

void network_free(struct network *n) {
    if (!n) return;
    n->backend->ops->free(n->backend, n->activation_memory, n->plan.activations);
    n->backend->ops->free(n->backend, n->weight_memory, n->plan.weights);
    mem_free(n->weights.layer);
    mem_free(n);
}

tempera_status network_step(struct network *n, const struct batch_view *view, struct draw_result *results,
                            tempera_error *err) {
    struct backend *backend = n->backend;
    TRY(backend->ops->step_begin(backend, view, err));
    tempera_status status = forward(n, view, err);
    if (status == TEMPERA_OK && view->B > 0) status = backend->ops->draw(backend, n->activations.logits, n->hp.V, err);
    /* A step that failed half-way is ended too, but what it says then matters less. */
    tempera_status ended = backend->ops->step_end(backend, results, status == TEMPERA_OK ? err : NULL);
    return status == TEMPERA_OK ? ended : status;
}

tempera_status network_read_logits(struct network *n, int32_t r, float *logits, tempera_error *err) {
    const size_t V = (size_t)n->hp.V;
    return n->backend->ops->download(n->backend, logits, n->activations.logits + (size_t)r * V, V * sizeof *logits,
                                     err);
}
