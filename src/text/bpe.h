/* bpe.h: byte-pair encoding of one piece of text: Hugging Face's "BPE" model. */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/tokenizer.h"
#include "text/vocab.h"

struct bpe_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX = empty slot */
    uint32_t rank; /* lower merges first */
    int32_t id;    /* of the two joined */
};

struct bpe {
    const struct vocab *vocab; /* borrowed */
    struct bpe_merge *merges;  /* [merge_slots]: open addressing, a power of two, load <= 1/2 */
    size_t merge_slots;
    unsigned merge_shift; /* 64 - log2(merge_slots) */
    uint32_t merge_count;
    uint64_t seed;         /* odd; keeps chosen ids from colliding */
    char *prefix, *suffix; /* continuing_subword_prefix, end_of_word_suffix; owned, "" when none */
    size_t prefix_length, suffix_length;
    int32_t unknown; /* unk_token, or -1 */
    bool fuse_unknown, byte_fallback, ignore_merges;
    bool raw;                  /* pieces are bytes, not text: set by whoever also leaves them unspelled */
    bool has_all_bytes;        /* raw is possible: every character of the byte alphabet is a piece */
    bool keeps_all;            /* no character is dropped: each has a piece, byte tokens or the unknown token */
    bool mark_inside;          /* some merge joins another character with a ▁ after it */
    bool cut_before_mark;      /* none does, and nothing else speaks against encoding ▁words apart */
    int32_t byte_ids[256];     /* the byte alphabet's characters */
    int32_t fallback_ids[256]; /* "<0x00>" … "<0xFF>"; -1 where there is no such piece */
    struct buf joined;         /* while merges are added */
};

/* First bpe_start (strings are copied, NULL is ""), then the plain settings and bpe_add_merge for each merge in order,
 * then bpe_finish. */
tempera_status bpe_start(struct bpe *bpe, const struct vocab *vocab, const char *prefix, const char *suffix,
                         tempera_error *err);
/* Right after bpe_start: room for about so many merges, which spares the table its growing. */
tempera_status bpe_reserve(struct bpe *bpe, size_t merges, tempera_error *err);
/* `name` starts the messages. */
tempera_status bpe_add_merge(struct bpe *bpe, const char *left, size_t left_length, const char *right,
                             size_t right_length, const char *name, tempera_error *err);
/* For vocabularies with scores instead of a list of merges: the two parts of the piece before and from `left` merge with this
 * rank, if both are pieces. Merges of equal rank: the leftmost first. */
tempera_status bpe_add_ranked(struct bpe *bpe, const char *piece, size_t length, size_t left, uint32_t rank,
                              const char *name, tempera_error *err);
/* Whether bpe_add_merge would accept the two. */
bool bpe_can_merge(struct bpe *bpe, const char *left, size_t left_length, const char *right, size_t right_length);
void bpe_finish(struct bpe *bpe);
void bpe_free(struct bpe *bpe);

/* Length of the first part of a text that is encoded independently of the rest. */
size_t bpe_independent(const struct bpe *bpe, const char *text, size_t length);

/* Memory that one thread uses; zero-initialise, free with bpe_run_free. */
struct bpe_run {
    struct ids symbols;
    struct bpe_queue *queue; /* for long pieces */
    struct buf text;         /* a character with its prefix and suffix; a spelled piece */
};
void bpe_run_free(struct bpe_run *run);

/* Appends the ids of one piece: bytes when bpe->raw, else working text. */
tempera_status bpe_encode(const struct bpe *bpe, struct bpe_run *run, const char *piece, size_t length, struct ids *ids,
                          tempera_error *err);

#endif
