/* test_linear_library.c: cuBLASLt (cuda_library.h) changes speed and never bits: where the probe found an algorithm for a
 * shape, where it found none, with verdicts that were remembered, and with a file of verdicts that is damaged. The fast mode
 * is held to a bound only. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops_harness.h"

enum { D = 64, F = 512, HEADS = 4, T = 100, FEW = 50 }; /* FEW rows are never the library's */

/* qkv, attention out, a gated up and a down layer (whose K has segments): N, K, and how they end. */
static const struct layer_case {
    int32_t N, K;
    bool gated, bias, accumulate, out_operand;
} LAYERS[] = {{3 * D, D, false, false, false, false}, {3 * D, D, false, true, false, false},
              {D, D, false, false, true, false},      {2 * F, D, true, false, false, true},
              {F, D, false, true, false, true},       {D, F, false, false, true, false},
              {D, F, false, false, false, false}};
enum { LAYER_COUNT = sizeof LAYERS / sizeof LAYERS[0] };

static struct backend_limits limits_of(enum weight_type type) {
    struct backend_limits limits = ops_limits(D, T);
    limits.H = limits.Hkv = HEADS;
    limits.Dh = D / HEADS;
    limits.F = F;
    limits.pages = 64; /* the probe works in them */
    limits.type = type;
    return limits;
}

/* One layer for `count` rows: [count, outputs] into out. */
static void run_layer(struct ops *o, enum weight_type type, int index, int32_t count, float *out) {
    const struct layer_case *c = &LAYERS[index];
    const int32_t N = c->gated ? c->N / 2 : c->N, keep = o->buffers;
    struct ops_random random = {(uint64_t)index + 7};
    float *rows = ops_normals(&random, (size_t)c->N * (size_t)c->K, 0.3f);
    float *in = ops_normals(&random, (size_t)T * (size_t)c->K, 1), *bias = ops_normals(&random, (size_t)c->N, 1);
    float *old = ops_normals(&random, (size_t)T * (size_t)N, 1);
    struct linear_weight w = ops_weight(o, type, c->N, c->K, rows, c->bias ? bias : NULL);
    struct linear_params p = {.in = ops_put_operand(o, type, in, T, c->K),
                              .in_operand = true,
                              .out_operand = c->out_operand,
                              .weight = &w,
                              .activation = c->gated || c->out_operand ? ACT_SILU : ACT_NONE,
                              .accumulate = c->accumulate,
                              .T = count,
                              .out_stride = N};
    p.out = c->out_operand ? ops_new_operand(o, type, T, N) : ops_put(o, old, (size_t)T * (size_t)N);
    if (c->gated) p.gate_scratch = ops_new(o, (size_t)T * (size_t)c->N, NAN);
    const struct batch_view view = {.T = count};
    ops_begin(o, &view);
    OPS_CALL(o->call->linear(o->backend, &p, err));
    ops_end(o);
    if (c->out_operand) {
        ops_get_operand(o, out, p.out, type, count, N);
    } else {
        ops_get(o, out, p.out, (size_t)count * (size_t)N);
    }
    ops_drop(o, keep);
    free(rows), free(in), free(bias), free(old);
}

/* All layers, [LAYER_COUNT][T * F] floats; and in the default mode the first FEW rows by themselves have the same bits. */
static float *run_layers(const char *backend, enum weight_type type, bool fast) {
    struct ops o = {.call = backend_find(backend, NULL), .tensor = true};
    const struct backend_limits limits = limits_of(type);
    const struct backend_options options = {.fast = fast};
    OPS_CALL(o.call->open(&o.backend, &options, err));
    OPS_CALL(o.call->prepare(o.backend, &limits, err));
    float *out = calloc(LAYER_COUNT * T * F, sizeof *out), *few = malloc(T * F * sizeof *few);
    for (int i = 0; i < LAYER_COUNT; i++) {
        const int32_t N = LAYERS[i].gated ? LAYERS[i].N / 2 : LAYERS[i].N;
        run_layer(&o, type, i, T, out + i * T * F);
        run_layer(&o, type, i, FEW, few);
        if (!fast) ops_same(few, out + i * T * F, (size_t)FEW * (size_t)N, "the first rows alone", &o);
    }
    free(few);
    ops_close(&o);
    return out;
}

static bool available(const char *backend) {
    struct ops o;
    const struct ops_target target = {backend, NULL};
    if (!ops_open(&o, &target, 1, NULL)) return false;
    ops_close(&o);
    return true;
}

/* The file of verdicts below folder; false: there is none. */
static bool verdict_file(const char *folder, char path[512]) {
    char inside[400];
    bool found = false;
    snprintf(inside, sizeof inside, "%s/tempera", folder);
    DIR *dir = opendir(inside);
    if (!dir) return false;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, "linear-", 7) == 0)
            found = snprintf(path, 512, "%s/%.80s", inside, entry->d_name) > 0;
    closedir(dir);
    return found;
}

/* How often the process called cublasLtMatmul, by the emulated runtime's log; -1: there is no log. */
static long products(const char *log) {
    char line[128];
    long count = 0;
    FILE *file = fopen(log, "r");
    if (!file) return -1;
    while (fgets(line, sizeof line, file)) count += strstr(line, "cublasLtMatmul\n") != NULL;
    fclose(file);
    return count;
}

/* As if the verdicts were those of another version of the library. */
static void change_version(FILE *file) {
    char line[256];
    static const char word[] = "library ";
    cr_assert_not_null(fgets(line, sizeof line, file));
    const long at = ftell(file);
    cr_assert(fgets(line, sizeof line, file) && strncmp(line, word, strlen(word)) == 0, "%s", line);
    fseek(file, at + (long)strlen(word), SEEK_SET);
    fputc('9', file);
}

static void damage(const char *path, int how) {
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    if (how == 4) {
        change_version(file);
        fclose(file);
        return;
    }
    fseek(file, 0, SEEK_END);
    const long length = ftell(file);
    for (long at = how == 0 ? length / 2 : 0; at < length; at += how == 2 ? 13 : length) {
        fseek(file, at, SEEK_SET);
        fputc(how == 1 ? 'x' : '9', file);
    }
    fclose(file);
    if (how == 3) cr_assert_eq(truncate(path, length / 3), 0);
}

static void check(const char *backend) {
    char folder[] = "/tmp/tempera-verdicts-XXXXXX", path[512], log[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(log, sizeof log, "%s/calls", folder);
    setenv("TEMPERA_SIMT_CALLS", log, 1);
    if (!available(backend)) {
        rmdir(folder);
        return;
    }
    for (enum weight_type type = WEIGHT_F16; type <= WEIGHT_BF16; type++) {
        setenv("XDG_CACHE_HOME", "/dev/null/nowhere", 1);
        float *want = run_layers(backend, type, false);
        setenv("XDG_CACHE_HOME", folder, 1);
        for (int round = 0; round < 7; round++) { /* written, read, damaged in four ways, of another library */
            const long before = products(log);
            float *got = run_layers(backend, type, false);
            if (before >= 0 && round == 1) cr_assert_gt(products(log), before, "the library was not used");
            cr_assert(memcmp(got, want, LAYER_COUNT * T * F * sizeof *got) == 0, "round %d has other bits", round);
            free(got);
            if (before >= 0 && round == 6) {
                cr_assert_eq(products(log), before, "used on the word of another version");
                cr_assert_not(verdict_file(folder, path), "and kept");
            }
            if (!verdict_file(folder, path)) break; /* no library on this machine */
            if (round >= 1 && round < 6) damage(path, round - 1);
        }
        float *fast = run_layers(backend, type, true);
        for (int i = 0; i < LAYER_COUNT * T * F; i++)
            cr_assert(fabsf(fast[i] - want[i]) <= 0.01f * fabsf(want[i]) + 1e-3f, "fast: %g, default %g",
                      (double)fast[i], (double)want[i]);
        free(want), free(fast);
    }
    if (verdict_file(folder, path)) remove(path);
    snprintf(path, sizeof path, "%s/tempera", folder);
    remove(path), remove(log), remove(folder);
}

Test(linear_library, changes_no_bits_on_simt) {
    check("simt");
}

Test(linear_library, changes_no_bits_on_cuda) {
    check("cuda");
}
