/* score_choices.c: ranks continuations of a prompt.
 *
 * Prompt and choice are encoded as one text, as the model would have seen it. All choices are scored from the first
 * token in which any of them differs from the encoded prompt, so that their totals are of the same text and compare. */
#include "score_choices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_writer.h"
#include "output.h"

struct choice {
    struct prompt ids; /* prompt and choice */
    size_t tokens;     /* scored */
    double total, probability;
    size_t rank; /* from 1 */
};

size_t choices_split(const struct choice_args *args, char ***items) {
    size_t count = 0;
    *items = NULL;
    for (size_t i = 0; i < args->joined.count; i++) {
        const char *at = args->joined.items[i];
        for (;;) {
            size_t length = strcspn(at, "|");
            *items = xgrow((void *)*items, count + 1, sizeof **items);
            (*items)[count++] = xdup(at, length);
            if (!at[length]) break;
            at += length + 1;
        }
    }
    for (size_t i = 0; i < args->single.count; i++) {
        *items = xgrow((void *)*items, count + 1, sizeof **items);
        (*items)[count++] = xdup(args->single.items[i], strlen(args->single.items[i]));
    }
    return count;
}

static size_t common_start(const struct prompt *a, const struct prompt *b, size_t most) {
    size_t n = 0;
    while (n < most && n < a->count && n < b->count && a->ids[n] == b->ids[n]) n++;
    return n;
}

static int encode_all(const struct session *session, const struct text *prompt, char *const *texts, size_t count,
                      bool no_special, bool plain, struct choice *choices, size_t *shared) {
    struct prompt alone;
    int status = encode_text(session->model, prompt, no_special, plain, &alone);
    if (status) return status;
    *shared = alone.count;
    for (size_t i = 0; i < count && !status; i++) {
        struct strbuf whole = {0};
        strbuf_add(&whole, prompt->bytes, prompt->length);
        strbuf_text(&whole, texts[i]);
        struct text text = {whole.data, whole.length};
        status = encode_text(session->model, &text, no_special, plain, &choices[i].ids);
        strbuf_free(&whole);
        if (status) break;
        *shared = common_start(&alone, &choices[i].ids, *shared);
    }
    free(alone.ids);
    return status;
}

static int score_choice(const struct session *session, struct choice *choice, size_t shared) {
    tempera_error err;
    size_t count = choice->ids.count;
    tempera_token_stat *stats = xarray(count, sizeof *stats);
    int status = EXIT_DONE;
    if (tempera_score(session->engine, choice->ids.ids, count, NULL, 0, stats, &err) != TEMPERA_OK && !interrupted())
        status = complain_error(&err);
    for (size_t k = shared; k < count; k++) choice->total += (double)stats[k].logprob;
    choice->tokens = count - shared;
    free(stats);
    return status;
}

static void normalise(struct choice *choices, size_t count) {
    double best = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) best = fmax(best, choices[i].total);
    for (size_t i = 0; i < count; i++) sum += exp(choices[i].total - best);
    for (size_t i = 0; i < count; i++) {
        choices[i].probability = exp(choices[i].total - best) / sum;
        choices[i].rank = 1;
        for (size_t k = 0; k < count; k++)
            choices[i].rank += choices[k].total > choices[i].total || (choices[k].total == choices[i].total && k < i);
    }
}

static double per_token(const struct choice *choice) {
    return choice->tokens ? choice->total / (double)choice->tokens : 0;
}

static void print_json(const struct choice *choices, char *const *texts, size_t count, size_t shared) {
    struct json j = {0};
    json_object(&j, NULL);
    json_uint(&j, "context_tokens", shared);
    json_array(&j, "choices");
    for (size_t i = 0; i < count; i++) {
        json_object(&j, NULL);
        json_bytes(&j, "text", texts[i], strlen(texts[i]));
        json_uint(&j, "rank", choices[i].rank);
        json_double(&j, "total_logprob", choices[i].total);
        json_double(&j, "logprob_per_token", per_token(&choices[i]));
        json_double(&j, "probability", choices[i].probability);
        json_uint(&j, "count", choices[i].tokens);
        json_end(&j);
    }
    json_end(&j);
    json_text(&j, "build", tempera_build());
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

static void print_table(const struct choice *choices, char *const *texts, size_t count) {
    struct strbuf out = {0};
    strbuf_text(&out, "rank  probability      total  per token  tokens  choice\n");
    for (size_t rank = 1; rank <= count; rank++)
        for (size_t i = 0; i < count; i++) {
            if (choices[i].rank != rank) continue;
            strbuf_printf(&out, "%4zu  %10.2f%%  %9.4f  %9.4f  %6zu  \"", rank, 100 * choices[i].probability,
                          choices[i].total, per_token(&choices[i]), choices[i].tokens);
            show_escaped(&out, texts[i], strlen(texts[i]));
            strbuf_text(&out, "\"\n");
        }
    output_buf(&out);
    strbuf_free(&out);
}

int choices_rank(const struct session *session, const struct text *prompt, char *const *texts, size_t count,
                 bool no_special, bool plain, bool as_json) {
    struct choice *choices = xarray(count, sizeof *choices);
    size_t shared = 0;
    int status = encode_all(session, prompt, texts, count, no_special, plain, choices, &shared);
    if (!status && shared == 0)
        status = complain(EXIT_FAILED, "choices need a prompt: nothing predicts the first token of a text");
    for (size_t i = 0; i < count && !status; i++) {
        progress_show("choice %zu of %zu", i + 1, count);
        status = score_choice(session, &choices[i], shared);
        if (!status && interrupted()) status = EXIT_INTERRUPTED;
    }
    if (!status) {
        normalise(choices, count);
        if (as_json)
            print_json(choices, texts, count, shared);
        else
            print_table(choices, texts, count);
    }
    for (size_t i = 0; i < count; i++) free(choices[i].ids.ids);
    free(choices);
    return status;
}
