// sample.cuh: what the two kernels that finish draws share: reductions, the selection of the last token that a cut keeps,
// edits of scores, the filters and the race. The meaning is backend/cpu/sampler.h; only the ways differ.
//
// CANDIDATES of a block are n scores with ids, -inf meaning gone: a list in shared memory, or all ids in scratch. Nothing is
// moved or sorted: a filter finds the rank of the last token it keeps and writes -inf to those behind it. A rank is one
// number, (key of the score, id descending), so ranks are distinct, and a prefix by rank is a lower bound of the rank.
//
// SELECTION. The rank where the sum of weights (or the count), from the best down, reaches a target: a histogram of 256 bins
// over the range in which the answer lies, whose bin is the next range, until one candidate is left. Sums are integers, so
// the order of the atomics does not matter.
#pragma once

#include "base/draw_math.h"
#include "kernels/device.cuh"
#include "kernels/sample.h"

namespace {
namespace sample {

constexpr int THREADS = 512; // of a block, at most
constexpr int WARPS = THREADS / 32;
constexpr int BINS = 256, BIN_BITS = 8, LANE_BINS = BINS / 32;
constexpr int SUMS = 5;
constexpr int NARROW_FROM = 4096; // candidates

// What any block of these kernels has in shared memory.
struct Tools {
    uint64_t partial[SUMS][WARPS];
    uint64_t top[SAMPLE_TOP_MAX];
    uint64_t found, target;
    uint32_t count[BINS], mass_low[BINS], mass_high[BINS];
    uint32_t bin, bin_count, top_count;
    float token_score;
    struct sample_branch branch;
    int32_t row_top; // 0 or more: the job is a row
};

DEV int32_t thread() {
    return (int32_t)threadIdx.x;
}
DEV int32_t threads() {
    return (int32_t)blockDim.x;
}

// ---- reductions over the block -----------------------------------------------------------------------------------------

template <int N> DEV void block_sums(Tools *t, uint64_t (&value)[N]) {
    const int32_t lane = thread() % 32, warp = thread() / 32, warps = threads() / 32;
    static_assert(N <= SUMS, "more sums than there is room for");
    for (int i = 0; i < N; i++) value[i] = dev::warp_sum(value[i]);
    dev::block_sync();
    if (lane == 0)
        for (int i = 0; i < N; i++) t->partial[i][warp] = value[i];
    dev::block_sync();
    for (int i = 0; i < N; i++) {
        value[i] = t->partial[i][0];
        for (int32_t w = 1; w < warps; w++) value[i] += t->partial[i][w];
    }
}

template <int N> DEV void block_maxima(Tools *t, uint64_t (&value)[N]) {
    const int32_t lane = thread() % 32, warp = thread() / 32, warps = threads() / 32;
    static_assert(N <= SUMS, "more maxima than there is room for");
    for (int i = 0; i < N; i++) value[i] = dev::warp_max(value[i]);
    dev::block_sync();
    if (lane == 0)
        for (int i = 0; i < N; i++) t->partial[i][warp] = value[i];
    dev::block_sync();
    for (int i = 0; i < N; i++) {
        value[i] = t->partial[i][0];
        for (int32_t w = 1; w < warps; w++) value[i] = t->partial[i][w] > value[i] ? t->partial[i][w] : value[i];
    }
}

// ---- ranks -------------------------------------------------------------------------------------------------------------

// Bits that hold any id below V.
DEV int32_t id_bits(int32_t V) {
    return 32 - dev::clz((uint32_t)V);
}
DEV uint64_t rank_of(uint32_t key, int32_t id, int32_t bits) {
    return (uint64_t)key << bits | (((1u << bits) - 1) - (uint32_t)id);
}

DEV int32_t width(uint64_t x) { // bits of x
    const uint32_t high = (uint32_t)(x >> 32);
    return high ? 64 - dev::clz(high) : 32 - dev::clz((uint32_t)x);
}

// ---- selection ---------------------------------------------------------------------------------------------------------

DEV void clear_bins(Tools *t) {
    for (int32_t bin = thread(); bin < BINS; bin += threads()) t->count[bin] = t->mass_low[bin] = t->mass_high[bin] = 0;
    dev::block_sync();
}
// A 64-bit sum of two words: shared memory adds only those at once. Whoever makes the low word wrap adds the carry.
DEV void add_to_bin(Tools *t, uint32_t bin, uint64_t weight) {
    dev::atomic_add(&t->count[bin], 1u);
    if (weight == 0) return;
    const uint32_t low = (uint32_t)weight;
    const uint32_t carry = (uint32_t)(dev::atomic_add(&t->mass_low[bin], low) + low) < low;
    const uint32_t high = (uint32_t)(weight >> 32) + carry;
    if (high > 0) dev::atomic_add(&t->mass_high[bin], high);
}
DEV uint64_t bin_sum(const Tools *t, int32_t bin, bool by_mass) {
    return by_mass ? (uint64_t)t->mass_high[bin] << 32 | t->mass_low[bin] : t->count[bin];
}

// The first warp: the highest bin from which the sum down from the top reaches the target, which some bin does; the target
// is lowered by what lies above it.
DEV void find_bin(Tools *t, bool by_mass) {
    const int32_t lane = thread();
    uint64_t own = 0;
    for (int32_t j = 0; j < LANE_BINS; j++) own += bin_sum(t, lane * LANE_BINS + j, by_mass);
    uint64_t sum = own; // of this lane and those after it
    for (int32_t delta = 1; delta < 32; delta *= 2) {
        const uint64_t other = dev::shfl_down(sum, delta);
        if (lane + delta < 32) sum += other;
    }
    uint64_t target = dev::shfl(t->target, 0);
    const uint64_t above = sum - own;
    dev::warp_sync();
    if (above >= target || target > sum) return;
    target -= above;
    int32_t bin = lane * LANE_BINS + LANE_BINS - 1;
    for (; bin > lane * LANE_BINS; bin--) {
        const uint64_t weight = bin_sum(t, bin, by_mass);
        if (weight >= target) break;
        target -= weight;
    }
    t->bin = (uint32_t)bin;
    t->bin_count = t->count[bin];
    t->target = target;
}

// The rank of the last candidate of the shortest prefix by descending rank whose weight (or count) reaches the target.
// Candidates are those of `source` with low <= rank <= high; together they reach it.
template <typename Source>
DEV uint64_t select_last(Tools *t, const Source &source, uint64_t low, uint64_t high, uint64_t target, bool by_mass) {
    dev::block_sync();
    if (thread() == 0) t->target = target;
    for (;;) {
        const int32_t bits = width(high - low), shift = bits > BIN_BITS ? bits - BIN_BITS : 0;
        clear_bins(t);
        for (int32_t i = thread(); i < source.n(); i += threads()) {
            const uint64_t rank = source.rank(i);
            if (rank < low || rank > high) continue;
            add_to_bin(t, (uint32_t)((rank - low) >> shift), by_mass ? source.weight(i) : 0);
        }
        dev::block_sync();
        if (thread() < 32) find_bin(t, by_mass);
        dev::block_sync();
        low += (uint64_t)t->bin << shift;
        if (shift == 0) return low;
        const uint64_t span = ((uint64_t)1 << shift) - 1;
        high = high - low < span ? high : low + span;
        if (t->bin_count == 1) break;
    }
    for (int32_t i = thread(); i < source.n(); i += threads()) {
        const uint64_t rank = source.rank(i);
        if (rank >= low && rank <= high) t->found = rank;
    }
    dev::block_sync();
    return t->found;
}

// ---- candidates --------------------------------------------------------------------------------------------------------

struct List {
    float *score;
    const int32_t *ids;
    int32_t count;
    DEV int32_t n() const { return count; }
    DEV int32_t id(int32_t i) const { return ids[i]; }
};

struct Dense { // candidate i is token i
    float *score;
    int32_t count;
    DEV int32_t n() const { return count; }
    DEV int32_t id(int32_t i) const { return i; }
};

// Candidates in the order of a cut: by score, or by typicality.
template <typename View> struct Order {
    const View &view;
    int32_t bits;
    float best, mean;
    bool typical;
    DEV int32_t n() const { return view.n(); }
    DEV uint64_t rank(int32_t i) const {
        float score = view.score[i];
        if (typical) score = draw_typicality(draw_distance(best, score), mean);
        return rank_of(draw_key(score), view.id(i), bits);
    }
    DEV uint64_t weight(int32_t i) const { return draw_weight(draw_distance(best, view.score[i])); }
    // A bin for every key, no lower for a better one: even steps of distance, where keys are dense around zero.
    DEV uint32_t step(uint32_t key) const {
        const float score = dev::add(draw_unkey(key), 0.0f), distance = typical ? -score : draw_distance(best, score);
        return distance < 27.75f ? BINS - 1 - (uint32_t)dev::mul(distance, 9.0f) : 0;
    }
    // The least key of [low, high] with at least that step; high + 1: none.
    DEV uint32_t least_key(uint32_t low, uint32_t high, uint32_t least_step) const {
        for (high++; low < high;) {
            const uint32_t middle = low + (high - low) / 2;
            if (step(middle) >= least_step) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return low;
    }
};

// A first round of select_last for many candidates: narrows [low, high] to the keys of one step, and returns what is left
// of the target. Bins of even steps fill evenly, so that fewer threads meet in one.
template <typename View>
DEV uint64_t narrow(Tools *t, const Order<View> &order, uint32_t &low, uint32_t &high, uint64_t target, bool by_mass) {
    dev::block_sync();
    if (thread() == 0) t->target = target;
    clear_bins(t);
    for (int32_t i = thread(); i < order.n(); i += threads()) {
        const uint32_t key = (uint32_t)(order.rank(i) >> order.bits);
        if (key >= low && key <= high) add_to_bin(t, order.step(key), by_mass ? order.weight(i) : 0);
    }
    dev::block_sync();
    if (thread() < 32) find_bin(t, by_mass);
    dev::block_sync();
    const uint32_t least = order.least_key(low, high, t->bin), next = order.least_key(low, high, t->bin + 1);
    low = least;
    high = next - 1;
    return t->target;
}

struct Summary {
    float best, worst; // largest score, smallest above -inf
    int32_t alive;     // scores above -inf
};

template <typename View> DEV Summary summarize(Tools *t, const View &view) {
    uint64_t extreme[2] = {DRAW_KEY_BANNED, 0}, alive[1] = {0};
    for (int32_t i = thread(); i < view.n(); i += threads()) {
        const uint32_t key = draw_key(view.score[i]);
        if (key <= DRAW_KEY_BANNED) continue;
        if (key > extreme[0]) extreme[0] = key;
        if ((uint32_t)~key > extreme[1]) extreme[1] = (uint32_t)~key;
        alive[0]++;
    }
    block_maxima(t, extreme);
    block_sums(t, alive);
    return {draw_unkey((uint32_t)extreme[0]), draw_unkey(~(uint32_t)extreme[1]), (int32_t)alive[0]};
}

// ---- sums over tokens --------------------------------------------------------------------------------------------------

// Of the final distribution: weights, and what their mean distance needs; in the row's own measure: weights of those that
// are above -inf, and how many these are.
struct Sums {
    uint64_t total, high, low, raw, kept;
};
enum sum_kind { SUM_MOMENTS = 1, SUM_RAW = 2 };

struct Measure {
    float best, row_best;
    int kinds;
};

// draw_weight(d) for t = d log2(e) in [0, 40), without its branch: 2^g is m 2^(e - 150) with m of 24 bits, so that the two
// shifts of the definition are one, and it cuts the same bits.
DEV uint64_t weight_below_40(float t) {
    const uint32_t n = (uint32_t)t;
    const float g = dev::sub(1.0f, dev::sub(t, (float)n));
    float q = dev::fma(DRAW_EXP2_C5, g, DRAW_EXP2_C4);
    q = dev::fma(q, g, DRAW_EXP2_C3);
    q = dev::fma(q, g, DRAW_EXP2_C2);
    q = dev::fma(q, g, DRAW_EXP2_C1);
    q = dev::fma(q, g, DRAW_EXP2_C0);
    const uint32_t u = dev::bits(q);
    return ((uint64_t)((u & 0x7FFFFFu) | 0x800000u) << 24) >> (135 + n - (u >> 23));
}

// The weight of a score below a finite best; 0 for NaN, and for scores above the best.
DEV uint64_t finite_weight(float best, float score) {
    const float t = dev::mul(dev::sub(best, score), DRAW_LOG2E);
    const bool counts = dev::bits(t) < 0x42200000u; // 0 <= t < 40
    const uint64_t weight = weight_below_40(counts ? t : 0.0f);
    return counts ? weight : 0;
}

// Adds a token. A score above the best adds nothing. FINITE: the best scores are; then score and logit need not be clean.
template <bool FINITE> DEV void sum_token(Sums &sums, const Measure &m, float score, float logit) {
    if (!FINITE && score > m.best) return;
    const uint64_t weight = FINITE ? finite_weight(m.best, score) : draw_weight(draw_distance(m.best, score));
    sums.total += weight;
    if ((m.kinds & SUM_MOMENTS) && weight > 0) {
        const uint32_t fixed = draw_fixed(draw_distance(m.best, score));
        sums.high += (weight >> 16) * fixed;
        sums.low += (weight & 0xFFFFu) * fixed;
    }
    if ((m.kinds & SUM_RAW) && score > DRAW_NEGATIVE_INFINITY && score <= m.best) {
        sums.raw += FINITE ? finite_weight(m.row_best, logit) : draw_weight(draw_distance(m.row_best, logit));
        sums.kept++;
    }
}
DEV bool is_finite(const Measure &m) {
    return m.best < DRAW_FLOAT(0x7F800000u) && m.row_best < DRAW_FLOAT(0x7F800000u);
}

DEV void sum_block(Tools *t, Sums &sums, int kinds) {
    if (kinds == 0) {
        uint64_t value[1] = {sums.total};
        block_sums(t, value);
        sums.total = value[0];
        return;
    }
    uint64_t value[SUMS] = {sums.total, sums.high, sums.low, sums.raw, sums.kept};
    block_sums(t, value);
    sums = {value[0], value[1], value[2], value[3], value[4]};
}

DEV float mean_distance(const Sums &sums) {
    return (float)draw_mean_distance(sums.high, sums.low, sums.total);
}

template <typename View>
DEV Sums sum_candidates(Tools *t, const View &view, const Measure &measure, const float *row /* [V] */) {
    Sums sums = {0, 0, 0, 0, 0};
    for (int32_t i = thread(); i < view.n(); i += threads())
        sum_token<false>(sums, measure, view.score[i], measure.kinds & SUM_RAW ? draw_clean(row[view.id(i)]) : 0.0f);
    sum_block(t, sums, measure.kinds);
    return sums;
}

// What a stage of temperature multiplies the scores with; `sums` with moments, over `count` tokens above -inf.
DEV float dynatemp(const sample_branch &b, const Sums &sums, uint64_t count) {
    return draw_dynatemp(sums.high, sums.low, sums.total, (uint32_t)count, b.dynatemp_least, b.dynatemp_spread,
                         b.dynatemp_exponent);
}

// The stage of temperature over all that is left.
template <typename View> DEV void scale_candidates(Tools *t, const View &view) {
    const sample_branch &b = t->branch;
    float scale = b.inv_temperature;
    if (b.options & SAMPLE_DYNATEMP) {
        const Summary s = summarize(t, view);
        if (s.alive == 0) return;
        scale = dynatemp(b, sum_candidates(t, view, {s.best, 0.0f, SUM_MOMENTS}, nullptr), (uint64_t)s.alive);
    }
    for (int32_t i = thread(); i < view.n(); i += threads()) view.score[i] = draw_clean(dev::mul(view.score[i], scale));
}

// ---- edits -------------------------------------------------------------------------------------------------------------

// What is to be done to a token's score.
constexpr uint32_t MARK_SUPPRESSED = 1u << 31, MARK_NGRAM = 1u << 30, MARK_REPEATED = 1u << 29, MARK_BIAS = 1u << 28;
constexpr uint32_t MARK_COUNT = MARK_BIAS - 1; // occurrences for frequency and presence

DEV int32_t history_token(const sample_branch &b, int32_t at, int32_t fed) {
    return at == b.position - 1 && (b.options & SAMPLE_FEEDBACK) ? fed : b.history[at - b.history_first];
}

// Whether the ngram - 1 tokens from `start` on are the last ones.
DEV bool repeats(const sample_branch &b, int32_t start, int32_t fed) {
    const int32_t length = b.ngram - 1;
    for (int32_t j = 0; j < length; j++)
        if (history_token(b, start + j, fed) != history_token(b, b.position - length + j, fed)) return false;
    return true;
}

// Marks every token that some stage edits. Ends with a barrier.
template <typename Marks> DEV void mark_edits(const sample_branch &b, int32_t V, int32_t fed, const Marks &marks) {
    const auto in_vocabulary = [V](int32_t token) { return (uint32_t)token < (uint32_t)V; };
    for (int32_t i = thread(); i < b.suppress_count; i += threads())
        if (in_vocabulary(b.suppress[i])) marks.set(b.suppress[i], MARK_SUPPRESSED);
    for (int32_t i = thread(); i < b.bias_count; i += threads())
        if (in_vocabulary(b.bias[i].token)) marks.set(b.bias[i].token, MARK_BIAS);
    if (b.options & SAMPLE_NGRAMS)
        for (int32_t start = thread(); start <= b.position - b.ngram; start += threads()) {
            const int32_t token = history_token(b, start + b.ngram - 1, fed);
            if (in_vocabulary(token) && repeats(b, start, fed)) marks.set(token, MARK_NGRAM);
        }
    if (b.options & SAMPLE_REPETITION)
        for (int32_t at = b.repetition_first + thread(); at < b.position; at += threads()) {
            const int32_t token = history_token(b, at, fed);
            if (in_vocabulary(token)) marks.set(token, MARK_REPEATED);
        }
    if (b.options & SAMPLE_FREQUENCY)
        for (int32_t at = b.frequency_first + thread(); at < b.position; at += threads()) {
            const int32_t token = history_token(b, at, fed);
            if (in_vocabulary(token)) marks.count(token);
        }
    dev::block_sync();
}

DEV float bias_of(const sample_branch &b, int32_t id) {
    int32_t low = 0, high = b.bias_count - 1;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (b.bias[middle].token < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return b.bias[low].bias;
}

// One token's score after a stage of edits.
DEV float edit(const sample_branch &b, int32_t stage, uint32_t mark, int32_t id, float score) {
    if (stage == SAMPLE_BIAS) {
        if (!(mark & MARK_BIAS)) return score;
        const float bias = bias_of(b, id);
        return draw_key(bias) == DRAW_KEY_BANNED ? bias : draw_clean(dev::add(score, bias)); // inf - inf would be NaN
    }
    if (mark & MARK_NGRAM) return DRAW_NEGATIVE_INFINITY;
    if (mark & MARK_REPEATED)
        score =
            draw_clean(score > 0.0f ? dev::div(score, b.repetition_penalty) : dev::mul(score, b.repetition_penalty));
    if (mark & MARK_COUNT) {
        const float times = (float)(mark & MARK_COUNT);
        const float lowered = dev::sub(score, dev::mul(b.frequency_penalty, times));
        score = draw_clean(dev::sub(lowered, b.presence_penalty));
    }
    return score;
}

template <typename View, typename Marks>
DEV void edit_candidates(const sample_branch &b, int32_t stage, const View &view, const Marks &marks) {
    for (int32_t i = thread(); i < view.n(); i += threads()) {
        const uint32_t mark = marks.of(view.id(i));
        if (mark) view.score[i] = edit(b, stage, mark, view.id(i), view.score[i]);
    }
}

// ---- filters -----------------------------------------------------------------------------------------------------------

// Tokens that are not candidates, when there are any: their scores are at most `most`; of them and the candidates, the sum
// of weights and the mean distance.
struct Outside {
    bool any;
    float most, mean;
    uint64_t total;
};

// Runs one filter. False: what it keeps cannot be told, because tokens outside may belong to it; nothing was changed then.
// After true, nothing outside survives.
template <typename View>
DEV bool filter(Tools *t, const View &view, int32_t stage, const Summary &s, const Outside &outside, int32_t bits) {
    const sample_branch &b = t->branch;
    if (s.alive == 0) return !outside.any;
    if (stage == SAMPLE_MIN_P) {
        if (outside.any && draw_distance(s.best, outside.most) <= b.min_p_distance) return false;
        for (int32_t i = thread(); i < view.n(); i += threads())
            if (!(draw_distance(s.best, view.score[i]) <= b.min_p_distance)) view.score[i] = DRAW_NEGATIVE_INFINITY;
        return true;
    }
    const bool by_mass = stage != SAMPLE_TOP_K, typical = stage == SAMPLE_TYPICAL_P;
    uint64_t target;
    float mean = outside.mean;
    if (by_mass) {
        const bool moments = typical && !outside.any;
        const Sums own = sum_candidates(t, view, {s.best, 0.0f, moments ? SUM_MOMENTS : 0}, nullptr);
        if (moments) mean = mean_distance(own);
        target = draw_target(outside.any ? outside.total : own.total, draw_fraction(typical ? b.typical_p : b.top_p));
        if (own.total < target) return false;
    } else {
        target = (uint64_t)b.top_k;
        if (s.alive <= b.top_k) return !outside.any;
    }
    // The range of the order's keys, and the best key that a token outside may have.
    uint32_t low = draw_key(s.worst), high = draw_key(s.best), most = draw_key(outside.most);
    if (typical) {
        const uint32_t near = draw_key(draw_typicality(0.0f, mean));
        const uint32_t far = draw_key(draw_typicality(draw_distance(s.best, s.worst), mean));
        const float distance = draw_distance(s.best, outside.most);
        low = near < far ? near : far;
        high = draw_key(0.0f);
        most = distance >= mean ? draw_key(draw_typicality(distance, mean)) : high;
    }
    if (low <= DRAW_KEY_BANNED) low = DRAW_KEY_BANNED + 1;
    const Order<View> order = {view, bits, s.best, mean, typical};
    if (view.n() > NARROW_FROM) target = narrow(t, order, low, high, target, by_mass);
    const uint64_t rank =
        select_last(t, order, rank_of(low, (1 << bits) - 1, bits), rank_of(high, 0, bits), target, by_mass);
    const uint32_t key = (uint32_t)(rank >> bits);
    if (outside.any && key <= most) return false;
    const uint64_t last = b.options & SAMPLE_KEEP_TIES ? rank >> bits << bits : rank;
    for (int32_t i = thread(); i < view.n(); i += threads())
        if (order.rank(i) < last) view.score[i] = DRAW_NEGATIVE_INFINITY;
    return true;
}

// ---- the race ----------------------------------------------------------------------------------------------------------

// A token's result: the larger wins. 0: does not run.
DEV uint64_t race_entry(float distance, uint32_t word, int32_t id) {
    const uint64_t weight = draw_weight(distance);
    if (weight == 0) return 0;
    return (uint64_t)DRAW_BITS(draw_race_score(weight, word)) << 32 | (uint32_t) ~(uint32_t)id;
}
DEV int32_t race_winner(uint64_t entry) {
    return (int32_t) ~(uint32_t)entry;
}

// A bound that spares most tokens the exact score. With t = d log2(e), a score is at most 2^(40 - t) / v, since e >= v; and
// L(x) = bits(x) 2^-23 - 127 <= log2(x) for positive x. So a token with t + L(v) > 40 - L(the best score so far) cannot win.
// The word's upper 31 bits stand for v, being below (v 2^31). The slack of 0.001 is far above all roundings.
DEV float race_log2(float x) {
    return (float)DRAW_BITS(x) * 0x1p-23f;
}
DEV float race_limit(uint64_t entry) {
    const float score = DRAW_FLOAT((uint32_t)(entry >> 32));
    return 40.001f + 127.0f + 31.0f - (score > 0.0f ? race_log2(score) - 127.0f : 0.0f);
}
DEV float race_measure(float t, uint32_t word) {
    return t + race_log2((float)(int32_t)(word >> 1));
}

// draw_word, by selects: an indexed array would live in local memory.
DEV uint32_t noise_word(const sample_branch &b, int32_t id) {
    const philox_words words = draw_words(b.seed, b.position, b.sample, (uint32_t)id / 4);
    uint32_t word = words.w[0];
    word = id % 4 == 1 ? words.w[1] : word;
    word = id % 4 == 2 ? words.w[2] : word;
    return id % 4 == 3 ? words.w[3] : word;
}

// The best entry of this thread's candidates.
DEV uint64_t race(const sample_branch &b, const List &list, float best) {
    uint64_t leader = 0;
    for (int32_t i = thread(); i < list.n(); i += threads()) {
        const float distance = draw_distance(best, list.score[i]);
        if (!(distance < 28.0f)) continue; // weight 0
        const uint64_t entry = race_entry(distance, noise_word(b, list.ids[i]), list.ids[i]);
        if (entry > leader) leader = entry;
    }
    return leader;
}

// The same over all tokens: score(i), and four(i) of i … i + 3, whose noise is one call's. NaN, and what is above the best,
// does not run; skip(i) says so of others. Few tokens pass the bound, so their scores and noise are made again.
struct Four {
    float z[4];
};
template <typename Scores, typename Score, typename Skip>
DEV uint64_t race_all(const sample_branch &b, int32_t V, float best, uint64_t leader, const Scores &four,
                      const Score &score, const Skip &skip) {
    float limit = race_limit(leader);
    for (int32_t first = 4 * thread(); first < V; first += 4 * threads()) {
        const Four scores = four(first);
        const philox_words words = draw_words(b.seed, b.position, b.sample, (uint32_t)first / 4);
        uint32_t passing = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float t = dev::mul(draw_distance(best, scores.z[j]), DRAW_LOG2E);
            const bool runs = dev::bits(t) < 0x42200000u; // 0 <= t < 40
            if (runs && race_measure(t, words.w[j]) <= limit) passing |= 1u << j;
        }
        for (; passing; passing &= passing - 1) {
            const int32_t i = first + dev::ffs(passing) - 1;
            if (i >= V || skip(i)) continue;
            const float distance = draw_distance(best, draw_clean(score(i)));
            const uint64_t entry = race_entry(distance, noise_word(b, i), i);
            if (entry <= leader) continue;
            leader = entry;
            limit = race_limit(leader);
        }
    }
    return leader;
}

// ---- results -----------------------------------------------------------------------------------------------------------

// Loads the job's settings; a row becomes a top_k filter. False: there is nothing to do. Ends with a barrier.
DEV bool begin_job(const sample_args &a, Tools *t, int32_t job) {
    const bool is_row = job >= a.B;
    if (is_row ? a.row_top[job - a.B] < 0 : a.branch[job].row < 0) return false;
    dev::block_sync();
    if (thread() == 0) {
        t->row_top = is_row ? a.row_top[job - a.B] : -1;
        t->top_count = 0;
        if (is_row) {
            t->branch = sample_branch{};
            t->branch.row = job - a.B;
            t->branch.forced = -1;
            t->branch.top_k = t->row_top;
            t->branch.stage_count = t->row_top > 0 ? 1 : 0;
            t->branch.stage[0] = SAMPLE_TOP_K;
        } else {
            t->branch = a.branch[job];
        }
    }
    dev::block_sync();
    return true;
}

// Writes a row's statistics; its survivors are its best tokens (none when tops are not wanted).
template <typename View>
DEV void write_row(const sample_args &a, Tools *t, const View &view, const Sums &sums, float best, int32_t bits) {
    sample_row *out = &a.row[t->branch.row];
    if (t->row_top > 0)
        for (int32_t i = thread(); i < view.n(); i += threads())
            if (draw_key(view.score[i]) > DRAW_KEY_BANNED)
                t->top[dev::atomic_add(&t->top_count, 1u)] = rank_of(draw_key(view.score[i]), view.id(i), bits);
    dev::block_sync();
    const int32_t count = (int32_t)t->top_count, i = thread();
    if (i == 0) {
        out->total = sums.total;
        out->high = sums.high;
        out->low = sums.low;
        out->best = best;
        out->top_count = count;
    }
    if (i < count) {
        const uint64_t rank = t->top[i];
        int32_t place = 0;
        for (int32_t j = 0; j < count; j++) place += t->top[j] > rank;
        out->top_token[place] = (int32_t)(((1u << bits) - 1) - ((uint32_t)rank & ((1u << bits) - 1)));
        out->top_score[place] = draw_unkey((uint32_t)(rank >> bits));
    }
}

struct Outcome {
    int32_t token; // -1: none
    bool nan;
    float best; // the largest final score; -inf: no token is left
    float token_score;
    int32_t greedy_token;
    uint64_t kept_mass, final_mass;
    int32_t kept;
};

DEV void write_branch(const sample_args &a, const Tools *t, int32_t job, const float *row, const Outcome &o) {
    if (thread() != 0) return;
    const sample_branch &b = t->branch;
    a.tokens[job] = o.token;
    a.result[job] = {o.token, (o.nan ? (uint32_t)SAMPLE_NAN : 0u) | (o.token < 0 ? (uint32_t)SAMPLE_EMPTY : 0u)};
    if (!(b.options & SAMPLE_STATISTICS)) return;
    sample_statistics s = {0, 0, o.best, DRAW_NEGATIVE_INFINITY, DRAW_NEGATIVE_INFINITY, 0, -1, DRAW_NEGATIVE_INFINITY};
    if (o.token >= 0) s.token_logit = draw_clean(row[o.token]);
    if (draw_key(o.best) > DRAW_KEY_BANNED) {
        s.kept_mass = o.kept_mass;
        s.final_mass = o.final_mass;
        s.token_score = o.token_score;
        s.kept = b.options & SAMPLE_GREEDY ? 1 : o.kept;
        s.greedy_token = o.greedy_token;
        if (o.greedy_token >= 0) s.greedy_logit = draw_clean(row[o.greedy_token]);
    }
    a.statistics[job] = s;
}

} // namespace sample
} // namespace
