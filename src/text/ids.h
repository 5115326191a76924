/* ids.h: growing the list that tokenizer.h declares. */
#ifndef TEXT_IDS_H
#define TEXT_IDS_H

#include "text/tokenizer.h"

tempera_status ids_reserve(struct ids *ids, size_t extra, tempera_error *err);
tempera_status ids_append(struct ids *ids, int32_t id, tempera_error *err);

#endif
