/* tokenizer_gguf.c: the vocabulary inside a GGUF file. Keys and their defaults are those of llama.cpp (llama-vocab.cpp). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "text/gguf_pre.h"
#include "text/ids.h"
#include "text/tokenizer_internal.h"
#include "text/unicode.h"

enum token_type { TYPE_UNDEFINED, TYPE_NORMAL, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE, TYPES };

enum { SCORED_MAX = 256 }; /* bytes of a piece that is found by its score: every way to halve it is tried */

struct reading {
    struct tokenizer *t;
    const struct gguf *gguf;
    const char *name;
    struct gguf_array tokens, types, scores;
    size_t count;
    bool sentencepiece;
    bool phi3; /* its added tokens take the white space after them */
};

static tempera_status integer(const struct reading *r, const char *key, int32_t *id, tempera_error *err) {
    int64_t number = *id;
    TRY(gguf_integer(r->gguf, key, -1, UINT32_MAX, &number, err));
    if (number == UINT32_MAX) return TEMPERA_OK; /* none */
    if (number >= (int64_t)r->count && gguf_has(r->gguf, key))
        return fail(err, TEMPERA_FORMAT, "%s: %s: %lld is not below the number of tokens (%zu)", r->name, key,
                    (long long)number, r->count);
    *id = number < (int64_t)r->count ? (int32_t)number : -1;
    return TEMPERA_OK;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static bool contains(struct gguf_text text, const char *word) {
    const size_t length = strlen(word);
    for (size_t i = 0; i + length <= text.length; i++)
        if (strncasecmp(text.text + i, word, length) == 0) return true;
    return false;
}

static tempera_status find_lists(struct reading *r, tempera_error *err) {
    struct gguf_text name = {0};
    TRY(gguf_array(r->gguf, "tokenizer.ggml.tokens", GGUF_STRING, &r->tokens, err));
    TRY(gguf_array(r->gguf, "tokenizer.ggml.token_type", GGUF_I32, &r->types, err));
    TRY(gguf_array(r->gguf, "tokenizer.ggml.scores", GGUF_F32, &r->scores, err));
    TRY(gguf_string(r->gguf, "general.name", &name, err));
    r->phi3 = r->sentencepiece && (contains(name, "phi-3") || contains(name, "phi3"));
    r->count = r->tokens.count;
    if (r->count == 0) return fail(err, TEMPERA_FORMAT, "%s: tokenizer.ggml.tokens is missing", r->name);
    if (r->count > VOCAB_MAX_ID)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: tokenizer.ggml.tokens: %zu tokens", r->name, r->count);
    if (r->types.count > 0 && r->types.count != r->count)
        return fail(err, TEMPERA_FORMAT, "%s: tokenizer.ggml.token_type: expected %zu, one for each token, found %zu",
                    r->name, r->count, r->types.count);
    if (r->sentencepiece && r->scores.count != r->count)
        return fail(err, TEMPERA_FORMAT, "%s: tokenizer.ggml.scores: expected %zu, one for each token, found %zu",
                    r->name, r->count, r->scores.count);
    return TEMPERA_OK;
}

static tempera_status type_of(const struct reading *r, size_t id, enum token_type *type, tempera_error *err) {
    int32_t number = r->types.count > 0 ? gguf_array_i32(&r->types, id) : TYPE_NORMAL;
    *type = TYPE_UNDEFINED;
    if (number < 0 || number >= TYPES)
        return fail(err, TEMPERA_FORMAT, "%s: tokenizer.ggml.token_type: token %zu has type %d", r->name, id, number);
    *type = (enum token_type)number;
    return TEMPERA_OK;
}

/* Those that the text is searched for before anything else. */
static tempera_status add_token(const struct reading *r, struct gguf_text text, int32_t id, bool special,
                                tempera_error *err) {
    struct added_token token = {.content = text.text, .length = text.length, .id = id, .special = special};
    token.rstrip =
        r->phi3 && !gguf_text_is(text, "<unk>") && !gguf_text_is(text, "<s>") && !gguf_text_is(text, "<|endoftext|>");
    if (vocab_find(&r->t->vocab, text.text, text.length) >= 0)
        return fail(err, TEMPERA_FORMAT, "%s: the token \"%.*s\" appears twice", r->name,
                    (int)(text.length < 60 ? text.length : 60), text.text);
    return vocab_add_token(&r->t->vocab, &token, r->name, err);
}

static tempera_status read_tokens(const struct reading *r, tempera_error *err) {
    struct gguf_array tokens = r->tokens;
    for (int32_t id = 0; tokens.count > 0; id++) {
        struct gguf_text text = gguf_array_take(&tokens);
        enum token_type type;
        TRY(type_of(r, (size_t)id, &type, err));
        if (text.length == 0) continue; /* no text spells it */
        if (type == TYPE_CONTROL || type == TYPE_UNKNOWN || type == TYPE_USER)
            TRY(add_token(r, text, id, type != TYPE_USER, err));
        else
            TRY(vocab_add_piece(&r->t->vocab, text.text, text.length, id, r->name, err));
    }
    return TEMPERA_OK;
}

/* ---- components -------------------------------------------------------------------------------------------------- */

typedef tempera_status component_reader(void *component, const cJSON *item, const char *name, tempera_error *err);

static tempera_status read_normalizer(void *component, const cJSON *item, const char *name, tempera_error *err) {
    return normalizer_read(component, item, name, err);
}

static tempera_status read_decoder(void *component, const cJSON *item, const char *name, tempera_error *err) {
    return decoder_read(component, item, name, err);
}

/* A component as tokenizer.json would describe it. */
static tempera_status build(void *component, component_reader *read, const char *json, const char *name,
                            tempera_error *err) {
    cJSON *item;
    TRY(json_parse(&item, json, strlen(json), true, name, err));
    tempera_status status = read(component, item, name, err);
    cJSON_Delete(item);
    return status;
}

/* ---- byte-level BPE ---------------------------------------------------------------------------------------------- */

static tempera_status read_merges(const struct reading *r, tempera_error *err) {
    struct gguf_array merges = {0};
    TRY(gguf_array(r->gguf, "tokenizer.ggml.merges", GGUF_STRING, &merges, err));
    if (merges.count == 0) return fail(err, TEMPERA_FORMAT, "%s: tokenizer.ggml.merges is missing", r->name);
    while (merges.count > 0) {
        struct gguf_text line = gguf_array_take(&merges);
        const char *space = line.length > 1 ? memchr(line.text + 1, ' ', line.length - 1) : NULL;
        if (!space)
            return fail(err, TEMPERA_FORMAT,
                        "%s: tokenizer.ggml.merges: \"%.*s\": expected two pieces with a space between", r->name,
                        (int)(line.length < 60 ? line.length : 60), line.text);
        size_t left = (size_t)(space - line.text);
        TRY(bpe_add_merge(&r->t->bpe, line.text, left, space + 1, line.length - left - 1, r->name, err));
    }
    return TEMPERA_OK;
}

/* Files from before the key was invented: known where the architecture leaves no choice. */
static struct gguf_text pre_of_architecture(struct gguf_text architecture) {
    static const char *const gpt2_like[] = {"gpt2", "gptneox", "mpt"};
    for (size_t i = 0; i < sizeof gpt2_like / sizeof *gpt2_like; i++)
        if (gguf_text_is(architecture, gpt2_like[i])) return (struct gguf_text){"gpt-2", 5};
    return (struct gguf_text){0};
}

static tempera_status find_pre(const struct reading *r, const struct gguf_pre **pre, tempera_error *err) {
    struct gguf_text name = {0}, architecture = {0};
    TRY(gguf_string(r->gguf, "general.architecture", &architecture, err));
    TRY(gguf_string(r->gguf, "tokenizer.ggml.pre", &name, err));
    if (name.length == 0) name = pre_of_architecture(architecture);
    if (name.length == 0)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: tokenizer.ggml.pre is missing: how text is cut cannot be known",
                    r->name);
    *pre = gguf_pre_find(name);
    if (*pre) return TEMPERA_OK;
    return fail(err, TEMPERA_UNSUPPORTED, "%s: tokenizer.ggml.pre: \"%.*s\" is not supported", r->name,
                (int)(name.length < 60 ? name.length : 60), name.text);
}

static tempera_status read_byte_level(const struct reading *r, bool *add_bos, tempera_error *err) {
    struct tokenizer *t = r->t;
    const struct gguf_pre *pre;
    TRY(find_pre(r, &pre, err));
    TRY(bpe_start(&t->bpe, &t->vocab, NULL, NULL, err));
    t->bpe.ignore_merges = pre->ignore_merges;
    *add_bos = pre->add_bos;
    TRY(read_merges(r, err));
    if (pre->nfc) TRY(build(&t->normalizer, read_normalizer, "{\"type\": \"NFC\"}", r->name, err));
    TRY(pre->expressions ? pretokenizer_expressions(&t->pretokenizer, pre->expressions, r->name, err)
                         : pretokenizer_gpt2(&t->pretokenizer, false, err));
    return decoder_gpt2(&t->decoder, err);
}

/* ---- SentencePiece's BPE: pieces with scores --------------------------------------------------------------------- */

struct scored {
    float score;
    int32_t id;
};

static int compare_scores(const void *a, const void *b) {
    const struct scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The pieces that merging can make, best first. */
static tempera_status collect(const struct reading *r, struct scored *list, size_t *count, tempera_error *err) {
    *count = 0;
    for (size_t id = 0; id < r->count; id++) {
        const struct vocab_entry *entry = vocab_entry(&r->t->vocab, (int32_t)id);
        enum token_type type;
        TRY(type_of(r, id, &type, err));
        if (!entry || (type != TYPE_NORMAL && type != TYPE_UNDEFINED)) continue;
        float score = gguf_array_f32(&r->scores, id);
        if (!isfinite(score))
            return fail(err, TEMPERA_FORMAT, "%s: tokenizer.ggml.scores: token %zu has %g", r->name, id, (double)score);
        if (entry->length > SCORED_MAX)
            return fail(err, TEMPERA_UNSUPPORTED,
                        "%s: tokenizer.ggml.tokens: token %zu has %u bytes, at most %d are read", r->name, id,
                        entry->length, SCORED_MAX);
        list[(*count)++] = (struct scored){score, (int32_t)id};
    }
    if (*count) qsort(list, *count, sizeof *list, compare_scores);
    return TEMPERA_OK;
}

/* SentencePiece joins the two neighbours that make the piece of the best score, of equal ones the leftmost. So do merges
 * that have the rank of the piece they make: every way to halve it into pieces. */
static tempera_status add_halves(const struct reading *r, const struct scored *list, size_t count, tempera_error *err) {
    uint32_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        const struct vocab_entry *entry = vocab_entry(&r->t->vocab, list[i].id);
        if (i > 0 && list[i].score != list[i - 1].score) rank++;
        if (text_valid_prefix(entry->piece, entry->length) < entry->length) continue; /* no text spells it */
        for (size_t at = char_bytes((unsigned char)entry->piece[0]); at < entry->length;
             at += char_bytes((unsigned char)entry->piece[at]))
            TRY(bpe_add_ranked(&r->t->bpe, entry->piece, entry->length, at, rank, r->name, err));
    }
    return TEMPERA_OK;
}

static tempera_status read_scores(const struct reading *r, tempera_error *err) {
    size_t count;
    struct scored *list = mem_array(r->count, sizeof *list);
    if (!list) return fail_memory(err, r->count * sizeof *list, "scores");
    tempera_status status = collect(r, list, &count, err);
    if (status == TEMPERA_OK) status = add_halves(r, list, count, err);
    mem_free(list);
    return status;
}

#define MARK   "\xE2\x96\x81" /* ▁ */
#define ESCAPE "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"" MARK "\"}"
#define UNESCAPE                                                                                                       \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \"" MARK "\"}, \"content\": \" \"}, "                           \
    "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}"

static tempera_status read_sentencepiece(const struct reading *r, tempera_error *err) {
    static const char with_prefix[] = "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
                                      "\"" MARK "\"}, " ESCAPE "]}";
    static const char strips_prefix[] = "{\"type\": \"Sequence\", \"decoders\": [" UNESCAPE
                                        ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}";
    static const char keeps_all[] = "{\"type\": \"Sequence\", \"decoders\": [" UNESCAPE "]}";
    struct tokenizer *t = r->t;
    bool prefix = true;
    int32_t unknown = 0;
    TRY(gguf_bool(r->gguf, "tokenizer.ggml.add_space_prefix", &prefix, err));
    TRY(integer(r, "tokenizer.ggml.unknown_token_id", &unknown, err));
    TRY(bpe_start(&t->bpe, &t->vocab, NULL, NULL, err));
    t->bpe.byte_fallback = t->bpe.fuse_unknown = true;
    t->bpe.unknown = vocab_entry(&t->vocab, unknown) ? unknown : -1;
    TRY(read_scores(r, err));
    TRY(build(&t->normalizer, read_normalizer, prefix ? with_prefix : ESCAPE, r->name, err));
    return build(&t->decoder, read_decoder, prefix ? strips_prefix : keeps_all, r->name, err);
}

/* ---- special tokens ---------------------------------------------------------------------------------------------- */

static tempera_status append_special(const struct reading *r, struct ids *ids, const char *key, bool add, int32_t id,
                                     tempera_error *err) {
    TRY(gguf_bool(r->gguf, key, &add, err));
    if (!add) return TEMPERA_OK;
    if (vocab_entry(&r->t->vocab, id)) return ids_append(ids, id, err);
    return fail(err, TEMPERA_FORMAT, "%s: %s: the file does not say which token that is", r->name, key);
}

static tempera_status read_special(const struct reading *r, bool add_bos, tempera_error *err) {
    struct tokenizer *t = r->t;
    if (r->sentencepiece) t->bos = 1, t->eos = 2; /* where the file does not say */
    TRY(integer(r, "tokenizer.ggml.bos_token_id", &t->bos, err));
    TRY(integer(r, "tokenizer.ggml.eos_token_id", &t->eos, err));
    TRY(append_special(r, &t->post.before, "tokenizer.ggml.add_bos_token", add_bos, t->bos, err));
    return append_special(r, &t->post.after, "tokenizer.ggml.add_eos_token", false, t->eos, err);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static tempera_status read_all(struct reading *r, tempera_error *err) {
    struct gguf_text model = {0};
    bool add_bos = true;
    TRY(gguf_string(r->gguf, "tokenizer.ggml.model", &model, err));
    r->sentencepiece = gguf_text_is(model, "llama");
    if (!r->sentencepiece && !gguf_text_is(model, "gpt2"))
        return fail(err, TEMPERA_UNSUPPORTED,
                    "%s: tokenizer.ggml.model: \"%.*s\" is not supported (gpt2 and llama are)", r->name,
                    (int)(model.length < 60 ? model.length : 60), model.text);
    TRY(find_lists(r, err));
    TRY(read_tokens(r, err));
    TRY(r->sentencepiece ? read_sentencepiece(r, err) : read_byte_level(r, &add_bos, err));
    return read_special(r, add_bos, err);
}

tempera_status tokenizer_read_gguf(struct tokenizer *t, const struct gguf *gguf, tempera_error *err) {
    struct reading r = {.t = t, .gguf = gguf, .name = gguf_name(gguf)};
    return read_all(&r, err);
}
