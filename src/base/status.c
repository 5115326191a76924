/* status.c: builds the one-line messages. Nothing here allocates: reporting that memory ran out must work. */
#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

const char *tempera_status_text(tempera_status status) {
    static const char *const texts[] = {
#define TEMPERA_STATUS_TEXT(name, text) text,
        TEMPERA_STATUS_MAP(TEMPERA_STATUS_TEXT)
#undef TEMPERA_STATUS_TEXT
    };
    return (unsigned)status < TEMPERA_STATUS_COUNT ? texts[status] : "unknown status";
}

/* C0 controls, DEL and C1 controls: a file name must not be able to move the reader's cursor or forge a
 * second line. */
static bool is_control(const unsigned char *s, size_t length) {
    if (length == 1) return s[0] < 0x20 || s[0] == 0x7F;
    return length == 2 && s[0] == 0xC2 && s[1] < 0xA0;
}

/* Makes text[0, strlen) clean UTF-8 in place. `cut`: printf ran out of room, so a broken last sequence is
 * dropped. */
static void sanitise(char *text, bool cut) {
    unsigned char *s = (unsigned char *)text;
    size_t length = strlen(text);
    for (size_t i = 0; i < length;) {
        size_t n = utf8_sequence(s + i, length - i);
        if (n == 0 && cut && s[i] >= 0xC2 && length - i < 4) {
            size_t tail = i + 1; /* a lead byte whose continuation bytes run to the end was cut, not malformed */
            while (tail < length && (s[tail] & 0xC0) == 0x80) tail++;
            if (tail == length) {
                s[i] = 0;
                return;
            }
        }
        if (n == 0 || is_control(s + i, n)) {
            size_t bytes = n == 0 ? 1 : n;
            memset(s + i, '?', bytes);
            i += bytes;
        } else {
            i += n;
        }
    }
}

/* Prints to a local copy first, because an argument may point into the message that is being replaced. */
static void print_message(char *out, size_t size, const char *format, va_list args) {
    int n = vsnprintf(out, size, format, args);
    if (n < 0) snprintf(out, size, "(message could not be formatted)");
    sanitise(out, n >= 0 && (size_t)n >= size);
}

tempera_status fail(tempera_error *err, tempera_status status, const char *format, ...) {
    if (!err) return status;
    char text[sizeof err->message];
    va_list args;
    va_start(args, format);
    print_message(text, sizeof text, format, args);
    va_end(args);
    memcpy(err->message, text, strlen(text) + 1);
    err->status = status;
    return status;
}

tempera_status fail_memory(tempera_error *err, size_t bytes, const char *what) {
    return fail(err, TEMPERA_OUT_OF_MEMORY, "out of memory (%zu bytes for %s)", bytes, what);
}

tempera_status fail_context(tempera_error *err, tempera_status status, const char *format, ...) {
    if (!err) return status;
    char prefix[sizeof err->message];
    va_list args;
    va_start(args, format);
    print_message(prefix, sizeof prefix, format, args);
    va_end(args);
    if (err->status != TEMPERA_OK) status = err->status;
    return fail(err, status, "%s: %s", prefix, err->message);
}
