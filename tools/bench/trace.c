/* trace.c: requests over time. */
#include "trace.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "random.h"
#include "strbuf.h"

#define LINE_FORM "SECONDS PROMPT_TOKENS OUTPUT_TOKENS"

enum { MOST_TOKENS = 1 << 24 };
static const double MOST_SECONDS = 1e6;

struct reading {
    struct trace *trace;
    const char *path;
    size_t line;
    int status;
};

/* Room doubles whenever a power of two is full. */
static struct arrival *add_arrival(struct trace *trace) {
    if ((trace->count & (trace->count - 1)) == 0)
        trace->items = xgrow(trace->items, trace->count ? 2 * trace->count : 1, sizeof *trace->items);
    struct arrival *arrival = &trace->items[trace->count++];
    *arrival = (struct arrival){0};
    return arrival;
}

void trace_free(struct trace *trace) {
    for (size_t i = 0; i < trace->count; i++) free(trace->items[i].text);
    free(trace->items);
    *trace = (struct trace){0};
}

static void wrong(struct reading *reading, const char *what) {
    reading->status = complain(EXIT_FAILED, "%s:%zu: %s", reading->path, reading->line, what);
}

/* ---- one line ---- */

/* A number in low … high, whole when it says so. */
static bool is_number(double value, double low, double high, bool whole) {
    return value >= low && value <= high && (!whole || value == floor(value)); /* false for NaN */
}

static void set_numbers(struct reading *reading, struct arrival *arrival, double seconds, double prompt,
                        double output) {
    const struct arrival *before = reading->trace->count > 1 ? arrival - 1 : NULL;
    if (!is_number(seconds, 0, MOST_SECONDS, false))
        wrong(reading, "seconds: expected a number from 0 to 1000000");
    else if (before && seconds < before->seconds)
        wrong(reading, "seconds: earlier than the request before it");
    else if (!arrival->text && !is_number(prompt, 1, MOST_TOKENS, true))
        wrong(reading, "prompt_tokens: expected a whole number from 1 to 16777216");
    else if (!is_number(output, 1, MOST_TOKENS, true))
        wrong(reading, "output_tokens: expected a whole number from 1 to 16777216");
    if (reading->status) return;
    arrival->seconds = seconds;
    arrival->prompt_tokens = arrival->text ? 0 : (int32_t)prompt;
    arrival->output_tokens = (int32_t)output;
}

static void read_plain(struct reading *reading, char *line, struct arrival *arrival) {
    double numbers[3];
    char *at = line;
    for (int i = 0; i < 3; i++) {
        char *end;
        at += strspn(at, " \t,");
        numbers[i] = strtod(at, &end);
        if (end == at || (*end && !strchr(" \t,", *end))) {
            wrong(reading, "expected " LINE_FORM " or a JSON object");
            return;
        }
        at = end;
    }
    if (at[strspn(at, " \t,")])
        wrong(reading, "expected " LINE_FORM " and nothing after them");
    else
        set_numbers(reading, arrival, numbers[0], numbers[1], numbers[2]);
}

static double member(const cJSON *object, const char *name) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

static void read_json(struct reading *reading, const char *line, struct arrival *arrival) {
    cJSON *object = cJSON_ParseWithOpts(line, NULL, true); /* true: nothing may follow */
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(object, "prompt");
    if (!cJSON_IsObject(object))
        wrong(reading, "not a JSON object");
    else if (prompt && (!cJSON_IsString(prompt) || strstr(line, "\\u0000")))
        wrong(reading, "prompt: expected a text");
    else if (prompt && cJSON_HasObjectItem(object, "prompt_tokens"))
        wrong(reading, "prompt and prompt_tokens exclude each other");
    if (!reading->status) {
        if (prompt) arrival->text = xdup(prompt->valuestring, strlen(prompt->valuestring));
        set_numbers(reading, arrival, member(object, "seconds"), member(object, "prompt_tokens"),
                    member(object, "output_tokens"));
    }
    cJSON_Delete(object);
}

static void read_line(void *user, const char *bytes, size_t length) {
    struct reading *reading = user;
    reading->line++;
    if (length && bytes[length - 1] == '\r') length--;
    if (reading->status) return;
    if (memchr(bytes, 0, length)) {
        wrong(reading, "holds a NUL byte");
        return;
    }
    char *line = xdup(bytes, length);
    const char *first = line + strspn(line, " \t");
    if (*first && *first != '#') {
        struct arrival *arrival = add_arrival(reading->trace);
        arrival->line = reading->line;
        if (*first == '{')
            read_json(reading, line, arrival);
        else
            read_plain(reading, line, arrival);
    }
    free(line);
}

int trace_read(struct trace *trace, const char *path) {
    struct text text;
    struct reading reading = {.trace = trace, .path = strcmp(path, "-") == 0 ? "standard input" : path};
    int status = read_text(path, &text);
    if (status) return status;
    each_line(&text, read_line, &reading);
    free(text.bytes);
    if (!reading.status && trace->count == 0) return complain(EXIT_FAILED, "%s: holds no request", reading.path);
    return reading.status;
}

/* ---- Poisson ---- */

void trace_poisson(struct trace *trace, size_t count, double rate, uint64_t seed) {
    double seconds = 0;
    for (size_t i = 0; i < count; i++) {
        seconds -= log(random_unit(&seed)) / rate;
        add_arrival(trace)->seconds = seconds;
    }
}
