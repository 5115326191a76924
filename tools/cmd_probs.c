/* cmd_probs.c: the next token's distribution, raw and after each step of the sampling chain. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "filter_chain.h"
#include "input.h"
#include "json_writer.h"
#include "output.h"
#include "page.h"
#include "sampling_args.h"

struct probs_args {
    struct common_args common;
    struct prompt_args prompt;
    struct sampling_args sampling;
    int32_t top;
    const char *html;
};

static const struct arg probs_args_table[] = {
    {.name = "top",
     .letter = 'n',
     .kind = ARG_INT,
     .offset = offsetof(struct probs_args, top),
     .meta = "N",
     .text = "show the N most likely tokens",
     .initial = "10",
     .low = 1,
     .high = 32},
    {.name = "html",
     .kind = ARG_TEXT,
     .offset = offsetof(struct probs_args, html),
     .meta = "FILE",
     .text = "write a page that opens offline: bars before and after each step, and the largest probability over "
             "temperature and top-p"},
};

static const char notes[] =
    "The first column is the model's own distribution; each further one is the distribution after one more step "
    "of the sampling chain, for the steps that change anything under these settings. The bar is the last column; "
    "- marks a token that a filter removed. Below: how many tokens are left, and the model's probability of "
    "those.\n"
    "--json: tokens, most likely first, each with logprob and final_logprob after the whole chain; stages, each "
    "with kept, kept_mass and final_logprob for each token (null: removed).";

static const char examples[] = "  tempera probs -p \"Once upon a\"\n"
                               "  tempera probs -p \"Once upon a\" --temperature 0.7 --top-k 40 --top-p 0.9 --top 20\n"
                               "  tempera probs -p \"Once upon a\" --top-p 0.9 --html next.html\n";

struct distribution {
    int32_t top;
    int32_t token[32];
    float logprob[32];
    float final_logprob[(TEMPERA_STAGE_COUNT + 1) * 32];
    tempera_token_stat stats[TEMPERA_STAGE_COUNT + 1];
};

/* ---- text ---- */

enum { TOKEN_COLUMNS = 18, RAW_COLUMNS = 8 };

/* Eighths of a column in UTF-8, whole # otherwise. */
static void bar(struct strbuf *b, double share, size_t columns, bool blocks) {
    static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t eighths = (size_t)(share * (double)columns * 8 + 0.5);
    for (size_t i = 0; i < eighths / 8; i++) strbuf_text(b, blocks ? "█" : "#");
    if (blocks) strbuf_text(b, parts[eighths % 8]);
}

static void percent_cell(struct strbuf *out, float logprob, size_t columns) {
    char text[32] = "-";
    if (!isinf(logprob)) snprintf(text, sizeof text, "%.2f%%", 100 * exp((double)logprob));
    strbuf_printf(out, "  %*s", (int)columns, text);
}

static void token_cell(struct strbuf *out, const tempera_model *model, int32_t id) {
    struct strbuf cell = {0};
    size_t length;
    char *text = token_text(model, id, &length);
    if (text) {
        strbuf_char(&cell, '"');
        show_escaped(&cell, text, length);
        strbuf_char(&cell, '"');
    }
    tempera_free(text);
    strbuf_printf(out, "%7d  ", id);
    show_cell(out, cell.data ? cell.data : "", TOKEN_COLUMNS);
    strbuf_free(&cell);
}

static void footer(struct strbuf *out, const char *name, const struct filter_chain *chain,
                   const struct strbuf *headings, const struct distribution *d, int32_t vocab_size, bool mass) {
    strbuf_printf(out, "%9s%-*s", "", TOKEN_COLUMNS, name);
    if (mass)
        strbuf_printf(out, "  %*.2f%%", RAW_COLUMNS - 1, 100.0);
    else
        strbuf_printf(out, "  %*d", RAW_COLUMNS, vocab_size);
    for (size_t s = 0; s < chain->count; s++) {
        if (mass)
            strbuf_printf(out, "  %*.2f%%", (int)headings[s].length - 1, 100 * (double)d->stats[s].kept_mass);
        else
            strbuf_printf(out, "  %*d", (int)headings[s].length, d->stats[s].kept);
    }
    strbuf_char(out, '\n');
}

static void print_table(const struct session *session, const struct filter_chain *chain, const struct distribution *d) {
    struct strbuf out = {0}, headings[TEMPERA_STAGE_COUNT + 1] = {{0}};
    size_t used = 9 + TOKEN_COLUMNS + 2 + RAW_COLUMNS;
    bool blocks = !terminal_is(stdout) || terminal_utf8();
    strbuf_printf(&out, "%7s  %-*s  %*s", "id", TOKEN_COLUMNS, "token", RAW_COLUMNS, "raw");
    for (size_t s = 0; s < chain->count; s++) {
        filter_chain_heading(&headings[s], chain, s);
        if (headings[s].length < RAW_COLUMNS) { /* room for 100.00% */
            struct strbuf padded = {0};
            strbuf_printf(&padded, "%*s", RAW_COLUMNS, headings[s].data);
            strbuf_free(&headings[s]);
            headings[s] = padded;
        }
        strbuf_printf(&out, "  %s", headings[s].data);
        used += 2 + headings[s].length;
    }
    strbuf_char(&out, '\n');
    size_t width = terminal_width(), room = width > used + 12 ? width - used - 3 : 10;
    for (int32_t i = 0; i < d->top; i++) {
        float last = d->logprob[i];
        token_cell(&out, session->model, d->token[i]);
        percent_cell(&out, d->logprob[i], RAW_COLUMNS);
        for (size_t s = 0; s < chain->count; s++) {
            last = d->final_logprob[s * (size_t)d->top + (size_t)i];
            percent_cell(&out, last, headings[s].length);
        }
        strbuf_text(&out, "  ");
        bar(&out, exp((double)last), room, blocks);
        while (out.data[out.length - 1] == ' ') out.data[--out.length] = 0;
        strbuf_char(&out, '\n');
    }
    footer(&out, "tokens left", chain, headings, d, session->info.vocab_size, false);
    footer(&out, "their probability", chain, headings, d, 0, true);
    strbuf_printf(&out, "%9sentropy %.4f nats\n", "", (double)d->stats[0].entropy);
    output_buf(&out);
    strbuf_free(&out);
    for (size_t s = 0; s < chain->count; s++) strbuf_free(&headings[s]);
}

/* ---- JSON ---- */

static void json_tokens(struct json *j, const struct session *session, const struct filter_chain *chain,
                        const struct distribution *d) {
    json_array(j, "tokens");
    for (int32_t i = 0; i < d->top; i++) {
        size_t length, last = chain->count;
        char *text = token_text(session->model, d->token[i], &length);
        json_object(j, NULL);
        if (text)
            json_bytes(j, "token", text, length);
        else
            json_null(j, "token");
        json_int(j, "id", d->token[i]);
        json_float(j, "logprob", d->logprob[i]);
        json_float(j, "final_logprob",
                   last ? d->final_logprob[(last - 1) * (size_t)d->top + (size_t)i] : d->logprob[i]);
        json_end(j);
        tempera_free(text);
    }
    json_end(j);
}

static void json_stages(struct json *j, const struct filter_chain *chain, const struct distribution *d) {
    json_array(j, "stages");
    for (size_t s = 0; s < chain->count; s++) {
        json_object(j, NULL);
        json_text(j, "stage", chain->names[s]);
        json_int(j, "kept", d->stats[s].kept);
        json_float(j, "kept_mass", d->stats[s].kept_mass);
        json_array(j, "final_logprob");
        for (int32_t i = 0; i < d->top; i++) json_float(j, NULL, d->final_logprob[s * (size_t)d->top + (size_t)i]);
        json_end(j);
        json_end(j);
    }
    json_end(j);
}

static void json_distribution(struct json *j, const struct session *session, const struct setting_list *settings,
                              const struct filter_chain *chain, const struct distribution *d, size_t prompt_tokens) {
    json_uint(j, "prompt_tokens", prompt_tokens);
    json_float(j, "entropy", d->stats[0].entropy);
    json_tokens(j, session, chain, d);
    json_stages(j, chain, d);
    settings_json(j, &settings->items[0], &settings->sources[0]);
    session_json(j, session);
}

static void print_json(const struct session *session, const struct setting_list *settings,
                       const struct filter_chain *chain, const struct distribution *d, size_t prompt_tokens) {
    struct json j = {0};
    json_object(&j, NULL);
    json_distribution(&j, session, settings, chain, d, prompt_tokens);
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

/* ---- the page ---- */

/* The prompt as the model sees it, special tokens spelled out. */
static void json_prompt(struct json *j, const struct session *session, const struct prompt *prompt) {
    struct strbuf text = {0};
    for (size_t i = 0; i < prompt->count; i++) {
        size_t length;
        char *piece = token_text(session->model, prompt->ids[i], &length);
        if (piece) strbuf_add(&text, piece, length);
        tempera_free(piece);
    }
    json_bytes(j, "prompt", text.data ? text.data : "", text.length);
    strbuf_free(&text);
}

static void json_headings(struct json *j, const struct filter_chain *chain) {
    json_array(j, "headings");
    for (size_t s = 0; s < chain->count; s++) {
        struct strbuf heading = {0};
        filter_chain_heading(&heading, chain, s);
        json_text(j, NULL, heading.data);
        strbuf_free(&heading);
    }
    json_end(j);
}

static void json_plane(struct json *j, const struct plane *plane) {
    plane_axes_json(j);
    json_array(j, "plane_logprob");
    for (size_t i = 0; i < PLANE_POINTS; i++) json_float(j, NULL, plane->logprob[i]);
    json_end(j);
    json_array(j, "plane_kept");
    for (size_t i = 0; i < PLANE_POINTS; i++) json_int(j, NULL, plane->kept[i]);
    json_end(j);
}

/* The page's data are the members of --json, then "vocab_size", "prompt", "headings" and the plane. */
static int write_page(const char *path, const struct session *session, const struct setting_list *settings,
                      const struct filter_chain *chain, const struct distribution *d, const struct prompt *prompt) {
    struct json j = {0};
    struct page page;
    struct plane plane;
    tempera_error err;
    if (plane_make(&plane, session->engine, prompt->ids, prompt->count, &err) != TEMPERA_OK)
        return complain_error(&err);
    int status = page_open(&page, path, PAGE_PROBS);
    if (status) return status;
    json_object(&j, NULL);
    json_distribution(&j, session, settings, chain, d, prompt->count);
    json_int(&j, "vocab_size", session->info.vocab_size);
    json_prompt(&j, session, prompt);
    json_headings(&j, chain);
    json_plane(&j, &plane);
    json_end(&j);
    page_json(&page, &j);
    strbuf_free(&j.out);
    return page_close(&page, true);
}

/* ---- the command ---- */

static int check_flags(const struct probs_args *args, const struct prompt_list *prompts) {
    if (prompts->count > 1) return complain(EXIT_USAGE, "probs: one prompt at a time, got %zu", prompts->count);
    if (args->html && args->common.json) return complain(EXIT_USAGE, "probs: --html and --json: one of them");
    if (args->sampling.settings.count > 1)
        return complain(EXIT_USAGE, "probs: one --setting at a time, got %zu", args->sampling.settings.count);
    return EXIT_DONE;
}

static int show(const struct probs_args *args, struct session *session, const struct setting_list *settings,
                const struct prompt *prompt) {
    struct filter_chain chain = filter_chain_make(&settings->items[0]);
    struct distribution d = {.top = args->top};
    tempera_error err;
    tempera_engine_options options = session_options(&args->common);
    if (d.top > session->info.vocab_size) d.top = session->info.vocab_size;
    options.max_rows = 1;
    options.max_branches = 32;
    int status = session_start(session, &options);
    if (status) return status;
    /* Without any step that acts, one pass-through setting still brings the entropy. */
    tempera_sampling plain = tempera_sampling_default();
    const tempera_sampling *passes = chain.count ? chain.settings : &plain;
    if (tempera_next(session->engine, prompt->ids, prompt->count, passes, chain.count ? chain.count : 1, d.top, d.token,
                     d.logprob, d.final_logprob, d.stats, &err) != TEMPERA_OK)
        return complain_error(&err);
    if (args->html) return write_page(args->html, session, settings, &chain, &d, prompt);
    if (args->common.json)
        print_json(session, settings, &chain, &d, prompt->count);
    else
        print_table(session, &chain, &d);
    return EXIT_DONE;
}

static int probs_run(void *user) {
    struct probs_args *args = user;
    struct session session = {0};
    struct prompt_list prompts = {0};
    struct setting_list settings = {0};
    int status = prompt_list_read(&prompts, &args->prompt);
    if (!status) status = check_flags(args, &prompts);
    if (!status) status = session_open(&session, &args->common);
    if (!status) status = setting_list_make(&settings, &args->sampling, session.model);
    if (!status) status = prompt_list_encode(&prompts, &args->prompt, session.model);
    if (!status) status = show(args, &session, &settings, &prompts.items[0]);
    session_close(&session);
    setting_list_free(&settings);
    prompt_list_free(&prompts);
    return status;
}

int cmd_probs(int argc, char **argv) {
    struct probs_args args = {.common = common_defaults, .top = 10};
    const struct arg_command command = {
        .name = "probs",
        .summary = "the next token's distribution, raw and after each filter",
        .synopsis = "[--model DIR] [--prompt TEXT] [flags]",
        .notes = notes,
        .examples = examples,
        .positional = &args.prompt.words,
        .groups = {{"Prompt", prompt_args, sizeof prompt_args / sizeof *prompt_args, &args.prompt},
                   {"Distribution", probs_args_table, sizeof probs_args_table / sizeof *probs_args_table, &args},
                   SAMPLING_FILTER_GROUPS(&args.sampling),
                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, probs_run, &args);
}
