/* test_gguf_model.c: models in GGUF files: the same bits as the folder that they were made from, and what is refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/cpu/cpu_quant.h"
#include "base/file.h"
#include "base/mem.h"
#include "gguf_convert.h"
#include "load/blocks.h"
#include "model/internal.h"
#include "single.h"
#include "support.h"
#include "variant.h"

enum { TOKENS = 24 };

static struct model *open_model(const char *path) {
    struct model *model;
    tempera_error err;
    cr_assert(model_open(&model, path, &err) == TEMPERA_OK, "%s", err.message);
    return model;
}

/* [tokens, V] of a few tokens; freed by the caller. */
static float *logits_of(const struct model *model, enum weight_type type, int32_t tokens) {
    struct single s;
    tempera_error err;
    int32_t ids[TOKENS];
    const int32_t V = model_hparams(model)->V;
    for (int32_t i = 0; i < tokens; i++) ids[i] = (i * 31 + 7) % V;
    float *logits = mem_array((size_t)tokens * (size_t)V, sizeof *logits);
    cr_assert(single_open(&s, model, NULL, type, tokens, &err) == TEMPERA_OK, "%s", err.message);
    cr_assert(single_run(&s, ids, tokens, tokens, logits, &err) == TEMPERA_OK, "%s", err.message);
    single_close(&s);
    return logits;
}

/* The largest difference of log-probabilities; 0 only when all bits are the same. */
static double difference(const struct model *a, const struct model *b, enum weight_type type) {
    const int32_t V = model_hparams(a)->V, context = model_hparams(a)->context;
    const int32_t tokens = context < TOKENS ? context : TOKENS;
    double worst = 0, p[V], q[V];
    cr_assert(model_hparams(b)->V == V);
    float *x = logits_of(a, type, tokens), *y = logits_of(b, type, tokens);
    const size_t count = (size_t)tokens * (size_t)V;
    for (size_t i = 0; i < count; i += (size_t)V) {
        log_softmax(p, x + i, V);
        log_softmax(q, y + i, V);
        for (int32_t v = 0; v < V; v++) worst = fmax(worst, fabs(p[v] - q[v]));
    }
    if (worst == 0 && memcmp(x, y, count * sizeof *x) != 0) worst = 1e-300;
    mem_free(x);
    mem_free(y);
    return worst;
}

static double folder_against_gguf(const char *folder, const struct conversion *conversion, enum weight_type type) {
    struct gguf_file file = gguf_convert(folder, conversion);
    struct model *a = open_model(folder), *b = open_model(file.path);
    double worst = difference(a, b, type);
    model_free(a);
    model_free(b);
    gguf_file_remove(&file);
    return worst;
}

/* ---- every family ------------------------------------------------------------------------------------------------ */

/* Folders whose settings a GGUF file can say. Gemma's has no scale of the scores: it is the head width's. */
static const struct {
    const char *name;
    const char *from, *to; /* in config.json */
    double most; /* > 0: rotary factors went through float, so that the last bits may differ; as test_vectors.c */
} fixtures[] = {
    {"gemma", NULL, NULL, 0},
    {"gemma2", "\"query_pre_attn_scalar\": 20", "\"query_pre_attn_scalar\": 12", 0},
    {"gemma3_text", "\"query_pre_attn_scalar\": 20", "\"query_pre_attn_scalar\": 12", 0},
    {"gpt2", NULL, NULL, 0},
    {"gpt2_f16", NULL, NULL, 0},
    {"gpt2_legacy", NULL, NULL, 0},
    {"gpt_neox", NULL, NULL, 0},
    {"gpt_neox_sequential", NULL, NULL, 0},
    {"llama", NULL, NULL, 0},
    {"llama_bf16", NULL, NULL, 0},
    {"llama_bias", NULL, NULL, 0},
    {"llama_linear_rope", NULL, NULL, 0},
    {"llama_sharded", NULL, NULL, 0},
    {"llama_yarn", NULL, NULL, 0},
    {"llama3_rope", NULL, NULL, 1e-4},
    {"phi", NULL, NULL, 0},
    {"phi3", NULL, NULL, 0},
    {"phi3_longrope_long", NULL, NULL, 1e-4},
    {"phi3_longrope_short", NULL, NULL, 1e-4},
    {"qwen2", NULL, NULL, 0},
    {"qwen2_yarn", NULL, NULL, 0},
    {"qwen3", NULL, NULL, 0},
};

Test(gguf_model, every_family_gives_the_same_bits) {
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        struct variant variant = {.config_from = fixtures[i].from, .config_to = fixtures[i].to};
        char *folder = variant_fixture(fixtures[i].name, &variant);
        double worst = folder_against_gguf(folder, &(struct conversion){.type = W_T_F32}, WEIGHT_F32);
        cr_log_info("%-24s %g", fixtures[i].name, worst); /* shown by --verbose */
        cr_expect(worst <= fixtures[i].most, "%s: differs by %g", fixtures[i].name, worst);
        test_folder_remove(folder);
    }
}

Test(gguf_model, halves_give_the_same_bits) {
    char *llama = fixture_folder("llama_bf16"), *gpt2 = fixture_folder("gpt2_f16");
    cr_expect_eq(folder_against_gguf(llama, &(struct conversion){.type = W_T_BF16}, WEIGHT_BF16), 0);
    cr_expect_eq(folder_against_gguf(gpt2, &(struct conversion){.type = W_T_F16}, WEIGHT_F16), 0);
    mem_free(llama);
    mem_free(gpt2);
}

Test(gguf_model, real_models_give_the_same_bits) {
    TEST_NEEDS_MODELS("stories260k, gpt-nano-sort");
    static const char *const names[] = {"stories260k", "gpt-nano-sort"};
    for (size_t i = 0; i < 2; i++) {
        char *folder = path_join(test_models(), names[i]);
        cr_expect_eq(folder_against_gguf(folder, &(struct conversion){.type = W_T_F32}, WEIGHT_F32), 0, "%s", names[i]);
        mem_free(folder);
    }
}

/* The file that another program made of the same weights. */
Test(gguf_model, stories_of_llamacpp) {
    TEST_NEEDS_MODELS("stories260k");
    TEST_NEEDS_DATA("stories260K.gguf");
    char *folder = path_join(test_models(), "stories260k");
    char *path = path_join(test_data(), "weights-stories260K/stories260K.gguf");
    struct model *a = open_model(folder), *b = open_model(path);
    cr_expect_eq(difference(a, b, WEIGHT_F32), 0);
    cr_expect_str_eq(model_tensor_types(b), "48 F32");
    cr_expect(model_weight_type(b) == WEIGHT_F32 && model_config(b)->bos == 1 && model_config(b)->eos[0] == 2);
    cr_expect(!model_hparams(b)->tied && model_hparams(b)->context == 2048);
    model_free(a);
    model_free(b);
    mem_free(folder);
    mem_free(path);
}

/* ---- quantised --------------------------------------------------------------------------------------------------- */

/* Blocks give the bits of the same numbers in F32, whatever type they are packed as: what is lost was lost in the file. */
static void check_quantised(const char *folder, uint32_t type, const char *name, enum weight_type most) {
    struct gguf_file blocks = gguf_convert(folder, &(struct conversion){.type = type});
    struct gguf_file numbers = gguf_convert(folder, &(struct conversion){.type = type, .decoded = true});
    struct model *a = open_model(blocks.path), *b = open_model(numbers.path), *original = open_model(folder);
    char expected[8];
    snprintf(expected, sizeof expected, "%s", name);
    cr_expect(strstr(model_tensor_types(a), expected), "%s: %s", name, model_tensor_types(a));
    cr_expect_eq(model_weight_type(a), most, "%s", name);
    cr_expect_eq(difference(a, b, WEIGHT_F32), 0, "%s in f32", name);
    cr_expect_eq(difference(a, b, WEIGHT_BF16), 0, "%s in bf16", name);
    cr_expect_gt(difference(a, original, WEIGHT_F32), 0, "%s", name);
    cr_expect_lt(model_file_bytes(a), model_file_bytes(b));
    model_free(a);
    model_free(b);
    model_free(original);
    gguf_file_remove(&blocks);
    gguf_file_remove(&numbers);
}

Test(gguf_model, quantised_blocks) {
    cr_assert(test_demo_model());
    check_quantised(test_demo_model(), W_T_Q8_0, "Q8_0", WEIGHT_BF16);
    check_quantised(test_demo_model(), W_T_Q4_0, "Q4_0", WEIGHT_BF16);
    check_quantised(test_demo_model(), W_T_Q4_K, "Q4_K", WEIGHT_F32); /* only few rows are whole blocks of 256 */
    check_quantised(test_demo_model(), W_T_Q6_K, "Q6_K", WEIGHT_F32);
}

/* With woven rows. */
Test(gguf_model, quantised_llama) {
    TEST_NEEDS_MODELS("stories260k");
    char *folder = path_join(test_models(), "stories260k");
    check_quantised(folder, W_T_Q8_0, "Q8_0", WEIGHT_BF16);
    check_quantised(folder, W_T_Q4_0, "Q4_0", WEIGHT_BF16);
    mem_free(folder);
}

/* The weight at [n, k] of a matrix packed on the cpu (cpu.h, cpu_quant.h). */
static float packed_weight(const struct linear_weight *w, int32_t n, int32_t k) {
    float value;
    uint16_t half;
    if (w->type >= WEIGHT_TYPE_COUNT) {
        cpu_quant_read(&value, w, n, k, 1);
        return value;
    }
    cr_assert_neq(w->type, WEIGHT_BF16);
    const size_t at = ((size_t)(n / 16) * (size_t)w->K + (size_t)k) * 16 + (size_t)n % 16;
    if (w->type == WEIGHT_F32) return memcpy(&value, (const char *)w->data + 4 * at, 4), value;
    memcpy(&half, (const char *)w->data + 2 * at, 2);
    return f16_to_float(half);
}

static const struct linear_weight *matrix_of(const struct single *s, const struct parameter *p) {
    const struct weights *w = &s->network->weights;
    return (const void *)((p->layer < 0 ? (const char *)w : (const char *)&w->layer[p->layer]) + p->target);
}

/* Packed as the file's own type, every weight has the bits that its block decodes to; `kept` matrices are blocks. */
static void check_kept(const char *folder, uint32_t type, enum weight_type packed, int kept) {
    struct gguf_file blocks = gguf_convert(folder, &(struct conversion){.type = type});
    struct gguf_file numbers = gguf_convert(folder, &(struct conversion){.type = type, .decoded = true});
    struct model *a = open_model(blocks.path), *b = open_model(numbers.path);
    struct single x, y;
    tempera_error err;
    int quantised = 0;
    cr_expect_eq(model_block_type(a), packed);
    cr_expect_eq(model_block_type(b), WEIGHT_F32);
    cr_assert(single_open(&x, a, NULL, packed, 8, &err) == TEMPERA_OK, "%s", err.message);
    cr_assert(single_open(&y, b, NULL, WEIGHT_F32, 8, &err) == TEMPERA_OK, "%s", err.message);
    for (size_t i = 0; i < a->list.count; i++) {
        const struct parameter *p = &a->list.items[i];
        if (!p->matrix) continue;
        const struct linear_weight *got = matrix_of(&x, p), *expected = matrix_of(&y, p);
        if (got->type >= WEIGHT_TYPE_COUNT) quantised++;
        /* Blocks of 4 bits outside the layers are quantised again, at 8 bits: half a step of a group's largest. */
        const bool wider = got->type == WEIGHT_Q8 && packed == WEIGHT_Q4;
        for (int32_t n = 0; n < p->N; n++)
            for (int32_t k = 0; k < p->K; k++) {
                const float v = packed_weight(got, n, k), e = packed_weight(expected, n, k);
                if (!wider) {
                    cr_assert(float_bits(v) == float_bits(e), "%s [%d, %d]", p->source[0].name, n, k);
                    continue;
                }
                float most = 0;
                for (int32_t j = 0; j < 32; j++) most = fmaxf(most, fabsf(packed_weight(expected, n, k / 32 * 32 + j)));
                /* 127 half units in the last place of the fp16 scale on top */
                cr_assert_leq(fabsf(v - e), most / 127 * (0.5f + 127 * 0x1p-11f), "%s [%d, %d]", p->source[0].name, n,
                              k);
            }
    }
    cr_expect_eq(quantised, kept, "%d matrices", quantised);
    single_close(&x);
    single_close(&y);
    model_free(a);
    model_free(b);
    gguf_file_remove(&blocks);
    gguf_file_remove(&numbers);
}

Test(gguf_model, blocks_are_kept) {
    if (strcmp(test_device(), "cpu") != 0) cr_skip_test("only the cpu has quantised weights");
    cr_assert(test_demo_model());
    check_kept(test_demo_model(), W_T_Q8_0, WEIGHT_Q8, 18);
    check_kept(test_demo_model(), W_T_Q4_0, WEIGHT_Q4, 18);
    TEST_NEEDS_MODELS("stories260k"); /* with woven rows, and matrices that are not whole blocks */
    char *folder = path_join(test_models(), "stories260k");
    check_kept(folder, W_T_Q8_0, WEIGHT_Q8, 16);
    check_kept(folder, W_T_Q4_0, WEIGHT_Q4, 16);
    mem_free(folder);
}

/* A block with an integer that the cpu does not take is packed as its numbers. */
Test(gguf_model, blocks_that_are_not_taken) {
    if (strcmp(test_device(), "cpu") != 0) cr_skip_test("only the cpu has quantised weights");
    struct gguf_file file = gguf_convert(test_demo_model(), &(struct conversion){.type = W_T_Q8_0});
    struct model *model = open_model(file.path);
    const struct tensor_view *view = tensor_set_find(model->set, "blk.0.attn_qkv.weight");
    cr_assert_not_null(view);
    float decoded[32], most = 0;
    char *bytes;
    size_t length, at = 0;
    cr_assert_eq(file_read(file.path, 1 << 24, &bytes, &length, NULL), TEMPERA_OK);
    while (memcmp(bytes + at, view->data, 340) != 0) at++; /* it is in the file once, that long */
    model_free(model);
    bytes[at + 2 + 5] = (char)-128;
    blocks_decode(decoded, DTYPE_Q8_0, (const unsigned char *)bytes + at, 32);
    mem_free(test_write(file.folder, "changed.gguf", bytes, length));
    char *path = path_join(file.folder, "changed.gguf");
    struct single s;
    tempera_error err;
    model = open_model(path);
    cr_assert(single_open(&s, model, NULL, WEIGHT_Q8, 8, &err) == TEMPERA_OK, "%s", err.message);
    const struct linear_weight *w = &s.network->weights.layer[0].qkv;
    cr_expect_eq(w->type, WEIGHT_Q8);
    for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(decoded[i]));
    for (int32_t i = 0; i < 32; i++)
        cr_expect_leq(fabsf(packed_weight(w, 0, i) - decoded[i]), most / 127 * (0.5f + 127 * 0x1p-11f), "%d", i);
    single_close(&s);
    model_free(model);
    mem_free(bytes);
    mem_free(path);
    gguf_file_remove(&file);
}

/* A table of more rows than are decoded at a time, and one more than whole groups of them. */
enum { WIDE = 512, ROWS = 2 * 2048 + 1 };

static void write_wide_tensor(struct gguf_writer *w, const char *name, size_t rows, bool decoded) {
    float *values = mem_array(rows * WIDE, sizeof *values);
    unsigned char *blocks = mem_array(rows, WIDE / 32 * 34);
    for (size_t i = 0; i < rows * WIDE; i++) values[i] = (float)((i * 2654435761u >> 7) % 2001) / 1000 - 1;
    encode_blocks(blocks, W_T_Q8_0, values, rows * WIDE);
    blocks_decode(values, DTYPE_Q8_0, blocks, rows * WIDE);
    if (decoded)
        write_tensor(w, name, W_T_F32, 2, (uint64_t[]){WIDE, rows}, values, rows * WIDE * sizeof *values);
    else
        write_tensor(w, name, W_T_Q8_0, 2, (uint64_t[]){WIDE, rows}, blocks, rows * (WIDE / 32 * 34));
    mem_free(values);
    mem_free(blocks);
}

static struct model *open_wide(const char *folder, bool decoded) {
    static const char *const matrices[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                           "ffn_gate", "ffn_up", "ffn_down"};
    static const char *const sizes[] = {"embedding_length", "feed_forward_length"};
    static const char *const norms[] = {"blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"};
    struct gguf_writer w = {0};
    struct buf out = {0};
    char name[64];
    float ones[WIDE];
    for (size_t i = 0; i < WIDE; i++) ones[i] = 1;
    write_string(&w, "general.architecture", "llama");
    write_u32(&w, "llama.block_count", 1);
    write_u32(&w, "llama.context_length", 64);
    write_u32(&w, "llama.attention.head_count", 8);
    write_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "llama.%s", sizes[i]);
        write_u32(&w, name, WIDE);
    }
    write_wide_tensor(&w, "token_embd.weight", ROWS, decoded);
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        snprintf(name, sizeof name, "blk.0.%s.weight", matrices[i]);
        write_wide_tensor(&w, name, WIDE, decoded);
    }
    for (size_t i = 0; i < 3; i++) write_tensor(&w, norms[i], W_T_F32, 1, (uint64_t[]){WIDE}, ones, sizeof ones);
    write_finish(&w, &out);
    char *path = test_write(folder, decoded ? "numbers.gguf" : "blocks.gguf", out.data, out.length);
    struct model *model = open_model(path);
    buf_free(&out);
    mem_free(path);
    return model;
}

Test(gguf_model, decoded_in_parts) {
    char *folder = test_folder_create();
    struct model *blocks = open_wide(folder, false), *numbers = open_wide(folder, true);
    cr_expect_str_eq(model_tensor_types(blocks), "3 F32, 8 Q8_0");
    for (int type = 0; type < WEIGHT_PACKED_COUNT; type++)
        cr_expect_eq(difference(blocks, numbers, (enum weight_type)type), 0, "%s",
                     weight_type_name((enum weight_type)type));
    model_free(blocks);
    model_free(numbers);
    test_folder_remove(folder);
}

/* ---- refused ----------------------------------------------------------------------------------------------------- */

static void refuse(const char *fixture, const struct conversion *conversion, tempera_status status, const char *text) {
    char *folder = fixture_folder(fixture);
    struct gguf_file file = gguf_convert(folder, conversion);
    struct model *model = NULL;
    tempera_error err = {0};
    const size_t length = strlen(file.path);
    cr_expect_eq(model_open(&model, file.path, &err), status, "%s", err.message);
    cr_expect(model == NULL && strncmp(err.message, file.path, length) == 0, "%s", err.message);
    cr_expect(strstr(err.message, text), "expected \"%s\", found \"%s\"", text, err.message);
    gguf_file_remove(&file);
    mem_free(folder);
}

static void more_experts(struct gguf_writer *w) {
    write_u32(w, "llama.expert_count", 8);
}

static void more_scaling(struct gguf_writer *w) {
    write_string(w, "llama.rope.scaling.type", "dynamic");
}

static void more_factor(struct gguf_writer *w) {
    write_string(w, "llama.rope.scaling.type", "yarn");
    write_f32(w, "llama.rope.scaling.factor", 2);
    write_f32(w, "llama.rope.scaling.attn_factor", 0.5f);
}

static void more_scale(struct gguf_writer *w) {
    write_f32(w, "llama.residual_scale", 0.25f);
}

static void more_files(struct gguf_writer *w) {
    write_key(w, "split.count", W_U16);
    write_bytes(&w->values, 3, 2);
}

static void more_heads(struct gguf_writer *w) {
    write_u32(w, "gpt2.attention.head_count_kv", 2);
}

static void more_window(struct gguf_writer *w) {
    write_u32(w, "llama.attention.sliding_window", 8);
}

static void more_values(struct gguf_writer *w) {
    write_u32(w, "gpt2.attention.value_length", 4);
}

static void more_ids(struct gguf_writer *w) {
    write_u32(w, "tokenizer.ggml.eos_token_id", 97);
}

static void more_tensor(struct gguf_writer *w) {
    static const float values[4] = {0};
    write_tensor(w, "blk.0.attn_sinks.weight", W_T_F32, 1, (uint64_t[]){4}, values, sizeof values);
}

static void more_freqs(struct gguf_writer *w) {
    static const float values[4] = {1, 1, 0, 1};
    write_tensor(w, "rope_freqs.weight", W_T_F32, 1, (uint64_t[]){4}, values, sizeof values);
}

Test(gguf_model, refused) {
    refuse("llama", &(struct conversion){.architecture = "falcon"}, TEMPERA_UNSUPPORTED,
           "general.architecture: \"falcon\" is not supported (supported are llama, gpt2, gptneox, qwen2");
    refuse("llama", &(struct conversion){.drop = "blk.1.ffn_up.weight"}, TEMPERA_FORMAT,
           "tensor \"blk.1.ffn_up.weight\" is missing (expected shape [70, 36])");
    refuse("llama", &(struct conversion){.drop = "token_embd.weight"}, TEMPERA_FORMAT,
           "tensor \"token_embd.weight\" is missing");
    refuse("llama", &(struct conversion){.drop = "blk.1.attn_norm.weight", .rename = "blk.2.attn_norm.weight"},
           TEMPERA_FORMAT, "tensor \"blk.1.attn_norm.weight\" is missing");
    refuse("llama", &(struct conversion){.more = more_tensor}, TEMPERA_FORMAT,
           "tensor \"blk.0.attn_sinks.weight\" is not part of a llama model");
    refuse("llama", &(struct conversion){.more = more_experts}, TEMPERA_UNSUPPORTED,
           "llama.expert_count: 8 is not supported");
    refuse("llama", &(struct conversion){.more = more_scaling}, TEMPERA_UNSUPPORTED,
           "llama.rope.scaling.type: \"dynamic\" is not supported");
    refuse("llama", &(struct conversion){.more = more_factor}, TEMPERA_UNSUPPORTED,
           "llama.rope.scaling.attn_factor: 0.5 is not supported");
    refuse("llama", &(struct conversion){.more = more_files}, TEMPERA_UNSUPPORTED,
           "one of 3 files of a model: not supported, join them first");
    refuse("llama", &(struct conversion){.more = more_scale}, TEMPERA_UNSUPPORTED,
           "llama.residual_scale: 0.25 is not supported");
    refuse("gpt2", &(struct conversion){.more = more_heads}, TEMPERA_FORMAT,
           "gpt2.attention.head_count_kv: expected a divisor of head_count (3), found 2");
    refuse("llama", &(struct conversion){.more = more_window}, TEMPERA_UNSUPPORTED,
           "llama.attention.sliding_window: 8 tokens; a window is not supported for llama");
    refuse("llama", &(struct conversion){.more = more_ids}, TEMPERA_FORMAT,
           "tokenizer.ggml.eos_token_id: 97 is not below the size of the vocabulary (97)");
    refuse("llama", &(struct conversion){.more = more_freqs}, TEMPERA_FORMAT,
           "tensor \"rope_freqs.weight\": factor 2 is 0");
    refuse("gpt2", &(struct conversion){.more = more_values}, TEMPERA_UNSUPPORTED,
           "gpt2.attention.value_length: values of 4 elements, keys of 12");
    refuse("gpt2", &(struct conversion){.architecture = "llama"}, TEMPERA_FORMAT,
           "llama.attention.layer_norm_rms_epsilon is missing");
}

/* Each of the sizes, left out. */
Test(gguf_model, missing_keys) {
    static const char *const names[] = {"embedding_length",    "block_count",          "context_length",
                                        "feed_forward_length", "attention.head_count", "attention.layer_norm_epsilon"};
    static const float values[64] = {0};
    enum { NAMES = sizeof names / sizeof *names };
    char *folder = test_folder_create();
    for (size_t missing = 0; missing < NAMES; missing++) {
        struct gguf_writer w = {0};
        struct buf out = {0};
        char key[64], expected[128];
        write_string(&w, "general.architecture", "gpt2");
        for (size_t i = 0; i < NAMES; i++) {
            snprintf(key, sizeof key, "gpt2.%s", names[i]);
            if (i == missing) continue;
            if (i + 1 == NAMES)
                write_f32(&w, key, 1e-5f);
            else
                write_u32(&w, key, 8);
        }
        write_tensor(&w, "token_embd.weight", W_T_F32, 2, (uint64_t[]){8, 8}, values, sizeof values);
        write_finish(&w, &out);
        char *path = test_write(folder, "file.gguf", out.data, out.length);
        struct model *model = NULL;
        tempera_error err = {0};
        snprintf(expected, sizeof expected, "gpt2.%s is missing", names[missing]);
        cr_expect_eq(model_open(&model, path, &err), TEMPERA_FORMAT);
        cr_expect(strstr(err.message, expected), "%s", err.message);
        buf_free(&out);
        mem_free(path);
    }
    test_folder_remove(folder);
}

/* ---- vocabularies ------------------------------------------------------------------------------------------------ */

Test(gguf_model, vocabulary_only) {
    static const char *const words[] = {"<unk>", "<s>", "</s>", "a"};
    struct gguf_writer w = {0};
    struct buf out = {0};
    char *folder = test_folder_create();
    write_string(&w, "general.architecture", "anything");
    write_u32(&w, "anything.context_length", 77);
    write_strings(&w, "tokenizer.ggml.tokens", words, 4);
    write_u32(&w, "tokenizer.ggml.bos_token_id", 1);
    write_u32(&w, "tokenizer.ggml.eos_token_id", UINT32_MAX);
    write_finish(&w, &out);
    char *path = test_write(folder, "vocab.gguf", out.data, out.length);
    struct model *model = open_model(path);
    struct single s;
    tempera_error err = {0};
    const struct hparams *hp = model_hparams(model);
    cr_expect(hp->V == 4 && hp->context == 77 && strcmp(hp->family, "anything") == 0);
    cr_expect(model_config(model)->bos == 1 && model_config(model)->eos_count == 0);
    cr_expect_eq(single_open(&s, model, NULL, WEIGHT_F32, 4, &err), TEMPERA_UNSUPPORTED);
    cr_expect(strstr(err.message, "vocab.gguf: a vocabulary without weights: it can tokenize"), "%s", err.message);
    single_close(&s);
    model_free(model);
    buf_free(&out);
    mem_free(path);
    test_folder_remove(folder);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Whichever allocation fails, model_open says so and leaks nothing. */
Test(gguf_model, every_failing_allocation) {
    char *folder = fixture_folder("llama_bias");
    struct gguf_file file = gguf_convert(folder, &(struct conversion){.type = W_T_F32});
    tempera_status status = TEMPERA_OUT_OF_MEMORY;
    model_free(open_model(file.path)); /* once, so that lazily made things exist */
    size_t live = mem_stats_get().live;
    long n = 0;
    for (; n < 2000 && status != TEMPERA_OK; n++) {
        struct model *model = NULL;
        tempera_error err = {0};
        mem_fail_after(n);
        status = model_open(&model, file.path, &err);
        mem_fail_after(-1);
        cr_expect(status == TEMPERA_OK || status == TEMPERA_OUT_OF_MEMORY, "%ld: %s", n, err.message);
        model_free(model);
        cr_expect_eq(mem_stats_get().live, live, "allocation %ld", n);
    }
    cr_expect(n > 20 && status == TEMPERA_OK);
    gguf_file_remove(&file);
    mem_free(folder);
}
