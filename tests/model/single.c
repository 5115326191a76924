/* single.c: one sequence through a network by hand. */
#include "single.h"

#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "support.h"

static tempera_status open_network(struct single *s, const struct model *model, enum weight_type type, int32_t context,
                                   tempera_error *err) {
    struct backend_limits limits = {
        .max_tokens = context, .max_logits = context, .max_branches = 1, .context = context};
    struct backend_info info;
    s->backend->ops->info(s->backend, &info);
    s->page_tokens = info.page_tokens;
    limits.pages = (int32_t)ceil_div((size_t)context, (size_t)info.page_tokens);
    TRY(network_plan_make(&s->plan, model, s->backend, type, &limits, err));
    s->page = mem_array((size_t)limits.pages, sizeof *s->page);
    s->scratch = mem_array(3 * (size_t)context, sizeof *s->scratch);
    if (!s->page || !s->scratch) return fail_memory(err, 0, "a sequence");
    for (int32_t i = 0; i < limits.pages; i++) s->page[i] = limits.pages - 1 - i;
    return network_create(&s->network, model, s->backend, &s->plan, err);
}

tempera_status single_open(struct single *s, const struct model *model, const char *instructions, enum weight_type type,
                           int32_t context, tempera_error *err) {
    *s = (struct single){.V = model_hparams(model)->V};
    struct backend_options options = {.threads = 2, .instructions = instructions};
    TRY(backend_open(&s->backend, test_device(), &options, NULL, err));
    return open_network(s, model, type, context, err);
}

void single_close(struct single *s) {
    network_free(s->network);
    if (s->backend) s->backend->ops->close(s->backend);
    mem_free(s->scratch);
    mem_free(s->page);
    *s = (struct single){0};
}

void single_reset(struct single *s) {
    s->length = 0;
}

static tempera_status step(struct single *s, const int32_t *token, int32_t count, tempera_error *err) {
    const int32_t context = s->plan.limits.context;
    int32_t *index = s->scratch, *position = index + context, *slot = position + context;
    for (int32_t i = 0; i < count; i++) {
        index[i] = i;
        position[i] = s->length + i;
        slot[i] = s->page[position[i] / s->page_tokens] * s->page_tokens + position[i] % s->page_tokens;
    }
    const int32_t pages = (int32_t)ceil_div((size_t)(s->length + count), (size_t)s->page_tokens);
    const int32_t query_start[2] = {0, count}, page_start[2] = {0, pages};
    struct batch_view view = {
        .T = count,
        .token = token,
        .position = position,
        .slot = slot,
        .S = 1,
        .query_start = query_start,
        .page_start = page_start,
        .page = s->page,
        .R = count,
        .logit_token = index,
    };
    s->length += count;
    return network_step(s->network, &view, NULL, err);
}

tempera_status single_run(struct single *s, const int32_t *token, int32_t count, int32_t chunk, float *logits,
                          tempera_error *err) {
    for (int32_t done = 0; done < count; done += chunk) {
        int32_t now = count - done < chunk ? count - done : chunk;
        TRY(step(s, token + done, now, err));
        for (int32_t r = 0; r < now; r++)
            TRY(network_read_logits(s->network, r, logits + (size_t)(done + r) * (size_t)s->V, err));
    }
    return TEMPERA_OK;
}

void log_softmax(double *out, const float *logits, int32_t V) {
    double most = -INFINITY, sum = 0;
    for (int32_t v = 0; v < V; v++) most = fmax(most, logits[v]);
    for (int32_t v = 0; v < V; v++) sum += exp(logits[v] - most);
    for (int32_t v = 0; v < V; v++) out[v] = logits[v] - most - log(sum);
}
