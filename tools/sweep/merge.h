/* merge.h: databases of one sweep into one, and whether two hold the same. */
#ifndef SWEEP_MERGE_H
#define SWEEP_MERGE_H

#include "shard.h"
#include "store.h"

/* Adds what `path` holds to the store, which must be open for writing and have no open transaction: all or nothing.
 * Refused: a damaged database, another model, other prompts, another device …, and a sample that both have and that
 * differs. */
int merge_into(struct store *store, const char *path);

/* The same for several files, one after another: one that is refused ends it, and those before it stay merged in an `out`
 * that was there. A new one appears when all is done. *samples: what it holds then. */
int merge_files(const char *out, const char *const *paths, size_t count, int64_t *samples);

/* The database of one of the processes that a launcher started: OUT.part-I-of-N.partial. It starts with what OUT holds. */
int part_open(struct store **store, const char *out, const struct shard *shard);
/* After it is complete and closed: it gets the name OUT.part-I-of-N, and the last process merges all parts into OUT and
 * removes them. */
int part_finish(const char *out, const struct shard *shard, bool quiet);

#endif
