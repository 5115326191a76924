/* pretokenizer.h: the "pre_tokenizer" of tokenizer.json: cuts normalised text into the pieces that BPE works on.
 *
 * Pieces are pushed: each step cuts what it is given and hands every part to the next step, the last to the sink, so no
 * list of pieces is ever built. */
#ifndef TEXT_PRETOKENIZER_H
#define TEXT_PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "load/json.h"
#include "text/regex.h"

struct pretokenizer {
    struct pretokenizer_step *steps; /* Sequences are flattened */
    size_t count;
    bool last_is_byte_level; /* its spelling may be left to the sink: see pretokenizer_run.raw */
};

/* Reads the item ("pre_tokenizer", may be NULL or null); `name` is the file, for messages. */
tempera_status pretokenizer_read(struct pretokenizer *pretokenizer, const cJSON *item, const char *name,
                                 tempera_error *err);
/* GPT-2's: ByteLevel with its expression. */
tempera_status pretokenizer_gpt2(struct pretokenizer *pretokenizer, bool add_prefix_space, tempera_error *err);
/* Cuts out the matches of each of these expressions in turn (the list ends with NULL), then ByteLevel without one. */
tempera_status pretokenizer_expressions(struct pretokenizer *pretokenizer, const char *const *expressions,
                                        const char *name, tempera_error *err);
void pretokenizer_free(struct pretokenizer *pretokenizer);

struct text_piece {
    const char *text; /* borrowed for the call */
    size_t length;
    bool first; /* begins where the caller's text begins */
};
typedef tempera_status pretokenizer_sink(void *arg, struct text_piece piece, tempera_error *err);

/* What one thread uses; zero-initialise and fill the first four, free with pretokenizer_run_free. */
struct pretokenizer_run {
    pretokenizer_sink *sink;
    void *arg;
    struct regex_run *regex;
    bool raw;          /* a ByteLevel step at the end only cuts: the sink takes bytes, not their spelling */
    struct buf *texts; /* [steps]: what a step wrote, while the following steps read it */
};
void pretokenizer_run_free(const struct pretokenizer *pretokenizer, struct pretokenizer_run *run);
/* Empty pieces are not sent to the sink. */
tempera_status pretokenizer_apply(const struct pretokenizer *pretokenizer, struct pretokenizer_run *run,
                                  struct text_piece piece, tempera_error *err);

#endif
