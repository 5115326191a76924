/* store_points.c: prompts and points of a store. */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "store_internal.h"

/* ---- prompts ---- */

static char *json_array_text(char *const *items, size_t count) {
    struct json j = {0};
    if (count == 0) return NULL;
    json_array(&j, NULL);
    for (size_t i = 0; i < count; i++) json_text(&j, NULL, items[i]);
    json_end(&j);
    return j.out.data;
}

static int add_prompt(struct store *store, int64_t index, const struct sweep_prompt *prompt) {
    sqlite3_stmt *statement;
    struct strbuf tokens = {0};
    int status = store_prepare(store, &statement, "INSERT INTO prompts VALUES(?, ?, ?, ?, ?, ?, ?, ?)");
    if (status) return status;
    char *references = json_array_text(prompt->references, prompt->reference_count);
    char *choices = json_array_text(prompt->choices, prompt->choice_count);
    tokens_blob_write(&tokens, prompt->tokens.ids, prompt->tokens.count);
    sqlite3_bind_int64(statement, 1, index);
    store_bind_text(statement, 2, prompt->id);
    store_bind_text(statement, 3, prompt->text);
    sqlite3_bind_blob64(statement, 4, tokens.data ? tokens.data : "", tokens.length, SQLITE_STATIC);
    store_bind_text(statement, 5, references);
    store_bind_text(statement, 6, choices);
    store_bind_text(statement, 7, prompt->answer);
    store_bind_text(statement, 8, prompt->test);
    status = store_finish(store, statement);
    strbuf_free(&tokens);
    free(references);
    free(choices);
    return status;
}

int store_add_prompts(struct store *store, const struct sweep_prompts *prompts) {
    int status = EXIT_DONE;
    for (size_t i = 0; i < prompts->count && !status; i++) status = add_prompt(store, (int64_t)i, &prompts->items[i]);
    return status;
}

/* A JSON array of strings, as json_array_text wrote it. */
static bool read_array(const char *text, char ***items, size_t *count) {
    cJSON *array = text ? cJSON_Parse(text) : NULL;
    bool good = !text || cJSON_IsArray(array);
    const cJSON *item;
    cJSON_ArrayForEach(item, array) {
        if (!cJSON_IsString(item)) {
            good = false;
            break;
        }
        *items = xgrow(*items, *count + 1, sizeof **items);
        (*items)[(*count)++] = xdup(item->valuestring, strlen(item->valuestring));
    }
    cJSON_Delete(array);
    return good;
}

static bool read_prompt(sqlite3_stmt *row, struct sweep_prompt *prompt) {
    size_t bytes = (size_t)sqlite3_column_bytes(row, 3);
    *prompt = (struct sweep_prompt){.id = store_column_text(row, 1), .text = store_column_text(row, 2)};
    prompt->tokens.count = bytes / 4;
    prompt->tokens.ids = xarray(prompt->tokens.count + 1, sizeof *prompt->tokens.ids);
    tokens_blob_read(prompt->tokens.ids, sqlite3_column_blob(row, 3), prompt->tokens.count);
    prompt->answer = store_column_text(row, 6);
    prompt->test = store_column_text(row, 7);
    return prompt->id && prompt->text && bytes % 4 == 0 &&
           read_array((const char *)sqlite3_column_text(row, 4), &prompt->references, &prompt->reference_count) &&
           read_array((const char *)sqlite3_column_text(row, 5), &prompt->choices, &prompt->choice_count);
}

int store_load_prompts(struct store *store, struct sweep_prompts *prompts) {
    sqlite3_stmt *statement;
    int row, status;
    *prompts = (struct sweep_prompts){0};
    if (store_is_empty(store)) return EXIT_DONE;
    status =
        store_prepare(store, &statement,
                      "SELECT prompt, id, text, tokens, reference, choices, answer, test FROM prompts ORDER BY prompt");
    if (status) return status;
    while (!status && (row = store_next_row(store, statement)) != 0) {
        if (row < 0) {
            status = EXIT_FAILED;
            break;
        }
        prompts->items = xgrow(prompts->items, prompts->count + 1, sizeof *prompts->items);
        bool good = read_prompt(statement, &prompts->items[prompts->count++]);
        if (!good || sqlite3_column_int64(statement, 0) != (int64_t)prompts->count - 1)
            status = complain(EXIT_FAILED, "%s: prompt %zu is damaged", store->path, prompts->count - 1);
    }
    sqlite3_finalize(statement);
    return status;
}

/* ---- points ---- */

static int find_point(struct store *store, const char *key, int64_t *point) {
    sqlite3_stmt *statement;
    *point = -1;
    int status = store_prepare(store, &statement, "SELECT point FROM points WHERE key = ?");
    if (status) return status;
    store_bind_text(statement, 1, key);
    int row = store_next_row(store, statement);
    if (row > 0) *point = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return row < 0 ? EXIT_FAILED : EXIT_DONE;
}

static void bind_field(sqlite3_stmt *statement, int index, const tempera_sampling *sampling,
                       const struct field_info *field) {
    if (field->kind == FIELD_FLOAT) {
        sqlite3_bind_double(statement, index, field_number(sampling, field));
    } else if (field->kind == FIELD_SEED) {
        struct strbuf text = {0};
        field_show(&text, sampling, field);
        sqlite3_bind_text(statement, index, text.data, -1, SQLITE_TRANSIENT);
        strbuf_free(&text);
    } else {
        sqlite3_bind_int64(statement, index, (int64_t)field_number(sampling, field));
    }
}

void store_point_columns(struct strbuf *b) {
    strbuf_text(b, "name, key, sources, samples");
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i])) strbuf_printf(b, ", %s", field_info[i].name);
    strbuf_text(b, ", sampling_order, independent");
}

static bool name_is_taken(struct store *store, const char *name) {
    sqlite3_stmt *statement;
    if (store_prepare(store, &statement, "SELECT 1 FROM points WHERE name = ?")) return false;
    store_bind_text(statement, 1, name);
    bool taken = store_next_row(store, statement) > 0;
    sqlite3_finalize(statement);
    return taken;
}

/* Commands that differ in what their points share give them the same names: "NAME (2)" is the second. Owned. */
static char *free_name(struct store *store, const char *name) {
    struct strbuf tried = {0};
    strbuf_text(&tried, name);
    for (int k = 2; name_is_taken(store, tried.data); k++) {
        strbuf_clear(&tried);
        strbuf_printf(&tried, "%s (%d)", name, k);
    }
    return tried.data;
}

static int insert_point(struct store *store, const struct sweep_point *point) {
    sqlite3_stmt *statement;
    struct strbuf sql = {0};
    char order[160];
    strbuf_text(&sql, "INSERT INTO points(");
    store_point_columns(&sql);
    strbuf_text(&sql, ", point) VALUES(");
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i])) strbuf_text(&sql, "?, ");
    strbuf_text(&sql, "?, ?, ?, ?, ?, ?, (SELECT ifnull(max(point) + 1, 0) FROM points))");
    int status = store_prepare(store, &statement, sql.data);
    strbuf_free(&sql);
    if (status) return status;
    struct json sources = {0};
    json_object(&sources, NULL);
    setting_source_json(&sources, &point->source);
    json_end(&sources);
    char *name = free_name(store, point->name);
    store_bind_text(statement, 1, name);
    store_bind_text(statement, 2, point->key);
    store_bind_text(statement, 3, sources.out.data);
    sqlite3_bind_int64(statement, 4, 0); /* store_add_points raises it */
    int at = 5;
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i])) bind_field(statement, at++, &point->sampling, &field_info[i]);
    tempera_order_format(&point->sampling.order, order, sizeof order);
    store_bind_text(statement, at++, order);
    sqlite3_bind_int(statement, at, point->sampling.independent);
    status = store_finish(store, statement);
    strbuf_free(&sources.out);
    free(name);
    return status;
}

static int raise_samples(struct store *store, int64_t point, int32_t samples) {
    sqlite3_stmt *statement;
    int status = store_prepare(store, &statement, "UPDATE points SET samples = max(samples, ?) WHERE point = ?");
    if (status) return status;
    sqlite3_bind_int64(statement, 1, samples);
    sqlite3_bind_int64(statement, 2, point);
    return store_finish(store, statement);
}

int store_add_points(struct store *store, const struct point_list *list, int32_t *point) {
    for (size_t i = 0; i < list->count; i++) {
        int64_t found;
        int status = find_point(store, list->items[i].key, &found);
        if (!status && found < 0) {
            status = insert_point(store, &list->items[i]);
            if (!status) status = find_point(store, list->items[i].key, &found);
        }
        if (!status) status = raise_samples(store, found, list->items[i].samples);
        if (status) return status;
        point[i] = (int32_t)found;
    }
    return EXIT_DONE;
}

/* The scalars of a stored setting. False when a value is not one of its field's. */
static bool read_sampling(sqlite3_stmt *row, int first, tempera_sampling *sampling) {
    int at = first;
    *sampling = tempera_sampling_default();
    for (size_t i = 0; i < SAMPLING_FIELDS; i++) {
        if (!field_is_identity(&field_info[i])) continue;
        const char *text = field_info[i].kind == FIELD_BOOL ? sqlite3_column_int(row, at) ? "true" : "false"
                                                            : (const char *)sqlite3_column_text(row, at);
        at++;
        if (!text || tempera_sampling_set(sampling, field_info[i].name, text, NULL) != TEMPERA_OK) return false;
    }
    const char *order = (const char *)sqlite3_column_text(row, at);
    if (!order || tempera_order_parse(order, &sampling->order, NULL) != TEMPERA_OK) return false;
    sampling->independent = sqlite3_column_int(row, at + 1) != 0;
    return true;
}

int store_load_points(struct store *store, struct stored_points *points) {
    sqlite3_stmt *statement;
    struct strbuf sql = {0};
    int row, status;
    *points = (struct stored_points){0};
    if (store_is_empty(store)) return EXIT_DONE;
    strbuf_text(&sql, "SELECT point, ");
    store_point_columns(&sql);
    strbuf_text(&sql, " FROM points ORDER BY point");
    status = store_prepare(store, &statement, sql.data);
    strbuf_free(&sql);
    if (status) return status;
    while (!status && (row = store_next_row(store, statement)) != 0) {
        if (row < 0) {
            status = EXIT_FAILED;
            break;
        }
        points->items = xgrow(points->items, points->count + 1, sizeof *points->items);
        struct stored_point *p = &points->items[points->count++];
        *p = (struct stored_point){.point = sqlite3_column_int(statement, 0),
                                   .name = store_column_text(statement, 1),
                                   .key = store_column_text(statement, 2),
                                   .samples = sqlite3_column_int(statement, 4)};
        if (!p->name || !p->key || p->point < 0 || p->samples < 0 || !read_sampling(statement, 5, &p->sampling))
            status = complain(EXIT_FAILED, "%s: point %d is damaged", store->path, (int)p->point);
    }
    sqlite3_finalize(statement);
    return status;
}

void stored_points_free(struct stored_points *points) {
    for (size_t i = 0; i < points->count; i++) {
        free(points->items[i].name);
        free(points->items[i].key);
    }
    free(points->items);
    *points = (struct stored_points){0};
}
