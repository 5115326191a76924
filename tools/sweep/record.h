/* record.h: one finished sample as the store keeps it, and the blob that holds its statistics. */
#ifndef SWEEP_RECORD_H
#define SWEEP_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "strbuf.h"
#include "tempera/tempera.h"

enum { FORK_UNKNOWN = -1 };

/* Natural logarithms; arrays are [token_count]. */
struct sample_record {
    int32_t prompt, point, sample; /* keys in the store; `sample` is the sample index that keys the noise */
    tempera_finish finish;
    const char *error; /* "" unless finish is TEMPERA_FINISH_ERROR */
    const char *text;  /* [text_length] completion, any bytes */
    size_t text_length;
    const int32_t *tokens; /* the stop or eos token included */
    size_t token_count;
    const float *logprob;       /* under the unfiltered model */
    const float *final_logprob; /* under the distribution it was drawn from */
    const float *entropy;       /* of the unfiltered distribution, nats */
    const float *kept_mass;     /* unfiltered probability of the survivors, 0 … 1 */
    const int32_t *kept;        /* survivors */
    const uint8_t *greedy;      /* 1 where the token is the unfiltered model's most likely one, else 0 */
    int32_t fork;    /* tokens that it shares with the sample of its prompt that it follows longest: from there on it is
                     alone. FORK_UNKNOWN until all samples of the prompt that were asked for are there */
    int32_t verdict; /* of --verify: 1 passed, 0 failed, -1 not verified */
};

/* The samples of one prompt, ordered by point, then sample. Owns everything that the records point to. */
struct sample_set {
    struct sample_record *items;
    size_t count;
    void **memory; /* [memory_count] */
    size_t memory_count;
};
void sample_set_free(struct sample_set *set);
void *sample_set_keep(struct sample_set *set, size_t bytes); /* memory that the set owns, aligned for anything */

/* Samples [*first, *first + count) of the set are one point's; returns count, 0 when the set has none of it. */
size_t sample_set_point(const struct sample_set *set, int32_t point, size_t *first);

/* The column `stats` of a sample: little-endian columns one after another, n = token_count:
 * f32 logprob[n], f32 final_logprob[n], f32 entropy[n], f32 kept_mass[n], i32 kept[n], then one bit per token, greedy,
 * lowest bit first, in ceil(n / 8) bytes. */
size_t stats_blob_size(size_t token_count);
void stats_blob_write(struct strbuf *blob, const tempera_token_stat *stats, const int32_t *tokens, size_t count);
/* Fills the arrays of the record, allocated in the set; false when the blob's size is not that of token_count. */
bool stats_blob_read(struct sample_set *set, struct sample_record *record, const void *blob, size_t size);

/* Columns of token ids: i32 little-endian. */
void tokens_blob_write(struct strbuf *blob, const int32_t *tokens, size_t count);
void tokens_blob_read(int32_t *tokens /* [count] */, const void *blob /* [4 * count] */, size_t count);

#endif
