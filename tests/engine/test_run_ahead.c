/* Running ahead changes when things are computed, and nothing else: the same records as one step at a time. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "support.h"
#include "tests/engine/late.h"
#include "tests/engine/record.h"

enum { JOBS = 6, MOST = 40 };

static const char *const prompts[JOBS] = {
    "Once upon a time", "The cat", "One day, a little girl named Lily found a big red ball",
    "Tom and Ben",      "A",       "It was a sunny day and the dog was in the park"};

/* Six requests whose samples end at different times and for different reasons; penalties look at every token so far. */
struct scene {
    struct test_model m;
    struct ids prompt[JOBS];
    tempera_sampling setting[JOBS];
    int32_t stop[JOBS];
    struct job job[JOBS];
    struct record expected[JOBS][2], found[JOBS][2];
    tempera_engine_options options;
};
static struct scene scene;

/* False: the device does not run ahead. */
static bool scene_open(void) {
    const int32_t scale = test_device_is_emulated() ? 1 : 4;
    test_model_open(&scene.m, test_demo_model());
    scene.options = tempera_engine_options_default();
    scene.options.device = test_device();
    scene.options.threads = 1;
    for (int j = 0; j < JOBS; j++) {
        cr_assert_eq(
            tokenizer_encode(scene.m.tokenizer, prompts[j], strlen(prompts[j]), ENCODE_SPECIAL, &scene.prompt[j], NULL),
            TEMPERA_OK);
        tempera_sampling *s = &scene.setting[j];
        *s = tempera_sampling_default();
        s->temperature = 0.5f * (float)j;
        s->max_tokens = (int32_t[]){9, 1, 10, 2, 6, 10}[j] * scale;
        s->seed = (uint64_t)j;
        s->ignore_eos = true;
        s->logprobs = j % 3 - 1;
        s->repetition_penalty = j % 2 ? 1.2f : 1.0f;
        s->no_repeat_ngram = j == 4 ? 2 : 0;
        s->n = j == 3 ? 2 : 1;
        scene.job[j] = (struct job){.prompt = scene.prompt[j].data,
                                    .prompt_count = scene.prompt[j].count,
                                    .settings = s,
                                    .setting_count = 1,
                                    .record = scene.expected[j]};
    }
    struct engine *e = test_engine_open(&scene.m, &scene.options, true);
    bool ahead = e->run_ahead;
    engine_close(e);
    return ahead;
}

static void scene_close(void) {
    for (int j = 0; j < JOBS; j++) ids_free(&scene.prompt[j]);
    test_model_close(&scene.m);
}

#define OPEN_SCENE()                                                                                                   \
    do {                                                                                                               \
        TEST_NEEDS_DEVICE();                                                                                           \
        if (!scene_open()) {                                                                                           \
            scene_close();                                                                                             \
            cr_skip_test("%s does not run ahead", test_device());                                                      \
        }                                                                                                              \
    } while (0)

static void run(struct engine *e, struct record (*record)[2]) {
    for (int j = 0; j < JOBS; j++) scene.job[j].record = record[j];
    run_jobs(e, scene.job, JOBS);
}

static void expect_found(const char *what) {
    for (int j = 0; j < JOBS; j++) expect_equal(scene.expected[j], scene.found[j], (size_t)scene.setting[j].n, what);
}

static struct engine *run_expected(void) {
    struct engine *e = test_engine_open(&scene.m, &scene.options, false);
    run(e, scene.expected);
    return e;
}

/* Makes requests 0, 2 and 5 end by a token that they draw on the way. */
static void stop_on_the_way(void) {
    static const int which[] = {0, 2, 5};
    for (int i = 0; i < 3; i++) {
        const struct record *r = scene.expected[which[i]];
        scene.stop[which[i]] = r->tokens[r->count / 2 + i];
        scene.setting[which[i]].stop_token_ids = &scene.stop[which[i]];
        scene.setting[which[i]].stop_token_count = 1;
    }
}

static void expect_same_counts(const struct engine *a, const struct engine *b) {
    cr_assert_eq(a->stats.steps, b->stats.steps, "%lu steps, not %lu", b->stats.steps, a->stats.steps);
    cr_assert_eq(a->stats.row_steps, b->stats.row_steps);
    cr_assert_eq(a->stats.generated_tokens, b->stats.generated_tokens);
    cr_assert_eq(a->stats.prompt_tokens, b->stats.prompt_tokens);
    cr_assert_eq(a->stats.recomputed_tokens, b->stats.recomputed_tokens);
    cr_assert_eq(a->rows.forks, b->rows.forks);
}

Test(run_ahead, changes_nothing) {
    OPEN_SCENE();
    for (int variant = 0; variant < 3; variant++) {
        static const char *const what[] = {"samples that end by length", "that stop on the way", "prompts in pieces"};
        if (variant == 1) stop_on_the_way();
        if (variant == 2) scene.options.max_step_tokens = 4;
        struct engine *one = run_expected(), *ahead = test_engine_open(&scene.m, &scene.options, true);
        int64_t overlaps = late_overlaps, draws = late_draws;
        run(ahead, scene.found);
        expect_found(what[variant]);
        expect_same_counts(one, ahead);
        if (variant == 0 && !test_device_is_emulated())
            cr_assert_eq(late_draws - draws, (int64_t)ahead->stats.generated_tokens, "a draw in vain");
        if (!test_device_is_emulated()) { /* all but the first few overlap the one before; pieces of prompts wait */
            int64_t waits = (int64_t)ahead->stats.steps - (late_overlaps - overlaps);
            cr_assert_leq(waits, variant == 2 ? 16 : 6, "%ld of %lu steps wait", (long)waits, ahead->stats.steps);
        }
        engine_close(one);
        engine_close(ahead);
    }
    scene_close();
}

/* Two samples fill the pages of one context: running ahead stops where a page would have to be taken from the other. */
Test(run_ahead, pages_that_run_out) {
    OPEN_SCENE();
    struct engine *roomy = test_engine_open(&scene.m, &scene.options, false);
    const int32_t page = roomy->plan.page_tokens;
    scene.options.context = 2 * page;
    scene.options.kv_bytes = roomy->plan.kv / (size_t)roomy->plan.pages * 2;
    engine_close(roomy);
    const int which[] = {0, 5};
    for (int i = 0; i < 2; i++) {
        struct job *job = &scene.job[which[i]];
        scene.setting[which[i]].max_tokens = page + 4 * i;
        for (int ahead = 0; ahead < 2; ahead++) {
            struct engine *e = test_engine_open(&scene.m, &scene.options, ahead);
            job->record = ahead ? scene.found[which[i]] : scene.expected[which[i]];
            run_jobs(e, job, 1);
            engine_close(e);
        }
        expect_equal(scene.expected[which[i]], scene.found[which[i]], 1, "alone in few pages");
    }
    struct engine *ahead = test_engine_open(&scene.m, &scene.options, true);
    for (int i = 0; i < 2; i++) submit_job(ahead, &scene.job[which[i]]);
    tempera_error err = {0};
    while (step_jobs(ahead, &err)) cr_assert_eq(err.status, TEMPERA_OK, "%s", err.message);
    for (int i = 0; i < 2; i++) expect_equal(scene.expected[which[i]], scene.found[which[i]], 1, "two in few pages");
    cr_assert_gt(ahead->rows.preemptions, 0, "nothing was preempted: the test tests nothing");
    engine_close(ahead);
    scene_close();
}

/* More requests than rows: the engine runs ahead while all rows are busy, and stops for each that is free. */
Test(run_ahead, rows_and_branches_that_run_out) {
    OPEN_SCENE();
    engine_close(run_expected());
    stop_on_the_way();
    engine_close(run_expected());
    for (int32_t rows = 1; rows <= 3; rows++) {
        scene.options.max_rows = rows;
        scene.options.max_branches = 4 - rows;
        struct engine *ahead = test_engine_open(&scene.m, &scene.options, true);
        int64_t overlaps = late_overlaps;
        run(ahead, scene.found);
        expect_found("few rows");
        cr_assert(late_overlaps > overlaps || test_device_is_emulated());
        engine_close(ahead);
    }
    scene_close();
}

/* A request that comes while a step is in flight, at every moment. */
Test(run_ahead, requests_that_come_later) {
    OPEN_SCENE();
    engine_close(run_expected());
    for (int at = 1; at < (test_device_is_emulated() ? 3 : 12); at++) {
        struct engine *ahead = test_engine_open(&scene.m, &scene.options, true);
        tempera_error err = {0};
        for (int j = 0; j < JOBS; j++) {
            scene.job[j].record = scene.found[j];
            submit_job(ahead, &scene.job[j]);
            for (int i = 0; i < at; i++) step_jobs(ahead, &err);
            cr_assert(at < 2 || scene.found[j][0].count > 0, "a request waits while others run");
        }
        while (step_jobs(ahead, &err)) cr_assert_eq(err.status, TEMPERA_OK, "%s", err.message);
        expect_found("requests one after the other");
        engine_close(ahead);
    }
    scene_close();
}

/* Cancelled with a step in flight: what it had is a prefix of what it would have become, and nobody else notices. */
Test(run_ahead, cancelling) {
    OPEN_SCENE();
    engine_close(run_expected());
    for (int at = 1; at < 8; at++) {
        struct engine *ahead = test_engine_open(&scene.m, &scene.options, true);
        tempera_error err = {0};
        uint64_t id[JOBS];
        for (int j = 0; j < JOBS; j++) {
            scene.job[j].record = scene.found[j];
            id[j] = submit_job(ahead, &scene.job[j]);
        }
        for (int i = 0; i < at; i++) step_jobs(ahead, &err);
        engine_cancel(ahead, id[2]);
        const int32_t had = scene.found[2][0].count;
        step_jobs(ahead, &err);
        cr_assert(scene.found[2][0].done && scene.found[2][0].finish == TEMPERA_FINISH_CANCELLED);
        cr_assert_eq(scene.found[2][0].count, had, "a cancelled sample got a token");
        cr_assert_eq(memcmp(scene.found[2][0].tokens, scene.expected[2][0].tokens, (size_t)had * sizeof(int32_t)), 0);
        while (step_jobs(ahead, &err)) cr_assert_eq(err.status, TEMPERA_OK, "%s", err.message);
        scene.found[2][0] = scene.expected[2][0];
        expect_found("beside a cancelled request");
        if (at == 7) { /* all of them: the step in flight is of nobody */
            for (int j = 0; j < JOBS; j++) submit_job(ahead, &scene.job[j]);
            for (int i = 0; i < at; i++) step_jobs(ahead, &err);
            engine_cancel(ahead, 0);
            cr_assert_not(step_jobs(ahead, &err));
        }
        engine_close(ahead);
    }
    scene_close();
}

Test(run_ahead, scoring_and_closing) {
    OPEN_SCENE();
    stop_on_the_way();
    struct engine *one = run_expected(), *ahead = test_engine_open(&scene.m, &scene.options, true);
    tempera_token_stat a[MOST], b[MOST];
    tempera_error err = {0};
    const struct ids *ids = &scene.prompt[2];
    cr_assert_leq(ids->count, (size_t)MOST);
    for (int times = 0; times < 3; times++) { /* between runs, with either batch the oldest */
        run_jobs(ahead, &scene.job[times], 1);
        cr_assert_eq(engine_score(one, ids->data, ids->count, NULL, 0, NULL, 0, a, NULL, &err), TEMPERA_OK, "%s",
                     err.message);
        cr_assert_eq(engine_score(ahead, ids->data, ids->count, NULL, 0, NULL, 0, b, NULL, &err), TEMPERA_OK, "%s",
                     err.message);
        for (size_t i = 1; i < ids->count; i++) cr_assert_eq(a[i].logprob, b[i].logprob);
    }
    submit_job(ahead, &scene.job[2]);
    for (int i = 0; i < 3; i++) step_jobs(ahead, &err);
    cr_assert_eq(ahead->in_flight, 1, "the next step should be under way");
    cr_assert_eq(engine_score(ahead, ids->data, ids->count, NULL, 0, NULL, 0, b, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    engine_close(ahead);
    engine_close(one);
    scene_close();
    cr_assert_eq(mem_stats_get().live, 0, "%zu blocks are left", mem_stats_get().live);
}

Test(run_ahead, allocates_nothing) {
    OPEN_SCENE();
    struct engine *ahead = test_engine_open(&scene.m, &scene.options, true);
    tempera_error err = {0};
    scene.job[2].record = NULL; /* the record reads logits into memory of its own */
    submit_job(ahead, &scene.job[2]);
    size_t calls = mem_stats_get().calls;
    for (int i = 0; i < 8; i++) cr_assert(step_jobs(ahead, &err));
    cr_assert_eq(mem_stats_get().calls, calls);
    engine_close(ahead);
    scene_close();
}

/* A submission or a wait that fails is reported, loses nothing and may be tried again: the same records in the end. */
Test(run_ahead, failures) {
    OPEN_SCENE();
    if (test_device_is_emulated()) {
        scene_close();
        cr_skip_test("faults are those of late.h");
    }
    engine_close(run_expected());
    stop_on_the_way();
    engine_close(run_expected());
    int64_t *const faults[] = {&late_fail_linear, &late_fail_wait};
    for (int f = 0; f < 2; f++)
        for (int64_t n = 1, last = 1; last > 0; n += f == 0 && n > 100 ? 17 : 1) {
            struct engine *ahead = test_engine_open(&scene.m, &scene.options, true);
            int failed = 0;
            for (int j = 0; j < JOBS; j++) {
                scene.job[j].record = scene.found[j];
                submit_job(ahead, &scene.job[j]);
            }
            *faults[f] = n;
            for (bool active = true; active;) {
                tempera_error err = {0};
                active = step_jobs(ahead, &err);
                if (err.status == TEMPERA_OK) continue;
                cr_assert_eq(err.status, TEMPERA_DEVICE, "%s", err.message);
                failed++;
            }
            last = failed;
            *faults[f] = 0;
            cr_assert_leq(failed, 1);
            expect_found(f == 0 ? "after a failed submission" : "after a failed wait");
            engine_close(ahead);
        }
    scene_close();
}
