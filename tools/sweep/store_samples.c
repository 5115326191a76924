/* store_samples.c: samples of a store. */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

/* ---- samples ---- */

int store_add_sample(struct store *store, const struct sample_record *record, const void *stats, size_t stats_size) {
    struct strbuf tokens = {0};
    int status = EXIT_DONE;
    if (!store->insert)
        status = store_prepare(store, &store->insert,
                               "INSERT INTO samples(prompt, point, sample, tokens, text, finish, error, stats, fork)"
                               " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)");
    if (status) return status;
    sqlite3_stmt *insert = store->insert;
    tokens_blob_write(&tokens, record->tokens, record->token_count);
    sqlite3_bind_int64(insert, 1, record->prompt);
    sqlite3_bind_int64(insert, 2, record->point);
    sqlite3_bind_int64(insert, 3, record->sample);
    sqlite3_bind_blob64(insert, 4, tokens.data ? tokens.data : "", tokens.length, SQLITE_STATIC);
    sqlite3_bind_blob64(insert, 5, record->text_length ? record->text : "", record->text_length, SQLITE_STATIC);
    store_bind_text(insert, 6, tempera_finish_name(record->finish));
    store_bind_text(insert, 7, record->error && record->error[0] ? record->error : NULL);
    sqlite3_bind_blob64(insert, 8, stats_size ? stats : "", stats_size, SQLITE_STATIC);
    if (record->fork == FORK_UNKNOWN)
        sqlite3_bind_null(insert, 9);
    else
        sqlite3_bind_int64(insert, 9, record->fork);
    if (sqlite3_step(insert) != SQLITE_DONE) status = store_fail(store);
    sqlite3_reset(insert);
    sqlite3_clear_bindings(insert);
    strbuf_free(&tokens);
    return status;
}

static bool finish_of(const char *name, tempera_finish *finish) {
    for (int f = TEMPERA_FINISH_LENGTH; name && f <= TEMPERA_FINISH_ERROR; f++)
        if (strcmp(name, tempera_finish_name((tempera_finish)f)) == 0) {
            *finish = (tempera_finish)f;
            return true;
        }
    return false;
}

static const char *keep_bytes(struct sample_set *set, const void *bytes, size_t length) {
    char *copy = sample_set_keep(set, length + 1);
    if (length) memcpy(copy, bytes, length);
    copy[length] = 0;
    return copy;
}

/* Columns: point, sample, tokens, text, finish, error, stats, fork, verdict. */
static bool read_sample(sqlite3_stmt *row, struct sample_set *set, struct sample_record *record, int32_t vocab_size) {
    size_t bytes = (size_t)sqlite3_column_bytes(row, 2);
    record->point = sqlite3_column_int(row, 0);
    record->sample = sqlite3_column_int(row, 1);
    record->token_count = bytes / 4;
    int32_t *tokens = sample_set_keep(set, bytes);
    tokens_blob_read(tokens, sqlite3_column_blob(row, 2), record->token_count);
    record->tokens = tokens;
    record->text_length = (size_t)sqlite3_column_bytes(row, 3);
    record->text = keep_bytes(set, sqlite3_column_blob(row, 3), record->text_length);
    const char *error = (const char *)sqlite3_column_text(row, 5);
    record->error = error ? keep_bytes(set, error, strlen(error)) : "";
    int64_t fork = sqlite3_column_int64(row, 7);
    bool fork_known = sqlite3_column_type(row, 7) != SQLITE_NULL;
    record->fork = fork_known ? (int32_t)fork : FORK_UNKNOWN;
    record->verdict = sqlite3_column_type(row, 8) == SQLITE_NULL ? -1 : sqlite3_column_int(row, 8) != 0;
    for (size_t i = 0; i < record->token_count; i++)
        if (tokens[i] < 0 || tokens[i] >= vocab_size) return false;
    if (fork_known && (fork < 0 || (size_t)fork > record->token_count)) return false;
    return bytes % 4 == 0 && record->point >= 0 && record->sample >= 0 &&
           finish_of((const char *)sqlite3_column_text(row, 4), &record->finish) &&
           stats_blob_read(set, record, sqlite3_column_blob(row, 6), (size_t)sqlite3_column_bytes(row, 6));
}

static int vocabulary(struct store *store, int32_t *size) {
    char *text;
    int64_t value = 0;
    int status = store_read_manifest(store, "vocab_size", &text);
    if (status) return status;
    bool good = text && parse_int(text, 1, INT32_MAX, &value);
    free(text);
    *size = (int32_t)value;
    return good ? EXIT_DONE : complain(EXIT_FAILED, "%s: its manifest has no vocab_size", store->path);
}

int store_load_samples(struct store *store, int32_t prompt, struct sample_set *set) {
    sqlite3_stmt *statement;
    int32_t vocab_size;
    int row;
    *set = (struct sample_set){0};
    if (store_is_empty(store)) return EXIT_DONE;
    int status = vocabulary(store, &vocab_size);
    if (!status)
        status = store_prepare(store, &statement,
                               "SELECT point, sample, tokens, text, finish, error, stats, fork, verdict FROM samples"
                               " WHERE prompt = ? ORDER BY point, sample");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, prompt);
    while (!status && (row = store_next_row(store, statement)) != 0) {
        if (row < 0) {
            status = EXIT_FAILED;
            break;
        }
        if ((set->count & (set->count + 1)) == 0)
            set->items = xgrow(set->items, 2 * set->count + 1, sizeof *set->items);
        struct sample_record *record = &set->items[set->count++];
        *record = (struct sample_record){.prompt = prompt};
        if (!read_sample(statement, set, record, vocab_size))
            status = complain(EXIT_FAILED, "%s: sample %d of prompt %d and point %d is damaged", store->path,
                              (int)record->sample, (int)prompt, (int)record->point);
    }
    sqlite3_finalize(statement);
    return status;
}

int store_count_samples(struct store *store, int64_t *count) {
    *count = 0;
    if (store_is_empty(store)) return EXIT_DONE;
    return store_query_number(store, "SELECT count(*) FROM samples", count) ? EXIT_DONE : EXIT_FAILED;
}

int store_each_key(struct store *store, int32_t prompt, void (*body)(void *user, int32_t point, int32_t sample),
                   void *user) {
    sqlite3_stmt *statement;
    int row;
    int status =
        store_prepare(store, &statement, "SELECT point, sample FROM samples WHERE prompt = ? ORDER BY point, sample");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, prompt);
    while ((row = store_next_row(store, statement)) > 0)
        body(user, sqlite3_column_int(statement, 0), sqlite3_column_int(statement, 1));
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

int store_each_tokens(struct store *store, int32_t prompt, void (*body)(void *user, const struct sample_record *record),
                      void *user) {
    sqlite3_stmt *statement;
    int32_t *tokens = NULL;
    int row;
    int status = store_prepare(
        store, &statement, "SELECT point, sample, tokens, fork FROM samples WHERE prompt = ? ORDER BY point, sample");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, prompt);
    while ((row = store_next_row(store, statement)) > 0) {
        size_t count = (size_t)sqlite3_column_bytes(statement, 2) / 4;
        tokens = xgrow(tokens, count + 1, sizeof *tokens);
        tokens_blob_read(tokens, sqlite3_column_blob(statement, 2), count);
        const struct sample_record record = {
            .prompt = prompt,
            .point = sqlite3_column_int(statement, 0),
            .sample = sqlite3_column_int(statement, 1),
            .tokens = tokens,
            .token_count = count,
            .fork = sqlite3_column_type(statement, 3) == SQLITE_NULL ? FORK_UNKNOWN : sqlite3_column_int(statement, 3)};
        body(user, &record);
    }
    free(tokens);
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

static void bind_key(sqlite3_stmt *statement, int first, const struct sample_record *record) {
    sqlite3_bind_int64(statement, first, record->prompt);
    sqlite3_bind_int64(statement, first + 1, record->point);
    sqlite3_bind_int64(statement, first + 2, record->sample);
}

int store_set_fork(struct store *store, const struct sample_record *record) {
    sqlite3_stmt *statement;
    int status =
        store_prepare(store, &statement, "UPDATE samples SET fork = ? WHERE prompt = ? AND point = ? AND sample = ?");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, record->fork);
    bind_key(statement, 2, record);
    return store_finish(store, statement);
}

int store_set_verdict(struct store *store, const struct sample_record *record, const char *output, size_t length) {
    sqlite3_stmt *statement;
    int status = store_prepare(
        store, &statement, "UPDATE samples SET verdict = ?, output = ? WHERE prompt = ? AND point = ? AND sample = ?");
    if (status) return status;
    if (record->verdict < 0)
        sqlite3_bind_null(statement, 1);
    else
        sqlite3_bind_int(statement, 1, record->verdict);
    sqlite3_bind_blob64(statement, 2, length ? output : "", length, SQLITE_STATIC);
    bind_key(statement, 3, record);
    return store_finish(store, statement);
}
