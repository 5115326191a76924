/* test_plan.c: the plan is what gets allocated, steps allocate nothing, and random models of every shape. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "model/internal.h"
#include "single.h"
#include "variant.h"

static struct model *open_fixture(const char *name) {
    struct model *model = NULL;
    tempera_error err;
    char *folder = fixture_folder(name);
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s", err.message);
    mem_free(folder);
    return model;
}

/* ---- plan and allocation ----------------------------------------------------------------------------------------- */

static void check_allocation(const char *name, enum weight_type type) {
    struct model *model = open_fixture(name);
    struct single s;
    tempera_error err;
    static float logits[40 * 97];
    int32_t ids[40] = {1, 2, 3};

    size_t before = mem_stats_get().slab_bytes;
    cr_assert(single_open(&s, model, NULL, type, 40, &err) == TEMPERA_OK, "%s: %s", name, err.message);
    size_t planned = s.plan.weights + s.plan.kv + s.plan.activations + s.plan.workspace;
    size_t allocated = mem_stats_get().slab_bytes - before;
    cr_expect(planned == allocated,
              "%s: planned %zu bytes (%zu weights, %zu kv, %zu activations, %zu workspace), allocated %zu", name,
              planned, s.plan.weights, s.plan.kv, s.plan.activations, s.plan.workspace, allocated);
    cr_expect(s.plan.step_weights < s.plan.weights);

    size_t calls = mem_stats_get().calls;
    cr_assert(single_run(&s, ids, 40, 16, logits, &err) == TEMPERA_OK, "%s: %s", name, err.message);
    cr_expect(mem_stats_get().calls == calls, "%s: a step allocates", name);

    single_close(&s);
    model_free(model);
    cr_expect(mem_stats_get().slab_bytes == before, "%s: memory is not given back", name);
}

Test(plan, is_what_gets_allocated) {
    static const char *const names[] = {"gpt2", "gpt_neox", "llama",       "phi_qk",
                                        "phi3", "gemma2",   "gemma3_text", "qwen2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (int type = 0; type < WEIGHT_PACKED_COUNT; type++) check_allocation(names[i], (enum weight_type)type);
}

static tempera_status try_limits(struct backend_limits limits, tempera_error *err) {
    struct model *model = open_fixture("gpt2");
    struct backend *backend;
    struct network_plan plan;
    cr_assert(backend_find("cpu", NULL)->open(&backend, NULL, err) == TEMPERA_OK);
    tempera_status status = network_plan_make(&plan, model, backend, WEIGHT_F32, &limits, err);
    backend->ops->close(backend);
    model_free(model);
    return status;
}

Test(plan, limits_are_checked) {
    const struct backend_limits good = {.max_tokens = 8, .max_logits = 1, .max_branches = 1, .pages = 4, .context = 64};
    tempera_error err;
    cr_expect(try_limits(good, &err) == TEMPERA_OK);
    struct backend_limits bad = good;
    bad.context = 65;
    cr_expect(try_limits(bad, &err) == TEMPERA_TOO_LONG);
    cr_expect(strcmp(err.message, "context: expected 1 … 64 tokens (the model's), found 65") == 0, "%s", err.message);
    bad = good;
    bad.max_tokens = 0;
    cr_expect(try_limits(bad, &err) == TEMPERA_INVALID_ARGUMENT && strstr(err.message, "tokens of a step"));
    bad = good;
    bad.pages = -1;
    cr_expect(try_limits(bad, &err) == TEMPERA_INVALID_ARGUMENT && strstr(err.message, "KV pages"));
}

/* Whichever allocation fails, network_create says so and leaks nothing. */
Test(plan, out_of_memory) {
    struct model *model = open_fixture("gemma3_text");
    tempera_error err;
    const size_t live = mem_stats_get().live, slabs = mem_stats_get().slab_bytes;
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    long n = 0;
    for (; status == TEMPERA_OUT_OF_MEMORY && n < 1000; n++) {
        struct single s;
        mem_fail_after(n);
        status = single_open(&s, model, NULL, WEIGHT_F32, 40, &err);
        mem_fail_after(-1);
        single_close(&s);
        cr_assert(mem_stats_get().live == live && mem_stats_get().slab_bytes == slabs, "allocation %ld leaks", n);
    }
    cr_expect(status == TEMPERA_OK && n > 5, "allocation %ld: %s", n, err.message);
    model_free(model);
}

/* ---- types of weights -------------------------------------------------------------------------------------------- */

/* Narrower weights change the result, but not by much. */
Test(plan, weights_convert) {
    struct model *model = open_fixture("llama");
    static float logits[WEIGHT_TYPE_COUNT][40 * 97];
    int32_t ids[40];
    tempera_error err;
    for (int32_t i = 0; i < 40; i++) ids[i] = (i * 37) % 97;
    for (int type = 0; type < WEIGHT_TYPE_COUNT; type++) {
        struct single s;
        cr_assert(single_open(&s, model, NULL, (enum weight_type)type, 40, &err) == TEMPERA_OK, "%s", err.message);
        cr_assert(single_run(&s, ids, 40, 40, logits[type], &err) == TEMPERA_OK, "%s", err.message);
        single_close(&s);
    }
    static const double most[WEIGHT_TYPE_COUNT] = {[WEIGHT_F16] = 0.05, [WEIGHT_BF16] = 0.5};
    for (int type = WEIGHT_F16; type <= WEIGHT_BF16; type++) {
        double worst = 0;
        for (int i = 0; i < 40 * 97; i++) worst = fmax(worst, fabs((double)logits[type][i] - (double)logits[0][i]));
        cr_expect(worst > 0 && worst < most[type], "%s: logits differ by %g", weight_type_name((enum weight_type)type),
                  worst);
    }
    model_free(model);
}

/* ---- random models ----------------------------------------------------------------------------------------------- */

Test(random_models, shapes_are_the_real_ones) {
    static const struct {
        const char *name;
        int64_t parameters; /* as on the hub */
    } known[] = {
        {"gpt2", 124439808},      {"gpt2-medium", 354823168}, {"gpt2-large", 774030080}, {"gpt2-xl", 1557611200},
        {"llama-1b", 1100048384}, {"llama-8b", 8030261248},   {"qwen2-0.5b", 494032768},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct model *model;
        tempera_error err;
        cr_assert(model_random(&model, known[i].name, 1, &err) == TEMPERA_OK, "%s", err.message);
        cr_expect(model_parameters(model) == known[i].parameters, "%s: expected %lld parameters, found %lld",
                  known[i].name, (long long)known[i].parameters, (long long)model_parameters(model));
        model_free(model);
    }
    struct model *model = NULL;
    tempera_error err;
    cr_expect(model_random(&model, "gpt5", 1, &err) == TEMPERA_INVALID_ARGUMENT && model == NULL);
    cr_expect(strcmp(err.message,
                     "no random model \"gpt5\" (there are gpt2, gpt2-medium, gpt2-large, gpt2-xl, llama-1b, "
                     "llama-8b, qwen2-0.5b)") == 0,
              "%s", err.message);
}

Test(random_models, weights_are_a_function_of_seed_and_name) {
    enum { N = 100003 }; /* no multiple of anything */
    static float a[N], b[N];
    static uint16_t half[N];
    struct source source = {.name = "h.0.attn.c_attn.weight", .rows = N, .cols = 1};
    const struct parameter p = {.mean = 0.5f, .deviation = 0.1f};
    random_fill(a, WEIGHT_F32, &source, &p, 7);
    random_fill(b, WEIGHT_F32, &source, &p, 7);
    cr_expect(memcmp(a, b, sizeof a) == 0);
    random_fill(half, WEIGHT_BF16, &source, &p, 7);
    cr_expect(half[N - 1] == float_to_bf16(a[N - 1]), "other types hold the same numbers, rounded");

    double mean = 0, variance = 0;
    for (int i = 0; i < N; i++) mean += (double)a[i] / N;
    for (int i = 0; i < N; i++) variance += ((double)a[i] - mean) * ((double)a[i] - mean) / N;
    cr_expect(fabs(mean - 0.5) < 0.002 && fabs(sqrt(variance) - 0.1) < 0.005, "mean %g, deviation %g", mean,
              sqrt(variance));

    random_fill(b, WEIGHT_F32, &source, &p, 8);
    int same = 0;
    for (int i = 0; i < N; i++) same += a[i] == b[i];
    cr_expect(same < N / 1000, "another seed: %d values are the same", same);
    source.name = "h.1.attn.c_attn.weight";
    random_fill(b, WEIGHT_F32, &source, &p, 7);
    same = 0;
    for (int i = 0; i < N; i++) same += a[i] == b[i];
    cr_expect(same < N / 1000, "another name: %d values are the same", same);
}

/* A real depth and width: activations stay bounded and tokens matter. */
Test(random_models, activations_stay_bounded) {
    struct model *model;
    struct single s;
    tempera_error err;
    const int32_t ids[3] = {17, 50256, 99};
    cr_assert(model_random(&model, "gpt2", 1, &err) == TEMPERA_OK, "%s", err.message);
    cr_assert(single_open(&s, model, NULL, WEIGHT_BF16, 8, &err) == TEMPERA_OK, "%s", err.message);
    float *logits = mem_array(3 * (size_t)s.V, sizeof *logits);
    cr_assert(single_run(&s, ids, 3, 3, logits, &err) == TEMPERA_OK, "%s", err.message);
    for (int32_t t = 0; t < 3; t++) {
        double square = 0, difference = 0;
        for (int32_t v = 0; v < s.V; v++) {
            double x = (double)logits[t * s.V + v], y = (double)logits[(t + 1) % 3 * s.V + v];
            square += x * x / s.V;
            difference += (x - y) * (x - y) / s.V;
        }
        cr_expect(square > 0.1 && square < 10 && difference > 0.1, "token %d: logits of variance %g", t, square);
    }
    mem_free(logits);
    single_close(&s);
    model_free(model);
}
