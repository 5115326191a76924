/* api.c: the public functions. Checks arguments, calls the layers; nothing else happens here. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "engine/engine.h"
#include "tempera/tempera.h"

struct tempera_model {
    char *folder;
    struct model *model;
    struct tokenizer *tokenizer; /* NULL when the folder has none */
    tempera_error no_tokenizer;  /* why not */
    int32_t bos, eos[CONFIG_MAX_EOS], eos_count;
};

struct tempera_engine {
    struct engine *engine;
};

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char *tempera_version(void) {
    return TEMPERA_VERSION;
}

const char *tempera_build(void) {
    return TEMPERA_VERSION " " TEMPERA_COMMIT " " TEMPERA_BUILD_TYPE " " COMPILER;
}

void tempera_free(void *memory) {
    mem_free(memory);
}

static tempera_status need(const void *pointer, const char *name, tempera_error *err) {
    return pointer ? TEMPERA_OK : fail(err, TEMPERA_INVALID_ARGUMENT, "%s is NULL", name);
}

/* ---- model ----------------------------------------------------------------------------------------------------- */

/* End-of-text ids: generation_config.json's, else config.json's, else the tokenizer's. */
static void find_special_ids(tempera_model *m) {
    const struct generation_config *g = model_generation_config(m->model);
    const struct model_config *c = model_config(m->model);
    int32_t V = model_hparams(m->model)->V;
    const int32_t *eos = g->eos_count > 0 ? g->eos : c->eos;
    int32_t count = g->eos_count > 0 ? g->eos_count : c->eos_count;
    for (int32_t i = 0; i < count; i++) {
        if (eos[i] >= 0 && eos[i] < V) m->eos[m->eos_count++] = eos[i];
    }
    m->bos = g->bos != CONFIG_ABSENT ? g->bos : c->bos;
    if (!m->tokenizer) return;
    if (m->eos_count == 0 && tokenizer_eos(m->tokenizer) >= 0) m->eos[m->eos_count++] = tokenizer_eos(m->tokenizer);
    if (m->bos == CONFIG_ABSENT) m->bos = tokenizer_bos(m->tokenizer);
}

/* A folder without tokenizer files is fine; one with a bad or unsupported tokenizer is not. So with a GGUF file. */
static tempera_status open_tokenizer(tempera_model *m, const char *folder, tempera_error *err) {
    static const char *const names[] = {"tokenizer.json", "vocab.json", "encoder.json"};
    bool present = false;
    if (file_exists(folder)) {
        TRY(tokenizer_open_gguf(&m->tokenizer, folder, err));
        if (!m->tokenizer) fail(&m->no_tokenizer, TEMPERA_IO, "%s has no tokenizer.ggml.model", folder);
        return TEMPERA_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && !present; i++) {
        char *path = path_join(folder, names[i]);
        if (!path) return fail_memory(err, strlen(folder), "a path");
        present = file_exists(path);
        mem_free(path);
    }
    if (present) return tokenizer_open(&m->tokenizer, folder, err);
    fail(&m->no_tokenizer, TEMPERA_IO, "%s has no tokenizer.json (nor vocab.json with merges.txt)", folder);
    return TEMPERA_OK;
}

static tempera_status model_create(tempera_model **model, const char *name, tempera_error *err) {
    tempera_model *m = mem_array(1, sizeof *m);
    if (m) m->folder = mem_strndup(name, strlen(name));
    if (!m || !m->folder) {
        tempera_model_close(m);
        return fail_memory(err, sizeof *m, "a model");
    }
    m->bos = CONFIG_ABSENT;
    *model = m;
    return TEMPERA_OK;
}

tempera_status tempera_model_open(const char *path, tempera_model **model, tempera_error *err) {
    tempera_status status;
    tempera_model *m = NULL;
    TRY(need(path, "path", err));
    TRY(need(model, "model", err));
    if (!folder_exists(path) && !file_exists(path)) return fail(err, TEMPERA_IO, "%s: no such folder or file", path);
    TRY(model_create(&m, path, err));
    TRY_GOTO(model_open(&m->model, path, err));
    TRY_GOTO(open_tokenizer(m, path, err));
    find_special_ids(m);
    *model = m;
    return TEMPERA_OK;

cleanup:
    tempera_model_close(m);
    return status;
}

tempera_status tempera_model_random(const char *shape, uint64_t seed, tempera_model **model, tempera_error *err) {
    tempera_status status;
    tempera_model *m = NULL;
    char name[64] = "random:";
    TRY(need(shape, "shape", err));
    TRY(need(model, "model", err));
    strncat(name, shape, sizeof name - strlen(name) - 1);
    TRY(model_create(&m, name, err));
    TRY_GOTO(model_random(&m->model, shape, seed, err));
    fail(&m->no_tokenizer, TEMPERA_IO, "%s has no tokenizer", name);
    find_special_ids(m);
    *model = m;
    return TEMPERA_OK;

cleanup:
    tempera_model_close(m);
    return status;
}

void tempera_model_close(tempera_model *model) {
    if (!model) return;
    tokenizer_free(model->tokenizer);
    model_free(model->model);
    mem_free(model->folder);
    mem_free(model);
}

void tempera_model_info_get(const tempera_model *model, tempera_model_info *info) {
    const struct hparams *h = model_hparams(model->model);
    *info = (tempera_model_info){.folder = model->folder,
                                 .family = h->family,
                                 .weight_type = weight_type_name(model_weight_type(model->model)),
                                 .tensor_types = model_tensor_types(model->model),
                                 .parameters = model_parameters(model->model),
                                 .file_bytes = model_file_bytes(model->model),
                                 .vocab_size = h->V,
                                 .width = h->D,
                                 .layers = h->L,
                                 .heads = h->H,
                                 .kv_heads = h->Hkv,
                                 .head_width = h->Dh,
                                 .ff_width = h->F,
                                 .context = h->context,
                                 .tokenizer_size = model->tokenizer ? tokenizer_vocab_size(model->tokenizer) : 0,
                                 .bos = model->bos,
                                 .eos = model->eos_count > 0 ? model->eos[0] : CONFIG_ABSENT,
                                 .tied = h->tied};
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

static tempera_status need_tokenizer(const tempera_model *model, tempera_error *err) {
    TRY(need(model, "model", err));
    return model->tokenizer ? TEMPERA_OK : fail(err, model->no_tokenizer.status, "%s", model->no_tokenizer.message);
}

tempera_status tempera_encode(const tempera_model *model, const char *text, size_t length, unsigned flags,
                              int32_t **ids, size_t *count, tempera_error *err) {
    struct ids list = {0};
    TRY(need_tokenizer(model, err));
    if (length > 0) TRY(need(text, "text", err));
    unsigned encode = (flags & TEMPERA_ENCODE_SPECIAL ? ENCODE_SPECIAL : 0u) |
                      (flags & TEMPERA_ENCODE_PLAIN ? ENCODE_PLAIN_TEXT : 0u);
    tempera_status status = tokenizer_encode(model->tokenizer, text, length, encode, &list, err);
    if (status == TEMPERA_OK && !list.data) { /* no ids: still something that tempera_free takes */
        list.data = mem_alloc(sizeof *list.data);
        if (!list.data) status = fail_memory(err, sizeof *list.data, "token ids");
    }
    if (status != TEMPERA_OK) {
        ids_free(&list);
        return status;
    }
    *ids = list.data;
    *count = list.count;
    return TEMPERA_OK;
}

tempera_status tempera_decode(const tempera_model *model, const int32_t *ids, size_t count, unsigned flags, char **text,
                              size_t *length, tempera_error *err) {
    struct buf out = {.max = (size_t)1 << 32};
    TRY(need_tokenizer(model, err));
    if (count > 0) TRY(need(ids, "ids", err));
    tempera_status status =
        tokenizer_decode(model->tokenizer, ids, count, (flags & TEMPERA_DECODE_SPECIAL) != 0, &out, err);
    size_t bytes = 0;
    char *taken = status == TEMPERA_OK ? buf_take(&out, &bytes) : NULL;
    if (status == TEMPERA_OK && !taken) status = fail_memory(err, 1, "text");
    buf_free(&out);
    if (status != TEMPERA_OK) return status;
    *text = taken;
    *length = bytes;
    return TEMPERA_OK;
}

const char *tempera_piece(const tempera_model *model, int32_t id, size_t *length) {
    return model->tokenizer ? tokenizer_piece(model->tokenizer, id, length) : NULL;
}

bool tempera_is_special(const tempera_model *model, int32_t id) {
    return model->tokenizer && tokenizer_is_special(model->tokenizer, id);
}

/* ---- settings -------------------------------------------------------------------------------------------------- */

enum field_index {
#define FIELD_INDEX(kind, name, def, min, max, text) FIELD_##name,
    TEMPERA_SAMPLING_FIELDS(FIELD_INDEX)
#undef FIELD_INDEX
};

void tempera_model_sampling(const tempera_model *model, tempera_sampling *sampling, uint32_t *from_model) {
    const struct generation_config *g = model_generation_config(model->model);
    uint32_t set = 0;
    *sampling = tempera_sampling_default();
#define TAKE(has, field, value)                                                                                        \
    if (has) {                                                                                                         \
        sampling->field = (value);                                                                                     \
        set |= UINT32_C(1) << FIELD_##field;                                                                           \
    }
    TAKE(g->has_temperature, temperature, (float)g->temperature)
    TAKE(g->has_top_k, top_k, g->top_k)
    TAKE(g->has_top_p, top_p, (float)g->top_p)
    TAKE(g->has_min_p, min_p, (float)g->min_p)
    TAKE(g->has_typical_p, typical_p, (float)g->typical_p)
    TAKE(g->has_repetition_penalty, repetition_penalty, (float)g->repetition_penalty)
    TAKE(g->has_no_repeat_ngram, no_repeat_ngram, g->no_repeat_ngram)
    TAKE(g->has_max_new_tokens, max_tokens, g->max_new_tokens)
    TAKE(g->has_min_new_tokens, min_tokens, g->min_new_tokens)
    TAKE(g->do_sample == 0, temperature, 0)
#undef TAKE
    if (from_model) *from_model = set;
}

/* ---- engine ---------------------------------------------------------------------------------------------------- */

tempera_engine_options tempera_engine_options_default(void) {
    return (tempera_engine_options){
        .device = "auto", .dtype = "auto", .max_rows = 64, .max_branches = 1024, .max_step_tokens = 512};
}

tempera_status tempera_plan_make(const tempera_model *model, const tempera_engine_options *options, tempera_plan *plan,
                                 tempera_error *err) {
    TRY(need(model, "model", err));
    TRY(need(options, "options", err));
    tempera_plan made;
    TRY(engine_plan(&made, model->model, model->tokenizer, options, err));
    *plan = made;
    return TEMPERA_OK;
}

const char *tempera_matrix_name(tempera_matrix matrix) {
    static const char *const names[] = {"embedding",       "positions",        "qkv", "attention out",
                                        "feed-forward in", "feed-forward out", "head"};
    return (size_t)matrix < sizeof names / sizeof *names ? names[matrix] : "unknown";
}

tempera_status tempera_weight_errors(const tempera_model *model, const tempera_engine_options *options,
                                     tempera_weight_error *errors, tempera_error *err) {
    TRY(need(model, "model", err));
    TRY(need(options, "options", err));
    TRY(need(errors, "errors", err));
    return engine_weight_errors(errors, model->model, options, err);
}

tempera_status tempera_engine_open(const tempera_model *model, const tempera_engine_options *options,
                                   tempera_engine **engine, tempera_error *err) {
    TRY(need(model, "model", err));
    TRY(need(options, "options", err));
    TRY(need(engine, "engine", err));
    tempera_engine *e = mem_array(1, sizeof *e);
    if (!e) return fail_memory(err, sizeof *e, "the engine");
    tempera_status status =
        engine_open(&e->engine, model->model, model->tokenizer, model->eos, model->eos_count, options, err);
    if (status != TEMPERA_OK) {
        mem_free(e);
        return status;
    }
    *engine = e;
    return TEMPERA_OK;
}

void tempera_engine_close(tempera_engine *engine) {
    if (!engine) return;
    engine_close(engine->engine);
    mem_free(engine);
}

void tempera_engine_plan(const tempera_engine *engine, tempera_plan *plan) {
    *plan = engine->engine->plan;
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

const char *tempera_finish_name(tempera_finish finish) {
    static const char *const names[] = {"length", "eos", "stop", "cancelled", "error"};
    return (size_t)finish < sizeof names / sizeof *names ? names[finish] : "unknown";
}

tempera_status tempera_submit(tempera_engine *engine, const tempera_request *request, uint64_t *id,
                              tempera_error *err) {
    TRY(need(engine, "engine", err));
    TRY(need(request, "request", err));
    return engine_submit(engine->engine, request, id, err);
}

tempera_status tempera_step(tempera_engine *engine, bool *active, tempera_error *err) {
    TRY(need(engine, "engine", err));
    bool more;
    TRY(engine_step(engine->engine, &more, err));
    if (active) *active = more;
    return TEMPERA_OK;
}

tempera_status tempera_run(tempera_engine *engine, tempera_error *err) {
    bool active = true;
    while (active) TRY(tempera_step(engine, &active, err));
    return TEMPERA_OK;
}

void tempera_cancel(tempera_engine *engine, uint64_t id) {
    if (engine) engine_cancel(engine->engine, id);
}

/* ---- scoring --------------------------------------------------------------------------------------------------- */

tempera_status tempera_score(tempera_engine *engine, const int32_t *ids, size_t count, const tempera_sampling *settings,
                             size_t setting_count, tempera_token_stat *stats, tempera_error *err) {
    TRY(need(engine, "engine", err));
    TRY(need(stats, "stats", err));
    return engine_score(engine->engine, ids, count, settings, setting_count, NULL, 0, stats, NULL, err);
}

tempera_status tempera_score_pairs(tempera_engine *engine, const int32_t *ids, size_t count,
                                   const tempera_sampling *settings, size_t setting_count,
                                   const tempera_setting_pair *pairs, size_t pair_count, tempera_token_stat *stats,
                                   float *divergence, tempera_error *err) {
    TRY(need(engine, "engine", err));
    TRY(need(stats, "stats", err));
    if (pair_count > 0) {
        TRY(need(pairs, "pairs", err));
        TRY(need(divergence, "divergence", err));
    }
    return engine_score(engine->engine, ids, count, settings, setting_count, pairs, pair_count, stats, divergence, err);
}

tempera_status tempera_next(tempera_engine *engine, const int32_t *ids, size_t count, const tempera_sampling *settings,
                            size_t setting_count, int32_t top, int32_t *token, float *logprob, float *final_logprob,
                            tempera_token_stat *stats, tempera_error *err) {
    TRY(need(engine, "engine", err));
    TRY(need(token, "token", err));
    TRY(need(logprob, "logprob", err));
    if (settings) TRY(need(final_logprob, "final_logprob", err));
    return engine_next(engine->engine, ids, count, settings, setting_count, top, token, logprob, final_logprob, stats,
                       err);
}

tempera_status tempera_logits(tempera_engine *engine, const int32_t *ids, size_t count, float *logits,
                              tempera_error *err) {
    TRY(need(engine, "engine", err));
    TRY(need(logits, "logits", err));
    return engine_logits(engine->engine, ids, count, logits, err);
}

/* ---- figures --------------------------------------------------------------------------------------------------- */

void tempera_stats_get(const tempera_engine *engine, tempera_stats *stats) {
    const struct engine *e = engine->engine;
    *stats = e->stats;
    stats->reused_tokens = e->rows.reused_tokens;
    stats->forks = e->rows.forks;
    stats->preemptions = e->rows.preemptions;
    stats->pages_used = e->rows.kv.used;
    stats->pages_peak = e->rows.kv.used_peak;
}

void tempera_stats_reset(tempera_engine *engine) {
    struct engine *e = engine->engine;
    e->stats = (tempera_stats){0};
    e->rows.reused_tokens = e->rows.forks = e->rows.preemptions = 0;
    e->rows.kv.used_peak = e->rows.kv.used;
    e->first_submit = 0;
}

tempera_status tempera_measure(tempera_engine *engine, double *read_bytes_per_second, double *flops,
                               tempera_error *err) {
    TRY(need(engine, "engine", err));
    struct backend *backend = engine->engine->backend;
    return backend->ops->measure(backend, read_bytes_per_second, flops, err);
}
