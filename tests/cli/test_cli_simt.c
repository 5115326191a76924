/* test_cli_simt.c: what a user reads when a GPU is not there, too old, too small, or breaks: on the emulated one, whose
 * faults are switched on by its environment (tests/simt/simt_runtime.h). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* The module lies beside the program, where it was built. */
static bool simt_is_built(void) {
    char path[4096];
    const char *slash = strrchr(TEMPERA_PROGRAM, '/');
    snprintf(path, sizeof path, "%.*slibtempera-simt.so", (int)(slash + 1 - TEMPERA_PROGRAM), TEMPERA_PROGRAM);
    return access(path, R_OK) == 0;
}

static struct cli generate(void) {
    return cli(NULL, "generate", "--device", "simt", "-q", "-p", "Once upon", "--max-tokens", "3", "--temperature", "0",
               NULL);
}

static const struct {
    const char *variable, *value, *words;
} faults[] = {
    {"TEMPERA_SIMT_DEVICES", "0", "no GPU was found"},
    {"TEMPERA_SIMT_DRIVER", "0", "no NVIDIA driver was found"},
    {"TEMPERA_SIMT_DRIVER", "12020", "the driver supports CUDA 12.2"},
    {"TEMPERA_SIMT_CAPABILITY", "7.5", "has compute capability 7.5; at least 8.0 is needed"},
    {"TEMPERA_SIMT_MEMORY", "1000000", "too little"},
    {"TEMPERA_SIMT_FAIL", "3", "cudaError"},
    {"TEMPERA_SIMT_FAIL", "sticky:3", "an illegal memory access"},
    {"TEMPERA_SIMT_FAIL", "18", "out of memory"}, /* among the allocations; later faults may be survived */
    {"TEMPERA_SIMT_FAIL", "sticky:200", "an illegal memory access"},
    {"TEMPERA_SIMT_FAIL", "sticky:300", "an illegal memory access"},
};

Test(cli_simt, every_fault_is_one_line, .timeout = 600) {
    if (!simt_is_built()) cr_skip_test("the simt module was not built");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        setenv(faults[i].variable, faults[i].value, 1);
        struct cli run = generate();
        unsetenv(faults[i].variable);
        cr_expect_eq(run.status, 1, "%s=%s: status %d", faults[i].variable, faults[i].value, run.status);
        cr_expect(cli_one_line(run.err), "%s=%s: %s", faults[i].variable, faults[i].value, run.err);
        cr_expect(strstr(run.err, faults[i].words), "%s=%s: %s", faults[i].variable, faults[i].value, run.err);
        cr_expect_str_eq(run.out, "", "%s=%s: %s", faults[i].variable, faults[i].value, run.out);
        cli_free(&run);
    }
}

Test(cli_simt, quantised_weights_are_refused_in_one_line, .timeout = 600) {
    if (!simt_is_built()) cr_skip_test("the simt module was not built");
    struct cli run = cli(NULL, "generate", "--device", "simt", "--dtype", "q4", "-p", "Once upon", NULL);
    cr_expect_eq(run.status, 1, "status %d", run.status);
    cr_expect(cli_one_line(run.err), "%s", run.err);
    cr_expect(strstr(run.err, "the simt backend has no quantised weights: dtype \"q4\" needs device cpu"), "%s",
              run.err);
    cli_free(&run);
}

Test(cli_simt, the_text_does_not_depend_on_when_streams_run, .timeout = 600) {
    if (!simt_is_built()) cr_skip_test("the simt module was not built");
    struct cli late = generate();
    setenv("TEMPERA_SIMT_STREAMS", "eager", 1);
    setenv("TEMPERA_SIMT_PROCESSORS", "13", 1);
    struct cli eager = generate();
    cr_expect_eq(late.status, 0, "%s", late.err);
    cr_expect_eq(eager.status, 0, "%s", eager.err);
    cr_expect_str_eq(late.out, eager.out);
    cli_free(&late);
    cli_free(&eager);
}
