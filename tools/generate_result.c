/* generate_result.c: samples as text or JSON, in order. */
#include "generate_result.h"

#include <stdlib.h>
#include <string.h>

#include "output.h"

int results_begin(struct results *results, size_t prompts) {
    static const size_t most = (size_t)1 << 28; /* samples whose places can be kept */
    const struct setting_list *settings = results->settings;
    results->prompts = prompts;
    results->first = xarray(settings->count, sizeof *results->first);
    for (size_t i = 0; i < settings->count; i++) {
        results->first[i] = results->per_prompt;
        results->per_prompt += (size_t)settings->items[i].n;
    }
    if (results->per_prompt > most / prompts)
        return complain(EXIT_USAGE, "%zu prompts with %zu samples each are more than %zu samples", prompts,
                        results->per_prompt, most);
    results->total = prompts * results->per_prompt;
    results->slots = xarray(results->total, sizeof *results->slots);
    results->token_text = xarray((size_t)results->session->info.vocab_size, sizeof *results->token_text);
    results->token_length = xarray((size_t)results->session->info.vocab_size, sizeof *results->token_length);
    return EXIT_DONE;
}

void results_free(struct results *results) {
    for (size_t i = 0; results->slots && i < results->total; i++) strbuf_free(&results->slots[i].text);
    for (int32_t i = 0; results->token_text && i < results->session->info.vocab_size; i++)
        tempera_free(results->token_text[i]);
    free(results->slots);
    free(results->first);
    free(results->token_text);
    free((void *)results->token_length);
}

/* ---- JSON ---- */

static void json_token(struct json *j, struct results *results, int32_t id) {
    if (!results->token_text[id])
        results->token_text[id] = token_text(results->session->model, id, &results->token_length[id]);
    if (results->token_text[id])
        json_bytes(j, "token", results->token_text[id], results->token_length[id]);
    else
        json_null(j, "token");
    json_int(j, "id", id);
}

static void json_logprobs(struct json *j, struct results *results, const tempera_sample *sample) {
    json_array(j, "logprobs");
    for (size_t i = 0; i < sample->token_count; i++) {
        const tempera_token_stat *stat = &sample->stats[i];
        json_object(j, NULL);
        json_token(j, results, sample->tokens[i]);
        json_float(j, "logprob", stat->logprob);
        json_float(j, "final_logprob", stat->final_logprob);
        json_float(j, "entropy", stat->entropy);
        json_int(j, "kept", stat->kept);
        json_float(j, "kept_mass", stat->kept_mass);
        json_array(j, "top");
        for (int32_t k = 0; k < stat->top_count; k++) {
            json_object(j, NULL);
            json_token(j, results, stat->top_token[k]);
            json_float(j, "logprob", stat->top_logprob[k]);
            json_end(j);
        }
        json_end(j);
        json_end(j);
    }
    json_end(j);
}

static void sample_json(struct strbuf *out, struct results *results, size_t prompt, const tempera_sample *sample) {
    struct json j = {0};
    json_object(&j, NULL);
    json_uint(&j, "prompt_index", prompt);
    json_int(&j, "setting_index", sample->setting_index);
    json_int(&j, "sample_index", sample->sample_index);
    json_uint(&j, "seed", sample->sampling->seed);
    json_bytes(&j, "text", sample->text, sample->text_length);
    json_array(&j, "token_ids");
    for (size_t i = 0; i < sample->token_count; i++) json_int(&j, NULL, sample->tokens[i]);
    json_end(&j);
    json_text(&j, "finish_reason", tempera_finish_name(sample->finish));
    if (sample->finish == TEMPERA_FINISH_ERROR) json_text(&j, "error", sample->error);
    json_uint(&j, "prompt_tokens", sample->prompt_count);
    json_uint(&j, "completion_tokens", sample->token_count);
    if (sample->nan_rows) json_uint(&j, "nan_rows", sample->nan_rows);
    if (sample->stats) json_logprobs(&j, results, sample);
    settings_json(&j, sample->sampling, &results->settings->sources[sample->setting_index]);
    session_json(&j, results->session);
    json_end(&j);
    if (results->format == RESULT_JSONL) strbuf_char(&j.out, '\n');
    strbuf_free(out);
    *out = j.out;
}

/* ---- text ---- */

/* "==> prompt 0, setting 1: temperature=0.2, sample 3 <==", with the parts that there are several of. */
static void header(struct strbuf *out, const struct results *results, size_t prompt, const tempera_sample *sample) {
    const char *between = "";
    if (results->total == 1) return;
    strbuf_text(out, "==> ");
    if (results->prompts > 1) strbuf_printf(out, "prompt %zu", prompt), between = ", ";
    if (results->settings->count > 1) {
        const char *name = results->setting_names->items[sample->setting_index];
        strbuf_printf(out, "%ssetting %d (%s)", between, sample->setting_index, name), between = ", ";
    }
    if (sample->sampling->n > 1 || sample->sampling->first_sample > 0)
        strbuf_printf(out, "%ssample %d", between, sample->sample_index);
    strbuf_text(out, " <==\n");
}

static void sample_text(struct strbuf *out, const struct results *results, size_t prompt,
                        const tempera_sample *sample) {
    header(out, results, prompt, sample);
    if (results->session->info.tokenizer_size == 0) { /* no text to show: the ids are the result */
        for (size_t i = 0; i < sample->token_count; i++) strbuf_printf(out, "%s%d", i ? " " : "", sample->tokens[i]);
    } else if (results->terminal) {
        show_safe(out, sample->text, sample->text_length);
    } else {
        strbuf_add(out, sample->text, sample->text_length);
    }
    if (out->length == 0 || out->data[out->length - 1] != '\n') strbuf_char(out, '\n');
}

/* ---- order ---- */

static void print_slot(struct results *results, struct result_slot *slot) {
    static const char *const before_first[] = {[RESULT_TEXT] = "", [RESULT_JSONL] = "", [RESULT_JSON] = "[\n"};
    static const char *const before_next[] = {[RESULT_TEXT] = "\n", [RESULT_JSONL] = "", [RESULT_JSON] = ",\n"};
    if (slot->text.length == 0) return;
    const char *before = results->printed++ ? before_next[results->format] : before_first[results->format];
    output_write(before, strlen(before));
    output_buf(&slot->text);
    strbuf_free(&slot->text);
}

void results_add(struct results *results, size_t prompt, const tempera_sample *sample) {
    size_t place = (size_t)(sample->sample_index - sample->sampling->first_sample);
    size_t index = prompt * results->per_prompt + results->first[sample->setting_index] + place;
    struct result_slot *slot = &results->slots[index];
    bool nothing = sample->finish == TEMPERA_FINISH_CANCELLED && sample->token_count == 0;
    if (sample->finish == TEMPERA_FINISH_CANCELLED) results->cancelled++;
    if (sample->finish == TEMPERA_FINISH_ERROR && results->errors++ == 0)
        snprintf(results->first_error, sizeof results->first_error, "%s", sample->error);
    if (!nothing) {
        if (results->format == RESULT_TEXT)
            sample_text(&slot->text, results, prompt, sample);
        else
            sample_json(&slot->text, results, prompt, sample);
    }
    slot->done = true;
    results->finished++;
    size_t before = results->next;
    while (results->next < results->total && results->slots[results->next].done)
        print_slot(results, &results->slots[results->next++]);
    if (results->next > before) output_flush();
}

void results_end(struct results *results) {
    for (; results->next < results->total; results->next++) print_slot(results, &results->slots[results->next]);
    if (results->format == RESULT_JSON) {
        const char *end = results->printed ? "\n]\n" : "[]\n";
        output_write(end, strlen(end));
    }
    output_flush();
}

void results_stream(struct results *results, const char *bytes, size_t length) {
    struct strbuf out = {0};
    if (results->terminal)
        show_safe(&out, bytes, length);
    else
        strbuf_add(&out, bytes, length);
    output_buf(&out);
    output_flush();
    strbuf_free(&out);
}
