/* shard.h: one process's part of a sweep. Parts need not know of each other: a sample is a function of its key. */
#ifndef SWEEP_SHARD_H
#define SWEEP_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard {
    int32_t index, count; /* 0 <= index < count */
};

/* "2/4", from 1. False when it is not that. */
bool shard_parse(const char *text, struct shard *shard);
/* Rank and size of the process as its launcher gave them: Open MPI (OMPI_COMM_WORLD_*), PMI and PMIx launchers (PMI_*),
 * or Slurm's srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS; a batch script outside srun is alone). {0, 1} without one. */
struct shard shard_from_environment(void);

/* Whether the shard makes a point's samples of a prompt. Whole prompts are dealt in turn where there are at least as many
 * as shards; else each prompt's points are cut into ranges, since neighbours share the most rows. */
bool shard_has(const struct shard *shard, size_t prompt, size_t prompts, size_t point, size_t points);

#endif
