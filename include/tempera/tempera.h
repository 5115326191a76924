/* tempera.h: the public API of libtempera. This header is the manual.
 *
 * A **model** is a Hugging Face folder or a GGUF file (config, tokenizer, mapped weights): immutable, shared by any number of threads.
 * An **engine** is a model on a device with all its memory allocated: one thread at a time, except tempera_cancel.
 * A **request** is one prompt × a list of settings × n samples. All samples start on one row of the batch, so the
 * prompt is computed once; samples share a row for as long as they have chosen the same tokens.
 *
 * The n samples of a setting have the indices first_sample … first_sample + n - 1; the index keys the noise and is what
 * callbacks see, so that any sample can be made again alone, and more of them added to those that are there.
 *
 * A sample's tokens depend on the weights, the prompt's tokens, its setting, its seed and its sample index (and on the
 * instruction set or GPU architecture), never on what else the engine is doing.
 *
 *     tempera_model *model;  tempera_engine *engine;  tempera_error err;
 *     if (tempera_model_open("folder", &model, &err) != TEMPERA_OK) …err.message…
 *     tempera_engine_options options = tempera_engine_options_default();
 *     tempera_engine_open(model, &options, &engine, &err);
 *     tempera_submit(engine, &request, NULL, &err);      // any number of requests
 *     tempera_run(engine, &err);                         // calls request.on_sample for each finished sample
 *     tempera_engine_close(engine);  tempera_model_close(model);
 *
 * Functions that can fail return a tempera_status; `err` may be NULL. On failure outputs are not touched.
 * "Borrowed" pointers belong to the object they came from. The library never prints, exits or reads the environment. */
#ifndef TEMPERA_H
#define TEMPERA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tempera/sampling.h"
#include "tempera/status.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

const char *tempera_version(void); /* "0.1.0" */
const char *tempera_build(void);   /* compiler, version, commit when known: part of every result */
void tempera_free(void *memory);   /* for memory that a function below says to free; NULL is fine */

/* ---- model ---------------------------------------------------------------------------------------------------- */

typedef struct tempera_model tempera_model;

/* Opens a folder with config.json, model.safetensors (or an index with shards) and, when text is used, a tokenizer; or one
 * GGUF file, which holds all of these. Every file is checked; weights are mapped, not read. Without a tokenizer only text
 * functions fail; a GGUF file with a vocabulary and no weights opens too, and then only text functions work. */
tempera_status tempera_model_open(const char *path, tempera_model **model, tempera_error *err);

/* A model of a real shape with random weights and no tokenizer, for benchmarks without a download. Shapes: "gpt2",
 * "gpt2-medium", "gpt2-large", "gpt2-xl", "llama-1b" (TinyLlama-1.1B), "llama-8b", "qwen2-0.5b". */
tempera_status tempera_model_random(const char *shape, uint64_t seed, tempera_model **model, tempera_error *err);

/* Engines on the model must be closed first. NULL is fine. */
void tempera_model_close(tempera_model *model);

typedef struct tempera_model_info {
    const char *folder;       /* borrowed; "random:gpt2" for random weights */
    const char *family;       /* "gpt2", "llama" … borrowed */
    const char *weight_type;  /* dtype "auto": the element type of most of the files' matrices, "f32", "f16", "bf16";
                                for quantised blocks "bf16"; a plan's dtype tells what they become on its device */
    const char *tensor_types; /* "49 F32, 168 Q4_K": the tensors in the files; "" for random weights */
    int64_t parameters;       /* weights in the files, a tied head counted once */
    int64_t file_bytes;
    int32_t vocab_size, width, layers, heads, kv_heads, head_width, ff_width, context;
    int32_t tokenizer_size; /* ids of the tokenizer, 0 without one */
    int32_t bos, eos;       /* -1 when there is none; the first one of several eos */
    bool tied;
} tempera_model_info;
void tempera_model_info_get(const tempera_model *model, tempera_model_info *info);

/* ---- text ----------------------------------------------------------------------------------------------------- */

enum {
    TEMPERA_ENCODE_SPECIAL = 1, /* add what the model's post-processor adds (a begin-of-text token …) */
    TEMPERA_ENCODE_PLAIN = 2,   /* text that spells a special token is ordinary text */
    TEMPERA_DECODE_SPECIAL = 4, /* keep special tokens in the text */
};
/* *ids is freed with tempera_free. text may hold any bytes. Any thread. */
tempera_status tempera_encode(const tempera_model *model, const char *text, size_t length, unsigned flags,
                              int32_t **ids, size_t *count, tempera_error *err);
/* *text has a terminator that is not counted, and may hold bytes that are not UTF-8; freed with tempera_free. */
tempera_status tempera_decode(const tempera_model *model, const int32_t *ids, size_t count, unsigned flags, char **text,
                              size_t *length, tempera_error *err);
/* The vocabulary's own spelling ("Ġthe"), borrowed, not terminated; NULL when the id or the tokenizer is absent. */
const char *tempera_piece(const tempera_model *model, int32_t id, size_t *length);
bool tempera_is_special(const tempera_model *model, int32_t id);

/* ---- settings ------------------------------------------------------------------------------------------------- */

/* The model's recommended setting: tempera_sampling_default() with what generation_config.json sets (do_sample false
 * gives temperature 0). *from_model (may be NULL) gets one bit per field of TEMPERA_SAMPLING_FIELDS, in order, for those
 * that the file set. */
void tempera_model_sampling(const tempera_model *model, tempera_sampling *sampling, uint32_t *from_model);

/* ---- engine --------------------------------------------------------------------------------------------------- */

typedef struct tempera_engine tempera_engine;

typedef struct tempera_engine_options {
    const char *device; /* "auto" (a GPU where there is one), "cpu", "cuda" */
    /* "auto" (as in the files; for quantised ones q8 or q4 on the cpu if the layers are mostly Q8_0 or Q4_0, else
     * bf16), "f32", "bf16", "f16"; on the cpu also "q8" and "q4": quantised when the engine opens, to integers of 8 or 4
     * bits with a scale for every 32 (8.5 and 4.5 bits a weight; with "q4" embeddings and head are q8), with the inputs
     * of matrix products at 8 bits. Of a file whose layers are mostly Q8_0 (Q4_0) "q8" ("q4") keeps the scales and
     * integers of Q8_0, and in layers of Q4_0, as they are, quantises other blocks to q8 and leaves single numbers in
     * their type.
     * TEMPERA_UNSUPPORTED on other devices, and for weights that are not finite */
    const char *dtype;
    const char *instructions; /* cpu: NULL = best, or "avx512bf16", "avx512", "avx2", "portable"; the first multiplies
                                 bf16 weights by inputs rounded to bf16, is twice as fast on AMD's processors, and the
                                 best there only */
    int32_t threads;          /* cpu: 0 = every processor this process may use */
    int32_t context;          /* longest prompt + completion, tokens; 0 = the model's */
    int32_t max_rows;         /* distinct sequences computed at once, 1 … 65,536; more wait their turn */
    int32_t max_branches;     /* samples alive at once, 1 … 1,048,576; more wait their turn */
    int32_t max_step_tokens;  /* prompt tokens computed per step (the prompt chunk), 1 … 65,536 */
    size_t kv_bytes;          /* memory for keys and values; 0 = room for max_rows sequences of `context` tokens, but
                                 at most 1 GiB and at least one full context */
    bool unshared;            /* every sample on a row of its own: for tests and comparisons */
    bool no_prefix_reuse;     /* do not keep prompt pages for later requests */
    bool fast; /* cuda: large matrix products by whatever is fastest; a sample's last bits may then depend
                                 on what is computed beside it */
} tempera_engine_options;
tempera_engine_options tempera_engine_options_default(void); /* auto, 64 rows, 1024 branches, 512 step tokens */

/* What an engine with these options will allocate, computed before anything is. Bytes. */
typedef struct tempera_plan {
    size_t weights;     /* packed weights on the device */
    size_t kv;          /* keys and values */
    size_t activations; /* buffers of the forward pass, logits included */
    size_t workspace;   /* sampler and batch descriptors */
    size_t host;        /* rows, branches, page tables */
    size_t total;
    int32_t pages, page_tokens;                                           /* KV pages and their size in tokens */
    int32_t context, max_rows, max_branches, max_step_tokens, max_logits; /* effective */
    size_t step_weights; /* bytes of weights that a decode step reads */
    char device[16], device_name[96], instructions[32], dtype[8];
    int32_t threads;
    bool fast;                         /* as in the options; part of what a result depends on */
    char device_note[160];             /* why "auto" is not the GPU, one line; else empty */
    size_t device_free, device_memory; /* bytes of the device's own memory, now; 0: it shares the host's */
} tempera_plan;
tempera_status tempera_plan_make(const tempera_model *model, const tempera_engine_options *options, tempera_plan *plan,
                                 tempera_error *err);

/* A model's matrices by what they do. */
typedef enum tempera_matrix {
    TEMPERA_MATRIX_EMBEDDING, /* of tokens; where the head is tied it is this one too */
    TEMPERA_MATRIX_POSITIONS, /* learned ones */
    TEMPERA_MATRIX_QKV,
    TEMPERA_MATRIX_ATTENTION_OUT,
    TEMPERA_MATRIX_FF_IN, /* feed-forward, the gate included */
    TEMPERA_MATRIX_FF_OUT,
    TEMPERA_MATRIX_HEAD,
    TEMPERA_MATRIX_KINDS
} tempera_matrix;
const char *tempera_matrix_name(tempera_matrix matrix); /* "embedding", "positions", "qkv", "attention out", … */

/* What the weights of one kind of matrix lose when they are packed. The relative root-mean-square error is
 * sqrt(errors / squares), the signal-to-noise ratio 10 log10(squares / errors) dB. */
typedef struct tempera_weight_error {
    const char *dtype;         /* as packed: with "q4" embedding, positions and head are "q8"; "" when there are none */
    int64_t matrices, weights; /* how many; 0: the model has none of this kind */
    double squares;            /* sum of w * w over the weights w of the files */
    double errors;             /* sum of (packed w - w) * (packed w - w) */
} tempera_weight_error;

/* The errors of all kinds of matrices (errors [TEMPERA_MATRIX_KINDS]), of the weights as an engine with these options
 * packs them, measured on all of them in double precision. Vectors (biases, norms) are never rounded and not counted.
 * Quantised files (GGUF) count with the values that their blocks stand for. Packs one matrix at a time: about as long as
 * opening an engine, with memory for the largest matrix as packed. Fails where tempera_engine_open would refuse the dtype,
 * the device or the weights. Any thread. */
tempera_status tempera_weight_errors(const tempera_model *model, const tempera_engine_options *options,
                                     tempera_weight_error *errors, tempera_error *err);

/* Allocates everything the plan says and packs the weights. The model must outlive the engine. */
tempera_status tempera_engine_open(const tempera_model *model, const tempera_engine_options *options,
                                   tempera_engine **engine, tempera_error *err);
void tempera_engine_close(tempera_engine *engine); /* unfinished samples are dropped without a call; NULL is fine */
void tempera_engine_plan(const tempera_engine *engine, tempera_plan *plan);

/* ---- requests ------------------------------------------------------------------------------------------------- */

typedef enum tempera_finish {
    TEMPERA_FINISH_LENGTH, /* max_tokens or the context is full */
    TEMPERA_FINISH_EOS,    /* an end-of-text token was drawn */
    TEMPERA_FINISH_STOP,   /* a stop string or stop token */
    TEMPERA_FINISH_CANCELLED,
    TEMPERA_FINISH_ERROR, /* numeric: no token survived the filters; see tempera_sample.error */
} tempera_finish;
const char *tempera_finish_name(tempera_finish finish); /* "length", "eos", "stop", "cancelled", "error" */

/* Statistics of one generated or scored token; natural logarithms. */
typedef struct tempera_token_stat {
    float logprob;       /* under the unfiltered model */
    float final_logprob; /* under the distribution it was drawn from */
    float entropy;       /* of the unfiltered model distribution, nats */
    float final_entropy; /* of the distribution it was drawn from, nats; scoring only, NaN for generated tokens */
    float kept_mass;     /* unfiltered probability of the tokens that survived the filters */
    int32_t kept;        /* how many survived */
    int32_t top_count;
    const int32_t *top_token; /* [top_count] most likely first, unfiltered; borrowed as the stat itself */
    const float *top_logprob; /* [top_count] */
} tempera_token_stat;

/* A new token of a sample; valid during the call. */
typedef struct tempera_token_event {
    void *user;
    uint64_t request;
    int32_t setting_index, sample_index;
    int32_t token;
    const char *text; /* new bytes, ending at a character boundary; empty while a character or a possible stop
                              string is unfinished */
    size_t text_length;
    const tempera_token_stat *stat; /* NULL unless the setting asks for logprobs */
} tempera_token_event;

/* A finished sample; valid during the call. */
typedef struct tempera_sample {
    void *user;
    uint64_t request;
    int32_t setting_index, sample_index;
    const tempera_sampling *sampling; /* the effective setting */
    const char *text;                 /* decoded completion without the stop string (prompt in front with echo) */
    size_t text_length;
    const int32_t *tokens; /* [token_count] completion, the stop or eos token included when one was drawn */
    size_t token_count;
    size_t prompt_count;
    const tempera_token_stat *stats; /* [token_count], or NULL */
    tempera_finish finish;
    const char *error; /* for TEMPERA_FINISH_ERROR, else "" */
    uint32_t nan_rows; /* draws whose logits held NaN (counted as -inf) */
} tempera_sample;

typedef struct tempera_request {
    const int32_t *prompt; /* [prompt_count], at least 1 */
    size_t prompt_count;
    const tempera_sampling *settings; /* [setting_count], at least 1; each contributes its own n samples */
    size_t setting_count;
    void *user;
    void (*on_token)(const tempera_token_event *event); /* may be NULL */
    void (*on_sample)(const tempera_sample *sample);    /* may be NULL; once per sample */
} tempera_request;

/* Queues a request; everything is copied. TEMPERA_TOO_LONG when the prompt leaves no room in the context. *id may be
 * NULL. Callbacks come from tempera_step or tempera_run and must not call the engine, except tempera_cancel. */
tempera_status tempera_submit(tempera_engine *engine, const tempera_request *request, uint64_t *id, tempera_error *err);

/* One step: computes the next tokens of all rows. *active is false when nothing is left to do. */
tempera_status tempera_step(tempera_engine *engine, bool *active, tempera_error *err);
/* Steps until nothing is left. */
tempera_status tempera_run(tempera_engine *engine, tempera_error *err);

/* Ends a request's unfinished samples at the next step, with TEMPERA_FINISH_CANCELLED. id 0 = all requests, and a call
 * that scores, which then fails with TEMPERA_CANCELLED. Any thread, and signal handlers. */
void tempera_cancel(tempera_engine *engine, uint64_t id);

/* ---- scoring -------------------------------------------------------------------------------------------------- */

/* Teacher-forced statistics of ids[1 … count-1] under each setting (settings NULL: the plain model, one row), in one
 * pass: stats[s * count + i] is token i under setting s; stats[s * count] is all NaN (nothing predicts the first).
 * All tokens before i count as generated, for penalties, schedules and top_p_distinct (as in tempera_next).
 * top_token/top_logprob are NULL here. 1 to 65,536 settings, whatever max_branches is: those that only set a temperature,
 * top_k, top_p and min_p cost a few look-ups for each token, the others a draw. Takes some 300 bytes of memory for each
 * thread and token of the vocabulary while it runs. Runs the engine until it is done; fails when requests are pending,
 * and then, unlike other functions, part of the outputs may be written. */
tempera_status tempera_score(tempera_engine *engine, const int32_t *ids, size_t count, const tempera_sampling *settings,
                             size_t setting_count, tempera_token_stat *stats, tempera_error *err);

typedef struct tempera_setting_pair {
    int32_t of, against; /* indices of settings */
} tempera_setting_pair;

/* tempera_score, and how far pairs of settings are from each other: divergence[p * count + i] is KL(of ‖ against) of the
 * two distributions that token i would be drawn from, in nats, at most 1,048,576 pairs. INFINITY where `against` excludes
 * a token of `of`, NaN where `of` has none, and for token 0. Cheap for pairs of settings that are cheap to score; the
 * others cost two draws and a pass over the vocabulary. divergence may be NULL when there are no pairs. */
tempera_status tempera_score_pairs(tempera_engine *engine, const int32_t *ids, size_t count,
                                   const tempera_sampling *settings, size_t setting_count,
                                   const tempera_setting_pair *pairs, size_t pair_count, tempera_token_stat *stats,
                                   float *divergence, tempera_error *err);

/* The next-token distribution after ids: the `top` most likely tokens of the plain model (1 … 32), and under each
 * setting the final log-probability of each of them: final_logprob[s * top + i] (-INFINITY when filtered out).
 * stats [setting_count] gets entropy, kept and kept_mass of each setting (final_entropy is NaN). Fails when requests are pending. */
tempera_status tempera_next(tempera_engine *engine, const int32_t *ids, size_t count, const tempera_sampling *settings,
                            size_t setting_count, int32_t top, int32_t *token, float *logprob, float *final_logprob,
                            tempera_token_stat *stats, tempera_error *err);

/* The raw logits after ids, [vocab_size]. Fails when requests are pending. */
tempera_status tempera_logits(tempera_engine *engine, const int32_t *ids, size_t count, float *logits,
                              tempera_error *err);

/* ---- figures -------------------------------------------------------------------------------------------------- */

typedef struct tempera_stats {
    uint64_t steps;             /* forward passes */
    uint64_t prompt_tokens;     /* prompt tokens computed */
    uint64_t reused_tokens;     /* prompt tokens found in pages of earlier requests */
    uint64_t recomputed_tokens; /* tokens computed again after preemption */
    uint64_t generated_tokens;  /* tokens drawn, over all samples */
    uint64_t row_steps;         /* rows computed for them: generated_tokens / row_steps is the gain of sharing */
    uint64_t forks, preemptions;
    double prefill_seconds, decode_seconds; /* wall time of steps with and without prompt tokens */
    double first_token_seconds;             /* from the first submit to its first token */
    int32_t pages_used, pages_peak;
} tempera_stats;
void tempera_stats_get(const tempera_engine *engine, tempera_stats *stats);
void tempera_stats_reset(tempera_engine *engine);

/* Ceilings of the device, measured now (about 0.5 s): bytes/s of a streaming read; operations/s (two for a multiply-add) of
 * what products with the engine's weights are made of: on the cpu multiply-adds in fp32, of bf16 in pairs ("avx512bf16"),
 * or of 8-bit integers (q8 and q4); on a GPU the fastest matrix product. */
tempera_status tempera_measure(tempera_engine *engine, double *read_bytes_per_second, double *flops,
                               tempera_error *err);

/* Draws without a model: sampling->n tokens from each row of logits. */
typedef struct tempera_draws {
    const float *logits; /* [rows, vocab_size] */
    int32_t rows, vocab_size;
    const tempera_sampling
        *sampling;       /* rows * n at most 1,048,576; what moves along a text is as for its first token */
    int32_t repetitions; /* 1 … 1,048,576 */
} tempera_draws;

/* Times the draw alone, on the device, instruction set and threads of the options (other options are not looked at): as
 * in a step of an engine, of sequences that have 256 tokens of prompt and 256 generated ones (what penalties look at).
 * seconds[repetitions] is the time of all rows together, each time at another position; one draw before them is not
 * counted. *used, which may be NULL, gets device, device_name, instructions and threads, and is 0 elsewhere. On failure
 * seconds may be written. */
tempera_status tempera_measure_draw(const tempera_engine_options *options, const tempera_draws *draws, double *seconds,
                                    tempera_plan *used, tempera_error *err);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
