/* runs.c: runs sweeps in a folder of their own. */
#define _GNU_SOURCE /* nftw */
#include "runs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <sqlite3.h>

extern char **environ;

/* ---- the folder ---- */

static char folder[] = "/tmp/tempera-sweep-XXXXXX";

static void drop_launcher_variables(void) {
    static const char *const begins[] = {"OMPI_", "PMI_", "PMIX_", "SLURM_", "PRTE_"};
    char name[256];
    for (size_t i = 0; environ[i];) {
        bool drop = false;
        for (size_t k = 0; k < sizeof begins / sizeof *begins; k++)
            drop = drop || strncmp(environ[i], begins[k], strlen(begins[k])) == 0;
        size_t length = strcspn(environ[i], "=");
        if (drop && length < sizeof name) {
            memcpy(name, environ[i], length);
            name[length] = 0;
            unsetenv(name);
        } else {
            i++;
        }
    }
}

void enter_folder(void) {
    drop_launcher_variables();
    cr_assert(mkdtemp(folder), "%s: %s", folder, strerror(errno));
    cr_assert_eq(chdir(folder), 0);
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *walk) {
    (void)info;
    (void)flag;
    (void)walk;
    return remove(path);
}

void leave_folder(void) {
    if (chdir("/") == 0) nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the program ---- */

void sweep_expect(int status, const char *part, const char *input, const char *first, ...) {
    const char *words[64] = {first};
    char said[1024] = "";
    va_list args;
    va_start(args, first);
    for (size_t i = 1; i + 1 < 64 && words[i - 1]; i++) words[i] = va_arg(args, const char *);
    va_end(args);
    for (size_t i = 0; words[i]; i++) snprintf(said + strlen(said), sizeof said - strlen(said), "%s ", words[i]);
    struct cli run = cli_run(&(struct cli_way){.input = input}, words);
    cr_assert_eq(run.status, status, "%s: status %d: %s", said, run.status, run.err);
    if (status) {
        cr_expect(cli_one_line(run.err), "%s: not one line: %s", said, run.err);
        cr_expect(strstr(run.err, part), "%s: no \"%s\" in %s", said, part, run.err);
        cr_expect_str_empty(run.out, "%s", said);
    }
    cli_free(&run);
}

bool same_databases(const char *a, const char *b) {
    struct cli run = cli(NULL, "sweep", "diff", a, b, NULL);
    bool same = run.status == 0 && strncmp(run.out, "identical: ", 11) == 0;
    if (!same) fprintf(stderr, "diff %s %s: status %d\n%s%s", a, b, run.status, run.out, run.err);
    cli_free(&run);
    return same;
}

pid_t launch(const char *const *argv, const char *log, size_t file_limit) {
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child > 0) return child;
    int output = open(*log ? log : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int input = open("/dev/null", O_RDONLY);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    for (int i = 3; i < 64; i++) close(i);
    signal(SIGINT, SIG_DFL);
    if (file_limit) {
        signal(SIGXFSZ, SIG_IGN); /* the write fails instead */
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){file_limit, file_limit});
    }
    execvp(strcmp(argv[0], "tempera") == 0 ? TEMPERA_PROGRAM : argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

int wait_for(pid_t child, struct rusage *usage) {
    int status = 0;
    struct rusage ignored;
    while (wait4(child, &status, 0, usage ? usage : &ignored) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int launch_and_wait(const char *const *argv, const char *log, size_t file_limit) {
    return wait_for(launch(argv, log, file_limit), NULL);
}

bool in_path(const char *program) {
    char path[4096];
    for (const char *at = getenv("PATH"); at && *at;) {
        size_t length = strcspn(at, ":");
        snprintf(path, sizeof path, "%.*s/%s", (int)length, at, program);
        if (access(path, X_OK) == 0) return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/* ---- files ---- */

void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    cr_assert(file, "%s", path);
    cr_assert_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    cr_assert_eq(fclose(file), 0);
}

char *read_file_text(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(*length + 1, 1);
    cr_assert_eq(fread(text, 1, *length, file), *length);
    fclose(file);
    return text;
}

void copy_file(const char *from, const char *to) {
    size_t length;
    char *text = read_file_text(from, &length);
    FILE *file = fopen(to, "wb");
    cr_assert(text && file, "%s to %s", from, to);
    cr_assert_eq(fwrite(text, 1, length, file), length);
    fclose(file);
    free(text);
}

bool is_there(const char *path) {
    return access(path, F_OK) == 0;
}

void pause_seconds(double seconds) {
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

void wait_for_file(const char *path, const char *or_path) {
    for (int i = 0; i < 12000 && !is_there(path) && !is_there(or_path); i++) pause_seconds(0.005);
    cr_assert(is_there(path) || is_there(or_path), "%s did not appear", path);
}

/* ---- databases ---- */

void db_execute(const char *path, const char *sql) {
    sqlite3 *db;
    char *message = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &message), SQLITE_OK, "%s: %s", sql, message);
    sqlite3_close(db);
}

int64_t db_number(const char *path, const char *sql) {
    sqlite3 *db;
    sqlite3_stmt *row;
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK, "%s", path);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(row), SQLITE_ROW, "%s", sql);
    int64_t number = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(db);
    return number;
}

const char *find_model(const char *name) {
    static char path[4096];
    const char *models = getenv("TEMPERA_TEST_MODELS");
    snprintf(path, sizeof path, "%s/%s/config.json", models ? models : TEMPERA_TEST_MODELS_DEFAULT, name);
    if (access(path, F_OK) != 0) return NULL;
    *strrchr(path, '/') = 0;
    return path;
}
