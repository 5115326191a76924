/* args.h: tables of command-line flags: parsing, checking and the help text are made from the same rows. */
#ifndef TOOLS_ARGS_H
#define TOOLS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_list {
    const char **items; /* borrowed from argv */
    size_t count;
};
void text_list_add(struct text_list *list, const char *text);

struct int_list {
    int32_t *items;
    size_t count;
};
struct strbuf;
/* Replaces the list by the numbers of "1,4,16-64*2": numbers in low … high (0 or more), and ranges FIRST-LAST, of every
 * number, FIRST-LAST+STEP or FIRST-LAST*FACTOR; FIRST:LAST:STEP is the same as the second. At most 4,096 numbers. False
 * when it is not so; *why says what a range should have been, and is empty when a number is the fault. */
bool int_list_parse(struct int_list *list, const char *text, int64_t low, int64_t high, struct strbuf *why);
void int_list_default(struct int_list *list, const int32_t *values, size_t count); /* fills one that was not given */

enum arg_kind {
    ARG_FLAG,       /* bool: --name */
    ARG_SWITCH,     /* int: --name gives 1, --no-name 0; the caller's initial -1 means not given */
    ARG_TEXT,       /* const char * */
    ARG_TEXTS,      /* struct text_list; may be repeated */
    ARG_CHOICE,     /* const char *, one of the words of `choices`, separated by | */
    ARG_INT,        /* int32_t in low … high */
    ARG_INTS,       /* struct int_list, "1,2,16-64*2", each in low … high; a repetition replaces it */
    ARG_SIZE,       /* size_t: bytes, or with a suffix K, M, G, T (powers of 1024) */
    ARG_FIELD,      /* any number: set() keeps and checks it; the row gives its range and default */
    ARG_FIELD_BOOL, /* set() gets "true", or what follows "=" */
};

struct arg {
    const char *name; /* without dashes; - and _ are the same when it is looked up */
    char letter;      /* short form, 0 = none */
    enum arg_kind kind;
    size_t offset;    /* of the variable in the group's struct */
    const char *meta; /* what stands for the value in the help: "DIR" */
    const char *text;
    const char *initial; /* the default in words; NULL when the text says it or there is none */
    const char *choices;
    double low, high;
    double value;                                                      /* ARG_FIELD: the default */
    bool (*set)(void *base, const struct arg *arg, const char *value); /* complains itself when it fails */
};

struct arg_group {
    const char *title;
    const struct arg *args;
    size_t count;
    void *base;
};

enum { ARG_GROUPS = 14 }; /* the last one ends the list */

struct arg_command {
    const char *name;
    const char *summary;                 /* one line */
    const char *synopsis;                /* after "tempera NAME " */
    const char *notes;                   /* paragraphs after the flags; may be NULL */
    const char *examples;                /* lines, each ends with \n */
    struct text_list *positional;        /* NULL: none are accepted */
    struct arg_group groups[ARG_GROUPS]; /* ends at the first without a title */
};

/* Reads argv[0 … argc), what follows the subcommand, and runs run(user) when it was good. Returns the exit status: run's,
 * 0 after --help was printed, 2 after one line on stderr. The lists that were read are freed. */
int args_run(const struct arg_command *command, int argc, char **argv, int (*run)(void *user), void *user);
void args_help(const struct arg_command *command);

/* The entry of names[count] that `name` was probably meant to be; NULL when none is near. */
const char *nearest_name(const char *name, const char *const *names, size_t count);

bool parse_int(const char *text, int64_t low, int64_t high, int64_t *value);
bool parse_uint64(const char *text, uint64_t *value);
bool parse_size(const char *text, size_t *value);

#endif
