/* page_parts.h: the pages' templates, made by sweep/page/embed.cmake when the program is built. */
#ifndef TOOLS_PAGE_PARTS_H
#define TOOLS_PAGE_PARTS_H

#include <stddef.h>

struct page_parts {
    const unsigned char *head, *tail; /* what stands before and after the data */
    size_t head_length, tail_length;
};
extern const struct page_parts page_parts[2]; /* by enum page_kind */

#endif
