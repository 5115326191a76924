/* cli.c: runs the built program. */
#define _GNU_SOURCE /* posix_openpt and what belongs to it */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 64 };

/* An unnamed file that holds the bytes, to be read from its beginning. */
static int file_with(const char *bytes, size_t length) {
    FILE *file = tmpfile();
    int copy = dup(fileno(file));
    if (length) fwrite(bytes, 1, length, file);
    fclose(file);
    lseek(copy, 0, SEEK_SET);
    return copy;
}

static char *read_back(int file, size_t *length) {
    off_t size = lseek(file, 0, SEEK_END);
    char *text = calloc((size_t)size + 1, 1);
    lseek(file, 0, SEEK_SET);
    ssize_t count = read(file, text, (size_t)size);
    *length = count > 0 ? (size_t)count : 0;
    return text;
}

/* The side of a pseudo-terminal that a program sees, or -1. */
static int open_terminal(int master) {
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) return -1;
    const char *name = ptsname(master);
    return name ? open(name, O_RDWR | O_NOCTTY) : -1;
}

bool cli_has_terminals(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY), terminal = open_terminal(master);
    close(terminal);
    close(master);
    return terminal >= 0;
}

/* What the child writes to; *reader is where this process reads it, -1 when it does not while the child runs. */
static int open_output(const struct cli_way *way, int *reader) {
    int ends[2];
    *reader = -1;
    if (way->output) return open(way->output, O_WRONLY);
    if (way->terminal) {
        *reader = posix_openpt(O_RDWR | O_NOCTTY);
        return open_terminal(*reader);
    }
    if (way->closed_pipe || way->interrupt_after_bytes) {
        if (pipe(ends) != 0) return -1;
        if (way->closed_pipe)
            close(ends[0]);
        else
            *reader = ends[0];
        return ends[1];
    }
    return file_with(NULL, 0);
}

/* Reads until the child's side is closed; interrupts it on the way when asked to. */
static char *follow(const struct cli_way *way, int reader, pid_t child, size_t *length) {
    char *text = NULL, chunk[4096];
    bool sent = false;
    *length = 0;
    for (;;) {
        ssize_t count = read(reader, chunk, sizeof chunk);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break; /* a terminal ends with EIO */
        text = realloc(text, *length + (size_t)count + 1);
        memcpy(text + *length, chunk, (size_t)count);
        *length += (size_t)count;
        if (!sent && way->interrupt_after_bytes && *length >= (size_t)way->interrupt_after_bytes) {
            kill(child, SIGINT);
            sent = true;
        }
    }
    if (!text) text = calloc(1, 1);
    text[*length] = 0;
    return text;
}

static void become(const char *const *words, int input, int output, int error) {
    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    for (int i = 3; i < 64; i++) close(i);
    execv(TEMPERA_PROGRAM, (char *const *)(uintptr_t)words);
    _exit(127);
}

struct cli cli_run(const struct cli_way *way, const char *const *words) {
    const char *argv[WORDS] = {"tempera"};
    struct cli run = {.status = -1};
    int reader, status = 0;
    for (size_t i = 0; words[i] && i + 2 < WORDS; i++) argv[i + 1] = words[i];
    size_t input_length = way->input_length || !way->input ? way->input_length : strlen(way->input);
    int input = way->input ? file_with(way->input, input_length) : open("/dev/null", O_RDONLY);
    int output = open_output(way, &reader), error = file_with(NULL, 0);
    pid_t child = fork();
    if (child == 0) become(argv, input, output, error);
    if (reader >= 0) {
        close(output);
        run.out = follow(way, reader, child, &run.out_length);
        close(reader);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (!run.out) run.out = way->output || way->closed_pipe ? calloc(1, 1) : read_back(output, &run.out_length);
    run.err = read_back(error, &run.err_length);
    if (reader < 0) close(output);
    close(input);
    close(error);
    return run;
}

struct cli cli(const char *input, const char *first, ...) {
    const char *words[WORDS] = {first};
    va_list args;
    va_start(args, first);
    for (size_t i = 1; i + 1 < WORDS && words[i - 1]; i++) words[i] = va_arg(args, const char *);
    va_end(args);
    return cli_run(&(struct cli_way){.input = input}, words);
}

void cli_free(struct cli *run) {
    free(run->out);
    free(run->err);
}

size_t cli_lines(const char *text) {
    size_t count = 0;
    for (; *text; text++) count += *text == '\n';
    return count;
}

bool cli_one_line(const char *text) {
    return strncmp(text, "tempera: ", 9) == 0 && cli_lines(text) == 1 && text[strlen(text) - 1] == '\n';
}

cJSON *cli_json(const char *text, int line) {
    for (int i = 0; i < line; i++) {
        text = strchr(text, '\n');
        if (!text) return NULL;
        text++;
    }
    size_t length = line < 0 ? strlen(text) : strcspn(text, "\n");
    const char *end = NULL;
    char *copy = calloc(length + 1, 1);
    memcpy(copy, text, length);
    cJSON *value = cJSON_ParseWithOpts(copy, &end, true);
    free(copy);
    return value;
}

const cJSON *cli_get(const cJSON *object, const char *path) {
    char name[64];
    while (object && *path) {
        size_t length = strcspn(path, ".");
        if (length >= sizeof name) return NULL;
        memcpy(name, path, length);
        name[length] = 0;
        if (cJSON_IsArray(object))
            object = cJSON_GetArrayItem(object, atoi(name));
        else
            object = cJSON_GetObjectItemCaseSensitive(object, name);
        path += length + (path[length] == '.');
    }
    return object;
}

double cli_number(const cJSON *object, const char *path) {
    const cJSON *value = cli_get(object, path);
    return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

const char *cli_string(const cJSON *object, const char *path) {
    const cJSON *value = cli_get(object, path);
    return cJSON_IsString(value) ? value->valuestring : "";
}
