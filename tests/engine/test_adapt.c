/* Settings that change from token to token: the formulas, and that a sample has them whatever the engine does. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/adapt.h"
#include "engine/settings.h"
#include "support.h"
#include "tests/engine/late.h"
#include "tests/engine/record.h"

/* ---- the formulas ------------------------------------------------------------------------------------------------ */

static struct branch_params params_at(const tempera_sampling *s, int32_t generated, int32_t distinct) {
    struct branch_params p;
    cr_assert_eq(tempera_sampling_check(s, 0, NULL), TEMPERA_OK);
    cr_assert_eq(branch_params_build(&p, s, 0, NULL, NULL, 0, NULL), TEMPERA_OK);
    adapt_params(&p, s, generated + 7, distinct); /* what it was before leaves no trace */
    adapt_params(&p, s, generated, distinct);
    return p;
}

static tempera_sampling schedule(float start, float end, int32_t tokens, float power) {
    tempera_sampling s = tempera_sampling_default();
    s.temperature = start;
    s.temperature_end = end;
    s.schedule_tokens = tokens;
    s.schedule_power = power;
    return s;
}

Test(adapt, schedules_by_their_formula) {
    static const float powers[] = {0.01f, 0.5f, 1.0f, 2.0f, 3.3f, 100.0f};
    static const float ends[][2] = {{1.0f, 0.2f}, {0.3f, 2.0f}, {1.0f, 0.0f}, {0.0f, 1.0f}, {0.7f, 1000.0f}};
    for (size_t p = 0; p < sizeof powers / sizeof powers[0]; p++)
        for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++)
            for (int32_t tokens = 1; tokens < 100; tokens += 7)
                for (int32_t t = 0; t < tokens + 3; t++) {
                    tempera_sampling s = schedule(ends[e][0], ends[e][1], tokens, powers[p]);
                    s.top_p = 0.9f;
                    s.top_p_end = 0.1f;
                    double x = pow(fmin(1.0, (double)t / tokens), (double)powers[p]);
                    double T = (double)ends[e][0] + ((double)ends[e][1] - (double)ends[e][0]) * x;
                    if (t > 0 && t < tokens) T = fmax(T, 0.0001);
                    struct branch_params got = params_at(&s, t, -1);
                    double error = 2e-6 * fmax((double)ends[e][0], (double)ends[e][1]);
                    cr_assert_float_eq((double)got.temperature, T, error, "%g to %g, power %g, %d of %d: %g, not %g",
                                       (double)ends[e][0], (double)ends[e][1], (double)powers[p], t, tokens,
                                       (double)got.temperature, T);
                    cr_assert_float_eq((double)got.top_p, 0.9 - 0.8 * x, 2e-6);
                    cr_assert_eq(got.inv_temperature, got.temperature > 0 ? 1.0f / got.temperature : 0.0f);
                    if (t == 0) cr_assert(got.temperature == ends[e][0] && got.top_p == 0.9f);
                    if (t >= tokens) cr_assert(got.temperature == ends[e][1] && got.top_p == 0.1f);
                    cr_assert_eq(got.temperature == 0.0f, T == 0.0, "greedy only where the end is");
                }
}

Test(adapt, schedules_that_take_max_tokens) {
    tempera_sampling s = schedule(1.0f, 0.0f, 0, 1.0f);
    s.max_tokens = 4;
    for (int32_t t = 0; t < 8; t++)
        cr_assert_eq(params_at(&s, t, 0).temperature, t < 4 ? 1.0f - 0.25f * (float)t : 0.0f);
    s.max_tokens = 1; /* the one draw is the start's */
    cr_assert_eq(params_at(&s, 0, 0).temperature, 1.0f);
    s.max_tokens = 0; /* scoring looks at tokens all the same */
    cr_assert_eq(params_at(&s, 0, 0).temperature, 1.0f);
    cr_assert_eq(params_at(&s, 1, 0).temperature, 0.0f);
    s = schedule(1.0f, 0.0f, INT32_MAX, 1.0f);
    cr_assert_eq(params_at(&s, INT32_MAX - 7, 0).temperature, 0.0001f, "the least temperature before it is greedy");
}

Test(adapt, dynatemp_is_around_the_schedule) {
    tempera_sampling s = schedule(1.0f, 0.0f, 4, 1.0f);
    s.dynatemp_range = 0.5f;
    for (int32_t t = 0; t <= 4; t++) {
        struct branch_params p = params_at(&s, t, 0);
        float T = 1.0f - 0.25f * (float)t, least = T > 0.5f ? T - 0.5f : 0.0001f;
        if (t < 4) cr_assert(p.dynatemp_least == least && p.dynatemp_spread == T + 0.5f - least);
        if (t == 4) cr_assert(p.temperature == 0.0f && p.dynatemp_spread == 0.0f, "greedy is greedy");
    }
}

Test(adapt, distinct_tokens_lower_top_p) {
    tempera_sampling s = tempera_sampling_default();
    s.top_p = 0.8f;
    s.top_p_distinct = 0.5f;
    cr_assert_eq(params_at(&s, 0, 0).top_p, 0.8f);
    cr_assert_eq(params_at(&s, 1, 1).top_p, 0.4f);
    cr_assert_eq(params_at(&s, 4, 2).top_p, 0.6f);
    s.top_p = s.top_p_distinct = 1.0f;
    cr_assert_eq(params_at(&s, 0, 0).top_p, 1.0f, "off before the first token");
    cr_assert_eq(params_at(&s, 9, 9).top_p, 0.0f, "and the best token alone while all differ");
    static const int32_t tokens[] = {5, 3, 5};
    cr_assert(adapt_is_new(tokens, 0, 5) && !adapt_is_new(tokens, 1, 5) && adapt_is_new(tokens, 3, 4));
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

enum { SETTINGS = 6, SAMPLES = 2, RECORDS = SETTINGS * SAMPLES, MOST = 64 };

struct scene {
    struct test_model m;
    struct ids prompt;
    tempera_engine_options options;
    tempera_sampling setting[SETTINGS];
    struct job job;
    int32_t tokens;
    struct record expected[RECORDS], found[RECORDS];
};
static struct scene scene;

static void set_settings(tempera_sampling *s) {
    for (int i = 0; i < SETTINGS; i++) {
        s[i] = schedule(1.0f, i == 5 ? -1.0f : 0.3f, scene.tokens - 4, 1.0f);
        s[i].n = SAMPLES;
        s[i].max_tokens = scene.tokens;
        s[i].seed = 3;
        s[i].ignore_eos = true;
        s[i].logprobs = 1;
    }
    s[1].schedule_power = 2.5f;
    s[1].top_p_end = 0.5f;
    s[2].top_p = 0.95f;
    s[2].top_p_distinct = 0.4f;
    s[3].dynatemp_range = 0.4f;
    s[3].dynatemp_exponent = 1.5f;
    s[3].independent = true;
    s[4].temperature_end = 0.0f;
    s[5].top_p_distinct = 0.6f;
    s[5].dynatemp_range = 1.0f;
}

static void scene_open(void) {
    static const char text[] = "Once upon a time, there was a little dog";
    test_model_open(&scene.m, test_demo_model());
    scene.options = tempera_engine_options_default();
    scene.options.device = test_device();
    scene.options.threads = 1;
    scene.tokens = test_device_is_emulated() ? 8 : 24;
    cr_assert_eq(tokenizer_encode(scene.m.tokenizer, text, strlen(text), ENCODE_SPECIAL, &scene.prompt, NULL),
                 TEMPERA_OK);
    cr_assert_leq(scene.prompt.count + (size_t)scene.tokens, MOST);
    set_settings(scene.setting);
    scene.job = (struct job){.prompt = scene.prompt.data,
                             .prompt_count = scene.prompt.count,
                             .settings = scene.setting,
                             .setting_count = SETTINGS};
}

static void scene_close(void) {
    ids_free(&scene.prompt);
    test_model_close(&scene.m);
}

#define OPEN_SCENE()                                                                                                   \
    do {                                                                                                               \
        TEST_NEEDS_DEVICE();                                                                                           \
        scene_open();                                                                                                  \
    } while (0)

static void run(struct engine *e, const tempera_sampling *settings, size_t count, struct record *record) {
    scene.job.settings = settings;
    scene.job.setting_count = count;
    scene.job.record = record;
    run_jobs(e, &scene.job, 1);
}

static void run_with(const tempera_engine_options *o, bool ahead, struct record *record) {
    struct engine *e = test_engine_open(&scene.m, o, ahead);
    run(e, scene.setting, SETTINGS, record);
    engine_close(e);
}

/* What the settings are does not depend on how the engine comes to its draws. */
Test(adapt, samples_are_pure) {
    OPEN_SCENE();
    run_with(&scene.options, false, scene.expected);
    for (int i = 0; i < RECORDS; i++) cr_assert_eq(scene.expected[i].count, scene.tokens);
    static const char *const what[] = {"running ahead", "prompts in pieces", "unshared rows",
                                       "few branches",  "on the cpu",        "two rows"};
    for (int variant = 0; variant < 6; variant++) {
        tempera_engine_options o = scene.options;
        if (variant == 1) o.max_step_tokens = 3;
        if (variant == 2) o.unshared = true;
        if (variant == 3) o.max_branches = 2;
        if (variant == 4) o.device = "cpu";
        if (variant == 5) o.max_rows = 2;
        if (variant == 4 && test_device_is_emulated()) continue; /* its logits have other last bits */
        run_with(&o, true, scene.found);
        expect_equal(scene.expected, scene.found, RECORDS, what[variant]);
    }
    struct engine *e = test_engine_open(&scene.m, &scene.options, true);
    for (int s = 0; s < SETTINGS; s++) { /* alone; on a device that runs ahead, with a step in flight all the time */
        tempera_sampling one = scene.setting[s];
        one.n = 1;
        int64_t overlaps = late_overlaps;
        run(e, &one, 1, scene.found);
        expect_equal(&scene.expected[s * SAMPLES], scene.found, 1, "one setting alone");
        bool waits = adapt_needs_tokens(&one);
        if (e->run_ahead && !test_device_is_emulated())
            cr_assert_eq(late_overlaps - overlaps, waits ? 0 : scene.tokens - 1, "setting %d", s);
    }
    engine_close(e);
    scene_close();
}

Test(adapt, preemption) {
    OPEN_SCENE();
    if (test_device_is_emulated()) {
        scene_close();
        cr_skip_test("rows and branches are the host's");
    }
    run_with(&scene.options, false, scene.expected);
    tempera_engine_options o = scene.options;
    o.context = 96;
    struct engine *roomy = test_engine_open(&scene.m, &o, false);
    size_t page = roomy->plan.kv / (size_t)roomy->plan.pages;
    size_t full = (size_t)((o.context + roomy->plan.page_tokens - 1) / roomy->plan.page_tokens);
    engine_close(roomy);
    o.kv_bytes = page * full;
    struct engine *e = test_engine_open(&scene.m, &o, true);
    run(e, scene.setting, SETTINGS, scene.found);
    cr_assert_gt(e->rows.preemptions, 0, "nothing was preempted: the test tests nothing");
    expect_equal(scene.expected, scene.found, RECORDS, "after preemption");
    engine_close(e);
    scene_close();
}

/* A schedule that goes nowhere is none; one of one token is the start's setting for one token, then the end's. */
Test(adapt, schedules_and_plain_settings) {
    OPEN_SCENE();
    tempera_sampling plain = schedule(0.8f, -1.0f, 0, 1.0f), still = plain, step, end;
    plain.top_p = still.top_p = 0.9f;
    plain.n = still.n = 1;
    plain.max_tokens = still.max_tokens = scene.tokens;
    plain.logprobs = still.logprobs = 0;
    plain.ignore_eos = still.ignore_eos = true;
    still.temperature_end = 0.8f;
    still.top_p_end = 0.9f;
    still.schedule_power = 0.7f;
    struct engine *e = test_engine_open(&scene.m, &scene.options, true);
    run(e, &plain, 1, scene.expected);
    run(e, &still, 1, scene.found);
    expect_equal(scene.expected, scene.found, 1, "a schedule from T to T");

    step = plain;
    step.temperature_end = 1.6f;
    step.top_p_end = 1.0f;
    for (int32_t tokens = 1; tokens <= 4; tokens += 3) {
        int32_t ids[MOST];
        const struct ids prompt = scene.prompt;
        step.schedule_tokens = tokens;
        step.schedule_power = 100.0f; /* (3/4)^100 is lost beside the start */
        run(e, &step, 1, scene.found);
        cr_assert_eq(memcmp(scene.found[0].tokens, scene.expected[0].tokens, (size_t)tokens * sizeof *ids), 0);
        memcpy(ids, prompt.data, prompt.count * sizeof *ids);
        memcpy(ids + prompt.count, scene.found[0].tokens, (size_t)tokens * sizeof *ids);
        end = plain;
        end.temperature = 1.6f;
        end.top_p = 1.0f;
        end.max_tokens -= tokens;
        scene.job.prompt = ids;
        scene.job.prompt_count = prompt.count + (size_t)tokens;
        run(e, &end, 1, &scene.found[1]);
        scene.job.prompt = prompt.data;
        scene.job.prompt_count = prompt.count;
        cr_assert_eq(scene.found[1].count, scene.tokens - tokens);
        cr_assert_eq(
            memcmp(scene.found[1].tokens, scene.found[0].tokens + tokens, (size_t)scene.found[1].count * sizeof *ids),
            0, "from the end of the schedule on");
    }
    engine_close(e);
    scene_close();
}

/* ---- statistics, token by token ---------------------------------------------------------------------------------- */

static tempera_token_stat streamed[MOST];
static int32_t stream_token[MOST], stream_count;

static void on_token(const tempera_token_event *event) {
    stream_token[stream_count] = event->token;
    streamed[stream_count++] = *event->stat;
}

static void generate(struct engine *e, const tempera_sampling *s) {
    tempera_request request = {.prompt = scene.prompt.data,
                               .prompt_count = scene.prompt.count,
                               .settings = s,
                               .setting_count = 1,
                               .on_token = on_token};
    tempera_error err = {0};
    stream_count = 0;
    cr_assert_eq(engine_submit(e, &request, NULL, &err), TEMPERA_OK, "%s", err.message);
    for (bool active = true; active;) cr_assert_eq(engine_step(e, &active, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(stream_count, s->max_tokens);
}

static int32_t count_distinct(const int32_t *tokens, int32_t count) {
    int32_t distinct = 0;
    for (int32_t i = 0; i < count; i++) {
        bool first = true;
        for (int32_t j = 0; j < i; j++) first &= tokens[j] != tokens[i];
        distinct += first;
    }
    return distinct;
}

/* The plain setting that a linear schedule and the distinct share come to, after `tokens`. */
static tempera_sampling plain_at(const tempera_sampling *s, const int32_t *tokens, int32_t count) {
    tempera_sampling plain = *s;
    float x = count >= s->schedule_tokens ? 1.0f : (float)count / (float)s->schedule_tokens;
    if (s->temperature_end >= 0) plain.temperature += (s->temperature_end - s->temperature) * x;
    if (count > 0) plain.top_p *= 1.0f - s->top_p_distinct * ((float)count_distinct(tokens, count) / (float)count);
    plain.temperature_end = plain.top_p_end = -1.0f;
    plain.top_p_distinct = 0.0f;
    return plain;
}

static void expect_stat(const tempera_token_stat *got, const tempera_token_stat *want, const char *what, int32_t t) {
    cr_assert(got->final_logprob == want->final_logprob && got->kept == want->kept &&
                  got->kept_mass == want->kept_mass && got->logprob == want->logprob,
              "%s, token %d: %a kept %d, not %a kept %d", what, t, (double)got->final_logprob, got->kept,
              (double)want->final_logprob, want->kept);
}

static tempera_sampling changing_setting(int which) {
    tempera_sampling s = schedule(1.0f, which == 1 ? -1.0f : 0.5f, scene.tokens / 2, 1.0f);
    s.max_tokens = scene.tokens;
    s.logprobs = 0;
    s.ignore_eos = true;
    s.top_p = 0.95f;
    s.top_p_distinct = which == 0 ? 0.0f : 0.5f;
    s.dynatemp_range = which == 2 ? 0.2f : 0.0f;
    if (which < 3) return s;
    static tempera_logit_bias bias[8]; /* a text of eight tokens: each comes again, also at once */
    for (int i = 0; i < 8; i++) bias[i] = (tempera_logit_bias){100 + i, 40.0f};
    s.logit_bias = bias;
    s.logit_bias_count = 8;
    s.temperature = 4.0f;
    s.temperature_end = -1.0f;
    return s;
}

/* Every token of a sample has the statistics that scoring gives it under the plain setting of its place. */
Test(adapt, every_token_has_its_own_setting) {
    OPEN_SCENE();
    struct engine *e = test_engine_open(&scene.m, &scene.options, true);
    for (int which = 0; which < 4; which++) {
        tempera_sampling s = changing_setting(which);
        generate(e, &s);
        int32_t ids[MOST], count = (int32_t)scene.prompt.count, repeats = 0, doubles = 0;
        memcpy(ids, scene.prompt.data, scene.prompt.count * sizeof *ids);
        memcpy(ids + count, stream_token, (size_t)stream_count * sizeof *ids);
        for (int32_t t = 0; t < stream_count; t++) {
            tempera_token_stat score[MOST];
            tempera_sampling plain = plain_at(&s, stream_token, t);
            size_t length = (size_t)(count + t + 1);
            repeats += t > 0 && count_distinct(stream_token, t) < t;
            doubles += t > 0 && stream_token[t] == stream_token[t - 1];
            cr_assert_eq(engine_score(e, ids, length, &plain, 1, NULL, 0, score, NULL, NULL), TEMPERA_OK);
            expect_stat(&streamed[t], &score[count + t], "generated", t);
        }
        if (test_device_is_emulated()) continue; /* it takes fewer tokens */
        cr_assert_gt(repeats, 0, "no token came twice: the test tests nothing");
        if (which == 3) cr_assert_gt(doubles, 0, "no token came twice in a row");
    }
    engine_close(e);
    scene_close();
}

/* Scoring and the next token's distribution count every token before as generated; in pieces, and among other settings. */
Test(adapt, scoring) {
    OPEN_SCENE();
    enum { COUNT = 3 };
    tempera_error err = {0};
    tempera_sampling settings[COUNT];
    static tempera_token_stat all[COUNT * MOST];
    const int32_t *ids = scene.prompt.data, count = (int32_t)scene.prompt.count;
    for (int s = 0; s < COUNT; s++) {
        settings[s] = changing_setting(s);
        settings[s].schedule_tokens = count / 2;
    }
    for (int pieces = 0; pieces < 2; pieces++) {
        tempera_engine_options o = scene.options;
        if (pieces) o.max_branches = 2 * COUNT;
        struct engine *e = test_engine_open(&scene.m, &o, true);
        cr_assert_eq(engine_score(e, ids, (size_t)count, settings, COUNT, NULL, 0, all, NULL, &err), TEMPERA_OK, "%s",
                     err.message);
        for (int s = 0; s < COUNT; s++)
            for (int32_t i = 1; i < count; i += test_device_is_emulated() ? 3 : 1) {
                tempera_token_stat want[MOST];
                tempera_sampling plain = plain_at(&settings[s], ids, i);
                cr_assert_eq(engine_score(e, ids, (size_t)i + 1, &plain, 1, NULL, 0, want, NULL, NULL), TEMPERA_OK);
                expect_stat(&all[s * count + i], &want[i], "scored", i);
            }
        enum { TOP = 5 };
        int32_t token[TOP];
        float logprob[TOP], got[COUNT * TOP], want[TOP];
        cr_assert_eq(engine_next(e, ids, (size_t)count, settings, COUNT, TOP, token, logprob, got, NULL, &err),
                     TEMPERA_OK);
        for (int s = 0; s < COUNT; s++) {
            tempera_sampling plain = plain_at(&settings[s], ids, count);
            cr_assert_eq(engine_next(e, ids, (size_t)count, &plain, 1, TOP, token, logprob, want, NULL, &err), 0);
            for (int i = 0; i < TOP; i++) cr_assert_eq(got[s * TOP + i], want[i], "setting %d, token %d", s, i);
        }
        engine_close(e);
    }
    scene_close();
}
