/* record.c: samples in memory, and the blob of their statistics. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

void sample_set_free(struct sample_set *set) {
    for (size_t i = 0; i < set->memory_count; i++) free(set->memory[i]);
    free(set->memory);
    free(set->items);
    *set = (struct sample_set){0};
}

size_t sample_set_point(const struct sample_set *set, int32_t point, size_t *first) {
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->items[middle].point < point) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *first = low;
    while (high < set->count && set->items[high].point == point) high++;
    return high - low;
}

void *sample_set_keep(struct sample_set *set, size_t bytes) {
    if ((set->memory_count & (set->memory_count + 1)) == 0) /* doubles at 0, 1, 3, 7 … */
        set->memory = xgrow(set->memory, 2 * set->memory_count + 1, sizeof *set->memory);
    return set->memory[set->memory_count++] = xalloc(bytes + (bytes == 0));
}

/* ---- the blob ---- */

enum { COLUMN_BYTES = 4, COLUMNS = 5 };

size_t stats_blob_size(size_t token_count) {
    return COLUMNS * COLUMN_BYTES * token_count + (token_count + 7) / 8;
}

static void add_u32(struct strbuf *blob, uint32_t bits) {
    const unsigned char bytes[4] = {(unsigned char)bits, (unsigned char)(bits >> 8), (unsigned char)(bits >> 16),
                                    (unsigned char)(bits >> 24)};
    strbuf_add(blob, bytes, sizeof bytes);
}

static void add_float(struct strbuf *blob, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_u32(blob, bits);
}

void tokens_blob_write(struct strbuf *blob, const int32_t *tokens, size_t count) {
    for (size_t i = 0; i < count; i++) add_u32(blob, (uint32_t)tokens[i]);
}

void stats_blob_write(struct strbuf *blob, const tempera_token_stat *stats, const int32_t *tokens, size_t count) {
    for (size_t i = 0; i < count; i++) add_float(blob, stats[i].logprob);
    for (size_t i = 0; i < count; i++) add_float(blob, stats[i].final_logprob);
    for (size_t i = 0; i < count; i++) add_float(blob, stats[i].entropy);
    for (size_t i = 0; i < count; i++) add_float(blob, stats[i].kept_mass);
    for (size_t i = 0; i < count; i++) add_u32(blob, (uint32_t)stats[i].kept);
    for (size_t i = 0; i < count; i += 8) {
        unsigned bits = 0;
        for (size_t k = i; k < i + 8 && k < count; k++)
            bits |= (unsigned)(stats[k].top_count > 0 && stats[k].top_token[0] == tokens[k]) << (k - i);
        strbuf_char(blob, (char)bits);
    }
}

static uint32_t read_u32(const unsigned char *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static float read_float(const unsigned char *bytes) {
    uint32_t bits = read_u32(bytes);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void tokens_blob_read(int32_t *tokens, const void *blob, size_t count) {
    const unsigned char *bytes = blob;
    for (size_t i = 0; i < count; i++) tokens[i] = (int32_t)read_u32(bytes + i * COLUMN_BYTES);
}

bool stats_blob_read(struct sample_set *set, struct sample_record *record, const void *blob, size_t size) {
    size_t n = record->token_count;
    const unsigned char *bytes = blob;
    if (size != stats_blob_size(n)) return false;
    float *number = sample_set_keep(set, 4 * n * sizeof *number);
    int32_t *kept = sample_set_keep(set, n * sizeof *kept);
    uint8_t *greedy = sample_set_keep(set, n);
    for (size_t i = 0; i < 4 * n; i++) number[i] = read_float(bytes + i * COLUMN_BYTES);
    tokens_blob_read(kept, bytes + 4 * n * COLUMN_BYTES, n);
    for (size_t i = 0; i < n; i++) greedy[i] = bytes[COLUMNS * COLUMN_BYTES * n + i / 8] >> (i % 8) & 1;
    record->logprob = number;
    record->final_logprob = number + n;
    record->entropy = number + 2 * n;
    record->kept_mass = number + 3 * n;
    record->kept = kept;
    record->greedy = greedy;
    return true;
}
