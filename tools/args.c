/* args.c: reads the command line by the tables. */
#include "args.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "strbuf.h"

enum { ARGS_OK = -1 }; /* go on: no exit status yet */

void text_list_add(struct text_list *list, const char *text) {
    list->items = xgrow((void *)list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = text;
}

bool parse_int(const char *text, int64_t low, int64_t high, int64_t *value) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || errno || number < low || number > high) return false;
    *value = number;
    return true;
}

bool parse_uint64(const char *text, uint64_t *value) {
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9') return false; /* strtoull takes "-1" */
    unsigned long long number = strtoull(text, &end, 10);
    if (*end || errno) return false;
    *value = number;
    return true;
}

bool parse_size(const char *text, size_t *value) {
    static const char suffixes[] = "KMGT";
    char *end;
    errno = 0;
    if (!((*text >= '0' && *text <= '9') || *text == '.')) return false;
    double number = strtod(text, &end);
    const char *suffix = *end ? strchr(suffixes, *end & ~0x20) : NULL;
    if (*end) {
        if (!suffix) return false;
        number *= pow(1024, (double)(suffix - suffixes + 1));
        end++;
        if (end[0] == 'i' && end[1] == 'B')
            end += 2;
        else if (end[0] == 'B')
            end++;
    }
    if (*end || errno || !(number >= 0) || number > 0x1p62) return false;
    *value = (size_t)number;
    return true;
}

/* ---- near names ---- */

/* Edits (insert, delete, replace) that turn a into b; long names are cut. */
static size_t edit_distance(const char *a, const char *b) {
    enum { LONGEST = 63 };
    size_t row[LONGEST + 1];
    size_t columns = strnlen(b, LONGEST);
    for (size_t k = 0; k <= columns; k++) row[k] = k;
    for (size_t i = 0; a[i] && i < LONGEST; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 1; k <= columns; k++) {
            size_t replaced = diagonal + (a[i] != b[k - 1]);
            size_t other = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;
            diagonal = row[k];
            row[k] = replaced < other ? replaced : other;
        }
    }
    return row[columns];
}

const char *nearest_name(const char *name, const char *const *names, size_t count) {
    const char *best = NULL;
    size_t best_distance = 2 + strlen(name) / 4;
    for (size_t i = 0; i < count; i++) {
        bool begins = strlen(name) >= 2 && strncmp(names[i], name, strlen(name)) == 0;
        size_t distance = begins ? 1 : edit_distance(name, names[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best;
}

static void with_dashes(char *out, size_t size, const char *name) {
    size_t i = 0;
    for (; name[i] && i + 1 < size; i++) out[i] = name[i] == '_' ? '-' : name[i];
    out[i] = 0;
}

/* ---- one flag ---- */

static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b)) return false;
    return *a == *b;
}

/* Walks over all rows: *group and *index start at 0; NULL at the end. */
static const struct arg *next_arg(const struct arg_command *command, size_t *group, size_t *index) {
    while (command->groups[*group].title) {
        if (*index < command->groups[*group].count) return &command->groups[*group].args[(*index)++];
        ++*group;
        *index = 0;
    }
    return NULL;
}

/* Finds --name; *negated for the --no-name of a switch. */
static const struct arg *find_long(const struct arg_command *command, const char *name, bool *negated, void **base) {
    size_t group = 0, index = 0;
    for (const struct arg *arg; (arg = next_arg(command, &group, &index));) {
        *base = command->groups[group].base;
        *negated = arg->kind == ARG_SWITCH && strncmp(name, "no-", 3) == 0 && same_name(arg->name, name + 3);
        if (*negated || same_name(arg->name, name)) return arg;
    }
    return NULL;
}

static const struct arg *find_short(const struct arg_command *command, char letter, void **base) {
    size_t group = 0, index = 0;
    for (const struct arg *arg; (arg = next_arg(command, &group, &index));) {
        *base = command->groups[group].base;
        if (arg->letter == letter) return arg;
    }
    return NULL;
}

static int unknown_flag(const struct arg_command *command, const char *name) {
    enum { MOST = 96, NAME = 48 };
    char spelled[MOST][NAME];
    const char *names[MOST];
    size_t count = 0, group = 0, index = 0;
    for (const struct arg *arg; count < MOST && (arg = next_arg(command, &group, &index)); count++) {
        with_dashes(spelled[count], NAME, arg->name);
        names[count] = spelled[count];
    }
    const char *near = nearest_name(name, names, count);
    if (near) return complain(EXIT_USAGE, "%s: unknown flag --%s (did you mean --%s?)", command->name, name, near);
    return complain(EXIT_USAGE, "%s: unknown flag --%s (see tempera %s --help)", command->name, name, command->name);
}

static bool bad_value(const struct arg *arg, const char *expected, const char *value) {
    char name[48];
    with_dashes(name, sizeof name, arg->name);
    complain(EXIT_USAGE, "--%s: expected %s, got \"%s\"", name, expected, value);
    return false;
}

static bool bad_number(const struct arg *arg, const char *value) {
    char expected[80];
    if (arg->high >= INT32_MAX)
        snprintf(expected, sizeof expected, "a whole number, %.0f or more", arg->low);
    else
        snprintf(expected, sizeof expected, "a whole number, %.0f to %.0f", arg->low, arg->high);
    return bad_value(arg, expected, value);
}

static bool set_choice(const struct arg *arg, const char *value, const char **out) {
    size_t length = strlen(value);
    for (const char *word = arg->choices; word; word = strchr(word, '|') ? strchr(word, '|') + 1 : NULL)
        if (length && strcspn(word, "|") == length && strncmp(word, value, length) == 0) {
            *out = value;
            return true;
        }
    char expected[200];
    snprintf(expected, sizeof expected, "one of %s", arg->choices);
    return bad_value(arg, expected, value);
}

static bool set_ints(const struct arg *arg, const char *value, struct int_list *out) {
    struct strbuf why = {0};
    bool good = int_list_parse(out, value, (int64_t)arg->low, (int64_t)arg->high, &why);
    if (!good && why.length)
        bad_value(arg, why.data, value);
    else if (!good)
        bad_number(arg, value);
    strbuf_free(&why);
    return good;
}

static bool set_value(const struct arg *arg, void *base, const char *value) {
    void *target = (char *)base + arg->offset;
    int64_t number;
    switch (arg->kind) {
    case ARG_FLAG: *(bool *)target = true; return true;
    case ARG_SWITCH: *(int *)target = 1; return true;
    case ARG_TEXT: *(const char **)target = value; return true;
    case ARG_TEXTS: text_list_add(target, value); return true;
    case ARG_CHOICE: return set_choice(arg, value, target);
    case ARG_INTS: return set_ints(arg, value, target);
    case ARG_INT:
        if (!parse_int(value, (int64_t)arg->low, (int64_t)arg->high, &number)) return bad_number(arg, value);
        *(int32_t *)target = (int32_t)number;
        return true;
    case ARG_SIZE:
        if (!parse_size(value, target)) return bad_value(arg, "a size such as 512M or 2G", value);
        return true;
    case ARG_FIELD:
    case ARG_FIELD_BOOL: return arg->set(base, arg, value);
    }
    return false;
}

static bool takes_value(const struct arg *arg) {
    return arg->kind != ARG_FLAG && arg->kind != ARG_SWITCH && arg->kind != ARG_FIELD_BOOL;
}

/* ---- the command line ---- */

struct cursor {
    int argc, at;
    char **argv;
};

/* A flag that was found: fetches its value and sets it. `attached` is what followed "=" or the letter. */
static int apply(const struct arg *arg, void *base, bool negated, const char *attached, struct cursor *cursor) {
    char name[48];
    with_dashes(name, sizeof name, arg->name);
    if (arg->kind == ARG_FIELD_BOOL) return set_value(arg, base, attached ? attached : "true") ? ARGS_OK : EXIT_USAGE;
    if (!takes_value(arg)) {
        if (attached) return complain(EXIT_USAGE, "--%s takes no value", name);
        if (negated)
            *(int *)((char *)base + arg->offset) = 0;
        else
            set_value(arg, base, NULL);
        return ARGS_OK;
    }
    if (!attached && cursor->at >= cursor->argc) return complain(EXIT_USAGE, "--%s needs a value", name);
    return set_value(arg, base, attached ? attached : cursor->argv[cursor->at++]) ? ARGS_OK : EXIT_USAGE;
}

static int long_flag(const struct arg_command *command, const char *word, struct cursor *cursor) {
    size_t length = strcspn(word, "=");
    char *name = xdup(word, length);
    bool negated;
    void *base;
    int status;
    const struct arg *arg = find_long(command, name, &negated, &base);
    if (arg)
        status = apply(arg, base, negated, word[length] ? word + length + 1 : NULL, cursor);
    else
        status = unknown_flag(command, name);
    free(name);
    return status;
}

static int short_flag(const struct arg_command *command, const char *word, struct cursor *cursor) {
    void *base;
    const struct arg *arg = find_short(command, word[0], &base);
    if (!arg)
        return complain(EXIT_USAGE, "%s: unknown flag -%s (see tempera %s --help)", command->name, word, command->name);
    return apply(arg, base, false, word[1] ? word + 1 + (word[1] == '=') : NULL, cursor);
}

static int positional(const struct arg_command *command, const char *word) {
    if (!command->positional)
        return complain(EXIT_USAGE, "%s: unexpected argument \"%s\" (see tempera %s --help)", command->name, word,
                        command->name);
    text_list_add(command->positional, word);
    return ARGS_OK;
}

static int args_parse(const struct arg_command *command, int argc, char **argv) {
    struct cursor cursor = {argc, 0, argv};
    bool flags = true;
    while (cursor.at < cursor.argc) {
        const char *word = argv[cursor.at++];
        int status;
        if (!flags || word[0] != '-' || !word[1]) {
            status = positional(command, word);
        } else if (strcmp(word, "--") == 0) {
            flags = false;
            continue;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            args_help(command);
            return 0;
        } else if (word[1] == '-') {
            status = long_flag(command, word + 2, &cursor);
        } else {
            status = short_flag(command, word + 1, &cursor);
        }
        if (status != ARGS_OK) return status;
    }
    return ARGS_OK;
}

static void free_lists(const struct arg_command *command) {
    size_t group = 0, index = 0;
    for (const struct arg *arg; (arg = next_arg(command, &group, &index));) {
        void *target = (char *)command->groups[group].base + arg->offset;
        if (arg->kind == ARG_TEXTS) free((void *)((struct text_list *)target)->items);
        if (arg->kind == ARG_INTS) free(((struct int_list *)target)->items);
    }
    if (command->positional) free((void *)command->positional->items);
}

int args_run(const struct arg_command *command, int argc, char **argv, int (*run)(void *user), void *user) {
    int status = args_parse(command, argc, argv);
    if (status == ARGS_OK) status = run(user);
    free_lists(command);
    return status;
}
