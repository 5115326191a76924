/* small_store.h: databases of a few samples, made through the store's functions. */
#ifndef TESTS_SMALL_STORE_H
#define TESTS_SMALL_STORE_H

#include <stdbool.h>

#include "sweep/store.h"

enum { SMALL_TOKENS = 32, SMALL_VOCAB = 50, SMALL_TEXT = 4096 };

/* One sample; what is not set stays 0. */
struct small_sample {
    int32_t prompt, point, sample;
    bool absent;
    char text[SMALL_TEXT];
    int32_t tokens[SMALL_TOKENS];
    tempera_token_stat stats[SMALL_TOKENS];
    size_t count;
    tempera_finish finish;
};

struct small_shape {
    size_t prompts, points, samples;
    void (*prompt)(size_t index, struct sweep_prompt *prompt); /* sets owned texts; id and text are there */
    void (*sample)(struct small_sample *sample);
};

/* Point p has temperature (p + 1) / 10 and top_p 0.9, and is named "t=0.1" and so on. The database must not exist. */
void small_store_make(const char *path, const struct small_shape *shape);
/* A path in a new folder; owned by the caller. */
char *small_store_path(void);
void small_store_remove(char *path); /* the file, its folder, and the string */

/* Text, distinct for each sample, and log-probabilities, with 0 … SMALL_TOKENS - 1 tokens. */
void small_sample_random(struct small_sample *sample);

#endif
