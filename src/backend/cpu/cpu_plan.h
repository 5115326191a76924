/* cpu_plan.h: block sizes of the linear layers, shared with the plan of their scratch memory. */
#ifndef BACKEND_CPU_PLAN_H
#define BACKEND_CPU_PLAN_H

enum {
    LINEAR_ROWS =
        512,        /* tokens of a block: their inputs of one K block stay in L2 (LINEAR_ROWS · LINEAR_K · 4 bytes) */
    LINEAR_K = 384, /* inputs of a block; even */
    LINEAR_QUADS = 2, /* quads worked on between two visits of the same inputs */
};

#endif
