/* cmd_presets.c: prints the presets. */
#include "commands.h"
#include "common.h"
#include "json_writer.h"
#include "output.h"
#include "presets.h"

struct presets_args {
    bool json;
};

static const struct arg presets_output_args[] = {
    {.name = "json", .kind = ARG_FLAG, .offset = offsetof(struct presets_args, json), .text = "a JSON array"},
};

static const char notes[] = "Starting points by kind of content, not laws: tempera sweep run --presets measures them "
                            "on your prompts. A preset is "
                            "the middle of its ranges: tempera generate --preset creative.";

static const char examples[] = "  tempera presets\n"
                               "  tempera generate --preset creative --prompt \"One day\"\n"
                               "  tempera sweep run --presets --prompts prompts.txt --out runs.db\n";

static void range_json(struct json *j, const char *key, const int range[2]) {
    json_array(j, key);
    for (int i = 0; i < 2; i++) json_fixed(j, NULL, range[i] / 100.0, 2);
    json_end(j);
}

static void print_json(struct strbuf *b) {
    struct json j = {0};
    json_array(&j, NULL);
    for (size_t i = 0; i < PRESETS; i++) {
        tempera_sampling sampling = tempera_sampling_default();
        preset_apply(&presets[i], &sampling);
        json_object(&j, NULL);
        json_text(&j, "name", presets[i].name);
        json_text(&j, "title", presets[i].title);
        range_json(&j, "temperature_range", presets[i].temperature);
        range_json(&j, "top_p_range", presets[i].top_p);
        json_float(&j, "temperature", sampling.temperature);
        json_float(&j, "top_p", sampling.top_p);
        json_end(&j);
    }
    json_end(&j);
    strbuf_add(b, j.out.data, j.out.length);
    strbuf_char(b, '\n');
    strbuf_free(&j.out);
}

static void print_table(struct strbuf *b) {
    strbuf_printf(b, "%-14s %-21s %-12s %-12s %s\n", "preset", "for", "temperature", "top_p", "used");
    for (size_t i = 0; i < PRESETS; i++) {
        const struct preset *p = &presets[i];
        tempera_sampling sampling = tempera_sampling_default();
        preset_apply(p, &sampling);
        strbuf_printf(b, "%-14s %-21s %.1f to %.1f   %.1f to %.1f   temperature=", p->name, p->title,
                      p->temperature[0] / 100.0, p->temperature[1] / 100.0, p->top_p[0] / 100.0, p->top_p[1] / 100.0);
        strbuf_float(b, sampling.temperature);
        strbuf_text(b, ",top_p=");
        strbuf_float(b, sampling.top_p);
        strbuf_char(b, '\n');
    }
}

static int presets_run(void *user) {
    const struct presets_args *args = user;
    struct strbuf text = {0};
    if (args->json)
        print_json(&text);
    else
        print_table(&text);
    output_buf(&text);
    strbuf_free(&text);
    return EXIT_DONE;
}

int cmd_presets(int argc, char **argv) {
    struct presets_args args = {0};
    const struct arg_command command = {.name = "presets",
                                        .summary = "recommended temperature and top_p by kind of content",
                                        .synopsis = "[--json]",
                                        .notes = notes,
                                        .examples = examples,
                                        .groups = {{"Output", presets_output_args, 1, &args}}};
    return args_run(&command, argc, argv, presets_run, &args);
}
