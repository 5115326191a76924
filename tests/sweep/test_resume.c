/* test_resume.c: runs that are killed or run out of disk go on and end as one that was not. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "cells.h"
#include "common.h"
#include "runs.h"

TestSuite(resume, .init = enter_folder, .fini = leave_folder);

enum { POINTS = 6, SAMPLES = 4 };

static void write_prompts(int count) {
    char text[8192] = "";
    for (int i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s %d\n", i % 2 ? "Once upon a time" : "The cat", i);
    write_text("p.txt", text);
}

#define RUN_WORDS(out)                                                                                                 \
    {                                                                                                                  \
        "tempera", "sweep", "run", "-q", "--no-stats", "--prompts", "p.txt", "--grid",                                 \
            "temperature=0.5,1,1.4 top_p=0.7,1", "--samples", "4", "--max-tokens", "24", "-o", out, NULL               \
    }

static int64_t made(const char *path) {
    return is_there(path) ? db_number(path, "SELECT count(*) FROM sqlite_schema") > 0
                                ? db_number(path, "SELECT count(*) FROM samples")
                                : 0
                          : 0;
}

/* A run as it stands after a kill: every sample is whole, and of a prompt that is finished the forks are known. */
static void expect_consistent(const char *path) {
    char sql[512];
    if (made(path) == 0) return;
    cr_expect_eq(db_number(path, "SELECT count(*) FROM samples WHERE length(stats) <> 5 * length(tokens) +"
                                 " (length(tokens) / 4 + 7) / 8"),
                 0);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM (SELECT prompt FROM samples GROUP BY prompt HAVING count(*) = %d AND"
             " count(fork) < %d)",
             POINTS * SAMPLES, POINTS * SAMPLES);
    cr_expect_eq(db_number(path, sql), 0);
}

Test(resume, twenty_kills) {
    enum { KILLS = 20, PROMPTS = 160, ALL = PROMPTS * POINTS * SAMPLES };
    const char *const whole[] = RUN_WORDS("whole.db"), *const again[] = RUN_WORDS("a.db");
    uint64_t state = 20;
    int64_t before = 0;
    int kills = 0, grown = 0;
    write_prompts(PROMPTS);
    double start = seconds_now();
    cr_assert_eq(launch_and_wait(whole, "log", 0), 0);
    cr_assert_eq(made("whole.db"), ALL);
    double longest = fmax(1.5, (seconds_now() - start) / 12); /* the first commit comes after a second */
    while (kills < KILLS) {
        pid_t child = launch(again, "log", 0);
        pause_seconds(0.02 + longest * (next_random(&state) % 1000) / 1000);
        kill(child, SIGKILL);
        int status = wait_for(child, NULL);
        int64_t there = made("a.db");
        cr_assert(there >= before, "%lld samples after %lld", (long long)there, (long long)before);
        grown += there > before;
        before = there;
        if (status == 0) { /* it was done before the signal came: once more from the beginning */
            cr_assert(same_databases("whole.db", "a.db"));
            remove("a.db");
            before = 0;
            continue;
        }
        cr_assert_eq(status, 128 + SIGKILL, "status %d", status);
        kills++;
        expect_consistent("a.db");
    }
    fprintf(stderr, "%d kills; the database grew before %d of them, to %lld of %d samples at last\n", kills, grown,
            (long long)before, ALL);
    cr_assert_eq(launch_and_wait(again, "log", 0), 0);
    cr_expect_not(is_there("a.db-wal") || is_there("a.db-shm"));
    cr_expect(grown > 0);
    cr_expect(same_databases("whole.db", "a.db"));
    cr_expect_not(is_there("a.db-wal") || is_there("a.db-shm"));
}

/* No file may grow beyond a limit: the write fails as on a full disk. Half of the samples are there before, and the other
 * half needs more than the largest limit. */
Test(resume, a_full_disk) {
    enum { PROMPTS = 60, ALL = PROMPTS * POINTS * SAMPLES };
    const char *const whole[] = RUN_WORDS("whole.db"), *const again[] = RUN_WORDS("a.db");
    static const size_t limits[] = {40000, 90000, 200000, 400000};
    size_t length;
    write_prompts(PROMPTS);
    cr_assert_eq(launch_and_wait(whole, "log", 0), 0);
    const char *half[] = RUN_WORDS("a.db");
    half[10] = "2";
    cr_assert_str_eq(half[9], "--samples");
    cr_assert_eq(launch_and_wait(half, "log", 0), 0);
    int64_t before = made("a.db");
    cr_assert_eq(before, ALL / 2);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        int status = launch_and_wait(again, "log", limits[i]);
        char *log = read_file_text("log", &length);
        cr_expect_eq(status, 1, "limit %zu: status %d: %s", limits[i], status, log);
        cr_expect(cli_one_line(log) && strstr(log, "a.db: "), "limit %zu: %s", limits[i], log);
        free(log);
        int64_t there = made("a.db");
        cr_expect(there >= before && there < ALL, "limit %zu: %lld samples", limits[i], (long long)there);
        before = there;
        expect_consistent("a.db");
    }
    cr_assert_eq(launch_and_wait(again, "log", 0), 0);
    cr_expect(same_databases("whole.db", "a.db"));
}

/* Verdicts too: those that a killed run left out are given by the next one, though no sample is missing. */
Test(resume, verdicts_that_are_missing) {
    SWEEP("run", "-q", "--no-stats", "-p", "Once", "-p", "Two", "--grid", "temperature=0.5,1", "--samples", "3",
          "--max-tokens", "8", "--verify", "grep -q a", "-o", "whole.db");
    cr_expect_eq(db_number("whole.db", "SELECT count(*) FROM samples WHERE verdict IS NOT NULL"), 12);
    copy_file("whole.db", "a.db");
    db_execute("a.db", "UPDATE samples SET verdict = NULL, output = NULL WHERE prompt = 1 AND sample > 0");
    SWEEP("run", "-q", "--no-stats", "-p", "Once", "-p", "Two", "--grid", "temperature=0.5,1", "--samples", "3",
          "--max-tokens", "8", "--verify", "grep -q a", "-o", "a.db");
    cr_expect(same_databases("whole.db", "a.db"));
}
