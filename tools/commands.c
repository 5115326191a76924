/* commands.c: finds a command by its name. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "strbuf.h"

const struct command *command_find(const char *name, const struct command *commands, size_t count, const char *context,
                                   const char *words) {
    const char **names = xarray(count, sizeof *names);
    const struct command *found = NULL;
    for (size_t i = 0; i < count; i++) {
        names[i] = commands[i].name;
        if (strcmp(names[i], name) == 0) found = &commands[i];
    }
    const char *near = found ? NULL : nearest_name(name, names, count);
    if (near)
        complain(EXIT_USAGE, "%sunknown command \"%s\" (did you mean %s?)", context, name, near);
    else if (!found)
        complain(EXIT_USAGE, "%sunknown command \"%s\" (see tempera %s--help)", context, name, words);
    free(names);
    return found;
}
