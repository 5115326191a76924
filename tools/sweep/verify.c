/* verify.c: runs a command on samples, several at a time, from one thread. */
#define _GNU_SOURCE /* posix_spawn_file_actions_addclosefrom_np */
#include "sweep/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "output.h"

#define SHELL "/bin/sh"

enum {
    TICK_MS = 50,      /* how long an exit may go unnoticed when something else holds the output open */
    EXIT_TICK_MS = 1,  /* after the output ended the exit is near */
    WRITE_COUNT = 256, /* results that are written together */
    NOT_EXECUTABLE = 126,
    NOT_FOUND = 127
};
static const double WRITE_SECONDS = 2, SHOW_SECONDS = 0.1;

/* ---- flags ---- */

const struct verify_options verify_defaults = {.timeout = 10};

static bool set_timeout(void *base, const struct arg *arg, const char *value) {
    struct verify_options *options = base;
    char *end;
    double seconds = strtod(value, &end);
    if (end != value && !*end && seconds >= arg->low && seconds <= arg->high) {
        options->timeout = seconds;
        return true;
    }
    complain(EXIT_USAGE, "--%s: expected seconds from %g to %g, got \"%s\"", arg->name, arg->low, arg->high, value);
    return false;
}

const struct arg verify_args[VERIFY_ARGS] = {
    {.name = "verify",
     .kind = ARG_TEXT,
     .offset = offsetof(struct verify_options, command),
     .meta = "CMD",
     .text =
         "a shell command that judges a sample: exit status 0 = passed. The text is its standard input and the file "
         "$TEMPERA_SAMPLE_FILE; beside it $TEMPERA_PROMPT_FILE, $TEMPERA_ANSWER_FILE, $TEMPERA_TEST_FILE, and the same "
         "without _FILE as text of at most 32 KiB"},
    {.name = "timeout",
     .kind = ARG_FIELD,
     .meta = "SECONDS",
     .text = "a sample on which the command takes longer failed; its processes are ended",
     .low = 0.01,
     .high = 86400,
     .value = 10,
     .set = set_timeout},
    {.name = "verify-jobs",
     .kind = ARG_INT,
     .offset = offsetof(struct verify_options, jobs),
     .meta = "N",
     .text = "commands that run at once; 0 = one for each processor",
     .initial = "0",
     .low = 0,
     .high = 1024},
};

/* ---- one command ---- */

enum stage { IDLE, RUNNING, ENDING, KILLED };

struct task {
    enum stage stage;
    size_t index; /* of its sample */
    pid_t pid;    /* and its group */
    int pipe;     /* its output; -1 after its end */
    bool timed_out;
    double deadline; /* of the stage */
    struct strbuf output;
    char *file, *variable; /* of the sample's text; "TEMPERA_SAMPLE_FILE=…" */
};

struct verifier {
    const struct verify_options *options;
    const struct sweep_prompt *prompt;
    const struct sample_record *samples;
    size_t count, next, running, finished;
    struct task *tasks;
    size_t task_count;
    char *folder;
    char **files; /* [file_count] of the prompt, in the folder */
    size_t file_count;
    char **environment;                       /* terminated by NULL; the last but it is the task's own variable */
    size_t environment_count, borrowed_count; /* the first borrowed_count are the caller's */
    int32_t *verdict;                         /* [count] -1 until finished */
    struct verify_output *output;             /* [count] or NULL */
    size_t timed_out;
    double shown; /* when the progress was */
    int status;
};

/* Appends what the command printed; past the limit it is dropped. */
static void keep_output(struct task *task, const char *bytes, size_t length) {
    size_t room = VERIFY_OUTPUT - task->output.length;
    strbuf_add(&task->output, bytes, length < room ? length : room);
}

/* Reads what is there; closes the pipe at its end. */
static void read_output(struct task *task) {
    char chunk[4096];
    while (task->pipe >= 0) {
        ssize_t length = read(task->pipe, chunk, sizeof chunk);
        if (length > 0) {
            keep_output(task, chunk, (size_t)length);
        } else if (length < 0 && errno == EINTR) {
            continue;
        } else if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return;
        } else {
            close(task->pipe);
            task->pipe = -1;
        }
    }
}

static bool write_file(const char *path, const char *bytes, size_t length) {
    unlink(path);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t done = 0;
    while (file >= 0 && done < length) {
        ssize_t wrote = write(file, bytes + done, length - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) break;
        done += (size_t)wrote;
    }
    bool good = file >= 0 && done == length;
    if (file >= 0 && close(file) != 0) good = false;
    if (!good) complain(EXIT_FAILED, "--verify: %s: %s", path, strerror(errno));
    return good;
}

/* A pipe whose ends no command inherits and that are not 0, 1 or 2; reading does not wait. */
static bool open_pipe(int ends[2]) {
    int raw[2];
    if (pipe(raw) != 0) return false;
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(raw[i], F_DUPFD_CLOEXEC, 3);
        close(raw[i]);
    }
    if (ends[0] >= 0 && ends[1] >= 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0) return true;
    int error = errno;
    if (ends[0] >= 0) close(ends[0]);
    if (ends[1] >= 0) close(ends[1]);
    errno = error;
    return false;
}

/* posix_spawn and not fork: a process that holds a model has large page tables, and other threads. Returns an errno. */
static int spawn(pid_t *pid, const char *command, const char *input, int output, char *const *environment) {
    char *const words[] = {(char[]){"sh"}, (char[]){"-c"}, xdup(command, strlen(command)), NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input, O_RDONLY, 0);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!error) error = posix_spawn(pid, SHELL, &actions, &attributes, words, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(words[2]);
    return error;
}

/* Starts the next sample in a free task. False when it must wait for others to end, or v->status is set. */
static bool start(struct verifier *v, struct task *task) {
    const struct sample_record *sample = &v->samples[v->next];
    int ends[2];
    if (!write_file(task->file, sample->text, sample->text_length)) {
        v->status = EXIT_FAILED;
        return false;
    }
    if (!open_pipe(ends)) {
        v->status = complain(EXIT_FAILED, "--verify: no pipe: %s", strerror(errno));
        return false;
    }
    v->environment[v->environment_count] = task->variable;
    int error = spawn(&task->pid, v->options->command, task->file, ends[1], v->environment);
    close(ends[1]);
    if (error) {
        close(ends[0]);
        if (error == EAGAIN && v->running) return false; /* too many processes: as many as there are, then */
        v->status = complain(EXIT_FAILED, "--verify: " SHELL " cannot be run: %s", strerror(error));
        return false;
    }
    task->pipe = ends[0];
    task->index = v->next++;
    task->stage = RUNNING;
    task->timed_out = false;
    task->deadline = seconds_now() + v->options->timeout;
    strbuf_clear(&task->output);
    v->running++;
    return true;
}

/* ---- how it ends ---- */

static void note(struct strbuf *b, const char *format, double number) {
    if (b->length && b->data[b->length - 1] != '\n') strbuf_char(b, '\n');
    strbuf_printf(b, format, number);
}

/* The output's first line, for a complaint. */
static int cannot_run(const struct verifier *v, const struct task *task, int code) {
    const char *text = task->output.data ? task->output.data : "";
    int length = (int)strcspn(text, "\n");
    return complain(EXIT_FAILED, "--verify: \"%s\" cannot be run (exit status %d%s%.*s)", v->options->command, code,
                    length ? ": " : "", length > 300 ? 300 : length, text);
}

static void finish(struct verifier *v, struct task *task, int code, bool exited) {
    task->stage = IDLE;
    v->running--;
    if (v->status) return; /* it was ended because all are */
    if (exited && !task->timed_out && (code == NOT_EXECUTABLE || code == NOT_FOUND)) {
        v->status = cannot_run(v, task, code);
        return;
    }
    if (task->timed_out) note(&task->output, "tempera: no verdict within %g s\n", v->options->timeout);
    v->verdict[task->index] = exited && code == 0 && !task->timed_out;
    v->timed_out += task->timed_out;
    v->finished++;
    if (v->output && task->output.length) {
        v->output[task->index] = (struct verify_output){task->output.data, task->output.length};
        task->output = (struct strbuf){0};
    }
}

/* The command is waited for only after the rest of its group was ended: until then its number cannot be another's. */
static void collect(struct verifier *v, struct task *task) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)task->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    kill(-task->pid, SIGKILL);
    read_output(task);
    if (task->pipe >= 0) close(task->pipe); /* held by a process that left the group */
    task->pipe = -1;
    while (waitpid(task->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    finish(v, task, info.si_status, info.si_code == CLD_EXITED);
}

static void obey_clock(struct task *task, double now) {
    if (now < task->deadline) return;
    if (task->stage == RUNNING) {
        task->timed_out = true;
        task->stage = ENDING;
        task->deadline = now + VERIFY_GRACE;
        kill(-task->pid, SIGTERM);
    } else if (task->stage == ENDING) {
        task->stage = KILLED;
        task->deadline = INFINITY;
        kill(-task->pid, SIGKILL);
    }
}

static void kill_all(struct verifier *v) {
    for (size_t i = 0; i < v->task_count; i++) {
        struct task *task = &v->tasks[i];
        if (task->stage == IDLE || task->stage == KILLED) continue;
        task->stage = KILLED;
        task->deadline = INFINITY;
        kill(-task->pid, SIGKILL);
    }
}

/* Waits until something happens. */
static void wait_a_little(struct verifier *v, struct pollfd *polled) {
    nfds_t count = 0;
    double now = seconds_now(), left = TICK_MS / 1e3;
    for (size_t i = 0; i < v->task_count; i++) {
        struct task *task = &v->tasks[i];
        if (task->stage == IDLE) continue;
        if (task->pipe >= 0)
            polled[count++] = (struct pollfd){.fd = task->pipe, .events = POLLIN};
        else
            left = fmin(left, EXIT_TICK_MS / 1e3);
        left = fmin(left, task->deadline - now);
    }
    poll(polled, count, left > 0 ? (int)ceil(left * 1e3) : 0);
}

/* One round: starts what can be started, waits, and collects what has ended. */
static void step(struct verifier *v, struct pollfd *polled) {
    if (!v->status && interrupted()) v->status = EXIT_INTERRUPTED;
    for (size_t i = 0; i < v->task_count && v->next < v->count && !v->status; i++)
        if (v->tasks[i].stage == IDLE && !start(v, &v->tasks[i])) break;
    if (v->status) kill_all(v);
    if (v->running) wait_a_little(v, polled);
    double now = seconds_now();
    for (size_t i = 0; i < v->task_count; i++) {
        struct task *task = &v->tasks[i];
        if (task->stage == IDLE) continue;
        read_output(task);
        collect(v, task);
        if (task->stage != IDLE) obey_clock(task, now);
    }
}

/* ---- files and environment ---- */

static char *joined(const char *a, const char *b) {
    struct strbuf path = {0};
    strbuf_printf(&path, "%s%s", a, b);
    return path.data;
}

static void add_variable(struct verifier *v, char *text) {
    v->environment = xgrow(v->environment, v->environment_count + 3, sizeof *v->environment);
    v->environment[v->environment_count++] = text;
    v->environment[v->environment_count] = v->environment[v->environment_count + 1] = NULL;
}

/* TEMPERA_NAME, and TEMPERA_NAME_FILE in the folder. */
static bool add_text(struct verifier *v, const char *name, const char *text) {
    struct strbuf variable = {0};
    if (!text) return true;
    if (strlen(text) <= VERIFY_INLINE) {
        strbuf_printf(&variable, "TEMPERA_%s=%s", name, text);
        add_variable(v, variable.data);
        variable = (struct strbuf){0};
    }
    v->files = xgrow(v->files, v->file_count + 1, sizeof *v->files);
    char *path = joined(v->folder, name);
    v->files[v->file_count++] = path;
    strbuf_printf(&variable, "TEMPERA_%s_FILE=%s", name, path);
    add_variable(v, variable.data);
    return write_file(path, text, strlen(text));
}

/* Whether a variable of the caller has a name that commands read: it would be taken for one of the prompt's. */
static bool is_ours(const char *variable) {
    static const char *const names[] = {"TEMPERA_PROMPT",      "TEMPERA_ANSWER",      "TEMPERA_TEST",
                                        "TEMPERA_PROMPT_FILE", "TEMPERA_ANSWER_FILE", "TEMPERA_TEST_FILE",
                                        "TEMPERA_SAMPLE_FILE", "TEMPERA_PROMPT_ID"};
    size_t length = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == length && strncmp(names[i], variable, length) == 0) return true;
    return false;
}

/* False after complaining. The folder's name ends with "/". */
static bool make_folder(struct verifier *v) {
    const char *parent = getenv("TMPDIR");
    char *name = joined(parent && *parent ? parent : "/tmp", "/tempera-verify-XXXXXX");
    if (!mkdtemp(name)) {
        complain(EXIT_FAILED, "--verify: %s: %s", name, strerror(errno));
        free(name);
        return false;
    }
    v->folder = joined(name, "/");
    free(name);
    for (char **variable = environ; *variable; variable++)
        if (!is_ours(*variable)) add_variable(v, *variable);
    v->borrowed_count = v->environment_count;
    add_variable(v, joined("TEMPERA_PROMPT_ID=", v->prompt->id));
    return add_text(v, "PROMPT", v->prompt->text) && add_text(v, "ANSWER", v->prompt->answer) &&
           add_text(v, "TEST", v->prompt->test);
}

static size_t job_count(const struct verify_options *options, size_t samples) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t jobs = options->jobs > 0 ? (size_t)options->jobs : processors > 0 ? (size_t)processors : 1;
    return jobs < samples ? jobs : samples;
}

static int verifier_open(struct verifier *v) {
    if (!make_folder(v)) return EXIT_FAILED;
    v->task_count = job_count(v->options, v->count);
    v->tasks = xarray(v->task_count, sizeof *v->tasks);
    for (size_t i = 0; i < v->task_count; i++) {
        struct strbuf name = {0};
        strbuf_printf(&name, "%ssample-%zu", v->folder, i);
        v->tasks[i].file = name.data;
        v->tasks[i].variable = joined("TEMPERA_SAMPLE_FILE=", name.data);
        v->tasks[i].pipe = -1;
    }
    return EXIT_DONE;
}

static void verifier_close(struct verifier *v) {
    for (size_t i = 0; i < v->task_count; i++) {
        unlink(v->tasks[i].file);
        strbuf_free(&v->tasks[i].output);
        free(v->tasks[i].file);
        free(v->tasks[i].variable);
    }
    for (size_t i = 0; i < v->file_count; i++) {
        unlink(v->files[i]);
        free(v->files[i]);
    }
    if (v->folder) rmdir(v->folder); /* stays when the command put something there */
    for (size_t i = v->borrowed_count; i < v->environment_count; i++) free(v->environment[i]);
    free(v->environment);
    free(v->files);
    free(v->tasks);
    free(v->folder);
}

static void count_results(const struct verifier *v) {
    struct verify_counts *counts = v->options->counts;
    if (!counts) return;
    for (size_t i = 0; i < v->count; i++) {
        counts->run += v->verdict[i] >= 0;
        counts->passed += v->verdict[i] > 0;
    }
    counts->timed_out += (int64_t)v->timed_out;
}

static void show_progress(struct verifier *v) {
    double now = seconds_now();
    if (now - v->shown < SHOW_SECONDS) return;
    v->shown = now;
    progress_show("prompt %s: %zu of %zu samples verified", v->prompt->id, v->finished, v->count);
}

/* written(user, last) is called between rounds and may store what has finished. */
static int verify_all(struct verifier *v, int (*written)(void *user, bool last), void *user) {
    for (size_t i = 0; i < v->count; i++) v->verdict[i] = -1;
    if (v->count == 0) return EXIT_DONE;
    int status = verifier_open(v);
    struct pollfd *polled = xarray(v->task_count + 1, sizeof *polled);
    while (!status && (v->running || (v->next < v->count && !v->status))) {
        step(v, polled);
        show_progress(v);
        if (written && !v->status) v->status = written(user, false);
    }
    progress_clear();
    if (!status) status = v->status;
    if (written && (!status || status == EXIT_INTERRUPTED)) {
        int last = written(user, true);
        if (last) status = last;
    }
    count_results(v);
    free(polled);
    verifier_close(v);
    return status;
}

int verify_samples(const struct sweep_prompt *prompt, const struct sample_record *samples, size_t count,
                   const struct verify_options *options, int32_t *verdict, struct verify_output *output) {
    struct verifier v = {
        .options = options, .prompt = prompt, .samples = samples, .count = count, .verdict = verdict, .output = output};
    return verify_all(&v, NULL, NULL);
}

/* ---- a prompt of the store ---- */

struct writer {
    struct store *store;
    struct verifier *verifier;
    bool *written; /* [count] */
    size_t written_count;
    double last;
};

static int write_results(struct writer *w) {
    struct verifier *v = w->verifier;
    int status = store_begin(w->store);
    for (size_t i = 0; i < v->next && !status; i++) {
        struct sample_record record = v->samples[i];
        if (w->written[i] || v->verdict[i] < 0) continue;
        record.verdict = v->verdict[i];
        status = store_set_verdict(w->store, &record, v->output[i].bytes, v->output[i].length);
        free(v->output[i].bytes);
        v->output[i] = (struct verify_output){0};
        w->written[i] = true;
        w->written_count++;
    }
    if (!status) status = store_commit(w->store);
    if (status) store_rollback(w->store);
    w->last = seconds_now();
    return status;
}

static int write_when_due(void *user, bool last) {
    struct writer *w = user;
    size_t waiting = w->verifier->finished - w->written_count;
    bool due = last || waiting >= WRITE_COUNT || seconds_now() - w->last >= WRITE_SECONDS;
    return waiting && due ? write_results(w) : EXIT_DONE;
}

int verify_prompt(struct store *store, int32_t index, const struct sweep_prompt *prompt,
                  const struct verify_options *options) {
    struct sample_set set = {0};
    int status = store_load_samples(store, index, &set);
    if (!status && set.count) {
        struct verifier v = {.options = options, .prompt = prompt, .samples = set.items};
        for (size_t i = 0; i < set.count; i++)
            if (set.items[i].verdict < 0) set.items[v.count++] = set.items[i];
        v.verdict = xarray(v.count, sizeof *v.verdict);
        v.output = xarray(v.count, sizeof *v.output);
        struct writer writer = {store, &v, xarray(v.count, sizeof *writer.written), 0, seconds_now()};
        status = verify_all(&v, write_when_due, &writer);
        for (size_t i = 0; i < v.count; i++) free(v.output[i].bytes);
        free(writer.written);
        free(v.output);
        free(v.verdict);
    }
    sample_set_free(&set);
    return status;
}

/* ---- before anything is started ---- */

/* The command's first word when it is a plain name or path; NULL when the shell does more with it. Owned. */
static char *first_word(const char *command) {
    command += strspn(command, " \t");
    size_t length = strcspn(command, " \t\n;&|<>()");
    char *word = xdup(command, length);
    if (length && !strpbrk(word, "$`\"'\\*?[]{}#~=!")) return word;
    free(word);
    return NULL;
}

/* Runs a fixed script on words of ours; its exit status, -1 after complaining. */
static int ask_shell(const char *script, const char *word) {
    const char *const words[] = {"sh", "-c", script, "sh", word, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; i++) posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    int error = posix_spawn(&pid, SHELL, &actions, NULL, (char *const *)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        complain(EXIT_FAILED, "--verify: " SHELL " cannot be run: %s", strerror(error));
        return -1;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int verify_check(const struct verify_options *options) {
    const char *command = options->command;
    if (!command[strspn(command, " \t\n")]) return complain(EXIT_USAGE, "--verify: the command is empty");
    int code = ask_shell("exec sh -n -c \"$1\"", command);
    if (code > 0) return complain(EXIT_USAGE, "--verify: the shell does not understand \"%s\"", command);
    char *word = code == 0 ? first_word(command) : NULL;
    if (word)
        code = ask_shell("case $1 in */*) [ -f \"$1\" ] && [ -x \"$1\" ] ;; *) command -v -- \"$1\" ;; esac", word);
    if (code > 0)
        complain(EXIT_USAGE, "--verify: \"%s\" cannot be run: there is no such command, or it is not executable", word);
    free(word);
    return code < 0 ? EXIT_FAILED : code > 0 ? EXIT_USAGE : EXIT_DONE;
}
