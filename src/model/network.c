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
    activations_layout(&n->activations, model, backend, &plan->limits, n->activation_memory, &activations);
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
    while (n->in_flight > 0) network_wait(n, NULL, NULL);
    n->backend->ops->free(n->backend, n->activation_memory, n->plan.activations);
    n->backend->ops->free(n->backend, n->weight_memory, n->plan.weights);
    mem_free(n->weights.layer);
    mem_free(n);
}

static tempera_status call_ops(struct network *n, const struct batch_view *view, tempera_error *err) {
    TRY(forward(n, view, err));
    return view->B > 0 ? n->backend->ops->draw(n->backend, n->activations.logits, n->hp.V, err) : TEMPERA_OK;
}

tempera_status network_submit(struct network *n, const struct batch_view *view, tempera_error *err) {
    struct backend *backend = n->backend;
    bool replay;
    TRY(backend->ops->step_begin(backend, view, &replay, err));
    tempera_status status = replay ? TEMPERA_OK : call_ops(n, view, err);
    /* A step that failed half-way is ended too, but what it says then matters less. */
    tempera_status ended = backend->ops->step_end(backend, status == TEMPERA_OK ? err : NULL);
    if (status == TEMPERA_OK) status = ended;
    if (status == TEMPERA_OK) {
        n->in_flight++;
    } else if (ended == TEMPERA_OK && n->in_flight > 0) {
        n->broken = true; /* its turn to be waited for comes after the step before */
    } else if (ended == TEMPERA_OK) {
        backend->ops->step_wait(backend, NULL, NULL);
    }
    return status;
}

tempera_status network_wait(struct network *n, struct draw_result *results, tempera_error *err) {
    struct backend *backend = n->backend;
    tempera_status status = backend->ops->step_wait(backend, results, err);
    n->in_flight--;
    if (n->broken) backend->ops->step_wait(backend, NULL, NULL);
    n->broken = false;
    return status;
}

tempera_status network_step(struct network *n, const struct batch_view *view, struct draw_result *results,
                            tempera_error *err) {
    TRY(network_submit(n, view, err));
    return network_wait(n, results, err);
}

tempera_status network_read_logits(struct network *n, int32_t r, float *logits, tempera_error *err) {
    const size_t V = (size_t)n->hp.V;
    return n->backend->ops->download(n->backend, logits, n->activations.logits + (size_t)r * V, V * sizeof *logits,
                                     err);
}

bool network_shares_memory(const struct network *n) {
    struct backend_info info;
    n->backend->ops->info(n->backend, &info);
    return info.host_memory;
}

tempera_status network_host_logits(struct network *n, int32_t R, float *buffer, const float **logits,
                                   tempera_error *err) {
    *logits = network_shares_memory(n) ? n->activations.logits : buffer;
    if (*logits != buffer || R == 0) return TEMPERA_OK;
    return n->backend->ops->download(n->backend, buffer, n->activations.logits,
                                     (size_t)R * (size_t)n->hp.V * sizeof *buffer, err);
}
