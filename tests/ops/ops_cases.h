/* ops_cases.h: the shapes that the ops are tested on, by every backend. Odd on purpose: nothing is a multiple of anything
 * except where a boundary (16, 64, 512) is the point. */
#ifndef TESTS_OPS_CASES_H
#define TESTS_OPS_CASES_H

#include "backend/backend.h"

struct linear_case {
    int32_t T, N, K;
};
static const struct linear_case LINEAR_CASES[] = {
    {1, 1, 1},      {1, 3, 1},      {3, 17, 2},    {1, 48, 48},    {1, 64, 172},  {3, 172, 64},   {2, 257, 33},
    {5, 16, 768},   {14, 65, 31},   {15, 65, 31},  {17, 100, 77},  {29, 33, 385}, {33, 257, 129}, {1, 768, 769},
    {16, 129, 384}, {43, 130, 800}, {64, 96, 383}, {1, 2304, 768}, {7, 50, 3072}, {530, 70, 65},
};
enum { LINEAR_CASE_COUNT = sizeof LINEAR_CASES / sizeof LINEAR_CASES[0] };

struct norm_case {
    int32_t T, D;
};
static const struct norm_case NORM_CASES[] = {{1, 1},   {3, 2},   {1, 15},  {17, 16}, {2, 48},
                                              {33, 65}, {5, 288}, {3, 769}, {2, 4097}};
enum { NORM_CASE_COUNT = sizeof NORM_CASES / sizeof NORM_CASES[0] };

/* `length` tokens of one sequence. */
struct attention_case {
    int32_t H, Hkv, Dh, length, window;
    float softcap;
};
static const struct attention_case ATTENTION_CASES[] = {
    {1, 1, 1, 3, 0, 0},     {2, 2, 8, 1, 0, 0},      {3, 1, 16, 15, 0, 0},   {4, 2, 5, 16, 0, 0},
    {6, 2, 48, 17, 0, 0},   {2, 1, 64, 63, 0, 0},    {12, 12, 64, 64, 0, 0}, {4, 4, 64, 65, 0, 0},
    {5, 1, 80, 130, 0, 0},  {4, 2, 96, 70, 0, 0},    {8, 2, 128, 66, 0, 0},  {8, 1, 256, 67, 0, 0},
    {2, 2, 7, 200, 0, 0},   {2, 1, 64, 200, 1, 0},   {2, 1, 64, 200, 37, 0}, {4, 2, 32, 200, 64, 0},
    {2, 1, 16, 200, 0, 30}, {3, 3, 24, 140, 50, 5},  {70, 1, 8, 40, 0, 0},   {2, 1, 64, 513, 0, 0},
    {3, 1, 16, 1100, 0, 0}, {2, 2, 8, 1100, 600, 0},
};
enum { ATTENTION_CASE_COUNT = sizeof ATTENTION_CASES / sizeof ATTENTION_CASES[0] };

static const int32_t CHUNKS[] = {1, 7, 64}; /* tokens a step when a prompt is fed in pieces */
enum { CHUNK_COUNT = sizeof CHUNKS / sizeof CHUNKS[0] };

#endif
