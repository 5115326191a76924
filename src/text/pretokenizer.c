/* pretokenizer.c: the pre-tokenization steps. */
#include "text/pretokenizer.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "text/bytelevel.h"
#include "text/metaspace.h"
#include "text/pattern.h"
#include "text/pipeline.h"
#include "text/split.h"
#include "text/unicode.h"

/* A literal apostrophe word, letters, digits or other signs with the space before them, white space up to a word. */
static const char gpt2_expression[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum step_kind { STEP_BYTE_LEVEL, STEP_SPLIT, STEP_CHARACTERS, STEP_WHITESPACE, STEP_METASPACE };
enum prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct pretokenizer_step {
    enum step_kind kind;
    struct pattern pattern;               /* STEP_SPLIT, STEP_BYTE_LEVEL with its expression */
    bool (*delimiter)(uint32_t c);        /* STEP_CHARACTERS */
    enum split_behavior behavior;         /* STEP_SPLIT, STEP_CHARACTERS */
    bool invert;                          /* STEP_SPLIT: cut by what does not match */
    bool prefix_space;                    /* STEP_BYTE_LEVEL */
    enum prepend prepend;                 /* STEP_METASPACE */
    bool split;                           /* STEP_METASPACE */
    char replacement[CHAR_MAX_BYTES + 1]; /* STEP_METASPACE, terminated */
};

/* --- reading --- */

static tempera_status read_behavior(enum split_behavior *behavior, const cJSON *item, const char *at,
                                    tempera_error *err) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *text = NULL;
    TRY(json_string(item, "behavior", &text, at, err));
    for (size_t i = 0; text && i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *behavior = (enum split_behavior)i;
        return TEMPERA_OK;
    }
    return text ? fail(err, TEMPERA_UNSUPPORTED, "%s: behavior \"%.40s\" is not supported", at, text) : TEMPERA_OK;
}

static tempera_status read_byte_level(struct pretokenizer_step *step, const cJSON *item, const char *at,
                                      tempera_error *err) {
    bool use_regex = true;
    step->behavior = SPLIT_ISOLATED;
    TRY(json_bool(item, "add_prefix_space", &step->prefix_space, at, err));
    TRY(json_bool(item, "use_regex", &use_regex, at, err));
    return use_regex ? regex_compile(&step->pattern.regex, gpt2_expression, true, at, err) : TEMPERA_OK;
}

static tempera_status read_split(struct pretokenizer_step *step, const cJSON *item, const char *at,
                                 tempera_error *err) {
    TRY(json_bool(item, "invert", &step->invert, at, err));
    if (!json_get(item, "behavior")) return fail(err, TEMPERA_FORMAT, "%s: behavior is missing", at);
    TRY(read_behavior(&step->behavior, item, at, err));
    return pattern_read(&step->pattern, item, at, err);
}

static tempera_status read_digits(struct pretokenizer_step *step, const cJSON *item, const char *at,
                                  tempera_error *err) {
    bool individual = false;
    step->delimiter = char_is_numeric;
    TRY(json_bool(item, "individual_digits", &individual, at, err));
    step->behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return TEMPERA_OK;
}

static tempera_status read_punctuation(struct pretokenizer_step *step, const cJSON *item, const char *at,
                                       tempera_error *err) {
    step->delimiter = char_is_punctuation;
    step->behavior = SPLIT_ISOLATED;
    return read_behavior(&step->behavior, item, at, err);
}

static tempera_status read_whitespace_split(struct pretokenizer_step *step, const cJSON *item, const char *at,
                                            tempera_error *err) {
    (void)item, (void)at, (void)err;
    step->delimiter = char_is_space;
    step->behavior = SPLIT_REMOVED;
    return TEMPERA_OK;
}

static tempera_status read_nothing(struct pretokenizer_step *step, const cJSON *item, const char *at,
                                   tempera_error *err) {
    (void)step, (void)item, (void)at, (void)err;
    return TEMPERA_OK;
}

static tempera_status read_metaspace(struct pretokenizer_step *step, const cJSON *item, const char *at,
                                     tempera_error *err) {
    struct metaspace m;
    TRY(metaspace_read(&m, item, at, err));
    memcpy(step->replacement, m.replacement, sizeof step->replacement);
    step->split = m.split;
    step->behavior = SPLIT_MERGED_WITH_NEXT;
    step->pattern.literal_length = strlen(m.replacement);
    step->pattern.literal = mem_strndup(m.replacement, step->pattern.literal_length);
    if (!step->pattern.literal) return fail_memory(err, sizeof m.replacement, "a pre-tokenizer");
    step->prepend = m.never ? PREPEND_NEVER : m.first ? PREPEND_FIRST : PREPEND_ALWAYS;
    return TEMPERA_OK;
}

static tempera_status read_step(void *arg, const cJSON *item, const char *type, const char *at, tempera_error *err) {
    static const struct {
        const char *type;
        enum step_kind kind;
        tempera_status (*read)(struct pretokenizer_step *, const cJSON *, const char *, tempera_error *);
    } kinds[] = {
        {"ByteLevel", STEP_BYTE_LEVEL, read_byte_level},
        {"Split", STEP_SPLIT, read_split},
        {"Digits", STEP_CHARACTERS, read_digits},
        {"Punctuation", STEP_CHARACTERS, read_punctuation},
        {"WhitespaceSplit", STEP_CHARACTERS, read_whitespace_split},
        {"Whitespace", STEP_WHITESPACE, read_nothing},
        {"Metaspace", STEP_METASPACE, read_metaspace},
    };
    struct pretokenizer *pretokenizer = arg;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (strcmp(type, kinds[k].type) != 0) continue;
        struct pretokenizer_step *step = &pretokenizer->steps[pretokenizer->count++];
        *step = (struct pretokenizer_step){.kind = kinds[k].kind};
        pretokenizer->last_is_byte_level = step->kind == STEP_BYTE_LEVEL;
        return kinds[k].read(step, item, at, err);
    }
    return fail_type(at, type, err);
}

static tempera_status create_steps(struct pretokenizer *pretokenizer, tempera_error *err) {
    pretokenizer->steps = mem_array(PIPELINE_STEPS_MAX, sizeof *pretokenizer->steps);
    return pretokenizer->steps ? TEMPERA_OK : fail_memory(err, PIPELINE_STEPS_MAX, "a pre-tokenizer");
}

tempera_status pretokenizer_read(struct pretokenizer *pretokenizer, const cJSON *item, const char *name,
                                 tempera_error *err) {
    TRY(create_steps(pretokenizer, err));
    return pipeline_read(item, name, "pre_tokenizer", "pretokenizers", read_step, pretokenizer, err);
}

tempera_status pretokenizer_gpt2(struct pretokenizer *pretokenizer, bool add_prefix_space, tempera_error *err) {
    TRY(create_steps(pretokenizer, err));
    pretokenizer->count = 1;
    pretokenizer->last_is_byte_level = true;
    struct pretokenizer_step *step = &pretokenizer->steps[0];
    *step = (struct pretokenizer_step){
        .kind = STEP_BYTE_LEVEL, .behavior = SPLIT_ISOLATED, .prefix_space = add_prefix_space};
    return regex_compile(&step->pattern.regex, gpt2_expression, true, "pre_tokenizer", err);
}

tempera_status pretokenizer_expressions(struct pretokenizer *pretokenizer, const char *const *expressions,
                                        const char *name, tempera_error *err) {
    TRY(create_steps(pretokenizer, err));
    for (; *expressions; expressions++) {
        struct pretokenizer_step *step = &pretokenizer->steps[pretokenizer->count++];
        *step = (struct pretokenizer_step){.kind = STEP_SPLIT, .behavior = SPLIT_ISOLATED};
        TRY(regex_compile(&step->pattern.regex, *expressions, false, name, err));
    }
    pretokenizer->steps[pretokenizer->count++] =
        (struct pretokenizer_step){.kind = STEP_BYTE_LEVEL, .behavior = SPLIT_ISOLATED};
    pretokenizer->last_is_byte_level = true;
    return TEMPERA_OK;
}

void pretokenizer_free(struct pretokenizer *pretokenizer) {
    for (size_t i = 0; i < pretokenizer->count; i++) pattern_free(&pretokenizer->steps[i].pattern);
    mem_free(pretokenizer->steps);
    *pretokenizer = (struct pretokenizer){0};
}

/* --- applying --- */

enum { TEXTS_PER_STEP = 2 };

/* Where one step's parts go. */
struct stage {
    const struct pretokenizer *pretokenizer;
    struct pretokenizer_run *run;
    size_t index; /* of the step that cuts; count = the sink */
    struct text_piece piece;
    size_t max; /* bytes that a text of this call may grow to */
};

static tempera_status apply_stage(const struct stage *stage, tempera_error *err);

static const struct pretokenizer_step *step_of(const struct stage *stage) {
    return &stage->pretokenizer->steps[stage->index];
}

static tempera_status hand_on(const struct stage *stage, struct text_piece piece, tempera_error *err) {
    if (piece.length == 0) return TEMPERA_OK;
    if (stage->index + 1 == stage->pretokenizer->count) return stage->run->sink(stage->run->arg, piece, err);
    struct stage next = *stage;
    next.index++;
    next.piece = piece;
    return apply_stage(&next, err);
}

/* split_emit: a part of the stage's piece. */
static tempera_status emit(void *arg, size_t start, size_t end, tempera_error *err) {
    const struct stage *stage = arg;
    struct text_piece part = {stage->piece.text + start, end - start, stage->piece.first && start == 0};
    return hand_on(stage, part, err);
}

/* An emptied buffer of the step, to rewrite text in. */
static tempera_status step_text(const struct stage *stage, size_t which, struct buf **text, tempera_error *err) {
    *text = &stage->run->texts[stage->index * TEXTS_PER_STEP + which];
    (*text)->max = stage->max;
    buf_clear(*text);
    return buf_reserve(*text, 0, err);
}

/* split_emit: a part that is spelled in the byte alphabet before it goes on. */
static tempera_status emit_spelled(void *arg, size_t start, size_t end, tempera_error *err) {
    const struct stage *stage = arg;
    struct buf *text;
    TRY(step_text(stage, 1, &text, err));
    TRY(bytelevel_spell(text, stage->piece.text + start, end - start, err));
    return hand_on(stage, (struct text_piece){text->data, text->length, stage->piece.first && start == 0}, err);
}

static tempera_status cut_by_pattern(const struct stage *stage, split_emit *to, tempera_error *err) {
    const struct pretokenizer_step *step = step_of(stage);
    struct stage copy = *stage;
    struct split split = {.behavior = step->behavior, .emit = to, .arg = &copy};
    struct regex_walk walk = regex_walk_start(stage->piece.text, stage->piece.length);
    size_t done = 0, start, end;
    bool found;
    for (;;) {
        TRY(pattern_next(&step->pattern, stage->run->regex, &walk, &found, &start, &end, err));
        if (!found) break;
        if (start > done) TRY(split_span(&split, done, start, step->invert, err));
        TRY(split_span(&split, start, end, !step->invert, err));
        done = end;
    }
    if (done < stage->piece.length) TRY(split_span(&split, done, stage->piece.length, step->invert, err));
    return split_finish(&split, err);
}

static tempera_status cut_at_characters(const struct stage *stage, bool (*delimiter)(uint32_t),
                                        enum split_behavior behavior, tempera_error *err) {
    struct stage copy = *stage;
    struct split split = {.behavior = behavior, .emit = emit, .arg = &copy};
    size_t done = 0;
    for (size_t at = 0; at < stage->piece.length;) {
        uint32_t c;
        size_t bytes = char_get(stage->piece.text + at, &c);
        if (delimiter(c)) {
            if (at > done) TRY(split_span(&split, done, at, false, err));
            TRY(split_span(&split, at, at + bytes, true, err));
            done = at + bytes;
        }
        at += bytes;
    }
    if (done < stage->piece.length) TRY(split_span(&split, done, stage->piece.length, false, err));
    return split_finish(&split, err);
}

enum word_kind { KIND_SPACE, KIND_WORD, KIND_SIGN };

static enum word_kind word_kind(uint32_t c) {
    return char_is_word(c) ? KIND_WORD : char_is_space(c) ? KIND_SPACE : KIND_SIGN;
}

/* Runs of word characters and runs of other signs, without the white space between: \w+|[^\w\s]+ */
static tempera_status cut_words(const struct stage *stage, tempera_error *err) {
    struct stage copy = *stage;
    enum word_kind last = KIND_SPACE;
    size_t start = 0;
    for (size_t at = 0; at < stage->piece.length;) {
        uint32_t c;
        size_t bytes = char_get(stage->piece.text + at, &c);
        enum word_kind kind = word_kind(c);
        if (kind != last) {
            if (last != KIND_SPACE) TRY(emit(&copy, start, at, err));
            start = at;
        }
        last = kind;
        at += bytes;
    }
    return last != KIND_SPACE ? emit(&copy, start, stage->piece.length, err) : TEMPERA_OK;
}

static tempera_status cut_byte_level(const struct stage *stage, tempera_error *err) {
    const struct pretokenizer_step *step = step_of(stage);
    struct stage copy = *stage;
    if (step->prefix_space && stage->piece.text[0] != ' ') {
        struct buf *text;
        TRY(step_text(stage, 0, &text, err));
        TRY(buf_append(text, " ", 1, err));
        TRY(buf_append(text, stage->piece.text, stage->piece.length, err));
        copy.piece.text = text->data;
        copy.piece.length = text->length;
    }
    bool last = stage->index + 1 == stage->pretokenizer->count;
    split_emit *to = stage->run->raw && last ? emit : emit_spelled;
    if (step->pattern.regex) return cut_by_pattern(&copy, to, err);
    return to(&copy, 0, copy.piece.length, err);
}

static tempera_status replace_spaces(struct buf *out, const char *text, size_t length, const char *replacement,
                                     tempera_error *err) {
    while (length > 0) {
        const char *space = memchr(text, ' ', length);
        size_t before = space ? (size_t)(space - text) : length;
        TRY(buf_append(out, text, before, err));
        if (!space) break;
        TRY(buf_append_text(out, replacement, err));
        text += before + 1;
        length -= before + 1;
    }
    return TEMPERA_OK;
}

static tempera_status cut_metaspace(const struct stage *stage, tempera_error *err) {
    const struct pretokenizer_step *step = step_of(stage);
    const struct text_piece *piece = &stage->piece;
    size_t bytes = strlen(step->replacement);
    struct buf *text;
    TRY(step_text(stage, 0, &text, err));
    bool marked =
        piece->text[0] == ' ' || (piece->length >= bytes && memcmp(piece->text, step->replacement, bytes) == 0);
    if (!marked && (step->prepend == PREPEND_ALWAYS || (step->prepend == PREPEND_FIRST && piece->first)))
        TRY(buf_append(text, step->replacement, bytes, err));
    TRY(replace_spaces(text, piece->text, piece->length, step->replacement, err));
    struct stage copy = *stage;
    copy.piece.text = text->data;
    copy.piece.length = text->length;
    return step->split ? cut_by_pattern(&copy, emit, err) : emit(&copy, 0, text->length, err);
}

static tempera_status apply_stage(const struct stage *stage, tempera_error *err) {
    const struct pretokenizer_step *step = step_of(stage);
    switch (step->kind) {
    case STEP_BYTE_LEVEL: return cut_byte_level(stage, err);
    case STEP_SPLIT: return cut_by_pattern(stage, emit, err);
    case STEP_CHARACTERS: return cut_at_characters(stage, step->delimiter, step->behavior, err);
    case STEP_WHITESPACE: return cut_words(stage, err);
    case STEP_METASPACE: return cut_metaspace(stage, err);
    }
    return TEMPERA_OK;
}

tempera_status pretokenizer_apply(const struct pretokenizer *pretokenizer, struct pretokenizer_run *run,
                                  struct text_piece piece, tempera_error *err) {
    if (piece.length == 0) return TEMPERA_OK;
    if (pretokenizer->count == 0) return run->sink(run->arg, piece, err);
    if (!run->texts) {
        run->texts = mem_array(pretokenizer->count * TEXTS_PER_STEP, sizeof *run->texts);
        if (!run->texts) return fail_memory(err, pretokenizer->count * sizeof *run->texts, "a pre-tokenizer");
    }
    struct stage first = {pretokenizer, run, 0, piece, pipeline_growth_max(piece.length)};
    return apply_stage(&first, err);
}

void pretokenizer_run_free(const struct pretokenizer *pretokenizer, struct pretokenizer_run *run) {
    for (size_t i = 0; run->texts && i < pretokenizer->count * TEXTS_PER_STEP; i++) buf_free(&run->texts[i]);
    mem_free(run->texts);
    run->texts = NULL;
}
