/* test_vectors.c: every fixture folder against the log-probabilities that transformers computes for it (README.md). */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "load/safetensors.h"
#include "single.h"
#include "support.h"
#include "variant.h"

/* With 16-bit weights KV pages are of 16 bits, and inputs of layers too ("avx512bf16") or operands (other devices than the
 * cpu): then errors are relative to how far the log-probabilities of a row spread (its largest distance from their mean),
 * else absolute. */
static bool is_rounded(enum weight_type type) {
    return type != WEIGHT_F32;
}

static double tolerance(enum weight_type type) {
    if (!is_rounded(type)) return 1e-4;
    const bool finer = type == WEIGHT_F16 && strcmp(test_device(), "cpu") == 0; /* three more bits, and nothing else */
    return finer ? 2e-2 / 8 : 2e-2;
}

/* ids [S, T], logprobs [S, T, V] of one fixture. */
struct vectors {
    struct tensor_set *set;
    const int32_t *ids;
    const float *logprobs;
    int32_t S, T, V;
};

static void vectors_open(struct vectors *v, const char *folder) {
    tempera_error err;
    char *path = path_join(folder, "vectors.safetensors");
    cr_assert(tensor_set_open_file(&v->set, path, &err) == TEMPERA_OK, "%s", err.message);
    mem_free(path);
    const struct tensor_view *ids = tensor_set_find(v->set, "ids");
    const struct tensor_view *logprobs = tensor_set_find(v->set, "logprobs");
    cr_assert(ids && logprobs && ids->dtype == DTYPE_I32 && logprobs->rank == 3);
    v->ids = (const void *)ids->data;
    v->logprobs = (const void *)logprobs->data;
    v->S = (int32_t)logprobs->shape[0];
    v->T = (int32_t)logprobs->shape[1];
    v->V = (int32_t)logprobs->shape[2];
}

static double spread(const float *expected, int32_t V) {
    double mean = 0, most = 0;
    for (int32_t i = 0; i < V; i++) mean += (double)expected[i] / V;
    for (int32_t i = 0; i < V; i++) most = fmax(most, fabs((double)expected[i] - mean));
    return most;
}

static double worst_difference(const float *logits, const float *expected, int32_t T, int32_t V, bool relative) {
    double worst = 0, found[V];
    for (int32_t t = 0; t < T; t++, logits += V, expected += V) {
        const double scale = relative ? spread(expected, V) : 1;
        log_softmax(found, logits, V);
        for (int32_t i = 0; i < V; i++) {
            double difference = fabs(found[i] - (double)expected[i]) / scale;
            if (!(difference <= worst)) worst = difference; /* NaN counts */
        }
    }
    return worst;
}

/* The whole prompt in one step, then again in chunks, which must give the same bits. */
static double check_sequence(struct single *s, const struct vectors *v, int32_t sequence, const char *what) {
    tempera_error err;
    const size_t count = (size_t)v->T * (size_t)v->V;
    const int32_t *ids = v->ids + sequence * v->T;
    float *whole = mem_array(count, sizeof *whole), *parts = mem_array(count, sizeof *parts);
    single_reset(s);
    cr_assert(single_run(s, ids, v->T, v->T, whole, &err) == TEMPERA_OK, "%s: %s", what, err.message);
    for (int32_t chunk = 1; chunk <= 7; chunk += 6) {
        single_reset(s);
        cr_assert(single_run(s, ids, v->T, chunk, parts, &err) == TEMPERA_OK, "%s: %s", what, err.message);
        cr_expect(memcmp(whole, parts, count * sizeof *whole) == 0, "%s: chunks of %d give other bits", what, chunk);
    }
    double worst =
        worst_difference(whole, v->logprobs + (size_t)sequence * count, v->T, v->V, is_rounded(s->plan.weight_type));
    mem_free(parts);
    mem_free(whole);
    return worst;
}

static double check_instructions(const struct model *model, const struct vectors *v, const char *instructions,
                                 const char *what) {
    struct single s;
    tempera_error err;
    double worst = 0;
    tempera_status status = single_open(&s, model, instructions, model_weight_type(model), v->T, &err);
    if (status == TEMPERA_UNSUPPORTED && !s.backend) return 0; /* not in this processor */
    cr_assert(status == TEMPERA_OK, "%s: %s", what, err.message);
    const int32_t count = test_device_is_emulated() ? 1 : v->S;
    for (int32_t i = 0; i < count; i++) worst = fmax(worst, check_sequence(&s, v, i, what));
    single_close(&s);
    return worst;
}

static void check_folder(const char *folder, const char *what, const struct vectors *v) {
    static const char *const sets[] = {"avx512bf16", "avx512", "avx2", "portable"};
    const bool cpu = strcmp(test_device(), "cpu") == 0;
    struct model *model;
    tempera_error err;
    cr_assert(model_open(&model, folder, &err) == TEMPERA_OK, "%s: %s", what, err.message);
    for (size_t i = 0; i < (cpu ? sizeof sets / sizeof sets[0] : 1); i++) {
        const char *name = cpu ? sets[i] : test_device();
        double worst = check_instructions(model, v, cpu ? sets[i] : NULL, what);
        cr_log_info("%-36s %-9s %.1e", what, name, worst); /* shown by --verbose */
        cr_expect(worst <= tolerance(model_weight_type(model)), "%s: %s: log-probabilities differ by up to %g", what,
                  name, worst);
    }
    model_free(model);
}

static void check_fixture(const char *name) {
    char *folder = fixture_folder(name), *old = path_join(folder, "config.v4.json");
    struct vectors v;
    vectors_open(&v, folder);
    check_folder(folder, name, &v);
    if (file_exists(old)) {
        char what[300], *variant = variant_fixture(name, &(struct variant){.config = "config.v4.json"});
        snprintf(what, sizeof what, "%s (config.v4.json)", name);
        check_folder(variant, what, &v);
        test_folder_remove(variant);
    }
    tensor_set_free(v.set);
    mem_free(old);
    mem_free(folder);
}

Test(vectors, every_fixture) {
    TEST_NEEDS_DEVICE();
    cr_assert(test_fixtures(), "no fixtures");
    DIR *dir = opendir(test_fixtures());
    cr_assert(dir, "no fixtures");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        check_fixture(entry->d_name);
        count++;
    }
    closedir(dir);
    cr_expect(count >= 27, "expected the 27 fixtures of README.md, found %d", count);
}
