/* filter_chain.h: a sampling chain cut after each step that does something, to show what each one does; and the largest
 * probability over a plane of temperature and top-p. */
#ifndef TOOLS_FILTER_CHAIN_H
#define TOOLS_FILTER_CHAIN_H

#include "json_writer.h"
#include "strbuf.h"
#include "tempera/tempera.h"

struct filter_chain {
    tempera_sampling settings[TEMPERA_STAGE_COUNT]; /* [count]; lists are borrowed from the setting */
    const char *names[TEMPERA_STAGE_COUNT];
    size_t count;
};
struct filter_chain filter_chain_make(const tempera_sampling *sampling);
/* The value that step i has, for its heading: "top_k 40"; penalties name theirs: "penalties repetition 1.1". */
void filter_chain_heading(struct strbuf *b, const struct filter_chain *chain, size_t i);

/* The plane: temperature 0.1 … 2 and top_p 0.05 … 1 in steps of 0.1 and 0.05, everything else off. */
enum { PLANE_SIDE = 20, PLANE_POINTS = PLANE_SIDE * PLANE_SIDE };
struct plane {
    float logprob[PLANE_POINTS]; /* of the most likely token, [temperature][top_p] */
    int32_t kept[PLANE_POINTS];  /* tokens that are left */
};
float plane_temperature(size_t i);
float plane_top_p(size_t i);
/* Computes it after a prompt, exactly. */
tempera_status plane_make(struct plane *plane, tempera_engine *engine, const int32_t *ids, size_t count,
                          tempera_error *err);
/* "plane": {"temperature": […], "top_p": […]}: the axes. */
void plane_axes_json(struct json *j);

#endif
