/* cpu_workspace.c: the memory that the backend's ops work in, all of it allocated by prepare; and how loops are cut into
 * parts. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_plan.h"
#include "backend/cpu/cpu_quant.h"
#include "base/mem.h"
#include "base/num.h"

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

size_t cpu_kv_page_bytes(const struct backend_limits *limits) {
    return cpu_kv_layout(limits).page * (size_t)limits->Hkv;
}

struct cpu_kv_layout cpu_kv_layout(const struct backend_limits *limits) {
    struct cpu_kv_layout kv = {.type = cpu_kv_type(limits->type)};
    const size_t Dh = (size_t)limits->Dh, line = PANEL * weight_type_size(kv.type);
    kv.panel = PAGE_TOKENS * line;
    kv.v = round_up(Dh, 2) * line;
    kv.page = kv.v + ceil_div(Dh, PANEL) * kv.panel;
    kv.head = kv.page * (size_t)limits->pages;
    return kv;
}

/* One thread's scratch: what a blocked linear layer or a call of attend needs, whichever is more. */
static size_t scratch_floats(const struct backend_limits *l) {
    size_t wide = round_up((size_t)l->Dh, PANEL);
    size_t attend = ATTEND_ROWS * (SPAN + 3 * wide + 4);
    size_t linear = (size_t)LINEAR_ROWS * LINEAR_QUADS * QUAD_WIDTH + (size_t)LINEAR_K * QUAD_WIDTH;
    return round_up(larger(attend, linear), PANEL);
}

/* K of a linear layer at most. */
static size_t max_inputs(const struct backend_limits *l) {
    return larger(larger((size_t)l->D, (size_t)l->F), (size_t)l->H * (size_t)l->Dh);
}

/* Chunk states for as many decoding items as are worth splitting (fewer than two for each thread), within reason. */
static size_t states_floats(const struct backend_limits *l, int32_t threads) {
    enum { MOST = 16 << 20 };
    size_t heads = (size_t)(l->H / l->Hkv) < ATTEND_ROWS ? (size_t)(l->H / l->Hkv) : ATTEND_ROWS;
    size_t chunks = ceil_div((size_t)l->context, CHUNK), count;
    if (threads == 1 || chunks == 1) return 0;
    if (!size_mul(2 * (size_t)threads * chunks, cpu_attend_state((int32_t)heads, l->Dh), &count) || count > MOST)
        return MOST;
    return round_up(count, PANEL);
}

/* Where the pieces of the workspace lie, in bytes from its start, each on a cache line of its own. */
struct workspace_plan {
    size_t packed, normed, scratch, states, item_start, drawn, total;
};

static struct workspace_plan plan_workspace(const struct backend_limits *l, int32_t threads) {
    struct workspace_plan p;
    size_t rows = larger((size_t)l->max_tokens, (size_t)l->max_logits), at = 0;
    p.packed = at;
    at += round_up(rows * larger(max_inputs(l) * sizeof(float), cpu_quant_input_bytes(max_inputs(l))), 64);
    p.normed = at;
    at += round_up((size_t)l->max_logits * (size_t)l->D * sizeof(float), 64);
    p.scratch = at;
    at += (size_t)threads * scratch_floats(l) * sizeof(float);
    p.states = at;
    at += states_floats(l, threads) * sizeof(float);
    p.item_start = at;
    at += round_up(((size_t)l->max_tokens + 1) * sizeof(int32_t), 64);
    p.drawn = at;
    at += (size_t)l->max_branches * sizeof(struct draw_result);
    p.total = at;
    return p;
}

size_t cpu_workspace_bytes(const struct cpu_backend *b, const struct backend_limits *limits) {
    return plan_workspace(limits, b->threads).total +
           cpu_sampler_workspace(limits->V, limits->max_branches, limits->max_logits, b->threads);
}

struct commit_job {
    unsigned char *slab;
    size_t bytes;
    atomic_bool failed;
};

enum { COMMIT_PAGE = 2 << 20 }; /* no two threads share a huge page */

static void commit_part(void *arg, int part, int parts) {
    struct commit_job *job = arg;
    const int64_t pages = (int64_t)ceil_div(job->bytes, COMMIT_PAGE);
    size_t first = (size_t)cpu_part_start(pages, part, parts) * COMMIT_PAGE;
    size_t end = (size_t)cpu_part_start(pages, part + 1, parts) * COMMIT_PAGE;
    if (end > job->bytes) end = job->bytes;
    if (first < end && !mem_slab_commit(job->slab + first, end - first)) atomic_store(&job->failed, true);
}

/* mem_slab_commit by all threads: the system clears a page for each at a time. */
static bool commit(struct cpu_backend *b, void *slab, size_t bytes) {
    struct commit_job job = {.slab = slab, .bytes = bytes};
    atomic_init(&job.failed, false);
    pool_run(b->pool, commit_part, &job, b->threads);
    return !atomic_load(&job.failed);
}

tempera_status cpu_prepare(struct backend *backend, const struct backend_limits *limits, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    if (b->workspace) return fail(err, TEMPERA_INVALID_ARGUMENT, "the backend is already prepared");
    TRY(backend_limits_check(limits, err));
    size_t kv_bytes;
    if (!size_mul((size_t)limits->L * (size_t)limits->pages, cpu_kv_page_bytes(limits), &kv_bytes))
        return fail_memory(err, SIZE_MAX, "the KV pages");
    struct workspace_plan plan = plan_workspace(limits, b->threads);
    b->limits = *limits;
    b->max_inputs = (int32_t)max_inputs(limits);
    b->kv_bytes = kv_bytes;
    b->workspace_bytes = plan.total;
    b->kv = mem_slab(kv_bytes);
    if (!b->kv || !commit(b, b->kv, kv_bytes)) return fail_memory(err, kv_bytes, "the KV pages");
    unsigned char *base = mem_slab(plan.total);
    b->workspace = (float *)(void *)base;
    b->scratch = mem_array((size_t)b->threads, sizeof *b->scratch);
    if (!base || !b->scratch) {
        cpu_release(b);
        return fail_memory(err, plan.total, "the workspace");
    }
    b->packed = (float *)(void *)(base + plan.packed);
    b->normed = (float *)(void *)(base + plan.normed);
    b->states = (float *)(void *)(base + plan.states);
    b->states_count = states_floats(limits, b->threads);
    b->item_start = (int32_t *)(void *)(base + plan.item_start);
    b->drawn = (struct draw_result *)(void *)(base + plan.drawn);
    for (int32_t i = 0; i < b->threads; i++) {
        b->scratch[i].memory = (float *)(void *)(base + plan.scratch) + (size_t)i * scratch_floats(limits);
        atomic_init(&b->scratch[i].taken, false);
    }
    tempera_status status =
        cpu_sampler_create(&b->sampler, limits->V, limits->max_branches, limits->max_logits, b->threads, err);
    if (status != TEMPERA_OK) cpu_release(b);
    return status;
}

void cpu_release(struct cpu_backend *b) {
    cpu_sampler_free(b->sampler);
    mem_free(b->scratch);
    mem_slab_free(b->workspace, b->workspace_bytes);
    mem_slab_free(b->kv, b->kv_bytes);
    b->sampler = NULL;
    b->scratch = NULL;
    b->workspace = NULL;
    b->kv = NULL;
}

float *cpu_scratch_take(struct cpu_backend *b, struct cpu_scratch **taken) {
    for (int32_t i = 0;; i = (i + 1) % b->threads) { /* ends: no more parts run than there are threads */
        bool expected = false;
        if (atomic_compare_exchange_strong_explicit(&b->scratch[i].taken, &expected, true, memory_order_acquire,
                                                    memory_order_relaxed)) {
            *taken = &b->scratch[i];
            return b->scratch[i].memory;
        }
    }
}

void cpu_scratch_give(struct cpu_scratch *taken) {
    atomic_store_explicit(&taken->taken, false, memory_order_release);
}

int cpu_parts(const struct cpu_backend *b, int64_t items, int64_t cost) {
    enum { SERIAL = 16384, PART = 32768 }; /* below about a microsecond a second thread does not pay */
    int64_t total = items * cost;
    if (b->threads == 1 || total <= SERIAL) return 1;
    int64_t parts = total / PART + 1, most = (int64_t)b->threads * 8;
    if (parts < b->threads) parts = b->threads;
    if (parts > most) parts = most;
    return (int)(parts < items ? parts : items);
}

int64_t cpu_part_start(int64_t items, int part, int parts) {
    return items * part / parts;
}
