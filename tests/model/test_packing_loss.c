/* test_packing_loss.c: what packed weights lose, against the tensors of the files, found by their names here, and the
 * formats of cpu_quant.h worked out once more, plainly and in double precision. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "gguf_convert.h"
#include "model/internal.h"
#include "support.h"
#include "tempera/tempera.h"
#include "variant.h"

/* ---- a file's own figures ------------------------------------------------------------------------------------------ */

/* The matrices of a fixture: a name, with %d for the layer where it stands in one; GPT-2's lie as [K, N]. */
struct named {
    const char *name;
    enum matrix_kind kind;
    bool transposed;
};

static const struct named gpt2[] = {{"transformer.wte.weight", MATRIX_EMBEDDING, false},
                                    {"transformer.wpe.weight", MATRIX_POSITIONS, false},
                                    {"transformer.h.%d.attn.c_attn.weight", MATRIX_QKV, true},
                                    {"transformer.h.%d.attn.c_proj.weight", MATRIX_ATTENTION_OUT, true},
                                    {"transformer.h.%d.mlp.c_fc.weight", MATRIX_UP, true},
                                    {"transformer.h.%d.mlp.c_proj.weight", MATRIX_DOWN, true},
                                    {"lm_head.weight", MATRIX_HEAD, false},
                                    {NULL, MATRIX_KINDS, false}};
static const struct named gpt_neox[] = {{"gpt_neox.embed_in.weight", MATRIX_EMBEDDING, false},
                                        {"gpt_neox.layers.%d.attention.query_key_value.weight", MATRIX_QKV, false},
                                        {"gpt_neox.layers.%d.attention.dense.weight", MATRIX_ATTENTION_OUT, false},
                                        {"gpt_neox.layers.%d.mlp.dense_h_to_4h.weight", MATRIX_UP, false},
                                        {"gpt_neox.layers.%d.mlp.dense_4h_to_h.weight", MATRIX_DOWN, false},
                                        {"embed_out.weight", MATRIX_HEAD, false},
                                        {NULL, MATRIX_KINDS, false}};
static const struct named llama[] = {{"model.embed_tokens.weight", MATRIX_EMBEDDING, false},
                                     {"model.layers.%d.self_attn.q_proj.weight", MATRIX_QKV, false},
                                     {"model.layers.%d.self_attn.k_proj.weight", MATRIX_QKV, false},
                                     {"model.layers.%d.self_attn.v_proj.weight", MATRIX_QKV, false},
                                     {"model.layers.%d.self_attn.o_proj.weight", MATRIX_ATTENTION_OUT, false},
                                     {"model.layers.%d.mlp.gate_proj.weight", MATRIX_UP, false},
                                     {"model.layers.%d.mlp.up_proj.weight", MATRIX_UP, false},
                                     {"model.layers.%d.mlp.down_proj.weight", MATRIX_DOWN, false},
                                     {"lm_head.weight", MATRIX_HEAD, false},
                                     {NULL, MATRIX_KINDS, false}};

static const struct {
    const char *name;
    const struct named *tensors;
} fixtures[] = {{"gpt2", gpt2},   {"gpt2_f16", gpt2},    {"gpt2_untied", gpt2},   {"gpt_neox", gpt_neox},
                {"llama", llama}, {"llama_bf16", llama}, {"llama_sharded", llama}};
enum { FIXTURES = sizeof fixtures / sizeof *fixtures };

static float value_at(const struct tensor_view *view, size_t i) {
    float value;
    uint16_t half;
    if (view->dtype == DTYPE_F32) {
        memcpy(&value, view->data + 4 * i, sizeof value);
        return value;
    }
    memcpy(&half, view->data + 2 * i, sizeof half);
    return view->dtype == DTYPE_F16 ? f16_to_float(half) : bf16_to_float(half);
}

enum { GROUP = 32 };

/* Weights of d · q in double, where the format says fp32: a tie that falls the other way leaves as much. */
static void round_to(double *rounded, const double *w, int count, double d, int low, int high) {
    for (int i = 0; i < count; i++) rounded[i] = d > 0 || d < 0 ? d * fmin(fmax(nearbyint(w[i] / d), low), high) : 0;
}

static double extreme_of(const double *w, int count) {
    double extreme = 0;
    for (int i = 0; i < count; i++)
        if (fabs(w[i]) > fabs(extreme)) extreme = w[i];
    return extreme;
}

/* The least-squares scale of the best of eight roundings, with the extreme at -9 … -6 steps. */
static double four_bit_scale(const double *w, int count) {
    const double extreme = extreme_of(w, count);
    double best = 0, scale = 0, unit[GROUP];
    for (int candidate = 0; candidate < 8 && fabs(extreme) > 0; candidate++) {
        const double steps = -9 + 3.0 * candidate / 7;
        double s = 0, t = 0;
        round_to(unit, w, count, extreme / steps, -8, 7);
        for (int i = 0; i < count; i++) {
            const double q = unit[i] / (extreme / steps);
            s += w[i] * q;
            t += q * q;
        }
        if (s * s / t > best) best = s * s / t, scale = s / t;
    }
    return scale;
}

static double fp16(double x) {
    return (double)f16_to_float(float_to_f16((float)x));
}

/* Σ (packed - w)² of one row's group. */
static double group_error(const double *w, int count, enum weight_type type) {
    double rounded[GROUP], sum = 0;
    if (type == WEIGHT_Q8)
        round_to(rounded, w, count, fp16(fabs(extreme_of(w, count)) / 127), -127, 127);
    else if (type == WEIGHT_Q4)
        round_to(rounded, w, count, fp16(four_bit_scale(w, count)), -8, 7);
    else
        for (int i = 0; i < count; i++) { /* to nearest, ties to even: 8 bits of mantissa */
            int exponent;
            const double m = frexp(w[i], &exponent);
            rounded[i] = type == WEIGHT_F32 ? w[i] : ldexp(nearbyint(m * 256), exponent - 8);
        }
    for (int i = 0; i < count; i++) sum += (rounded[i] - w[i]) * (rounded[i] - w[i]);
    return sum;
}

static void add_tensor(struct packing_loss *to, const struct tensor_view *view, bool transposed,
                       enum weight_type type) {
    const size_t N = view->shape[transposed ? 1 : 0], K = view->shape[transposed ? 0 : 1];
    to->weights += (int64_t)(N * K);
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k += GROUP) {
            double w[GROUP];
            const int count = K - k < GROUP ? (int)(K - k) : GROUP;
            for (int i = 0; i < count; i++) {
                const size_t at = k + (size_t)i;
                w[i] = (double)value_at(view, transposed ? at * N + n : n * K + at);
                to->squares += w[i] * w[i];
            }
            to->errors += group_error(w, count, type);
        }
}

static void expected_losses(struct packing_loss losses[MATRIX_KINDS], const struct tensor_set *set,
                            const struct named *tensors, enum weight_type type) {
    memset(losses, 0, MATRIX_KINDS * sizeof *losses);
    for (const struct named *t = tensors; t->name; t++) {
        const bool outside = !strstr(t->name, "%d");
        const enum weight_type packed = outside && type == WEIGHT_Q4 ? WEIGHT_Q8 : type;
        for (int layer = 0;; layer++) {
            char name[128];
            const char *number = strstr(t->name, "%d");
            if (number)
                snprintf(name, sizeof name, "%.*s%d%s", (int)(number - t->name), t->name, layer, number + 2);
            else
                snprintf(name, sizeof name, "%s", t->name);
            const struct tensor_view *view = tensor_set_find(set, name);
            if (!view) break;
            losses[t->kind].type = packed;
            add_tensor(&losses[t->kind], view, t->transposed, packed);
            if (outside) break;
        }
    }
}

/* ---- every layout of the files ------------------------------------------------------------------------------------- */

static tempera_status losses_of(struct packing_loss losses[MATRIX_KINDS], const struct model *model,
                                enum weight_type type, const char *instructions, int threads, tempera_error *err) {
    struct backend *backend;
    const struct backend_options options = {
        .threads = threads, .instructions = instructions, .quantised = type >= WEIGHT_TYPE_COUNT};
    TRY(backend_open(&backend, test_device(), &options, NULL, err));
    tempera_status status = model_packing_loss(losses, model, backend, type, err);
    backend->ops->close(backend);
    return status;
}

static struct model *open_model(const char *path) {
    struct model *model;
    tempera_error err;
    cr_assert(model_open(&model, path, &err) == TEMPERA_OK, "%s", err.message);
    return model;
}

static struct model *open_fixture(const char *name) {
    char *folder = fixture_folder(name);
    struct model *model = open_model(folder);
    mem_free(folder);
    return model;
}

/* Q4: where two of a group's eight scales leave nearly the same, fp32 may take another than double does, and what that
 * group then leaves differs by some percent; a kind has a hundred groups and more. */
static double tolerance(enum weight_type type) {
    return type == WEIGHT_Q4 ? 1e-3 : 1e-5;
}

static void check_fixture(const char *name, const struct named *tensors, enum weight_type type) {
    struct packing_loss expected[MATRIX_KINDS], found[MATRIX_KINDS];
    struct model *model = open_fixture(name);
    tempera_error err;
    expected_losses(expected, model->set, tensors, type);
    cr_assert(losses_of(found, model, type, NULL, 2, &err) == TEMPERA_OK, "%s", err.message);
    for (int kind = 0; kind < MATRIX_KINDS; kind++) {
        const struct packing_loss *e = &expected[kind], *f = &found[kind];
        cr_expect(f->weights == e->weights && f->type == e->type, "%s, kind %d: %lld weights of type %d", name, kind,
                  (long long)f->weights, (int)f->type);
        cr_expect(fabs(f->squares - e->squares) <= 1e-12 * e->squares, "%s, kind %d: squares %.17g, not %.17g", name,
                  kind, f->squares, e->squares);
        cr_expect(fabs(f->errors - e->errors) <= tolerance(e->type) * e->errors,
                  "%s, kind %d, %s: errors %.17g, not %.17g", name, kind, weight_type_name(type), f->errors, e->errors);
    }
    cr_expect(found[MATRIX_QKV].matrices == model->hp.L && found[MATRIX_EMBEDDING].matrices == 1);
    cr_expect_eq(found[MATRIX_HEAD].matrices, !model->hp.tied);
    model_free(model);
}

#define NEEDS_CPU()                                                                                                    \
    if (strcmp(test_device(), "cpu") != 0) cr_skip_test("quantised weights are the cpu's")

Test(packing_loss, is_that_of_the_files) {
    NEEDS_CPU();
    static const enum weight_type types[] = {WEIGHT_Q8, WEIGHT_Q4, WEIGHT_BF16, WEIGHT_F32};
    for (size_t i = 0; i < FIXTURES; i++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            check_fixture(fixtures[i].name, fixtures[i].tensors, types[t]);
}

static void same(const struct packing_loss *a, const struct packing_loss *b, const char *what) {
    for (int kind = 0; kind < MATRIX_KINDS; kind++)
        cr_expect(a[kind].squares == b[kind].squares && a[kind].errors == b[kind].errors &&
                      a[kind].weights == b[kind].weights,
                  "%s: kind %d differs", what, kind);
}

/* Llama's q and k are woven in a GGUF file, and GPT-2's matrices lie the other way round. */
Test(packing_loss, same_bits_for_threads_instructions_and_gguf) {
    NEEDS_CPU();
    static const char *const names[] = {"llama", "gpt2"}, *const sets[] = {"portable", "avx2", "avx512"};
    for (int i = 0; i < 2; i++) {
        struct packing_loss one[MATRIX_KINDS], other[MATRIX_KINDS];
        tempera_error err;
        char *folder = fixture_folder(names[i]);
        struct gguf_file file = gguf_convert(folder, &(struct conversion){.type = W_T_F32});
        struct model *model = open_model(folder), *gguf = open_model(file.path);
        cr_assert(losses_of(one, model, WEIGHT_Q4, NULL, 1, &err) == TEMPERA_OK, "%s", err.message);
        cr_assert(losses_of(other, model, WEIGHT_Q4, NULL, 3, &err) == TEMPERA_OK, "%s", err.message);
        same(one, other, "three threads");
        cr_assert(losses_of(other, gguf, WEIGHT_Q4, NULL, 2, &err) == TEMPERA_OK, "%s", err.message);
        same(one, other, "GGUF");
        for (int s = 0; s < 3; s++)
            if (losses_of(other, model, WEIGHT_Q4, sets[s], 2, &err) == TEMPERA_OK) same(one, other, sets[s]);
        model_free(model);
        model_free(gguf);
        gguf_file_remove(&file);
        mem_free(folder);
    }
}

/* Blocks count as the numbers that they stand for. */
Test(packing_loss, of_quantised_files) {
    NEEDS_CPU();
    struct packing_loss blocks[MATRIX_KINDS], numbers[MATRIX_KINDS];
    tempera_error err;
    char *folder = fixture_folder("phi3");
    struct gguf_file a = gguf_convert(folder, &(struct conversion){.type = W_T_Q4_0}),
                     b = gguf_convert(folder, &(struct conversion){.type = W_T_Q4_0, .decoded = true});
    struct model *of_blocks = open_model(a.path), *of_numbers = open_model(b.path);
    cr_assert(strstr(model_tensor_types(of_blocks), "Q4_0") && !strstr(model_tensor_types(of_numbers), "Q4_0"));
    cr_assert(losses_of(blocks, of_blocks, WEIGHT_Q8, NULL, 2, &err) == TEMPERA_OK, "%s", err.message);
    cr_assert(losses_of(numbers, of_numbers, WEIGHT_Q8, NULL, 2, &err) == TEMPERA_OK, "%s", err.message);
    same(blocks, numbers, "blocks");
    cr_expect_gt(blocks[MATRIX_QKV].errors, 0);
    model_free(of_blocks);
    model_free(of_numbers);
    gguf_file_remove(&a);
    gguf_file_remove(&b);
    mem_free(folder);
}

/* ---- the public function ------------------------------------------------------------------------------------------- */

static tempera_model *open_public(const char *name) {
    tempera_model *model;
    tempera_error err;
    char *folder = fixture_folder(name);
    cr_assert(tempera_model_open(folder, &model, &err) == TEMPERA_OK, "%s", err.message);
    mem_free(folder);
    return model;
}

Test(packing_loss, public_function) {
    NEEDS_CPU();
    tempera_weight_error errors[TEMPERA_MATRIX_KINDS], before;
    tempera_engine_options options = tempera_engine_options_default();
    tempera_error err = {0};
    tempera_model *model = open_public("gpt2");
    options.dtype = "q4";
    cr_assert(tempera_weight_errors(model, &options, errors, &err) == TEMPERA_OK, "%s", err.message);
    cr_expect_str_eq(errors[TEMPERA_MATRIX_EMBEDDING].dtype, "q8");
    cr_expect_str_eq(errors[TEMPERA_MATRIX_POSITIONS].dtype, "q8");
    cr_expect_str_eq(errors[TEMPERA_MATRIX_FF_IN].dtype, "q4");
    cr_expect_str_eq(errors[TEMPERA_MATRIX_HEAD].dtype, "");
    cr_expect_eq(errors[TEMPERA_MATRIX_FF_IN].weights, 2 * 36 * 144);
    cr_expect_str_eq(tempera_matrix_name(TEMPERA_MATRIX_FF_IN), "feed-forward in");
    cr_expect_str_eq(tempera_matrix_name(TEMPERA_MATRIX_HEAD), "head");

    before = errors[0];
    options.dtype = "q5";
    cr_expect_eq(tempera_weight_errors(model, &options, errors, &err), TEMPERA_INVALID_ARGUMENT);
    options.dtype = "q4", options.instructions = "mmx";
    cr_expect_eq(tempera_weight_errors(model, &options, errors, &err), TEMPERA_UNSUPPORTED, "%s", err.message);
    options.instructions = NULL;
    cr_expect_eq(tempera_weight_errors(NULL, &options, errors, &err), TEMPERA_INVALID_ARGUMENT);
    cr_expect_eq(tempera_weight_errors(model, NULL, errors, &err), TEMPERA_INVALID_ARGUMENT);
    cr_expect_eq(tempera_weight_errors(model, &options, NULL, &err), TEMPERA_INVALID_ARGUMENT);
    options.threads = -1;
    cr_expect_eq(tempera_weight_errors(model, &options, errors, NULL), TEMPERA_INVALID_ARGUMENT);
    cr_expect(memcmp(&before, errors, sizeof before) == 0, "a failure writes nothing");
    tempera_model_close(model);
}

/* Every allocation fails once; all others are given back. */
Test(packing_loss, without_memory) {
    NEEDS_CPU();
    tempera_weight_error errors[TEMPERA_MATRIX_KINDS];
    tempera_engine_options options = tempera_engine_options_default();
    tempera_model *model = open_public("llama");
    options.dtype = "q8", options.threads = 1;
    const size_t live = mem_stats_get().live;
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    int refused = 0;
    for (; status != TEMPERA_OK && refused < 1000; refused++) {
        mem_fail_after(refused);
        status = tempera_weight_errors(model, &options, errors, NULL);
        mem_fail_after(-1);
        cr_assert(status == TEMPERA_OK || status == TEMPERA_OUT_OF_MEMORY);
        cr_assert_eq(mem_stats_get().live, live);
    }
    cr_expect(status == TEMPERA_OK && refused > 8, "%d allocations", refused);
    tempera_model_close(model);
}

/* Weights that are drawn for a benchmark are compared with what was drawn. */
Test(packing_loss, of_random_weights, .timeout = 600) {
    NEEDS_CPU();
    struct packing_loss losses[MATRIX_KINDS];
    struct model *model;
    tempera_error err;
    cr_assert(model_random(&model, "gpt2", 1, &err) == TEMPERA_OK, "%s", err.message);
    cr_assert(losses_of(losses, model, WEIGHT_F32, NULL, 2, &err) == TEMPERA_OK, "%s", err.message);
    for (int kind = 0; kind < MATRIX_KINDS; kind++) {
        cr_expect_eq(losses[kind].errors, 0); /* they are drawn in fp32 */
        cr_expect_eq(losses[kind].squares > 0, kind != MATRIX_HEAD);
    }
    model_free(model);
}
