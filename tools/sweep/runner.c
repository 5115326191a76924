/* runner.c: drives the engine over the prompts of a sweep and writes what finishes. */
#include "runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forks.h"
#include "output.h"

enum {
    JOBS_AHEAD = 8,       /* prompts queued at most: the engine needs a next one, not all */
    PENDING_MOST = 16384, /* samples in memory before they are written though their prompt is unfinished */
};
static const double pending_seconds = 10; /* what a killed run loses at most, of a long prompt */
static const size_t pending_bytes = (size_t)64 << 20;

/* One prompt's request. */
struct job {
    struct run *run;
    size_t prompt;
    tempera_sampling *settings; /* [count] one for each run of missing samples */
    int32_t *point;             /* [count] their numbers in the store */
    size_t count;
    int64_t left; /* samples that the engine has not handed back */
    bool cancelled;
    struct job *next; /* in the list of ended ones */
};

/* A finished sample that waits to be written; owns its bytes. */
struct pending {
    struct sample_record record;
    char *stats;
    size_t stats_size;
};

struct run {
    struct runner *runner;
    const struct run_goal *goal;
    int32_t *index_of; /* [numbers] a store number's place in goal->points, -1 when it is not one of them */
    size_t numbers;
    bool check_store;            /* the store holds samples already */
    size_t next;                 /* of the goal's prompts to be submitted */
    size_t jobs;                 /* submitted and not ended */
    struct job *job[JOBS_AHEAD]; /* those, in any order */
    int64_t wanted, finished;
    struct pending *pending;
    size_t pending_count, bytes;
    struct job *ended; /* prompts whose last sample has come, oldest first */
    struct job **ended_last;
    double last_commit, last_show, started;
    /* sums over decode steps, to fit seconds = a + b rows */
    double steps, rows, seconds, rows2, rows_seconds;
    int64_t step_rows, step_branches;
};

/* ---- what is missing ---- */

struct gaps {
    struct job *job;
    struct run *run;
    int32_t *next; /* [points] first sample that is not known to be there */
};

static int32_t wanted_samples(const struct run_goal *goal, size_t point) {
    return goal->samples ? goal->samples[point] : goal->points->items[point].samples;
}

static void add_gap(struct job *job, const struct run_goal *goal, size_t point, int32_t first, int32_t end) {
    if (first >= end) return;
    if ((job->count & (job->count + 1)) == 0) { /* doubles at 0, 1, 3, 7 … */
        job->settings = xgrow(job->settings, 2 * job->count + 1, sizeof *job->settings);
        job->point = xgrow(job->point, 2 * job->count + 1, sizeof *job->point);
    }
    tempera_sampling *setting = &job->settings[job->count];
    *setting = goal->points->items[point].sampling;
    setting->first_sample = first;
    setting->n = end - first;
    job->point[job->count++] = goal->number[point];
    job->left += end - first;
}

static void seen_key(void *user, int32_t point, int32_t sample) {
    struct gaps *gaps = user;
    if (point < 0 || (size_t)point >= gaps->run->numbers || gaps->run->index_of[point] < 0) return;
    size_t index = (size_t)gaps->run->index_of[point];
    if (gaps->next[index] == INT32_MAX) return; /* another process goes on with it */
    const struct run_goal *goal = gaps->run->goal;
    int32_t want = wanted_samples(goal, index);
    if (sample >= want) return;
    add_gap(gaps->job, goal, index, gaps->next[index], sample);
    gaps->next[index] = sample + 1;
}

/* Which of a prompt's samples are to be made, in the order of points. */
static int find_missing(struct run *run, struct job *job) {
    const struct run_goal *goal = run->goal;
    size_t points = goal->points->count;
    struct gaps gaps = {job, run, xarray(points, sizeof *gaps.next)};
    int status = EXIT_DONE;
    for (size_t i = 0; i < points; i++)
        if (!shard_has(&goal->shard, job->prompt, goal->prompts->count, i, points))
            gaps.next[i] = INT32_MAX; /* another process's */
    if (run->check_store) status = store_each_key(run->runner->store, (int32_t)job->prompt, seen_key, &gaps);
    for (size_t i = 0; i < points && !status; i++) add_gap(job, goal, i, gaps.next[i], wanted_samples(goal, i));
    free(gaps.next);
    return status;
}

static void free_job(struct job *job) {
    free(job->settings);
    free(job->point);
    free(job);
}

static size_t goal_prompt(const struct run_goal *goal, size_t i) {
    return goal->prompt ? goal->prompt[i] : i;
}
static size_t goal_prompts(const struct run_goal *goal) {
    return goal->prompt ? goal->prompt_count : goal->prompts->count;
}

static int open_run(struct run *run, struct runner *runner, const struct run_goal *goal) {
    int64_t there;
    *run = (struct run){.runner = runner, .goal = goal, .started = seconds_now()};
    run->ended_last = &run->ended;
    run->last_commit = run->started;
    for (size_t i = 0; i < goal->points->count; i++)
        if ((size_t)goal->number[i] >= run->numbers) run->numbers = (size_t)goal->number[i] + 1;
    run->index_of = xalloc(run->numbers * sizeof *run->index_of);
    for (size_t i = 0; i < run->numbers; i++) run->index_of[i] = -1;
    for (size_t i = 0; i < goal->points->count; i++) run->index_of[goal->number[i]] = (int32_t)i;
    int status = store_count_samples(runner->store, &there);
    run->check_store = there > 0;
    return status;
}

int runner_missing(struct store *store, const struct run_goal *goal, int64_t *missing) {
    struct run run;
    struct runner runner = {.store = store};
    int status = open_run(&run, &runner, goal);
    *missing = 0;
    for (size_t i = 0; i < goal_prompts(goal) && !status; i++) {
        struct job job = {.run = &run, .prompt = goal_prompt(goal, i)};
        status = find_missing(&run, &job);
        *missing += job.left;
        free(job.settings);
        free(job.point);
    }
    free(run.index_of);
    return status;
}

/* ---- finished samples ---- */

static void *copy_bytes(const void *bytes, size_t length) {
    return xdup(length ? bytes : "", length);
}

static void keep_sample(struct run *run, const struct job *job, const tempera_sample *sample) {
    struct strbuf stats = {0};
    if ((run->pending_count & (run->pending_count + 1)) == 0)
        run->pending = xgrow(run->pending, 2 * run->pending_count + 1, sizeof *run->pending);
    stats_blob_write(&stats, sample->stats, sample->tokens, sample->token_count);
    run->pending[run->pending_count++] = (struct pending){
        .record = {.prompt = (int32_t)job->prompt,
                   .point = job->point[sample->setting_index],
                   .sample = sample->sample_index,
                   .finish = sample->finish,
                   .error = copy_bytes(sample->error, strlen(sample->error)),
                   .text = copy_bytes(sample->text, sample->text_length),
                   .text_length = sample->text_length,
                   .tokens = copy_bytes(sample->tokens, sample->token_count * sizeof *sample->tokens),
                   .token_count = sample->token_count,
                   .fork = FORK_UNKNOWN},
        .stats = stats.data,
        .stats_size = stats.length,
    };
    run->bytes += sizeof(struct pending) + sample->text_length + sample->token_count * 4 + stats.length;
}

static void free_pending(struct pending *pending) {
    free((void *)pending->record.error);
    free((void *)pending->record.text);
    free((void *)pending->record.tokens);
    free(pending->stats);
}

static void on_sample(const tempera_sample *sample) {
    struct job *job = sample->user;
    struct run *run = job->run;
    if (sample->finish == TEMPERA_FINISH_CANCELLED) {
        job->cancelled = true;
    } else {
        keep_sample(run, job, sample);
        run->finished++;
        run->runner->total.samples++;
        run->runner->total.errors += sample->finish == TEMPERA_FINISH_ERROR;
    }
    if (--job->left > 0) return;
    for (size_t i = 0; i < run->jobs; i++)
        if (run->job[i] == job) run->job[i] = run->job[run->jobs - 1];
    run->jobs--;
    *run->ended_last = job;
    run->ended_last = &job->next;
}

/* ---- writing ---- */

static int write_pending(struct run *run) {
    int status = EXIT_DONE;
    for (size_t i = 0; i < run->pending_count; i++) {
        struct pending *pending = &run->pending[i];
        if (!status)
            status = store_add_sample(run->runner->store, &pending->record, pending->stats, pending->stats_size);
        free_pending(pending);
    }
    run->pending_count = 0;
    run->bytes = 0;
    return status;
}

/* Prompts that are complete get what depends on all their samples. */
static int finish_prompts(struct run *run) {
    int status = EXIT_DONE;
    double start = seconds_now();
    for (const struct job *job = run->ended; job && !status; job = job->next)
        if (!job->cancelled) status = forks_update(run->runner->store, (int32_t)job->prompt);
    run->runner->total.statistics_seconds += seconds_now() - start;
    return status;
}

/* Outside a transaction: verdicts have their own. */
static int verify_one(struct run *run, size_t prompt) {
    struct runner *runner = run->runner;
    if (!runner->verify) return EXIT_DONE;
    double start = seconds_now();
    int status = verify_prompt(runner->store, (int32_t)prompt, &run->goal->prompts->items[prompt], runner->verify);
    runner->total.statistics_seconds += seconds_now() - start;
    return status;
}

static int verify_prompts(struct run *run) {
    int status = EXIT_DONE;
    for (const struct job *job = run->ended; job && !status; job = job->next)
        if (!job->cancelled) status = verify_one(run, job->prompt);
    return status;
}

static int commit(struct run *run) {
    struct store *store = run->runner->store;
    if (run->pending_count == 0 && !run->ended) return EXIT_DONE;
    int status = store_begin(store);
    if (!status) status = write_pending(run);
    if (!status) status = finish_prompts(run);
    if (!status) status = store_commit(store);
    if (status) store_rollback(store);
    if (!status) status = verify_prompts(run);
    while (run->ended) {
        struct job *job = run->ended;
        run->ended = job->next;
        free_job(job);
    }
    run->ended_last = &run->ended;
    run->last_commit = seconds_now();
    return status;
}

/* A transaction costs a write to the disk: short prompts share one. */
static bool is_time_to_commit(const struct run *run) {
    static const double least_seconds = 1;
    double waited = seconds_now() - run->last_commit;
    if (run->pending_count >= PENDING_MOST || run->bytes >= pending_bytes || waited >= pending_seconds) return true;
    return run->ended && waited >= least_seconds;
}

/* ---- feeding ---- */

static int submit(struct run *run, size_t prompt) {
    tempera_error err;
    const struct prompt *tokens = &run->goal->prompts->items[prompt].tokens;
    struct job *job = xarray(1, sizeof *job);
    *job = (struct job){.run = run, .prompt = prompt};
    int status = find_missing(run, job);
    if (status || job->count == 0) {
        free_job(job);
        return status ? status : verify_one(run, prompt); /* a killed run may have left it without verdicts */
    }
    const tempera_request request = {.prompt = tokens->ids,
                                     .prompt_count = tokens->count,
                                     .settings = job->settings,
                                     .setting_count = job->count,
                                     .user = job,
                                     .on_sample = on_sample};
    if (tempera_submit(run->runner->session->engine, &request, NULL, &err) == TEMPERA_OK) {
        run->job[run->jobs++] = job;
        return EXIT_DONE;
    }
    free_job(job);
    return complain(EXIT_FAILED, "prompt \"%s\": %s", run->goal->prompts->items[prompt].id, err.message);
}

static int feed(struct run *run) {
    int status = EXIT_DONE;
    while (!status && !interrupted() && run->next < goal_prompts(run->goal) && run->jobs < JOBS_AHEAD)
        status = submit(run, goal_prompt(run->goal, run->next++));
    return status;
}

/* ---- figures ---- */

static void note_step(struct run *run, const tempera_stats *before, const tempera_stats *after) {
    struct run_figures_total *total = &run->runner->total;
    double rows = (double)(after->row_steps - before->row_steps);
    double seconds = after->decode_seconds - before->decode_seconds;
    run->step_rows = (int64_t)(after->row_steps - before->row_steps);
    run->step_branches = (int64_t)(after->generated_tokens - before->generated_tokens);
    total->generated_tokens += run->step_branches;
    total->row_steps += run->step_rows;
    total->prompt_tokens += (int64_t)(after->prompt_tokens - before->prompt_tokens);
    if (seconds <= 0 || rows <= 0) return;
    run->steps++;
    run->rows += rows;
    run->seconds += seconds;
    run->rows2 += rows * rows;
    run->rows_seconds += rows * seconds;
}

/* Seconds that decoding had taken with a row for each sample: full batches of `rows`, at what the fitted line gives. */
static double unshared_decode_seconds(const struct run *run, int64_t tokens) {
    double spread = run->steps * run->rows2 - run->rows * run->rows;
    double full = run->runner->rows;
    if (run->steps < 8 || spread <= 0) return NAN;
    double b = (run->steps * run->rows_seconds - run->rows * run->seconds) / spread;
    double a = (run->seconds - b * run->rows) / run->steps;
    if (!(b > 0)) return NAN;
    if (a < 0) a = 0;
    return (double)tokens / full * (a + b * full);
}

static void show_progress(struct run *run) {
    enum { BAR = 20 };
    double now = seconds_now();
    if (run->runner->quiet || now - run->last_show < 0.1) return;
    run->last_show = now;
    const struct run_figures_total *total = &run->runner->total;
    double elapsed = now - run->started;
    double share = run->wanted ? (double)run->finished / (double)run->wanted : 1;
    char bar[BAR + 1], left[32] = "";
    for (int i = 0; i < BAR; i++) bar[i] = i < (int)(share * BAR) ? '#' : '.';
    bar[BAR] = 0;
    if (share > 0) {
        double rest = elapsed / share - elapsed;
        snprintf(left, sizeof left, ", %d:%02d left", (int)(rest / 60), (int)rest % 60);
    }
    progress_show("[%s] %lld of %lld samples; %lld rows for %lld branches, %.1fx saved; %.0f tok/s%s", bar,
                  (long long)run->finished, (long long)run->wanted, (long long)run->step_rows,
                  (long long)run->step_branches,
                  total->row_steps ? (double)total->generated_tokens / (double)total->row_steps : 1.0,
                  elapsed > 0 ? (double)total->generated_tokens / elapsed : 0.0, left);
}

/* ---- the run ---- */

static int drive(struct run *run) {
    tempera_engine *engine = run->runner->session->engine;
    tempera_stats before, after;
    tempera_error err;
    bool active = true;
    int status = EXIT_DONE;
    tempera_stats_get(engine, &before);
    while (!status && (active || (run->next < goal_prompts(run->goal) && !interrupted()))) {
        status = feed(run);
        if (status) break;
        if (tempera_step(engine, &active, &err) != TEMPERA_OK) status = complain_error(&err);
        tempera_stats_get(engine, &after);
        note_step(run, &before, &after);
        before = after;
        if (!status && is_time_to_commit(run)) status = commit(run);
        show_progress(run);
    }
    int last = commit(run); /* after an error of the engine too: what is finished is right */
    progress_clear();
    return status ? status : last;
}

/* After a failure requests are left in the engine; it must not be stepped again, since their jobs go. */
static void close_run(struct run *run) {
    for (size_t i = 0; i < run->jobs; i++) free_job(run->job[i]);
    for (size_t i = 0; i < run->pending_count; i++) free_pending(&run->pending[i]);
    free(run->pending);
    free(run->index_of);
}

int runner_run(struct runner *runner, const struct run_goal *goal) {
    struct run run;
    int status = open_run(&run, runner, goal);
    if (!status) status = runner_missing(runner->store, goal, &run.wanted);
    int64_t tokens = runner->total.generated_tokens;
    if (!status) status = drive(&run);
    double seconds = seconds_now() - run.started;
    double unshared = unshared_decode_seconds(&run, runner->total.generated_tokens - tokens);
    runner->total.seconds += seconds;
    runner->total.unshared_seconds += unshared + seconds - run.seconds;
    close_run(&run);
    return !status && interrupted() ? EXIT_INTERRUPTED : status;
}
