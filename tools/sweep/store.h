/* store.h: the database of a sweep, SQLite, durable at every commit: in WAL mode while it is open for writing, so that
 * others may read it, and a single file afterwards.
 *
 * SCHEMA, version 1 (application_id 0x746d7072, user_version 1):
 *   manifest(key TEXT PRIMARY KEY, value TEXT): what all samples depend on and what made them: model, model_hash,
 *       prompts_hash, device, instructions, dtype, fast, vocab_size, verify (the command), …
 *   prompts(prompt INTEGER PRIMARY KEY, id TEXT UNIQUE, text TEXT, tokens BLOB i32le, reference TEXT JSON array,
 *       choices TEXT JSON array, answer TEXT, test TEXT): prompt counts from 0 in the order of the file
 *   points(point INTEGER PRIMARY KEY, name TEXT, key TEXT UNIQUE, sources TEXT JSON, samples INTEGER, then one column for
 *       each field of TEMPERA_SAMPLING_FIELDS but n, first_sample, logprobs and echo, then sampling_order TEXT,
 *       independent INTEGER): key is struct sweep_point's; samples is the most that was asked for
 *   samples(prompt, point, sample, tokens BLOB i32le, text BLOB, finish TEXT, error TEXT, stats BLOB, fork INTEGER,
 *       verdict INTEGER, output BLOB, PRIMARY KEY(prompt, point, sample)): stats is record.h's blob; verdict (1 passed, 0
 *       failed, NULL not verified) and output are those of --verify. Not WITHOUT ROWID: its rows must be much smaller than
 *       a page, and samples of 64 tokens took twice the room
 *   runs(run INTEGER PRIMARY KEY, started TEXT, build TEXT, command TEXT, seconds REAL, samples INTEGER,
 *       generated_tokens INTEGER, row_steps INTEGER, prompt_tokens INTEGER): one row for each run that wrote; the only
 *       table that holds times, and not part of what `sweep diff` compares
 *
 * Functions complain themselves and return 0 or the exit status. One thread at a time. */
#ifndef SWEEP_STORE_H
#define SWEEP_STORE_H

#include "points.h"
#include "prompts.h"
#include "record.h"

struct store;

enum store_mode {
    STORE_READ,  /* must exist */
    STORE_WRITE, /* must exist */
    STORE_CREATE /* made when it does not exist; nothing is written before store_begin */
};
/* Refused: a file that is not SQLite's, a database of another program, of a newer schema version, a damaged one; and,
 * for writing, one that another process is writing to. */
int store_open(struct store **store, const char *path, enum store_mode mode);
void store_close(struct store *store); /* rolls an open transaction back; NULL is fine */
int store_check(struct store *store);  /* refuses a damaged database; reads all of it. Opening for writing does it */
const char *store_path(const struct store *store);

int store_begin(struct store *store); /* creates the schema in an empty file */
int store_commit(struct store *store);
void store_rollback(struct store *store);

/* ---- manifest ---- */

/* The value, owned by the caller, or NULL. */
char *store_manifest(struct store *store, const char *key);
int store_manifest_set(struct store *store, const char *key, const char *value);
/* Sets a key that is absent; refused when it is there with another value: "PATH holds samples of WHAT a, this run's is b". */
int store_claim(struct store *store, const char *key, const char *value, const char *what);

/* ---- prompts and points ---- */

int store_add_prompts(struct store *store, const struct sweep_prompts *prompts); /* into an empty table */
/* Finds or adds each point by its key, raises its `samples`, and gives its number: point[list->count]. */
int store_add_points(struct store *store, const struct point_list *list, int32_t *point);

struct stored_point {
    int32_t point;
    char *name, *key;          /* owned */
    tempera_sampling sampling; /* scalars, order and independent; no lists */
    int32_t samples;
};
struct stored_points {
    struct stored_point *items; /* ascending point */
    size_t count;
};
int store_load_points(struct store *store, struct stored_points *points);
void stored_points_free(struct stored_points *points);
/* With tokens. */
int store_load_prompts(struct store *store, struct sweep_prompts *prompts);

/* ---- samples ---- */

int store_add_sample(struct store *store, const struct sample_record *record, const void *stats, size_t stats_size);
/* All samples of a prompt. Rows that contradict themselves (a blob of the wrong size, a token out of the vocabulary) are
 * refused by their key. sample_set_free is needed either way. */
int store_load_samples(struct store *store, int32_t prompt, struct sample_set *set);
int store_count_samples(struct store *store, int64_t *count);
/* Which samples of a prompt are there: calls body for each, ascending by point, then sample. */
int store_each_key(struct store *store, int32_t prompt, void (*body)(void *user, int32_t point, int32_t sample),
                   void *user);
/* The same with tokens and fork: the rest of the record is empty, and it is valid during the call. */
int store_each_tokens(struct store *store, int32_t prompt, void (*body)(void *user, const struct sample_record *record),
                      void *user);
int store_set_fork(struct store *store, const struct sample_record *record);
int store_set_verdict(struct store *store, const struct sample_record *record, const char *output, size_t length);

/* ---- runs ---- */

struct run_record {
    const char *build, *command;
    double seconds;
    int64_t samples, generated_tokens, row_steps, prompt_tokens;
};
int store_add_run(struct store *store, const struct run_record *run);
/* Sums over all runs. */
int store_load_runs(struct store *store, struct run_record *total);

#endif
