/* The public functions of tempera/sampling.h, and the way from a setting to a draw's parameters. */
#include <criterion/criterion.h>
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/settings.h"

static tempera_error err;

static tempera_status set(tempera_sampling *s, const char *name, const char *value) {
    err = (tempera_error){TEMPERA_OK, ""};
    return tempera_sampling_set(s, name, value, &err);
}

static void assert_mentions(const char *a, const char *b, const char *c) {
    cr_assert(strstr(err.message, a) && strstr(err.message, b) && strstr(err.message, c), "\"%s\" names %s, %s and %s",
              err.message, a, b, c);
}

/* ---- defaults ------------------------------------------------------------------------------------------------- */

Test(settings, defaults_are_the_table) {
    tempera_sampling s = tempera_sampling_default();
#define CHECK(kind, name, def, min, max, text) cr_assert_eq(s.name, def, #name);
    TEMPERA_SAMPLING_FIELDS(CHECK)
#undef CHECK
    char text[64];
    tempera_order_format(&s.order, text, sizeof text);
    cr_assert_str_eq(text, "default");
    cr_assert(!s.independent && !s.logit_bias && !s.stop && !s.stop_token_ids);
    cr_assert(s.logit_bias_count + s.stop_count + s.stop_token_count == 0);
    cr_assert_eq(tempera_sampling_check(&s, 0, &err), TEMPERA_OK);
    cr_assert_eq(tempera_sampling_check(&s, 50257, NULL), TEMPERA_OK);
}

/* ---- set: ranges and syntax ------------------------------------------------------------------------------------ */

struct edge {
    const char *name, *text;
    bool good;
};

static void check_edges(const struct edge *edges, size_t count) {
    for (size_t i = 0; i < count; i++) {
        tempera_sampling s = tempera_sampling_default(), before = s;
        tempera_status status = set(&s, edges[i].name, edges[i].text);
        cr_assert_eq(status, edges[i].good ? TEMPERA_OK : TEMPERA_INVALID_ARGUMENT, "%s = \"%s\": %s", edges[i].name,
                     edges[i].text, err.message);
        if (edges[i].good) {
            cr_assert_eq(tempera_sampling_check(&s, 0, &err), TEMPERA_OK, "%s", err.message);
        } else {
            cr_assert_arr_eq((char *)&s, (char *)&before, sizeof s, "a refused value changes nothing");
            assert_mentions(edges[i].name, "expected", edges[i].text[0] ? edges[i].text : "\"\"");
        }
    }
}

Test(settings, every_field_at_its_range_edges) {
    static const struct edge edges[] = {
        {"temperature", "0", true},
        {"temperature", "0.0001", true},
        {"temperature", "0.00009", false},
        {"temperature", "1000", true},
        {"temperature", "1000.1", false},
        {"temperature", "-1", false},
        {"top_k", "0", true},
        {"top_k", "2147483647", true},
        {"top_k", "2147483648", false},
        {"top_k", "-1", false},
        {"top_p", "0", true},
        {"top_p", "1", true},
        {"top_p", "1.0000001", false},
        {"top_p", "-0.1", false},
        {"min_p", "0", true},
        {"min_p", "1", true},
        {"min_p", "1.1", false},
        {"typical_p", "0", true},
        {"typical_p", "1", true},
        {"typical_p", "2", false},
        {"repetition_penalty", "0.01", true},
        {"repetition_penalty", "0.0099", false},
        {"repetition_penalty", "100", true},
        {"repetition_penalty", "0", false},
        {"frequency_penalty", "-100", true},
        {"frequency_penalty", "100", true},
        {"frequency_penalty", "100.1", false},
        {"presence_penalty", "-100", true},
        {"presence_penalty", "-100.1", false},
        {"penalty_window", "0", true},
        {"penalty_window", "-1", false},
        {"no_repeat_ngram", "1024", true},
        {"no_repeat_ngram", "1025", false},
        {"temperature_end", "-1", true},
        {"temperature_end", "-0.5", false},
        {"temperature_end", "0", true},
        {"temperature_end", "0.00009", false},
        {"temperature_end", "0.0001", true},
        {"temperature_end", "1000", true},
        {"temperature_end", "1000.1", false},
        {"top_p_end", "-1", true},
        {"top_p_end", "-0.9", false},
        {"top_p_end", "0", true},
        {"top_p_end", "1", true},
        {"top_p_end", "1.1", false},
        {"schedule_tokens", "0", true},
        {"schedule_tokens", "-1", false},
        {"schedule_power", "0.01", true},
        {"schedule_power", "0", false},
        {"schedule_power", "100", true},
        {"schedule_power", "100.1", false},
        {"top_p_distinct", "0", true},
        {"top_p_distinct", "1", true},
        {"top_p_distinct", "1.1", false},
        {"dynatemp_range", "0", true},
        {"dynatemp_range", "-0.1", false},
        {"dynatemp_range", "1000", true},
        {"dynatemp_range", "1001", false},
        {"dynatemp_exponent", "0.01", true},
        {"dynatemp_exponent", "0", false},
        {"dynatemp_exponent", "100", true},
        {"dynatemp_exponent", "101", false},
        {"seed", "0", true},
        {"seed", "18446744073709551615", true},
        {"seed", "18446744073709551616", false},
        {"seed", "-1", false},
        {"n", "1", true},
        {"n", "0", false},
        {"n", "1048576", true},
        {"n", "1048577", false},
        {"first_sample", "0", true},
        {"first_sample", "-1", false},
        {"first_sample", "1048575", true},
        {"first_sample", "1048576", false},
        {"max_tokens", "0", true},
        {"max_tokens", "-1", false},
        {"min_tokens", "0", true},
        {"min_tokens", "-1", false},
        {"ignore_eos", "true", true},
        {"ignore_eos", "0", true},
        {"ignore_eos", "yes", false},
        {"logprobs", "-1", true},
        {"logprobs", "-2", false},
        {"logprobs", "32", true},
        {"logprobs", "33", false},
        {"echo", "false", true},
        {"echo", "2", false},
        {"independent", "true", true},
        {"independent", "", false},
    };
    check_edges(edges, sizeof edges / sizeof edges[0]);
}

Test(settings, denormal_temperature_is_refused) {
    tempera_sampling s = tempera_sampling_default();
    cr_assert_eq(set(&s, "temperature", "1e-40"), TEMPERA_INVALID_ARGUMENT);
    assert_mentions("temperature", "0.0001", "1e-40");
    s.temperature = FLT_TRUE_MIN;
    cr_assert_eq(tempera_sampling_check(&s, 0, &err), TEMPERA_INVALID_ARGUMENT);
    assert_mentions("temperature", "0 or a number from 0.0001 to 1000", "1.40129846e-45");
}

Test(settings, numbers_are_strict) {
    static const char *const bad_floats[] = {"",  " 1",    "1 ",  "1,5", "0x1p0", "inf", "nan", "1e",      "e1",
                                             ".", "1.2.3", "+-1", "1e+", "1f",    "--1", "1_0", "infinity"};
    static const char *const bad_ints[] = {
        "", " 1", "1 ", "1.0", "1e3", "0x10", "+1", "--1", "-", "1k", "99999999999999999999"};
    tempera_sampling s = tempera_sampling_default();
    for (size_t i = 0; i < sizeof bad_floats / sizeof bad_floats[0]; i++)
        cr_assert_neq(set(&s, "top_p", bad_floats[i]), TEMPERA_OK, "\"%s\"", bad_floats[i]);
    for (size_t i = 0; i < sizeof bad_ints / sizeof bad_ints[0]; i++) {
        cr_assert_neq(set(&s, "top_k", bad_ints[i]), TEMPERA_OK, "\"%s\"", bad_ints[i]);
        cr_assert_neq(set(&s, "seed", bad_ints[i]), TEMPERA_OK, "\"%s\"", bad_ints[i]);
    }
    cr_assert_eq(set(&s, "top_p", ".5"), TEMPERA_OK);
    cr_assert_eq(s.top_p, 0.5f);
    cr_assert_eq(set(&s, "top_p", "5.e-1"), TEMPERA_OK);
    cr_assert_eq(set(&s, "temperature", "+7E-1"), TEMPERA_OK);
    cr_assert_eq(s.temperature, 0.7f);
    cr_assert_eq(set(&s, "top_p", "1e-999"), TEMPERA_OK, "underflow to 0 is 0");
    cr_assert_neq(set(&s, "temperature", "1e999"), TEMPERA_OK);
}

Test(settings, decimal_points_ignore_the_locale) {
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    for (size_t i = 0; i < sizeof locales / sizeof locales[0]; i++) setlocale(LC_ALL, locales[i]);
    tempera_sampling s = tempera_sampling_default();
    cr_assert_eq(set(&s, "temperature", "0.25"), TEMPERA_OK);
    cr_assert_eq(s.temperature, 0.25f);
    cr_assert_neq(set(&s, "temperature", "0,25"), TEMPERA_OK);
}

Test(settings, unknown_name) {
    tempera_sampling s = tempera_sampling_default();
    cr_assert_eq(set(&s, "top-p", "1"), TEMPERA_INVALID_ARGUMENT);
    assert_mentions("top-p", "no such", "setting");
    cr_assert_eq(set(&s, "", "1"), TEMPERA_INVALID_ARGUMENT);
    cr_assert_eq(set(&s, "order", "llama.cpp"), TEMPERA_OK);
    cr_assert(s.order.penalize_prompt);
}

/* ---- check ---------------------------------------------------------------------------------------------------- */

#define REFUSED(change, a, b)                                                                                          \
    do {                                                                                                               \
        tempera_sampling s = tempera_sampling_default();                                                               \
        change;                                                                                                        \
        cr_assert_eq(tempera_sampling_check(&s, 100, &err), TEMPERA_INVALID_ARGUMENT, #change);                        \
        assert_mentions(a, b, "found");                                                                                \
    } while (0)

Test(settings, check_refuses_out_of_range_fields) {
    REFUSED(s.temperature = NAN, "temperature", "0.0001");
    REFUSED(s.temperature = INFINITY, "temperature", "1000");
    REFUSED(s.top_p = -FLT_TRUE_MIN, "top_p", "from 0 to 1");
    REFUSED(s.min_p = 1.0000001f, "min_p", "from 0 to 1");
    REFUSED(s.typical_p = NAN, "typical_p", "nan");
    REFUSED(s.repetition_penalty = 0.0099f, "repetition_penalty", "from 0.01 to 100");
    REFUSED(s.frequency_penalty = 101, "frequency_penalty", "101");
    REFUSED(s.presence_penalty = -INFINITY, "presence_penalty", "-inf");
    REFUSED(s.top_k = -1, "top_k", "-1");
    REFUSED(s.n = 0, "n:", "from 1 to 1048576");
    REFUSED(s.logprobs = 33, "logprobs", "from -1 to 32");
    REFUSED(s.no_repeat_ngram = INT32_MIN, "no_repeat_ngram", "-2147483648");
    REFUSED(s.temperature_end = -2, "temperature_end", "-1, 0 or a number from 0.0001 to 1000");
    REFUSED(s.temperature_end = FLT_TRUE_MIN, "temperature_end", "-1, 0 or a number from 0.0001 to 1000");
    REFUSED(s.top_p_end = -0.5f, "top_p_end", "-1 or a number from 0 to 1");
    REFUSED(s.dynatemp_exponent = NAN, "dynatemp_exponent", "from 0.01 to 100");
    REFUSED(s.order.count = 8, "order", "8");
    REFUSED(s.order.stage[2] = 7, "order", "7");
    REFUSED(s.order.stage[2] = s.order.stage[1], "order", "bias");
}

Test(settings, check_refuses_bad_bias) {
    tempera_logit_bias bias[3] = {{5, 1.0f}, {2, -INFINITY}, {9, 0.0f}};
    tempera_sampling good = tempera_sampling_default();
    good.logit_bias = bias;
    good.logit_bias_count = 3;
    cr_assert_eq(tempera_sampling_check(&good, 100, &err), TEMPERA_OK);
#define REFUSED_BIAS(index, tok, value, a, b)                                                                          \
    do {                                                                                                               \
        tempera_logit_bias list[3] = {bias[0], bias[1], bias[2]};                                                      \
        list[index] = (tempera_logit_bias){tok, value};                                                                \
        REFUSED((s.logit_bias = list, s.logit_bias_count = 3), a, b);                                                  \
    } while (0)
    REFUSED_BIAS(1, 100, 0.0f, "logit_bias[1]", "from 0 to 99");
    REFUSED_BIAS(2, -1, 0.0f, "logit_bias[2]", "-1");
    REFUSED_BIAS(0, 5, INFINITY, "logit_bias[0]", "-infinity");
    REFUSED_BIAS(0, 5, NAN, "logit_bias[0]", "-infinity");
    REFUSED_BIAS(2, 5, 1.0f, "logit_bias", "token 5 twice");
    REFUSED((s.logit_bias_count = 3), "logit_bias", "NULL");
    REFUSED((s.logit_bias = bias, s.logit_bias_count = 65537), "logit_bias", "65536");
    tempera_sampling s = good;
    bias[0].token = 1000000;
    cr_assert_eq(tempera_sampling_check(&s, 0, &err), TEMPERA_OK, "any id when the vocabulary is unknown");
    mem_fail_after(0);
    cr_assert_eq(tempera_sampling_check(&s, 0, &err), TEMPERA_OUT_OF_MEMORY);
    mem_fail_after(-1);
}

Test(settings, check_refuses_bad_stops) {
    char long_text[258];
    memset(long_text, 'a', sizeof long_text);
    long_text[257] = 0;
    const char *stop[17] = {"\n\n", "caf\xC3\xA9", "END"};
    tempera_sampling good = tempera_sampling_default();
    good.stop = stop;
    good.stop_count = 3;
    cr_assert_eq(tempera_sampling_check(&good, 0, &err), TEMPERA_OK);
    stop[1] = long_text + 1;
    cr_assert_eq(tempera_sampling_check(&good, 0, &err), TEMPERA_OK, "256 bytes");
#define REFUSED_STOP(text, b)                                                                                          \
    do {                                                                                                               \
        stop[1] = text;                                                                                                \
        REFUSED((s.stop = stop, s.stop_count = 3), "stop[1]", b);                                                      \
    } while (0)
    REFUSED_STOP("", "1 to 256 bytes");
    REFUSED_STOP(long_text, "257");
    REFUSED_STOP(NULL, "NULL");
    REFUSED_STOP("ab\xC3", "byte 2");
    REFUSED_STOP("\xED\xA0\x80", "byte 0");
    REFUSED((s.stop = stop, s.stop_count = 17), "stop", "at most 16");
    int32_t ids[65] = {3, 99};
    REFUSED((s.stop_token_ids = ids, s.stop_token_count = 65), "stop_token_ids", "64");
    ids[1] = 100;
    REFUSED((s.stop_token_ids = ids, s.stop_token_count = 2), "stop_token_ids[1]", "from 0 to 99");
}

/* ---- order ---------------------------------------------------------------------------------------------------- */

static void check_round_trip(const char *text, const char *expected) {
    tempera_order order, again;
    char out[200];
    cr_assert_eq(tempera_order_parse(text, &order, &err), TEMPERA_OK, "%s", err.message);
    cr_assert_eq(tempera_order_format(&order, out, sizeof out), strlen(expected));
    cr_assert_str_eq(out, expected);
    cr_assert_eq(tempera_order_parse(out, &again, &err), TEMPERA_OK);
    cr_assert(again.count == order.count && memcmp(again.stage, order.stage, order.count) == 0 &&
              again.keep_ties == order.keep_ties && again.penalize_prompt == order.penalize_prompt);
}

Test(settings, orders_round_trip) {
    check_round_trip("default", "default");
    check_round_trip("hf", "hf");
    check_round_trip("vllm", "vllm");
    check_round_trip("llama.cpp", "llama.cpp");
    check_round_trip("penalties,bias,temperature,top_k,top_p,min_p,typical_p", "default");
    check_round_trip("bias,penalties,temperature,top_k,top_p,min_p,typical_p,keep_ties", "hf");
    check_round_trip("penalties,top_k,temperature", "penalties,top_k,temperature");
    check_round_trip("top_p", "top_p");
    check_round_trip("keep_ties,top_p,penalize_prompt", "top_p,keep_ties,penalize_prompt");
    check_round_trip("none", "none");
    check_round_trip("none,keep_ties", "none,keep_ties");
}

Test(settings, presets) {
    tempera_order order;
    cr_assert_eq(tempera_order_parse("llama.cpp", &order, NULL), TEMPERA_OK);
    cr_assert(order.count == 7 && order.stage[0] == TEMPERA_STAGE_BIAS && order.stage[6] == TEMPERA_STAGE_TEMPERATURE);
    cr_assert(order.penalize_prompt && !order.keep_ties);
    cr_assert_eq(tempera_order_parse("vllm", &order, NULL), TEMPERA_OK);
    cr_assert(order.keep_ties && order.stage[3] == TEMPERA_STAGE_MIN_P && order.stage[4] == TEMPERA_STAGE_TOP_K);
    cr_assert_eq(tempera_order_parse("hf", &order, NULL), TEMPERA_OK);
    cr_assert(order.keep_ties && !order.penalize_prompt && order.stage[0] == TEMPERA_STAGE_BIAS);
}

Test(settings, bad_orders) {
    static const char *const bad[] = {"",
                                      ",",
                                      "top_k,",
                                      ",top_k",
                                      "top_k,,top_p",
                                      "top_k,top_k",
                                      "HF",
                                      "default,top_k",
                                      "top_k top_p",
                                      "none,top_k",
                                      "none,none",
                                      "none,",
                                      "keep_ties",
                                      "keep_ties,keep_ties,bias",
                                      "unknown"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tempera_order order = {.count = 42};
        cr_assert_eq(tempera_order_parse(bad[i], &order, &err), TEMPERA_INVALID_ARGUMENT, "\"%s\"", bad[i]);
        cr_assert_eq(order.count, 42, "a refused text changes nothing");
        assert_mentions("order", "typical_p", bad[i]);
    }
}

Test(settings, format_obeys_the_size) {
    tempera_order order;
    char text[32];
    cr_assert_eq(tempera_order_parse("penalties,top_k", &order, NULL), TEMPERA_OK);
    for (size_t size = 0; size <= 20; size++) {
        memset(text, '#', sizeof text);
        cr_assert_eq(tempera_order_format(&order, text, size), 15);
        if (size > 0) cr_assert_eq(strncmp(text, "penalties,top_k", size - 1), 0);
        if (size > 0) cr_assert_eq(strlen(text), size - 1 < 15 ? size - 1 : 15);
        cr_assert_eq(text[size], '#');
    }
}

/* ---- branch parameters ---------------------------------------------------------------------------------------- */

static struct branch_params build(const tempera_sampling *s) {
    static tempera_logit_bias sorted[8];
    struct branch_params p;
    settings_sort_bias(sorted, s);
    cr_assert_eq(branch_params_build(&p, s, 3, s->logit_bias_count ? sorted : NULL, NULL, 0, &err), TEMPERA_OK);
    return p;
}

Test(settings, numeric_form) {
    tempera_sampling s = tempera_sampling_default();
    tempera_logit_bias bias[3] = {{9, 1.0f}, {2, -INFINITY}, {5, 0.5f}};
    int32_t suppress[2] = {7, 8};
    s.temperature = 0.7f;
    s.min_p = 0.05f;
    s.seed = 99;
    s.min_tokens = 4;
    s.logit_bias = bias;
    s.logit_bias_count = 3;
    struct branch_params p = build(&s);
    cr_assert(p.inv_temperature == 1.0f / 0.7f && p.seed == 99 && p.sample == 3 && p.bias_count == 3);
    cr_assert_eq(p.min_p_distance, (float)-log((double)0.05f));
    cr_assert(p.bias[0].token == 2 && p.bias[1].token == 5 && p.bias[2].token == 9);
    cr_assert_eq(branch_params_build(&p, &s, 0, bias, suppress, 2, &err), TEMPERA_OK);
    cr_assert(p.suppress == suppress && p.suppress_count == 2 && p.min_tokens == 4);
    cr_assert_eq(branch_params_build(&p, &s, -1, NULL, NULL, 0, &err), TEMPERA_INVALID_ARGUMENT);
    s.temperature = 0.0f;
    s.min_p = 1.0f;
    p = build(&s);
    cr_assert(p.inv_temperature == 0.0f && p.min_p_distance == 0.0f && !signbit(p.min_p_distance));
}

/* The range of a temperature by entropy is cut at the least temperature; greedy has none. */
Test(settings, dynatemp_around_the_temperature) {
    tempera_sampling s = tempera_sampling_default();
    s.dynatemp_exponent = 3.0f;
    cr_assert_eq(build(&s).dynatemp_spread, 0.0f);
    s.dynatemp_range = 0.5f;
    struct branch_params p = build(&s);
    cr_assert(p.dynatemp_least == 0.5f && p.dynatemp_spread == 1.0f && p.dynatemp_exponent == 3.0f);
    s.temperature = 0.25f;
    p = build(&s);
    cr_assert(p.dynatemp_least == 0.0001f && p.dynatemp_spread == 0.75f - 0.0001f);
    s.temperature = 0.0f;
    cr_assert_eq(build(&s).dynatemp_spread, 0.0f);
    branch_params_temperature(&p, &s, 2.0f);
    cr_assert(p.temperature == 2.0f && p.inv_temperature == 0.5f && p.dynatemp_least == 1.5f);
    branch_params_temperature(&p, &s, 0.0f);
    cr_assert(p.temperature == 0.0f && p.inv_temperature == 0.0f && p.dynatemp_spread == 0.0f);
}

Test(settings, sorting_many_biases) {
    enum { COUNT = 5000 };
    static tempera_logit_bias bias[COUNT], sorted[COUNT];
    tempera_sampling s = tempera_sampling_default();
    for (int32_t i = 0; i < COUNT; i++) bias[i] = (tempera_logit_bias){(int32_t)(i * 40503LL % 100003), (float)i};
    s.logit_bias = bias;
    for (size_t count = 0; count < COUNT; count = count * 2 + 1) {
        double before = 0, after = 0;
        s.logit_bias_count = count;
        settings_sort_bias(sorted, &s);
        for (size_t i = 0; i < count; i++) before += (double)bias[i].token * (double)bias[i].bias;
        for (size_t i = 0; i < count; i++) after += (double)sorted[i].token * (double)sorted[i].bias;
        for (size_t i = 1; i < count; i++) cr_assert_lt(sorted[i - 1].token, sorted[i].token);
        cr_assert_eq(before, after);
    }
}

/* Settings that draw differently have different noise; what cannot change a draw does not change the noise. */
Test(settings, independent_noise) {
    tempera_sampling s = tempera_sampling_default();
    s.seed = 5;
    cr_assert_eq(build(&s).seed, 5);
    s.independent = true;
    uint64_t base = build(&s).seed;
    cr_assert_neq(base, 5);
    cr_assert_eq(base, UINT64_C(0x7AB0A3834464F04C), "0x%016" PRIX64 ": recorded runs depend on it", base);
    static const char *const shaping[][2] = {{"temperature", "0.5"},
                                             {"top_k", "1"},
                                             {"top_p", "0.5"},
                                             {"min_p", "0.5"},
                                             {"typical_p", "0.5"},
                                             {"repetition_penalty", "2"},
                                             {"frequency_penalty", "1"},
                                             {"presence_penalty", "1"},
                                             {"penalty_window", "9"},
                                             {"no_repeat_ngram", "3"},
                                             {"min_tokens", "1"},
                                             {"temperature_end", "0"},
                                             {"temperature_end", "0.5"},
                                             {"top_p_end", "0.5"},
                                             {"top_p_distinct", "0.5"},
                                             {"dynatemp_range", "0.5"},
                                             {"seed", "6"},
                                             {"order", "hf"},
                                             {"order", "top_k"}};
    uint64_t seen[24] = {base};
    for (size_t i = 0; i < sizeof shaping / sizeof shaping[0]; i++) {
        tempera_sampling other = s;
        cr_assert_eq(set(&other, shaping[i][0], shaping[i][1]), TEMPERA_OK);
        seen[i + 1] = build(&other).seed;
        for (size_t j = 0; j <= i; j++) cr_assert_neq(seen[i + 1], seen[j], "%s", shaping[i][0]);
    }
    static const char *const neutral[][2] = {{"n", "5"},        {"first_sample", "5"}, {"max_tokens", "7"},
                                             {"logprobs", "3"}, {"echo", "true"},      {"ignore_eos", "true"}};
    for (size_t i = 0; i < sizeof neutral / sizeof neutral[0]; i++) {
        tempera_sampling other = s;
        cr_assert_eq(set(&other, neutral[i][0], neutral[i][1]), TEMPERA_OK);
        cr_assert_eq(build(&other).seed, base, "%s", neutral[i][0]);
    }
    static const char *const idle[][2] = {
        {"schedule_power", "2"}, {"schedule_tokens", "9"}, {"dynatemp_exponent", "2"}};
    tempera_sampling busy = s;
    busy.temperature_end = busy.dynatemp_range = 0.5f;
    for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++) {
        tempera_sampling other = s, busier = busy;
        cr_assert_eq(set(&other, idle[i][0], idle[i][1]), TEMPERA_OK);
        cr_assert_eq(set(&busier, idle[i][0], idle[i][1]), TEMPERA_OK);
        cr_assert_eq(build(&other).seed, base, "%s alone does nothing", idle[i][0]);
        cr_assert_neq(build(&busier).seed, build(&busy).seed, "%s", idle[i][0]);
    }
    tempera_sampling longer = busy;
    longer.max_tokens++;
    cr_assert_neq(build(&longer).seed, build(&busy).seed, "a schedule over max_tokens");
    longer.schedule_tokens = busy.max_tokens;
    cr_assert_eq(build(&longer).seed, build(&busy).seed, "the same schedule in a longer run");
    tempera_logit_bias forwards[2] = {{1, 2.0f}, {3, -0.0f}}, backwards[2] = {{3, 0.0f}, {1, 2.0f}};
    s.logit_bias_count = 2;
    s.logit_bias = forwards;
    uint64_t biased = build(&s).seed;
    s.logit_bias = backwards;
    cr_assert_neq(biased, base);
    cr_assert_eq(build(&s).seed, biased, "the order of the list does not matter");
}
