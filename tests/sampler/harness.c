#include "harness.h"

#include <criterion/criterion.h>
#include <stdlib.h>

const char *const instructions[INSTRUCTIONS] = {"portable", "avx2", "avx512"};

struct cpu_sampler *new_sampler(int32_t V, int32_t branches, int32_t rows, int threads) {
    struct cpu_sampler *sampler;
    tempera_error err;
    cr_assert_eq(cpu_sampler_create(&sampler, V, branches, rows, threads, &err), TEMPERA_OK, "%s", err.message);
    return sampler;
}

bool instructions_usable(int which) {
    struct cpu_sampler *sampler = new_sampler(1, 1, 1, 1);
    bool usable = cpu_sampler_use(sampler, instructions[which]);
    cpu_sampler_free(sampler);
    return usable;
}

void draw_all(struct cpu_sampler *sampler, struct pool *pool, const struct branch_draw *branches, int32_t B,
              const float *logits, int32_t R, int32_t V, struct draw_result *results) {
    struct batch_view view = {.R = R, .B = B, .branch = branches};
    tempera_error err;
    cr_assert_eq(cpu_sampler_draw(sampler, pool, &view, logits, V, results, &err), TEMPERA_OK, "%s", err.message);
}

struct draw_result draw_one(struct cpu_sampler *sampler, const struct branch_draw *branch, const float *row,
                            int32_t V) {
    struct draw_result result;
    draw_all(sampler, NULL, branch, 1, row, 1, V, &result);
    return result;
}

static const struct sampler_kernels *kernels_of(int which) {
    static const struct sampler_kernels *const tables[INSTRUCTIONS] = {
        &sampler_portable,
#if defined(__x86_64__)
        &sampler_avx2,
        &sampler_avx512
#endif
    };
    return tables[which];
}

/* One block for each array, so that the address sanitizer sees every overrun. */
struct stages *new_stages(int which, int32_t V) {
    struct stages *s = calloc(1, sizeof *s);
    size_t n = (size_t)V, padded = n + PACK_SLACK, blocks = (n + SCAN_BLOCK - 1) / SCAN_BLOCK;
    s->kernels = kernels_of(which);
    s->scratch = (struct scratch){
        .dense = calloc(n, sizeof(float)),
        .list = calloc(padded, sizeof(float)),
        .list_id = calloc(padded, sizeof(int32_t)),
        .order = calloc(n, sizeof(float)),
        .index = calloc(padded, sizeof(int32_t)),
        .count = calloc(n, sizeof(int32_t)),
        .entry = calloc(n, sizeof(struct entry)),
        .block_max = calloc(blocks, sizeof(float)),
        .histogram = calloc(DIGIT_COUNT, sizeof(uint64_t)),
    };
    s->info.wanted_top = -1;
    s->info.block_max = calloc(blocks, sizeof(float));
    s->info.shortlist.z = calloc(SHORTLIST_MAX, sizeof(float));
    s->info.shortlist.id = calloc(SHORTLIST_MAX, sizeof(int32_t));
    return s;
}

void free_stages(struct stages *s) {
    void *all[] = {s->scratch.dense,     s->scratch.list,   s->scratch.list_id,  s->scratch.order,
                   s->scratch.index,     s->scratch.count,  s->scratch.entry,    s->scratch.block_max,
                   s->scratch.histogram, s->info.block_max, s->info.shortlist.z, s->info.shortlist.id};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    free(s);
}

static struct chain run_stages(struct stages *stages, const struct branch_draw *branch, const float *row, int32_t V) {
    struct chain c;
    struct row_info *info = &stages->info;
    struct scores whole = {stages->scratch.dense, NULL, V, 1.0f};
    stages->kernels->scan(row, V, info->block_max, &info->scan);
    stages->kernels->clean(stages->scratch.dense, row, V, 1.0f);
    row_shortlist(info, stages->kernels, &stages->scratch, &whole);
    chain_start(&c, stages->kernels, &stages->scratch, row, V, &stages->info);
    chain_run(&c, branch, V);
    return c;
}

void survivors(struct stages *stages, const struct branch_draw *branch, const float *row, int32_t V, bool *survives) {
    struct chain c = run_stages(stages, branch, row, V);
    chain_settle(&c);
    float best = chain_best(&c);
    memset(survives, 0, (size_t)V * sizeof *survives);
    if (best == -INFINITY) return;
    if (branch->params->temperature == 0) {
        survives[id_at(&c.s, stages->kernels->find(&c.s, best))] = true;
        return;
    }
    for (int32_t i = 0; i < c.s.n; i++) survives[id_at(&c.s, i)] = score_at(&c.s, i) > -INFINITY;
}

/* The scale is that of the chain for as long as no filter comes after the temperature. */
double dynatemp_scale(struct stages *stages, const struct branch_draw *branch, const float *row, int32_t V) {
    struct branch_params p = *branch->params;
    struct branch_draw cut = *branch;
    cut.params = &p;
    p.order.count = 0;
    while (p.order.count < branch->params->order.count)
        if (p.order.stage[p.order.count++] == TEMPERA_STAGE_TEMPERATURE)
            return p.temperature > 0 && p.dynatemp_spread > 0 ? (double)run_stages(stages, &cut, row, V).s.scale : 0;
    return 0;
}
