/* sampler_select.c: among candidates with distinct ranks and integer weights, the shortest prefix by descending rank whose
 * weight reaches a target.
 *
 * A sample of a long list says between which two scores the last one probably is; one pass sums the weights above and
 * collects the candidates between. If the guess missed, or the list is short, a histogram over the leading key bits finds
 * the one digit where the target falls. The candidates that are left become entries, and each further step splits those by
 * their highest differing bits. Nothing is sorted but the last few, and the answer is exact whatever was guessed. */
#include "backend/cpu/sampler_select.h"

enum {
    DIRECT_MAX = 512, /* candidates that become entries without a histogram */
    SORT_MAX = 24,
    STEP_BITS = 8
};

/* ---- selection among entries ---------------------------------------------------------------------------------- */

void sort_entries(struct entry *entry, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        struct entry moving = entry[i];
        int32_t at = i;
        for (; at > 0 && entry[at - 1].rank < moving.rank; at--) entry[at] = entry[at - 1];
        entry[at] = moving;
    }
}

/* How far to shift so that the highest bit in which the ranks differ is the top bit of an 8-bit digit. */
static int differing_shift(const struct entry *entry, int32_t n) {
    uint64_t all = UINT64_MAX, any = 0;
    for (int32_t i = 0; i < n; i++) {
        all &= entry[i].rank;
        any |= entry[i].rank;
    }
    int top = 63 - __builtin_clzll((all ^ any) | 1);
    return top >= STEP_BITS ? top - STEP_BITS + 1 : 0;
}

uint64_t select_entry(struct entry *entry, int32_t n, uint64_t target) {
    while (n > SORT_MAX) {
        uint64_t sum[1 << STEP_BITS] = {0};
        int shift = differing_shift(entry, n);
        uint32_t mask = (1u << STEP_BITS) - 1;
        for (int32_t i = 0; i < n; i++) sum[(entry[i].rank >> shift) & mask] += entry[i].weight;
        uint32_t digit = mask;
        for (; digit > 0 && sum[digit] < target; digit--) target -= sum[digit];
        int32_t left = 0;
        for (int32_t i = 0; i < n; i++)
            if (((entry[i].rank >> shift) & mask) == digit) entry[left++] = entry[i];
        n = left;
    }
    sort_entries(entry, n);
    int32_t i = 0;
    for (; i + 1 < n && entry[i].weight < target; i++) target -= entry[i].weight;
    return entry[i].rank;
}

/* ---- selection among candidates ------------------------------------------------------------------------------- */

/* The score at one end of a digit. No score has the key of -0, which would compare equal to +0 in the next digit. */
static float digit_bound(uint32_t key) {
    if (key == draw_key(-0.0f)) key--;
    if (key < DRAW_KEY_BANNED) key = DRAW_KEY_BANNED;
    if (key > DRAW_KEY_INFINITY) key = DRAW_KEY_INFINITY;
    return draw_unkey(key);
}

/* By a histogram over the leading key bits: the candidates of the digit where the target falls are left. */
static struct selection select_by_digit(const struct ballot *b, const struct goal *goal) {
    struct scratch *scratch = b->scratch;
    uint64_t *sum = scratch->histogram, total = 0;
    b->kernels->histogram(b->order, b->weigh, b->best, sum);
    for (int32_t i = 0; i < DIGIT_COUNT; i++) total += sum[i];
    uint64_t target = goal_target(goal, total);
    uint32_t digit = DIGIT_COUNT - 1;
    for (; digit > 0 && sum[digit] < target; digit--) target -= sum[digit];
    float low = digit_bound(digit << DIGIT_SHIFT);
    float high = digit_bound(digit << DIGIT_SHIFT | ((1u << DIGIT_SHIFT) - 1));
    int32_t n = b->kernels->collect(b->order, low, high, scratch->index);
    ballot_entries(b, scratch->index, n);
    return (struct selection){select_entry(scratch->entry, n, target), 1};
}

/* ---- selection by a guess ------------------------------------------------------------------------------------- */

enum { SAMPLE_SHARE = 64, SAMPLE_GROUP = 16, SAMPLE_STRIDE = SAMPLE_SHARE * SAMPLE_GROUP };
/* How far the two guesses are from the sample's answer, in deviations of its mass above: misses are rare. */
static const double GUESS_DEVIATIONS = 3.5;

/* Entries that stand for all candidates below a bound: one of 64 with 64 times its weight, and all of the heavy ones,
 * whose chance to be in a sample would be the worst of its error. */
struct sample {
    int32_t n, drawn; /* entries, and how many of them, the first, are one of 64 */
    uint64_t weight;
};

static struct sample take_sample(const struct ballot *b, float bound) {
    const struct shortlist *heavy = b->heavy;
    struct entry *entry = b->scratch->entry;
    int32_t n = 0, *index = b->scratch->index;
    for (int32_t start = 0; start + SAMPLE_GROUP <= b->order->n; start += SAMPLE_STRIDE)
        for (int32_t i = start; i < start + SAMPLE_GROUP; i++)
            if (score_at(b->order, i) < bound && (!heavy || b->weigh->z[i] < heavy->bound)) index[n++] = i;
    struct sample sample = {.drawn = n};
    for (int32_t j = 0; heavy && j < heavy->n; j++)
        if (score_at(b->order, heavy->id[j]) < bound) index[n++] = heavy->id[j];
    sample.n = n;
    sample.weight = ballot_entries(b, index, n);
    for (int32_t j = 0; j < sample.drawn; j++) {
        sample.weight += entry[j].weight * (SAMPLE_SHARE - 1);
        entry[j].weight *= SAMPLE_SHARE;
    }
    return sample;
}

int32_t estimate_kept(const struct scores *s, float least) {
    int32_t found = 0;
    for (int32_t start = 0; start + SAMPLE_GROUP <= s->n; start += SAMPLE_STRIDE)
        for (int32_t i = start; i < start + SAMPLE_GROUP; i++) found += score_at(s, i) >= least;
    return found * SAMPLE_SHARE;
}

/* The rank where a sample reaches a weight above 0 and at most its own. There is room for a copy behind it. */
static uint64_t sample_rank(struct entry *entry, int32_t n, double weight) {
    memcpy(entry + n, entry, (size_t)n * sizeof *entry);
    return select_entry(entry + n, n, weight > 1.0 ? (uint64_t)weight : 1);
}

/* The deviation of the sample's weight from `middle` on, which should be a given share of it: that of the drawn weights,
 * as if each had been drawn by itself. */
static double sample_deviation(const struct entry *entry, int32_t drawn, uint64_t middle, double share) {
    double sum = 0.0;
    for (int32_t i = 0; i < drawn; i++) {
        double off = (double)entry[i].weight * (entry[i].rank >= middle ? 1.0 - share : share);
        sum += off * off;
    }
    return sqrt(sum);
}

/* Two scores between which the last candidate kept probably is. False: the sample says nothing. */
static bool guess_range(const struct ballot *b, uint64_t target, const struct known *known, float *low, float *high) {
    struct entry *entry = b->scratch->entry;
    struct sample sample = take_sample(b, known->bound);
    if (sample.weight == 0 || known->total <= known->head) return false;
    double share = target > known->head ? (double)(target - known->head) / (double)(known->total - known->head) : 0.0;
    double all = (double)sample.weight, middle = share * all;
    uint64_t rank = sample_rank(entry, sample.n, middle);
    double off = GUESS_DEVIATIONS * sample_deviation(entry, sample.drawn, rank, share);
    *low = -INFINITY;
    *high = INFINITY;
    if (middle + off < all) *low = draw_unkey((uint32_t)(sample_rank(entry, sample.n, middle + off) >> 32));
    if (middle - off >= 1.0) *high = draw_unkey((uint32_t)(sample_rank(entry, sample.n, middle - off) >> 32));
    if (b->weigh == b->order) *low = fmaxf(*low, b->best - 28.0f); /* no weight is below: none of these is the last */
    return true;
}

/* By the candidates between the two scores, when the last one kept is among them: one pass over all. */
static bool select_by_guess(const struct ballot *b, uint64_t target, const struct known *known, struct selection *out) {
    struct scratch *scratch = b->scratch;
    float low, high;
    if (!guess_range(b, target, known, &low, &high)) return false;
    struct split split = b->kernels->split(b->order, b->weigh, b->best, low, high, scratch->index);
    if (split.within > b->order->n / 4) return false; /* a wide guess: the sample was not like the rest */
    uint64_t within = ballot_entries(b, scratch->index, split.within);
    if (split.weight >= target || split.weight + within < target) return false;
    *out = (struct selection){select_entry(scratch->entry, split.within, target - split.weight), split.above + 1};
    return true;
}

struct selection select_last(const struct ballot *b, const struct goal *goal, const struct known *known) {
    struct selection found;
    int32_t n = b->order->n;
    if (n <= DIRECT_MAX) {
        uint64_t total = ballot_entries(b, NULL, n);
        return (struct selection){select_entry(b->scratch->entry, n, goal_target(goal, total)), 1};
    }
    if (n >= GUESS_LEAST && known->total > 0 && select_by_guess(b, goal_target(goal, known->total), known, &found))
        return found;
    return select_by_digit(b, goal);
}
