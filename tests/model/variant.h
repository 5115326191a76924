/* variant.h: copies of fixture folders with something changed. */
#ifndef TESTS_MODEL_VARIANT_H
#define TESTS_MODEL_VARIANT_H

#include <stdbool.h>
#include <stddef.h>

/* One change of a tensor. dtype must have elements of the same size; shape ("2, 3") the same product; `add` puts a vector
 * of this name behind the others: values [count], or two zeros when values is NULL. */
struct tensor_edit {
    const char *name;
    const char *rename, *dtype, *shape;
    bool drop, add;
    const float *values;
    size_t count;
};

/* What to change; zero-initialise. */
struct variant {
    const char *config;                  /* file that becomes config.json, NULL = config.json */
    const char *config_from, *config_to; /* text of it to replace, which must be there */
    const char *strip;                   /* prefix that all tensor names lose */
    const struct tensor_edit *edit;
    size_t edits;
};

/* A new folder (test_folder_remove) with config.json and one model.safetensors, made from this one; ends the test when it
 * cannot. */
char *variant_folder(const char *folder, const struct variant *variant);
/* The same of a fixture. */
char *variant_fixture(const char *name, const struct variant *variant);

/* name in test_fixtures(); mem_free. */
char *fixture_folder(const char *name);

#endif
