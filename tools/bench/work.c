/* work.c: bytes and operations of a test. */
#include "work.h"

#include <math.h>

#include "figures.h"

static double kv_token_bytes(const tempera_plan *plan) {
    return (double)plan->kv / ((double)plan->pages * plan->page_tokens);
}

static double attention_flops(const tempera_model_info *info) {
    return 4.0 * info->layers * info->heads * info->head_width;
}

/* The first timed step attends to the prompt, the token after it and its own. */
static struct work decode_work(const struct session *session, const struct speed_test *test) {
    const double prompt = test->depth > 0 ? test->depth : 1;
    const double keys = test->batch * (prompt + 0.5 * (test->tokens + 1));
    const double weights = layer_parameters(session) + head_parameters(session);
    return (struct work){.weight_bytes = (double)session->plan.step_weights,
                         .kv_bytes = keys * kv_token_bytes(&session->plan),
                         .flops = 2 * test->batch * weights + keys * attention_flops(&session->info)};
}

static struct work prefill_work(const struct session *session, const struct speed_test *test) {
    const double tokens = test->tokens, depth = test->depth;
    const double pairs = tokens * depth + 0.5 * tokens * (tokens + 1); /* of a token and a key it attends to */
    const int32_t chunk = session->plan.max_step_tokens;
    struct work work = {.flops = 2 * (tokens * layer_parameters(session) + head_parameters(session)) +
                                 pairs * attention_flops(&session->info)};
    for (int64_t done = 0; done < test->tokens; done += chunk) {
        int64_t end = done + chunk < test->tokens ? done + chunk : test->tokens;
        work.weight_bytes += (double)session->plan.step_weights;
        work.kv_bytes += (depth + (double)end) * kv_token_bytes(&session->plan);
    }
    return work;
}

struct work work_of(const struct session *session, const struct speed_test *test) {
    return test->kind == SPEED_DECODE ? decode_work(session, test) : prefill_work(session, test);
}

double work_per_second(const struct speed_test *test, double rate) {
    return rate / (test->kind == SPEED_DECODE ? test->batch : test->tokens);
}

struct work_share work_share(const struct setup *setup, const struct speed_test *test, const struct work *work,
                             double rate) {
    const double times = work_per_second(test, rate);
    struct work_share share = {.bandwidth =
                                   (work->weight_bytes + work->kv_bytes) * times / setup->read_bytes_per_second,
                               .compute = work->flops * times / setup->flops};
    share.roofline = fmax(share.bandwidth, share.compute);
    share.bound = share.bandwidth > share.compute ? "bandwidth" : "compute";
    return share;
}
