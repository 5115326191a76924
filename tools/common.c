/* common.c: what every subcommand does. */
#include "common.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "json_writer.h"
#include "output.h"

#define MODEL_TEXT "folder in Hugging Face's layout (config.json, model.safetensors, tokenizer.json), or a GGUF file"

const struct common_args common_defaults = {.device = "auto", .dtype = "auto"};

const struct arg common_model_args[1] = {
    {.name = "model",
     .letter = 'm',
     .kind = ARG_TEXT,
     .offset = offsetof(struct common_args, model),
     .meta = "DIR",
     .text = MODEL_TEXT,
     .initial = "the bundled demo model"},
};

const struct arg common_engine_args[7] = {
    {.name = "device",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct common_args, device),
     .meta = "NAME",
     .text = "what computes",
     .initial = "auto",
     .choices = "auto|cpu|cuda|simt"},
    {.name = "threads",
     .letter = 't',
     .kind = ARG_INT,
     .offset = offsetof(struct common_args, threads),
     .meta = "N",
     .text = "processor threads; 0 = every processor this process may use",
     .initial = "0",
     .low = 0,
     .high = 1024},
    {.name = "instructions",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct common_args, instructions),
     .meta = "SET",
     .text = "instruction set of the processor",
     .initial = "the best there is",
     .choices = "avx512bf16|avx512|avx2|portable"},
    {.name = "dtype",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct common_args, dtype),
     .meta = "TYPE",
     .text = "type of the weights in memory, and of keys and values; auto = as in the files, and for quantised ones q8 "
             "for Q8_0 and q4 for Q4_0 on the cpu, else bf16; q8, q4 = quantised to 8 or 4 bits, keys and values f16 "
             "(cpu)",
     .initial = "auto",
     .choices = "auto|f32|bf16|f16|q8|q4"},
    {.name = "context",
     .kind = ARG_INT,
     .offset = offsetof(struct common_args, context),
     .meta = "N",
     .text = "longest prompt and completion together, in tokens; 0 = the model's",
     .initial = "0",
     .low = 0,
     .high = INT32_MAX},
    {.name = "kv-cache",
     .kind = ARG_SIZE,
     .offset = offsetof(struct common_args, kv_bytes),
     .meta = "SIZE",
     .text = "memory for keys and values, such as 512M or 2G; 0 = what the batch needs, at most 1G and at least one "
             "full context",
     .initial = "0"},
    {.name = "fast",
     .kind = ARG_FLAG,
     .offset = offsetof(struct common_args, fast),
     .text =
         "cuda: large matrix products by whatever is fastest; a sample's last bits, and so its tokens, may then depend "
         "on what is computed beside it"},
};

const struct arg common_output_args[4] = {
    {.name = "stats",
     .kind = ARG_FLAG,
     .offset = offsetof(struct common_args, stats),
     .text = "more figures on standard error: use of the memory bandwidth, sharing, memory"},
    {.name = "json",
     .kind = ARG_FLAG,
     .offset = offsetof(struct common_args, json),
     .text = "machine-readable results on standard output"},
    {.name = "quiet",
     .letter = 'q',
     .kind = ARG_FLAG,
     .offset = offsetof(struct common_args, quiet),
     .text = "no notes on standard error; errors still"},
    /* args_parse handles it before it looks here; the row is for the help. */
    {.name = "help",
     .letter = 'h',
     .kind = ARG_FLAG,
     .offset = offsetof(struct common_args, quiet),
     .text = "print this"},
};

/* ---- complaints ---- */

int complain(int status, const char *format, ...) {
    struct strbuf line = {0};
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\t') *c = ' '; /* one line */
    show_safe(&line, text, strlen(text));
    progress_clear();
    fprintf(stderr, "tempera: %s\n", line.data ? line.data : "");
    strbuf_free(&line);
    return status;
}

int complain_error(const tempera_error *err) {
    return complain(err->status == TEMPERA_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_FAILED, "%s", err->message);
}

/* ---- the demo model ---- */

static bool holds_model(const char *folder) {
    struct strbuf path = {0};
    struct stat info;
    strbuf_printf(&path, "%s/config.json", folder);
    bool found = stat(path.data, &info) == 0;
    strbuf_free(&path);
    return found;
}

/* Where an installation that was moved keeps it: next to the program. False when that cannot be told. */
static bool demo_beside_program(char *folder, size_t size) {
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = 0;
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(program, '/');
        if (!slash) return false;
        *slash = 0;
    }
    return (size_t)snprintf(folder, size, "%s/share/tempera/demo", program) < size;
}

/* Borrowed; NULL after complaining. */
static const char *demo_model(void) {
    static char beside[PATH_MAX];
    if (demo_beside_program(beside, sizeof beside) && holds_model(beside)) return beside;
    if (holds_model(TEMPERA_DEMO_MODEL_INSTALLED)) return TEMPERA_DEMO_MODEL_INSTALLED;
    if (holds_model(TEMPERA_DEMO_MODEL_SOURCE)) return TEMPERA_DEMO_MODEL_SOURCE;
    complain(EXIT_FAILED, "no --model given, and the demo model is neither in %s nor in %s",
             TEMPERA_DEMO_MODEL_INSTALLED, TEMPERA_DEMO_MODEL_SOURCE);
    return NULL;
}

/* ---- session ---- */

int session_open(struct session *session, const struct common_args *args) {
    tempera_error err;
    const char *folder = args->model ? args->model : demo_model();
    if (!folder) return EXIT_FAILED;
    if (!*folder) return complain(EXIT_USAGE, "--model: the name of the folder or file is empty");
    if (tempera_model_open(folder, &session->model, &err) != TEMPERA_OK) return complain_error(&err);
    tempera_model_info_get(session->model, &session->info);
    return EXIT_DONE;
}

tempera_engine_options session_options(const struct common_args *args) {
    tempera_engine_options options = tempera_engine_options_default();
    options.device = args->device;
    options.dtype = args->dtype;
    options.instructions = args->instructions;
    options.threads = args->threads;
    options.context = args->context;
    options.kv_bytes = args->kv_bytes;
    options.fast = args->fast;
    return options;
}

static tempera_engine *volatile interrupt_engine;
static volatile sig_atomic_t interrupt_seen;

static void on_interrupt(int number) {
    (void)number;
    interrupt_seen = 1;
    if (interrupt_engine) tempera_cancel(interrupt_engine, 0);
}

bool interrupted(void) {
    return interrupt_seen != 0;
}

void interrupt_catch(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
}

int session_start(struct session *session, const tempera_engine_options *options) {
    tempera_error err;
    if (tempera_engine_open(session->model, options, &session->engine, &err) != TEMPERA_OK) return complain_error(&err);
    tempera_engine_plan(session->engine, &session->plan);
    interrupt_engine = session->engine;
    interrupt_catch();
    return EXIT_DONE;
}

void session_stop(struct session *session) {
    interrupt_engine = NULL;
    tempera_engine_close(session->engine);
    session->engine = NULL;
}

void session_close(struct session *session) {
    session_stop(session);
    tempera_model_close(session->model);
    *session = (struct session){0};
}

/* The thread count is left out: nothing in a result depends on it. */
void session_json(struct json *j, const struct session *session) {
    json_text(j, "model", session->info.folder);
    json_text(j, "device", session->plan.device);
    json_text(j, "instructions", session->plan.instructions);
    json_text(j, "dtype", session->plan.dtype);
    if (session->plan.fast) json_bool(j, "fast", true);
    json_text(j, "build", tempera_build());
}

/* ---- tokens ---- */

char *token_text(const tempera_model *model, int32_t id, size_t *length) {
    /* The second of two equal tokens: decoders of the SentencePiece kind drop the space in front of the first. */
    const int32_t twice[2] = {id, id};
    char *one, *two;
    size_t one_length, two_length;
    *length = 0;
    if (tempera_decode(model, twice, 1, TEMPERA_DECODE_SPECIAL, &one, &one_length, NULL) != TEMPERA_OK) return NULL;
    if (tempera_decode(model, twice, 2, TEMPERA_DECODE_SPECIAL, &two, &two_length, NULL) != TEMPERA_OK) {
        *length = one_length;
        return one;
    }
    tempera_free(one);
    *length = two_length > one_length ? two_length - one_length : 0;
    memmove(two, two + two_length - *length, *length + 1);
    return two;
}

const char *token_piece(const tempera_model *model, int32_t id, size_t *length) {
    const char *piece = tempera_piece(model, id, length);
    if (piece) return piece;
    *length = 0;
    return "";
}

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
