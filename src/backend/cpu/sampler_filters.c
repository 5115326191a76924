/* sampler_filters.c: top_k, top_p, min_p, typical_p. Every cut is one number: the rank of the last candidate kept, which
 * sampler_select.c finds. */
#include "backend/cpu/sampler_internal.h"
#include "backend/cpu/sampler_select.h"

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
