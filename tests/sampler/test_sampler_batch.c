/* What a draw must not depend on: batch, row, neighbours, threads, instruction set. And: no allocation, clear errors. */
#include <criterion/criterion.h>
#include <float.h>
#include <stdlib.h>

#include "base/mem.h"
#include "harness.h"

enum { R = 6, B = 96 };

/* R rows of all kinds and B random branches on them. */
struct batch {
    int32_t V;
    float *logits; /* [R, V] */
    struct sampler_case c[B];
    struct branch_draw branches[B];
    struct draw_result results[B];
};

static struct batch *new_batch(int32_t V, uint64_t seed) {
    struct batch *batch = calloc(1, sizeof *batch);
    struct random r = {seed};
    batch->V = V;
    batch->logits = calloc((size_t)(R * V), sizeof *batch->logits);
    for (int32_t row = 0; row < R; row++)
        case_row(&r, (enum row_kind)random_below(&r, ROW_KINDS), batch->logits + row * V, V);
    for (int32_t b = 0; b < B; b++) {
        case_settings(&r, &batch->c[b], V);
        batch->c[b].params.logprobs = random_below(&r, 3) ? -1 : random_below(&r, DRAW_TOP_MAX + 1);
        batch->c[b].draw.row = random_below(&r, R);
        batch->c[b].draw.forced = random_below(&r, 8) ? -1 : random_below(&r, V);
        batch->branches[b] = batch->c[b].draw;
    }
    return batch;
}

static void free_batch(struct batch *batch) {
    free(batch->logits);
    free(batch);
}

static void draw_batch(struct batch *batch, struct cpu_sampler *sampler, struct pool *pool) {
    draw_all(sampler, pool, batch->branches, B, batch->logits, R, batch->V, batch->results);
}

static bool same_result(const struct draw_result *a, const struct draw_result *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* ---- invariance ----------------------------------------------------------------------------------------------- */

static void check_alone(int32_t V, uint64_t seed) {
    struct batch *batch = new_batch(V, seed);
    struct cpu_sampler *sampler = new_sampler(V, B, R, 1), *small = new_sampler(V, 1, 1, 1);
    draw_batch(batch, sampler, NULL);
    for (int32_t b = 0; b < B; b++) {
        struct branch_draw alone = batch->branches[b];
        alone.row = 0;
        struct draw_result got = draw_one(small, &alone, batch->logits + batch->branches[b].row * V, V);
        cr_assert(same_result(&got, &batch->results[b]), "V %d, branch %d: alone %d, in a batch %d", V, b, got.token,
                  batch->results[b].token);
    }
    cpu_sampler_free(small);
    cpu_sampler_free(sampler);
    free_batch(batch);
}

Test(sampler_batch, alone_or_in_a_batch) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        check_alone(1, seed);
        check_alone(33, seed);
        check_alone(513, seed);
        check_alone(5000, seed);
    }
    check_alone(50257, 99);
}

Test(sampler_batch, threads) {
    static const int threads[] = {2, 3, 4, 7};
    for (int32_t V = 300; V < 20000; V = V * 7 + 1) {
        struct batch *batch = new_batch(V, (uint64_t)V);
        struct cpu_sampler *single = new_sampler(V, B, R, 1);
        static struct draw_result expected[B];
        draw_batch(batch, single, NULL);
        memcpy(expected, batch->results, sizeof expected);
        for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
            struct cpu_sampler *sampler = new_sampler(V, B, R, threads[t]);
            struct pool *pool;
            cr_assert_eq(pool_create(&pool, threads[t], NULL), TEMPERA_OK);
            for (int round = 0; round < 5; round++) {
                memset(batch->results, 0xA5, sizeof batch->results);
                draw_batch(batch, sampler, pool);
                for (int32_t b = 0; b < B; b++)
                    cr_assert(same_result(&batch->results[b], &expected[b]), "%d threads, branch %d", threads[t], b);
            }
            pool_free(pool);
            cpu_sampler_free(sampler);
        }
        cpu_sampler_free(single);
        free_batch(batch);
    }
}

Test(sampler_batch, order_of_branches) {
    enum { V = 1000 };
    struct batch *batch = new_batch(V, 7);
    struct cpu_sampler *sampler = new_sampler(V, B, R, 1);
    static struct draw_result expected[B];
    draw_batch(batch, sampler, NULL);
    memcpy(expected, batch->results, sizeof expected);
    for (int32_t b = 0; b < B; b++) batch->branches[b] = batch->c[B - 1 - b].draw;
    draw_batch(batch, sampler, NULL);
    for (int32_t b = 0; b < B; b++) cr_assert(same_result(&batch->results[b], &expected[B - 1 - b]));
    cpu_sampler_free(sampler);
    free_batch(batch);
}

Test(sampler_batch, instruction_sets_agree_bit_for_bit) {
    static const int32_t sizes[] = {1, 15, 16, 17, 63, 64, 65, 130, 1023, 4097, 50257};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (uint64_t seed = 0; seed < (sizes[i] > 5000 ? 2 : 20); seed++) {
            struct batch *batch = new_batch(sizes[i], seed + 100);
            struct cpu_sampler *sampler = new_sampler(sizes[i], B, R, 1);
            static struct draw_result expected[B];
            for (int which = 0; which < INSTRUCTIONS; which++) {
                if (!cpu_sampler_use(sampler, instructions[which])) continue;
                draw_batch(batch, sampler, NULL);
                if (which == 0) memcpy(expected, batch->results, sizeof expected);
                for (int32_t b = 0; b < B; b++)
                    cr_assert(same_result(&batch->results[b], &expected[b]), "%s, V %d, seed %d, branch %d",
                              instructions[which], sizes[i], (int)seed, b);
            }
            cpu_sampler_free(sampler);
            free_batch(batch);
        }
}

/* ---- the loops one by one ------------------------------------------------------------------------------------- */

/* All outputs of every entry of a table, for scores of every kind and length; memory is exact, so that the address
 * sanitizer sees overruns. */
struct loop_outputs {
    struct scan scan;
    float *blocks, *clean, *typical, *kept;
    int32_t *kept_id, *index, *between;
    struct entry *entry;
    uint64_t *histogram;
    struct mass mass, moments;
    struct split split[3];
    struct survey survey[2];
    int32_t found, n_kept, n_index, winner, winner_of_best;
    uint64_t weight;
};

static void *zeros(int32_t n, size_t size) {
    return calloc((size_t)n + PACK_SLACK, size);
}

static struct loop_outputs run_loops(const struct sampler_kernels *k, const float *row, float row_best,
                                     const struct scores *s, float best, uint64_t last) {
    int32_t n = s->n;
    struct loop_outputs o = {.blocks = zeros(n, 4),
                             .clean = zeros(n, 4),
                             .typical = zeros(n, 4),
                             .kept = zeros(n, 4),
                             .kept_id = zeros(n, 4),
                             .index = zeros(n, 4),
                             .between = zeros(n, 4),
                             .entry = zeros(n, sizeof(struct entry)),
                             .histogram = zeros(DIGIT_COUNT, 8)};
    struct noise noise = {1234567890123u, 17, 3};
    k->scan(row, n, o.blocks, &o.scan);
    k->clean(o.clean, row, n, 0.7f);
    o.found = k->find(s, best);
    k->mass(s, best, &o.mass);
    k->moments(s, best, &o.moments);
    k->typicality(o.typical, s, best, 2.5f);
    k->histogram(s, s, best, o.histogram);
    o.n_index = k->collect(s, best - 3.0f, best - 0.5f, o.index);
    o.weight = k->entries(o.entry, s, s, best, NULL, n);
    o.weight += k->entries(o.entry, s, s, best, o.index, o.n_index);
    o.n_kept = k->keep(s, s, last, o.kept, o.kept_id);
    o.split[0] = k->split(s, NULL, best, -INFINITY, INFINITY, o.between);
    o.split[1] = k->split(s, s, best, -INFINITY, best - 1.0f, o.between);
    o.split[2] = k->split(s, s, best, best - 2.0f, best - 0.25f, o.between);
    o.survey[0] = k->survey(s, RANK_LEAST, s, best, row, row_best);
    o.survey[1] = k->survey(s, last > RANK_LEAST ? last : RANK_LEAST, s, best, row, row_best);
    o.winner = k->race(s, RANK_LEAST, s, best, &noise);
    o.winner_of_best = k->race(s, last, s, best, &noise);
    return o;
}

static void compare_loops(const struct loop_outputs *a, const struct loop_outputs *b, int32_t n) {
    size_t bytes = (size_t)n * 4;
    cr_assert(a->scan.max == b->scan.max && a->scan.flags == b->scan.flags && a->scan.finite == b->scan.finite);
    cr_assert_eq(memcmp(a->blocks, b->blocks, bytes), 0, "block maxima");
    cr_assert_eq(memcmp(a->clean, b->clean, bytes), 0, "clean");
    cr_assert_eq(memcmp(a->typical, b->typical, bytes), 0, "typicality");
    cr_assert_eq(memcmp(a->split, b->split, sizeof a->split), 0, "split");
    cr_assert_eq(memcmp(a->between, b->between, (size_t)a->split[2].within * 4), 0, "split's indices");
    for (int i = 0; i < 2; i++)
        cr_assert(a->survey[i].kept == b->survey[i].kept && a->survey[i].weight == b->survey[i].weight &&
                      a->survey[i].row_weight == b->survey[i].row_weight,
                  "survey");
    cr_assert_eq(memcmp(a->histogram, b->histogram, DIGIT_COUNT * sizeof *a->histogram), 0, "histogram");
    cr_assert_eq(memcmp(&a->mass, &b->mass, sizeof a->mass), 0, "mass");
    cr_assert_eq(memcmp(&a->moments, &b->moments, sizeof a->moments), 0, "moments");
    cr_assert_eq(a->n_index, b->n_index);
    cr_assert_eq(memcmp(a->index, b->index, (size_t)a->n_index * 4), 0, "collect");
    cr_assert_eq(a->n_kept, b->n_kept);
    cr_assert_eq(memcmp(a->kept, b->kept, (size_t)a->n_kept * 4), 0, "kept scores");
    cr_assert_eq(memcmp(a->kept_id, b->kept_id, (size_t)a->n_kept * 4), 0, "kept ids");
    cr_assert_eq(memcmp(a->entry, b->entry, (size_t)n * sizeof *a->entry), 0, "entries");
    cr_assert(a->found == b->found && a->winner == b->winner && a->winner_of_best == b->winner_of_best);
    cr_assert_eq(a->weight, b->weight);
}

static void free_loops(struct loop_outputs *o) {
    void *all[] = {o->blocks, o->clean, o->typical, o->kept, o->kept_id, o->index, o->entry, o->between, o->histogram};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

static void check_loops(const float *row, int32_t V, const float *z, const int32_t *id, int32_t n, float scale) {
    struct scores s = {z, id, n, scale};
    struct scan scan, row_scan;
    sampler_portable.scan(z, n, NULL, &scan);
    sampler_portable.scan(row, V, NULL, &row_scan);
    float best = scan.max * scale + 0.0f;
    if (!(best > -INFINITY && best < INFINITY && row_scan.max < INFINITY))
        return; /* the tables other than portable do not take it */
    uint64_t last = draw_rank(score_at(&s, n / 2), id_at(&s, n / 2));
    struct loop_outputs expected = {0};
    for (int which = 0; which < INSTRUCTIONS; which++) {
        if (!instructions_usable(which)) continue;
        struct stages *stages = new_stages(which, n);
        struct loop_outputs got = run_loops(stages->kernels, row, row_scan.max, &s, best, last);
        if (which == 0) {
            expected = got;
        } else {
            compare_loops(&got, &expected, n);
            free_loops(&got);
        }
        free_stages(stages);
    }
    free_loops(&expected);
}

Test(sampler_batch, loops_agree_on_every_length) {
    struct random r = {21};
    for (int32_t n = 1; n < 400; n += 1 + n / 40) {
        for (enum row_kind kind = 0; kind < ROW_KINDS; kind++) {
            int32_t V = 3 * n;
            float *row = malloc((size_t)V * 4), *z = malloc((size_t)n * 4);
            int32_t *id = malloc((size_t)n * 4), step = 1 + random_below(&r, 3);
            case_row(&r, kind, row, V);
            for (int32_t i = 0; i < n; i++) id[i] = i * step + (step > 1 && i % 5 == 0);
            for (int32_t i = 0; i < n; i++) z[i] = draw_clean(row[id[i]]);
            check_loops(row, V, z, id, n, 1.25f);
            for (int32_t i = 0; i < n; i++) z[i] = draw_clean(row[i]);
            check_loops(row, V, z, NULL, n, 0.8f);
            free(row);
            free(z);
            free(id);
        }
    }
}

/* ---- resources and errors ------------------------------------------------------------------------------------- */

Test(sampler_batch, draws_do_not_allocate) {
    enum { V = 3000 };
    struct batch *batch = new_batch(V, 3);
    struct cpu_sampler *sampler = new_sampler(V, B, R, 1);
    size_t calls = mem_stats_get().calls;
    for (int i = 0; i < 20; i++) draw_batch(batch, sampler, NULL);
    cr_assert_eq(mem_stats_get().calls, calls);
    cpu_sampler_free(sampler);
    free_batch(batch);
}

Test(sampler_batch, workspace_is_what_create_takes) {
    size_t before = mem_stats_get().slab_bytes;
    struct cpu_sampler *sampler = new_sampler(50257, 64, 8, 4);
    size_t bytes = cpu_sampler_workspace(50257, 64, 8, 4);
    cr_assert_geq(mem_stats_get().slab_bytes - before, bytes);
    cr_assert_lt(mem_stats_get().slab_bytes - before, bytes + (4u << 20), "rounded to pages at most");
    cpu_sampler_free(sampler);
    cr_assert_eq(mem_stats_get().slab_bytes, before);
    cpu_sampler_free(NULL);
}

Test(sampler_batch, create_refuses) {
    struct cpu_sampler *sampler;
    tempera_error err;
    cr_assert_eq(cpu_sampler_create(&sampler, 0, 1, 1, 1, &err), TEMPERA_UNSUPPORTED);
    cr_assert_eq(cpu_sampler_create(&sampler, (1 << 22) + 1, 1, 1, 1, &err), TEMPERA_UNSUPPORTED);
    cr_assert_eq(cpu_sampler_create(&sampler, 10, 0, 1, 1, &err), TEMPERA_INVALID_ARGUMENT);
    cr_assert_null(sampler);
    mem_fail_after(0);
    cr_assert_eq(cpu_sampler_create(&sampler, 10, 1, 1, 1, &err), TEMPERA_OUT_OF_MEMORY);
    mem_fail_after(-1);
}

static tempera_status try_draw(const struct branch_draw *branch, int32_t rows, int32_t V) {
    static float logits[40];
    struct cpu_sampler *sampler = new_sampler(10, 1, 2, 1);
    struct batch_view view = {.R = rows, .B = 1, .branch = branch};
    struct draw_result result;
    tempera_error err = {TEMPERA_OK, ""};
    tempera_status status = cpu_sampler_draw(sampler, NULL, &view, logits, V, &result, &err);
    cr_assert_eq(err.status, status);
    cpu_sampler_free(sampler);
    return status;
}

Test(sampler_batch, draw_refuses_malformed_branches) {
    struct sampler_case good, bad;
    case_plain(&good, 1.0f);
    cr_assert_eq(try_draw(&good.draw, 2, 10), TEMPERA_OK);
    cr_assert_eq(try_draw(&good.draw, 3, 10), TEMPERA_INVALID_ARGUMENT);
    cr_assert_eq(try_draw(&good.draw, 1, 11), TEMPERA_INVALID_ARGUMENT);
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        case_plain(&bad, 1.0f);                                                                                        \
        change;                                                                                                        \
        cr_assert_eq(try_draw(&bad.draw, 2, 10), TEMPERA_INVALID_ARGUMENT, #change);                                   \
    } while (0)
    REFUSED(bad.draw.row = 2);
    REFUSED(bad.draw.row = -1);
    REFUSED(bad.draw.forced = 10);
    REFUSED(bad.draw.params = NULL);
    REFUSED(bad.draw.prompt_count = 1);
    REFUSED(bad.draw.history_count = -1);
    REFUSED((bad.draw.history_count = 3, bad.draw.history = NULL));
    REFUSED(bad.params.order.stage[0] = TEMPERA_STAGE_COUNT);
    REFUSED(bad.params.order.stage[0] = bad.params.order.stage[1]);
    REFUSED(bad.params.order.count = TEMPERA_STAGE_COUNT + 1);
    REFUSED(bad.params.temperature = NAN);
    REFUSED(bad.params.inv_temperature = INFINITY);
    REFUSED(bad.params.top_p = NAN);
    REFUSED(bad.params.dynatemp_spread = NAN);
    REFUSED((bad.params.dynatemp_spread = bad.params.dynatemp_exponent = 1.0f));
    REFUSED((bad.params.dynatemp_spread = bad.params.dynatemp_least = 1.0f));
    REFUSED(bad.params.repetition_penalty = 0.0f);
    REFUSED(bad.params.no_repeat_ngram = 1025);
    REFUSED(bad.params.logprobs = 33);
    REFUSED(bad.params.bias_count = 1);
#undef REFUSED
}

/* Ids outside the vocabulary, as padding or another tokenizer might leave them, are nobody's tokens. */
Test(sampler_batch, foreign_ids_are_ignored) {
    enum { V = 10 };
    struct cpu_sampler *sampler = new_sampler(V, 1, 1, 1);
    float row[V] = {0};
    struct sampler_case c;
    case_plain(&c, 1.0f);
    c.history[0] = -5;
    c.history[1] = V;
    c.history[2] = INT32_MAX;
    c.draw.history_count = 3;
    c.params.repetition_penalty = 2.0f;
    c.params.presence_penalty = 1.0f;
    c.params.no_repeat_ngram = 1;
    c.bias[0] = (tempera_logit_bias){V + 3, 5.0f};
    c.params.bias = c.bias;
    c.params.bias_count = 1;
    c.suppress[0] = INT32_MIN;
    c.params.suppress = c.suppress;
    c.params.suppress_count = 1;
    c.params.min_tokens = 10;
    c.params.logprobs = 0;
    struct draw_result got = draw_one(sampler, &c.draw, row, V);
    cr_assert(got.token >= 0 && got.kept == V);
    cpu_sampler_free(sampler);
}
