/* sampler_filters.c: top_k, top_p, min_p, typical_p. Every cut is one number: the rank of the last candidate kept.
 *
 * Finding it is one selection for all filters: among candidates with distinct ranks and integer weights, the shortest
 * prefix by descending rank whose weight reaches a target. A sample of a long list says between which two scores the last
 * one probably is; one pass sums the weights above and collects the candidates between. If the guess missed, or the list
 * is short, a histogram over the leading key bits finds the one digit where the target falls. The candidates that are left
 * become entries, and each further step splits those by their highest differing bits. Nothing is sorted but the last few,
 * and the answer is exact whatever was guessed. */
#include "backend/cpu/sampler_internal.h"

enum {
    DIRECT_MAX = 512, /* candidates that become entries without a histogram */
    SORT_MAX = 24,
    STEP_BITS = 8
};

/* What a cut keeps: a weight of `amount` (candidates, where each weighs 1), or the fraction amount / 2^64 of all. */
struct goal {
    bool by_mass;
    uint64_t amount;
};

static uint64_t goal_target(const struct goal *goal, uint64_t total) {
    return goal->by_mass ? draw_target(total, goal->amount) : goal->amount;
}

/* ---- selection among entries ---------------------------------------------------------------------------------- */

static void sort_entries(struct entry *entry, int32_t n) {
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

/* Rank of the last entry of the shortest prefix whose weight reaches target; target <= the sum of the weights, ranks
 * distinct, n > 0. Reorders the entries. */
static uint64_t select_entry(struct entry *entry, int32_t n, uint64_t target) {
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

/* Candidates by order's scores, with weigh's weights below `best`, or 1 each when weigh is NULL. */
struct ballot {
    const struct sampler_kernels *kernels;
    struct scratch *scratch;
    const struct scores *order, *weigh;
    float best;
    const struct shortlist *heavy; /* of weigh's scores when they are a whole row's and order's are others, or NULL */
};
/* What is known of them: the sum of their weights, and the part of it whose scores are at least `bound`. */
struct known {
    uint64_t total, head; /* total 0: nothing is known */
    float bound;
};
struct selection {
    uint64_t last; /* rank of the last candidate that is kept */
    int32_t least; /* at least so many are */
};

static uint64_t ballot_entries(const struct ballot *b, const int32_t *index, int32_t n) {
    return b->kernels->entries(b->scratch->entry, b->order, b->weigh, b->best, index, n);
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

/* The last candidate that the goal keeps. A count goal must be at most order->n. */
static struct selection select_last(const struct ballot *b, const struct goal *goal, const struct known *known) {
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

/* ---- cuts ----------------------------------------------------------------------------------------------------- */

/* With ties, the cut goes down to the highest id of the last score. */
static uint64_t with_ties(uint64_t last, bool keep_ties) {
    return keep_ties ? last >> 32 << 32 : last;
}

/* Leaves the candidates whose rank by order's score is at least `last`; banned tokens never stay. */
static void cut(struct chain *c, const struct scores *order, uint64_t last) {
    struct scratch *scratch = c->scratch;
    if (last < RANK_LEAST) last = RANK_LEAST;
    int32_t n = c->kernels->keep(order, &c->s, last, scratch->list, scratch->list_id);
    c->s = (struct scores){scratch->list, scratch->list_id, n, 1.0f};
    c->last = RANK_LEAST;
    c->block_max = NULL;
    c->shortlist = NULL;
    c->row_mass = NULL;
}

/* Cuts at once when few may stay, and otherwise leaves the rank to those who read the scores: a candidate of a list costs
 * a race what eight of a row do. */
static void cut_or_leave(struct chain *c, const struct scores *order, uint64_t last, int32_t least_kept) {
    if (least_kept <= c->s.n / 8) {
        cut(c, order, last);
    } else {
        c->order = *order;
        c->last = last < RANK_LEAST ? RANK_LEAST : last;
    }
}

void chain_decide(struct chain *c) {
    const struct open_cut open = c->open;
    const struct scores order = c->order;
    if (open.target == 0) return;
    c->open.target = 0;
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, open.best);
    struct ballot ballot = {kernels, c->scratch, &order, &order, open.best, NULL};
    struct goal goal = {false, open.target};
    struct known known = {open.total, open.head, open.bound};
    struct selection found = select_last(&ballot, &goal, &known);
    cut_or_leave(c, &order, with_ties(found.last, open.keep_ties), found.least);
}

void chain_settle(struct chain *c) {
    chain_decide(c);
    struct scores order = c->order;
    if (c->last > RANK_LEAST) cut(c, &order, c->last);
}

/* Whether an open cut keeps a candidate: those that rank above it do not reach the target. */
static bool open_keeps(const struct chain *c, int32_t id) {
    const struct scores *order = &c->order;
    const struct open_cut *open = &c->open;
    int32_t *index = c->scratch->index;
    float score = score_at(order, order->id ? scores_find(order, id) : id);
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, open->best);
    struct split split = kernels->split(order, order, open->best, score, score, index);
    uint64_t weight = draw_weight(draw_distance(open->best, score));
    for (int32_t i = 0; i < split.within && !open->keep_ties && id_at(order, index[i]) < id; i++)
        split.weight += weight;
    return split.weight < open->target;
}

/* Who wins against all has won against the survivors, when it is one of them: an open cut that keeps most of the weight
 * need not be found for most draws. */
int32_t chain_race(struct chain *c, const struct noise *noise) {
    const float best = chain_best(c);
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, best);
    if (c->open.target > 0) {
        int32_t winner = kernels->race(&c->s, RANK_LEAST, &c->s, best, noise);
        if (open_keeps(c, winner)) return winner;
        chain_decide(c);
    }
    return kernels->race(chain_order(c), c->last, &c->s, best, noise);
}

/* A lower bound of the k-th best rank of a whole row: the k-th best of the blocks' maxima. When k is small against the
 * number of blocks, few candidates besides the k best are above it. 0 when it would not pay. */
static uint64_t blocks_bound(const struct sampler_kernels *kernels, struct scratch *scratch, const struct scores *s,
                             const float *block_max, int32_t k) {
    int32_t blocks = (int32_t)(((int64_t)s->n + SCAN_BLOCK - 1) / SCAN_BLOCK);
    if (!block_max || k > blocks / 2) return 0;
    struct scores maxima = {block_max, NULL, blocks, s->scale};
    kernels->entries(scratch->entry, &maxima, NULL, 0.0f, NULL, blocks);
    return with_ties(select_entry(scratch->entry, blocks, (uint64_t)k), true);
}

/* ---- the shortlist -------------------------------------------------------------------------------------------- */

/* The best of a whole row in the scratch's list; returns their number, 0 when there is no short list. */
static int32_t list_best(const struct sampler_kernels *kernels, struct scratch *scratch, const struct scores *s,
                         const float *block_max, float *bound) {
    int32_t least = s->n / SCAN_BLOCK / 2; /* half the blocks' maxima: a bound that few others reach */
    if (least > SHORTLIST_LEAST) least = SHORTLIST_LEAST;
    if (least < SHORTLIST_USEFUL) return 0;
    uint64_t last = blocks_bound(kernels, scratch, s, block_max, least);
    if (last < RANK_LEAST) return 0;
    int32_t n = kernels->keep(s, s, last, scratch->list, scratch->list_id);
    *bound = draw_unkey((uint32_t)(last >> 32));
    return n > SHORTLIST_MAX ? 0 : n; /* many ties */
}

void row_shortlist(struct row_info *info, const struct sampler_kernels *kernels, struct scratch *scratch,
                   const struct scores *s) {
    struct shortlist *list = &info->shortlist;
    list->n = list_best(kernels, scratch, s, info->block_max, &list->bound);
    memcpy(list->z, scratch->list, (size_t)list->n * sizeof *list->z);
    memcpy(list->id, scratch->list_id, (size_t)list->n * sizeof *list->id);
}

/* An edited row's shortlist lies where survivors will. */
static void chain_shortlist(struct chain *c) {
    struct shortlist *own = &c->scratch->shortlist;
    if (c->shortlist || c->s.id || !c->block_max || c->s.n < GUESS_LEAST) return;
    struct scores whole = {c->s.z, NULL, c->s.n, 1.0f};
    own->z = c->scratch->list;
    own->id = c->scratch->list_id;
    own->n = list_best(c->kernels, c->scratch, &whole, c->block_max, &own->bound);
    if (own->n > 0) c->shortlist = own;
}

/* Makes the cut within the shortlist when that is all it can touch: tokens outside have at most the score of the bound
 * (scaling may round them up to it). False: nothing was done. */
static bool cut_shortlist(struct chain *c, uint64_t last) {
    const struct shortlist *list = c->shortlist;
    if ((uint32_t)(last >> 32) <= draw_key(list->bound * c->s.scale + 0.0f)) return false;
    c->s.z = list->z;
    c->s.id = list->id;
    c->s.n = list->n;
    cut(c, &c->s, last);
    return true;
}

/* A top_k or top_p cut decided by the shortlist alone. What is learnt of the candidates is added to what is known. */
static bool cut_by_shortlist(struct chain *c, const struct goal *goal, struct known *known, bool keep_ties) {
    if (!c->shortlist) return false;
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, c->best);
    struct scores list = {c->shortlist->z, c->shortlist->id, c->shortlist->n, c->s.scale};
    uint64_t target = goal_target(goal, known->total);
    const struct scores *weigh = goal->by_mass ? &list : NULL;
    known->head = kernels->entries(c->scratch->entry, &list, weigh, c->best, NULL, list.n);
    known->bound = c->shortlist->bound * c->s.scale + 0.0f;
    if (known->head < target) return false;
    return cut_shortlist(c, with_ties(select_entry(c->scratch->entry, list.n, target), keep_ties));
}

/* ---- the filters ---------------------------------------------------------------------------------------------- */

void chain_top_k(struct chain *c, int32_t k, bool keep_ties) {
    chain_settle(c);
    if (k >= c->s.n) return;
    struct goal goal = {false, (uint64_t)k};
    struct known known = {.total = (uint64_t)c->s.n, .bound = INFINITY};
    if (cut_by_shortlist(c, &goal, &known, keep_ties)) return;
    uint64_t bound = blocks_bound(c->kernels, c->scratch, &c->s, c->block_max, k);
    if (bound > 0) {
        cut(c, &c->s, bound);
        known = (struct known){.total = (uint64_t)c->s.n, .bound = INFINITY};
    }
    if (k >= c->s.n) return; /* fewer than k are not banned */
    struct ballot ballot = {c->kernels, c->scratch, &c->s, NULL, c->best, NULL};
    uint64_t last = select_last(&ballot, &goal, &known).last;
    cut_or_leave(c, &c->s, with_ties(last, keep_ties), k);
}

/* A race that is run before the cut is found is lost for nothing with probability 1 - p. */
static const float OPEN_LEAST = 0.6f;

void chain_top_p(struct chain *c, float p, bool keep_ties) {
    chain_settle(c);
    chain_shortlist(c);
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, c->best);
    struct goal goal = {true, draw_fraction(p)};
    struct known known = {.bound = INFINITY};
    if (c->shortlist || c->s.n >= GUESS_LEAST) known.total = chain_mass(c).total;
    if (cut_by_shortlist(c, &goal, &known, keep_ties)) return;
    if (c->s.n >= GUESS_LEAST) {
        c->order = c->s;
        c->open = (struct open_cut){
            draw_target(known.total, goal.amount), known.total, known.head, known.bound, c->best, keep_ties};
        if (p < OPEN_LEAST) chain_decide(c);
        return;
    }
    struct ballot ballot = {kernels, c->scratch, &c->s, &c->s, c->best, NULL};
    struct selection found = select_last(&ballot, &goal, &known);
    cut_or_leave(c, &c->s, with_ties(found.last, keep_ties), found.least);
}

/* How many candidates have at least this score, by one of 64. */
static int32_t estimate_kept(const struct scores *s, float least) {
    int32_t found = 0;
    for (int32_t start = 0; start + SAMPLE_GROUP <= s->n; start += SAMPLE_STRIDE)
        for (int32_t i = start; i < start + SAMPLE_GROUP; i++) found += score_at(s, i) >= least;
    return found * SAMPLE_SHARE;
}

/* d <= distance is monotone in the score, so it is a bound on the key, found by bisection. */
void chain_min_p(struct chain *c, float distance) {
    chain_decide(c);
    if (c->order.z != c->s.z || c->order.scale != c->s.scale) chain_settle(c); /* else the later rank decides */
    uint32_t low = DRAW_KEY_BANNED, high = draw_key(c->best);                  /* low is out, high is in */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (draw_distance(c->best, draw_unkey(middle) + 0.0f) <= distance) {
            high = middle;
        } else {
            low = middle;
        }
    }
    uint64_t last = (uint64_t)high << 32;
    if (last < c->last) last = c->last;
    if (c->shortlist && cut_shortlist(c, last)) return;
    cut_or_leave(c, &c->s, last, estimate_kept(&c->s, draw_unkey((uint32_t)(last >> 32))));
}

/* When a typical_p cut is made among the most typical few: they hold the target. */
static bool select_typical(const struct ballot *b, uint64_t target, struct known *known, struct selection *out) {
    struct scratch *scratch = b->scratch;
    struct scan scan;
    if (b->order->n < GUESS_LEAST) return false;
    b->kernels->scan(b->order->z, b->order->n, scratch->block_max, &scan);
    uint64_t rank = blocks_bound(b->kernels, scratch, b->order, scratch->block_max, SHORTLIST_LEAST);
    float bound = draw_unkey((uint32_t)(rank >> 32));
    if (rank < RANK_LEAST) return false;
    int32_t n = b->kernels->collect(b->order, bound, INFINITY, scratch->index);
    if (n > SHORTLIST_MAX) return false;
    *known = (struct known){known->total, ballot_entries(b, scratch->index, n), bound};
    if (known->head < target) return false;
    *out = (struct selection){select_entry(scratch->entry, n, target), 1};
    return true;
}

void chain_typical_p(struct chain *c, float p, bool keep_ties) {
    chain_settle(c);
    chain_shortlist(c);
    const struct sampler_kernels *kernels = sampler_kernels_for(c->kernels, c->best);
    struct mass mass = chain_moments(c);
    float mean = (float)draw_mean_distance(mass.high, mass.low, mass.total);
    kernels->typicality(c->scratch->order, &c->s, c->best, mean);
    struct scores order = {c->scratch->order, c->s.id, c->s.n, 1.0f};
    struct goal goal = {true, draw_fraction(p)};
    struct known known = {.total = mass.total, .bound = INFINITY};
    struct ballot ballot = {kernels, c->scratch, &order, &c->s, c->best, c->shortlist};
    struct selection found;
    if (!select_typical(&ballot, goal_target(&goal, mass.total), &known, &found))
        found = select_last(&ballot, &goal, &known);
    c->block_max = NULL; /* where they are the scratch's, they were written over */
    uint64_t last = with_ties(found.last, keep_ties);
    int32_t likeliest =
        c->kernels->find(&c->s, c->best); /* of the lowest id: if it is cut, so are those it ties with */
    bool stays = draw_rank(score_at(&order, likeliest), id_at(&order, likeliest)) >= last;
    cut_or_leave(c, &order, last, stays ? found.least : 0);
    c->best_known = stays;
}

int32_t best_ranks(const struct sampler_kernels *kernels, struct scratch *scratch, const struct scores *s,
                   const float *block_max, int32_t k) {
    if (k > s->n) k = s->n;
    if (k == 0) return 0;
    uint64_t last = blocks_bound(kernels, scratch, s, block_max, k);
    struct goal goal = {false, (uint64_t)k};
    struct known known = {.total = (uint64_t)s->n, .bound = INFINITY};
    struct ballot ballot = {kernels, scratch, s, NULL, 0.0f, NULL};
    if (last == 0) last = select_last(&ballot, &goal, &known).last;
    int32_t n = kernels->keep(s, s, last, scratch->list, scratch->list_id);
    struct scores list = {scratch->list, scratch->list_id, n, 1.0f};
    if (n > k) { /* more than k reach the blocks' bound */
        known.total = (uint64_t)n;
        ballot.order = &list;
        last = select_last(&ballot, &goal, &known).last;
        list.n = kernels->keep(&list, &list, last, scratch->list, scratch->list_id);
    }
    kernels->entries(scratch->entry, &list, NULL, 0.0f, NULL, list.n);
    sort_entries(scratch->entry, list.n);
    return list.n;
}
