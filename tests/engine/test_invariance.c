/* P1: a sample depends on weights, prompt, settings, seed and sample index, never on what else the engine does: one
 * step at a time, with every row of logits looked at, and then with the engine running ahead. Runs on every device
 * (support.h). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "support.h"
#include "tests/engine/record.h"

enum { PROMPTS = 3, SETTINGS = 3, SAMPLES = 2, RECORDS = SETTINGS * SAMPLES, STRANGERS = 64 };

struct scene {
    struct test_model m;
    struct ids prompt[PROMPTS];
    tempera_sampling settings[SETTINGS];
    struct record alone[PROMPTS][RECORDS]; /* the truth: each request by itself, one thread */
    struct record other[PROMPTS][RECORDS];
    struct job job[PROMPTS];
    bool ahead;
    int32_t tokens, strangers, many; /* how much of it, by how fast the device is */
};

static const char *const prompts[PROMPTS] = {
    "Once upon a time",
    "One day, a little girl named Lily found a big red ball in the park. She wanted to play with it, but her brother "
    "came "
    "and took it. Lily was sad. She sat down on the grass and saw a small white dog. The dog had a stick, and the "
    "stick "
    "was long. \"Do you want to play with me?\" asked Lily, and the dog",
    "The cat",
};

static const char *dtype; /* of the weights; NULL: as in the files */

static tempera_engine_options options(void) {
    tempera_engine_options o = tempera_engine_options_default();
    o.device = test_device();
    o.dtype = dtype;
    o.threads = 1;
    return o;
}

static void set_settings(tempera_sampling *s, int32_t tokens) {
    for (int i = 0; i < SETTINGS; i++) {
        s[i] = tempera_sampling_default();
        s[i].n = SAMPLES;
        s[i].max_tokens = tokens;
        s[i].seed = 7;
    }
    s[1].temperature = 0.7f;
    s[1].top_p = 0.9f;
    s[1].logprobs = 2;
    s[2].temperature = 1.3f;
    s[2].top_k = 20;
    s[2].repetition_penalty = 1.2f;
    s[2].frequency_penalty = 0.1f;
    s[2].temperature_end = 0.6f;
    s[2].dynatemp_range = 0.3f;
}

static void run_scene(struct scene *scene, struct engine *e, struct record (*record)[RECORDS]) {
    for (int p = 0; p < PROMPTS; p++) scene->job[p].record = record[p];
    run_jobs(e, scene->job, PROMPTS);
}

static struct scene *scene_open(const char *folder) {
    static struct scene scene;
    const bool slow = test_device_is_emulated();
    scene = (struct scene){.tokens = slow ? 5 : 24, .strangers = slow ? 8 : STRANGERS, .many = slow ? 8 : 64};
    test_model_open(&scene.m, folder);
    set_settings(scene.settings, scene.tokens);
    for (int p = 0; p < PROMPTS; p++) {
        cr_assert_eq(
            tokenizer_encode(scene.m.tokenizer, prompts[p], strlen(prompts[p]), ENCODE_SPECIAL, &scene.prompt[p], NULL),
            TEMPERA_OK);
        scene.job[p] = (struct job){.prompt = scene.prompt[p].data,
                                    .prompt_count = scene.prompt[p].count,
                                    .settings = scene.settings,
                                    .setting_count = SETTINGS,
                                    .record = scene.alone[p]};
        tempera_engine_options o = options();
        struct engine *e = test_engine_open(&scene.m, &o, false);
        run_jobs(e, &scene.job[p], 1);
        engine_close(e);
    }
    return &scene;
}

static void scene_close(struct scene *scene) {
    for (int p = 0; p < PROMPTS; p++) ids_free(&scene->prompt[p]);
    test_model_close(&scene->m);
}

static void expect_scene(struct scene *scene, const char *what) {
    for (int p = 0; p < PROMPTS; p++) expect_equal(scene->alone[p], scene->other[p], RECORDS, what);
}

static void check_options(struct scene *scene, const tempera_engine_options *o, const char *what) {
    struct engine *e = test_engine_open(&scene->m, o, scene->ahead);
    run_scene(scene, e, scene->other);
    expect_scene(scene, what);
    engine_close(e);
}

static void check_threads_and_chunks(struct scene *scene) {
    static const int32_t chunks[] = {1, 7, 64};
    for (int32_t threads = 1; threads <= (test_device_is_emulated() ? 1 : 3); threads++) {
        tempera_engine_options o = options();
        o.threads = threads;
        check_options(scene, &o, "threads");
    }
    for (size_t i = test_device_is_emulated(); i < sizeof chunks / sizeof *chunks; i++) {
        tempera_engine_options o = options();
        o.max_step_tokens = chunks[i];
        check_options(scene, &o, "prompt chunks");
    }
    tempera_engine_options unshared = options();
    unshared.unshared = true;
    check_options(scene, &unshared, "unshared rows");
    tempera_engine_options narrow = options();
    narrow.max_rows = 2; /* forks wait their turn and are computed again from shared pages */
    check_options(scene, &narrow, "two rows at once");
    narrow.max_branches = 4;
    narrow.no_prefix_reuse = true;
    check_options(scene, &narrow, "two rows, four branches, nothing reused");
}

static void check_strangers(struct scene *scene) {
    static struct job jobs[PROMPTS + STRANGERS];
    static int32_t stranger[STRANGERS][40];
    tempera_engine_options o = options();
    o.threads = 2;
    tempera_sampling wild = tempera_sampling_default();
    wild.temperature = 2.0f;
    wild.max_tokens = scene->tokens + 6;
    for (int i = 0; i < scene->strangers; i++) {
        size_t length = (size_t)(1 + i % 40);
        for (size_t t = 0; t < length; t++) stranger[i][t] = (int32_t)((size_t)i * 31 + t * 17) % 200 + 20;
        jobs[i] = (struct job){.prompt = stranger[i], .prompt_count = length, .settings = &wild, .setting_count = 1};
    }
    for (int p = 0; p < PROMPTS; p++) {
        jobs[scene->strangers + p] = scene->job[p];
        jobs[scene->strangers + p].record = scene->other[p];
    }
    struct engine *e = test_engine_open(&scene->m, &o, scene->ahead);
    run_jobs(e, jobs, (size_t)(PROMPTS + scene->strangers));
    expect_scene(scene, "among strangers");
    engine_close(e);
}

static void check_preemption(struct scene *scene) {
    tempera_engine_options o = options();
    o.context = 192;
    struct engine *roomy = test_engine_open(&scene->m, &o, false);
    size_t page = roomy->plan.kv / (size_t)roomy->plan.pages;
    size_t full = (size_t)((o.context + roomy->plan.page_tokens - 1) / roomy->plan.page_tokens);
    engine_close(roomy);
    o.kv_bytes = page * full; /* one full context for 18 samples */
    struct engine *e = test_engine_open(&scene->m, &o, scene->ahead);
    run_scene(scene, e, scene->other);
    cr_assert_gt(e->rows.preemptions, 0, "nothing was preempted: the test tests nothing");
    expect_scene(scene, "after preemption");
    engine_close(e);
}

static void check_prefix(struct scene *scene) {
    tempera_engine_options o = options();
    struct engine *e = test_engine_open(&scene->m, &o, scene->ahead);
    run_scene(scene, e, scene->other);
    cr_assert_eq(e->stats.recomputed_tokens, 0);
    run_scene(scene, e, scene->other);
    cr_assert_gt(e->rows.reused_tokens, 0, "no page was found again: the test tests nothing");
    expect_scene(scene, "after a prefix hit");
    engine_close(e);
}

/* The middle setting among 63 others of one request, against the same setting alone. */
static void check_among_settings(struct scene *scene) {
    enum { MANY = 64 };
    static tempera_sampling many[MANY];
    static struct record all[MANY * SAMPLES];
    for (int s = 0; s < scene->many; s++) {
        many[s] = scene->settings[1];
        many[s].temperature = 0.2f + 0.2f * (float)(s % 8);
        many[s].top_p = 0.3f + 0.7f * (float)s / (float)scene->many;
    }
    const int32_t middle = scene->many / 2 + scene->many / 12;
    many[middle] = scene->settings[1];
    struct job job = scene->job[0];
    job.settings = many;
    job.setting_count = (size_t)scene->many;
    job.record = all;
    tempera_engine_options o = options();
    struct engine *e = test_engine_open(&scene->m, &o, scene->ahead);
    run_jobs(e, &job, 1);
    expect_equal(scene->alone[0] + SAMPLES, all + middle * SAMPLES, SAMPLES, "among other settings");
    cr_assert_gt(e->rows.forks, 0);
    static struct record single[SAMPLES];
    for (int s = 0; s < scene->many; s++) { /* shared equals unshared, setting by setting */
        job.settings = &many[s];
        job.setting_count = 1;
        job.record = single;
        run_jobs(e, &job, 1);
        expect_equal(single, all + s * SAMPLES, SAMPLES, "one of many settings against a request of its own");
    }
    engine_close(e);
}

/* Prompts of exactly two pages that share the second page but not the first: only the whole prefix may be found again,
 * and the last token of a prompt is computed whatever was found. */
static void check_whole_pages(struct scene *scene) {
    enum { PAGES = 2, MOST = 512 };
    static int32_t ids[PAGES][MOST];
    static struct record alone[PAGES][SAMPLES], together[PAGES][SAMPLES];
    tempera_engine_options o = options();
    struct engine *e = test_engine_open(&scene->m, &o, scene->ahead);
    int32_t page = e->plan.page_tokens;
    cr_assert_leq(2 * page, MOST);
    for (int p = 0; p < PAGES; p++) {
        for (int32_t t = 0; t < 2 * page; t++) ids[p][t] = t < page ? 100 + 50 * p + t : 300 + t;
        struct job job = {.prompt = ids[p],
                          .prompt_count = (size_t)(2 * page),
                          .settings = &scene->settings[1],
                          .setting_count = 1,
                          .record = alone[p]};
        struct engine *fresh = test_engine_open(&scene->m, &o, false);
        run_jobs(fresh, &job, 1);
        engine_close(fresh);
        job.record = together[p];
        run_jobs(e, &job, 1);
        run_jobs(e, &job, 1); /* again: now its own first page is found */
        expect_equal(alone[p], together[p], SAMPLES, "a prompt of whole pages");
    }
    cr_assert_gt(e->rows.reused_tokens, 0);
    engine_close(e);
}

/* Samples 0 … 7 of two settings, against samples 0 … 2 and 3 … 7 made apart. */
static void check_first_sample(struct scene *scene, bool unshared, bool independent) {
    enum { TWO = 2, WHOLE = 8, PARTS = 2 };
    static const int32_t first[PARTS] = {0, 3}, n[PARTS] = {3, 5};
    static struct record whole[TWO * WHOLE], part[TWO * WHOLE];
    tempera_sampling settings[TWO] = {scene->settings[1], scene->settings[2]};
    tempera_engine_options o = options();
    o.unshared = unshared;
    struct engine *e = test_engine_open(&scene->m, &o, scene->ahead);
    struct job job = scene->job[0];
    job.settings = settings;
    job.setting_count = TWO;
    for (int s = 0; s < TWO; s++) settings[s].independent = independent, settings[s].n = WHOLE;
    job.record = whole;
    run_jobs(e, &job, 1);
    int differ = 0;
    for (int i = 0; i < n[1]; i++)
        differ += memcmp(whole[i].tokens, whole[first[1] + i].tokens, sizeof whole[i].tokens) != 0;
    cr_assert_gt(differ, 0, "the first samples are the later ones: the test tests nothing");
    job.record = part;
    for (int p = 0; p < PARTS; p++) {
        for (int s = 0; s < TWO; s++) settings[s].first_sample = first[p], settings[s].n = n[p];
        run_jobs(e, &job, 1);
        for (int s = 0; s < TWO; s++) {
            expect_equal(whole + s * WHOLE + first[p], part + s * n[p], (size_t)n[p], "samples made apart");
        }
    }
    engine_close(e);
}

/* Places for statistics are used again by samples of settings that want more or less of them. */
static void check_few_branches(struct scene *scene) {
    enum { WIDE = 6 };
    static struct record wide[SETTINGS * WIDE], narrow[SETTINGS * WIDE];
    tempera_sampling settings[SETTINGS];
    tempera_engine_options o = options();
    struct job job = scene->job[0];
    for (int s = 0; s < SETTINGS; s++) {
        settings[s] = scene->settings[s];
        settings[s].n = WIDE;
        settings[s].logprobs = (int32_t[]){-1, 5, 0}[s];
        settings[s].max_tokens -= s;
    }
    job.settings = settings;
    for (int i = 0; i < 2; i++) {
        o.max_branches = i == 0 ? SETTINGS * WIDE : 4;
        struct engine *e = test_engine_open(&scene->m, &o, scene->ahead);
        job.record = i == 0 ? wide : narrow;
        run_jobs(e, &job, 1);
        engine_close(e);
    }
    expect_equal(wide, narrow, SETTINGS * WIDE, "four branches at a time");
}

static void check_all(const char *folder) {
    struct scene *scene = scene_open(folder);
    struct engine *e = test_engine_open(
        &scene->m,
        &(tempera_engine_options){.device = test_device(), .max_rows = 1, .max_branches = 1, .max_step_tokens = 1},
        true);
    const int modes = e->run_ahead ? 2 : 1;
    engine_close(e);
    for (int mode = 0; mode < modes; mode++) {
        scene->ahead = mode == 1;
        check_threads_and_chunks(scene);
        check_strangers(scene);
        check_preemption(scene);
        check_prefix(scene);
        check_whole_pages(scene);
        check_among_settings(scene);
        check_few_branches(scene);
        for (int way = 0; way < 4; way++) check_first_sample(scene, way & 1, way & 2);
    }
    scene_close(scene);
}

Test(invariance, demo_model) {
    TEST_NEEDS_DEVICE();
    check_all(test_demo_model());
}

/* Each type of weights has kernels, packing and KV pages of its own; the demo model's own is bf16. */
static void check_type(const char *type) {
    TEST_NEEDS_DEVICE();
    if (test_device_is_emulated()) cr_skip_test("slow there, and without quantised weights");
#ifdef __SANITIZE_ADDRESS__
    if (strcmp(type, "q8") != 0) cr_skip_test("slow here: bits are checked by the optimised build");
#endif
    dtype = type;
    check_all(test_demo_model());
}

Test(invariance, demo_model_f32) {
    check_type("f32");
}

Test(invariance, demo_model_f16) {
    check_type("f16");
}

Test(invariance, demo_model_q8) {
    check_type("q8");
}

Test(invariance, demo_model_q4) {
    check_type("q4");
}

Test(invariance, stories260k) {
    TEST_NEEDS_DEVICE();
    TEST_NEEDS_MODELS("stories260k");
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/stories260k", test_models());
    check_all(folder);
}

/* ---- sharing --------------------------------------------------------------------------------------------------- */

enum { GRID = 64 };

/* The grid of the design: 8 temperatures × 8 top-p. */
static void set_grid(tempera_sampling *grid, int32_t tokens, int32_t n, uint64_t seed) {
    for (int s = 0; s < GRID; s++) {
        grid[s] = tempera_sampling_default();
        grid[s].temperature = 0.2f + 0.2f * (float)(s % 8);
        grid[s].top_p = 0.3f + 0.1f * (float)(s / 8);
        grid[s].max_tokens = tokens;
        grid[s].n = n;
        grid[s].seed = seed;
        grid[s].ignore_eos = true;
    }
}

struct grid_run {
    struct test_model m;
    struct ids prompt;
    tempera_sampling grid[GRID];
    struct job job;
};

static void grid_open(struct grid_run *g, const char *folder) {
    *g = (struct grid_run){.job = {.setting_count = GRID}};
    test_model_open(&g->m, folder);
    cr_assert_eq(tokenizer_encode(g->m.tokenizer, prompts[0], strlen(prompts[0]), ENCODE_SPECIAL, &g->prompt, NULL), 0);
    g->job.prompt = g->prompt.data;
    g->job.prompt_count = g->prompt.count;
    g->job.settings = g->grid;
}

static void grid_close(struct grid_run *g) {
    ids_free(&g->prompt);
    test_model_close(&g->m);
}

/* Runs the grid, `n` samples from `first` on, on an engine of its own. Returns what it took. */
static tempera_stats run_grid(struct grid_run *g, int32_t tokens, int32_t first, int32_t n, int32_t max_rows,
                              int32_t max_branches, struct record *record) {
    tempera_engine_options o = options();
    o.max_rows = max_rows;
    o.max_branches = max_branches;
    set_grid(g->grid, tokens, n, 0);
    for (int s = 0; s < GRID; s++) g->grid[s].first_sample = first;
    g->job.record = record;
    struct engine *e = test_engine_open(&g->m, &o, true);
    run_jobs(e, &g->job, 1);
    tempera_stats stats = e->stats;
    stats.preemptions = e->rows.preemptions;
    engine_close(e);
    return stats;
}

/* Many samples on few rows share as much as on as many rows as there are samples. */
static void check_few_rows(const char *folder) {
    enum { SAMPLES_EACH = 8, TOKENS = 64, ALL = GRID * SAMPLES_EACH };
    static struct record wide[ALL], narrow[ALL];
    static struct grid_run g;
    grid_open(&g, folder);
    tempera_stats a = run_grid(&g, TOKENS, 0, SAMPLES_EACH, ALL, ALL, wide);
    tempera_stats b = run_grid(&g, TOKENS, 0, SAMPLES_EACH, 64, ALL, narrow);
    expect_equal(wide, narrow, ALL, "64 settings × 8 samples on few rows");
    cr_assert_eq(a.row_steps, b.row_steps, "%lu row-steps, not %lu", b.row_steps, a.row_steps);
    cr_assert_gt(b.steps, a.steps, "every row had a slot: the test tests nothing");
    cr_assert_eq(b.preemptions, 0);
    cr_assert_eq(b.recomputed_tokens, 0, "rows that wait keep their pages");
    /* With branches for two waves there is less to share between samples, but no less between settings. */
    tempera_stats c = run_grid(&g, TOKENS, 0, SAMPLES_EACH, 64, 2 * GRID, NULL);
    uint64_t apart = 0;
    for (int32_t k = 0; k < SAMPLES_EACH; k++) apart += run_grid(&g, TOKENS, k, 1, 64, GRID, NULL).row_steps;
    fprintf(stderr,
            "64 settings × 8 samples × 64 tokens: %.2f times fewer row-steps with 512 branches, %.2f with 128, "
            "%.2f sample by sample\n",
            (double)a.generated_tokens / (double)a.row_steps, (double)c.generated_tokens / (double)c.row_steps,
            (double)c.generated_tokens / (double)apart);
    cr_assert_leq(c.row_steps, apart);
    cr_assert_leq(a.row_steps, c.row_steps);
    grid_close(&g);
}

Test(invariance, few_rows_share_as_much_as_many) {
    TEST_NEEDS_DEVICE();
    if (test_device_is_emulated()) cr_skip_test("rows and branches are the host's");
    check_few_rows(test_demo_model());
    TEST_NEEDS_MODELS("stories260k");
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/stories260k", test_models());
    check_few_rows(folder);
}

Test(invariance, sharing_saves_row_steps) {
    TEST_NEEDS_DEVICE();
    TEST_NEEDS_MODELS("stories260k");
    if (test_device_is_emulated()) cr_skip_test("rows and branches are the host's");
    enum { SEEDS = 20 };
    static struct grid_run g;
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/stories260k", test_models());
    grid_open(&g, folder);
    tempera_engine_options o = options();
    struct engine *e = test_engine_open(&g.m, &o, true);
    for (int32_t tokens = 16; tokens <= 64; tokens *= 4) {
        uint64_t rows = e->stats.row_steps, generated = e->stats.generated_tokens;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            set_grid(g.grid, tokens, 1, seed);
            run_jobs(e, &g.job, 1);
        }
        double saving = (double)(e->stats.generated_tokens - generated) / (double)(e->stats.row_steps - rows);
        fprintf(stderr, "64 settings, %d tokens: %.2f times fewer row-steps (mean of %d seeds)\n", (int)tokens, saving,
                SEEDS);
        cr_assert_geq(saving, tokens == 64 ? 2.8 : 12.0);
    }
    engine_close(e);
    grid_close(&g);
}
