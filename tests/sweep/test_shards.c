/* test_shards.c: the parts of a sweep make the database of a single run, however they are started and merged. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "runs.h"
#include "sweep/shard.h"

TestSuite(shards, .init = enter_folder, .fini = leave_folder);

#define RUN(...)                                                                                                       \
    SWEEP("run", "-q", "--no-stats", "--prompts", "p.txt", "--grid", "temperature=0.3,0.8,1.2 top_p=0.6,1",            \
          "--max-tokens", "12", __VA_ARGS__)

static void write_prompts(int count) {
    char text[1024] = "";
    for (int i = 0; i < count; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "Once %d\n", i);
    write_text("p.txt", text);
}

/* Each pair of prompt and point is exactly one shard's. */
Test(shards, cover_everything_once) {
    for (size_t prompts = 1; prompts <= 7; prompts++)
        for (size_t points = 1; points <= 9; points++)
            for (int32_t count = 1; count <= 12; count++)
                for (size_t prompt = 0; prompt < prompts; prompt++)
                    for (size_t point = 0; point < points; point++) {
                        int owners = 0;
                        for (int32_t i = 0; i < count; i++)
                            owners += shard_has(&(struct shard){i, count}, prompt, prompts, point, points);
                        cr_assert_eq(owners, 1, "%zu of %zu, %zu of %zu, %d shards", prompt, prompts, point, points,
                                     (int)count);
                    }
}

Test(shards, merged_parts_are_a_single_run) {
    static const int prompts[] = {5, 2};
    char shard[16], part[5][16];
    for (size_t p = 0; p < 2; p++) { /* more prompts than shards, and fewer */
        write_prompts(prompts[p]);
        RUN("--samples", "4", "-o", "single.db");
        for (int count = 1; count <= 5; count++) {
            int64_t most = 0, sum = 0;
            for (int i = 0; i < count; i++) {
                snprintf(shard, sizeof shard, "%d/%d", i + 1, count);
                snprintf(part[i], sizeof part[i], "part%d.db", i);
                RUN("--samples", "4", "--shard", shard, "-o", part[i]);
                int64_t made = db_number(part[i], "SELECT count(*) FROM samples");
                sum += made;
                if (made > most) most = made;
            }
            cr_expect_eq(sum, prompts[p] * 6 * 4);
            cr_expect(count == 1 || most <= sum * 2 / 3, "%d shards: one has %lld of %lld", count, (long long)most,
                      (long long)sum);
            for (int turn = 0; turn < count; turn++) { /* every part is the first and the last once */
                const char *words[16] = {"sweep", "merge", "-q", "-o", "merged.db"};
                for (int i = 0; i < count; i++)
                    words[5 + i] = part[turn % 2 ? (2 * count - 1 - i - turn) % count : (i + turn) % count];
                struct cli run = cli_run(&(struct cli_way){0}, words);
                cr_assert_eq(run.status, 0, "%s", run.err);
                cli_free(&run);
                cr_assert(same_databases("single.db", "merged.db"), "%d shards, turn %d", count, turn);
                if (turn + 1 < count) remove("merged.db");
            }
            /* Once more changes nothing, runs included; and a merged database is as good as a run's. */
            int64_t runs = db_number("merged.db", "SELECT count(*) FROM runs");
            SWEEP("merge", "-q", part[0], "merged.db", "-o", "merged.db");
            cr_expect(same_databases("single.db", "merged.db"));
            cr_expect_eq(db_number("merged.db", "SELECT count(*) FROM runs"), runs);
            RUN("--samples", "4", "-o", "merged.db");
            cr_expect_eq(db_number("merged.db", "SELECT count(*) FROM runs"), runs);
            remove("merged.db");
            for (int i = 0; i < count; i++) remove(part[i]);
        }
        remove("single.db");
    }
}

/* A part of a database that holds other parts' samples already makes its own only. */
Test(shards, parts_go_on_from_what_is_merged) {
    write_prompts(1);
    RUN("--samples", "2", "-o", "a.db");
    copy_file("a.db", "b.db");
    RUN("--samples", "4", "--shard", "1/2", "-o", "a.db");
    cr_expect_eq(db_number("a.db", "SELECT count(*) FROM samples"), 12 + 6);
    RUN("--samples", "4", "--shard", "2/2", "-o", "b.db");
    SWEEP("merge", "-q", "b.db", "-o", "a.db");
    RUN("--samples", "4", "-o", "single.db");
    cr_expect(same_databases("single.db", "a.db"));
    /* Both into one, one after the other. */
    RUN("--samples", "4", "--shard", "2/2", "-o", "both.db");
    RUN("--samples", "4", "--shard", "1/2", "-o", "both.db");
    cr_expect(same_databases("single.db", "both.db"));
}

Test(shards, what_does_not_fit_is_refused) {
    write_prompts(2);
    RUN("--samples", "2", "-o", "a.db");
    copy_file("a.db", "b.db");
    db_execute("b.db", "UPDATE samples SET text = x'00' WHERE prompt = 1 AND point = 2 AND sample = 1");
    SWEEP_REFUSED(1, "b.db and c.db.new have different samples under one key: prompt 1, point 2, sample 1", "merge",
                  "a.db", "b.db", "-o", "c.db");
    cr_expect_not(is_there("c.db") || is_there("c.db.new"));
    copy_file("a.db", "c.db");
    SWEEP_REFUSED(1, "b.db and c.db have different samples under one key: prompt 1, point 2, sample 1", "merge", "b.db",
                  "-o", "c.db");
    cr_expect(same_databases("a.db", "c.db"));
    write_prompts(3);
    RUN("--samples", "1", "-o", "d.db");
    SWEEP_REFUSED(1, "d.db and c.db are not of one sweep: their prompts_hash is", "merge", "d.db", "-o", "c.db");
    copy_file("a.db", "d.db");
    db_execute("d.db", "UPDATE manifest SET value = 'portable' WHERE key = 'instructions'");
    SWEEP_REFUSED(1, "d.db and c.db are not of one sweep: their instructions is portable and", "merge", "d.db", "-o",
                  "c.db");
    cr_expect(same_databases("a.db", "c.db"));
    write_text("text.db", "not a database, for certain\n");
    SWEEP_REFUSED(1, "text.db: not a database", "merge", "a.db", "text.db", "-o", "e.db");
    SWEEP_REFUSED(1, "none.db: ", "merge", "none.db", "-o", "e.db");
    SWEEP_REFUSED(2, "--out", "merge", "a.db");
    SWEEP_REFUSED(2, "give the databases", "merge", "-o", "e.db");
    cr_expect_not(is_there("e.db") || is_there("e.db.new"));
    /* A command that verified one part and not the other is no contradiction, in either order. */
    copy_file("a.db", "v.db");
    db_execute("v.db",
               "INSERT INTO manifest VALUES('verify', 'true'); UPDATE samples SET verdict = sample, output = x'41'");
    SWEEP("merge", "-q", "a.db", "v.db", "-o", "av.db");
    SWEEP("merge", "-q", "v.db", "a.db", "-o", "va.db");
    cr_expect(same_databases("v.db", "av.db") && same_databases("v.db", "va.db"));
}

/* ---- launchers ---- */

#define PART_WORDS                                                                                                     \
    "sweep", "run", "-q", "--prompts", "p.txt", "--grid", "temperature=0.3,0.8,1.2 top_p=0.6,1", "--max-tokens", "12", \
        "--samples", "4", "--threads", "1", "-o", "all.db", NULL

static void expect_merged(void) {
    char path[32];
    cr_expect(same_databases("single.db", "all.db"));
    for (int n = 2; n <= 3; n++)
        for (int i = 1; i <= n; i++) {
            snprintf(path, sizeof path, "all.db.part-%d-of-%d", i, n);
            cr_expect_not(is_there(path), "%s", path);
            strcat(path, ".partial");
            cr_expect_not(is_there(path), "%s", path);
        }
    cr_expect_not(is_there("all.db.merging") || is_there("all.db.new"));
}

Test(shards, mpirun) {
    if (!in_path("mpirun")) cr_skip_test("no mpirun here (Debian's openmpi-bin)");
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    write_prompts(3);
    RUN("--samples", "4", "-o", "single.db");
    for (int n = 2; n <= 3; n++) {
        const char *words[] = {"mpirun",        "-n",      n == 2 ? "2" : "3", "--allow-run-as-root", "--oversubscribe",
                               TEMPERA_PROGRAM, PART_WORDS};
        int status = launch_and_wait(words, "log", 0);
        size_t length;
        char *log = read_file_text("log", &length);
        cr_assert_eq(status, 0, "%d processes: status %d: %s", n, status, log);
        free(log);
        expect_merged();
        if (n == 2) remove("all.db"); /* three go on from nothing, and then from what there is */
    }
    const char *words[] = {"mpirun", "-n", "2", "--allow-run-as-root", "--oversubscribe", TEMPERA_PROGRAM, PART_WORDS};
    db_execute("all.db", "DELETE FROM samples WHERE (prompt + point + sample) % 3 = 0");
    cr_assert_eq(launch_and_wait(words, "log", 0), 0);
    expect_merged();
}

static pid_t launch_rank(const char *rank, const char *size) {
    const char *words[] = {"tempera", PART_WORDS};
    setenv("SLURM_PROCID", rank, 1);
    setenv("SLURM_STEP_NUM_TASKS", size, 1);
    pid_t child = launch(words, "", 0);
    unsetenv("SLURM_PROCID");
    unsetenv("SLURM_STEP_NUM_TASKS");
    return child;
}

Test(shards, slurm) {
    write_prompts(3);
    RUN("--samples", "4", "-o", "single.db");
    pid_t first = launch_rank("0", "2"), second = launch_rank("1", "2");
    cr_expect_eq(wait_for(first, NULL), 0);
    cr_expect_eq(wait_for(second, NULL), 0);
    expect_merged();
    remove("all.db");
    /* One after the other; the first waits under its part's name, and may be run again. */
    cr_expect_eq(wait_for(launch_rank("1", "2"), NULL), 0);
    cr_expect(is_there("all.db.part-2-of-2") && !is_there("all.db"));
    cr_expect_eq(wait_for(launch_rank("1", "2"), NULL), 0);
    cr_expect(is_there("all.db.part-2-of-2") && !is_there("all.db"));
    pid_t killed = launch_rank("0", "2"); /* what it leaves, early or late, is gone on with */
    wait_for_file("all.db.part-1-of-2.partial-wal", "all.db");
    kill(killed, SIGKILL);
    wait_for(killed, NULL);
    if (!is_there("all.db")) cr_expect_eq(wait_for(launch_rank("0", "2"), NULL), 0);
    expect_merged();
}

/* A batch script's own environment, outside srun, has a task number but no step. */
Test(shards, what_launchers_say) {
    static const struct {
        const char *names[2], *values[2];
        struct shard shard;
    } cases[] = {{{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"2", "5"}, {2, 5}},
                 {{"PMI_RANK", "PMI_SIZE"}, {"0", "3"}, {0, 3}},
                 {{"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"}, {"1", "2"}, {1, 2}},
                 {{"SLURM_PROCID", "SLURM_NTASKS"}, {"0", "8"}, {0, 1}},
                 {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"5", "5"}, {0, 1}},
                 {{"PMI_RANK", "PMI_SIZE"}, {"x", "3"}, {0, 1}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < 2; k++) setenv(cases[i].names[k], cases[i].values[k], 1);
        struct shard shard = shard_from_environment();
        cr_expect(shard.index == cases[i].shard.index && shard.count == cases[i].shard.count, "%zu: %d of %d", i,
                  (int)shard.index, (int)shard.count);
        for (size_t k = 0; k < 2; k++) unsetenv(cases[i].names[k]);
    }
    struct shard shard;
    cr_expect(shard_parse("2/3", &shard) && shard.index == 1 && shard.count == 3);
    static const char *const bad[] = {"", "1", "0/2", "3/2", "1/0", "a/2", "1/2/3", "-1/2", "1/", "/2", "1/1000001"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) cr_expect_not(shard_parse(bad[i], &shard), "%s", bad[i]);
}
