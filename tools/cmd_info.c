/* cmd_info.c: what a model is and what it needs, before anything is loaded. */
#include <stdarg.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "info_loss.h"
#include "json_writer.h"
#include "output.h"
#include "sampling_args.h"

struct info_args {
    struct common_args common;
    struct text_list words;
    struct score_source source;
    const char *against;
    int32_t batch;
};

static const struct arg info_args_table[] = {
    {.name = "batch",
     .kind = ARG_INT,
     .offset = offsetof(struct info_args, batch),
     .meta = "N",
     .text = "distinct sequences computed at once, for the plan",
     .initial = "1",
     .low = 1,
     .high = 65536},
};

static const struct arg info_against_args[] = {
    {.name = "against",
     .kind = ARG_CHOICE,
     .offset = offsetof(struct info_args, against),
     .meta = "TYPE",
     .text = "weights that the text is scored with for comparison",
     .initial = "f32",
     .choices = "auto|f32|bf16|f16|q8|q4"},
};

static const char notes[] =
    "The plan is what an engine with these flags allocates, computed without loading the weights: weights as they "
    "are packed on the device, keys and values, activations, sampler workspace, and host memory.\n"
    "With --dtype q8 or q4 all weights are quantised once, and the table tells what they lose against the file's: the "
    "root of the mean squared error, over that of the weights, and as signal to noise. With a text (--file, --text or "
    "--ids) it is scored with both types of weights, as score --against does.\n"
    "--json: loss: {matrices: [{kind, dtype, matrices, weights, relative_rms_error, signal_to_noise_db}], all: {...}, "
    "text: {count, perplexity, against: {dtype, perplexity, perplexity_ratio, low, high}}}; null for the signal to "
    "noise of weights without error.";

static const char examples[] = "  tempera info\n"
                               "  tempera info ~/models/llama --dtype bf16 --context 4096 --batch 16\n"
                               "  tempera info ~/models/llama --dtype q4 --file book.txt --stride 256\n";

static const char *const devices[] = {"cpu", "cuda", "simt"};
enum { DEVICES = sizeof devices / sizeof *devices };

/* What the flags give on each device. */
struct device_plan {
    tempera_status status;
    tempera_plan plan;
    tempera_error err;
};

static tempera_engine_options options_of(const struct info_args *args) {
    tempera_engine_options options = session_options(&args->common);
    options.max_rows = args->batch;
    if (options.max_branches < args->batch) options.max_branches = args->batch;
    return options;
}

static void plan_devices(const struct session *session, const struct info_args *args, struct device_plan *plans) {
    for (size_t i = 0; i < DEVICES; i++) {
        tempera_engine_options options = options_of(args);
        options.device = devices[i];
        if (strcmp(devices[i], "cpu") != 0) options.instructions = NULL;
        plans[i].status = tempera_plan_make(session->model, &options, &plans[i].plan, &plans[i].err);
    }
}

/* ---- text ---- */

static void line(struct strbuf *b, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void line(struct strbuf *b, const char *name, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    strbuf_printf(b, "  %-14s ", name);
    show_safe(b, text, strlen(text));
    strbuf_char(b, '\n');
}

static void size_line(struct strbuf *b, const char *name, size_t bytes) {
    struct strbuf size = {0};
    show_size(&size, (double)bytes);
    strbuf_printf(b, "  %-14s %10s\n", name, size.data);
    strbuf_free(&size);
}

static void model_text(struct strbuf *b, const tempera_model_info *info) {
    struct strbuf size = {0};
    show_size(&size, (double)info->file_bytes);
    strbuf_text(b, "Model\n");
    line(b, "folder", "%s", info->folder);
    line(b, "family", "%s", info->family);
    if (info->tensor_types[0])
        line(b, "parameters", "%lld (%s; tensors: %s)", (long long)info->parameters, size.data, info->tensor_types);
    else
        line(b, "parameters", "%lld (%s in %s)", (long long)info->parameters, size.data, info->weight_type);
    line(b, "layers", "%d of width %d, feed-forward %d", info->layers, info->width, info->ff_width);
    line(b, "attention", "%d heads of width %d, %d for keys and values", info->heads, info->head_width, info->kv_heads);
    line(b, "vocabulary", "%d, output layer %s", info->vocab_size, info->tied ? "tied to the embedding" : "of its own");
    line(b, "context", "%d tokens", info->context);
    if (info->tokenizer_size)
        line(b, "tokenizer", "%d tokens", info->tokenizer_size);
    else
        line(b, "tokenizer", "none: token ids only");
    if (info->bos >= 0) line(b, "begin of text", "%d", info->bos);
    if (info->eos >= 0) line(b, "end of text", "%d", info->eos);
    strbuf_free(&size);
}

static void sampling_text(struct strbuf *b, const struct session *session) {
    tempera_sampling sampling;
    uint32_t from_model;
    struct strbuf text = {0};
    tempera_model_sampling(session->model, &sampling, &from_model);
    setting_describe(&text, &sampling, SAMPLING_FIELDS);
    strbuf_text(b, "\nSampling it recommends\n");
    line(b, "settings", "%s", from_model ? text.data : "none");
    strbuf_free(&text);
}

static void plan_text(struct strbuf *b, const tempera_plan *plan) {
    strbuf_printf(b, "\nMemory plan (%s, %s%s%s)\n", plan->device, plan->dtype, plan->instructions[0] ? ", " : "",
                  plan->instructions);
    size_line(b, "weights", plan->weights);
    size_line(b, "keys, values", plan->kv);
    size_line(b, "activations", plan->activations);
    size_line(b, "workspace", plan->workspace);
    size_line(b, "host", plan->host);
    size_line(b, "total", plan->total);
    line(b, "batch", "%d sequences, %d samples, %d prompt tokens per step", plan->max_rows, plan->max_branches,
         plan->max_step_tokens);
    line(b, "pages", "%d of %d tokens; context %d", plan->pages, plan->page_tokens, plan->context);
}

static void devices_text(struct strbuf *b, const struct device_plan *plans) {
    strbuf_text(b, "\nDevices\n");
    for (size_t i = 0; i < DEVICES; i++) {
        const tempera_plan *plan = &plans[i].plan;
        if (plans[i].status != TEMPERA_OK)
            line(b, devices[i], "no: %s", plans[i].err.message);
        else if (plan->threads > 0)
            line(b, devices[i], "%s, %s, %d thread%s", plan->device_name, plan->instructions, plan->threads,
                 plan->threads == 1 ? "" : "s");
        else
            line(b, devices[i], "%s", plan->device_name);
    }
}

/* ---- JSON ---- */

static void model_json(struct json *j, const tempera_model_info *info) {
    json_object(j, "model");
    json_text(j, "folder", info->folder);
    json_text(j, "family", info->family);
    json_text(j, "weight_type", info->weight_type);
    json_text(j, "tensor_types", info->tensor_types);
    json_int(j, "parameters", info->parameters);
    json_int(j, "file_bytes", info->file_bytes);
    json_int(j, "vocab_size", info->vocab_size);
    json_int(j, "width", info->width);
    json_int(j, "layers", info->layers);
    json_int(j, "heads", info->heads);
    json_int(j, "kv_heads", info->kv_heads);
    json_int(j, "head_width", info->head_width);
    json_int(j, "ff_width", info->ff_width);
    json_int(j, "context", info->context);
    json_int(j, "tokenizer_size", info->tokenizer_size);
    json_int(j, "bos", info->bos);
    json_int(j, "eos", info->eos);
    json_bool(j, "tied", info->tied);
    json_end(j);
}

static void plan_json(struct json *j, const tempera_plan *plan) {
    json_object(j, "plan");
    json_uint(j, "weights", plan->weights);
    json_uint(j, "kv", plan->kv);
    json_uint(j, "activations", plan->activations);
    json_uint(j, "workspace", plan->workspace);
    json_uint(j, "host", plan->host);
    json_uint(j, "total", plan->total);
    json_uint(j, "step_weights", plan->step_weights);
    json_int(j, "pages", plan->pages);
    json_int(j, "page_tokens", plan->page_tokens);
    json_int(j, "context", plan->context);
    json_int(j, "max_rows", plan->max_rows);
    json_int(j, "max_branches", plan->max_branches);
    json_int(j, "max_step_tokens", plan->max_step_tokens);
    json_int(j, "max_logits", plan->max_logits);
    json_text(j, "device", plan->device);
    json_text(j, "device_name", plan->device_name);
    json_text(j, "instructions", plan->instructions);
    json_text(j, "dtype", plan->dtype);
    json_int(j, "threads", plan->threads);
    json_end(j);
}

static void devices_json(struct json *j, const struct device_plan *plans) {
    json_array(j, "devices");
    for (size_t i = 0; i < DEVICES; i++) {
        bool good = plans[i].status == TEMPERA_OK;
        json_object(j, NULL);
        json_text(j, "device", devices[i]);
        json_bool(j, "available", good);
        if (good)
            json_text(j, "name", plans[i].plan.device_name);
        else
            json_text(j, "error", plans[i].err.message);
        json_end(j);
    }
    json_end(j);
}

/* ---- the command ---- */

static void print_json(const struct session *session, const struct setting_list *recommended,
                       const struct device_plan *plans, const struct weight_losses *losses) {
    struct json j = {0};
    json_object(&j, NULL);
    model_json(&j, &session->info);
    settings_json(&j, &recommended->items[0], &recommended->sources[0]);
    plan_json(&j, &session->plan);
    if (losses) weight_losses_json(&j, losses);
    devices_json(&j, plans);
    json_text(&j, "build", tempera_build());
    json_end(&j);
    strbuf_char(&j.out, '\n');
    output_buf(&j.out);
    strbuf_free(&j.out);
}

static void print_text(const struct session *session, const struct device_plan *plans,
                       const struct weight_losses *losses) {
    struct strbuf text = {0};
    model_text(&text, &session->info);
    sampling_text(&text, session);
    plan_text(&text, &session->plan);
    if (losses) weight_losses_print(&text, losses, session->plan.dtype);
    devices_text(&text, plans);
    output_buf(&text);
    strbuf_free(&text);
}

static int print_info(const struct info_args *args, struct session *session, struct score_input *input) {
    static const struct sampling_args no_flags;
    struct setting_list recommended = {0};
    struct device_plan plans[DEVICES];
    struct weight_losses losses, *lost = dtype_is_quantised(args->common.dtype) ? &losses : NULL;
    tempera_error err;
    tempera_engine_options options = options_of(args);
    if (tempera_plan_make(session->model, &options, &session->plan, &err) != TEMPERA_OK) return complain_error(&err);
    int status = lost ? weight_losses_measure(lost, session, &options) : EXIT_DONE;
    if (!status && score_given(&args->source))
        status = weight_losses_score(lost, session, &args->common, &args->source, input, args->against);
    if (!status) status = setting_list_make(&recommended, &no_flags, session->model);
    if (!status) {
        plan_devices(session, args, plans);
        if (args->common.json)
            print_json(session, &recommended, plans, lost);
        else
            print_text(session, plans, lost);
    }
    setting_list_free(&recommended);
    return status;
}

static int check_flags(struct info_args *args) {
    const bool text = score_given(&args->source) > 0;
    if (args->words.count + (args->common.model != NULL) > 1) return complain(EXIT_USAGE, "info: one model at a time");
    if (text && !dtype_is_quantised(args->common.dtype))
        return complain(EXIT_USAGE, "info: a text shows what quantised weights lose: it needs --dtype q8 or q4");
    if (!text && args->against) return complain(EXIT_USAGE, "info: --against needs a text: --file, --text or --ids");
    if (!args->against) args->against = "f32";
    if (args->words.count) args->common.model = args->words.items[0];
    return EXIT_DONE;
}

static int info_run(void *user) {
    struct info_args *args = user;
    struct session session = {0};
    struct score_input input = {{0}, {0}};
    progress_allow(!args->common.quiet);
    int status = check_flags(args);
    if (!status && score_given(&args->source)) status = score_read(&args->source, "info", &input);
    if (!status) status = session_open(&session, &args->common);
    if (!status) status = print_info(args, &session, &input);
    session_close(&session);
    score_input_free(&input);
    return status;
}

int cmd_info(int argc, char **argv) {
    struct info_args args = {.common = common_defaults, .batch = 1};
    const struct arg_command command = {
        .name = "info",
        .summary = "a model's shape, its memory plan, the devices",
        .synopsis = "[--model] [DIR] [flags]",
        .notes = notes,
        .examples = examples,
        .positional = &args.words,
        .groups = {{"Plan", info_args_table, sizeof info_args_table / sizeof *info_args_table, &args},
                   {"Text, for a quantised --dtype", score_source_args,
                    sizeof score_source_args / sizeof *score_source_args, &args.source},
                   {"Comparison", info_against_args, 1, &args},
                   COMMON_GROUPS(&args.common)}};
    return args_run(&command, argc, argv, info_run, &args);
}
