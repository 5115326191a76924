/* browser.h: headless Chromium, driven through its DevTools protocol over two pipes: opens files of this machine, runs
 * expressions, and keeps what went wrong. */
#ifndef TESTS_SWEEP_BROWSER_H
#define TESTS_SWEEP_BROWSER_H

#include <stdbool.h>

#include <cjson/cJSON.h>

struct browser;

/* NULL where no Chromium is installed, or it does not start (one line on stderr says which). */
struct browser *browser_start(void);
void browser_stop(struct browser *browser);

/* Opens a file and waits until the page says that it is drawn (data-ready on its root). Milliseconds from the start of
 * the navigation until then, by the page's own clock; negative when it was not ready after `limit_seconds`. */
double browser_open(struct browser *browser, const char *path, double limit_seconds);
/* Waits until an expression is true; false after `limit_seconds`. */
bool browser_until(struct browser *browser, const char *expression, double limit_seconds);
/* The value of an expression (a promise is awaited) as JSON; NULL after a message on stderr when it threw. */
cJSON *browser_value(struct browser *browser, const char *expression);
double browser_number(struct browser *browser, const char *expression); /* NaN when it is no number */
bool browser_true(struct browser *browser, const char *expression);

void browser_size(struct browser *browser, int width, int height);
void browser_dark(struct browser *browser, bool dark);

/* What the pages did that they must not since they were opened, a line each: exceptions, console messages, breaches of
 * the policy, requests for anything but the file itself. "" when nothing. */
const char *browser_problems(const struct browser *browser);

#endif
