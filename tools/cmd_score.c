/* cmd_score.c: the log-probability of a text, token by token. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "figures.h"
#include "json_writer.h"
#include "output.h"
#include "sampling_args.h"
#include "score_choices.h"
#include "score_text.h"

struct score_args {
    struct common_args common;
    struct sampling_args sampling;
    struct choice_args choice;
    struct score_source source;
    const char *against;
    bool summary;
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

/* NaN when part of the text was not scored or ids were given. */
static double bits_per_byte(const struct scored *scored, const struct score_input *input, const struct total *total) {
    bool whole = input->text.length > 0 && total->count + 1 == scored->ids->count &&
                 tempera_is_special(scored->session->model, scored->ids->ids[0]);
    return whole ? -total->logprob / log(2) / (double)input->text.length : (double)NAN;
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

static void print_totals(struct strbuf *out, const struct scored *scored, const struct score_input *input,
                         const struct loss *loss) {
    struct total total = total_of(scored, 0);
    double bits = bits_per_byte(scored, input, &total);
    strbuf_printf(out, "%zu tokens scored, total log-probability %.4f, perplexity %.4f", total.count, total.logprob,
                  perplexity(total.logprob, total.count));
    if (!isnan(bits)) strbuf_printf(out, ", %.4f bits per byte", bits);
    if (scored->windows > 1) strbuf_printf(out, " (%zu windows)", scored->windows);
    strbuf_char(out, '\n');
    if (loss) loss_print(out, loss, scored->session->plan.dtype);
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

static void print_json(const struct scored *scored, const struct score_input *input, const struct loss *loss,
                       bool summary) {
    struct json j = {0};
    struct total total = total_of(scored, 0);
    json_object(&j, NULL);
    if (!summary) json_tokens(&j, scored);
    json_double(&j, "total_logprob", total.logprob);
    json_double(&j, "perplexity", perplexity(total.logprob, total.count));
    json_uint(&j, "count", total.count);
    json_double(&j, "bits_per_byte", bits_per_byte(scored, input, &total));
    json_uint(&j, "windows", scored->windows);
    if (loss) loss_json(&j, loss);
    if (scored->settings) json_settings(&j, scored);
    session_json(&j, scored->session);
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

/* ---- the command ---- */

static int score_text(const struct score_args *args, struct session *session, struct score_input *input,
                      const struct setting_list *settings) {
    bool filtered = sampling_args_given(&args->sampling);
    struct scored scored = {.session = session,
                            .ids = &input->ids,
                            .settings = filtered ? settings : NULL,
                            .rows = filtered ? settings->count : 1};
    int status = score_encode(session, &args->source, input);
    if (!status) status = score_start(session, &args->common, args->common.dtype, scored.rows);
    if (status) return status;
    scored.stats = xarray(scored.rows * input->ids.count, sizeof *scored.stats);
    struct loss loss, *lost = NULL;
    status = score_all(&scored, args->source.stride);
    if (!status && args->common.stats && !args->common.quiet)
        figures_print(session, &(struct run_figures){0, 0}, NULL, true);
    if (!status && args->against) {
        status = loss_measure(&loss, &scored, args->source.stride, &args->common, args->against);
        lost = &loss;
    }
    if (!status) {
        struct strbuf out = {0};
        if (args->common.json) {
            print_json(&scored, input, lost, args->summary);
        } else {
            if (!args->summary) print_tokens(&out, &scored);
            print_totals(&out, &scored, input, lost);
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
    if (!status) status = score_start(session, &args->common, args->common.dtype, 1);
    if (!status)
        status = choices_rank(session, &input->text, choices, count, args->source.no_special, args->source.plain,
                              args->common.json);
    for (size_t i = 0; i < count; i++) free(choices[i]);
    free((void *)choices);
    return status;
}

static int check_flags(const struct score_args *args, bool choose) {
    if (!choose) return EXIT_DONE;
    if (sampling_args_given(&args->sampling)) return complain(EXIT_USAGE, "--choices does not go with sampling flags");
    if (args->source.ids.count || args->source.stride || args->summary || args->against)
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
    if (!status) status = score_read(&args->source, "score", &input);
    if (!status) status = session_open(&session, &args->common);
    if (!status) status = setting_list_make(&settings, &args->sampling, session.model);
    if (!status) status = choose ? rank_choices(args, &session, &input) : score_text(args, &session, &input, &settings);
    session_close(&session);
    setting_list_free(&settings);
    score_input_free(&input);
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
        .positional = &args.source.words,
        .groups = {{"Text", score_source_args, sizeof score_source_args / sizeof *score_source_args, &args.source},
                   {"Scoring", score_how_args, sizeof score_how_args / sizeof *score_how_args, &args},
                   SAMPLING_FILTER_GROUPS(&args.sampling),
                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, score_run, &args);
}
