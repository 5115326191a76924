/* page.c: writes self-contained HTML pages. */
#include "page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common.h"
#include "output.h"
#include "page_parts.h"

static void put(struct page *page, const void *bytes, size_t length) {
    if (page->failed) return;
    page->written += length;
    errno = 0;
    page->failed = page->part ? fwrite(bytes, 1, length, page->file) != length : !output_write(bytes, length);
}

static void put_text(struct page *page, const char *text) {
    put(page, text, strlen(text));
}

int page_open(struct page *page, const char *path, enum page_kind kind) {
    *page = (struct page){.path = path, .kind = kind};
    if (strcmp(path, "-") != 0) {
        struct strbuf part = {0};
        strbuf_printf(&part, "%s.part", path);
        page->file = fopen(part.data, "wb");
        if (!page->file) {
            int status = complain(EXIT_FAILED, "%s: %s", part.data, strerror(errno));
            strbuf_free(&part);
            return status;
        }
        page->part = part.data;
    }
    put(page, page_parts[kind].head, page_parts[kind].head_length);
    return EXIT_DONE;
}

void page_json(struct page *page, struct json *json) {
    put_text(page, "<script type=\"application/json\" id=\"data\">");
    const char *rest = json->out.data, *end = rest + json->out.length;
    while (rest < end) { /* '<' stands in strings only */
        const char *angle = memchr(rest, '<', (size_t)(end - rest));
        put(page, rest, (size_t)((angle ? angle : end) - rest));
        if (!angle) break;
        put_text(page, "\\u003c");
        rest = angle + 1;
    }
    put_text(page, "</script>\n");
    strbuf_clear(&json->out);
}

static void put_base64(struct page *page, const unsigned char *s, size_t length) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[4096];
    size_t used = 0;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t group = (uint32_t)s[i] << 16;
        if (left > 1) group |= (uint32_t)s[i + 1] << 8;
        if (left > 2) group |= s[i + 2];
        for (size_t k = 0; k < 4; k++) text[used++] = k <= left ? digits[group >> (18 - 6 * k) & 63] : '=';
        if (used < sizeof text) continue;
        put(page, text, used);
        used = 0;
    }
    put(page, text, used);
}

void page_block(struct page *page, const char *name, const void *bytes, size_t length) {
    uLongf size = compressBound((uLong)length);
    unsigned char *packed = xalloc(size);
    /* The buffer is as large as zlib asks for: memory is what can be missing. */
    if (compress2(packed, &size, bytes, (uLong)length, Z_DEFAULT_COMPRESSION) != Z_OK) {
        fputs("tempera: out of memory\n", stderr);
        exit(EXIT_FAILED);
    }
    put_text(page, "<script type=\"application/octet-stream\" id=\"block-");
    put_text(page, name);
    put_text(page, "\">");
    put_base64(page, packed, size);
    put_text(page, "</script>\n");
    free(packed);
}

static int finish_file(struct page *page, bool good) {
    int status = good ? EXIT_DONE : EXIT_FAILED;
    if (page->failed) good = false;
    if (fflush(page->file) != 0 || (good && fsync(fileno(page->file)) != 0 && errno != EINVAL)) page->failed = true;
    if (page->failed) status = complain(EXIT_FAILED, "%s: %s", page->path, strerror(errno));
    if (fclose(page->file) != 0 && !page->failed) status = complain(EXIT_FAILED, "%s: %s", page->path, strerror(errno));
    if (good && status == EXIT_DONE && rename(page->part, page->path) != 0)
        status = complain(EXIT_FAILED, "%s: %s", page->path, strerror(errno));
    if (status != EXIT_DONE) unlink(page->part);
    free(page->part);
    return status;
}

int page_close(struct page *page, bool good) {
    if (good) put(page, page_parts[page->kind].tail, page_parts[page->kind].tail_length);
    if (page->part) return finish_file(page, good);
    return good ? EXIT_DONE : EXIT_FAILED; /* output_finish says what failed */
}

/* ---- blocks ---- */

void block_u8(struct strbuf *b, uint8_t value) {
    strbuf_char(b, (char)value);
}

static void block_bytes(struct strbuf *b, uint64_t value, size_t size) {
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(value >> (8 * i));
    strbuf_add(b, bytes, size);
}

void block_u16(struct strbuf *b, uint16_t value) {
    block_bytes(b, value, sizeof value);
}

void block_u32(struct strbuf *b, uint32_t value) {
    block_bytes(b, value, sizeof value);
}

void block_f32(struct strbuf *b, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    block_bytes(b, bits, sizeof bits);
}

void block_f64(struct strbuf *b, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    block_bytes(b, bits, sizeof bits);
}
