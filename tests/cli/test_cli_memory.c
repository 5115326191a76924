/* test_cli_memory.c: the most memory that a generation takes: the packed weights, the KV pages and little more, however
 * the files hold the weights; and that `info` told it before. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli.h"
#include "gguf_write.h"
#include "support.h"

/* What may come on top: the program, its libraries, activations and workspace. */
enum { BESIDE = 30 << 20 };

/* The largest tensors come first and last, when the other weights are there already. */
enum { WIDTH = 512, VOCAB = 40960, INNER = 4 * WIDTH };

static const struct {
    const char *name;
    int rows, cols; /* cols 0: a vector */
} tensors[] = {
    {"wte.weight", VOCAB, WIDTH},
    {"wpe.weight", 64, WIDTH},
    {"h.0.ln_1.weight", WIDTH, 0},
    {"h.0.ln_1.bias", WIDTH, 0},
    {"h.0.attn.c_attn.weight", WIDTH, 3 * WIDTH},
    {"h.0.attn.c_attn.bias", 3 * WIDTH, 0},
    {"h.0.attn.c_proj.weight", WIDTH, WIDTH},
    {"h.0.attn.c_proj.bias", WIDTH, 0},
    {"h.0.ln_2.weight", WIDTH, 0},
    {"h.0.ln_2.bias", WIDTH, 0},
    {"h.0.mlp.c_fc.weight", WIDTH, INNER},
    {"h.0.mlp.c_fc.bias", INNER, 0},
    {"h.0.mlp.c_proj.weight", INNER, WIDTH},
    {"h.0.mlp.c_proj.bias", WIDTH, 0},
    {"ln_f.weight", WIDTH, 0},
    {"ln_f.bias", WIDTH, 0},
    {"lm_head.weight", VOCAB, WIDTH},
};

/* A model of zeros, 180 MB of them in F32: its file has holes, whose pages are as resident as others when read. */
static char *zero_model(const char *dtype, size_t size) {
    static const char config[] = "{\"model_type\": \"gpt2\", \"vocab_size\": 40960, \"n_embd\": 512, \"n_layer\": 1, "
                                 "\"n_head\": 8, \"n_positions\": 64, \"tie_word_embeddings\": false}";
    char *folder = test_folder_create();
    struct buf header = {.max = 1 << 16};
    size_t at = 0;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const int rows = tensors[i].rows, cols = tensors[i].cols;
        const size_t bytes = (size_t)rows * (size_t)(cols ? cols : 1) * size;
        char shape[32];
        snprintf(shape, sizeof shape, cols ? "%d,%d" : "%d", rows, cols);
        buf_printf(&header, NULL, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                   i ? "," : "{", tensors[i].name, dtype, shape, at, at + bytes);
        at += bytes;
    }
    buf_printf(&header, NULL, "}");
    struct buf file = {.max = 1 << 16};
    write_bytes(&file, header.length, 8);
    buf_append(&file, header.data, header.length, NULL);
    char *path = test_write(folder, "model.safetensors", file.data, file.length);
    cr_assert(path && truncate(path, (off_t)(file.length + at)) == 0);
    mem_free(path);
    mem_free(test_write(folder, "config.json", config, sizeof config - 1));
    buf_free(&header);
    buf_free(&file);
    return folder;
}

static void write_zeros(struct gguf_writer *w, const char *name, uint32_t type, int rows, size_t bytes) {
    void *data = mem_array((size_t)rows, bytes); /* all bits 0: of Q4_0, -8 times 0 */
    write_tensor(w, name, type, type == W_T_F32 ? 1 : 2, (uint64_t[]){WIDTH, (uint64_t)rows}, data,
                 (size_t)rows * bytes);
    mem_free(data);
}

/* The same as a llama in blocks of one type, 24 or 45 MB. */
static char *zero_gguf(uint32_t type) {
    static const char *const matrices[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                           "ffn_gate", "ffn_up", "ffn_down"};
    static const char *const norms[] = {"blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"};
    const size_t row = WIDTH / 32 * (type == W_T_Q8_0 ? 34 : 18);
    char *folder = test_folder_create(), name[64];
    struct gguf_writer w = {0};
    struct buf out = {0};
    write_string(&w, "general.architecture", "llama");
    write_u32(&w, "llama.block_count", 1);
    write_u32(&w, "llama.context_length", 64);
    write_u32(&w, "llama.embedding_length", WIDTH);
    write_u32(&w, "llama.feed_forward_length", WIDTH);
    write_u32(&w, "llama.attention.head_count", 8);
    write_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    write_zeros(&w, "token_embd.weight", type, VOCAB, row);
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        snprintf(name, sizeof name, "blk.0.%s.weight", matrices[i]);
        write_zeros(&w, name, type, WIDTH, row);
    }
    for (size_t i = 0; i < 3; i++) write_zeros(&w, norms[i], W_T_F32, 1, WIDTH * sizeof(float));
    write_zeros(&w, "output.weight", type, VOCAB, row);
    write_finish(&w, &out);
    mem_free(test_write(folder, "model.gguf", out.data, out.length));
    buf_free(&out);
    return folder;
}

/* Kilobytes: the most that any child of this process had; so `info`, which packs and compares, comes last. */
static long most_resident(void) {
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return usage.ru_maxrss;
}

static void check_peak(const char *model, const char *dtype, const char *packed) {
    struct cli run = cli(NULL, "generate", "--model", model, "--dtype", dtype, "--device", "cpu", "--threads", "2",
                         "-q", "--prompt-ids", "1 2 3", "--max-tokens", "4", "--json", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    const double peak = 1024.0 * (double)most_resident();
    struct cli plan = cli(NULL, "info", model, "--dtype", dtype, "--device", "cpu", "--threads", "2", "--json", NULL);
    cr_assert_eq(plan.status, 0, "%s", plan.err);
    cJSON *json = cli_json(plan.out, 0);
    cr_expect_str_eq(cli_string(json, "plan.dtype"), packed);
    const double weights = cli_number(json, "plan.weights"), kv = cli_number(json, "plan.kv");
    cr_log_info("%s: weights %.1f MB, KV %.1f MB, and %.1f MB", dtype, weights / 1e6, kv / 1e6,
                (peak - weights - kv) / 1e6);
    cr_expect_geq(peak, weights + kv, "%s: all is there", dtype);
    cr_expect_leq(peak, weights + kv + BESIDE, "%s: %.0f, weights %.0f, KV %.0f", dtype, peak, weights, kv);
    cJSON_Delete(json);
    cli_free(&plan);
    cli_free(&run);
}

/* Each in a process of its own, since a peak is kept; under a sanitizer the shadow would be counted. */
#ifdef __SANITIZE_ADDRESS__
#define IF_COUNTED cr_skip_test("memory is not the program's own here")
#else
#define IF_COUNTED (void)0
#endif
#define FOLDER_TEST(name, file, size, dtype)                                                                           \
    Test(cli_memory, name) {                                                                                           \
        IF_COUNTED;                                                                                                    \
        char *folder = zero_model(file, size);                                                                         \
        check_peak(folder, dtype, dtype);                                                                              \
        test_folder_remove(folder);                                                                                    \
    }
#define GGUF_TEST(name, type, packed)                                                                                  \
    Test(cli_memory, name) {                                                                                           \
        IF_COUNTED;                                                                                                    \
        char *folder = zero_gguf(type), *path = path_join(folder, "model.gguf");                                       \
        check_peak(path, "auto", packed);                                                                              \
        mem_free(path);                                                                                                \
        test_folder_remove(folder);                                                                                    \
    }

FOLDER_TEST(f32, "F32", 4, "f32")
FOLDER_TEST(f32_as_bf16, "F32", 4, "bf16")
FOLDER_TEST(f32_as_q8, "F32", 4, "q8")
FOLDER_TEST(f32_as_q4, "F32", 4, "q4")
FOLDER_TEST(bf16, "BF16", 2, "bf16")
FOLDER_TEST(bf16_as_q8, "BF16", 2, "q8")
GGUF_TEST(blocks_of_8_bits, W_T_Q8_0, "q8")
GGUF_TEST(blocks_of_4_bits, W_T_Q4_0, "q4")
