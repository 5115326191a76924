/* score_text.c: one text through a model, token by token. */
#include "score_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

/* ---- input ---- */

const struct arg score_source_args[6] = {
    {.name = "text",
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_source, texts),
     .meta = "TEXT",
     .text = "the text"},
    {.name = "file",
     .letter = 'f',
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_source, files),
     .meta = "FILE",
     .text = "the whole file is the text; - = standard input"},
    {.name = "ids",
     .letter = 'i',
     .kind = ARG_TEXTS,
     .offset = offsetof(struct score_source, ids),
     .meta = "IDS",
     .text = "token ids, \"1 2 3\", used as they are"},
    {.name = "no-special",
     .kind = ARG_FLAG,
     .offset = offsetof(struct score_source, no_special),
     .text = "do not add what the tokenizer puts around a text (a begin-of-text token ...)"},
    {.name = "plain",
     .kind = ARG_FLAG,
     .offset = offsetof(struct score_source, plain),
     .text = "text that spells a special token, such as <|endoftext|>, is ordinary text"},
    {.name = "stride",
     .kind = ARG_INT,
     .offset = offsetof(struct score_source, stride),
     .meta = "N",
     .text = "score a text longer than the context in windows that move on by N tokens; 0 = refuse it",
     .initial = "0",
     .low = 0,
     .high = INT32_MAX},
};

size_t score_given(const struct score_source *args) {
    return args->words.count + args->texts.count + args->files.count + args->ids.count;
}

int score_read(const struct score_source *args, const char *command, struct score_input *input) {
    size_t given = score_given(args);
    if (given > 1) return complain(EXIT_USAGE, "%s: one text at a time, got %zu", command, given);
    if (given == 0 && terminal_is(stdin))
        return complain(EXIT_USAGE, "%s: no text given (see tempera %s --help)", command, command);
    if (args->ids.count) return parse_ids(args->ids.items[0], "--ids", &input->ids) ? EXIT_DONE : EXIT_USAGE;
    if (args->files.count || given == 0) return read_text(given ? args->files.items[0] : "-", &input->text);
    const char *text = args->words.count ? args->words.items[0] : args->texts.items[0];
    if (strcmp(text, "-") == 0) return read_text("-", &input->text);
    input->text = (struct text){xdup(text, strlen(text)), strlen(text)};
    return EXIT_DONE;
}

int score_encode(const struct session *session, const struct score_source *args, struct score_input *input) {
    if (!input->ids.ids) {
        int status = encode_text(session->model, &input->text, args->no_special, args->plain, &input->ids);
        if (status) return status;
    }
    if (input->ids.count == 0) return complain(EXIT_FAILED, "the text is empty: there is nothing to score");
    return EXIT_DONE;
}

void score_input_free(struct score_input *input) {
    free(input->text.bytes);
    free(input->ids.ids);
    *input = (struct score_input){{0}, {0}};
}

/* ---- scoring ---- */

int score_start(struct session *session, const struct common_args *common, const char *dtype, size_t settings) {
    enum { POSITIONS = 64, MOST_BRANCHES = 1048576 };
    tempera_engine_options options = session_options(common);
    options.dtype = dtype;
    size_t branches = settings * POSITIONS;
    options.max_rows = POSITIONS;
    options.max_branches = branches < MOST_BRANCHES ? (int32_t)branches : MOST_BRANCHES;
    return session_start(session, &options);
}

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

int score_all(struct scored *scored, int32_t stride) {
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

double perplexity(double logprob, size_t count) {
    return count ? exp(-logprob / (double)count) : (double)NAN;
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

double perplexity_of(const tempera_token_stat *stats, size_t count) {
    double sum = 0;
    for (size_t i = 1; i < count; i++) sum += (double)stats[i].logprob;
    return perplexity(sum, count - 1);
}

int loss_measure(struct loss *loss, const struct scored *scored, int32_t stride, const struct common_args *common,
                 const char *against) {
    struct session *session = scored->session;
    const tempera_plan plan = session->plan;
    struct scored again = {.session = session, .ids = scored->ids, .rows = 1};
    size_t count = scored->ids->count;
    *loss = (struct loss){.perplexity = NAN, .difference = {.mean = NAN, .low = NAN, .high = NAN}};
    session_stop(session);
    int status = score_start(session, common, against, 1);
    if (status) return status;
    memcpy(loss->dtype, session->plan.dtype, sizeof loss->dtype);
    again.stats = xarray(count, sizeof *again.stats);
    status = score_all(&again, stride);
    if (!status && count > 1) {
        loss->perplexity = perplexity_of(again.stats, count);
        loss->difference = mean_difference(scored->stats, again.stats, count);
    }
    free(again.stats);
    session->plan = plan;
    return status;
}

void loss_print(struct strbuf *out, const struct loss *loss, const char *dtype) {
    const struct estimate *d = &loss->difference;
    if (isnan(d->mean)) return; /* nothing was scored */
    strbuf_printf(out, "%s against %s: perplexity %.4f there, %.4f times that here", dtype, loss->dtype,
                  loss->perplexity, exp(-d->mean));
    if (!isnan(d->low)) strbuf_printf(out, " (95%% %.4f to %.4f)", exp(-d->high), exp(-d->low));
    strbuf_char(out, '\n');
}

void loss_json(struct json *j, const struct loss *loss) {
    json_object(j, "against");
    json_text(j, "dtype", loss->dtype);
    json_double(j, "perplexity", loss->perplexity);
    json_double(j, "perplexity_ratio", exp(-loss->difference.mean));
    json_double(j, "low", exp(-loss->difference.high));
    json_double(j, "high", exp(-loss->difference.low));
    json_end(j);
}
