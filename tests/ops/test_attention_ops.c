/* test_attention_ops.c: rotary positions, KV pages and attention, on every backend that can run here. Pages are reached
 * through rope_store, attention and copy_pages only, as the engine reaches them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ops_cases.h"
#include "ops_harness.h"
#include "ops_reference.h"

#define FOR_TARGETS(target)                                                                                            \
    for (const struct ops_target *target = OPS_TARGETS; target < OPS_TARGETS + OPS_TARGET_COUNT; target++)

/* ---- sequences --------------------------------------------------------------------------------------------------- */

/* One sequence's vectors, and the pages it lives in. */
struct sequence {
    int32_t length;
    float *qkv;    /* [length, (H + 2 Hkv) Dh] */
    int32_t *page; /* [pages] */
    int32_t pages;
};

struct heads {
    int32_t H, Hkv, Dh, window;
    float softcap;
    enum weight_type type; /* of the weights: what operands and pages are kept in follows from it */
};

static size_t row_width(const struct heads *h) {
    return (size_t)(h->H + 2 * h->Hkv) * (size_t)h->Dh;
}

/* Its vectors depend on the seed alone. Its pages are taken from `order` [*used …]. */
static struct sequence sequence_new(const struct heads *h, int32_t length, uint64_t seed, int32_t page_tokens,
                                    const int32_t *order, int32_t *used) {
    struct ops_random r = {seed};
    struct sequence s = {.length = length, .pages = (length + page_tokens - 1) / page_tokens};
    s.qkv = ops_normals(&r, (size_t)length * row_width(h), 1);
    s.page = malloc((size_t)s.pages * sizeof *s.page);
    for (int32_t i = 0; i < s.pages; i++) s.page[i] = order[(*used)++];
    return s;
}
static void sequence_free(struct sequence *s) {
    free(s->qkv), free(s->page);
}

static struct backend_limits attention_limits(const struct heads *h, int32_t max_tokens, int32_t pages) {
    return (struct backend_limits){.L = 2,
                                   .D = h->H * h->Dh,
                                   .H = h->H,
                                   .Hkv = h->Hkv,
                                   .Dh = h->Dh,
                                   .F = 1,
                                   .V = 2,
                                   .context = 4096,
                                   .max_tokens = max_tokens,
                                   .max_logits = 1,
                                   .max_branches = 1,
                                   .pages = pages,
                                   .type = h->type};
}

/* Shuffled page numbers 0 … n-1. */
static int32_t *page_order(int32_t n, uint64_t seed) {
    struct ops_random r = {seed};
    int32_t *order = malloc((size_t)n * sizeof *order);
    for (int32_t i = 0; i < n; i++) order[i] = i;
    for (int32_t i = n - 1; i > 0 && seed; i--) {
        int32_t j = ops_below(&r, i + 1), t = order[i];
        order[i] = order[j], order[j] = t;
    }
    return order;
}

/* A step's view over pieces of several sequences; the arrays are its own. */
struct step {
    struct batch_view view;
    int32_t *token, *position, *slot, *query_start, *page_start, *page;
    float *qkv; /* device */
    void *out;  /* device: an operand unless weights are F32 */
};

struct piece {
    const struct sequence *sequence;
    int32_t first, count;
};

static struct step step_new(struct ops *o, const struct heads *h, const struct piece *pieces, int32_t S) {
    int32_t T = 0, pages = 0, page_tokens = o->info.page_tokens;
    for (int32_t s = 0; s < S; s++) T += pieces[s].count, pages += pieces[s].sequence->pages;
    struct step p = {.token = calloc((size_t)T, sizeof(int32_t)),
                     .position = calloc((size_t)T, sizeof(int32_t)),
                     .slot = calloc((size_t)T, sizeof(int32_t)),
                     .query_start = calloc((size_t)S + 1, sizeof(int32_t)),
                     .page_start = calloc((size_t)S + 1, sizeof(int32_t)),
                     .page = calloc((size_t)pages + 1, sizeof(int32_t))};
    float *qkv = malloc((size_t)T * row_width(h) * sizeof *qkv);
    int32_t t = 0, at = 0;
    for (int32_t s = 0; s < S; s++) {
        const struct sequence *q = pieces[s].sequence;
        memcpy(qkv + (size_t)t * row_width(h), q->qkv + (size_t)pieces[s].first * row_width(h),
               (size_t)pieces[s].count * row_width(h) * sizeof *qkv);
        /* Pages beyond what the piece reaches are not listed, as the engine would not have them yet. */
        int32_t reached = (pieces[s].first + pieces[s].count + page_tokens - 1) / page_tokens;
        for (int32_t i = 0; i < reached; i++) p.page[at++] = q->page[i];
        for (int32_t i = pieces[s].first; i < pieces[s].first + pieces[s].count; i++, t++) {
            p.position[t] = i;
            p.slot[t] = q->page[i / page_tokens] * page_tokens + i % page_tokens;
        }
        p.query_start[s + 1] = t;
        p.page_start[s + 1] = at;
    }
    p.view = (struct batch_view){.T = T,
                                 .token = p.token,
                                 .position = p.position,
                                 .slot = p.slot,
                                 .S = S,
                                 .query_start = p.query_start,
                                 .page_start = p.page_start,
                                 .page = p.page};
    p.qkv = ops_put(o, qkv, (size_t)T * row_width(h));
    p.out = h->type == WEIGHT_F32 ? ops_new(o, (size_t)T * (size_t)(h->H * h->Dh), NAN)
                                  : ops_new_operand(o, h->type, T, h->H * h->Dh);
    free(qkv);
    return p;
}

static void step_free(struct ops *o, struct step *p) {
    free(p->token), free(p->position), free(p->slot), free(p->query_start), free(p->page_start), free(p->page);
    for (int i = 0; i < 2; i++) {
        o->buffers--;
        o->call->free(o->backend, o->buffer[o->buffers].data, o->buffer[o->buffers].bytes);
    }
}

/* Stores and attends in `layer`; out [T, H Dh] to the host. out NULL: only stores. */
static void step_run(struct ops *o, const struct heads *h, struct step *p, int32_t layer, float *out) {
    struct rope_store_params store = {
        .qkv = p->qkv, .layer = layer, .T = p->view.T, .H = h->H, .Hkv = h->Hkv, .Dh = h->Dh};
    struct attention_params attention = {.out = p->out,
                                         .out_operand = h->type != WEIGHT_F32,
                                         .qkv = p->qkv,
                                         .scale = 1.0f / sqrtf((float)h->Dh),
                                         .softcap = h->softcap,
                                         .window = h->window,
                                         .layer = layer,
                                         .T = p->view.T,
                                         .H = h->H,
                                         .Hkv = h->Hkv,
                                         .Dh = h->Dh};
    ops_begin(o, &p->view);
    OPS_CALL(o->call->rope_store(o->backend, &store, err));
    if (out) OPS_CALL(o->call->attention(o->backend, &attention, err));
    ops_end(o);
    if (!out) return;
    if (attention.out_operand) {
        ops_get_operand(o, out, p->out, h->type, p->view.T, h->H * h->Dh);
    } else {
        ops_get(o, out, p->out, (size_t)p->view.T * (size_t)(h->H * h->Dh));
    }
}

/* Fills every slot of every page with NaN, both layers, as a stranger's garbage. */
static void poison_pages(struct ops *o, const struct heads *h, int32_t pages) {
    int32_t *order = page_order(pages, 0), used = 0;
    struct sequence s = sequence_new(h, pages * o->info.page_tokens, 1, o->info.page_tokens, order, &used);
    for (size_t i = 0; i < (size_t)s.length * row_width(h); i++) s.qkv[i] = i % 2 ? NAN : INFINITY;
    for (int32_t first = 0; first < s.length; first += 128) {
        struct piece piece = {&s, first, s.length - first < 128 ? s.length - first : 128};
        struct step p = step_new(o, h, &piece, 1);
        step_run(o, h, &p, 0, NULL);
        step_run(o, h, &p, 1, NULL);
        step_free(o, &p);
    }
    free(order);
    sequence_free(&s);
}

/* Feeds a sequence in steps of `chunk` tokens (0: all at once); out [length, H Dh]. */
static void feed(struct ops *o, const struct heads *h, const struct sequence *s, int32_t chunk, int32_t layer,
                 float *out) {
    if (chunk == 0) chunk = s->length;
    for (int32_t first = 0; first < s->length; first += chunk) {
        struct piece piece = {s, first, s->length - first < chunk ? s->length - first : chunk};
        struct step p = step_new(o, h, &piece, 1);
        step_run(o, h, &p, layer, out + (size_t)first * (size_t)(h->H * h->Dh));
        step_free(o, &p);
    }
}

static int32_t pages_for(const struct ops *o, int32_t tokens) {
    return (tokens + o->info.page_tokens - 1) / o->info.page_tokens;
}

/* Opens with room for `sequences` of this length. */
static bool open_for(struct ops *o, const struct ops_target *target, int threads, const struct heads *h, int32_t length,
                     int32_t sequences, int32_t *pages) {
    if (!ops_open(o, target, threads, NULL)) return false;
    *pages = (pages_for(o, length) + 1) * sequences + 2;
    struct backend_limits limits = attention_limits(h, length > 128 ? length : 128, *pages);
    OPS_CALL(o->call->prepare(o->backend, &limits, err));
    return true;
}

/* ---- accuracy ---------------------------------------------------------------------------------------------------- */

/* Tensor cores round all they multiply, which their arithmetic says; else q and the weights are fp32, and keys and values
 * are what the pages hold. */
static double paged(const struct ops *o, const struct heads *h, float x) {
    return o->tensor ? (double)x : reference_stored(ops_page_type(h->type), x);
}

static void check_query(const struct ops *o, const struct heads *h, const struct sequence *s, int32_t t, int32_t head,
                        const float *got) {
    int32_t first = h->window > 0 && t >= h->window ? t - h->window + 1 : 0, count = t - first + 1, Dh = h->Dh;
    int32_t kv_head = head / (h->H / h->Hkv);
    double *q = malloc((size_t)Dh * sizeof *q), *k = malloc((size_t)(count * Dh) * sizeof *k);
    float *v = malloc((size_t)(count * Dh) * sizeof *v);
    double *value = malloc((size_t)Dh * sizeof *value), *bound = malloc((size_t)Dh * sizeof *bound);
    for (int32_t d = 0; d < Dh; d++) q[d] = (double)s->qkv[(size_t)t * row_width(h) + (size_t)(head * Dh + d)];
    for (int32_t j = 0; j < count; j++)
        for (int32_t d = 0; d < Dh; d++) {
            const float *row = s->qkv + (size_t)(first + j) * row_width(h);
            k[j * Dh + d] = paged(o, h, row[(h->H + kv_head) * Dh + d]);
            v[j * Dh + d] = (float)paged(o, h, row[(h->H + h->Hkv + kv_head) * Dh + d]);
        }
    reference_attention(reference_arithmetic(o->tensor, h->type), value, bound, q, 0, k, 0, v, count, Dh,
                        (double)(1.0f / sqrtf((float)Dh)), (double)h->softcap);
    for (int32_t d = 0; d < Dh; d++) {
        struct reference_value expected =
            reference_operand(reference_arithmetic(o->tensor, h->type), (struct reference_value){value[d], bound[d]});
        ops_check((double)got[d], expected.value, expected.bound, "attention", o, ((int64_t)t * h->H + head) * Dh + d);
    }
    free(q), free(k), free(v), free(value), free(bound);
}

static void check_case(const struct ops_target *target, const struct attention_case *c, enum weight_type type) {
    struct heads h = {c->H, c->Hkv, c->Dh, c->window, c->softcap, type};
    struct ops o;
    int32_t pages, used = 0;
    if (!open_for(&o, target, 2, &h, c->length, 1, &pages)) return;
    poison_pages(&o, &h, pages);
    int32_t *order = page_order(pages, 77);
    struct sequence s =
        sequence_new(&h, c->length, (uint64_t)(c->Dh * 100 + c->length), o.info.page_tokens, order, &used);
    float *out = malloc((size_t)c->length * (size_t)(h.H * h.Dh) * sizeof *out);
    feed(&o, &h, &s, 0, 1, out);
    int32_t step = c->length > 100 ? 13 : 1;
    for (int32_t t = c->length - 1; t >= 0; t -= step)
        for (int32_t head = 0; head < h.H; head++)
            check_query(&o, &h, &s, t, head, out + (size_t)(t * h.H + head) * (size_t)h.Dh);
    free(out), free(order);
    sequence_free(&s);
    ops_close(&o);
}

Test(ops_attention, is_accurate_among_poison) {
    FOR_TARGETS(target)
    for (int c = 0; c < ATTENTION_CASE_COUNT; c++)
        for (enum weight_type type = WEIGHT_F32; type < WEIGHT_TYPE_COUNT; type++) /* quantised: F16's pages */
            check_case(target, &ATTENTION_CASES[c], type);
}

/* With one visible key the result is its value, exactly: whatever is around it. */
Test(ops_attention, one_key_gives_its_value) {
    FOR_TARGETS(target) for (enum weight_type type = WEIGHT_F32; type < ops_packed_types(target); type++) {
        struct heads h = {4, 2, 40, 1, 0, type};
        struct ops o;
        int32_t pages, used = 0, length = 150;
        if (!open_for(&o, target, 2, &h, length, 1, &pages)) continue;
        poison_pages(&o, &h, pages);
        int32_t *order = page_order(pages, 5);
        struct sequence s = sequence_new(&h, length, 3, o.info.page_tokens, order, &used);
        /* Neighbours that nobody else sees, before and behind. Tensor cores multiply by a weight of 0 what some query of a
         * tile sees: there only what no query sees, in the pages that were poisoned, takes no part. */
        for (int32_t t = 0; t < length && !o.tensor; t += 3)
            for (size_t i = 0; i < row_width(&h); i++) s.qkv[(size_t)t * row_width(&h) + i] = NAN;
        float *out = malloc((size_t)length * (size_t)(h.H * h.Dh) * sizeof *out);
        feed(&o, &h, &s, 0, 0, out);
        for (int32_t t = 0; t < length; t++)
            for (int32_t i = 0; i < h.H * h.Dh && (o.tensor || t % 3 != 0); i++) {
                const float *v = s.qkv + (size_t)t * row_width(&h) + (h.H + h.Hkv) * h.Dh;
                double only = reference_stored(ops_page_type(type), v[i / h.Dh / 2 * h.Dh + i % h.Dh]);
                double apart = o.tensor && type == WEIGHT_F32 ? 0x1p-22 : 0; /* what three TF32 products leave out */
                ops_check((double)out[t * h.H * h.Dh + i], only, apart * fabs(only), "the only value", &o, i);
            }
        free(out), free(order);
        sequence_free(&s);
        ops_close(&o);
    }
}

/* What the memory plan multiplies with: heads that are whole panels wide take no more than their elements. */
Test(ops_attention, pages_are_of_their_type) {
    FOR_TARGETS(target)
    for (enum weight_type type = WEIGHT_F32; type < ops_packed_types(target) && !ops_tensor(target); type++) {
        struct heads h = {6, 3, 48, 0, 0, type};
        struct backend_limits limits = attention_limits(&h, 1, 1);
        struct backend_sizes sizes;
        struct ops o;
        if (!ops_open(&o, target, 1, NULL)) continue;
        o.call->sizes(o.backend, &limits, &sizes);
        cr_expect_eq(sizes.kv_page, 2 * 3 * 48 * (size_t)o.info.page_tokens * weight_type_size(ops_page_type(type)));
        ops_close(&o);
    }
}

/* Beyond F16's range the cpu stores its largest number: a value stays a value, and a key does not hide all others. NaN
 * stays NaN. */
Test(ops_attention, f16_pages_saturate) {
    static const enum weight_type TYPES[] = {WEIGHT_F16, WEIGHT_Q8, WEIGHT_Q4};
    static const float STORED[][2] = {{65504, 65504},    {65519, 65504},      {65520, 65504},   {-1e30f, -65504},
                                      {INFINITY, 65504}, {-INFINITY, -65504}, {-70000, -65504}, {NAN, NAN}};
    enum { LENGTH = 20, COUNT = sizeof STORED / sizeof STORED[0] };
    FOR_TARGETS(target) for (int i = 0; i < 3 && !ops_tensor(target); i++) {
        struct heads h = {1, 1, COUNT + 1, 1, 0, TYPES[i]};
        struct ops o;
        int32_t pages, used = 0;
        if (!open_for(&o, target, 2, &h, LENGTH, 1, &pages)) continue;
        int32_t *order = page_order(pages, 5);
        struct sequence s = sequence_new(&h, LENGTH, 3, o.info.page_tokens, order, &used);
        for (int32_t t = 0; t < LENGTH; t++)
            for (int32_t d = 0; d < COUNT; d++)
                s.qkv[(size_t)t * row_width(&h) + (size_t)(2 * h.Dh + d)] = STORED[d][0];
        float out[LENGTH * (COUNT + 1)];
        feed(&o, &h, &s, 0, 0, out);
        for (int32_t t = 0; t < LENGTH; t++)
            for (int32_t d = 0; d < COUNT; d++) {
                float got = out[t * h.Dh + d];
                cr_expect(got == STORED[d][1] || (isnan(got) && isnan(STORED[d][1])), "%s: %g came back as %g",
                          o.info.instructions, (double)STORED[d][0], (double)got);
            }
        free(order);
        sequence_free(&s);
        ops_close(&o);
    }
}

/* ---- purity ------------------------------------------------------------------------------------------------------ */

/* Whole, in chunks, in other pages, on other thread counts, among other sequences: the same bits. */
static void check_chunks(const struct ops_target *target, const struct attention_case *c, enum weight_type type) {
    struct heads h = {c->H, c->Hkv, c->Dh, c->window, c->softcap, type};
    const size_t count = (size_t)c->length * (size_t)(h.H * h.Dh);
    float *first = NULL, *out = malloc(count * sizeof *out);
    for (int threads = 1; threads <= (ops_tensor(target) ? 1 : 3); threads++) {
        struct ops o;
        int32_t pages;
        if (!open_for(&o, target, threads, &h, c->length, 1, &pages)) break;
        for (int chunk = -1; chunk < CHUNK_COUNT; chunk++) {
            if (threads > 1 && chunk == 0 && c->length < 512) continue; /* slow, and splits nothing */
            int32_t used = 0, *order = page_order(pages, (uint64_t)(chunk + 2));
            poison_pages(&o, &h, pages);
            struct sequence s = sequence_new(&h, c->length, 9, o.info.page_tokens, order, &used);
            feed(&o, &h, &s, chunk < 0 ? 0 : CHUNKS[chunk], 1, out);
            if (!first) {
                first = malloc(count * sizeof *first);
                memcpy(first, out, count * sizeof *first);
            }
            ops_same(out, first, count, "a chunked prompt", &o);
            free(order);
            sequence_free(&s);
        }
        ops_close(&o);
    }
    free(first), free(out);
}

Test(ops_attention, chunks_pages_and_threads_keep_the_bits) {
    FOR_TARGETS(target)
    for (int c = 0; c < ATTENTION_CASE_COUNT; c++)
        for (enum weight_type type = WEIGHT_F32; type < WEIGHT_TYPE_COUNT; type++) /* emulated: one each, it is slow */
            if (!ops_tensor(target) || (int)type == c % WEIGHT_TYPE_COUNT)
                check_chunks(target, &ATTENTION_CASES[c], type);
}

/* Prompts, chunks and single tokens of several sequences in one step. */
Test(ops_attention, neighbours_do_not_matter) {
    struct heads h = {6, 3, 48, 0, 0, WEIGHT_BF16};
    enum { S = 5, LENGTH = 170 };
    static const int32_t CUTS[3][S] = {{0, 169, 64, 90, 1}, {100, 170, 65, 91, 33}, {170, 170, 170, 170, 170}};
    FOR_TARGETS(target) {
        struct ops o;
        int32_t pages, used = 0;
        if (!open_for(&o, target, 2, &h, LENGTH * S, S, &pages)) continue;
        int32_t *order = page_order(pages, 21);
        struct sequence s[S];
        const size_t width = (size_t)(h.H * h.Dh), count = LENGTH * width;
        float *alone = malloc(S * count * sizeof *alone), *mixed = malloc(S * count * sizeof *mixed),
              *out = malloc(S * count * sizeof *out);
        for (int32_t i = 0; i < S; i++) {
            int32_t before = used;
            s[i] = sequence_new(&h, LENGTH, (uint64_t)i + 50, o.info.page_tokens, order, &used);
            if (i == 4) /* a neighbour full of NaN */
                for (size_t j = 0; j < LENGTH * row_width(&h); j += 3) s[i].qkv[j] = NAN;
            feed(&o, &h, &s[i], 0, 0, alone + (size_t)i * count);
            cr_assert_eq(used - before, s[i].pages);
        }
        poison_pages(&o, &h, pages);
        int32_t done[S] = {0};
        for (int cut = 0; cut < 3; cut++) {
            struct piece pieces[S];
            int32_t n = 0, who[S];
            for (int32_t i = 0; i < S; i++)
                if (CUTS[cut][i] > done[i]) {
                    pieces[n] = (struct piece){&s[i], done[i], CUTS[cut][i] - done[i]};
                    who[n++] = i;
                }
            struct step p = step_new(&o, &h, pieces, n);
            step_run(&o, &h, &p, 0, out);
            for (int32_t j = 0, t = 0; j < n; j++) {
                memcpy(mixed + (size_t)who[j] * count + (size_t)done[who[j]] * width, out + (size_t)t * width,
                       (size_t)pieces[j].count * width * sizeof *out);
                t += pieces[j].count;
                done[who[j]] += pieces[j].count;
            }
            step_free(&o, &p);
        }
        ops_same(mixed, alone, (S - 1) * count, "among neighbours", &o);
        free(alone), free(mixed), free(out), free(order);
        for (int32_t i = 0; i < S; i++) sequence_free(&s[i]);
        ops_close(&o);
    }
}

Test(ops_attention, allocates_nothing) {
    struct heads h = {4, 2, 16, 0, 0, WEIGHT_BF16};
    FOR_TARGETS(target) {
        struct ops o;
        int32_t pages, used = 0;
        if (!open_for(&o, target, 2, &h, 1100, 1, &pages)) continue;
        int32_t *order = page_order(pages, 0);
        struct sequence s = sequence_new(&h, 1100, 2, o.info.page_tokens, order, &used);
        struct piece pieces[] = {{&s, 0, 1099}, {&s, 1099, 1}};
        float *out = malloc(1100 * (size_t)(h.H * h.Dh) * sizeof *out);
        for (int i = 0; i < 2; i++) {
            struct step p = step_new(&o, &h, &pieces[i], 1);
            size_t calls = mem_stats_get().calls;
            step_run(&o, &h, &p, 0, out);
            cr_expect_eq(mem_stats_get().calls, calls);
            step_free(&o, &p);
        }
        free(out), free(order);
        sequence_free(&s);
        ops_close(&o);
    }
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

/* A fork in the middle of a page: both branches continue with the same bits as one that was never forked. */
static void check_fork(const struct ops_target *target, int32_t shared, enum weight_type type) {
    struct heads h = {4, 2, 21, 0, 0, type};
    const int32_t length = shared + 40;
    struct ops o;
    int32_t pages, used = 0;
    if (!open_for(&o, target, 2, &h, length, 2, &pages)) return;
    poison_pages(&o, &h, pages);
    int32_t *order = page_order(pages, 8), page_tokens = o.info.page_tokens;
    struct sequence s = sequence_new(&h, length, 4, page_tokens, order, &used);
    const size_t width = (size_t)(h.H * h.Dh);
    float *whole = malloc((size_t)length * width * sizeof *whole), *out = malloc((size_t)length * width * sizeof *out);
    feed(&o, &h, &s, 0, 0, whole);
    feed(&o, &h, &s, 0, 1, whole);

    struct sequence fork = s;
    fork.page = malloc((size_t)s.pages * sizeof *fork.page);
    for (int32_t i = 0; i < s.pages; i++) fork.page[i] = i < shared / page_tokens ? s.page[i] : order[used++];
    int32_t partial = shared % page_tokens, from = s.page[shared / page_tokens], to = fork.page[shared / page_tokens];
    OPS_CALL(o.call->copy_pages(o.backend, &from, &to, &partial, partial ? 1 : 0, err));
    for (int32_t layer = 0; layer < 2; layer++) {
        struct piece piece = {&fork, shared, length - shared};
        struct step p = step_new(&o, &h, &piece, 1);
        step_run(&o, &h, &p, layer, out);
        ops_same(out, whole + (size_t)shared * width, (size_t)(length - shared) * width, "a fork", &o);
        step_free(&o, &p);
    }
    free(whole), free(out), free(order), free(fork.page);
    sequence_free(&s);
    ops_close(&o);
}

Test(ops_copy_pages, forks_keep_the_bits) {
    static const int32_t SHARED[] = {1, 15, 16, 17, 70};
    FOR_TARGETS(target)
    for (int i = 0; i < 5; i++)
        for (enum weight_type type = WEIGHT_F32; type < WEIGHT_TYPE_COUNT; type++) check_fork(target, SHARED[i], type);
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

struct rope_case {
    int32_t H, Hkv, Dh, rotary;
    bool interleaved, norm, norm_bias;
    enum norm_kind kind;
};
static const struct rope_case ROPE_CASES[] = {
    {4, 2, 64, 64, false, false, false, NORM_RMS},  {4, 4, 64, 64, true, false, false, NORM_RMS},
    {3, 1, 80, 32, false, false, false, NORM_RMS},  {2, 2, 20, 10, true, true, false, NORM_RMS},
    {4, 2, 128, 128, false, true, false, NORM_RMS}, {2, 1, 16, 0, false, true, true, NORM_LAYER},
    {2, 1, 8, 2, false, true, true, NORM_LAYER},
};

/* One head, normed and rotated in double; *error is the largest possible error of an element. */
static void expected_head(double *head, const float *x, const struct rope_case *c, const float *w, const float *bias,
                          const float *angles, double *error) {
    double in[256], bound[256];
    for (int32_t d = 0; d < c->Dh; d++) head[d] = (double)x[d], bound[d] = 0;
    if (c->norm) {
        memcpy(in, head, (size_t)c->Dh * sizeof *in);
        reference_norm(head, bound, in, w, bias, c->kind, 1e-6f, c->Dh);
    }
    double most = 0, largest = 0;
    for (int32_t d = 0; d < c->Dh; d++) most = fmax(most, bound[d]), largest = fmax(largest, fabs(head[d]));
    if (c->rotary) reference_rotate(head, angles, c->rotary, c->interleaved);
    *error = c->rotary ? 1.6 * most + 4 * REFERENCE_U * largest : most; /* |cos| + |sin| ≤ 1.42, factor 1.1 */
}

static void check_rope(const struct ops_target *target, const struct rope_case *c) {
    enum { LENGTH = 37, CONTEXT = 64 };
    struct heads h = {c->H, c->Hkv, c->Dh, 0, 0, WEIGHT_F32};
    struct ops o;
    int32_t pages, used = 0;
    if (!open_for(&o, target, 2, &h, LENGTH, 1, &pages)) return;
    int32_t *order = page_order(pages, 3);
    struct sequence s = sequence_new(&h, LENGTH, 12, o.info.page_tokens, order, &used);
    struct ops_random r = {6};
    float *table = malloc(CONTEXT * ((size_t)c->rotary + 1) * sizeof *table);
    for (int32_t i = 0; i < CONTEXT * c->rotary / 2; i++) {
        double angle = i / (c->rotary / 2) * pow(100, -2.0 * (i % (c->rotary / 2)) / c->rotary);
        table[2 * i] = (float)(1.1 * cos(angle)), table[2 * i + 1] = (float)(1.1 * sin(angle));
    }
    float *w[4];
    for (int i = 0; i < 4; i++) w[i] = ops_normals(&r, (size_t)c->Dh, 1);
    struct piece piece = {&s, 0, LENGTH};
    struct step p = step_new(&o, &h, &piece, 1);
    struct rope_store_params store = {.qkv = p.qkv,
                                      .table = c->rotary ? ops_put(&o, table, (size_t)(CONTEXT * c->rotary)) : NULL,
                                      .rotary = c->rotary,
                                      .interleaved = c->interleaved,
                                      .q_norm = c->norm ? ops_put(&o, w[0], (size_t)c->Dh) : NULL,
                                      .k_norm = c->norm ? ops_put(&o, w[1], (size_t)c->Dh) : NULL,
                                      .q_norm_bias = c->norm_bias ? ops_put(&o, w[2], (size_t)c->Dh) : NULL,
                                      .k_norm_bias = c->norm_bias ? ops_put(&o, w[3], (size_t)c->Dh) : NULL,
                                      .norm = c->kind,
                                      .norm_eps = 1e-6f,
                                      .T = LENGTH,
                                      .H = h.H,
                                      .Hkv = h.Hkv,
                                      .Dh = h.Dh};
    struct attention_params attention = {
        .out = p.out, .qkv = p.qkv, .scale = 0.125f, .T = LENGTH, .H = h.H, .Hkv = h.Hkv, .Dh = h.Dh};
    ops_begin(&o, &p.view);
    OPS_CALL(o.call->rope_store(o.backend, &store, err));
    OPS_CALL(o.call->attention(o.backend, &attention, err));
    ops_end(&o);
    float *out = malloc(LENGTH * (size_t)(h.H * h.Dh) * sizeof *out),
          *qkv = malloc(LENGTH * row_width(&h) * sizeof *qkv);
    ops_get(&o, out, p.out, LENGTH * (size_t)(h.H * h.Dh));
    ops_get(&o, qkv, p.qkv, LENGTH * row_width(&h));

    double head[256], value[256], bound[256], error = 0, key_error = 0, largest = 0;
    double *keys = malloc(LENGTH * (size_t)c->Dh * sizeof *keys);
    float *values = malloc(LENGTH * (size_t)c->Dh * sizeof *values);
    for (int32_t i = 0; i < h.H; i++) {
        int32_t kv_head = i / (h.H / h.Hkv);
        for (int32_t t = 0; t < LENGTH; t++) {
            const float *row = s.qkv + (size_t)t * row_width(&h), *angles = table + t * c->rotary;
            expected_head(keys + t * c->Dh, row + (h.H + kv_head) * c->Dh, c, w[1], c->norm_bias ? w[3] : NULL, angles,
                          &error);
            key_error = fmax(key_error, error);
            memcpy(values + t * c->Dh, row + (h.H + h.Hkv + kv_head) * c->Dh, (size_t)c->Dh * sizeof *values);
            /* q comes back rotated in place; attention sees it, and keys that were never visible to us, rotated too */
            expected_head(head, row + i * c->Dh, c, w[0], c->norm_bias ? w[2] : NULL, angles, &error);
            largest = fmax(largest, error);
            for (int32_t d = 0; d < c->Dh; d++)
                ops_check((double)qkv[(size_t)t * row_width(&h) + (size_t)(i * c->Dh + d)], head[d], error, "rope of q",
                          &o, (int64_t)(c - ROPE_CASES) * 1000000 + (t * h.H + i) * c->Dh + d);
            reference_attention(reference_arithmetic(o.tensor, h.type), value, bound, head, largest, keys, key_error,
                                values, t + 1, c->Dh, 0.125, 0);
            for (int32_t d = 0; d < c->Dh; d++)
                ops_check((double)out[(t * h.H + i) * c->Dh + d], value[d], bound[d], "rope of k", &o, t * c->Dh + d);
        }
    }
    free(keys), free(values), free(out), free(qkv), free(table), free(order);
    for (int i = 0; i < 4; i++) free(w[i]);
    free(p.token), free(p.position), free(p.slot), free(p.query_start), free(p.page_start), free(p.page);
    sequence_free(&s);
    ops_close(&o);
}

Test(ops_rope, rotates_norms_and_stores) {
    FOR_TARGETS(target)
    for (size_t i = 0; i < sizeof ROPE_CASES / sizeof ROPE_CASES[0]; i++) check_rope(target, &ROPE_CASES[i]);
}
