/* browser.c: drives headless Chromium. */
#include "browser.h"

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "strbuf.h"

struct browser {
    pid_t process;
    int in, out; /* commands to it, answers from it: JSON, each ended by a NUL */
    int next_id;
    char *session;      /* of the page */
    char profile[64];   /* a folder of its own */
    char page[4096];    /* URL that is open */
    struct strbuf read; /* bytes that came and were not used */
    struct strbuf problems;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- messages ---- */

/* The next message; NULL when none came in `seconds`. */
static cJSON *receive(struct browser *b, double seconds) {
    double end = now() + seconds;
    for (;;) {
        char *stop = b->read.length ? memchr(b->read.data, 0, b->read.length) : NULL;
        if (stop) {
            size_t length = (size_t)(stop - b->read.data) + 1;
            cJSON *message = cJSON_Parse(b->read.data);
            memmove(b->read.data, b->read.data + length, b->read.length - length);
            b->read.length -= length;
            return message;
        }
        struct pollfd ready = {.fd = b->out, .events = POLLIN};
        double left = end - now();
        if (left <= 0 || poll(&ready, 1, (int)(left * 1000) + 1) <= 0) return NULL;
        char bytes[65536];
        ssize_t got = read(b->out, bytes, sizeof bytes);
        if (got <= 0) return NULL;
        strbuf_add(&b->read, bytes, (size_t)got);
    }
}

static void add_problem(struct browser *b, const char *what, const cJSON *detail) {
    char *text = cJSON_PrintUnformatted(detail);
    strbuf_printf(&b->problems, "%s: %.600s\n", what, text ? text : "");
    cJSON_free(text);
}

static void note_event(struct browser *b, const cJSON *message) {
    const char *method = cli_string(message, "method");
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(message, "params");
    if (strcmp(method, "Runtime.exceptionThrown") == 0) add_problem(b, "exception", params);
    if (strcmp(method, "Runtime.consoleAPICalled") == 0) add_problem(b, "console", params);
    if (strcmp(method, "Log.entryAdded") == 0) add_problem(b, "log", params);
    if (strcmp(method, "Network.requestWillBeSent") == 0 && strcmp(cli_string(params, "request.url"), b->page) != 0)
        add_problem(b, "request", params);
}

/* The result of a command, owned; NULL when it failed. Takes `params`, which may be NULL. */
static cJSON *command(struct browser *b, const char *method, cJSON *params) {
    cJSON *message = cJSON_CreateObject(), *result = NULL;
    int id = ++b->next_id;
    cJSON_AddNumberToObject(message, "id", id);
    cJSON_AddStringToObject(message, "method", method);
    if (params) cJSON_AddItemToObject(message, "params", params);
    if (b->session) cJSON_AddStringToObject(message, "sessionId", b->session);
    char *text = cJSON_PrintUnformatted(message);
    size_t length = strlen(text) + 1;
    bool sent = write(b->in, text, length) == (ssize_t)length;
    cJSON_free(text);
    cJSON_Delete(message);
    while (sent) {
        cJSON *answer = receive(b, 60);
        if (!answer) break;
        const cJSON *number = cJSON_GetObjectItemCaseSensitive(answer, "id");
        bool mine = number && number->valueint == id;
        if (mine) result = cJSON_DetachItemFromObjectCaseSensitive(answer, "result");
        if (!mine) note_event(b, answer);
        cJSON_Delete(answer);
        if (mine) break;
    }
    return result;
}

/* ---- its life ---- */

static const char *chromium(void) {
    static const char *const paths[] = {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (access(paths[i], X_OK) == 0) return paths[i];
    return NULL;
}

static void run_chromium(const char *path, const struct browser *b, int in, int out) {
    char profile[96];
    int nothing = open("/dev/null", O_RDWR);
    snprintf(profile, sizeof profile, "--user-data-dir=%s", b->profile);
    setpgid(0, 0);
    dup2(nothing, 0);
    dup2(nothing, 1);
    dup2(nothing, 2);
    /* It reads commands from descriptor 3 and answers on 4. */
    int high_in = fcntl(in, F_DUPFD, 10), high_out = fcntl(out, F_DUPFD, 10);
    dup2(high_in, 3);
    dup2(high_out, 4);
    close(high_in);
    close(high_out);
    execl(path, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
          "--remote-debugging-pipe", profile, "about:blank", (char *)NULL);
    _exit(127);
}

static bool attach(struct browser *b) {
    cJSON *targets = command(b, "Target.getTargets", NULL);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(targets, "targetInfos"), *target;
    cJSON *params = NULL;
    cJSON_ArrayForEach(target, list) {
        if (params || strcmp(cli_string(target, "type"), "page") != 0) continue;
        params = cJSON_CreateObject();
        cJSON_AddStringToObject(params, "targetId", cli_string(target, "targetId"));
        cJSON_AddBoolToObject(params, "flatten", true);
    }
    cJSON_Delete(targets);
    if (!params) return false;
    cJSON *session = command(b, "Target.attachToTarget", params);
    const char *name = cli_string(session, "sessionId");
    if (*name) b->session = xdup(name, strlen(name));
    cJSON_Delete(session);
    static const char *const domains[] = {"Page.enable", "Runtime.enable", "Network.enable", "Log.enable"};
    for (size_t i = 0; b->session && i < sizeof domains / sizeof *domains; i++)
        cJSON_Delete(command(b, domains[i], NULL));
    return b->session != NULL;
}

struct browser *browser_start(void) {
    const char *path = chromium();
    if (!path) {
        fprintf(stderr, "no Chromium here: install chromium to test the pages\n");
        return NULL;
    }
    struct browser *b = xarray(1, sizeof *b);
    int to[2], from[2];
    signal(SIGPIPE, SIG_IGN);
    snprintf(b->profile, sizeof b->profile, "/tmp/tempera-browser-XXXXXX");
    bool good = mkdtemp(b->profile) != NULL && pipe(to) == 0 && pipe(from) == 0;
    b->process = good ? fork() : -1;
    if (b->process == 0) run_chromium(path, b, to[0], from[1]);
    if (good) {
        close(to[0]);
        close(from[1]);
        b->in = to[1];
        b->out = from[0];
        good = b->process > 0 && attach(b);
    }
    if (good) return b;
    fprintf(stderr, "%s does not start\n", path);
    browser_stop(b);
    return NULL;
}

void browser_stop(struct browser *b) {
    if (!b) return;
    if (b->process > 0) {
        kill(-b->process, SIGKILL); /* with its helpers: they share its group */
        waitpid(b->process, NULL, 0);
    }
    if (b->in) close(b->in);
    if (b->out) close(b->out);
    pid_t remover = fork();
    if (remover == 0) {
        execlp("rm", "rm", "-rf", b->profile, (char *)NULL);
        _exit(127);
    }
    waitpid(remover, NULL, 0);
    strbuf_free(&b->read);
    strbuf_free(&b->problems);
    free(b->session);
    free(b);
}

/* ---- pages ---- */

cJSON *browser_value(struct browser *b, const char *expression) {
    cJSON *params = cJSON_CreateObject();
    cJSON_AddStringToObject(params, "expression", expression);
    cJSON_AddBoolToObject(params, "awaitPromise", true);
    cJSON_AddBoolToObject(params, "returnByValue", true);
    cJSON_AddBoolToObject(params, "allowUnsafeEvalBlockedByCSP", false); /* expressions have no rights of their own */
    cJSON *result = command(b, "Runtime.evaluate", params), *value = NULL;
    if (cli_get(result, "exceptionDetails"))
        fprintf(stderr, "%s: %s\n", expression, cli_string(result, "exceptionDetails.exception.description"));
    else
        value = cJSON_DetachItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(result, "result"), "value");
    cJSON_Delete(result);
    return value;
}

double browser_number(struct browser *b, const char *expression) {
    cJSON *value = browser_value(b, expression);
    double number = cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
    cJSON_Delete(value);
    return number;
}

bool browser_true(struct browser *b, const char *expression) {
    cJSON *value = browser_value(b, expression);
    bool yes = cJSON_IsTrue(value);
    cJSON_Delete(value);
    return yes;
}

bool browser_until(struct browser *b, const char *expression, double limit) {
    double end = now() + limit;
    while (!browser_true(b, expression)) {
        if (now() > end) return false;
        usleep(10000);
    }
    return true;
}

double browser_open(struct browser *b, const char *path, double limit) {
    cJSON *params = cJSON_CreateObject();
    snprintf(b->page, sizeof b->page, "file://%s", path);
    strbuf_clear(&b->problems);
    cJSON_AddStringToObject(params, "url", b->page);
    cJSON_Delete(command(b, "Page.navigate", params));
    if (!browser_until(b, "Boolean(document.documentElement && document.documentElement.dataset.ready)", limit))
        return -1;
    return browser_number(b, "Number(document.documentElement.dataset.ready)");
}

void browser_size(struct browser *b, int width, int height) {
    cJSON *params = cJSON_CreateObject();
    cJSON_AddNumberToObject(params, "width", width);
    cJSON_AddNumberToObject(params, "height", height);
    cJSON_AddNumberToObject(params, "deviceScaleFactor", 1);
    cJSON_AddBoolToObject(params, "mobile", false);
    cJSON_Delete(command(b, "Emulation.setDeviceMetricsOverride", params));
}

void browser_dark(struct browser *b, bool dark) {
    cJSON *params = cJSON_Parse(dark ? "{\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"dark\"}]}"
                                     : "{\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"light\"}]}");
    cJSON_Delete(command(b, "Emulation.setEmulatedMedia", params));
}

const char *browser_problems(const struct browser *b) {
    return b->problems.data ? b->problems.data : "";
}
