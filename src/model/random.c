/* random.c: models of real shapes with random weights, for benchmarks without a download. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "model/internal.h"

/* ---- weights ----------------------------------------------------------------------------------------------------- */

uint64_t random_stream(const struct source *source, uint64_t seed) {
    uint64_t key = 0xCBF29CE484222325u; /* FNV-1a */
    for (const char *name = source->name; *name; name++) key = (key ^ (unsigned char)*name) * 0x100000001B3u;
    return scatter(key ^ scatter(seed));
}

/* The sum of twelve 16-bit numbers, less its mean: normal for every purpose here, and exact on any machine. */
static float bell(uint64_t count) {
    int32_t sum = -6 * 0xFFFF;
    for (uint64_t i = 0; i < 3; i++)
        for (uint64_t word = scatter(3 * count + i); word; word >>= 16) sum += (int32_t)(word & 0xFFFF);
    return (float)sum / 65536; /* the variance of twelve is one */
}

void random_table(union random_table *table, enum weight_type type, const struct parameter *p) {
    for (size_t i = 0; i < PICK_TABLE; i++) {
        float value = i < PICK_TABLE / 2 ? bell(i) : -bell(PICK_TABLE - 1 - i); /* so that the mean is exact */
        value = p->mean + p->deviation * value;
        if (type == WEIGHT_F32)
            table->f32[i] = value;
        else
            table->half[i] = type == WEIGHT_F16 ? float_to_f16(value) : float_to_bf16(value);
    }
}

void random_fill(void *out, enum weight_type type, const struct source *source, const struct parameter *p,
                 uint64_t seed) {
    union random_table table;
    random_table(&table, type, p);
    const size_t count = source->rows * source->cols;
    const uint64_t stream = random_stream(source, seed);
    for (size_t i = 0, w = 0; i < count; w++) {
        uint64_t word = pick_word(stream, w);
        for (int pick = 0; pick < PICKS && i < count; pick++, i++, word >>= PICK_BITS) {
            if (type == WEIGHT_F32)
                ((float *)out)[i] = table.f32[word % PICK_TABLE];
            else
                ((uint16_t *)out)[i] = table.half[word % PICK_TABLE];
        }
    }
}

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

struct shape {
    const char *name, *family;
    int32_t V, D, L, H, Hkv, F, context;
    double theta; /* 0: learned positions */
    double norm_eps;
    bool tied, llama3_rope;
    enum weight_type type;
};

/* clang-format off */
static const struct shape shapes[] = {
    /* name         family   V       D     L   H   Hkv F      context theta   eps   tied   llama3 type */
    {"gpt2",        "gpt2",  50257,  768,  12, 12, 12, 3072,  1024,   0,      1e-5, true,  false, WEIGHT_F32},
    {"gpt2-medium", "gpt2",  50257,  1024, 24, 16, 16, 4096,  1024,   0,      1e-5, true,  false, WEIGHT_F32},
    {"gpt2-large",  "gpt2",  50257,  1280, 36, 20, 20, 5120,  1024,   0,      1e-5, true,  false, WEIGHT_F32},
    {"gpt2-xl",     "gpt2",  50257,  1600, 48, 25, 25, 6400,  1024,   0,      1e-5, true,  false, WEIGHT_F32},
    {"llama-1b",    "llama", 32000,  2048, 22, 32, 4,  5632,  2048,   10000,  1e-5, false, false, WEIGHT_BF16},
    {"llama-8b",    "llama", 128256, 4096, 32, 32, 8,  14336, 131072, 500000, 1e-5, false, true,  WEIGHT_BF16},
    {"qwen2-0.5b",  "qwen2", 151936, 896,  24, 14, 2,  4864,  131072, 1e6,    1e-6, true,  false, WEIGHT_BF16},
};
/* clang-format on */

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static const struct shape *find_shape(const char *name, tempera_error *err) {
    char known[160] = "";
    for (size_t i = 0, used = 0; i < SHAPES; i++) {
        if (strcmp(shapes[i].name, name) == 0) return &shapes[i];
        used += (size_t)snprintf(known + used, sizeof known - used, i ? ", %s" : "%s", shapes[i].name);
    }
    fail(err, TEMPERA_INVALID_ARGUMENT, "no random model \"%s\" (there are %s)", name, known);
    return NULL;
}

static tempera_status shape_config(struct model_config *c, const struct shape *s, tempera_error *err) {
    char text[64];
    int length = snprintf(text, sizeof text, "{\"model_type\": \"%s\"}", s->family);
    TRY(config_parse(c, text, (size_t)length, s->name, err)); /* all other fields absent */
    c->vocab_size = s->V;
    c->width = s->D;
    c->layers = s->L;
    c->heads = s->H;
    c->kv_heads = s->Hkv;
    c->ff_width = s->F;
    c->context = s->context;
    c->tied = s->tied;
    c->norm_eps = s->norm_eps;
    c->rope.theta = s->theta;
    if (s->llama3_rope) {
        c->rope.scaling = ROPE_SCALING_LLAMA3;
        c->rope.factor = 8;
        c->rope.low_freq_factor = 1;
        c->rope.high_freq_factor = 4;
        c->rope.original_context = 8192;
    }
    return TEMPERA_OK;
}

static tempera_status describe(struct model *m, const struct shape *shape, tempera_error *err) {
    TRY(shape_config(&m->config, shape, err));
    TRY(generation_config_parse(&m->generation, "{}", 2, shape->name, err));
    TRY(arch_find(&m->arch, &m->config, shape->name, err));
    TRY(hparams_resolve(&m->hp, m->arch, &m->config, shape->name, err));
    return parameters_list(&m->list, m->arch, &m->config, &m->hp, NULL, err);
}

tempera_status model_random(struct model **model, const char *name, uint64_t seed, tempera_error *err) {
    const struct shape *shape = find_shape(name, err);
    if (!shape) return TEMPERA_INVALID_ARGUMENT;
    struct model *m = mem_array(1, sizeof *m);
    if (!m) return fail_memory(err, sizeof *m, "a model");
    m->random = (struct random_weights){.seed = seed, .type = shape->type};
    m->weight_type = shape->type;
    tempera_status status = describe(m, shape, err);
    if (status != TEMPERA_OK) {
        model_free(m);
        return status;
    }
    model_count(m);
    *model = m;
    return TEMPERA_OK;
}
