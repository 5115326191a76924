/* Which samples of a request start when. */
#include <criterion/criterion.h>

#include "engine/request.h"

enum { SETTINGS = 5, BRANCHES = 8 };

static struct request *open_request(const int32_t (*ranges)[2], int32_t count) {
    static const int32_t prompt[] = {1, 2}, eos[] = {0};
    tempera_sampling settings[SETTINGS];
    struct request_limits limits = {.V = 8, .context = 64, .max_branches = BRANCHES, .eos = eos, .eos_count = 1};
    tempera_error err = {0};
    struct request *r = NULL;
    for (int s = 0; s < count; s++) {
        settings[s] = tempera_sampling_default();
        settings[s].first_sample = ranges[s][0];
        settings[s].n = ranges[s][1];
        settings[s].logprobs = 2;
    }
    tempera_request from = {.prompt = prompt, .prompt_count = 2, .settings = settings, .setting_count = (size_t)count};
    cr_assert_eq(request_create(&r, &from, &limits, &err), TEMPERA_OK, "%s", err.message);
    return r;
}

static void expect_waves(struct request *r, const int32_t (*expected)[2], int32_t count) {
    cr_assert_eq(r->samples, count);
    for (int i = 0; i < count; i++) {
        int32_t setting, sample, left = 1;
        while (i + left < count && expected[i + left][1] == expected[i][1]) left++;
        cr_assert_eq(request_wave_left(r), left, "sample %d of the list", i);
        request_take_sample(r, &setting, &sample);
        cr_assert(setting == expected[i][0] && sample == expected[i][1], "sample %d of setting %d, not %d of %d",
                  sample, setting, expected[i][1], expected[i][0]);
    }
    cr_assert_eq(request_wave_left(r), 0);
    cr_assert_eq(r->started, r->samples);
    request_free(r);
}

#define COUNT(array) ((int32_t)(sizeof(array) / sizeof(array)[0]))

Test(request, samples_of_equal_index_start_together) {
    static const int32_t ranges[][2] = {{0, 2}, {0, 3}, {0, 1}};
    static const int32_t expected[][2] = {{0, 0}, {1, 0}, {2, 0}, {0, 1}, {1, 1}, {1, 2}};
    expect_waves(open_request(ranges, COUNT(ranges)), expected, COUNT(expected));
}

Test(request, settings_join_at_their_first_sample) {
    static const int32_t ranges[][2] = {{3, 2}, {1, 3}, {1000000, 2}, {4, 1}, {1, 1}};
    static const int32_t expected[][2] = {{1, 1}, {4, 1}, {1, 2},       {0, 3},      {1, 3},
                                          {0, 4}, {3, 4}, {2, 1000000}, {2, 1000001}};
    expect_waves(open_request(ranges, COUNT(ranges)), expected, COUNT(expected));
}

Test(request, the_last_index_there_is) {
    static const int32_t ranges[][2] = {{1048575, 1048576}, {0, 1}};
    struct request *r = open_request(ranges, COUNT(ranges));
    int32_t setting, sample = -1;
    while (request_wave_left(r) > 0) request_take_sample(r, &setting, &sample);
    cr_assert_eq(sample, 2097150);
    cr_assert_eq(r->started, 1048577);
    request_free(r);
}

Test(request, statistics_take_room_for_the_samples_that_run) {
    static const int32_t few[][2] = {{0, BRANCHES}}, many[][2] = {{0, 1048576}}, one[][2] = {{0, 1}};
    struct request *a = open_request(few, 1), *b = open_request(many, 1), *c = open_request(one, 1);
    cr_assert_eq(a->stats.free_count, BRANCHES);
    cr_assert_eq(b->stats.free_count, BRANCHES);
    cr_assert_eq(b->arena.used, a->arena.used);
    cr_assert_eq(c->stats.free_count, 1);
    bool seen[BRANCHES] = {false};
    for (int i = 0; i < BRANCHES; i++) {
        int32_t slot = stat_pool_take(&b->stats);
        cr_assert(slot >= 0 && slot < BRANCHES && !seen[slot]);
        seen[slot] = true;
    }
    stat_pool_give(&b->stats, 3);
    cr_assert_eq(stat_pool_take(&b->stats), 3);
    request_free(a);
    request_free(b);
    request_free(c);
}
