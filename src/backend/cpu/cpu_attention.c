/* cpu_attention.c: what touches the KV pages: rotary positions and the store, attention, copies. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/num.h"

/* Where one layer's pages lie. V head rows are padded to `wide`. */
struct kv_layout {
    size_t page;           /* floats from one page to the next, K and V together */
    size_t layer;          /* floats from one layer to the next */
    size_t k_head, v_head; /* floats from one head to the next */
    size_t v;              /* floats from a page's K to its V */
};

static struct kv_layout kv_layout(const struct cpu_backend *b) {
    const size_t Dh = (size_t)b->limits.Dh, Hkv = (size_t)b->limits.Hkv;
    struct kv_layout kv = {.k_head = Dh * PAGE_TOKENS, .v_head = round_up(Dh, PANEL) * PAGE_TOKENS};
    kv.v = Hkv * kv.k_head;
    kv.page = Hkv * (kv.k_head + kv.v_head);
    kv.layer = kv.page * (size_t)b->limits.pages;
    return kv;
}

/* ---- rotary positions and the store ------------------------------------------------------------------------------- */

struct store_job {
    const struct cpu_backend *b;
    const struct rope_store_params *p;
    struct kv_layout kv;
};

/* Rotates one head by the angles of one position: table [rotary/2, 2]. */
static void rotate(float *head, const float *table, int32_t rotary, bool interleaved) {
    const int32_t half = rotary / 2, step = interleaved ? 2 : 1, other = interleaved ? 1 : half;
    for (int32_t i = 0; i < half; i++) {
        float a = head[i * step], b = head[i * step + other], c = table[2 * i], s = table[2 * i + 1];
        head[i * step] = a * c - b * s;
        head[i * step + other] = b * c + a * s;
    }
}

static void prepare_heads(const struct store_job *job, float *head, int32_t heads, const float *norm,
                          const float *norm_bias, int32_t position) {
    const struct rope_store_params *p = job->p;
    for (; heads > 0; heads--, head += p->Dh) {
        if (norm || norm_bias) job->b->kernels->norm(head, head, NULL, norm, norm_bias, p->norm, p->norm_eps, p->Dh);
        if (p->table) rotate(head, p->table + (int64_t)position * p->rotary, p->rotary, p->interleaved);
    }
}

/* One token's K [Hkv, Dh] and V [Hkv, Dh] into its page: K down a column, V in pieces of 16. */
static void store_token(const struct store_job *job, const float *k, const float *v, int32_t slot) {
    const struct rope_store_params *p = job->p;
    const int32_t lane = slot % PAGE_TOKENS;
    float *page = job->b->kv + (size_t)p->layer * job->kv.layer + (size_t)(slot / PAGE_TOKENS) * job->kv.page;
    for (int32_t h = 0; h < p->Hkv; h++, k += p->Dh, v += p->Dh) {
        float *to_k = page + (size_t)h * job->kv.k_head + lane, *to_v = page + job->kv.v + (size_t)h * job->kv.v_head;
        for (int32_t d = 0; d < p->Dh; d++) to_k[d * PAGE_TOKENS] = k[d];
        for (int32_t d = 0; d < p->Dh; d += PANEL) {
            int32_t count = p->Dh - d < PANEL ? p->Dh - d : PANEL;
            memcpy(to_v + d * PAGE_TOKENS + lane * PANEL, v + d, (size_t)count * sizeof(float));
        }
    }
}

static void store_part(void *arg, int part, int parts) {
    const struct store_job *job = arg;
    const struct rope_store_params *p = job->p;
    const struct batch_view *view = job->b->view;
    const int64_t width = (int64_t)(p->H + 2 * p->Hkv) * p->Dh, end = cpu_part_start(p->T, part + 1, parts);
    for (int64_t t = cpu_part_start(p->T, part, parts); t < end; t++) {
        float *q = p->qkv + t * width, *k = q + (int64_t)p->H * p->Dh, *v = k + (int64_t)p->Hkv * p->Dh;
        prepare_heads(job, q, p->H, p->q_norm, p->q_norm_bias, view->position[t]);
        prepare_heads(job, k, p->Hkv, p->k_norm, p->k_norm_bias, view->position[t]);
        store_token(job, k, v, view->slot[t]);
    }
}

static tempera_status check_heads(const struct cpu_backend *b, const char *op, int32_t layer, int32_t H, int32_t Hkv,
                                  int32_t Dh, tempera_error *err) {
    const struct backend_limits *l = &b->limits;
    if (b->view && layer >= 0 && layer < l->L && H == l->H && Hkv == l->Hkv && Dh == l->Dh) return TEMPERA_OK;
    return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: outside a step, or other heads than prepared for", op);
}

tempera_status cpu_rope_store(struct backend *backend, const struct rope_store_params *p, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    TRY(check_heads(b, "rope_store", p->layer, p->H, p->Hkv, p->Dh, err));
    struct store_job job = {.b = b, .p = p, .kv = kv_layout(b)};
    pool_run(b->pool, store_part, &job, cpu_parts(b, p->T, (int64_t)(p->H + 6 * p->Hkv) * p->Dh));
    return TEMPERA_OK;
}

/* ---- attention ------------------------------------------------------------------------------------------------------ */

/* The step's work: items are (sequence, block of tokens, KV head, block of its query heads), the KV head turning fastest
 * of the first three. */
struct attention_job {
    struct cpu_backend *b;
    const struct attention_params *p;
    struct kv_layout kv;
    int32_t heads, head_blocks; /* query heads of an item at most; blocks of them for a KV head */
    int32_t tokens;             /* tokens of an item at most */
};

static void attention_item(const struct attention_job *job, int32_t s, int32_t index, float *scratch) {
    const struct attention_params *p = job->p;
    const struct batch_view *view = job->b->view;
    const int32_t group = p->H / p->Hkv;
    const int32_t head_block = index % job->head_blocks, kv_head = index / job->head_blocks % p->Hkv;
    const int32_t block = index / job->head_blocks / p->Hkv;
    const int32_t start = view->query_start[s], end = view->query_start[s + 1];
    const int32_t token = start + block * job->tokens, head = kv_head * group + head_block * job->heads;
    const float *layer = job->b->kv + (size_t)p->layer * job->kv.layer;
    const int64_t q_stride = (int64_t)(p->H + 2 * p->Hkv) * p->Dh, out_stride = (int64_t)p->H * p->Dh;
    struct cpu_attend a = {
        .out = p->out + token * out_stride + (int64_t)head * p->Dh,
        .q = p->qkv + token * q_stride + (int64_t)head * p->Dh,
        .k = layer + (size_t)kv_head * job->kv.k_head,
        .v = layer + job->kv.v + (size_t)kv_head * job->kv.v_head,
        .page = view->page + view->page_start[s],
        .page_stride = job->kv.page,
        .q_stride = q_stride,
        .out_stride = out_stride,
        .tokens = end - token < job->tokens ? end - token : job->tokens,
        .heads = group - head_block * job->heads < job->heads ? group - head_block * job->heads : job->heads,
        .position = view->position[token],
        .Dh = p->Dh,
        .window = p->window,
        .scale = p->scale,
        .softcap = p->softcap,
    };
    job->b->kernels->attend(&a, scratch);
}

/* The sequence that owns an item: the last s with item_start[s] ≤ item. */
static int32_t item_sequence(const struct cpu_backend *b, int32_t item) {
    int32_t low = 0, high = b->view->S - 1;
    while (low < high) {
        int32_t middle = (low + high + 1) / 2;
        if (b->item_start[middle] <= item)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static void attention_part(void *arg, int part, int parts) {
    const struct attention_job *job = arg;
    struct cpu_backend *b = job->b;
    struct cpu_scratch *taken;
    float *scratch = cpu_scratch_take(b, &taken);
    const int32_t items = b->item_start[b->view->S];
    const int64_t end = cpu_part_start(items, part + 1, parts);
    for (int64_t i = cpu_part_start(items, part, parts); i < end; i++) {
        int32_t item = items - 1 - (int32_t)i; /* late blocks of a prompt see the most keys: longest first */
        int32_t s = item_sequence(b, item);
        attention_item(job, s, item - b->item_start[s], scratch);
    }
    cpu_scratch_give(taken);
}

tempera_status cpu_attention(struct backend *backend, const struct attention_params *p, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    TRY(check_heads(b, "attention", p->layer, p->H, p->Hkv, p->Dh, err));
    const struct batch_view *view = b->view;
    const int32_t group = p->H / p->Hkv;
    struct attention_job job = {.b = b, .p = p, .kv = kv_layout(b)};
    job.heads = group < ATTEND_ROWS ? group : ATTEND_ROWS;
    job.head_blocks = (int32_t)ceil_div((size_t)group, (size_t)job.heads);
    job.tokens = ATTEND_ROWS / job.heads;
    int64_t pairs = 0; /* query-key pairs of a head, roughly */
    b->item_start[0] = 0;
    for (int32_t s = 0; s < view->S; s++) {
        int32_t count = view->query_start[s + 1] - view->query_start[s];
        int32_t blocks = (int32_t)ceil_div((size_t)count, (size_t)job.tokens);
        b->item_start[s + 1] = b->item_start[s] + blocks * p->Hkv * job.head_blocks;
        if (count > 0) pairs += (int64_t)count * (view->position[view->query_start[s]] + count);
    }
    int64_t items = b->item_start[view->S];
    if (items == 0) return TEMPERA_OK;
    pool_run(b->pool, attention_part, &job, cpu_parts(b, items, pairs * p->H * p->Dh * 2 / items));
    return TEMPERA_OK;
}

/* ---- copies --------------------------------------------------------------------------------------------------------- */

struct copy_job {
    const struct cpu_backend *b;
    const int32_t *from, *to, *tokens; /* [count] */
    int32_t count;
};

/* Tokens are columns of K, and the first rows of each of V's panels. */
static void copy_page(float *to, const float *from, const struct kv_layout *kv, int32_t tokens) {
    if (tokens == PAGE_TOKENS) {
        memcpy(to, from, kv->page * sizeof(float));
        return;
    }
    for (size_t i = 0; i < kv->v; i += PAGE_TOKENS) memcpy(to + i, from + i, (size_t)tokens * sizeof(float));
    for (size_t i = kv->v; i < kv->page; i += PAGE_TOKENS * PANEL)
        memcpy(to + i, from + i, (size_t)tokens * PANEL * sizeof(float));
}

static void copy_part(void *arg, int part, int parts) {
    const struct copy_job *job = arg;
    const struct kv_layout kv = kv_layout(job->b);
    const int64_t items = (int64_t)job->count * job->b->limits.L, end = cpu_part_start(items, part + 1, parts);
    for (int64_t i = cpu_part_start(items, part, parts); i < end; i++) {
        float *layer = job->b->kv + (size_t)(i / job->count) * kv.layer;
        int64_t copy = i % job->count;
        copy_page(layer + (size_t)job->to[copy] * kv.page, layer + (size_t)job->from[copy] * kv.page, &kv,
                  job->tokens[copy]);
    }
}

tempera_status cpu_copy_pages(struct backend *backend, const int32_t *from, const int32_t *to, const int32_t *tokens,
                              int32_t count, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    if (!b->kv) return fail(err, TEMPERA_INVALID_ARGUMENT, "copy_pages: before prepare");
    struct copy_job job = {.b = b, .from = from, .to = to, .tokens = tokens, .count = count};
    int64_t items = (int64_t)count * b->limits.L;
    pool_run(b->pool, copy_part, &job, cpu_parts(b, items, (int64_t)kv_layout(b).page));
    return TEMPERA_OK;
}
