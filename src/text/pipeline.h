/* pipeline.h: what normalizers, pre-tokenizers, post-processors and decoders share: they are either one typed object or
 * a Sequence of such, to any depth. */
#ifndef TEXT_PIPELINE_H
#define TEXT_PIPELINE_H

#include <stddef.h>

#include "load/json.h"

enum { PIPELINE_STEPS_MAX = 64 };

/* Called for every object that is not a Sequence, in order; `at` names it in messages: "FILE: normalizer". */
typedef tempera_status pipeline_read_step(void *arg, const cJSON *item, const char *type, const char *at,
                                          tempera_error *err);
/* Reads the component `what` of the file `name`; `list` is the key under which its Sequence keeps its members. Calls
 * read_step at most PIPELINE_STEPS_MAX times. An absent or null item has no steps. */
tempera_status pipeline_read(const cJSON *item, const char *name, const char *what, const char *list,
                             pipeline_read_step *read_step, void *arg, tempera_error *err);
/* `FILE: normalizer: type "X" is not supported`. */
tempera_status fail_type(const char *at, const char *type, tempera_error *err);

/* The most that a text of that length may become before it is encoded. Honest steps multiply by 3 (a space written as
 * ▁) or by 18 (a compatibility decomposition); hostile ones without end. */
size_t pipeline_growth_max(size_t length);

#endif
