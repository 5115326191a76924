/* sampler.c: buffers, checks, and the two loops of a draw: over the logits rows that branches want (maximum, statistics,
 * the draw of a row's only branch), then over the branches that share rows. Parts take work from a shared counter and write
 * only results of their own, so who does what never shows. */
#include "backend/cpu/sampler.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "backend/cpu/sampler_internal.h"
#include "backend/draw_check.h"
#include "base/mem.h"
#include "base/num.h"

enum { ALIGNMENT = 64 };

struct cpu_sampler {
    const struct sampler_kernels *kernels;
    int32_t V, max_branches, max_logits;
    int parts;
    struct scratch *scratch; /* [parts] */
    struct row_info *row;    /* [max_logits] */
    int32_t *wanted;         /* [max_logits] rows that some branch reads */
    size_t bytes;            /* of the slab that holds this struct and all buffers */
};

/* ---- buffers -------------------------------------------------------------------------------------------------- */

/* Hands out pieces of a slab; with base NULL it only adds up. */
struct carver {
    char *base;
    size_t used;
};
static void *carve(struct carver *carver, size_t count, size_t size) {
    size_t at = carver->used;
    carver->used += round_up(count * size, ALIGNMENT);
    return carver->base ? carver->base + at : NULL;
}

static void carve_scratch(struct carver *carver, struct scratch *s, size_t V, size_t blocks) {
    s->dense = carve(carver, V, sizeof *s->dense);
    s->list = carve(carver, V + PACK_SLACK, sizeof *s->list);
    s->list_id = carve(carver, V + PACK_SLACK, sizeof *s->list_id);
    s->order = carve(carver, V, sizeof *s->order);
    s->index = carve(carver, V + PACK_SLACK, sizeof *s->index);
    s->count = carve(carver, V, sizeof *s->count);
    s->entry = carve(carver, V, sizeof *s->entry);
    s->block_max = carve(carver, blocks, sizeof *s->block_max);
    s->histogram = carve(carver, DIGIT_COUNT, sizeof *s->histogram);
}

static int part_count(int threads, int32_t max_branches, int32_t max_logits) {
    int32_t work = max_branches > max_logits ? max_branches : max_logits;
    return threads < work ? threads : (int)work;
}

/* Lays everything out; the caller's `out` is what lies at the start of the slab. Returns the size. */
static size_t lay_out(struct cpu_sampler *out, char *base) {
    struct carver carver = {base, 0};
    size_t V = (size_t)out->V, blocks = ceil_div(V, SCAN_BLOCK), rows = (size_t)out->max_logits;
    carve(&carver, 1, sizeof *out);
    struct scratch *scratch = carve(&carver, (size_t)out->parts, sizeof *scratch);
    struct row_info *row = carve(&carver, rows, sizeof *row);
    out->wanted = carve(&carver, rows, sizeof *out->wanted);
    float *block_max = carve(&carver, rows * blocks, sizeof *block_max);
    float *short_z = carve(&carver, rows * SHORTLIST_MAX, sizeof *short_z);
    int32_t *short_id = carve(&carver, rows * SHORTLIST_MAX, sizeof *short_id);
    struct scratch unused;
    for (int i = 0; i < out->parts; i++) carve_scratch(&carver, base ? &scratch[i] : &unused, V, blocks);
    for (size_t r = 0; base && r < rows; r++) {
        row[r].block_max = block_max + r * blocks;
        row[r].shortlist.z = short_z + r * SHORTLIST_MAX;
        row[r].shortlist.id = short_id + r * SHORTLIST_MAX;
    }
    out->scratch = scratch;
    out->row = row;
    return carver.used;
}

size_t cpu_sampler_workspace(int32_t V, int32_t max_branches, int32_t max_logits, int threads) {
    struct cpu_sampler size = {.V = V,
                               .max_branches = max_branches,
                               .max_logits = max_logits,
                               .parts = part_count(threads, max_branches, max_logits)};
    return lay_out(&size, NULL);
}

tempera_status cpu_sampler_create(struct cpu_sampler **sampler, int32_t V, int32_t max_branches, int32_t max_logits,
                                  int threads, tempera_error *err) {
    *sampler = NULL;
    if (V < 1 || V > CPU_SAMPLER_MAX_VOCABULARY)
        return fail(err, TEMPERA_UNSUPPORTED, "sampler: expected a vocabulary of 1 to %d tokens, found %" PRId32,
                    CPU_SAMPLER_MAX_VOCABULARY, V);
    if (max_branches < 1 || max_logits < 1 || threads < 1)
        return fail(err, TEMPERA_INVALID_ARGUMENT,
                    "sampler: expected at least one branch, row and thread, found %" PRId32 ", %" PRId32 ", %d",
                    max_branches, max_logits, threads);
    size_t bytes = cpu_sampler_workspace(V, max_branches, max_logits, threads);
    struct cpu_sampler *s = mem_slab(bytes);
    if (!s) return fail_memory(err, bytes, "the sampler");
    *s = (struct cpu_sampler){.V = V,
                              .max_branches = max_branches,
                              .max_logits = max_logits,
                              .parts = part_count(threads, max_branches, max_logits),
                              .bytes = bytes};
    lay_out(s, (char *)s);
    cpu_sampler_use(s, NULL);
    *sampler = s;
    return TEMPERA_OK;
}

void cpu_sampler_free(struct cpu_sampler *s) {
    if (s) mem_slab_free(s, s->bytes);
}

/* ---- instructions --------------------------------------------------------------------------------------------- */

static bool usable(const struct sampler_kernels *kernels) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (kernels == &sampler_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (kernels == &sampler_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#endif
    return kernels == &sampler_portable;
}

bool cpu_sampler_use(struct cpu_sampler *s, const char *instructions) {
    static const struct sampler_kernels *const tables[] = {
#if defined(__x86_64__)
        &sampler_avx512,
        &sampler_avx2,
#endif
        &sampler_portable,
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (instructions && strcmp(instructions, tables[i]->name) != 0) continue;
        if (!usable(tables[i])) continue;
        s->kernels = tables[i];
        return true;
    }
    return false;
}

const char *cpu_sampler_instructions(const struct cpu_sampler *s) {
    return s->kernels->name;
}

/* ---- for scoring ---------------------------------------------------------------------------------------------- */

const struct sampler_kernels *sampler_kernels_of(const struct cpu_sampler *s) {
    return s->kernels;
}
struct scratch *sampler_scratch(struct cpu_sampler *s, int part) {
    return &s->scratch[part];
}
struct row_info *sampler_row(struct cpu_sampler *s, int32_t row) {
    return &s->row[row];
}

/* ---- the draw ------------------------------------------------------------------------------------------------- */

struct job {
    struct cpu_sampler *sampler;
    const struct batch_view *view;
    const float *logits; /* [R, V] */
    int32_t V;
    int32_t wanted_count;
    bool shares;                 /* some row is read by several branches */
    struct draw_result *results; /* [B] */
    atomic_int next;             /* work item to take */
};

static const float *job_row(const struct job *job, int32_t row) {
    return job->logits + (size_t)row * (size_t)job->V;
}

static void scan_row(struct job *job, int32_t r, struct scratch *scratch) {
    const struct sampler_kernels *kernels = job->sampler->kernels;
    struct row_info *info = &job->sampler->row[r];
    struct scores row = {job_row(job, r), NULL, job->V, 1.0f};
    kernels->scan(row.z, row.n, info->block_max, &info->scan);
    if (info->scan.flags != 0) {
        kernels->clean(scratch->dense, row.z, row.n, 1.0f);
        row.z = scratch->dense;
    }
    info->shortlist.n = 0;
    if (info->wants_shortlist) row_shortlist(info, kernels, scratch, &row);
    if (info->wanted_top >= 0) row_statistics(info, kernels, scratch, &row);
}

static void draw_branch(struct job *job, int32_t b, struct scratch *scratch) {
    struct cpu_sampler *s = job->sampler;
    const struct branch_draw *branch = &job->view->branch[b];
    const struct branch_params *p = branch->params;
    const struct row_info *info = &s->row[branch->row];
    const float *row = job_row(job, branch->row);
    struct draw_result *out = &job->results[b];
    *out = (struct draw_result){.token = branch->forced >= 0 ? branch->forced : -1,
                                .flags = info->scan.flags & SCAN_NAN ? DRAW_NAN : 0};
    if (branch->forced >= 0 && p->logprobs < 0) return;
    struct chain c;
    chain_start(&c, s->kernels, scratch, row, job->V, info);
    chain_run(&c, branch, job->V);
    if (p->logprobs >= 0) chain_decide(&c);
    float best = chain_best(&c);
    if (out->token < 0) {
        if (best == -INFINITY) {
            out->flags |= DRAW_EMPTY;
        } else if (p->temperature == 0.0f) {
            out->token = id_at(&c.s, s->kernels->find(&c.s, best));
        } else {
            struct noise noise = {p->seed, branch->history_count, p->sample};
            out->token = chain_race(&c, &noise);
        }
    }
    if (p->logprobs >= 0) draw_statistics(out, &c, branch, row, info);
}

/* A row's only branch is drawn at once: the row is in this processor's cache. */
static void scan_rows(void *arg, int part, int parts) {
    (void)parts;
    struct job *job = arg;
    struct cpu_sampler *s = job->sampler;
    for (int i; (i = atomic_fetch_add(&job->next, 1)) < job->wanted_count;) {
        int32_t only = s->row[s->wanted[i]].only;
        scan_row(job, s->wanted[i], &s->scratch[part]);
        if (only != SEVERAL) draw_branch(job, only, &s->scratch[part]);
    }
}

/* The branches of rows that several of them read. */
static void draw_branches(void *arg, int part, int parts) {
    (void)parts;
    struct job *job = arg;
    struct cpu_sampler *s = job->sampler;
    for (int b; (b = atomic_fetch_add(&job->next, 1)) < job->view->B;)
        if (s->row[job->view->branch[b].row].only == SEVERAL) draw_branch(job, b, &s->scratch[part]);
}

/* A shortlist is of the row as it is; settings that edit scores would not get to use it. */
static bool edits_scores(const struct branch_draw *branch) {
    const struct branch_params *p = branch->params;
    bool penalties = p->repetition_penalty != 1.0f || p->frequency_penalty != 0.0f || p->presence_penalty != 0.0f ||
                     p->no_repeat_ngram > 0;
    return p->bias_count > 0 || (penalties && branch->history_count > 0) ||
           (p->suppress_count > 0 && branch->history_count - branch->prompt_count < p->min_tokens);
}

static bool wants_shortlist(const struct branch_draw *branch) {
    const struct branch_params *p = branch->params;
    bool filters = p->top_k > 0 || p->top_p < 1.0f || p->min_p > 0.0f;
    return filters && p->temperature > 0.0f && (branch->forced < 0 || p->logprobs >= 0) && !edits_scores(branch);
}

/* Which rows are read, and what of them. */
static void find_wanted_rows(struct job *job) {
    struct cpu_sampler *s = job->sampler;
    enum { UNSEEN = -2 };
    for (int32_t r = 0; r < job->view->R; r++) s->row[r].wanted_top = UNSEEN;
    for (int32_t b = 0; b < job->view->B; b++) {
        const struct branch_draw *branch = &job->view->branch[b];
        struct row_info *info = &s->row[branch->row];
        if (info->wanted_top == UNSEEN) {
            s->wanted[job->wanted_count++] = branch->row;
            info->wanted_top = -1;
            info->wants_shortlist = false;
            info->only = b;
        } else {
            info->only = SEVERAL;
            job->shares = true;
        }
        info->wants_shortlist |= wants_shortlist(branch);
        if (branch->params->logprobs > info->wanted_top) info->wanted_top = branch->params->logprobs;
    }
}

static void run_job(struct job *job, struct pool *pool, pool_body *body, int32_t work) {
    int parts = pool ? pool_threads(pool) : 1;
    if (parts > job->sampler->parts) parts = job->sampler->parts;
    if (parts > work) parts = (int)work;
    atomic_store(&job->next, 0);
    if (parts <= 1) {
        body(job, 0, 1);
    } else {
        pool_run(pool, body, job, parts);
    }
}

tempera_status cpu_sampler_draw(struct cpu_sampler *s, struct pool *pool, const struct batch_view *view,
                                const float *logits, int32_t V, struct draw_result *results, tempera_error *err) {
    TRY(draw_check_view(view, V, s->V, s->max_logits, s->max_branches, err));
    struct job job = {.sampler = s, .view = view, .logits = logits, .V = V, .results = results};
    find_wanted_rows(&job);
    run_job(&job, pool, scan_rows, job.wanted_count);
    if (job.shares) run_job(&job, pool, draw_branches, view->B);
    return TEMPERA_OK;
}
