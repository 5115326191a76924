/* points.h: the points of a sweep: settings by grid, by name and by preset. */
#ifndef SWEEP_POINTS_H
#define SWEEP_POINTS_H

#include "common.h"
#include "sampling_args.h"

/* A scalar field of a setting, as a column, a key and an axis. */
enum field_kind { FIELD_FLOAT, FIELD_INT, FIELD_SEED, FIELD_BOOL };
struct field_info {
    const char *name;
    enum field_kind kind;
    size_t offset; /* in tempera_sampling */
};
extern const struct field_info field_info[SAMPLING_FIELDS];
/* Whether what a sample is depends on it: all but n, first_sample, logprobs and echo. */
bool field_is_identity(const struct field_info *field);
/* The value as the fewest digits that read back to it; "true" and "false". */
void field_show(struct strbuf *b, const tempera_sampling *sampling, const struct field_info *field);
/* The same as a number: of a float the decimal that field_show gives (0.8, not 0.80000001). */
double field_number(const tempera_sampling *sampling, const struct field_info *field);

struct sweep_point {
    char *name; /* owned: the given one, else what differs from the other points: "temperature=0.8 top_p=0.95" */
    char *key;  /* owned: JSON of all fields that differ from the defaults of TEMPERA_SAMPLING_FIELDS, `order`,
                   `independent` and the lists included; n, first_sample, logprobs and echo are not part of it. Equal keys
                   mean equal samples */
    tempera_sampling sampling; /* lists are borrowed from the arguments' setting_list */
    struct setting_source source;
    int32_t samples; /* for each prompt */
};

struct point_list {
    struct sweep_point *items;
    size_t count;
    struct setting_list base; /* owns the lists of all points */
};

struct point_args {
    struct sampling_args sampling; /* the base; its `settings` are the named points "NAME: k=v,k=v" or "k=v" */
    struct text_list grids;        /* "temperature=0:1.6:0.2 top_p=0.5,0.9": each --grid is one cartesian product */
    bool presets;                  /* the points of the content-type table */
    int32_t samples;
    int32_t max_points;
    bool independent;
};

/* The points of all flags in the order grids, settings, presets, without repetitions. Refused: an axis that does not
 * exist, an empty list, a range whose step has the wrong sign or is 0, more than max_points (the count is printed).
 * point_list_free is needed either way. */
int point_list_make(struct point_list *list, const struct point_args *args, const tempera_model *model);
void point_list_free(struct point_list *list);

/* Values of one axis, "0:1.6:0.2" (start:stop:step, the stop included) or "0.5,0.8,0.9"; a list may hold ranges. Texts
 * that tempera_sampling_set takes, decimal arithmetic: 0:1:0.1 gives 0.3, not 0.30000000000000004. Appended to *values
 * (owned). False after complaining. */
bool axis_values(const char *axis, const char *text, char ***values, size_t *count);

#endif
