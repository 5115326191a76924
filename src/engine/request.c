#include "engine/request.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/status.h"
#include "engine/settings.h"

static void *copy_array(struct arena *arena, const void *from, size_t count, size_t size, bool *failed) {
    if (count == 0) return NULL;
    void *to = arena_array(arena, count, size);
    if (to) {
        memcpy(to, from, count * size);
    } else {
        *failed = true;
    }
    return to;
}

tempera_status sampling_copy(tempera_sampling *to, const tempera_sampling *from, struct arena *arena,
                             tempera_error *err) {
    bool failed = false;
    *to = *from;
    to->logit_bias = copy_array(arena, from->logit_bias, from->logit_bias_count, sizeof *from->logit_bias, &failed);
    to->stop_token_ids =
        copy_array(arena, from->stop_token_ids, from->stop_token_count, sizeof *from->stop_token_ids, &failed);
    const char **stop = copy_array(arena, from->stop, from->stop_count, sizeof *from->stop, &failed);
    for (size_t i = 0; stop && i < from->stop_count; i++) {
        stop[i] = arena_strndup(arena, from->stop[i], strlen(from->stop[i]));
        failed |= !stop[i];
    }
    to->stop = stop;
    return failed ? fail_memory(err, arena->used, "a copy of the settings") : TEMPERA_OK;
}

static tempera_status copy_setting(struct request *r, struct setting *setting, const tempera_sampling *from,
                                   const struct request_limits *limits, tempera_error *err) {
    TRY(sampling_copy(&setting->sampling, from, &r->arena, err));
    int32_t room = limits->context - r->prompt_count;
    setting->max_tokens = from->max_tokens < room ? from->max_tokens : room;
    setting->eos_count = from->ignore_eos ? 0 : limits->eos_count;
    setting->end_count = setting->eos_count + (int32_t)from->stop_token_count;
    int32_t *end = arena_array(&r->arena, (size_t)setting->end_count + 1, sizeof *end);
    if (!end) return fail_memory(err, (size_t)setting->end_count * sizeof *end, "stop tokens");
    memcpy(end, limits->eos, (size_t)setting->eos_count * sizeof *end);
    if (from->stop_token_count > 0) {
        memcpy(end + setting->eos_count, from->stop_token_ids, from->stop_token_count * sizeof *end);
    }
    setting->end_tokens = end;
    tempera_logit_bias *bias = arena_array(&r->arena, from->logit_bias_count + 1, sizeof *bias);
    if (!bias) return fail_memory(err, from->logit_bias_count * sizeof *bias, "logit biases");
    settings_sort_bias(bias, from);
    return branch_params_build(&setting->params, &setting->sampling, 0, bias, end, setting->end_count, err);
}

/* Room for the statistics of as many samples as can run at once, allocated now so that no step has to. */
static tempera_status allocate_stats(struct request *r, int32_t max_branches, tempera_error *err) {
    int64_t samples = 0;
    int32_t tokens = 0, top = 0;
    for (int32_t s = 0; s < r->setting_count; s++) {
        const struct setting *setting = &r->settings[s];
        if (setting->sampling.logprobs < 0) continue;
        samples += setting->sampling.n;
        if (setting->max_tokens > tokens) tokens = setting->max_tokens;
        if (setting->sampling.logprobs > top) top = setting->sampling.logprobs;
    }
    if (samples == 0) return TEMPERA_OK;
    int32_t slots = samples < max_branches ? (int32_t)samples : max_branches;
    return stat_pool_init(&r->stats, &r->arena, slots, tokens, top, err);
}

static tempera_status check_request(const tempera_request *from, const struct request_limits *limits,
                                    tempera_error *err) {
    if (!from->prompt || from->prompt_count == 0) {
        return fail(err, TEMPERA_INVALID_ARGUMENT, "the prompt has no tokens; at least 1 is needed");
    }
    if (from->prompt_count > (size_t)limits->context) {
        return fail(err, TEMPERA_TOO_LONG, "the prompt has %zu tokens; the context holds %d", from->prompt_count,
                    limits->context);
    }
    if (!from->settings || from->setting_count == 0 || from->setting_count > INT32_MAX) {
        return fail(err, TEMPERA_INVALID_ARGUMENT, "a request needs 1 to %d settings, not %zu", INT32_MAX,
                    from->setting_count);
    }
    for (size_t i = 0; i < from->prompt_count; i++) {
        if (from->prompt[i] < 0 || from->prompt[i] >= limits->V) {
            return fail(err, TEMPERA_INVALID_ARGUMENT, "prompt token %zu is %d; the vocabulary is 0 to %d", i,
                        from->prompt[i], limits->V - 1);
        }
    }
    for (size_t s = 0; s < from->setting_count; s++) {
        TRY(tempera_sampling_check(&from->settings[s], limits->V, err));
        if (from->settings[s].stop_count > 0 && !limits->tokenizer) {
            return fail(err, TEMPERA_INVALID_ARGUMENT, "stop strings need a tokenizer, and the model has none");
        }
        if (from->prompt_count == (size_t)limits->context && from->settings[s].max_tokens > 0) {
            return fail(err, TEMPERA_TOO_LONG, "the prompt's %zu tokens fill the context of %d: no room to generate",
                        from->prompt_count, limits->context);
        }
    }
    return TEMPERA_OK;
}

/* A completion's text continues the prompt's: only a text that starts with the completion loses its leading space. */
static tempera_status start_text(struct request *r, const struct tokenizer *tokenizer, tempera_error *err) {
    if (!tokenizer) return TEMPERA_OK;
    char *scratch = arena_alloc(&r->arena, tokenizer_detok_bound(tokenizer));
    if (!scratch) return fail_memory(err, tokenizer_detok_bound(tokenizer), "text");
    detok_init(&r->detok, tokenizer, false);
    for (int32_t i = 0; i < r->prompt_count; i++) detok_push(&r->detok, r->prompt[i], scratch);
    r->detok.pending_count = 0; /* bytes of an unfinished character stay the prompt's */
    return TEMPERA_OK;
}

/* ---- waves ----------------------------------------------------------------------------------------------------- */

/* Finds the settings that have sample `sample`, and what the next index is that adds one. */
static void gather_wave(struct request *r) {
    struct wave *w = &r->wave;
    w->count = 0;
    w->entry = INT32_MAX;
    for (int32_t s = 0; s < r->setting_count; s++) {
        const tempera_sampling *sampling = &r->settings[s].sampling;
        int32_t place = w->sample - sampling->first_sample;
        if (place < 0) {
            if (sampling->first_sample < w->entry) w->entry = sampling->first_sample;
        } else if (place < sampling->n) {
            w->setting[w->count++] = s;
        }
    }
}

/* Leaves those out whose last sample is before the wave's. */
static void thin_wave(struct request *r) {
    struct wave *w = &r->wave;
    int32_t kept = 0;
    for (int32_t i = 0; i < w->count; i++) {
        const tempera_sampling *sampling = &r->settings[w->setting[i]].sampling;
        if (w->sample - sampling->first_sample < sampling->n) w->setting[kept++] = w->setting[i];
    }
    w->count = kept;
}

/* The wave of the next sample index that any setting has; empty when there is none. */
static void next_wave(struct request *r) {
    struct wave *w = &r->wave;
    w->next = 0;
    w->sample++;
    thin_wave(r);
    if (w->sample == w->entry) gather_wave(r);
    while (w->count == 0 && w->entry < INT32_MAX) {
        w->sample = w->entry;
        gather_wave(r);
    }
}

static tempera_status first_wave(struct request *r, tempera_error *err) {
    r->wave = (struct wave){
        .setting = arena_array(&r->arena, (size_t)r->setting_count, sizeof *r->wave.setting), .sample = -1, .entry = 0};
    if (!r->wave.setting) return fail_memory(err, (size_t)r->setting_count * sizeof *r->wave.setting, "a request");
    next_wave(r);
    return TEMPERA_OK;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

tempera_status request_create(struct request **request, const tempera_request *from,
                              const struct request_limits *limits, tempera_error *err) {
    tempera_status status = TEMPERA_OK;
    TRY(check_request(from, limits, err));
    struct request *r = mem_array(1, sizeof *r);
    if (!r) return fail_memory(err, sizeof *r, "a request");
    r->user = from->user;
    r->on_token = from->on_token;
    r->on_sample = from->on_sample;
    r->prompt_count = (int32_t)from->prompt_count;
    r->setting_count = (int32_t)from->setting_count;
    r->prompt = arena_array(&r->arena, from->prompt_count, sizeof *r->prompt);
    r->settings = arena_array(&r->arena, from->setting_count, sizeof *r->settings);
    if (!r->prompt || !r->settings) {
        status = fail_memory(err, from->prompt_count * sizeof *r->prompt + from->setting_count * sizeof *r->settings,
                             "a request");
        goto cleanup;
    }
    memcpy(r->prompt, from->prompt, from->prompt_count * sizeof *r->prompt);
    for (int32_t s = 0; s < r->setting_count; s++) {
        TRY_GOTO(copy_setting(r, &r->settings[s], &from->settings[s], limits, err));
        r->samples += from->settings[s].n;
    }
    TRY_GOTO(first_wave(r, err));
    TRY_GOTO(allocate_stats(r, limits->max_branches, err));
    TRY_GOTO(start_text(r, limits->tokenizer, err));
    *request = r;
    return TEMPERA_OK;

cleanup:
    request_free(r);
    return status;
}

void request_free(struct request *request) {
    if (!request) return;
    arena_free(&request->arena);
    mem_free(request);
}

int32_t request_wave_left(const struct request *request) {
    return request->wave.count - request->wave.next;
}

void request_take_sample(struct request *request, int32_t *setting, int32_t *sample) {
    struct wave *w = &request->wave;
    *setting = w->setting[w->next++];
    *sample = w->sample;
    request->started++;
    if (w->next == w->count) next_wave(request);
}
