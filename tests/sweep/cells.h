/* cells.h: cells for the tests of metrics, from JSON or made of given tokens and texts. */
#ifndef TESTS_SWEEP_CELLS_H
#define TESTS_SWEEP_CELLS_H

#include <cjson/cJSON.h>

#include "sweep/metrics.h"

/* A whole file of fixtures/, parsed; ends the test when it cannot be read. Freed with cJSON_Delete. */
cJSON *read_fixture(const char *name);

/* Cells own all they point to and are never freed: tests are short. */

/* Of a fixture's cell: samples (tokens, text or hex, and the figures of each token, 0 where absent), references,
 * choices, answer, vocab. */
struct cell *cell_from_json(const cJSON *json);

/* `count` samples without tokens and texts, verdict -1, a prompt without an answer, and a vocabulary of 50257. */
struct cell *cell_new(size_t count);
struct sample_record *cell_sample(struct cell *cell, size_t sample); /* to be changed */
struct sweep_prompt *cell_prompt(struct cell *cell);
/* Copies the tokens; their figures are 0. */
void sample_set_tokens(struct sample_record *sample, const int32_t *tokens, size_t count);
void sample_set_text(struct sample_record *sample, const char *text); /* borrowed */

/* A stream of numbers for made-up cells. */
uint32_t next_random(uint64_t *state);

#endif
