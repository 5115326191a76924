/* The sampler of a device against the processor's: equal logits give the same bytes of every result, whatever the settings,
 * the batch, the padding. Runs on the emulated GPU and, where there is one, on a real one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"

#ifdef __SANITIZE_ADDRESS__
enum { EFFORT = 1 };
#else
enum { EFFORT = 3 };
#endif

enum { R = 6, B = 96 };

static const char *const DEVICES[] = {"simt", "cuda"};
enum { DEVICE_COUNT = sizeof DEVICES / sizeof DEVICES[0] };

#define DEVICE_CALL(d, call)                                                                                           \
    do {                                                                                                               \
        tempera_error err_ = {0}, *err = &err_;                                                                        \
        cr_assert_eq((d)->ops->call, TEMPERA_OK, "%s: %s", (d)->ops->name, err_.message);                              \
    } while (0)

/* A device, prepared to draw, and the processor beside it. */
struct device {
    const struct backend_ops *ops;
    struct backend *backend;
    struct cpu_sampler *cpu;
    int32_t V, rows;
    float *logits; /* device [rows, V] */
    int32_t zeros[64 + 1], places[64 + 1];
};

/* False: it is not there. */
static bool open_device(struct device *d, const char *name, int32_t V, int32_t rows, int32_t branches,
                        int32_t context) {
    tempera_error reason = {0};
    *d = (struct device){.ops = backend_find(name, NULL), .V = V, .rows = rows};
    if (!d->ops || d->ops->open(&d->backend, NULL, &reason) != TEMPERA_OK) return false;
    const struct backend_limits limits = {.L = 1,
                                          .D = 16,
                                          .H = 1,
                                          .Hkv = 1,
                                          .Dh = 16,
                                          .F = 16,
                                          .V = V,
                                          .context = context,
                                          .max_tokens = rows,
                                          .max_logits = rows,
                                          .max_branches = branches,
                                          .pages = 1,
                                          .type = WEIGHT_F32};
    cr_assert_leq(rows, 64);
    DEVICE_CALL(d, prepare(d->backend, &limits, err));
    d->cpu = new_sampler(V, branches, rows, 1);
    d->logits = d->ops->alloc(d->backend, (size_t)rows * (size_t)V * sizeof *d->logits);
    cr_assert_not_null(d->logits);
    for (int32_t i = 0; i <= 64; i++) d->places[i] = i;
    return true;
}

static void close_device(struct device *d) {
    d->ops->free(d->backend, d->logits, (size_t)d->rows * (size_t)d->V * sizeof *d->logits);
    d->ops->close(d->backend);
    cpu_sampler_free(d->cpu);
}

/* Runs `body` on every device that is there. */
static void on_each_device(void (*body)(const char *name)) {
    int found = 0;
    for (int i = 0; i < DEVICE_COUNT; i++) {
        struct backend *backend;
        tempera_error err = {0};
        if (backend_open(&backend, DEVICES[i], NULL, NULL, &err) != TEMPERA_OK) {
            fprintf(stderr, "skipped: %s\n", err.message);
            continue;
        }
        backend->ops->close(backend);
        body(DEVICES[i]);
        found++;
    }
    if (!found) cr_skip_test("neither simt nor cuda opens");
}

static void upload(struct device *d, const float *logits, int32_t rows) {
    const size_t bytes = (size_t)rows * (size_t)d->V * sizeof *logits;
    DEVICE_CALL(d, upload(d->backend, d->logits, logits, bytes, err));
}

static void submit(struct device *d, const struct batch_view *view) {
    bool replay = false;
    DEVICE_CALL(d, step_begin(d->backend, view, &replay, err));
    if (!replay) DEVICE_CALL(d, draw(d->backend, d->logits, d->V, err));
    DEVICE_CALL(d, step_end(d->backend, err));
}

static void draw_on(struct device *d, const struct batch_view *view, struct draw_result *results) {
    submit(d, view);
    DEVICE_CALL(d, step_wait(d->backend, results, err));
}

/* A view of draws alone; decode: one that looks like a decode step, which is padded, recorded and replayed. */
static struct batch_view view_of(const struct device *d, const struct branch_draw *branches, int32_t count,
                                 int32_t rows, bool decode) {
    struct batch_view view = {.R = rows, .B = count, .branch = branches};
    if (!decode) return view;
    view.T = view.S = rows;
    view.token = view.position = view.slot = view.page_start = view.page = d->zeros;
    view.query_start = view.logit_token = d->places;
    return view;
}

static void assert_same(const struct device *d, const struct draw_result *got, const struct draw_result *want,
                        int32_t b) {
    cr_assert(got->token == want->token && got->flags == want->flags && got->kept == want->kept,
              "%s, V %d, branch %d: token %d, flags %u, kept %d; on the cpu %d, %u, %d", d->ops->name, d->V, b,
              got->token, got->flags, got->kept, want->token, want->flags, want->kept);
    cr_assert_eq(got->top_count, want->top_count);
    for (int32_t i = 0; i < want->top_count; i++) cr_assert_eq(got->top_token[i], want->top_token[i], "top %d", i);
    cr_assert(memcmp(got, want, sizeof *got) == 0,
              "%s, V %d, branch %d: statistics %a %a %a %a; on the cpu %a %a %a %a", d->ops->name, d->V, b,
              got->logprob, got->final_logprob, got->entropy, got->kept_mass, want->logprob, want->final_logprob,
              want->entropy, want->kept_mass);
}

static void check_view(struct device *d, const struct batch_view *view, const float *logits) {
    struct draw_result *want = calloc((size_t)view->B, sizeof *want), *got = calloc((size_t)view->B, sizeof *got);
    draw_all(d->cpu, NULL, view->branch, view->B, logits, view->R, d->V, want);
    draw_on(d, view, got);
    for (int32_t b = 0; b < view->B; b++) assert_same(d, &got[b], &want[b], b);
    free(want);
    free(got);
}

/* ---- random settings --------------------------------------------------------------------------------------------- */

struct batch {
    float *logits; /* [R, V] */
    struct sampler_case c[B];
    struct branch_draw branches[B];
};

static struct batch *new_batch(int32_t V, int32_t rows, struct random *r) {
    struct batch *batch = calloc(1, sizeof *batch);
    batch->logits = calloc((size_t)R * (size_t)V, sizeof *batch->logits);
    for (int32_t row = 0; row < rows; row++)
        case_row(r, (enum row_kind)random_below(r, ROW_KINDS), batch->logits + (size_t)row * (size_t)V, V);
    for (int32_t b = 0; b < B; b++) {
        case_settings(r, &batch->c[b], V);
        batch->c[b].params.logprobs = random_below(r, 3) ? -1 : random_below(r, DRAW_TOP_MAX + 1);
        batch->c[b].draw.row = random_below(r, rows);
        batch->c[b].draw.forced = random_below(r, 8) ? -1 : random_below(r, V);
        batch->branches[b] = batch->c[b].draw;
    }
    return batch;
}

static void free_batch(struct batch *batch) {
    free(batch->logits);
    free(batch);
}

static void check_random(const char *name, int32_t V, int rounds) {
    struct device d;
    cr_assert(open_device(&d, name, V, R, B, B * CASE_HISTORY / R));
    for (int round = 0; round < rounds; round++) {
        struct random r = {(uint64_t)(V * 1000 + round)};
        struct batch *batch = new_batch(V, R, &r);
        const struct batch_view view = view_of(&d, batch->branches, B, R, round % 2);
        upload(&d, batch->logits, R);
        check_view(&d, &view, batch->logits);
        free_batch(batch);
    }
    close_device(&d);
}

static void small_vocabularies(const char *name) {
    static const int32_t sizes[] = {1, 2, 3, 63, 64, 65, 257};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) check_random(name, sizes[i], 3 * EFFORT);
}
Test(sampler_device, small_vocabularies) {
    on_each_device(small_vocabularies);
}

static void middle_vocabularies(const char *name) {
    check_random(name, 1000, 3 * EFFORT);
    check_random(name, 4096, EFFORT);
}
Test(sampler_device, middle_vocabularies) {
    on_each_device(middle_vocabularies);
}

static void large_vocabularies(const char *name) {
    check_random(name, 4097, EFFORT);
    check_random(name, 5000, EFFORT);
    check_random(name, 50257, EFFORT > 1 ? 3 : 1);
}
Test(sampler_device, large_vocabularies) {
    on_each_device(large_vocabularies);
}

/* ---- settings that people use, on rows as models give them ------------------------------------------------------- */

/* A few likely tokens over a tail that grows ever less likely. */
static void model_row(struct random *r, float *row, int32_t V) {
    for (int32_t i = 0; i < V; i++) row[i] = (float)(-2.0 + 2.5 * random_normal(r));
    for (int32_t i = 0; i < 300; i++) row[random_below(r, V)] = (float)(10.0 - 1.4 * log(1.0 + i) + random_normal(r));
}

static void usual_settings(const char *name) {
    enum { V = 32000, HISTORY = 1200 };
    struct device d;
    struct random r = {4};
    float *logits = calloc((size_t)2 * V, sizeof *logits);
    static struct sampler_case c[B];
    static struct branch_draw branches[B];
    static int32_t history[2][HISTORY];
    cr_assert(open_device(&d, name, V, 2, B, 2048));
    for (int32_t row = 0; row < 2; row++) {
        model_row(&r, logits + row * V, V);
        for (int32_t i = 0; i < HISTORY; i++) history[row][i] = random_below(&r, i % 3 ? V : 100);
    }
    int32_t count = 0;
    for (int which = 0; which < 14; which++)
        for (int edits = 0; edits < 4; edits++, count++) {
            struct branch_params *p = &c[count].params;
            case_plain(&c[count], 0.8f);
            if (which == 0) p->top_k = 40;
            if (which == 1) p->top_p = 0.9f;
            if (which == 2) p->top_k = 200, p->top_p = 0.95f;
            if (which == 3) p->min_p = 0.05f, p->min_p_distance = -logf(0.05f);
            if (which == 4) p->typical_p = 0.9f;
            if (which == 5) p->temperature = p->inv_temperature = 1.0f; /* the model's own distribution */
            if (which == 6) case_plain(&c[count], 0.0f);
            if (which == 7) p->top_k = 3000, p->top_p = 0.99f;
            if (which == 8) case_plain(&c[count], 100.0f), p->top_p = 0.7f; /* nearly flat */
            if (which == 9) case_plain(&c[count], 1.7f);
            if (which >= 10) p->dynatemp_least = 0.2f, p->dynatemp_spread = 1.2f, p->dynatemp_exponent = 0.8f;
            if (which == 11) p->top_p = 0.9f;
            if (which == 12)
                p->top_k = 40, p->order.stage[2] = TEMPERA_STAGE_TOP_K, p->order.stage[3] = TEMPERA_STAGE_TEMPERATURE;
            if (which == 13) p->order.stage[0] = TEMPERA_STAGE_TEMPERATURE, p->order.stage[2] = TEMPERA_STAGE_PENALTIES;
            if (edits & 1) p->repetition_penalty = 1.2f, p->frequency_penalty = which == 5 ? -0.3f : 0.2f;
            if (edits & 2) c[count].bias[0] = (tempera_logit_bias){3, 4.0f}, p->bias = c[count].bias, p->bias_count = 1;
            p->seed = random_bits(&r);
            p->logprobs = edits == 3 ? 5 : -1;
            c[count].draw.row = which % 2;
            c[count].draw.history = history[which % 2];
            c[count].draw.history_count = HISTORY;
            c[count].draw.prompt_count = HISTORY / 2;
            branches[count] = c[count].draw;
        }
    const struct batch_view view = view_of(&d, branches, count, 2, false);
    upload(&d, logits, 2);
    check_view(&d, &view, logits);
    close_device(&d);
    free(logits);
}
Test(sampler_device, usual_settings) {
    on_each_device(usual_settings);
}

/* ---- rows and edits that leave a list of the best tokens little to decide ------------------------------------------ */

enum { HARD_V = 9000, HARD_CASES = 15 };

/* Filters of every kind, alone, and none. */
static void hard_settings(struct sampler_case *c, int which, float temperature) {
    struct branch_params *p = &c->params;
    case_plain(c, which == 0 ? 0.0f : temperature);
    if (which == 2 || which == 3) p->top_k = which == 2 ? 30 : 90;
    if (which == 4 || which == 5) p->top_p = which == 4 ? 0.05f : 0.6f;
    if (which == 6 || which == 7) p->min_p = 0.5f, p->min_p_distance = which == 6 ? 0.05f : 0.7f;
    if (which == 8 || which == 9) p->typical_p = which == 8 ? 0.004f : 0.6f;
    if (which == 10) p->top_k = 60, p->top_p = 0.7f;
    if (which == 11) p->top_k = 500;
    if (which >= 12) p->dynatemp_least = 0.05f, p->dynatemp_spread = temperature, p->dynatemp_exponent = 1.5f;
    if (which == 13) p->top_k = 100;
    if (which == 14) p->top_p = 0.8f;
    p->order.keep_ties = which % 2;
    p->seed = (uint64_t)which;
    p->logprobs = 3;
}

static void check_hard(const char *name, const float *logits, const int32_t *history, int32_t count,
                       float temperature) {
    static struct sampler_case c[HARD_CASES];
    static struct branch_draw branches[HARD_CASES];
    struct device d;
    cr_assert(open_device(&d, name, HARD_V, 1, HARD_CASES, 2000));
    upload(&d, logits, 1);
    for (int which = 0; which < HARD_CASES; which++) {
        hard_settings(&c[which], which, temperature);
        c[which].params.presence_penalty = count > 0 ? 30.0f : 0.0f;
        c[which].draw.history = history;
        c[which].draw.history_count = count;
        branches[which] = c[which].draw;
    }
    const struct batch_view view = view_of(&d, branches, HARD_CASES, 1, false);
    check_view(&d, &view, logits);
    close_device(&d);
}

/* All that is likely is penalised: the best 1 … 1500 tokens. */
static void likely_tokens_edited(const char *name) {
    static const int32_t counts[] = {1, 70, 300, 1500};
    static float logits[HARD_V];
    static int32_t history[1500];
    for (int32_t i = 0; i < HARD_V; i++) logits[i * 7 % HARD_V] = 20.0f - 0.01f * (float)i; /* 7 and V: coprime */
    for (int32_t i = 0; i < 1500; i++) history[i] = i * 7 % HARD_V;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) check_hard(name, logits, history, counts[i], 0.9f);
}
Test(sampler_device, likely_tokens_edited) {
    on_each_device(likely_tokens_edited);
}

/* Logits that are neighbours among floats: a temperature makes some of them equal. */
static void neighbouring_scores(const char *name) {
    static const float temperatures[] = {0.7f, 1.0f, 1.3f, 1.9f};
    static float logits[HARD_V];
    for (int32_t i = 0; i < HARD_V; i++) logits[i * 7 % HARD_V] = draw_float(draw_bits(8.0f) + (uint32_t)i);
    for (size_t i = 0; i < sizeof temperatures / sizeof temperatures[0]; i++)
        check_hard(name, logits, NULL, 0, temperatures[i]);
    for (int32_t i = 0; i < HARD_V; i++) logits[i] = (float)(i % 100 == 0); /* and many that are equal from the start */
    check_hard(name, logits, NULL, 0, 0.5f);
}
Test(sampler_device, neighbouring_scores) {
    on_each_device(neighbouring_scores);
}

/* Histories of one token, and of two in turn: every n-gram repeats, up to the last one. */
static void repeated_histories(const char *name) {
    enum { V = 4, NGRAMS = 5, LONGEST = 7 };
    static struct sampler_case c[2 * NGRAMS * LONGEST];
    static struct branch_draw branches[2 * NGRAMS * LONGEST];
    static const float logits[V] = {3.0f, 2.0f, 1.0f, 0.0f};
    int32_t count = 0;
    for (int32_t period = 1; period <= 2; period++)
        for (int32_t n = 1; n <= NGRAMS; n++)
            for (int32_t length = 1; length <= LONGEST; length++, count++) {
                case_plain(&c[count], 0.0f);
                for (int32_t i = 0; i < length; i++) c[count].history[i] = i % period;
                c[count].draw.history_count = length;
                c[count].params.no_repeat_ngram = n;
                branches[count] = c[count].draw;
            }
    struct device d;
    cr_assert(open_device(&d, name, V, 1, count, count * LONGEST));
    upload(&d, logits, 1);
    const struct batch_view view = view_of(&d, branches, count, 1, false);
    check_view(&d, &view, logits);
    close_device(&d);
}
Test(sampler_device, repeated_histories) {
    on_each_device(repeated_histories);
}

/* ---- long lists ------------------------------------------------------------------------------------------------- */

/* More edited tokens than a table in shared memory holds, and more than was planned for a step. */
static void long_lists(const char *name) {
    enum { V = 20000, BIASES = 12000, HISTORY = 9000, BRANCHES = 6 };
    struct device d;
    struct random r = {5};
    float *logits = calloc(V, sizeof *logits);
    static tempera_logit_bias bias[BRANCHES][BIASES];
    static int32_t history[BRANCHES][HISTORY];
    static struct sampler_case c[BRANCHES];
    static struct branch_draw branches[BRANCHES];
    cr_assert(open_device(&d, name, V, 1, BRANCHES, 16));
    model_row(&r, logits, V);
    for (int32_t b = 0; b < BRANCHES; b++) {
        for (int32_t i = 0; i < BIASES; i++)
            bias[b][i] = (tempera_logit_bias){i + b * 1000, (float)random_normal(&r) * 2.0f};
        for (int32_t i = 0; i < HISTORY; i++) history[b][i] = random_below(&r, V + 10) - 5; /* some are no tokens */
        case_plain(&c[b], b == 0 ? 0.0f : 1.0f);
        struct branch_params *p = &c[b].params;
        p->bias = bias[b];
        p->bias_count = BIASES;
        p->presence_penalty = 0.5f;
        p->repetition_penalty = 1.1f;
        p->no_repeat_ngram = b == 3 ? 1 : 0;
        p->top_k = b == 4 ? 500 : 0;
        p->top_p = b == 5 ? 0.8f : 1.0f;
        p->logprobs = 2;
        p->seed = (uint64_t)b;
        c[b].draw.history = history[b];
        c[b].draw.history_count = HISTORY;
        branches[b] = c[b].draw;
    }
    upload(&d, logits, 1);
    for (int32_t count = 1; count <= BRANCHES; count++) { /* grows more than once, in both slots */
        const struct batch_view view = view_of(&d, branches, count, 1, false);
        if (count % 3 == 0 || count == 1) check_view(&d, &view, logits);
    }
    close_device(&d);
    free(logits);
}
Test(sampler_device, long_lists) {
    on_each_device(long_lists);
}

/* ---- batches ---------------------------------------------------------------------------------------------------- */

static void order_and_padding(const char *name) {
    enum { V = 300 };
    struct device d;
    struct random r = {6};
    cr_assert(open_device(&d, name, V, R, B, B * CASE_HISTORY / R));
    struct batch *batch = new_batch(V, R, &r);
    static struct draw_result want[B], got[B];
    upload(&d, batch->logits, R);
    draw_all(d.cpu, NULL, batch->branches, B, batch->logits, R, V, want);
    static const int32_t counts[] = {1, 2, 3, 17, 64, 65, B};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (int32_t first = 0; first + counts[i] <= B; first += 31) {
            const struct batch_view view = view_of(&d, batch->branches + first, counts[i], R, true);
            draw_on(&d, &view, got);
            for (int32_t b = 0; b < counts[i]; b++) assert_same(&d, &got[b], &want[first + b], b);
        }
    for (int32_t b = 0; b < B; b++) batch->branches[b] = batch->c[B - 1 - b].draw;
    const struct batch_view reversed = view_of(&d, batch->branches, B, R, false);
    draw_on(&d, &reversed, got);
    for (int32_t b = 0; b < B; b++) assert_same(&d, &got[b], &want[B - 1 - b], b);
    free_batch(batch);
    close_device(&d);
}
Test(sampler_device, order_and_padding) {
    on_each_device(order_and_padding);
}

/* A step drawn while the one before is in flight: the last token of a history is one that the host does not know yet. */
static void feedback(const char *name) {
    enum { V = 50, ROWS = 4 };
    struct device d;
    cr_assert(open_device(&d, name, V, ROWS, B, B * CASE_HISTORY / ROWS));
    for (uint64_t seed = 0; seed < 3 * EFFORT; seed++) {
        struct random r = {seed};
        struct batch *batch = new_batch(V, ROWS, &r), *next = new_batch(V, ROWS, &r);
        static struct draw_result first[B], second[B], want[B];
        static struct branch_draw known[B];
        int32_t token[ROWS];
        upload(&d, batch->logits, ROWS);
        draw_all(d.cpu, NULL, batch->branches, B, batch->logits, ROWS, V, first);
        for (int32_t row = 0; row < ROWS; row++) token[row] = FEEDBACK(random_below(&r, B));
        for (int32_t b = 0; b < B; b++) {
            struct branch_draw *draw = &next->branches[b];
            known[b] = *draw;
            if (draw->history_count == 0) continue;
            next->c[b].history[draw->history_count - 1] = first[FEEDBACK(token[draw->row])].token;
            draw->feedback = true;
        }
        draw_all(d.cpu, NULL, known, B, batch->logits, ROWS, V, want);
        for (int32_t b = 0; b < B; b++) /* the device must not look */
            if (next->branches[b].feedback) next->c[b].history[known[b].history_count - 1] = 7;
        const struct batch_view view = view_of(&d, batch->branches, B, ROWS, seed % 2);
        struct batch_view after = view_of(&d, next->branches, B, ROWS, true);
        after.token = token;
        submit(&d, &view);
        submit(&d, &after);
        DEVICE_CALL(&d, step_wait(d.backend, second, err));
        for (int32_t b = 0; b < B; b++) assert_same(&d, &second[b], &first[b], b);
        DEVICE_CALL(&d, step_wait(d.backend, second, err));
        for (int32_t b = 0; b < B; b++) assert_same(&d, &second[b], &want[b], b);
        free_batch(next);
        free_batch(batch);
    }
    close_device(&d);
}
Test(sampler_device, feedback) {
    on_each_device(feedback);
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static void malformed_branches(const char *name) {
    enum { V = 10 };
    struct device d;
    struct sampler_case c;
    static const float logits[V];
    cr_assert(open_device(&d, name, V, 1, 2, 16));
    upload(&d, logits, 1);
    for (int which = 0; which < 8; which++) {
        case_plain(&c, 1.0f);
        if (which == 0) c.draw.row = 1;
        if (which == 1) c.draw.row = -1;
        if (which == 2) c.draw.forced = V;
        if (which == 3) c.draw.prompt_count = 1;
        if (which == 4) c.draw.history_count = 1, c.draw.history = NULL;
        if (which == 5) c.params.order.stage[1] = c.params.order.stage[0];
        if (which == 6) c.params.temperature = NAN;
        if (which == 7) c.params.bias_count = 1;
        const struct batch_view view = view_of(&d, &c.draw, 1, 1, false);
        struct draw_result result;
        tempera_error expected = {0}, found = {0};
        bool replay;
        cr_assert_eq(cpu_sampler_draw(d.cpu, NULL, &view, logits, V, &result, &expected), TEMPERA_INVALID_ARGUMENT);
        cr_assert_eq(d.ops->step_begin(d.backend, &view, &replay, &found), TEMPERA_INVALID_ARGUMENT, "case %d", which);
        cr_assert_str_eq(found.message, expected.message);
    }
    case_plain(&c, 1.0f);
    const struct batch_view view = view_of(&d, &c.draw, 1, 1, false);
    check_view(&d, &view, logits);
    close_device(&d);
}
Test(sampler_device, malformed_branches) {
    on_each_device(malformed_branches);
}
