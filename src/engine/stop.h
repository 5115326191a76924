/* stop.h: finding stop strings in text that arrives in pieces, whatever the token boundaries. */
#ifndef ENGINE_STOP_H
#define ENGINE_STOP_H

#include <stdbool.h>
#include <stddef.h>

enum { STOP_MAX_STRINGS = 16, STOP_MAX_BYTES = 256 };

/* Text that could still become a stop string. Plain data: copying it forks the scan. Zero-initialise. */
struct stop_scan {
    char held[STOP_MAX_BYTES];
    size_t held_count;
};

/* Adds text[0, length). Writes to out (room for held_count + length bytes) what certainly is not part of a stop string
 * and returns how much. *matched: a stop string is complete; out then ends right before it and nothing is held. The
 * match that is complete first wins; of those complete at the same byte, the longest. */
size_t stop_push(struct stop_scan *scan, const char *const *stop, size_t stop_count, const char *text, size_t length,
                 char *out, bool *matched);
/* The text ended: releases what was held. */
size_t stop_flush(struct stop_scan *scan, char *out);

#endif
