/* normal_form.c: Unicode normal forms with utf8proc's tables.
 *
 * Text is cut before ASCII characters, which never join with what precedes them, and only stretches with other
 * characters are worked on. utf8proc's decomposition of one character and its composition are used; the canonical
 * ordering of marks between the two is done here by a stable counting sort, because utf8proc's is quadratic in the
 * number of marks after one letter. */
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/num.h"
#include "text/unicode.h"

enum { EXPANSION_MAX = 32, COMBINING_CLASSES = 256 };

/* One stretch as code points, and room of the same size for sorting. */
struct stretch {
    utf8proc_int32_t *points, *sorted;
    size_t count, capacity;
};

static tempera_status stretch_reserve(struct stretch *s, size_t extra, tempera_error *err) {
    if (s->capacity - s->count >= extra) return TEMPERA_OK;
    size_t capacity = s->capacity * 2 + extra, bytes;
    if (!size_mul(capacity, sizeof *s->points, &bytes)) return fail_memory(err, SIZE_MAX, "a normal form");
    utf8proc_int32_t *points = mem_realloc(s->points, bytes);
    if (!points) return fail_memory(err, bytes, "a normal form");
    s->points = points;
    s->capacity = capacity;
    mem_free(s->sorted);
    s->sorted = mem_alloc(bytes);
    if (!s->sorted) {
        s->capacity = s->count;
        return fail_memory(err, bytes, "a normal form");
    }
    return TEMPERA_OK;
}

static unsigned combining_class(utf8proc_int32_t c) {
    return c < 0x300 ? 0 : (unsigned)utf8proc_get_property(c)->combining_class;
}

/* Sorts the marks points[first, end), none of class 0, by class; equal classes keep their order. */
static void order_marks(struct stretch *s, size_t first, size_t end) {
    size_t start[COMBINING_CLASSES + 1] = {0};
    for (size_t i = first; i < end; i++) start[combining_class(s->points[i]) % COMBINING_CLASSES + 1]++;
    for (size_t k = 1; k <= COMBINING_CLASSES; k++) start[k] += start[k - 1];
    for (size_t i = first; i < end; i++) {
        size_t *slot = &start[combining_class(s->points[i]) % COMBINING_CLASSES];
        s->sorted[(*slot)++] = s->points[i];
    }
    memcpy(s->points + first, s->sorted, (end - first) * sizeof *s->points);
}

static void order_all_marks(struct stretch *s) {
    size_t first = 0;
    bool sorted = true;
    unsigned last = 0;
    for (size_t i = 0; i <= s->count; i++) {
        unsigned k = i < s->count ? combining_class(s->points[i]) : 0;
        if (k == 0) {
            if (!sorted) order_marks(s, first, i);
            first = i + 1;
            sorted = true;
        } else if (k < last) {
            sorted = false;
        }
        last = k;
    }
}

static tempera_status decompose(struct stretch *s, const char *text, size_t length, bool compatible,
                                tempera_error *err) {
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
    s->count = 0;
    for (size_t at = 0; at < length;) {
        uint32_t c;
        at += char_get(text + at, &c);
        TRY(stretch_reserve(s, EXPANSION_MAX, err));
        int boundary = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char((utf8proc_int32_t)c, s->points + s->count, EXPANSION_MAX, options, &boundary);
        if (n < 0 || n > EXPANSION_MAX) { /* no character is: the longest known expansion is 18 */
            s->points[s->count] = (utf8proc_int32_t)c;
            n = 1;
        }
        s->count += (size_t)n;
    }
    return TEMPERA_OK;
}

static tempera_status convert(struct stretch *s, struct buf *out, const char *text, size_t length,
                              enum normal_form form, tempera_error *err) {
    TRY(decompose(s, text, length, form == NORMAL_NFKC || form == NORMAL_NFKD, err));
    order_all_marks(s);
    if (form == NORMAL_NFC || form == NORMAL_NFKC) {
        utf8proc_ssize_t n =
            utf8proc_normalize_utf32(s->points, (utf8proc_ssize_t)s->count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (n >= 0) s->count = (size_t)n;
    }
    TRY(buf_reserve(out, s->count * CHAR_MAX_BYTES, err));
    for (size_t i = 0; i < s->count; i++) out->length += char_put(out->data + out->length, (uint32_t)s->points[i]);
    out->data[out->length] = 0;
    return TEMPERA_OK;
}

/* First byte in [at, length) that is not ASCII. */
static size_t ascii_end(const char *text, size_t at, size_t length) {
    while (at < length && (unsigned char)text[at] < 0x80) at++;
    return at;
}

tempera_status text_normal_form(struct buf *out, const char *text, size_t length, enum normal_form form,
                                tempera_error *err) {
    struct stretch s = {0};
    tempera_status status = TEMPERA_OK;
    for (size_t at = 0; at < length;) {
        size_t plain = ascii_end(text, at, length);
        if (plain < length && plain > at) plain--; /* the letter that the first mark may join */
        TRY_GOTO(buf_append(out, text + at, plain - at, err));
        size_t end = plain + (plain < length); /* that letter, or the first of the others */
        while (end < length && (unsigned char)text[end] >= 0x80) end++;
        if (end > plain) TRY_GOTO(convert(&s, out, text + plain, end - plain, form, err));
        at = end;
    }
cleanup:
    mem_free(s.points);
    mem_free(s.sorted);
    return status;
}
