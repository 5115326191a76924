/* pattern.h: what Split and Replace look for: {"String": "…"} or {"Regex": "…"}. */
#ifndef TEXT_PATTERN_H
#define TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "load/json.h"
#include "text/regex.h"

struct pattern {
    struct regex *regex; /* owned; NULL for a literal */
    char *literal;       /* [literal_length], not empty; owned; NULL for an expression */
    size_t literal_length;
};

/* Reads object["pattern"]; `at` names the object in messages. */
tempera_status pattern_read(struct pattern *pattern, const cJSON *object, const char *at, tempera_error *err);
void pattern_free(struct pattern *pattern);
/* As regex_next. */
tempera_status pattern_next(const struct pattern *pattern, struct regex_run *run, struct regex_walk *walk, bool *found,
                            size_t *start, size_t *end, tempera_error *err);

#endif
