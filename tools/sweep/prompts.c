/* prompts.c: reads the prompts of a sweep. */
#include "prompts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/utf8.h"
#include "json_writer.h"

/* The state of reading one file. */
struct reading {
    struct sweep_prompts *prompts;
    const char *path;
    size_t line;
    bool begun, json; /* the first line that is not empty says which form the file has */
    int status;
};

static struct sweep_prompt *add_prompt(struct sweep_prompts *prompts) {
    if ((prompts->count & (prompts->count + 1)) == 0) /* doubles at 0, 1, 3, 7 … */
        prompts->items = xgrow(prompts->items, 2 * prompts->count + 1, sizeof *prompts->items);
    struct sweep_prompt *prompt = &prompts->items[prompts->count++];
    *prompt = (struct sweep_prompt){0};
    return prompt;
}

static char *number_text(size_t number) {
    char text[24];
    snprintf(text, sizeof text, "%zu", number);
    return xdup(text, strlen(text));
}

/* ---- JSON lines ---- */

static bool wrong(struct reading *reading, const char *what) {
    reading->status = complain(EXIT_FAILED, "%s: line %zu: %s", reading->path, reading->line, what);
    return false;
}

/* A string, or a number as it would be written; NULL when absent. */
static bool read_text_or_number(struct reading *reading, const cJSON *object, const char *key, char **text) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    char message[80];
    if (!item || cJSON_IsNull(item)) return true;
    if (cJSON_IsString(item)) {
        *text = xdup(item->valuestring, strlen(item->valuestring));
        return true;
    }
    if (!cJSON_IsNumber(item)) {
        snprintf(message, sizeof message, "\"%s\" is neither a string nor a number", key);
        return wrong(reading, message);
    }
    struct json number = {0};
    if (item->valuedouble == rint(item->valuedouble) && fabs(item->valuedouble) < 1e15)
        json_int(&number, NULL, (int64_t)item->valuedouble);
    else
        json_double(&number, NULL, item->valuedouble);
    *text = number.out.data;
    return true;
}

/* An array of strings; a lone string is an array of one. */
static bool read_strings(struct reading *reading, const cJSON *object, const char *key, char ***items, size_t *count) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, key), *item;
    char message[80];
    if (!list || cJSON_IsNull(list)) return true;
    snprintf(message, sizeof message, "\"%s\" is neither a string nor an array of strings", key);
    if (cJSON_IsString(list)) {
        *items = xgrow(*items, 1, sizeof **items);
        (*items)[(*count)++] = xdup(list->valuestring, strlen(list->valuestring));
        return true;
    }
    if (!cJSON_IsArray(list)) return wrong(reading, message);
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item)) return wrong(reading, message);
        *items = xgrow(*items, *count + 1, sizeof **items);
        (*items)[(*count)++] = xdup(item->valuestring, strlen(item->valuestring));
    }
    return true;
}

static bool read_members(struct reading *reading, const cJSON *object, struct sweep_prompt *prompt) {
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(object, "prompt");
    const cJSON *test = cJSON_GetObjectItemCaseSensitive(object, "test");
    if (!cJSON_IsString(text)) return wrong(reading, "no \"prompt\" of type string");
    prompt->text = xdup(text->valuestring, strlen(text->valuestring));
    if (test && !cJSON_IsNull(test)) {
        if (!cJSON_IsString(test)) return wrong(reading, "\"test\" is not a string");
        prompt->test = xdup(test->valuestring, strlen(test->valuestring));
    }
    return read_text_or_number(reading, object, "id", &prompt->id) &&
           read_text_or_number(reading, object, "answer", &prompt->answer) &&
           read_strings(reading, object, "reference", &prompt->references, &prompt->reference_count) &&
           read_strings(reading, object, "choices", &prompt->choices, &prompt->choice_count);
}

static void read_json_line(struct reading *reading, const char *line, size_t length) {
    char *copy = xdup(line, length);
    cJSON *object = cJSON_ParseWithOpts(copy, NULL, true); /* true: nothing may follow */
    struct sweep_prompt *prompt = add_prompt(reading->prompts);
    prompt->line = reading->line;
    if (!cJSON_IsObject(object))
        wrong(reading, "not a JSON object");
    else if (strstr(copy, "\\u0000"))
        wrong(reading, "\\u0000 is not supported"); /* cJSON's strings would end there */
    else
        read_members(reading, object, prompt);
    cJSON_Delete(object);
    free(copy);
}

static void read_line(void *user, const char *line, size_t length) {
    struct reading *reading = user;
    reading->line++;
    if (reading->line == 1 && length >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) { /* some editors' mark of UTF-8 */
        line += 3;
        length -= 3;
    }
    if (length && line[length - 1] == '\r') length--;
    if (length == 0 || reading->status) return;
    if (memchr(line, 0, length)) {
        wrong(reading, "holds a NUL byte");
        return;
    }
    for (size_t i = 0; i < length;) {
        size_t n = utf8_sequence((const unsigned char *)line + i, length - i);
        if (n == 0) {
            wrong(reading, "not UTF-8");
            return;
        }
        i += n;
    }
    if (!reading->begun && line[0] == '{') {
        cJSON *object = cJSON_ParseWithLength(line, length);
        reading->json = cJSON_IsObject(object);
        cJSON_Delete(object);
    }
    reading->begun = true;
    if (reading->json) {
        read_json_line(reading, line, length);
    } else {
        struct sweep_prompt *prompt = add_prompt(reading->prompts);
        prompt->line = reading->line;
        prompt->text = xdup(line, length);
    }
}

static int read_file(struct sweep_prompts *prompts, const char *path) {
    struct text text;
    struct reading reading = {.prompts = prompts, .path = strcmp(path, "-") == 0 ? "standard input" : path};
    size_t before = prompts->count;
    int status = read_text(path, &text);
    if (status) return status;
    each_line(&text, read_line, &reading);
    free(text.bytes);
    if (!reading.status && prompts->count == before) return complain(EXIT_FAILED, "%s: holds no prompt", reading.path);
    return reading.status;
}

/* ---- the whole ---- */

static int compare_ids(const void *a, const void *b) {
    const struct sweep_prompt *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static int check_ids(const struct sweep_prompts *prompts) {
    const struct sweep_prompt **sorted = xarray(prompts->count, sizeof *sorted);
    int status = EXIT_DONE;
    for (size_t i = 0; i < prompts->count; i++) sorted[i] = &prompts->items[i];
    qsort(sorted, prompts->count, sizeof *sorted, compare_ids);
    for (size_t i = 1; i < prompts->count && !status; i++)
        if (strcmp(sorted[i - 1]->id, sorted[i]->id) == 0)
            status = complain(EXIT_FAILED, "two prompts have the id \"%s\"", sorted[i]->id);
    free(sorted);
    return status;
}

static void hash_list(struct hash *hash, char *const *items, size_t count) {
    for (size_t i = 0; i < count; i++) hash_text(hash, items[i]);
    hash_text(hash, NULL);
}

static void hash_prompts(struct sweep_prompts *prompts) {
    struct hash *hash = hash_start();
    for (size_t i = 0; i < prompts->count; i++) {
        const struct sweep_prompt *prompt = &prompts->items[i];
        hash_text(hash, prompt->id);
        hash_text(hash, prompt->text);
        hash_list(hash, prompt->references, prompt->reference_count);
        hash_list(hash, prompt->choices, prompt->choice_count);
        hash_text(hash, prompt->answer);
        hash_text(hash, prompt->test);
    }
    hash_end(hash, prompts->hash);
}

int sweep_prompts_read(struct sweep_prompts *prompts, const struct text_list *files, const struct text_list *texts) {
    int status = EXIT_DONE;
    *prompts = (struct sweep_prompts){0};
    for (size_t i = 0; i < files->count && !status; i++) status = read_file(prompts, files->items[i]);
    for (size_t i = 0; i < texts->count && !status; i++)
        add_prompt(prompts)->text = xdup(texts->items[i], strlen(texts->items[i]));
    if (status) return status;
    bool alone = files->count == 1 && texts->count == 0; /* else numbers of lines would repeat */
    if (prompts->count > INT32_MAX) return complain(EXIT_USAGE, "%zu prompts are too many", prompts->count);
    for (size_t i = 0; i < prompts->count; i++) {
        struct sweep_prompt *prompt = &prompts->items[i];
        if (!prompt->id) prompt->id = number_text(alone ? prompt->line : i + 1);
    }
    status = check_ids(prompts);
    if (!status) hash_prompts(prompts);
    return status;
}

/* Where a prompt came from, for messages. */
static void show_origin(struct strbuf *b, const struct sweep_prompt *prompt) {
    if (b->length) strbuf_text(b, ", ");
    if (prompt->line)
        strbuf_printf(b, "line %zu", prompt->line);
    else
        strbuf_printf(b, "--prompt \"%s\"", prompt->id);
}

static int check_lengths(const struct sweep_prompts *prompts, int32_t context) {
    enum { SHOWN = 20 };
    struct strbuf lines = {0};
    size_t bad = 0;
    for (size_t i = 0; i < prompts->count; i++) {
        if (prompts->items[i].tokens.count < (size_t)context) continue;
        if (bad++ < SHOWN) show_origin(&lines, &prompts->items[i]);
    }
    int status = EXIT_DONE;
    if (bad)
        status = complain(EXIT_FAILED, "%zu prompt%s no room for a token in the context of %d: %s%s", bad,
                          bad == 1 ? " leaves" : "s leave", (int)context, lines.data, bad > SHOWN ? ", ..." : "");
    strbuf_free(&lines);
    return status;
}

int sweep_prompts_encode(struct sweep_prompts *prompts, const tempera_model *model, int32_t context) {
    for (size_t i = 0; i < prompts->count; i++) {
        struct sweep_prompt *prompt = &prompts->items[i];
        const struct text text = {prompt->text, strlen(prompt->text)};
        int status = encode_text(model, &text, false, false, &prompt->tokens);
        if (!status && prompt->tokens.count == 0) status = prompt_fill_empty(&prompt->tokens, i, model);
        if (status) return status;
    }
    return check_lengths(prompts, context);
}

static void free_list(char **items, size_t count) {
    for (size_t i = 0; i < count; i++) free(items[i]);
    free(items);
}

void sweep_prompts_free(struct sweep_prompts *prompts) {
    for (size_t i = 0; i < prompts->count; i++) {
        struct sweep_prompt *prompt = &prompts->items[i];
        free(prompt->id);
        free(prompt->text);
        free(prompt->answer);
        free(prompt->test);
        free(prompt->tokens.ids);
        free_list(prompt->references, prompt->reference_count);
        free_list(prompt->choices, prompt->choice_count);
    }
    free(prompts->items);
    *prompts = (struct sweep_prompts){0};
}
