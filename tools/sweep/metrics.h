/* metrics.h: what is measured of the samples of one setting and one prompt (a cell). Every formula names its source:
 * here, in diversity.h (n-grams, loops, equal samples, compression), answers.h (what counts as the answer), overlap.h
 * (BLEU, chrF, ROUGE-L) or inference.h (pass@k).
 * A metric that does not apply to a cell (no answer was given, fewer samples than it needs) is NaN. Means over tokens
 * are over all tokens of the cell, so that a sample without tokens adds nothing. All samples count as they are, those
 * that ended with an error too. The order of the samples matters to compression_ratio and to ties of majority_vote and
 * best_of_n, which go to the sample that comes first, and to nothing else. */
#ifndef SWEEP_METRICS_H
#define SWEEP_METRICS_H

#include "prompts.h"
#include "record.h"

/* X(name, better, text). better: MORE, LESS, or NONE (neither is better in itself). */
/* clang-format off */
#define SWEEP_METRICS(X)                                                                                            \
    X(logprob, NONE, "mean log-probability of a token under the unfiltered model, nats")                            \
    X(perplexity, NONE, "exp of minus that mean over all tokens")                                                   \
    X(log_likelihood, NONE, "mean log-probability of a whole sample with tokens under the unfiltered model, nats")  \
    X(final_logprob, NONE, "mean log-probability of a token under the distribution it was drawn from, nats")        \
    X(entropy, NONE, "mean entropy of the unfiltered next-token distribution, nats")                                \
    X(kept, NONE, "mean number of tokens that survive the filters")                                                 \
    X(kept_mass, NONE, "mean unfiltered probability of the tokens that survive the filters")                        \
    X(greedy_agreement, NONE, "share of tokens that are the unfiltered model's most likely one")                    \
    X(length, NONE, "mean length, tokens")                                                                          \
    X(finish_eos, NONE, "share of samples that ended with the end-of-text token")                                   \
    X(finish_stop, NONE, "share of samples that ended at a stop string or stop token")                              \
    X(finish_length, NONE, "share of samples that ran into max_tokens or the context")                              \
    X(finish_error, LESS, "share of samples that ended with an error")                                              \
    X(distinct_1, MORE, "distinct tokens / tokens over the cell's samples (Li et al. 2016)")                        \
    X(distinct_2, MORE, "the same for 2-grams of tokens")                                                           \
    X(distinct_3, MORE, "the same for 3-grams of tokens")                                                           \
    X(distinct_4, MORE, "the same for 4-grams of tokens")                                                           \
    X(distinct_1_norm, MORE, "expectation-adjusted distinct-1, not biased by length (Liu et al. 2022)")             \
    X(distinct_2_norm, MORE, "the same for 2-grams")                                                                \
    X(distinct_3_norm, MORE, "the same for 3-grams")                                                                \
    X(distinct_4_norm, MORE, "the same for 4-grams")                                                                \
    X(seq_rep_1, LESS, "mean share of a sample's tokens that repeat an earlier one (Welleck et al. 2020)")          \
    X(seq_rep_2, LESS, "the same for 2-grams")                                                                      \
    X(seq_rep_3, LESS, "the same for 3-grams")                                                                      \
    X(seq_rep_4, LESS, "the same for 4-grams")                                                                      \
    X(loop_rate, LESS, "share of samples that end in a loop")                                                       \
    X(self_bleu, LESS, "mean BLEU-4 of each sample against the others, 0 ... 100 (Zhu et al. 2018)")                \
    X(unique_ratio, MORE, "distinct samples / samples")                                                             \
    X(collision_entropy, MORE, "minus the log of the chance that two draws from the samples are equal, nats")       \
    X(compression_ratio, LESS, "bytes of all texts / their bytes when deflated (Shaib et al. 2024)")                \
    X(exact_match, MORE, "share of samples that give the right answer, normalised as SQuAD does")                  \
    X(majority_vote, MORE, "1 when the most frequent answer is right (self-consistency, Wang et al. 2023)")         \
    X(best_of_n, MORE, "1 when the sample that the model finds most likely is right")                               \
    X(pass_1, MORE, "pass@1 by the unbiased estimator (Chen et al. 2021); of --verify where it ran, else exact_match") \
    X(pass_2, MORE, "pass@2")                                                                                       \
    X(pass_4, MORE, "pass@4")                                                                                       \
    X(pass_8, MORE, "pass@8")                                                                                       \
    X(pass_16, MORE, "pass@16")                                                                                     \
    X(pass_32, MORE, "pass@32")                                                                                     \
    X(pass_64, MORE, "pass@64")                                                                                     \
    X(verified, MORE, "share of samples that --verify passed")                                                      \
    X(bleu, MORE, "mean sentence BLEU against the references, 0 ... 100 (sacrebleu, its defaults)")                 \
    X(chrf, MORE, "mean sentence chrF2 against the references, 0 ... 100 (sacrebleu)")                              \
    X(rouge_l, MORE, "mean ROUGE-L F1 against the best reference, 0 ... 1 (rouge-score, no stemmer)")
/* clang-format on */

/* In more words:
 * majority_vote: samples without an answer do not vote; 0 when none votes. best_of_n: the sample with the highest mean
 * log-probability of a token. pass_k: of the cell's n samples c are right, by the verdicts when every sample has one,
 * else by the answers; NaN when n < k. verified: of the samples that have a verdict. loop_rate, unique_ratio and
 * collision_entropy are of token ids; the latter two need 2 samples, as self_bleu does. */
enum metric {
#define SWEEP_METRIC_ENUM(name, better, text) METRIC_##name,
    SWEEP_METRICS(SWEEP_METRIC_ENUM)
#undef SWEEP_METRIC_ENUM
        METRIC_COUNT
};

enum metric_better { METRIC_NONE, METRIC_MORE, METRIC_LESS };

struct metric_info {
    const char *name;
    enum metric_better better;
    const char *text;
};
extern const struct metric_info metric_info[METRIC_COUNT];

/* The metric of a name, "pass@4" and "pass_4" alike; METRIC_COUNT when there is none. */
enum metric metric_find(const char *name);

struct cell {
    const struct sample_record *samples; /* [count] of one prompt and one point */
    size_t count;
    const struct sweep_prompt *prompt;
    int32_t vocab_size;
};

/* Which metrics are worth the time (self_bleu, compression_ratio and those against references are the dear ones); all
 * by default. */
struct metric_mask {
    bool wanted[METRIC_COUNT];
};

/* value[METRIC_COUNT]; NaN for what is not wanted. mask NULL = all. Time and memory are linear in the tokens and the
 * bytes of the texts (for ROUGE-L times the words of the references). Any thread. */
void metrics_cell(const struct cell *cell, const struct metric_mask *mask, double *value);

/* Whether a sample's text gives the right answer: 1, 0, or -1 when the prompt has no answer. */
int sample_is_right(const struct sample_record *sample, const struct sweep_prompt *prompt);

#endif
