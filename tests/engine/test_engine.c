/* What the engine does for its caller: stop rules, limits, cancellation, memory. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "support.h"
#include "tempera/tempera.h"

enum { MAX_SAMPLES = 64 };

struct result {
    char text[2048], streamed[2048];
    int32_t tokens[512];
    size_t count, events;
    tempera_finish finish;
    int samples; /* times on_sample was called */
};

struct session {
    tempera_model *model;
    tempera_engine *engine;
    struct result result[MAX_SAMPLES]; /* by setting_index */
    tempera_engine *cancel_in_callback;
    uint64_t cancel_id;
};

/* Ends the test as skipped where the device is not there. */
static struct session session_open(tempera_engine_options o) {
    struct session s = {0};
    TEST_NEEDS_DEVICE();
    tempera_error err = {0};
    o.device = test_device();
    cr_assert_eq(tempera_model_open(test_demo_model(), &s.model, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tempera_engine_open(s.model, &o, &s.engine, &err), TEMPERA_OK, "%s", err.message);
    return s;
}

static void session_close(struct session *s) {
    tempera_engine_close(s->engine);
    tempera_model_close(s->model);
}

static void on_token(const tempera_token_event *event) {
    struct session *s = event->user;
    struct result *r = &s->result[event->setting_index];
    size_t used = strlen(r->streamed);
    if (used + event->text_length < sizeof r->streamed) memcpy(r->streamed + used, event->text, event->text_length);
    r->events++;
    if (s->cancel_in_callback && r->events == 3) tempera_cancel(s->cancel_in_callback, s->cancel_id);
}

static void on_sample(const tempera_sample *sample) {
    struct session *s = sample->user;
    struct result *r = &s->result[sample->setting_index];
    r->samples++;
    r->finish = sample->finish;
    r->count = sample->token_count;
    cr_assert_lt(sample->token_count, sizeof r->tokens / sizeof *r->tokens);
    memcpy(r->tokens, sample->tokens, sample->token_count * sizeof *r->tokens);
    cr_assert_lt(sample->text_length, sizeof r->text);
    memcpy(r->text, sample->text, sample->text_length);
    r->text[sample->text_length] = '\0';
}

static tempera_sampling greedy(int32_t max_tokens) {
    tempera_sampling s = tempera_sampling_default();
    s.temperature = 0;
    s.max_tokens = max_tokens;
    return s;
}

static tempera_status submit(struct session *s, const char *prompt, const tempera_sampling *settings, size_t count,
                             uint64_t *id, tempera_error *err) {
    int32_t *ids;
    size_t id_count;
    cr_assert_eq(tempera_encode(s->model, prompt, strlen(prompt), TEMPERA_ENCODE_SPECIAL, &ids, &id_count, err), 0);
    tempera_request request = {.prompt = ids,
                               .prompt_count = id_count,
                               .settings = settings,
                               .setting_count = count,
                               .user = s,
                               .on_token = on_token,
                               .on_sample = on_sample};
    tempera_status status = tempera_submit(s->engine, &request, id, err);
    tempera_free(ids);
    return status;
}

static void run(struct session *s, const char *prompt, const tempera_sampling *settings, size_t count) {
    tempera_error err = {0};
    memset(s->result, 0, sizeof s->result);
    cr_assert_eq(submit(s, prompt, settings, count, NULL, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tempera_run(s->engine, &err), TEMPERA_OK, "%s", err.message);
}

static const char prompt[] = "Once upon a time";

Test(engine, stop_strings_end_the_text_across_token_boundaries) {
    struct session s = session_open(tempera_engine_options_default());
    tempera_sampling plain = greedy(40);
    run(&s, prompt, &plain, 1);
    char whole[2048];
    strcpy(whole, s.result[0].text);
    size_t length = strlen(whole);
    cr_assert_gt(length, 60);
    const size_t apart = test_device_is_emulated() ? 40 : 9;
    for (size_t at = 5; at + 7 < length; at += apart) { /* stop at every ninth place, in the middle of words too */
        char stop[8] = {0};
        memcpy(stop, whole + at, 7);
        const char *const stops[] = {"never seen", stop};
        tempera_sampling with = plain;
        with.stop = stops;
        with.stop_count = 2;
        run(&s, prompt, &with, 1);
        size_t first = (size_t)(strstr(whole, stop) - whole);
        cr_assert_eq(s.result[0].finish, TEMPERA_FINISH_STOP);
        cr_assert_eq(strlen(s.result[0].text), first, "stop \"%s\": \"%s\"", stop, s.result[0].text);
        cr_assert_eq(memcmp(s.result[0].text, whole, first), 0);
        cr_assert_str_eq(s.result[0].streamed, s.result[0].text);
    }
    session_close(&s);
}

Test(engine, stop_tokens_and_min_tokens) {
    struct session s = session_open(tempera_engine_options_default());
    tempera_sampling settings[2] = {greedy(20), greedy(20)};
    run(&s, prompt, settings, 1);
    int32_t fourth = s.result[0].tokens[3];
    size_t first_seen = 0;
    while (s.result[0].tokens[first_seen] != fourth) first_seen++;
    settings[0].stop_token_ids = &fourth;
    settings[0].stop_token_count = 1;
    settings[1] = settings[0];
    settings[1].min_tokens = 12;
    run(&s, prompt, settings, 2);
    cr_assert_eq(s.result[0].finish, TEMPERA_FINISH_STOP);
    cr_assert_eq(s.result[0].count, first_seen + 1);
    cr_assert_eq(s.result[0].tokens[first_seen], fourth);
    cr_assert_geq(s.result[1].count, 12);
    for (size_t i = 0; i < 12 && i < s.result[1].count; i++) cr_assert_neq(s.result[1].tokens[i], fourth);
    session_close(&s);
}

Test(engine, limits) {
    struct session s = session_open(tempera_engine_options_default());
    tempera_sampling settings[3] = {greedy(0), greedy(1), greedy(INT32_MAX)};
    for (int i = 0; i < 3; i++) settings[i].ignore_eos = true;
    run(&s, prompt, settings, 3);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(s.result[i].finish, TEMPERA_FINISH_LENGTH);
        cr_assert_eq(s.result[i].samples, 1);
    }
    tempera_plan plan;
    tempera_engine_plan(s.engine, &plan);
    cr_assert_eq(s.result[0].count, 0);
    cr_assert_eq(s.result[1].count, 1);
    int32_t *ids;
    size_t count;
    cr_assert_eq(tempera_encode(s.model, prompt, strlen(prompt), TEMPERA_ENCODE_SPECIAL, &ids, &count, NULL), 0);
    cr_assert_eq(s.result[2].count, (size_t)plan.context - count, "the context is filled to the last token");
    tempera_free(ids);
    session_close(&s);
}

Test(engine, a_prompt_that_is_too_long_names_both_lengths) {
    struct session s = session_open(tempera_engine_options_default());
    tempera_sampling setting = greedy(1);
    tempera_error err = {0};
    char text[8192];
    for (size_t i = 0; i + 4 < sizeof text; i += 4) memcpy(text + i, "cat ", 5);
    cr_assert_eq(submit(&s, text, &setting, 1, NULL, &err), TEMPERA_TOO_LONG);
    tempera_plan plan;
    tempera_engine_plan(s.engine, &plan);
    char limit[16];
    snprintf(limit, sizeof limit, "%d", plan.context);
    cr_assert(strstr(err.message, limit), "%s", err.message);
    session_close(&s);
}

Test(engine, bad_requests_are_refused) {
    struct session s = session_open(tempera_engine_options_default());
    tempera_error err = {0};
    tempera_sampling setting = greedy(4);
    int32_t token = 1 << 20;
    tempera_request request = {.prompt = &token, .prompt_count = 1, .settings = &setting, .setting_count = 1};
    cr_assert_eq(tempera_submit(s.engine, &request, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    cr_assert(strstr(err.message, "1048576"), "%s", err.message);
    token = -1;
    cr_assert_eq(tempera_submit(s.engine, &request, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    token = 5;
    request.prompt_count = 0;
    cr_assert_eq(tempera_submit(s.engine, &request, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    request.prompt_count = 1;
    request.setting_count = 0;
    cr_assert_eq(tempera_submit(s.engine, &request, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    request.setting_count = 1;
    setting.top_p = 1.5f;
    cr_assert_eq(tempera_submit(s.engine, &request, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    cr_assert(strstr(err.message, "top_p"), "%s", err.message);
    cr_assert_eq(tempera_submit(NULL, &request, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    cr_assert_eq(tempera_run(s.engine, &err), TEMPERA_OK);
    session_close(&s);
}

Test(engine, cancelling_ends_every_sample_once) {
    tempera_engine_options o = tempera_engine_options_default();
    o.max_branches = 4; /* most samples never start */
    struct session s = session_open(o);
    tempera_sampling settings[MAX_SAMPLES];
    for (int i = 0; i < MAX_SAMPLES; i++) {
        settings[i] = greedy(100);
        settings[i].temperature = 1;
        settings[i].seed = (uint64_t)i;
        settings[i].ignore_eos = true;
    }
    uint64_t first, second;
    cr_assert_eq(submit(&s, prompt, settings, MAX_SAMPLES, &first, NULL), TEMPERA_OK);
    tempera_sampling one = greedy(5);
    static struct session other;
    other = s;
    cr_assert_eq(submit(&other, "One day", &one, 1, &second, NULL), TEMPERA_OK);
    cr_assert_neq(first, second);
    s.cancel_in_callback = s.engine;
    s.cancel_id = first;
    cr_assert_eq(tempera_run(s.engine, NULL), TEMPERA_OK);
    for (int i = 0; i < MAX_SAMPLES; i++) {
        cr_assert_eq(s.result[i].samples, 1, "sample %d was reported %d times", i, s.result[i].samples);
        cr_assert_eq(s.result[i].finish, TEMPERA_FINISH_CANCELLED);
        cr_assert(i >= 4 || s.result[i].count >= 3);
    }
    cr_assert_eq(other.result[0].finish, TEMPERA_FINISH_LENGTH, "another request goes on");
    cr_assert_eq(other.result[0].count, 5);
    tempera_cancel(s.engine, first); /* long gone: nothing happens */
    tempera_cancel(s.engine, 0);
    cr_assert_eq(tempera_run(s.engine, NULL), TEMPERA_OK);
    session_close(&s);
}

Test(engine, closing_with_pending_requests_frees_everything) {
    struct session s = session_open(tempera_engine_options_default());
    tempera_sampling setting = greedy(50);
    bool active;
    submit(&s, prompt, &setting, 1, NULL, NULL);
    submit(&s, "The cat", &setting, 1, NULL, NULL);
    cr_assert_eq(tempera_step(s.engine, &active, NULL), TEMPERA_OK);
    cr_assert(active);
    session_close(&s);
    cr_assert_eq(mem_stats_get().live, 0, "%zu blocks are left", mem_stats_get().live);
}

Test(engine, a_step_allocates_nothing) {
    struct session s = session_open(tempera_engine_options_default());
    tempera_sampling settings[16];
    for (int i = 0; i < 16; i++) {
        settings[i] = greedy(120);
        settings[i].temperature = 0.2f * (float)i;
        settings[i].logprobs = i % 3;
        settings[i].top_p = 0.95f;
        settings[i].repetition_penalty = 1.1f;
        settings[i].ignore_eos = true;
    }
    submit(&s, prompt, settings, 16, NULL, NULL);
    size_t calls = mem_stats_get().calls;
    for (int i = 0; i < 100; i++) {
        bool active;
        cr_assert_eq(tempera_step(s.engine, &active, NULL), TEMPERA_OK);
        cr_assert(active);
    }
    cr_assert_eq(mem_stats_get().calls, calls, "%zu allocations in 100 steps", mem_stats_get().calls - calls);
    tempera_run(s.engine, NULL);
    session_close(&s);
}

Test(engine, open_allocates_what_the_plan_says) {
    TEST_NEEDS_DEVICE();
    if (test_device_is_emulated()) cr_skip_test("a device's memory is not counted here");
    tempera_engine_options o = tempera_engine_options_default();
    o.device = test_device();
    tempera_model *model;
    tempera_engine *engine;
    tempera_plan plan;
    cr_assert_eq(tempera_model_open(test_demo_model(), &model, NULL), TEMPERA_OK);
    cr_assert_eq(tempera_plan_make(model, &o, &plan, NULL), TEMPERA_OK);
    size_t before = mem_stats_get().slab_bytes;
    cr_assert_eq(tempera_engine_open(model, &o, &engine, NULL), TEMPERA_OK);
    size_t slabs = mem_stats_get().slab_bytes - before;
    cr_assert_leq((double)slabs, (double)plan.total * 1.01 + 65536, "plan %zu, slabs %zu", plan.total, slabs);
    cr_assert_geq((double)slabs, (double)plan.total * 0.95 - (1 << 20), "plan %zu, slabs %zu", plan.total, slabs);
    tempera_engine_close(engine);
    tempera_model_close(model);
}

/* Greedy, the text is the cpu's: the logits differ by less than the best two do. */
static void same_text_as_cpu(const char *folder, const char *start, int32_t tokens) {
    static struct session s[2];
    tempera_sampling setting = greedy(tokens);
    for (int i = 0; i < 2; i++) {
        tempera_engine_options o = tempera_engine_options_default();
        tempera_error err = {0};
        o.device = i == 0 ? "cpu" : test_device();
        cr_assert_eq(tempera_model_open(folder, &s[i].model, &err), TEMPERA_OK, "%s", err.message);
        cr_assert_eq(tempera_engine_open(s[i].model, &o, &s[i].engine, &err), TEMPERA_OK, "%s", err.message);
        run(&s[i], start, &setting, 1);
    }
    cr_assert_eq(s[0].result[0].count, s[1].result[0].count);
    cr_assert_str_eq(s[0].result[0].text, s[1].result[0].text);
    for (int i = 0; i < 2; i++) session_close(&s[i]);
}

Test(engine, greedy_text_is_the_same_on_every_device) {
    TEST_NEEDS_DEVICE();
    if (strcmp(test_device(), "cpu") == 0) cr_skip_test("it is the cpu");
    const int32_t tokens = test_device_is_emulated() ? 64 : 200;
    same_text_as_cpu(test_demo_model(), prompt, tokens);
    same_text_as_cpu(test_demo_model(), "Tom and Ben", tokens / 2);
    TEST_NEEDS_MODELS("stories260k");
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/stories260k", test_models());
    same_text_as_cpu(folder, prompt, tokens);
}

Test(engine, logprobs_come_with_the_sample) {
    struct session s = session_open(tempera_engine_options_default());
    int32_t *ids;
    size_t count;
    cr_assert_eq(tempera_encode(s.model, prompt, strlen(prompt), TEMPERA_ENCODE_SPECIAL, &ids, &count, NULL), 0);
    tempera_sampling setting = greedy(10);
    run(&s, prompt, &setting, 1);
    /* scoring prompt + completion must give the same log-probabilities as generation saw */
    int32_t all[64];
    tempera_token_stat score[64];
    memcpy(all, ids, count * sizeof *ids);
    memcpy(all + count, s.result[0].tokens, 10 * sizeof *all);
    cr_assert_eq(tempera_score(s.engine, all, count + 10, NULL, 0, score, NULL), TEMPERA_OK);
    cr_assert(isnan(score[0].logprob));
    for (size_t i = 0; i < 10; i++) {
        int32_t token;
        float logprob, final;
        tempera_token_stat stat;
        cr_assert_eq(tempera_next(s.engine, all, count + i, &setting, 1, 1, &token, &logprob, &final, &stat, NULL), 0);
        cr_assert_eq(token, all[count + i], "greedy takes the most likely token");
        cr_assert_eq(logprob, score[count + i].logprob, "%g %g", (double)logprob, (double)score[count + i].logprob);
        cr_assert_eq(final, 0.0f);
        cr_assert_lt(fabsf(score[count + i].entropy - stat.entropy), 1e-6f);
    }
    tempera_free(ids);
    session_close(&s);
}

/* Every allocation of opening a model, opening an engine and generating once is made to fail in turn: an error each
 * time, nothing leaked, and the same text once memory is there again. */
Test(engine, allocation_failures) {
    TEST_NEEDS_DEVICE();
    if (test_device_is_emulated()) cr_skip_test("a module has allocations of its own");
    tempera_sampling setting = greedy(8);
    tempera_engine_options o = tempera_engine_options_default();
    o.device = test_device();
    o.threads = 1;
    o.max_rows = 2;
    o.max_branches = 2;
    bool done = false;
    long n = 0;
    for (; !done; n++) {
        static struct session s;
        memset(&s, 0, sizeof s);
        tempera_error err = {0};
        int32_t *ids = NULL;
        size_t count;
        mem_fail_after(n);
        tempera_status status = tempera_model_open(test_demo_model(), &s.model, &err);
        if (status == TEMPERA_OK) status = tempera_engine_open(s.model, &o, &s.engine, &err);
        if (status == TEMPERA_OK)
            status = tempera_encode(s.model, "The cat", 7, TEMPERA_ENCODE_SPECIAL, &ids, &count, &err);
        tempera_request request = {.prompt = ids,
                                   .settings = &setting,
                                   .setting_count = 1,
                                   .user = &s,
                                   .on_token = on_token,
                                   .on_sample = on_sample};
        if (status == TEMPERA_OK) {
            request.prompt_count = count;
            status = tempera_submit(s.engine, &request, NULL, &err);
        }
        if (status == TEMPERA_OK) status = tempera_run(s.engine, &err);
        done = status == TEMPERA_OK;
        mem_fail_after(-1);
        if (!done) cr_assert_eq(status, TEMPERA_OUT_OF_MEMORY, "allocation %ld: %s", n, err.message);
        if (!done) cr_assert(strlen(err.message) > 0);
        tempera_free(ids);
        session_close(&s);
        cr_assert_eq(mem_stats_get().live, 0, "allocation %ld failing leaks %zu blocks", n, mem_stats_get().live);
        if (n > 20 && n % 64 != 0 && n < 200000) n += n / 50; /* all of the first, then ever wider steps */
    }
    cr_log_info("%ld allocation failures tried", n);
}
