#include "halving.h"

#include <math.h>

size_t halving_cost(const struct halving_round *rounds, size_t count) {
    size_t cost = 0;
    for (size_t r = 0; r < count; r++) cost += rounds[r].points * (rounds[r].blocks - (r ? rounds[r - 1].blocks : 0));
    return cost;
}

/* The rounds that begin with `first` blocks for each setting. */
static size_t plan_from(size_t points, size_t blocks, double first, struct halving_round *rounds) {
    size_t count = 0;
    double share = first;
    for (size_t n = points; count < HALVING_ROUNDS; n = (n + 1) / 2, share *= 2) {
        size_t b = share >= (double)blocks ? blocks : (size_t)share;
        rounds[count++] = (struct halving_round){n, b};
        if (n <= 2 || b == blocks) break;
    }
    return count;
}

size_t halving_plan(size_t points, size_t blocks, double budget, struct halving_round rounds[HALVING_ROUNDS]) {
    double allowed = floor(budget * (double)points * (double)blocks + 1e-9);
    double low = 1, high = (double)blocks;
    if (points == 0 || blocks == 0) return 0;
    size_t count = plan_from(points, blocks, low, rounds);
    if ((double)halving_cost(rounds, count) > allowed) return 0;
    for (int i = 0; i < 60; i++) { /* the cost grows with the first share */
        double middle = (low + high) / 2;
        count = plan_from(points, blocks, middle, rounds);
        if ((double)halving_cost(rounds, count) <= allowed)
            low = middle;
        else
            high = middle;
    }
    return plan_from(points, blocks, low, rounds);
}
