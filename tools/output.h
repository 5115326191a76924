/* output.h: results on standard output, with every failure noticed once; and what a terminal can show. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "strbuf.h"

/* False after the first failure (a closed pipe, a full disk); nothing is written after it. */
bool output_write(const void *bytes, size_t length);
bool output_buf(struct strbuf *b); /* writes and clears it */
bool output_flush(void);
bool output_failed(void);
/* Flushes and closes standard output. `status`, or 1 after one line on stderr when the output is not complete. */
int output_finish(int status);

/* A note that replaces itself on stderr while it is a terminal; NULL removes it. */
void progress_show(const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 1, 2)))
#endif
    ;
void progress_clear(void);
void progress_allow(bool allowed); /* --quiet */

bool terminal_is(FILE *stream);
bool terminal_colours(void); /* standard output is a terminal that wants colours (NO_COLOR, TERM=dumb respected) */
bool terminal_utf8(void);    /* block characters can be shown */
size_t terminal_width(void); /* of standard output; 80 when unknown */

/* Text that is safe in one table cell: control characters and bytes that are not UTF-8 as \n, \t, \xNN. */
void show_escaped(struct strbuf *b, const char *bytes, size_t length);
/* Text as it is, but control characters that could move a terminal's cursor or set its title become '?'. */
void show_safe(struct strbuf *b, const char *bytes, size_t length);
/* Columns that UTF-8 text takes on a terminal. */
size_t show_columns(const char *text, size_t length);
/* Adds text and spaces up to `columns`; a longer text is cut and ends with "…". */
void show_cell(struct strbuf *b, const char *text, size_t columns);
void show_size(struct strbuf *b, double bytes); /* "1.5 GiB" */

#endif
