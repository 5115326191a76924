/* late.h: a device that runs ahead, made of the cpu backend: ops are written down when they are called and run later,
 * as a stream would run them. Device "late" runs a step when it is waited for, which is the last moment; "early" runs
 * it when it ends. Between them lies what a GPU does. Tests of the engine open them by name: the linker puts this
 * file's backend_open in front of the library's (--wrap). */
#ifndef TESTS_LATE_H
#define TESTS_LATE_H

#include <stdint.h>

/* Steps submitted while another was in flight, and draws of all steps, since the process started. */
extern int64_t late_overlaps, late_draws;
/* Faults to come, counted down with every call of such a device, 0 = none: the n-th linear layer fails when it is
 * called; the n-th wait fails. */
extern int64_t late_fail_linear, late_fail_wait;

#endif
