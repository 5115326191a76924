/* cmd_score.c: the log-probability of a text, token by token. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "figures.h"
#include "input.h"
#include "json_writer.h"
#include "output.h"
#include "sampling_args.h"
#include "score_choices.h"
#include "sweep/inference.h"

struct score_args {
    struct common_args common;
    struct sampling_args sampling;
    struct choice_args choice;
    struct text_list words, texts, files, ids;
    const char *against;
    int32_t stride;
    bool no_special, plain, summary;
};

static const struct arg score_text_args[] = {
    {.name = "text",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, texts),
     .meta = "TEXT",
     .text = "the text; also without the flag"},
    {.name = "file",
     .letter = 'f',
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, files),
     .meta = "FILE",
     .text = "the whole file is the text; - = standard input"},
    {.name = "ids",
     .letter = 'i',
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, ids),
     .meta = "IDS",
     .text = "token ids, \"1 2 3\", used as they are"},
    {.name = "no-special",
     .kind = ARG_FLAG,
     .offset = offsetof(struct score_args, no_special),
     .text = "do not add what the tokenizer puts around a text (a begin-of-text token ...)"},
    {.name = "plain",
     .kind = ARG_FLAG,
     .offset = offsetof(struct score_args, plain),
     .text = "text that spells a special token, such as <|endoftext|>, is ordinary text"},
};

static const struct arg score_how_args[] = {
    {.name = "choices",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, choice.joined),
     .meta = "A|B|C",
     .text = "rank these continuations of the text, written as they are: with the space in front that the text needs"},
    {.name = "choice",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_args, choice.single),
     .meta = "TEXT",
     .text = "one more continuation; for those that hold a |"},
    {.name = "stride",
     .kind = ARG_INT,
     .offset = offsetof(struct score_args, stride),
     .meta = "N",
     .text = "score a text longer than the context in windows that move on by N tokens; 0 = refuse it",
     .initial = "0",
     .low = 0,
     .high = INT32_MAX},
    {.name = "against",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct score_args, against),
     .meta = "TYPE",
     .text = "score with weights of this type too, and tell what --dtype loses, with its 95% interval",
     .choices = "auto|f32|bf16|f16|q8|q4"},
    {.name = "summary",
     .kind = ARG_FLAG,
     .offset = offsetof(struct score_args, summary),
     .text = "only the totals, not every token"},
};

static const char notes[] =
    "Log-probabilities are natural logarithms. Nothing predicts the first token, so it has none; most tokenizers "
    "put a begin-of-text token there. The count and the perplexity are over the tokens that have one.\n"
    "With --stride each window is as long as the context, and scores only the tokens that no window before it "
    "has: they see at least context - stride tokens before them. A small stride is exact and slow.\n"
    "With any sampling flag each token also gets final_logprob (of the distribution it would be drawn from), kept "
    "(how many tokens survive the filters) and kept_mass (their probability), for each setting.\n"
    "--against f32 scores the text twice, and compares token by token: the ratio of the perplexities is exp of the "
    "mean "
    "difference, its interval from bootstrap over stretches of 32 tokens.\n"
    "--json: {tokens: [{id, piece, logprob}], total_logprob, perplexity, count}; null stands for the first "
    "token's logprob, and for a total or a final_logprob of minus infinity (a token that the filters removed; "
    "\"removed\" counts them).";

static const char examples[] = "  tempera score \"The cat sat on the mat.\"\n"
                               "  tempera score --file book.txt --stride 256 --summary\n"
                               "  tempera score \"The capital of France is\" --choices \" Paris| London| Rome\"\n"
                               "  tempera score \"Once upon a time\" --temperature 0.7 --top-k 40 --json\n"
                               "  tempera score --file book.txt --stride 256 --summary --dtype q4 --against f32\n";

/* ---- input ---- */

struct score_input {
    struct text text; /* bytes NULL: ids were given */
    struct prompt ids;
};

static int read_input(const struct score_args *args, struct score_input *input) {
    size_t given = args->words.count + args->texts.count + args->files.count + args->ids.count;
    if (given > 1) return complain(EXIT_USAGE, "score: one text at a time, got %zu", given);
    if (given == 0 && terminal_is(stdin))
        return complain(EXIT_USAGE, "score: no text given (see tempera score --help)");
    if (args->ids.count) return parse_ids(args->ids.items[0], "--ids", &input->ids) ? EXIT_DONE : EXIT_USAGE;
    if (args->files.count || given == 0) return read_text(given ? args->files.items[0] : "-", &input->text);
    const char *text = args->words.count ? args->words.items[0] : args->texts.items[0];
    if (strcmp(text, "-") == 0) return read_text("-", &input->text);
    input->text = (struct text){xdup(text, strlen(text)), strlen(text)};
    return EXIT_DONE;
}

/* ---- scoring ---- */

struct loss;

struct scored {
    const struct session *session;
    const struct prompt *ids;
    const struct setting_list *settings; /* NULL: the plain model */
    size_t rows;                         /* settings, or 1 */
    size_t windows;
    tempera_token_stat *stats; /* [rows][ids->count] */
    const struct loss *loss;   /* NULL: not asked for */
};

/* What weights of one type lose against those of another, on one text. */
struct loss {
    char dtype[8]; /* of the other */
    double perplexity;
    struct estimate difference; /* log-probability of a token, less the other's; its units are stretches of the text */
};

/* Tokens begin … end-1 in one pass; keeps the figures of those from `from` on. */
static int score_window(struct scored *scored, size_t begin, size_t end, size_t from) {
    tempera_error err;
    size_t length = end - begin;
    const tempera_sampling *settings = scored->settings ? scored->settings->items : NULL;
    tempera_token_stat *stats = xarray(scored->rows * length, sizeof *stats);
    int status = EXIT_DONE;
    if (tempera_score(scored->session->engine, scored->ids->ids + begin, length, settings, settings ? scored->rows : 0,
                      stats, &err) == TEMPERA_OK) {
        for (size_t s = 0; s < scored->rows; s++)
            memcpy(scored->stats + s * scored->ids->count + from, stats + s * length + (from - begin),
                   (end - from) * sizeof *stats);
        scored->windows++;
    } else if (!interrupted()) {
        status = complain_error(&err);
    }
    free(stats);
    return status ? status : interrupted() ? EXIT_INTERRUPTED : EXIT_DONE;
}

static int score_all(struct scored *scored, int32_t stride) {
    size_t count = scored->ids->count, context = (size_t)scored->session->plan.context;
    if (count <= context) return score_window(scored, 0, count, 0);
    if (stride == 0)
        return complain(EXIT_FAILED, "the text has %zu tokens and the context %zu; --stride N scores it in windows",
                        count, context);
    if ((size_t)stride >= context)
        return complain(EXIT_USAGE, "--stride: expected less than the context of %zu tokens, got %d", context, stride);
    size_t done = 0;
    for (size_t begin = 0; done < count; begin += (size_t)stride) {
        size_t end = begin + context < count ? begin + context : count;
        int status = score_window(scored, begin, end, done);
        if (status) return status;
        done = end;
        progress_show("%zu of %zu tokens", done, count);
    }
    return EXIT_DONE;
}

/* ---- totals ---- */

struct total {
    double logprob, final_logprob;
    size_t count, removed;
};

static struct total total_of(const struct scored *scored, size_t row) {
    struct total total = {0, 0, 0, 0};
    for (size_t i = 0; i < scored->ids->count; i++) {
        const tempera_token_stat *stat = &scored->stats[row * scored->ids->count + i];
        if (isnan(stat->logprob)) continue;
        total.logprob += (double)stat->logprob;
        total.final_logprob += (double)stat->final_logprob;
        total.removed += isinf(stat->final_logprob) != 0;
        total.count++;
    }
    return total;
}

static double perplexity(double logprob, size_t count) {
    return count ? exp(-logprob / (double)count) : (double)NAN;
}

/* NaN when part of the text was not scored or ids were given. */
static double bits_per_byte(const struct scored *scored, const struct score_input *input, const struct total *total) {
    bool whole = input->text.length > 0 && total->count + 1 == scored->ids->count &&
                 tempera_is_special(scored->session->model, scored->ids->ids[0]);
    return whole ? -total->logprob / log(2) / (double)input->text.length : (double)NAN;
}

/* ---- what a type of weights loses ---- */

/* Tokens depend on those before them: their differences are taken together in stretches, each with its share of the
 * tokens, so that the mean is that of all tokens. */
static struct estimate mean_difference(const tempera_token_stat *a, const tempera_token_stat *b, size_t count) {
    enum { STRETCH = 32 };
    size_t scored = count - 1, units = (scored + STRETCH - 1) / STRETCH;
    double *values = xarray(units, sizeof *values);
    for (size_t i = 0; i < scored; i++)
        values[i / STRETCH] += ((double)a[i + 1].logprob - (double)b[i + 1].logprob) * (double)units / (double)scored;
    struct resamples *resamples = resamples_new();
    struct estimate estimate = estimate_mean(resamples, values, units);
    resamples_free(resamples);
    free(values);
    return estimate;
}

static double perplexity_of(const tempera_token_stat *stats, size_t count) {
    double sum = 0;
    for (size_t i = 1; i < count; i++) sum += (double)stats[i].logprob;
    return perplexity(sum, count - 1);
}

static int start_engine(struct session *session, const struct score_args *args, const char *dtype, size_t settings);

/* Scores again with other weights; the session keeps the plan of the first. */
static int measure_loss(struct loss *loss, const struct scored *scored, const struct score_args *args,
                        struct session *session) {
    const tempera_plan plan = session->plan;
    struct scored again = {.session = session, .ids = scored->ids, .rows = 1};
    size_t count = scored->ids->count;
    session_stop(session);
    int status = start_engine(session, args, args->against, 1);
    if (status) return status;
    memcpy(loss->dtype, session->plan.dtype, sizeof loss->dtype);
    again.stats = xarray(count, sizeof *again.stats);
    status = score_all(&again, args->stride);
    if (!status && count > 1) {
        loss->perplexity = perplexity_of(again.stats, count);
        loss->difference = mean_difference(scored->stats, again.stats, count);
    }
    free(again.stats);
    session->plan = plan;
    return status;
}

static void print_loss(struct strbuf *out, const struct loss *loss, const char *dtype) {
    const struct estimate *d = &loss->difference;
    if (isnan(d->mean)) return; /* nothing was scored */
    strbuf_printf(out, "%s against %s: perplexity %.4f there, %.4f times that here", dtype, loss->dtype,
                  loss->perplexity, exp(-d->mean));
    if (!isnan(d->low)) strbuf_printf(out, " (95%% %.4f to %.4f)", exp(-d->high), exp(-d->low));
    strbuf_char(out, '\n');
}

static void loss_json(struct json *j, const struct loss *loss) {
    json_object(j, "against");
    json_text(j, "dtype", loss->dtype);
    json_double(j, "perplexity", loss->perplexity);
    json_double(j, "perplexity_ratio", exp(-loss->difference.mean));
    json_double(j, "low", exp(-loss->difference.high));
    json_double(j, "high", exp(-loss->difference.low));
    json_end(j);
}

/* ---- text ---- */

static void number_cell(struct strbuf *out, float value) {
    if (isnan(value))
        strbuf_printf(out, " %9s", "-");
    else
        strbuf_printf(out, " %9.4f", (double)value);
}

static void print_tokens(struct strbuf *out, const struct scored *scored) {
    size_t count = scored->ids->count;
    strbuf_text(out, "  token      id   logprob  probability");
    for (size_t s = 0; scored->settings && s < scored->rows; s++) strbuf_printf(out, "  final %-3zu   kept", s);
    strbuf_text(out, "  piece\n");
    for (size_t i = 0; i < count; i++) {
        size_t length;
        const char *piece = token_piece(scored->session->model, scored->ids->ids[i], &length);
        const tempera_token_stat *stat = &scored->stats[i];
        strbuf_printf(out, "%7zu %7d", i, scored->ids->ids[i]);
        number_cell(out, stat->logprob);
        if (isnan(stat->logprob))
            strbuf_printf(out, " %12s", "-");
        else
            strbuf_printf(out, " %11.4f%%", 100 * exp((double)stat->logprob));
        for (size_t s = 0; scored->settings && s < scored->rows; s++) {
            strbuf_text(out, " ");
            number_cell(out, stat[s * count].final_logprob);
            if (i == 0)
                strbuf_printf(out, " %6s", "-");
            else
                strbuf_printf(out, " %6d", stat[s * count].kept);
        }
        strbuf_text(out, "  ");
        show_escaped(out, piece, length);
        strbuf_char(out, '\n');
    }
    strbuf_char(out, '\n');
}

static void print_totals(struct strbuf *out, const struct scored *scored, const struct score_input *input) {
    struct total total = total_of(scored, 0);
    double bits = bits_per_byte(scored, input, &total);
    strbuf_printf(out, "%zu tokens scored, total log-probability %.4f, perplexity %.4f", total.count, total.logprob,
                  perplexity(total.logprob, total.count));
    if (!isnan(bits)) strbuf_printf(out, ", %.4f bits per byte", bits);
    if (scored->windows > 1) strbuf_printf(out, " (%zu windows)", scored->windows);
    strbuf_char(out, '\n');
    if (scored->loss) print_loss(out, scored->loss, scored->session->plan.dtype);
    for (size_t s = 0; scored->settings && s < scored->rows; s++) {
        total = total_of(scored, s);
        strbuf_printf(out, "setting %zu (", s);
        setting_describe(out, &scored->settings->items[s], SAMPLING_FILTERS);
        strbuf_printf(out, "): total %.4f, perplexity %.4f", total.final_logprob,
                      perplexity(total.final_logprob, total.count));
        if (total.removed) strbuf_printf(out, ", %zu tokens removed by the filters", total.removed);
        strbuf_char(out, '\n');
    }
}

/* ---- JSON ---- */

static void json_tokens(struct json *j, const struct scored *scored) {
    size_t count = scored->ids->count;
    json_array(j, "tokens");
    for (size_t i = 0; i < count; i++) {
        size_t length;
        const char *piece = token_piece(scored->session->model, scored->ids->ids[i], &length);
        json_object(j, NULL);
        json_int(j, "id", scored->ids->ids[i]);
        json_bytes(j, "piece", piece, length);
        json_float(j, "logprob", scored->stats[i].logprob);
        json_float(j, "entropy", scored->stats[i].entropy);
        if (scored->settings) json_array(j, "settings");
        for (size_t s = 0; scored->settings && s < scored->rows; s++) {
            const tempera_token_stat *stat = &scored->stats[s * count + i];
            json_object(j, NULL);
            json_float(j, "final_logprob", stat->final_logprob);
            if (i == 0)
                json_null(j, "kept");
            else
                json_int(j, "kept", stat->kept);
            json_float(j, "kept_mass", stat->kept_mass);
            json_end(j);
        }
        if (scored->settings) json_end(j);
        json_end(j);
    }
    json_end(j);
}

static void json_settings(struct json *j, const struct scored *scored) {
    json_array(j, "settings");
    for (size_t s = 0; s < scored->rows; s++) {
        struct total total = total_of(scored, s);
        json_object(j, NULL);
        json_uint(j, "setting_index", s);
        json_double(j, "total_final_logprob", total.final_logprob);
        json_double(j, "perplexity", perplexity(total.final_logprob, total.count));
        json_uint(j, "removed", total.removed);
        settings_json(j, &scored->settings->items[s], &scored->settings->sources[s]);
        json_end(j);
    }
    json_end(j);
}

static void print_json(const struct scored *scored, const struct score_input *input, bool summary) {
    struct json j = {0};
    struct total total = total_of(scored, 0);
    json_object(&j, NULL);
    if (!summary) json_tokens(&j, scored);
    json_double(&j, "total_logprob", total.logprob);
    json_double(&j, "perplexity", perplexity(total.logprob, total.count));
    json_uint(&j, "count", total.count);
    json_double(&j, "bits_per_byte", bits_per_byte(scored, input, &total));
    json_uint(&j, "windows", scored->windows);
    if (scored->loss) loss_json(&j, scored->loss);
    if (scored->settings) json_settings(&j, scored);
    session_json(&j, scored->session);
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

/* ---- the command ---- */

/* A step scores as many positions as the plan has rows of logits and branches for. */
static int start_engine(struct session *session, const struct score_args *args, const char *dtype, size_t settings) {
    enum { POSITIONS = 64, MOST_BRANCHES = 1048576 };
    tempera_engine_options options = session_options(&args->common);
    options.dtype = dtype;
    size_t branches = settings * POSITIONS;
    options.max_rows = POSITIONS;
    options.max_branches = branches < MOST_BRANCHES ? (int32_t)branches : MOST_BRANCHES;
    return session_start(session, &options);
}

static int score_text(const struct score_args *args, struct session *session, struct score_input *input,
                      const struct setting_list *settings) {
    bool filtered = sampling_args_given(&args->sampling);
    struct scored scored = {.session = session,
                            .ids = &input->ids,
                            .settings = filtered ? settings : NULL,
                            .rows = filtered ? settings->count : 1};
    if (!input->ids.ids) {
        int status = encode_text(session->model, &input->text, args->no_special, args->plain, &input->ids);
        if (status) return status;
    }
    if (input->ids.count == 0) return complain(EXIT_FAILED, "the text is empty: there is nothing to score");
    int status = start_engine(session, args, args->common.dtype, scored.rows);
    if (status) return status;
    scored.stats = xarray(scored.rows * input->ids.count, sizeof *scored.stats);
    struct loss loss = {.perplexity = NAN, .difference = {.mean = NAN, .low = NAN, .high = NAN}};
    status = score_all(&scored, args->stride);
    if (!status && args->common.stats && !args->common.quiet)
        figures_print(session, &(struct run_figures){0, 0}, NULL, true);
    if (!status && args->against) {
        status = measure_loss(&loss, &scored, args, session);
        scored.loss = &loss;
    }
    if (!status) {
        struct strbuf out = {0};
        if (args->common.json) {
            print_json(&scored, input, args->summary);
        } else {
            if (!args->summary) print_tokens(&out, &scored);
            print_totals(&out, &scored, input);
            output_buf(&out);
        }
        strbuf_free(&out);
    }
    free(scored.stats);
    return status;
}

static int rank_choices(const struct score_args *args, struct session *session, const struct score_input *input) {
    char **choices;
    size_t count = choices_split(&args->choice, &choices);
    int status = EXIT_DONE;
    if (count < 2) status = complain(EXIT_USAGE, "--choices: at least two are needed: \"A|B\"");
    if (!status) status = start_engine(session, args, args->common.dtype, 1);
    if (!status)
        status = choices_rank(session, &input->text, choices, count, args->no_special, args->plain, args->common.json);
    for (size_t i = 0; i < count; i++) free(choices[i]);
    free((void *)choices);
    return status;
}

static int check_flags(const struct score_args *args, bool choose) {
    if (!choose) return EXIT_DONE;
    if (sampling_args_given(&args->sampling)) return complain(EXIT_USAGE, "--choices does not go with sampling flags");
    if (args->ids.count || args->stride || args->summary || args->against)
        return complain(EXIT_USAGE, "--choices does not go with --ids, --stride, --summary or --against");
    return EXIT_DONE;
}

static int score_run(void *user) {
    struct score_args *args = user;
    bool choose = args->choice.joined.count + args->choice.single.count > 0;
    struct session session = {0};
    struct score_input input = {{0}, {0}};
    struct setting_list settings = {0};
    progress_allow(!args->common.quiet);
    int status = check_flags(args, choose);
    if (!status) status = read_input(args, &input);
    if (!status) status = session_open(&session, &args->common);
    if (!status) status = setting_list_make(&settings, &args->sampling, session.model);
    if (!status) status = choose ? rank_choices(args, &session, &input) : score_text(args, &session, &input, &settings);
    session_close(&session);
    setting_list_free(&settings);
    free(input.text.bytes);
    free(input.ids.ids);
    return status;
}

int cmd_score(int argc, char **argv) {
    struct score_args args = {.common = common_defaults};
    const struct arg_command command = {
        .name = "score",
        .summary = "log-probability of a text, perplexity, ranking of choices",
        .synopsis = "[--model DIR] [TEXT] [flags]",
        .notes = notes,
        .examples = examples,
        .positional = &args.words,
        .groups = {{"Text", score_text_args, sizeof score_text_args / sizeof *score_text_args, &args},
                   {"Scoring", score_how_args, sizeof score_how_args / sizeof *score_how_args, &args},
                   SAMPLING_FILTER_GROUPS(&args.sampling),
                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, score_run, &args);
}
