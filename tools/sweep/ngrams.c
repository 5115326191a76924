/* ngrams.c: the table of pairs: open addressing, linear probing, at most half full. */
#include "sweep/ngrams.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "strbuf.h"

enum { FIRST_CAPACITY = 256 }; /* a power of 2 */

/* MurmurHash3's 64-bit finaliser (Appleby 2011): every bit of the key reaches every bit of the slot. */
static size_t slot_of(uint64_t key, size_t capacity) {
    key ^= key >> 33;
    key *= 0xFF51AFD7ED558CCDu;
    key ^= key >> 33;
    key *= 0xC4CEB9FE1A85EC53u;
    key ^= key >> 33;
    return (size_t)key & (capacity - 1);
}

static uint64_t pair(int32_t prefix, int32_t symbol) {
    return (uint64_t)(uint32_t)prefix << 32 | (uint32_t)symbol;
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t probe(const struct ngram_table *table, uint64_t key) {
    size_t slot = slot_of(key, table->capacity);
    while (table->slots[slot] && table->keys[table->slots[slot]] != key) slot = (slot + 1) & (table->capacity - 1);
    return slot;
}

static void grow_slots(struct ngram_table *table) {
    size_t capacity = table->capacity ? table->capacity * 2 : FIRST_CAPACITY;
    free(table->slots);
    table->slots = xarray(capacity, sizeof *table->slots);
    table->capacity = capacity;
    for (size_t number = 1; number <= table->count; number++)
        table->slots[probe(table, table->keys[number])] = (int32_t)number;
}

static void reserve_one(struct ngram_table *table) {
    if (table->count + 1 >= INT32_MAX) xgrow(NULL, SIZE_MAX, 2); /* out of numbers: ends the program */
    if ((table->count + 1) * 2 > table->capacity) grow_slots(table);
    if (table->count + 1 >= table->key_capacity) {
        table->key_capacity = table->key_capacity ? table->key_capacity * 2 : FIRST_CAPACITY;
        table->keys = xgrow(table->keys, table->key_capacity, sizeof *table->keys);
    }
}

int32_t ngram_add(struct ngram_table *table, int32_t prefix, int32_t symbol) {
    reserve_one(table);
    uint64_t key = pair(prefix, symbol);
    size_t slot = probe(table, key);
    if (!table->slots[slot]) {
        table->slots[slot] = (int32_t)++table->count;
        table->keys[table->count] = key;
    }
    return table->slots[slot];
}

int32_t ngram_find(const struct ngram_table *table, int32_t prefix, int32_t symbol) {
    if (table->count == 0) return NGRAM_NONE;
    int32_t number = table->slots[probe(table, pair(prefix, symbol))];
    return number ? number : NGRAM_NONE;
}

void ngram_clear(struct ngram_table *table) {
    if (table->count) memset(table->slots, 0, table->capacity * sizeof *table->slots);
    table->count = 0;
}

void ngram_free(struct ngram_table *table) {
    free(table->keys);
    free(table->slots);
    *table = (struct ngram_table){0};
}

size_t ngram_extend(struct ngram_table *table, const int32_t *tokens, size_t count, size_t n, int32_t *numbers) {
    size_t places = ngram_places(count, n);
    for (size_t i = 0; i < places; i++)
        numbers[i] = ngram_add(table, n == 1 ? NGRAM_ROOT : numbers[i], tokens[i + n - 1]);
    return places;
}

/* Four bytes make a symbol. The last symbol of a text is what is left, 0 … 3 bytes, and their number in the highest
 * byte: so no two texts have equal sequences, whatever bytes they hold. Moves *at; false behind the last symbol. */
static bool next_symbol(const char *bytes, size_t length, size_t *at, int32_t *symbol) {
    if (*at > length) return false;
    size_t left = length - *at, n = left < 4 ? left : 4;
    unsigned char four[4] = {0, 0, 0, (unsigned char)left};
    if (n) memcpy(four, bytes + *at, n);
    *symbol = (int32_t)((uint32_t)four[0] | (uint32_t)four[1] << 8 | (uint32_t)four[2] << 16 | (uint32_t)four[3] << 24);
    *at = n < 4 ? length + 1 : *at + 4;
    return true;
}

int32_t ngram_add_bytes(struct ngram_table *table, const char *bytes, size_t length) {
    int32_t number = NGRAM_ROOT, symbol;
    for (size_t at = 0; next_symbol(bytes, length, &at, &symbol);) number = ngram_add(table, number, symbol);
    return number;
}

int32_t ngram_find_bytes(const struct ngram_table *table, const char *bytes, size_t length) {
    int32_t number = NGRAM_ROOT, symbol;
    for (size_t at = 0; number != NGRAM_NONE && next_symbol(bytes, length, &at, &symbol);)
        number = ngram_find(table, number, symbol);
    return number;
}
