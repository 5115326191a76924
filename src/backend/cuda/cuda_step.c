/* cuda_step.c: the memory that steps work in, and the frame of a step: its tables, its size class and graph, its end. */
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/num.h"

/* ---- sizes -------------------------------------------------------------------------------------------------------- */

enum { ALIGN = 256, STATES_BYTES = 64 << 20 };

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Everything that depends on the limits alone. */
struct step_memory {
    struct cuda_tables tables;
    int32_t page_capacity, splits;
    size_t kv_page; /* of K or of V of one layer */
    size_t at_tables, at_operand, at_states, at_counters, at_copies, at_linear, at_draw, total;
};

static size_t take(size_t *at, size_t bytes) {
    size_t start = *at;
    *at = start + round_up(bytes, ALIGN);
    return start;
}

static void plan_tables(struct cuda_tables *t, const struct backend_limits *l, int32_t page_capacity) {
    const size_t tokens = (size_t)l->max_tokens, id = sizeof(int32_t);
    size_t at = 0;
    t->token = take(&at, tokens * id);
    t->position = take(&at, tokens * id);
    t->slot = take(&at, tokens * id);
    t->query_start = take(&at, (tokens + 1) * id);
    t->page_start = take(&at, (tokens + 1) * id);
    t->logit_token = take(&at, (size_t)l->max_logits * id);
    t->decode = take(&at, tokens * id);
    t->block = take(&at, tokens * sizeof(struct query_block));
    t->page = take(&at, (size_t)page_capacity * id); /* last: only what is used is copied */
    t->bytes = at;
}

/* K of a linear layer at most. */
static int32_t max_inputs(const struct backend_limits *l) {
    return (int32_t)larger(larger((size_t)l->D, (size_t)l->F), (size_t)l->H * (size_t)l->Dh);
}

static void plan_memory(struct step_memory *m, const struct cuda_backend *b, const struct backend_limits *l) {
    const int32_t most_rows = l->max_logits < l->max_tokens ? l->max_logits : l->max_tokens;
    m->page_capacity = (int32_t)(larger((size_t)most_rows, 16) * ceil_div((size_t)l->context, KV_PAGE_TOKENS));
    const int32_t width = kv_width(l->Dh) > 0 ? kv_width(l->Dh) : l->Dh; /* too wide: prepare refuses it */
    m->kv_page = (size_t)l->Hkv * KV_PAGE_TOKENS * (size_t)width * weight_type_size(l->type);
    plan_tables(&m->tables, l, m->page_capacity);

    const size_t state = attention_state_bytes(1, 1, l->H, l->Hkv, l->Dh);
    const size_t chunks = ceil_div((size_t)l->context, ATTENTION_CHUNK);
    size_t splits = larger(STATES_BYTES / larger(state, 1), 2 * chunks);
    if (splits > (size_t)most_rows * 2 * chunks) splits = (size_t)most_rows * 2 * chunks;
    m->splits = (int32_t)splits;
    const size_t head_blocks = ceil_div((size_t)(l->H / l->Hkv), CUDA_ATTENTION_ROWS);
    const size_t rows = larger((size_t)l->max_tokens, (size_t)l->max_logits);

    size_t at = 0;
    m->at_tables = take(&at, m->tables.bytes);
    m->at_operand = take(&at, rows * cuda_operand_bytes(&b->base, l->type, max_inputs(l)));
    m->at_states = take(&at, attention_state_bytes(m->splits, 1, l->H, l->Hkv, l->Dh));
    m->at_counters = take(&at, (size_t)l->max_tokens * (size_t)l->Hkv * head_blocks * sizeof(uint32_t));
    m->at_copies = take(&at, 2 * (size_t)l->max_branches * sizeof(int32_t));
    m->at_linear = take(&at, cuda_linear_workspace(b, l));
    m->at_draw = take(&at, cuda_draw_workspace(b, l));
    m->total = at;
}

void cuda_sizes(const struct backend *backend, const struct backend_limits *limits, struct backend_sizes *sizes) {
    struct step_memory m;
    plan_memory(&m, (const struct cuda_backend *)backend, limits);
    sizes->kv_page = 2 * m.kv_page;
    sizes->workspace = m.total + CUDA_PACK_BYTES;
}

/* ---- prepare ------------------------------------------------------------------------------------------------------- */

static tempera_status check_limits(const struct backend_limits *l, tempera_error *err) {
    TRY(backend_limits_check(l, err));
    if (kv_width(l->Dh) == 0)
        return fail(err, TEMPERA_UNSUPPORTED, "heads of width %d: on a GPU 256 is the most", l->Dh);
    return TEMPERA_OK;
}

static tempera_status allocate(struct cuda_backend *b, const struct step_memory *m, tempera_error *err) {
    const size_t copies = 2 * (size_t)b->limits.max_branches * sizeof(int32_t);
    size_t kv;
    if (!size_mul((size_t)b->limits.L * (size_t)b->limits.pages, 2 * m->kv_page, &kv))
        return fail_memory(err, SIZE_MAX, "the KV pages");
    b->kv = b->base.ops->alloc(&b->base, kv);
    if (!b->kv) return fail_memory(err, kv, "the KV pages");
    b->memory = b->base.ops->alloc(&b->base, m->total);
    if (!b->memory) return fail_memory(err, m->total, "the workspace");
    for (int i = 0; i < CUDA_STEPS; i++)
        CUDA_TRY(b, cudaHostAlloc((void **)&b->in_flight[i].tables, m->tables.bytes, cudaHostAllocDefault),
                 "pinned memory");
    CUDA_TRY(b, cudaHostAlloc((void **)&b->copies_host, copies, cudaHostAllocDefault), "pinned memory");
    return TEMPERA_OK;
}

tempera_status cuda_prepare(struct backend *backend, const struct backend_limits *limits, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    struct step_memory m;
    if (b->prepared) return fail(err, TEMPERA_INVALID_ARGUMENT, "the backend is already prepared");
    TRY(check_limits(limits, err));
    plan_memory(&m, b, limits);
    b->limits = *limits;
    b->kv_page_bytes = m.kv_page;
    b->layout = m.tables;
    b->page_capacity = m.page_capacity;
    b->splits = m.splits;
    tempera_status status;
    TRY_GOTO(allocate(b, &m, err));
    unsigned char *memory = b->memory;
    b->tables = memory + m.at_tables;
    b->operand = memory + m.at_operand;
    b->states = (float *)(void *)(memory + m.at_states);
    b->counters = (uint32_t *)(void *)(memory + m.at_counters);
    b->copies = (int32_t *)(void *)(memory + m.at_copies);
    TRY_GOTO(cuda_linear_create(b, limits, memory + m.at_linear, err));
    TRY_GOTO(cuda_draw_create(b, limits, memory + m.at_draw, err));
    b->step = (struct step_tables){
        .token = (const int32_t *)(void *)(b->tables + m.tables.token),
        .position = (const int32_t *)(void *)(b->tables + m.tables.position),
        .slot = (const int32_t *)(void *)(b->tables + m.tables.slot),
        .query_start = (const int32_t *)(void *)(b->tables + m.tables.query_start),
        .page_start = (const int32_t *)(void *)(b->tables + m.tables.page_start),
        .page = (const int32_t *)(void *)(b->tables + m.tables.page),
        .logit_token = (const int32_t *)(void *)(b->tables + m.tables.logit_token),
        .drawn = cuda_draw_tokens(b->draw),
    };
    b->prepared = true;
    return TEMPERA_OK;

cleanup:
    cuda_release(b);
    return status;
}

void cuda_release(struct cuda_backend *b) {
    for (int i = 0; i < CUDA_GRAPHS; i++) {
        if (b->graph[i].rows) cudaGraphExecDestroy(b->graph[i].exec);
        b->graph[i] = (struct cuda_graph){0};
    }
    cuda_draw_free(b->draw);
    cuda_linear_free(b->linear);
    for (int i = 0; i < CUDA_STEPS; i++) {
        if (b->in_flight[i].tables) cudaFreeHost(b->in_flight[i].tables);
        b->in_flight[i].tables = NULL;
    }
    if (b->copies_host) cudaFreeHost(b->copies_host);
    b->base.ops->free(&b->base, b->memory, 0);
    b->base.ops->free(&b->base, b->kv, 0);
    b->draw = NULL;
    b->linear = NULL;
    b->copies_host = NULL;
    b->memory = b->kv = NULL;
    b->prepared = false;
}

/* ---- size classes --------------------------------------------------------------------------------------------------- */

/* The next power of two, but no more than `most`. */
static int32_t size_class(int32_t count, int32_t most) {
    int32_t size = 1;
    while (size < count && size < most) size *= 2;
    return size < most ? size : most;
}

/* One token for each sequence, and logits of all: what is recorded. */
static bool is_decode(const struct batch_view *view) {
    return view->T > 0 && view->B > 0 && view->T == view->S && view->T == view->R;
}

/* Chunks of keys that the longest sequence with one query has. */
static int32_t decode_chunks(const struct batch_view *view) {
    int32_t longest = 0;
    for (int32_t s = 0; s < view->S; s++) {
        const int32_t first = view->query_start[s];
        if (view->query_start[s + 1] - first == 1 && view->position[first] >= longest)
            longest = view->position[first] + 1;
    }
    return (int32_t)ceil_div((size_t)longest, ATTENTION_CHUNK);
}

static void choose_sizes(struct cuda_backend *b, const struct batch_view *view) {
    const struct backend_limits *l = &b->limits;
    b->padded = is_decode(view);
    b->T = view->T;
    b->R = view->R;
    b->B = view->B;
    b->chunks = decode_chunks(view);
    if (!b->padded) return;
    b->T = b->R = size_class(view->T, l->max_tokens < l->max_logits ? l->max_tokens : l->max_logits);
    b->B = size_class(view->B, l->max_branches);
    b->chunks = size_class(b->chunks, (int32_t)ceil_div((size_t)l->context, ATTENTION_CHUNK));
}

/* The class's graph, or a free entry to record it in, or NULL: all are taken. */
static struct cuda_graph *find_graph(struct cuda_backend *b) {
    for (int i = 0; i < CUDA_GRAPHS; i++) {
        struct cuda_graph *g = &b->graph[i];
        if (g->rows == 0 || (g->rows == b->T && g->branches == b->B && g->chunks == b->chunks)) return g;
    }
    return NULL;
}

/* ---- tables --------------------------------------------------------------------------------------------------------- */

static tempera_status check_view(const struct cuda_backend *b, const struct batch_view *view, tempera_error *err) {
    const struct backend_limits *l = &b->limits;
    if (!b->prepared || b->view) return fail(err, TEMPERA_INVALID_ARGUMENT, "step_begin: before prepare, or twice");
    if (b->submitted - b->waited >= CUDA_STEPS)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "step_begin: %d steps are in flight", CUDA_STEPS);
    if (view->T > l->max_tokens || view->S > l->max_tokens || view->R > l->max_logits || view->B > l->max_branches)
        return fail(err, TEMPERA_INVALID_ARGUMENT,
                    "step of %d tokens, %d sequences, %d logits rows, %d branches; prepared for %d, %d, %d, %d",
                    view->T, view->S, view->R, view->B, l->max_tokens, l->max_tokens, l->max_logits, l->max_branches);
    if (view->S > 0 && view->page_start[view->S] > b->page_capacity)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "step of %d pages; prepared for %d", view->page_start[view->S],
                    b->page_capacity);
    return TEMPERA_OK;
}

/* `count` values (none when the view lacks them: no op of the step reads them), then `padding` up to `size`. */
static void put(unsigned char *tables, size_t at, const int32_t *values, int32_t count, int32_t size, int32_t padding) {
    int32_t *to = (int32_t *)(void *)(tables + at);
    if (!values) return;
    if (count > 0) memcpy(to, values, (size_t)count * sizeof *to);
    for (int32_t i = count; i < size; i++) to[i] = padding;
}

/* Sequences with one query go to the decode kernel as long as their chunk states have room, all others to the prefill
 * kernel in blocks; both give the same bits. */
static void put_attention(struct cuda_backend *b, unsigned char *tables, const struct batch_view *view, int32_t S) {
    int32_t *decode = (int32_t *)(void *)(tables + b->layout.decode);
    struct query_block *block = (struct query_block *)(void *)(tables + b->layout.block);
    const struct backend_limits *l = &b->limits;
    const int32_t tokens = attention_query_tokens((enum element)l->type, l->H, l->Hkv, l->Dh);
    const bool room = b->chunks > 0 && S <= b->splits / b->chunks;
    int32_t decodes = 0, blocks = 0;
    for (int32_t s = 0; s < view->S; s++) {
        const int32_t first = view->query_start[s], end = view->query_start[s + 1];
        if (room && end - first == 1) {
            decode[decodes++] = s;
            continue;
        }
        for (int32_t at = first; at < end; at += tokens)
            block[blocks++] =
                (struct query_block){.sequence = s, .first = at, .count = end - at < tokens ? end - at : tokens};
    }
    if (b->padded) { /* all are of one kind */
        for (; decodes > 0 && decodes < S; decodes++) decode[decodes] = -1;
        for (; blocks > 0 && blocks < S; blocks++) block[blocks] = (struct query_block){.sequence = -1};
    }
    b->decode_count = decodes;
    b->block_count = blocks;
}

static tempera_status put_tables(struct cuda_backend *b, struct cuda_step *step, const struct batch_view *view,
                                 tempera_error *err) {
    const struct cuda_tables *t = &b->layout;
    const int32_t S = b->padded ? b->T : view->S, pages = view->S > 0 ? view->page_start[view->S] : 0;
    if (view->T == 0) return TEMPERA_OK;
    put(step->tables, t->token, view->token, view->T, b->T, 0);
    put(step->tables, t->position, view->position, view->T, b->T, -1);
    put(step->tables, t->slot, view->slot, view->T, b->T, -1);
    if (view->S > 0) {
        put(step->tables, t->query_start, view->query_start, view->S + 1, S + 1, view->T);
        put(step->tables, t->page_start, view->page_start, view->S + 1, S + 1, pages);
        put(step->tables, t->page, view->page, pages, pages, 0);
    }
    put(step->tables, t->logit_token, view->logit_token, view->R, b->R, -1);
    put_attention(b, step->tables, view, S);
    return cuda_check(b,
                      cudaMemcpyAsync(b->tables, step->tables, t->page + (size_t)pages * sizeof(int32_t),
                                      cudaMemcpyHostToDevice, b->stream),
                      "copying a step's tables", err);
}

/* ---- the frame ------------------------------------------------------------------------------------------------------ */

tempera_status cuda_step_begin(struct backend *backend, const struct batch_view *view, bool *replay,
                               tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    const int32_t slot = (int32_t)(b->submitted % CUDA_STEPS);
    struct cuda_step *step = &b->in_flight[slot];
    *replay = false;
    TRY(check_view(b, view, err));
    TRY(cuda_check(b, cudaSuccess, "step_begin", err));
    choose_sizes(b, view);
    TRY(put_tables(b, step, view, err));
    if (view->B > 0) TRY(cuda_draw_stage(b, view, slot, b->B, err));
    step->B = view->B;
    b->drawn = false;
    b->recording = NULL;
    b->replaying = NULL;
    struct cuda_graph *graph = b->padded ? find_graph(b) : NULL;
    if (graph && graph->rows) {
        b->replaying = graph;
        b->drawn = true;
        *replay = true;
    } else if (graph) {
        CUDA_TRY(b, cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal), "recording a step");
        b->recording = graph;
    }
    b->view = view;
    return TEMPERA_OK;
}

/* Ends the recording and, when the step is whole, keeps it. */
static tempera_status finish_recording(struct cuda_backend *b, tempera_error *err) {
    struct cuda_graph *graph = b->recording;
    cudaGraph_t recorded = NULL;
    b->recording = NULL;
    cudaError_t error = cudaStreamEndCapture(b->stream, &recorded);
    if (error == cudaSuccess && b->drawn && !b->failed) {
        error = cudaGraphInstantiate(&graph->exec, recorded, 0);
        if (error == cudaSuccess)
            *graph = (struct cuda_graph){.rows = b->T, .branches = b->B, .chunks = b->chunks, .exec = graph->exec};
    }
    if (recorded) cudaGraphDestroy(recorded);
    TRY(cuda_check(b, error, "recording a step", err));
    b->replaying = graph->rows ? graph : NULL; /* none: an op failed, and the caller knows */
    return TEMPERA_OK;
}

tempera_status cuda_step_end(struct backend *backend, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    if (!b->view) return fail(err, TEMPERA_INVALID_ARGUMENT, "step_end: outside a step");
    const int32_t slot = (int32_t)(b->submitted % CUDA_STEPS);
    struct cuda_step *step = &b->in_flight[slot];
    b->view = NULL;
    tempera_status status = b->recording ? finish_recording(b, err) : TEMPERA_OK;
    b->padded = false;
    TRY(status);
    if (b->replaying) CUDA_TRY(b, cudaGraphLaunch(b->replaying->exec, b->stream), "launching a step");
    if (!b->drawn) step->B = 0;
    if (step->B > 0) TRY(cuda_draw_fetch(b, slot, step->B, err));
    CUDA_TRY(b, cudaEventRecord(step->done, b->stream), "ending a step");
    b->submitted++;
    return TEMPERA_OK;
}

tempera_status cuda_step_wait(struct backend *backend, struct draw_result *results, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    if (b->submitted == b->waited) return fail(err, TEMPERA_INVALID_ARGUMENT, "step_wait: no step was ended");
    const int32_t slot = (int32_t)(b->waited % CUDA_STEPS);
    const struct cuda_step *step = &b->in_flight[slot];
    b->waited++;
    CUDA_TRY(b, cudaEventSynchronize(step->done), "a step");
    if (results && step->B > 0) cuda_draw_results(b, slot, step->B, results);
    return TEMPERA_OK;
}
