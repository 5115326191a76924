/* common.h: what every subcommand does: complain, open a model and an engine, obey Ctrl-C. */
#ifndef TOOLS_COMMON_H
#define TOOLS_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "args.h"
#include "tempera/tempera.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* One line on stderr, "tempera: …", with control characters replaced; returns `status`. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int complain(int status, const char *format, ...);
/* The library's message; 2 when the caller's value was wrong, else 1. */
int complain_error(const tempera_error *err);

struct common_args {
    const char *model, *device, *dtype, *instructions;
    int32_t threads, context;
    size_t kv_bytes;
    bool fast, json, quiet, stats;
};
extern const struct common_args common_defaults;
extern const struct arg common_model_args[1];
extern const struct arg common_engine_args[7];
extern const struct arg common_output_args[4];
/* The last groups of a command's table. Commands that run no engine accept the engine's flags too, so that one set of
 * flags serves a script's every call. */
#define COMMON_GROUPS(common)                                                                                          \
    {"Model", common_model_args, 1, common}, {"Engine", common_engine_args, 7, common}, {                              \
        "Output", common_output_args, 4, common                                                                        \
    }
/* Of a command that runs no model: device, threads, instructions. */
#define DEVICE_GROUP(common)                                                                                           \
    { "Device", common_engine_args, 3, common }
/* Of a command that reads a file only. */
#define OUTPUT_GROUP(common)                                                                                           \
    { "Output", common_output_args + 1, 3, common }

/* A model and what runs it. */
struct session {
    tempera_model *model;
    tempera_model_info info;
    tempera_engine *engine; /* NULL until session_run */
    tempera_plan plan;
};
/* Both return 0 or the exit status after complaining; session_close is needed either way. */
int session_open(struct session *session, const struct common_args *args);
int session_start(struct session *session, const tempera_engine_options *options);
void session_stop(struct session *session); /* closes the engine; another one may be started */
void session_close(struct session *session);
/* Engine options from the common flags. */
tempera_engine_options session_options(const struct common_args *args);

/* From session_start on, the first Ctrl-C cancels all requests, the second ends the program at once. */
bool interrupted(void);
void interrupt_catch(void); /* the same without a session */

/* What the device and the chosen kernels are, "cpu avx512 f32"; for JSON the fields that a result depends on. */
struct json;
void session_json(struct json *j, const struct session *session);

/* The bytes that a token adds to a text, special tokens spelled out; freed with tempera_free. NULL without a
 * tokenizer. */
char *token_text(const tempera_model *model, int32_t id, size_t *length);
/* The vocabulary's spelling, "" when there is none; borrowed. */
const char *token_piece(const tempera_model *model, int32_t id, size_t *length);

double seconds_now(void); /* monotonic */

#endif
