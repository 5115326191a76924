/* test_tokenizer_parts.c: the building blocks by themselves: characters, byte alphabet, normal forms, expressions, splits. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "text/bytelevel.h"
#include "text/regex.h"
#include "text/split.h"
#include "text/unicode.h"

/* --- characters --- */

Test(parts, every_character_survives_put_and_get) {
    for (uint32_t c = 0; c < 0x110000; c++) {
        char text[CHAR_MAX_BYTES];
        uint32_t back;
        size_t bytes = char_put(text, c);
        cr_assert_eq(char_get(text, &back), bytes);
        cr_assert_eq(back, c);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        cr_assert_eq(text_valid_prefix(text, bytes), surrogate ? 0 : bytes);
    }
}

Test(parts, classes) {
    cr_expect(char_is_space(' ') && char_is_space('\n') && char_is_space(0x85) && char_is_space(0xA0));
    cr_expect(char_is_space(0x3000) && !char_is_space(0x200B) && !char_is_space(0x180E) && !char_is_space(0x1C));
    cr_expect(char_is_numeric('7') && char_is_numeric(0xBD) && char_is_numeric(0x2167) && !char_is_numeric('x'));
    cr_expect(char_is_punctuation('$') && char_is_punctuation('~') && char_is_punctuation(0x2014));
    cr_expect(!char_is_punctuation(0x20AC) && !char_is_punctuation('a') && !char_is_punctuation(0x2E43));
    cr_expect(char_is_word('_') && char_is_word(0xE9) && char_is_word(0x301) && char_is_word(0x24B6));
    cr_expect(char_is_word(0x200D) && !char_is_word('-') && !char_is_word(0xBD));
    cr_expect(char_is_mark(0x301) && !char_is_mark('e'));
    uint32_t lower[2];
    cr_expect(char_lower(0x130, lower) == 2 && lower[0] == 'i' && lower[1] == 0x307);
    cr_expect(char_lower(0x1E9E, lower) == 1 && lower[0] == 0xDF);
}

Test(parts, escapes_bring_any_bytes_back) {
    static const char text[] = "a\xFF\xC3\xA9\xC3\xED\xA0\x80\xF4\x90\x80\x80 \xE2\x82";
    struct buf escaped = {.max = 1000};
    char back[sizeof text];
    cr_assert_eq(text_escape(&escaped, text, sizeof text - 1, NULL), TEMPERA_OK);
    cr_expect_eq(escaped.length, 1 + 3 + 2 + 3 + 3 * 3 + 4 * 3 + 1 + 2 * 3);
    size_t length = text_unescape(back, escaped.data, escaped.length);
    cr_expect_eq(length, sizeof text - 1);
    cr_expect_eq(memcmp(back, text, length), 0);
    buf_free(&escaped);
}

Test(parts, unfinished_characters) {
    static const struct {
        const char *text;
        size_t unfinished;
    } cases[] = {
        {"", 0},         {"a", 0},        {"\xC3", 1},         {"\xC3\xA9", 0},         {"x\xE2\x82", 2},
        {"\xE2", 1},     {"\xF0\x9F", 2}, {"\xF0\x9F\x98", 3}, {"\xF0\x9F\x98\x80", 0}, {"\xFF", 0},
        {"\x80", 0},     {"\xC0", 0},     {"\xE0\x80", 0},     {"\xED\xA0", 0},         {"\xF4\x90", 0},
        {"\xE2\x28", 0}, {"\xC3\xC3", 1}, {"\x80\x80\x80", 0}, {"\xF0\x80", 0},         {"\xED\x9F", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(text_unfinished(cases[i].text, strlen(cases[i].text)), cases[i].unfinished, "case %zu", i);
}

Test(parts, byte_alphabet_is_a_bijection) {
    int seen = 0;
    for (int b = 0; b < 256; b++) cr_expect_eq(bytelevel_byte(bytelevel_char((unsigned char)b)), b);
    for (uint32_t c = 0; c < 0x1000; c++) seen += bytelevel_byte(c) >= 0;
    cr_expect_eq(seen, 256);
    cr_expect_eq(bytelevel_char(' '), 0x120);  /* Ġ */
    cr_expect_eq(bytelevel_char('\n'), 0x10A); /* Ċ */
    cr_expect_eq(bytelevel_char(0xAD), 0x143);
}

/* --- normal forms --- */

static void expect_form(enum normal_form form, const char *text, const char *expected) {
    struct buf out = {.max = 1 << 20};
    cr_assert_eq(buf_reserve(&out, 1, NULL), TEMPERA_OK);
    cr_assert_eq(text_normal_form(&out, text, strlen(text), form, NULL), TEMPERA_OK);
    cr_expect_str_eq(out.data, expected, "\"%s\": expected \"%s\", found \"%s\"", text, expected, out.data);
    buf_free(&out);
}

Test(parts, normal_forms) {
    expect_form(NORMAL_NFC, "", "");
    expect_form(NORMAL_NFC, "plain", "plain");
    expect_form(NORMAL_NFC, "e\u0301 e\u0301x", "\u00E9 \u00E9x");
    expect_form(NORMAL_NFD, "\u00E9 caf\u00E9", "e\u0301 cafe\u0301");
    expect_form(NORMAL_NFC, "\u1112\u1161\u11AB", "\uD55C");
    expect_form(NORMAL_NFD, "\uD55C", "\u1112\u1161\u11AB");
    expect_form(NORMAL_NFKC, "\uFB01 \u00BD \uFF21", "fi 1\u20442 A");
    expect_form(NORMAL_NFKD, "\uFDFA",
                "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064A\u0647 "
                "\u0648\u0633\u0644\u0645");
    expect_form(NORMAL_NFC, "e\u0301\u0323", "\u1EB9\u0301"); /* marks are put in order first */
    expect_form(NORMAL_NFD, "e\u0301\u0323\u0300", "e\u0323\u0301\u0300");
    expect_form(NORMAL_NFC, "\xED\xBF\xBF", "\xED\xBF\xBF"); /* an escape passes */
}

Test(parts, a_letter_with_many_marks_is_not_quadratic, .timeout = 20) {
    enum { MARKS = 1 << 20 };
    char *text = mem_alloc(1 + 2 * MARKS);
    struct buf out = {.max = 1 << 28};
    text[0] = 'q';
    for (size_t i = 0; i < MARKS; i++) memcpy(text + 1 + 2 * i, i % 2 ? "\u0323" : "\u0301", 2);
    cr_assert_eq(text_normal_form(&out, text, 1 + 2 * MARKS, NORMAL_NFC, NULL), TEMPERA_OK);
    cr_expect_eq(out.length, (size_t)1 + 2 * MARKS);
    cr_expect_eq(memcmp(out.data + 1, "\u0323\u0323", 4), 0);
    buf_free(&out);
    mem_free(text);
}

/* --- expressions --- */

static void expect_translation(const char *pattern, const char *expected) {
    struct buf out = {.max = 1 << 16};
    tempera_error err = {0};
    cr_assert_eq(buf_reserve(&out, 1, NULL), TEMPERA_OK);
    cr_expect_eq(regex_translate(&out, pattern, "test", &err), TEMPERA_OK, "%s", err.message);
    cr_expect_str_eq(out.data, expected, "%s: expected %s, found %s", pattern, expected, out.data);
    cr_expect(regex_is_valid(out.data), "%s", out.data);
    buf_free(&out);
}

Test(parts, expression_translation) {
    expect_translation("a\\s+(?!\\S)", "a\\p{White_Space}+(?!\\P{White_Space})");
    expect_translation("[^\\s\\p{L}]", "[^\\p{White_Space}\\p{L}]");
    expect_translation("\\h[\\h]\\v", "[0-9A-Fa-f][0-9A-Fa-f]\\x{b}");
    expect_translation("\\u00e9", "\\x{00e9}");
    expect_translation("(?m:.)(?i)(?-x:y)", "(?s:.)(?i)(?-x:y)");
    expect_translation("a{,3}b{2}c{1,}d{", "a{0,3}b{2}c{1,}d{");
    expect_translation("\\p{Han}\\p{^Greek}\\P{L}\\P{^L}\\p{Alphabetic}",
                       "\\p{sc:Han}\\P{sc:Greek}\\P{L}\\p{L}\\p{Alphabetic}");
    expect_translation("(?#note)a(?<n>b)(?<=c)(?>d)(?:e)", "a(?<n>b)(?<=c)(?>d)(?:e)");
    expect_translation("[[:alpha:]\\]\\-]++", "[\\p{Alphabetic}\\]\\-]++");
}

Test(parts, expressions_without_translation_are_refused) {
    static const char *const patterns[] = {
        "[a[b]]",      "[a&&b]",       "[]",      "[a",  "(*UTF)a", "(?P<n>a)", "(?R)",   "(?|a|b)",
        "a{2}+",       "a{2}?",        "\\Qa\\E", "\\C", "\\g<1>",  "\\k<n>",   "(a)\\1", "[\\W]",
        "[[:punct:]]", "\\p{Nothing}", "\\pL",    "(a",  "a)",      "(?<=a+)b", "\\u12",  "(?",
        "(?#",         "\\p{",         "\\N{x}",  "a**", "(?:a",    "[b-a]",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct regex *regex;
        tempera_error err = {0};
        cr_expect_eq(regex_compile(&regex, patterns[i], false, "F: part", &err), TEMPERA_UNSUPPORTED, "%s",
                     patterns[i]);
        cr_expect_null(regex);
        cr_expect_eq(strncmp(err.message, "F: part: expression \"", 21), 0, "%s", err.message);
    }
}

static void expect_matches(const char *pattern, const char *text, const char *joined) {
    struct regex *regex;
    tempera_error err = {0};
    struct buf found = {.max = 1 << 16};
    cr_assert_eq(regex_compile(&regex, pattern, false, "test", &err), TEMPERA_OK, "%s", err.message);
    struct regex_run run = regex_run_start(strlen(text));
    struct regex_walk walk = regex_walk_start(text, strlen(text));
    cr_assert_eq(buf_reserve(&found, 1, NULL), TEMPERA_OK);
    for (;;) {
        bool more;
        size_t start, end;
        cr_assert_eq(regex_next(regex, &run, &walk, &more, &start, &end, &err), TEMPERA_OK, "%s", err.message);
        if (!more) break;
        cr_assert_eq(buf_append_text(&found, "[", NULL), TEMPERA_OK);
        cr_assert_eq(buf_append(&found, text + start, end - start, NULL), TEMPERA_OK);
        cr_assert_eq(buf_append_text(&found, "]", NULL), TEMPERA_OK);
    }
    cr_expect_str_eq(found.data, joined, "%s on \"%s\": expected %s, found %s", pattern, text, joined, found.data);
    buf_free(&found);
    regex_run_free(&run);
    regex_free(regex);
}

Test(parts, expression_matches) {
    expect_matches("x*", "axxb", "[][xx][]");
    expect_matches("x*", "x", "[x]");
    expect_matches("", "\u00E9", "[][]");
    expect_matches("\\w+", "na\u00EFve_2 \u00BD-x\u0301", "[na\u00EFve_2][\u00BD][x\u0301]");
    expect_matches("\\b\\w", "one, two", "[o][t]");
    expect_matches("\\s", "a\u00A0b\u180Ec\u3000", "[\u00A0][\u3000]");
    expect_matches("^.", "ab\ncd\n", "[a][c]");
    expect_matches(".$", "ab\ncd", "[b][d]");
    expect_matches("(?m:a.)", "a\n", "[a\n]");
    expect_matches("(?i:'s)", "'S'\u017F", "['S]['\u017F]");
    expect_matches("(?<=a)b|c", "abc", "[b][c]");
}

Test(parts, hostile_expressions_give_up, .timeout = 60) {
    static const char *const patterns[] = {
        "(a*)*[bc]",       "(?:a|aa)+[bc]", "a*a*a*a*a*[bc]",   "(?:.*)*[zy]",   "\\X*[bc]",
        "(?=.*.*.*[bc])a", ".*.*[=-].*",    "(?:(?:a*)*)*[bc]", "a*?a*?a*?[bc]", "(?<=(?=.*[xy])a)[ac]",
    };
    enum { LENGTH = 1 << 18 };
    char *text = mem_alloc(LENGTH);
    memset(text, 'a', LENGTH);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct regex *regex;
        bool found = true;
        size_t start, end;
        tempera_status status = TEMPERA_OK;
        cr_assert_eq(regex_compile(&regex, patterns[i], false, "test", NULL), TEMPERA_OK);
        struct regex_run run = regex_run_start(LENGTH);
        struct regex_walk walk = regex_walk_start(text, LENGTH);
        while (found && status == TEMPERA_OK) status = regex_next(regex, &run, &walk, &found, &start, &end, NULL);
        cr_expect_eq(status, TEMPERA_TOO_LONG, "%s", patterns[i]);
        regex_run_free(&run);
        regex_free(regex);
    }
    mem_free(text);
}

/* --- splits --- */

static const char cut_text[] = "one, two,, three";

static tempera_status emit_part(void *arg, size_t start, size_t end, tempera_error *err) {
    return buf_printf(arg, err, "%.*s/", (int)(end - start), cut_text + start);
}

static void expect_split(enum split_behavior behavior, const char *expected) {
    struct buf out = {.max = 1000};
    struct split split = {.behavior = behavior, .emit = emit_part, .arg = &out};
    size_t done = 0;
    for (size_t i = 0; i < sizeof cut_text - 1; i++) {
        if (cut_text[i] != ',') continue;
        if (i > done) split_span(&split, done, i, false, NULL);
        split_span(&split, i, i + 1, true, NULL);
        done = i + 1;
    }
    split_span(&split, done, sizeof cut_text - 1, false, NULL);
    cr_assert_eq(split_finish(&split, NULL), TEMPERA_OK);
    cr_expect_str_eq(out.data, expected);
    buf_free(&out);
}

Test(parts, split_behaviors) {
    expect_split(SPLIT_REMOVED, "one/ two/ three/");
    expect_split(SPLIT_ISOLATED, "one/,/ two/,/,/ three/");
    expect_split(SPLIT_MERGED_WITH_PREVIOUS, "one,/ two,/,/ three/");
    expect_split(SPLIT_MERGED_WITH_NEXT, "one/, two/,/, three/");
    expect_split(SPLIT_CONTIGUOUS, "one/,/ two/,,/ three/");
}
