#include "engine/stop.h"

#include <string.h>

/* Bytes at the end of text[0, length) that stop's first bytes equal: the longest, up to the whole of stop. */
static size_t overlap(const char *text, size_t length, const char *stop, size_t stop_length) {
    size_t n = length < stop_length ? length : stop_length;
    while (n > 0 && memcmp(text + length - n, stop, n) != 0) n--;
    return n;
}

size_t stop_push(struct stop_scan *scan, const char *const *stop, size_t stop_count, const char *text, size_t length,
                 char *out, bool *matched) {
    *matched = false;
    size_t count = scan->held_count;
    memcpy(out, scan->held, count);
    scan->held_count = 0;
    size_t hold = 0;
    for (size_t i = 0; i < length; i++) {
        out[count++] = text[i];
        size_t complete = 0;
        hold = 0;
        for (size_t s = 0; s < stop_count; s++) {
            size_t stop_length = strlen(stop[s]);
            size_t n = overlap(out, count, stop[s], stop_length);
            if (n == stop_length && n > complete) complete = n;
            if (n > hold) hold = n;
        }
        if (complete) {
            *matched = true;
            return count - complete;
        }
    }
    if (length == 0) hold = count; /* nothing new: what was held stays held */
    count -= hold;
    memcpy(scan->held, out + count, hold);
    scan->held_count = hold;
    return count;
}

size_t stop_flush(struct stop_scan *scan, char *out) {
    size_t count = scan->held_count;
    memcpy(out, scan->held, count);
    scan->held_count = 0;
    return count;
}
