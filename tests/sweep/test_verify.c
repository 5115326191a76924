/* test_verify.c: a command's verdicts: what it sees, what it may do, and what becomes of it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "cli/cli.h"
#include "common.h"
#include "sweep/small_store.h"
#include "sweep/verify.h"

static char *path, *temporary; /* a database; what TMPDIR is */

static void setup(void) {
    char folder[] = "/tmp/tempera-test-XXXXXX";
    path = small_store_path();
    cr_assert(mkdtemp(folder));
    temporary = xdup(folder, strlen(folder));
    setenv("TMPDIR", temporary, 1);
}

/* Nothing may be left in the folder of temporary files. */
static void teardown(void) {
    cr_assert_eq(rmdir(temporary), 0, "%s: %s", temporary, strerror(errno));
    free(temporary);
    small_store_remove(path);
}

TestSuite(verify, .init = setup, .fini = teardown, .timeout = 60);

/* ---- samples without a store ---- */

static struct sweep_prompt prompt = {
    .id = (char[]){"the prompt"}, .text = (char[]){"2 + 2 ="}, .answer = (char[]){"4"}, .test = (char[]){"a test\n"}};

struct ran {
    int status;
    int32_t verdict;
    char *text; /* its output, terminated */
    size_t length;
    double seconds;
};

static void ran_free(struct ran *ran) {
    free(ran->text);
}

/* One sample's verdict. */
static struct ran run_one(const char *text, const char *command, double timeout) {
    struct verify_options options = verify_defaults;
    struct ran ran = {0};
    struct verify_output output = {0};
    const struct sample_record sample = {.text = text, .text_length = strlen(text), .verdict = -1};
    options.command = command;
    options.timeout = timeout;
    double start = seconds_now();
    ran.status = verify_samples(&prompt, &sample, 1, &options, &ran.verdict, &output);
    ran.seconds = seconds_now() - start;
    ran.text = xdup(output.bytes ? output.bytes : "", output.length);
    ran.length = output.length;
    free(output.bytes);
    return ran;
}

static void expect(const char *text, const char *command, int32_t verdict, const char *output) {
    struct ran ran = run_one(text, command, 20);
    cr_assert_eq(ran.status, 0);
    cr_assert_eq(ran.verdict, verdict, "%s", command);
    if (output) cr_assert_str_eq(ran.text, output, "%s", command);
    ran_free(&ran);
}

Test(verify, the_exit_status_decides) {
    expect("4", "true", 1, "");
    expect("4", "false", 0, "");
    expect("4", "exit 125", 0, "");
    expect("4", "kill -SEGV $$", 0, NULL);
    expect("the answer is 4", "grep -q 4", 1, "");
    expect("the answer is 5", "grep -q 4", 0, "");
}

Test(verify, the_command_sees_text_and_prompt) {
    expect("line\nline", "cat", 1, "line\nline");
    expect("text", "cat \"$TEMPERA_SAMPLE_FILE\" \"$TEMPERA_PROMPT_FILE\" \"$TEMPERA_ANSWER_FILE\"", 1, "text2 + 2 =4");
    expect("text",
           "cat \"$TEMPERA_TEST_FILE\"; echo \"$TEMPERA_PROMPT|$TEMPERA_ANSWER|$TEMPERA_TEST|$TEMPERA_PROMPT_ID\"", 1,
           "a test\n2 + 2 =|4|a test\n|the prompt\n");
    expect("", "cat; echo out; echo error >&2", 1, "out\nerror\n");
    setenv("TEMPERA_ANSWER", "old", 1);
    char *answer = prompt.answer;
    prompt.answer = NULL;
    expect("", "echo \"${TEMPERA_ANSWER-none} ${TEMPERA_ANSWER_FILE-none}\"", 1, "none none\n");
    prompt.answer = answer;
    setenv("TEMPERA_OTHER", "kept", 1);
    expect("", "echo $TEMPERA_OTHER", 1, "kept\n");
}

Test(verify, long_texts_are_in_files_only) {
    char *text = prompt.text;
    prompt.text = xalloc(VERIFY_INLINE + 2);
    memset(prompt.text, 'x', VERIFY_INLINE + 1);
    prompt.text[VERIFY_INLINE + 1] = 0;
    expect("", "echo \"${TEMPERA_PROMPT-none}\"; wc -c < \"$TEMPERA_PROMPT_FILE\"", 1, "none\n32769\n");
    prompt.text[VERIFY_INLINE] = 0;
    expect("", "printf %s \"$TEMPERA_PROMPT\" | wc -c", 1, "32768\n");
    free(prompt.text);
    prompt.text = text;
}

Test(verify, no_descriptor_is_inherited) {
    int held = dup(STDERR_FILENO); /* without close-on-exec */
    expect("", "for f in 3 4 5 6 7 8 9; do if [ -e /proc/$$/fd/$f ]; then echo $f; fi; done", 1, "");
    close(held);
}

Test(verify, signals_have_their_defaults) {
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    expect("", "sh -c 'kill -TERM $$; echo alive'", 0, NULL);
    expect("", "sh -c 'kill -INT $$; echo alive'", 0, NULL);
}

Test(verify, much_output_is_cut_and_does_not_block) {
    struct ran ran = run_one("", "head -c 10000000 /dev/zero | tr '\\0' a; echo end >&2", 20);
    cr_assert(ran.status == 0 && ran.verdict == 1);
    cr_assert_eq(ran.length, VERIFY_OUTPUT);
    for (size_t i = 0; i < ran.length; i++) cr_assert_eq(ran.text[i], 'a');
    ran_free(&ran);
}

/* A command that does not read its input, and one that gets much. */
Test(verify, input_of_any_length) {
    char *text = xalloc(4000001);
    memset(text, 'b', 4000000);
    text[4000000] = 0;
    expect(text, "wc -c", 1, "4000000\n");
    expect(text, "true", 1, "");
    free(text);
}

/* ---- time ---- */

/* Whether a process with this number runs (a zombie that init has not yet buried does not). */
static bool runs(long pid) {
    char name[64], state = 0;
    snprintf(name, sizeof name, "/proc/%ld/stat", pid);
    FILE *file = fopen(name, "r");
    if (!file) return false;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 'Z';
    fclose(file);
    return state != 'Z';
}

static bool soon_gone(long pid) {
    for (int i = 0; i < 100 && runs(pid); i++) usleep(20000);
    return !runs(pid);
}

static bool has_children(void) {
    return waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD;
}

Test(verify, the_time_limit_ends_a_command) {
    struct ran ran = run_one("", "echo begun; sleep 30", 0.3);
    cr_assert(ran.status == 0 && ran.verdict == 0);
    cr_assert(ran.seconds >= 0.3 && ran.seconds < 5, "%g s", ran.seconds);
    cr_assert(strstr(ran.text, "begun\ntempera: no verdict within 0.3 s"));
    cr_assert(!has_children());
    ran_free(&ran);
}

/* A passing status does not help when it comes late. */
Test(verify, a_late_success_is_a_failure) {
    struct ran ran = run_one("", "trap 'exit 0' TERM; sleep 30 & wait", 0.3);
    cr_assert(ran.status == 0 && ran.verdict == 0);
    cr_assert(ran.seconds < 5, "%g s", ran.seconds);
    ran_free(&ran);
}

/* It and its child ignore SIGTERM, and both hold the output open. */
Test(verify, the_time_limit_ends_what_ignores_it) {
    struct ran ran = run_one("",
                             "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & echo $$; "
                             "wait; while :; do sleep 1; done",
                             0.3);
    long first = 0, second = 0;
    cr_assert(ran.status == 0 && ran.verdict == 0);
    cr_assert(ran.seconds >= 0.3 + VERIFY_GRACE && ran.seconds < 5, "%g s", ran.seconds);
    cr_assert_eq(sscanf(ran.text, "%ld %ld", &first, &second), 2, "%s", ran.text);
    cr_assert(first > 1 && second > 1);
    cr_assert(soon_gone(first) && soon_gone(second));
    cr_assert(!has_children());
    ran_free(&ran);
}

/* What the command leaves behind neither delays the verdict nor lives on. */
Test(verify, what_is_left_in_the_background_is_ended) {
    struct ran ran = run_one("", "sleep 30 & echo $!", 20);
    cr_assert(ran.status == 0 && ran.verdict == 1);
    cr_assert(ran.seconds < 5, "%g s", ran.seconds);
    long child = strtol(ran.text, NULL, 10);
    cr_assert(child > 1 && soon_gone(child));
    ran_free(&ran);
}

/* One that left the group keeps the output open; the verdict does not wait for it. */
Test(verify, what_left_the_group_is_not_waited_for) {
    struct ran ran = run_one("", "setsid sleep 3 & exit 0", 20);
    cr_assert(ran.status == 0 && ran.verdict == 1);
    cr_assert(ran.seconds < 2.5, "%g s", ran.seconds);
    ran_free(&ran);
}

Test(verify, jobs_run_side_by_side) {
    enum { COUNT = 8 };
    struct verify_options options = verify_defaults;
    struct verify_counts counts = {0};
    struct sample_record samples[COUNT];
    int32_t verdict[COUNT];
    struct verify_output output[COUNT] = {{0}};
    char text[COUNT][8];
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(text[i], sizeof text[i], "%zu", i);
        samples[i] = (struct sample_record){.text = text[i], .text_length = 1};
    }
    options.command = "read n; sleep 0.5; echo $n; [ $((n % 3)) = 0 ]";
    options.jobs = COUNT;
    options.counts = &counts;
    double start = seconds_now();
    cr_assert_eq(verify_samples(&prompt, samples, COUNT, &options, verdict, output), 0);
    cr_assert(seconds_now() - start < 0.5 * COUNT * 0.75);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(verdict[i], i % 3 == 0);
        cr_assert(output[i].length == 2 && output[i].bytes[0] == text[i][0], "each its own");
        free(output[i].bytes);
    }
    cr_assert(counts.run == COUNT && counts.passed == 3 && counts.timed_out == 0);
}

/* ---- what cannot be run ---- */

static int check(const char *command) {
    struct verify_options options = verify_defaults;
    options.command = command;
    return verify_check(&options);
}

Test(verify, a_command_is_checked_before_anything_is_started) {
    cr_assert_eq(check("grep -q x"), 0);
    cr_assert_eq(check("cd /; FOO=1 grep x | (cat)"), 0);
    cr_assert_eq(check("X=1 nosuchcommand"), 0, "cannot be told");
    cr_assert_eq(check("exit 1"), 0, "the command is not run");
    cr_assert_eq(check("nosuchcommand-xyz -q"), EXIT_USAGE);
    cr_assert_eq(check("/etc/passwd"), EXIT_USAGE, "not executable");
    cr_assert_eq(check("if true; then"), EXIT_USAGE);
    cr_assert_eq(check("  "), EXIT_USAGE);
    cr_assert(!has_children());
}

/* ---- the command ---- */

static void plain(struct small_sample *s) {
    s->finish = TEMPERA_FINISH_EOS;
    snprintf(s->text, sizeof s->text, "%d %d %d", (int)s->prompt, (int)s->point, (int)s->sample);
}

static const struct small_shape shape = {.prompts = 2, .points = 3, .samples = 4, .sample = plain};

/* Verdicts of prompt p, point q, sample k at [(p * 3 + q) * 4 + k]; the manifest's command, owned. */
static char *read_verdicts(int32_t verdict[24]) {
    struct store *store;
    cr_assert_eq(store_open(&store, path, STORE_READ), 0);
    for (int32_t p = 0; p < 2; p++) {
        struct sample_set set;
        cr_assert_eq(store_load_samples(store, p, &set), 0);
        cr_assert_eq(set.count, 12);
        for (size_t i = 0; i < set.count; i++)
            verdict[(p * 3 + set.items[i].point) * 4 + set.items[i].sample] = set.items[i].verdict;
        sample_set_free(&set);
    }
    char *command = store_manifest(store, "verify");
    store_close(store);
    return command;
}

static void expect_verdicts(const char *command, int32_t (*wanted)(int32_t p, int32_t q, int32_t k)) {
    int32_t verdict[24];
    char *there = read_verdicts(verdict);
    for (int32_t i = 0; i < 24; i++) cr_assert_eq(verdict[i], wanted(i / 12, i / 4 % 3, i % 4), "%d", (int)i);
    cr_assert(command ? there && strcmp(there, command) == 0 : !there, "%s", there ? there : "none");
    free(there);
}

static int32_t none(int32_t p, int32_t q, int32_t k) {
    (void)p, (void)q, (void)k;
    return -1;
}

static int32_t sample_2(int32_t p, int32_t q, int32_t k) {
    (void)p, (void)q;
    return k == 2;
}

static int32_t point_1(int32_t p, int32_t q, int32_t k) {
    (void)p, (void)k;
    return q == 1;
}

#define SAMPLE_2 "grep -q '2$'"
#define POINT_1  "grep -q '^. 1'"

static struct cli verify(const char *command, const char *flag) {
    return cli(NULL, "sweep", "verify", path, "--verify", command, flag ? flag : "--quiet", NULL);
}

static void fails(const char *command, const char *flag, int status, const char *word) {
    struct cli run = verify(command, flag);
    cr_assert_eq(run.status, status, "%s", run.err);
    cr_assert(cli_one_line(run.err), "%s", run.err);
    cr_assert(strstr(run.err, word), "%s", run.err);
    cli_free(&run);
}

Test(verify, verdicts_are_stored) {
    small_store_make(path, &shape);
    struct cli run = verify(SAMPLE_2, "--json");
    cr_assert_eq(run.status, 0, "%s", run.err);
    cJSON *json = cli_json(run.out, -1);
    cr_assert_eq(cli_number(json, "verified"), 24);
    cr_assert_eq(cli_number(json, "passed"), 6);
    cJSON_Delete(json);
    cli_free(&run);
    expect_verdicts(SAMPLE_2, sample_2);
    run = verify(SAMPLE_2, "--json"); /* nothing is left to do */
    cr_assert(strstr(run.out, "\"verified\":0"), "%s", run.out);
    cli_free(&run);
    run = cli(NULL, "sweep", "stats", path, "--json", "--metric", "verified,pass_1,pass_4", NULL);
    json = cli_json(run.out, -1);
    const cJSON *point = cJSON_GetArrayItem(cli_get(json, "points"), 0);
    cr_assert_eq(cli_number(point, "metrics.verified.mean"), 0.25);
    cr_assert_eq(cli_number(point, "metrics.pass_1.mean"), 0.25);
    cr_assert_eq(cli_number(point, "metrics.pass_4.mean"), 1);
    cJSON_Delete(json);
    cli_free(&run);
}

Test(verify, another_command_needs_again) {
    small_store_make(path, &shape);
    struct cli run = verify(SAMPLE_2, NULL);
    cli_free(&run);
    fails(POINT_1, NULL, 1, "--again");
    expect_verdicts(SAMPLE_2, sample_2);
    run = verify(POINT_1, "--again");
    cr_assert_eq(run.status, 0, "%s", run.err);
    cli_free(&run);
    expect_verdicts(POINT_1, point_1);
    run = verify(POINT_1, "--again");
    cr_assert(strstr(run.out, "24 samples verified: 8 passed"), "%s", run.out);
    cli_free(&run);
    expect_verdicts(POINT_1, point_1);
}

/* Neither verdicts nor the command are half-written. */
Test(verify, what_cannot_be_run_leaves_all_as_it_was) {
    small_store_make(path, &shape);
    fails("nosuchcommand-xyz", NULL, 2, "nosuchcommand-xyz");
    expect_verdicts(NULL, none);
    struct cli run = verify(SAMPLE_2, NULL);
    cli_free(&run);
    fails("nosuchcommand-xyz", "--again", 2, "nosuchcommand-xyz");
    fails("true && nosuchcommand-xyz", "--again", 1, "127");
    fails("exit 126", "--again", 1, "126");
    fails("while", "--again", 2, "while");
    fails("", "--again", 2, "empty");
    expect_verdicts(SAMPLE_2, sample_2);
    run = verify("true && nosuchcommand-xyz || exit 1", "--again");
    cr_assert_eq(run.status, 0, "%s", run.err);
    cli_free(&run);
}

/* The command interrupts the program that runs it at a sample in the middle; what was judged before is kept, and the
 * rest is done by the next run. */
Test(verify, ctrl_c_stops_cleanly) {
    char command[256];
    small_store_make(path, &shape);
    snprintf(
        command, sizeof command,
        "read p q k; if [ $p$q$k = 011 ] && mkdir %s/once 2> /dev/null; then kill -INT $PPID; sleep 20; fi; [ $k = 2 ]",
        temporary);
    double start = seconds_now();
    struct cli run = cli(NULL, "sweep", "verify", path, "--verify", command, "--jobs", "1", NULL);
    cr_assert_eq(run.status, 130, "%s", run.err);
    cr_assert(seconds_now() - start < 15);
    cr_assert(strstr(run.out, "5 samples verified"), "%s", run.out);
    cli_free(&run);
    run = cli(NULL, "sweep", "verify", path, "--verify", command, "--jobs", "2", NULL);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cr_assert(strstr(run.out, "19 samples verified"), "%s", run.out);
    cli_free(&run);
    expect_verdicts(command, sample_2);
    char once[128];
    snprintf(once, sizeof once, "%s/once", temporary);
    cr_assert_eq(rmdir(once), 0);
}

Test(verify, bad_flags_are_one_line) {
    small_store_make(path, &shape);
    struct cli run = cli(NULL, "sweep", "verify", path, NULL);
    cr_assert(run.status == 2 && cli_one_line(run.err) && strstr(run.err, "--verify"), "%s", run.err);
    cli_free(&run);
    fails("true", "--timeout=0", 2, "--timeout");
    fails("true", "--timeout=soon", 2, "soon");
    fails("true", "--jobs=-1", 2, "--jobs");
    expect_verdicts(NULL, none);
}
