/* child.c: another program, run to its end or to a time limit. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum { MOST_OUT = 16 << 20, MOST_ERR = 8192, NOT_STARTED = 127 };

void child_free(struct child *child) {
    strbuf_free(&child->out);
    strbuf_free(&child->err);
}

/* A group of its own: the terminal's Ctrl-C comes here only, and one kill reaches all it starts. */
static void become(const char *const *argv, int out, int err) {
    int null = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(argv[0], (char *const *)(uintptr_t)argv); /* execv does not write to them */
    _exit(NOT_STARTED);
}

/* Keeps the end when there is more than `most`. */
static void add_tail(struct strbuf *b, const char *bytes, size_t length, size_t most) {
    strbuf_add(b, bytes, length);
    if (b->length <= 2 * most) return;
    memmove(b->data, b->data + b->length - most, most + 1);
    b->length = most;
}

/* False at the end of the stream. */
static bool take(int end, struct strbuf *b, bool tail) {
    char bytes[4096];
    ssize_t count = read(end, bytes, sizeof bytes);
    if (count < 0) return errno == EINTR;
    if (tail)
        add_tail(b, bytes, (size_t)count, MOST_ERR);
    else
        strbuf_add(b, bytes, (size_t)count);
    return count > 0;
}

enum ending { ENDED, TIME_OVER, TOO_MUCH, STOPPED };

/* Reads both streams until both have ended, or something ends it. */
static enum ending follow(struct child *child, int out, int err, double deadline) {
    struct pollfd ends[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
        double left = deadline - seconds_now();
        if (interrupted()) return STOPPED;
        if (left <= 0) return TIME_OVER;
        int ready = poll(ends, 2, left < 1 ? (int)(left * 1e3) + 1 : 1000);
        if (ready <= 0) continue;
        if (ends[0].revents && !take(out, &child->out, false)) ends[0].fd = -1;
        if (ends[1].revents && !take(err, &child->err, true)) ends[1].fd = -1;
        if (child->out.length > MOST_OUT) return TOO_MUCH;
    }
    return ENDED;
}

/* Waits for its end, which a program that has closed its streams need not have reached. */
static enum ending wait_for(pid_t pid, int *status, double deadline) {
    const struct timespec pause = {.tv_nsec = 2000000};
    for (;;) {
        pid_t done = waitpid(pid, status, WNOHANG);
        if (done == pid) return ENDED;
        if (interrupted()) return STOPPED;
        if (seconds_now() > deadline) return TIME_OVER;
        nanosleep(&pause, NULL);
    }
}

/* The last line that is not empty; cut to what a line of ours can take. */
static const char *last_line(struct strbuf *b) {
    while (b->length && strchr("\r\n \t", b->data[b->length - 1])) b->data[--b->length] = 0;
    if (!b->length) return "";
    char *newline = strrchr(b->data, '\n');
    char *line = newline ? newline + 1 : b->data;
    if (strlen(line) > 200) line[200] = 0;
    return line;
}

static int judge(struct child *child, const char *path, int status, double seconds, enum ending ending,
                 const char *what) {
    const char *said = last_line(&child->err), *colon = *said ? ": " : "";
    if (ending == STOPPED) return EXIT_INTERRUPTED;
    if (ending == TIME_OVER) return complain(EXIT_FAILED, "%s: no end within %g s (--time-limit)", what, seconds);
    if (ending == TOO_MUCH) return complain(EXIT_FAILED, "%s: writes more than %d MiB", what, MOST_OUT >> 20);
    if (WIFSIGNALED(status))
        return complain(EXIT_FAILED, "%s: ended by signal %d%s%s", what, WTERMSIG(status), colon, said);
    if (WEXITSTATUS(status) == NOT_STARTED && !*said) return complain(EXIT_FAILED, "%s: %s cannot be run", what, path);
    if (WEXITSTATUS(status) != 0)
        return complain(EXIT_FAILED, "%s: exit status %d%s%s", what, WEXITSTATUS(status), colon, said);
    return EXIT_DONE;
}

int child_run(struct child *child, const char *const *argv, double seconds, const char *what) {
    int out[2], err[2], status = 0;
    double deadline = seconds_now() + seconds;
    *child = (struct child){0};
    if (pipe(out) != 0) return complain(EXIT_FAILED, "%s: %s", what, strerror(errno));
    if (pipe(err) != 0) {
        close(out[0]);
        close(out[1]);
        return complain(EXIT_FAILED, "%s: %s", what, strerror(errno));
    }
    for (int i = 0; i < 2; i++) {
        fcntl(out[i], F_SETFD, FD_CLOEXEC);
        fcntl(err[i], F_SETFD, FD_CLOEXEC);
    }
    pid_t pid = fork();
    if (pid == 0) become(argv, out[1], err[1]);
    int failure = errno;
    close(out[1]);
    close(err[1]);
    enum ending ending = ENDED;
    if (pid > 0) {
        setpgid(pid, pid); /* whoever is first */
        ending = follow(child, out[0], err[0], deadline);
        if (ending == ENDED) ending = wait_for(pid, &status, deadline);
        if (ending != ENDED) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
        }
    }
    close(out[0]);
    close(err[0]);
    if (pid < 0) return complain(EXIT_FAILED, "%s: %s", what, strerror(failure));
    return judge(child, argv[0], status, seconds, ending, what);
}
