/* args_help.c: prints the tables as help. */
#include <math.h>
#include <string.h>

#include "args.h"
#include "common.h"
#include "output.h"
#include "strbuf.h"

enum { TEXT_COLUMN = 28, WIDTH = 96 };

/* Words of `text` in lines of WIDTH columns, the lines after the first indented. `column` is where the first begins. */
static void wrap(struct strbuf *out, const char *text, size_t column, size_t indent) {
    bool first = true;
    for (;;) {
        text += strspn(text, " ");
        size_t length = strcspn(text, " \n");
        if (length == 0) break;
        if (!first && column + 1 + length > WIDTH) {
            strbuf_char(out, '\n');
            strbuf_pad(out, ' ', indent);
            column = indent;
        } else if (!first) {
            strbuf_char(out, ' ');
            column++;
        }
        strbuf_add(out, text, length);
        column += length;
        text += length;
        first = false;
        if (*text == '\n') break;
    }
    strbuf_char(out, '\n');
}

/* "[default 1; 0 to 1000]", or nothing. */
static void describe(struct strbuf *out, const struct arg *arg) {
    struct strbuf note = {0};
    const char *between = arg->initial ? "; " : "";
    bool number = arg->kind == ARG_INT || arg->kind == ARG_INTS || arg->kind == ARG_FIELD;
    if (arg->initial) strbuf_printf(&note, "default %s", arg->initial);
    if (arg->kind == ARG_FIELD) strbuf_printf(&note, "default %g", arg->value), between = "; ";
    if (arg->kind == ARG_FIELD_BOOL) strbuf_text(&note, "default off");
    if (arg->choices) strbuf_printf(&note, "%s%s", between, arg->choices);
    if (number && arg->high >= 0x1p63)
        strbuf_printf(&note, "%s0 to 2^64-1, or random", between);
    else if (number && arg->high >= INT32_MAX)
        strbuf_printf(&note, "%s%g or more", between, arg->low);
    else if (number)
        strbuf_printf(&note, "%s%.8g to %.8g", between, arg->low, arg->high);
    if (note.length) strbuf_printf(out, " [%s]", note.data);
    strbuf_free(&note);
}

static void print_arg(struct strbuf *out, const struct arg *arg) {
    struct strbuf left = {0}, text = {0};
    strbuf_text(&left, "  ");
    if (arg->letter) strbuf_printf(&left, "-%c, ", arg->letter);
    strbuf_printf(&left, "--%s%s", arg->kind == ARG_SWITCH ? "[no-]" : "", arg->name);
    for (size_t i = 2; i < left.length; i++)
        if (left.data[i] == '_') left.data[i] = '-';
    if (arg->meta) strbuf_printf(&left, " %s", arg->meta);
    strbuf_text(&text, arg->text);
    describe(&text, arg);
    strbuf_add(out, left.data, left.length);
    if (left.length + 2 > TEXT_COLUMN) {
        strbuf_char(out, '\n');
        strbuf_pad(out, ' ', TEXT_COLUMN);
    } else {
        strbuf_pad(out, ' ', TEXT_COLUMN - left.length);
    }
    wrap(out, text.data, TEXT_COLUMN, TEXT_COLUMN);
    strbuf_free(&left);
    strbuf_free(&text);
}

static void print_notes(struct strbuf *out, const char *notes) {
    for (const char *line = notes; line && *line;) {
        strbuf_char(out, '\n');
        wrap(out, line, 0, 0);
        const char *end = strchr(line, '\n');
        line = end ? end + 1 : NULL;
    }
}

void args_help(const struct arg_command *command) {
    struct strbuf out = {0};
    strbuf_printf(&out, "tempera %s: %s\n\nUsage: tempera %s %s\n", command->name, command->summary, command->name,
                  command->synopsis);
    for (const struct arg_group *group = command->groups; group->title; group++) {
        strbuf_printf(&out, "\n%s:\n", group->title);
        for (size_t i = 0; i < group->count; i++) print_arg(&out, &group->args[i]);
    }
    print_notes(&out, command->notes);
    if (command->examples) strbuf_printf(&out, "\nExamples:\n%s", command->examples);
    output_buf(&out);
    strbuf_free(&out);
}
