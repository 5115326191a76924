/* cmd_probs.c: the next token's distribution, raw and after each step of the sampling chain. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "input.h"
#include "json_writer.h"
#include "output.h"
#include "sampling_args.h"

struct probs_args {
    struct common_args common;
    struct prompt_args prompt;
    struct sampling_args sampling;
    int32_t top;
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
};

static const char notes[] =
    "The first column is the model's own distribution; each further one is the distribution after one more step "
    "of the sampling chain, for the steps that change anything under these settings. The bar is the last column; "
    "- marks a token that a filter removed. Below: how many tokens are left, and the model's probability of "
    "those.\n"
    "--json: tokens, most likely first, each with logprob and final_logprob after the whole chain; stages, each "
    "with kept, kept_mass and final_logprob for each token (null: removed).";

static const char examples[] = "  tempera probs -p \"Once upon a\"\n"
                               "  tempera probs -p \"Once upon a\" --temperature 0.7 --top-k 40 --top-p 0.9 --top 20\n";

/* The chain cut after each step that does something. */
struct chain {
    tempera_sampling settings[TEMPERA_STAGE_COUNT + 1];
    const char *names[TEMPERA_STAGE_COUNT + 1];
    size_t count;
};

struct distribution {
    int32_t top;
    int32_t token[32];
    float logprob[32];
    float final_logprob[(TEMPERA_STAGE_COUNT + 1) * 32];
    tempera_token_stat stats[TEMPERA_STAGE_COUNT + 1];
};

static bool stage_acts(const tempera_sampling *s, tempera_stage stage) {
    switch (stage) {
    case TEMPERA_STAGE_PENALTIES:
        return s->repetition_penalty != 1 || s->frequency_penalty != 0 || s->presence_penalty != 0 ||
               s->no_repeat_ngram > 0;
    case TEMPERA_STAGE_BIAS: return s->logit_bias_count > 0;
    case TEMPERA_STAGE_TEMPERATURE: return s->temperature != 1 || s->temperature_end >= 0 || s->dynatemp_range > 0;
    case TEMPERA_STAGE_TOP_K: return s->top_k > 0;
    case TEMPERA_STAGE_TOP_P: return s->top_p < 1 || s->top_p_end >= 0 || s->top_p_distinct > 0;
    case TEMPERA_STAGE_MIN_P: return s->min_p > 0;
    case TEMPERA_STAGE_TYPICAL_P: return s->typical_p < 1;
    case TEMPERA_STAGE_COUNT: break;
    }
    return false;
}

static void build_chain(struct chain *chain, const tempera_sampling *sampling) {
#define STAGE_NAME(name, text) text,
    static const char *const names[] = {TEMPERA_STAGE_MAP(STAGE_NAME)};
#undef STAGE_NAME
    for (uint8_t i = 0; i < sampling->order.count; i++) {
        tempera_stage stage = (tempera_stage)sampling->order.stage[i];
        if (!stage_acts(sampling, stage)) continue;
        chain->settings[chain->count] = *sampling;
        chain->settings[chain->count].order.count = (uint8_t)(i + 1);
        chain->names[chain->count++] = names[stage];
    }
}

/* Whether a step has no one value: it depends on the text so far, or on the scores. */
static bool stage_changes(const char *name, const tempera_sampling *s) {
    if (strcmp(name, "temperature") == 0) return s->temperature_end >= 0 || s->dynatemp_range > 0;
    return strcmp(name, "top_p") == 0 && (s->top_p_end >= 0 || s->top_p_distinct > 0);
}

/* The value that a step has, for its heading: "top_k 40". */
static void stage_heading(struct strbuf *b, const char *name, const tempera_sampling *s) {
    strbuf_text(b, name);
    if (stage_changes(name, s)) return;
#define STAGE_VALUE(field)                                                                                             \
    if (strcmp(name, #field) == 0) {                                                                                   \
        strbuf_char(b, ' ');                                                                                           \
        strbuf_float(b, (float)s->field);                                                                              \
    }
    STAGE_VALUE(temperature)
    STAGE_VALUE(top_k)
    STAGE_VALUE(top_p)
    STAGE_VALUE(min_p)
    STAGE_VALUE(typical_p)
#undef STAGE_VALUE
}

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

static void footer(struct strbuf *out, const char *name, const struct chain *chain, const struct strbuf *headings,
                   const struct distribution *d, int32_t vocab_size, bool mass) {
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

static void print_table(const struct session *session, const struct chain *chain, const struct distribution *d) {
    struct strbuf out = {0}, headings[TEMPERA_STAGE_COUNT + 1] = {{0}};
    size_t used = 9 + TOKEN_COLUMNS + 2 + RAW_COLUMNS;
    bool blocks = !terminal_is(stdout) || terminal_utf8();
    strbuf_printf(&out, "%7s  %-*s  %*s", "id", TOKEN_COLUMNS, "token", RAW_COLUMNS, "raw");
    for (size_t s = 0; s < chain->count; s++) {
        stage_heading(&headings[s], chain->names[s], &chain->settings[s]);
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

static void json_tokens(struct json *j, const struct session *session, const struct chain *chain,
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

static void json_stages(struct json *j, const struct chain *chain, const struct distribution *d) {
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

static void print_json(const struct session *session, const struct setting_list *settings, const struct chain *chain,
                       const struct distribution *d, size_t prompt_tokens) {
    struct json j = {0};
    json_object(&j, NULL);
    json_uint(&j, "prompt_tokens", prompt_tokens);
    json_float(&j, "entropy", d->stats[0].entropy);
    json_tokens(&j, session, chain, d);
    json_stages(&j, chain, d);
    settings_json(&j, &settings->items[0], &settings->sources[0]);
    session_json(&j, session);
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

/* ---- the command ---- */

static int check_flags(const struct probs_args *args, const struct prompt_list *prompts) {
    if (prompts->count > 1) return complain(EXIT_USAGE, "probs: one prompt at a time, got %zu", prompts->count);
    if (args->sampling.settings.count > 1)
        return complain(EXIT_USAGE, "probs: one --setting at a time, got %zu", args->sampling.settings.count);
    return EXIT_DONE;
}

static int show(const struct probs_args *args, struct session *session, const struct setting_list *settings,
                const struct prompt *prompt) {
    struct chain chain = {.count = 0};
    struct distribution d = {.top = args->top};
    tempera_error err;
    tempera_engine_options options = session_options(&args->common);
    if (d.top > session->info.vocab_size) d.top = session->info.vocab_size;
    build_chain(&chain, &settings->items[0]);
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
