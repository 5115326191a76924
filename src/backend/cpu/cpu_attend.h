/* cpu_attend.h: attention of a run of queries over one KV head.
 *
 * Contract (a query's bits follow from its vector, its position, the window and the keys and values alone):
 *   score(j)  = scale · Σ_d q[d] K[j][d], d ascending, one chain; soft-capped
 *   positions are cut at multiples of SPAN = 64, and spans into chunks at multiples of CHUNK = 512
 *   a span updates a chunk's state (m, l, o): m' = max(m, scores), o and l times e^(m-m'), then l plus the sum of
 *             p = e^(score-m') in a fixed tree, then o[d] += p[j] V[j][d], j ascending, one chain
 *   chunks    fold from the left: m'' = max(m, m'), both sides times e^(m-m''), e^(m'-m''), added; at the end o / l
 * Spans and chunks without a visible position are skipped. Positions outside a query's window take no part at all: their
 * scores become -inf before the maximum and their values are not read, so pages may hold anything there. */
#ifndef CPU_ATTEND_H
#define CPU_ATTEND_H

#include "backend/cpu/cpu_math.h"
#include "backend/cpu/cpu_tile.h"

/* The buffers of one call, the large ones carved from a thread's scratch. W = Dh rounded up to whole panels. */
struct attend_state {
    float *q;         /* tiles of rows, each packed [Dh][R] */
    float *s;         /* [rows, SPAN] scores, then probabilities */
    float *o, *total; /* [rows, W] this chunk's sum; that of the chunks before */
    int32_t rows, W;
    int32_t lowest, highest;                       /* positions that any row sees */
    int32_t first[ATTEND_ROWS], last[ATTEND_ROWS]; /* positions that a row sees */
    float m[ATTEND_ROWS], l[ATTEND_ROWS];          /* of this chunk; l = 0: nothing seen */
    float total_m[ATTEND_ROWS], total_l[ATTEND_ROWS];
};

CPU_INLINE int32_t attend_tile_rows(int32_t rows, int32_t row) {
    return rows - row < TILE_ROWS ? rows - row : TILE_ROWS;
}

/* The first position that a query at `position` sees. */
CPU_INLINE int32_t attend_first(const struct cpu_attend *a, int32_t position) {
    return a->window > 0 && position >= a->window ? position - a->window + 1 : 0;
}

/* A KV element of 16 bits: cpu_kv_type. */
static void attend_narrow(uint16_t to[PANEL], const float *from, enum weight_type type, int n) {
    const vec most = vec_set1(65504.0f), least = vec_set1(-65504.0f); /* the largest F16 */
    for (int i = 0; i < n; i += VEC) {
        vec x = vec_load_n(from + i, vec_lanes(n - i));
        if (type == WEIGHT_F16)
            vec_store_f16(to + i, vec_min(most, vec_max(least, x))); /* NaN stays NaN */
        else
            vec_store_bf16(to + i, x);
    }
}

static void attend_prepare(const struct cpu_attend *a, struct attend_state *t, float *scratch) {
    t->rows = a->tokens * a->heads;
    t->W = (a->Dh + PANEL - 1) / PANEL * PANEL;
    size_t rows = (size_t)t->rows, wide = rows * (size_t)t->W;
    t->s = scratch;
    t->o = t->s + rows * SPAN;
    t->total = t->o + wide;
    t->q = t->total + wide;
    memset(t->o, 0, 2 * wide * sizeof(float)); /* o and total */
    t->lowest = attend_first(a, a->position);
    t->highest = a->position + a->tokens - 1;
    for (int32_t r = 0; r < t->rows; r++) {
        t->last[r] = a->position + r / a->heads;
        t->first[r] = attend_first(a, t->last[r]);
        t->m[r] = t->total_m[r] = -INFINITY;
        t->l[r] = t->total_l[r] = 0.0f;
    }
    for (int32_t r0 = 0, R; r0 < t->rows; r0 += R) {
        R = attend_tile_rows(t->rows, r0);
        float *to = t->q + (size_t)r0 * (size_t)a->Dh;
        for (int32_t r = 0; r < R; r++) {
            const float *from = a->q + (r0 + r) / a->heads * a->q_stride + (int64_t)((r0 + r) % a->heads) * a->Dh;
            for (int32_t d = 0; d < a->Dh; d++) to[(int64_t)d * R + r] = from[d];
        }
    }
}

/* What a row sees of the span at `start`: lanes [*from, *to), empty when equal. */
CPU_INLINE void attend_range(const struct attend_state *t, int32_t row, int32_t start, int *from, int *to) {
    int32_t end = t->last[row] - start + 1, begin = t->first[row] - start;
    *to = end > SPAN ? SPAN : end < 0 ? 0 : end;
    *from = begin < 0 ? 0 : begin > *to ? *to : begin;
}

/* The span's four pages, as pointers into K or V; places outside what the rows see repeat a page that is inside. */
CPU_INLINE void attend_pages(const struct cpu_attend *a, const struct attend_state *t, const char *base, int32_t start,
                             const void *pages[QUAD]) {
    int32_t first = t->lowest / PAGE_TOKENS, last = t->highest / PAGE_TOKENS;
    for (int32_t i = 0; i < QUAD; i++) {
        int32_t index = start / PAGE_TOKENS + i;
        index = index < first ? first : index > last ? last : index;
        pages[i] = base + (size_t)a->page[index] * a->page_stride;
    }
}

/* The pages that are read after the span at `start`, from K or V: the next span's, else the next head's. */
CPU_INLINE void attend_next(const struct cpu_attend *a, const struct attend_state *t, const char *base, int32_t start,
                            const void *pages[QUAD]) {
    const bool more = start + SPAN <= t->highest;
    attend_pages(a, t, more ? base : base + a->next_head, more ? start + SPAN : t->lowest / SPAN * SPAN, pages);
}

/* Scores of R rows to probabilities, lanes [from, to) of the span; m and l advance. keep [R]: by what o must be scaled. */
static void attend_soften(const struct cpu_attend *a, struct attend_state *t, int32_t row, int32_t R, int from, int to,
                          float keep[VEC]) {
    enum { N = SPAN / VEC };
    const vec none = vec_set1(-INFINITY), scale = vec_set1(a->scale);
    float old[VEC] = {0};
    for (int32_t r = 0; r < R; r++) {
        float *s = t->s + (size_t)(row + r) * SPAN;
        vec x[N], most = none;
        CPU_UNROLL for (int i = 0; i < N; i++) {
            x[i] = vec_mul(vec_load(s + i * VEC), scale);
            if (a->softcap > 0.0f) x[i] = vec_softcap(x[i], a->softcap);
            if (to - from < SPAN) {
                x[i] = vec_select(vec_first(vec_lanes(to - i * VEC)), x[i], none);
                x[i] = vec_select(vec_first(vec_lanes(from - i * VEC)), none, x[i]);
            }
            most = vec_max(most, x[i]);
            vec_store(s + i * VEC, x[i]);
        }
        float largest = vec_largest(most);
        old[r] = t->m[row + r];
        t->m[row + r] = old[r] > largest ? old[r] : largest;
        old[r] -= t->m[row + r];
    }
    vec_store(keep, vec_exp(vec_load(old)));
    for (int32_t r = 0; r < R; r++) {
        float *s = t->s + (size_t)(row + r) * SPAN;
        const vec m = vec_set1(t->m[row + r]);
        vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
        CPU_UNROLL for (int i = 0; i < N; i++) {
            vec p = vec_exp(vec_sub(vec_load(s + i * VEC), m));
            sum[i % 4] = vec_add(sum[i % 4], p);
            vec_store(s + i * VEC, p);
        }
        float added = vec_sum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3])));
        t->l[row + r] = t->l[row + r] * keep[r] + added;
    }
}

/* o [R, W] = o · keep [R] + p [R, from … to) · V for P panels of head dimensions from d on, while the same dimensions of
 * four other pages are fetched: as many lines as are read here, from all in turn. */
CPU_INLINE void attend_values(const enum weight_type type, const int R, const int P, float *o, int64_t W,
                              const float *p, const float *keep, const void *const pages[QUAD],
                              const struct cpu_fetch *fetch, int64_t d, int from, int to) {
    tile_acc acc;
    vec w[QUAD * PANEL_VECS];
    acc_load(R, P, acc, o + d, W, false);
    CPU_UNROLL for (int r = 0; r < R; r++) {
        const vec scale = vec_set1(keep[r]);
        CPU_UNROLL for (int v = 0; v < P * PANEL_VECS; v++) acc[r][v] = vec_mul(acc[r][v], scale);
    }
    const int together = type == WEIGHT_BF16 ? 2 : 1; /* tokens of a line */
    const ptrdiff_t size = type == WEIGHT_F32 ? 4 : 2, line = together * PANEL * size, step = fetch->step;
    const char *next[QUAD];
    CPU_UNROLL for (int i = 0; i < QUAD; i++) next[i] = fetch->next[i] + d / together * step;
    for (int page = from / PAGE_TOKENS; page * PAGE_TOKENS < to; page++) {
        const int base = page * PAGE_TOKENS, end = base + PAGE_TOKENS > to ? to : base + PAGE_TOKENS;
        const int begin = base < from ? from : base;
        const char *panel[QUAD];
        CPU_UNROLL for (int i = 0; i < P; i++) panel[i] = (const char *)pages[page] + (d + i * PANEL) * PANEL * size;
        for (int j = begin / together * together; j < end; j += together) {
            const ptrdiff_t at = (j - base) / together * line;
            CPU_UNROLL for (unsigned i = 0; i < (unsigned)P; i++) {
                const unsigned n = (unsigned)j / (unsigned)together * (unsigned)P + i;
                __builtin_prefetch(next[n % QUAD] + (ptrdiff_t)(n / QUAD) * step, 0, 2);
            }
            if (j >= begin) {
                tile_load((enum tile_kind)type, false, P, w, panel, at);
                acc_add(R, P, acc, p + j, SPAN, w);
            }
            if (together == 1 || j + 1 >= end) continue;
            tile_load((enum tile_kind)type, true, P, w, panel, at);
            acc_add(R, P, acc, p + j + 1, SPAN, w);
        }
    }
    acc_store(R, P, acc, o + d, W);
}

typedef void attend_value_tile(float *o, int64_t W, const float *p, const float *keep, const void *const pages[QUAD],
                               const struct cpu_fetch *fetch, int from, int to);

/* All head dimensions: as many panels at a time as the registers hold, then fewer. */
#define ATTEND_VALUES_DEFINE(type, R)                                                                                  \
    static void attend_values_##type##_##R(float *o, int64_t W, const float *p, const float *keep,                     \
                                           const void *const pages[QUAD], const struct cpu_fetch *fetch, int from,     \
                                           int to) {                                                                   \
        enum { P = TILE_PANELS(R) };                                                                                   \
        int64_t d = 0;                                                                                                 \
        for (; d + P * PANEL <= W; d += P * PANEL)                                                                     \
            attend_values(WEIGHT_##type, R, P, o, W, p, keep, pages, fetch, d, from, to);                              \
        for (; P > 2 && d + 2 * PANEL <= W; d += 2 * PANEL)                                                            \
            attend_values(WEIGHT_##type, R, 2, o, W, p, keep, pages, fetch, d, from, to);                              \
        for (; P > 1 && d < W; d += PANEL)                                                                             \
            attend_values(WEIGHT_##type, R, 1, o, W, p, keep, pages, fetch, d, from, to);                              \
    }
TILE_MAP(ATTEND_VALUES_DEFINE, F32)
TILE_MAP(ATTEND_VALUES_DEFINE, F16)
TILE_MAP(ATTEND_VALUES_DEFINE, BF16)

#define ATTEND_VALUES_ENTRY(type, R) [WEIGHT_##type][R] = attend_values_##type##_##R,
static attend_value_tile *const ATTEND_VALUES[WEIGHT_TYPE_COUNT][TILE_ROWS + 1] = {
    TILE_MAP(ATTEND_VALUES_ENTRY, F32) TILE_MAP(ATTEND_VALUES_ENTRY, F16) TILE_MAP(ATTEND_VALUES_ENTRY, BF16)};

static cpu_block_tile *const ATTEND_SCORES[WEIGHT_TYPE_COUNT][TILE_ROWS + 1] = TILE_TABLE(TILE_BLOCK_ENTRY, BF16);

/* What is fetched while a span is worked on: the pages that are read next, once, a line for each line that is read. */
CPU_INLINE struct cpu_fetch attend_fetch(const struct cpu_attend *a, const struct attend_state *t, const char *base,
                                         int32_t start) {
    const void *next[QUAD];
    attend_next(a, t, base, start, next);
    struct cpu_fetch fetch = {.step = a->type == WEIGHT_F16 ? PANEL * 2 : PANEL * 4};
    for (int i = 0; i < QUAD; i++) fetch.next[i] = next[i];
    return fetch;
}

static void attend_span(const struct cpu_attend *a, struct attend_state *t, int32_t start) {
    const void *keys[QUAD], *values[QUAD];
    attend_pages(a, t, a->k, start, keys);
    attend_pages(a, t, a->v, start, values);
    struct cpu_fetch next_keys = attend_fetch(a, t, a->k, start), next_values = attend_fetch(a, t, a->v, start);
    for (int32_t r = 0, R; r < t->rows; r += R, next_keys.step = 0) {
        R = attend_tile_rows(t->rows, r);
        ATTEND_SCORES[a->type][R](t->s + (size_t)r * SPAN, t->q + (size_t)r * (size_t)a->Dh, keys, a->Dh, true,
                                  &next_keys);
    }
    /* Rows that see the same lanes share their reads of V. */
    for (int32_t r = 0, R; r < t->rows; r += R) {
        int from, to, other_from, other_to;
        attend_range(t, r, start, &from, &to);
        for (R = 1; R < TILE_ROWS && r + R < t->rows; R++) {
            attend_range(t, r + R, start, &other_from, &other_to);
            if (other_from != from || other_to != to) break;
        }
        if (from == to) continue;
        float keep[VEC];
        attend_soften(a, t, r, R, from, to, keep);
        ATTEND_VALUES[a->type][R](t->o + (size_t)r * (size_t)t->W, t->W, t->s + (size_t)r * SPAN, keep, values,
                                  &next_values, from, to);
        next_values.step = 0;
    }
}

CPU_INLINE float attend_exp(float x) {
    float lane[VEC];
    vec_store(lane, vec_exp(vec_set1(x)));
    return lane[0];
}

/* total = total folded with the chunk's state, which is cleared. */
static void attend_fold(struct attend_state *t) {
    for (int32_t r = 0; r < t->rows; r++) {
        if (t->m[r] == -INFINITY && t->l[r] == 0.0f) continue;
        float *o = t->o + (size_t)r * (size_t)t->W, *total = t->total + (size_t)r * (size_t)t->W;
        bool seen = t->total_m[r] != -INFINITY || t->total_l[r] != 0.0f;
        float m = seen && t->total_m[r] > t->m[r] ? t->total_m[r] : t->m[r];
        float before = seen ? attend_exp(t->total_m[r] - m) : 0.0f;
        float now = seen ? attend_exp(t->m[r] - m) : 1.0f;
        t->total_l[r] = t->total_l[r] * before + t->l[r] * now;
        t->total_m[r] = m;
        for (int32_t d = 0; d < t->W; d += VEC) {
            vec kept = vec_mul(vec_load(total + d), vec_set1(before));
            vec_store(total + d, vec_add(kept, vec_mul(vec_load(o + d), vec_set1(now))));
            vec_store(o + d, vec_zero());
        }
        t->m[r] = -INFINITY;
        t->l[r] = 0.0f;
    }
}

static void attend_write(const struct cpu_attend *a, const struct attend_state *t) {
    for (int32_t r = 0; r < t->rows; r++) {
        float *out = a->out + r / a->heads * a->out_stride + (int64_t)(r % a->heads) * a->Dh;
        const float *o = t->total + (size_t)r * (size_t)t->W;
        const vec l = vec_set1(t->total_l[r]);
        for (int32_t d = 0; d < a->Dh; d += VEC)
            vec_store_n(out + d, vec_div(vec_load(o + d), l), vec_lanes(a->Dh - d));
    }
}

/* One chunk's spans, into a state that is clear. */
static void attend_spans(const struct cpu_attend *a, struct attend_state *t, int32_t chunk) {
    int32_t start = t->lowest / SPAN * SPAN, last = t->highest - chunk * CHUNK; /* last lane seen, from the chunk on */
    if (start < chunk * CHUNK) start = chunk * CHUNK;
    for (; start - chunk * CHUNK < CHUNK && start - chunk * CHUNK <= last; start += SPAN) attend_span(a, t, start);
}

static void attend_run(const struct cpu_attend *a, float *scratch) {
    struct attend_state t;
    attend_prepare(a, &t, scratch);
    for (int32_t chunk = t.lowest / CHUNK; chunk <= t.highest / CHUNK; chunk++) {
        attend_spans(a, &t, chunk);
        attend_fold(&t);
    }
    attend_write(a, &t);
}

static void attend_chunk(const struct cpu_attend *a, int32_t chunk, float *state, float *scratch) {
    struct attend_state t;
    attend_prepare(a, &t, scratch);
    attend_spans(a, &t, chunk);
    const size_t rows = (size_t)t.rows, wide = rows * (size_t)t.W;
    memcpy(state, t.o, wide * sizeof(float));
    memcpy(state + wide, t.m, rows * sizeof(float));
    memcpy(state + wide + rows, t.l, rows * sizeof(float));
}

static void attend_merge(const struct cpu_attend *a, const float *states, size_t stride, int32_t chunks,
                         float *scratch) {
    struct attend_state t;
    attend_prepare(a, &t, scratch);
    const size_t rows = (size_t)t.rows, wide = rows * (size_t)t.W;
    for (; chunks > 0; chunks--, states += stride) {
        memcpy(t.o, states, wide * sizeof(float));
        memcpy(t.m, states + wide, rows * sizeof(float));
        memcpy(t.l, states + wide + rows, rows * sizeof(float));
        attend_fold(&t);
    }
    attend_write(a, &t);
}

#endif
