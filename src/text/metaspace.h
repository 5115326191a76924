/* metaspace.h: the settings of Metaspace, which is a pre-tokenizer and a decoder with one description. */
#ifndef TEXT_METASPACE_H
#define TEXT_METASPACE_H

#include <stdbool.h>

#include "load/json.h"
#include "text/unicode.h"

struct metaspace {
    char replacement[CHAR_MAX_BYTES + 1]; /* one character, terminated; written for a space */
    bool first;                           /* put before the first piece only … */
    bool never;                           /* … or before none; neither: before every piece */
    bool split;                           /* cut before each replacement */
};

tempera_status metaspace_read(struct metaspace *metaspace, const cJSON *item, const char *at, tempera_error *err);

#endif
