/* test_real_models.c: trained models: a GPT-2 of minGPT against PyTorch's activations of every stage, and a Llama that
 * tells a known story. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "load/json.h"
#include "model/internal.h"
#include "single.h"
#include "support.h"
#include "variant.h"

static struct model *open_model(const char *folder) {
    struct model *model;
    tempera_error err;
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s", err.message);
    return model;
}

static cJSON *open_json(const char *parent, const char *name, const char *file) {
    char *folder = path_join(parent, name), *path = path_join(folder, file);
    cJSON *root = NULL;
    tempera_error err;
    cr_assert(json_open(&root, path, 1 << 24, &err) == TEMPERA_OK, "%s", err.message);
    mem_free(path);
    mem_free(folder);
    return root;
}

/* ---- gpt-nano-sort ----------------------------------------------------------------------------------------------- */

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The array `key`: base64 of little-endian floats. mem_free. */
static float *read_floats(const cJSON *root, const char *key, size_t count) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, key), "data");
    const char *text = cJSON_GetStringValue(item);
    cr_assert(text, "no array %s", key);
    float *out = mem_array(count + 1, sizeof *out);
    unsigned char *byte = (unsigned char *)out;
    unsigned bits = 0, held = 0;
    for (size_t used = 0; base64_digit(*text) >= 0 && used < count * sizeof *out; text++) {
        bits = bits << 6 | (unsigned)base64_digit(*text);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        byte[used++] = (unsigned char)(bits >> held);
    }
    return out;
}

static void expect_near(const float *found, const float *expected, size_t count, double tolerance, const char *what) {
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)found[i] - (double)expected[i]);
        if (!(difference <= worst)) worst = difference;
    }
    cr_log_info("%-10s %.1e", what, worst);
    cr_expect(worst <= tolerance, "%s: differs by up to %g", what, worst);
}

enum { NANO_S = 3, NANO_T = 11, NANO_D = 48, NANO_V = 3, NANO_L = 3 };

/* The residual stream after the first `layers` layers is what a network of so many layers leaves in x. It lies on the
 * device: only the cpu's is read. */
static void check_layers(struct single *s, const cJSON *root, int32_t sequence, const int32_t *ids) {
    static const char *const keys[NANO_L + 1] = {"x", "block0", "block1", "block2"};
    float logits[NANO_T * NANO_V];
    tempera_error err;
    for (int32_t layers = 0; layers <= NANO_L; layers++) {
        s->network->hp.L = layers;
        single_reset(s);
        cr_assert(single_run(s, ids, NANO_T, NANO_T, logits, &err) == TEMPERA_OK, "%s", err.message);
        float *expected = read_floats(root, keys[layers], NANO_S * NANO_T * NANO_D);
        expect_near(s->network->activations.x, expected + sequence * NANO_T * NANO_D, NANO_T * NANO_D, 2e-4,
                    keys[layers]);
        mem_free(expected);
    }
}

static void check_logits(struct single *s, const cJSON *root, int32_t sequence, const int32_t *ids) {
    float logits[NANO_T * NANO_V];
    tempera_error err;
    float *expected = read_floats(root, "lm_head", NANO_S * NANO_T * NANO_V);
    for (int32_t chunk = 1; chunk <= NANO_T; chunk += 5) {
        single_reset(s);
        cr_assert(single_run(s, ids, NANO_T, chunk, logits, &err) == TEMPERA_OK, "%s", err.message);
        expect_near(logits, expected + sequence * NANO_T * NANO_V, NANO_T * NANO_V, 1e-4, "logits");
    }
    mem_free(expected);
}

/* The folder lacks the biases of c_attn, which the model does have: they are in the file that the folder was made
 * from. */
static char *complete_folder(void) {
    static const char *const names[NANO_L] = {"transformer.h.0.attn.c_attn.bias", "transformer.h.1.attn.c_attn.bias",
                                              "transformer.h.2.attn.c_attn.bias"};
    cJSON *root = open_json(test_data(), "weights-gpt-nano-sort", "gpt-nano-sort-model.json");
    struct tensor_edit edit[NANO_L] = {0};
    for (int i = 0; i < NANO_L; i++)
        edit[i] = (struct tensor_edit){
            .name = names[i], .add = true, .values = read_floats(root, names[i], 3 * NANO_D), .count = 3 * NANO_D};
    char *incomplete = path_join(test_models(), "gpt-nano-sort");
    char *folder = variant_folder(incomplete, &(struct variant){.edit = edit, .edits = NANO_L});
    for (int i = 0; i < NANO_L; i++) mem_free((float *)edit[i].values);
    mem_free(incomplete);
    cJSON_Delete(root);
    return folder;
}

Test(real_models, gpt_nano_sort_matches_pytorch) {
    TEST_NEEDS_DEVICE();
    TEST_NEEDS_MODELS("gpt-nano-sort");
    TEST_NEEDS_DATA("weights-gpt-nano-sort");
    char *folder = complete_folder();
    struct model *model = open_model(folder);
    cJSON *root = open_json(test_models(), "gpt-nano-sort", "activations.json");
    float *input = read_floats(root, "idx", NANO_S * NANO_T);
    struct single s;
    tempera_error err;
    cr_assert(single_open(&s, model, NULL, WEIGHT_F32, NANO_T, &err) == TEMPERA_OK, "%s", err.message);
    for (int32_t sequence = 0; sequence < NANO_S; sequence++) {
        int32_t ids[NANO_T];
        for (int32_t t = 0; t < NANO_T; t++) ids[t] = (int32_t)input[sequence * NANO_T + t];
        check_logits(&s, root, sequence, ids);
        if (strcmp(test_device(), "cpu") == 0) check_layers(&s, root, sequence, ids);
    }
    single_close(&s);
    mem_free(input);
    cJSON_Delete(root);
    model_free(model);
    test_folder_remove(folder);
}

static int32_t best(const float *logits, int32_t V) {
    int32_t at = 0;
    for (int32_t v = 1; v < V; v++)
        if (logits[v] > logits[at]) at = v;
    return at;
}

/* The model was trained to write its six digits again, sorted. */
Test(real_models, gpt_nano_sort_sorts_all_729_inputs) {
    enum { DIGITS = 6 };
    TEST_NEEDS_DEVICE();
    TEST_NEEDS_MODELS("gpt-nano-sort");
    TEST_NEEDS_DATA("weights-gpt-nano-sort");
    char *folder = complete_folder();
    struct model *model = open_model(folder);
    struct single s;
    tempera_error err;
    int wrong = 0;
    cr_assert(single_open(&s, model, NULL, WEIGHT_F32, NANO_T, &err) == TEMPERA_OK, "%s", err.message);
    for (int input = 0; input < 729; input += test_device_is_emulated() ? 13 : 1) {
        int32_t digit[DIGITS], count[3] = {0}, token;
        float logits[DIGITS * 3];
        for (int i = 0, rest = input; i < DIGITS; i++, rest /= 3) count[digit[i] = rest % 3]++;
        single_reset(&s);
        cr_assert(single_run(&s, digit, DIGITS, DIGITS, logits, &err) == TEMPERA_OK, "%s", err.message);
        token = best(logits + (DIGITS - 1) * 3, 3);
        for (int i = 0; i < DIGITS; i++) {
            int32_t sorted = i < count[0] ? 0 : i < count[0] + count[1] ? 1 : 2;
            if (token != sorted) {
                wrong++;
                break;
            }
            if (i == DIGITS - 1) break;
            cr_assert(single_run(&s, &token, 1, 1, logits, &err) == TEMPERA_OK, "%s", err.message);
            token = best(logits, 3);
        }
    }
    cr_expect(wrong == 0, "%d of 729 inputs are not sorted", wrong);
    single_close(&s);
    model_free(model);
    test_folder_remove(folder);
}

/* ---- stories260k ------------------------------------------------------------------------------------------------- */

enum { STORY_TOKENS = 300 };

/* The greedy text that the author publishes with the weights, from the page in the data folder. */
static char *published_story(void) {
    char path[1024], *page = NULL;
    size_t length;
    tempera_error err;
    snprintf(path, sizeof path, "%s/weights-stories260K/stories260K.md", test_data());
    cr_assert(file_read(path, 1 << 20, &page, &length, &err) == TEMPERA_OK, "%s", err.message);
    char *start = strstr(page, "\nOnce upon a time, there was a little girl");
    cr_assert(start != NULL);
    char *end = strstr(start, "\n```");
    cr_assert(end != NULL && end - start > 500);
    char *story = mem_strndup(start + 1, (size_t)(end - start - 1));
    mem_free(page);
    return story;
}

static const char *piece_of(const cJSON *vocabulary, int32_t id) {
    const cJSON *item;
    cJSON_ArrayForEach(item, vocabulary) if ((int32_t)item->valuedouble == id) return item->string;
    return "";
}

/* Pieces spell a space as U+2581 and other bytes as <0xNN>. */
static void append_piece(struct buf *text, const char *piece) {
    if (strlen(piece) == 6 && strncmp(piece, "<0x", 3) == 0) {
        char byte = (char)strtol(piece + 3, NULL, 16);
        buf_append(text, &byte, 1, NULL);
        return;
    }
    for (; *piece; piece++) {
        bool space = strncmp(piece, "\xe2\x96\x81", 3) == 0;
        buf_append(text, space ? " " : piece, 1, NULL);
        if (space) piece += 2;
    }
}

/* At least the beginning of the story, as far as a slow device gets. */
static void tell(struct single *s, const cJSON *vocabulary, const char *story, const char *what) {
    float logits[512];
    int32_t token = 1; /* begin of text */
    tempera_error err;
    struct buf text = {.max = 1 << 16};
    const int tokens = test_device_is_emulated() ? 100 : STORY_TOKENS;
    for (int i = 0; i < tokens && text.length <= strlen(story); i++) {
        cr_assert(single_run(s, &token, 1, 1, logits, &err) == TEMPERA_OK, "%s", err.message);
        token = best(logits, s->V);
        append_piece(&text, piece_of(vocabulary, token));
    }
    const char *told = text.data + strspn(text.data, " ");
    const size_t length = tokens < STORY_TOKENS ? strlen(told) : strlen(story);
    cr_expect(length > 100 && strncmp(told, story, length) == 0, "%s: expected: %s\n   found: %s", what, story, told);
    buf_free(&text);
}

Test(real_models, stories260k_tells_the_published_story) {
    TEST_NEEDS_DEVICE();
    TEST_NEEDS_MODELS("stories260k");
    TEST_NEEDS_DATA("weights-stories260K");
    char *story = published_story();
    char *folder = path_join(test_models(), "stories260k");
    struct model *model = open_model(folder);
    cJSON *root = open_json(test_models(), "stories260k", "tokenizer.json");
    const cJSON *vocabulary = json_get(json_get(root, "model"), "vocab");
    static const char *const instructions[] = {"avx512", "avx2", "portable"};
    const bool cpu = strcmp(test_device(), "cpu") == 0;
    for (int i = 0; i < (cpu ? 3 : 1); i++) {
        struct single s;
        tempera_error err;
        tempera_status status = single_open(&s, model, cpu ? instructions[i] : NULL, WEIGHT_F32, 512, &err);
        if (status == TEMPERA_UNSUPPORTED) continue; /* not in this processor */
        cr_assert(status == TEMPERA_OK, "%s", err.message);
        tell(&s, vocabulary, story, instructions[i]);
        single_close(&s);
    }
    cJSON_Delete(root);
    model_free(model);
    mem_free(story);
    mem_free(folder);
}
