/* The engine under the thread sanitizer: a pool of three, many samples, and cancellation from another thread.
 * A plain main, because Criterion does not start under the sanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tempera/tempera.h"

enum { SETTINGS = 12 };

static tempera_engine *engine;
static atomic_int tokens;
static int samples, cancelled;

static void on_token(const tempera_token_event *event) {
    (void)event;
    atomic_fetch_add(&tokens, 1);
}

static void on_sample(const tempera_sample *sample) {
    samples++;
    cancelled += sample->finish == TEMPERA_FINISH_CANCELLED;
}

static void *cancel_after_some_tokens(void *arg) {
    const uint64_t *id = arg;
    while (atomic_load(&tokens) < 200) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    tempera_cancel(engine, *id);
    return NULL;
}

static int failed(const tempera_error *err) {
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

int main(void) {
    tempera_model *model;
    tempera_error err = {0};
    tempera_engine_options options = tempera_engine_options_default();
    options.device = "cpu";
    options.threads = 3;
    options.max_step_tokens = 8;
    if (tempera_model_open(TEMPERA_TEST_DIR "/../tools/demo/model", &model, &err) != TEMPERA_OK) return failed(&err);
    if (tempera_engine_open(model, &options, &engine, &err) != TEMPERA_OK) return failed(&err);
    tempera_sampling settings[SETTINGS];
    for (int i = 0; i < SETTINGS; i++) {
        settings[i] = tempera_sampling_default();
        settings[i].temperature = 0.2f * (float)i;
        settings[i].max_tokens = 60;
        settings[i].ignore_eos = true;
        settings[i].n = 2;
    }
    int32_t prompt[20];
    for (int i = 0; i < 20; i++) prompt[i] = 40 + i;
    tempera_request request = {.prompt = prompt,
                               .prompt_count = 20,
                               .settings = settings,
                               .setting_count = SETTINGS,
                               .on_token = on_token,
                               .on_sample = on_sample};
    uint64_t first, second;
    if (tempera_submit(engine, &request, &first, &err) != TEMPERA_OK) return failed(&err);
    if (tempera_submit(engine, &request, &second, &err) != TEMPERA_OK) return failed(&err);
    pthread_t canceller;
    if (pthread_create(&canceller, NULL, cancel_after_some_tokens, &second) != 0) return 1;
    if (tempera_run(engine, &err) != TEMPERA_OK) return failed(&err);
    pthread_join(canceller, NULL);
    tempera_engine_close(engine);
    tempera_model_close(model);
    printf("%d samples, %d cancelled, %d tokens\n", samples, cancelled, atomic_load(&tokens));
    return samples == 4 * SETTINGS && cancelled > 0 ? 0 : 1;
}
