/* plan.c: which speed tests to run. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#define RANGES " (128-512+128, 16-1024*2)"

const struct arg plan_args[PLAN_ARGS] = {
    {.name = "prefill",
     .letter = 'p',
     .kind = ARG_INTS,
     .offset = offsetof(struct plan_args, prefill),
     .meta = "N,...",
     .text = "tokens of the prompts to compute, numbers or ranges" RANGES "; 0 = no such test",
     .initial = "512",
     .low = 0,
     .high = 1 << 24},
    {.name = "decode",
     .letter = 'n',
     .kind = ARG_INTS,
     .offset = offsetof(struct plan_args, decode),
     .meta = "N,...",
     .text = "tokens to generate per sequence; 0 = no such test",
     .initial = "128",
     .low = 0,
     .high = 1 << 24},
    {.name = "depth",
     .letter = 'd',
     .kind = ARG_INTS,
     .offset = offsetof(struct plan_args, depth),
     .meta = "N,...",
     .text = "tokens in front of the prompt, or of the first generated token",
     .initial = "0",
     .low = 0,
     .high = 1 << 24},
    {.name = "batch",
     .letter = 'b',
     .kind = ARG_INTS,
     .offset = offsetof(struct plan_args, batch),
     .meta = "N,...",
     .text = "sequences to generate at once, each with a prompt of its own",
     .initial = "1,16",
     .low = 1,
     .high = 65536},
};

void plan_name(char name[PLAN_NAME], const struct speed_test *test) {
    int length = snprintf(name, PLAN_NAME, "%s%d", test->kind == SPEED_DECODE ? "tg" : "pp", test->tokens);
    if (test->depth > 0) length += snprintf(name + length, PLAN_NAME - (size_t)length, "@d%d", test->depth);
    if (test->batch > 1) snprintf(name + length, PLAN_NAME - (size_t)length, "@b%d", test->batch);
}

/* ---- the list ---- */

static void add_test(struct plan *plan, enum speed_kind kind, int32_t tokens, int32_t batch, int32_t depth) {
    if (tokens == 0) return;
    plan->tests = xgrow(plan->tests, plan->count + 1, sizeof *plan->tests);
    plan->tests[plan->count++] = (struct speed_test){kind, tokens, batch, depth};
}

static void fill_defaults(struct plan_args *args, int32_t context) {
    static const int32_t batch[] = {1, 16}, depth = 0;
    int32_t prefill = context > 512 ? 512 : context - 1;
    int32_t decode = context > 140 ? 128 : context - 12;
    if (decode < 1) decode = context > 8 ? context - 6 : 1;
    int_list_default(&args->prefill, &prefill, 1);
    int_list_default(&args->decode, &decode, 1);
    int_list_default(&args->batch, batch, 2);
    int_list_default(&args->depth, &depth, 1);
}

void plan_make(struct plan *plan, struct plan_args *args, int32_t context) {
    fill_defaults(args, context);
    for (size_t d = 0; d < args->depth.count; d++)
        for (size_t p = 0; p < args->prefill.count; p++)
            add_test(plan, SPEED_PREFILL, args->prefill.items[p], 1, args->depth.items[d]);
    for (size_t d = 0; d < args->depth.count; d++)
        for (size_t b = 0; b < args->batch.count; b++)
            for (size_t n = 0; n < args->decode.count; n++)
                add_test(plan, SPEED_DECODE, args->decode.items[n], args->batch.items[b], args->depth.items[d]);
}

void plan_free(struct plan *plan) {
    free(plan->tests);
    *plan = (struct plan){0};
}

/* ---- the engine ---- */

int32_t plan_length(const struct speed_test *test, int32_t step_tokens) {
    int64_t length = (int64_t)test->depth + test->tokens + 1;
    if (test->kind == SPEED_DECODE) {
        /* Sequences whose prompt was computed first go on while the others' prompts are computed. */
        int64_t prompt = test->depth > 0 ? test->depth : 1;
        int64_t steps_before = (prompt * test->batch + step_tokens - 1) / step_tokens;
        length = prompt + test->tokens + 2 * steps_before + 2;
    }
    return length < INT32_MAX ? (int32_t)length : INT32_MAX;
}

int plan_engine(const struct plan *plan, const struct session *session, const struct common_args *common,
                tempera_engine_options *options) {
    tempera_error err;
    int32_t longest = 2, limit = session->info.context;
    *options = session_options(common);
    options->no_prefix_reuse = true;
    options->max_rows = 1;
    for (size_t i = 0; i < plan->count; i++) {
        const struct speed_test *test = &plan->tests[i];
        int32_t length = plan_length(test, options->max_step_tokens);
        if (length > limit)
            return complain(EXIT_USAGE, "bench: a test needs %d tokens, the model's context has %d", length, limit);
        if (length > longest) longest = length;
        if (test->batch > options->max_rows) options->max_rows = test->batch;
        if (test->kind == SPEED_PREFILL && test->depth > 0) options->no_prefix_reuse = false;
    }
    if (options->context == 0) options->context = longest;
    if (options->context < longest)
        return complain(EXIT_USAGE, "--context: the tests need %d tokens, got %d", longest, options->context);
    if (options->max_branches < options->max_rows) options->max_branches = options->max_rows;
    if (options->kv_bytes) return EXIT_DONE;

    tempera_plan first;
    if (tempera_plan_make(session->model, options, &first, &err) != TEMPERA_OK) return complain_error(&err);
    size_t per_row = ((size_t)longest + (size_t)first.page_tokens - 1) / (size_t)first.page_tokens + 1;
    size_t pages = per_row * (size_t)options->max_rows;
    if (pages > (size_t)first.pages) options->kv_bytes = pages * (first.kv / (size_t)first.pages);
    return EXIT_DONE;
}
