/* config.c: tables of fields, one loop that reads them, and the few fields that are not a plain number or
 * word. */
#include "load/config.h"

#include <float.h>
#include <stddef.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "load/json.h"

enum { CONFIG_FILE_MAX = 1 << 20 };

enum field_kind {
    FIELD_INTEGER, /* int32_t */
    FIELD_NUMBER,  /* double */
    FIELD_SWITCH,  /* int: CONFIG_ABSENT, 0, 1 */
    FIELD_TEXT     /* char[max], terminated */
};

struct field {
    const char *names[4]; /* the first that is there wins */
    enum field_kind kind;
    size_t offset; /* of the member that receives the value */
    double min, max;
    size_t has;  /* bool set when a value is there; 0 = none */
    size_t null; /* bool set when the key is there and null; 0 = none */
};

#define NAMES(...)       .names = {__VA_ARGS__}
#define AT(type, member) .offset = offsetof(struct type, member)
#define POSITIVE         .min = DBL_MIN, .max = 1e9

static const struct field model_fields[] = {
    {NAMES("model_type"), FIELD_TEXT, AT(model_config, model_type), .max = 64},
    {NAMES("dtype", "torch_dtype"), FIELD_TEXT, AT(model_config, dtype), .max = 16},
    {NAMES("vocab_size"), FIELD_INTEGER, AT(model_config, vocab_size), 1, 1 << 22},
    {NAMES("hidden_size", "n_embd"), FIELD_INTEGER, AT(model_config, width), 1, 1 << 20},
    {NAMES("num_hidden_layers", "n_layer"), FIELD_INTEGER, AT(model_config, layers), 1, CONFIG_MAX_LAYERS},
    {NAMES("num_attention_heads", "n_head"), FIELD_INTEGER, AT(model_config, heads), 1, 1 << 16},
    {NAMES("num_key_value_heads"), FIELD_INTEGER, AT(model_config, kv_heads), 1, 1 << 16,
     .null = offsetof(struct model_config, kv_heads_null)},
    {NAMES("head_dim"), FIELD_INTEGER, AT(model_config, head_width), 1, 1 << 16},
    {NAMES("intermediate_size", "n_inner"), FIELD_INTEGER, AT(model_config, ff_width), 1, 1 << 24},
    {NAMES("max_position_embeddings", "n_positions", "n_ctx"), FIELD_INTEGER, AT(model_config, context), 1, 1 << 30},
    {NAMES("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps", "norm_eps"), FIELD_NUMBER,
     AT(model_config, norm_eps), DBL_MIN, 1},
    {NAMES("hidden_activation", "hidden_act", "activation_function"), FIELD_TEXT, AT(model_config, activation),
     .max = 32},
    {NAMES("tie_word_embeddings"), FIELD_SWITCH, AT(model_config, tied)},
    {NAMES("attention_bias"), FIELD_SWITCH, AT(model_config, attention_bias)},
    {NAMES("mlp_bias"), FIELD_SWITCH, AT(model_config, mlp_bias)},
    {NAMES("use_parallel_residual"), FIELD_SWITCH, AT(model_config, parallel_residual)},
    {NAMES("qk_layernorm"), FIELD_SWITCH, AT(model_config, qk_norm)},
    {NAMES("scale_attn_weights"), FIELD_SWITCH, AT(model_config, scale_attn_weights)},
    {NAMES("scale_attn_by_inverse_layer_idx"), FIELD_SWITCH, AT(model_config, scale_attn_by_layer)},
    {NAMES("use_sliding_window"), FIELD_SWITCH, AT(model_config, use_sliding_window)},
    {NAMES("sliding_window"), FIELD_INTEGER, AT(model_config, sliding_window), 0, 1 << 30,
     .null = offsetof(struct model_config, sliding_window_null)},
    {NAMES("max_window_layers"), FIELD_INTEGER, AT(model_config, max_window_layers), 0, 1 << 16},
    {NAMES("sliding_window_pattern"), FIELD_INTEGER, AT(model_config, sliding_pattern), 1, CONFIG_MAX_LAYERS},
    {NAMES("attn_logit_softcapping"), FIELD_NUMBER, AT(model_config, attn_softcap), 0, 1e6,
     .null = offsetof(struct model_config, attn_softcap_null)},
    {NAMES("final_logit_softcapping"), FIELD_NUMBER, AT(model_config, final_softcap), 0, 1e6,
     .null = offsetof(struct model_config, final_softcap_null)},
    {NAMES("query_pre_attn_scalar"), FIELD_NUMBER, AT(model_config, query_scale), POSITIVE},
    {NAMES("logit_scale"), FIELD_NUMBER, AT(model_config, logit_scale), POSITIVE},
    {NAMES("embedding_multiplier"), FIELD_NUMBER, AT(model_config, embedding_multiplier), POSITIVE},
    {NAMES("residual_multiplier"), FIELD_NUMBER, AT(model_config, residual_multiplier), POSITIVE},
    {NAMES("attention_multiplier"), FIELD_NUMBER, AT(model_config, attention_multiplier), POSITIVE},
    {NAMES("logits_scaling"), FIELD_NUMBER, AT(model_config, logits_scaling), POSITIVE},
};

/* Inside rope_parameters or rope_scaling. */
static const struct field rope_fields[] = {
    {NAMES("rope_theta"), FIELD_NUMBER, AT(rope_config, theta), 1, 1e15},
    {NAMES("partial_rotary_factor"), FIELD_NUMBER, AT(rope_config, partial), DBL_MIN, 1},
    {NAMES("factor"), FIELD_NUMBER, AT(rope_config, factor), DBL_MIN, 1e6},
    {NAMES("low_freq_factor"), FIELD_NUMBER, AT(rope_config, low_freq_factor), DBL_MIN, 1e6},
    {NAMES("high_freq_factor"), FIELD_NUMBER, AT(rope_config, high_freq_factor), DBL_MIN, 1e6},
    {NAMES("original_max_position_embeddings"), FIELD_NUMBER, AT(rope_config, original_context), 1, 1 << 30},
    {NAMES("beta_fast"), FIELD_NUMBER, AT(rope_config, beta_fast), DBL_MIN, 1e6},
    {NAMES("beta_slow"), FIELD_NUMBER, AT(rope_config, beta_slow), DBL_MIN, 1e6},
    {NAMES("attention_factor"), FIELD_NUMBER, AT(rope_config, attention_factor), DBL_MIN, 1e6},
    {NAMES("mscale"), FIELD_NUMBER, AT(rope_config, mscale), 0, 1e6},
    {NAMES("mscale_all_dim"), FIELD_NUMBER, AT(rope_config, mscale_all_dim), 0, 1e6},
    {NAMES("truncate"), FIELD_SWITCH, AT(rope_config, truncate)},
};

/* Beside them, in config.json itself; what the inner object says wins. */
static const struct field rope_outer_fields[] = {
    {NAMES("rope_theta", "rotary_emb_base"), FIELD_NUMBER, AT(rope_config, theta), 1, 1e15},
    {NAMES("partial_rotary_factor", "rotary_pct"), FIELD_NUMBER, AT(rope_config, partial), DBL_MIN, 1},
    {NAMES("original_max_position_embeddings"), FIELD_NUMBER, AT(rope_config, original_context), 1, 1 << 30},
};

static const struct field rope_local_fields[] = {
    {NAMES("rope_local_base_freq"), FIELD_NUMBER, AT(rope_config, theta), 1, 1e15},
};

#define HAS(member) .has = offsetof(struct generation_config, has_##member)

static const struct field generation_fields[] = {
    {NAMES("do_sample"), FIELD_SWITCH, AT(generation_config, do_sample)},
    {NAMES("temperature"), FIELD_NUMBER, AT(generation_config, temperature), 0, 1e6, HAS(temperature)},
    {NAMES("top_k"), FIELD_INTEGER, AT(generation_config, top_k), -1, 1 << 22, HAS(top_k)},
    {NAMES("top_p"), FIELD_NUMBER, AT(generation_config, top_p), 0, 1, HAS(top_p)},
    {NAMES("min_p"), FIELD_NUMBER, AT(generation_config, min_p), 0, 1, HAS(min_p)},
    {NAMES("typical_p"), FIELD_NUMBER, AT(generation_config, typical_p), 0, 1, HAS(typical_p)},
    {NAMES("repetition_penalty"), FIELD_NUMBER, AT(generation_config, repetition_penalty), DBL_MIN, 1e6,
     HAS(repetition_penalty)},
    {NAMES("no_repeat_ngram_size"), FIELD_INTEGER, AT(generation_config, no_repeat_ngram), 0, 1 << 20,
     HAS(no_repeat_ngram)},
    {NAMES("max_new_tokens"), FIELD_INTEGER, AT(generation_config, max_new_tokens), 0, 1 << 30, HAS(max_new_tokens)},
    {NAMES("min_new_tokens"), FIELD_INTEGER, AT(generation_config, min_new_tokens), 0, 1 << 30, HAS(min_new_tokens)},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static tempera_status read_text(const cJSON *object, const char *key, char *out, size_t size, const char *at,
                                tempera_error *err) {
    const char *text = "";
    TRY(json_string(object, key, &text, at, err));
    if (strlen(text) >= size)
        return fail(err, TEMPERA_FORMAT, "%s: %s: expected a string of at most %zu bytes, found %zu", at, key, size - 1,
                    strlen(text));
    memcpy(out, text, strlen(text) + 1);
    return TEMPERA_OK;
}

/* One value that is there. `member` points at the field's member, whose type the kind tells. */
static tempera_status read_value(const struct field *f, const cJSON *object, const char *key, char *member,
                                 const char *at, tempera_error *err) {
    int64_t integer = 0;
    bool flag = false;
    switch (f->kind) {
    case FIELD_INTEGER:
        TRY(json_integer(object, key, (int64_t)f->min, (int64_t)f->max, &integer, at, err));
        memcpy(member, &(int32_t){(int32_t)integer}, sizeof(int32_t));
        return TEMPERA_OK;
    case FIELD_NUMBER: {
        double number = 0;
        TRY(json_number(object, key, f->min, f->max, &number, at, err));
        memcpy(member, &number, sizeof number);
        return TEMPERA_OK;
    }
    case FIELD_SWITCH:
        TRY(json_bool(object, key, &flag, at, err));
        memcpy(member, &(int){flag}, sizeof(int));
        return TEMPERA_OK;
    case FIELD_TEXT: return read_text(object, key, member, (size_t)f->max, at, err);
    }
    return TEMPERA_OK;
}

/* Members of fields that are absent keep their value. */
static tempera_status read_fields(const struct field *fields, size_t count, const cJSON *object, void *out,
                                  const char *at, tempera_error *err) {
    for (size_t i = 0; i < count; i++) {
        const struct field *f = &fields[i];
        const char *found = NULL;
        bool null = false;
        for (size_t n = 0; n < COUNT(f->names) && f->names[n] && !found; n++) {
            if (json_get(object, f->names[n]))
                found = f->names[n];
            else if (cJSON_GetObjectItemCaseSensitive(object, f->names[n]))
                null = true;
        }
        if (found) {
            TRY(read_value(f, object, found, (char *)out + f->offset, at, err));
            if (f->has) *(bool *)((char *)out + f->has) = true;
        } else if (null && f->null) {
            *(bool *)((char *)out + f->null) = true;
        }
    }
    return TEMPERA_OK;
}

/* Token ids: a number or a list of numbers. */
static tempera_status read_eos(const cJSON *object, int32_t *ids, int32_t *count, const char *at, tempera_error *err) {
    static const char key[] = "eos_token_id";
    const cJSON *item = json_get(object, key);
    if (!item) return TEMPERA_OK;
    *count = 0;
    bool list = cJSON_IsArray(item);
    if (list) item = item->child;
    for (; item; item = list ? item->next : NULL) {
        if (*count == CONFIG_MAX_EOS)
            return fail(err, TEMPERA_UNSUPPORTED, "%s: %s: more than %d ids", at, key, CONFIG_MAX_EOS);
        int64_t id = 0;
        TRY(json_item_integer(item, key, 0, INT32_MAX, &id, at, err));
        ids[(*count)++] = (int32_t)id;
    }
    return TEMPERA_OK;
}

static tempera_status read_bos(const cJSON *object, int32_t *bos, const char *at, tempera_error *err) {
    int64_t id = *bos;
    TRY(json_integer(object, "bos_token_id", 0, INT32_MAX, &id, at, err));
    *bos = (int32_t)id;
    return TEMPERA_OK;
}

static tempera_status read_architecture(const cJSON *object, char *out, size_t size, const char *at,
                                        tempera_error *err) {
    const cJSON *list = json_get(object, "architectures");
    if (!list) return TEMPERA_OK;
    const char *text = cJSON_IsArray(list) ? cJSON_GetStringValue(list->child) : NULL;
    if (!text || strlen(text) >= size)
        return fail(err, TEMPERA_FORMAT, "%s: architectures: expected a list of class names", at);
    memcpy(out, text, strlen(text) + 1);
    return TEMPERA_OK;
}

/* Only the three names that weights can have are kept; "auto" and the like say nothing. */
static void normalise_dtype(char *dtype) {
    static const char prefix[] = "torch."; /* str(torch.bfloat16), as some scripts wrote it */
    if (strncmp(dtype, prefix, sizeof prefix - 1) == 0)
        memmove(dtype, dtype + sizeof prefix - 1, strlen(dtype) - sizeof prefix + 2);
    if (strcmp(dtype, "float32") != 0 && strcmp(dtype, "bfloat16") != 0 && strcmp(dtype, "float16") != 0) dtype[0] = 0;
}

static tempera_status read_layer_types(const cJSON *object, struct model_config *c, const char *at,
                                       tempera_error *err) {
    const cJSON *list = json_get(object, "layer_types");
    if (!list) return TEMPERA_OK;
    if (!cJSON_IsArray(list)) return fail(err, TEMPERA_FORMAT, "%s: layer_types: expected a list", at);
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const char *type = cJSON_GetStringValue(item);
        if (!type || c->layer_types == CONFIG_MAX_LAYERS)
            return fail(err, TEMPERA_FORMAT, "%s: layer_types: expected a list of at most %d strings", at,
                        CONFIG_MAX_LAYERS);
        bool sliding = strcmp(type, "sliding_attention") == 0;
        if (!sliding && strcmp(type, "full_attention") != 0)
            return fail(err, TEMPERA_UNSUPPORTED, "%s: layer_types: \"%.60s\" is not supported", at, type);
        c->layer_sliding[c->layer_types++] = sliding;
    }
    if (c->layer_types > 0 && c->layers > 0 && c->layer_types != c->layers)
        return fail(err, TEMPERA_FORMAT, "%s: layer_types: expected one entry per layer (%d), found %d", at, c->layers,
                    c->layer_types);
    return TEMPERA_OK;
}

static tempera_status read_factors(const cJSON *object, const char *key, double *out, int32_t *count, const char *at,
                                   tempera_error *err) {
    const cJSON *list = json_get(object, key);
    if (!cJSON_IsArray(list)) return fail(err, TEMPERA_FORMAT, "%s: %s: expected a list of numbers", at, key);
    *count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (*count == ROPE_MAX_FACTORS)
            return fail(err, TEMPERA_UNSUPPORTED, "%s: %s: more than %d factors", at, key, ROPE_MAX_FACTORS);
        TRY(json_item_number(item, key, DBL_MIN, 1e6, &out[(*count)++], at, err));
    }
    return TEMPERA_OK;
}

static tempera_status read_long_rope(const cJSON *object, struct rope_config *rope, const char *at,
                                     tempera_error *err) {
    int32_t longs = 0;
    TRY(read_factors(object, "short_factor", rope->short_factor, &rope->factors, at, err));
    TRY(read_factors(object, "long_factor", rope->long_factor, &longs, at, err));
    if (rope->factors == longs && longs > 0) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: expected short_factor and long_factor of one length, found %d and %d", at,
                rope->factors, longs);
}

/* The scaling's name, and that what it cannot do without is there. */
static tempera_status read_rope_type(const cJSON *object, struct rope_config *rope, const char *at,
                                     tempera_error *err) {
    static const struct {
        const char *name;
        enum rope_scaling scaling;
    } types[] = {
        {"default", ROPE_SCALING_NONE}, {"linear", ROPE_SCALING_LINEAR},   {"llama3", ROPE_SCALING_LLAMA3},
        {"yarn", ROPE_SCALING_YARN},    {"dynamic", ROPE_SCALING_DYNAMIC}, {"longrope", ROPE_SCALING_LONGROPE},
        {"su", ROPE_SCALING_LONGROPE},
    };
    const char *type = NULL;
    TRY(json_string(object, "type", &type, at, err));
    TRY(json_string(object, "rope_type", &type, at, err));
    if (!type && rope->factor > 0)
        return fail(err, TEMPERA_FORMAT, "%s: rope_type: expected a name beside factor, found none", at);
    if (!type) return TEMPERA_OK;
    size_t i = 0;
    while (i < COUNT(types) && strcmp(type, types[i].name) != 0) i++;
    if (i == COUNT(types)) return fail(err, TEMPERA_UNSUPPORTED, "%s: rope_type \"%.60s\" is not supported", at, type);
    rope->scaling = types[i].scaling;
    /* The first long-context phi3 files call their lists "yarn". */
    if (rope->scaling == ROPE_SCALING_YARN && json_get(object, "short_factor")) rope->scaling = ROPE_SCALING_LONGROPE;
    if (rope->scaling == ROPE_SCALING_LONGROPE) return read_long_rope(object, rope, at, err);
    const char *missing = NULL;
    bool llama3 = rope->scaling == ROPE_SCALING_LLAMA3;
    if (llama3 && rope->original_context <= 0) missing = "original_max_position_embeddings";
    if (llama3 && rope->high_freq_factor <= rope->low_freq_factor) missing = "high_freq_factor above low_freq_factor";
    if (llama3 && rope->low_freq_factor <= 0) missing = "low_freq_factor";
    if (rope->factor <= 0 && (llama3 || rope->scaling == ROPE_SCALING_LINEAR || rope->scaling == ROPE_SCALING_DYNAMIC))
        missing = "factor";
    if (!missing) return TEMPERA_OK;
    return fail(err, TEMPERA_FORMAT, "%s: rope_type \"%s\" needs %s", at, type, missing);
}

/* One object of rotary parameters over the defaults of config.json itself. */
static tempera_status read_rope_object(const cJSON *object, const struct rope_config *outer, struct rope_config *rope,
                                       const char *at, tempera_error *err) {
    if (!cJSON_IsObject(object)) return fail(err, TEMPERA_FORMAT, "%s: expected an object", at);
    *rope = *outer;
    TRY(read_fields(rope_fields, COUNT(rope_fields), object, rope, at, err));
    TRY(read_rope_type(object, rope, at, err));
    if (rope->scaling == ROPE_SCALING_LONGROPE && outer->original_context > 0)
        rope->original_context = outer->original_context; /* so in transformers: here the outer one wins */
    return TEMPERA_OK;
}

/* The same for one object inside the rotary parameters, whose key the message names. */
static tempera_status read_rope_nested(const cJSON *parameters, const char *key, const struct rope_config *outer,
                                       struct rope_config *rope, tempera_error *err) {
    const cJSON *object = json_get(parameters, key);
    if (!object) return TEMPERA_OK;
    TRY(read_rope_object(object, outer, rope, key, err));
    if (rope->theta > 0) return TEMPERA_OK; /* in rope_local, 0 would read as "the same as the full layers" */
    return fail(err, TEMPERA_FORMAT, "%s: rope_theta is missing", key);
}

/* The value of rope_parameters or rope_scaling: one set, or one per layer type as transformers 5 nests them.
 */
static tempera_status read_rope_parameters(const cJSON *parameters, const struct rope_config *outer,
                                           struct model_config *c, const char *at, tempera_error *err) {
    static const char full[] = "full_attention", sliding[] = "sliding_attention";
    if (!json_get(parameters, full) && !json_get(parameters, sliding))
        return read_rope_object(parameters, outer, &c->rope, at, err);
    tempera_status status = read_rope_nested(parameters, full, outer, &c->rope, err);
    if (status == TEMPERA_OK) status = read_rope_nested(parameters, sliding, outer, &c->rope_local, err);
    return status == TEMPERA_OK ? status : fail_context(err, status, "%s", at);
}

static tempera_status read_rope(const cJSON *object, struct model_config *c, const char *at, tempera_error *err) {
    struct rope_config outer = {.truncate = CONFIG_ABSENT};
    TRY(read_fields(rope_outer_fields, COUNT(rope_outer_fields), object, &outer, at, err));
    c->rope = outer;
    c->rope_local = (struct rope_config){.truncate = CONFIG_ABSENT};
    TRY(read_fields(rope_local_fields, COUNT(rope_local_fields), object, &c->rope_local, at, err));

    const char *key = "rope_scaling"; /* where both are there, this one counts in transformers */
    const cJSON *parameters = json_get(object, key);
    bool empty = cJSON_IsObject(parameters) && !parameters->child;
    if (!parameters || empty) parameters = json_get(object, key = "rope_parameters");
    if (!parameters) return TEMPERA_OK;
    tempera_status status = read_rope_parameters(parameters, &outer, c, key, err);
    return status == TEMPERA_OK ? status : fail_context(err, status, "%s", at);
}

static tempera_status read_experts(const cJSON *object, struct model_config *c, const char *at, tempera_error *err) {
    static const char *const keys[] = {"num_experts", "num_local_experts", "n_routed_experts"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        int64_t experts = 0;
        TRY(json_integer(object, keys[i], 0, INT32_MAX, &experts, at, err));
        if (experts > 1) c->moe = true;
    }
    return TEMPERA_OK;
}

/* What a wrapper may say for the text model inside it, and the text model for itself. */
static tempera_status read_shared(const cJSON *object, struct model_config *c, const char *at, tempera_error *err) {
    TRY(read_architecture(object, c->architecture, sizeof c->architecture, at, err));
    TRY(read_eos(object, c->eos, &c->eos_count, at, err));
    TRY(read_bos(object, &c->bos, at, err));
    if (json_get(object, "quantization_config")) c->quantized = true;
    return TEMPERA_OK;
}

static const cJSON *text_object(const cJSON *root) {
    const cJSON *inner = json_get(root, "text_config");
    bool wrapper = cJSON_IsObject(inner) && !json_get(root, "hidden_size") && !json_get(root, "n_embd");
    return wrapper ? inner : NULL;
}

/* Of a wrapper's own fields only dtype and tied are meant for the text model. */
static tempera_status read_wrapper(const cJSON *root, struct model_config *c, const char *at, tempera_error *err) {
    static const char *const names[] = {"dtype", "tie_word_embeddings"};
    for (size_t i = 0; i < COUNT(model_fields); i++)
        for (size_t n = 0; n < COUNT(names); n++)
            if (strcmp(model_fields[i].names[0], names[n]) == 0)
                TRY(read_fields(&model_fields[i], 1, root, c, at, err));
    return read_shared(root, c, at, err);
}

/* The object that describes the text model, which may be the whole file. */
static tempera_status read_model(const cJSON *object, struct model_config *c, const char *at, tempera_error *err) {
    TRY(read_fields(model_fields, COUNT(model_fields), object, c, at, err));
    normalise_dtype(c->dtype);
    if (!c->model_type[0]) return fail(err, TEMPERA_FORMAT, "%s: model_type is missing", at);
    TRY(read_shared(object, c, at, err));
    TRY(read_experts(object, c, at, err));
    TRY(read_layer_types(object, c, at, err));
    return read_rope(object, c, at, err);
}

static tempera_status read_root(const cJSON *root, struct model_config *c, const char *name, tempera_error *err) {
    const cJSON *inner = text_object(root);
    if (!inner) return read_model(root, c, name, err);
    TRY(read_wrapper(root, c, name, err));
    tempera_status status = read_model(inner, c, "text_config", err);
    return status == TEMPERA_OK ? status : fail_context(err, status, "%s", name);
}

/* Parses text that must be an object; *root is owned by the caller. */
static tempera_status parse_object(cJSON **root, const char *text, size_t length, const char *name,
                                   tempera_error *err) {
    TRY(json_parse(root, text, length, true, name, err));
    if (cJSON_IsObject(*root)) return TEMPERA_OK;
    cJSON_Delete(*root);
    *root = NULL;
    return fail(err, TEMPERA_FORMAT, "%s: expected a JSON object", name);
}

tempera_status config_parse(struct model_config *c, const char *text, size_t length, const char *name,
                            tempera_error *err) {
    *c = (struct model_config){
        .tied = CONFIG_ABSENT,
        .attention_bias = CONFIG_ABSENT,
        .mlp_bias = CONFIG_ABSENT,
        .parallel_residual = CONFIG_ABSENT,
        .qk_norm = CONFIG_ABSENT,
        .scale_attn_weights = CONFIG_ABSENT,
        .scale_attn_by_layer = CONFIG_ABSENT,
        .use_sliding_window = CONFIG_ABSENT,
        .max_window_layers = CONFIG_ABSENT,
        .bos = CONFIG_ABSENT,
    };
    cJSON *root;
    TRY(parse_object(&root, text, length, name, err));
    tempera_status status = read_root(root, c, name, err);
    cJSON_Delete(root);
    return status;
}

tempera_status generation_config_parse(struct generation_config *g, const char *text, size_t length, const char *name,
                                       tempera_error *err) {
    *g = (struct generation_config){.bos = CONFIG_ABSENT, .do_sample = CONFIG_ABSENT};
    cJSON *root;
    TRY(parse_object(&root, text, length, name, err));
    tempera_status status;
    TRY_GOTO(read_fields(generation_fields, COUNT(generation_fields), root, g, name, err));
    TRY_GOTO(read_eos(root, g->eos, &g->eos_count, name, err));
    TRY_GOTO(read_bos(root, &g->bos, name, err));
    if (g->top_k < 0) g->top_k = 0; /* vLLM's spelling of "off" */
cleanup:
    cJSON_Delete(root);
    return status;
}

tempera_status config_open(struct model_config *c, const char *folder, tempera_error *err) {
    char *path = path_join(folder, "config.json");
    if (!path) return fail_memory(err, strlen(folder), "a path");
    char *text = NULL;
    size_t length;
    tempera_status status = file_read(path, CONFIG_FILE_MAX, &text, &length, err);
    if (status == TEMPERA_OK) status = config_parse(c, text, length, path, err);
    mem_free(text);
    mem_free(path);
    return status;
}

tempera_status generation_config_open(struct generation_config *g, const char *folder, tempera_error *err) {
    char *path = path_join(folder, "generation_config.json");
    if (!path) return fail_memory(err, strlen(folder), "a path");
    const char *text = "{}"; /* a missing file says nothing, as an empty object does */
    char *read = NULL;
    size_t length = 2;
    tempera_status status = TEMPERA_OK;
    if (file_exists(path)) {
        status = file_read(path, CONFIG_FILE_MAX, &read, &length, err);
        text = read;
    }
    if (status == TEMPERA_OK) status = generation_config_parse(g, text, length, path, err);
    mem_free(read);
    mem_free(path);
    return status;
}
