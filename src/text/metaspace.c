/* metaspace.c: reading Metaspace, in its present form and the one with add_prefix_space. */
#include "text/metaspace.h"

#include <string.h>

tempera_status metaspace_read(struct metaspace *metaspace, const cJSON *item, const char *at, tempera_error *err) {
    *metaspace = (struct metaspace){.replacement = "\xE2\x96\x81", .split = true};
    const char *replacement = metaspace->replacement, *scheme = NULL;
    bool add_prefix_space = true;
    TRY(json_string(item, "replacement", &replacement, at, err));
    TRY(json_string(item, "prepend_scheme", &scheme, at, err));
    TRY(json_bool(item, "add_prefix_space", &add_prefix_space, at, err));
    TRY(json_bool(item, "split", &metaspace->split, at, err));
    uint32_t c;
    if (!char_single(replacement, strlen(replacement), &c))
        return fail(err, TEMPERA_FORMAT, "%s: replacement: expected one character", at);
    memmove(metaspace->replacement, replacement, strlen(replacement) + 1);
    if (!scheme) scheme = add_prefix_space ? "always" : "never";
    metaspace->first = strcmp(scheme, "first") == 0;
    metaspace->never = strcmp(scheme, "never") == 0;
    if (!metaspace->first && !metaspace->never && strcmp(scheme, "always") != 0)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: prepend_scheme \"%.40s\" is not supported", at, scheme);
    if (!add_prefix_space && !metaspace->never)
        return fail(err, TEMPERA_FORMAT, "%s: add_prefix_space contradicts prepend_scheme", at);
    return TEMPERA_OK;
}
