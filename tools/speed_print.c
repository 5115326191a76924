/* speed_print.c: rows of `bench` as a table, Markdown, CSV or JSON. */
#include <math.h>
#include <string.h>

#include "json_writer.h"
#include "output.h"
#include "sampling_args.h"
#include "speed.h"

/* In words, without what `bench` sets itself. */
static void sampler_text(struct strbuf *b, const struct speed_setup *setup) {
    setting_describe(b, &setup->sampling, SAMPLING_FIELDS);
}

static void share_text(struct strbuf *b, const struct speed_row *row) {
    if (isnan(row->share_of_roofline))
        strbuf_text(b, "-");
    else
        strbuf_printf(b, "%.1f%% of %s", 100 * row->share_of_roofline, row->bound);
}

static const char *unit(const struct speed_row *row) {
    return row->test.kind == SPEED_STARTUP ? "s" : "tok/s";
}

static int digits(const struct speed_row *row) {
    return row->test.kind == SPEED_STARTUP ? 4 : 2;
}

/* ---- for people ---- */

static void describe(struct strbuf *out, const struct speed_setup *setup) {
    const tempera_model_info *info = &setup->session->info;
    const tempera_plan *plan = &setup->session->plan;
    strbuf_printf(out, "%s: %s, %lld parameters, %s; %s", info->folder, info->family, (long long)info->parameters,
                  plan->dtype, plan->device);
    if (plan->instructions[0]) strbuf_printf(out, " %s", plan->instructions);
    if (plan->threads > 0) strbuf_printf(out, ", %d thread%s", plan->threads, plan->threads == 1 ? "" : "s");
    strbuf_text(out, "\nsampler ");
    sampler_text(out, setup);
    strbuf_printf(out, "; times include %s; %d repetitions\n",
                  info->tokenizer_size ? "sampling and detokenising" : "sampling (no tokenizer: no detokenising)",
                  setup->repetitions);
    strbuf_printf(out, "measured ceilings: %.2f GB/s read, %.1f GFLOP/s fp32\n\n", setup->read_bytes_per_second * 1e-9,
                  setup->flops * 1e-9);
}

static void print_table(struct strbuf *out, const struct speed_setup *setup, const struct speed_row *rows,
                        size_t count) {
    describe(out, setup);
    strbuf_printf(out, "%-16s %5s %12s %12s %10s %12s %12s  %s\n", "test", "unit", "mean", "median", "stddev", "min",
                  "max", "share of roofline");
    for (size_t i = 0; i < count; i++) {
        const struct speed_row *row = &rows[i];
        int d = digits(row);
        strbuf_printf(out, "%-16s %5s %12.*f %12.*f %10.*f %12.*f %12.*f  ", row->name, unit(row), d, row->mean, d,
                      row->median, d, row->stddev, d, row->min, d, row->max);
        if (row->bytes_per_second > 0)
            strbuf_printf(out, "%.2f MB/s", row->bytes_per_second * 1e-6);
        else
            share_text(out, row);
        strbuf_char(out, '\n');
    }
}

static void print_markdown(struct strbuf *out, const struct speed_setup *setup, const struct speed_row *rows,
                           size_t count) {
    describe(out, setup);
    strbuf_text(out, "| test | unit | mean | median | stddev | min | max | share of roofline |\n"
                     "|---|---|---:|---:|---:|---:|---:|---|\n");
    for (size_t i = 0; i < count; i++) {
        const struct speed_row *row = &rows[i];
        int d = digits(row);
        strbuf_printf(out, "| %s | %s | %.*f | %.*f | %.*f | %.*f | %.*f | ", row->name, unit(row), d, row->mean, d,
                      row->median, d, row->stddev, d, row->min, d, row->max);
        if (row->bytes_per_second > 0)
            strbuf_printf(out, "%.2f MB/s", row->bytes_per_second * 1e-6);
        else
            share_text(out, row);
        strbuf_text(out, " |\n");
    }
}

/* ---- for machines ---- */

static void json_row(struct json *j, const struct speed_setup *setup, const struct speed_row *row) {
    const struct session *session = setup->session;
    bool startup = row->test.kind == SPEED_STARTUP;
    struct strbuf sampler = {0};
    sampler_text(&sampler, setup);
    json_object(j, NULL);
    json_text(j, "test", row->name);
    json_text(j, "unit", unit(row));
    json_fixed(j, "tokens_per_second", startup ? (double)NAN : row->mean, 3);
    json_fixed(j, "mean", row->mean, 6);
    json_fixed(j, "median", row->median, 6);
    json_fixed(j, "stddev", row->stddev, 6);
    json_fixed(j, "min", row->min, 6);
    json_fixed(j, "max", row->max, 6);
    json_array(j, "samples");
    for (size_t i = 0; i < row->count; i++) json_fixed(j, NULL, row->samples[i], 6);
    json_end(j);
    json_fixed(j, "share_of_roofline", row->share_of_roofline, 4);
    json_text(j, "roofline", row->bound);
    if (row->bytes_per_second > 0) json_fixed(j, "megabytes_per_second", row->bytes_per_second * 1e-6, 3);
    json_int(j, "tokens", row->test.tokens);
    json_int(j, "batch", row->test.batch);
    json_int(j, "depth", row->test.depth);
    json_text(j, "sampler", sampler.data);
    json_int(j, "parameters", session->info.parameters);
    json_text(j, "device_name", session->plan.device_name);
    json_int(j, "threads", session->plan.threads);
    json_fixed(j, "measured_read_bytes_per_second", setup->read_bytes_per_second, 0);
    json_fixed(j, "measured_flops", setup->flops, 0);
    session_json(j, session);
    json_end(j);
    strbuf_free(&sampler);
}

static void print_json(struct strbuf *out, const struct speed_setup *setup, const struct speed_row *rows,
                       size_t count) {
    strbuf_text(out, count ? "[\n" : "[]\n");
    for (size_t i = 0; i < count; i++) {
        struct json j = {0};
        json_row(&j, setup, &rows[i]);
        strbuf_add(out, j.out.data, j.out.length);
        strbuf_text(out, i + 1 < count ? ",\n" : "\n]\n");
        strbuf_free(&j.out);
    }
}

/* RFC 4180: a field that holds quotes, commas or newlines is quoted. */
static void csv_field(struct strbuf *out, const char *text) {
    bool quote = text[strcspn(text, "\",\r\n")] != 0;
    if (quote) strbuf_char(out, '"');
    for (const char *c = text; *c; c++) {
        if (*c == '"') strbuf_char(out, '"');
        strbuf_char(out, *c);
    }
    if (quote) strbuf_char(out, '"');
}

static void csv_row(struct strbuf *out, const struct speed_setup *setup, const struct speed_row *row) {
    const struct session *session = setup->session;
    const char *const texts[] = {session->info.folder, session->plan.device, session->plan.instructions,
                                 session->plan.dtype, tempera_build()};
    struct strbuf sampler = {0};
    sampler_text(&sampler, setup);
    csv_field(out, row->name);
    strbuf_printf(out, ",%s,", unit(row));
    if (row->test.kind != SPEED_STARTUP) strbuf_printf(out, "%.3f", row->mean);
    strbuf_printf(out, ",%.6f,%.6f,%.6f,%.6f,%.6f,", row->mean, row->median, row->stddev, row->min, row->max);
    for (size_t i = 0; i < row->count; i++) strbuf_printf(out, "%s%.6f", i ? ";" : "", row->samples[i]);
    if (isnan(row->share_of_roofline))
        strbuf_text(out, ",,");
    else
        strbuf_printf(out, ",%.4f,%s", row->share_of_roofline, row->bound);
    strbuf_printf(out, ",%d,%d,%d,%d,", row->test.tokens, row->test.batch, row->test.depth, session->plan.threads);
    csv_field(out, sampler.data);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        strbuf_char(out, ',');
        csv_field(out, texts[i]);
    }
    strbuf_char(out, '\n');
    strbuf_free(&sampler);
}

static void print_csv(struct strbuf *out, const struct speed_setup *setup, const struct speed_row *rows, size_t count) {
    strbuf_text(out, "test,unit,tokens_per_second,mean,median,stddev,min,max,samples,share_of_roofline,roofline,tokens,"
                     "batch,depth,threads,sampler,model,device,instructions,dtype,build\n");
    for (size_t i = 0; i < count; i++) csv_row(out, setup, &rows[i]);
}

void speed_print(const struct speed_setup *setup, const struct speed_row *rows, size_t count,
                 enum speed_format format) {
    struct strbuf out = {0};
    switch (format) {
    case SPEED_TABLE: print_table(&out, setup, rows, count); break;
    case SPEED_MARKDOWN: print_markdown(&out, setup, rows, count); break;
    case SPEED_CSV: print_csv(&out, setup, rows, count); break;
    case SPEED_JSON: print_json(&out, setup, rows, count); break;
    }
    output_buf(&out);
    strbuf_free(&out);
}
