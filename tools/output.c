/* output.c: standard output, progress notes, terminals. */
#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/utf8.h"
#include "common.h"

static int first_errno;
static bool failed;

static bool note_failure(void) {
    if (!failed) first_errno = errno;
    failed = true;
    return false;
}

bool output_write(const void *bytes, size_t length) {
    if (failed) return false;
    progress_clear();
    errno = 0;
    return fwrite(bytes, 1, length, stdout) == length || note_failure();
}

bool output_buf(struct strbuf *b) {
    bool good = b->length == 0 || output_write(b->data, b->length);
    strbuf_clear(b);
    return good;
}

bool output_flush(void) {
    if (failed) return false;
    errno = 0;
    return fflush(stdout) == 0 || note_failure();
}

bool output_failed(void) {
    return failed;
}

int output_finish(int status) {
    progress_clear();
    output_flush();
    errno = 0;
    if (fclose(stdout) != 0) note_failure();
    if (!failed) return status;
    return complain(EXIT_FAILED, "standard output: %s", first_errno ? strerror(first_errno) : "cannot be written");
}

/* ---- progress ---- */

static bool progress_shown;
static bool progress_allowed = true;

void progress_allow(bool allowed) {
    progress_allowed = allowed;
}

void progress_show(const char *format, ...) {
    if (!progress_allowed || !terminal_is(stderr)) return;
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "\r%s\x1b[K", text);
    fflush(stderr);
    progress_shown = true;
}

void progress_clear(void) {
    if (!progress_shown) return;
    fputs("\r\x1b[K", stderr);
    fflush(stderr);
    progress_shown = false;
}

/* ---- terminal ---- */

bool terminal_is(FILE *stream) {
    return isatty(fileno(stream)) == 1;
}

bool terminal_colours(void) {
    const char *none = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return terminal_is(stdout) && !(none && none[0]) && !(term && strcmp(term, "dumb") == 0);
}

bool terminal_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8") || strstr(value, "utf-8");
    }
    return false;
}

size_t terminal_width(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
    return 80;
}

/* ---- text ---- */

/* C0, DEL, and the C1 controls that some terminals obey. */
static bool is_control(const unsigned char *s, size_t length) {
    if (length == 1) return s[0] < 0x20 || s[0] == 0x7F;
    return length == 2 && s[0] == 0xC2 && s[1] < 0xA0;
}

void show_escaped(struct strbuf *b, const char *bytes, size_t length) {
    const unsigned char *s = (const unsigned char *)bytes;
    for (size_t i = 0; i < length;) {
        size_t n = utf8_sequence(s + i, length - i);
        if (n == 1 && s[i] == '\n')
            strbuf_text(b, "\\n");
        else if (n == 1 && s[i] == '\t')
            strbuf_text(b, "\\t");
        else if (n == 1 && s[i] == '\r')
            strbuf_text(b, "\\r");
        else if (n == 1 && s[i] == '\\')
            strbuf_text(b, "\\\\");
        else if (n == 0 || is_control(s + i, n))
            for (size_t k = 0; k < (n ? n : 1); k++) strbuf_printf(b, "\\x%02x", s[i + k]);
        else
            strbuf_add(b, s + i, n);
        i += n ? n : 1;
    }
}

void show_safe(struct strbuf *b, const char *bytes, size_t length) {
    const unsigned char *s = (const unsigned char *)bytes;
    for (size_t i = 0; i < length;) {
        size_t n = utf8_sequence(s + i, length - i);
        bool plain = n && (!is_control(s + i, n) || s[i] == '\n' || s[i] == '\t');
        if (plain)
            strbuf_add(b, s + i, n);
        else
            strbuf_char(b, '?');
        i += n ? n : 1;
    }
}

/* Code point of a well-formed sequence of n bytes. */
static uint32_t code_point(const unsigned char *s, size_t n) {
    if (n == 1) return s[0];
    uint32_t c = s[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) c = c << 6 | (s[i] & 0x3Fu);
    return c;
}

/* Near enough to Unicode's East Asian Width and combining marks for columns that line up. */
static size_t code_columns(uint32_t c) {
    static const struct {
        uint32_t first, last;
        size_t columns;
    } ranges[] = {{0x300, 0x36F, 0},   {0x200B, 0x200F, 0}, {0x1100, 0x115F, 2},   {0x2E80, 0xA4CF, 2},
                  {0xAC00, 0xD7A3, 2}, {0xF900, 0xFAFF, 2}, {0xFE00, 0xFE0F, 0},   {0xFE30, 0xFE6F, 2},
                  {0xFF00, 0xFF60, 2}, {0xFFE0, 0xFFE6, 2}, {0x1F300, 0x1FAFF, 2}, {0x20000, 0x3FFFD, 2}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return ranges[i].columns;
    return 1;
}

/* Length in bytes of the longest start of text that fits in `limit` columns; *columns is what it takes. */
static size_t fit(const char *text, size_t length, size_t limit, size_t *columns) {
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    *columns = 0;
    while (i < length) {
        size_t n = utf8_sequence(s + i, length - i);
        size_t width = n ? code_columns(code_point(s + i, n)) : 1;
        if (*columns + width > limit) break;
        *columns += width;
        i += n ? n : 1;
    }
    return i;
}

size_t show_columns(const char *text, size_t length) {
    size_t columns;
    fit(text, length, SIZE_MAX, &columns);
    return columns;
}

void show_cell(struct strbuf *b, const char *text, size_t columns) {
    size_t used, length = strlen(text);
    if (show_columns(text, length) > columns) {
        strbuf_add(b, text, fit(text, length, columns - 1, &used));
        strbuf_text(b, "\xE2\x80\xA6");
        used++;
    } else {
        strbuf_add(b, text, length);
        used = show_columns(text, length);
    }
    strbuf_pad(b, ' ', columns - used);
}

void show_size(struct strbuf *b, double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units) bytes /= 1024, unit++;
    strbuf_printf(b, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}
