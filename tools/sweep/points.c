/* points.c: settings of a sweep from grids, names and presets. */
#include "points.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "presets.h"

/* ---- fields ---- */

#define FIELD_ROW(field_kind, field_name, def, min, max, text)                                                         \
    [SAMPLING_##field_name] = {#field_name, FIELD_##field_kind, offsetof(tempera_sampling, field_name)},
const struct field_info field_info[SAMPLING_FIELDS] = {TEMPERA_SAMPLING_FIELDS(FIELD_ROW)};

bool field_is_identity(const struct field_info *field) {
    static const char *const others[] = {"n", "first_sample", "logprobs", "echo"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i], field->name) == 0) return false;
    return true;
}

static const void *field_at(const tempera_sampling *sampling, const struct field_info *field) {
    return (const char *)sampling + field->offset;
}

void field_show(struct strbuf *b, const tempera_sampling *sampling, const struct field_info *field) {
    const void *at = field_at(sampling, field);
    if (field->kind == FIELD_FLOAT)
        strbuf_float(b, *(const float *)at);
    else if (field->kind == FIELD_INT)
        strbuf_printf(b, "%d", (int)*(const int32_t *)at);
    else if (field->kind == FIELD_SEED)
        strbuf_printf(b, "%llu", (unsigned long long)*(const uint64_t *)at);
    else
        strbuf_text(b, *(const bool *)at ? "true" : "false");
}

double field_number(const tempera_sampling *sampling, const struct field_info *field) {
    const void *at = field_at(sampling, field);
    if (field->kind == FIELD_INT) return *(const int32_t *)at;
    if (field->kind == FIELD_SEED) return (double)*(const uint64_t *)at;
    if (field->kind == FIELD_BOOL) return *(const bool *)at;
    struct strbuf text = {0};
    field_show(&text, sampling, field);
    double value = strtod(text.data, NULL);
    strbuf_free(&text);
    return value;
}

static bool field_equal(const tempera_sampling *a, const tempera_sampling *b, const struct field_info *field) {
    return field_number(a, field) == field_number(b, field) &&
           (field->kind != FIELD_SEED ||
            *(const uint64_t *)field_at(a, field) == *(const uint64_t *)field_at(b, field));
}

/* ---- keys ---- */

static char *make_key(const tempera_sampling *sampling) {
    const tempera_sampling plain = tempera_sampling_default();
    struct json j = {0};
    char order[160];
    json_object(&j, NULL);
    for (size_t i = 0; i < SAMPLING_FIELDS; i++) {
        const struct field_info *field = &field_info[i];
        if (!field_is_identity(field) || field_equal(sampling, &plain, field)) continue;
        if (field->kind == FIELD_FLOAT)
            json_float(&j, field->name, *(const float *)field_at(sampling, field) + 0.0F); /* -0 is 0 */
        else if (field->kind == FIELD_INT)
            json_int(&j, field->name, *(const int32_t *)field_at(sampling, field));
        else if (field->kind == FIELD_SEED)
            json_uint(&j, field->name, *(const uint64_t *)field_at(sampling, field));
        else
            json_bool(&j, field->name, *(const bool *)field_at(sampling, field));
    }
    tempera_order_format(&sampling->order, order, sizeof order);
    if (strcmp(order, "default") != 0) json_text(&j, "order", order);
    if (sampling->independent) json_bool(&j, "independent", true);
    if (sampling->logit_bias_count || sampling->stop_count || sampling->stop_token_count)
        setting_json_lists(&j, sampling);
    json_end(&j);
    return j.out.data;
}

/* ---- axes ---- */

/* A decimal number as an integer of 10^-digits. */
struct decimal {
    int64_t value;
    int digits;
};

enum { DECIMAL_DIGITS = 9 };

static bool parse_decimal(const char *text, size_t length, struct decimal *out) {
    size_t at = length > 0 && (text[0] == '-' || text[0] == '+');
    bool point = false, any = false;
    *out = (struct decimal){0, 0};
    for (; at < length; at++) {
        if (text[at] == '.' && !point) {
            point = true;
        } else if (text[at] >= '0' && text[at] <= '9' && out->value < INT64_MAX / 100000 &&
                   (!point || out->digits < DECIMAL_DIGITS)) {
            out->value = out->value * 10 + (text[at] - '0');
            out->digits += point;
            any = true;
        } else {
            return false;
        }
    }
    if (text[0] == '-') out->value = -out->value;
    return any;
}

static bool scale_decimal(struct decimal *number, int digits) {
    for (; number->digits < digits; number->digits++) {
        if (number->value > INT64_MAX / 10 || number->value < INT64_MIN / 10) return false;
        number->value *= 10;
    }
    return number->value <= INT64_MAX / 4 && number->value >= INT64_MIN / 4; /* differences fit */
}

static char *show_decimal(struct decimal number) {
    char text[40];
    int64_t unit = 1;
    for (int i = 0; i < number.digits; i++) unit *= 10;
    int64_t whole = number.value / unit, rest = number.value % unit;
    if (rest < 0) rest = -rest;
    int length = snprintf(text, sizeof text, "%s%lld", number.value < 0 && whole == 0 ? "-" : "", (long long)whole);
    if (number.digits) snprintf(text + length, sizeof text - (size_t)length, ".%0*lld", number.digits, (long long)rest);
    if (number.digits) /* trailing zeros say nothing */
        for (size_t end = strlen(text); text[end - 1] == '0' || text[end - 1] == '.'; end--) {
            bool dot = text[end - 1] == '.';
            text[end - 1] = 0;
            if (dot) break;
        }
    return xdup(text, strlen(text));
}

enum { AXIS_VALUES = 100000 };

static bool add_value(const char *axis, char ***values, size_t *count, char *value) {
    if (*count == AXIS_VALUES) {
        complain(EXIT_USAGE, "--grid: %s has more than %d values", axis, AXIS_VALUES);
        free(value);
        return false;
    }
    if ((*count & (*count + 1)) == 0) *values = xgrow(*values, 2 * *count + 1, sizeof **values);
    (*values)[(*count)++] = value;
    return true;
}

/* "start:stop:step" */
static bool add_range(const char *axis, const char *text, size_t length, char ***values, size_t *count) {
    const char *first = memchr(text, ':', length);
    const char *second = first ? memchr(first + 1, ':', length - (size_t)(first + 1 - text)) : NULL;
    struct decimal start, stop, step;
    if (!second || !parse_decimal(text, (size_t)(first - text), &start) ||
        !parse_decimal(first + 1, (size_t)(second - first - 1), &stop) ||
        !parse_decimal(second + 1, (size_t)(text + length - second - 1), &step)) {
        complain(EXIT_USAGE, "--grid: %s: expected start:stop:step in decimal numbers, got \"%.*s\"", axis, (int)length,
                 text);
        return false;
    }
    int digits = start.digits > stop.digits ? start.digits : stop.digits;
    if (step.digits > digits) digits = step.digits;
    if (!scale_decimal(&start, digits) || !scale_decimal(&stop, digits) || !scale_decimal(&step, digits)) {
        complain(EXIT_USAGE, "--grid: %s: \"%.*s\" has too many digits", axis, (int)length, text);
        return false;
    }
    if (step.value == 0 || (stop.value != start.value && (stop.value > start.value) != (step.value > 0))) {
        complain(EXIT_USAGE, "--grid: %s: the step of \"%.*s\" %s", axis, (int)length, text,
                 step.value == 0 ? "is 0" : "leads away from its stop");
        return false;
    }
    int64_t steps = (stop.value - start.value) / step.value;
    for (int64_t k = 0; k <= steps; k++)
        if (!add_value(axis, values, count, show_decimal((struct decimal){start.value + k * step.value, digits})))
            return false;
    return true;
}

bool axis_values(const char *axis, const char *text, char ***values, size_t *count) {
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (length == 0) {
            complain(EXIT_USAGE, "--grid: %s has an empty value in \"%s\"", axis, text);
            return false;
        }
        bool good = memchr(at, ':', length) ? add_range(axis, at, length, values, count)
                                            : add_value(axis, values, count, xdup(at, length));
        if (!good) return false;
        at += length;
        if (!*at) return true;
    }
}

/* ---- grids ---- */

struct axis {
    char *name;
    char **values;
    size_t count;
};

struct grid {
    struct axis *axes;
    size_t count;
    double points;
};

static void grid_free(struct grid *grid) {
    for (size_t i = 0; i < grid->count; i++) {
        for (size_t k = 0; k < grid->axes[i].count; k++) free(grid->axes[i].values[k]);
        free(grid->axes[i].values);
        free(grid->axes[i].name);
    }
    free(grid->axes);
}

static bool axis_is_known(const char *name) {
    const char *names[SAMPLING_FIELDS + 1] = {"independent"};
    size_t count = 1;
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (field_is_identity(&field_info[i])) names[count++] = field_info[i].name;
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return true;
    const char *near = nearest_name(name, names, count);
    if (near)
        complain(EXIT_USAGE, "--grid: no axis is called \"%s\" (did you mean %s?)", name, near);
    else
        complain(EXIT_USAGE, "--grid: no axis is called \"%s\"", name);
    return false;
}

/* One word "name=values". */
static bool add_axis(struct grid *grid, const char *word, size_t length) {
    char *text = xdup(word, length);
    char *equals = strchr(text, '=');
    grid->axes = xgrow(grid->axes, grid->count + 1, sizeof *grid->axes);
    struct axis *axis = &grid->axes[grid->count++];
    *axis = (struct axis){0};
    bool good = equals != NULL;
    if (!equals) {
        complain(EXIT_USAGE, "--grid: expected name=values, got \"%s\"", text);
    } else {
        *equals = 0;
        for (char *c = text; *c; c++)
            if (*c == '-') *c = '_';
        axis->name = xdup(text, strlen(text));
        good = axis_is_known(text) && axis_values(text, equals + 1, &axis->values, &axis->count);
        for (size_t i = 0; good && i + 1 < grid->count; i++)
            if (strcmp(grid->axes[i].name, axis->name) == 0) {
                complain(EXIT_USAGE, "--grid: %s is named twice", axis->name);
                good = false;
            }
        grid->points *= (double)axis->count;
    }
    free(text);
    return good;
}

static bool grid_parse(struct grid *grid, const char *text) {
    *grid = (struct grid){.points = 1};
    for (const char *at = text + strspn(text, " \t\n"); *at; at += strspn(at, " \t\n")) {
        size_t length = strcspn(at, " \t\n");
        if (!add_axis(grid, at, length)) return false;
        at += length;
    }
    if (grid->count > 0) return true;
    complain(EXIT_USAGE, "--grid: the grid is empty");
    return false;
}

/* ---- points ---- */

struct making {
    struct point_list *list;
    const struct point_args *args;
    int32_t vocab_size;
};

static struct sweep_point *start_point(struct making *making) {
    struct point_list *list = making->list;
    if ((list->count & (list->count + 1)) == 0)
        list->items = xgrow(list->items, 2 * list->count + 1, sizeof *list->items);
    struct sweep_point *point = &list->items[list->count++];
    *point = (struct sweep_point){
        .sampling = list->base.items[0], .source = list->base.sources[0], .samples = making->args->samples};
    return point;
}

static int finish_point(struct making *making, struct sweep_point *point) {
    tempera_error err;
    for (size_t i = 0; i < SAMPLING_FIELDS; i++)
        if (!field_is_identity(&field_info[i]) &&
            !field_equal(&point->sampling, &making->list->base.items[0], &field_info[i]))
            return complain(EXIT_USAGE, "%s: %s is not part of a point (see --samples)", point->name,
                            field_info[i].name);
    if (tempera_sampling_check(&point->sampling, making->vocab_size, &err) != TEMPERA_OK) return complain_error(&err);
    /* Every statistic of a sample is kept. */
    point->sampling.logprobs = 1;
    point->sampling.echo = false;
    point->key = make_key(&point->sampling);
    return EXIT_DONE;
}

/* What all points share need not be in their names. */
static bool axis_is_named(const struct making *making, const struct grid *grid, const struct axis *axis) {
    const struct point_args *args = making->args;
    bool alone = args->grids.count == 1 && args->sampling.settings.count == 0 && !args->presets;
    return axis->count > 1 || !alone || grid->points <= 1;
}

static int add_grid(struct making *making, const struct grid *grid) {
    for (size_t k = 0; k < (size_t)grid->points; k++) {
        struct sweep_point *point = start_point(making);
        struct strbuf name = {0}, overlay = {0};
        size_t rest = k, block = (size_t)grid->points;
        for (size_t i = 0; i < grid->count; i++) { /* the last axis runs fastest */
            const struct axis *axis = &grid->axes[i];
            block /= axis->count;
            if (axis_is_named(making, grid, axis))
                strbuf_printf(&name, "%s%s=%s", name.length ? " " : "", axis->name, axis->values[rest / block]);
            strbuf_printf(&overlay, "%s%s=%s", i ? "," : "", axis->name, axis->values[rest / block]);
            rest %= block;
        }
        bool good = setting_overlay(&point->sampling, &point->source, overlay.data, "--grid");
        point->name = name.data;
        strbuf_free(&overlay);
        if (!good) return EXIT_USAGE;
        int status = finish_point(making, point);
        if (status) return status;
    }
    return EXIT_DONE;
}

/* "NAME: k=v,k=v": the name ends at the first ": " or ":" before any "=". */
static int add_named(struct making *making, const char *text) {
    const char *colon = strchr(text, ':'), *equals = strchr(text, '=');
    const char *setting = text;
    struct sweep_point *point = start_point(making);
    if (colon && (!equals || colon < equals)) {
        point->name = xdup(text, (size_t)(colon - text));
        setting = colon + 1 + strspn(colon + 1, " ");
        if (colon == text) return complain(EXIT_USAGE, "--setting: the name in \"%s\" is empty", text);
    } else {
        point->name = xdup(text, strlen(text));
    }
    if (!setting_overlay(&point->sampling, &point->source, setting, "--setting")) return EXIT_USAGE;
    return finish_point(making, point);
}

static int add_presets(struct making *making) {
    for (size_t i = 0; i < PRESETS; i++) {
        struct sweep_point *point = start_point(making);
        point->name = xdup(presets[i].name, strlen(presets[i].name));
        preset_apply(&presets[i], &point->sampling);
        point->source.field[SAMPLING_temperature] = point->source.field[SAMPLING_top_p] = SOURCE_PRESET;
        int status = finish_point(making, point);
        if (status) return status;
    }
    return EXIT_DONE;
}

/* With nothing to compare, the flags are the one point. */
static int add_base(struct making *making) {
    struct sweep_point *point = start_point(making);
    struct strbuf name = {0};
    setting_describe(&name, &point->sampling, SAMPLING_FILTERS);
    point->name = name.data;
    return finish_point(making, point);
}

/* ---- the list ---- */

static void free_point(struct sweep_point *point) {
    free(point->name);
    free(point->key);
}

struct place {
    const char *text; /* key or name */
    size_t index;
};
static int compare_places(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* Of points with the same key the first stays. */
static void drop_repetitions(struct point_list *list) {
    struct place *places = xarray(list->count, sizeof *places);
    bool *again = xarray(list->count, sizeof *again);
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) places[i] = (struct place){list->items[i].key, i};
    qsort(places, list->count, sizeof *places, compare_places);
    for (size_t i = 1; i < list->count; i++) again[places[i].index] = strcmp(places[i - 1].text, places[i].text) == 0;
    for (size_t i = 0; i < list->count; i++) {
        if (again[i])
            free_point(&list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
    free(places);
    free(again);
}

static int check_names(const struct point_list *list) {
    struct place *places = xarray(list->count, sizeof *places);
    int status = EXIT_DONE;
    for (size_t i = 0; i < list->count; i++) places[i] = (struct place){list->items[i].name, i};
    qsort(places, list->count, sizeof *places, compare_places);
    for (size_t i = 1; i < list->count && !status; i++)
        if (strcmp(places[i - 1].text, places[i].text) == 0)
            status = complain(EXIT_USAGE, "two different points are called \"%s\"", places[i].text);
    free(places);
    return status;
}

static int check_count(const struct point_args *args, double points) {
    if (points <= args->max_points) return EXIT_DONE;
    return complain(EXIT_USAGE, "%.0f points are more than --max-points %d; nothing was started", points,
                    (int)args->max_points);
}

static int make_points(struct making *making, const struct grid *grids) {
    const struct point_args *args = making->args;
    int status = EXIT_DONE;
    for (size_t i = 0; i < args->grids.count && !status; i++) status = add_grid(making, &grids[i]);
    for (size_t i = 0; i < args->sampling.settings.count && !status; i++)
        status = add_named(making, args->sampling.settings.items[i]);
    if (args->presets && !status) status = add_presets(making);
    if (making->list->count == 0 && !status) status = add_base(making);
    if (status) return status;
    drop_repetitions(making->list);
    return check_names(making->list);
}

int point_list_make(struct point_list *list, const struct point_args *args, const tempera_model *model) {
    struct making making = {.list = list, .args = args};
    struct sampling_args base = args->sampling;
    tempera_model_info info = {0};
    int status = EXIT_DONE;
    double points = (double)args->sampling.settings.count + (args->presets ? PRESETS : 0);
    *list = (struct point_list){0};
    if (model) tempera_model_info_get(model, &info);
    making.vocab_size = info.vocab_size;
    struct grid *grids = xarray(args->grids.count + 1, sizeof *grids);
    for (size_t i = 0; i < args->grids.count && !status; i++) {
        if (!grid_parse(&grids[i], args->grids.items[i])) status = EXIT_USAGE;
        points += grids[i].points;
    }
    if (!status) status = check_count(args, points);
    base.settings = (struct text_list){0};
    base.independent = args->independent;
    if (!status) status = setting_list_make(&list->base, &base, model);
    if (!status) status = make_points(&making, grids);
    for (size_t i = 0; i < args->grids.count; i++) grid_free(&grids[i]);
    free(grids);
    return status;
}

void point_list_free(struct point_list *list) {
    for (size_t i = 0; i < list->count; i++) free_point(&list->items[i]);
    free(list->items);
    setting_list_free(&list->base);
    *list = (struct point_list){0};
}
