/* regex.c: PCRE2 with tempera's heap, limits and Oniguruma's way of walking matches. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "text/unicode.h"

enum {
    PATTERN_MAX = 1 << 16,      /* bytes of translated expression */
    BUDGET_BASE = 1 << 20,      /* steps, counted in bytes moved, that the searches of one call share … */
    BUDGET_PER_BYTE = 64,       /* … and for each byte of its text, on which good expressions spend about 5 */
    HEAP_LIMIT_KIB = 128 * 1024 /* for the interpreter, where there is no JIT */
};

struct regex {
    pcre2_code *code;
    char *name; /* of the file and the expression, for messages while searching */
};

struct regex_memory {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static void *take_memory(size_t bytes, void *data) {
    (void)data;
    return mem_alloc(bytes);
}

static void free_memory(void *ptr, void *data) {
    (void)data;
    mem_free(ptr);
}

static pcre2_compile_context *compile_context(void) {
    pcre2_general_context *general = pcre2_general_context_create(take_memory, free_memory, NULL);
    if (!general) return NULL;
    pcre2_compile_context *context = pcre2_compile_context_create(general); /* keeps the two functions */
    pcre2_general_context_free(general);
    if (!context) return NULL;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_max_pattern_length(context, PATTERN_MAX);
    return context;
}

/* Ruby's ^ and $ always match at line ends; \C would cut characters in two. */
static pcre2_code *compile(const char *pattern, bool trusted, int *code, size_t *at) {
    *code = PCRE2_ERROR_NOMEMORY;
    *at = 0;
    pcre2_compile_context *context = compile_context();
    if (!context) return NULL;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    if (!trusted) options |= PCRE2_AUTO_CALLOUT;
    pcre2_code *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, code, at, context);
    pcre2_compile_context_free(context);
    return out;
}

bool regex_is_valid(const char *pattern) {
    int code;
    size_t at;
    pcre2_code *out = compile(pattern, true, &code, &at);
    pcre2_code_free(out);
    return out != NULL;
}

static tempera_status fail_compile(int code, size_t at, const char *pattern, const char *name, tempera_error *err) {
    if (code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAP_FAILED)
        return fail_memory(err, strlen(pattern), "an expression");
    char text[128] = "";
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
    return fail(err, TEMPERA_UNSUPPORTED, "%s: expression \"%.200s\": %s (at %zu of its translation)", name, pattern,
                text, at);
}

tempera_status regex_compile(struct regex **regex, const char *pattern, bool trusted, const char *name,
                             tempera_error *err) {
    *regex = NULL;
    tempera_status status = TEMPERA_OK;
    struct buf translated = {.max = PATTERN_MAX};
    struct regex *r = mem_array(1, sizeof *r);
    if (!r) return fail_memory(err, sizeof *r, "an expression");
    TRY_GOTO(buf_reserve(&translated, 1, err));
    TRY_GOTO(regex_translate(&translated, pattern, name, err));
    int code;
    size_t at;
    r->code = compile(translated.data, trusted, &code, &at);
    if (!r->code) {
        status = fail_compile(code, at, pattern, name, err);
        goto cleanup;
    }
    r->name = mem_strndup(name, strlen(name));
    if (!r->name) {
        status = fail_memory(err, strlen(name), "an expression");
        goto cleanup;
    }
    (void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* without it the interpreter runs */
    *regex = r;
    r = NULL;
cleanup:
    buf_free(&translated);
    regex_free(r);
    return status;
}

void regex_free(struct regex *regex) {
    if (!regex) return;
    pcre2_code_free(regex->code);
    mem_free(regex->name);
    mem_free(regex);
}

static struct regex_memory *create_memory(void) {
    struct regex_memory *memory = mem_array(1, sizeof *memory);
    if (!memory) return NULL;
    pcre2_general_context *general = pcre2_general_context_create(take_memory, free_memory, NULL);
    if (general) {
        memory->data = pcre2_match_data_create(1, general);
        memory->context = pcre2_match_context_create(general);
        pcre2_general_context_free(general);
    }
    if (memory->data && memory->context) {
        pcre2_set_heap_limit(memory->context, HEAP_LIMIT_KIB);
        pcre2_set_match_limit(memory->context, UINT32_MAX); /* it does not count what backtracking costs */
        return memory;
    }
    pcre2_match_data_free(memory->data);
    pcre2_match_context_free(memory->context);
    mem_free(memory);
    return NULL;
}

struct regex_run regex_run_start(size_t length) {
    if (length > SIZE_MAX / BUDGET_PER_BYTE / 2) return (struct regex_run){.budget = SIZE_MAX / 2};
    return (struct regex_run){.budget = length * BUDGET_PER_BYTE + BUDGET_BASE};
}

void regex_run_free(struct regex_run *run) {
    if (run->memory) {
        pcre2_match_data_free(run->memory->data);
        pcre2_match_context_free(run->memory->context);
        mem_free(run->memory);
    }
    run->memory = NULL;
}

/* Called before every item of a watched expression. Ends the search when the budget is spent. */
static int pay(pcre2_callout_block *block, void *data) {
    struct regex_run *run = data;
    size_t to = block->current_position, from = run->position;
    size_t cost = 1 + (to > from ? to - from : from - to);
    run->position = to;
    if (cost > run->budget) return PCRE2_ERROR_CALLOUT;
    run->budget -= cost;
    return 0;
}

static int search(const struct regex *regex, struct regex_run *run, const struct regex_walk *walk) {
    struct regex_memory *memory = run->memory;
    pcre2_set_callout(memory->context, pay, run);
    run->position = walk->next;
    int rc = pcre2_match(regex->code, (PCRE2_SPTR)walk->text, walk->length, walk->next, PCRE2_NO_UTF_CHECK,
                         memory->data, memory->context);
    if (rc != PCRE2_ERROR_JIT_STACKLIMIT) return rc;
    return pcre2_match(regex->code, (PCRE2_SPTR)walk->text, walk->length, walk->next, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                       memory->data, memory->context); /* on the heap */
}

static tempera_status fail_search(const struct regex *regex, int rc, tempera_error *err) {
    if (rc == PCRE2_ERROR_NOMEMORY) return fail_memory(err, 0, "a search");
    char text[128] = "its budget is spent";
    if (rc != PCRE2_ERROR_CALLOUT) pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof text);
    return fail(err, TEMPERA_TOO_LONG, "%s: the expression needs too many steps on this text (%s)", regex->name, text);
}

struct regex_walk regex_walk_start(const char *text, size_t length) {
    return (struct regex_walk){.text = text, .length = length, .last_match = SIZE_MAX};
}

tempera_status regex_next(const struct regex *regex, struct regex_run *run, struct regex_walk *walk, bool *found,
                          size_t *start, size_t *end, tempera_error *err) {
    *found = false;
    if (!run->memory) run->memory = create_memory();
    if (!run->memory) return fail_memory(err, sizeof *run->memory, "a search");
    while (walk->next <= walk->length) {
        int rc = search(regex, run, walk);
        if (rc == PCRE2_ERROR_NOMATCH) {
            walk->next = walk->length + 1;
            return TEMPERA_OK;
        }
        if (rc < 0) return fail_search(regex, rc, err);
        const size_t *span = pcre2_get_ovector_pointer(run->memory->data);
        if (span[0] == span[1] && span[1] == walk->last_match) {
            walk->next += walk->next < walk->length ? char_bytes((unsigned char)walk->text[walk->next]) : 1;
            continue;
        }
        *start = span[0];
        *end = span[1] < span[0] ? span[0] : span[1];
        walk->next = walk->last_match = *end;
        *found = true;
        return TEMPERA_OK;
    }
    return TEMPERA_OK;
}
