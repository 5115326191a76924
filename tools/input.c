/* input.c: texts and token ids from flags, files and standard input. */
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "common.h"
#include "output.h"
#include "strbuf.h"

/* Longer inputs are a mistake more often than a wish, and ids are counted with 32 bits. */
static const size_t input_limit = (size_t)1 << 30;

/* ---- files ---- */

static int read_stream(FILE *file, const char *name, struct text *text) {
    struct strbuf all = {0};
    char chunk[1 << 16];
    size_t count;
    errno = 0;
    while ((count = fread(chunk, 1, sizeof chunk, file)) > 0 && all.length <= input_limit)
        strbuf_add(&all, chunk, count);
    int status = EXIT_DONE;
    if (ferror(file))
        status = complain(EXIT_FAILED, "%s: %s", name, strerror(errno));
    else if (all.length > input_limit)
        status = complain(EXIT_FAILED, "%s: longer than %zu bytes", name, input_limit);
    if (status) {
        strbuf_free(&all);
        return status;
    }
    strbuf_add(&all, "", 0); /* terminated even when empty */
    *text = (struct text){all.data, all.length};
    return EXIT_DONE;
}

int read_text(const char *path, struct text *text) {
    if (strcmp(path, "-") == 0) return read_stream(stdin, "standard input", text);
    FILE *file = fopen(path, "rb");
    if (!file) return complain(EXIT_FAILED, "%s: %s", path, strerror(errno));
    int status = read_stream(file, path, text);
    fclose(file);
    return status;
}

void each_line(const struct text *text, void (*body)(void *user, const char *line, size_t length), void *user) {
    const char *at = text->bytes, *end = text->bytes + text->length;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        body(user, at, (size_t)(stop - at));
        at = newline ? newline + 1 : end;
    }
}

/* ---- ids ---- */

bool parse_ids(const char *text, const char *what, struct prompt *prompt) {
    static const char spaces[] = " ,\t\r\n";
    *prompt = (struct prompt){0};
    for (const char *at = text + strspn(text, spaces); *at; at += strspn(at, spaces)) {
        size_t length = strcspn(at, spaces);
        char *word = xdup(at, length);
        int64_t id = -1;
        bool good = parse_int(word, 0, INT32_MAX, &id);
        if (!good) complain(EXIT_USAGE, "%s: \"%.40s\" is not a token id", what, word);
        free(word);
        if (!good) {
            free(prompt->ids);
            *prompt = (struct prompt){0};
            return false;
        }
        if ((prompt->count & (prompt->count + 1)) == 0) /* doubles at 0, 1, 3, 7 … */
            prompt->ids = xgrow(prompt->ids, 2 * prompt->count + 1, sizeof *prompt->ids);
        prompt->ids[prompt->count++] = (int32_t)id;
        at += length;
    }
    if (!prompt->ids) prompt->ids = xalloc(sizeof *prompt->ids);
    return true;
}

/* ---- prompts ---- */

const struct arg prompt_args[6] = {
    {.name = "prompt",
     .letter = 'p',
     .kind = ARG_TEXTS,
     .offset = offsetof(struct prompt_args, prompts),
     .meta = "TEXT",
     .text = "a prompt; - = standard input; repeat it for several"},
    {.name = "prompt-file",
     .letter = 'f',
     .kind = ARG_TEXTS,
     .offset = offsetof(struct prompt_args, files),
     .meta = "FILE",
     .text = "the whole file is one prompt, byte for byte; - = standard input"},
    {.name = "prompts",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct prompt_args, lists),
     .meta = "FILE",
     .text = "each line is a prompt (empty lines are left out), or, when the first line is a JSON object, each line's "
             "\"prompt\" is"},
    {.name = "prompt-ids",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct prompt_args, ids),
     .meta = "IDS",
     .text = "a prompt of token ids, \"1 2 3\", used as they are"},
    {.name = "no-special",
     .kind = ARG_FLAG,
     .offset = offsetof(struct prompt_args, no_special),
     .text = "do not add what the tokenizer puts around a text (a begin-of-text token ...)"},
    {.name = "plain",
     .kind = ARG_FLAG,
     .offset = offsetof(struct prompt_args, plain),
     .text = "text that spells a special token, such as <|endoftext|>, is ordinary text"},
};

static struct prompt_source *add_source(struct prompt_list *list) {
    if ((list->count & (list->count + 1)) == 0)
        list->sources = xgrow(list->sources, 2 * list->count + 1, sizeof *list->sources);
    struct prompt_source *source = &list->sources[list->count++];
    *source = (struct prompt_source){0};
    return source;
}

static void add_text(struct prompt_list *list, const char *bytes, size_t length) {
    add_source(list)->text = (struct text){xdup(bytes, length), length};
}

static int add_file(struct prompt_list *list, const char *path, bool trim) {
    struct text text;
    int status = read_text(path, &text);
    if (status) return status;
    if (trim && text.length && text.bytes[text.length - 1] == '\n') text.bytes[--text.length] = 0;
    add_source(list)->text = text;
    return EXIT_DONE;
}

/* The state of reading one --prompts file. */
struct lines {
    struct prompt_list *list;
    const char *path;
    size_t number;
    int status;
    bool json;
};

static void add_json_line(struct lines *lines, const char *line, size_t length) {
    char *copy = xdup(line, length);
    cJSON *object = cJSON_ParseWithOpts(copy, NULL, true); /* true: nothing may follow */
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(object, "prompt");
    const char *wrong = NULL;
    if (!object)
        wrong = "not JSON";
    else if (!cJSON_IsString(prompt))
        wrong = "no \"prompt\" of type string";
    else if (strstr(copy, "\\u0000"))
        wrong = "\\u0000 is not supported"; /* cJSON's strings would end there */
    if (wrong)
        lines->status = complain(EXIT_FAILED, "%s: line %zu: %s", lines->path, lines->number, wrong);
    else
        add_text(lines->list, prompt->valuestring, strlen(prompt->valuestring));
    cJSON_Delete(object);
    free(copy);
}

static void add_line(void *user, const char *line, size_t length) {
    struct lines *lines = user;
    lines->number++;
    if (length && line[length - 1] == '\r') length--;
    if (length == 0 || lines->status) return;
    if (lines->number == 1 && line[0] == '{') {
        cJSON *object = cJSON_ParseWithLength(line, length);
        lines->json = cJSON_IsObject(object);
        cJSON_Delete(object);
    }
    if (lines->json)
        add_json_line(lines, line, length);
    else
        add_text(lines->list, line, length);
}

static int add_lines(struct prompt_list *list, const char *path) {
    struct text text;
    struct lines lines = {list, strcmp(path, "-") == 0 ? "standard input" : path, 0, EXIT_DONE, false};
    size_t before = list->count;
    int status = read_text(path, &text);
    if (status) return status;
    each_line(&text, add_line, &lines);
    free(text.bytes);
    if (!lines.status && list->count == before) return complain(EXIT_FAILED, "%s: holds no prompt", lines.path);
    return lines.status;
}

static int read_flags(struct prompt_list *list, const struct prompt_args *args) {
    const struct text_list *const texts[2] = {&args->prompts, &args->words};
    int status = EXIT_DONE;
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < texts[k]->count && !status; i++) {
            const char *text = texts[k]->items[i];
            if (strcmp(text, "-") == 0)
                status = add_file(list, "-", true);
            else
                add_text(list, text, strlen(text));
        }
    for (size_t i = 0; i < args->files.count && !status; i++) status = add_file(list, args->files.items[i], false);
    for (size_t i = 0; i < args->lists.count && !status; i++) status = add_lines(list, args->lists.items[i]);
    for (size_t i = 0; i < args->ids.count && !status; i++) {
        struct prompt ids;
        if (!parse_ids(args->ids.items[i], "--prompt-ids", &ids)) return EXIT_USAGE;
        add_source(list)->ids = ids;
        if (ids.count == 0) status = complain(EXIT_USAGE, "--prompt-ids: no ids given");
    }
    return status;
}

int prompt_list_read(struct prompt_list *list, const struct prompt_args *args) {
    *list = (struct prompt_list){0};
    int status = read_flags(list, args);
    if (status || list->count) return status;
    if (terminal_is(stdin)) return complain(EXIT_USAGE, "no prompt: give --prompt TEXT, or pipe one in (see --help)");
    status = add_file(list, "-", true);
    if (!status && list->sources[0].text.length == 0)
        return complain(EXIT_USAGE, "no prompt: no --prompt was given and standard input is empty");
    return status;
}

int encode_text(const tempera_model *model, const struct text *text, bool no_special, bool plain,
                struct prompt *prompt) {
    tempera_error err;
    int32_t *ids;
    unsigned flags = (no_special ? 0U : TEMPERA_ENCODE_SPECIAL) | (plain ? TEMPERA_ENCODE_PLAIN : 0U);
    *prompt = (struct prompt){0};
    if (tempera_encode(model, text->bytes, text->length, flags, &ids, &prompt->count, &err) != TEMPERA_OK)
        return complain_error(&err);
    prompt->ids = xarray(prompt->count, sizeof *prompt->ids);
    if (prompt->count) memcpy(prompt->ids, ids, prompt->count * sizeof *ids);
    tempera_free(ids);
    return EXIT_DONE;
}

int prompt_fill_empty(struct prompt *prompt, size_t index, const tempera_model *model) {
    tempera_model_info info;
    tempera_model_info_get(model, &info);
    int32_t first = info.bos >= 0 ? info.bos : info.eos;
    if (first < 0)
        return complain(EXIT_FAILED, "prompt %zu is empty, and the model has no begin-of-text token to start from",
                        index);
    prompt->ids = xgrow(prompt->ids, 1, sizeof *prompt->ids);
    prompt->ids[0] = first;
    prompt->count = 1;
    return EXIT_DONE;
}

int prompt_list_encode(struct prompt_list *list, const struct prompt_args *args, const tempera_model *model) {
    list->items = xarray(list->count, sizeof *list->items);
    for (size_t i = 0; i < list->count; i++) {
        struct prompt_source *source = &list->sources[i];
        int status = EXIT_DONE;
        if (source->ids.ids) {
            list->items[i] = source->ids;
            source->ids = (struct prompt){0};
        } else {
            status = encode_text(model, &source->text, args->no_special, args->plain, &list->items[i]);
        }
        if (!status && list->items[i].count == 0) status = prompt_fill_empty(&list->items[i], i, model);
        if (status) return status;
    }
    return EXIT_DONE;
}

void prompt_list_free(struct prompt_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->sources[i].text.bytes);
        free(list->sources[i].ids.ids);
        if (list->items) free(list->items[i].ids);
    }
    free(list->sources);
    free(list->items);
    *list = (struct prompt_list){0};
}
