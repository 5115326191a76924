/* sampler_simd.h: the sampler's loops over vectors, included by the file of each instruction set, which defines the
 * vector types, their operations, SIMD (the target), WIDTH, KERNELS and KERNELS_NAME. Formulas are draw_math.h's,
 * operation by operation, so the bits are those of sampler_portable.c. */

/* ---- reading candidates --------------------------------------------------------------------------------------- */

/* The next `left` values, at most WIDTH; lanes beyond are `rest`, and are not stored. */
OP vf load_values(const float *p, int32_t left, float rest) {
    return left >= WIDTH ? vf_load(p) : vf_load_part(p, left, rest);
}
OP void store_values(float *p, vf x, int32_t left) {
    if (left >= WIDTH) {
        vf_store(p, x);
    } else {
        vf_store_part(p, x, left);
    }
}

/* Scores i … i + WIDTH - 1, -inf beyond the end. */
OP vf load_scores(const struct scores *s, int32_t i) {
    vf z = load_values(s->z + i, s->n - i, -INFINITY);
    return vf_add(vf_mul(z, vf_set(s->scale)), vf_set(0.0f));
}
OP vi load_ids(const struct scores *s, int32_t i) {
    if (!s->id) return vi_add(vi_set(i), vi_ascending());
    return s->n - i >= WIDTH ? vi_load(s->id + i) : vi_load_part(s->id + i, s->n - i);
}
OP vm lanes_within(int32_t left) {
    return vi_at_most(vi_ascending(), vi_set(left - 1));
}

OP vf clean_values(vf x) {
    return vf_choose(vf_is_nan(x), vf_set(-INFINITY), vf_add(x, vf_set(0.0f)));
}

/* ---- weights -------------------------------------------------------------------------------------------------- */

struct weights {
    vi even, odd; /* uint64, of the even and of the odd lanes */
};

/* draw_weight, mantissa << 10 >> n + 1 as mantissa << 32 >> n + 23: both halves of a uint64 need no widening then. From
 * t = 40 on the shift is 63 or more and leaves nothing of 2^31 2^32; infinite and huge t convert to INT32_MIN, whose
 * shift of 2^31 + 23 leaves nothing either. */
OP struct weights weigh_distances(vf d) {
    vf t = vf_mul(d, vf_set(DRAW_LOG2E));
    vi n = vf_truncate(t);
    vf g = vf_sub(vf_set(1.0f), vf_sub(t, vi_float(n)));
    vf q = vf_fma(vf_set(DRAW_EXP2_C5), g, vf_set(DRAW_EXP2_C4));
    q = vf_fma(q, g, vf_set(DRAW_EXP2_C3));
    q = vf_fma(q, g, vf_set(DRAW_EXP2_C2));
    q = vf_fma(q, g, vf_set(DRAW_EXP2_C1));
    q = vf_fma(q, g, vf_set(DRAW_EXP2_C0));
    vi mantissa = vf_truncate(vf_mul(q, vf_set(0x1p30f)));
    vi shift = vi_add(n, vi_set(23));
    return (struct weights){
        vi_right64_each(vi_left64(mantissa, 32), vi_and(shift, vi_set64(UINT32_MAX))),
        vi_right64_each(vi_and(mantissa, vi_set64((uint64_t)UINT32_MAX << 32)), vi_right64(shift, 32)),
    };
}

/* Weights of candidates i …, of those in m alone. */
OP struct weights weigh_chosen(vm m, vf best, vf score) {
    return weigh_distances(vf_choose(m, vf_sub(best, score), vf_set(INFINITY)));
}

struct weight_sums {
    vi even, odd;
};
OP void add_weights(struct weight_sums *sum, struct weights w) {
    sum->even = vi_add64(sum->even, w.even);
    sum->odd = vi_add64(sum->odd, w.odd);
}
OP uint64_t sum_weights(const struct weight_sums *sum) {
    return vi_sum64(vi_add64(sum->even, sum->odd));
}

SIMD static void mass(const struct scores *s, float best, struct mass *out) {
    struct weight_sums sum = {vi_set(0), vi_set(0)};
    for (int32_t i = 0; i < s->n; i += WIDTH)
        add_weights(&sum, weigh_distances(vf_sub(vf_set(best), load_scores(s, i))));
    *out = (struct mass){.total = sum_weights(&sum)};
}

struct moment_sums {
    vi total, high, low;
};
OP void add_part(struct moment_sums *sum, vi weight, vi fixed) {
    sum->total = vi_add64(sum->total, weight);
    sum->high = vi_add64(sum->high, vi_product(vi_right64(weight, 16), fixed));
    sum->low = vi_add64(sum->low, vi_product(vi_and(weight, vi_set64(0xFFFF)), fixed));
}
OP void add_moments(struct moment_sums *sum, struct weights w, vi fixed) {
    add_part(sum, w.even, fixed); /* products see the even lanes */
    add_part(sum, w.odd, vi_high(fixed));
}

SIMD static void moments(const struct scores *s, float best, struct mass *out) {
    struct moment_sums sum = {vi_set(0), vi_set(0), vi_set(0)};
    for (int32_t i = 0; i < s->n; i += WIDTH) {
        vf d = vf_sub(vf_set(best), load_scores(s, i));
        vi fixed = vf_truncate(vf_mul(d, vf_set(0x1p19f))); /* anything where the weight is 0 */
        add_moments(&sum, weigh_distances(d), fixed);
    }
    *out = (struct mass){vi_sum64(sum.total), vi_sum64(sum.high), vi_sum64(sum.low)};
}

SIMD static void block_moments(const struct scores *weigh, float best, const struct scores *measure, float measure_best,
                               float unit, struct mass *blocks) {
    for (int32_t start = 0; start < weigh->n; start += SCAN_BLOCK) {
        struct moment_sums sum = {vi_set(0), vi_set(0), vi_set(0)};
        for (int32_t i = start; i < start + SCAN_BLOCK && i < weigh->n; i += WIDTH) {
            vf d = vf_sub(vf_set(best), load_scores(weigh, i));
            struct weights w = weigh_distances(d);
            if (measure != weigh) d = vf_sub(vf_set(measure_best), load_scores(measure, i));
            add_moments(&sum, w, vf_truncate(vf_add(vf_mul(d, vf_set(unit)), vf_set(0.5f))));
        }
        blocks[start / SCAN_BLOCK] = (struct mass){vi_sum64(sum.total), vi_sum64(sum.high), vi_sum64(sum.low)};
    }
}

/* Of one vector: lane i has [i & 1][i >> 1]. */
typedef uint64_t lane_weights[2][WIDTH / 2];
OP void store_weights(lane_weights to, struct weights w) {
    vi_store(to[0], w.even);
    vi_store(to[1], w.odd);
}

SIMD static void weights(const struct scores *s, float best, uint64_t *weight) {
    for (int32_t i = 0; i < s->n; i += WIDTH) {
        lane_weights part;
        store_weights(part, weigh_distances(vf_sub(vf_set(best), load_scores(s, i))));
        for (int32_t j = 0; j < WIDTH && i + j < s->n; j++) weight[i + j] = part[j & 1][j >> 1];
    }
}

SIMD static void typicality(float *out, const struct scores *s, float best, float mean) {
    for (int32_t i = 0; i < s->n; i += WIDTH) {
        vf d = vf_sub(vf_set(best), load_scores(s, i));
        vf t = vf_sub(vf_set(0.0f), vf_abs(vf_sub(d, vf_set(mean))));
        store_values(out + i, t, s->n - i);
    }
}

/* ---- one pass over a row -------------------------------------------------------------------------------------- */

SIMD static void scan(const float *z, int32_t n, float *block_max, struct scan *out) {
    *out = (struct scan){.max = -INFINITY};
    for (int32_t start = 0; start < n; start += SCAN_BLOCK) {
        int32_t count = n - start < SCAN_BLOCK ? n - start : SCAN_BLOCK;
        float max;
        vf most = vf_set(-INFINITY);
        uint32_t special = count < SCAN_BLOCK;
        if (count == SCAN_BLOCK) {
            vm rare = vf_special(vf_load(z + start));
            for (int32_t i = start; i < start + SCAN_BLOCK; i += WIDTH) {
                vf x = vf_load(z + i);
                rare = vm_or(rare, vf_special(x));
                most = vf_max(x, most);
            }
            special = vm_bits(rare);
        }
        if (special) {
            max = scan_part(z + start, count, out);
        } else {
            max = vf_largest(most);
            out->finite += count;
        }
        if (block_max) block_max[start / SCAN_BLOCK] = max;
        if (max > out->max) out->max = max;
    }
}

SIMD static void clean(float *out, const float *z, int32_t n, float scale) {
    for (int32_t i = 0; i < n; i += WIDTH) {
        vf x = vf_mul(load_values(z + i, n - i, 0.0f), vf_set(scale));
        store_values(out + i, clean_values(x), n - i);
    }
}

SIMD static int32_t find(const struct scores *s, float value) {
    for (int32_t i = 0; i < s->n; i += WIDTH) {
        vm same = vf_equal(load_scores(s, i), vf_set(value));
        uint32_t bits = vm_bits(vm_and(same, lanes_within(s->n - i)));
        if (bits) return i + __builtin_ctz(bits);
    }
    return -1;
}

/* ---- selection ------------------------------------------------------------------------------------------------ */

/* draw_key: the sign bit decides between flipping all bits and flipping itself. */
OP vi keys_of(vf score) {
    vi u = vf_bits(score);
    vi flip = vi_sign(u); /* all ones when negative */
    return vi_xor3(u, flip, vi_and(vi_xor(flip, vi_set(-1)), vi_set(INT32_MIN)));
}

/* Two histograms take turns: neighbours often fall into one digit, and an addition to memory waits for the last one to
 * the same place. */
SIMD static void histogram(const struct scores *order, const struct scores *weigh, float best, uint64_t *even) {
    uint64_t odd[DIGIT_COUNT];
    lane_weights weight;
    uint32_t digit[WIDTH];
    memset(even, 0, sizeof odd);
    memset(odd, 0, sizeof odd);
    for (int i = 0; i < WIDTH; i++) weight[i & 1][i >> 1] = 1;
    for (int32_t i = 0; i < order->n; i += WIDTH) {
        vi_store(digit, vi_right(keys_of(load_scores(order, i)), DIGIT_SHIFT));
        if (weigh) store_weights(weight, weigh_distances(vf_sub(vf_set(best), load_scores(weigh, i))));
        if (order->n - i >= WIDTH) {
            for (int32_t j = 0; j < WIDTH / 2; j++) {
                even[digit[2 * j]] += weight[0][j];
                odd[digit[2 * j + 1]] += weight[1][j];
            }
        } else {
            for (int32_t j = 0; j < order->n - i; j++) even[digit[j]] += weight[j & 1][j >> 1];
        }
    }
    for (int32_t i = 0; i < DIGIT_COUNT; i++) even[i] += odd[i];
}

SIMD static int32_t collect(const struct scores *order, float low, float high, int32_t *index) {
    int32_t count = 0;
    for (int32_t i = 0; i < order->n; i += WIDTH) {
        vf x = load_scores(order, i);
        vm in = vm_and(vf_at_least(x, vf_set(low)), vf_at_least(vf_set(high), x));
        if (order->n - i < WIDTH) in = vm_and(in, lanes_within(order->n - i));
        vi_pack(index + count, in, vi_add(vi_set(i), vi_ascending())); /* no branch: which vectors hit is random */
        count += __builtin_popcount(vm_bits(in));
    }
    return count;
}

SIMD static struct split split(const struct scores *order, const struct scores *weigh, float best, float low,
                               float high, int32_t *index) {
    struct weight_sums sum = {vi_set(0), vi_set(0)};
    int32_t above = 0, within = 0;
    for (int32_t i = 0; i < order->n; i += WIDTH) {
        vf x = load_scores(order, i);
        vm over = vf_greater(x, vf_set(high));
        vm in = vm_and(vf_at_least(x, vf_set(low)), vf_at_least(vf_set(high), x));
        if (order->n - i < WIDTH) in = vm_and(in, lanes_within(order->n - i));
        vi_pack(index + within, in, vi_add(vi_set(i), vi_ascending()));
        within += __builtin_popcount(vm_bits(in));
        uint32_t bits = vm_bits(over);
        if (bits == 0) continue;
        above += __builtin_popcount(bits);
        if (weigh) add_weights(&sum, weigh_chosen(over, vf_set(best), weigh == order ? x : load_scores(weigh, i)));
    }
    return (struct split){weigh ? sum_weights(&sum) : (uint64_t)above, above, within};
}

/* Scores of candidates index[j] …, or j … when index is NULL; lanes from n on are junk. */
OP vf pick_scores(const struct scores *s, const int32_t *index, int32_t j, int32_t n) {
    if (!index) return load_scores(s, j);
    vi at = n - j >= WIDTH ? vi_load(index + j) : vi_load_part(index + j, n - j);
    return vf_add(vf_mul(vf_gather(s->z, at), vf_set(s->scale)), vf_set(0.0f));
}

SIMD static uint64_t entries(struct entry *out, const struct scores *order, const struct scores *weigh, float best,
                             const int32_t *index, int32_t n) {
    lane_weights weight;
    uint64_t total = 0;
    uint32_t key[WIDTH];
    for (int i = 0; i < WIDTH; i++) weight[i & 1][i >> 1] = 1;
    for (int32_t j = 0; j < n; j += WIDTH) {
        vi_store(key, keys_of(pick_scores(order, index, j, n)));
        if (weigh) store_weights(weight, weigh_distances(vf_sub(vf_set(best), pick_scores(weigh, index, j, n))));
        for (int32_t k = 0; k < WIDTH && j + k < n; k++) {
            int32_t id = id_at(order, index ? index[j + k] : j + k);
            out[j + k] = (struct entry){(uint64_t)key[k] << 32 | ~(uint32_t)id, weight[k & 1][k >> 1]};
            total += weight[k & 1][k >> 1];
        }
    }
    return total;
}

/* What a cut at a rank asks of a candidate. */
struct least_rank {
    vf score;
    vi most_id;
};
OP struct least_rank least_rank_of(uint64_t last) {
    uint32_t id = ~(uint32_t)last;
    return (struct least_rank){vf_set(draw_unkey((uint32_t)(last >> 32)) + 0.0f),
                               vi_set(id > INT32_MAX ? INT32_MAX : (int32_t)id)};
}
OP vm reach(const struct least_rank *least, vf score, vi id) {
    vm tied = vm_and(vf_equal(score, least->score), vi_at_most(id, least->most_id));
    return vm_or(vf_greater(score, least->score), tied);
}

SIMD static int32_t keep(const struct scores *order, const struct scores *s, uint64_t last, float *z, int32_t *id) {
    const struct least_rank least = least_rank_of(last);
    int32_t count = 0;
    for (int32_t i = 0; i < s->n; i += WIDTH) {
        vi ids = load_ids(s, i);
        vm in = reach(&least, load_scores(order, i), ids);
        if (s->n - i < WIDTH) in = vm_and(in, lanes_within(s->n - i));
        uint32_t bits = vm_bits(in);
        if (bits == 0) continue;
        vf kept = load_scores(s, i);
        vf_pack(z + count, in, kept);
        vi_pack(id + count, in, ids);
        count += __builtin_popcount(bits);
    }
    return count;
}

SIMD static struct survey survey(const struct scores *order, uint64_t last, const struct scores *s, float best,
                                 const float *row, float row_best) {
    const struct least_rank least = least_rank_of(last);
    struct weight_sums sum = {vi_set(0), vi_set(0)}, raw_sum = sum;
    bool same = s->z == row && s->scale == 1.0f && best == row_best;
    int32_t kept = 0;
    for (int32_t i = 0; i < s->n; i += WIDTH) {
        vi ids = load_ids(s, i);
        vf x = load_scores(s, i);
        vm in = vm_and(reach(&least, load_scores(order, i), ids), vf_greater(x, vf_set(-INFINITY)));
        uint32_t bits = vm_bits(in);
        if (bits == 0) continue;
        kept += __builtin_popcount(bits);
        add_weights(&sum, weigh_chosen(in, vf_set(best), x));
        if (same) continue;
        vf raw = s->id ? vf_gather(row, ids) : load_values(row + i, s->n - i, 0.0f);
        add_weights(&raw_sum, weigh_chosen(in, vf_set(row_best), clean_values(raw)));
    }
    uint64_t weight = sum_weights(&sum);
    return (struct survey){kept, weight, same ? weight : sum_weights(&raw_sum)};
}

/* ---- the race ------------------------------------------------------------------------------------------------- */

/* A batch is two vectors of Philox blocks, hence BATCH words: WIDTH blocks of four. */
enum { BATCH = 4 * WIDTH };

struct philox_keys {
    vi k0[10], k1[10];
    vi c1, c2, c3;
};
OP void philox_prepare(struct philox_keys *keys, const struct noise *noise) {
    uint32_t k0 = (uint32_t)noise->seed, k1 = (uint32_t)(noise->seed >> 32);
    for (int round = 0; round < 10; round++) {
        keys->k0[round] = vi_set64(k0);
        keys->k1[round] = vi_set64(k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    keys->c1 = vi_set64((uint32_t)noise->position);
    keys->c2 = vi_set64((uint32_t)noise->sample);
    keys->c3 = vi_set64(DRAW_PURPOSE_TOKEN);
}

/* The four counter words of WIDTH / 2 Philox calls, each in the lower half of a uint64; the upper halves are junk, which
 * products do not see. */
struct counters {
    vi c0, c1, c2, c3;
};
OP void philox_round(struct counters *c, vi k0, vi k1) {
    vi p0 = vi_product(c->c0, vi_set64(0xD2511F53u));
    vi p1 = vi_product(c->c2, vi_set64(0xCD9E8D57u));
    c->c0 = vi_xor3(vi_high(p1), c->c1, k0);
    c->c2 = vi_xor3(vi_high(p0), c->c3, k1);
    c->c1 = p1;
    c->c3 = p0;
}
OP void store_words(uint32_t *words, const struct counters *c) {
    vi first = vi_pair(c->c0, c->c1), second = vi_pair(c->c2, c->c3);
    vi_store(words, vi_unpack_low(first, second));
    vi_store(words + WIDTH, vi_unpack_high(first, second));
}

/* Words of the blocks in a and b (in the lanes that lane_of_block says), four to a block. */
OP void philox_batch(uint32_t *words, const struct philox_keys *keys, vi a, vi b) {
    struct counters first = {a, keys->c1, keys->c2, keys->c3}, second = {b, keys->c1, keys->c2, keys->c3};
    for (int round = 0; round < 10; round++) {
        philox_round(&first, keys->k0[round], keys->k1[round]);
        philox_round(&second, keys->k0[round], keys->k1[round]);
    }
    store_words(words, &first);
    store_words(words + 2 * WIDTH, &second);
}

/* Those who run: candidates of s that reach a rank by order's scores. */
struct field {
    struct scores order, s;
    uint64_t last;
    float best;
};

/* Enters the candidates i … of one vector that the bound does not rule out. Who was cut is seen here: few come so far. */
OP void race_vector(struct race_leader *leader, const struct field *f, int32_t i, vf t, vi word) {
    vf measure = vf_add(t, vf_mul(vi_float(vf_bits(vi_float(vi_right(word, 1)))), vf_set(0x1p-23f)));
    uint32_t bits = vm_bits(vf_at_least(vf_set(leader->limit), measure));
    if (bits == 0) return;
    uint32_t words[WIDTH];
    vi_store(words, word);
    for (; bits; bits &= bits - 1) {
        int lane = __builtin_ctz(bits);
        int32_t id = id_at(&f->s, i + lane);
        if (draw_rank(score_at(&f->order, i + lane), id) < f->last) continue;
        race_enter(leader, f->best - score_at(&f->s, i + lane), words[lane], id);
    }
}

OP vf log2_distances(const struct field *f, int32_t i) {
    return vf_mul(vf_sub(vf_set(f->best), load_scores(&f->s, i)), vf_set(DRAW_LOG2E));
}

/* The measure of the smallest word is t itself plus what no word is below: v >= 2^-33. */
static inline float hopeless_distance(const struct race_leader *leader) {
    return leader->limit - RACE_BIAS + 33.1f;
}

/* Candidate i is token i: its word is word i. */
OP void race_row(struct race_leader *leader, const struct field *f, const struct philox_keys *keys) {
    uint32_t words[BATCH];
    const int32_t n = f->s.n;
    for (int32_t i = 0; i < n; i += BATCH) {
        vf t[4], least = vf_set(INFINITY);
        for (int32_t j = 0; j < 4; j++) {
            t[j] = i + j * WIDTH < n ? log2_distances(f, i + j * WIDTH) : vf_set(INFINITY);
            least = vf_min(least, t[j]);
        }
        if (vm_bits(vf_at_least(vf_set(hopeless_distance(leader)), least)) == 0) continue;
        vi a = vi_add64(blocks_ascending(), vi_set64((uint32_t)i / 4));
        philox_batch(words, keys, a, vi_add64(a, vi_set64(WIDTH / 2)));
        for (int32_t j = 0; j < 4; j++) race_vector(leader, f, i + j * WIDTH, t[j], vi_load(words + j * WIDTH));
    }
}

/* Takes the candidates from i on that need at most WIDTH Philox blocks, at most BATCH; their blocks go to their lanes,
 * and slot[k] is where the word of the k-th is. Returns their number. */
static inline int32_t take_batch(const struct scores *s, int32_t i, uint64_t *lanes, int32_t *slot) {
    uint32_t last = UINT32_MAX;
    int32_t blocks = 0, taken = 0;
    for (; i + taken < s->n; taken++) {
        uint32_t id = (uint32_t)s->id[i + taken], block = id >> 2;
        if (block != last) {
            if (blocks == WIDTH) break;
            lanes[blocks / (WIDTH / 2) * (WIDTH / 2) + lane_of_block[blocks % (WIDTH / 2)]] = block;
            last = block;
            blocks++;
        }
        slot[taken] = 4 * (blocks - 1) + (int32_t)(id & 3);
    }
    return taken;
}

/* Sparse candidates, one batch: a Philox block for each four ids that have some. */
OP int32_t race_sparse(struct race_leader *leader, const struct field *f, int32_t i, const struct philox_keys *keys) {
    uint32_t words[BATCH];
    uint64_t lanes[WIDTH] = {0};
    int32_t slot[BATCH] = {0};
    int32_t taken = take_batch(&f->s, i, lanes, slot);
    philox_batch(words, keys, vi_load(lanes), vi_load(lanes + WIDTH / 2));
    for (int32_t j = 0; j < taken; j += WIDTH) {
        vf t = vf_choose(lanes_within(taken - j), log2_distances(f, i + j), vf_set(INFINITY));
        race_vector(leader, f, i + j, t, vi_gather(words, vi_load(slot + j)));
    }
    return taken;
}

/* Dense candidates, one batch: the words of the BATCH ids from `first` on, whoever has survived. */
OP int32_t race_dense(struct race_leader *leader, const struct field *f, int32_t i, const struct philox_keys *keys,
                      int32_t first) {
    const struct scores *s = &f->s;
    uint32_t words[BATCH];
    vi a = vi_add64(blocks_ascending(), vi_set64((uint32_t)first / 4));
    philox_batch(words, keys, a, vi_add64(a, vi_set64(WIDTH / 2)));
    int32_t taken = 0, now;
    do {
        vi slot = vi_add(load_ids(s, i + taken), vi_set(-first));
        vm in = vm_and(vi_at_most(slot, vi_set(BATCH - 1)), lanes_within(s->n - i - taken));
        vf t = vf_choose(in, log2_distances(f, i + taken), vf_set(INFINITY));
        vi word = vi_gather(words, vi_and(slot, vi_set(BATCH - 1)));
        race_vector(leader, f, i + taken, t, word);
        now = __builtin_popcount(vm_bits(in)); /* ids ascend: those of this batch come first */
        taken += now;
    } while (now == WIDTH && i + taken < s->n);
    return taken;
}

OP void race_list(struct race_leader *leader, const struct field *f, const struct philox_keys *keys) {
    const struct scores *s = &f->s;
    for (int32_t i = 0, taken; i < s->n; i += taken) {
        int32_t first = s->id[i] & ~3;
        bool dense = i + WIDTH < s->n && s->id[i + WIDTH] - first < BATCH;
        taken = dense ? race_dense(leader, f, i, keys, first) : race_sparse(leader, f, i, keys);
    }
}

SIMD static int32_t race(const struct scores *order, uint64_t last, const struct scores *s, float best,
                         const struct noise *noise) {
    const struct field field = {*order, *s, last, best};
    struct race_leader leader = race_start();
    struct philox_keys keys;
    philox_prepare(&keys, noise);
    if (s->id) {
        race_list(&leader, &field, &keys);
    } else {
        race_row(&leader, &field, &keys);
    }
    return leader.id;
}

const struct sampler_kernels KERNELS = {
    .name = KERNELS_NAME,
    .scan = scan,
    .clean = clean,
    .find = find,
    .mass = mass,
    .moments = moments,
    .block_moments = block_moments,
    .weights = weights,
    .typicality = typicality,
    .histogram = histogram,
    .collect = collect,
    .split = split,
    .entries = entries,
    .keep = keep,
    .survey = survey,
    .race = race,
};
