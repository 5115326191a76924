#include "tests/engine/record.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"

static struct engine *running; /* the engine whose callbacks are being served */

void test_model_open(struct test_model *m, const char *folder) {
    tempera_error err = {0};
    *m = (struct test_model){0};
    cr_assert_eq(model_open(&m->model, folder, &err), TEMPERA_OK, "%s", err.message);
    if (tokenizer_open(&m->tokenizer, folder, &err) != TEMPERA_OK) m->tokenizer = NULL;
    const struct model_config *config = model_config(m->model);
    m->eos_count = config->eos_count;
    memcpy(m->eos, config->eos, sizeof m->eos);
}

void test_model_close(struct test_model *m) {
    tokenizer_free(m->tokenizer);
    model_free(m->model);
}

struct engine *test_engine_open(const struct test_model *m, const tempera_engine_options *options, bool ahead) {
    tempera_error err = {0};
    struct engine *e = NULL;
    tempera_status status = engine_open(&e, m->model, m->tokenizer, m->eos, m->eos_count, options, &err);
    cr_assert_eq(status, TEMPERA_OK, "%s", err.message);
    e->run_ahead &= ahead;
    return e;
}

static struct record *record_of(const struct job *job, int32_t setting, int32_t sample) {
    if (!job->record) return NULL;
    size_t at = 0;
    for (int32_t s = 0; s < setting; s++) at += (size_t)job->settings[s].n;
    return job->record + at + (size_t)(sample - job->settings[setting].first_sample);
}

/* The logits row that the token of this event was drawn from. */
static int32_t logits_row(const tempera_token_event *event) {
    for (int32_t i = 0; i < running->batch[0].view.B; i++) {
        const struct branch_draw *draw = &running->batch[0].draw[i];
        const struct branch *b =
            (const struct branch *)(const void *)((const char *)draw->params - offsetof(struct branch, params));
        if (b->request && b->request->id == event->request && b->setting == event->setting_index &&
            b->sample == event->sample_index) {
            return draw->row;
        }
    }
    cr_assert_fail("an event without a draw");
    return 0;
}

static uint64_t hash_floats(uint64_t hash, const float *x, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        hash = (hash ^ bits) * 0x100000001B3u;
    }
    return hash;
}

static void hash_logits(struct record *r, const tempera_token_event *event) {
    float *logits = mem_array((size_t)running->V, sizeof *logits);
    cr_assert_eq(network_read_logits(running->network, logits_row(event), logits, NULL), TEMPERA_OK);
    r->logits = hash_floats(r->logits ? r->logits : 1, logits, running->V);
    mem_free(logits);
}

static void hash_stat(struct record *r, const tempera_token_stat *stat) {
    const float values[] = {stat->logprob, stat->final_logprob, stat->entropy, stat->kept_mass, (float)stat->kept};
    r->stats = hash_floats(r->stats, values, sizeof values / sizeof values[0]);
    r->stats = hash_floats(r->stats, stat->top_logprob, stat->top_count);
    for (int32_t i = 0; i < stat->top_count; i++) r->stats = (r->stats ^ (uint32_t)stat->top_token[i]) * 0x100000001B3u;
}

static void on_token(const tempera_token_event *event) {
    struct record *r = record_of(event->user, event->setting_index, event->sample_index);
    if (!r) return;
    if (!running->run_ahead) hash_logits(r, event);
    if (event->stat) hash_stat(r, event->stat);
    cr_assert_lt(r->count, RECORD_TOKENS);
    r->tokens[r->count++] = event->token;
    size_t used = strlen(r->text);
    if (used + event->text_length < sizeof r->text) memcpy(r->text + used, event->text, event->text_length);
}

static void on_sample(const tempera_sample *sample) {
    struct record *r = record_of(sample->user, sample->setting_index, sample->sample_index);
    if (!r) return;
    cr_assert_not(r->done, "a sample was reported twice");
    r->done = true;
    r->finish = sample->finish;
    cr_assert_eq(sample->token_count, (size_t)r->count);
    struct record whole = {.stats = 0};
    for (size_t i = 0; sample->stats && i < sample->token_count; i++) hash_stat(&whole, &sample->stats[i]);
    cr_assert_eq(whole.stats, r->stats, "a sample's statistics are not those of its tokens");
    cr_assert_eq(memcmp(sample->tokens, r->tokens, (size_t)r->count * sizeof *r->tokens), 0);
    if (sample->text_length < sizeof r->text) {
        cr_assert_eq(strlen(r->text), sample->text_length, "streamed \"%s\", whole \"%s\"", r->text, sample->text);
        cr_assert_eq(memcmp(r->text, sample->text, sample->text_length), 0, "streamed \"%s\", whole \"%s\"", r->text,
                     sample->text);
    }
}

uint64_t submit_job(struct engine *engine, const struct job *job) {
    tempera_error err = {0};
    uint64_t id;
    size_t records = 0;
    running = engine;
    for (size_t s = 0; s < job->setting_count; s++) records += (size_t)job->settings[s].n;
    if (job->record) memset(job->record, 0, records * sizeof *job->record);
    tempera_request request = {.prompt = job->prompt,
                               .prompt_count = job->prompt_count,
                               .settings = job->settings,
                               .setting_count = job->setting_count,
                               .user = (void *)(uintptr_t)job,
                               .on_token = on_token,
                               .on_sample = on_sample};
    cr_assert_eq(engine_submit(engine, &request, &id, &err), TEMPERA_OK, "%s", err.message);
    return id;
}

bool step_jobs(struct engine *engine, tempera_error *err) {
    bool active;
    running = engine;
    if (engine_step(engine, &active, err) != TEMPERA_OK) active = true;
    cr_assert(rows_check(&engine->rows), "an invariant of rows or pages broke");
    if (active) return true;
    cr_assert(engine_idle(engine) && engine->in_flight == 0);
    cr_assert_eq(engine->rows.kv.used, 0, "%d pages leaked", engine->rows.kv.used);
    return false;
}

void run_jobs(struct engine *engine, const struct job *jobs, size_t count) {
    tempera_error err = {0};
    for (size_t j = 0; j < count; j++) submit_job(engine, &jobs[j]);
    while (step_jobs(engine, &err)) cr_assert_eq(err.status, TEMPERA_OK, "%s", err.message);
}

void expect_equal(const struct record *a, const struct record *b, size_t count, const char *what) {
    for (size_t i = 0; i < count; i++) {
        cr_assert(a[i].done && b[i].done, "%s: sample %zu did not finish", what, i);
        cr_assert_eq(a[i].count, b[i].count, "%s: sample %zu has %d tokens, not %d", what, i, b[i].count, a[i].count);
        cr_assert_eq(memcmp(a[i].tokens, b[i].tokens, (size_t)a[i].count * sizeof(int32_t)), 0,
                     "%s: sample %zu has other tokens", what, i);
        cr_assert(a[i].logits == b[i].logits || !a[i].logits || !b[i].logits, "%s: sample %zu has other logit bits",
                  what, i);
        cr_assert_eq(a[i].stats, b[i].stats, "%s: sample %zu has other statistics", what, i);
        cr_assert_eq(a[i].finish, b[i].finish, "%s: sample %zu ended otherwise", what, i);
        cr_assert_str_eq(a[i].text, b[i].text, "%s: sample %zu has other text", what, i);
    }
}
