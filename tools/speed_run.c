/* speed_run.c: prefill and decode, timed with everything that generating text does: sampling, stop rules,
 * detokenising. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "output.h"
#include "speed.h"
#include "startup.h"

/* ---- statistics ---- */

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void summarise(struct speed_row *row) {
    double *sorted = xarray(row->count, sizeof *sorted), sum = 0, squares = 0;
    memcpy(sorted, row->samples, row->count * sizeof *sorted);
    qsort(sorted, row->count, sizeof *sorted, compare);
    for (size_t i = 0; i < row->count; i++) sum += sorted[i];
    row->mean = sum / (double)row->count;
    for (size_t i = 0; i < row->count; i++) squares += (sorted[i] - row->mean) * (sorted[i] - row->mean);
    row->stddev = row->count > 1 ? sqrt(squares / (double)(row->count - 1)) : 0;
    row->median = (sorted[(row->count - 1) / 2] + sorted[row->count / 2]) / 2;
    row->min = sorted[0];
    row->max = sorted[row->count - 1];
    free(sorted);
}

/* ---- prompts ---- */

/* The same ids in every run: splitmix64 from a fixed seed and the prompt's index. */
static void random_ids(int32_t *ids, size_t count, size_t prompt, int32_t vocab_size) {
    uint64_t state = 0x74656D70657261u + ((uint64_t)prompt << 32);
    for (size_t i = 0; i < count; i++) {
        uint64_t x = state += 0x9E3779B97F4A7C15u;
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
        x = (x ^ x >> 27) * 0x94D049BB133111EBu;
        ids[i] = (int32_t)((x ^ x >> 31) % (uint64_t)vocab_size);
    }
}

/* ---- one run ---- */

struct probe;
struct probe_row {
    struct probe *probe;
    bool started;
};
struct probe {
    size_t started; /* sequences that have their first token */
    uint64_t tokens;
    struct probe_row *rows;
};

static void on_token(const tempera_token_event *event) {
    struct probe_row *row = event->user;
    row->probe->tokens++;
    if (!row->started) row->probe->started++;
    row->started = true;
}

static int submit(const struct speed_setup *setup, const struct speed_test *test, struct probe *probe) {
    tempera_error err;
    bool decode = test->kind == SPEED_DECODE;
    int32_t length = decode ? (test->depth > 0 ? test->depth : 1) : test->tokens;
    int32_t *ids = xarray((size_t)length, sizeof *ids);
    tempera_sampling sampling = setup->sampling;
    int status = EXIT_DONE;
    sampling.n = 1;
    sampling.ignore_eos = true;
    sampling.max_tokens = decode ? speed_length(test, setup->session->plan.max_step_tokens) - length : 1;
    for (int32_t i = 0; i < test->batch && !status; i++) {
        random_ids(ids, (size_t)length, (size_t)i, setup->session->info.vocab_size);
        probe->rows[i].probe = probe;
        tempera_request request = {.prompt = ids,
                                   .prompt_count = (size_t)length,
                                   .settings = &sampling,
                                   .setting_count = 1,
                                   .user = &probe->rows[i],
                                   .on_token = on_token};
        if (tempera_submit(setup->session->engine, &request, NULL, &err) != TEMPERA_OK) status = complain_error(&err);
    }
    free(ids);
    return status;
}

/* Steps until `done`, an absolute number of steps, or the end of the work. */
static int steps(tempera_engine *engine, int32_t most, const struct probe *probe, size_t until_started) {
    tempera_error err;
    bool active = true;
    for (int32_t i = 0; active && (most < 0 || i < most); i++) {
        if (until_started && probe->started >= until_started) break;
        if (tempera_step(engine, &active, &err) != TEMPERA_OK) return complain_error(&err);
    }
    return interrupted() ? EXIT_INTERRUPTED : EXIT_DONE;
}

/* Tokens per second of one run. Decode: the clock starts when every sequence has its first token. */
static int run_once(const struct speed_setup *setup, const struct speed_test *test, double *rate) {
    tempera_engine *engine = setup->session->engine;
    struct probe probe = {.rows = xarray((size_t)test->batch, sizeof *probe.rows)};
    double start = seconds_now();
    int status = submit(setup, test, &probe);
    if (test->kind == SPEED_DECODE) {
        if (!status) status = steps(engine, -1, &probe, (size_t)test->batch);
        probe.tokens = 0;
        start = seconds_now();
        if (!status) status = steps(engine, test->tokens, &probe, 0);
        *rate = (double)probe.tokens / (seconds_now() - start);
        tempera_cancel(engine, 0);
        if (!status) status = steps(engine, -1, &probe, 0);
    } else {
        if (!status) status = steps(engine, -1, &probe, 0);
        *rate = (double)test->tokens * test->batch / (seconds_now() - start);
    }
    free(probe.rows);
    return status;
}

int32_t speed_length(const struct speed_test *test, int32_t step_tokens) {
    if (test->kind != SPEED_DECODE) return test->tokens + 1;
    /* Sequences whose prompt was computed first go on while the others' prompts are computed. */
    int64_t prompt = test->depth > 0 ? test->depth : 1;
    int64_t steps_before = (prompt * test->batch + step_tokens - 1) / step_tokens;
    int64_t length = prompt + test->tokens + 2 * steps_before + 2;
    return length < INT32_MAX ? (int32_t)length : INT32_MAX;
}

/* ---- ceilings ---- */

/* The least time the device's ceilings allow, over the time taken. Every weight is read once per step, and every key
 * and value of the context; a multiply-add counts as two operations, attention's are left out. */
void speed_share(const struct speed_setup *setup, struct speed_row *row) {
    const struct session *session = setup->session;
    const struct speed_test *test = &row->test;
    double bytes, operations, tokens;
    if (test->kind != SPEED_DECODE && test->kind != SPEED_PREFILL) return;
    if (test->kind == SPEED_DECODE) {
        double context = test->depth + 0.5 * test->tokens;
        double kv_token = (double)session->plan.kv / ((double)session->plan.pages * session->plan.page_tokens);
        tokens = test->batch;
        bytes = (double)session->plan.step_weights + test->batch * context * kv_token;
        operations = 2 * test->batch * (layer_parameters(session) + head_parameters(session));
    } else {
        double chunks = ceil((double)test->tokens / session->plan.max_step_tokens);
        tokens = test->tokens;
        bytes = chunks * (double)session->plan.step_weights;
        operations = 2 * (test->tokens * layer_parameters(session) + head_parameters(session));
    }
    double read_time = bytes / setup->read_bytes_per_second, compute_time = operations / setup->flops;
    row->bound = read_time > compute_time ? "bandwidth" : "compute";
    row->share_of_roofline = fmax(read_time, compute_time) * row->mean / tokens;
}

static void name_row(struct speed_row *row) {
    const struct speed_test *test = &row->test;
    struct strbuf name = {0};
    strbuf_printf(&name, "%s%d", test->kind == SPEED_DECODE ? "tg" : "pp", test->tokens);
    if (test->depth > 0) strbuf_printf(&name, "@d%d", test->depth);
    if (test->batch > 1) strbuf_printf(&name, "@b%d", test->batch);
    snprintf(row->name, sizeof row->name, "%s", name.data);
    strbuf_free(&name);
}

int speed_run(const struct speed_setup *setup, const struct speed_test *test, struct speed_row *row) {
    *row = (struct speed_row){.test = *test, .bound = "", .share_of_roofline = (double)NAN};
    row->samples = xarray((size_t)setup->repetitions, sizeof *row->samples);
    name_row(row);
    for (int32_t i = -setup->warmup; i < setup->repetitions; i++) {
        double rate;
        if (i < 0)
            progress_show("%s: warming up", row->name);
        else
            progress_show("%s: %d of %d", row->name, i + 1, setup->repetitions);
        int status = run_once(setup, test, &rate);
        if (status) return status;
        if (i >= 0) row->samples[row->count++] = rate;
    }
    summarise(row);
    return EXIT_DONE;
}

/* ---- tokenizer ---- */

/* Encodes or decodes for at least a fifth of a second; passes per second. */
static int tokenizer_once(const tempera_model *model, const struct text *text, const int32_t *ids, size_t count,
                          bool encode, double *rate) {
    double start = seconds_now(), elapsed;
    size_t passes = 0;
    do {
        tempera_error err;
        size_t length;
        char *back;
        int32_t *again;
        tempera_status status =
            encode ? tempera_encode(model, text->bytes, text->length, TEMPERA_ENCODE_PLAIN, &again, &length, &err)
                   : tempera_decode(model, ids, count, 0, &back, &length, &err);
        if (status != TEMPERA_OK) return complain_error(&err);
        tempera_free(encode ? (void *)again : (void *)back);
        passes++;
        elapsed = seconds_now() - start;
    } while (elapsed < 0.2);
    *rate = (double)passes / elapsed;
    return EXIT_DONE;
}

static int tokenizer_row(const struct speed_setup *setup, const struct text *text, const int32_t *ids, size_t count,
                         bool encode, struct speed_row *row) {
    *row = (struct speed_row){.test = {encode ? SPEED_ENCODE : SPEED_DETOKENIZE, (int32_t)count, 1, 0},
                              .bound = "",
                              .share_of_roofline = (double)NAN};
    snprintf(row->name, sizeof row->name, encode ? "encode" : "decode-text");
    row->samples = xarray((size_t)setup->repetitions, sizeof *row->samples);
    for (int32_t i = 0; i < setup->repetitions; i++) {
        double rate;
        progress_show("%s: %d of %d", row->name, i + 1, setup->repetitions);
        int status = tokenizer_once(setup->session->model, text, ids, count, encode, &rate);
        if (status) return status;
        row->samples[row->count++] = rate * (double)count;
    }
    summarise(row);
    row->bytes_per_second = row->mean / (double)count * (double)text->length;
    return EXIT_DONE;
}

int speed_tokenizer(const struct speed_setup *setup, const struct text *text, struct speed_row rows[2]) {
    tempera_error err;
    int32_t *ids;
    size_t count;
    if (tempera_encode(setup->session->model, text->bytes, text->length, TEMPERA_ENCODE_PLAIN, &ids, &count, &err) !=
        TEMPERA_OK)
        return complain_error(&err);
    int status = count ? EXIT_DONE : complain(EXIT_FAILED, "--tokenizer: the file has no tokens");
    if (!status) status = tokenizer_row(setup, text, ids, count, true, &rows[0]);
    if (!status) status = tokenizer_row(setup, text, ids, count, false, &rows[1]);
    tempera_free(ids);
    return status;
}

/* ---- start ---- */

int speed_startup(const struct speed_setup *setup, const struct common_args *args, struct speed_row *row) {
    *row = (struct speed_row){.test = {SPEED_STARTUP, 1, 1, 0}, .bound = "", .share_of_roofline = (double)NAN};
    snprintf(row->name, sizeof row->name, "startup");
    row->samples = xarray((size_t)setup->repetitions, sizeof *row->samples);
    for (int32_t i = -setup->warmup; i < setup->repetitions; i++) {
        double seconds;
        progress_show("%s: %d of %d", row->name, i + 1, setup->repetitions);
        int status = startup_once(setup->session->info.folder, args, &seconds);
        if (status) return status;
        if (i >= 0) row->samples[row->count++] = seconds;
    }
    summarise(row);
    return EXIT_DONE;
}
