/* presets.h: recommended temperature and top_p by kind of content: ranges, of which a preset is the middle. */
#ifndef TOOLS_PRESETS_H
#define TOOLS_PRESETS_H

#include <stddef.h>

#include "tempera/sampling.h"

struct preset {
    const char *name, *title;
    int temperature[2], top_p[2]; /* least and most, in hundredths */
};
enum { PRESETS = 9 };
extern const struct preset presets[PRESETS];

/* NULL when there is none of that name, after a complaint that names `what`. */
const struct preset *preset_find(const char *name, const char *what);
/* Sets temperature and top_p to the middle of the preset's ranges. */
void preset_apply(const struct preset *preset, tempera_sampling *sampling);

#endif
