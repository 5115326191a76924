/* bench.h: the commands of `tempera bench`. Each gets what follows its name and returns the exit status. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

int bench_speed(int argc, char **argv); /* `tempera bench` without a command's name */
int bench_serve(int argc, char **argv);
int bench_sampler(int argc, char **argv);
int bench_compare(int argc, char **argv);

#endif
