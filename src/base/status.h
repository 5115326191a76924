/* status.h (base): the helpers behind tempera_status. Every internal function that can fail takes
 * `tempera_error *err` last; err may be NULL. */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stddef.h>

#include "tempera/status.h"

/* Fills *err (when not NULL) with a printf-style message, cut at its capacity, control bytes replaced by '?', and
 * returns `status`, so that a failing line reads `return fail(err, TEMPERA_FORMAT, "%s: …", path);`. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
tempera_status
fail(tempera_error *err, tempera_status status, const char *format, ...);

/* fail() for allocation: "out of memory (N bytes for WHAT)". */
tempera_status fail_memory(tempera_error *err, size_t bytes, const char *what);

/* Puts `printf(format…) + ": "` before the message that is already in *err; returns err->status or `status` when err is NULL. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
tempera_status
fail_context(tempera_error *err, tempera_status status, const char *format, ...);

/* Forwards a failure to the caller. */
#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        tempera_status try_status_ = (expr);                                                                           \
        if (try_status_ != TEMPERA_OK) return try_status_;                                                             \
    } while (0)

/* Forwards a failure to this function's `cleanup:` label; needs a local `tempera_status status`. */
#define TRY_GOTO(expr)                                                                                                 \
    do {                                                                                                               \
        status = (expr);                                                                                               \
        if (status != TEMPERA_OK) goto cleanup;                                                                        \
    } while (0)

#endif
