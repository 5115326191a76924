/* generate_result.h: finished samples of `generate`, printed in the order of prompt, setting and sample however they
 * finish. */
#ifndef TOOLS_GENERATE_RESULT_H
#define TOOLS_GENERATE_RESULT_H

#include "common.h"
#include "sampling_args.h"

enum result_format { RESULT_TEXT, RESULT_JSONL, RESULT_JSON };

struct result_slot {
    struct strbuf text; /* empty when the sample has nothing to show */
    bool done;
};

struct results {
    const struct session *session;
    const struct setting_list *settings;
    const struct text_list *setting_names; /* the --setting flags, for headers */
    enum result_format format;
    bool terminal; /* standard output is one */
    size_t prompts;
    size_t *first; /* [settings->count] first sample of each setting within a prompt */
    size_t per_prompt, total;
    struct result_slot *slots; /* [total] */
    size_t next, finished, printed;
    char **token_text; /* [vocab_size] spelled tokens, made when first needed */
    size_t *token_length;
    size_t errors, cancelled;
    char first_error[256];
};

/* 0 or the exit status. The pointers must stay valid; results_free is needed either way. */
int results_begin(struct results *results, size_t prompts);
/* Keeps a sample, and prints all that are now in order. */
void results_add(struct results *results, size_t prompt, const tempera_sample *sample);
void results_end(struct results *results);
void results_free(struct results *results);

/* One sample on a terminal as it is made. */
void results_stream(struct results *results, const char *bytes, size_t length);

#endif
