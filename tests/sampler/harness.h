/* harness.h: short ways to draw, and to run the stages alone. Criterion only. */
#ifndef TESTS_SAMPLER_HARNESS_H
#define TESTS_SAMPLER_HARNESS_H

#include "backend/cpu/sampler_internal.h"
#include "cases.h"

enum { INSTRUCTIONS = 3 };
extern const char *const instructions[INSTRUCTIONS]; /* portable first */
bool instructions_usable(int which);

struct cpu_sampler *new_sampler(int32_t V, int32_t branches, int32_t rows, int threads);
void draw_all(struct cpu_sampler *sampler, struct pool *pool, const struct branch_draw *branches, int32_t B,
              const float *logits, int32_t R, int32_t V, struct draw_result *results);
struct draw_result draw_one(struct cpu_sampler *sampler, const struct branch_draw *branch, const float *row, int32_t V);

/* The stages without the draw. */
struct stages {
    const struct sampler_kernels *kernels;
    struct scratch scratch;
    struct row_info info;
};
struct stages *new_stages(int which, int32_t V);
void free_stages(struct stages *stages);
/* survives[i]: token i is left after all stages (greedy: is the argmax). */
void survivors(struct stages *stages, const struct branch_draw *branch, const float *row, int32_t V, bool *survives);
/* What dynatemp multiplies the scores with; 0 when the branch does not come to it. */
double dynatemp_scale(struct stages *stages, const struct branch_draw *branch, const float *row, int32_t V);

#endif
