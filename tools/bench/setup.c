/* setup.c: what the bench commands share. */
#include "setup.h"

#include <math.h>
#include <string.h>

#include "output.h"
#include "random.h"
#include "sampling_args.h"

const struct arg setup_model_args[2] = {
    {.name = "random",
     .kind = ARG_TEXT,
     .offset = offsetof(struct setup_args, random),
     .meta = "SHAPE",
     .text = "random weights in the place of --model: gpt2, gpt2-medium, gpt2-large, gpt2-xl, llama-1b, llama-8b, "
             "qwen2-0.5b"},
    {.name = "sampler",
     .kind = ARG_TEXT,
     .offset = offsetof(struct setup_args, sampler),
     .meta = "K=V,...",
     .text = "how tokens are drawn: \"temperature=0.8,top_p=0.95\"; the model's recommendation is not used",
     .initial = "greedy"},
};

int setup_sampler(tempera_sampling *sampling, const char *text, const char *what) {
    tempera_error err;
    *sampling = tempera_sampling_default();
    if (!text || strcmp(text, "greedy") == 0)
        sampling->temperature = 0;
    else if (!setting_overlay(sampling, NULL, text, what))
        return EXIT_USAGE;
    if (tempera_sampling_check(sampling, 0, &err) != TEMPERA_OK) return complain_error(&err);
    return EXIT_DONE;
}

int setup_open(struct setup *setup, const struct setup_args *args) {
    tempera_error err;
    struct session *session = &setup->session;
    int status = setup_sampler(&setup->sampling, args->sampler, "--sampler");
    if (status) return status;
    if (!args->random) return session_open(session, &args->common);
    if (args->common.model) return complain(EXIT_USAGE, "bench: --random and --model exclude each other");
    if (tempera_model_random(args->random, 1, &session->model, &err) != TEMPERA_OK) return complain_error(&err);
    tempera_model_info_get(session->model, &session->info);
    return EXIT_DONE;
}

void setup_close(struct setup *setup) {
    session_close(&setup->session);
}

int setup_ceilings(struct setup *setup) {
    tempera_error err;
    double read, flops;
    progress_show("measuring the device's ceilings");
    if (tempera_measure(setup->session.engine, &read, &flops, &err) != TEMPERA_OK) return complain_error(&err);
    setup->read_bytes_per_second = fmax(setup->read_bytes_per_second, read);
    setup->flops = fmax(setup->flops, flops);
    return EXIT_DONE;
}

const char *setup_format(const struct setup_args *args) {
    return args->common.json ? "json" : args->rows.format;
}

void setup_figures(struct row *row, const struct setup *setup) {
    const tempera_plan *plan = &setup->session.plan;
    const tempera_model_info *info = &setup->session.info;
    struct strbuf sampler = {0};
    setting_describe(&sampler, &setup->sampling, SAMPLING_FIELDS);
    row_text(row, "sampler", sampler.data);
    row_int(row, "detokenised", info->tokenizer_size > 0);
    row_int(row, "parameters", info->parameters);
    row_text(row, "device_name", plan->device_name);
    row_int(row, "threads", plan->threads);
    row_real(row, "measured_read_bytes_per_second", setup->read_bytes_per_second, 0);
    row_real(row, "measured_flops", setup->flops, 0);
    row_text(row, "model", info->folder);
    row_text(row, "device", plan->device);
    row_text(row, "instructions", plan->instructions);
    row_text(row, "dtype", plan->dtype);
    row_int(row, "fast", plan->fast);
    row_text(row, "build", tempera_build());
    strbuf_free(&sampler);
}

void setup_describe(struct strbuf *b, const struct setup *setup) {
    const tempera_model_info *info = &setup->session.info;
    const tempera_plan *plan = &setup->session.plan;
    strbuf_printf(b, "%s: %s, %lld parameters, %s; %s", info->folder, info->family, (long long)info->parameters,
                  plan->dtype, plan->device);
    if (plan->instructions[0]) strbuf_printf(b, " %s", plan->instructions);
    if (plan->threads > 0) strbuf_printf(b, ", %d thread%s", plan->threads, plan->threads == 1 ? "" : "s");
    strbuf_printf(b, "; %s\nsampler ", tempera_build());
    setting_describe(b, &setup->sampling, SAMPLING_FIELDS);
    strbuf_printf(b, "; times include %s\n",
                  info->tokenizer_size ? "sampling and detokenising" : "sampling (no tokenizer: no detokenising)");
    strbuf_printf(b, "measured ceilings: %.2f GB/s read, %.1f G operations/s in %s products\n",
                  setup->read_bytes_per_second * 1e-9, setup->flops * 1e-9, plan->dtype);
}

void random_ids(int32_t *ids, size_t count, uint64_t prompt, int32_t vocab_size) {
    uint64_t state = 0x74656D70657261u + (prompt << 32);
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)(random_next(&state) % (uint64_t)vocab_size);
}
