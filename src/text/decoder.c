/* decoder.c: reading the decoder chain and running it over the vocabulary. */
#include "text/decoder.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "text/bytelevel.h"
#include "text/metaspace.h"
#include "text/pattern.h"
#include "text/pipeline.h"
#include "text/unicode.h"

enum {
    STRIP_MAX = 255,
    DECODED_FACTOR = 16,      /* all decoded pieces together are at most so many times the pieces … */
    DECODED_EXTRA = 16 << 20, /* … and so many bytes */
};

enum step_kind { STEP_BYTE_LEVEL, STEP_BYTE_FALLBACK, STEP_METASPACE, STEP_REPLACE, STEP_STRIP, STEP_FUSE };

struct decoder_step {
    enum step_kind kind;
    struct pattern pattern;             /* STEP_REPLACE */
    char *content;                      /* STEP_REPLACE: [content_length], owned */
    size_t content_length;              /* STEP_REPLACE */
    char character[CHAR_MAX_BYTES + 1]; /* STEP_METASPACE, STEP_STRIP, terminated */
    int64_t start, stop;                /* STEP_STRIP */
    bool drop_at_start;                 /* STEP_METASPACE: the first id loses the character instead */
};

/* --- reading --- */

static tempera_status read_replace(struct decoder_step *step, const cJSON *item, const char *at, tempera_error *err) {
    const char *content = NULL;
    TRY(json_string(item, "content", &content, at, err));
    if (!content) return fail(err, TEMPERA_FORMAT, "%s: content is missing", at);
    step->content_length = strlen(content);
    step->content = mem_strndup(content, step->content_length);
    if (!step->content) return fail_memory(err, step->content_length, "a decoder");
    return pattern_read(&step->pattern, item, at, err);
}

static tempera_status read_metaspace(struct decoder_step *step, const cJSON *item, const char *at, tempera_error *err) {
    struct metaspace m;
    TRY(metaspace_read(&m, item, at, err));
    memcpy(step->character, m.replacement, sizeof step->character);
    step->drop_at_start = !m.never;
    return TEMPERA_OK;
}

static tempera_status read_strip(struct decoder_step *step, const cJSON *item, const char *at, tempera_error *err) {
    const char *content = " ";
    uint32_t c;
    TRY(json_string(item, "content", &content, at, err));
    TRY(json_integer(item, "start", 0, STRIP_MAX, &step->start, at, err));
    TRY(json_integer(item, "stop", 0, STRIP_MAX, &step->stop, at, err));
    if (!char_single(content, strlen(content), &c))
        return fail(err, TEMPERA_FORMAT, "%s: content: expected one character", at);
    memcpy(step->character, content, strlen(content) + 1);
    return TEMPERA_OK;
}

/* Steps that see the whole text: only a Strip of its start can be done while streaming. */
static tempera_status read_after_fuse(struct decoder *decoder, const struct decoder_step *step, const char *type,
                                      const char *at, tempera_error *err) {
    if (step->kind == STEP_FUSE) return TEMPERA_OK;
    if (step->kind != STEP_STRIP || decoder->strip > 0)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: %.40s on the whole text is not supported", at, type);
    if (step->stop > 0 || (unsigned char)step->character[0] >= 0x80)
        return fail(err, TEMPERA_UNSUPPORTED, "%s: Strip at the end, or of \"%s\", is not supported", at,
                    step->character);
    decoder->strip = (uint8_t)step->start;
    decoder->strip_byte = step->character[0];
    return TEMPERA_OK;
}

static tempera_status read_settings(struct decoder_step *step, const cJSON *item, const char *at, tempera_error *err) {
    if (step->kind == STEP_REPLACE) return read_replace(step, item, at, err);
    if (step->kind == STEP_METASPACE) return read_metaspace(step, item, at, err);
    if (step->kind == STEP_STRIP) return read_strip(step, item, at, err);
    return TEMPERA_OK;
}

static void free_step(struct decoder_step *step) {
    pattern_free(&step->pattern);
    mem_free(step->content);
}

static tempera_status add_step(struct decoder *decoder, const struct decoder_step *step, const char *type,
                               const char *at, tempera_error *err) {
    if (decoder->fused) return read_after_fuse(decoder, step, type, at, err);
    decoder->fused = step->kind == STEP_FUSE || step->kind == STEP_BYTE_LEVEL;
    decoder->first_differs |= step->drop_at_start;
    decoder->steps[decoder->count++] = *step;
    return TEMPERA_OK;
}

static tempera_status read_step(void *arg, const cJSON *item, const char *type, const char *at, tempera_error *err) {
    static const char *const types[] = {"ByteLevel", "ByteFallback", "Metaspace", "Replace", "Strip", "Fuse"};
    struct decoder *decoder = arg;
    struct decoder_step step = {0};
    size_t k = 0;
    while (k < sizeof types / sizeof *types && strcmp(type, types[k]) != 0) k++;
    if (k == sizeof types / sizeof *types) return fail_type(at, type, err);
    step.kind = (enum step_kind)k;
    size_t before = decoder->count;
    tempera_status status = read_settings(&step, item, at, err);
    if (status == TEMPERA_OK) status = add_step(decoder, &step, type, at, err);
    if (decoder->count == before) free_step(&step); /* not kept */
    return status;
}

static tempera_status create_steps(struct decoder *decoder, tempera_error *err) {
    decoder->steps = mem_array(PIPELINE_STEPS_MAX, sizeof *decoder->steps);
    return decoder->steps ? TEMPERA_OK : fail_memory(err, PIPELINE_STEPS_MAX * sizeof *decoder->steps, "a decoder");
}

tempera_status decoder_read(struct decoder *decoder, const cJSON *item, const char *name, tempera_error *err) {
    decoder->join_by_space = !item || cJSON_IsNull(item);
    TRY(create_steps(decoder, err));
    return pipeline_read(item, name, "decoder", "decoders", read_step, decoder, err);
}

tempera_status decoder_gpt2(struct decoder *decoder, tempera_error *err) {
    TRY(create_steps(decoder, err));
    decoder->steps[decoder->count++] = (struct decoder_step){.kind = STEP_BYTE_LEVEL};
    return TEMPERA_OK;
}

void decoder_free(struct decoder *decoder) {
    for (size_t i = 0; i < decoder->count; i++) free_step(&decoder->steps[i]);
    mem_free(decoder->steps);
    *decoder = (struct decoder){0};
}

/* --- running the chain over one id --- */

/* Bytes between steps may be no text (a byte token): such a piece passes the text steps unchanged. */
struct decoding {
    struct buf text[2];
    size_t current; /* which of the two holds the piece */
    struct regex_run regex;
    bool bytes;  /* no longer text */
    size_t room; /* bytes that may still be kept */
};

static struct buf *other(struct decoding *d) {
    struct buf *to = &d->text[1 - d->current];
    buf_clear(to);
    return to;
}

static tempera_status replace(struct decoding *d, const struct decoder_step *step, tempera_error *err) {
    const struct buf *from = &d->text[d->current];
    struct buf *to = other(d);
    struct regex_walk walk = regex_walk_start(from->data, from->length);
    size_t copied = 0, start, end;
    bool found = from->length > 0; /* nothing is sought in an empty text */
    while (found) {
        TRY(pattern_next(&step->pattern, &d->regex, &walk, &found, &start, &end, err));
        if (!found) break;
        TRY(buf_append(to, from->data + copied, start - copied, err));
        TRY(buf_append(to, step->content, step->content_length, err));
        copied = end;
    }
    TRY(buf_append(to, from->data + copied, from->length - copied, err));
    d->current = 1 - d->current;
    return TEMPERA_OK;
}

static tempera_status metaspace(struct decoding *d, const struct decoder_step *step, bool first, tempera_error *err) {
    const struct buf *from = &d->text[d->current];
    struct buf *to = other(d);
    size_t bytes = strlen(step->character);
    for (size_t at = 0; at < from->length;) {
        size_t length = char_bytes((unsigned char)from->data[at]);
        bool is_space = length == bytes && memcmp(from->data + at, step->character, bytes) == 0;
        if (!is_space)
            TRY(buf_append(to, from->data + at, length, err));
        else if (!first || !step->drop_at_start)
            TRY(buf_append(to, " ", 1, err));
        at += length;
    }
    d->current = 1 - d->current;
    return TEMPERA_OK;
}

static void strip(struct decoding *d, const struct decoder_step *step) {
    struct buf *text = &d->text[d->current];
    size_t bytes = strlen(step->character), start = 0, end = text->length;
    for (int64_t i = 0; i < step->start && end - start >= bytes; i++, start += bytes)
        if (memcmp(text->data + start, step->character, bytes) != 0) break;
    for (int64_t i = 0; i < step->stop && end - start >= bytes; i++, end -= bytes)
        if (memcmp(text->data + end - bytes, step->character, bytes) != 0) break;
    memmove(text->data, text->data + start, end - start);
    text->length = end - start;
}

static int hex_digit(char c) {
    static const char digits[] = "0123456789ABCDEFabcdef";
    const char *hit = c ? strchr(digits, c) : NULL;
    int value = hit ? (int)(hit - digits) : -1;
    return value > 15 ? value - 6 : value;
}

static void byte_fallback(struct decoding *d) {
    struct buf *text = &d->text[d->current];
    if (text->length != 6 || memcmp(text->data, "<0x", 3) != 0 || text->data[5] != '>') return;
    int high = hex_digit(text->data[3]), low = hex_digit(text->data[4]);
    if (high < 0 || low < 0) return;
    text->data[0] = (char)(high * 16 + low);
    text->length = 1;
    d->bytes = (unsigned char)text->data[0] >= 0x80;
}

/* A piece of other characters stays as it is. So does an added token whose letters only happen to be in the alphabet
 * ("é" is a byte there): its bytes would be no text. */
static tempera_status byte_level(struct decoding *d, bool in_model, tempera_error *err) {
    const struct buf *from = &d->text[d->current];
    struct buf *to = other(d);
    TRY(buf_reserve(to, from->length, err));
    size_t length = bytelevel_bytes(to->data, from->data, from->length);
    if (length == SIZE_MAX || (!in_model && text_valid_prefix(to->data, length) < length)) return TEMPERA_OK;
    to->length = length;
    d->current = 1 - d->current;
    d->bytes = true;
    return TEMPERA_OK;
}

static tempera_status decode_step(struct decoding *d, const struct decoder_step *step, bool in_model, bool first,
                                  tempera_error *err) {
    switch (step->kind) {
    case STEP_REPLACE: return replace(d, step, err);
    case STEP_METASPACE: return metaspace(d, step, first, err);
    case STEP_BYTE_LEVEL: return byte_level(d, in_model, err);
    case STEP_STRIP: strip(d, step); break;
    case STEP_BYTE_FALLBACK: byte_fallback(d); break;
    case STEP_FUSE: break;
    }
    return TEMPERA_OK;
}

/* Leaves the result in d->text[d->current]. */
static tempera_status decode_piece(const struct decoder *decoder, struct decoding *d, const char *piece, size_t length,
                                   bool in_model, bool first, tempera_error *err) {
    d->current = 0;
    d->bytes = false;
    d->text[0].max = d->text[1].max = pipeline_growth_max(length);
    buf_clear(&d->text[0]);
    TRY(buf_append(&d->text[0], piece, length, err));
    for (size_t i = 0; i < decoder->count && !d->bytes; i++)
        TRY(decode_step(d, &decoder->steps[i], in_model, first, err));
    return TEMPERA_OK;
}

/* --- over the vocabulary --- */

/* Result of decode_piece, in the arena unless it is the piece itself. */
static tempera_status keep(struct decoding *d, struct vocab *vocab, const struct vocab_entry *entry, const char **bytes,
                           uint32_t *length, tempera_error *err) {
    const struct buf *text = &d->text[d->current];
    *bytes = entry->piece;
    *length = (uint32_t)text->length;
    if (text->length == entry->length && memcmp(text->data, entry->piece, text->length) == 0) return TEMPERA_OK;
    if (text->length > d->room)
        return fail(err, TEMPERA_UNSUPPORTED, "the pieces decode to more than %d times their size", DECODED_FACTOR);
    d->room -= text->length;
    *bytes = arena_strndup(&vocab->arena, text->data, text->length);
    return *bytes ? TEMPERA_OK : fail_memory(err, text->length, "decoded pieces");
}

static tempera_status compile_entry(struct decoder *decoder, struct decoding *d, struct vocab *vocab,
                                    struct vocab_entry *entry, const char *piece, size_t length, tempera_error *err) {
    TRY(decode_piece(decoder, d, piece, length, entry->in_model, false, err));
    TRY(keep(d, vocab, entry, &entry->bytes, &entry->bytes_length, err));
    entry->first = entry->bytes;
    entry->first_length = entry->bytes_length;
    if (decoder->first_differs) {
        TRY(decode_piece(decoder, d, piece, length, entry->in_model, true, err));
        TRY(keep(d, vocab, entry, &entry->first, &entry->first_length, err));
    }
    if (entry->bytes_length > decoder->longest) decoder->longest = entry->bytes_length;
    if (entry->first_length > decoder->longest) decoder->longest = entry->first_length;
    return TEMPERA_OK;
}

tempera_status decoder_compile(struct decoder *decoder, struct vocab *vocab, const char *name, tempera_error *err) {
    tempera_status status = TEMPERA_OK;
    struct decoding d = {.room = vocab->arena.used * DECODED_FACTOR + DECODED_EXTRA};
    d.regex = regex_run_start(vocab->arena.used);
    for (int32_t id = 0; id < vocab->size; id++) {
        struct vocab_entry *entry = &vocab->entries[id];
        if (entry->piece) TRY_GOTO(compile_entry(decoder, &d, vocab, entry, entry->piece, entry->length, err));
    }
    for (size_t i = 0; i < vocab->added_count; i++) { /* what normalisation put around them comes back too */
        const struct added_token *token = &vocab->added[i];
        if (token->pattern == token->content) continue;
        TRY_GOTO(
            compile_entry(decoder, &d, vocab, &vocab->entries[token->id], token->pattern, token->pattern_length, err));
    }
cleanup:
    buf_free(&d.text[0]);
    buf_free(&d.text[1]);
    regex_run_free(&d.regex);
    if (status != TEMPERA_OK) return fail_context(err, status, "%s: decoder", name);
    return TEMPERA_OK;
}
