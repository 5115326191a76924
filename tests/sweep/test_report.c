/* test_report.c: the pages of `sweep report` and `probs --html`, opened in headless Chromium: they show the figures
 * that `sweep stats` and `probs` print, keep hostile texts texts, ask for nothing, and open fast. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "browser.h"
#include "cli/cli.h"
#include "strbuf.h"
#include "support.h"
#include "sweep/store.h"

#define HOSTILE "</script><img src=x onerror=\"document.title='owned'\"><!-- & <script>document.title='owned'</script>"

static struct browser *browser;

#define NEEDS_BROWSER()                                                                                                \
    do {                                                                                                               \
        if (!browser) browser = browser_start();                                                                       \
        if (!browser) cr_skip_test("no Chromium");                                                                     \
    } while (0)

static char folder[] = "/tmp/tempera-report-XXXXXX";
static char database[128], page[128];

static void setup(void) {
    cr_assert(mkdtemp(folder));
    snprintf(database, sizeof database, "%s/runs.db", folder);
    snprintf(page, sizeof page, "%s/report.html", folder);
}

static void teardown(void) {
    char command[128];
    browser_stop(browser);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(report, .init = setup, .fini = teardown, .timeout = 600);

/* ---- what is asked of pages ---- */

static void must(struct cli run) {
    cr_assert_eq(run.status, 0, "%s", run.err);
    cli_free(&run);
}

static void open_page(const char *path) {
    cr_assert_geq(browser_open(browser, path, 60), 0, "not drawn: %s", browser_problems(browser));
    cr_assert_str_empty(browser_problems(browser));
}

/* Sections are drawn when they come near the window: here all of them. */
static void open_report(void) {
    open_page(page);
    cr_assert(browser_true(browser, "(drawAll(), true)"));
    cr_assert(browser_until(browser, "waits === 0", 30));
    cr_assert_str_empty(browser_problems(browser));
}

/* The text that an expression gives; owned. */
static char *text_of(const char *expression) {
    cJSON *value = browser_value(browser, expression);
    cr_assert(cJSON_IsString(value), "%s", expression);
    char *text = xdup(value->valuestring, strlen(value->valuestring));
    cJSON_Delete(value);
    return text;
}

/* Whether a text is this number, rounded to the digits that the text has. */
static bool shows(const char *text, double value) {
    char plain[64];
    size_t used = 0;
    int decimals = 0, exponent = 0;
    bool fraction = false;
    if (strcmp(text, "–") == 0) return isnan(value);
    for (const char *c = text; *c && used + 1 < sizeof plain; c++) {
        if (strncmp(c, "−", strlen("−")) == 0) {
            plain[used++] = '-';
            c += strlen("−") - 1;
        } else if (*c != ',' && *c != '+') {
            plain[used++] = *c;
        }
    }
    plain[used] = 0;
    char *end, *e = strchr(plain, 'e');
    double shown = strtod(plain, &end);
    if (*end || end == plain) return false;
    if (e) exponent = atoi(e + 1);
    for (const char *c = plain; *c && c != e; c++) {
        decimals += fraction && *c != '.';
        fraction |= *c == '.';
    }
    return fabs(shown - value) <= 0.5000001 * pow(10, exponent - decimals);
}

static void check_shown(const char *expression, double value) {
    char *text = text_of(expression);
    cr_assert(shows(text, value), "%s: \"%s\" is not %.17g", expression, text, value);
    free(text);
}

/* Sets a <select> as a reader would. */
static void choose(const char *selector, const char *value) {
    char expression[512];
    snprintf(expression, sizeof expression,
             "(() => { const s = document.querySelector('%s'); s.value = '%s'; s.dispatchEvent(new Event('change')); "
             "return s.value; })()",
             selector, value);
    char *set = text_of(expression);
    cr_assert_str_eq(set, value, "%s has no %s", selector, value);
    free(set);
    cr_assert(browser_until(browser, "waits === 0", 30));
}

/* ---- a sweep of the demo model ---- */

enum { PROMPTS = 6, POINTS = 12 };

static void write_prompts(const char *path) {
    cJSON *hostile = cJSON_CreateObject();
    FILE *file = fopen(path, "w");
    cr_assert(file);
    cJSON_AddStringToObject(hostile, "prompt", HOSTILE);
    cJSON_AddStringToObject(hostile, "id", HOSTILE);
    char *line = cJSON_PrintUnformatted(hostile);
    fprintf(file, "%s\n", line);
    fputs("{\"prompt\":\"Once upon a time there was a little cat who\"}\n{\"prompt\":\"Tom had a big dog. The dog\"}\n"
          "{\"prompt\":\"One day, a bird found a\"}\n{\"prompt\":\"Mia lost her red ball. She\"}\n"
          "{\"prompt\":\"It was raining. Lily looked out and\"}\n",
          file);
    fclose(file);
    cJSON_free(line);
    cJSON_Delete(hostile);
}

static void run_sweep(void) {
    char prompts[128];
    snprintf(prompts, sizeof prompts, "%s/prompts.jsonl", folder);
    write_prompts(prompts);
    must(cli(NULL, "sweep", "run", "--prompts", prompts, "--grid", "temperature=0.4:1.6:0.4 top_p=0.5,0.9,1",
             "--samples", "4", "--max-tokens", "12", "-o", database, "--quiet", NULL));
    must(cli(NULL, "sweep", "report", database, "-o", page, "--quiet", NULL));
}

static cJSON *stats(const char *baseline) {
    struct cli run = baseline ? cli(NULL, "sweep", "stats", database, "--json", "--baseline", baseline, NULL)
                              : cli(NULL, "sweep", "stats", database, "--json", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *json = cli_json(run.out, -1);
    cr_assert(json);
    cli_free(&run);
    return json;
}

static const cJSON *metric_of(const cJSON *figures, int point, const char *metric) {
    const cJSON *item = cJSON_GetArrayItem(cli_get(figures, "points"), point);
    return cJSON_GetObjectItemCaseSensitive(cli_get(item, "metrics"), metric);
}

/* The first metric column of a setting's row: where the chosen metric stands. */
static void check_table(const cJSON *figures, const char *metric, int prompt) {
    for (int p = 0; p < POINTS; p++) {
        const cJSON *m = metric_of(figures, p, metric);
        char expression[320];
        const char *row = "[...document.querySelector('#settings tr[data-point=\"%d\"]').cells[3].children]%s";
        char field[200];
        snprintf(field, sizeof field, row, p, "[0].textContent");
        double wanted =
            prompt < 0 ? cli_number(m, "mean") : cJSON_GetArrayItem(cli_get(m, "by_prompt"), prompt)->valuedouble;
        check_shown(field, wanted);
        if (prompt >= 0) continue;
        snprintf(field, sizeof field, row, p, ".find(e => e.className === \"interval\").textContent");
        snprintf(expression, sizeof expression, "%s.split(\" … \")[0]", field);
        check_shown(expression, cli_number(m, "low"));
        snprintf(expression, sizeof expression, "%s.split(\" … \")[1]", field);
        check_shown(expression, cli_number(m, "high"));
    }
}

/* The cell of a heat map at two values. */
static void check_heat(const cJSON *figures, const char *metric) {
    for (int p = 0; p < POINTS; p++) { /* points count through top_p first, the map's rows */
        char expression[160];
        snprintf(expression, sizeof expression,
                 "document.querySelector('#heat table').tBodies[0].rows[%d].cells[%d].textContent", p % 3, p / 3 + 1);
        check_shown(expression, cli_number(metric_of(figures, p, metric), "mean"));
    }
}

Test(report, figures_are_those_of_stats) {
    NEEDS_BROWSER();
    run_sweep();
    cJSON *figures = stats(NULL);
    static const char *const metrics[] = {"logprob", "distinct_2", "self_bleu", "kept", "compression_ratio"};
    open_report();
    cr_assert_eq(browser_number(browser, "document.querySelectorAll('#settings tbody tr').length"), POINTS);
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        choose("#metric", metrics[i]);
        check_table(figures, metrics[i], -1);
        check_heat(figures, metrics[i]);
    }
    for (int prompt = 0; prompt < PROMPTS; prompt++) {
        char value[16];
        snprintf(value, sizeof value, "%d", prompt);
        choose("#over", value);
        check_table(figures, "compression_ratio", prompt);
    }
    cr_assert_str_empty(browser_problems(browser));
    cJSON_Delete(figures);
}

Test(report, best_setting_is_the_largest_mean) {
    NEEDS_BROWSER();
    run_sweep();
    cJSON *figures = stats(NULL);
    const char *best = NULL;
    double most = -INFINITY;
    for (int p = 0; p < POINTS; p++) {
        double mean = cli_number(metric_of(figures, p, "distinct_2"), "mean");
        if (mean <= most) continue;
        most = mean;
        best = cli_string(cJSON_GetArrayItem(cli_get(figures, "points"), p), "name");
    }
    open_report();
    choose("#metric", "distinct_2");
    char *name = text_of("document.getElementById('best-name').textContent");
    cr_assert_str_eq(name, best);
    check_shown("document.getElementById('best-value').firstChild.textContent", most);
    free(name);
    cJSON_Delete(figures);
}

/* Higher distinct_2 and higher logprob are asked for: no setting of the front may be beaten in one and matched in the
 * other, and every setting that is not on it is. */
Test(report, pareto_front_is_not_beaten) {
    NEEDS_BROWSER();
    run_sweep();
    cJSON *figures = stats(NULL);
    open_report();
    char *front = text_of("'|' + document.querySelector('#scatter-view [data-front]').dataset.front + '|'");
    for (int p = 0; p < POINTS; p++) {
        double x = cli_number(metric_of(figures, p, "distinct_2"), "mean");
        double y = cli_number(metric_of(figures, p, "logprob"), "mean");
        bool beaten = false;
        for (int q = 0; q < POINTS; q++) {
            double qx = cli_number(metric_of(figures, q, "distinct_2"), "mean");
            double qy = cli_number(metric_of(figures, q, "logprob"), "mean");
            beaten |= qx >= x && qy >= y && (qx > x || qy > y);
        }
        char name[160];
        snprintf(name, sizeof name, "|%s|", cli_string(cJSON_GetArrayItem(cli_get(figures, "points"), p), "name"));
        cr_assert_eq(strstr(front, name) == NULL, beaten, "%s", name);
    }
    free(front);
    cJSON_Delete(figures);
}

static void near(double got, double wanted, const char *what) {
    cr_assert((isnan(got) && isnan(wanted)) || fabs(got - wanted) <= 1e-9 * fmax(1, fabs(wanted)),
              "%s: %.17g, not %.17g", what, got, wanted);
}

/* The page works differences out itself, for any baseline: they must be the program's to the last digits. */
static void check_differences(const cJSON *figures, const char *metric, int baseline) {
    static const char *const fields[] = {"mean", "low", "high", "p", "adjusted"};
    for (int p = 0; p < POINTS; p++) {
        const cJSON *difference = cJSON_GetObjectItemCaseSensitive(metric_of(figures, p, metric), "difference");
        if (p == baseline) continue;
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
            char expression[160];
            snprintf(expression, sizeof expression,
                     "Number(document.querySelector('#differences tr[data-point=\"%d\"]').dataset.%s)", p, fields[f]);
            near(browser_number(browser, expression), cli_number(difference, fields[f]), fields[f]);
        }
    }
}

Test(report, differences_are_those_of_stats) {
    NEEDS_BROWSER();
    run_sweep();
    static const char *const metrics[] = {"logprob", "distinct_1", "length"};
    open_report();
    for (int baseline = 0; baseline < POINTS; baseline += 7) {
        char value[16];
        snprintf(value, sizeof value, "%d", baseline);
        cJSON *figures = stats(value);
        choose("#compare-view select", value);
        for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
            choose("#metric", metrics[i]);
            check_differences(figures, metrics[i], baseline);
        }
        cJSON_Delete(figures);
    }
}

/* With more prompts than the exact test takes, and one prompt whose samples are the units. */
Test(report, differences_by_random_flips) {
    NEEDS_BROWSER();
    must(cli(NULL, "sweep", "run", "-p", "Once upon a time there was", "--grid",
             "temperature=0.4:1.6:0.4 top_p=0.5,0.9,1", "--samples", "24", "--max-tokens", "12", "-o", database,
             "--quiet", NULL));
    must(cli(NULL, "sweep", "report", database, "-o", page, "--quiet", NULL));
    cJSON *figures = stats("2");
    open_report();
    choose("#compare-view select", "2");
    choose("#metric", "logprob");
    check_differences(figures, "logprob", 2);
    cJSON_Delete(figures);
}

Test(report, averages_over_an_axis_say_so) {
    NEEDS_BROWSER();
    must(cli(NULL, "sweep", "run", "-p", "One day, a bird", "-p", "Tom had a dog. It", "--grid",
             "temperature=0.5,1 top_p=0.5,1 min_p=0,0.1", "--samples", "2", "--max-tokens", "8", "-o", database,
             "--quiet", NULL));
    must(cli(NULL, "sweep", "report", database, "-o", page, "--quiet", NULL));
    cJSON *figures = stats(NULL);
    open_report();
    choose("#metric", "entropy");
    /* Points count through min_p first. */
    double together = cli_number(metric_of(figures, 0, "entropy"), "mean") / 2 +
                      cli_number(metric_of(figures, 1, "entropy"), "mean") / 2;
    check_shown("document.querySelector('#heat table').tBodies[0].rows[0].cells[1].textContent", together);
    cr_assert(
        browser_true(browser, "document.getElementById('heat-note').textContent.includes('min_p is averaged over')"));
    choose("#heat-view .control:nth-of-type(3) select", "1");
    check_shown("document.querySelector('#heat table').tBodies[0].rows[0].cells[1].textContent",
                cli_number(metric_of(figures, 1, "entropy"), "mean"));
    cr_assert(browser_true(browser, "document.getElementById('heat-note').textContent.includes('min_p is 0.1')"));
    cJSON_Delete(figures);
}

/* ---- texts ---- */

Test(report, hostile_texts_stay_texts) {
    NEEDS_BROWSER();
    run_sweep();
    open_report();
    char *prompt = text_of("document.querySelector('#read .prompt-text').textContent");
    cr_assert_str_eq(prompt, HOSTILE);
    cr_assert(browser_true(browser, "document.querySelectorAll('img, iframe, object, embed').length === 0"));
    cr_assert(browser_true(browser, "!document.title.includes('owned')"));
    cr_assert(browser_true(browser, "[...document.scripts].filter(s => !s.type).length === 2"));
    free(prompt);
    /* And what would be run is not allowed to. */
    cr_assert(browser_true(browser,
                           "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
                           "document.body.append(s); return window.ran === undefined; })()"));
    cr_assert(browser_true(browser, "(() => { try { return eval('false'); } catch (e) { return true; } })()"));
    cr_assert(browser_true(browser, "fetch('https://example.com/').then(() => false, () => true)"));
}

Test(report, reader_shows_the_samples) {
    NEEDS_BROWSER();
    run_sweep();
    open_report();
    struct store *store;
    struct sample_set set;
    cr_assert_eq(store_open(&store, database, STORE_READ), 0);
    cr_assert_eq(store_load_samples(store, 1, &set), 0);
    cr_assert(browser_true(browser, "(set({read: 1, sample: 2, chosen: [3, 11]}), true)"));
    cr_assert(browser_until(browser, "waits === 0", 30));
    cr_assert_eq(browser_number(browser, "document.querySelectorAll('#columns article').length"), 2);
    for (int column = 0; column < 2; column++) {
        size_t first;
        cr_assert_geq(sample_set_point(&set, column ? 11 : 3, &first), 3);
        const struct sample_record *r = &set.items[first + 2];
        char expression[256];
        snprintf(expression, sizeof expression,
                 "[...document.querySelectorAll('#columns article')[%d].querySelectorAll('.token:not(.end)')].map(t => "
                 "t.textContent).join('')",
                 column);
        char *text = text_of(expression);
        cr_assert_str_eq(text, r->text);
        free(text);
        snprintf(
            expression, sizeof expression,
            "[...document.querySelectorAll('#columns article')[%d].querySelector('.text').children].findIndex(e => "
            "e.className === 'fork')",
            column);
        if (r->fork < (int32_t)r->token_count) cr_assert_eq(browser_number(browser, expression), r->fork);
        /* Probabilities come in steps of 1/1024 nat. */
        for (size_t k = 0; k < r->token_count; k++) {
            snprintf(expression, sizeof expression,
                     "textsOf(1).then(t => t.path(t.find(%d, 2))[%zu]).then(k => Math.log(k.raw))", column ? 11 : 3, k);
            cr_assert_float_eq(browser_number(browser, expression), (double)r->logprob[k], 0.5 / 1024 + 1e-6);
            snprintf(expression, sizeof expression,
                     "textsOf(1).then(t => t.path(t.find(%d, 2))[%zu]).then(k => Math.log(k.final))", column ? 11 : 3,
                     k);
            cr_assert_float_eq(browser_number(browser, expression), (double)r->final_logprob[k], 0.5 / 1024 + 1e-6);
        }
    }
    sample_set_free(&set);
    store_close(store);
}

/* Samples of the tree's first level, and in all, are those of the database. */
Test(report, tree_counts_the_samples) {
    NEEDS_BROWSER();
    run_sweep();
    open_report();
    struct store *store;
    struct sample_set set;
    cr_assert_eq(store_open(&store, database, STORE_READ), 0);
    cr_assert_eq(store_load_samples(store, 0, &set), 0);
    size_t kinds = 0;
    for (size_t i = 0; i < set.count; i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++) seen |= set.items[k].tokens[0] == set.items[i].tokens[0];
        kinds += !seen;
    }
    cr_assert_eq(browser_number(browser, "Number(document.querySelector('#tree-view [data-samples]').dataset.samples)"),
                 (double)set.count);
    cr_assert_eq(browser_number(browser, "Number(document.querySelector('#tree-view [data-first]').dataset.first)"),
                 (double)kinds);
    sample_set_free(&set);
    store_close(store);
}

Test(report, without_the_model_it_says_what_is_missing) {
    NEEDS_BROWSER();
    run_sweep();
    must(cli(NULL, "sweep", "report", database, "-o", page, "--no-model", "--quiet", NULL));
    open_report();
    cr_assert(browser_true(browser, "document.getElementById('next-view').textContent.includes('without the model')"));
    struct store *store;
    struct sample_set set;
    cr_assert_eq(store_open(&store, database, STORE_READ), 0);
    cr_assert_eq(store_load_samples(store, 1, &set), 0);
    cr_assert(browser_true(browser, "(set({read: 1, sample: 0, chosen: [0]}), true)"));
    cr_assert(browser_until(browser, "waits === 0", 30));
    char *text = text_of("document.querySelector('#columns .text').textContent");
    cr_assert_str_eq(text, set.items[0].text);
    free(text);
    sample_set_free(&set);
    store_close(store);
}

/* ---- how it is used ---- */

Test(report, keys_and_sizes) {
    NEEDS_BROWSER();
    run_sweep();
    open_report();
    /* One tab stop for a map; arrows move in it, Enter chooses. */
    cr_assert_eq(browser_number(browser, "document.querySelectorAll('#heat td[tabindex=\"0\"]').length"), 1);
    cr_assert(browser_true(
        browser,
        "(() => { const c = document.querySelectorAll('#heat tbody td'); c[0].focus();"
        "const key = k => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: k, bubbles: true}));"
        "key('ArrowRight'); key('ArrowDown'); return document.activeElement === c[5]; })()"));
    cr_assert(browser_true(browser,
                           "(() => { const had = state.chosen.includes(4); document.activeElement.dispatchEvent(new "
                           "KeyboardEvent('keydown', {key: 'Enter'})); return state.chosen.includes(4) !== had; })()"));
    /* Sorting says so to a screen reader. */
    cr_assert(browser_true(browser, "(document.querySelector('#settings button[data-key=\"name\"]').click(), true)"));
    cr_assert(browser_until(browser, "document.querySelector('#settings th[aria-sort]') !== null", 10));
    browser_size(browser, 360, 740);
    open_report();
    cr_assert(browser_true(browser, "document.documentElement.scrollWidth <= innerWidth"));
    browser_dark(browser, true);
    open_report();
    cr_assert(browser_true(browser, "document.documentElement.dataset.theme === 'dark'"));
    cr_assert(browser_true(browser, "(document.querySelector('.theme button[value=light]').click(), "
                                    "document.documentElement.dataset.theme === 'light')"));
}

/* ---- size ---- */

enum { BIG_PROMPTS = 20, BIG_SAMPLES = 50, BIG_POINTS = 100, BIG_TOKENS = 64, BIG_VOCAB = 1024 };

static uint64_t random_state = 1;
static uint32_t draw(uint32_t below) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % below);
}

/* A walk that others share for a while: tokens are a function of what came before and, now and then, of chance. */
static void add_big_sample(struct store *store, int32_t prompt, int32_t point, int32_t sample, tempera_model *model) {
    int32_t tokens[BIG_TOKENS];
    tempera_token_stat token_stats[BIG_TOKENS];
    struct strbuf blob = {0};
    tempera_error err;
    char *text;
    size_t length;
    uint32_t walk = (uint32_t)prompt;
    for (int i = 0; i < BIG_TOKENS; i++) {
        uint32_t surprise = draw(100) < (uint32_t)point / 8 + 2 ? draw(BIG_VOCAB - 3) + 1 : 0;
        walk = walk * 2654435761u + 12345 + surprise;
        tokens[i] = (int32_t)(3 + (walk >> 8) % (BIG_VOCAB - 3));
        token_stats[i] =
            (tempera_token_stat){.logprob = surprise ? -3 - (float)draw(100) / 30 : -0.05f - (float)(walk % 64) / 80,
                                 .entropy = 1 + (float)draw(100) / 100,
                                 .kept_mass = 1,
                                 .kept = BIG_VOCAB};
        token_stats[i].final_logprob = token_stats[i].logprob * 0.8f;
    }
    cr_assert_eq(tempera_decode(model, tokens, BIG_TOKENS, TEMPERA_DECODE_SPECIAL, &text, &length, &err), TEMPERA_OK);
    stats_blob_write(&blob, token_stats, tokens, BIG_TOKENS);
    struct sample_record record = {.prompt = prompt,
                                   .point = point,
                                   .sample = sample,
                                   .finish = TEMPERA_FINISH_LENGTH,
                                   .error = "",
                                   .text = text,
                                   .text_length = length,
                                   .tokens = tokens,
                                   .token_count = BIG_TOKENS,
                                   .fork = (int32_t)draw(BIG_TOKENS),
                                   .verdict = -1};
    cr_assert_eq(store_add_sample(store, &record, blob.data, blob.length), 0);
    strbuf_free(&blob);
    tempera_free(text);
}

static void build_big(void) {
    struct sweep_prompts prompts = {0};
    struct point_list points = {0};
    struct text_list texts = {0}, none = {0};
    struct point_args args = {.samples = BIG_SAMPLES, .max_points = 1000};
    struct run_record run = {
        .build = "test", .command = "test", .seconds = 1, .samples = 1, .generated_tokens = 1, .row_steps = 1};
    int32_t numbers[BIG_POINTS];
    struct store *store;
    tempera_model *model;
    tempera_error err;
    static char names[BIG_PROMPTS][32];
    cr_assert_eq(tempera_model_open(TEMPERA_DEMO_MODEL, &model, &err), TEMPERA_OK);
    for (int i = 0; i < BIG_PROMPTS; i++) {
        snprintf(names[i], sizeof names[i], "Prompt number %d", i);
        text_list_add(&texts, names[i]);
    }
    text_list_add(&args.grids, "temperature=0.1:2:0.1 top_p=0.2:1:0.2");
    cr_assert_eq(sweep_prompts_read(&prompts, &none, &texts), 0);
    cr_assert_eq(sweep_prompts_encode(&prompts, model, 256), 0);
    cr_assert_eq(point_list_make(&points, &args, NULL), 0);
    cr_assert_eq(points.count, BIG_POINTS);
    cr_assert_eq(store_open(&store, database, STORE_CREATE), 0);
    cr_assert_eq(store_begin(store), 0);
    cr_assert_eq(store_manifest_set(store, "vocab_size", "1024"), 0);
    cr_assert_eq(store_add_prompts(store, &prompts), 0);
    cr_assert_eq(store_add_points(store, &points, numbers), 0);
    for (int32_t p = 0; p < BIG_PROMPTS; p++)
        for (int32_t k = 0; k < BIG_POINTS; k++)
            for (int32_t s = 0; s < BIG_SAMPLES; s++) add_big_sample(store, p, numbers[k], s, model);
    cr_assert_eq(store_add_run(store, &run), 0);
    cr_assert_eq(store_commit(store), 0);
    store_close(store);
    tempera_model_close(model);
    point_list_free(&points);
    sweep_prompts_free(&prompts);
    free((void *)texts.items);
    free((void *)args.grids.items);
}

/* 10^5 samples of 64 tokens are drawn within 2 s: the fastest of three openings, since other programs run too. */
Test(report, opens_a_hundred_thousand_samples) {
    NEEDS_BROWSER();
    build_big();
    must(cli(NULL, "sweep", "report", database, "--model", TEMPERA_DEMO_MODEL, "-o", page, "--quiet", NULL));
    double best = INFINITY;
    for (int i = 0; i < 3; i++) {
        double took = browser_open(browser, page, 60);
        cr_assert_geq(took, 0, "%s", browser_problems(browser));
        best = fmin(best, took);
    }
    FILE *file = fopen(page, "rb");
    fseek(file, 0, SEEK_END);
    fprintf(stderr, "100,000 samples x 64 tokens: %.1f MB, drawn after %.0f ms\n", (double)ftell(file) / 1e6, best);
    fclose(file);
    cr_assert_lt(best, 2000);
    open_report();
    cr_assert_eq(browser_number(browser, "data.samples"), BIG_PROMPTS * BIG_POINTS * BIG_SAMPLES);
    /* Fewer texts on request: all figures, a smaller page, and a note that says so. */
    must(cli(NULL, "sweep", "report", database, "--model", TEMPERA_DEMO_MODEL, "--texts", "2", "-o", page, "--quiet",
             NULL));
    open_report();
    cr_assert_eq(browser_number(browser, "data.prompts[0].shown"), 2 * BIG_POINTS);
    cr_assert(browser_true(browser, "document.getElementById('note').textContent.includes('4000 of 100000')"));
}

/* ---- bad input ---- */

Test(report, nothing_half_written) {
    struct cli run = cli(NULL, "sweep", "report", "/nowhere/runs.db", "-o", page, NULL);
    cr_assert_neq(run.status, 0);
    cr_assert(cli_one_line(run.err), "%s", run.err);
    cr_assert_neq(access(page, F_OK), 0);
    cli_free(&run);
    run_sweep();
    run = cli(NULL, "sweep", "report", database, "-o", "/nowhere/report.html", NULL);
    cr_assert_eq(run.status, 1);
    cr_assert(cli_one_line(run.err), "%s", run.err);
    cli_free(&run);
    run = cli(NULL, "sweep", "report", database, "--baseline", "no such setting", "-o", page, NULL);
    cr_assert_eq(run.status, 2);
    cr_assert(cli_one_line(run.err), "%s", run.err);
    cli_free(&run);
    run = cli(NULL, "sweep", "report", NULL);
    cr_assert_eq(run.status, 2);
    cr_assert(cli_one_line(run.err), "%s", run.err);
    cli_free(&run);
    run = cli(NULL, "sweep", "report", database, "-o", "-", "--quiet", NULL);
    cr_assert_eq(run.status, 0);
    cr_assert_eq(strncmp(run.out, "<!doctype html>", 15), 0);
    cli_free(&run);
}

/* ---- one distribution ---- */

Test(report, probs_page_shows_what_probs_prints) {
    NEEDS_BROWSER();
    static const char *const words[] = {"probs",
                                        "-p",
                                        "Tom had a <b>big</b>",
                                        "--temperature",
                                        "1.5",
                                        "--top-k",
                                        "40",
                                        "--top-p",
                                        "0.8",
                                        "--top",
                                        "12",
                                        "--json",
                                        NULL};
    struct cli_way way = {.input = NULL};
    struct cli run = cli_run(&way, words);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *json = cli_json(run.out, -1);
    must(cli(NULL, "probs", "-p", "Tom had a <b>big</b>", "--temperature", "1.5", "--top-k", "40", "--top-p", "0.8",
             "--top", "12", "--html", page, NULL));
    open_page(page);
    char *prompt = text_of("document.getElementById('prompt').textContent");
    cr_assert(strstr(prompt, "Tom had a <b>big</b>"));
    free(prompt);
    for (int i = 0; i < 12; i++) {
        const cJSON *token = cJSON_GetArrayItem(cli_get(json, "tokens"), i);
        for (int column = 0; column < 4; column++) {
            char expression[200];
            double logprob = cli_number(token, "logprob");
            if (column) {
                const cJSON *stage = cJSON_GetArrayItem(cli_get(json, "stages"), column - 1);
                logprob = cJSON_GetArrayItem(cli_get(stage, "final_logprob"), i)->valuedouble;
                if (cJSON_IsNull(cJSON_GetArrayItem(cli_get(stage, "final_logprob"), i))) logprob = -INFINITY;
            }
            snprintf(expression, sizeof expression,
                     "document.querySelector('.next').tBodies[0].rows[%d].cells[%d].querySelector('.out').textContent",
                     i, column + 1);
            char *text = text_of(expression);
            if (isinf(logprob)) {
                cr_assert_str_eq(text, "removed");
            } else {
                cr_assert_eq(text[strlen(text) - 1], '%');
                text[strlen(text) - 1] = 0;
                cr_assert(text[0] == '<' || shows(text, 100 * exp(logprob)), "%s%% is not %g", text,
                          100 * exp(logprob));
            }
            free(text);
        }
    }
    /* The map at temperature 1.5 and top_p 1 is what a run with those settings says. */
    run = cli(NULL, "probs", "-p", "Tom had a <b>big</b>", "--temperature", "1.5", "--top", "1", "--json", NULL);
    cJSON *plain = cli_json(run.out, -1);
    near(browser_number(browser, "data.plane_logprob[14 * 20 + 19]"),
         cli_number(cJSON_GetArrayItem(cli_get(plain, "tokens"), 0), "final_logprob"), "largest probability");
    cli_free(&run);
    cJSON_Delete(plain);
    cJSON_Delete(json);
}
