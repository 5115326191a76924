/* sweep.h: the subcommands of `tempera sweep`. Each gets the words after its name and returns the exit status. */
#ifndef SWEEP_SWEEP_H
#define SWEEP_SWEEP_H

int sweep_run(int argc, char **argv);    /* sweep_run.c: makes samples */
int sweep_stats(int argc, char **argv);  /* sweep_stats.c: figures from the database */
int sweep_report(int argc, char **argv); /* sweep_report.c: a page to look at */
int sweep_best(int argc, char **argv);   /* sweep_best.c: successive halving, fair comparison of samplers */
int sweep_score(int argc, char **argv);  /* sweep_score.c: given texts under many settings */
int sweep_verify(int argc, char **argv); /* sweep_verify.c: a command's verdict on each sample */
int sweep_merge(int argc, char **argv);  /* sweep_merge.c: shards into one database */
int sweep_diff(int argc, char **argv);   /* sweep_diff.c: whether two databases hold the same */

#endif
