/* module.h: backends that live in a shared library of their own, libtempera-NAME.so, loaded when asked for. The program
 * starts and runs without them, without CUDA and without a driver. */
#ifndef BACKEND_MODULE_H
#define BACKEND_MODULE_H

#include "backend/backend.h"

/* The backend of a module, loaded once for the process's life; NULL, with the reason in *err, when it is not installed or
 * was built from other sources. Looked for beside the program or library that this code is in, one folder up, and where
 * the system looks for libraries. Any thread. */
const struct backend_ops *module_load(const char *name, tempera_error *err);

/* Whether the machine has an NVIDIA driver at all: loads no module. */
bool module_has_driver(void);

#endif
