/* settings.c: the public functions of tempera/sampling.h, and the step from a setting to a draw's parameters. */
#include "engine/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/philox.h"
#include "base/utf8.h"

/* ---- the field table ------------------------------------------------------------------------------------------ */

enum field_kind { FIELD_FLOAT, FIELD_INT, FIELD_SEED, FIELD_BOOL };

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
    double min, max; /* FLOAT: rounded to float before they are compared; SEED: unused */
};

static const struct field fields[] = {
#define SETTINGS_FIELD(kind, name, def, min, max, text)                                                                \
    {#name, FIELD_##kind, offsetof(tempera_sampling, name), (double)(min), (double)(max)},
    TEMPERA_SAMPLING_FIELDS(SETTINGS_FIELD)
#undef SETTINGS_FIELD
};

enum {
    FIELD_COUNT = sizeof fields / sizeof fields[0],
    BIAS_MAX = 65536,
    STOP_MAX = 16,
    STOP_BYTES_MAX = 256,
    STOP_TOKENS_MAX = 64
};

static const void *field_at(const tempera_sampling *s, const struct field *field) {
    return (const char *)s + field->offset;
}
static float get_float(const tempera_sampling *s, const struct field *field) {
    float value;
    memcpy(&value, field_at(s, field), sizeof value);
    return value;
}
static int32_t get_int(const tempera_sampling *s, const struct field *field) {
    int32_t value;
    memcpy(&value, field_at(s, field), sizeof value);
    return value;
}

static bool is_temperature(const struct field *field) {
    return field->offset == offsetof(tempera_sampling, temperature) ||
           field->offset == offsetof(tempera_sampling, temperature_end);
}
/* -1 says that there is none. */
static bool is_end(const struct field *field) {
    return field->offset == offsetof(tempera_sampling, temperature_end) ||
           field->offset == offsetof(tempera_sampling, top_p_end);
}

/* False for NaN too. */
static bool float_in_range(const struct field *field, float x) {
    if (!(x >= (float)field->min && x <= (float)field->max)) return false;
    if (is_end(field) && x < 0.0f) return x == -1.0f;
    return !is_temperature(field) || x == 0.0f || x >= SETTINGS_TEMPERATURE_LEAST;
}

/* "name: expected <what the field takes>, found <found>". */
static tempera_status refuse(const struct field *field, const char *found, tempera_error *err) {
    switch (field->kind) {
    case FIELD_FLOAT:
        if (is_temperature(field))
            return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected %s0 or a number from %g to %g, found %s",
                        field->name, is_end(field) ? "-1, " : "", (double)SETTINGS_TEMPERATURE_LEAST, field->max,
                        found);
        if (is_end(field))
            return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected -1 or a number from 0 to %g, found %s",
                        field->name, field->max, found);
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected a number from %g to %g, found %s", field->name,
                    field->min, field->max, found);
    case FIELD_INT:
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected an integer from %.0f to %.0f, found %s", field->name,
                    field->min, field->max, found);
    case FIELD_SEED:
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected an integer from 0 to %" PRIu64 ", found %s",
                    field->name, UINT64_MAX, found);
    case FIELD_BOOL: break;
    }
    return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected true or false, found %s", field->name, found);
}

/* ---- order ---------------------------------------------------------------------------------------------------- */

static const char *const stage_names[] = {
#define SETTINGS_STAGE(name, text) text,
    TEMPERA_STAGE_MAP(SETTINGS_STAGE)
#undef SETTINGS_STAGE
};

/* Rules that an order list may name beside its stages. */
static const char rule_keep_ties[] = "keep_ties", rule_penalize_prompt[] = "penalize_prompt", no_stages[] = "none";

struct preset {
    const char *name;
    tempera_order order;
};

#define STAGE(name) TEMPERA_STAGE_##name
static const struct preset presets[] = {
    {"default",
     {{STAGE(PENALTIES), STAGE(BIAS), STAGE(TEMPERATURE), STAGE(TOP_K), STAGE(TOP_P), STAGE(MIN_P), STAGE(TYPICAL_P)},
      TEMPERA_STAGE_COUNT,
      false,
      false}},
    {"hf",
     {{STAGE(BIAS), STAGE(PENALTIES), STAGE(TEMPERATURE), STAGE(TOP_K), STAGE(TOP_P), STAGE(MIN_P), STAGE(TYPICAL_P)},
      TEMPERA_STAGE_COUNT,
      true,
      false}},
    /* vLLM has no typical_p: it comes last, so that a setting with it is not silently ignored. */
    {"vllm",
     {{STAGE(BIAS), STAGE(PENALTIES), STAGE(TEMPERATURE), STAGE(MIN_P), STAGE(TOP_K), STAGE(TOP_P), STAGE(TYPICAL_P)},
      TEMPERA_STAGE_COUNT,
      true,
      false}},
    {"llama.cpp",
     {{STAGE(BIAS), STAGE(PENALTIES), STAGE(TOP_K), STAGE(TYPICAL_P), STAGE(TOP_P), STAGE(MIN_P), STAGE(TEMPERATURE)},
      TEMPERA_STAGE_COUNT,
      false,
      true}},
};
#undef STAGE
enum { PRESET_COUNT = sizeof presets / sizeof presets[0] };

static bool order_equal(const tempera_order *a, const tempera_order *b) {
    return a->count == b->count && a->keep_ties == b->keep_ties && a->penalize_prompt == b->penalize_prompt &&
           memcmp(a->stage, b->stage, a->count) == 0;
}

static bool word_is(const char *word, size_t length, const char *name) {
    return strlen(name) == length && memcmp(word, name, length) == 0;
}

/* Adds one word of a list; false when it is unknown or said twice. */
static bool order_add(tempera_order *order, const char *word, size_t length) {
    if (word_is(word, length, rule_keep_ties)) {
        if (order->keep_ties) return false;
        return order->keep_ties = true;
    }
    if (word_is(word, length, rule_penalize_prompt)) {
        if (order->penalize_prompt) return false;
        return order->penalize_prompt = true;
    }
    for (uint8_t stage = 0; stage < TEMPERA_STAGE_COUNT; stage++) {
        if (!word_is(word, length, stage_names[stage])) continue;
        if (memchr(order->stage, stage, order->count)) return false;
        order->stage[order->count++] = stage;
        return true;
    }
    return false;
}

static tempera_status refuse_order(const char *text, tempera_error *err) {
    return fail(err, TEMPERA_INVALID_ARGUMENT,
                "order: expected default, hf, vllm, llama.cpp, none, or a comma-separated list without repeats of "
                "penalties, bias, temperature, top_k, top_p, min_p, typical_p, keep_ties, penalize_prompt; found "
                "\"%.80s\"",
                text);
}

tempera_status tempera_order_parse(const char *text, tempera_order *order, tempera_error *err) {
    for (int i = 0; i < PRESET_COUNT; i++) {
        if (strcmp(text, presets[i].name) != 0) continue;
        *order = presets[i].order;
        return TEMPERA_OK;
    }
    tempera_order built = {.count = 0};
    bool none = false;
    for (const char *word = text;; word++) {
        size_t length = strcspn(word, ",");
        if (!none && word_is(word, length, no_stages)) {
            none = true;
        } else if (!order_add(&built, word, length)) {
            return refuse_order(text, err);
        }
        word += length;
        if (word[0] == 0) break;
    }
    if (none != (built.count == 0)) return refuse_order(text, err);
    *order = built;
    return TEMPERA_OK;
}

/* Appends to text[size], counting what did not fit. */
static void append(char *text, size_t size, size_t *length, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i < n; i++)
        if (*length + i + 1 < size) text[*length + i] = word[i];
    *length += n;
}

size_t tempera_order_format(const tempera_order *order, char *text, size_t size) {
    size_t length = 0;
    const char *preset = NULL;
    for (int i = 0; i < PRESET_COUNT && !preset; i++)
        if (order_equal(order, &presets[i].order)) preset = presets[i].name;
    if (preset) {
        append(text, size, &length, preset);
    } else {
        if (order->count == 0) append(text, size, &length, no_stages);
        for (int i = 0; i < order->count && i < TEMPERA_STAGE_COUNT; i++) {
            if (i > 0) append(text, size, &length, ",");
            append(text, size, &length, order->stage[i] < TEMPERA_STAGE_COUNT ? stage_names[order->stage[i]] : "?");
        }
        if (order->keep_ties) append(text, size, &length, ",keep_ties");
        if (order->penalize_prompt) append(text, size, &length, ",penalize_prompt");
    }
    if (size > 0) text[length < size ? length : size - 1] = 0;
    return length;
}

static tempera_status check_order(const tempera_order *order, tempera_error *err) {
    if (order->count > TEMPERA_STAGE_COUNT)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "order: expected at most %d stages, found %d", TEMPERA_STAGE_COUNT,
                    order->count);
    for (int i = 0; i < order->count; i++) {
        if (order->stage[i] >= TEMPERA_STAGE_COUNT)
            return fail(err, TEMPERA_INVALID_ARGUMENT, "order: expected stages below %d, found %d", TEMPERA_STAGE_COUNT,
                        order->stage[i]);
        if (memchr(order->stage, order->stage[i], (size_t)i))
            return fail(err, TEMPERA_INVALID_ARGUMENT, "order: expected each stage once, found \"%s\" twice",
                        stage_names[order->stage[i]]);
    }
    return TEMPERA_OK;
}

/* ---- default and check ---------------------------------------------------------------------------------------- */

tempera_sampling tempera_sampling_default(void) {
    tempera_sampling s = {
#define SETTINGS_DEFAULT(kind, name, def, min, max, text) .name = def,
        TEMPERA_SAMPLING_FIELDS(SETTINGS_DEFAULT)
#undef SETTINGS_DEFAULT
            .order = presets[0].order,
    };
    return s;
}

static tempera_status check_field(const tempera_sampling *s, const struct field *field, tempera_error *err) {
    char found[32];
    if (field->kind == FIELD_FLOAT) {
        float x = get_float(s, field);
        if (float_in_range(field, x)) return TEMPERA_OK;
        snprintf(found, sizeof found, "%.9g", (double)x);
        return refuse(field, found, err);
    }
    if (field->kind == FIELD_INT) {
        int32_t x = get_int(s, field);
        if (x >= field->min && x <= field->max) return TEMPERA_OK;
        snprintf(found, sizeof found, "%" PRId32, x);
        return refuse(field, found, err);
    }
    return TEMPERA_OK;
}

static tempera_status check_token(const char *field, size_t index, int32_t token, int32_t vocab_size,
                                  tempera_error *err) {
    if (token >= 0 && (vocab_size <= 0 || token < vocab_size)) return TEMPERA_OK;
    if (vocab_size <= 0)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%s[%zu]: expected a token id, 0 or more, found %" PRId32, field,
                    index, token);
    return fail(err, TEMPERA_INVALID_ARGUMENT, "%s[%zu]: expected a token id from 0 to %" PRId32 ", found %" PRId32,
                field, index, vocab_size - 1, token);
}

static tempera_status check_count(const char *field, size_t count, const void *list, size_t most, tempera_error *err) {
    if (count > most)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected at most %zu entries, found %zu", field, most, count);
    if (count > 0 && !list)
        return fail(err, TEMPERA_INVALID_ARGUMENT, "%s: expected a list of %zu entries, found NULL", field, count);
    return TEMPERA_OK;
}

/* Heap sort: in place, no allocation, no bad case. */
static void sift_down(tempera_logit_bias *heap, size_t count, size_t at) {
    tempera_logit_bias moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1].token > heap[child].token) child++;
        if (heap[child].token <= moving.token) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

void settings_sort_bias(tempera_logit_bias *to, const tempera_sampling *s) {
    size_t count = s->logit_bias_count;
    if (count == 0) return;
    memcpy(to, s->logit_bias, count * sizeof *to);
    for (size_t i = count / 2; i-- > 0;) sift_down(to, count, i);
    for (size_t left = count; left-- > 1;) {
        tempera_logit_bias largest = to[0];
        to[0] = to[left];
        to[left] = largest;
        sift_down(to, left, 0);
    }
}

static tempera_status check_distinct(const tempera_sampling *s, tempera_error *err) {
    size_t bytes = s->logit_bias_count * sizeof *s->logit_bias;
    tempera_logit_bias *sorted = mem_alloc(bytes);
    if (!sorted) return fail_memory(err, bytes, "logit_bias");
    settings_sort_bias(sorted, s);
    tempera_status status = TEMPERA_OK;
    for (size_t i = 1; i < s->logit_bias_count && status == TEMPERA_OK; i++)
        if (sorted[i].token == sorted[i - 1].token)
            status = fail(err, TEMPERA_INVALID_ARGUMENT,
                          "logit_bias: expected each token once, found token %" PRId32 " twice", sorted[i].token);
    mem_free(sorted);
    return status;
}

static tempera_status check_bias(const tempera_sampling *s, int32_t vocab_size, tempera_error *err) {
    TRY(check_count("logit_bias", s->logit_bias_count, s->logit_bias, BIAS_MAX, err));
    for (size_t i = 0; i < s->logit_bias_count; i++) {
        float bias = s->logit_bias[i].bias;
        TRY(check_token("logit_bias", i, s->logit_bias[i].token, vocab_size, err));
        if (isnan(bias) || (isinf(bias) && bias > 0.0f))
            return fail(err, TEMPERA_INVALID_ARGUMENT,
                        "logit_bias[%zu]: expected a finite number or -infinity, found %g", i, (double)bias);
    }
    return s->logit_bias_count > 1 ? check_distinct(s, err) : TEMPERA_OK;
}

static tempera_status check_stop(const tempera_sampling *s, tempera_error *err) {
    TRY(check_count("stop", s->stop_count, s->stop, STOP_MAX, err));
    for (size_t i = 0; i < s->stop_count; i++) {
        const char *text = s->stop[i];
        if (!text) return fail(err, TEMPERA_INVALID_ARGUMENT, "stop[%zu]: expected a string, found NULL", i);
        size_t length = strlen(text);
        if (length < 1 || length > STOP_BYTES_MAX)
            return fail(err, TEMPERA_INVALID_ARGUMENT, "stop[%zu]: expected 1 to %d bytes, found %zu", i,
                        STOP_BYTES_MAX, length);
        for (size_t at = 0, n; at < length; at += n) {
            n = utf8_sequence((const unsigned char *)text + at, length - at);
            if (n == 0)
                return fail(err, TEMPERA_INVALID_ARGUMENT,
                            "stop[%zu]: expected UTF-8, found a malformed sequence at byte %zu", i, at);
        }
    }
    return TEMPERA_OK;
}

tempera_status tempera_sampling_check(const tempera_sampling *s, int32_t vocab_size, tempera_error *err) {
    for (int i = 0; i < FIELD_COUNT; i++) TRY(check_field(s, &fields[i], err));
    TRY(check_order(&s->order, err));
    TRY(check_bias(s, vocab_size, err));
    TRY(check_stop(s, err));
    TRY(check_count("stop_token_ids", s->stop_token_count, s->stop_token_ids, STOP_TOKENS_MAX, err));
    for (size_t i = 0; i < s->stop_token_count; i++)
        TRY(check_token("stop_token_ids", i, s->stop_token_ids[i], vocab_size, err));
    return TEMPERA_OK;
}

/* ---- values from text ----------------------------------------------------------------------------------------- */

static size_t count_digits(const char *text) {
    return strspn(text, "0123456789");
}

/* [-+] digits [. digits] [e [-+] digits], with at least one digit before the exponent: no spaces, no hexadecimal, no
 * names of infinity. */
static bool is_decimal(const char *text) {
    text += text[0] == '-' || text[0] == '+';
    size_t whole = count_digits(text), fraction = 0;
    text += whole;
    if (text[0] == '.') fraction = count_digits(++text);
    text += fraction;
    if (whole + fraction == 0) return false;
    if (text[0] == 'e' || text[0] == 'E') {
        text++;
        text += text[0] == '-' || text[0] == '+';
        size_t digits = count_digits(text);
        if (digits == 0) return false;
        text += digits;
    }
    return text[0] == 0;
}

/* Correctly rounded, whatever the program's locale says about decimal points. */
static bool parse_float(const char *text, float *value) {
    if (!is_decimal(text)) return false;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return false;
    locale_t before = uselocale(plain);
    *value = strtof(text, NULL);
    uselocale(before);
    freelocale(plain);
    return true;
}

/* An unsigned decimal without sign; false when it has other characters or does not fit. */
static bool parse_seed(const char *text, uint64_t *value) {
    if (text[0] == 0 || text[count_digits(text)] != 0) return false;
    uint64_t x = 0;
    for (; *text; text++)
        if (__builtin_mul_overflow(x, 10u, &x) || __builtin_add_overflow(x, (unsigned)(*text - '0'), &x)) return false;
    *value = x;
    return true;
}

static bool parse_int(const char *text, int32_t *value) {
    uint64_t magnitude;
    bool negative = text[0] == '-';
    if (!parse_seed(text + negative, &magnitude) || magnitude > (uint64_t)INT32_MAX) return false;
    *value = negative ? -(int32_t)magnitude : (int32_t)magnitude;
    return true;
}

static bool parse_bool(const char *text, bool *value) {
    *value = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    return *value || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

static tempera_status set_field(tempera_sampling *s, const struct field *field, const char *text, tempera_error *err) {
    union {
        float f;
        int32_t i;
        uint64_t u;
        bool b;
    } value;
    size_t size = 0;
    switch (field->kind) {
    case FIELD_FLOAT:
        if (parse_float(text, &value.f) && float_in_range(field, value.f)) size = sizeof value.f;
        break;
    case FIELD_INT:
        if (parse_int(text, &value.i) && value.i >= field->min && value.i <= field->max) size = sizeof value.i;
        break;
    case FIELD_SEED:
        if (parse_seed(text, &value.u)) size = sizeof value.u;
        break;
    case FIELD_BOOL:
        if (parse_bool(text, &value.b)) size = sizeof value.b;
        break;
    }
    if (size == 0) {
        char found[96];
        snprintf(found, sizeof found, "\"%.80s\"", text);
        return refuse(field, found, err);
    }
    memcpy((char *)s + field->offset, &value, size);
    return TEMPERA_OK;
}

tempera_status tempera_sampling_set(tempera_sampling *s, const char *name, const char *value, tempera_error *err) {
    static const struct field independent = {"independent", FIELD_BOOL, offsetof(tempera_sampling, independent), 0, 1};
    if (strcmp(name, "order") == 0) return tempera_order_parse(value, &s->order, err);
    if (strcmp(name, independent.name) == 0) return set_field(s, &independent, value, err);
    for (int i = 0; i < FIELD_COUNT; i++)
        if (strcmp(name, fields[i].name) == 0) return set_field(s, &fields[i], value, err);
    return fail(err, TEMPERA_INVALID_ARGUMENT, "\"%.80s\": no such sampling setting", name);
}

/* ---- the numeric form ----------------------------------------------------------------------------------------- */

/* A sponge over Philox: each block of four words is the counter under the running key. */
struct sponge {
    uint32_t key0, key1;
    uint32_t block[4];
    uint32_t filled, words;
};

static void sponge_flush(struct sponge *sponge) {
    struct philox_words out =
        philox4x32(sponge->key0, sponge->key1, sponge->block[0], sponge->block[1], sponge->block[2], sponge->block[3]);
    sponge->key0 = out.w[0];
    sponge->key1 = out.w[1];
    memset(sponge->block, 0, sizeof sponge->block);
    sponge->filled = 0;
}

static void sponge_word(struct sponge *sponge, uint32_t word) {
    sponge->block[sponge->filled++] = word;
    sponge->words++;
    if (sponge->filled == 4) sponge_flush(sponge);
}

static void sponge_float(struct sponge *sponge, float x) {
    sponge_word(sponge, float_bits(x + 0.0f)); /* -0 and 0 are one setting */
}

/* Fields that came after the key was fixed. Each goes in behind a word that no token id is, and only where it is on. */
enum sponge_mark { MARK_TEMPERATURE_END = 1, MARK_TOP_P_END, MARK_SCHEDULE, MARK_TOP_P_DISTINCT, MARK_DYNATEMP };

static void sponge_mark(struct sponge *sponge, enum sponge_mark mark) {
    sponge_word(sponge, UINT32_C(1) << 31 | (uint32_t)mark);
}

static void sponge_changes(struct sponge *sponge, const tempera_sampling *s) {
    if (s->temperature_end >= 0.0f) {
        sponge_mark(sponge, MARK_TEMPERATURE_END);
        sponge_float(sponge, s->temperature_end);
    }
    if (s->top_p_end >= 0.0f) {
        sponge_mark(sponge, MARK_TOP_P_END);
        sponge_float(sponge, s->top_p_end);
    }
    if (s->temperature_end >= 0.0f || s->top_p_end >= 0.0f) {
        sponge_mark(sponge, MARK_SCHEDULE);
        sponge_word(sponge, (uint32_t)settings_schedule_tokens(s));
        sponge_float(sponge, s->schedule_power);
    }
    if (s->top_p_distinct > 0.0f) {
        sponge_mark(sponge, MARK_TOP_P_DISTINCT);
        sponge_float(sponge, s->top_p_distinct);
    }
    if (s->dynatemp_range > 0.0f) {
        sponge_mark(sponge, MARK_DYNATEMP);
        sponge_float(sponge, s->dynatemp_range);
        sponge_float(sponge, s->dynatemp_exponent);
    }
}

static uint64_t sponge_end(struct sponge *sponge) {
    uint32_t words = sponge->words; /* the length makes padding unambiguous */
    sponge_word(sponge, words);
    if (sponge->filled > 0) sponge_flush(sponge);
    return (uint64_t)sponge->key1 << 32 | sponge->key0;
}

uint64_t settings_independent_seed(const tempera_sampling *s, const tempera_logit_bias *bias, size_t bias_count) {
    struct sponge sponge = {.key0 = (uint32_t)s->seed, .key1 = (uint32_t)(s->seed >> 32)};
    sponge_float(&sponge, s->temperature);
    sponge_word(&sponge, (uint32_t)s->top_k);
    sponge_float(&sponge, s->top_p);
    sponge_float(&sponge, s->min_p);
    sponge_float(&sponge, s->typical_p);
    sponge_float(&sponge, s->repetition_penalty);
    sponge_float(&sponge, s->frequency_penalty);
    sponge_float(&sponge, s->presence_penalty);
    sponge_word(&sponge, (uint32_t)s->penalty_window);
    sponge_word(&sponge, (uint32_t)s->no_repeat_ngram);
    sponge_word(&sponge, (uint32_t)s->min_tokens);
    sponge_word(&sponge, s->order.count | (uint32_t)s->order.keep_ties << 8 | (uint32_t)s->order.penalize_prompt << 9);
    for (int i = 0; i < s->order.count && i < TEMPERA_STAGE_COUNT; i++) sponge_word(&sponge, s->order.stage[i]);
    for (size_t i = 0; i < bias_count; i++) {
        sponge_word(&sponge, (uint32_t)bias[i].token);
        sponge_float(&sponge, bias[i].bias);
    }
    sponge_changes(&sponge, s);
    return sponge_end(&sponge);
}

int32_t settings_schedule_tokens(const tempera_sampling *s) {
    int32_t tokens = s->schedule_tokens > 0 ? s->schedule_tokens : s->max_tokens;
    return tokens > 0 ? tokens : 1;
}

void branch_params_temperature(struct branch_params *p, const tempera_sampling *s, float temperature) {
    p->temperature = temperature;
    p->inv_temperature = temperature > 0.0f ? 1.0f / temperature : 0.0f;
    p->dynatemp_spread = 0.0f;
    if (temperature == 0.0f || s->dynatemp_range == 0.0f) return;
    float least = temperature - s->dynatemp_range, most = temperature + s->dynatemp_range;
    p->dynatemp_least = least > SETTINGS_TEMPERATURE_LEAST ? least : SETTINGS_TEMPERATURE_LEAST;
    p->dynatemp_spread = most - p->dynatemp_least;
}

tempera_status branch_params_build(struct branch_params *out, const tempera_sampling *s, int32_t sample,
                                   const tempera_logit_bias *bias, const int32_t *suppress, int32_t suppress_count,
                                   tempera_error *err) {
    if (sample < 0) return fail(err, TEMPERA_INVALID_ARGUMENT, "sample: expected 0 or more, found %" PRId32, sample);
    TRY(check_order(&s->order, err));
    *out = (struct branch_params){
        .dynatemp_exponent = s->dynatemp_exponent,
        .top_k = s->top_k,
        .top_p = s->top_p,
        .min_p = s->min_p,
        .min_p_distance = s->min_p > 0.0f ? (float)-log((double)s->min_p) + 0.0f : 0.0f,
        .typical_p = s->typical_p,
        .repetition_penalty = s->repetition_penalty,
        .frequency_penalty = s->frequency_penalty,
        .presence_penalty = s->presence_penalty,
        .penalty_window = s->penalty_window,
        .no_repeat_ngram = s->no_repeat_ngram,
        .order = s->order,
        .seed = s->independent ? settings_independent_seed(s, bias, s->logit_bias_count) : s->seed,
        .sample = sample,
        .logprobs = s->logprobs,
        .bias = bias,
        .bias_count = (int32_t)s->logit_bias_count,
        .suppress = suppress,
        .suppress_count = suppress_count,
        .min_tokens = s->min_tokens,
    };
    branch_params_temperature(out, s, s->temperature);
    return TEMPERA_OK;
}
