/* gguf_config.c: hyper-parameters from GGUF keys. Names and meanings are those of llama.cpp's converter
 * (convert_hf_to_gguf.py, gguf-py's constants.py); what it computes from config.json is undone here. */
#include "load/gguf_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* general.architecture, and the family that it is. */
static const struct {
    const char *architecture, *family;
} families[] = {
    {"llama", "llama"}, {"gpt2", "gpt2"}, {"gptneox", "gpt_neox"}, {"qwen2", "qwen2"},   {"qwen3", "qwen3"},
    {"phi2", "phi"},    {"phi3", "phi3"}, {"gemma", "gemma"},      {"gemma2", "gemma2"}, {"gemma3", "gemma3_text"},
};

enum { FAMILIES = sizeof families / sizeof families[0], KEY_MAX = 128, ARCHITECTURE_MAX = 63 };

/* As config.c bounds the same fields. */
enum { MAX_WIDTH = 1 << 20, MAX_HEADS = 1 << 16, MAX_FF = 1 << 24, MAX_CONTEXT = 1 << 30, MAX_VOCABULARY = 1 << 22 };

/* One file while it is read. */
struct mapping {
    const struct gguf *gguf;
    char architecture[ARCHITECTURE_MAX + 1];
    const char *family;
    struct model_config *config;
};

/* ---- keys of the architecture: "llama.block_count" --------------------------------------------------------------- */

struct key {
    char text[KEY_MAX];
};

static struct key key_of(const struct mapping *m, const char *name) {
    struct key key;
    snprintf(key.text, sizeof key.text, "%s.%s", m->architecture, name);
    return key;
}

static tempera_status fail_missing(const struct mapping *m, const char *name, tempera_error *err) {
    return fail(err, TEMPERA_FORMAT, "%s: %s.%s is missing", gguf_name(m->gguf), m->architecture, name);
}

static bool has(const struct mapping *m, const char *name) {
    struct key key = key_of(m, name);
    return gguf_has(m->gguf, key.text);
}

static tempera_status integer(const struct mapping *m, const char *name, int32_t max, int32_t *value,
                              tempera_error *err) {
    struct key key = key_of(m, name);
    int64_t number = *value;
    TRY(gguf_integer(m->gguf, key.text, 0, max, &number, err));
    *value = (int32_t)number;
    return TEMPERA_OK;
}

/* One that every file has. */
static tempera_status size(const struct mapping *m, const char *name, int32_t max, int32_t *value, tempera_error *err) {
    *value = 0;
    TRY(integer(m, name, max, value, err));
    return *value > 0 ? TEMPERA_OK : fail_missing(m, name, err);
}

static tempera_status number(const struct mapping *m, const char *name, double *value, tempera_error *err) {
    struct key key = key_of(m, name);
    return gguf_number(m->gguf, key.text, 0, 1e30, value, err);
}

/* ---- architecture ------------------------------------------------------------------------------------------------ */

static tempera_status read_architecture(struct mapping *m, tempera_error *err) {
    struct gguf_text text = {0};
    TRY(gguf_string(m->gguf, "general.architecture", &text, err));
    if (text.length == 0) return fail(err, TEMPERA_FORMAT, "%s: general.architecture is missing", gguf_name(m->gguf));
    if (text.length > ARCHITECTURE_MAX)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: general.architecture: a name of %zu bytes", gguf_name(m->gguf),
                    text.length);
    memcpy(m->architecture, text.text, text.length);
    return TEMPERA_OK;
}

static tempera_status find_family(struct mapping *m, tempera_error *err) {
    char known[160] = "";
    for (size_t i = 0, used = 0; i < FAMILIES; i++) {
        if (strcmp(families[i].architecture, m->architecture) == 0) m->family = families[i].family;
        used += (size_t)snprintf(known + used, sizeof known - used, i ? ", %s" : "%s", families[i].architecture);
    }
    if (m->family) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED, "%s: general.architecture: \"%s\" is not supported (supported are %s)",
                gguf_name(m->gguf), m->architecture, known);
}

static bool is_family(const struct mapping *m, const char *family) {
    return strcmp(m->family, family) == 0;
}

/* All fields absent. */
static tempera_status clear_config(struct model_config *config, const char *type, const char *name,
                                   tempera_error *err) {
    TRY(config_parse(config, "{\"model_type\": \"gguf\"}", 22, name, err));
    memcpy(config->model_type, type, strlen(type) + 1);
    return TEMPERA_OK;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* A key that would change the arithmetic, and the value with which it does not. */
struct neutral {
    const char *name;
    double value;
};

static tempera_status refuse_others(const struct mapping *m, const struct neutral *keys, size_t count,
                                    tempera_error *err) {
    for (size_t i = 0; i < count; i++) {
        double value = keys[i].value;
        TRY(number(m, keys[i].name, &value, err));
        if (value != keys[i].value)
            return fail(err, TEMPERA_UNSUPPORTED, "%s: %s.%s: %g is not supported", gguf_name(m->gguf), m->architecture,
                        keys[i].name, value);
    }
    return TEMPERA_OK;
}

/* Keys that make another model of the architecture. */
static tempera_status refuse_other_models(const struct mapping *m, tempera_error *err) {
    static const struct neutral others[] = {
        {"expert_count", 0},    {"attention.scale", 0}, {"attention.clamp_kqv", 0}, {"attention.max_alibi_bias", 0},
        {"embedding_scale", 1}, {"residual_scale", 1},  {"logit_scale", 1}};
    int32_t value_length = m->config->head_width;
    TRY(refuse_others(m, others, sizeof others / sizeof *others, err));
    TRY(integer(m, "attention.value_length", MAX_HEADS, &value_length, err));
    if (value_length != m->config->head_width)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: %s.attention.value_length: values of %d elements, keys of %d",
                    gguf_name(m->gguf), m->architecture, value_length, m->config->head_width);
    return TEMPERA_OK;
}

static tempera_status read_heads(const struct mapping *m, tempera_error *err) {
    struct model_config *c = m->config;
    TRY(size(m, "attention.head_count", MAX_HEADS, &c->heads, err));
    c->kv_heads = c->heads;
    TRY(integer(m, "attention.head_count_kv", MAX_HEADS, &c->kv_heads, err));
    if (c->kv_heads == 0 || c->heads % c->kv_heads != 0)
        return fail(err, TEMPERA_FORMAT,
                    "%s: %s.attention.head_count_kv: expected a divisor of head_count (%d), found %d",
                    gguf_name(m->gguf), m->architecture, c->heads, c->kv_heads);
    c->head_width = 0;
    TRY(integer(m, "attention.key_length", MAX_HEADS, &c->head_width, err));
    if (c->head_width == 0 && c->width % c->heads != 0)
        return fail(err, TEMPERA_FORMAT,
                    "%s: %s.attention.head_count: expected a divisor of embedding_length (%d), found %d",
                    gguf_name(m->gguf), m->architecture, c->width, c->heads);
    if (c->head_width == 0) c->head_width = c->width / c->heads;
    return TEMPERA_OK;
}

static tempera_status read_norm(const struct mapping *m, tempera_error *err) {
    bool layer_norm = is_family(m, "gpt2") || is_family(m, "gpt_neox") || is_family(m, "phi");
    const char *name = layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    double eps = 0;
    TRY(number(m, name, &eps, err));
    m->config->norm_eps = eps;
    return eps > 0 ? TEMPERA_OK : fail_missing(m, name, err);
}

/* The vocabulary is as long as the table of embeddings, which may be padded. */
static tempera_status read_vocabulary_size(const struct mapping *m, tempera_error *err) {
    const struct tensor_view *embed = tensor_set_find(gguf_tensors(m->gguf), "token_embd.weight");
    if (!embed || embed->rank != 2 || embed->shape[0] > MAX_VOCABULARY)
        return fail(err, TEMPERA_FORMAT, "%s: tensor \"token_embd.weight\" is missing or no matrix",
                    gguf_name(m->gguf));
    m->config->vocab_size = (int32_t)embed->shape[0];
    m->config->tied = !tensor_set_find(gguf_tensors(m->gguf), "output.weight");
    return TEMPERA_OK;
}

/* Large models come in several files. */
static tempera_status refuse_split(const struct mapping *m, tempera_error *err) {
    int64_t parts = 1;
    TRY(gguf_integer(m->gguf, "split.count", 0, INT32_MAX, &parts, err));
    if (parts <= 1) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED, "%s: one of %lld files of a model: not supported, join them first",
                gguf_name(m->gguf), (long long)parts);
}

static tempera_status read_sizes(const struct mapping *m, tempera_error *err) {
    struct model_config *c = m->config;
    TRY(size(m, "embedding_length", MAX_WIDTH, &c->width, err));
    TRY(size(m, "block_count", CONFIG_MAX_LAYERS, &c->layers, err));
    TRY(size(m, "context_length", MAX_CONTEXT, &c->context, err));
    TRY(size(m, "feed_forward_length", MAX_FF, &c->ff_width, err));
    TRY(read_heads(m, err));
    TRY(read_norm(m, err));
    TRY(read_vocabulary_size(m, err));
    return refuse_other_models(m, err);
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

/* What llama.cpp scales scores by where the file does not say: the head width, but for the largest Gemmas the width by the
 * number of heads (query_pre_attn_scalar of their config.json). */
static double query_scale(const struct mapping *m) {
    enum { GEMMA2_27B = 46, GEMMA3_27B = 62 };
    const struct model_config *c = m->config;
    bool largest =
        (is_family(m, "gemma2") && c->layers == GEMMA2_27B) || (is_family(m, "gemma3_text") && c->layers == GEMMA3_27B);
    return largest ? (double)c->width / c->heads : c->head_width;
}

static tempera_status read_attention(const struct mapping *m, tempera_error *err) {
    struct model_config *c = m->config;
    struct key parallel = key_of(m, "use_parallel_residual");
    bool both = true;
    TRY(gguf_bool(m->gguf, parallel.text, &both, err));
    c->parallel_residual = both;
    TRY(integer(m, "attention.sliding_window", MAX_CONTEXT, &c->sliding_window, err));
    c->sliding_window_null = has(m, "attention.sliding_window") && c->sliding_window == 0;
    TRY(integer(m, "attention.sliding_window_pattern", CONFIG_MAX_LAYERS, &c->sliding_pattern, err));
    c->query_scale = query_scale(m);
    TRY(number(m, "attn_logit_softcapping", &c->attn_softcap, err));
    c->attn_softcap_null = has(m, "attn_logit_softcapping") && c->attn_softcap <= 0;
    TRY(number(m, "final_logit_softcapping", &c->final_softcap, err));
    c->final_softcap_null = has(m, "final_logit_softcapping") && c->final_softcap <= 0;
    return TEMPERA_OK;
}

/* Families whose windows this program does not take from the file, or that have none. */
static tempera_status refuse_window(const struct mapping *m, tempera_error *err) {
    const struct model_config *c = m->config;
    bool windowed = is_family(m, "phi3") || is_family(m, "gemma2") || is_family(m, "gemma3_text");
    if (windowed || c->sliding_window == 0 || c->sliding_window >= c->context) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED,
                "%s: %s.attention.sliding_window: %d tokens; a window is not supported for %s", gguf_name(m->gguf),
                m->architecture, c->sliding_window, m->architecture);
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

static tempera_status read_factors(const struct mapping *m, const char *name, double *factors, tempera_error *err) {
    struct model_config *c = m->config;
    const struct tensor_view *view = tensor_set_find(gguf_tensors(m->gguf), name);
    if (!view) return fail(err, TEMPERA_FORMAT, "%s: tensor \"%s\" is missing", gguf_name(m->gguf), name);
    if (view->rank != 1 || view->dtype != DTYPE_F32 || view->shape[0] > ROPE_MAX_FACTORS)
        return fail(err, TEMPERA_FORMAT, "%s: tensor \"%s\": expected a vector of at most %d elements of F32",
                    gguf_name(m->gguf), name, ROPE_MAX_FACTORS);
    c->rope.factors = (int32_t)view->shape[0];
    for (int32_t i = 0; i < c->rope.factors; i++) {
        float factor;
        memcpy(&factor, view->data + (size_t)i * sizeof factor, sizeof factor);
        if (!(factor > 0) || !isfinite(factor))
            return fail(err, TEMPERA_FORMAT, "%s: tensor \"%s\": factor %d is %g", gguf_name(m->gguf), name, (int)i,
                        (double)factor);
        factors[i] = (double)factor;
    }
    return TEMPERA_OK;
}

/* Llama 3.1 and later: one list whatever the length, and no change of magnitude. */
static tempera_status read_one_list(const struct mapping *m, tempera_error *err) {
    struct rope_config *rope = &m->config->rope;
    TRY(read_factors(m, "rope_freqs.weight", rope->short_factor, err));
    memcpy(rope->long_factor, rope->short_factor, sizeof rope->long_factor);
    rope->scaling = ROPE_SCALING_LONGROPE;
    rope->attention_factor = 1;
    rope->original_context = m->config->context;
    return TEMPERA_OK;
}

/* Phi 3: two lists, chosen by the length. */
static tempera_status read_two_lists(const struct mapping *m, tempera_error *err) {
    struct rope_config *rope = &m->config->rope;
    TRY(read_factors(m, "rope_factors_long.weight", rope->long_factor, err));
    int32_t longer = rope->factors;
    TRY(read_factors(m, "rope_factors_short.weight", rope->short_factor, err));
    if (rope->factors != longer)
        return fail(err, TEMPERA_FORMAT, "%s: rope_factors_long and rope_factors_short differ in length",
                    gguf_name(m->gguf));
    rope->scaling = ROPE_SCALING_LONGROPE;
    return number(m, "rope.scaling.attn_factor", &rope->attention_factor, err);
}

/* The keys under which the converter keeps the fields of config.json; of others llama.cpp makes something else. */
static tempera_status read_yarn(const struct mapping *m, tempera_error *err) {
    static const struct neutral others[] = {
        {"rope.scaling.attn_factor", 1}, {"rope.scaling.yarn_ext_factor", 1}, {"rope.scaling.yarn_log_multiplier", 0}};
    struct rope_config *rope = &m->config->rope;
    TRY(refuse_others(m, others, sizeof others / sizeof *others, err));
    TRY(number(m, "rope.scaling.yarn_attn_factor", &rope->attention_factor, err));
    TRY(number(m, "rope.scaling.yarn_beta_fast", &rope->beta_fast, err));
    return number(m, "rope.scaling.yarn_beta_slow", &rope->beta_slow, err);
}

static tempera_status read_scaling_type(const struct mapping *m, tempera_error *err) {
    struct rope_config *rope = &m->config->rope;
    struct gguf_text type = {0};
    struct key key = key_of(m, "rope.scaling.type");
    TRY(gguf_string(m->gguf, key.text, &type, err));
    if (type.length == 0 && rope->factor > 0) type = (struct gguf_text){"linear", 6}; /* rope.scale_linear */
    if (type.length == 0 || gguf_text_is(type, "none") || gguf_text_is(type, "longrope")) return TEMPERA_OK;
    bool linear = gguf_text_is(type, "linear"), yarn = gguf_text_is(type, "yarn");
    if (!linear && !yarn)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: %s: \"%.*s\" is not supported", gguf_name(m->gguf), key.text,
                    (int)(type.length < 40 ? type.length : 40), type.text);
    if (!(rope->factor > 0)) return fail_missing(m, "rope.scaling.factor", err);
    rope->scaling = linear ? ROPE_SCALING_LINEAR : ROPE_SCALING_YARN;
    return yarn ? read_yarn(m, err) : TEMPERA_OK;
}

static tempera_status read_scaling(const struct mapping *m, tempera_error *err) {
    const struct tensor_set *set = gguf_tensors(m->gguf);
    struct rope_config *rope = &m->config->rope;
    int32_t original = 0;
    TRY(number(m, "rope.scale_linear", &rope->factor, err));
    TRY(number(m, "rope.scaling.factor", &rope->factor, err));
    TRY(integer(m, "rope.scaling.original_context_length", MAX_CONTEXT, &original, err));
    rope->original_context = original;
    TRY(read_scaling_type(m, err));
    bool one = tensor_set_find(set, "rope_freqs.weight"), two = tensor_set_find(set, "rope_factors_long.weight");
    if ((one || two) && rope->scaling != ROPE_SCALING_NONE)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: rotary factors as a tensor and %s.rope.scaling.type together",
                    gguf_name(m->gguf), m->architecture);
    if (two) return read_two_lists(m, err);
    return one ? read_one_list(m, err) : TEMPERA_OK;
}

/* The share of the head that is rotated, such that the share of the width gives the number back. */
static double partial_of(int32_t rotary, int32_t width) {
    double partial = (double)rotary / width;
    return floor(width * partial) < rotary ? nextafter(partial, 2) : partial;
}

static tempera_status read_rope(const struct mapping *m, tempera_error *err) {
    struct model_config *c = m->config;
    int32_t rotary = c->head_width;
    TRY(integer(m, "rope.dimension_count", MAX_HEADS, &rotary, err));
    if (rotary < 1 || rotary > c->head_width)
        return fail(err, TEMPERA_FORMAT, "%s: %s.rope.dimension_count: expected 1 to %d (the head width), found %d",
                    gguf_name(m->gguf), m->architecture, c->head_width, rotary);
    if (is_family(m, "llama") && rotary != c->head_width)
        return fail(err, TEMPERA_UNSUPPORTED,
                    "%s: %s.rope.dimension_count: %d of %d elements rotated are not supported", gguf_name(m->gguf),
                    m->architecture, rotary, c->head_width);
    c->rope.partial = partial_of(rotary, c->head_width);
    c->rope.theta = 10000;
    TRY(number(m, "rope.freq_base", &c->rope.theta, err));
    if (!(c->rope.theta > 0)) return fail_missing(m, "rope.freq_base", err);
    TRY(read_scaling(m, err));
    if (!is_family(m, "gemma3_text")) return TEMPERA_OK;
    c->rope_local = (struct rope_config){.partial = c->rope.partial, .truncate = CONFIG_ABSENT, .theta = 10000};
    return number(m, "rope.freq_base_swa", &c->rope_local.theta, err);
}

/* ---- special ids ------------------------------------------------------------------------------------------------- */

/* *id stays as it is when the key is missing or says "none" (2^32 - 1). */
static tempera_status read_id(const struct mapping *m, const char *key, int32_t *id, tempera_error *err) {
    int64_t number = *id;
    TRY(gguf_integer(m->gguf, key, -1, UINT32_MAX, &number, err));
    if (number < 0 || number == UINT32_MAX) return TEMPERA_OK;
    if (number >= m->config->vocab_size)
        return fail(err, TEMPERA_FORMAT, "%s: %s: %lld is not below the size of the vocabulary (%d)",
                    gguf_name(m->gguf), key, (long long)number, m->config->vocab_size);
    *id = (int32_t)number;
    return TEMPERA_OK;
}

/* A text ends with EOS, and with the end of a turn or of a message where the file names those. */
static tempera_status read_ids(const struct mapping *m, tempera_error *err) {
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    struct model_config *c = m->config;
    TRY(read_id(m, "tokenizer.ggml.bos_token_id", &c->bos, err));
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        int32_t id = CONFIG_ABSENT;
        TRY(read_id(m, ends[i], &id, err));
        for (int32_t k = 0; k < c->eos_count; k++)
            if (c->eos[k] == id) id = CONFIG_ABSENT;
        if (id != CONFIG_ABSENT) c->eos[c->eos_count++] = id;
    }
    return TEMPERA_OK;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

tempera_status gguf_config(struct model_config *config, const struct gguf *gguf, tempera_error *err) {
    struct mapping m = {.gguf = gguf, .config = config};
    TRY(read_architecture(&m, err));
    TRY(find_family(&m, err));
    TRY(refuse_split(&m, err));
    TRY(clear_config(config, m.family, gguf_name(gguf), err));
    TRY(read_sizes(&m, err));
    TRY(read_attention(&m, err));
    TRY(refuse_window(&m, err));
    if (!is_family(&m, "gpt2")) TRY(read_rope(&m, err));
    return read_ids(&m, err);
}

tempera_status gguf_vocabulary_config(struct model_config *config, const struct gguf *gguf, tempera_error *err) {
    struct mapping m = {.gguf = gguf, .config = config};
    struct gguf_array tokens = {0};
    TRY(read_architecture(&m, err));
    TRY(clear_config(config, m.architecture, gguf_name(gguf), err));
    TRY(gguf_array(gguf, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, err));
    if (tokens.count == 0 || tokens.count > MAX_VOCABULARY)
        return fail(err, TEMPERA_FORMAT, "%s: the file has neither tensors nor a vocabulary", gguf_name(gguf));
    config->vocab_size = (int32_t)tokens.count;
    TRY(integer(&m, "context_length", MAX_CONTEXT, &config->context, err));
    return read_ids(&m, err);
}
