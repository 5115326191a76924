/* gguf_pre.h: what tokenizer.ggml.pre stands for. Private to src/text. */
#ifndef TEXT_GGUF_PRE_H
#define TEXT_GGUF_PRE_H

#include <stdbool.h>

#include "load/gguf.h"

enum { GGUF_PRE_EXPRESSIONS = 8 };

/* How text is cut before byte-level BPE: at the matches of each expression in turn (Oniguruma's syntax, as in
 * tokenizer.json), and what else goes with the name. */
struct gguf_pre {
    const char *const *expressions; /* [GGUF_PRE_EXPRESSIONS] or fewer, then NULL; NULL: GPT-2's */
    bool ignore_merges;
    bool add_bos; /* when tokenizer.ggml.add_bos_token does not say */
    bool nfc;     /* Unicode is composed first (Qwen 2) */
};

/* NULL for a name that is not known. */
const struct gguf_pre *gguf_pre_find(struct gguf_text name);

#endif
