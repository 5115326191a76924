/* diversity.c: n-gram statistics of a cell's tokens, an order at a time; loops; equal samples; compression. */
#include "sweep/diversity.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "sweep/bleu.h"
#include "sweep/ngrams.h"

_Static_assert((int)DIVERSITY_ORDERS == (int)BLEU_ORDERS, "self-BLEU counts what distinct-n counts");

/* ---- n-grams ---- */

/* What is known of an n-gram. Counts in one sample fit: a sample is no longer than a context. */
struct gram {
    int32_t seen;         /* 1 + the index of the sample that `count` is of; 0 of none */
    int32_t count;        /* in that sample, up to the token that is being looked at */
    int32_t most, second; /* the largest count in a sample, and the largest in the other samples */
    int32_t owner;        /* 1 + the index of the sample that has it `most` often, the first of those */
};

struct counting {
    const struct sample_record *samples;
    size_t count, tokens;
    int32_t *numbers; /* [tokens] of all samples' n-grams of the current order, sample after sample */
    struct ngram_table table;
    struct gram *grams; /* [table.count + 1] */
    size_t gram_capacity;
};

static size_t count_tokens(const struct sample_record *samples, size_t count) {
    size_t tokens = 0;
    for (size_t s = 0; s < count; s++) tokens += samples[s].token_count;
    return tokens;
}

static void grow_grams(struct counting *c) {
    size_t wanted = c->table.count + 1, old = c->gram_capacity;
    if (wanted <= old) return;
    c->gram_capacity = wanted < old * 2 ? old * 2 : wanted;
    c->grams = xgrow(c->grams, c->gram_capacity, sizeof *c->grams);
    memset(c->grams + old, 0, (c->gram_capacity - old) * sizeof *c->grams);
}

/* One more occurrence in sample `seen` - 1; whether it is the first. */
static bool count_gram(struct gram *gram, int32_t seen) {
    bool first = gram->seen != seen;
    if (first) {
        gram->seen = seen;
        gram->count = 0;
    }
    gram->count++;
    return first;
}

/* Keeps most and second true after gram->count grew by one, to what it is in sample `seen` - 1. When it passes another
 * sample's most, `second` has become that one's count a step before. */
static void rank_gram(struct gram *gram, int32_t seen) {
    if (gram->owner == seen) {
        gram->most = gram->count;
    } else if (gram->count > gram->most) {
        gram->most = gram->count;
        gram->owner = seen;
    } else if (gram->count > gram->second) {
        gram->second = gram->count;
    }
}

/* Numbers and counts the n-grams of sample s, whose numbers begin at `numbers`; returns how many distinct ones
 * it has. */
static size_t count_sample(struct counting *c, size_t s, size_t n, int32_t *numbers) {
    const struct sample_record *sample = &c->samples[s];
    size_t places = ngram_extend(&c->table, sample->tokens, sample->token_count, n, numbers), distinct = 0;
    int32_t seen = (int32_t)s + 1;
    grow_grams(c);
    for (size_t i = 0; i < places; i++) {
        struct gram *gram = &c->grams[numbers[i]];
        distinct += count_gram(gram, seen);
        rank_gram(gram, seen);
    }
    return distinct;
}

/* The matches of each sample with the others, for the order just counted. */
static void count_matches(struct counting *c, size_t n, struct bleu_counts *bleu) {
    for (size_t number = 1; number <= c->table.count; number++) c->grams[number].seen = 0;
    const int32_t *numbers = c->numbers;
    for (size_t s = 0; s < c->count; s++) {
        size_t places = ngram_places(c->samples[s].token_count, n);
        int32_t seen = (int32_t)s + 1;
        for (size_t i = 0; i < places; i++) {
            struct gram *gram = &c->grams[numbers[i]];
            count_gram(gram, seen);
            bleu[s].correct[n - 1] += gram->count <= (gram->owner == seen ? gram->second : gram->most);
        }
        numbers += c->samples[s].token_count;
    }
}

static void measure_order(struct counting *c, size_t n, int32_t vocab_size, struct diversity *diversity,
                          struct bleu_counts *bleu) {
    size_t total = 0, with = 0;
    double repeated = 0;
    int32_t *numbers = c->numbers;
    ngram_clear(&c->table);
    if (c->grams) memset(c->grams, 0, c->gram_capacity * sizeof *c->grams);
    for (size_t s = 0; s < c->count; s++) {
        size_t places = ngram_places(c->samples[s].token_count, n), distinct = count_sample(c, s, n, numbers);
        numbers += c->samples[s].token_count;
        total += places;
        if (places == 0) continue;
        repeated += 1 - (double)distinct / (double)places;
        with++;
    }
    diversity->distinct[n - 1] = total ? (double)c->table.count / (double)total : NAN;
    diversity->distinct_norm[n - 1] =
        diversity_expected((double)c->table.count, (double)total, (double)vocab_size, (int)n);
    diversity->repeated[n - 1] = with ? repeated / (double)with : NAN;
    if (bleu) count_matches(c, n, bleu);
}

double diversity_expected(double distinct, double total, double vocab_size, int n) {
    double values = pow(vocab_size, n);
    if (!(total > 0) || !(vocab_size >= 1)) return NAN;
    return distinct / (values * -expm1(total * log1p(-1 / values))); /* near 1 for total much smaller than V^n */
}

/* ---- self-BLEU ---- */

/* The length closest to each sample's own among the others' (2 or more samples). A table by length, no longer than the
 * longest sample, for linear time. */
static void closest_lengths(const struct sample_record *samples, size_t count, struct bleu_counts *bleu) {
    size_t longest = 0;
    for (size_t s = 0; s < count; s++)
        if (samples[s].token_count > longest) longest = samples[s].token_count;
    size_t *samples_of = xarray(longest + 1, sizeof *samples_of), *closest = xarray(longest + 1, sizeof *closest);
    for (size_t s = 0; s < count; s++) samples_of[samples[s].token_count]++;
    size_t previous = SIZE_MAX; /* the next shorter length, whose closest is that or its own so far */
    for (size_t length = 0; length <= longest; length++) {
        if (samples_of[length] == 0) continue;
        bool others = samples_of[length] > 1;
        closest[length] = others ? length : previous;
        if (previous != SIZE_MAX && samples_of[previous] == 1 &&
            (closest[previous] == SIZE_MAX || length - previous < previous - closest[previous]))
            closest[previous] = length;
        previous = length;
    }
    for (size_t s = 0; s < count; s++) {
        bleu[s].length = samples[s].token_count;
        bleu[s].reference_length = closest[samples[s].token_count];
    }
    free(samples_of);
    free(closest);
}

void diversity_measure(struct diversity *diversity, const struct sample_record *samples, size_t count,
                       int32_t vocab_size, bool self_bleu) {
    struct counting c = {.samples = samples, .count = count, .tokens = count_tokens(samples, count)};
    struct bleu_counts *bleu = self_bleu && count >= 2 ? xarray(count, sizeof *bleu) : NULL;
    c.numbers = xarray(c.tokens, sizeof *c.numbers);
    if (bleu) closest_lengths(samples, count, bleu);
    for (size_t n = 1; n <= DIVERSITY_ORDERS; n++) measure_order(&c, n, vocab_size, diversity, bleu);
    double sum = 0;
    for (size_t s = 0; bleu && s < count; s++) sum += bleu_score(&bleu[s]);
    diversity->self_bleu = bleu ? sum / (double)count : NAN;
    free(c.numbers);
    free(c.grams);
    free(bleu);
    ngram_free(&c.table);
}

/* ---- loops ---- */

/* The longest tail that a verdict depends on: a longer periodic tail holds a shorter one that is long enough. */
enum { LOOP_WINDOW = LOOP_PERIOD * LOOP_REPEATS };
_Static_assert((int)LOOP_WINDOW >= (int)LOOP_TOKENS && (int)LOOP_SHORT_TOKENS <= (int)LOOP_TOKENS,
               "the window holds every length that is asked for");

static bool is_loop(size_t length, size_t period, size_t count) {
    if (period > LOOP_PERIOD || length < period * LOOP_REPEATS) return false;
    return length >= LOOP_TOKENS || (length >= LOOP_SHORT_TOKENS && length * 2 >= count);
}

/* The failure function of Knuth, Morris & Pratt (1977) on the tokens from the last one backwards: the tail of `length`
 * tokens has its smallest period at length - border[length]. */
bool ends_in_loop(const int32_t *tokens, size_t count) {
    if (count < LOOP_SHORT_TOKENS) return false;
    size_t border[LOOP_WINDOW + 1] = {0}, window = count < LOOP_WINDOW ? count : LOOP_WINDOW;
    const int32_t *last = tokens + count - 1;
    for (size_t length = 2; length <= window; length++) {
        size_t k = border[length - 1];
        while (k && *(last - k) != *(last - (length - 1))) k = border[k];
        border[length] = *(last - k) == *(last - (length - 1)) ? k + 1 : 0;
        if (is_loop(length, length - border[length], count)) return true;
    }
    return false;
}

/* ---- equal samples ---- */

void uniqueness_measure(struct uniqueness *uniqueness, const struct sample_record *samples, size_t count) {
    *uniqueness = (struct uniqueness){NAN, NAN};
    if (count < 2) return;
    struct ngram_table table = {0};
    int32_t *number = xarray(count, sizeof *number);
    for (size_t s = 0; s < count; s++) {
        number[s] = NGRAM_ROOT;
        for (size_t i = 0; i < samples[s].token_count; i++)
            number[s] = ngram_add(&table, number[s], samples[s].tokens[i]);
    }
    size_t *copies = xarray(table.count + 1, sizeof *copies), distinct = 0;
    for (size_t s = 0; s < count; s++) distinct += copies[number[s]]++ == 0;
    double collisions = 0;
    for (size_t s = 0; s < count; s++) collisions += (double)copies[number[s]]; /* each of c copies adds c: c^2 */
    uniqueness->ratio = (double)distinct / (double)count;
    uniqueness->collision_entropy = log((double)count * (double)count / collisions);
    free(copies);
    free(number);
    ngram_free(&table);
}

/* ---- compression ---- */

enum { COMPRESSION_LEVEL = 9 };

/* zlib's memory ends the program when it runs out, as all else does. */
static voidpf zlib_alloc(voidpf unused, uInt items, uInt size) {
    (void)unused;
    return xalloc((size_t)items * size);
}

static void zlib_free(voidpf unused, voidpf memory) {
    (void)unused;
    free(memory);
}

/* Feeds bytes, dropping what comes out. */
static void deflate_bytes(z_stream *stream, const char *bytes, size_t length, int flush) {
    unsigned char out[4096];
    do {
        uInt part = length > UINT_MAX ? UINT_MAX : (uInt)length;
        stream->next_in = (z_const Bytef *)bytes;
        stream->avail_in = part;
        length -= part;
        bytes += part;
        do {
            stream->next_out = out;
            stream->avail_out = sizeof out;
            deflate(stream, length ? Z_NO_FLUSH : flush);
        } while (stream->avail_out == 0);
    } while (length);
}

double compression_ratio(const struct sample_record *samples, size_t count) {
    double bytes = 0;
    for (size_t s = 0; s < count; s++) bytes += (double)samples[s].text_length;
    if (bytes == 0) return NAN;
    bytes += (double)(count - 1);
    z_stream stream = {.zalloc = zlib_alloc, .zfree = zlib_free};
    if (deflateInit(&stream, COMPRESSION_LEVEL) != Z_OK) return NAN; /* a zlib of another version than its header */
    for (size_t s = 0; s < count; s++) {
        if (s > 0) deflate_bytes(&stream, "\n", 1, Z_NO_FLUSH);
        if (samples[s].text_length) deflate_bytes(&stream, samples[s].text, samples[s].text_length, Z_NO_FLUSH);
    }
    deflate_bytes(&stream, "", 0, Z_FINISH);
    double deflated = (double)stream.total_out;
    deflateEnd(&stream);
    return bytes / deflated;
}
