#include "engine/engine.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/status.h"

enum { MAX_ROWS = 65536, MAX_BRANCHES = 1 << 20, MAX_STEP_TOKENS = 65536, TEXT_RESERVE = 1 << 16 };
static const size_t default_kv_bytes = (size_t)1 << 30;

double engine_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- plan ------------------------------------------------------------------------------------------------------ */

static tempera_status check_range(const char *name, int64_t value, int64_t min, int64_t max, tempera_error *err) {
    if (value >= min && value <= max) return TEMPERA_OK;
    return fail(err, TEMPERA_INVALID_ARGUMENT, "%s is %lld; it must be %lld to %lld", name, (long long)value,
                (long long)min, (long long)max);
}

static tempera_status check_options(const tempera_engine_options *o, tempera_error *err) {
    TRY(check_range("threads", o->threads, 0, 1024, err));
    TRY(check_range("context", o->context, 0, INT32_MAX - 1, err));
    TRY(check_range("max_rows", o->max_rows, 1, MAX_ROWS, err));
    TRY(check_range("max_branches", o->max_branches, 1, MAX_BRANCHES, err));
    TRY(check_range("max_step_tokens", o->max_step_tokens, 1, MAX_STEP_TOKENS, err));
    return TEMPERA_OK;
}

/* `quantised`: the device has the quantised types. "auto" takes them there, and so never chooses the device. */
static tempera_status find_weight_type(const char *dtype, const struct model *model, bool quantised,
                                       enum weight_type *type, tempera_error *err) {
    *type = quantised ? model_block_type(model) : model_weight_type(model);
    if (!dtype || strcmp(dtype, "auto") == 0) return TEMPERA_OK;
    for (int t = 0; t < WEIGHT_PACKED_COUNT; t++) {
        if (strcmp(dtype, weight_type_name((enum weight_type)t)) != 0) continue;
        *type = (enum weight_type)t;
        return TEMPERA_OK;
    }
    return fail(err, TEMPERA_INVALID_ARGUMENT, "dtype \"%s\" is unknown; known are auto, f32, f16, bf16, q8, q4",
                dtype);
}

/* A device that does not have the type is refused here, so that nothing is planned or packed on it. */
static tempera_status open_backend(struct backend **backend, char note[BACKEND_NOTE_BYTES], const struct model *model,
                                   const tempera_engine_options *o, tempera_error *err) {
    enum weight_type type;
    TRY(find_weight_type(o->dtype, model, false, &type, err));
    struct backend_options options = {.threads = o->threads,
                                      .instructions = o->instructions,
                                      .quantised = type >= WEIGHT_TYPE_COUNT,
                                      .fast = o->fast};
    TRY(backend_open(backend, o->device, &options, note, err));
    struct backend_info info;
    (*backend)->ops->info(*backend, &info);
    if (!options.quantised || info.quantised) return TEMPERA_OK;
    (*backend)->ops->close(*backend);
    *backend = NULL;
    return fail(err, TEMPERA_UNSUPPORTED, "the %s backend has no quantised weights: dtype \"%s\" needs device cpu",
                info.name, weight_type_name(type));
}

/* How many pages: what the options ask for, at least one full context. */
static tempera_status count_pages(tempera_plan *plan, size_t page_bytes, size_t kv_bytes, tempera_error *err) {
    size_t full = ceil_div((size_t)plan->context, (size_t)plan->page_tokens);
    size_t most = full * (size_t)plan->max_rows;
    size_t pages = (kv_bytes ? kv_bytes : default_kv_bytes) / page_bytes;
    if (pages < full && kv_bytes) {
        return fail(err, TEMPERA_INVALID_ARGUMENT,
                    "%zu bytes of KV memory hold %zu tokens; the context of %d needs %zu bytes", kv_bytes,
                    pages * (size_t)plan->page_tokens, plan->context, full * page_bytes);
    }
    if (pages < full) pages = full;
    if (pages > most) pages = most;
    if (pages > INT32_MAX / (size_t)plan->page_tokens) pages = INT32_MAX / (size_t)plan->page_tokens;
    plan->pages = (int32_t)pages;
    return TEMPERA_OK;
}

/* The host-side slab: counts when layout->base is NULL, else hands the arrays to the engine. */
static void lay_out(struct engine *e, struct layout *layout, const tempera_plan *plan, bool reuse, size_t piece_bytes) {
    struct rows_limits rows = {.context = plan->context,
                               .max_rows = plan->max_rows,
                               .max_branches = plan->max_branches,
                               .pages = plan->pages,
                               .page_tokens = plan->page_tokens,
                               .reuse = reuse};
    struct batch_limits batch = {.max_tokens = plan->max_rows + plan->max_step_tokens,
                                 .max_rows = plan->max_rows,
                                 .max_logits = plan->max_logits,
                                 .max_branches = plan->max_branches,
                                 .row_pages = (int32_t)ceil_div((size_t)plan->context, (size_t)plan->page_tokens)};
    size_t branches = (size_t)plan->max_branches;
    e->group_table_size = 2;
    while (e->group_table_size < 2 * branches) e->group_table_size *= 2;
    rows_init(&e->rows, layout, &rows);
    for (int i = 0; i < (e->run_ahead ? 2 : 1); i++) batch_init(&e->batch[i], layout, &batch);
    e->slot = layout_array(layout, MAX_PENDING_REQUESTS, sizeof *e->slot);
    e->group = layout_array(layout, branches, sizeof *e->group);
    e->group_table = layout_array(layout, e->group_table_size, sizeof *e->group_table);
    e->piece = layout_array(layout, piece_bytes, 1);
    e->delta = layout_array(layout, 2 * piece_bytes + 2 * STOP_MAX_BYTES, 1);
}

/* "Fits" means it fits: what the device has free now, against the plan, before anything is allocated. */
static tempera_status check_memory(const tempera_plan *plan, tempera_error *err) {
    const size_t need = plan->total - plan->host; /* make_plan has checked the sum */
    const double mib = 0x1p-20;
    if (plan->device_memory == 0 || need <= plan->device_free) return TEMPERA_OK;
    const size_t over = need - plan->device_free;
    const char *remedy = over < plan->kv ? "less KV memory or a shorter context would fit"
                         : plan->weights <= plan->device_free
                             ? "fewer rows, a shorter context and less KV memory may fit"
                         : strcmp(plan->dtype, "f32") == 0 ? "a 16-bit dtype halves the weights"
                                                           : "the weights alone are too much for it";
    return fail(
        err, TEMPERA_OUT_OF_MEMORY,
        "the plan needs %.1f MiB on %s (weights %.1f, KV %.1f, activations %.1f, workspace %.1f); %.1f of %.1f MiB "
        "are free, %.1f too little: %s",
        (double)need * mib, plan->device_name, (double)plan->weights * mib, (double)plan->kv * mib,
        (double)plan->activations * mib, (double)plan->workspace * mib, (double)plan->device_free * mib,
        (double)plan->device_memory * mib, (double)over * mib, remedy);
}

static size_t piece_bytes(const struct tokenizer *tokenizer) {
    return tokenizer ? tokenizer_detok_bound(tokenizer) : 1;
}

static tempera_status plan_network(struct network_plan *network, const tempera_plan *plan, const struct model *model,
                                   const struct backend *backend, enum weight_type type, tempera_error *err) {
    struct backend_limits limits = {.context = plan->context,
                                    .max_tokens = plan->max_rows + plan->max_step_tokens,
                                    .max_logits = plan->max_logits,
                                    .max_branches = plan->max_branches,
                                    .pages = plan->pages};
    return network_plan_make(network, model, backend, type, &limits, err);
}

/* Everything an open engine needs to know, from an open backend. */
static tempera_status make_plan(tempera_plan *plan, struct network_plan *network, const struct model *model,
                                const struct tokenizer *tokenizer, const struct backend *backend,
                                const tempera_engine_options *o, tempera_error *err) {
    const struct hparams *h = model_hparams(model);
    struct backend_info info;
    enum weight_type type;
    TRY(model_need_weights(model, err));
    backend->ops->info(backend, &info);
    TRY(find_weight_type(o->dtype, model, info.quantised, &type, err));
    *plan = (tempera_plan){.context = o->context && o->context < h->context ? o->context : h->context,
                           .max_rows = o->max_rows,
                           .max_branches = o->max_branches,
                           .max_step_tokens = o->max_step_tokens,
                           .max_logits = o->max_rows > 16 ? o->max_rows : 16,
                           .page_tokens = info.page_tokens,
                           .threads = info.threads,
                           .pages = 1,
                           .fast = o->fast};
    memcpy(plan->device, info.name, sizeof plan->device);
    memcpy(plan->device_name, info.device, sizeof plan->device_name);
    memcpy(plan->instructions, info.instructions, sizeof plan->instructions);
    plan->device_free = info.memory_free;
    plan->device_memory = info.memory_total;
    strncpy(plan->dtype, weight_type_name(type), sizeof plan->dtype - 1);
    TRY(plan_network(network, plan, model, backend, type, err)); /* with one page: tells a page's bytes */
    TRY(count_pages(plan, network->kv, o->kv_bytes, err));
    TRY(plan_network(network, plan, model, backend, type, err));
    struct engine counted;
    memset(&counted, 0, sizeof counted);
    counted.run_ahead = info.run_ahead;
    struct layout layout = {0};
    lay_out(&counted, &layout, plan, true, piece_bytes(tokenizer));
    plan->weights = network->weights;
    plan->kv = network->kv;
    plan->activations = network->activations;
    plan->workspace = network->workspace;
    plan->step_weights = network->step_weights;
    plan->host = layout.used + TEXT_RESERVE;
    if (layout.overflow || !size_add(plan->weights, plan->kv, &plan->total) ||
        !size_add(plan->total, plan->activations, &plan->total) ||
        !size_add(plan->total, plan->workspace, &plan->total) || !size_add(plan->total, plan->host, &plan->total)) {
        return fail(err, TEMPERA_OUT_OF_MEMORY, "the plan does not fit the address space");
    }
    return TEMPERA_OK;
}

tempera_status engine_plan(tempera_plan *plan, const struct model *model, const struct tokenizer *tokenizer,
                           const tempera_engine_options *options, tempera_error *err) {
    struct backend *backend = NULL;
    struct network_plan network;
    TRY(check_options(options, err));
    char note[BACKEND_NOTE_BYTES];
    TRY(open_backend(&backend, note, model, options, err));
    tempera_status status = make_plan(plan, &network, model, tokenizer, backend, options, err);
    memcpy(plan->device_note, note, sizeof note);
    backend->ops->close(backend);
    return status;
}

tempera_status engine_weight_errors(tempera_weight_error errors[TEMPERA_MATRIX_KINDS], const struct model *model,
                                    const tempera_engine_options *options, tempera_error *err) {
    _Static_assert((int)TEMPERA_MATRIX_KINDS == (int)MATRIX_KINDS, "the kinds are those of the model");
    struct backend *backend = NULL;
    struct packing_loss losses[MATRIX_KINDS];
    enum weight_type type;
    char note[BACKEND_NOTE_BYTES];
    TRY(check_options(options, err));
    TRY(open_backend(&backend, note, model, options, err));
    struct backend_info info;
    backend->ops->info(backend, &info);
    tempera_status status = find_weight_type(options->dtype, model, info.quantised, &type, err);
    if (status == TEMPERA_OK) status = model_packing_loss(losses, model, backend, type, err);
    backend->ops->close(backend);
    for (int kind = 0; status == TEMPERA_OK && kind < TEMPERA_MATRIX_KINDS; kind++) {
        const struct packing_loss *loss = &losses[kind];
        errors[kind] = (tempera_weight_error){.dtype = loss->matrices ? weight_type_name(loss->type) : "",
                                              .matrices = loss->matrices,
                                              .weights = loss->weights,
                                              .squares = loss->squares,
                                              .errors = loss->errors};
    }
    return status;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void init_slots(struct engine *e) {
    for (int32_t i = 0; i < MAX_PENDING_REQUESTS; i++) {
        e->slot[i].next = i + 1 < MAX_PENDING_REQUESTS ? i + 1 : NO_INDEX;
    }
    for (uint32_t i = 0; i < e->group_table_size; i++) e->group_table[i] = NO_INDEX;
}

tempera_status engine_open(struct engine **engine, const struct model *model, const struct tokenizer *tokenizer,
                           const int32_t *eos, int32_t eos_count, const tempera_engine_options *options,
                           tempera_error *err) {
    tempera_status status;
    struct backend_info info;
    struct network_plan network;
    struct layout layout = {0};
    TRY(check_options(options, err));
    struct engine *e = mem_array(1, sizeof *e);
    if (!e) return fail_memory(err, sizeof *e, "the engine");
    e->tokenizer = tokenizer;
    e->unshared = options->unshared;
    e->V = model_hparams(model)->V;
    e->eos_count = eos_count;
    memcpy(e->eos, eos, (size_t)eos_count * sizeof *eos);
    e->text.max = (size_t)1 << 30;
    char note[BACKEND_NOTE_BYTES];
    TRY_GOTO(open_backend(&e->backend, note, model, options, err));
    TRY_GOTO(make_plan(&e->plan, &network, model, tokenizer, e->backend, options, err));
    memcpy(e->plan.device_note, note, sizeof note);
    TRY_GOTO(check_memory(&e->plan, err));
    TRY_GOTO(buf_reserve(&e->text, TEXT_RESERVE, err));
    e->slab_bytes = e->plan.host - TEXT_RESERVE;
    e->slab = mem_slab(e->slab_bytes);
    if (!e->slab) {
        status = fail_memory(err, e->slab_bytes, "rows and branches");
        goto cleanup;
    }
    layout.base = e->slab;
    e->backend->ops->info(e->backend, &info);
    e->run_ahead = info.run_ahead;
    lay_out(e, &layout, &e->plan, !options->no_prefix_reuse, piece_bytes(tokenizer));
    init_slots(e);
    TRY_GOTO(network_create(&e->network, model, e->backend, &network, err));
    *engine = e;
    return TEMPERA_OK;

cleanup:
    engine_close(e);
    return status;
}

void engine_close(struct engine *e) {
    if (!e) return;
    for (int32_t i = 0; e->slot && i < MAX_PENDING_REQUESTS; i++) request_free(e->slot[i].request);
    network_free(e->network);
    if (e->backend) e->backend->ops->close(e->backend);
    mem_slab_free(e->slab, e->slab_bytes);
    buf_free(&e->text);
    mem_free(e);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

tempera_status engine_submit(struct engine *e, const tempera_request *from, uint64_t *id, tempera_error *err) {
    struct request *request;
    struct request_limits limits = {.V = e->V,
                                    .context = e->plan.context,
                                    .max_branches = e->plan.max_branches,
                                    .eos = e->eos,
                                    .eos_count = e->eos_count,
                                    .tokenizer = e->tokenizer};
    if (e->pending == MAX_PENDING_REQUESTS) {
        return fail(err, TEMPERA_TOO_LONG, "%d requests are pending, which is the most", MAX_PENDING_REQUESTS);
    }
    TRY(request_create(&request, from, &limits, err));
    struct request_slot *slot = &e->slot[e->free_slot];
    request->slot = e->free_slot;
    request->id = ++slot->generation << 16 | (uint64_t)request->slot;
    slot->request = request;
    e->free_slot = slot->next;
    e->pending++;
    if (e->queue_last) {
        e->queue_last->next = request;
    } else {
        e->queue_first = request;
    }
    e->queue_last = request;
    if (e->first_submit == 0) e->first_submit = engine_clock();
    if (id) *id = request->id;
    return TEMPERA_OK;
}

void engine_cancel(struct engine *e, uint64_t id) {
    if (id == 0) {
        atomic_store(&e->cancel_all, true);
    } else {
        atomic_store(&e->slot[id & (MAX_PENDING_REQUESTS - 1)].cancelled, id);
    }
    atomic_store(&e->cancel_any, true);
}

bool engine_idle(const struct engine *e) {
    return e->pending == 0;
}
