/* cpu_attention.c: what touches the KV pages: rotary positions and the store, attention, copies. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_transpose.h"
#include "base/num.h"

/* Page 0 of a layer's first head. */
static char *layer_pages(const struct cpu_backend *b, const struct cpu_kv_layout *kv, int32_t layer) {
    return b->kv + (size_t)layer * (size_t)b->limits.Hkv * kv->head;
}

/* ---- rotary positions and the store ------------------------------------------------------------------------------- */

struct store_job {
    const struct cpu_backend *b;
    const struct rope_store_params *p;
    struct cpu_kv_layout kv;
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

/* One head of `count` (1 or 4) tokens from `lane` of a page on, the tokens `width` floats apart. K goes down columns, four
 * at a time where it can; V in pieces of 16. */
static void store_floats(float *to_k, float *to_v, const float *k, const float *v, int32_t Dh, int64_t width,
                         int32_t lane, int32_t count) {
    const int32_t blocks = count == 4 ? Dh / 4 * 4 : 0;
    to_k += lane;
    for (int32_t d = 0; d < blocks; d += 4) transpose_4x4(to_k + d * PAGE_TOKENS, PAGE_TOKENS, k + d, width);
    for (int32_t i = 0; i < count; i++, k += width, v += width) {
        for (int32_t d = blocks; d < Dh; d++) to_k[d * PAGE_TOKENS + i] = k[d];
        for (int32_t d = 0; d < Dh; d += PANEL)
            memcpy(to_v + d * PAGE_TOKENS + (lane + i) * PANEL, v + d,
                   (size_t)(Dh - d < PANEL ? Dh - d : PANEL) * sizeof(float));
    }
}

/* One head of one token. Elements are written one by one: a neighbour that shares a pair with this token may be written
 * by another thread. */
static void store_halves(const struct store_job *job, uint16_t *to_k, uint16_t *to_v, const float *k, const float *v,
                         int32_t lane) {
    const enum weight_type type = job->kv.type;
    const int32_t Dh = job->p->Dh;
    uint16_t key[PANEL], value[PANEL];
    for (int32_t d = 0; d < Dh; d += PANEL, to_k += PANEL * PANEL, to_v += PANEL * PANEL) {
        const int n = Dh - d < PANEL ? Dh - d : PANEL;
        job->b->kernels->narrow(key, k + d, type, n);
        job->b->kernels->narrow(value, v + d, type, n);
        if (type == WEIGHT_F16) {
            for (int i = 0; i < n; i++) to_k[i * PANEL + lane] = key[i];
            memcpy(to_v + lane * PANEL, value, (size_t)n * sizeof *value);
        } else {
            uint16_t *pair = to_v + lane / 2 * (2 * PANEL) + lane % 2;
            for (int i = 0; i < n; i++) to_k[i / 2 * (2 * PANEL) + 2 * lane + i % 2] = key[i];
            for (int i = 0; i < n; i++) pair[2 * i] = value[i];
        }
    }
}

/* `count` (1 or 4) tokens whose slots follow each other in one page: k and v [Hkv, Dh] of the first, the others `width`
 * floats apart. */
static void store_tokens(const struct store_job *job, const float *k, const float *v, int64_t width, int32_t slot,
                         int32_t count) {
    const struct rope_store_params *p = job->p;
    char *page = layer_pages(job->b, &job->kv, p->layer) + (size_t)(slot / PAGE_TOKENS) * job->kv.page;
    for (int32_t h = 0; h < p->Hkv; h++, page += job->kv.head, k += p->Dh, v += p->Dh) {
        void *to_k = page, *to_v = page + job->kv.v;
        if (job->kv.type == WEIGHT_F32)
            store_floats(to_k, to_v, k, v, p->Dh, width, slot % PAGE_TOKENS, count);
        else
            for (int32_t i = 0; i < count; i++)
                store_halves(job, to_k, to_v, k + i * width, v + i * width, slot % PAGE_TOKENS + i);
    }
}

/* How many tokens from t on, 4 or 1, have slots that follow each other in one page. */
static int32_t slot_run(const int32_t *slot, int64_t t, int64_t end) {
    if (t + 4 > end || slot[t] % PAGE_TOKENS > PAGE_TOKENS - 4) return 1;
    for (int32_t i = 1; i < 4; i++)
        if (slot[t + i] != slot[t] + i) return 1;
    return 4;
}

static void store_part(void *arg, int part, int parts) {
    const struct store_job *job = arg;
    const struct rope_store_params *p = job->p;
    const struct batch_view *view = job->b->view;
    const int64_t width = (int64_t)(p->H + 2 * p->Hkv) * p->Dh, end = cpu_part_start(p->T, part + 1, parts);
    for (int64_t t = cpu_part_start(p->T, part, parts), count; t < end; t += count) {
        float *q = p->qkv + t * width, *k = q + (int64_t)p->H * p->Dh, *v = k + (int64_t)p->Hkv * p->Dh;
        count = slot_run(view->slot, t, end);
        for (int64_t i = 0; i < count; i++) {
            prepare_heads(job, q + i * width, p->H, p->q_norm, p->q_norm_bias, view->position[t + i]);
            prepare_heads(job, k + i * width, p->Hkv, p->k_norm, p->k_norm_bias, view->position[t + i]);
        }
        store_tokens(job, k, v, width, view->slot[t], (int32_t)count);
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
    struct store_job job = {.b = b, .p = p, .kv = cpu_kv_layout(&b->limits)};
    pool_run(b->pool, store_part, &job, cpu_parts(b, p->T, (int64_t)(p->H + 6 * p->Hkv) * p->Dh));
    return TEMPERA_OK;
}

/* ---- attention ------------------------------------------------------------------------------------------------------ */

/* The step's work: items are (sequence, block of tokens, KV head, block of its query heads), the KV head turning fastest
 * of the first three. Few items with long histories are split further, into chunks of positions. */
struct attention_job {
    struct cpu_backend *b;
    const struct attention_params *p;
    struct cpu_kv_layout kv;
    int32_t heads, head_blocks; /* query heads of an item at most; blocks of them for a KV head */
    int32_t tokens;             /* tokens of an item at most */
    int32_t items;
    int32_t chunks; /* of the longest history */
    size_t state;   /* floats of one chunk's state */
};

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

static struct cpu_attend attention_item(const struct attention_job *job, int32_t item) {
    const struct attention_params *p = job->p;
    const struct batch_view *view = job->b->view;
    const int32_t s = item_sequence(job->b, item), index = item - job->b->item_start[s], group = p->H / p->Hkv;
    const int32_t head_block = index % job->head_blocks, kv_head = index / job->head_blocks % p->Hkv;
    const int32_t token = view->query_start[s] + index / job->head_blocks / p->Hkv * job->tokens;
    const int32_t left = view->query_start[s + 1] - token, heads_left = group - head_block * job->heads;
    const int32_t head = kv_head * group + head_block * job->heads;
    const char *keys = layer_pages(job->b, &job->kv, p->layer) + (size_t)kv_head * job->kv.head;
    const int64_t q_stride = (int64_t)(p->H + 2 * p->Hkv) * p->Dh, out_stride = (int64_t)p->H * p->Dh;
    return (struct cpu_attend){
        .out = (float *)p->out + token * out_stride + (int64_t)head * p->Dh,
        .q = p->qkv + token * q_stride + (int64_t)head * p->Dh,
        .k = keys,
        .v = keys + job->kv.v,
        .page = view->page + view->page_start[s],
        .next_head = head_block == 0 && kv_head > 0 ? -(ptrdiff_t)job->kv.head : 0, /* items descend */
        .page_stride = job->kv.page,
        .type = job->kv.type,
        .q_stride = q_stride,
        .out_stride = out_stride,
        .tokens = left < job->tokens ? left : job->tokens,
        .heads = heads_left < job->heads ? heads_left : job->heads,
        .position = view->position[token],
        .Dh = p->Dh,
        .window = p->window,
        .scale = p->scale,
        .softcap = p->softcap,
    };
}

static void attention_part(void *arg, int part, int parts) {
    const struct attention_job *job = arg;
    struct cpu_scratch *taken;
    float *scratch = cpu_scratch_take(job->b, &taken);
    const int64_t end = cpu_part_start(job->items, part + 1, parts);
    for (int64_t i = cpu_part_start(job->items, part, parts); i < end; i++) {
        /* Late blocks of a prompt see the most keys: longest first. */
        struct cpu_attend a = attention_item(job, job->items - 1 - (int32_t)i);
        job->b->kernels->attend(&a, scratch);
    }
    cpu_scratch_give(taken);
}

static void chunk_part(void *arg, int part, int parts) {
    const struct attention_job *job = arg;
    (void)parts;
    struct cpu_scratch *taken;
    float *scratch = cpu_scratch_take(job->b, &taken);
    struct cpu_attend a = attention_item(job, part / job->chunks);
    job->b->kernels->attend_chunk(&a, part % job->chunks, job->b->states + (size_t)part * job->state, scratch);
    cpu_scratch_give(taken);
}

static void merge_part(void *arg, int part, int parts) {
    const struct attention_job *job = arg;
    (void)parts;
    struct cpu_scratch *taken;
    float *scratch = cpu_scratch_take(job->b, &taken);
    struct cpu_attend a = attention_item(job, part);
    job->b->kernels->attend_merge(&a, job->b->states + (size_t)part * (size_t)job->chunks * job->state, job->state,
                                  job->chunks, scratch);
    cpu_scratch_give(taken);
}

/* Fills in the job's items. Returns how many pairs of query and key a head has, roughly. */
static int64_t plan_items(struct attention_job *job) {
    struct cpu_backend *b = job->b;
    const struct batch_view *view = b->view;
    int64_t pairs = 0;
    int32_t longest = 0;
    b->item_start[0] = 0;
    for (int32_t s = 0; s < view->S; s++) {
        int32_t count = view->query_start[s + 1] - view->query_start[s];
        int32_t blocks = (int32_t)ceil_div((size_t)count, (size_t)job->tokens);
        b->item_start[s + 1] = b->item_start[s] + blocks * job->p->Hkv * job->head_blocks;
        if (count == 0) continue;
        int32_t length = view->position[view->query_start[s]] + count;
        pairs += (int64_t)count * length;
        if (length > longest) longest = length;
    }
    job->items = b->item_start[view->S];
    job->chunks = (int32_t)ceil_div((size_t)longest, CHUNK);
    return pairs;
}

tempera_status cpu_attention(struct backend *backend, const struct attention_params *p, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    TRY(check_heads(b, "attention", p->layer, p->H, p->Hkv, p->Dh, err));
    const int32_t group = p->H / p->Hkv;
    struct attention_job job = {.b = b, .p = p, .kv = cpu_kv_layout(&b->limits)};
    job.heads = group < ATTEND_ROWS ? group : ATTEND_ROWS;
    job.head_blocks = (int32_t)ceil_div((size_t)group, (size_t)job.heads);
    job.tokens = ATTEND_ROWS / job.heads;
    job.state = cpu_attend_state(job.heads, p->Dh); /* of one token's queries */
    int64_t pairs = plan_items(&job);
    if (job.items == 0) return TEMPERA_OK;
    const bool decode = b->view->T == b->view->S;
    if (decode && job.items < 2 * b->threads && job.chunks > 1 &&
        (size_t)job.items * (size_t)job.chunks * job.state <= b->states_count) {
        pool_run(b->pool, chunk_part, &job, job.items * job.chunks);
        pool_run(b->pool, merge_part, &job, job.items);
        return TEMPERA_OK;
    }
    pool_run(b->pool, attention_part, &job, cpu_parts(b, job.items, pairs * p->H * p->Dh * 2 / job.items));
    return TEMPERA_OK;
}

/* ---- copies --------------------------------------------------------------------------------------------------------- */

struct copy_job {
    const struct cpu_backend *b;
    const int32_t *from, *to, *tokens; /* [count] */
    int32_t count;
};

/* One head's. Tokens are columns of K: the first of each line, which has one input of all tokens, or two in pairs. They are
 * the first lines of each of V's panels; in pairs, an odd number of them takes a neighbour along, which nobody sees. */
static void copy_page(char *to, const char *from, const struct cpu_kv_layout *kv, int32_t tokens) {
    if (tokens == PAGE_TOKENS) {
        memcpy(to, from, kv->page);
        return;
    }
    const size_t together = kv->type == WEIGHT_BF16 ? 2 : 1, element = together * weight_type_size(kv->type);
    const size_t line = PANEL * element, lines = ceil_div((size_t)tokens, together) * line;
    for (size_t i = 0; i < kv->v; i += line) memcpy(to + i, from + i, (size_t)tokens * element);
    for (size_t i = kv->v; i < kv->page; i += kv->panel) memcpy(to + i, from + i, lines);
}

static void copy_part(void *arg, int part, int parts) {
    const struct copy_job *job = arg;
    const struct cpu_kv_layout kv = cpu_kv_layout(&job->b->limits);
    const int64_t items = (int64_t)job->count * job->b->limits.L, end = cpu_part_start(items, part + 1, parts);
    for (int64_t i = cpu_part_start(items, part, parts); i < end; i++) {
        char *head = layer_pages(job->b, &kv, (int32_t)(i / job->count));
        int64_t copy = i % job->count;
        for (int32_t h = 0; h < job->b->limits.Hkv; h++, head += kv.head)
            copy_page(head + (size_t)job->to[copy] * kv.page, head + (size_t)job->from[copy] * kv.page, &kv,
                      job->tokens[copy]);
    }
}

tempera_status cpu_copy_pages(struct backend *backend, const int32_t *from, const int32_t *to, const int32_t *tokens,
                              int32_t count, tempera_error *err) {
    struct cpu_backend *b = cpu_backend_of(backend);
    if (!b->kv) return fail(err, TEMPERA_INVALID_ARGUMENT, "copy_pages: before prepare");
    struct copy_job job = {.b = b, .from = from, .to = to, .tokens = tokens, .count = count};
    int64_t items = (int64_t)count * b->limits.L;
    pool_run(b->pool, copy_part, &job, cpu_parts(b, items, (int64_t)(cpu_kv_page_bytes(&b->limits) / sizeof(float))));
    return TEMPERA_OK;
}
