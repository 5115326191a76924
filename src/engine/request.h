/* request.h: one submitted request, copied from its caller: a prompt, its settings, its samples. */
#ifndef ENGINE_REQUEST_H
#define ENGINE_REQUEST_H

#include "backend/backend.h"
#include "base/arena.h"
#include "engine/stat_pool.h"
#include "tempera/tempera.h"
#include "text/tokenizer.h"

/* One setting in the form the engine runs. All pointers live in the request's arena. */
struct setting {
    tempera_sampling sampling; /* deep copy, what callbacks see */
    int32_t max_tokens;        /* clamped to what the context leaves */
    const int32_t *end_tokens; /* [end_count] eos (unless ignored), then stop_token_ids */
    int32_t end_count, eos_count;
    struct branch_params params; /* of sample 0 */
};

/* The samples of a request that are to be started next: the settings that have sample `sample`. Settings share noise of
 * equal sample index, so a wave that starts together stays on few rows. */
struct wave {
    int32_t *setting; /* [count] of [setting_count], ascending; those from `next` on are not started yet */
    int32_t count, next;
    int32_t sample;
    int32_t entry; /* the next index that is the first one of a setting; INT32_MAX: of none */
};

struct request {
    struct arena arena; /* owns all below */
    uint64_t id;
    int32_t *prompt; /* [prompt_count] */
    int32_t prompt_count;
    struct setting *settings; /* [setting_count] */
    int32_t setting_count;
    int64_t samples; /* over all settings */
    struct wave wave;
    int64_t started, finished; /* samples */
    struct detok detok;        /* state after the prompt: where every sample's text starts */
    struct stat_pool stats;    /* of samples whose setting asks for logprobs */
    void *user;
    void (*on_token)(const tempera_token_event *event);
    void (*on_sample)(const tempera_sample *sample);
    int32_t slot;         /* the engine's */
    struct request *next; /* in the queue */
};

/* Where the engine's limits enter a request. */
struct request_limits {
    int32_t V, context, max_branches;
    const int32_t *eos; /* [eos_count] */
    int32_t eos_count;
    const struct tokenizer *tokenizer; /* may be NULL */
};

/* Checks and copies. The caller frees with request_free. */
tempera_status request_create(struct request **request, const tempera_request *from,
                              const struct request_limits *limits, tempera_error *err);
void request_free(struct request *request);

/* How many samples of the current wave are not started; 0 when all samples of the request are. */
int32_t request_wave_left(const struct request *request);
/* Takes the next sample to start. There must be one. Samples come in order of sample index, then of setting. */
void request_take_sample(struct request *request, int32_t *setting, int32_t *sample);
/* A deep copy of a setting (lists, strings) into an arena; for scoring, which has no request. */
tempera_status sampling_copy(tempera_sampling *to, const tempera_sampling *from, struct arena *arena,
                             tempera_error *err);

#endif
