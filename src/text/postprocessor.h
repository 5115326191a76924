/* postprocessor.h: the "post_processor" of tokenizer.json: ids put before and after a single text. */
#ifndef TEXT_POSTPROCESSOR_H
#define TEXT_POSTPROCESSOR_H

#include "load/json.h"
#include "text/ids.h"
#include "text/vocab.h"

struct postprocessor {
    struct ids before, after;
};

/* Reads the item ("post_processor", may be NULL or null). Every id it adds must be in the vocabulary. `name` is the
 * file, for messages. */
tempera_status postprocessor_read(struct postprocessor *post, const cJSON *item, const struct vocab *vocab,
                                  const char *name, tempera_error *err);
void postprocessor_free(struct postprocessor *post);

#endif
