/* halving.h: how a budget is spent on finding the best of many settings: successive halving (Jamieson & Talwalkar 2016).
 * All settings get a little, the better half twice as much, and so on; what was made in one round counts in the next. */
#ifndef SWEEP_HALVING_H
#define SWEEP_HALVING_H

#include <stddef.h>

enum { HALVING_ROUNDS = 64 };

struct halving_round {
    size_t points; /* that take part */
    size_t blocks; /* of each of them, those of earlier rounds included */
};

/* Rounds for `points` settings, of which a full comparison takes `blocks` blocks each, with at most `budget` (0 … 1) of
 * points * blocks blocks in all. The last round has two settings, or more when all of its settings get all blocks. Returns
 * the number of rounds; 0 when the budget is less than one block for each setting. */
size_t halving_plan(size_t points, size_t blocks, double budget, struct halving_round rounds[HALVING_ROUNDS]);

/* Blocks that the rounds take in all. */
size_t halving_cost(const struct halving_round *rounds, size_t count);

#endif
