/* pattern.c: literal and regular patterns. */
#include "text/pattern.h"

#include <string.h>

#include "base/mem.h"

enum { LITERAL_MAX = 1024 }; /* bounds the search, which compares at every first byte */

tempera_status pattern_read(struct pattern *pattern, const cJSON *object, const char *at, tempera_error *err) {
    *pattern = (struct pattern){0};
    const cJSON *item = json_get(object, "pattern");
    const char *regex = NULL, *literal = NULL;
    if (cJSON_IsObject(item)) {
        TRY(json_string(item, "Regex", &regex, at, err));
        TRY(json_string(item, "String", &literal, at, err));
    }
    if (!regex == !literal)
        return fail(err, TEMPERA_FORMAT, "%s: pattern: expected {\"String\": …} or {\"Regex\": …}", at);
    if (regex || *literal == 0) return regex_compile(&pattern->regex, regex ? regex : literal, false, at, err);
    pattern->literal_length = strlen(literal);
    if (pattern->literal_length > LITERAL_MAX)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: pattern: a string of %zu bytes, at most %d are read", at,
                    pattern->literal_length, LITERAL_MAX);
    pattern->literal = mem_strndup(literal, pattern->literal_length);
    return pattern->literal ? TEMPERA_OK : fail_memory(err, pattern->literal_length, "a pattern");
}

void pattern_free(struct pattern *pattern) {
    regex_free(pattern->regex);
    mem_free(pattern->literal);
    *pattern = (struct pattern){0};
}

/* Offset of the literal in text[at, length), or SIZE_MAX. Whole characters only, which UTF-8 gives for free. */
static size_t find_literal(const struct pattern *p, const char *text, size_t at, size_t length) {
    while (length - at >= p->literal_length) {
        const char *hit = memchr(text + at, p->literal[0], length - at - p->literal_length + 1);
        if (!hit) return SIZE_MAX;
        at = (size_t)(hit - text);
        if (memcmp(hit, p->literal, p->literal_length) == 0) return at;
        at++;
    }
    return SIZE_MAX;
}

tempera_status pattern_next(const struct pattern *pattern, struct regex_run *run, struct regex_walk *walk, bool *found,
                            size_t *start, size_t *end, tempera_error *err) {
    if (pattern->regex) return regex_next(pattern->regex, run, walk, found, start, end, err);
    *found = false;
    if (walk->next > walk->length) return TEMPERA_OK;
    size_t hit = find_literal(pattern, walk->text, walk->next, walk->length);
    if (hit == SIZE_MAX) {
        walk->next = walk->length + 1;
        return TEMPERA_OK;
    }
    *start = hit;
    *end = walk->next = hit + pattern->literal_length;
    *found = true;
    return TEMPERA_OK;
}
