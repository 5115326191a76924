// test_simt_race.cpp: the race checker finds every planted mistake, names its line, and reports nothing else, in every order.
// A test of the race build only.
#include <criterion/criterion.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "planted_races.h"
#include "simt_emu.h"
#include "simt_race.h"

namespace {

const char *const orders[] = {"fwd", "rev", "warpfwd", "warprev", "warprand:1", "warprand:2", "chaos:1", "chaos:2"};

enum { WORDS = 4096 };

// "planted_races.cu:17": where the source has the case's mark.
std::string marked_line(const char *name) {
    FILE *file = fopen(planted_source, "r");
    cr_assert_not_null(file, "%s", planted_source);
    char line[1000];
    std::string mark = std::string("// planted: ") + name + "\n", found;
    for (int number = 1; fgets(line, sizeof line, file); number++)
        if (strlen(line) >= mark.size() && line + strlen(line) - mark.size() == mark)
            found = "planted_races.cu:" + std::to_string(number) + " ";
    fclose(file);
    return found;
}

void run(const planted_case &c, const char *order) {
    std::vector<int32_t> host(WORDS);
    planted_args args = {};
    cr_assert(simt::set_order(order));
    for (int i = 0; i < WORDS; i++) host[i] = i * 7;
    args.host = host.data();
    cr_assert_eq(cudaMalloc((void **)&args.in, WORDS * sizeof(int32_t)), cudaSuccess);
    cr_assert_eq(cudaMalloc((void **)&args.out, WORDS * sizeof(int32_t)), cudaSuccess);
    cr_assert_eq(cudaMalloc((void **)&args.fresh, WORDS * sizeof(int32_t)), cudaSuccess);
    cr_assert_eq(cudaMalloc((void **)&args.counter, sizeof *args.counter), cudaSuccess);
    cr_assert_eq(cudaMemcpy(args.in, host.data(), WORDS * sizeof(int32_t), cudaMemcpyHostToDevice), cudaSuccess);
    cr_assert_eq(cudaMemset(args.out, 0, WORDS * sizeof(int32_t)), cudaSuccess);
    cr_assert_eq(cudaMemset(args.counter, 0, sizeof *args.counter), cudaSuccess);
    cr_assert_eq(c.launch(args, nullptr), cudaSuccess);
    cr_assert_eq(cudaDeviceSynchronize(), cudaSuccess, "%s: %s", c.name, simt_last_error());
    cudaFree(args.in), cudaFree(args.out), cudaFree(args.fresh), cudaFree(args.counter);
    std::string report = simt_race_text();
    uint64_t reports = simt_race_take();
    if (!c.report) {
        cr_expect_eq(reports, 0u, "%s, order %s: false alarm: %s", c.name, order, report.c_str());
        return;
    }
    std::string line = marked_line(c.name);
    cr_assert_neq(line, "", "%s has no mark", c.name);
    cr_expect_geq(reports, 1u, "%s, order %s: nothing was reported", c.name, order);
    cr_expect(reports == 0 || (report.find(c.report) != std::string::npos && report.find(line) != std::string::npos),
              "%s, order %s: %s expected at %s, got %s", c.name, order, c.report, line.c_str(), report.c_str());
}

} // namespace

Test(simt_race, finds_what_is_planted_and_nothing_else) {
    for (int i = 0; i < planted_case_count; i++)
        for (const char *order : orders) run(planted_cases[i], order);
}
