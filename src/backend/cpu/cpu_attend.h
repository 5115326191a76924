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

/* The buffers of one call, carved from a thread's scratch. rows = tokens · heads; W = Dh rounded up to whole panels. */
struct attend_state {
    float *q;         /* tiles of rows, each packed [Dh][R] */
    float *s;         /* [rows, SPAN] scores, then probabilities */
    float *o, *total; /* [rows, W] this chunk's sum; that of the chunks before */
    float *m, *l;     /* [rows] of this chunk; l = 0: nothing seen */
    float *total_m, *total_l;
    int32_t rows, W;
};

CPU_INLINE struct attend_state attend_carve(const struct cpu_attend *a, float *scratch) {
    struct attend_state t = {.rows = a->tokens * a->heads, .W = (a->Dh + PANEL - 1) / PANEL * PANEL};
    size_t rows = (size_t)t.rows, wide = rows * (size_t)t.W;
    t.s = scratch;
    t.o = t.s + rows * SPAN;
    t.total = t.o + wide;
    t.q = t.total + wide;
    t.m = t.q + wide;
    t.l = t.m + rows;
    t.total_m = t.l + rows;
    t.total_l = t.total_m + rows;
    return t;
}

CPU_INLINE int32_t attend_position(const struct cpu_attend *a, int32_t row) {
    return a->position + row / a->heads;
}
/* The first position that a query at `position` sees. */
CPU_INLINE int32_t attend_first(const struct cpu_attend *a, int32_t position) {
    return a->window > 0 && position >= a->window ? position - a->window + 1 : 0;
}
/* What a row sees of the span at `start`: lanes [*from, *to), empty when equal. */
CPU_INLINE void attend_range(const struct cpu_attend *a, int32_t row, int32_t start, int *from, int *to) {
    int32_t position = attend_position(a, row), first = attend_first(a, position);
    *to = position - start + 1 > SPAN ? SPAN : position - start + 1 < 0 ? 0 : position - start + 1;
    *from = first - start < 0 ? 0 : first - start;
    if (*from > *to) *from = *to;
}

CPU_INLINE int32_t attend_tile_rows(int32_t rows, int32_t row) {
    return rows - row < TILE_ROWS ? rows - row : TILE_ROWS;
}

static void attend_pack_queries(const struct cpu_attend *a, const struct attend_state *t) {
    for (int32_t r0 = 0; r0 < t->rows; r0 += TILE_ROWS) {
        int32_t R = attend_tile_rows(t->rows, r0);
        float *to = t->q + (size_t)r0 * (size_t)a->Dh;
        for (int32_t r = 0; r < R; r++) {
            int32_t token = (r0 + r) / a->heads, head = (r0 + r) % a->heads;
            const float *from = a->q + token * a->q_stride + (int64_t)head * a->Dh;
            for (int32_t d = 0; d < a->Dh; d++) to[(int64_t)d * R + r] = from[d];
        }
    }
}

/* The span's four pages, as pointers into K or V; places outside [first, last] repeat a page that is inside. */
CPU_INLINE void attend_pages(const struct cpu_attend *a, const float *base, int32_t start, int32_t first, int32_t last,
                             const void *pages[QUAD]) {
    for (int32_t i = 0; i < QUAD; i++) {
        int32_t index = start / PAGE_TOKENS + i;
        if (index < first / PAGE_TOKENS) index = first / PAGE_TOKENS;
        if (index > last / PAGE_TOKENS) index = last / PAGE_TOKENS;
        pages[i] = base + (size_t)a->page[index] * a->page_stride;
    }
}

CPU_INLINE float attend_exp(float x) {
    float lane[VEC];
    vec_store(lane, vec_exp(vec_set1(x)));
    return lane[0];
}

/* Row's scores of one span to probabilities; the state's m and l advance and o is scaled. Lanes [from, to) count. */
CPU_INLINE void attend_soften(const struct cpu_attend *a, const struct attend_state *t, int32_t row, int from, int to) {
    enum { N = SPAN / VEC };
    float *s = t->s + (size_t)row * SPAN;
    const vec none = vec_set1(-INFINITY);
    vec x[N], most = none;
    for (int i = 0; i < N; i++) {
        x[i] = vec_mul(vec_load(s + i * VEC), vec_set1(a->scale));
        if (a->softcap > 0.0f) x[i] = vec_softcap(x[i], a->softcap);
        x[i] = vec_select(vec_first(vec_lanes(to - i * VEC)), x[i], none);
        x[i] = vec_select(vec_first(vec_lanes(from - i * VEC)), none, x[i]);
        most = vec_max(most, x[i]);
    }
    float largest = vec_largest(most);
    float m = t->m[row] > largest ? t->m[row] : largest;
    vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    for (int i = 0; i < N; i++) {
        x[i] = vec_exp(vec_sub(x[i], vec_set1(m)));
        sum[i % 4] = vec_add(sum[i % 4], x[i]);
        vec_store(s + i * VEC, x[i]);
    }
    float added = vec_sum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3])));
    float keep = attend_exp(t->m[row] - m);
    t->m[row] = m;
    t->l[row] = t->l[row] * keep + added;
    if (keep != 1.0f) {
        float *o = t->o + (size_t)row * (size_t)t->W;
        for (int32_t d = 0; d < t->W; d += VEC) vec_store(o + d, vec_mul(vec_load(o + d), vec_set1(keep)));
    }
}

/* o [R, W] += p [R, from … to) · V for P panels of head dimensions that start `offset` floats into each page. */
CPU_INLINE void attend_values(const int R, const int P, float *o, int64_t W, const float *p,
                              const void *const pages[QUAD], int64_t offset, int from, int to) {
    ACC(acc);
    vec w[QUAD * PANEL_VECS];
    ACC_LOAD(R, P, acc, o, W, false);
    for (int page = from / PAGE_TOKENS; page * PAGE_TOKENS < to; page++) {
        const float *v = (const float *)pages[page] + offset;
        int begin = page * PAGE_TOKENS < from ? from : page * PAGE_TOKENS;
        int end = page * PAGE_TOKENS + PAGE_TOKENS > to ? to : page * PAGE_TOKENS + PAGE_TOKENS;
        for (int j = begin; j < end; j++) {
            CPU_UNROLL for (int i = 0; i < P * PANEL_VECS; i++) w[i] =
                vec_load(v + i / PANEL_VECS * (PAGE_TOKENS * PANEL) + (j % PAGE_TOKENS) * PANEL + i % PANEL_VECS * VEC);
            ACC_ADD(R, P, acc, p + j, SPAN, w);
        }
    }
    ACC_STORE(R, P, acc, o, W);
}

typedef void attend_value_tile(float *o, int64_t W, const float *p, const void *const pages[QUAD], int from, int to);

/* All head dimensions: as many panels at a time as the registers hold, then fewer. */
#define ATTEND_VALUES_DEFINE(unused, R)                                                                                \
    static void attend_values_##R(float *o, int64_t W, const float *p, const void *const pages[QUAD], int from,        \
                                  int to) {                                                                            \
        enum { PAGE_PANEL = PAGE_TOKENS * PANEL, P = TILE_PANELS(R) };                                                 \
        int64_t d = 0;                                                                                                 \
        for (; d + P * PANEL <= W; d += P * PANEL) attend_values(R, P, o + d, W, p, pages, d * PAGE_TOKENS, from, to); \
        for (; P > 2 && d + 2 * PANEL <= W; d += 2 * PANEL)                                                            \
            attend_values(R, 2, o + d, W, p, pages, d * PAGE_TOKENS, from, to);                                        \
        for (; P > 1 && d < W; d += PANEL) attend_values(R, 1, o + d, W, p, pages, d * PAGE_TOKENS, from, to);         \
    }
TILE_MAP(ATTEND_VALUES_DEFINE, )

#define ATTEND_VALUES_ENTRY(unused, R) [R] = attend_values_##R,
static attend_value_tile *const ATTEND_VALUES[TILE_ROWS + 1] = {TILE_MAP(ATTEND_VALUES_ENTRY, )};

#define ATTEND_SCORES_ENTRY(unused, R) [R] = tile_F32_##R,
static cpu_tile *const ATTEND_SCORES[TILE_ROWS + 1] = {TILE_MAP(ATTEND_SCORES_ENTRY, )};

static void attend_span(const struct cpu_attend *a, const struct attend_state *t, int32_t start) {
    const void *pages[QUAD];
    int32_t last = attend_position(a, t->rows - 1), first = attend_first(a, a->position);
    attend_pages(a, a->k, start, first, last, pages);
    for (int32_t r = 0; r < t->rows; r += TILE_ROWS)
        ATTEND_SCORES[attend_tile_rows(t->rows, r)](t->s + (size_t)r * SPAN, t->q + (size_t)r * (size_t)a->Dh, pages,
                                                    a->Dh, true, false);
    attend_pages(a, a->v, start, first, last, pages);
    /* Rows that see the same lanes share their reads of V. */
    for (int32_t r = 0, R; r < t->rows; r += R) {
        int from, to, other_from, other_to;
        attend_range(a, r, start, &from, &to);
        for (R = 1; R < TILE_ROWS && r + R < t->rows; R++) {
            attend_range(a, r + R, start, &other_from, &other_to);
            if (other_from != from || other_to != to) break;
        }
        if (from == to) continue;
        for (int32_t i = 0; i < R; i++) attend_soften(a, t, r + i, from, to);
        ATTEND_VALUES[R](t->o + (size_t)r * (size_t)t->W, t->W, t->s + (size_t)r * SPAN, pages, from, to);
    }
}

/* total = total folded with the chunk's state, which is cleared. */
static void attend_fold(const struct attend_state *t) {
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

static void attend_clear(const struct attend_state *t) {
    memset(t->o, 0, sizeof(float) * 2 * (size_t)t->rows * (size_t)t->W); /* o and total lie side by side */
    for (int32_t r = 0; r < t->rows; r++) {
        t->m[r] = t->total_m[r] = -INFINITY;
        t->l[r] = t->total_l[r] = 0.0f;
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

static void attend_run(const struct cpu_attend *a, float *scratch) {
    struct attend_state t = attend_carve(a, scratch);
    int32_t last = attend_position(a, t.rows - 1), first = attend_first(a, a->position);
    attend_pack_queries(a, &t);
    attend_clear(&t);
    for (int32_t start = first / SPAN * SPAN; start <= last; start += SPAN) {
        attend_span(a, &t, start);
        if (start / CHUNK != (start + SPAN) / CHUNK || start + SPAN > last) attend_fold(&t);
    }
    attend_write(a, &t);
}

#endif
