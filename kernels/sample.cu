// sample.cu: draws, from logits [R, V] to tokens [B], with every branch's own settings.
//
// scan   A warp reads 512 ids of a row, 16 lanes 64 of them at a time: the largest clean logit of each 64 as a key, and
//        whether a NaN was among the 512. Also copies fed back tokens out of `tokens`, which the next kernel overwrites.
// draw   A block owns a job. Its candidates are a list in shared memory: all tokens whose score some setting edits, and all
//        other tokens whose logit reaches a bound, that bound being the m-th largest of the row's maxima: little more than
//        m tokens reach it, and only their 64-id blocks are read again. A cut that ends above the bound (scaled) can touch
//        nothing outside. Whole rows are read for masses of top_p and typical_p, for statistics, and for the race when no
//        filter is on. A job that cannot be decided so goes to the list of the rest.
// rest   A block owns a row of scratch and takes jobs in turn: all V scores, every stage over all of them.
//
// SHARED MEMORY. draw: 68 KiB; registers let two blocks on an SM. rest: 4 KiB.
// DETERMINISM. Integer sums, and maxima over distinct numbers: no order shows. Edited tokens and gathered ones land in the
// list in any order; nothing depends on it.
#include "kernels/sample.cuh"

namespace {
using namespace sample;

constexpr int SCAN_THREADS = 256;
constexpr int SCAN_IDS = SCAN_THREADS / 32 * SAMPLE_WARP_IDS; // of a block
constexpr int LIST = 4096;                                    // candidates
constexpr int HASH_BITS = 12, HASH = 1 << HASH_BITS;          // edited tokens: slots
constexpr uint32_t HASH_FILL = HASH * 3 / 4;                  // and how many may be used; THREADS more may slip in
constexpr uint32_t HASH_EMPTY = 0xFFFFFFFFu;
static_assert(HASH_FILL + THREADS < HASH && HASH <= LIST, "the table never fills up, and the list holds all of it");

DEV int32_t parts(int32_t V, int32_t size) {
    return (V + size - 1) / size;
}

// ---- scan --------------------------------------------------------------------------------------------------------------

// Four ids of a row, -inf beyond its end.
DEV Four load4(const float *row, int32_t V, int32_t id, bool aligned) {
    Four four;
    if (aligned && id + 3 < V) {
        const dev::word4 w = dev::ld128(row + id);
        for (int i = 0; i < 4; i++) four.z[i] = dev::from_bits(w.w[i]);
        return four;
    }
    for (int i = 0; i < 4; i++) four.z[i] = id + i < V ? row[id + i] : DRAW_NEGATIVE_INFINITY;
    return four;
}

__global__ void __launch_bounds__(SCAN_THREADS) scan(const sample_args a) {
    dev::pdl_begin();
    const int32_t chunks = parts(a.V, SCAN_IDS), blocks = parts(a.V, SAMPLE_BLOCK), flags = parts(a.V, SAMPLE_WARP_IDS);
    const int32_t lane = thread() % 32, warp = thread() / 32;
    const int64_t first = (int64_t)blockIdx.x * threads() + thread(), step = (int64_t)gridDim.x * threads();
    for (int64_t b = first; b < a.B; b += step) {
        const sample_branch *branch = &a.branch[b];
        if (branch->row < 0 || !(branch->options & SAMPLE_FEEDBACK)) continue;
        a.fed[b] = branch->fed_draw >= 0 ? a.tokens[branch->fed_draw] : branch->fed_token;
    }
    if (first == 0) *a.rest_count = 0;
    const int32_t r = (int32_t)(blockIdx.x / (uint32_t)chunks), chunk = (int32_t)(blockIdx.x % (uint32_t)chunks);
    const int32_t part = chunk * (SCAN_THREADS / 32) + warp; // which 512 ids
    if (a.row_top[r] == SAMPLE_ROW_UNREAD || part >= flags) return;
    const float *row = a.logits + (size_t)r * (size_t)a.V;
    const bool aligned = a.V % 4 == 0;
    Four part4[4];
    for (int i = 0; i < 4; i++) part4[i] = load4(row, a.V, part * SAMPLE_WARP_IDS + i * 128 + lane * 4, aligned);
    bool nan = false;
    for (int i = 0; i < 4; i++) {
        float most = DRAW_NEGATIVE_INFINITY;
        for (int j = 0; j < 4; j++) {
            nan = nan || part4[i].z[j] != part4[i].z[j];
            most = part4[i].z[j] > most ? part4[i].z[j] : most;
        }
        uint32_t key = draw_key(draw_clean(most));
        for (int mask = 8; mask > 0; mask /= 2) {
            const uint32_t other = dev::shfl_xor(key, mask);
            key = other > key ? other : key;
        }
        const int32_t block = part * (SAMPLE_WARP_IDS / SAMPLE_BLOCK) + i * 2 + lane / 16;
        if (lane % 16 == 0 && block < blocks) a.block_max[(size_t)r * (size_t)blocks + (size_t)block] = key;
    }
    const uint32_t any = dev::ballot(nan);
    if (lane == 0) a.nan[(size_t)r * (size_t)flags + (size_t)part] = any != 0;
}

// ---- draw --------------------------------------------------------------------------------------------------------------

// What the scan says about a row.
struct Head {
    uint32_t best, least; // keys of the largest and the smallest of the blocks' maxima
    int32_t block;        // the first with the largest
    bool nan;
};

struct Shared {
    Tools tools;
    const float *row;       // [V]
    const uint32_t *maxima; // [ceil(V / SAMPLE_BLOCK)]
    Head head;
    uint32_t key[HASH], mark[HASH]; // edited tokens
    float score[LIST];
    int32_t id[LIST];
    uint32_t used, overflow;
    int32_t n;
};

// The table of edited tokens.
struct Table {
    Shared *s;
    DEV static uint32_t home(int32_t id) { return (uint32_t)id * 0x9E3779B1u >> (32 - HASH_BITS); }
    // The token's slot; HASH when there are too many tokens.
    DEV uint32_t insert(int32_t id) const {
        if (dev::atomic_or(&s->overflow, 0)) return HASH;
        for (uint32_t slot = home(id);; slot = (slot + 1) % HASH) {
            const uint32_t there = dev::atomic_cas(&s->key[slot], HASH_EMPTY, (uint32_t)id);
            if (there == HASH_EMPTY && dev::atomic_add(&s->used, 1u) >= HASH_FILL) dev::atomic_or(&s->overflow, 1);
            if (there == HASH_EMPTY || there == (uint32_t)id) return slot;
        }
    }
    DEV void set(int32_t id, uint32_t mark) const {
        const uint32_t slot = insert(id);
        if (slot < HASH) dev::atomic_or(&s->mark[slot], mark);
    }
    DEV void count(int32_t id) const {
        const uint32_t slot = insert(id);
        if (slot < HASH) dev::atomic_add(&s->mark[slot], 1u);
    }
    // 0: not edited.
    DEV uint32_t of(int32_t id) const {
        for (uint32_t slot = home(id);; slot = (slot + 1) % HASH) {
            if (s->key[slot] == (uint32_t)id) return s->mark[slot];
            if (s->key[slot] == HASH_EMPTY) return 0;
        }
    }
};

DEV Head read_head(const sample_args &a, Tools *t, int32_t r) {
    const int32_t blocks = parts(a.V, SAMPLE_BLOCK), flags = parts(a.V, SAMPLE_WARP_IDS);
    const uint32_t *maxima = a.block_max + (size_t)r * (size_t)blocks, *nan = a.nan + (size_t)r * (size_t)flags;
    uint64_t value[3] = {0, 0, 0};
    for (int32_t i = thread(); i < blocks; i += threads()) {
        const uint32_t key = maxima[i];
        const uint64_t rank = (uint64_t)key << 32 | (uint32_t) ~(uint32_t)i;
        if (rank > value[0]) value[0] = rank;
        if ((uint32_t)~key > value[1]) value[1] = (uint32_t)~key;
    }
    for (int32_t i = thread(); i < flags; i += threads()) value[2] |= nan[i];
    block_maxima(t, value);
    return {(uint32_t)(value[0] >> 32), ~(uint32_t)value[1], (int32_t) ~(uint32_t)value[0], value[2] != 0};
}

// The first token with the row's largest logit.
DEV int32_t row_argmax(const sample_args &a, Tools *t, const float *row, const Head &head) {
    uint64_t winner[1] = {0};
    for (int32_t i = thread(); i < SAMPLE_BLOCK; i += threads()) {
        const int32_t id = head.block * SAMPLE_BLOCK + i;
        if (id < a.V && draw_key(draw_clean(row[id])) == head.best) winner[0] = (uint32_t) ~(uint32_t)id;
    }
    block_maxima(t, winner);
    return (int32_t) ~(uint32_t)winner[0];
}

struct Maxima {
    const uint32_t *key;
    int32_t count;
    DEV int32_t n() const { return count; }
    DEV uint64_t rank(int32_t i) const { return (uint64_t)key[i] << 32 | (uint32_t) ~(uint32_t)i; }
    DEV uint64_t weight(int32_t) const { return 1; }
};

// A job on its way through the stages, the same in all threads. While `open`, tokens outside the list have their logits'
// scores, at most outside_most() once the list is gathered; later they are gone.
struct Chain {
    float scale; // of the temperature, when that has come
    bool scaled, edited, open;
    int32_t edit_count; // leading candidates: the edited tokens
    uint32_t bound;     // key: unedited tokens whose logit reaches it are in the list
};

DEV float scaled(const Chain &c, float logit) {
    return draw_clean(dev::mul(draw_clean(logit), c.scale));
}

DEV float outside_most(const Chain &c) {
    return scaled(c, draw_unkey(c.bound));
}

// The edited tokens become the list, with the edits of stages before `end`.
DEV void list_edited(Shared *s, Chain &c, int32_t end) {
    const sample_branch &b = s->tools.branch;
    const float *row = s->row;
    dev::block_sync();
    if (thread() == 0) s->n = 0;
    dev::block_sync();
    for (int32_t slot = thread(); c.edited && slot < HASH; slot += threads()) {
        if (s->key[slot] == HASH_EMPTY) continue;
        const int32_t id = (int32_t)s->key[slot], at = dev::atomic_add(&s->n, 1);
        const uint32_t mark = s->mark[slot];
        float score = mark & MARK_SUPPRESSED ? DRAW_NEGATIVE_INFINITY : draw_clean(row[id]);
        for (int32_t i = 0; i < end; i++)
            if (b.stage[i] <= SAMPLE_BIAS) score = edit(b, b.stage[i], mark, id, score);
        s->id[at] = id;
        s->score[at] = scaled(c, score);
    }
    dev::block_sync();
    c.edit_count = s->n;
}

// Appends the unedited tokens of the best blocks, `want` blocks at least. s->n > LIST: too many.
DEV void gather(const sample_args &a, Shared *s, Chain &c, int32_t want) {
    const int32_t blocks = parts(a.V, SAMPLE_BLOCK), lane = thread() % 32, warp = thread() / 32;
    const Table table = {s};
    const float *row = s->row;
    const uint32_t *best = s->maxima;
    c.bound = DRAW_KEY_BANNED + 1; // all that are above -inf
    if (a.V > LIST) {
        const Maxima maxima = {best, blocks};
        const uint64_t low = (uint64_t)s->head.least << 32, high = (uint64_t)s->head.best << 32 | 0xFFFFFFFFu;
        const uint32_t key = (uint32_t)(select_last(&s->tools, maxima, low, high, (uint64_t)want, false) >> 32);
        if (key > c.bound) c.bound = key;
    }
    dev::block_sync();
    if (thread() == 0) s->n = c.edit_count;
    dev::block_sync();
    for (int32_t base = warp * 32; base < blocks; base += threads()) {
        uint32_t chosen = dev::ballot(base + lane < blocks && best[base + lane < blocks ? base + lane : 0] >= c.bound);
        while (chosen) {
            float z[4][2]; // four blocks at a time, so that their loads overlap
            int32_t first[4];
            for (int i = 0; i < 4; i++) {
                first[i] = chosen ? (base + dev::ffs(chosen) - 1) * SAMPLE_BLOCK : a.V;
                chosen &= chosen - 1;
                for (int j = 0; j < 2; j++) {
                    const int32_t id = first[i] + j * 32 + lane;
                    z[i][j] = id < a.V ? draw_clean(row[id]) : DRAW_NEGATIVE_INFINITY;
                }
            }
            for (int i = 0; i < 8; i++) {
                const int32_t id = first[i / 2] + i % 2 * 32 + lane;
                if (draw_key(z[i / 2][i % 2]) < c.bound || (c.edited && table.of(id))) continue;
                const int32_t at = dev::atomic_add(&s->n, 1);
                if (at >= LIST) continue;
                s->id[at] = id;
                s->score[at] = scaled(c, z[i / 2][i % 2]);
            }
        }
    }
    dev::block_sync();
    c.open = c.bound > DRAW_KEY_BANNED + 1;
}

template <bool FINITE> DEV Sums sum_row(const sample_args &a, const Shared *s, const Chain &c, const Measure &m) {
    Sums sums = {0, 0, 0, 0, 0};
    const bool aligned = a.V % 4 == 0;
    const float *row = s->row;
    for (int32_t i = thread(); i < c.edit_count; i += threads()) {
        const float logit = draw_clean(row[s->id[i]]);
        sum_token<false>(sums, m, scaled(c, logit), logit);
    }
    sums = {0 - sums.total, 0 - sums.high, 0 - sums.low, 0 - sums.raw, 0 - sums.kept}; // the row has them once more
    for (int32_t i = thread(); i < c.edit_count; i += threads())
        sum_token<false>(sums, m, s->score[i], draw_clean(row[s->id[i]]));
    for (int32_t id = 4 * thread(); id < a.V; id += 4 * threads()) {
        const Four four = load4(row, a.V, id, aligned);
        for (int j = 0; j < 4; j++) {
            const float logit = FINITE ? four.z[j] : draw_clean(four.z[j]);
            sum_token<FINITE>(sums, m, FINITE ? dev::mul(logit, c.scale) : scaled(c, logit), logit);
        }
    }
    return sums;
}

// Sums over all tokens while the chain is open: those of the row, without the edited ones, and these with their new scores.
// An old score above the best is an edited token's; it is left out on both sides.
DEV Sums sum_open(const sample_args &a, Shared *s, const Chain &c, const Measure &m) {
    Sums sums = is_finite(m) ? sum_row<true>(a, s, c, m) : sum_row<false>(a, s, c, m);
    sum_block(&s->tools, sums, m.kinds);
    return sums;
}

// How many blocks of 64 the list is to come from; 0: no list will do.
DEV int32_t wanted_blocks(const sample_branch &b, int32_t stage, int32_t blocks, int attempt) {
    const int32_t most = blocks * 3 / 4;
    if (attempt > 0) return most;
    if (stage != SAMPLE_TOP_K) {
        const int32_t usual = stage == SAMPLE_STAGES ? 64 : 256;
        return usual < blocks / 2 ? usual : blocks / 2;
    }
    if (b.top_k > most) return 0;
    const int32_t usual = b.top_k + b.top_k / 4 + 64;
    return usual < most ? usual : most;
}

// One filter, or (stage SAMPLE_STAGES) the best of edited scores, while the chain is open. False: a list cannot tell.
DEV bool decide(const sample_args &a, Shared *s, Chain &c, int32_t stage) {
    const sample_branch &b = s->tools.branch;
    for (int attempt = 0; attempt < 2; attempt++) {
        const int32_t want = a.V > LIST ? wanted_blocks(b, stage, parts(a.V, SAMPLE_BLOCK), attempt) : 1;
        if (want == 0) return false;
        gather(a, s, c, want);
        if (s->n > LIST) return false;
        const List list = {s->score, s->id, s->n};
        const Summary summary = summarize(&s->tools, list);
        if (c.open && !(summary.best >= outside_most(c))) continue;
        if (stage == SAMPLE_STAGES) return true;
        Outside outside = {c.open, outside_most(c), 0.0f, 0};
        if (c.open && (stage == SAMPLE_TOP_P || stage == SAMPLE_TYPICAL_P)) {
            const Sums all = sum_open(a, s, c, {summary.best, 0.0f, stage == SAMPLE_TYPICAL_P ? SUM_MOMENTS : 0});
            outside.total = all.total;
            if (stage == SAMPLE_TYPICAL_P) outside.mean = mean_distance(all);
        }
        if (!filter(&s->tools, list, stage, summary, outside, id_bits(a.V))) continue;
        c.open = false;
        return true;
    }
    return false;
}

// The stage of temperature, after `end` others, while the chain is open: sets its scale. The entropy needs the best score;
// finding it may close the chain, and then nothing is scaled. False: a list cannot tell.
DEV bool scale_open(const sample_args &a, Shared *s, Chain &c, int32_t end) {
    const sample_branch &b = s->tools.branch;
    c.scale = b.inv_temperature;
    if (b.options & SAMPLE_DYNATEMP) {
        const float row_best = draw_unkey(s->head.best);
        float best = row_best;
        c.scale = 1.0f;
        if (c.edited) {
            list_edited(s, c, end);
            if (!decide(a, s, c, SAMPLE_STAGES)) return false;
            if (!c.open) return true;
            best = summarize(&s->tools, List{s->score, s->id, s->n}).best;
        }
        // RAW counts, too; an edited token's logit may be above the best score, but not above the row's.
        const Sums sums = sum_open(a, s, c, {best, row_best, SUM_MOMENTS | SUM_RAW});
        c.scale = dynatemp(b, sums, sums.kept);
    }
    c.scaled = true;
    return true;
}

// The stages. False: the job is one for the last kernel.
DEV bool run_stages(const sample_args &a, Shared *s, Chain &c) {
    const sample_branch &b = s->tools.branch;
    const Table table = {s};
    bool listed = false; // the list holds the edited tokens
    for (int32_t i = 0; i <= b.stage_count; i++) {
        const int32_t stage = i < b.stage_count ? b.stage[i] : (int32_t)SAMPLE_STAGES;
        const bool edits = stage <= SAMPLE_BIAS;
        if (stage == SAMPLE_STAGES && (!c.open || !c.edited)) break;
        if (edits && c.open) {
            if (c.scaled) return false;
            continue;
        }
        if (stage == SAMPLE_TEMPERATURE && c.open) {
            if (!scale_open(a, s, c, i)) return false;
            listed = !c.open; // while it is open, scores before the scale are of no more use
            if (c.open) continue;
        }
        if (c.open) {
            if (!listed) list_edited(s, c, i);
            listed = true;
            if (!decide(a, s, c, stage)) return false;
            dev::block_sync();
            continue;
        }
        const List list = {s->score, s->id, s->n};
        if (edits) {
            edit_candidates(b, stage, list, table);
        } else if (stage == SAMPLE_TEMPERATURE) {
            scale_candidates(&s->tools, list);
        } else {
            filter(&s->tools, list, stage, summarize(&s->tools, list), {false, 0.0f, 0.0f, 0}, id_bits(a.V));
        }
        dev::block_sync();
    }
    if (!listed && thread() == 0) s->n = 0;
    dev::block_sync();
    return true;
}

// A token's final score.
DEV float token_score(Shared *s, const Chain &c, int32_t token) {
    const Table table = {s};
    dev::block_sync();
    if (thread() == 0)
        s->tools.token_score =
            c.open && !(c.edited && table.of(token)) ? scaled(c, s->row[token]) : DRAW_NEGATIVE_INFINITY;
    dev::block_sync();
    for (int32_t i = thread(); i < s->n; i += threads())
        if (s->id[i] == token) s->tools.token_score = s->score[i];
    dev::block_sync();
    return s->tools.token_score;
}

DEV void finish_row(const sample_args &a, Shared *s, const Chain &c) {
    const float best = draw_unkey(s->head.best);
    Sums sums = {0, 0, 0, 0, 0};
    if (s->head.best > DRAW_KEY_BANNED) sums = sum_open(a, s, c, {best, best, SUM_MOMENTS});
    write_row(a, &s->tools, List{s->score, s->id, s->n}, sums, best, id_bits(a.V));
}

DEV uint64_t race_open(const sample_args &a, Shared *s, const Chain &c, float best, int32_t argmax) {
    const sample_branch &b = s->tools.branch;
    const Table table = {s};
    const List list = {s->score, s->id, s->n};
    uint64_t leader[1] = {race(b, list, best)};
    if (!c.edited) leader[0] = race_entry(0.0f, noise_word(b, argmax), argmax);
    block_maxima(&s->tools, leader);
    const bool aligned = a.V % 4 == 0;
    const float *row = s->row;
    const auto scores = [&a, &c, row, aligned](int32_t id) {
        Four four = load4(row, a.V, id, aligned);
        for (int i = 0; i < 4; i++) four.z[i] = dev::mul(four.z[i], c.scale);
        return four;
    };
    const auto score = [&c, row](int32_t id) { return dev::mul(row[id], c.scale); };
    const auto in_list = [&c, &table, row](int32_t id) {
        return c.edited && (draw_key(draw_clean(row[id])) >= c.bound || table.of(id));
    };
    return race_all(b, a.V, best, leader[0], scores, score, in_list);
}

DEV void finish_branch(const sample_args &a, Shared *s, const Chain &c, int32_t job) {
    Tools *t = &s->tools;
    const sample_branch &b = t->branch;
    const List list = {s->score, s->id, s->n};
    const bool greedy = b.options & SAMPLE_GREEDY, whole = c.open && !c.edited;
    Outcome o = {b.forced, s->head.nan, 0.0f, DRAW_NEGATIVE_INFINITY, -1, 0, 0, 0};
    o.best = whole ? scaled(c, draw_unkey(s->head.best)) : summarize(t, list).best;
    const bool alive = draw_key(o.best) > DRAW_KEY_BANNED;
    const int32_t argmax = whole && alive ? row_argmax(a, t, s->row, s->head) : -1;
    uint64_t winner[1] = {0};
    if (alive && greedy) {
        for (int32_t i = thread(); !whole && i < list.n(); i += threads()) {
            const uint64_t entry = (uint32_t) ~(uint32_t)list.ids[i];
            if (list.score[i] == o.best && entry > winner[0]) winner[0] = entry;
        }
        if (whole) winner[0] = (uint32_t) ~(uint32_t)argmax;
        block_maxima(t, winner);
        o.greedy_token = race_winner(winner[0]);
        if (o.token < 0) o.token = o.greedy_token;
    } else if (alive && o.token < 0) {
        winner[0] = c.open ? race_open(a, s, c, o.best, argmax) : race(b, list, o.best);
        block_maxima(t, winner);
        o.token = race_winner(winner[0]);
    }
    if (alive && !greedy && (b.options & SAMPLE_STATISTICS)) {
        const Measure m = {o.best, draw_unkey(s->head.best), SUM_RAW};
        const Sums sums = c.open ? sum_open(a, s, c, m) : sum_candidates(t, list, m, s->row);
        o.kept_mass = sums.raw;
        o.final_mass = sums.total;
        o.kept = (int32_t)sums.kept;
        o.token_score = token_score(s, c, o.token);
    }
    write_branch(a, t, job, s->row, o);
}

__global__ void __launch_bounds__(THREADS, 2) draw(const sample_args a) {
    dev::pdl_begin();
    SHARED_DYN(Shared, s);
    const int32_t job = (int32_t)blockIdx.x;
    if (!begin_job(a, &s->tools, job)) return;
    const sample_branch &b = s->tools.branch;
    const int32_t blocks = parts(a.V, SAMPLE_BLOCK);
    Chain c = {};
    const Head head = read_head(a, &s->tools, b.row);
    if (thread() == 0) {
        s->row = a.logits + (size_t)b.row * (size_t)a.V;
        s->maxima = a.block_max + (size_t)b.row * (size_t)blocks;
        s->head = head;
    }
    dev::block_sync();
    c.scale = 1.0f;
    c.open = true;
    c.edited = b.options & SAMPLE_EDITS;
    if (b.forced >= 0 && !(b.options & SAMPLE_STATISTICS)) {
        write_branch(a, &s->tools, job, s->row, {b.forced, s->head.nan, 0.0f, 0.0f, -1, 0, 0, 0});
        return;
    }
    if (c.edited) {
        for (int32_t i = thread(); i < HASH; i += threads()) s->key[i] = HASH_EMPTY, s->mark[i] = 0;
        if (thread() == 0) s->used = s->overflow = 0;
        dev::block_sync();
        mark_edits(b, a.V, b.options & SAMPLE_FEEDBACK ? a.fed[job] : -1, Table{s});
    }
    const bool decided = !(c.edited && s->overflow) && run_stages(a, s, c);
    if (!decided) {
        if (thread() == 0) a.rest[dev::atomic_add(a.rest_count, 1u)] = job;
    } else if (s->tools.row_top >= 0) {
        finish_row(a, s, c);
    } else {
        finish_branch(a, s, c, job);
    }
}

// ---- rest --------------------------------------------------------------------------------------------------------------

struct Row {
    uint32_t *mark; // [V]
    DEV void set(int32_t id, uint32_t bit) const { dev::atomic_or(&mark[id], bit); }
    DEV void count(int32_t id) const { dev::atomic_add(&mark[id], 1u); }
    DEV uint32_t of(int32_t id) const { return mark[id]; }
};

DEV void run_dense(const sample_args &a, Tools *t, int32_t job, const Dense &all, const Row &marks) {
    const sample_branch &b = t->branch;
    const float *row = a.logits + (size_t)b.row * (size_t)a.V;
    const Head head = read_head(a, t, b.row);
    const int32_t bits = id_bits(a.V);
    const float row_best = draw_unkey(head.best);
    const bool edited = b.options & SAMPLE_EDITS, greedy = b.options & SAMPLE_GREEDY;
    for (int32_t i = thread(); i < a.V; i += threads()) all.score[i] = draw_clean(row[i]);
    if (edited) mark_edits(b, a.V, b.options & SAMPLE_FEEDBACK ? a.fed[job] : -1, marks);
    for (int32_t i = thread(); edited && i < a.V; i += threads())
        if (marks.of(i) & MARK_SUPPRESSED) all.score[i] = DRAW_NEGATIVE_INFINITY;
    Sums row_sums = {0, 0, 0, 0, 0};
    if (t->row_top >= 0 && head.best > DRAW_KEY_BANNED)
        row_sums = sum_candidates(t, all, {row_best, row_best, SUM_MOMENTS}, row);
    for (int32_t i = 0; i < b.stage_count; i++) {
        const int32_t stage = b.stage[i];
        if (stage <= SAMPLE_BIAS) {
            edit_candidates(b, stage, all, marks);
        } else if (stage == SAMPLE_TEMPERATURE) {
            scale_candidates(t, all);
        } else {
            filter(t, all, stage, summarize(t, all), {false, 0.0f, 0.0f, 0}, bits);
        }
    }
    dev::block_sync();
    for (int32_t i = thread(); edited && i < a.V; i += threads()) marks.mark[i] = 0;
    if (t->row_top >= 0) {
        write_row(a, t, all, row_sums, row_best, bits);
        return;
    }
    Outcome o = {b.forced, head.nan, summarize(t, all).best, DRAW_NEGATIVE_INFINITY, -1, 0, 0, 0};
    uint64_t winner[1] = {0};
    if (draw_key(o.best) > DRAW_KEY_BANNED) {
        if (greedy) {
            for (int32_t i = thread(); i < a.V && winner[0] == 0; i += threads())
                if (all.score[i] == o.best) winner[0] = (uint32_t) ~(uint32_t)i;
        } else if (o.token < 0) {
            const auto scores = [&a, &all](int32_t id) { return load4(all.score, a.V, id, a.V % 4 == 0); };
            const auto score = [&all](int32_t id) { return all.score[id]; };
            winner[0] = race_all(b, a.V, o.best, 0, scores, score, [](int32_t) { return false; });
        }
        block_maxima(t, winner);
        if (greedy) o.greedy_token = race_winner(winner[0]);
        if (o.token < 0) o.token = race_winner(winner[0]);
        if (!greedy && (b.options & SAMPLE_STATISTICS)) {
            const Sums sums = sum_candidates(t, all, {o.best, row_best, SUM_RAW}, row);
            o.kept_mass = sums.raw;
            o.final_mass = sums.total;
            o.kept = (int32_t)sums.kept;
            o.token_score = all.score[o.token];
        }
    }
    write_branch(a, t, job, row, o);
}

__global__ void __launch_bounds__(THREADS, 2) rest(const sample_args a) {
    dev::pdl_begin();
    SHARED(Tools, tools, [1]);
    const int32_t count = (int32_t)*a.rest_count, step = (int32_t)gridDim.x;
    const size_t offset = (size_t)blockIdx.x * (size_t)a.V;
    for (int32_t i = (int32_t)blockIdx.x; i < count; i += step) {
        const int32_t job = a.rest[i];
        begin_job(a, tools, job);
        run_dense(a, tools, job, {a.scratch + offset, a.V}, {a.mark + offset});
        dev::block_sync();
    }
}

} // namespace

extern "C" cudaError_t sample_launch(const struct sample_args *args, cudaStream_t stream) {
    const int32_t block = args->V <= 2048 ? 128 : THREADS, jobs = args->B + args->R;
    const int32_t chunks = (args->V + SCAN_IDS - 1) / SCAN_IDS;
    const int32_t rest_blocks = args->scratch_rows < jobs ? args->scratch_rows : jobs;
    cudaError_t error = LAUNCH(scan, dim3((unsigned)(args->R * chunks)), dim3(SCAN_THREADS), 0, stream, *args);
    if (error == cudaSuccess)
        error = LAUNCH(draw, dim3((unsigned)jobs), dim3((unsigned)block), sizeof(Shared), stream, *args);
    if (error == cudaSuccess)
        error = LAUNCH(rest, dim3((unsigned)rest_blocks), dim3((unsigned)block), 0, stream, *args);
    return error;
}
