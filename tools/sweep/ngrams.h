/* ngrams.h: sequences of whole numbers, numbered: each sequence is its prefix's number and one symbol more, looked up
 * as a pair. Exact (no two sequences share a number) and linear in the symbols. What counts n-grams of tokens, of
 * words and of characters, and tells whole samples, words and answers apart. */
#ifndef SWEEP_NGRAMS_H
#define SWEEP_NGRAMS_H

#include <stddef.h>
#include <stdint.h>

enum { NGRAM_ROOT = 0, NGRAM_NONE = -1 }; /* the empty sequence; one that is not in the table */

/* Zero-initialise. Numbers count from 1 in the order of first sight. The 2^31st sequence ends the program as if memory
 * had run out. */
struct ngram_table {
    uint64_t *keys; /* of each number: its prefix << 32 | its last symbol; keys[0] is unused */
    int32_t *slots; /* [capacity] numbers by hash, 0 = free */
    size_t count;   /* sequences: the largest number */
    size_t capacity, key_capacity;
};

/* The number of `prefix` (a number of this table, or NGRAM_ROOT) followed by `symbol`, added when it is new. */
int32_t ngram_add(struct ngram_table *table, int32_t prefix, int32_t symbol);
/* The same, NGRAM_NONE when it is not there. */
int32_t ngram_find(const struct ngram_table *table, int32_t prefix, int32_t symbol);
void ngram_clear(struct ngram_table *table); /* keeps the memory */
void ngram_free(struct ngram_table *table);

/* Of tokens[count]: numbers[i], the number of the (n-1)-gram that starts at i in a table since cleared (n = 1:
 * anything), becomes that of the n-gram, for the n-grams that fit: returns how many. An order at a time keeps one
 * order's n-grams in memory. */
size_t ngram_extend(struct ngram_table *table, const int32_t *tokens, size_t count, size_t n, int32_t *numbers);

/* How many n-grams `count` symbols have. */
static inline size_t ngram_places(size_t count, size_t n) {
    return count < n ? 0 : count - n + 1;
}

/* A word or a line as one sequence: its bytes in threes and fours, see ngrams.c. */
int32_t ngram_add_bytes(struct ngram_table *table, const char *bytes, size_t length);
int32_t ngram_find_bytes(const struct ngram_table *table, const char *bytes, size_t length);

#endif
