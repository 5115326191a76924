/* pipeline.c: walking Sequences. */
#include "text/pipeline.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct walk {
    const char *at, *list;
    pipeline_read_step *read_step;
    void *arg;
    size_t steps;
};

tempera_status fail_type(const char *at, const char *type, tempera_error *err) {
    return fail(err, TEMPERA_UNSUPPORTED, "%s: type \"%.100s\" is not supported", at, type);
}

/* Recursion is as deep as the JSON is nested, which its reader bounds. */
static tempera_status read_item(struct walk *walk, const cJSON *item, tempera_error *err) {
    const char *type = NULL;
    if (!cJSON_IsObject(item)) return fail(err, TEMPERA_FORMAT, "%s: expected an object", walk->at);
    TRY(json_string(item, "type", &type, walk->at, err));
    if (!type) return fail(err, TEMPERA_FORMAT, "%s: type is missing", walk->at);
    if (strcmp(type, "Sequence") != 0) {
        if (walk->steps++ == PIPELINE_STEPS_MAX)
            return fail(err, TEMPERA_UNSUPPORTED, "%s: more than %d steps", walk->at, PIPELINE_STEPS_MAX);
        return walk->read_step(walk->arg, item, type, walk->at, err);
    }
    const cJSON *members = json_get(item, walk->list);
    if (!cJSON_IsArray(members)) return fail(err, TEMPERA_FORMAT, "%s: expected a list under %s", walk->at, walk->list);
    const cJSON *member;
    cJSON_ArrayForEach(member, members) TRY(read_item(walk, member, err));
    return TEMPERA_OK;
}

tempera_status pipeline_read(const cJSON *item, const char *name, const char *what, const char *list,
                             pipeline_read_step *read_step, void *arg, tempera_error *err) {
    if (!item || cJSON_IsNull(item)) return TEMPERA_OK;
    char at[400];
    snprintf(at, sizeof at, "%.300s: %s", name, what);
    struct walk walk = {.at = at, .list = list, .read_step = read_step, .arg = arg};
    return read_item(&walk, item, err);
}

size_t pipeline_growth_max(size_t length) {
    const size_t factor = 64, extra = (size_t)1 << 16;
    return length < (SIZE_MAX - extra) / factor ? length * factor + extra : SIZE_MAX;
}
