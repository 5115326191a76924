#include "presets.h"

#include <string.h>

#include "common.h"

const struct preset presets[PRESETS] = {
    {"facts", "fact-based answers", {0, 20}, {10, 30}},
    {"formal", "formal writing", {20, 40}, {20, 50}},
    {"creative", "creative writing", {70, 100}, {80, 100}},
    {"casual", "casual conversation", {50, 70}, {60, 80}},
    {"brainstorming", "brainstorming", {80, 120}, {90, 100}},
    {"marketing", "marketing texts", {60, 80}, {70, 90}},
    {"coding", "code", {10, 30}, {10, 30}},
    {"summaries", "summaries", {30, 50}, {30, 60}},
    {"products", "product descriptions", {50, 70}, {60, 80}},
};

const struct preset *preset_find(const char *name, const char *what) {
    const char *names[PRESETS];
    for (size_t i = 0; i < PRESETS; i++) {
        if (strcmp(presets[i].name, name) == 0) return &presets[i];
        names[i] = presets[i].name;
    }
    const char *near = nearest_name(name, names, PRESETS);
    if (near)
        complain(EXIT_USAGE, "%s: no preset is called \"%s\" (did you mean %s?)", what, name, near);
    else
        complain(EXIT_USAGE, "%s: no preset is called \"%s\" (see tempera presets)", what, name);
    return NULL;
}

static float middle(const int range[2]) {
    return (float)((range[0] + range[1]) / 200.0);
}

void preset_apply(const struct preset *preset, tempera_sampling *sampling) {
    sampling->temperature = middle(preset->temperature);
    sampling->top_p = middle(preset->top_p);
}
