/* status.h: how every tempera function reports failure.
 *
 * A function that can fail returns a tempera_status and, when the caller passes a tempera_error, fills it with
 * one line that names the file, tensor or field, what was expected and what was found. The library never exits,
 * aborts or prints. A tempera_error is plain data: nothing to free, valid until it is overwritten.
 */
#ifndef TEMPERA_STATUS_H
#define TEMPERA_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* X(name, text) */
/* clang-format off */
#define TEMPERA_STATUS_MAP(X)                                                                                 \
    X(OK, "ok")                                                                                               \
    X(INVALID_ARGUMENT, "invalid argument") /* the caller's value is out of range or contradicts another */   \
    X(IO, "input/output error")             /* a file or folder cannot be opened, read or mapped */           \
    X(FORMAT, "malformed file")             /* a file's contents break its format's rules */                  \
    X(UNSUPPORTED, "not supported")         /* well-formed, but of a kind that tempera does not run */         \
    X(OUT_OF_MEMORY, "out of memory")                                                                          \
    X(TOO_LONG, "too long")                 /* does not fit the model's context or the engine's plan */       \
    X(CANCELLED, "cancelled")                                                                                  \
    X(DEVICE, "device error")               /* the backend's device failed or is absent */                    \
    X(NUMERIC, "numeric error")             /* NaN logits, or no token survives the filters */
/* clang-format on */

typedef enum tempera_status {
#define TEMPERA_STATUS_ENUM(name, text) TEMPERA_##name,
    TEMPERA_STATUS_MAP(TEMPERA_STATUS_ENUM)
#undef TEMPERA_STATUS_ENUM
        TEMPERA_STATUS_COUNT
} tempera_status;

typedef struct tempera_error {
    tempera_status status;
    char message[512]; /* one line, UTF-8, no newline, always terminated */
} tempera_error;

/* The constant text of a status, never NULL. Any thread. */
const char *tempera_status_text(tempera_status status);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
