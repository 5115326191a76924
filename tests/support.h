/* support.h: what several test programs need. support.c knows nothing of Criterion, so plain mains and fuzz
 * targets may link it too. Paths returned are valid until the program ends unless said otherwise. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

/* The folder of real files nobody here wrote (environment TEMPERA_TEST_DATA, else shared/data next to the
 * checkout), and that of trained models (TEMPERA_TEST_MODELS, else shared/models). NULL when absent. */
const char *test_data(void);
const char *test_models(void);
/* The folder tests/ of the checkout, where fixtures of our own lie (TEMPERA_TEST_SOURCE); NULL when it is not
 * there. */
const char *test_source(void);
/* Two folders by that rule: the demo model, and the small models of every family. NULL when absent. */
const char *test_demo_model(void);
const char *test_fixtures(void);

/* The device that a test program runs on: TEMPERA_TEST_DEVICE, else "cpu". Emulated: every step is slow, so that tests
 * take fewer and smaller ones. */
const char *test_device(void);
bool test_device_is_emulated(void);
/* Whether the device's module is there and opens; else one line on stderr says why not. */
bool test_device_opens(void);
#define TEST_NEEDS_DEVICE()                                                                                            \
    do {                                                                                                               \
        if (!test_device_opens()) cr_skip_test("device %s does not open", test_device());                              \
    } while (0)

/* True, after one line on stderr that says what was skipped, when the folder is absent:
 *     if (test_skip_without_data("JSONTestSuite")) return;
 * Criterion tests use the macros below instead, which make the skip visible in the report. */
bool test_skip_without_data(const char *what);
bool test_skip_without_models(const char *what);
#define TEST_NEEDS_DATA(what)                                                                                          \
    do {                                                                                                               \
        if (test_skip_without_data(what)) cr_skip_test("no test data: %s", what);                                      \
    } while (0)
#define TEST_NEEDS_MODELS(what)                                                                                        \
    do {                                                                                                               \
        if (test_skip_without_models(what)) cr_skip_test("no test models: %s", what);                                  \
    } while (0)

/* A new empty folder under TMPDIR; remove takes the folder, its files and its path. Only flat folders and one
 * level of folders inside are removed. */
char *test_folder_create(void);
void test_folder_remove(char *folder);
/* Writes folder/name; returns its path, which the caller frees with mem_free. NULL when it failed. */
char *test_write(const char *folder, const char *name, const void *bytes, size_t length);

#endif
