/* forks.h: where samples of a prompt part. */
#ifndef SWEEP_FORKS_H
#define SWEEP_FORKS_H

#include "store.h"

/* Sets the column `fork` of all samples of a prompt: the longest prefix that a sample shares with another sample of the
 * prompt, whatever its setting; its length where another sample is or begins the same. A function of the samples alone:
 * neither of the order nor of the runs that they were made in. O(N log N) in the number of samples. */
int forks_update(struct store *store, int32_t prompt);

#endif
