/* normalizer.h: the "normalizer" of tokenizer.json: what happens to text before it is split. */
#ifndef TEXT_NORMALIZER_H
#define TEXT_NORMALIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "load/json.h"
#include "text/regex.h"

struct normalizer {
    struct normalizer_step *steps; /* Sequences are flattened */
    size_t count;
};

/* Reads the item ("normalizer", may be NULL or null); `name` is the file, for messages. */
tempera_status normalizer_read(struct normalizer *normalizer, const cJSON *item, const char *name, tempera_error *err);
void normalizer_free(struct normalizer *normalizer);

/* Memory that one thread uses to normalise; zero-initialise, free with normalizer_run_free. */
struct normalizer_run {
    struct buf text[2];
    struct regex_run *regex; /* borrowed from the caller */
};
void normalizer_run_free(struct normalizer_run *run);

/* *out is borrowed: `text` itself when there is nothing to do, else memory of `run`, valid until the next call.
 * *moved tells that characters were taken away at the start (for Metaspace's "first"). */
tempera_status normalizer_apply(const struct normalizer *normalizer, struct normalizer_run *run, const char *text,
                                size_t length, const char **out, size_t *out_length, bool *moved, tempera_error *err);

#endif
