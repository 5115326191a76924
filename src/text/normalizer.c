/* normalizer.c: normalisation steps, each from one buffer to another. */
#include "text/normalizer.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "text/bytelevel.h"
#include "text/pattern.h"
#include "text/pipeline.h"
#include "text/unicode.h"

enum step_kind {
    STEP_NORMAL_FORM,
    STEP_REPLACE,
    STEP_PREPEND,
    STEP_STRIP,
    STEP_STRIP_ACCENTS,
    STEP_LOWERCASE,
    STEP_BYTE_LEVEL
};

struct normalizer_step {
    enum step_kind kind;
    enum normal_form form;  /* STEP_NORMAL_FORM */
    struct pattern pattern; /* STEP_REPLACE */
    char *content;          /* STEP_REPLACE, STEP_PREPEND: [content_length], owned */
    size_t content_length;
    bool left, right; /* STEP_STRIP */
};

/* --- reading --- */

static tempera_status read_content(struct normalizer_step *step, const cJSON *item, const char *key, const char *at,
                                   tempera_error *err) {
    const char *text = NULL;
    TRY(json_string(item, key, &text, at, err));
    if (!text) return fail(err, TEMPERA_FORMAT, "%s: %s is missing", at, key);
    step->content_length = strlen(text);
    step->content = mem_strndup(text, step->content_length);
    return step->content ? TEMPERA_OK : fail_memory(err, step->content_length, "a normalizer");
}

static tempera_status read_strip(struct normalizer_step *step, const cJSON *item, const char *at, tempera_error *err) {
    step->left = step->right = true;
    TRY(json_bool(item, "strip_left", &step->left, at, err));
    return json_bool(item, "strip_right", &step->right, at, err);
}

static tempera_status read_step(void *arg, const cJSON *item, const char *type, const char *at, tempera_error *err) {
    static const struct {
        const char *type;
        enum step_kind kind;
        enum normal_form form;
    } kinds[] = {
        {"NFC", STEP_NORMAL_FORM, NORMAL_NFC},
        {"NFD", STEP_NORMAL_FORM, NORMAL_NFD},
        {"NFKC", STEP_NORMAL_FORM, NORMAL_NFKC},
        {"NFKD", STEP_NORMAL_FORM, NORMAL_NFKD},
        {"Replace", STEP_REPLACE, 0},
        {"Prepend", STEP_PREPEND, 0},
        {"Strip", STEP_STRIP, 0},
        {"StripAccents", STEP_STRIP_ACCENTS, 0},
        {"Lowercase", STEP_LOWERCASE, 0},
        {"ByteLevel", STEP_BYTE_LEVEL, 0},
    };
    size_t k = 0;
    while (k < sizeof kinds / sizeof *kinds && strcmp(type, kinds[k].type) != 0) k++;
    if (k == sizeof kinds / sizeof *kinds) return fail_type(at, type, err);
    struct normalizer *normalizer = arg;
    struct normalizer_step *step = &normalizer->steps[normalizer->count++];
    *step = (struct normalizer_step){.kind = kinds[k].kind, .form = kinds[k].form};
    if (step->kind == STEP_REPLACE) {
        TRY(pattern_read(&step->pattern, item, at, err));
        return read_content(step, item, "content", at, err);
    }
    if (step->kind == STEP_PREPEND) return read_content(step, item, "prepend", at, err);
    if (step->kind == STEP_STRIP) return read_strip(step, item, at, err);
    return TEMPERA_OK;
}

tempera_status normalizer_read(struct normalizer *normalizer, const cJSON *item, const char *name, tempera_error *err) {
    normalizer->steps = mem_array(PIPELINE_STEPS_MAX, sizeof *normalizer->steps);
    if (!normalizer->steps) return fail_memory(err, PIPELINE_STEPS_MAX * sizeof *normalizer->steps, "a normalizer");
    return pipeline_read(item, name, "normalizer", "normalizers", read_step, normalizer, err);
}

void normalizer_free(struct normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->count; i++) {
        pattern_free(&normalizer->steps[i].pattern);
        mem_free(normalizer->steps[i].content);
    }
    mem_free(normalizer->steps);
    *normalizer = (struct normalizer){0};
}

void normalizer_run_free(struct normalizer_run *run) {
    buf_free(&run->text[0]);
    buf_free(&run->text[1]);
}

/* --- applying --- */

static tempera_status replace(const struct normalizer_step *step, struct regex_run *run, struct buf *out,
                              const char *text, size_t length, bool *moved, tempera_error *err) {
    struct regex_walk walk = regex_walk_start(text, length);
    size_t copied = 0, start, end;
    bool found;
    for (;;) {
        TRY(pattern_next(&step->pattern, run, &walk, &found, &start, &end, err));
        if (!found) break;
        if (start == 0 && end > 0 && (step->content_length == 0 || end > char_bytes((unsigned char)text[0])))
            *moved = true;
        TRY(buf_append(out, text + copied, start - copied, err));
        TRY(buf_append(out, step->content, step->content_length, err));
        copied = end;
    }
    return buf_append(out, text + copied, length - copied, err);
}

static tempera_status strip(const struct normalizer_step *step, struct buf *out, const char *text, size_t length,
                            bool *moved, tempera_error *err) {
    size_t start = 0, end = length;
    if (step->left) start = text_spaces_at_start(text, length);
    if (step->right) end = text_spaces_at_end(text, length);
    if (start > 0) *moved = true;
    return buf_append(out, text + start, end > start ? end - start : 0, err);
}

static tempera_status strip_accents(struct buf *out, const char *text, size_t length, bool *moved, tempera_error *err) {
    for (size_t at = 0; at < length;) {
        uint32_t c;
        size_t bytes = char_get(text + at, &c);
        if (!char_is_mark(c))
            TRY(buf_append(out, text + at, bytes, err));
        else if (at == 0)
            *moved = true;
        at += bytes;
    }
    return TEMPERA_OK;
}

static tempera_status lowercase(struct buf *out, const char *text, size_t length, tempera_error *err) {
    for (size_t at = 0; at < length;) {
        uint32_t c, lower[2];
        at += char_get(text + at, &c);
        size_t count = char_lower(c, lower);
        TRY(buf_reserve(out, 2 * CHAR_MAX_BYTES, err));
        for (size_t i = 0; i < count; i++) out->length += char_put(out->data + out->length, lower[i]);
        out->data[out->length] = 0;
    }
    return TEMPERA_OK;
}

static tempera_status apply_step(const struct normalizer_step *step, struct regex_run *run, struct buf *out,
                                 const char *text, size_t length, bool *moved, tempera_error *err) {
    switch (step->kind) {
    case STEP_NORMAL_FORM: return text_normal_form(out, text, length, step->form, err);
    case STEP_REPLACE: return replace(step, run, out, text, length, moved, err);
    case STEP_STRIP: return strip(step, out, text, length, moved, err);
    case STEP_STRIP_ACCENTS: return strip_accents(out, text, length, moved, err);
    case STEP_LOWERCASE: return lowercase(out, text, length, err);
    case STEP_BYTE_LEVEL: return bytelevel_spell(out, text, length, err);
    case STEP_PREPEND:
        TRY(buf_append(out, step->content, step->content_length, err));
        return buf_append(out, text, length, err);
    }
    return TEMPERA_OK;
}

tempera_status normalizer_apply(const struct normalizer *normalizer, struct normalizer_run *run, const char *text,
                                size_t length, const char **out, size_t *out_length, bool *moved, tempera_error *err) {
    *moved = false;
    size_t max = pipeline_growth_max(length);
    for (size_t i = 0; i < normalizer->count && length > 0; i++) {
        struct buf *to = &run->text[i % 2];
        to->max = max;
        buf_clear(to);
        TRY(buf_reserve(to, 0, err));
        tempera_status status = apply_step(&normalizer->steps[i], run->regex, to, text, length, moved, err);
        if (status != TEMPERA_OK) return fail_context(err, status, "normalizer");
        text = to->data;
        length = to->length;
    }
    *out = text;
    *out_length = length;
    return TEMPERA_OK;
}
