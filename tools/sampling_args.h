/* sampling_args.h: the sampling flags, generated from TEMPERA_SAMPLING_FIELDS, and the settings that they make. */
#ifndef TOOLS_SAMPLING_ARGS_H
#define TOOLS_SAMPLING_ARGS_H

#include "args.h"
#include "json_writer.h"
#include "tempera/tempera.h"

#define SAMPLING_FIELD_INDEX(kind, name, def, min, max, text) SAMPLING_##name,
enum sampling_field { TEMPERA_SAMPLING_FIELDS(SAMPLING_FIELD_INDEX) SAMPLING_FIELDS };
#undef SAMPLING_FIELD_INDEX
/* The fields before `seed` shape the distribution; those from it on are about generating. */
enum { SAMPLING_FILTERS = SAMPLING_seed };

struct sampling_args {
    const char *field[SAMPLING_FIELDS]; /* as given, NULL when not */
    const char *order, *preset;
    bool independent;
    struct text_list settings, logit_bias, stop, stop_token_ids;
};

extern const struct arg sampling_field_args[SAMPLING_FIELDS];
extern const struct arg sampling_filter_list_args[4]; /* logit-bias, order, preset, setting */
extern const struct arg sampling_stop_args[3];        /* stop, stop-token-ids, independent */

/* Groups of a command that generates, and of one that only looks at distributions. */
#define SAMPLING_FILTER_GROUPS(args)                                                                                   \
    {"Sampling", sampling_field_args, SAMPLING_FILTERS, args}, {                                                       \
        "Sampling, lists", sampling_filter_list_args, 4, args                                                          \
    }
#define SAMPLING_GENERATE_GROUPS(args)                                                                                 \
    {"Generation", sampling_field_args + SAMPLING_FILTERS, SAMPLING_FIELDS - SAMPLING_FILTERS, args}, {                \
        "Generation, lists", sampling_stop_args, 3, args                                                               \
    }

/* True when any sampling flag was given. */
bool sampling_args_given(const struct sampling_args *args);

/* Where a value comes from. */
enum source { SOURCE_DEFAULT, SOURCE_MODEL, SOURCE_PRESET, SOURCE_FLAG };
struct setting_source {
    uint8_t field[SAMPLING_FIELDS]; /* enum source */
    uint8_t order, independent, logit_bias, stop, stop_token_ids;
};

/* The effective settings: one per --setting, or a single one. */
struct setting_list {
    tempera_sampling *items; /* [count], ready for a request; the lists inside are owned by this */
    struct setting_source *sources;
    size_t count;
    tempera_logit_bias *logit_bias;
    const char **stop; /* borrowed from the arguments */
    int32_t *stop_token_ids;
    size_t logit_bias_count, stop_count, stop_token_count;
};
/* Defaults, then the model's generation_config.json, then the preset, then flags, then each --setting. `model` may be NULL. 0 or the
 * exit status. setting_list_free is needed either way. */
int setting_list_make(struct setting_list *list, const struct sampling_args *args, const tempera_model *model);
void setting_list_free(struct setting_list *list);

/* The members of "settings_source", into an open object. */
void setting_source_json(struct json *j, const struct setting_source *source);
/* The members "logit_bias", "stop" and "stop_token_ids", into an open object. */
void setting_json_lists(struct json *j, const tempera_sampling *sampling);
/* "settings": {…} and "settings_source": {…}. */
void settings_json(struct json *j, const tempera_sampling *sampling, const struct setting_source *source);
/* "temperature=0.8,top_p=0.95": what differs from the table's defaults, of the fields before `limit`, and the order;
 * "greedy" stands for temperature=0 that stays. Never empty: "defaults". */
void setting_describe(struct strbuf *b, const tempera_sampling *sampling, size_t limit);
/* Lays "name=value,name=value" over a setting; an item without "=" continues the value before it, so that
 * "order=top_k,temperature" can be written. `source` may be NULL. False after complaining; `what` names the flag. */
bool setting_overlay(tempera_sampling *sampling, struct setting_source *source, const char *text, const char *what);

#endif
