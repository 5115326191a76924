/* startup.c: starts the program again and waits for its first token. */
#include "startup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "strbuf.h"

enum { WORDS = 32, FIRST_WORDS = 11 };

/* The command line of the measured run; the numbers' texts are kept in `numbers`. */
static void build_command(const char **words, char numbers[3][24], const char *folder, const struct common_args *args) {
    const char *const first[FIRST_WORDS] = {"tempera",        "generate", "--model",   folder,
                                            "--prompt-ids",   "1 2 3 4",  "--quiet",   "--json",
                                            "--max-tokens=1", "--device", args->device};
    size_t count = FIRST_WORDS;
    memcpy(words, first, sizeof first);
    words[count++] = "--dtype";
    words[count++] = args->dtype;
    if (args->instructions) {
        words[count++] = "--instructions";
        words[count++] = args->instructions;
    }
    if (args->fast) words[count++] = "--fast";
    snprintf(numbers[0], sizeof numbers[0], "--threads=%d", args->threads);
    snprintf(numbers[1], sizeof numbers[1], "--context=%d", args->context);
    snprintf(numbers[2], sizeof numbers[2], "%zu", args->kv_bytes);
    words[count++] = numbers[0];
    words[count++] = numbers[1];
    words[count++] = "--kv-cache";
    words[count++] = numbers[2];
    words[count] = NULL;
}

/* Seconds until the first byte; the rest is read so that the child can end. False when there was none. */
static bool wait_for_byte(int output, double start, double *seconds) {
    char bytes[4096];
    ssize_t count = read(output, bytes, 1);
    *seconds = seconds_now() - start;
    bool found = count == 1;
    while (count > 0 || (count < 0 && errno == EINTR)) count = read(output, bytes, sizeof bytes);
    return found;
}

int startup_once(const char *folder, const struct common_args *args, double *seconds) {
    const char *words[WORDS];
    char numbers[3][24];
    int ends[2], status = 0;
    build_command(words, numbers, folder, args);
    if (pipe(ends) != 0) return complain(EXIT_FAILED, "startup: %s", strerror(errno));
    double start = seconds_now();
    pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return complain(EXIT_FAILED, "startup: %s", strerror(errno));
    }
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv("/proc/self/exe", (char *const *)(uintptr_t)words); /* execv does not write to them */
        _exit(127);
    }
    close(ends[1]);
    bool found = wait_for_byte(ends[0], start, seconds);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (interrupted()) return EXIT_INTERRUPTED;
    if (found && WIFEXITED(status) && WEXITSTATUS(status) == 0) return EXIT_DONE;
    return complain(EXIT_FAILED, "startup: the measured run failed");
}
