/* test_quantised.c: what quantised weights cost: every family's fixture against itself in fp32, and the perplexity of
 * trained models. The arithmetic itself is tested in tests/ops. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "single.h"
#include "support.h"
#include "text/tokenizer.h"
#include "variant.h"

enum { T = 40 };

/* logits [count, V]; NULL where the instruction set is not in this processor. */
static float *run(const struct model *model, enum weight_type type, const char *instructions, const int32_t *ids,
                  int32_t count, int32_t chunk) {
    struct single s;
    tempera_error err;
    tempera_status status = single_open(&s, model, instructions, type, count, &err);
    if (status == TEMPERA_UNSUPPORTED && !s.backend) return NULL;
    cr_assert(status == TEMPERA_OK, "%s", err.message);
    float *logits = malloc((size_t)count * (size_t)s.V * sizeof *logits);
    cr_assert(single_run(&s, ids, count, chunk, logits, &err) == TEMPERA_OK, "%s", err.message);
    single_close(&s);
    return logits;
}

/* Root mean square of the difference of log-probabilities, over that of their distance from the mean of their row. */
static double distance(const float *a, const float *b, int32_t count, int32_t V) {
    double left = 0, spread = 0;
    double *x = malloc((size_t)V * sizeof *x), *y = malloc((size_t)V * sizeof *y);
    for (int32_t t = 0; t < count; t++) {
        double mean = 0;
        log_softmax(x, a + (size_t)t * (size_t)V, V);
        log_softmax(y, b + (size_t)t * (size_t)V, V);
        for (int32_t v = 0; v < V; v++) mean += x[v] / V;
        for (int32_t v = 0; v < V; v++) {
            left += (x[v] - y[v]) * (x[v] - y[v]);
            spread += (x[v] - mean) * (x[v] - mean);
        }
    }
    free(x), free(y);
    return sqrt(left / spread);
}

/* Measured: 1.6% to 4.4% with 8 bits, 11% to 42% with 4: 3 to 6 times the errors of rounding themselves (0.5% in weights
 * and inputs, 8% in weights of 4 bits), as random weights pass errors on undamped. A wrong scale or input is 100%. */
static double most_distance(enum weight_type type) {
    return type == WEIGHT_Q8 ? 0.05 : 0.5;
}

static void check_fixture(const char *name, enum weight_type type) {
    static const char *const sets[] = {"portable", "avx2", "avx512"};
    struct model *model;
    tempera_error err;
    char *folder = fixture_folder(name);
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s: %s", name, err.message);
    const int32_t V = model_hparams(model)->V;
    const size_t bytes = (size_t)T * (size_t)V * sizeof(float);
    int32_t ids[T];
    for (int32_t i = 0; i < T; i++) ids[i] = (i * 37 + 5) % V;
    float *full = run(model, WEIGHT_F32, NULL, ids, T, T);
    for (int i = 0; i < 3; i++) {
        float *whole = run(model, type, sets[i], ids, T, T);
        if (!whole) continue;
        for (int32_t chunk = 1; chunk <= 7; chunk += 6) {
            float *parts = run(model, type, sets[i], ids, T, chunk);
            cr_expect(memcmp(whole, parts, bytes) == 0, "%s %s: chunks of %d give other bits", name, sets[i], chunk);
            free(parts);
        }
        const double apart = distance(full, whole, T, V);
        cr_log_info("%-22s %s %-9s %.4f", name, weight_type_name(type), sets[i], apart); /* shown by --verbose */
        cr_expect(apart > 0 && apart < most_distance(type), "%s: %s is %g from f32", name, weight_type_name(type),
                  apart);
        free(whole);
    }
    free(full);
    model_free(model);
    mem_free(folder);
}

Test(quantised, every_family_stays_near) {
    if (strcmp(test_device(), "cpu") != 0) cr_skip_test("quantised weights are the cpu's");
    cr_assert(test_fixtures(), "no fixtures");
    DIR *dir = opendir(test_fixtures());
    cr_assert(dir, "no fixtures");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)); count++) {
        if (entry->d_name[0] == '.') continue;
        check_fixture(entry->d_name, WEIGHT_Q8);
        check_fixture(entry->d_name, WEIGHT_Q4);
    }
    closedir(dir);
    cr_expect(count >= 27);
}

/* ---- perplexity ---------------------------------------------------------------------------------------------------- */

enum { STORIES = 2 };

/* Two from tools/demo/corpus.py --seed 777, which the demo model has not seen. */
static const char *const made[STORIES] = {
    "One afternoon, a shy boy named Luca wanted to make a loaf of bread for the whole family. He had flour and water, "
    "but there was no salt. \"Oh dear! There is no salt,\" said Luca. \"Let us ask the miller,\" said his friend Pia.\n"
    "So Luca and Pia ran to the miller. \"Good morning!\" said Luca. \"Do you have some salt for us?\" \"Yes,\" came "
    "the "
    "answer, \"if you bring me a piece when it is done.\" Back in the kitchen, they mixed and stirred.",
    "Once there was a shy pony named Ginger. Her best friend was a young cat named Acorn. One morning, her mother gave "
    "Ginger a tiny seed. \"Put it in the ground, give it water, and wait,\" said her mother. Ginger made a small hole "
    "in the ground and put the seed inside. She sang to it. The next day, Ginger ran to look. There was nothing. \"It "
    "is not working!\" said Ginger. \"You have to be patient,\" said her mother.",
};
/* Two of the kind that stories260k was trained on, written for this test. */
static const char *const told[STORIES] = {
    "Once upon a time, there was a little girl named Lily. She lived in a small house with her mother. One day, Lily "
    "wanted to play outside with her red ball. She ran to the park and threw the ball high. The ball fell into the "
    "pond. Lily was sad. A kind dog saw her and jumped into the water. He brought the ball back to her. Lily was very "
    "happy. She said, \"Thank you!\" and they played all day.",
    "One day, a boy named Tom found a big box in the garden. He wanted to open it, but it was too heavy. His friend "
    "Ben "
    "came to help him. They pulled and pulled. In the box there was a small brown puppy. The puppy was scared. Tom "
    "gave "
    "it some food and water. Then the puppy was not scared any more. The two friends were happy and took it home.",
};

/* Mean of -log p of the tokens of all stories after their first. */
static double loss(const struct model *model, const struct tokenizer *tokenizer, const char *const *stories,
                   enum weight_type type) {
    double sum = 0;
    int32_t tokens = 0;
    const int32_t V = model_hparams(model)->V;
    double *p = malloc((size_t)V * sizeof *p);
    for (int i = 0; i < STORIES; i++) {
        struct ids ids = {0};
        cr_assert(tokenizer_encode(tokenizer, stories[i], strlen(stories[i]), ENCODE_SPECIAL, &ids, NULL) == 0);
        const int32_t count = (int32_t)ids.count;
        float *logits = run(model, type, NULL, ids.data, count, count);
        for (int32_t t = 0; t + 1 < count; t++, tokens++) {
            log_softmax(p, logits + (size_t)t * (size_t)V, V);
            sum -= p[ids.data[t + 1]];
        }
        free(logits);
        ids_free(&ids);
    }
    free(p);
    return sum / tokens;
}

/* Measured: 8 bits change the loss by up to 0.004, 4 bits by up to 0.08 (stories260k, whose rows are 64 wide). */
static void check_perplexity(const char *folder, const char *name, const char *const *stories) {
    struct model *model;
    struct tokenizer *tokenizer;
    tempera_error err;
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s", err.message);
    cr_assert(tokenizer_open(&tokenizer, folder, &err) == TEMPERA_OK, "%s", err.message);
    const double full = loss(model, tokenizer, stories, WEIGHT_F32), q8 = loss(model, tokenizer, stories, WEIGHT_Q8);
    const double q4 = loss(model, tokenizer, stories, WEIGHT_Q4);
    fprintf(stderr, "%s: perplexity %.3f in f32, %.3f in q8, %.3f in q4\n", name, exp(full), exp(q8), exp(q4));
    cr_expect(fabs(q8 - full) < 0.01, "q8 changes the loss by %g", q8 - full);
    cr_expect(fabs(q4 - full) < 0.15, "q4 changes the loss by %g", q4 - full);
    tokenizer_free(tokenizer);
    model_free(model);
}

Test(quantised, trained_models_lose_little) {
    if (strcmp(test_device(), "cpu") != 0) cr_skip_test("quantised weights are the cpu's");
    cr_assert(test_demo_model());
    check_perplexity(test_demo_model(), "demo model", made);
    TEST_NEEDS_MODELS("stories260k");
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/stories260k", test_models());
    check_perplexity(folder, "stories260k", told);
}

/* ---- refusal ------------------------------------------------------------------------------------------------------- */

/* A copy of a fixture in which the first element of a tensor is NaN. */
static char *spoil(const char *name, const char *tensor) {
    char *folder = variant_fixture(name, &(struct variant){0}), *path = path_join(folder, "model.safetensors");
    FILE *file = fopen(path, "r+b");
    uint64_t length;
    cr_assert(file && fread(&length, sizeof length, 1, file) == 1 && length < 1 << 20);
    char *header = calloc(1, length + 1);
    cr_assert(fread(header, 1, length, file) == length);
    const char *entry = strstr(header, tensor);
    const char *offset = entry ? strstr(entry, "\"data_offsets\":[") : NULL;
    cr_assert(offset);
    const long start = strtol(strchr(offset, '[') + 1, NULL, 10);
    const float bad = NAN;
    cr_assert(fseek(file, (long)(sizeof length + length) + start, SEEK_SET) == 0);
    cr_assert(fwrite(&bad, sizeof bad, 1, file) == 1 && fclose(file) == 0);
    free(header);
    mem_free(path);
    return folder;
}

Test(quantised, a_tensor_that_cannot_be_is_named) {
    if (strcmp(test_device(), "cpu") != 0) cr_skip_test("quantised weights are the cpu's");
    static const char tensor[] = "model.layers.1.mlp.down_proj.weight";
    struct model *model;
    struct single s;
    tempera_error err;
    char *folder = spoil("llama", tensor);
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s", err.message);
    cr_expect_eq(single_open(&s, model, NULL, WEIGHT_Q8, T, &err), TEMPERA_UNSUPPORTED);
    cr_expect(strcmp(err.message, "model.layers.1.mlp.down_proj.weight: weights that are not finite, or too large, "
                                  "cannot be quantised to q8") == 0,
              "%s", err.message);
    single_close(&s);
    model_free(model);
    test_folder_remove(folder);
}
