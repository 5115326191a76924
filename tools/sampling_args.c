/* sampling_args.c: sampling flags and settings. */
#include "sampling_args.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common.h"
#include "input.h"
#include "presets.h"

/* ---- the tables ---- */

/* A field's text, checked here so that the error names the flag. */
static bool set_field(void *base, const struct arg *arg, const char *value) {
    struct sampling_args *args = base;
    tempera_sampling scratch = tempera_sampling_default();
    tempera_error err;
    size_t index = (size_t)(arg - sampling_field_args);
    bool random_seed = index == SAMPLING_seed && strcmp(value, "random") == 0;
    if (!random_seed && tempera_sampling_set(&scratch, arg->name, value, &err) != TEMPERA_OK) {
        complain(EXIT_USAGE, "%s", err.message);
        return false;
    }
    args->field[index] = value;
    return true;
}

#define FIELD_ARG_FLOAT ARG_FIELD, "X"
#define FIELD_ARG_INT   ARG_FIELD, "N"
#define FIELD_ARG_SEED  ARG_FIELD, "N"
#define FIELD_ARG_BOOL  ARG_FIELD_BOOL, NULL
#define FIELD_ARG_ROW(field_name, arg_kind, meta_text, help, field_default, field_min, field_max)                      \
    [SAMPLING_##field_name] = {.name = #field_name,                                                                    \
                               .kind = arg_kind,                                                                       \
                               .meta = meta_text,                                                                      \
                               .text = help,                                                                           \
                               .value = (double)(field_default),                                                       \
                               .low = (double)(field_min),                                                             \
                               .high = (double)(field_max),                                                            \
                               .set = set_field},
#define FIELD_ARG_EXPAND(...)                      FIELD_ARG_ROW(__VA_ARGS__)
#define FIELD_ARG(kind, name, def, min, max, text) FIELD_ARG_EXPAND(name, FIELD_ARG_##kind, text, def, min, max)
const struct arg sampling_field_args[SAMPLING_FIELDS] = {TEMPERA_SAMPLING_FIELDS(FIELD_ARG)};

const struct arg sampling_filter_list_args[4] = {
    {.name = "logit-bias",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sampling_args, logit_bias),
     .meta = "ID=B,...",
     .text = "adds B to a token's score; -inf bans the token"},
    {.name = "order",
     .kind = ARG_TEXT,
     .offset = offsetof(struct sampling_args, order),
     .meta = "ORDER",
     .text = "steps of the sampling chain: default, hf, vllm, llama.cpp, or a list of penalties, bias, temperature, "
             "top_k, top_p, min_p, typical_p (which is the default), with the rules keep_ties and penalize_prompt; a "
             "step that is left out is not applied; none = no step"},
    {.name = "preset",
     .kind = ARG_TEXT,
     .offset = offsetof(struct sampling_args, preset),
     .meta = "NAME",
     .text = "temperature and top_p for a kind of content, such as creative (see tempera presets); flags go over it"},
    {.name = "setting",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sampling_args, settings),
     .meta = "K=V,...",
     .text = "one more setting to compare: \"temperature=0.2,top_p=0.9\" over the flags; repeat it"},
};

const struct arg sampling_stop_args[3] = {
    {.name = "stop",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sampling_args, stop),
     .meta = "TEXT",
     .text = "end before this text; repeat it for several (at most 16)"},
    {.name = "stop-token-ids",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct sampling_args, stop_token_ids),
     .meta = "IDS",
     .text = "end at any of these tokens: \"13 198\" (at most 64)"},
    {.name = "independent",
     .kind = ARG_FLAG,
     .offset = offsetof(struct sampling_args, independent),
     .text = "settings draw with noise of their own; without it they share it, and differences between settings are "
             "measured with less variance"},
};

bool sampling_args_given(const struct sampling_args *args) {
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (args->field[i]) return true;
    return args->order || args->preset || args->independent || args->settings.count || args->logit_bias.count ||
           args->stop.count || args->stop_token_ids.count;
}

/* ---- lists ---- */

/* "12=-5,13=inf": appended. */
static bool parse_bias(struct setting_list *list, const char *text) {
    for (const char *at = text; *at;) {
        char *end;
        long id = strtol(at, &end, 10);
        bool good = end != at && *end == '=' && id >= 0 && id <= INT32_MAX;
        const char *number = good ? end + 1 : at;
        float bias = good ? strtof(number, &end) : 0;
        if (!good || end == number || (*end && *end != ',')) {
            complain(EXIT_USAGE, "--logit-bias: expected ID=BIAS,ID=BIAS,..., got \"%s\"", text);
            return false;
        }
        list->logit_bias = xgrow(list->logit_bias, list->logit_bias_count + 1, sizeof *list->logit_bias);
        list->logit_bias[list->logit_bias_count++] = (tempera_logit_bias){(int32_t)id, bias};
        at = *end ? end + 1 : end;
    }
    return true;
}

static int collect_lists(struct setting_list *list, const struct sampling_args *args) {
    for (size_t i = 0; i < args->logit_bias.count; i++)
        if (!parse_bias(list, args->logit_bias.items[i])) return EXIT_USAGE;
    for (size_t i = 0; i < args->stop_token_ids.count; i++) {
        struct prompt ids = {0};
        if (!parse_ids(args->stop_token_ids.items[i], "--stop-token-ids", &ids)) return EXIT_USAGE;
        list->stop_token_ids =
            xgrow(list->stop_token_ids, list->stop_token_count + ids.count, sizeof *list->stop_token_ids);
        if (ids.count) memcpy(list->stop_token_ids + list->stop_token_count, ids.ids, ids.count * sizeof *ids.ids);
        list->stop_token_count += ids.count;
        free(ids.ids);
    }
    list->stop = args->stop.items;
    list->stop_count = args->stop.count;
    return EXIT_DONE;
}

static void attach_lists(const struct setting_list *list, tempera_sampling *sampling, struct setting_source *source) {
    sampling->logit_bias = list->logit_bias;
    sampling->logit_bias_count = list->logit_bias_count;
    sampling->stop = list->stop;
    sampling->stop_count = list->stop_count;
    sampling->stop_token_ids = list->stop_token_ids;
    sampling->stop_token_count = list->stop_token_count;
    if (list->logit_bias_count) source->logit_bias = SOURCE_FLAG;
    if (list->stop_count) source->stop = SOURCE_FLAG;
    if (list->stop_token_count) source->stop_token_ids = SOURCE_FLAG;
}

/* ---- settings ---- */

/* Below 2^53, so that readers that keep JSON numbers as doubles (JavaScript, old jq) read it exactly. */
static uint64_t random_seed(void) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint64_t)(seconds_now() * 1e9);
    return seed >> 11;
}

/* One field or "order" or "independent" by its text. */
static bool set_by_name(tempera_sampling *sampling, struct setting_source *source, const char *name,
                        const char *value) {
    tempera_error err;
    if (strcmp(name, "seed") == 0 && strcmp(value, "random") == 0) {
        sampling->seed = random_seed();
    } else if (tempera_sampling_set(sampling, name, value, &err) != TEMPERA_OK) {
        complain(EXIT_USAGE, "%s", err.message);
        return false;
    }
    if (!source) return true;
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (strcmp(sampling_field_args[i].name, name) == 0) source->field[i] = SOURCE_FLAG;
    if (strcmp(name, "order") == 0) source->order = SOURCE_FLAG;
    if (strcmp(name, "independent") == 0) source->independent = SOURCE_FLAG;
    return true;
}

static bool known_name(const char *name, const char *what) {
    const char *names[SAMPLING_FIELDS + 2] = {"order", "independent"};
    for (size_t i = 0; i < SAMPLING_FIELDS; i++) names[i + 2] = sampling_field_args[i].name;
    for (size_t i = 0; i < SAMPLING_FIELDS + 2; i++)
        if (strcmp(names[i], name) == 0) return true;
    const char *near = nearest_name(name, names, SAMPLING_FIELDS + 2);
    if (near)
        complain(EXIT_USAGE, "%s: no setting is called \"%s\" (did you mean %s?)", what, name, near);
    else
        complain(EXIT_USAGE, "%s: no setting is called \"%s\"", what, name);
    return false;
}

/* End of the item at `text`: the comma before the next "name=", or the end. */
static const char *item_end(const char *text) {
    const char *end = text + strcspn(text, ",");
    while (*end && end[1 + strcspn(end + 1, ",=")] != '=') end += 1 + strcspn(end + 1, ",");
    return end;
}

bool setting_overlay(tempera_sampling *sampling, struct setting_source *source, const char *text, const char *what) {
    for (const char *at = text; *at;) {
        const char *end = item_end(at);
        char *item = xdup(at, (size_t)(end - at));
        char *equals = strchr(item, '=');
        bool good = equals != NULL;
        if (equals) {
            *equals = 0;
            for (char *c = item; *c; c++)
                if (*c == '-') *c = '_';
            good = known_name(item, what) && set_by_name(sampling, source, item, equals + 1);
        } else {
            complain(EXIT_USAGE, "%s: expected name=value,name=value,..., got \"%s\"", what, text);
        }
        free(item);
        if (!good) return false;
        at = *end ? end + 1 : end;
    }
    return true;
}

/* Defaults, the model's recommendation and the flags. */
static int base_setting(const struct sampling_args *args, const tempera_model *model, tempera_sampling *sampling,
                        struct setting_source *source) {
    uint32_t from_model = 0;
    *sampling = tempera_sampling_default();
    if (model) tempera_model_sampling(model, sampling, &from_model);
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (from_model >> i & 1) source->field[i] = SOURCE_MODEL;
    if (args->preset) {
        const struct preset *preset = preset_find(args->preset, "--preset");
        if (!preset) return EXIT_USAGE;
        preset_apply(preset, sampling);
        source->field[SAMPLING_temperature] = source->field[SAMPLING_top_p] = SOURCE_PRESET;
    }
    for (size_t i = 0; i < SAMPLING_FIELDS; i++) {
        if (args->field[i] && !set_by_name(sampling, source, sampling_field_args[i].name, args->field[i]))
            return EXIT_USAGE;
    }
    if (args->order && !set_by_name(sampling, source, "order", args->order)) return EXIT_USAGE;
    if (args->independent && !set_by_name(sampling, source, "independent", "true")) return EXIT_USAGE;
    return EXIT_DONE;
}

int setting_list_make(struct setting_list *list, const struct sampling_args *args, const tempera_model *model) {
    tempera_error err;
    tempera_sampling base;
    struct setting_source source = {{0}, 0, 0, 0, 0, 0};
    tempera_model_info info = {0};
    if (model) tempera_model_info_get(model, &info);
    *list = (struct setting_list){0};
    int status = collect_lists(list, args);
    if (!status) status = base_setting(args, model, &base, &source);
    if (status) return status;
    attach_lists(list, &base, &source);

    list->count = args->settings.count ? args->settings.count : 1;
    list->items = xarray(list->count, sizeof *list->items);
    list->sources = xarray(list->count, sizeof *list->sources);
    for (size_t i = 0; i < list->count; i++) {
        list->items[i] = base;
        list->sources[i] = source;
        if (args->settings.count &&
            !setting_overlay(&list->items[i], &list->sources[i], args->settings.items[i], "--setting"))
            return EXIT_USAGE;
        if (tempera_sampling_check(&list->items[i], info.vocab_size, &err) != TEMPERA_OK) return complain_error(&err);
    }
    return EXIT_DONE;
}

void setting_list_free(struct setting_list *list) {
    free(list->items);
    free(list->sources);
    free(list->logit_bias);
    free(list->stop_token_ids);
    *list = (struct setting_list){0};
}

/* ---- printing ---- */

#define JSON_FIELD_FLOAT(name)                      json_float(j, #name, sampling->name)
#define JSON_FIELD_INT(name)                        json_int(j, #name, sampling->name)
#define JSON_FIELD_SEED(name)                       json_uint(j, #name, sampling->name)
#define JSON_FIELD_BOOL(name)                       json_bool(j, #name, sampling->name)
#define JSON_FIELD(kind, name, def, min, max, text) JSON_FIELD_##kind(name);

static void json_order(struct json *j, const tempera_sampling *sampling) {
    char order[160];
    tempera_order_format(&sampling->order, order, sizeof order);
    json_text(j, "order", order);
}

void setting_source_json(struct json *j, const struct setting_source *source) {
    static const char *const names[] = {"default", "generation_config.json", "preset", "flag"};
    for (size_t i = 0; i < SAMPLING_FIELDS; i++) json_text(j, sampling_field_args[i].name, names[source->field[i]]);
    json_text(j, "order", names[source->order]);
    json_text(j, "independent", names[source->independent]);
    json_text(j, "logit_bias", names[source->logit_bias]);
    json_text(j, "stop", names[source->stop]);
    json_text(j, "stop_token_ids", names[source->stop_token_ids]);
}

void setting_json_lists(struct json *j, const tempera_sampling *sampling) {
    json_array(j, "logit_bias");
    for (size_t i = 0; i < sampling->logit_bias_count; i++) {
        json_object(j, NULL);
        json_int(j, "id", sampling->logit_bias[i].token);
        if (isinf(sampling->logit_bias[i].bias))
            json_text(j, "bias", "-inf");
        else
            json_float(j, "bias", sampling->logit_bias[i].bias);
        json_end(j);
    }
    json_end(j);
    json_array(j, "stop");
    for (size_t i = 0; i < sampling->stop_count; i++) json_text(j, NULL, sampling->stop[i]);
    json_end(j);
    json_array(j, "stop_token_ids");
    for (size_t i = 0; i < sampling->stop_token_count; i++) json_int(j, NULL, sampling->stop_token_ids[i]);
    json_end(j);
}

void settings_json(struct json *j, const tempera_sampling *sampling, const struct setting_source *source) {
    json_object(j, "settings");
    TEMPERA_SAMPLING_FIELDS(JSON_FIELD)
    json_order(j, sampling);
    json_bool(j, "independent", sampling->independent);
    setting_json_lists(j, sampling);
    json_end(j);
    json_object(j, "settings_source");
    setting_source_json(j, source);
    json_end(j);
}

#define SHOW_FIELD_FLOAT(name) strbuf_float(b, sampling->name)
#define SHOW_FIELD_INT(name)   strbuf_printf(b, "%d", (int)sampling->name)
#define SHOW_FIELD_SEED(name)  strbuf_printf(b, "%llu", (unsigned long long)sampling->name)
#define SHOW_FIELD_BOOL(name)  strbuf_text(b, sampling->name ? "true" : "false")
#define SHOW_FIELD(kind, name, def, min, max, text)                                                                    \
    if ((size_t)SAMPLING_##name < limit && sampling->name != shown.name) {                                             \
        strbuf_printf(b, "%s%s=", b->length > start ? "," : "", #name);                                                \
        SHOW_FIELD_##kind(name);                                                                                       \
    }

void setting_describe(struct strbuf *b, const tempera_sampling *sampling, size_t limit) {
    tempera_sampling shown = tempera_sampling_default(); /* what need not be said */
    size_t start = b->length;
    char order[160];
    if (sampling->temperature == 0 && sampling->temperature_end < 0) {
        strbuf_text(b, "greedy");
        shown.temperature = 0;
    }
    TEMPERA_SAMPLING_FIELDS(SHOW_FIELD)
    tempera_order_format(&sampling->order, order, sizeof order);
    if (strcmp(order, "default") != 0) strbuf_printf(b, "%sorder=%s", b->length > start ? "," : "", order);
    if (b->length == start) strbuf_text(b, "defaults");
}
