#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct oracle_item {
    int32_t id;
    float score;
    double weight;  /* exp(-d), for the current best */
    double strange; /* |d - E| */
};

struct oracle *oracle_create(int32_t max_V) {
    struct oracle *o = calloc(1, sizeof *o);
    size_t n = (size_t)max_V;
    o->survives = calloc(n, sizeof *o->survives);
    o->probability = calloc(n, sizeof *o->probability);
    o->raw_logprob = calloc(n, sizeof *o->raw_logprob);
    o->items = calloc(n, sizeof *o->items);
    o->logits = calloc(n, sizeof *o->logits);
    return o;
}

void oracle_free(struct oracle *o) {
    free(o->survives);
    free(o->probability);
    free(o->raw_logprob);
    free(o->items);
    free(o->logits);
    free(o);
}

/* ---- noise ---------------------------------------------------------------------------------------------------- */

void oracle_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
    uint32_t k[2] = {key[0], key[1]}, c[4], next[4];
    memcpy(c, counter, sizeof c);
    for (int round = 0; round < 10; round++) {
        unsigned long long left = 0xD2511F53ull * c[0], right = 0xCD9E8D57ull * c[2];
        next[0] = (uint32_t)(right / 4294967296ull) ^ c[1] ^ k[0];
        next[1] = (uint32_t)(right % 4294967296ull);
        next[2] = (uint32_t)(left / 4294967296ull) ^ c[3] ^ k[1];
        next[3] = (uint32_t)(left % 4294967296ull);
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

double oracle_exponential(uint64_t seed, int32_t position, int32_t sample, int32_t id) {
    uint32_t key[2] = {(uint32_t)(seed & 0xFFFFFFFFu), (uint32_t)(seed >> 32)};
    uint32_t counter[4] = {(uint32_t)(id / 4), (uint32_t)position, (uint32_t)sample, 0};
    uint32_t words[4];
    oracle_philox(key, counter, words);
    float v = (float)(((double)words[id % 4] + 0.5) / 4294967296.0);
    return v >= 1.0f ? INFINITY : -log1p(-(double)v);
}

/* ---- scores --------------------------------------------------------------------------------------------------- */

static float tidy(float x) {
    if (isnan(x)) return -INFINITY;
    return x == 0.0f ? 0.0f : x;
}

/* How often `token` is among tokens[from, to). */
static int32_t occurrences(const int32_t *tokens, int32_t from, int32_t to, int32_t token) {
    int32_t n = 0;
    for (int32_t i = from; i < to; i++) n += tokens[i] == token;
    return n;
}

static int32_t latest(int32_t from, int32_t to, int32_t window) {
    return window > 0 && to - window > from ? to - window : from;
}

static bool completes_ngram(const struct branch_draw *b, int32_t token) {
    int32_t n = b->params->no_repeat_ngram, count = b->history_count;
    if (n == 0 || count < n) return false;
    for (int32_t i = 0; i + n <= count; i++) {
        if (b->history[i + n - 1] != token) continue;
        int32_t same = 0;
        while (same < n - 1 && b->history[i + same] == b->history[count - (n - 1) + same]) same++;
        if (same == n - 1) return true;
    }
    return false;
}

static float penalized(const struct branch_draw *b, int32_t token, float score) {
    const struct branch_params *p = b->params;
    int32_t end = b->history_count;
    if (completes_ngram(b, token)) return -INFINITY;
    if (occurrences(b->history, latest(0, end, p->penalty_window), end, token) > 0)
        score = tidy(score > 0 ? score / p->repetition_penalty : score * p->repetition_penalty);
    int32_t first = p->order.penalize_prompt ? 0 : b->prompt_count;
    int32_t times = occurrences(b->history, latest(first, end, p->penalty_window), end, token);
    if (times > 0) {
        float step = p->frequency_penalty * (float)times;
        score = score - step;
        score = tidy(score - p->presence_penalty);
    }
    return score;
}

static bool suppressed(const struct branch_draw *b, int32_t token) {
    if (b->history_count - b->prompt_count >= b->params->min_tokens) return false;
    for (int32_t i = 0; i < b->params->suppress_count; i++)
        if (b->params->suppress[i] == token) return true;
    return false;
}

static float biased(const struct branch_params *p, int32_t token, float score) {
    for (int32_t i = 0; i < p->bias_count; i++) {
        if (p->bias[i].token != token) continue;
        if (isinf(p->bias[i].bias)) return -INFINITY;
        return tidy(score + p->bias[i].bias);
    }
    return score;
}

/* ---- filters over a list of items ----------------------------------------------------------------------------- */

static int by_score(const void *a, const void *b) {
    const struct oracle_item *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}
static int by_strangeness(const void *a, const void *b) {
    const struct oracle_item *x = a, *y = b;
    if (x->strange != y->strange) return x->strange < y->strange ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static float best_of(const struct oracle_item *items, int32_t n) {
    float best = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        if (items[i].score > best) best = items[i].score;
    return best;
}

/* d is a single-precision difference by definition. */
static float distance(float best, float score) {
    return best == score ? 0.0f : best - score;
}

static double weigh(struct oracle_item *items, int32_t n) {
    float best = best_of(items, n);
    double total = 0;
    for (int32_t i = 0; i < n; i++) total += items[i].weight = exp(-(double)distance(best, items[i].score));
    return total;
}

static int32_t drop_banned(struct oracle_item *items, int32_t n) {
    int32_t left = 0;
    for (int32_t i = 0; i < n; i++)
        if (items[i].score > -INFINITY) items[left++] = items[i];
    return left;
}

/* Items in order: how many until their weight reaches p of the total (at least one). Notes when the error of the sums
 * could decide otherwise. */
static int32_t reach(struct oracle *o, const struct oracle_item *items, int32_t n, double total, double p) {
    double target = (p + o->lean) * total, sum = 0, slack = ORACLE_MASS_ERROR * total;
    bool close = false;
    int32_t kept = n;
    for (int32_t i = 0; i < n; i++) {
        sum += items[i].weight;
        if (i + 1 < n && fabs(sum - target) <= slack) close = true;
        if (sum < target) continue;
        kept = i + 1;
        break;
    }
    o->ambiguous += close;
    return kept;
}

static int32_t top_k(struct oracle_item *items, int32_t n, int32_t k, bool ties) {
    if (k == 0 || k >= n) return n;
    qsort(items, (size_t)n, sizeof *items, by_score);
    while (ties && k < n && items[k].score == items[k - 1].score) k++;
    return k;
}

static int32_t top_p(struct oracle *o, struct oracle_item *items, int32_t n, float p, bool ties) {
    if (p >= 1) return n;
    qsort(items, (size_t)n, sizeof *items, by_score);
    double total = weigh(items, n);
    int32_t k = reach(o, items, n, total, (double)p);
    while (ties && k < n && items[k].score == items[k - 1].score) k++;
    return k;
}

static int32_t min_p(struct oracle_item *items, int32_t n, float limit) {
    float best = best_of(items, n);
    int32_t left = 0;
    for (int32_t i = 0; i < n; i++)
        if (distance(best, items[i].score) <= limit) items[left++] = items[i];
    return left;
}

static int32_t typical_p(struct oracle *o, struct oracle_item *items, int32_t n, float p, bool ties) {
    if (p >= 1) return n;
    float best = best_of(items, n);
    double total = weigh(items, n), mean = 0;
    for (int32_t i = 0; i < n; i++)
        if (items[i].weight > 0) mean += items[i].weight / total * (double)distance(best, items[i].score);
    for (int32_t i = 0; i < n; i++) items[i].strange = fabs((double)distance(best, items[i].score) - mean);
    qsort(items, (size_t)n, sizeof *items, by_strangeness);
    int32_t k = reach(o, items, n, total, (double)p);
    double edge = items[k - 1].strange;
    float score = items[k - 1].score;
    bool close = false;
    for (int32_t i = 0; i < n; i++)
        close |= fabs(items[i].strange - edge) <= ORACLE_TYPICAL_ERROR && items[i].score != score;
    o->ambiguous += close;
    while (ties && k < n && items[k].score == score) k++;
    return k;
}

/* ---- dynamic temperature -------------------------------------------------------------------------------------- */

/* 1 / T for a share of the greatest entropy. */
static double dynatemp_of(const struct branch_params *p, double share) {
    double power = pow(fmin(fmax(share, 0.0), 1.0), (double)p->dynatemp_exponent);
    return 1.0 / ((double)p->dynatemp_least + (double)p->dynatemp_spread * power);
}

static float dynatemp(struct oracle *o, struct oracle_item *items, const struct branch_params *p, int32_t n) {
    if (n < 2) return 1.0f;
    float best = best_of(items, n);
    double total = weigh(items, n), entropy = log(total), most = log((double)n);
    for (int32_t i = 0; i < n; i++)
        if (items[i].weight > 0) entropy += items[i].weight / total * (double)distance(best, items[i].score);
    if (o->dynatemp == 0) return (float)dynatemp_of(p, entropy / most);
    double cold = dynatemp_of(p, (entropy - ORACLE_ENTROPY_ERROR) / most) * (1 + ORACLE_DYNATEMP_ERROR);
    double hot = dynatemp_of(p, (entropy + ORACLE_ENTROPY_ERROR) / most) * (1 - ORACLE_DYNATEMP_ERROR);
    o->dynatemp_wrong = !(o->dynatemp >= hot && o->dynatemp <= cold);
    return (float)o->dynatemp;
}

/* ---- the draw ------------------------------------------------------------------------------------------------- */

static int32_t run_stage(struct oracle *o, const struct branch_draw *b, enum tempera_stage stage, int32_t n) {
    const struct branch_params *p = b->params;
    struct oracle_item *items = o->items;
    bool ties = p->order.keep_ties, greedy = p->temperature == 0;
    if (stage == TEMPERA_STAGE_PENALTIES)
        for (int32_t i = 0; i < n; i++) items[i].score = penalized(b, items[i].id, items[i].score);
    if (stage == TEMPERA_STAGE_BIAS)
        for (int32_t i = 0; i < n; i++) items[i].score = biased(p, items[i].id, items[i].score);
    if (stage == TEMPERA_STAGE_TEMPERATURE && !greedy) {
        float scale = p->dynatemp_spread > 0 ? dynatemp(o, items, p, n) : p->inv_temperature;
        for (int32_t i = 0; i < n; i++) items[i].score = tidy(items[i].score * scale);
    }
    n = drop_banned(items, n);
    if (n == 0 || greedy) return n;
    if (stage == TEMPERA_STAGE_TOP_K) return top_k(items, n, p->top_k, ties);
    if (stage == TEMPERA_STAGE_TOP_P) return top_p(o, items, n, p->top_p, ties);
    if (stage == TEMPERA_STAGE_MIN_P && p->min_p > 0) return min_p(items, n, p->min_p_distance);
    if (stage == TEMPERA_STAGE_TYPICAL_P) return typical_p(o, items, n, p->typical_p, ties);
    return n;
}

static void raw_distribution(struct oracle *o, const float *row) {
    float best = -INFINITY;
    for (int32_t i = 0; i < o->V; i++) {
        o->logits[i] = tidy(row[i]);
        o->nan |= isnan(row[i]);
        if (o->logits[i] > best) best = o->logits[i];
    }
    double total = 0;
    o->entropy = 0;
    for (int32_t i = 0; i < o->V; i++)
        if (o->logits[i] > -INFINITY) total += exp(o->logits[i] == best ? 0 : (double)o->logits[i] - (double)best);
    for (int32_t i = 0; i < o->V; i++) {
        double l = -INFINITY;
        if (o->logits[i] > -INFINITY) l = (o->logits[i] == best ? 0 : (double)o->logits[i] - (double)best) - log(total);
        o->raw_logprob[i] = l;
        if (exp(l) > 0) o->entropy -= exp(l) * l;
    }
}

/* The final distribution, and the race over it; greedy: all on the best. */
static void finish(struct oracle *o, const struct branch_draw *b, int32_t n) {
    const struct branch_params *p = b->params;
    struct oracle_item *items = o->items;
    if (n > 0 && p->temperature == 0) {
        qsort(items, (size_t)n, sizeof *items, by_score);
        n = 1;
    }
    double total = weigh(items, n), first = -1, second = -1;
    o->kept = n;
    for (int32_t i = 0; i < n; i++) {
        int32_t id = items[i].id;
        o->survives[id] = true;
        o->probability[id] = items[i].weight / total;
        o->kept_mass += exp(o->raw_logprob[id]);
        if (items[i].weight <= 0x1p-40) continue; /* integer weight 0 */
        double score = items[i].weight / oracle_exponential(p->seed, b->history_count, p->sample, id);
        if (score > first || (score == first && id < o->token)) {
            second = first;
            first = score;
            o->token = id;
        } else if (score > second) {
            second = score;
        }
    }
    o->lead = second < 0 ? INFINITY : first / second;
}

void oracle_draw(struct oracle *o, const struct branch_draw *b, const float *row, int32_t V) {
    o->V = V;
    o->token = -1;
    o->nan = false;
    o->dynatemp_wrong = false;
    o->ambiguous = 0;
    o->kept_mass = 0;
    memset(o->survives, 0, (size_t)V * sizeof *o->survives);
    memset(o->probability, 0, (size_t)V * sizeof *o->probability);
    raw_distribution(o, row);
    int32_t n = 0;
    for (int32_t i = 0; i < V; i++) {
        float score = suppressed(b, i) ? -INFINITY : o->logits[i];
        o->items[n++] = (struct oracle_item){.id = i, .score = score};
    }
    n = drop_banned(o->items, n);
    for (int i = 0; i < b->params->order.count; i++)
        n = run_stage(o, b, (enum tempera_stage)b->params->order.stage[i], n);
    finish(o, b, n);
}
