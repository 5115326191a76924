/* run.c: one repetition of a speed test. */
#include "run.h"

#include <stdlib.h>

#include "output.h"

void measured_free(struct measured *measured) {
    samples_free(&measured->rates);
    samples_free(&measured->ttft);
    samples_free(&measured->tpot);
    samples_free(&measured->itl);
}

/* ---- what callbacks see ---- */

struct sequence {
    struct watch *watch;
    bool started;
    double last;  /* when its latest token came */
    size_t timed; /* tokens in the timed part */
};

struct watch {
    struct measured *measured; /* NULL: a warm-up */
    double submitted, timed_from;
    bool timed;
    size_t started; /* sequences that have their first token */
    uint64_t tokens;
    struct sequence *sequences; /* [batch] */
};

static void on_token(const tempera_token_event *event) {
    struct sequence *sequence = event->user;
    struct watch *watch = sequence->watch;
    double now = seconds_now();
    if (!sequence->started) {
        sequence->started = true;
        watch->started++;
        if (watch->measured) samples_add(&watch->measured->ttft, now - watch->submitted);
    } else if (watch->timed) {
        if (watch->measured) samples_add(&watch->measured->itl, now - sequence->last);
        sequence->timed++;
    }
    sequence->last = now;
    watch->tokens++;
}

/* ---- driving ---- */

static int submit(const struct setup *setup, struct watch *watch, int32_t index, const int32_t *ids, int32_t length,
                  int32_t max_tokens) {
    tempera_error err;
    tempera_sampling sampling = setup->sampling;
    sampling.n = 1;
    sampling.ignore_eos = true;
    sampling.max_tokens = max_tokens;
    watch->sequences[index].watch = watch;
    tempera_request request = {.prompt = ids,
                               .prompt_count = (size_t)length,
                               .settings = &sampling,
                               .setting_count = 1,
                               .user = &watch->sequences[index],
                               .on_token = on_token};
    if (tempera_submit(setup->session.engine, &request, NULL, &err) != TEMPERA_OK) return complain_error(&err);
    return EXIT_DONE;
}

/* Steps until `most` were taken (< 0: any number), `until_started` sequences have begun (0: never), or all is done. */
static int steps(tempera_engine *engine, int32_t most, const struct watch *watch, size_t until_started) {
    tempera_error err;
    bool active = true;
    for (int32_t i = 0; active && (most < 0 || i < most); i++) {
        if (until_started && watch->started >= until_started) break;
        if (tempera_step(engine, &active, &err) != TEMPERA_OK) return complain_error(&err);
    }
    return interrupted() ? EXIT_INTERRUPTED : EXIT_DONE;
}

/* ---- decode ---- */

static void add_tpot(const struct watch *watch, int32_t batch) {
    for (int32_t i = 0; i < batch && watch->measured; i++) {
        const struct sequence *sequence = &watch->sequences[i];
        if (sequence->timed)
            samples_add(&watch->measured->tpot, (sequence->last - watch->timed_from) / (double)sequence->timed);
    }
}

static int run_decode(struct runner *runner, const struct speed_test *test, struct watch *watch, double *rate) {
    const struct setup *setup = runner->setup;
    tempera_engine *engine = setup->session.engine;
    const int32_t length = test->depth > 0 ? test->depth : 1;
    const int32_t max_tokens = plan_length(test, setup->session.plan.max_step_tokens) - length;
    int32_t *ids = xarray((size_t)length, sizeof *ids);
    int status = EXIT_DONE;
    watch->submitted = seconds_now();
    for (int32_t i = 0; i < test->batch && !status; i++) {
        random_ids(ids, (size_t)length, runner->runs++, setup->session.info.vocab_size);
        status = submit(setup, watch, i, ids, length, max_tokens);
    }
    free(ids);
    if (!status) status = steps(engine, -1, watch, (size_t)test->batch);
    watch->tokens = 0;
    watch->timed = true;
    watch->timed_from = seconds_now();
    if (!status) status = steps(engine, test->tokens, watch, 0);
    *rate = (double)watch->tokens / (seconds_now() - watch->timed_from);
    watch->timed = false;
    add_tpot(watch, test->batch);
    tempera_cancel(engine, 0);
    if (!status) status = steps(engine, -1, watch, 0);
    return status;
}

/* ---- prefill ---- */

/* What is in front of the timed prompt is computed by an earlier request, and found again by the engine. */
static int compute_depth(struct runner *runner, const struct speed_test *test, const int32_t *ids) {
    struct sequence sequence = {0};
    struct watch before = {.sequences = &sequence};
    int status = test->depth ? submit(runner->setup, &before, 0, ids, test->depth, 1) : EXIT_DONE;
    return status ? status : steps(runner->setup->session.engine, -1, &before, 0);
}

/* The engine keeps whole pages only: what is left of `depth` beyond them is computed again, and not counted. */
static int run_prefill(struct runner *runner, const struct speed_test *test, struct watch *watch, double *rate) {
    const struct setup *setup = runner->setup;
    const int32_t length = test->depth + test->tokens; /* both at most 2^24 */
    tempera_stats before, after;
    int32_t *ids = xarray((size_t)length, sizeof *ids);
    random_ids(ids, (size_t)length, runner->runs++, setup->session.info.vocab_size);
    int status = compute_depth(runner, test, ids);
    tempera_stats_get(setup->session.engine, &before);
    watch->submitted = seconds_now();
    if (!status) status = submit(setup, watch, 0, ids, length, 1);
    if (!status) status = steps(setup->session.engine, -1, watch, 0);
    double taken = seconds_now() - watch->submitted;
    tempera_stats_get(setup->session.engine, &after);
    free(ids);
    const uint64_t computed = after.prompt_tokens - before.prompt_tokens;
    if (!status && computed >= (uint64_t)(test->tokens + setup->session.plan.page_tokens))
        status = complain(EXIT_FAILED, "bench: the %d tokens in front of a prompt were not kept: give more --kv-cache",
                          test->depth);
    *rate = test->tokens / taken;
    return status;
}

int run_once(struct runner *runner, const struct speed_test *test, struct measured *measured) {
    struct watch watch = {.measured = measured, .sequences = xarray((size_t)test->batch, sizeof *watch.sequences)};
    double rate = 0;
    int status =
        test->kind == SPEED_DECODE ? run_decode(runner, test, &watch, &rate) : run_prefill(runner, test, &watch, &rate);
    if (!status && measured) samples_add(&measured->rates, rate);
    free(watch.sequences);
    return status;
}

/* ---- tokenizer ---- */

int run_tokenizer(const struct setup *setup, const struct text *text, const struct prompt *ids, bool encode,
                  double *rate) {
    const tempera_model *model = setup->session.model;
    double start = seconds_now(), elapsed;
    size_t passes = 0;
    do {
        tempera_error err;
        size_t length;
        char *back;
        int32_t *again;
        tempera_status status =
            encode ? tempera_encode(model, text->bytes, text->length, TEMPERA_ENCODE_PLAIN, &again, &length, &err)
                   : tempera_decode(model, ids->ids, ids->count, 0, &back, &length, &err);
        if (status != TEMPERA_OK) return complain_error(&err);
        tempera_free(encode ? (void *)again : (void *)back);
        passes++;
        elapsed = seconds_now() - start;
    } while (elapsed < 0.2);
    *rate = (double)passes / elapsed;
    return EXIT_DONE;
}
