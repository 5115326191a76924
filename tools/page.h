/* page.h: self-contained HTML pages: style, script and D3 are embedded in the program (sweep/page/, put together by
 * sweep/page/embed.cmake), the data is written into the page as JSON and as named blocks of compressed bytes.
 *
 * A page carries a Content-Security-Policy that allows its own two scripts by their SHA-256 and nothing else: no
 * network, no eval, no handlers in markup. Its script writes texts as text nodes only. What stands in the page beside
 * the template is JSON without '<' and base64, so that no text, whoever wrote it, can end the element that holds it. */
#ifndef TOOLS_PAGE_H
#define TOOLS_PAGE_H

#include <stdint.h>
#include <stdio.h>

#include "json_writer.h"
#include "strbuf.h"

enum page_kind { PAGE_REPORT, PAGE_PROBS };

/* A file that appears under its name when it is complete. */
struct page {
    FILE *file;
    const char *path; /* borrowed; "-" = standard output */
    char *part;       /* owned: the name until then; NULL for standard output */
    enum page_kind kind;
    uint64_t written; /* bytes */
    bool failed;
};

/* Opens PATH.part and writes the template's head. 0 or the exit status after complaining; page_close is needed after
 * success only. */
int page_open(struct page *page, const char *path, enum page_kind kind);
/* The page's data: <script type="application/json" id="data">. Clears the writer's text. */
void page_json(struct page *page, struct json *json);
/* Named bytes, compressed by zlib, in base64: <script type="application/octet-stream" id="block-NAME">. The name is of
 * letters, digits, - and _. */
void page_block(struct page *page, const char *name, const void *bytes, size_t length);
/* The template's tail; then the file gets its name. With `good` false the part is removed instead. 0 or the exit
 * status. */
int page_close(struct page *page, bool good);

/* Little-endian numbers at the end of a block. */
void block_u8(struct strbuf *b, uint8_t value);
void block_u16(struct strbuf *b, uint16_t value);
void block_u32(struct strbuf *b, uint32_t value);
void block_f32(struct strbuf *b, float value);
void block_f64(struct strbuf *b, double value);

#endif
