/* cmd_tokenize.c: texts to pieces and ids, and ids back to text. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "input.h"
#include "json_writer.h"
#include "output.h"

struct tokenize_args {
    struct common_args common;
    struct text_list words, files;
    bool ids, decode, count, lines, no_special, plain, keep_special;
};

static const struct arg tokenize_args_table[] = {
    {.name = "file",
     .letter = 'f',
     .kind = ARG_TEXTS,
     .offset = offsetof(struct tokenize_args, files),
     .meta = "FILE",
     .text = "the whole file is one input; - = standard input; repeat it for several"},
    {.name = "lines",
     .kind = ARG_FLAG,
     .offset = offsetof(struct tokenize_args, lines),
     .text = "each line is an input, without its newline"},
    {.name = "no-special",
     .kind = ARG_FLAG,
     .offset = offsetof(struct tokenize_args, no_special),
     .text = "do not add what the tokenizer puts around a text (a begin-of-text token ...)"},
    {.name = "plain",
     .kind = ARG_FLAG,
     .offset = offsetof(struct tokenize_args, plain),
     .text = "text that spells a special token, such as <|endoftext|>, is ordinary text"},
    {.name = "ids",
     .letter = 'i',
     .kind = ARG_FLAG,
     .offset = offsetof(struct tokenize_args, ids),
     .text = "print the ids, separated by single spaces, one line per input"},
    {.name = "count",
     .letter = 'c',
     .kind = ARG_FLAG,
     .offset = offsetof(struct tokenize_args, count),
     .text = "print the number of tokens, one line per input"},
    {.name = "decode",
     .letter = 'd',
     .kind = ARG_FLAG,
     .offset = offsetof(struct tokenize_args, decode),
     .text = "inputs are ids; print their text, byte for byte (with --lines, or on a terminal, a newline after each)"},
    {.name = "keep-special",
     .kind = ARG_FLAG,
     .offset = offsetof(struct tokenize_args, keep_special),
     .text = "with --decode: spell special tokens too"},
};

static const char notes[] =
    "Each TEXT is an input. Without one and without --file, standard input is read, as it is: a last newline "
    "counts. The default output has a line \"ID<tab>PIECE\" per token in the vocabulary's own spelling, and "
    "coloured text on a terminal.\n"
    "--json prints an object per input: {\"count\", \"tokens\": [{\"id\", \"piece\"}]}, with --decode {\"ids\", "
    "\"text\"}; what is not UTF-8 has U+FFFD in its place and NAME_bytes with the bytes in base64. The flags "
    "under Engine have no effect here.";

static const char examples[] =
    "  tempera tokenize \"Hello world\"\n"
    "  tempera tokenize --ids --no-special --file book.txt | tempera tokenize --decode | cmp - book.txt\n"
    "  tempera tokenize --count --lines --file prompts.txt\n";

struct tokenizing {
    const struct tokenize_args *args;
    const tempera_model *model;
    size_t inputs;
    int status;
    struct strbuf out; /* printed when all inputs were good */
};

/* ---- output ---- */

static void plain_rows(struct strbuf *out, const tempera_model *model, const struct prompt *ids, bool another) {
    if (another) strbuf_char(out, '\n');
    for (size_t i = 0; i < ids->count; i++) {
        size_t length;
        const char *piece = token_piece(model, ids->ids[i], &length);
        strbuf_printf(out, "%d\t", ids->ids[i]);
        show_escaped(out, piece, length);
        strbuf_char(out, '\n');
    }
}

/* The pieces in a row on changing grounds, then their ids in the same colours. */
static void coloured(struct strbuf *out, const tempera_model *model, const struct prompt *ids, bool another) {
    static const int grounds[] = {153, 157, 223, 217, 189};
    enum { GROUNDS = sizeof grounds / sizeof *grounds };
    if (another) strbuf_char(out, '\n');
    for (size_t i = 0; i < ids->count; i++) {
        size_t length;
        const char *piece = token_piece(model, ids->ids[i], &length);
        strbuf_printf(out, "\x1b[48;5;%d;38;5;16m", grounds[i % GROUNDS]);
        show_escaped(out, piece, length);
        strbuf_text(out, "\x1b[0m");
    }
    strbuf_char(out, '\n');
    for (size_t i = 0; i < ids->count; i++)
        strbuf_printf(out, "\x1b[38;5;%dm%d\x1b[0m%s", grounds[i % GROUNDS], ids->ids[i],
                      i + 1 < ids->count ? " " : "");
    strbuf_printf(out, "\n%zu token%s\n", ids->count, ids->count == 1 ? "" : "s");
}

static void id_row(struct strbuf *out, const struct prompt *ids) {
    for (size_t i = 0; i < ids->count; i++) strbuf_printf(out, "%s%d", i ? " " : "", ids->ids[i]);
    strbuf_char(out, '\n');
}

static void add_json_line(struct strbuf *out, struct json *j) {
    strbuf_add(out, j->out.data, j->out.length);
    strbuf_char(out, '\n');
    strbuf_free(&j->out);
}

static void tokens_json(struct strbuf *out, const tempera_model *model, const struct prompt *ids) {
    struct json j = {0};
    json_object(&j, NULL);
    json_uint(&j, "count", ids->count);
    json_array(&j, "tokens");
    for (size_t i = 0; i < ids->count; i++) {
        size_t length;
        const char *piece = token_piece(model, ids->ids[i], &length);
        json_object(&j, NULL);
        json_int(&j, "id", ids->ids[i]);
        json_bytes(&j, "piece", piece, length);
        json_end(&j);
    }
    json_end(&j);
    json_end(&j);
    add_json_line(out, &j);
}

static void add_tokens(struct tokenizing *state, const struct prompt *ids) {
    struct strbuf *out = &state->out;
    bool another = state->inputs > 0;
    if (state->args->common.json)
        tokens_json(out, state->model, ids);
    else if (state->args->count)
        strbuf_printf(out, "%zu\n", ids->count);
    else if (state->args->ids)
        id_row(out, ids);
    else if (terminal_colours())
        coloured(out, state->model, ids, another);
    else
        plain_rows(out, state->model, ids, another);
}

/* ---- one input ---- */

static void decoded_json(struct strbuf *out, const struct prompt *ids, const char *text, size_t length) {
    struct json j = {0};
    json_object(&j, NULL);
    json_array(&j, "ids");
    for (size_t i = 0; i < ids->count; i++) json_int(&j, NULL, ids->ids[i]);
    json_end(&j);
    json_bytes(&j, "text", text, length);
    json_end(&j);
    add_json_line(out, &j);
}

static void add_decoded(struct tokenizing *state, const struct prompt *ids, const char *text, size_t length) {
    bool terminal = terminal_is(stdout);
    if (state->args->common.json) {
        decoded_json(&state->out, ids, text, length);
        return;
    }
    if (terminal)
        show_safe(&state->out, text, length);
    else
        strbuf_add(&state->out, text, length);
    if (terminal || state->args->lines) strbuf_char(&state->out, '\n');
}

/* Ids beyond the model's vocabulary are a mistake; those that only the tokenizer lacks (padding) have no text. */
static int check_ids(const struct tokenizing *state, const struct prompt *ids) {
    tempera_model_info info;
    tempera_model_info_get(state->model, &info);
    int32_t size = info.vocab_size > info.tokenizer_size ? info.vocab_size : info.tokenizer_size;
    for (size_t i = 0; i < ids->count; i++)
        if (ids->ids[i] >= size)
            return complain(EXIT_FAILED, "--decode: token %zu is %d; the vocabulary is 0 to %d", i, ids->ids[i],
                            size - 1);
    return EXIT_DONE;
}

static int decode_input(struct tokenizing *state, const char *input) {
    struct prompt ids;
    char *text;
    size_t length;
    tempera_error err;
    unsigned flags = state->args->keep_special ? TEMPERA_DECODE_SPECIAL : 0U;
    if (!parse_ids(input, "--decode", &ids)) return EXIT_USAGE;
    int status = check_ids(state, &ids);
    if (status) {
        free(ids.ids);
        return status;
    }
    if (tempera_decode(state->model, ids.ids, ids.count, flags, &text, &length, &err) == TEMPERA_OK) {
        add_decoded(state, &ids, text, length);
        tempera_free(text);
    } else {
        status = complain_error(&err);
    }
    free(ids.ids);
    return status;
}

static int encode_input(struct tokenizing *state, const char *input, size_t length) {
    struct prompt ids;
    struct text text = {(char *)(uintptr_t)input, length}; /* only read */
    int status = encode_text(state->model, &text, state->args->no_special, state->args->plain, &ids);
    if (status) return status;
    add_tokens(state, &ids);
    free(ids.ids);
    return EXIT_DONE;
}

static void one_input(void *user, const char *input, size_t length) {
    struct tokenizing *state = user;
    if (state->status) return;
    if (state->args->decode) {
        char *copy = xdup(input, length);
        state->status = decode_input(state, copy);
        free(copy);
    } else {
        state->status = encode_input(state, input, length);
    }
    state->inputs++;
}

static void whole_or_lines(struct tokenizing *state, const struct text *text) {
    if (state->args->lines)
        each_line(text, one_input, state);
    else
        one_input(state, text->bytes, text->length);
}

/* ---- the command ---- */

/* Texts are read before the model is opened, so that a missing file is noticed first. */
static int read_inputs(const struct tokenize_args *args, struct text **texts, size_t *count) {
    int status = EXIT_DONE;
    *texts = xarray(args->words.count + args->files.count + 1, sizeof **texts);
    for (size_t i = 0; i < args->words.count; i++) {
        const char *word = args->words.items[i];
        if (strcmp(word, "-") == 0)
            status = read_text("-", &(*texts)[*count]);
        else
            (*texts)[*count] = (struct text){xdup(word, strlen(word)), strlen(word)};
        if (status) return status;
        ++*count;
    }
    for (size_t i = 0; i < args->files.count; i++) {
        status = read_text(args->files.items[i], &(*texts)[*count]);
        if (status) return status;
        ++*count;
    }
    if (*count) return EXIT_DONE;
    if (terminal_is(stdin)) return complain(EXIT_USAGE, "tokenize: no text given (see tempera tokenize --help)");
    status = read_text("-", &(*texts)[0]);
    if (!status) *count = 1;
    return status;
}

static int check_flags(const struct tokenize_args *args) {
    if (args->decode && (args->ids || args->count || args->plain || args->no_special))
        return complain(EXIT_USAGE, "--decode does not go with --ids, --count, --plain or --no-special");
    if (args->keep_special && !args->decode) return complain(EXIT_USAGE, "--keep-special goes with --decode");
    if (args->ids + args->count + args->common.json > 1)
        return complain(EXIT_USAGE, "choose one of --ids, --count and --json");
    return EXIT_DONE;
}

static int tokenize_run(void *user) {
    struct tokenize_args *args = user;
    struct session session = {0};
    struct text *texts = NULL;
    size_t count = 0;
    int status = check_flags(args);
    if (!status) status = read_inputs(args, &texts, &count);
    if (!status) status = session_open(&session, &args->common);
    struct tokenizing state = {.args = args, .model = session.model, .status = status};
    for (size_t i = 0; i < count; i++) {
        if (!state.status) whole_or_lines(&state, &texts[i]);
        free(texts[i].bytes);
    }
    if (!state.status) output_buf(&state.out);
    strbuf_free(&state.out);
    free(texts);
    session_close(&session);
    return state.status;
}

int cmd_tokenize(int argc, char **argv) {
    struct tokenize_args args = {.common = common_defaults};
    const struct arg_command command = {
        .name = "tokenize",
        .summary = "pieces and ids of a text, and back",
        .synopsis = "[--model DIR] [flags] [TEXT]...",
        .notes = notes,
        .examples = examples,
        .positional = &args.words,
        .groups = {{"Text", tokenize_args_table, sizeof tokenize_args_table / sizeof *tokenize_args_table, &args},
                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, tokenize_run, &args);
}
