/* fault_main.c: every CUDA call of a small generation fails in turn: once as a call that fails and leaves the device alone,
 * once as the loss of the device. The library must say so in one line or do without, give the same tokens if it goes on, and
 * leave nothing behind: no crash, no hang, no device object, and under the address sanitizer no leak. Each fault has a
 * process of its own. Then the same with devices whose memory is too small.
 *
 *     fault MODULE MODEL-FOLDER [EVERY]    only every EVERY-th call (losses of the device fall between failures), and the
 *                                          first of each name
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tempera/tempera.h"

enum { TOKENS = 6, SAMPLES = 3, PROMPT = 70, JOBS = 2, PATIENCE = 120 /* seconds */, NAMES = 4096, NAME_BYTES = 64 };
enum { DONE = 0, FAILED = 1, WRONG_TOKENS = 40, NO_MESSAGE, LEFT_BEHIND };

struct fault {
    uint64_t call; /* 0: none */
    bool sticky;
    uint64_t memory; /* bytes of the device, 0: enough */
};

/* The emulated runtime, by dlsym (tests/simt/simt_runtime.h). */
static uint64_t (*calls)(void);
static void (*fail_call)(uint64_t call, bool sticky);
static size_t (*live_objects)(void);

static tempera_model *model;
static int32_t step_tokens; /* the prompt takes two steps, or one, in which cuBLASLt has its part */
static int32_t expected[SAMPLES][TOKENS], drawn[SAMPLES][TOKENS];

static void on_sample(const tempera_sample *sample) {
    for (size_t i = 0; i < sample->token_count && i < TOKENS; i++) drawn[sample->sample_index][i] = sample->tokens[i];
}

static tempera_status generate(tempera_engine *engine, tempera_error *err) {
    int32_t prompt[PROMPT];
    tempera_sampling setting = tempera_sampling_default();
    setting.max_tokens = TOKENS;
    setting.n = SAMPLES;
    setting.ignore_eos = true;
    setting.temperature = 1;
    for (int i = 0; i < PROMPT; i++) prompt[i] = 3 + i * 7 % 90;
    tempera_request request = {
        .prompt = prompt, .prompt_count = PROMPT, .settings = &setting, .setting_count = 1, .on_sample = on_sample};
    tempera_status status = tempera_submit(engine, &request, NULL, err);
    return status == TEMPERA_OK ? tempera_run(engine, err) : status;
}

/* One generation; what the process ends with. */
static int run(void) {
    tempera_engine *engine = NULL;
    tempera_error err = {0};
    tempera_engine_options options = tempera_engine_options_default();
    options.device = "simt";
    options.max_rows = 4;
    options.max_branches = 4;
    options.max_step_tokens = step_tokens;
    memset(drawn, 0xFF, sizeof drawn);
    tempera_status status = tempera_engine_open(model, &options, &engine, &err);
    if (status == TEMPERA_OK) status = generate(engine, &err);
    tempera_engine_close(engine);
    if (live_objects() != 0) {
        fprintf(stderr, "%zu device objects are left\n", live_objects());
        return LEFT_BEHIND;
    }
    if (status == TEMPERA_OK) return DONE;
    if (!err.message[0]) return NO_MESSAGE;
    fprintf(stderr, "%s\n", err.message);
    return FAILED;
}

/* What the child prints goes to a file without a name. */
struct child {
    pid_t pid;
    FILE *output;
    struct fault fault;
};

static struct child start(struct fault fault) {
    struct child child = {.output = tmpfile(), .fault = fault};
    fflush(NULL);
    child.pid = fork();
    if (child.pid != 0) return child;
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)fault.memory);
    if (fault.memory) setenv("TEMPERA_SIMT_MEMORY", bytes, 1);
    dup2(fileno(child.output), STDOUT_FILENO);
    dup2(fileno(child.output), STDERR_FILENO);
    alarm(PATIENCE);
    fail_call(fault.call, fault.sticky);
    int result = run();
    if (result == DONE && memcmp(drawn, expected, sizeof drawn) != 0) result = WRONG_TOKENS;
    tempera_model_close(model);
    exit(result); /* the leak checker runs, and may change the status */
}

static const char *name_of(char names[][NAME_BYTES], uint64_t call) {
    return call > 0 && call <= NAMES ? names[call - 1] : "";
}

/* Waits for the child; false, after saying why, when it did not end as it should. */
static bool finish(struct child *child, char names[][NAME_BYTES], int *results) {
    int status = 0, lines = 0;
    char line[4096], first[4096] = "";
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) continue;
    rewind(child->output);
    while (fgets(line, sizeof line, child->output)) {
        if (lines == 0) memcpy(first, line, sizeof first);
        lines++;
    }
    int result = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    bool good = (result == DONE && lines == 0) || (result == FAILED && lines == 1);
    if (good) results[result]++;
    if (!good) {
        fprintf(stderr, "call %llu %s%s, memory %llu: %s %d, %d lines:\n", (unsigned long long)child->fault.call,
                name_of(names, child->fault.call), child->fault.sticky ? " (device lost)" : "",
                (unsigned long long)child->fault.memory, WIFEXITED(status) ? "exit status" : "signal",
                WIFEXITED(status) ? result : WTERMSIG(status), lines);
        rewind(child->output);
        for (int i = 0; i < 30 && fgets(line, sizeof line, child->output); i++) fprintf(stderr, "    %s", line);
    }
    fclose(child->output);
    return good;
}

/* All faults, JOBS at a time. */
static int run_faults(const struct fault *faults, size_t count, char names[][NAME_BYTES]) {
    struct child child[JOBS];
    int bad = 0, results[2] = {0};
    for (size_t i = 0; i < count + JOBS; i++) {
        if (i >= JOBS && i - JOBS < count) bad += !finish(&child[i % JOBS], names, results);
        if (i < count) child[i % JOBS] = start(faults[i]);
    }
    printf("%zu faults: %d ended in one line, %d were survived, %d went wrong\n", count, results[FAILED], results[DONE],
           bad);
    return bad;
}

/* The names of the calls of a run without faults, and its tokens; 0: it failed. */
static uint64_t run_clean(char names[][NAME_BYTES]) {
    int ends[2];
    char list[] = "/tmp/tempera-calls-XXXXXX", line[NAME_BYTES + 2];
    int file = mkstemp(list), status = 0;
    if (file < 0 || pipe(ends) != 0) return 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("TEMPERA_SIMT_CALLS", list, 1);
        alarm(PATIENCE);
        int result = run();
        tempera_model_close(model);
        if (write(ends[1], drawn, sizeof drawn) != (ssize_t)sizeof drawn) result = FAILED;
        exit(result);
    }
    close(ends[1]);
    bool whole = read(ends[0], expected, sizeof expected) == (ssize_t)sizeof expected;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    close(ends[0]);
    uint64_t count = 0;
    FILE *read_back = fdopen(file, "r");
    while (read_back && fgets(line, sizeof line, read_back)) {
        if (count < NAMES) snprintf(names[count], NAME_BYTES, "%.*s", (int)strcspn(line, "\n"), line);
        count++;
    }
    if (read_back) fclose(read_back);
    remove(list);
    if (whole && WIFEXITED(status) && WEXITSTATUS(status) == DONE) return count;
    fprintf(stderr, "the run without faults failed\n");
    return 0;
}

static bool first_of_name(char names[][NAME_BYTES], uint64_t call) {
    if (call > NAMES) return false;
    for (uint64_t i = 1; i < call; i++)
        if (strcmp(names[i - 1], names[call - 1]) == 0) return false;
    return true;
}

static int run_width(char names[][NAME_BYTES], uint64_t every) {
    const uint64_t count = run_clean(names);
    if (count == 0) return 1;
    struct fault *faults = malloc((2 * count + 32) * sizeof *faults);
    size_t chosen = 0;
    for (uint64_t call = 1; call <= count; call++)
        for (int sticky = 0; sticky < 2; sticky++)
            if ((call + (sticky ? every / 2 : 0)) % every == 0 || first_of_name(names, call))
                faults[chosen++] = (struct fault){.call = call, .sticky = sticky};
    for (uint64_t memory = 4096; memory <= (uint64_t)64 << 20; memory *= 2)
        faults[chosen++] = (struct fault){.memory = memory};
    printf("steps of %d tokens: %llu calls\n", step_tokens, (unsigned long long)count);
    int bad = run_faults(faults, chosen, names);
    free(faults);
    return bad;
}

static bool find_runtime(const char *path) {
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol;
    if (!module) return fprintf(stderr, "%s\n", dlerror()), false;
    symbol = dlsym(module, "simt_calls"), memcpy(&calls, &symbol, sizeof calls);
    symbol = dlsym(module, "simt_fail_call"), memcpy(&fail_call, &symbol, sizeof fail_call);
    symbol = dlsym(module, "simt_live_objects"), memcpy(&live_objects, &symbol, sizeof live_objects);
    return calls && fail_call && live_objects;
}

int main(int argc, char **argv) {
    static char names[NAMES][NAME_BYTES];
    tempera_error err = {0};
    uint64_t every = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (argc < 3 || every < 1) return fprintf(stderr, "usage: %s MODULE MODEL-FOLDER [EVERY]\n", argv[0]), 2;
    unsetenv("HOME"), unsetenv("XDG_CACHE_HOME"); /* nothing is remembered from run to run */
    if (!find_runtime(argv[1])) return 1;
    if (tempera_model_open(argv[2], &model, &err) != TEMPERA_OK) return fprintf(stderr, "%s\n", err.message), 1;
    static const int32_t widths[] = {48, 80};
    int bad = 0;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        step_tokens = widths[i];
        bad += run_width(names, every);
    }
    tempera_model_close(model);
    return bad != 0;
}
