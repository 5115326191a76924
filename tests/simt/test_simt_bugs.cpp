// test_simt_bugs.cpp: the emulation finds the mistakes of planted_bugs.cu, each in the builds and orders that its
// row names, and nothing in correct kernels.
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "planted_bugs.h"
#include "simt_emu.h"
#include "simt_race.h"

namespace {

const char *const orders[] = {"warpfwd",    "fwd",        "rev",     "warprev", "warprand:1",
                              "warprand:2", "warprand:3", "chaos:1", "chaos:2", "chaos:3"};

struct Outcome {
    cudaError_t error;
    std::string text;
    bool right; // the values
    bool found(const char *wanted) const {
        if (!wanted) return error == cudaSuccess && !right;
        return error == cudaErrorLaunchFailure && text.find(wanted) != std::string::npos;
    }
};

Outcome run(const PlantedBug &bug, const char *order) {
    std::vector<int32_t> in(BUG_WORDS), out(BUG_WORDS);
    for (int i = 0; i < BUG_WORDS; i++) in[i] = i + 1;
    const size_t bytes = BUG_WORDS * sizeof(int32_t);
    int32_t *device_in = nullptr, *device_out = nullptr;
    uint32_t *zeros = nullptr;
    cr_assert(simt::set_order(order));
    simt::set_pass_limit(bug.found ? 20000 : 1 << 24);
    const std::vector<int32_t> host_value = {7};
    cr_assert_eq(cudaMalloc((void **)&device_in, bytes), cudaSuccess);
    cr_assert_eq(cudaMalloc((void **)&device_out, bytes), cudaSuccess);
    cr_assert_eq(cudaMalloc((void **)&zeros, bytes), cudaSuccess);
    cr_assert_eq(cudaMemcpy(device_in, in.data(), bytes, cudaMemcpyHostToDevice), cudaSuccess);
    cr_assert_eq(cudaMemset(zeros, 0, bytes), cudaSuccess);
    Outcome outcome = {};
    outcome.error = bug.launch({device_in, device_out, zeros, host_value.data()}, nullptr);
    if (outcome.error == cudaSuccess) outcome.error = cudaDeviceSynchronize();
    outcome.right = outcome.error == cudaSuccess;
    if (outcome.right) {
        cr_assert_eq(cudaMemcpy(out.data(), device_out, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
        for (int i = 0; i < bug.outputs; i++) outcome.right = outcome.right && out[i] == bug.wanted(i);
    } else {
        outcome.text = simt_last_error();
        simt_revive();
    }
    cudaFree(device_in), cudaFree(device_out), cudaFree(zeros);
    return outcome;
}

#ifdef SIMT_SANITIZE
// Whether a process of its own ends with an error and a sanitizer's words on stderr.
bool dies(const PlantedBug &bug) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]), close(ends[1]);
        run(bug, "warpfwd");
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    char part[4096];
    for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) text.append(part, (size_t)n);
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    const bool ended = WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
    return ended &&
           (text.find("AddressSanitizer") != std::string::npos || text.find("runtime error") != std::string::npos);
}

#endif

// A test's parameter is a row's number: every test has a process, and addresses, of its own.
struct criterion_test_params rows(const PlantedBug *bugs) {
    static int numbers[100];
    size_t n = 0;
    for (; bugs[n].name; n++) numbers[n] = (int)n;
    return cr_make_param_array(int, numbers, n);
}

} // namespace

ParameterizedTestParameters(simt_bugs, found) {
    return rows(planted_bugs);
}

// What a sanitizer ends would end this process too.
ParameterizedTest(const int *row, simt_bugs, found) {
    const PlantedBug *bug = &planted_bugs[*row];
#ifdef SIMT_SANITIZE
    if (bug->found & BY_ASAN) {
        cr_expect(dies(*bug), "%s: no sanitizer finds it", bug->name);
        return;
    }
#endif
    std::string text;
    unsigned found_by = 0;
    for (const char *order : orders) {
        const bool is_default = strcmp(order, "warpfwd") == 0;
        Outcome outcome = run(*bug, order);
        if (outcome.found(bug->text)) found_by |= is_default ? BY_DEFAULT : BY_ORDERS;
        if (is_default) text = outcome.text;
        if (bug->text) // an error is one in every order, in other words perhaps
            cr_expect_eq(outcome.error, cudaErrorLaunchFailure, "%s, order %s: %d", bug->name, order,
                         (int)outcome.error);
    }
#ifdef SIMT_RACE
    if (simt_race_take()) found_by |= BY_RACE;
    const unsigned looked = BY_RACE;
#else
    const unsigned looked = bug->found & BY_DEFAULT ? BY_DEFAULT : BY_DEFAULT | BY_ORDERS;
#endif
    cr_expect_eq(found_by & looked, bug->found & looked, "%s: found by %x, not %x; %s", bug->name, found_by & looked,
                 bug->found & looked, text.c_str());
}

ParameterizedTestParameters(simt_bugs, correct) {
    return rows(planted_correct);
}

ParameterizedTest(const int *row, simt_bugs, correct) {
    const PlantedBug *kernel = &planted_correct[*row];
    for (const char *order : orders)
        for (bool late : {true, false}) {
            simt::set_late_copies(late);
            Outcome outcome = run(*kernel, order);
            cr_expect(outcome.right, "%s, order %s: %d %s", kernel->name, order, (int)outcome.error,
                      outcome.text.c_str());
        }
#ifdef SIMT_RACE
    cr_expect_eq(simt_race_take(), 0u, "%s: a false alarm", kernel->name);
#endif
}

// The text of an error says who, where, and where the others stand.
Test(simt_bugs, report) {
    for (const PlantedBug *bug = planted_bugs; bug->name; bug++) {
        if (strcmp(bug->name, "barrier_after_exit_of_a_warp") != 0) continue;
        const std::string text = run(*bug, "warpfwd").text;
        cr_expect_eq(text.find("kernel barrier_after_exit_of_a_warp, block 0, thread 32 at planted_bugs.cu:"), 0u, "%s",
                     text.c_str());
        cr_expect_neq(text.find("threads 0-31: exited; 32: running; 33-127: not begun"), std::string::npos, "%s",
                      text.c_str());
    }
}
